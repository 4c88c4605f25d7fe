"""`save`, `resurrect` and `startup`: what looks like a secret, what is believed of a file, what stands in a unit."""

import argparse
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyinit.ctl import life, startup
from pyinit.ctl.__main__ import main
from pyinit.ctl.errors import CommandError
from pyinit.supervise.spec import parse
from support.supervised import app, spec

# --- secrets ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "x"),
        ("STRIPE_SECRET", "x"),
        ("DB_PASSWORD", "x"),
        ("db_passwd", "x"),
        ("PGPASSWORD", "x"),
        ("GITHUB_TOKEN", "x"),
        ("SENTRY_DSN", "x"),
        ("KEY", "x"),
        ("BASIC_AUTH", "x"),
        ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
        ("REDIS_URL", "redis://:hunter2@cache:6379"),
        ("X", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
        ("X", "ghp_0123456789abcdef"),
        ("X", "token AKIA0123456789ABCDEF"),
        ("X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x"),
        ("X", "sk_live_0123456789"),
    ],
)
def test_looks_secret(name: str, value: str) -> None:
    """By its name, or by its value."""
    assert life.looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/usr/bin:/bin"),
        ("PWD", "/home/me"),
        ("HOME", "/home/me"),
        ("LANG", "C.UTF-8"),
        ("NODE_ENV", "production"),
        ("PORT", "8080"),
        ("URL", "https://example.org:8443/a:b@c"),
        ("EMAIL", "me@example.org"),
        ("API_KEY_FILE", "/run/secrets/api-key"),
        ("SSL_CERT_DIR", "/etc/ssl/certs"),
        ("XDG_SESSION_ID", "3"),
        ("KEYBOARD", "de"),
        ("API_KEY", ""),
        ("X", "task-0123456789"),
    ],
)
def test_looks_plain(name: str, value: str) -> None:
    """What an app could not start without, and where a secret lies."""
    assert not life.looks_secret(name, value)


def test_a_secret_in_another_s_clothes() -> None:
    """What holds the value of one that looks so; short values are there by chance."""
    environment = {"DB_PASSWORD": "hunter2222", "DB": "host=db password=hunter2222", "PIN_SECRET": "abc", "N": "abcd"}
    assert life.secrets(environment) == ["DB", "DB_PASSWORD", "PIN_SECRET"]


# --- the file ---


def saved(*apps: dict[str, Any], left_out: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """What `save` writes."""
    return {"version": 1, "saved": "now", "log_form": "json", "left_out": left_out or {}, "apps": list(apps)}


def test_values_come_from_here() -> None:
    """Those that were left out, for each app its own; one that is not here is named."""
    one, two = app("one", ["true"], environment={"A": "file"}), app("two", ["true"], environment={"A": "file"})
    of = saved(one, two, left_out={"one": ["TOKEN", "KEY"], "two": []})
    wanted = life.restored(of, {"TOKEN": "here", "A": "here"})
    assert [each["environment"] for each in wanted["apps"]] == [{"A": "file", "TOKEN": "here"}, {"A": "file"}]
    assert wanted["log_form"] == "json"
    assert list(life.missing(of, {"TOKEN": "here"})) == [
        "one starts without KEY: left out of what was saved, and not set here"
    ]


def test_what_cannot_be_started() -> None:
    """As the supervisor would say it, but before anything is started."""
    with pytest.raises(CommandError, match=r"what was saved cannot be started: .*restart is 'sometimes'.*; save again"):
        life.restored(saved(app("a", ["true"], restart="sometimes")), {})


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"version": 2}', json.dumps(saved() | {"apps": [1]})])
def test_files_that_are_none(text: str, tmp_path: Path) -> None:
    """One line."""
    file = tmp_path / "saved.json"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(CommandError, match=r"is not what .*pyinitctl save writes"):
        life.read(file)


def test_a_file_that_others_can_write(tmp_path: Path) -> None:
    """It says what is to be run as us."""
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(saved()), encoding="utf-8")
    file.chmod(0o620)
    with pytest.raises(CommandError, match="others could have written"):
        life.read(file)
    file.chmod(0o600)
    assert life.read(file)["apps"] == []
    with pytest.raises(CommandError, match=r"nothing was saved: there is no .*; run pyinitctl save"):
        life.read(tmp_path / "none")


def test_where_it_lies() -> None:
    """As programs keep their state."""
    assert str(life.default_file({"XDG_STATE_HOME": "/state"}, 7)) == "/state/pyinit/saved.json"
    assert str(life.default_file({}, 0)) == "/var/lib/pyinit/saved.json"
    assert life.default_file({}, 7) == Path.home() / ".local/state/pyinit/saved.json"


