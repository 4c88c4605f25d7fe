"""How a worker says that it is ready: sd_notify, s6's descriptor, a line in its log, or an address that answers.

Each is an object with the descriptors that it wants watched; `seen` tells whether it has happened. None of them waits.
"""

import errno
import os
import socket

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Any, Final

PROBE_PAUSE = 0.2
"""Seconds between two attempts of a probe."""
MOST_MESSAGES = 64
"""Datagrams that are read before others have their turn."""


class Notify:
    """sd_notify(3): a datagram with the line READY=1. An abstract address: no writable directory is needed."""

    def __init__(self, name: str) -> None:
        self.socket: Final = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self.address: Final = f"@pyinit/{os.getpid()}/{os.urandom(8).hex()}/{name}"[:100]
        self.socket.bind("\0" + self.address[1:])
        self.fd: Final = self.socket.fileno()

    def seen(self) -> bool:
        """To be asked as long as the worker lives: it goes on writing (STATUS=, WATCHDOG=1), and waits where nobody reads."""
        is_ready = False
        for _ in range(MOST_MESSAGES):
            try:
                message = self.socket.recv(4096)
            except OSError:
                break
            is_ready = is_ready or b"READY=1" in message.split(b"\n")
        return is_ready

    def close(self) -> None:
        self.socket.close()


class Descriptor:
    """s6's notification-fd: a newline on a descriptor that the worker has open."""

    def __init__(self) -> None:
        self.fd, self.theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.theirs, True)

    def give(self) -> int:
        """The worker's end, which is the caller's to close from now on."""
        theirs, self.theirs = self.theirs, -1
        return theirs

    def seen(self) -> "bool | None":
        """Whether the newline has come; None where none will: it was closed."""
        try:
            data = os.read(self.fd, 4096)
        except BlockingIOError:
            return False
        return True if b"\n" in data else (None if not data else False)

    def close(self) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)
        os.close(self.fd)


def address_of(place: str) -> "tuple[str, int]":
    """Host and port of `127.0.0.1:80`, `[::1]:80` or `localhost`. Raises ValueError."""
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, "80"
    return host.strip("[]"), int(port)


class Probe:
    """One attempt: connect, and for HTTP ask and look at the status. Made anew for each."""

    def __init__(self, ready: "dict[str, Any]") -> None:
        self.request = b""
        if ready["kind"] == "http":
            place, slash, path = ready["url"].removeprefix("http://").partition("/")
            host, port = address_of(place)
            path = slash + path or "/"
            self.request = f"GET {path} HTTP/1.0\r\nHost: {place}\r\nUser-Agent: pyinit\r\n\r\n".encode()
        else:
            host, port = ready["host"], ready["port"]
        self.answer = b""
        self.why = ""
        """Why it has failed."""
        self.wants_write = True
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.socket: Final = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        self.fd: Final = self.socket.fileno()
        number = self.socket.connect_ex(address)
        if number not in (0, errno.EINPROGRESS):  # such as no route: nothing more will be told of it
            self.socket.close()
            raise OSError(number, os.strerror(number))

    def seen(self) -> "bool | None":
        """Whether it answered; None where this attempt has failed."""
        try:
            if self.wants_write:
                if number := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.why = os.strerror(number)
                    return None
                if not self.request:
                    return True
                self.socket.send(self.request)
                self.wants_write = False
                return False
            data = self.socket.recv(4096)
        except BlockingIOError:
            return False
        except OSError as error:
            self.why = error.strerror or str(error)
            return None
        self.answer += data
        line, end, _ = self.answer.partition(b"\r\n")
        if end:
            words = line.split()
            if len(words) > 1 and words[1][:1] in b"23" and words[0].startswith(b"HTTP/"):
                return True
            self.why = f"it answers {line[:80].decode('utf-8', 'backslashreplace')}"
            return None
        if not data:
            self.why = "it closes the connection without an answer"
            return None
        return False

    def close(self) -> None:
        self.socket.close()
