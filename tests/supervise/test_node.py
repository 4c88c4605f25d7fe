"""Unmodified Node programs share the supervisor's sockets, however they listen, and notice nothing of it."""

import http.client
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinit.supervise.channel import LISTENING
from support import processes
from support.waiting import until
from support.workers import Worker, Workers, free_port

Make = Callable[..., Workers]
PROGRAMS = Path(__file__).parent / "programs"

BY_ITSELF = (
    "port",
    "host",
    "name",
    "everywhere",
    "six",
    "options",
    "options-host",
    "text",
    "backlog",
    "again",
    "unref",
)
FRAMEWORKS = ("express", "koa", "fastify", "fastify-localhost")


def get(port: int, host: str = "127.0.0.1") -> str:
    """The answer to one request over a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def get_secure(port: int) -> str:
    """The same by TLS, whoever signed the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def read(port: int) -> str:
    """All that comes over a plain connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        return connection.makefile().read()


def each_serves(workers: list[Worker], ask: Callable[[], str]) -> None:
    """Every worker answers when it is the only one that can."""
    for one in workers:
        others = [other for other in workers if other is not one]
        for other in others:
            other.signal(signal.SIGSTOP)
            until(lambda other=other: processes.state(other.pid) == "T", 10, "a stopped worker")  # type: ignore[misc]
        try:
            assert ask() == str(one.pid)
        finally:
            for other in others:
                other.signal(signal.SIGCONT)


def two(app: Workers, *words: str, listening: int = 1, variables: dict[str, str] | None = None) -> list[Worker]:
    """Two workers of one program, each with so many shared servers."""
    pair = [app.start(*words, variables=variables) for _ in range(2)]
    for worker in pair:
        worker.await_count(LISTENING, listening)
        assert all(value["shared"] for value in worker.heard(LISTENING))
    return pair


@pytest.mark.parametrize("shape", BY_ITSELF)
def test_http(shape: str, any_node: str, workers: Make) -> None:
    """Every way of naming a port."""
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), shape, str(port), listening=2 if shape == "again" else 1)
    each_serves(pair, lambda: get(port, "::1" if shape == "six" else "localhost" if shape == "name" else "127.0.0.1"))


LOADERS = {"tsx": ("--import", "tsx/dist/loader.mjs"), "ts-node": ("--require", "ts-node/register/transpile-only")}


@pytest.mark.parametrize("loader", LOADERS)
def test_typescript(loader: str, node: str, workers: Make, npm: Path) -> None:
    """A loader of the program's own, before or behind ours."""
    option, file = LOADERS[loader]
    port = free_port()
    where = (npm / file).as_uri() if option == "--import" else str(npm / file)
    given = {"TS_NODE_COMPILER_OPTIONS": '{"module": "commonjs", "moduleResolution": "node"}'}
    pair = two(workers(node), option, where, str(PROGRAMS / "typed.ts"), str(port), variables=given)
    each_serves(pair, lambda: get(port))
    port = free_port()
    given["NODE_OPTIONS"] = f"{option} {where}"
    pair = two(workers(node), str(PROGRAMS / "typed.ts"), str(port), variables=given)
    each_serves(pair, lambda: get(port))


def test_ipv6_alone(any_node: str, workers: Make) -> None:
    """`ipv6Only` leaves the port's other half to somebody else."""
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), "six-alone", str(port))
    each_serves(pair, lambda: get(port, "::1"))
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_two_ports(any_node: str, workers: Make) -> None:
    ports = free_port(), free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), "two", *map(str, ports), listening=2)
    for port in ports:
        each_serves(pair, lambda port=port: get(port))  # type: ignore[misc]


def test_hundred_ports(node: str, workers: Make) -> None:
    """All asked for at once: each comes after the one before it."""
    ports = sorted({free_port() for _ in range(100)})
    code = (
        f"for (const port of {ports}) require('http').createServer((q, r) => r.end(String(process.pid))).listen(port);"
    )
    pair = two(workers(node), "-e", code, listening=len(ports))
    each_serves(pair, lambda: get(ports[-1]))


def test_plain_tcp(any_node: str, workers: Make) -> None:
    port = free_port()
    each_serves(two(workers(any_node), str(PROGRAMS / "shapes.js"), "tcp", str(port)), lambda: read(port))


def test_https(any_node: str, workers: Make, certificate: dict[str, str]) -> None:
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), "https", str(port), variables=certificate)
    each_serves(pair, lambda: get_secure(port))


@pytest.mark.parametrize("shape", ["h2c", "h2"])
def test_http2(shape: str, any_node: str, workers: Make, certificate: dict[str, str]) -> None:
    """With TLS and without."""
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), shape, str(port), variables=certificate)
    url = f"{'https' if shape == 'h2' else 'http'}://127.0.0.1:{port}"
    ask = [any_node, str(PROGRAMS / "ask.js"), url]
    each_serves(pair, lambda: subprocess.run(ask, check=True, capture_output=True, text=True, timeout=30).stdout)


@pytest.mark.parametrize("shape", FRAMEWORKS)
def test_frameworks(shape: str, any_node: str, workers: Make, npm: Path) -> None:
    """As npm brings them."""
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "shapes.js"), shape, str(port), variables={"NODE_PATH": str(npm)})
    each_serves(pair, lambda: get(port))


def test_module(any_node: str, workers: Make) -> None:
    """An ES module with `await` at the top level does not end while it waits for the socket."""
    port = free_port()
    pair = two(workers(any_node), str(PROGRAMS / "module.mjs"), str(port))
    for worker in pair:
        worker.await_line("here")
    each_serves(pair, lambda: get(port))
