"""A kernel or a seccomp profile that refuses what is new, a /proc that hides, limits that are reached: slower ways, or clear words."""

import contextlib
import errno
import hashlib
import os
import re
import resource
import signal as signals
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support import processes
from support.refuse import number, refusing
from support.runs import NAMESPACE, Run, python
from support.waiting import until

Start = Callable[..., Run]

NEW = ("close_range", "pidfd_open", "pidfd_send_signal", "pwritev2")
"""For each of them there is another way."""
ERRORS = ("EPERM", "ENOSYS")
CHOICES = [*((call,) for call in NEW), NEW]

LIFE = """
def body():
    block()
    say("daemon", "waits")
    say("daemon", int(signal.sigwait({15})))
daemon(lambda: os._exit(3))
daemon(body)
block()
say("ready")
record(1)
time.sleep(60)
"""
"""An orphan, a daemon in a session of its own that ends when it is asked, and a program that hears HUP and is deaf afterwards."""


# --- calls that are refused ---


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", [*NEW, "prctl"])
def test_filter_refuses(call: str, error: str, start_any: Start) -> None:
    """Negative control: with these arguments the kernel says something else."""
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({number(call)}, -1, -1, -1, -1, -1, -1)
say(ctypes.get_errno())
"""
    free, refused = start_any(*python(code)), start_any(*python(code), wrapper=refusing(call, error=error))
    assert (free.wait(), refused.wait()) == (0, 0), str(refused)
    assert refused.lines == [str(getattr(errno, error))]
    assert free.lines != refused.lines


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("calls", CHOICES, ids="+".join)
def test_other_ways_are_taken(calls: Sequence[str], error: str, start: Start, where: str) -> None:
    """Everybody is asked, whoever is deaf is killed, every line is there, and nobody is told of a refusal that does not matter."""
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer):
        wrapper = refusing(*calls, error=error)
        run = start("-vv", "-t", "300ms", "--", *python(LIFE), where=where, wrapper=wrapper, pass_fds=[reader])
        run.ready().armed()
        run.wait_out("daemon waits")
        assert processes.descriptors(run.pid).keys() == {0, 1, 2}
        assert reader in processes.descriptors(run.program)
        run.send("HUP")
        run.wait_out("1")
        run.send("TERM")
        assert run.wait() == 137
    assert "daemon 15" in run.lines
    assert len([line for line in run.report if "reaped orphan" in line]) == 2
    assert "SIGTERM sent to 1 more" in run.err
    assert re.search(r"killed 1 after \d+\.\d s: \d+ python\S* \(blocks SIGTERM", run.err), run.err
    assert "another user" not in run.err
    assert os.strerror(getattr(errno, error)) not in run.err


@pytest.mark.parametrize("error", ERRORS)
def test_prctl_refused(error: str, start: Start) -> None:
    """Not PID 1 and no subreaper: what that means is said once; the program is started, hears signals, and its status is kept."""
    code = "block(); say('ready'); record(15); sys.exit(4)"
    run = start("-p", "TERM", "--", *python(code), wrapper=refusing("prctl", error=error)).ready().send("HUP", "TERM")
    assert run.wait() == 4
    assert run.lines == ["ready", "1", "15"]
    assert len(run.report) == 2, run.err
    why = os.strerror(getattr(errno, error))
    assert f"cannot become a subreaper ({why})" in run.err
    assert f"--parent-death SIGTERM: {why}" in run.err


@pytest.mark.parametrize("error", ["ENOMEM", "EAGAIN", "EPERM"])
def test_no_process_to_be_had(error: str, start: Start) -> None:
    """The process cannot be made: one line with the reason, 125."""
    run = start("--", "true", wrapper=refusing("clone", error=error))
    assert run.wait() == 125
    assert run.err.startswith(f"pyinit: cannot start a process: {os.strerror(getattr(errno, error))}")
    assert run.err.count("\n") == 1
    assert ("limit" in run.err) == (error == "EAGAIN")


# --- memory ---


@pytest.fixture
def start_native(native: Path, start_any: Start) -> Start:
    """The native engine alone: an interpreter fails where memory is short, before a line of ours runs."""
    return lambda *words, **options: start_any(str(native), *words, **options)


def test_no_memory_to_be_had(start_native: Start) -> None:
    """RLIMIT_AS: there is room for pyinit and none for the start of a program."""
    needed = int(processes.status(start_native("--", "sleep", "60").armed().pid)["VmSize"].split()[0]) * 1024

    def limited(more: int) -> Run:
        limit = (needed + more, needed + more)
        return start_native("--", "true", prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))

    run = limited(16 * 1024)
    assert run.wait() == 125, str(run)
    assert re.fullmatch(r"pyinit: cannot start: Cannot allocate memory;.*\n", run.err), run.err
    # negative control; what `true` may have is another matter than what we need
    assert limited(512 * 1024 * 1024).wait() == 0


def test_memory_call_refused(start_native: Start) -> None:
    """The same where the call itself is refused."""
    run = start_native("--", "true", wrapper=refusing("mmap", error="ENOMEM"))
    assert run.wait() == 125
    assert re.fullmatch(r"pyinit: cannot start: Cannot allocate memory;.*\n", run.err), run.err


ORPHANS = """
def orphans(count):
    for _ in range(count // 500):
        if os.fork() == 0:
            for _ in range(500):
                os.fork() or os._exit(0)
            os._exit(0)
        os.wait()
orphans(500)
block(10)
say("warm")
signal.sigwait({10})
orphans(100_000)
say("done")
signal.sigwait({10})
"""


@pytest.mark.timeout(300)
def test_hundred_thousand_orphans_leave_no_memory(start_native: Start, as_root: None) -> None:
    """Not one page more than before. (Both engines with ten thousand, and a bound: test_pid1.py.)"""
    del as_root
    run = start_native("-v", "--", *python(ORPHANS), where=NAMESPACE)
    run.wait_out("warm")

    def is_alone() -> bool:
        return processes.children(run.pid) == [run.program]

    until(is_alone, 10, "the first orphans' end")
    before = processes.private_dirty(run.pid)
    os.kill(run.program, signals.SIGUSR1)
    run.wait_out("done", 240)
    until(is_alone, 30, "the orphans' end")
    assert processes.private_dirty(run.pid) == before
    os.kill(run.program, signals.SIGUSR1)
    assert run.wait() == 0
    assert "100500 orphans reaped" in run.err


# --- what was inherited ---

MANY = 10_000
INHERITING = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({MANY} + 100, {MANY} + 100))
null = os.open("/dev/null", os.O_RDONLY)
for fd in range(10, 10 + {MANY}):
    os.dup2(null, fd)
os.close(null)
os.execvp(sys.argv[1], sys.argv[1:])
""",
)
NO_PROC = (
    "unshare",
    "--pid",
    "--fork",
    "--mount",
    "--kill-child",
    "--",
    "sh",
    "-c",
    'umount -l /proc; exec "$@"',
    "sh",
)


