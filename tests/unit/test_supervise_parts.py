"""What the supervisor reads and computes: specs, cron entries, CPUs, lines; pure, or on files that a test makes."""

import copy
import os
import pty
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinit.supervise import logs, supervisor, watch
from pyinit.supervise.cgroup import cpus, throttling
from pyinit.supervise.cron import Entry
from pyinit.supervise.spec import FOREVER, SpecError, parse
from support.supervised import app, spec

# --- specs ---


def test_whole_spec() -> None:
    """Durations, signals and null as they are used."""
    found = parse(spec(app("web", ["true"], grace=None, stop_signal="SIGRTMIN+3"), stop_budget=1.5, control="/run/c"))
    (one,) = found.apps
    assert (found.stop_budget, found.control, one.grace, one.stop_signal) == (1.5, "/run/c", FOREVER, 37)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "app '': name is ''; write a text"),
        ({"command": []}, "app 'web': command is []; write a list of texts, the program first"),
        ({"command": [""]}, "command is ['']"),
        ({"command": ["a\0b"]}, "command is"),
        ({"command": ["a\ud800b"]}, "command is"),
        ({"environment": {"A=B": "c"}}, "environment is"),
        ({"environment": {"A": "\ud800"}}, "environment is"),
        ({"environment": {"\ud800": "b"}}, "environment is"),
        ({"environment": {"A": 1}}, "environment is {'A': 1}; write an object of texts"),
        ({"instances": 0}, "app 'web': instances is 0; write a whole number but 0, or \"max\""),
        ({"instances": True}, "instances is True"),
        ({"instances": "many"}, "instances is 'many'"),
        ({"grace": -1}, "grace is -1; write seconds, 0 or more, or null for a time without end"),
        ({"grace": float("nan")}, "grace is nan"),
        ({"stop_signal": "SIGNOTHING"}, "stop_signal is 'SIGNOTHING'; write a signal's name"),
        ({"stop_signal": "15"}, "stop_signal is '15'"),
        ({"leave_exit_codes": [256]}, "leave_exit_codes is [256]; write a list of exit codes, 0 to 255"),
        ({"ready": {"kind": "sometimes"}}, "ready is {'kind': 'sometimes'}; write an object with a \"kind\""),
        ({"ready": {"kind": "log"}}, "ready is"),
        ({"ready": {"kind": "log", "pattern": "("}}, "ready is"),
        ({"ready": {"kind": "log", "pattern": "a{99999999999999}"}}, "ready is"),
        ({"ready": {"kind": "log", "pattern": "(" * 5000 + ")" * 5000}}, "ready is"),
        ({"ready": {"kind": ["log"]}}, "ready is {'kind': ['log']}"),
        ({"grace": 10**400}, "grace is"),
        ({"ready": {"kind": "descriptor", "number": 2}}, "ready is"),
        ({"ready": {"kind": "http", "url": "https://x"}}, "ready is"),
        ({"ready": {"kind": "listening"}}, "ready is 'listening', which only a Node app with the preload reports"),
        ({"ready": {"kind": "message", "text": "ready"}}, "ready is 'message', which needs a channel"),
        ({"ready": {"kind": "tcp", "host": "::1", "port": 1}, "instances": 2}, "its workers share an address"),
        ({"listen": [{"host": "", "port": 0}]}, "listen is"),
        ({"listen": [{"port": 80}]}, "listen is"),
        (
            {"listen": [{"host": "", "port": 80}], "ready": {"kind": "descriptor", "number": 3}},
            "the sockets of 'listen' have the numbers from 3 on; write 4",
        ),
        ({"restart": "sometimes"}, "restart is 'sometimes'; write one of always, on-failure, never"),
        ({"after": ["db"]}, "app 'web' is to start after 'db', which is no app here; there are web"),
        ({"after": ["web"]}, "web after web: nobody would be first"),
        ({"cron": "every day"}, "cron is 'every day'; write a cron entry, such as 0 4 * * *"),
        ({"colour": "red"}, "app 'web': unknown key 'colour'"),
        ({"logs": None}, "app 'web': logs: None is no object"),
        ({"logs": {}}, "app 'web': logs: the key 'stdout' is missing; it is a text, or null"),
    ],
)
def test_wrong_apps(changes: dict[str, Any], words: str) -> None:
    """Which app, which key, what is wrong with it and what to write."""
    with pytest.raises(SpecError) as caught:
        parse(spec(app("web", ["true"]) | changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (None, "version is None, and this supervisor knows 1"),
        ({"version": 2}, "version is 2"),
        (spec() | {"apps": {}}, "apps is no list"),
        (spec() | {"log_form": "xml"}, "log_form is 'xml'; write one of text, json"),
        (spec(app("web", ["true"]), app("web", ["true"])), "app 'web' is there twice"),
        (
            spec(app("a", ["true"], after=["b"]), app("b", ["true"], after=["a"])),
            "a after b after a: nobody would be first",
        ),
        (spec("web"), "apps[0]: 'web' is no object"),  # type: ignore[arg-type]
    ],
)
def test_wrong_specs(given_: Any, words: str) -> None:  # noqa: ANN401
    """The same for the whole."""
    with pytest.raises(SpecError) as caught:
        parse(given_)
    assert words in str(caught.value)


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SIMPLE, lambda one: st.lists(one) | st.dictionaries(st.text(), one))


