"""The program under an init that is judged: it says what it was given and what happens to it, as JSON lines on stdout.

Started as `INIT [ARGS] PYTHON ... probe WORD [ARGUMENT...]`, on the standard library alone. Each line has `say` (`ready`, `signal`,
`done`, ...), `who` (`main`, or which child) and `at`, seconds of CLOCK_MONOTONIC, which is the observer's clock too. Signals are blocked
and fetched (sigwaitinfo), so that none is lost between two of them, and each comes with its sender.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVERY = frozenset(set(range(1, 65)) - {9, 19, 32, 33})
"""All signals that can be fetched."""

NOT_ENDED = 99
"""Exit status of one that outlived a signal that ends a process."""

BATCH = 100
"""Orphans that lose their parent in the same instant."""


def main(words: Sequence[str]) -> NoReturn:
    """`WORD [ARGUMENT...]`: see PROBES."""
    word, *rest = words
    status = PROBES[word](*rest)
    os._exit(status or 0)


def say(what: str, who: str = "main", **more: object) -> None:
    """One line, in one write."""
    os.write(1, (json.dumps({"say": what, "who": who, "at": time.monotonic(), **more}) + "\n").encode())


def state() -> dict[str, Any]:
    """What a program inherits."""
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if ":" in line
    )
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "fds": _descriptors("self"),
        "init_fds": _descriptors("1"),
        "environment": sorted(
            word.decode("utf-8", "backslashreplace")
            for word in Path("/proc/self/environ").read_bytes().split(b"\0")
            if word
        ),
        "cwd": os.getcwd(),  # noqa: PTH109 - as it was inherited
        "umask": status.get("Umask", "").strip(),
        "limits": Path("/proc/self/limits").read_text(encoding="utf-8").splitlines()[1:],
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text(encoding="utf-8").strip(),
    }


def _descriptors(pid: str) -> dict[str, str]:
    """Where each leads; empty where it may not be read."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - its own descriptor is gone afterwards
            with suppress(OSError):
                found[name] = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115
    return found


def _block(numbers: frozenset[int] = EVERY) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _fetch(who: str = "main", numbers: frozenset[int] = EVERY) -> int:
    """The next signal, which is said."""
    got = signal.sigwaitinfo(numbers)
    say("signal", who, number=got.si_signo, sender=got.si_pid)
    return got.si_signo


def _until_term(who: str = "main") -> None:
    while _fetch(who) != signal.SIGTERM:
        pass


# --- what it does ---


def listen(*ends: str) -> None:
    """Says each signal; ends with 0 on those named by number."""
    _block()
    say("ready", **state())
    while str(_fetch()) not in ends:
        pass


def plain() -> None:
    """The same, with the default action of SIGTSTP, and an end on SIGTERM."""
    numbers = EVERY - {signal.SIGTSTP}
    _block(numbers)
    say("ready")
    while _fetch("main", numbers) != signal.SIGTERM:
        pass


def finish(code: str) -> int:
    """Ends at once with that status."""
    return int(code)


def die(number: str) -> int:
    """Ends by that signal's default action."""
    signal.signal(int(number), signal.SIG_DFL) if int(number) != signal.SIGKILL else None
    os.kill(os.getpid(), int(number))
    time.sleep(0.2)  # whoever is PID 1 lives on: a signal without a handler does nothing to it
    return NOT_ENDED


def hog(megabytes: str) -> int:
    """Takes memory until it is killed for it, but no more than so much. The kernel is told to take it before anybody else."""
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    held = [b"\1" * (1 << 20) for _ in range(int(megabytes))]
    say("unlimited", number=len(held))
    return NOT_ENDED


def stray(code: str) -> int:
    """One orphan ends with 77 before it, one that has lost it ends with 78 afterwards."""
    ours, theirs = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(theirs)
        if os.fork() == 0:
            os._exit(77)
        if os.fork() == 0:
            os.read(ours, 1)
            os._exit(78)
        os._exit(0)
    os.close(ours)
    os.waitpid(middle, 0)
    time.sleep(0.3)  # long enough for the first to be adopted and reaped
    return int(code)


def orphans(number: str) -> None:
    """So many orphans, in batches: half of each dead before they lose their parent, half right after. Then it listens until SIGTERM."""
    _block()
    say("ready", **state())
    left = int(number)
    while left > 0:
        batch = min(BATCH, left)
        ours, theirs = os.pipe()
        middle = os.fork()
        if middle == 0:
            os.close(theirs)
            for each in range(batch):
                if os.fork() == 0:
                    if each % 2:
                        os.read(ours, 1)
                    os._exit(0)
            os._exit(0)
        os.close(ours)
        os.waitpid(middle, 0)
        os.close(theirs)
        left -= batch
    say("made", number=int(number))
    _until_term()


