"""The judges: what each check says about the evidence. Pure functions; the table `catalogue` says which of them a check is.

A judge asks for what it needs and skips where that is absent, so that nothing passes for lack of evidence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyinit.containers.account import How
from pyinit.init import signals
from pyinit.init.options import show
from pyinit.verify.acts import EARLY, REAP_WITHIN
from pyinit.verify.evidence import Act, Case, Gap, Stop, describe, is_copy_of, is_shell, listed
from pyinit.verify.verdicts import Finding, Severity, failed, note, passed, skipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinit.containers.account import Process

INTERRUPTIBLE = 0.5
"""Seconds that a stop has to take for a second signal surely to come in the middle of it, however busy the machine is: and a fifth
more, so that a program whose stop takes half a second is always judged alike."""


def needs_act(act: str) -> Callable[[Callable[[Case, Act], Finding]], Callable[[Case], Finding]]:
    """For judges of that act: skips when it was impossible."""

    def wrap(judge: Callable[[Case, Act], Finding]) -> Callable[[Case], Finding]:
        def judged(case: Case) -> Finding:
            evidence = case.act(act)
            return skipped(evidence.impossible) if evidence.impossible else judge(case, evidence)

        judged.__doc__ = judge.__doc__
        return judged

    return wrap


def needs_stop(act: str) -> Callable[[Callable[[Case, Act, Stop], Finding]], Callable[[Case], Finding]]:
    """For judges of an act that ends in a stop: skips when there was none."""

    def wrap(judge: Callable[[Case, Act, Stop], Finding]) -> Callable[[Case], Finding]:
        def judged(case: Case) -> Finding:
            evidence = case.act(act)
            return judge(case, evidence, evidence.stop) if evidence.stop else skipped(evidence.impossible)

        judged.__doc__ = judge.__doc__
        return judged

    return wrap


def ended_how(stop: Stop, process: Process) -> str:
    """A line of evidence: who, how, when."""
    words, when = "", ""
    for bar in stop.timeline.bars if stop.timeline else ():
        if bar.inside == process.inside and bar.name == process.name:
            words, when = bar.words, f" after {bar.ended:.2f} s" if bar.ended is not None else ""
    return f"{describe(process)}: {words or stop.how(process).value}{when}"


def seconds_of(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


SERVER_ERROR = 500
"""From this HTTP status on the server says itself that it could not."""

NOT_READY = (
    "it was not ready when it was asked to stop: it seemed settled, and stopped as it should when it had been given "
    "five times as long. Say when it is ready: --ready-log, --ready-tcp or --ready-cmd"
)


def _was_not_ready(case: Case) -> bool:
    """Whether the plain stop says nothing, because it came too early."""
    patient = case.act("patient").stop
    return patient is not None and not patient.forced


# --- signals ---


@needs_stop("stop")
def stops_on_signal(case: Case, _act: Act, stop: Stop) -> Finding:
    """SG-01: PID 1 ends by itself after the stop signal."""
    if not stop.forced:
        return passed(f"PID 1 ended {seconds_of(stop.seconds)} after {case.stop_signal}, with status {stop.status}")
    if _was_not_ready(case):
        return skipped(NOT_READY)
    first = stop.members[0] if stop.members else None
    evidence = [ended_how(stop, process) for process in stop.members]
    words = f"PID 1 did not end within {seconds_of(stop.grace)} of {case.stop_signal}: the engine had to SIGKILL it"
    fix = ""
    if first is not None and stop.sees_signals and not stop.heard(first):
        words += ". It has no handler for the signal, so the kernel dropped it (a PID 1 has no default action)"
        fix = (
            'put an init in front of the program: ENTRYPOINT ["pyinit", "--"]; or handle '
            f"{case.stop_signal} in the program"
        )
    return failed(words, *evidence, fix=fix)


@needs_stop("stop")
def stop_signal_heard(case: Case, _act: Act, stop: Stop) -> Finding:
    """SG-06: the declared stop signal is what the program gets."""
    if not case.image.declares_stop_signal or case.image.stop_signal == signals.TERM:
        return skipped("the image declares no STOPSIGNAL other than SIGTERM")
    if stop.timeline is None:
        return skipped("nothing of it could be watched")
    first = next((seen for seen in stop.before if seen.inside == 1), None)
    # forks of PID 1: it is the program itself, and what it tells its own processes is its own affair
    own = {1} | {seen.inside for seen in stop.before if first and is_copy_of(seen, first)}
    programs = [bar for bar in stop.timeline.bars if bar.inside not in own] or list(stop.timeline.bars)
    got = [bar for bar in programs if any(one.number == case.image.stop_signal and one.heard for one in bar.asked)]
    if got:
        return passed(f"{case.stop_signal} reached {got[0].inside} {got[0].name}")
    others = sorted(
        {signals.name_of(one.number) for bar in programs for one in bar.asked if one.number != signals.KILL}
    )
    instead = f"; what came instead: {', '.join(others)}" if others else ""
    return failed(
        f"{case.stop_signal}, the image's STOPSIGNAL, had an effect on nobody but PID 1{instead}"
        if len(stop.timeline.bars) > 1
        else f"{case.stop_signal}, the image's STOPSIGNAL, had no effect on PID 1"
    )


@needs_act("inside")
def inside_is_harmless(_case: Case, act: Act) -> Finding:
    """SG-07: what SIGKILL and SIGSTOP from inside do to PID 1."""
    effects = act.seen["effects"]
    return note("; ".join(f"{name} from inside: {effect}" for name, effect in effects.items()))


# --- the process tree ---


@needs_stop("stop")
def no_waiting_shell(case: Case, _act: Act, stop: Stop) -> Finding:
    """ST-01: PID 1 is not a shell that only waits for one child. One that traps the stop signal, and ends on it, does more."""
    first = next((seen for seen in stop.before if seen.inside == 1), None)
    if first is None:
        return skipped("PID 1 could not be looked at")
    children = [seen for seen in stop.before if seen.parent == first.pid and not seen.is_zombie]
    traps = bool(first.caught >> (case.image.stop_signal - 1) & 1)
    if is_shell(first) and traps and not stop.forced:
        return passed(f"PID 1 is the shell {first.name!r}, which handles {case.stop_signal}")
    if is_shell(first) and len(children) == 1:
        return failed(
            f"PID 1 is the shell {first.name!r}, which waits for {describe(children[0])}",
            f"1: {first.command}",
            f"{children[0].inside}: {children[0].command}",
        )
    return passed(f"PID 1 is {first.name!r}" + (f" with {len(children)} children" if is_shell(first) else ""))


@needs_stop("stop")
def program_was_asked(case: Case, _act: Act, stop: Stop) -> Finding:
    """PT-01: a shell in front of the program passes the stop signal on, or is not there."""
    first = next((seen for seen in stop.before if seen.inside == 1), None)
    if first is None or stop.account is None:
        return skipped("the processes could not be looked at")
    shells = {seen.pid for seen in stop.before if is_shell(seen)}
    behind = [
        process
        for process in stop.members
        if process.parent in shells and not process.is_init and process.pid not in shells and process.born <= stop.began
    ]
    if not behind:
        return passed(f"no program runs behind a shell (PID 1 is {first.name!r})")
    deaf = [process for process in behind if stop.how(process).is_kill]
    if not deaf:
        return passed(f"{listed(behind)} ran behind a shell and ended without being killed")
    straight = case.act("straight")
    asked, went_on = ({tuple(one) for one in straight.seen.get(key, ())} for key in ("asked", "went_on"))
    if stop.sees_signals:
        unasked = [process for process in deaf if not stop.heard(process)]
    elif straight.seen:
        unknown = [process for process in deaf if (process.name, process.command) not in asked]
        if unknown:
            return skipped(
                f"{listed(unknown)} was killed, and was not found in a fresh container, to be asked directly"
            )
        unasked = [process for process in deaf if (process.name, process.command) not in went_on]
    else:
        return skipped(f"{listed(deaf)} was killed, and {stop.source} does not show whether it had been asked")
    if not unasked:
        return passed(f"{listed(deaf)} ran behind a shell, had the signal and went on")
    proof = [f"asked directly, in a fresh container: {name} ended" for name, _ in sorted(asked - went_on)]
    return failed(
        f"{listed(unasked)} runs behind a shell, which did not pass {case.stop_signal} on: it never got the signal, and was killed",
        *(ended_how(stop, process) for process in stop.members),
        *proof,
    )


@needs_stop("stop")
def nobody_killed(_case: Case, _act: Act, stop: Stop) -> Finding:
    """PT-04: nobody is left when PID 1 goes, and nobody is SIGKILLed before."""
    if stop.account is None:
        return skipped("needs a view of the processes, and there is none (the runtime has a kernel of its own)")
    if not any(process.is_init for process in stop.members):
        return skipped("the observer did not find PID 1")
    killed = stop.killed
    unknown = [process for process in stop.members if stop.how(process) in (How.UNKNOWN, How.ALIVE)]
    if killed:
        left = [process for process in killed if stop.how(process) is How.KILLED_BY_NAMESPACE_END]
        by_init = [process for process in killed if stop.how(process) is How.KILLED_BY_INIT]
        words = []
        if left:
            words.append(f"{listed(left)} still lived when PID 1 left, and the kernel killed them")
        if by_init:
            words.append(f"PID 1 killed {listed(by_init)}")
        if len(left) + len(by_init) < len(killed):
            words.append(f"{listed([one for one in killed if one not in left and one not in by_init])} was SIGKILLed")
        never = [process for process in killed if stop.sees_signals and not stop.heard(process)]
        if never:
            words.append(f"never asked: {listed(never)}")
        return failed("; ".join(words), *(ended_how(stop, process) for process in stop.members))
    if unknown:
        return skipped(f"how {listed(unknown)} ended is not known ({stop.source}: {'; '.join(stop.account.blind)})")
    if stop.source == "pidfd":
        return passed(
            f"all {len(stop.members)} processes that were seen ended by themselves (the source pidfd misses short-lived ones)"
        )
    return passed(f"all {len(stop.members)} processes ended by themselves")


# --- exit status ---


@needs_stop("stop")
def exit_status(case: Case, _act: Act, stop: Stop) -> Finding:
    """EX-06: the exit status of a clean stop says success."""
    expected = {0, *case.options.get("expect_exit", ())}
    if stop.status in expected:
        return passed(f"exit status {stop.status}")
    meaning = f" (128 + {signals.name_of(stop.status - 128)})" if stop.status - 128 in signals.ALL else ""
    return failed(
        f"exit status {stop.status}{meaning} after a clean stop: Kubernetes, systemd and CI call that a failure"
    )


# --- grace ---


@needs_stop("stop")
def within_grace(case: Case, _act: Act, stop: Stop) -> Finding:
    """GR-01: it is over within the grace period."""
    if _was_not_ready(case):
        return skipped(NOT_READY)
    if stop.forced or stop.seconds >= stop.grace:
        return failed(f"{seconds_of(stop.seconds)} of {seconds_of(stop.grace)}: the whole grace period")
    margin = stop.grace - stop.seconds
    return passed(f"{seconds_of(stop.seconds)} of {seconds_of(stop.grace)}: {seconds_of(margin)} to spare")


@needs_act("at_once")
def no_grace(_case: Case, act: Act) -> Finding:
    """GR-02: what `docker stop -t 0` costs."""
    return note(f"docker stop -t 0 took {seconds_of(act.seen['seconds'])}: SIGKILL at once, nobody was asked")


@needs_stop("twice")
def second_signal(case: Case, act: Act, stop: Stop) -> Finding:
    """GR-03: a second stop signal does no harm."""
    plain = case.plain
    if not act.seen["sent"] or (plain is not None and plain.seconds < 1.2 * INTERRUPTIBLE):
        return skipped("it ends before a second signal can be sent")
    if stop.forced:
        return failed(
            f"with a second {case.stop_signal} it did not end within {seconds_of(stop.grace)}",
            *(ended_how(stop, process) for process in stop.members),
        )
    before = {process.name for process in plain.killed} if plain else set()
    more = [process for process in stop.killed if process.name not in before]
    if more:
        return failed(
            f"a second {case.stop_signal} left {listed(more)} to SIGKILL, one did not",
            *(ended_how(stop, process) for process in stop.members),
        )
    usual = {0, *case.options.get("expect_exit", ()), plain.status if plain else 0}
    if stop.status not in usual:
        return failed(
            f"exit status {stop.status} after a second {case.stop_signal}; {plain.status if plain else 0} after one"
        )
    hurried = plain is not None and stop.seconds < 0.7 * plain.seconds
    return passed(
        f"{'it hurried' if hurried else 'no harm done'}: ended after {seconds_of(stop.seconds)} with status {stop.status}"
    )


@needs_act("request")
def request_finished(_case: Case, act: Act) -> Finding:
    """GR-06: a request that is under way is finished."""
    seen = act.seen
    if seen.get("early"):
        return skipped("the request was over before the stop began: give a --request URL that takes a second or more")
    complete = seen.get("complete", False)
    if complete is not False and _code_of(seen["status"]) >= SERVER_ERROR:
        return failed(f"the request that was under way was not served: {seen['status']}")
    if complete is None:
        return skipped(
            f"whether the answer is whole cannot be told: {seen['status']}, {seen['bytes']} bytes, with neither Content-Length nor chunks"
        )
    if complete:
        return passed(f"the request that was under way was answered: {seen['status']}, {seen['bytes']} bytes")
    return failed(
        f"the request that was under way was cut off: {seen.get('error') or 'the answer is not complete'} "
        f"after {seen.get('bytes', 0)} bytes"
    )


def _code_of(status: str) -> int:
    """503 of `HTTP/1.1 503 Service Unavailable`; 0 where there is none."""
    code = status.partition(" ")[2][:3]
    return int(code) if code.isdecimal() else 0


# --- start ---


@needs_act("early")
def early_signal(_case: Case, act: Act) -> Finding:
    """ST-02: how many stop signals are lost right after the start."""
    lost, rounds = act.seen["lost"], act.seen["rounds"]
    total = sum(lost.values())
    window = max((delay for delay, number in lost.items() if number), default=None)
    words = f"{total} of {rounds * len(EARLY)} lost"
    if window is not None:
        words += f"; the last {window * 1000:g} ms after the start"
    return note(
        words, *(f"{delay * 1000:g} ms after the start: {number} of {rounds} lost" for delay, number in lost.items())
    )


def _as_before(act_name: str, needs: str) -> Callable[[Case], Finding]:
    """A stop under other circumstances is compared with the plain one."""

    def judge(case: Case) -> Finding:
        act = case.act(act_name)
        if act.stop is None:
            return skipped(f"{needs}: {act.impossible}" if act.gap is Gap.NOT_READY else act.impossible)
        stop, plain = act.stop, case.plain
        evidence = [ended_how(stop, process) for process in stop.members]
        if stop.forced:
            return failed(f"it did not end within {seconds_of(stop.grace)} of {case.stop_signal}", *evidence)
        before = {process.name for process in plain.killed} if plain else set()
        more = [process for process in stop.killed if process.name not in before]
        if more:
            return failed(f"{listed(more)} was SIGKILLed, which does not happen otherwise", *evidence)
        if plain and stop.status != plain.status:
            return failed(f"exit status {stop.status}, otherwise {plain.status}", *evidence)
        return passed(f"it stops as before: {seconds_of(stop.seconds)}, status {stop.status}")

    return judge


as_any_user = _as_before("openshift", "it needs root, or a user that it knows")
with_readonly_root = _as_before("readonly", "it needs a writable path, or a capability")


# --- terminal ---


def resize_is_harmless(case: Case) -> Finding:
    """TT-03: a change of the terminal's size does not stop it."""
    act = case.act("resized")
    if act.impossible:
        return skipped(f"on a terminal: {act.impossible}")
    if act.seen["ended"]:
        return failed(
            f"it ended with status {act.seen['status']} when the size of its terminal changed: SIGWINCH stops it"
        )
    if act.seen["unheard"]:
        return skipped("the size of its terminal was changed, and no SIGWINCH came")
    return passed("a change of the terminal's size does not stop it")


