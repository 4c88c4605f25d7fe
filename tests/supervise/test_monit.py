"""`list`, `describe` and `monit` on a real terminal: tmux types the keys and looks at the screen."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pyinit.ctl import looks
from support import processes, screenshot
from support.ctl import CTL, Ctl
from support.runs import PID_NAMESPACE
from support.supervised import Supervised, worker
from support.tmux import Pane
from support.waiting import until

LOUD = """\
import itertools, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(float(sys.argv[1])), sys.exit()))
for number in itertools.count(1):
    print("line", number, flush=True)
    time.sleep(0.1)
"""
BUSY = "import signal, time\nwhile True:\n    time.sleep(0.01); sum(range(100_000))\n"
PICTURES = Path(__file__).parents[2] / "pyinit" / "supervise"

Open = Callable[..., Pane]
Supervise = Callable[..., Supervised]


@pytest.fixture
def apps(ctl: Ctl) -> Ctl:
    """`web` twice, which writes lines and takes a second to stop; `mail`, which uses a CPU."""
    ctl.write("loud.py", LOUD)
    ctl.write("busy.py", BUSY)
    ctl.write(
        "apps.toml",
        f"""\
        [apps.web]
        command = ['{sys.executable}', 'loud.py', '1']
        instances = 2
        min_uptime = "300ms"
        drain = 0
        [apps.mail]
        command = ['{sys.executable}', 'busy.py']
        min_uptime = "50ms"
        """,
    )
    ctl.start()
    return ctl


needs_apps = pytest.mark.usefixtures("apps")


@pytest.fixture
def terminal(ctl: Ctl) -> Iterator[Open]:
    """Words of pyinitctl on a terminal, below a shell that says afterwards how it went and how the terminal was before and is then."""
    made = []

    def start(*words: str, program: Sequence[str] = CTL, columns: int = 80, rows: int = 24) -> Pane:
        script = 'trap : INT; stty -g >before; "$@"; echo "status $?"; stty -g >after; exec cat'
        command = ["sh", "-c", script, "sh", *program, *words]
        made.append(Pane(command, ctl.env, ctl.folder, columns, rows))
        return made[-1]

    yield start
    for one in made:
        one.close()


def is_as_it_was(ctl: Ctl, pane: Pane) -> None:
    """The terminal: modes, screen, cursor."""
    until((ctl.folder / "after").read_text, 20, "the shell's last look at its terminal")
    assert (ctl.folder / "after").read_text() == (ctl.folder / "before").read_text()
    assert (pane.tell("alternate_on"), pane.tell("cursor_flag")) == ("0", "1")


# --- list and describe ---


def test_list_as_a_table(apps: Ctl, terminal: Open) -> None:
    """With what psutil measures, in colours; in a pipe it is plain as ever."""
    pane = terminal("list")
    lines = pane.expect("status 0", "\u2570")
    (header,) = [line for line in lines if "uptime" in line]
    assert re.findall("[a-z]+", header) == [
        "id",
        "name",
        "pid",
        "state",
        "uptime",
        "restarts",
        "cpu",
        "memory",
        "last",
        "end",
    ]
    (mail,) = [line for line in lines if "mail:0" in line]
    assert re.search(r"ready .* [1-9][0-9.]*% .*[0-9]M", mail), mail
    assert "\x1b[32mready" in "\n".join(pane.lines(styled=True))
    plain = apps.good("list")
    assert plain.split("\n")[0].split()[:3] == ["id", "name", "namespace"]
    assert "\x1b" not in plain


@needs_apps
def test_describe_as_a_table(terminal: Open) -> None:
    """Every key in its row, then the instances; no environment."""
    pane = terminal("describe", "web", rows=70)
    text = "\n".join(pane.expect("status 0", "oom_kills", "web:1"))
    assert re.search("\u2502 drain +\u2502 0 ", text)
    assert "environment" not in text
    assert "loud.py" in text


def test_children_count(ctl: Ctl, terminal: Open) -> None:
    """What a worker has started is its own: here a shell that does nothing while its child works."""
    ctl.write("busy.py", BUSY)
    ctl.write(
        "apps.toml",
        f"[apps.shell]\ncommand = ['sh', '-c', '{sys.executable} busy.py; exit 1']\nmin_uptime = '50ms'\n",
    )
    ctl.start()
    lines = terminal("list").expect("status 0", "\u2570")
    (row,) = [line for line in lines if "shell:0" in line]
    assert re.search(r" [1-9][0-9.]*% ", row), row


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_pids_of_another_namespace(is_elsewhere: bool, supervise: Supervise) -> None:  # noqa: FBT001 (a parameter)
    """There the supervisor's own figures are taken: here those pids are other processes."""
    supervised = supervise(worker("web"), wrapper=PID_NAMESPACE if is_elsewhere else ()).ready()
    rows = supervised.rows()
    usage = looks.Usage(supervised.control)
    assert usage.are_ours is not is_elsewhere
    usage.look(rows)
    use = usage.look(rows)[rows[0]["pid"]]
    assert (use.cpu is None) is is_elsewhere
    assert use.memory
    assert abs(use.memory - rows[0]["memory"]) < 4 << 20


