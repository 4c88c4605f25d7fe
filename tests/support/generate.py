"""What is made from tables: those of the READMEs, the manual page, the schema of apps.toml, the index of lint's rules.

`python tests/support/generate.py` writes them; tests/packaging and tests/unit show that none is stale.
"""

import sys
from pathlib import Path

from pyinit.init import about
from pyinit.lint import catalogue
from pyinit.supervise import apps, export, pm2

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
MANUAL = ROOT / "docker" / "pyinit.8"
RULES = ROOT / "pyinit" / "lint" / "rules" / "INDEX.md"
SUPERVISE = ROOT / "pyinit" / "supervise" / "README.md"
SCHEMA = ROOT / "pyinit" / "supervise" / "apps.schema.json"


def between(text: str, name: str, content: str) -> str:
    """`text` with what stands between the two marks of `name` replaced."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(
            f"no place for {name} in the README: write {begin.strip()} and {end.strip()} on lines of their own"
        )
    return before + begin + content + end + after


def readme() -> str:
    """The README with its generated parts as they should be."""
    text = between(README.read_text(encoding="utf-8"), "options", about.markdown_options())
    return between(text, "statuses", about.markdown_statuses())


def supervise() -> str:
    """The same for what is said about `pyinitctl start`."""
    text = between(SUPERVISE.read_text(encoding="utf-8"), "apps", apps.markdown())
    text = between(text, "kubernetes", export.markdown())
    return between(text, "pm2", pm2.markdown())


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
    MANUAL.write_text(about.manual_page(), encoding="utf-8")
    RULES.write_text(catalogue.index(), encoding="utf-8")
    SUPERVISE.write_text(supervise(), encoding="utf-8")
    SCHEMA.write_text(apps.schema(), encoding="utf-8")
    sys.stdout.write(f"written: {README.name}, {MANUAL.name}, {RULES.name}, {SUPERVISE.name}, {SCHEMA.name}\n")