# --- zombies ---


@needs_act("orphans")
def orphans_reaped(_case: Case, act: Act) -> Finding:
    """ZO-01: an orphan that ends is reaped."""
    seen = act.seen
    if seen["ended"] is not None:
        return _ended_with_orphans(seen["ended"])
    if not seen["injected"]:
        return skipped("no orphan could be put in")
    adopter = seen["adopter"]
    own = seen["own"]
    zombies = (*seen["zombies"][:1], *own)
    if not zombies:
        return passed("an orphan that ended was reaped at once")
    severity = Severity.MUST if own or seen["health_zombies"] or seen["left_orphan"] else Severity.SHOULD
    name = adopter.name if adopter else "PID 1"
    whose = ("an orphan that was put in", f"{len(own)} of its own")[bool(own)]
    return failed(
        f"PID 1 ({name}) does not reap orphans: {whose} was still a zombie after {REAP_WITHIN:g} s",
        *(f"{one.inside} {one.name}: {one.state}, parent {1}" for one in zombies),
        severity=severity,
    )


def _ended_with_orphans(status: int) -> Finding:
    return failed(
        f"it ended, with status {status}, when orphans in it ended: so does a PID 1 that takes any end for its child's"
    )


@needs_act("orphans")
def zombies_flat(_case: Case, act: Act) -> Finding:
    """ZO-02: many orphans, and ten runs of the health check, leave no zombies."""
    seen = act.seen
    if seen["ended"] is not None:
        return _ended_with_orphans(seen["ended"])
    left, health = len(seen["zombies"]), len(seen["health_zombies"])
    if health:
        return failed(
            f"10 runs of its HEALTHCHECK left {health} zombies, and so it goes on for as long as it runs",
            *(f"{one.inside} {one.name}" for one in seen["health_zombies"]),
        )
    if left:
        return failed(
            f"{left} of {seen['injected']} orphans are still zombies after {REAP_WITHIN:g} s: each takes a PID for ever",
            severity=Severity.SHOULD,
        )
    if seen["health"] and all(status == 125 for status in seen["health"]):
        return skipped("the engine could not run its HEALTHCHECK; of orphans that were put in, none is left")
    runs = (
        f", and after 10 runs of its HEALTHCHECK ({sum(1 for one in seen['health'] if one == 0)} of them healthy)"
        if seen["health"]
        else ""
    )
    return passed(f"none of {seen['injected']} orphans is left{runs}")