@pytest.mark.parametrize("wrapper", [(), refusing("close_range", error="ENOSYS")], ids=["close_range", "without"])
def test_ten_thousand_descriptors(wrapper: tuple[str, ...], start: Start) -> None:
    """The program has them all, and we have none of them."""
    run = start("--", "sleep", "60", wrapper=(*wrapper, *INHERITING)).armed()
    assert len(processes.descriptors(run.program)) == MANY + 3
    assert processes.descriptors(run.pid).keys() == {0, 1, 2}
    assert run.send("TERM").wait() == 143


def test_ten_thousand_descriptors_without_proc(start: Start, as_root: None) -> None:
    """Neither close_range nor a list of them: each number is tried."""
    del as_root
    refused = refusing("close_range", error="EPERM")
    run = start("--", *python("say('ready'); time.sleep(60)"), wrapper=(*NO_PROC, *refused, *INHERITING)).ready()
    run._pid = until(
        lambda: [pid for pid in processes.descendants(run.process.pid) if processes.inner_pid(pid) == 1], 10, "PID 1"
    )[0]
    assert len(processes.descriptors(run.program)) == MANY + 3
    until(lambda: processes.descriptors(run.pid).keys() == {0, 1, 2}, 10, "all of them closed")
    assert run.send("TERM").wait() == 143


