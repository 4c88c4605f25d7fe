"""The harness itself: each fixture does what it says, and each detector notices what it is there to notice.

No pyinit in here, except where said: PID 1 is a plain program.
"""

import json
import re
import signal
import uuid
from pathlib import Path

import docker
import psutil
import pytest

from support import engines
from support.containers import LABEL, Run, guest, inner_pid, left_behind, remove
from support.terminal import OpenTerminal
from support.waiting import NeverCameError, until

pytestmark = pytest.mark.engines(engines.PYTHON)  # which one is in the image matters to nobody but the last test

# PID 1 that makes one child and never reaps it: the zombie stays for as long as it sleeps
LEAVES_A_ZOMBIE = "import os, time; os.fork() or os._exit(0); print('made', flush=True); time.sleep(1000)"


def test_until_returns_what_the_condition_gave() -> None:
    answers = iter([0, None, "", "here"])
    assert until(lambda: next(answers), 5, "the fourth answer") == "here"


def test_until_says_what_it_waited_for_and_what_it_saw_last() -> None:
    with pytest.raises(
        NeverCameError, match=r"waited 0\.05 s for a file; the last time we looked it raised FileNotFound"
    ):
        until(lambda: open("/nonexistent"), 0.05, "a file")  # noqa: PTH123, SIM115
    with pytest.raises(NeverCameError, match="it said 0"):
        until(lambda: 0, 0, "more than nothing")


def test_a_container_runs_and_tells_its_exit_status(run: Run) -> None:
    container = run(["sh", "-c", "echo out; echo err >&2; exit 7"], entrypoint=())
    assert container.wait() == 7
    assert container.logs(stderr=False) == "out\n"
    assert container.logs(stdout=False) == "err\n"
    assert not container.running
    assert not container.oom_killed


def test_pid_1_is_an_ordinary_process_on_the_host(run: Run) -> None:
    container = run(["sleep", "1000"], entrypoint=())
    assert psutil.Process(container.pid).cmdline() == ["sleep", "1000"]
    assert inner_pid(container.pid) == 1
    container.kill("KILL")
    assert container.wait() == 128 + signal.SIGKILL


def test_a_container_can_be_made_now_and_started_later(run: Run) -> None:
    container = run(["sleep", "1000"], entrypoint=(), start=False)
    with pytest.raises(AssertionError, match="no process any more"):
        _ = container.pid
    container.start()
    assert container.running


def test_processes_are_all_of_the_namespace_and_no_others(run: Run) -> None:
    """Children, children that left for a session of their own, and `docker exec`, whose parent is outside."""
    container = run(["sh", "-c", "sleep 1001 & setsid sleep 1002 & wait"], entrypoint=())
    bystander = run(["sleep", "1001"], entrypoint=())
    container.exec("sleep", "1003", detach=True)
    wanted = {"sh -c", "sleep 1001", "sleep 1002", "sleep 1003"}

    def commands() -> set[str]:
        return {" ".join(process.cmdline()[:2]) for process in container.processes()}

    until(lambda: commands() == wanted, 10, "four processes, each of which has executed its program")
    assert container.process("sleep 1003").ppid() != container.pid
    assert bystander.pid not in {process.pid for process in container.processes()}
    with pytest.raises(AssertionError, match="0 processes with 'nobody'"):
        container.process("nobody")


def test_exec_gives_status_and_output(run: Run) -> None:
    container = run(["sleep", "1000"], entrypoint=())
    done = container.exec("sh", "-c", "id -u; exit 3", user="1000")
    assert (done.status, done.output) == (3, "1000\n")


def test_a_zombie_is_seen(run: Run) -> None:
    """Negative control: PID 1 does not reap."""
    container = run(["python3", "-c", LEAVES_A_ZOMBIE], entrypoint=())
    container.wait_log("made")
    zombie = until(container.zombies, 10, "the zombie")[0]
    assert zombie.ppid() == container.pid
    assert "zombie" in container.process_table()


def test_without_zombies_none_is_seen(run: Run) -> None:
    container = run(["sh", "-c", "true & wait; echo waited; exec sleep 1000"], entrypoint=())
    container.wait_log("waited")
    assert not container.zombies()


def test_an_out_of_memory_kill_is_seen(run: Run) -> None:
    """Negative control for the one above that sees none."""
    hog = "x = bytearray(1)\nwhile True: x += bytes(2**22)"
    container = run(["python3", "-c", hog], entrypoint=(), mem_limit="32m", memswap_limit="32m")
    assert container.wait() == 128 + signal.SIGKILL
    assert container.oom_killed


def test_stop_takes_as_long_as_the_program(run: Run) -> None:
    """PID 1 without a handler is deaf to TERM: the engine kills it when time is over. With a handler it is quick."""
    deaf = run(["sleep", "1000"], entrypoint=())
    assert deaf.stop(timeout=1) >= 1
    assert deaf.wait() == 128 + signal.SIGKILL
    polite = run(["sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done"], entrypoint=())
    polite.wait_log("ready")
    assert polite.stop(timeout=20, signal="INT") < 10
    assert polite.wait() == 5


def test_stop_with_a_signal_kills_when_time_is_over(run: Run) -> None:
    deaf = run(["sleep", "1000"], entrypoint=())
    assert deaf.stop(timeout=1, signal="INT") >= 1
    assert deaf.wait() == 128 + signal.SIGKILL


