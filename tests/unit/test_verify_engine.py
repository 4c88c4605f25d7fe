"""What the engine's half of `pyinitctl verify` does around its requests: all that needs no engine. Real ones: tests/container."""

from __future__ import annotations

from typing import Any

import docker.errors
import pytest

from pyinit.containers import engine


class Removing:
    """An engine that is removing a container already, for as long as it is asked so many times."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self.removals = 0

    def remove_container(self, identity: str, **_: bool) -> None:
        """As dockerd refuses a second removal."""
        self.removals += 1
        if self.asked:
            raise docker.errors.APIError(f"removal of container {identity} is already in progress")

    def inspect_container(self, identity: str) -> dict[str, str]:
        """What is there until it is gone."""
        if not self.asked:
            raise docker.errors.NotFound(f"No such container: {identity}")
        self.asked -= 1
        return {"Id": identity}


def test_a_removal_under_way_is_waited_for() -> None:
    """Only then are its volumes and its image free."""
    api: Any = Removing(3)
    engine.remove(api, "c")
    assert (api.asked, api.removals) == (0, 1)


def test_a_removal_that_does_not_end_is_no_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, and told."""
    monkeypatch.setattr(engine, "REMOVED_WITHIN", 0.0)
    api: Any = Removing(100)
    with pytest.raises(docker.errors.APIError, match="in progress"):
        engine.remove(api, "c")
    assert api.removals == 3
