"""The end: drain, plan, grace, linger; everybody is asked once, before anybody is killed, and nobody waits longer than said."""

import os
import re
import signal as signals
import time
from collections.abc import Callable

import pytest

from support import processes
from support.runs import HOST, Run, python, shell
from support.waiting import until

Start = Callable[..., Run]

DEAF = "block(); say('ready'); time.sleep(60)"
"""Hears nothing but SIGKILL."""

CAREFUL_DAEMON = """
def body():
    block()
    say("daemon", os.getpid())
    number = signal.sigwait({signal.SIGTERM, signal.SIGINT})
    say("asked", int(number))
    say("finished")
daemon(body)
"""
"""A daemon in a session of its own that says when it is asked, and ends in order."""


class Clock:
    """How long it took, in seconds."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def heard(run: Run, line: str, times: int) -> None:
    """Wait until the guest has printed `line` that often."""
    until(lambda: run.lines.count(line) >= times, 10, f"{line!r}, {times} times")


# --- grace and plans ---


def test_program_that_ends_in_time_is_not_killed(start: Start, where: str) -> None:
    """The usual case says nothing at all."""
    run = start("--", *python("block(); say('ready'); record(18); sys.exit(3)"), where=where).ready().send("TERM")
    assert (run.wait(), run.err) == (3, "")


def test_grace(start: Start, where: str) -> None:
    """Nothing is killed before the grace is over, and then it is, and it is said."""
    run = start("-t", "400ms", "--", *python(DEAF), where=where).ready()
    clock = Clock()
    assert run.send("TERM").wait() == 137
    assert 0.4 <= clock.seconds < 5
    assert re.search(
        r"^pyinit: killed 1 after \d+\.\d s: \d+ \S+ \(blocks SIGTERM, SIGTERM still pending\)$", run.err, re.MULTILINE
    ), run.err


TRACER = """
import ctypes
ptrace = ctypes.CDLL(None).ptrace
pid, count = int(sys.argv[1]), 0
while ptrace(16, pid, 0, 0) == 0:  # attach, which stops it
    os.waitpid(pid, 0)
    ptrace(17, pid, 0, 0)  # detach
    count += 1
    if count == 3: say("ready")
    time.sleep(0.02)
say("attached", count)
"""


def test_deadline_does_not_move_when_we_are_disturbed(start: Start, start_any: Start) -> None:
    """Stopped and let go by a debugger again and again: a wait that began anew each time would never be over."""
    run = start("-t", "500ms", "--", *python(DEAF)).ready()
    tracer = start_any(*python(TRACER), str(run.armed().pid)).ready()
    run.send("TERM")
    assert run.wait(10) == 137
    assert "killed 1 after" in run.err
    tracer.wait()
    assert tracer.value("attached") > 3


def test_program_that_left_its_group_is_asked(start: Start) -> None:
    """It made a group of its own for a child and joined that: the stop signal finds it."""
    run = start(
        "-t",
        "5s",
        "--",
        *python(
            """
child = os.fork()
if child == 0:
    signal.pause()
os.setpgid(child, child); os.setpgid(0, child)
block(); say('ready'); record(15); os.kill(child, 9)
"""
        ),
    ).ready()
    assert run.send("TERM").wait() == 0
    assert run.lines[-1] == "15"


def test_grace_zero_kills_at_once(start: Start, where: str) -> None:
    """0: asked and killed in one go, whole group."""
    run = start("--grace", "0", "--", *python("os.fork(); " + DEAF), where=where).ready()
    clock = Clock()
    assert run.send("TERM").wait() == 137
    assert clock.seconds < 7
    assert run.left == []


def test_default_grace_says_how_to_choose_another(start: Start) -> None:
    """When nobody chose the eight seconds, the line that reports the kill says so and how to."""
    run = start("--", *python(DEAF)).ready()
    clock = Clock()
    assert run.send("TERM").wait() == 137
    assert 8 <= clock.seconds < 14
    assert "--grace or PYINIT_GRACE gives more" in run.err


def test_grace_by_variable(start: Start) -> None:
    """PYINIT_GRACE does what --grace does, and no hint follows."""
    run = start("--", *python(DEAF), env={"PATH": "/usr/bin:/bin", "PYINIT_GRACE": "100ms"}).ready()
    assert run.send("TERM").wait() == 137
    assert "nobody chose" not in run.err


def test_plan_with_steps(start: Start, where: str) -> None:
    """Each step's signal in its order and time, and KILL at the end."""
    run = start(
        "--stop",
        "TERM:300ms,INT:200ms,QUIT:200ms,KILL",
        "--",
        *python("block(); say('ready'); record(64)"),
        where=where,
    )
    clock = Clock()
    run.ready().send("TERM")
    assert run.wait() == 137
    assert clock.seconds >= 0.7
    assert [line for line in run.lines if line != "18"] == ["ready", "15", "2", "3"]


