"""Asking the supervisor: where its socket is, and what its answers are for the user. Loads little: the probe `ready` uses it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyinit.ctl.errors import CommandError
from pyinit.supervise import client

NO_SUPERVISOR = 3
"""Exit status when nobody is there: "the program is not running", as init scripts say (LSB, "Init Script Actions")."""

Tell = Callable[[dict[str, Any]], None]


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Where the supervisor is."""
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=Path,
        help=f"the control socket (default: ${client.VARIABLE}, else in $XDG_RUNTIME_DIR/pyinit, /run/pyinit or /tmp/pyinit-UID)",
    )


def socket_of(options: argparse.Namespace) -> Path:
    """The socket that is meant. Raises CommandError."""
    named: Path | None = options.socket
    try:
        return named.absolute() if named else client.find(os.environ)
    except client.NoSupervisorError as error:
        raise CommandError(str(error), NO_SUPERVISOR) from None


def ask(options: argparse.Namespace, do: str, tell: Tell | None = None, **fields: Any) -> Any:  # noqa: ANN401 (JSON)
    """The answer to a request. Raises CommandError."""
    return ask_at(socket_of(options), do, tell, **fields)


def ask_at(path: Path, do: str, tell: Tell | None = None, *, till_its_end: bool = False, **fields: Any) -> Any:  # noqa: ANN401 (JSON)
    """The same of a socket."""
    try:
        return client.ask(path, {"do": do, **fields}, tell or show_event, till_its_end=till_its_end)
    except client.NoSupervisorError as error:
        raise CommandError(str(error), NO_SUPERVISOR) from None
    except client.ControlError as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        raise CommandError(f"{do}: interrupted; the supervisor goes on with it", 130) from None


def show_event(event: Mapping[str, Any]) -> None:
    """A line about a worker on the way: `web:0 is ready`."""
    who = ":".join(str(event[key]) for key in ("name", "instance") if event.get(key) is not None)
    print(event.get("message") or f"{who}: {event['event']}", flush=True)
