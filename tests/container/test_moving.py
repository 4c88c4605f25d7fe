"""`pyinit/supervise/moving.md`: each file of it by its own program, then what it becomes by `pyinitctl`; and all words of the others."""

import re
from collections import Counter
from collections.abc import Mapping

import pytest

from support import engines, moving
from support.containers import Container, Run, put
from support.waiting import until

pytestmark = [
    pytest.mark.engines(engines.PYTHON),  # the wheel in the image has both, and `pyinitctl`
    pytest.mark.timeout(900),  # where the images have to be made
]

PROGRAMS = moving.files("The programs")
SUPERVISOR_KEYS = """\
from supervisor.options import ProcessConfig
print(*ProcessConfig.req_param_names, *ProcessConfig.optional_param_names)
"""
NOT_WRITTEN = {"name", "uid"}
"""What supervisord's own class has and its file has not, or under another name."""


def begun(run: Run, image: str, files: Mapping[str, str], command: list[str], folder: str = "/srv") -> Container:
    """A container with these files, and the programs of the guide in /srv."""
    container = run(command, entrypoint=(), image=image, start=False, working_dir="/srv", tmpfs={"/run": "mode=1777"})
    put(container, PROGRAMS, mode=0o755)
    put(container, files, folder, mode=0o755)
    container.start()
    return container


def programs(container: Container) -> Counter[str]:
    """The guide's programs that run in it, each as often as it runs."""
    lines = (" ".join(process.cmdline()) for process in container.processes())
    found = (re.search(r"\b(web|worker)\.(py|js)\b", line) for line in lines)
    return Counter(one[0] for one in found if one)


def has_said(container: Container, line: str, times: int) -> None:
    until(lambda: container.logs().count(line) == times, 60, f"{times} times {line!r}")


def test_from_supervisord(run: Run, moving_image: str) -> None:
    """The same programs, as often; each is asked once and finishes, within docker's ten seconds."""
    files = moving.files("From supervisord")
    for name in ("Dockerfile.supervisord", "Dockerfile"):
        container = begun(run, moving_image, files, moving.command(files[name]))
        has_said(container, "web: ready", 1)
        has_said(container, "worker: ready, mail", 2)
        assert programs(container) == {"web.py": 1, "worker.py": 2}
        assert container.stop(10) < 10
        assert container.wait() == 0, container.report()
        said = container.logs()
        assert (said.count("web: closed"), said.count("worker: saved")) == (1, 2), said


def test_the_words_of_supervisord(run: Run, moving_image: str) -> None:
    """Whatever supervisorctl and a program's section understand has a row, and nothing else has."""
    files = moving.files("From supervisord")
    container = begun(run, moving_image, files, moving.command(files["Dockerfile.supervisord"]))
    has_said(container, "web: ready", 1)
    done = container.exec("supervisorctl", "-c", "/srv/supervisord.conf", "help")
    assert done.status == 0, done
    words = {word for line in done.output.splitlines() if not re.search("[=:(]", line) for word in line.split()}
    assert words | {"help"} == set(moving.words("supervisorctl words"))
    keys = container.exec("python3", "-c", SUPERVISOR_KEYS)
    assert keys.status == 0, keys
    assert set(keys.output.split()) - NOT_WRITTEN <= set(moving.words("supervisord keys"))


def test_from_s6_overlay(run: Run, moving_image: str) -> None:
    """The folders under s6-svscan, which is what /init runs; and the table that takes their place, ready by the same descriptor."""
    files = moving.files("From s6-overlay")
    services = {name: text for name, text in files.items() if name.startswith("services.d/")}
    theirs = begun(run, moving_image, services, ["s6-svscan", "/etc/services.d"], "/etc")
    here = begun(run, moving_image, files, moving.command(files["Dockerfile"]))
    for container in (theirs, here):
        has_said(container, "web: ready", 1)
        has_said(container, "worker: ready, mail", 1)
        assert programs(container) == {"web.py": 1, "worker.py": 1}
    until(lambda: '"ready"' in here.exec("pyinitctl", "jlist").output, 30, "the newline on descriptor 3")
    assert theirs.exec("s6-svstat", "-o", "ready", "/etc/services.d/web").output.strip() == "true"
    for container in (theirs, here):
        assert container.stop(10) < 10
        said = container.logs()
        assert (said.count("web: closed"), said.count("worker: saved")) == (1, 1), said
    assert here.wait() == 0, here.report()


def test_from_pm2(run: Run, pm2_image: str) -> None:
    """PM2's file by pm2-runtime, unchanged by pyinitctl, and as the apps.toml that `convert` writes."""
    files = moving.files("From PM2")
    ours = moving.command(files["Dockerfile"])
    converted = [*ours[:-1], "apps.toml"]
    for command in (moving.command(files["Dockerfile.pm2"]), ours, converted):
        container = begun(run, pm2_image, files, command)
        has_said(container, "web: ready", 2)
        has_said(container, "worker: ready, mail", 1)
        # PM2's cluster workers run its own file
        assert command[0] == "pm2-runtime" or programs(container) == {"web.js": 2, "worker.py": 1}
        assert container.stop(10) < 10
        assert container.wait() == 0, container.report()
        said = container.logs()
        told = (said.count("web: closed"), said.count("worker: saved"))
        assert command[0] == "pm2-runtime" or told == (2, 1), said
    container = begun(run, pm2_image, files, ["pyinitctl", "convert", "ecosystem.config.js"])
    assert container.wait() == 0, container.report()
    assert container.logs(stderr=False) == files["apps.toml"]


def test_the_words_of_pm2(run: Run, pm2_image: str) -> None:
    """Each word and option of `pm2 --help` is one of pyinitctl's, or has a row; and no row is about one that PM2 has not."""
    container = begun(run, pm2_image, {}, ["pm2", "--help"])
    assert container.wait() == 0, container.report()
    said = container.logs(stderr=False)
    listed = re.findall(r"^ {4}([a-zA-Z][\w:|-]*)(?=[ \n])", said.partition("Commands:")[2], re.MULTILINE)
    words = {word for one in listed for word in one.split("|")}
    assert len(words) > 60
    rows = set(moving.words("pm2 words"))
    assert words - moving.words_here() - rows == set()
    assert rows - words == set()
    options = set(re.findall(r"^ +(?:-\w,? )?(--[a-z][\w-]*)", said, re.MULTILINE)) | set(
        re.findall(r", (--[a-z][\w-]*)", said)
    )
    assert len(options) > 50
    rows = set(moving.words("pm2 options"))
    assert options - moving.options_here() - rows == set()
    assert rows - options == set()
