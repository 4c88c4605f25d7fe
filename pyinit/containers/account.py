"""The account of a PID namespace: plain facts about its processes, and the one decision of how each of them ended.

Times are seconds of CLOCK_MONOTONIC (what `time.monotonic()` says); PIDs are the observer's unless they are called `inside`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Iterable

AT_ONCE = 0.05
"""Seconds within which an end counts as "with PID 1" where no tracepoint says so: PID 1 is reported dead last, about 1 ms later."""


class Sender(Enum):
    """Where a signal came from."""

    INIT = "PID 1"
    MEMBER = "a process of the namespace"
    OUTSIDE = "outside"
    KERNEL = "the kernel"
    NAMESPACE_END = "the kernel, as PID 1 left"


class Fate(Enum):
    """What became of a signal when it was generated (`res` of the tracepoint signal_generate)."""

    DELIVERED = "delivered"
    IGNORED = "ignored"
    """The receiver ignores it, or is a PID 1 that has no handler for it."""
    PENDING = "already pending"
    LOST = "lost"


@dataclass(frozen=True)
class Signal:
    """One signal generated to a process. The sender's PID is None where the observer has no number for it."""

    time: float
    number: int
    fate: Fate
    sender: Sender
    sender_pid: int | None
    sender_name: str


class How(Enum):
    """How a process ended, and by whom; the value is how it reads."""

    ALIVE = "alive"
    FINISHED = "finished"
    FAILED = "failed"
    SIGNALLED = "ended by a signal that it could have handled"
    ENDED = "ended by itself"
    """One of these three: the kernel did not tell the status, but everything that was sent, and no SIGKILL was."""
    KILLED_BY_INIT = "SIGKILL by PID 1"
    KILLED_BY_NAMESPACE_END = "SIGKILL by the kernel, as PID 1 left"
    KILLED_FROM_OUTSIDE = "SIGKILL from outside"
    KILLED_BY_PEER = "SIGKILL by a process of the namespace"
    KILLED_BY_KERNEL = "SIGKILL by the kernel"
    KILLED = "SIGKILL, sender unknown"
    UNKNOWN = "not known"

    @property
    def is_kill(self) -> bool:
        """Whether it was killed: it had no say in it."""
        return self.name.startswith("KILLED")


_KILLERS = {
    Sender.INIT: How.KILLED_BY_INIT,
    Sender.MEMBER: How.KILLED_BY_PEER,
    Sender.OUTSIDE: How.KILLED_FROM_OUTSIDE,
    Sender.KERNEL: How.KILLED_BY_KERNEL,
    Sender.NAMESPACE_END: How.KILLED_BY_NAMESPACE_END,
}


@dataclass(frozen=True)
class Process:
    """One process. `inside` is its PID in the namespace, `pid` the observer's; None where it was gone before either could be read."""

    name: str
    command: str
    pid: int | None
    inside: int | None
    parent: int | None
    """The parent's PID as the observer numbers it: as it was at birth, or when first seen."""
    born: float
    ended: float | None
    status: int | None
    """Its wait status (see wait(2)); None while it lives and where the kernel did not tell."""
    signals: tuple[Signal, ...]
    """What it was sent, oldest first: the last 200 SIGCHLD and the last 200 others."""

    @property
    def is_init(self) -> bool:
        """Whether this is the namespace's PID 1."""
        return self.inside == 1


