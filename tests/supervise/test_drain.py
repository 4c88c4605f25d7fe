"""A worker that is told to drain takes no more connections, finishes what it has, and then waits for its stop signal."""

import base64
import http.client
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyinit.supervise.channel import DRAINING, LISTENING
from support import processes
from support.waiting import until
from support.workers import Worker, Workers, free_port, listener

Make = Callable[..., Workers]
PROGRAMS = Path(__file__).parent / "programs"
DRAINED = str(PROGRAMS / "drained.js")
FORMS = ("set", "object", "words", "array", "both", "none", "length", "flushed")


class Server:
    """One or more workers of programs/drained.js and their port."""

    def __init__(self, app: Workers, count: int = 1) -> None:
        self.app = app
        self.port = free_port()
        self.workers = [app.start(DRAINED, str(self.port)) for _ in range(count)]
        self.connections: list[http.client.HTTPConnection] = []
        for worker in self.workers:
            worker.await_event(LISTENING)

    @contextmanager
    def only(self, chosen: Worker) -> Iterator[None]:
        """Meanwhile nobody else runs: whoever connects has the chosen one."""
        others = [worker for worker in self.workers if worker is not chosen]
        for other in others:
            other.signal(signal.SIGSTOP)
            until(lambda other=other: processes.state(other.pid) == "T", 10, "a stopped worker")  # type: ignore[misc]
        try:
            yield
        finally:
            for other in others:
                other.signal(signal.SIGCONT)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.connect()
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        for one in self.connections:
            one.close()


def ask(connection: http.client.HTTPConnection, path: str = "/") -> http.client.HTTPResponse:
    """One request and its whole answer."""
    connection.request("GET", path)
    return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """The answer to what was asked before, read to its end; its text is in `body`."""
    response = connection.getresponse()
    response.body = response.read().decode()  # type: ignore[attr-defined]
    return response


def is_ended(connection: http.client.HTTPConnection | socket.socket) -> bool:
    """Whether the server has closed it: an end or a reset; False while it is open and quiet."""
    sock = connection if isinstance(connection, socket.socket) else connection.sock
    if sock is None:
        return True  # http.client has closed it, as the answer told it to
    readable, _, _ = select.select([sock], [], [], 0)
    return bool(readable) and not sock.recv(1, socket.MSG_PEEK)


@pytest.fixture(params=[1])
def server(request: pytest.FixtureRequest, any_node: str, workers: Make) -> Iterator[Server]:
    """As many workers as the parameter says."""
    one = Server(workers(any_node), request.param)
    yield one
    one.close()


@pytest.mark.parametrize("server", [2], indirect=True)
def test_whole_way(server: Server) -> None:
    """Accept, answers, idle connections, the count, the wait for the signal, the program's own close(): one after another."""
    old, new = server.workers
    with server.only(old):
        idle, busy, held = server.connect(), server.connect(), server.connect()
        assert {ask(one).body for one in (idle, busy)} == {str(old.pid)}  # type: ignore[attr-defined]
        held.request("GET", "/hold")
        ask(busy)
    server.app.drain(old)
    old.await_event(DRAINING, 3)

    for _ in range(20):  # the old one does not accept
        assert ask(server.connect()).body == str(new.pid)  # type: ignore[attr-defined]
    assert not is_ended(idle)
    assert not is_ended(held)

    last = ask(busy, "/go")
    assert (last.getheader("Connection"), last.body) == ("close", "gone")  # type: ignore[attr-defined]
    answer = answer_of(held)
    assert (answer.getheader("Connection"), answer.body) == ("close", str(old.pid))  # type: ignore[attr-defined]
    old.await_event(DRAINING, 1)
    assert not is_ended(idle)

    last = ask(idle)
    assert (last.getheader("Connection"), last.body) == ("close", str(old.pid))  # type: ignore[attr-defined]
    old.await_event(DRAINING, 0)
    assert old.heard(DRAINING) == sorted(old.heard(DRAINING), reverse=True)

    assert old.is_running()
    assert old.out == ""  # in particular, no 'close' event
    old.signal(signal.SIGINT)
    assert old.wait() == 0
    address = f'{{"address":"::","family":"IPv6","port":{server.port}}}'
    assert old.out.splitlines() == [f"cleaning up {address} true", "close event", "closed: undefined"]
    assert ask(server.connect()).body == str(new.pid)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS)
def test_answer_is_the_same_but_for_one_header(form: str, server: Server) -> None:
    """However the program gives its headers."""
    connection = server.connect()
    before = ask(connection, f"/{form}")
    server.app.drain(server.workers[0])
    server.workers[0].await_event(DRAINING, 1)
    after = ask(connection, f"/{form}")
    ours = {"connection", "keep-alive", "date"}

    def rest(answer: http.client.HTTPResponse) -> list[tuple[str, str]]:
        return sorted((name.lower(), value) for name, value in answer.getheaders() if name.lower() not in ours)

    assert before.getheader("Connection") == "keep-alive"
    assert after.getheader("Connection") == "close"
    assert (after.status, after.reason, rest(after)) == (before.status, before.reason, rest(before))
    assert after.body == before.body  # type: ignore[attr-defined]
    server.workers[0].await_event(DRAINING, 0)


