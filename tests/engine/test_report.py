"""What is printed: text and JSON lines, and that printing one never holds anything up."""

import contextlib
import fcntl
import json
import os
import re
import resource
import socket
import termios
import tty
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import processes
from support.runs import Run, python, shell
from support.waiting import until

Start = Callable[..., Run]

DEAF = "block(); say('ready'); time.sleep(60)"
MANY = 12

EVENTS: dict[str, set[str]] = {
    "start": {"version", "engine"},
    "spawn": {"pid", "command"},
    "signal": {"signal"},
    "drain": {"signal", "ms"},
    "forward": {"signal", "scope"},
    "escalate": {"after_ms", "signal", "processes"},
    "survivor": {"processes"},
    "reap": {"pid", "status"},
    "child-exit": {"pid", "status", "code"},
    "sweep": {"signal", "count"},
    "oom": {"pid", "oom_kills"},
    "exit": {"code", "status", "uptime_ms", "reaped", "killed", "dropped"},
    "warning": set(),
    "error": set(),
}
"""Every event, and the fields that it must have beside `ts`, `event` and `message`."""


def objects(run: Run) -> list[dict[str, Any]]:
    """Each line of stderr as JSON, checked against EVENTS."""
    found = []
    for line in run.err.splitlines():
        one = json.loads(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["ts"]), line
        assert isinstance(one["message"], str)
        assert one.keys() >= EVENTS[one["event"]], line
        found.append(one)
    return found


def test_text_at_each_verbosity(start: Start) -> None:
    """Nothing by default; -v tells the story; -vv and more, each orphan; every line begins with our name."""
    code = "daemon(lambda: None); time.sleep(0.1)"
    counts = []
    for words in (["-q"], [], ["-v"], ["-vv"], ["-vvv"]):
        run = start(*words, "--", *python(code))
        assert run.wait() == 0
        assert all(line.startswith("pyinit: ") for line in run.err.splitlines())
        counts.append(len(run.report))
    assert counts[:2] == [0, 0]
    assert 0 < counts[2] < counts[3] <= counts[4]


def test_quiet_still_says_errors(start: Start) -> None:
    """-q hides warnings, never the reason of a failure."""
    run = start("-q", "-t", "50ms", "--", *python(DEAF)).ready().send("TERM")
    assert (run.wait(), run.err) == (137, "")
    run = start("-qq", "--", "no-such-program")
    assert run.wait() == 127
    assert run.err.startswith("pyinit: cannot run")


def test_warn_reap(start: Start) -> None:
    """A line for each orphan, without the rest of -v; by variable, too."""
    code = "daemon(lambda: os._exit(3)); daemon(lambda: os.kill(os.getpid(), 9)); time.sleep(0.2)"
    for words, env in ((["-w"], {}), ([], {"PYINIT_WARN_REAP": "yes"})):
        run = start(*words, "--", *python(code), env={"PATH": "/usr/bin:/bin", **env})
        assert run.wait() == 0
        assert len(run.report) == 2
        assert re.search(r"reaped orphan \d+: exit 3", run.err)
        assert re.search(r"reaped orphan \d+: SIGKILL", run.err)


def test_json_of_a_whole_life(start: Start) -> None:
    """Drain, a forwarded signal, a stop, an escalation, a survivor's sweep and the exit: each line one object with its fields."""
    code = "daemon(lambda: (block(15), signal.sigwait({15})))\n" + DEAF
    run = start("-vvv", "--log", "json", "-d", "100ms", "-t", "200ms", "--", *python(code)).ready().send("HUP", "TERM")
    assert run.wait() == 137
    found = objects(run)
    events = [one["event"] for one in found]
    assert {"start", "spawn", "signal", "drain", "forward", "escalate", "sweep", "reap", "child-exit", "exit"} <= set(
        events
    )
    assert (events[0], events[1], events[-1]) == ("start", "spawn", "exit")
    by_event = {one["event"]: one for one in found}
    assert by_event["spawn"]["pid"] == by_event["child-exit"]["pid"]
    assert by_event["drain"]["ms"] == 100
    killed = by_event["escalate"]["processes"]
    assert [set(one) for one in killed] == [{"pid", "name", "command", "state", "why"}]
    assert killed[0]["why"] == "blocks SIGTERM, SIGTERM still pending"
    assert by_event["escalate"]["after_ms"] >= 200
    last = by_event["exit"]
    assert (last["code"], last["status"], last["reaped"], last["dropped"], len(last["killed"])) == (
        137,
        "SIGKILL",
        1,
        0,
        1,
    )
    assert last["stop_ms"] >= 200


