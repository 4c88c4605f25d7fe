"""What is told of apps in real containers: to an engine's health check, and of memory and CPU that the kernel has limited."""

import json
from typing import Any

import pytest

from support import engines
from support.containers import Container, Run, put
from support.waiting import until

pytestmark = pytest.mark.engines(engines.PYTHON)  # the wheel in the image has both, and `pyinitctl`

APPS = """\
[apps.web]
command = "sleep 1000"
min_uptime = "50ms"
[apps.mail]
command = ["python3", "/srv/mail.py"]
min_uptime = "50ms"
"""
IDLE = "import time\ntime.sleep(1000)\n"
GREEDY = "import os, time\nif not os.path.exists('/srv/done'):\n    open('/srv/done', 'w')\n    x = bytearray(1 << 30)\ntime.sleep(1000)\n"
BUSY = "while True:\n    pass\n"


def start(run: Run, mail: str, **options: Any) -> Container:  # noqa: ANN401 (as docker-py has them)
    """A container whose `mail` is that program."""
    container = run(["pyinitctl", "start", "/srv/apps.toml"], start=False, **options)
    put(container, {"apps.toml": APPS, "mail.py": mail})
    container.start()
    return container


def test_a_health_check(run: Run) -> None:
    """The probe of the docs: the engine says healthy when all is ready, and unhealthy when something is not."""
    second = 1_000_000_000
    check = {"test": ["CMD", "pyinitctl", "ready"], "interval": second, "retries": 1, "timeout": 20 * second}
    container = start(run, IDLE, healthcheck=check)
    if not container.exec_finds_the_root():
        pytest.skip("an exec session, and so a health check, does not see its container's files here")

    def health() -> str:
        return str(container.state["Health"]["Status"])

    until(lambda: health() == "healthy", 60, "a healthy container")
    assert container.exec("pyinitctl", "scale", "web", "2").status == 0
    assert container.exec("sh", "-c", "echo 'raise SystemExit(1)' >/srv/mail.py").status == 0
    container.exec("pyinitctl", "restart", "mail")
    until(lambda: health() == "unhealthy", 60, "an unhealthy container")
    said = container.state["Health"]["Log"][-1]["Output"]
    assert said.startswith("pyinitctl: ready: mail:0 is ")


def test_who_ran_out_of_memory(run: Run) -> None:
    """The kernel's kill is counted for the app that it hit."""
    container = start(run, GREEDY, mem_limit="100m", memswap_limit="100m")
    counted = "import json, pathlib; from pyinit.supervise import client; print(json.dumps({app['name']: app['oom_kills'] for app in "
    counted += "client.ask(client.find({}), {'do': 'describe'})['apps']}))"

    def kills() -> dict[str, int]:
        found: dict[str, int] = json.loads(container.exec("python3", "-c", counted).output)
        return found

    until(lambda: kills() == {"web": 0, "mail": 1}, 60, "the kill")
    listed = json.loads(container.exec("pyinitctl", "jlist").output)
    assert [one["last"] for one in listed] == [None, "SIGKILL, out of memory"]


def test_throttling(run: Run) -> None:
    """A tenth of a CPU for a program that wants one: its periods are counted."""
    container = start(run, BUSY, nano_cpus=100_000_000)
    spent = "from pyinit.supervise import cgroup; t = cgroup.throttling(); print(t.periods, t.throttled, t.seconds)"

    def throttled() -> bool:
        periods, held_up, seconds = container.exec("python3", "-c", spent).output.split()
        return int(periods) >= int(held_up) > 0 and float(seconds) > 0

    until(throttled, 60, "a period in which it was held up")