def test_wait_fails_with_the_logs(run: Run) -> None:
    container = run(["sh", "-c", "echo still here; exec sleep 1000"], entrypoint=())
    container.wait_log("still here")
    with pytest.raises(NeverCameError, match=r"waited 0\.2 s for the container to end; its logs:\nstill here"):
        container.wait(timeout=0.2)


def test_a_log_that_never_comes_fails_with_a_clear_text(run: Run) -> None:
    container = run(["sh", "-c", "echo something else; exec sleep 1000"], entrypoint=())
    container.wait_log(re.compile(r"some(\w+) else"))
    with pytest.raises(NeverCameError, match=r"waited 0\.2 s for 'ready' in the logs(.|\n)*something else"):
        container.wait_log("ready", timeout=0.2)


def test_a_container_that_ends_without_the_log_fails_at_once(run: Run) -> None:
    container = run(["sh", "-c", "echo bye; exit 3"], entrypoint=())
    with pytest.raises(NeverCameError, match=r"ended with status 3 and never logged 'ready'; its logs:\nbye"):
        container.wait_log("ready", timeout=60)


def test_a_container_left_behind_is_seen(client: docker.DockerClient, image: str) -> None:
    """Negative control for the check at the end of the session."""
    session = uuid.uuid4().hex
    raw = client.containers.create(image, ["true"], labels={LABEL: session}, network_mode="none")
    try:
        assert [found.id for found in left_behind(client, session)] == [raw.id]
    finally:
        remove(raw)
    assert not left_behind(client, session)
    remove(raw)  # twice is fine


def test_a_failure_report_has_everything(run: Run) -> None:
    container = run(["sh", "-c", "echo a log line; exec sleep 1234"], entrypoint=())
    container.wait_log("a log line")
    report = container.report()
    assert "a log line" in report
    assert "sleep 1234" in report
    assert "'Running': True" in report
    remove(container.raw)
    assert "NotFound" in container.report()  # and it never fails itself


def test_the_signals_probe_reports_each_signal_once(run: Run) -> None:
    container = run(["python3", "/probes/signals.py", "--children", "1", "--status", "9"], entrypoint=())
    container.wait_log(re.compile("^ready$", re.MULTILINE))
    for name in ("TERM", "HUP", "RTMIN+3"):
        container.kill(name)
        container.wait_log(f"main {name} 1")
    container.kill("RTMAX")
    assert container.wait() == 9
    lines = container.logs().splitlines()
    assert sorted(lines) == sorted(
        ["main.1 ready", "main ready", "ready", "main TERM 1", "main HUP 1", "main RTMIN+3 1", "main end"]
    )


@pytest.mark.both_kernels
def test_both_kernels_run_the_probe(run: Run, runtime: str) -> None:
    """The runsc of gVisor knows no real-time signal by number, so the marker is another one."""
    container = run(
        ["sh", "-c", "dmesg 2>/dev/null | head -n 1; exec python3 /probes/signals.py --marker USR2"], entrypoint=()
    )
    container.wait_log(re.compile("^ready$", re.MULTILINE), timeout=30)
    container.kill("TERM")
    container.wait_log("main TERM 1")
    assert ("gVisor" in container.logs()) == (runtime == "runsc")
    container.kill("USR2")
    assert container.wait() == 0


def test_a_terminal_can_be_typed_at(terminal: OpenTerminal) -> None:
    """The client sets the size after the start, so it has to be waited for."""
    size = "until [ \"$(stty size)\" = '24 120' ]; do sleep 0.05; done; stty size"
    opened = terminal(["-c", f"{size}; read line; echo got $line; exit 4"], entrypoint=("bash",))
    opened.expect("24 120")
    opened.send("hello\r")
    opened.expect("got hello")
    assert opened.wait() == 4


def test_a_terminal_that_stays_silent_fails_with_what_it_said(terminal: OpenTerminal) -> None:
    opened = terminal(["-c", "echo first; sleep 1000"], entrypoint=("bash",))
    opened.expect("first")
    with pytest.raises(NeverCameError, match=r"waited 0\.2 s for 'second' on the terminal; all of it:\nfirst"):
        opened.expect("second", timeout=0.2)


@pytest.mark.usefixtures("docker_services")
def test_composed_neighbours_are_up(run: Run, docker_compose_project_name: str, client: docker.DockerClient) -> None:
    """pytest-docker started them by the real Compose; another container sees them through a shared network namespace."""
    [neighbour] = client.containers.list(filters={"label": f"com.docker.compose.project={docker_compose_project_name}"})
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/').status)"
    asker = run(["python3", "-c", ask], entrypoint=(), network_mode=f"container:{neighbour.id}")
    assert asker.wait() == 0
    assert asker.logs() == "200\n"


@pytest.mark.engines(*engines.NAMES)
@pytest.mark.both_kernels(each_engine=True)
def test_the_engine_is_the_one_that_the_parameter_names(engine: str, run: Run, runtime: str) -> None:
    """The one test here that needs pyinit: everything else in this level is about that engine, or it proves nothing."""
    entrypoint = ("pyinit", "-v", "--log=json", "--")
    container = run(guest("block(); say('ready'); record(10)"), entrypoint=entrypoint).ready()
    first = json.loads(container.logs(stdout=False).splitlines()[0])
    assert (first["event"], first["engine"]) == ("start", engine)
    if runtime == "runc":
        executed = Path(f"/proc/{container.pid}/exe")
        is_python = "python" in executed.readlink().name
        assert is_python == (engine == engines.PYTHON)
        assert (b"PYINIT_STOP_BUDGET" in executed.read_bytes()) == (engine == engines.NATIVE)
    container.kill("USR1")
    assert container.wait() == 0
