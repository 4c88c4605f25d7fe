"""The control socket from the client's side: where it is, and a question to it. For programs that are not `pyinitctl` as well.

One JSON object a line each way: a request, any number of events, one last answer with "ok".
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

VARIABLE = "PYINITCTL_SOCKET"
"""Not PYINIT_...: pyinit takes those away from its program, which the supervisor is."""

FILE = "control.sock"
LONGEST = 107
"""sun_path has 108 bytes, one of them the NUL (unix(7))."""


class ControlError(Exception):
    """The supervisor said no, or something that is no answer. The text is the whole line for the user."""


class NoSupervisorError(ControlError):
    """Nobody is there."""


class GoneError(ControlError):
    """It was there, and ended before it had answered."""


class PlaceError(Exception):
    """No place for a socket. The text is the whole line for the user."""


def candidates(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Where the socket may be, best first. What the variable names is the only one."""
    if named := environ.get(VARIABLE):
        return [Path(named).absolute()]
    runtime = environ.get("XDG_RUNTIME_DIR")
    folders = [Path(runtime) / "pyinit"] if runtime else []
    folders += [Path("/run/pyinit"), Path(f"/tmp/pyinit-{uid}")]  # noqa: S108 (owner and mode are checked)
    return [folder / FILE for folder in folders]


def trouble(folder: Path, uid: int) -> str:
    """Why a folder is not to be trusted with a socket; empty when it is. A link counts as another's: who made it can turn it."""
    try:
        found = folder.lstat()
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder"
    if found.st_uid not in (uid, 0):
        return f"it belongs to UID {found.st_uid}"
    return "others can write to it" if found.st_mode & 0o022 else ""


def find(environ: Mapping[str, str]) -> Path:
    """The socket that is there, or else the first place where one would be. Raises NoSupervisorError where only others' are."""
    uid = os.geteuid()
    places = candidates(environ, uid)
    if VARIABLE in environ:
        return places[0]
    doubts = {path: trouble(path.parent, uid) for path in places if _is_socket(path)}
    for path, doubt in doubts.items():
        if not doubt:
            return path
    for path in places:
        if path not in doubts:
            return path
    reasons = ", ".join(f"{path.parent} ({doubt})" for path, doubt in doubts.items())
    raise NoSupervisorError(
        f"there is no supervisor of yours: not trusted are {reasons}; name its socket with --socket"
    )


def _is_socket(path: Path) -> bool:
    """Whether one is there for this user: what lies in a folder that is closed to it does not."""
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def make_place(environ: Mapping[str, str]) -> Path:
    """Where a new supervisor can listen: its folder is there, ours, and can be written to. Raises PlaceError."""
    tried = []
    for path in candidates(environ, os.geteuid()):
        why = _prepare(path, is_named=VARIABLE in environ)
        if not why:
            return path
        tried.append(f"{path.parent} ({why})")
    raise PlaceError(
        f"no place for the control socket: tried {', '.join(tried)}; name one with --socket PATH or {VARIABLE}"
    )


def _prepare(path: Path, *, is_named: bool) -> str:
    """Make the folder of a socket. Why that is no place for it; empty when it is. A folder that the user has named is trusted."""
    folder = path.parent
    if len(os.fsencode(path)) > LONGEST:
        return f"the path is longer than {LONGEST} bytes"
    try:
        if not folder.exists() and not folder.is_symlink():
            folder.mkdir(mode=0o700)
    except OSError as error:
        return error.strerror or str(error)
    why = "" if is_named else trouble(folder, os.geteuid())
    return why or ("" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to")


def is_there(path: Path) -> bool:
    """Whether a supervisor answers."""
    try:
        with connect(path):
            return True
    except NoSupervisorError:
        return False


def peer(path: Path) -> int:
    """The supervisor's pid as it is seen here (unix(7), SO_PEERCRED); 0 where it is not seen. Raises NoSupervisorError."""
    with connect(path) as connection:
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


def connect(path: Path) -> socket.socket:
    """A connection. Raises NoSupervisorError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except OSError as error:
        connection.close()
        why = error.strerror or str(error)
        raise NoSupervisorError(
            f"there is no supervisor at {path} ({why}); start one with pyinitctl start, or name its socket with --socket"
        ) from None
    return connection


def ask(
    path: Path,
    request: Mapping[str, Any],
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    till_its_end: bool = False,
) -> dict[str, Any]:
    """The last answer to a request; `tell` gets the events before it. Raises ControlError when it is a no, GoneError when none came.

    With `till_its_end` it waits for the supervisor's own end as well.
    """
    with connect(path) as connection:
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            for line in _lines(connection):
                answer = json.loads(line)
                if "event" in answer:
                    tell(answer)
                elif answer.get("ok") is True:
                    while till_its_end and connection.recv(1 << 16):
                        pass
                    return dict(answer)
                else:
                    raise ControlError(
                        str(answer.get("error") or "it could not be done, and the supervisor does not say why")
                    )
        except OSError as error:
            raise GoneError(f"the supervisor at {path} went away ({error.strerror})") from None
        except (ValueError, AttributeError):
            raise ControlError(f"{path} does not answer as a supervisor does; name its socket with --socket") from None
    raise GoneError(f"the supervisor at {path} ended before it had answered")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    with connection.makefile("rb") as file:
        yield from file
