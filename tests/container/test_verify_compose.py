"""`pyinitctl verify --compose FILE --service NAME`: one service, with its neighbours, in a project of its own for each container."""

import json
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from support.verifying import DEAF, GOOD, Ctl, begin, environment, made_by
from support.waiting import until

READY = ("--compose", "compose.yaml", "--ready-log", "^ready$")

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, base: str) -> Write:
    """Writes a compose file (JSON is YAML, too): each service runs a program in Python, unless it says otherwise."""

    def write_services(top: Mapping[str, Any] | None = None, **services: Mapping[str, Any]) -> None:
        made = {}
        for name, one in services.items():
            program = str(one.get("program", GOOD)).replace("$", "$$")
            service = {"image": base, "command": ["python3", "-c", program], "network_mode": "none", **one}
            made[name] = {key: value for key, value in service.items() if key != "program" and value is not None}
        (tmp_path / "compose.yaml").write_text(json.dumps({"services": made, **(top or {})}))

    return write_services


def verdicts(folder: Path) -> dict[str, str]:
    """Of the JSON report."""
    return {one["id"]: one["verdict"] for one in json.loads((folder / "r.json").read_text())["results"]}


# --- what it judges ---

SHOP = """
import os, signal, socket, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
if os.environ["PRICE"] != "$5": sys.exit("not interpolated as Compose does it: " + os.environ["PRICE"])
if open("/data/schema").read() != "made": sys.exit("the schema is not there")
for name in ("db", "NAME-db"):
    with socket.create_connection((name, 5432), 10) as connection:
        if connection.recv(5) != b"hello": sys.exit("the database does not answer")
print("ready", flush=True)
while True: signal.pause()
"""

DATABASE = """
import socket
server = socket.create_server(("", 5432))
while True:
    with server.accept()[0] as connection: connection.sendall(b"hello")
"""

MIGRATION = """
import time
time.sleep(1)  # whoever does not wait for its end finds nothing
with open("/data/schema", "x") as file: file.write("made")
"""


def test_a_good_service(ctl: Ctl, write: Write, client: docker.DockerClient, tmp_path: Path) -> None:
    """Its stop signal, grace period, neighbours, volumes and networks are those of the file, and two projects never meet.

    Host ports and container names could be had only once: containers that run at the same time show that there are none.
    """
    name = f"shop-{uuid.uuid4().hex[:12]}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        write(
            {"volumes": {"data": {"name": f"{name}-data"}}, "networks": {"back": {"name": f"{name}-back"}}},
            web={
                "program": SHOP.replace("NAME", name),
                "network_mode": None,
                "container_name": f"{name}-web",
                "environment": {"PRICE": "$$5"},
                "networks": ["back"],
                "volumes": ["data:/data"],
                "ports": [f"127.0.0.1:{taken.getsockname()[1]}:80"],
                "stop_signal": "INT",
                "stop_grace_period": "2s",
                "restart": "always",
                "logging": {"driver": "none"},
                "deploy": {"replicas": 1},
                "profiles": ["web"],
                "depends_on": {
                    "db": {"condition": "service_healthy"},
                    "migration": {"condition": "service_completed_successfully"},
                },
            },
            db={
                "program": DATABASE,
                "network_mode": None,
                "container_name": f"{name}-db",
                "networks": ["back"],
                "healthcheck": {"test": ["CMD", "true"], "interval": "1s"},
            },
            migration={"program": MIGRATION, "volumes": ["data:/data"]},
            unrelated={"image": "no-such-image:ever"},
        )
        checks = ("SG-01", "EX-06", "ST-04", "ST-05", "GR-02", "SG-07")
        words = [word for check in checks for word in ("--check", check)]
        done = ctl(*READY, "--service", "web", *words, "--jobs", "2", "--json", "r.json")
    assert done.returncode == 0, done
    assert verdicts(tmp_path) == {**dict.fromkeys(checks[:4], "pass"), **dict.fromkeys(checks[4:], "note")}
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["subject"]["stop_signal"], found["acts"]["stop"]["stop"]["grace"]) == ("SIGINT", 2)
    assert found["about"]["service"] == "web of compose.yaml"
    assert "one at a time" not in found["about"]
    assert "service: web of compose.yaml" in done.stdout
    assert made_by(client, done.pid) == []
    assert made_in(client, name) == []


