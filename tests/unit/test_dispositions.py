"""The tests find signals as they are in a terminal, however they were started."""

import signal
import subprocess
import sys

import pytest

SHOW = "import subprocess; subprocess.run(['grep', '^SigIgn', '/proc/self/status'])"
HEAR = "from support.dispositions import hear_what_is_ignored; hear_what_is_ignored(); "
SURVIVE = "import os; os.kill(os.getpid(), 1); "
IGNORED = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT}


def ignored_by_a_child(code: str) -> int:
    """The mask of what a child of a Python ignores that was started as nohup and a script's `&` do it."""

    def ignore() -> None:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)

    path = [entry for entry in sys.path if entry.endswith("/tests")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path += {path}; {code}{SHOW}"],
        preexec_fn=ignore,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[1], 16)


@pytest.mark.parametrize(("code", "mask"), [("", 0b111), (HEAR + SURVIVE, 0)])
def test_what_is_ignored_is_not_passed_on(code: str, mask: int) -> None:
    """A program under test gets the default of what was ignored, and the process that starts it still outlives a hangup."""
    assert ignored_by_a_child(code) == mask
