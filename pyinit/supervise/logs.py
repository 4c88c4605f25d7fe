"""What the workers say: pipes in, labelled lines out, to the container's stdout or to files that are rotated.

One process reads every pipe and writes every file, so rotation is a rename between two writes: nothing is lost, torn or doubled.
Rejected: copy and truncate (loses what is written in between), files handed to the workers (rotation would need their help), a
thread for each pipe. Nothing here waits for a reader: what does not fit is kept, then the workers wait (`block`) or it is dropped
and counted (`drop`).
"""

import errno
import os
import select
import stat
import time

from pyinit.init.report import json, timestamp
from pyinit.supervise.spec import DROP, FOREVER, JSON_FORM

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final, Protocol

    from pyinit.supervise.spec import Logs

    class Sink(Protocol):
        """Where whole lines go. A sink that is full takes them all the same: whoever reads is to stop reading."""

        @property
        def is_full(self) -> bool: ...
        def put(self, data: bytes) -> None: ...


READ = 65536
LONGEST = 65536
"""A line that is longer is split; each part but the last ends in CONTINUES, each but the first begins with CONTINUED."""
CONTINUES, CONTINUED = b" [...]", b"[...] "
HIGH, LOW = 256 * 1024, 64 * 1024
"""Bytes kept for a reader that does not read: above HIGH the sink is full, below LOW no more."""
RECENT = 32 * 1024
"""Bytes of each worker's output that are kept for `logs`."""
AT_ONCE = 4096
"""PIPE_BUF: what a pipe that poll calls writable takes without blocking."""
RETRY = 1.0
"""Seconds after which a file that could not be written is tried again."""
STDOUT, STDERR = "stdout", "stderr"
CONSOLES, NOWHERE = ("/dev/stdout", "/dev/stderr"), "/dev/null"
"""Paths that mean the container's stdout, or that nothing is kept: not opened, for they are no files."""

NOWAIT_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE)


class Console:
    """The container's stdout. It is somebody else's too, so O_NONBLOCK is not ours to set, and not ours to rely on (open(2))."""

    def __init__(self, fd: int) -> None:
        self.fd: Final = fd
        self.pending: Final[list[bytes]] = []
        self.size = 0
        self.is_full = False
        self.is_gone = False
        self.dropped = 0
        """Lines that found no room; said as soon as there is some."""
        self.can_wait = not _is_regular(fd)

    def put(self, data: bytes) -> None:
        """Take whole lines, and write what can be written now."""
        if self.is_gone:
            return
        self.pending.append(data)
        self.size += len(data)
        if len(self.pending) == 1:
            self.flush()
        if self.size > HIGH:
            self.is_full = True

    def drop(self, data: bytes) -> None:
        """Count lines instead."""
        self.dropped += data.count(b"\n")

    def flush(self) -> None:
        """Write what can be written without waiting."""
        while self.pending:
            data = self.pending[0]
            try:
                written = self._write(data)
            except BrokenPipeError:
                self.is_gone, self.is_full, self.size = True, False, 0  # nobody will ever read: the workers go on
                self.pending.clear()
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    self.dropped += data.count(b"\n")
                    self.size -= len(self.pending.pop(0))  # a full disk behind a redirection, say
                self.is_full = self.is_full and self.size >= LOW
                return
            self.size -= written
            if written == len(data):
                self.pending.pop(0)
            else:
                self.pending[0] = data[written:]
        if self.size < LOW:
            self.is_full = False
        if self.dropped and not self.pending:
            text, self.dropped = b"pyinit: %d lines dropped: nobody read them in time\n" % self.dropped, 0
            self.put(text)

    def _write(self, data: bytes) -> int:
        if not self.can_wait:
            return os.write(self.fd, data)
        try:
            return os.pwritev(self.fd, (data,), -1, os.RWF_NOWAIT)
        except AttributeError:
            pass  # a libc without pwritev2
        except OSError as error:
            if error.errno not in NOWAIT_UNKNOWN:
                raise
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        if not any(events & (select.POLLOUT | select.POLLERR) for _, events in poll.poll(0)):
            raise BlockingIOError(errno.EAGAIN, "")
        return os.write(self.fd, data[:AT_ONCE])


def own_description(fd: int) -> int:
    """Where it is a terminal: a description of our own that does not block, else the same.

    A terminal says that it is writable when one byte fits, and a longer line then waits for the reader.
    """
    if not os.isatty(fd):
        return fd
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return fd  # another user's terminal, or no /proc


