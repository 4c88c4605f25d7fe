"""`pyinitctl verify` as a user types it: what it says and leaves behind, and one clear line for whatever cannot be done."""

import contextlib
import json
import os
import select
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from pyinit.verify import page
from pyinit.verify.acts import OPENSHIFT_USER
from support.verifying import DEAF, GOOD, Ctl, begin, made_by
from support.waiting import until

QUICK = ("--network", "none", "--ready-log", "^ready$", "--timeout", "3", "--check", "SG-01", "--check", "EX-06")
HELD_UP = ("--network", "none", "--timeout", "60", "--", "python3", "-c", DEAF)

RESTARTS = (
    ("--ready-tcp", "5432", "--ready-timeout", "2"),
    ("sh", "-c", "while :; do sh -c 'echo no database; exit 1'; sleep 0.1; done"),
)
"""A program that its supervisor starts again and again."""


@pytest.fixture
def begun(base: str, tmp_path: Path, client: docker.DockerClient) -> Iterator[subprocess.Popen[str]]:
    """A run that is in the middle of it: its target ignores the stop signal for longer than the test takes."""
    with begin(tmp_path, [base, *HELD_UP]) as tool:
        until(lambda: len(made_by(client, tool.pid)) >= 3, 60, "observer, image and target")
        yield tool
        if tool.poll() is None:
            tool.kill()


def test_a_good_one(ctl: Ctl, base: str, tmp_path: Path) -> None:
    """Exit status 0, reports that agree, and a last line that says it."""
    files = [word for kind in ("json", "junit", "markdown", "html", "svg") for word in (f"--{kind}", f"r.{kind}")]
    done = ctl(base, *QUICK, *files, "--", "python3", "-c", GOOD)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "2 passed, 0 failed, 0 skipped: what was checked passed",
    ), done.stdout + done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert [(one["id"], one["verdict"]) for one in found["results"]] == [("SG-01", "pass"), ("EX-06", "pass")]
    assert found["ready"] == "--ready-log"
    assert 'tests="2" failures="0"' in (tmp_path / "r.junit").read_text()
    assert "what was checked passed" in (tmp_path / "r.markdown").read_text()
    assert (tmp_path / "r.html").read_text() == page.html(found)
    assert (tmp_path / "r.svg").read_text() == page.picture(found)
    assert "python3 [1]" in (tmp_path / "r.svg").read_text()


def test_a_source_by_name(ctl: Ctl, base: str, tmp_path: Path) -> None:
    """--source takes that one, which the report names; one that there is not is a matter of usage."""
    done = ctl(base, *QUICK, "--source", "pidfd", "--json", "r.json", "--", "python3", "-c", GOOD)
    assert (done.returncode, json.loads((tmp_path / "r.json").read_text())["source"]) == (0, "pidfd"), done.stderr
    done = ctl(base, "--source", "strace")
    assert (done.returncode, "choose from 'auto', 'trace', 'cn_proc', 'pidfd', 'ptrace'" in done.stderr) == (2, True), (
        done.stderr
    )


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
        (("BASE", "--request", "http://127.0.0.1:0/"), "--request http://127.0.0.1:0/: write http://"),
        (("BASE", "--timeout", "0"), "--timeout 0"),
        (("BASE", "--ready-timeout", "0"), "--ready-timeout 0"),
        (("BASE", "--jobs", "0"), "--jobs 0"),
        (("BASE", "--baseline", "no-such-file"), "the baseline no-such-file cannot be read"),
        (("BASE", "--config", "no-such-file"), "there is no file no-such-file"),
        (("BASE", "-p", "http"), "-p http: Invalid port"),
        (("BASE", "-p", "1.2.3.4:70000:80", "--network", "bridge", "--", "sleep", "60"), "70000"),
        (("BASE", "-v", "not/a/name:/data", "--", "sleep", "60"), "not/a/name"),
        ((), "which image, or which --compose, or which --init?"),
        (("BASE", "--compose", "compose.yaml"), "which image, or which --compose, or which --init?"),
        (("BASE", "--service", "web"), "--compose FILE and --service NAME belong together"),
        (("--init", "/no/such/init"), "/no/such/init is no file that can be executed"),
        (("--init", "/bin/true", "--network", "none"), "--network is how an image is run"),
    ],
)
def test_what_cannot_be_done(ctl: Ctl, base: str, words: tuple[str, ...], said: str) -> None:
    """One line, exit status 2, no traceback."""
    quiet = () if {"--network", "--init"} & set(words) else ("--network", "none")
    done = ctl(*quiet, *(base if word == "BASE" else word for word in words))
    assert (done.returncode, said in done.complaint) == (2, True), done.stderr
    assert done.complaint.startswith("pyinitctl: verify: ")
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
    with begin(tmp_path, [base, *HELD_UP], {"DOCKER_HOST": f"unix://{tmp_path}/engine.sock"}) as tool:
        until(lambda: len(made_by(client, tool.pid)) >= 3, 60, "observer, image and target")
        proxy.go_away()
        _, said = tool.communicate(timeout=60)
    lines = [line for line in said.splitlines() if not line[:1].isdigit()]
    assert (tool.returncode, len(lines)) == (2, 1), said
    assert lines[0].startswith("pyinitctl: verify: ")
    assert ctl("--clean").returncode == 0
    assert made_by(client, tool.pid) == []


