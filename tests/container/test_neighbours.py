"""Beside and under others: another init in front, the host's PID namespace, a namespace shared with other containers.

Whoever is not pyinit's own descendant is never touched. The bystander is the probe: all signals blocked, each one that reaches it is
told. The control is an init that asks by kill(-1): in the same place it does reach the bystander. It is only ever started in the
namespace of a probe's own container, never in the host's (and refuses to run anywhere else).
"""

import re
from collections.abc import Callable, Sequence

import pytest

from support import processes
from support.containers import Container, Run, guest
from support.waiting import until

PROBE = ["python3", "/probes/signals.py", "--children", "1", "--pass-marker"]
BROKEN = ("python3", "-I", "-S", "/broken/asks_everybody.py")

PROGRAM = """
def worker():
    block()
    say("worker")
    record(15, "worker ")
daemon(worker)
signal.signal(15, lambda *_: (say("asked"), os._exit(7)))
say("ready")
while True:
    signal.pause()
"""
"""A program with a daemon in a session of its own: pyinit has to look for it among all the processes there are."""


def bystander_hears_nothing(bystander: Container, stop: Callable[[], None]) -> None:
    """Stop the one, then send the other a marker: that is all it may have heard."""
    bystander.ready()
    stop()
    bystander.kill("RTMAX")
    assert bystander.wait() == 0
    assert sorted(bystander.lines) == sorted(["main.1 ready", "main ready", "ready", "main end", "main.1 end"])


def stopped_in_order(container: Container) -> Callable[[], None]:
    """A stop that must go well for the container's own processes."""

    def stop() -> None:
        container.ready().wait_line("worker")
        container.kill("TERM")
        assert container.wait() == 7
        assert sorted(container.lines) == sorted(["worker", "ready", "asked", "worker 15"])
        assert "nobody killed" in container.report_lines[-1]

    return stop


def test_bystander_in_a_shared_namespace(run: Run) -> None:
    """`--pid=container:X`, as in a pod with shareProcessNamespace: X is PID 1, pyinit adopts by itself what it has to."""
    bystander = run(PROBE, entrypoint=())
    container = run(guest(PROGRAM), entrypoint=("pyinit", "-v", "--"), pid_mode=f"container:{bystander.id}")
    bystander_hears_nothing(bystander, stopped_in_order(container))


def test_init_that_asks_everybody_is_caught(run: Run) -> None:
    """Negative control: kill(-1) in the same place reaches the bystander's child."""
    bystander = run(PROBE, entrypoint=())
    container = run(
        guest("block(10); say('ready'); signal.sigwait({15, 10})"),
        entrypoint=BROKEN,
        pid_mode=f"container:{bystander.id}",
    )

    def stop() -> None:
        container.ready()
        container.kill("TERM")
        bystander.wait_log("main.1 TERM 1")

    with pytest.raises(AssertionError, match=re.escape("main.1 TERM 1")):
        bystander_hears_nothing(bystander, stop)


def test_bystander_on_the_host(run: Run) -> None:
    """`--pid=host`: every process of the machine is in sight, and only pyinit's own are its business."""
    bystander = run(PROBE, entrypoint=())
    outsider = run(PROBE, entrypoint=(), pid_mode="host")  # in the very namespace that pyinit is in
    outsider.ready()
    container = run(guest(PROGRAM), entrypoint=("pyinit", "-v", "--"), pid_mode="host")

    def stop() -> None:
        bystander_hears_nothing(outsider, stopped_in_order(container))

    bystander_hears_nothing(bystander, stop)


def test_neighbour_in_our_namespace(run: Run) -> None:
    """Another container has joined ours: it is not asked and not waited for; the kernel ends it with the namespace."""
    container = run(guest(PROGRAM), entrypoint=("pyinit", "-v", "--"))
    neighbour = run(PROBE, entrypoint=(), pid_mode=f"container:{container.id}")
    neighbour.ready()
    stopped_in_order(container)()
    assert neighbour.wait() == 137
    assert sorted(neighbour.lines) == sorted(["main.1 ready", "main ready", "ready"])


def test_deaf_neighbours_do_not_hold_up_a_kill(run: Run) -> None:
    """Somebody is killed at the end of the grace, and it is none of the neighbours."""
    bystander = run(PROBE, entrypoint=())
    container = run(
        guest("block(); say('ready'); time.sleep(1000)"),
        entrypoint=("pyinit", "-t", "300ms", "--"),
        pid_mode=f"container:{bystander.id}",
    ).ready()

    def stop() -> None:
        container.kill("TERM")
        assert container.wait() == 137
        assert "killed 1 after" in container.logs()

    bystander_hears_nothing(bystander, stop)


# --- init under init ---


def test_docker_init_in_front(run: Run) -> None:
    """`docker run --init`: tini is PID 1 and pyinit its child. Everything works, and there is nothing to warn of."""
    container = run(guest(PROGRAM), entrypoint=("pyinit", "--"), init=True)
    container.ready().wait_line("worker")
    worker = next(
        p
        for p in container.processes()
        if len(p.children()) == 0 and p.ppid() != container.pid and p.cmdline()[0] == "python3"
    )
    assert worker.ppid() != container.pid  # an orphan comes to pyinit, not to tini
    container.kill("TERM")
    assert container.wait() == 7
    assert sorted(container.lines) == sorted(["worker", "ready", "asked", "worker 15"])
    assert container.logs(stdout=False) == ""


@pytest.mark.both_kernels
@pytest.mark.parametrize("inner", [("pyinit", "--"), ("pyinit", "-s", "--")], ids=["auto", "subreaper"])
def test_pyinit_under_pyinit(inner: Sequence[str], run: Run) -> None:
    """Nested by accident, as base images do it: each signal arrives once, the status passes both."""
    container = run([*inner, *guest("block(); say('ready'); record(64); os._exit(9)")]).ready()
    for name, line in (("HUP", "1"), ("TERM", "15"), ("USR1", "10")):
        container.kill(name)
        container.wait_line(line)
    if container.raw.attrs["HostConfig"]["Runtime"] == "runsc":
        container.signal_inside(64, 1)  # its docker kill knows no real-time signal
    else:
        container.kill("RTMAX")
    assert container.wait() == 9
    assert [line for line in container.lines if line != "18"] == ["ready", "1", "15", "10", "64"]


def test_without_adoption_it_is_said(run: Run) -> None:
    """Not PID 1 and told not to adopt: said at -v, so that a reader of the log knows why a daemon was not asked."""
    container = run(["pyinit", "-v", "--no-subreaper", "--", "true"])
    assert container.wait() == 0
    assert "out of reach" in container.logs()


def test_orphans_come_to_pyinit_in_a_shared_namespace(run: Run) -> None:
    """PID 1 is somebody who does not reap; the orphans of our program are reaped all the same."""
    bystander = run(PROBE, entrypoint=())
    bystander.ready()
    code = "block(); [daemon(lambda: None) for _ in range(20)]; say('ready'); record(10)"
    container = run(guest(code), entrypoint=("pyinit", "-v", "--"), pid_mode=f"container:{bystander.id}").ready()
    until(
        lambda: not any(processes.state(pid) == "Z" for pid in processes.descendants(bystander.pid)),
        5,
        "no zombie with the bystander",
    )
    container.kill("USR1")
    assert container.wait() == 0
    assert "20 orphans reaped" in container.report_lines[-1]
