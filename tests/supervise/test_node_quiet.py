"""What a Node program must not notice: errors are Node's, nothing of ours is inherited, and what is its own affair stays so."""

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyinit.supervise import channel
from pyinit.supervise.channel import LISTEN, LISTENING, MESSAGE
from support import processes
from support.workers import CHANNEL, Worker, Workers, free_port, listener

Make = Callable[..., Workers]

TELLS_ERRORS = """
    const told = (server) => server.on('error', ({ code, errno, syscall, address, port, message, name }) =>
      console.log('error', JSON.stringify({ code, errno, syscall, address, port, message, name })));
"""


def error_of(worker: Worker) -> dict[str, Any]:
    """The first error that the program got."""
    found: dict[str, Any] = json.loads(worker.await_line("error"))
    return found


# --- errors ---


@pytest.mark.parametrize("host", [None, "127.0.0.1", "0.0.0.0", "::1"])  # noqa: S104 (an argument of listen)
def test_port_in_use(host: str | None, any_node: str, workers: Make) -> None:
    """The error is the one that the same program gets without a supervisor."""
    family = socket.AF_INET6 if host in (None, "::1") else socket.AF_INET
    with socket.create_server((host or "::", 0), family=family, dualstack_ipv6=host is None) as other:
        port = other.getsockname()[1]
        code = TELLS_ERRORS + f"told(require('net').createServer()).listen({json.dumps({'port': port, 'host': host})});"
        app = workers(any_node)
        ours = app.start("-e", code)
        theirs = app.start("-e", code, preload=False)
        assert error_of(ours) == error_of(theirs)
        assert error_of(ours)["code"] == "EADDRINUSE"
    assert [ours.wait(), theirs.wait()] == [0, 0]
    assert ours.heard(LISTEN)
    assert not ours.heard(LISTENING)


def test_address_of_another_machine(any_node: str, workers: Make) -> None:
    code = TELLS_ERRORS + "told(require('net').createServer()).listen(8080, '192.0.2.1');"
    app = workers(any_node)
    ours, theirs = app.start("-e", code), app.start("-e", code, preload=False)
    assert error_of(ours) == error_of(theirs)
    assert error_of(ours)["code"] == "EADDRNOTAVAIL"


def test_port_that_is_forbidden(node: str, workers: Make) -> None:
    """EACCES: it is the supervisor that must not bind it."""

    def listen(host: str | None, port: int, backlog: int) -> socket.socket:
        raise PermissionError(errno.EACCES, f"{host} {port} {backlog}")

    worker = workers(node, listen).start(
        "-e", TELLS_ERRORS + "told(require('http').createServer()).listen(80, '127.0.0.1');"
    )
    assert error_of(worker) == {
        "code": "EACCES",
        "errno": -13,
        "syscall": "listen",
        "address": "127.0.0.1",
        "port": 80,
        "message": "listen EACCES: permission denied 127.0.0.1:80",
        "name": "Error",
    }


def test_error_that_nobody_listens_to(node: str, workers: Make) -> None:
    """The program ends of it, as without a supervisor."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        worker = workers(node).start("-e", f"require('net').createServer().listen({port}, '127.0.0.1');")
        assert worker.wait() == 1
        assert f"Error: listen EADDRINUSE: address already in use 127.0.0.1:{port}" in worker.out


@pytest.mark.parametrize("host", ["", "'::', ", "'0.0.0.0', "])
def test_same_port_twice_in_one_process(host: str, any_node: str, workers: Make) -> None:
    """The socket is shared between workers, not between the servers of one."""
    port = free_port()
    code = (
        TELLS_ERRORS
        + f"""
        const net = require('net');
        told(net.createServer()).listen({port}, () => told(net.createServer()).listen({port}, {host} () => console.log('twice')));
        """
    )
    app = workers(any_node)
    for _ in range(2):
        assert error_of(app.start("-e", code))["code"] == "EADDRINUSE"


def test_closed_before_it_listens(any_node: str, workers: Make) -> None:
    """As in Node's own cluster: no 'listening', and close() says that nothing was open; the next listen() counts."""
    ports = [free_port() for _ in range(3)]
    worker = workers(any_node).start(
        "-e",
        f"""
        const [closed, again] = [0, 1].map((number) => {{
          const server = require('net').createServer();
          server.on('listening', () => console.log('listening', number, server.address().port));
          server.listen({ports[0]});
          server.close((error) => console.log('closed', number, error && error.code));
          return server;
        }});
        again.listen({ports[1]});
        require('net').createServer().listen({ports[2]}, () => console.log('done'));
        """,
    )
    worker.await_line("done")
    assert sorted(worker.out.splitlines()) == [
        "closed 0 ERR_SERVER_NOT_RUNNING",
        "closed 1 ERR_SERVER_NOT_RUNNING",
        "done",
        f"listening 1 {ports[1]}",
    ]
    worker.await_count(LISTENING, 2)  # the channel has its own time, beside stdout
    assert [value["port"] for value in worker.heard(LISTENING)] == ports[1:]


