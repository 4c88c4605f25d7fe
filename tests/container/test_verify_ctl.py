"""`pyinitctl verify` as a user types it: what it says and leaves behind, and one clear line for whatever cannot be done."""

import contextlib
import json
import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from support.waiting import until

Ctl = Callable[..., subprocess.CompletedProcess[str]]

CTL = (sys.executable, "-m", "pyinit.ctl", "verify")
GOOD = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready', flush=True)\nwhile True: signal.pause()"
QUICK = ("--network", "none", "--ready-log", "^ready$", "--timeout", "3", "--check", "SG-01", "--check", "EX-06")


RESTARTS = (
    ("--ready-tcp", "5432", "--ready-timeout", "2"),
    ("sh", "-c", "while :; do sh -c 'echo no database; exit 1'; sleep 0.1; done"),
)
"""A program that its supervisor starts again and again."""


def of(client: docker.DockerClient, pid: int) -> list[str]:
    """The containers and images that the tool with this PID has made and not removed."""
    only = {"label": f"pyinit.pid={pid}"}
    return [row["Id"] for row in [*client.api.containers(all=True, filters=only), *client.api.images(filters=only)]]


@pytest.fixture
def ctl(tmp_path: Path) -> Ctl:
    """Runs it in an empty folder."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CTL, *words],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


@pytest.fixture
def begun(base: str, tmp_path: Path, client: docker.DockerClient) -> Iterator[subprocess.Popen[str]]:
    """A run that is in the middle of it: its target ignores the stop signal for longer than the test takes."""
    command = [
        *CTL,
        base,
        "--network",
        "none",
        "--timeout",
        "60",
        "--",
        "python3",
        "-c",
        GOOD.replace("sys.exit(0)", "0"),
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        until(lambda: len(of(client, tool.pid)) >= 3, 60, "observer, image and target")
        yield tool
        if tool.poll() is None:
            tool.kill()


def test_a_good_one(ctl: Ctl, base: str, tmp_path: Path) -> None:
    """Exit status 0, three reports that agree, and a last line that says it."""
    done = ctl(base, *QUICK, "--json", "r.json", "--junit", "r.xml", "--markdown", "r.md", "--", "python3", "-c", GOOD)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "2 passed, 0 failed, 0 skipped: it stops as it should",
    ), done.stdout + done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert [(one["id"], one["verdict"]) for one in found["results"]] == [("SG-01", "pass"), ("EX-06", "pass")]
    assert found["ready"] == "--ready-log"
    assert 'tests="2" failures="0"' in (tmp_path / "r.xml").read_text()
    assert "it stops as it should" in (tmp_path / "r.md").read_text()


def test_a_bad_one_and_its_baseline(ctl: Ctl, base: str) -> None:
    """Exit status 1, and 0 once it is known; a reason on the command line excuses."""
    bad = ("--", "python3", "-c", GOOD.replace("sys.exit(0)", "sys.exit(7)"))
    done = ctl(base, *QUICK, "--json", "known.json", *bad)
    assert (done.returncode, "exit status 7 after a clean stop" in done.stdout) == (1, True), done.stdout + done.stderr
    assert ctl(base, *QUICK, "--baseline", "known.json", *bad).returncode == 0
    excused = ctl(base, *QUICK, "--skip", "EX-06=it is a test", *bad)
    assert (excused.returncode, "left out: it is a test" in excused.stdout) == (0, True)


def test_a_file_with_settings(ctl: Ctl, base: str, tmp_path: Path) -> None:
    """verify.toml is found, its reasons are repeated, and the command line goes before it."""
    (tmp_path / "verify.toml").write_text(
        'ready-log = "^never$"\nexpect-exit = [7]\ncheck = ["EX"]\n[skip]\nGR-06 = "no server"\n'
    )
    bad = ("--", "python3", "-c", GOOD.replace("sys.exit(0)", "sys.exit(7)"))
    done = ctl(base, "--network", "none", "--ready-log", "^ready$", *bad)
    assert (done.returncode, "exit status 7" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-image:ever", "--pull", "never"), "there is no image 'no-such-image:ever'"),
        (("BASE", "--", "/no/such/program"), "the container does not start"),
        (
            ("BASE", "--", "sh", "-c", "echo PASSWORD?; exit 3"),
            "it ended by itself with status 3; its last words: PASSWORD?",
        ),
        (
            ("BASE", "--", "sh", "-c", ': "${DB:?is not set: -e DB=postgres://...}"; exec sleep 60'),
            "it ended by itself with status 2; its last words: sh: 1: DB: is not set: -e DB=postgres://...",
        ),
        (
            ("BASE", *RESTARTS[0], "--", *RESTARTS[1]),
            "not ready within 2 s (--ready-tcp); its last words: no database / no database / no database",
        ),
        (
            ("BASE", "--ready-log", "never", "--ready-timeout", "1", "--", "sleep", "60"),
            "not ready within 1 s (--ready-log)",
        ),
        (
            ("BASE", "--ready-tcp", "1", "--ready-timeout", "1", "--", "sleep", "60"),
            "not ready within 1 s (--ready-tcp)",
        ),
        (("BASE", "--check", "XX-99"), "there is no check 'XX-99'; there are SG-01, "),
        (("BASE", "--skip", "EX-6=no"), "there is no check 'EX-6'; write 'EX-06'?"),
        (("--init", "/bin/true", "--require", "K8-5"), "there is no check 'K8-5'; write 'K8-05'?"),
        (("BASE", "--network", "no-such-network", "--", "sleep", "60"), "no-such-network"),
        (("BASE", "--ulimit", "nofile"), "--ulimit nofile: write NAME=SOFT"),
        (("BASE", "--request", "ftp://x"), "--request ftp://x: write http://"),
        (("BASE", "--timeout", "0"), "--timeout 0"),
        (("BASE", "--jobs", "0"), "--jobs 0"),
        (("BASE", "--baseline", "no-such-file"), "the baseline no-such-file cannot be read"),
        (("BASE", "--config", "no-such-file"), "there is no file no-such-file"),
        ((), "which image, or which --init?"),
        (("--init", "/no/such/init"), "/no/such/init is no file that can be executed"),
    ],
)
def test_what_cannot_be_done(ctl: Ctl, base: str, words: tuple[str, ...], said: str) -> None:
    """One line, exit status 2, no traceback."""
    quiet = () if "--network" in words else ("--network", "none")
    done = ctl(*quiet, *(base if word == "BASE" else word for word in words))
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
    assert (done.returncode, len(lines), said in lines[-1]) == (2, 1, True), done.stderr
    assert lines[0].startswith("pyinitctl: verify: ")
    assert done.stdout == ""


def test_without_an_engine(ctl: Ctl, tmp_path: Path) -> None:
    """It says where it looked and what to do."""
    done = ctl("any", DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert (done.returncode, "no container engine answers at unix://" in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


class Proxy(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine's socket that can go away: everything passes through to the real one."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        self.open: list[socket.socket] = []
        super().__init__(str(path), Passage)

    def go_away(self) -> None:
        """No connection any more, and no new one."""
        self.shutdown()
        self.server_close()
        for one in self.open:
            one.close()


class Passage(socketserver.BaseRequestHandler):
    """One connection, both ways."""

    def handle(self) -> None:
        """Until either side ends."""
        with socket.socket(socket.AF_UNIX) as engine, contextlib.suppress(OSError):
            engine.connect("/var/run/docker.sock")
            self.server.open += [self.request, engine]  # type: ignore[attr-defined]
            poll = select.poll()
            sides = {self.request.fileno(): (self.request, engine), engine.fileno(): (engine, self.request)}
            for number in sides:
                poll.register(number, select.POLLIN)
            while sides:
                for number, _ in poll.poll(1000):
                    source, target = sides[number]
                    if data := source.recv(65536):
                        target.sendall(data)
                    else:
                        poll.unregister(number)
                        target.shutdown(socket.SHUT_WR)
                        del sides[number]


def test_engine_that_goes_away(base: str, client: docker.DockerClient, tmp_path: Path, ctl: Ctl) -> None:
    """One line, exit status 2; what could not be removed any more is removed by --clean."""
    proxy = Proxy(tmp_path / "engine.sock")
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    command = [
        *CTL,
        base,
        "--network",
        "none",
        "--timeout",
        "60",
        "--",
        "python3",
        "-c",
        GOOD.replace("sys.exit(0)", "0"),
    ]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/engine.sock"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True) as tool:
        until(lambda: len(of(client, tool.pid)) >= 3, 60, "observer, image and target")
        proxy.go_away()
        _, said = tool.communicate(timeout=60)
    lines = [line for line in said.splitlines() if not line[:1].isdigit()]
    assert (tool.returncode, len(lines)) == (2, 1), said
    assert lines[0].startswith("pyinitctl: verify: ")
    assert ctl("--clean").returncode == 0
    assert of(client, tool.pid) == []


def test_list_of_checks(ctl: Ctl) -> None:
    """It needs no engine."""
    done = ctl("--list-checks", DOCKER_HOST="unix:///no.sock")
    assert done.returncode == 0
    assert "PT-04" in done.stdout


def test_ended_in_the_middle(begun: subprocess.Popen[str], client: docker.DockerClient) -> None:
    """SIGTERM: whatever it had made is removed before it ends."""
    begun.send_signal(signal.SIGTERM)
    assert begun.wait(60) == 128 + signal.SIGTERM
    assert of(client, begun.pid) == []


def test_killed_in_the_middle(begun: subprocess.Popen[str], ctl: Ctl, client: docker.DockerClient) -> None:
    """SIGKILL: the observer ends by itself, and --clean removes what is left, and nothing of a run that lives."""
    begun.kill()
    begun.wait()
    only = {"label": f"pyinit.pid={begun.pid}"}
    until(
        lambda: not [row for row in client.api.containers(filters=only) if "agent" in row["Command"]],
        20,
        "the observer's end",
    )
    left = of(client, begun.pid)
    assert left
    done = ctl("--clean")
    assert (done.returncode, done.stdout.count("removed ")) == (0, len(left)), done.stdout + done.stderr
    assert of(client, begun.pid) == []
