"""What `pyinitctl verify` makes of its options, and what it says of those that cannot be: all that needs no engine."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pyinit.ctl.errors import CommandError
from pyinit.ctl.verify import _plan, _run_options, add
from pyinit.verify.settings import Settings


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
    made, words = _run_options(
        parsed("IMAGE", "-e", "DB_PASSWORD", "-e", "NOT_SET", "-e", "A=b", "--env-file", str(file))
    )
    assert made == {"environment": ["TOKEN=secret", "DB_PASSWORD=secret", "DB_PASSWORD=secret", "A=b"]}
    assert words == ("-e", "DB_PASSWORD", "-e", "NOT_SET", "-e", "A=b", "--env-file", str(file))


@pytest.mark.parametrize("word", ["EX-06", "EX-06=", "EX-06= "])
def test_who_leaves_a_check_out_says_why(word: str) -> None:
    """On the command line as in the file."""
    with pytest.raises(CommandError, match=r"--skip EX-06.*: a reason is needed: --skip 'EX-06=why'"):
        _plan(parsed("IMAGE", "--skip", word), Settings())
    assert _plan(parsed("IMAGE", "--skip", "EX-06=a JVM"), Settings()).left_out == {"EX-06": "a JVM"}
