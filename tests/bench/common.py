"""What every bench has: its options, its steps one after the other, and where the numbers go in the end."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from bench.report import Measured, Outcome
from support.waiting import NeverCameError

T = TypeVar("T")
Progress = Callable[[str], None]
Faults = list[str]
Step = Callable[[Progress], Measured]


class BrokenError(Exception):
    """The bench itself does not work here; the text says why. No measured number is ever one."""


def parser(description: str) -> argparse.ArgumentParser:
    """With the options that all have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="few repeats: to see that it works, not to measure")
    made.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="the tables for the README")
    return made


def about() -> dict[str, str]:
    """When and where."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "CPU": _machine(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
    }


def _machine() -> str:
    """The CPU's name and how many of them this process may use."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{len(os.sched_getaffinity(0))} x {names[0] if names else 'unknown CPU'}"


def take(outcome: Outcome, steps: Sequence[Step], *, quick: bool) -> list[Exception]:
    """Every measurement, one after the other. Those that break do not keep the others from being taken."""
    broken: list[Exception] = []
    # a busy spinner would be measured too
    with Console(stderr=True).status("starting", refresh_per_second=1) as status:
        show = status.update if sys.stderr.isatty() else _say_now_and_then()
        for step in steps:
            try:
                rows, notes = step(show)
            except (BrokenError, NeverCameError, OSError, subprocess.SubprocessError) as error:
                broken.append(error)
            else:
                outcome.rows += rows
                outcome.notes += notes
    if quick:
        outcome.notes.insert(0, "a quick run: it shows that the bench works, its numbers mean little")
    return broken


def _say_now_and_then() -> Progress:
    """For a log: a line every ten seconds at most."""
    said = 0.0

    def say(words: str) -> None:
        nonlocal said
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            print(f"bench: {words}", file=sys.stderr, flush=True)

    return say


def finish(outcome: Outcome, arguments: argparse.Namespace, broken: Sequence[Exception]) -> int:
    """Show the numbers, and write them where that is asked for: the exit status."""
    outcome.print()
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome.json(), indent=1) + "\n", "utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(outcome.markdown(), "utf-8")
    for problem in broken:
        print(f"bench: {problem}", file=sys.stderr)
    return 1 if broken else 0


def in_turn(all_of_them: Sequence[T], i: int) -> list[T]:
    """Round `i`'s order: each begins once in a while, since whoever follows a busy neighbour finds a warmer or a colder machine."""
    first = i % len(all_of_them)
    return [*all_of_them[first:], *all_of_them[:first]]


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
    """Raises BrokenError when it does not come true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise BrokenError(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)
