"""What `pyinitctl startup systemd` writes, run by a real systemd: PID 1 of a container that has its own cgroups.

It has one capability more than any container (SYS_ADMIN: mounts), so that this runs where --privileged is refused. What systemd would
do to the machine itself (sysctl, mounts, devices) is taken out of the image before it starts.
"""

import json
from typing import Any

import pytest

from support import engines
from support.containers import Container, Run, inner_pid, put
from support.waiting import until

pytestmark = [pytest.mark.engines(engines.PYTHON), pytest.mark.timeout(300)]

BOOT = """\
if [ -d /sys/fs/cgroup/systemd ]; then mine=/sys/fs/cgroup/systemd; else mine=/sys/fs/cgroup; fi # version 1 or 2
mount -o remount,bind,rw $mine
rm -f /lib/systemd/system/sysinit.target.wants/* /lib/systemd/system/local-fs.target.wants/* \\
    /lib/systemd/system/multi-user.target.wants/* /lib/systemd/system/sockets.target.wants/*udev*
ln -sf /dev/null /etc/systemd/system/getty.target
ln -sf /dev/null /etc/systemd/system/console-getty.service
exec /lib/systemd/systemd --log-target=console --show-status=no
"""

WORKER = """\
import os, signal, socket, sys, time
name, pause = sys.argv[1], float(sys.argv[2])
def say(word):
    with open("/srv/said", "a") as file:
        file.write(f"{name} {word}\\n")
def stop(*_):
    say("asked")
    time.sleep(pause)
    say("ends")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
while not os.path.exists("/srv/go"):
    time.sleep(0.02)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"READY=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
say("ready")
while True:
    signal.pause()
"""

APPS = """\
[apps.db]
command = ["python3", "/srv/worker.py", "db", "0"]
ready = "notify"
[apps.web]
command = ["python3", "/srv/worker.py", "web", "1"]
ready = "notify"
drain = 0
after = ["db"]
"""


@pytest.fixture
def machine(run: Run, systemd_image: str) -> Container:
    """A container that systemd runs, with apps in /srv that are not started yet. They are ready once there is a file /srv/go."""
    container = run(
        ["-c", BOOT],
        entrypoint=("bash",),
        image=systemd_image,
        cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="private",
        tmpfs={"/run": "mode=755", "/run/lock": ""},
        environment={"container": "docker"},
        start=False,
    )
    put(container, {"worker.py": WORKER, "apps.toml": APPS, "go": ""})
    container.start()
    return booted(container)


def booted(container: Container) -> Container:
    until(lambda: container.exec("systemctl", "is-active", "multi-user.target").output == "active\n", 60, "systemd")
    return container


def done(container: Container, *command: str) -> str:
    """What a command says that must succeed."""
    ran = container.exec(*command)
    assert ran.status == 0, (command, ran, container.exec("journalctl", "--no-pager", "-u", "pyinit").output)
    return ran.output


def show(container: Container, *names: str) -> dict[str, str]:
    """Properties of the unit."""
    text = done(container, "systemctl", "show", "pyinit", *[f"-p{name}" for name in names])
    return dict(line.split("=", 1) for line in text.splitlines())


def workers(container: Container) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done(container, "pyinitctl", "jlist"))
    return found


def there(container: Container) -> set[int]:
    """The workers' processes, whoever's they are, by their PIDs inside."""
    return {inner_pid(p.pid) for p in container.processes() if "/srv/worker.py" in p.cmdline()}


def said(container: Container) -> list[str]:
    """What the workers have written down, in its order."""
    return done(container, "cat", "/srv/said").splitlines()


def install(container: Container) -> None:
    text = done(container, "pyinitctl", "startup", "systemd", "--file", "/srv/apps.toml")
    assert text.startswith("written: /etc/systemd/system/pyinit.service\nenabled: ")


