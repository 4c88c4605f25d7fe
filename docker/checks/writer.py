"""Writes its state to / when it is stopped."""

import signal
import sys
from pathlib import Path


def stop(*_: object) -> None:
    Path("/state").write_text("stopped\n", encoding="ascii")
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
