"""`pyinitctl` as a user types it, in a folder of its own, with a control socket of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support import processes
from support.runs import Run
from support.waiting import until

CTL = (sys.executable, "-m", "pyinit.ctl")


class Ctl:
    """A folder for a test, and commands in it; all of them have the same control socket."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        self.runtime = runtime
        self.socket = runtime / "pyinit" / "control.sock"
        self.runs: list[Run] = []
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYINIT", "LISTEN_", "NOTIFY_"))
        } | {"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(folder / "state")}

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def run(self, *words: str, **env: str) -> Run:
        """A command that goes on."""
        run = Run([*CTL, *words], cwd=self.folder, env=self.env | env)
        self.runs.append(run)
        return run

    def start(self, *words: str, **env: str) -> Run:
        """`pyinitctl start` in the foreground, with everything ready."""
        run = self.run("start", *words, **env)
        until(lambda: self.socket.exists() or run.process.poll() is not None, 20, "the control socket")
        assert run.process.poll() is None, run
        until(lambda: {one["state"] for one in self.jlist()} <= {"ready", "stopped"}, 20, "all apps")
        return run

    def __call__(self, *words: str, **env: str) -> tuple[int, str, str]:
        """A command: exit status, stdout, stderr. What the supervisor starts for it carries the mark by which `close` finds it."""
        mark = dict([run.mark.decode().split("=") for run in self.runs[:1]])
        given = self.env | mark | env
        done = subprocess.run(
            [*CTL, *words], cwd=self.folder, env=given, capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    def good(self, *words: str, **env: str) -> str:
        """A command that must succeed: its stdout."""
        status, out, err = self(*words, **env)
        assert (status, err) == (0, ""), (words, status, out, err)
        return out

    def jlist(self) -> list[dict[str, object]]:
        """The workers, without those whose place another one has taken."""
        found: list[dict[str, object]] = json.loads(self.good("jlist"))
        return [one for one in found if not one["leaving"]]

    def close(self) -> None:
        """Whatever was started is gone."""
        for run in self.runs:
            run.close()
        mine = [pid for pid in processes.parents() if _cwd(pid) == self.folder]
        assert not mine, f"left behind: {mine}"


def _cwd(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None  # gone meanwhile, or another user's
