"""Starting, ends, restarts and stopping: one supervisor, real workers."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.supervised import MAIN, Json, Supervised, app, guest, spec, worker
from support.waiting import until

Supervise = Callable[..., Supervised]

UNDER_PYINIT = (sys.executable, "-I", "-m", "pyinit", "-s", "--")


def row(supervised: Supervised, name: str) -> Json:
    """The one worker of an app."""
    (found,) = supervised.rows(name)
    return found


# --- starting ---


def test_start_order(supervise: Supervise) -> None:
    """What others start after is ready before they are started."""
    late = worker("late", "say('late'); forever()", after=["early"])
    early = worker("early", "time.sleep(0.3); say('early'); ready(); forever()")
    run = supervise(late, early).ready().run
    assert run.lines == ["early:0 | early", "late:0 | late"]


def test_dependant_of_a_failure_waits_and_says_so(supervise: Supervise) -> None:
    """It is not started, `wait` fails, and `list` says for whom it waits."""
    broken = worker("db", "leave(1)", restart="never")
    supervised = supervise(broken, worker("web", after=["db"]), worker("other"))
    answer = supervised.ask("wait", "web")
    assert answer["ok"] is False
    assert answer["error"] == "web:0 cannot start: it starts after db, which is exited"
    assert (row(supervised, "web")["state"], row(supervised, "web")["why"]) == ("waiting", "waits for db")


def test_one_shot_that_ends_well_is_ready_for_its_dependants(supervise: Supervise) -> None:
    """A migration, say."""
    once = worker("migrate", "leave(0)", restart="on-failure", min_uptime=5)
    supervised = supervise(once, worker("web", after=["migrate"])).ready()
    assert supervised.states() == ["exited", "ready"]


def test_environment_of_an_instance(supervise: Supervise) -> None:
    """Its number, its id, variables counted up, and nothing of the supervisor's."""
    code = """
names = sorted(set(os.environ) - {"LC_CTYPE", "NOTIFY_SOCKET", "TEST_RUN"})
say(names, os.environ["N"], os.environ["pm_id"], os.environ["PORT"])
forever()
"""
    two = worker("web", code, instances=2, instance_variable="N", increment_variables=["PORT"])
    two["environment"]["PORT"] = "3000"
    run = supervise(two).ready().run
    names = "['N', 'PATH', 'PORT', 'PYINIT_WORKER', 'pm_id']"
    assert sorted(run.lines) == [f"web:0 | {names} 0 0 3000", f"web:1 | {names} 1 1 3001"]


@pytest.mark.parametrize("value", ["--5", "-", "\u00b2", "9" * 5000, "http"])
def test_variable_that_is_no_number(supervise: Supervise, value: str) -> None:
    """It stays as it is."""
    one = worker("web", "say(os.environ['PORT'] == os.environ['SAME']); forever()", increment_variables=["PORT"])
    one["environment"] |= {"PORT": value, "SAME": value}
    assert supervise(one).ready().run.lines == ["web:0 | True"]


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "a\0b"])
def test_address_that_is_no_name(supervise: Supervise, host: str) -> None:
    """Whatever goes wrong before the fork: said, with no process taken for one that runs, and nothing left open."""
    broken = worker("web", listen=[{"host": host, "port": 80}], autostart=False)
    supervised = supervise(broken, worker("other")).ready()
    before = len(processes.descriptors(supervised.run.pid))
    for _ in range(3):
        assert supervised.ask("start", "web")["ok"] is False
    assert supervised.states() == ["errored", "ready"]
    assert row(supervised, "web")["why"].startswith("cannot start web:0: ")
    until(lambda: len(processes.descriptors(supervised.run.pid)) == before, 10, "what was opened to be closed")
    assert "internal error" not in supervised.run.err


