"""Follows a command line from PID 1 to the program: `tini -- /entry.sh celery worker` is an init, a script that ends with exec, a program.

A Chain's links are in the order in which they come. For each it is known which words it was started with and, for shells and scripts, in
which ways the text ends. Where it cannot be followed any further (a script that is not here, a variable), the chain just ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from pyinit.init import options
from pyinit.lint import shell
from pyinit.lint.findings import Place, UnreadableError, Word
from pyinit.lint.programs import INITS, PYINIT, S6_OVERLAY, SHELLS, WRAPPERS, Init

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyinit.lint.launch import Launch, Script
    from pyinit.lint.shell import Reading

LONGEST = 12
"""Links that are followed: a script that executes itself would go on for ever."""


class What(Enum):
    """What a link is."""

    INIT = "init"
    SHELL = "shell"
    SCRIPT = "script"
    PROGRAM = "program"


@dataclass(frozen=True)
class Link:
    """One of the chain."""

    what: What
    name: str
    words: tuple[Word, ...]
    """Its command line, all that follows included."""
    init: Init | None = None
    own: int = 0
    """How many of an init's words are its own: its name and its options."""
    dashes: bool = False
    """An init's options end with `--`."""
    policy: options.Policy | None = None
    """pyinit's, where its options are known and right."""
    error: str = ""
    """pyinit's own words, where they are wrong."""
    reading: Reading | None = None
    """What a shell's or a script's text does in the end, where it is understood."""
    script: Script | None = None
    in_shebang: bool = False
    told_group: bool = False
    """The environment tells tini to signal the group."""

    @property
    def to_group(self) -> bool:
        """Whether this init passes the stop signal on to the program's whole process group."""
        if self.init is None:
            return False
        if self.init.name == "pyinit":
            return self.policy is None or self.policy.scope != options.CHILD  # the default, where nobody knows
        own = [word.text for word in self.words[1 : self.own]]
        if self.init.always_to_group:
            return not set(own) & set(self.init.not_to_group)
        if self.told_group:
            return True
        letters = "".join(word[1:] for word in own if re.fullmatch(r"-[a-zA-Z]+", word))
        return bool(self.init.to_group) and self.init.to_group in letters

    def place_of(self, line: int, column: int) -> Place:
        """A place in a script; in the text after -c it is the word's own."""
        if self.script is not None:
            return Place(self.script.path, self.script.offset + line, column)
        text = self._text
        return text.place if text is not None else self.words[0].place

    @property
    def _text(self) -> Word | None:
        at = _text_at(self.words)
        return self.words[at] if at is not None else None

    @property
    def text(self) -> str:
        """What follows -c."""
        return self._text.text if self._text else ""


def name_of(word: str) -> str:
    """The file's name of a program."""
    return word.rpartition("/")[2]


def follow(launch: Launch) -> tuple[Link, ...]:
    """The chain of a launch."""
    links: list[Link] = []
    words = launch.argv
    while words and len(links) < LONGEST:
        found, words = _next(words, launch)
        links += found
    return tuple(links)


def _next(words: tuple[Word, ...], launch: Launch) -> tuple[list[Link], tuple[Word, ...]]:
    """The links that the first word makes, and the words that it starts next; none where nobody knows."""
    words = _without_wrappers(words)
    if not words or not words[0].known:
        return [], ()
    first = words[0].text
    name = name_of(first)
    if name == "busybox" and len(words) > 1 and words[1].text in (*SHELLS, "crond"):
        return _next(words[1:], launch)
    if first == "/init":
        return [Link(What.INIT, name, words, S6_OVERLAY, own=1)], words[1:]
    if name == "pyinit" or _is_module(words):
        return _pyinit(words, launch)
    if name in INITS:
        links, rest = _init(words, INITS[name])
        told = "TINI_KILL_PROCESS_GROUP" in launch.environment and links[0].init == INITS["tini"]
        return [replace(links[0], told_group=told)], rest
    if name in SHELLS:
        return _shell(words, launch)
    script = launch.script(first)
    if script is not None:
        return _script(words, script)
    return [Link(What.PROGRAM, _program(words), words)], ()


