"""The catalogue: one table of all checks of an image. `pyinitctl verify --list-checks` prints it, the runner follows it.

A check that judges a stop presupposes, where `clean` says so, that the container stops cleanly at all (SG-01).
"""

from __future__ import annotations

from pyinit.verify import judges
from pyinit.verify.verdicts import Check, Severity, Source

MUST, SHOULD, NOTE = Severity.MUST, Severity.SHOULD, Severity.NOTE
OUTCOME, PROCESSES, SIGNALS = Source.OUTCOME, Source.PROCESSES, Source.SIGNALS

INIT_FIX = 'put an init in front of the program: ENTRYPOINT ["pyinit", "--"]'
EXEC_FIX = (
    'write "exec" before the last command of the script, or the array form: CMD ["program", "argument"] instead of '
    "CMD program argument"
)

CHECKS: tuple[Check, ...] = (
    Check(
        "SG-01", "PID 1 ends on the stop signal", MUST, "stop", "", OUTCOME,
        "Whoever does not end is SIGKILLed when the grace period is over: unsaved work is lost, connections are cut, and each "
        "deployment waits for all of the grace period.",
        f"{INIT_FIX}; or handle the signal in the program; or set the STOPSIGNAL that it understands.",
        judges.stops_on_signal, required=True, clean=False,
    ),
    Check(
        "SG-06", "the declared STOPSIGNAL reaches the program", MUST, "stop", "a STOPSIGNAL other than SIGTERM", SIGNALS,
        "An image declares a STOPSIGNAL because its program means something else by SIGTERM: nginx drops its requests on it.",
        'start the program without a shell in front, or tell the init: ENTRYPOINT ["pyinit", "--stop-signals", "QUIT", "--"].',
        judges.stop_signal_heard, clean=False,
    ),
    Check(
        "SG-07", "SIGKILL and SIGSTOP from inside do nothing to PID 1", NOTE, "inside", "a runtime without a kernel of its own",
        OUTCOME,
        "On Linux a PID 1 is protected from its own namespace; other runtimes differ.",
        "", judges.inside_is_harmless, clean=False,
    ),
    Check(
        "GR-01", "it is over within the grace period", MUST, "stop", "", OUTCOME,
        "What is not over when the grace period ends is killed by the engine.",
        "shorten what is done on the stop signal, or give it more: docker stop -t, stop_grace_period, terminationGracePeriodSeconds.",
        judges.within_grace, required=True, clean=False,
    ),
    Check(
        "GR-02", "what docker stop -t 0 does", NOTE, "at_once", "", OUTCOME,
        "With no grace at all nobody is asked: whatever the container has not saved is lost.",
        "", judges.no_grace, clean=False,
    ),
    Check(
        "GR-03", "a second stop signal does no harm", SHOULD, "twice", "a stop that takes long enough to be interrupted", PROCESSES,
        "Impatient people, Heroku, and inits under inits send it twice.",
        "make the second signal hurry the first, not start over and not abandon children.",
        judges.second_signal,
    ),
    Check(
        "GR-06", "a request under way is finished", SHOULD, "request", "--request URL", OUTCOME,
        "Each deployment stops containers that are answering somebody.",
        "on the stop signal stop accepting, finish what is under way, then end; with --drain pyinit waits before it passes the signal on.",
        judges.request_finished,
    ),
    Check(
        "PT-01", "no shell keeps the stop signal from the program", MUST, "stop", "a program behind a shell", PROCESSES,
        "A shell that waits for a command in the foreground passes no signal on, and acts on its own only when that has ended.",
        EXEC_FIX + ".", judges.program_was_asked, clean=False,
    ),
    Check(
        "PT-04", "nobody is SIGKILLed: every process ends by itself", MUST, "stop", "", PROCESSES,
        "When PID 1 leaves, the kernel kills everybody else in the container at once, without a word in any log: what they had not "
        "written is lost although the exit status is 0.",
        f"wait for the children before PID 1 ends; or {INIT_FIX}, which asks each of them and waits.",
        judges.nobody_killed, required=True,
    ),
    Check(
        "EX-06", "a clean stop has exit status 0", SHOULD, "stop", "", OUTCOME,
        "143 counts as a failure: jobs are restarted, alarms go off.",
        "handle the signal and exit with 0; or, where the status cannot be changed: pyinit --expect TERM, or "
        "--expect-exit here if it is meant.",
        judges.exit_status,
    ),
    Check(
        "ST-01", "PID 1 is no shell that only waits", SHOULD, "stop", "", PROCESSES,
        "Such a shell is the reason for most stops that take ten seconds.",
        EXEC_FIX + ".", judges.no_waiting_shell, clean=False,
    ),
    Check(
        "ST-02", "stop signals lost right after the start", NOTE, "early", "", OUTCOME,
        "The kernel drops a signal to a PID 1 that has not said yet what it wants of it: a container that is stopped while it starts "
        "takes all of the grace period.",
        "", judges.early_signal,
    ),
    Check(
        "ST-04", "it stops as any user (OpenShift)", MUST, "openshift", "becoming ready as such a user", OUTCOME,
        "OpenShift runs containers as a user whom no passwd knows, in the group root.",
        "do not look the user up; an init that runs as another user than the program cannot signal it.",
        judges.as_any_user,
    ),
    Check(
        "ST-05", "it stops with a read-only root and without capabilities", MUST, "readonly", "becoming ready so", OUTCOME,
        "Hardened clusters run containers so; a stop script that writes a file fails there.",
        "let nothing that the stop needs write to the root file system, or depend on a capability.",
        judges.with_readonly_root,
    ),
    Check(
        "TT-03", "a resized terminal does not stop it", SHOULD, "resized", "becoming ready on a terminal", OUTCOME,
        "docker run -t sends SIGWINCH whenever a window changes; Apache httpd stops on it.",
        "ignore SIGWINCH in the program, or do not give it a terminal; pyinit --rewrite WINCH:0 drops it.",
        judges.resize_is_harmless,
    ),
    Check(
        "ZO-01", "an orphan that ends is reaped", MUST, "orphans", "a runtime that lets us in", PROCESSES,
        "PID 1 adopts whoever loses its parent. If it does not reap them, each leaves a zombie, until no process can be started.",
        f"{INIT_FIX}, or docker run --init.", judges.orphans_reaped, required=True, clean=False,
    ),
    Check(
        "ZO-02", "zombies do not pile up", MUST, "orphans", "a runtime that lets us in", PROCESSES,
        "A health check that leaves one each time fills the PID limit within days.",
        f"{INIT_FIX}, or docker run --init.", judges.zombies_flat, clean=False,
    ),
    Check(
        "ZO-03", "zombies that the program itself does not reap", NOTE, "stop", "", PROCESSES,
        "A zombie whose parent lives is the parent's: no init can reap it.",
        "", judges.lazy_parents, clean=False,
    ),
    Check(
        "ZO-04", "an exec session that hangs", NOTE, "hung", "a runtime that lets us in", OUTCOME,
        "The kernel lets no PID 1 go while somebody in its namespace is neither dead nor reaped.",
        "", judges.hanging_exec,
    ),
    Check(
        "FD-05", "what it writes last reaches the log", SHOULD, "stop", "--last-log REGEX", OUTCOME,
        "The last lines are the ones that say why it stopped.",
        "flush before the end; let nobody who still writes outlive PID 1.",
        judges.last_words, clean=False,
    ),
)  # fmt: skip

BY_ID = {check.id: check for check in CHECKS}

ALIASES = {"openshift": "ST-04", "readonly": "ST-05"}
"""What `--require` calls them."""
