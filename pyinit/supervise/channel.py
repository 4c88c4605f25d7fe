"""Node's IPC channel, the supervisor's end: what a worker says over it, and how it is given sockets and told to drain.

The wire is Node's own (NODE_CHANNEL_FD, "json" serialisation): a JSON value a line, each way, over a stream socket. A program's
`process.send('ready')` is the line `"ready"`. Messages whose `cmd` begins with NODE_ are kept from the program; ours are
`{"cmd": "NODE_PYINIT", "act": ...}`, and `preload.js` is at their other end:

| act         | from       | fields                         | means                                                        |
|-------------|------------|--------------------------------|--------------------------------------------------------------|
| `listen`    | worker     | id, host, port, backlog, only6 | give me the socket for this address; host null: every one    |
| `socket`    | supervisor | id, and the descriptor         | here it is                                                   |
| `refused`   | supervisor | id, errno, host                | it cannot be bound                                           |
| `listening` | worker     | host, port, shared             | a server listens; not shared: on a socket of its own         |
| `drain`     | supervisor |                                | no more connections, finish what you have, await the signal  |
| `draining`  | worker     | connections                    | so many are left, whenever that has changed                  |

A descriptor travels with `{"cmd": "NODE_HANDLE", "type": "net.Native", "msg": ...}`, which the worker acknowledges: NODE_HANDLE_ACK,
or NODE_HANDLE_NACK when it came without its descriptor. One at a time, as Node itself does it.

`Framing` is pure; `Channel` owns the socket. Neither ever blocks. Nothing that a program sends can raise here.
"""

import errno
import json
import os
import socket
import sys

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Event = tuple[str, Any]

PRELOAD = os.path.join(os.path.dirname(os.path.realpath(__file__)), "preload.js")
CMD = "NODE_PYINIT"

# --- what a worker says: (word, value) ---

MESSAGE = "message"
"""(MESSAGE, value): the program's own process.send(value)."""
LISTEN = "listen"
"""(LISTEN, request): to be answered with Channel.answer."""
LISTENING = "listening"
"""(LISTENING, {host, port, shared})."""
DRAINING = "draining"
"""(DRAINING, connections)."""

LONGEST = 65536
"""Bytes of a line that we look at; a longer one is the program's own affair, and dropped."""
MOST = 4096
"""Answers that may wait: a worker that asks on and reads none of them gets no more."""
ATTEMPTS = 4
"""How often a descriptor is sent that does not arrive, as in Node."""


PUBLIC = ("/run", "/tmp", "/dev/shm")  # noqa: S108 (a folder of our own in it, of which nobody knows the name before)
"""Where something can be put for everybody; of a read-only root one of them is left."""


def is_public(path: str) -> bool:
    """Whether everybody may read it, and search the folders on the way."""
    if not os.stat(path).st_mode & 0o004:
        return False
    while (path := os.path.dirname(path)) != "/":
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


def public_preload() -> str:
    """preload.js where every user can read it: in its place, or, of an installation that is closed to others, a copy. Raises OSError."""
    if is_public(PRELOAD):
        return PRELOAD
    with open(PRELOAD, "rb") as file:
        text = file.read()
    for place in map(os.path.realpath, PUBLIC):
        folder = f"{place}/pyinit-{os.getpid()}-{os.urandom(8).hex()}"
        try:
            os.mkdir(folder)
        except OSError:
            continue  # it is not there, or not ours to write to
        path = f"{folder}/preload.js"
        os.chmod(folder, 0o755)  # noqa: S103 (for everybody)
        with open(path, "wb") as file:
            os.chmod(path, 0o644)
            file.write(text)
        if is_public(path):
            return path
        remove_preload(path)
    raise OSError(errno.EACCES, f"other users cannot read {PRELOAD}, and a copy finds no place in {', '.join(PUBLIC)}")


def remove_preload(path: str) -> None:
    """Nobody will load it any more. Raises OSError."""
    if path not in ("", PRELOAD):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))


def variables(environment: "dict[str, str]", descriptor: int, preload: str = "") -> "dict[str, str]":
    """An environment for a process whose channel is `descriptor`, and which is to load `preload` first.

    preload.js takes its words off NODE_OPTIONS again: they come first, and are written alike in both places. It acts only in the
    process whose pid is at the end of PYINIT_WORKER.
    """
    changed = {**environment, "NODE_CHANNEL_FD": str(descriptor), "NODE_CHANNEL_SERIALIZATION_MODE": "json"}
    if preload:
        path = preload.replace("\\", "\\\\").replace('"', '\\"')
        changed["NODE_OPTIONS"] = f'--require "{path}" {environment.get("NODE_OPTIONS", "")}'.rstrip()
    return changed


