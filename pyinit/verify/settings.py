"""`verify.toml`, or the table `[tool.pyinit.verify]` of pyproject.toml: what a project always says, with reasons for what it leaves out.

```toml
ready-log = "listening"
timeout = 20
expect-exit = [143]

[skip]
EX-06 = "a JVM ends with 143; our job runner knows"
```

Keys are the long options without their dashes (`options` has them all), and their values mean the same: paths are from the folder in
which the command is typed. The command line goes before the file. Strict: an unknown key is an error, and so is a check that is unknown.
Where an init is judged, its checks are known besides those of an image: one file serves both.
"""

from __future__ import annotations

import argparse
import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.verify.catalogue import ALIASES, CHECKS
from pyinit.verify.options import NOT_IN_A_FILE, Key, keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyinit.verify.verdicts import Check

KEYS: Mapping[str, Key] = keys()
"""Each key and what its value is, from the table of options."""

CHECK_LISTS = ("check", "require")

WORDS: Mapping[type, str] = {
    str: "a text", int: "a whole number", float: "a number", list: "a list", bool: "true or false", dict: "a table",
}  # fmt: skip


class SettingsError(Exception):
    """The file is wrong; the message names file, line and key, and says what to write instead."""


@dataclass(frozen=True)
class Settings:
    """What a file says."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skip(self) -> Mapping[str, str]:
        """Reasons by check."""
        found: Mapping[str, str] = self.values.get("skip", {})
        return found


def load(path: Path | None, folder: Path, checks: Sequence[Check] = CHECKS) -> Settings:
    """The file that was named, or the one in `folder`; nothing where there is none. It may name these checks. Raises SettingsError."""
    if path is None:
        candidates = [folder / "verify.toml", folder / "pyproject.toml"]
    elif path.is_file():
        candidates = [path]
    else:
        raise SettingsError(f"there is no file {path}: correct --config")
    for candidate in candidates:
        if not candidate.is_file():
            continue
        text, values = _read(candidate)
        if candidate.name == "pyproject.toml":
            found = _table(candidate, text, values)
            if found is None:
                continue
            values = found
        return Settings(candidate, _checked(candidate, text, values, checks))
    return Settings()


def _table(path: Path, text: str, values: dict[str, Any]) -> dict[str, Any] | None:
    """`[tool.pyinit.verify]` of pyproject.toml; None where there is none."""
    name = []
    for key in ("tool", "pyinit", "verify"):
        if key not in values:
            return None
        name.append(key)
        found = values[key]
        if not isinstance(found, dict):
            raise SettingsError(
                f"{path}, line {_line(path, text, key)}: {'.'.join(name)} must be a table, not {found!r}"
            )
        values = found
    return values


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None


def _checked(path: Path, text: str, values: Mapping[str, Any], checks: Sequence[Check]) -> Mapping[str, Any]:
    """The values, as the command line would have them."""
    found = {
        key: check_value(f"{path}, line {_line(path, text, key)}", key, value, checks) for key, value in values.items()
    }
    for check, reason in values.get("skip", {}).items():
        check_reason(f"{path}, line {_line(path, text, check)}", check, reason, checks)
    return found


def check_value(where: str, key: str, value: Any, checks: Sequence[Check]) -> Any:  # noqa: ANN401 - whatever was written
    """The value of a key, as the command line would have it. Raises SettingsError, which begins with `where`."""
    wanted = KEYS.get(key)
    if wanted is None:
        raise SettingsError(f"{where}: there is no key {key!r}{_instead(key)}")
    if not _is(value, wanted.kind):
        raise SettingsError(f"{where}: {key} must be {WORDS[wanted.kind]}, not {value!r}")
    for one in value if isinstance(value, list) else ():
        if not _is(one, wanted.element):
            raise SettingsError(f"{where}: each of {key} must be {WORDS[wanted.element]}, not {one!r}")
    for word in value if key in CHECK_LISTS else ():
        if not chosen(word, checks):
            raise SettingsError(f"{where}: there is no check {word!r}{nearest(word.upper(), ids(checks))}")
    return [_made(where, key, one) for one in value] if isinstance(value, list) else _made(where, key, value)


def check_reason(where: str, check: str, reason: object, checks: Sequence[Check]) -> None:
    """Whether there is such a check, and a reason for leaving it out. Raises SettingsError."""
    if check not in ids(checks):
        raise SettingsError(f"{where}: there is no check {check!r}{nearest(check, ids(checks))}")
    if not isinstance(reason, str) or not reason.strip():
        raise SettingsError(f'{where}: say why {check} is left out: {check} = "because ..."')


def _is(value: object, wanted: type) -> bool:
    """Whether it is of that type: a whole number is a number, too, and neither is true or false."""
    return type(value) is wanted or (wanted is float and type(value) is int)


def _made(where: str, key: str, value: Any) -> Any:  # noqa: ANN401 - of the key's type
    """What the command line makes of the same text."""
    choices = KEYS[key].choices
    if choices and value not in choices:
        raise SettingsError(f"{where}: {key} must be one of {', '.join(choices)}, not {value!r}")
    try:
        return KEYS[key].made(value) if isinstance(value, str) else value
    except argparse.ArgumentTypeError as error:
        raise SettingsError(f"{where}: {key}: {error}") from None


def _instead(key: str) -> str:
    """What to do about a key that is none."""
    if key in NOT_IN_A_FILE:
        return f", --{key} is for the command line alone: {NOT_IN_A_FILE[key]}"
    return nearest(key, KEYS)


def _line(path: Path, text: str, key: str) -> int:
    """Where a key is; in pyproject.toml behind the table's header, for other tools have keys of the same name."""
    header = None
    if path.name == "pyproject.toml":
        header = re.search(r"^[ \t]*\[[ \t]*tool\.pyinit\.verify[ \t]*[.\]]", text, re.MULTILINE)
    found = re.compile(rf"^\s*\[?\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]", re.MULTILINE).search(
        text, header.start() if header else 0
    )
    if found:
        return text.count("\n", 0, found.start() + len(found[0]) - len(found[0].lstrip())) + 1
    return text.count("\n", 0, header.start()) + 1 if header else 1


def ids(checks: Iterable[Check]) -> list[str]:
    """How they are called, each once: an image's and an init's may have the same name."""
    return list(dict.fromkeys(check.id for check in checks))


def chosen(word: str, checks: Iterable[Check]) -> list[Check]:
    """The checks that a word means: one by its id or alias, or a group of them (`SG`); none: there are none."""
    name = ALIASES.get(word, word).upper()
    return [check for check in checks if name in (check.id, check.id.partition("-")[0])]


def nearest(word: str, known: Iterable[str]) -> str:
    """What to write instead of a word that is not known."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"; write {close[0]!r}?" if close else f"; there are {', '.join(known)}"
