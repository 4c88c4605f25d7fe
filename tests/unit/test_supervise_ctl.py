"""The control socket from the client's side, and how `pyinitctl` shows what comes from it."""

import argparse
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyinit.ctl import asking, start, supervise
from pyinit.ctl.start import is_under_pyinit
from pyinit.supervise import client
from pyinit.supervise.client import ControlError, NoSupervisorError, PlaceError

# --- where it is ---


def test_places_in_their_order() -> None:
    """A named one is the only one."""
    plain = [str(path) for path in client.candidates({}, 7)]
    assert plain == ["/run/pyinit/control.sock", "/tmp/pyinit-7/control.sock"]
    assert str(client.candidates({"XDG_RUNTIME_DIR": "/run/user/7"}, 7)[0]) == "/run/user/7/pyinit/control.sock"
    assert [str(path) for path in client.candidates({client.VARIABLE: "/a", "XDG_RUNTIME_DIR": "/b"}, 7)] == ["/a"]


def test_folders_that_are_not_trusted(tmp_path: Path) -> None:
    """Another user's, one that others write to, a link (who made it can turn it), a file."""
    uid = os.geteuid()
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    assert client.trouble(folder, uid) == ""
    (tmp_path / "link").symlink_to(folder)
    assert client.trouble(tmp_path / "link", uid) == "it is no folder"
    (tmp_path / "file").touch()
    assert client.trouble(tmp_path / "file", uid) == "it is no folder"
    folder.chmod(0o770)
    assert client.trouble(folder, uid) == "others can write to it"
    assert client.trouble(tmp_path / "none", uid) == "No such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_somebody_else_has_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither listened in nor asked."""
    theirs = tmp_path / "pyinit"
    theirs.mkdir(mode=0o755)
    os.chown(theirs, 54321, 54321)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(theirs / client.FILE))
        assert client.trouble(theirs, 0) == "it belongs to UID 54321"
        assert client._prepare(theirs / client.FILE, is_named=False) == "it belongs to UID 54321"
        assert client.find({"XDG_RUNTIME_DIR": str(tmp_path)}) != theirs / client.FILE
        monkeypatch.setattr(client, "candidates", lambda *_: [theirs / client.FILE])
        with pytest.raises(
            NoSupervisorError, match=r"not trusted are .*/pyinit \(it belongs to UID 54321\); name its socket"
        ):
            client.find({})


def test_a_folder_that_cannot_be_looked_into() -> None:
    """As if nothing were there: another user's folder, or here a name that no file system takes."""
    closed = Path("/" + "x" * 300)
    with pytest.raises(OSError, match="too long"):
        (closed / "pyinit" / client.FILE).stat()
    assert client.find({"XDG_RUNTIME_DIR": str(closed)}).name == client.FILE


def test_a_place_is_made(tmp_path: Path) -> None:
    """A folder for nobody else; a link in its place is not followed."""
    place = client.make_place({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert place == tmp_path / "pyinit" / client.FILE
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert client.make_place({client.VARIABLE: str(tmp_path / "own" / "s")}) == tmp_path / "own" / "s"
    other = tmp_path / "other"
    other.mkdir()
    (other / "pyinit").symlink_to(tmp_path)
    assert client._prepare(other / "pyinit" / client.FILE, is_named=False) == "it is no folder"


def test_no_place(tmp_path: Path) -> None:
    """All that was tried, and the way out."""
    with pytest.raises(PlaceError) as caught:
        client.make_place({client.VARIABLE: str(tmp_path / "none" / "none" / "s")})
    assert str(caught.value) == (
        f"no place for the control socket: tried {tmp_path}/none/none (No such file or directory); "
        "name one with --socket PATH or PYINITCTL_SOCKET"
    )
    with pytest.raises(PlaceError, match="the path is longer than 107 bytes"):
        client.make_place({client.VARIABLE: f"/tmp/{'x' * 110}"})


# --- asking ---


class Server:
    """Answers one request with what it was told to; what it was asked is in `asked`."""

    def __init__(self, path: Path, *lines: bytes) -> None:
        self.path = path
        self.asked = b""
        self.lines = lines
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as file:
            self.asked = file.readline()
            for line in self.lines:
                connection.sendall(line + b"\n")

    def close(self) -> None:
        self.thread.join()
        self.listener.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """Make one."""
    made: list[Server] = []

    def make(*lines: bytes) -> Server:
        made.append(Server(tmp_path / f"s{len(made)}", *lines))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_events_and_an_answer(server: Any) -> None:  # noqa: ANN401 (a fixture's function)
    """The events before it, in their order."""
    there = server(b'{"event": "ready", "name": "web"}', b'{"event": "x"}', b'{"ok": true, "n": 1}')
    events: list[dict[str, Any]] = []
    assert client.ask(there.path, {"do": "stop", "select": ["ä"]}, events.append) == {"ok": True, "n": 1}
    assert [event["event"] for event in events] == ["ready", "x"]
    assert json.loads(there.asked) == {"do": "stop", "select": ["ä"]}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b'{"ok": false, "error": "stop: no"}'], "stop: no"),
        ([b'{"ok": false}'], "it could not be done, and the supervisor does not say why"),
        ([], "ended before it had answered"),
        ([b'{"event": "x"}'], "ended before it had answered"),
        ([b"HTTP/1.1 400"], "does not answer as a supervisor does; name its socket with --socket"),
        ([b"[1]"], "does not answer as a supervisor does"),
    ],
)
def test_answers_that_are_none(lines: list[bytes], words: str, server: Any) -> None:  # noqa: ANN401 (as above)
    """One line each, whatever is at the other end."""
    there = server(*lines)
    with pytest.raises(ControlError, match=words) as caught:
        client.ask(there.path, {"do": "ping"})
    assert not isinstance(caught.value, NoSupervisorError)


