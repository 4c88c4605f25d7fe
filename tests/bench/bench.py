"""pyinit beside tini, dumb-init and catatonit: `python tests/bench/bench.py [--json FILE] [--markdown FILE] [--quick]`.

The numbers are shown beside the bars of pyinit's two engines, met or not. The exit status is 0 whatever they are, and 1 when the bench
itself breaks: a busy machine is no failed test.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `bench` is a package; pyinit itself is the installed wheel

from rich.console import Console  # noqa: E402

from bench import containers, inits, measure  # noqa: E402
from bench.inits import BrokenError  # noqa: E402
from bench.report import Measured, Outcome  # noqa: E402
from support.dispositions import hear_what_is_ignored  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="pyinit beside tini, dumb-init and catatonit, in one run.")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it works, not to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables for the README")
    parser.add_argument(
        "--times", type=int, default=25, metavar="N", help="how often TERM is sent right after start (%(default)s)"
    )
    parser.add_argument(
        "--many", type=int, default=1000, metavar="N", help="and how often with the native engine (%(default)s)"
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        default=os.environ.get("PYINIT_PURE_WHEEL") or os.environ.get("PYINIT_WHEEL"),
        metavar="FILE",
        help="the pure one, for the containers ($PYINIT_PURE_WHEEL)",
    )
    arguments = parser.parse_args()
    hear_what_is_ignored()
    try:
        outcome = prepare()
    except BrokenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    broken = run(outcome, arguments)
    outcome.print()
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome.json(), indent=1) + "\n", "utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(outcome.markdown(), "utf-8")
    for problem in broken:
        print(f"bench: {problem}", file=sys.stderr)
    return 1 if broken else 0


def prepare() -> Outcome:
    about = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "CPU": measure.machine(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
    }
    return Outcome(about, inits.find())


def run(outcome: Outcome, arguments: argparse.Namespace) -> list[BrokenError]:
    """Every measurement, one after the other. Those that break do not keep the others from being taken."""
    quick: bool = arguments.quick
    times, many = (2, 2) if quick else (arguments.times, arguments.many)
    here = [init for init in outcome.inits if init.command is not None]
    broken = []
    with Console(stderr=True).status(
        "starting", refresh_per_second=1
    ) as status:  # a busy spinner would be measured too
        show, faults = status.update, outcome.faults
        steps: list[Callable[[], Measured]] = [
            lambda: measure.start(here, 5 if quick else 200, show, faults),
            lambda: measure.memory(here, 1 if quick else 5, show),
            lambda: measure.idle(here, 2 if quick else 10, show),
            lambda: measure.latency(here, 4 if quick else 30, 50 if quick else 400, show, faults),
            lambda: measure.orphans(here, 1 if quick else 5, 300 if quick else 10_000, show),
            lambda: measure.growth(
                [init for init in here if init.name in (inits.TINI, inits.NATIVE)], 3000 if quick else 1_000_000, show
            ),
            lambda: containers.lost_signals(here, times, many, arguments.wheel, show, faults),
        ]
        for step in steps:
            try:
                rows, notes = step()
            except BrokenError as error:
                broken.append(error)
            else:
                outcome.rows += rows
                outcome.notes += notes
    if quick:
        outcome.notes.insert(0, "a quick run: it shows that the bench works, its numbers mean little")
    return broken


if __name__ == "__main__":
    sys.exit(main())