@given(key=st.sampled_from(sorted(app("web", ["true"]))), value=JSON)
def test_any_value_is_taken_or_refused_in_words(key: str, value: Any) -> None:  # noqa: ANN401
    """Never a traceback."""
    changed = copy.deepcopy(app("web", ["true"]))
    changed[key] = value
    with suppress(SpecError):
        parse(spec(changed))


def test_every_key_is_needed() -> None:
    """An app without one is refused, by name."""
    whole = app("web", ["true"])
    for key in whole:
        with pytest.raises(SpecError, match=key):
            parse(spec({name: value for name, value in whole.items() if name != key}))


# --- CPUs ---


def tree(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return str(folder)


V1 = "3:memory:/a\n2:cpu,cpuacct:/docker/x\n"


@pytest.mark.parametrize(
    ("membership", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/\n", {"cpu.max": "1600000 100000"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/not/here\n", {"cpu.max": "200000 100000"}, 2),
        (V1, {"cpu/docker/x/cpu.cfs_quota_us": "250000", "cpu/docker/x/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/docker/x/cpu.cfs_quota_us": "-1", "cpu/docker/x/cpu.cfs_period_us": "100000"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2),
        (V1, {}, 8),
        ("", {}, 8),
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
        ("0::/\n", {"cpu.max": "100 0"}, 8),
    ],
)
def test_cpus(tmp_path: Path, membership: str, files: dict[str, str], count: int) -> None:
    """v1 and v2, own and above, rounded up, at least one, at most what the affinity allows."""
    root = tree(tmp_path / "cgroup", files)
    file = tmp_path / "membership"
    file.write_text(membership, encoding="ascii")
    assert cpus(root, str(file), 8) == count


@pytest.mark.parametrize(
    ("membership", "files", "found"),
    [
        ("0::/\n", {"cpu.stat": "usage_usec 9\nnr_periods 40\nnr_throttled 3\nthrottled_usec 2500000\n"}, (40, 3, 2.5)),
        ("0::/a\n", {"a/cpu.stat": "nr_throttled 1\n", "cpu.stat": "nr_throttled 2\n"}, (0, 1, 0)),
        ("0::/not/here\n", {"cpu.stat": "nr_periods 4\nnr_throttled 2\nthrottled_usec 0\n"}, (4, 2, 0)),
        ("0::/\n", {"cpu.stat": "usage_usec 9\n"}, None),
        (V1, {"cpu/docker/x/cpu.stat": "nr_periods 40\nnr_throttled 3\nthrottled_time 2500000000\n"}, (40, 3, 2.5)),
        (V1, {}, None),
    ],
)
def test_throttling(
    membership: str, files: dict[str, str], found: tuple[int, int, float] | None, tmp_path: Path
) -> None:
    """Version 2 counts in microseconds, version 1 in nanoseconds; a root cgroup has no quota and says nothing."""
    root = tree(tmp_path / "cgroup", files)
    file = tmp_path / "membership"
    file.write_text(membership, encoding="ascii")
    spent = throttling(root, str(file))
    assert (spent and (spent.periods, spent.throttled, spent.seconds)) == found


def test_cpus_here() -> None:
    """Never more than the affinity mask has."""
    assert 1 <= cpus() <= len(os.sched_getaffinity(0))


# --- cron ---


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone with a summer time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("entry", "now", "then"),
    [
        ("* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"),
        ("*/15 * * * *", "2026-01-01 00:07:30", "2026-01-01 00:15:00"),
        ("0 4 * * *", "2026-01-01 04:00:00", "2026-01-02 04:00:00"),
        ("0 4 * * mon", "2026-01-01 00:00:00", "2026-01-05 04:00:00"),
        ("0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
        ("30 1 13 * fri", "2026-01-01 00:00:00", "2026-01-02 01:30:00"),
        ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 22-23,0 * jan-mar *", "2026-01-01 00:30:00", "2026-01-01 22:00:00"),
        ("0 0 4 * * *", "2026-01-01 05:00:00", "2026-01-02 04:00:00"),
        ("@weekly", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
        ("30 2 * * *", "2026-03-29 00:00:00", "2026-03-29 03:30:00"),  # 02:30 is left out on that day
    ],
)
def test_cron(entry: str, now: str, then: str) -> None:
    """The next time, by the wall."""
    found = Entry(entry).next(datetime.fromisoformat(now).timestamp())
    assert found is not None
    assert str(datetime.fromtimestamp(found)) == then  # noqa: DTZ006 (local time is what cron means)


WRONG_ENTRIES = (
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "5-1 * * * *",
    "*/0 * * * *",
    "x * * * *",
    "1 * * * * *",
)


@pytest.mark.parametrize("entry", WRONG_ENTRIES)
def test_wrong_cron_entries(entry: str) -> None:
    """In words."""
    with pytest.raises(ValueError, match=r"fields|is no"):
        Entry(entry)


def test_cron_that_never_comes() -> None:
    assert Entry("0 0 31 2 *").next(0) is None


# --- lines ---


@given(text=st.text(alphabet="ab\n", max_size=60).map(str.encode), cuts=st.lists(st.integers(1, 20), max_size=20))
def test_stream_gives_the_lines_however_they_are_cut(text: bytes, cuts: list[int]) -> None:
    """Whole lines, in order, each once; the last one gets its end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    stream = logs.Stream(reader, logs.STDOUT)
    found = b""
    rest = text
    for cut in [*cuts, len(text) + 1]:
        piece, rest = rest[:cut], rest[cut:]
        if piece:
            os.write(writer, piece)
            lines = stream.read()
            assert lines is not None
            assert lines == b"" or lines.endswith(b"\n")
            found += lines
    os.close(writer)
    while (lines := stream.read()) is not None:
        found += lines
    os.close(reader)
    assert found == (text if text.endswith(b"\n") or not text else text + b"\n")


def test_console_that_fails_is_not_full_for_ever() -> None:
    """A terminal that has hung up: what waited for it is dropped, and those who write are read again."""
    ours, theirs = pty.openpty()
    os.set_blocking(theirs, False)
    console = logs.Console(theirs)
    while not console.is_full:
        console.put(b"a line\n" * 1000)
    os.close(ours)
    for _ in range(len(console.pending)):
        assert console.pending
        console.flush()
    assert (console.pending, console.size, console.is_full) == ([], 0, False)
    os.close(theirs)


def test_rotated_file_that_somebody_else_has_removed(tmp_path: Path) -> None:
    """Whoever tidies up was faster: nothing of it is our affair."""
    path = tmp_path / "out.log"
    app_ = parse(spec(app("web", ["true"], logs={"stdout": str(path), "max_size": 10, "keep": 0}))).apps[0]

    def clock() -> float:
        for one in tmp_path.glob("out.log.*"):
            one.unlink()
        return 100.0

    said: list[str] = []
    file = logs.LogFile(str(path), app_.logs, clock, said.append, said.append)
    for _ in range(3):
        file.put(b"a line\n")
    file.close()
    assert (path.read_bytes(), said) == (b"a line\n", [])


NUMBERED = {"/l/web.log": "/l/web-1.log", "/l/web": "/l/web-1", "/l.d/web": "/l.d/web-1", "/l/.web": "/l/.web-1"}


@pytest.mark.parametrize(("path", "numbered"), NUMBERED.items())
def test_name_of_an_instance_s_file(path: str, numbered: str) -> None:
    """Before the ending, where there is one."""
    assert supervisor.numbered(path, 1) == numbered


# --- watch ---


def test_watch(tmp_path: Path) -> None:
    """A change, a new file, one that goes; not what is ignored."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "node_modules").mkdir()
    file = tmp_path / "lib/a.js"
    file.write_text("1", encoding="ascii")

    def look() -> int:
        return watch.look([str(tmp_path)], ["*.log", "tmp"])

    seen = [look()]
    file.write_text("22", encoding="ascii")
    seen.append(look())
    (tmp_path / "b.js").touch()
    seen.append(look())
    file.unlink()
    seen.append(look())
    assert len(set(seen)) == 4
    for name in ("x.log", ".hidden", "node_modules/c.js", "tmp"):
        (tmp_path / name).touch()
    assert look() == seen[-1]
