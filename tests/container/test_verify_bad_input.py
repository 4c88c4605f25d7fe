"""`pyinitctl verify` where the world is against it: a full disk, an image for another machine. One clear line, exit status 2."""

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from pyinit.containers.image import pack
from support.private_engine import IMAGE, private_engine
from support.verifying import CTL, GOOD, Ctl

QUICK = ("--network", "none", "--ready-log", "^ready$", "--timeout", "3", "--check", "SG-01", "--check", "EX-06")


def foreign(platform: str) -> bytes:
    """What `docker load` takes: an image for that platform, with a program that says it is an AArch64 executable."""
    program = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0x400000, 64, 0, 0, 64, 56, 0, 0, 0, 0)
    )
    layer = tar_of({"program": program})
    os_name, _, machine = platform.partition("/")
    config = {
        "architecture": machine,
        "os": os_name,
        "config": {"Entrypoint": ["/program"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    return tar_of(
        {
            "layer.tar": layer,
            "config.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar of executables."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("linux/arm64", "The image is for linux/arm64, and the engine's machine is "),
        ("", "It is a script without a first line"),
    ],
)
def test_an_image_for_another_machine(ctl: Ctl, client: docker.DockerClient, platform: str, said: str) -> None:
    """Which machine it is for, and which one is here; where the image says nothing of the kind, what else it may be."""
    if Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        pytest.skip("this machine runs AArch64 programs, by qemu")
    [image] = client.images.load(foreign(platform or f"linux/{client.version()['Arch']}"))
    try:
        done = ctl("--network", "none", str(image.id))
    finally:
        client.images.remove(str(image.id))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "exec format error" in done.complaint
    assert said in done.complaint


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that has room for one page."""
    if os.geteuid() != 0:
        pytest.skip("a disk of one's own needs root")
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_reports_on_a_full_disk(ctl: Ctl, base: str, full: Path) -> None:
    """What cannot be written, and why; half a report does not stay."""
    (full / "all").write_bytes(bytes(4096))
    for option, name in (("--json", "r.json"), ("--junit", "r.xml"), ("--markdown", "r.md"), ("--html", "r.html")):
        done = ctl(base, *QUICK, option, str(full / name), "--", "python3", "-c", GOOD)
        assert (done.returncode, done.complaint) == (
            2,
            f"pyinitctl: verify: the report cannot be written to {full / name}: No space left on device",
        )
        assert [path.name for path in full.iterdir()] == ["all"]


@pytest.mark.parametrize("words", [("--json", "-"), ()])
def test_stdout_on_a_full_disk(base: str, words: tuple[str, ...]) -> None:
    """Neither the table nor the JSON gets lost without a word."""
    command = [*CTL, base, *QUICK, *words, "--", "python3", "-c", GOOD]
    with Path("/dev/full").open("w") as nowhere:
        done = subprocess.run(command, stdout=nowhere, stderr=-1, text=True, check=False, timeout=100)
    lines = [line for line in done.stderr.splitlines() if not line[:1].isdigit()]
    assert (done.returncode, lines) == (
        2,
        ["pyinitctl: verify: the report cannot be written to stdout: No space left on device"],
    )


@pytest.mark.parametrize(("room", "said"), [(0.5, "cannot be imported"), (1.5, "no container can be made")])
def test_an_engine_whose_disk_is_full(ctl: Ctl, room: float, said: str) -> None:
    """`room`: for how much of what verify brings along. What the engine could not do, and that its disk is full."""
    tar, _ = pack()
    with private_engine("--init-path", int(len(tar) * room) + 8_000_000) as private:
        done = ctl(IMAGE, "--network", "none", "--", "sleep", "60", DOCKER_HOST=private.url)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.complaint
    assert "no space left on device" in done.complaint
    assert len(done.complaint) < 1000
