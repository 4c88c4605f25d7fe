"""How many CPUs there are for us: what the cgroup's quota, its cpuset and our affinity allow, never the host's cores.

The kernel throttles whoever runs more threads than the quota lets run, so a quota of 1.5 CPUs is worth two workers and not 48.
Rejected: os.cpu_count and os.process_cpu_count (neither knows quotas). The cpuset needs no file: it shows in the affinity mask.
"""

import posix

from pyinit.init.forensics import read

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final


def cpus(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup", affinity: int | None = None) -> int:
    """The number of CPUs, rounded up, at least 1. Read again each time: a pod may be resized while it runs."""
    allowed = len(posix.sched_getaffinity(0)) if affinity is None else affinity
    for quota in quotas(root, membership):
        allowed = min(allowed, quota)
    return max(allowed, 1)


def quotas(root: str, membership: str) -> "Iterator[int]":
    """Each quota that holds for us, in whole CPUs, rounded up: our cgroup's and those of the ones above it.

    In a container the mount usually shows our own cgroup as its root, while /proc/self/cgroup may still name the host's path:
    files that are not there are no limit.
    """
    for line in read(membership).decode("utf-8", "backslashreplace").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            for folder in _upwards(root, path):
                quota, _, period = read(f"{folder}/cpu.max").strip().partition(b" ")
                yield from _ratio(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _upwards(f"{root}/cpu", path):
                yield from _ratio(
                    read(f"{folder}/cpu.cfs_quota_us").strip(), read(f"{folder}/cpu.cfs_period_us").strip()
                )


def _upwards(root: str, path: str) -> "Iterator[str]":
    while path.strip("/"):
        yield root + path
        path = path.rpartition("/")[0]
    yield root


def _ratio(quota: bytes, period: bytes) -> "Iterator[int]":
    """v2 says `max` for no quota, v1 says -1."""
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        yield max(-(-int(quota) // int(period)), 1)


class Throttling:
    """What the CPU quota has cost so far: periods that have passed, periods in which it held somebody up, seconds of that."""

    __slots__ = ("periods", "seconds", "throttled")

    def __init__(self, periods: int, throttled: int, seconds: float) -> None:
        self.periods: Final = periods
        self.throttled: Final = throttled
        self.seconds: Final = seconds


def throttling(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> "Throttling | None":
    """Our cgroup's cpu.stat (cgroup-v2.rst; v1 counts in nanoseconds); None where it does not say."""
    for line in read(membership).decode("utf-8", "backslashreplace").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if controllers == "" else f"{root}/cpu"
        for file in (f"{base}{path}/cpu.stat", f"{base}/cpu.stat"):
            entries = [entry.partition(b" ") for entry in read(file).split(b"\n")]
            found = {key: int(value) for key, _, value in entries if value.isdigit()}
            if b"nr_throttled" in found:
                seconds = found.get(b"throttled_usec", 0) / 1e6 + found.get(b"throttled_time", 0) / 1e9
                return Throttling(found.get(b"nr_periods", 0), found[b"nr_throttled"], seconds)
    return None