def test_pm2_s_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever knows them finds them."""
    with pytest.raises(SystemExit):
        main(["--help"])
    words = set(capsys.readouterr().out.split())
    assert words >= {"save", "resurrect", "startup", "unstartup", "monit", "list", "describe", "reload"}


# --- the unit ---


@pytest.mark.parametrize(
    ("word", "in_a_unit"),
    [
        ("/usr/bin/pyinit", "/usr/bin/pyinit"),
        ("a b", '"a b"'),
        ("50%", "50%%"),
        ('say "x\\y"', r'"say \"x\\y\""'),
        ("", '""'),
        ("a'b;c", '"a\'b;c"'),
    ],
)
def test_words_of_a_unit(word: str, in_a_unit: str) -> None:
    """systemd.syntax(7): spaces, quotes and specifiers."""
    assert startup.quoted(word) == in_a_unit


def test_how_long_a_stop_may_take() -> None:
    """One level after the other, the slowest of each; and what the supervisor keeps for itself."""
    apps = [app("db", ["x"], grace=20), app("a", ["x"], grace=5, after=["db"]), app("b", ["x"], grace=8, after=["db"])]
    assert startup.needed(parse(spec(*apps)).apps) == 29
    assert startup.needed(parse(spec(*apps, app("c", ["x"], grace=None))).apps) == math.inf


def options(**given: Any) -> argparse.Namespace:  # noqa: ANN401 (as argparse has it)
    """As they are parsed."""
    parser = argparse.ArgumentParser()
    startup.add(parser.add_subparsers())
    words = [f"--{name}={value}" if value is not True else f"--{name}" for name, value in given.items()]
    return parser.parse_args(["startup", "systemd", *words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Apps of which one takes long, in a place with a name that wants quoting."""
    folder = tmp_path / "50% of $HOME"
    folder.mkdir()
    (folder / "apps.toml").write_text(
        '[apps.web]\ncommand = "sleep 1000"\ngrace = "90s"\n[apps.mail]\ncommand = "sleep 1000"\n', encoding="utf-8"
    )
    return folder / "apps.toml"


def values(text: str) -> dict[str, str]:
    """The settings."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_times_that_fit_each_other(file: Path) -> None:
    """Systemd waits longer than pyinit's plan takes, and pyinit's plan as long as the apps ask for."""
    for given, grace, limit in (
        ({}, "91s", "96"),
        ({"grace": "2m"}, "120s", "125"),
        ({"grace": "infinity"},) + ("infinity",) * 2,
    ):
        found = values(startup.unit(options(file=file, **given)))
        assert f" -s -t {grace} -- " in found["ExecStart"]
        assert found["TimeoutStopSec"] == limit
    file.write_text('[apps.web]\ncommand = "sleep 1000"\n', encoding="utf-8")
    assert values(startup.unit(options(file=file)))["TimeoutStopSec"] == "65"


def test_a_user_s_unit(file: Path) -> None:
    """Another target, and nothing that only the system has."""
    found = values(startup.unit(options(file=file, user=True, env="production")))
    assert found["WantedBy"] == "default.target"
    assert "After" not in found
    assert found["ExecStart"].endswith(f'"{str(file).replace("%", "%%").replace("$", "$$")}" --env production')


@pytest.mark.parametrize("key", ["", "Restart=", "KillMode="])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong(key: str, user: bool, file: Path, tmp_path: Path) -> None:  # noqa: FBT001 (a parameter)
    """And with a setting misspelt it does."""
    text = startup.unit(options(file=file, **({"user": True} if user else {})))
    unit = tmp_path / "pyinit-test.service"
    unit.write_text(text.replace(key, "X" + key) if key else text, encoding="utf-8")
    command = ["systemd-analyze", "verify", *(["--user"] if user else []), str(unit)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    of_ours = [line for line in done.stderr.splitlines() if "pyinit-test" in line]
    assert of_ours == [] if not key else "Unknown key" in of_ours[0], done.stderr


def test_what_is_wrong_in_the_file_is_said_here(file: Path) -> None:
    """Not at the next boot."""
    file.write_text("[apps.web]\ncomand = 'x'\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"startup: .*/apps\.toml, line 2: web: there is no key 'comand'"):
        startup.unit(options(file=file))
    file.write_text("[apps.web]\ncommand = 'x'\n", encoding="utf-8")
    with pytest.raises(CommandError, match="'soon' is no duration"):
        startup.unit(options(file=file, grace="soon"))
