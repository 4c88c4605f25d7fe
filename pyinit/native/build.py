"""`python -m pyinit.native.build`: compile the native engine, and check what came out.

    python -m pyinit.native.build                                  this machine's, to build/native/pyinit-ARCH
    python -m pyinit.native.build --target all                     all eight, with one compiler: zig, from PyPI (ziglang)
    python -m pyinit.native.build --compiler musl-gcc --output F   the quick way during development

The same source and the same compiler give the same bytes, in whatever folder. Nothing is ever replaced in silence: a compiler
that is not there, and an executable that is not what it has to be, are errors.
"""

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pyinit.native import elf
from pyinit.native.targets import TARGETS, Target, find

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ZIG = "ziglang>=0.17,<0.18"  # also in pyproject.toml; another version would give other bytes
COMPILERS = ("zig", "musl-gcc", "cc")

FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-Os",
    "-static",
    "-no-pie",
    "-fno-pie",
    "-s",  # no symbols, and so no paths
    "-ffunction-sections",
    "-fdata-sections",
    "-Wl,--gc-sections",
    "-fomit-frame-pointer",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-stack-protector",  # brings code and a random canary's set-up; the compilers' other hardening stays
    "-Wl,--build-id=none",
    "-Wl,-z,norelro",  # a static executable at fixed addresses has nothing to relocate
    "-Wl,-z,noexecstack",
    "-Wall",
    "-Wextra",
    "-Werror",
)
ZIG_FLAGS = (
    "-Xclang",
    "-Oz",  # zig takes -Oz for -Os; the compiler behind it does not
    "-flto",  # all files are optimised as one
    "-fno-jump-tables",
)
UNWANTED = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "SOURCE_DATE_EPOCH")
"""Variables that change what a compiler does."""


class BuildError(Exception):
    """Not built; the words say what, why, and what to do."""


def host() -> Target:
    """This machine. Raises BuildError when it is none of ours."""
    found = find(platform.machine())
    if found is None:
        raise BuildError(
            f"this machine is a {platform.machine()}, which the native engine is not built for: {_choice()}"
        )
    # a 32-bit userland below a 64-bit kernel says what the kernel is
    if sys.maxsize < 2**32 and (narrow := {"x86_64": "i686", "aarch64": "armv7l"}.get(found.name)):
        return TARGETS[narrow]
    return found


def chosen(words: str) -> list[Target]:
    """The targets that `--target` or PYINIT_TARGET names. Raises BuildError for what is none."""
    if words == "all":
        return list(TARGETS.values())
    target = host() if words == "host" else find(words)
    if target is None:
        raise BuildError(f"no target is called {words!r}: {_choice()}")
    return [target]


def chosen_one(words: str) -> Target:
    """As `chosen`, for what can be only one: a wheel. Raises BuildError."""
    targets = chosen(words)
    if len(targets) > 1:
        raise BuildError(f"{words} is {len(targets)} machines, and a wheel is for one: build one after the other")
    return targets[0]


def _choice() -> str:
    return f"there are {', '.join(TARGETS)}, host and all"


def command(compiler: str, target: Target) -> list[str]:
    """The compiler's name and everything before the flags. Raises BuildError when it is not here, or cannot build that."""
    if compiler == "zig":
        package = importlib.util.find_spec("ziglang")
        if package is None or not package.submodule_search_locations:
            raise BuildError(
                f"no compiler for {target.name}: the package ziglang is not installed in {sys.prefix}. Run "
                f"pip install '{ZIG}', or name another compiler, which builds for this machine alone: --compiler musl-gcc "
                "or cc (for pip: PYINIT_COMPILER=musl-gcc)"
            )
        return [
            str(Path(package.submodule_search_locations[0]) / "zig"),
            "cc",
            "-target",
            target.triple,
            *ZIG_FLAGS,
            *target.flags,
        ]
    if compiler not in COMPILERS:
        raise BuildError(f"no compiler is called {compiler!r}: there are {', '.join(COMPILERS)}")
    if target != host():
        raise BuildError(
            f"{compiler} builds for this machine ({host().name}), not for {target.name}: use --compiler zig"
        )
    found = shutil.which(compiler)
    if found is None:
        package_name = "musl-tools" if compiler == "musl-gcc" else "gcc"
        raise BuildError(
            f"no {compiler} on PATH to build {target.name} with: apt-get install {package_name}, or use --compiler zig"
        )
    return [found]


