"""A server as it should be: `server.py [SIGNAL [STATUS [SECONDS]]]` ends on SIGNAL with STATUS, after SECONDS of tidying up."""

import signal
import sys
import time

NAME, STATUS, SECONDS = (*sys.argv[1:], *("TERM", "0", "0")[len(sys.argv) - 1 :])


def stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one changes nothing
    time.sleep(float(SECONDS))
    print("bye", flush=True)
    sys.exit(int(STATUS))


signal.signal(signal.Signals[f"SIG{NAME}"], stop)
print("ready", flush=True)
while True:
    signal.pause()
