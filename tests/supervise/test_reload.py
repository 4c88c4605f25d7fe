"""Reload: the new one first, and a way back."""

import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyinit.supervise import watch
from support import processes
from support.supervised import Json, Supervised, app, worker
from support.waiting import until

Supervise = Callable[..., Supervised]

SERVER = """
import select, socket
listener = socket.socket(fileno=int(os.environ.get("FD", "3")))
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
on_term(lambda: None)
ready()
while reader not in select.select([listener, reader], [], [])[0]:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        continue  # another one was faster
    connection.settimeout(10)
    connection.recv(4096)
    body = str(os.getpid()).encode()
    connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    connection.close()
leave()
"""
"""A server that takes one connection at a time and finishes it before it leaves."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def load(port: int) -> Iterator[list[str]]:
    """Requests without a pause; what went wrong."""
    failures: list[str] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            try:
                get(port)
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("surge", [0, 2])
def test_nothing_is_refused_meanwhile(supervise: Supervise, surge: int) -> None:
    """Every worker is replaced, and every request answered: the queue of the socket is never closed."""
    port = free_port()
    web = worker("web", SERVER, instances=2, surge=surge, listen=[{"host": "127.0.0.1", "port": port}])
    supervised = supervise(web).ready()
    with load(port) as failures:
        for _ in range(3):
            before = supervised.pids()
            assert supervised.do("reload")["swapped"] == 2
            assert not set(before) & set(supervised.pids())
            assert len(supervised.pids()) == 2
    assert failures == []


def test_load_notices_a_restart_that_closes_the_port(supervise: Supervise) -> None:
    """The detector's negative control: a server with a socket of its own, restarted."""
    port = free_port()
    own = (
        f"import socket\ns = socket.create_server(('127.0.0.1', {port}))\nos.environ['FD'] = str(s.detach())\n" + SERVER
    )
    supervised = supervise(worker("web", own)).ready()
    with load(port) as failures:
        supervised.do("restart")
        until(lambda: failures, 10, "a failure")


def test_new_one_that_crashes(supervise: Supervise, tmp_path: Path) -> None:
    """The old one stays, the command fails in words, and a later one succeeds."""
    flag = tmp_path / "broken"
    code = f"if os.path.exists({str(flag)!r}): leave(3)\nforever()"
    supervised = supervise(worker("web", code, instances=2)).ready()
    before = supervised.pids()
    flag.touch()
    answer = supervised.ask("reload")
    assert answer["ok"] is False
    assert answer["error"] == "web:0 did not get ready: ended: exit 3; its predecessor stays"
    assert supervised.pids() == before
    assert supervised.states() == ["ready", "ready"]
    assert processes.children(supervised.run.pid) == sorted(before)
    flag.unlink()
    assert supervised.do("reload")["swapped"] == 2


def test_new_one_that_does_not_get_ready(supervise: Supervise, tmp_path: Path) -> None:
    """It is stopped after its time, and has its grace."""
    flag = tmp_path / "slow"
    code = f"if os.path.exists({str(flag)!r}):\n    on_term(lambda: (say('asked'), leave()))\n    while True: signal.pause()\nforever()"
    supervised = supervise(worker("web", code, ready_timeout=0.3)).ready()
    before = supervised.pids()
    flag.touch()
    answer = supervised.ask("reload")
    assert answer["error"] == "web:0 did not get ready: not ready in 0.3 s; its predecessor stays"
    assert supervised.pids() == before
    assert supervised.run.lines == ["web:0 | asked"]


def test_going_on_anyway(supervise: Supervise) -> None:
    """What PM2 does when a file says so: not ready in time is ready."""
    silent = worker("web", "signal.pause()", ready_timeout=0.2, ready_required=False)
    supervised = supervise(silent).ready()
    assert supervised.do("reload")["swapped"] == 1


