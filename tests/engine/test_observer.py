"""The observer, on real processes in a private PID namespace: each way to end, each sender, told apart.

The guest is PID 1 of the namespace. It does one step for each SIGUSR1, so that a test says when; SIGTERM ends it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyinit.containers import connector, procfs, tracefs
from pyinit.containers import observer as observer_module
from pyinit.containers.account import Account, Fate, How, Process, Sender, Signal
from pyinit.containers.events import Born, Exited, Lost, Renamed, Signalled, UnavailableError
from pyinit.containers.observer import SOURCES, Observer
from support import processes
from support.runs import NAMESPACE, Run, number, python
from support.waiting import until

Start = Callable[..., Run]

RESULTS = Path(__file__).resolve().parent.parent.parent / ".results"

pytestmark = pytest.mark.usefixtures("as_root")
needs_tracing = pytest.mark.usefixtures("tracing")

GUEST = """
block()

def child(name, body):
    pid = os.fork()
    if pid == 0:
        body()
        os._exit(0)
    say(name, pid)
    return pid

def wait(*numbers):
    return signal.sigwait(numbers or {signal.SIGTERM})

def step():
    say("ready")
    return wait(signal.SIGUSR1, signal.SIGTERM)

def sleeper():
    wait(signal.SIGUSR2)
"""


@pytest.fixture(scope="module")
def tracing() -> None:
    """For tests of what only tracepoints show."""
    try:
        tracefs.Tracing().close()
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def connected() -> None:
    """For tests of what the process connector shows."""
    try:
        connector.Connector().close()
    except UnavailableError as reason:
        pytest.skip(str(reason))


needs_connector = pytest.mark.usefixtures("connected")


def available(name: str, request: pytest.FixtureRequest) -> str:
    """That source, or a skip."""
    if name in ("trace", "cn_proc"):
        request.getfixturevalue({"trace": "tracing", "cn_proc": "connected"}[name])
    return name


ALL = (*SOURCES, "ptrace")


@pytest.fixture(params=ALL)
def source(request: pytest.FixtureRequest) -> str:
    """All sources in turn, for what each must know."""
    return available(str(request.param), request)


@pytest.fixture(params=[name for name in ALL if name != "trace"])
def lesser(request: pytest.FixtureRequest) -> str:
    """The sources that do not see every signal."""
    return available(str(request.param), request)


def guest(start_any: Start, code: str) -> Run:
    """A namespace with the guest as PID 1, which has said that it is ready."""
    return start_any(*python(GUEST + code), where=NAMESPACE).ready()


def stop(run: Run, observer: Observer, *signals: str) -> Account:
    """The account after these signals to PID 1, which end it."""
    run.send(*signals)
    run.wait()
    assert observer.wait(20)
    return observer.account()


def by_inside(account: Account, pid: int) -> Process:
    """The process that called itself `pid`."""
    return next(process for process in account.processes if process.inside == pid)


def received(process: Process, signal: str) -> list[Signal]:
    """What it was sent of one kind."""
    return [one for one in process.signals if one.number == number(signal)]


# --- how it ended ---


@pytest.mark.parametrize(
    ("body", "status", "how"),
    [
        ("os._exit(0)", 0, How.FINISHED),
        ("os._exit(7)", 7 << 8, How.FAILED),
        ("signal.pthread_sigmask(signal.SIG_SETMASK, ()), os.kill(os.getpid(), signal.SIGTERM)", 15, How.SIGNALLED),
    ],
)
def test_ends_of_ones_own(start_any: Start, source: str, body: str, status: int, how: How) -> None:
    """An exit code, and a death by a signal, of a process that is not our child."""
    run = guest(
        start_any, f"pid = child('one', lambda: (sleeper(), {body}))\nstep(); os.kill(pid, signal.SIGUSR2); os.wait()"
    )
    with Observer(run.pid, source=source) as observer:
        account = stop(run, observer, "USR1")
    one = by_inside(account, run.value("one"))
    assert (account.source, one.status, account.how(one)) == (source, status, how)
    assert one.ended is not None
    assert one.born <= one.ended
    assert account.how(account.init) is How.FINISHED


@needs_tracing
def test_killed_by_peer(start_any: Start) -> None:
    """A SIGKILL from another process of the namespace is that process's."""
    run = guest(
        start_any,
        """
victim = child("victim", sleeper)
killer = child("killer", lambda: (sleeper(), os.kill(victim, signal.SIGKILL)))
step(); os.kill(killer, signal.SIGUSR2); os.wait(); os.wait()
""",
    )
    with Observer(run.pid) as observer:
        account = stop(run, observer, "USR1")
    victim, killer = by_inside(account, run.value("victim")), by_inside(account, run.value("killer"))
    (kill,) = received(victim, "KILL")
    assert account.how(victim) is How.KILLED_BY_PEER
    assert (kill.sender, kill.sender_pid, kill.fate) == (Sender.MEMBER, killer.pid, Fate.DELIVERED)
    assert account.how(killer) is How.FINISHED


