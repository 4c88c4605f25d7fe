"""Zombies: all of them are reaped, whoever made them, however many end at once, and at no cost that stays."""

import os
import signal as signals

import pytest

from support import processes
from support.containers import Container, Run, guest
from support.waiting import until

MANY = 10_000
ORPHANS = f"""
def breed(parents, each):
    "Children of children: their parents end, so that they are left to PID 1."
    for _ in range(parents):
        pid = os.fork()
        if pid == 0:
            for _ in range(each):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)
block()
breed(2, 50)
say("ready")
signal.sigwait({{10}})
breed(100, {MANY // 100})
say("bred")
record(12)
"""
"""A few first, so that what is measured before has already seen the code at work."""


def idle(container: Container) -> None:
    """Wait until pyinit has nothing left to reap."""
    until(lambda: not container.zombies() and processes.state(container.pid) == "S", 20, "PID 1 to be idle")


def resident(pid: int) -> int:
    return int(processes.status(pid)["VmRSS"].split()[0])


def test_ten_thousand_orphans(run: Run) -> None:
    """None is left, none is uncounted, and memory is what it was before."""
    container = run(guest(ORPHANS), entrypoint=("pyinit", "-v", "--")).ready()
    idle(container)
    before = processes.private_dirty(container.pid), resident(container.pid)
    container.kill("USR1")
    container.wait_line("bred", 60)
    idle(container)
    after = processes.private_dirty(container.pid), resident(container.pid)
    container.kill("USR2")
    assert container.wait() == 0
    assert f"{MANY + 100} orphans reaped" in container.report_lines[-1]
    assert after[0] - before[0] <= 128, (before, after)
    assert after[1] - before[1] <= 256, (before, after)


@pytest.mark.both_kernels
def test_orphans_on_both_kernels(run: Run) -> None:
    """The same in small, counted by pyinit itself: gVisor's processes cannot be seen from outside."""
    code = "block(); [daemon(lambda: None) for _ in range(50)]; say('ready'); record(10)"
    container = run(guest(code), entrypoint=("pyinit", "-v", "--")).ready()
    look = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z ' || true"
    until(lambda: container.exec("sh", "-c", look).output == "0\n", 10, "no zombie")
    container.kill("USR1")
    assert container.wait() == 0
    assert "50 orphans reaped" in container.report_lines[-1]


def test_orphans_of_docker_exec(run: Run) -> None:
    """What `docker exec` leaves behind goes to the container's PID 1 (moby#47583), and is reaped when it ends."""
    container = run(guest("block(); say('ready'); record(10)"), entrypoint=("pyinit", "-vv", "--")).ready()
    assert container.exec("sh", "-c", "sleep 1234 & sleep 1234 &").status == 0
    adopted = until(
        lambda: [p for p in container.processes() if p.ppid() == container.pid and "1234" in p.cmdline()][:2],
        5,
        "orphans",
    )
    for orphan in adopted:
        os.kill(orphan.pid, signals.SIGKILL)
    container.wait_log("reaped orphan")
    idle(container)
    container.kill("USR1")
    assert container.wait() == 0
    assert "2 orphans reaped" in container.report_lines[-1]


@pytest.mark.both_kernels
def test_exec_sessions_do_not_hold_up_the_exit(run: Run) -> None:
    """Somebody's debugging session is neither waited for nor asked: the kernel ends it with the namespace."""
    container = run(guest("block(); say('ready'); record(10)"), entrypoint=("pyinit", "-v", "--")).ready()
    session = "trap 'echo asked >/proc/1/fd/2' TERM; echo up >/tmp/up; while :; do sleep 0.1; done"
    container.exec("sh", "-c", session, detach=True)
    until(lambda: container.exec("cat", "/tmp/up").status == 0, 10, "the session")
    container.kill("USR1")
    assert container.wait(5) == 0  # the linger would be 8 s
    assert "asked" not in container.logs()
    assert "nobody killed" in container.report_lines[-1]


# --- SIGCHLD ---


@pytest.mark.both_kernels
def test_sigchld_by_hand(run: Run) -> None:
    """It is about pyinit's children, not the program's: it is not passed on, and disturbs nothing."""
    container = run(guest("block(); say('ready'); record(10)")).ready()
    for _ in range(3):
        container.kill("CHLD")
    container.kill("USR1")
    assert container.wait() == 0
    assert container.lines == ["ready", "10"]


@pytest.mark.both_kernels
def test_sigchld_ignored_on_entry(run: Run) -> None:
    """Whoever started us may have set SIGCHLD to "ignore", which survives exec and hides every exit (wait(2))."""
    code = "signal.signal(17, signal.SIG_IGN); os.execvp('pyinit', ['pyinit', '-v', '--', 'sh', '-c', '(sleep 0 &); exit 7'])"
    container = run(guest(code), entrypoint=())
    assert container.wait(10) == 7
    assert "orphan reaped" in container.report_lines[-1]


@pytest.mark.parametrize("with_program", [False, True], ids=["orphans", "and the program"])
def test_coalesced_sigchld(with_program: bool, run: Run) -> None:  # noqa: FBT001
    """Thirty children end while pyinit is stopped from outside: one SIGCHLD is left of theirs, and all are reaped."""
    code = f"""
def orphan():
    block()
    signal.sigwait({{10}})
pids = []
for _ in range(30):
    reader, writer = os.pipe()
    daemon(lambda: (os.write(writer, b"%d " % os.getpid()), orphan()))
    pids.append(int(os.read(reader, 20)))
block()
say("ready")
record(12)
for pid in pids:
    os.kill(pid, 10)
if not {with_program}:
    say("sent")
    record(64)
os._exit(7)
"""
    container = run(guest(code), entrypoint=("pyinit", "-v", "--")).ready()
    idle(container)
    os.kill(container.pid, signals.SIGSTOP)
    until(lambda: processes.state(container.pid) == "T", 5, "PID 1 to stop")
    program = processes.children(container.pid)[0]
    os.kill(program, signals.SIGUSR2)
    expected = 31 if with_program else 30
    until(lambda: len(container.zombies()) == expected, 10, "zombies that nobody can reap")
    os.kill(container.pid, signals.SIGCONT)
    if not with_program:
        until(lambda: not container.zombies(), 10, "no zombie")
        container.kill("RTMAX")
    assert container.wait() == 7
    assert "30 orphans reaped" in container.report_lines[-1]
