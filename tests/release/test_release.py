"""dist/release: eight platform wheels, the pure one, and the sdist. tests/packaging/test_machines.py runs the executables."""

import email
import email.message
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import packaging.utils
import pytest

from pyinit.init.start import VERSION
from pyinit.native import elf
from pyinit.native.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ["PYINIT_RELEASE"])
WHEELS = sorted(RELEASE.glob("*.whl"))
INFO = f"pyinit_pid1-{VERSION}.dist-info"
SCRIPT = f"pyinit_pid1-{VERSION}.data/scripts/pyinit"


def test_everything_is_there() -> None:
    """And nothing else."""
    expected = {f"pyinit_pid1-{VERSION}.tar.gz", f"pyinit_pid1-{VERSION}-py3-none-any.whl"}
    expected |= {f"pyinit_pid1-{VERSION}-py3-none-{'.'.join(target.tags)}.whl" for target in TARGETS.values()}
    assert {path.name for path in RELEASE.iterdir()} == expected


def metadata(path: Path) -> email.message.Message:
    """METADATA or PKG-INFO."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return email.message_from_bytes(archive.read(f"{INFO}/METADATA"))
    with tarfile.open(path) as tar:
        file = tar.extractfile(f"pyinit_pid1-{VERSION}/PKG-INFO")
        assert file is not None
        return email.message_from_bytes(file.read())


@pytest.mark.parametrize("path", sorted(RELEASE.iterdir()), ids=lambda path: path.name)
def test_metadata(path: Path) -> None:
    """What an index asks for: names, versions, a licence, and a description that it can show."""
    found = metadata(path)
    assert (found["Name"], found["Version"]) == ("pyinit-pid1", VERSION)
    assert re.fullmatch(r"2\.\d", found["Metadata-Version"])
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == "MIT"
    assert found["Description-Content-Type"] == "text/markdown"
    assert str(found.get_payload()).startswith("# pyinit\n")
    assert len(found["Summary"]) <= 512
    assert "\n" not in found["Summary"]


@pytest.mark.parametrize("path", WHEELS, ids=lambda path: path.name)
def test_wheel(path: Path) -> None:
    """The name says what the file WHEEL says, every file is in RECORD, nothing is C, and `pyinit` is what it should be."""
    tags = packaging.utils.parse_wheel_filename(path.name)[3]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        wheel = email.message_from_bytes(archive.read(f"{INFO}/WHEEL"))
        assert set(wheel.get_all("Tag", [])) == {str(tag) for tag in tags}
        recorded = [line.split(",")[0] for line in archive.read(f"{INFO}/RECORD").decode().splitlines()]
        assert sorted(recorded) == sorted(names)
        assert len(set(names)) == len(names)
        assert not [name for name in names if name.endswith((".c", ".h"))]
        assert archive.getinfo(SCRIPT).external_attr >> 16 & stat.S_IXUSR
        begins = archive.read(SCRIPT)[:9]
    assert begins == b"#!python\n" if path.name.endswith("-any.whl") else begins.startswith(b"\x7fELF")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_executable(target: Target, tmp_path: Path) -> None:
    """For the machine that the tag names, static, and small."""
    (path,) = RELEASE.glob(f"*{target.tags[0]}*.whl")
    made = tmp_path / "pyinit"
    with zipfile.ZipFile(path) as archive:
        made.write_bytes(archive.read(SCRIPT))
    elf.check(made, target)
    assert made.stat().st_size < 128 * 1024


@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", ["", *TARGETS])
def test_the_same_again_from_the_sdist(target: str, tmp_path: Path) -> None:
    """Unpacked in another folder, the sdist builds the same wheel, byte for byte. Without a target: the pure one."""
    with tarfile.open(RELEASE / f"pyinit_pid1-{VERSION}.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    pip = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    source = tmp_path / f"pyinit_pid1-{VERSION}"
    done = subprocess.run(
        [sys.executable, *pip, "--wheel-dir", tmp_path / "again", source],
        env={**os.environ, "PYINIT_TARGET": target, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "again").iterdir()
    assert again.read_bytes() == (RELEASE / again.name).read_bytes()
