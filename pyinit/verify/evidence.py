"""What is known of a subject, and what each act has seen: plain facts, which `judges` read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from pyinit.containers.account import How
from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyinit.containers.account import Account, Process
    from pyinit.containers.remote import Seen
    from pyinit.containers.timeline import Timeline

SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "mksh", "fish"})
INTERPRETERS = ("python", "pypy", "node", "bun", "deno", "ruby", "perl", "php", "java")


NEAR = 0.2
"""The share of a limit that, where less is left of it, has what was measured done once more."""


@dataclass(frozen=True)
class Image:
    """What an image declares, and what the options make of it."""

    name: str
    id: str
    command: tuple[str, ...]
    """Entry point and command, as they will run."""
    stop_signal: int
    declares_stop_signal: bool
    healthcheck: tuple[str, ...]
    """As an exec runs it; empty where there is none."""
    ports: tuple[int, ...]
    """Exposed TCP ports."""
    user: str
    platform: str


@dataclass(frozen=True)
class Ready:
    """How it was found out that a container is ready."""

    how: str
    """`--ready-log`, `HEALTHCHECK`, ..., `settled`: what the report names."""
    seconds: float
    looks: frozenset[tuple[str, int]] = frozenset()
    """Of one that never came to rest: the name and caught signals of each process that had been there for a while."""


@dataclass(frozen=True)
class Stop:
    """One stop of one container. Times are the observer's clock where it watched, else the tool's."""

    grace: float
    """Seconds that the engine gave."""
    seconds: float
    """From the stop signal to the end of PID 1."""
    status: int
    """The container's exit status."""
    forced: bool
    """PID 1 did not end by itself: the engine's SIGKILL ended it."""
    logs: str
    before: tuple[Seen, ...] = ()
    """Who was there when the stop began; empty where nothing could be watched."""
    account: Account | None = None
    timeline: Timeline | None = None
    oom: bool = False
    ready: Ready | None = None

    @property
    def is_close(self) -> bool:
        """Whether its duration is so near to the limit, or beyond, that a busy machine may have decided."""
        return self.forced or self.seconds > (1 - NEAR) * self.grace

    @property
    def source(self) -> str:
        """Of the account: `trace`, `cn_proc`, `pidfd`, `ptrace`; `outcome` where there is none."""
        return self.account.source if self.account else "outcome"

    @property
    def sees_signals(self) -> bool:
        """Whether every signal is in the account. (ptrace misses those that sigwait takes.)"""
        return self.account is not None and self.account.source == "trace"

    @property
    def began(self) -> float:
        """When it began, on the account's clock; 0 without an account."""
        return (self.account.init.ended or 0.0) - self.seconds if self.account else 0.0

    @property
    def members(self) -> tuple[Process, ...]:
        """The container's own processes that were alive when the stop began or were born later, PID 1 first: those of exec sessions,
        whose parents are outside, are not the container's to end.
        """
        if self.account is None or self.timeline is None:
            return ()
        init = self.account.init
        inside = {init.pid} | {seen.pid for seen in self.before if seen.parent == init.pid}
        found = []
        for process in self.account.processes:
            if process is init or process.parent in inside or process.pid in inside:
                if process.pid is not None:  # one that was gone before its number could be read is nobody's parent
                    inside.add(process.pid)
                if process.ended is None or process.ended >= self.began - 0.001:
                    found.append(process)
        return tuple(sorted(found, key=lambda process: not process.is_init))

    def how(self, process: Process) -> How:
        """How it ended."""
        return self.account.how(process) if self.account else How.UNKNOWN

    @property
    def killed(self) -> tuple[Process, ...]:
        """Members that had no say in their end, PID 1 included."""
        return tuple(process for process in self.members if self.how(process).is_kill)

    def heard(self, process: Process) -> bool:
        """Whether it was sent a signal that it could act upon, and did not ignore it, since the stop began."""
        if self.timeline is None:
            return False
        return any(bar.inside == process.inside and bar.heard is not None for bar in self.timeline.bars)

    def zombies(self) -> tuple[Seen, ...]:
        """Those who were dead and not reaped when the stop began."""
        return tuple(seen for seen in self.before if seen.is_zombie)


class Gap(Enum):
    """Of which kind the reason is that an act has left no evidence."""

    NOT_DONE = "nobody wanted it"
    ABSENT = "what it needs is not to be had for such a container: nothing has failed"
    NOT_READY = "its container did not come up"
    FAILED = "the engine, the observer or a helper failed, or what it was done to was gone"


@dataclass(frozen=True)
class Act:
    """The evidence of one act. `impossible` says why there is none, `gap` of which kind that is."""

    name: str
    reproduce: str = ""
    impossible: str = ""
    gap: Gap | None = None
    stop: Stop | None = None
    seen: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Case:
    """Everything about one subject: what the judges get."""

    image: Image
    options: Mapping[str, Any]
    acts: Mapping[str, Act]

    def act(self, name: str) -> Act:
        """The evidence of an act; one that was not done is impossible."""
        return self.acts.get(name) or Act(name, impossible="it was not done", gap=Gap.NOT_DONE)

    @property
    def plain(self) -> Stop | None:
        """The stop of the container as it is, which the others are compared with."""
        return self.act("stop").stop

    @property
    def stop_signal(self) -> str:
        """Its name."""
        return signals.name_of(self.image.stop_signal)


def describe(process: Process | Seen) -> str:
    """`12 worker`, by the container's own numbers."""
    return f"{process.inside or '?'} {process.name}"


def listed(processes: Sequence[Process | Seen], most: int = 6) -> str:
    """`7 sh, 12 worker and 3 more`."""
    shown = ", ".join(describe(process) for process in processes[:most])
    return shown + (f" and {len(processes) - most} more" if len(processes) > most else "")


def is_shell(seen: Seen) -> bool:
    """Whether that process is a shell, by its executable or, where that cannot be read, its name."""
    program = seen.program or seen.name
    if program == "busybox":
        return seen.name in SHELLS
    return program.lstrip("-") in SHELLS


def is_copy_of(seen: Seen, first: Seen) -> bool:
    """Whether it looks like a fork of `first` that executed nothing: one program with processes of its own (PostgreSQL, httpd).

    Of an interpreter the command line has to be the same, too; other programs write their part in it (`postgres: checkpointer`).
    """
    if not seen.program or seen.program != first.program:
        return False
    return seen.command == first.command or not seen.program.startswith(INTERPRETERS)
