"""Fixtures for tests of the supervisor: real processes, no containers. `supervise` starts one, which is gone with its test."""

import json
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.runs import Run
from support.supervised import MAIN, Json, Supervised, spec

Supervise = Callable[..., Supervised]

runs_of = pytest.StashKey[list[Run]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the test ran, what that said, and which processes are left of it."""
    report = yield
    if report.when == "call" and report.failed:
        report.sections += [("run", str(run)) for run in item.stash.get(runs_of, [])[-4:]]
    return report


@pytest.fixture
def supervise(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervise]:
    """Start a supervisor with these apps; keys of the spec, and of `Run`, by name."""
    runs: list[Run] = request.node.stash.setdefault(runs_of, [])

    def start(
        *apps: Json,
        keys: Json | None = None,
        wrapper: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        **arguments: Any,  # noqa: ANN401
    ) -> Supervised:
        mark = uuid.uuid4().hex
        for one in apps:
            one["environment"]["TEST_RUN"] = mark
        control = tmp_path / f"control-{len(runs)}"
        file = tmp_path / f"spec-{len(runs)}.json"
        file.write_text(json.dumps(spec(*apps, **({"control": str(control)} | (keys or {})))), encoding="utf-8")
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", *flags, str(MAIN), str(file)]
        run = Run(command, wrapper=wrapper, **arguments)
        run.mark = f"TEST_RUN={mark}".encode()  # its own process it knows; those of the workers are found by this
        runs.append(run)
        return Supervised(run, control)

    yield start
    for run in runs:
        run.close()
