"""What whoever started us is told, as sd_notify(3) has it: systemd, or whoever else has set NOTIFY_SOCKET.

READY=1 comes when nobody is in its first start any more: then each app is ready or has had its chance. What failed is in STATUS, and is
tried again as ever: that one app of ten is broken is no reason to have the other nine ended.
"""

import os
import socket
import time

from pyinit.supervise import machine

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Final

    from pyinit.supervise.fleet import Fleet

VARIABLE = "NOTIFY_SOCKET"
MOST_NAMES = 5
"""Of instances that are not ready, in STATUS."""

STARTING, READY, RELOADING, STOPPING = "", "READY=1", "RELOADING=1", "STOPPING=1"


class Notifier:
    """Says what has changed; what nobody takes now is said later."""

    def __init__(self, address: str) -> None:
        self.address: Final = "\0" + address[1:] if address.startswith("@") else address
        self.socket: Final = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self.state = STARTING
        self.status = ""

    def tell(self, fleet: "Fleet") -> None:
        """Look, and say what is new."""
        state, status = self._state(fleet), status_of(fleet).replace("\n", " ")  # an app's name is what a user likes
        if (state, status) == (self.state, self.status):
            return
        lines = [f"STATUS={status}"]
        if state != self.state:
            lines.append(state)
        if state == RELOADING:
            lines.append(f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            self.socket.sendto("\n".join(lines).encode("utf-8", "replace"), self.address)
        except BlockingIOError:
            return  # it is full; there will be another turn
        except OSError:
            pass  # nobody is there (any more), and nobody will be
        self.state, self.status = state, status

    def _state(self, fleet: "Fleet") -> str:
        if fleet.closing is not None:
            return STOPPING
        if self.state == STARTING and any(w.life.phase == machine.STARTING and w.spawns == 1 for w in fleet.workers()):
            return STARTING
        return RELOADING if any(of for _, of in (job.progress for job in fleet.jobs)) else READY


def status_of(fleet: "Fleet") -> str:
    """For `systemctl status`: `3 of 4 instances ready; mail:0 is waiting`."""
    if fleet.closing is not None:
        return f"stopping: {fleet.why}"
    workers = [place.worker for group in fleet.groups.values() for place in group.places]
    others = [f"{w.label} is {w.life.phase}" for w in workers if w.life.phase != machine.READY]
    more = [f"and {len(others) - MOST_NAMES} more"] if len(others) > MOST_NAMES else []
    count = f"{len(workers) - len(others)} of {len(workers)} instances ready"
    return f"{count}; {', '.join(others[:MOST_NAMES] + more)}" if others else count


def notifier() -> "Notifier | None":
    """For whoever asked for it in our environment; vsock (a virtual machine's) is not spoken."""
    address = os.environ.get(VARIABLE, "")
    return Notifier(address) if address.startswith(("/", "@")) else None
