"""Node programs under the whole supervisor: reloads that nobody notices, and what becomes of them when it is killed."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import pyinit
from pyinit.supervise.channel import LISTENING, MESSAGE, PUBLIC
from support import processes
from support.load import PROGRAM, Load, loading
from support.supervised import Json, Supervised, app
from support.waiting import until
from support.workers import Worker, Workers, free_port, listener

Supervise = Callable[..., Supervised]
Make = Callable[..., Workers]
PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534


def clustered(program: str, *words: str, **keys: Any) -> Json:  # noqa: ANN401
    """An app as `pyinitctl` makes it of a PM2 file: ready when it listens, drained, and stopped by SIGINT."""
    defaults: Json = {"instances": 2, "node": True, "ready": {"kind": "listening"}, "drain": 5, "stop_signal": "SIGINT"}
    return app("web", [program, *words], **(defaults | keys))


def load(node: str, port: int, way: str) -> AbstractContextManager[Load]:
    """Requests until the end of the block."""
    pipe = subprocess.PIPE
    return loading(subprocess.Popen([node, str(PROGRAM), str(port), way], stdin=pipe, stdout=pipe, text=True))


WEB = "require('http').createServer((q, r) => r.end(String(process.pid))).listen({port})"


@pytest.mark.parametrize("surge", [0, 2])
@pytest.mark.parametrize("way", ["keep", "close"])
def test_reload_under_load(way: str, surge: int, node: str, supervise: Supervise) -> None:
    """No request fails, over kept connections as over new ones, however often the workers are replaced."""
    port = free_port()
    supervised = supervise(clustered(node, "-e", WEB.format(port=port), surge=surge)).ready()
    pids = set(supervised.pids())
    with load(node, port, way) as client:
        for _ in range(5):
            assert supervised.do("reload")["swapped"] == 2
            pids |= set(supervised.pids())
            client.more(4000 if way == "keep" else 500)
    assert client.result["failures"] == []
    assert len(pids) == 12
    assert client.result["answers"] >= (20_000 if way == "keep" else 2_500)
    assert set(client.result["by"]) <= {str(pid) for pid in pids}
    assert len(client.result["by"]) > 2
    assert way == "close" or client.result["closing"] >= 20


def test_load_notices_workers_that_do_not_drain(node: str, supervise: Supervise) -> None:
    """The detector's negative control."""
    port = free_port()
    supervised = supervise(clustered(node, "-e", WEB.format(port=port), drain=0)).ready()
    with load(node, port, "keep") as client:
        supervised.do("reload")
    assert client.result["failures"]


def test_program_that_closes_by_itself(node: str, supervise: Supervise) -> None:
    """A careful program, with its own close() and its own last words, is not disturbed: each of them ends with its own status."""
    port = free_port()
    code = WEB.format(port=port).replace("require", "const s = require", 1)
    code += (
        "\nprocess.on('SIGINT', () => s.close((error) => { console.log('bye', error); process.exit(error ? 1 : 0); }))"
    )
    supervised = supervise(clustered(node, "-e", code)).ready()
    with load(node, port, "keep") as client:
        supervised.do("reload")
    assert client.result["failures"] == []
    until(lambda: supervised.run.out.count("bye undefined") == 2, 10, "both last words")


def test_connections_that_are_cut_are_counted(node: str, supervise: Supervise) -> None:
    """A WebSocket has until the drain is over; then the reload goes on, and says so."""
    port = free_port()
    one = clustered(node, str(PROGRAMS / "drained.js"), str(port), instances=1, drain=0.5, grace=0.5)
    supervised = supervise(one).ready()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
        supervised.do("reload")
        supervised.run.wait_err(r"web:0 is stopped with 1 connections? open: its drain of 0\.5 s is over")
        while connection.recv(100):
            pass  # the rest of its head, and then the end
    assert get(port) == str(supervised.pids()[0])


# --- how long a port is open ---


def is_open(port: int) -> bool:
    try:
        return bool(listener(port))
    except AssertionError:
        return False


def test_port_is_open_as_long_as_somebody_will_serve_it(node: str, supervise: Supervise) -> None:
    """Across a restart it is; after a stop whoever connects is refused."""
    port = free_port()
    supervised = supervise(clustered(node, "-e", WEB.format(port=port), instances=1)).ready()
    before, pids = listener(port), supervised.pids()
    supervised.do("restart")
    assert supervised.pids() != pids
    os.kill(supervised.pids()[0], signal.SIGKILL)
    until(lambda: supervised.states() == ["ready"] and get(port) == str(supervised.pids()[0]), 20, "the next one")
    assert listener(port) == before
    supervised.do("stop")
    assert not is_open(port)
    supervised.do("start")
    assert get(port) == str(supervised.pids()[0])