SHAPES = {"few and long": 100_000, "many and short": 1}
"""How many bytes each word has."""
LARGEST = 6 << 20
"""What exec takes of words, variables and pointers to them, however large the stack may grow (execve(2))."""


@pytest.mark.parametrize("where_to", ["arguments", "environment"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_most_that_the_kernel_takes(shape: str, where_to: str, start: Start) -> None:
    """As many arguments, or variables, as exec allows (6 MB with an unlimited stack): all of them reach the program, unchanged."""
    code = """
import hashlib
words = sys.argv[1:] or sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith("v"))
say(len(words), hashlib.sha256("\\0".join(words).encode()).hexdigest())
"""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def given(size: int) -> list[str]:
        length = SHAPES[shape]
        each = length + 1 + 8  # a NUL, and a pointer to it
        if where_to == "environment":
            each += len("v000000=")
        words = ["x" * length] * (size // each)
        rest = size % each - (each - length)
        return [*words, "y" * rest] if rest > 0 else words

    def attempt(size: int) -> Run:
        words = given(size)
        if where_to == "arguments":
            return start("-v", "--", *python(code), *words, prepare=prepare)
        variables = {f"v{n:06}": word for n, word in enumerate(words)}
        return start("-v", "--", *python(code), prepare=prepare, env={"PATH": "/usr/bin:/bin", **variables})

    size, run = LARGEST, None
    while run is None:  # our own words take a little of it, and the kernel decides how much is left
        size -= 256 if shape == "few and long" else 4096
        with contextlib.suppress(OSError):
            run = attempt(size)
    assert run.wait() == 0, run.err[:2000]
    words = given(size)
    wanted = words if where_to == "arguments" else sorted(f"v{n:06}={word}" for n, word in enumerate(words))
    assert run.lines == [f"{len(wanted)} {hashlib.sha256(chr(0).join(wanted).encode()).hexdigest()}"]
    assert size > LARGEST - 20_000
    assert max(len(line) for line in run.err.splitlines()) < 4096


# --- a /proc that hides others ---

HIDING = (
    *("unshare", "--pid", "--fork", "--mount", "--kill-child", "--", "sh", "-c"),
    'mount -t proc -o hidepid=2 proc /proc; sleep 61 & export OTHER=$!; exec setpriv "$@"',
    *("sh", "--reuid=1000640000", "--regid=1000640000", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all,+dac_override,+dac_read_search", "--ambient-caps=+dac_override,+dac_read_search", "--"),
)
"""PID 1 of its own namespace as an ordinary user, to whom /proc shows nobody else's processes; one of root is there.

Not of group 0, which is the one that may see all of them (proc(5)).
"""


def test_proc_that_hides_the_others(start: Start, as_root: None) -> None:
    """hidepid=2: our own are found, asked and named as ever; whoever is hidden costs no more than the bound, and no word."""
    del as_root
    code = "say('hidden', not os.path.exists('/proc/' + os.environ['OTHER']))\n" + LIFE
    run = start("-t", "300ms", "--linger", "300ms", "--", *python(code), wrapper=HIDING)
    run.wait_out("daemon waits")
    run.wait_out("ready")
    assert "hidden True" in run.lines
    run._pid = until(
        lambda: [pid for pid in processes.descendants(run.process.pid) if processes.inner_pid(pid) == 1], 10, "PID 1"
    )[0]
    run.send("HUP")
    run.wait_out("1")
    run.send("TERM")
    assert run.wait(10) == 137
    assert "daemon 15" in run.lines
    assert len(run.report) == 1, run.err
    assert re.search(r"killed 1 after \d+\.\d s: \d+ python\S* \(blocks SIGTERM", run.err), run.err
