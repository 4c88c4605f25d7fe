"""The shutdown state machine: what pyinit does when something happens. Pure: no clock, no system call, no memory but its state.

`step(policy, state, event, now)` gives the next state and what the hands must do. `TABLE` is the whole behaviour: for each phase
and event the rows are tried from the top and the first whose guard holds is taken. The C engine is generated from the same table,
and `tests/support/checker.py` proves the invariants over its complete reachable state space.

Rejected: callbacks per signal (the order of events is then nowhere), one coroutine per shutdown (cannot be enumerated, and has no
twin in C), a timer per step (one deadline is enough: there is always one thing to wait for next).

Words: to **ask** is to send a stop signal followed by SIGCONT; **asked** are the processes that have had one from us. Nobody is
killed who was not asked. Times are nanoseconds of any monotonic clock; the machine only adds and compares them.
"""

from pyinit.init import signals
from pyinit.init.options import AS_IT_CAME, NEVER, TREE, Policy, later, plan_length

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Action = tuple[int, ...]
    Event = tuple[int, int]

# --- phases ---

RUNNING = 0
"""Nobody has asked for a stop."""
DRAINING = 1
"""A stop signal came and is held back for `drain`."""
STOPPING = 2
"""The plan is running."""
LINGERING = 3
"""The program has ended or has been killed; the others were asked and have until the deadline."""
KILLING = 4
"""The last SIGKILL was sent; we wait a bounded time for the kernel to deliver it."""
DONE = 5
PHASES = ("running", "draining", "stopping", "lingering", "killing", "done")

# --- events: (kind, argument) ---

SIGNAL = 0
"""A signal arrived; the argument is its number."""
ENDED = 1
"""The program was reaped and others are left; the argument is its wait status."""
EMPTY = 2
"""waitpid says ECHILD, nobody is left; the argument is the program's wait status if it was reaped just now, else NO_STATUS."""
TIMEOUT = 3
"""The deadline has been reached."""
NOBODY = 4
"""The last ASK_REST found nobody to ask."""
EVENTS = ("signal", "ended", "empty", "timeout", "nobody")

# --- actions: (verb, arguments), carried out in their order ---

FORWARD = 0
"""(FORWARD, signal, scope): pass a signal on, once, as it came."""
ASK = 1
"""(ASK, signal, scope): a stop signal and SIGCONT; whoever it reaches has been asked."""
ASK_REST = 2
"""(ASK_REST,): SIGTERM and SIGCONT to every descendant that has not been asked."""
KILL_ASKED = 3
"""(KILL_ASKED,): look at those who were asked and have not been killed yet, SIGKILL them, say so."""
LEAVE = 4
"""(LEAVE,): name those who are still here though SIGKILL was sent."""
EXIT = 5
"""(EXIT, code): leave with this exit status."""
DRAIN = 6
"""(DRAIN, signal): say that the stop signal is being held back."""
DROP = 7
"""(DROP, signal): say that a signal had nowhere to go."""
ACTIONS = ("forward", "ask", "ask-rest", "kill-asked", "leave", "exit", "drain", "drop")

NO_STATUS = -1


class State:
    """Where the shutdown stands. Immutable by convention: `step` makes a new one.

    Attributes:
        phase: one of PHASES.
        status: the program's wait status, NO_STATUS until it is reaped.
        signal: the signal that began the shutdown, rewritten; 0 before.
        index: which step of the plan is running.
        deadline: when TIMEOUT is due; NEVER means that no timer is armed.
        plan_end: when the plan's SIGKILL is due; NEVER while no plan runs or it has no SIGKILL.
        bound: in KILLING, when to leave whoever is still there.
        killed: whether the plan came to its SIGKILL.
    """

    __slots__ = ("bound", "deadline", "index", "killed", "phase", "plan_end", "signal", "status")

    def __init__(
        self,
        phase: int = RUNNING,
        status: int = NO_STATUS,
        signal: int = 0,
        index: int = 0,
        deadline: int = NEVER,
        plan_end: int = NEVER,
        bound: int = NEVER,
        killed: bool = False,
    ) -> None:
        self.phase: Final = phase
        self.status: Final = status
        self.signal: Final = signal
        self.index: Final = index
        self.deadline: Final = deadline
        self.plan_end: Final = plan_end
        self.bound: Final = bound
        self.killed: Final = killed

    def but(self, **changes: int) -> "State":
        """The same state with some fields changed."""
        return State(**{name: changes.get(name, getattr(self, name)) for name in self.__slots__})

    def __repr__(self) -> str:
        return f"State({PHASES[self.phase]}, {', '.join(f'{n}={getattr(self, n)}' for n in self.__slots__ if n != 'phase')})"


