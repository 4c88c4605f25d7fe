"""The control socket: who may speak, JSON lines in and out, and that a client which hangs holds nothing up.

A unix socket that only its owner may open (0600), and whoever connects must be the same user or root (SO_PEERCRED): a mode alone
protects nothing where a volume is shared. Rejected: a TCP port (no users there), HTTP (nobody but `pyinitctl` speaks).
"""

import json
import os
import socket
import struct

from pyinit.supervise import sockets

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Any, Final

LONGEST = 16 << 20
"""Bytes of one request: a spec of a hundred apps with their environments is one."""
PATIENCE = 1 << 20
"""Bytes kept for a client that follows and does not read; then it is left alone. Other answers are as long as they are."""


def listen(path: str) -> socket.socket:
    """The listening socket. Raises OSError, also where another supervisor answers there."""
    os.makedirs(os.path.dirname(path) or "/", mode=0o700, exist_ok=True)
    before = os.umask(0o177)  # no moment in which anybody else could connect
    try:
        return sockets.unix(path, 0o600)
    finally:
        os.umask(before)


class Client:
    """Somebody who has connected."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket: Final = connection
        self.incoming = b""
        self.requests: Final[list[Any]] = []
        """What has come whole and is not answered: one that does not read its answers gets no more."""
        self.outgoing = b""
        self.patience = PATIENCE
        self.is_gone = False

    def refusal(self) -> str:
        """Why this user may not speak here; empty where it may."""
        _, uid, _ = struct.unpack("3i", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid in (0, os.geteuid()):
            return ""
        return f"UID {uid} may not control this supervisor, which runs as UID {os.geteuid()}; use that user, or root"

    def receive(self) -> None:
        """The requests that have come whole, into `requests`; words instead of one that is no JSON object."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.is_gone = True
            return
        self.incoming += data
        *lines, self.incoming = self.incoming.split(b"\n")
        if len(self.incoming) > LONGEST:
            self.is_gone = True
        self.requests.extend(_request(line) for line in lines if line.strip())

    def next(self) -> "Any":
        """A request to be answered now, None where there is none."""
        return self.requests.pop(0) if self.requests and not self.outgoing and not self.is_gone else None

    def send(self, what: "dict[str, Any]") -> None:
        """A line to the client, kept where it does not read now."""
        self.outgoing += json.dumps(what, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def follow(self) -> None:
        """From now on it is told what happens: what it has still to read from before does not count against it."""
        self.patience = len(self.outgoing) + PATIENCE

    @property
    def is_behind(self) -> bool:
        """It follows, and does not read what it is told."""
        return len(self.outgoing) > self.patience

    def flush(self) -> None:
        """Send what can be sent now."""
        while self.outgoing and not self.is_gone:
            try:
                sent = self.socket.send(self.outgoing, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.is_gone = True
                return
            self.outgoing = self.outgoing[sent:]


def _request(line: bytes) -> "Any":
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"this is no JSON ({error}): {line[:80]!r}"
    return value if isinstance(value, dict) else f"a request is a JSON object, and this is none: {line[:80]!r}"
