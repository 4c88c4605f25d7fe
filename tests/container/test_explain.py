"""`pyinitctl explain` is held against what a stop then does: every container of docker/checks, and what those do not have.

Each is foretold, stopped and watched. What was foretold otherwise than it came fails, unless WRONG says why nobody could know.
How many were right is printed, and written to .results/explain.json.
"""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
from container.test_verify import LOG, PYINIT, ROWS, Row, guest, images, stage_of

from pyinit.containers.account import How
from pyinit.containers.engine import Engine, is_here
from pyinit.containers.remote import Agent
from pyinit.verify.explain import Will
from pyinit.verify.ready import Readiness
from pyinit.verify.stopping import Stopped, stop, target_of
from support import verdicts
from support.waiting import until

pytestmark = pytest.mark.engines("native")

__all__ = ["images"]  # a fixture

RESULTS = Path(__file__).resolve().parent.parent.parent / ".results"

SERVER = guest("server")
WAITS = ("sh", "-c", "python3 /checks/server.py; true")
"""A shell, and the program behind it."""
ENDS_SLOWLY = """import signal, sys, time
signal.signal(15, lambda *_: (time.sleep(2), sys.exit(0)))
print("ready", flush=True)
while True: signal.pause()"""
WAITS_LONG = ("sh", "-c", f"python3 -c '{ENDS_SLOWLY}'; true")
"""The same with one that needs two seconds: it does not end by itself before an init that leaves at once has left."""


def python(*lines: str) -> tuple[str, ...]:
    """A program that is ready when it has come so far; a line `wait` waits for whatever comes."""
    text = "\n".join(lines).replace("READY", "print('ready', flush=True)")
    return ("python3", "-c", f"import ctypes, os, signal, sys, time\n{text}")


def tini(*words: str) -> tuple[str, ...]:
    """Pyinit as tini: it keeps tini's contract, its early end included."""
    return ("sh", "-c", 'ln -s "$(command -v pyinit)" /tmp/tini && exec /tmp/tini "$@"', "sh", *words)


BLOCK = "signal.pthread_sigmask(signal.SIG_BLOCK, [15])"
PAUSE = "while True: signal.pause()"


def trap(shell: str, then: str) -> tuple[str, ...]:
    """A shell that ends on SIGTERM, if it comes to that."""
    return (shell, "-c", f"trap 'exit 0' TERM; echo ready; {then}")


