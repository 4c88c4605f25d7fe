"""The load generator of the bench, which is to find no failed request, finds each one that there is."""

import socket

import pytest

from bench import load
from bench.broken import WAYS, Broken
from bench.loading import Loading


@pytest.mark.parametrize("way", WAYS)
def test_each_failure_is_counted_once(way: str) -> None:
    """A server that breaks one request in a hundred, and knows how many it has broken."""
    with Broken(way, 100) as server:
        with Loading(server.port, 5) as loading:
            assert loading.reach(1000, 60)
        assert server.broke >= 10
        assert loading.account.failures == {way: server.broke}


def test_whole_answers_are_no_failures() -> None:
    """Also when they come without a pause, and the end comes in their middle."""
    with Broken(load.RESET, 1_000_000_000) as server, Loading(server.port, 5) as loading:
        assert loading.reach(1000, 60)
    assert loading.account.failures == {}
    assert loading.account.requests == loading.account.answers >= 1000
    assert loading.account.connections == 5


def test_refused() -> None:
    """Nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Loading(taken.getsockname()[1], 2) as loading:
            assert loading.reach(4, 60)
    assert set(loading.account.failures) == {load.REFUSED}
    assert loading.account.answers == 0


def test_late() -> None:
    """Somebody listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, Loading(deaf.getsockname()[1], 2, patience=0.2) as loading:
        assert loading.reach(4, 60)
    assert set(loading.account.failures) == {load.LATE}
    assert loading.account.answers == 0
