"""What workers say: labelled, rotated, compressed, and never the reason that something waits which should not."""

import json
import os
import pty
import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.numbered import NUMBERS, check, content, files, is_done
from support.supervised import Supervised, worker
from support.waiting import until

Supervise = Callable[..., Supervised]


def numbered(supervise: Supervise, folder: Path, count: int, instances: int, **logs: object) -> Supervised:
    """Workers that write numbered lines into one file."""
    one = worker("web", NUMBERS, instances=instances, logs={"stdout": str(folder / "out.log"), **logs})
    one["environment"]["COUNT"] = str(count)
    return supervise(one)


@pytest.mark.parametrize("compress", [False, True])
def test_rotation_loses_nothing(supervise: Supervise, tmp_path: Path, compress: bool) -> None:  # noqa: FBT001
    """Numbered lines of four workers over many rotations."""
    folder = tmp_path / "logs"
    count = 100_000
    supervised = numbered(supervise, folder, count, 4, max_size=500_000, keep=1000, compress=compress)
    supervised.ready()
    until(lambda: (folder / "out.log").exists() and is_done(folder / "out.log", 4), 60, "the last lines")
    if compress:
        until(lambda: all(path.suffix == ".gz" for path in folder.glob("out.log.*")), 60, "the last file's compression")
    supervised.run.send("TERM").wait()
    assert check(folder / "out.log", count, 4) > 15
    assert all(path.stat().st_size <= 500_000 for path in folder.iterdir())


def test_a_lost_line_is_noticed(tmp_path: Path) -> None:
    """The detector's negative controls."""
    lines = [b"0 %07d %s\n" % (number, b"x" * number) for number in range(5)]
    broken = {
        "lost": lines[:2] + lines[3:],
        "twice": lines[:2] + lines[1:],
        "torn": [*lines[:2], lines[2][:5], b"\n", *lines[3:]],
        "short": [*lines[:4], lines[4][:-2] + b"\n"],
    }
    for name, parts in {"good": lines, **broken}.items():
        (tmp_path / "out.log").write_bytes(b"".join(parts))
        if name == "good":
            check(tmp_path / "out.log", 5, 1)
        else:
            with pytest.raises(AssertionError):
                check(tmp_path / "out.log", 5, 1)


def test_retention(supervise: Supervise, tmp_path: Path) -> None:
    """The oldest go, and what is kept is the end of what was said, whole."""
    folder = tmp_path / "logs"
    supervised = numbered(supervise, folder, 30_000, 1, max_size=100_000, keep=3).ready()
    until(lambda: is_done(folder / "out.log", 1), 30, "the last lines")
    assert len(list(folder.iterdir())) == 4
    numbers = [
        int(line.split()[1])
        for line in b"".join(map(content, files(folder / "out.log"))).splitlines()
        if line != b"done"
    ]
    assert numbers == list(range(numbers[0], 30_000))
    del supervised


def test_rotation_by_time(supervise: Supervise, tmp_path: Path) -> None:
    """A file that is old enough ends before the next line."""
    code = "ready()\nfor n in range(30):\n    say(n); time.sleep(0.02)\nsay('done'); forever()"
    path = tmp_path / "out.log"
    supervise(worker("web", code, logs={"stdout": str(path), "every": 0.1})).ready()
    until(lambda: b"done\n" in path.read_bytes(), 20, "the last line")
    found = files(path)
    assert len(found) > 3
    assert b"".join(map(content, found)).split() == [*(b"%d" % n for n in range(30)), b"done"]


def test_reopen(supervise: Supervise, tmp_path: Path) -> None:
    """USR2, for logrotate and its like: nothing is lost in between."""
    path = tmp_path / "out.log"
    code = "signal.signal(10, lambda *_: say('later')); say('before'); forever()"
    supervised = supervise(worker("web", code, logs={"stdout": str(path)})).ready()
    until(lambda: path.read_bytes() == b"before\n", 10, "the first line")
    path.rename(tmp_path / "away")
    supervised.run.send("USR2")
    until(path.exists, 10, "the new file")
    supervised.do("signal", signal="USR1")
    until(lambda: path.read_bytes() == b"later\n", 10, "the next line")
    assert (tmp_path / "away").read_bytes() == b"before\n"
    supervised.do("flush")
    assert path.read_bytes() == b""


