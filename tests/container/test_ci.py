"""The jobs of pyinit/verify/ci.md, run in their order as CI would: for a good project, and for broken ones. And the hook of pre-commit.

What these tests have not is written down in REPLACED: a registry of packages, and GitLab's service.
"""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import yaml

from pyinit.lint.linter import COMPOSE, is_dockerfile

pytestmark = pytest.mark.engines("native")

PROJECT = Path(__file__).resolve().parents[2]
PAGE = files("pyinit.verify").joinpath("ci.md").read_text("utf-8")
BLOCKS: Mapping[str, Any] = {
    name: yaml.safe_load(text)
    for name, text in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
HOOKS = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text("utf-8"))

PIP = "pip install 'pyinit-pid1[lint,verify]'"
APT = "apt-get update && apt-get install --yes --no-install-recommends docker.io"
REPLACED = {
    PIP: 'pip install --no-index --no-deps "$PYINIT_PURE_WHEEL"',  # what it depends on is there: see `runner`
    APT: "docker version",  # it is there
}
"""Commands that need what these tests have not, and what stands for them."""

WORKER = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
"""
GOOD = 'COPY worker.py /\nENTRYPOINT ["pyinit", "--"]\nCMD ["python3", "/worker.py"]\n'
SHELL = "COPY worker.py /\nENTRYPOINT []\nCMD python3 /worker.py; true\n"
EXCUSED = SHELL.replace("CMD", "# pyinit: ignore=PI101,PI102,PI201,PI202 a test of what comes after lint\nCMD")


def github() -> Sequence[str]:
    """The commands of the workflow."""
    return [step["run"] for step in BLOCKS[".github/workflows/stop.yml"]["jobs"]["stop"]["steps"] if "run" in step]


def gitlab() -> Sequence[str]:
    """The commands of the job."""
    job = BLOCKS[".gitlab-ci.yml"]["stop"]
    return [*job["before_script"], *job["script"]]


JOBS = {"github": github, "gitlab": gitlab}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's Python: an environment without pyinit, in which what pyinit depends on is to be had."""
    folder = tmp_path_factory.mktemp("runner")
    venv.create(folder, with_pip=True, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    installed = Path(sysconfig.get_path("purelib"))
    for found in installed.iterdir():
        if not found.name.startswith("pyinit") and not (packages / found.name).exists():
            (packages / found.name).symlink_to(found)
    return folder


@pytest.fixture
def project(tmp_path: Path, client: docker.DockerClient, image: str) -> Iterator[Path]:
    """A project's folder, without its Dockerfile; its image is removed."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    (folder / "base").write_text(image)
    yield folder
    try:
        client.images.remove("shop:ci", force=True)
    except docker.errors.ImageNotFound:
        return


def ci(job: str, dockerfile: str, project: Path, runner: Path) -> list[tuple[str, int, str]]:
    """Runs a job's commands in their order until one fails, as CI does: each with its status and what it said."""
    (project / "Dockerfile").write_text(f"FROM {(project / 'base').read_text()}\n{dockerfile}")
    environment = {
        **os.environ,
        "PATH": f"{runner}/bin:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
        "DOCKER_BUILDKIT": "0",
        "NO_COLOR": "1",
    }
    done = []
    for command in JOBS[job]():
        shell = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", REPLACED.get(command, command)],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        done.append((command, shell.returncode, shell.stdout + shell.stderr))
        if shell.returncode:
            break
    return done


def test_the_page_is_whole() -> None:
    """What is on it is YAML of the right shape, and what is replaced is on it."""
    assert set(BLOCKS) == {".github/workflows/stop.yml", ".gitlab-ci.yml", ".pre-commit-config.yaml"}
    workflow = BLOCKS[".github/workflows/stop.yml"]
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # `on` is true in YAML 1.1; GitHub knows
    for step in workflow["jobs"]["stop"]["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert set(step) <= {"name", "uses", "run", "with", "if"}
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
    job = BLOCKS[".gitlab-ci.yml"]["stop"]
    assert set(job) == {"image", "services", "variables", "before_script", "script", "artifacts"}
    assert {PIP, APT} == set(REPLACED) <= {*github(), *gitlab()}
    [repo] = BLOCKS[".pre-commit-config.yaml"]["repos"]
    assert [hook["id"] for hook in repo["hooks"]] == [hook["id"] for hook in HOOKS]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS)
def test_a_job_for_a_good_project(job: str, project: Path, runner: Path) -> None:
    """Every command, in the page's order; the reports that are uploaded are there."""
    done = ci(job, GOOD, project, runner)
    assert [(command, status) for command, status, _ in done] == [(command, 0) for command in JOBS[job]()], done[-1]
    assert 'failures="0"' in (project / "verify.xml").read_text("utf-8")
    assert "it stops as it should" in done[-1][2]
    if job == "github":
        assert "it stops as it should" in (project / "summary.md").read_text("utf-8")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS)
def test_a_job_for_a_broken_project(job: str, project: Path, runner: Path) -> None:
    """Lint ends it; where that is told to be silent, verify does, and its report is there."""
    done = ci(job, SHELL, project, runner)
    assert (done[-1][0], done[-1][1]) == ("pyinitctl lint .", 1), done[-1]
    done = ci(job, EXCUSED, project, runner)
    assert done[-1][1] == 1, done[-1]
    assert done[-1][0].startswith("pyinitctl verify shop:ci ")
    assert "it does not stop as it should: SG-01, " in done[-1][2]
    assert 'failures="0"' not in (project / "verify.xml").read_text("utf-8")


# --- pre-commit ---


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile",
        "docker/Dockerfile.prod",
        "web.dockerfile",
        "Containerfile",
        "compose.yaml",
        "docker-compose.override.yml",
        "a/compose-test.yml",
        "Dockerfile.j2",
        "Dockerfile.dockerignore",
        "docker-compose.md",
        "deployment.yaml",
        "mydockerfile",
        "README.md",
    ],
)
def test_the_hook_gets_the_files_that_lint_finds(name: str) -> None:
    """As pre-commit chooses them: its `files`, without its `exclude`."""
    [hook] = HOOKS
    chosen = bool(re.search(hook["files"], name)) and not re.search(hook["exclude"], name)
    base = name.rpartition("/")[2]
    assert chosen is bool(is_dockerfile(base) or COMPOSE.fullmatch(base))


def test_the_hook(tmp_path: Path) -> None:
    """Its entry with the names of files behind it: silent when all is well, 1 and the places where not."""
    [hook] = HOOKS
    (tmp_path / "good").mkdir()
    (tmp_path / "Dockerfile").write_text(f"FROM python:3.13-slim\n{SHELL}")
    (tmp_path / "good" / "Dockerfile").write_text(f"FROM python:3.13-slim\n{GOOD}")
    for name in ("worker.py", "good/worker.py"):
        (tmp_path / name).write_text(WORKER)
    command = [sys.executable, "-m", "pyinit.ctl", *shlex.split(hook["entry"])[1:]]

    def run(*names: str) -> tuple[int, str]:
        done = subprocess.run([*command, *names], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("good/Dockerfile")[0] == 0
    status, said = run("good/Dockerfile", "Dockerfile")
    assert (status, said.partition(":")[0]) == (1, "Dockerfile"), said
