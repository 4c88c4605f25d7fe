"""A PID 1 that passes the stop signal to its child alone, and ends with it: `alone.py PROGRAM...`."""

import os
import signal
import sys

child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
os.waitpid(child, 0)
