"""The pytest plugin without pytest and without containers: what it loads, what it makes of options, how its values read."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyinit.containers.guard import Guard
from pyinit.verify import request
from pyinit.verify.catalogue import CHECKS
from pyinit.verify.conformance import Outcome, shared
from pyinit.verify.ends import Ended, Processes, compared
from pyinit.verify.settings import SettingsError
from support.waiting import until

SH = Ended("sh", 1, "sh -c x", "SIGKILL by the engine after 10.02 s")
WORKER = Ended("worker", 7, "worker --all", "SIGKILL as PID 1 left after 10.02 s")


def killed(*those: Ended) -> Processes:
    """As an end has them."""
    return Processes(those, "was killed", "were killed")


# --- what it costs those who do not use it ---


def test_it_loads_nothing() -> None:
    """Everybody's pytest loads it; of ours it is alone, and of others there is only what pytest has loaded itself."""
    code = (
        "import sys, pytest; before = set(sys.modules); import pyinit.verify.pytest_plugin; "
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(out.replace("'", '"')) == ["pyinit", "pyinit.verify", "pyinit.verify.pytest_plugin"]


# --- how it reads ---


def test_processes_read_as_a_sentence() -> None:
    """And compare as a list."""
    assert killed() == []
    assert killed(SH) != []
    assert (
        repr(killed(SH, WORKER)) == "2 processes were killed: 1 sh (SIGKILL by the engine after 10.02 s), "
        "7 worker (SIGKILL as PID 1 left after 10.02 s)"
    )
    assert repr(killed(SH)) == "1 process was killed: 1 sh (SIGKILL by the engine after 10.02 s)"
    assert repr(killed()) == "no process was killed"
    assert (
        repr(Processes([Ended("sh", None, "", "")], "was a zombie", "were zombies")) == "1 process was a zombie: ? sh"
    )
    assert killed(SH, WORKER).names == ["sh", "worker"]


def test_a_comparison_that_failed() -> None:
    """Whichever side it is on; what is no comparison of processes is not ours."""
    assert compared("==", killed(SH), []) == [repr(killed(SH))]
    assert compared("==", [], killed(SH)) == [repr(killed(SH))]
    assert compared("==", killed(), [SH]) == [f"no process was killed, not {[SH]!r}"]
    assert compared("!=", killed(SH), []) is None
    assert compared("==", [1], []) is None


# --- options in Python ---


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"env": {"A": "b", "C": 1}}, ("-e", "A=b", "-e", "C=1")),
        ({"env": ["A=b"]}, ("-e", "A=b")),
        ({"env": "A=b"}, ("-e", "A=b")),
        ({"publish": 80}, ("-p", "80")),
        ({"publish": ("80", 81)}, ("-p", "80", "-p", "81")),
        ({"ulimit": {"nofile": 100}}, ("--ulimit", "nofile=100")),
        ({"entrypoint": ["sh", "-c", "exit 3"]}, ("--entrypoint", "sh -c 'exit 3'")),
        (
            {"network": "none", "memory": "64m", "read_only": True},
            ("--network", "none", "--read-only", "--memory", "64m"),
        ),
    ],
)
def test_as_the_command_line_has_it(given: Mapping[str, Any], words: tuple[str, ...]) -> None:
    """A value, a list or a mapping is what would be an option, once or several times."""
    options = request.of_python("container('x')", given, request.RunOptions.__annotations__)
    assert request.run_options(options)[1] == words


def test_commands_are_lists_or_texts() -> None:
    """What a shell would make of the text."""
    for command in (["test", "-e", "/a b"], "test -e '/a b'"):
        options = request.of_python("", {"ready_cmd": command}, request.RunOptions.__annotations__)
        assert request.words_of("", options.ready_cmd) == ["test", "-e", "/a b"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"enviroment": {}}, "there is no option 'enviroment'"),
        ({"volumes": []}, "there is no option 'volumes'; write 'volume'?"),
        ({"timeout": 3}, "there is no option 'timeout'"),
        ({"ready_tcp": "80"}, "ready-tcp must be a whole number, not '80'"),
        ({"ready_log": "("}, "ready-log: '(' is no regular expression"),
        ({"env": 5.0}, "env must be a list, not 5.0"),
        ({"cap_add": True}, "each of cap-add must be a text, not True"),
    ],
)
def test_what_a_container_cannot_be_told(given: Mapping[str, Any], words: str) -> None:
    """Where it was said, and what to write."""
    with pytest.raises(SettingsError, match=re.escape(f"container('x'): {words}")):
        request.of_python("container('x')", given, request.RunOptions.__annotations__)