# --- monit ---


def test_it_is_live(apps: Ctl, terminal: Open) -> None:
    """Numbers, the log of whoever is chosen, and other apps as they come."""
    pane = terminal("monit")
    lines = pane.expect("2 apps, 3 of 3 instances ready", "\u25b6  0 web:0", "line 3")
    assert len(lines) == 24
    assert max(len(line) for line in lines) <= 80
    until(lambda: re.search(r"mail:0 .* [1-9][0-9.]*% ", "\n".join(pane.lines())), 20, "CPU of mail")
    last = max(int(number) for number in re.findall("line ([0-9]+)", "\n".join(pane.lines())))
    pane.expect(f"line {last + 5}")
    pane.press("Down")
    pane.expect("\u25b6  1 web:1", "log of web:1")
    pane.press("j")
    pane.expect("\u25b6  2 mail:0", "log of mail:0")
    apps.good("scale", "web", "3")
    pane.expect("4 of 4 instances ready", "web:2", "\u25b6  2 mail:0")
    assert any(line.startswith("mail:0") or "\u25b6  2 mail:0" in line for line in pane.lines())


def test_a_reload(apps: Ctl, terminal: Open) -> None:
    """By its key: it is seen while it goes on, old and new; it is done when the supervisor says so."""
    before = {str(one["pid"]) for one in apps.jlist() if one["name"] == "web"}
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready")
    pane.press("r")
    pane.expect("reload of web, 1 of 2 replaced", "(old)", "stopping")
    pane.expect("reload of web: done")
    after = {str(one["pid"]) for one in apps.jlist() if one["name"] == "web"}
    assert not before & after


def test_restart_and_stop_ask(apps: Ctl, terminal: Open) -> None:
    """No is no, and y is yes."""
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready")
    pane.press("s")
    pane.expect("stop all of web, which has 2 instances?")
    pane.press("n")
    pane.expect("q quit")
    pane.press("Down", "Down", "R")
    pane.expect("restart all of mail")
    pane.press("y")
    pane.expect("restart of mail: done")
    pane.press("s")
    pane.expect("stop all of mail")
    pane.press("y")
    pane.expect("stop of mail: done", "2 of 3 instances ready", "stopped")
    states = {str(one["name"]): one["state"] for one in apps.jlist()}
    assert states == {"web": "ready", "mail": "stopped"}


@needs_apps
def test_logs_and_help(terminal: Open) -> None:
    """Pages of their own, and back."""
    pane = terminal("monit")
    pane.expect("line 3")
    pane.press("l")
    until(lambda: sum("line" in line for line in pane.lines()) >= 15, 20, "a screen of lines")
    pane.press("PageUp")
    pane.expect("lines below")
    pane.press("Escape")
    pane.expect("web:1")
    pane.press("?")
    pane.expect("without downtime")
    pane.press("x")
    pane.expect("web:1")


def test_a_shutdown(apps: Ctl, terminal: Open) -> None:
    """It is seen as long as there is somebody to tell of it; then the terminal is as it was, and the shell learns why."""
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready")
    os.kill(apps.runs[0].process.pid, signal.SIGTERM)
    pane.expect("SHUTDOWN: it was asked to")
    text = "\n".join(pane.expect("status 3"))
    assert "has ended" in text.replace("\n", "")
    is_as_it_was(apps, pane)


@pytest.mark.parametrize(
    ("end", "status"), [("q", 0), ("C-c", 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, 3)]
)
def test_the_terminal_is_as_it_was(end: str | int, status: int, apps: Ctl, terminal: Open) -> None:
    """However it ends; SIGKILL here is the supervisor's."""
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready")
    assert (pane.tell("alternate_on"), pane.tell("cursor_flag")) == ("1", "0")
    if isinstance(end, str):
        pane.press(end)
    elif end == signal.SIGKILL:
        (supervisor,) = processes.children(apps.runs[0].process.pid)
        os.kill(supervisor, signal.SIGKILL)
    else:
        (monit,) = processes.children(pane.leader)
        os.kill(monit, end)
    pane.expect(f"status {status}")
    is_as_it_was(apps, pane)
    if end != signal.SIGKILL:
        assert len(apps.jlist()) == 3


