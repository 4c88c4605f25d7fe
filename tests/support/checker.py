"""A model checker for the shutdown machine: every event in every order, with time as an event, over a small world of processes.

The world has a program, a member of its process group, a daemon in a session of its own, and a process that may be forked at any
moment. Any of them may end, or never end, also after SIGKILL (uninterruptible sleep). A clock of a few units stands for time;
instants are kept relative to now, so that the reachable space is finite and is explored completely.

Each invariant of the design is a function over one transition (or over the world's own counters); `explore` raises Broken with
the events that lead there, which is the shortest way since the search is breadth-first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from pyinit.init import machine, signals
from pyinit.init.machine import State
from pyinit.init.options import CHILD, GROUP, NEVER, TREE, Policy, later, plan_length

if TYPE_CHECKING:
    from pyinit.init.machine import Action, Event

    Step = Callable[[Policy, State, Event, int], tuple[State, list[Action]]]

EXIT_3, BY_TERM = 3 << 8, signals.TERM
TERM, INT, HUP = signals.TERM, signals.INT, signals.HUP
MANY = 2
"""Where counting signals stops: more than this tell nothing new."""

ABSENT, ALIVE, KILLED, GONE = range(4)


class Process(NamedTuple):
    """A process of the world. `left`: clock units that must pass before it may be killed; None when it has not been asked."""

    life: int = ALIVE
    left: int | None = None

    @property
    def is_here(self) -> bool:
        return self.life in (ALIVE, KILLED)


PROGRAM, MEMBER, DAEMON, NEWBORN = range(4)
NAMES = ("program", "member", "daemon", "newborn")


class World(NamedTuple):
    """What the checker knows beside the machine's own state."""

    processes: tuple[Process, ...]
    stops: int = 0
    """Stop signals that have arrived."""
    since_stop: int = 0
    """Clock units since the first of them."""
    since_end: int = 0
    """Clock units since the program ended."""
    status: int = machine.NO_STATUS


class Broken(AssertionError):  # noqa: N818 - it is a verdict, not an error of the checker
    """An invariant does not hold; `invariant` names it, the text tells the events that lead there."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text


class Transition(NamedTuple):
    """One step of the machine with everything an invariant may ask about. Instants are relative to the same now."""

    policy: Policy
    before: State
    event: Event
    after: State
    actions: list[Action]
    world: World
    """Before the actions were carried out."""


def is_stop(policy: Policy, event: Event) -> bool:
    """Whether the event is a signal that begins or repeats a shutdown."""
    kind, number = event
    return kind == machine.SIGNAL and policy.rewrite[number] != 0 and signals.in_mask(number, policy.stop_signals)


def verbs(actions: list[Action], *wanted: int) -> list[Action]:
    """The actions with one of these verbs."""
    return [action for action in actions if action[0] in wanted]


# --- the invariants, in the design's order ---


def exactly_one_exit(t: Transition) -> str:
    """EXIT comes with DONE, once, and last."""
    exits = verbs(t.actions, machine.EXIT)
    if len(exits) != (t.after.phase == machine.DONE) or (exits and t.actions[-1] is not exits[0]):
        return f"{len(exits)} exits on the way to {machine.PHASES[t.after.phase]}"
    return ""


def status_is_the_programs(t: Transition) -> str:
    """The exit status is the program's, remapped at most once; 137 where it was killed and never reaped."""
    for action in verbs(t.actions, machine.EXIT):
        status = t.world.status
        if status == machine.NO_STATUS:
            expected = 137
        else:
            code = signals.exit_code(status)
            expected = 0 if code in t.policy.expect else code
        if action[1] != expected:
            return f"exit {action[1]}, the program's is {expected}"
    return ""


def stop_is_delivered(t: Transition) -> str:
    """A stop signal reaches the program at once, or is held back by a running drain, or the program is dead or killed."""
    program = t.world.processes[PROGRAM]
    if program.life != ALIVE:
        return ""
    leaves_drain = t.before.phase == machine.DRAINING and t.after.phase != machine.DRAINING
    ends_now = t.event[0] in (machine.ENDED, machine.EMPTY)
    if not (is_stop(t.policy, t.event) or leaves_drain) or ends_now:
        return ""
    held_back = t.after.phase == machine.DRAINING and t.after.deadline != NEVER
    return "" if held_back or verbs(t.actions, machine.ASK) else "the stop signal vanished"