def _without_wrappers(words: tuple[Word, ...]) -> tuple[Word, ...]:
    for _ in range(LONGEST):
        wrapper = WRAPPERS.get(name_of(words[0].text)) if words and words[0].known else None
        if wrapper is None:
            return words
        rest = words[1:]
        if wrapper.words:
            if tuple(word.text for word in rest[: len(wrapper.words)]) != wrapper.words:
                return words
            rest = rest[len(wrapper.words) :]
        while rest and rest[0].text.startswith("-"):
            takes_value = rest[0].text in wrapper.valued
            is_end = rest[0].text == "--"
            rest = rest[2:] if takes_value else rest[1:]
            if is_end:
                break
        while wrapper.assignments and rest and "=" in rest[0].text:
            rest = rest[1:]
        rest = rest[wrapper.operands :]
        if not rest:
            return words  # it is the program: `env` alone prints the environment
        words = rest
    return words


def _program(words: Sequence[Word]) -> str:
    """`celery` for `python3 -m celery`, `jenkins.war` for `java -jar /jenkins.war`, else the file's name."""
    name = name_of(words[0].text)
    texts = [word.text for word in words]
    if re.fullmatch(r"python[0-9.]*|pypy3?", name) and "-m" in texts[:-1]:
        return texts[texts.index("-m") + 1]
    if name == "java" and "-jar" in texts[:-1]:
        return name_of(texts[texts.index("-jar") + 1])
    return name


def _is_module(words: Sequence[Word]) -> bool:
    """`python3 -I -m pyinit`."""
    texts = [word.text for word in words]
    return bool(re.fullmatch(r"python[0-9.]*", name_of(texts[0]))) and _module_at(texts) is not None


def _module_at(texts: Sequence[str]) -> int | None:
    """Where `pyinit` stands in `python3 -I -m pyinit`."""
    at = 1
    while at < len(texts) and re.fullmatch(r"-[A-Za-ln-z]+", texts[at]):
        at += 1
    return at + 1 if texts[at : at + 2] == ["-m", "pyinit"] else None


def _pyinit(words: tuple[Word, ...], launch: Launch) -> tuple[list[Link], tuple[Word, ...]]:
    """Parsed by pyinit's own parser. Without a program it is an entry point for whatever is given to `docker run`."""
    at = (_module_at([word.text for word in words]) or 0) if name_of(words[0].text) != "pyinit" else 0
    given = words[at + 1 :]
    own = next((n for n, word in enumerate(given) if not word.known), len(given))
    environ = _environ(launch)
    argv = [_bytes(word.text) for word in given]
    stand_in = [] if _has_program(argv, environ) else [b"program"]
    try:
        policy = options.parse([*argv, *stand_in], environ)
    except options.UsageError as error:
        if own < len(given):  # a word that is not known may put it right
            return [Link(What.INIT, "pyinit", words, PYINIT, own=len(words))], ()
        return [Link(What.INIT, "pyinit", words, PYINIT, own=len(words), error=str(error))], ()
    count = 0 if stand_in else len(policy.program)
    until = len(words) - count
    unknown = any(not word.known for name, word in launch.environment.items() if name.startswith("PYINIT_"))
    known = None if unknown or at + 1 + own < until else policy
    dashes = words[until - 1].text == "--" if until else False
    link = Link(What.INIT, "pyinit", words, PYINIT, own=until, dashes=dashes, policy=known)
    return [link], words[until:]