def test_port_of_an_instance_goes_with_it(node: str, supervise: Supervise) -> None:
    """Where each has its own, as `3000 + NODE_APP_INSTANCE`."""
    port = free_port(2)
    code = WEB.format(port=f"{port} + Number(process.env.NODE_APP_INSTANCE)")
    supervised = supervise(clustered(node, "-e", code)).ready()
    assert [is_open(port), is_open(port + 1)] == [True, True]
    supervised.do("scale", "web", to=1)
    assert [is_open(port), is_open(port + 1)] == [True, False]


def test_port_that_is_left_for_another(node: str, supervise: Supervise) -> None:
    """A reload with another port: the old one is closed when the last of the old workers is gone."""
    old, new = free_port(), free_port()
    code = WEB.format(port="Number(process.env.PORT)")
    one = clustered(node, "-e", code)
    one["environment"]["PORT"] = str(old)
    supervised = supervise(one).ready()
    other = clustered(node, "-e", code)
    other["environment"] |= {"PORT": str(new), "TEST_RUN": one["environment"]["TEST_RUN"]}
    assert supervised.apply(other)["ok"]
    until(lambda: not is_open(old), 20, "the end of the old port")
    assert get(new)


def test_port_below_1024_without_root(node: str, supervise: Supervise) -> None:
    """The supervisor binds it; the program has never been root."""
    if os.geteuid() != 0:
        pytest.skip("only root has ports below 1024 to give")
    port = next(port for port in range(1023, 512, -1) if not is_open(port))
    supervised = supervise(clustered(node, "-e", WEB.format(port=port), uid=NOBODY, gid=NOBODY)).ready()
    assert get(port) in map(str, supervised.pids())
    assert {processes.status(pid)["Uid"].split()[0] for pid in supervised.pids()} == {str(NOBODY)}


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_another_user_and_an_installation_that_is_closed_to_it(mode: int, node: str, supervise: Supervise) -> None:
    """It loads a copy of the preload, which is gone in the end; of an open installation there is none."""
    if os.geteuid() != 0:
        pytest.skip("only root starts others")
    with tempfile.TemporaryDirectory() as made:  # tmp_path is closed already
        installed = Path(made) / "lib"
        shutil.copytree(
            Path(pyinit.__file__).parent, installed / "pyinit", ignore=shutil.ignore_patterns("__pycache__")
        )
        for folder in (installed.parent, installed):
            folder.chmod(mode)
        port = free_port()
        code = WEB.format(port=port).replace("process.pid", "process.env.NODE_OPTIONS")
        app = clustered(node, "-e", code, uid=NOBODY, gid=NOBODY)
        supervised = supervise(app, main=installed / "pyinit" / "supervise" / "__main__.py").ready()
        assert get(port) == "undefined"
        assert {processes.status(pid)["Uid"].split()[0] for pid in supervised.pids()} == {str(NOBODY)}
        options = {one["NODE_OPTIONS"] for one in supervised.do("env")["env"].values()}
        (path,) = [Path(one.removeprefix('--require "').removesuffix('"')) for one in options]
        is_copy = path.parent != installed / "pyinit" / "supervise"
        assert (is_copy, path.exists()) == (mode == 0o700, True)
        shutil.rmtree(path.parent) if is_copy else None
        assert supervised.do("reload")["swapped"] == 2
        left = {folder for place in PUBLIC for folder in Path(place).glob(f"pyinit-{supervised.run.pid}-*")}
        assert len(left) == is_copy
        supervised.run.send("TERM").wait()
        assert not any(folder.exists() for folder in left)


# --- idle workers ---

ECHO = """
const fs = require('fs');
require('http').createServer((q, r) => r.end(String(process.pid))).listen({port});
process.on('message', (message) => {{
  if (message.until) {{
    process.send('spins');
    while (!fs.existsSync(message.until));
  }} else process.send(message);
}});
"""


