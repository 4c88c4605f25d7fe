"""Why it did not stop: each reason that a report can give, from a real process that has it."""

import os
import re
import signal as signals
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pyinit.init import forensics
from support import processes
from support.runs import NAMESPACE, Run, python, shell
from support.waiting import until

Start = Callable[..., Run]


def reason(run: Run, *sent: str) -> str:
    """What the report says of the first that was killed, after TERM."""
    run.send(*(sent or ("TERM",))).wait()
    found = re.search(r"killed \d+ after [^:]+: \d+ [^(]*\(([^)]*)\)", run.err)
    assert found is not None, run.err
    return found[1]


def test_ignores(start: Start) -> None:
    """SIG_IGN."""
    run = start("-t", "100ms", "--", *python("signal.signal(15, signal.SIG_IGN); say('ready'); time.sleep(60)")).ready()
    assert reason(run) == "ignores SIGTERM"


def test_blocks_and_it_is_still_pending(start: Start) -> None:
    """Blocked in every thread: never even taken."""
    run = start("-t", "100ms", "--", *python("block(15); say('ready'); time.sleep(60)")).ready()
    assert reason(run) == "blocks SIGTERM, SIGTERM still pending"


def test_handler_that_does_not_end_it(start: Start) -> None:
    """The commonest: there is a handler, it ran, and the program goes on."""
    run = start(
        "-t", "100ms", "--", *python("signal.signal(15, lambda *_: say('handled')); say('ready'); time.sleep(60)")
    ).ready()
    assert reason(run) == "has a handler for SIGTERM and is still running"
    assert "handled" in run.lines


def test_sigwait(start: Start) -> None:
    """A thread that waits for signals took it and did not end."""
    run = start("-t", "100ms", "--", *python("block(); say('ready'); record(64)")).ready()
    assert reason(run) == "waits for signals in sigwait and has not ended"


def test_stopped(start: Start) -> None:
    """A worker that stops itself again whenever it is continued."""
    code = """
if os.fork() == 0:
    block()
    say("ready")
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)
os.wait()
"""
    run = start("-t", "200ms", "--", *python(code)).ready()
    assert reason(run) == "stopped"


def test_traced(start: Start, start_any: Start) -> None:
    """Somebody debugs it: by whom is said."""
    run = start("-t", "200ms", "--", *python("say('ready'); time.sleep(60)")).ready()
    attach = """
import _ctypes, sys, time
class Int(_ctypes._SimpleCData): _type_ = "l"
class Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = Int
ptrace = Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "ptrace"))
print("attached" if ptrace(16, int(sys.argv[1]), 0, 0) == 0 else "failed", flush=True)
time.sleep(60)
"""
    tracer = start_any(sys.executable, "-I", "-S", "-c", attach, str(run.program))
    tracer.wait_out("attached")
    until(lambda: processes.state(run.program) == "t", 10, "the tracee's stop")
    run.send("TERM")
    found = run.wait_err(r"\(stopped by its tracer (\d+)\)")
    assert int(found[1]) == tracer.pid
    tracer.process.kill()
    assert run.wait() == 137


def test_uninterruptible_sleep(start: Start) -> None:
    """A parent in vfork sleeps in D state until its child has executed or ended; where it sleeps is said."""
    code = """
import _ctypes
class Int(_ctypes._SimpleCData): _type_ = "i"
class Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL
    _restype_ = Int
def function(name): return Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))
block()
say("ready")
vfork, pause = function("vfork"), function("pause")
vfork() == 0 and pause()
"""
    run = start("-t", "200ms", "--scope", "child", "--", *python(code)).ready()
    until(lambda: processes.state(run.program) == "D", 10, "the vfork")
    run.send("TERM")
    found = run.wait_err(r"killed \d+ after [^:]+: \d+ [^(]*\((in uninterruptible sleep[^)]*)\)")
    assert found[1] == "in uninterruptible sleep" or " in " in found[1].removeprefix("in ")
    assert run.wait(20) == 137


def test_shell_waiting_for_a_foreground_child(start: Start) -> None:
    """`trap` does not run before the foreground child has ended: which child it is, is said."""
    run = start(
        "-c", "-t", "200ms", "--linger", "100ms", "--", *shell("trap 'echo trapped' TERM; echo ready; sleep 60; true")
    ).ready()
    child = until(lambda: processes.children(run.program), 10, "the shell's child")[0]
    assert reason(run) == f"shell waiting for {child}"


def test_zombie_of_a_living_parent_is_the_parent_s_affair() -> None:
    """A zombie that is not ours to reap: who does not reap it, is said."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        until(lambda: processes.state(pid) == "Z", 10, "the zombie")
        table = forensics.processes()
        assert forensics.why(table[pid], 15, table) == f"zombie that its parent {os.getpid()} does not reap"
    finally:
        os.waitpid(pid, 0)


def test_zombie_does_not_hold_up_the_exit(start: Start) -> None:
    """Its parent is asked and ends, the zombie comes to us, and that is all."""
    code = "os.fork() == 0 and os._exit(3)\nsay('ready'); signal.pause()"
    run = start("-vvv", "--", *python(code)).ready().send("TERM")
    assert run.wait(5) == 143
    assert "exit 3" in run.err


def test_init_of_a_namespace_inside(as_root: None, start: Start) -> None:
    """PID 1 of a namespace of its own without a handler for TERM: the kernel drops the signal, which is worth saying."""
    del as_root
    inside = ["unshare", "--pid", "--fork", "--", "sh", "-c", "echo ready; exec sleep 60"]
    for where in ("host", NAMESPACE):
        run = start("-t", "200ms", "--", *inside, where=where).ready().send("TERM")
        assert run.wait() in (137, 143)
        assert "is PID 1 of its own namespace and has no handler for SIGTERM" in run.err


def test_every_reason_names_process_and_script(start: Start, tmp_path: Path) -> None:
    """For what an interpreter runs, the script is the name that a person knows."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    run = start("-t", "100ms", "--", sys.executable, "-I", str(script)).ready().send("TERM")
    assert run.wait() == 137
    assert re.search(r": \d+ python\S* worker\.py \(ignores SIGTERM\)", run.err), run.err


