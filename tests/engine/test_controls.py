"""The detectors, and the proof that they detect: each passes for pyinit and catches an "init" that is broken on purpose."""

import os
import signal as signals
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support import processes
from support.engines import Engine
from support.runs import Run, python
from support.waiting import NeverCameError, until

Start = Callable[..., Run]
Detector = Callable[[Start, Sequence[str]], None]
BROKEN = Path(__file__).resolve().parent / "broken"


def reaps_orphans(start: Start, init: Sequence[str]) -> None:
    """Twenty orphans end, and no zombie is left under the init."""
    code = "[daemon(lambda: None) for _ in range(20)]; block(10); say('ready'); signal.sigwait({10})"
    run = start(*init, *python(code)).ready()

    def zombies() -> list[int]:
        return [pid for pid in processes.children(run.pid) if processes.state(pid) == "Z"]

    until(lambda: not zombies(), 2, "no zombie")
    os.kill(run.program, signals.SIGUSR1)
    assert run.wait() == 0


def forwards_term(start: Start, init: Sequence[str]) -> None:
    """TERM sent to the init arrives at the program."""
    run = start(*init, *python("block(); say('ready'); record(15); sys.exit(7)")).ready().send("TERM")
    assert run.wait(2) == 7


def forwards_once(start: Start, init: Sequence[str]) -> None:
    """HUP arrives, and no second one before a marker that is sent after it."""
    run = start(*init, *python("block(); say('ready'); record(10)")).ready().send("HUP")
    run.wait_out("1")
    end = time.monotonic() + 0.3  # what is not to happen can only be given time to
    until(lambda: time.monotonic() > end, 1, "a moment")
    os.kill(run.program, signals.SIGUSR1)
    run.wait_out("10")
    assert run.lines == ["ready", "1", "10"]


def waits_for_workers(start: Start, init: Sequence[str]) -> None:
    """A worker that takes a moment to finish its writing after TERM is finished when the init is gone."""
    code = """
def worker():
    block(15)
    say("ready")
    signal.sigwait({15})
    time.sleep(0.1)
    say("written")
daemon(worker)
signal.pause()
"""
    run = start(*init, *python(code)).ready().send("TERM")
    run.wait()
    assert run.lines == ["ready", "written"]


def keeps_the_status(start: Start, init: Sequence[str]) -> None:
    """The program's, not an orphan's that ends after it."""
    code = "daemon(lambda: (block(15), say('ready'), signal.sigtimedwait({15}, 0.2), os._exit(3)))\nos._exit(7)"
    assert start(*init, *python(code)).wait() == 7


def sleeps(start: Start, init: Sequence[str]) -> None:
    """With nothing to do it does not wake up: over one second, which is the measurement itself."""
    run = start(*init, *python("say('ready'); time.sleep(60)")).ready()
    until(lambda: processes.state(run.pid) == "S", 10, "the init's sleep")
    end = time.monotonic() + 0.2  # the last of the start
    until(lambda: time.monotonic() > end, 1, "a moment")
    before = processes.switches(run.pid)
    end = time.monotonic() + 1
    until(lambda: time.monotonic() > end, 2, "one second")
    assert processes.switches(run.pid) - before == 0


DETECTORS: dict[Detector, str] = {
    reaps_orphans: "does_not_reap",
    forwards_term: "does_not_forward",
    forwards_once: "forwards_twice",
    waits_for_workers: "exits_early",
    keeps_the_status: "loses_the_status",
    sleeps: "ticks",
}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_pyinit_passes(detector: Detector, engine: Engine, start_any: Start) -> None:
    """What is caught below is not caught here."""
    detector(start_any, (*engine.command, "--"))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_broken_init_is_caught(detector: Detector, start_any: Start) -> None:
    """The same assertions fail for an init that is broken in just this."""
    broken = (sys.executable, "-I", "-S", str(BROKEN / f"{DETECTORS[detector]}.py"))
    with pytest.raises((AssertionError, NeverCameError)):
        detector(start_any, broken)
