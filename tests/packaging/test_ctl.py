"""The command `pyinitctl`, installed where nothing else is."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyinit.init.start import VERSION
from pyinit.native import elf
from pyinit.native.targets import TARGETS
from support.terminal import Terminal
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path = ROOT) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_help_and_version(bare: Path) -> None:
    """As every command does."""
    ctl = bare / "bin" / "pyinitctl"
    assert run(ctl, "--version") == (0, f"pyinitctl {VERSION}\n", "")
    ours = (("--help",), ("native", "--help"), ("native", "path", "--help"), ("explain", "--help"), ("stop", "--help"))
    for words in ours:
        status, out, err = run(ctl, *words)
        assert (status, err) == (0, "")
        assert out.startswith("usage: pyinitctl")


def test_schema_of_the_reports(bare: Path) -> None:
    """It is in the wheel, and is printed where no extra is installed."""
    status, out, err = run(bare / "bin" / "pyinitctl", "verify", "--schema")
    assert (status, err) == (0, "")
    assert json.loads(out)["properties"]["schema"]["const"] == "pyinit-verify/1"


def test_lint_needs_its_extra(bare: Path, pure_wheel: Path) -> None:
    """It says which; its pages are in the wheel all the same."""
    status, out, err = run(bare / "bin" / "pyinitctl", "lint", ".")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(
        "pyinitctl: lint needs dockerfile and tree-sitter and tree-sitter-bash and pyyaml: pip install "
    )
    pages = {path.name for path in (ROOT / "pyinit" / "lint" / "rules").glob("*.md")}
    with zipfile.ZipFile(pure_wheel) as wheel:
        assert {Path(name).name for name in wheel.namelist() if name.startswith("pyinit/lint/rules/")} == pages


@pytest.mark.parametrize("words", [("explain", "shop"), ("stop", "--container", "shop")])
def test_containers_need_their_extra(bare: Path, words: tuple[str, ...]) -> None:
    """It says which."""
    status, out, err = run(bare / "bin" / "pyinitctl", *words)
    assert (status, out) == (2, "")
    assert err == f"pyinitctl: {words[0]} needs docker and rich: pip install 'pyinit-pid1[verify]'\n"


def test_wrong_usage(bare: Path) -> None:
    """Exit status 2, and what there is instead."""
    ctl = bare / "bin" / "pyinitctl"
    status, _, err = run(ctl)
    assert status == 2
    status, _, err = run(ctl, "native", "path", "vax")
    assert status == 2
    assert f"'vax' is no machine that pyinit is built for: there are {', '.join(TARGETS)}" in err


def test_path_of_the_executable(bare_native: Path, tmp_path: Path) -> None:
    """One line: a file that COPY can take."""
    target = elf.read(bare_native / "bin" / "pyinit").target
    assert target is not None
    for words in ((), (target.name,), *((alias,) for alias in target.aliases)):
        status, out, err = run(bare_native / "bin" / "pyinitctl", "native", "path", *words, cwd=tmp_path)
        assert (status, err) == (0, "")
        assert Path(out.removesuffix("\n")) == (bare_native / "bin" / "pyinit").resolve()
    assert run(bare_native / "bin" / "python", "-I", "-m", "pyinit.ctl", "native", "path")[0] == 0


def test_another_machine_s(bare_native: Path) -> None:
    """Says which one is here, and how to get the other."""
    mine = elf.read(bare_native / "bin" / "pyinit").target
    assert mine is not None
    other = next(target for target in TARGETS.values() if target != mine)
    status, out, err = run(bare_native / "bin" / "pyinitctl", "native", "path", other.name)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"pyinitctl: no native executable for {other.name} here: " in err
    assert f"is for {mine.name}. Write instead: pip install" in err
    assert f"--platform={other.tags[0]}" in err


def test_the_pure_wheel_has_none(bare: Path) -> None:
    status, out, err = run(bare / "bin" / "pyinitctl", "native", "path")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "this is the pure wheel" in err


def test_the_way_out_works(bare: Path, native_wheel: Path, tmp_path: Path) -> None:
    """The command that the error names, with this machine's wheel in a folder instead of the index."""
    mine = elf.read(Path(os.environ["PYINIT_NATIVE"])).target
    assert mine is not None
    _, _, err = run(bare / "bin" / "pyinitctl", "native", "path", mine.name)
    found = re.search(r"Write instead: pip (.*), and take FOLDER/bin/pyinit$", err.strip())
    assert found, err
    words = found[1].replace("FOLDER", str(tmp_path)).split()
    index = ("--no-index", "--find-links", native_wheel.parent, "--quiet", "--disable-pip-version-check")
    status, _, err = run(sys.executable, "-m", "pip", *words, *index)
    assert status == 0, err
    elf.check(tmp_path / "bin" / "pyinit", mine)
    # and pyinitctl finds it there, although pip does not record where --target put it
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, tmp_path / "bin" / "pyinitctl", "native", "path"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str((tmp_path / "bin" / "pyinit").resolve()), done.stderr


