"""A container engine (Docker, or podman through its Docker-compatible socket), and what one session of ours makes in it.

All that is made carries labels: the session, and the machine, boot, process and start time of who runs it. So a session that was
killed can be told from one that is at work, and `clean` removes what the former left, and nothing else.

Rejected: the command line client (three of them, with options that differ by version; its output is for people).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import docker
import docker.errors
import requests.exceptions

from pyinit.containers import procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from docker.models.containers import Container as Raw

LABEL = "pyinit.session"
HOST_LABEL = "pyinit.host"
BOOT_LABEL = "pyinit.boot"
NAMESPACE_LABEL = "pyinit.namespace"
PID_LABEL = "pyinit.pid"
STARTED_LABEL = "pyinit.started"
BUNDLE_LABEL = "pyinit.bundle"

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

REQUEST_TIMEOUT = 120
"""Seconds that the engine may take for one request, besides what is asked of it."""

REMOVED_WITHIN = 30.0
"""Seconds that a removal that has begun may take."""

COPIED_WITHIN = 600.0
"""Seconds that the copy of a volume may take."""


class EngineError(Exception):
    """The engine is not there, or refused; the message says what, on what, why and what to do."""


BROKEN = (docker.errors.DockerException, requests.exceptions.RequestException)
"""What the client library raises when the engine refuses, or has gone."""


class EndedError(EngineError):
    """The container has ended while something was wanted of it."""


def address() -> str:
    """Where the engine is: DOCKER_HOST, or the local socket."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def is_here() -> bool:
    """Whether the engine's paths are this machine's: it is asked through a socket that lies here."""
    return address().startswith(("unix:", "http+unix:"))


def connect() -> docker.DockerClient:
    """The engine at `address()`. Raises EngineError."""
    where = address()
    try:
        _touch(where)
        client = docker.from_env(timeout=REQUEST_TIMEOUT)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError) as error:
        words = _root_cause(error)
        if "Permission denied" in words:
            raise EngineError(
                f"no permission for the engine's socket {where}: add this user to the group that owns it "
                "(often docker), use rootless podman with DOCKER_HOST, or run this as root"
            ) from None
        raise EngineError(
            f"no container engine answers at {where} ({words}): start Docker or podman's socket, or set DOCKER_HOST"
        ) from None
    return client


def _touch(where: str) -> None:
    """Raises OSError where nobody listens on a local socket. The client library finds that out too, and leaves an open socket behind, of
    which Python warns in the middle of something else.
    """
    scheme, _, path = where.partition("://")
    if scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(REQUEST_TIMEOUT)
            probe.connect(f"/{path.lstrip('/')}")


def _root_cause(error: BaseException) -> str:
    """The innermost reason in words: what `requests` and urllib3 wrap is what a person wants to know."""
    seen: BaseException | None = error
    words = str(error)
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            words = seen.strerror
        seen = seen.__cause__ or seen.__context__ or next((a for a in seen.args if isinstance(a, BaseException)), None)
    return words.splitlines()[0] if words else type(error).__name__


