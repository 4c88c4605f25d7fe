"""What was measured, and how it is shown: a table on the terminal, one in Markdown, and JSON."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

TINI = "tini"


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0], 1)
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high, len(samples))


@dataclass(frozen=True)
class Bar:
    """The most that a number may be, or the least. Shown, never enforced: a busy machine is no reason for a test to fail."""

    most: float | None = None
    of: tuple[str, ...] = ()
    """Where given, the number is the ratio to the best of these."""
    least: float | None = None

    def is_met(self, number: float) -> bool:
        return (self.most is None or number <= self.most) and (self.least is None or number >= self.least)

    def hardest(self, ratios: Iterable[Spread]) -> Spread | None:
        """Of the ratios to several, the one to the best of them."""
        choose = max if self.least is None else min
        return choose(ratios, key=lambda ratio: ratio.median, default=None)

    def __str__(self) -> str:
        """`<= 1.4 x tini or catatonit`."""
        bounds = [f"{sign} {bound:,g}" for sign, bound in (("<=", self.most), (">=", self.least)) if bound is not None]
        return " and ".join(bounds) + (f" x {' or '.join(self.of)}" if self.of else "")


@dataclass
class Row:
    """One measured quantity. `samples[name][i]` was taken in round i, of all that are compared, one after the other."""

    title: str
    unit: str
    digits: int
    samples: dict[str, list[float]]
    bars: dict[str, Bar] = field(default_factory=dict)
    with_ratio: bool = True
    reference: str = TINI
    """What the ratio that is shown is to."""

    def spread(self, name: str) -> Spread | None:
        samples = self.samples.get(name)
        return Spread.of(samples) if samples else None

    def ratio(self, name: str, to: str = "") -> Spread | None:
        """To the reference, round by round, so that what slowed the machine down for a while slowed both."""
        to = to or self.reference
        ours, theirs = self.samples.get(name), self.samples.get(to)
        if not self.with_ratio or not ours or not theirs or name == to:
            return None
        pairs = [mine / its for mine, its in zip(ours, theirs, strict=True) if its > 0]
        return Spread.of(pairs) if pairs else None

    def barred(self, name: str) -> Spread | None:
        """What the bar is about: the number, or its ratio to the best of the peers that the bar names."""
        bar = self.bars.get(name)
        if bar is None or not bar.of:
            return self.spread(name)
        return bar.hardest(ratio for peer in bar.of if (ratio := self.ratio(name, peer)) is not None)

    def cells(self, name: str) -> tuple[str, str, str]:
        """`12.1`, `11.8 to 12.9` (empty where they do not differ) and the ratio to the reference."""
        spread, ratio = self.spread(name), self.ratio(name)
        if spread is None:
            return "-", "", ""
        low, median, high = (f"{value:,.{self.digits}f}" for value in (spread.low, spread.median, spread.high))
        return median, "" if low == high else f"{low} to {high}", f"{ratio.median:.2f}" if ratio else ""

    def is_met(self, name: str) -> bool | None:
        """Whether the bar is met; None where there is none, or nothing was measured that it could be held against."""
        bar, spread = self.bars.get(name), self.barred(name)
        return None if bar is None or spread is None else bar.is_met(spread.median)

    def verdict(self, name: str) -> str:
        """`met (1.23, 1.20 to 1.31: <= 1.4 x tini)`; empty where there is no bar."""
        bar, spread = self.bars.get(name), self.barred(name)
        if bar is None:
            return ""
        if spread is None:
            return f"not measured ({bar})"
        low, median, high = (f"{value:.2f}" for value in (spread.low, spread.median, spread.high))
        said = median + (f", {low} to {high}" if low != high else "") + ": " if bar.of else ""
        return f"{'met' if self.is_met(name) else 'NOT met'} ({said}{bar})"


Measured = tuple[list[Row], list[str]]
"""What a measurement gives: rows, and notes that belong to them."""


@dataclass
class Outcome:
    """A whole run. `notes` are what a reader must know about the numbers; `faults` what a measurement found wrong."""

    about: dict[str, str]
    versions: dict[str, str | None]
    """What is compared, one for each column; None: it is not here; empty: it has none."""
    reference: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return list(self.versions)

    @property
    def heading(self) -> str:
        return ", ".join(f"{key} {value}" if key != "date" else value for key, value in self.about.items())

    @property
    def titles(self) -> list[str]:
        """The columns' names with versions: `tini 0.19.0`, `catatonit (absent)`."""
        return [
            f"{name} {'(absent)' if version is None else version}".rstrip() for name, version in self.versions.items()
        ]

    def print(self) -> None:
        """On the terminal: narrow, one line for each number, its bar beside it."""
        console = Console()
        table = Table(title=self.heading, title_justify="left", box=box.SIMPLE, pad_edge=False)
        table.add_column("")
        for column in ("median", "quartiles", f"x {self.reference}"):
            table.add_column(column, justify="right")
        table.add_column("bar")
        for row in self.rows:
            table.add_row(f"[bold]{row.title}{', ' + row.unit if row.unit else ''}[/]")
            for name, title in zip(self.columns, self.titles, strict=True):
                if name not in row.samples:
                    continue  # not asked of this one
                table.add_row(f"  {title}", *row.cells(name), _coloured(row.verdict(name)))
            table.add_section()
        console.print(table)
        for note in self.notes:
            console.print(f"- {note}", highlight=False)
        for fault in self.faults:
            console.print(f"[red]- wrong: {fault}[/]", highlight=False)

    def markdown(self) -> str:
        """For the README: one line for each quantity, one column for each that is compared."""
        lines = [f"Measured on {self.heading}. Median (quartiles), ratio to {self.reference}.", ""]
        lines += [f"| | {' | '.join(self.titles)} | bar |", "|---" * (len(self.columns) + 2) + "|"]
        for row in self.rows:
            cells = []
            for name in self.columns:
                median, quartiles, ratio = row.cells(name)
                cells.append(median + (f" ({quartiles})" if quartiles else "") + (f", {ratio} x" if ratio else ""))
            bars = "; ".join(f"{name}: {row.verdict(name)}" for name in row.bars)
            lines.append(f"| {row.title}{', ' + row.unit if row.unit else ''} | {' | '.join(cells)} | {bars} |")
        lines += ["", *(f"- {note}" for note in self.notes), *(f"- **wrong**: {fault}" for fault in self.faults)]
        return "\n".join(lines) + "\n"

    def json(self) -> dict[str, Any]:
        """Plain values; every sample is kept, so that any other statistic can be made from it."""
        rows = []
        for row in self.rows:
            columns = {}
            for name in self.columns:
                spread, ratio, bar = row.spread(name), row.ratio(name), row.bars.get(name)
                columns[name] = {
                    "spread": asdict(spread) if spread else None,
                    "ratio": asdict(ratio) if ratio else None,
                    "bar": {**asdict(bar), "met": row.is_met(name)} if bar else None,
                    "samples": row.samples.get(name, []),
                }
            rows.append({"title": row.title, "unit": row.unit, "columns": columns})
        return {
            "about": self.about,
            "versions": self.versions,
            "rows": rows,
            "notes": self.notes,
            "faults": self.faults,
        }


def _coloured(verdict: str) -> str:
    colour = "red" if verdict.startswith("NOT") else "green" if verdict.startswith("met") else "yellow"
    return f"[{colour}]{verdict}[/]" if verdict else ""
