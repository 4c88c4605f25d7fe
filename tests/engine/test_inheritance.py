"""What the program gets from us is what we were given; what we keep is nothing."""

import os
import resource
import signal as signals
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import chain, combinations
from pathlib import Path

import pytest

from support import engines, processes
from support.engines import Engine
from support.runs import Run, python
from support.waiting import until

Start = Callable[..., Run]
OURS_DEFAULT = {signals.SIGCHLD, signals.SIGPIPE, signals.SIGXFSZ}
"""Always default in the program: CPython cannot know what it inherited, and SIGCHLD ignored would break it."""


def seen(run: Run) -> dict[str, str]:
    """/proc/self/status as the program printed it."""
    assert run.wait() == 0, str(run)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in run.lines)}


def prepared(*, block: Iterable[int] = (), ignore: Iterable[int] = ()) -> Callable[[], None]:
    """Signals as a parent may leave them behind. Python ignores PIPE and XFSZ: they are default here unless asked for."""

    def prepare() -> None:
        for ours in (signals.SIGPIPE, signals.SIGXFSZ):
            signals.signal(ours, signals.SIG_DFL)
        for one in ignore:
            signals.signal(one, signals.SIG_IGN)
        signals.pthread_sigmask(signals.SIG_SETMASK, set(block))

    return prepare


@pytest.mark.parametrize(
    "block",
    [set(), {15}, {1, 2, 13, 17, 34, 64}, set(range(1, 65)) - {9, 19, 32, 33}],
    ids=["none", "TERM", "some", "all"],
)
def test_mask_is_the_one_given(way: Engine, block: set[int], start_any: Start) -> None:
    """The blocked signals travel through every start."""
    run = start_any(*way.command, "--", "cat", "/proc/self/status", prepare=prepared(block=block))
    assert processes.mask(seen(run), "SigBlk") == block


@pytest.mark.parametrize(
    "ignore", [set(), {1, 2}, {3, 15, 20, 21, 22, 34, 64}, {13, 17, 25}], ids=["none", "nohup", "many", "ours"]
)
def test_ignored_signals_stay_ignored(way: Engine, ignore: set[int], start_any: Start) -> None:
    """What nohup and `trap '' INT` say still holds behind us; SIGCHLD, SIGPIPE and SIGXFSZ are default whatever came."""
    run = start_any(*way.command, "--", "cat", "/proc/self/status", prepare=prepared(ignore=ignore))
    status = seen(run)
    assert processes.mask(status, "SigIgn") == ignore - OURS_DEFAULT
    assert processes.mask(status, "SigCgt") == set()


def test_nohup_program_survives_a_hangup(start: Start) -> None:
    """The point of it: HUP and INT are forwarded, and a program that was told to ignore them does."""
    code = "block(signal.SIGUSR1); say('ready'); signal.sigwait({signal.SIGUSR1}); say('alive')"
    run = start("--scope", "child", "--", *python(code), prepare=prepared(ignore={1})).ready()
    run.send("HUP", "USR1")
    assert run.wait() == 0
    assert "alive" in run.lines


def test_umask_directory_limits_and_nice(start: Start, tmp_path: Path) -> None:
    """What else a process hands down."""

    def prepare() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        os.nice(3)

    run = start("--", "sh", "-c", "umask; pwd; ulimit -Sn; ulimit -Hn; nice", cwd=tmp_path, prepare=prepare)
    assert run.wait() == 0
    assert run.lines == ["0027", str(tmp_path), "100", "200", "3"]


def test_directory_that_was_deleted(start: Start, tmp_path: Path) -> None:
    """No directory to go back to is no reason to fail."""
    gone = tmp_path / "gone"
    gone.mkdir()
    run = start("--termination-log", "log", "--", "readlink", "/proc/self/cwd", cwd=gone, prepare=gone.rmdir)
    assert run.wait() == 0, str(run)
    assert run.lines == [f"{gone} (deleted)"]
    assert "Traceback" not in run.err


# --- the environment ---


def environment(run: Run) -> dict[bytes, bytes]:
    """What `env -0` printed, without the mark of the run."""
    assert run.wait() == 0, str(run)
    pairs = (entry.split(b"=", 1) for entry in run.raw.rstrip(b"\0").split(b"\0"))
    return {key: value for key, value in pairs if key != b"TEST_RUN"}