def test_plan_translates_the_signal_that_came(start: Start) -> None:
    """A plan's signals replace the one that came; `=` is the one that came, after --rewrite."""
    run = start("--stop", "QUIT:100ms,KILL", "--", *python("block(); say('ready'); record(64)")).ready().send("INT")
    assert run.wait() == 137
    assert run.lines[1] == "3"
    run = (
        start("--stop", "=:100ms,KILL", "-r", "TERM:USR1", "--", *python("block(); say('ready'); record(64)"))
        .ready()
        .send("TERM")
    )
    assert run.wait() == 137
    assert run.lines[1] == "10"


def test_plan_may_stop_the_program(start: Start) -> None:
    """A step of STOP or TSTP is followed by no CONT: the program stays stopped until the next step."""
    run = start("--stop", "STOP:300ms,KILL", "--", *python("say('ready'); time.sleep(60)")).ready().send("TERM")
    assert run.wait() == 137
    assert "(stopped)" in run.err


@pytest.mark.parametrize("words", [["--stop", "TERM:100ms,INT"], ["--grace", "infinity"]])
def test_plan_without_kill_never_kills(words: list[str], start: Start) -> None:
    """Without KILL at its end the plan waits, for ever if need be, and a repeated signal is passed on."""
    run = start(*words, "--", *python("block(); say('ready'); record(64); sys.exit(3)")).ready().send("TERM")
    if words[0] == "--stop":
        run.wait_out("2")
    run.wait_out("18")
    before = len(run.lines)
    run.send("TERM")
    until(lambda: len(run.lines) >= before + 2, 10, "the repeated signal")
    assert run.send(64).wait() == 3


def test_repeated_signal_is_sent_again_and_moves_no_deadline(start: Start, where: str) -> None:
    """Three more TERMs: each reaches the program, and the kill comes when it would have come."""
    run = start("-t", "3s", "--", *python("block(); say('ready'); record(64)"), where=where).ready()
    clock = Clock()
    run.send("TERM")
    sent = 1
    while clock.seconds < 2.5:
        heard(run, "18", sent)
        run.send("TERM")
        sent += 1
    assert run.wait() == 137
    assert 3 <= clock.seconds < 5.4
    assert run.lines.count("15") == sent


def test_repeated_signal_is_the_current_step_s(start: Start) -> None:
    """In the second step of a plan a repeated TERM goes out as that step's signal."""
    run = (
        start("--stop", "TERM:50ms,QUIT:3s,KILL", "--", *python("block(); say('ready'); record(64)"))
        .ready()
        .send("TERM")
    )
    run.wait_out("3")
    run.send("TERM")
    heard(run, "3", 2)
    run.send(64)
    assert run.wait() == 0
    assert run.lines.count("15") == 1


# --- drain ---


def test_drain_holds_the_signal_back(start: Start, where: str) -> None:
    """Nothing reaches the program before the drain is over; other signals do; the grace starts after it."""
    run = start("-d", "500ms", "-t", "300ms", "--", *python("block(); say('ready'); record(64)"), where=where).ready()
    clock = Clock()
    run.send("TERM", "HUP")
    run.wait_out("1")
    assert "15" not in run.lines or clock.seconds >= 0.5
    run.wait_out("15")
    assert clock.seconds >= 0.5
    assert run.wait() == 137
    assert clock.seconds >= 0.8


