"""The examples in lint's pages, built and stopped: what a page says of its bad and its good Dockerfile is so. And images that are asked.

The bases are ours: where a page says `FROM python:3.13-slim` and installs something, that is installed already, for there is no network.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import pytest

from pyinit.containers.engine import Container, Engine
from pyinit.containers.remote import Agent
from pyinit.lint.catalogue import BY_ID, RULES
from pyinit.verify.acts import Stage, perform
from pyinit.verify.evidence import Act
from pyinit.verify.ready import Readiness
from pyinit.verify.subject import ImageSubject, image_of
from support import processes
from support.lint_pages import examples, write
from support.waiting import until

pytestmark = pytest.mark.engines("native")

GRACE = 5
"""Seconds that a stop gets: more than pyinit's own grace in the pages where that is to come first."""


@dataclass(frozen=True)
class Ill:
    """How the bad example of a page stops: who is SIGKILLed; or how it ends by itself before it is asked."""

    killed: tuple[str, ...] = ()
    ends: str = ""


SAID = {
    "PI001": Ill(killed=("sh", "python3")),
    "PI101": Ill(killed=("sh", "python3")),
    "PI102": Ill(killed=("sh", "python3")),
    "PI202": Ill(killed=("sh", "pyinit", "python3")),
    "PI203": Ill(ends=r"ended by itself with status 1; its last words: .*TINI_KILL_PROCESS_GROUP"),
    "PI204": Ill(killed=("pyinit", "python3")),
    "PI301": Ill(killed=("pyinit", "python3", "python3")),
    "PI302": Ill(
        ends=r"ended by itself with status 125; its last words: pyinit: --grace 20sec: '20sec' is no duration"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _no_image_stays(client: docker.DockerClient) -> Iterator[None]:
    yield
    for tag in [tag for made in client.images.list(name="pyinit-test-lint") for tag in made.tags]:
        client.images.remove(tag)


@pytest.fixture(scope="module")
def with_tini(client: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Python, pyinit, and Debian's tini."""
    tini = shutil.which("tini")
    if tini is None:
        pytest.fail("no tini here: run ./tests/run container, which installs it", pytrace=False)
    context = tmp_path_factory.mktemp("tini")
    shutil.copy(tini, context / "tini")
    (context / "Dockerfile").write_text(f"FROM {image}\nCOPY tini /usr/bin/tini\n")
    return build(client, context, "pyinit-test-lint:base")


def build(client: docker.DockerClient, context: Path, tag: str) -> str:
    """An image of a folder, by the classic builder, which is everywhere; without network."""
    try:
        client.images.build(path=str(context), tag=tag, network_mode="none", rm=True, forcerm=True)
    except docker.errors.BuildError as error:
        said = "".join(str(line.get("stream", line.get("error", ""))) for line in error.build_log)
        pytest.fail(f"cannot build {(context / 'Dockerfile').read_text()}:\n{error}\n{said}", pytrace=False)
    return tag


def built(client: docker.DockerClient, files: Mapping[str, str], base: str, folder: Path) -> str:
    """An example as an image."""
    text = re.sub(r"^RUN (pip|apt-get) .*\n", "", files["Dockerfile"], flags=re.MULTILINE)
    text, times = re.subn(r"^FROM python:3.13-slim\b", f"FROM {base}", text, flags=re.MULTILINE)
    assert times == 1
    return build(client, write({**files, "Dockerfile": text}, folder), f"pyinit-test-lint:{folder.name.lower()}")


def done(act: str, engine: Engine, agent: Agent, image: str, ready: str = "^ready$") -> Act:
    """An act of verify's, with the image as it is."""
    options = {"network_mode": "none"}
    subject = ImageSubject(image_of(engine, image, options, None, "never"), GRACE, None, options)
    return perform(Stage(engine, agent, subject, Readiness(log=ready, timeout=60)), act)


def test_every_example_with_a_dockerfile_is_stopped() -> None:
    """Those that are YAML are linted only (unit/test_lint.py)."""
    with_dockerfile = {rule.id for rule in RULES if "Dockerfile" in examples(rule)["Bad"]}
    assert with_dockerfile == {*SAID, "PI201"}


@pytest.mark.parametrize("name", SAID)
def test_bad_example(
    name: str, client: docker.DockerClient, containers: Engine, observer: Agent, with_tini: str, tmp_path: Path
) -> None:
    """It stops badly, in the way that the page says."""
    image = built(client, examples(BY_ID[name])["Bad"], with_tini, tmp_path / f"{name}-bad")
    act = done("stop", containers, observer, image)
    if SAID[name].ends:
        assert re.search(SAID[name].ends, act.impossible, re.DOTALL), act
        return
    assert act.stop is not None, act.impossible
    killed = sorted(process.name for process in act.stop.killed)
    assert killed == sorted(SAID[name].killed), act.stop.logs
    assert act.stop.status == 137


@pytest.mark.parametrize("name", SAID)
def test_good_example(
    name: str, client: docker.DockerClient, containers: Engine, observer: Agent, with_tini: str, tmp_path: Path
) -> None:
    """Nobody is killed, it is over at once, and the status is 0."""
    image = built(client, examples(BY_ID[name])["Good"], with_tini, tmp_path / f"{name}-good")
    act = done("stop", containers, observer, image)
    assert act.stop is not None, act.impossible
    assert [process.name for process in act.stop.killed] == []
    assert (act.stop.forced, act.stop.status) == (False, 0), act.stop.logs
    assert act.stop.seconds < GRACE


def test_behind_an_init_that_signals_its_child_alone(
    client: docker.DockerClient, containers: Engine, observer: Agent, with_tini: str, tmp_path: Path
) -> None:
    """What the pages of PI101 and PI102 say of tini: the shell dies, tini leaves, and the program is killed at once."""
    files = examples(BY_ID["PI101"])["Bad"]
    text = files["Dockerfile"] + 'ENTRYPOINT ["tini", "--"]\n' + files["Dockerfile"].splitlines()[-1] + "\n"
    act = done("stop", containers, observer, built(client, {**files, "Dockerfile": text}, with_tini, tmp_path / "tini"))
    assert act.stop is not None, act.impossible
    assert [process.name for process in act.stop.killed] == ["python3"]
    assert (act.stop.forced, act.stop.status) == (False, 143)


@pytest.mark.parametrize(("shell", "stays"), [("dash", True), ("bash", False)])
def test_which_shells_stay(shell: str, stays: bool, containers: Engine, base: str) -> None:  # noqa: FBT001 - a column
    """What the page of PI101 says of shells: dash stays in front of its only command, bash becomes it."""
    made = containers.create(
        base, [f"/bin/{shell}", "-c", "python3 -c 'import signal; signal.pause()'"], entrypoint=[], network_mode="none"
    )
    try:
        made.start()
        until(lambda: "python3" in names(made), 20, "the program")
        assert names(made) == ([shell, "python3"] if stays else ["python3"])
    finally:
        made.remove()


def names(container: Container) -> list[str]:
    """Its processes, PID 1 first. (`docker top` wants ps on the engine's machine.)"""
    first = container.engine.client.api.inspect_container(container.id)["State"]["Pid"]
    return [
        Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() for pid in (first, *processes.descendants(first))
    ]


def test_program_that_forks(
    client: docker.DockerClient, containers: Engine, observer: Agent, programs_image: str, tmp_path: Path
) -> None:
    """PI201: fifty orphans are fifty zombies, and with an init none."""
    left = {}
    for which, files in examples(BY_ID["PI201"]).items():
        image = built(client, files, programs_image, tmp_path / f"PI201-{which}")
        act = done("orphans", containers, observer, image, ready=r"celery@\S+ ready\.")
        assert act.seen, act.impossible
        left[which] = (act.seen["injected"], len(act.seen["zombies"]))
    assert left == {"Bad": (50, 50), "Good": (50, 0)}


@pytest.mark.parametrize("front", [(), ("pyinit", "--")], ids=["alone", "init"])
def test_cron(front: tuple[str, ...], containers: Engine, observer: Agent, programs_image: str) -> None:
    """What the table of PI201 says of it: alone it does not end on SIGTERM."""
    options = {"network_mode": "none", "entrypoint": [*front, "cron", "-f"]}
    subject = ImageSubject(image_of(containers, programs_image, options, None, "never"), GRACE, None, options)
    act = perform(Stage(containers, observer, subject, Readiness(timeout=60)), "stop")
    assert act.stop is not None, act.impossible
    assert act.stop.forced == (front == ())


def test_images_are_asked(containers: Engine, base: str, tmp_path: Path) -> None:
    """PI403: a program that the image has not, one that it has; an image that is not here is a note."""
    assert containers.name
    files = examples(BY_ID["PI403"])["Bad"]
    for image, program, status, said in (
        (base, "no-such-sleep", 1, "PI403 container 'web': preStop executes 'no-such-sleep'"),
        (base, "sleep", 0, "0 findings in 1 file"),
        (base, "/bin/sleep", 0, "0 findings in 1 file"),
        (base, "/no/such/sleep", 1, "PI403 "),
        ("no-such-image:ever", "no-such-sleep", 0, "not asked: there is no image 'no-such-image:ever'"),
    ):
        text = files["pod.yaml"].replace("IMAGE", image).replace("no-such-sleep", program)
        (tmp_path / "pod.yaml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pyinit.ctl", "lint", "--image", "pod.yaml"],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
