"""The 32-bit executable where the calls with 64-bit times are refused: Linux before 5.1, and engines' seccomp profiles of that time."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import processes, refuse
from support.runs import Run, shell
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TIMES = {"clock_gettime64": 403, "rt_sigtimedwait_time64": 421}
"""The same numbers on every 32-bit machine; a 64-bit one has no such calls."""

pytestmark = [
    pytest.mark.timeout(600),  # zig compiles a machine's libc when it first sees it
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="i686 executables run on x86_64"),
    pytest.mark.skipif(os.environ.get("PYINIT_COMPILER", "zig") != "zig", reason="only zig compiles for i686 here"),
]


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The native engine for i686, which a 64-bit kernel runs if it was made to."""
    path = tmp_path_factory.mktemp("i686") / "pyinit"
    build = (sys.executable, "-m", "pyinit.native.build", "--target", "i686", "--output", path)
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    try:
        subprocess.run([path, "--version"], check=True, capture_output=True)
    except OSError as error:
        pytest.skip(f"this kernel runs no i686 executables: {error}")
    return path


@pytest.fixture
def start(executable: Path) -> Iterator[Callable[..., Run]]:
    """Start it where these calls fail with an error."""
    runs: list[Run] = []

    def start(error: int, *words: str) -> Run:
        numbers = ",".join(map(str, TIMES.values()))
        wrapper = (sys.executable, "-I", "-S", refuse.__file__, str(error), numbers)
        runs.append(Run([str(executable), *words], wrapper=wrapper))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_deadlines_are_kept(start: Callable[..., Run], error: int) -> None:
    """It sleeps, hears, waits as long as was said, and kills; and its clock runs."""
    run = start(
        error, "-v", "-t", "400ms", "--", *shell("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    ).ready()
    until(lambda: processes.state(run.pid) == "S", 10, "its sleep")
    assert run.send("TERM").wait() == 137
    found = run.wait_err(r"stopped in 0\.([0-9]) s after SIGTERM")
    assert int(found[1]) >= 4


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_signals_are_forwarded(start: Callable[..., Run], error: int) -> None:
    """Without any deadline too."""
    run = start(
        error, "-t", "infinity", "--", *shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done")
    ).ready()
    assert run.send("TERM").wait() == 7
