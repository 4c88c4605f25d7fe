"""Which signal reaches whom, and how often, in real containers and on both kernels.

What differs under gVisor: its `docker kill` knows no real-time signal, so there those are sent to PID 1 by `docker exec`.
"""

import re
import signal as signals
from collections.abc import Sequence

import pytest

from support.containers import Container, Run, guest
from support.waiting import until

STOP = ("TERM", "INT")
"""The stop signals: to the whole process group, each followed by CONT."""
OTHERS = ("HUP", "USR1", "USR2", "WINCH", "QUIT", "RTMIN+3", "RTMAX")
MARKER = "RTMIN+5"


def send(container: Container, name: str, runtime: str) -> None:
    """One signal to PID 1 by name."""
    if runtime == "runsc" and name.startswith("RT"):
        container.signal_inside(64 if name == "RTMAX" else 34 + int(name.partition("+")[2]), 1)
    else:
        container.kill(name)


def reached(container: Container, runtime: str, *sent: str, group: Sequence[str]) -> list[str]:
    """Send signals one after the other, then the marker, and return all that arrived; `group`: which of them both are to get."""
    container.ready()
    for name in sent:
        send(container, name, runtime)
        for label in ("main", "main.1") if name in group else ("main",):
            container.wait_line(f"{label} {name} 1")
            if name in STOP:
                container.wait_line(f"{label} CONT 1")
    send(container, MARKER, runtime)
    assert container.wait() == 9
    return sorted(line for line in container.lines if "ready" not in line)


def expected(label: str, *names: str) -> list[str]:
    """The probe's lines when each of these arrived once, with one CONT after the stop signal."""
    return [
        *(f"{label} {name} 1" for name in names),
        *([f"{label} CONT 1"] if {*names} & {*STOP} else []),
        f"{label} end",
    ]


PROBE = ("--children", "1", "--status", "9", "--marker", MARKER, "--pass-marker")


def probe(run: Run, *options: str) -> Container:
    """The probe and its one child, under a pyinit that never escalates."""
    return run(["python3", "/probes/signals.py", *PROBE], entrypoint=("pyinit", "--grace=infinity", *options, "--"))


@pytest.mark.both_kernels
@pytest.mark.parametrize("stop", STOP)
def test_stop_signals_reach_the_group_and_others_the_program_alone(stop: str, run: Run, runtime: str) -> None:
    """The default: a HUP to every worker of gunicorn would drop requests; a TERM to all is what Ctrl-C does."""
    got = reached(probe(run), runtime, *OTHERS, stop, group=(stop,))
    assert got == sorted(expected("main", *OTHERS, stop) + expected("main.1", stop))


@pytest.mark.both_kernels
@pytest.mark.parametrize("stop", STOP)
def test_with_g_every_signal_reaches_the_group(stop: str, run: Run, runtime: str) -> None:
    """`-g`: the marker as well, which the child then gets from both, before or after its end."""
    got = reached(probe(run, "-g"), runtime, *OTHERS, stop, group=(*OTHERS, stop))
    assert got == sorted(expected("main", *OTHERS, stop) + expected("main.1", *OTHERS, stop))


@pytest.mark.both_kernels
@pytest.mark.parametrize("stop", STOP)
def test_with_c_every_signal_reaches_the_program_alone(stop: str, run: Run, runtime: str) -> None:
    """`-c`: as tini does it."""
    got = reached(probe(run, "-c"), runtime, *OTHERS, stop, group=())
    assert got == sorted([*expected("main", *OTHERS, stop), "main.1 end"])


@pytest.mark.parametrize("name", ["QUIT", "WINCH", "USR1", "RTMIN+3"])
def test_stop_signal_of_the_image(name: str, run: Run) -> None:
    """What nginx, httpd, haproxy and systemd have as STOPSIGNAL is a stop signal where it is said, and `docker stop` sends it."""
    container = run(
        ["python3", "/probes/signals.py", *PROBE], entrypoint=("pyinit", "--"), stop_signal=f"SIG{name}",
        environment={"PYINIT_STOP_SIGNALS": f"TERM,{name}", "PYINIT_GRACE": "1s"},
    ).ready()  # fmt: skip
    container.stop()
    assert container.wait() == 128 + signals.SIGKILL  # the probe reports it and goes on
    assert {f"main {name} 1", "main CONT 1", f"main.1 {name} 1", "main.1 CONT 1"} <= set(container.lines)


