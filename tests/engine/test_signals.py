"""Forwarding: each signal once, to whom it is for. A marker sent afterwards shows that nothing more is on its way."""

import os
import signal as signals
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.engines import Engine
from support.runs import NAMESPACE, Run, number, python
from support.waiting import until

Start = Callable[..., Run]

NOT_FORWARDED = {9, 17, 19, 32, 33}
STOP_SIGNALS = {2, 15}
CONT = 18
MARKER = 64

RECORDER = "block(); say('ready'); record(64)"
"""Prints every signal it gets up to the marker."""

FAMILY = """
block()
if os.fork() == 0:
    say("started", os.getpid())
    record(64, "worker ")
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    say("started", os.getpid())
    record(64, "stranger ")
    os._exit(0)
say("ready")
record(64, "program ", but={signal.SIGCHLD})
for _ in range(2):
    os.wait()
"""
"""A program, a worker in its group, and a stranger in a session of its own. Each ends with the marker."""


def mark(run: Run) -> int:
    """Send the marker to each of the program's processes once what was sent before has arrived; the exit status."""
    os.kill(run.pid, MARKER)
    return run.wait()


@pytest.mark.parametrize("one", [n for n in range(1, 65) if n not in NOT_FORWARDED | STOP_SIGNALS | {MARKER}])
def test_each_signal_arrives_once(one: int, start: Start) -> None:
    """All that can be forwarded, ABRT, SEGV, TSTP and the like too: as it came, once, with nothing beside it."""
    run = start("--", *python(RECORDER)).ready().send(one)
    run.wait_out(str(one))
    assert mark(run) == 0
    assert run.lines == ["ready", str(one), str(MARKER)]


@pytest.mark.parametrize("one", ["HUP", "USR1", "USR2", "WINCH", "QUIT", 37, 63])
def test_each_signal_arrives_once_in_a_namespace(one: str | int, start: Start) -> None:
    """As PID 1, from outside its namespace."""
    run = start("--", *python(RECORDER), where=NAMESPACE).ready().send(one)
    run.wait_out(str(number(one)))
    assert mark(run) == 0
    assert run.lines == ["ready", str(number(one)), str(MARKER)]


@pytest.mark.parametrize("one", sorted(STOP_SIGNALS))
def test_stop_signal_arrives_once_and_is_followed_by_cont(one: int, start: Start, where: str) -> None:
    """TERM and INT: once, then CONT, so that a stopped program hears them."""
    run = start("--", *python(RECORDER), where=where).ready().send(one)
    run.wait_out(str(CONT))
    assert mark(run) == 0
    assert run.lines == ["ready", str(one), str(CONT), str(MARKER)]


def received(run: Run, *sent: str | int) -> dict[str, list[int]]:
    """Send these to a FAMILY and say who got what; the marker, sent to each by hand, comes last."""
    run.ready()
    until(lambda: len([line for line in run.lines if line.startswith("started")]) == 2, 10, "the family")
    family = [run.program, *processes.children(run.program)]
    run.send(*sent)
    run.send(63)  # to the program alone: when it is there, pyinit has done with what was sent before
    run.wait_out("program 63")
    for pid in family[1:]:
        os.kill(pid, MARKER)
    os.kill(family[0], MARKER)
    assert run.wait() == 0
    found: dict[str, list[int]] = {"program": [], "worker": [], "stranger": []}
    for line in run.lines:
        name, _, text = line.partition(" ")
        if name in found and int(text) not in {63, MARKER}:
            found[name].append(int(text))
    return found


SCOPES: dict[str, tuple[list[str], int, str]] = {
    # options, signal, who gets it: p(rogram), w(orker), s(tranger)
    "TERM to the group": ([], 15, "pw"),
    "INT to the group": ([], 2, "pw"),
    "HUP to the program": ([], 1, "p"),
    "QUIT to the program": ([], 3, "p"),
    "USR1 to the program": ([], 10, "p"),
    "WINCH to the program": ([], 28, "p"),
    "RTMIN+3 to the program": ([], 37, "p"),
    "-g TERM": (["-g"], 15, "pw"),
    "-g HUP": (["-g"], 1, "pw"),
    "-g RTMIN+3": (["-g"], 37, "pw"),
    "-c TERM": (["-c"], 15, "p"),
    "-c USR2": (["-c"], 12, "p"),
    "scope child": (["--scope", "child"], 15, "p"),
    "scope tree": (["--scope", "tree"], 15, "pws"),
    "scope tree HUP": (["--scope", "tree"], 1, "p"),
    "scope tree -g HUP": (["--scope", "tree", "-g"], 1, "pw"),
    "QUIT as stop signal": (["--stop-signals", "QUIT"], 3, "pw"),
    "TERM no stop signal": (["--stop-signals", "QUIT"], 15, "p"),
    "RTMIN+3 as stop signal": (["--stop-signals", "RTMIN+3,WINCH"], 37, "pw"),
}


