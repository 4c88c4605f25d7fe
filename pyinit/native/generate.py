"""What the native engine takes from the Python tables: `python pyinit/native/generate.py` writes machine.h, options.h and texts.h.

A test fails when one of them is stale. Nothing is decided here: rows, names and words stand in pyinit/init.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:] = [str(HERE.parents[1]), *(entry for entry in sys.path if Path(entry or ".").resolve() != HERE)]

from pyinit.init import about, forensics, machine, options, program, signals, start  # noqa: E402

# what the calls of an init can fail with; strerror of a libc would bring all of them, and other words in each libc
# fmt: off
ERRORS = (
    errno.EPERM, errno.ENOENT, errno.ESRCH, errno.EINTR, errno.EIO, errno.ENXIO, errno.E2BIG, errno.ENOEXEC,
    errno.EBADF, errno.ECHILD, errno.EAGAIN, errno.ENOMEM, errno.EACCES, errno.EFAULT, errno.EBUSY,
    errno.EEXIST, errno.ENODEV, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENFILE, errno.EMFILE,
    errno.ENOTTY, errno.ETXTBSY, errno.EFBIG, errno.ENOSPC, errno.ESPIPE, errno.EROFS, errno.EPIPE,
    errno.ENAMETOOLONG, errno.ENOSYS, errno.ELOOP, errno.ELIBBAD, errno.EOPNOTSUPP, errno.ETIMEDOUT,
    errno.ESTALE, errno.EDQUOT, errno.EOVERFLOW, errno.EUSERS,
)
# fmt: on


def quoted(text: str) -> str:
    """A C string literal."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(c) or (c if " " <= c <= "~" else _octets(c)) for c in text) + '"'


def _octets(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _header(guard: str, source: str, *parts: str) -> str:
    head = f"/* Generated from pyinit/init: {source}, by generate.py; do not edit. */\n\n"
    return head + f"#ifndef {guard}\n#define {guard}\n\n" + "".join(parts).rstrip("\n") + "\n\n#endif\n"


def _enum(names: tuple[str, ...]) -> str:
    return f"enum {{ {', '.join(name.upper().replace('-', '_') for name in names)} }};\n"


def _define(name: str, rows: Iterable[str], mark: str = ", ") -> str:
    """A macro whose value is a list, one row a line."""
    return f"#define {name} \\\n" + f"{mark}\\\n".join(f"    {row}" for row in rows) + "\n\n"


def _words(name: str, words: Iterable[str]) -> str:
    """A macro whose value is one literal, each word in it ended by a NUL: no pointers beside them."""
    return _define(name, (quoted(word)[:-1] + '\\0"' for word in words), " ")


def machine_h() -> str:
    """The states, the events, the actions and the table."""
    phases = [name.upper() for name in machine.PHASES]
    events = [name.upper() for name in machine.EVENTS]
    common = set(machine.COMMON)
    rows = []
    for phase, event, guard, following, effect in (*machine.TABLE, *machine.COMMON):
        before = "ANY" if (phase, event, guard, following, effect) in common else phases[phase]
        after = "SAME" if following is None else phases[following]
        rows.append(f"{{{before}, {events[event]}, {after}, {guard.__name__}, {effect.__name__}}}")
    enums = [_enum(machine.PHASES), _enum(machine.EVENTS), _enum(machine.ACTIONS), "enum { SAME = -1, ANY = -2 };\n\n"]
    return _header("MACHINE_H", "machine.py", *enums, _define("TABLE_ROWS", dict.fromkeys(rows)))


def options_h() -> str:
    """The option table without its help texts, and the numbers of the contract."""
    numbers = ("MILLISECOND", "SECOND", "DEFAULT_GRACE", "DEFAULT_GRACE_IN_KUBERNETES", "DEFAULT_LINGER")
    policy = options.Policy()
    names = [option.long.upper().replace("-", "_") for option in options.OPTIONS]
    return _header(
        "OPTIONS_H",
        "options.py and signals.py",
        "#define NEVER INT64_MAX\n",
        *(f"#define {name} INT64_C({getattr(options, name)})\n" for name in numbers),
        *(f"#define POLICY_{name.upper()} INT64_C({getattr(policy, name)})\n" for name in ("fair", "bound", "apart")),
        f"enum {{ MAX_STEPS = {options.MAX_STEPS} }};\n",
        _enum(options.SCOPES),
        "enum { AS_IT_CAME };\nenum { ERRORS, WARNINGS, INFO, DEBUG };\n",
        "enum {\n",
        *(f"    OPTION_{name},\n" for name in names),
        "    OPTIONS\n};\n\n/* short, long, value, variable */\n",
        _define(
            "OPTION_ROWS",
            (f"{{{', '.join(map(quoted, (o.short, o.long, o.value, o.env)))}}}" for o in options.OPTIONS),
        ),
        _define("UNPRINTABLE_RANGES", (f"{{{first:#x}, {last:#x}}}" for first, last in options.UNPRINTABLE)),
        _words("SIGNAL_NAMES", ("SIG" + name for name in signals.NAMES)),
        _define("SIGNAL_ALIASES", (f"{{{quoted(name)}, {number}}}" for name, number in signals.ALIASES.items())),
    )


def texts_h() -> str:
    """Words for people, and names of machines and errors."""
    return _header(
        "TEXTS_H",
        "about.py, program.py and forensics.py",
        f"#define VERSION {quoted(start.VERSION)}\n",
        f"#define DEFAULT_PATH {quoted(program.DEFAULT_PATH.decode())}\n",
        _define("HELP", map(quoted, about.help_text().splitlines(keepends=True)), " "),
        _define("LICENSE", map(quoted, about.LICENSE.splitlines(keepends=True)), " "),
        _define("ERROR_TEXTS", (f"{{{number}, {quoted(os.strerror(number))}}}" for number in ERRORS)),
        _define("MACHINES", (f"{{{number}, {quoted(name)}}}" for number, name in program.MACHINES.items())),
        _words("SIGNAL_TEXTS", (signal.strsignal(number) or "" for number in range(1, 32))),
        _define("SHELLS", (quoted(name.decode()) for name in forensics.SHELLS)),
        _define("INTERPRETERS", (quoted(name.decode()) for name in forensics.INTERPRETERS)),
    )


def files() -> dict[Path, str]:
    """Every generated file, with what it should hold."""
    return {HERE / "machine.h": machine_h(), HERE / "options.h": options_h(), HERE / "texts.h": texts_h()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
        print(f"written: {path.name}")
