"""`pyinitctl verify --init`: the table of checks that judge an init, and their run. The acts are in `init_acts`, the judges beside them.

Two promises are not judged, for they are about options that each init calls otherwise, or does not have: that a remapped exit status
changes no other (EX-03), and that an init refuses or warns of a time of its own that is longer than the grace period (GR-05), which no
init is told. Who gives `--init` such options sees what comes of them in EX-01, EX-02, PT-07 and GR-04.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyinit.containers.engine import EngineError
from pyinit.verify import init_judges as judges
from pyinit.verify.acts import ImpossibleError, perform
from pyinit.verify.evidence import Case
from pyinit.verify.init_acts import ACTS, Init, stage_of
from pyinit.verify.runner import (
    ImpossibleRunError,
    Plan,
    Run,
    finding_of,
    is_partial,
    once_more,
    result_of,
    side_by_side,
)
from pyinit.verify.verdicts import Check, Finding, Severity, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyinit.containers.engine import Engine
    from pyinit.containers.remote import Agent

MUST, SHOULD, NOTE = Severity.MUST, Severity.SHOULD, Severity.NOTE
OUTCOME, PROCESSES = Source.OUTCOME, Source.PROCESSES

DOCKER_GRACE = 10
"""Seconds of a stop when nobody says otherwise, as `docker stop` has them."""


def _check(
    id: str,  # noqa: A002 - what it is called
    title: str,
    severity: Severity,
    act: str,
    judge: Callable[[Case], Finding],
    why: str,
    fix: str = "",
    *,
    source: Source = OUTCOME,
    required: bool = False,
) -> Check:
    return Check(id, title, severity, act, "", source, why, fix, judge, required=required, clean=False)


CHECKS: tuple[Check, ...] = (
    _check(
        "SG-02", "every signal reaches the program, once", MUST, "each_signal", judges.each_once,
        "Programs reload on HUP, reopen logs on USR1, drain on QUIT: a signal that is lost or doubled is another command.",
        "forward what comes to the program, and to nobody twice.", source=PROCESSES, required=True,
    ),
    _check(
        "SG-03", "real-time signals reach the program", SHOULD, "real_time", judges.real_time,
        "systemd stops on RTMIN+3; an image may declare any signal as its STOPSIGNAL.",
        "forward 34 to 64 as well.", source=PROCESSES,
    ),
    _check(
        "SG-04", "a hundred signals, and it still works", MUST, "many_signals", judges.none_lost,
        "Signals of one number merge while one is pending; none may be lost beyond that, and nothing may hang.",
        "take signals as they come (signalfd, sigwaitinfo), and forward each before the next.", source=PROCESSES,
    ),
    _check(
        "SG-05", "SIGTERM to everybody at once", NOTE, "both_ways", judges.counted,
        "Some platforms signal every process; a program that counts (uvicorn: the second hurries) sees two.", source=PROCESSES,
    ),
    _check(
        "SG-08", "SIGTSTP and SIGCONT leave it responsive", SHOULD, "suspended", judges.resumes,
        "An init that stops itself forwards and reaps nothing.",
        "do not stop the init itself.", source=PROCESSES,
    ),
    _check(
        "SG-09", "SIGCHLD from outside does nothing", MUST, "child_signals", judges.false_child_signals,
        "Whoever takes SIGCHLD for an exit ends the container for nothing.",
        "ask waitpid who has ended, with WNOHANG, and believe nobody else.", source=PROCESSES,
    ),
    _check(
        "EX-01", "the program's exit status is the container's", MUST, "codes", judges.same_codes,
        "Restart policies, jobs and CI act on it.", "exit with the program's own status.", required=True,
    ),
    _check(
        "EX-02", "death by signal n is 128 + n", MUST, "deaths", judges.same_deaths,
        "143, 137 and 139 are how people tell a stop from a kill and a crash.",
        "exit with 128 + the signal's number.", required=True,
    ),
    _check(
        "EX-04", "a program that is killed for want of memory is 137", SHOULD, "memory", judges.want_of_memory,
        "An end for want of memory that looks like a clean one is not restarted, and nobody raises the limit.",
        "exit with 128 + the signal's number.",
    ),
    _check(
        "EX-05", "an orphan's exit status never becomes the container's", MUST, "stray", judges.not_the_orphans,
        "Orphans come and go; their status is nobody's business.", "keep the status of the program alone.",
    ),
    _check(
        "ZO-01", "an orphan that ends is reaped", MUST, "one_orphan", judges.one_reaped,
        "Each that is not reaped keeps its PID for ever.", "wait for any child (waitpid(-1)), not for the program alone.",
        source=PROCESSES, required=True,
    ),
    _check(
        "ZO-02", "zombies do not pile up", MUST, "many_orphans", judges.many_reaped,
        "SIGCHLD merges: one may stand for many dead.", "on each SIGCHLD call waitpid until nobody is left.", source=PROCESSES,
    ),
    _check(
        "ST-06", "2,000 orphans that end at once are all reaped", MUST, "flood", judges.flood_reaped,
        "Busy programs make that many, and an init that hangs or loses one then is worse than none.",
        "on each SIGCHLD call waitpid until nobody is left.", source=PROCESSES,
    ),
    _check(
        "PT-02", "who outlives the program gets a signal, and time", SHOULD, "worker", judges.worker_finishes,
        "When PID 1 leaves, the kernel kills everybody else at once: what a worker had not written is lost, and the status is 0.",
        "wait for the others before the init ends; or let the program wait for its own workers.", source=PROCESSES,
    ),
    _check(
        "PT-03", "a child in a session of its own is reached", SHOULD, "daemon", judges.own_session_reached,
        "Daemons and job runners leave the program's process group; a signal to the group does not find them.",
        "ask every descendant; or let the program pass signals on.", source=PROCESSES,
    ),
    _check(
        "PT-05", "on a stop each process can save", SHOULD, "several", judges.everybody_saves,
        "Workers that are not asked are killed with what they had in memory.",
        "send the stop signal to the program's group (tini -g); or let the program pass it on.", source=PROCESSES,
    ),
    _check(
        "PT-06", "a process of another user is not missed silently", SHOULD, "foreign", judges.says_whom_it_may_not,
        "An init that is not root cannot signal what another user runs: it is killed at the end, and nobody knows why.",
        "say which process could not be signalled (EPERM).", source=PROCESSES,
    ),
    _check(
        "PT-07", "a program that ignores SIGTERM is killed within the grace period", SHOULD, "deaf", judges.escalates,
        "Somebody has to: if it is the engine, everybody is killed with it, and no log says whose fault it was.",
        "send SIGKILL after a time of its own, shorter than the engine's.", source=PROCESSES,
    ),
    _check(
        "GR-04", "a slow program is not cut short", MUST, "slow", judges.not_cut_short,
        "The grace period was given for it to be used.", "configure the init's own time for this grace period.", source=PROCESSES,
    ),
    _check(
        "ST-03", "a program that cannot be started: 127 or 126, one line, at once", SHOULD, "missing", judges.start_fails_well,
        "Everybody's scripts know these two from the shell and from docker run.",
        "exit with 127 for ENOENT and 126 for EACCES, and say which program on stderr.",
    ),
    _check(
        "ST-07", "it works where it is not PID 1", MUST, "shared", judges.not_first,
        "Pods with a shared PID namespace, docker run --init and debuggers make another process PID 1.",
        "become a subreaper (PR_SET_CHILD_SUBREAPER), or say why not.", source=PROCESSES,
    ),
    _check(
        "ST-08", "it works under docker run --init", SHOULD, "nested", judges.under_another,
        "Images bring an init, and compose files say init: true.", "be an ordinary program where PID 1 is somebody else.", source=PROCESSES,
    ),
    _check(
        "FD-01", "signal masks and dispositions are passed on unchanged", MUST, "masks", judges.masks_as_they_were,
        "Who inherits a blocked SIGTERM cannot be stopped; who inherits an ignored SIGPIPE writes on for ever.",
        "restore the inherited mask and dispositions in the child, before exec.", source=PROCESSES,
    ),
    _check(
        "FD-02", "the program has descriptors 0, 1 and 2 only", MUST, "inherits", judges.three_descriptors,
        "Inherited descriptors keep pipes and sockets open.", "open everything with O_CLOEXEC.",
    ),
    _check(
        "FD-03", "environment, working directory, umask and limits are unchanged", MUST, "inherits", judges.nothing_changed,
        "The image and the engine set them; the program relies on it.", "change them for the init alone.",
    ),
    _check(
        "FD-04", "a writer without a reader ends", MUST, "pipeline", judges.pipe_ends,
        "Where SIGPIPE is ignored or blocked, pipelines in scripts never end.", "leave SIGPIPE as it was.",
    ),
    _check(
        "TT-01", "on a terminal the program has it", MUST, "on_terminal", judges.has_its_terminal,
        "Who debugs with docker run -it needs a prompt, and a shell needs job control.",
        "put the program into the foreground (tcsetpgrp), or leave it in the init's process group.",
    ),
    _check(
        "TT-02", "Ctrl-C, Ctrl-\\ and Ctrl-Z reach the program", MUST, "on_terminal", judges.keys_reach_it,
        "They are how people stop what they have started in a terminal.",
        "put the program into the foreground, or forward what comes to the init instead; not both.",
    ),
    _check(
        "TT-04", "it starts without a terminal, and without stdin", MUST, "no_stdin", judges.without_stdin,
        "Most containers have no terminal; noise about it fills logs.", "take ENOTTY, EBADF and ENXIO for what they are.",
    ),
    _check(
        "SE-01", "it works where new system calls are refused", MUST, "refused_calls", judges.takes_older_ways,
        "Older engines answer EPERM to what they do not know, where a kernel says ENOSYS.",
        "take any refusal of a newer call for its absence.", source=PROCESSES,
    ),
    _check(
        "SE-03", "it reaps and stops at the limit of processes", MUST, "crowd", judges.under_pids_limit,
        "When no more processes can be started, reaping is the only way out.", "start nothing in order to reap or to stop.",
        source=PROCESSES,
    ),
    _check(
        "K8-05", "a forced end is in the termination log", SHOULD, "last_word", judges.termination_log,
        "kubectl describe shows it where nobody has kept the log.", "write a line to /dev/termination-log.", source=PROCESSES,
    ),
)  # fmt: skip

BY_ID = {check.id: check for check in CHECKS}

LONGEST = ("slow", "deaf", "last_word", "codes", "deaths", "flood")
"""Acts that are begun first, so that the others run beside them."""

TIMED = ("each_signal",)
"""Acts that measure milliseconds."""


def verify_init(
    engine: Engine,
    agent: Agent,
    init: Init,
    plan: Plan,
    tell: Callable[[str, int, int], None],
    *,
    grace: int = DOCKER_GRACE,
    options: Mapping[str, object] | None = None,
) -> Run:
    """Judges an init. `grace`: seconds that each stop gives. `plan.checks` are of CHECKS.

    Raises ImpossibleRunError, and ObserverError when the observer was gone at the end.
    """
    try:
        stage = stage_of(engine, agent, init, grace, options or {})
    except (ImpossibleError, EngineError) as error:
        raise ImpossibleRunError(str(error)) from None
    checks = [check for check in plan.checks if check.id in BY_ID] or list(CHECKS)
    wanted = list(dict.fromkeys(check.act for check in checks if check.id not in plan.left_out))
    wanted.sort(key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    tell("stop", 0, len(wanted) + 1)
    do = partial(perform, stage, table=ACTS)
    first = do("stop")
    if first.stop is None:
        hint = (
            "" if "--" in init.words or not init.words else "; many inits want -- before the program: --init 'PATH --'"
        )
        raise ImpossibleRunError(f"no program runs under it: {first.impossible}{hint}")
    acts = {"stop": first}
    for name in (one for one in wanted if one in TIMED):  # nothing else of ours runs beside them
        acts[name] = do(name)
    acts |= side_by_side(do, [name for name in wanted if name not in acts], plan.jobs, tell)
    acts |= once_more(do, acts, lambda some: _failed(stage.case(some), checks))
    agent.now()  # is the observer still there, and with it the engine?
    case = stage.case(acts)
    return Run(
        case,
        tuple(result_of(case, check, plan, finding_of) for check in checks),
        first.stop.source,
        first.stop.ready.how if first.stop.ready else "",
        is_partial(plan, CHECKS),
    )


def _failed(case: Case, checks: Sequence[Check]) -> set[str]:
    """The acts that fail one of these checks."""
    return {check.act for check in checks if finding_of(case, check).verdict is Verdict.FAIL}