def made_in(client: docker.DockerClient, word: str) -> list[str]:
    """Containers, networks and volumes with a word in their names."""
    api = client.api
    names = [
        *(name for row in api.containers(all=True) for name in row["Names"]),
        *(row["Name"] for row in api.networks()),
        *(row["Name"] for row in api.volumes().get("Volumes") or []),
    ]
    return [one for one in names if word in one]


WRITES = (
    "import signal, sys\nsignal.signal(15, lambda *_: (open('/state', 'x'), sys.exit(0)))\n" + GOOD.split("; ", 2)[2]
)


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A name for a container, and an environment in which Compose calls its project after it; both are removed."""
    name = f"pyinit-test-{uuid.uuid4().hex[:12]}"
    words = environment(COMPOSE_PROJECT_NAME=name)
    yield name, words
    down = ["docker-compose", "-f", "compose.yaml", "down", "--volumes", "--timeout", "0", "--remove-orphans"]
    subprocess.run(down, cwd=tmp_path, env=words, check=True, capture_output=True)


def test_a_bad_service(
    ctl: Ctl, write: Write, client: docker.DockerClient, tmp_path: Path, typed: tuple[str, Mapping[str, str]]
) -> None:
    """Other settings of an act reach the service, and what the report says to type shows the same."""
    write(web={"program": WRITES, "depends_on": ["other"]}, other={})
    checks = ("SG-01", "ST-04", "ST-05")
    words = [word for check in checks for word in ("--check", check)]
    done = ctl(*READY, "--service", "web", "--timeout", "5", *words, "--jobs", "2", "--json", "r.json")
    assert done.returncode == 1, done
    assert verdicts(tmp_path) == {"SG-01": "pass", "ST-04": "fail", "ST-05": "fail"}
    assert made_by(client, done.pid) == []

    name, words_of_compose = typed
    acts = json.loads((tmp_path / "r.json").read_text())["acts"]
    for act, status in (("stop", 0), ("readonly", 1), ("openshift", 1)):
        line, stop = acts[act]["reproduce"].splitlines()
        assert line.endswith("docker-compose -f compose.yaml run --rm -T --name c web &" if act == "stop" else " web &")
        line = line.removesuffix(" &").replace("--name c ", f"--name {name} ")
        assert stop == "docker stop -t 5 c"
        with subprocess.Popen(["sh", "-c", line], cwd=tmp_path, env=words_of_compose, stdin=-3, stdout=-3) as run:
            until(lambda: b"ready" in client.containers.get(name).logs(), 60, f"{line}: ready")
            subprocess.run(["docker", "stop", "-t", "5", name], check=True, stdout=-3)
            assert run.wait(30) == status, act
    shown = " ".join(done.stdout.split())
    assert "try printf %s" in shown
    assert "docker-compose -f compose.yaml -f - run --rm -T --name c web" in shown


def test_deaf(ctl: Ctl, write: Write, client: docker.DockerClient) -> None:
    """SG-01 fails as with an image, within the file's grace period; nothing remains."""
    write(web={"program": DEAF, "stop_grace_period": "1500ms", "depends_on": ["other"], "network_mode": None}, other={})
    done = ctl(*READY, "--service", "web", "--check", "SG-01", "--check", "GR-01")
    assert done.returncode == 1, done
    assert "within 2.0 s of SIGTERM" in " ".join(done.stdout.split())
    assert made_by(client, done.pid) == []


def test_neighbours_whose_namespace_it_shares(ctl: Ctl, write: Write, client: docker.DockerClient) -> None:
    """`network_mode: service:NAME` is the neighbour of the same project."""
    program = "import socket; socket.create_connection(('127.0.0.1', 5432), 10).close()\n" + GOOD
    write(
        web={"program": program, "network_mode": "service:db"},
        db={"program": DATABASE, "healthcheck": {"test": ["CMD", "true"], "interval": "1s"}},
    )
    done = ctl(*READY, "--service", "web", "--check", "SG-01")
    assert done.returncode == 0, done
    assert made_by(client, done.pid) == []


