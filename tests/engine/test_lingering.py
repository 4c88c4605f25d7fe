"""What signals do once the program has ended or while it is stopped, and the order of asking when others outlive a shutdown."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.runs import Run, python
from support.waiting import until

Start = Callable[..., Run]

DEAF = "daemon(lambda: (block(), say('daemon', os.getpid()), time.sleep(60)))\n"
"""A daemon that hears nothing but SIGKILL."""
RECORDS = "daemon(lambda: (block(), say('daemon', os.getpid()), record(2, 'daemon heard ')))\n"
"""A daemon that says which signals it has, and ends with INT."""


def alone(run: Run) -> Run:
    """Wait until the program is reaped and the daemon is the only child."""
    run.wait_out("daemon")
    until(lambda: len(processes.children(run.pid)) == 1, 10, "the daemon alone")
    return run


def test_first_stop_signal_while_lingering_hurries(start: Start, where: str) -> None:
    """The program has ended by itself and --linger is long: from a stop signal on, the plan's length is the limit."""
    run = alone(start("--linger", "60s", "-t", "300ms", "--", *python(DEAF + "sys.exit(5)"), where=where))
    began = time.monotonic()
    assert run.send("TERM").wait() == 5
    assert 0.3 <= time.monotonic() - began < 10
    assert "killed 1 after" in run.err


def test_repeated_stop_signal_while_lingering_goes_to_the_tree(start: Start, where: str) -> None:
    """The first was the program's end, the second is passed on as it came; in between, others are dropped."""
    code = RECORDS + "block(); say('ready'); record(15); sys.exit(5)"
    run = start("--linger", "60s", "-t", "60s", "--", *python(code), where=where)
    run.wait_out("daemon")
    alone(run.ready().send("TERM"))
    run.wait_out("daemon heard 15")
    assert run.send("HUP", "INT").wait() == 5
    assert [line for line in run.lines if "heard" in line] == ["daemon heard 15", "daemon heard 18", "daemon heard 2"]
    assert run.err == ""


def test_wait_all_asks_the_others_when_the_program_has_ended(start: Start) -> None:
    """A stop signal goes to the program, and to the daemon when that has ended; a repeated one is the plan's signal again."""
    code = """
daemon(lambda: (block(), say('daemon'), record(15, 'daemon heard '), record(15, 'daemon heard ')))
block(); say('ready'); record(15); sys.exit(5)
"""
    run = start("--wait", "all", "-t", "60s", "--", *python(code))
    run.wait_out("daemon")
    run.ready().send("TERM")
    run.wait_out("daemon heard 15")
    assert run.send("INT").wait() == 5
    assert run.lines.count("daemon heard 15") == 2
    assert run.err == ""


def test_program_that_ends_while_draining_leaves_a_daemon_the_plan_s_time(start: Start) -> None:
    """Nothing is left to drain for: the others have what the plan would have given, not the longer --linger."""
    code = DEAF + "block(); say('ready'); record(10); sys.exit(4)"
    run = start("--drain", "60s", "--linger", "60s", "-t", "1s", "--", *python(code))
    run.wait_out("daemon")
    began = time.monotonic()
    assert run.ready().send("TERM", "USR1").wait() == 4
    assert 1 <= time.monotonic() - began < 20


def test_program_stopped_during_a_shutdown_is_continued(start: Start, where: str) -> None:
    """It stops itself while it cleans up: it is not to sleep through its grace."""
    code = """
def clean_up(*_):
    os.kill(os.getpid(), signal.SIGTSTP)
    say("cleaned up")
    sys.exit(3)
signal.signal(signal.SIGTERM, clean_up)
say("ready")
while True:
    time.sleep(60)
"""
    run = start("-t", "60s", "--", *python(code), where=where).ready().send("TERM")
    assert run.wait() == 3
    assert "cleaned up" in run.lines


def test_without_subreaper_it_says_who_is_out_of_reach(start: Start) -> None:
    """Once, when asked for more words."""
    run = start("-v", "--no-subreaper", "--", "true")
    assert run.wait() == 0
    assert run.err.count("out of reach") == 1


@pytest.mark.usefixtures("as_root")
def test_file_of_somebody_else(start: Start) -> None:
    """Executable, but not for this user: 126, and which user that is."""
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, where no other user may go
        Path(folder).chmod(0o755)
        program = Path(folder) / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        run = start("--", str(program), wrapper=("setpriv", "--reuid=4242", "--clear-groups", "--"))
        assert run.wait() == 126
    assert "this user (UID 4242) may not execute it" in run.err


def test_interpreter_after_blanks(start: Start, tmp_path: Path) -> None:
    """As the kernel reads the line: the interpreter begins after them."""
    script = tmp_path / "script"
    script.write_text("#! \t/no/such/interpreter -x\n")
    script.chmod(0o755)
    run = start("--", str(script))
    assert run.wait() == 127
    assert "its interpreter /no/such/interpreter is not in this image" in run.err
