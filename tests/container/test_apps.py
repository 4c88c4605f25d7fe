"""`pyinitctl start` in real containers: as an image's command, with as little as a container may have; PM2's own file; and
applications of PyPI and npm that nobody has changed, each started, scaled, reloaded under load, crashed and stopped.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from support import engines
from support.containers import Container, Executed, Run, put
from support.load import loading
from support.waiting import until

pytestmark = pytest.mark.engines(engines.PYTHON)  # the wheel in the image has both, and `pyinitctl`

PM2 = Path(__file__).resolve().parents[2] / "docker" / "programs" / "pm2"
APPS = """\
[apps.web]
command = "sleep 1000"
instances = "max"
min_uptime = "50ms"
[apps.job]
command = ["python3", "-c", "import os, signal, sys; signal.signal(signal.SIGUSR1, lambda *_: os._exit(7)); print('up'); signal.pause()"]
essential = true
restart = "never"
min_uptime = "50ms"
"""


def workers(container: Container) -> list[dict[str, Any]]:
    """What `docker exec ... pyinitctl jlist` says."""
    done = container.exec("pyinitctl", "jlist")
    assert done.status == 0, done
    found: list[dict[str, Any]] = json.loads(done.output)
    return found


def all_ready(container: Container, count: int) -> None:
    """Wait for so many instances."""
    until(lambda: [one["state"] for one in workers(container)] == ["ready"] * count, 60, f"{count} ready instances")


@pytest.mark.parametrize("entrypoint", [(), ("pyinit", "--")], ids=["alone", "under pyinit"])
def test_with_as_little_as_a_container_may_have(entrypoint: tuple[str, ...], run: Run) -> None:
    """A read-only root, any UID, no capabilities, one CPU; with pyinit in front or not, PID 1 is pyinit."""
    container = run(
        ["sh", "-c", 'printf %s "$APPS" >/tmp/apps.toml && exec pyinitctl start /tmp/apps.toml'],
        entrypoint=entrypoint,
        environment={"APPS": APPS},
        read_only=True,
        user="12345",
        cap_drop=["ALL"],
        tmpfs={"/tmp": "mode=1777"},
        nano_cpus=1_000_000_000,
    )
    all_ready(container, 2)  # "max" is one: the limit counts, not the host's cores
    assert container.exec("cat", "/proc/1/comm").output == "pyinit\n"
    assert container.exec("stat", "-c", "%a %u", "/tmp/pyinit-12345/control.sock").output == "600 12345\n"
    container.exec(
        "pyinitctl", "sendSignal", "USR1", "job", detach=True
    )  # it ends with PID 1, with or without its answer
    assert container.wait() == 7  # the essential app's own


def test_nowhere_to_write(run: Run) -> None:
    """One line that says what was tried, and what to name instead."""
    container = run(["pyinitctl", "start", "sleep", "--", "1000"], user="12345", read_only=True)
    assert container.wait() == 1
    (line,) = [line for line in container.logs().splitlines() if line.startswith("pyinitctl: start: ")]
    assert re.search(
        r"tried /run/pyinit \(Read-only file system\), .*; name one with --socket PATH or PYINITCTL_SOCKET$", line
    )


@pytest.mark.timeout(900)  # where ./tests/run has not made the image before
def test_pm2_s_own_file(run: Run, pm2_image: str) -> None:
    """The ecosystem file of docker/programs, unchanged: two workers on one port, each told once by INT, and the status is honest."""
    container = run(
        ["pyinitctl", "start", "/srv/ecosystem.config.js"], image=pm2_image, start=False, tmpfs={"/run": "mode=1777"}
    )
    put(container, {file.name: file.read_text(encoding="utf-8") for file in PM2.iterdir()})
    container.start()
    all_ready(container, 2)
    fetch = "fetch('http://127.0.0.1:8080/').then(one => one.text()).then(console.log)"
    assert container.exec("node", "-e", fetch).output.split() == ["begun", "end"]
    reloaded = container.exec("pyinitctl", "reload", "web")
    assert reloaded.status == 0, reloaded
    assert container.stop() < 8
    assert container.wait() == 0
    converted = run(["pyinitctl", "convert", "/srv/ecosystem.config.js"], image=pm2_image, start=False)
    put(converted, {"ecosystem.config.js": (PM2 / "ecosystem.config.js").read_text(encoding="utf-8"), "app.js": ""})
    converted.start()
    assert converted.wait() == 0
    assert '[apps.web]\ncommand = ["node", "/srv/app.js"]\ninstances = 2\nnode = true\n' in converted.logs()


# --- limits ---


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU here")
def test_limit_of_cpus_that_is_changed(run: Run) -> None:
    """`docker update`, then a reload: as many instances as the new quota is worth."""
    keys = "instances = 'max'\nmin_uptime = '50ms'\n"
    container = run(
        ["sh", "-c", 'printf %s "$APPS" >/tmp/apps.toml && exec pyinitctl start /tmp/apps.toml'],
        environment={"APPS": f"[apps.web]\ncommand = 'sleep 1000'\n{keys}"},
        cpu_period=100_000,
        cpu_quota=100_000,
    )
    all_ready(container, 1)
    container.raw.update(cpu_quota=200_000)
    do(container, "reload", "web")
    all_ready(container, 2)
    container.raw.update(cpu_quota=50_000)
    do(container, "reload", "web")
    all_ready(container, 1)


GREEDY = """\
[apps.greedy]
command = ["python3", "-c", "held = []\\nwhile True: held.append(bytearray(1 << 20))"]
restart = "never"
[apps.other]
command = "sleep 1000"
min_uptime = "50ms"
"""


def test_out_of_memory_is_named(run: Run) -> None:
    """By the kernel, at the container's own limit: in `list`, in a line, and not for somebody whom a user kills."""
    container = run(
        ["sh", "-c", 'printf %s "$APPS" >/tmp/apps.toml && exec pyinitctl start /tmp/apps.toml'],
        environment={"APPS": GREEDY},
        mem_limit="128m",
        memswap_limit="128m",
    )
    container.wait_log("pyinit: greedy:0 ended: SIGKILL, out of memory", 60)
    greedy, other = workers(container)
    assert (greedy["state"], greedy["last"], greedy["code"]) == ("exited", "SIGKILL, out of memory", 137)
    assert re.search(r" exited .* SIGKILL, out of memory$", do(container, "list").output, re.MULTILINE)
    do(container, "sendSignal", "KILL", "other")
    until(lambda: workers(container)[1]["restarts"] == 1, 30, "its restart")
    assert (other["last"], workers(container)[1]["last"]) == (None, "SIGKILL")