def nothing_to_the_reaped(t: Transition) -> str:
    """Neither the program's pid nor its group is signalled once the program has been reaped."""
    reaped = t.world.status != machine.NO_STATUS
    sent = [action for action in verbs(t.actions, machine.FORWARD, machine.ASK) if action[2] != TREE]
    return f"{machine.ACTIONS[sent[0][0]]} to a reaped program or its group" if reaped and sent else ""


def repeats_move_no_deadline(t: Transition) -> str:
    """A stop signal that is not the first moves no deadline; only a drain is ended by it."""
    repeated = is_stop(t.policy, t.event) and t.world.stops > 1 and t.before.phase != machine.DRAINING
    return "a repeated signal moved the deadline" if repeated and t.after.deadline != t.before.deadline else ""


def nobody_is_asked_twice(t: Transition) -> str:
    """Everyone is asked once for each stop signal that came and each step of the plan. (ASK_REST leaves out who was asked.)"""
    asks = verbs(t.actions, machine.ASK)
    step_of_plan = t.event[0] == machine.TIMEOUT and t.after.phase == machine.STOPPING
    caused = is_stop(t.policy, t.event) or step_of_plan
    return f"asked {len(asks)} times by {machine.EVENTS[t.event[0]]}" if len(asks) > caused else ""


def no_timer_while_idle(t: Transition) -> str:
    """No deadline is set before a stop signal or the program's end."""
    return "a timer is armed while idle" if t.after.phase == machine.RUNNING and t.after.deadline != NEVER else ""


def every_run_ends(t: Transition) -> str:
    """Nobody left means the end; and the plan, with the bounded wait after it, is never outlived."""
    if t.event[0] == machine.EMPTY and t.after.phase != machine.DONE:
        return "nobody is left and the run goes on"
    if t.after.phase == machine.DONE:
        return ""
    policy, world = t.policy, t.world
    # twice `fair` with --wait all: when the program ends as the plan does, and once more for who was forked since
    fair = policy.fair * (2 if policy.wait_all else 1)
    after_stop = later(later(policy.drain, plan_length(policy.plan)), fair + policy.bound)
    if world.stops and world.since_stop > after_stop:
        return f"{world.since_stop} units after the stop signal the run still goes on, {after_stop} are the bound"
    after_end = later(max(policy.linger, policy.fair), policy.bound)
    if world.status != machine.NO_STATUS and not policy.wait_all and world.since_end > after_end:
        return f"{world.since_end} units after the program's end the run still goes on, {after_end} are the bound"
    return ""


TRANSITION_INVARIANTS = (
    every_run_ends,
    exactly_one_exit,
    status_is_the_programs,
    stop_is_delivered,
    nothing_to_the_reaped,
    nobody_is_asked_twice,
    repeats_move_no_deadline,
    no_timer_while_idle,
)


def _due(policy: Policy, i: int, how: int, state: State, *, shares_deadline: bool) -> int:
    """How long a process that is asked just now must be left alone."""
    rest = plan_length(policy.plan[state.index :])
    if shares_deadline:
        return 0  # born since the deadline was set: a signal that comes later moves it for nobody
    if how == machine.ASK:
        # once the program has ended, `linger` may be shorter than the plan; with 0 the others are not our business
        return rest if i == PROGRAM or not policy.linger else min(rest, policy.linger)
    return policy.apart if state.phase == machine.KILLING else min(policy.linger, policy.fair, plan_length(policy.plan))


