"""What `pyinitctl start` costs and what it breaks, beside PM2: the same files of applications, in pairs, one after the other in turn.

Each measurement looks for what would make it worthless: an answer that is none, a reload that replaced nobody. That is a fault, and said.
"""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench import broken
from bench.common import BrokenError, Faults, Progress, in_turn, wait_for
from bench.load import REQUEST
from bench.loading import Loading
from bench.report import Bar, Measured, Row
from bench.supervisors import ALONE, OURS, PM2, PROGRAMS, Alone, Ours, Pm2, Subject, Tools, free_port, pythons
from support import processes

CONNECTIONS = 20
MEGABYTE = 1024  # in /proc's kB
KNOCK, KNOCK_AGAIN = 0.001, 0.02
"""How soon the next connection asks, in seconds, after a refusal and while one waits."""


compared = partial(Row, reference=PM2)


@contextlib.contextmanager
def both(tools: Tools, instances: int = 2) -> Iterator[list[Subject]]:
    """The two that run Node applications; one, where PM2 is not here."""
    with contextlib.ExitStack() as stack:
        subjects: list[Subject] = [stack.enter_context(Ours(tools, instances))]
        if tools.pm2 is not None:
            subjects.append(stack.enter_context(Pm2(tools, instances)))
        yield subjects


# --- speed ---


@dataclass(frozen=True)
class Blow:
    """What wrk says of one run. The time is in milliseconds; `busiest` is how many connections the busiest worker had in its middle."""

    rate: float
    p99: float
    errors: str
    busiest: int = 0


WRK_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def read_wrk(text: str) -> Blow:
    """Raises BrokenError when that is no report of wrk's."""
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    if rate is None or p99 is None:
        raise BrokenError(f"wrk does not say what it measured: {text.strip()[-300:]}")
    errors = re.findall(r"^\s+(Socket errors: .*|Non-2xx or 3xx responses: .*)$", text, re.MULTILINE)
    return Blow(float(rate[1]), float(p99[1]) * WRK_UNITS[p99[2]], "; ".join(errors))


def throughput(tools: Tools, rounds: int, seconds: int, faults: Faults, progress: Progress) -> Measured:
    """Requests a second and p99 by wrk with 20 connections: that are kept, and then a new one for each request."""
    kept, each = f"{CONNECTIONS} connections kept", "a connection for each request"
    with both(tools) as subjects:
        of_kept = _blows(subjects, kept, rounds, seconds, faults, progress)
        of_each = _blows(subjects, each, rounds, seconds, faults, progress, "-H", "Connection: close")
    busiest = {name: [float(blow.busiest) for blow in taken] for name, taken in of_kept.items()}
    return [
        _rates(each, of_each, Bar(least=1.8, of=(PM2,))),
        _p99s(each, of_each, {OURS: Bar(0.8, of=(PM2,))}),
        _rates(kept, of_kept, Bar(least=0.97, of=(PM2,))),
        _p99s(kept, of_kept, {}),
        compared(f"{kept}: the busier worker's", "", 0, busiest, with_ratio=False),
    ], [f"requests/s: by wrk with one thread, {rounds} pairs of {seconds} s in alternation, 2 workers"]


def _rates(title: str, blows: dict[str, list[Blow]], bar: Bar) -> Row:
    rates = {name: [blow.rate for blow in taken] for name, taken in blows.items()}
    return compared(f"{title}: requests/s", "", 0, rates, bars={OURS: bar})


def _p99s(title: str, blows: dict[str, list[Blow]], bars: dict[str, Bar]) -> Row:
    p99s = {name: [blow.p99 for blow in taken] for name, taken in blows.items()}
    return compared(f"{title}: p99", "ms", 2, p99s, bars=bars)


def _blows(
    subjects: list[Subject], title: str, rounds: int, seconds: int, faults: Faults, progress: Progress, *options: str
) -> dict[str, list[Blow]]:
    blows: dict[str, list[Blow]] = {subject.name: [] for subject in subjects}
    for i in range(-1, rounds):  # one to warm up
        for subject in in_turn(subjects, i):
            progress(f"{title}, {subject.name}, {max(i, 0)}/{rounds}")
            blow = _wrk(subject, seconds if i >= 0 else 1, options)
            if blow.errors:
                faults.append(f"{title}: {subject.name}: wrk says: {blow.errors}")
            if i >= 0:
                blows[subject.name].append(blow)
    return blows


