"""The control socket: who may speak, and that nobody holds anything up."""

import json
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pyinit.supervise import control, process
from support import processes
from support.supervised import Supervised, Talk, app, worker
from support.waiting import until

Supervise = Callable[..., Supervised]


def test_mode_and_removal(supervise: Supervise) -> None:
    """0600 while it runs, gone afterwards."""
    supervised = supervise(worker("web")).ready()
    assert stat.S_IMODE(supervised.control.stat().st_mode) == 0o600
    supervised.run.send("TERM").wait()
    assert not supervised.control.exists()


def test_socket_of_a_supervisor_that_was_killed_is_replaced(supervise: Supervise) -> None:
    """And that of one that lives is not."""
    first = supervise(worker("web")).ready()
    second = supervise(worker("web"), keys={"control": str(first.control)})
    assert second.run.wait() == 125
    second.run.wait_err("cannot listen on the control socket: Address already in use")
    assert first.do("ping")["pid"] == first.run.pid
    first.run.send("KILL").wait()
    third = supervise(worker("web"), keys={"control": str(first.control)})
    third.control = first.control
    until(lambda: third.do("ping")["pid"] == third.run.pid, 10, "the third")


def test_a_path_that_is_too_long(supervise: Supervise) -> None:
    """The error of it has no number, and is said all the same."""
    supervised = supervise(worker("web"), keys={"control": "/tmp/" + "x" * 120})
    assert supervised.run.wait() == 125
    supervised.run.wait_err("cannot listen on the control socket: AF_UNIX path too long")


def test_another_user_is_refused(supervise: Supervise) -> None:
    """Even where the mode would let it in."""
    if os.geteuid():
        pytest.skip("only root can be two users")
    supervised = supervise(worker("web")).ready()
    supervised.control.chmod(0o666)
    supervised.control.parent.chmod(0o755)
    code = f"""
import os, socket
os.chdir({str(supervised.control.parent)!r})
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect({supervised.control.name!r})
print(s.makefile().readline())
"""
    asked = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    answer = json.loads(asked.stdout)
    assert answer["error"] == "UID 65534 may not control this supervisor, which runs as UID 0; use that user, or root"


def test_client_that_hangs(supervise: Supervise) -> None:
    """It asks on and reads nothing: others are answered at once, and nothing grows."""
    supervised = supervise(worker("web")).ready()
    with supervised.talk() as hanging:
        hanging.socket.settimeout(0.2)
        request = json.dumps({"do": "describe"}).encode() + b"\n"
        with pytest.raises(TimeoutError):
            hanging.socket.sendall(request * 100_000)
        began = time.monotonic()
        for _ in range(10):
            assert supervised.states() == ["ready"]
        assert time.monotonic() - began < 10
        assert int(processes.status(supervised.run.pid)["VmRSS"].split()[0]) < 30_000
        supervised.do("stop")


def test_client_that_says_nothing(supervise: Supervise) -> None:
    """A hundred of them."""
    supervised = supervise(worker("web")).ready()
    silent = [supervised.talk() for _ in range(100)]
    assert supervised.states() == ["ready"]
    for one in silent:
        one.close()
    until(lambda: len(processes.descriptors(supervised.run.pid)) < 40, 10, "the descriptors of those that have gone")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"hello", "this is no JSON"),
        (b"[1]", "a request is a JSON object"),
        (b"{}", "unknown word None; there are apply, delete"),
        (b'{"do": "list", "select": "web"}', "select is no list of texts"),
        (b'{"do": "list", "select": ["nobody"]}', "list: nothing here is called nobody; `list` shows what there is"),
        (b'{"do": "reload", "select": []}', "reload: nothing here is called nothing"),
        (b'{"do": "signal", "signal": "HELLO"}', "signal: 'HELLO' is no signal; write SIGUSR2, USR2 or 12"),
        (b'{"do": "scale", "to": "\xc2\xb2"}', "is no number of instances; write 4, +1, -1 or max"),
        (b'{"do": "apply", "spec": 5}', "apply: the spec's version is None"),
        (b'{"do": "logs", "lines": "x"}', "logs: lines is 'x'; write a whole number"),
        (b'{"do": "list", "select": ["/(/"]}', "list: nothing here is called /(/"),
        (b"\xff\xfe", "this is no JSON"),
        (b"[" * 100000, "this is no JSON"),
    ],
)
def test_wrong_requests(supervise: Supervise, line: bytes, words: str) -> None:
    """One line in words each, and the connection goes on."""
    supervised = supervise(worker("web")).ready()
    with supervised.talk() as talk:
        talk.socket.sendall(line + b"\n")
        answer = talk.answer()
        assert answer["ok"] is False
        assert words in answer["error"]
        assert talk.send(do="ping").answer()["ok"]
    assert "internal error" not in supervised.run.err


