"""`save`, `resurrect`, `startup` and `unstartup` as a user types them."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support import processes
from support.ctl import Ctl
from support.runs import Run
from support.waiting import until

SECRET = "hunter2-hunter2"  # noqa: S105 - the point


@pytest.fixture
def apps(ctl: Ctl) -> Ctl:
    """`web` twice, with a secret of its own and one that it inherits; `mail`."""
    ctl.write(
        "apps.toml",
        f"""\
        [apps.web]
        command = ['sleep', '1000']
        instances = 2
        min_uptime = "50ms"
        environment = {{ COLOUR = "red", APP_SECRET = "{SECRET}" }}
        [apps.mail]
        command = ['sleep', '1000']
        min_uptime = "50ms"
        after = ["web"]
        """,
    )
    ctl.start(API_TOKEN=SECRET)
    return ctl


def environment_of(ctl: Ctl, name: str) -> dict[str, str]:
    """Of an app's first instance, as its process has it."""
    pid = next(one["pid"] for one in ctl.jlist() if one["name"] == name)
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def states(ctl: Ctl) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for one in ctl.jlist():
        found.setdefault(str(one["name"]), []).append(one["state"])
    return found


def test_there_and_back(apps: Ctl) -> None:
    """Scaled and stopped as they were; secrets from the environment, not from the file, which is for its owner alone."""
    apps.good("scale", "web", "3")
    apps.good("stop", "mail")
    out = apps.good("save")
    file = apps.folder / "state/pyinit/saved.json"
    first, web, mail = out.splitlines()
    assert first == f"2 apps saved in {file}"
    assert web.startswith("web: left out, to be set for resurrect: ")
    assert set(re.findall("[A-Z_]+", web)) - set(os.environ) == {"API_TOKEN", "APP_SECRET"}
    assert set(re.findall("[A-Z_]+", mail)) - set(os.environ) == {"API_TOKEN"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in file.read_text(encoding="utf-8")
    assert [one.name for one in file.parent.iterdir()] == ["saved.json"]
    apps.good("kill")
    run = apps.run("resurrect", API_TOKEN="another one")  # noqa: S106 - none
    until(lambda: states(apps) == {"web": ["ready"] * 3, "mail": ["stopped"]}, 20, "what was saved")
    assert processes.status(run.process.pid)["Name"] == "pyinit"
    assert run.err.startswith(
        "pyinitctl: warning: web starts without APP_SECRET: left out of what was saved, and not set here\n"
    )
    found = environment_of(apps, "web")
    assert (found["COLOUR"], found["API_TOKEN"]) == ("red", "another one")
    assert "APP_SECRET" not in found
    apps.good("start", "mail")
    assert states(apps)["mail"] == ["ready"]
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.process.wait(20) == 0


def test_with_secrets(apps: Ctl) -> None:
    """Then nothing is needed."""
    apps.good("save", "--with-secrets", "--file", "mine.json")
    apps.good("kill")
    apps.run("resurrect", "--file", "mine.json")
    until(lambda: states(apps) == {"web": ["ready"] * 2, "mail": ["ready"]}, 20, "what was saved")
    assert environment_of(apps, "web")["APP_SECRET"] == SECRET
    apps.good("kill")  # before the first run's mark, which these have from the file, is looked for


def test_where_a_supervisor_is(apps: Ctl) -> None:
    """Those that it has stay as they are; the others start."""
    apps.good("save")
    before = [one["pid"] for one in apps.jlist() if one["name"] == "web"]
    apps.good("delete", "mail")
    status, out, err = apps("resurrect", API_TOKEN=SECRET, APP_SECRET=SECRET)
    assert (status, err) == (0, "")
    assert out == "web is here already\nmail:0 is ready\n"
    assert [one["pid"] for one in apps.jlist() if one["name"] == "web"] == before
    assert environment_of(apps, "mail")["API_TOKEN"] == SECRET


def test_detached(apps: Ctl) -> None:
    """Returns when they are ready, and says at once what is missing."""
    apps.good("save")
    apps.good("kill")
    status, out, err = apps("resurrect", "--detach")
    assert status == 0, (out, err)
    assert err.count("warning") == 2
    assert "started; output in" in out
    assert states(apps) == {"web": ["ready"] * 2, "mail": ["ready"]}
    apps.good("kill")


def test_secrets_elsewhere_are_said(ctl: Ctl) -> None:
    """In a command they are the user's own writing."""
    ctl.write("apps.toml", f"[apps.a]\ncommand = ['sh', '-c', 'sleep 1000; {SECRET}']\nmin_uptime = '50ms'\n")
    ctl.start(API_TOKEN=SECRET)
    status, _, err = ctl("save")
    assert (status, err) == (
        0,
        "pyinitctl: warning: a: command holds what the variable API_TOKEN does, and is in the file\n",
    )


def test_nothing_to_save(apps: Ctl) -> None:
    """What was saved stays; a folder that cannot be made is said."""
    apps.write("file", "")
    status, _, err = apps("save", "--file", "file/saved.json")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"pyinitctl: save: {apps.folder}/file/saved.json cannot be written: ")
    apps.good("save")
    apps.good("delete", "all")
    status, _, err = apps("save")
    assert (status, err) == (1, "pyinitctl: save: no app is here; what was saved before stays as it is\n")
    assert len(json.loads((apps.folder / "state/pyinit/saved.json").read_text())["apps"]) == 2
    apps.good("kill")
    assert apps("save")[0] == 3


