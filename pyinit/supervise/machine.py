"""A worker's state machine: what happens to one place among an app's instances. Pure: no clock, no system call.

`step(app, life, event, now, chance)` gives the next state and what is to be done. `TABLE` is the whole behaviour: for each phase
and event the rows are tried from the top and the first whose guard holds is taken.

What concerns several workers (a reload, the order of start and stop) is in `fleet`; it only sends events here. Times are seconds
of any monotonic clock; `chance` is a number from 0 to 1 that spreads the waits, so that a hundred workers do not come back at once.

Words: to **ask** is to send the stop signal (or message); the **rest** are processes that a worker leaves behind when it ends.
"""

from pyinit.init import signals
from pyinit.supervise.spec import ALWAYS, FOREVER, NEVER

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from pyinit.supervise.spec import App

    Event = tuple[Any, ...]
    Result = tuple["Life", list[str]]

# --- phases; `list` shows these words ---

WAITING = "waiting"
"""Not running, and will be: when the deadline comes, or when those that it starts after are ready."""
STARTING = "starting"
"""Running, not ready yet."""
READY = "ready"
DRAINING = "draining"
"""Told to take nothing new on; has until the deadline to finish what it has."""
STOPPING = "stopping"
"""Asked to stop; has until the deadline."""
KILLING = "killing"
"""SIGKILL was sent; the kernel has not reported the end yet."""
SWEEPING = "sweeping"
"""It has ended, and processes that it left behind were asked to."""
STOPPED = "stopped"
"""Ended because somebody wanted it to."""
EXITED = "exited"
"""Ended by itself, and is left so (`restart`, `leave_exit_codes`)."""
ERRORED = "errored"
"""Given up: it cannot be executed, or was restarted too often."""
PHASES = (WAITING, STARTING, READY, DRAINING, STOPPING, KILLING, SWEEPING, STOPPED, EXITED, ERRORED)
ALIVE_PHASES = (STARTING, READY, DRAINING, STOPPING, KILLING)
"""There is a process."""
OVER = (STOPPED, EXITED, ERRORED)
"""Nothing runs, and nothing will by itself."""

# --- events: (kind, ...) ---

START = "start"
"""(START,): it is to run."""
FAILED = "failed"
"""(FAILED, status, words): it could not be executed."""
IS_READY = "is-ready"
DRAINED = "drained"
"""No connection is left."""
ENDED = "ended"
"""(ENDED, wait status, whether it left processes behind)."""
EMPTY = "empty"
"""Those that it left behind are gone."""
TIMEOUT = "timeout"
STOP = "stop"
"""(STOP, grace): it is to stop, and has at most so long."""
LEAVE = "leave"
"""(LEAVE, grace): it is to drain, then to stop: another one has taken its place."""
AGAIN = "again"
"""(AGAIN, grace): it is to stop and to start again."""
LAST = "last"
"""However it ends, it does not come back."""
EVENTS = (START, LAST, FAILED, IS_READY, DRAINED, ENDED, EMPTY, TIMEOUT, STOP, LEAVE, AGAIN)

# --- actions ---

SPAWN = "spawn"
DRAIN = "drain"
ASK = "ask"
KILL = "kill"
ASK_REST = "ask-rest"
KILL_REST = "kill-rest"
GAVE_UP = "gave-up"
"""To be said: it was not ready in time."""
ACTIONS = (SPAWN, DRAIN, ASK, KILL, ASK_REST, KILL_REST, GAVE_UP)

NO_STATUS = -1
KILL_AGAIN = 0.5
"""Seconds after which SIGKILL is repeated: to what was forked meanwhile."""
SWEEP = 2.0
"""Seconds that those whom a crashed worker leaves behind have at most: its replacement waits for them."""

# --- what is to come after the end ---

BY_POLICY = "policy"
TO_STOP = "stop"
TO_START = "start"


