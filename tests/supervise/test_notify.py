"""What systemd is told (sd_notify(3)): through a socket of ours, by a real supervisor, also below pyinit. With systemd: tests/container."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import processes
from support.ctl import Ctl
from support.supervised import Supervised, app, worker
from support.waiting import until

Supervise = Callable[..., Supervised]

SLOW = """\
while not os.path.exists("{go}"):
    time.sleep(0.02)
forever()
"""


class Manager:
    """Where NOTIFY_SOCKET leads to: what has been said, in its order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.messages: list[list[str]] = []

    def hear(self) -> list[list[str]]:
        """All of it up to now."""
        while True:
            try:
                self.messages.append(self.socket.recv(8192).decode().split("\n"))
            except BlockingIOError:
                return self.messages

    def states(self) -> list[str]:
        """Without STATUS and times."""
        lines = [line for message in self.hear() for line in message]
        return [line for line in lines if not line.startswith(("STATUS=", "MONOTONIC_USEC="))]

    def status(self) -> str:
        """The last one."""
        return [line for message in self.hear() for line in message if line.startswith("STATUS=")][-1]

    def expect(self, *states: str) -> None:
        until(lambda: self.states() == list(states), 20, f"{states}; it said {self.messages}")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """The variable is set for whatever the test starts."""
    made = Manager(
        f"@pyinit-test/{os.getpid()}/{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "n")
    )
    monkeypatch.setenv("NOTIFY_SOCKET", made.address)
    yield made
    made.socket.close()


def test_from_the_start_to_the_end(manager: Manager, supervise: Supervise, tmp_path: Path) -> None:
    """Ready when the slowest is; reloading, with the time, until all is ready again; stopping at once."""
    slow = worker("slow", SLOW.format(go=tmp_path / "go"))
    supervised = supervise(slow, worker("web", instances=2), worker("after", after=["slow"]))
    status = "STATUS=2 of 4 instances ready; slow:0 is starting, after:0 is waiting"
    until(lambda: manager.status() == status, 20, "web")
    assert manager.states() == []
    (tmp_path / "go").touch()
    manager.expect("READY=1")
    until(lambda: manager.status() == "STATUS=4 of 4 instances ready", 20, "all")
    supervised.do("reload", "web")
    manager.expect("READY=1", "RELOADING=1", "READY=1")
    (message,) = [message for message in manager.messages if "RELOADING=1" in message]
    (time,) = [line for line in message if line.startswith("MONOTONIC_USEC=")]
    assert time.removeprefix("MONOTONIC_USEC=").isdigit()
    os.kill(supervised.run.process.pid, signal.SIGTERM)
    manager.expect("READY=1", "RELOADING=1", "READY=1", "STOPPING=1")
    assert manager.status() == "STATUS=stopping: it was asked to"
    assert supervised.run.process.wait(20) == 0


def test_what_fails_does_not_hold_up_the_others(manager: Manager, supervise: Supervise) -> None:
    """Who has had a chance is not waited for, nor who waits for it: they are named."""
    failing = worker("db", "sys.exit(1)", backoff_first=60, backoff_max=60)
    supervise(failing, worker("web"), worker("after", after=["db"]), app("none", ["/does/not/exist"]))
    manager.expect("READY=1")
    until(lambda: "db:0 is waiting" in manager.status(), 20, "the pause of db")
    assert manager.status() == ("STATUS=1 of 4 instances ready; db:0 is waiting, after:0 is waiting, none:0 is errored")


def test_many_that_are_not_ready(manager: Manager, supervise: Supervise) -> None:
    """A status is a line."""
    supervise(*[worker(f"a{number}", autostart=False) for number in range(9)], worker("web"))
    manager.expect("READY=1")
    assert manager.status().endswith("a4:0 is stopped, and 4 more")


def test_below_pyinit(manager: Manager, ctl: Ctl) -> None:
    """There pyinit passes the variable on, and workers do not get it. It is the supervisor that speaks, not the main process."""
    ctl.env["NOTIFY_SOCKET"] = manager.address
    ctl.write("apps.toml", "[apps.a]\ncommand = ['sleep', '1000']\nmin_uptime = '50ms'\n")
    run = ctl.start()
    manager.expect("READY=1")
    (supervisor,) = processes.children(run.process.pid)
    (sleeper,) = processes.children(supervisor)
    assert b"NOTIFY_SOCKET" not in Path(f"/proc/{sleeper}/environ").read_bytes()
    assert b"NOTIFY_SOCKET" in Path(f"/proc/{supervisor}/environ").read_bytes()


def test_nobody_at_the_other_end(supervise: Supervise, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It goes on without."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert supervise(worker("web")).ready().states() == ["ready"]


def test_somebody_who_does_not_read(supervise: Supervise, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is held up; the last word comes when there is room."""
    manager = Manager(str(tmp_path / "n"))
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    manager.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as flood:
        try:
            while True:
                flood.sendto(b"X=1", manager.address)
        except BlockingIOError:
            pass
    supervised = supervise(worker("web")).ready()
    assert "READY=1" not in manager.states()
    supervised.do("ping")
    until(lambda: "READY=1" in (supervised.do("ping"), manager.states())[1], 20, "the word, once there is room")
    manager.socket.close()
