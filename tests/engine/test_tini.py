"""The native executable in tini's place: the same as Debian's tini and tini-static, word by word and signal by signal.

Every test of the first part runs both on the same command line, environment, mask, dispositions and descriptors, and compares
what comes out. The second part shows tini's faults on the real one, and that they are gone. tini keeps its lines in a libc's buffer,
which loses or doubles some of them in a pipe; on a terminal they are whole, so stdout is one here.
"""

import contextlib
import ctypes
import itertools
import os
import platform
import pty
import random
import re
import resource
import shutil
import signal as signals
import struct
import subprocess
import sys
import tempfile
import tty
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import processes
from support.engines import native_executable
from support.runs import HOST, NAMESPACE, Run, python, shell
from support.terminal import Terminal
from support.waiting import until

Start = Callable[..., Run]
Environment = Mapping[str, str] | Mapping[bytes, bytes]

NEVER_FORWARDED = {17, 21, 22}
"""CHLD is its own; TTIN and TTOU would only stop it."""

ENDS_IT = {4, 5, 6, 7, 8, 11, 31, 32, 33}
"""Not caught, so that a fault of its own ends it; 32 and 33 belong to glibc, whose sigfillset leaves them out."""

FORWARDED = sorted(set(range(1, 65)) - NEVER_FORWARDED - ENDS_IT - {9, 19})
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
OTHER_UID = 54321
WITHOUT_KILL = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--")


@dataclass(frozen=True)
class Pair:
    """The real one, and ours under the same name."""

    real: str
    ours: str

    @property
    def name(self) -> str:
        """What both are called."""
        return Path(self.real).name

    @property
    def both(self) -> tuple[str, str]:
        return self.real, self.ours


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with the native executable under tini's names, where every user may go."""
    with tempfile.TemporaryDirectory(prefix="pyinit-tini-") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "native"
        shutil.copy(native_executable(), copy)
        copy.chmod(0o755)
        for name in ("tini", "tini-static", "docker-init", "pyinit"):
            (Path(folder) / name).symlink_to(copy)
        yield Path(folder)


@pytest.fixture(scope="module", params=["tini", "tini-static"])
def pair(request: pytest.FixtureRequest, place: Path) -> Pair:
    """Both of Debian's executables in turn."""
    return Pair(installed(request.param), str(place / request.param))


@pytest.fixture(scope="module", params=["tini", "tini-static", "ours"])
def init(request: pytest.FixtureRequest, place: Path) -> str:
    """Each of the three in turn, for what is the same for all of them."""
    return str(place / "tini") if request.param == "ours" else installed(request.param)


def installed(name: str) -> str:
    """One of Debian's executables."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"no {name}: install Debian's package tini, or run ./tests/run engine", pytrace=False)
    return path


# --- one run, from its start to its end ---


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its status and its lines, PIDs as N. Two processes write at once, so the lines are sorted."""

    status: int
    out: tuple[str, ...]
    err: tuple[str, ...]


