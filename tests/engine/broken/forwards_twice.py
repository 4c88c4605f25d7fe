"""An "init" that sends everything twice, as one does that signals the program and then its group."""

import os
import signal
import sys
import time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
child = os.fork()
if child == 0:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    os.setpgid(0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 (this is what an init does)
while signal.sigwait({signal.SIGHUP, signal.SIGRTMAX}) == signal.SIGHUP:
    os.kill(child, signal.SIGHUP)
    time.sleep(0.05)
    os.killpg(child, signal.SIGHUP)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256)