@pytest.mark.parametrize(("share", "runs"), [((), b""), (("--share-volumes",), b"run\n")], ids=["copied", "shared"])
def test_external_volumes(
    share: tuple[str, ...],
    runs: bytes,
    ctl: Ctl,
    write: Write,
    client: docker.DockerClient,
    base: str,
    tmp_path: Path,
) -> None:
    """They are no project's own, so each container gets a copy, unless they are to be shared."""
    program = "import sys\nwith open('/data/runs', 'a+') as runs: runs.tell() and sys.exit('not fresh'); runs.write('run\\n')\n"
    volume = client.volumes.create(f"pyinit-test-{uuid.uuid4().hex[:12]}")
    try:
        top = {"volumes": {"data": {"name": volume.name, "external": True}}}
        write(top, web={"program": program + GOOD, "volumes": ["data:/data"]})
        words = ("--check", "SG-01", "--check", "GR-02", "--json", "r.json")
        done = ctl(*READY, "--service", "web", *words, *share)
        assert done.returncode == 0, done
        assert verdicts(tmp_path) == {"SG-01": "pass", "GR-02": "skipped" if share else "note"}
        assert ("one at a time" in " ".join(done.stdout.split())) is bool(share)
        found = client.containers.run(
            base,
            ["sh", "-c", "cat /data/runs 2>/dev/null || true"],
            volumes=[f"{volume.name}:/data:ro"],
            network_mode="none",
            entrypoint=[""],
            remove=True,
        )
        assert found == runs
        assert made_by(client, done.pid) == []
    finally:
        volume.remove()


# --- what cannot be done ---


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("services: {web: {image: x}}", ("--service", "nope"), "--compose compose.yaml: no such service: nope"),
        ("services: {web: [", ("--service", "web"), "--compose compose.yaml: go-yaml load error"),
        ("services: {web: {imge: x}}", ("--service", "web"), "services.web.imge"),
        ("services: {web: {image: '${X:?say which}'}}", ("--service", "web"), "say which"),
        ("", ("--compose", "other.yaml", "--service", "web"), "other.yaml: no such file"),
        ("services: {web: {image: x}}", (), "--compose FILE and --service NAME belong together"),
        ("services: {web: {image: x}}", ("--service", "web", "-e", "A=1"), "-e is said in compose.yaml"),
        ("services: {web: {image: x}}", ("--service", "web", "--", "sh"), "the command is said in compose.yaml"),
        ("services: {web: {image: x}}", ("--service", "web", "any"), "which image, or which --compose"),
        (
            "services: {web: {image: 'no-such-image:ever'}}",
            ("--service", "web", "--pull", "never"),
            "--compose compose.yaml: web: there is no image 'no-such-image:ever'",
        ),
        (
            "name: no-such\nservices: {web: {image: BASE, depends_on: [db]}, db: {build: .}}",
            ("--service", "web"),
            "db: there is no image 'no-such-db'",
        ),
        (
            "services: {db: {image: BASE, command: 'false', network_mode: none}, "  # noqa: ISC004
            "web: {image: BASE, depends_on: {db: {condition: service_completed_successfully}}}}",
            ("--service", "web"),
            "didn't complete successfully: exit 1",
        ),
        (
            "services: {web: {image: BASE, command: [/no/such/program], network_mode: none}}",
            ("--service", "web"),
            "the container does not start",
        ),
        (
            "services: {web: {image: BASE, devices: ['/dev/no-such'], command: [sleep, '9'], network_mode: none}}",
            ("--service", "web"),
            "/dev/no-such",
        ),
    ],
)
def test_what_cannot_be_done(
    text: str, words: tuple[str, ...], said: str, ctl: Ctl, base: str, client: docker.DockerClient, tmp_path: Path
) -> None:
    """One line, exit status 2, with Compose's own words where it has some; nothing remains."""
    (tmp_path / "compose.yaml").write_text(text.replace("BASE", base))
    done = ctl(*READY[:2], *words)
    assert (done.returncode, said in done.complaint) == (2, True), done.stderr
    assert done.complaint.startswith("pyinitctl: verify: ")
    assert done.stdout == ""
    assert made_by(client, done.pid) == []