MORE = (
    Row("sigwait", python(BLOCK, "READY", "signal.sigwait([15])"), {}),
    Row("sigwait for another", python("signal.pthread_sigmask(signal.SIG_BLOCK, [10])", "READY", "signal.sigwait([10])"), {}),
    Row(
        "a signalfd",
        python(
            BLOCK,
            "numbers = (ctypes.c_uint64 * 16)(1 << 14)",
            "descriptor = ctypes.CDLL(None).signalfd(-1, numbers, 0)",
            "READY",
            "os.read(descriptor, 128)",
        ),
        {},
    ),
    Row("blocked", python(BLOCK, "READY", PAUSE), {}),
    Row("blocked, with a handler", python("signal.signal(15, lambda *_: sys.exit())", BLOCK, "READY", PAUSE), {}),
    Row("blocked in another thread alone", python("import threading", "signal.signal(15, lambda *_: sys.exit())",
        f"threading.Thread(target=lambda: ({BLOCK}, time.sleep(999)), daemon=True).start()", "READY", PAUSE), {}),
    Row("a handler for another signal", python("signal.signal(2, lambda *_: sys.exit())", "READY", PAUSE), {}),
    Row("dash, a trap, a foreground command", trap("dash", "sleep 999; true"), {}),
    Row("bash, a trap, a foreground command", trap("bash", "sleep 999; true"), {}),
    Row("dash, a trap, short sleeps", trap("dash", "while :; do sleep 0.7; done"), {}),
    Row("bash, a trap, short sleeps", trap("bash", "while :; do sleep 0.7; done"), {}),
    Row("dash, a trap, wait", trap("dash", "sleep 999 & wait"), {}),
    Row("bash, a trap, wait", trap("bash", "sleep 999 & wait"), {}),
    Row("dash, a trap, read", trap("dash", "read line"), {}, run_options={"stdin_open": True}),
    Row("an interactive bash", ("bash",), {}, run_options={"tty": True, "stdin_open": True}, readiness=Readiness()),
    Row("docker's init, a shell that waits", WAITS, {}, run_options={"init": True}),
    Row("docker's init, a server", SERVER, {}, run_options={"init": True}),
    Row("docker's init, pyinit, a shell that waits", (*PYINIT, *WAITS), {}, run_options={"init": True}),
    Row("tini, a shell that waits", tini("--", *WAITS), {}),
    Row("tini -g, a shell that waits", tini("-g", "--", *WAITS_LONG), {}),
    Row("tini -g, a shell and a sleep", tini("-g", "--", "sh", "-c", "echo ready; sleep 999; true"), {}),
    Row("tini, one that ignores it", tini("--", *guest("deaf")), {}),
    Row("tini, one that is stopped", tini("--", *python("READY", "os.kill(os.getpid(), 19)")), {}),
    Row("tini -g, one in a session of its own", tini("-g", "--", "sh", "-c", f"setsid {' '.join(SERVER)} & exec sleep 999"), {}),
    Row("tini -g, a trap, a foreground command", tini("-g", "--", *trap("dash", "sleep 999; true")), {}),
    Row("tini, a trap, a foreground command", tini("--", *trap("dash", "sleep 999; true")), {}),
    Row("dumb-init, a shell that waits", ("/init/dumb-init", "--", *WAITS_LONG), {}),
    Row("dumb-init, a server with a rewritten signal", ("/init/dumb-init", "-r", "15:3", "--", *guest("server", "QUIT")), {}),
    Row("dumb-init that drops it", ("/init/dumb-init", "-r", "15:0", "--", *SERVER), {}),
    Row("catatonit, a server", ("/init/catatonit", "--", *SERVER), {}),
    Row("catatonit, a shell that waits", ("/init/catatonit", "--", *WAITS), {}),
    Row("pyinit, a shell that waits", (*PYINIT, *WAITS), {}),
    Row("pyinit, one that ignores it", ("pyinit", "--grace", "1s", "--", *guest("deaf")), {}),
    Row("pyinit with no time to kill", (*PYINIT, *guest("deaf")), {}, grace=2),
    Row("pyinit that drains for too long", ("pyinit", "--drain", "9s", "--", *SERVER), {}, grace=2),
    Row("pyinit that drops it", ("pyinit", "-r", "TERM:0", "--", *SERVER), {}, grace=2),
    Row("pyinit, one that is stopped", (*PYINIT, *python("READY", "os.kill(os.getpid(), 19)")), {}),
    Row("pyinit, one in a session of its own", (*PYINIT, "sh", "-c", f"setsid {' '.join(SERVER)} & exec sleep 999"), {}),
    Row("pyinit, and a daemon that ignores it", ("pyinit", "--linger", "1s", "--", "sh", "-c",
        f"setsid {' '.join(guest('deaf'))} & exec {' '.join(SERVER)}"), {}),
    Row("pyinit, no linger", ("pyinit", "--linger", "0", "--", "sh", "-c", f"setsid {' '.join(SERVER)} & exec sleep 999"), {}),
    Row("pyinit --scope child, a trap, a foreground command", ("pyinit", "--grace", "1s", "--scope", "child", "--",
        *trap("dash", "sleep 999; true")), {}),
    Row("a server with forks of itself", python("children = []", "signal.signal(15, lambda *_: sys.exit())", "for _ in range(2):",
        "    child = os.fork()", "    if not child: signal.pause()", "    children.append(child)",
        "signal.signal(15, lambda *_: ([os.kill(one, 15) or os.waitpid(one, 0) for one in children], os._exit(0)))", "READY", PAUSE), {}),
)  # fmt: skip
"""What docker/checks does not have: other inits, and each thing that /proc tells."""

