"""The exit status is a published contract: the program's own, 128+n, 125 to 127 for what never ran, remapped by --expect last."""

import resource
import signal as signals
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.runs import NAMESPACE, Run, python, shell
from support.waiting import until

Start = Callable[..., Run]

KILLING = [n for n in range(1, 65) if n not in {17, 18, 19, 20, 21, 22, 23, 28, 32, 33}]
"""Signals whose default action ends the process (signal(7)); 32 and 33 are libc's."""


@pytest.mark.parametrize("code", range(256))
def test_every_exit_code(code: int, start: Start) -> None:
    """0 to 255, 125 to 127 included: the program's, as they are, and not a word."""
    run = start("--", "sh", "-c", f"exit {code}")
    assert (run.wait(), run.err) == (code, "")


@pytest.mark.parametrize("number", KILLING)
def test_every_signal_that_ends_the_program(number: int, start: Start) -> None:
    """128+n, real-time signals too; the core-dump bit is no part of it."""
    run = start("--", *python(f"os.kill(os.getpid(), {number}) if {number} not in (13, 25) else None; signal.signal({number}, 0); "
                              f"os.kill(os.getpid(), {number})"))  # fmt: skip
    assert run.wait() == 128 + number


@pytest.mark.parametrize("number", [n for n in KILLING if n not in {9, 6, 11, 13, 25}])
def test_every_signal_sent_to_us_that_ends_the_program(number: int, start: Start) -> None:
    """Sent to pyinit, it is forwarded, ends the program, and the status says so."""
    run = start("--", "sleep", "60").armed()
    run.send(number)
    assert run.wait() == 128 + number


def test_core_dump_bit(start: Start, tmp_path: Path) -> None:
    """A program that dumps core has bit 0x80 in its wait status; ours is still 134."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    run = start("--", *python("os.kill(os.getpid(), signal.SIGABRT)"), cwd=tmp_path, prepare=prepare)
    assert run.wait() == 128 + signals.SIGABRT


@pytest.mark.parametrize(
    ("expect", "code", "status"),
    [
        ("3", "3", 0),
        ("3", "4", 4),
        ("TERM", "143", 0),
        ("0", "0", 0),
        ("255", "255", 0),
        ("1,3", "3", 0),
        ("127", "127", 0),
        ("RTMAX", "192", 0),
    ],
)
def test_expect(expect: str, code: str, status: int, start: Start) -> None:
    """--expect makes a known status a success."""
    assert start("--expect", expect, "--", "sh", "-c", f"exit {code}").wait() == status


def test_expect_repeated_and_by_variable(start: Start) -> None:
    """As often as wanted; the variable is a list, and the command line replaces it."""
    assert start("-e", "3", "-e", "4", "--", "sh", "-c", "exit 4").wait() == 0
    env = {"PATH": "/usr/bin:/bin", "PYINIT_EXPECT": "4,TERM"}
    assert start("--", "sh", "-c", "kill $$", env=env).wait() == 0
    assert start("-e", "5", "--", "sh", "-c", "exit 4", env=env).wait() == 4


def test_expect_does_not_excuse_what_never_ran(start: Start, tmp_path: Path) -> None:
    """126 and 127 of our own are never remapped: the program was not there to say them."""
    assert start("-e", "127", "--", "no-such-program").wait() == 127
    assert start("-e", "126", "--", str(tmp_path)).wait() == 126


def test_expect_for_a_signal_and_for_a_kill(start: Start) -> None:
    """The remap is of the program's end, however it came: TERM, or 137 for one that had to be killed."""
    run = start("-e", "TERM", "--", "sleep", "60").armed().send("TERM")
    assert run.wait() == 0
    run = start("-e", "KILL", "-t", "0", "--", *python("block(); say('ready'); time.sleep(60)")).ready().send("TERM")
    assert run.wait() == 0


def test_killed_program_is_137(start: Start) -> None:
    """A program that had to be killed reports so: honest."""
    run = start("-t", "100ms", "--", *python("block(); say('ready'); time.sleep(60)")).ready().send("TERM")
    assert run.wait() == 137


def test_orphans_never_lend_their_status(start: Start, where: str) -> None:
    """Many orphans end before, with and after the program; the status stays the program's."""
    code = """
for n in range(20):
    daemon(lambda: (time.sleep(n * 0.002), os._exit(100 + n)))
time.sleep(0.02)
os._exit(7)
"""
    assert start("--", *python(code), where=where).wait() == 7


@pytest.mark.parametrize("words", [(), ("--wait", "all")], ids=["main", "all"])
def test_orphan_that_outlives_the_program_is_not_the_status(words: tuple[str, ...], start: Start, where: str) -> None:
    """The last process ends with another code, under both ways of waiting."""
    code = """
def body():
    block()
    say("ready")
    signal.sigwait({signal.SIGTERM})
    os._exit(9)
block(10)  # first: the daemon may be ready before we are
daemon(body)
signal.sigwait({10})
os._exit(4)
"""
    run = start(*words, "--", *python(code), where=where).ready()
    program = run.program
    run.send("USR1")
    if words:
        until(lambda: not processes.is_alive(program), 10, "the program's end")
        run.send("TERM")
    assert run.wait() == 4


def test_status_in_a_namespace_is_the_namespace_s(start: Start) -> None:
    """As PID 1, too."""
    for code in (0, 1, 125, 255):
        assert start("--", *shell(f"exit {code}"), where=NAMESPACE).wait() == code
