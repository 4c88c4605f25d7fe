"""Reads a Dockerfile: what the image of its last stage, or of a named one, is started with.

The builder's own parser cuts it into instructions; this follows the stages and applies what bears on a start or a stop: ENTRYPOINT, CMD,
SHELL, ENV, ARG, WORKDIR, STOPSIGNAL, COPY and ADD (where a script in the image comes from), and the ONBUILD triggers of a stage that
another one is built upon. (Dockerfile reference; for the resets, buildkit's dispatch: an ENTRYPOINT takes away an inherited CMD.)
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dockerfile

from pyinit.lint.findings import Place, UnreadableError, Word, content_of
from pyinit.lint.launch import Kind, Launch, Script
from pyinit.lint.programs import PLAIN_BASES, base_of, base_stop_signal

MOST = 2_000_000
"""Bytes of a Dockerfile."""

DEEPEST = 20
"""How many stages a script may have been copied through."""

PATHS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
SHELL = ("/bin/sh", "-c")

VARIABLE = re.compile(r"\\(.)|\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")


@dataclass(frozen=True)
class Instruction:
    """One of the file, with its lines. `place_of` finds a word of it."""

    name: str
    values: tuple[str, ...]
    is_array: bool
    flags: tuple[str, ...]
    heredocs: tuple[tuple[str, str], ...]
    original: str
    path: str
    first: int
    last: int
    lines: tuple[str, ...]
    """As they stand in the file."""

    def place_of(self, text: str, after: Place | None = None) -> Place:
        """Where a word of the instruction stands, looked for behind `after`; the instruction's beginning where it cannot be found."""
        begin = (after.line, after.column) if after else (self.first, 1)
        for written in (json.dumps(text, ensure_ascii=False), text):
            for number, line in enumerate(self.lines, self.first):
                at = line.find(written, begin[1] if number == begin[0] else 0) if number >= begin[0] else -1
                if at >= 0 and written:
                    return Place(self.path, number, at + 1, self.first, self.last)
        return self.place

    @property
    def place(self) -> Place:
        """Where it begins."""
        indent = len(self.lines[0]) - len(self.lines[0].lstrip()) if self.lines else 0
        return Place(self.path, self.first, indent + 1, self.first, self.last)


@dataclass(frozen=True)
class Copied:
    """A COPY or ADD."""

    sources: tuple[str, ...]
    target: str
    heredocs: tuple[tuple[str, str, int], ...] = ()
    """Name, content, the line that its first line has in the Dockerfile, less one."""
    stage: str | None = None
    """Copied from there; None from the context."""
    path: str = ""


@dataclass
class Stage:
    """What is known of an image while its instructions are applied."""

    name: str = ""
    base: str | None = ""
    """The image that it all began with; None where that is not known."""
    place: Place = field(default_factory=lambda: Place("", 1))
    entrypoint: tuple[Word, ...] | None = None
    entrypoint_is_text: bool = False
    command: tuple[Word, ...] | None = None
    command_is_text: bool = False
    command_is_own: bool = False
    shell: tuple[str, ...] = SHELL
    environment: dict[str, Word] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    stop_signal: Word | None = None
    copied: list[Copied] = field(default_factory=list)
    triggers: list[Instruction] = field(default_factory=list)

    def child(self, name: str, place: Place) -> Stage:
        """A stage that is built upon this one."""
        return replace(
            self,
            name=name,
            place=place,
            environment=dict(self.environment),
            arguments={},
            copied=list(self.copied),
            triggers=[],
            command_is_own=False,
        )


