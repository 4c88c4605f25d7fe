#!/usr/bin/env python3
"""A log shipper that daemonises: its own session, no parent of ours. A signal to the service's process group misses it.

It sends its last report when it is told to stop, which takes a moment. In $DATA, shipper.report is that report.
"""

import os
import signal
import time
from pathlib import Path

if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
Path("/proc/self/comm").write_text("shipper")
print("shipper: ready", flush=True)
signal.sigwait({signal.SIGTERM})
print("shipper: told to stop, sending the last report", flush=True)
time.sleep(0.6)
(Path(os.environ["DATA"]) / "shipper.report").write_text("all shipped\n")
print("shipper: done", flush=True)