def _wrk(subject: Subject, seconds: int, options: Sequence[str]) -> Blow:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *options]
    try:
        wrk = subprocess.Popen([*command, f"http://127.0.0.1:{subject.port}/"], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise BrokenError("there is no wrk here: install Debian's package wrk") from None
    busiest = 0
    if not options:  # else there are none to be counted, but ten thousands that wait for their time to be over
        time.sleep(seconds / 2)
        busiest = max(_connections(worker, subject.port) for worker in subject.workers)
    out, _ = wrk.communicate(timeout=seconds + 60)
    return replace(read_wrk(out), busiest=busiest)


def _connections(pid: int, port: int) -> int:
    """How many established connections to a port a process holds (proc_net_tcp(5))."""
    established = set()
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port and words[3] == "01":
            established.add(f"socket:[{words[9]}]")
    return len(established.intersection(processes.descriptors(pid).values()))


# --- reloads ---


@dataclass
class Served:
    """What became of the requests during some reloads, and the seconds of each, up to the end of the last old worker."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)


def _reload_under_load(
    subject: Subject, served: Served, requests: int, reloads: int, faults: Faults, show: Progress
) -> None:
    """So many reloads, spread over so many requests."""
    with Loading(subject.port, CONNECTIONS) as loading:
        for i in range(reloads):
            loading.reach(requests * (2 * i + 1) // (2 * reloads), 60)
            show(f"{loading.requests:,} requests, reload {i + 1}/{reloads}")
            before = set(subject.workers)
            began = time.monotonic()
            subject.reload()
            try:
                subject.await_end(before)
            except BrokenError:
                faults.append(f"{subject.name}: a reload left old workers in their places")
            served.took.append(time.monotonic() - began)
        if not loading.reach(requests, 120):
            show("that takes too long: on with the next")
    served.requests += loading.account.requests
    served.failures.update(loading.account.failures)


def reloads_of_node(
    tools: Tools, requests: int, reloads: int, blocks: int, faults: Faults, progress: Progress
) -> Measured:
    """Failed requests while Node workers are replaced: connections that are kept, and never a pause."""
    with both(tools) as subjects:
        found = {subject.name: Served() for subject in subjects}
        for i in range(blocks):
            for subject in in_turn(subjects, i):
                show = _prefixed(progress, f"Node, {subject.name}, {i + 1}/{blocks}")
                served = found[subject.name]
                _reload_under_load(subject, served, requests // blocks, reloads // blocks, faults, show)
    return _served("Node", found, Bar(0), Bar(least=requests))


def _prefixed(progress: Progress, prefix: str) -> Progress:
    return lambda words: progress(f"{prefix}: {words}")


@dataclass(frozen=True)
class Server:
    """A server in Python: what is in apps.toml for it, and how it does its own reload."""

    title: str
    app: str
    alone: tuple[str, ...]


GUNICORN = ("gunicorn", "--workers", "2", "--chdir", str(PROGRAMS), "--log-level", "warning")
GTHREAD = ("--worker-class", "gthread", "--threads", "16")
UVICORN = ("uvicorn", "--app-dir", str(PROGRAMS), "--no-access-log", "app:asgi")

NOTIFY = 'ready = "notify"'
LOG = 'instances = 2\nready = { log = "Application startup complete" }'

SERVERS = (
    Server(
        "gunicorn gthread",
        f"command = {[*GUNICORN, *GTHREAD, 'app:wsgi']}\n{NOTIFY}",
        (*GUNICORN, *GTHREAD, "app:wsgi"),
    ),
    Server("gunicorn sync", f"command = {[*GUNICORN, 'app:wsgi']}\n{NOTIFY}", (*GUNICORN, "app:wsgi")),
    Server("uvicorn", f"command = {[*UVICORN, '--fd', '3']}\n{LOG}", (*UVICORN, "--workers", "2")),
)


def reloads_of_python(
    tools: Tools, server: Server, requests: int, reloads: int, faults: Faults, progress: Progress
) -> Measured:
    """The same for a server in Python, beside its own reload at HUP. gunicorn is to lose none, uvicorn no more than by itself."""
    if tools.servers is None:
        return [], []
    is_gunicorn = server.title.startswith("gunicorn")

    def alone(port: int) -> list[str]:
        return [*server.alone, *(("--bind", f"127.0.0.1:{port}") if is_gunicorn else ("--port", str(port)))]

    subjects: list[Subject] = [
        Ours(tools, file=lambda port: f'[apps.web]\n{server.app}\nlisten = ["127.0.0.1:{port}"]\n'),
        Alone(tools, alone),
    ]
    found = {}
    for subject in subjects:
        with subject:
            found[subject.name] = served = Served()
            show = _prefixed(progress, f"{server.title}, {subject.name}")
            _reload_under_load(subject, served, requests, reloads, faults, show)
    return _served(server.title, found, Bar(0 if is_gunicorn else found[ALONE].failures.total()))


def _served(title: str, found: dict[str, Served], bar: Bar, least: Bar | None = None) -> Measured:
    reloads = max(len(served.took) for served in found.values())
    failed = {name: [float(served.failures.total())] for name, served in found.items()}
    requests = {name: [float(served.requests)] for name, served in found.items()}
    notes = []
    for name, served in found.items():
        if kinds := ", ".join(f"{count} {kind}" for kind, count in served.failures.items()):
            notes.append(f"failed requests, {title}, {name}: {kinds}")
    return [
        compared(f"{title}: failed requests in {reloads} reloads", "", 0, failed, bars={OURS: bar}, with_ratio=False),
        compared(
            f"{title}: requests meanwhile", "", 0, requests, bars={OURS: least} if least else {}, with_ratio=False
        ),
        compared(f"{title}: a reload", "s", 2, {name: served.took for name, served in found.items()}),
    ], notes


def control(requests: int, faults: Faults, progress: Progress) -> Measured:
    """The load generator against servers that break one request in a thousand: it is to count each, as what it is."""
    total = counted = 0
    for way in broken.WAYS:
        progress(f"the load generator's control: {way}")
        with broken.Broken(way, 1000) as server:
            with Loading(server.port, CONNECTIONS) as loading:
                loading.reach(requests, 60)
            total += server.broke
            counted += loading.account.failures.get(way, 0)
            if loading.account.failures != {way: server.broke}:
                faults.append(f"of {server.broke} broken ({way}) the load generator counted {loading.account.failures}")
    kinds = ", ".join(broken.WAYS)
    return [], [
        f"failed requests: of {total} that servers broke by intent ({kinds}), one in 1,000, the load generator counted {counted}"
    ]


# --- memory ---


def memory(tools: Tools, rounds: int, progress: Progress) -> Measured:
    """RSS and private dirty of the supervisor alone, and the shares (PSS) of its whole tree, after some thousand requests."""
    kinds = pythons()
    rss: dict[str, dict[str, list[float]]] = {title: {OURS: []} for title in kinds}
    dirty: dict[str, dict[str, list[float]]] = {title: {OURS: []} for title in kinds}
    tree: dict[str, list[float]] = {OURS: []}
    theirs: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        for title, python in kinds.items():
            progress(f"memory with {title}, {i + 1}/{rounds}")
            with Ours(tools, python=python) as ours:
                _warm_up(ours)
                seen = processes.memory(ours.supervisor)
                rss[title][OURS].append(seen["Rss"] / MEGABYTE)
                dirty[title][OURS].append(seen["Private_Dirty"] / MEGABYTE)
                if title == next(reversed(kinds)):
                    tree[OURS].append(_shares(ours))
        if tools.pm2 is not None:
            progress(f"memory of PM2, {i + 1}/{rounds}")
            with Pm2(tools) as pm2:
                _warm_up(pm2)
                seen = processes.memory(pm2.supervisor)
                theirs[0].append(seen["Rss"] / MEGABYTE)
                theirs[1].append(seen["Private_Dirty"] / MEGABYTE)
                tree.setdefault(PM2, []).append(_shares(pm2))
    rows = []
    for title in kinds:
        if tools.pm2 is not None:
            rss[title][PM2], dirty[title][PM2] = theirs
        rows += [
            compared(f"RSS of the supervisor, {title}", "MB", 1, rss[title], bars={OURS: Bar(22)}),
            compared(f"private dirty, {title}", "MB", 1, dirty[title], bars={OURS: Bar(10)}),
        ]
    rows.append(compared("the whole tree with 2 workers (PSS)", "MB", 1, tree))
    return rows, []


def _warm_up(subject: Subject) -> None:
    with Loading(subject.port, CONNECTIONS) as loading:
        loading.reach(2000, 60)
    wait_for(lambda: _is_asleep(subject.supervisor), f"{subject.name} to fall asleep")


def _is_asleep(pid: int) -> bool:
    before = processes.cpu(pid)
    time.sleep(0.5)
    return processes.cpu(pid) == before


def _shares(subject: Subject) -> float:
    return sum(processes.memory(pid)["Pss"] for pid in {*subject.own, *subject.workers}) / MEGABYTE


# --- idle ---


def idle(tools: Tools, seconds: int, progress: Progress) -> Measured:
    """CPU time of all that is the supervisor's own, in one and the same window."""
    with both(tools) as subjects:
        for subject in subjects:
            _warm_up(subject)
        before = [_cpu(subject) for subject in subjects]
        for i in range(seconds):
            progress(f"idle {i}/{seconds} s")
            time.sleep(1)
        after = [_cpu(subject) for subject in subjects]
    used = {subject.name: [(b - a) / 1e6] for subject, a, b in zip(subjects, before, after, strict=True)}
    title = f"CPU time of the supervisor in {seconds} s idle"
    return [compared(title, "ms", 2, used, bars={OURS: Bar(5)})], []


def _cpu(subject: Subject) -> int:
    return sum(processes.cpu(pid) for pid in subject.own)


# --- crashes ---


def crashes(tools: Tools, rounds: int, progress: Progress) -> Measured:
    """From SIGKILL to the first answer of the replacement, and from a direct start to the first answer, in milliseconds."""
    with both(tools, instances=1) as subjects:
        ways: dict[str, Callable[[], float]] = {
            ALONE: lambda: _direct_start(tools),
            **{subject.name: lambda subject=subject: _crash(subject) for subject in subjects},  # type: ignore[misc]
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(-1, rounds):
            progress(f"crash {max(i, 0)}/{rounds}")
            for name in in_turn(list(ways), i):
                ms = ways[name]()
                if i >= 0:
                    took[name].append(ms)
    rows = [compared("crash to its replacement's first answer", "ms", 1, took, bars={OURS: Bar(1.15, of=(ALONE,))})]
    return rows, [f"crash: {ALONE} is the start of `node server.js`, to its first answer"]


def _crash(subject: Subject) -> float:
    wait_for(lambda: len(subject.workers) == 1, f"the only worker of {subject.name}")
    [victim] = subject.workers
    began = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    ms = _first_answer(subject.port, began, subject.name, but=victim)
    subject.settle()
    return ms


def _direct_start(tools: Tools) -> float:
    environment = {"PATH": os.environ["PATH"], "PORT": str(free_port())}
    began = time.monotonic_ns()
    node = subprocess.Popen(
        [tools.node, "server.js"],
        cwd=PROGRAMS,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return _first_answer(int(environment["PORT"]), began, ALONE)
    finally:
        node.kill()
        node.wait()


def _first_answer(port: int, began: int, name: str, but: int = 0) -> float:
    """Milliseconds from then to the first answer of anybody else.

    Another connection asks soon after one was refused, and in a while where one waits: what a dying worker was given may never be
    answered. Not often then, for those that wait are work for the worker that comes.
    """
    open_ones: dict[int, socket.socket] = {}
    poll = select.epoll()
    try:
        while time.monotonic_ns() - began < 30e9:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            one.connect_ex(("127.0.0.1", port))
            open_ones[one.fileno()] = one
            poll.register(one, select.EPOLLOUT)
            asked = time.monotonic()
            while (left := asked + (KNOCK_AGAIN if open_ones else KNOCK) - time.monotonic()) > 0:
                for fd, events in poll.poll(left):
                    if events & select.EPOLLOUT and not events & select.EPOLLERR:
                        with contextlib.suppress(OSError):
                            open_ones[fd].send(REQUEST)
                        poll.modify(fd, select.EPOLLIN)
                        continue
                    answer = _received(open_ones[fd])
                    if answer not in (b"", b"%d\n" % but):
                        return (time.monotonic_ns() - began) / 1e6
                    poll.unregister(fd)
                    open_ones.pop(fd).close()
        raise BrokenError(f"{name}: no answer within 30 s of a start")
    finally:
        poll.close()
        for one in open_ones.values():
            one.close()


def _received(connection: socket.socket) -> bytes:
    """The body of the answer that has come; empty when it was none."""
    try:
        head, _, body = connection.recv(4096).partition(b"\r\n\r\n")
    except OSError:
        return b""
    return body if head[9:12] == b"200" else b""
