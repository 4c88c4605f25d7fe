"""The executable of other machines, run: qemu translates its instructions, this machine's kernel serves its calls.

The level packaging does x86_64 and aarch64, and builds them; the level release does all eight, out of their wheels. What qemu does
not do as a kernel would is left out: it knows no subreaper, and its vfork shares no memory (so why an exec failed is lost).
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyinit.init.start import VERSION
from pyinit.native import elf
from pyinit.native.targets import TARGETS, Target
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
RELEASE = os.environ.get("PYINIT_RELEASE")
QEMU = {"armv7l": "arm", "i686": "i386"}
HOST = elf.read(Path(os.environ["PYINIT_NATIVE"])).target
FOREIGN = pytest.mark.skipif(
    not RELEASE and os.environ.get("PYINIT_COMPILER", "zig") != "zig",
    reason="only zig compiles for other machines, and it is not to be had here",
)
pytestmark = pytest.mark.timeout(600)  # zig compiles a machine's libc when it first sees it


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(target, id=name, marks=() if target == HOST else FOREIGN)
        for name, target in TARGETS.items()
        if RELEASE or name in {"x86_64", "aarch64"}
    ],
)
def target(request: pytest.FixtureRequest) -> Target:
    """One machine after the other."""
    machine: Target = request.param
    return machine


@pytest.fixture(scope="module")
def command(target: Target, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What runs that machine's executable here."""
    path = tmp_path_factory.mktemp(target.name) / "pyinit"
    if RELEASE:
        (wheel,) = Path(RELEASE).glob(f"*{target.tags[0]}*.whl")
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(f"pyinit_pid1-{VERSION}.data/scripts/pyinit"))
        path.chmod(0o755)
    elif target == HOST:
        shutil.copy(os.environ["PYINIT_NATIVE"], path)
    else:
        build: list[str | Path] = [
            sys.executable,
            "-m",
            "pyinit.native.build",
            "--target",
            target.name,
            "--output",
            path,
        ]
        done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    elf.check(path, target)
    assert path.stat().st_mode & stat.S_IXUSR
    if target == HOST:
        return [str(path)]
    qemu = shutil.which(f"qemu-{QEMU.get(target.name, target.name)}-static")
    if qemu is None:
        pytest.skip(f"this Debian's qemu-user-static knows no {target.name}")
    return [qemu, str(path)]


def run(command: list[str], *words: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_version(command: list[str], target: Target) -> None:
    """It says which machine it is for."""
    assert run(command, "--version") == (0, f"pyinit {VERSION} (native engine, {target.name})\n", "")


def test_usage(command: list[str]) -> None:
    """A wrong option is named, in the same words as everywhere."""
    status, out, err = run(command, "--grace", "never", "--", "true")
    assert (status, out) == (125, "")
    assert "never" in err


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_status(command: list[str], code: int) -> None:
    """The program's own."""
    assert run(command, "--no-subreaper", "--", "sh", "-c", f"exit {code}")[0] == code


def test_death_by_signal(command: list[str]) -> None:
    """128 and its number."""
    assert run(command, "--no-subreaper", "--", "sh", "-c", "kill -USR1 $$")[0] == 128 + signal.SIGUSR1


def stopped(command: list[str], script: str, log: Path) -> tuple[int, str, str]:
    """Start a shell script below it, send TERM once the script is ready; the end, and both outputs."""
    words = ["--no-subreaper", "--grace", "1s", "--", "sh", "-c", script]
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    with out.open("w") as stdout, err.open("w") as stderr:
        started = subprocess.Popen([*command, *words], stdout=stdout, stderr=stderr)
    try:
        until(lambda: "ready" in out.read_text(), 60, "the program to be ready")
        started.terminate()
        status = started.wait(60)
    finally:
        started.kill()
        started.wait()
    return status, out.read_text(), err.read_text()


def test_term_is_forwarded(command: list[str], tmp_path: Path) -> None:
    """The program's handler runs, and decides the status."""
    script = "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    assert stopped(command, script, tmp_path / "log") == (7, "ready\ngot TERM\n", "")


def test_escalation_is_told(command: list[str], tmp_path: Path) -> None:
    """Whoever ignores it is killed when the grace is over, and named."""
    status, _, err = stopped(command, "trap '' TERM; echo ready; while :; do sleep 0.1; done", tmp_path / "log")
    assert status == 137
    assert err.startswith("pyinit: killed ")
    assert "sh (ignores SIGTERM)" in err
