"""Fixtures for tests of the supervisor: real processes, no containers. `supervise` starts one, which is gone with its test.

`workers` makes one that decides nothing, for tests of the preload alone; `node`, `any_node` and `npm` say what there is to run.
"""

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.ctl import Ctl
from support.failures import pytest_runtest_makereport, runs_of  # noqa: F401 - a hook is found by its name
from support.runs import Run
from support.supervised import MAIN, Json, Supervised, spec
from support.workers import Listen, Workers

Supervise = Callable[..., Supervised]
Make = Callable[..., Workers]

PROGRAMS = Path(__file__).parent / "programs"
INSTALLED = "installed"
VERSIONS = ("18", "22", "24")


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


@pytest.fixture
def ctl(tmp_path: Path) -> Iterator[Ctl]:
    """Commands in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="ctl-") as runtime:  # a socket's path must be short
        made = Ctl(tmp_path, Path(runtime))
        yield made
        made.close()


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path | str:
    """Where programs/package.json is installed, once for all runs; in words why not, where npm or its registry does not answer."""
    wanted = (PROGRAMS / "package.json").read_bytes()
    results = Path(__file__).parents[2] / ".results"
    folder = (results if results.is_dir() else tmp_path_factory.mktemp("npm")) / "npm"
    folder.mkdir(exist_ok=True)
    made_for = folder / "made-for"
    key = hashlib.sha256(wanted).hexdigest()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once
        if made_for.exists() and made_for.read_text(encoding="utf-8") == key:
            return folder / "node_modules"
        npm = shutil.which("npm")
        if npm is None:
            return "no npm here: install Debian's package npm"
        (folder / "package.json").write_bytes(wanted)
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-timeout=20000"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
        if done.returncode:
            return f"npm cannot install programs/package.json: {done.stderr.strip()[-300:]}"
        made_for.write_text(key, encoding="utf-8")
        return folder / "node_modules"


@pytest.fixture
def npm(packages: Path | str) -> Path:
    """The folder node_modules, for a test that needs what is in it."""
    if isinstance(packages, str):
        pytest.skip(packages)
    return packages


@pytest.fixture(scope="session")
def node() -> str:
    """The machine's Node."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node here: install Debian's package nodejs")
    return found


@pytest.fixture(params=[INSTALLED, *VERSIONS])
def any_node(request: pytest.FixtureRequest) -> str:
    """Each Node in turn: the machine's, and the other versions from npm."""
    if request.param == INSTALLED:
        return str(request.getfixturevalue("node"))
    folder: Path = request.getfixturevalue("npm")
    found = folder / f"node{request.param}" / "bin" / "node"
    if not found.exists():
        pytest.skip(f"npm has brought no Node {request.param} for {platform.machine()}")
    return str(found)


@pytest.fixture
def workers() -> Iterator[Make]:
    """A supervisor that decides nothing, made for some Node."""
    made = []

    def make(node: str, listen: Listen | None = None) -> Workers:
        made.append(Workers(node, listen))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key and a certificate for localhost, as variables for programs/shapes.js."""
    folder = tmp_path_factory.mktemp("tls")
    key, made = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", made]
    subprocess.run(command, check=True, capture_output=True)
    return {"KEY": key, "CERTIFICATE": made}
