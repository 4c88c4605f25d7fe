"""Reads a Compose file: each service is a launch, with the Dockerfile that it is built from where that is here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.lint import dockerfile, nodes
from pyinit.lint.findings import UnreadableError, Word
from pyinit.lint.launch import SECOND, Kind, Launch

if TYPE_CHECKING:
    import yaml

DEFAULT_GRACE = 10
"""stop_grace_period where it is not written (Compose specification, services)."""

UNITS = {"h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": SECOND // 1000, "us": SECOND // 1_000_000}
VARIABLE = re.compile(r"\$\$|\$(?:\w+|\{[^}]*\})")


def is_compose(document: yaml.Node) -> bool:
    """Whether it has services, and is nothing of Kubernetes."""
    return bool(nodes.mapping(nodes.at(document, "services"))) and nodes.at(document, "apiVersion") is None


def launches(document: yaml.Node, path: str) -> Iterator[Launch]:
    """Every service."""
    services = nodes.at(document, "services")
    named = nodes.keys(services)
    for name, service in nodes.mapping(services).items():
        yield _service(name, named.get(name, service), service, path)


def _service(name: str, key: yaml.Node, service: yaml.Node, path: str) -> Launch:
    place = nodes.place(key, path)
    built = _built(nodes.at(service, "build"), Path(path).parent)
    launch = replace(built, kind=Kind.COMPOSE, name=name, place=place) if built else Launch(Kind.COMPOSE, name, place)
    entrypoint, command = nodes.at(service, "entrypoint"), nodes.at(service, "command")
    if nodes.text(entrypoint) is not None or nodes.sequence(entrypoint):
        said = (*_command_line(entrypoint, path), *_command_line(command, path))
        launch = replace(launch, argv=said, is_whole=bool(said), shell_form=False)
    elif nodes.text(command) is not None or nodes.sequence(command):
        said = (*launch.entrypoint, *_command_line(command, path))
        launch = replace(launch, argv=said, shell_form=False)
    environment = {**launch.environment, **nodes.environment(nodes.at(service, "environment"), path)}
    environment = {variable: _interpolated(word) for variable, word in environment.items()}
    grace = nodes.at(service, "stop_grace_period")
    pid, init = nodes.at(service, "pid"), nodes.at(service, "init")
    signal = nodes.word(nodes.at(service, "stop_signal"), path)
    return replace(
        launch,
        environment=environment,
        stop_signal=_interpolated(signal) if signal else launch.stop_signal,
        given=DEFAULT_GRACE * SECOND if grace is None else duration(nodes.text(grace) or ""),
        given_place=nodes.place(grace, path) if grace is not None else None,
        shared_pids=nodes.word(pid, path) if nodes.text(pid) else None,
        engine_init=nodes.word(init, path) if nodes.is_true(init) else None,
        image=nodes.word(nodes.at(service, "image"), path) if built is None else None,
    )


def _built(build: yaml.Node | None, folder: Path) -> Launch | None:
    """The launch of the Dockerfile that `build` names; None where there is none, or where it cannot be read."""
    context = nodes.text(build) or nodes.text(nodes.at(build, "context")) or ("." if nodes.mapping(build) else None)
    if context is None or "$" in context or "://" in context:
        return None
    root = folder / context
    try:
        read = dockerfile.read(root / (nodes.text(nodes.at(build, "dockerfile")) or "Dockerfile"), root)
    except (UnreadableError, ValueError):
        return None
    return next(read.launches(nodes.text(nodes.at(build, "target"))), None)


def _command_line(node: yaml.Node | None, path: str) -> tuple[Word, ...]:
    """A list as it is; a string is split as a shell would, and no shell comes of it."""
    one = nodes.word(node, path)
    if one is None:
        return tuple(_interpolated(word) for word in nodes.words(node, path))
    try:
        return tuple(_interpolated(Word(text, one.place)) for text in shlex.split(one.text))
    except ValueError:
        return (Word("", one.place, known=False),)


def _interpolated(word: Word) -> Word:
    """A word with a variable of whoever starts it is not known; `$$` is a dollar."""
    if "$" not in word.text or not word.known:
        return word
    if any(found != "$$" for found in VARIABLE.findall(word.text)):
        return Word(word.text, word.place, known=False)
    return Word(word.text.replace("$$", "$"), word.place)


def duration(text: str) -> int | None:
    """`1m30s` in nanoseconds; None for what Compose would not understand."""
    found = re.findall(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|us|m|s)", text)
    if not found or "".join(number + unit for number, unit in found) != text:
        return None
    return int(sum(float(number) * UNITS[unit] for number, unit in found))
