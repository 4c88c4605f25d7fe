"""An "init" that exits with the status of whoever was reaped last."""

import ctypes
import os
import sys

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (this is what an init does)
last = 0
try:
    while True:
        last = os.wait()[1]
except ChildProcessError:
    os._exit(os.waitstatus_to_exitcode(last) % 256)
