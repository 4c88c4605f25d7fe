"""Node programs under the whole supervisor: reloads that nobody notices, and what becomes of them when it is killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyinit.supervise.channel import MESSAGE
from support import processes
from support.supervised import Json, Supervised, app
from support.waiting import until
from support.workers import Workers, free_port, listener

Supervise = Callable[..., Supervised]
Make = Callable[..., Workers]
PROGRAMS = Path(__file__).parent / "programs"


def clustered(node: str, *words: str, **keys: Any) -> Json:  # noqa: ANN401
    """An app as `pyinitctl` makes it of a PM2 file: ready when it listens, drained, and stopped by SIGINT."""
    defaults = {"instances": 2, "node": True, "ready": {"kind": "listening"}, "drain": 5, "stop_signal": "SIGINT"}
    return app("web", [node, *words], **(defaults | keys))


class Load:
    """A client that does not pause; `result` is there once it has been told to stop."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.result: dict[str, Any] = {}

    def stop(self) -> None:
        out, _ = self._process.communicate("stop\n", timeout=60)
        self.result = json.loads(out)


@contextmanager
def load(node: str, port: int, way: str) -> Iterator[Load]:
    """Requests until the end of the block."""
    command = [node, str(PROGRAMS / "load.js"), str(port), way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            one = Load(process)
            yield one
            one.stop()
        finally:
            process.kill()


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
            time.sleep(1)  # for the load: it is not waited for
    assert client.result["failures"] == []
    assert len(pids) == 12
    assert client.result["answers"] >= (10_000 if way == "keep" else 3_000)
    assert set(client.result["by"]) <= {str(pid) for pid in pids}
    assert len(client.result["by"]) >= 8
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


# --- idle workers ---

ECHO = WEB + "; process.on('message', (message) => process.send(message))"


def deaf(app: Workers, number: int) -> list[int]:
    """The workers that do not answer on their channel, and go on not answering for two seconds."""
    for worker in app.workers:
        app.say(worker, number)
    deadline = time.monotonic() + 2
    while True:
        left = [worker.pid for worker in app.workers if number not in worker.heard(MESSAGE)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.001)


def idle_workers(node: str, workers: Make, *, blocking: bool) -> Iterator[list[int]]:
    """200 requests, one at a time, 20 ms apart, to two workers that do nothing else: who is deaf after each."""
    import http.client

    port = free_port()
    app = workers(node)
    for _ in range(2):
        app.start("-e", ECHO.format(port=port)).await_event("listening")
    if blocking:
        app.sockets.listen(None, port).setblocking(True)  # noqa: FBT003
    for number in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/", headers={"Connection": "close"})
        assert connection.getresponse().status == 200
        connection.close()
        yield deaf(app, number)
        time.sleep(0.02)  # the pace, not a wait


def test_idle_workers_are_not_held_up(node: str, workers: Make) -> None:
    """Both wake for one connection; the one that loses goes on."""
    assert not any(idle_workers(node, workers, blocking=False))


def test_idle_workers_with_a_blocking_socket_are(node: str, workers: Make) -> None:
    """The negative control: the one that loses sleeps in accept."""
    assert any(idle_workers(node, workers, blocking=True))


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
    """pyinit asks whoever is left: they clean up in their time, as if they had been stopped by it, and the port is free."""
    port = free_port()
    code = TALKS.format(folder=tmp_path, listens=listens, port=port)
    supervised = supervise(clustered(node, "-e", code), wrapper=PYINIT).ready()
    workers = supervised.pids()
    until(lambda: supervised.run.out.count("out") > 10, 10, "their output")
    (supervisor,) = processes.children(supervised.run.pid)
    processes_of = [pid for pid in processes.descendants(supervisor) if pid in workers]
    assert len(processes_of) == 2
    until(lambda: listener(port), 10, "the port")
    subprocess.run(["kill", "-KILL", str(supervisor)], check=True)
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
