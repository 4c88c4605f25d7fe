"""A worker's table: every reachable state, and the proof of the proof: each invariant has a broken table that must be caught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pyinit.supervise import machine
from pyinit.supervise.machine import Life
from pyinit.supervise.spec import FOREVER, App, parse
from support.supervised import app, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyinit.supervise.machine import Event, Moment, Result


def made(**keys: Any) -> App:  # noqa: ANN401
    """An app with short, whole times."""
    times = {
        "grace": 4,
        "drain": 2,
        "ready_timeout": 3,
        "min_uptime": 1,
        "backoff_first": 1,
        "backoff_max": 2,
        "restart_window": 9,
    }
    return parse(spec(app("web", ["true"], **{**times, "max_restarts": 2, **keys}))).apps[0]


APPS = {
    "usual": made(),
    "no drain": made(drain=0),
    "no grace": made(grace=0),
    "goes on anyway": made(ready={"kind": "notify"}, ready_required=False),
    "on failure": made(restart="on-failure", leave_exit_codes=[3]),
    "never": made(restart="never"),
    "no backoff": made(backoff_first=0, max_restarts=2),
    "no restarts": made(max_restarts=0),
}


OLD = 3.0
"""Seconds after which a process is as old as any other."""


class World(NamedTuple):
    """A life at time 0, and what is true of its process."""

    life: Life
    by_time: bool
    runs: bool = False
    asked: bool = False
    may_start: bool = True
    """Nobody has said STOP or LEAVE since the last START or AGAIN."""
    strays: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        life = self.life
        return (
            *(life.phase, life.deadline, life.then, life.began, life.status, life.recent, min(life.streak, 2)),
            *self[1:],
        )


class Broken(AssertionError):  # noqa: N818 (it names what is)
    """An invariant does not hold."""


def demand(holds: bool, what: str, *about: object) -> None:  # noqa: FBT001
    if not holds:
        raise Broken(f"{what}: {about}")


def events(app_: App, world: World) -> Iterator[tuple[Event, float]]:
    """What can happen next, and how long until then."""
    for kind in (machine.START, machine.LAST, machine.IS_READY, machine.DRAINED):
        yield (kind,), 0
    for kind in (machine.STOP, machine.LEAVE, machine.AGAIN):
        for grace in {app_.grace, 1.0}:
            yield (kind, grace), 0
    if world.runs:
        for status in (0, 3 << 8):
            for left in (False, True):
                yield (machine.ENDED, status, left), 0
        if world.life.phase in (machine.STARTING, machine.STOPPING, machine.KILLING):  # asked before it was executed
            yield (machine.FAILED, 127 << 8, "no such file"), 0
    if world.strays:
        yield (machine.EMPTY,), 0
    if world.life.deadline != FOREVER:
        yield (machine.TIMEOUT,), max(world.life.deadline, 0)


def follow(app_: App, world: World, event: Event, wait: float) -> World:
    """One event, all the invariants, and the world after it, which is at time 0 again."""
    before = world.life
    life, actions = machine.step(app_, before, event, wait, 1.0)
    runs, asked, strays, may_start = world.runs, world.asked, world.strays, world.may_start
    if event[0] in (machine.ENDED, machine.FAILED):
        runs, strays = False, event[0] == machine.ENDED and bool(event[2])
    if event[0] == machine.EMPTY:
        strays = False
    if event[0] in (machine.STOP, machine.LEAVE) or (
        event[0] == machine.LAST and (before.phase, event[0]) in machine.ROWS
    ):
        may_start = False
    if event[0] in (machine.START, machine.AGAIN) and before.phase not in (
        machine.STARTING,
        machine.READY,
        machine.DRAINING,
    ):
        may_start = True
    if event[0] == machine.AGAIN:
        may_start = True
    for verb in actions:
        if verb == machine.SPAWN:
            demand(not runs, "two processes at once", before, event)
            demand(not strays, "started while what was left behind may hold the port", before, event)
            demand(may_start, "started though it was to stop", before, event)
            runs, asked = True, False
        elif verb == machine.ASK:
            demand(runs, "a process that is not there was asked", before, event)
            demand(not asked, "asked twice", before, event)
            asked = True
        elif verb == machine.KILL:
            demand(runs, "a process that is not there was killed", before, event)
            # grace 0 is the one case in which nobody is asked
            demand(asked or app_.grace == 0 or event[-1] == 0, "killed without having been asked", before, event)
        elif verb in (machine.ASK_REST, machine.KILL_REST):
            demand(strays, "nobody was left behind", before, event)
    demand(
        runs == (life.phase in machine.ALIVE_PHASES), "the phase says nothing true of the process", before, event, life
    )
    demand(strays == (life.phase == machine.SWEEPING), "what is left behind is forgotten", before, event, life)
    if life.phase in machine.OVER:
        demand(life.deadline == FOREVER, "a timer of what is over", before, event, life)
    waits = life.phase in (machine.READY, machine.WAITING, *machine.OVER)
    demand(waits or life.deadline < FOREVER, "nothing would ever happen", before, event, life)
    if life.phase == before.phase and life.then == before.then and event[0] != machine.TIMEOUT:
        demand(life.deadline <= before.deadline, "a deadline was moved", before, event, life)
    demand(len(life.recent) <= app_.max_restarts, "restarted too often", before, event, life)
    shifted = life.but(
        deadline=life.deadline - wait,
        began=max(life.began - wait, -OLD),
        recent=(0.0,) * len(life.recent),  # the window has no end
        restarts=0,
        why="",
        by_time=world.by_time,
    )
    return World(shifted, world.by_time, runs, asked, may_start, strays)


def explore(app_: App) -> set[tuple[str, str]]:
    """Every state that can be reached; which phases saw which events."""
    seen: set[tuple[object, ...]] = set()
    rows = set()
    queue = [World(Life(by_time=by_time), by_time) for by_time in (False, True)]
    for world in queue:
        for event, wait in events(app_, world):
            rows.add((world.life.phase, event[0]))
            after = follow(app_, world, event, wait)
            if after.key not in seen:
                seen.add(after.key)
                queue.append(after)
    return rows


def test_every_invariant_holds_everywhere() -> None:
    """The complete reachable state space, for each kind of app; and no row of the table is there in vain."""
    rows = set()
    for one in APPS.values():
        rows |= explore(one)
    assert set(machine.ROWS) - rows == set()


def changed(monkeypatch: pytest.MonkeyPatch, phase: str, event: str, effect: Callable[[Moment], Result]) -> None:
    """The table with another effect in one place."""
    monkeypatch.setitem(machine.ROWS, (phase, event), [(phase, event, machine.always, effect)])


BROKEN: dict[str, tuple[str, str, Callable[[Moment], Result]]] = {
    "two processes at once": (machine.READY, machine.AGAIN, machine.spawn),
    "started while what was left behind may hold the port": (machine.SWEEPING, machine.TIMEOUT, machine.spawn),
    "started though it was to stop": (machine.WAITING, machine.STOP, machine.spawn),
    "asked twice": (machine.STOPPING, machine.STOP, machine.stop),
    "killed without having been asked": (machine.READY, machine.STOP, machine.kill),
    "a process that is not there was asked": (machine.WAITING, machine.LEAVE, machine.stop),
    "the phase says nothing true of the process": (machine.READY, machine.ENDED, machine.stay),
    "what is left behind is forgotten": (
        machine.READY,
        machine.ENDED,
        lambda m: (m.life.but(phase=machine.EXITED, deadline=FOREVER), []),
    ),
    "a timer of what is over": (
        machine.WAITING,
        machine.STOP,
        lambda m: (m.life.but(phase=machine.STOPPED, deadline=5.0), []),
    ),
    "nothing would ever happen": (machine.STOPPING, machine.TIMEOUT, lambda m: (m.life.but(deadline=FOREVER), [])),
    "a deadline was moved": (machine.STOPPING, machine.LEAVE, lambda m: (m.life.but(deadline=m.now + 9), [])),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_table_is_caught(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Each invariant is one that can fail."""
    changed(monkeypatch, *BROKEN[what])
    with pytest.raises(Broken, match=what):
        explore(APPS["usual"])