class Engine:
    """The engine, and one session: everything that is created through it is labelled and, at the end, removed.

    A context manager. Thread-safe: containers of one session are run from several threads. `keep`: containers of ours stay after
    the end (for a look at them); they are removed by `clean` once the process is gone.
    """

    def __init__(self, client: docker.DockerClient | None = None, *, keep: bool = False) -> None:
        self.client = client or connect()
        self.session = uuid.uuid4().hex[:12]
        known = {
            LABEL: self.session,
            HOST_LABEL: _host(),
            BOOT_LABEL: _boot(),
            NAMESPACE_LABEL: _pid_namespace(),
            PID_LABEL: str(os.getpid()),
            STARTED_LABEL: _started(os.getpid()),
        }
        self.labels = {key: value for key, value in known.items() if value}
        self._keep = keep
        self._lock = threading.Lock()
        self._closed = False
        self.left = True
        """Whether anything of this session may be there after the end."""
        self._bundles = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What `docker info` says."""
        found: Mapping[str, Any] = self.client.info()
        return found

    @cached_property
    def version(self) -> Mapping[str, Any]:
        """What `docker version` says of the server."""
        found: Mapping[str, Any] = self.client.version()
        return found

    @property
    def name(self) -> str:
        """`Docker 20.10.24` or `podman 4.3.1`."""
        parts = {part["Name"]: part.get("Version", "") for part in self.version.get("Components") or []}
        if "Podman Engine" in parts:
            return f"podman {parts['Podman Engine']}"
        return f"Docker {self.version.get('Version', '?')}"

    @property
    def is_podman(self) -> bool:
        """Whether this is podman behind a Docker-compatible socket."""
        return self.name.startswith("podman")

    # --- images ---

    def image(self, name: str, *, pull: str = "missing", platform: str | None = None) -> Mapping[str, Any]:
        """`docker image inspect`. `pull`: missing, always or never. Raises EngineError."""
        try:
            if pull == "always":
                self._pull(name, platform)
            found: Mapping[str, Any] = self._inspect(name)
        except docker.errors.ImageNotFound:
            if pull != "missing":
                raise EngineError(
                    f"there is no image {name!r} in {self.name}: build it, or leave --pull {pull} out"
                ) from None
            self._pull(name, platform)
            found = self._inspect(name)
        except docker.errors.APIError as error:
            raise EngineError(f"the image {name!r} cannot be inspected: {explain(error)}") from None
        return found

    def _inspect(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.client.api.inspect_image(name)  # type: ignore[no-untyped-call]
        return found

    def _pull(self, name: str, platform: str | None) -> None:
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        try:
            self.client.api.pull(repository, tag=tag, platform=platform)
        except (docker.errors.APIError, docker.errors.NotFound, requests.exceptions.RequestException) as error:
            raise EngineError(
                f"there is no image {name!r} in {self.name}, and it cannot be pulled ({explain(error)}): "
                "build it first, or correct the name"
            ) from None

    def import_image(self, tar: bytes, changes: Sequence[str] = ()) -> str:
        """`docker import` of a tree; the image's ID. It carries this session's labels."""
        labels = [f"LABEL {key}={value}" for key, value in self.labels.items()]
        try:
            text = self.client.api.import_image_from_data(
                tar, repository=f"pyinit-{self.session}", changes=[*labels, *changes]
            )
        except BROKEN as error:
            raise EngineError(f"the observer's image cannot be imported into {self.name}: {explain(error)}") from None
        if '"error"' in text:
            raise EngineError(f"the observer's image cannot be imported into {self.name}: {text.strip()}")
        return str(self._inspect(f"pyinit-{self.session}:latest")["Id"])

    # --- containers ---

    def create(
        self,
        image: str,
        command: list[str] | None = None,
        bundle: Bundle | None = None,
        **options: Any,  # noqa: ANN401 - docker-py's options
    ) -> Container:
        """`docker create`, labelled. `options` are those of docker-py's `containers.create`. Raises EngineError."""
        labels = {**(bundle.labels if bundle else self.labels), **options.pop("labels", {})}
        if self._closed:
            raise EngineError("this session is over: nothing is created any more")
        try:
            raw = self.client.containers.create(image, command, labels=labels, **{"detach": True, **options})
        except (*BROKEN, TypeError, ValueError) as error:  # the client library refuses some options itself
            raise EngineError(f"no container can be made from {image}: {explain(error)}") from None
        return Container(self, raw, bundle)

    def held(
        self,
        image: str,
        command: list[str],
        bundle: Bundle | None = None,
        *,
        hears: bool = False,
        **options: Any,  # noqa: ANN401 - docker-py's options
    ) -> Container:
        """One whose stdin is a connection of ours, which ends with us, however that comes: see `Connection`. Raises EngineError."""
        made = self.create(image, command, bundle, stdin_open=True, detach=False, **options)
        try:
            made.connection = Connection(made, hears=hears)
        except EngineError:
            remove(self.client.api, made.id)
            raise
        return made

    def find(self, name: str) -> Container:
        """A container of anybody's, by its name, its ID, or how that begins. It is not this session's, and stays. Raises EngineError."""
        try:
            return Container(self, self.client.containers.get(name))
        except docker.errors.NotFound:
            known = [each for row in self.client.api.containers() for each in row["Names"]]
            names = ", ".join(sorted(each.lstrip("/") for each in known)[:8]) or "none"
            raise EngineError(f"there is no container {name!r} in {self.name}; those that run: {names}") from None
        except BROKEN as error:
            raise EngineError(f"the container {name!r} cannot be found: {explain(error)}") from None

    def bundle(self) -> Bundle:
        """A new one, empty."""
        return Bundle(self, f"pyinit-{self.session}-{next(self._bundles)}")

    # --- removing ---

    def close(self) -> None:
        """Removes everything of this session."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with suppress(*BROKEN):  # an engine that has gone: the next run, or `clean`, removes what is left
            self._remove(LABEL, self.session, keep=self._keep)
            self.left = any(labels.get(LABEL) == self.session for labels in self._labelled())
        self.client.close()

    def clean(self) -> list[str]:
        """Removes what sessions on this host left whose process is gone; what was removed, in words."""
        dead = set()
        for labels in self._labelled():
            session = labels.get(LABEL, "")
            if session and session != self.session and not _may_live(labels):
                dead.add(session)
        return [word for session in sorted(dead) for word in self._remove(LABEL, session, keep=False)]

    def remove_session(self, session: str) -> list[str]:
        """Removes everything of another session, whose process is known to be gone; what was removed, in words."""
        return self._remove(LABEL, session, keep=False)

    def _labelled(self) -> Iterable[Mapping[str, str]]:
        only = {"label": LABEL}
        for row in self.client.api.containers(all=True, filters=only):
            yield row.get("Labels") or {}
        for row in self.client.api.images(all=False, filters=only):
            yield row.get("Labels") or {}
        for row in self.client.api.networks(filters=only):
            yield row.get("Labels") or {}
        for row in self.client.api.volumes(filters=only).get("Volumes") or []:
            yield row.get("Labels") or {}

    def _remove(self, label: str, value: str, *, keep: bool) -> list[str]:
        only = {"label": f"{label}={value}"}
        api = self.client.api
        removed = []
        for row in [] if keep else api.containers(all=True, filters=only):
            with suppress(*BROKEN):
                remove(api, row["Id"])
                removed.append(f"container {row['Id'][:12]}")
        for row in [] if keep else api.networks(filters=only):
            with suppress(docker.errors.APIError):
                api.remove_network(row["Id"])
                removed.append(f"network {row['Name']}")
        for row in [] if keep else api.volumes(filters=only).get("Volumes") or []:
            with suppress(docker.errors.APIError):
                api.remove_volume(row["Name"])
                removed.append(f"volume {row['Name']}")
        for row in api.images(filters=only):
            with suppress(docker.errors.APIError):
                api.remove_image(row["Id"], force=True)
                removed.append(f"image {row['Id'][7:19]}")
        return removed


def remove(api: docker.APIClient, identity: str) -> None:
    """Removes a container and its anonymous volumes whatever its state; one that is gone, or going, is fine."""
    for attempt in range(3):
        try:
            api.remove_container(identity, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "already in progress" in str(error) and _goes(api, identity):
                return
            if attempt == 2:  # the engine may be busy with its end
                raise
        else:
            return


def _goes(api: docker.APIClient, identity: str) -> bool:
    """Waits until a container that somebody else is removing has gone: until then its volumes and its image are in use."""
    deadline = time.monotonic() + REMOVED_WITHIN
    while time.monotonic() < deadline:
        try:
            api.inspect_container(identity)
        except docker.errors.NotFound:
            return True
        time.sleep(0.05)
    return False


class Bundle:
    """What is made for one container and goes with it: copies of volumes, neighbours, networks.

    A context manager that removes it when the container cannot be made after all.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.labels = {**engine.labels, BUNDLE_LABEL: name}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.remove()

    def copy_of(self, volume: str, image: str, command: Sequence[str]) -> str:
        """A new volume with what is in that one, if it is there. `image` and `command` are the agent's. Raises EngineError."""
        client = self.engine.client
        name = f"{self.name}_{volume}"
        try:
            client.volumes.create(name, labels=self.labels)
            client.volumes.get(volume)
        except docker.errors.NotFound:
            return name  # as in docker run, one that is not there is made
        except BROKEN as error:
            raise EngineError(f"the volume {volume!r} cannot be copied: {explain(error)}") from None
        helper = self.engine.held(
            image,
            ["copy", "", "/from", "/to"],
            self,
            entrypoint=list(command),
            user="0:0",
            network_mode="none",
            volumes=[f"{volume}:/from:ro", f"{name}:/to"],
        )
        try:
            helper.start()
            status = helper.wait(COPIED_WITHIN)
        finally:
            helper.let_go()
        if status != 0:
            words = helper.logs().strip().splitlines()[-1:] or [f"no end within {COPIED_WITHIN:g} s"]
            raise EngineError(f"the volume {volume!r} cannot be copied: {words[0]}")
        remove(client.api, helper.id)
        return name

    def remove(self) -> None:
        """All of it."""
        if not self.engine._keep:  # noqa: SLF001 - two halves of one thing
            with suppress(*BROKEN):
                self.engine._remove(BUNDLE_LABEL, self.name, keep=False)  # noqa: SLF001


