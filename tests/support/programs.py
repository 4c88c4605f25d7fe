"""What the stops of real programs gave, with pyinit and without an init: kept as JSON, shown as a table in Markdown.

`python tests/support/programs.py` prints the table of the last run.
"""

import json
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / ".results" / "programs.json"


@dataclass(frozen=True)
class Side:
    """One stop of one program."""

    seconds: float
    """From `docker stop` to the end of PID 1."""
    exit: int
    killed: Sequence[str] | None
    """The names of those whom SIGKILL ended; None: the container was gone before anybody could look."""
    zombies: int
    """How many of the orphans that a health check left were still zombies a second later."""
    lost: str
    """What the stop cost, in words; empty: nothing."""


@dataclass(frozen=True)
class Row:
    """One program, stopped both ways."""

    program: str
    options: str
    """Of pyinit."""
    without: Side
    ours: Side


def save(rows: Sequence[Row], order: Sequence[str], path: Path = RESULTS) -> None:
    """Write the rows, and the table beside them; rows of programs that did not run this time stay."""
    path.parent.mkdir(exist_ok=True)
    known = {row["program"]: row for row in load(path)["rows"]}
    known |= {row.program: asdict(row) for row in rows}
    kept = [known[name] for name in order if name in known]
    content = {"date": time.strftime("%Y-%m-%d"), "kernel": platform.release().split("-")[0], "rows": kept}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(render(content), encoding="utf-8")


def load(path: Path = RESULTS) -> dict[str, Any]:
    """What `save` wrote; no rows where there is nothing."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {"rows": []}
    return content


def render(content: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    side = ("s", "exit", "SIGKILLed", "zombies", "lost")
    titles = ["program", "options", f"without an init: {side[0]}", *side[1:], f"with pyinit: {side[0]}", *side[1:]]
    rule = ["---", "---", *["--:", "--:", "---", "--:", "---"] * 2]
    lines = [f"| {' | '.join(titles)} |", f"|{'|'.join(rule)}|"]
    for row in content["rows"]:
        options = f"`{row['options']}`" if row["options"] else ""
        lines.append(f"| {row['program']} | {options} | {_cells(row['without'])} | {_cells(row['ours'])} |")
    return "\n".join(lines) + "\n"


def _cells(side: Mapping[str, Any]) -> str:
    if side["killed"] is None:
        killed = "not seen"
    else:
        names = Counter(side["killed"])
        killed = ", ".join(name if count == 1 else f"{count} {name}" for name, count in names.items())
        killed = f"**{killed}**" if killed else "nobody"
    return f"{side['seconds']:.1f} | {side['exit']} | {killed} | {side['zombies']} | {side['lost'] or '-'}"


if __name__ == "__main__":
    print(render(load()), end="")
