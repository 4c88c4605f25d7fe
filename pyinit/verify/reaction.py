"""What one process would do with a signal, as far as /proc shows it; and which init it is, and whom that one passes a signal on to.

Pure: from `Facts` to words. What a handler does shows nowhere; it is taken to end the process, and whoever reads is told so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pyinit.init import options, signals
from pyinit.lint.programs import INITS, Init
from pyinit.verify.evidence import SHELLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyinit.containers.facts import Facts

NO_EFFECT = (signals.CHLD, signals.CONT, signals.number_of("URG"), signals.number_of("WINCH"))
"""Whose default action is none (signal(7))."""

RESETTING = ("node", "bun", "deno")
"""Programs that ignore no signal that they were started with: whether they run in the background of a shell cannot be told by that."""

RAISING = ("node", "nodejs")
"""Programs with a handler of their own for INT and TERM that resets it and raises the signal again: as PID 1 they live on. Whether it is
that handler or one of the application's does not show."""

NANO = options.SECOND

DEFAULT_SCOPE = options.Policy()
"""pyinit's own defaults, where its options cannot be understood."""


class Does(Enum):
    """What becomes of a signal that is sent to a process."""

    ENDS = "ends it at once: it has no handler"
    HANDLES = "has a handler"
    FETCHES = "is waited for"
    GONE = "is dead already"
    DROPPED = "is dropped by the kernel: PID 1 has no handler"
    IGNORES = "is ignored"
    BLOCKS = "is blocked"
    NOTHING = "does nothing: that is its default action"
    STOPS = "stops it, and does not end it"
    STOPPED = "waits until it is continued: it is stopped"
    SHELL = "has a trap, which runs when the foreground command has ended"
    INTERACTIVE = "is caught by an interactive shell, which stays"
    TRACED = "goes to its tracer first"
    STUCK = "waits until it leaves its uninterruptible sleep"
    UNSURE = "has a trap; whether the shell runs it before its child has ended shows nowhere"
    RAISES = "is caught, by the program or by Node itself, which then raises it again: for a PID 1 that is dropped"
    UNREAD = "is blocked; whether it is waited for could not be read"


ENDING = frozenset({Does.ENDS, Does.HANDLES, Does.FETCHES, Does.GONE})
"""After which it is taken to end by itself."""

STAYING = frozenset({Does.DROPPED, Does.IGNORES, Does.BLOCKS, Does.NOTHING, Does.STOPS, Does.STOPPED, Does.INTERACTIVE})
"""After which it is surely still there. Of the rest nobody can tell."""

HEARING = frozenset({Does.HANDLES, Does.FETCHES})
"""In which an init can pass it on."""


def does(one: Facts, number: int, children: Sequence[Facts] = (), *, frozen: bool = False, continued: bool = False) -> Does:  # fmt: skip
    """What becomes of the signal. `children`: its own. `frozen`: the container is paused, and the stop unpauses it.

    `continued`: whoever sends the signal has SIGCONT follow.
    """
    # in the order in which the kernel asks: blocked and awaited, ignored, blocked, handled, default (prepare_signal in kernel/signal.c)
    if one.is_zombie:
        return Does.GONE
    if one.tracer:
        return Does.TRACED
    if one.state in "Tt" and not continued:
        return Does.STOPPED
    if one.state == "D" and not frozen:
        return Does.STUCK
    if one.fetches(number):
        return Does.FETCHES
    if signals.in_mask(number, one.ignored):
        return Does.IGNORES
    if one.blocks(number):
        return Does.UNREAD if one.unread else Does.BLOCKS
    if signals.in_mask(number, one.caught):
        if one.is_first and one.program in RAISING:
            return Does.RAISES
        return _handled(one, children)
    if one.is_first:
        return Does.DROPPED
    if number in signals.STOPPING:
        return Does.STOPS
    return Does.NOTHING if number in NO_EFFECT else Does.ENDS


def _handled(one: Facts, children: Sequence[Facts]) -> Does:
    if not is_shell(one):
        return Does.HANDLES
    if all(re.fullmatch(r"-(-.*|[^c-]+)", word) for word in one.words[1:]):
        return Does.INTERACTIVE
    awaited = foreground(one, children)
    if any(child.program.startswith(RESETTING) for child in awaited) and one.program == "bash":
        return Does.UNSURE
    return Does.SHELL if awaited else Does.HANDLES


def is_shell(one: Facts) -> bool:
    """Whether it is a shell; busybox by the name that it was called by."""
    program = one.program or one.name
    called = one.words[0].rpartition("/")[2].lstrip("-") if one.words else one.name
    return called in SHELLS if program == "busybox" else program in SHELLS


