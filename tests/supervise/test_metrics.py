"""`pyinitctl metrics` and `ready`: what Prometheus scrapes, and what a probe is told."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.ctl import Ctl
from support.runs import Run
from support.waiting import until

WORKER = """\
import os, signal, sys, time
signal.signal(signal.SIGUSR2, lambda *_: None)
if os.path.exists(sys.argv[1]):
    sys.exit(3)
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def apps(ctl: Ctl) -> Ctl:
    """`web` twice, which ends at once where there is a file `broken`; `mail`, which starts again when it is killed."""
    ctl.write("worker.py", WORKER)
    ctl.write(
        "apps.toml",
        f"""\
        [apps.web]
        command = ['{sys.executable}', 'worker.py', 'broken']
        instances = 2
        min_uptime = "200ms"
        drain = 0
        [apps.mail]
        command = ['sleep', '1000']
        min_uptime = "50ms"
        """,
    )
    ctl.start()
    return ctl


def samples(text: str) -> dict[str, float]:
    """By name and labels, `pyinit_app_reloads_total{app=web,result=done}`; only what the format allows, and nothing twice."""
    found: dict[str, float] = {}
    for family in families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, key
            found[key] = sample.value
    return found


def families(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


def test_once(apps: Ctl) -> None:
    """What there is after a reload, one that fails, a signal, and an end."""
    (mail,) = [int(str(one["pid"])) for one in apps.jlist() if one["name"] == "mail"]
    os.kill(mail, signal.SIGKILL)
    until(lambda: [one["restarts"] for one in apps.jlist() if one["state"] == "ready"] == [0, 0, 1], 20, "mail again")
    apps.good("reload", "web")
    apps.write("broken", "")
    assert apps("reload", "web")[0] == 1
    apps.good("sendSignal", "USR2", "web")
    found = samples(apps.good("metrics"))
    expected = {
        "pyinit_up": 1,
        "pyinit_app_instances{app=web}": 2,
        "pyinit_app_reloads_total{app=web,result=done}": 1,
        "pyinit_app_reloads_total{app=web,result=failed}": 1,
        "pyinit_app_reloads_total{app=mail,result=done}": 0,
        "pyinit_app_signals_total{app=web,signal=SIGTERM}": 2,
        "pyinit_app_signals_total{app=web,signal=SIGUSR2}": 2,
        "pyinit_app_oom_kills_total{app=web}": 0,
        "pyinit_instance_restarts_total{app=web,instance=1}": 0,
        "pyinit_instance_restarts_total{app=mail,instance=0}": 1,
        "pyinit_instance_state{app=web,instance=0,state=ready}": 1,
        "pyinit_instance_state{app=web,instance=0,state=stopped}": 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert 1 << 20 < found["pyinit_instance_memory_bytes{app=web,instance=0}"] < 1 << 30
    assert found["pyinit_instance_uptime_seconds{app=web,instance=0}"] > 0
    assert found["pyinit_instance_cpu_seconds_total{app=web,instance=0}"] >= 0


def test_what_is_stopped_uses_nothing(apps: Ctl) -> None:
    """And is in one state."""
    apps.good("stop", "mail")
    found = samples(apps.good("metrics"))
    of_mail = {key: value for key, value in found.items() if "app=mail,instance=0" in key and value}
    assert of_mail == {"pyinit_instance_state{app=mail,instance=0,state=stopped}": 1}
    assert "pyinit_instance_memory_bytes{app=mail,instance=0}" not in found


def test_names_are_as_prometheus_has_them(apps: Ctl) -> None:
    """https://prometheus.io/docs/practices/naming/: a prefix, base units, `_total` for what only grows, each with its help."""
    text = apps.good("metrics")
    assert text.endswith("\n")
    for family in families(text):
        names = {sample.name for sample in family.samples}
        assert all(re.fullmatch("pyinit(_[a-z]+)+", name) for name in names), names
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(name.endswith("_total") for name in names), names
        else:
            assert not any(name.endswith("_total") for name in names), names
        assert not any(unit in name for name in names for unit in ("_ms", "milli", "_kb", "percent")), names


def test_nobody_there(ctl: Ctl) -> None:
    """Once: as other words. A scrape is answered all the same, and says so."""
    assert ctl("metrics")[0] == 3
    with scraped(ctl) as url:
        assert samples(get(url)[1]) == {"pyinit_up": 0}


class scraped:  # noqa: N801 - it reads as a word
    """`pyinitctl metrics --listen`, or another word that serves: its address."""

    def __init__(self, ctl: Ctl, *words: str) -> None:
        self.run: Run = ctl.run(*(words or ("metrics", "--listen", "127.0.0.1:0")))

    def __enter__(self) -> str:
        until(lambda: "http" in self.run.out, 20, "its address")
        return self.run.out.split()[-1]

    def __exit__(self, *_: object) -> None:
        os.kill(self.run.process.pid, signal.SIGINT)
        assert self.run.process.wait(20) == 0


def get(url: str) -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_scraped(apps: Ctl) -> None:
    """Each scrape is new; the supervisor may go and another one come."""
    with scraped(apps) as url:
        assert samples(get(url)[1])["pyinit_app_instances{app=web}"] == 2
        apps.good("scale", "web", "3")
        assert samples(get(url)[1])["pyinit_app_instances{app=web}"] == 3
        apps.good("kill")
        assert samples(get(url)[1]) == {"pyinit_up": 0}


def test_while_a_reload_goes_on(apps: Ctl) -> None:
    """Of old and new one is told, whenever it is asked: `samples` fails for what is there twice."""
    with scraped(apps) as url:
        reload = apps.run("reload", "web")
        counts = set()
        while reload.process.poll() is None:
            found = samples(get(url)[1])
            counts.add(sum(key.startswith("pyinit_instance_state{app=web") and "ready" in key for key in found))
        assert counts == {2}


def test_the_port_is_taken(apps: Ctl) -> None:
    """One line."""
    with scraped(apps) as url:
        place = url.removeprefix("http://").partition("/")[0]
        for word, option in (("metrics", "--listen"), ("ready", "--http")):
            status, _, err = apps(word, option, place)
            assert (status, err) == (1, f"pyinitctl: {word}: cannot listen on {place}: Address already in use\n")
    assert apps("metrics", "--listen", "here")[2] == (
        "pyinitctl: 'here' is no address; write HOST:PORT, such as 127.0.0.1:8080\n"
    )


# --- ready ---


def test_ready(apps: Ctl) -> None:
    """Silent when all is well. What somebody has stopped is not waited for, unless it is named."""
    assert apps("ready") == (0, "", "")
    assert apps("ready", "web", "mail") == (0, "", "")
    apps.good("stop", "mail")
    assert apps("ready") == (0, "", "")
    assert apps("ready", "mail") == (1, "", "pyinitctl: ready: mail:0 is stopped (SIGTERM)\n")
    apps.good("stop", "web")
    assert apps("ready") == (1, "", "pyinitctl: ready: nothing is running\n")
    assert apps("ready", "nobody")[0] == 1


def test_not_ready(ctl: Ctl) -> None:
    """Who, and why; an app that has done its work is no reason."""
    ctl.write(
        "apps.toml",
        f"""\
        [apps.slow]
        command = ['{sys.executable}', '-c', 'import time; time.sleep(1000)']
        ready = {{ log = "never" }}
        ready_timeout = "100s"
        [apps.later]
        command = ['sleep', '1000']
        after = ["slow"]
        [apps.migrate]
        command = ['true']
        restart = "never"
        [apps.broken]
        command = ['false']
        restart = "never"
        """,
    )
    ctl.run("start")
    until(lambda: "broken:0 is exited" in ctl("ready")[2], 20, "the end of broken")
    assert ctl("ready") == (
        1,
        "",
        "pyinitctl: ready: slow:0 is starting, later:0 is waiting (waits for slow), broken:0 is exited (exit 1)\n",
    )
    assert ctl("ready", "migrate") == (0, "", "")


def test_a_reload_is_ready_and_a_shutdown_is_not(apps: Ctl) -> None:
    """In a reload somebody serves all the time; in a shutdown nobody is to be sent there any more."""
    reload = apps.run("reload", "web")
    while reload.process.poll() is None:
        assert apps("ready") == (0, "", "")
    apps.good(
        "start",
        "--name",
        "deaf",
        "--interpreter",
        "none",
        "--kill-timeout",
        "60000",
        "--min-uptime",
        "100",
        "sh",
        "--",
        "-c",
        "trap : TERM INT; while :; do sleep 1; done",
    )
    os.kill(apps.runs[0].process.pid, signal.SIGTERM)
    until(lambda: apps("ready")[2] == "pyinitctl: ready: the supervisor is stopping: it was asked to\n", 20, "a no")


def test_no_supervisor(ctl: Ctl) -> None:
    """As other words say it."""
    status, out, err = ctl("ready")
    assert (status, out) == (3, "")
    assert err.startswith("pyinitctl: there is no supervisor at ")


def test_over_http(apps: Ctl) -> None:
    """200, then 503 and who."""
    with scraped(apps, "ready", "web", "--http", "127.0.0.1:0") as url:
        assert get(url) == (200, "ready\n")
        apps.good("stop", "mail")
        assert get(url + "any/path") == (200, "ready\n")
        apps.good("stop", "1")
        assert get(url) == (503, "web:1 is stopped (SIGTERM)\n")
        apps.good("kill")
        status, text = get(url)
        assert status == 503
        assert text.startswith("there is no supervisor at ")


def loaded(*words: str) -> set[str]:
    """The modules that a word of pyinitctl loads. It ends with its error, which is another matter."""
    code = "import sys\nfrom pyinit.ctl.__main__ import main\nmain(sys.argv[1:])\nprint(*sys.modules)"
    command = [sys.executable, "-c", code, *words, "--socket", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_ready_loads_little() -> None:
    """A probe runs every few seconds: it loads neither the other words nor what they need, which takes several times as long."""
    heavy = {"asyncio", "pyinit.ctl.start", "pyinit.ctl.verify", "pyinit.supervise.apps", "http.server", "dataclasses"}
    assert not loaded("ready") & (heavy | {"rich", "psutil", "prometheus_client"})
    assert loaded("list") >= {"pyinit.ctl.start", "dataclasses"}


def test_rich_and_psutil_are_for_the_terminal() -> None:
    """Where a word prints plainly, neither is loaded. (The supervisor runs without site-packages: it could load none.)"""
    assert not loaded("list") & {"rich", "psutil", "prometheus_client"}
