"""`pyinitctl monit`: the apps on a whole terminal, live, by keyboard.

`View` is what is seen and what a key means: no terminal, no socket. `Monitor` is the hands: one loop, one select over the keyboard,
signals and the control socket; nothing in it waits for the supervisor, so that keys answer even where it hangs. rich draws; textual
would bring its own loop and a second of start. However it ends, by q, a signal or the supervisor's end, the terminal is as it was.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.screen import Screen
from rich.table import Table
from rich.text import Text

from pyinit.ctl import asking, looks, supervise
from pyinit.ctl.errors import CommandError
from pyinit.init import options as init_options
from pyinit.supervise import client

PAUSE = 1.0
"""Seconds between two looks."""
SHORTEST = 0.05
"""Seconds between two drawings: a log may have thousands of lines a second."""
LATE = 3 * PAUSE
"""After so long without an answer the title says so."""
LINES = 500
"""Of the log that are kept."""
SMALLEST = 3
"""Rows of apps, and lines of the log, however small the terminal is."""
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)

KEYS = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"k": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"j": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b": "back",
    b"\r": "logs",
    b"\n": "logs",
    b"l": "logs",
    b"r": "reload",
    b"R": "restart",
    b"s": "stop",
    b"q": "quit",
    b"?": "help",
    b"h": "help",
    b"y": "yes",
    b"Y": "yes",
}
HINT = "\u2191\u2193 choose  r reload  R restart  s stop  l logs  ? help  q quit"
HELP = """\
up, down (k, j)   choose an instance
r                 reload its app: one instance after the other, without downtime
R                 restart all of its app at once (asks)
s                 stop its app; pyinitctl start NAME starts it again (asks)
l, Enter          its log on the whole screen; up, down, PgUp and PgDn move in it
?                 this page
q, Ctrl-C         leave; the apps go on
Ctrl-Z            back to the shell for a while

cpu and memory    of an instance with all that it has started; 100% is one CPU
restarts          since its start, or since pyinitctl reset
(old), (new)      in a reload: on its way out, on its way in