def test_list_of_checks(ctl: Ctl) -> None:
    """It needs no engine."""
    done = ctl("--list-checks", DOCKER_HOST="unix:///no.sock")
    assert done.returncode == 0
    assert "PT-04" in done.stdout


def test_ended_in_the_middle(begun: subprocess.Popen[str], client: docker.DockerClient) -> None:
    """SIGTERM: whatever it had made is removed before it ends."""
    begun.send_signal(signal.SIGTERM)
    assert begun.wait(60) == 128 + signal.SIGTERM
    assert made_by(client, begun.pid) == []


def test_ended_while_acts_are_side_by_side(base: str, client: docker.DockerClient, tmp_path: Path) -> None:
    """SIGTERM: what goes on in threads is not waited for, and removed all the same."""
    particular = f"import os, signal, sys\nif os.getuid(): exec({DEAF!r})\nelse: exec({GOOD!r})"  # deaf in ST-04 alone
    words = ("--network", "none", "--ready-log", "^ready$", "--timeout", "100", "--check", "ST-04")
    with begin(tmp_path, [base, *words, "--", "python3", "-c", particular]) as tool:
        only: dict[str, str | list[str] | bool] = {"label": f"pyinit.pid={tool.pid}"}
        until(
            lambda: [
                one for one in client.containers.list(filters=only) if one.attrs["Config"]["User"] == OPENSHIFT_USER
            ],
            60,
            "the container of ST-04",
        )
        tool.send_signal(signal.SIGTERM)
        tool.communicate(timeout=50)
    assert tool.returncode == 128 + signal.SIGTERM
    assert made_by(client, tool.pid) == []


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
    left = made_by(client, begun.pid)
    assert left
    done = ctl("--clean")
    assert (done.returncode, done.stdout.count("removed ")) == (0, len(left)), done.stdout + done.stderr
    assert made_by(client, begun.pid) == []


# --- volumes and ports ---

COUNTS = (
    """
import os, signal, sys
found = os.stat("/data/runs")
if (found.st_uid, found.st_mode & 0o777) != (1234, 0o640): sys.exit("not as it was")
with open("/data/runs", "r+") as runs:
    if runs.read() != "": sys.exit("not fresh")
    runs.write("run\\n")
"""
    + GOOD
)

ONE_BY_ONE = ("--check", "SG-01", "--check", "GR-02", "--check", "SG-07", "--json", "r.json")
"""Three containers, two of which would run at the same time."""


@pytest.fixture
def volume(client: docker.DockerClient, base: str) -> Iterator[str]:
    """The name of a volume, with an empty file of somebody's in it."""
    made = client.volumes.create(f"pyinit-test-{os.urandom(6).hex()}")
    make = "touch /data/runs && chown 1234:1234 /data/runs && chmod 640 /data/runs"
    client.containers.run(
        base, ["sh", "-c", make], volumes=[f"{made.name}:/data"], network_mode="none", remove=True, entrypoint=[""]
    )
    yield str(made.name)
    made.remove()


def runs_in(client: docker.DockerClient, base: str, volume: str) -> int:
    """How many containers have written to it."""
    output: bytes = client.containers.run(
        base,
        ["cat", "/data/runs"],
        volumes=[f"{volume}:/data:ro"],
        network_mode="none",
        remove=True,
        entrypoint=[""],
    )
    return output.count(b"run\n")


def about(folder: Path) -> str:
    """Why it went one by one, as the JSON report says it."""
    found: str = json.loads((folder / "r.json").read_text())["about"].get("one at a time", "")
    return found


