"""What the checks of an init say about the evidence: pure functions; the table `inits.CHECKS` says which of them a check is.

An init that does what its documentation says is not called broken: where inits differ by design (who gets the signal, who waits, who
kills), the words say what a user gets, and it is a `should`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyinit.init import signals
from pyinit.verify.acts import REAP_WITHIN
from pyinit.verify.init_acts import (
    AT_ONCE,
    CODES,
    DEATHS,
    END_WITHIN,
    FLUSH,
    LATE,
    MADE_WITHIN,
    MEMORY,
    NEED,
    NO_INIT,
    TYPED,
    TYPED_WITHIN,
    heard,
)
from pyinit.verify.judges import ended_how, needs_act, needs_stop, seconds_of
from pyinit.verify.verdicts import Finding, Severity, failed, note, passed, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyinit.verify.evidence import Act, Case, Stop

ADDED_BY_INITS = frozenset({"PYINIT_STOP_BUDGET"})
"""Variables that an init documents as its own for the program."""

MESSAGE_LIMIT = 4096
"""Bytes of a termination log that Kubernetes reads."""


def _done(act: Act) -> set[str]:
    """Who has finished what it does on SIGTERM."""
    return {line["who"] for line in act.seen["said"] if line["say"] == "done"}


def _asked(act: Act, who: str) -> bool:
    return bool(heard(act.seen["said"], signals.TERM, who))


# --- signals ---


@needs_act("each_signal")
def each_once(_case: Case, act: Act) -> Finding:
    """SG-02."""
    sent = act.seen["signals"]
    lost = [one["name"] for one in sent if not one["heard"]]
    twice = [f"{one['name']} {len(one['heard'])} times" for one in sent if len(one["heard"]) > 1]
    late = [f"{one['name']} after {one['heard'][0]:.2f} s" for one in sent if one["heard"] and one["heard"][0] > LATE]
    strange = [signals.name_of(number) for one in sent for number in one.get("strange", ())]
    evidence = [
        f"{one['name']}: " + (", ".join(f"{at * 1000:.1f} ms" for at in one["heard"]) or "not heard") for one in sent
    ]
    words = []
    if lost:
        words.append(f"the program never got {', '.join(lost)}")
    if twice:
        words.append(f"it got more than was sent: {', '.join(twice)}")
    if strange:
        words.append(f"it got what nobody had sent: {', '.join(sorted(set(strange)))}")
    if late:
        words.append(f"late: {', '.join(late)}")
    if words:
        severity = None if lost or twice or strange else Severity.SHOULD
        return failed("; ".join(words), *evidence, severity=severity)
    slowest = max(one["heard"][0] for one in sent)
    woken = "; with SIGTERM or SIGINT came a SIGCONT" if any(one.get("woken") for one in sent) else ""
    return passed(
        f"each of {len(sent)} signals came once, the slowest within {slowest * 1000:.0f} ms{woken}", *evidence
    )


@needs_act("real_time")
def real_time(_case: Case, act: Act) -> Finding:
    """SG-03."""
    lost = [one["name"] for one in act.seen["signals"] if not one["heard"]]
    if act.seen["ended"]:
        return failed(f"the container ended when it got {lost[0] if lost else 'them'}", severity=Severity.MUST)
    if lost:
        return failed(f"the program never got {', '.join(lost)}: an image whose STOPSIGNAL it is cannot be stopped")
    return passed(f"{' and '.join(one['name'] for one in act.seen['signals'])} reached the program")


@needs_act("many_signals")
def none_lost(_case: Case, act: Act) -> Finding:
    """SG-04."""
    gaps, burst, status = act.seen["gaps"], act.seen["burst"], act.seen["status"]
    if gaps != 100:
        return failed(
            f"of signals that were sent one after the other, each when the last had come, number {gaps + 1} never came"
        )
    if not burst:
        return failed("of 100 signals without a pause none reached the program")
    if status is None:
        return failed(f"after 100 signals without a pause it did not end on SIGTERM within {END_WITHIN:g} s")
    return passed(f"all of 100 with gaps, {burst} of 100 without (signals of one number merge), and then it stopped")


@needs_act("child_signals")
def false_child_signals(case: Case, act: Act) -> Finding:
    """SG-09."""
    seen = act.seen
    if case.options.get(NO_INIT):
        return skipped("there is no init: SIGCHLD goes to the program itself")
    if not seen["running"]:
        return failed(
            f"SIGCHLD from outside ended the container, with status {seen['status']}, though no child had ended"
        )
    if not seen["answered"] or seen["status"] is None:
        return failed("after 50 SIGCHLD from outside it forwards nothing any more")
    if seen["forwarded"]:
        return failed(
            f"SIGCHLD was forwarded {seen['forwarded']} times: the program thinks that a child of its own has ended"
        )
    return passed("50 SIGCHLD from outside did nothing")


@needs_act("suspended")
def resumes(_case: Case, act: Act) -> Finding:
    """SG-08."""
    seen = act.seen
    what = "SIGTSTP stopped the program" if seen["stopped"] else "SIGTSTP did not stop the program"
    if seen["init"] == "gone":
        return failed(f"SIGTSTP ended the container, with status {seen['status']}")
    if seen["init"] == "T":
        return failed(f"{what}, and the init itself")
    if not seen["answered"] or seen["status"] is None:
        return failed(f"{what}; after SIGCONT it got no signal any more")
    return passed(f"{what}; after SIGCONT all is as before")


@needs_act("both_ways")
def counted(_case: Case, act: Act) -> Finding:
    """SG-05."""
    times = act.seen["heard"]
    return note(
        f"SIGTERM to everybody at once reaches the program {times} time{'s' if times != 1 else ''}: "
        + ("the two are merged" if times == 1 else "once from outside, and what the init passes on")
    )


# --- exit status ---


@needs_act("codes")
def same_codes(_case: Case, act: Act) -> Finding:
    """EX-01."""
    found = act.seen["codes"]
    wrong = [f"{code} became {_status(found[code])}" for code in CODES if found[code] != code]
    if wrong:
        return failed(f"the container's exit status is not the program's: {', '.join(wrong)}")
    return passed(f"{', '.join(map(str, CODES))} are passed on")


def _codes(case: Case) -> Mapping[int, int | None]:
    """What became of the program's exit statuses (EX-01); empty where nobody looked."""
    found: Mapping[int, int | None] = case.act("codes").seen.get("codes", {})
    return found


