#!/usr/bin/env python3
"""The Python half of docker/try, which prepares everything: runs, stops, watches and shows. See there for what it is."""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from pyinit.containers import svg, timeline
from pyinit.containers.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = "/srv/start.sh"
PARTS = ("orders", "payments", "shipper")
STOP_AFTER = 10.0
"""Seconds that `docker stop` gives."""
LABEL = "pyinit.try"

WITHOUT = "without an init: the program is PID 1"
WITH = "with pyinit as PID 1"

console = Console(highlight=False)


class NotVisibleError(Exception):
    """The engine's processes cannot be seen from here."""


def main() -> int:
    """Both runs at the same time, then both pictures."""
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    where = "a private PID namespace"
    if options.base:
        try:
            timelines, logs = in_engine(options.base)
            where = f"Docker {docker('version', '--format', '{{.Server.Version}}').strip()}"
        except NotVisibleError as reason:
            console.print(f"{reason}: going on in a private PID namespace")
            timelines, logs = in_namespaces()
    else:
        timelines, logs = in_namespaces()
    width = min(console.width, 120)
    for one, log in zip(timelines, logs, strict=True):
        console.print()
        console.print(timeline.render(one, width, timelines), end="")
        for line in log.splitlines():
            if line.startswith("pyinit: "):
                console.print(timeline.wrap(line, width), markup=False)
    console.print(f"\n{timeline.LEGEND}", style="dim")
    caption = f"docker/try on {time.strftime('%Y-%m-%d')}: {where}, Linux {platform.release().split('-')[0]}"
    if options.svg:
        options.svg.write_text(svg.render(timelines, caption), encoding="utf-8")
        console.print(f"drawn: {options.svg}", soft_wrap=True)
    if options.json:
        options.json.write_text(json.dumps([one.as_json() for one in timelines], indent=2) + "\n", encoding="utf-8")
        console.print(f"written: {options.json}", soft_wrap=True)
    ours = timelines[-1]
    return 1 if ours.killed or any("LOST" in note for note in ours.notes) else 0


def parse_options() -> argparse.Namespace:
    """What docker/try passes on, and the base image that it has found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="the image that Dockerfile.example builds upon; without it no engine is used")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def leave(number: int, _frame: object) -> NoReturn:
    """Ends through all `finally`, so that no container stays."""
    sys.exit(128 + number)


@contextmanager
def progress(words: str) -> Iterator[None]:
    """Shows that something is going on: a spinner for a person, a line for a log."""
    if not console.is_terminal:
        console.print(f"{words} ...")
    with console.status(words):
        yield


# --- in the engine ---


def docker(*arguments: str) -> str:
    """Runs the client; its words when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"docker {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def in_engine(base: str) -> tuple[list[timeline.Timeline], list[str]]:
    """Builds the image, runs it both ways, removes the containers whatever happens."""
    remove_containers(abandoned=True)
    with progress("building Dockerfile.example"):
        environment = {**os.environ, "DOCKER_BUILDKIT": "0"}  # the classic builder is everywhere
        build = ["docker", "build", "--quiet", "--network=none", "--file", "Dockerfile.example"]
        done = subprocess.run(
            [*build, f"--build-arg=BASE={base}", "."], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"docker build failed: {done.stderr.strip()}")
        image = done.stdout.split()[-1]
    with progress("running and stopping it, with pyinit and without (about 12 s)"), ThreadPoolExecutor() as pool:
        try:
            runs = [
                pool.submit(run_container, WITHOUT, ["--entrypoint", PROGRAM, image]),
                pool.submit(run_container, WITH, ["--env=PYINIT_VERBOSITY=2", image]),
            ]
            results = [run.result() for run in runs]
        finally:
            remove_containers()
    return [one for one, _ in results], [log for _, log in results]


def run_container(title: str, arguments: list[str]) -> tuple[timeline.Timeline, str]:
    """One container from its start to `docker stop`, watched."""
    container = docker("run", "--detach", "--network=none", f"--label={LABEL}={os.getpid()}", *arguments).strip()
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", container))
    try:
        observer = Observer(pid)
    except (OSError, ValueError) as error:
        raise NotVisibleError(f"the engine's processes are not to be seen from here ({error})") from error
    with observer:
        wait_until_ready(lambda: logs_of(container), lambda: Path(f"/proc/{pid}").exists())
        stopped = time.monotonic()
        docker("stop", f"-t={STOP_AFTER:.0f}", container)
        observer.wait(5)
    with tarfile.open(fileobj=io.BytesIO(data_of(container))) as tar:
        files = {Path(name).name: read_member(tar, name) for name in tar.getnames()}
    return show(observer, title, stopped, "the engine", files), logs_of(container)


