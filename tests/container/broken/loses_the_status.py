"""An "init" that does everything right and exits with the status of whoever ended last."""

import contextlib
import os
import signal
import sys

child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (becoming the program is the point)
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, lambda number, _: os.killpg(child, number))
status = 0
with contextlib.suppress(ChildProcessError):
    while True:
        status = os.wait()[1]
sys.exit(abs(os.waitstatus_to_exitcode(status)))