@dataclass(frozen=True)
class Dockerfile:
    """A file that was read. `stages` in their order; `context` the folders that COPY may be about, the likelier first."""

    path: str
    stages: tuple[Stage, ...]
    context: tuple[Path, ...]

    def launches(self, target: str | None = None) -> Iterator[Launch]:
        """How the last stage, or `target`, starts; and once more with its ONBUILD triggers, as an image upon it would."""
        found = self._stage(target)
        if found is None:
            return
        yield self._launch(found)
        if any(one.name in ("ENTRYPOINT", "CMD", "STOPSIGNAL", "ENV") for one in found.triggers):
            upon = found.child(found.name, found.place)
            for instruction in found.triggers:
                _apply(upon, instruction, {})
            yield self._launch(upon)

    def _stage(self, name: str | None) -> Stage | None:
        if name is None:
            return self.stages[-1] if self.stages else None
        named = [stage for stage in self.stages if stage.name.lower() == name.lower()]
        if not named and name.isdigit() and int(name) < len(self.stages):
            named = [self.stages[int(name)]]
        return named[-1] if named else None

    def _launch(self, stage: Stage) -> Launch:
        entrypoint, command = stage.entrypoint or (), stage.command or ()
        ignored: tuple[Word, ...] = ()
        is_text = stage.entrypoint_is_text if entrypoint else stage.command_is_text
        if entrypoint and stage.entrypoint_is_text:
            ignored, command = command, ()
        base = base_of(stage.base)[0] if stage.base else ""
        return Launch(
            Kind.DOCKERFILE,
            "",
            stage.place,
            (*entrypoint, *command),
            is_whole=stage.entrypoint is not None or base in PLAIN_BASES,
            entrypoint=() if stage.entrypoint_is_text else entrypoint,
            ignored_command=ignored,
            shell_form=is_text,
            environment=stage.environment,
            stop_signal=stage.stop_signal or self._base_signal(stage),
            script=lambda path: self.script(stage, path),
        )

    @staticmethod
    def _base_signal(stage: Stage) -> Word | None:
        said = base_stop_signal(stage.base) if stage.base else None
        return None if said is None else Word(said or "SIGTERM", stage.place)

    def script(self, stage: Stage, path: str, depth: int = 0) -> Script | None:
        """The script at a path of the image: found through COPY and ADD, in a heredoc or in the build context."""
        if depth > DEEPEST or not path:
            return None
        wanted = (
            [posixpath.normpath(posixpath.join(stage.directory, path))]
            if "/" in path
            else [f"{d}/{path}" for d in PATHS]
        )
        for one in wanted:
            for copied in reversed(stage.copied):
                found = self._copied(copied, one, depth)
                if found is not None:
                    return found
        return None

    def _copied(self, copied: Copied, wanted: str, depth: int) -> Script | None:
        target = copied.target.rstrip("/") or "/"
        is_folder = copied.target.endswith("/") or len(copied.sources) + len(copied.heredocs) > 1
        for name, content, line in copied.heredocs:
            if wanted == (posixpath.join(target, name) if is_folder else target):
                return Script(copied.path, content, line)
        for source in copied.sources:
            name = posixpath.basename(source.rstrip("/"))
            inside = posixpath.relpath(wanted, target) if target == "/" or wanted.startswith(target + "/") else None
            if copied.stage is not None:
                stage = self._stage(copied.stage)
                if stage is None:
                    continue
                tries = [source] if wanted in (target, posixpath.join(target, name)) else []
                tries += [posixpath.join(source, inside)] if inside else []
                for one in tries:
                    found = self.script(stage, one if one.startswith("/") else "/" + one, depth + 1)
                    if found is not None:
                        return found
                continue
            for root in self.context:
                found = _in_context(root, source, wanted, target, inside, is_folder=is_folder)
                if found is not None:
                    return found
        return None


def _in_context(
    root: Path, source: str, wanted: str, target: str, inside: str | None, *, is_folder: bool
) -> Script | None:
    if "://" in source or source.startswith("<<"):
        return None
    relative = source.lstrip("/") or "."
    try:
        paths = sorted(root.glob(relative)) if re.search(r"[*?\[]", relative) else [root / relative]
        for path in paths:
            if path.is_dir():
                found = path / inside if inside else None
            else:
                places = [posixpath.join(target, path.name)] + ([] if is_folder else [target])
                found = path if wanted in places else None
            if found is not None and found.is_file() and found.resolve().is_relative_to(root.resolve()):
                with found.open("rb") as file:
                    return Script(str(found), file.read(MOST).decode("utf-8", "replace"))
    except (OSError, ValueError, NotImplementedError):  # a name that no file can have
        return None
    return None


