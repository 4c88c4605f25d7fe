"""One contract, two engines: the native engine's machine and its option parser against Python's.

The machine is compared over its complete reachable state space (the checker explores, both engines step), and on random runs with
real durations; the parser by `--print-policy` of the executable that is installed.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinit.init import about, machine, options, signals
from pyinit.init.machine import State
from pyinit.init.options import NEVER, OPTIONS, Policy, UsageError, parse, show
from support import checker, native
from support.checker import Explorer
from support.engines import native_executable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinit.init.machine import Action, Event


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The native engine as a library."""
    return native.library(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def twin(made: ctypes.CDLL) -> native.NativeMachine:
    """The native machine."""
    return native.NativeMachine(made)


# --- the machine ---


class Different(AssertionError):  # noqa: N818 - a verdict
    """The engines disagree about one step."""


def both(other: native.NativeMachine) -> checker.Step:
    """A step of the Python machine that must be the native one's too."""

    def step(policy: Policy, state: State, event: Event, now: int) -> tuple[State, list[Action]]:
        mine, theirs = machine.step(policy, state, event, now), other.step(policy, state, event, now)
        if not native.same(mine[0], theirs[0]) or mine[1] != theirs[1]:
            raise Different(f"{policy}\n{state} {event} at {now}\nPython: {mine}\nnative: {theirs}")
        return mine

    return step


@pytest.mark.timeout(600)
def test_every_step_of_the_reachable_space(twin: native.NativeMachine, capsys: pytest.CaptureFixture[str]) -> None:
    """Every event in every state that any order of events leads to: every sequence of any depth is made of these."""
    explorers = [Explorer(policy, both(twin)) for policy in list(checker.policies())[::4]]
    explorers += [Explorer(policy, both(twin), variety=True) for policy in checker.special_policies()]
    for explorer in explorers:
        explorer.explore()
    steps = sum(explorer.transitions for explorer in explorers)
    with capsys.disabled():
        print(f"\n  native machine: {len(explorers)} policies, {steps} steps compared ", end="")
    assert steps > 100_000


def test_a_difference_is_found(twin: native.NativeMachine) -> None:
    """Negative control: a Python machine with one row changed."""

    class Changed(native.NativeMachine):
        def __init__(self) -> None:
            """Nothing of its own."""

        def step(self, policy: Policy, state: State, event: Event, now: int) -> tuple[State, list[Action]]:
            after, actions = twin.step(policy, state, event, now)
            return (after.but(deadline=7), actions) if event[0] == machine.ENDED else (after, actions)

    with pytest.raises(Different):
        Explorer(checker.small(), both(Changed())).explore()


@pytest.mark.timeout(600)
def test_random_runs_with_real_durations(twin: native.NativeMachine) -> None:
    """A million steps, in runs of up to 200 events that need not make sense."""
    rng = random.Random(20)
    step = both(twin)
    steps = 0
    while steps < 1_000_000:
        policy = random_policy(rng)
        state, now = State(), rng.randrange(10**15)
        for _ in range(rng.randrange(1, 200)):
            before = state
            state, _ = step(policy, state, random_event(rng, state), now)
            steps += 1
            lag = rng.choice((0, 1, 10**6, 10**9))
            mine, theirs = machine.postponed(before, state, lag), twin.postponed(before, state, lag)
            assert native.same(mine, theirs), (before, state, lag)
            if state.phase == machine.DONE:
                break
            now += rng.choice((0, 1, 10**6, 10**9, 10**10))


def random_policy(rng: random.Random) -> Policy:
    """Any policy, its durations those of people."""
    durations = (0, 1, 10**6, 10**9, 8 * 10**9, NEVER - 1, NEVER)
    plan = [(rng.choice((0, 1, 2, 15, 19, 34, 64)), rng.choice(durations)) for _ in range(rng.randrange(1, 5))]
    if rng.random() < 0.7:
        plan.append((signals.KILL, 0))
    else:
        plan[-1] = (plan[-1][0], NEVER)
    return Policy(
        plan=tuple(plan),
        drain=rng.choice(durations),
        linger=rng.choice(durations),
        wait_all=rng.random() < 0.5,
        scope=rng.randrange(3),
        others=rng.randrange(2),
        stop_signals=rng.getrandbits(64),
        rewrite=tuple(rng.choice((n, n, n, 0, 3)) for n in range(signals.RTMAX + 1)),
        expect=tuple(sorted(rng.sample(range(256), 3))),
        fair=rng.choice(durations[:5]),
        bound=rng.choice(durations[:5]),
        apart=rng.choice(durations[:5]),
    )


def random_event(rng: random.Random, state: State) -> Event:
    """Any event; TIMEOUT only where a step of the plan follows, which is when a deadline runs."""
    kind = rng.randrange(5)
    if kind == machine.SIGNAL or (kind == machine.TIMEOUT and state.deadline == NEVER):
        return machine.SIGNAL, rng.choice(signals.ALL)
    if kind == machine.ENDED:
        return kind, rng.choice((0, 15, 9, 0x300, 0x7D00, 64, 0x86))
    if kind == machine.EMPTY:
        return (kind, rng.choice((machine.NO_STATUS, 0x300))) if rng.random() < 0.1 else (machine.NOBODY, 0)
    return kind, 0


# --- the parser ---

COMMAND_LINES = (
    (
        "-t 5s --drain 1500ms --linger 2m --wait all --scope tree --stop-signals QUIT,RTMIN+3 -r TERM:QUIT -r HUP:0 "
        "-e 143 -e 3,TERM -s -p HUP -w --log json --termination-log /x -vv -- prog arg"
    ),
    "--stop TERM:8s,INT:4s,KILL --no-subreaper -g -q prog",
    "prog",
)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_structures_are_those_of_c(made: ctypes.CDLL, line: str) -> None:
    """What C writes into a policy is read field by field here: the mirror of pyinit.h in support/native.py is true."""
    words = [word.encode() for word in line.split()]
    array = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    nothing = (ctypes.c_char_p * 1)(None)
    filled = native.CPolicy()
    made.parse(ctypes.byref(filled), array, nothing)
    expected = parse(words, {})
    mirror = native.c_policy(expected)
    for name in ("steps", "scope", "others", "drain", "linger", "fair", "bound", "apart", "stop_signals", "wait_all"):
        assert getattr(filled, name) == getattr(mirror, name), name
    for name in ("parent_death", "verbosity", "grace_chosen", "warn_reap", "json"):
        assert getattr(filled, name) == getattr(expected, name), name
    assert (filled.termination_log or b"") == expected.termination_log
    assert filled.program[0] == expected.program[0]
    assert [(s.signal, s.duration) for s in filled.plan[: filled.steps]] == list(expected.plan)
    assert bytes(filled.rewrite) == bytes(mirror.rewrite)
    assert list(filled.expect) == list(mirror.expect)


@pytest.fixture(scope="session")
def printed() -> Callable[[list[bytes], dict[bytes, bytes]], tuple[int, bytes, bytes]]:
    """What the native executable makes of a command line: status, stdout, stderr."""
    executable = native_executable()

    def run(argv: list[bytes], environ: dict[bytes, bytes]) -> tuple[int, bytes, bytes]:
        done = subprocess.run([executable, b"--print-policy", *argv], env=environ, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def expected_of(argv: list[bytes], environ: dict[bytes, bytes]) -> tuple[int, bytes, bytes]:
    """The same by the Python engine, in this process."""
    try:
        policy = parse(argv, environ)
    except UsageError as error:
        line = f"pyinit: {error}\n".encode()
        return 125, b"", line if len(line) <= 4096 else line[:4092] + b"...\n"
    return 0, about.policy_text(policy).encode(), b""


LONG = [f"--{o.long}" for o in OPTIONS]
LETTERS = [f"-{o.short}" for o in OPTIONS if o.short]
# fmt: off
VALUES = [
    "", "0", "1", "5s", "10x", "-5", "1500ms", "2m", "infinity", "TERM", "KILL", "TERM:8s,KILL", "KILL,TERM",
    "TERM,INT", "=:3,KILL", "=", "TERM,INT:3", "all", "main", "none", "child", "tree", "TERM:QUIT", "HUP:0",
    "TERM:", "KILL:9", "USR1:RTMIN+3", "143", "300", "125", "3,4", "yes", "No", "oFF", "AUTO", "json", "xml",
    "QUIT,TERM", "RTMAX-31", "RTMIN+31", "rtmin+0", "SIGRTMIN", "32", "64", "65", "007", "15",
    "9223372036854775807ms", "9223372036s", "9223372037s", "153722867m", "99999999999999999999s", "SIG",
    "sigterm",
]
# fmt: on
ODD = [
    "--",
    "-",
    "-gc",
    "-vvqt5",
    "-é",
    "--é",
    "-\udcff",
    "--gracee",
    "--graze=3",
    "--verbose=1",
    "--stop-signal",
    "ſIGTERM",
    "a\nb",
    "\u202e",
    "\U000e0001",
    "TERM:1," * 40,
    "x" * 5000,
    "\udce2\udc82",
    "--" + "g" * 30,
]
word = st.one_of(
    st.sampled_from([*LONG, *LETTERS, *VALUES, *ODD]).map(os.fsencode),
    st.builds(lambda o, v: os.fsencode(f"{o}={v}"), st.sampled_from(LONG), st.sampled_from(VALUES)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map(str.encode),
    st.binary(max_size=8).filter(lambda b: b"\0" not in b),
)
environments = st.dictionaries(
    st.sampled_from([o.env for o in OPTIONS if o.env] + ["KUBERNETES_SERVICE_HOST"]).map(str.encode),
    st.one_of(st.sampled_from(VALUES).map(os.fsencode), st.binary(max_size=6).filter(lambda b: b"\0" not in b)),
    max_size=3,
)


@settings(max_examples=3000, deadline=None)
@given(st.lists(word, max_size=6), st.booleans(), environments)
def test_the_same_policy_or_the_same_error(
    printed: Callable[[list[bytes], dict[bytes, bytes]], tuple[int, bytes, bytes]],
    argv: list[bytes],
    has_program: bool,  # noqa: FBT001 - hypothesis gives it
    environ: dict[bytes, bytes],
) -> None:
    """Exit status, policy and the line for the user, byte by byte."""
    argv = [*argv, b"--", b"prog", b"arg"] if has_program else argv
    assert printed(argv, environ) == expected_of(argv, environ)


def test_the_comparison_can_fail() -> None:
    """Negative control: policies that differ are told apart, and so are words that are shown differently."""
    assert expected_of([b"-t5", b"x"], {}) != expected_of([b"-t6", b"x"], {})
    assert show(b"\xff") != show(b"\xfe")
    assert options.MAX_STEPS == 32
