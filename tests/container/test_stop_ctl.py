"""`pyinitctl stop --container` and `pyinitctl explain` as a user types them: names, ids, --rm, and whatever cannot be stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors
import pytest
from docker.models.containers import Container

from support.verifying import GOOD, Done, environment, made_by
from support.waiting import until

DEAF = GOOD.replace("sys.exit(0)", "print('asked', flush=True)")
SEVEN = GOOD.replace("sys.exit(0)", "sys.exit(7)")
TAG = "pyinit-test-stop"


class Place:
    """Containers of somebody's, made as people make them, and removed with the test."""

    def __init__(self, client: docker.DockerClient, image: str, folder: Path) -> None:
        self.client, self.image, self.folder = client, image, folder
        self.made: list[Container] = []

    def run(self, *command: str, ready: bool = True, **options: object) -> Container:
        """One that is ready."""
        more = {"name": f"{TAG}-{os.urandom(4).hex()}", "network_mode": "none", "entrypoint": [""], **options}
        container = self.client.containers.run(self.image, list(command), detach=True, **more)  # type: ignore[call-overload]
        self.made.append(container)
        if ready:
            until(lambda: b"ready" in container.logs(), 30, "ready")
        return container  # type: ignore[no-any-return]

    def begin(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """The command. SIGINT as a terminal's: a shell in the background has it ignored."""
        command = ["/usr/bin/env", "--default-signal=INT", sys.executable, "-m", "pyinit.ctl", *words]
        return subprocess.Popen(command, cwd=self.folder, env=environment(**more), stdout=-1, stderr=-1, text=True)

    def ctl(self, *words: str, **more: str) -> Done:
        """The same, to its end; nothing of it is left."""
        with self.begin(*words, **more) as tool:
            try:
                said = tool.communicate(timeout=100)
            except subprocess.TimeoutExpired:
                tool.terminate()
                raise
        assert made_by(self.client, tool.pid) == []
        return Done(tool.pid, tool.returncode, *said)

    def has_gone(self, container: Container) -> bool:
        try:
            container.reload()
        except docker.errors.NotFound:
            return True
        return False


@pytest.fixture
def place(client: docker.DockerClient, base: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(client, base, tmp_path)
    yield made
    for container in made.made:
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)


def last(done: Done) -> str:
    """The verdict."""
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("by", ["name", "id", "short id"])
def test_one_that_is_removed_as_it_ends(place: Place, by: str) -> None:
    """The status is not lost; the timeline is shown; the container has gone."""
    container = place.run("python3", "-c", SEVEN, auto_remove=True)
    name = {"name": container.name, "id": container.id, "short id": container.short_id}[by]
    done = place.ctl("stop", "--container", str(name))
    assert done.returncode == 0, done
    assert "exit status 7; all 1 processes ended by themselves, none was SIGKILLed" in last(done)
    assert "SIGTERM reaches PID 1" in done.stdout
    assert "1  " in done.stdout
    assert "exit 7" in done.stdout
    until(lambda: place.has_gone(container), 20, "its removal")


def test_one_that_has_to_be_killed(place: Place) -> None:
    """Exit status 1: who, by whom, who held it up and why."""
    waits = place.run("sh", "-c", f'python3 -c "{GOOD}"; true', auto_remove=True)
    done = place.ctl("stop", "--container", str(waits.name), "--time", "2", "--svg", "stop.svg")
    assert done.returncode == 1, done
    assert (
        "exit status 137 (128 + SIGKILL); 2 of 2 processes were SIGKILLed: sh by the engine; python3 by the kernel"
        in last(done)
    )
    assert "held up by 1 sh (SIGTERM is dropped by the kernel: PID 1 has no handler)" in last(done)
    assert "<svg" in (place.folder / "stop.svg").read_text()


def test_one_that_was_foretold_otherwise(place: Place) -> None:
    """A handler that does nothing: what was seen counts."""
    deaf = place.run("python3", "-c", DEAF)
    assert place.ctl("explain", str(deaf.name)).returncode == 0
    done = place.ctl("stop", "--container", str(deaf.name), "--time", "1")
    assert done.returncode == 1, done
    assert "held up by 1 python3 (has a handler for SIGTERM)" in last(done)


def test_its_own_time(place: Place) -> None:
    """StopTimeout, where --time does not say otherwise."""
    name = f"{TAG}-{os.urandom(4).hex()}"
    line = [
        "docker",
        "run",
        "-d",
        "--rm",
        "--network=none",
        "--stop-timeout=1",
        "--name",
        name,
        place.image,
        "python3",
        "-c",
        DEAF,
    ]
    subprocess.run(line, check=True, capture_output=True)
    container = place.client.containers.get(name)
    place.made.append(container)
    until(lambda: b"ready" in container.logs(), 30, "ready")
    assert "grace: 1 s (its StopTimeout)" in place.ctl("explain", name).stdout
    assert "grace: 4 s (--time)" in place.ctl("explain", name, "--time", "4").stdout
    done = place.ctl("stop", "--container", name, "--json")
    assert (done.returncode, json.loads(done.stdout)["container"]["grace"]) == (1, 1), done


def test_as_json(place: Place) -> None:
    """Everything, also what was foretold."""
    container = place.run("python3", "-c", GOOD, auto_remove=True)
    foretold = place.ctl("explain", str(container.name), "--json")
    found = json.loads(foretold.stdout)
    assert (foretold.returncode, found["prediction"], found["schema"]) == (0, "end", "pyinit-explain/1")
    assert [one["label"] for one in found["processes"]] == ["1 python3"]
    done = place.ctl("stop", "--container", str(container.name), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["result"], found["status"], found["killed"]) == (0, 0, 0, [])
    assert found["foretold"]["prediction"] == "end"
    assert found["timeline"]["processes"][0]["how"] == "finished"


def test_another_signal(place: Place) -> None:
    """--signal, also for one that is removed as it ends."""
    container = place.run("python3", "-c", GOOD.replace("15", "2"), auto_remove=True)
    assert place.ctl("explain", str(container.name)).returncode == 1
    assert place.ctl("explain", str(container.name), "--signal", "INT").returncode == 0
    done = place.ctl("stop", "--container", str(container.name), "--signal", "SIGINT")
    assert (done.returncode, "SIGINT reaches PID 1" in done.stdout) == (0, True), done


def test_another_signal_that_does_not_help(place: Place) -> None:
    """The same deadline, and the same end."""
    container = place.run("python3", "-c", GOOD, auto_remove=True)
    done = place.ctl("stop", "--container", str(container.name), "--signal", "HUP", "--time", "1")
    assert (done.returncode, "python3 by the engine" in last(done)) == (1, True), done


def test_one_that_is_always_restarted(place: Place) -> None:
    """It stays stopped, as after docker stop; with another signal it would not, so that is refused."""
    container = place.run("python3", "-c", GOOD, restart_policy={"Name": "always"})
    done = place.ctl("stop", "--container", str(container.name), "--signal", "INT")
    assert (done.returncode, "docker update --restart no" in done.complaint) == (2, True), done
    assert place.ctl("stop", "--container", str(container.name)).returncode == 0
    container.reload()
    assert container.status == "exited"


def test_one_between_two_runs(place: Place) -> None:
    """There is nobody to stop: it says why, and what does help."""
    container = place.run("sh", "-c", "exit 3", ready=False, restart_policy={"Name": "always"})

    def is_between() -> bool:
        container.reload()
        state = container.attrs["State"]
        return bool(state["Restarting"]) and container.attrs["RestartCount"] >= 5  # the engine waits for seconds by now

    until(is_between, 60, "a pause between two runs")
    for words in (("stop", "--container"), ("explain",)):
        done = place.ctl(*words, str(container.name))
        assert done.returncode == 2, done
        assert "is between two runs: it ended with status 3 and is to be started again" in done.complaint


def test_a_paused_one(place: Place) -> None:
    """As docker stop does, it goes on first, and stops; what is foretold is not that it hangs."""
    container = place.run("python3", "-c", GOOD)
    container.pause()
    foretold = place.ctl("explain", str(container.name))
    assert (foretold.returncode, "it is paused" in foretold.stdout) == (0, True), foretold
    refused = place.ctl("stop", "--container", str(container.name), "--signal", "INT")
    assert (refused.returncode, "docker unpause it first" in refused.complaint) == (2, True), refused
    done = place.ctl("stop", "--container", str(container.name))
    assert done.returncode == 0, done


def test_one_that_does_not_run(place: Place) -> None:
    """Stopped already, and never started."""
    container = place.run("sh", "-c", "echo ready; exit 4")
    container.wait()
    for words in (("stop", "--container"), ("explain",)):
        done = place.ctl(*words, str(container.name))
        assert done.returncode == 2, done
        assert f"{container.name} does not run (exited): it ended with status 4 at 2" in done.complaint


def test_one_that_is_not_there(place: Place) -> None:
    """Exit status 2, and who runs."""
    container = place.run("sleep", "60", ready=False)
    for words in (("stop", "--container"), ("explain",)):
        done = place.ctl(*words, "no-such-container")
        assert done.returncode == 2, done
        assert f"pyinitctl: {words[0]}: there is no container 'no-such-container' in " in done.complaint
        assert "those that run: " in done.complaint
    container.reload()
    assert container.status == "running"


def test_an_app_s_name_is_no_container_s(place: Place) -> None:
    """Whatever is called like it, and whether a supervisor is there or not: only --container stops a container."""
    container = place.run("python3", "-c", GOOD)
    name = str(container.name)
    done = place.ctl("stop", name, PYINITCTL_SOCKET=str(place.folder / "none"))
    assert (done.returncode, done.complaint.endswith(f"A container is stopped by --container {name}")) == (3, True), (
        done
    )
    both = place.ctl("stop", name, "--container", name)
    assert (both.returncode, "leave one of them out" in both.complaint) == (2, True), both
    time = place.ctl("stop", name, "--time", "3")
    assert (time.returncode, "--time is about a container: add --container NAME" in time.complaint) == (2, True), time
    container.reload()
    assert container.status == "running"


def test_one_in_the_host_s_pid_namespace(place: Place) -> None:
    """It is stopped; who was killed nobody saw: exit status 2. explain says why it cannot."""
    container = place.run("python3", "-c", GOOD, pid_mode="host")
    foretold = place.ctl("explain", str(container.name))
    assert (foretold.returncode, "shares the PID namespace of others" in foretold.complaint) == (2, True), foretold
    done = place.ctl("stop", "--container", str(container.name))
    assert done.returncode == 2, done
    assert "exit status 0; PID 1 ended by itself; whether others were SIGKILLed is not known" in last(done)


def test_an_exec_session_does_not_count(place: Place) -> None:
    """It is killed with the container, as nobody asks it; that is no fault of the container's."""
    container = place.run("python3", "-c", GOOD)
    made = place.client.api.exec_create(container.id, ["sleep", "60"])
    place.client.api.exec_start(made["Id"], detach=True)
    until(lambda: place.client.api.exec_inspect(made["Id"])["Running"], 20, "the session")
    foretold = place.ctl("explain", str(container.name))
    assert (foretold.returncode, "is an exec session's" in foretold.stdout) == (0, True), foretold
    done = place.ctl("stop", "--container", str(container.name))
    assert (done.returncode, "exec sessions, which nobody asks to end, do not count" in done.stdout) == (0, True), done


def test_what_cannot_be_meant(place: Place) -> None:
    """One line each."""
    for words, said in (
        (("stop", "--container", "x", "--time", "-1"), "--time -1: write a number of seconds"),
        (("explain", "x", "--signal", "WHAT"), "--signal 'WHAT' is no signal; write for example TERM"),
        (("stop",), "which app (an id, a name, all), or which --container NAME?"),
    ):
        done = place.ctl(*words)
        assert (done.returncode, said in done.complaint) == (2, True), done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ended_in_the_middle(place: Place, number: signal.Signals) -> None:
    """Ctrl-C: nothing of it is left, and it says that the engine goes on."""
    container = place.run("python3", "-c", DEAF)
    with place.begin("stop", "--container", str(container.name), "--time", "60") as tool:
        until(lambda: is_asked(container), 60, "the stop signal")
        tool.send_signal(number)
        _, said = tool.communicate(timeout=60)
    assert tool.returncode == (130 if number == signal.SIGINT else 128 + number), said
    assert made_by(place.client, tool.pid) == []
    if number == signal.SIGINT:
        assert "everything it had made is removed" in said
        assert "may have been asked to stop" in said


def is_asked(container: Container) -> bool:
    """Whether its handler has run: it says so."""
    return b"asked" in container.logs()