class Moment:
    """What a guard or an effect may look at: the state, the event and the time of one step."""

    __slots__ = ("argument", "now", "policy", "state")

    def __init__(self, policy: Policy, state: State, event: "Event", now: int) -> None:
        self.policy: Final = policy
        self.state: Final = state
        self.argument: Final = event[1]
        self.now: Final = now


# --- guards: named questions about a moment ---


def always(_: Moment) -> bool:
    """The last row of its group."""
    return True


def is_dropped(m: Moment) -> bool:
    """`--rewrite S:0`: the signal vanishes before anything else."""
    return m.policy.rewrite[m.argument] == 0


def is_stop(m: Moment) -> bool:
    """The signal begins a shutdown, or repeats what began one."""
    return signals.in_mask(m.argument, m.policy.stop_signals)


def drains(m: Moment) -> bool:
    """A stop signal that is held back first."""
    return is_stop(m) and m.policy.drain > 0


def is_first_stop(m: Moment) -> bool:
    """No stop signal has come before this one."""
    return is_stop(m) and m.state.signal == 0


def waits_for_all(m: Moment) -> bool:
    """`--wait all`: the end of the program ends nothing."""
    return m.policy.wait_all


def leaves_at_once(m: Moment) -> bool:
    """`--linger 0`: the others are neither asked nor killed nor waited for."""
    return m.policy.linger == 0


def is_plan_over(m: Moment) -> bool:
    """The next step of the plan is its SIGKILL."""
    return m.policy.plan[m.state.index + 1][0] == signals.KILL


def is_all_over(m: Moment) -> bool:
    """The same, and nobody but those who were asked is our concern."""
    return is_plan_over(m) and leaves_at_once(m)


def was_killed(m: Moment) -> bool:
    """The plan came to its SIGKILL, so nobody who was asked has time left."""
    return m.state.killed


def is_bound_over(m: Moment) -> bool:
    """The time after the last SIGKILL is over."""
    return m.now >= m.state.bound


# --- effects: what a row does beside the change of phase ---


def stay(m: Moment) -> "tuple[State, list[Action]]":
    """Nothing."""
    return m.state, []


def drop(m: Moment) -> "tuple[State, list[Action]]":
    """A signal that nobody is there to receive, or that `--rewrite` drops."""
    return m.state, [(DROP, m.argument)]


def forward(m: Moment) -> "tuple[State, list[Action]]":
    """A signal that is no stop signal, as it came; to the tree once the program is gone (`--wait all`)."""
    gone = m.state.status != NO_STATUS
    return m.state, [(FORWARD, m.policy.rewrite[m.argument], TREE if gone else m.policy.others)]


def drain(m: Moment) -> "tuple[State, list[Action]]":
    """Hold the stop signal back. The plan's clock starts when the drain is over."""
    sent = m.policy.rewrite[m.argument]
    return m.state.but(signal=sent, deadline=later(m.now, m.policy.drain)), [(DRAIN, sent)]


def begin(m: Moment) -> "tuple[State, list[Action]]":
    """The first step of the plan, with the signal that came."""
    signal = m.state.signal or m.policy.rewrite[m.argument]
    return _enter(m, m.state.but(signal=signal), 0)


def advance(m: Moment) -> "tuple[State, list[Action]]":
    """The next step of the plan."""
    return _enter(m, m.state, m.state.index + 1)


def _enter(m: Moment, state: State, index: int) -> "tuple[State, list[Action]]":
    duration = m.policy.plan[index][1]
    last = index == len(m.policy.plan) - 1
    deadline = NEVER if last else later(m.now, duration)
    state = state.but(index=index, deadline=deadline, plan_end=later(m.now, plan_length(m.policy.plan[index:])))
    return state, [_ask(m.policy, state)]


def _ask(policy: Policy, state: State) -> "Action":
    """The current step's signal to whom stop signals reach; to the tree once the program is gone."""
    number = policy.plan[state.index][0]
    scope = policy.scope if state.status == NO_STATUS else TREE
    return (ASK, state.signal if number == AS_IT_CAME else number, scope)


def ask_again(m: Moment) -> "tuple[State, list[Action]]":
    """A repeated stop signal: the current step's signal once more. No deadline moves."""
    return m.state, [_ask(m.policy, m.state)]


def ask_tree(m: Moment) -> "tuple[State, list[Action]]":
    """A repeated stop signal when the program is gone: as it came (a rewrite was for the program), to everybody."""
    return m.state, [(ASK, m.argument, TREE)]


