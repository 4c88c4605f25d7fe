"""A PID 1 that makes SIGTERM of every stop signal."""

import os
import signal
import sys

server = os.fork()
if server == 0:
    os.execvp(sys.executable, [sys.executable, "/checks/server.py"])
for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
    signal.signal(number, lambda *_: os.kill(server, signal.SIGTERM))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]))