# --- its own affair ---


def test_any_port_is_its_own(any_node: str, workers: Make) -> None:
    """Port 0: each worker has another, and nobody asks for it."""
    app = workers(any_node)
    code = "const s = require('net').createServer().listen(0, () => console.log('at', s.address().port));"
    pair = [app.start("-e", code) for _ in range(2)]
    assert len({worker.await_line("at") for worker in pair}) == 2
    for worker in pair:
        worker.await_event(LISTENING, {"host": None, "port": 0, "shared": False})
        assert not worker.heard(LISTEN)


def test_unix_path_is_its_own(any_node: str, workers: Make, tmp_path: Path) -> None:
    """The second worker cannot have it, as without a supervisor."""
    app = workers(any_node)
    code = TELLS_ERRORS + f"told(require('net').createServer()).listen({json.dumps(str(tmp_path / 'socket'))});"
    first = app.start("-e", code)
    first.await_event(LISTENING)
    second = app.start("-e", code)
    assert error_of(second)["code"] == "EADDRINUSE"
    assert not first.heard(LISTEN) + second.heard(LISTEN)


def test_exclusive_is_its_own(any_node: str, workers: Make) -> None:
    app = workers(any_node)
    code = TELLS_ERRORS + f"told(require('net').createServer()).listen({{ port: {free_port()}, exclusive: true }});"
    first = app.start("-e", code)
    first.await_event(LISTENING)
    second = app.start("-e", code)
    assert error_of(second)["code"] == "EADDRINUSE"
    assert not first.heard(LISTEN) + second.heard(LISTEN)


def test_channel_that_the_program_closed(node: str, workers: Make) -> None:
    """It listens by itself then."""
    port = free_port()
    code = f"process.disconnect(); require('net').createServer().listen({port}, () => console.log('listening'));"
    worker = workers(node).start("-e", code)
    worker.await_line("listening")
    assert not worker.events


# --- no trace ---

SHOWS_ITSELF = (
    "JSON.stringify([process.env.NODE_OPTIONS ?? null, process.execArgv, process.env.NODE_CHANNEL_FD ?? null])"
)


def test_nothing_in_options_and_arguments(any_node: str, workers: Make) -> None:
    app = workers(any_node)
    plain = app.start("-p", SHOWS_ITSELF, preload=False)
    ours = app.start("-p", SHOWS_ITSELF)
    assert [plain.wait(), ours.wait()] == [0, 0]
    assert ours.out == plain.out


def test_options_of_the_user_stay(any_node: str, workers: Make) -> None:
    worker = workers(any_node).start("-p", SHOWS_ITSELF, variables={"NODE_OPTIONS": "--no-warnings  --title=shop"})
    assert worker.wait() == 0
    assert json.loads(worker.out)[0] == "--no-warnings  --title=shop"