class Life:
    """Where a worker stands. Immutable by convention: `step` makes a new one.

    Attributes:
        phase: one of PHASES.
        deadline: when TIMEOUT is due.
        then: what is to come after the end: BY_POLICY, TO_STOP or TO_START.
        began: when the present process was started.
        status: the last process's wait status.
        why: in words, why it waits or was given up; empty where that is plain.
        restarts: how often it was started again by policy.
        recent: when, as far as `restart_window` looks back.
        streak: restarts since it last ran for long enough: how far the backoff has come.
        by_time: it is ready once it has been alive for `min_uptime`: nothing else will tell.
    """

    __slots__ = ("began", "by_time", "deadline", "phase", "recent", "restarts", "status", "streak", "then", "why")

    def __init__(
        self,
        phase: str = WAITING,
        deadline: float = FOREVER,
        then: str = BY_POLICY,
        began: float = 0.0,
        status: int = NO_STATUS,
        why: str = "",
        restarts: int = 0,
        recent: "tuple[float, ...]" = (),
        streak: int = 0,
        by_time: bool = False,
    ) -> None:
        self.phase: Final = phase
        self.deadline: Final = deadline
        self.then: Final = then
        self.began: Final = began
        self.status: Final = status
        self.why: Final = why
        self.restarts: Final = restarts
        self.recent: Final = recent
        self.streak: Final = streak
        self.by_time: Final = by_time

    def but(self, **changes: "Any") -> "Life":
        """The same with some fields changed."""
        return Life(**{name: changes.get(name, getattr(self, name)) for name in self.__slots__})

    def __repr__(self) -> str:
        return f"Life({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


class Moment:
    """What a guard or an effect may look at."""

    __slots__ = ("app", "chance", "event", "life", "now")

    def __init__(self, app: "App", life: Life, event: "Event", now: float, chance: float) -> None:
        self.app: Final = app
        self.life: Final = life
        self.event: Final = event
        self.now: Final = now
        self.chance: Final = chance


# --- the restart policy ---


def is_left(app: "App", status: int) -> bool:
    """Whether this end means that the worker is to be left as it is. A death by a signal is never taken for exit 0."""
    if app.restart == NEVER:
        return True
    if signals.term_signal(status):
        return False
    code = signals.exit_code(status)
    return code in app.leave_exit_codes or (app.restart != ALWAYS and code == 0)


def pause(app: "App", streak: int, chance: float) -> float:
    """Seconds before the next start: none for the first, then twice as long each time, up to `backoff_max`, the half of it by chance."""
    if streak == 0 or app.backoff_first == 0:
        return 0.0
    longest = min(app.backoff_first * 2.0 ** min(streak - 1, 60), max(app.backoff_max, app.backoff_first))
    return longest * (1 + chance) / 2


def after_its_own_end(m: Moment, life: Life) -> "Result":
    """Nobody asked for this end: start again, wait, leave it, or give it up."""
    app, status = m.app, life.status
    if is_left(app, status):
        return life.but(phase=EXITED, deadline=FOREVER), []
    is_stable = m.now - life.began >= max(app.min_uptime, app.backoff_max)
    streak = 0 if is_stable else life.streak
    recent = tuple(when for when in life.recent if m.now - when < app.restart_window)
    if len(recent) >= app.max_restarts:
        window = "" if app.restart_window == FOREVER else f" in {app.restart_window:g} s"
        why = f"restarted {len(recent)} times{window} and ended again: {signals.ended_how(status)}"
        return life.but(phase=ERRORED, deadline=FOREVER, recent=recent, why=why), []
    wait = pause(app, streak, m.chance)
    life = life.but(
        restarts=life.restarts + 1,
        recent=(*recent, m.now) if app.max_restarts else (),
        streak=streak + 1,
        then=BY_POLICY,
    )
    if wait == 0:
        return _spawn(m, life)
    return life.but(phase=WAITING, deadline=m.now + wait, why=f"ended: {signals.ended_how(status)}"), []


# --- guards ---


def always(_: Moment) -> bool:
    """The last row of its group."""
    return True


def leaves_some(m: Moment) -> bool:
    """The worker has ended, and processes of it are left."""
    return bool(m.event[2])


def is_good_enough(m: Moment) -> bool:
    """Being alive so long is being ready, or the app's file says to go on anyway."""
    return m.life.by_time or not m.app.ready_required


