"""The kernel's process connector (netlink): births, names and ends with their wait statuses, of all processes of the machine.

It needs no tracefs and no mount, and sees processes that live for less than a look at /proc; signals it does not see. The kernel
speaks to the host's network namespace alone, numbers processes as the initial PID namespace does, and before Linux 6.6 asks for
CAP_NET_ADMIN. A subscription may be acknowledged with an error, or not answered at all: it counts when a birth of our own has come back.

Each CPU numbers its events, so what did not find room in the socket's buffer (ENOBUFS) is counted.

Source: drivers/connector/cn_proc.c, linux/cn_proc.h, linux/connector.h.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

from pyinit.containers import procfs
from pyinit.containers.events import Born, Event, Exited, Lost, Renamed, UnavailableError

BUFFER = 8 << 20
"""Bytes of the socket's buffer: some 10,000 events between two reads."""

AT_ONCE = 10_000
"""Events of one `read`: others want the lock, too."""

PROOF_WITHIN = 5.0
"""Seconds that the first event may take."""

INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""PROC_USER_INIT_INO, linux/nsfs.h."""

_NETLINK_CONNECTOR = 11
_SO_RCVBUFFORCE = 33
_NLMSG_DONE = 3
_CN_IDX_PROC = _CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2

_NONE, _FORK, _EXEC, _COMM, _EXIT = 0, 1, 2, 0x200, 0x80000000
"""proc_event.what; 0 is the acknowledgement."""

_NEEDS = "it needs the host's network namespace and, before Linux 6.6, CAP_NET_ADMIN"
_NO_CPU = 0xFFFFFFFF

_NETLINK = struct.Struct("=IHHII")
_HEAD = struct.Struct("=16xIIIIHH IIQ")
"""struct nlmsghdr (skipped), struct cn_msg, and how a struct proc_event begins: what, cpu, nanoseconds of CLOCK_MONOTONIC."""
_NUMBERS = struct.Struct("=4I")
"""FORK: parent's thread and process, child's thread and process. EXEC, COMM, EXIT: thread and process, then what is their own."""


class Connector:
    """A subscription that is known to work. `files` poll readable when there is something to `read`."""

    def __init__(self) -> None:
        """Raises `UnavailableError` where this kernel, this user or these namespaces cannot have it."""
        if procfs.namespace(os.getpid()) != procfs.INITIAL_NAMESPACE:
            raise UnavailableError(
                "no process connector: it numbers processes as the initial PID namespace does, and this observer is in another"
            )
        if Path("/proc/self/ns/user").stat().st_ino != INITIAL_USER_NAMESPACE:
            raise UnavailableError(
                "no process connector: it speaks to the initial user namespace alone, and this observer is in another"
            )
        self._next: dict[int, int] = {}
        """The number of the next event, by CPU."""
        self._told = 0
        """Of the events that are missing: how many have been told of already."""
        self._ack = int.from_bytes(os.urandom(3), "big")
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR
            )
        except OSError as error:
            raise _refused(error) from error
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._socket.bind((0, _CN_IDX_PROC))
            self._say(_LISTEN)
            self._prove()
        except OSError as error:
            self.close()
            raise _refused(error) from error
        except UnavailableError:
            self.close()
            raise

    @property
    def files(self) -> tuple[int, ...]:
        """What to poll."""
        return (self._socket.fileno(),)

    def read(self) -> list[Event]:
        """What has happened since the last call, on each CPU in the order of time; or a part of it, where that is much."""
        events: list[Event] = []
        while len(events) < AT_ONCE:
            try:
                data, (sender, _) = self._socket.recvfrom(4096)
            except BlockingIOError:
                return events
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                events.append(Lost(1))  # how many more, the numbers of the next events will tell
                self._told = 1
                continue
            if sender == 0:  # the kernel
                events += self._parse(data)
        return events

    def close(self) -> None:
        """Ends the subscription. May be called twice."""
        if self._socket.fileno() >= 0:
            with suppress(OSError):
                self._say(_IGNORE)  # before Linux 6.6 the kernel counts listeners, and does not notice that one is gone
            self._socket.close()

    def _say(self, word: int) -> None:
        body = struct.pack("=IIIIHHI", _CN_IDX_PROC, _CN_VAL_PROC, 0, self._ack, 4, 0, word)
        self._socket.send(_NETLINK.pack(_NETLINK.size + len(body), _NLMSG_DONE, 0, 0, os.getpid()) + body)

    def _prove(self) -> None:
        """Until a birth of our own, that of a thread, has come back; what comes before it is of no interest. Raises OSError."""
        born = set()
        deadline = time.monotonic() + PROOF_WITHIN
        while time.monotonic() < deadline:
            thread = threading.Thread(target=int, name="proof of the process connector")
            thread.start()
            thread.join()
            born.add(thread.native_id)
            if any(isinstance(event, Born) and event.child in born for event in self.read()):
                return
            # again: that one may have found no room
            select.select([self._socket], [], [], 0.05)
        raise UnavailableError(f"no process connector: it showed nothing for {PROOF_WITHIN:g} s; {_NEEDS}")

    def _parse(self, data: bytes) -> list[Event]:
        """One message. Raises OSError when it is the refusal of our subscription."""
        if len(data) < _HEAD.size + 24:
            return []
        index, value, number, ack, _, _, what, cpu, nanoseconds = _HEAD.unpack_from(data)
        if (index, value) != (_CN_IDX_PROC, _CN_VAL_PROC):
            return []
        first, second, third, fourth = _NUMBERS.unpack_from(data, _HEAD.size)
        if what == _NONE and ack == self._ack + 1 and first:
            code = first if first < 1 << 31 else (1 << 32) - first
            raise OSError(code, os.strerror(code))
        # an acknowledgement has no CPU, and no number of one, where it is not sent like an event (older kernels)
        events = self._missing(cpu, number) if cpu != _NO_CPU else []
        when = nanoseconds / 1e9
        if what == _FORK:
            is_thread = third != fourth
            # the parent of a thread is its process's parent
            events.append(Born(when, fourth if is_thread else second, third, "", is_thread))
        elif what == _EXEC:
            events.append(Renamed(when, first, ""))
        elif what == _COMM:
            name = data[_HEAD.size + 8 : _HEAD.size + 24].partition(b"\0")[0]
            events.append(Renamed(when, first, name.decode("utf-8", "backslashreplace")))
        elif what == _EXIT:
            events.append(Exited(when, first, third))
        return events

    def _missing(self, cpu: int, number: int) -> list[Event]:
        """What should have come from that CPU before this event."""
        missed = (number - self._next.get(cpu, number)) & 0xFFFFFFFF
        self._next[cpu] = (number + 1) & 0xFFFFFFFF
        if not missed:
            return []
        untold, self._told = max(0, missed - self._told), 0
        return [Lost(untold)] if untold else []


def _refused(error: OSError) -> UnavailableError:
    return UnavailableError(f"no process connector ({error.strerror or error}): {_NEEDS}")