def test_what_a_worker_inherits(supervise: Supervise) -> None:
    """A session of its own, no signal blocked or ignored, 0 to 2 open and nothing else, the directory that was asked for."""

    def prepare() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    one = app("web", ["sleep", "1000"], cwd="/usr")
    reader, writer = os.pipe()
    supervised = supervise(one, prepare=prepare, pass_fds=(writer,)).ready()
    os.close(writer)
    assert os.read(reader, 1) == b"", "somebody holds what the supervisor inherited"
    os.close(reader)
    (pid,) = supervised.pids()
    fields = processes.status(pid)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert processes.mask(fields, "SigIgn") | processes.mask(fields, "SigBlk") == set()
    assert sorted(processes.descriptors(pid)) == [0, 1, 2]
    assert processes.descriptors(pid)[0] == "/dev/null"
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/usr")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_standard_descriptor_that_was_closed(supervise: Supervise, closed: int) -> None:
    """Whatever the supervisor was started with, a worker's are what they should be."""
    supervised = supervise(app("web", ["sleep", "1000"]), prepare=lambda: os.close(closed)).ready()
    (pid,) = supervised.pids()
    assert [path.partition(":")[0] for _, path in sorted(processes.descriptors(pid).items())] == [
        "/dev/null",
        "pipe",
        "pipe",
    ]


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (["/no/such/program"], 127, "no such file"),
        (["no-such-program"], 127, "not found in"),
        (["/etc/passwd"], 126, "not executable"),
    ],
)
def test_program_that_cannot_be_executed(supervise: Supervise, command: list[str], status: int, words: str) -> None:
    """Given up at once, since trying again would not help; alone, it decides the exit status."""
    run = supervise(app("web", command)).run
    assert run.wait() == status
    assert words in run.err


def test_directory_that_is_not_there(supervise: Supervise) -> None:
    """As any other reason, in words."""
    run = supervise(worker("web", cwd="/no/such/place")).run
    assert run.wait() == 125
    run.wait_err("cwd /no/such/place: No such file or directory")


def test_user(supervise: Supervise) -> None:
    """UID and GID, and no group of root's left."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    both = app("both", ["sh", "-c", "id -u; id -G; sleep 1000"], uid=65534, gid=65533)
    alone = app("alone", ["sh", "-c", "grep Groups: /proc/self/status; sleep 1000"], uid=65534)
    run = supervise(both, alone).ready().run
    assert sorted(line.strip() for line in run.lines) == ["alone:0 | Groups:", "both:0 | 65533", "both:0 | 65534"]


# --- ends ---


@pytest.mark.parametrize(
    ("end", "status"),
    [("leave(0)", 0), ("leave(3)", 3), ("os.kill(os.getpid(), 9)", 137), ("os.kill(os.getpid(), 35)", 163)],
)
def test_essential_app_ends_everything_with_its_status(supervise: Supervise, end: str, status: int) -> None:
    """The others are stopped in order first."""
    essential = worker("web", f"ready(); time.sleep(0.1); {end}", restart="never", essential=True, after=["other"])
    other = worker("other", "on_term(lambda: (say('bye'), leave())); say('up'); forever()")
    run = supervise(essential, other).run
    assert run.wait() == status
    assert run.lines == ["other:0 | up", "other:0 | bye"]


def test_last_app_that_ends_ends_the_supervisor(supervise: Supervise) -> None:
    """A job in a container: its status is the container's."""
    run = supervise(worker("one", "leave(0)", restart="never"), worker("two", "leave(7)", restart="never")).run
    assert run.wait() == 7


def test_supervisor_stays_when_everything_was_stopped_by_hand(supervise: Supervise) -> None:
    """Somebody means to start it again."""
    supervised = supervise(worker("web")).ready()
    supervised.do("stop")
    assert supervised.states() == ["stopped"]
    supervised.do("start")
    assert supervised.states() == ["ready"]


def test_crash_is_followed_by_a_start_at_once(supervise: Supervise) -> None:
    """And `list` tells how the last process ended."""
    supervised = supervise(worker("web")).ready()
    (pid,) = supervised.pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervised.pids() not in ([], [pid]), 10, "another process")
    found = row(supervised, "web")
    assert (found["restarts"], found["last"], found["code"]) == (1, "SIGKILL", 137)


@pytest.mark.parametrize(
    ("end", "keys", "state"),
    [
        ("leave(0)", {"restart": "on-failure"}, "exited"),
        ("leave(5)", {"leave_exit_codes": [5]}, "exited"),
        (
            "os.kill(os.getpid(), 9)",
            {"restart": "on-failure", "leave_exit_codes": [0, 137], "max_restarts": 2},
            "errored",
        ),
        ("leave(1)", {"max_restarts": 3}, "errored"),
        ("leave(1)", {"restart": "never"}, "exited"),
    ],
)
def test_which_ends_are_final(supervise: Supervise, end: str, keys: Json, state: str) -> None:
    """A death by a signal is neither code 0 nor code 137."""
    supervised = supervise(worker("web", end, **keys), worker("other"))
    until(lambda: row(supervised, "web")["state"] == state, 20, f"the state {state}")
    if state == "errored":
        assert row(supervised, "web")["restarts"] == keys["max_restarts"]
        supervised.run.wait_err("web:0 is given up: restarted")


