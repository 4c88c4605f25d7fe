"""What `pyinitctl verify` makes of its options, and what it says of those that cannot be: all that needs no engine."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest

from pyinit.containers import engine as engines
from pyinit.containers.engine import LABEL, Engine, EngineError
from pyinit.ctl import verify as command
from pyinit.ctl.errors import CommandError
from pyinit.ctl.session import LEAVING
from pyinit.ctl.verify import _judge_init, add, run, verify
from pyinit.verify.catalogue import CHECKS
from pyinit.verify.options import NOT_IN_A_FILE, add_to, name_of
from pyinit.verify.request import absolute, merge, plan_of, run_options, stage_of, url_of
from pyinit.verify.settings import KEYS, Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def parsed(*words: str) -> argparse.Namespace:
    """The options of that command line."""
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    return parser.parse_args(["verify", *words])


def test_values_from_elsewhere_are_in_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-e NAME` and `--env-file` go to the engine with their values, and into the `try` line as they were typed."""
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.delenv("NOT_SET", raising=False)
    file = tmp_path / "env"
    file.write_text("# a comment\nTOKEN=secret\nDB_PASSWORD\n")
    made, words = run_options(
        parsed("IMAGE", "-e", "DB_PASSWORD", "-e", "NOT_SET", "-e", "A=b", "--env-file", str(file))
    )
    assert made == {"environment": ["TOKEN=secret", "DB_PASSWORD=secret", "DB_PASSWORD=secret", "A=b"]}
    assert words == ("-e", "DB_PASSWORD", "-e", "NOT_SET", "-e", "A=b", "--env-file", str(file))


@pytest.mark.parametrize("word", ["EX-06", "EX-06=", "EX-06= "])
def test_who_leaves_a_check_out_says_why(word: str) -> None:
    """On the command line as in the file."""
    with pytest.raises(SettingsError, match=r"--skip EX-06.*: a reason is needed: --skip 'EX-06=why'"):
        plan_of(parsed("IMAGE", "--skip", word), Settings(), CHECKS)
    assert plan_of(parsed("IMAGE", "--skip", "EX-06=a JVM"), Settings(), CHECKS).left_out == {"EX-06": "a JVM"}


NOTHING: Any = SimpleNamespace(info={})
"""An engine, observer or plan that is not come to."""


@pytest.mark.parametrize(
    ("words", "take"),
    [
        (("--ready-cmd", "a 'b"), lambda options: stage_of(NOTHING, NOTHING, NOTHING, options)),
        (("--entrypoint", "a 'b"), run_options),
        (("--init", "a 'b"), lambda options: _judge_init(NOTHING, NOTHING, NOTHING, NOTHING, options)),
    ],
)
def test_words_that_no_shell_would_take(words: tuple[str, str], take: Callable[[argparse.Namespace], object]) -> None:
    """The option, what it said, and why not."""
    with pytest.raises(SettingsError, match=f"^{words[0]} a 'b: No closing quotation: write it as for a shell"):
        take(parsed("IMAGE", *words))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://[::1/", "http://127.0.0.1:x/", "ftp://x", "http:///x"],
)
def test_no_url(url: str) -> None:
    """One line, and what to write."""
    with pytest.raises(SettingsError, match=r"--request .*: write http://127.0.0.1:PORT/PATH"):
        url_of(url)
    assert url_of("http://127.0.0.1:8080/slow?a=b") == ("127.0.0.1", 8080, "/slow?a=b")
    assert url_of("http://127.0.0.1/") == ("127.0.0.1", 80, "/")


@pytest.mark.parametrize("option", [{"mem_limit": "abc"}, {"ulimits": ["nofile"]}, {"no_such_option": 1}])
def test_what_the_client_library_refuses(option: dict[str, Any]) -> None:
    """It raises errors of its own; nothing is asked of an engine before."""
    client = docker.DockerClient(base_url="http://127.0.0.1:1", version="1.41")
    with pytest.raises(EngineError, match="no container can be made from image"):
        Engine(client).create("image", **option)


def test_folders_of_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here or from home, as a shell has them, also where none has seen the word; a name stays a name."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert absolute("~/d:/d") == f"{tmp_path}/home/d:/d"
    assert absolute("./d:/d:ro") == f"{tmp_path}/d:/d:ro"
    assert absolute("data:/d") == "data:/d"


