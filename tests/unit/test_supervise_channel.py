"""Node's IPC channel from the supervisor's end: framing, what is believed, and how descriptors travel."""

import errno
import json
import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinit.supervise import channel
from pyinit.supervise.channel import (
    ATTEMPTS,
    CMD,
    DRAINING,
    LISTEN,
    LISTENING,
    LONGEST,
    MESSAGE,
    MOST,
    Channel,
    Framing,
)

REQUEST = {"cmd": CMD, "act": "listen", "id": 1, "host": None, "port": 80}
ACK, NACK = b'{"cmd":"NODE_HANDLE_ACK"}\n', b'{"cmd":"NODE_HANDLE_NACK"}\n'


def line(value: Any) -> bytes:  # noqa: ANN401
    return json.dumps(value).encode() + b"\n"


def written(framing: Framing) -> list[tuple[Any, Any]]:
    """All that is to be written: each message and its descriptor."""
    found = []
    while part := framing.next():
        found.append((json.loads(part[0]), part[1]))
        framing.sent(len(part[0]))
    return found


# --- what a worker says ---


@pytest.mark.parametrize(
    ("value", "event"),
    [
        ("ready", (MESSAGE, "ready")),
        ({"x": 1}, (MESSAGE, {"x": 1})),
        ({"cmd": "mine"}, (MESSAGE, {"cmd": "mine"})),
        ({"cmd": 5}, (MESSAGE, {"cmd": 5})),
        ([None, 1.5], (MESSAGE, [None, 1.5])),
        (REQUEST, (LISTEN, REQUEST)),
        (REQUEST | {"host": "::1", "backlog": 5}, (LISTEN, REQUEST | {"host": "::1", "backlog": 5})),
        (
            {"cmd": CMD, "act": "listening", "host": None, "port": 80, "shared": True},
            (LISTENING, {"host": None, "port": 80, "shared": True}),
        ),
        (
            {"cmd": CMD, "act": "listening", "host": "/run/s", "port": -1},
            (LISTENING, {"host": "/run/s", "port": -1, "shared": False}),
        ),
        ({"cmd": CMD, "act": "draining", "connections": 0}, (DRAINING, 0)),
    ],
)
def test_events(value: object, event: tuple[str, object]) -> None:
    """The program's messages and ours are told apart by `cmd`."""
    assert Framing().feed(line(value)) == [event]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"nonsense",
        line({"cmd": "NODE_SOMETHING"}),
        line({"cmd": CMD}),
        line({"cmd": CMD, "act": []}),
        *(line(REQUEST | {"port": wrong}) for wrong in (0, 65536, "80", True, 8.5)),
        *(line(REQUEST | {"id": wrong}) for wrong in (None, "1")),
        *(line(REQUEST | {"host": wrong}) for wrong in (5, ["::"])),
        *(line({"cmd": CMD, "act": "draining", "connections": wrong}) for wrong in (-1, None, "3", True)),
    ],
)
def test_nonsense_is_no_event(text: bytes) -> None:
    """A program can write anything: nothing of it raises, and the next line counts."""
    assert Framing().feed(text + b"\n" + line("ready")) == [(MESSAGE, "ready")]


@given(st.lists(st.sampled_from(["ready", {"a": "é\n"}, REQUEST, {"cmd": "NODE_X"}])), st.lists(st.integers(1, 40)))
def test_however_it_is_cut(values: list[object], cuts: list[int]) -> None:
    """The same events, whatever arrives together."""
    data = b"".join(map(line, values))
    whole, framing, events = Framing().feed(data), Framing(), []
    for cut in cuts:
        events += framing.feed(data[:cut])
        data = data[cut:]
    assert events + framing.feed(data) == whole


@pytest.mark.parametrize("piece", [1000, LONGEST, 10 * LONGEST])
def test_long_line_is_dropped_and_not_kept(piece: int) -> None:
    """No program makes the supervisor grow."""
    framing = Framing()
    text = b'"' + b"x" * (3 * LONGEST) + b'"\n' + line("ready")
    events = []
    for start in range(0, len(text), piece):
        events += framing.feed(text[start : start + piece])
        assert len(framing._line) <= LONGEST
    assert events == [(MESSAGE, "ready")]