BROKEN = """
import sys
sys.path.insert(0, sys.argv[1].rpartition("/pyinit/")[0])
from pyinit.supervise import start, words
words.WORDS["ping"] = lambda call: 1 // 0
sys.exit(start.start(sys.argv[2:]))
"""


def test_fault_of_ours_is_answered(supervise: Supervise) -> None:
    """Whoever asked does not wait for ever, and everything else goes on."""
    supervised = supervise(worker("web"), flags=("-c", BROKEN)).ready()
    with supervised.talk() as talk:
        talk.socket.settimeout(5)
        assert "internal error in ping: ZeroDivisionError" in talk.send(do="ping").answer()["error"]
        assert talk.send(do="list").answer()["ok"]


def test_client_when_there_is_no_descriptor_left(supervise: Supervise) -> None:
    """It waits, while the supervisor sleeps, and is served when there is room."""
    supervised = supervise(worker("web")).ready()
    pid = supervised.run.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with supervised.talk() as first:
        for _ in range(2):  # after its second turn it has closed what it had of those before
            first.send(do="ping").answer()
        free = min(set(range(256)) - set(processes.descriptors(pid)))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
        with supervised.talk() as talk:
            talk.send(do="ping")
            used = process.cpu(pid) or 0
            time.sleep(1.5)  # that nothing happens can only be watched
            assert (process.cpu(pid) or 0) - used < 0.3
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            assert talk.answer()["ok"]


def test_half_a_request(supervise: Supervise) -> None:
    """Its other half comes later; or never."""
    supervised = supervise(worker("web")).ready()
    with supervised.talk() as talk:
        talk.socket.sendall(b'{"do": ')
        assert supervised.states() == ["ready"]
        talk.socket.sendall(b'"ping"}\n')
        assert talk.answer()["ok"]
        talk.socket.sendall(b"{")
    assert supervised.states() == ["ready"]


def test_selectors(supervise: Supervise) -> None:
    """Id, name, namespace, all, /regular expression/."""
    apps = [worker("web", instances=2), worker("worker", namespace="jobs"), worker("db", namespace="jobs")]
    supervised = supervise(*apps).ready()

    def ids(*select: str) -> list[int]:
        return [row["id"] for row in supervised.rows(*select)]

    assert ids("all") == [0, 1, 2, 3]
    assert ids("web") == [0, 1]
    assert ids("1") == [1]
    assert ids("jobs") == [2, 3]
    assert ids("/^w/") == [0, 1, 2]
    assert ids("0", "db") == [0, 3]
    assert (
        supervised.ask("list", apps=["jobs"])["error"]
        == "list: nothing here is called jobs; `list` shows what there is"
    )
    assert [row["id"] for row in supervised.do("list", apps=["db"])["workers"]] == [3]
    assert supervised.ask("stop", apps="db")["error"] == "apps is no list of texts"


def test_words_that_answer_at_once(supervise: Supervise) -> None:
    """describe, env, signal, reset, and a word that nobody waits for."""
    code = "signal.signal(signal.SIGUSR2, lambda *_: say('USR2')); forever()"
    supervised = supervise(worker("web", code)).ready()
    described = supervised.do("describe")
    assert described["apps"][0]["name"] == "web"
    assert described["apps"][0]["count"] == 1
    assert supervised.do("env")["env"]["0"]["NODE_APP_INSTANCE"] == "0"
    supervised.do("signal", signal="USR2")
    supervised.run.wait_out("web:0 | USR2")
    os.kill(supervised.pids()[0], 9)
    until(lambda: [row["restarts"] for row in supervised.rows()] == [1], 10, "the restart")
    supervised.do("reset")
    assert supervised.rows()[0]["restarts"] == 0
    assert supervised.do("stop", wait=False)["events"] == []
    until(lambda: supervised.states() == ["stopped"], 10, "the stop")