def test_thousand_crashes_leave_nothing(supervise: Supervise) -> None:
    """No descriptor, no child, no zombie."""
    crashing = app("web", ["false"], backoff_first=0, backoff_max=0, max_restarts=1000, min_uptime=0)
    supervised = supervise(crashing, worker("other"))
    until(lambda: supervised.states("other") == ["ready"], 10, "the other app")
    before = len(processes.descriptors(supervised.run.pid))
    until(lambda: supervised.states("web") == ["errored"], 60, "a thousand restarts")
    assert row(supervised, "web")["restarts"] == 1000
    assert len(processes.descriptors(supervised.run.pid)) < before + 10  # a connection of ours may be open still
    assert processes.children(supervised.run.pid) == supervised.pids("other")


# --- stopping ---


def test_stop_signal_comes_once_and_to_the_worker_alone(supervise: Supervise) -> None:
    """A group below it, as gunicorn's workers, is the worker's own affair."""
    code = """
if os.fork() == 0:
    on_term(lambda: (say("child heard TERM"), leave()))
    say("child"); forever()
def stop():
    say("TERM")
    time.sleep(0.2)
    leave()
on_term(stop); say("up"); forever()
"""
    supervised = supervise(worker("web", code)).ready()
    supervised.run.wait_out("web:0 | child")
    supervised.run.send("TERM")
    assert supervised.run.wait() == 0
    # the child is left behind, and is then asked
    assert [line.partition("| ")[2] for line in supervised.run.lines if "TERM" in line] == ["TERM", "child heard TERM"]


@pytest.mark.parametrize("number", ["TERM", "INT", "QUIT"])
def test_orderly_stop(supervise: Supervise, number: str) -> None:
    """Those that start last are stopped first; a signal that comes twice changes nothing."""
    code = "on_term(lambda: (say('stopping'), time.sleep(0.1), say('stopped'), leave())); say('up'); forever()"
    run = supervise(worker("db", code), worker("web", code, after=["db"])).ready().run
    run.send(number, number)
    assert run.wait() == 0
    assert run.lines[2:] == ["web:0 | stopping", "web:0 | stopped", "db:0 | stopping", "db:0 | stopped"]


def test_essential_app_s_status_after_a_stop(supervise: Supervise) -> None:
    """What it left with is what the container leaves with."""
    run = supervise(worker("web", "on_term(lambda: leave(9)); say('up'); forever()", essential=True)).ready().run
    assert run.send("TERM").wait() == 9


def test_grace_is_over(supervise: Supervise) -> None:
    """SIGKILL, said, and the exit status is honest."""
    deaf = worker("web", "block(15); say('up'); forever()", grace=0.3)
    run = supervise(deaf).ready().run
    assert run.send("TERM").wait() == 137
    run.wait_err("web:0 has not stopped in time and is killed")


def test_budget_is_divided(supervise: Supervise) -> None:
    """Three that need to be killed, one after the other, within what pyinit gives."""
    deaf = guest("block(15); say('up'); forever()")
    apps = [app("a", deaf), app("b", deaf, after=["a"]), app("c", deaf, after=["b"], grace=None)]
    run = supervise(*apps, env={**os.environ, "PYINIT_STOP_BUDGET": "3000"}).ready().run
    began = time.monotonic()
    assert run.send("TERM").wait() == 137
    assert 1.5 < time.monotonic() - began < 8


def test_strays_are_stopped_with_their_worker(supervise: Supervise) -> None:
    """A grandchild that has double-forked into a session of its own hears the stop signal, and is awaited."""
    code = """
def stray():
    on_term(lambda: (time.sleep(0.2), say("stray stopped"), leave()))
    say("stray")
    forever()
daemon(stray); forever()
"""
    supervised = supervise(worker("web", code), worker("other")).ready()
    supervised.run.wait_out("web:0 | stray")
    supervised.do("stop", "web")
    assert supervised.run.lines[-1] == "web:0 | stray stopped"
    assert processes.children(supervised.run.pid) == supervised.pids("other")


