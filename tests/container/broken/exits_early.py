"""An "init" that reaps and forwards, and is gone as soon as its program is, while a worker is still writing."""

import os
import signal
import sys

child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (becoming the program is the point)
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, lambda number, _: os.killpg(child, number))
while True:
    pid, status = os.wait()
    if pid == child:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(128 - code if code < 0 else code)
