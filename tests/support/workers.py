"""Node programs as the supervisor runs them, under its own channel and sockets, without its policies.

`Workers` is a supervisor that decides nothing: it starts what it is told to, answers requests for sockets, and keeps what was said.
"""

import os
import random
import selectors
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from pyinit.supervise import channel, process
from pyinit.supervise.channel import Channel
from pyinit.supervise.sockets import Sockets
from support import processes
from support.waiting import until

Listen = Callable[[str | None, int, int], socket.socket]

PATIENCE = 20.0
"""Seconds for whatever is waited for here."""
CHANNEL = 3
"""The number of the channel's descriptor in a worker."""


class Worker:
    """One process, its end of the channel, and all that it has said.

    `out` is what it has written to both descriptors; `events` what came over the channel.
    """

    def __init__(self, pid: int, line: Channel, file: IO[bytes]) -> None:
        self.pid = pid
        self.channel = line
        self.events: list[tuple[str, Any]] = []
        self._file = file
        self._status: int | None = None

    @property
    def out(self) -> str:
        return Path(self._file.name).read_text(encoding="utf-8")

    def heard(self, word: str) -> list[Any]:
        """The values of all events of one kind."""
        return [value for kind, value in tuple(self.events) if kind == word]

    def await_(self, condition: Callable[[], Any], what: str) -> Any:  # noqa: ANN401
        """Wait for something to be true of it; when that does not come, what it wrote is in the error."""
        try:
            return until(condition, PATIENCE, what)
        except AssertionError as error:
            error.add_note(f"events: {self.events}\nit wrote:\n{self.out}")
            raise

    def await_event(self, word: str, value: Any = None) -> Any:  # noqa: ANN401
        """Wait for an event of a kind, or for the one with a value."""
        return self.await_(
            lambda: [heard for heard in self.heard(word) if value in (None, heard)] or None, f"{word} {value or ''}"
        )[0]

    def await_count(self, word: str, count: int) -> None:
        """Wait for so many events of a kind."""
        self.await_(lambda: len(self.heard(word)) >= count, f"{count} of {word}")

    def await_line(self, text: str) -> str:
        """Wait until it has written a line that begins so, and return what follows."""
        found = self.await_(
            lambda: [line for line in self.out.splitlines() if line.startswith(text)], f"the line {text!r}"
        )
        return str(found[0]).removeprefix(text).strip()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """How it ended, as os.waitstatus_to_exitcode."""
        self.await_(self._ended, "its end")
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def _ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is not None

    def is_running(self) -> bool:
        return not self._ended()

    def end(self) -> None:
        """Nothing of it is left."""
        if not self._ended():
            for pid in [*processes.descendants(self.pid), self.pid]:
                os.kill(pid, signal.SIGKILL)
            self.wait()
        self._file.close()


class Workers:
    """All workers of one app. Usable with `with`, which leaves none behind."""

    def __init__(self, node: str, listen: Listen | None = None) -> None:
        self.node = node
        self.sockets = Sockets()
        self.workers: list[Worker] = []
        self._listen = listen or self.sockets.listen
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._is_over = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def start(
        self,
        *words: str,
        command: tuple[str, ...] = (),
        preload: bool = True,
        variables: dict[str, str] | None = None,
    ) -> Worker:
        """Start a worker: Node with these arguments, unless there is a command."""
        with self._lock:
            line, theirs = Channel.pair()
            environment = {"PATH": os.environ["PATH"], **(variables or {})}
            if preload:
                environment = channel.variables(environment, CHANNEL, channel.PRELOAD)
            file = tempfile.NamedTemporaryFile(prefix="worker-", suffix=".out")  # noqa: SIM115
            with Path(os.devnull).open("rb") as null:
                descriptors = {0: null.fileno(), 1: file.fileno(), 2: file.fileno()}
                if preload:
                    descriptors[CHANNEL] = theirs.fileno()
                command = command or (self.node, *words)
                pid = process.spawn(command, environment, "/", descriptors, label="test")
            theirs.close()
            worker = Worker(pid, line, file)
            self.workers.append(worker)
            if preload:
                self._selector.register(line, selectors.EVENT_READ, worker)
            return worker

    def say(self, worker: Worker, value: Any) -> None:  # noqa: ANN401
        """A message for the program."""
        with self._lock:
            worker.channel.say(value)

    def drain(self, worker: Worker) -> None:
        with self._lock:
            worker.channel.drain()

    def _serve(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    self._hear(key.data)

    def _hear(self, worker: Worker) -> None:
        for word, value in worker.channel.receive():
            worker.events.append((word, value))
            if word == channel.LISTEN:
                worker.channel.answer(value, self._listen)
        if worker.channel.ended:
            self._selector.unregister(worker.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        for worker in self.workers:
            worker.end()
            worker.channel.close()
        self.sockets.close()
        self._selector.close()


def free_port(count: int = 1) -> int:
    """The first of so many ports in a row that nobody has; below those that the kernel gives to connections as they come."""
    while True:
        first = random.randrange(10_000, 30_000)
        try:
            with ExitStack() as stack:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
        except OSError:
            continue
        return first


def listener(port: int) -> str:
    """The socket that listens on a port, by the name that /proc gives it."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
                return f"socket:[{fields[9]}]"
    raise AssertionError(f"nobody listens on {port}")
