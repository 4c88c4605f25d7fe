"""The observer's half on this side: starts `agent` in a container of ours, talks to it, and turns its answers into accounts.

One container serves a whole run. It holds its end of the connection and ends with it, so it never outlives the tool, however that ends.
What an engine refuses is given up in named steps (`STEPS`): an observer that sees less says so in each account.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from pyinit.containers import image
from pyinit.containers.account import Account
from pyinit.containers.engine import BROKEN, Container, Engine, EngineError, explain
from pyinit.containers.facts import Facts

if TYPE_CHECKING:
    from types import TracebackType

STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "everything",
        {
            "cap_add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"],
            "security_opt": ["apparmor=unconfined"],
            "userns_mode": "host",
        },
    ),
    ("no tracepoints", {"cap_add": ["SYS_PTRACE", "NET_ADMIN"], "userns_mode": "host"}),
    ("no tracepoints, and a user namespace of its own", {"cap_add": ["SYS_PTRACE"]}),
    ("no capabilities", {}),
)
"""What the observer is started with, best first. SYS_ADMIN mounts tracefs, SYS_PTRACE reads other users' processes; NET_ADMIN,
with the host's network, is for the process connector."""

CONTENT_LABEL = "pyinit.content"

START_WITHIN = 30.0
"""Seconds until an observer that was started says hello."""


class ObserverError(Exception):
    """No observer can be had, or it does not see the target; the message says why. `kind`: the exception that it was over there."""

    kind = ""


class LostError(ObserverError):
    """The observer is gone in the middle."""


@dataclass(frozen=True)
class Seen:
    """A process at one moment. `parent` is its parent at that moment, by the observer's number, as is `pid`."""

    pid: int
    inside: int
    parent: int
    born: float
    name: str
    command: str
    program: str
    """The name of its executable; empty where it could not be read."""
    state: str
    blocked: int
    ignored: int
    caught: int
    cpu: float

    @property
    def is_zombie(self) -> bool:
        """Whether it is dead and not reaped."""
        return self.state == "Z"


def with_source(engine: Engine, base: str) -> str:
    """The image `base` with the package put in; its ID. Raises EngineError.

    Made once for a session, and found again by what is in it. It goes with the session, as everything does: nobody expects a run to
    leave an image behind, and making one takes less time than one stop.
    """
    api, tar = engine.client.api, image.source()
    content = hashlib.sha256(str(engine.image(base)["Id"]).encode() + tar).hexdigest()
    labels = [f"{key}={value}" for key, value in (*engine.labels.items(), (CONTENT_LABEL, content))]
    made = None
    try:
        for found in api.images(filters={"label": labels}):
            return str(found["Id"])
        made = engine.create(base, ["true"], entrypoint=[])
        api.put_archive(made.id, "/", tar)
        changes = [f"LABEL {label}" for label in labels]
        return str(api.commit(made.id, repository=f"pyinit-{engine.session}", changes=changes)["Id"])
    except BROKEN as error:
        raise EngineError(f"the observer cannot be put into {base}: {explain(error)}") from None
    finally:
        if made is not None:
            made.remove()