def outcome(
    init: str,
    words: Iterable[str | bytes],
    env: Environment | None = None,
    *,
    name: str = "",
    prepare: Callable[[], None] | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run it to its end."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with tempfile.TemporaryFile(buffering=0) as err:
        try:
            ran = subprocess.run(
                [name or Path(init).name, *words],
                executable=init,
                env={"PATH": PATH} if env is None else env,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=err,
                preexec_fn=prepare,
                cwd=cwd,
                timeout=30,
                check=False,
            )
        finally:
            os.close(theirs)
        out = b""
        with contextlib.suppress(OSError):  # EIO: everything was read
            while piece := os.read(ours, 65536):
                out += piece
        os.close(ours)
        return Outcome(ran.returncode, lines(out), lines(os.pread(err.fileno(), 1 << 20, 0)))


def lines(said: bytes | str) -> tuple[str, ...]:
    """Sorted, PIDs as N; of a line that tini says again each second while nothing happens, one is kept."""
    text = said if isinstance(said, str) else said.decode("utf-8", "backslashreplace")
    found = re.sub(r"(?<= tini \()\d+|(?<=with pid ')\d+|(?<=with pid: ')\d+|(?<=with pid=)\d+", "N", text).splitlines()
    ticks = {line for line in found if line.endswith("No child to reap")}
    return tuple(sorted([line for line in found if line not in ticks] + list(ticks)))


def same(pair: Pair, *words: str | bytes, **options: Any) -> Outcome:  # noqa: ANN401 (those of outcome)
    """What both leave, which has to be one and the same."""
    real = outcome(pair.real, words, **options)
    assert outcome(pair.ours, words, **options) == real, words
    return real


def test_comparison_sees_every_difference(pair: Pair, tmp_path: Path) -> None:
    """The control: a status, a line on stdout and a line on stderr that are not the same are seen, as is our own voice."""
    for number, code in enumerate(["exit 4", "echo more; exit 3", "echo more >&2; exit 3"]):
        other = tmp_path / str(number)
        other.write_text(f"#!/bin/sh\n{code}\n")
        other.chmod(0o755)
        with pytest.raises(AssertionError):
            same(Pair(pair.real, str(other)), "-s", "--", *shell("exit 3"))
    with pytest.raises(AssertionError):
        same(Pair(pair.real, str(Path(pair.ours).with_name("pyinit"))), "--", *shell("exit 3"), name="pyinit")


# --- the command line and the variables ---

ENDING = ("--", *shell("echo out; echo err >&2; exit 7"))


def test_every_combination_of_options(pair: Pair) -> None:
    """Joined in one word and each in its own."""
    for count in range(5):
        for letters in itertools.combinations("swgv", count):
            same(pair, *(f"-{letter}" for letter in letters), *ENDING)
            if letters:
                same(pair, "-" + "".join(letters), *ENDING)


@pytest.mark.parametrize("level", range(5))
def test_levels(pair: Pair, level: int) -> None:
    """-v up to four times: the lines, and on which stream each is."""
    found = same(pair, *["-v"] * level, *ENDING)
    assert [line for line in found.err if line.startswith("[WARN")]
    levels = [name for name in ("INFO ", "DEBUG", "TRACE") if any(line.startswith(f"[{name}") for line in found.out)]
    assert levels == ["INFO ", "DEBUG", "TRACE"][:level]
    same(pair, "-s" + "v" * level, "--", "/none")
    same(pair, "-s", *ENDING, env={"PATH": PATH, "TINI_VERBOSITY": str(level)})


# fmt: off
CODES = [
    "0", "7", "255", "256", "-1", "-0", "+7", " 7", "\t\n7", "7 ", "0x7", "7e", "abc", "", " ", "+", "-", "--", "1,7", "é",
    "0" * 30 + "7", "9" * 30, "-" + "9" * 30, "4294967303", "18446744073709551623",
]
SIGNALS = [
    "TERM", "15", "sigterm", "SIGRTMIN", "SIGRTMIN+1", "SIGIO", "SIGPOLL", "SIGPWR", "SIGSTKFLT", "SIGCLD", "SIGIOT",
    "SIGUNUSED", "SIG", "", "SIGTERM ", *(f"SIG{signals.Signals(n).name[3:]}" for n in range(1, 32)),
]
NUMBERS = [
    "", "0", "1", "2", "3", "4", "17", "-1", "abc", "2x", " 3", "+2", "--2", "9" * 30, "-" + "9" * 30, "4294967297", "4294967296",
    "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
]
# fmt: on


def test_values_of_expect(pair: Pair) -> None:
    """What -e takes for a number, and what it says of everything else."""
    for value in CODES:
        same(pair, "-e", value, *ENDING)
        same(pair, "-se" + value, *ENDING)
    assert same(pair, "-s", "-e", "7", *ENDING).status == 0
    assert same(pair, "-s", "-e", "8", "-e", "7", *ENDING).status == 0
    assert same(pair, "-e", "x", *ENDING).err == ("[FATAL tini (N)] Not a valid option for -e: x",)


def test_values_of_parent_death(pair: Pair) -> None:
    """Which names -p knows, and what it says of the others."""
    for value in SIGNALS:
        same(pair, "-p", value, *ENDING)
    assert same(pair, "-p", "TERM", *ENDING).err == ("[FATAL tini (N)] Not a valid option for -p: TERM",)


def test_variables(pair: Pair) -> None:
    """Set is set, even when empty; the level is a number in atoi's sense, and wins over -v."""
    for value in NUMBERS:
        for options in ([], ["-vvv"], ["-s"]):
            same(pair, *options, *ENDING, env={"PATH": PATH, "TINI_VERBOSITY": value})
        same(pair, "--", "/none", env={"PATH": PATH, "TINI_VERBOSITY": value})
        same(pair, "-e", "x", env={"PATH": PATH, "TINI_VERBOSITY": value})
    for variable in ("TINI_SUBREAPER", "TINI_KILL_PROCESS_GROUP", "TINI_SUBREAPER_", "TINI_EXIT_REMAP"):
        for value in ("", "0", "false", "1"):
            same(pair, *ENDING, env={"PATH": PATH, variable: value})


def about(found: Outcome) -> tuple[int, bool, bool, list[str]]:
    """Of a page only where it is, and of stderr the line before it: the rest is our own words."""
    first = [line for line in found.err if re.match(r"\[|\S+: (invalid option|option requires)", line)]
    return found.status, bool(found.out), bool(found.err), first


# fmt: off
PAGES: list[list[str | bytes]] = [
    ["--version", "x"], ["--version", "--"], ["-s", "--version"], ["--help"], ["--"], [], ["-h"], ["-vh"], ["-hz"], ["-zh"],
    ["-z"], ["-s"], ["-w"], ["-vvv"], ["-e"], ["-p"], ["-se"], ["-e", "1"], ["-?"], ["-:"], ["-W"], ["-1"], ["-sz", "true"],
    ["--foo"], ["-l"], ["-vlz"], ["-h", "true"], ["-l", "-h"], ["-s", "--", "-h"], ["-e", "--", "true"], ["-e", "-1", "true"],
    [b"-\xff"], ["-\u00e9"], ["-;"],
]
# fmt: on


def test_pages_and_what_is_no_option(pair: Pair) -> None:
    """--help is none, --version only by itself; the licence is our own, and so are the words of the usage page."""
    for words in PAGES:
        assert about(outcome(pair.ours, words)) == about(outcome(pair.real, words)), words
    same(pair, "-")
    same(pair, "--", "--")
    same(pair, "--", "--", "true")
    for option in (["-h"], ["-z"], []):
        page = outcome(pair.ours, option)
        text = "\n".join(page.out or page.err)
        assert "supervision of a valid init process" in text  # tini's own test looks for these two
        assert "more verbose" in text
        assert set(re.findall(r"^  (-\w|--version)\b", text, re.MULTILINE)) == {
            "--version",
            *(f"-{c}" for c in "hspvwgel"),
        }


def test_name_on_the_usage_page(pair: Pair) -> None:
    """Called by a path."""
    for name in ("/some/where/tini", "tini"):
        real, ours = (outcome(init, ["-z"], name=name).err for init in pair.both)
        assert [line.split(" (")[0] for line in ours if "tini (" in line] == [
            line.split(" (")[0] for line in real if "tini (" in line
        ]
        assert f"{name}: invalid option -- 'z'" in ours
        assert f"{name}: invalid option -- 'z'" in real


def test_version(pair: Pair) -> None:
    """Scripts and dockerd read the first three words."""
    real, ours = (outcome(init, ["--version"]) for init in pair.both)
    assert (real.status, real.err) == (ours.status, ours.err) == (0, ())
    assert real.out[0].split(" - ")[0] == ours.out[0].split(" - ")[0] == "tini version 0.19.0"
    assert "pyinit" in ours.out[0]


def test_licence(pair: Pair) -> None:
    """-l: ours."""
    found = outcome(pair.ours, ["-l"])
    assert (found.status, found.err) == (0, ())
    assert any("MIT License" in line for line in found.out)


@pytest.mark.parametrize("seed", range(4))
def test_random_command_lines(pair: Pair, seed: int) -> None:
    """Whatever is put together of options, values and words: the same, where getopt does not look behind the program."""
    pieces = [
        "-s",
        "-w",
        "-g",
        "-v",
        "-e",
        "-p",
        "-e7",
        "-pSIGHUP",
        "-svw",
        "-z",
        "--",
        "7",
        "SIGTERM",
        "300",
        "true",
        "-",
        "",
    ]
    rng = random.Random(seed)
    for _ in range(60):
        words = [*rng.choices(pieces, k=rng.randrange(6)), *rng.choice([ENDING, ENDING[1:], ()])]
        real, ours = (outcome(init, words, {"PATH": PATH, "POSIXLY_CORRECT": ""}) for init in pair.both)
        if any("Usage: " in line for line in real.err):
            assert about(ours) == about(real), words
        else:
            assert ours == real, words


def test_options_end_where_the_program_begins(pair: Pair) -> None:
    """A documented difference: glibc's getopt takes options from behind the program's name as well, unless POSIXLY_CORRECT is set."""
    words = ["-s", "sh", "-c", "exit 5"]
    assert outcome(pair.real, words).err[-1] == f"{pair.name}: invalid option -- 'c'"
    assert outcome(pair.ours, words) == Outcome(5, (), ())
    assert "-v" not in outcome(pair.real, ["-s", "echo", "-v"]).out
    assert outcome(pair.ours, ["-s", "echo", "-v"]).out == ("-v",)
    assert same(pair, *words, env={"PATH": PATH, "POSIXLY_CORRECT": "1"}).status == 5
    assert same(pair, "-s", "echo", "-v", env={"PATH": PATH, "POSIXLY_CORRECT": "1"}).out == ("-v",)


@pytest.mark.parametrize("name", ["tini", "tini-static", "docker-init"])
def test_names(place: Path, name: str) -> None:
    """The three names by which it is tini; by another one it is pyinit."""
    for called in (name, f"/sbin/{name}"):
        assert outcome(str(place / "native"), ["--version"], name=called).out[0].startswith("tini version 0.19.0")
    for called in (f"{name}2", f"my{name}", f"{name}/pyinit"):
        assert outcome(str(place / "native"), ["--version"], name=called).out[0].startswith("pyinit ")


# --- programs that cannot be executed ---


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of files that are no programs, or no ordinary ones."""

    def make(name: str, content: bytes, mode: int = 0o755) -> None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)

    other = bytearray(Path(sys.executable).resolve().read_bytes()[:4096])
    other[18:20] = (22 if other[18] != 22 else 183).to_bytes(2, "little")  # s390x, or aarch64 on s390x
    make("without-x", b"#!/bin/sh\nexit 3\n", 0o644)
    make("empty", b"")
    make("script", b'echo "$0" "$@"; tr "\\0" " " </proc/$$/cmdline; exit 4\n')
    make("garbage", b"\0\1\2\xff(\n")
    make("other-machine", bytes(other))
    make("no-interpreter", b"#!/none\n")
    make("windows", b"#!/bin/sh\r\nexit 3\r\n")
    make("fine", b"#!/bin/sh\nexit 3\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("/none")
    return tmp_path


def test_programs_that_cannot_be_executed(pair: Pair, programs: Path) -> None:
    """By path, found in PATH, in its first directory and in its last, and without one."""
    names = [*(entry.name for entry in programs.iterdir()), "none", "", ".", "..", "/", "/none", "x" * 300]
    for name in sorted(names):
        for path in (str(programs), f"/none:{programs}", f"{programs}:{PATH}", f"{programs / 'fine'}:{programs}:/none"):
            same(pair, "-s", "--", name, "argument", env={"PATH": path})
        same(pair, "-s", "--", str(programs / name), "argument")
        same(pair, "-s", "--", f"./{name}", cwd=programs)
    for words in (["/x" * 1500], ["/etc/passwd/none"]):
        same(pair, "-s", "--", *words)
    for program in ("true", "pwd", "none", "nologin"):
        same(pair, "-s", "--", program, env={})  # libc's own PATH
    assert same(pair, "-s", "--", str(programs / "without-x")).status == 126
    assert same(pair, "-s", "--", str(programs / "folder")).status == 126
    assert same(pair, "-s", "--", str(programs / "none")).status == 127
    assert same(pair, "-s", "--", str(programs / "empty")).status == 0
    assert same(pair, "-s", "--", str(programs / "loop")).status == 1
    assert same(pair, "-s", "-e", "127", "--", "none").status == 0


# --- exit statuses ---


def test_every_exit_code(pair: Pair) -> None:
    """All 256, remapped and not."""
    for code in range(256):
        assert same(pair, "-s", "--", *shell(f"exit {code}")).status == code
    for code in (0, 1, 127, 128, 143, 255):
        assert same(pair, "-s", "-e", str(code), "--", *shell(f"exit {code}")).status == 0
        assert same(pair, "-s", "-e", str(code), "--", *shell("exit 2")).status == 2


def test_death_by_every_signal(pair: Pair) -> None:
    """128 + n, and its name in glibc's words; remapped as any other."""
    ignored = {17, 18, 19, 20, 21, 22, 23, 28}  # or stopping

    def dump() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    for number in sorted(set(range(1, 65)) - ignored - {32, 33}):
        assert same(pair, "-svv", "--", *shell(f"kill -{number} $$"), prepare=dump).status == 128 + number
    assert same(pair, "-se", "143", "--", *shell("kill $$")).status == 0


# --- what goes wrong before the program runs ---

SECCOMP = {"x86_64": 157, "aarch64": 167}
"""prctl's number."""


def refuse(operation: int, error: int) -> Callable[[], None]:
    """A seccomp filter by which prctl(operation) fails with this error."""
    number = SECCOMP.get(platform.machine())
    if number is None:
        pytest.skip(f"prctl's number on {platform.machine()} is not in the table")
    equal, load, give = 0x15, 0x20, 0x06
    code = [
        (load, 0, 0, 0),  # the system call
        (equal, 0, 3, number),
        (load, 0, 0, 16),  # its first argument
        (equal, 0, 1, operation),
        (give, 0, 0, 0x00050000 | error),
        (give, 0, 0, 0x7FFF0000),
    ]
    rules = b"".join(struct.pack("HBBI", *line) for line in code)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(rules)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))

    def prepare(keep: object = buffer) -> None:
        del keep
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # no new privileges, then the filter
            raise OSError(ctypes.get_errno(), "seccomp")

    return prepare


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        (
            36,
            22,
            "[FATAL tini (N)] PR_SET_CHILD_SUBREAPER is unavailable on this platform. Are you using Linux >= 3.4?",
        ),
        (36, 1, "[FATAL tini (N)] Failed to register as child subreaper: Operation not permitted"),
        (1, 1, "[FATAL tini (N)] Failed to set up parent death signal"),
    ],
)
def test_prctl_that_fails(pair: Pair, operation: int, error: int, expected: str) -> None:
    """As in a sandbox that knows only some of it."""
    assert same(pair, "-s", "-p", "SIGTERM", *ENDING, prepare=refuse(operation, error)) == Outcome(1, (), (expected,))


