"""How often does a verdict of verify differ from run to run? `.venv/bin/python tests/container/flakes.py [--runs N] [--json FILE]`.

Three containers of docker/checks, one that passes, one that fails and one that skips, are verified N times each, on an idle machine and
with every core loaded. A verdict counts as differing where it is not the one that this check gave most often for this container, in
both conditions together. Measured, not judged: the exit status is 0 whatever comes out, and 1 when a run was impossible.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docker.errors import ImageNotFound

from pyinit.containers.engine import Engine
from pyinit.containers.remote import Agent
from pyinit.verify.acts import Stage
from pyinit.verify.ready import Readiness
from pyinit.verify.runner import ImpossibleRunError, Plan, run
from pyinit.verify.subject import ImageSubject, image_of
from support.dispositions import hear_what_is_ignored

PROJECT = Path(__file__).resolve().parents[2]
TAG = "pyinit-flakes:checks"
SERVER = ("python3", "/checks/server.py")
CONTAINERS = {
    "passes": ("pyinit", "--", *SERVER),
    "fails": ("sh", "-c", f"{' '.join(SERVER)}; true"),
    "skips": ("python3", "/checks/needy.py"),
}
GRACE = 3

BURN = "while True: pass"

Runs = list[dict[str, str]]
"""The verdict of each check, run by run."""


def build(engine: Engine) -> None:
    """The programs of docker/checks and the installed pyinit, upon the base image."""
    base = subprocess.run(
        ["docker/base", "python"], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()[-1]
    files = {file.name: file.read_bytes() for file in sorted((PROJECT / "docker" / "checks").glob("*.*"))}
    files["pyinit"] = (Path(sys.executable).parent / "pyinit").read_bytes()
    files["Dockerfile"] = f"FROM {base}\nCOPY pyinit /usr/local/bin/\nCOPY *.py *.sh /checks/\n".encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    engine.client.images.build(
        fileobj=context, custom_context=True, tag=TAG, network_mode="none", rm=True, forcerm=True
    )


@contextlib.contextmanager
def loaded(cores: int) -> Iterator[None]:
    """So many processes that do nothing but take all that a core has."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(cores)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def verify(engine: Engine, agent: Agent, command: tuple[str, ...]) -> dict[str, str]:
    """The verdict of each check. Raises ImpossibleRunError."""
    options = {"network_mode": "none"}
    subject = ImageSubject(image_of(engine, TAG, options, command, "never"), GRACE, command, options)
    found = run(Stage(engine, agent, subject, Readiness(log="^ready$", timeout=60)), Plan(), lambda *_: None)
    return {one.check.id: one.finding.verdict.value for one in found.results}


def usual(runs: Runs) -> dict[str, str]:
    """What each check said most often."""
    return {check: Counter(one[check] for one in runs).most_common(1)[0][0] for check in runs[0]}


def differing(runs: Runs, expected: dict[str, str]) -> Counter[str]:
    """How often each check said something else, and what: `GR-03 skipped`."""
    return Counter(f"{check} {said}" for one in runs for check, said in one.items() if said != expected[check])


def measure(engine: Engine, agent: Agent, times: int) -> dict[str, Any]:
    """By condition and container: all verdicts, and how long each run took."""
    found: dict[str, Any] = {}
    for condition, cores in (("idle", 0), ("loaded", len(os.sched_getaffinity(0)))):
        with loaded(cores):
            for name, command in CONTAINERS.items():
                runs, seconds = [], []
                for number in range(times):
                    print(f"{condition}, {name}: {number + 1} of {times}", file=sys.stderr, flush=True)
                    began = time.monotonic()
                    runs.append(verify(engine, agent, command))
                    seconds.append(time.monotonic() - began)
                found[f"{condition}, {name}"] = {"runs": runs, "seconds": seconds}
    return found


def show(found: dict[str, Any]) -> None:
    """A line for each condition and container, and the sum."""
    total = odd = 0
    for name in CONTAINERS:
        both = [found[f"{condition}, {name}"]["runs"] for condition in ("idle", "loaded")]
        expected = usual([one for runs in both for one in runs])
        print(f"{name}: " + ", ".join(f"{number} {said}" for said, number in Counter(expected.values()).most_common()))
        for condition, runs in zip(("idle", "loaded"), both, strict=True):
            seconds = found[f"{condition}, {name}"]["seconds"]
            odds = differing(runs, expected)
            total, odd = total + sum(map(len, runs)), odd + odds.total()
            what = "; ".join(
                f"{number} x {words} instead of {expected[words.split()[0]]}" for words, number in odds.items()
            )
            print(
                f"{name:7} {condition:7} {len(runs)} runs of {len(expected)} checks, {statistics.median(seconds):.0f} s each "
                f"(at most {max(seconds):.0f}): {odds.total()} verdicts differed{': ' if what else ''}{what}"
            )
    print(f"{odd} of {total} verdicts differed")


def main() -> int:
    """All of it."""
    parser = argparse.ArgumentParser(description="How often a verdict of verify differs from run to run.")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of each container (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every verdict of every run")
    arguments = parser.parse_args()
    hear_what_is_ignored()
    with Engine() as engine:
        try:
            build(engine)
            with Agent(engine) as agent:
                found = measure(engine, agent, arguments.runs)
        except ImpossibleRunError as error:
            print(f"flakes: {error}", file=sys.stderr)
            return 1
        finally:
            with contextlib.suppress(ImageNotFound):
                engine.client.images.remove(TAG)
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
