"""The end of a container: everybody is asked once, before anybody is killed, nobody waits longer than said, and it is told why.

What differs under gVisor: its /proc names no signal masks and no wait channels, so the reasons are less precise there.
"""

import re
import time

import pytest

from support.containers import Container, Run, guest
from support.waiting import until

DEAF = "block(); say('ready'); time.sleep(1000)"
"""Hears nothing but SIGKILL."""

CAREFUL = """
def careful(name):
    block()
    say(name, os.getpid())
    number = signal.sigwait({15, 2})
    say(name, "asked", int(number))
    # what a second stop signal would do to it is counted until it ends
    while (again := signal.sigtimedwait({15, 2}, 0.2)) is not None:
        say(name, "asked again")
    say(name, "finished")
"""
"""One that takes a moment to end in order."""


def stopped_by(container: Container, *signals: str) -> float:
    """Send these signals and wait for the end: the seconds it took."""
    began = time.monotonic()
    for signal in signals:
        container.kill(signal)
    container.wait()
    return time.monotonic() - began


# --- the plan ---


@pytest.mark.both_kernels
def test_grace(run: Run) -> None:
    """Nobody is killed before the grace is over, then the deaf are, and the line says who and why."""
    container = run(guest(DEAF), entrypoint=("pyinit", "-t", "600ms", "--")).ready()
    assert 0.6 <= stopped_by(container, "TERM") < 6
    assert container.wait() == 137
    assert re.search(r"killed 1 after \d+\.\d s: \d+ python3 \(.*SIGTERM", container.logs()), container.logs()


def test_docker_stop_finds_nothing_left_to_kill(run: Run) -> None:
    """The default: 8 s of grace are over before the engine's 10 s, so that pyinit is there to say why it took so long."""
    container = run(guest(DEAF)).ready()
    assert 8 <= container.stop() < 10
    assert container.wait() == 137
    assert "killed 1 after 8.0 s" in container.logs()
    assert "--grace" in container.logs()  # nobody chose it: the line says how to


@pytest.mark.both_kernels
def test_plan_with_steps(run: Run) -> None:
    """`--stop`: one signal after the other, and the program hears each."""
    container = run(
        guest("block(); say('ready'); record(64)"),
        entrypoint=("pyinit", "--stop=TERM:200ms,INT:200ms,QUIT:200ms,KILL", "--"),
    )
    container.ready()
    assert 0.6 <= stopped_by(container, "TERM") < 6
    assert container.lines == ["ready", "15", "18", "2", "18", "3", "18"]


def test_drain(run: Run) -> None:
    """`--drain`: the signal is held back for so long; others pass meanwhile."""
    container = run(
        guest("block(); say('ready'); record(15)"), entrypoint=("pyinit", "-v", "--drain=700ms", "--")
    ).ready()
    assert 0.7 <= stopped_by(container, "TERM", "USR1") < 5
    assert container.lines[1:3] == ["10", "15"]


def test_second_signal_ends_the_drain(run: Run) -> None:
    """Somebody is in a hurry."""
    container = run(
        guest("block(); say('ready'); record(15)"), entrypoint=("pyinit", "-v", "--drain=60s", "--")
    ).ready()
    container.kill("TERM")
    container.wait_log("held back")
    assert stopped_by(container, "TERM") < 5
    assert container.lines == ["ready", "15"]


@pytest.mark.both_kernels
def test_second_signal_moves_no_deadline(run: Run) -> None:
    """It is passed on, and the grace ends when it would have."""
    container = run(guest("block(); say('ready'); record(64)"), entrypoint=("pyinit", "-t", "1500ms", "--")).ready()
    began = time.monotonic()
    container.kill("TERM")
    container.wait_line("18")
    container.kill("TERM")
    assert container.wait() == 137
    assert 1.5 <= time.monotonic() - began < 7
    assert container.lines == ["ready", "15", "18", "15", "18"]
    assert re.search(r"killed 1 after \d+\.\d s", container.logs()), container.logs()


# --- those beside the program ---


@pytest.mark.both_kernels
def test_linger(run: Run) -> None:
    """The program ends by itself: the others are asked, and have their time."""
    code = CAREFUL + "\nif os.fork() == 0:\n careful('worker'); os._exit(0)\nblock(); record(10); os._exit(4)"
    container = run(guest(code))
    container.wait_log(re.compile(r"^worker \d+$", re.MULTILINE))
    container.kill("USR1")
    assert container.wait() == 4
    assert [line for line in container.lines if "worker" in line][1:] == ["worker asked 15", "worker finished"]