def test_second_signal_ends_the_drain(start: Start) -> None:
    """Whoever sends it again means now; the program gets one."""
    run = start("--drain", "60s", "--", *python("block(); say('ready'); record(18)")).ready()
    run.send("TERM")
    os.kill(run.pid, signals.SIGUSR1)
    run.wait_out("10")
    assert run.lines == ["ready", "10"]
    run.send("INT")
    assert run.wait() == 0
    assert [line for line in run.lines if line in {"15", "2"}] in (["15"], ["2"])


def test_program_that_ends_while_draining(start: Start) -> None:
    """Its status at once: nobody is left to drain for."""
    run = (
        start("--drain", "60s", "--", *python("block(); say('ready'); record(10); sys.exit(4)"))
        .ready()
        .send("TERM", "USR1")
    )
    assert run.wait(10) == 4


# --- those who are left ---


def test_survivor_is_asked_and_awaited(start: Start, where: str) -> None:
    """The program has ended by itself: a daemon in a session of its own gets TERM, and its time."""
    run = start("--", *python("block(10)\n" + CAREFUL_DAEMON + "signal.sigwait({10}); sys.exit(5)"), where=where)
    run.wait_out("daemon")
    run.send("USR1")
    assert run.wait() == 5
    assert run.lines.count("asked 15") == 1
    assert "finished" in run.lines
    assert run.err == ""


def test_deaf_survivor_is_killed_after_linger(start: Start, where: str) -> None:
    """At most --linger, then SIGKILL, and its name; the status stays the program's."""
    code = "daemon(lambda: (block(), say('ready'), time.sleep(60)))\nblock(10); signal.sigwait({10}); sys.exit(5)"
    run = start("--linger", "300ms", "--", *python(code), where=where).ready()
    clock = Clock()
    assert run.send("USR1").wait() == 5
    assert 0.3 <= clock.seconds < 5
    assert re.search(r"killed 1 after \d+\.\d s", run.err)
    assert "blocks SIGTERM" in run.err


def test_linger_zero_leaves_everybody_alone(start: Start) -> None:
    """As tini: nobody is asked, killed or waited for."""
    run = start("--linger", "0", "--", *python("block(10)\n" + CAREFUL_DAEMON + "signal.sigwait({10}); sys.exit(5)"))
    run.wait_out("daemon")
    run.send("USR1")
    assert run.wait() == 5
    assert (run.err, len(run.left)) == ("", 1)
    assert "asked 15" not in run.lines


def test_default_linger_is_the_plan_s_length(start: Start) -> None:
    """--grace 200ms and nothing else: the others have 200 ms, too."""
    code = "block(10); daemon(lambda: (block(), say('ready'), time.sleep(60))); signal.sigwait({10})"
    run = start("-t", "200ms", "--", *python(code)).ready()
    clock = Clock()
    assert run.send("USR1").wait() == 0
    assert 0.2 <= clock.seconds < 7


def test_worker_under_a_shell_is_asked_once(start: Start, where: str) -> None:
    """`sh -c 'worker; true'`: TERM to the group ends the shell; the worker, asked then, is not asked again when the shell is gone."""
    worker = python("block(); say('ready', os.getpid()); record(10); say('done')")
    run = start("--linger", "20s", "--", "sh", "-c", '"$@"; true', "sh", *worker, where=where).ready()
    shell_pid = run.program
    worker_pid = processes.children(shell_pid)[0]
    run.send("TERM")
    until(lambda: not processes.is_alive(shell_pid), 10, "the shell's end")
    run.wait_out("18")
    os.kill(worker_pid, signals.SIGUSR1)
    assert run.wait() == 143
    assert [line for line in run.lines if line in {"15", "18", "10", "done"}] in (
        ["15", "18", "10", "done"],
        ["18", "15", "10", "done"],
    )


def test_cleanup_of_a_trap_is_asked_at_most_once(start: Start) -> None:
    """A child that is forked in answer to TERM has not been asked; when the program ends before it, it is, once."""
    code = """
block()
say("ready")
signal.sigwait({signal.SIGTERM})
if os.fork() == 0:
    say("cleanup", os.getpid())
    record(10)
    os._exit(0)
sys.exit(6)
"""
    run = start("--", *python(code)).ready().send("TERM")
    run.wait_out("15")
    os.kill(run.value("cleanup"), signals.SIGUSR1)
    assert run.wait() == 6
    assert run.lines.count("15") == 1