def drains(m: Moment) -> bool:
    """The app wants time to finish what it has."""
    return m.app.drain > 0


# --- effects ---


def stay(m: Moment) -> "Result":
    """Nothing."""
    return m.life, []


def _spawn(m: Moment, life: Life) -> "Result":
    limit = m.app.min_uptime if life.by_time else m.app.ready_timeout
    return life.but(phase=STARTING, deadline=m.now + limit, then=BY_POLICY, began=m.now, why=""), [SPAWN]


def spawn(m: Moment) -> "Result":
    """Start a process."""
    return _spawn(m, m.life)


def spawn_anew(m: Moment) -> "Result":
    """The same on somebody's word: what has been held against the worker is forgotten."""
    return _spawn(m, m.life.but(recent=(), streak=0))


def give_up_start(m: Moment) -> "Result":
    """It cannot be executed, and trying again would not help."""
    return m.life.but(phase=ERRORED, deadline=FOREVER, status=m.event[1], why=m.event[2]), []


def give_up_stop(m: Moment) -> "Result":
    """It was asked to stop before it could be executed, which it could not."""
    if m.life.then == TO_STOP:
        return m.life.but(phase=STOPPED, deadline=FOREVER, status=m.event[1], why=m.event[2]), []
    return give_up_start(m)


def ready(m: Moment) -> "Result":
    return m.life.but(phase=READY, deadline=FOREVER), []


def drain(m: Moment) -> "Result":
    return m.life.but(phase=DRAINING, deadline=m.now + m.app.drain, then=TO_STOP), [DRAIN]


def _ask(m: Moment, grace: float, then: str) -> "Result":
    if grace <= 0:
        return m.life.but(phase=KILLING, deadline=m.now + KILL_AGAIN, then=then), [KILL]
    return m.life.but(phase=STOPPING, deadline=m.now + grace, then=then), [ASK]


def stop(m: Moment) -> "Result":
    return _ask(m, m.event[1], TO_STOP)


def again(m: Moment) -> "Result":
    return _ask(m, m.event[1], TO_START)


def drained(m: Moment) -> "Result":
    """Nothing is left to finish, or the time for it is over."""
    return _ask(m, m.app.grace, TO_STOP)


def give_up(m: Moment) -> "Result":
    """Not ready in time: whether it is tried again is for the policy."""
    life, actions = _ask(m, m.app.grace, m.life.then)
    return life.but(why=f"not ready in {m.app.ready_timeout:g} s"), [GAVE_UP, *actions]


def kill(m: Moment) -> "Result":
    return m.life.but(phase=KILLING, deadline=m.now + KILL_AGAIN), [KILL]


def hurry(m: Moment) -> "Result":
    """It was asked already: it may only be given less time, and it will not come back."""
    return m.life.but(then=TO_STOP, deadline=min(m.life.deadline, m.now + m.event[1])), []


def stop_then(m: Moment) -> "Result":
    """It is on its way out: it will not come back."""
    return m.life.but(then=TO_STOP), []


def start_then(m: Moment) -> "Result":
    """It is on its way out: it will come back."""
    return m.life.but(then=TO_START), []


def ask_rest(m: Moment) -> "Result":
    """Whoever it left behind could hold its port: they go before anything else is started."""
    if m.life.phase == KILLING:
        deadline = m.now  # its time is over, and so is theirs
    elif m.life.phase == STOPPING:
        deadline = m.life.deadline
    else:
        deadline = m.now + min(m.app.grace, SWEEP)
    return m.life.but(phase=SWEEPING, deadline=deadline, status=m.event[1]), [ASK_REST]


def kill_rest(m: Moment) -> "Result":
    return m.life.but(deadline=m.now + KILL_AGAIN), [KILL_REST]


def ended(m: Moment) -> "Result":
    """The process is gone and left nobody."""
    return _after(m, m.life.but(status=m.event[1]))


def swept(m: Moment) -> "Result":
    return _after(m, m.life)


def _after(m: Moment, life: Life) -> "Result":
    if life.then == TO_STOP:
        return life.but(phase=STOPPED, deadline=FOREVER), []
    if life.then == TO_START:
        return _spawn(m, life.but(recent=(), streak=0))
    return after_its_own_end(m, life)