def test_a_day_in_its_life(machine: Container) -> None:
    """Start waits for the apps, the reload is waited for, the stop is in order and nobody is left; it comes back with the machine."""
    install(machine)
    done(machine, "rm", "/srv/go")
    done(machine, "systemctl", "start", "--no-block", "pyinit")
    until(lambda: "db:0 is starting" in show(machine, "StatusText")["StatusText"], 60, "a status")
    assert show(machine, "ActiveState")["ActiveState"] == "activating"
    done(machine, "touch", "/srv/go")
    done(machine, "systemctl", "start", "pyinit")
    assert show(machine, "ActiveState", "StatusText", "NotifyAccess") == {
        "ActiveState": "active",
        "StatusText": "2 of 2 instances ready",
        "NotifyAccess": "all",
    }
    assert said(machine) == ["db ready", "web ready"]
    main = show(machine, "MainPID")["MainPID"]
    assert done(machine, "cat", f"/proc/{main}/comm") == "pyinit\n"

    before = {one["pid"] for one in workers(machine)}
    assert there(machine) == before
    done(machine, "systemctl", "reload", "pyinit")
    assert not before & {one["pid"] for one in workers(machine)}
    assert show(machine, "ActiveState", "MainPID") == {"ActiveState": "active", "MainPID": main}

    done(machine, "rm", "/srv/said")
    done(machine, "systemctl", "stop", "pyinit")
    assert show(machine, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert said(machine) == ["web asked", "web ends", "db asked", "db ends"]
    assert there(machine) == set()

    machine.raw.restart(timeout=30)
    booted(machine)
    until(lambda: show(machine, "ActiveState")["ActiveState"] == "active", 60, "the apps after a boot")
    assert [one["state"] for one in workers(machine)] == ["ready"] * 2
    assert done(machine, "pyinitctl", "unstartup") == "removed: /etc/systemd/system/pyinit.service\n"
    assert [one["state"] for one in workers(machine)] == ["ready"] * 2


def test_why_the_kill_mode_is_mixed(machine: Container) -> None:
    """By systemd's own default everybody is asked at once: the detector of the test above sees it."""
    install(machine)
    done(machine, "systemctl", "start", "pyinit")
    done(machine, "mkdir", "-p", "/etc/systemd/system/pyinit.service.d")
    done(
        machine, "sh", "-c", "printf '[Service]\nKillMode=control-group\n' >/etc/systemd/system/pyinit.service.d/x.conf"
    )
    done(machine, "systemctl", "daemon-reload")
    done(machine, "rm", "/srv/said")
    done(machine, "systemctl", "stop", "pyinit")
    assert said(machine)[:2] != ["web asked", "web ends"]


def test_who_notifies_is_not_the_main_process(machine: Container) -> None:
    """With `NotifyAccess=main` nobody would be heard: the start would never end."""
    install(machine)
    unit = "/etc/systemd/system/pyinit.service"
    done(machine, "sed", "-i", "s/NotifyAccess=all/NotifyAccess=main/; s/^TimeoutStartSec=.*/TimeoutStartSec=5/", unit)
    done(machine, "systemctl", "daemon-reload")
    assert machine.exec("systemctl", "start", "pyinit").status != 0
    assert show(machine, "Result")["Result"] == "timeout"


def test_a_supervisor_that_dies(machine: Container) -> None:
    """It is started again, and with it the apps; what it left has gone before."""
    install(machine)
    done(machine, "systemctl", "start", "pyinit")
    before = {one["pid"] for one in workers(machine)}
    main = show(machine, "MainPID")["MainPID"]
    done(machine, "sh", "-c", f"kill -KILL $(cat /proc/{main}/task/{main}/children)")
    until(
        lambda: show(machine, "NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}, 60, "another"
    )
    after = {one["pid"] for one in workers(machine)}
    assert not before & after
    assert there(machine) == after


def test_what_was_saved(machine: Container) -> None:
    """Secrets come from the unit's own environment, not from the file; a failed reload fails."""
    done(machine, "sh", "-c", "cd /srv && API_TOKEN=hunter2hunter2 pyinitctl start --detach apps.toml")
    assert "left out, to be set for resurrect: API_TOKEN" in done(machine, "pyinitctl", "save")
    assert done(machine, "stat", "-c", "%a", "/var/lib/pyinit/saved.json") == "600\n"
    assert "hunter2" not in done(machine, "cat", "/var/lib/pyinit/saved.json")
    done(machine, "pyinitctl", "kill")
    done(machine, "pyinitctl", "startup")
    done(machine, "mkdir", "-p", "/etc/systemd/system/pyinit.service.d")
    done(machine, "sh", "-c", "echo API_TOKEN=from-a-file >/srv/secrets; chmod 600 /srv/secrets")
    drop_in = "[Service]\\nEnvironmentFile=/srv/secrets\\n"
    done(machine, "sh", "-c", f"printf '{drop_in}' >/etc/systemd/system/pyinit.service.d/secrets.conf")
    done(machine, "systemctl", "daemon-reload")
    done(machine, "systemctl", "start", "pyinit")
    pid = workers(machine)[0]["pid"]
    assert "API_TOKEN=from-a-file" in done(machine, "sh", "-c", f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
    done(machine, "sh", "-c", "echo 'import sys; sys.exit(1)' >/srv/worker.py")
    assert machine.exec("systemctl", "reload", "pyinit").status != 0
    assert [one["state"] for one in workers(machine)] == ["ready"] * 2
