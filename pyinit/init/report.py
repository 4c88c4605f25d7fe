"""The lines that pyinit prints on stderr, as text or JSON, and the rule that printing one never stops PID 1.

A line is one write of at most 4096 bytes (PIPE_BUF: never torn between two writers, pipe(7)). A reader that does not read must
not stop the reaper: where the line does not fit it is dropped and counted. O_NONBLOCK would be simpler and is wrong: it belongs
to the open file description, which the program shares (open(2)). The time stamp of a JSON line is the only wall clock in pyinit.
"""

import _signal
import errno
import posix
import select
import time

from pyinit.init import options, signals
from pyinit.init.options import ERRORS, WARNINGS

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Value = str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]

LIMIT = 4096
STDERR = 2
FILE_TYPE, REGULAR = 0o170000, 0o100000
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def json(value: "Value") -> str:
    """A value as JSON (RFC 8259). The json module would cost PID 1 more than its own code."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if hasattr(value, "items"):
        return "{" + ",".join(f"{json(key)}:{json(item)}" for key, item in value.items()) + "}"
    return "[" + ",".join(json(item) for item in value) + "]"


def seconds(nanoseconds: int) -> str:
    """A duration for people: `8.0 s`, `0.03 s`."""
    tenths = nanoseconds // (100 * options.MILLISECOND)
    if tenths >= 1 or nanoseconds == 0:
        return f"{tenths // 10}.{tenths % 10} s"
    hundredths = nanoseconds // (10 * options.MILLISECOND)
    return f"0.{hundredths:02d} s" if hundredths else "under 10 ms"


def timestamp() -> str:
    """Now, in UTC, as RFC 3339 with milliseconds."""
    now = time.time_ns()
    t = time.gmtime(now // options.SECOND)
    milliseconds = now % options.SECOND // options.MILLISECOND
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}.{milliseconds:03d}Z"


class Report:
    """Where lines go. `dropped` counts those that could not be written."""

    __slots__ = ("dropped", "fd", "is_json", "is_stuck", "verbosity")

    def __init__(self, verbosity: int = WARNINGS, is_json: bool = False) -> None:
        self.verbosity = verbosity
        self.is_json = is_json
        self.dropped = 0
        self.is_stuck = False
        self.fd = _own_terminal()

    def say(self, level: int, event: str, text: str, **fields: "Value") -> None:
        """One line about `event`, unless it is less important than the verbosity asks for."""
        if level > self.verbosity:
            return
        line = self._json(event, text, fields) if self.is_json else f"pyinit: {text}\n".encode()
        if not self._write(line if len(line) <= LIMIT else line[: LIMIT - 4] + b"...\n"):
            self.dropped += 1

    def _write(self, line: bytes) -> bool:
        """Write it, on a terminal with a little patience.

        A terminal also says no while another process's write to it is under way, which is over in no time (tty_write_lock() in
        drivers/tty/tty_io.c). One whose reader does not read says no for long, and is not waited for again before a line has gone out.
        """
        written = write(line, self.fd)
        if written < 0 and not self.is_stuck and posix.isatty(self.fd):
            poll = select.poll()
            poll.register(self.fd, select.POLLOUT)
            tries = 20
            while written < 0 and tries:
                poll.poll(1)
                written = write(line, self.fd)
                tries -= 1
        self.is_stuck = written != len(line)
        return not self.is_stuck

    def _json(self, event: str, text: str, fields: "dict[str, Value]") -> bytes:
        """A whole JSON object however long the fields are: lists and the text are shortened, the rest is there."""
        head: dict[str, Value] = {"ts": timestamp(), "event": event, "message": text}
        line = json({**head, **fields}).encode() + b"\n"
        while len(line) > LIMIT and any(isinstance(value, list) and value for value in fields.values()):
            fields = {
                key: value[: len(value) // 2] if isinstance(value, list) else value for key, value in fields.items()
            }
            head["message"] = text[:1000]
            line = json({**head, **fields, "shortened": True}).encode() + b"\n"
        return line if len(line) <= LIMIT else json({**head, "message": text[:500], "shortened": True}).encode() + b"\n"

    def error(self, text: str) -> None:
        """The line before pyinit gives up."""
        self.say(ERRORS, "error", text)

    def warn(self, text: str, **fields: "Value") -> None:
        """Something that the user can put right."""
        self.say(WARNINGS, "warning", text, **fields)


def _own_terminal() -> int:
    """Where stderr is a terminal: a description of our own that does not block, else stderr itself.

    A terminal says that it is writable when one byte fits, and a longer line then waits for the reader.
    """
    if not posix.isatty(STDERR):
        return STDERR
    try:
        return posix.open("/proc/self/fd/2", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return STDERR  # another user's terminal, or no /proc


def write(line: bytes, fd: int = STDERR) -> int:
    """Write a line without ever waiting for its reader. How many bytes went out; -1: none, now."""
    try:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        # a pipe is writable when PIPE_BUF bytes fit. Asked first: gVisor takes RWF_NOWAIT and blocks all the same
        if not any(events & select.POLLOUT for _, events in poll.poll(0)):
            return -1
        try:
            # the program writes to the same pipe: it may be full by now. The offset -1 is the current position (pwritev2(2))
            return posix.pwritev(fd, (line,), -1, posix.RWF_NOWAIT)
        except BrokenPipeError:
            raise
        except BlockingIOError:
            if posix.fstat(fd).st_mode & FILE_TYPE != REGULAR:
                return -1
            return posix.write(fd, line)  # a file system that would rather not say NOWAIT
        except (OSError, AttributeError):  # not on a terminal, an old kernel, or a libc without pwritev2
            return posix.write(fd, line)
    except OSError as error:
        _forget(error)
        return -1


def _forget(error: OSError) -> None:
    """A write of our own that fails so raises a signal in us, which waits like any other: it is not for the program."""
    if error.errno == errno.EPIPE:
        _signal.sigtimedwait((signals.PIPE,), 0)
    elif error.errno == errno.EFBIG:
        _signal.sigtimedwait((signals.XFSZ,), 0)


# --- the termination log (Kubernetes: terminationMessagePath) ---


def absolute(path: bytes) -> bytes:
    """A path that still holds after PID 1 has moved to /."""
    if not path or path.startswith(b"/"):
        return path
    try:
        return posix.getcwdb() + b"/" + path
    except OSError:
        return path  # the working directory is gone: writing there fails, and that is said


def termination_log(path: bytes, text: str, report: Report) -> None:
    """Write the last word, or with no text only try, so that the warning comes while somebody reads.

    At most 4096 bytes (what the kubelet reads), and only where the program left the file empty: its own word comes first.
    """
    if not path:
        return
    try:
        # O_NONBLOCK: a FIFO that nobody reads must not hold PID 1
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_NONBLOCK | posix.O_CLOEXEC, 0o644)
        try:
            if text and posix.fstat(fd).st_size == 0:
                posix.write(fd, f"pyinit: {text}".encode()[: LIMIT - 1] + b"\n")
        finally:
            posix.close(fd)
    except OSError as error:
        _forget(error)
        who = f"UID {posix.geteuid()}"
        report.warn(
            f"--termination-log {options.show(path)}: {error.strerror}; name a file that {who} can write, or leave it out"
        )
