"""A container under test, seen from both sides: through the engine, and on the host, where its processes are ordinary ones."""

import io
import os
import re
import signal as signals
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import docker.errors
import docker.models.containers
import psutil
import requests.exceptions

from support.runs import PRELUDE
from support.waiting import NeverCameError, until

LABEL = "pyinit.test"
"""Every container of a test session carries this label, with the session's name as its value."""


@dataclass(frozen=True)
class Executed:
    """What `docker exec` gave."""

    status: int
    output: str


def guest(code: str) -> list[str]:
    """A program in Python for a container: `say`, `block`, `record` and `daemon` are there, as are os, signal, sys and time."""
    return ["python3", "-I", "-S", "-c", PRELUDE + code]


def numbered(names: Sequence[str]) -> list[str]:
    """The lines by which a guest's `record` tells the signals of these names."""
    every = {"RTMAX": 64, **{f"RTMIN+{n}": 34 + n for n in range(30)}}
    return [str(every.get(name) or int(signals.Signals[f"SIG{name}"])) for name in names]


_sessions: list[subprocess.Popen[bytes]] = []
"""Detached ones, kept until they end: nobody is to complain that nobody waits for them."""


class Container:
    """One container. Made by the fixture `run`, which also removes it; its state is always asked for, never remembered."""

    def __init__(self, raw: docker.models.containers.Container) -> None:
        self.raw = raw
        self._pid: int | None = None
        self._namespace: str | None = None

    @property
    def id(self) -> str:
        return str(self.raw.id)

    def start(self) -> None:
        self.raw.start()
        self._pid = self._namespace = None

    # --- through the engine ---

    @property
    def state(self) -> Mapping[str, Any]:
        """`docker inspect`'s State, as of now."""
        self.raw.reload()
        state: Mapping[str, Any] = self.raw.attrs["State"]
        return state

    @property
    def running(self) -> bool:
        return bool(self.state["Running"])

    @property
    def oom_killed(self) -> bool:
        return bool(self.state["OOMKilled"])

    def logs(self, *, stdout: bool = True, stderr: bool = True) -> str:
        output: bytes = self.raw.logs(stdout=stdout, stderr=stderr)
        return output.decode("utf-8", "backslashreplace")

    def wait_log(self, wanted: str | re.Pattern[str], timeout: float = 15.0) -> re.Match[str]:
        """Wait for a text or a regular expression in the logs; a container that ends without it fails at once."""
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted

        def look() -> re.Match[str] | None:
            ended = not self.running  # asked before the logs are read: what it wrote last is then in them
            found = pattern.search(self.logs())
            if found is None and ended:
                words = f"the container ended with status {self.state['ExitCode']} and never logged {pattern.pattern!r}"
                raise NeverCameError(f"{words}; its logs:\n{self.logs()}")
            return found

        try:
            found = until(look, timeout, f"{pattern.pattern!r} in the logs")
        except NeverCameError as error:
            raise NeverCameError(f"{error}; the logs:\n{self.logs()}") from None
        assert found is not None
        return found

    @property
    def lines(self) -> list[str]:
        """What the program has said so far, on stdout, line by line."""
        return self.logs(stderr=False).splitlines()

    @property
    def report_lines(self) -> list[str]:
        """What pyinit itself has said so far, in text."""
        return [line for line in self.logs(stdout=False).splitlines() if line.startswith("pyinit: ")]

    def ready(self, timeout: float = 30.0) -> "Container":
        """Wait until the program says that it is ready."""
        self.wait_log(re.compile(r"^ready$", re.MULTILINE), timeout)
        return self

    def wait_line(self, line: str, timeout: float = 15.0) -> None:
        """Wait for a whole line in the logs."""
        self.wait_log(re.compile(f"^{re.escape(line)}$", re.MULTILINE), timeout)

    def kill(self, signal: str | int) -> None:
        """`docker kill -s`: one signal to PID 1. Names may be RTMIN+3 or the like."""
        self.raw.kill(signal=signal)

    def stop(self, timeout: int = 10, signal: str | int | None = None) -> float:
        """`docker stop`: the image's stop signal, or `signal`, and SIGKILL after `timeout`. Returns the seconds it took.

        Engines before 23 know no signal for stop, so with one this does what they would do.
        """
        began = time.monotonic()
        if signal is None:
            self.raw.stop(timeout=timeout)
        else:
            self.kill(signal)
            try:
                self.wait(timeout)
            except NeverCameError:
                self.kill("KILL")
                self.wait()
        return time.monotonic() - began

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the end and return the exit status."""
        try:
            return int(self.raw.wait(timeout=timeout)["StatusCode"])
        except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
            raise NeverCameError(f"waited {timeout:g} s for the container to end; its logs:\n{self.logs()}") from None

    def exec(self, *command: str, detach: bool = False, user: str = "", workdir: str = "") -> Executed:
        """`docker exec`. Detached it returns at once, with status 0 and no output.

        An engine in a chroot leaves its exec sessions in the root outside of it; there nsenter does the same, and does it right.
        """
        if not self.exec_finds_the_root():
            return self._enter(command, detach=detach, user=user, workdir=workdir)
        result = self.raw.exec_run(list(command), detach=detach, user=user, workdir=workdir or None)
        output = result.output if isinstance(result.output, bytes) else b""
        return Executed(result.exit_code or 0, output.decode("utf-8", "backslashreplace"))

    def exec_finds_the_root(self) -> bool:
        """Whether an exec session sees the container's files. Asked only once: it depends on the engine alone."""
        if Container._exec_works is None:
            output = self.raw.exec_run(["stat", "-c", "%i", "/"]).output
            seen = output.decode().strip() if isinstance(output, bytes) else ""
            real = Path(f"/proc/{self.pid}/root").stat().st_ino
            Container._exec_works = self.raw.attrs["HostConfig"]["Runtime"] != "runc" or seen == str(real)
        return Container._exec_works

    _exec_works: bool | None = None

    def begin(self, *command: str) -> "subprocess.Popen[str]":
        """`docker exec -i`, with pipes at both ends: for a program that is spoken to while it runs."""
        if self.exec_finds_the_root():
            way_in, environment = ["docker", "exec", "-i", self.id], dict(os.environ)
        else:
            way_in, environment = self._way_in("", "")
        pipe = subprocess.PIPE
        return subprocess.Popen([*way_in, *command], env=environment, stdin=pipe, stdout=pipe, text=True)

    def _way_in(self, user: str, workdir: str) -> tuple[list[str], dict[str, str]]:
        """What nsenter is to be told, and the environment for the command behind it."""
        config = self.raw.attrs["Config"]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        enter.append(f"--wd=/proc/{self.pid}/root{workdir or config['WorkingDir'] or '/'}")
        uid, _, gid = (user or config["User"] or "0").partition(":")
        if not uid.isdigit():  # a name, as the container's passwd has it
            passwd = Path(f"/proc/{self.pid}/root/etc/passwd").read_text("utf-8").splitlines()
            uid, gid = next(line.split(":")[2:4] for line in passwd if line.startswith(f"{uid}:"))
        enter += [] if uid == "0" else [f"--setuid={uid}", f"--setgid={gid or uid}"]
        enter.append("--")
        return enter, dict(pair.partition("=")[::2] for pair in config["Env"] or [])

    def _enter(self, command: Sequence[str], *, detach: bool, user: str, workdir: str) -> Executed:
        enter, environment = self._way_in(user, workdir)
        if detach:
            quiet = subprocess.DEVNULL
            _sessions.append(
                subprocess.Popen([*enter, *command], env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
            )
            return Executed(0, "")
        # a file, not a pipe: what the command leaves running keeps it open
        with tempfile.TemporaryFile() as file:
            ran = subprocess.run(
                [*enter, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
            file.seek(0)
            return Executed(ran.returncode, file.read().decode("utf-8", "backslashreplace"))

    def signal_inside(self, signal: int, pid: int | str) -> None:
        """A signal from a process inside, through `docker exec`, to the process that has this number there.

        Detached: where the signal ends the container, some engines never tell how the exec ended. The caller waits for its effect.
        """
        self.exec("sh", "-c", f"kill -{signal} {pid}", detach=True)

    # --- on the host ---

    @property
    def pid(self) -> int:
        """PID 1 of the container, as the host numbers it."""
        if self._pid is None:
            pid = int(self.state["Pid"])
            if pid == 0:
                raise AssertionError(f"the container has no process any more; its logs:\n{self.logs()}")
            if not Path(f"/proc/{pid}").exists():
                raise AssertionError(
                    f"process {pid} is not on this machine: these tests need an engine on the same kernel"
                )
            self._pid = pid
        return self._pid

    def processes(self) -> Sequence[psutil.Process]:
        """The container's processes, zombies and those of `docker exec` included, ordered by PID.

        They are the ones in PID 1's namespace. (In a sandbox such as gVisor these are the sandbox's own processes.) Descendants
        are added for namespaces within the namespace, and because a zombie does not always tell its own.
        """
        if self._namespace is None:
            namespace = _pid_namespace(self.pid)
            # --pid=host, or a sandbox that brings its own kernel: then the others of the namespace are not the container's
            self._namespace = namespace if namespace != _pid_namespace(os.getpid()) else ""
        every = list(psutil.process_iter())
        found = {
            process.pid: process
            for process in every
            if self._namespace and _pid_namespace(process.pid) == self._namespace
        }
        try:
            for child in psutil.Process(self.pid).children(recursive=True):
                found.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            pass
        return [found[pid] for pid in sorted(found)]

    def zombies(self) -> Sequence[psutil.Process]:
        """Those that have ended and that nobody has reaped."""
        return [process for process in self.processes() if _status(process) == psutil.STATUS_ZOMBIE]

    def process(self, wanted: str) -> psutil.Process:
        """The one process whose command line contains `wanted`; PID 1 is not looked at."""
        found = [p for p in self.processes() if p.pid != self.pid and wanted in _command(p)]
        if len(found) != 1:
            raise AssertionError(
                f"{len(found)} processes with {wanted!r} in their command line:\n{self.process_table()}"
            )
        return found[0]

    # --- for a reader ---

    def process_table(self) -> str:
        if self._pid is None and not self.running:
            return "(ended)"
        rows = [f"{'PID':>8} {'NSPID':>6} {'PPID':>8} {'STATE':10} COMMAND"]
        for process in self.processes():
            try:
                rows.append(
                    f"{process.pid:>8} {inner_pid(process.pid):>6} {process.ppid():>8} {_status(process):10} {_command(process)}"
                )
            except psutil.NoSuchProcess:
                continue
        return "\n".join(rows)

    def report(self) -> str:
        """All that helps to understand a failure. Never fails itself: it is asked for when something already has."""
        parts = []
        for title, ask in (("state", lambda: dict(self.state)), ("processes", self.process_table), ("logs", self.logs)):
            try:
                parts.append(f"{title}:\n{ask()}")
            except Exception as error:  # noqa: BLE001 (a report is never worth a second failure)
                parts.append(f"{title}: {error!r}")
        return "\n".join(parts)


class Run(Protocol):
    """The fixture `run`: starts a container. `options` are those of docker-py's containers.create."""

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        entrypoint: Sequence[str] = ...,
        start: bool = ...,
        **options: Any,  # noqa: ANN401 (the engine's options are many, and of all types)
    ) -> Container: ...


def inner_pid(pid: int) -> int:
    """The PID by which the process knows itself, in its innermost namespace. 0: it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^NSpid:.*\t(\d+)$", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _pid_namespace(pid: int) -> str:
    """The name of its PID namespace, empty if it is gone or somebody else's."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or f"[{process.name()}]"
    except psutil.NoSuchProcess:
        return "(gone)"


def left_behind(client: docker.DockerClient, session: str) -> Sequence[docker.models.containers.Container]:
    """The containers of a test session that still exist."""
    return client.containers.list(all=True, filters={"label": f"{LABEL}={session}"})


def remove(raw: docker.models.containers.Container) -> None:
    """Remove a container whatever its state; one that is gone already is fine."""
    try:
        raw.remove(force=True, v=True)
    except docker.errors.NotFound:
        pass
    except docker.errors.APIError as error:
        if "already in progress" not in str(error):  # it was started with auto_remove
            raise


def put(container: Container, files: Mapping[str, str], folder: str = "/srv", mode: int = 0o644) -> None:
    """Files into a container that has not been started."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    assert container.raw.put_archive(folder, buffer.getvalue())