def read(path: Path, context: Path | None = None, arguments: Mapping[str, str] | None = None) -> Dockerfile:
    """Raises UnreadableError."""
    text = content_of(path, MOST, ", which no Dockerfile has")
    folders = (context,) if context else tuple(dict.fromkeys((path.parent, Path())))
    return parse(text.removeprefix("\ufeff"), str(path), folders, arguments or {})


def parse(text: str, path: str, context: Sequence[Path] = (), given: Mapping[str, str] | None = None) -> Dockerfile:
    """The same of a text. `given` are build arguments. Raises UnreadableError."""
    instructions = list(_instructions(text, path))
    stages: list[Stage] = []
    globals_: dict[str, str] = {}
    for one in instructions:
        if one.name == "FROM":
            stages.append(_from(one, stages, globals_, given or {}))
        elif not stages:
            if one.name == "ARG":
                globals_ |= _arguments(one, globals_, {}, given or {})
        elif one.name == "ARG":
            stages[-1].arguments |= _arguments(one, _known(stages[-1]), globals_, given or {})
        else:
            _apply(stages[-1], one, globals_)
    if not stages:
        raise UnreadableError("it has no FROM, so it makes no image")
    return Dockerfile(path, tuple(stages), tuple(context))


def _instructions(text: str, path: str) -> Iterator[Instruction]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnreadableError("it is no UTF-8") from None
    try:
        commands = dockerfile.parse_string(text.replace("\0", " "))
    except (dockerfile.GoParseError, ValueError) as error:
        raise UnreadableError(f"it is no Dockerfile: {error}") from None
    lines = text.split("\n")
    for one in commands:
        yield _instruction(one, path, tuple(lines[one.start_line - 1 : one.end_line]))


def _instruction(one: Any, path: str, lines: tuple[str, ...]) -> Instruction:  # noqa: ANN401 - made in Go, without types; a lone backslash has no name
    heredocs = tuple((doc.name, doc.content) for doc in one.heredocs)
    return Instruction(
        (one.cmd or "").upper(),
        one.value,
        one.json,
        one.flags,
        heredocs,
        one.original,
        path,
        one.start_line,
        one.end_line,
        lines,
    )


def _known(stage: Stage) -> dict[str, str]:
    """ARG and ENV: the latter wins."""
    said = {name: word.text for name, word in stage.environment.items() if word.known}
    return {**stage.arguments, **said}


