#!/usr/bin/env python3
"""A worker: acknowledges an entry every 20 ms, and has them on disk only when it has written the batch.

worker.py NAME SECONDS: what it is called, and how long the last write takes (a slow disk, a remote bucket).
In $DATA, NAME.acknowledged is what customers were told, NAME.ledger what is there afterwards.
"""

import os
import signal
import sys
import time
from pathlib import Path

name, seconds = sys.argv[1], float(sys.argv[2])
data = Path(os.environ["DATA"])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
Path("/proc/self/comm").write_text(name)  # so that ps says who is who

batch: list[str] = []
with (data / f"{name}.acknowledged").open("w", buffering=1) as acknowledged:
    while signal.sigtimedwait({signal.SIGTERM}, 0.02) is None:
        batch.append(f"entry {len(batch) + 1}")
        print(batch[-1], file=acknowledged)
        if len(batch) == 25:
            print(f"{name}: ready, 25 entries acknowledged", flush=True)

print(f"{name}: told to stop, writing {len(batch)} entries", flush=True)
time.sleep(seconds)
(data / f"{name}.ledger").write_text("".join(f"{entry}\n" for entry in batch))
print(f"{name}: done", flush=True)