def test_second_reload_is_refused_in_words(supervise: Supervise) -> None:
    """As is a restart; stop is not."""
    supervised = supervise(worker("web", "time.sleep(0.5); forever()"), worker("other")).ready()
    with supervised.talk() as first:
        first.send(do="reload", select=["web"])
        until(lambda: len(supervised.rows("web")) == 2, 10, "the new one")
        for word in ("reload", "restart", "start"):
            assert (
                supervised.ask(word, "all")["error"]
                == f"{word}: reload of web is still going on; wait for it, or stop web"
            )
        assert supervised.do("restart", "other")
        assert supervised.do("stop", "web")
        answer = first.answer()
    assert answer["error"] == "reload was given up: stop came"
    assert supervised.states("web") == ["stopped"]
    assert processes.children(supervised.run.pid) == supervised.pids("other")


def test_whoever_asked_has_gone(supervise: Supervise) -> None:
    """The reload goes on."""
    supervised = supervise(worker("web", instances=3)).ready()
    before = supervised.pids()
    supervised.talk().send(do="reload").close()
    until(lambda: not set(supervised.pids()) & set(before), 20, "other workers")


def test_old_one_ends_by_itself_meanwhile(supervise: Supervise, tmp_path: Path) -> None:
    """There is one worker in its place in the end, whoever came first."""
    flag = tmp_path / "slow"
    code = f"time.sleep(os.path.exists({str(flag)!r}) and 0.7)\nforever()"
    supervised = supervise(worker("web", code)).ready()
    (old,) = supervised.pids()
    flag.touch()
    with supervised.talk() as talk:
        talk.send(do="reload")
        until(lambda: len(supervised.rows()) == 2, 10, "the new one")
        os.kill(old, 9)
        assert talk.answer()["ok"]
    until(lambda: len(supervised.rows()) == 1, 10, "one worker")
    assert supervised.states() == ["ready"]
    assert len(processes.children(supervised.run.pid)) == 1


def test_reload_starts_what_has_stopped(supervise: Supervise) -> None:
    """startOrReload, for a place that is empty."""
    supervised = supervise(worker("web", instances=2)).ready()
    supervised.do("stop", "0")
    assert supervised.do("reload")["swapped"] == 2
    assert supervised.states() == ["ready", "ready"]


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.25, 0.4, 0.6])
def test_term_during_a_reload(supervise: Supervise, delay: float) -> None:
    """Wherever it stands: everybody is stopped, nobody is left, and the exit is clean."""
    code = "time.sleep(0.2); on_term(lambda: (time.sleep(0.1), leave())); forever()"
    supervised = supervise(worker("web", code, instances=2)).ready()
    with supervised.talk() as talk:
        talk.send(do="reload")
        time.sleep(delay)  # the moment is what is tried, not waited for
        supervised.run.send("TERM")
        assert supervised.run.wait() == 0
    assert supervised.run.left == []


def test_hup_reloads_everything(supervise: Supervise) -> None:
    """As nginx and gunicorn do."""
    supervised = supervise(worker("web"), worker("other")).ready()
    before = supervised.pids()
    supervised.run.send("HUP")
    until(
        lambda: not set(supervised.pids()) & set(before) and supervised.states() == ["ready", "ready"], 20, "new ones"
    )


def test_apply(supervise: Supervise) -> None:
    """New values, new apps, more instances; what is wrong changes nothing."""
    supervised = supervise(worker("web", "say(os.environ.get('V')); forever()")).ready()

    def web(value: str, **keys: int) -> Json:
        made = worker("web", "say(os.environ.get('V')); forever()", **keys)
        made["environment"]["V"] = value
        return made

    assert supervised.apply(web("2", instances=2), worker("new"))["ok"]
    assert [row["name"] for row in supervised.rows()] == ["web", "web", "new"]
    assert sorted(supervised.run.lines) == ["web:0 | 2", "web:0 | None", "web:1 | 2"]
    before = supervised.pids()
    answer = supervised.apply(web("3", grace=-1))
    assert (
        answer["error"]
        == "apply: app 'web': grace is -1; write seconds, 0 or more, or null for a time without end; nothing was changed"
    )
    assert supervised.apply(worker("web", after=["nobody"]))["error"].endswith("nothing was changed")
    assert supervised.pids() == before
    broken = supervised.apply(worker("web", "leave(1)"))
    assert "did not get ready: ended: exit 1; its predecessor stays" in broken["error"]
    assert supervised.pids() == before


