"""The terminal: who has its foreground, and job control when a shell is above us.

The program runs in a process group of its own, so it must be given the foreground to read from the terminal, and only then: taking
it when we are in the background, or in a pipeline with others, stops them (tcsetpgrp(3), termios(3)). Errors here are never a
reason to fail: stdin may be no terminal, not ours, closed, or gone.
Every call happens with SIGTTOU blocked, so that none of them stops pyinit.
"""

import _signal
import posix

from pyinit.init import forensics, signals

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Final

FIFO = 0o010000


class Terminal:
    """The terminal on stdin, if it is one. Made before the spawn.

    Attributes:
        is_leader: pyinit leads its session, or nobody above could continue a stopped job: nothing may stay stopped by the terminal.
    """

    __slots__ = ("fd", "group", "is_leader", "take_at_start")

    def __init__(self) -> None:
        self.fd = -1
        self.group: Final = posix.getpgrp()
        self.is_leader = True
        self.take_at_start = False
        if posix.getpid() != 1:
            self.is_leader = posix.getsid(0) == posix.getpid() or not forensics.has_shell_above()
        if not posix.isatty(0):
            return
        self.fd = posix.dup(0)  # close-on-exec, and at least 3: holes below were filled first
        self.take_at_start = self.foreground() == self.group and (self.is_leader or not _in_pipeline())

    def foreground(self) -> int:
        """The foreground process group; -1 where there is none to be known."""
        try:
            return posix.tcgetpgrp(self.fd)
        except OSError:
            return -1

    def give(self, group: int) -> None:
        """Make `group` the foreground."""
        try:
            posix.tcsetpgrp(self.fd, group)
        except OSError:
            pass  # no controlling terminal, or the group is gone: nobody to give it to

    def give_back(self, program: int) -> None:
        """Before leaving: whoever started us can read again (`pyinit -- true; read line` in a script)."""
        if self.fd >= 0 and self.foreground() in (program, 0):
            self.give(self.group)

    def program_stopped(self, program: int, signal: int, passed_on: bool) -> None:
        """The program was stopped by `signal`: continue it, or stop as well and let the shell above decide.

        `passed_on` says that we sent it that signal: then somebody wants it stopped, and it stays so.
        """
        if signal not in signals.FROM_TERMINAL or not self._is_there():
            return
        wants_terminal = signal in (signals.TTIN, signals.TTOU)
        if self.is_leader:
            if wants_terminal:
                self.give(program)  # continued without it, it would stop again at once
            if not passed_on:
                self.resume(program)
            return
        if wants_terminal and self.foreground() == self.group:
            self.give(program)  # in a pipeline it was not taken before it was needed
            self.resume(program)
            return
        if self.foreground() == program:
            self.give(self.group)
        self._stop(signal)
        if self.foreground() == self.group:
            self.give(program)
        self.resume(program)

    def _is_there(self) -> bool:
        """Whether there is a terminal to be had: stdin, or below a shell, where stdin is a pipe, the one that it controls us by."""
        if self.fd < 0 and not self.is_leader:
            try:
                self.fd = posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
            except OSError:
                pass  # none
        return self.fd >= 0

    def hurry(self, program: int, signal: int) -> None:
        """The program was stopped while a shutdown is running: it is not to sleep through it."""
        if signal in (signals.TTIN, signals.TTOU):
            if self.fd < 0:
                return  # continued without the terminal, it would stop again at once; the stop signal came with a CONT
            self.give(program)
        self.resume(program)

    def _stop(self, signal: int) -> None:
        """Stop with our whole group, as if the terminal had stopped it: a script above us belongs to it."""
        posix.kill(0, signal)
        posix.kill(posix.getpid(), signals.STOP)
        # here we have been continued; CONT took the pending stop signal with it (signal(7)) and is itself ours, not the program's
        _signal.sigtimedwait((signals.CONT,), 0)

    @staticmethod
    def resume(program: int) -> None:
        """Continue the program's whole group."""
        try:
            posix.killpg(program, signals.CONT)
        except OSError:
            pass  # it ended meanwhile; the reaper will see it


def _in_pipeline() -> bool:
    """Whether others of our group are likely to use the terminal: then the program gets it when it asks, not before."""
    for fd in (1, 2):
        try:
            if posix.fstat(fd).st_mode & 0o170000 == FIFO:
                return True
        except OSError:
            pass  # closed
    return False
