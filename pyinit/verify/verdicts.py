"""What a check is, and what it says: pass, fail or skipped, each with a reason. Measurements are notes, never verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinit.verify.evidence import Case


class Verdict(Enum):
    """The value is how it reads, and what the JSON report has."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIPPED = "skipped"
    NOTE = "note"
    """No verdict: a measurement, which is neither good nor bad."""


class Severity(Enum):
    """How much a check matters."""

    MUST = "must"
    SHOULD = "should"
    NOTE = "note"


class Source(Enum):
    """What the observer must know for a check to judge; a better source serves too."""

    OUTCOME = "outcome"
    """Exit status, duration and logs: what the engine says itself."""
    PROCESSES = "processes"
    """Who is there, and how each ended."""
    SIGNALS = "signals"
    """Every signal with its sender: tracepoints."""


@dataclass(frozen=True)
class Finding:
    """What one check came to. `words` is one sentence or two: what was seen, or why it was skipped."""

    verdict: Verdict
    words: str
    evidence: tuple[str, ...] = ()
    """Lines that show it: processes, log lines, times."""
    fix: str = ""
    """What to change; empty: what the check's table says."""
    severity: Severity | None = None
    """Where it depends on what was seen; else the check's own."""
    act: str = ""
    """The act whose timeline shows it, where that is not the check's own."""


def passed(words: str, *evidence: str) -> Finding:
    """It is as it should be."""
    return Finding(Verdict.PASS, words, evidence)


def failed(words: str, *evidence: str, fix: str = "", severity: Severity | None = None) -> Finding:
    """It is not as it should be."""
    return Finding(Verdict.FAIL, words, evidence, fix, severity)


def skipped(reason: str, *evidence: str) -> Finding:
    """It cannot be judged, or there is nothing to judge."""
    return Finding(Verdict.SKIPPED, reason, evidence)


def note(words: str, *evidence: str) -> Finding:
    """A measurement."""
    return Finding(Verdict.NOTE, words, evidence)


@dataclass(frozen=True)
class Check:
    """A row of the catalogue."""

    id: str
    title: str
    """What is true when it passes: a sentence without a full stop."""
    severity: Severity
    act: str
    """The act whose evidence it judges."""
    needs: str
    """What makes it meaningful, in words; empty: nothing. The judge skips where it is absent."""
    source: Source
    why: str
    """Why it matters to who runs such an image."""
    fix: str
    """What to change when it fails."""
    judge: Callable[[Case], Finding]
    required: bool = False
    clean: bool = True
    """Whether it presupposes that the container stops cleanly: skipped when SG-01 failed."""

    @property
    def group(self) -> str:
        """`signals` for SG-01."""
        return GROUPS[self.id.partition("-")[0]]


GROUPS = {
    "ST": "start",
    "SG": "signals",
    "PT": "process tree",
    "EX": "exit status",
    "GR": "grace period",
    "TT": "terminal",
    "ZO": "zombies",
    "FD": "output and descriptors",
    "SE": "surroundings",
    "K8": "Kubernetes",
}


@dataclass(frozen=True)
class Result:
    """A check's finding about one subject."""

    check: Check
    finding: Finding
    seconds: float = 0.0
    excused: str = ""
    """Why it was left out on purpose, in the words of whoever did so."""
    reproduce: str = ""
    """Shell commands that show the same."""
    required: bool = False
    known: bool = False
    """Failed in the baseline too."""

    @property
    def severity(self) -> Severity:
        """How much it matters here."""
        return self.finding.severity or self.check.severity