def test_json_errors_and_warnings(start: Start, tmp_path: Path) -> None:
    """A failure to start and a warning are objects, too; quotes, controls and invalid UTF-8 stay valid JSON."""
    name = b'no "such" \\ program\x1b\n\xff'
    run = start("--log", "json", "--", name, env={"PATH": "/bin"})
    assert run.wait() == 127
    assert [one["event"] for one in objects(run)] == ["error"]
    run = start("--log", "json", "--termination-log", str(tmp_path), "--", "true")
    assert run.wait() == 0
    assert {one["event"] for one in objects(run)} == {"warning"}


def test_json_longer_than_a_line_may_be(start: Start) -> None:
    """More processes than fit into 4096 bytes: still one valid object in one line, marked as shortened."""
    code = f"[os.fork() == 0 and (block(), time.sleep(60)) for _ in range({MANY})]\n{DEAF}"
    run = start("--log", "json", "-t", "500ms", "--", *python(code), "x" * 400).ready()
    until(lambda: len(processes.descendants(run.pid)) == MANY + 1, 10, "the workers")
    run.send("TERM")
    assert run.wait() == 137
    assert all(len(line.encode()) < 4096 for line in run.err.splitlines())
    found = [one for one in objects(run) if one["event"] == "escalate"]
    assert len(found) == 1
    assert found[0]["shortened"] is True
    assert 0 < len(found[0]["processes"]) < MANY + 1


def test_text_longer_than_a_line_may_be(start: Start) -> None:
    """The same as text: one line, cut."""
    run = start("-v", "--", "true", *["x" * 1000] * 9)
    assert run.wait() == 0
    assert max(len(line) for line in run.err.splitlines()) <= 4095
    assert run.err.endswith("\n")
    assert run.report[1].endswith("...")


# --- stderr in every state ---


def test_stderr_closed(start: Start) -> None:
    """Nowhere to write to: all goes on."""
    run = start("-vvv", "-t", "100ms", "--", *python(DEAF), prepare=lambda: os.close(2)).ready().send("HUP", "TERM")
    assert run.wait() == 137
    assert run.err == ""


def test_stderr_is_a_file_at_its_limit(start: Start, tmp_path: Path) -> None:
    """RLIMIT_FSIZE: each line fails with SIGXFSZ, which is ours: not forwarded, and no line about it that fails again."""
    file = tmp_path / "log"
    file.write_bytes(b"x" * 4096)
    with file.open("ab") as log:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))  # noqa: E731 - it runs in the child
        run = start("-vvv", "--", *python("block(); say('ready'); record(10)"), stderr=log, prepare=limit).ready()
        run.send("HUP", "USR1")
        assert run.wait() == 0
    assert run.lines == ["ready", "1", "10"]


def test_stderr_without_a_reader(start: Start) -> None:
    """A pipe whose other end is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as theirs:
        run = start("-vvv", "-t", "100ms", "--", *python(DEAF), stderr=theirs).ready().send("HUP", "TERM")
        assert run.wait() == 137


def fill(fd: int) -> None:
    """Write until nothing more fits."""
    os.set_blocking(fd, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(fd, b"x" * size)
        except BlockingIOError:
            continue
    os.set_blocking(fd, True)


ORPHANS = """
[daemon(lambda: None) for _ in range(20)]
block()
say("ready")
record(15)
sys.exit(5)
"""


TALKERS = """
def talk():
    block(15)
    while not signal.sigtimedwait({15}, 0):
        os.write(2, b"x" * 20 + b"\\n")
        time.sleep(0.0002)
