"""What the engine's half of `pyinitctl verify` does around its requests: all that needs no engine. Real ones: tests/container."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest

from pyinit.containers import engine, procfs
from pyinit.verify.acts import ImpossibleError
from pyinit.verify.init_acts import Init, last_word

if TYPE_CHECKING:
    from collections.abc import Mapping


class Removing:
    """An engine that is removing a container already, for as long as it is asked so many times."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self.removals = 0

    def remove_container(self, identity: str, **_: bool) -> None:
        """As dockerd refuses a second removal."""
        self.removals += 1
        if self.asked:
            raise docker.errors.APIError(f"removal of container {identity} is already in progress")

    def inspect_container(self, identity: str) -> dict[str, str]:
        """What is there until it is gone."""
        if not self.asked:
            raise docker.errors.NotFound(f"No such container: {identity}")
        self.asked -= 1
        return {"Id": identity}


def test_a_removal_under_way_is_waited_for() -> None:
    """Only then are its volumes and its image free."""
    api: Any = Removing(3)
    engine.remove(api, "c")
    assert (api.asked, api.removals) == (0, 1)


def test_a_removal_that_does_not_end_is_no_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and told."""
    monkeypatch.setattr(engine, "REMOVED_WITHIN", 0.0)
    api: Any = Removing(100)
    with pytest.raises(docker.errors.APIError, match="in progress"):
        engine.remove(api, "c")
    assert api.removals == 3


# --- where it is ---


@pytest.mark.parametrize("host", ["tcp://build:2376", "ssh://build", "http://127.0.0.1:2375"])
def test_files_here_are_no_files_there(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on another machine would make folders of their names: an init that is a file is refused, and so is K8-05."""
    init = Init(("/bin/true",))
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(ImpossibleError, match=f"/bin/true is a file here, and the engine is at {host}: .*--init-image"):
        init.volumes()
    assert Init(("/bin/true",), image="image").volumes() == {}
    nobody: Any = None
    with pytest.raises(ImpossibleError, match=f"the engine is at {host}"):
        last_word(nobody)
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/podman/podman.sock")
    assert os.path.realpath("/bin/true") in init.volumes()


# --- whose session it is ---


def labels() -> Mapping[str, str]:
    """Those of a session of ours; no engine is asked."""
    return engine.Engine(docker.DockerClient(base_url="http://127.0.0.1:1", version="1.41")).labels


def dead() -> str:
    """The number of a process that has ended, and has been reaped."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    return str(ended.pid)


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_session_lives_with_its_process(has_proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """Also where /proc does not show it (other systems, hidepid); one that is not ours to signal lives, too."""
    own = labels()
    if not has_proc:

        def hidden(pid: int) -> int:
            raise FileNotFoundError(f"/proc/{pid}/stat")

        monkeypatch.setattr(procfs, "start_ticks", hidden)
    assert engine._may_live(own)
    assert not engine._may_live({**own, engine.PID_LABEL: dead()})
    assert engine._may_live({**own, engine.STARTED_LABEL: "1"}) is not has_proc
    if not has_proc:

        def foreign(pid: int, number: int) -> None:
            raise PermissionError(pid, number)

        monkeypatch.setattr(os, "kill", foreign)
        assert engine._may_live({**own, engine.PID_LABEL: "1"})


@pytest.mark.parametrize(
    ("label", "value", "may_live"),
    [
        (engine.HOST_LABEL, "another machine", True),
        (engine.NAMESPACE_LABEL, "1", True),
        (engine.BOOT_LABEL, "an earlier boot", False),
        (engine.PID_LABEL, "none", False),
    ],
)
def test_what_is_known_of_another_session(label: str, value: str, may_live: bool) -> None:  # noqa: FBT001
    """A boot ends all processes of its machine; those of other machines and namespaces cannot be asked about."""
    assert engine._may_live({**labels(), engine.PID_LABEL: dead(), label: value}) is may_live


def test_a_machine_stays_one_over_its_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has an ID; without one, an earlier boot's is another machine's, and is left alone."""
    machine, boot = tmp_path / "machine-id", tmp_path / "boot_id"
    monkeypatch.setattr(engine, "MACHINE_ID", machine)
    monkeypatch.setattr(engine, "BOOT_ID", boot)
    found = []
    for identity, each in (
        ("0123\n", "first\n"),
        ("0123\n", "second\n"),
        ("", "second\n"),
        (None, "third\n"),
        (None, None),
    ):
        for path, text in ((machine, identity), (boot, each)):
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        found.append((engine._host(), engine._boot()))
    name = socket.gethostname()
    with_id = f"0123-{name}"
    assert found == [(with_id, "first"), (with_id, "second"), ("second", "second"), ("third", "third"), (name, "")]


# --- who may not ask ---


def test_no_permission_for_the_socket() -> None:
    """Who may not use it, as a user who is in no group that may: one sentence that says on what, and what to do; exit status 2."""
    # root may, unless it has lost the capability; with that gone it is one like others, and still finds its own interpreter
    unprivileged = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as engines:
        path = Path(folder) / "docker.sock"
        engines.bind(str(path))
        engines.listen()
        path.chmod(0)
        done = subprocess.run(
            [*unprivileged, sys.executable, "-m", "pyinit.ctl", "verify", "image"],
            env={**os.environ, "DOCKER_HOST": f"unix://{path}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    said = (
        f"pyinitctl: verify: no permission for the engine's socket unix://{path}: add this user to the group that owns it "
        "(often docker), use rootless podman with DOCKER_HOST, or run this as root\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
