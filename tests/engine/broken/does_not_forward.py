"""An "init" that keeps the signals it gets."""

import os
import signal
import sys

child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (this is what an init does)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
while True:
    pid, status = os.wait()
    if pid == child:
        sys.exit(os.waitstatus_to_exitcode(status) % 256)