def test_subreaper_that_cannot_be_asked_for(pair: Pair) -> None:
    """PR_GET_CHILD_SUBREAPER: no answer is no."""
    for options in ([], ["-vv"], ["-svv"]):
        same(pair, *options, *ENDING, prepare=refuse(37, 1))


def test_fork_that_fails(pair: Pair, as_root: None) -> None:
    """The limit of processes is reached."""
    del as_root

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        os.setgroups([])
        os.setgid(OTHER_UID)
        os.setuid(OTHER_UID)

    expected = "[FATAL tini (N)] fork failed: Resource temporarily unavailable"
    assert same(pair, "-s", *ENDING, prepare=prepare) == Outcome(1, (), (expected,))


# --- signals ---

RECORDER = """
block()
os.dup2(2, 1)
other = os.fork()
name = "program" if other else "other"
say(name, "ready")
record(64, name)
if other:
    os.kill(other, 64)
    os.wait()
"""
"""Two processes of one group, which print on stderr what arrives: in stdout, a buffer of tini's ends in the midst of a line."""


def started(start_any: Start, init: str, *words: str, **options: Any) -> Run:  # noqa: ANN401 (those of Run)
    """A recorder that is ready."""
    run = start_any(init, *words, "--", *python(RECORDER), **options)
    for name in ("program ready", "other ready"):
        run.wait_err(f"(?m)^{name}$")
    return run