def needs_end(judge: Callable[[Case], Finding]) -> Callable[[Case], Finding]:
    """For judges of how the container ends with its program: skips where it never does, as with supervisors. EX-01 says so once."""

    def judged(case: Case) -> Finding:
        codes = _codes(case)
        if codes and not any(status is not None for status in codes.values()):
            return skipped("it does not end with its program: see EX-01")
        return judge(case)

    judged.__doc__ = judge.__doc__
    return judged


@needs_end
@needs_act("deaths")
def same_deaths(case: Case, act: Act) -> Finding:
    """EX-02."""
    found = act.seen["deaths"]
    wrong = [
        f"{name}: {_status(found[name])} instead of {128 + each}" for name, each in DEATHS if found[name] != 128 + each
    ]
    if wrong and case.options.get(NO_INIT):
        return failed(
            "a program that is PID 1 is not ended by its own signals, "
            f"for the kernel drops those that a PID 1 has no handler for: {', '.join(wrong)}"
        )
    if wrong:
        return failed(f"a program that a signal ends is reported wrongly: {', '.join(wrong)}")
    return passed(", ".join(f"{name} {128 + each}" for name, each in DEATHS))


def _status(status: int | None) -> str:
    return "no end" if status is None else str(status)


@needs_end
@needs_act("stray")
def not_the_orphans(_case: Case, act: Act) -> Finding:
    """EX-05."""
    status = act.seen["status"]
    if status == 5:
        return passed("with orphans that ended with 77 and 78 the status is the program's, 5")
    if status in (77, 78):
        return failed(f"the container's exit status is an orphan's, {status}; the program's was 5")
    return failed(f"the container's exit status is {_status(status)}; the program's was 5")


@needs_end
@needs_act("memory")
def want_of_memory(_case: Case, act: Act) -> Finding:
    """EX-04."""
    seen = act.seen
    if any(line["say"] == "unlimited" for line in seen["said"]):
        return skipped(f"the program had {3 * MEMORY} MB where it was to have {MEMORY}: this engine limits no memory")
    if seen["status"] != 128 + signals.KILL:
        return failed(
            f"the kernel killed the program for want of memory, and the status is {_status(seen['status'])}, not 137"
        )
    named = "the engine says OOMKilled" if seen["oom"] else "the engine does not say OOMKilled"
    said = f"; it said: {seen['others'][-1]}" if seen["others"] else ""
    return passed(f"the kernel killed the program for want of memory: 137, and {named}{said}")


# --- zombies ---


