"""The program: where it is found, how it is executed, and what to say when it cannot be.

execvp's rules (exec(3)), written out because os.execvpe lacks the /bin/sh fallback and `os` is not loaded on PID 1: search PATH,
remember a permission error, run a file without `#!` under /bin/sh. Unlike execvp, a binary for another machine is not fed to a shell.
"""

import errno
import posix

from pyinit.init import forensics
from pyinit.init.options import show

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where to look when PATH is not set: what container runtimes put there."""

NOT_FOUND, NOT_EXECUTABLE, OWN_FAILURE = 127, 126, 125
"""Exit statuses of what never started (POSIX, "Exit Status for Commands"; 125 as coreutils' env and timeout)."""

SEARCHED_ON = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EACCES,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENODEV,
    errno.ETIMEDOUT,
    errno.ESTALE,
)

# fmt: off
MACHINES = {  # e_machine of the ELF header (elf.h), as `uname -m` names it
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64",
    258: "loongarch64",
}
# fmt: on


def candidates(name: bytes, environ: "Mapping[bytes, bytes]") -> "list[bytes]":
    """The files to try, in order. An empty entry of PATH is the working directory."""
    if b"/" in name or not name:
        return [name]
    return [(entry or b".") + b"/" + name for entry in environ.get(b"PATH", DEFAULT_PATH).split(b":")]


def execute(words: "tuple[bytes, ...]", environ: "Mapping[bytes, bytes]") -> "NoReturn":
    """Become the program. Raises OSError, with the file that it is about, when none of the candidates can be executed."""
    failure = OSError(errno.ENOENT, "", words[0])
    if not words[0]:
        raise failure  # posix.execve would call an empty argv[0] a ValueError
    for file in candidates(words[0], environ):
        try:
            posix.execve(file, words, environ)
        except OSError as error:
            error.filename = file
            if error.errno == errno.ENOEXEC and not _is_binary(file):
                try:
                    posix.execve(b"/bin/sh", (b"sh", file, *words[1:]), environ)
                except OSError:
                    raise OSError(errno.ENOEXEC, "", file) from None  # no shell in this image
            if error.errno not in SEARCHED_ON:
                raise
            # "permission denied" for one directory must not be hidden by "not found" in the next
            if failure.errno != errno.EACCES:
                failure = error
    raise failure


def _is_regular(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except OSError:
        return False


def _is_binary(file: bytes) -> bool:
    head = forensics.read(file.decode("utf-8", "surrogateescape"), 128)
    return head.startswith(b"\x7fELF") or b"\0" in head


def explain(number: int, file: bytes, words: "Sequence[bytes]", environ: "Mapping[bytes, bytes]") -> "tuple[int, str]":
    """The exit status and the one line for a program that could not be executed: which file, why, and what to do."""
    name, path = show(words[0]), file.decode("utf-8", "surrogateescape")
    head = forensics.read(path, 4096) if _is_regular(path) else b""
    if number == errno.ENOENT:
        if not words[0]:
            return NOT_FOUND, "cannot run '': the program's name is empty; write pyinit -- PROGRAM [ARG...]"
        if head.startswith(b"#!"):
            interpreter = show((head[2:].split(b"\n")[0].split() or [b""])[0].rstrip(b"\r"))
            ending = ", the file has Windows line endings" if b"\r\n" in head[:256] else ""
            return NOT_FOUND, f"cannot run {show(file)}: its interpreter {interpreter} is not in this image{ending}"
        if head.startswith(b"\x7fELF"):
            return (
                NOT_FOUND,
                f"cannot run {show(file)}: its dynamic loader {_loader(head)} is not in this image (glibc or musl?)",
            )
        if b"/" in words[0]:
            return NOT_FOUND, f"cannot run {name}: no such file; the working directory is {_working_directory()}"
        where = environ.get(b"PATH")
        looked = show(where) if where is not None else f"{show(DEFAULT_PATH)}, since PATH is not set"
        return NOT_FOUND, f"cannot run {name}: not found in {looked}; install it, or write its full path"
    if number == errno.EACCES:
        return NOT_EXECUTABLE, f"cannot run {show(file)}: {_no_access(path)}"
    if number == errno.ENOEXEC:
        if head.startswith(b"\x7fELF") and len(head) > 20:
            machine = _number(head, 18, 2)
            built, here = MACHINES.get(machine, f"machine {machine}"), posix.uname().machine
            if built != here:
                return (
                    NOT_EXECUTABLE,
                    f"cannot run {show(file)}: built for {built}, this machine is {here}; pull the image for {here}",
                )
        return (
            NOT_EXECUTABLE,
            f"cannot run {show(file)}: its format is not one that this machine executes; a script begins with #!",
        )
    if number == errno.ENOTDIR:
        return NOT_EXECUTABLE, f"cannot run {name}: a part of the path is not a directory"
    return NOT_EXECUTABLE, f"cannot run {show(file)}: {posix.strerror(number)}"


def _working_directory() -> str:
    try:
        return show(posix.getcwdb())
    except OSError:
        return "gone: it was deleted; write WORKDIR /"


def _no_access(path: str) -> str:
    try:
        mode = posix.stat(path).st_mode
    except OSError:
        return "a directory on the way may not be searched by this user; check USER and the modes of the directories"
    if mode & 0o170000 == 0o040000:
        return "it is a directory; name a file in it"
    if not mode & 0o111:
        return "it is not executable; write chmod +x in the Dockerfile, or name its interpreter before it"
    return f"this user (UID {posix.geteuid()}) may not execute it; check USER, its mode, and a noexec mount"


def _number(head: bytes, offset: int, size: int) -> int:
    """A field of an ELF header, in the file's own byte order."""
    return int.from_bytes(head[offset : offset + size], "little" if head[5] == 1 else "big")


def _loader(head: bytes) -> str:
    """The PT_INTERP of an ELF file (elf(5)), as far as the first page holds it."""
    wide = head[4] == 2
    table, size, count = ((32, 8), (54, 2), (56, 2)) if wide else ((28, 4), (42, 2), (44, 2))
    first, each = _number(head, *table), _number(head, *size)
    for at in range(first, first + each * _number(head, *count), each or 1):
        if _number(head, at, 4) == 3:  # PT_INTERP
            start = _number(head, at + 8, 8) if wide else _number(head, at + 4, 4)
            return show(head[start : start + 256].split(b"\0")[0])
    return "(unknown)"


def environment(environ: "Mapping[bytes, bytes]", parent: int, child: int, budget: int | None) -> "dict[bytes, bytes]":
    """What the program gets: what pyinit was given, with what would be untrue for it put right.

    LISTEN_PID and WATCHDOG_PID name the process they are meant for (sd_listen_fds(3), sd_watchdog_enabled(3)); when that was
    pyinit, it is now the program. PYINIT_* go, so that a pyinit inside does not drain twice. PYINIT_STOP_BUDGET says, in
    milliseconds, how long the program will have from its stop signal to SIGKILL; it is absent when it will never be killed.
    """
    given = {key: value for key, value in environ.items() if not key.startswith(b"PYINIT_")}
    for key in (b"LISTEN_PID", b"WATCHDOG_PID"):
        if given.get(key) == b"%d" % parent:
            given[key] = b"%d" % child
            if key == b"LISTEN_PID":
                given.pop(b"LISTEN_PIDFDID", None)
    if budget is not None:
        given[b"PYINIT_STOP_BUDGET"] = b"%d" % budget
    return given