@pytest.mark.parametrize("place", [("IMAGE",), ("--init", "/sbin/init")])
@pytest.mark.parametrize("words", [("--timeout", "0"), ("--timeout", "-1"), ("--jobs", "0"), ("--ready-timeout", "0")])
def test_nothing_at_all_is_said_too(
    place: tuple[str, ...], words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 on the command line goes before the file, and is refused, for an image as for an init."""
    (tmp_path / "verify.toml").write_text("timeout = 5\njobs = 2\nready-timeout = 9\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises((CommandError, SettingsError), match=f"{words[0]} {words[1]}: "):
        verify(NOTHING, parsed(*place, *words))


def test_how_an_init_is_run_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would have no effect is refused where it is typed; in a file it is for an image, and no error."""
    with pytest.raises(
        CommandError, match="verify: --user is how an image is run, and --init is judged in containers of ours"
    ):
        verify(NOTHING, parsed("--init", "/sbin/init", "--user", "1000"))
    (tmp_path / "verify.toml").write_text('user = "1000"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="--timeout 0: "):  # so it came that far
        verify(NOTHING, parsed("--init", "/sbin/init", "--timeout", "0"))


@pytest.mark.parametrize("words", [("-p", "80"), ("--network", "host")])
def test_who_stays_keeps_its_ports(words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers that are kept run on, so nothing of them may be there only once."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="verify: --keep leaves containers running") as caught:
        verify(NOTHING, parsed("IMAGE", "--keep", *words))
    assert caught.value.status == 2


def test_the_command_line_goes_before_the_file() -> None:
    """What it does not say, the file says."""
    options = parsed("IMAGE", "--timeout", "3")
    merge(options, Settings(None, {"timeout": 5, "jobs": 2, "strict": True, "command": ["serve"]}), CHECKS)
    assert (options.timeout, options.jobs, options.strict, options.command) == (3, 2, True, ["serve"])


def test_what_is_judged_is_said_once() -> None:
    """Who names an image or an init means that, whatever service the file names; who names nothing means the service."""
    said = Settings(None, {"compose": "compose.yaml", "service": "web"})
    for words in (("IMAGE",), ("--init", "/sbin/init")):
        options = parsed(*words)
        merge(options, said, CHECKS)
        assert (options.compose, options.service) == (None, None)
    options = parsed("--service", "db")
    merge(options, said, CHECKS)
    assert (options.compose, options.service) == ("compose.yaml", "db")


# --- the keys of a file ---


def test_every_option_is_a_key_or_has_a_reason() -> None:
    """Of each option of the command line, and of nothing else; a reason is a reason."""
    parser = argparse.ArgumentParser(add_help=False)
    add_to(parser)
    every = {name_of(action) for action in parser._actions}
    assert set(KEYS) - {"command", "skip"} == every - set(NOT_IN_A_FILE)
    assert set(NOT_IN_A_FILE) <= every
    assert all(len(reason.split()) > 2 for reason in NOT_IN_A_FILE.values())
    assert {
        "runtime",
        "platform",
        "entrypoint",
        "security-opt",
        "shm-size",
        "ulimit",
        "baseline",
        "pull",
        "source",
        "service",
    } < set(KEYS)


CHECKED: Mapping[str, tuple[str, ...]] = {"check": ("SG-01", "EX-06"), "require": ("openshift",)}
"""Values of keys that want particular ones."""


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"command", "skip"}))
def test_a_key_means_what_the_option_means(key: str, tmp_path: Path) -> None:
    """What a file says ends in the same value as the same words on the command line."""
    wanted = KEYS[key]
    judged = () if key in ("compose", "service") else ("IMAGE",)
    values = CHECKED.get(key) or wanted.choices[-1:] or ("3", "4")[: 1 + (wanted.kind is list)]
    words = [f"--{key}"] if wanted.kind is bool else [word for value in values for word in (f"--{key}", value)]
    shown = [value if {wanted.kind, wanted.element} & {int, float} else f'"{value}"' for value in values]
    text = "true" if wanted.kind is bool else f"[{', '.join(shown)}]" if wanted.kind is list else shown[0]
    (tmp_path / "verify.toml").write_text(f"{key} = {text}\n")
    from_file, typed = parsed(*judged), parsed(*judged, *words)
    merge(from_file, load(None, tmp_path), CHECKS)
    name = key.replace("-", "_")
    assert getattr(from_file, name) == getattr(typed, name)
    assert getattr(typed, name) is not None


# --- the end ---


class Client:
    """An engine in which nothing of a session is left, or one image; each request is interrupted once more."""

    def __init__(self, signals: tuple[signal.Signals, ...]) -> None:
        self.signals = signals
        self.api = self
        self.labels: list[dict[str, str]] = []
        self.is_closed = False

    def containers(self, **_: object) -> list[dict[str, object]]:
        """What is asked for first."""
        for number in self.signals:
            os.kill(os.getpid(), number)
        return []

    def networks(self, **_: object) -> list[dict[str, object]]:
        """None."""
        return []

    def volumes(self, **_: object) -> dict[str, object]:
        """None."""
        return {}

    def images(self, *, filters: dict[str, str], **_: object) -> list[dict[str, object]]:
        """What is left, where all are asked for."""
        return [{"Labels": labels} for labels in self.labels] if filters == {"label": LABEL} else []

    def close(self) -> None:
        """The last word."""
        self.is_closed = True


@pytest.fixture
def heard() -> Iterator[None]:
    """Signals as they were before."""
    before = {number: signal.getsignal(number) for number in LEAVING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("first", LEAVING)
@pytest.mark.parametrize("is_left", [False, True])
def test_nothing_interrupts_the_removal(
    first: signal.Signals,
    is_left: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever ended the run, what comes after it does not end what removes; and the last line says what is so."""
    client: Any = Client(LEAVING)

    def begin(engine: Engine, _: object) -> int:
        client.labels = [engine.labels] if is_left else []
        try:
            os.kill(os.getpid(), first)
        finally:
            for number in LEAVING:  # while the observer is ended
                os.kill(os.getpid(), number)
        raise AssertionError("it was not ended")

    monkeypatch.setattr(engines, "connect", lambda: client)
    monkeypatch.setattr(command, "verify", begin)
    with pytest.raises(CommandError if first is signal.SIGINT else SystemExit) as caught:
        run(parsed("IMAGE"))
    assert client.is_closed
    if isinstance(caught.value, CommandError):
        words = "pyinitctl verify --clean removes what is left" if is_left else "everything it had made is removed"
        assert (str(caught.value), caught.value.status) == (f"verify: interrupted; {words}", 130)
    else:
        assert isinstance(caught.value, SystemExit)
        assert caught.value.code == 128 + first


@pytest.mark.usefixtures("heard")
def test_nothing_interrupts_the_end_of_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verdict is told already."""
    client: Any = Client(LEAVING)
    monkeypatch.setattr(engines, "connect", lambda: client)
    monkeypatch.setattr(command, "verify", lambda *_: 0)
    assert (run(parsed("IMAGE")), client.is_closed) == (0, True)
