"""The ways in which a worker says that it is ready, and the sockets that it is given."""

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes
from support.supervised import Json, Supervised, app, guest, worker
from support.waiting import until

Supervise = Callable[..., Supervised]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


LATER = "time.sleep(0.3); say('now')\n"
WAYS: dict[str, tuple[Json, Json, str]] = {
    "notify": ({"kind": "notify"}, {}, LATER + "forever()"),
    "descriptor": ({"kind": "descriptor", "number": 7}, {}, LATER + "os.write(7, b'\\n'); forever()"),
    "log": ({"kind": "log", "pattern": "^now$"}, {}, LATER + "forever()"),
    "message": (
        {"kind": "message", "text": "ready"},
        {"channel": True},
        LATER + "os.write(int(os.environ['NODE_CHANNEL_FD']), b'\"ready\"\\n'); forever()",
    ),
    "tcp": (
        {"kind": "tcp", "host": "127.0.0.1", "port": 0},
        {},
        LATER + "import socket\ns = socket.create_server(('127.0.0.1', PORT))\nforever()",
    ),
    "http": (
        {"kind": "http", "url": "http://127.0.0.1:0/health"},
        {},
        """
import socket
s = socket.create_server(('127.0.0.1', PORT))
begin = time.monotonic()
while True:
    c, _ = s.accept()
    assert c.recv(4096).startswith(b'GET /health HTTP/1.0')
    is_now = time.monotonic() - begin > 0.3
    if is_now: say('now')
    c.sendall(b'HTTP/1.0 %s\\r\\n\\r\\n' % (b'200 OK' if is_now else b'503 Not yet'))
    c.close()
""",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_ready_when_it_says_so(supervise: Supervise, way: str) -> None:
    """Not before, and then at once."""
    ready, keys, code = WAYS[way]
    port = free_port()
    ready = json.loads(json.dumps(ready).replace(":0/", f":{port}/").replace('"port": 0', f'"port": {port}'))
    supervised = supervise(app("web", guest(code.replace("PORT", str(port))), ready=ready, **keys))
    supervised.ready()
    assert "web:0 | now" in supervised.run.lines


@pytest.mark.parametrize("way", WAYS)
def test_not_ready_when_it_does_not(supervise: Supervise, way: str) -> None:
    """Alive, and silent: given up after its time, then tried again."""
    ready, keys, _ = WAYS[way]
    ready = json.loads(json.dumps(ready).replace(":0/", f":{free_port()}/"))
    silent = app("web", ["sleep", "1000"], ready=ready, ready_timeout=0.3, max_restarts=1, **keys)
    supervised = supervise(silent, worker("other"))
    assert supervised.ask("wait", "web")["error"] == "web:0 did not get ready: not ready in 0.3 s"
    until(lambda: supervised.states("web") == ["errored"], 20, "the second time")


def test_messages_after_readiness(supervise: Supervise) -> None:
    """More of them than its queue holds: nobody waits in sd_notify, and a second READY=1 changes nothing."""
    code = """
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
s.send(b"READY=1")
for n in range(2000):
    s.send(b"STATUS=%d\\nWATCHDOG=1" % n)
s.send(b"READY=1")
say("sent"); forever()
"""
    supervised = supervise(worker("web", code)).ready()
    supervised.run.wait_out("web:0 | sent")
    assert supervised.states() == ["ready"]


def test_probe_of_what_is_no_name(supervise: Supervise) -> None:
    """Not ready, and nobody else's end is missed for it."""
    one = app("web", guest("say('last'); leave(1)"), ready={"kind": "http", "url": "http://a..b/"}, restart="never")
    other = app("other", guest("leave(1)"), restart="never")
    supervised = supervise(one, other, worker("stays"))
    until(lambda: supervised.states("web", "other") == ["exited", "exited"], 10, "both ends")
    assert supervised.run.lines == ["web:0 | last"]
    assert "internal error" not in supervised.run.err


def test_messages_of_a_stranger_are_no_readiness(supervise: Supervise) -> None:
    """Another value, another message: they are the program's own affair."""
    code = r"""
os.write(int(os.environ["NODE_CHANNEL_FD"]), b'"hello"\n{"ready": true}\nnonsense\n')
say("sent")
signal.pause()
"""
    silent = app(
        "web", guest(code), ready={"kind": "message", "text": "ready"}, channel=True, ready_timeout=0.5, max_restarts=0
    )
    supervised = supervise(silent, worker("other"))
    assert supervised.ask("wait", "web")["ok"] is False
    assert supervised.run.lines == ["web:0 | sent"]


def test_stop_message(supervise: Supervise) -> None:
    """In place of the signal, over the channel."""
    code = """
import socket
channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
on_term(lambda: say("signal"))
ready()
say(channel.recv(100).decode().strip())
leave()
"""
    one = worker("web", code, channel=True, stop_message="shutdown")
    supervised = supervise(one).ready()
    supervised.do("stop")
    assert supervised.run.lines == ['web:0 | "shutdown"']


# --- sockets ---


def test_listen_pid_is_the_worker_s_own(supervise: Supervise) -> None:
    """As gunicorn compares it: otherwise it would bind a port of its own, in silence. Also after a restart and a reload."""
    port = free_port()
    code = "say(os.environ['LISTEN_PID'] == str(os.getpid()), os.environ['LISTEN_FDS']); forever()"
    one = worker("web", code, instances=2, listen=[{"host": "127.0.0.1", "port": port}, {"host": "::1", "port": port}])
    supervised = supervise(one).ready()
    supervised.do("restart")
    supervised.do("reload")
    assert [line.partition("| ")[2] for line in supervised.run.lines] == ["True 2"] * 6


def test_sockets_that_are_passed(supervise: Supervise, tmp_path: Path) -> None:
    """TCP and unix, non-blocking, TCP_NODELAY also on what is accepted, SO_REUSEADDR; under the numbers from 3 on."""
    port, path = free_port(), tmp_path / "web.sock"
    code = """
import socket
tcp, unix = socket.socket(fileno=3), socket.socket(fileno=4)
reused = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
say(os.get_blocking(3), os.get_blocking(4), reused, tcp.getsockname()[1], unix.getsockname())
ready()
import select
select.select([tcp], [], [])
accepted, _ = tcp.accept()
say(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
forever()
"""
    one = worker("web", code, listen=[{"host": "127.0.0.1", "port": port}, {"unix": str(path), "mode": 0o600}])
    supervised = supervise(one).ready()
    (pid,) = supervised.pids()
    until(lambda: sorted(processes.descriptors(pid)) == [0, 1, 2, 3, 4], 10, "no descriptor but these")
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.create_connection(("127.0.0.1", port)):
        supervised.run.wait_out("web:0 | 1")
    assert supervised.run.lines[0] == f"web:0 | False False 1 {port} {path}"
    supervised.run.send("TERM").wait()
    assert not path.exists()


def test_connections_wait_while_nobody_accepts(supervise: Supervise) -> None:
    """The port is there before the first worker, between two lives, and after the last."""
    port = free_port()
    code = """
import socket
s = socket.socket(fileno=3); s.setblocking(True)
c, _ = s.accept(); c.sendall(b"%d" % os.getpid()); c.close()
"""
    one = app("web", guest(code), listen=[{"host": "127.0.0.1", "port": port}], restart="always", max_restarts=100)
    supervise(one, worker("other")).ready()
    answers = []
    for _ in range(10):  # each worker takes one, and ends
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            answers.append(connection.recv(100))
    assert len(set(answers)) == 10


def test_idle_workers_stay_awake(supervise: Supervise) -> None:
    """Two wake for one connection; the one that comes too late must not sleep in accept."""
    port = free_port()
    code = """
import select, socket
s = socket.socket(fileno=3)
mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
beat = []
signal.signal(10, lambda *_: None)
reader, writer = os.pipe()
signal.set_wakeup_fd(writer) if os.set_blocking(writer, False) is None else None
ready()
while True:
    for fd in select.select([s, reader], [], [])[0]:
        if fd == reader:
            os.read(reader, 100); say("awake")
        else:
            try:
                c, _ = s.accept()
            except BlockingIOError:
                say("too late")
            else:
                c.sendall(b"x"); c.close()
"""
    supervised = supervise(worker("web", code, instances=2, listen=[{"host": "127.0.0.1", "port": port}])).ready()
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            assert connection.recv(1) == b"x"
        time.sleep(0.002)
    supervised.do("signal", signal="USR1")
    for number in (0, 1):
        supervised.run.wait_out(f"web:{number} | awake")


def test_port_that_is_taken(supervise: Supervise, tmp_path: Path) -> None:
    """One line before anything is started, and nothing is left behind: here the socket that could be opened, and the control socket."""
    path = tmp_path / "web.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = [{"unix": str(path), "mode": 0o600}, {"host": "127.0.0.1", "port": port}]
        supervised = supervise(worker("other", "say('up'); forever()"), worker("web", listen=listen, instances=3))
        assert supervised.run.wait() == 125
    assert supervised.run.err == f"pyinit: web cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert supervised.run.lines == []
    assert not path.exists()
    assert not supervised.control.exists()


def test_port_of_two_apps(supervise: Supervise) -> None:
    """Whose it is, is said."""
    listen = [{"host": "127.0.0.1", "port": free_port()}]
    supervised = supervise(worker("one", listen=listen), worker("two", listen=listen))
    assert supervised.run.wait() == 125
    assert supervised.run.err.endswith(": the app one listens there\n")


@pytest.mark.parametrize("host", ["a..b", "127.0.0.300", "a" * 70 + ".example", "a\0b"])
def test_host_that_is_none(host: str, supervise: Supervise) -> None:
    """In a spec written by hand: a line all the same."""
    supervised = supervise(worker("web", listen=[{"host": host, "port": 80}]))
    assert supervised.run.wait() == 125
    assert supervised.run.err.startswith("pyinit: web cannot listen on ")
    assert supervised.run.err.count("\n") == 1


def test_port_is_open_before_its_worker_is_started(supervise: Supervise, tmp_path: Path) -> None:
    """Whoever connects while others are waited for is served once it is there. Also of an app that is not started yet."""
    ports, flag = [free_port(), free_port()], tmp_path / "go"
    code = "import socket\ns = socket.socket(fileno=3)\ns.setblocking(True)\nready()\nc, _ = s.accept(); c.sendall(b'x'); forever()"
    late, asleep = (
        worker(name, code, listen=[{"host": "127.0.0.1", "port": port}], **keys)
        for name, port, keys in (("late", ports[0], {"after": ["db"]}), ("asleep", ports[1], {"autostart": False}))
    )
    db = worker("db", f"say('up')\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\nforever()")
    supervised = supervise(late, asleep, db)
    supervised.run.wait_out("db:0 | up")
    assert supervised.pids("late", "asleep") == []
    with (
        socket.create_connection(("127.0.0.1", ports[0])) as one,
        socket.create_connection(("127.0.0.1", ports[1])) as two,
    ):
        flag.touch()
        assert one.recv(1) == b"x"
        supervised.do("start", "asleep")
        assert two.recv(1) == b"x"


# --- size ---

HEAVY = {
    "asyncio",
    "dataclasses",
    "logging",
    "pathlib",
    "random",
    "signal",
    "site",
    "subprocess",
    "tempfile",
    "threading",
    "typing",
}


def test_what_is_imported(supervise: Supervise) -> None:
    """In a life with a reload, logs and a control client: the standard library alone, and little of it."""
    supervised = supervise(worker("web", "say('up'); forever()"), flags=("-X", "importtime")).ready()
    for word in ("reload", "list", "logs", "describe", "stop", "kill"):
        supervised.do(word)
    supervised.run.wait()
    names = [
        line.rpartition("|")[2].strip() for line in supervised.run.err.splitlines() if line.startswith("import time:")
    ]
    loaded = {name.partition(".")[0] for name in names}
    assert {"select", "json", "pyinit"} <= loaded, "the list is empty"
    assert loaded & HEAVY == set()
    assert loaded - {"pyinit"} - set(sys.stdlib_module_names) <= {"imported package", "zipimport"}


def test_sleeps(supervise: Supervise) -> None:
    """No wake-up while nothing happens."""
    supervised = supervise(worker("web", instances=2)).ready()
    pid = supervised.run.pid
    until(lambda: processes.state(pid) == "S", 10, "its sleep")
    before = processes.switches(pid)
    time.sleep(2)  # that nothing happens can only be watched
    assert processes.switches(pid) == before


def test_memory(supervise: Supervise) -> None:
    """At most 22 MB resident and 10 MB of its own, with two workers that have been reloaded."""
    supervised = supervise(worker("web", "say('x' * 1000); forever()", instances=2)).ready()
    supervised.do("reload")
    pid = supervised.run.pid
    resident = int(processes.status(pid)["VmRSS"].split()[0])
    assert (resident <= 22_000, processes.private_dirty(pid) <= 10_000) == (True, True), (
        resident,
        processes.private_dirty(pid),
    )
