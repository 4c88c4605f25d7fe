"""As PID 1 of a PID namespace, and in namespaces that are not its own."""

import os
import re
import signal as signals
import time
from collections.abc import Callable

import pytest

from support import processes
from support.engines import Engine
from support.runs import NAMESPACE, PID_NAMESPACE, Run, python, shell
from support.waiting import until

Start = Callable[..., Run]
pytestmark = pytest.mark.usefixtures("as_root")

FOREIGN_PROC = ("unshare", "--pid", "--fork", "--kill-child", "--")
"""PID 1 of a namespace, with the /proc of the one above: its numbers are somebody else's."""
NO_PROC = (
    "unshare",
    "--pid",
    "--fork",
    "--mount",
    "--kill-child",
    "--",
    "sh",
    "-c",
    'umount -l /proc; exec "$@"',
    "sh",
)
"""PID 1 without any /proc."""


def namespace(run: Run) -> Run:
    """Find PID 1 of a run that a wrapper put into a namespace."""
    run._pid = until(
        lambda: [pid for pid in processes.descendants(run.process.pid) if processes.inner_pid(pid) == 1], 10, "PID 1"
    )[0]
    return run


def test_is_pid_1(start: Start) -> None:
    """What the other tests rely on."""
    run = start("-v", "--", "sh", "-c", "echo $PPID; readlink /proc/1/cwd", where=NAMESPACE)
    assert run.wait() == 0
    assert run.lines[0] == "1"
    assert "as PID 1" in run.err


def test_ten_thousand_orphans(start: Start) -> None:
    """All reaped, no zombie left, and no memory kept for any of them."""
    code = """
def orphans(count):
    for _ in range(count // 100):
        if os.fork() == 0:
            for _ in range(100):
                os.fork() or os._exit(0)
            os._exit(0)
        os.wait()
orphans(200)
block(10)
say("warm")
signal.sigwait({10})
orphans(10_000)
say("done")
signal.sigwait({10})
"""
    run = start("-v", "--", *python(code), where=NAMESPACE)
    run.wait_out("warm")

    def is_alone() -> bool:
        return processes.children(run.pid) == [run.program]

    until(is_alone, 10, "the first orphans' end")
    before = processes.private_dirty(run.pid)
    os.kill(run.program, signals.SIGUSR1)
    run.wait_out("done", 60)
    until(is_alone, 10, "the orphans' end")
    assert processes.private_dirty(run.pid) - before <= 64
    os.kill(run.program, signals.SIGUSR1)
    assert run.wait() == 0
    assert "10200 orphans reaped" in run.err
    assert len(run.report) < 10


def test_idle_is_idle(start: Start) -> None:
    """No wake-up over one second (this measures a duration, so it waits for one)."""
    run = start("--", "sleep", "60", where=NAMESPACE).armed()
    before = processes.switches(run.pid)
    end = time.monotonic() + 1
    until(lambda: time.monotonic() > end, 3, "one second")
    assert processes.switches(run.pid) == before


def test_outsider_does_not_hold_up_the_exit(start: Start, start_any: Start) -> None:
    """A `docker exec` has its parent outside: the exit does not wait for it, and it is asked neither."""
    run = start("--", *python("block(); say('ready'); record(10)"), where=NAMESPACE).ready()
    guest = python("block(15); say('ready'); signal.sigwait({15}); say('asked')")
    outsider = start_any(
        "nsenter", "--target", str(run.pid), "--pid", "--mount", "--root", "--wd", "--", *guest
    ).ready()
    began = time.monotonic()
    assert run.send("USR1").wait() == 0
    assert time.monotonic() - began < 20
    assert outsider.wait() != 0  # killed by the kernel with its namespace
    assert "asked" not in outsider.lines


def test_signals_do_not_reach_an_outsider(start: Start, start_any: Start) -> None:
    """TERM, even to the tree, is for our own: a debugging session stays."""
    run = start("--scope", "tree", "--", *python("block(); say('ready'); record(10)"), where=NAMESPACE).ready()
    guest = python("block(); say('ready'); record(64)")
    outsider = start_any(
        "nsenter", "--target", str(run.pid), "--pid", "--mount", "--root", "--wd", "--", *guest
    ).ready()
    run.send("TERM")
    run.wait_out("15")
    os.kill(
        processes.children(outsider.process.pid)[0] if processes.children(outsider.process.pid) else outsider.pid, 64
    )
    assert outsider.wait() == 0
    assert outsider.lines == ["ready", "64"]
    assert run.send("USR1").wait() == 0


