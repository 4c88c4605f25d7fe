"""The native executable as dockerd's init: `docker run --init` with ours in the place of docker-init.

In a Docker engine of this module's own, which shares nothing with the one that is there (`support.private_engine`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from support import processes
from support.containers import Container, remove
from support.engines import native_executable
from support.private_engine import IMAGE, PrivateEngine, private_engine
from support.terminal import Terminal
from support.waiting import until


@pytest.fixture(scope="module", params=["--init-path", "PATH"])
def dockerd(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """The private engine."""
    with private_engine(request.param) as private:
        yield private


Start = Callable[..., Container]


@pytest.fixture
def start(dockerd: PrivateEngine) -> Iterator[Start]:
    """Start a container there; it goes with its test."""
    client = docker.DockerClient(base_url=dockerd.url)
    mine = []

    def start_container(*command: str, init: bool = True, **options: Any) -> Container:  # noqa: ANN401 (those of docker-py)
        raw = client.containers.create(IMAGE, list(command), init=init, network_mode="none", **options)
        container = Container(raw)
        mine.append(container)
        container.start()
        return container

    yield start_container
    for container in mine:
        remove(container.raw)
    client.close()


def shell(code: str) -> Sequence[str]:
    return ["sh", "-c", code]


ON_TERM = "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 1000 & wait; done"


def is_ours(container: Container) -> bool:
    """Whether the container's PID 1 runs our executable, to the byte."""
    return Path(f"/proc/{container.pid}/exe").read_bytes() == native_executable().read_bytes()


def components(dockerd: PrivateEngine) -> dict[str, str]:
    """What `docker version` knows of, and which version."""
    listed = dockerd.docker("version", "--format", "{{range .Server.Components}}{{.Name}} {{.Version}}\n{{end}}")
    return dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)


def complaints(dockerd: PrivateEngine) -> list[str]:
    """Whatever dockerd and `docker info` have to say against the init."""
    before = len(dockerd.log)
    info = dockerd.docker("info")
    assert "Init Binary: " in info
    said = [line for line in info.splitlines() if re.search(r"init version: *(N/A|.*expected)|(WARN|ERR).*init", line)]
    return said + [line for line in dockerd.log[before:].splitlines() if "level=info" not in line and "init" in line]


def test_the_engine_knows_its_init(dockerd: PrivateEngine) -> None:
    """`docker info` has nothing to say against it, and `docker version` shows the version."""
    assert complaints(dockerd) == []
    assert components(dockerd)["docker-init"] == "0.19.0"


def test_an_init_that_it_does_not_know_is_seen(dockerd: PrivateEngine) -> None:
    """The control: the same engine with something else in that place, for a moment."""
    dockerd.put(b"#!/bin/sh\necho pyinit 1.2.3\n")
    try:
        assert complaints(dockerd)
        assert "docker-init" not in components(dockerd)
    finally:
        dockerd.put(native_executable().read_bytes())
    assert complaints(dockerd) == []


def test_docker_run_init(dockerd: PrivateEngine, start: Start) -> None:
    """Ours is PID 1, TERM arrives, and the status is the program's."""
    container = start(*shell(ON_TERM)).ready()
    assert is_ours(container)
    assert processes.command(container.pid).startswith("/sbin/docker-init -- sh -c")
    assert [process.name() for process in container.processes()] == ["docker-init", "sh", "sleep"]
    assert container.stop() < 5
    assert container.wait() == 7
    assert "got TERM" in container.lines
    assert dockerd.docker("logs", container.id) == container.logs() == "ready\ngot TERM\n"


def test_without_init(start: Start) -> None:
    """The control: there PID 1 is the program."""
    container = start(*shell(ON_TERM), init=False).ready()
    assert not is_ours(container)


@pytest.mark.parametrize("end", ["exit 0", "exit 42", "exit 255", "kill -9 $$", "kill -15 $$"])
def test_status(start: Start, end: str) -> None:
    """As the engine reports it."""
    number = int(re.findall(r"\d+", end)[0])
    assert start(*shell(end)).wait() == (number if end.startswith("exit") else 128 + number)


def test_program_that_is_not_there(start: Start) -> None:
    """The words and the status that people know from tini."""
    container = start("none")
    assert container.wait() == 127
    assert re.fullmatch(r"\[FATAL tini \(\d+\)\] exec none failed: No such file or directory\n", container.logs())


ORPHAN = "(sleep 0.1 &); echo ready; exec sleep 1000"


def test_zombies_are_reaped(start: Start) -> None:
    """An orphan has ended, and nothing is left of it: neither with its body nor without."""
    container = start(*shell(ORPHAN)).ready()
    until(lambda: len(container.processes()) == 2, 20, "the orphan's end")
    assert container.zombies() == []


def test_zombies_are_seen(start: Start) -> None:
    """The control: without an init the orphan stays as a zombie."""
    container = start(*shell(ORPHAN), init=False).ready()
    until(container.zombies, 20, "a zombie")


def test_terminal(dockerd: PrivateEngine) -> None:
    """`docker run -it --init`: Ctrl-C reaches the program, once."""
    code = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 1000 & wait; done"
    command = ["docker", "--host", dockerd.url, "run", "-it", "--rm", "--init", "--network=none", IMAGE, *shell(code)]
    with Terminal(command) as terminal:
        terminal.expect("ready")
        terminal.send("\x03")
        assert terminal.wait() == 9
        assert terminal.output.count("interrupted") == 1


def test_two_engines_do_not_meet(dockerd: PrivateEngine, client: docker.DockerClient, start: Start) -> None:
    """The container is in the private engine alone; the engine that was there still answers."""
    container = start(*shell(ON_TERM)).ready()
    assert container.id in dockerd.docker("ps", "--no-trunc", "--quiet")
    assert container.id not in [raw.id for raw in client.containers.list(all=True)]
    assert client.ping()


def test_the_neighbour_keeps_its_bridge() -> None:
    """A dockerd without a bridge removes docker0 where it finds it; ours does not find that of another engine."""
    bridge = Path("/sys/class/net/docker0/ifindex")
    if not bridge.exists():
        pytest.skip("the engine that is here has no docker0")
    before = bridge.read_text("ascii")
    with private_engine("--init-path") as private:
        private.docker("run", "--rm", "--network=none", IMAGE, *shell("exit 0"))
        assert bridge.read_text("ascii") == before


def test_nothing_is_left_of_an_engine_that_was_killed() -> None:
    """The shim, the container's processes, the mounts and the folder: all of it goes with `close`."""
    with private_engine("--init-path") as private:
        identity = private.docker("run", "--detach", "--init", "--network=none", IMAGE, *shell(ON_TERM)).strip()
        pid = int(private.docker("inspect", "--format", "{{.State.Pid}}", identity))
        private.process.kill()
        private.process.wait()
        # containerd goes with its parent
        expected = {"containerd-shim", "docker-init"}
        until(lambda: expected <= {processes.status(one)["Name"] for one in private.left()}, 10, "what is left of it")
        assert processes.is_alive(pid)
    assert (private.left(), processes.is_alive(pid), private.folder.exists()) == ([], False, False)
    assert str(private.folder) not in Path("/proc/self/mountinfo").read_text("utf-8")
