"""The hands: one loop, one blocking select; fork, reap, signal, read, write; and do what the fleet says.

Signals come through the wake-up descriptor, ends of children through waitpid(-1), everything else through descriptors that are
ready. Nothing in the loop waits for anybody else: not for a reader, not for a client, not for a worker. It wakes up only when
something happens, or when a deadline, a memory limit, a probe or a cron entry is due.

Rejected: asyncio (7 MB, and a child watcher that has to be worked around), threads (fork), psutil.
"""

import _signal
import errno
import os
import selectors
import socket
import sys
import time

from pyinit.init import forensics, program, signals
from pyinit.init.report import Report
from pyinit.supervise import cgroup, control, fleet, logs, machine, notify, process, ready, watch
from pyinit.supervise.fleet import Fleet, Worker
from pyinit.supervise.sockets import Sockets
from pyinit.supervise.spec import DESCRIPTOR, FOREVER, HTTP, LISTENING, LOG, MESSAGE, NOTIFY, TCP
from pyinit.supervise.words import JOBS, WORDS, Call

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from pyinit.supervise.channel import Channel
    from pyinit.supervise.control import Client
    from pyinit.supervise.spec import App, Spec

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
STOP_SIGNALS = (signals.TERM, signals.INT, signals.QUIT)
RELOAD_SIGNAL, REOPEN_SIGNAL = signals.HUP, 12  # USR2
IGNORED = (10, 14)
"""USR1 and ALRM mean nothing here, and would end the supervisor."""
NO_ROOM = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
TEMPORARY = (errno.EAGAIN, *NO_ROOM)
"""Why a process cannot be started now, and perhaps a second later."""
MEMORY_PAUSE = 2.0
"""Seconds between two looks at the memory of those that have a limit."""
MOST_READS = 16
"""Reads from one pipe before others have their turn."""
MOST_DIGITS = 20
"""Of a variable that grows from instance to instance: what is longer is no number that anybody counts with."""
LAST_WORDS = 0.5
"""Seconds that stdout's reader has at the very end."""
LISTEN_FDS_START = 3
"""sd_listen_fds(3)."""
COMPRESS = (
    "import gzip, os, shutil, sys\n"
    "os.nice(10)\n"
    "path = sys.argv[1]\n"
    "with open(path, 'rb') as plain, gzip.open(path + '.gz.part', 'wb') as small:\n"
    "    shutil.copyfileobj(plain, small, 1 << 20)\n"
    "os.rename(path + '.gz.part', path + '.gz')\n"
    "os.unlink(path)\n"
)


class Running:
    """What belongs to one process of a worker: made before the fork, closed when it has ended."""

    def __init__(self, worker: Worker, mark: str) -> None:
        self.worker: Final = worker
        self.mark: Final = mark
        self.pid = 0
        self.output: logs.Output
        self.channel: Channel | None = None
        self.signs: list[ready.Notify | ready.Descriptor | ready.Probe] = []
        self.connections = 0
        """As the preload has last told, while it drains."""
        self.environment: dict[str, str] = {}


