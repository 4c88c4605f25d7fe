"""The hands: spawn one program, sleep in one blocking call, reap until dry, and do what the machine says.

Order matters more than anything here: every signal is blocked before this file is loaded, the program gets its own mask back as
the last thing before exec, and a signal that arrives in between waits in the kernel.

Waiting is sigwait on blocked signals. Rejected: handlers (run between any two bytecodes, and asyncio's wake-up pipe loses
which signal it was), signalfd (not in Python 3.11; the same masks), waitpid in a thread (two blocking calls, and a lock).
Until `Engine.run` anything may fail with its own exit status; from there on PID 1 must not die: errors warn and go on.
"""

import _signal
import errno
import posix
import time

from pyinit.init import forensics, machine, program, signals
from pyinit.init.forensics import Look, Process
from pyinit.init.machine import NO_STATUS, State
from pyinit.init.options import (
    DEBUG,
    GROUP,
    INFO,
    MILLISECOND,
    NEVER,
    SCOPES,
    SECOND,
    TREE,
    WARNINGS,
    Policy,
    plan_length,
    show,
)
from pyinit.init.report import Report, seconds, termination_log
from pyinit.init.terminal import Terminal

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import NoReturn

    from pyinit.init.report import Value

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class StartError(Exception):
    """The program could not be started: `status` is pyinit's exit status, the text the line for the user."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# --- before the spawn: anything may fail ---


def fill_descriptors() -> None:
    """Open /dev/null for each of 0, 1 and 2 that was closed, so that what is opened next does not become "stderr".

    Close-on-exec: the program still finds them closed.
    """
    while True:
        try:
            fd = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        except OSError:
            return  # no /dev: our own descriptors may then be low, which only costs report lines
        if fd > 2:
            posix.close(fd)
            return


def prctl(option: int, argument: int) -> int:
    """Set one process attribute (man 2 prctl): 0, or an errno. `_ctypes` alone is far lighter than ctypes."""
    import _ctypes

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # generic in the stubs only
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Int

    ourselves = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # the stubs know only names
    function = Function(_ctypes.dlsym(ourselves, "prctl"))
    return _ctypes.get_errno() if function(option, argument, 0, 0, 0) else 0


def become_subreaper(policy: Policy, report: Report) -> None:
    """Have orphans of the program come to us: to PID 1 they do, else by PR_SET_CHILD_SUBREAPER. Warns where they cannot."""
    if posix.getpid() == 1:
        return
    if policy.subreaper is False:
        report.say(INFO, "warning", "not PID 1 and --no-subreaper: processes that double-fork are out of reach")
        return
    try:
        failed = prctl(PR_SET_CHILD_SUBREAPER, 1)
        why = posix.strerror(failed)
    except (ImportError, OSError, AttributeError) as error:
        failed, why = errno.ENOSYS, f"this Python has no working _ctypes: {error}"
    if failed:
        report.warn(
            f"not PID 1 and cannot become a subreaper ({why}): orphans go to PID 1, their zombies stay if it does not reap; "
            "run pyinit as PID 1 (ENTRYPOINT in exec form, no shareProcessNamespace), or say --no-subreaper to hide this line"
        )


def follow_parent(signal: int, parent: int, report: Report) -> None:
    """Have the kernel send us `signal` when our parent dies; at once if it died meanwhile (prctl(2), PR_SET_PDEATHSIG)."""
    try:
        failed = prctl(PR_SET_PDEATHSIG, signal)
    except (ImportError, OSError, AttributeError) as error:
        raise StartError(
            program.OWN_FAILURE, f"--parent-death needs _ctypes, which this Python lacks ({error}); leave it out"
        ) from None
    if failed:
        report.warn(f"--parent-death {signals.name_of(signal)}: {posix.strerror(failed)}")
    if posix.getppid() != parent:
        posix.kill(posix.getpid(), signal)


def spawn(policy: Policy, environ: "Mapping[bytes, bytes]", mask: "Iterable[int]", terminal: Terminal) -> int:
    """Start the program in its own process group and return its pid once exec has succeeded.

    Raises:
        StartError: it could not be executed (126, 127), or there is no process or pipe to be had (125).
    """
    length = plan_length(policy.plan)
    budget = None if length == NEVER else length // MILLISECOND
    us = posix.getpid()
    try:
        reader, writer = posix.pipe2(posix.O_CLOEXEC)
        child = posix.fork()
    except OSError as error:
        hint = "; the container's --pids-limit or RLIMIT_NPROC is reached" if error.errno == errno.EAGAIN else ""
        raise StartError(program.OWN_FAILURE, f"cannot start a process: {error.strerror}{hint}") from None
    if child == 0:
        try:
            posix.setpgid(0, 0)
            pid = posix.getpid()
            if terminal.take_at_start:
                terminal.give(pid)
            _exec(policy, program.environment(environ, us, pid, budget), mask)
        except OSError as error:
            number, file = error.errno or errno.EINVAL, error.filename
            posix.write(writer, b"%d %s" % (number, file if isinstance(file, bytes) else policy.program[0]))
        except BaseException as error:  # noqa: BLE001 - whatever it is, nothing of Python's own may run twice
            posix.write(writer, b"%d %s" % (errno.EINVAL, repr(error).encode()))
        posix._exit(program.OWN_FAILURE)
    try:
        posix.setpgid(child, child)  # whoever comes first: a signal to the group finds it
    except OSError:
        pass  # it has executed already, having done so itself
    posix.close(writer)
    failure = posix.read(reader, 65536)  # ends when exec closes the other end
    posix.close(reader)
    if failure:
        posix.waitpid(child, 0)
        terminal.give_back(child)
        reason, _, file = failure.partition(b" ")
        raise StartError(*program.explain(int(reason), file, policy.program, environ))
    return child


def _exec(policy: Policy, environ: "Mapping[bytes, bytes]", mask: "Iterable[int]") -> "NoReturn":
    """In the child: dispositions first, the mask last, then exec. A signal that waited acts as it would have on the program."""
    # CPython ignores PIPE and XFSZ at start and cannot know whether they were inherited so; its own handler is INT's
    for number in (signals.CHLD, signals.PIPE, signals.XFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    if _signal.getsignal(signals.INT) not in (_signal.SIG_IGN, _signal.SIG_DFL):
        _signal.signal(signals.INT, _signal.SIG_DFL)
    words = policy.program
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    program.execute(words, environ)


def settle(keep: "tuple[int, ...]") -> None:
    """Let go of what was inherited: PID 1 holds no working directory, no pipe and no file of anybody's open. 2 and `keep` stay."""
    try:
        null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        posix.dup2(null, 0, False)
        posix.dup2(null, 1, False)
        if null > 2:
            posix.close(null)
    except OSError:
        for fd in (0, 1):
            _close(fd)
    try:
        held = [int(name) for name in posix.listdir("/proc/self/fd")]
    except OSError:
        held = list(range(3, min(posix.sysconf("SC_OPEN_MAX"), 65536)))
    for fd in held:
        if fd > 2 and fd not in keep:
            _close(fd)
    try:
        posix.chdir("/")
    except OSError:
        pass  # a root that may not be searched: then we stay where we are


