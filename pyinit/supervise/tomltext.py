"""TOML as text: on which line each key stands, and a document written out.

`tomllib` reads TOML and tells no lines. Rejected: a search for the key by a regular expression (a string can hold what looks like a
key), and tomlkit (a dependency, and its items do not tell their lines either). The scanner here walks only over text that tomllib has
already accepted, so that it need not refuse anything.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = tuple[str | int, ...]
"""Where a value stands in a document: keys, and indexes of lists."""

BARE = re.compile(r"[A-Za-z0-9_-]+")
SCALAR = re.compile(r"[^,\]}\n#]+")
SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2}(?!"))', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2}(?!'))", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
"""The four kinds; a string of three quotes may end in up to two more that are its own."""


def lines(text: str) -> dict[Place, int]:
    """The line, from 1, on which each key, table and list element of a valid document first stands."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Place, int] = {}
        self.last: dict[Place, int] = {}  # arrays of tables: the index of the newest

    def document(self) -> None:
        table: Place = ()
        while self._space() < len(self.text):
            if self._take("[["):
                table = self._header(array=True)
                self._take("]]")
            elif self._take("["):
                table = self._header(array=False)
                self._take("]")
            else:
                self._pair(table)

    def _header(self, *, array: bool) -> Place:
        begin = self.at
        *parents, name = self._key()
        table: Place = ()
        for part in parents:
            table = self._note((*table, part), begin)
            if table in self.last:
                table = (*table, self.last[table])
        table = self._note((*table, name), begin)
        if array:
            self.last[table] = self.last.get(table, -1) + 1
            table = self._note((*table, self.last[table]), begin)
        return table

    def _pair(self, table: Place) -> None:
        begin = self.at
        for part in self._key():
            table = self._note((*table, part), begin)
        self._take("=")
        self._value(table)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._space()
            string = self._string()
            if string is None:
                bare = BARE.match(self.text, self.at)
                assert bare, "tomllib accepted the text"
                self.at = bare.end()
                parts.append(bare[0])
            else:
                parts.append(str(tomllib.loads(f"key = {string}")["key"]))
            if not self._take("."):
                return parts

    def _value(self, place: Place) -> None:
        self._space()
        if self._take("["):
            index = 0
            while not self._take("]"):
                self._note((*place, index), self.at)
                self._value((*place, index))
                self._take(",")
                index += 1
        elif self._take("{"):
            while not self._take("}"):
                self._pair(place)
                self._take(",")
        elif self._string() is None:
            scalar = SCALAR.match(self.text, self.at)
            assert scalar, "tomllib accepted the text"
            self.at = scalar.end()

    def _string(self) -> str | None:
        for kind in STRINGS:
            if found := kind.match(self.text, self.at):
                self.at = found.end()
                return found[0]
        return None

    def _space(self) -> int:
        found = SPACE.match(self.text, self.at)
        if found:
            self.at = found.end()
        return self.at

    def _take(self, mark: str) -> bool:
        self._space()
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _note(self, place: Place, at: int) -> Place:
        self.found.setdefault(place, self.text.count("\n", 0, at) + 1)
        return place


def dumps(document: Mapping[str, Any]) -> str:
    """A document as TOML. A table with one entry is written on one line, any other under a header of its own."""
    return "\n".join(_table((), document)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    own = {key: value for key, value in table.items() if not _has_header(path, value)}
    found = ["", f"[{'.'.join(map(written_key, path))}]"] if path and (own or not table) else []
    found += [f"{written_key(key)} = {written(value)}" for key, value in own.items()]
    for key, value in table.items():
        if key not in own:
            found += _table((*path, key), value)
    return found


def _has_header(path: tuple[str, ...], value: object) -> bool:
    """A table that has tables of its own, or several entries, or is one of the outer two."""
    if not isinstance(value, dict):
        return False
    return len(path) < 2 or len(value) > 1 or any(isinstance(inner, dict) for inner in value.values())


def written_key(key: str) -> str:
    return key if BARE.fullmatch(key) else written(key)


def written(value: object) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's as well
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{written_key(key)} = {written(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)