@pytest.mark.parametrize(
    ("words", "given", "complaint"),
    [
        ((), {}, "which image"),
        (("a", "b"), {}, "which image"),
        ((5,), {}, "which image"),
        (("",), {}, "which image"),
        (("a",), {"compose": "compose.yaml", "service": "web"}, "which image"),
        ((), {"compose": "compose.yaml"}, "compose= and service= belong together"),
        (("a",), {"command": "serve --all"}, "command must be a list, not 'serve --all'"),
        (("a",), {"check": "SG-99"}, "there is no check 'SG-99'; write 'SG-"),
        (("a",), {"skip": {"SG-99": "x"}}, "there is no check 'SG-99'"),
        (("a",), {"skip": {"SG-01": " "}}, "say why SG-01 is left out"),
        (("a",), {"expect_exit": "143"}, "each of expect-exit must be a whole number, not '143'"),
        (("a",), {"config": "nothing.toml"}, "there is no file nothing.toml"),
    ],
)
def test_what_a_mark_cannot_say(
    words: tuple[object, ...], given: Mapping[str, Any], complaint: str, tmp_path: Path
) -> None:
    """All of it before anything is run."""
    with pytest.raises(SettingsError, match=re.escape(complaint)):
        request.of_mark("@conformance", words, given, tmp_path)


def test_a_mark_goes_before_the_file(tmp_path: Path) -> None:
    """What the file says, and the mark does not; reasons of both."""
    (tmp_path / "verify.toml").write_text(
        'ready-log = "file"\ntimeout = 5\ncheck = ["SG"]\n[skip]\nSG-06 = "from the file"\nSG-07 = "from the file"\n'
    )
    options, said = request.of_mark("", ("image",), {"timeout": 3, "skip": {"SG-07": "from the mark"}}, tmp_path)
    plan = request.plan_of(options, said, CHECKS)
    assert (options.image, options.ready_log, options.timeout) == ("image", "file", 3)
    assert [check.id for check in plan.checks] == ["SG-01", "SG-06", "SG-07"]
    assert plan.left_out == {"SG-06": "from the file", "SG-07": "from the mark"}


# --- what workers share ---


def test_the_first_makes_it_for_all(tmp_path: Path) -> None:
    """The others wait for it, and have the same."""
    entered, go = threading.Event(), threading.Event()
    made: list[int] = []
    found: list[Mapping[str, Outcome]] = []

    def make() -> Mapping[str, Outcome]:
        made.append(1)
        entered.set()
        assert go.wait(30)
        return {"SG-01": Outcome("pass", "as seen", timeline="●")}

    def worker() -> None:
        found.append(shared(tmp_path / "file", make))

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert (len(made), found) == (1, [{"SG-01": Outcome("pass", "as seen", timeline="●")}] * 3)


def test_one_that_dies_leaves_it_to_the_next(tmp_path: Path) -> None:
    """Killed in the middle, with the lock in its hands."""
    code = (
        "import sys, time; from pathlib import Path; from pyinit.verify.conformance import shared; "
        "shared(Path(sys.argv[1]), lambda: (print('making', flush=True), time.sleep(600)))"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "file"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        until(lambda: other.stdout is not None and other.stdout.readline() == "making\n", 30, "the other's turn")
        waiting = threading.Thread(target=lambda: shared(tmp_path / "file", lambda: {"SG-01": Outcome("pass", "mine")}))
        waiting.start()
        other.kill()
        waiting.join(30)
        assert not waiting.is_alive()
    assert shared(tmp_path / "file", dict) == {"SG-01": Outcome("pass", "mine")}


# --- the guard ---


def test_a_guard_goes_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a whole end it is ended, for nothing is left; in the middle of one that is interrupted it begins, at once."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with Guard("nothing") as guard:
        pass
    assert guard._process.returncode == -signal.SIGKILL
    with contextlib.suppress(OSError), Guard("nothing") as guard:
        raise OSError
    assert guard._process.returncode == -signal.SIGKILL
    with contextlib.suppress(KeyboardInterrupt), Guard("nothing") as guard:
        raise KeyboardInterrupt
    assert guard._process.wait(60) == 1  # there is no engine in which it could remove anything
