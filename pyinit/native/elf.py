"""What an executable says about itself: read with struct, so that nothing has to be installed to check what was built."""

import struct
from pathlib import Path
from typing import NamedTuple

from pyinit.native.targets import TARGETS, Target

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
EXECUTABLE, WRITABLE = 1, 2  # p_flags
ET_EXEC = 2
TYPES = {1: "an object file", 3: "a shared object or position-independent", 4: "a core dump"}
DYNAMIC = "it would look for a loader and libraries, which an image without that libc does not have: link it with -static -no-pie"


class ElfError(Exception):
    """The file is not what it has to be; the words say what is wrong, why it matters and what to do."""


class Segment(NamedTuple):
    """One program header, as far as it is looked at."""

    kind: int
    flags: int
    offset: int
    size: int


class Elf(NamedTuple):
    """The header of an ELF file, and its segments."""

    bits: int
    order: str
    kind: int
    machine: int
    segments: tuple[Segment, ...]

    @property
    def target(self) -> Target | None:
        """The machine that it was built for; None when we know no such machine."""
        mine = (self.machine, self.bits, self.order)
        return next((t for t in TARGETS.values() if (t.machine, t.bits, t.order) == mine), None)


def read(path: Path) -> Elf:
    """Read an ELF file's header and its program headers. Raises ElfError for anything else, OSError if it cannot be read."""
    content = path.read_bytes()
    if content[:4] != b"\x7fELF":
        raise ElfError(
            f"{path} is no ELF executable (it begins with {content[:4]!r}): name the file that the compiler wrote"
        )
    try:
        bits = {1: 32, 2: 64}[content[4]]
        order = {1: "<", 2: ">"}[content[5]]
        kind, machine = struct.unpack_from(f"{order}HH", content, 16)
        (table,) = struct.unpack_from(f"{order}{'Q' if bits == 64 else 'I'}", content, 32 if bits == 64 else 28)
        size, count = struct.unpack_from(f"{order}HH", content, 54 if bits == 64 else 42)
        segments = tuple(_segment(content, table + size * i, bits, order) for i in range(count))
    except (struct.error, LookupError):
        raise ElfError(
            f"{path} is a damaged ELF file ({len(content)} bytes, headers cut short or unknown): build it again"
        ) from None
    return Elf(bits, order, kind, machine, segments)


def _segment(content: bytes, at: int, bits: int, order: str) -> Segment:
    if bits == 64:
        kind, flags, offset, _, _, size = struct.unpack_from(f"{order}IIQQQQ", content, at)
    else:
        kind, offset, _, _, size, _, flags = struct.unpack_from(f"{order}7I", content, at)
    return Segment(kind, flags, offset, size)


def check(path: Path, target: Target) -> None:
    """Refuse what is not a static executable for that machine, with data that cannot be executed. Raises ElfError."""
    elf = read(path)
    if (elf.machine, elf.bits, elf.order) != (target.machine, target.bits, target.order):
        found = elf.target.name if elf.target else _words(elf.machine, elf.bits, elf.order)
        wanted = f"{target.name} ({_words(target.machine, target.bits, target.order)})"
        raise ElfError(f"{path} is built for {found}, not for {wanted}: use a compiler for that machine, such as zig")
    for segment in elf.segments:
        if segment.kind == PT_INTERP:
            with path.open("rb") as file:
                file.seek(segment.offset)
                loader = file.read(segment.size).rstrip(b"\0").decode("utf-8", "replace")
            raise ElfError(f"{path} is dynamically linked (PT_INTERP, {loader}): {DYNAMIC}")
        if segment.kind == PT_DYNAMIC:
            raise ElfError(f"{path} has a dynamic section (PT_DYNAMIC): {DYNAMIC}")
        if segment.kind == PT_LOAD and segment.flags & WRITABLE and segment.flags & EXECUTABLE:
            raise ElfError(
                f"{path} has a segment that is writable and executable (offset {segment.offset:#x}): a fault in it could "
                "be made to run data; link without -N, --omagic and linker scripts"
            )
    if elf.kind != ET_EXEC:
        kind = TYPES.get(elf.kind, f"of type {elf.kind}")
        raise ElfError(
            f"{path} is {kind}, not an executable at fixed addresses (ET_EXEC): link it with -static -no-pie"
        )
    stack = [segment for segment in elf.segments if segment.kind == PT_GNU_STACK]
    if not stack:
        raise ElfError(
            f"{path} does not say that its stack needs no execution (no PT_GNU_STACK), so the kernel may make it executable: "
            "link with -z noexecstack"
        )
    if stack[0].flags & EXECUTABLE:
        raise ElfError(
            f"{path} asks for an executable stack (PT_GNU_STACK with X): link with -z noexecstack, without nested functions "
            "and assembly that lacks .note.GNU-stack"
        )


def _words(machine: int, bits: int, order: str) -> str:
    return f"e_machine {machine}, {bits} bits, {'little' if order == '<' else 'big'}-endian"
