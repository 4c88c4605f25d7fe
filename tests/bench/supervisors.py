"""Who is compared: `pyinitctl start`, PM2, and applications by themselves. How each is had, started, reloaded, and looked at.

All run on this machine without containers, in one environment, and are gone at the end of their `with` with all that they started.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.common import BrokenError, wait_for
from pyinit.supervise import client
from support import processes
from support.runs import Run
from support.waiting import NeverCameError

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
KEPT = ROOT / ".results" / "bench-supervise"
"""What npm and pip bring, from one run to the next."""

OURS, PM2, ALONE = "pyinitctl start", "PM2", "by itself"
SERVERS = ("gunicorn==27.0.1", "uvicorn==0.54.0")
COMMAND_TIMEOUT = 120

# --- what there is ---


@dataclass(frozen=True)
class Tools:
    """Where everything lies. What is not here is None, and `missing` says why."""

    pyinitctl: Path
    node: str
    pm2: Path | None
    servers: Path | None
    """The folder of gunicorn and uvicorn."""
    missing: list[str] = field(default_factory=list)


def find() -> Tools:
    """Raises BrokenError where there is nothing to measure."""
    ours = Path(sysconfig.get_path("scripts")) / "pyinitctl"
    if not os.access(ours, os.X_OK):
        raise BrokenError(f"{ours} is not there: ./tests/run bench-supervise installs it first")
    node = shutil.which("node")
    if node is None:
        raise BrokenError("there is no node here: install Debian's package nodejs")
    missing: list[str] = []
    return Tools(ours, node, _brought(_bring_pm2, missing), _brought(_bring_servers, missing), missing)


def _brought(bring: Callable[[], Path], missing: list[str]) -> Path | None:
    try:
        return bring()
    except BrokenError as error:
        missing.append(str(error))
        return None


def _bring_pm2() -> Path:
    """Of the version that the base image has."""
    wanted = re.search(r"^npm: (pm2@.*\S)", (ROOT / "docker/packages/pm2").read_text("utf-8"), re.MULTILINE)
    if wanted is None:
        raise BrokenError("docker/packages/pm2 names no version of PM2: write a line like 'npm: pm2@7.0.4'")
    folder = KEPT / "npm"
    npm = shutil.which("npm")
    if npm is None:
        raise BrokenError("there is no npm here: install Debian's package npm")
    _bring(folder, wanted[1], [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), wanted[1]])
    return folder / "node_modules/.bin/pm2"


def _bring_servers() -> Path:
    folder = KEPT / "python"
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *SERVERS]
    _bring(folder, " ".join(SERVERS), [sys.executable, "-m", "venv", "--clear", str(folder)], pip)
    return folder / "bin"


def _bring(folder: Path, wanted: str, *commands: Sequence[str]) -> None:
    """Run these unless that has been done for what is wanted. Raises BrokenError."""
    made_for = folder / "made-for"
    if made_for.exists() and made_for.read_text("utf-8") == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"bench: bringing {wanted}", file=sys.stderr, flush=True)
    for command in commands:
        command_line(command, {**os.environ})
    made_for.write_text(wanted, "utf-8")


def command_line(command: Sequence[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    """What a command says on stdout. Raises BrokenError when it fails."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokenError(f"{' '.join(command)}: not done after {COMMAND_TIMEOUT} s") from None
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-400:]
        raise BrokenError(f"{' '.join(command)}: status {done.returncode}: {words}")
    return done.stdout


def free_port() -> int:
    """Below the range from which the kernel takes the clients' own."""
    for port in range(20_000 + os.getpid() % 1000, 32_000):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise BrokenError("no free port between 20000 and 32000")


_given: set[int] = set()