def test_longest_line_is_heard() -> None:
    word = "x" * (LONGEST - 2)
    assert Framing().feed(line(word)) == [(MESSAGE, word)]


# --- what it is told ---


def test_descriptors_go_one_at_a_time() -> None:
    """The next one after the acknowledgement of the last; messages without one do not wait."""
    framing = Framing()
    framing.hand("first", 7)
    framing.hand("second", 8)
    framing.say("word")
    assert written(framing) == [({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": "first"}, 7), ("word", None)]
    assert framing.feed(ACK) == []
    assert written(framing) == [({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": "second"}, 8)]
    framing.feed(ACK)
    assert written(framing) == []


def test_descriptor_that_does_not_arrive_is_sent_again() -> None:
    """A few times; then it is given up, and the next one has its turn."""
    framing = Framing()
    framing.hand("first", 7)
    framing.hand("second", 8)
    for _ in range(ATTEMPTS):
        assert [descriptor for _, descriptor in written(framing)] == [7]
        framing.feed(NACK)
    assert [descriptor for _, descriptor in written(framing)] == [8]


def test_acknowledgements_of_nothing() -> None:
    framing = Framing()
    assert framing.feed(ACK + NACK) == []
    assert written(framing) == []
    framing.hand("first", 7)
    assert len(written(framing)) == 1


def test_descriptor_goes_with_the_first_byte_alone() -> None:
    """What is left of a message is sent without it."""
    framing = Framing()
    framing.hand("first", 7)
    first = framing.next()
    assert first is not None
    framing.sent(5)
    assert framing.next() == (first[0][5:], None)


def test_descriptor_of_the_program_is_acknowledged() -> None:
    """Node waits for it with everything else."""
    framing = Framing()
    assert framing.feed(line({"cmd": "NODE_HANDLE", "type": "net.Server", "msg": "mine"})) == []
    assert written(framing) == [({"cmd": "NODE_HANDLE_ACK"}, None)]


def test_nothing_piles_up_for_a_worker_that_does_not_read() -> None:
    framing = Framing()
    for _ in range(3 * MOST):
        framing.say("word")
        framing.hand("socket", 7)
    assert len(framing._out) + len(framing._handles) <= 2 * MOST + 1


# --- on a real socket ---


def pair() -> tuple[Channel, socket.socket]:
    ours, theirs = Channel.pair()
    theirs.settimeout(10)
    return ours, theirs


def test_socket_arrives() -> None:
    """The very one that was asked for."""
    ours, theirs = pair()
    asked = []

    def listen(host: str | None, port: int, backlog: int) -> socket.socket:
        asked.append((host, port, backlog))
        return shared

    with theirs, socket.create_server(("127.0.0.1", 0)) as shared:
        theirs.sendall(line(REQUEST))
        ((word, request),) = ours.receive()
        assert word == LISTEN
        ours.answer(request, listen)
        data, descriptors, _, _ = socket.recv_fds(theirs, 65536, 2)
        assert json.loads(data)["msg"] == {"cmd": CMD, "id": 1, "host": "::", "act": "socket"}
        (descriptor,) = descriptors
        assert os.path.sameopenfile(descriptor, shared.fileno())
        os.close(descriptor)
    assert asked == [(None, 80, channel.BACKLOG)]
    ours.close()


@pytest.mark.parametrize(
    ("host", "only6", "asked"),
    [
        (None, False, None),
        ("::", False, None),
        ("::", True, "::"),
        ("::1", False, "::1"),
        ("127.0.0.1", True, "127.0.0.1"),
    ],
)
def test_what_is_asked_for(host: str | None, only6: bool, asked: str | None) -> None:  # noqa: FBT001
    """`::` is every address of both kinds, unless the program says ipv6Only."""
    ours, theirs = pair()
    seen = []

    def listen(host: str | None, *_: int) -> socket.socket:
        seen.append(host)
        raise OSError(errno.EADDRINUSE, "in use")

    ours.answer(REQUEST | {"host": host, "only6": only6}, listen)
    assert seen == [asked]
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EADDRINUSE, "in use"), errno.EADDRINUSE),
        (PermissionError(errno.EACCES, "no"), errno.EACCES),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), errno.EINVAL),
        (ValueError("embedded null character"), errno.EINVAL),
    ],
)
def test_refusal(error: Exception, number: int) -> None:
    ours, theirs = pair()

    def listen(*_: object) -> socket.socket:
        raise error

    ours.answer(REQUEST, listen)
    assert json.loads(theirs.recv(65536)) == {"cmd": CMD, "id": 1, "host": "::", "act": "refused", "errno": number}
    ours.close()
    theirs.close()