@pytest.mark.parametrize(
    "locale", [{}, {b"LC_ALL": b"C"}, {b"LANG": b"C"}, {b"LC_CTYPE": b"C"}, {b"LC_CTYPE": b"C.UTF-8"}], ids=str
)
def test_environment_is_unchanged(way: Engine, locale: dict[bytes, bytes], start_any: Start) -> None:
    """Byte for byte; CPython's own LC_CTYPE (PEP 538) is not added, and one that was set stays."""
    given = {
        b"PATH": b"/usr/bin:/bin",
        b"BYTES": b"\xff\xfe",
        b"EMPTY": b"",
        b"A=B".replace(b"=", b"-"): b"x=y\n",
        **locale,
    }
    run = start_any(*way.command, "-t", "3s", "--", "env", "-0", env=given)
    assert environment(run) == {**given, b"PYINIT_STOP_BUDGET": b"3000"}


@pytest.mark.parametrize(
    ("words", "given", "budget"),
    [
        ([], {}, b"8000"),
        ([], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, b"28000"),
        ([], {"PYINIT_GRACE": "1500ms"}, b"1500"),
        (["--stop", "TERM:2s,INT:1s,KILL"], {}, b"3000"),
        (["-t", "infinity"], {}, None),
        (["--stop", "TERM:2s,INT"], {}, None),
        (["-t", "0"], {}, b"0"),
        (["-t", "1s", "-d", "5s"], {"PYINIT_STOP_BUDGET": "77"}, b"1000"),
    ],
)
def test_stop_budget(words: list[str], given: dict[str, str], budget: bytes | None, start: Start) -> None:
    """The program learns how long it will have, in milliseconds; nothing where it will never be killed."""
    run = start(*words, "--", "env", "-0", env={"PATH": "/usr/bin:/bin", **given})
    assert environment(run).get(b"PYINIT_STOP_BUDGET") == budget


def test_our_variables_are_removed(start: Start) -> None:
    """A pyinit inside is not to drain twice."""
    given = {
        "PATH": "/usr/bin:/bin",
        "PYINIT_DRAIN": "1s",
        "PYINIT_LOG": "json",
        "PYINIT_SOMETHING": "x",
        "PYINITX": "stays",
    }
    found = environment(start("--", "env", "-0", env=given))
    assert {key for key in found if key.startswith(b"PYINIT")} == {b"PYINIT_STOP_BUDGET", b"PYINITX"}


@pytest.mark.parametrize("name", ["LISTEN_PID", "WATCHDOG_PID"])
def test_pid_variables_are_rewritten_when_they_named_us(name: str, engine: Engine, start_any: Start) -> None:
    """The variables of systemd hold the PID of who is meant: that was pyinit, and is now the program."""
    command = " ".join(engine.command)
    for given, wanted in (("$$", "program"), ("1", "1"), ("abc", "abc")):
        script = f"{name}={given} LISTEN_FDS=1 LISTEN_PIDFDID=99 exec {command} -- sh -c 'echo \"$$ ${name} $LISTEN_FDS $LISTEN_PIDFDID\"'"
        run = start_any("sh", "-c", script)
        assert run.wait() == 0, str(run)
        pid, value, *rest = run.out.split()
        assert value == (pid if wanted == "program" else wanted)
        assert rest == (["1"] if (name, wanted) == ("LISTEN_PID", "program") else ["1", "99"])


# --- descriptors ---


def test_descriptors_are_the_ones_given(start: Start) -> None:
    """0, 1, 2 and what was passed, the very same objects, and none of ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = start("--", "sleep", "60", pass_fds=[theirs.fileno()]).armed()
        found = processes.descriptors(run.program)
        assert set(found) == {0, 1, 2, theirs.fileno()}
        assert found[theirs.fileno()] == str(Path(f"/proc/self/fd/{theirs.fileno()}").readlink())
        assert found[0] == "/dev/null"


def test_we_keep_nothing(start: Start) -> None:
    """Only /dev/null on 0 and 1, and 2 as it was; the reader of a pipe sees its end when the program is gone; our directory is /."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ours:
        run = start(
            "--wait", "all", "--", "sleep", "60", stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[writer]
        ).armed()
        os.close(writer)
        found = processes.descriptors(run.pid)
        assert found.keys() == {0, 1, 2}
        assert (found[0], found[1]) == ("/dev/null", "/dev/null")
        assert found[2] == processes.descriptors(run.program)[2]
        assert str(Path(f"/proc/{run.pid}/cwd").readlink()) == "/"
        os.kill(run.program, signals.SIGKILL)
        assert ours.read() == b""
        assert run.process.stdout is not None
        assert run.process.stdout.read() == b""
        assert run.process.stdin is not None
        run.process.stdin.close()
        run.process.stdout.close()


CLOSED = list(chain.from_iterable(combinations((0, 1, 2), count) for count in range(4)))