@pytest.mark.parametrize("case", SCOPES)
def test_scope(case: str, start: Start) -> None:
    """Stop signals go to the group, others to the program alone; -g, -c and --scope change that."""
    words, one, who = SCOPES[case]
    is_stop = {"TERM no stop signal": False}.get(case, one in STOP_SIGNALS or "as stop signal" in case)
    found = received(start(*words, "--linger", "0", "--", *python(FAMILY)), one)
    wanted = [one, CONT] if is_stop else [one]
    # both may be pending when the process runs, and then the lower number comes first
    assert {name: sorted(got) for name, got in found.items()} == {
        n: sorted(wanted) if n[0] in who else [] for n in found
    }


def test_scope_in_a_namespace(start: Start) -> None:
    """The same as PID 1, for one of each kind."""
    assert received(start("--linger", "0", "--", *python(FAMILY), where=NAMESPACE), 15) == {
        "program": [15, CONT],
        "worker": [15, CONT],
        "stranger": [],
    }


REWRITES: dict[str, tuple[list[str], list[int], list[int]]] = {
    "stop signal": (["-r", "TERM:QUIT"], [15], [3, CONT]),
    "other": (["-r", "HUP:USR1"], [1], [10]),
    "list": (["-r", "HUP:USR1,USR2:WINCH"], [1, 12], [10, 28]),
    "repeated": (["-r", "HUP:USR1", "-r", "USR2:QUIT"], [1, 12], [10, 3]),
    "chain is not followed": (["-r", "HUP:USR1", "-r", "USR1:QUIT"], [1], [10]),
    "dropped": (["-r", "HUP:0"], [1], []),
    "dropped stop signal begins no shutdown": (["-r", "TERM:0", "-t", "0"], [15], []),
    "a rewrite to a stop signal begins no shutdown": (["-r", "HUP:TERM", "-t", "0"], [1], [15]),
    "real-time": (["-r", "RTMIN+3:RTMAX-2"], [37], [62]),
    "last wins": (["-r", "HUP:USR1", "-r", "HUP:USR2"], [1], [12]),
}


@pytest.mark.parametrize("case", REWRITES)
def test_rewrite(case: str, start: Start) -> None:
    """--rewrite: what arrives and what is sent."""
    words, sent, wanted = REWRITES[case]
    got = received(start(*words, "--linger", "0", "--", *python(FAMILY)), *sent)["program"]
    assert sorted(got) == sorted(wanted)  # two may be pending at once, and then the lower number comes first


def test_real_time_signals_are_queued_in_order(start: Start) -> None:
    """Each of many arrives, lower numbers first, as the kernel queues them."""
    run = start("--", *python(RECORDER)).ready()
    os.kill(run.pid, signals.SIGSTOP)
    until(lambda: processes.state(run.pid) == "T", 10, "the stop")
    run.send(*[34, 40, 34, 50, 40, 34])
    os.kill(run.pid, signals.SIGCONT)
    run.wait_out("50")
    until(lambda: len(run.lines) >= 7, 10, "all of them")
    assert mark(run) == 0
    assert sorted(line for line in run.lines[1:-1] if line != "18") == ["34", "34", "34", "40", "40", "50"]


def test_sigchld_by_hand_is_not_forwarded(start: Start, where: str) -> None:
    """A SIGCHLD that tells of nobody is harmless, and the program hears nothing of it."""
    run = start("--", *python(RECORDER), where=where).ready().send("CHLD", "CHLD")
    assert mark(run) == 0
    assert run.lines == ["ready", str(MARKER)]


def test_sigchld_ignored_on_entry(start: Start, where: str) -> None:
    """Inherited as "ignore" it would let the kernel reap in our place, and the status would be lost."""
    code = "daemon(lambda: None); sys.exit(7)"
    run = start("--", *python(code), where=where, prepare=lambda: signals.signal(signals.SIGCHLD, signals.SIG_IGN))
    assert run.wait() == 7


def test_coalesced_sigchld(start: Start) -> None:
    """One SIGCHLD for many ends, the program's among them: all are reaped, and the status is right."""
    code = """
block(signal.SIGUSR1)
for n in range(30):
    daemon(lambda: signal.sigwait({signal.SIGUSR1}))
say("ready")
signal.sigwait({signal.SIGUSR1})
os._exit(7)
"""
    run = start("-vvv", "--", *python(code)).ready()
    program = run.program
    until(lambda: len(processes.children(run.pid)) == 31, 10, "thirty orphans")
    os.kill(run.pid, signals.SIGSTOP)
    until(lambda: processes.state(run.pid) == "T", 10, "the stop")
    everybody = processes.children(run.pid)
    for pid in everybody:
        os.kill(pid, signals.SIGUSR1)
    until(lambda: all(processes.state(pid) == "Z" for pid in everybody), 10, "31 zombies")
    os.kill(run.pid, signals.SIGCONT)
    assert run.wait() == 7
    assert program in everybody
    assert len([line for line in run.report if "reaped orphan" in line]) == 30


