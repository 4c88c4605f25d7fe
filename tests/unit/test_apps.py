"""The apps file: each key of the table, each error with its line, and the spec that comes of it."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyinit.supervise import apps, spec
from pyinit.supervise.apps import AppsError, Start
from support import generate

CONTROL = "/run/control.sock"


def write(folder: Path, text: str) -> apps.Document:
    """The file, read."""
    path = folder / "apps.toml"
    path.write_text(text, encoding="utf-8")
    return apps.read(path)


def made(folder: Path, text: str, start: Start | None = None) -> dict[str, Any]:
    """The spec of a file, accepted by the supervisor too."""
    found = apps.spec(write(folder, text), start or Start({"PATH": "/bin"}, CONTROL))
    spec.parse(json.loads(json.dumps(found)))
    return found


def app(folder: Path, keys: str, start: Start | None = None) -> dict[str, Any]:
    """The one app of a file."""
    (found,) = made(folder, f'[apps.web]\ncommand = ["node", "app.js"]\n{keys}\n', start)["apps"]
    return dict(found)


def error(folder: Path, text: str) -> str:
    """The line that a file is refused with, without the folder."""
    with pytest.raises(AppsError) as caught:
        made(folder, text)
    words = str(caught.value)
    assert "\n" not in words
    return words.removeprefix(f"{folder}/")


# --- the table, row by row ---

GOOD: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "command": ("command = \"gunicorn -b :80 'shop: app'\"", {"command": ["gunicorn", "-b", ":80", "shop: app"]}),
    "namespace": ('namespace = "shop"', {"namespace": "shop"}),
    "cwd": ('cwd = "/srv"', {"cwd": "/srv"}),
    "environment": (
        "environment = { A = 'x', B = 8, C = true }",
        {"environment": {"PATH": "/bin", "A": "x", "B": "8", "C": "true"}},
    ),
    "environments": ("environments = { test = { A = '1' } }", {"environment": {"PATH": "/bin"}}),
    "environment_without": ("environment_without = ['P*']", {"environment": {}}),
    "user": ("user = 'root'", {"uid": 0, "gid": 0}),
    "group": ("group = 'root'", {"uid": None, "gid": 0}),
    "instances": ("instances = -1", {"instances": -1}),
    "instance_variable": ("instance_variable = 'N'", {"instance_variable": "N"}),
    "increment_variables": ("increment_variables = ['PORT']", {"increment_variables": ["PORT"]}),
    "listen": (
        "listen = ['8080', '[::1]:81', 'unix:/run/a.sock', 82]",
        {
            "listen": [
                {"host": "0.0.0.0", "port": 8080},  # noqa: S104
                {"host": "::1", "port": 81},
                {"unix": "/run/a.sock", "mode": 0o660},
                {"host": "0.0.0.0", "port": 82},  # noqa: S104
            ]
        },
    ),
    "listen_mode": ("listen_mode = 0o600\nlisten = ['unix:/a']", {"listen": [{"unix": "/a", "mode": 0o600}]}),
    "node": ("node = true", {"node": True, "ready": {"kind": "listening"}, "channel": False}),
    "channel": ("channel = true", {"channel": True}),
    "ready": ("ready = { descriptor = 3 }", {"ready": {"kind": "descriptor", "number": 3}}),
    "ready_timeout": ("ready_timeout = 'infinity'", {"ready_timeout": None}),
    "ready_required": ("ready_required = false", {"ready_required": False}),
    "stop_signal": ("stop_signal = 'sigquit'", {"stop_signal": "SIGQUIT"}),
    "stop_message": ("stop_message = 'shutdown'", {"stop_message": "shutdown", "channel": True}),
    "drain": ("drain = '1500ms'", {"drain": 1.5}),
    "grace": ("grace = 20", {"grace": 20}),
    "restart": ("restart = 'on-failure'", {"restart": "on-failure"}),
    "leave_exit_codes": ("leave_exit_codes = [0, 3]", {"leave_exit_codes": [0, 3]}),
    "min_uptime": ("min_uptime = '2m'", {"min_uptime": 120}),
    "max_restarts": ("max_restarts = 3", {"max_restarts": 3}),
    "restart_window": ("restart_window = '10m'", {"restart_window": 600}),
    "backoff_first": ("backoff_first = '250ms'", {"backoff_first": 0.25}),
    "backoff_max": ("backoff_max = '60s'", {"backoff_max": 60}),
    "health": ("health = { tcp = '[::1]:80' }", {"health": {"kind": "tcp", "host": "::1", "port": 80}}),
    "health_every": ("health_every = '500ms'", {"health_every": 0.5}),
    "health_timeout": ("health_timeout = 2", {"health_timeout": 2}),
    "health_failures": ("health_failures = 1", {"health_failures": 1}),
    "health_action": ("health_action = 'reload'", {"health_action": "reload"}),
    "memory_limit": ("memory_limit = '300M'", {"memory_limit": 300 << 20}),
    "cron": ("cron = '0 4 * * *'", {"cron": "0 4 * * *"}),
    "watch": ("watch = ['/srv/src']", {"watch": ["/srv/src"]}),
    "watch_ignore": ("watch_ignore = ['*.log']", {"watch_ignore": ["*.log"]}),
    "essential": ("essential = true", {"essential": True}),
    "autostart": ("autostart = false", {"autostart": False}),
    "after": ("after = []", {"after": []}),
    "surge": ("surge = 2", {"surge": 2}),
    "log_stdout": ("log_stdout = '/log/out'", {"logs.stdout": "/log/out"}),
    "log_stderr": ("log_stderr = '/log/err'", {"logs.stderr": "/log/err"}),
    "log_combined": ("log_combined = '/log/all'", {"logs.combined": "/log/all"}),
    "log_off": ("log_off = true", {"logs.off": True}),
    "log_form": ("log_form = 'json'", {"logs.form": "json"}),
    "log_timestamp": ("log_timestamp = '%H'", {"logs.timestamp": "%H"}),
    "log_per_instance": ("log_per_instance = true", {"logs.per_instance": True}),
    "log_max_size": ("log_max_size = '10M'", {"logs.max_size": 10 << 20}),
    "log_every": ("log_every = '1440m'", {"logs.every": 86400}),
    "log_keep": ("log_keep = 3", {"logs.keep": 3}),
    "log_compress": ("log_compress = true", {"logs.compress": True}),
    "log_full": ("log_full = 'drop'", {"logs.full": "drop"}),
}
"""For each key a line, and what it changes in the spec."""

BAD: Mapping[str, tuple[str, str]] = {
    "command": ("command = 'a \"b'", "a quote is not closed"),
    "namespace": ("namespace = 1", "'1' is no text"),
    "cwd": ("cwd = ''", "'' is no text"),
    "environment": ("environment = { A = [] }", "'[]' is no value for the variable A"),
    "environments": ("environments = { a = 1 }", "'1' is no table of variables"),
    "environment_without": ("environment_without = 'A'", "'A' is no list"),
    "user": ("user = 'nobody-here'", "'nobody-here' is no user of this system"),
    "group": ("group = true", "'true' is no group"),
    "instances": ("instances = 0", "'0' is no number of instances"),
    "instance_variable": ("instance_variable = false", "'false' is no text"),
    "increment_variables": ("increment_variables = [1]", "'1' is no text"),
    "listen": ("listen = ['::1:80']", "'::1:80' is no address"),
    "listen_mode": ("listen_mode = -1", "'-1' is no whole number from 0"),
    "node": ("node = 'yes'", "'yes' is neither true nor false; write true or false"),
    "channel": ("channel = 1", "'1' is neither true nor false"),
    "ready": ("ready = 'soon'", "'soon' is no way to be ready; write alive, listening, message, notify, or a table"),
    "ready_timeout": ("ready_timeout = '8x'", "'8x' is no duration; write for example 8s, 1500ms"),
    "ready_required": ("ready_required = 0", "'0' is neither true nor false"),
    "stop_signal": ("stop_signal = 'STOP'", "'STOP' is no signal that stops a program"),
    "stop_message": ("stop_message = true", "'true' is no text"),
    "drain": ("drain = 1.5", "'1.5' is no duration"),
    "grace": ("grace = -1", "'-1' is no duration"),
    "restart": ("restart = 'sometimes'", "'sometimes' is none of its values; write always or on-failure or never"),
    "leave_exit_codes": ("leave_exit_codes = [0, 256]", "'256' is no exit status"),
    "min_uptime": ("min_uptime = 'infinity'", "'infinity' is no duration that ends"),
    "max_restarts": ("max_restarts = '3'", "'3' is no whole number from 0"),
    "restart_window": ("restart_window = true", "'true' is no duration"),
    "backoff_first": ("backoff_first = '30s'", "it is longer than backoff_max"),
    "backoff_max": ("backoff_max = ''", "'' is no duration"),
    "health": (
        "health = 'http://127.0.0.1/'",
        "is no question about an app's health; write a table with one of http, tcp",
    ),
    "health_every": ("health_every = 0", "'0' is no pause; write for example 10s"),
    "health_timeout": ("health_timeout = 'infinity'", "'infinity' is no duration that ends"),
    "health_failures": ("health_failures = 0", "'0' is no whole number from 1"),
    "health_action": ("health_action = 'restart'", "'restart' is none of its values; write say or reload"),
    "memory_limit": ("memory_limit = '300MB'", "'300MB' is no size; write for example 300M"),
    "cron": ("cron = '0 24 * * *'", "'0 24 * * *' is no time of cron: its hour is '24'; write *, 0 to 23, a-b"),
    "watch": ("watch = true", "'true' is no list"),
    "watch_ignore": ("watch_ignore = ['']", "'' is no text"),
    "essential": ("essential = 'true'", "'true' is neither true nor false; write true or false, without quotes"),
    "autostart": ("autostart = 'no'", "'no' is neither true nor false"),
    "after": ("after = ['wep']", "there is no app 'wep'"),
    "surge": ("surge = 1.0", "'1.0' is no whole number from 0"),
    "log_stdout": ("log_stdout = []", "'[]' is no text"),
    "log_stderr": ("log_stderr = false", "'false' is no text"),
    "log_combined": ("log_combined = 1", "'1' is no text"),
    "log_off": ("log_off = 'x'", "'x' is neither true nor false"),
    "log_form": ("log_form = 'xml'", "'xml' is none of its values; write text or json"),
    "log_timestamp": ("log_timestamp = true", "'true' is no text"),
    "log_per_instance": ("log_per_instance = 1", "'1' is neither true nor false"),
    "log_max_size": ("log_max_size = -1", "'-1' is no size"),
    "log_every": ("log_every = 'infinity'", "'infinity' is no duration that ends"),
    "log_keep": ("log_keep = 'all'", "'all' is no whole number from 0"),
    "log_compress": ("log_compress = 'gzip'", "'gzip' is neither true nor false"),
    "log_full": ("log_full = 'wait'", "'wait' is none of its values; write block or drop"),
}
"""For each key a wrong line, and what is said about it."""


def test_every_row_is_tested() -> None:
    """A key that nobody tries would be a lie in the table."""
    assert list(GOOD) == list(BAD) == [key.name for key in apps.KEYS]


@pytest.mark.parametrize("key", GOOD)
def test_each_key(key: str, tmp_path: Path) -> None:
    """It changes what it says, and nothing else."""
    line, changes = GOOD[key]
    plain = app(tmp_path, "")
    text = line if key == "command" else f"command = ['node', 'app.js']\n{line}"
    (found,) = made(tmp_path, f"[apps.web]\n{text}\n")["apps"]

    def value(where: str) -> Any:  # noqa: ANN401 (JSON)
        top, _, inner = where.partition(".")
        return found[top][inner] if inner else found[top]

    assert {where: value(where) for where in changes} == changes
    unchanged = set(plain) - {where.partition(".")[0] for where in changes} - {"environment"}
    assert {one: found[one] for one in unchanged} == {one: plain[one] for one in unchanged}


@pytest.mark.parametrize("key", BAD)
def test_each_wrong_value(key: str, tmp_path: Path) -> None:
    """File, line, app, key, what is wrong with it; and what to write instead comes after the semicolon."""
    line, words = BAD[key]
    head = "# line 1\n[apps.web]\n" if key == "command" else "[apps.web]\ncommand = 'x'\n"
    said = error(tmp_path, f"{head}{line}\n")
    assert said.startswith(f"apps.toml, line 3: web: {key}: ")
    assert words in said
    assert "; " in said.partition(words.partition(";")[0])[2]


def test_defaults_of_the_contract(tmp_path: Path) -> None:
    """What nobody has to write."""
    found = app(tmp_path, "")
    assert (found["name"], found["command"], found["cwd"]) == ("web", ["node", "app.js"], str(tmp_path))
    assert (found["instances"], found["ready"], found["ready_timeout"]) == (1, {"kind": "alive"}, 30)
    assert (found["stop_signal"], found["drain"], found["grace"]) == ("SIGTERM", 5, 8)
    assert (found["restart"], found["max_restarts"], found["backoff_first"], found["backoff_max"]) == (
        "always",
        16,
        0.1,
        15,
    )
    assert found["logs"] == {
        "stdout": None,
        "stderr": None,
        "combined": None,
        "off": False,
        "form": "text",
        "timestamp": None,
        "per_instance": False,
        "max_size": None,
        "every": None,
        "keep": 10,
        "compress": False,
        "full": "block",
    }


@pytest.mark.parametrize(
    ("text", "ready"),
    [
        ("'notify'", {"kind": "notify"}),
        ("'message'", {"kind": "message", "text": "ready"}),
        ("{ message = 'up' }", {"kind": "message", "text": "up"}),
        ("{ log = '^listening' }", {"kind": "log", "pattern": "^listening"}),
        ("{ tcp = '127.0.0.1:80' }", {"kind": "tcp", "host": "127.0.0.1", "port": 80}),
        ("{ http = 'http://127.0.0.1:80/up' }", {"kind": "http", "url": "http://127.0.0.1:80/up"}),
    ],
)
def test_ways_to_be_ready(text: str, ready: dict[str, Any], tmp_path: Path) -> None:
    """Each of them; a message brings its channel."""
    found = app(tmp_path, f"ready = {text}")
    assert found["ready"] == ready
    assert found["channel"] == (ready["kind"] == "message")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("ready = 'listening'", "only Node.js programs tell when they listen; write node = true"),
        ("ready = { tcp = '127.0.0.1:80' }\ninstances = 2", "is answered by whichever is up, the old one too; write"),
        ("ready = { tcp = ':80' }\nlisten = ['80']", "is answered by whichever is up"),
        ("ready = { http = 'http://a/' }\nnode = true", "is answered by whichever is up"),
        ("ready = { http = 'https://a/' }", "'https://a/' is no URL of plain HTTP"),
        ("ready = { log = '(' }", "'(' is no regular expression: missing )"),
        ("ready = { log = 'a{99999999999999}' }", "'a{99999999999999}' is no regular expression: "),
        ("ready = { descriptor = 2 }", "'2' is no whole number from 3"),
        ("ready = { descriptor = 999 }", "'999' is no descriptor from 3 to 255"),
        ("ready = { tcp = 'unix:/a' }", "'unix:/a' is no address of TCP"),
        ("ready = { soon = 1 }", "'soon' is no way to be ready"),
    ],
)
def test_ways_that_cannot_be(lines: str, words: str, tmp_path: Path) -> None:
    """A probe of a shared address is a configuration error: the old instance would answer for the new one."""
    said = error(tmp_path, f"[apps.web]\ncommand = 'x'\n{lines}\n")
    assert said.startswith("apps.toml, line 3: web: ready: ")
    assert words in said


@pytest.mark.parametrize(
    ("text", "health"),
    [
        ("{ http = 'http://localhost:80/up' }", {"kind": "http", "url": "http://localhost:80/up"}),
        ("{ http = 'http://[::1]/' }", {"kind": "http", "url": "http://[::1]/"}),
        ("{ command = 'redis-cli ping' }", {"kind": "command", "command": ["redis-cli", "ping"]}),
        ("{ command = ['true'] }", {"kind": "command", "command": ["true"]}),
    ],
)
def test_questions_about_health(text: str, health: dict[str, Any], tmp_path: Path) -> None:
    """Also of an address that instances share: whichever answers."""
    assert app(tmp_path, f"health = {text}\nlisten = ['80']\ninstances = 2")["health"] == health


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{ http = 'https://127.0.0.1/' }", "is no URL of plain HTTP"),
        ("{ http = 'http://web/' }", "is no address: a name would be looked up each time; write"),
        ("{ tcp = 'web:80' }", "is no address: a name would be looked up each time; write"),
        ("{ tcp = 'unix:/a' }", "'unix:/a' is no address of TCP"),
        ("{ log = 'x' }", "'log' is no question about an app's health; write a table with one of http, tcp, command"),
        ("{ command = [] }", "'[]' is no command"),
        ("{ tcp = '127.0.0.1:1', command = 'true' }", "is no question about an app's health"),
    ],
)
def test_questions_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    """What is asked again and again must not be looked up by a resolver that takes its time."""
    said = error(tmp_path, f"[apps.web]\ncommand = 'x'\nhealth = {text}\n")
    assert said.startswith("apps.toml, line 3: web: health: ")
    assert words in said


LONGEST_LABEL = "a" * 63


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (":80", "0.0.0.0"),  # noqa: S104
        ("localhost:80", "localhost"),
        ("web_1.shop-net.:80", "web_1.shop-net."),
        (f"{LONGEST_LABEL}.b:80", f"{LONGEST_LABEL}.b"),
        ("0x.1.a:80", "0x.1.a"),
        ("[fe80::1%eth0]:80", "fe80::1%eth0"),
    ],
)
def test_hosts(text: str, host: str, tmp_path: Path) -> None:
    """Addresses, and what the resolver may be asked for."""
    assert app(tmp_path, f"listen = ['{text}']")["listen"] == [{"host": host, "port": 80}]
    assert app(tmp_path, f"ready = {{ tcp = '{text}' }}")["ready"] == {"kind": "tcp", "host": host, "port": 80}
    if text != ":80":
        assert app(tmp_path, f"ready = {{ http = 'http://{text}/' }}")["ready"]["url"] == f"http://{text}/"


@pytest.mark.parametrize(
    "host",
    [
        *("a..b", ".a", "-a", "a-", "a b", "*", "ä", "127.0.0.1.", "1.2.3", "300.1.1.1"),
        *(f"{LONGEST_LABEL}a", "a." * 127 + "a", "[a]", "[127.0.0.1]", "[]", "[::g]"),
    ],
)
def test_hosts_that_are_none(host: str, tmp_path: Path) -> None:
    """A line about the file, not an error of the resolver's when the first one starts."""
    for line, words in (
        (f"listen = ['{host}:80']", "is no address; write"),
        (f"ready = {{ tcp = '{host}:80' }}", "is no address; write"),
        (f"ready = {{ http = 'http://{host}:80/' }}", "is no URL of plain HTTP; write"),
    ):
        if "http" not in line or "[" not in host:  # what a URL may have in brackets is urllib's affair
            assert words in error(tmp_path, f"[apps.web]\ncommand = 'x'\n{line}\n")


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("*/5 0-6,22 1 jan-mar mon,7", "*/5 0-6,22 1 1-3 1,7"),
        (" 0  4 * * SUN ", "0 4 * * 0"),
        ("10-50/10 * * Dec */2", "10-50/10 * * 12 */2"),
        ("@daily", "0 0 * * *"),
        ("@Yearly", "0 0 1 1 *"),
    ],
)
def test_times_of_cron(text: str, times: str, tmp_path: Path) -> None:
    """Numbers alone reach the supervisor."""
    assert app(tmp_path, f"cron = '{text}'")["cron"] == times


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 4 * *", "it has 4 fields; write minute, hour, day, month, weekday"),
        ("@often", "it has 1 fields"),
        ("60 * * * *", "its minute is '60'"),
        ("* * 0 * *", "its day is '0'; write *, 1 to 31"),
        ("* * * mon *", "its month is 'mon'"),
        ("* * * * 8", "its weekday is '8'"),
        ("5-1 * * * *", "its minute is '5-1'"),
        ("*/0 * * * *", "its minute is '*/0'"),
        ("1, * * * *", "its minute is '1,'"),
        ("5/2 * * * *", "its minute is '5/2'"),
        ("* * L * *", "its day is 'L'"),
    ],
)
def test_times_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    """Which field, and what it may be."""
    assert words in error(tmp_path, f"[apps.web]\ncommand = 'x'\ncron = '{text}'\n")


