"""What everybody in lint speaks of: places in files, words that stand there, and findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UnreadableError(Exception):
    """A file cannot be read as what it should be. The message says why; the path is told by who asked."""


def content_of(path: Path, most: int, remark: str = "") -> str:
    """The text of a file of at most so many bytes; `remark` is said of one with more. Raises UnreadableError."""
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    if len(raw) > most:
        raise UnreadableError(f"it has more than {most} bytes{remark}")
    return raw.decode("utf-8", "replace")


@dataclass(frozen=True, order=True)
class Place:
    """Where something is written. Lines and columns count from 1; the statement it is in goes from line `first` to `last`."""

    path: str
    line: int
    column: int = 1
    first: int = 0
    last: int = 0

    @property
    def lines(self) -> tuple[int, int]:
        """The lines of the statement."""
        return self.first or self.line, self.last or self.line


@dataclass(frozen=True)
class Word:
    """A word of a command line, or a value. `known` is False where it depends on what the file does not say."""

    text: str
    place: Place
    known: bool = True


@dataclass(frozen=True)
class Finding:
    """One fault. `message` is one line: what is wrong with what; `why` what comes of it; `fix` what to write instead."""

    rule: str
    place: Place
    message: str
    why: str
    fix: str
    ignored: str = ""
    """The reason in the comment that excuses it."""

    def excused(self, reason: str) -> Finding:
        """The same, with a reason not to count it."""
        return replace(self, ignored=reason)