class Supervisor:
    """One supervisor, from its start to its end."""

    def __init__(self, spec: "Spec", listener: socket.socket, report: Report) -> None:
        self.control: Final = spec.control
        self.form: Final = spec.log_form
        self.report: Final = report
        self.selector: Final = selectors.DefaultSelector()
        self.fleet: Final = Fleet(spec, chance, cgroup.cpus())
        self.console: Final = logs.Console(logs.own_description(1))
        self.running: dict[Worker, Running] = {}
        self.by_pid: dict[int, Running] = {}
        self.helpers: dict[int, str] = {}
        """Children that are no workers: they compress."""
        self.to_compress: list[str] = []
        self.files: dict[str, logs.LogFile] = {}
        self.sockets: dict[str, Sockets] = {}
        self.outputs: list[logs.Output] = []
        """Every output that has an open pipe: a worker's may outlive it."""
        self.paused: list[tuple[logs.Output, logs.Stream]] = []
        self.recent: dict[fleet.Place, logs.Recent] = {}
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self.followers: list[tuple[Client, list[str], str | None]] = []
        self.watched: dict[str, int] = {}
        """What the files of an app with `watch` looked like."""
        self.oom_kills = forensics.oom_kills() or 0
        self.status: int | None = None
        self.notifier: Final = notify.notifier()
        self.hangup_stops = any(os.isatty(fd) for fd in (0, 1, 2))
        """On a terminal, HUP means that it is gone."""
        self.listener: Final = listener
        self.watch(listener, READ, self._accept)
        self.wake_up, signal_pipe = socket.socketpair()
        self.wake_up.setblocking(False)
        signal_pipe.setblocking(False)
        self.signal_pipe: Final = signal_pipe
        _signal.set_wakeup_fd(signal_pipe.fileno(), warn_on_full_buffer=False)
        self.signalled: set[int] = set()
        """What has come; the descriptor only wakes us, for of many signals in one turn it drops some."""
        for number in (*STOP_SIGNALS, RELOAD_SIGNAL, REOPEN_SIGNAL, signals.CHLD, *IGNORED):
            _signal.signal(number, lambda came, _: self.signalled.add(came))
        self.watch(self.wake_up, READ, self._signals)

    # --- the loop ---

    def watch(self, what: "int | socket.socket | Channel", events: int, call: "Callable[[int], None]") -> None:
        """Call back when a descriptor is ready."""
        try:
            self.selector.modify(what, events, call)
        except KeyError:
            self.selector.register(what, events, call)

    def unwatch(self, what: "int | socket.socket | Channel") -> None:
        try:
            self.selector.unregister(what)
        except (KeyError, ValueError):
            pass  # was not watched

    def run(self) -> int:
        """Live until the fleet says EXIT; the exit status."""
        self.fleet.begin(time.monotonic())
        self.arm()
        self.carry_out()
        self._notify()
        while self.status is None:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end what runs
                self.report.warn(f"internal error, going on: {error!r}; please report it")
        self._finish()
        return self.status

    def _turn(self) -> None:
        deadline = min([self.fleet.deadline, *(when for when, _ in self.timers.values())])
        left = None if deadline == FOREVER else max(deadline - time.monotonic(), 0)
        self._dispatch(self.selector.select(left))
        now = time.monotonic()
        for name, (when, call) in list(self.timers.items()):
            if when <= now:
                del self.timers[name]
                call()
        if self.fleet.deadline <= now:
            self.fleet.tick(now)
        self.carry_out()
        self._console()
        self._notify()

    def _notify(self) -> None:
        if self.notifier is not None:
            self.notifier.tell(self.fleet)

    def _dispatch(self, ready: "list[tuple[selectors.SelectorKey, int]]") -> None:
        for key, events in ready:
            try:
                self.selector.get_key(key.fileobj)
            except (KeyError, ValueError):
                continue  # unwatched by one of those before it, or closed (its number is -1 then)
            key.data(events)

    def _console(self) -> None:
        """Whether stdout is waited for, and whether those who write to it are read."""
        if not self.console.can_wait:
            return
        if self.console.pending and not self.console.is_gone:
            self.watch(self.console.fd, WRITE, lambda _: self.console.flush())
        else:
            self.unwatch(self.console.fd)
        if not self.console.is_full and self.paused:
            paused, self.paused = self.paused, []
            for output, stream in paused:
                self._watch_stream(output, stream)

    def _signals(self, _: int) -> None:
        try:
            self.wake_up.recv(4096)
        except BlockingIOError:
            return
        numbers, self.signalled = self.signalled, set()
        if signals.CHLD in numbers:
            self.reap()
        now = time.monotonic()
        if numbers & set(STOP_SIGNALS) or (signals.HUP in numbers and self.hangup_stops):
            self.fleet.shut_down(now)
        elif RELOAD_SIGNAL in numbers:
            self.fleet.resize(cgroup.cpus(), now)
            if error := self.fleet.reload(None, ["all"], now, "SIGHUP"):
                self.report.warn(error)
        if REOPEN_SIGNAL in numbers:
            for file in self.files.values():
                file.reopen()

    # --- what the fleet says ---

    def carry_out(self) -> None:
        """Do everything that the fleet has decided; doing it may decide more."""
        while self.fleet.actions:
            verb, *arguments = self.fleet.actions.pop(0)
            try:
                HANDS[verb](self, *arguments)
            except Exception as error:  # noqa: BLE001 - as in `run`: the others' turn comes all the same
                self.report.warn(f"internal error in {verb}, going on: {error!r}; please report it")

    def spawn(self, worker: Worker) -> None:
        """Start a worker's process."""
        spec = worker.spec
        one = Running(worker, worker.label)
        opened: list[int] = []
        try:
            descriptors = self._descriptors(one, opened)
            one.pid = process.spawn(
                spec.command, one.environment, spec.cwd, descriptors, user=(spec.uid, spec.gid), label=worker.label
            )
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing stays open, and the worker is not taken for one that runs
            self._close(one)
            self._not_started(worker, error)
            return
        finally:
            for fd in opened:
                os.close(fd)
        self.running[worker] = one
        self.by_pid[one.pid] = one
        if one.channel is not None:
            channel = one.channel
            self.watch(channel, READ, lambda _: self._heard(one, channel))
        self.outputs.append(one.output)
        for stream in one.output.streams:
            self._watch_stream(one.output, stream)
        self.report.say(
            2, "spawn", f"started {worker.label} as PID {one.pid}", app=spec.name, instance=worker.instance, pid=one.pid
        )
        self._watch_signs(one)  # last: what the user's file names is used here, and the process is known already

    def _not_started(self, worker: Worker, error: Exception) -> None:
        """It is given up, or, where the machine has no room now, has ended in a second: then the policy decides."""
        is_plain = isinstance(error, process.StartError)
        text = str(error) if is_plain else f"cannot start {worker.label}: {getattr(error, 'strerror', None) or error}"
        status = error.status if isinstance(error, process.StartError) else program.OWN_FAILURE << 8
        if getattr(error, "errno", None) not in TEMPORARY:
            self.fleet.happened(worker, (machine.FAILED, status, text), time.monotonic())
            return
        self.report.warn(text)
        spawns = worker.spawns

        def end() -> None:
            if worker.spawns == spawns:
                self.fleet.happened(worker, (machine.ENDED, status, False), time.monotonic())

        self.timers[f"not started {worker.id} {spawns}"] = (time.monotonic() + 1, end)

    def _descriptors(self, one: Running, opened: "list[int]") -> "dict[int, int]":
        """What a process is to have open, by its number there, and its environment; `opened` is what we close after the fork."""
        worker, spec = one.worker, one.worker.spec
        self.recent = {place: recent for place, recent in self.recent.items() if place in place.app.places}
        recent = self.recent.setdefault(worker.place, logs.Recent())
        one.output = logs.Output(spec.name, worker.instance, spec.logs, self.form, self.console, recent)
        one.output.listeners.append(lambda stream, lines: self._follow(worker, stream, lines))
        environ = one.environment = environment(worker)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        opened.append(null)
        descriptors = {0: null, 1: null, 2: null}
        if not spec.logs.off:
            for number, name in ((1, logs.STDOUT), (2, logs.STDERR)):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reader, False)
                opened.append(writer)
                descriptors[number] = writer
                one.output.streams.append(logs.Stream(reader, name))
            self._open_files(one.output, spec, worker.instance)
        named = self.sockets.setdefault(spec.name, Sockets())
        number = LISTEN_FDS_START
        for address in spec.listen:
            descriptors[number] = named.named(address).fileno()
            number += 1
        if spec.listen:
            environ["LISTEN_FDS"] = str(len(spec.listen))
        kind = spec.ready["kind"]
        if kind == NOTIFY and not worker.life.by_time:
            notify = ready.Notify(worker.label)
            one.signs.append(notify)
            environ["NOTIFY_SOCKET"] = notify.address
        elif kind == DESCRIPTOR:
            sign = ready.Descriptor()
            one.signs.append(sign)
            opened.append(sign.give())
            descriptors[spec.ready["number"]] = opened[-1]
        if spec.node or spec.channel:
            from pyinit.supervise import channel

            while number in descriptors:
                number += 1
            one.channel, theirs = channel.Channel.pair()
            opened.append(theirs.detach())
            descriptors[number] = opened[-1]
            one.environment = channel.variables(environ, number, preload=spec.node)
        return descriptors

    def drain(self, worker: Worker) -> None:
        """Tell a worker to take nothing new on. Only the preload can be told; others do it when they are asked to stop."""
        one = self.running.get(worker)
        if one is not None and one.channel is not None and worker.spec.node and not one.channel.ended:
            one.channel.drain()
            self._watch_channel(one)
        else:
            self.fleet.happened(worker, (machine.DRAINED,), time.monotonic())

    def ask(self, worker: Worker) -> None:
        """The stop message or signal, to the worker alone: those below it are its own affair while it lives."""
        one = self._alive(worker)
        if one is None:
            return
        if one.connections:
            self.fleet.cut(worker, one.connections)
        if worker.spec.stop_message is not None and one.channel is not None and not one.channel.ended:
            one.channel.say(worker.spec.stop_message)
            self._watch_channel(one)
        else:
            self.signal(one, worker.spec.stop_signal)
        process.signal_child(one.pid, signals.CONT)

    def kill(self, worker: Worker) -> None:
        """SIGKILL to a worker and everybody below it."""
        one = self._alive(worker)
        if one is None:
            return
        self.signal(one, signals.KILL)
        self._kill_family(one)

    @staticmethod
    def signal(one: Running, number: int) -> None:
        """A signal to a worker that has not been reaped; it is counted."""
        process.signal_child(one.pid, number)
        counts, name = one.worker.app.signals, signals.name_of(number)
        counts[name] = counts.get(name, 0) + 1

    def _alive(self, worker: Worker) -> "Running | None":
        """A worker's process, None once it has been reaped: its number may be another's."""
        one = self.running.get(worker)
        return one if one is not None and self.by_pid.get(one.pid) is one else None

    def ask_rest(self, worker: Worker) -> None:
        """The stop signal to those that a worker has left behind."""
        one = self.running.get(worker)
        if one is None:
            return  # they have gone meanwhile
        process.send_all(lambda: self._family(one), worker.spec.stop_signal)

    def kill_rest(self, worker: Worker) -> None:
        """SIGKILL to the same; and where nobody tells us of their ends, this is when they are looked for."""
        one = self.running.get(worker)
        if one is None:
            return
        if not self._family(one):
            self._swept(one)
            return
        killed = self._kill_family(one)
        text = f"killed {killed} that {worker.label} left behind"
        self.report.say(1, "killed-rest", text, app=worker.spec.name, instance=worker.instance, count=killed)

    def _kill_family(self, one: Running) -> int:
        try:
            os.killpg(one.pid, signals.KILL)  # at once, however fast they fork
        except OSError:
            pass  # nobody is left in it
        return process.send_all(lambda: self._family(one), signals.KILL)

    def _family(self, one: Running) -> "list[forensics.Process]":
        known = {*self.by_pid, *self.helpers}
        return process.family(one.pid, one.mark, known, forensics.processes())

    def say(self, event: str, text: str, worker: "Worker | None") -> None:
        fields: dict[str, Any] = (
            {} if worker is None else {"app": worker.spec.name, "instance": worker.instance, "id": worker.id}
        )
        level = 2 if event in (machine.READY, machine.STARTING, machine.STOPPED) else 1
        self.report.say(level, event, text, **fields)

    def forget(self, name: str) -> None:
        """What was kept for an app that is no more."""
        self.recent = {place: recent for place, recent in self.recent.items() if place.app.spec.name != name}
        if (named := self.sockets.pop(name, None)) is not None:
            named.close()

    def changed(self, spec: "App") -> None:
        """An app has other values now: sockets that it does not name any more are closed."""
        if spec.name in self.sockets:
            self.sockets[spec.name].keep_named(spec.listen)
        self.arm()

    def exit(self, status: int) -> None:
        self.status = status

    # --- ends ---

    def reap(self) -> None:
        """Everyone who has ended, in one go: SIGCHLD does not queue (signal(7))."""
        ended: list[tuple[Running, int]] = []
        is_stray = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self.by_pid:
                ended.append((self.by_pid.pop(pid), status))
            elif pid in self.helpers:
                self._compressed(self.helpers.pop(pid), status)
            else:
                is_stray = True
        for one, status in ended:
            try:
                self._ended(one, status)
            except Exception as error:  # noqa: BLE001 - as in `run`: nobody will ever tell of the others' ends again
                self.report.warn(f"internal error at the end of {one.mark}, going on: {error!r}; please report it")
        if is_stray:
            for one in list(self.running.values()):
                if one.worker.life.phase == machine.SWEEPING and not self._family(one):
                    self._swept(one)

    def _ended(self, one: Running, status: int) -> None:
        worker = one.worker
        self._drain_streams(one.output)  # what it said last comes before what is said about its end
        if signals.term_signal(status) == signals.KILL and not worker.killed:
            kills = forensics.oom_kills() or 0
            if kills > self.oom_kills:
                self.oom_kills, worker.ran_out = self.oom_kills + 1, True
                worker.app.oom_kills += 1
        left = bool(self._family(one))
        self._close(one)
        if not left:
            self.running.pop(worker, None)
        self.fleet.happened(worker, (machine.ENDED, status, left), time.monotonic())
        self._release_sockets(worker)

    def _swept(self, one: Running) -> None:
        if self.running.get(one.worker) is one:
            del self.running[one.worker]
            self.fleet.happened(one.worker, (machine.EMPTY,), time.monotonic())
            self._release_sockets(one.worker)

    def _release_sockets(self, worker: Worker) -> None:
        """Once it is over: close what only it listened on. Not while another one of its app is about to start and may ask for it."""
        named = self.sockets.get(worker.spec.name)
        if not worker.is_over or named is None:
            return
        others = [other for other in self.fleet.workers() if other.app is worker.app and not other.is_over]
        if all(other in self.running for other in others):
            channels = [self.running[other].channel for other in others]
            named.keep({address for channel in channels if channel is not None for address in channel.given})

    def _close(self, one: Running) -> None:
        """Everything of a process but its output: others may hold the other end of that."""
        for sign in one.signs:
            self.unwatch(sign.fd)
            sign.close()
        one.signs = []
        self.timers.pop(f"probe {one.worker.label}", None)
        if one.channel is not None:
            self.unwatch(one.channel)
            one.channel.close()
        if not one.pid:
            for stream in one.output.streams:
                os.close(stream.fd)
            one.output.streams.clear()
            self._release_files(one.output)

    # --- readiness ---

    def _watch_signs(self, one: Running) -> None:
        kind = one.worker.spec.ready["kind"]
        for sign in one.signs:
            self._watch_sign(one, sign, READ)
        if kind == LOG:
            import re

            pattern = re.compile(os.fsencode(one.worker.spec.ready["pattern"]))

            def look(_: str, lines: bytes) -> None:
                if pattern.search(lines):
                    one.output.listeners.remove(look)
                    self._is_ready(one)

            one.output.listeners.append(look)
        elif kind in (TCP, HTTP):
            self._probe(one)

    def _sign(self, one: Running, sign: "ready.Notify | ready.Descriptor | ready.Probe") -> None:
        seen = sign.seen()
        if seen or seen is None:
            if not isinstance(sign, ready.Notify):
                self.unwatch(sign.fd)
                sign.close()
                one.signs.remove(sign)
            if seen:
                self._is_ready(one)
        elif isinstance(sign, ready.Probe):
            self._watch_sign(one, sign, READ)

    def _watch_sign(self, one: Running, sign: "ready.Notify | ready.Descriptor | ready.Probe", events: int) -> None:
        self.watch(sign.fd, events, lambda _: self._sign(one, sign))

    def _probe(self, one: Running) -> None:
        """Another attempt, in place of the last one."""
        if one.worker.life.phase != machine.STARTING or self.by_pid.get(one.pid) is not one:
            return
        for sign in one.signs:
            self.unwatch(sign.fd)
            sign.close()
        one.signs = []
        try:
            probe = ready.Probe(one.worker.spec.ready)
            one.signs = [probe]
            self._watch_sign(one, probe, WRITE)
        except (OSError, ValueError):
            pass  # no socket, or no such name yet, or none that a name could be
        self.timers[f"probe {one.worker.label}"] = (time.monotonic() + ready.PROBE_PAUSE, lambda: self._probe(one))

    def _is_ready(self, one: Running) -> None:
        self.fleet.happened(one.worker, (machine.IS_READY,), time.monotonic())

    # --- the channel ---

    def _watch_channel(self, one: Running) -> None:
        channel = one.channel
        if channel is None:
            return
        if channel.ended:
            self.unwatch(channel)
        else:
            self.watch(channel, READ | (WRITE if channel.is_waiting else 0), lambda _: self._heard(one, channel))

    def _heard(self, one: Running, channel: "Channel") -> None:
        worker, spec = one.worker, one.worker.spec
        channel.flush()
        for word, value in channel.receive():
            if word == "message":
                if spec.ready["kind"] == MESSAGE and value == spec.ready["text"]:
                    self._is_ready(one)
            elif word == "listen":
                channel.answer(value, self.sockets[spec.name].asked)
            elif word == "listening":
                worker.app.listened = True
                if spec.ready["kind"] == LISTENING:
                    self._is_ready(one)
            elif word == "draining":
                one.connections = value
                if value == 0:
                    self.fleet.happened(worker, (machine.DRAINED,), time.monotonic())
        self._watch_channel(one)

    # --- output ---

    def _open_files(self, output: logs.Output, spec: "App", instance: int) -> None:
        """The files that an output goes to. One that cannot be opened is said, and its lines go to the console."""
        chosen = {logs.STDOUT: [spec.logs.stdout], logs.STDERR: [spec.logs.stderr]}
        for stream, paths in chosen.items():
            output.to_console[stream] = paths == [None] and spec.logs.combined is None
            for path in (*paths, spec.logs.combined):
                if path in logs.CONSOLES:
                    output.to_console[stream] = True
                if path in (None, logs.NOWHERE, *logs.CONSOLES):
                    continue
                try:
                    output.files[stream].append(
                        self._file(numbered(path, instance) if spec.logs.per_instance else path, spec)
                    )
                except OSError as error:
                    output.to_console[stream] = True
                    self.report.warn(
                        f"cannot open {path} for the output of {spec.name}: {error.strerror}; it goes to stdout"
                    )

    def _file(self, path: str, spec: "App") -> logs.LogFile:
        file = self.files.get(path)
        if file is None:
            file = self.files[path] = logs.LogFile(path, spec.logs, time.monotonic, self.compress, self.report.warn)
        file.users += 1
        return file

    def _release_files(self, output: logs.Output) -> None:
        for files in output.files.values():
            for file in files:
                file.users -= 1
                if not file.users:
                    file.close()
                    self.files.pop(file.path, None)
            files.clear()

    def _watch_stream(self, output: logs.Output, stream: logs.Stream) -> None:
        self.watch(stream.fd, READ, lambda _: self._read(output, stream))

    def _read(self, output: logs.Output, stream: logs.Stream) -> None:
        for _ in range(MOST_READS):
            if output.must_wait:
                self.unwatch(stream.fd)
                self.paused.append((output, stream))
                return
            if not self._read_once(output, stream):
                return

    def _read_once(self, output: logs.Output, stream: logs.Stream) -> bool:
        """Whether there may be more."""
        lines = stream.read()
        if lines is None:
            self._stream_ended(output, stream)
            return False
        if lines:
            output.take(stream.name, lines)
        return stream.has_more

    def _stream_ended(self, output: logs.Output, stream: logs.Stream) -> None:
        self.unwatch(stream.fd)
        os.close(stream.fd)
        output.streams.remove(stream)
        self.paused = [pair for pair in self.paused if pair[1] is not stream]
        if not output.streams:
            self._release_files(output)
            self.outputs.remove(output)

    def _drain_streams(self, output: logs.Output) -> None:
        """What is in the pipes of a worker that has ended; bounded, for somebody else may go on writing."""
        for stream in list(output.streams):
            for _ in range(MOST_READS):
                if output.must_wait or not self._read_once(output, stream):
                    break

    def compress(self, path: str) -> None:
        """Compress a file in a child process, one at a time."""
        self.to_compress.append(path)
        self._compress_next()

    def _compress_next(self) -> None:
        if self.helpers or not self.to_compress:
            return
        path = self.to_compress.pop(0)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            words = (sys.executable, "-I", "-S", "-c", COMPRESS, path)
            self.helpers[process.spawn(words, {}, "/", {0: null, 1: null, 2: null})] = path
        except process.StartError as error:
            self.report.warn(f"cannot compress {path}: {error}")
        finally:
            os.close(null)

    def _compressed(self, path: str, status: int) -> None:
        if status and os.path.exists(path):
            self.report.warn(f"cannot compress {path}: {signals.ended_how(status)}; it stays as it is")
        self._compress_next()

    # --- what asks for a replacement by itself ---

    def arm(self) -> None:
        """The timers that the apps as they are now need."""
        self._arm_looks()
        for name in [name for name in self.timers if name.startswith("cron ")]:
            del self.timers[name]
        for group in self.fleet.groups.values():
            if group.spec.cron:
                self._arm_cron(group.spec.name, group.spec.cron)

    def _arm_looks(self) -> None:
        groups = self.fleet.groups.values()
        self._every(
            "memory", MEMORY_PAUSE, self._look_at_memory, needed=any(group.spec.memory_limit for group in groups)
        )
        self._every("watch", watch.PAUSE, self._look_at_files, needed=any(group.spec.watch for group in groups))

    def _every(self, name: str, pause: float, call: "Callable[[], None]", *, needed: bool) -> None:
        if needed:
            self.timers.setdefault(name, (time.monotonic() + pause, call))
        else:
            self.timers.pop(name, None)

    def _look_at_memory(self) -> None:
        for one in list(self.running.values()):
            limit = one.worker.spec.memory_limit
            used = process.memory(one.pid) if limit and one.worker.life.phase == machine.READY else None
            if limit and used and used > limit:
                why = f"{one.worker.label} uses {used >> 20} MiB, more than its memory limit of {limit >> 20} MiB, and is replaced"
                self.fleet.recycle(one.worker, why, time.monotonic())
        self._arm_looks()

    def _look_at_files(self) -> None:
        for name, group in list(self.fleet.groups.items()):
            if not group.spec.watch:
                continue
            now = watch.look(group.spec.watch, group.spec.watch_ignore)
            before = self.watched.setdefault(name, now)
            if now != before and group.is_stopped:
                self.watched[name] = now
            elif now != before and not self.fleet.renew(name, "watch", time.monotonic(), stop_first=True):
                self.watched[name] = (
                    now  # refused while something else goes on with it, the change is seen again at the next look
                )
                self.report.say(1, "watch", f"files of {name} have changed: restarting it", app=name)
        self._arm_looks()

    def _arm_cron(self, name: str, text: str) -> None:
        """A timer of wall time is looked at again at least once an hour: the clock may have been set meanwhile."""
        from pyinit.supervise.cron import Entry

        now = time.time()
        when = Entry(text).next(now)
        if when is not None:
            wait = min(when - now, 3600.0)
            self.timers[f"cron {name}"] = (time.monotonic() + wait, lambda: self._cron(name, text, when))

    def _cron(self, name: str, text: str, when: float) -> None:
        group = self.fleet.groups.get(name)
        if group is None:
            return  # deleted meanwhile
        is_due = time.time() >= when
        self._arm_cron(name, text)
        if is_due and not group.is_stopped:
            self.report.say(1, "cron", f"{name} is due ({text}): its workers are replaced", app=name)
            self._by_itself(self.fleet.renew(name, "cron", time.monotonic(), stop_first=False))

    def _by_itself(self, error: str) -> None:
        if error:
            self.report.warn(error)

    # --- control ---

    def _accept(self, _: int) -> None:
        try:
            connection, _address = self.listener.accept()
        except OSError as error:
            if error.errno in NO_ROOM:  # it stays ready meanwhile, and would keep us busy
                self.unwatch(self.listener)
                self.timers["accept"] = (time.monotonic() + 1, lambda: self.watch(self.listener, READ, self._accept))
            return
        client = control.Client(connection)
        if refusal := client.refusal():
            client.send({"ok": False, "error": refusal})
            connection.close()
            return
        self.watch(connection, READ, lambda events: self._served(client, events))

    def _served(self, client: "Client", events: int) -> None:
        if events & WRITE:
            client.flush()
        if events & READ:
            client.receive()
        while (request := client.next()) is not None:
            self._answer_to(client, request)
        self._look_after(client)

    def _look_after(self, client: "Client") -> None:
        """Go on listening to a client, or let it go."""
        if client.is_gone:
            self.followers = [entry for entry in self.followers if entry[0] is not client]
            self.fleet.hung_up(client)
            self.unwatch(client.socket)
            client.socket.close()
        else:
            events = WRITE if client.outgoing else READ
            self.watch(client.socket, events, lambda events: self._served(client, events))

    def tell(self, client: "Client", line: "dict[str, Any]") -> None:
        """A line to a client that waits for it."""
        if not client.is_gone:
            client.send(line)
            self._look_after(client)

    def _answer_to(self, client: "Client", request: "Any") -> None:
        if isinstance(request, str):
            client.send({"ok": False, "error": request})
            return
        word, key = request.get("do"), "apps" if "apps" in request else "select"
        selected = request.get(key, ["all"])
        if not isinstance(selected, list) or not all(isinstance(one, str) for one in selected):
            client.send({"ok": False, "error": f"{key} is no list of texts"})
            return
        if key == "apps":
            selected = [fleet.Exactly(name) for name in selected]
        answer = WORDS.get(word) if isinstance(word, str) else None
        if answer is None:
            client.send({"ok": False, "error": f"unknown word {word!r}; there are {', '.join(sorted(WORDS))}"})
            return
        self.fleet.cpus = cgroup.cpus()
        call = Call(self, client, request, selected)
        try:
            error = answer(call)
        except Exception as problem:  # noqa: BLE001 - as in `run`: whoever asked is told too, and does not wait for ever
            error = f"internal error in {word}: {problem!r}; please report it"
            self.report.warn(error)
        if error:
            client.send({"ok": False, "error": error})
        elif word in JOBS and call.patient is None:
            client.send({"ok": True})

    def show_logs(
        self, client: "Client", selected: "list[str]", number: int, stream: "str | None", *, follow: bool
    ) -> None:
        """The last lines of each place, and with `follow` those that come."""
        for place in self.fleet.select(selected):
            for name, text in self.recent.get(place, logs.Recent()).last(number, stream):
                client.send(_line(place.worker, name, text))
        if follow:
            client.follow()
            self.followers.append((client, selected, stream))

    def _follow(self, worker: Worker, stream: str, lines: bytes) -> None:
        for client, selected, wanted in list(self.followers):
            if wanted in (None, stream) and worker.place in self.fleet.select(selected):
                for text in logs.texts(lines):
                    client.send(_line(worker, stream, text))
                client.is_gone = client.is_gone or client.is_behind
                self._look_after(client)

    # --- the end ---

    def _answer_the_last(self) -> None:
        """Whoever has just asked is told why it is too late."""
        for _ in range(MOST_READS):
            ready = self.selector.select(0)
            if all(key.fileobj is self.wake_up for key, _events in ready):
                return
            self._dispatch(ready)
            self.carry_out()

    def _finish(self) -> None:
        """What was said last, as far as it can be written now; the sockets; the control socket."""
        try:
            self._answer_the_last()
        except Exception as error:  # noqa: BLE001 - as in `run`
            self.report.warn(f"internal error at the end: {error!r}; please report it")
        self._last_words()
        for file in self.files.values():
            file.close()
        for named in self.sockets.values():
            named.close()
        try:
            os.unlink(self.control)
        except OSError:
            pass  # gone already
        self.report.say(2, "exit", f"exit {self.status}", code=self.status)

    def _last_words(self) -> None:
        """What is left in the pipes and for the console; a full console takes a part, then there is room for the next."""
        deadline = time.monotonic() + LAST_WORDS
        with selectors.PollSelector() as stdout:
            while True:
                for output in list(self.outputs):
                    self._drain_streams(output)
                if not self.console.pending or not self.console.can_wait:
                    return
                if time.monotonic() >= deadline:
                    break
                if not stdout.get_map():
                    stdout.register(self.console.fd, WRITE)
                if stdout.select(0.05):
                    self.console.flush()
        self.report.warn(f"nobody has read stdout for {LAST_WORDS} s: what was said last is lost")