def test_daemon_beside_a_deaf_program_is_asked_before_it_is_killed(start: Start, where: str) -> None:
    """The grace kills those who were asked; a daemon out of the group's reach is asked then, has a second, and ends in order."""
    run = start("-t", "200ms", "--", *python(CAREFUL_DAEMON + DEAF), where=where)
    run.wait_out("daemon")
    run.ready().send("TERM")
    assert run.wait() == 137
    assert run.lines.count("asked 15") == 1
    assert "finished" in run.lines
    assert "killed 1 " in run.err


def test_deaf_daemon_beside_a_deaf_program_has_a_second(start: Start) -> None:
    """It is killed too, but not before it had its time."""
    code = "daemon(lambda: (block(), say('daemon'), time.sleep(60)))\n" + DEAF
    run = start("-t", "100ms", "--linger", "20s", "--", *python(code))
    run.wait_out("daemon")
    clock = Clock()
    run.ready().send("TERM")
    assert run.wait() == 137
    assert 1.1 <= clock.seconds < 15
    assert run.err.count("killed 1 ") == 2
    assert run.left == []


def test_stopped_program_hears_term(start: Start, where: str) -> None:
    """SIGSTOP before docker stop: CONT follows TERM, so that it can act on it."""
    run = start("-t", "10s", "--", *python("block(); say('ready'); record(15); sys.exit(3)"), where=where).ready()
    os.kill(run.program, signals.SIGSTOP)
    until(lambda: processes.state(run.program) == "T", 10, "the stop")
    assert run.send("TERM").wait() == 3


@pytest.mark.parametrize("kind", ["double fork", "setsid", "group of its own", "grandchild"])
def test_survivors_of_every_kind(kind: str, start: Start, where: str) -> None:
    """Nobody escapes: each is asked, and gone when we are."""
    body = "(block(), say('there'), say('asked', int(signal.sigwait({signal.SIGTERM}))), os._exit(0))"
    code = {
        "double fork": f"if os.fork() == 0:\n    os.fork() == 0 and {body}\n    os._exit(0)",
        "setsid": f"if os.fork() == 0:\n    os.setsid(); {body}",
        "group of its own": f"if os.fork() == 0:\n    os.setpgid(0, 0); {body}",
        "grandchild": f"if os.fork() == 0:\n    if os.fork() == 0:\n        os.setsid(); {body}\n    block(); time.sleep(60)",
    }[kind]
    run = start(
        "-t",
        "2s",
        "--linger",
        "500ms",
        "--",
        *python(code + "\nblock(10); say('ready'); signal.sigwait({10}); sys.exit(5)"),
        where=where,
    )
    run.wait_out("there")
    run.ready().send("USR1")
    assert run.wait() == 5
    assert run.lines.count("asked 15") == 1
    assert run.left == []


def test_fork_bomb_during_the_sweep(start: Start, where: str) -> None:
    """Processes that fork faster than one reads /proc: repeated until dry, within the bound."""
    code = """
def bomb():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if os.fork() > 0:
            time.sleep(0.002)
            os._exit(0)
for _ in range(3):
    daemon(bomb)
say("ready")
time.sleep(0.05)
sys.exit(5)
"""
    run = start("--linger", "200ms", "--", *python(code), where=where)
    assert run.wait(20) == 5
    until(lambda: run.left == [] or where == HOST, 10, "the end of all of them")


# --- --wait all ---


def test_wait_all_stays_until_the_last_ends(start: Start, where: str) -> None:
    """A program that daemonises: pyinit stays; TERM then goes to the tree; the status stays the program's."""
    run = start("-v", "--wait", "all", "--", *python(CAREFUL_DAEMON + "say('ready'); sys.exit(5)"), where=where)
    run.wait_out("daemon")
    run.wait_err("ended: exit 5")
    assert run.process.poll() is None
    assert run.send("TERM").wait() == 5
    assert run.lines.count("asked 15") == 1
    assert "finished" in run.lines
    assert re.search(r"the last process was \d+: exit 0", run.err)