def carry_out(policy: Policy, event: Event, after: State, actions: list[Action], world: World) -> tuple[World, bool]:
    """The world after the actions, and whether ASK_REST found nobody. Checks that whoever is killed was asked, and in time."""
    processes = list(world.processes)
    found_nobody = False
    shares_deadline = is_stop(policy, event) and (world.stops > 1 or after.phase == machine.LINGERING)
    for verb, *arguments in actions:
        for i, p in enumerate(processes):
            unasked = p.life == ALIVE and p.left is None
            reached = verb == machine.ASK_REST or (verb == machine.ASK and _reaches(arguments[1], i))
            if reached and unasked:
                processes[i] = Process(left=_due(policy, i, verb, after, shares_deadline=shares_deadline))
            elif verb == machine.KILL_ASKED and p.life == ALIVE and p.left is not None:
                if p.left:
                    text = f"SIGKILL to the {NAMES[i]} {p.left} units too early"
                    raise Broken("no_kill_before_its_deadline", text)
                processes[i] = Process(KILLED)
        if verb == machine.ASK_REST:
            found_nobody = processes == list(world.processes)
    return world._replace(processes=tuple(processes)), found_nobody


def _reaches(scope: int, i: int) -> bool:
    return i == PROGRAM or scope == TREE or (scope == GROUP and i in (MEMBER, NEWBORN))


class Explorer:
    """The complete reachable space of one policy."""

    def __init__(self, policy: Policy, step: Step = machine.step, *, variety: bool = False) -> None:
        self.policy = policy
        self.stop_signals = (TERM, INT) if variety else (TERM,)
        self.statuses = (EXIT_3, BY_TERM) if variety else (EXIT_3,)
        """Which stop signal and which status it is makes no difference to the rest: it need not be tried with every policy."""
        self.step = step
        self.states = 0
        self.transitions = 0
        self.rows: set[tuple[int, int]] = set()
        finite = [n for n in (plan_length(policy.plan), policy.linger) if n != NEVER]
        self.long = policy.drain + max([*finite, policy.fair]) + 2 * policy.fair + policy.bound + 1
        """Clock units beyond every bound that an invariant knows: counting stops here."""
        self.plan_ends = plan_length(policy.plan) != NEVER
        self.end_ends = policy.linger != NEVER and not policy.wait_all

    def explore(self) -> None:
        """Visit every reachable state once. Raises Broken for the first invariant that does not hold."""
        start = (State(), World((Process(), Process(), Process(), Process(ABSENT))))
        seen = {self._key(*start)}
        queue: deque[tuple[State, World, tuple[str, ...]]] = deque([(*start, ())])
        while queue:
            state, world, trace = queue.popleft()
            for name, next_world, event, passed in self._moves(state, world):
                way = (*trace[-30:], name)
                try:
                    next_state, final_world = self._take(self._shifted(state, passed), next_world, event)
                except Broken as broken:
                    raise Broken(
                        broken.invariant, f"{broken.text}\n  policy {self.policy}\n  events {', '.join(way)}"
                    ) from None
                if next_state.phase == machine.DONE:
                    continue
                key = self._key(next_state, final_world)
                if key not in seen:
                    seen.add(key)
                    queue.append((next_state, final_world, way))
        self.states = len(seen)

    def _take(self, state: State, world: World, event: Event | None) -> tuple[State, World]:
        while event is not None:
            after, actions = self.step(self.policy, state, event, 0)
            self.transitions += 1
            self.rows.add((state.phase, event[0]))
            transition = Transition(self.policy, state, event, after, actions, world)
            for invariant in TRANSITION_INVARIANTS:
                if verdict := invariant(transition):
                    raise Broken(invariant.__name__, verdict)
            world, found_nobody = carry_out(self.policy, event, after, actions, world)
            if after.phase == machine.DONE:
                return after, world
            state, event = after, (machine.NOBODY, 0) if found_nobody else None
        return state, world

    def _moves(self, state: State, world: World) -> Iterator[tuple[str, World, Event | None, int]]:
        """Whatever may happen next: a name, the world after it, the event for the machine if it hears of it, the time passed."""
        if state.deadline <= 0:
            yield "timeout", world, (machine.TIMEOUT, 0), 0
        else:
            yield "tick", self._older(world), None, 1
        for number in (*self.stop_signals, HUP):
            event = (machine.SIGNAL, number)
            stops = min(world.stops + is_stop(self.policy, event), MANY)
            yield signals.name_of(number), world._replace(stops=stops), event, 0
        if world.processes[NEWBORN].life == ABSENT:
            processes = (*world.processes[:NEWBORN], Process())
            yield "fork", world._replace(processes=processes), None, 0
        for i, p in enumerate(world.processes):
            if not p.is_here:
                continue
            ways = self.statuses if p.life == ALIVE else (signals.KILL,)
            for status in ways if i == PROGRAM else ways[:1]:
                yield from self._end(world, (i,), status)
        everybody = tuple(i for i, p in enumerate(world.processes) if p.is_here)
        if len(everybody) > 1:
            yield from self._end(world, everybody, EXIT_3)

    def _end(self, world: World, who: tuple[int, ...], status: int) -> Iterator[tuple[str, World, Event | None, int]]:
        """Processes end and are reaped in one batch, as the engine does it."""
        processes = tuple(Process(GONE) if i in who else p for i, p in enumerate(world.processes))
        reaped = status if PROGRAM in who else machine.NO_STATUS
        after = world._replace(processes=processes, status=reaped if PROGRAM in who else world.status)
        event: Event | None = None
        if not any(p.is_here for p in processes):
            event = (machine.EMPTY, reaped)
        elif PROGRAM in who:
            event = (machine.ENDED, status)
        yield f"{'+'.join(NAMES[i] for i in who)} ends", after, event, 0

    def _older(self, world: World) -> World:
        processes = tuple(
            p._replace(left=max(p.left - 1, 0)) if p.left and p.left != NEVER else p for p in world.processes
        )
        return world._replace(
            processes=processes,
            since_stop=min(world.since_stop + (world.stops > 0 and self.plan_ends), self.long),
            since_end=min(world.since_end + (world.status != machine.NO_STATUS and self.end_ends), self.long),
        )

    @staticmethod
    def _shifted(state: State, passed: int) -> State:
        """The same state seen from a later now: instants are relative to it."""
        if not passed:
            return state
        instants = {name: getattr(state, name) for name in ("deadline", "plan_end", "bound")}
        return state.but(**{name: max(value - passed, -1) for name, value in instants.items() if value != NEVER})

    @staticmethod
    def _key(state: State, world: World) -> tuple[object, ...]:
        # once forked, the newborn is as good as the other member of the group: which is which makes no new state
        program, member, daemon, newborn = world.processes
        if newborn.life != ABSENT and (newborn.life, newborn.left or 0, newborn.left is None) < (
            member.life,
            member.left or 0,
            member.left is None,
        ):
            world = world._replace(processes=(program, newborn, daemon, member))
        return (*(getattr(state, name) for name in state.__slots__), world)