class Container:
    """One container of the session. Its state is always asked for, never remembered."""

    def __init__(self, engine: Engine, raw: Raw, bundle: Bundle | None = None) -> None:
        """`bundle`: what is removed with it."""
        self.engine = engine
        self.raw = raw
        self.bundle = bundle
        self.id = str(raw.id)
        self.connection: Connection | None = None

    def start(self) -> None:
        """Raises EngineError when it cannot: a program that is not there, a port that is taken."""
        try:
            self.raw.start()
        except BROKEN as error:
            raise EngineError(f"the container does not start: {explain(error)}") from None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """`docker inspect`, as of now. Raises EngineError when somebody else has removed it."""
        try:
            found: Mapping[str, Any] = self.engine.client.api.inspect_container(self.id)
        except BROKEN as error:
            raise EngineError(f"the container cannot be inspected: {explain(error)}") from None
        return found

    @property
    def state(self) -> Mapping[str, Any]:
        """Its part `State`."""
        state: Mapping[str, Any] = self.attributes["State"]
        return state

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return bool(self.state["Running"])

    @property
    def pid(self) -> int:
        """PID 1, as the engine's host numbers it. Raises EndedError when there is none any more."""
        pid = int(self.state["Pid"])
        if not pid:
            raise EndedError(f"the container has ended with status {self.state['ExitCode']}")
        return pid

    def logs(self) -> str:
        r"""What it has written so far, stdout and stderr. A terminal makes \r\n of each end of a line, which nobody has written."""
        try:
            output: bytes = self.engine.client.api.logs(self.id, stdout=True, stderr=True)
        except BROKEN as error:
            raise EngineError(f"the container's log cannot be read: {explain(error)}") from None
        return output.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def kill(self, signal: str | int) -> bool:
        """`docker kill --signal`; False when it runs no more."""
        try:
            self.engine.client.api.kill(self.id, signal)
        except docker.errors.APIError as error:
            if error.status_code in (404, 409) or any(
                words in str(error) for words in ("not running", "only kill running")
            ):
                return False
            raise EngineError(f"no signal can be sent: {explain(error)}") from None
        return True

    def resize(self, rows: int, columns: int) -> bool:
        """The size of its terminal; False when it runs no more."""
        try:
            self.raw.resize(rows, columns)
        except docker.errors.APIError as error:
            if (
                self.wait(1.0) is None
            ):  # for one that has just ended, engines refuse in many words, some before they know it
                raise EngineError(f"its terminal cannot be resized: {explain(error)}") from None
            return False
        return True

    def stop(self, timeout: int) -> None:
        """`docker stop --time`: the stop signal, and SIGKILL after `timeout` seconds."""
        try:
            self.engine.client.api.stop(self.id, timeout=timeout)
        except BROKEN as error:
            raise EngineError(f"the container cannot be stopped: {explain(error)}") from None

    def wait(self, timeout: float) -> int | None:
        """Its exit status; None when it still runs after `timeout` seconds."""
        try:
            ended = self.engine.client.api.wait(self.id, timeout=timeout)  # type: ignore[arg-type]
            return int(ended["StatusCode"])
        except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
            return None

    @contextmanager
    def awaited(self, timeout: float) -> Iterator[Callable[[], int]]:
        """For what ends inside the block: its exit status, also of one that is removed as it ends (--rm). Raises EngineError.

        The engine has taken note when the block begins; a wait that comes later may find nobody. `timeout`: seconds until the end.
        """
        api = self.engine.client.api
        url = f"{api.base_url}/v{api.api_version}/containers/{self.id}/wait"  # docker-py's wait() tells only when it is over
        try:
            answer = api.post(
                url,
                params={"condition": "next-exit"},
                stream=True,
                timeout=(REQUEST_TIMEOUT, REQUEST_TIMEOUT + timeout),
            )
            answer.raise_for_status()
        except BROKEN as error:
            raise EngineError(f"the container's end cannot be waited for: {explain(error)}") from None

        def status() -> int:
            try:
                return int(answer.json()["StatusCode"])
            except (*BROKEN, ValueError, KeyError) as error:
                raise EngineError(f"the container's exit status is not known: {explain(error)}") from None

        with closing(answer):
            yield status

    def execute(self, command: Sequence[str], timeout: float = 30.0) -> tuple[int, str]:
        """`docker exec`: exit status and output; 125 when the engine could not, or when it took longer than `timeout` seconds."""
        api = self.engine.client.api
        try:
            made = api.exec_create(self.id, list(command))
            done: list[bytes] = []
            reader = threading.Thread(target=lambda: done.append(api.exec_start(made["Id"])), daemon=True)
            reader.start()
            reader.join(timeout)
            status = api.exec_inspect(made["Id"])["ExitCode"]
        except BROKEN as error:
            return 125, explain(error)
        if status is None or not done:
            return 125, f"no end within {timeout:g} s"
        return int(status), done[0].decode("utf-8", "backslashreplace")

    def let_go(self) -> None:
        """Ends the connection to its stdin, where there is one."""
        if self.connection is not None:
            self.connection.close()

    def remove(self) -> None:
        """Removes it, whatever its state, its anonymous volumes, and its bundle."""
        self.let_go()
        if not self.engine._keep:  # noqa: SLF001 - two halves of one thing
            with suppress(*BROKEN):
                remove(self.engine.client.api, self.id)
        if self.bundle is not None:
            self.bundle.remove()