@dataclass(frozen=True)
class Account:
    """What an observer saw. `blind` says in words what it could not see: an empty tuple is a complete account."""

    source: str
    """`trace`: tracepoints and pidfds. `cn_proc`: the process connector and pidfds. `pidfd`: pidfds and repeated looks at /proc. `ptrace`:
    what its name says.
    """
    processes: tuple[Process, ...]
    """By birth. Those that ended longest ago are dropped first when there are too many (`Observer(limit=)`)."""
    blind: tuple[str, ...]
    lost: int = 0
    """How many events were lost, at least: if any were, anything may be missing."""
    deadline: float | None = None
    """When the engine's patience was over: from then on a SIGKILL to PID 1 is the engine's. None: no engine was to end it."""

    @property
    def init(self) -> Process:
        """The namespace's PID 1."""
        return next(process for process in self.processes if process.is_init)

    def how(self, process: Process) -> How:
        """How one of the account's processes ended, and by whom as far as the source can know."""
        kill = _effective_kill(process.signals)
        if process.ended is None:
            return How.ALIVE
        if process.status is None:
            # too short-lived for a pidfd, or the kernel is older than 6.15: what it was sent is all that is known about its end
            if kill and kill.time <= process.ended:  # later it was dead already, and not reaped
                return _KILLERS[kill.sender]
            return How.ENDED if self.source == "trace" and not self.lost else How.UNKNOWN
        number = signals.term_signal(process.status)
        if not number:
            return How.FAILED if process.status else How.FINISHED
        if number != signals.KILL:
            return How.SIGNALLED
        return _KILLERS[kill.sender] if kill else self._killer_by_time(process)

    def _killer_by_time(self, process: Process) -> How:
        """No sender was seen. Certain is only what the engine did at its deadline: it killed PID 1, and with PID 1 went the others."""
        init = self.init
        if (
            self.deadline is None
            or init.ended is None
            or init.ended < self.deadline
            or init.status is None
            or signals.term_signal(init.status) != signals.KILL
            or process.ended is None
        ):
            return How.KILLED
        if process.is_init:
            return How.KILLED_FROM_OUTSIDE
        return How.KILLED_BY_NAMESPACE_END if abs(init.ended - process.ended) < AT_ONCE else How.KILLED

    def with_exit_status(self, code: int) -> Account:
        """The same where the kernel did not tell PID 1's status: the engine has the code that a shell would show, its container's.

        137 may be a SIGKILL or the program's own answer. Which one, tells what was sent, or that the engine's patience was over.
        """
        init = self.init
        if init.status is not None or init.ended is None:
            return self
        status: int | None = code << 8
        if code == 128 + signals.KILL:
            how = self.how(init)
            if how.is_kill or (how is How.UNKNOWN and self.deadline is not None and init.ended >= self.deadline):
                status = signals.KILL
            elif how is How.UNKNOWN:
                status = None
        known = replace(init, status=status)
        return replace(self, processes=tuple(known if one is init else one for one in self.processes))

    def as_json(self) -> dict[str, Any]:
        """Everything, in types that `json` knows; each process has its `how` beside its `status`."""
        return {
            "source": self.source,
            "blind": list(self.blind),
            "lost": self.lost,
            "deadline": self.deadline,
            "processes": [
                {
                    **asdict(process),
                    "how": self.how(process).name.lower(),
                    "signals": [signal_as_json(signal) for signal in process.signals],
                }
                for process in self.processes
            ],
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Account:
        """The account that `as_json` wrote."""
        processes = tuple(
            Process(
                **{key: value for key, value in one.items() if key not in ("how", "signals")},
                signals=tuple(_signal_of_json(signal) for signal in one["signals"]),
            )
            for one in found["processes"]
        )
        return cls(found["source"], processes, tuple(found["blind"]), found["lost"], found["deadline"])


def _signal_of_json(found: dict[str, Any]) -> Signal:
    return Signal(
        found["time"],
        found["number"],
        Fate[found["fate"].upper()],
        Sender[found["sender"].upper()],
        found["sender_pid"],
        found["sender_name"],
    )


def signal_as_json(signal: Signal) -> dict[str, Any]:
    """One signal in types that `json` knows."""
    return {
        **asdict(signal),
        "name": signals.name_of(signal.number),
        "fate": signal.fate.name.lower(),
        "sender": signal.sender.name.lower(),
    }


def _effective_kill(received: Iterable[Signal]) -> Signal | None:
    """The SIGKILL that took effect: the first that was delivered (a later one finds the process dying)."""
    return next((one for one in received if one.number == signals.KILL and one.fate is Fate.DELIVERED), None)
