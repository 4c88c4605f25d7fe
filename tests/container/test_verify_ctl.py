"""`pyinitctl verify` as a user types it: what it says and leaves behind, and one clear line for whatever cannot be done."""

import contextlib
import hashlib
import io
import json
import os
import re
import select
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest
from jsonschema import Draft202012Validator as Validator

from pyinit.containers.image import pack
from pyinit.verify.catalogue import CHECKS
from pyinit.verify.verdicts import Source
from support.private_engine import IMAGE, private_engine
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


def test_reports_are_as_their_schema_says(ctl: Ctl, base: str, tmp_path: Path, schema: Validator) -> None:
    """Real ones: of an image, with a failure, a skip and an act that is impossible; with a baseline; of an init."""
    as_root = "import os; os.getuid() and os.abort(); " + GOOD.replace("sys.exit(0)", "sys.exit(7)")
    image = (base, *QUICK, "--check", "ST-04", "--check", "SG-06", "--check", "GR-02")
    pyinit = Path(sys.executable).with_name("pyinit")
    init = (
        "--init",
        f"{pyinit} --grace 2s --",
        "--check",
        "SG-02",
        "--check",
        "K8-05",
        "--timeout",
        "3",
    )
    found = {}
    for name, words in {
        "image": (*image, "--", "python3", "-c", as_root),
        "baseline": (*image, "--baseline", "image.json", "--", "python3", "-c", as_root),
        "init": init,
    }.items():
        done = ctl("--json", f"{name}.json", *words)
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
        schema.validate(found[name])
        assert found[name]["status"] == done.returncode, done.stdout + done.stderr
    assert {one["verdict"] for one in found["image"]["results"]} == {"pass", "fail", "skipped", "note"}
    assert found["image"]["acts"]["openshift"]["impossible"]
    assert [one["id"] for one in found["baseline"]["results"] if one["known"]] == ["EX-06"]
    assert "pyinit" in found["init"]["subject"]["image"]


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


def foreign(platform: str) -> bytes:
    """What `docker load` takes: an image for that platform, with a program that says it is an AArch64 executable."""
    program = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0x400000, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    )
    layer = tar_of({"program": program})
    os_name, _, machine = platform.partition("/")
    config = {
        "architecture": machine,
        "os": os_name,
        "config": {"Entrypoint": ["/program"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    return tar_of(
        {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of executables."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("linux/arm64", "The image is for linux/arm64, and the engine's machine is "),
        ("", "It is a script without a first line"),
    ],
)
def test_an_image_for_another_machine(ctl: Ctl, client: docker.DockerClient, platform: str, said: str) -> None:
    """Which machine it is for, and which one is here; where the image says nothing of the kind, what else it may be."""
    if Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        pytest.skip("this machine runs AArch64 programs, by qemu")
    [image] = client.images.load(foreign(platform or f"linux/{client.version()['Arch']}"))
    try:
        done = ctl("--network", "none", str(image.id))
    finally:
        client.images.remove(str(image.id))
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
    assert (done.returncode, len(lines), done.stdout) == (2, 1, ""), done.stderr
    assert "exec format error" in lines[0]
    assert said in lines[0]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that has room for one page."""
    if os.geteuid() != 0:
        pytest.skip("a disk of one's own needs root")
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_reports_on_a_full_disk(ctl: Ctl, base: str, full: Path) -> None:
    """What cannot be written, and why; half a report does not stay."""
    (full / "all").write_bytes(bytes(4096))
    for option, name in (("--json", "r.json"), ("--junit", "r.xml"), ("--markdown", "r.md")):
        done = ctl(base, *QUICK, option, str(full / name), "--", "python3", "-c", GOOD)
        lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
        assert (done.returncode, lines) == (
            2,
            [f"pyinitctl: verify: the report cannot be written to {full / name}: No space left on device"],
        )
        assert [path.name for path in full.iterdir()] == ["all"]


@pytest.mark.parametrize("words", [("--json", "-"), ()])
def test_stdout_on_a_full_disk(base: str, words: tuple[str, ...]) -> None:
    """Neither the table nor the JSON gets lost without a word."""
    command = [*CTL, base, *QUICK, *words, "--", "python3", "-c", GOOD]
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run(command, stdout=nowhere, stderr=-1, text=True, check=False, timeout=100)
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
    assert (done.returncode, lines) == (
        2,
        ["pyinitctl: verify: the report cannot be written to stdout: No space left on device"],
    )


@pytest.mark.parametrize(("room", "said"), [(0.5, "cannot be imported"), (1.5, "no container can be made")])
def test_an_engine_whose_disk_is_full(ctl: Ctl, room: float, said: str) -> None:
    """`room`: for how much of what verify brings along. What the engine could not do, and that its disk is full."""
    tar, _ = pack()
    with private_engine("--init-path", int(len(tar) * room) + 8_000_000) as private:
        done = ctl(IMAGE, "--network", "none", "--", "sleep", "60", DOCKER_HOST=private.url)
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
    assert (done.returncode, len(lines), done.stdout) == (2, 1, ""), done.stderr
    assert said in lines[0]
    assert "no space left on device" in lines[0]
    assert len(lines[0]) < 1000


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


def helpers(client: docker.DockerClient, since: float, pid: int, base: str) -> int:
    """How many containers the tool with that PID has made since then besides those of the image: the observer, and what it put beside."""
    made = client.events(
        since=int(since),
        until=int(time.time()) + 1,
        filters={"type": "container", "event": "create", "label": f"pyinit.pid={pid}"},
        decode=True,
    )
    return sum(one["Actor"]["Attributes"]["image"] != base for one in made)


@pytest.mark.engines("native")
def test_a_kernel_of_its_own(
    base: str, client: docker.DockerClient, tmp_path: Path, runsc_problem: str, schema: Validator
) -> None:
    """On gVisor outcomes are judged; nothing is put beside the container, and what would need that is skipped with its reason."""
    if runsc_problem:
        pytest.skip(runsc_problem)
    found, made = {}, {}
    for runtime, words in {"runsc": (), "runc": ("--check", "SG-07")}.items():
        since = time.time()
        command = [
            *CTL,
            base,
            "--runtime",
            runtime,
            *QUICK[:4],
            "--json",
            "r.json",
            *words,
            "--",
            "python3",
            "-c",
            GOOD,
        ]
        with subprocess.Popen(command, cwd=tmp_path, stdout=-1, stderr=-1, text=True) as tool:
            said = tool.communicate(timeout=110)
        found[runtime] = json.loads((tmp_path / "r.json").read_text())
        schema.validate(found[runtime])
        assert found[runtime]["status"] == tool.returncode, said
        made[runtime] = helpers(client, since, tool.pid, base)
    assert made["runsc"] == 1  # the observer
    assert made["runc"] > 1  # the control: there they would be seen
    assert found["runsc"]["source"] == "outcome"
    words_of = {one["id"]: (one["verdict"], one["words"]) for one in found["runsc"]["results"]}
    outcomes = {check.id for check in CHECKS if check.source is Source.OUTCOME} - {"SG-07", "ZO-04", "FD-05", "GR-06"}
    assert {name for name, (verdict, _) in words_of.items() if verdict in ("pass", "note")} == outcomes
    for name in set(words_of) - outcomes:
        assert words_of[name][0] == "skipped", words_of[name]
        assert re.search("runtime|kernel of its own|declares no STOPSIGNAL|no --", words_of[name][1]), words_of[name]
    assert found["runsc"]["verdict"].endswith("could be judged: PT-04")


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
