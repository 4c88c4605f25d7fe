"""Bad input: one clear line on stderr that names what to write instead, the contract's exit status, never a traceback."""

import os
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from support.runs import Run

Start = Callable[..., Run]

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def refused(run: Run, status: int, *wanted: str) -> None:
    """One line, which begins with our name and holds these words; this status; nothing on stdout."""
    assert run.wait() == status, str(run)
    assert run.err.endswith("\n")
    assert run.err.count("\n") == 1
    assert run.err.startswith("pyinit: ")
    assert [word for word in wanted if word not in run.err] == [], run.err
    assert "Traceback" not in run.err
    assert run.out == ""


USAGE: dict[str, tuple[list[str | bytes], list[str]]] = {
    "unknown long": (["--gracee", "1s", "true"], ["--gracee", "--grace"]),
    "unknown long, nothing near": (["--frobnicate", "true"], ["--frobnicate", "--help"]),
    "unknown short": (["-Z", "true"], ["-Z"]),
    "unknown in a cluster": (["-vZ", "true"], ["-Z"]),
    "flag with a value": (["--group=yes", "true"], ["--group", "takes no value"]),
    "value missing": (["--grace"], ["--grace", "D"]),
    "value missing, short": (["-t"], ["-t"]),
    "duration 10x": (["--grace", "10x", "true"], ["--grace", "10x", "8s"]),
    "duration -5": (["--grace", "-5", "true"], ["--grace", "-5", "8s"]),
    "duration empty": (["--drain=", "true"], ["--drain", "8s"]),
    "duration words": (["--linger", "soon", "true"], ["--linger", "soon", "8s"]),
    "duration 1.5s": (["-t", "1.5s", "true"], ["1.5s", "1500ms"]),
    "duration huge": (["-t", "9" * 30 + "s", "true"], ["infinity"]),
    "duration arabic digits": (["-t", "٣s", "true"], ["8s"]),
    "signal": (["--rewrite", "FOO:TERM", "true"], ["FOO", "TERM"]),
    "signal 0": (["--parent-death", "0", "true"], ["--parent-death", "TERM"]),
    "signal 32": (["-p", "32", "true"], ["32", "TERM"]),
    "signal 65": (["-p", "65", "true"], ["65", "TERM"]),
    "signal RTMIN+31": (["-p", "RTMIN+31", "true"], ["RTMIN+31"]),
    "stop signals": (["--stop-signals", "TERM,BAR", "true"], ["--stop-signals", "BAR"]),
    "stop signal KILL": (["--stop-signals", "KILL", "true"], ["SIGKILL", "cannot be caught"]),
    "stop signal CHLD": (["--stop-signals", "CHLD", "true"], ["SIGCHLD"]),
    "rewrite without colon": (["-r", "TERM", "true"], ["TERM", ":"]),
    "rewrite to KILL": (["-r", "TERM:KILL", "true"], ["SIGKILL", "--grace 0"]),
    "grace with stop": (["--grace", "1s", "--stop", "TERM:1s,KILL", "true"], ["--grace", "--stop", "TERM:8s,KILL"]),
    "plan KILL first": (["--stop", "KILL,TERM", "true"], ["--stop", "KILL", "last"]),
    "plan KILL with a duration": (["--stop", "TERM:1s,KILL:1s", "true"], ["KILL"]),
    "plan without a duration": (["--stop", "TERM,KILL", "true"], ["TERM:8s"]),
    "plan bad signal": (["--stop", "TREM:8s,KILL", "true"], ["TREM"]),
    "plan bad duration": (["--stop", "TERM:8x,KILL", "true"], ["8x"]),
    "plan empty": (["--stop", "", "true"], ["--stop"]),
    "plan empty step": (["--stop", "TERM:1s,,KILL", "true"], ["--stop"]),
    "expect 300": (["--expect", "300", "true"], ["--expect", "300", "255"]),
    "expect 125": (["--expect", "125", "true"], ["125"]),
    "expect -1": (["--expect", "-1", "true"], ["-1", "255"]),
    "expect word": (["-e", "never", "true"], ["never", "TERM"]),
    "scope": (["--scope", "all", "true"], ["all", "child", "group", "tree"]),
    "wait": (["--wait", "some", "true"], ["some", "main", "all"]),
    "log": (["--log", "xml", "true"], ["xml", "text", "json"]),
    "group and child": (["-g", "-c", "true"], ["-g", "-c"]),
    "child and scope": (["-c", "--scope", "tree", "true"], ["-c", "--scope"]),
    "group and scope child": (["-g", "--scope", "child", "true"], ["-g", "--scope"]),
    "subreaper both": (["-s", "--no-subreaper", "true"], ["--subreaper", "--no-subreaper"]),
    "no program": ([], ["PROGRAM"]),
    "no program after options": (["-v"], ["PROGRAM"]),
    "no program after --": (["--"], ["PROGRAM"]),
    "invalid UTF-8 in an option": ([b"--gr\xff", "true"], ["\\xff"]),
    "invalid UTF-8 in a value": (["--grace", b"1\xff", "true"], ["\\xff", "8s"]),
    "escape sequence in a value": (["--grace", "\x1b[2J", "true"], ["\\x1b"]),
    "newline in a value": (["--grace", "1\n2", "true"], ["\\x0a"]),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage(case: str, start: Start) -> None:
    """Whatever is wrong on the command line is 125, before anything is started."""
    words, wanted = USAGE[case]
    refused(start(*words, env=PATH), 125, *wanted)


VARIABLES: dict[str, tuple[str, bytes, list[str]]] = {
    "grace": ("PYINIT_GRACE", b"10x", ["8s"]),
    "stop": ("PYINIT_STOP", b"KILL,TERM", ["last"]),
    "drain": ("PYINIT_DRAIN", b"-5", ["8s"]),
    "linger": ("PYINIT_LINGER", b"x", ["8s"]),
    "wait": ("PYINIT_WAIT", b"both", ["main", "all"]),
    "scope": ("PYINIT_SCOPE", b"world", ["group"]),
    "stop signals": ("PYINIT_STOP_SIGNALS", b"TERM;INT", ["TERM"]),
    "rewrite": ("PYINIT_REWRITE", b"TERM", ["HUP:0"]),
    "expect": ("PYINIT_EXPECT", b"300", ["255"]),
    "subreaper": ("PYINIT_SUBREAPER", b"perhaps", ["yes", "no"]),
    "warn reap": ("PYINIT_WARN_REAP", b"2", ["yes", "no"]),
    "log": ("PYINIT_LOG", b"yaml", ["json"]),
    "verbosity": ("PYINIT_VERBOSITY", b"9", ["0", "3"]),
    "invalid UTF-8": ("PYINIT_GRACE", b"\xfe\xff", ["\\xfe", "8s"]),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_variable(case: str, start: Start) -> None:
    """A variable with a bad value is named in the error."""
    name, value, wanted = VARIABLES[case]
    env = {b"PATH": b"/usr/bin:/bin", name.encode(): value}
    refused(start("--", "true", env=env), 125, name, *wanted)


def test_variables_that_exclude_each_other(start: Start) -> None:
    """PYINIT_GRACE and PYINIT_STOP together are as wrong as the options."""
    env = {**PATH, "PYINIT_GRACE": "1s", "PYINIT_STOP": "TERM:1s,KILL"}
    refused(start("true", env=env), 125, "PYINIT_GRACE", "PYINIT_STOP")


def test_option_overrides_a_bad_variable(start: Start) -> None:
    """What the command line says is not read from the environment, and an empty variable counts as not set."""
    env = {**PATH, "PYINIT_GRACE": "10x", "PYINIT_STOP": "", "PYINIT_LOG": ""}
    run = start("--grace", "1s", "true", env=env)
    assert (run.wait(), run.err) == (0, "")


# --- programs that cannot be executed ---


def written(path: Path, content: bytes, mode: int = 0o755) -> str:
    """A file with this content and mode; its name."""
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def elf(machine: int, *, wide: bool = True, little: bool = True) -> bytes:
    """The header of an executable for another machine (elf(5))."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    return ident + struct.pack(f"{order}HHI", 2, machine, 1) + bytes(104)


def test_program_not_found(start: Start) -> None:
    """127, and where it was looked for."""
    refused(start("--", "no-such-program", env=PATH), 127, "no-such-program", PATH["PATH"])


def test_program_path_not_found(start: Start, tmp_path: Path) -> None:
    """A path is not searched for; the working directory is said, for relative ones."""
    refused(start("--", "./nothing", cwd=tmp_path, env=PATH), 127, "./nothing", str(tmp_path))


def test_program_in_a_deleted_directory(start: Start, tmp_path: Path) -> None:
    """A directory that is gone cannot be named, which is no reason for a traceback."""
    gone = tmp_path / "gone"
    gone.mkdir()
    refused(start("--", "./nothing", cwd=gone, env=PATH, prepare=gone.rmdir), 127, "./nothing")


def test_program_empty(start: Start) -> None:
    """An empty name is 127, not the first directory of PATH."""
    refused(start("--", "", env=PATH), 127, "empty", "PROGRAM")


def test_program_is_a_directory(start: Start, tmp_path: Path) -> None:
    """A directory is found but cannot be executed."""
    refused(start("--", str(tmp_path), env=PATH), 126, "directory")


def test_program_without_x_bit(start: Start, tmp_path: Path) -> None:
    """The cure for a forgotten chmod is in the line, also when the file was found on PATH."""
    name = written(tmp_path / "tool", b"#!/bin/sh\n", 0o644)
    refused(start("--", name, env=PATH), 126, "chmod +x")
    refused(start("--", "tool", env={"PATH": f"{tmp_path}:/bin"}), 126, name, "chmod +x")


def test_program_through_a_file(start: Start, tmp_path: Path) -> None:
    """A part of the path that is no directory."""
    name = written(tmp_path / "file", b"")
    run = start("--", name + "/x", env=PATH)
    refused(run, 126, "directory")


def test_interpreter_missing(start: Start, tmp_path: Path) -> None:
    """`#!` with an interpreter that is not there: 127, and which."""
    refused(start("--", written(tmp_path / "x", b"#!/no/such/python3 -u\n"), env=PATH), 127, "/no/such/python3")


def test_windows_line_endings(start: Start, tmp_path: Path) -> None:
    """The classic of scripts that were checked out on Windows is called by its name."""
    refused(start("--", written(tmp_path / "x", b"#!/bin/sh\r\necho hello\r\n"), env=PATH), 127, "Windows line endings")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (elf(183), "aarch64"),
        (elf(40, wide=False), "arm"),
        (elf(22, little=False), "s390x"),
        (elf(243), "riscv64"),
        (elf(4321), "4321"),
    ],
    ids=["aarch64", "arm", "s390x", "riscv64", "unknown"],
)
def test_built_for_another_machine(header: bytes, name: str, start: Start, tmp_path: Path) -> None:
    """An executable for another machine is not fed to a shell: 126, and for which machine it is."""
    refused(start("--", written(tmp_path / "x", header), env=PATH), 126, name, os.uname().machine)


def test_binary_without_a_format(start: Start, tmp_path: Path) -> None:
    """A file with a NUL is no script either, nor is an ELF header that has been cut off."""
    refused(start("--", written(tmp_path / "x", b"abc\0def\n"), env=PATH), 126, "format")
    refused(start("--", written(tmp_path / "y", b"\x7fELF\x02"), env=PATH), 126, "format")


def test_dynamic_loader_missing(start: Start, tmp_path: Path) -> None:
    """The kernel's "no such file" for a binary that is there means its loader: say so."""
    loader = b"/lib/ld-musl-nowhere.so.1\0"
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 120, 120, len(loader), len(loader), 1)
    if os.uname().machine != "x86_64":
        pytest.skip("the header is one for x86_64")
    refused(start("--", written(tmp_path / "x", header + segment + loader), env=PATH), 127, "ld-musl-nowhere.so.1")


def test_script_without_interpreter_line(start: Start, tmp_path: Path) -> None:
    """A text file without `#!` runs under /bin/sh with its arguments, as execvp does; on PATH too. An empty file is a success."""
    name = written(tmp_path / "script", b'echo "$0" "$1"\n')
    run = start("--", name, "a b")
    assert (run.wait(), run.lines) == (0, [f"{name} a b"])
    run = start("--", "script", "c", env={"PATH": f"{tmp_path}:/bin"})
    assert (run.wait(), run.lines) == (0, [f"{name} c"])
    assert start("--", written(tmp_path / "empty", b"")).wait() == 0


def test_name_too_long(start: Start) -> None:
    """ENAMETOOLONG is the file's fault, not ours; on PATH it was merely not found anywhere."""
    run = start("--", "/" + "x" * 300, env=PATH)
    assert run.wait() in (126, 127)
    assert run.err.startswith("pyinit: cannot run /xxx")
    assert run.err.count("\n") == 1


def test_symlink_loop(start: Start, tmp_path: Path) -> None:
    """ELOOP."""
    (tmp_path / "x").symlink_to("x")
    refused(start("--", str(tmp_path / "x"), env=PATH), 126, str(tmp_path / "x"))


def test_program_is_a_pipe(start: Start, tmp_path: Path) -> None:
    """Looking why it cannot be run does not wait for somebody to write into it."""
    os.mkfifo(tmp_path / "x")
    refused(start("--", str(tmp_path / "x"), env=PATH), 126, str(tmp_path / "x"))


def test_path_unset(start: Start) -> None:
    """Without PATH the usual directories are searched, and the error says that it was not set."""
    assert start("--", "true", env={}).wait() == 0
    refused(start("--", "no-such-program", env={}), 127, "PATH is not set")


def test_path_with_an_empty_entry(start: Start, tmp_path: Path) -> None:
    """An empty entry is the working directory (POSIX)."""
    written(tmp_path / "here", b"#!/bin/sh\nexit 9\n")
    assert start("--", "here", env={"PATH": "/nowhere::/bin"}, cwd=tmp_path).wait() == 9


def test_denied_in_one_directory_found_in_the_next(start: Start, tmp_path: Path) -> None:
    """EACCES does not end the search; if nothing else is found it is the answer."""
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "tool", b"#!/bin/sh\nexit 9\n", mode)
    first, second = tmp_path / "first", tmp_path / "second"
    assert start("--", "tool", env={"PATH": f"{first}:{second}"}).wait() == 9
    refused(start("--", "tool", env={"PATH": f"{first}:{tmp_path}"}), 126, f"{first}/tool")