def recorded(run: Run, names: Sequence[str]) -> Outcome:
    """Every signal that is passed on and those that are not, each alone on its way; then the end."""
    for number in [*sorted({*FORWARDED, *NEVER_FORWARDED} - {64}), 64]:
        run.send(number)
        for name in names if number in FORWARDED else ():
            run.wait_err(f"(?m)^{name}{number}$")
    return Outcome(run.wait(), lines(run.out), lines(run.err))


@pytest.mark.parametrize("options", [[], ["-g"], ["-svvg"], ["-svvv"]], ids=" ".join)
@pytest.mark.parametrize("where", [HOST, NAMESPACE], indirect=True)
def test_every_signal(pair: Pair, start_any: Start, options: list[str], where: str) -> None:
    """To the program, or with -g to its group; with the same lines about it."""
    names = ["program", "other"] if "g" in "".join(options) else ["program"]
    real, ours = (recorded(started(start_any, init, *options, where=where), names) for init in pair.both)

    def unbuffered(found: Outcome) -> list[str]:
        """What its child has not written when it executes the program is lost: the line about the terminal."""
        return [line for line in found.out if "tcsetpgrp" not in line]

    assert (ours.status, ours.err, unbuffered(ours)) == (real.status, real.err, unbuffered(real))
    for number in FORWARDED:
        assert {f"{name}{number}" for name in names} <= set(ours.err)
    assert ("other1" in ours.err) == ("other" in names)


