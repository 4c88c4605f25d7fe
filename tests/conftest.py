"""For every level: the tests see the installed wheel, never the source tree."""

import sysconfig
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Refuse to start when `import pyinit` finds anything but the wheel: everything proven would be about something else."""
    import pyinit  # noqa: PLC0415 (the import is the test)

    found = Path(pyinit.__path__[0]).resolve()
    installed = Path(sysconfig.get_path("purelib")).resolve()
    if installed not in found.parents:
        raise pytest.UsageError(
            f"the tests would run against {found}, not against the wheel in {installed}: "
            "use ./tests/run, or run .venv/bin/pytest (not `python -m pytest`) after it"
        )