def get(port: int) -> str:
    """The answer to one request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def is_deaf(app: Workers, worker: Worker, value: object, patience: float) -> bool:
    """Whether it does not answer on its channel in so many seconds."""
    app.say(worker, value)
    try:
        until(lambda: value in worker.heard(MESSAGE), patience, "an echo")
    except AssertionError:
        return True
    return False


def pair(app: Workers, port: int) -> list[Worker]:
    """Two workers that listen, and say what they are told."""
    both = [app.start("-e", ECHO.format(port=port)) for _ in range(2)]
    for worker in both:
        worker.await_event(LISTENING)
    return both


def test_idle_workers_are_not_held_up(node: str, workers: Make) -> None:
    """Both wake for each connection; the one that loses goes on. 20 ms apart, so that both have fallen asleep again."""
    port = free_port()
    app = workers(node)
    both = pair(app, port)
    for number in range(200):
        assert get(port)
        time.sleep(0.02)
        assert not [worker.pid for worker in both if is_deaf(app, worker, number, 20)]


@pytest.mark.parametrize("blocking", [False, True])
def test_one_that_loses(blocking: bool, node: str, workers: Make, tmp_path: Path) -> None:  # noqa: FBT001
    """The race, made certain: one worker has been told of a connection, and another takes it before it can.

    With a blocking socket the loser sleeps in accept(2), deaf to everything: the negative control.
    """
    port = free_port()
    app = workers(node)
    loser, winner = pair(app, port)
    app.sockets.listen(None, port).setblocking(blocking)
    for worker in (loser, winner):
        worker.signal(signal.SIGSTOP)
        until(lambda worker=worker: processes.state(worker.pid) == "T", 10, "a stopped worker")  # type: ignore[misc]
    app.say(loser, {"until": str(tmp_path / "taken")})  # it is told of both at once, of this first
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        until(lambda: waiting_connections(port) == 1, 10, "a connection in the queue")
        loser.signal(signal.SIGCONT)
        loser.await_event(MESSAGE, "spins")
        winner.signal(signal.SIGCONT)
        until(lambda: waiting_connections(port) == 0, 10, "an empty queue")
        (tmp_path / "taken").touch()
        # (in Node 18 the winner sleeps too: it accepts until there is nothing left)
        deaf = [is_deaf(app, worker, "still there?", 2 if blocking else 20) for worker in (loser, winner)]
        assert any(deaf) == blocking
        if not blocking:
            assert connection.makefile().read().endswith(str(winner.pid))


def waiting_connections(port: int) -> int:
    """How many have connected and have not been accepted (rx_queue of a listening socket, proc_net_tcp)."""
    for line in Path("/proc/net/tcp6").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port:
            return int(fields[4].split(":")[1], 16)
    return 0


# --- the supervisor is killed ---

TALKS = """
const fs = require('fs');
const note = (text) => fs.appendFileSync('{folder}/' + process.env.NODE_APP_INSTANCE, text + '\\n');
setInterval(() => {{ process.stdout.write('out\\n'); process.stderr.write('err\\n'); }}, 1);
process.once('{listens}', (name) => {{ note('cleans up: ' + name); setTimeout(() => {{ note('clean'); process.exit(3); }}, 100); }});
process.on('uncaughtException', (error) => {{ note('crashed: ' + error.code); process.exit(1); }});
require('http').createServer((q, r) => r.end('here')).listen({port});
"""

PYINIT = (sys.executable, "-I", "-m", "pyinit", "-s", "--")


@pytest.mark.parametrize("listens", ["SIGINT", "SIGTERM"])
def test_supervisor_is_killed(listens: str, node: str, supervise: Supervise, tmp_path: Path) -> None:
    """PID 1 asks whoever is left: they clean up in their time, as if they had been stopped by it, and the port is free."""
    port = free_port()
    code = TALKS.format(folder=tmp_path, listens=listens, port=port)
    supervised = supervise(clustered(node, "-e", code), wrapper=PYINIT).ready()
    workers = supervised.pids()
    until(lambda: supervised.run.out.count("out") > 10, 10, "their output")
    (supervisor,) = processes.children(supervised.run.pid)
    assert listener(port)
    os.kill(supervisor, signal.SIGKILL)
    assert supervised.run.wait() == 137
    for number in (0, 1):
        said = (tmp_path / str(number)).read_text(encoding="utf-8").splitlines()
        assert said == [f"cleans up: {listens}", "clean"]
    assert not any(processes.is_alive(pid) for pid in workers)
    with pytest.raises(AssertionError, match="nobody listens"):
        listener(port)


def test_without_the_preload_they_crash(node: str, supervise: Supervise, tmp_path: Path) -> None:
    """The negative control: the same program, whose output nobody reads any more."""
    code = TALKS.format(folder=tmp_path, listens="SIGINT", port=free_port())
    keys: Json = {"node": False, "instances": 1, "ready": {"kind": "alive"}}
    supervised = supervise(clustered(node, "-e", code, **keys)).ready()
    (worker,) = supervised.pids()
    until(lambda: supervised.run.out.count("out") > 10, 10, "its output")
    supervised.run.process.send_signal(signal.SIGKILL)
    supervised.run.wait()
    until(lambda: not processes.is_alive(worker), 10, "its end")
    assert (tmp_path / "0").read_text(encoding="utf-8") == "crashed: EPIPE\n"