def _is_regular(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return True


class LogFile:
    """A file that is rotated between two lines. `compress` is called with a file that is to be, `warn` with words for the user."""

    def __init__(
        self,
        path: str,
        logs: "Logs",
        clock: "Callable[[], float]",
        compress: "Callable[[str], None]",
        warn: "Callable[[str], None]",
    ) -> None:
        self.path: Final = path
        self.logs: Final = logs
        self.clock: Final = clock
        self.compress: Final = compress
        self.warn: Final = warn
        self.users = 0
        self.is_full = False
        self.fd = -1
        self.size = 0
        self.opened = 0.0
        self.no_rotation_before = 0.0
        self.rest = b""
        """The end of a line of which the beginning is in the file already: the disk was full in between."""
        self.dropped = 0
        self.is_broken = False
        self.retry_at = 0.0
        self.open()

    def open(self) -> None:
        """Open it, again after somebody has moved it away. Raises OSError."""
        os.makedirs(os.path.dirname(self.path) or "/", exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o640)
        if not _is_regular(fd):  # a FIFO or a terminal would be waited for, and a device moved away
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no regular file")
        self.close()
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self.opened = self.clock()

    def close(self) -> None:
        if self.fd >= 0:
            if self.is_broken:
                self._recover()
            os.close(self.fd)
            self.fd = -1

    def reopen(self) -> None:
        """USR2: another program has rotated it."""
        try:
            self.open()
        except OSError as error:
            self.warn(f"cannot open {self.path} again: {error.strerror}; going on with the file that is open")

    def truncate(self) -> None:
        """`flush`: what is in it is not wanted any more."""
        try:
            os.ftruncate(self.fd, 0)
        except OSError as error:
            self.warn(f"cannot empty {self.path}: {error.strerror}")
        else:
            self.size = 0

    def put(self, data: bytes) -> None:
        """Whole lines, into this file and, where it gets too large or too old, into the next ones."""
        limit = self.logs.max_size if self.clock() >= self.no_rotation_before else None
        if self.logs.every != FOREVER and self.size and self.clock() - self.opened >= self.logs.every:
            self.rotate()
        while limit and self.size + len(data) > limit:
            room = max(limit - self.size, 0)
            cut = data.rfind(b"\n", 0, room) + 1
            if cut:
                self._write(data[:cut])
                data = data[cut:]
            elif not self.size:  # one line that is larger than a file may be
                cut = data.find(b"\n") + 1
                self._write(data[:cut])
                data = data[cut:]
                if not data:
                    return
            if self.is_broken or not self.rotate():
                break
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self.is_broken and (self.clock() < self.retry_at or not self._recover()):
            self.dropped += data.count(b"\n")
            return
        left = self._try(data)
        if left:
            begun = len(data) - len(left)
            if (
                begun and data[begun - 1 : begun] != b"\n"
            ):  # half a line is in the file: its end comes later, not instead
                cut = left.find(b"\n") + 1
                self.rest, left = left[:cut], left[cut:]
            self.dropped += left.count(b"\n")

    def _try(self, data: bytes) -> bytes:
        """Write; what is left when the file takes no more."""
        while data:
            try:
                written = os.write(self.fd, data)
            except InterruptedError:
                continue
            except OSError as error:
                self.retry_at = self.clock() + RETRY
                if not self.is_broken:
                    self.is_broken = True
                    self.warn(
                        f"cannot write {self.path}: {error.strerror}; lines are dropped and counted until it can be"
                    )
                return data
            self.size += written
            data = data[written:]
        return b""

    def _recover(self) -> bool:
        """Whether the file can be written again: first the end of the line that it was in, then how many are missing."""
        self.rest = self._try(self.rest)
        if self.rest:
            return False
        if self.dropped:
            notice = b"pyinit: %d lines dropped: this file could not be written\n" % self.dropped
            left = self._try(notice)
            if left == notice:
                return False
            self.rest, self.dropped = left, 0
        if self.rest:
            return False
        self.is_broken = False
        self.warn(f"{self.path} can be written again")
        return True

    def rotate(self) -> bool:
        """Move the file away under the next number, and begin a new one. False where that is impossible."""
        files = rotated(self.path)
        number = files[-1][0] + 1 if files else 1
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        old = f"{self.path}.{number:06d}.{date}"
        try:
            os.rename(self.path, old)
            try:
                self.open()
            except OSError:
                os.rename(old, self.path)
                raise
        except OSError as error:
            self.no_rotation_before = self.clock() + RETRY
            self.warn(f"cannot rotate {self.path}: {error.strerror}; going on with the file that is open")
            return False
        names = [*(name for _, name in files), old]
        for name in names[: max(len(names) - self.logs.keep, 0)]:
            try:
                os.unlink(name)
            except OSError:
                pass  # somebody else has
        if self.logs.keep and self.logs.compress:
            self.compress(old)
        return True


def rotated(path: str) -> "list[tuple[int, str]]":
    """The files that were moved away, oldest first, each with its number: it grows whatever the clock does."""
    folder, _, name = path.rpartition("/")
    found = []
    try:
        names = os.listdir(folder or "/")
    except OSError:
        return []
    for one in names:
        number = one.removeprefix(name + ".").partition(".")[0]
        if one.startswith(name + ".") and number.isdigit() and not one.endswith(".part"):
            found.append((int(number), f"{folder}/{one}"))
    return sorted(found)


class Stream:
    """One pipe of one worker: cuts what comes into lines."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd: Final = fd
        self.name: Final = name
        self.part = b""
        """The beginning of a line whose end has not come."""
        self.is_continued = False
        self.has_more = False
        """Whether the last read found something, so that there may be more."""

    def read(self) -> "bytes | None":
        """Whole lines; empty where none is complete; None at the end, when everything has been given."""
        try:
            data = os.read(self.fd, READ)
        except (BlockingIOError, InterruptedError):
            self.has_more = False
            return b""
        except OSError:
            data = b""
        self.has_more = True
        if not data:
            rest, self.part = self.part, b""
            if not rest:
                return None
            return self._mark(rest + b"\n")
        cut = data.rfind(b"\n") + 1
        first = data.find(b"\n") + 1 if cut else len(data)
        self.part += data[:first]
        split = self._split(is_whole=cut > 0)
        if not cut:
            return split
        lines, self.part = split + self._mark(self.part + data[first:cut]), data[cut:]
        return lines

    def _mark(self, lines: bytes) -> bytes:
        """The first of the lines is the end of one that was split."""
        if self.is_continued:
            self.is_continued = False
            return CONTINUED + lines
        return lines

    def _split(self, *, is_whole: bool) -> bytes:
        """Pieces of a line that is too long, its last one excepted."""
        pieces = b""
        while len(self.part) - is_whole > LONGEST:
            pieces += self._mark(self.part[:LONGEST] + CONTINUES + b"\n")
            self.part = self.part[LONGEST:]
            self.is_continued = True
        return pieces


class Recent:
    """The last lines of one place, whichever processes said them."""

    def __init__(self) -> None:
        self._pieces: list[tuple[str, bytes]] = []
        self._size = 0

    def add(self, stream: str, lines: bytes) -> None:
        if len(lines) > RECENT:
            lines = lines[lines.find(b"\n", len(lines) - RECENT - 1) + 1 :]
        self._pieces.append((stream, lines))
        self._size += len(lines)
        while self._size > RECENT and len(self._pieces) > 1:
            self._size -= len(self._pieces.pop(0)[1])

    def last(self, number: int, stream: "str | None") -> "list[tuple[str, str]]":
        """At most so many lines, as far as they are kept; each with its stream."""
        found = [(name, line) for name, lines in self._pieces if stream in (None, name) for line in texts(lines)]
        return found[-number:] if number > 0 else []


class Output:
    """What one process says: from its streams to the sinks of its app."""

    def __init__(self, name: str, instance: int, logs: "Logs", form: str, console: Console, recent: Recent) -> None:
        self.name: Final = name
        self.instance: Final = instance
        self.logs: Final = logs
        self.form: Final = form
        """Of the console's lines."""
        self.console: Final = console
        self.recent: Final = recent
        self.files: Final[dict[str, list[LogFile]]] = {STDOUT: [], STDERR: []}
        self.to_console: Final = {STDOUT: True, STDERR: True}
        self.streams: Final[list[Stream]] = []
        self.listeners: Final[list[Callable[[str, bytes], None]]] = []
        """Who else is to get each piece: a readiness pattern, `logs -f`."""

    def take(self, stream: str, lines: bytes) -> None:
        """Lines of one stream, to wherever they belong."""
        self.recent.add(stream, lines)
        for listener in list(self.listeners):
            listener(stream, lines)
        files = self.files[stream]
        if files:
            is_plain = self.logs.form != JSON_FORM and self.logs.timestamp is None
            data = lines if is_plain else b"".join(self._for_file(stream, lines))
            for file in files:
                file.put(data)
        if self.to_console[stream]:
            data = b"".join(self._for_console(stream, lines))
            if self.console.is_full and self.logs.full == DROP:
                self.console.drop(data)
            else:
                self.console.put(data)

    @property
    def must_wait(self) -> bool:
        """Whether nothing more is to be read for now."""
        return self.console.is_full and self.logs.full != DROP and any(self.to_console.values())

    def _for_console(self, stream: str, lines: bytes) -> "Iterator[bytes]":
        if self.form == JSON_FORM:
            yield from self._json(stream, lines)
            return
        yield _prefixed(f"{self.name}:{self.instance} | ".encode(), lines)

    def _for_file(self, stream: str, lines: bytes) -> "Iterator[bytes]":
        if self.logs.form == JSON_FORM:
            yield from self._json(stream, lines)
            return
        stamp = time.strftime(self.logs.timestamp or "", time.localtime()).encode() + b": "
        yield _prefixed(stamp, lines)

    def _json(self, stream: str, lines: bytes) -> "Iterator[bytes]":
        now = timestamp()
        head = json({"ts": now, "app": self.name, "instance": self.instance, "stream": stream})[:-1]
        for line in _lines(lines):
            text = line[:-1].decode("utf-8", "backslashreplace")
            yield f'{head},"message":{json(text)}}}\n'.encode("utf-8", "backslashreplace")


def texts(lines: bytes) -> "list[str]":
    """Lines for people, without their ends."""
    return [line[:-1].decode("utf-8", "backslashreplace") for line in _lines(lines)]


def _prefixed(prefix: bytes, lines: bytes) -> bytes:
    """The same in front of each line."""
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n"


def _lines(data: bytes) -> "Iterator[bytes]":
    """The lines with their ends: no other character than a newline ends one."""
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end
