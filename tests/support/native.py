"""The native engine's mind, called from Python: its machine and its option parser as a shared library, made for the test.

The structures below mirror pyinit.h; test_native.py shows that they do, by having C fill one from a command line.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.init import machine, signals
from pyinit.init.machine import State
from pyinit.init.options import MAX_STEPS, Policy

if TYPE_CHECKING:
    from pyinit.init.machine import Action, Event

FOLDER = Path(__file__).resolve().parents[2] / "pyinit" / "native"
MIND = ("machine.c", "options.c", "signals.c", "text.c", "report.c")
Int, Long, Mask, Flag = ctypes.c_int, ctypes.c_int64, ctypes.c_uint64, ctypes.c_bool
Text = ctypes.c_char_p


class CStep(ctypes.Structure):
    """struct step."""

    _fields_ = (("signal", Int), ("duration", Long))


class CPolicy(ctypes.Structure):
    """struct policy."""

    _fields_ = (
        ("about", Text),
        ("plan", CStep * (MAX_STEPS + 1)),
        ("steps", Int),
        ("scope", Int),
        ("others", Int),
        ("drain", Long),
        ("linger", Long),
        ("fair", Long),
        ("bound", Long),
        ("apart", Long),
        ("stop_signals", Mask),
        ("expect", Mask * 4),
        ("termination_log", Text),
        ("program", ctypes.POINTER(Text)),
        ("subreaper", Int),
        ("parent_death", Int),
        ("verbosity", Int),
        ("grace_chosen", Flag),
        ("wait_all", Flag),
        ("warn_reap", Flag),
        ("json", Flag),
        ("rewrite", ctypes.c_ubyte * (signals.RTMAX + 1)),
    )


class CState(ctypes.Structure):
    """struct state."""

    _fields_ = (
        ("phase", Int),
        ("status", Int),
        ("signal", Int),
        ("index", Int),
        ("deadline", Long),
        ("plan_end", Long),
        ("bound", Long),
        ("killed", Flag),
    )


class CAction(ctypes.Structure):
    """struct action."""

    _fields_ = (("verb", Int), ("argument", Int), ("scope", Int))


class CActions(ctypes.Structure):
    """struct actions."""

    _fields_ = (("list", CAction * 4), ("count", Int))


ARGUMENTS = {
    machine.FORWARD: 2,
    machine.ASK: 2,
    machine.EXIT: 1,
    machine.DRAIN: 1,
    machine.DROP: 1,
}
"""How many arguments an action has in Python; in C there is always room for two."""


def compiler() -> list[str]:
    """A C compiler for this machine: zig's, else the system's."""
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    found = shutil.which("cc")
    if not found:
        raise FileNotFoundError("no C compiler: pip install ziglang, or apt-get install gcc")
    return [found]


def library(folder: Path) -> ctypes.CDLL:
    """What decides in the native engine as a shared library, made in `folder`."""
    made = folder / "native.so"
    # undefined behaviour is a trap, which ends the tests: this option's older name is the one that every compiler knows
    undefined = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    options = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", *undefined]
    subprocess.run([*compiler(), *options, "-o", made, *(FOLDER / name for name in MIND)], check=True)
    return ctypes.CDLL(str(made))


def c_policy(policy: Policy) -> CPolicy:
    """The same policy for C, as far as the machine looks at it."""
    made = CPolicy(steps=len(policy.plan))
    for i, (signal, duration) in enumerate(policy.plan):
        made.plan[i] = CStep(signal, duration)
    for name in ("scope", "others", "drain", "linger", "fair", "bound", "apart", "stop_signals", "wait_all"):
        setattr(made, name, getattr(policy, name))
    for code in policy.expect:
        made.expect[code // 64] |= 1 << code % 64
    for arrives, sent in enumerate(policy.rewrite):
        made.rewrite[arrives] = sent
    return made


class NativeMachine:
    """`machine.step` and `machine.postponed`, in C."""

    def __init__(self, made: ctypes.CDLL) -> None:
        self._step = made.step
        self._postpone = made.postpone
        for function in (self._step, self._postpone):
            function.restype = None
        self._step.argtypes = (ctypes.c_void_p, ctypes.c_void_p, Int, Int, Long, ctypes.c_void_p)
        self._postpone.argtypes = (ctypes.c_void_p, ctypes.c_void_p, Long)
        self._policies: dict[int, tuple[Policy, CPolicy]] = {}

    def step(self, policy: Policy, state: State, event: Event, now: int) -> tuple[State, list[Action]]:
        """As machine.step."""
        _, given = self._policies.setdefault(id(policy), (policy, c_policy(policy)))
        after, todo = to_c(state), CActions()
        self._step(ctypes.addressof(given), ctypes.addressof(after), *event, now, ctypes.addressof(todo))
        found = [todo.list[i] for i in range(todo.count)]
        actions = [(a.verb, *(a.argument, a.scope)[: ARGUMENTS.get(a.verb, 0)]) for a in found]
        return from_c(after), actions

    def postponed(self, before: State, state: State, lag: int) -> State:
        """As machine.postponed."""
        first, after = to_c(before), to_c(state)
        self._postpone(ctypes.addressof(first), ctypes.addressof(after), lag)
        return from_c(after)


def to_c(state: State) -> CState:
    """A state for C."""
    return CState(
        state.phase, state.status, state.signal, state.index, state.deadline, state.plan_end, state.bound, state.killed
    )


def from_c(state: CState) -> State:
    """A state from C."""
    return State(
        state.phase, state.status, state.signal, state.index, state.deadline, state.plan_end, state.bound, state.killed
    )


def same(one: State, other: State) -> bool:
    """Whether two states agree in every field."""
    return all(getattr(one, name) == getattr(other, name) for name in State.__slots__)