def _close(fd: int) -> None:
    try:
        posix.close(fd)
    except OSError:
        pass  # not open


# --- from here on PID 1 must not die ---


class Engine:
    """One program and its descendants, from the spawn to the exit."""

    def __init__(self, policy: Policy, report: Report, terminal: Terminal, log: bytes) -> None:
        """Made before the spawn, when it may still fail. `log`: absolute path of the termination log, or nothing."""
        self.policy = policy
        self.report = report
        self.terminal = terminal
        self.state = State()
        self.settled: dict[tuple[int, int], list[machine.Action]] = {}
        """Events that change nothing while no clock is running, and their actions: the machine is pure, so it is asked once."""
        self.group = 0
        """The program's process group: its pid when it was started."""
        self.child = 0
        """The program's pid, 0 once it is reaped: a reaped pid may be somebody else's."""
        self.started = time.monotonic_ns()
        self.name = show(policy.program[0].rpartition(b"/")[2])
        self.sees = forensics.is_readable()
        self.was_blind = False
        """Whether the others had to be done without a readable /proc."""
        self.asked: dict[tuple[int, int], int] = {}
        """Who has had a stop signal from us, and the last one."""
        self.killed: dict[tuple[int, int], str] = {}
        """Who has had SIGKILL from us, and why."""
        self.refused: set[tuple[int, int]] = set()
        """Whom we may not signal."""
        self.asked_at = NEVER
        self.stop_signal = 0
        self.last_asked = 0
        self.passed_on_stop = False
        self.reaped = 0
        self.last_reaped = ""
        self.last_words: list[str] = []
        """What the termination log says beside the last line."""
        self.is_done = False
        self.code = program.OWN_FAILURE
        """The exit status; set by `finish`."""
        self.oom_kills = forensics.oom_kills() or 0
        """The cgroup's counter, less the deaths that have been explained by it."""
        self.termination_log = log

    def run(self, child: int) -> int:
        """Live until the machine says EXIT; the exit status of pyinit."""
        self.child = self.group = child
        while not self.is_done:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the container
                self.report.warn(f"internal error, going on: {error!r}; please report it")
                if self.state.phase == machine.DONE and not self.is_done:
                    status = self.state.status
                    return 128 + signals.KILL if status == NO_STATUS else signals.exit_code(status)
        return self.code

    def _turn(self) -> None:
        """Sleep until something happens, and see to it."""
        # the one blocking call: no tick, and a deadline only while one is running
        if self.state.deadline == NEVER:
            number = _signal.sigwait(
                signals.ALL
            )  # lighter than sigwaitinfo, which makes a struct_siginfo that nobody reads
        else:
            left = max(self.state.deadline - time.monotonic_ns(), 0)
            info = _signal.sigtimedwait(signals.ALL, left / SECOND)
            number = signals.CHLD if info is None else info.si_signo
        if number == signals.CHLD:
            self.reap()
        else:
            self._note_signal(number)
            self.feed((machine.SIGNAL, number))
        if self._is_late():
            self.reap()  # who has ended in time is not to be killed for it
            if self._is_late():
                self.feed((machine.TIMEOUT, 0))

    def _is_late(self) -> bool:
        deadline = self.state.deadline
        return deadline != NEVER and not self.is_done and time.monotonic_ns() >= deadline

    def feed(self, event: "tuple[int, int]") -> None:
        """One event through the machine, and what it leads to."""
        known = self.settled.get(event)
        if known is not None:
            self._carry_out(known)
            return
        before, now = self.state, time.monotonic_ns()
        self.state, actions = machine.step(self.policy, before, event, now)
        if self.state is not before:
            self.settled.clear()
        elif before.deadline == NEVER:
            self.settled[event] = actions
        found_nobody = self._carry_out(actions)
        if self.state.deadline not in (before.deadline, NEVER):
            # looking who is there took its time: whoever was asked has what was promised from the signal on
            self.state = machine.postponed(before, self.state, time.monotonic_ns() - now)
        if found_nobody:
            self.feed((machine.NOBODY, 0))

    def _carry_out(self, actions: "list[machine.Action]") -> bool:
        """Do what the machine says; whether there was nobody to ask."""
        found_nobody = False
        for action in actions:
            verb = action[0]
            if verb == machine.FORWARD:
                self.forward(action[1], action[2])
            elif verb == machine.ASK:
                self.ask(action[1], action[2])
            elif verb == machine.ASK_REST:
                found_nobody = self.ask_rest() == 0
            elif verb == machine.KILL_ASKED:
                self.kill_asked()
            elif verb == machine.LEAVE:
                self.leave()
            elif verb == machine.EXIT:
                self.finish(action[1])
            elif verb == machine.DRAIN:
                self.stop_signal = action[1]
                text = f"{signals.name_of(action[1])} is held back for {seconds(self.policy.drain)} (--drain)"
                milliseconds = self.policy.drain // MILLISECOND
                self.report.say(INFO, "drain", text, signal=signals.name_of(action[1]), ms=milliseconds)
            elif verb == machine.DROP:
                name = signals.name_of(action[1])
                self.report.say(DEBUG, "signal", f"{name} dropped", signal=name)
        return found_nobody

    # --- reaping ---

    def reap(self) -> None:
        """Everyone who has ended, in one go: SIGCHLD does not queue (signal(7)). The machine hears of it after the batch."""
        status, is_empty = NO_STATUS, False
        try:
            while True:
                try:
                    pid, what = posix.waitpid(-1, posix.WNOHANG | posix.WUNTRACED)
                except ChildProcessError:
                    is_empty = True
                    break
                if pid == 0:
                    break
                if signals.is_stopped(what):
                    if pid == self.child:
                        self._program_stopped(signals.stop_signal(what))
                elif pid == self.child:
                    self.child, status, self.last_reaped = 0, what, ""
                    self._program_ended(what)
                else:
                    self._orphan_ended(pid, what)
        finally:  # whatever happened to a report line, the program's end is not forgotten
            if is_empty:
                self.feed((machine.EMPTY, status))
            elif status != NO_STATUS:
                self.feed((machine.ENDED, status))

    def _program_ended(self, status: int) -> None:
        how = signals.ended_how(status)
        text = f"{self.name} ended: {how}"
        self.report.say(INFO, "child-exit", text, pid=self.group, status=how, code=signals.exit_code(status))
        if not self._ran_out_of_memory(self.group, status):
            return
        text = f"{self.name} was killed by the kernel: out of memory; raise the container's memory limit"
        self.report.say(WARNINGS, "oom", text, pid=self.group, oom_kills=self.oom_kills)
        self.last_words.append("out of memory")

    def _ran_out_of_memory(self, pid: int, status: int) -> bool:
        """Whether a SIGKILL that was not ours goes with a rise of the cgroup's counter. Each rise explains one death."""
        if signals.term_signal(status) != signals.KILL or any(killed == pid for killed, _ in self.killed):
            return False
        if (forensics.oom_kills() or 0) <= self.oom_kills:
            return False
        self.oom_kills += 1
        return True

    def _orphan_ended(self, pid: int, status: int) -> None:
        self.reaped += 1
        ran_out = self._ran_out_of_memory(pid, status)
        level = WARNINGS if self.policy.warn_reap else DEBUG
        if level > self.report.verbosity and not self.policy.wait_all:
            return  # the usual case: nobody will read words about it
        how = signals.ended_how(status)
        self.last_reaped = f"{pid}: {how}{', out of memory' if ran_out else ''}"
        self.report.say(level, "reap", f"reaped orphan {self.last_reaped}", pid=pid, status=how)

    def _program_stopped(self, signal: int) -> None:
        self.report.say(
            DEBUG, "signal", f"{self.name} was stopped by {signals.name_of(signal)}", signal=signals.name_of(signal)
        )
        if self.state.phase != machine.RUNNING:
            if self.last_asked not in signals.STOPPING:  # a plan may want it stopped
                self.terminal.hurry(self.group, signal)
        else:
            self.terminal.program_stopped(self.group, signal, self.passed_on_stop)

    # --- signals ---

    def _note_signal(self, number: int) -> None:
        if self.report.verbosity >= INFO:
            self.report.say(INFO, "signal", f"{signals.name_of(number)} arrived", signal=signals.name_of(number))

    def _say_sent(self, number: int, scope: int) -> None:
        if self.report.verbosity >= INFO:
            name = signals.name_of(number)
            self.report.say(INFO, "forward", f"{name} sent to the {WHOM[scope]}", signal=name, scope=SCOPES[scope])

    def forward(self, number: int, scope: int) -> None:
        """A signal that is no stop signal, once, as it came."""
        if scope == TREE:
            for p in self.tree():
                self.send(p, number)
        else:
            self._kill(self.child, number, scope)
        if number in signals.STOPPING:
            self.passed_on_stop = True
        elif number == signals.CONT:
            self.passed_on_stop = False
        self._say_sent(number, scope)

    def ask(self, number: int, scope: int) -> None:
        """A stop signal to the scope, and CONT so that a stopped process hears it."""
        self.last_asked = number
        if self.asked_at == NEVER:
            self.asked_at, self.stop_signal = time.monotonic_ns(), number
        if scope == TREE and self.sees:
            self._ask_everyone(number, self.tree)
        else:
            # noted before the signal: who is forked in answer to it (a trap's clean-up) has not been asked
            for p in self._members(scope):
                self.asked[p.identity] = number
            self._kill(self.child, number, scope)
            if number not in (signals.STOP, signals.TSTP):
                self._kill(self.child, signals.CONT, scope)
        self._say_sent(number, scope)

    def ask_rest(self) -> int:
        """SIGTERM and CONT to every descendant that has had no stop signal from us; how many there were."""
        if self.asked_at == NEVER:
            self.asked_at, self.stop_signal = time.monotonic_ns(), signals.TERM
        if self.sees:
            found = self._ask_everyone(signals.TERM, self._unasked)
        elif self.was_blind:
            found = 0  # done and said already
        elif posix.getpid() == 1 and not self.child and self.state.signal == 0:
            # blind and alone in our own PID namespace, with nobody asked yet: the only way to be fair to them
            self.was_blind, found = True, 1
            for number in (signals.TERM, signals.CONT):
                try:
                    posix.kill(-1, number)
                except OSError:
                    found = 0
        else:
            self.was_blind, found = True, 0
            self.report.warn("/proc is not readable: only the program's process group can be stopped in order")
        if found:
            self.report.say(INFO, "sweep", f"SIGTERM sent to {found} more", signal="SIGTERM", count=found)
        return found

    def _ask_everyone(self, number: int, who: "Callable[[], list[Process]]") -> int:
        """Look and ask again until a look finds nobody new: a parent may fork while we read. Each is asked once."""
        done: set[tuple[int, int]] = set()
        for _ in range(100):
            new = [p for p in who() if p.identity not in done and p.identity not in self.refused]
            if not new:
                break
            for p in new:
                done.add(p.identity)
                self.asked[p.identity] = number
                if self.send(p, number) and number not in (signals.STOP, signals.TSTP):
                    self.send(p, signals.CONT)
        return len(done)

    def tree(self) -> "list[Process]":
        """Our living descendants; without a readable /proc the program alone stands for them."""
        return forensics.descendants(posix.getpid(), forensics.processes()) if self.sees else []

    def _unasked(self) -> "list[Process]":
        return [p for p in self.tree() if p.identity not in self.asked]

    def _members(self, scope: int) -> "list[Process]":
        """Whom `_kill` is about to reach."""
        return [p for p in self.tree() if p.pid == self.child or (scope == GROUP and p.pgrp == self.group)]

    def _kill(self, child: int, number: int, scope: int) -> None:
        """kill(2) to the program or its group, which nobody has reaped, so that the number cannot be another's."""
        if not child:
            return
        try:
            # a program that has left its first group is reached all the same
            if scope < GROUP or posix.getpgid(child) != self.group:
                posix.kill(child, number)
            if scope >= GROUP:
                posix.kill(-self.group, number)
        except ProcessLookupError:
            pass  # it is a zombie that we reap next
        except OSError as error:
            self.report.warn(
                f"cannot send {signals.name_of(number)} to {child} {self.name}: {self._not_allowed(error)}"
            )

    def send(self, p: Process, number: int) -> bool:
        """A signal to one process, through a pidfd opened before its identity is read again: never to whoever reuses its pid."""
        fd = -1
        try:
            try:
                fd = posix.pidfd_open(p.pid)
            except ProcessLookupError:
                return False
            except (OSError, AttributeError):
                fd = -1  # an old kernel, or a seccomp profile that does not know the call
            now = forensics.process(p.pid)
            if now is None or now.identity != p.identity:
                return False
            if fd < 0 or not _sent_by_pidfd(fd, number):
                posix.kill(p.pid, number)
        except ProcessLookupError:
            return False
        except OSError as error:
            if p.identity not in self.refused:
                self.refused.add(p.identity)
                self.report.warn(
                    f"cannot send {signals.name_of(number)} to {p.pid} {forensics.label(p)}: {self._not_allowed(error)}"
                )
            return False
        else:
            return True
        finally:
            if fd >= 0:
                _close(fd)

    @staticmethod
    def _not_allowed(error: OSError) -> str:
        if error.errno == errno.EPERM:
            return "it runs as another user; run pyinit as root or give it CAP_KILL"
        return error.strerror or str(error)

    # --- escalation ---

    def kill_asked(self) -> None:
        """Look first, then SIGKILL whoever was asked and is still here, then say it in one line."""
        if not self.sees:
            if self.child and not self.killed:
                self._kill(self.child, signals.KILL, self.policy.scope)
                text = f"killed the {WHOM[min(self.policy.scope, GROUP)]} of {self.name} (/proc is not readable: nobody knows why)"
                self.killed[self.child, 0] = f"{self.child} {self.name}"
                self.report.say(WARNINGS, "escalate", text, signal="SIGKILL")
                self.last_words.append(text)
            return
        table = forensics.processes()
        spared = self.killed.keys() | self.refused
        here = [p for p in table.values() if p.identity in self.asked and p.identity not in spared and not p.is_dead]
        looks = [Look(p, forensics.why(p, self.asked[p.identity], table)) for p in here]
        killed = [look for look in looks if self.send(look.process, signals.KILL)]
        for look in killed:
            self.killed[look.process.identity] = str(look)
        if killed:
            self._say_killed(killed)

    def _say_killed(self, killed: "list[Look]") -> None:
        waited = time.monotonic_ns() - self.asked_at
        text = f"killed {len(killed)} after {seconds(waited)}: {_listed(killed)}"
        hint = ""
        if not self.policy.grace_chosen and self.state.killed:
            grace = seconds(self.policy.plan[0][1])
            hint = f"; nobody chose the {grace}: --grace or PYINIT_GRACE gives more, below what docker stop -t or the pod allows"
        fields: list[Value] = [look.fields() for look in killed]
        self.report.say(
            WARNINGS, "escalate", text + hint, after_ms=waited // MILLISECOND, signal="SIGKILL", processes=fields
        )
        self.last_words.append(text)

    def leave(self) -> None:
        """Name those who outlive even SIGKILL: in uninterruptible sleep, or of a user whom we may not signal."""
        table = forensics.processes() if self.sees else {}
        looks = []
        for p in forensics.descendants(posix.getpid(), table):
            reason = forensics.why(p, signals.KILL, table)
            if p.identity in self.refused:
                reason = f"runs as UID {forensics.uid(p.pid)}, which pyinit may not signal"
            looks.append(Look(p, reason))
        if looks:
            text = f"leaving {len(looks)} behind: {_listed(looks)}"
            fields: list[Value] = [look.fields() for look in looks]
            self.report.say(WARNINGS, "survivor", text, processes=fields)
            self.last_words.append(text)

    # --- the end ---

    def finish(self, code: int) -> None:
        """The last word, the termination log, the terminal: then `run` returns."""
        self.is_done = True
        self.code = code
        now = time.monotonic_ns()
        status = self.state.status
        how = signals.ended_how(status) if status != NO_STATUS else "not reaped"
        parts = [f"exit {code}", f"{self.name}: {how}", f"ran {seconds(now - self.started)}"]
        fields: dict[str, Value] = {"code": code, "status": how, "uptime_ms": (now - self.started) // MILLISECOND}
        if self.asked_at != NEVER:
            stopped = now - self.asked_at
            parts.append(f"stopped in {seconds(stopped)} after {signals.name_of(self.stop_signal)}")
            fields["stop_ms"] = stopped // MILLISECOND
        parts.append(f"{self.reaped} orphan{'s' * (self.reaped != 1)} reaped")
        if self.policy.wait_all and self.last_reaped:
            parts.append(f"the last process was {self.last_reaped}")
            fields["last"] = self.last_reaped
        parts.append(f"{len(self.killed) or 'nobody'} killed")
        if self.report.dropped:
            parts.append(f"{self.report.dropped} report lines dropped")
        killed: list[Value] = list(self.killed.values())
        fields |= {"reaped": self.reaped, "killed": killed, "dropped": self.report.dropped}
        text = ", ".join(parts)
        self.report.say(INFO, "exit", text, **fields)
        termination_log(self.termination_log, "; ".join([text, *self.last_words]), self.report)
        self.terminal.give_back(self.group)


WHOM = ("program", "process group", "tree")


def _sent_by_pidfd(fd: int, number: int) -> bool:
    """Send a signal through a pidfd; False where that failed: perhaps only this call is refused (gVisor, a seccomp profile)."""
    try:
        _signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        raise
    except OSError:
        return False  # kill(2) says whether it is the signal that is refused
    return True


def _listed(looks: "list[Look]") -> str:
    more = f", and {len(looks) - 20} more" if len(looks) > 20 else ""
    return ", ".join(map(str, looks[:20])) + more