Any key goes back."""


class Act(NamedTuple):
    """What a key asks the supervisor for."""

    word: str
    app: str


def keys_of(data: bytes) -> Iterator[str]:
    """The keys in what was typed; one that means nothing here is empty."""
    while data:
        key = next((known for known in sorted(KEYS, key=len, reverse=True) if data.startswith(known)), data[:1])
        if key == b"\x1b" and data[1:2] in (b"[", b"O"):  # a sequence that is none of ours
            end = next((at for at in range(2, len(data)) if 0x40 <= data[at] <= 0x7E), len(data) - 1)
            data = data[end + 1 :]
            yield ""
            continue
        data = data[len(key) :]
        yield KEYS.get(key, "")


class View:
    """What is seen."""

    def __init__(self) -> None:
        self.workers: Sequence[Mapping[str, Any]] = []
        self.uses: Mapping[int, looks.Use] = {}
        self.jobs: Sequence[Mapping[str, Any]] = []
        self.closing: Mapping[str, Any] | None = None
        self.chosen = 0
        """A row's number."""
        self.lines: deque[Text] = deque(maxlen=LINES)
        self.back = 0
        """How many lines of the log below the ones that are shown."""
        self.page = "apps"
        self.question: Act | None = None
        self.notice = ""
        self.is_late = False
        self.has_quit = False

    # --- what comes ---

    def tell(self, answer: Mapping[str, Any], uses: Mapping[int, looks.Use]) -> None:
        """A new list; whoever was chosen stays so, in whatever row."""
        before = self.worker
        self.workers, self.jobs, self.closing, self.uses = answer["workers"], answer["jobs"], answer["closing"], uses
        if before is not None:
            same = [at for at, worker in enumerate(self.workers) if worker["id"] == before["id"]]
            alike = [at for at in same if self.workers[at]["leaving"] == before["leaving"]]
            self.chosen = next(iter(alike or same), self.chosen)
        self.chosen = max(min(self.chosen, len(self.workers) - 1), 0)

    def tell_line(self, event: Mapping[str, Any]) -> None:
        """A line of the chosen one's log."""
        style = "red" if event.get("stream") == "stderr" else ""
        self.lines.append(Text(init_options.show(str(event.get("text", ""))), style, no_wrap=True, overflow="crop"))
        if self.back:
            self.back = min(self.back + 1, len(self.lines) - 1)

    @property
    def worker(self) -> Mapping[str, Any] | None:
        """The chosen one."""
        return self.workers[self.chosen] if self.chosen < len(self.workers) else None

    # --- keys ---

    def key(self, key: str) -> Act | None:
        """What is to be done for it, where that is not seeing something else."""
        if self.question is not None:
            act, self.question = self.question, None
            return act if key == "yes" else None
        if key == "quit":
            self.has_quit = True
        elif self.page == "help":
            self.page = "apps"
        elif key == "help":
            self.page = "help"
        elif key == "logs":
            self.page, self.back = ("apps" if self.page == "logs" else "logs"), 0
        elif key == "back":
            self.page, self.back = "apps", 0
        elif self.page == "logs":
            self._scroll(key)
        elif key in ("up", "down", "page up", "page down"):
            step = {"up": -1, "down": 1, "page up": -10, "page down": 10}[key]
            self.chosen = max(min(self.chosen + step, len(self.workers) - 1), 0)
        elif key in ("reload", "restart", "stop") and self.worker is not None:
            act = Act(key, self.worker["name"])
            if key == "reload":
                return act
            self.question = act
        return None

    def _scroll(self, key: str) -> None:
        step = {"up": 1, "down": -1, "page up": 10, "page down": -10}.get(key, 0)
        self.back = max(min(self.back + step, len(self.lines) - 1), 0)

    # --- what is seen ---

    def render(self, width: int, height: int) -> RenderableType:
        """The whole screen."""
        if self.page == "help":
            return Group(_bar("pyinitctl monit", "", width), Text(), Text(HELP))
        rows = min(len(self.workers), max((height - 5) // 2, SMALLEST)) if self.page == "apps" else 0
        room = max(height - rows - (5 if rows else 4), SMALLEST)
        parts: list[RenderableType] = [self._title(width), self._going_on()]
        if rows:
            parts.append(self._table(rows, width))
        elif self.page == "apps":
            room -= 1
            parts.append(Text("nothing is here: pyinitctl start ... starts an app", "bright_black"))
        parts.append(_rule(f"log of {looks.label(self.worker)}" if self.worker else "log", width))
        end = len(self.lines) - self.back
        shown = list(self.lines)[max(end - room, 0) : end]
        parts += [*shown, *[Text()] * (room - len(shown)), self._foot()]
        return Group(*parts)

    def _title(self, width: int) -> Text:
        apps = len({worker["name"] for worker in self.workers})
        ready = sum(worker["state"] == "ready" for worker in self.workers)
        known = [use for use in self.uses.values() if use.cpu is not None]
        cpu = looks.percent(sum(use.cpu or 0 for use in known)) if known else "-"
        memory = supervise.size(sum(use.memory or 0 for use in self.uses.values()))
        words = f"{apps} app{'' if apps == 1 else 's'}, {ready} of {len(self.workers)} instances ready, cpu {cpu}, memory {memory}"
        return _bar("pyinitctl monit", words, width)

    def _going_on(self) -> Text:
        """The shutdown, or what else is going on, or how the last word went."""
        if self.is_late:
            return Text(f"the supervisor has not answered for {LATE:g} s", "bold red")
        if self.closing is not None:
            left = self.closing["left"]
            budget = "" if left is None else f"; {supervise.duration(max(left, 0))} of its time are left"
            return _line(f"SHUTDOWN: {self.closing['why']}{budget}", "bold red")
        if self.jobs:
            return _line("; ".join(_job(job) for job in self.jobs), "bold yellow")
        return _line(self.notice, "")

    def _table(self, rows: int, width: int) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), width=width, header_style="bold")
        table.add_column("", width=1)
        table.add_column("id", justify="right", no_wrap=True)
        table.add_column("name", ratio=3, no_wrap=True, overflow="ellipsis")
        table.add_column("state", no_wrap=True, min_width=8)
        for name, least in (("pid", 5), ("uptime", 6), ("restarts", 8), ("cpu", 5), ("memory", 6)):
            table.add_column(name, justify="right", no_wrap=True, min_width=least)
        table.add_column("last end", ratio=2, no_wrap=True, overflow="ellipsis")
        first = max(min(self.chosen - rows // 2, len(self.workers) - rows), 0)
        for at, worker in enumerate(self.workers[first : first + rows], first):
            use = self.uses.get(worker["pid"], looks.Use(None, None))
            is_chosen = at == self.chosen
            table.add_row(
                Text("\u25b6" if is_chosen else " "),
                str(worker["id"]),
                Text(looks.label(worker)),
                looks.state(worker) + (f" {worker['deadline']:.0f}s" if _is_leaving(worker) else ""),
                str(worker["pid"] or "-"),
                supervise.duration(worker["uptime"]),
                str(worker["restarts"]),
                looks.percent(use.cpu),
                supervise.size(use.memory),
                Text(init_options.show(worker["last"] or worker["why"] or "-")),
                style="bold" if is_chosen else "",
            )
        return table

    def _foot(self) -> Text:
        if self.question is not None:
            word, app = self.question
            count = sum(worker["name"] == app for worker in self.workers)
            return Text(f"{word} all of {app}, which has {count} instances? y: yes, any other key: no", "bold reverse")
        back = f"{self.back} lines below; " if self.back else ""
        return _line(f"{back}\u2191\u2193 move  l back  q quit" if self.page == "logs" else HINT, "bright_black")


def _is_leaving(worker: Mapping[str, Any]) -> bool:
    """Whether it has some seconds left until it is killed."""
    return worker["state"] in ("draining", "stopping") and worker["deadline"] is not None


def _job(job: Mapping[str, Any]) -> str:
    count = f", {job['done']} of {job['of']} replaced" if job["of"] else ""
    return f"{job['word']} of {', '.join(job['apps'])}{count}"


def _line(words: str, style: str) -> Text:
    return Text(init_options.show(words), style, no_wrap=True, overflow="ellipsis")


def _bar(left: str, right: str, width: int) -> Text:
    gap = max(width - len(left) - len(right) - 2, 1)
    return Text(f" {left}{' ' * gap}{right} "[:width].ljust(width), "reverse", no_wrap=True, overflow="crop")


def _rule(words: str, width: int) -> Text:
    return Text(f"\u2500\u2500 {words} ".ljust(width, "\u2500"), "bright_black", no_wrap=True, overflow="crop")


# --- the hands ---


class Line:
    """A connection to the supervisor: whole answers as they come, and nobody waits for them."""

    def __init__(self, path: Path, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self.socket = client.connect(path)
        self.hear = hear
        self._rest = b""

    def ask(self, **request: Any) -> None:  # noqa: ANN401 (JSON)
        """Ask for something; what comes is for `hear`. Raises OSError where nobody is there, or reads."""
        self.socket.send(json.dumps(request).encode() + b"\n", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def receive(self) -> bool:
        """Hear what has come; False at the end."""
        try:
            data = self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.hear(json.loads(line))
        return bool(data)

    def close(self) -> None:
        self.socket.close()


class Monitor:
    """A terminal, a supervisor, and what is between them."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path = path
        self.console = console
        self.view = View()
        self.usage = looks.Usage(path)
        self.status = Line(path, self._listed)
        self.log: Line | None = None
        self.logged = -1
        """Whose log that is, by id."""
        self.acts: list[Line] = []
        self.asked_at = self.answered_at = time.monotonic()
        self.drawn_at = 0.0
        self.is_stale = False
        """Something has come since the last drawing."""
        self.signals: list[int] = []
        self.wake_up, self.signal_pipe = socket.socketpair(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    # --- answers ---

    def _listed(self, answer: Mapping[str, Any]) -> None:
        self.answered_at = time.monotonic()
        self.view.is_late = False
        if answer.get("ok"):
            self.view.tell(answer, self.usage.look(answer["workers"]))

    def _hear_log(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "line" and event.get("id") == self.logged:
            self.view.tell_line(event)

    def _act(self, act: Act) -> None:
        def hear(answer: Mapping[str, Any]) -> None:
            result = "done" if answer.get("ok") else str(answer.get("error", ""))
            self.view.notice = answer.get("message") or f"{act.word} of {act.app}: {result}"
            self.asked_at = 0.0  # look at once

        line = Line(self.path, hear)
        line.ask(do=act.word, apps=[act.app])
        self.acts.append(line)
        self.view.notice = f"{act.word} of {act.app} ..."
        self.asked_at = 0.0

    # --- the loop ---

    def run(self) -> int:
        """Until somebody leaves: 0, or 128 + n after signal n. Raises ControlError and OSError where somebody is gone."""
        with self._handlers():
            while True:
                with self._screen():
                    status = self._loop()
                if status is not None:
                    return status
                # Ctrl-Z: the shell has its terminal until it continues us
                signal.signal(signal.SIGTSTP, signal.SIG_DFL)
                signal.raise_signal(signal.SIGTSTP)
                signal.signal(signal.SIGTSTP, self._note)

    def _loop(self) -> int | None:
        """The exit status, or None: to the background."""
        while not self.view.has_quit:
            if time.monotonic() - self.drawn_at >= SHORTEST:
                self._draw()
            self._wait()
            while self.signals:
                number = self.signals.pop(0)
                if number == signal.SIGTSTP:
                    return None
                if number in ENDS:
                    return 0 if number == signal.SIGINT else 128 + number  # Ctrl-C is how one leaves
            now = time.monotonic()
            if now - self.asked_at >= PAUSE and self.answered_at >= self.asked_at:
                self._ask()
            self.view.is_late = now - max(self.asked_at, self.answered_at) > LATE
            self._follow_the_log()
        return 0

    def _ask(self) -> None:
        self.asked_at = time.monotonic()
        self.status.ask(do="list")

    def _draw(self) -> None:
        width, height = self.console.size
        self.console.update_screen(Screen(self.view.render(width, height)))
        self.drawn_at = time.monotonic()

    def _wait(self) -> None:
        """Until something happens, or a look is due."""
        connections = [line for line in (self.status, self.log, *self.acts) if line is not None]
        by_socket = {line.socket: line for line in connections}
        due = self.asked_at + PAUSE if self.answered_at >= self.asked_at else time.monotonic() + PAUSE
        if self.is_stale:
            due = min(due, self.drawn_at + SHORTEST)
        wait = max(due - time.monotonic(), 0.0)
        ready: list[Any]
        ready, _, _ = select.select([sys.stdin, self.wake_up, *by_socket], [], [], wait)
        self.is_stale = bool(ready)
        for one in ready:
            if one is sys.stdin:
                data = os.read(sys.stdin.fileno(), 1024)
                if not data:
                    self.view.has_quit = True
                for key in keys_of(data):
                    if (act := self.view.key(key)) is not None:
                        self._act(act)
            elif one is self.wake_up:
                self.wake_up.recv(1024)
            else:
                self._receive(by_socket[one])

    def _receive(self, line: Line) -> None:
        if line.receive():
            return
        if line is self.status:
            raise client.GoneError(f"the supervisor at {self.path} has ended")
        line.close()
        if line is self.log:
            self.log, self.logged = None, -1  # we were too slow for it, or it is the end: the status tells
        else:
            self.acts.remove(line)

    def _follow_the_log(self) -> None:
        """Of whoever is chosen now."""
        worker = self.view.worker
        if worker is None or worker["id"] == self.logged:
            return
        if self.log is not None:
            self.log.close()
            self.log = None
        try:
            self.log = Line(self.path, self._hear_log)
        except client.NoSupervisorError:
            return  # the status will tell
        self.logged = worker["id"]
        self.view.lines.clear()
        self.view.back = 0
        self.log.ask(do="logs", select=[str(worker["id"])], lines=LINES, follow=True)

    # --- the terminal ---

    @contextmanager
    def _screen(self) -> Iterator[None]:
        """The alternate screen, keys as they are typed; afterwards all is as it was, as far as there still is a terminal."""
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin, termios.TCSANOW)
            self.console.set_alt_screen(enable=True)
            self.console.show_cursor(show=False)
            yield
        finally:
            with suppress(OSError):
                self.console.show_cursor(show=True)
                self.console.set_alt_screen(enable=False)
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signals.append(number)

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        """Signals only wake the loop up."""
        signal.set_wakeup_fd(self.signal_pipe.fileno(), warn_on_full_buffer=False)
        numbers = (*ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        for line in (self.status, self.log, *self.acts):
            if line is not None:
                line.close()
        self.wake_up.close()
        self.signal_pipe.close()


def run(path: Path) -> int:
    """Watch the supervisor at `path`. Raises CommandError."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("monit: it needs a terminal to draw on and keys to read; use list, or jlist for a program")
    # COLUMNS and LINES of a shell would hold against every change of the window's size
    console = Console(
        highlight=False, _environ={n: text for n, text in os.environ.items() if n not in ("COLUMNS", "LINES")}
    )
    if console.is_dumb_terminal:
        raise CommandError("monit: TERM says that this terminal can only write one line after the other; use list")
    monitor = None
    try:
        monitor = Monitor(path, console)
        return monitor.run()
    except client.ControlError as error:
        raise CommandError(f"monit: {error}", asking.NO_SUPERVISOR) from None
    except OSError as error:
        raise CommandError(f"monit: the terminal or the supervisor is gone: {error.strerror}") from None
    except ValueError:
        raise CommandError(
            f"monit: {path} does not answer as a supervisor does; name its socket with --socket"
        ) from None
    finally:
        if monitor is not None:
            monitor.close()