@pytest.mark.parametrize(("name", "by_init"), [("trace", How.KILLED_BY_INIT), ("ptrace", How.KILLED)])
def test_killed_by_init_and_killed_as_init_left(
    start_any: Start, request: pytest.FixtureRequest, name: str, by_init: How
) -> None:
    """One namespace, two SIGKILLs within milliseconds: the one by PID 1 and the kernel's own are told apart."""
    run = guest(
        start_any,
        "first = child('first', sleeper); child('second', sleeper)\nstep(); os.kill(first, signal.SIGKILL); os._exit(5)",
    )
    with Observer(run.pid, source=available(name, request)) as observer:
        account = stop(run, observer, "USR1")
    first, second = by_inside(account, run.value("first")), by_inside(account, run.value("second"))
    assert account.how(first) is by_init
    assert account.how(second) is How.KILLED_BY_NAMESPACE_END
    assert (first.status, second.status, account.init.status) == (9, 9, 5 << 8)


@pytest.mark.parametrize("name", ["trace", "ptrace"])
def test_killed_as_init_with_threads_left(start_any: Start, request: pytest.FixtureRequest, name: str) -> None:
    """The same when PID 1 has threads, and ends in one of them: whoever of them clears the namespace, it is the kernel's kill."""
    run = guest(
        start_any,
        """
child("one", sleeper)
import threading
for _ in range(3):
    threading.Thread(target=wait, args=(signal.SIGUSR2,), daemon=True).start()
threading.Thread(target=lambda: (step(), os._exit(0)), daemon=True).start()
wait(signal.SIGINT)
""",
    )
    with Observer(run.pid, source=available(name, request)) as observer:
        account = stop(run, observer, "USR1")
    assert account.how(by_inside(account, run.value("one"))) is How.KILLED_BY_NAMESPACE_END
    assert len(account.processes) == 2


def test_killed_from_outside(start_any: Start, source: str) -> None:
    """As an engine does when its patience is over: PID 1 from outside, the others by the kernel."""
    run = guest(start_any, "child('one', sleeper)\nsay('ready'); wait(signal.SIGINT)")
    with Observer(run.pid, source=source) as observer:
        account = stop(run, observer, "TERM", "KILL")
    one = by_inside(account, run.value("one"))
    if source == "trace":
        assert (account.how(account.init), account.how(one)) == (How.KILLED_FROM_OUTSIDE, How.KILLED_BY_NAMESPACE_END)
        return
    # without a trace it is known of an engine's kill alone: that of PID 1 at its deadline, and of those who went with it
    left = How.KILLED_BY_NAMESPACE_END if source == "ptrace" else How.KILLED
    assert (account.how(account.init), account.how(one)) == (How.KILLED, left)
    assert account.init.ended is not None
    engine = replace(account, deadline=account.init.ended - 0.01)
    assert engine.how(engine.init) is How.KILLED_FROM_OUTSIDE
    # by the order of the ends, which a busy machine blurs: then nothing is guessed
    assert engine.how(one) in {How.KILLED_BY_NAMESPACE_END, How.KILLED}


def test_sender_unknown_without_tracepoints(start_any: Start, lesser: str) -> None:
    """What the others cannot know is not guessed, and the account says what it could not see."""
    run = guest(start_any, "one = child('one', sleeper)\nstep(); os.kill(one, signal.SIGKILL); os.wait(); step()")
    with Observer(run.pid, source=lesser) as observer:
        run.send("USR1")
        until(lambda: by_inside(observer.account(), run.value("one")).status is not None, 10, "the end of the child")
        account = stop(run, observer, "TERM")
    assert account.how(by_inside(account, run.value("one"))) is How.KILLED
    assert account.blind[0].startswith(f"{observer_module.UNSEEN[lesser]}: only the source {lesser} was asked for")


TWO = "first = child('killed', sleeper); child('left', sleeper)\nstep(); os.kill(first, signal.SIGKILL); os.wait(); os._exit(5)"