def test_signals_that_end_it(init: str, start_any: Start) -> None:
    """Faults are its own, whoever sends them; SIGKILL as ever."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    for number in sorted(ENDS_IT | {9}):
        assert started(start_any, init, "-s", prepare=prepare).send(number).wait() == -number


def test_faults_sent_to_pid_1(init: str, start_any: Start, as_root: None) -> None:
    """There they have no effect at all."""
    del as_root
    run = started(start_any, init, where=NAMESPACE).send(*sorted(ENDS_IT), 64)
    assert run.wait() == 0
    assert lines(run.err) == ("other ready", "other64", "program ready", "program64")


def test_stop_and_continue(init: str, start_any: Start) -> None:
    """SIGSTOP stops tini; what came meanwhile is passed on afterwards."""
    run = started(start_any, init, "-s").send("STOP")
    until(lambda: processes.state(run.pid) == "T", 10, "its stop")
    run.send("HUP", 64, "CONT")
    assert run.wait() == 0
    assert {"program1", "program18", "program64"} <= set(run.err.splitlines())


def test_signals_sent_before_it_starts(init: str, start_any: Start) -> None:
    """Blocked and pending: passed on."""

    def prepare() -> None:
        signals.pthread_sigmask(signals.SIG_BLOCK, {15, 34})
        os.kill(os.getpid(), 15)
        os.kill(os.getpid(), 34)

    code = "say(*sorted(int(signal.sigwait({15, 34})) for _ in '12'))"
    run = start_any(init, "-s", "--", *python(code), prepare=prepare)
    assert (run.wait(), run.out) == (0, "15 34\n"), str(run)


def test_parent_death(init: str, start_any: Start) -> None:
    """-p: the parent's death is a signal for tini, which passes it on."""
    code = "import subprocess; subprocess.Popen(sys.argv[1:]).wait()"
    run = start_any(*python(code), init, "-s", "-p", "SIGUSR1", "--", *python(RECORDER))
    run.wait_err("(?m)^program ready$")
    run.wait_err("(?m)^other ready$")
    tini = processes.children(run.process.pid)[0]
    run.process.kill()
    until(lambda: "program10" in run.err.splitlines(), 20, "the signal")
    os.kill(tini, 64)
    until(lambda: not run.left, 20, "the end")