CANNOT_TELL = {
    "a shell that passes the signal on",
    "a PID 1 that leaves its server to the kernel",
    "a shell behind an init that asks its child alone",
    "one that a second signal has abandon its server",
    "an init that makes SIGTERM of SIGQUIT",
    "one that takes any end for its child's",
    "one in the host's PID namespace",
    "PID 1 kills one child and leaves another",
    "Node.js, no handler, usual",
    "dash, a trap, wait",
    "bash, a trap, wait",
}
"""A handler, and somebody of whom only the handler knows; processes that are not only the container's."""

WRONG = {
    "a slow one that does not make it": "how long a handler takes shows nowhere",
}
"""Why nobody could know."""

OTHERS = (Row("PID 1 kills one child and leaves another", guest("two"), {}),)


def once(rows: Sequence[Row]) -> Sequence[Row]:
    """Rows that are about the same container for verify are one here."""
    known: dict[object, Row] = {}
    for row in rows:
        known.setdefault((row.command, row.target, row.grace, repr(row.run_options)), row)
    return tuple(known.values())


@pytest.fixture(scope="module")
def tally() -> dict[str, dict[str, Any]]:
    """What was foretold of each, and what came."""
    return {}


def compared(foretold: Will, came: Will) -> str:
    if foretold is Will.UNKNOWN:
        return "cannot tell"
    return "right" if foretold is came else "wrong"


def mounted(row: Row) -> Row:
    """With this machine's init, where the row wants one. Skips where there is none."""
    folder, _, name = row.command[0].rpartition("/")
    if folder != "/init":
        return row
    here = shutil.which(name)
    if here is None or not is_here():
        pytest.skip(f"no {name} on this machine, or the engine is on another")
    return Row(row.name, row.command, {}, run_options={"volumes": [f"{here}:{row.command[0]}:ro"]})


def stopped(row: Row, engine: Engine, agent: Agent, images: Mapping[str, str]) -> Stopped:
    """Foretold, and then stopped. The engine's settle is no matter: it says ready."""
    stage = stage_of(row, engine, agent, images)
    container = stage.subject.create(engine)
    try:
        container.start()
        watch = agent.watch(container.pid) if not row.run_options.get("pid_mode") else None
        stage.readiness.wait(stage.subject.image, container, watch)
        if watch is not None:
            until_asleep(agent, container.pid)
            watch.__exit__(None, None, None)
        target = target_of(container, row.grace)
        return stop(agent, container, target, own_signal=True)
    finally:
        container.remove()


def until_asleep(agent: Agent, pid: int) -> None:
    """Who has said that it is ready still has a step to go to where it waits."""
    until(
        lambda: all(one.threads[0].where for one in agent.facts(pid) if not one.is_zombie and one.state != "T"),
        20,
        "their rest",
    )


@pytest.mark.parametrize("row", [*once(ROWS), *OTHERS, *MORE], ids=lambda row: row.name)
def test_what_is_foretold_comes(
    row: Row, containers: Engine, observer: Agent, images: Mapping[str, str], tally: dict[str, dict[str, Any]]
) -> None:
    """The whole, and process by process; where nobody can tell, that is known beforehand."""
    compare(row.name, stopped(mounted(row), containers, observer, images), tally)


@pytest.mark.parametrize("form", ["usual", "repaired"])
@pytest.mark.parametrize("name", ["nginx", "PostgreSQL", "Node.js, no handler", "an entry point without exec"])
def test_programs_that_nobody_here_designed(
    name: str,
    form: str,
    client: docker.DockerClient,
    containers: Engine,
    observer: Agent,
    tally: dict[str, dict[str, Any]],
    tmp_path: Path,
) -> None:
    """As their images are usually written, and with what `verify` leads to."""
    subject = next(one for one in verdicts.SUBJECTS if one.name == name)
    tag = f"pyinit-test-explain:{tmp_path.name.replace('_', '-').lower()}"
    verdicts.build(client, subject, getattr(subject, form), tag)
    container = containers.create(tag, network_mode="none")
    try:
        container.start()
        with observer.watch(container.pid) as watch:
            watch.settle(2.0, 30.0)
        done = stop(observer, container, target_of(container, 5), own_signal=True)
    finally:
        container.remove()
        client.images.remove(tag, force=True)
    compare(f"{name}, {form}", done, tally)


