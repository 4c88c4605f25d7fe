"""When is it ready? The first that applies: what the user said; HEALTHCHECK; a socket listening on an exposed port; else it has settled.

Quiet output is no sign: a server that loads for ten seconds says nothing either. *Settled* is no proof, so what is judged after it
is looked at twice (`runner`). One that never comes to rest is given half a minute once; the others of its kind are asked as soon as they
have looked for a while as it did then.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyinit.init.options import show
from pyinit.verify.evidence import Image, Ready

if TYPE_CHECKING:
    from pyinit.containers.engine import Container
    from pyinit.containers.remote import Watch

QUIET = 2.0
"""Seconds without any change after which a container has settled."""
SETTLE_LIMIT = 30.0
UNSEEN = 5.0
"""Seconds that a container gets where nothing of it can be seen and nothing says when it is ready."""

SETTLED = "settled"


class NotReadyError(Exception):
    """It did not become ready; the message says how it was asked, for how long, and shows its last words."""


@dataclass(frozen=True)
class Readiness:
    """How to find out, decided once for all containers of a subject."""

    log: str = ""
    port: int = 0
    command: tuple[str, ...] = ()
    timeout: float = 60.0
    patience: float = 1.0
    """How many times as long a container is to be quiet before it counts as settled."""
    looks: frozenset[tuple[str, int]] = frozenset()
    """What the first container had taught, if it never came to rest (`Ready.looks`)."""

    def taught(self, first: Ready | None) -> Readiness:
        """What the first container took is found once, and used by all others."""
        return replace(self, looks=first.looks) if first else self

    def how(self, image: Image) -> str:
        """In words."""
        if self.log:
            return "--ready-log"
        if self.port:
            return "--ready-tcp"
        if self.command:
            return "--ready-cmd"
        if image.healthcheck:
            return "HEALTHCHECK"
        if image.ports:
            return "listening on " + " or ".join(str(port) for port in image.ports)
        return SETTLED

    def wait(self, image: Image, container: Container, watch: Watch | None) -> Ready:
        """Until it is ready. Raises NotReadyError; one that has ended is never ready."""
        began = time.monotonic()
        how = self.how(image)
        # before anything is asked of it: its last words say more than an answer that does not come
        _must_run(container)
        looks: frozenset[tuple[str, int]] = frozenset()
        if how == SETTLED:
            how, looks = self._settle(container, watch)
        else:
            while not self._is_ready(image, container, watch):
                _must_run(container)
                if time.monotonic() - began > self.timeout:
                    raise NotReadyError(f"not ready within {self.timeout:g} s ({how}){_last_words(container)}")
                time.sleep(0.1)  # logs, sockets and commands are asked: nobody tells us
        _must_run(container)
        return Ready(how, time.monotonic() - began, looks)

    def _is_ready(self, image: Image, container: Container, watch: Watch | None) -> bool:
        if self.log:
            return re.search(self.log, container.logs(), re.MULTILINE) is not None
        if command := self.command or ((image.healthcheck) if not self.port else ()):
            return container.execute(command)[0] == 0
        wanted = {self.port} if self.port else set(image.ports)
        if watch is None:
            raise NotReadyError(
                f"it cannot be seen who listens on {', '.join(map(str, sorted(wanted)))} in this runtime: "
                "give --ready-log or --ready-cmd"
            )
        return bool(wanted & set(watch.listening()))

    def _settle(self, container: Container, watch: Watch | None) -> tuple[str, frozenset[tuple[str, int]]]:
        if watch is None:
            deadline = time.monotonic() + UNSEEN * self.patience
            while time.monotonic() < deadline:
                _must_run(container)
                time.sleep(0.2)  # there is nothing to wait for: the runtime shows nothing
            return f"given {UNSEEN * self.patience:g} s, for nothing of it can be seen", self.looks
        if self.looks:
            self._look_alike(container, watch)
            return "at work, as the first had been", self.looks
        rest, _ = watch.settle(QUIET * self.patience, SETTLE_LIMIT * self.patience)
        if rest:
            return SETTLED, self.looks
        return f"at work for {SETTLE_LIMIT * self.patience:g} s", _looks(watch)

    def _look_alike(self, container: Container, watch: Watch) -> None:
        """Until everybody is there who had been there for a while in the first, and has been for a while too."""
        deadline = time.monotonic() + SETTLE_LIMIT
        while not self.looks <= _looks(watch) and time.monotonic() < deadline:
            _must_run(container)
            time.sleep(0.1)  # a look at /proc: nothing there wakes a reader when a mask changes


def _looks(watch: Watch) -> frozenset[tuple[str, int]]:
    """Those who have been there for longer than what comes and goes."""
    now = watch.agent.now()
    return frozenset((one.name, one.caught) for one in watch.look() if not one.is_zombie and now - one.born > QUIET)


def _must_run(container: Container) -> None:
    state = container.state
    if not state["Running"] or state.get("Restarting"):
        reason = f" ({state['Error']})" if state.get("Error") else ""
        raise NotReadyError(f"it ended by itself with status {state['ExitCode']}{reason}{_last_words(container)}")


def _last_words(container: Container) -> str:
    lines = [show(line.rstrip()) for line in container.logs().splitlines() if line.strip()][-3:]
    return "; its last words: " + " / ".join(lines) if lines else "; it wrote nothing"
