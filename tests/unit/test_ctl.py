"""`pyinitctl`: what is the same for all its words."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "words", [("verify", "--list-checks"), ("verify", "--schema"), ("lint", "--list-rules"), ("start", "--schema")]
)
def test_a_reader_that_has_left(words: tuple[str, ...]) -> None:
    """`| head`: nothing is said, and the status is no verdict."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "pyinit.ctl", *words], stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (141, "")