def compare(name: str, done: Stopped, tally: dict[str, dict[str, Any]]) -> None:
    """What was foretold with what came."""
    if done.foretold is None:
        tally[name] = {"result": "cannot tell", "foretold": done.unseen, "processes": {}}
        assert name in CANNOT_TELL
        assert "shares the PID namespace" in done.unseen
        return
    stop = done.stop
    assert stop.account is not None
    if any(stop.how(process) in (How.UNKNOWN, How.ALIVE) for process in stop.members):
        pytest.skip(f"the source {stop.source} does not show how each ended")
    foretold, came = done.foretold, Will.BE_KILLED if done.status else Will.END
    killed = {process.inside for process in stop.killed}
    before = {process.inside for process in stop.members}
    processes = {
        fate.label: compared(fate.will, Will.BE_KILLED if fate.facts.inside in killed else Will.END)
        for fate in foretold.fates
        if not fate.is_guest and fate.facts.inside in before
    }
    result = compared(foretold.will, came)
    tally[name] = {
        "result": result,
        "foretold": foretold.words,
        "came": done.verdict(),
        "processes": processes if came is foretold.will or foretold.will is Will.UNKNOWN else {},
    }
    said = "\n".join([foretold.words, *(f"{fate.label}: {fate.words}" for fate in foretold.fates), done.verdict()])
    assert (result == "cannot tell") == (name in CANNOT_TELL), said
    assert (result == "wrong") == (name in WRONG), said
    if name not in WRONG and not (foretold.will is Will.BE_KILLED and stop.forced):
        assert "wrong" not in processes.values(), f"{processes}\n{said}"


def test_how_often_it_was_right(tally: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """For the reader, and for .results: of containers as a whole, and of single processes."""
    if not tally:
        pytest.skip("none was foretold")
    whole = Counter(one["result"] for one in tally.values())
    each = Counter(result for one in tally.values() for result in one["processes"].values())
    report = {"containers": dict(whole), "processes": dict(each), "rows": tally}
    if RESULTS.is_dir():
        (RESULTS / "explain.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    with capsys.disabled():
        for what, numbers in (("containers", whole), ("processes", each)):
            shown = ", ".join(f"{word} {numbers[word]}" for word in ("right", "wrong", "cannot tell"))
            print(f"\nforetold of {sum(numbers.values())} {what}: {shown}")
    assert whole["wrong"] <= len(WRONG)
    assert whole["cannot tell"] <= len(CANNOT_TELL)


def test_the_lists_are_about_rows() -> None:
    """No name in them is of nobody."""
    names = {row.name for row in (*once(ROWS), *OTHERS, *MORE)}
    assert names >= (CANNOT_TELL | set(WRONG)) - {"Node.js, no handler, usual"}
    assert LOG.log == "^ready$"


# --- it does nothing to anybody ---


def test_nothing_is_done_to_anybody(containers: Engine, observer: Agent, images: Mapping[str, str]) -> None:
    """Nobody is sent anything, stopped, traced or born while it looks: not even by a program that many look at."""
    row = Row("", (*PYINIT, *SERVER), {})
    stage = stage_of(row, containers, observer, images)
    container = stage.subject.create(containers)
    try:
        container.start()
        with observer.watch(container.pid) as watch:
            stage.readiness.wait(stage.subject.image, container, watch)
            before = [(one.inside, one.born) for one in watch.look()]
            for _ in range(20):
                assert len(observer.facts(container.pid)) == len(before)
            assert [(one.inside, one.born) for one in watch.look()] == before
            account = watch.account()
            assert [one.name for one in account.processes if one.ended is None] == ["pyinit", "python3"]
            late = [one for process in account.processes for one in process.signals if one.number not in (17, 18)]
            assert late == []
    finally:
        container.remove()
