"""The measurements. Each goes round by round, every init once in each round, so that whatever disturbs the machine meets all alike.

Each checks itself: a wrong exit status, a signal that never came or a zombie that stayed is a fault, counted and said.
"""

import contextlib
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence

from bench.common import BrokenError, Faults, Progress, in_turn, wait_for
from bench.inits import (
    CATATONIT,
    DIRECT,
    ENGINE,
    LAUNCHER,
    NATIVE,
    PYTHON,
    PYTHON_FLAGS,
    Init,
    Running,
    next_child_is_pid_1,
)
from bench.report import TINI, Bar, Measured, Row

MEGABYTE = 1024  # in /proc's kB
SLEEP = ("sh", "-c", "echo ready; exec sleep infinity")

# --- start ---


def start(inits: Sequence[Init], rounds: int, progress: Progress, faults: Faults) -> Measured:
    """`INIT -- /bin/true` as PID 1 of a new PID namespace, less what `/bin/true` alone takes there, in milliseconds."""
    notes = []
    fresh: Callable[[], contextlib.AbstractContextManager[None]] = next_child_is_pid_1
    try:
        with fresh():
            pass
    except OSError as error:
        fresh = contextlib.nullcontext
        notes.append(f"start: as ordinary processes, not as PID 1 ({error.strerror}: run it as root)")
    times: dict[str, list[float]] = {init.name: [] for init in (DIRECT, *inits)}
    true = os.path.realpath("/bin/true")
    with open(os.devnull, "r+b") as null:  # noqa: PTH123 (a device, not a path of ours)
        for i in range(-2, rounds):  # two to warm up
            progress(f"start {max(i, 0)}/{rounds}")
            for init in in_turn((DIRECT, *inits), i):
                with fresh():
                    status, took = _run_once(init.runs(true), null.fileno())
                if status != 0:
                    faults.append(f"start: {init.name} -- true left wait status {status}, expected 0")
                if i >= 0:
                    times[init.name].append(took / 1e6)
    base = times[DIRECT.name]
    over = {name: [mine - direct for mine, direct in zip(taken, base, strict=True)] for name, taken in times.items()}
    over[DIRECT.name] = []
    notes.append(f"start: /bin/true alone takes {sorted(base)[len(base) // 2]:.2f} ms")
    return [
        Row(
            "start over direct exec", "ms", 2, over, {NATIVE: Bar(0.45, of=(TINI,)), ENGINE: Bar(10), LAUNCHER: Bar(22)}
        )
    ], notes


def _run_once(command: list[str], null: int) -> tuple[int, int]:
    """Wait status and nanoseconds. posix_spawn does not copy our page tables (vfork), so that our own size does not count."""
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    began = time.monotonic_ns()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    return status, time.monotonic_ns() - began


# --- memory ---


def memory(inits: Sequence[Init], rounds: int, progress: Progress) -> Measured:
    """RSS and private dirty of PID 1 alone, while the program sleeps; and the size of the file, where that is all there is."""
    os.sync()  # the pages of a file that was written just now count as dirty
    rss: dict[str, list[float]] = {init.name: [] for init in inits}
    dirty: dict[str, list[float]] = {init.name: [] for init in inits}
    for i in range(rounds):
        progress(f"memory {i}/{rounds}")
        for init in in_turn(inits, i):
            with Running(init, *SLEEP) as running:
                seen = running.memory()
                rss[init.name].append(seen["Rss"])
                dirty[init.name].append(seen["Private_Dirty"])
    bars = {NATIVE: Bar(32), **{name: Bar(3.0 * MEGABYTE) for name in PYTHON}}
    sizes = {
        init.name: [os.stat(init.command[0]).st_size / 1024]  # noqa: PTH116 (a number, as below)
        for init in inits
        if init.command and init.name not in PYTHON
    }
    return [
        Row("size of the executable", "kB", 1, sizes, {NATIVE: Bar(48)}),
        Row("RSS", "kB", 0, rss, {NATIVE: Bar(64)}),
        Row("private dirty", "kB", 0, dirty, bars),
    ], []


# --- idle ---


def idle(inits: Sequence[Init], seconds: int, progress: Progress) -> Measured:
    """Wake-ups of all inits, in one and the same window."""
    with contextlib.ExitStack() as stack:
        progress("idle: starting")
        fleet = [stack.enter_context(Running(init, *SLEEP)) for init in inits]
        before = [running.switches() for running in fleet]
        for i in range(seconds):
            progress(f"idle {i}/{seconds} s")
            time.sleep(1)
        after = [running.switches() for running in fleet]
    woken = {running.init.name: [float(b - a)] for running, a, b in zip(fleet, before, after, strict=True)}
    bars = {name: Bar(0) for name in (NATIVE, *PYTHON)}
    return [Row(f"idle wake-ups in {seconds} s", "", 0, woken, bars, with_ratio=False)], []


# --- latency ---

RECEIVER = """
import os, signal, struct, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.write(1, b"ready\\n")
while True:
    signal.sigwaitinfo({signal.SIGUSR1})
    os.write(1, struct.pack("q", time.monotonic_ns()))
"""