def environment(scratch: str) -> Mapping[str, str]:
    """For the compiler: temporary files in `scratch`, nothing that would change its output."""
    mine = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    # zig compiles a machine's libc once, and keeps it here; what is made of our own sources is never taken from a cache
    mine.setdefault("ZIG_GLOBAL_CACHE_DIR", str(ROOT / ".results" / "zig-cache"))
    return mine | {"TMPDIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch, "LC_ALL": "C"}


def build(target: Target, output: Path, compiler: str = "zig") -> None:
    """Compile for one machine, check it, and put it at `output`. Raises BuildError; then nothing is there that was not before."""
    start = command(compiler, target)
    sources = sorted(path.name for path in HERE.glob("*.c"))
    if not sources:
        raise BuildError(f"no C sources in {HERE}: wheels do not bring them; use a clone or the source distribution")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pyinit-build-") as scratch:
        made = Path(scratch) / f"pyinit-{target.name}"
        flags = [*FLAGS, f"-DTARGET={target.name}", f"-ffile-prefix-map={HERE}=."]
        # names without a folder, in the folder: none of it can get into the executable
        ran = subprocess.run(
            [*start, *flags, "-o", made, *sources],
            cwd=HERE,
            env=environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if ran.returncode != 0 or not made.exists():
            raise BuildError(
                f"{compiler} could not build {target.name} (exit status {ran.returncode}):\n{ran.stdout.rstrip()}"
            )
        elf.check(made, target)
        made.chmod(0o755)
        shutil.copy(made, output.with_name(output.name + ".part"))
    output.with_name(output.name + ".part").replace(output)  # whoever runs the old one goes on with it


def build_all(
    targets: list[Target], place: Callable[[Target], Path], compiler: str = "zig", say: Callable[[str], None] = print
) -> dict[str, Path]:
    """Build several, saying where it is. Returns the files by target. Raises BuildError and ElfError."""
    made = {}
    for target in targets:
        command(compiler, target)  # what cannot be built is said before anything is
    for number, target in enumerate(targets, 1):
        which = f" ({number} of {len(targets)})" if len(targets) > 1 else ""
        say(f"building {target.name}{which} with {compiler} ...")
        began = time.monotonic()
        made[target.name] = place(target)
        build(target, made[target.name], compiler)
        size = made[target.name].stat().st_size
        say(f"  {made[target.name]}: {size:,} bytes, static, in {time.monotonic() - began:.1f} s")
    return made


def main(words: list[str] | None = None) -> int:
    """The command line. Exit status 0: all built and checked; 1: not; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m pyinit.native.build",
        description="Compile the native engine and check what came out.",
        epilog=f"targets: {', '.join(TARGETS)}. zig is PyPI's {ZIG}; its compiled libraries are kept in ZIG_GLOBAL_CACHE_DIR "
        "or .results/zig-cache.",
    )
    parser.add_argument("--target", default="host", metavar="ARCH|all|host", help="the machine (default: host)")
    parser.add_argument("--compiler", choices=COMPILERS, default="zig", help="musl-gcc and cc: for this machine only")
    parser.add_argument(
        "--output",
        metavar="FILE|FOLDER",
        help="a file, or for --target all and for a name that ends in / or is a folder: FOLDER/pyinit-ARCH (default: build/native/)",
    )
    options = parser.parse_args(words)
    try:
        targets = chosen(options.target)
        build_all(targets, _places(options.output, len(targets)), options.compiler, _say)
    except (BuildError, elf.ElfError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _places(output: str | None, count: int) -> Callable[[Target], Path]:
    """Where each executable goes. Raises BuildError when several were to go into one file."""
    path = Path(output or "build/native")
    if output and count == 1 and not output.endswith("/") and not path.is_dir():
        return lambda _: path
    if path.is_file():
        raise BuildError(f"--output {path} is a file, and {count} targets need a folder: name one")
    return lambda target: path / f"pyinit-{target.name}"


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
