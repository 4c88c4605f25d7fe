"""The guide for those who come from elsewhere: its files are understood here, and its words are true. Run they are in containers."""

import re
from pathlib import Path

import pytest

from pyinit.supervise import apps
from support import moving

ORIGINS = ("From PM2", "From supervisord", "From s6-overlay")


@pytest.mark.parametrize("origin", ORIGINS)
def test_each_file_of_apps_is_understood(origin: str, tmp_path: Path) -> None:
    path = tmp_path / "apps.toml"
    path.write_text(moving.files(origin)["apps.toml"], encoding="utf-8")
    assert sorted(apps.check(apps.read(path))) == ["", "web", "worker"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_each_dockerfile_has_pyinit_first(origin: str) -> None:
    assert moving.command(moving.files(origin)["Dockerfile"])[:4] == ["pyinit", "--", "pyinitctl", "start"]


def test_pm2_s_words_that_are_the_same() -> None:
    """Those that it says are here are here; and none that is here is said to be missing."""
    here = moving.words_here()
    said = re.search(r"In `pyinitctl --help` are `([^`]*)`", moving.section("From PM2"))
    assert said
    assert set(said[1].split()) <= here
    assert set(moving.words("pm2 words")) & here == set()
    assert set(moving.words("pm2 options")) & moving.options_here() == set()


@pytest.mark.parametrize("origin", ORIGINS)
def test_what_it_tells_to_write_exists(origin: str) -> None:
    """Each `pyinitctl WORD` in it is a word, and each key of apps.toml in a last column a key."""
    text = moving.section(origin)
    assert set(re.findall(r"pyinitctl ([a-z]\w*)", text)) <= moving.words_here()
    named = set(
        re.findall(
            r"`(log_\w+|[a-z]+_[a-z_]+|essential|listen|after|ready|surge|grace|cwd|user|group)(?: = [^`]*)?`", text
        )
    )
    assert {name for name in named if name.startswith("log_") and name != "log_"} <= set(apps.BY_NAME)
    theirs = set(moving.words("supervisord keys")) if origin == "From supervisord" else set()
    known = set(apps.BY_NAME) | theirs | {"log_", "max_memory_restart", "cron_restart"}
    assert named <= known, named - known


def test_its_links_lead_somewhere() -> None:
    """Within it, and to headings of the README beside it."""
    text = moving.GUIDE.read_text(encoding="utf-8")
    readme = moving.GUIDE.with_name("README.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\((README\.md)?#([\w-]+)\)", text)
    assert len(places) > 3
    for other, place in places:
        headings = re.findall(r"^#+ (.*)$", readme if other else text, re.MULTILINE)
        assert place in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, place
