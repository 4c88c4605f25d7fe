"""What monit shows, and what its keys mean: no terminal, no supervisor. tests/supervise has both."""

from typing import Any

import pytest
from rich.console import Console
from rich.screen import Screen

from pyinit.ctl import looks
from pyinit.ctl.monit import Act, View, keys_of


def worker(number: int, name: str = "web", **keys: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """A row of `list`."""
    row = {
        "id": number,
        "name": name,
        "namespace": "default",
        "instance": number,
        "pid": 1000 + number,
        "state": "ready",
        "uptime": 3.5,
        "restarts": 0,
        "last": None,
        "why": None,
        "deadline": None,
        "leaving": False,
        "coming": False,
        "health": None,
    }
    assert set(keys) <= set(row)
    return row | keys


def view(*workers: dict[str, Any], **keys: Any) -> View:  # noqa: ANN401 (JSON)
    """With these workers, each of which uses something."""
    made = View()
    uses = {one["pid"]: looks.Use(12.5, 50 << 20) for one in workers}
    made.tell({"workers": list(workers), "jobs": [], "closing": None} | keys, uses)
    return made


def seen(made: View, width: int = 80, height: int = 24) -> list[str]:
    """The screen's lines."""
    console = Console(width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(Screen(made.render(width, height)), end="")
    lines = captured.get().split("\n")
    assert len(lines) == height
    assert all(len(line) == width for line in lines), lines
    return [line.rstrip() for line in lines]


def test_an_app_that_does_not_do_its_work() -> None:
    """Its instances are ready, and yet: one that is on its way keeps its state."""
    lines = seen(view(worker(0), worker(1, health="unhealthy"), worker(2, health="unhealthy", state="stopping")))
    for name, state in (("web:0", "ready"), ("web:1", "unhealthy"), ("web:2", "stopping")):
        assert f"{name} {state}" in " ".join(next(line for line in lines if name in line).split())


def test_keys() -> None:
    """One after the other, both forms of arrows; a sequence that is none of ours is no Escape and no letters."""
    assert list(keys_of(b"\x1b[A\x1bOBrR?q")) == ["up", "down", "reload", "restart", "help", "quit"]
    assert list(keys_of(b"\x1b[6~\x1b")) == ["page down", "back"]
    assert list(keys_of(b"\x1b[15~s")) == ["", "stop"]
    assert list(keys_of(b"\x1b[1;5As")) == ["", "stop"]
    assert list(keys_of(b"\x1b[")) == [""]
    assert list(keys_of("ä".encode())) == ["", ""]


def test_a_screen() -> None:
    """Everything that is asked for, in 80 columns."""
    made = view(worker(0), worker(1, state="stopping", deadline=7.4, restarts=12, last="exit 1"))
    made.tell_line({"text": "hello", "stream": "stdout"})
    lines = seen(made)
    assert lines[0] == " pyinitctl monit          1 app, 1 of 2 instances ready, cpu 25%, memory 100.0M"
    assert lines[2].split() == ["id", "name", "state", "pid", "uptime", "restarts", "cpu", "memory", "last", "end"]
    assert lines[3].split() == ["\u25b6", "0", "web:0", "ready", "1000", "3.5s", "0", "12%", "50.0M", "-"]
    assert lines[4].split() == ["1", "web:1", "stopping", "7s", "1001", "3.5s", "12", "12%", "50.0M", "exit", "1"]
    assert lines[5] == "\u2500\u2500 log of web:0 ".ljust(80, "\u2500")
    assert lines[6] == "hello"
    assert "q quit" in lines[-1]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60), (20, 5), (1, 1), (80, 3)])
@pytest.mark.parametrize("page", ["apps", "logs", "help"])
def test_any_size(width: int, height: int, page: str) -> None:
    """No line is longer than the terminal, none is missing: also with names and lines that are longer."""
    made = view(*[worker(number, "x" * 90) for number in range(40)])
    for number in range(100):
        made.tell_line({"text": f"{number} " + "long " * 60})
    made.page = page
    for _ in range(45):
        made.key("down")
        seen(made, width, height)


