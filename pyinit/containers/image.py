"""The image of the observer and its helpers: our own interpreter and modules, as a tar for `docker import`.

What runs beside a container under test is Python, as everything else here, so it brings its Python along: the running interpreter, the
modules that the agent imports and the shared objects that the kernel has mapped for it, found by starting it once. That is 15 to 60 MB,
by how the interpreter was built, imported within a second, and no registry is asked. The tree keeps the interpreter's own paths, for it
looks for its library beside itself; shared objects go into one folder and the dynamic linker is called by name, so that no path of this
machine's libc matters.

Where client and engine do not run on the same machine type, or the client is no Linux, an image that has Python 3.11 or newer
is needed (`--observer-image`); `source` is then what is put into it.

Rejected: a second program in C (the same observer twice, and none where no compiler is); an image from a registry (there may be
none to ask); bind mounts of the interpreter (the engine may be on another machine).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyinit

HOME = "/pyinit-site"
"""Where the package lies in the image."""
LIBRARIES = "/pyinit-lib"

START = f"import sys; sys.path.insert(0, {HOME!r}); from pyinit.containers import agent; agent.main()"
"""What the interpreter in the image runs."""

_LISTING = """
import json, re, sys
sys.path.insert(0, sys.argv[1])
from pyinit.containers import agent
files = {m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
with open("/proc/self/maps", encoding="utf-8") as maps:
    mapped = {found[1] for line in maps if (found := re.search(r"(/.*?)( \\(deleted\\))?$", line))}
print(json.dumps({"modules": sorted(files), "mapped": sorted(mapped), "stdlib": agent.STDLIB}))
"""


class ImageError(Exception):
    """No tar can be made of this interpreter; the message says why and what to do instead."""


def command(loader: str | None, interpreter: str) -> list[str]:
    """How to start the agent in the image."""
    linked = [loader, "--library-path", LIBRARIES] if loader else []
    return [*linked, interpreter, "-I", "-S", "-B", "-c", START]


def pack() -> tuple[bytes, list[str]]:
    """The tar, and the command that starts the agent in it. Raises ImageError."""
    if sys.platform != "linux":
        raise ImageError(
            f"this machine is {sys.platform}: its Python cannot run in a container; "
            "name an image with Python 3.11 or newer instead: --observer-image python:3.13-slim"
        )
    interpreter = os.path.realpath(sys.executable)
    root = Path(pyinit.__file__).resolve().parent.parent
    try:
        listed = json.loads(
            subprocess.run(
                [interpreter, "-I", "-S", "-c", _LISTING, str(root)],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        raise ImageError(
            f"the interpreter {interpreter} does not start the observer: {words.strip().splitlines()[-1]}"
        ) from None
    loader = loader_of(interpreter)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("proc", "sys", "dev", "tmp", "etc"):
            _folder(tar, folder)
        _file(tar, interpreter, interpreter)
        for path in listed["modules"]:
            inside = Path(path)
            if inside.is_relative_to(root):
                _file(tar, path, f"{HOME}/{inside.relative_to(root)}")
            else:
                _file(tar, path, path)
        # the folder of extension modules is a landmark by which the interpreter finds its library
        _folder(tar, f"{listed['stdlib']}/lib-dynload")
        for path in listed["mapped"]:
            name = Path(path).name
            if ".so" in name and path not in listed["modules"]:
                for alias in _names(path):
                    _file(tar, path, f"{LIBRARIES}/{alias}")
        if loader:
            _file(tar, os.path.realpath(loader), loader)
    return buffer.getvalue(), command(loader, interpreter)


def source() -> bytes:
    """A tar of the package alone, for an image that has Python already."""
    root = Path(pyinit.__file__).resolve().parent
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(root.rglob("*.py")):
            _file(tar, str(path), f"{HOME}/pyinit/{path.relative_to(root)}")
    return buffer.getvalue()


def loader_of(path: str) -> str | None:
    """The dynamic linker that an ELF file asks for (PT_INTERP, elf(5)); None for a static one."""
    data = Path(path).read_bytes()
    if data[:4] != b"\x7fELF":
        raise ImageError(f"{path} is no ELF file: it cannot be the interpreter that runs this")
    wide, order = data[4] == 2, "little" if data[5] == 1 else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    table, size, rows = (
        (number(32, 8), number(54, 2), number(56, 2)) if wide else (number(28, 4), number(42, 2), number(44, 2))
    )
    for row in range(rows):
        at = table + row * size
        if number(at, 4) == 3:  # PT_INTERP
            offset, length = (
                (number(at + 8, 8), number(at + 32, 8)) if wide else (number(at + 4, 4), number(at + 16, 4))
            )
            return data[offset : offset + length].rstrip(b"\0").decode()
    return None


def _names(path: str) -> set[str]:
    """Under which names a shared object may be asked for: its own, and those of the links beside it that lead to it."""
    names = {Path(path).name}
    with os.scandir(Path(path).parent) as entries:
        names |= {
            entry.name
            for entry in entries
            if entry.is_symlink() and os.path.realpath(entry.path) == os.path.realpath(path)
        }
    return names


def _file(tar: tarfile.TarFile, path: str, inside: str) -> None:
    info = tarfile.TarInfo(inside.lstrip("/"))
    data = Path(path).read_bytes()
    info.size = len(data)
    info.mode = 0o755
    tar.addfile(info, io.BytesIO(data))


def _folder(tar: tarfile.TarFile, inside: str) -> None:
    info = tarfile.TarInfo(inside.lstrip("/"))
    info.type = tarfile.DIRTYPE
    info.mode = 0o755
    tar.addfile(info)
