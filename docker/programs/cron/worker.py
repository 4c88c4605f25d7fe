"""Something of value: when told to stop, it needs half a second to save its work."""

import signal
import sys
import time


def save(_number: int, _frame: object) -> None:
    """Further signals must not disturb this one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(0.5)
    print("saved", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    signal.pause()
