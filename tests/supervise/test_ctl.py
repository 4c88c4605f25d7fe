"""`pyinitctl start` and the words about running apps, as a user types them: real processes from the file to the worker."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support import processes
from support.ctl import CTL, Ctl
from support.runs import Run
from support.waiting import until

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")

SLEEPER = "import signal, sys; print('up', *sys.argv[1:], flush=True); signal.pause()"
FORWARDER = """\
import os, signal, sys
signal.signal(signal.SIGUSR2, lambda *_: print("USR2", flush=True))
print("up", os.environ.get("COLOUR"), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def two(ctl: Ctl) -> Ctl:
    """Two apps in a file, started: `web` twice and `mail` once."""
    ctl.write("sleeper.py", SLEEPER)
    ctl.write("forwarder.py", FORWARDER)
    ctl.write(
        "apps.toml",
        f"""\
        [apps.web]
        command = ['{sys.executable}', 'forwarder.py']
        instances = 2
        min_uptime = "50ms"
        namespace = "shop"
        environment = {{ COLOUR = "red" }}
        [apps.mail]
        command = ['{sys.executable}', 'sleeper.py', 'mail']
        min_uptime = "50ms"
        after = ["web"]
        """,
    )
    ctl.start()
    return ctl


def name_of(pid: int) -> str:
    """As `ps` shows it."""
    return processes.status(pid)["Name"]


# --- the foreground ---


def test_it_goes_under_pyinit_by_itself(two: Ctl) -> None:
    """The process that was started is pyinit, its one child the supervisor, and the workers are in sessions of their own."""
    pyinit = two.runs[0].process.pid
    assert name_of(pyinit) == "pyinit"
    (supervisor,) = processes.children(pyinit)
    workers = [int(str(one["pid"])) for one in two.jlist()]
    assert sorted(processes.children(supervisor)) == sorted(workers)
    assert {int(processes.stat(pid)[3]) for pid in workers} == set(workers)
    command = Path(f"/proc/{supervisor}/cmdline").read_bytes().split(b"\0")
    assert command[1:3] == [b"-I", b"-S"]


@pytest.mark.parametrize("grace", ["8s", "infinity"])
def test_under_pyinit_it_stays_where_it_is(grace: str, ctl: Ctl) -> None:
    """With pyinit above there is no second one. With a grace without end no variable says so, and pyinit's name does."""
    ctl.write("apps.toml", "[apps.a]\ncommand = ['sleep', '1000']\nmin_uptime = '50ms'\n")
    run = Run([sys.executable, "-m", "pyinit", "-s", "-t", grace, "--", *CTL, "start"], cwd=ctl.folder, env=ctl.env)
    ctl.runs.append(run)
    until(lambda: [one["state"] for one in ctl.jlist()] == ["ready"], 20, "the app")
    (supervisor,) = processes.children(run.process.pid)
    assert name_of(supervisor) != "pyinit"
    assert {name_of(pid) for pid in processes.children(supervisor)} == {"sleep"}


def test_stop_from_outside(two: Ctl) -> None:
    """TERM ends it in order, with 0, and nothing is left: not even the socket."""
    run = two.runs[0]
    workers = [int(str(one["pid"])) for one in two.jlist()]
    os.kill(run.process.pid, signal.SIGTERM)
    assert run.process.wait(20) == 0
    assert not any(processes.is_alive(pid) for pid in workers)
    assert two("list")[0] == 3


def test_essential_app_s_status_is_the_container_s(ctl: Ctl) -> None:
    """Its own, through the supervisor and pyinit."""
    ctl.write("apps.toml", "[apps.a]\ncommand = ['sh', '-c', 'exit 7']\nessential = true\nrestart = 'never'\n")
    assert ctl.run("start").process.wait(20) == 7


def test_workers_have_the_dispositions_that_were_given(two: Ctl) -> None:
    """CPython ignores SIGPIPE and SIGXFSZ in itself: no worker may inherit that."""
    for one in two.jlist():
        status = processes.status(int(str(one["pid"])))
        ignored = processes.mask(status, "SigIgn") - {
            signal.SIGPIPE,
            signal.SIGXFSZ,
        }  # those are the guest's own CPython's
        assert ignored == set()
    two.good("start", "--name", "plain", "--interpreter", "none", "--min-uptime", "100", "sleep", "--", "1000")
    (plain,) = [one for one in two.jlist() if one["name"] == "plain"]
    assert processes.mask(processes.status(int(str(plain["pid"]))), "SigIgn") == set()


@pytest.mark.parametrize(
    ("words", "text", "status", "said"),
    [
        (["start"], None, 1, "pyinitctl: there is no file of apps in "),
        (["start"], "[apps.a]\ncomand = 'x'\n", 1, "apps.toml, line 2: a: there is no key 'comand'; write command"),
        (
            ["start"],
            f"control = '{'x' * 120}'\n[apps.a]\ncommand = 'x'\n",
            1,
            "is longer than the 107 bytes of a socket's path; name a shorter one",
        ),
        (["start", "none.toml"], None, 1, "pyinitctl: there is no file none.toml; correct its name"),
        (["start", "--only", "b"], "[apps.a]\ncommand = 'x'\n", 1, "--only b: there is no such app; there are a"),
        (
            ["start", "apps.toml", "-i", "2"],
            "[apps.a]\ncommand = 'x'\n",
            2,
            "pyinitctl: instances: that is for a program; write it into apps.toml",
        ),
        (
            ["start", "apps.toml", "--", "x"],
            "[apps.a]\ncommand = 'x'\n",
            2,
            "pyinitctl: arguments: that is for a program",
        ),
        (["start", "a.toml", "b.toml"], None, 2, "pyinitctl: one file at a time, not a.toml b.toml"),
        (
            ["start", "--socket", "/nowhere/a/b"],
            "[apps.a]\ncommand = 'x'\n",
            1,
            "start: no place for the control socket: tried /nowhere/a (",
        ),
        (["convert", "none.json"], None, 1, "pyinitctl: convert: there is no file none.json"),
    ],
)
@pytest.mark.parametrize("detach", ["", "--detach"])
def test_what_cannot_be_started(
    detach: str, words: list[str], text: str | None, status: int, said: str, ctl: Ctl
) -> None:
    """One line, and its exit status; --detach says it before anything is started."""
    if text is not None:
        ctl.write("apps.toml", text)
    if detach and words[0] == "start":
        words = ["start", detach, *words[1:]]
    got, out, err = ctl(*words)
    assert (got, out) == (status, ""), err
    (line,) = [line for line in err.splitlines() if line.startswith("pyinitctl: ")]
    assert said in line


# --- --detach ---


def test_detach(ctl: Ctl) -> None:
    """Returns when the apps are ready; their output is in files; kill ends all of it."""
    ctl.write("sleeper.py", SLEEPER)
    run = ctl.run(
        "start", "--detach", "sleeper.py", "--interpreter", sys.executable, "--min-uptime", "100", "--", "a", "b"
    )
    assert run.process.wait(30) == 0, run
    assert f"started; output in {ctl.folder}/state/pyinit, control socket {ctl.socket}" in run.out
    (one,) = ctl.jlist()
    assert (one["name"], one["state"]) == ("sleeper", "ready")
    worker = int(str(one["pid"]))
    log = ctl.folder / "state/pyinit/sleeper-out.log"
    until(lambda: log.read_text(encoding="utf-8") == "up a b\n", 10, "the worker's line in its file")
    ctl.good("kill")
    assert not processes.is_alive(worker)
    assert ctl("ping")[0] == 3


def test_detach_of_an_app_that_does_not_get_ready(ctl: Ctl) -> None:
    """Non-zero, and which one it is."""
    ctl.write(
        "apps.toml",
        "[apps.bad]\ncommand = ['sh', '-c', 'exit 3']\nmax_restarts = 2\nmin_uptime = '60s'\nbackoff_first = 0\nbackoff_max = 0\n",
    )
    run = ctl.run("start", "--detach")
    assert run.process.wait(30) == 1, run
    assert "pyinitctl: " in run.err
    assert "bad" in run.err
    until(lambda: ctl("ping")[0] == 3, 20, "the end of a supervisor that has nothing left to run")


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_the_file_s_control_socket_is_one_s_already(detach: tuple[str, ...], ctl: Ctl) -> None:
    """Then that supervisor is asked, as at any other place: new apps are started, and 0 means that they are ready."""
    path = ctl.runtime / "mine"
    one = "[apps.{}]\ncommand = ['sleep', '1000']\nmin_uptime = '50ms'\n"
    ctl.write("apps.toml", f"control = '{path}'\n{one.format('a')}")
    ctl.run("start")
    until(lambda: ctl("ping", "--socket", str(path))[0] == 0, 20, "an answer")
    ctl.write("apps.toml", f"control = '{path}'\n{one.format('b')}")
    ctl.good("start", *detach)
    found = {row["name"]: row["state"] for row in json.loads(ctl.good("jlist", "--socket", str(path)))}
    assert found == {"a": "ready", "b": "ready"}
    ctl.write("apps.toml", f"control = '{path}'\n[apps.c]\ncommand = ['/none']\n")
    status, out, err = ctl("start", *detach)
    assert (status, "started" in out) == (1, False)
    assert "c:0 did not get ready" in err


HASTY = """\
#!{python}
import socket, sys
at = sys.argv[sys.argv.index("--socket") + 1]
with socket.socket(socket.AF_UNIX) as server:
    server.bind(at)
    server.listen()
    for _ in range({answers}):
        server.accept()[0].close()
print("pyinit: every app has ended (bad): stopping, exit 3", flush=True)
print("pyinit: exit 3", flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_supervisor_that_ends_while_it_is_waited_for(answers: int, ctl: Ctl) -> None:
    """Before it was there, before it was asked, and before it answered: with which status, and what it said."""
    ctl.write("apps.toml", "[apps.bad]\ncommand = ['false']\n")
    bin_ = ctl.folder / "bin"
    bin_.mkdir()
    ctl.write("bin/pyinit", HASTY.format(python=sys.executable, answers=answers)).chmod(0o755)
    run = ctl.run("start", "--detach", PATH=f"{bin_}:{os.environ['PATH']}")
    assert run.process.wait(30) == 1
    assert run.err == (
        "pyinitctl: start: the supervisor has ended with 3: pyinit: every app has ended (bad): stopping, exit 3\n"
    )


def test_interrupted_while_it_waits_for_the_supervisor(ctl: Ctl) -> None:
    """One line and 130, as wherever something is waited for: what it has started goes on. Here that is a pyinit that is very slow."""
    ctl.write("apps.toml", "[apps.a]\ncommand = ['sleep', '1000']\n")
    bin_ = ctl.folder / "bin"
    bin_.mkdir()
    slow = ctl.write("bin/pyinit", "#!/bin/sh\n: > there\nexec sleep 1000\n")
    slow.chmod(0o755)
    run = ctl.run("start", "--detach", PATH=f"{bin_}:{os.environ['PATH']}")
    until((ctl.folder / "there").exists, 20, "its child")
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.wait(20) == 130
    assert run.err == "pyinitctl: start: interrupted; the supervisor goes on with it: see pyinitctl list, or kill\n"


# --- the words ---


def test_list(two: Ctl) -> None:
    """Aligned columns, for all or for the selected; JSON for programs."""
    head, *rows = two.good("ls").splitlines()
    assert head.split()[:6] == ["id", "name", "namespace", "instance", "pid", "state"]
    assert [row.split()[:4] for row in rows] == [
        ["0", "web", "shop", "0"],
        ["1", "web", "shop", "1"],
        ["2", "mail", "default", "0"],
    ]
    column = head.index("state")
    assert all(row[column:].startswith("ready ") for row in rows)
    for select, count in (("shop", 2), ("web", 2), ("1", 1), ("all", 3), ("/^m/", 1)):
        assert len(two.good("list", select).splitlines()) == count + 1
    assert [one["name"] for one in two.jlist()] == ["web", "web", "mail"]
    status, out, err = two("list", "wep")
    assert (status, out, err) == (1, "", "pyinitctl: list: nothing here is called wep; `list` shows what there is\n")


def test_describe(two: Ctl) -> None:
    """Every key of an app, and its workers."""
    said = two.good("show", "web")
    assert '"forwarder.py"]' in said
    assert len([line for line in said.splitlines() if line.split()[1:2] == ["web"]]) == 3  # its name, and two workers


def test_stop_and_start_again(two: Ctl) -> None:
    """Stopped apps stay in the list; start by name, id or namespace brings them back."""
    two.good("stop", "shop")
    assert [one["state"] for one in two.jlist()] == ["stopped", "stopped", "ready"]
    two.good("start", "0")
    assert [one["state"] for one in two.jlist()] == ["ready", "stopped", "ready"]
    two.good("start", "web")
    assert {one["state"] for one in two.jlist()} == {"ready"}
    two.good("delete", "mail")
    assert [one["name"] for one in two.jlist()] == ["web", "web"]
    status, _, err = two("start", "mail")
    assert status == 1
    assert "mail" in err


def test_restart_reload_and_the_environment(two: Ctl) -> None:
    """New processes; --update-env gives them this command's variables, which they keep."""
    before = [one["pid"] for one in two.jlist()]
    two.good("restart", "web", COLOUR="green")
    assert "COLOUR=red" in two.good("env", "0").splitlines()
    after = [one["pid"] for one in two.jlist()]
    assert before[0] != after[0]
    assert before[2] == after[2]
    two.good("restart", "web", "--update-env", COLOUR="green")
    assert "COLOUR=green" in two.good("env", "0").splitlines()
    two.good("reload", "web", "-a", COLOUR="blue")
    assert two.good("env", "web").splitlines().count("COLOUR=blue") == 2
    two.good("restart", "web")
    assert "COLOUR=blue" in two.good("env", "1").splitlines()


def test_update_env_brings_nothing_that_is_this_command_s_own(two: Ctl) -> None:
    """As at the start: what speaks of descriptors and sockets of the caller is not passed on."""
    own = {"LISTEN_FDS": "1", "NODE_CHANNEL_FD": "3", "NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "PYINIT_GRACE": "1s"}
    two.good("restart", "web", "--update-env", COLOUR="green", **own)
    found = two.good("env", "0").splitlines()
    assert "COLOUR=green" in found
    assert not [line for line in found if line.partition("=")[0] in own]
    two.good("stop", "web")
    two.good("start", "web", "--update-env", COLOUR="blue", **own)
    found = two.good("env", "0").splitlines()
    assert "COLOUR=blue" in found
    assert not [line for line in found if line.partition("=")[0] in own]


def test_scale(two: Ctl) -> None:
    """To a number, or by one."""
    for to, count in (("4", 4), ("-1", 3), ("+1", 4), ("1", 1)):
        two.good("scale", "web", to)
        assert len([one for one in two.jlist() if one["name"] == "web"]) == count


def test_signals(two: Ctl) -> None:
    """By any of its names; one that is none is wrong usage."""
    two.good("sendSignal", "sigusr2", "web")
    until(lambda: two.good("logs", "web").count("USR2") == 2, 10, "the signal in both")
    assert two("sendSignal", "NONE", "web")[0] == 2


def test_logs(two: Ctl) -> None:
    """The last lines, with the name where there are several, and what follows."""
    until(lambda: two.good("logs", "mail") == "up mail\n", 10, "the line")
    assert sorted(two.good("logs").splitlines()) == ["mail 0 | up mail", "web 0 | up red", "web 1 | up red"]
    assert two.good("logs", "--err") == ""
    follower = two.run("logs", "-f", "--lines", "0", "web")
    until(lambda: two.good("sendSignal", "USR2", "web") == "" and "USR2" in follower.out, 20, "the signal's line")
    assert "up" not in follower.out
    os.kill(follower.process.pid, signal.SIGINT)
    assert follower.process.wait(10) == 0
    assert follower.err == ""


def test_reset_and_flush(two: Ctl) -> None:
    """Restarts are counted from 0 again, log files are empty."""
    victim = int(str(two.jlist()[0]["pid"]))
    os.kill(victim, signal.SIGKILL)
    until(lambda: two.jlist()[0]["restarts"] == 1, 10, "the restart")
    assert two.jlist()[0]["last"] == "SIGKILL"
    two.good("reset", "web")
    assert two.jlist()[0]["restarts"] == 0
    log = two.folder / "log"
    two.good(
        "start",
        "--name",
        "writer",
        "--interpreter",
        sys.executable,
        "-o",
        str(log),
        "--min-uptime",
        "100",
        "sleeper.py",
    )
    until(lambda: log.exists() and log.read_bytes(), 10, "its line in the file")
    two.good("flush", "writer")
    assert log.read_bytes() == b""


def test_a_program_joins_the_ones_that_run(two: Ctl) -> None:
    """`start` with a supervisor there adds to it."""
    two.good("start", "sleeper.py", "--name", "more", "--interpreter", sys.executable, "--min-uptime", "100")
    assert [one["name"] for one in two.jlist()] == ["web", "web", "mail", "more"]


def test_start_or_reload(two: Ctl) -> None:
    """The file's new values; what it no longer names stays as it is; a file with an error changes nothing."""
    before = two.jlist()
    text = (two.folder / "apps.toml").read_text(encoding="utf-8")
    two.write("apps.toml", text.replace("red", "white").replace("instances = 2", "instances = 3"))
    two.good("startOrReload", "--only", "web")
    after = two.jlist()
    assert [one["name"] for one in after] == ["web", "web", "mail", "web"]
    assert before[2]["pid"] == after[2]["pid"]
    assert before[0]["pid"] != after[0]["pid"]
    assert "COLOUR=white" in two.good("env", "0").splitlines()
    two.write("apps.toml", text.replace("instances", "instance"))
    status, _, err = two("startOrReload")
    assert (status, err.count("\n")) == (1, 1)
    assert "line 3: web: there is no key 'instance'; write instances" in err
    assert [one["pid"] for one in two.jlist()] == [one["pid"] for one in after]


def test_a_file_in_an_app_s_place(two: Ctl) -> None:
    """As PM2 takes it: reload and restart start what is new, stop and delete mean the apps named in it."""
    two.good("delete", "mail")
    two.good("reload", "apps.toml")
    assert [one["name"] for one in two.jlist()] == ["web", "web", "mail"]
    two.good("stop", "apps.toml", "--only", "web")
    assert [one["state"] for one in two.jlist()] == ["stopped", "stopped", "ready"]
    two.good("restart", "apps.toml")
    assert {one["state"] for one in two.jlist()} == {"ready"}
    two.write("other.toml", "[apps.shop]\ncommand = ['sleep', '1000']\nmin_uptime = '50ms'\n")  # as web's namespace
    two.good("start", "other.toml")
    two.good("delete", "other.toml")
    assert [(one["name"], one["state"]) for one in two.jlist()] == [(name, "ready") for name in ("web", "web", "mail")]
    status, _, err = two("reset", "apps.toml")
    assert (status, err) == (
        2,
        "pyinitctl: reset: name an app: a file is taken by stop, restart, reload, delete alone\n",
    )


@pytest.mark.parametrize(
    "words",
    [["list"], ["ls"], ["jlist"], ["describe", "all"], ["stop", "all"], ["restart", "all"], ["reload", "all"], ["delete", "all"],
     ["scale", "web", "2"], ["logs"], ["flush"], ["reset"], ["sendSignal", "TERM", "all"], ["env", "0"], ["ping"], ["kill"]],
    ids=" ".join,
)  # fmt: skip
def test_nobody_is_there(words: list[str], ctl: Ctl) -> None:
    """One line, and 3."""
    status, out, err = ctl(*words)
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(
        f"pyinitctl: there is no supervisor at {ctl.socket} (No such file or directory); start one with"
    )


def test_socket_by_option_and_by_variable(ctl: Ctl) -> None:
    """PYINITCTL_SOCKET reaches the supervisor although pyinit takes PYINIT_* away."""
    path = str(ctl.runtime / "mine")
    ctl.write("apps.toml", "[apps.a]\ncommand = ['sleep', '1000']\nmin_uptime = '50ms'\n")
    ctl.run("start", PYINITCTL_SOCKET=path)
    until(lambda: ctl("ping", "--socket", path)[0] == 0, 20, "an answer")
    assert ctl("ping", PYINITCTL_SOCKET=path)[0] == 0
    assert ctl("ping")[0] == 3
    assert oct(Path(path).stat().st_mode & 0o777) == "0o600"
    assert "there is no supervisor at /a/b " in ctl("ping", PYINITCTL_SOCKET="/a/b")[2]
    assert "there is no supervisor at /c/d " in ctl("ping", "--socket", "/c/d", PYINITCTL_SOCKET=path)[2]


# --- PM2's files ---


@needs_node
def test_ecosystem_file(ctl: Ctl) -> None:
    """Unchanged, with --env; the same after convert."""
    ctl.write(
        "app.js",
        "require('http').createServer(() => {}).listen(0, () => console.log('up', process.env.A, process.env.NODE_APP_INSTANCE));",
    )
    ctl.write(
        "ecosystem.config.js",
        "module.exports = { apps: [{ name: 'web', script: 'app.js', exec_mode: 'fork', env: { A: 1 }, env_test: { A: 2 } }] };",
    )
    ctl.start("--env", "test")
    until(lambda: ctl.good("logs", "web") == "up 2 0\n", 10, "its line")
    ctl.good("kill")
    text = ctl.good("convert")
    ctl.write("apps.toml", text)
    ctl.start("apps.toml")
    until(lambda: ctl.good("logs", "web") == "up 1 0\n", 10, "its line")
    ctl.good("kill")
    status, _, err = ctl("convert", "-o", "apps.toml")
    assert (status, err) == (1, "pyinitctl: convert: apps.toml cannot be written: File exists\n")


@needs_node
def test_as_pm2_s_users_type_it(ctl: Ctl) -> None:
    """`start app.js -i 2 --name web -- args`: instances that share a port which nobody named here."""
    ctl.write(
        "app.js",
        "require('http').createServer((_, answer) => answer.end(process.argv[2])).listen(+process.argv[3], '127.0.0.1');",
    )
    port = _free_port()
    ctl.start("app.js", "-i", "2", "--name", "web", "--", "hello", str(port))
    assert [(one["name"], one["instance"]) for one in ctl.jlist()] == [("web", 0), ("web", 1)]
    code = f"fetch('http://127.0.0.1:{port}').then(one => one.text()).then(console.log)"
    answer = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout == "hello\n"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
