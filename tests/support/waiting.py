"""The one way to wait in a test: for a condition, with a deadline, and with words for the reader when it does not come."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST = 0.001
_LONGEST = 0.05


class NeverCameError(AssertionError):
    """The condition did not come true in time."""


def until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Poll `condition` until it gives something true, and return that.

    A condition may raise while it is not yet true: the last exception is the cause of the error at the deadline. It is asked
    at least once after the deadline has passed, so a machine that stalls for a moment fails no test.
    """
    began = time.monotonic()
    pause = _SHORTEST
    while True:
        late = time.monotonic() - began >= timeout
        failure: Exception | None = None
        answer: T | None = None
        try:
            answer = condition()
        except NeverCameError:
            raise  # a wait within this wait: its words are better
        except Exception as error:  # noqa: BLE001 (whatever it raises, it is not true yet)
            failure = error
        if failure is None and answer:
            return answer
        if late:
            last = f"it raised {failure!r}" if failure is not None else f"it said {answer!r}"
            raise NeverCameError(f"waited {timeout:g} s for {what}; the last time we looked {last}") from failure
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)
