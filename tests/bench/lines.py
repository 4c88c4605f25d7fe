"""Ten million numbered lines of eight workers over a hundred rotations: none missing, none twice, none torn; and how fast.

`PYTHONPATH=tests .venv/bin/python tests/bench/lines.py [LINES [WORKERS]]`
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from support.numbered import NUMBERS, check, files
from support.runs import Run
from support.supervised import MAIN, Supervised, spec, worker
from support.waiting import until

ROTATIONS = 100
MEAN = 35
"""Bytes of a line, rounded down."""


def main() -> None:
    lines, workers = int((sys.argv[1:2] or ["10000000"])[0]), int((sys.argv[2:3] or ["8"])[0])
    count = lines // workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "logs" / "out.log"
        size = lines * MEAN // ROTATIONS
        one = worker(
            "web", NUMBERS, instances=workers, logs={"stdout": str(log), "max_size": size, "keep": 10 * ROTATIONS}
        )
        one["environment"]["COUNT"] = str(count)
        control = folder / "control"
        (folder / "spec.json").write_text(json.dumps(spec(one, control=str(control))), encoding="utf-8")
        run = Run([sys.executable, "-I", "-S", "-B", "-X", "utf8", str(MAIN), str(folder / "spec.json")])
        try:
            began = time.monotonic()
            supervised = Supervised(run, control)
            end = sum(len(str(number % 50 * "x")) + 11 for number in range(50)) * (count // 50) * workers
            until(
                lambda: log.exists() and sum(path.stat().st_size for path in files(log)) >= end, 600, "the last lines"
            )
            took = time.monotonic() - began
            until(lambda: sum(path.read_bytes().count(b"done\n") for path in files(log)[-3:]) > 0, 60, "the ends")
            supervised.do("stop")
            ticks = os.sysconf("SC_CLK_TCK")
            fields = Path(f"/proc/{run.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / ticks
            found = check(log, count, workers)
        finally:
            run.close()
    print(f"{count * workers:,} lines of {workers} workers in {found} files: all there, once, whole, in order")
    print(f"{took:.1f} s, {count * workers / took:,.0f} lines a second; the supervisor used {cpu:.1f} s of CPU time")


if __name__ == "__main__":
    main()