def test_files_of_each_stream_and_instance(supervise: Supervise, tmp_path: Path) -> None:
    """stdout, stderr, both together, with time stamps, by instance; folders are made."""
    logs = {
        "stdout": str(tmp_path / "a/out.log"),
        "stderr": str(tmp_path / "a/err.log"),
        "combined": str(tmp_path / "all.log"),
    }
    code = "os.write(1, b'out\\n'); os.write(2, b'err\\n'); ready(); forever()"
    supervised = supervise(
        worker("web", code, instances=2, logs={**logs, "per_instance": True, "timestamp": "%Y"})
    ).ready()
    for number in (0, 1):
        assert re.fullmatch(r"\d{4}: out\n", (tmp_path / f"a/out-{number}.log").read_text(encoding="ascii"))
        assert re.fullmatch(r"\d{4}: err\n", (tmp_path / f"a/err-{number}.log").read_text(encoding="ascii"))
        both = (tmp_path / f"all-{number}.log").read_text(encoding="ascii")
        assert sorted(re.findall("out|err", both)) == ["err", "out"]
    assert supervised.run.out == ""


def test_file_that_cannot_be_opened(supervise: Supervise) -> None:
    """Said once, and the lines are not lost."""
    supervised = supervise(worker("web", "say('up'); forever()", logs={"stdout": "/proc/nowhere/out.log"})).ready()
    supervised.run.wait_err("cannot open /proc/nowhere/out.log for the output of web: .*; it goes to stdout")
    assert supervised.run.lines == ["web:0 | up"]


def test_paths_that_are_no_files(supervise: Supervise) -> None:
    """The container's stdout, and nowhere; with instances and rotation too, nothing is made or moved in /dev."""
    logs = {"stdout": "/dev/stdout", "stderr": "/dev/null", "per_instance": True, "max_size": 10}
    code = "os.write(2, b'nothing ' * 9 + b'\\n'); say('up'); forever()"
    other = worker("other", "os.write(2, b'up\\n'); forever()", logs={"stderr": "/dev/stderr"})
    supervised = supervise(worker("web", code, instances=2, logs=logs), other).ready()
    supervised.do("flush")
    assert sorted(supervised.run.lines) == ["other:0 | up", "web:0 | up", "web:1 | up"]
    assert [*Path("/dev").glob("stdout?*"), *Path("/dev").glob("null?*")] == []
    assert "cannot" not in supervised.run.err


@pytest.mark.parametrize("is_read", [False, True])
def test_fifo(supervise: Supervise, tmp_path: Path, is_read: bool) -> None:  # noqa: FBT001
    """Nobody waits for its reader: it is refused, and the lines go to stdout."""
    path = tmp_path / "out.log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if is_read else -1
    supervised = supervise(worker("web", "say('up'); forever()", logs={"stdout": str(path)})).ready()
    why = "it is no regular file" if is_read else "No such device or address"
    supervised.run.wait_err(f"cannot open {path} for the output of web: {why}; ")
    assert supervised.run.lines == ["web:0 | up"]
    if is_read:
        os.close(reader)


def test_json(supervise: Supervise) -> None:
    """One object a line, whatever bytes the line holds."""
    code = r"""
os.write(1, b'plain\n"quoted" \\ \x1b[1m\n\xff\xfe broken\n\nno end')
os.write(2, b'error\n')
ready()
os.close(1)
forever()
"""
    supervised = supervise(worker("web", code), keys={"log_form": "json"}).ready()
    until(lambda: len(supervised.run.lines) == 6, 10, "six lines")
    lines = [json.loads(line) for line in supervised.run.lines]
    out = [line["message"] for line in lines if line["stream"] == "stdout"]
    assert out == ["plain", '"quoted" \\ \x1b[1m', "\\xff\\xfe broken", "", "no end"]
    assert [line["message"] for line in lines if line["stream"] == "stderr"] == ["error"]
    assert {(line["app"], line["instance"]) for line in lines} == {("web", 0)}
    assert all(json.loads(line) for line in supervised.run.err.splitlines())