def stopped(m: Moment) -> "Result":
    """Nothing runs: it only will not by itself any more."""
    return m.life.but(phase=STOPPED, deadline=FOREVER, why=""), []


# --- the table ---

if TYPE_CHECKING:
    Row = tuple[str, str, Callable[[Moment], bool], Callable[[Moment], Result]]

# fmt: off
TABLE: "tuple[Row, ...]" = (
    (WAITING,  START,    always,         spawn_anew),
    (WAITING,  TIMEOUT,  always,         spawn),         # the pause is over
    (WAITING,  STOP,     always,         stopped),
    (WAITING,  LEAVE,    always,         stopped),
    (WAITING,  AGAIN,    always,         spawn_anew),

    (STARTING, FAILED,   always,         give_up_start),
    (STARTING, IS_READY, always,         ready),
    (STARTING, TIMEOUT,  is_good_enough, ready),
    (STARTING, TIMEOUT,  always,         give_up),
    (STARTING, STOP,     always,         stop),
    (STARTING, LEAVE,    always,         stop),          # it serves nobody yet
    (STARTING, AGAIN,    always,         again),
    (STARTING, LAST,     always,         stop_then),

    (READY,    STOP,     always,         stop),
    (READY,    LEAVE,    drains,         drain),
    (READY,    LEAVE,    always,         stop),
    (READY,    AGAIN,    always,         again),
    (READY,    LAST,     always,         stop_then),

    (DRAINING, DRAINED,  always,         drained),
    (DRAINING, TIMEOUT,  always,         drained),
    (DRAINING, STOP,     always,         stop),
    (DRAINING, AGAIN,    always,         again),

    (STOPPING, FAILED,   always,         give_up_stop),  # it was asked before it was there
    (STOPPING, TIMEOUT,  always,         kill),
    (STOPPING, STOP,     always,         hurry),
    (STOPPING, LEAVE,    always,         stop_then),
    (STOPPING, AGAIN,    always,         start_then),
    (STOPPING, START,    always,         start_then),

    (KILLING,  FAILED,   always,         give_up_stop),
    (KILLING,  TIMEOUT,  always,         kill),
    (KILLING,  STOP,     always,         stop_then),
    (KILLING,  LEAVE,    always,         stop_then),
    (KILLING,  AGAIN,    always,         start_then),
    (KILLING,  START,    always,         start_then),

    (SWEEPING, TIMEOUT,  always,         kill_rest),
    (SWEEPING, EMPTY,    always,         swept),
    (SWEEPING, STOP,     always,         hurry),
    (SWEEPING, LEAVE,    always,         stop_then),
    (SWEEPING, AGAIN,    always,         start_then),
    (SWEEPING, START,    always,         start_then),
)
"""What several phases share is in COMMON; an event that a phase has no row for changes nothing (a late timeout, a second READY=1)."""
# fmt: on

COMMON: "tuple[Row, ...]" = (
    *(row for phase in ALIVE_PHASES for row in ((phase, ENDED, leaves_some, ask_rest), (phase, ENDED, always, ended))),
    *(
        row
        for phase in OVER
        for row in (
            (phase, START, always, spawn_anew),
            (phase, AGAIN, always, spawn_anew),
            (phase, STOP, always, stopped),
            (phase, LEAVE, always, stopped),
        )
    ),
)


def _index(*tables: "tuple[Row, ...]") -> "dict[tuple[str, str], list[Row]]":
    index: dict[tuple[str, str], list[Row]] = {}
    for table in tables:
        for row in table:
            index.setdefault((row[0], row[1]), []).append(row)
    return index


ROWS = _index(TABLE, COMMON)


def step(app: "App", life: Life, event: "Event", now: float, chance: float = 0.5) -> "Result":
    """What comes next, and what is to be done about it."""
    moment = Moment(app, life, event, now, chance)
    for _, _, guard, effect in ROWS.get((life.phase, event[0]), ()):
        if guard(moment):
            return effect(moment)
    return stay(moment)