# --- errors about the whole ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "apps.toml: there is no app in it; write [apps.web] and, below it, command = [...]"),
        ("x = [", "apps.toml is not TOML: Invalid value (at end of document)"),
        ("\n[apps.web]\ngrase = 1\ncommand = 'x'\n", "apps.toml, line 3: web: there is no key 'grase'; write grace"),
        ("logform = 'x'\n[apps.web]\ncommand = 'x'\n", "apps.toml, line 1: there is no key 'logform'; write log_form"),
        ("[apps]\n\nweb = 'x'\n", "apps.toml, line 3: apps.web is no table; write [apps.web] above its keys"),
        (
            "[apps.web]\nnode = true\n",
            'apps.toml, line 1: web has no command; write for example command = ["node", "app.js"]',
        ),
        ("[apps.1]\ncommand = 'x'\n", "apps.toml, line 1: '1' is no name for an app: a number is an id"),
        ("[apps.all]\ncommand = 'x'\n", "apps.toml, line 1: 'all' is no name for an app"),
        ("[apps.a.environment]\nA = { b = 1 }\n", "apps.toml, line 2: a: environment: "),
        (
            "[apps.a]\ncommand='x'\n[apps.a.environments.test]\nOK = '1'\n'B=C' = '1'\n",
            "apps.toml, line 5: a: environments: 'B=C' is no name",
        ),
        ("[apps.a]\ncommand='x'\nuser = 54321\n", "apps.toml, line 3: a: user: the user 54321 is not in /etc/passwd"),
        ("[apps.a]\ncommand='x'\nlisten = [\n'80',\n'x']\n", "apps.toml, line 5: a: listen: 'x' is no address"),
        (
            "[apps.a]\ncommand='x'\nafter=['b']\n[apps.b]\ncommand='x'\nafter=['a']\n",
            "apps.toml, line 3: a: after: a after b after a: ",
        ),
        (
            "[apps.a]\ncommand='x'\nafter=['a']\n",
            "apps.toml, line 3: a: after: a after a: none of them could be the first; leave one out",
        ),
        (
            "[apps.a]\ncommand='x'\n[apps.bee]\ncommand='x'\nafter=['aa']\n",
            "apps.toml, line 5: bee: after: there is no app 'aa'; write a",
        ),
        (
            '[apps.a]\ncommand=["\\u0000"]\n',
            "apps.toml, line 2: a: command: '[\"\\u0000\"]' is no command that could be run",
        ),
    ],
)
def test_errors(text: str, said: str, tmp_path: Path) -> None:
    """One line each: where, what, why, and what to write instead."""
    assert said in error(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Not there, and not UTF-8."""
    with pytest.raises(AppsError, match=r"cannot be read: No such file"):
        apps.read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe4"')
    with pytest.raises(AppsError, match=r"cannot be read: .*utf-8"):
        apps.read(tmp_path / "latin.toml")


def test_windows_line_ends(tmp_path: Path) -> None:
    """Lines are counted the same."""
    (tmp_path / "apps.toml").write_bytes(b"[apps.web]\r\ncommand = 'x'\r\ngrase = 1\r\n")
    with pytest.raises(AppsError, match="line 3"):
        apps.check(apps.read(tmp_path / "apps.toml"))


# --- what a start adds ---


def test_environment_is_whole_and_others_variables_are_left_out(tmp_path: Path) -> None:
    """What is about pyinit or set by the supervisor is not inherited; --env comes last."""
    given = {
        "PATH": "/bin",
        "AWS_KEY": "k",
        "PYINIT_STOP_BUDGET": "8000",
        "LISTEN_FDS": "1",
        "NODE_CHANNEL_FD": "3",
        "A": "0",
    }
    keys = "environment_without = ['AWS_*']\nenvironment.A = '1'\nenvironments.test = { A = '2', B = '3' }"
    assert app(tmp_path, keys, Start(given, CONTROL))["environment"] == {"PATH": "/bin", "A": "1"}
    tested = app(tmp_path, keys, Start(given, CONTROL, "test"))["environment"]
    assert tested == {"PATH": "/bin", "A": "2", "B": "3"}


def test_bytes_that_are_no_utf8_pass_unchanged(tmp_path: Path) -> None:
    """Through JSON and back."""
    value = os.fsdecode(b"\xff\xfe")
    found = app(tmp_path, "", Start({"A": value}, CONTROL))
    assert os.fsencode(json.loads(json.dumps(found))["environment"]["A"]) == b"\xff\xfe"


def test_home_follows_the_user(tmp_path: Path) -> None:
    """As with su; what the file says goes first."""
    given = Start({"HOME": "/nowhere"}, CONTROL)
    assert app(tmp_path, "user = 'root'", given)["environment"]["HOME"] == "/root"
    assert app(tmp_path, "user = 'root'\nenvironment.HOME = '/srv'", given)["environment"]["HOME"] == "/srv"
    assert app(tmp_path, "", given)["environment"]["HOME"] == "/nowhere"


def test_only_root_can_start_as_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is started; oneself is no other."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = error(tmp_path, "[apps.a]\ncommand='x'\nuser = 0\n")
    assert said == "apps.toml, line 3: a: user: only root can start it as another user; leave it out, or start as root"
    assert app(tmp_path, "user = 1000\ngroup = 5")["uid"] == 1000


def test_paths_start_at_the_app_s_cwd(tmp_path: Path) -> None:
    """And that at the file's folder, wherever the command was typed."""
    found = app(tmp_path, "cwd = 'shop'\nlog_stdout = 'logs/out'\nlisten = ['unix:a.sock']\nwatch = ['src']")
    shop = tmp_path / "shop"
    assert found["cwd"] == str(shop)
    assert found["logs"]["stdout"] == str(shop / "logs/out")
    assert found["listen"][0]["unix"] == str(shop / "a.sock")
    assert found["watch"] == [str(shop / "src")]


def test_what_stands_beside_the_apps(tmp_path: Path) -> None:
    """The budget is pyinit's unless the file says another one; "infinity" is one."""
    text = "[apps.web]\ncommand = 'x'\n"
    plain = made(tmp_path, text)
    assert (plain["control"], plain["stop_budget"], plain["log_form"]) == (CONTROL, None, "text")
    given = Start({"PYINIT_STOP_BUDGET": "7500"}, CONTROL)
    assert made(tmp_path, text, given)["stop_budget"] == 7.5
    assert made(tmp_path, f"stop_budget = 'infinity'\n{text}", given)["stop_budget"] is None
    assert made(tmp_path, f"stop_budget = '9s'\ncontrol = '/a'\nlog_form = 'json'\n{text}", given) | {"apps": []} == {
        "version": 1,
        "control": "/a",
        "stop_budget": 9,
        "log_form": "json",
        "apps": [],
    }


def test_only(tmp_path: Path) -> None:
    """Apps in the file's order; whoever waits for one that is left out does not wait, and that is said."""
    said: list[str] = []
    text = "[apps.a]\ncommand='x'\n[apps.b]\ncommand='x'\nafter=['a']\n[apps.c]\ncommand='x'\n"
    found = made(tmp_path, text, Start({}, CONTROL, only=["c", "b"], warn=said.append))["apps"]
    assert [(one["name"], one["after"]) for one in found] == [("b", []), ("c", [])]
    assert said == ["b is to start after a, which --only leaves out: it does not wait"]
    with pytest.raises(AppsError, match="--only d: there is no such app; there are a, b, c"):
        made(tmp_path, text, Start({}, CONTROL, only=["d"]))


def test_env_that_no_app_has(tmp_path: Path) -> None:
    """PM2 says so and goes on."""
    said: list[str] = []
    app(tmp_path, "", Start({}, CONTROL, "production", warn=said.append))
    assert said == [f"{tmp_path}/apps.toml: no app has variables for --env production"]


def test_log_files_of_detach(tmp_path: Path) -> None:
    """For apps that name none."""
    start = Start({}, CONTROL, logs=Path("/log"))
    logs = app(tmp_path, "log_stderr = '/mine'", start)["logs"]
    assert (logs["stdout"], logs["stderr"], logs["max_size"]) == ("/log/web-out.log", "/mine", 10 << 20)
    assert app(tmp_path, "log_max_size = '1K'", start)["logs"]["max_size"] == 1024


# --- the schema ---


def fits(value: object, schema: Mapping[str, Any]) -> bool:
    """As much of JSON Schema as ours uses."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
    }
    known = {"type", "enum", "const", "oneOf", "not", "pattern", "minLength", "minimum", "maximum", "items", "minItems", "description",
             "properties", "additionalProperties", "required", "minProperties", "maxProperties", "default", "title", "$schema"}  # fmt: skip
    assert set(schema) <= known
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(
            isinstance(value, kinds[name]) and (name == "boolean" or not isinstance(value, bool)) for name in named
        ):
            return False
    if "oneOf" in schema and sum(fits(value, one) for one in schema["oneOf"]) != 1:
        return False
    if "not" in schema and fits(value, schema["not"]):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0) and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(fits(one, schema.get("items", {})) for one in value)
    if isinstance(value, dict):
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
            return False
        if not set(schema.get("required", [])) <= set(value):
            return False
        return all(
            fits(one, properties[key]) if key in properties else more is True or (more is not False and fits(one, more))
            for key, one in value.items()
        )
    return True


SCHEMA = json.loads(apps.schema())
ABOUT_TWO_KEYS = {"cron", "backoff_first", "after", "user", "group", "command", "stop_signal", "listen"}
"""What a schema cannot know: other keys, this system's users, the words of a command, names of signals, addresses, times."""


@pytest.mark.parametrize("key", GOOD)
def test_the_schema_takes_what_is_right(key: str, tmp_path: Path) -> None:
    """An editor must not mark what works."""
    line, _ = GOOD[key]
    text = f"[apps.web]\n{line}\n" if key == "command" else f"[apps.web]\ncommand = 'x'\n{line}\n"
    assert fits(write(tmp_path, text).values, SCHEMA)


@pytest.mark.parametrize("key", sorted(set(BAD) - ABOUT_TWO_KEYS))
def test_the_schema_refuses_what_is_wrong(key: str, tmp_path: Path) -> None:
    """And marks what does not."""
    line, _ = BAD[key]
    assert not fits(write(tmp_path, f"[apps.web]\ncommand = 'x'\n{line}\n").values, SCHEMA)


def test_what_is_generated_is_not_stale() -> None:
    """The schema and the tables of pyinit/supervise/README.md come from the tables: python tests/support/generate.py."""
    assert generate.SCHEMA.read_text(encoding="utf-8") == apps.schema()
    assert generate.SUPERVISE.read_text(encoding="utf-8") == generate.supervise()
    assert (Path(apps.__file__).with_name("apps.schema.json")).read_text(encoding="utf-8") == apps.schema()


def test_the_schema_knows_every_key(tmp_path: Path) -> None:
    """And no other."""
    assert not fits(write(tmp_path, "[apps.web]\ncommand = 'x'\ngrase = 1\n").values, SCHEMA)
    assert not fits(write(tmp_path, "[apps.web]\nnode = true\n").values, SCHEMA)
    assert set(SCHEMA["properties"]["apps"]["additionalProperties"]["properties"]) == set(apps.BY_NAME)


def test_descriptor_that_a_socket_has(tmp_path: Path) -> None:
    """The numbers from 3 on are those of `listen`."""
    text = "[apps.web]\ncommand = 'x'\nlisten = ['8080', '8081']\nready = {{ descriptor = {} }}\n"
    assert "ready: the sockets of listen have the numbers from 3 on; write { descriptor = 5 }" in error(
        tmp_path, text.format(4)
    )
    assert app(tmp_path, text.format(5).partition("\n")[2].partition("\n")[2])["ready"]["number"] == 5