def test_wait_all_passes_other_signals_to_the_tree(start: Start) -> None:
    """HUP and the like go to the daemon once the program is gone."""
    code = "daemon(lambda: (block(), say('ready'), record(10)))"
    run = start("--wait", "all", "--", *python(code)).ready()
    until(lambda: len(processes.children(run.pid)) == 1, 10, "the daemon alone")
    run.send("HUP")
    run.wait_out("1")
    assert run.send("USR1").wait() == 0
    assert run.lines == ["ready", "1", "10"]


def test_wait_all_ends_by_itself(start: Start, where: str) -> None:
    """Nobody is left: the end, without a signal."""
    assert (
        start("--wait", "all", "--", *python("daemon(lambda: time.sleep(0.2)); sys.exit(4)"), where=where).wait() == 4
    )


def test_wait_all_kills_after_the_grace(start: Start) -> None:
    """A deaf daemon gets the plan, as the program would have."""
    code = "daemon(lambda: (block(), say('ready'), time.sleep(60)))\nsys.exit(6)"
    run = start("-t", "200ms", "--wait", "all", "--", *python(code)).ready()
    until(lambda: len(processes.children(run.pid)) == 1, 10, "the daemon alone")
    assert run.send("TERM").wait() == 6
    assert re.search(r"killed 1 after \d+\.\d s", run.err)


# --- those whom we may not touch ---


WITHOUT_KILL = ("setpriv", "--inh-caps=-kill", "--bounding-set=-kill", "--")
"""Root, but without the right to signal other users: the program may then become one of them."""
ANOTHER_USER = "os.setresuid(4242, 4242, 4242); block(); say('ready', os.getpid()); time.sleep(60)"


def test_program_of_another_user(as_root: None, start: Start, where: str) -> None:
    """It can be neither asked nor killed: warned about, and left behind by name within the bound; nothing waits for ever."""
    del as_root
    run = start("-t", "200ms", "--", *python(ANOTHER_USER), where=where, wrapper=WITHOUT_KILL).ready()
    clock = Clock()
    assert run.send("TERM").wait(20) == 137
    assert 0.2 <= clock.seconds < 15
    assert re.search(
        r"cannot send SIGTERM to \d+ \S+: it runs as another user; run pyinit as root or give it CAP_KILL", run.err
    )
    assert re.search(r"leaving 1 behind: \d+ \S+ \(runs as UID 4242, which pyinit may not signal\)", run.err)


def test_daemon_of_another_user(as_root: None, start: Start) -> None:
    """The same for one that the program leaves; the program's own status stays."""
    del as_root
    code = f"def body():\n    {ANOTHER_USER}\nblock(10); daemon(body)\nsignal.sigwait({{10}}); sys.exit(5)"
    run = start("--linger", "200ms", "--", *python(code), wrapper=WITHOUT_KILL).ready()
    clock = Clock()
    assert run.send("USR1").wait(20) == 5
    assert clock.seconds < 15
    assert run.err.count("it runs as another user") == 1
    assert "leaving 1 behind" in run.err
    assert "UID 4242" in run.err


def test_other_signals_to_a_program_of_another_user(as_root: None, start: Start) -> None:
    """EPERM on kill is said, and pyinit lives on (tini exits)."""
    del as_root
    run = start("-t", "100ms", "--", *python(ANOTHER_USER), wrapper=WITHOUT_KILL).ready().send("HUP")
    run.wait_err("cannot send SIGHUP")
    assert run.process.poll() is None
    assert run.send("TERM").wait(20) == 137


def test_program_can_end_while_everything_is_asked(start: Start) -> None:
    """ESRCH between the look and the signal is no error, and nothing is said about it."""
    code = "for _ in range(50):\n    os.fork() == 0 and (time.sleep(0.05), os._exit(0))\ntime.sleep(0.04)"
    run = start("--scope", "tree", "--", *python(code))
    assert (run.wait(), run.err) == (0, "")


def test_nothing_is_left_after_a_plain_stop(start: Start, where: str) -> None:
    """A shell, its pipeline and a background job: all gone, at once, without a kill."""
    run = start("--", *shell("sleep 60 | sleep 60 & sleep 60 & echo ready; wait"), where=where).ready()
    clock = Clock()
    assert run.send("TERM").wait() == 143
    assert clock.seconds < 7
    assert (run.left, run.err) == ([], "")
