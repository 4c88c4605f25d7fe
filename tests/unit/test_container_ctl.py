"""`pyinitctl stop` and `explain`: which of the two is meant, an app or a container, and what is said where that is not clear."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pyinit.ctl import container, supervise
from pyinit.ctl.asking import NO_SUPERVISOR
from pyinit.ctl.errors import CommandError


def parsed(*words: str) -> argparse.Namespace:
    """The options of that command line."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    supervise.add(commands)
    container.add(commands)
    return parser.parse_args(words)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The containers that were to be stopped."""
    found: list[str] = []

    def note(options: argparse.Namespace) -> int:
        found.append(options.container)
        return 0

    monkeypatch.setattr(container, "run_stop", note)
    return found


@pytest.mark.parametrize("words", [("web",), ("web", "-a"), ("all",), ("web", "db")])
def test_a_name_alone_is_an_app_s(words: tuple[str, ...], stopped: list[str], tmp_path: Path) -> None:
    """Without a supervisor, too: that must not make it a container's. The way to one is named."""
    options = parsed("stop", *words, "--socket", str(tmp_path / "none"))
    with pytest.raises(
        CommandError, match=rf"there is no supervisor.*A container is stopped by --container {words[0]}$"
    ) as caught:
        options.run(options)
    assert (caught.value.status, stopped) == (NO_SUPERVISOR, [])


def test_a_container_is_called_one(stopped: list[str]) -> None:
    """And then no supervisor is asked."""
    options = parsed("stop", "--container", "web", "--time", "3")
    assert (options.run(options), stopped) == (0, ["web"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which app (an id, a name, all), or which --container NAME?"),
        (("web", "--container", "web"), "web is about apps, --container about a container: leave one of them out"),
        (("--container", "web", "--socket", "x"), "--socket is about apps"),
        (("--container", "web", "--only", "x"), "--only is about apps"),
        (("--container", "web", "--update-env"), "--update-env is about apps"),
        (("web", "--time", "0"), "--time is about a container: add --container NAME"),
        (("web", "--signal", "INT"), "--signal is about a container"),
        (("web", "--json"), "--json is about a container"),
        (("web", "--svg", "x"), "--svg is about a container"),
        (("web", "--source", "auto"), "--source is about a container"),
        (("web", "--observer-image", "x"), "--observer-image is about a container"),
    ],
)
def test_what_is_not_clear(words: tuple[str, ...], said: str, stopped: list[str]) -> None:
    """Nothing is done."""
    options = parsed("stop", *words)
    with pytest.raises(CommandError) as caught:
        options.run(options)
    assert said in str(caught.value)
    assert (caught.value.status, stopped) == (2, [])