def policies() -> Iterator[Policy]:
    """The policies to explore: every combination of what the table's guards look at, in units of the checker's clock."""
    plans = (
        ((0, 2), (signals.KILL, 0)),
        ((TERM, 1), (INT, 2), (signals.KILL, 0)),
        ((0, 0), (signals.KILL, 0)),
        ((0, 1), (INT, NEVER)),
    )
    for plan, drain, linger, wait_all, scope in product(
        plans, (0, 1), (0, 1, 3, NEVER), (False, True), (CHILD, GROUP, TREE)
    ):
        others = GROUP if scope == GROUP else CHILD
        yield small(plan=plan, drain=drain, linger=linger, wait_all=wait_all, scope=scope, others=others)


def special_policies() -> Iterator[Policy]:
    """What the product above leaves out; to be explored with every variety of signal and status."""
    dropped = list(range(signals.RTMAX + 1))
    dropped[TERM] = 0
    yield small()
    yield small(rewrite=tuple(dropped))
    yield small(expect=(3, 137, 143), drain=1)
    yield small(plan=((0, NEVER), (signals.KILL, 0)))


def small(**fields: object) -> Policy:
    """A policy in units of the checker's clock."""
    units: dict[str, object] = {"plan": ((0, 2), (signals.KILL, 0)), "linger": 3, "fair": 1, "bound": 2, "apart": 1}
    return Policy(**{**units, **fields})  # type: ignore[arg-type]
