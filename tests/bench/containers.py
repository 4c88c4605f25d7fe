"""Signals lost right after the start of a real container: `docker start`, and TERM as soon as that returns."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import docker.errors
import docker.models.containers
import requests.exceptions
from docker.client import DockerClient

from bench.common import BrokenError, Faults, Progress
from bench.inits import (
    CATATONIT,
    DIRECT,
    DUMB_INIT,
    ENGINE,
    LAUNCHER,
    NATIVE,
    PEERS,
    PYTHON_FLAGS,
    TINI_STATIC,
    Init,
)
from bench.report import TINI, Bar, Measured, Row

LABEL = "pyinit.bench"
IMAGE = "pyinit-bench"
HERE = "/opt/pyinit"
"""Where the image keeps the package; what runs there is the wheel's."""

DOCKERFILE = f"""
ARG BASE
FROM $BASE
COPY files /opt/bench
RUN python3 -m pip install --no-index --no-deps /opt/bench/*.whl \\
 && ln -s "$(python3 -I -c 'import pyinit; print(list(pyinit.__path__)[0])')" {HERE}
"""

COMMANDS = {
    DIRECT.name: (),
    TINI: ("/opt/bench/tini", "--"),
    TINI_STATIC: ("/opt/bench/tini-static", "--"),
    NATIVE: ("/opt/bench/native", "--"),
    DUMB_INIT: ("/opt/bench/dumb-init", "--"),
    CATATONIT: ("/opt/bench/catatonit", "--"),
    ENGINE: ("python3", *PYTHON_FLAGS, f"{HERE}/init/__main__.py", "--"),
    LAUNCHER: ("pyinit", "--"),
}


def lost_signals(
    inits: Sequence[Init],
    rounds: int,
    many: int,
    wheel: Path | None,
    progress: Progress,
    faults: Faults,
) -> Measured:
    """How many of `rounds` TERM right after start never reached the program: it went on running. `direct` is the control.

    The native engine, which is to lose none, is started `many` times besides.
    """
    title, names = "TERM lost right after start, of", [DIRECT.name, *(init.name for init in inits)]
    row = Row(f"{title} {rounds:,}", "", 0, {name: [] for name in names}, with_ratio=False)
    long = Row(f"{title} {many:,}", "", 0, {NATIVE: []}, {NATIVE: Bar(0)}, with_ratio=False)
    if wheel is None:
        return [row], ["signals lost: no wheel was named (--wheel), so not measured"]
    root = Path(__file__).resolve().parents[2]
    began = subprocess.run([root / "docker/engine", "start"], stdout=subprocess.PIPE, text=True, check=False)
    if began.returncode != 0:
        return [row], ["signals lost: no engine, so not measured"]
    try:
        progress("building the image for the containers")
        with contextlib.closing(DockerClient.from_env(timeout=120)) as client:
            _build(root, client, wheel, inits)
            try:
                _measure(client, row, rounds, progress, faults)
                _measure(client, long, many, progress, faults)
            except docker.errors.APIError as error:
                raise BrokenError(f"signals lost: {error.explanation or error}") from error
            finally:
                for container in client.containers.list(all=True, filters={"label": LABEL}):
                    container.remove(force=True)
                client.images.remove(IMAGE, force=True)
            kernel = client.version()["Version"]
    finally:
        if began.stdout.split()[-1:] == ["started"]:
            subprocess.run([root / "docker/engine", "stop"], check=False)
    return [row, long], [
        f"signals lost: Docker {kernel}; without an init (`direct`) the kernel drops TERM for a PID 1 that has no handler"
    ]


def _build(root: Path, client: DockerClient, wheel: Path, inits: Sequence[Init]) -> None:
    base = subprocess.run([root / "docker/base", "python"], stdout=subprocess.PIPE, text=True, check=False)
    if base.returncode != 0:
        raise BrokenError("docker/base python made no base image; its own words are above")
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        (context / "Dockerfile").write_text(DOCKERFILE, "utf-8")
        files = context / "files"
        files.mkdir()
        shutil.copy(wheel, files)
        for init in inits:
            if init.command and init.name in (*PEERS, NATIVE):
                shutil.copy(init.command[0], files / Path(COMMANDS[init.name][0]).name)
        try:
            client.images.build(
                path=name,
                tag=IMAGE,
                buildargs={"BASE": base.stdout.split()[-1]},
                rm=True,
                forcerm=True,
                network_mode="none",
            )
        except docker.errors.BuildError as error:
            log = "".join(str(line.get("stream", line.get("error", ""))) for line in error.build_log)
            raise BrokenError(f"the image for the containers cannot be built: {error}\n{log}") from error


def _measure(client: DockerClient, row: Row, rounds: int, progress: Progress, faults: Faults) -> None:
    containers = {
        name: client.containers.create(
            IMAGE, [*COMMANDS[name], "sleep", "infinity"], network_mode="none", labels=[LABEL]
        )
        for name in row.samples
    }
    lost: dict[str, int] = dict.fromkeys(row.samples, 0)
    for i in range(rounds):
        progress(f"TERM right after start {i}/{rounds}")
        for name, container in containers.items():
            if not _is_heard(container, name, faults):
                lost[name] += 1
    for name, count in lost.items():
        row.samples[name].append(count)


def _is_heard(container: docker.models.containers.Container, name: str, faults: list[str]) -> bool:
    """Start it, send TERM at once, and see whether it ends; `sleep` has no handler and dies of TERM at any moment of its life."""
    container.start()
    container.kill(signal="TERM")
    # without an init nobody ever hears it: no need to wait long
    try:
        code = container.wait(timeout=0.5 if name == DIRECT.name else 3)["StatusCode"]
    except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
        container.kill()
        container.wait()
        return False
    if code != 143:
        faults.append(f"signals lost: {name} left exit status {code} after TERM, expected 143")
    return True