def test_apply_of_another_port(supervise: Supervise) -> None:
    """The new one serves, and nobody waits at the old one for ever."""
    old, new = free_port(), free_port()
    supervised = supervise(worker("web", SERVER, listen=[{"host": "127.0.0.1", "port": old}])).ready()
    assert get(old)
    assert supervised.apply(worker("web", SERVER, listen=[{"host": "127.0.0.1", "port": new}]))["ok"]
    assert get(new)
    with pytest.raises(ConnectionRefusedError):
        get(old)


def test_apply_of_a_port_that_is_taken(supervise: Supervise) -> None:
    """Nothing is changed, and what could be opened is closed again. As with a new one that does not get ready."""
    port, other = free_port(), free_port()
    supervised = supervise(worker("web", SERVER, listen=[{"host": "127.0.0.1", "port": port}])).ready()
    before = supervised.pids()

    def apply(*ports: int, code: str = SERVER) -> Json:
        listen = [{"host": "127.0.0.1", "port": one} for one in ports]
        answer = supervised.apply(worker("web", code, listen=listen), worker("more"))
        assert answer["ok"] is False
        assert supervised.pids("web") == before
        assert get(port) == str(before[0])
        with pytest.raises(ConnectionRefusedError):
            get(other)
        return answer

    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        said = f"apply: web cannot listen on 127.0.0.1:{taken}: Address already in use; nothing was changed"
        assert apply(other, port, taken)["error"] == said
    assert len(supervised.rows()) == 1
    assert "predecessor stays" in apply(other, code="leave(1)")["error"]
    supervised.do("reload", "web")
    assert get(port)


