"""What the words about containers have in common: a session with the engine, of which nothing is left, however the word ends."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pyinit.ctl.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from pyinit.containers.engine import Engine

IMPOSSIBLE = 2
"""Exit status when nothing could be judged."""

LEAVING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a run, and have what it made removed first."""


def need_extra(word: str) -> None:
    """Raises CommandError where the extra is not installed."""
    missing = [name for name in ("docker", "rich") if find_spec(name) is None]
    if missing:
        raise CommandError(f"{word} needs {' and '.join(missing)}: pip install 'pyinit-pid1[verify]'", IMPOSSIBLE)


@contextmanager
def session(word: str, *, keep: bool = False, interrupted: str = "") -> Iterator[Engine]:
    """The engine, for one word. What goes wrong with it, or with the observer, becomes a CommandError; so does Ctrl-C.

    `interrupted`: what is to be known after Ctrl-C besides that nothing is left.
    """
    from pyinit.containers.engine import BROKEN, Engine, EngineError, explain  # noqa: PLC0415 - the extra may not be installed
    from pyinit.containers.remote import ObserverError  # noqa: PLC0415

    for number in LEAVING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and the background of a shell without job control
            signal.signal(number, _leave)
    engine = None
    try:
        with Engine(keep=keep) as engine, _undisturbed():
            yield engine
    except (EngineError, ObserverError) as error:
        raise CommandError(f"{word}: {error}", IMPOSSIBLE) from None
    except BROKEN as error:
        raise CommandError(f"{word}: the engine failed in the middle of it: {explain(error)}", IMPOSSIBLE) from None
    except KeyboardInterrupt:
        left = engine is not None and engine.left
        words = "pyinitctl verify --clean removes what is left" if left else "everything it had made is removed"
        raise CommandError(f"{word}: interrupted; {words}{interrupted}", 130) from None


def _leave(number: int, _frame: object) -> NoReturn:
    """Ends through all `finally`, so that no container stays."""
    _hear_no_more()
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What comes after this is not interrupted: it removes what was made."""
    try:
        yield
    finally:
        _hear_no_more()


def _hear_no_more() -> None:
    """From here on these signals do nothing. A second Ctrl-C, or a SIGTERM behind it, would end the removal in the middle; it takes
    seconds, and it ends by itself.
    """
    for number in LEAVING:
        signal.signal(number, signal.SIG_IGN)


def console(width: int) -> Console:
    """Where reports go. `width`: columns where it is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - an extra

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Rich would exit with 1, which is a verdict here."""
            raise BrokenPipeError

    return Screen(highlight=False, width=None if sys.stdout.isatty() else width)


@contextmanager
def written(word: str, where: Path | str) -> Iterator[None]:
    """Turns a failure to write there into words. Half a report is none: it is removed."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has had enough: main() knows
    except OSError as error:
        if isinstance(where, Path):
            if where.is_file():
                where.unlink(missing_ok=True)
        else:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer would fail again as Python ends
        raise CommandError(f"{word}: the report cannot be written to {where}: {error.strerror}", IMPOSSIBLE) from None