def _has_program(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> bool:
    try:
        options.parse(argv, environ)
    except options.UsageError as error:
        return not str(error).startswith("no program to run")
    return True


def _environ(launch: Launch) -> dict[bytes, bytes]:
    return {_bytes(name): _bytes(word.text) for name, word in launch.environment.items() if word.known}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _init(words: tuple[Word, ...], init: Init) -> tuple[list[Link], tuple[Word, ...]]:
    at, dashes = 1, False
    while at < len(words) and words[at].text.startswith("-") and words[at].text != "-":
        text = words[at].text
        at += 1
        if text == "--":
            dashes = True
            break
        is_short = not text.startswith("--")
        if text in init.long_valued or (is_short and text[-1] in init.valued):
            at += 1
    at = min(at, len(words))
    link = Link(What.INIT, name_of(words[0].text), words, init, own=at, dashes=dashes)
    return [link], words[at:] if init.runs_program else ()


# --- shells and scripts ---


def _text_at(words: Sequence[Word]) -> int | None:
    """Where the text of `sh -ec TEXT` stands; None for a shell that reads a script or a terminal."""
    for at, word in enumerate(words[1:], 1):
        if not re.match(r"[-+]", word.text) or word.text in ("-", "--"):
            return None
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", word.text):
            after = at + 1
            while after < len(words) and re.match(r"[-+][a-z]", words[after].text):  # bash -c -e TEXT
                after += 1
            return after if after < len(words) else None
        if re.fullmatch(r"[-+][a-zA-Z]*[oO]", word.text) or word.text in ("--rcfile", "--init-file"):
            return _text_at((words[0], *words[at + 2 :]))
    return None


def _shell(words: tuple[Word, ...], launch: Launch) -> tuple[list[Link], tuple[Word, ...]]:
    name = name_of(words[0].text)
    at = _text_at(words)
    if at is not None:
        if not words[at].known:
            return [Link(What.SHELL, name, words)], ()
        link = Link(What.SHELL, name, words, reading=_read(words[at].text))
        return [link], _started(link, words[at + 2 :], words[at].place)
    operands = [word for word in words[1:] if not word.text.startswith("-")]
    if not operands or not operands[0].known:
        return [Link(What.PROGRAM, name, words)], ()
    script = launch.script(operands[0].text)
    if script is None:
        return [], ()
    link = Link(What.SCRIPT, name_of(operands[0].text), words, reading=_read(script.text), script=script)
    return [link], _started(link, tuple(operands[1:]), words[0].place)


def _script(words: tuple[Word, ...], script: Script) -> tuple[list[Link], tuple[Word, ...]]:
    """A file with `#!`: whose interpreter may be a shell, or an init in front of one."""
    name = name_of(words[0].text)
    line = script.text.partition("\n")[0]
    found: list[Link] = []
    if line.startswith("#!"):
        interpreter = line[2:].split()
        where = Place(script.path, script.offset + 1)
        shown = tuple(Word(text, where) for text in interpreter)
        shown = _without_wrappers(shown)  # env
        if shown and name_of(shown[0].text) in INITS:
            init = INITS[name_of(shown[0].text)]
            inits, shown = _init((*shown, *words), init)
            found += [
                Link(What.INIT, inits[0].name, inits[0].words, init, inits[0].own, inits[0].dashes, in_shebang=True)
            ]
        if not shown or name_of(shown[0].text) not in SHELLS:
            return [*found, Link(What.PROGRAM, name, words)], ()
    elif script.text.startswith("\x7fELF") or "\0" in script.text:
        return [Link(What.PROGRAM, name, words)], ()
    link = Link(What.SCRIPT, name, words, reading=_read(script.text), script=script)
    return [*found, link], _started(link, words[1:], words[0].place)


def _read(text: str) -> Reading | None:
    try:
        return shell.read(text)
    except UnreadableError:
        return None


def _started(link: Link, arguments: tuple[Word, ...], place: Place) -> tuple[Word, ...]:
    """The command line of what a shell starts last; the one that gets all arguments, where there are several."""
    reading = link.reading
    if reading is None or not reading.endings:
        return ()
    passing = [ending for ending in reading.endings if any(part.arguments for part in ending.parts)]
    ending = (passing or reading.endings)[-1]
    if ending.how in (shell.How.WAIT, shell.How.UNKNOWN):
        return ()  # what runs in the background, or elsewhere, is not followed
    if reading.moves_arguments or (reading.prefixes_options and arguments and arguments[0].text.startswith("-")):
        arguments = (Word("", place, known=False),)
    words: list[Word] = []
    for part in ending.parts:
        if part.arguments:
            words += arguments
        elif part.argument:
            words.append(
                arguments[part.argument - 1] if part.argument <= len(arguments) else Word("", place, known=False)
            )
        elif part.text is None:
            words.append(Word("", place, known=False))
        else:
            words.append(Word(part.text, link.place_of(ending.line, ending.column)))
    return tuple(words)
