"""`docker run -it`: job control, keys and sizes are the program's, as if nothing were in between."""

import re

from support.terminal import OpenTerminal
from support.waiting import NeverCameError, until

PROMPT = "prompt> "
BASH = ["bash", "--norc", "--noprofile", "-i"]
JOB = "import os, signal; signal.signal(2, signal.SIG_DFL); os.write(1, b'up\\n'); signal.pause()"
"""No shell: dash, when INT comes between its fork and the child's exec, goes on as if nothing had been."""
PROMPTED = ("--env", f"PS1={PROMPT}", "--env", "TERM=dumb")


def test_bash_has_job_control(terminal: OpenTerminal) -> None:
    """No "cannot set terminal process group", no "no job control in this shell", and the shell has the foreground."""
    opened = terminal(BASH, options=PROMPTED)
    before = opened.expect(PROMPT)
    assert "job control" not in before
    assert "terminal process group" not in before
    opened.send("echo flags $-; exit 3\r")
    assert "m" in re.findall(r"flags (\w+)\r", opened.expect("exit\r"))[-1]
    assert opened.wait() == 3


def test_ctrl_c_reaches_the_foreground_alone(terminal: OpenTerminal) -> None:
    """It ends the shell's job, not the shell: 130."""
    opened = terminal(BASH, options=PROMPTED)
    opened.expect(PROMPT)
    opened.send(f'python3 -I -c "{JOB}"\r')
    opened.expect("up\r\n")
    opened.send("\x03")
    opened.expect(PROMPT)
    opened.send("echo status $?\r")
    opened.expect("status 130")
    opened.send("exit 4\r")
    assert opened.wait() == 4


def test_ctrl_c_ends_a_program_once(terminal: OpenTerminal) -> None:
    """The terminal sends INT to the foreground group; pyinit is not in it, so that nothing arrives twice."""
    opened = terminal(["python3", "/probes/signals.py", "--marker", "QUIT"])
    opened.expect("ready\r\nready")
    opened.send("\x03")
    opened.expect("main INT 1")
    opened.send("\x1c")  # Ctrl-\\ is QUIT, the marker
    opened.expect("main end")
    assert opened.wait() == 0
    assert "INT 2" not in opened.output


def test_ctrl_c_ends_a_plain_program(terminal: OpenTerminal) -> None:
    """130 at the shell in front of `docker run`."""
    opened = terminal(["python3", "-I", "-c", JOB])
    opened.expect("up")
    opened.send("\x03")
    assert opened.wait() == 130


def test_ctrl_z_and_fg(terminal: OpenTerminal) -> None:
    """A job is stopped, the shell goes on, and fg brings the job back to the terminal."""
    opened = terminal(BASH, options=PROMPTED)
    opened.expect(PROMPT)
    opened.send("sh -c 'echo up; read line; echo got $line'\r")
    opened.expect("up\r\n")
    opened.send("\x1a")
    opened.expect("Stopped")
    opened.expect(PROMPT)
    opened.send("fg\r")
    opened.expect("read line; echo got $line'\r\n")
    opened.send("hello\r")
    opened.expect("got hello")
    opened.expect(PROMPT)
    opened.send("exit 5\r")
    assert opened.wait() == 5


def test_ctrl_z_without_a_shell(terminal: OpenTerminal) -> None:
    """Nobody could type fg, so a program that the terminal stops is continued at once (under tini it is stopped for good)."""
    opened = terminal(["sh", "-c", "echo up; read line; echo got $line; exit 6"])
    opened.expect("up")
    opened.send("\x1a")
    opened.send("hello\r")
    opened.expect("got hello")
    assert opened.wait() == 6


def test_resize(terminal: OpenTerminal) -> None:
    """A new size reaches the program as WINCH, and it can read it."""
    code = "trap 'stty size' WINCH; stty size; echo up; until read -t 0.05 line; do :; done"
    opened = terminal(["bash", "-c", code])
    opened.expect("up")

    def is_seen() -> bool:
        opened.resize(33, 100)  # the client may not listen yet, and hears only of a change
        opened.resize(33, 101)
        try:
            opened.expect("33 101", 1)
        except NeverCameError:
            return False
        return True

    until(is_seen, 15, "the new size")
    opened.send("q\r")
    assert opened.wait() == 0


def test_python_repl(terminal: OpenTerminal) -> None:
    """An interactive program reads and writes as it should, and Ctrl-D ends it."""
    opened = terminal(["python3", "-I", "-q"])
    opened.expect(">>> ")
    opened.send("6 * 7\r")
    opened.expect("42")
    opened.expect(">>> ")
    opened.send("import time; print('sle' + 'eps'); time.sleep(1000)\r")
    opened.expect("sleeps")
    opened.send("\x03")
    opened.expect("KeyboardInterrupt")
    opened.expect(">>> ")
    opened.send("6 * 9\r")  # had the interrupted statement been the last, Python would end by INT as well
    opened.expect("54")
    opened.expect(">>> ")
    opened.send("\x04")
    assert opened.wait() == 0


def test_docker_stop_of_a_terminal(terminal: OpenTerminal) -> None:
    """`kill 1` from inside is the same as docker stop: an interactive bash ignores TERM and is killed after the grace, which is said."""
    opened = terminal(BASH, entrypoint=("pyinit", "-t", "400ms", "--"), options=PROMPTED)
    opened.expect(PROMPT)
    opened.send("kill 1\r")
    opened.expect("killed 1 after 0.4 s")
    opened.expect("bash (ignores SIGTERM)")
    assert opened.wait() == 137


def test_terminal_without_stdin(terminal: OpenTerminal) -> None:
    """Here stdin is a file, the terminal is there all the same: nothing is taken, nothing fails."""
    words = "pyinit -- sh -c 'echo up; cat; exit 7' </dev/null"
    opened = terminal(["-c", words], entrypoint=("sh",))
    opened.expect("up")
    assert opened.wait() == 7


def test_tostop(terminal: OpenTerminal) -> None:
    """`stty tostop` stops background writers: pyinit, which is one when it reports, is not stopped by it."""
    opened = terminal(
        ["sh", "-c", "stty tostop; echo up; read line; kill -HUP 1; read line; exit 8"],
        entrypoint=("pyinit", "-vv", "--"),
    )
    opened.expect("up")
    opened.send("\r")
    opened.expect("SIGHUP sent")
    assert opened.wait() == 128 + 1
    assert "sh ended: SIGHUP" in opened.output


def test_init_in_front(terminal: OpenTerminal) -> None:
    """`docker run --init -it`: tini has given pyinit the foreground, and pyinit hands it on."""
    opened = terminal(BASH, options=(*PROMPTED, "--init"))
    before = opened.expect(PROMPT)
    assert "job control" not in before
    opened.send(f'python3 -I -c "{JOB}"\r')
    opened.expect("up\r\n")
    opened.send("\x03")
    opened.expect(PROMPT)
    opened.send("exit 9\r")
    assert opened.wait() == 9
