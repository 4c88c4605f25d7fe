"""Whether an app as a whole does its work: asked of the address that its instances share, or of a program."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinit.supervise.ready import Probe
from support import processes
from support.supervised import Json, Supervised, worker
from support.waiting import until
from support.workers import free_port

Supervise = Callable[..., Supervised]

SERVER = """
import socket
s = socket.socket(fileno=3); s.setblocking(True)
ready()
while True:
    c, _ = s.accept()
    line = c.recv(4096).split(b'\\r')[0]
    c.sendall(b'HTTP/1.0 %s\\r\\n\\r\\n' % (b'503 Busy' if os.path.exists(FLAG) else b'200 OK' if b'/up' in line else b'404 No'))
    c.close()
"""


def health(supervised: Supervised) -> tuple[str | None, str | None]:
    """What `describe` says of the one app; `list` says the same."""
    (app,) = supervised.do("describe")["apps"]
    states = {row["health"] for row in supervised.rows()}
    return (app["health_is"], app["health_why"]) if states == {app["health_is"]} else ("?", str(states))


def is_said(supervised: Supervised, state: str | None, why: str | None = None) -> None:
    until(lambda: health(supervised) == (state, why), 20, f"{state}, {why}")


def server(flag: Path, port: int, **keys: object) -> Json:
    """Two instances of an app that does its work as long as there is no such file."""
    listen = [{"host": "127.0.0.1", "port": port}]
    question = {"kind": "http", "url": f"http://127.0.0.1:{port}/up"}
    return worker(
        "web", SERVER.replace("FLAG", repr(str(flag))), instances=2, listen=listen, **{"health": question, **keys}
    )


def test_said_and_nothing_else(supervise: Supervise, tmp_path: Path) -> None:
    """Unhealthy and healthy again, in the list and in two lines; nobody is stopped."""
    flag = tmp_path / "busy"
    supervised = supervise(server(flag, free_port())).ready()
    before = supervised.pids()
    is_said(supervised, "healthy")
    flag.touch()
    is_said(supervised, "unhealthy", "it answers HTTP/1.0 503 Busy")
    flag.unlink()
    is_said(supervised, "healthy")
    assert supervised.pids() == before
    said = [line for line in supervised.run.err.splitlines() if "health" in line]
    assert said == ["pyinit: web is unhealthy: it answers HTTP/1.0 503 Busy", "pyinit: web is healthy again"]


def test_reload_of_what_is_unhealthy(supervise: Supervise, tmp_path: Path) -> None:
    """Where the file says so: the new ones first, as ever."""
    flag = tmp_path / "busy"
    supervised = supervise(server(flag, free_port(), health_action="reload", health_every=0.3)).ready()
    before = supervised.pids()
    is_said(supervised, "healthy")
    flag.touch()
    until(lambda: not set(supervised.pids()) & set(before), 20, "other workers")
    flag.unlink()
    is_said(supervised, "healthy")
    assert {row["restarts"] for row in supervised.rows()} == {0}


def test_nobody_is_ready(supervise: Supervise, tmp_path: Path) -> None:
    """Then it is not known, whatever it was."""
    supervised = supervise(server(tmp_path / "busy", free_port())).ready()
    is_said(supervised, "healthy")
    supervised.do("stop")
    is_said(supervised, None)
    supervised.do("start")
    is_said(supervised, "healthy")


def test_nobody_asks_any_more(supervise: Supervise, tmp_path: Path) -> None:
    """A file without the key: what it was is not said for ever."""
    port = free_port()
    supervised = supervise(server(tmp_path / "busy", port)).ready()
    is_said(supervised, "healthy")
    assert supervised.apply(server(tmp_path / "busy", port, health=None))["ok"]
    is_said(supervised, None)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"kind": "tcp", "host": "127.0.0.1", "port": 0}, "Connection refused"),
        ({"kind": "http", "url": "http://127.0.0.1:0/"}, "Connection refused"),
        ({"kind": "command", "command": ["sh", "-c", "exit 3"]}, "it ended: exit 3"),
        ({"kind": "command", "command": ["sh", "-c", "kill -9 $$"]}, "it ended: SIGKILL"),
        ({"kind": "command", "command": ["/nowhere"]}, "cannot run /nowhere: no such file"),
    ],
)
def test_why_not(question: Json, why: str, supervise: Supervise) -> None:
    """Each way to ask, and what was wrong."""
    port = free_port()
    if "port" in question:
        question |= {"port": port}
    elif "url" in question:
        question |= {"url": f"http://127.0.0.1:{port}/"}
    supervised = supervise(worker("web", health=question)).ready()
    until(lambda: health(supervised)[0] == "unhealthy", 20, "the failures")
    assert why in str(health(supervised)[1])


def test_program_that_is_asked(supervise: Supervise, tmp_path: Path) -> None:
    """With the app's directory, environment and user; its end is not taken for a worker's."""
    environment = {"PATH": os.environ["PATH"], "COLOUR": "red"}
    command = ["sh", "-c", 'test "$COLOUR" = red && test "$PWD" = "$1" && echo lost', "sh", str(tmp_path)]
    question = {"kind": "command", "command": command}
    supervised = supervise(worker("web", health=question, cwd=str(tmp_path), environment=environment)).ready()
    is_said(supervised, "healthy")
    assert supervised.run.lines == []
    assert supervised.rows()[0]["restarts"] == 0


def test_silence(supervise: Supervise) -> None:
    """A program that hangs is killed with what it has started; a server that does not answer is let go."""
    command = ["sh", "-c", "sleep 1000 & sleep 1000"]
    hangs = worker("hangs", health={"kind": "command", "command": command}, health_timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        question = {"kind": "http", "url": f"http://127.0.0.1:{deaf.getsockname()[1]}/"}
        supervised = supervise(hangs, worker("deaf", health=question, health_timeout=0.3)).ready()
        before = len(processes.descriptors(supervised.run.pid))
        until(lambda: [row["health"] for row in supervised.rows()] == ["unhealthy"] * 2, 20, "both")
        whys = [app["health_why"] for app in supervised.do("describe")["apps"]]
        assert whys == ["no answer in 0.3 s"] * 2
        until(
            lambda: len(processes.descriptors(supervised.run.pid)) <= before + 1,
            20,
            "no more open than those of one question",
        )
        supervised.do("stop")
        until(lambda: not processes.children(supervised.run.pid), 20, "their ends")


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_address_without_a_way_to_it(kind: str) -> None:
    """An error at once, and not an answer: nothing more would be told of that socket."""
    question = {"kind": kind, "host": "255.255.255.255", "port": 1, "url": "http://255.255.255.255:1/"}
    with pytest.raises(OSError, match=r"Permission denied|unreachable"):
        Probe(question)
