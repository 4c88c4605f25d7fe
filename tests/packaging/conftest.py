"""What the levels packaging and release share: the wheels that ./tests/run built, and environments that hold one of them alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pure_wheel() -> Path:
    """The pure wheel, which runs on every machine that has Python."""
    return ROOT / os.environ["PYINIT_PURE_WHEEL"]


@pytest.fixture(scope="session")
def native_wheel() -> Path:
    """This machine's wheel."""
    return ROOT / os.environ["PYINIT_WHEEL"]


def installed(wheel: Path, place: Path) -> Path:
    """A virtual environment that holds this wheel and nothing else, installed without an index."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip: list[str | Path] = ["-m", "pip", "--python", place / "bin" / "python", "install", "--quiet", "--no-index"]
    subprocess.run([sys.executable, *pip, "--disable-pip-version-check", wheel], check=True)
    return place


@pytest.fixture(scope="session")
def bare(pure_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pure wheel and nothing else."""
    return installed(pure_wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def bare_native(native_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This machine's wheel and nothing else."""
    return installed(native_wheel, tmp_path_factory.mktemp("bare-native"))