def _reaps(name: str) -> Callable[[Case], Finding]:
    """ZO-01, ZO-02, ST-06: orphans are reaped, and it lives on."""

    @needs_act(name)
    def judge(_case: Case, act: Act) -> Finding:
        seen = act.seen
        wanted, left = seen["wanted"], len(seen["left"])
        many = f"{wanted} orphans" if wanted > 1 else "an orphan"
        if not seen["made"]:
            return skipped(f"{many} could not be made within {MADE_WITHIN:g} s")
        if not seen["running"]:
            return failed(f"the container ended by itself with {many}, with status {seen['status']}")
        if left:
            return failed(
                f"{left} of {many} still zombies after {REAP_WITHIN:g} s" if wanted > 1
                else f"an orphan that ended was still a zombie after {REAP_WITHIN:g} s"
            )  # fmt: skip
        if seen["status"] is None:
            return failed(f"after {many} it did not end on SIGTERM within {END_WITHIN:g} s")
        return passed(f"{many} reaped, and it stopped as before")

    return judge


one_reaped = _reaps("one_orphan")
many_reaped = _reaps("many_orphans")
flood_reaped = _reaps("flood")


# --- the process tree, grace ---


@needs_stop("worker")
def worker_finishes(_case: Case, act: Act, stop: Stop) -> Finding:
    """PT-02."""
    if "worker" in _done(act):
        return passed(f"a worker that needed {FLUSH:g} s more than the program was asked and finished")
    evidence = [ended_how(stop, process) for process in stop.members]
    asked = "was asked, but" if _asked(act, "worker") else "was never asked, and"
    return failed(
        f"the program ended with 0 on SIGTERM; its worker, which needs {FLUSH:g} s to save, {asked} was SIGKILLed when PID 1 left",
        *evidence,
    )


@needs_stop("daemon")
def own_session_reached(_case: Case, act: Act, stop: Stop) -> Finding:
    """PT-03."""
    if "daemon" in _done(act):
        return passed("a child in a session of its own was asked and finished")
    evidence = [ended_how(stop, process) for process in stop.members]
    if _asked(act, "daemon"):
        return failed("a child in a session of its own was asked, and SIGKILLed before it had finished", *evidence)
    return failed("a child in a session of its own was never asked: it was SIGKILLed when PID 1 left", *evidence)


@needs_stop("several")
def everybody_saves(_case: Case, act: Act, stop: Stop) -> Finding:
    """PT-05."""
    wanted = {"main", *(f"worker {each}" for each in (1, 2, 3))}
    missing = sorted(wanted - _done(act))
    if not missing:
        return passed("the program and its three workers all saved")
    unasked = [who for who in missing if not _asked(act, who)]
    words = f"did not save: {', '.join(missing)}"
    if unasked:
        words += f"; never asked: {', '.join(unasked)}"
    severity = Severity.MUST if "main" in missing else None
    return failed(words, *(ended_how(stop, process) for process in stop.members), severity=severity)


@needs_stop("slow")
def not_cut_short(_case: Case, act: Act, stop: Stop) -> Finding:
    """GR-04."""
    need = NEED * stop.grace
    if "main" not in _done(act):
        evidence = [ended_how(stop, process) for process in stop.members]
        if not _asked(act, "main") and stop.forced:
            return skipped("the program never got SIGTERM (SG-02)")
        if not _asked(act, "main"):
            return failed(
                f"a slow program was ended after {seconds_of(stop.seconds)}, and SIGTERM had not reached it", *evidence
            )
        return failed(
            f"a program that needs {seconds_of(need)} of {seconds_of(stop.grace)} to save was cut short after {seconds_of(stop.seconds)}",
            *evidence,
        )
    if stop.status:
        return failed(f"a program that took {seconds_of(need)} and ended with 0 was reported with {stop.status}")
    return passed(f"a program that needs {seconds_of(need)} of {seconds_of(stop.grace)} got them")


@needs_stop("deaf")
def escalates(_case: Case, act: Act, stop: Stop) -> Finding:
    """PT-07."""
    if stop.forced:
        return failed(
            f"a program that ignores SIGTERM: nobody inside kills it within {seconds_of(stop.grace)}, so the engine killed everybody "
            "at once, and no log says why",
            *(ended_how(stop, process) for process in stop.members),
        )
    if stop.status != 128 + signals.KILL:
        return failed(
            f"a program that ignored SIGTERM was ended after {seconds_of(stop.seconds)}, and the status is {stop.status}, not 137",
            severity=Severity.MUST,
        )
    said = f"; it said: {act.seen['others'][-1]}" if act.seen["others"] else ""
    return passed(f"it killed a program that ignores SIGTERM after {seconds_of(stop.seconds)}{said}")


