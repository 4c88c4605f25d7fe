"""The detectors, and the proof that they detect: each passes for pyinit and catches an "init" that is broken in just that."""

from collections.abc import Callable, Sequence

import pytest

from support import engines, processes
from support.containers import Run, guest
from support.waiting import NeverCameError, until

Detector = Callable[[Run, Sequence[str]], None]
PYINIT = ("pyinit", "--")
PYTHON_MODULE = ("python3", "-I", "-m", "pyinit", "--")
"""The other way in; documented with -I, so that no file in the working directory can stand in for a module."""


def reaps_orphans(run: Run, init: Sequence[str]) -> None:
    """Twenty orphans end and no zombie is left, while the program lives on."""
    code = "block(); [daemon(lambda: None) for _ in range(20)]; say('ready'); record(10)"
    container = run(guest(code), entrypoint=init).ready()
    until(lambda: not container.zombies(), 2, "no zombie")
    container.kill("KILL")


def forwards_term(run: Run, init: Sequence[str]) -> None:
    """TERM sent to PID 1 arrives at the program."""
    container = run(guest("block(); say('ready'); record(15); sys.exit(7)"), entrypoint=init).ready()
    container.kill("TERM")
    assert container.wait(3) == 7


def forwards_once(run: Run, init: Sequence[str]) -> None:
    """TERM arrives once: there is no second one when a marker comes, long after the init could have sent it."""
    code = """
block()
say("ready")
signal.sigwait({15})
second = signal.sigtimedwait({15}, 1)  # what is not to happen can only be given time to
sys.exit(8 if second else 7)
"""
    container = run(guest(code), entrypoint=init).ready()
    container.kill("TERM")
    assert container.wait(10) == 7


def waits_for_workers(run: Run, init: Sequence[str]) -> None:
    """A worker that is still writing when the program has ended finishes its writing."""
    code = """
def worker():
    block(15)
    say("ready")
    signal.sigwait({15})
    for part in range(5):
        time.sleep(0.05)  # what it writes takes this long
        say("wrote", part)
if os.fork() == 0:
    worker()
    os._exit(0)
signal.signal(15, lambda *_: os._exit(7))
while True:
    signal.pause()
"""
    container = run(guest(code), entrypoint=init).ready()
    container.kill("TERM")
    assert container.wait() == 7
    assert container.lines == ["ready", *(f"wrote {part}" for part in range(5))]


def asks_before_it_kills(run: Run, init: Sequence[str]) -> None:
    """The program has its time between TERM and SIGKILL."""
    container = run(guest("block(15); say('ready'); signal.sigwait({15}); say('asked'); os._exit(7)"), entrypoint=init)
    container.ready().kill("TERM")
    assert container.wait() == 7
    assert container.lines == ["ready", "asked"]


def keeps_the_status(run: Run, init: Sequence[str]) -> None:
    """The status is the program's, not that of an orphan that ends after it."""
    code = "daemon(lambda: (block(15), say('ready'), signal.sigtimedwait({15}, 0.2), os._exit(3)))\nos._exit(7)"
    assert run(guest(code), entrypoint=init).wait() == 7


DETECTORS: dict[Detector, str] = {
    reaps_orphans: "does_not_reap",
    forwards_term: "does_not_forward",
    forwards_once: "forwards_twice",
    waits_for_workers: "exits_early",
    asks_before_it_kills: "kills_at_once",
    keeps_the_status: "loses_the_status",
}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_pyinit_passes(detector: Detector, run: Run) -> None:
    """What is caught below is not caught here."""
    detector(run, PYINIT)


@pytest.mark.engines(engines.PYTHON)
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_module_passes(detector: Detector, run: Run) -> None:
    """Nor when Python is told to run the module, which only Python can be."""
    detector(run, PYTHON_MODULE)


@pytest.mark.engines(engines.PYTHON)  # whatever /usr/local/bin/pyinit is, it has no part in this, nor in the next
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.__name__)
def test_broken_init_is_caught(detector: Detector, run: Run) -> None:
    """The same assertions fail for an init that is broken in just this."""
    with pytest.raises((AssertionError, NeverCameError)):
        detector(run, ("python3", "-I", "-S", f"/broken/{DETECTORS[detector]}.py"))


@pytest.mark.engines(engines.PYTHON)
@pytest.mark.parametrize("broken", sorted(set(DETECTORS.values())))
def test_broken_inits_do_work(broken: str, run: Run) -> None:
    """What is caught is the one fault, not an init that runs nothing at all."""
    container = run(["sh", "-c", "echo ready; exit 5"], entrypoint=("python3", "-I", "-S", f"/broken/{broken}.py"))
    assert container.wait() == 5
    assert container.lines == ["ready"]


@pytest.mark.engines(engines.PYTHON)  # as above: a way into Python
@pytest.mark.both_kernels
def test_module_as_entrypoint(run: Run) -> None:
    """`python3 -I -m pyinit` is the same init: it is PID 1, passes signals on and takes over the status."""
    container = run(
        guest("block(); say('ready'); record(15); sys.exit(9)"),
        entrypoint=("python3", "-I", "-m", "pyinit", "-v", "--"),
    ).ready()
    assert any("as PID 1" in line for line in container.report_lines)
    container.kill("TERM")
    assert container.wait() == 9
    assert container.lines == ["ready", "15"]


def settled(run: Run, init: Sequence[str]) -> int:
    """The private memory of an init that waits, in kB."""
    container = run(guest("block(); say('ready'); record(10)"), entrypoint=init).ready()
    until(lambda: processes.status(container.pid)["Name"] == "pyinit", 10, "its name")
    return processes.private_dirty(container.pid)


@pytest.mark.engines(engines.NATIVE)
def test_memory_of_an_executable(run: Run) -> None:
    """What stays in the container: a few pages."""
    assert settled(run, PYINIT) <= 64


@pytest.mark.engines(engines.PYTHON)
def test_memory_is_the_same_whichever_way_it_is_started(run: Run) -> None:
    """The interpreter is started a second time, without `site`: what stays in the container is small either way."""
    sizes = [settled(run, PYINIT), settled(run, PYTHON_MODULE)]
    assert max(sizes) - min(sizes) < 300, sizes
    assert max(sizes) < 4500, sizes  # kB; the bench has the exact bar
