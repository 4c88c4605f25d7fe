"""A Docker engine of a test's own, which shares nothing with the one that is there.

Folder, socket, containerd and its namespace are private, and so is the network: a dockerd without a bridge (--bridge=none) removes
docker0 wherever it finds it, that of a neighbour as well. It is ended by its PID, with all that it has started.
"""

import contextlib
import io
import os
import re
import shutil
import signal as signals
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import processes
from support.engines import native_executable
from support.waiting import until

IMAGE = "guest:test"
TOOLS = ("sh", "sleep", "cat")


class PrivateEngine:
    """A dockerd with ours as its init: named by --init-path, or found as docker-init on its PATH."""

    def __init__(self, folder: Path, way: str, size: int | None = None) -> None:
        """`size`: the bytes that its disk has, a tmpfs; None: those of this machine's."""
        self.folder = folder
        self.url = f"unix://{folder}/socket"
        self.init = folder / "bin" / "docker-init"
        self.put(native_executable().read_bytes())
        (folder / "config").write_text("{}")  # not the machine's /etc/docker/daemon.json
        self._mark = b"TEST_RUN=" + uuid.uuid4().hex.encode()
        environ = {**os.environ, "TEST_RUN": self._mark.decode().partition("=")[2]}
        environ.pop("DOCKER_HOST", None)
        (folder / "data").mkdir()
        if size is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder / "data"], check=True)
        command = [
            "unshare",
            "--net",
            "dockerd",
            f"--config-file={folder}/config",
            f"--host={self.url}",
            f"--pidfile={folder}/pid",
        ]
        command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", "--storage-driver=vfs"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        # were a containerd of the machine's to be used, ours would be a room of its own there
        namespace = f"pyinit-{uuid.uuid4().hex[:12]}"
        command += [f"--containerd-namespace={namespace}", f"--containerd-plugins-namespace={namespace}-plugins"]
        if way == "--init-path":
            command.append(f"--init-path={self.init}")
        else:
            environ["PATH"] = f"{self.init.parent}:{environ['PATH']}"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def put(self, content: bytes) -> None:
        """Make this the init."""
        self.init.parent.mkdir(exist_ok=True)
        new = self.init.with_name("new")
        new.write_bytes(content)
        new.chmod(0o755)
        new.rename(self.init)

    @property
    def log(self) -> str:
        """What dockerd has said so far."""
        return (self.folder / "log").read_text("utf-8", "backslashreplace")

    def docker(self, *words: str, stdin: bytes = b"") -> str:
        """The output of the command line client, both streams."""
        ran = subprocess.run(
            ["docker", "--host", self.url, *words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        output = ran.stdout.decode("utf-8", "backslashreplace")
        assert ran.returncode == 0, f"docker {' '.join(words)}: {output}\n{self.log}"
        return output

    def ready(self) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log
            return bool(self.docker("version", "--format", "{{.Server.Version}}").strip())

        try:
            until(answers, 60, "the private engine's answer")
        except AssertionError as error:
            pytest.fail(f"no private dockerd: {error}\n{self.log}", pytrace=False)

    def left(self) -> list[int]:
        """What it has started and is still there: by its mark, and the containers below."""
        marked = [pid for pid in processes.marked(self._mark) if processes.is_alive(pid)]
        below = [pid for one in marked for pid in processes.descendants(one) if processes.is_alive(pid)]
        return [*marked, *below]

    def close(self) -> None:
        """End it, and whatever it leaves behind."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

        def nobody() -> bool:
            left = self.left()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signals.SIGKILL)
            return not left

        until(nobody, 20, "the end of the private engine's processes")
        for line in reversed(Path("/proc/self/mountinfo").read_text("utf-8").splitlines()):
            where = line.split()[4]
            if where.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", where], check=True)
        shutil.rmtree(self.folder)


def guest() -> bytes:
    """A root of a shell and two tools of this machine's, with the libraries they need."""
    files = set()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        needed = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        files |= {found, *re.findall(r"(?:=> |^\s+)(/\S+) \(0x", needed, re.MULTILINE)}
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w", dereference=True) as tar:
        for file in sorted(files):
            tar.add(file, f"bin/{Path(file).name}" if Path(file).name in TOOLS else file)
    return root.getvalue()


@contextlib.contextmanager
def private_engine(way: str, size: int | None = None) -> Iterator[PrivateEngine]:
    """A private engine with an image of a shell, for as long as this lasts."""
    if os.geteuid() != 0:
        pytest.skip("an engine of one's own needs root")
    if shutil.which("dockerd") is None:
        pytest.skip("there is no dockerd on this machine: the engine of these tests is somewhere else")
    # a short name: a socket's may have 107 characters
    private = PrivateEngine(Path(tempfile.mkdtemp(prefix="pyinit-engine-")), way, size)
    try:
        private.ready()
        private.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, stdin=guest())
        yield private
    finally:
        private.close()
