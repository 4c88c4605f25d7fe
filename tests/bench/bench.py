"""pyinit beside tini, dumb-init and catatonit: `python tests/bench/bench.py [--json FILE] [--markdown FILE] [--quick]`.

The numbers are shown beside the bars of pyinit's two engines, met or not. The exit status is 0 whatever they are, and 1 when the bench
itself breaks: a busy machine is no failed test.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `bench` is a package; pyinit itself is the installed wheel

from bench import common, containers, inits, measure  # noqa: E402
from bench.report import TINI, Outcome  # noqa: E402
from support.dispositions import hear_what_is_ignored  # noqa: E402


def main() -> int:
    parser = common.parser("pyinit beside tini, dumb-init and catatonit, in one run.")
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
        found = inits.find()
    except common.BrokenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    versions = {init.name: init.version if init.command is not None else None for init in found}
    outcome = Outcome(common.about(), {inits.DIRECT.name: "", **versions}, TINI)
    here = [init for init in found if init.command is not None]
    broken = common.take(outcome, steps(here, outcome.faults, arguments), quick=arguments.quick)
    return common.finish(outcome, arguments, broken)


def steps(here: list[inits.Init], faults: common.Faults, arguments: argparse.Namespace) -> list[common.Step]:
    """Every measurement."""
    quick: bool = arguments.quick
    times, many = (2, 2) if quick else (arguments.times, arguments.many)
    grown = [init for init in here if init.name in (TINI, inits.NATIVE)]
    return [
        lambda show: measure.start(here, 5 if quick else 200, show, faults),
        lambda show: measure.memory(here, 1 if quick else 5, show),
        lambda show: measure.idle(here, 2 if quick else 10, show),
        lambda show: measure.latency(here, 4 if quick else 30, 50 if quick else 400, show, faults),
        lambda show: measure.orphans(here, 1 if quick else 5, 300 if quick else 10_000, show),
        lambda show: measure.growth(grown, 3000 if quick else 1_000_000, show),
        lambda show: containers.lost_signals(here, times, many, arguments.wheel, show, faults),
    ]


if __name__ == "__main__":
    sys.exit(main())