def test_long_lines_are_split_and_marked(supervise: Supervise) -> None:
    """No memory for a line without end, nothing of it lost."""
    code = "say('short'); os.write(1, b'a' * 200_000 + b'\\n'); say('next'); forever()"
    supervised = supervise(worker("web", code)).ready()
    supervised.run.wait_out("web:0 | next")
    lines = [line.removeprefix("web:0 | ") for line in supervised.run.lines]
    assert (lines[0], lines[-1]) == ("short", "next")
    parts = lines[1:-1]
    assert all(part.endswith(" [...]") for part in parts[:-1])
    assert all(part.startswith("[...] ") for part in parts[1:])
    assert sum(part.count("a") for part in parts) == 200_000
    assert max(map(len, parts)) < 66_000


def test_line_that_two_reads_bring(supervise: Supervise) -> None:
    """It is one line."""
    code = "os.write(1, b'one '); time.sleep(0.2); os.write(1, b'two\\n'); forever()"
    supervised = supervise(worker("web", code)).ready()
    supervised.run.wait_out("web:0 | one two")


def test_last_words(supervise: Supervise) -> None:
    """What a worker says right before its end is there, also without the end of its line; also a lot of it."""
    code = "os.write(1, b'x' * 60_000 + b'\\n' + b'last words'); leave()"
    run = supervise(worker("web", code, restart="never")).run
    assert run.wait() == 0
    assert run.lines[-1] == "web:0 | last words"
    assert len(run.lines[0]) > 60_000


FAREWELL = """
import array, fcntl, termios
unread, number = array.array("i", [0]), 0
while number < 22_000 or unread[0] < 20_000:
    os.write(1, b"%06d\\n" % number)
    number += 1
    fcntl.ioctl(1, termios.FIONREAD, unread)
say("done"); ready(); leave()
"""
"""More than stdout's pipe and what is kept for it hold, so that a part is still in the worker's own pipe when it has ended."""


def test_last_words_for_a_late_reader(supervise: Supervise) -> None:
    """Its pipe, and what is kept, are full when the last worker ends: all of it comes, as it is read."""
    reader, writer = os.pipe()
    supervised = supervise(worker("web", FAREWELL, restart="never"), stdout=writer)
    os.close(writer)
    supervised.run.wait_err("started web:0")
    until(lambda: not processes.children(supervised.run.pid), 20, "its end")
    text = b""
    while data := os.read(reader, 1 << 16):
        text += data
    os.close(reader)
    *lines, last = text.splitlines()
    assert last == b"web:0 | done"
    assert [int(line.split()[-1]) for line in lines] == list(range(len(lines)))


def test_last_words_that_nobody_reads(supervise: Supervise) -> None:
    """They are given up, in words."""
    reader, writer = os.pipe()
    run = supervise(worker("web", FAREWELL, restart="never"), stdout=writer).run
    os.close(writer)
    assert run.wait() == 0
    run.wait_err("nobody has read stdout for 0.5 s: what was said last is lost")
    os.close(reader)


def test_off(supervise: Supervise) -> None:
    """Nothing is read, nothing is kept."""
    supervised = supervise(worker("web", "say('up'); forever()", logs={"off": True})).ready()
    assert processes.descriptors(supervised.pids()[0])[1] == "/dev/null"
    assert supervised.run.out == ""


# --- readers that do not read, disks that are full ---

CHATTER = """
ready()
for number in range(100_000):
    os.write(1, b"%06d\\n" % number)
say("done"); forever()
"""


