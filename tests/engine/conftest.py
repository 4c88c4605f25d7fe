"""Fixtures for tests that run the init without a container engine.

`start` runs it straight on this machine (not PID 1: as a subreaper), or with `where=NAMESPACE` as PID 1 of a PID namespace of its
own. `engine` says which init, each in turn; `way` is for tests that are about the way in.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import engines
from support.engines import Engine
from support.failures import pytest_runtest_makereport, runs_of  # noqa: F401 - a hook is found by its name
from support.runs import HOST, NAMESPACE, Run

Start = Callable[..., Run]


@pytest.fixture(scope="session")
def native() -> Iterator[Path]:
    """The native executable, where every user can reach it, under the name that it has in an image."""
    given = engines.native_executable()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "pyinit"
        shutil.copyfile(given, path)
        path.chmod(0o755)
        yield path


def engine_of(way: str, request: pytest.FixtureRequest) -> Engine:
    """The engine behind one way in."""
    name = engines.WAYS[way]
    native = request.getfixturevalue("native") if name == engines.NATIVE else Path()
    return Engine(name, engines.command(way, native))


@pytest.fixture(params=engines.NAMES, scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The init under test, by its fastest way in."""
    return engine_of(engines.SECOND if request.param == engines.PYTHON else engines.EXECUTABLE, request)


@pytest.fixture(params=engines.WAYS, scope="session")
def way(request: pytest.FixtureRequest) -> Engine:
    """The init under test, by every way in."""
    return engine_of(request.param, request)


@pytest.fixture
def start_any(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start any command as a Run, which ends with its test."""
    runs: list[Run] = request.node.stash.setdefault(runs_of, [])

    def start(*command: str | bytes, **options: Any) -> Run:  # noqa: ANN401 (those of Run)
        runs.append(Run(command, **options))
        return runs[-1]

    yield start
    while runs:  # a second try is not to be told of them
        runs.pop().close()


@pytest.fixture
def start(engine: Engine, start_any: Start) -> Start:
    """Start the init under test with these words: `start("--grace", "1s", "--", *python(...))`."""

    def start(*words: str | bytes, **options: Any) -> Run:  # noqa: ANN401 (as above)
        if options.get("where") == NAMESPACE:
            need_root()
        return start_any(*engine.command, *words, **options)

    return start


@pytest.fixture(params=[HOST, NAMESPACE])
def where(request: pytest.FixtureRequest) -> str:
    """Both places in turn: not PID 1, and PID 1 of a namespace."""
    if request.param == NAMESPACE:
        need_root()
    return str(request.param)


def need_root() -> None:
    """Skip where the test needs root and has not got it."""
    if os.geteuid() != 0:
        pytest.skip("a PID namespace of one's own needs root")


@pytest.fixture
def as_root() -> None:
    """For tests that cannot be done as a user."""
    need_root()