def test_scale(supervise: Supervise) -> None:
    """Up, down, by difference; the lowest number that is free is used again."""
    supervised = supervise(worker("web")).ready()
    for to, count in (("3", 3), ("-1", 2), ("+2", 4), ("1", 1)):
        supervised.do("scale", "web", to=to)
        assert [row["instance"] for row in supervised.rows()] == list(range(count))
        assert len(processes.children(supervised.run.pid)) == count
    for to in ("0", "many", "-1", "", "1e3"):
        assert not supervised.ask("scale", "web", to=to)["ok"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU here")
def test_as_many_as_there_are_cpus(supervise: Supervise) -> None:
    """`max` is counted again by reload, a file, HUP and scale: here after the CPUs that we may use have changed."""
    every = os.sched_getaffinity(0)
    supervised = supervise(worker("web", instances="max"), worker("two", instances=2)).ready()

    def allow(*cpus: int) -> int:
        os.sched_setaffinity(supervised.run.pid, cpus)
        return len(cpus)

    def count() -> int:
        return len(supervised.rows("web"))

    assert count() == len(every)
    number = allow(min(every))
    time.sleep(0.1)  # that nothing happens can only be watched
    assert count() == len(every)
    supervised.do("reload", "two")
    assert count() == len(every)
    supervised.do("reload", "web")
    until(lambda: count() == number, 20, "those that are too many to leave")
    number = allow(*every)
    assert supervised.apply(worker("web", instances="max"), worker("two", instances=2))["ok"]
    assert count() == number
    number = allow(max(every))
    supervised.run.send("HUP")
    until(lambda: count() == number, 20, "the same")
    number = allow(*every)
    supervised.do("scale", "web", to="max")
    assert count() == number


def test_probe_of_an_address_is_not_for_two(supervise: Supervise) -> None:
    """The old one would answer for the new one."""
    port = free_port()
    code = f"import socket\ns = socket.create_server(('127.0.0.1', {port}))\nforever()"
    ready = {"kind": "tcp", "host": "127.0.0.1", "port": port}
    supervised = supervise(worker("web", code, ready=ready)).ready()
    assert "two cannot both have; restart it" in supervised.ask("reload")["error"]
    (old,) = supervised.pids()
    assert supervised.apply(worker("web", code, ready=ready, grace=3))["ok"]
    (row,) = supervised.rows()
    assert (row["state"], row["restarts"]) == ("ready", 0)
    assert row["pid"] != old
    supervised.run.send("HUP")
    until(lambda: supervised.pids() not in ([], [row["pid"]]) and supervised.states() == ["ready"], 20, "its successor")
    supervised.run.wait_err("web:0 is stopped before its successor starts: there cannot be two")
    supervised.do("restart")


def test_queue_worker_that_never_listens(supervise: Supervise) -> None:
    """Ready is `listening`, and nothing listens: alive for long enough is then ready, from the first reload on at once."""
    silent = app("queue", ["sleep", "1000"], node=True, ready={"kind": "listening"}, ready_timeout=0.3, min_uptime=0.1)
    supervised = supervise(silent).ready()
    supervised.run.wait_err("queue:0 listens on no port: from now on it is ready when it is alive for 0.1 s")
    began = time.monotonic()
    supervised.do("reload")
    assert time.monotonic() - began < 15


# --- replacements that nobody asked for ---


def test_memory_limit(supervise: Supervise) -> None:
    """Replaced with the new one first, before the kernel has to do it."""
    code = "signal.signal(10, lambda *_: held.append(b'x' * 60_000_000)); held = []; forever()"
    supervised = supervise(worker("web", code, memory_limit=50_000_000), worker("other")).ready()
    (pid,) = supervised.pids("web")
    supervised.do("signal", "web", signal="USR1")
    until(
        lambda: supervised.pids("web") not in ([], [pid]) and supervised.states("web") == ["ready"],
        20,
        "its replacement",
    )
    supervised.run.wait_err("web:0 uses [0-9]+ MiB, more than its memory limit of 47 MiB, and is replaced")


def test_change_while_it_restarts(supervise: Supervise, tmp_path: Path) -> None:
    """The second of two quick edits is the one that counts: what runs in the end has read it."""
    file, go = tmp_path / "server.py", tmp_path / "go"
    file.write_text("one", encoding="ascii")
    go.touch()
    code = (
        f"text = open({str(file)!r}).read(); say('read', text)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "forever()"
    )
    supervised = supervise(worker("web", code, watch=[str(file)])).ready()
    go.unlink()
    until(
        lambda: (
            file.write_text(f"two {time.monotonic()}", encoding="ascii")
            and any("read two" in line for line in supervised.run.lines)
        ),
        20,
        "a restart, which waits",
    )
    file.write_text("three", encoding="ascii")
    last = time.monotonic() + 2 * watch.PAUSE  # at least one look comes while the restart is going on
    until(lambda: time.monotonic() > last, 20, "a look at the files")
    go.touch()
    until(lambda: "web:0 | read three" in supervised.run.lines, 20, "a worker that has read the second edit")


def test_watch(supervise: Supervise, tmp_path: Path) -> None:
    """Restarted when a file changes; nothing is looked at where nobody asks for it."""
    file = tmp_path / "server.py"
    file.touch()
    supervised = supervise(worker("web", watch=[str(tmp_path / "server.py")])).ready()
    (pid,) = supervised.pids()
    until(
        lambda: file.write_text(str(time.monotonic()), encoding="ascii") and supervised.pids() not in ([], [pid]),
        20,
        "a restart",
    )
    supervised.run.wait_err("files of web have changed: restarting it")
