"""Stops a container that somebody runs, and looks at it; and finds out what the engine says of one, which both words need."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyinit.containers.account import How
from pyinit.containers.engine import BROKEN, EndedError
from pyinit.containers.remote import LostError, ObserverError
from pyinit.init import signals
from pyinit.verify.acts import END_WITHIN, NEAR_DEADLINE, UNSEEN, witnessed
from pyinit.verify.evidence import Stop, listed
from pyinit.verify.explain import Prediction, Target, Will, explain
from pyinit.verify.subject import has_own_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyinit.containers.engine import Container
    from pyinit.containers.remote import Agent, Watch

SCHEMA = "pyinit-stop/1"
"""Of the JSON."""

DEFAULT_GRACE = 10
"""Seconds that engines give where nobody says otherwise."""

SLOW = 1.0
"""Seconds from which on a stop is worth a word about who was last."""


class TargetError(Exception):
    """It cannot be stopped, or explained; the message says why, and what to do."""


def target_of(container: Container, grace: int | None = None, signal: int | None = None) -> Target:
    """What the engine says of a container that runs. `grace` and `signal`: instead of its own. Raises TargetError, EngineError."""
    found = container.attributes
    config, state = found["Config"], found["State"]
    name = str(found["Name"]).lstrip("/")
    if state.get("Restarting"):
        raise TargetError(
            f"{name} is between two runs: it ended with status {state['ExitCode']} and is to be started again "
            f"(docker logs {name} says why it ends; docker stop {name} ends that)"
        )
    if not state["Running"]:
        status = state.get("Status", "stopped")
        ended = (
            f": it ended with status {state['ExitCode']} at {state['FinishedAt'][:19]}Z" if status == "exited" else ""
        )
        raise TargetError(f"{name} does not run ({status}){ended}; docker start {name} starts it")
    own = signals.number_of(str(config.get("StopSignal") or "")) or signals.TERM
    said = config.get("StopTimeout")
    seconds, where = (grace, "--time") if grace is not None else (said, "its StopTimeout")
    if seconds is None:
        seconds, where = DEFAULT_GRACE, "the engine's default"
    return Target(
        name, str(config.get("Image", "")), signal or own, None if seconds < 0 else seconds, where, bool(state.get("Paused"))
    )  # fmt: skip


def check(container: Container, target: Target, *, own_signal: bool) -> None:
    """Raises TargetError where a stop would not be what was asked for."""
    if target.grace is None:
        raise TargetError(f"{target.name} may take as long as it wants (StopTimeout -1): say how long, --time SECONDS")
    if own_signal:
        return
    policy = container.attributes["HostConfig"].get("RestartPolicy") or {}
    if policy.get("Name") not in (None, "", "no"):
        raise TargetError(
            f"{target.name} is started again when it ends otherwise than by docker stop (--restart {policy['Name']}): "
            f"leave --signal out, or docker update --restart no {target.name} first"
        )
    if target.paused:
        raise TargetError(
            f"{target.name} is paused, so --signal would not reach it: leave it out, or docker unpause it first"
        )


def predict(agent: Agent, container: Container, target: Target) -> Prediction:
    """What is foretold. Raises TargetError where its processes cannot be looked at."""
    unseen = _unseen(container)
    if unseen:
        raise TargetError(f"{target.name}: its processes cannot be looked at: {unseen}")
    try:
        everybody = agent.facts(container.pid)
    except EndedError as error:
        raise TargetError(f"{target.name}: {error}") from None
    except LostError:
        raise
    except ObserverError as error:
        raise TargetError(f"{target.name}: its processes cannot be looked at: {_in_words(error)}") from None
    if not any(one.inside == 1 for one in everybody):
        raise TargetError(f"{target.name} has ended while it was looked at")
    return explain(everybody, target)


def _unseen(container: Container) -> str:
    """Why nothing of it can be seen; empty: it can be tried."""
    runtime = str(container.attributes["HostConfig"].get("Runtime") or "")
    return f"the runtime {runtime} has a kernel of its own" if has_own_kernel(runtime) else ""


def _in_words(error: ObserverError) -> str:
    if error.kind == "ValueError":
        return "it shares the PID namespace of others (--pid), so which of them are its own cannot be told"
    return str(error)


@dataclass(frozen=True)
class Stopped:
    """What came of it. `unseen`: why nothing is known but the outcome."""

    target: Target
    stop: Stop
    foretold: Prediction | None
    unseen: str = ""

    @property
    def status(self) -> int:
        """The exit status of the word: 0, 1 (somebody was SIGKILLed), or 2 (it is not known)."""
        if self.stop.forced or self.stop.killed:
            return 1
        return 2 if self.stop.account is None or self._unknown() else 0

    def _unknown(self) -> bool:
        return any(self.stop.how(process) in (How.UNKNOWN, How.ALIVE) for process in self.stop.members)

    def guests(self) -> tuple[str, ...]:
        """Exec sessions that were killed with it: nobody asks them, and they do not count."""
        account = self.stop.account
        if account is None:
            return ()
        mine = {process.inside for process in self.stop.members}
        others = [one for one in account.processes if one.inside not in mine and account.how(one).is_kill]
        return (f"exec sessions, which nobody asks to end, do not count: {listed(others)}",) if others else ()

    def verdict(self) -> str:
        """One line: how long it took and with what status, who was killed and by whom, who held it up."""
        stop = self.stop
        if stop.timeline is None:
            how = (
                "the engine SIGKILLed it"
                if stop.forced
                else "PID 1 ended by itself; whether others were SIGKILLed is not known"
            )
            return f"stopped after {stop.seconds:.1f} s, exit status {stop.status}; {how}"
        return "; ".join([*stop.timeline.verdict(), *self._held_up()])

    def _held_up(self) -> list[str]:
        stop = self.stop
        if stop.killed and self.foretold is not None and (stop.forced or self.foretold.will is Will.BE_KILLED):
            blamed = [f"{fate.label} ({fate.words})" for fate in self.foretold.held_up_by()[:3]]
            return [f"held up by {', '.join(blamed)}"] if stop.seconds >= SLOW else []
        ended = [process for process in stop.members if not process.is_init and process.ended is not None]
        if stop.seconds < SLOW or not ended:
            return []
        last = max(ended, key=lambda process: process.ended or 0.0)
        return [
            f"held up by {listed([last])}, which was the last but PID 1, after {(last.ended or 0.0) - stop.began:.1f} s"
        ]

    def as_json(self) -> Mapping[str, Any]:
        """Everything, in types that `json` knows."""
        stop, target = self.stop, self.target
        return {
            "schema": SCHEMA,
            "container": target.as_json(),
            "result": self.status,
            "verdict": self.verdict(),
            "seconds": round(stop.seconds, 6),
            "status": stop.status,
            "forced": stop.forced,
            "killed": [
                {"inside": one.inside, "name": one.name, "how": stop.how(one).name.lower()} for one in stop.killed
            ],
            "source": stop.source,
            "unseen": self.unseen,
            "foretold": None if self.foretold is None else self.foretold.as_json(),
            "timeline": stop.timeline and stop.timeline.as_json(),
            "account": stop.account and stop.account.as_json(),
        }


def stop(agent: Agent, container: Container, target: Target, *, own_signal: bool) -> Stopped:
    """Stops it, watched. `own_signal`: by its own stop signal, as docker stop does. Raises TargetError, EngineError, ObserverError."""
    grace = target.grace or 0.0  # no grace at all is refused by `check`
    foretold, unseen = None, ""
    try:
        foretold = predict(agent, container, target)
    except TargetError as error:
        unseen = str(error)
    with ExitStack() as undo:
        watch = None if unseen else _watch(agent, container, undo)
        before = watch.look() if watch is not None else ()
        status_of = undo.enter_context(container.awaited(grace + END_WITHIN))
        target_of(container)  # it may have ended by itself meanwhile; from here on the engine tells how
        began = agent.now()
        mine = time.monotonic()
        if own_signal:
            container.stop(int(grace))
        else:
            container.kill(target.stop_signal)
            if not _has_ended(container, watch, grace):
                container.kill("KILL")
        seconds = time.monotonic() - mine
        status = status_of()
        seen = Stop(grace, seconds, status, forced=False, logs="", before=before)
        if watch is None:
            forced = status == 128 + signals.KILL and seconds >= NEAR_DEADLINE * grace
            return Stopped(target, replace(seen, forced=forced), foretold, unseen)
        return Stopped(target, witnessed(seen, watch, target.name, target.stop_signal, began), foretold)


def _has_ended(container: Container, watch: Watch | None, grace: float) -> bool:
    """Whether it ends within that time."""
    if watch is not None:
        return watch.wait(grace)
    try:
        return container.wait(max(0.1, grace)) is not None
    except BROKEN:  # it is removed already; an engine that has gone is found out when its status is asked for
        return True


def _watch(agent: Agent, container: Container, undo: ExitStack) -> Watch | None:
    try:
        return undo.enter_context(agent.watch(container.pid))
    except LostError:
        raise
    except EndedError as error:
        raise TargetError(str(error)) from None
    except ObserverError as error:
        if error.kind in UNSEEN:
            return None
        raise