def hurry(m: Moment) -> "tuple[State, list[Action]]":
    """The first stop signal while lingering: from now on the plan's length bounds what is left. The others were asked already."""
    limit = later(m.now, plan_length(m.policy.plan))
    return m.state.but(signal=m.policy.rewrite[m.argument], deadline=min(m.state.deadline, limit)), [(ASK_REST,)]


def linger(m: Moment) -> "tuple[State, list[Action]]":
    """The program has ended: ask the others; they have `linger`, but not past the plan's end, and at least `fair`."""
    state, policy = m.state, m.policy
    plan_end = state.plan_end if state.phase == STOPPING else NEVER
    if state.phase == DRAINING:
        plan_end = later(m.now, plan_length(policy.plan))
    deadline = min(later(m.now, policy.linger), plan_end)
    deadline = max(deadline, later(m.now, min(policy.linger, policy.fair)))
    return state.but(status=m.argument, deadline=deadline), [(ASK_REST,)]


def outlive(m: Moment) -> "tuple[State, list[Action]]":
    """The program has ended and `--wait all` stays."""
    return m.state.but(status=m.argument), []


def outlive_plan(m: Moment) -> "tuple[State, list[Action]]":
    """The same while the plan runs: those it has not reached yet are asked now, and have at least `fair`."""
    fair = later(m.now, min(m.policy.linger, m.policy.fair))
    deadline, plan_end = max(m.state.deadline, fair), max(m.state.plan_end, fair)
    return m.state.but(status=m.argument, deadline=deadline, plan_end=plan_end), [(ASK_REST,)]


def record(m: Moment) -> "tuple[State, list[Action]]":
    """The program that was killed has been reaped."""
    return m.state.but(status=m.argument), []


def kill(m: Moment) -> "tuple[State, list[Action]]":
    """The plan is over: SIGKILL to those who were asked; whoever was not is asked now and has `fair`."""
    fair = later(m.now, min(m.policy.linger, m.policy.fair))
    return m.state.but(deadline=fair, plan_end=NEVER, killed=True), [(KILL_ASKED,), (ASK_REST,)]


def kill_only(m: Moment) -> "tuple[State, list[Action]]":
    """The plan is over, and with `--linger 0` the others are the kernel's business."""
    return _bound(m).but(killed=True), [(KILL_ASKED,)]


def bound(m: Moment) -> "tuple[State, list[Action]]":
    """Nobody is left who could still use time: wait for the kernel alone."""
    return _bound(m), []


def kill_rest(m: Moment) -> "tuple[State, list[Action]]":
    """Lingering is over: SIGKILL. Who was born meanwhile is asked, and killed by a later sweep."""
    return _bound(m), [(KILL_ASKED,), (ASK_REST,)]


def _bound(m: Moment) -> State:
    end = later(m.now, m.policy.bound)
    return m.state.but(bound=end, deadline=min(later(m.now, m.policy.apart), end), plan_end=NEVER)


def sweep(m: Moment) -> "tuple[State, list[Action]]":
    """Once more, for those who were born between two looks."""
    deadline = min(later(m.now, m.policy.apart), m.state.bound)
    return m.state.but(deadline=deadline), [(KILL_ASKED,)] if leaves_at_once(m) else [(KILL_ASKED,), (ASK_REST,)]


def leave(m: Moment) -> "tuple[State, list[Action]]":
    """Whoever is still here cannot be killed by us: name them and go."""
    state, actions = finish(Moment(m.policy, m.state, (EMPTY, NO_STATUS), m.now))
    return state, [(LEAVE,), *actions]


def finish(m: Moment) -> "tuple[State, list[Action]]":
    """Exit with the program's status, remapped by `--expect`; 137 for a program that was killed and could not be reaped."""
    status = m.state.status if m.argument == NO_STATUS else m.argument
    if status == NO_STATUS:
        code = 128 + signals.KILL if m.state.killed else 125
    else:
        code = signals.exit_code(status)
        code = 0 if code in m.policy.expect else code
    return m.state.but(status=status, deadline=NEVER, plan_end=NEVER, bound=NEVER), [(EXIT, code)]


def postponed(before: State, state: State, lag: int) -> State:
    """The state when its actions took `lag` to carry out: the instants that they set count from then. A bound is set once."""
    bound = state.bound if state.bound == before.bound else later(state.bound, lag)
    return state.but(deadline=min(later(state.deadline, lag), bound), plan_end=later(state.plan_end, lag), bound=bound)


# --- the table ---

if TYPE_CHECKING:
    Row = tuple[int, int, Callable[[Moment], bool], int | None, Callable[[Moment], tuple[State, list[Action]]]]