@pytest.mark.parametrize("way", [engines.LAUNCHER, engines.SECOND, engines.EXECUTABLE], indirect=True)
@pytest.mark.parametrize("closed", CLOSED, ids=lambda closed: "".join(map(str, closed)) or "none")
def test_standard_descriptors_that_were_closed_stay_closed(
    way: Engine, closed: tuple[int, ...], start_any: Start, tmp_path: Path
) -> None:
    """The program finds them closed as well, pyinit writes its lines nowhere else instead, and nothing of it fails."""
    log = tmp_path / "log"
    shut = " ".join(f"{fd}<&-" if fd == 0 else f"{fd}>&-" for fd in closed)
    guest = tmp_path / "guest.sh"
    guest.write_text(f'#!/bin/sh\nfor n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo "$n" >>{log}; done\nexit 5\n')
    guest.chmod(0o755)
    run = start_any("sh", "-c", f'exec "$@" {shut}', "sh", *way.command, "-vvv", "--", str(guest))
    assert run.wait() == 5, str(run)
    opened = set(log.read_text().split()) if log.exists() else set()
    assert opened == {str(n) for n in (0, 1, 2) if n not in closed}
    assert run.out == ""
    assert bool(run.err) == (2 not in closed)


def test_passed_descriptor_at_a_hole_survives(start_any: Start, engine: Engine) -> None:
    """Socket activation passes 3 and up; with 0 closed none of them is lost or moved."""
    guest = "ls /proc/$$/fd/3 && echo three >&3"
    run = start_any("sh", "-c", 'exec "$@" 0<&- 3>&1', "sh", *engine.command, "--", "sh", "-c", guest)
    assert run.wait() == 0
    assert "three" in run.lines


def test_full_table_of_descriptors_is_a_clear_error(start: Start) -> None:
    """No descriptor to be had: one line and 125, or it runs."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))

    run = start("--", "true", prepare=prepare)
    assert run.wait() in (0, 125, 127)
    assert "Traceback" not in run.err


# --- what we are, seen from outside ---


def test_nothing_is_handled_and_children_are_noticed(start: Start) -> None:
    """No handler runs between two bytecodes (Python's own for INT is there, blocked); SIGCHLD is default even if it was ignored."""
    run = start("--", "sleep", "60", prepare=prepared(ignore={17})).armed()
    status = processes.status(run.pid)
    assert processes.mask(status, "SigCgt") <= {signals.SIGINT}
    assert signals.SIGCHLD not in processes.mask(status, "SigIgn")


def test_program_has_a_group_of_its_own_in_our_session(start: Start) -> None:
    """Its group is its pid; its session is ours."""
    run = start("--", "sleep", "60").armed()
    _, parent, group, session, *_ = processes.stat(run.program)
    assert (int(parent), int(group)) == (run.pid, run.program)
    assert session == processes.stat(run.pid)[3]


def test_subreaper(start: Start) -> None:
    """Not PID 1: orphans come to us by default, and go past us with --no-subreaper."""
    code = "daemon(lambda: (block(), say('orphan', os.getpid()), say('ready'), signal.sigwait({15})))\nsignal.pause()"
    run = start("--", *python(code)).ready()
    assert processes.stat(run.value("orphan"))[1] == str(run.pid)
    run = start("--no-subreaper", "--linger", "0", "--", *python(code)).ready()
    assert processes.stat(run.value("orphan"))[1] != str(run.pid)


def test_parent_death_signal_reaches_the_program(engine: Engine, start_any: Start) -> None:
    """--parent-death: when whoever started us dies, the kernel sends us the signal, and we pass it on."""
    guest = python("block(); say('ready'); record(signal.SIGUSR1)")
    starter = "import os, sys, time; os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]); time.sleep(60)"
    run = start_any(sys.executable, "-I", "-c", starter, *engine.command, "-p", "USR1", "--", *guest).ready()
    until(lambda: processes.children(run.program) or None, 10, "the program under pyinit")
    os.kill(run.process.pid, signals.SIGKILL)
    run.process.wait()
    until(lambda: "10" in run.lines, 10, "USR1 in the program")
    until(lambda: not run.left, 10, "the end of everybody")


def test_parent_that_died_before_the_kernel_was_asked(start_any: Start) -> None:
    """Between reading who our parent is and asking the kernel, it may die: the signal is sent all the same.

    Python alone: nobody can hold up the native engine between two system calls without changing them.
    """
    code = """
import posix, sys
sys.path.append(sys.argv[1])
posix.getppid = iter([posix.getppid(), 1, 1, 1]).__next__
from pyinit.init import start
import _signal
_signal.pthread_sigmask(_signal.SIG_SETMASK, range(1, 32))
posix._exit(start.run([b"-p", b"TERM", b"--", b"sleep", b"60"], posix.environ, ()))
"""
    site = engines.python_main().parents[2]
    assert start_any(sys.executable, "-I", "-S", "-c", code, str(site)).wait() == 128 + signals.SIGTERM
