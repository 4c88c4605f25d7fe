"""An "init" that sends a signal to the program, and to its group, of which the program is one."""

import os
import signal
import sys


def forward(number: int, _: object) -> None:
    os.kill(child, number)
    signal.sigtimedwait((), 0.05)  # long enough for the first to be taken, so that the two are not merged
    os.killpg(child, number)


child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (becoming the program is the point)
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, forward)
while True:
    pid, status = os.wait()
    if pid == child:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(128 - code if code < 0 else code)
