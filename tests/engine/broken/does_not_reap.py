"""An "init" that waits for its program alone: orphans stay zombies."""

import ctypes
import os
import signal
import sys

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (this is what an init does)
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