def test_named_volumes_are_copied(
    ctl: Ctl, base: str, client: docker.DockerClient, volume: str, tmp_path: Path
) -> None:
    """Each container finds what the volume had before the run, owner and rights included; the volume itself is not touched."""
    words = (*QUICK[:4], *ONE_BY_ONE, "-v", f"{volume}:/data", "--", "python3", "-c", COUNTS)
    done = ctl(base, *words)
    assert (done.returncode, done.stdout.splitlines()[-1][:30]) == (0, "1 passed, 0 failed, 0 skipped,"), done
    assert runs_in(client, base, volume) == 0
    assert about(tmp_path) == ""
    assert made_by(client, done.pid) == []


def test_shared_volumes(ctl: Ctl, base: str, client: docker.DockerClient, volume: str, tmp_path: Path) -> None:
    """With --share-volumes it is the volume itself: the second container finds what the first has written."""
    words = (*QUICK[:4], *ONE_BY_ONE, "--share-volumes", "-v", f"{volume}:/data", "--", "python3", "-c", COUNTS)
    done = ctl(base, *words)
    assert done.returncode == 0, done
    found = {one["id"]: one["verdict"] for one in json.loads((tmp_path / "r.json").read_text())["results"]}
    assert found == {"SG-01": "pass", "GR-02": "skipped", "SG-07": "skipped"}
    assert runs_in(client, base, volume) == 1
    assert about(tmp_path) == f"-v {volume}:/data: two of them would write to the same files"
    assert "one at a time: -v" in " ".join(done.stdout.split())


def test_a_volume_that_is_not_there(ctl: Ctl, base: str, client: docker.DockerClient) -> None:
    """As in docker run it is made, and it goes with the run: the name is still free afterwards."""
    name = f"pyinit-test-{os.urandom(6).hex()}"
    done = ctl(base, *QUICK, "-v", f"{name}:/data", "--", "python3", "-c", f"open('/data/x', 'x'); {GOOD}")
    assert done.returncode == 0, done
    assert made_by(client, done.pid) == []
    assert [row.name for row in client.volumes.list() if row.name == name] == []


def test_published_ports(ctl: Ctl, base: str, client: docker.DockerClient, tmp_path: Path) -> None:
    """Who connects from outside gets through; as the port can be had only once, containers run one at a time, whatever --jobs says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = (
        f"import socket; socket.create_server(('', 8000)).accept()[0].recv(1)\n{GOOD}"  # ready when it has heard a byte
    )
    over = threading.Event()

    def call() -> None:
        while not over.wait(0.05):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"x")

    caller = threading.Thread(target=call)
    caller.start()
    try:
        publish = ("-p", f"127.0.0.1:{port}:8000", "--jobs", "3")
        done = ctl(base, *QUICK[2:4], *ONE_BY_ONE, *publish, "--", "python3", "-c", server)
    finally:
        over.set()
        caller.join()
    assert (done.returncode, done.stdout.splitlines()[-1][:38]) == (0, "1 passed, 0 failed, 0 skipped, 2 notes"), done
    assert about(tmp_path) == "-p: two of them would want the same ports"
    assert made_by(client, done.pid) == []


def test_a_port_that_is_taken(ctl: Ctl, base: str, client: docker.DockerClient) -> None:
    """The engine's own words, and exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ctl(base, "-p", f"127.0.0.1:{taken.getsockname()[1]}:8000", "--", "sleep", "60")
    assert (done.returncode, "address already in use" in done.complaint) == (2, True), done.stderr
    assert made_by(client, done.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_copies_of_volumes_go(
    number: signal.Signals, ctl: Ctl, base: str, client: docker.DockerClient, volume: str, tmp_path: Path
) -> None:
    """After Ctrl-C, and after SIGKILL and --clean: no copy is left, and the volume is."""
    with begin(tmp_path, [base, "-v", f"{volume}:/data", *HELD_UP]) as tool:
        until(lambda: any(one.startswith("volume") for one in made_by(client, tool.pid)), 60, "the copy")
        until(
            lambda: len(client.containers.list(filters={"volume": "/data", "label": f"pyinit.pid={tool.pid}"})),
            60,
            "target",
        )
        tool.send_signal(number)
        tool.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert any(one.startswith("volume") for one in made_by(client, tool.pid))
        ctl("--clean")
    assert made_by(client, tool.pid) == []
    assert runs_in(client, base, volume) == 0
