"""A PID 1 with two children, `killed` and `left`: on the stop signal it SIGKILLs the one, and leaves the other to the kernel."""

import os
import signal
import sys
from pathlib import Path


def child(name: str) -> int:
    ours, theirs = os.pipe()
    if pid := os.fork():
        os.close(theirs)
        os.read(ours, 1)
        return pid
    Path("/proc/self/comm").write_text(name, encoding="ascii")
    os.write(theirs, b"x")
    while True:
        signal.pause()


def stop(*_: object) -> None:
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    sys.exit(0)


killed, left = child("killed"), child("left")
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
