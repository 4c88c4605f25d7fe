"""The timeline of a stop: what a person wants to see of an account. Pure, but for `render`, which needs rich (extra `verify`).

All times in here are seconds since the stop signal reached PID 1.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pyinit.containers.account import Account, Fate, How, Process, Sender, Signal
from pyinit.init import signals

_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_DRAINS = 0.1
"""Seconds from which on PID 1 waits before it sends a signal on; what is shorter is how long the sending takes."""
_SEES_NO_SIGNALS = ("cn_proc", "pidfd")
_QUIET = (signals.CHLD, signals.CONT)
"""No requests: what a parent hears of its children, and what wakes a stopped process so that it can hear."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.text import Text


class Tone(Enum):
    """What to think of an end; the value is its colour, as rich names it."""

    FAIR = "green"
    FAILED = "yellow"
    KILLED = "red"
    UNKNOWN = "bright_black"


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

    @property
    def words(self) -> str:
        """`SIGTERM from PID 1 at 1 ms, ignored`."""
        ignored = "" if self.heard else ", ignored"
        return f"{signals.name_of(self.number)} from {self.sender} at {duration(self.time)}{ignored}"


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
    status: int | None
    """Its wait status, where it is known."""
    words: str
    """How it ended, in a few words."""
    asked: tuple[Asked, ...]

    @property
    def heard(self) -> float | None:
        """When it was first asked to end and did not ignore it; None: never."""
        return next((one.time for one in self.asked if one.heard and one.number != signals.KILL), None)

    @property
    def tone(self) -> Tone:
        """What to think of its end. `exit 143` of somebody who was sent SIGTERM is as good as an end by that signal."""
        if self.how.is_kill:
            return Tone.KILLED
        if self.how in (How.ALIVE, How.UNKNOWN):
            return Tone.UNKNOWN
        told = {128 + one.number for one in self.asked}
        if self.how is How.FAILED and self.status is not None and signals.exit_code(self.status) not in told:
            return Tone.FAILED
        return Tone.FAIR


class Step(Enum):
    """What happens at a moment that is marked; the value is what the JSON report has."""

    STOP = "stop"
    """The stop signal, or the wish to stop, arrives."""
    FORWARD = "forward"
    """PID 1 sends it on: what came before was its drain."""
    KILL = "kill"
    """The first SIGKILL."""


@dataclass(frozen=True)
class Mark:
    """A moment of the stop."""

    time: float
    words: str
    step: Step