def test_restart_pauses() -> None:
    """The first at once, then twice as long each time, up to the longest; half of it by chance."""
    one = made(backoff_first=1, backoff_max=10)
    assert [machine.pause(one, streak, 1.0) for streak in range(7)] == [0, 1, 2, 4, 8, 10, 10]
    assert [machine.pause(one, streak, 0.0) for streak in range(4)] == [0, 0.5, 1, 2]
    assert machine.pause(one, 10_000, 1.0) == 10
    assert machine.pause(made(backoff_first=0, backoff_max=0), 5, 1.0) == 0
    assert machine.pause(made(backoff_first=5, backoff_max=0), 3, 1.0) == 5


@pytest.mark.parametrize(
    ("keys", "status", "left"),
    [
        ({"restart": "always"}, 0, False),
        ({"restart": "always", "leave_exit_codes": [0]}, 0, True),
        ({"restart": "always", "leave_exit_codes": [0]}, 9, False),
        ({"restart": "always", "leave_exit_codes": [137]}, 9, False),
        ({"restart": "always", "leave_exit_codes": [137]}, 137 << 8, True),
        ({"restart": "on-failure"}, 0, True),
        ({"restart": "on-failure"}, 1 << 8, False),
        ({"restart": "on-failure"}, 15, False),
        ({"restart": "never"}, 1 << 8, True),
        ({"restart": "never"}, 9, True),
    ],
)
def test_which_ends_are_left(keys: dict[str, object], status: int, left: bool) -> None:  # noqa: FBT001
    """A death by a signal is no exit code, whatever the list says."""
    assert machine.is_left(made(**keys), status) is left


def test_streak_ends_with_a_long_life() -> None:
    """Whoever has run for long enough restarts at once again."""
    one = made(min_uptime=1, backoff_first=1, backoff_max=4)
    life = Life(phase=machine.READY, began=0.0, streak=3)
    after, actions = machine.step(one, life, (machine.ENDED, 9, False), 2.0, 1.0)
    assert (after.phase, after.deadline, after.streak, actions) == (machine.WAITING, 6.0, 4, [])
    after, actions = machine.step(one, life, (machine.ENDED, 9, False), 4.0, 1.0)
    assert (after.phase, after.streak, actions) == (machine.STARTING, 1, [machine.SPAWN])
