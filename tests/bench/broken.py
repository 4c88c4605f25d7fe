"""A server that breaks one request in so many, in a way of one's choice, and knows how many it broke: the load generator's control."""

import asyncio
import itertools
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

from bench import load

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"

Break = Callable[[asyncio.StreamWriter], None]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closing with nothing to linger for sends RST (socket(7))."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()


def _truncate(writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER[:-3])
    writer.close()


def _refuse(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    writer.close()


def _babble(writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    writer.close()


WAYS: dict[str, Break] = {
    load.RESET: _reset,
    load.ENDED: _end,
    load.TRUNCATED: _truncate,
    load.STATUS: _refuse,
    load.MALFORMED: _babble,
}
"""By the name that the load generator has for each."""


class Broken:
    """Listens on `port` until the end of the `with`, in a thread. `broke` is how many requests it has broken."""

    def __init__(self, way: str, one_in: int) -> None:
        self._break = WAYS[way]
        self._one_in = one_in
        self._count = itertools.count(1)
        self.broke = 0
        self.port = 0
        self._listens = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listens.set()
            await self._over.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if next(self._count) % self._one_in == 0:
                    self.broke += 1
                    self._break(writer)
                    return
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # the client has gone