@needs_stop("last_word")
def termination_log(_case: Case, act: Act, stop: Stop) -> Finding:
    """K8-05."""
    log = act.seen["log"]
    if stop.forced and not log:
        return skipped("it did not end the program by itself in time, so there is no forced end that it could report")
    if not log.strip():
        return failed(
            "nothing in /dev/termination-log after a forced end: kubectl describe shows a status and no reason",
            fix="write a line to /dev/termination-log; where the init has an option for it, give that option.",
        )
    size = len(log.encode())
    if size > MESSAGE_LIMIT:
        return failed(f"{size} bytes in /dev/termination-log: Kubernetes reads {MESSAGE_LIMIT}")
    lacking = [
        what
        for what, there in (
            ("the signal", "TERM" in log or "KILL" in log),
            ("a time", any(letter.isdigit() for letter in log)),
        )
        if not there
    ]
    if lacking:
        return failed(f"/dev/termination-log does not name {' and '.join(lacking)}", log)
    return passed(f"{size} bytes in /dev/termination-log", log.strip())


# --- start ---


@needs_act("missing")
def start_fails_well(_case: Case, act: Act) -> Finding:
    """ST-03."""
    words, hard = [], False
    for name, wanted in (("missing", 127), ("not executable", 126)):
        one = act.seen[name]
        if one["status"] != wanted:
            words.append(f"{name}: status {_status(one['status'])} instead of {wanted}")
            hard |= one["status"] in (None, 0)
        if len(one["others"]) != 1:
            words.append(f"{name}: {len(one['others'])} lines instead of one")
        elif one["seconds"] >= AT_ONCE:
            words.append(f"{name}: took {seconds_of(one['seconds'])}")
    evidence = [line for one in act.seen.values() for line in one["others"][:3]]
    if words:
        return failed("; ".join(words), *evidence, severity=Severity.MUST if hard else None)
    return passed("a missing program is 127, one that is not executable 126, each with one line", *evidence)


@needs_act("shared")
def not_first(case: Case, act: Act) -> Finding:
    """ST-07."""
    seen = act.seen
    if case.options.get(NO_INIT):
        return skipped("there is no init")
    if "refused" in seen:
        said = f": {seen['others'][0]}" if seen["others"] else ", and says nothing"
        return failed(
            f"where it is not PID 1 it does not run (status {seen['refused']}){said}",
            severity=Severity.SHOULD if seen["others"] else None,
        )
    if not seen["heard"]:
        return failed("where it is not PID 1 it does not forward SIGTERM")
    if seen["status"] is None:
        return failed(f"where it is not PID 1 it did not end with the program within {END_WITHIN:g} s")
    if seen["unreaped"]:
        return failed(
            f"where it is not PID 1 it adopts orphans and does not reap them: {len(seen['unreaped'])} of 20 zombies"
        )
    if not seen["elsewhere"]:
        return passed("where it is not PID 1 it forwards, adopts orphans and reaps them")
    if seen["others"]:
        return passed(
            f"where it is not PID 1 it forwards, and says that it reaps nobody ({len(seen['elsewhere'])} zombies went to PID 1)",
            *seen["others"][:4],
        )
    return failed(
        f"where it is not PID 1 it forwards, but orphans go to PID 1 ({len(seen['elsewhere'])} of 20 zombies there), and no line says so",
        severity=Severity.SHOULD,
    )


@needs_act("nested")
def under_another(_case: Case, act: Act) -> Finding:
    """ST-08."""
    seen = act.seen
    if "refused" in seen:
        said = f": {seen['others'][0]}" if seen["others"] else ", and says nothing"
        return failed(f"under docker run --init it does not run (status {seen['refused']}){said}")
    if seen["heard"] != 1:
        return failed(f"under docker run --init the program got SIGTERM {seen['heard']} times")
    if seen["status"] != 0:
        return failed(f"under docker run --init the status is {_status(seen['status'])}; the program ended with 0")
    said = (
        f"it says, in {len(seen['others'])} lines: {seen['others'][0]}"
        if seen["others"]
        else "it says nothing about it"
    )
    return passed(f"under docker run --init it works; {said}")


# --- what the program inherits ---