def test_strays_of_a_crash_go_before_the_replacement_comes(supervise: Supervise) -> None:
    """They could hold its port. One that does not hear is killed."""
    code = "daemon(lambda: (block(15), say('stray'), forever())); say('up'); time.sleep(0.1); leave(1)"
    supervised = supervise(worker("web", code, max_restarts=1, grace=0.2), worker("other"))
    until(lambda: supervised.states("web") == ["errored"], 20, "the second end")
    assert sorted(line.partition("| ")[2] for line in supervised.run.lines if "web" in line) == [
        "stray",
        "stray",
        "up",
        "up",
    ]
    supervised.run.wait_err("killed 1 that web:0 left behind")
    assert processes.children(supervised.run.pid) == supervised.pids("other")


def python_for(uid: int) -> str:
    """A Python that this user may execute: the tests' own may be in root's home."""

    def works(python: str) -> bool:
        try:
            return subprocess.run([python, "-I", "-S", "-c", ""], user=uid, check=False).returncode == 0
        except OSError:
            return False

    return next(python for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3") if works(python))


OF_A_CONTAINER = ("+chown", "+dac_override", "+fowner", "+kill", "+setgid", "+setuid", "+setpcap", "+net_bind_service")
"""Capabilities that engines leave to root, and none by which it might read the memory of others."""


def test_strays_of_another_user(supervise: Supervise) -> None:
    """Root of a container has no CAP_SYS_PTRACE, and may not read whose they are. Those of another app stay."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can give workers a user of their own, and setpriv (util-linux) take a capability away")
    uid = 64998
    code = "daemon(lambda: (say('stray', os.getpid()), forever())); forever()"
    apps = [worker(name, code, uid=uid, gid=uid) for name in ("web", "other")]
    for one in apps:
        one["command"][0] = python_for(uid)
    wrapper = ("setpriv", "--inh-caps", "-all", "--bounding-set", f"-all,{','.join(OF_A_CONTAINER)}")
    supervised = supervise(*apps, wrapper=wrapper).ready()
    for name in ("web", "other"):
        supervised.run.wait_out(f"{name}:0 | stray")
    strays = [int(line.split()[-1]) for line in sorted(supervised.run.lines, reverse=True)]
    pid = supervised.do("ping")["pid"]
    assert Path(f"/proc/{strays[0]}").stat().st_uid == uid
    until(lambda: set(strays) <= set(processes.children(pid)), 10, "both strays to be the supervisor's")
    supervised.do("stop", "web")
    assert sorted(processes.children(pid)) == sorted([strays[1], *supervised.pids("other")])
    fields = processes.status(pid)
    assert (fields["Uid"].split(), fields["Gid"].split()) == (["0"] * 4, ["0"] * 4)


def test_worker_that_forks_without_end(supervise: Supervise) -> None:
    """`list` answers, and stop ends the tree."""
    if os.geteuid():
        pytest.skip("only root can give a worker a user of its own, whose processes are limited")
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
signal.signal(15, signal.SIG_IGN)
say("up")
ready()
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        time.sleep(0.001)
"""
    uid = 64999
    bomb = worker("bomb", code, uid=uid, gid=uid, grace=0.3)
    bomb["command"][0] = python_for(uid)
    supervised = supervise(bomb, worker("other"))
    supervised.run.wait_out("bomb:0 | up")
    until(lambda: len(processes.descendants(supervised.run.pid)) > 150, 20, "the bomb")
    began = time.monotonic()
    assert supervised.states("bomb") == ["ready"]
    assert time.monotonic() - began < 10
    supervised.do("stop", "bomb")
    assert time.monotonic() - began < 20
    until(lambda: processes.children(supervised.run.pid) == supervised.pids("other"), 20, "nobody but the other")


def test_supervisor_is_killed(supervise: Supervise, tmp_path: Path) -> None:
    """Under pyinit: the status is honest, the workers hear TERM and have their time."""
    code = (
        "on_term(lambda: (time.sleep(0.3), open(os.environ['SAY'], 'w').write('bye'), leave())); say('up'); forever()"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = worker("web", code, listen=[{"host": "127.0.0.1", "port": port}])
    one["environment"]["SAY"] = str(tmp_path / "said")
    supervised = supervise(one, wrapper=UNDER_PYINIT).ready()
    os.kill(supervised.do("ping")["pid"], signal.SIGKILL)
    assert supervised.run.wait() == 137
    assert (tmp_path / "said").read_text(encoding="ascii") == "bye"
    assert supervised.run.left == []
    socket.create_server(("127.0.0.1", port)).close()


def test_no_room_for_a_process(supervise: Supervise) -> None:
    """The limit of open files is reached: said, tried again, and the others are served meanwhile."""
    supervised = supervise(worker("other"), app("web", ["sleep", "1000"], autostart=False)).ready()
    pid = supervised.run.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(processes.descriptors(pid)) + 2, before[1]))
    supervised.do("start", "web", wait=False)
    supervised.run.wait_err("cannot start web:0: Too many open files|cannot start a process: Too many open files")
    assert supervised.states("other") == ["ready"]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    until(lambda: supervised.states("web") == ["ready"], 20, "the second try")