def test_directory_on_path_is_skipped(start: Start, tmp_path: Path) -> None:
    """A directory of the program's name is not the program."""
    for folder in ("first/tool", "second"):
        (tmp_path / folder).mkdir(parents=True)
    written(tmp_path / "second" / "tool", b"#!/bin/sh\nexit 9\n")
    assert start("--", "tool", env={"PATH": f"{tmp_path}/first:{tmp_path}/second"}).wait() == 9


def test_arguments_too_long(start: Start, tmp_path: Path) -> None:
    """E2BIG: arguments with which pyinit itself was just started, and which do not fit with a script's long interpreter."""
    folder = tmp_path / ("d" * 150)
    folder.mkdir()
    (folder / "interp").symlink_to("/bin/sh")
    script = written(folder / "script", f"#!{folder}/interp\n".encode())

    def prepare() -> None:
        resource.setrlimit(
            resource.RLIMIT_STACK, (1 << 20, resource.RLIM_INFINITY)
        )  # arguments may use a quarter of it

    def run(program: str, size: int) -> Run:
        words = ["x" * 100_000, "x" * 100_000, "x" * (size - 200_000)]
        return start("--", program, *words, env={**PATH, "PADDING": "p" * 200}, prepare=prepare)

    fits, too_long = 250_000, 1 << 18
    while too_long - fits > 1:
        size = (fits + too_long) // 2
        try:
            run(f"{folder}/interp", size).process.kill()
        except OSError:
            too_long = size
        else:
            fits = size
    refused(run(script, fits), 126, script, "too long")