@pytest.mark.parametrize("left", ["stty -echo", "stty -icanon", "printf '\\033[?1049h'", "printf '\\033[?25l'"])
def test_a_terminal_that_is_not_as_it_was_is_seen(left: str, ctl: Ctl, terminal: Open) -> None:
    """Each of its properties, by itself."""
    pane = terminal("-c", left, program=["sh"])
    pane.expect("status 0")
    until(lambda: (ctl.folder / "after").exists() and (ctl.folder / "after").read_text(), 20, "the shell's last look")
    with pytest.raises(AssertionError):
        is_as_it_was(ctl, pane)


def test_to_the_background_and_back(apps: Ctl) -> None:
    """Ctrl-Z gives the shell its terminal; fg draws the screen again."""
    with Pane(["bash", "--norc", "-i"], apps.env | {"PS1": "shell: "}, apps.folder) as pane:
        pane.expect("shell:")
        pane.press(" ".join([*CTL, "monit"]), "Enter")
        pane.expect("3 of 3 instances ready")
        pane.press("C-z")
        pane.expect("Stopped")
        assert (pane.tell("alternate_on"), pane.tell("cursor_flag")) == ("0", "1")
        pane.press("fg", "Enter")
        pane.expect("3 of 3 instances ready", "q quit")
        pane.press("q")
        pane.expect("shell:")


def test_a_window_that_changes_its_size(apps: Ctl, terminal: Open) -> None:
    """Smaller than anything and larger again; also where the shell has exported its COLUMNS."""
    apps.env |= {"COLUMNS": "80", "LINES": "24"}
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready", "q quit")
    for columns, rows in ((120, 40), (40, 8), (10, 2), (80, 24)):
        pane.resize(columns, rows)
        until(lambda rows=rows: len(pane.lines()) == rows, 20, "the size")  # type: ignore[misc]
    pane.expect("3 of 3 instances ready", "mail:0", "q quit")
    pane.press("q")
    pane.expect("status 0")


def test_a_supervisor_that_hangs(apps: Ctl, terminal: Open) -> None:
    """It is said, and keys answer."""
    pane = terminal("monit")
    pane.expect("3 of 3 instances ready")
    (supervisor,) = processes.children(apps.runs[0].process.pid)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        pane.expect("has not answered for 3 s")
        pane.press("?")
        pane.expect("without downtime")
        pane.press("x", "q")
        pane.expect("status 0")
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_it_needs_a_terminal(apps: Ctl) -> None:
    """One line, and what to use instead."""
    status, out, err = apps("monit")
    assert (status, out) == (1, "")
    assert (
        err == "pyinitctl: monit: it needs a terminal to draw on and keys to read; use list, or jlist for a program\n"
    )


# --- pictures ---


@needs_apps
def test_pictures_for_the_docs(terminal: Open) -> None:
    """Of a real run. Those in the docs were made so (PYINIT_PICTURES=1 makes them again), and have the columns that there are today."""
    listed, watched = terminal("list"), terminal("monit")
    listed.expect("status 0", "\u2570")
    watched.expect("3 of 3 instances ready", "mail:0", "line 9")
    until(lambda: re.search(r"mail:0 .* [1-9][0-9.]*% ", "\n".join(watched.lines())), 20, "CPU of mail")
    watched.press("r")

    def reload() -> list[str]:
        lines = watched.lines(styled=True)
        return lines if "1 of 2 replaced" in "\n".join(lines) and "(old)" in "\n".join(lines) else []

    of_monit = until(reload, 20, "a reload on the screen")
    of_list = [line for line in listed.lines(styled=True) if line.strip() and "status" not in line]
    made = {
        "list.svg": screenshot.svg(of_list, "pyinitctl list"),
        "monit.svg": screenshot.svg(of_monit, "pyinitctl monit"),
    }
    for name, picture in made.items():
        assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
        if os.environ.get("PYINIT_PICTURES") == "1":
            (PICTURES / name).write_text(picture, encoding="utf-8")
        in_docs = (PICTURES / name).read_text(encoding="utf-8")
        assert words_of(in_docs) >= set(json.loads('["uptime", "restarts", "cpu", "memory", "ready", "web:0"]'))
        assert header_of(picture) == header_of(in_docs)


def words_of(picture: str) -> set[str]:
    return {
        word
        for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)
        for word in text.replace("&#160;", " ").split()
    }


def header_of(picture: str) -> list[str]:
    """The columns' names."""
    names = {"id", "name", "namespace", "pid", "state", "uptime", "restarts", "cpu", "memory", "last", "end"}
    return sorted(words_of(picture) & names)