class Connection:
    """Our end of the stdin of a container that has not been started yet, and with `hears` of what it writes.

    When it is closed, and when this process is gone, the other end reads an end of file.
    """

    def __init__(self, container: Container, *, hears: bool) -> None:
        """Raises EngineError."""
        heard = {"stdout": 1, "stderr": 1} if hears else {}
        try:
            # the socket closes with the object around it
            self._around = container.engine.client.api.attach_socket(
                container.id, params={"stdin": 1, "stream": 1, **heard}
            )
        except BROKEN as error:
            raise EngineError(f"cannot attach to a container of ours: {explain(error)}") from None
        self.socket: socket.socket = getattr(self._around, "_sock", self._around)
        self.socket.settimeout(None)

    def send(self, data: bytes) -> None:
        """What its stdin is to bring. Raises EngineError."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise EngineError(f"nothing can be sent to the container's stdin any more: {error.strerror}") from None

    def close(self) -> None:
        """Ends it. May be called twice."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # a thread may be reading from it: close alone would wait for that
        with suppress(OSError):
            self._around.close()
            self.socket.close()  # the one does not close the other


def explain(error: BaseException) -> str:
    """An engine's refusal in one line, without the client library's wrapping."""
    words = getattr(error, "explanation", None) or _root_cause(error)
    if isinstance(words, bytes):
        words = words.decode("utf-8", "replace")
    return " ".join(str(words).split()).removesuffix(".")