def test_name_with_spaces_and_parentheses(start: Start) -> None:
    """A process may call itself anything: /proc/PID/stat is read to the last parenthesis, and nothing odd is printed."""
    code = "open('/proc/self/comm', 'wb').write(b'a) R 1 (\\x1b[2J'); block(); say('ready'); time.sleep(60)"
    run = start("-t", "100ms", "--", *python(code)).ready().send("TERM")
    assert run.wait() == 137
    assert "a) R 1 (\\x1b[2J (blocks SIGTERM" in run.err
    assert "\x1b" not in run.err


def test_several_are_listed(start: Start) -> None:
    """Each with its own reason, in one line."""
    code = """
if os.fork() == 0:
    signal.signal(15, signal.SIG_IGN); say("ready"); time.sleep(60)
block(); say("ready"); time.sleep(60)
"""
    run = start("-t", "200ms", "--", *python(code))
    until(lambda: run.lines.count("ready") == 2, 10, "both")
    assert run.send("TERM").wait() == 137
    assert re.search(r"killed 2 after \d+\.\d s", run.err)
    assert "(ignores SIGTERM)" in run.err
    assert "(blocks SIGTERM, SIGTERM still pending)" in run.err


def test_look_of_a_process_that_is_gone() -> None:
    """Nothing here may fail: a PID that nobody has gives no process, and an old line of the table gives some reason."""
    mine = forensics.process(os.getpid())
    assert mine is not None
    assert forensics.process(1 << 22) is None
    gone = forensics.Process(1 << 22, b"gone", "S", 1, 1, 1, 1, 1)
    assert isinstance(forensics.why(gone, signals.SIGTERM, {}), str)
    assert forensics.command(1 << 22) == []


# --- out of memory, against fixture trees ---


def cgroup(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[str, str]:
    """A cgroup file system and a /proc/self/cgroup."""
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    return str(root), str(tmp_path / "membership")


V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 31\noom 2\noom_kill {}\noom_group_kill 9\n"
V1_LINES = "12:pids:/docker/abc\n11:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n"

OOM: dict[str, tuple[str, dict[str, str], int | None]] = {
    "v2, container's own root": ("0::/\n", {"memory.events": V2.format(3)}, 3),
    "v2, host's path": (
        "0::/system.slice/x.scope\n",
        {"system.slice/x.scope/memory.events": V2.format(2), "memory.events": V2.format(7)},
        2,
    ),
    "v2, host's path that is not there": ("0::/docker/abc\n", {"memory.events": V2.format(1)}, 1),
    "v2, zero": ("0::/\n", {"memory.events": V2.format(0)}, 0),
    "v2, no controller": ("0::/\n", {"cgroup.procs": ""}, None),
    "v1, own root": (V1_LINES, {"memory/memory.oom_control": V1.format(4)}, 4),
    "v1, host's path": (
        V1_LINES,
        {"memory/docker/abc/memory.oom_control": V1.format(5), "memory/memory.oom_control": V1.format(0)},
        5,
    ),
    "v1, old kernel without a counter": (
        V1_LINES,
        {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"},
        None,
    ),
    "v1, two controllers together": ("3:cpu,memory:/a\n", {"memory/a/memory.oom_control": V1.format(6)}, 6),
    "hybrid, memory in v2": ("1:name=systemd:/\n0::/\n", {"memory.events": V2.format(8)}, 8),
    "hybrid, unified mount": ("1:name=systemd:/\n0::/a\n", {"unified/a/memory.events": V2.format(8)}, None),
    "empty": ("", {}, None),
    "nonsense": ("a:b\n::::\n\n4:memory\n", {"memory/memory.oom_control": "oom_kill many\n"}, None),
}


@pytest.mark.parametrize("case", OOM)
def test_out_of_memory_counter(case: str, tmp_path: Path) -> None:
    """Of cgroup v1 and v2, the container's view and the host's."""
    membership, files, wanted = OOM[case]
    assert forensics.oom_kills(*cgroup(tmp_path, membership, files)) == wanted


def test_out_of_memory_without_files(tmp_path: Path) -> None:
    """No cgroup file system at all."""
    assert forensics.oom_kills(str(tmp_path / "no"), str(tmp_path / "nothing")) is None


def test_kill_by_somebody_else_is_not_called_out_of_memory(start: Start) -> None:
    """137 by a SIGKILL that was not ours, with no OOM kill counted: nothing is claimed."""
    run = start("-v", "--", "sleep", "60").armed()
    os.kill(run.program, signals.SIGKILL)
    assert run.wait() == 137
    assert "memory" not in run.err
    assert "nobody killed" in run.err
