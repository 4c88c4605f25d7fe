"""What a source tells the observer as it happens. Numbers are the initial PID namespace's, times seconds of CLOCK_MONOTONIC."""

from __future__ import annotations

from typing import NamedTuple


class UnavailableError(Exception):
    """A source that is not to be had here; the message says why."""


class Born(NamedTuple):
    """A new process or thread; `thread` is who did it."""

    time: float
    thread: int
    child: int
    name: str
    is_thread: bool


class Renamed(NamedTuple):
    """A thread got a name, by exec or by its own wish."""

    time: float
    thread: int
    name: str


class Exited(NamedTuple):
    """A thread ended. `status`: the wait status of its process, were it the last one; None where the source does not tell."""

    time: float
    thread: int
    status: int | None = None


class Signalled(NamedTuple):
    """A signal was generated."""

    time: float
    thread: int
    thread_name: str
    receiver: int
    number: int
    code: int
    result: int


class Delivered(NamedTuple):
    """A signal is about to be delivered. `sender` is a PID of the receiver's namespace; 0: somebody outside, or the kernel."""

    time: float
    thread: int
    number: int
    code: int
    sender: int


class Leaving(NamedTuple):
    """A thread begins to end, and is held until this has been looked at."""

    time: float
    thread: int


class Touched(NamedTuple):
    """Somebody wrote a thread's oom_score_adj."""

    time: float
    thread: int
    touched: int


class Marked(NamedTuple):
    """Somebody wrote to this instance's trace_marker."""

    time: float
    thread: int
    text: str


class Lost(NamedTuple):
    """The buffer was full: so many events are missing, at least, and nobody knows from when."""

    events: int
    time: float = 0.0


Event = Born | Renamed | Exited | Signalled | Delivered | Leaving | Touched | Marked | Lost