@needs_act("masks")
def masks_as_they_were(_case: Case, act: Act) -> Finding:
    """FD-01."""
    direct, under = act.seen["direct"], act.seen["under"]
    words = []
    for name in ("blocked", "ignored"):
        more, fewer = under[name] & ~direct[name], direct[name] & ~under[name]
        if more:
            words.append(f"{name} under it and not otherwise: {_names(more)}")
        if fewer:
            words.append(f"{name} otherwise and not under it: {_names(fewer)}")
    if words:
        # a program that cannot be suspended is a nuisance; one that cannot be stopped is more
        changed = (direct["blocked"] ^ under["blocked"]) | (direct["ignored"] ^ under["ignored"])
        mild = all(number in signals.FROM_TERMINAL for number in range(1, 65) if changed >> (number - 1) & 1)
        return failed(
            "; ".join(words) + (": Ctrl-Z and job control do nothing to the program" if mild else ""),
            severity=Severity.SHOULD if mild else None,
        )
    return passed("nothing is blocked or ignored that is not so without it; SIGPIPE has its default action")


def _names(mask: int) -> str:
    return ", ".join(signals.name_of(number) for number in range(1, 65) if mask >> (number - 1) & 1)


@needs_act("inherits")
def three_descriptors(_case: Case, act: Act) -> Finding:
    """FD-02."""
    direct, under = act.seen["direct"]["fds"], act.seen["under"]["fds"]
    more = {name: where for name, where in under.items() if name not in direct}
    gone = sorted(set(direct) - set(under))
    if more:
        return failed(
            "the program has descriptors that are the init's: "
            + ", ".join(f"{name} ({where})" for name, where in more.items())
        )
    if gone:
        return failed(f"the program lacks the descriptors {', '.join(gone)}")
    kinds = [name for name in under if under[name].split(":")[0] != direct[name].split(":")[0]]
    if kinds:
        return failed("not what the engine gave: " + ", ".join(f"{name} is {under[name]}" for name in kinds))
    return passed(f"the program has {', '.join(sorted(under))} and nothing else")


@needs_act("inherits")
def nothing_changed(_case: Case, act: Act) -> Finding:
    """FD-03."""
    direct, under = act.seen["direct"], act.seen["under"]
    words = []
    before, after = set(direct["environment"]), set(under["environment"])
    added = sorted(word for word in after - before if word.partition("=")[0] not in ADDED_BY_INITS)
    if added:
        words.append(f"variables added or changed: {', '.join(added)}")
    if before - after:
        words.append(f"variables gone or changed: {', '.join(sorted(before - after))}")
    words += [
        f"{what} is {under[what]} instead of {direct[what]}"
        for what in ("cwd", "umask", "oom_score_adj")
        if direct[what] != under[what]
    ]
    words += [f"limit changed: {line.strip()}" for line in under["limits"] if line not in direct["limits"]]
    if words:
        return failed("; ".join(words))
    own = sorted(word for word in after - before if word.partition("=")[0] in ADDED_BY_INITS)
    return passed(
        "environment, working directory, umask, limits and oom_score_adj are unchanged"
        + (f", but for {', '.join(own)}" if own else "")
    )


@needs_end
@needs_act("pipeline")
def pipe_ends(_case: Case, act: Act) -> Finding:
    """FD-04."""
    seen = act.seen
    if seen["status"] is None:
        return failed(f"yes | head -1 did not end within {END_WITHIN:g} s")
    noise = [line for line in seen["others"] if line.startswith("yes:")]  # not what a supervisor says of itself
    if noise:
        return failed(
            f"a writer without a reader was not ended by SIGPIPE, but went on until a write failed: {noise[0]}"
        )
    piped = next((line for line in seen["said"] if line["say"] == "piped"), None)
    if piped and piped["status"] != -signals.PIPE:
        return failed(f"a writer without a reader was not ended by SIGPIPE, but ended with {piped['status']}")
    return passed("a writer whose reader has gone ends at once")


@needs_end
@needs_act("no_stdin")
def without_stdin(case: Case, act: Act) -> Finding:
    """TT-04."""
    usual = _codes(case).get(42, 42)
    words = []
    for name, one in act.seen.items():
        if one["status"] != usual:
            words.append(f"with stdin {name}: status {_status(one['status'])}, the program's was 42")
        elif one["others"] and usual == 42:  # who makes statuses of its own, as supervisors do, says much in any case
            words.append(f"with stdin {name} it says: {one['others'][0]}")
    evidence = [line for one in act.seen.values() for line in one["others"][:3]]
    if not words:
        return passed("with stdin from /dev/null, and closed, it starts without a word")
    rare = act.seen["/dev/null"]["status"] == 42 and not act.seen["/dev/null"]["others"]  # engines close nobody's stdin
    return failed("; ".join(words), *evidence, severity=Severity.SHOULD if rare else None)


