"""Starting a worker, and finding and signalling those that descend from it.

Rejected: subprocess (2 MB, and it knows nothing of LISTEN_PID or sessions), posix_spawn (no chdir, no user).
"""

import _signal
import errno
import os

from pyinit.init import forensics, program, signals
from pyinit.init.forensics import Process

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import NoReturn

MARK = "PYINIT_WORKER"
"""In every worker's environment: by it, those are known that have left its session."""
PASSES = 50
"""How often a look at /proc is repeated while it finds somebody new: a parent may fork while we read."""


class StartError(Exception):
    """A worker could not be started: `status` as a wait status, the text the line for the user."""

    def __init__(self, status: int, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.errno = number


def spawn(
    words: "Sequence[str]",
    environ: "Mapping[str, str]",
    cwd: str,
    descriptors: "Mapping[int, int]",
    *,
    user: "tuple[int | None, int | None]" = (None, None),
    label: str = "",
) -> int:
    """Start a program in a session of its own and return its pid once exec has succeeded.

    `descriptors`: what the program has open, by its number there; nothing else of ours. Raises StartError.
    """
    command = tuple(os.fsencode(word) for word in words)
    given = {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}
    try:
        reader, writer = os.pipe()
    except OSError as error:
        raise StartError(
            125 << 8, f"cannot start a process: {error.strerror}; raise the limit of open files", error.errno or 0
        ) from None
    # a handler of ours that ran in the child would tell us, through the descriptor that both share, of a signal we never had
    _signal.pthread_sigmask(_signal.SIG_BLOCK, signals.ALL)
    try:
        child = os.fork()
        if child == 0:
            _become(command, given, cwd, descriptors, user, label, writer)
    except OSError as error:
        os.close(reader)
        hint = "; the container's --pids-limit or RLIMIT_NPROC is reached" if error.errno == errno.EAGAIN else ""
        raise StartError(125 << 8, f"cannot start a process: {error.strerror}{hint}", error.errno or 0) from None
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.close(writer)
    failure = os.read(reader, 65536)  # ends when exec closes the other end
    os.close(reader)
    if failure:
        os.waitpid(child, 0)
        what, number, file = failure.split(b" ", 2)
        if what == b"exec" and int(number) == errno.EACCES and user[0] is not None:
            text = f"cannot run {os.fsdecode(file)}: UID {user[0]} may not execute it, or not search a directory on the way"
            raise StartError(program.NOT_EXECUTABLE << 8, text)
        if what == b"exec":
            status, text = program.explain(int(number), file, command, given)
            raise StartError(status << 8, text)
        raise StartError(
            125 << 8, f"cannot start {words[0]}: {what.decode()} {os.fsdecode(file)}: {os.strerror(int(number))}"
        )
    return child


def _become(
    command: "tuple[bytes, ...]",
    environ: "dict[bytes, bytes]",
    cwd: str,
    descriptors: "Mapping[int, int]",
    user: "tuple[int | None, int | None]",
    label: str,
    writer: int,
) -> "NoReturn":
    """In the child: everything that a program inherits, the mask last. What fails is written to `writer`."""
    step, what = b"setsid", b""
    try:
        os.setsid()
        pid = b"%d" % os.getpid()
        if label:
            environ[os.fsencode(MARK)] = os.fsencode(label) + b"/" + pid
        if b"LISTEN_FDS" in environ:
            environ[b"LISTEN_PID"] = pid
        step = b"descriptors"
        writer = _hand_over(descriptors, writer)
        step = b"signals"
        for number in signals.ALL:
            if number not in (signals.KILL, signals.STOP):
                _signal.signal(number, _signal.SIG_DFL)
        uid, gid = user
        if user != (None, None) and os.geteuid() == 0:
            step = b"groups"
            os.setgroups([] if gid is None else [gid])  # root's are not for somebody else
        if gid is not None:
            step, what = b"gid", b"%d" % gid
            os.setgid(gid)
        if uid is not None:
            step, what = b"uid", b"%d" % uid
            os.setuid(uid)
        step, what = b"cwd", os.fsencode(cwd)
        os.chdir(cwd)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        step, what = b"exec", command[0]
        program.execute(command, environ)
    except OSError as error:
        file = error.filename if isinstance(error.filename, bytes) else what
        os.write(writer, b"%s %d %s" % (step, error.errno or errno.EINVAL, file))
    except BaseException as error:  # noqa: BLE001 - whatever it is, nothing of Python's own may run twice
        os.write(writer, b"%s %d %s" % (step, errno.EINVAL, os.fsencode(repr(error))))
    finally:
        os._exit(125)


def _hand_over(descriptors: "Mapping[int, int]", writer: int) -> int:
    """Each descriptor under its number in the program. First all out of the way: one's source may be another's target.

    Gives the number under which `writer` is open afterwards.
    """
    import fcntl

    lowest = max(descriptors, default=2) + 1
    writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, lowest)
    away = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, lowest) for target, source in descriptors.items()}
    for target, source in away.items():
        os.dup2(source, target, inheritable=True)
    return writer


