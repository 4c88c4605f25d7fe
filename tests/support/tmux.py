"""A real terminal: a tmux of its own, in which a command runs, keys are typed, and the screen is looked at."""

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from support import processes
from support.waiting import until


class Pane:
    """A command on a terminal of so many columns and rows."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, columns: int = 80, rows: int = 24
    ) -> None:
        self._name = f"pyinit-{uuid.uuid4().hex[:12]}"
        given = {name: text for name, text in env.items() if name not in ("TMUX", "COLUMNS", "LINES")}
        size = ("-x", str(columns), "-y", str(rows))
        self._env = given | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(cwd), *command)
        self.leader = int(self.tell("pane_pid"))
        """The command's process."""

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._name, *words]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys, by tmux's names: `Up`, `C-c`, `q`."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def lines(self, *, styled: bool = False) -> list[str]:
        """What is on the screen; with `styled` as escape sequences have it."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else [])).split("\n")[:-1]

    def tell(self, name: str) -> str:
        """What tmux knows of the terminal: `alternate_on`, `cursor_flag`."""
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def expect(self, *texts: str, timeout: float = 20) -> list[str]:
        """Wait until all of these are on the screen: its lines."""

        def seen() -> list[str]:
            lines = self.lines()
            missing = [text for text in texts if not any(text in line for line in lines)]
            assert not missing, f"missing {missing} on\n" + "\n".join(lines)
            return lines

        return until(seen, timeout, f"{texts} on the terminal")

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._name, "kill-server"], env=self._env, capture_output=True, check=False)
        until(lambda: not processes.session(self.leader), 20, "the end of everything on the terminal")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
