"""On a real terminal, with a real shell above: the four faults of tini that must not be ours, and job control as a user knows it."""

import os
import shlex
import shutil
import signal as signals
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import processes
from support.engines import Engine
from support.runs import PID_NAMESPACE, python
from support.terminal import Terminal
from support.waiting import NeverCameError, until

Open = Callable[..., Terminal]

PROMPT = "prompt> "
IMPATIENT = 2.0
"""How long, in seconds, to wait for what a broken init never brings."""
CTRL_C, CTRL_D, CTRL_Z = "\x03", "\x04", "\x1a"
BASH = ("bash", "--norc", "--noprofile", "--noediting", "-i")
PAGER = """\
import os, sys, termios, tty
modes = termios.tcgetattr(2)
tty.setcbreak(2)
sys.stdin.read()
print("pager", "waits", flush=True)
os.read(2, 1)
termios.tcsetattr(2, termios.TCSANOW, modes)
"""


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    """A program on a terminal, which is closed with the test; whoever is left in its session is killed."""
    terminals: list[Terminal] = []

    def start(*command: str) -> Terminal:
        terminals.append(Terminal(command, columns=400))
        return terminals[-1]

    yield start
    for terminal in terminals:
        for pid in processes.session(terminal.process.pid):
            try:
                os.kill(pid, signals.SIGKILL)
            except ProcessLookupError:
                continue
        terminal.close()


class Shell:
    """An interactive bash on a terminal; `init` on its PATH is the init under test."""

    def __init__(self, terminal: Terminal, settings: str = "") -> None:
        self.terminal = terminal
        self.line(f"PS1='{PROMPT[:3]}''{PROMPT[3:]}'; {settings}")  # what is typed must not look like the prompt
        self.prompt()

    def line(self, text: str) -> None:
        """Type a line."""
        self.terminal.send(text + "\r")

    def prompt(self) -> str:
        """Wait for the next prompt, and return what was printed before it."""
        return self.terminal.expect(PROMPT)

    def type(self, text: str) -> str:
        """Type a line and return what it printed."""
        self.line(text)
        return self.prompt().partition("\r\n")[2].strip()

    @property
    def pid(self) -> int:
        """The shell's own."""
        below = [self.terminal.process.pid, *processes.descendants(self.terminal.process.pid)]
        return next(pid for pid in below if processes.command(pid) == shlex.join(BASH))

    def job(self, command: str) -> int:
        """The process below the shell with this command line."""
        return until(
            lambda: [p for p in processes.descendants(self.pid) if processes.command(p) == command], 10, command
        )[0]

    def has_foreground(self, pid: int) -> bool:
        """Whether the process runs (or sleeps) in the terminal's foreground group."""
        fields = processes.stat(pid)
        return fields[0] in "RS" and fields[2] == fields[5]

    def foreground_job(self, command: str) -> int:
        """The same as `job`, once it has the foreground."""
        pid = self.job(command)
        until(lambda: self.has_foreground(pid), 10, f"{command} in the foreground")
        return pid


OpenShell = Callable[..., Shell]


@pytest.fixture
def any_shell(open_terminal: Open, tmp_path: Path) -> OpenShell:
    """An interactive shell with the words of `init`. `pager` is there too: it reads the terminal, as less does."""

    def start(*init: str) -> Shell:
        words = shlex.join(init)
        for name, content in (
            ("init", f'#!/bin/sh\nexec {words} "$@"\n'),
            ("pager", f"#!{sys.executable} -I\n{PAGER}"),
        ):
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(0o755)
        return Shell(open_terminal(*BASH), f"PATH={tmp_path}:$PATH; folder={tmp_path}")

    return start


@pytest.fixture
def shell(any_shell: OpenShell, engine: Engine) -> OpenShell:
    """The same with pyinit as `init`, unless a test says with which words."""
    return lambda *init: any_shell(*(init or (*engine.command, "--")))


