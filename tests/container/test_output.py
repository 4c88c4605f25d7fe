"""What pyinit says, and that saying it never stops it: closed and full streams, JSON, the termination log, out of memory."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.containers import Container, Run, guest
from support.waiting import until

# --- streams ---

FULL_PIPE = """
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, bytes(4096))
except BlockingIOError:
    pass
try:
    while True:
        os.write(writer, b"0")
except BlockingIOError:
    pass
os.set_blocking(writer, True)
if os.fork() == 0:  # keeps the reading end open, and does not read
    os.setsid()
    signal.pause()
os.dup2(writer, 2)
os.execvp("pyinit", ["pyinit", "-vv", "--", *sys.argv[1:]])
"""


@pytest.mark.both_kernels(each_engine=True)
def test_reader_that_does_not_read(run: Run) -> None:
    """A full pipe for stderr: lines are dropped, signals and orphans are not."""
    code = "[daemon(lambda: None) for _ in range(20)]; block(); say('ready'); record(15); os._exit(7)"
    container = run([*guest(FULL_PIPE), *guest(code)], entrypoint=()).ready()
    for name, line in (("HUP", "1"), ("USR1", "10")):
        container.kill(name)
        container.wait_line(line)
    container.kill("TERM")
    assert container.wait(7) == 7
    assert container.lines == ["ready", "1", "10", "15"]


@pytest.mark.both_kernels(each_engine=True)
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-"], ids=["closed", "full disk", "both closed"])
def test_stderr_that_takes_nothing(redirection: str, run: Run) -> None:
    """There is nowhere to write: that is all."""
    script = (
        f"exec pyinit -vv -- sh -c \"trap 'exit 7' TERM; touch /tmp/ready; while :; do sleep 0.05; done\" {redirection}"
    )
    container = run(["sh", "-c", script], entrypoint=())
    until_there(container)
    container.kill("TERM")
    assert container.wait(7) == 7


def until_there(container: Container) -> None:
    """Wait for the file that says that the program is ready."""
    until(lambda: container.exec("test", "-e", "/tmp/ready").status == 0, 10, "/tmp/ready")


def test_reader_that_has_gone(run: Run) -> None:
    """A pipe for stderr that nobody reads any more: no SIGPIPE ends pyinit, and none reaches the program."""
    code = 'reader, writer = os.pipe(); os.dup2(writer, 2); os.close(reader); os.close(writer); os.execvp("pyinit", sys.argv[1:])'
    words = ["pyinit", "-vv", "--", *guest("block(); say('ready'); record(15); os._exit(7)")]
    container = run([*guest(code), *words], entrypoint=()).ready()
    container.kill("HUP")
    container.wait_line("1")
    container.kill("TERM")
    assert container.wait() == 7
    assert container.lines == ["ready", "1", "15"]


# --- JSON ---

DEAF = "daemon(lambda: None); block(); say('ready'); time.sleep(1000)"


@pytest.mark.both_kernels(each_engine=True)
def test_json(run: Run) -> None:
    """`--log json`: every line on stderr is an object with ts and event, and the story is whole and in order."""
    container = run(
        guest(DEAF), entrypoint=("pyinit", "--log=json", "-vv", "-t", "300ms", "--drain=100ms", "--")
    ).ready()
    container.kill("HUP")
    container.kill("TERM")
    assert container.wait() == 137
    lines = [json.loads(line) for line in container.logs(stdout=False).splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)
    events = [line["event"] for line in lines]
    for event in ("start", "spawn", "reap", "signal", "forward", "drain", "escalate", "child-exit", "exit"):
        assert event in events, event
    assert events[:2] == ["start", "spawn"]
    assert events[-1] == "exit"
    [escalation] = [line for line in lines if line["event"] == "escalate"]
    assert escalation["signal"] == "SIGKILL"
    assert 300 <= escalation["after_ms"] < 5000
    [victim] = escalation["processes"]
    assert {"pid", "name", "command", "state", "why"} <= victim.keys()
    assert lines[-1]["code"] == 137
    assert lines[-1]["reaped"] == 1


def test_errors_are_json_too(run: Run) -> None:
    """A program that cannot be started, for a log collector."""
    container = run(["/nothing"], environment={"PYINIT_LOG": "json"})
    assert container.wait() == 127
    [line] = container.logs().splitlines()
    assert json.loads(line)["event"] == "error"
    assert "/nothing" in json.loads(line)["message"]


def test_silence(run: Run) -> None:
    """By default a run in which nothing went wrong says nothing; `-q` keeps even an escalation quiet."""
    container = run(guest(DEAF), entrypoint=("pyinit", "-q", "-t", "100ms", "--")).ready()
    container.kill("TERM")
    assert container.wait() == 137
    assert container.logs(stdout=False) == ""


# --- the termination log ---


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty file on the host, for /dev/termination-log: the kubelet mounts one like it."""
    file = tmp_path / "termination-log"
    file.touch()
    file.chmod(0o666)
    return file


