"""The reports: text for people, JSON, and SARIF 2.1.0 for code scanning."""

from __future__ import annotations

import json
from textwrap import fill
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyinit.init.options import show
from pyinit.init.start import VERSION
from pyinit.lint.catalogue import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinit.lint.findings import Finding
    from pyinit.lint.linter import Outcome

WIDTH = 120
AS_IT_IS: Any = {"break_long_words": False, "break_on_hyphens": False}
"""A command stays as it can be copied."""

SCHEMA = 1
"""Of the JSON; raised when a field changes its meaning or goes."""


def text(outcome: Outcome) -> str:
    """`file:line:column: ID message`, then why and what to write instead; what is excused is counted only."""
    return "".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    for one in outcome.counted:
        place = one.place
        yield f"{show(place.path)}:{place.line}:{place.column}: {one.rule} {one.message}\n"
        for word, said in (("why", one.why), ("fix", one.fix)):
            yield fill(said, WIDTH, initial_indent=f"  {word} ", subsequent_indent="      ", **AS_IT_IS) + "\n"
    excused = len(outcome.findings) - len(outcome.counted)
    said = f"{_count(len(outcome.counted), 'finding')} in {_count(len(outcome.files), 'file')}"
    yield said + (f", {excused} ignored" if excused else "") + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def as_json(outcome: Outcome) -> str:
    """One object."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "version": VERSION,
            "files": outcome.files,
            "findings": [
                {
                    "rule": one.rule,
                    "path": one.place.path,
                    "line": one.place.line,
                    "column": one.place.column,
                    "message": one.message,
                    "why": one.why,
                    "fix": one.fix,
                    "ignored": one.ignored or None,
                }
                for one in outcome.findings
            ],
            "problems": [{"path": path, "message": why} for path, why in outcome.problems.items()],
            "notes": outcome.notes,
        },
        indent=2,
    )


def sarif(outcome: Outcome) -> str:
    """SARIF 2.1.0 (OASIS): a run, its rules, its results; what is excused is a suppression in the source."""
    rules = [
        {
            "id": rule.id,
            "name": rule.title,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.finds},
            "help": {"text": rule.page, "markdown": rule.page},
            "defaultConfiguration": {"level": "warning"},
        }
        for rule in RULES
    ]
    driver = {"name": "pyinitctl lint", "semanticVersion": VERSION, "rules": rules}
    problems = [
        {
            "level": "error",
            "message": {"text": why},
            "locations": [{"physicalLocation": {"artifactLocation": _uri(path)}}],
        }
        for path, why in outcome.problems.items()
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not problems, "toolExecutionNotifications": problems}],
        "results": [_result(one) for one in outcome.findings],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(one: Finding) -> dict[str, Any]:
    region = {"startLine": one.place.line, "startColumn": one.place.column}
    found: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": next(n for n, rule in enumerate(RULES) if rule.id == one.rule),
        "level": "warning",
        "message": {"text": f"{one.message}. {one.why} Write instead: {one.fix}"},
        "locations": [{"physicalLocation": {"artifactLocation": _uri(one.place.path), "region": region}}],
    }
    if one.ignored:
        found["suppressions"] = [{"kind": "inSource", "justification": one.ignored}]
    return found


def _uri(path: str) -> dict[str, str]:
    return {"uri": quote(path.encode("utf-8", "surrogateescape"))}
