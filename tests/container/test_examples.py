"""docker/examples: each image is built as it stands, started, and stopped; none needs Python or a shell in the image.

Where no registry answers, stand-ins for the images that they name are made of the packages in docker/packages/examples.
"""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import docker
import pytest

from support.containers import LABEL, Container, remove

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "docker" / "examples"

COPY_LIBC = 'RUN mkdir -p /made && cp --parents -L $(ldd /bin/true | grep -o "/[^ ]*") /made'
COPY_BUSYBOX = (
    "RUN mkdir -p /made/bin && cp $(command -v busybox) /made/bin/ && "
    "for name in $(busybox --list); do [ $name = busybox ] || ln -s busybox /made/bin/$name; done"
)
STAND_INS = {
    "DISTROLESS": (COPY_LIBC, "ENV PATH=/usr/bin:/bin"),
    "BUSYBOX": (COPY_BUSYBOX, "ENV PATH=/bin"),
}
"""How the base becomes the stand-in for an image: the step that gathers its files in /made, and a setting of the image."""

Build = Callable[..., str]


def build_image(dockerfile: Path, tag: str, context: Path, **arguments: str) -> None:
    """`docker build`, by the classic builder, which is everywhere; without network."""
    command: list[str | Path] = ["docker", "build", "--quiet", "--network=none", "--tag", tag, "--file", dockerfile]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    done = subprocess.run(
        [*command, context], env={**os.environ, "DOCKER_BUILDKIT": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"cannot build {dockerfile}:\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def base(client: docker.DockerClient) -> str:
    """Everything that the examples' first stages need."""
    assert client.ping()
    done = subprocess.run(["docker/base", "examples"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"docker/base examples failed:\n{done.stderr}", pytrace=False)
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def build(base: str, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build an example by its name; returns the image."""
    context = tmp_path_factory.mktemp("examples")
    wheel = Path(os.environ["PYINIT_WHEEL"])
    # the context of `docker build .`, as .dockerignore leaves it
    project = context / "project"
    (project / "dist").mkdir(parents=True)
    shutil.copy(wheel, project / "dist")
    shutil.copytree(EXAMPLES, project / "docker" / "examples")
    named = {"BASE": base, "COMPILER": base, "NODE": base}
    for name, (step, setting) in STAND_INS.items():
        text = f"FROM {base} AS made\n{step}\nFROM scratch\nCOPY --from=made /made/ /\n{setting}\n"
        stand_in = context / name
        stand_in.mkdir()
        (stand_in / "Dockerfile").write_text(text)
        named[name] = f"pyinit-test-{name.lower()}:{hashlib.sha256((base + text).encode()).hexdigest()[:12]}"
        build_image(stand_in / "Dockerfile", named[name], stand_in)

    def build_example(name: str) -> str:
        dockerfile = project / "docker" / "examples" / name / "Dockerfile"
        words = [
            line.split()[1].partition("=")[0] for line in dockerfile.read_text().splitlines() if line[:4] == "ARG "
        ]
        tag = f"pyinit-test-example-{name}:latest"
        build_image(dockerfile, tag, project, **{word: named[word] for word in words})
        return tag

    return build_example


@pytest.fixture
def start(client: docker.DockerClient, session_name: str) -> Iterator[Callable[..., Container]]:
    """Start an image as its own ENTRYPOINT and CMD say, or with other words; removed with the test."""
    mine: list[Container] = []

    def start_image(image: str, command: list[str] | None = None, environment: Sequence[str] = ()) -> Container:
        raw = client.containers.create(
            image, command, network_mode="none", labels={LABEL: session_name}, environment=list(environment)
        )
        mine.append(Container(raw))
        mine[-1].start()
        return mine[-1]

    yield start_image
    for container in mine:
        remove(container.raw)


def files_of(client: docker.DockerClient, image: str) -> set[str]:
    """The names of every program in an image."""
    raw = client.containers.create(image, ["nothing"])
    try:
        content = b"".join(raw.export())  # type: ignore[arg-type] # bytes, whatever the stubs say
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {Path(member.name).name for member in tar if member.isfile() or member.issym()}
    finally:
        raw.remove(force=True)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/Dockerfile")))
def test_example_stops(name: str, build: Build, start: Callable[..., Container]) -> None:
    """The program hears SIGTERM, ends with its own status well within the grace, and nobody had to be killed."""
    container = start(build(name), environment=["PYINIT_VERBOSITY=2"])
    container.ready()
    took = container.stop()
    assert container.wait() == 7
    assert took < 8
    assert container.lines == ["ready", "got SIGTERM"]
    said = "\n".join(container.report_lines)
    assert "native engine, as PID 1" in said
    assert "SIGTERM arrived" in said
    assert "nobody killed" in said


@pytest.mark.parametrize("name", ["scratch", "distroless"])
def test_a_program_that_does_not_hear(name: str, build: Build, start: Callable[..., Container]) -> None:
    """The test above would see it; and who it was, and why, is said in an image that has nothing to look with."""
    container = start(build(name), ["/program", "deaf"], environment=["PYINIT_GRACE=1s"])
    container.ready()
    container.stop()
    assert container.wait() == 137
    assert container.lines == ["ready"]
    (line,) = container.report_lines
    assert line.startswith("pyinit: killed 1 after 1.0 s: ")
    assert line.endswith(" program (ignores SIGTERM)")


def test_what_is_not_in_them(client: docker.DockerClient, build: Build) -> None:
    """No Python where it says so, and no shell; the third is there to show that the look finds what is there."""
    forbidden = {"sh", "bash", "busybox", "python3"}
    assert not files_of(client, build("scratch")) & forbidden
    assert not files_of(client, build("distroless")) & forbidden
    assert files_of(client, build("busybox")) & forbidden == {"sh", "busybox"}
    assert {"program", "pyinit"} <= files_of(client, build("scratch"))