@pytest.fixture
def tini() -> tuple[str, ...]:
    """The negative control, where it is installed."""
    found = shutil.which("tini")
    if found is None:
        pytest.skip("tini is not installed: nothing to show that the test catches its fault")
    return (found, "-s", "--")


# --- the four faults ---


def read_after(shell: Shell, patience: float = 10) -> None:
    """A script reads from the terminal after its `init -- true`."""
    shell.line('bash -c \'init true; echo "now" read; IFS= read -r line; echo "got <$line> $?"\'')
    shell.terminal.expect("now read")
    shell.line("hello")
    shell.terminal.expect("got <hello> 0", patience)


def test_shell_can_read_after_us(shell: OpenShell) -> None:
    """We give the terminal back before we leave."""
    read_after(shell())


def test_shell_cannot_read_after_tini(any_shell: OpenShell, tini: tuple[str, ...]) -> None:
    """Negative control."""
    with pytest.raises(NeverCameError):
        read_after(any_shell(*tini), IMPATIENT)


def background(shell: Shell) -> None:
    """`init -- sleep &` leaves the foreground to the shell, which can go on reading."""
    shell.type("init sleep 98 &")
    job = shell.job("sleep 98")
    assert shell.has_foreground(shell.pid)
    assert shell.type("echo a''live") == "alive"
    until(lambda: processes.state(job) == "S", 10, "its sleep")  # not T: nothing has stopped it


def test_background_job_does_not_take_the_foreground(shell: OpenShell) -> None:
    """Taken only when our group has it."""
    background(shell())


def test_background_job_of_tini_takes_the_foreground(any_shell: OpenShell, tini: tuple[str, ...]) -> None:
    """Negative control."""
    with pytest.raises((AssertionError, NeverCameError)):
        background(any_shell(*tini))


def pipeline(shell: Shell, patience: float = 10) -> None:
    """The other half of the pipeline can read the terminal and set its modes."""
    shell.line("init seq 500 | pager; echo en''d")
    shell.terminal.expect("pager waits", patience)
    shell.terminal.send("q")
    shell.terminal.expect("end", 10)


def test_pipeline_is_not_stopped(shell: OpenShell) -> None:
    """`init -- x | less`: the pager lives in our group, from which the foreground must not go."""
    pipeline(shell())


def test_a_script_that_leads_the_session_can_read_afterwards(open_terminal: Open, engine: Engine) -> None:
    """`docker run -it image sh -c 'pyinit -- true; read line'`: the terminal is given back though no shell is above."""
    words = shlex.join([*engine.command, "--", "true"])
    terminal = open_terminal("sh", "-c", f"{words}; echo rea''dy; read line; echo got=$line")
    terminal.expect("ready")
    terminal.send("hello\r")
    terminal.expect("got=hello")


def test_ctrl_z_where_stdin_is_a_pipe(shell: OpenShell) -> None:
    """`sleep 30 | pyinit -- cat`, Ctrl-Z: the whole job stops and the shell is back."""
    one = shell()
    one.line("sleep 30 | init sh -c 'echo run''ning; cat'")
    one.terminal.expect("running")
    one.terminal.send("\x1a")
    one.terminal.expect("Stopped")


def test_real_pager(shell: OpenShell) -> None:
    """The same with less itself."""
    if shutil.which("less") is None:
        pytest.skip("less is not installed")
    one = shell()
    one.line("init seq 500 | less; echo en''d")
    one.terminal.expect("22")
    one.terminal.send("G")
    one.terminal.expect("500")
    one.terminal.send("q")
    one.terminal.expect("end", 10)


def test_pipeline_of_tini_is_stopped(any_shell: OpenShell, tini: tuple[str, ...]) -> None:
    """Negative control."""
    one = any_shell(*tini)
    with pytest.raises(NeverCameError):
        pipeline(one, IMPATIENT)