def chance() -> float:
    """A number from 0 to 1. The random module would cost 2 MB."""
    return int.from_bytes(os.urandom(4), "little") / 2**32


def _line(worker: Worker, stream: str, text: str) -> "dict[str, Any]":
    name, instance = worker.spec.name, worker.instance
    return {"event": "line", "id": worker.id, "name": name, "instance": instance, "stream": stream, "text": text}


def numbered(path: str, instance: int) -> str:
    """`/log/web.log` of the second instance is `/log/web-1.log`."""
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    return f"{folder}{slash}{stem}-{instance}.{ending}" if dot and stem else f"{path}-{instance}"


def environment(worker: Worker) -> "dict[str, str]":
    """What an instance has in its environment beside what the app gives it."""
    spec = worker.spec
    environ = dict(spec.environment)
    environ[spec.instance_variable] = str(worker.instance)
    environ["pm_id"] = str(worker.id)
    for name in spec.increment_variables:
        first = environ.get(name, "0")
        digits = first.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < MOST_DIGITS:
            environ[name] = str(int(first) + worker.instance)
    return environ


HANDS: "dict[str, Callable[..., None]]" = {
    machine.SPAWN: Supervisor.spawn,
    machine.DRAIN: Supervisor.drain,
    machine.ASK: Supervisor.ask,
    machine.KILL: Supervisor.kill,
    machine.ASK_REST: Supervisor.ask_rest,
    machine.KILL_REST: Supervisor.kill_rest,
    fleet.TELL: Supervisor.tell,
    fleet.ANSWER: Supervisor.tell,
    fleet.SAY: Supervisor.say,
    fleet.FORGET: Supervisor.forget,
    fleet.CHANGED: Supervisor.changed,
    fleet.EXIT: Supervisor.exit,
}
