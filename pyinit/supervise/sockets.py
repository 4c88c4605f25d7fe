"""Listening sockets: opened once by the supervisor, shared by all workers of an app, there before the first and after the last.

Non-blocking: of two idle workers that wake for one connection the loser would otherwise sleep in accept(2), deaf to everything
else. TCP_NODELAY is inherited by what is accepted, and a server that takes its socket over does not set it again. Rejected:
SO_REUSEPORT, a socket for each worker: closing one of them resets every connection that waits in its queue (listen(2), tcp(7)).
"""

import errno
import os
import socket
import stat

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyinit.supervise.spec import App

BACKLOG = 1024
"""At most; the kernel takes the smaller of this and net.core.somaxconn."""

Key = tuple[str, str | int]


class ListenError(Exception):
    """A socket that an app's `listen` names cannot be opened. The text says which, and why."""


class Sockets:
    """The listening sockets of one app, by address."""

    def __init__(self) -> None:
        self._open: dict[Key, socket.socket] = {}
        self._asked: set[Key] = set()

    def listen(self, host: "str | None", port: int, backlog: int = BACKLOG) -> socket.socket:
        """The socket for a TCP address, the same one each time. Raises OSError where it cannot be bound."""
        key = (host or "", port)
        if key not in self._open:
            self._open[key] = tcp(host, port, backlog)
        return self._open[key]

    def asked(self, host: "str | None", port: int, backlog: int) -> socket.socket:
        """The same for a worker that asks while it runs, not because an app's `listen` names it: `keep` may close it."""
        is_new = (host or "", port) not in self._open
        one = self.listen(host, port, backlog)
        if is_new:
            self._asked.add((host or "", port))
        return one

    def keep(self, addresses: "set[tuple[str | None, int]]") -> None:
        """Close what was asked for, but for these: nobody is to wait in a queue that no worker takes from."""
        for key in self._asked - {(host or "", port) for host, port in addresses}:
            self._asked.discard(key)
            self._open.pop(key).close()

    def has(self, one: "dict[str, Any]") -> bool:
        """Whether the socket that an app's `listen` names is open."""
        return _key(one) in self._open

    def drop(self, one: "dict[str, Any]") -> None:
        """Close one that an app's `listen` named."""
        self._close(_key(one))

    def named(self, one: "dict[str, Any]") -> socket.socket:
        """The socket that an app's `listen` names."""
        key = _key(one)
        if key not in self._open:
            self._open[key] = unix(one["unix"], one["mode"]) if "unix" in one else tcp(one["host"], one["port"])
        return self._open[key]

    def keep_named(self, named: "tuple[dict[str, Any], ...]") -> None:
        """Close those that an app's `listen` named and does not name any more."""
        for key in self._open.keys() - self._asked - {_key(one) for one in named}:
            self._close(key)

    def close(self) -> None:
        """Nobody may connect any more."""
        for key in list(self._open):
            self._close(key)
        self._asked.clear()

    def _close(self, key: Key) -> None:
        self._open.pop(key).close()
        kind, path = key
        if kind == "unix":
            try:
                os.unlink(str(path))
            except OSError:
                pass  # whoever took the name may have it


def listen(apps: "Iterable[App]", by_app: "dict[str, Sockets]") -> "list[tuple[Sockets, dict[str, Any]]]":
    """Open all sockets that apps name, before any worker needs one: connections wait from now on. Gives those that are new.

    Raises ListenError for one that cannot be opened; then none of them stays.
    """
    opened: list[tuple[Sockets, dict[str, Any]]] = []
    for app in apps:
        named = by_app.setdefault(app.name, Sockets())
        for address in app.listen:
            if named.has(address):
                continue
            try:
                named.named(address)
            except (OSError, ValueError) as error:  # ValueError: a host or a path that is none
                holder = next((other for other, theirs in by_app.items() if theirs.has(address)), "")
                unlisten(opened)
                why = f"the app {holder} listens there" if holder else getattr(error, "strerror", None) or error
                raise ListenError(f"{app.name} cannot listen on {written(address)}: {why}") from None
            opened.append((named, address))
    return opened


def unlisten(opened: "list[tuple[Sockets, dict[str, Any]]]") -> None:
    """Close what `listen` has opened."""
    for named, address in opened:
        named.drop(address)


def written(one: "dict[str, Any]") -> str:
    """An address of `listen` as a user writes it."""
    if "unix" in one:
        return f"unix:{one['unix']}"
    host = one["host"]
    return f"[{host}]:{one['port']}" if ":" in host else f"{host}:{one['port']}"


def _key(one: "dict[str, Any]") -> Key:
    return ("unix", one["unix"]) if "unix" in one else (one["host"], one["port"])


def tcp(host: "str | None", port: int, backlog: int = BACKLOG) -> socket.socket:
    """A bound and listening TCP socket. Without a host: every address, IPv6 and IPv4, as far as the machine has them."""
    if not host:
        try:
            return _bind(socket.AF_INET6, ("::", port), backlog, both=True)
        except OSError as error:
            if error.errno not in NO_IPV6:
                raise
            return _bind(socket.AF_INET, ("0.0.0.0", port), backlog)  # noqa: S104 (every address is what was asked for)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return _bind(family, address, backlog)


NO_IPV6 = (97, 99, 22)
"""EAFNOSUPPORT, EADDRNOTAVAIL, EINVAL: this machine has no IPv6."""


def _bind(family: int, address: "Any", backlog: int, *, both: bool = False) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        one.bind(address)
        one.listen(backlog)
    except OSError:
        one.close()
        raise
    return one


def unix(path: str, mode: int) -> socket.socket:
    """A listening unix socket; one that nobody listens on any more is replaced, and nothing else is ever removed."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            one.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if there := _occupant(path):
                raise OSError(error.errno, f"{error.strerror}: {path} is {there}") from None
            os.unlink(path)
            one.bind(path)
        os.chmod(path, mode)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _occupant(path: str) -> str:
    """What is there, in words; empty for a socket that nobody listens on. A connection to any other file is refused too."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return "there already, and is no socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return ""
        except OSError:
            pass  # EAGAIN, say: its queue is full
    return "a socket on which somebody listens"