# --- the others ---

ORPHANS = """
ends, ready = os.pipe()
for _ in range(5):
    daemon(lambda: os.write(ready, b"%9d" % os.getpid()))
for _ in range(5):
    pid = int(os.read(ends, 9))
    while len(sys.argv) > 1 and os.path.exists(f"/proc/{pid}"):
        time.sleep(0.001)
sys.exit(3)
"""
"""Five that end, and are reaped before the program goes on if it is told to wait for that."""


@pytest.mark.parametrize("where", [HOST, NAMESPACE], indirect=True)
@pytest.mark.parametrize("options", ["-s", "-sw", "-swvv", "-swvvv"])
def test_orphans(pair: Pair, start_any: Start, options: str, where: str) -> None:
    """-w says each that is reaped, as PID 1 and as a subreaper."""
    found = []
    for init in pair.both:
        run = start_any(init, options, "--", *python(ORPHANS), "wait", where=where)
        status = run.wait()
        # how many SIGCHLD become one, and so how often it looks, is chance
        said = [line for line in lines(run.out) if not re.search(r"Received SIGCHLD|No child|tcsetpgrp", line)]
        found.append((status, said, lines(run.err)))
    assert found[0] == found[1]
    assert found[0][0] == 3
    assert len([line for line in found[1][2] if "Reaped zombie process with pid=N" in line]) == (
        5 if "w" in options else 0
    )


@pytest.mark.parametrize("options", [[], ["-w"]], ids=["plain", "-w"])
def test_orphans_of_somebody_else(pair: Pair, start_any: Start, options: list[str], as_root: None) -> None:
    """Neither PID 1 nor a subreaper: a warning of three lines, and nobody is adopted. (No subreaper unless asked for.)"""
    del as_root
    found = []
    for init in pair.both:
        run = start_any(*shell('"$@"; exit $?'), "sh", init, *options, "--", *python(ORPHANS), where=NAMESPACE)
        found.append((run.wait(), lines(run.out), lines(run.err)))
    assert found[0] == found[1]
    assert found[0][0] == 3
    assert len(found[0][2]) == 3


def test_it_leaves_as_soon_as_the_program_is_reaped(init: str, start_any: Start) -> None:
    """Others live on, unasked."""
    code = "def body():\n    block(); say('ready'); signal.sigwait({64})\ndaemon(body); sys.exit(3)"
    run = start_any(init, "-s", "--", *python(code))
    assert run.wait() == 3
    until(lambda: "ready" in run.lines, 10, "the other")
    assert len(run.left) == 1
    assert processes.mask(processes.status(run.left[0]), "ShdPnd") == set()


def test_pid_1_takes_the_others_along(init: str, start_any: Start, as_root: None) -> None:
    """They are not asked there either."""
    del as_root
    code = (
        "def body():\n    block(); say('ready'); record(64)\nblock(10); daemon(body); signal.sigwait({10}); sys.exit(3)"
    )
    run = start_any(init, "--", *python(code), where=NAMESPACE).ready().send(10)
    assert run.wait() == 3
    assert run.lines == ["ready"]


# --- what the program gets ---


def given(*, block: Iterable[int] = (), ignore: Iterable[int] = (), close: Iterable[int] = ()) -> Callable[[], None]:
    """Signals and descriptors as a parent may leave them behind."""

    def prepare() -> None:
        for number in (signals.SIGPIPE, signals.SIGXFSZ):
            signals.signal(number, signals.SIG_DFL)
        for ignored in ignore:
            signals.signal(ignored, signals.SIG_IGN)
        for fd in close:
            os.close(fd)
        signals.pthread_sigmask(signals.SIG_SETMASK, set(block))

    return prepare


