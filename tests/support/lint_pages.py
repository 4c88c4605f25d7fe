"""The examples in the pages of lint's rules, as files."""

import re
from pathlib import Path

from pyinit.lint.catalogue import Rule

BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(rule: Rule) -> dict[str, dict[str, str]]:
    """The files of `Bad` and of `Good`, by their names; the latter has what the former has, where it does not replace it."""
    found: dict[str, dict[str, str]] = {}
    for heading in ("Bad", "Good"):
        section = re.search(rf"^## {heading}\n(.*?)^## ", rule.page, re.MULTILINE | re.DOTALL)
        assert section, f"{rule.id}.md has no section {heading}"
        found[heading] = {**found.get("Bad", {}), **dict(BLOCK.findall(section[1]))}
    return found


def write(files: dict[str, str], folder: Path) -> Path:
    """The files into a folder of their own."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