def test_environment_of_a_word_that_is_refused(supervise: Supervise) -> None:
    """It changes nothing; nor do variables that no process could be given."""
    first = worker("web", "if 'GO' in os.environ: signal.pause()\nforever()")
    supervised = supervise(first).ready()
    with supervised.talk() as talk:
        process = supervised.pids()[0]
        talk.send(do="restart", environment={"GO": "1"})
        until(lambda: supervised.pids() not in ([], [process]), 10, "the new one, which does not get ready")
        refused = supervised.ask("restart", environment={"COLOUR": "red"})
        assert "restart of web is still going on" in refused["error"]
    supervised.do("stop")
    for wrong in ({"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "\0"}, ["A"], "A"):
        assert supervised.ask("start", environment=wrong)["error"].startswith("environment is no object of texts")
    supervised.do("start", wait=False)
    until(supervised.pids, 10, "the process")
    (found,) = supervised.do("env")["env"].values()
    assert found["GO"] == "1"
    assert not {"COLOUR", "A"} & set(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start somebody else")
def test_home_stays_its_user_s(supervise: Supervise) -> None:
    """The caller's HOME is nothing to an app with `user`."""
    supervised = supervise(
        app("web", ["sleep", "1000"], uid=65534, environment={"PATH": os.environ["PATH"], "HOME": "/theirs"})
    )
    supervised.ready()
    supervised.do("restart", environment={"HOME": "/root", "COLOUR": "red"})
    (found,) = supervised.do("env")["env"].values()
    assert (found["HOME"], found["COLOUR"]) == ("/theirs", "red")


def test_delete(supervise: Supervise) -> None:
    """It is gone, and its socket with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    supervised = supervise(worker("web", listen=[{"host": "127.0.0.1", "port": port}]), worker("other")).ready()
    socket.create_connection(("127.0.0.1", port)).close()
    supervised.do("delete", "web")
    assert [row["name"] for row in supervised.rows()] == ["other"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_kill(supervise: Supervise) -> None:
    """Everything stops, and the connection ends when it has."""
    supervised = supervise(worker("web", "on_term(lambda: (say('bye'), leave())); forever()")).ready()
    supervised.do("kill")
    assert supervised.run.wait() == 0
    assert supervised.run.lines == ["web:0 | bye"]


def test_hundred_apps(supervise: Supervise) -> None:
    """Two workers each: started, listed at once, stopped."""
    apps = [app(f"app-{number}", ["sleep", "1000"], instances=2, min_uptime=0) for number in range(100)]
    supervised = supervise(*apps)
    until(lambda: supervised.states() == ["ready"] * 200, 60, "two hundred workers")
    began = time.monotonic()
    assert len(supervised.pids()) == 200
    assert time.monotonic() - began < 10
    supervised.run.send("TERM")
    assert supervised.run.wait(60) == 0
    assert supervised.run.left == []


def test_logs_followed(supervise: Supervise) -> None:
    """The last lines first, then those that come; whoever follows and does not read is let go."""
    code = "signal.signal(10, lambda *_: say('three')); say('one'); say('two'); forever()"
    supervised = supervise(worker("web", code)).ready()
    with supervised.talk() as talk:
        talk.send(do="logs", select=["web"], lines=1, follow=True)
        lines = talk.lines()
        assert next(lines)["text"] == "two"
        supervised.do("signal", signal="USR1")
        assert next(lines) == {
            "event": "line",
            "id": 0,
            "name": "web",
            "instance": 0,
            "stream": "stdout",
            "text": "three",
        }
    assert [line["text"] for line in supervised.do("logs", lines=2)["events"]] == ["two", "three"]
    assert supervised.do("logs", lines=2, stream="stderr")["events"] == []


def test_answer_that_is_longer_than_our_patience(supervise: Supervise) -> None:
    """It comes whole: only those that follow are judged by what they have not read."""
    app_ = app("web", ["sleep", "1000"], environment={f"X{number}": "x" * 100_000 for number in range(12)})
    supervised = supervise(app_).ready()
    with supervised.talk() as talk:
        (found,) = talk.send(do="env").answer()["env"].values()
    assert sum(map(len, found.values())) > control.PATIENCE


def test_follower_that_does_not_read(supervise: Supervise) -> None:
    """A worker that says a lot is not held up by it."""
    code = "ready()\nwhile True: os.write(1, b'x' * 1023 + b'\\n')"
    supervised = supervise(worker("web", code, logs={"stdout": "/dev/null"})).ready()
    talk = Talk(supervised.control).send(do="logs", follow=True)
    until(lambda: supervised.states() == ["ready"] and _is_closed(talk), 20, "the end of the follower")
    talk.close()


def _is_closed(talk: Talk) -> bool:
    """Whether the other end has gone, without reading what is queued."""
    try:
        talk.socket.send(b"\n")
    except OSError:
        return True
    return False
