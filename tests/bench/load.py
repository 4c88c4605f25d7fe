"""Requests without a pause, each of them accounted for: `python load.py PORT CONNECTIONS PATIENCE`.

wrk is for speed: it counts what went wrong, but not so that every request is either answered or failed. Here a request is answered when its
whole answer came, with a status below 400; whatever else becomes of it is a failure, of one of the kinds in FAILURES. Nothing is tried
again. A connection is used until an answer says that it is the last, or fails; then the next one is opened. One that the server closes
between two answers without having said so fails the request that was on its way.

On stdout, every REPORT_EVERY seconds, how many answers there are and how many failures; at the end of stdin it sends nothing more,
waits for what it has asked for, and prints the account as one line of JSON. Standard library alone, one thread, no asyncio: on a
machine of few cores a client that takes less leaves more to the server.
"""

import errno
import json
import os
import select
import socket
import sys
import time
from collections import Counter

REFUSED, RESET, ENDED, TRUNCATED, STATUS, MALFORMED, LATE = (
    "refused",
    "reset",
    "ended",
    "truncated",
    "status",
    "malformed",
    "late",
)
FAILURES = {
    REFUSED: "nobody listens there",
    RESET: "the connection was reset",
    ENDED: "the connection ended before the answer began",
    TRUNCATED: "the connection ended in the middle of the answer",
    STATUS: "the server said 4xx or 5xx",
    MALFORMED: "what came is no answer of known length",
    LATE: "no answer within PATIENCE seconds, of connecting or of asking",
}
REPORT_EVERY = 0.05
PAUSE = 0.01
"""After a refusal; else those who are refused would count as often as the machine can."""

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Connection:
    """One at a time of those that are kept busy; its socket is another one whenever the server has ended it."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.socket: socket.socket | None = None
        self.buffer = b""
        self.since = 0.0
        self.open()

    def open(self) -> None:
        """A new connection, and a request on its way as soon as it stands."""
        self.buffer, self.since = b"", time.monotonic()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.load.connections += 1
        code = self.socket.connect_ex(("127.0.0.1", self.load.port))
        self.load.watch(self, select.EPOLLOUT)
        if code not in (0, errno.EINPROGRESS):
            self.fail(RESET if code == errno.ECONNRESET else REFUSED)

    def ask(self) -> None:
        """The next request."""
        assert self.socket is not None
        self.since = time.monotonic()
        try:
            self.socket.send(REQUEST)
        except OSError:
            self.fail(RESET)

    def stands(self) -> None:
        """It can be written to: it stands, or never will."""
        assert self.socket is not None
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.fail(RESET if code == errno.ECONNRESET else REFUSED)
            return
        if self.load.is_over:
            self.close()
            return
        self.load.watch(self, select.EPOLLIN, is_new=False)
        self.ask()

    def read(self) -> None:
        """Something has come, or its end."""
        assert self.socket is not None
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self.fail(RESET)
            return
        if not data:
            self.fail(TRUNCATED if self.buffer else ENDED)
            return
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end >= 0:
            self.take(end + 4)
        elif not self.buffer.startswith(b"HTTP/"[: len(self.buffer)]):
            self.fail(MALFORMED)

    def take(self, body: int) -> None:
        """All headers are there; the body begins at `body`."""
        head = self.buffer[:body].lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        length, status = rest[: rest.find(b"\r")].strip(), head[9:12]
        if not (found and length.isdigit() and status.isdigit() and head.startswith(b"http/1.")):
            self.fail(MALFORMED)
            return
        left = body + int(length) - len(self.buffer)
        if left > 0:
            return
        if left < 0:
            self.fail(MALFORMED)  # more than was asked for
            return
        if status >= b"400":
            self.fail(STATUS)
            return
        self.load.answers += 1
        self.buffer = b""
        if self.load.is_over:
            self.close()
        elif b"\r\nconnection: close\r\n" in head or head.startswith(b"http/1.0"):
            self.load.closing += 1
            self.close()
            self.open()
        else:
            self.ask()

    def fail(self, kind: str) -> None:
        """The request is lost, and counts as such, once."""
        self.load.failures[kind] += 1
        self.close()
        if self.load.is_over:
            return
        if kind == REFUSED:
            self.load.later.append((time.monotonic() + PAUSE, self))
        else:
            self.open()

    def close(self) -> None:
        if self.socket is not None:
            self.load.forget(self)
            self.socket.close()
            self.socket = None


class Load:
    """The whole of it: some connections, and what became of the requests."""

    def __init__(self, port: int, patience: float) -> None:
        self.port = port
        self.patience = patience
        self.answers = self.closing = self.connections = 0
        self.failures: Counter[str] = Counter()
        self.is_over = False
        self.later: list[tuple[float, Connection]] = []
        self._poll = select.epoll()
        self._by_fd: dict[int, Connection] = {}

    def watch(self, connection: Connection, events: int, *, is_new: bool = True) -> None:
        assert connection.socket is not None
        fd = connection.socket.fileno()
        self._by_fd[fd] = connection
        (self._poll.register if is_new else self._poll.modify)(fd, events)

    def forget(self, connection: Connection) -> None:
        assert connection.socket is not None
        fd = connection.socket.fileno()
        del self._by_fd[fd]
        self._poll.unregister(fd)

    def run(self, connections: int) -> None:
        """Until stdin ends and everything that was asked has been answered, or has failed."""
        self._poll.register(0, select.EPOLLIN)
        for _ in range(connections):
            Connection(self)
        told = 0.0
        while self._by_fd or (self.later and not self.is_over):
            for fd, events in self._poll.poll(PAUSE if self.later else REPORT_EVERY):
                if fd == 0:
                    self._hear()
                elif connection := self._by_fd.get(fd):
                    if events & select.EPOLLOUT or (events & select.EPOLLERR and not events & select.EPOLLIN):
                        connection.stands()
                    else:
                        connection.read()
            now = time.monotonic()
            if now - told > REPORT_EVERY:
                told = now
                self._look(now)

    def _hear(self) -> None:
        if not os.read(0, 4096):
            self.is_over = True
            self._poll.unregister(0)

    def _look(self, now: float) -> None:
        """Those that were refused begin again, those that wait for too long have failed, and the count is told."""
        for connection in [one for one in self._by_fd.values() if now - one.since > self.patience]:
            connection.fail(LATE)
        due, self.later = (
            [one for at, one in self.later if at <= now],
            [(at, one) for at, one in self.later if at > now],
        )
        for connection in due:
            if not self.is_over:
                connection.open()
        os.write(1, b"%d %d\n" % (self.answers, self.failures.total()))


def main() -> None:
    port, connections, patience = sys.argv[1:]
    load = Load(int(port), float(patience))
    load.run(int(connections))
    account = {
        "answers": load.answers,
        "failures": dict(load.failures),
        "connections": load.connections,
        "closing": load.closing,
    }
    sys.stdout.write(json.dumps(account) + "\n")


if __name__ == "__main__":
    main()
