"""Helpers in containers of ours: some share a namespace of the target (orphans, signals from inside, a request), one copies a volume.

Putting a process into somebody's PID namespace is dangerous: with runtimes that have a kernel of their own, a helper that asked for the
target's namespace was found in the host's. So each first proves where it is (`prove`) and does nothing at all elsewhere.

Each prints one JSON object: what it did. Exit status 0 when it did; 3 when it is not where it should be. One that is put beside a target
stays after that, so that the observer can show that it sees it (`acts.must_see`), until its connection to the tool ends: with that each
of them ends, however the tool itself has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pyinit.containers import probe, procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ELSEWHERE = 3
UNHELD = 4
"""Exit status of one whose connection had ended before it could begin."""


def main(words: Sequence[str]) -> None:
    """`WORD NAMESPACE [ARGUMENT...]`, or `probe WORD [ARGUMENT...]`: the program under an init that is judged."""
    if words[0] == "probe":
        probe.main(words[1:])
    end_with_stdin()
    word, namespace, *rest = words
    if word in ("request", "copy"):  # the one shares the target's network alone, the other nothing
        print(json.dumps(HELPERS[word](*rest)), flush=True)
        return
    prove(int(namespace))
    print(json.dumps({**HELPERS[word](*rest), "pid": os.getpid()}), flush=True)
    while True:
        signal.pause()


def end_with_stdin() -> None:
    """From here on the kernel kills this process when the other end of its stdin is closed, be it stopped or at work."""
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # nobody ever writes to it: it was closed before
        sys.exit(UNHELD)


def prove(namespace: int) -> None:
    """That we are in that PID namespace, whose PID 1 is visible here under that number; ends the process otherwise."""
    try:
        ours, theirs = procfs.namespace(os.getpid()), procfs.namespace(1)
        right = ours == namespace and theirs == namespace and procfs.numbers(1) == [1]
    except PermissionError:  # PID 1 of another user: its namespace may not be read, but ours may, and it has one PID 1
        right = procfs.namespace(os.getpid()) == namespace and procfs.numbers(1) == [1]
    except OSError:
        right = False
    if not right:
        print(json.dumps({"elsewhere": True}), flush=True)
        sys.exit(ELSEWHERE)


def orphans(number: str) -> dict[str, int]:
    """So many processes whose parent ends before them, and which then end: PID 1 adopts them and has to reap them."""
    wanted = int(number)
    for _ in range(wanted):
        ours, theirs = os.pipe()
        parent = os.fork()
        if parent == 0:
            os.close(theirs)
            if os.fork() == 0:
                _orphan(ours)
            os._exit(0)
        os.close(ours)
        os.waitpid(parent, 0)
        os.close(theirs)  # only now, when its parent is gone, does the orphan end
    return {"orphans": wanted}


def _orphan(told: int) -> NoReturn:
    os.read(told, 1)
    os._exit(0)


def inside(number: str) -> dict[str, object]:
    """SIGKILL, or whatever signal, to PID 1 from within its own namespace."""
    try:
        os.kill(1, int(number))
    except OSError as error:
        return {"sent": False, "error": error.strerror}
    return {"sent": True}


def loiter() -> dict[str, object]:
    """Stays, stopped, as an exec session that hangs: until it is killed."""
    print(json.dumps({"pid": os.getpid()}), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    return {}


def request(host: str, port: str, path: str, timeout: str) -> dict[str, object]:
    """One HTTP/1.1 request over a connection of its own; says when it was sent, when it was over, and what came back."""
    began = time.monotonic()
    answer = b""
    try:
        # bytes: for a str the codec idna would be needed, which is not in our image
        where: tuple[Any, int] = (host.encode(), int(port))
        with socket.create_connection(where, timeout=float(timeout)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            print(json.dumps({"sent": time.monotonic()}), flush=True)
            while data := connection.recv(65536):
                answer += data
    except OSError as error:
        return {"error": str(error), "bytes": len(answer), **_over(began)}
    over = _over(began)
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    return {"status": status, "complete": is_complete(answer), "bytes": len(answer), **over}


def is_complete(answer: bytes) -> bool | None:
    """Whether all of an HTTP/1.1 answer is there; None where nothing but the end of the connection says so, which a cut does too."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    first, *lines = head.lower().split(b"\r\n")
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if fields.get(b"transfer-encoding", b"").endswith(b"chunked"):
        return _has_last_chunk(body)
    if first.split(b" ")[1:2] in ([b"204"], [b"304"]):  # they have no body
        return True
    length = fields.get(b"content-length", b"")
    return len(body) >= int(length) if length.isdigit() else None


def _has_last_chunk(body: bytes) -> bool:
    """Chunk by chunk, for what a chunk holds may look like the last one."""
    while True:
        size, found, rest = body.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            return False
        if not found or not length:
            return bool(found) and (rest.startswith(b"\r\n") or b"\r\n\r\n" in rest)
        body = rest[length + 2 :]


def _over(began: float) -> dict[str, float]:
    now = time.monotonic()
    return {"ended": now, "seconds": now - began}


def copy(source: str, target: str) -> dict[str, int]:
    """What is in one folder into another, as it is: owners, rights, times, attributes, and names of the same file."""
    known: dict[tuple[int, int], Path] = {}
    _copy(Path(source), Path(target), known)
    return {"copied": len(known)}


def _copy(old: Path, new: Path, known: dict[tuple[int, int], Path]) -> None:
    found = old.lstat()
    kind, is_link = stat.S_IFMT(found.st_mode), stat.S_ISLNK(found.st_mode)
    if kind == stat.S_IFSOCK:
        return  # it leads to whoever has bound it, who is not in the copy
    if (first := known.setdefault((found.st_dev, found.st_ino), new)) is not new:
        os.link(first, new, follow_symlinks=False)
        return
    if kind == stat.S_IFDIR:
        new.mkdir(exist_ok=True)
        for entry in old.iterdir():
            _copy(entry, new / entry.name, known)
    elif kind == stat.S_IFREG:
        with old.open("rb") as source, new.open("wb") as target:
            while data := source.read(1 << 20):
                target.write(data)
    elif is_link:
        new.symlink_to(old.readlink())
    else:
        os.mknod(new, found.st_mode, found.st_rdev)
    os.chown(new, found.st_uid, found.st_gid, follow_symlinks=False)
    if not is_link:
        new.chmod(stat.S_IMODE(found.st_mode))
    for name in os.listxattr(old, follow_symlinks=False):
        with suppress(OSError):  # some are the kernel's own, or need more rights than a container has
            os.setxattr(new, name, os.getxattr(old, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


HELPERS: dict[str, Callable[..., Mapping[str, object]]] = {
    "orphans": orphans,
    "inside": inside,
    "loiter": loiter,
    "request": request,
    "copy": copy,
}

with suppress(AttributeError):
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
