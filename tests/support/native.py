"""The native executable under test."""

import os
from pathlib import Path

import pytest

VARIABLE = "PYINIT_NATIVE"
"""Names it; ./tests/run sets it."""


def executable() -> Path:
    """The native executable; a test without it fails in one sentence."""
    named = os.environ.get(VARIABLE, "")
    if not Path(named).is_file():
        pytest.fail(f"{VARIABLE} must name the native executable, and names {named or 'nothing'}", pytrace=False)
    return Path(named)
