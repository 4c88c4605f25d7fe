"""The timeline of a stop: what a person wants to see of an account. Pure, but for `render`, which needs rich (extra `verify`).

All times in here are seconds since the stop signal reached PID 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyinit.containers.account import Account, Fate, How, Process, Sender, Signal, signal_as_json
from pyinit.init import signals

if TYPE_CHECKING:
    from rich.text import Text

_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


@dataclass(frozen=True)
class Asked:
    """A signal that a process was sent during the stop, other than SIGCHLD and SIGCONT. `heard`: it was not ignored."""

    time: float
    number: int
    heard: bool
    sender: str

    @property
    def letter(self) -> str:
        """`T` for a SIGTERM, `t` for one that was ignored."""
        letter = signals.name_of(self.number).removeprefix("SIG")[0]
        return letter if self.heard else letter.lower()


@dataclass(frozen=True)
class Bar:
    """One process, from the stop signal (or its birth, if later) to its end."""

    name: str
    inside: int | None
    """Its PID in the container."""
    began: float
    ended: float | None
    """None: still alive when the account was taken."""
    how: How
    words: str
    """How it ended, in a few words."""
    asked: tuple[Asked, ...]

    @property
    def heard(self) -> float | None:
        """When it was first asked to end and did not ignore it; None: never."""
        return next((one.time for one in self.asked if one.heard and one.number != signals.KILL), None)


@dataclass(frozen=True)
class Mark:
    """A moment of the stop."""

    time: float
    words: str


@dataclass(frozen=True)
class Timeline:
    """A stop, process by process."""

    title: str
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    """Stop signal arrived, first forwarded, first SIGKILL: in the order of time."""
    seconds: float
    """From the stop signal to the last end."""
    status: int | None
    """PID 1's wait status."""
    outside: str
    """Who "outside" is: `the engine`."""
    source: str
    blind: tuple[str, ...]

    @property
    def killed(self) -> tuple[Bar, ...]:
        """Those who had no say in their end."""
        return tuple(bar for bar in self.bars if bar.how.is_kill)

    def verdict(self) -> tuple[str, str]:
        """Two sentences: how long it took and with what status; who was killed, and by whom."""
        status = "exit status not known" if self.status is None else f"exit status {signals.exit_code(self.status)}"
        first = f"stopped after {self.seconds:.1f} s, {status}"
        if not self.killed:
            return first, f"all {len(self.bars)} processes ended by themselves, none was SIGKILLed"
        by_killer: dict[str, list[str]] = {}
        for bar in self.killed:
            by_killer.setdefault(bar.words.removeprefix("SIGKILL").strip(" ,"), []).append(bar.name)
        who = "; ".join(f"{', '.join(names)} {killer}" for killer, names in by_killer.items())
        return first, f"{len(self.killed)} of {len(self.bars)} processes were SIGKILLed: {who}"

    def as_json(self) -> dict[str, Any]:
        """Everything, in types that `json` knows."""
        return {
            "title": self.title,
            "seconds": round(self.seconds, 6),
            "status": self.status,
            "verdict": list(self.verdict()),
            "source": self.source,
            "blind": list(self.blind),
            "marks": [{"time": round(mark.time, 6), "words": mark.words} for mark in self.marks],
            "processes": [
                {
                    "name": bar.name,
                    "inside": bar.inside,
                    "began": round(bar.began, 6),
                    "ended": None if bar.ended is None else round(bar.ended, 6),
                    "how": bar.how.name.lower(),
                    "words": bar.words,
                    "asked": [
                        {
                            "time": round(one.time, 6),
                            "signal": signals.name_of(one.number),
                            "heard": one.heard,
                            "sender": one.sender,
                        }
                        for one in bar.asked
                    ],
                }
                for bar in self.bars
            ],
        }