@pytest.mark.parametrize("one", ["ABRT", "SEGV", "ILL", "BUS", "FPE", "TRAP", "SYS"])
def test_fault_signal_sent_by_somebody_is_forwarded(one: str, start: Start) -> None:
    """`kill -ABRT` is a user's, for the program; ours is still there afterwards."""
    run = start("--", "sleep", "60").armed().send(one)
    assert run.wait() == 128 + number(one)


def test_fault_of_our_own_still_kills(start: Start) -> None:
    """Blocking a fault's signal does not hide a genuine fault: the kernel kills (signal(7), sigprocmask(2))."""
    run = start("--", "sleep", "60").armed()
    at = int(Path(f"/proc/{run.pid}/syscall").read_text(encoding="ascii").split()[-1], 16)
    with Path(f"/proc/{run.pid}/mem").open("r+b", buffering=0) as memory:  # past the page's protection, as a debugger
        memory.seek(at)
        memory.write(bytes(8))  # on no architecture that pyinit supports can this be executed here
    run.send("USR1")
    assert run.wait() in (-signals.SIGSEGV, -signals.SIGILL)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_sigpipe_of_our_own_write_is_not_forwarded(kind: str, start: Start) -> None:
    """The reader of stderr is gone: our line raises SIGPIPE in us, which is nobody else's; one from a user is forwarded."""
    if kind == "pipe":
        reader, writer = os.pipe()
        ours, theirs = os.fdopen(reader, "rb"), os.fdopen(writer, "wb")
    else:
        left, right = socket.socketpair()
        ours, theirs = left.makefile("rb"), right.makefile("wb")
        left.close()
        right.close()
    with ours, theirs:
        run = start("-vvv", "--", *python(RECORDER), stderr=theirs).ready()
        ours.close()
        run.send("HUP")
        run.wait_out("1")
        run.send("PIPE")
        run.wait_out("13")
        assert mark(run) == 0
        assert run.lines == ["ready", "1", "13", str(MARKER)]


def test_signal_at_the_very_start(way: Engine, start_any: Start) -> None:
    """Once /proc shows TERM blocked it is never lost, wherever in the start it comes."""
    for _ in range(10):
        run = start_any(*way.command, "--", "sleep", "60")

        def masked(run: Run = run) -> bool:
            # in its one blocking call /proc shows what is waited for as not blocked (sigtimedwait(2)): then it is at /
            is_waiting = Path(f"/proc/{run.pid}/cwd").readlink() == Path("/")
            is_ours = "pyinit" in processes.command(run.pid)
            return is_ours and (is_waiting or signals.SIGTERM in processes.mask(processes.status(run.pid), "SigBlk"))

        until(masked, 10, "the mask")
        run.send("TERM")
        assert run.wait(10) == 128 + signals.SIGTERM


def test_signals_sent_before_the_program_runs_reach_it(way: Engine, start_any: Start) -> None:
    """Blocked from the start on, and pending already: they wait for the program."""

    def prepare() -> None:
        signals.pthread_sigmask(signals.SIG_BLOCK, {signals.SIGHUP, signals.SIGTERM})
        os.kill(os.getpid(), signals.SIGHUP)

    run = start_any(*way.command, "--", *python("say('ready'); record(1)"), prepare=prepare)
    assert run.wait() == 0
    assert run.lines[-1] == "1"


def test_stop_and_continue_by_hand(start: Start) -> None:
    """TSTP and CONT are forwarded as they come: the program stops, which is no exit, and goes on."""
    run = start("--", *python("say('ready'); signal.pause()")).ready().send("TSTP")
    until(lambda: processes.state(run.program) == "T", 10, "the program's stop")
    run.send("CONT")
    until(lambda: processes.state(run.program) == "S", 10, "the program's continuation")
    run.send("TERM")
    assert run.wait() == 128 + signals.SIGTERM


def test_traced_orphan_does_not_confuse_the_reaper(start: Start) -> None:
    """Waitpid reports a stop of an adopted child, too: that is no end of it."""
    code = "daemon(lambda: (block(15), say('orphan', os.getpid()), say('ready'), signal.sigwait({15})))\nblock(15); signal.sigwait({15})"
    run = start("--", *python(code)).ready()
    orphan = run.value("orphan")
    os.kill(orphan, signals.SIGSTOP)
    until(lambda: processes.state(orphan) == "T", 10, "the orphan's stop")
    os.kill(orphan, signals.SIGCONT)
    until(lambda: processes.state(orphan) == "S", 10, "its continuation")
    run.send("TERM")
    assert run.wait() == 0


def test_many_signals_in_a_row(start: Start) -> None:
    """A signal that is sent when the one before has arrived is never lost, however fast they come."""
    run = start("--", *python(RECORDER)).ready()
    wanted = ["ready"]
    for one in [1, 10, 12, 28] * 10:
        run.send(one)
        wanted.append(str(one))
        until(lambda: run.lines == wanted, 10, f"signal {len(wanted)}")
    assert mark(run) == 0
    assert run.lines == [*wanted, str(MARKER)]