@dataclass(frozen=True)
class Phase:
    """A part of the stop: `drain` until PID 1 sends the signal on, `grace` until the first SIGKILL or the end, then `kill`."""

    name: str
    began: float
    ended: float


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
    source: str
    blind: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What the caller knows besides: what was lost, say."""
    grace: float | None = None
    """Seconds that whoever stands outside gave; None: not known."""

    @property
    def killed(self) -> tuple[Bar, ...]:
        """Those who had no say in their end."""
        return tuple(bar for bar in self.bars if bar.how.is_kill)

    def told(self, bar: Bar) -> float | None:
        """From when on a process is shown as told: since it heard a signal. Where the source sees none, nobody is shown as not told."""
        return bar.began if bar.heard is None and self.source in _SEES_NO_SIGNALS else bar.heard

    def telling(self, most: int) -> tuple[Bar, ...]:
        """At most so many of its bars, in their order: PID 1, then who was killed or failed, go before the others."""
        rank = {Tone.KILLED: 0, Tone.FAILED: 1, Tone.UNKNOWN: 2, Tone.FAIR: 3}
        chosen = sorted(self.bars, key=lambda bar: (bar.inside != 1, rank[bar.tone]))[:most]
        return tuple(sorted(chosen, key=self.bars.index)) if len(chosen) < len(self.bars) else self.bars

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Its parts, in the order of time; those without any length are left out."""
        at = {mark.step: mark.time for mark in self.marks}
        end = max(self.seconds, *at.values()) if at else self.seconds
        forward, kill = at.get(Step.FORWARD, 0.0), at.get(Step.KILL, end)
        forward = forward if forward >= _DRAINS else 0.0
        bounds = ("drain", 0.0, min(forward, kill)), ("grace", min(forward, kill), kill), ("kill", kill, end)
        return tuple(Phase(*one) for one in bounds if one[2] > one[1])

    def verdict(self) -> tuple[str, str]:
        """Two sentences: how long it took and with what status; who was killed, and by whom."""
        took = f"{self.seconds:.1f} s" if self.seconds >= 0.1 else duration(self.seconds)
        first = f"stopped after {took}, {_status_in_words(self.status)}"
        unknown = [bar for bar in self.bars if bar.how is How.UNKNOWN]
        if not self.killed and unknown:
            return (
                first,
                f"how {len(unknown)} of {len(self.bars)} processes ended is not known, none was seen SIGKILLed",
            )
        if not self.killed:
            return first, f"all {len(self.bars)} processes ended by themselves, none was SIGKILLed"
        by_killer: dict[str, list[str]] = {}
        for bar in self.killed:
            by_killer.setdefault(_killer_in_words(bar), []).append(bar.name)
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
            "notes": list(self.notes),
            "grace": self.grace,
            "marks": [
                {"time": round(mark.time, 6), "words": mark.words, "step": mark.step.value} for mark in self.marks
            ],
            "processes": [
                {
                    "name": bar.name,
                    "inside": bar.inside,
                    "began": round(bar.began, 6),
                    "ended": None if bar.ended is None else round(bar.ended, 6),
                    "how": bar.how.name.lower(),
                    "status": bar.status,
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

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> Timeline:
        """The timeline that `as_json` wrote."""
        return cls(
            found["title"],
            tuple(_bar_of_json(one) for one in found["processes"]),
            tuple(Mark(one["time"], one["words"], Step(one["step"])) for one in found["marks"]),
            found["seconds"],
            found["status"],
            found["source"],
            tuple(found["blind"]),
            tuple(found["notes"]),
            found["grace"],
        )


def _bar_of_json(found: Mapping[str, Any]) -> Bar:
    return Bar(
        **{key: value for key, value in found.items() if key not in ("how", "asked")},
        how=How[found["how"].upper()],
        asked=tuple(
            Asked(one["time"], _number_of(one["signal"]), one["heard"], one["sender"]) for one in found["asked"]
        ),
    )


def _number_of(name: str) -> int:
    return signals.number_of(name) or int(name.removeprefix("signal "))  # the C library's own two have no name


def of(
    account: Account,
    title: str,
    *,
    stop_signal: int = signals.TERM,
    stopped: float | None = None,
    outside: str = "outside",
    notes: tuple[str, ...] = (),
    grace: float | None = None,
) -> Timeline:
    """The stop in an account: it begins when `stop_signal` reached PID 1 from outside, last time before its end.

    `stopped` (seconds of CLOCK_MONOTONIC) is the beginning where the account's source saw no signals. `outside` is what to call
    whoever stands outside the container, `grace` the seconds that it gives. Raises ValueError when neither says when the stop began.
    """
    init = account.init
    arrivals = [one.time for one in init.signals if one.number == stop_signal and one.sender is Sender.OUTSIDE]
    if stopped is not None:
        arrivals = [time for time in arrivals if time >= stopped]
    origin = arrivals[0] if arrivals else stopped
    if origin is None:
        raise ValueError(
            f"no {signals.name_of(stop_signal)} from outside reached PID 1, and `stopped` does not say when the stop began"
        )
    bars = tuple(
        _bar(account, process, origin, outside)
        for process in account.processes
        if process.ended is None or process.ended >= origin
    )
    return Timeline(
        title,
        tuple(sorted(bars, key=lambda bar: (bar.began, bar.inside or 0))),
        tuple(_marks(account, origin, stop_signal, arrived=bool(arrivals), outside=outside)),
        max((bar.ended for bar in bars if bar.ended is not None), default=0.0),
        init.status,
        account.source,
        account.blind,
        notes,
        grace,
    )


def _bar(account: Account, process: Process, origin: float, outside: str) -> Bar:
    how = account.how(process)
    ended = None if process.ended is None else process.ended - origin
    asked = tuple(
        Asked(one.time - origin, one.number, one.fate in (Fate.DELIVERED, Fate.PENDING), _sender(one, outside))
        for one in process.signals
        if one.time >= origin and one.number not in _QUIET and (ended is None or one.time - origin <= ended)
    )
    return Bar(
        process.name,
        process.inside,
        max(0.0, process.born - origin),
        ended,
        how,
        process.status,
        _words(how, process, outside),
        asked,
    )


def _sender(signal: Signal, outside: str) -> str:
    return f"{outside} ({signal.sender_name})" if signal.sender is Sender.OUTSIDE else signal.sender_name


def _words(how: How, process: Process, outside: str) -> str:
    match how:
        case How.FINISHED | How.FAILED | How.SIGNALLED if process.status is not None:
            return signals.ended_how(process.status)
        case How.ALIVE:
            return "still alive"
        case How.ENDED:
            return "ended, status unknown"
        case How.UNKNOWN:
            return "ended, unknown how"
        case How.KILLED_BY_NAMESPACE_END:
            return "SIGKILL as PID 1 left"
        case How.KILLED_FROM_OUTSIDE:
            return f"SIGKILL by {outside}"
        case How.KILLED_BY_PEER:
            return "SIGKILL by a peer"
        case _:
            return str(how.value)


def _marks(account: Account, origin: float, stop_signal: int, *, arrived: bool, outside: str) -> Iterable[Mark]:
    """In the order of time: the stop signal, what PID 1 made of it, the first kill."""
    name = signals.name_of(stop_signal)
    everything = sorted(
        ((one, process) for process in account.processes for one in process.signals if one.time >= origin),
        key=lambda pair: pair[0].time,
    )
    if not arrived:
        yield Mark(0.0, f"{outside} asks PID 1 to stop", Step.STOP)
    elif any(one.time == origin and one.fate is Fate.IGNORED for one, process in everything if process.is_init):
        yield Mark(0.0, f"{name} reaches PID 1, which has no handler: the kernel drops it", Step.STOP)
    else:
        yield Mark(0.0, f"{name} reaches PID 1", Step.STOP)
    forwarded = next(
        (one for one, _ in everything if one.sender is Sender.INIT and one.number not in (*_QUIET, signals.KILL)), None
    )
    if forwarded is not None:
        yield Mark(forwarded.time - origin, f"PID 1 sends {signals.name_of(forwarded.number)} on", Step.FORWARD)
    kill = next((one for one, _ in everything if one.number == signals.KILL and one.fate is Fate.DELIVERED), None)
    if kill is not None:
        by = {Sender.OUTSIDE: outside, Sender.INIT: "PID 1"}.get(
            kill.sender, kill.sender.value if kill.sender is Sender.NAMESPACE_END else kill.sender_name
        )
        yield Mark(kill.time - origin, f"SIGKILL by {by}", Step.KILL)


def duration(seconds: float) -> str:
    """`3 ms`, `0.45 s`, `10.1 s`: as many digits as are of use."""
    if 0.0005 <= seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if 0.0005 <= seconds < 9.995 else f"{round(seconds, 1):g} s"


def span_of(timelines: Iterable[Timeline]) -> float:
    """The time that a common scale must cover, in seconds: what makes several timelines comparable."""
    return max([0.01, *(timeline.seconds for timeline in timelines)])


def ticks(span: float) -> Sequence[float]:
    """Round moments for an axis of `span` seconds: 0, and up to six more."""
    step = next((step for step in _STEPS if span / step <= 6), 300.0)
    return [step * number for number in range(int(span / step + 1e-9) + 1)]


# --- in a terminal ---

LEGEND = "T told by SIGTERM, t ignored it  ─ not told  ━ at work  ● ended itself  ✗ killed"


def render(timeline: Timeline, width: int = 80, beside: Sequence[Timeline] = ()) -> Text:
    """The timeline as lines of `width` columns, with the scale and the columns of those that stand beside it.

    It reads without colour, too (`LEGEND`). Needs rich.
    """
    from rich.text import Text  # noqa: PLC0415 - an extra: only who draws in a terminal needs it

    alike = [timeline, *beside]
    span = span_of(alike)
    names = max(len(bar.name) for one in alike for bar in one.bars)
    words = max(len(bar.words) for one in alike for bar in one.bars)
    # name, PID (4), bar, seconds (7), words, with two blanks between
    columns = max(10, width - names - 4 - 7 - words - 8)
    text = Text(no_wrap=True, overflow="ignore")
    text.append(f"{timeline.title}\n", "bold")
    for sentence in (*timeline.verdict(), *timeline.notes):
        text.append(wrap(sentence, width) + "\n")
    for mark in timeline.marks:
        text.append(f"  {mark.time:6.2f} s  {mark.words}\n", "dim")
    text.append(f"{'':{names}}  {'PID':>4}  {_axis(span, columns)}  {'ended':>7}  how\n", "dim")
    for bar in timeline.bars:
        ended = "" if bar.ended is None else f"{bar.ended:5.2f} s"
        text.append(f"{bar.name:{names}}  {bar.inside or '?':>4}  ")
        text.append(_line(bar, timeline.told(bar), columns, span), bar.tone.value)
        text.append(f"  {ended:>7}  ")
        text.append(f"{bar.words}\n", bar.tone.value)
    for gap in timeline.blind:
        text.append(wrap(f"not seen: {gap}", width) + "\n", "yellow")
    return text


def wrap(sentence: str, width: int) -> str:
    """A sentence below a title: indented, and more so from its second line on."""
    return textwrap.fill(sentence, width, initial_indent="  ", subsequent_indent="    ")


def _killer_in_words(bar: Bar) -> str:
    if bar.how is How.KILLED_BY_NAMESPACE_END:
        return "by the kernel as PID 1 left"
    return bar.words.removeprefix("SIGKILL").lstrip(", ")


def _status_in_words(status: int | None) -> str:
    if status is None:
        return "exit status not known"
    code = signals.exit_code(status)
    meaning = f" (128 + {signals.name_of(code - 128)})" if code - 128 in signals.ALL else ""
    return f"exit status {code}{meaning}"


def _column(time: float, columns: int, span: float) -> int:
    return min(columns - 1, round(time / span * (columns - 1)))


def _axis(span: float, columns: int) -> str:
    line = [" "] * columns
    *others, last = ticks(span)
    for tick, label in [*((tick, f"{tick:g}") for tick in others), (last, f"{last:g} s")]:
        at = min(_column(tick, columns, span), columns - len(label))
        line[at : at + len(label)] = label
    return "".join(line)


def _line(bar: Bar, told: float | None, columns: int, span: float) -> str:
    line = [" "] * columns
    last = _column(span if bar.ended is None else bar.ended, columns, span)
    for at in range(_column(bar.began, columns, span), last + 1):
        line[at] = "─" if told is None or at < _column(told, columns, span) else "━"
    if bar.ended is not None:
        line[last] = "✗" if bar.how.is_kill else "●"
    for one in bar.asked:
        at = _column(one.time, columns, span)
        if one.number != signals.KILL:
            # told and gone within a column: the end is worth more than the letter, if there is no room for both
            at = at if at < last or bar.ended is None else max(0, last - 1)
            line[at] = one.letter if at != last else line[at]
    return "".join(line).ljust(columns)