class Agent:
    """The agent in its container. A context manager; thread-safe."""

    def __init__(self, engine: Engine, *, base: str | None = None, source: str | None = None) -> None:
        """`base`: an image with Python 3.11 or newer; without it, this interpreter goes along (see `image`). `source`: the one
        that each `Observer` is to use. Raises ObserverError.
        """
        self._engine = engine
        self._source = source
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._gone = ""
        self._log = b""
        self._container: Container | None = None
        self.hello: dict[str, Any] = {}
        if base is None:
            try:
                tar, self.command = image.pack()
            except image.ImageError as error:
                raise ObserverError(str(error)) from None
            self.image = engine.import_image(tar, ["ENV PATH=/"])
        else:
            self.image = with_source(engine, base)
            self.command = image.command(None, "python3")

    def __enter__(self) -> Self:
        refused = []
        for name, options in STEPS:
            try:
                self._start(options)
            except (EngineError, LostError) as error:
                refused.append(str(error))
                self._stop()
                continue
            self.step = name
            self.refused = tuple(refused)
            refusal = self.hello["refusals"].get(self._source)
            if refusal:
                self._stop()
                raise ObserverError(f"the source {self._source} is not to be had: {refusal}; leave --source out")
            return self
        raise ObserverError(f"no observer can be started in {self._engine.name}: {'; '.join(dict.fromkeys(refused))}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self, options: dict[str, Any]) -> None:
        self._gone = ""
        network = "host" if "NET_ADMIN" in options.get("cap_add", ()) else "none"
        made = self._engine.held(
            self.image,
            [],
            hears=True,
            entrypoint=self.command,
            pid_mode="host",
            network_mode=network,
            user="0:0",
            read_only=False,
            log_config={"Type": "none"} if not self._engine.is_podman else None,
            **options,
        )
        self._container = made
        hello: Future[Any] = Future()
        self._waiting[0] = hello
        assert made.connection is not None  # noqa: S101 - it is held
        self._socket = made.connection.socket
        threading.Thread(target=self._read, name="observer's answers", daemon=True).start()
        made.start()
        try:
            self.hello = hello.result(START_WITHIN)
        except TimeoutError:
            raise LostError(f"the observer did not say hello within {START_WITHIN:g} s") from None

    def _stop(self) -> None:
        if self._container is not None:
            self._container.let_go()
            with suppress(EngineError, *BROKEN):
                self._container.wait(5)
            self._container.remove()
            self._container = None

    def call(self, word: str, timeout: float | None = None, /, **words: object) -> Any:  # noqa: ANN401 - what JSON brings
        """Asks, and waits for the answer at most `timeout` seconds (60 by default). Raises ObserverError with the agent's words."""
        answer: Future[Any] = Future()
        with self._lock:
            if self._gone:
                raise LostError(self._gone)
            number = next(self._numbers)
            self._waiting[number] = answer
            line = json.dumps({"id": number, "call": word, "with": words}) + "\n"
            try:
                self._socket.sendall(line.encode())
            except OSError as error:
                raise LostError(f"the observer is gone: {error}") from None
        try:
            return answer.result(60.0 if timeout is None else timeout)
        except TimeoutError:
            raise LostError(f"the observer did not answer {word} in time") from None

    def watch(self, pid: int) -> Watch:
        """Watches the namespace of that PID 1. Raises ObserverError when it cannot."""
        return Watch(self, pid, self.call("watch", pid=pid, source=self._source))

    def facts(self, pid: int) -> tuple[Facts, ...]:
        """Everybody in the namespace of that PID 1, and what they do about signals. Raises ObserverError when it cannot be read."""
        return tuple(Facts.of_json(one) for one in self.call("facts", pid=pid))

    def now(self) -> float:
        """The clock that all times of its accounts are on."""
        return float(self.call("now"))

    # --- the connection ---

    def _read(self) -> None:
        """Answers, until the connection ends. The engine sends stdout and stderr in frames: a byte for which, and a length."""
        unread = b""
        try:
            while head := self._exactly(8):
                stream, length = struct.unpack(">BxxxL", head)
                data = self._exactly(length)
                if stream == 2:
                    self._log = (self._log + data)[-4000:]
                    continue
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    self._answered(json.loads(line))
        except (OSError, ValueError) as error:
            self._log += str(error).encode()
        words = self._log.decode("utf-8", "replace").strip().splitlines()
        self._gone = f"the observer has ended: {words[-1] if words else 'its container was stopped or removed'}"
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            if not future.done():
                future.set_exception(LostError(self._gone))

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            if not more:
                return b""
            data += more
        return data

    def _answered(self, answer: dict[str, Any]) -> None:
        future = self._waiting.pop(answer["id"], None)
        if future is None:
            return
        if "error" in answer:
            error = ObserverError(answer["error"])
            error.kind = answer["kind"]
            future.set_exception(error)
        else:
            future.set_result(answer["result"])


class Watch:
    """One target under observation. A context manager."""

    def __init__(self, agent: Agent, pid: int, answer: dict[str, Any]) -> None:
        self.agent = agent
        self.pid = pid
        self.namespace = int(answer["namespace"])
        self._number = int(answer["watch"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ObserverError):
            self.agent.call("forget", watch=self._number)

    def look(self) -> tuple[Seen, ...]:
        """Everybody who is there now; nobody once PID 1 is gone."""
        try:
            return tuple(Seen(**one) for one in self.agent.call("look", watch=self._number))
        except LostError:
            raise
        except ObserverError:
            return ()

    def settle(self, quiet: float, limit: float) -> tuple[bool, float]:
        """Until nothing has happened for `quiet` seconds, at most `limit`: whether it came to rest, and after how many seconds."""
        answer = self.agent.call("settle", limit + 60, watch=self._number, quiet=quiet, limit=limit)
        return bool(answer["settled"]), float(answer["seconds"])

    def wait(self, timeout: float) -> bool:
        """Until all are dead and reaped; False after `timeout` seconds."""
        return bool(self.agent.call("wait", timeout + 60, watch=self._number, timeout=timeout))

    def account(self) -> Account:
        """What has been seen so far."""
        return Account.of_json(self.agent.call("account", watch=self._number))

    def signal(self, target: Seen, number: int) -> bool:
        """Sends a signal straight to one process; False when it is gone."""
        return bool(self.agent.call("signal", pid=target.pid, born=target.born, number=number))

    def listening(self) -> list[int]:
        """The TCP ports on which somebody in the target's network namespace listens."""
        return list(self.agent.call("listening", pid=self.pid))
