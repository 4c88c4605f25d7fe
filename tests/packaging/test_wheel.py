"""The pure wheel: what is in it, and that it works where nothing else is. This machine's: test_native.py."""

import ast
import configparser
import email
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyinit.init import about
from pyinit.init.start import VERSION
from support import generate

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_has_no_dependency(pure_wheel: Path) -> None:
    """Whatever is required is required by an extra."""
    with zipfile.ZipFile(pure_wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "pyinit-pid1"
    assert metadata["Version"] == VERSION
    assert [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line] == []


def test_the_command_is_a_script_and_no_entry_point(pure_wheel: Path) -> None:
    """An entry point would import a good deal before signals are blocked."""
    with zipfile.ZipFile(pure_wheel) as archive:
        names = archive.namelist()
        script = next(n for n in names if n.endswith(".data/scripts/pyinit"))
        assert archive.read(script).startswith(b"#!python\n")
        assert archive.getinfo(script).external_attr >> 16 & stat.S_IXUSR
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode())
        assert list(entries["console_scripts"]) == ["pyinitctl"]
        assert {n.partition("/")[0] for n in names if "pyinit_pid1" not in n} == {"pyinit"}
        assert any(n.endswith(".data/data/share/man/man8/pyinit.8") for n in names)


@pytest.mark.parametrize("path", ["pyinit/launcher", "pyinit/__main__.py", "pyinit/init/__main__.py"])
def test_nothing_comes_before_the_mask(path: str) -> None:
    """The first statement imports `_signal`, a built-in; the second blocks every signal."""
    first, second, *_ = (n for n in ast.parse((ROOT / path).read_text()).body if not isinstance(n, ast.Expr))
    assert isinstance(first, ast.Import)
    assert [alias.name for alias in first.names] == ["_signal"]
    assert ast.unparse(second).startswith("_MASK = _signal.pthread_sigmask(_signal.SIG_SETMASK, [*range(1, 32)")


def test_both_ways_to_start_it(bare: Path) -> None:
    """`pyinit` and `python3 -I -m pyinit`, without any other package."""
    for command in ([bare / "bin" / "pyinit"], [bare / "bin" / "python", "-I", "-m", "pyinit"]):
        ran = subprocess.run([*command, "--", "sh", "-c", "exit 42"], check=False, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout, ran.stderr) == (42, "", "")
        said = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True).stdout
        assert re.fullmatch(rf"pyinit {re.escape(VERSION)} \(Python engine, cpython 3\.\d+\.\d+\)\n", said)


def test_everything_imports_in_the_bare_environment(bare: Path) -> None:
    """The core: no file of pyinit.init needs an extra."""
    files = [p.stem for p in (ROOT / "pyinit" / "init").glob("*.py") if p.stem != "__main__"]
    code = "; ".join(f"import pyinit.init.{name}" for name in sorted(files))
    subprocess.run([bare / "bin" / "python", "-I", "-c", code], check=True)


def test_the_source_distribution_builds_the_same_wheel(pure_wheel: Path, tmp_path: Path) -> None:
    """Whoever builds from the sdist gets what we tested."""
    build = "import hatchling.build as b, sys; print(b.build_sdist(sys.argv[1]))"
    name = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=ROOT, check=True, capture_output=True, text=True)
    sdist = tmp_path / name.stdout.split()[-1]
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    pip: list[str | Path] = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path / "again",
    ]
    subprocess.run([sys.executable, *pip, tmp_path / sdist.name.removesuffix(".tar.gz")], check=True)
    (tmp_path / sdist.name.removesuffix(".tar.gz") / "pyinit" / "native" / "engine.c").stat()
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(pure_wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        code = [n for n in one.namelist() if ".dist-info/" not in n]
        assert {n: one.read(n) for n in code} == {n: other.read(n) for n in code}


def test_generated_files_are_not_stale() -> None:
    """The README's tables and the manual page come from the option table: python tests/support/generate.py."""
    assert generate.readme() == generate.README.read_text(encoding="utf-8")
    assert about.manual_page() == generate.MANUAL.read_text(encoding="utf-8")


def test_the_licence_is_the_licence() -> None:
    """`--license` prints what the LICENSE file says."""
    assert (ROOT / "LICENSE").read_text(encoding="utf-8") == about.LICENSE


def test_the_manual_page_formats_without_a_complaint() -> None:
    """Read by man itself, with warnings on."""
    ran = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", generate.MANUAL],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stderr == ""


def test_init_knows_nobody() -> None:
    """PID 1 imports nothing of pyinit outside its own folder."""
    for path in (ROOT / "pyinit" / "init").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(not n.startswith("pyinit") or n.startswith("pyinit.init") for n in names), path