def test_startup_and_unstartup(apps: Ctl) -> None:
    """A user's unit: written, and enabled by systemctl, which here only says what it was asked; removed again, by its mark alone."""
    tools = apps.folder / "tools"
    tools.mkdir()
    asked = apps.folder / "asked"
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{asked}\n', encoding="utf-8")
    (tools / "systemctl").chmod(0o755)
    env = {"XDG_CONFIG_HOME": str(apps.folder), "PATH": f"{tools}:{os.environ['PATH']}"}
    assert apps("startup", "systemd", "--user", **env)[2].startswith("pyinitctl: resurrect: nothing was saved")
    apps.good("save")
    out = apps.good("startup", "systemd", "--user", **env)
    unit = apps.folder / "systemd/user/pyinit.service"
    assert out.splitlines() == [
        f"written: {unit}",
        "enabled: it starts at boot; to start it now: systemctl --user start pyinit",
        "a user's units start at boot only with: loginctl enable-linger",
    ]
    text = unit.read_text(encoding="utf-8")
    assert f" resurrect --file {apps.folder}/state/pyinit/saved.json\n" in text
    assert apps.good("startup", "--user", "--print", **env) == text
    apps.good("startup", "systemd", "--user", "--file", "apps.toml", **env)
    assert f" start {apps.folder}/apps.toml\n" in unit.read_text(encoding="utf-8")
    assert apps.good("unstartup", "systemd", "--user", **env) == f"removed: {unit}\n"
    assert not unit.exists()
    assert asked.read_text().splitlines() == [
        *["--user daemon-reload", "--user enable pyinit.service"] * 2,
        "--user disable pyinit.service",
        "--user daemon-reload",
    ]
    unit.write_text("[Service]\n", encoding="utf-8")
    for word in ("startup", "unstartup"):
        status, _, err = apps(word, "--user", **env)
        assert status == 1
        assert "not by pyinitctl" in err
    assert apps("startup", "--user", "--name", "../x", **env)[0] == 2


def test_without_systemctl(apps: Ctl) -> None:
    """The unit is written all the same: an image is built so."""
    apps.good("save")
    env = {"XDG_CONFIG_HOME": str(apps.folder), "PATH": str(apps.folder)}
    status, out, err = apps("startup", "--user", "--name", "mine", **env)
    assert (status, err.count("warning: systemctl --user ")) == (0, 1)
    assert out.startswith(f"written: {apps.folder}/systemd/user/mine.service\n")


def test_the_command_of_a_unit(apps: Ctl) -> None:
    """What stands in ExecStart and ExecReload, run as systemd would."""
    apps.good("save", "--with-secrets")
    text = apps.good("startup", "--user", "--print")
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    (reload,) = [line for line in text.splitlines() if line.startswith("ExecReload=")]
    apps.good("kill")
    words = line.removeprefix("ExecStart=").split()
    run = Run(words, env=apps.env, cwd=apps.folder)
    apps.runs.append(run)
    until(lambda: states(apps) == {"web": ["ready"] * 2, "mail": ["ready"]}, 20, "what was saved")
    words = reload.removeprefix("ExecReload=").split()
    subprocess.run(words, env=apps.env, cwd=apps.folder, check=True, capture_output=True, timeout=60)
    apps.good("kill")
