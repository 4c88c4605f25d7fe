"""What is shown of a run: in a terminal (rich), as JSON, as JUnit's XML and as Markdown.

The JSON carries everything that the others show.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pyinit.containers import timeline
from pyinit.verify.runner import is_failure
from pyinit.verify.verdicts import Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from pyinit.verify.evidence import Act
    from pyinit.verify.runner import Run

SCHEMA = "pyinit-verify/1"
"""Of the JSON report; report.schema.json says what is in it, key by key. A new number means that something a reader relied on has
changed; new keys alone do not change it, and the file knows them."""

_SIGNS = {
    Verdict.PASS: ("✓", "green"),
    Verdict.FAIL: ("✗", "bold red"),
    Verdict.SKIPPED: ("-", "yellow"),
    Verdict.NOTE: ("i", "cyan"),
}
_WIDEST = 120


def counted(results: Sequence[Result]) -> str:
    """`14 passed, 2 failed (1 known), 3 skipped, 4 notes`."""
    numbers = Counter(one.finding.verdict for one in results)
    known = sum(1 for one in results if is_failure(one) and one.known)
    parts = [
        f"{numbers[Verdict.PASS]} passed",
        f"{numbers[Verdict.FAIL]} failed" + (f" ({known} known)" if known else ""),
        f"{numbers[Verdict.SKIPPED]} skipped",
    ]
    return ", ".join(parts) + (f", {numbers[Verdict.NOTE]} notes" if numbers[Verdict.NOTE] else "")


def verdict_on(run: Run, *, strict: bool) -> str:
    """The last line: one sentence."""
    status = run.status(strict=strict)
    if status == 0 and any(is_failure(one) for one in run.results):
        return "nothing failed that did not fail in the baseline"
    if status == 0:
        return "what was checked passed" if run.partial else "it stops as it should"
    if status == 1:
        failures = ", ".join(one.check.id for one in run.results if is_failure(one) and not one.known)
        return f"it does not stop as it should: {failures}"
    missing = ", ".join(one.check.id for one in run.unjudged(strict=strict))
    return f"nothing failed, but not everything that is required could be judged: {missing}"


# --- in a terminal ---


def show(console: Console, run: Run, about: Mapping[str, str], *, strict: bool) -> None:
    """The whole report. It reads without colour, too."""
    width = min(console.width, _WIDEST)
    console.print(_head(run, about))
    console.print(_table(run.results, width), width=width)
    failures = [one for one in run.results if is_failure(one)]
    shown: set[str] = set()
    for result in failures:
        console.print(_failure(result), width=width)
        act = run.case.acts.get(result.finding.act or result.check.act)
        if act is not None and act.name not in shown and act.stop is not None and act.stop.timeline is not None:
            shown.add(act.name)
            console.print(Padding(timeline.render(act.stop.timeline, width - 2), (0, 0, 0, 2)))
    if shown:
        console.print(timeline.LEGEND, style="dim")
    status = run.status(strict=strict)
    console.print(
        Text.assemble(
            (f"{counted(run.results)}: ", ""), (verdict_on(run, strict=strict), ("green", "bold red", "yellow")[status])
        )
    )


def _head(run: Run, about: Mapping[str, str]) -> Text:
    words = {**about, "ready": run.ready, "source": run.source}
    return Text("\n").join(
        [
            Text.assemble((run.case.image.name, "bold"), ("  " + " ".join(run.case.image.command)[:100], "")),
            Text("  ".join(f"{name}: {value}" for name, value in words.items() if value), "dim"),
            *(Text(f"not seen: {gap}", "dim") for gap in _unseen(run)),
            Text(""),
        ]
    )


def _unseen(run: Run) -> Sequence[str]:
    """What the observer could not see of the plain stop, and why."""
    account = run.case.plain.account if run.case.plain else None
    return account.blind if account else ()


def _table(results: Sequence[Result], width: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, width=width)
    table.add_column(width=1)
    table.add_column(width=5)
    table.add_column(width=6)
    table.add_column(ratio=1)
    group = ""
    for result in sorted(results, key=_by_group(results)):
        if result.check.group != group:
            group = result.check.group
            table.add_row("", "", "", Text(group, "bold"))
        sign, style = _SIGNS[result.finding.verdict]
        words = Text.assemble((f"{result.check.title}: ", ""), (_short(result), "dim"))
        table.add_row(Text(sign, style), result.check.id, Text(result.severity.value, "dim"), words)
    return table


def _by_group(results: Sequence[Result]) -> Any:  # noqa: ANN401 - a key for sorted
    order = {group: number for number, group in enumerate(dict.fromkeys(one.check.group for one in results))}
    return lambda result: (order[result.check.group], result.check.id)


def _short(result: Result) -> str:
    """The first sentence: the rest is below, or in the JSON."""
    words = result.finding.words
    known = " (known: in the baseline)" if result.known and is_failure(result) else ""
    return (words if len(words) <= 160 else words[:157] + "...") + known


def _failure(result: Result) -> RenderableType:
    finding, check = result.finding, result.check
    rows: list[RenderableType] = [
        Text(""),
        Text.assemble(
            (f"✗ {check.id} ", "bold red"), (f"{check.title} ", "bold"), (f"({result.severity.value})", "dim")
        ),
        Padding(Text(finding.words), (0, 0, 0, 2)),
    ]
    rows += [Padding(Text(line, "dim"), (0, 0, 0, 4)) for line in finding.evidence[:12]]
    for name, words in (("why", check.why), ("fix", finding.fix or check.fix)):
        if words:
            rows.append(_labelled(name, Text(words)))
    if result.reproduce:
        rows.append(_labelled("try", Text(result.reproduce, "cyan")))
    return Group(*rows)


def failure_text(result: Result, width: int) -> str:
    """A failure as plain text: what was seen, why it matters, what to change, how to see the same."""
    lines = io.StringIO()
    Console(file=lines, width=width, color_system=None, highlight=False).print(_failure(result))
    return "\n".join(line.rstrip() for line in lines.getvalue().strip("\n").splitlines())


def _labelled(name: str, words: Text) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=5, justify="right")
    grid.add_column(ratio=1)
    grid.add_row(Text(name, "bold"), words)
    return Padding(grid, (0, 0, 0, 1))


# --- for machines ---


def as_json(run: Run, about: Mapping[str, str], *, strict: bool) -> dict[str, Any]:
    """Everything, in types that `json` knows."""
    image = run.case.image
    numbers = Counter(one.finding.verdict for one in run.results)
    return {
        "schema": SCHEMA,
        "subject": {
            "image": image.name,
            "id": image.id,
            "command": list(image.command),
            "stop_signal": run.case.stop_signal,
            "platform": image.platform,
        },
        "about": dict(about),
        "ready": run.ready,
        "source": run.source,
        "unseen": list(_unseen(run)),
        "summary": {verdict.value: numbers[verdict] for verdict in Verdict},
        "status": run.status(strict=strict),
        "verdict": verdict_on(run, strict=strict),
        "results": [_result(one) for one in run.results],
        "acts": {name: _act(act) for name, act in run.case.acts.items()},
    }


def _result(result: Result) -> dict[str, Any]:
    check, finding = result.check, result.finding
    return {
        "id": check.id,
        "title": check.title,
        "group": check.group,
        "severity": result.severity.value,
        "verdict": finding.verdict.value,
        "words": finding.words,
        "evidence": list(finding.evidence),
        "why": check.why,
        "fix": finding.fix or check.fix,
        "act": finding.act or check.act,
        "required": result.required,
        "excused": result.excused,
        "known": result.known,
        "reproduce": result.reproduce,
        "seconds": round(result.seconds, 3),
    }


def _act(act: Act) -> dict[str, Any]:
    stop = act.stop
    return {
        "seconds": round(act.seconds, 3),
        "impossible": act.impossible,
        "reproduce": act.reproduce,
        "stop": stop
        and {
            "grace": stop.grace,
            "seconds": round(stop.seconds, 6),
            "status": stop.status,
            "forced": stop.forced,
            "oom": stop.oom,
            "log": stop.logs[-10_000:],
            "timeline": stop.timeline and stop.timeline.as_json(),
            "account": stop.account and stop.account.as_json(),
        },
    }


def json_text(run: Run, about: Mapping[str, str], *, strict: bool) -> str:
    """The JSON report."""
    return json.dumps(as_json(run, about, strict=strict), indent=2) + "\n"


def junit(run: Run) -> str:
    """JUnit's XML, as CI systems read it: a test case for each check, a failure's words in it."""
    suite = ET.Element(
        "testsuite",
        name=f"pyinitctl verify {run.case.image.name}",
        tests=str(len(run.results)),
        failures=str(sum(is_failure(one) and not one.known for one in run.results)),
        errors="0",
        skipped=str(sum(one.finding.verdict is Verdict.SKIPPED or one.known for one in run.results)),
        time=f"{sum(act.seconds for act in run.case.acts.values()):.3f}",
    )
    for result in run.results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"verify.{result.check.group.replace(' ', '_')}",
            name=f"{result.check.id} {result.check.title}",
            time=f"{result.seconds:.3f}",
        )
        finding = result.finding
        if is_failure(result) and not result.known:
            failure = ET.SubElement(case, "failure", message=finding.words)
            failure.text = "\n".join(
                [*finding.evidence, "", f"fix: {finding.fix or result.check.fix}", result.reproduce]
            )
        elif finding.verdict is Verdict.SKIPPED or result.known:
            ET.SubElement(case, "skipped", message=finding.words)
        else:
            ET.SubElement(case, "system-out").text = finding.words
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return _printable(ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def _printable(text: str) -> str:
    """Without what XML 1.0 does not allow at all: a program may have written anything."""
    return "".join(letter for letter in text if letter in "\t\n\r" or letter >= " ")


def markdown(run: Run, about: Mapping[str, str], *, strict: bool) -> str:
    """For a CI job's summary."""
    return "\n".join(_markdown(run, about, strict=strict)) + "\n"


