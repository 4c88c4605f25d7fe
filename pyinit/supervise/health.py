"""Whether an app as a whole does its work: one question after the other, whichever of its instances answers.

It tells nothing of one instance: that is what `ready` is for. So nobody is stopped for it; it is said, and on the file's word the app
is reloaded. (What does not answer may be a database behind all of them, and a restart would take the rest away too.)

`Health` is what has come of it; an `Attempt` asks once, and waits for nothing.
"""

import os

from pyinit.init import signals
from pyinit.supervise import process, ready
from pyinit.supervise.spec import COMMAND

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Final

    from pyinit.supervise.spec import App

HEALTHY, UNHEALTHY = "healthy", "unhealthy"


class Health:
    """What the attempts have shown so far."""

    __slots__ = ("failures", "state", "why")

    def __init__(self) -> None:
        self.state: str | None = None
        """None while nobody knows: no instance is ready, or none has been asked."""
        self.failures = 0
        """In a row."""
        self.why = ""
        """What was wrong the last time; empty where nothing was."""

    def tried(self, why: str, most: int) -> bool:
        """After an attempt; `why` it failed is empty where it did not. Whether it has failed `most` times more."""
        self.why = why
        self.failures = self.failures + 1 if why else 0
        is_enough = why != "" and self.failures % most == 0
        if is_enough or not why:
            self.state = UNHEALTHY if why else HEALTHY
        return is_enough


class Attempt:
    """One question: a program that is to end with 0, or an address that is to answer. Raises OSError, ValueError or StartError."""

    def __init__(self, app: "App") -> None:
        assert app.health is not None
        self.app: Final = app
        self.pid = 0
        self.probe: ready.Probe | None = None
        if app.health["kind"] != COMMAND:
            self.probe = ready.Probe(app.health)
            return
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            words, user = app.health[COMMAND], (app.uid, app.gid)
            self.pid = process.spawn(words, app.environment, app.cwd, {0: null, 1: null, 2: null}, user=user)
        finally:
            os.close(null)

    def close(self) -> None:
        """Nobody waits for it any more. A program is killed, with those of its session, and still to be reaped."""
        if self.probe is not None:
            self.probe.close()
        elif self.pid:
            try:
                os.killpg(self.pid, signals.KILL)
            except OSError:
                pass  # it has just ended