@needs_act("on_terminal")
def has_its_terminal(_case: Case, act: Act) -> Finding:
    """TT-01."""
    seen = act.seen
    if not seen["tty"]:
        return failed(
            "on a terminal, the program's stdin is none: nothing can be typed to it", severity=Severity.SHOULD
        )
    if seen.get("foreground") is False:
        return failed(
            "the program is in the background of its terminal: a shell cannot set the terminal's process group, and is stopped"
        )
    if "error" in seen:
        return failed(f"the program cannot use its terminal: {seen['error']}; a shell says that it has no job control")
    if not seen["jobs"]:
        return failed("no child of the program gets the terminal: there is no job control")
    if seen["text"] != TYPED:
        return failed(f"a line that was typed did not reach the program within {TYPED_WITHIN:g} s")
    return passed("the program is in the foreground of its terminal, reads what is typed, and has job control")


@needs_act("on_terminal")
def keys_reach_it(_case: Case, act: Act) -> Finding:
    """TT-02."""
    if not act.seen["tty"]:
        return skipped("the program has no terminal: see TT-01")
    keys = act.seen["keys"]
    lost = [f"SIG{name}" for name, times in keys.items() if not times]
    if lost:
        return failed(f"the program never got {', '.join(lost)} of the terminal's keys")
    twice = [f"SIG{name} {times} times" for name, times in keys.items() if times > 1]
    if twice:
        return failed(
            f"the program got more than was typed: {', '.join(twice)}; many take a second Ctrl-C for impatience",
            severity=Severity.SHOULD,
        )
    return passed("Ctrl-C, Ctrl-\\ and Ctrl-Z each reached the program, once")


@needs_act("refused_calls")
def takes_older_ways(case: Case, act: Act) -> Finding:
    """SE-01."""
    seen = act.seen
    what = "with a seccomp profile that refuses new system calls with EPERM"
    if "refused" in seen:
        return failed(f"{what} it does not run: {seen['refused']}")
    if seen["left"]:
        return failed(f"{what} it does not reap: {len(seen['left'])} of 20 orphans are still zombies")
    if not seen["answered"] and any(
        one["name"] == "USR1" and not one["heard"] for one in case.act("each_signal").seen.get("signals", ())
    ):
        return skipped("it forwards no signal where nothing is refused either: see SG-02")
    if not seen["answered"]:
        return failed(f"{what} it forwards no signal")
    if seen["status"] != 0:
        return failed(f"{what} the status is {_status(seen['status'])}; the program ended with 0")
    return passed(f"{what} it forwards, reaps and stops as before")


@needs_act("foreign")
def says_whom_it_may_not(_case: Case, act: Act) -> Finding:
    """PT-06."""
    own, foreign = act.seen["own"], act.seen["foreign"]
    if not own["asked"]:
        return skipped("it asks nobody but the program, or its group, so there is nobody whom it could not: see PT-02")
    if foreign["asked"]:
        return skipped("it asks the process of another user too: it has a right to")
    usual = {_without_numbers(line) for line in own["others"]}
    told = [line for line in foreign["others"] if _without_numbers(line) not in usual]
    if told:  # nothing else is otherwise between the two
        return passed("a process of another user, whom it may not signal, is told of", *told[:4])
    return failed(
        "a process of another user, whom it may not signal, was killed without having been asked, and no line says so"
    )


def _without_numbers(line: str) -> str:
    """What two lines of one kind have in common: not PIDs and times."""
    return re.sub(r"\d+", "", line)


@needs_act("crowd")
def under_pids_limit(_case: Case, act: Act) -> Finding:
    """SE-03."""
    seen = act.seen
    if not seen.get("full"):
        return skipped("the limit left no room for a single orphan")
    if not seen["reaped"]:
        return failed(f"with the limit of 20 processes reached, {seen['full']} orphans that ended were not reaped")
    if seen.get("full again", 0) < seen["full"]:
        return failed(f"{seen['full']} orphans fit at first, {seen.get('full again', 0)} when they had ended")
    if seen["status"] is None:
        return failed(f"with the limit of 20 processes reached it did not stop within {END_WITHIN:g} s")
    return passed(f"with the limit of 20 processes reached it reaped {seen['full']} orphans, twice, and stopped")
