"""`pyinitctl lint` as a user types it: exit statuses, reports, pages, and one clear line for whatever cannot be done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyinit.ctl import lint as command
from pyinit.ctl.__main__ import main
from pyinit.lint.catalogue import RULES

BAD = "FROM debian\nCMD app; echo x\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_statuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 nothing, 1 findings, 2 a file that cannot be judged."""
    (folder / "Dockerfile").write_text('FROM debian\nCMD ["app"]\n')
    assert main(["lint", "."]) == 0
    assert capsys.readouterr().out == "0 findings in 1 file\n"
    (folder / "Dockerfile").write_text(BAD)
    assert main(["lint", "Dockerfile"]) == 1
    assert capsys.readouterr().out.startswith("Dockerfile:2:1: PI101 ")
    (folder / "Dockerfile").write_text("nothing\n")
    assert main(["lint", "--", "Dockerfile"]) == 2
    assert capsys.readouterr().err == "pyinitctl: lint: Dockerfile: it has no FROM, so it makes no image\n"


def test_choosing(folder: Path) -> None:
    """By whole names and by their beginning."""
    (folder / "Dockerfile").write_text(BAD)
    for words, status in (
        (["--select", "PI101"], 1),
        (["--select", "pi1"], 1),
        (["--select", "PI2,PI102"], 0),
        (["--ignore", "PI101"], 0),
        (["--select", "PI1", "--ignore", "PI102"], 1),
    ):
        assert main(["lint", *words, "."]) == status, words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which files? pyinitctl lint PATH..."),
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["--context", "nowhere", "."], "nowhere: there is no such file or folder"),
        (["--select", "PI999", "."], "there is no rule 'PI999': there are PI001, PI101"),
        (["--ignore", "", "--select", ",", "."], "there is no rule ''"),
        (["--explain", "PT-01"], "there is no rule 'PT-01'"),
        (["--output", "no/such/folder", "."], "no/such/folder cannot be written: "),
    ],
)
def test_what_cannot_be_done(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit status 2."""
    assert main(["lint", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), said in err) == ("", 1, True), err


def test_pages(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in RULES:
        assert main(["lint", "--explain", rule.id.lower()]) == 0
        assert capsys.readouterr().out == rule.page
    assert main(["lint", "--list-rules"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [rule.id for rule in RULES]


def test_report_into_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Dockerfile").write_text(BAD)
    assert main(["lint", "--format", "sarif", "--output", "r.sarif", "."]) == 1
    assert json.loads((folder / "r.sarif").read_text())["version"] == "2.1.0"
    assert main(["lint", "--format", "json", "."]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["rule"] == "PI101"


def test_without_an_engine(folder: Path) -> None:
    """A note, and everything else is judged as without --image. (A process: the client library leaves a socket open.)"""
    (folder / "Dockerfile").write_text(BAD)
    done = subprocess.run(
        [sys.executable, "-m", "pyinit.ctl", "lint", "--image", "."],
        env={**os.environ, "DOCKER_HOST": f"unix://{folder}/no.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout[:23]) == (1, "Dockerfile:2:1: PI101 t")
    assert done.stderr.startswith("pyinitctl: lint: no image was asked: no container engine answers at unix://")
    assert done.stderr.count("\n") == 1


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "yaml" else name)
    assert main(["lint", "."]) == 2
    assert capsys.readouterr().err == "pyinitctl: lint needs pyyaml: pip install 'pyinit-pid1[lint]'\n"