def logs_of(container: str) -> str:
    """Both streams of a container."""
    done = subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return done.stdout


def data_of(container: str) -> bytes:
    """The container's /data, as a tar."""
    return subprocess.run(["docker", "cp", f"{container}:/data", "-"], stdout=subprocess.PIPE, check=True).stdout


def read_member(tar: tarfile.TarFile, name: str) -> str:
    """A file of a tar; empty for a directory."""
    file = tar.extractfile(name)
    return file.read().decode() if file else ""


def remove_containers(*, abandoned: bool = False) -> None:
    """Ours; or those of runs that were killed before they could."""
    listing = docker("ps", "--all", f"--filter=label={LABEL}", f'--format={{{{.ID}}}} {{{{.Label "{LABEL}"}}}}')
    for line in listing.splitlines():
        container, owner = line.split()
        if owner == str(os.getpid()) or (abandoned and not Path(f"/proc/{owner}").exists()):
            with suppress(SystemExit):  # it may be gone already
                docker("rm", "--force", "--volumes", container)


# --- without an engine ---


def in_namespaces() -> tuple[list[timeline.Timeline], list[str]]:
    """The same two runs, each as PID 1 of a PID namespace of its own."""
    pyinit = str(Path(sys.executable).with_name("pyinit"))
    program = str(Path(__file__).parent / "example" / "start.sh")
    with progress("running and stopping it, with pyinit and without (about 12 s)"), ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(run_namespace, WITHOUT, [program]),
            pool.submit(run_namespace, WITH, [pyinit, "--", program]),
        ]
        results = [run.result() for run in runs]
    return [one for one, _ in results], [log for _, log in results]


def run_namespace(title: str, command: list[str]) -> tuple[timeline.Timeline, str]:
    """One run from its start to what `docker stop` does: SIGTERM to PID 1, and SIGKILL ten seconds later."""
    with tempfile.TemporaryDirectory() as data:
        log = Path(data) / "log"
        namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        with (
            log.open("w") as file,
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *namespace, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "DATA": data, "PYINIT_VERBOSITY": "2"},
            ) as unshare,
        ):
            try:
                wait_until_ready(log.read_text, lambda: unshare.poll() is None)
                init = int(Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text())
                with Observer(init) as observer:
                    stopped = time.monotonic()
                    os.kill(init, signal.SIGTERM)
                    try:
                        unshare.wait(STOP_AFTER)
                    except subprocess.TimeoutExpired:
                        os.kill(init, signal.SIGKILL)
                        unshare.wait()
                    observer.wait(5)
            finally:
                unshare.kill()
        files = {path.name: path.read_text() for path in Path(data).iterdir()}
        return show(observer, title, stopped, "docker/try", files), files["log"]


# --- both ---


def wait_until_ready(log: Callable[[], str], runs: Callable[[], bool]) -> None:
    """Until every part has said so, and has something to lose."""
    deadline = time.monotonic() + 30
    while not all(f"{part}: ready" in log() for part in PARTS):
        if time.monotonic() > deadline or not runs():
            raise SystemExit(f"the example did not get ready ; its output:\n{log()}")
        time.sleep(0.05)


def show(observer: Observer, title: str, stopped: float, outside: str, files: dict[str, str]) -> timeline.Timeline:
    """The timeline of a run, with what it lost."""
    account = replace(observer.account(), deadline=stopped + STOP_AFTER)
    return timeline.of(account, title, stopped=stopped, outside=outside, notes=(losses(files),), grace=STOP_AFTER)


def losses(files: dict[str, str]) -> str:
    """What customers were told, and what is on disk."""
    told = sum(text.count("\n") for name, text in files.items() if name.endswith(".acknowledged"))
    kept = sum(text.count("\n") for name, text in files.items() if name.endswith(".ledger"))
    report = "the last report was sent" if "shipper.report" in files else "the last report was LOST"
    if told == kept:
        return f"all {told} acknowledged entries are on disk, {report}"
    return f"{told - kept} of {told} acknowledged entries are LOST, {report}"


if __name__ == "__main__":
    sys.exit(main())
