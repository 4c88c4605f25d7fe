"""An "init" that does what an init must, but for one thing: `faulty.py FAULT PROGRAM...`; `none` is without a fault.

It asks the whole group and, when the program has ended, everybody; it kills who has not ended 3.6 s after a SIGTERM.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

GRACE = 3.6
LINGER = 2.0
FAULTS = {
    "loses hangups", "no real-time signals", "loses every tenth", "believes SIGCHLD", "forwards SIGCHLD", "stops itself",
    "masks the code", "forgets the signal", "reaps once", "forgets other sessions", "asks the program alone",
    "never kills", "kills too early", "wrong codes", "no subreaper", "blocks TERM", "ignores PIPE", "leaks a descriptor",
    "moves the program", "adds a variable", "chatters", "writes too much", "refuses to be second", "keeps what PID 1 sent",
    "doubles SIGCONT", "wakes twice", "stops reaping", "keeps the terminal", "keeps quiet", "wants new calls", "none",
}  # fmt: skip

CONTS: dict[tuple[str, int], int] = {
    ("doubles SIGCONT", signal.SIGCONT): 1,
    ("wakes twice", signal.SIGTERM): 2,
    ("wakes twice", signal.SIGINT): 2,
}
"""How many SIGCONT go with a signal."""

fault = sys.argv[1]
if fault not in FAULTS:
    sys.exit(f"no such fault: {fault}")
if fault == "chatters":
    os.write(2, b"init: no terminal\n")
if fault == "refuses to be second" and os.getpid() != 1:
    sys.exit("init: this must be PID 1")
if fault == "wants new calls":
    os.pidfd_open(os.getpid())
if fault == "stops itself" and os.getpid() == 1:
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)

EVERY = set(range(1, 65)) - {9, 19, 32, 33}
inherited = signal.pthread_sigmask(signal.SIG_BLOCK, EVERY)
if os.getpid() != 1 and fault != "no subreaper":
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
reader, writer = os.pipe()
if fault == "leaks a descriptor":
    os.set_inheritable(writer, True)  # noqa: FBT003 - its name says it

child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    if os.isatty(0) and fault != "keeps the terminal":
        os.tcsetpgrp(0, os.getpid())  # before anything that could find itself in the background
    if fault == "moves the program":
        os.chdir("/")
    if fault == "adds a variable":
        os.environ["INIT"] = "1"
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if fault != "ignores PIPE":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM} if fault == "blocks TERM" else inherited)
    try:
        os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (becoming the program is the point)
    except OSError as error:
        os.write(2, f"init: {sys.argv[2]}: {error.strerror}\n".encode())
        os._exit(1 if fault == "wrong codes" else 127 if isinstance(error, FileNotFoundError) else 126)
with contextlib.suppress(OSError):
    os.setpgid(child, child)
gone: list[int] = []


def reap() -> int | None:
    """The program's wait status, once it is known."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(child if fault == "stops reaping" and len(gone) > 1900 else -1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        gone.append(pid)
        if pid == child:
            found = status
        if fault == "reaps once":
            return found


def descendants() -> list[int]:
    """Everybody but PID 1."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]  # noqa: PTH208


def ask(number: int) -> None:
    """The signal to everybody who is left."""
    for pid in descendants() if os.getpid() == 1 else ():
        try:
            if fault != "forgets other sessions" or os.getsid(pid) == os.getsid(0):
                os.kill(pid, number)
        except PermissionError:
            if fault != "keeps quiet":
                os.write(2, f"init: {pid} may not be signalled: Operation not permitted\n".encode())
        except OSError:
            pass


def forward(number: int) -> None:
    """To the group on a stop signal, else to the program."""
    with contextlib.suppress(OSError):
        if fault == "keeps what PID 1 sent" and os.getpid() != 1:
            return
        if number in (signal.SIGTERM, signal.SIGINT) and fault != "asks the program alone":
            os.killpg(child, number)
        else:
            os.kill(child, number)
        for _ in range(CONTS.get((fault, number), 0)):
            time.sleep(0.05)  # or the two would be one
            os.kill(child, signal.SIGCONT)


def leave(status: int) -> None:
    """Waits for the others, and exits with the program's status."""
    if fault != "asks the program alone":
        ask(signal.SIGTERM)
        until = time.monotonic() + LINGER
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < until:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    signal.sigtimedwait({signal.SIGCHLD}, 0.1)
    code = os.waitstatus_to_exitcode(status)
    if fault == "forgets the signal":
        os._exit(max(code, 0))
    if fault == "masks the code":
        os._exit(min(code, 127) if code >= 0 else 128 - code)
    os._exit(128 - code if code < 0 else code)


deadline, taken = None, 0
while True:
    got = signal.sigtimedwait(EVERY, 1e6 if deadline is None else max(0.0, deadline - time.monotonic()))
    if got is None:
        message = "init: killed the program, which had ignored SIGTERM for 3.6 s\n" * (
            100 if fault == "writes too much" else 1
        )
        with contextlib.suppress(OSError):
            Path("/dev/termination-log").write_text(message, encoding="ascii")
        os.killpg(child, signal.SIGKILL)
        deadline = None
        continue
    number, taken = got.si_signo, taken + 1
    if number == signal.SIGCHLD:
        if fault == "believes SIGCHLD" and got.si_code <= 0:
            os._exit(0)
        if fault == "forwards SIGCHLD" and got.si_code <= 0:
            forward(number)
        ended = reap()
        if ended is not None:
            leave(ended)
    elif (
        (fault == "keeps the terminal" and got.si_code > 0)  # the kernel's own: of the terminal's keys
        or (fault == "loses hangups" and number == signal.SIGHUP)
        or (fault == "no real-time signals" and number > 31)
        or (fault == "loses every tenth" and taken % 10 == 0)
    ):
        continue
    else:
        forward(number)
        if fault == "stops itself" and number == signal.SIGTSTP:
            signal.sigwait({signal.SIGTERM})  # a PID 1 cannot be stopped: it is as good as that
        if number in (signal.SIGTERM, signal.SIGINT) and deadline is None and fault != "never kills":
            deadline = time.monotonic() + (0.5 if fault == "kills too early" else GRACE)
