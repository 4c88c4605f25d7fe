"""`pyinitctl start` in real containers: as an image's command, with as little as a container may have; and PM2's own file."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support import engines
from support.containers import Container, Run, put
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