def test_orphan_of_an_outsider_is_reaped(start: Start, start_any: Start) -> None:
    """What a `docker exec` leaves behind becomes ours, and no zombie of it stays."""
    run = start("-vvv", "--", "sleep", "60", where=NAMESPACE).armed()
    outsider = start_any(
        "nsenter",
        "--target",
        str(run.pid),
        "--pid",
        "--mount",
        "--root",
        "--wd",
        "--",
        *python("daemon(lambda: os._exit(9))"),
    )
    assert outsider.wait() == 0
    run.wait_err(r"reaped orphan \d+: exit 9")
    assert processes.children(run.pid) == [run.program]


@pytest.fixture
def bystander(start_any: Start) -> Run:
    """Somebody else's process on this machine, which says whether it was signalled."""
    return start_any(*python("block(); say('ready'); record(64)")).ready()


def unharmed(bystander: Run) -> None:
    """It heard nothing but our marker."""
    bystander.send(64)
    assert bystander.wait() == 0
    assert bystander.lines == ["ready", "64"]


CASES = {
    "program ends": ("", False),
    "stop": ("TERM", False),
    "deaf program and daemon": ("TERM", True),
}


@pytest.mark.parametrize("words", [(), ("--scope", "tree"), ("--linger", "0")], ids=["default", "tree", "linger 0"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("wrapper", [FOREIGN_PROC, NO_PROC], ids=["foreign /proc", "no /proc"])
def test_blind_it_harms_nobody_and_ends(
    wrapper: tuple[str, ...], case: str, words: tuple[str, ...], start: Start, bystander: Run
) -> None:
    """Without its own /proc it works, within its bounds, and never signals anybody by a number read in another's."""
    sent, is_deaf = CASES[case]
    end = (
        "block(); time.sleep(60)"
        if is_deaf
        else "say('ready'); time.sleep(60)"
        if sent
        else "say('ready'); sys.exit(5)"
    )
    code = f"daemon(lambda: (block() if {is_deaf} else None, say('ready'), time.sleep(60)))\n{end}"
    run = (
        namespace(start("-t", "200ms", *words, "--", *python(code), wrapper=wrapper))
        if sent
        else start("-t", "200ms", *words, "--", *python(code), wrapper=wrapper)
    )
    if sent:
        until(lambda: run.lines.count("ready") == 2 - is_deaf, 10, "the guests")
        if is_deaf:
            until(lambda: len(processes.mask(processes.status(run.program), "SigBlk")) > 50, 10, "the deaf program")
        run.send(sent)
    assert run.wait(10) == (137 if is_deaf else 143 if sent else 5)
    assert "Traceback" not in run.err
    until(lambda: run.left == [], 10, "the namespace's end")
    unharmed(bystander)


def test_blind_not_as_pid_1(start: Start, bystander: Run) -> None:
    """Not PID 1 and no /proc: nothing is known of anybody, and nobody but the program's group is signalled."""
    wrapper = ("unshare", "--mount", "--", "sh", "-c", 'umount -l /proc; exec "$@"', "sh")
    run = (
        start("-t", "200ms", "--", *python("say('ready'); os.fork(); time.sleep(60)"), wrapper=wrapper)
        .ready()
        .send("TERM")
    )
    assert run.wait(10) == 143
    unharmed(bystander)


def test_blind_survivor_is_asked_fairly(start: Start) -> None:
    """Alone in its own PID namespace with nobody asked yet, kill(-1) is the one way to ask those that it cannot see."""
    code = """
def body():
    block()
    say("daemon")
    say("asked", int(signal.sigwait({15})))
daemon(body)
os.read(0, 1)
sys.exit(5)
"""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ours, os.fdopen(writer, "wb") as theirs:
        run = start("--", *python(code), wrapper=NO_PROC, stdin=ours)
        run.wait_out("daemon")
        theirs.close()
        assert run.wait() == 5
    assert "asked 15" in run.lines


def test_shared_namespace_is_left_alone(start: Start, start_any: Start) -> None:
    """`shareProcessNamespace`: PID 1 is somebody else's, and its other children are none of ours."""
    pause = start_any(*python("block(); say('ready'); record(64)"), where=NAMESPACE).ready()
    enter = ("nsenter", "--target", str(pause.pid), "--pid", "--mount", "--root", "--wd", "--")
    neighbour = start_any(*enter, *python("block(); say('ready'); record(64)")).ready()
    code = "daemon(lambda: (block(), say('ready'), time.sleep(60)))\nblock(); say('ready'); time.sleep(60)"
    run = start("-t", "100ms", "--linger", "100ms", "--scope", "tree", "--", *python(code), wrapper=enter)
    until(lambda: run.lines.count("ready") == 2, 10, "the guests")
    inner = next(pid for pid in processes.descendants(run.process.pid) if "pyinit" in processes.command(pid))
    os.kill(inner, signals.SIGTERM)
    assert run.wait() == 137
    for other in (neighbour, pause):
        pid = other.pid if other is pause else processes.children(other.process.pid)[0]
        os.kill(pid, 64)
        assert other.wait() == 0
        assert other.lines == ["ready", "64"]


READING = "+dac_override,+dac_read_search"
SOMEBODY = (
    "setpriv",
    "--reuid=1000640000",
    "--regid=0",
    "--clear-groups",
    f"--inh-caps=-all,{READING}",
    f"--ambient-caps={READING}",
)
"""A user without a passwd entry, and without a right but that of reading: Python may be installed where only root looks."""


def test_no_process_to_be_had(start: Start) -> None:
    """RLIMIT_NPROC (as --pids-limit): one line that says what is reached, and 125."""
    run = start("--", "true", wrapper=("prlimit", "--nproc=1:1", *SOMEBODY, "--"))
    assert run.wait() == 125
    assert re.fullmatch(r"pyinit: cannot start a process: .*limit.*\n", run.err), run.err


def test_unprivileged_user_without_a_passwd_entry(start: Start) -> None:
    """OpenShift's way: an arbitrary UID and no new privileges, in a namespace."""
    code = "block(15); say('ready', os.getuid()); signal.sigwait({15}); sys.exit(4)"
    run = start("-t", "5s", "--", *python(code), wrapper=(*PID_NAMESPACE, *SOMEBODY, "--no-new-privs", "--"))
    run.wait_out("ready 1000640000")
    assert namespace(run).send("TERM").wait() == 4


def test_kill_from_outside_takes_everybody(start: Start) -> None:
    """SIGKILL to PID 1 ends the namespace: the kernel's doing, and no trace is left."""
    run = start("--", *shell("sleep 60 & echo ready; sleep 60"), where=NAMESPACE).ready()
    os.kill(run.pid, signals.SIGKILL)
    run.wait()
    until(lambda: run.left == [], 10, "the end of all")


def test_kill_and_faults_from_inside_do_nothing(start: Start) -> None:
    """Nobody inside can kill PID 1; and what they send that we forward is not forwarded to ourselves."""
    code = "block(); say('ready'); [os.kill(1, n) for n in (9, 19, 32, 33)]; record(10); sys.exit(4)"
    run = start("--", *python(code), where=NAMESPACE).ready()
    assert run.send("USR1").wait() == 4


def test_init_under_init(engine: Engine, start: Start) -> None:
    """`docker run --init` in front: pyinit under pyinit, a signal once, the status through both, no variable twice."""
    inner = (*engine.command, "-v", "--")
    code = "block(); say('ready', os.environ.get('PYINIT_STOP_BUDGET'), 'PYINIT_DRAIN' in os.environ); record(10); sys.exit(4)"
    run = start(
        "-d", "0", "-t", "5s", "--", *inner, *python(code), where=NAMESPACE, env={**os.environ, "PYINIT_DRAIN": "0"}
    ).ready()
    assert "ready 8000 False" in run.lines
    run.send("TERM")
    run.wait_out("18")
    assert run.send("USR1").wait() == 4
    assert run.lines.count("15") == 1