def test_backlog_beyond_all_measure() -> None:
    """As much as can be had."""
    ours, theirs = pair()
    with socket.create_server(("127.0.0.1", 0)) as shared:

        def listen(_host: str | None, _port: int, backlog: int) -> socket.socket:
            shared.listen(backlog)
            return shared

        ours.answer(REQUEST | {"backlog": 2**40}, listen)
        assert json.loads(theirs.recv(65536))["msg"]["act"] == "socket"
    ours.close()
    theirs.close()


def test_socket_closed_before_it_could_be_sent() -> None:
    """Its app is being stopped: nothing else is sent under its number."""
    ours, theirs = pair()
    fill(ours)
    shared = socket.create_server(("127.0.0.1", 0))
    ours.answer(REQUEST, lambda *_: shared)
    assert ours.is_waiting
    shared.close()
    received = rest(ours, theirs)
    ours.say("last")
    while not received.endswith(b'"last"\n'):
        received += theirs.recv(1 << 20)
    assert b"NODE_HANDLE" not in received
    ours.close()
    theirs.close()


def fill(ours: Channel) -> None:
    """Say things until the other end has no room left."""
    while not ours.is_waiting:
        ours.say("x" * 10_000)


def rest(ours: Channel, theirs: socket.socket) -> bytes:
    """What can be read until nothing waits any more."""
    received = b""
    while ours.is_waiting:
        received += theirs.recv(1 << 20)
        ours.flush()
    return received


def test_worker_that_does_not_read_holds_nobody_up() -> None:
    """What cannot be written waits, and is written when it can be."""
    ours, theirs = pair()
    fill(ours)
    ours.drain()
    received = rest(ours, theirs)
    while not received.endswith(line({"cmd": CMD, "act": "drain"}).replace(b" ", b"")):
        received += theirs.recv(1 << 20)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("unread", [False, True])
def test_end(unread: bool) -> None:  # noqa: FBT001
    """It is noticed, whether as an end or as a reset; what is said afterwards goes nowhere, and nothing raises."""
    ours, theirs = pair()
    if unread:
        ours.say("never read")
    theirs.sendall(line("last"))
    theirs.close()
    assert ours.receive() + ours.receive() == [(MESSAGE, "last")]
    assert ours.ended
    ours.say("anything")
    ours.drain()
    assert not ours.is_waiting
    ours.close()


def test_nothing_to_read() -> None:
    ours, theirs = pair()
    assert ours.receive() == []
    assert not ours.ended
    ours.close()
    theirs.close()


# --- the environment ---


def test_variables() -> None:
    given = {"PATH": "/bin", "NODE_OPTIONS": "--no-warnings"}
    plain = channel.variables(given, 5)
    assert plain == given | {"NODE_CHANNEL_FD": "5", "NODE_CHANNEL_SERIALIZATION_MODE": "json"}
    clustered = channel.variables(given, 5, channel.PRELOAD)
    assert clustered == plain | {"NODE_OPTIONS": f'--require "{channel.PRELOAD}" --no-warnings'}
    assert os.path.isfile(channel.PRELOAD)  # noqa: PTH113
