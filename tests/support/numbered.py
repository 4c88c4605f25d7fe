"""Numbered lines through the supervisor's log files: what workers write, and whether all of it is there, once, whole and in order."""

import gzip
import re
from collections import Counter
from pathlib import Path

NUMBERS = """
who, count = int(os.environ["NODE_APP_INSTANCE"]), int(os.environ["COUNT"])
ready()
text = b""
for number in range(count):
    text += b"%d %07d %s\\n" % (who, number, b"x" * (number % 50))
    if len(text) > 5000:  # cut anywhere: a line in two writes is the usual case
        os.write(1, text[:4999]); text = text[4999:]
os.write(1, text)
say("done"); forever()
"""
"""A worker: COUNT lines, then `done`."""

LINE = re.compile(rb"(\d) (\d{7}) (x*)")


def files(log: Path) -> list[Path]:
    """A log and what was rotated away of it, oldest first."""
    return [*sorted(log.parent.glob(log.name + ".*")), log]


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def is_done(log: Path, workers: int) -> bool:
    """Every worker has written its last line."""
    return sum(content(path).count(b"done\n") for path in files(log)) == workers


def check(log: Path, count: int, workers: int) -> int:
    """None is missing, none is there twice, none is torn, each worker's are in order; how many files there are."""
    seen: Counter[int] = Counter()
    found = files(log)
    for path in found:
        text = content(path)
        assert text.endswith(b"\n") or not text, f"{path} ends within a line"
        for line in text.splitlines():
            if line == b"done":
                continue
            parts = LINE.fullmatch(line)
            assert parts is not None, f"torn: {line!r}"
            who, number = int(parts[1]), int(parts[2])
            assert number == seen[who], f"worker {who}: {number} where {seen[who]} was to come"
            assert len(parts[3]) == number % 50, f"torn: {line!r}"
            seen[who] += 1
    assert seen == dict.fromkeys(range(workers), count), f"some are missing: {seen}"
    return len(found)
