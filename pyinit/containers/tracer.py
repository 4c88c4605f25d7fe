"""ptrace: births, execs, ends with their wait statuses, and the signals that are delivered, of the processes that are followed.

It needs neither tracefs nor the host's network, only the right to trace, and works in any PID namespace. It disturbs, so it is used only
where it is asked for: whoever does one of these things stands still until the observer has looked, a millisecond or two; a signal that
a traced process ignores interrupts its system calls; and who has a debugger already cannot be followed. A traced PID 1 is not
protected from a SIGSTOP from inside, as it otherwise is: it does not get that here.

It does not see what a process takes with sigwait or from a signalfd, for nothing of that is delivered, and not who sent a SIGKILL, which
is not delivered either. What it knows of a SIGKILL is whether it came before PID 1 began to leave: there PID 1 is held for a moment.

All calls must come from one thread, the one that traces; when it ends, everybody is let go.

Source: ptrace(2); get_signal and sig_ignored in kernel/signal.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.containers import procfs
from pyinit.containers.events import Born, Delivered, Event, Exited, Leaving, Renamed, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONT, _GETEVENTMSG, _GETSIGINFO, _SEIZE, _LISTEN = 7, 0x4201, 0x4202, 0x4206, 0x4208
_FORK, _VFORK, _CLONE, _EXEC, _EXIT, _STOP = 1, 2, 3, 4, 6, 128
_OPTIONS = 1 << _FORK | 1 << _VFORK | 1 << _CLONE | 1 << _EXEC | 1 << _EXIT
_ANY = os.WNOHANG | 0x40000000 | 0x20000000
"""__WALL: threads, too; __WNOTHREAD: those of this thread alone, so that nobody else's children are touched."""
NUMBER_KEPT = 1.0
"""Seconds for which a number surely still means the one who ended: the kernel gives all others away first."""
_GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Tracer:
    """Follows threads, and all that they give birth to."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        self._libc.ptrace.restype = ctypes.c_long
        self._known: set[int] = set()
        self._unborn: dict[int, tuple[float, int]] = {}
        """When and with which status those ended of whose birth their parents have not told yet: who is killed at once comes first."""

    def follow(self, thread: int) -> None:
        """Follows a thread. Raises ProcessLookupError when it is gone, UnavailableError when it may not be traced."""
        if thread in self._known:
            return
        try:
            self._call(_SEIZE, thread, 0, _OPTIONS)
        except PermissionError as error:
            if procfs.is_dying(thread):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
            if procfs.tracer_of(thread) == threading.get_native_id():
                return  # a newborn: its first stop is on its way
            raise UnavailableError(
                f"no ptrace of process {thread} ({error.strerror}): it needs CAP_SYS_PTRACE, and nobody else who traces it"
            ) from error
        self._known.add(thread)

    def read(self) -> Iterator[Event]:
        """What has happened since the last call. Who did it stands still until the next event is asked for."""
        while True:
            try:
                thread, status = os.waitpid(-1, _ANY)
            except ChildProcessError:
                return
            if not thread:
                return
            with suppress(ProcessLookupError, FileNotFoundError):  # a SIGKILL ends any stop
                if os.WIFSTOPPED(status):
                    yield from self._stopped(thread, status >> 16, os.WSTOPSIG(status))
                else:
                    if thread not in self._known:
                        self._unborn[thread] = time.monotonic(), status
                    self._known.discard(thread)
                    yield Exited(time.monotonic(), thread, status)

    def _stopped(self, thread: int, event: int, number: int) -> Iterator[Event]:
        now = time.monotonic()
        inject = 0
        if event in (_FORK, _VFORK, _CLONE):
            child = self._message(thread)
            # it may have been told of before: whichever comes first, this or its own first stop
            yield Born(now, thread, child, "", event == _CLONE and Path(f"/proc/{thread}/task/{child}").exists())
            ended, status = self._unborn.pop(child, (0.0, 0))
            if ended > now - NUMBER_KEPT:
                yield Exited(ended, child, status)
        elif event == _EXEC:
            former = self._message(thread)
            if former != thread:
                # it has taken over the first thread's number; of the end of its own nothing else tells
                self._known.discard(former)
                yield Exited(now, former)
            yield Renamed(now, thread, "")
        elif event == _EXIT:
            yield Leaving(now, thread)
        elif event == _STOP:
            if thread not in self._known:
                yield from self._newborn(thread)
            if number in _GROUP_STOPS:
                self._call(_LISTEN, thread, 0, 0)
                return
        else:
            code, sender = self._origin(thread)
            yield Delivered(now, thread, number, code, sender)
            from_inside = number == signal.SIGSTOP and sender != 0
            inject = 0 if from_inside and procfs.numbers(procfs.process_of(thread))[-1] == 1 else number
        self._call(_CONT, thread, 0, inject)

    def _newborn(self, child: int) -> Iterator[Event]:
        self._known.add(child)
        with suppress(OSError):
            process = procfs.process_of(child)
            parent = process if process != child else procfs.stat(child).parent
            yield Born(time.monotonic(), parent, child, "", process != child)

    def _message(self, thread: int) -> int:
        value = ctypes.c_ulong()
        self._call(_GETEVENTMSG, thread, 0, ctypes.addressof(value))
        return value.value

    def _origin(self, thread: int) -> tuple[int, int]:
        """si_code and si_pid; the latter means something only for signals that a process sent, and for SIGCHLD."""
        info = ctypes.create_string_buffer(128)
        self._call(_GETSIGINFO, thread, 0, ctypes.addressof(info))
        number, _, code = struct.unpack_from("=iii", info)
        (sender,) = struct.unpack_from("=i", info, 16 if ctypes.sizeof(ctypes.c_void_p) == 8 else 12)
        return code, sender if code <= 0 or number == signal.SIGCHLD else 0

    def _call(self, request: int, thread: int, address: int, data: int) -> None:
        if self._libc.ptrace(request, thread, address, data) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