def stop_and_continue(shell: Shell, times: int = 1, patience: float = 10) -> None:
    """Ctrl-Z stops the job and the shell has its prompt back; fg brings it back; Ctrl-C ends it."""
    shell.line("init sleep 97")
    job = shell.foreground_job("sleep 97")
    for _ in range(times):
        shell.terminal.send(CTRL_Z)
        shell.terminal.expect("Stopped", patience)
        shell.prompt()
        assert processes.state(job) == "T"
        shell.line("fg")
        shell.foreground_job("sleep 97")
    shell.terminal.send(CTRL_C)
    shell.prompt()
    assert shell.type("echo status $?") == "status 130"


def test_ctrl_z_and_fg(shell: OpenShell) -> None:
    """Job control as for any program."""
    stop_and_continue(shell())


def test_ctrl_z_under_tini_takes_the_terminal_away(any_shell: OpenShell, tini: tuple[str, ...]) -> None:
    """Negative control."""
    one = any_shell(*tini)
    with pytest.raises((AssertionError, NeverCameError)):
        stop_and_continue(one, patience=IMPATIENT)


# --- job control beyond them ---


def test_ctrl_z_again_and_again(shell: OpenShell) -> None:
    """Stopped, continued, stopped, continued: each time as the first."""
    stop_and_continue(shell(), 3)


def test_ctrl_z_and_bg(shell: OpenShell) -> None:
    """With bg it continues it in the background; the shell keeps the foreground."""
    one = shell()
    one.line("init sleep 97")
    job = one.foreground_job("sleep 97")
    one.terminal.send(CTRL_Z)
    one.terminal.expect("Stopped", 10)
    one.prompt()
    one.type("bg")
    until(lambda: processes.state(job) == "S", 5, "the job's continuation")
    assert one.type("echo a''live").endswith("alive")
    assert one.has_foreground(one.pid)
    # fg of a running job: the shell tells nobody; what is typed reaches the program all the same
    one.line("fg")
    until(lambda: not one.has_foreground(one.pid), 10, "the shell giving the foreground away")
    one.terminal.send(CTRL_Z)
    one.terminal.expect("Stopped", 10)
    one.prompt()
    assert processes.state(job) == "T"
    one.line("fg")
    one.foreground_job("sleep 97")
    one.terminal.send(CTRL_C)
    one.prompt()


def test_background_job_that_reads_is_stopped_as_any_other(shell: OpenShell) -> None:
    """It wants the terminal: stopped, the shell says so, and fg gives it."""
    one = shell()
    one.type("init cat &")
    job = one.job("cat")
    until(lambda: processes.state(job) == "T", 10, "TTIN's stop")
    assert "Stopped" in until(lambda: (text := one.type("")) and text, 10, "the shell's word")
    one.line("fg")
    one.foreground_job("cat")
    one.line("hello")
    one.terminal.expect("hello\r\nhello\r\n", 10)
    one.terminal.send(CTRL_D)
    one.prompt()


RECORDER = "block(); say('ready', os.getpid()); record(64)"


def heard_once(shell: Shell, act: Callable[[], None], wanted: str) -> None:
    """After `act` the program hears `wanted` once, before a marker that comes through pyinit."""
    shell.line("init")
    shell.terminal.expect("ready ")
    program = int(shell.terminal.expect("\r\n"))
    act()
    shell.terminal.expect(f"{wanted}\r\n", 10)
    os.kill(int(processes.stat(program)[1]), signals.SIGUSR1)
    assert wanted not in shell.terminal.expect("10\r\n", 10)
    os.kill(program, 64)
    shell.prompt()


def test_ctrl_c_reaches_the_program_once(shell: OpenShell, engine: Engine) -> None:
    """From the terminal's driver, not a second time from us."""
    one = shell(*engine.command, "--", *python(RECORDER))
    heard_once(one, lambda: one.terminal.send(CTRL_C), "2")


def test_resize_reaches_the_program_once(shell: OpenShell, engine: Engine) -> None:
    """WINCH comes from the driver to the foreground group, which is the program's alone."""
    one = shell(*engine.command, "--", *python(RECORDER))
    heard_once(one, lambda: one.terminal.resize(50, 132), "28")


