"""A PID 1 that passes the stop signal on and waits for its server, which takes its time; a second signal has it leave at once."""

import os
import signal
import sys

heard = []


def stop(number: int, _frame: object) -> None:
    if heard:
        os._exit(0)
    heard.append(number)
    os.kill(server, number)


server = os.fork()
if server == 0:
    os.execvp(sys.executable, [sys.executable, "/checks/server.py", "TERM", "0", "1"])
signal.signal(signal.SIGTERM, stop)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]))
