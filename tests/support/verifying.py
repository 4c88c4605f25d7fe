"""`pyinitctl verify` as a user types it, and what it has made in the engine."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker

CTL = (sys.executable, "-m", "pyinit.ctl", "verify")

GOOD = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('ready', flush=True)\nwhile True: signal.pause()"
DEAF = GOOD.replace("sys.exit(0)", "0")


@dataclass(frozen=True)
class Done:
    """How it ended, and what it said."""

    pid: int
    returncode: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line of stderr that is no progress."""
        [line] = [line for line in self.stderr.splitlines() if not line[:1].isdigit()]
        return line


Ctl = Callable[..., Done]


def environment(**more: str) -> dict[str, str]:
    """Of the tool: docker-compose is found where these tests have it."""
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    return {**os.environ, "NO_COLOR": "1", "PATH": path, **more}


def begin(folder: Path, words: Sequence[str], more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts it. Tests that run in the background of a shell have SIGINT ignored, and so would it."""
    command = ["/usr/bin/env", "--default-signal=INT", *CTL, *words]
    return subprocess.Popen(command, cwd=folder, env=environment(**(more or {})), stdout=-1, stderr=-1, text=True)


def made_by(client: docker.DockerClient, pid: int) -> list[str]:
    """What the tool with this PID has made and not removed."""
    only: dict[str, str | list[str] | bool] = {"label": f"pyinit.pid={pid}"}
    return [
        *(f"container {row['Names']} {row['Id']}" for row in client.api.containers(all=True, filters=only)),
        *(f"image {row['Id']}" for row in client.api.images(filters=only)),
        *(f"network {row['Name']}" for row in client.api.networks(filters=only)),
        *(f"volume {row['Name']}" for row in client.api.volumes(filters=only).get("Volumes") or []),
    ]
