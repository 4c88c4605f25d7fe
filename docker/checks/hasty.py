"""A PID 1 that takes any end for that of its child, and ends with it: `hasty.py PROGRAM...`."""

import os
import signal
import sys

child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
os.wait()