@needs_stop("stop")
def lazy_parents(_case: Case, _act: Act, stop: Stop) -> Finding:
    """ZO-03: zombies whose own parent lives are that parent's to reap."""
    if not stop.before:
        return skipped("the processes could not be looked at")
    init = next((seen for seen in stop.before if seen.inside == 1), None)
    lazy = [seen for seen in stop.zombies() if init is None or seen.parent != init.pid]
    if not lazy:
        return note("no zombie has a living parent other than PID 1")
    names = {seen.pid: seen for seen in stop.before}
    return note(
        f"{len(lazy)} zombies whose parent lives and does not reap them: that is a fault of the program, which no init can put right",
        *(
            f"{describe(seen)}, child of {describe(names[seen.parent]) if seen.parent in names else '?'}"
            for seen in lazy
        ),
    )


@needs_stop("hung")
def hanging_exec(case: Case, _act: Act, stop: Stop) -> Finding:
    """ZO-04: an exec session that hangs does not hold up the stop."""
    plain = case.plain
    usual = f" (without it {seconds_of(plain.seconds)})" if plain else ""
    if stop.forced and not (plain and plain.forced):
        return note(f"with a stopped exec session in it, it did not end within {seconds_of(stop.grace)}{usual}")
    return note(f"with a stopped exec session in it, it ended after {seconds_of(stop.seconds)}{usual}")


# --- output ---


@needs_stop("stop")
def last_words(case: Case, _act: Act, stop: Stop) -> Finding:
    """FD-05: what it writes last reaches the log."""
    wanted = case.options.get("last_log")
    if not wanted:
        return skipped("no --last-log REGEX was given")
    if re.search(wanted, stop.logs, re.MULTILINE):
        return passed(f"{wanted!r} is in its log")
    return failed(f"{wanted!r} is not in its log after the stop", *(show(line) for line in stop.logs.splitlines()[-5:]))