# --- applications of PyPI and npm ---

PATIENT = ("pyinit", "--grace", "80s", "--")
"""These servers take seconds to stop where the machine has something else to do."""
CONNECTIONS = 8
WEB = {
    "express.config.js": 0,
    "fastify.config.js": 0,
    "gunicorn-sync.toml": 0,
    "gunicorn-gthread.toml": 0,
    "uvicorn.toml": 3 * CONNECTIONS,
}
"""Each file of docker/programs/apps, and how many connections its server may close in a reload of three instances without having said so:
uvicorn closes those on which nothing is asked at its stop signal, and a client may just have begun.
"""
CLOSED = ('ended after ""', "ECONNRESET", "EPIPE")
"""How a client notices that. A refused connection, or half an answer, is another matter."""


def do(container: Container, *words: str) -> Executed:
    """A command of `pyinitctl` that succeeds."""
    done = container.exec("pyinitctl", *words)
    assert done.status == 0, done
    return done


def pids(container: Container, name: str = "web") -> set[int]:
    """The instances of an app that are ready."""
    return {one["pid"] for one in workers(container) if one["name"] == name and one["state"] == "ready"}


@pytest.mark.timeout(900)  # where the image has not been made before
@pytest.mark.parametrize("file", WEB)
def test_web_application(file: str, run: Run, apps_image: str) -> None:
    """Two instances on one port, three, all of them replaced under load, one that is killed, and all of them stopped."""
    container = run(["pyinitctl", "start", file], image=apps_image, entrypoint=PATIENT)
    all_ready(container, 2)
    do(container, "scale", "web", "3")
    all_ready(container, 3)
    for way in ("keep", "close"):
        with loading(container.begin("node", "/srv/load.js", "8080", way, str(CONNECTIONS))) as load:
            before = pids(container)
            do(container, "reload", "web")
            load.more(200)
        assert len(pids(container) | before) == 6
        assert len(load.result["by"]) > 1
        assert len(load.result["failures"]) <= WEB[file], load.result["failures"]
        assert set(load.result["failures"]) <= set(CLOSED)
    do(container, "sendSignal", "KILL", str(workers(container)[0]["id"]))
    until(lambda: [one["restarts"] for one in workers(container)] == [1, 0, 0], 30, "its restart")
    all_ready(container, 3)
    with loading(container.begin("node", "/srv/load.js", "8080", "close", str(CONNECTIONS))) as load:
        load.more(200)
    assert load.result["failures"] == []
    container.stop(90)
    assert container.wait() == 0  # 137 if anybody had to be killed


@pytest.mark.timeout(900)
def test_celery(run: Run, apps_image: str) -> None:
    """A worker and its broker: each task is done once, whatever becomes of the workers; and the broker is stopped last."""
    container = run(["pyinitctl", "start", "celery.toml"], image=apps_image, entrypoint=PATIENT)
    all_ready(container, 2)
    asked = 0

    def ask(count: int) -> None:
        nonlocal asked
        assert container.exec("python3", "jobs.py", str(asked), str(count)).status == 0
        asked += count

    def is_done() -> bool:
        done = sorted(map(int, container.exec("python3", "jobs.py").output.split()))
        assert len(done) == len(set(done)), "a task was done twice"
        return done == list(range(asked))

    ask(20)
    until(is_done, 60, "the first tasks")
    do(container, "scale", "worker", "2")
    all_ready(container, 3)
    before = pids(container, "worker")
    ask(300)
    do(container, "reload", "worker")
    ask(20)
    until(is_done, 60, "the tasks of both generations")
    assert not before & pids(container, "worker")
    do(container, "sendSignal", "KILL", str(workers(container)[1]["id"]))
    until(lambda: [one["restarts"] for one in workers(container)] == [0, 1, 0], 30, "its restart")
    all_ready(container, 3)
    ask(20)
    until(is_done, 60, "the last tasks")
    container.stop(90)
    assert container.wait() == 0
    ends = [
        line
        for line in container.logs().splitlines()
        if "Redis is now ready to exit" in line or "Warm shutdown" in line
    ]
    assert "Redis is now ready to exit" in ends[-1]