MADE = """
import json, os, signal, sys, time
from pyinit.init.report import Report
from pyinit.supervise import control, supervisor
from pyinit.supervise.spec import parse
given = json.load(sys.stdin)
one = supervisor.Supervisor(parse(given), control.listen(given["control"]), Report(2))
"""
"""A supervisor that does not run yet, in a process of its own."""
FLOOD = """
for _ in range(5000):
    os.kill(os.getpid(), signal.SIGCHLD)
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(one.run())
"""


def test_more_signals_than_the_wake_up_descriptor_holds(tmp_path: Path) -> None:
    """All in one turn, and the last of them is the one that matters."""
    given = spec(app("web", ["sleep", "30"]), control=str(tmp_path / "control"))
    assert in_its_process(FLOOD, given).returncode == 0


def in_its_process(code: str, given: Json) -> "subprocess.CompletedProcess[str]":
    """What becomes of MADE and this."""
    env = {**os.environ, "PYTHONPATH": str(MAIN.parents[2])}
    command, text = [sys.executable, "-c", MADE + code], json.dumps(given)
    return subprocess.run(command, input=text, env=env, text=True, capture_output=True, timeout=20, check=False)


REUSED = """
from pyinit.init import signals
one.fleet.begin(time.monotonic())
one.carry_out()
(worker, running), = one.running.items()
del one.by_pid[running.pid]  # as if it had been reaped, and its number were somebody else's now
one.ask(worker)
one.kill(worker)
time.sleep(0.2)  # that nothing happens can only be watched
assert os.waitpid(running.pid, os.WNOHANG) == (0, 0)
del one.running[worker]
one.ask_rest(worker)
one.kill_rest(worker)
os.kill(running.pid, signals.KILL)
os.waitpid(running.pid, 0)
"""


def test_nobody_else_is_signalled(tmp_path: Path) -> None:
    """What is decided about a worker may be done after its end."""
    given = spec(app("web", ["sleep", "30"]), control=str(tmp_path / "control"))
    done = in_its_process(REUSED, given)
    assert done.returncode == 0, done.stderr


CLOCK = """
one.fleet.begin(time.monotonic())  # not stopped; nothing of it is carried out
one.arm()
_, look = one.timers["cron web"]
real = time.time
time.time = lambda: real() + float(os.environ["SHIFT"])
look()
"""


@pytest.mark.parametrize(
    ("ahead", "shift", "is_due"), [(12, 13, True), (12, 1, False), (0.5, -2, False), (0.5, 1, True)]
)
def test_cron_of_a_clock_that_is_set(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ahead: float,
    shift: float,
    is_due: bool,  # noqa: FBT001
) -> None:
    """An entry is due when the clock shows its time, whatever it showed when the timer was made. Hours."""
    monkeypatch.setenv("SHIFT", str(shift * 3600))
    then = time.localtime(time.time() + ahead * 3600)
    entry = f"{then.tm_min} {then.tm_hour} * * *"
    given = spec(app("web", ["sleep", "30"], cron=entry), control=str(tmp_path / "control"))
    done = in_its_process(CLOCK, given)
    assert done.returncode == 0, done.stderr
    assert ("web is due" in done.stderr) is is_due


@pytest.mark.parametrize("number", ["USR1", "ALRM", "WINCH", "CONT", "CHLD"])
def test_signals_that_mean_nothing(supervise: Supervise, number: str) -> None:
    """They end nobody."""
    supervised = supervise(worker("web")).ready()
    before = supervised.pids()
    supervised.run.send(number)
    assert supervised.pids() == before
