"""The machine's proof, and the proof of the proof: each invariant has a broken machine that must be caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyinit.init import machine, signals
from pyinit.init.machine import State
from pyinit.init.options import AS_IT_CAME, CHILD, GROUP, NEVER, SECOND, TREE, Policy, parse
from support import checker
from support.checker import Broken, Explorer, small

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinit.init.machine import Action, Event


@pytest.mark.timeout(600)
def test_every_invariant_holds_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    """The complete reachable state space, for every combination of what the guards look at."""
    states = transitions = count = 0
    rows: set[tuple[int, int]] = set()
    explorers = [Explorer(policy) for policy in checker.policies()]
    explorers += [Explorer(policy, variety=True) for policy in checker.special_policies()]
    for explorer in explorers:
        explorer.explore()
        count += 1
        states += explorer.states
        transitions += explorer.transitions
        rows |= explorer.rows
    with capsys.disabled():
        print(
            f"\n  machine: {count} policies, {states} states, {transitions} transitions, no invariant broken ", end=""
        )
    possible = {(phase, event) for phase, event in machine.ROWS if phase != machine.DONE}
    never_idle = {(machine.RUNNING, machine.TIMEOUT)}
    never_asked = {(phase, machine.NOBODY) for phase in (machine.RUNNING, machine.DRAINING)}
    assert possible - rows == never_idle | never_asked


Mutation = tuple[State, "list[Action]"]


def run_never_ends(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    """Goes on lingering though nobody is left."""
    after, actions = machine.step(policy, state, event, now)
    if event[0] == machine.EMPTY and state.phase == machine.LINGERING:
        return state, []
    return after, actions


def plan_is_outlived(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    """Waits for what cannot be killed, for ever."""
    after, actions = machine.step(policy, state, event, now)
    return (state.but(deadline=1), []) if machine.LEAVE in (a[0] for a in actions) else (after, actions)


def exits_twice(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    if event[0] == machine.ENDED and after.phase == machine.LINGERING:
        actions = [*actions, (machine.EXIT, 0)]
    return after, actions


def status_is_lost(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    """Somebody else's end is taken for the program's."""
    after, actions = machine.step(policy, state, event, now)
    return after, [
        (machine.EXIT, 0) if a[0] == machine.EXIT and state.phase == machine.LINGERING else a for a in actions
    ]


def status_is_remapped_where_there_is_none(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    return after, [(machine.EXIT, 0) if a == (machine.EXIT, 137) and 137 in policy.expect else a for a in actions]


def kills_too_early(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    if after.phase == machine.STOPPING and state.phase != machine.STOPPING and after.deadline != NEVER:
        after = after.but(deadline=max(after.deadline - 1, 0))
    return after, actions


def kills_who_was_just_asked(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    return after, list(reversed(actions)) if actions[:1] == [(machine.KILL_ASKED,)] else actions


def asks_twice(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    """The program's end asks everybody, also those who had the signal with it."""
    after, actions = machine.step(policy, state, event, now)
    if event[0] == machine.ENDED:
        actions = [(machine.ASK, signals.TERM, TREE) if a[0] == machine.ASK_REST else a for a in actions]
    return after, actions


