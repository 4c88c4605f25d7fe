"""A PID 1 with two children: on the stop signal it SIGKILLs the one, `sleep`, and leaves the other, `tail`, to the kernel."""

import os
import signal
import subprocess

killed, left = subprocess.Popen(["sleep", "1000"]), subprocess.Popen(["tail", "-f", "/dev/null"])


def stop(*_: object) -> None:
    killed.kill()
    killed.wait()
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
