"""Seems at rest for some seconds, as one that waits for its database, and only then hears the stop signal."""

import signal
import sys
import time

time.sleep(float(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