class Framing:
    """Lines into events, and messages into what is to be written. Pure: `descriptor` is anything, and handed back as it came."""

    def __init__(self) -> None:
        self._line = b""
        self._is_too_long = False
        self._out: list[tuple[bytes, Any]] = []
        self._handles: list[tuple[bytes, Any]] = []  # the first one is on its way, or written and not acknowledged yet
        self._attempts = 0

    def feed(self, data: bytes) -> "list[Event]":
        """What the next bytes make complete."""
        events = []
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            if not self._is_too_long and len(line) <= LONGEST:
                events += self._event(line)
            self._is_too_long = False
        self._is_too_long = self._is_too_long or len(rest) > LONGEST
        self._line = b"" if self._is_too_long else rest
        return events

    def _event(self, line: bytes) -> "list[Event]":
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return []
        cmd = value.get("cmd") if isinstance(value, dict) else None
        if not isinstance(cmd, str) or not cmd.startswith("NODE_"):
            return [(MESSAGE, value)]
        if cmd == CMD:
            return _ours(value)
        if (
            cmd == "NODE_HANDLE"
        ):  # the program sends us one of its own: recv() has dropped it, but Node waits for this word
            self.say({"cmd": "NODE_HANDLE_ACK"})
        elif cmd in ("NODE_HANDLE_ACK", "NODE_HANDLE_NACK") and self._attempts:
            self._acknowledged(is_there=cmd == "NODE_HANDLE_ACK")
        return []

    def _acknowledged(self, *, is_there: bool) -> None:
        if is_there or self._attempts == ATTEMPTS:
            del self._handles[0]
            self._attempts = 0
        self._send_handle()

    def say(self, value: "Any") -> None:
        """Queue a message."""
        if len(self._out) < MOST:
            self._out.append((_line(value), None))

    def hand(self, value: "Any", descriptor: "Any") -> None:
        """Queue a message that carries a descriptor."""
        if len(self._handles) < MOST:
            self._handles.append((_line({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": value}), descriptor))
        if not self._attempts:
            self._send_handle()

    def _send_handle(self) -> None:
        if self._handles:
            self._attempts += 1
            self._out.append(self._handles[0])

    def next(self) -> "tuple[bytes, Any] | None":
        """What is to be written next, and the descriptor that goes with its first byte; None: nothing."""
        return self._out[0] if self._out else None

    def sent(self, count: int) -> None:
        """So many bytes of it have been written, and its descriptor with them."""
        data, _ = self._out[0]
        if count < len(data):
            self._out[0] = (data[count:], None)
        else:
            del self._out[0]


def _line(value: "Any") -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _ours(value: "dict[str, Any]") -> "list[Event]":
    """A message of preload.js, or nothing where it does not look like one: the program could write it too."""
    word, host, port = value.get("act"), value.get("host"), value.get("port")
    if word == DRAINING:
        left = value.get("connections")
        return [(DRAINING, left)] if type(left) is int and left >= 0 else []
    if word == LISTENING:
        return [(LISTENING, {"host": host, "port": port, "shared": value.get("shared") is True})]
    is_port = type(port) is int and 0 < port < 65536
    if word == LISTEN and type(value.get("id")) is int and is_port and (host is None or isinstance(host, str)):
        return [(LISTEN, value)]
    return []


class Channel:
    """Our end of a worker's channel, non-blocking.

    Watch it for reading until `ended`, and for writing while `is_waiting`.
    """

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._framing = Framing()
        self.ended = False
        """The worker has closed its end, by ending if not otherwise."""
        self.given: set[tuple[str | None, int]] = set()
        """The addresses whose sockets it has been given."""

    @classmethod
    def pair(cls) -> "tuple[Channel, socket.socket]":
        """A channel, and the end that the worker inherits (close-on-exec: it is to be duplicated in the child, and closed here)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self.ended = True
        self._socket.close()

    def receive(self) -> "list[Event]":
        """What has arrived; at most 64 KiB of it, so that nobody keeps the others waiting."""
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return []
        events = self._framing.feed(data)
        self.flush()
        return events

    def say(self, value: "Any") -> None:
        """Send a message: to the program's 'message' event, unless its `cmd` begins with NODE_."""
        self._framing.say(value)
        self.flush()

    def drain(self) -> None:
        """No more connections; DRAINING events tell how many are left."""
        self.say({"cmd": CMD, "act": "drain"})

    def answer(self, request: "dict[str, Any]", listen: "Callable[[str | None, int, int], socket.socket]") -> None:
        """Give a worker the socket that it asked for. `listen(host, port, backlog)` has it, or raises OSError.

        The socket stays the caller's, and has to stay open until the worker has it. As in Node, `::` is every address of both
        kinds unless `ipv6Only` is asked for.
        """
        host, backlog = request["host"], request.get("backlog")
        both = host is None or (host == "::" and request.get("only6") is not True)
        about = {"cmd": CMD, "id": request["id"], "host": host or "::"}
        address = (None if both else host, request["port"])
        try:
            shared = listen(*address, min(backlog, MOST_BACKLOG) if type(backlog) is int and backlog > 0 else BACKLOG)
        except (OSError, ValueError) as error:  # ValueError: a host with a NUL in it
            number = getattr(error, "errno", None) or 0
            self.say(
                {**about, "act": "refused", "errno": number if number > 0 else errno.EINVAL}
            )  # getaddrinfo's are negative
        else:
            self.given.add(address)
            self._framing.hand({**about, "act": "socket"}, shared)
            self.flush()

    @property
    def is_waiting(self) -> bool:
        """Something could not be written yet."""
        return not self.ended and self._framing.next() is not None

    def flush(self) -> None:
        """Write what can be written now."""
        while not self.ended and (part := self._framing.next()):
            data, descriptor = part
            rights = []
            if descriptor is not None:
                if descriptor.fileno() < 0:  # closed meanwhile: the worker is about to be stopped
                    self._framing.sent(len(data))
                    continue
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor.fileno().to_bytes(4, sys.byteorder))]
            try:
                self._framing.sent(self._socket.sendmsg([data], rights, socket.MSG_NOSIGNAL))
            except BlockingIOError:
                return
            except OSError:
                self.ended = True


BACKLOG = 511
"""Node's own, where listen() says nothing."""
MOST_BACKLOG = 65535
"""More than that is no number for listen(2); the kernel cuts it to net.core.somaxconn."""
