"""Exit statuses: every code, and every signal that ends a program, as pyinit gives them and as the engine reports them."""

import json

import pytest

from support import engines
from support.containers import Run

ENDING = sorted({*range(1, 65)} - {17, 18, 19, 20, 21, 22, 23, 28, 32, 33})
"""Signals whose default is to end the process (signal(7)), without the C library's own two."""

# Each as the program of a pyinit within: all of them in one container, a few at a time.
ALL_OF_THEM = """
import concurrent.futures, json, subprocess
codes, numbers = json.loads(sys.argv[1])
words = [("exit %d" % n, n) for n in codes] + [("kill -%d $$" % n, 128 + n) for n in numbers]

def status(script):
    return subprocess.run(["pyinit", "-s", "--", "sh", "-c", "ulimit -c 0; " + script], stderr=subprocess.DEVNULL).returncode

with concurrent.futures.ThreadPoolExecutor(3) as pool:
    got = list(pool.map(status, [script for script, _ in words]))
wrong = {script: code for (script, wanted), code in zip(words, got) if code != wanted}
print(json.dumps({"tried": len(got), "wrong": wrong}))
"""


@pytest.mark.both_kernels
def test_every_code_and_every_signal(engine: str, run: Run, runtime: str) -> None:
    """All of 0..255, and 128 + n for each signal that ends a program, real-time ones included; on gVisor, where a start takes ten times
    as long, one in nine, and in Python, where it takes as long anywhere (tests/engine has all of them).
    """
    step = 1 if (engine, runtime) == (engines.NATIVE, "runc") else 9
    codes, numbers = [*range(0, 256, step)], ENDING[::step]
    container = run(["python3", "-I", "-c", f"import sys\n{ALL_OF_THEM}", json.dumps([codes, numbers])])
    assert container.wait(110) == 0
    assert json.loads(container.lines[-1]) == {"tried": len(codes) + len(numbers), "wrong": {}}


SAMPLE = {
    **{f"exit {code}": code for code in (0, 1, 42, 125, 126, 127, 128, 137, 143, 255)},
    **{f"kill -{number} $$": 128 + number for number in (6, 9, 11, 15, 64)},
    "exec /nothing": 127,
}


def test_as_the_engine_reports_them(run: Run) -> None:
    """The container's own exit status, for a sample: `docker run` and `docker inspect` say what the program said."""
    containers = {script: run(["sh", "-c", script]) for script in SAMPLE}
    assert {script: container.wait() for script, container in containers.items()} == SAMPLE
    assert [int(container.state["ExitCode"]) for container in containers.values()] == list(SAMPLE.values())


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["no-such-program"], 127, "not found in"),
        (["/etc/passwd"], 126, "chmod"),
        (["/usr"], 126, "directory"),
        (["--", "true"], 127, "cannot run --"),
    ],
    ids=["absent", "no x bit", "directory", "named like an option"],
)
def test_programs_that_cannot_be_started(command: list[str], status: int, words: str, run: Run) -> None:
    """One line for the user, the status of the contract, and no traceback."""
    container = run(command)
    assert container.wait() == status
    assert len(container.logs().splitlines()) == 1
    assert words in container.logs()


def test_usage_error(run: Run) -> None:
    """125 and one line."""
    container = run(["true"], entrypoint=("pyinit", "--grace=10x", "--"))
    assert container.wait() == 125
    assert len(container.logs().splitlines()) == 1


@pytest.mark.both_kernels
def test_expected_codes_are_a_success(run: Run) -> None:
    """`--expect TERM`: a stop that the program does not handle is no failure for the orchestrator."""
    container = run(["sh", "-c", "echo ready; exec sleep 1000"], entrypoint=("pyinit", "-e", "TERM", "--")).ready()
    container.kill("TERM")
    assert container.wait() == 0


def test_wait_all_keeps_the_program_s_status(run: Run) -> None:
    """`--wait all`: the program is over, its daemon lives on and ends otherwise; the status stays the program's."""
    script = "sh -c 'echo ready; sleep 0.2; exit 3' & exit 7"
    container = run(["sh", "-c", script], entrypoint=("pyinit", "-v", "--wait=all", "--"))
    assert container.wait() == 7
    assert "the last process was" in container.report_lines[-1]
    assert "exit 3" in container.report_lines[-1]