def _host() -> str:
    """This machine, whichever boot. Its name goes with its ID: containers of one image have the same ID, if any. Where there is none, it
    is another machine after each boot, and what was left before is nobody's.
    """
    with suppress(OSError):
        identity = MACHINE_ID.read_text(encoding="ascii").strip()
        if identity:
            return f"{identity}-{socket.gethostname()}"
    return _boot() or socket.gethostname()


def _boot() -> str:
    """Since when it is up; empty where there is no Linux to tell."""
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def _pid_namespace() -> str:
    """In which process IDs mean what they mean here; empty where there are none."""
    with suppress(OSError):
        return str(procfs.namespace(os.getpid()))
    return ""


def _started(pid: int) -> str:
    with suppress(OSError):
        return str(procfs.start_ticks(pid))
    return str(int(time.time()))


def _may_live(labels: Mapping[str, str]) -> bool:
    """Whether the process that made it may still be there. Of another machine, and of another PID namespace, that is not known."""
    if labels.get(HOST_LABEL) != _host():
        return True
    if labels.get(BOOT_LABEL, "") != _boot():
        return False
    return labels.get(NAMESPACE_LABEL, "") != _pid_namespace() or _lives(labels)


def _lives(labels: Mapping[str, str]) -> bool:
    try:
        pid = int(labels[PID_LABEL])
    except (KeyError, ValueError):
        return False
    with suppress(OSError):
        return str(procfs.start_ticks(pid)) == labels.get(STARTED_LABEL)
    try:  # without /proc, or where it hides other users' processes
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