def test_path_with_every_odd_character(
    any_node: str, workers: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found, and taken off again, wherever pyinit is installed."""
    odd = tmp_path / "a \"b\" \\c 'd' é"
    odd.mkdir()
    shutil.copy(channel.PRELOAD, odd)
    monkeypatch.setattr(channel, "PRELOAD", str(odd / "preload.js"))
    worker = workers(any_node).start(
        "-e", f"require('net').createServer().listen({free_port()}); console.log({SHOWS_ITSELF})"
    )
    assert worker.await_event(LISTENING)["shared"]
    assert worker.await_(lambda: json.loads(worker.out), "what it prints")[0] is None


def test_its_own_child_is_a_plain_one(any_node: str, workers: Make, tmp_path: Path) -> None:
    """fork() gives the child a channel to its parent; ours, the preload and the shared socket are not for it."""
    child = tmp_path / "child.js"
    child.write_text(
        """
        const server = require('net').createServer();
        server.listen(0, () => {
          process.send({ options: process.env.NODE_OPTIONS ?? null, exec: process.execArgv, pid: process.pid,
            loaded: Object.keys(require.cache).length });
        });
        process.on('message', () => process.exit());
        """
    )
    port = free_port()
    worker = workers(any_node).start(
        "-e",
        f"""
        const server = require('net').createServer().listen({port}, () => {{
          const child = require('child_process').fork({json.dumps(str(child))}, {{ execArgv: process.execArgv.slice(2) }});
          child.on('message', (message) => console.log('child', JSON.stringify(message)));
        }});
        """,
    )
    told = json.loads(worker.await_line("child"))
    assert (told["options"], told["exec"], told["loaded"]) == (None, [], 1)
    ours = processes.descriptors(worker.pid)
    inherited = set(processes.descriptors(told["pid"]).values()) & {ours[CHANNEL]}
    shared = [what for what in ours.values() if what == listener(port)]
    assert shared
    assert not inherited | (set(processes.descriptors(told["pid"]).values()) & set(shared))


def test_thread_is_left_alone(any_node: str, workers: Make) -> None:
    """A worker thread is given --require too, but has no channel: its servers are its own."""
    worker = workers(any_node).start(
        "-e",
        f"""
        const {{ Worker }} = require('worker_threads');
        new Worker("require('net').createServer().listen({free_port()}, () => console.log('listening'))", {{ eval: true }});
        """,
    )
    worker.await_line("listening")
    assert not worker.events


def test_behind_a_shell_it_is_not_the_one_meant(node: str, workers: Make) -> None:
    """Somebody else's child says so instead of fighting over the channel; as `env` is, what becomes Node is meant."""
    app = workers(node)
    code = "require('net').createServer().listen(%d, () => console.log('listening'));"
    hidden = app.start(command=("/bin/sh", "-c", f'"{node}" -e "{code % free_port()}"; true'))
    hidden.await_line("listening")
    assert re.search(
        r"PyinitWarning: process \d+ shares no port with its siblings: .* give the script itself", hidden.out
    )
    assert not hidden.events
    meant = app.start(command=("/usr/bin/env", node, "-e", code % free_port()))
    assert meant.await_event(LISTENING)["shared"]
    assert "Warning" not in meant.out


# --- its own workers ---


@pytest.mark.parametrize("kind", ["require", "import"])
def test_cluster_of_its_own_is_warned_of(kind: str, any_node: str, workers: Make, tmp_path: Path) -> None:
    """It works all the same: its primary's socket is the shared one."""
    port = free_port()
    body = f"""
        if (cluster.isPrimary) {{ fork(); fork(); cluster.on('listening', () => console.log('cluster listens')); }}
        else http.createServer((q, r) => r.end('it is ' + process.pid)).listen({port});
    """
    program = tmp_path / ("app.cjs" if kind == "require" else "app.mjs")
    head = {
        "require": "const cluster = require('cluster'), http = require('http'), fork = () => cluster.fork();\n",
        "import": "import * as all from 'cluster'; import http from 'http'; const cluster = all.default, fork = all.fork;\n",
    }[kind]
    program.write_text(head + body)
    worker = workers(any_node).start(str(program))
    worker.await_line("cluster listens")
    assert worker.await_event(LISTENING)["shared"]
    assert worker.out.count("PyinitWarning: this program starts workers of its own") == 1


# --- messages ---


def test_messages_are_the_program_s_own(any_node: str, workers: Make) -> None:
    """process.send comes as it is; what is for the program reaches it, and nothing of ours does."""
    app = workers(any_node)
    worker = app.start(
        "-e",
        f"""
        process.on('message', (message) => console.log('message', JSON.stringify(message)));
        process.send({{ cmd: 'mine', x: [1, 'é'] }});
        require('net').createServer().listen({free_port()}, () => process.send('ready'));
        """,
    )
    worker.await_event(MESSAGE, "ready")
    app.drain(worker)
    app.say(worker, "shutdown")
    worker.await_line('message "shutdown"')
    assert worker.heard(MESSAGE) == [{"cmd": "mine", "x": [1, "é"]}, "ready"]
    assert worker.out.splitlines() == ['message "shutdown"']


def test_socket_that_the_program_sends_us(node: str, workers: Make) -> None:
    """Nobody asked for it, but Node holds back every other message until it is acknowledged."""
    worker = workers(node).start(
        "-e",
        """
        const server = require('net').createServer().listen(0, () => {
          process.send('here', server);
          process.send('after');
        });
        """,
    )
    worker.await_event(MESSAGE, "after")


def test_program_that_ends_of_itself(any_node: str, workers: Make) -> None:
    """The channel, and what we listen to on it, keep nobody alive."""
    worker = workers(any_node).start("-e", "process.on('SIGINT', () => {}); console.log('done')")
    assert worker.wait() == 0


def test_stops_as_it_would(any_node: str, workers: Make) -> None:
    """Without a listener a stop signal kills; a program that cleans up at SIGINT only dies of SIGTERM while the supervisor lives."""
    app = workers(any_node)
    for heard, number in (("", signal.SIGTERM), ("", signal.SIGINT), ("SIGINT", signal.SIGTERM)):
        code = f"if ('{heard}') process.on('{heard}', () => {{}}); setInterval(() => {{}}, 1e6); console.log('up');"
        worker = app.start("-e", code)
        worker.await_line("up")
        worker.signal(number)
        assert worker.wait() == -number


def test_signal_exit_is_not_confused(node: str, workers: Make, npm: Path) -> None:
    """It ends the process by the signal only if no listener but its own is there."""
    worker = workers(node).start(
        "-e",
        """
        const { onExit } = require('signal-exit');
        onExit((code, signal) => console.log('exit', code, signal));
        setInterval(() => {}, 1e6);
        console.log('up');
        """,
        variables={"NODE_PATH": str(npm)},
    )
    worker.await_line("up")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == -signal.SIGTERM
    assert worker.await_line("exit") == "null SIGTERM"


def test_bare_node_for_comparison(node: str) -> None:
    """The tests above compare with this: it would be wrong to say that a plain run has a channel."""
    done = subprocess.run([node, "-p", SHOWS_ITSELF], capture_output=True, check=True, text=True, env={**os.environ})
    assert json.loads(done.stdout)[2] is None
