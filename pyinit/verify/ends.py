"""How a container under test has ended, for assertions: values that compare as tests want them to, and read as sentences where they fail.

Nothing is said that is not known: who asks who was killed, where nobody could see it, is told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinit.verify.evidence import Stop


class ContainerError(Exception):
    """A container cannot be had, or done something with; the message says what, why and what to do."""


class UnseenError(ContainerError):
    """What is asked about a container's processes could not be seen; the message says why."""


@dataclass(frozen=True)
class Ended:
    """A process of a container, and what became of it."""

    name: str
    pid: int | None
    """In the container; None where it was gone before it could be read."""
    command: str
    how: str
    """In words: `SIGKILL by the engine after 10.02 s`."""

    def __str__(self) -> str:
        return f"{self.pid or '?'} {self.name}" + (f" ({self.how})" if self.how else "")


class Processes(list[Ended]):
    """Some of a container's processes. As a list it is compared with `[]`; as text it is a sentence."""

    def __init__(self, found: Iterable[Ended], one: str, several: str) -> None:
        """`one` and `several`: what is to be said of them: "was killed", "were killed"."""
        super().__init__(found)
        self._one, self._several = one, several

    @property
    def names(self) -> list[str]:
        """Their names, in the same order."""
        return [process.name for process in self]

    def __repr__(self) -> str:
        if not self:
            return f"no process {self._one}"
        count = f"1 process {self._one}" if len(self) == 1 else f"{len(self)} processes {self._several}"
        return f"{count}: {', '.join(map(str, self))}"


@dataclass(frozen=True, repr=False)
class End:
    """How a container has ended when it was asked to."""

    image: str
    exit_code: int
    duration: float
    """Seconds from the stop signal to the end of PID 1."""
    forced: bool
    """PID 1 did not end by itself within the grace period: the engine killed it."""
    out_of_memory: bool
    logs: str
    """All that it has written, stdout and stderr."""
    timeline: str
    """The stop, process by process, as text; empty where nothing could be seen."""
    stop: Stop
    """Everything that is known of it, as the checks of verify get it."""
    unseen: str
    """Why it is not known how its processes have ended; empty: it is."""
    _killed: Processes
    _zombies: Processes
    _signalled: Processes

    @property
    def killed(self) -> Processes:
        """Who was SIGKILLed, by whomever: they had no say in their end. Raises UnseenError where that is not known."""
        __tracebackhide__ = True
        return self._known(self._killed)

    @property
    def zombies(self) -> Processes:
        """Who was dead and not reaped when the stop began, and not just for a moment. Raises UnseenError where nothing could be seen."""
        __tracebackhide__ = True
        return self._zombies if self.stop.account is not None else self._known(self._zombies)

    @property
    def signalled(self) -> Processes:
        """Whom a signal ended that they could have handled. Raises UnseenError where that is not known."""
        __tracebackhide__ = True
        return self._known(self._signalled)

    def _known(self, processes: Processes) -> Processes:
        __tracebackhide__ = True
        if self.unseen and not processes:
            raise UnseenError(f"{self.image}: {self.unseen}")
        return processes

    def __repr__(self) -> str:
        meaning = f" ({signals.name_of(self.exit_code - 128)})" if self.exit_code - 128 in signals.ALL else ""
        words = f"{self.image} ended after {self.duration:.2f} s with exit status {self.exit_code}{meaning}"
        if self.out_of_memory:
            words += ", out of memory"
        return f"<{words}; {self.unseen if self.unseen and not self._killed else repr(self._killed)}>"


def compared(operator: str, left: object, right: object) -> list[str] | None:
    """What pytest says of a comparison that failed, where one side is processes; None: as usual."""
    if operator != "==" or not (isinstance(left, Processes) or isinstance(right, Processes)):
        return None
    found, wanted = (left, right) if isinstance(left, Processes) else (right, left)
    return [repr(found) if wanted == [] else f"{found!r}, not {wanted!r}"]
