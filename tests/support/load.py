"""A client that asks a server of HTTP without a pause, and counts what is no whole answer: `load.js`, run wherever the server is."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "supervise" / "programs" / "load.js"


class Load:
    """The client; `result` is there once it has stopped."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.result: dict[str, Any] = {}

    def more(self, count: int) -> None:
        """Wait until it has had so many answers more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "reached\n"

    def stop(self) -> None:
        out, _ = self._process.communicate(timeout=60)
        self.result = json.loads(out)


@contextmanager
def loading(process: "subprocess.Popen[str]") -> Iterator[Load]:
    """Requests until the end of the block, by a process that runs PROGRAM with pipes."""
    with process:
        try:
            one = Load(process)
            one.more(100)
            yield one
            one.stop()
        finally:
            process.kill()