def foreground(shell: Facts, children: Sequence[Facts]) -> list[Facts]:
    """The children for which a shell waits before it runs a trap.

    Where it sleeps tells: a foreground command is awaited in wait4(2), dash's `wait` in sigsuspend(2). bash waits for both in wait4;
    but what runs in the background of a shell without job control ignores SIGINT (POSIX, "Asynchronous Lists").
    """
    if shell.threads and shell.threads[0].where and not shell.is_in("do_wait"):
        return []
    alive = [child for child in children if not child.is_zombie]
    if signals.in_mask(signals.INT, shell.ignored):
        return alive
    return [child for child in alive if not signals.in_mask(signals.INT, child.ignored)]


def sleeps_for(one: Facts) -> float | None:
    """How long a `sleep` has left, in seconds; None for any other program."""
    if len(one.words) != 2 or one.words[0].rpartition("/")[2] != "sleep":
        return None
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)([smhd]?)", one.words[1])
    if found is None:
        return None
    return max(0.0, float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] - one.age)


# --- inits ---

KNOWN = {**INITS, "podman-init": INITS["catatonit"]}
"""By the names that they are called by: podman puts catatonit into a container as /run/podman-init."""


@dataclass(frozen=True)
class Role:
    """An init that is known: whom it passes signals on to, and what it does about the others."""

    name: str
    scope: int
    """Of options.SCOPES: for the stop signal."""
    rewritten: Mapping[int, int]
    """What is sent instead of a signal; 0: nothing."""
    policy: options.Policy | None = None
    """pyinit's."""
    runs_program: bool = True
    """Whether it has one program, and ends with it; otherwise it manages services."""

    def sent(self, number: int) -> int:
        """What the program gets for a signal; 0: nothing."""
        sent = self.rewritten.get(number, number)
        if sent and self.policy is not None and self.stops_on(number) and self.policy.plan[0][0] != options.AS_IT_CAME:
            return self.policy.plan[0][0]
        return sent

    def stops_on(self, number: int) -> bool:
        """Whether pyinit begins a shutdown on it; others do not know what that is."""
        return self.policy is not None and signals.in_mask(number, self.policy.stop_signals)

    def scope_of(self, number: int) -> int:
        """Whom it is sent to."""
        return self.policy.others if self.policy is not None and not self.stops_on(number) else self.scope

    @property
    def sweeps(self) -> bool:
        """Whether it asks everybody who is left when its program has ended, and waits for them."""
        return self.policy is not None and self.policy.linger > 0

    @property
    def until_kill(self) -> float:
        """Seconds from the stop signal to its own SIGKILL; infinite where it never kills."""
        if self.policy is None:
            return float("inf")
        length = options.later(self.policy.drain, options.plan_length(self.policy.plan))
        return float("inf") if length == options.NEVER else length / NANO


def role_of(one: Facts) -> Role | None:
    """Which init it is; None for any other program. An init is known by what it was called, else by its executable's name."""
    called = one.words[0].rpartition("/")[2] if one.words else ""
    for name in (called, one.program, one.name):
        if name in KNOWN:
            return _known(one, KNOWN[name])
    if "pyinit" in (called, one.program):
        return _pyinit(one, one.words[1:])
    if one.name == "pyinit":  # the Python engine calls itself that: python3 ... -X pyinit=MASK MAIN [OPTIONS] PROGRAM
        at = next((at for at, word in enumerate(one.words) if word.startswith("pyinit=")), len(one.words))
        return _pyinit(one, one.words[at + 2 :])
    return None


def _pyinit(one: Facts, words: Sequence[str]) -> Role:
    environ = {name.encode(): value.encode() for name, value in one.environment.items()}
    try:
        policy = options.parse([word.encode() for word in words], environ)
    except options.UsageError:  # it runs, so it understood them: another version than this
        policy = DEFAULT_SCOPE
    return Role("pyinit", policy.scope, dict(enumerate(policy.rewrite)), policy)


def _known(one: Facts, init: Init) -> Role:
    """The options of other inits, as `lint` knows them: letters that take a value, the one for the process group."""
    scope = options.GROUP if init.always_to_group else options.CHILD
    rewritten = {}
    words = list(one.words[1:])
    while words and words[0].startswith("-") and words[0] not in ("-", "--"):
        word = words.pop(0)
        takes_value = word in init.long_valued or (not word.startswith("--") and word[-1] in init.valued)
        value = words.pop(0) if takes_value and words else ""
        if word in init.not_to_group:
            scope = options.CHILD
        elif init.to_group and not word.startswith("--") and init.to_group in word[1:]:
            scope = options.GROUP
        if init.name == "dumb-init" and takes_value:
            numbers = re.fullmatch(r"([0-9]+):([0-9]+)", value)
            rewritten.update({int(numbers[1]): int(numbers[2])} if numbers else {})
    if init.name == "tini" and "TINI_KILL_PROCESS_GROUP" in one.environment:
        scope = options.GROUP
    return Role(init.name, scope, rewritten, runs_program=init.runs_program)
