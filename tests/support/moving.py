"""The guide for those who come from elsewhere, `pyinit/supervise/moving.md`: its files and its tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyinit.supervise
from pyinit.ctl import start
from support.lint_pages import BLOCK

GUIDE = Path(pyinit.supervise.__file__).parent / "moving.md"


def section(heading: str) -> str:
    """The text below `## HEADING`."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"moving.md has no section {heading}"
    return found[1]


def files(heading: str) -> dict[str, str]:
    """The files of a section, by their names."""
    return dict(BLOCK.findall(section(heading)))


def command(dockerfile: str) -> list[str]:
    """What a container of it runs: ENTRYPOINT and CMD."""
    return [
        word
        for name in ("ENTRYPOINT", "CMD")
        for line in re.findall(rf"^{name} (.*)$", dockerfile, re.MULTILINE)
        for word in json.loads(line)
    ]


def words(mark: str) -> list[str]:
    """The first words of the first column's code in the table below a mark: what it has a row for."""
    table = re.search(rf"<!-- {mark} -->\n((?:\|.*\n)+)", GUIDE.read_text(encoding="utf-8"))
    assert table, f"moving.md has no table {mark}"
    cells = [line.split("|")[1] for line in table[1].splitlines()[2:]]
    return [word for cell in cells for word in re.findall("`([^`]+)`", cell)]


def _help(*words: str) -> str:
    """What `pyinitctl ... --help` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pyinit.ctl", *words, "--help"],
        env={**os.environ, "COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def words_here() -> set[str]:
    """The words of `pyinitctl --help`, under all their names."""
    lines = re.findall(r"^    ([A-Za-z]\w*)(?: \(([\w, ]+)\))?(?:  |$)", _help(), re.MULTILINE)
    return {name for word, aliases in lines for name in (word, *aliases.split(", ")) if name}


def options_here() -> set[str]:
    """The options of `pyinitctl start`, those that it takes without a word about them, and those before any word."""
    shown = re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", _help("start") + _help())
    return {*shown, *(f"--no-{name}" for name in start.NEGATED), "--no-daemon"}
