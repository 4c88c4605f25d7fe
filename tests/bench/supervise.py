"""`pyinitctl start` beside PM2: `python tests/bench/supervise.py [--json FILE] [--markdown FILE] [--quick]`.

The numbers are shown beside their bars, met or not. The exit status is 0 whatever they are, and 1 when the bench itself breaks.
"""

import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # `bench` is a package; pyinit itself is the installed wheel

from bench import common, serving, supervisors  # noqa: E402
from bench.report import Outcome  # noqa: E402
from support.dispositions import hear_what_is_ignored  # noqa: E402


def main() -> int:
    arguments = common.parser("`pyinitctl start` beside PM2 and servers by themselves, in one run.").parse_args()
    hear_what_is_ignored()
    try:
        tools = supervisors.find()
    except common.BrokenError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    versions = {
        supervisors.OURS: version("pyinit-pid1"),
        supervisors.PM2: supervisors.pm2_version(tools),
        supervisors.ALONE: "",
    }
    about = common.about() | {"Node": supervisors.command_line([tools.node, "--version"], {}).strip().lstrip("v")}
    outcome = Outcome(about, versions, supervisors.PM2)
    outcome.notes += [f"absent: {why}" for why in tools.missing]
    broken = common.take(outcome, steps(tools, outcome.faults, quick=arguments.quick), quick=arguments.quick)
    return common.finish(outcome, arguments, broken)


def steps(tools: supervisors.Tools, faults: common.Faults, *, quick: bool) -> list[common.Step]:
    """Every measurement; a quarter of an hour in all."""
    pairs, seconds = (2, 1) if quick else (11, 5)
    requests, reloads, blocks = (4_000, 2, 2) if quick else (1_000_000, 20, 4)
    fewer = 1_000 if quick else 20_000
    return [
        partial(serving.memory, tools, 1 if quick else 3),
        partial(serving.idle, tools, 2 if quick else 60),
        partial(serving.throughput, tools, pairs, seconds, faults),
        partial(serving.crashes, tools, 2 if quick else 31),
        partial(serving.control, 2_000 if quick else 20_000, faults),
        partial(serving.reloads_of_node, tools, requests, reloads, blocks, faults),
        *(partial(serving.reloads_of_python, tools, one, fewer, reloads, faults) for one in serving.SERVERS),
    ]


if __name__ == "__main__":
    sys.exit(main())