def mounted(log: Path) -> dict[str, dict[str, str]]:
    return {str(log): {"bind": "/dev/termination-log", "mode": "rw"}}


OPTION = ("pyinit", "--termination-log=/dev/termination-log", "-t", "300ms", "--")


@pytest.mark.both_kernels(each_engine=True)
def test_termination_log(log: Path, run: Run) -> None:
    """The last word and who was killed, in the mounted file, though the root file system is read-only and we are nobody."""
    container = run(guest(DEAF), entrypoint=OPTION, volumes=mounted(log), read_only=True, user="1000640000:0").ready()
    container.kill("TERM")
    assert container.wait() == 137
    text = log.read_text("utf-8")
    assert text.startswith("pyinit: exit 137, python3: SIGKILL")
    assert re.search(r"killed 1 after \d+\.\d s", text)
    assert text.endswith("\n")
    assert len(text.encode()) <= 4096


def test_the_program_s_own_last_word_comes_first(log: Path, run: Run) -> None:
    """It wrote something itself: that stays, alone."""
    container = run(
        ["sh", "-c", "echo 'no database' >/dev/termination-log; exit 3"], entrypoint=OPTION, volumes=mounted(log)
    )
    assert container.wait() == 3
    assert log.read_text("utf-8") == "no database\n"


def test_termination_log_is_bounded(log: Path, run: Run) -> None:
    """256 deaf processes: the kubelet reads 4096 bytes, so there are no more."""
    code = "block(); [os.fork() for _ in range(8)]; say('ready'); time.sleep(1000)"
    container = run(guest(code), entrypoint=OPTION, volumes=mounted(log)).ready()
    container.kill("TERM")
    assert container.wait() == 137
    assert 0 < len(log.read_bytes()) <= 4096


def test_termination_log_that_cannot_be_written(run: Run) -> None:
    """A warning at the start, when somebody still reads, and the run goes on."""
    container = run(["sh", "-c", "exit 3"], entrypoint=OPTION, read_only=True)
    assert container.wait() == 3
    assert "--termination-log /dev/termination-log" in container.logs() or container.logs() == ""
    container = run(["sh", "-c", "exit 3"], entrypoint=("pyinit", "--termination-log=/usr/x", "--"), read_only=True)
    assert container.wait() == 3
    assert "pyinit: --termination-log /usr/x: Read-only file system" in container.logs()


# --- out of memory ---

MEMORY: dict[str, Any] = {"mem_limit": "64m", "memswap_limit": "64m"}
HOG = "x = bytearray(1)\nwhile True: x += bytes(2**22)"


def test_out_of_memory(log: Path, run: Run) -> None:
    """The kernel ends the program: it is said, in the log and in the termination log, and the engine agrees."""
    container = run(["python3", "-c", HOG], entrypoint=OPTION, volumes=mounted(log), **MEMORY)
    assert container.wait() == 137
    assert "out of memory" in container.logs()
    assert "out of memory" in log.read_text("utf-8")
    assert container.oom_killed


def test_out_of_memory_of_a_child(run: Run) -> None:
    """A child of the program is ended: the program lives on, its status is its own, and nothing false is said about it."""
    container = run(
        ["sh", "-c", f"python3 -c '{HOG}'; echo child $?; exit 3"], entrypoint=("pyinit", "-v", "--"), **MEMORY
    )
    assert container.wait() == 3
    assert container.lines == ["child 137"]
    assert "was killed by the kernel" not in container.logs()


def test_sigkill_by_hand_is_not_called_out_of_memory(run: Run) -> None:
    """The same end, another cause: under the same limit somebody kills the program."""
    container = run(["sh", "-c", "kill -KILL $$"], entrypoint=("pyinit", "-v", "--"), **MEMORY)
    assert container.wait() == 137
    assert "out of memory" not in container.logs()
    assert not container.oom_killed


def test_an_earlier_child_s_death_is_not_the_program_s(run: Run) -> None:
    """First an orphan runs out of memory, and pyinit sees that; later somebody kills the program: that is not the same."""
    code = f"daemon(lambda: os.execvp('python3', ['python3', '-c', {HOG!r}]))\nblock(); say('ready'); record(10); os.kill(os.getpid(), 9)"
    container = run(guest(code), entrypoint=("pyinit", "-vv", "--"), **MEMORY)
    container.wait_log(re.compile(r"reaped orphan \d+: SIGKILL"))
    container.kill("USR1")
    assert container.wait() == 137
    assert "python3 was killed by the kernel" not in container.logs()