def test_without_compose(ctl: Ctl, write: Write, tmp_path: Path) -> None:
    """It says what was tried and what to install."""
    write(web={})
    done = ctl(*READY, "--service", "web", PATH=str(tmp_path))
    assert (done.returncode, "there is no Compose" in done.complaint) == (2, True), done.stderr


def test_the_plugin_comes_first(ctl: Ctl, write: Write, tmp_path: Path, client: docker.DockerClient) -> None:
    """Where `docker compose` answers, it is what is run, and what the report says to type."""
    write(web={"program": DEAF})
    docker_with_plugin = tmp_path / "docker"
    docker_with_plugin.write_text('#!/bin/sh\n[ "$1" = compose ] || exit 1\nshift\nexec docker-compose "$@"\n')
    docker_with_plugin.chmod(0o755)
    path = f"{tmp_path}:{environment()['PATH']}"
    done = ctl(*READY, "--service", "web", "--timeout", "1", "--check", "SG-01", PATH=path)
    assert (done.returncode, "docker compose -f compose.yaml run" in done.stdout) == (1, True), done
    assert made_by(client, done.pid) == []


# --- what it leaves behind ---


@pytest.fixture(params=["neighbours start", "it is stopped"])
def begun(
    request: pytest.FixtureRequest, write: Write, client: docker.DockerClient, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """A run in the middle: a neighbour that never becomes healthy is waited for, or a deaf service is being stopped."""
    starts = request.param == "neighbours start"
    health = {"test": ["CMD", "false" if starts else "true"], "interval": "1s", "retries": 1000}
    write(
        {"volumes": {"data": {}}},
        web={"program": DEAF, "network_mode": None, "depends_on": {"db": {"condition": "service_healthy"}}},
        db={"volumes": ["data:/data", "/anonymous"], "network_mode": None, "healthcheck": health},
    )
    awaited = "db" if starts else "web"
    with begin(tmp_path, [*READY, "--service", "web", "--timeout", "60"]) as tool:
        only: dict[str, str | list[str] | bool] = {
            "label": [f"pyinit.pid={tool.pid}", f"com.docker.compose.service={awaited}"],
            "status": "running",
        }
        until(lambda: client.containers.list(filters=only), 60, f"{awaited} to run")
        yield tool
        if tool.poll() is None:
            tool.kill()


def kinds(things: list[str]) -> set[str]:
    """The first words."""
    return {one.partition(" ")[0] for one in things}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ended_in_the_middle(number: signal.Signals, begun: subprocess.Popen[str], client: docker.DockerClient) -> None:
    """Containers, networks and volumes are removed before it ends, and Compose has ended too."""
    assert kinds(made_by(client, begun.pid)) == {"container", "image", "network", "volume"}
    children = psutil.Process(begun.pid).children(recursive=True)
    begun.send_signal(number)
    begun.communicate(timeout=60)
    assert begun.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert made_by(client, begun.pid) == []
    assert [one for one in children if one.is_running()] == []


def test_killed_in_the_middle(begun: subprocess.Popen[str], ctl: Ctl, client: docker.DockerClient) -> None:
    """Compose ends with the tool, so that nothing is made any more, and --clean removes what is left."""
    anonymous = {mount["Name"] for mount in mounts(client, begun.pid) if mount["Destination"] == "/anonymous"}
    assert len(anonymous) == 1
    children = psutil.Process(begun.pid).children(recursive=True)
    begun.kill()
    begun.wait()
    until(lambda: not any(one.is_running() for one in children), 30, "the end of Compose")
    assert kinds(made_by(client, begun.pid)) == {"container", "image", "network", "volume"}
    done = ctl("--clean")
    assert done.returncode == 0, done
    assert made_by(client, begun.pid) == []
    assert not anonymous & {str(one.name) for one in client.volumes.list()}


def mounts(client: docker.DockerClient, pid: int) -> list[Mapping[str, Any]]:
    """Of all containers that the tool with this PID has made."""
    rows = client.api.containers(all=True, filters={"label": f"pyinit.pid={pid}"})
    return [mount for row in rows for mount in row["Mounts"]]