@pytest.mark.parametrize("case", ["missing directory", "directory", "no permission"])
def test_termination_log_that_cannot_be_written(case: str, start: Start, tmp_path: Path) -> None:
    """A warning at the start, and the run goes on to its own status."""
    if case == "no permission":
        path, wanted = "/proc/sysrq-nowhere", "/proc/sysrq-nowhere"
    else:
        path = str(tmp_path / "missing" / "log") if case == "missing directory" else str(tmp_path)
        wanted = path
    run = start("--termination-log", path, "--", "sh", "-c", "exit 3")
    assert run.wait() == 3
    first = run.err.splitlines()[0]
    assert first.startswith("pyinit: --termination-log")
    assert wanted in first
    assert "can write" in first
    assert "Traceback" not in run.err


def test_arguments_and_environment_of_invalid_utf8_pass_unchanged(start: Start) -> None:
    """Bytes are bytes: nobody decodes what is the program's."""
    run = start(
        "--", "printf", "%s|%s", b"\xff\xfe\x80", "ü", env={b"PATH": b"/usr/bin:/bin", b"\xffNAME": b"\xfe\x80"}
    )
    assert run.wait() == 0
    assert run.raw == b"\xff\xfe\x80|\xc3\xbc"
    run = start("--", "env", "-0", env={b"PATH": b"/usr/bin:/bin", b"\xffNAME": b"\xfe\x80"})
    assert run.wait() == 0
    assert b"\xffNAME=\xfe\x80\0" in run.raw


def test_program_with_invalid_utf8_in_its_name(start: Start, tmp_path: Path) -> None:
    """A program may be called anything; what is not found is printed escaped."""
    folder = os.fsencode(tmp_path)
    Path(os.fsdecode(folder + b"/\xff")).write_bytes(b"#!/bin/sh\nexit 9\n")
    Path(os.fsdecode(folder + b"/\xff")).chmod(0o755)
    assert start("--", folder + b"/\xff").wait() == 9
    refused(start("--", folder + b"/\xfe", env=PATH), 127, "\\xfe")


def test_program_named_like_an_option(start: Start, tmp_path: Path) -> None:
    """After `--` nothing is an option."""
    written(tmp_path / "-v", b"#!/bin/sh\nexit 9\n")
    assert start("--", "-v", env={"PATH": str(tmp_path)}).wait() == 9
    refused(start("--", "--", "x", env=PATH), 127, "--")