def test_rewritten_and_dropped(run: Run) -> None:
    """`--rewrite`: TERM arrives as QUIT, and HUP not at all."""
    container = run(
        ["python3", "/probes/signals.py", "--marker", "USR1"],
        entrypoint=("pyinit", "-r", "TERM:QUIT", "-r", "HUP:0", "--"),
    ).ready()
    for name in ("HUP", "TERM"):
        container.kill(name)
    container.wait_line("main CONT 1")
    container.kill("USR1")
    assert container.wait() == 0
    assert sorted(container.lines[2:]) == ["main CONT 1", "main QUIT 1", "main end"]


@pytest.mark.both_kernels
def test_worker_under_a_shell_is_asked_once(run: Run) -> None:
    """A shell wrapper dies of the TERM that its worker also gets; the worker is not asked again when the shell has ended.

    USR2 arrives at PID 1 after that, and its mention in the log proves that pyinit has done what the shell's end led to.
    """
    worker = "block(); say('worker', os.getpid()); say('ready'); record(10); say('bye')"
    container = run(["sh", "-c", '"$@"; exit 1', "sh", *guest(worker)], entrypoint=("pyinit", "-v", "--")).ready()
    pid = container.wait_log(re.compile(r"^worker (\d+)$", re.MULTILINE))[1]
    container.kill("TERM")
    container.wait_log("sh ended: SIGTERM")
    container.kill("USR2")
    container.wait_log("SIGUSR2 arrived")
    container.signal_inside(signals.SIGUSR1, pid)
    assert container.wait() == 128 + signals.SIGTERM
    assert container.lines[2:] == ["15", "18", "10", "bye"]
    assert "nobody killed" in container.report_lines[-1]


@pytest.mark.both_kernels
def test_shell_that_waits_for_a_foreground_child(run: Run) -> None:
    """`sh -c 'sleep 1000; ...'` with a trap hears TERM when its child has ended: the group sees to that (tini: 10 s and SIGKILL)."""
    container = run(["sh", "-c", "trap 'echo trapped; exit 4' TERM; echo ready; sleep 1000"]).ready()
    until(
        lambda: "sleep 1000" in container.exec("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output,
        10,
        "sleep",
    )
    container.kill("TERM")
    assert container.wait(5) == 4
    assert container.lines == ["ready", "trapped"]


@pytest.mark.both_kernels
def test_stopped_program_hears_the_stop_signal(run: Run) -> None:
    """A program that has stopped itself is continued after TERM, so that it can end."""
    code = "signal.signal(15, lambda *_: os._exit(6)); say('ready'); os.kill(os.getpid(), 19); time.sleep(60)"
    container = run(guest(code)).ready()
    container.kill("TERM")
    assert container.wait(7) == 6


@pytest.mark.both_kernels
def test_signals_from_inside(run: Run) -> None:
    """`kill 1` in a container is a stop like any other, and `kill -KILL 1` from inside has no effect on Linux.

    gVisor (as of 2022) ends the container at the latter (gvisor#11836), so there only the former is tried.
    """
    container = run(guest("block(); say('ready'); record(15); sys.exit(3)")).ready()
    if container.raw.attrs["HostConfig"]["Runtime"] != "runsc":
        assert container.exec("sh", "-c", "kill -KILL 1; echo $?").output == "0\n"
        assert container.running
    container.signal_inside(signals.SIGTERM, 1)
    assert container.wait() == 3


@pytest.mark.both_kernels
def test_fifty_signals_in_a_row_are_all_passed_on(run: Run) -> None:
    """Real-time signals queue: fifty sent at one go by a process inside arrive as fifty.

    What is pending together is delivered by number (signal(7)), so the marker has the highest.
    """
    container = run(guest("block(); say('ready'); record(64)")).ready()
    sent = "import os\nfor _ in range(5):\n for n in range(40, 50): os.kill(1, n)\nos.kill(1, 64)"
    assert container.exec("python3", "-I", "-c", sent).status == 0
    assert container.wait() == 0
    got = [int(line) for line in container.lines[1:]]
    assert {number: got.count(number) for number in sorted({*got})} == {**dict.fromkeys(range(40, 50), 5), 64: 1}
