"""A process as /proc shows it to whoever looks from outside."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a mapping. Raises FileNotFoundError or ProcessLookupError when there is no such process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def mask(fields: dict[str, str], key: str) -> set[int]:
    """The signals of one of the masks in /proc/PID/status: SigBlk, SigIgn, SigCgt, SigPnd, ShdPnd."""
    bits = int(fields[key], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def state(pid: int) -> str:
    """R, S, D, T, t, Z, ... and X for a process that is gone."""
    try:
        return status(pid)["State"][0]
    except OSError:
        return "X"


def is_alive(pid: int) -> bool:
    """Whether it has not ended: a zombie has."""
    return state(pid) not in "XZ"


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, group, session, terminal, foreground group, ..."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def parents() -> dict[int, int]:
    """Every process and its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int(stat(int(entry.name))[1])
            except OSError:
                continue  # gone meanwhile
    return found


def children(pid: int) -> list[int]:
    """Its children, zombies included, oldest first."""
    return sorted(child for child, parent in parents().items() if parent == pid)


def descendants(pid: int) -> list[int]:
    """Its children and theirs, parents first."""
    table = parents()
    found = [pid]
    for one in found:
        found += sorted(child for child, parent in table.items() if parent == one)
    return found[1:]


def session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for pid in parents():
        try:
            if int(stat(pid)[3]) == leader:
                found.append(pid)
        except OSError:
            continue  # gone meanwhile
    return found


def inner_pid(pid: int) -> int:
    """The PID by which a process knows itself, in its innermost namespace."""
    return int(status(pid)["NSpid"].split()[-1])


def command(pid: int) -> str:
    """Its command line in one string; empty for a zombie."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()


def descriptors(pid: int) -> dict[int, str]:
    """Its open descriptors and what each is."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[int(entry.name)] = str(entry.readlink())
    return found


def switches(pid: int) -> int:
    """How often it has gone to sleep by itself: a process that ticks shows it here."""
    return int(status(pid)["voluntary_ctxt_switches"])


def memory(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup, in kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    return {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}


def private_dirty(pid: int) -> int:
    """Memory that the process has for itself, in kB."""
    return memory(pid)["Private_Dirty"]


def cpu(pid: int) -> int:
    """Time on the CPU so far, in nanoseconds. stat's utime and stime count whole clock ticks, of 10 ms as a rule."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks)


def marked(mark: bytes) -> Iterator[int]:
    """Every process whose environment holds `mark`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue  # gone, or not ours to look at


def table(pids: Sequence[int]) -> str:
    """The processes, for a person."""
    rows = [f"{'PID':>8} {'PPID':>8} S COMMAND"]
    for pid in pids:
        try:
            fields = stat(pid)
            rows.append(f"{pid:>8} {fields[1]:>8} {fields[0]} {command(pid)[:120]}")
        except OSError:
            continue
    return "\n".join(rows)