def page(port: int, timeout: float = 10.0) -> bytes | None:
    """What is answered on a connection of its own; None when that fails."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head[9:12] == b"200" and body else None


def is_answered(port: int) -> bool:
    return page(port) is not None


# --- those that are compared ---


class Subject:
    """Somebody who keeps an application going, until the end of the `with`."""

    name: str

    def __init__(self, tools: Tools, instances: int = 2) -> None:
        self.tools = tools
        self.instances = instances
        self.port = free_port()
        self._place = tempfile.TemporaryDirectory(prefix="bench-")
        self.place = Path(self._place.name)
        path = os.environ["PATH"] if tools.servers is None else f"{tools.servers}:{os.environ['PATH']}"
        self.environment = {
            "PATH": path,
            "HOME": self._place.name,
            "LANG": "C.UTF-8",
            "PORT": str(self.port),
            "INSTANCES": str(instances),
        }
        self.run: Run | None = None

    def __enter__(self) -> Self:
        try:
            self.run = Run(self.command(), env=self.environment, cwd=PROGRAMS)
            try:
                self.await_start()
            except (BrokenError, NeverCameError) as error:
                raise BrokenError(f"{self.name} does not start: {error}\n{self.run}") from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.run is not None:
            self.run.close()
        self._place.cleanup()

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def await_start(self) -> None:
        """Wait until everything is ready. Raises BrokenError."""
        wait_for(lambda: is_answered(self.port), "the first answer")

    def reload(self) -> None:
        """Returns when it is done. Raises BrokenError."""
        raise NotImplementedError

    def settle(self) -> None:
        """After a crash: wait until the supervisor knows that its worker is ready again."""

    def await_end(self, workers: set[int]) -> None:
        """Wait until none of these is left. Raises BrokenError."""
        wait_for(lambda: not workers & set(self.workers), f"the end of {len(workers)} workers of {self.name}")

    @property
    def supervisor(self) -> int:
        """Its process that keeps the workers."""
        assert self.run is not None
        return self.run.process.pid

    @property
    def own(self) -> set[int]:
        """All processes of its own that stay."""
        return {self.supervisor}

    @property
    def workers(self) -> list[int]:
        """What runs the application."""
        return [pid for pid in processes.descendants(self.supervisor) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    """It lives, and is not Python's own helper, which uvicorn's workers come with."""
    try:
        return processes.is_alive(pid) and "resource_tracker" not in processes.command(pid)
    except OSError:
        return False  # gone meanwhile


class Ours(Subject):
    """`pyinitctl start FILE` in the foreground, under pyinit."""

    name = OURS

    def __init__(
        self, tools: Tools, instances: int = 2, file: Callable[[int], str] | None = None, python: str | None = None
    ) -> None:
        """`file` makes an apps.toml for a port; without it, the file that PM2 reads. `python` is another interpreter."""
        super().__init__(tools, instances)
        self.control = self.place / "control.sock"
        self.environment[client.VARIABLE] = str(self.control)
        self._supervisor = 0
        self._pyinitctl = [str(tools.pyinitctl)]
        self._file = PROGRAMS / "ecosystem.config.js"
        if file is not None:
            self._file = self.place / "apps.toml"
            self._file.write_text(file(self.port), "utf-8")
        if python is not None:
            self._lend(python)

    def _lend(self, python: str) -> None:
        """The package to another Python, compiled by that: compiling at the start takes memory."""
        copy = self.place / "site"
        package = Path(client.__file__).parents[1]
        shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        self.environment["PYTHONPATH"] = str(copy)
        command_line([python, "-m", "compileall", "-q", str(copy)], self.environment)
        self._pyinitctl = [python, "-m", "pyinit.ctl"]
        self.environment["PATH"] = f"{self.tools.pyinitctl.parent}:{self.environment['PATH']}"  # for pyinit itself

    def command(self) -> list[str]:
        return [*self._pyinitctl, "start", str(self._file)]

    def await_start(self) -> None:
        wait_for(lambda: client.is_there(self.control), "the control socket")
        # asked once: a question is work, and later that is what is measured
        self._supervisor = self._ask(do="ping")["pid"]
        self.settle()
        super().await_start()

    def settle(self) -> None:
        self._ask(do="wait", select=["all"])

    def _ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        try:
            return client.ask(self.control, request)
        except client.ControlError as error:
            raise BrokenError(f"{self.name}: {error}") from None

    def reload(self) -> None:
        command_line([*self._pyinitctl, "reload", "all"], self.environment)

    @property
    def supervisor(self) -> int:
        return self._supervisor

    @property
    def own(self) -> set[int]:
        assert self.run is not None
        return {self.run.process.pid, self.supervisor}  # pyinit, where it is not above the bench already


class Pm2(Subject):
    """`pm2 start FILE`, which leaves a daemon."""

    name = PM2

    def __init__(self, tools: Tools, instances: int = 2) -> None:
        super().__init__(tools, instances)
        self.environment["PM2_HOME"] = str(self.place / "pm2")
        assert tools.pm2 is not None
        self._pm2 = str(tools.pm2)

    def command(self) -> list[str]:
        return [self._pm2, "start", "ecosystem.config.js"]

    def await_start(self) -> None:
        assert self.run is not None
        if status := self.run.wait(COMMAND_TIMEOUT):
            raise BrokenError(f"pm2 start: status {status}")
        seen: set[bytes | None] = set()

        def have_all_answered() -> bool:
            seen.add(page(self.port))
            return len(seen - {None}) >= self.instances  # connections are dealt to the workers in turn

        wait_for(have_all_answered, "an answer of each worker")

    def reload(self) -> None:
        command_line([self._pm2, "reload", "web"], self.environment)

    @property
    def supervisor(self) -> int:
        return int((self.place / "pm2/pm2.pid").read_text("ascii"))


class Alone(Subject):
    """A server with its own workers, which it replaces at HUP."""

    name = ALONE

    def __init__(self, tools: Tools, command: Callable[[int], list[str]]) -> None:
        super().__init__(tools)
        self._command = command(self.port)

    def command(self) -> list[str]:
        return self._command

    def await_start(self) -> None:
        super().await_start()
        wait_for(lambda: len(self.workers) >= self.instances, "its workers")

    def reload(self) -> None:
        before = set(self.workers)
        os.kill(self.supervisor, signal.SIGHUP)
        self.await_end(before)
        wait_for(lambda: len(self.workers) >= self.instances, f"the new workers of {self._command[0]}")


def pm2_version(tools: Tools) -> str | None:
    """None where it is not here."""
    if tools.pm2 is None:
        return None
    version: str = json.loads((tools.pm2.parents[1] / "pm2/package.json").read_text("utf-8"))["version"]
    return version


def pythons() -> dict[str, str]:
    """Debian's, and one that was built from source as those of python.org's images are: of each the first that is here, by title."""
    found: dict[str, tuple[str, str]] = {}
    elsewhere = sorted(Path.home().glob(".pyenv/versions/*/bin/python3"), reverse=True)
    for path in ("/usr/bin/python3", sys.executable, "/usr/local/bin/python3", *map(str, elsewhere)):
        python = str(Path(path).resolve())
        kind = "Debian's Python" if python.startswith("/usr/bin/") else "a Python built from source"
        if kind not in found and os.access(python, os.X_OK):
            asked = [python, "-c", "import platform; print(platform.python_version())"]
            version = command_line(asked, {**os.environ}).strip()
            if tuple(map(int, version.split(".")[:2])) >= (3, 11):
                found[kind] = (f"{kind} {version}", python)
    return dict(found.values())