def _expand(text: str, known: Mapping[str, str]) -> str | None:
    """Variables replaced, as the builder does; None where one is not known."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        if found[1] is not None:
            return found[1] if found[1] in "$\\\"' " else found[0]
        name, sign, word = found[2] or found[3], found[4], found[5] or ""
        if sign == "+":
            return word if known.get(name) else ""
        if name in known and (known[name] or sign != "-"):
            return known[name]
        if sign == "-":
            return word
        missing = True
        return ""

    expanded = VARIABLE.sub(value, text)
    return None if missing else expanded


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _arguments(
    one: Instruction, known: Mapping[str, str], globals_: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in one.values:
        name, equals, default = value.partition("=")
        if name in given:
            found[name] = given[name]
        elif equals:
            expanded = _expand(_unquoted(default), {**known, **found})
            if expanded is not None:
                found[name] = expanded
        elif name in globals_:
            found[name] = globals_[name]
    return found


def _from(one: Instruction, stages: Sequence[Stage], globals_: Mapping[str, str], given: Mapping[str, str]) -> Stage:
    image = _expand(one.values[0], {**globals_, **given}) if one.values else None
    name = one.values[2] if len(one.values) == 3 and one.values[1].lower() == "as" else ""
    for stage in reversed(stages):
        if image is not None and stage.name and stage.name.lower() == image.lower():
            upon = stage.child(name, one.place)
            for trigger in stage.triggers:
                _apply(upon, trigger, globals_)
            return upon
    return Stage(name, image or None, one.place)


def _apply(stage: Stage, one: Instruction, globals_: Mapping[str, str]) -> None:
    apply = APPLIED.get(one.name)
    if apply is not None:
        apply(stage, one)
    elif one.name == "ARG":  # of a trigger
        stage.arguments |= _arguments(one, _known(stage), globals_, {})


def _entrypoint(stage: Stage, one: Instruction) -> None:
    stage.entrypoint, stage.entrypoint_is_text = _command_line(stage, one)
    if not stage.command_is_own:
        stage.command = None


def _cmd(stage: Stage, one: Instruction) -> None:
    stage.command, stage.command_is_text = _command_line(stage, one)
    stage.command_is_own = True


def _command_line(stage: Stage, one: Instruction) -> tuple[tuple[Word, ...], bool]:
    """Its words; and whether it is text for a shell."""
    if one.is_array:
        words: list[Word] = []
        for text in one.values:
            words.append(Word(text, one.place_of(text, words[-1].place if words else None)))
        return tuple(words), False
    text = one.values[0] if one.values else ""
    if not text.strip():
        return (), False
    return (*(Word(word, one.place) for word in stage.shell), Word(text, one.place)), True


def _env(stage: Stage, one: Instruction) -> None:
    known = _known(stage)
    for name, value in zip(one.values[::2], one.values[1::2], strict=False):
        expanded = _expand(_unquoted(value), known)
        stage.environment[name] = Word(expanded or "", one.place_of(name), known=expanded is not None)


def _shell(stage: Stage, one: Instruction) -> None:
    if one.is_array and one.values:
        stage.shell = one.values


def _workdir(stage: Stage, one: Instruction) -> None:
    where = _expand(_unquoted(" ".join(one.values)), _known(stage))
    if where is not None:
        stage.directory = posixpath.normpath(posixpath.join(stage.directory, where))


def _stop_signal(stage: Stage, one: Instruction) -> None:
    text = _expand(one.values[0], _known(stage)) if one.values else None
    stage.stop_signal = Word(text or "", one.place_of(one.values[0] if one.values else ""), known=text is not None)


def _copy(stage: Stage, one: Instruction) -> None:
    known = _known(stage)
    values = [_expand(_unquoted(value), known) for value in one.values]
    if len(values) < 2 or values[-1] is None:
        return
    target = values[-1]
    absolute = posixpath.normpath(posixpath.join(stage.directory, target)) + (
        "/" if target.endswith(("/", "/.")) or target == "." else ""
    )
    source = next((flag[7:] for flag in one.flags if flag.startswith("--from=")), None)
    sources = tuple(value for value in values[:-1] if value is not None and not value.startswith("<<"))
    heredocs = []
    line = one.first
    for name, content in one.heredocs:
        heredocs.append((name, content, line))
        line += content.count("\n") + 1
    stage.copied.append(Copied(sources, absolute, tuple(heredocs), source, one.path))


def _onbuild(stage: Stage, one: Instruction) -> None:
    found = re.match(r"\s*ONBUILD\s+(.*)", one.original, re.IGNORECASE | re.DOTALL)
    try:
        commands = dockerfile.parse_string(found[1]) if found else ()
    except (dockerfile.GoParseError, ValueError):
        return
    for command in commands:
        trigger = _instruction(command, one.path, one.lines)
        stage.triggers.append(replace(trigger, first=one.first, last=one.last))


APPLIED: Mapping[str, Callable[[Stage, Instruction], None]] = {
    "ADD": _copy,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "WORKDIR": _workdir,
}