def test_what_each_source_says_of_two_kills(start_any: Start, request: pytest.FixtureRequest) -> None:
    """PID 1 kills one child and leaves another to the kernel: the sources side by side, also in .results/sources.json."""
    rows = []
    for name in ALL:
        available(name, request)
        run = guest(start_any, TWO)
        with Observer(run.pid, source=name) as observer:
            account = stop(run, observer, "USR1")
        ends = {who: by_inside(account, run.value(who)) for who in ("killed", "left")}
        rows.append(
            {
                "source": account.source,
                **{who: account.how(one).value for who, one in ends.items()},
                "statuses": [one.status for one in (*ends.values(), account.init)],
                "blind": list(account.blind),
            }
        )
    if RESULTS.is_dir():
        (RESULTS / "sources.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        print("  ".join(str(row[column]).ljust(36) for column in ("source", "killed", "left")))
    unknown = How.KILLED.value
    assert [(row["source"], row["killed"], row["left"]) for row in rows] == [
        ("trace", How.KILLED_BY_INIT.value, How.KILLED_BY_NAMESPACE_END.value),
        ("cn_proc", unknown, unknown),
        ("pidfd", unknown, unknown),
        ("ptrace", unknown, How.KILLED_BY_NAMESPACE_END.value),
    ]
    assert [row["statuses"] for row in rows] == [[9, 9, 5 << 8]] * len(ALL)


# --- signals ---


@needs_tracing
def test_signal_and_its_fate(start_any: Start) -> None:
    """One that is ignored and one that waits already are told from one that is delivered; the sender is named, the time is right."""
    run = guest(
        start_any,
        """
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.kill(1, signal.SIGUSR1)
    signal.pause()
deaf = child("deaf", deaf)
wait(signal.SIGUSR1)
step(); os.kill(deaf, signal.SIGTERM); os.kill(deaf, signal.SIGKILL); os.wait(); step()
""",
    )
    with Observer(run.pid) as observer:
        run.send("TERM")
        account = stop(run, observer, "USR1")
    (term,) = received(by_inside(account, run.value("deaf")), "TERM")
    assert (term.fate, term.sender, term.sender_pid) == (Fate.IGNORED, Sender.INIT, run.pid)
    (first,) = received(account.init, "TERM")
    assert (first.fate, first.sender) == (Fate.DELIVERED, Sender.OUTSIDE)
    # an observer in a PID namespace of its own cannot know how an outsider is numbered there
    assert first.sender_pid in (os.getpid(), None)
    assert account.init.ended is not None
    assert account.init.born < first.time < term.time < account.init.ended
    assert [one.sender for one in received(account.init, "CHLD")] == [Sender.MEMBER]


def test_ptrace_sees_what_is_delivered(start_any: Start) -> None:
    """Senders and fates of signals that are delivered; not of one that is taken by sigwait, which is why no check judges by it."""
    run = guest(
        start_any,
        """
heard = lambda *_: say("heard")
def handles():
    signal.signal(signal.SIGTERM, heard); signal.pthread_sigmask(signal.SIG_SETMASK, ())
    say("handling")
    while True: signal.pause()
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_SETMASK, ())
    say("ignoring")
    while True: signal.pause()
pids = [child("handles", handles), child("deaf", deaf), child("takes", lambda: (wait(signal.SIGTERM), say("taken"), sleeper()))]
step()
for pid in pids: os.kill(pid, signal.SIGTERM)
step()
""",
    )
    run.wait_out("handling")
    run.wait_out("ignoring")
    with Observer(run.pid, source="ptrace") as observer:
        run.send("USR1")
        run.wait_out("taken")
        run.wait_out("heard")
        handles = run.value("handles")
        os.kill(by_pid(observer.account(), handles), signal.SIGTERM)
        until(lambda: len(received(by_inside(observer.account(), handles), "TERM")) == 2, 10, "the second SIGTERM")
        account = stop(run, observer, "TERM")
    told = {
        name: [(one.sender, one.sender_pid, one.fate) for one in received(by_inside(account, run.value(name)), "TERM")]
        for name in ("handles", "deaf", "takes")
    }
    assert told == {
        "handles": [(Sender.INIT, run.pid, Fate.DELIVERED), (Sender.OUTSIDE, None, Fate.DELIVERED)],
        "deaf": [(Sender.INIT, run.pid, Fate.IGNORED)],
        "takes": [],
    }
    assert "signals taken by sigwait" in account.blind[0]


def by_pid(account: Account, inside: int) -> int:
    """Our number of the process that calls itself `inside`."""
    pid = by_inside(account, inside).pid
    assert pid is not None
    return pid


def test_a_traced_init_is_protected_as_ever(start_any: Start) -> None:
    """SIGSTOP from inside does not stop PID 1, though it would reach one that is traced; SIGTERM without a handler does not end it."""
    run = guest(
        start_any,
        """
def attack():
    sleeper(); os.kill(1, signal.SIGSTOP); os.kill(1, signal.SIGTERM); os.kill(1, signal.SIGUSR1)
pid = child("attacker", attack)
signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1])
os.kill(pid, signal.SIGUSR2); say("ready"); wait(signal.SIGUSR1); os.wait(); say("unharmed"); wait(signal.SIGUSR1)
""".replace('os.kill(pid, signal.SIGUSR2); say("ready")', 'say("ready")'),
    )
    with Observer(run.pid, source="ptrace") as observer:
        os.kill(by_pid(observer.account(), run.value("attacker")), signal.SIGUSR2)
        run.wait_out("unharmed")
        assert processes.status(run.pid)["State"][0] == "S"
        assert {one.fate for one in observer.account().init.signals if one.number == number("TERM")} == {Fate.IGNORED}
        account = stop(run, observer, "USR1")
    assert account.how(account.init) is How.FINISHED


def test_stopped_processes_stay_stopped_while_traced(start_any: Start) -> None:
    """SIGSTOP, and SIGCONT after it, work on those who are traced, and SIGKILL on one that is stopped."""
    run = guest(
        start_any, "child('one', sleeper); step(); child('two', sleeper); step(); child('three', sleeper); step()"
    )

    def state(pid: int) -> str:
        return processes.status(pid)["State"][0]

    with Observer(run.pid, source="ptrace") as observer:
        one = by_pid(observer.account(), run.value("one"))
        for later in ("two", "three"):
            os.kill(one, signal.SIGCONT)
            until(lambda: state(one) == "S", 10, "going on")
            os.kill(one, signal.SIGSTOP)
            until(lambda: state(one) == "t", 10, "the stop")
            # once a birth that came after it is known, the stop has been seen, too
            run.send("USR1")
            until(lambda: by_inside(observer.account(), run.value(later)), 10, "a birth")  # noqa: B023
            assert state(one) == "t"
        account = stop(run, observer, "TERM")
    assert account.how(by_inside(account, run.value("one"))) is How.KILLED_BY_NAMESPACE_END


def test_who_is_traced_already_cannot_be(start_any: Start) -> None:
    """A second tracer is refused in words; the first one's target is let go when it ends, and goes on."""
    run = guest(start_any, "step(); step()")
    with Observer(run.pid, source="ptrace"):
        assert processes.status(run.pid)["TracerPid"] != "0"
        with pytest.raises(UnavailableError, match="nobody else who traces it"), Observer(run.pid, source="ptrace"):
            pass
    # the kernel lets it go as the thread ends, which is a moment after Python says so
    until(lambda: processes.status(run.pid)["TracerPid"] == "0", 10, "being let go")
    run.send("USR1")
    until(lambda: run.lines.count("ready") == 2, 10, "the next step")


@needs_tracing
def test_init_without_handler_hears_nothing(start_any: Start) -> None:
    """The classic: `sleep` as PID 1 ignores SIGTERM, because the kernel drops it."""
    run = start_any("sleep", "60", where=NAMESPACE)
    until(lambda: processes.command(run.pid) == "sleep 60", 10, "sleep")
    with Observer(run.pid) as observer:
        account = stop(run, observer, "TERM", "KILL")
    assert [one.fate for one in received(account.init, "TERM")] == [Fate.IGNORED]
    assert account.how(account.init) is How.KILLED_FROM_OUTSIDE


# --- who is there ---


@needs_tracing
def test_short_lived_processes_are_seen(start_any: Start) -> None:
    """Each of 200 processes that live for about a millisecond, also those that no look at /proc could catch."""
    run = guest(start_any, "step()\nfor _ in range(200):\n    if os.fork() == 0: os._exit(0)\n    os.wait()")
    with Observer(run.pid) as observer:
        account = stop(run, observer, "USR1")
    assert len(account.processes) == 201
    assert all(process.ended is not None for process in account.processes)
    # and what could not be seen is said: statuses that were too quick; intruders, where the observer has a namespace of its own
    assert all(
        line.startswith(("wait statuses", "short-lived processes put in from outside")) for line in account.blind
    )


@pytest.mark.parametrize("better", ["cn_proc", "ptrace"])
def test_who_is_missed_by_pidfds_alone(start_any: Start, request: pytest.FixtureRequest, better: str) -> None:
    """Of 200 processes that live for about a millisecond these know each one's wait status; looks at /proc do not see them all."""
    code = "step()\nfor _ in range(200):\n    if os.fork() == 0: os._exit(3)\n    os.wait()"
    seen = {}
    for name in (available(better, request), "pidfd"):
        run = guest(start_any, code)
        with Observer(run.pid, source=name) as observer:
            account = stop(run, observer, "USR1")
        seen[name] = [one for one in account.processes if not one.is_init]
        if name == better:
            assert [one.status for one in seen[name]] == [3 << 8] * 200
            assert all(one.ended is not None and one.born < one.ended < one.born + 1 for one in seen[name])
            assert (len(account.blind), account.lost) == (1, 0), account.blind
    assert len(seen["pidfd"]) < 150


@pytest.mark.parametrize("name", ["cn_proc", "ptrace"])
def test_fork_bomb_that_is_left_to_the_kernel(start_any: Start, request: pytest.FixtureRequest, name: str) -> None:
    """Three that fork as fast as they can while PID 1 leaves: each of their children has its one end, with its status."""
    run = guest(
        start_any,
        """
def bomb():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(300):
        if os.fork() == 0: os._exit(3)
    sleeper()
bombs = [child("bomb", bomb) for _ in range(3)]
step(); os._exit(0)
""",
    )
    with Observer(run.pid, source=available(name, request)) as observer:
        until(lambda: len(observer.account().processes) > 20, 10, "children")
        account = stop(run, observer, "USR1")
    assert len(account.blind) == 1, account.blind
    assert {one.status for one in account.processes} <= {0, 9, 3 << 8}
    assert len({(one.pid, one.born) for one in account.processes}) == len(account.processes)
    assert all(one.ended is not None and one.ended > one.born - 0.02 for one in account.processes)  # /proc rounds


def test_who_is_looked_at_is_in_the_account(start_any: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody tells of births, a look takes in who was born since the last, and a zombie's command line is not forgotten."""
    monkeypatch.setattr(observer_module, "LOOK_EVERY", 60)
    run = guest(start_any, 'step(); child("born", sleeper); step()')
    with Observer(run.pid, source="pidfd") as observer:
        run.send("USR1").wait_out("born")
        assert [one.inside for one in observer.account().processes] == [1]
        observer.look()
        [_, born] = observer.account().processes
        assert (born.inside, bool(born.command)) == (2, True)
        os.kill(born.pid or 0, signal.SIGUSR2)
        until(lambda: observer.account().processes[1].ended, 10, "its end, which nobody reaps")
        assert observer.account().processes[1].command == born.command
        run.send("TERM")
        run.wait()


@needs_connector
def test_born_during_the_first_look(start_any: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connector is listened to before the first look at /proc: who is born, and ends, while that goes on is not missed."""
    run = guest(start_any, "step()\nif os.fork() == 0: os._exit(3)\nos.wait(); say('gone'); step()")
    members = procfs.members

    def slow(namespace: int) -> list[int]:
        found = members(namespace)
        if not run.lines.count("gone"):
            run.send("USR1")
            run.wait_out("gone")
        return found

    monkeypatch.setattr(procfs, "members", slow)
    with Observer(run.pid, source="cn_proc") as observer:
        assert [one.status for one in observer.account().processes if not one.is_init] == [3 << 8]
        stop(run, observer, "TERM")


@needs_connector
def test_events_that_found_no_room_are_told_of(start_any: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood and a tiny buffer (ENOBUFS): the account says that it is not complete, and what lives is found all the same."""
    monkeypatch.setattr(connector, "BUFFER", 1)
    run = guest(
        start_any,
        "step()\nfor _ in range(300):\n    if os.fork() == 0: os._exit(0)\n    os.wait()\nchild('last', sleeper)\nstep()",
    )
    with Observer(run.pid, source="cn_proc") as observer:
        with observer._lock:  # so long nobody reads
            run.send("USR1")
            last = run.value("last")
        until(lambda: by_inside(observer.account(), last), 10, "the last child")
        account = stop(run, observer, "TERM")
    assert account.lost >= 100
    assert any("no room for" in gap for gap in account.blind), account.blind
    assert by_inside(account, last).status == 9


@needs_connector
def test_overrun_is_told_of_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOBUFS itself, not only the gap before the next event: there may be no next one."""
    monkeypatch.setattr(connector, "BUFFER", 1)
    made = connector.Connector()
    try:
        for _ in range(20):
            threading.Thread(target=int).start()
        assert made.read()[0] == Lost(1)
    finally:
        made.close()


@pytest.mark.parametrize("kernel", ["this", "older"])
@pytest.mark.parametrize("name", ["cn_proc", "ptrace"])
def test_threads_and_statuses(
    start_any: Start, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str, kernel: str
) -> None:
    """A process ends with its last thread and that one's status, whichever it is; a thread's own end is none, and exec by one is none.

    Also where a pidfd tells no status (before Linux 6.15), for which the kernel's refusal stands in.
    """
    if kernel == "older":
        monkeypatch.setattr(procfs, "tells_status", lambda: False)
        monkeypatch.setattr(procfs, "exit_status", lambda _: None)
    run = guest(
        start_any,
        """
import ctypes, threading
def passing():
    sleeper(); thread = threading.Thread(target=int); thread.start(); thread.join()
    say("passed"); sleeper(); os._exit(4)
def outlive():
    leader = f"/proc/self/task/{os.getpid()}/stat"
    while open(leader).read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.001)
    say("outlived"); wait(signal.SIGUSR2); os._exit(5)
def outlived():
    sleeper(); threading.Thread(target=outlive).start()
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 7)
def replaced():
    sleeper(); threading.Thread(target=lambda: os.execvp("sleep", ["sleep", "64"])).start()
    wait(signal.SIGINT)
children = [child("one", passing), child("two", outlived), child("three", replaced)]
for _ in range(2):
    step()
    for pid in children[:2] if _ else children: os.kill(pid, signal.SIGUSR2)
os.waitpid(children[0], 0), os.waitpid(children[1], 0)
os.kill(children[2], signal.SIGKILL); os.wait(); os._exit(6)
""",
    )
    with Observer(run.pid, source=available(name, request)) as observer:
        run.send("USR1")
        run.wait_out("passed")
        run.wait_out("outlived")
        until(lambda: by_inside(observer.account(), run.value("three")).command == "sleep 64", 10, "the exec")
        assert {one.ended for one in observer.account().processes} == {None}
        account = stop(run, observer, "USR1")
    statuses = [by_inside(account, run.value(name)).status for name in ("one", "two", "three")]
    assert (statuses, account.init.status) == ([4 << 8, 5 << 8, 9], 6 << 8)
    assert (len(account.processes), len(account.blind)) == (4, 1), account.blind


@pytest.mark.parametrize(
    ("name", "ended", "killed"),
    [("trace", How.ENDED, How.KILLED_BY_INIT), ("pidfd", How.UNKNOWN, How.UNKNOWN)],
)
def test_ends_where_no_status_is_told(
    start_any: Start,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    name: str,
    ended: How,
    killed: How,
) -> None:
    """Before Linux 6.15 neither source tells a status: tracepoints still know who was killed; PID 1's is the container's."""
    monkeypatch.setattr(procfs, "tells_status", lambda: False)
    monkeypatch.setattr(procfs, "exit_status", lambda _: None)
    run = guest(
        start_any,
        "children = [child('one', sleeper), child('two', sleeper)]\n"
        "step(); os.kill(children[0], signal.SIGUSR2); os.kill(children[1], signal.SIGKILL)\n"
        "os.wait(), os.wait(); os._exit(6)",
    )
    with Observer(run.pid, source=available(name, request)) as observer:
        account = stop(run, observer, "USR1")
    assert {one.status for one in account.processes} == {None}
    assert [account.how(by_inside(account, run.value(one))) for one in ("one", "two")] == [ended, killed]
    assert "Linux 6.15" in account.blind[-1]
    told = account.with_exit_status(6)
    assert told.how(told.init) is How.FAILED


@needs_tracing
def test_threads_are_no_processes(start_any: Start) -> None:
    """A process is its threads: exec by another than the first does not end it, and the name follows."""
    run = guest(
        start_any,
        """
import threading
def body():
    sleeper()
    threading.Thread(target=lambda: os.execvp("sleep", ["sleep", "61"])).start()
    wait(signal.SIGINT)
child("one", body)
step(); os.kill(2, signal.SIGUSR2); step()
""",
    )
    with Observer(run.pid) as observer:
        run.send("USR1")
        until(lambda: by_inside(observer.account(), run.value("one")).command == "sleep 61", 10, "the exec")
        before = by_inside(observer.account(), run.value("one"))
        account = stop(run, observer, "TERM")
    assert (before.ended, before.name) == (None, "sleep")
    assert len(account.processes) == 2
    assert account.how(by_inside(account, run.value("one"))) is How.KILLED_BY_NAMESPACE_END


def test_daemons_nested_namespaces_and_intruders(start_any: Start, source: str) -> None:
    """Whoever belongs: double-forked, in a namespace within the namespace, put in from outside as `docker exec` does; no one else."""
    run = guest(
        start_any,
        """
daemon(sleeper)
if os.fork() == 0:
    os.execvp("unshare", ["unshare", "--pid", "--fork", "sleep", "62"])
step()
""",
    )
    with Observer(run.pid, source=source) as observer:
        intruder = start_any("nsenter", "--target", str(run.pid), "--pid", "--", "sleep", "63")
        commands = {"unshare --pid --fork sleep 62", "sleep 62", "sleep 63"}
        until(lambda: commands <= {one.command for one in observer.account().processes}, 10, "all of them")
        run.send("TERM")
        intruder.wait()  # PID 1 is not gone before its outside parent has reaped it
        run.wait()
        assert observer.wait(20)
    account = observer.account()
    # PID 1, the daemon, its forgotten parent (seen or not), unshare, two sleeps
    assert len([one for one in account.processes if one.ended is not None and one.status == 9]) + 1 >= 5
    assert os.getpid() not in {one.pid for one in account.processes}
    assert {one.name for one in account.processes} <= {"unshare", "sleep", "nsenter", account.init.name}


@needs_tracing
def test_bounded_memory(start_any: Start) -> None:
    """More processes than it may remember: the oldest are forgotten, which is said; PID 1 and the last are there."""
    run = guest(
        start_any,
        "step()\nfor _ in range(300):\n    if os.fork() == 0: os._exit(0)\n    os.wait()\nchild('last', sleeper)\nstep()",
    )
    with Observer(run.pid, limit=50) as observer:
        run.send("USR1")
        last = run.value("last")
        until(lambda: by_inside(observer.account(), last), 10, "the last child")
        account = stop(run, observer, "TERM")
    assert len(account.processes) <= 50
    assert account.init.ended is not None
    assert account.how(by_inside(account, last)) is How.KILLED_BY_NAMESPACE_END
    assert any("ended longest ago" in gap for gap in account.blind)


# --- where it may be, and what it leaves behind ---

NESTED = """
import json, os, signal, subprocess, sys
from pyinit.containers.observer import Observer
code = sys.argv[1]
guest = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-I", "-S", "-c", code]
with subprocess.Popen(guest, stdout=subprocess.PIPE, text=True) as run:
    while run.stdout.readline().strip() != "ready":
        pass
    init = int(open(f"/proc/{run.pid}/task/{run.pid}/children").read())
    with Observer(init) as observer:
        os.kill(init, signal.SIGUSR1)
        run.wait()
        complete = observer.wait(20)
print(json.dumps([complete, observer.account().as_json()]))
"""


@needs_tracing
def test_observer_in_a_namespace_of_its_own(start_any: Start) -> None:
    """Where tracepoints number processes otherwise than we do (a CI job in a container), who is who is still known."""
    code = python(
        GUEST
        + """
first = child("first", sleeper); child("second", sleeper)
step()
third = child("third", sleeper)
os.kill(first, signal.SIGKILL); os.waitpid(first, 0)
while not os.path.exists(f"/proc/{third}/ns"): pass
os._exit(0)
"""
    )[-1]
    run = start_any(sys.executable, "-c", NESTED, code, where=NAMESPACE)
    assert run.wait() == 0, run
    complete, account = json.loads(run.lines[-1])
    ends = {one["inside"]: one["how"] for one in account["processes"] if one["inside"] is not None}
    assert complete
    assert account["source"] == "trace"
    assert (ends[1], ends[2], ends[3]) == ("finished", "killed_by_init", "killed_by_namespace_end")
    assert len(account["processes"]) == 4


REFUSED = """
import os, sys
from pyinit.containers import connector
from pyinit.containers.events import UnavailableError
try:
    connector.Connector()
except UnavailableError as reason:
    print(reason, flush=True)
"""


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        (("--pid", "--fork", "--mount-proc"), "as the initial PID namespace does, and this observer is in another"),
        (("--user", "--map-root-user"), "to the initial user namespace alone, and this observer is in another"),
        (("--net",), "it needs the host's network namespace"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@needs_connector
def test_where_the_connector_is_refused(start_any: Start, namespace: tuple[str, ...], words: str) -> None:
    """In namespaces to which it does not speak, or not in their numbers, it is refused at once and in words."""
    run = start_any("unshare", *namespace, "--", sys.executable, "-c", REFUSED)
    run.wait()
    assert words in run.out, run


NO_TRACING = "no tracepoints (they are switched off here)"
NO_CONNECTOR = "no process connector (it is switched off here)"


def no_tracing() -> tracefs.Tracing:
    """What a kernel without tracefs does."""
    raise UnavailableError(NO_TRACING)


def no_connector() -> connector.Connector:
    """What a kernel without the process connector does."""
    raise UnavailableError(NO_CONNECTOR)


@needs_connector
def test_the_next_best_source_is_taken(start_any: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tracepoints the connector, without that pidfds; the account says why not a better one. One that is asked for is a must."""
    run = guest(start_any, "step()")
    monkeypatch.setattr(observer_module, "Tracing", no_tracing)
    with Observer(run.pid) as observer:
        account = observer.account()
    assert (account.source, account.blind) == (
        "cn_proc",
        (f"signals and their senders: {NO_TRACING}",),
    )
    monkeypatch.setattr(observer_module, "Connector", no_connector)
    with Observer(run.pid) as observer:
        account = observer.account()
    assert account.source == "pidfd"
    assert account.blind == (
        f"signals and their senders, and processes that lived for less than 20 ms: {NO_TRACING}; {NO_CONNECTOR}",
    )
    for name in ("trace", "cn_proc"):
        with pytest.raises(UnavailableError, match="switched off here"), Observer(run.pid, source=name):
            pass
    with pytest.raises(ValueError, match="there are trace, cn_proc, pidfd and ptrace"):
        Observer(run.pid, source="strace")


@needs_connector
def test_a_subscription_that_shows_nothing_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel takes the subscription and sends nothing (here: to the wrong group), it is not relied upon."""
    monkeypatch.setattr(connector, "PROOF_WITHIN", 0.2)
    monkeypatch.setattr(connector, "_CN_IDX_PROC", 2)
    with pytest.raises(UnavailableError, match="showed nothing"):
        connector.Connector()


@needs_tracing
def test_a_busy_machine_costs_nothing(start_any: Start) -> None:
    """What outsiders do among themselves does not come: no birth, no end, no SIGCHLD can push anything out of the buffer."""
    followed = guest(start_any, "step()")
    tracing = tracefs.Tracing()
    try:
        tracing.start(followed.pid)
        busy = start_any(*python("for _ in range(300):\n    if os.fork() == 0: os._exit(0)\n    os.wait()"))
        busy.wait()
        tracing.mark("end")
        events = until(lambda: [event for event, _ in tracing.read()], 10, "the mark")
    finally:
        tracing.close()
    # an engine's `exec` somewhere else on this machine may be among the births: it cannot be told from one into ours yet
    assert not [event for event in events if isinstance(event, Born) and event.thread == busy.pid]
    assert not [event for event in events if isinstance(event, Renamed | Exited)]
    assert not [event for event in events if isinstance(event, Signalled) and event.number == number("CHLD")]


def test_wrong_targets() -> None:
    """A process that is none, and one that is no PID 1."""
    with pytest.raises(ValueError, match="not the PID 1"):
        Observer(os.getpid())
    with pytest.raises(ProcessLookupError):
        Observer(2**22 + 1)


def instances() -> list[str]:
    """The trace instances of all observers."""
    folder = tracefs._open_instances()
    try:
        return [
            name
            for name in os.listdir(folder)  # noqa: PTH208 (a descriptor is no path)
            if name.startswith(tracefs._PREFIX)
        ]
    finally:
        os.close(folder)


def make_old(prefix: str) -> None:
    """As if these instances had been made an hour ago."""
    folder = tracefs._open_instances()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 (a descriptor is no path)
            if name.startswith(prefix):
                os.utime(name, (time.time() - 3600,) * 2, dir_fd=folder)
    finally:
        os.close(folder)


def trace_mounts() -> list[str]:
    """Where tracefs is mounted; other mounts come and go with other people's containers."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if " tracefs " in line]


@needs_tracing
def test_leaves_nothing(start_any: Start) -> None:
    """Instance, descriptors and mounts are gone after `close`; what a killed observer left goes the next time."""
    run = guest(start_any, "step()")
    descriptors, mounts = len(list(Path("/proc/self/fd").iterdir())), trace_mounts()
    with Observer(run.pid):
        assert [name for name in instances() if f"{tracefs._PREFIX}{os.getpid()}-" in name]
    assert not [name for name in instances() if f"{tracefs._PREFIX}{os.getpid()}-" in name]
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert trace_mounts() == mounts

    watcher = """
import signal, sys
from pyinit.containers.observer import Observer
with Observer(int(sys.argv[1])):
    print("ready", flush=True)
    signal.pause()
"""
    killed = start_any(sys.executable, "-c", watcher, str(run.pid)).ready()
    killed.send("KILL")
    killed.wait()
    left = f"{tracefs._PREFIX}{killed.pid}-"
    assert len([name for name in instances() if left in name]) == 2
    with Observer(run.pid):
        # so young that their maker might be at work in a PID namespace that cannot be seen from here
        assert len([name for name in instances() if left in name]) == 2
    make_old(left)
    with Observer(run.pid):
        assert not [name for name in instances() if left in name]


@pytest.mark.parametrize("source", SOURCES)
def test_target_is_not_disturbed(start_any: Start, request: pytest.FixtureRequest, source: str) -> None:
    """Not traced, not signalled, not slowed: PID 1 does not even wake up."""
    run = guest(start_any, "step()")
    until(lambda: processes.state(run.pid) == "S", 10, "its sleep")
    before = processes.switches(run.pid)
    with Observer(run.pid, source=available(source, request)) as observer:
        assert processes.status(run.pid)["TracerPid"] == "0"
        assert observer.account().init.ended is None
    assert processes.switches(run.pid) == before
    assert observer.account().init.signals == ()


def test_kernel_tells_statuses() -> None:
    """On a kernel that can, and only there, the status of somebody else's process is known."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release >= (6, 15):
        assert procfs.tells_status()