def _markdown(run: Run, about: Mapping[str, str], *, strict: bool) -> Iterator[str]:
    yield f"## `{run.case.image.name}`: {verdict_on(run, strict=strict)}"
    yield ""
    words = {**about, "ready": run.ready, "source": run.source}
    yield f"{counted(run.results)}. " + ", ".join(f"{name}: {value}" for name, value in words.items() if value) + "."
    for gap in _unseen(run):
        yield f"Not seen: {_cell(gap)}."
    yield ""
    yield "| | check | | what was seen |"
    yield "|---|---|---|---|"
    for result in sorted(run.results, key=_by_group(run.results)):
        sign = {"pass": "✅", "fail": "❌", "skipped": "⏭️", "note": "ℹ️"}[result.finding.verdict.value]
        yield f"| {sign} | {result.check.id} {_cell(result.check.title)} | {result.severity.value} | {_cell(_short(result))} |"
    for result in run.results:
        if is_failure(result):
            yield ""
            yield f"### {result.check.id} {result.check.title}"
            yield ""
            yield f"{_cell(result.finding.words)}. {result.check.why}"
            yield ""
            yield f"**Fix:** {result.finding.fix or result.check.fix}"
            if result.finding.evidence:
                yield ""
                yield "```text"
                yield from result.finding.evidence
                yield "```"
            if result.reproduce:
                yield ""
                yield "```sh"
                yield result.reproduce
                yield "```"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