SAME = None
"""The phase stays."""

# fmt: off
TABLE: "tuple[Row, ...]" = (
    # phase     event    guard            next       effect        what happened
    (RUNNING,   SIGNAL,  is_dropped,      SAME,      drop),
    (RUNNING,   SIGNAL,  drains,          DRAINING,  drain),       # docker stop, with --drain
    (RUNNING,   SIGNAL,  is_stop,         STOPPING,  begin),       # docker stop
    (RUNNING,   SIGNAL,  always,          SAME,      forward),     # HUP, USR1, WINCH, ...
    (RUNNING,   ENDED,   waits_for_all,   SAME,      outlive),     # the program daemonised
    (RUNNING,   ENDED,   leaves_at_once,  DONE,      finish),
    (RUNNING,   ENDED,   always,          LINGERING, linger),      # the program ended by itself, others are left

    (DRAINING,  SIGNAL,  is_dropped,      SAME,      drop),
    (DRAINING,  SIGNAL,  is_stop,         STOPPING,  begin),       # a second stop signal ends the drain
    (DRAINING,  SIGNAL,  always,          SAME,      forward),
    (DRAINING,  TIMEOUT, always,          STOPPING,  begin),
    (DRAINING,  ENDED,   waits_for_all,   SAME,      outlive),
    (DRAINING,  ENDED,   leaves_at_once,  DONE,      finish),
    (DRAINING,  ENDED,   always,          LINGERING, linger),

    (STOPPING,  SIGNAL,  is_dropped,      SAME,      drop),
    (STOPPING,  SIGNAL,  is_stop,         SAME,      ask_again),   # Ctrl-C twice, docker stop twice
    (STOPPING,  SIGNAL,  always,          SAME,      forward),
    (STOPPING,  TIMEOUT, is_all_over,     KILLING,   kill_only),   # grace is over, with --linger 0
    (STOPPING,  TIMEOUT, is_plan_over,    LINGERING, kill),        # grace is over
    (STOPPING,  TIMEOUT, always,          SAME,      advance),     # TERM:8s is over, INT comes next
    (STOPPING,  ENDED,   waits_for_all,   SAME,      outlive_plan),
    (STOPPING,  ENDED,   leaves_at_once,  DONE,      finish),
    (STOPPING,  ENDED,   always,          LINGERING, linger),      # the program stopped in time, others are left

    (LINGERING, SIGNAL,  is_dropped,      SAME,      drop),
    (LINGERING, SIGNAL,  is_first_stop,   SAME,      hurry),
    (LINGERING, SIGNAL,  is_stop,         SAME,      ask_tree),
    (LINGERING, SIGNAL,  always,          SAME,      drop),        # the program it was meant for is gone
    (LINGERING, NOBODY,  was_killed,      KILLING,   bound),
    (LINGERING, TIMEOUT, always,          KILLING,   kill_rest),
    (LINGERING, ENDED,   always,          SAME,      record),      # the killed program is reaped at last

    (KILLING,   SIGNAL,  always,          SAME,      drop),
    (KILLING,   TIMEOUT, is_bound_over,   DONE,      leave),
    (KILLING,   TIMEOUT, always,          SAME,      sweep),
    (KILLING,   ENDED,   leaves_at_once,  DONE,      finish),
    (KILLING,   ENDED,   always,          SAME,      record),
)
"""What every phase shares is in COMMON: EMPTY ends it, NOBODY and a late TIMEOUT change nothing."""
# fmt: on

COMMON: "tuple[Row, ...]" = tuple(
    row
    for phase in range(DONE)
    for row in (
        (phase, EMPTY, always, DONE, finish),
        (phase, NOBODY, always, SAME, stay),
        (phase, TIMEOUT, always, SAME, stay),
    )
)


def _index(*tables: "tuple[Row, ...]") -> "dict[tuple[int, int], list[Row]]":
    index: dict[tuple[int, int], list[Row]] = {}
    for table in tables:
        for row in table:
            index.setdefault((row[0], row[1]), []).append(row)
    return index


ROWS = _index(TABLE, COMMON)


def step(policy: Policy, state: State, event: "Event", now: int) -> "tuple[State, list[Action]]":
    """What comes next, and what is to be done about it. Raises KeyError for an event after DONE."""
    moment = Moment(policy, state, event, now)
    for _, _, guard, phase, effect in ROWS[state.phase, event[0]]:
        if guard(moment):
            after, actions = effect(moment)
            return after if phase is SAME else after.but(phase=phase), actions
    raise AssertionError("every group of rows ends with `always`; the checker shows it")
