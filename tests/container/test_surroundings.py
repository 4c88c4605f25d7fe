"""Containers with less than usual: pyinit needs no writable file, no capability, no name for its user, no terminal, no stdin."""

import io
import json
import signal as signals
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import docker
import pytest

from support import engines
from support.containers import Run, guest

CONDUCT = """
daemon(lambda: None)
block()
if os.fork() == 0:
    record(15, "worker ")
    os._exit(0)
say("ready")
record(10)
os._exit(7)
"""
"""Makes an orphan and a worker, and ends by USR1 with status 7."""

SURROUNDINGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "read-only rootfs": {"read_only": True},
    "no capability": {"cap_drop": ["ALL"]},
    "no new privileges": {"security_opt": ["no-new-privileges"]},
    "arbitrary UID": {"user": "1000640000:0"},  # OpenShift: no passwd entry, group 0
    "everything at once": {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "user": "1000640000:0",
        "environment": {"HOME": "/nonexistent"},
        "working_dir": "/proc",
    },
    "no seccomp profile": {"security_opt": ["seccomp=unconfined"]},
}


@pytest.mark.both_kernels(each_engine=True)
@pytest.mark.parametrize("case", SURROUNDINGS)
def test_it_works_and_says_nothing(case: str, run: Run) -> None:
    """Signals are passed on, orphans reaped, the worker asked, the status kept; and there is nothing to warn of."""
    container = run(guest(CONDUCT), **SURROUNDINGS[case]).ready()
    container.kill("USR1")
    assert container.wait() == 7
    assert sorted(container.lines) == sorted(["ready", "10", "worker 15"])
    assert container.logs(stdout=False) == ""


def test_seccomp_that_denies_what_is_new(run: Run) -> None:
    """A profile that refuses pidfds, pwritev2 and prctl (older engines do): slower ways are taken, nobody is forgotten."""
    calls = ["pidfd_open", "pidfd_send_signal", "pwritev2", "close_range"]
    rule = {"names": calls, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    container = run(
        guest(CONDUCT), entrypoint=("pyinit", "-v", "--"), security_opt=[f"seccomp={json.dumps(profile)}"]
    ).ready()
    container.kill("USR1")
    assert container.wait() == 7
    assert "worker 15" in container.lines
    assert "nobody killed" in container.report_lines[-1]


@pytest.mark.parametrize(
    "script",
    ['rm /dev/tty; exec "$@"', 'rm -r /dev/* 2>/dev/null; exec "$@"', 'exec "$@" <&-'],
    ids=["no /dev/tty", "no /dev at all", "stdin closed"],
)
def test_without_a_terminal_or_stdin(script: str, run: Run) -> None:
    """What is not there is no reason to fail (tini dies of a closed stdin)."""
    container = run(["sh", "-c", script, "sh", "pyinit", "--", *guest(CONDUCT)], entrypoint=()).ready()
    container.kill("USR1")
    assert container.wait() == 7
    assert "worker 15" in container.lines
    assert container.logs(stdout=False) == ""


def test_stdin_closed_stays_closed(run: Run) -> None:
    """The program finds its descriptors as pyinit found them."""
    look = "sys.exit(11 if not os.path.exists('/proc/self/fd/0') else 12)"
    container = run(
        ["sh", "-c", 'exec "$@" <&-', "sh", "pyinit", "--", "python3", "-I", "-c", f"import os, sys; {look}"],
        entrypoint=(),
    )
    assert container.wait() == 11, container.logs()


def test_process_limit_reached(run: Run) -> None:
    """`--pids-limit 20`, and all twenty are there: pyinit needs no process of its own to stop them in order."""
    code = """
block(15)
count = 0
while True:
    try:
        if os.fork() == 0:
            signal.sigwait({15})
            os._exit(0)
        count += 1
    except OSError:
        break
say("forked", count)
say("ready")
signal.sigwait({15})
os._exit(7)
"""
    container = run(guest(code), entrypoint=("pyinit", "-v", "--"), pids_limit=20).ready()
    container.kill("TERM")
    assert container.wait() == 7
    assert container.lines[0] == "forked 18"
    assert "18 orphans reaped, nobody killed" in container.report_lines[-1]


def test_no_process_to_be_had_at_all(run: Run) -> None:
    """The limit is reached before pyinit starts the program: 125, and one line that names the limit."""
    code = """
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            time.sleep(1000)
        children.append(pid)
except OSError:
    os.execvp("pyinit", ["pyinit", "--", "true"])
"""
    container = run(guest(code), entrypoint=(), pids_limit=20)
    assert container.wait() == 125
    assert "cannot start a process" in container.logs()
    assert "pids-limit" in container.logs()


@pytest.fixture
def bare_image(client: docker.DockerClient) -> Iterator[str]:
    """An image in which there is nothing but the native executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(engines.native_executable(), "pyinit")
    name = f"pyinit-bare-{uuid.uuid4().hex[:12]}"
    client.api.import_image_from_data(buffer.getvalue(), repository=name, changes=["ENV PATH=/"])
    yield name
    client.images.remove(name)


@pytest.mark.engines(engines.NATIVE)
@pytest.mark.both_kernels
def test_an_image_with_nothing_in_it(bare_image: str, run: Run) -> None:
    """FROM scratch: no interpreter, no shell, no library. The only program that is there runs, and what is not there is named."""
    container = run(["/pyinit", "--version"], image=bare_image, entrypoint=("/pyinit", "-v", "--"))
    assert container.wait() == 0
    assert "native engine" in container.lines[-1]
    assert "nobody killed" in container.report_lines[-1]
    container = run(["sh"], image=bare_image, entrypoint=("/pyinit", "--"))
    assert container.wait() == 127
    assert container.logs() == "pyinit: cannot run sh: not found in /; install it, or write its full path\n"


def test_working_directory_is_the_program_s(run: Run) -> None:
    """The program starts where it was told to; PID 1 itself holds no directory (and no volume) busy."""
    container = run(
        ["sh", "-c", "pwd; readlink /proc/1/cwd; echo ready; exec sleep 1000"], working_dir="/usr/share"
    ).ready()
    assert container.lines[0] == "/usr/share"
    assert container.exec("readlink", "/proc/1/cwd").output == "/\n"


def test_kill_from_outside(run: Run) -> None:
    """`docker kill` ends everything, as it must."""
    container = run(guest(CONDUCT)).ready()
    container.kill("KILL")
    assert container.wait() == 128 + signals.SIGKILL