def _child(who: str, body: Callable[[], None], *, own_session: bool = False) -> None:
    """A child that has begun to wait for signals when this returns."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(ours)
        if own_session:
            os.setsid()
        _block()
        say("here", who, pid=os.getpid())
        os.close(theirs)
        body()
        os._exit(0)
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)


def _saves(who: str, seconds: float) -> Callable[[], None]:
    """On SIGTERM it works for so long, and then says that it is done."""

    def body() -> None:
        _until_term(who)
        time.sleep(seconds)
        say("done", who)

    return body


def worker(seconds: str) -> None:
    """On SIGTERM it ends at once with 0; its worker needs so many seconds more."""
    _block()
    _child("worker", _saves("worker", float(seconds)))
    say("ready")
    _until_term()


def daemon() -> None:
    """The same with a child in a session of its own, which is quick."""
    _block()
    _child("daemon", _saves("daemon", 0.0), own_session=True)
    say("ready")
    _until_term()


def several(number: str) -> None:
    """Itself and so many workers: each saves on SIGTERM, the workers in 0.1 s, it itself in 0.8 s."""
    _block()
    for each in range(int(number)):
        _child(f"worker {each + 1}", _saves(f"worker {each + 1}", 0.1))
    say("ready")
    _saves("main", 0.8)()


def slow(seconds: str) -> None:
    """It takes so long to end after SIGTERM."""
    _block()
    say("ready")
    _saves("main", float(seconds))()


def deaf() -> None:
    """It ends on no signal that can be caught."""
    _block()
    say("ready")
    while True:
        _fetch()


def crowd() -> None:
    """Orphans until no more processes are to be had; they end; on SIGUSR1 once more; it ends on SIGTERM."""
    _block()
    say("full", number=_fill())
    say("ready")
    while (number := _fetch()) != signal.SIGTERM:
        if number == signal.SIGUSR1:
            say("full again", number=_fill())


def _fill() -> int:
    """How many orphans there were when no more could be made. They have been told to end."""
    ours, theirs = os.pipe()
    made = 0
    while made < 10000:
        try:
            middle = os.fork()
        except OSError:
            break
        if middle == 0:
            os.close(theirs)
            try:
                if os.fork() == 0:
                    os.read(ours, 1)
                    os._exit(0)
            except OSError:
                os._exit(1)
            os._exit(0)
        if os.waitpid(middle, 0)[1]:
            break
        made += 1
    os.close(ours)
    os.close(theirs)
    return made


def pipeline() -> None:
    """As `yes | head -1`: the writer is to end when nobody reads any more."""
    ours, theirs = os.pipe()
    began = time.monotonic()
    writer = os.fork()
    if writer == 0:
        os.close(ours)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python has changed it; the mask is as it was inherited
        with suppress(BrokenPipeError):
            while True:
                os.write(theirs, b"y\n")
        os._exit(NOT_ENDED)
    os.close(theirs)
    os.read(ours, 2)
    os.close(ours)
    status = os.waitpid(writer, 0)[1]
    say("piped", status=os.waitstatus_to_exitcode(status), seconds=time.monotonic() - began)


def terminal() -> None:
    """What a shell would find out about its terminal; then the first line that is typed, and each signal until SIGTERM."""
    _block()
    say("ready", pid=os.getpid(), tty=os.isatty(0), **_job_control())
    try:
        say("read", text=os.read(0, 100).decode("ascii", "backslashreplace"))
    except OSError as error:  # EIO: who is in the background may not read
        say("read", text="", error=error.strerror)
    _until_term()


def _job_control() -> dict[str, Any]:
    """Whether it is in the foreground, and if so, whether a child of it can have the terminal for a while."""
    try:
        if os.tcgetpgrp(0) != os.getpgrp():
            return {"foreground": False}
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(theirs)
            os.read(ours, 1)
            os._exit(os.tcgetpgrp(0) != os.getpgrp())
        os.setpgid(child, child)
        os.tcsetpgrp(0, child)
        os.close(theirs)
        _, status = os.waitpid(child, 0)
        os.tcsetpgrp(0, os.getpgrp())
    except OSError as error:
        return {"error": error.strerror}
    return {"foreground": True, "jobs": status == 0}


def other(child: str, own: str, *words: str) -> NoReturn:
    """Becomes that program, as a user with the one number; it has a child by then that runs as the one with the other."""

    def body() -> None:
        _become(int(child))
        _saves("other", 0.0)()

    _child("other", body)
    _become(int(own))
    os.execvp(words[0], words)  # noqa: S606 - the point of it


def _become(user: int) -> None:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def closed(*words: str) -> NoReturn:
    """Becomes that program, with its stdin closed."""
    os.close(0)
    os.execvp(words[0], words)  # noqa: S606 - the point of it


PROBES: dict[str, Callable[..., int | None]] = {
    "listen": listen,
    "plain": plain,
    "finish": finish,
    "die": die,
    "stray": stray,
    "orphans": orphans,
    "worker": worker,
    "daemon": daemon,
    "several": several,
    "slow": slow,
    "deaf": deaf,
    "crowd": crowd,
    "pipeline": pipeline,
    "closed": closed,
    "hog": hog,
    "terminal": terminal,
    "other": other,
}