@pytest.mark.parametrize("full", ["block", "drop"])
def test_reader_that_does_not_read(supervise: Supervise, full: str) -> None:
    """The workers wait, or lines are dropped and counted; either way everything else goes on."""
    reader, writer = os.pipe()
    supervised = supervise(
        worker("web", CHATTER, logs={"full": full}), worker("crash", "leave(1)", max_restarts=3), stdout=writer
    )
    os.close(writer)
    until(lambda: supervised.states("crash") == ["errored"], 20, "reaping that goes on")
    (pid,) = supervised.pids("web")
    if full == "block":
        until(
            lambda: b"pipe_write" in Path(f"/proc/{pid}/wchan").read_bytes() or processes.state(pid) == "S",
            10,
            "a worker that waits",
        )
    else:
        until(
            lambda: supervised.ask("logs", "web", lines=1)["events"][0]["text"] == "done",
            30,
            "a worker that does not wait",
        )
    text = b""
    while b"done\n" not in text and b"dropped" not in text:
        text += os.read(reader, 1 << 16)
    os.close(reader)
    numbers = [int(line.split()[-1]) for line in text.splitlines() if line.startswith(b"web:0 | 0")]
    if full == "block":
        assert numbers == list(range(100_000))
    else:
        found = re.search(rb"pyinit: (\d+) lines dropped: nobody read them in time\n", text)
        assert found is not None
        # those before the gap are whole and in order, and none is unaccounted for: the last line, "done", may be among the dropped
        assert numbers[:1000] == list(range(1000))
        assert len(numbers) + int(found[1]) in (100_000, 100_001)


def test_stdout_that_somebody_has_made_non_blocking(supervise: Supervise) -> None:
    """O_NONBLOCK is the open description's, which is shared: EAGAIN is no error, and nothing is lost."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    supervise(worker("web", CHATTER), stdout=writer)
    os.close(writer)
    text = b""
    while b"done\n" not in text:
        text += os.read(reader, 1 << 16)
    os.close(reader)
    numbers = [int(line.split()[-1]) for line in text.splitlines() if b"done" not in line]
    assert numbers == list(range(100_000))


def test_reader_that_has_gone(supervise: Supervise) -> None:
    """Nobody will ever read: the workers go on."""
    reader, writer = os.pipe()
    supervised = supervise(worker("web", CHATTER), stdout=writer)
    os.close(writer)
    os.close(reader)
    until(lambda: supervised.ask("logs", "web", lines=1)["events"][0]["text"] == "done", 30, "the worker's last line")
    assert supervised.states() == ["ready"]


def test_full_disk(supervise: Supervise, tmp_path: Path) -> None:
    """Lines are dropped and counted, never torn; once there is room the file says how many, and goes on."""
    path = tmp_path / "out.log"
    code = "ready()\nn = 0\nwhile True:\n    say('%07d' % n); n += 1; time.sleep(0.0005)"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1003, resource.RLIM_INFINITY))

    supervised = supervise(worker("web", code, logs={"stdout": str(path)}), prepare=little_room).ready()
    supervised.run.wait_err(f"cannot write {path}: File too large; lines are dropped and counted until it can be")
    until(lambda: path.stat().st_size == 1003, 10, "a file that is full in the middle of a line")
    assert supervised.states() == ["ready"]
    resource.prlimit(supervised.run.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    supervised.run.wait_err("can be written again")
    until(lambda: path.stat().st_size > 3000, 10, "more lines")
    supervised.do("stop")
    lines = path.read_bytes().splitlines()
    (at,) = [number for number, line in enumerate(lines) if b"dropped" in line]
    dropped = int(lines[at].split()[1])
    numbers = [int(line) for line in lines[:at] + lines[at + 1 :]]
    assert numbers[:at] == list(range(at))
    assert numbers[at:] == list(range(at + dropped, at + dropped + len(numbers) - at))


def test_terminal_that_nobody_reads(supervise: Supervise) -> None:
    """It is somebody's screen, stopped by Ctrl-S, say: nothing else waits for it. When it is gone (HUP), everything stops."""
    ours, theirs = pty.openpty()
    supervised = supervise(worker("web", CHATTER), worker("crash", "leave(1)", max_restarts=3), stdout=theirs)
    os.close(theirs)
    until(lambda: supervised.states("crash") == ["errored"], 20, "reaping that goes on")
    supervised.do("stop", "web")
    assert b"web:0 | 000000\r\n" in os.read(ours, 4096)
    supervised.run.send("HUP")
    assert supervised.run.wait() == 0
    os.close(ours)