def latency(inits: Sequence[Init], rounds: int, batch: int, progress: Progress, faults: Faults) -> Measured:
    """From kill(2) to the init until the program has the signal, in microseconds.

    The program waits in sigwaitinfo and says when it woke, by the clock that both share; its own wake-up is part of every number,
    that of `direct` included. A round is `batch` signals to each init, one after the other; its p50 and p99 are the samples.
    """
    p50: dict[str, list[float]] = {init.name: [] for init in (DIRECT, *inits)}
    p99: dict[str, list[float]] = {init.name: [] for init in (DIRECT, *inits)}
    lost = dict.fromkeys(p50, 0)
    with contextlib.ExitStack() as stack:
        progress("signal latency: starting")
        fleet = [
            stack.enter_context(Running(init, sys.executable, *PYTHON_FLAGS, "-c", RECEIVER))
            for init in (DIRECT, *inits)
        ]
        for i in range(-1, rounds):  # one to warm up
            progress(f"signal latency {max(i, 0)}/{rounds}")
            for running in in_turn(fleet, i):
                taken = [_signal_once(running) for _ in range(batch)]
                came = sorted(us for us in taken if us is not None)
                lost[running.init.name] += batch - len(came)
                if not came:
                    raise BrokenError(f"signal latency: {running.init.name} passed none of {batch} signals on")
                if i >= 0:
                    p50[running.init.name].append(came[len(came) // 2])
                    p99[running.init.name].append(came[len(came) * 99 // 100])
    faults += [
        f"signal latency: {name} lost {count} of {(rounds + 1) * batch} signals"
        for name, count in lost.items()
        if count
    ]
    bars = {NATIVE: Bar(1.05, of=(TINI, CATATONIT)), **{name: Bar(1.4, of=(TINI,)) for name in PYTHON}}
    return [Row("signal latency p50", "µs", 1, p50, bars), Row("signal latency p99", "µs", 1, p99)], []


def _signal_once(running: Running) -> float | None:
    """Microseconds, or None when the signal had not come after a second."""
    stream = running.from_program.fileno()
    sent = time.monotonic_ns()
    os.kill(running.pid, signal.SIGUSR1)
    while select.select([stream], [], [], 1)[0]:
        message = os.read(stream, 8)
        if len(message) != 8:
            raise BrokenError(f"under {running.init.name}: the receiver of signals has ended")
        got: int = struct.unpack("q", message)[0]
        if got >= sent:  # else it is one that had been given up
            return (got - sent) / 1000
    return None


# --- orphans ---

ORPHANS = """
echo ready
read go
i=0
while [ $i -lt "$1" ]; do ( : & ); i=$((i + 1)); done
echo done
exec sleep infinity
"""
"""Each `( : & )` is a subshell that starts a process and leaves: what it started is an orphan, and PID 1's to reap."""


def orphans(inits: Sequence[Init], rounds: int, count: int, progress: Progress) -> Measured:
    """CPU time that the init spends on each of `count` orphans, in microseconds, and how many zombies it leaves."""
    cpu: dict[str, list[float]] = {init.name: [] for init in inits}
    left = {init.name: [0.0] for init in inits}
    for i in range(rounds):
        for init in in_turn(inits, i):
            progress(f"{count} orphans under {init.name}, round {i + 1}/{rounds}")
            with Running(init, "sh", "-c", ORPHANS, "sh", str(count)) as running:
                before = running.cpu()
                running.to_program.write(b"go\n")
                running.expect(b"done\n")
                with contextlib.suppress(BrokenError):
                    wait_for(running.has_no_zombies, "the last orphans to be reaped", 5)
                left[init.name][0] += running.zombies()
                cpu[init.name].append((running.cpu() - before) / 1000 / count)
    bars = {NATIVE: Bar(1.0, of=(TINI,)), **{name: Bar(2.5, of=(TINI,)) for name in PYTHON}}
    none = {name: Bar(0) for name in (NATIVE, *PYTHON)}
    return [
        Row(f"CPU per orphan, of {count:,}", "µs", 1, cpu, bars),
        Row(f"zombies left of {count * rounds:,}", "", 0, left, none, with_ratio=False),
    ], []


MANY = """
import ctypes, os, sys
PARENT, VM, VFORK, SIGCHLD = 0x8000, 0x100, 0x4000, 17
libc = ctypes.CDLL(None)
stack = ctypes.create_string_buffer(65536)
top, end = ctypes.c_void_p(ctypes.addressof(stack) + 65536 - 64), ctypes.cast(libc._exit, ctypes.c_void_p)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    if libc.clone(end, top, PARENT | VM | VFORK | SIGCHLD, None) < 0:
        sys.exit("clone failed")
print("done", flush=True)
sys.stdin.readline()
"""
"""Processes that end at once and are PID 1's children from their birth (CLONE_PARENT): a million of them take half a minute."""


def growth(inits: Sequence[Init], count: int, progress: Progress) -> Measured:
    """How much more memory of its own the init has after `count` children that were not its program, in kB."""
    grown: dict[str, list[float]] = {}
    for init in inits:
        progress(f"{count:,} processes reaped by {init.name}")
        with Running(init, sys.executable, *PYTHON_FLAGS, "-c", MANY, str(count)) as running:
            before = running.memory()["Private_Dirty"]
            running.to_program.write(b"go\n")
            running.expect(b"done\n")
            wait_for(running.has_no_zombies, "the last of them to be reaped", 60)
            grown[init.name] = [running.memory()["Private_Dirty"] - before]
    title = f"private dirty, growth by {count:,} orphans"
    return [Row(title, "kB", 0, grown, {NATIVE: Bar(0)}, with_ratio=False)], []