talkers = []
for _ in range(2):
    talkers.append(os.fork())
    if not talkers[-1]:
        talk()
        os._exit(0)
for _ in range(200):
    r, w = os.pipe()
    daemon(lambda: (os.write(w, b"%d" % os.getpid()), os._exit(0)))
    orphan = os.read(r, 9).decode()
    while os.path.exists("/proc/" + orphan):
        time.sleep(0.001)
for talker in talkers:
    os.kill(talker, 15)
    os.waitpid(talker, 0)
sys.exit(5)
"""


@pytest.mark.parametrize("kind", ["pipe", "stream", "datagram"])
def test_stderr_full_and_never_read(kind: str, start: Start) -> None:
    """The reaper goes on: orphans are reaped, signals forwarded, the status returned; what was dropped is counted."""
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
        reader, writer = (end.detach() for end in pair)
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as theirs:
        fill(writer)
        run = start("-vvv", "--", *python(ORPHANS), stderr=theirs).ready()
        until(lambda: processes.children(run.pid) == [run.program], 10, "all orphans reaped")
        run.send("HUP", "TERM")
        assert run.wait() == 5
        assert run.lines[1] == "1"


def test_dropped_lines_are_counted(start: Start, tmp_path: Path) -> None:
    """Once there is room again the last word says how many are missing; no line is torn."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ours, os.fdopen(writer, "wb") as theirs:
        fill(writer)
        log = tmp_path / "log"
        run = start("-vvv", "--termination-log", str(log), "--", *python(ORPHANS), stderr=theirs).ready()
        until(lambda: processes.children(run.pid) == [run.program], 10, "all orphans reaped")
        run.send("HUP")
        run.wait_out("1")
        os.set_blocking(ours.fileno(), False)
        while os.read(ours.fileno(), 65536).startswith(b"x"):
            if fcntl.ioctl(ours, termios.FIONREAD, b"\0\0\0\0") == b"\0\0\0\0":
                break
        os.set_blocking(ours.fileno(), True)
        run.send("TERM")
        assert run.wait() == 5
        theirs.close()
        said = ours.read().decode()
    assert re.search(r"(\d\d+) report lines dropped\n", said)
    assert all(line.startswith("pyinit: ") for line in said.splitlines())


def test_stderr_on_a_terminal_whose_output_is_stopped(start: Start) -> None:
    """Ctrl-S stops whoever writes, but not PID 1."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb") as file:
        termios.tcflow(theirs, termios.TCOOFF)
        run = start("-vvv", "--", *python(ORPHANS), stderr=file).ready()
        until(lambda: processes.children(run.pid) == [run.program], 10, "all orphans reaped")
        run.send("HUP", "TERM")
        assert run.wait(10) == 5


def test_stderr_on_a_terminal_that_somebody_else_writes_to(start: Start) -> None:
    """A terminal is "not writable" while another process's write is under way: that is no reason to drop a line."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: it is over
            while piece := os.read(ours, 65536):
                said.extend(piece)

    with os.fdopen(ours, "rb"), ThreadPoolExecutor(1) as pool:
        with os.fdopen(theirs, "wb") as file:
            reading = pool.submit(read)
            run = start("-w", "--", *python(TALKERS), stderr=file)
            assert run.wait(30) == 5
        reading.result(10)
    assert (said.count(b": reaped orphan "), b"dropped" in said) == (200, False)