def loses_the_signal_that_ends_a_drain(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    return after, [] if state.phase == machine.DRAINING and event[0] == machine.SIGNAL else actions


def signals_a_reaped_group(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    return after, [(a[0], a[1], GROUP) if a[0] == machine.ASK else a for a in actions]


def repeats_start_the_clock_again(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    if event[0] == machine.SIGNAL and state.phase == machine.STOPPING and state.deadline != NEVER:
        after = after.but(deadline=policy.plan[state.index][1])
    return after, actions


def ticks_while_idle(policy: Policy, state: State, event: Event, now: int) -> Mutation:
    after, actions = machine.step(policy, state, event, now)
    return after.but(deadline=1) if after.phase == machine.RUNNING else after, actions


@pytest.mark.parametrize(
    ("mutation", "invariant", "fields"),
    [
        (run_never_ends, "every_run_ends", {}),
        (plan_is_outlived, "every_run_ends", {}),
        (exits_twice, "exactly_one_exit", {}),
        (status_is_lost, "status_is_the_programs", {}),
        (status_is_remapped_where_there_is_none, "status_is_the_programs", {"expect": (137,)}),
        (kills_too_early, "no_kill_before_its_deadline", {}),
        (kills_who_was_just_asked, "no_kill_before_its_deadline", {}),
        (asks_twice, "nobody_is_asked_twice", {}),
        (loses_the_signal_that_ends_a_drain, "stop_is_delivered", {"drain": 2}),
        (signals_a_reaped_group, "nothing_to_the_reaped", {"wait_all": True}),
        (repeats_start_the_clock_again, "repeats_move_no_deadline", {}),
        (ticks_while_idle, "no_timer_while_idle", {}),
    ],
)
def test_a_broken_machine_is_caught(
    mutation: Callable[[Policy, State, Event, int], Mutation], invariant: str, fields: dict[str, object]
) -> None:
    """The checker's own test: a mutation for each invariant, caught by that invariant."""
    with pytest.raises(Broken) as caught:
        Explorer(small(**fields), mutation, variety=True).explore()
    assert caught.value.invariant == invariant


def test_every_invariant_has_its_mutation() -> None:
    """An invariant added without a mutation is one that may catch nothing."""
    marks = test_a_broken_machine_is_caught.pytestmark  # type: ignore[attr-defined]
    caught = {case[1] for case in marks[0].args[1]}
    known = {invariant.__name__ for invariant in checker.TRANSITION_INVARIANTS} | {"no_kill_before_its_deadline"}
    assert caught == known


def test_every_group_of_rows_ends_with_always() -> None:
    """So that every event in every phase has an answer; the rows above it are reachable."""
    for key, rows in machine.ROWS.items():
        guards = [row[2] for row in rows]
        assert machine.always in guards, key
    for phase in range(machine.DONE):
        for event in range(len(machine.EVENTS)):
            assert (phase, event) in machine.ROWS


def follow(policy: Policy, *events: tuple[tuple[int, int], int]) -> tuple[State, list[list[str]]]:
    """The machine's state after events, and the actions of each as words."""
    state, words = State(), []
    for event, now in events:
        state, actions = machine.step(policy, state, event, now)
        words.append([" ".join([machine.ACTIONS[a[0]], *map(str, a[1:])]) for a in actions])
    return state, words


def test_a_stop_as_docker_does_it() -> None:
    """TERM, nothing happens for 8 s, KILL, the others get a second, exit 137."""
    _, words = follow(
        parse([b"x"], {}),
        ((machine.SIGNAL, signals.TERM), 0),
        ((machine.TIMEOUT, 0), 8 * SECOND),
        ((machine.ENDED, signals.KILL), 8 * SECOND + 1),
        ((machine.EMPTY, machine.NO_STATUS), 8 * SECOND + 2),
    )
    assert words == [["ask 15 1"], ["kill-asked", "ask-rest"], [], ["exit 137"]]


def test_a_plan_of_several_steps() -> None:
    """Each step's signal and time; the rest of the plan bounds the end."""
    policy = parse([b"--stop", b"TERM:4s,INT:2s,KILL", b"x"], {})
    state, words = follow(policy, ((machine.SIGNAL, signals.INT), 0), ((machine.TIMEOUT, 0), 4 * SECOND))
    assert words == [["ask 15 1"], ["ask 2 1"]]
    assert state.deadline == state.plan_end == 6 * SECOND


def test_equals_is_the_signal_that_came_after_rewriting() -> None:
    """`=` with `--rewrite TERM:QUIT` is QUIT, also when it is repeated."""
    policy = parse([b"-r", b"TERM:QUIT", b"x"], {})
    _, words = follow(policy, ((machine.SIGNAL, signals.TERM), 0), ((machine.SIGNAL, signals.INT), 1))
    assert policy.plan[0][0] == AS_IT_CAME
    assert words == [["ask 3 1"], ["ask 3 1"]]


def test_other_signals_go_to_the_program_alone() -> None:
    """HUP to all of gunicorn's workers would drop requests."""
    _, words = follow(parse([b"x"], {}), ((machine.SIGNAL, signals.HUP), 0))
    assert words == [[f"forward 1 {CHILD}"]]


def test_the_machine_does_not_care_when_now_is() -> None:
    """Only differences of instants count: a clock that began elsewhere gives the same run."""
    policy = parse([b"-d", b"1s", b"x"], {})
    events = [((machine.SIGNAL, signals.TERM), 0), ((machine.TIMEOUT, 0), SECOND), ((machine.TIMEOUT, 0), 9 * SECOND)]
    early, first = follow(policy, *events)
    late, second = follow(policy, *((event, now + 12345) for event, now in events))
    assert first == second
    assert late.deadline - early.deadline == 12345