def test_a_source_tree_has_none(bare: Path, tmp_path: Path) -> None:
    """Nothing is installed there: says how to build it."""
    bare_tree = tmp_path / "tree"
    bare_tree.mkdir()
    (bare_tree / "pyinit").symlink_to(ROOT / "pyinit")
    python = Path(os.path.realpath(bare / "bin" / "python"))
    status, out, err = run(python, "-S", "-m", "pyinit.ctl", "native", "path", cwd=bare_tree)
    if status == 0:
        pytest.fail(out)
    assert "this is a source tree. Install a wheel, or build it: python -m pyinit.native.build" in err


def test_start_needs_no_extra(bare: Path, tmp_path: Path) -> None:
    """TOML and JSON are read by the core; YAML is an extra, and says so in one line."""
    ctl = bare / "bin" / "pyinitctl"
    status, out, err = run(ctl, "start", "--schema")
    assert (status, out, err) == (
        0,
        (ROOT / "pyinit" / "supervise" / "apps.schema.json").read_text(encoding="utf-8"),
        "",
    )
    (tmp_path / "a.json").write_text('{"apps": [{"script": "sleep", "args": "1"}]}', encoding="utf-8")
    status, out, err = run(ctl, "convert", "a.json", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert 'command = ["sleep", "1"]' in out
    (tmp_path / "a.yaml").write_text("apps: []", encoding="utf-8")
    status, out, err = run(ctl, "convert", "a.yaml", cwd=tmp_path)
    assert (status, out) == (1, "")
    assert err == (
        "pyinitctl: convert: a.yaml: YAML needs PyYAML: pip install 'pyinit-pid1[supervise]', or write the file as JSON or TOML\n"
    )


def test_monit_and_metrics_need_their_extras(bare: Path) -> None:
    """Each says which, in one line."""
    ctl = bare / "bin" / "pyinitctl"
    line = "pyinitctl: monit: rich is not installed: pip install 'pyinit-pid1[monit]'\n"
    assert run(ctl, "monit") == (1, "", line)
    line = "pyinitctl: metrics: prometheus_client is not installed: pip install 'pyinit-pid1[metrics]'\n"
    assert run(ctl, "metrics") == (1, "", line)


def test_list_on_a_terminal_without_the_extra(bare: Path, tmp_path: Path) -> None:
    """As plain as in a pipe."""
    ctl, socket = bare / "bin" / "pyinitctl", str(tmp_path / "s")
    command = [
        str(ctl),
        "start",
        "--socket",
        socket,
        "--interpreter",
        "none",
        "--min-uptime",
        "100",
        "sleep",
        "--",
        "1000",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        try:
            until(lambda: run(ctl, "ready", "--socket", socket)[0] == 0, 20, "the app")
            with Terminal([str(ctl), "list", "--socket", socket]) as terminal:
                assert terminal.wait() == 0
                header, row = terminal.output.splitlines()
        finally:
            started.terminate()
    assert header.split()[:3] == ["id", "name", "namespace"]
    assert row.split()[:4] == ["0", "sleep", "default", "0"]
