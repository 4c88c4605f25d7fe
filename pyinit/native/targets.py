"""The machines that the native engine is built for: one row each, for the build, the wheel and `pyinitctl`."""

from typing import NamedTuple


class Target(NamedTuple):
    """A machine, by the name that `uname -m` has for it."""

    name: str
    aliases: tuple[str, ...]
    """What Docker, Debian and Go call it."""
    machine: int
    """e_machine of its executables."""
    bits: int
    order: str
    """Byte order, as struct writes it: '<' little, '>' big."""
    triple: str
    """As zig writes it."""
    flags: tuple[str, ...]
    """What only this machine's compiler needs, or what makes its executable smaller."""
    tags: tuple[str, ...]
    """Platform tags of its wheel. A static executable needs no libc: these are the oldest that pip knows for the machine."""


def _tags(name: str, glibc: str = "2_17", musl: str = "1_1") -> tuple[str, ...]:
    return (f"manylinux_{glibc}_{name}", f"musllinux_{musl}_{name}")


# fmt: off
TARGETS = {target.name: target for target in (
    # no floating point here: without its registers, which every function like printf would save, too
    Target("x86_64", ("amd64",), 62, 64, "<", "x86_64-linux-musl",
           ("-Xclang", "-target-feature", "-Xclang", "-sse"), _tags("x86_64")),
    Target("aarch64", ("arm64",), 183, 64, "<", "aarch64-linux-musl", (), _tags("aarch64")),
    Target("armv7l", ("armv7", "arm", "armhf", "arm/v7"), 40, 32, "<", "thumb-linux-musleabihf",
           ("-mcpu=generic+v7a",), _tags("armv7l")),  # a quarter smaller than in ARM's wide instructions
    # the first glibc and musl that know it
    Target("riscv64", (), 243, 64, "<", "riscv64-linux-musl", (), _tags("riscv64", "2_31", "1_2")),
    Target("ppc64le", ("ppc64el", "powerpc64le"), 21, 64, "<", "powerpc64le-linux-musl", (), _tags("ppc64le")),
    Target("s390x", (), 22, 64, ">", "s390x-linux-musl", (), _tags("s390x")),
    Target("i686", ("i386", "386", "x86"), 3, 32, "<", "x86-linux-musl", ("-mcpu=i686",), _tags("i686")),
    # the first glibc and musl that know it; without vectors, which neither every such machine nor an older qemu has
    Target("loongarch64", ("loong64",), 258, 64, "<", "loongarch64-linux-musl",
           ("-mcpu=baseline-lsx",), _tags("loongarch64", "2_36", "1_2")),
)}
# fmt: on


def find(name: str) -> Target | None:
    """The target of that name or alias; None if there is none."""
    return next((target for target in TARGETS.values() if name in {target.name, *target.aliases}), None)