def test_nobody(tmp_path: Path) -> None:
    """No socket, and one that nobody listens at any more."""
    assert not client.is_there(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "s"))
    with pytest.raises(
        NoSupervisorError, match=r"there is no supervisor at .* \(Connection refused\); start one with pyinitctl start"
    ):
        client.ask(tmp_path / "s", {"do": "ping"})


# --- showing ---


def test_numbers_for_people() -> None:
    """Short, and with a digit more where it says something."""
    seconds = (None, 0, 3.21, 59.9, 60, 605, 3600, 86399, 86400, 20 * 86400)
    assert [supervise.duration(one) for one in seconds] == [
        "-",
        "0.0s",
        "3.2s",
        "59.9s",
        "1.0m",
        "10m",
        "1.0h",
        "23h",
        "1.0d",
        "20d",
    ]
    assert [supervise.size(one) for one in (None, 5, 1 << 10, 45 << 20, 3 << 30)] == ["-", "5", "1.0K", "45.0M", "3.0G"]


def test_columns_stand_under_each_other() -> None:
    """And nothing stands at the end of a line."""
    assert supervise.table([("a", "bb", "c"), ("long", "b", "-")]) == "a     bb  c\nlong  b   -"


def test_events_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The supervisor's own words, or else the event's."""
    asking.show_event({"event": "ready", "name": "web", "instance": 0, "message": "web:0 is ready"})
    asking.show_event({"event": "ready", "name": "web", "instance": 0})
    assert capsys.readouterr().out == "web:0 is ready\nweb:0: ready\n"


def test_every_word_is_there() -> None:
    """And under PM2's other names."""
    names = {name for word in supervise.WORDS for name in (word.name, *word.aliases)}
    assert names >= {
        "stop",
        "restart",
        "reload",
        "scale",
        "delete",
        "list",
        "ls",
        "describe",
        "show",
        "jlist",
        "logs",
        "flush",
        "reset",
        "sendSignal",
        "env",
        "ping",
        "kill",
    }


def test_pyinit_above_says_so() -> None:
    """By its variable; tests/supervise has it found by its name."""
    assert is_under_pyinit({"PYINIT_STOP_BUDGET": "8000"})


@pytest.mark.parametrize("words", ["-d", "--detach", "-da", "-di max", "--no-daemon -d", "app.js -ad -- -d --socket x"])
def test_who_is_detached_does_not_detach(words: str) -> None:
    """However it was said, or there would be a supervisor of a supervisor without end; what stands behind -- is the program's."""
    parser = argparse.ArgumentParser()
    start.add(parser.add_subparsers())
    given = ["start", *words.split()]
    before = given.index("--") if "--" in given else len(given)
    assert parser.parse_args(given[:before]).detach
    child = start.in_foreground(given, Path("/s"), Path("/l"))
    at = child.index("--") if "--" in child else len(child)
    options = parser.parse_args(child[:at])
    assert (options.detach, options.socket, options.logs) == (False, Path("/s"), Path("/l"))
    assert child[at:] == given[before:]