def test_stderr_on_a_terminal_with_less_room_than_a_line(start: Start) -> None:
    """A terminal is "writable" as soon as one byte fits, and a longer write waits for its reader: ours must not."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "wb") as file:
        fill(theirs)
        os.read(ours, 40)
        run = start("-vvv", "--", "sh", "-c", "exit 5", *["x" * 1000] * 9, stderr=file)
        assert run.wait(10) == 5


def test_shared_description_is_left_as_it_was(start: Start) -> None:
    """O_NONBLOCK belongs to the description, which the program shares: never set."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as theirs:
        run = start("-vvv", "--", "sh", "-c", "echo x >&2; sleep 60", stderr=theirs).armed()
        assert not fcntl.fcntl(theirs.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
        run.send("TERM")
        assert run.wait() == 143
        assert not fcntl.fcntl(theirs.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK


# --- the termination log ---


def test_termination_log_holds_the_last_word(start: Start, tmp_path: Path) -> None:
    """Status, time, and who was killed why."""
    log = tmp_path / "log"
    run = start("-t", "100ms", "--termination-log", str(log), "--", *python(DEAF)).ready().send("TERM")
    assert run.wait() == 137
    text = log.read_text()
    assert text.startswith("pyinit: exit 137")
    assert "blocks SIGTERM" in text
    assert text.count("\n") == 1


def test_termination_log_of_the_program_comes_first(start: Start, tmp_path: Path) -> None:
    """What the program wrote stays as it is."""
    log = tmp_path / "log"
    log.touch()
    assert start("--termination-log", str(log), "--", *shell(f"echo mine >{log}; exit 3")).wait() == 3
    assert log.read_text() == "mine\n"


def test_termination_log_by_variable_and_relative(start: Start, tmp_path: Path) -> None:
    """A relative path means the directory that pyinit was started in, wherever it is by then."""
    env = {"PATH": "/usr/bin:/bin", "PYINIT_TERMINATION_LOG": "log"}
    assert start("--", *shell("exit 3"), cwd=tmp_path, env=env).wait() == 3
    assert (tmp_path / "log").read_text().startswith("pyinit: exit 3")


def test_termination_log_of_invalid_utf8(start: Start, tmp_path: Path) -> None:
    """A path is bytes."""
    path = os.fsencode(tmp_path) + b"/\xff"
    assert start("--termination-log", path, "--", "true").wait() == 0
    assert Path(os.fsdecode(path)).read_bytes().startswith(b"pyinit: exit 0")


def test_termination_log_that_is_a_pipe_without_a_reader(start: Start, tmp_path: Path) -> None:
    """Opening a FIFO for writing would wait for its reader: it must not."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    run = start("--termination-log", str(fifo), "--", "sh", "-c", "exit 3")
    assert run.wait(10) == 3
    assert "--termination-log" in run.err


def test_termination_log_is_at_most_4096_bytes(start: Start, tmp_path: Path) -> None:
    """What the kubelet reads of it; still valid UTF-8."""
    log = tmp_path / "log"
    code = f"[os.fork() == 0 and (block(), time.sleep(60)) for _ in range(60)]\nopen('/proc/self/comm', 'w').write('\u00e4' * 7)\n{DEAF}"
    run = start("-t", "500ms", "--termination-log", str(log), "--", *python(code)).ready()
    until(lambda: len(processes.descendants(run.pid)) == 61, 10, "the workers")
    run.send("TERM")
    assert run.wait() == 137
    assert 500 < len(log.read_bytes()) <= 4096
    log.read_text("utf-8")


def test_termination_log_that_becomes_unwritable(start: Start, tmp_path: Path) -> None:
    """Writable at the start, gone at the end: a warning, and the status all the same."""
    folder = tmp_path / "folder"
    folder.mkdir()
    run = start("--termination-log", str(folder / "log"), "--", *shell(f"rm -r {folder}; exit 3"))
    assert run.wait() == 3
    assert "--termination-log" in run.err
    assert "Traceback" not in run.err
