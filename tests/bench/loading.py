"""The load generator as the bench runs it: a process of its own, told when to end, asked how far it is."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.common import BrokenError

PROGRAM = Path(__file__).with_name("load.py")


@dataclass(frozen=True)
class Account:
    """What became of the requests. `failures` by kind, see load.FAILURES."""

    answers: int
    failures: dict[str, int]
    connections: int
    closing: int
    """Answers that said that they are their connection's last."""

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def requests(self) -> int:
        return self.answers + self.failed


class Loading:
    """Requests to a port until the end of the `with`; then there is the `account`."""

    def __init__(self, port: int, connections: int = 20, patience: float = 10) -> None:
        self.account = Account(0, {}, 0, 0)
        self.requests = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), str(port), str(connections), str(patience)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        out, _nothing = self._process.communicate()
        if kind is None:
            try:
                self.account = Account(**json.loads(out.splitlines()[-1]))
            except (ValueError, IndexError, TypeError):
                raise BrokenError(
                    f"the load generator ended with {self._process.returncode} and left no account"
                ) from None

    def reach(self, requests: int, timeout: float) -> bool:
        """Wait until so many requests have been answered or have failed; False when the time was over before."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        while self.requests < requests:
            line = self._process.stdout.readline()  # one comes twenty times a second
            if not line:
                raise BrokenError(f"the load generator has ended with {self._process.wait()}")
            self.requests = sum(map(int, line.split()))
            if time.monotonic() > deadline:
                return False
        return True
