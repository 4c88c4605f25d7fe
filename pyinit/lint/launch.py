"""A launch: how one container is started and stopped, as far as a file (and those that it names) says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from pyinit.lint.findings import Place, Word
from pyinit.lint.programs import base_stop_signal

SECOND = 1_000_000_000
"""Durations are in nanoseconds, as in `init.options`."""


class Kind(Enum):
    """Which file says it."""

    DOCKERFILE = "Dockerfile"
    KUBERNETES = "Kubernetes"
    COMPOSE = "Compose"


@dataclass(frozen=True)
class Script:
    """A file that the container starts, found among the files here. Its line 1 is line `offset` + 1 of `path`."""

    path: str
    text: str
    offset: int = 0


@dataclass(frozen=True)
class Hook:
    """A preStop hook: the command that it executes, if it does, and how long it takes as far as it says, in nanoseconds."""

    place: Place
    command: tuple[Word, ...] = ()
    duration: int = 0


def no_script(path: str) -> Script | None:  # noqa: ARG001 - where no files are known
    """Finds none."""
    return None


@dataclass(frozen=True)
class Image:
    """What an engine says of an image."""

    entrypoint: Sequence[str]
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: str


class Images(Protocol):
    """Somebody who can be asked about images."""

    def image(self, name: str) -> Image | None:
        """What an image says; None where it is not to be had."""

    def lacks(self, name: str, program: str) -> bool:
        """Whether a program is certainly not in it."""


@dataclass(frozen=True)
class Launch:
    """See above. What is not known is None, or empty."""

    kind: Kind
    name: str
    """Of the container, for messages; empty for the one image of a Dockerfile."""
    place: Place
    """Where it is described: what a finding points at that has no better place."""
    argv: tuple[Word, ...] = ()
    is_whole: bool = False
    """Whether `argv` is the whole command line, or whether an entry point that is not known comes before it."""
    entrypoint: tuple[Word, ...] = ()
    """The part of it that a command given elsewhere does not replace."""
    ignored_command: tuple[Word, ...] = ()
    """A CMD that a shell-form ENTRYPOINT ignores."""
    ends_itself: bool = False
    """It is there to end by itself: a job, an init container."""
    shell_form: bool = False
    """The command line is text for a shell that the file does not name."""
    environment: Mapping[str, Word] = field(default_factory=dict)
    stop_signal: Word | None = None
    """What is sent to stop it; None where that is not known."""
    given: int | None = None
    """How long it gets to stop before SIGKILL."""
    given_place: Place | None = None
    hooks: Sequence[Hook] = ()
    shared_pids: Word | None = None
    """What makes somebody else PID 1 (`shareProcessNamespace`, `pid: host`)."""
    engine_init: Word | None = None
    """`init: true`: the engine's init comes first."""
    image: Word | None = None
    script: Callable[[str], Script | None] = no_script
    """The script that a path in the container leads to."""

    def upon_official(self) -> Launch:
        """The same, with the stop signal that an official image of that name has, where the file names none."""
        said = base_stop_signal(self.image.text) if self.image else None
        if self.image is None or self.stop_signal is not None or said is None:
            return self
        return replace(self, stop_signal=Word(said or "SIGTERM", self.image.place))

    def upon(self, image: Image) -> Launch:
        """The same, with what the image says where the file says nothing."""
        where = self.image.place if self.image else self.place
        entrypoint, command = ([Word(text, where) for text in words] for words in (image.entrypoint, image.command))
        signal = self.stop_signal or Word(image.stop_signal or "SIGTERM", where)
        environment = {name: Word(text, where) for name, text in image.environment.items()} | dict(self.environment)
        found = replace(self, environment=environment, stop_signal=signal)
        if self.is_whole:
            return found
        return replace(found, argv=(*entrypoint, *(self.argv or command)), is_whole=True)
