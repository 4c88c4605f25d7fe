"""A supervisor under test: the spec as JSON, the process, and the control socket as `pyinitctl` speaks to it."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pyinit.supervise
from support.runs import PRELUDE, Run
from support.waiting import until

MAIN = Path(pyinit.supervise.__file__).parent / "__main__.py"
Json = dict[str, Any]

LOGS: Json = {
    "stdout": None,
    "stderr": None,
    "combined": None,
    "off": False,
    "form": "text",
    "timestamp": None,
    "per_instance": False,
    "max_size": None,
    "every": None,
    "keep": 10,
    "compress": False,
    "full": "block",
}


def app(name: str, command: list[str], *, logs: Json | None = None, **keys: Any) -> Json:  # noqa: ANN401
    """An app of a spec, every key present; `keys` are those that matter to a test."""
    made: Json = {
        "name": name,
        "namespace": "default",
        "command": command,
        "cwd": "/",
        "environment": {"PATH": os.environ["PATH"]},
        "uid": None,
        "gid": None,
        "instances": 1,
        "instance_variable": "NODE_APP_INSTANCE",
        "increment_variables": [],
        "listen": [],
        "node": False,
        "channel": False,
        "ready": {"kind": "alive"},
        "ready_timeout": 20,
        "ready_required": True,
        "stop_signal": "SIGTERM",
        "stop_message": None,
        "drain": 0,
        "grace": 10,
        "restart": "always",
        "leave_exit_codes": [],
        "min_uptime": 0.05,
        "max_restarts": 10,
        "restart_window": 60,
        "backoff_first": 0.01,
        "backoff_max": 0.1,
        "health": None,
        "health_every": 0.1,
        "health_timeout": 10,
        "health_failures": 2,
        "health_action": "say",
        "memory_limit": None,
        "cron": None,
        "watch": [],
        "watch_ignore": [],
        "essential": False,
        "autostart": True,
        "after": [],
        "surge": 0,
        "logs": {**LOGS, **(logs or {})},
    }
    assert set(keys) <= set(made), f"no such keys: {set(keys) - set(made)}"
    return made | keys


def spec(*apps: Json, **keys: Any) -> Json:  # noqa: ANN401
    """A whole spec."""
    return {"version": 1, "apps": list(apps), "stop_budget": None, "control": "/nowhere", "log_form": "text"} | keys


def guest(code: str) -> list[str]:
    """A program in Python: `say`, `block`, `record` and `daemon` are there, as are os, signal, sys and time; GUEST has the rest."""
    return [sys.executable, "-I", "-S", "-c", PRELUDE + GUEST + code]


GUEST = """\
def ready():
    "Tell the supervisor, as sd_notify does."
    import socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])

def forever():
    "Be ready, and only wait for signals."
    if "NOTIFY_SOCKET" in os.environ:
        ready()
    while True:
        signal.pause()

def on_term(call):
    signal.signal(signal.SIGTERM, lambda *_: call())

def leave(code=0):
    os._exit(code)

"""


def worker(name: str, code: str = "forever()", **keys: Any) -> Json:  # noqa: ANN401
    """An app in Python that is ready when it says so, with `ready()` or `forever()`."""
    return app(name, guest(code), **({"ready": {"kind": "notify"}} | keys))


class Talk:
    """One connection to a control socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def send(self, **request: Any) -> "Talk":  # noqa: ANN401
        """Ask, without waiting for the answer."""
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self

    def lines(self) -> Iterator[Json]:
        """What comes, up to and with the answer."""
        for line in self._file:
            value = json.loads(line)
            yield value
            if "ok" in value:
                return

    def answer(self) -> Json:
        """The last line; the events before it are in `events`."""
        *events, last = self.lines()
        return last | {"events": events}

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Supervised:
    """A running supervisor and its control socket."""

    def __init__(self, run: Run, control: Path) -> None:
        self.run = run
        self.control = control

    def talk(self) -> Talk:
        """A connection, as soon as there is something to connect to."""
        return until(lambda: Talk(self.control), 20, "the control socket")

    def ask(self, word: str, *select: str, **keys: Any) -> Json:  # noqa: ANN401
        """A word and its answer."""
        with self.talk() as talk:
            return talk.send(do=word, select=list(select) or ["all"], **keys).answer()

    def do(self, word: str, *select: str, **keys: Any) -> Json:  # noqa: ANN401
        """A word that is to succeed."""
        answer = self.ask(word, *select, **keys)
        assert answer["ok"], f"{word}: {answer}\n{self.run}"
        return answer

    def ready(self) -> "Supervised":
        """Wait until everything is ready."""
        self.do("wait")
        return self

    def rows(self, *select: str) -> list[Json]:
        """The workers."""
        found: list[Json] = self.do("list", *select)["workers"]
        return found

    def pids(self, *select: str) -> list[int]:
        """Those that run."""
        return [row["pid"] for row in self.rows(*select) if row["pid"]]

    def states(self, *select: str) -> list[str]:
        return [row["state"] for row in self.rows(*select)]

    def apply(self, *apps: Json) -> Json:
        """New values. Their processes are known by the run's mark too, or they would outlive the test."""
        name, _, mark = self.run.mark.decode().partition("=")
        for one in apps:
            one["environment"][name] = mark
        return self.ask("apply", spec=spec(*apps))