def test_stop_with_term_while_in_the_foreground(shell: OpenShell) -> None:
    """TERM to pyinit from elsewhere: the program ends, the shell has its terminal back and the status."""
    one = shell()
    one.line("init sleep 96")
    job = one.foreground_job("sleep 96")
    os.kill(int(processes.stat(job)[1]), signals.SIGTERM)
    one.prompt()
    assert one.type("echo status $?") == "status 143"


def test_program_that_cannot_be_started_gives_the_terminal_back(shell: OpenShell) -> None:
    """127, and the script above can still read."""
    one = shell()
    one.line('bash -c \'init /no/such; echo "status" $?; IFS= read -r line; echo "got <$line>"\'')
    one.terminal.expect("status 127")
    one.line("hello")
    one.terminal.expect("got <hello>", 10)


def test_shell_under_us_has_job_control(open_terminal: Open, engine: Engine) -> None:
    """`docker run -it image bash`: no "cannot set terminal process group", and its own jobs stop and continue."""
    terminal = open_terminal(*engine.command, "--", *BASH)
    one = Shell(terminal)
    assert "no job control" not in terminal.output
    assert "cannot set" not in terminal.output
    one.line("sleep 95")
    one.job("sleep 95")
    terminal.send(CTRL_Z)
    terminal.expect("Stopped", 10)
    one.prompt()
    one.line("exit 3")
    terminal.expect("stopped jobs")
    one.line("exit 3")
    assert terminal.wait() == 3


def as_leader(engine: Engine, where: str) -> tuple[str, ...]:
    """Words that make pyinit the leader of the terminal's session, or PID 1 on it."""
    if where == "namespace" and os.geteuid() != 0:
        pytest.skip("a PID namespace of one's own needs root")
    return (*(PID_NAMESPACE if where == "namespace" else ()), *engine.command)


@pytest.mark.parametrize("where", ["leader", "namespace"])
def test_ctrl_z_without_a_shell_above_does_not_hang(where: str, open_terminal: Open, engine: Engine) -> None:
    """Nobody could say fg: what the terminal stopped is continued at once, and still listens."""
    code = "say('ready')\nfor line in sys.stdin: say('read', line.strip())"
    terminal = open_terminal(*as_leader(engine, where), "--", *python(code))
    terminal.expect("ready\r\n")
    terminal.send(CTRL_Z)
    terminal.send("after\r")
    terminal.expect("read after", 10)
    terminal.send(CTRL_C)
    assert terminal.wait() in (130, 1)


@pytest.mark.parametrize("where", ["leader", "namespace"])
def test_hangup_ends_it(where: str, open_terminal: Open, engine: Engine) -> None:
    """The terminal is closed: HUP reaches the program, and nobody stays."""
    terminal = open_terminal(*as_leader(engine, where), "--", "sleep", "94")

    def sleepers() -> list[int]:
        return [p for p in processes.descendants(terminal.process.pid) if processes.command(p) == "sleep 94"]

    job = until(sleepers, 10, "the program")[0]
    until(lambda: processes.stat(job)[2] == processes.stat(job)[5], 10, "the foreground")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), terminal._ours, inheritable=False)
    until(lambda: not processes.is_alive(job), 10, "its end")
    assert terminal.process.wait(10) != 0


def test_stdin_is_no_terminal(open_terminal: Open, engine: Engine) -> None:
    """A terminal on stdout alone is not ours to take."""
    terminal = open_terminal(
        "sh",
        "-c",
        'exec "$@" </dev/null',
        "sh",
        *engine.command,
        "--",
        *python("say('done', os.tcgetpgrp(1) == os.getppid())"),
    )
    terminal.expect("done True")
    assert terminal.wait() == 0


def test_tostop_does_not_stop_us(shell: OpenShell, engine: Engine) -> None:
    """`stty tostop` stops background writers: not PID 1 when it reports."""
    one = shell(*engine.command, "-v", "--")
    one.type("stty tostop")
    one.line("init sleep 0 & wait; echo en''d")
    one.terminal.expect("end", 10)
    one.prompt()
    assert "Stopped" not in one.terminal.output
