"""What is made from tables: README's options, the manual page, the index of lint's rules. `python tests/support/generate.py` writes them.

tests/packaging shows that none is stale.
"""

import sys
from pathlib import Path

from pyinit.init import about
from pyinit.lint import catalogue

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
MANUAL = ROOT / "docker" / "pyinit.8"
RULES = ROOT / "pyinit" / "lint" / "rules" / "INDEX.md"


def between(text: str, name: str, content: str) -> str:
    """`text` with what stands between the two marks of `name` replaced."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(
            f"README.md has no place for {name}: write {begin.strip()} and {end.strip()} on lines of their own"
        )
    return before + begin + content + end + after


def readme() -> str:
    """The README with its generated parts as they should be."""
    text = between(README.read_text(encoding="utf-8"), "options", about.markdown_options())
    return between(text, "statuses", about.markdown_statuses())


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
    MANUAL.write_text(about.manual_page(), encoding="utf-8")
    RULES.write_text(catalogue.index(), encoding="utf-8")
    sys.stdout.write(f"written: {README.name}, {MANUAL.name}, {RULES.name}\n")