@pytest.mark.both_kernels
def test_linger_is_bounded(run: Run) -> None:
    """A worker that hears nothing is killed when the linger is over, and named."""
    code = f"if os.fork() == 0:\n {DEAF}\nblock(); record(10); os._exit(4)"
    container = run(guest(code), entrypoint=("pyinit", "--linger=500ms", "--")).ready()
    assert 0.5 <= stopped_by(container, "USR1") < 6
    assert container.wait() == 4
    assert re.search(r"killed 1 after \d+\.\d s: \d+ python3", container.logs()), container.logs()


SURVIVORS = {
    "own session": "if os.fork() == 0:\n os.setsid(); careful('it'); os._exit(0)",
    "own group": "if os.fork() == 0:\n os.setpgid(0, 0); careful('it'); os._exit(0)",
    "double fork": "daemon(lambda: careful('it'))",
    "triple": "daemon(lambda: daemon(lambda: careful('it')))",
    "stopped": "if os.fork() == 0:\n os.setsid(); say('it', os.getpid()); os.kill(os.getpid(), 19); careful('it'); os._exit(0)",
}


@pytest.mark.both_kernels
@pytest.mark.parametrize("kind", SURVIVORS)
def test_survivors_are_asked_once(kind: str, run: Run) -> None:
    """Whoever left the group, the session or the parent: asked when the program has ended, and awaited."""
    code = f"{CAREFUL}\n{SURVIVORS[kind]}\nsignal.signal(15, lambda *_: os._exit(5))\nsay('main')\nwhile True: signal.pause()"
    container = run(guest(code), entrypoint=("pyinit", "-v", "--"))
    container.wait_line("main")
    container.wait_log(re.compile(r"^it \d+$", re.MULTILINE))
    container.kill("TERM")
    assert container.wait() == 5
    got = [line for line in container.lines if re.match(r"it [af]", line)]
    if kind == "stopped":  # a pending TERM acts when it is continued: this one blocks nothing yet
        assert "nobody killed" in container.report_lines[-1]
    else:
        assert got == ["it asked 15", "it finished"]


@pytest.mark.both_kernels
def test_daemon_beside_a_deaf_program_is_asked_before_it_is_killed(run: Run) -> None:
    """The program hears nothing and is killed; the daemon has not been asked until then, and has a second of its own."""
    container = run(
        guest(f"{CAREFUL}\ndaemon(lambda: careful('daemon'))\n{DEAF}"), entrypoint=("pyinit", "-t", "500ms", "--")
    )
    container.ready().wait_log(re.compile(r"^daemon \d+$", re.MULTILINE))
    assert 0.5 <= stopped_by(container, "TERM") < 6
    assert container.wait() == 137
    assert container.lines[-2:] == ["daemon asked 15", "daemon finished"]
    assert len(re.findall("pyinit: killed", container.logs())) == 1


@pytest.mark.both_kernels
def test_deaf_daemon_beside_a_deaf_program(run: Run) -> None:
    """Both are killed, in this order: the one that was asked at the end of the grace, the other after as long a linger."""
    code = "daemon(lambda: (block(), say('daemon'), time.sleep(1000)))\n" + DEAF
    container = run(guest(code), entrypoint=("pyinit", "-t", "500ms", "--")).ready()
    container.wait_line("daemon")
    assert 1 <= stopped_by(container, "TERM") < 7
    assert len(re.findall("pyinit: killed 1 ", container.logs())) == 2


@pytest.mark.both_kernels
def test_wait_all(run: Run) -> None:
    """`--wait all`: a program that daemonises leaves its daemon to the container, signals go to it, the status stays."""
    daemon = "daemon(lambda: (block(), say('ready'), record(15), os._exit(3)))\nos._exit(7)"
    container = run(guest(daemon), entrypoint=("pyinit", "-v", "--wait=all", "--")).ready()
    container.wait_log("ended: exit 7")
    container.kill("HUP")
    container.wait_line("1")
    assert stopped_by(container, "TERM") < 5
    assert container.wait() == 7
    assert container.lines == ["ready", "1", "15"]


def test_linger_zero_is_tini_s_way(run: Run) -> None:
    """`--linger 0`: pyinit leaves with the program, and the kernel ends the rest."""
    code = CAREFUL + "\nif os.fork() == 0:\n careful('worker'); os._exit(0)\nblock(); record(10); os._exit(4)"
    container = run(guest(code), entrypoint=("pyinit", "--linger=0", "--"))
    container.wait_log(re.compile(r"^worker \d+$", re.MULTILINE))
    assert stopped_by(container, "USR1") < 5
    assert container.wait() == 4
    assert not re.search("asked|finished", container.logs())


# --- why ---