EVERY = set(range(1, 65)) - {9, 19, 32, 33}


@pytest.mark.parametrize("block", [set(), {15}, {1, 2, 13, 17, 34, 64}, EVERY], ids=["none", "TERM", "some", "all"])
@pytest.mark.parametrize(
    "ignore",
    [set(), {1, 2}, {13}, {13, 25}, {3, 15, 20, 21, 22, 34, 64}, EVERY - {17}],
    ids=["none", "nohup", "PIPE", "PIPE-XFSZ", "many", "all"],
)
def test_masks_and_dispositions(pair: Pair, block: set[int], ignore: set[int]) -> None:
    """The program's are exactly those that tini was given."""
    found = same(
        pair, "-s", "--", "sed", "-n", "/^Sig[BIC]/p", "/proc/self/status", prepare=given(block=block, ignore=ignore)
    )
    fields = dict(line.split(":\t") for line in found.out)
    masks = [processes.mask(fields, key) for key in ("SigBlk", "SigIgn", "SigCgt")]
    assert masks == [block, ignore, set()]


SURROUNDINGS = """
found = [os.getpgrp() == os.getpid(), os.getsid(0) == os.getsid(os.getppid()), os.umask(0), os.getcwd(), os.nice(0)]
for fd in range(100):
    try:
        found.append((fd, os.readlink(f"/proc/self/fd/{fd}").split(" ")[0]))
    except OSError:
        continue
"""


@pytest.mark.parametrize("close", [(), (1,), (2,), (1, 2)], ids=str)
def test_surroundings(pair: Pair, start_any: Start, tmp_path: Path, close: tuple[int, ...]) -> None:
    """Its own group in the same session; directory, umask, nice value and descriptors as given, those that were closed too."""
    found: list[tuple[int, str]] = []
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.dup2(inherited, 77)
    for init in pair.both:
        file = tmp_path / f"said-{len(found)}"
        code = SURROUNDINGS + f"open({str(file)!r}, 'w').write(repr(found))"
        run = start_any(init, "-s", "--", *python(code), prepare=given(close=close), pass_fds=(77,), cwd=tmp_path)
        found.append((run.wait(), re.sub(r"/[^']*#\d+", "(a file)", file.read_text())))
    os.close(inherited)
    os.close(77)
    assert found[0] == found[1]
    assert found[0][0] == 0
    assert found[0][1].startswith("[True, True, ")
    assert "(77, '/dev/null')" in found[0][1]
    assert [f"({fd}, " in found[0][1] for fd in (1, 2)] == [fd not in close for fd in (1, 2)]


def test_environment_is_untouched(pair: Pair) -> None:
    """Byte for byte and in this order: TINI_*, PYINIT_* and what names a PID included."""
    variables = {
        b"PATH": PATH.encode(),
        b"PYINIT_GRACE": b"1s",
        b"TINI_SUBREAPER": b"",
        b"LISTEN_PID": str(os.getpid()).encode(),
        b"BYTES": b"\xff\xfe",
        b"EMPTY": b"",
        b"TINI_VERBOSITY": b"1",
    }
    found = same(pair, "--", "env", "-0", env=variables)
    assert found.out[0] == b"".join(b"%s=%s\0" % pair for pair in variables.items()).decode("utf-8", "backslashreplace")
    words = [b"\xff", b"", b" ", b"--", b"-x"]
    assert same(pair, "-s", "--", "printf", "[%s]", *words).out == ("[\\xff][][ ][--][-x]",)


ON_A_TERMINAL = """
block(1)
say("foreground", os.tcgetpgrp(0) == os.getpgrp(), "group", os.getpgrp() == os.getpid(), "session", os.getsid(0) == os.getppid())
signal.signal(2, lambda *_: (say("interrupted"), sys.exit(9)))
say("ready")
while True:
    signal.pause()
"""


def test_terminal(init: str) -> None:
    """The program has the foreground, and Ctrl-C reaches it."""
    with Terminal([init, "-s", "--", *python(ON_A_TERMINAL)]) as terminal:
        assert terminal.expect("ready").strip() == "foreground True group True session True"
        terminal.send("\x03")
        terminal.expect("interrupted")
        assert terminal.wait() == 9


def test_terminal_taken_from_the_background(init: str) -> None:
    """As a job in the background of a shell it takes the foreground, as tini does. (pyinit under its own name does not.)"""
    code = 'set -m; "$@" & wait $!; echo "status $?"'
    with Terminal(["bash", "-c", code, "bash", init, "-s", "--", *python(ON_A_TERMINAL)]) as terminal:
        assert "foreground True group True" in terminal.expect("ready")
        terminal.send("\x03")
        terminal.expect("interrupted")