def test_what_others_have_written_is_shown_and_not_done() -> None:
    """Neither escape sequences nor rich's own markup."""
    made = view(worker(0, "[red]a\x1b[2J"), jobs=[{"word": "reload", "apps": ["[b]\x07"], "done": 0, "of": 0}])
    made.tell_line({"text": "[bold]x\x1b]0;title\x07", "stream": "stderr"})
    text = "\n".join(seen(made, 120))
    assert "[red]a" in text
    assert "[bold]x" in text
    assert "\x07" not in text
    assert "\x1b" not in text


def test_the_chosen_one_is_always_in_sight() -> None:
    """Of more than there is room for."""
    made = view(*[worker(number) for number in range(40)])
    for number in range(1, 40):
        made.key("down")
        assert any(line.startswith(f"\u25b6 {number:2} web:{number} ") for line in seen(made)), number
    made.key("down")
    assert made.chosen == 39
    made.key("page up")
    assert made.chosen == 29


def test_who_was_chosen_stays_so() -> None:
    """When others come and go; when it goes itself, whoever has its row."""
    made = view(worker(0), worker(1), worker(2))
    made.key("down")
    made.tell({"workers": [worker(1), worker(2)], "jobs": [], "closing": None}, {})
    assert made.worker is not None
    assert made.worker["id"] == 1
    made.tell({"workers": [worker(1, leaving=True), worker(1), worker(2)], "jobs": [], "closing": None}, {})
    assert (made.worker["id"], made.worker["leaving"]) == (1, False)
    made.tell({"workers": [worker(2)], "jobs": [], "closing": None}, {})
    assert made.worker["id"] == 2
    made = view()
    assert made.worker is None
    assert "nothing is here" in "\n".join(seen(made))
    assert made.key("reload") is None


def test_dangerous_keys_ask() -> None:
    """And only y means yes."""
    made = view(worker(0), worker(1), worker(2, "mail"))
    assert made.key("reload") == Act("reload", "web")
    assert made.key("restart") is None
    assert seen(made)[-1] == "restart all of web, which has 2 instances? y: yes, any other key: no"
    assert made.key("quit") is None
    assert not made.has_quit
    assert made.key("yes") is None
    made.key("stop")
    assert made.key("yes") == Act("stop", "web")
    assert made.question is None
    made.key("quit")
    assert made.has_quit


def test_the_log_on_the_whole_screen() -> None:
    """One can go back in it, and it does not run away meanwhile."""
    made = view(worker(0))
    for number in range(100):
        made.tell_line({"text": f"line {number}"})
    made.key("logs")
    assert seen(made)[3:-1] == [f"line {number}" for number in range(80, 100)]
    made.key("page up")
    before = seen(made)[3:-1]
    assert before[-1] == "line 89"
    made.tell_line({"text": "line 100"})
    assert seen(made)[3:-1] == before
    assert "11 lines below" in seen(made)[-1]
    made.key("back")
    assert made.page == "apps"
    assert "line 100" in seen(made)


def test_what_is_going_on() -> None:
    """A reload with how far it is, a shutdown with what is left of its time, a supervisor that says nothing."""
    job = {"word": "reload", "apps": ["web"], "done": 1, "of": 4}
    made = view(worker(0, coming=True), worker(0, leaving=True), jobs=[job])
    lines = seen(made)
    assert lines[1] == "reload of web, 1 of 4 replaced"
    assert "web:0 (new)" in lines[3]
    assert "web:0 (old)" in lines[4]
    made = view(worker(0), jobs=[job], closing={"why": "it was asked to", "left": 6.54})
    assert seen(made)[1] == "SHUTDOWN: it was asked to; 6.5s of its time are left"
    made = view(worker(0), closing={"why": "it was asked to", "left": None})
    assert seen(made)[1] == "SHUTDOWN: it was asked to"
    made.is_late = True
    assert seen(made)[1] == "the supervisor has not answered for 3 s"