def test_stream_counts_until_it_ends(server: Server) -> None:
    """Server-sent events: its headers are out, and the connection is in use."""
    (worker,) = server.workers
    stream, other = server.connect(), server.connect()
    ask(other)
    stream.request("GET", "/stream")
    response = stream.getresponse()
    assert response.readline() == b"begun\n"
    server.app.drain(worker)
    worker.await_event(DRAINING, 2)
    ask(other, "/go")
    assert response.read() == str(worker.pid).encode()
    worker.await_event(DRAINING, 1)
    assert not is_ended(stream)  # its headers said keep-alive: the next answer closes it
    assert ask(stream).getheader("Connection") == "close"
    worker.await_event(DRAINING, 0)


def upgraded(port: int) -> socket.socket:
    """A connection that speaks something else from now on."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    key = base64.b64encode(b"0123456789abcdef").decode()
    connection.sendall(
        f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    return connection


def test_upgraded_connection_counts_until_it_ends(server: Server) -> None:
    """And works until then."""
    (worker,) = server.workers
    connection = upgraded(server.port)
    server.app.drain(worker)
    worker.await_event(DRAINING, 1)
    connection.sendall(b"still here?")
    assert connection.recv(100) == b"still here?"
    assert worker.heard(DRAINING) == [1]
    connection.close()
    worker.await_event(DRAINING, 0)


def test_upgraded_connection_does_not_outlive_the_stop(server: Server) -> None:
    """When the drain is over, the program cleans up as ever; what it leaves open is cut by its end."""
    (worker,) = server.workers
    with upgraded(server.port) as connection:
        server.app.drain(worker)
        worker.await_event(DRAINING, 1)
        worker.signal(signal.SIGINT)
        worker.await_line("cleaning up")
        assert worker.is_running()  # close() waits for it
        assert not is_ended(connection)
        worker.signal(signal.SIGKILL)
        worker.wait()
        until(lambda: is_ended(connection), 10, "its end")


def test_ws(node: str, workers: Make, npm: Path) -> None:
    """The WebSocket server that most programs use."""
    port = free_port()
    app = workers(node)
    worker = app.start(
        "-e",
        f"""
        const server = require('http').createServer().listen({port});
        const {{ WebSocketServer }} = require('ws');
        new WebSocketServer({{ server }}).on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
        """,
        variables={"NODE_PATH": str(npm)},
    )
    worker.await_event(LISTENING)
    connection = upgraded(port)
    app.drain(worker)
    worker.await_event(DRAINING, 1)
    connection.sendall(b"\x81\x82\0\0\0\0hi")
    assert connection.recv(100) == b"\x82\x02hi"
    connection.close()
    worker.await_event(DRAINING, 0)


def test_http2(any_node: str, workers: Make) -> None:
    """GOAWAY: what was asked is answered, what is idle is closed, and there is nothing left."""
    port = free_port()
    app = workers(any_node)
    worker = app.start(str(PROGRAMS / "http2.js"), "serve", str(port))
    worker.await_event(LISTENING)
    client = app.start(str(PROGRAMS / "http2.js"), "ask", str(port), preload=False)
    client.await_line("holding")
    app.drain(worker)
    client.await_line("idle closed")
    worker.await_event(DRAINING, 1)
    assert client.await_line("busy goaway") == "0 2147483647"  # the first one refuses nothing
    assert ask(http.client.HTTPConnection("127.0.0.1", int(worker.await_line("control")))).status == 200
    assert client.await_line("answer") == "held"
    client.await_line("busy closed")
    worker.await_event(DRAINING, 0)
    assert client.wait() == 0


def test_server_that_begins_while_draining(server: Server) -> None:
    """It listens, as far as the program can see, and accepts nothing."""
    (worker,) = server.workers
    connection = server.connect()
    ask(connection)
    server.app.drain(worker)
    worker.await_event(DRAINING, 1)
    other = free_port()
    assert ask(connection, f"/listen/{other}").body == "listening"  # type: ignore[attr-defined]
    # one that is closed while we look raises
    sockets = worker.await_(lambda: set(processes.descriptors(worker.pid).values()), "a look at its descriptors")
    assert not sockets & {listener(port) for port in (server.port, other)}


@pytest.mark.parametrize("word", ["SIGTERM", "message"])
def test_program_ends_when_it_will_after_the_stop(word: str, any_node: str, workers: Make) -> None:
    """What keeps it alive while it drains lets go of it with the first signal or message that is for the program."""
    app = workers(any_node)
    worker = app.start(
        "-e",
        f"""
        const server = require('http').createServer().listen({free_port()});
        process.once('{word}', () => server.close(() => console.log('cleaned up')));
        """,
    )
    worker.await_event(LISTENING)
    app.drain(worker)
    worker.await_event(DRAINING, 0)
    if word == "message":
        app.say(worker, "shutdown")
    else:
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    worker.await_line("cleaned up")


def test_program_without_servers(any_node: str, workers: Make) -> None:
    """There is nothing to wait for."""
    app = workers(any_node)
    worker = app.start(
        "-e", "process.once('SIGINT', () => process.exit(7)); setInterval(() => {}, 1e6); console.log('up')"
    )
    worker.await_line("up")
    app.drain(worker)
    worker.await_event(DRAINING, 0)
    worker.signal(signal.SIGINT)
    assert worker.wait() == 7