# --- those who descend from a worker ---


def family(pid: int, mark: str, known: "Collection[int]", table: "Mapping[int, Process]") -> "list[Process]":
    """The living processes of a worker but itself: its session, those with its mark that nobody else is the parent of, and all below.

    `known` are our own children that are no strays. The worker may have been reaped: its number is not used again while its
    session lasts.
    """
    us = os.getpid()
    roots = [pid]
    wanted = os.fsencode(f"{MARK}={mark}/{pid}")
    for p in table.values():
        if p.pid == pid or p.is_dead or p.pid in known:
            continue
        if p.session == pid or (p.parent == us and wanted in _environ(p.pid).split(b"\0")):
            roots.append(p.pid)
    found = {p.pid: p for root in roots for p in forensics.descendants(root, table)}
    found |= {root: table[root] for root in roots[1:]}
    found.pop(pid, None)
    return list(found.values())


def _environ(pid: int) -> bytes:
    """A process's environment. Another user's is hidden even from root without CAP_SYS_PTRACE, as in a container: ask as that user.

    Only the effective IDs change (ptrace(2), access mode checking): nobody may signal or trace us for it meanwhile.
    """
    path = f"/proc/{pid}/environ"
    found = forensics.read(path)
    if found or os.geteuid():
        return found
    group = os.getegid()
    try:
        owner = os.stat(path)
        if owner.st_uid == 0:
            return found
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        return forensics.read(path)
    except OSError:
        return found  # it is gone, or we may not become somebody else
    finally:
        os.seteuid(0)
        os.setegid(group)


def send(p: Process, number: int) -> bool:
    """A signal to one process, through a pidfd opened before its identity is read again: never to whoever reuses its pid."""
    fd = -1
    try:
        try:
            fd = os.pidfd_open(p.pid)
        except ProcessLookupError:
            return False
        except (OSError, AttributeError):
            fd = -1  # an old kernel, or a seccomp profile that does not know the call
        now = forensics.process(p.pid)
        if now is None or now.identity != p.identity:
            return False
        if fd >= 0:
            try:
                _signal.pidfd_send_signal(fd, number)
            except ProcessLookupError:
                return False
            except OSError:
                pass  # perhaps only this call is refused
            else:
                return True
        os.kill(p.pid, number)
    except OSError:
        return False
    else:
        return True
    finally:
        if fd >= 0:
            os.close(fd)


def signal_child(pid: int, number: int) -> None:
    """A signal to a child that has not been reaped, so that the number cannot be another's."""
    try:
        os.kill(pid, number)
    except OSError:
        pass  # a zombie that is reaped next, or of a user whom we may not signal


def send_all(look: "Callable[[], list[Process]]", number: int) -> int:
    """A signal to everyone whom a look finds, each once, until a look finds nobody new; how many they were."""
    done: set[tuple[int, int]] = set()
    for _ in range(PASSES):
        new = [p for p in look() if p.identity not in done]
        if not new:
            break
        for p in new:
            done.add(p.identity)
            send(p, number)
            if number != signals.KILL:
                send(p, signals.CONT)
    return len(done)


def memory(pid: int) -> "int | None":
    """Bytes that a process has resident (proc_pid_statm(5))."""
    fields = forensics.read(f"/proc/{pid}/statm", 256).split()
    return int(fields[1]) * PAGE if len(fields) > 1 else None


def cpu(pid: int) -> "float | None":
    """Seconds of CPU time that a process has used, to the kernel's tick."""
    stat = forensics.read(f"/proc/{pid}/stat", 4096)
    fields = stat[stat.rfind(b")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS if len(fields) > 12 else None


PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