CAST = {
    "ignores": ("signal.signal(15, signal.SIG_IGN)", r"ignores SIGTERM"),
    "blocks": ("block(15)", r"blocks SIGTERM, SIGTERM still pending"),
    "handles": ("signal.signal(15, lambda *_: None)", r"has a handler for SIGTERM and is still running"),
    "waits": ("block()", r"waits for signals in sigwait and has not ended"),
}
"""Programs that outlive TERM, what each does about it, and what is said of it."""


def ensemble() -> str:
    """A program of which all of CAST are children, and which blocks TERM itself."""
    lines = ["def ever(name):", " say('up', name, os.getpid())"]
    lines += [" while name == 'waits': signal.sigwait(signal.valid_signals())", " while True: time.sleep(1000)"]
    for name, (act, _) in CAST.items():
        lines += ["if os.fork() == 0:", f" {act}", f" ever({name!r})"]
    return "\n".join([*lines, "block()", "time.sleep(1000)"])


@pytest.mark.both_kernels
def test_reasons(run: Run, runtime: str) -> None:
    """The line of the escalation says of each what it does with TERM. gVisor tells neither masks nor channels: there all are named."""
    container = run(guest(ensemble()), entrypoint=("pyinit", "-t", "500ms", "--"))
    for name in CAST:
        container.wait_log(f"up {name} ")
    container.kill("TERM")
    assert container.wait() == 137
    [line] = [line for line in container.report_lines if "killed" in line]
    assert f"killed {len(CAST) + 1} after" in line
    pids = {name: pid for _, name, pid in (text.split() for text in container.lines)}
    for name, (_, words) in CAST.items():
        assert re.search(rf"\b{pids[name]} python3 \({words if runtime == 'runc' else '.+'}\)", line), line


@pytest.mark.both_kernels
def test_shell_waiting_for_a_child(run: Run, runtime: str) -> None:
    """The usual riddle: `sh` with a trap waits for a child that ignores TERM. Both are named, and who waits for whom."""
    script = "trap 'echo never' TERM; (trap '' TERM; echo ready; exec sleep 1000); echo done"
    container = run(["sh", "-c", script], entrypoint=("pyinit", "-t", "500ms", "--")).ready()
    container.kill("TERM")
    container.wait()
    [line] = [line for line in container.report_lines if "killed" in line]
    if runtime == "runc":
        assert re.search(r"\d+ sh \(shell waiting for (\d+)\), \1 sleep \(ignores SIGTERM\)", line), line
    else:
        assert re.search(r"\d+ sh \(.+\), \d+ sleep \(.+\)", line), line


# --- out of reach ---


def test_process_of_another_user(run: Run) -> None:
    """A user's pyinit may not signal what a setuid helper made another's: it leaves within its bound, and names it."""
    script = "become --reuid=2000 --regid=2000 --clear-groups sleep 1234 & echo ready; wait"
    container = run(["sh", "-c", script], entrypoint=("pyinit", "--grace=500ms", "--"), user="1000:1000").ready()
    # the helper changes its user a moment after the shell has started it
    until(
        lambda: [p for p in container.processes() if p.name() == "sleep" and p.uids().real == 2000],
        10,
        "another user's process",
    )
    assert stopped_by(container, "TERM") < 6
    assert container.wait() == 143
    assert re.search(
        r"leaving 1 behind: \d+ sleep \(runs as UID 2000, which pyinit may not signal\)", container.logs()
    ), container.logs()


def test_program_of_another_user(run: Run) -> None:
    """The same when it is the program itself: the status is that of a program that was killed, after a bounded time."""
    command = ["become", "--reuid=2000", "--regid=2000", "--clear-groups", "sh", "-c", "echo ready; exec sleep 1234"]
    container = run(command, entrypoint=("pyinit", "--grace=500ms", "--"), user="1000:1000").ready()
    assert stopped_by(container, "TERM") < 6
    assert container.wait() == 137
    assert "it runs as another user; run pyinit as root or give it CAP_KILL" in container.logs()
    assert "runs as UID 2000, which pyinit may not signal" in container.logs()


def test_root_without_the_capability(run: Run) -> None:
    """`--cap-drop KILL`: root is then nobody special. A forwarded signal that may not be sent is a warning, and the run goes on."""
    command = ["become", "--reuid=2000", "--regid=2000", "--clear-groups", *guest("block(); say('ready'); record(10)")]
    container = run(command, cap_drop=["KILL"]).ready()
    container.kill("HUP")
    container.wait_log("cannot send SIGHUP")
    assert container.running
    container.exec("sh", "-c", "kill -USR1 $(cat /proc/1/task/1/children)", user="2000", detach=True)
    assert container.wait() == 0