# --- tini's faults, which are gone ---


def test_it_sleeps_while_nothing_happens(pair: Pair, start_any: Start) -> None:
    """The real one looks around each second. It is the clock here: when it has done so twice, ours has not moved."""
    ours = started(start_any, pair.ours, "-s")
    until(lambda: processes.state(ours.pid) == "S", 10, "its sleep")
    before = processes.switches(ours.pid)
    real = started(start_any, pair.real, "-s")
    ticks = processes.switches(real.pid)
    until(lambda: processes.switches(real.pid) >= ticks + 2, 20, "tini's second look")
    assert processes.switches(ours.pid) == before


def test_program_that_may_not_be_signalled(pair: Pair, start_any: Start, as_root: None) -> None:
    """The program runs as another user, and CAP_KILL is missing: tini leaves; ours says the same as a warning, and stays."""
    del as_root
    code = f"os.setuid({OTHER_UID}); block(); say('ready'); record(10); sys.exit(5)"
    message = "Unexpected error when forwarding signal: 'Operation not permitted'"
    run = start_any(pair.real, "-s", "--", *python(code), wrapper=WITHOUT_KILL).ready().send("HUP")
    assert run.wait() == 1
    assert lines(run.err) == (f"[FATAL tini (N)] {message}",)
    run = start_any(pair.ours, "-s", "--", *python(code), wrapper=WITHOUT_KILL).ready().send("HUP")
    run.wait_err("forwarding")
    assert run.process.poll() is None
    os.kill(run.program, signals.SIGUSR1)
    assert run.wait() == 5
    assert lines(run.err) == (f"[WARN  tini (N)] {message}",)


def test_closed_stdin(pair: Pair, start_any: Start) -> None:
    """No terminal is no reason to fail."""
    code = shell("[ -e /proc/self/fd/0 ] || exit 3")
    run = start_any(pair.real, "-s", "--", *code, prepare=given(close=[0]))
    assert run.wait() == 1
    assert lines(run.err) == ("[FATAL tini (N)] tcsetpgrp failed: Bad file descriptor",)
    run = start_any(pair.ours, "-s", "--", *code, prepare=given(close=[0]))
    assert (run.wait(), run.err) == (3, "")


def test_group_signal_at_the_very_start(pair: Pair) -> None:
    """-g: tini may pass a signal on before there is a group, and it is lost; ours starts the group first."""

    def prepare() -> None:
        signals.pthread_sigmask(signals.SIG_BLOCK, {15})
        os.kill(os.getpid(), 15)

    def is_lost(init: str) -> bool:
        found = outcome(init, ["-sg", "--", "true"], prepare=prepare)
        return found.err == ("[WARN  tini (N)] Child was dead when forwarding signal",)

    until(lambda: is_lost(pair.real), 60, "a signal that tini loses")
    assert not any(is_lost(pair.ours) for _ in range(100))
    for _ in range(5):
        assert outcome(pair.ours, ["-sg", "--", *python("say(int(signal.sigwait({15})))")], prepare=prepare).out == (
            "15",
        )


def test_ignored_sigchld(pair: Pair, start_any: Start) -> None:
    """The real one never learns that the program has ended. The program gets what was given to either of them."""
    words = ["-s", "-e", "0", "--", "sed", "-n", "/^SigIgn/{p;q3}", "/proc/self/status"]
    ours = start_any(pair.ours, *words, prepare=given(ignore=[17]))
    assert (ours.wait(), ours.out) == (3, "SigIgn:\t0000000000010000\n")
    real = start_any(pair.real, *words, prepare=given(ignore=[17]))
    real.wait_out("SigIgn:\t0000000000010000")
    until(lambda: not processes.children(real.pid), 10, "the program's end")
    ticks = processes.switches(real.pid)
    until(lambda: processes.switches(real.pid) >= ticks + 2, 20, "two more looks")
    assert real.process.poll() is None


def test_reader_of_its_lines_has_gone(pair: Pair, start_any: Start) -> None:
    """The SIGPIPE of its own warning is no signal for the program, which tini sends it."""
    ends = {}
    for init in pair.both:
        reader, writer = os.pipe()
        os.close(reader)
        commands, hands = os.pipe()
        run = start_any(init, "--", *shell("read x; exit 3"), stdin=commands, stderr=writer)
        os.close(writer)
        os.close(commands)
        if init == pair.ours:
            os.write(hands, b"go\n")
        ends[init] = run.wait()
        os.close(hands)
    assert ends == {pair.real: 128 + signals.SIGPIPE, pair.ours: 3}
