"""The two engines, and where the tests find them.

PYINIT_NATIVE: the native executable, a static ELF file. PYINIT_LAUNCHER: the pure wheel's script `pyinit`; without it, the one
beside the interpreter that runs the tests. Whoever needs one that is not there fails, and says what to set.
"""

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PYTHON, NATIVE = "python", "native"
NAMES = (PYTHON, NATIVE)
"""Both engines; the first is the reference."""

LAUNCHER, MODULE, SECOND, EXECUTABLE = "launcher", "module", "second", "executable"
WAYS: Mapping[str, str] = {LAUNCHER: PYTHON, MODULE: PYTHON, SECOND: PYTHON, EXECUTABLE: NATIVE}
"""Every way in, and the engine behind it. The native engine has no other way than its executable."""


@dataclass(frozen=True)
class Engine:
    """An init under test: its name and how to start it. Options and the program come after the words."""

    name: str
    command: tuple[str, ...]
    """The fastest way in: what the tests use that are not about the way in."""

    @property
    def is_native(self) -> bool:
        """Whether no interpreter is involved."""
        return self.name == NATIVE


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether it is a file that begins so."""
    return path.is_file() and path.read_bytes().startswith(magic)


def native_executable() -> Path:
    """The file that PYINIT_NATIVE names."""
    named = os.environ.get("PYINIT_NATIVE")
    if not named:
        pytest.fail(
            "no native engine to test: PYINIT_NATIVE must name its executable, as ./tests/run sets it", pytrace=False
        )
    path = Path(named)
    if not begins_with(path, b"\x7fELF") or not os.access(path, os.X_OK):
        pytest.fail(f"no native engine to test: PYINIT_NATIVE={path} is no executable ELF file", pytrace=False)
    return path.resolve()


def launcher() -> Path:
    """The Python script `pyinit` of the pure wheel."""
    path = Path(os.environ.get("PYINIT_LAUNCHER") or Path(sysconfig.get_path("scripts")) / "pyinit")
    if not begins_with(path, b"#!"):
        pytest.fail(f"{path} is not the pure wheel's launcher: PYINIT_LAUNCHER must name that script", pytrace=False)
    return path


def python_main() -> Path:
    """What the Python engine's second start executes, as the wheel installed it."""
    return Path(sysconfig.get_path("purelib")) / "pyinit" / "init" / "__main__.py"


def command(way: str, native: Path) -> tuple[str, ...]:
    """The words of one way in; `native` is where the executable of that engine is."""
    if way == LAUNCHER:
        return (str(launcher()),)
    if way == MODULE:
        return (sys.executable, "-I", "-m", "pyinit")
    if way == SECOND:
        return (sys.executable, "-I", "-S", "-B", "-X", "utf8", str(python_main()))
    return (str(native),)
