"""`apps.toml`: what is to run, and how. It becomes the supervisor's spec, or one error with file, line, key and what to write instead.

`KEYS` is the single table: the checks, `apps.schema.json` for editors and the table in this folder's README are made from it.
Files of PM2 become the same document first (`pm2`), so that everything behind it exists once. The words for durations, signals and
sizes are those of pyinit's options.
"""

from __future__ import annotations

import difflib
import fnmatch
import grp
import json
import os
import pwd
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyinit.init import options, signals
from pyinit.supervise import client, cron, tomltext

VERSION = 1
"""Of the spec."""

OWN_VARIABLES = ("PYINIT_*", "LISTEN_*", "NOTIFY_SOCKET", "WATCHDOG_*", "NODE_CHANNEL_*")
"""Variables that are about this process, or that the supervisor sets itself: apps do not inherit them."""

DEFAULT_NAMESPACE = "default"


class AppsError(Exception):
    """A file that cannot be understood. The text is the whole line for the user."""


class WrongValueError(ValueError):
    """A value that is not what its key wants. `at` is where in the value, for the line."""

    def __init__(self, words: str, at: tomltext.Place = ()) -> None:
        super().__init__(words)
        self.at = at


@dataclass(frozen=True)
class Kind:
    """What a key's value may be. `take` checks it, and gives it as the spec wants it. Raises WrongValueError."""

    called: str
    take: Callable[[Any], Any]
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Key:
    """A row of the table. A default of None stands for "nothing", which TOML cannot write."""

    name: str
    kind: Kind
    default: Any
    meaning: str


# --- kinds ---


def _wrong(value: object, is_no: str, instead: str, at: tomltext.Place = ()) -> WrongValueError:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return WrongValueError(f"'{options.show(text)}' is {is_no}; {instead}", at)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(value, "no text", 'write something in quotes, as in "..."')
    if "\0" in value:
        raise _wrong(value, "no text that a program could be given", "leave out \\u0000")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "neither true nor false", "write true or false, without quotes")
    return value


def _list_of(take: Callable[[Any], Any], example: str) -> Callable[[Any], Any]:
    def taken(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(value, "no list", f"write for example {example}")
        found = []
        for index, one in enumerate(value):
            try:
                found.append(take(one))
            except WrongValueError as error:
                raise WrongValueError(str(error), (index, *error.at)) from None
        return found

    return taken


def _words(value: object) -> list[str]:
    """A command: a list of words, or a text that is split as a shell would, without one."""
    example = 'write ["node", "app.js"] or "node app.js"'
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        raise _wrong(value, "no command: a quote is not closed", example) from None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words) or not words[0]:
        raise _wrong(value, "no command", example)
    if any("\0" in word for word in words):
        raise _wrong(value, "no command that could be run", "leave out \\u0000")
    return words


def _at_least(minimum: int) -> Callable[[Any], Any]:
    def taken(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise _wrong(value, f"no whole number from {minimum}", f"write {minimum} or more, without quotes")
        return value

    return taken


def _code(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise _wrong(value, "no exit status", "write 0 to 255")
    return value


def _instances(value: object) -> int | str:
    if value == "max" or (isinstance(value, int) and not isinstance(value, bool) and value != 0):
        return value
    raise _wrong(
        value,
        "no number of instances",
        'write a number, "max" for what the CPU limit allows, or -1 for one less than that',
    )


def seconds(value: object) -> float | None:
    """A duration in seconds, None for one without end."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    nanoseconds = options.duration(text) if isinstance(text, str) else None
    if nanoseconds is None:
        raise _wrong(value, "no duration", options.A_DURATION)
    if nanoseconds == options.NEVER:
        return None
    whole, rest = divmod(nanoseconds, options.SECOND)
    return nanoseconds / options.SECOND if rest else whole


def _limited(value: object) -> float:
    found = seconds(value)
    if found is None:
        raise _wrong(value, "no duration that ends", "write for example 8s, 1500ms, 2m or 10 (seconds)")
    return found


UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size(value: object) -> int:
    """`300M` in bytes: K, M and G count in 1024, as PM2's do."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", str(value)) if not isinstance(value, bool) else None
    if not found or not isinstance(value, int | str):
        raise _wrong(value, "no size", "write for example 300M, 64K, 2G or 1048576 (bytes)")
    return int(found[1]) * UNITS[found[2]]


def _signal(value: object) -> str:
    number = signals.number_of(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if number is None:
        raise _wrong(value, "no signal", options.A_SIGNAL)
    if number in signals.NEVER_FORWARDED and number != signals.KILL:
        raise _wrong(value, "no signal that stops a program", "write for example TERM, INT or QUIT")
    return signals.name_of(number)


def _choice(*choices: str) -> Kind:
    def taken(value: object) -> str:
        if value not in choices:
            raise _wrong(value, "none of its values", f"write {' or '.join(choices)}")
        return str(value)

    return Kind(" or ".join(f'"{one}"' for one in choices), taken, {"enum": list(choices)})


def variables(value: object) -> dict[str, str]:
    """Environment variables: texts; numbers and truth values are written out."""
    if not isinstance(value, dict):
        raise _wrong(value, "no table of variables", 'write for example { PORT = "8080" }')
    found = {}
    for name, one in value.items():
        if not name or "=" in name or "\0" in name:
            raise _wrong(name, "no name of a variable", "write a name without '='", (name,))
        if isinstance(one, bool):
            found[name] = "true" if one else "false"
        elif isinstance(one, int | float):
            found[name] = str(one)
        elif isinstance(one, str) and "\0" not in one:
            found[name] = one
        else:
            raise _wrong(one, f"no value for the variable {name}", "write a text in quotes", (name,))
    return found


def _environments(value: object) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict):
        raise _wrong(value, "no table", "write [apps.NAME.environments.production] above the variables")
    found = {}
    for name, one in value.items():
        try:
            found[name] = variables(one)
        except WrongValueError as error:
            raise WrongValueError(str(error), (name, *error.at)) from None
    return found


def _account(find: Callable[[str], int], what: str) -> Callable[[Any], Any]:
    def taken(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        if not isinstance(value, str):
            raise _wrong(value, f"no {what}", "write its name or its number")
        try:
            return find(value)
        except KeyError:
            raise _wrong(value, f"no {what} of this system", "write one that is, or its number") from None

    return taken


def _address(value: object) -> dict[str, Any]:
    """`8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock`; the mode of the latter is another key."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and text.startswith("unix:") and len(text) > 5 and "\0" not in text:
        return {"unix": text[5:], "mode": 0}
    if isinstance(text, str):
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536 and (":" not in host or bare != host):
            return {"host": bare or "0.0.0.0", "port": int(port)}  # noqa: S104 (what a bare port means)
    raise _wrong(value, "no address", 'write "8080", "127.0.0.1:8080", "[::1]:8080" or "unix:/run/app.sock"')


def _regex(text: object) -> str:
    try:
        re.compile(_text(text))
    except (re.error, OverflowError, RecursionError) as error:
        raise _wrong(text, f"no regular expression: {error}", "write one that Python's re understands") from None
    return str(text)


def _ready(value: object) -> dict[str, Any]:
    """A word, or a table with one entry."""
    example = f"write {', '.join(READY_WORDS)}, or a table with one of {', '.join(READY_TABLES)}"
    if isinstance(value, str) and value in READY_WORDS:
        return {"kind": value, "text": "ready"} if value == "message" else {"kind": value}
    if not isinstance(value, dict) or len(value) != 1:
        raise _wrong(value, "no way to be ready", example)
    ((kind, one),) = value.items()
    try:
        if kind == "message":
            return {"kind": kind, "text": _text(one)}
        if kind == "log":
            return {"kind": kind, "pattern": _regex(one)}
        if kind == "descriptor":
            number = _at_least(3)(one)
            if number > 255:
                raise _wrong(one, "no descriptor from 3 to 255", "write for example 3")
            return {"kind": kind, "number": number}
        if kind == "tcp":
            address = _address(one)
            if "port" not in address:
                raise _wrong(one, "no address of TCP", 'write for example "127.0.0.1:8080"')
            return {"kind": kind, **address}
        if kind == "http":
            return {"kind": kind, "url": _url(one)}
    except WrongValueError as error:
        raise WrongValueError(str(error), (kind,)) from None
    raise _wrong(kind, "no way to be ready", example, (kind,))


def _url(value: object) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:
        good = False
    if not good:
        raise _wrong(text, "no URL of plain HTTP", 'write for example "http://127.0.0.1:8080/health"')
    return text


CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, cron.MONTHS),
    ("weekday", 0, 7, cron.DAYS),
)


def _cron(value: object) -> str:
    """Five fields, as in crontab(5); names of months and days become numbers, `@daily` and the like the fields that they stand for."""
    text = _text(value).strip()
    fields = cron.NICKNAMES.get(text.lower(), text).split()
    if len(fields) != len(CRON):
        raise _wrong(
            text,
            f"no time of cron: it has {len(fields)} fields",
            'write minute, hour, day, month, weekday: "0 4 * * *"',
        )
    return " ".join(_cron_field(text, field, *row) for field, row in zip(fields, CRON, strict=True))


def _cron_field(text: str, field: str, name: str, least: int, most: int, words: Sequence[str]) -> str:
    numbers = {word: str(least + index) for index, word in enumerate(words)}
    found = re.sub("[a-z]+", lambda word: numbers.get(word[0], word[0]), field.lower())
    for part in found.split(","):
        shape = re.fullmatch(r"(?:\*|([0-9]{1,2})-([0-9]{1,2}))(?:/([0-9]{1,2}))?|([0-9]{1,2})", part)
        first, last, step, single = shape.groups() if shape else ("99", None, None, None)
        low, high = int(single or first or least), int(single or last or most)
        if not least <= low <= high <= most or (step is not None and int(step) == 0):
            raise _wrong(
                text, f"no time of cron: its {name} is '{field}'", f"write *, {least} to {most}, a-b, a,b or */n"
            )
    return found


READY_WORDS = ("alive", "listening", "message", "notify")
READY_TABLES = ("message", "descriptor", "log", "tcp", "http")

TEXT = Kind("a text", _text, {"type": "string", "minLength": 1})
FLAG = Kind("true or false", _flag, {"type": "boolean"})
WORDS = Kind(
    "a list of words, or a text",
    _words,
    {"oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
)
TEXTS = Kind(
    "a list of texts", _list_of(_text, '["one", "two"]'), {"type": "array", "items": {"type": "string", "minLength": 1}}
)
DURATION = Kind(
    "a duration",
    seconds,
    {"oneOf": [{"type": "string", "pattern": "^([0-9]+(ms|s|m)?|infinity)$"}, {"type": "integer", "minimum": 0}]},
)
LIMITED = Kind(
    "a duration",
    _limited,
    {"oneOf": [{"type": "string", "pattern": "^[0-9]+(ms|s|m)?$"}, {"type": "integer", "minimum": 0}]},
)
SIZE = Kind(
    "a size", size, {"oneOf": [{"type": "string", "pattern": "^[0-9]+[KMG]?$"}, {"type": "integer", "minimum": 0}]}
)
TIMES = Kind("a time of cron", _cron, {"type": "string", "minLength": 1})
COUNT = Kind("a number", _at_least(0), {"type": "integer", "minimum": 0})
SIGNAL = Kind("a signal", _signal, {"type": ["string", "integer"]})
CODES = Kind(
    "a list of exit statuses",
    _list_of(_code, "[0, 3]"),
    {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
)
INSTANCES = Kind(
    'a number or "max"', _instances, {"oneOf": [{"const": "max"}, {"type": "integer", "not": {"const": 0}}]}
)
VARIABLES = Kind(
    "a table of texts", variables, {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
)
ENVIRONMENTS = Kind(
    "tables of texts, by name", _environments, {"type": "object", "additionalProperties": VARIABLES.schema}
)
USER = Kind(
    "a name or a number", _account(lambda name: pwd.getpwnam(name).pw_uid, "user"), {"type": ["string", "integer"]}
)
GROUP = Kind(
    "a name or a number", _account(lambda name: grp.getgrnam(name).gr_gid, "group"), {"type": ["string", "integer"]}
)
ADDRESSES = Kind(
    "a list of addresses",
    _list_of(_address, '["127.0.0.1:8080"]'),
    {"type": "array", "items": {"type": ["string", "integer"]}},
)
READY = Kind(
    "a word, or a table with one entry",
    _ready,
    {
        "oneOf": [
            {"enum": list(READY_WORDS)},
            {
                "type": "object",
                "properties": {
                    name: {"type": "integer" if name == "descriptor" else "string"} for name in READY_TABLES
                },
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    },
)

# --- the table ---

# fmt: off
TOP = (
    Key("control", TEXT, None, "the path of the control socket, at most 107 bytes; without it the first of `$PYINITCTL_SOCKET`, "
        "`control.sock` in `$XDG_RUNTIME_DIR/pyinit`, `/run/pyinit` and `/tmp/pyinit-UID` that can be used"),
    Key("stop_budget", DURATION, None, "how long the whole stop may take; without it what pyinit says (`PYINIT_STOP_BUDGET`)"),
    Key("log_form", _choice("text", "json"), "text", "the form of lines on the container's stdout"),
)

KEYS = (
    Key("command", WORDS, None, "what to run, required: a list, or a text that is split into words as by a shell. No shell runs it"),
    Key("namespace", TEXT, DEFAULT_NAMESPACE, "a name for several apps: a selector of the commands"),
    Key("cwd", TEXT, ".", "the working directory, from the file's folder on. All other paths of an app start here"),
    Key("environment", VARIABLES, {}, "variables, in addition to those of `pyinitctl start`"),
    Key("environments", ENVIRONMENTS, {}, "more variables for `--env NAME`"),
    Key("environment_without", TEXTS, [], 'variables that are not inherited, as patterns: `["AWS_*"]`, `["*"]` for all'),
    Key("user", USER, None, "whom to run as; HOME becomes theirs, unless `environment` says otherwise"),
    Key("group", GROUP, None, "the group; without it the one of `user`"),
    Key("instances", INSTANCES, 1, "how many: a number, `\"max\"` for what the container's CPU limit "
        "allows, -1 for one less than that (at least 1)"),
    Key("instance_variable", TEXT, "NODE_APP_INSTANCE", "the variable that tells an instance its number, from 0"),
    Key("increment_variables", TEXTS, [], "variables of `environment` that grow by one from instance to instance, such as a port"),
    Key("listen", ADDRESSES, [], 'sockets that are opened at the start and passed as LISTEN_FDS: `"8080"`, '
        '`"127.0.0.1:8080"`, `"unix:/run/app.sock"`'),
    Key("listen_mode", COUNT, 0o660, "the permissions of unix sockets, `0o660`"),
    Key("node", FLAG, False, "a Node.js program whose instances share its ports: none need be named, and no code changed"),
    Key("channel", FLAG, False, "a channel for messages as Node's `child_process` has it, without sharing ports; "
        '`ready = "message"` and `stop_message` bring it'),
    Key("ready", READY, None, 'when a new instance can do its work: `"alive"` for `min_uptime`; `"listening"` (with `node`); '
        "`\"message\"`: `process.send('ready')`; "
        "`\"notify\"`: sd_notify's `READY=1`; `{ descriptor = 3 }`: a newline on it, as for s6; "
        '`{ log = "REGEX" }`; `{ tcp = "HOST:PORT" }` and `{ http = "URL" }` '
        'on an address of that instance alone; `{ message = "TEXT" }`. Without it `"listening"` with `node`, else `"alive"`'),
    Key("ready_timeout", DURATION, "30s", "how long that may take; then a reload stops, and the old instance stays"),
    Key("ready_required", FLAG, True, "`false`: go on anyway when `ready_timeout` is over, as PM2 does"),
    Key("stop_signal", SIGNAL, "TERM", "what asks it to stop"),
    Key("stop_message", TEXT, None, 'a message that asks it to stop, instead of the signal: `"shutdown"`'),
    Key("drain", DURATION, "5s", "in a reload: how long connections of the old instance may take to end before it is asked to stop"),
    Key("grace", DURATION, "8s", "from being asked to SIGKILL"),
    Key("restart", _choice("always", "on-failure", "never"), "always", "when it has ended by itself"),
    Key("leave_exit_codes", CODES, [], "exit statuses after which it is not started again"),
    Key("min_uptime", LIMITED, "1s", "an instance that has lived for so long has started well"),
    Key("max_restarts", COUNT, 16, "after so many restarts within `restart_window` an instance is given up"),
    Key("restart_window", DURATION, "5m", "see `max_restarts`"),
    Key("backoff_first", LIMITED, "100ms", "the pause before the second restart in a row (the first is immediate); "
        "each further one is longer"),
    Key("backoff_max", LIMITED, "15s", "the longest pause; `0` for none"),
    Key("memory_limit", SIZE, None, 'above this it is reloaded, before the kernel kills it: `"300M"`'),
    Key("cron", TIMES, None, 'when it is reloaded, as in crontab: `"0 4 * * *"`. What has ended by itself starts again then; '
        "what somebody has stopped does not"),
    Key("watch", TEXTS, [], "files and folders whose change restarts it (for development), unless somebody has stopped it"),
    Key("watch_ignore", TEXTS, [], 'what of these does not count, as patterns: `["*.log"]`. Hidden files and node_modules never do'),
    Key("essential", FLAG, False, "its end ends the container, with its exit status"),
    Key("autostart", FLAG, True, "`false`: it waits for `pyinitctl start NAME`"),
    Key("after", TEXTS, [], "apps that must be ready first"),
    Key("surge", COUNT, 0, "how many new instances a reload starts at once; `0`: one after the other"),
    Key("log_stdout", TEXT, None, "a file for its stdout; without it the container's stdout"),
    Key("log_stderr", TEXT, None, "a file for its stderr; without it the container's stdout"),
    Key("log_combined", TEXT, None, "a file for both, in addition"),
    Key("log_off", FLAG, False, "keep no output at all"),
    Key("log_form", _choice("text", "json"), "text", "the form of lines in files"),
    Key("log_timestamp", TEXT, None, 'in front of each line, as strftime writes it: `"%Y-%m-%dT%H:%M:%S"`'),
    Key("log_per_instance", FLAG, False, "a file for each instance: `-0`, `-1` ... before its extension"),
    Key("log_max_size", SIZE, None, 'a file that is larger is rotated: `"10M"`'),
    Key("log_every", LIMITED, None, 'a file that is older is rotated: `"1440m"`'),
    Key("log_keep", COUNT, 10, "how many rotated files stay"),
    Key("log_compress", FLAG, False, "compress them"),
    Key("log_full", _choice("block", "drop"), "block", "when nobody takes its output: let it wait, or drop lines, and count them"),
)
# fmt: on

BY_NAME: Mapping[str, Key] = {key.name: key for key in KEYS}
TOP_BY_NAME: Mapping[str, Key] = {key.name: key for key in TOP}


# --- reading and checking ---


@dataclass(frozen=True)
class Document:
    """A file's content, checked or not: what `tomllib` gives. `where` words a place in it."""

    values: Mapping[str, Any]
    folder: Path
    """What relative paths count from."""
    name: str = "apps.toml"
    lines: Mapping[tomltext.Place, int] = field(default_factory=dict)

    def where(self, place: tomltext.Place) -> str:
        """`apps.toml, line 12`; the nearest that is known."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.name}, line {self.lines[place]}" if place else self.name


def read(path: Path) -> Document:
    """A file of TOML. Raises AppsError."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AppsError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AppsError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    text = text.replace("\r\n", "\n")
    return Document(values, path.resolve().parent, str(path), tomltext.lines(text))


def check(document: Document) -> dict[str, dict[str, Any]]:
    """Each app with all keys, as the spec wants them, by name; the key "" has those beside the apps. Raises AppsError."""
    apps = document.values.get("apps")
    if not isinstance(apps, dict) or not apps:
        example = "write [apps.web] and, below it, command = [...]"
        raise AppsError(f"{document.where(('apps',))}: there is no app in it; {example}")
    others = {name: value for name, value in document.values.items() if name != "apps"}
    found = {"": _keys(document, (), others, {**TOP_BY_NAME})}
    for name, app in apps.items():
        place = ("apps", name)
        _check_name(document, place, name)
        if not isinstance(app, dict):
            raise AppsError(f"{document.where(place)}: apps.{name} is no table; write [apps.{name}] above its keys")
        found[name] = _keys(document, place, app, BY_NAME)
    for name, app in found.items():
        if name:
            _check_app(document, name, app, found)
    return found


def _keys(
    document: Document, place: tomltext.Place, given: Mapping[str, Any], table: Mapping[str, Key]
) -> dict[str, Any]:
    label = f"{place[-1]}: " if place else ""
    for name in given:
        if name not in table:
            raise AppsError(
                f"{document.where((*place, name))}: {label}there is no key '{options.show(name)}'{_nearest(name, table)}"
            )
    found = {}
    for name, key in table.items():
        value = given.get(name, key.default)
        try:
            found[name] = key.kind.take(value) if value is not None else None
        except WrongValueError as error:
            raise AppsError(f"{document.where((*place, name, *error.at))}: {label}{name}: {error}") from None
    return found


def _nearest(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"; write {close[0]}" if close else f"; there are {', '.join(known)}"


def _check_name(document: Document, place: tomltext.Place, name: str) -> None:
    """What the commands would take for another selector is no name."""
    if not name or not name.isprintable() or name == "all" or name.isdigit() or name.startswith(("/", "-")):
        raise AppsError(
            f"{document.where(place)}: '{options.show(name)}' is no name for an app: "
            "a number is an id, 'all' is everybody, /.../ a pattern; write for example [apps.web]"
        )


def _check_app(document: Document, name: str, app: Mapping[str, Any], apps: Mapping[str, Mapping[str, Any]]) -> None:
    """What concerns more than one key."""

    def refuse(key: str, words: str) -> AppsError:
        return AppsError(f"{document.where(('apps', name, key))}: {name}: {key}: {words}")

    if app["command"] is None:
        raise AppsError(
            f'{document.where(("apps", name))}: {name} has no command; write for example command = ["node", "app.js"]'
        )
    ready = app["ready"] or {"kind": "alive"}
    if ready["kind"] == "listening" and not app["node"]:
        raise refuse("ready", 'only Node.js programs tell when they listen; write node = true, or "notify" or "alive"')
    if ready["kind"] in ("tcp", "http") and (app["node"] or app["instances"] != 1 or _is_shared(ready, app["listen"])):
        raise refuse(
            "ready",
            f"a {ready['kind']} probe of an address that instances share is answered by whichever is up, the old one too; "
            'write "listening" (with node), "notify", "message" or { log = "..." }',
        )
    if ready["kind"] == "descriptor" and ready["number"] < 3 + len(app["listen"]):
        raise refuse(
            "ready",
            f"the sockets of listen have the numbers from 3 on; write {{ descriptor = {3 + len(app['listen'])} }}",
        )
    if app["backoff_first"] > app["backoff_max"]:
        raise refuse("backoff_first", "it is longer than backoff_max; write a shorter one, or a longer backoff_max")
    if app["user"] is not None and app["group"] is None and _account_of(app["user"]) is None:
        raise refuse(
            "user", f"the user {app['user']} is not in /etc/passwd, so that its group is unknown; write group as well"
        )
    for other in app["after"]:
        if other not in apps or not other:
            known = [one for one in apps if one and one != name]
            raise refuse("after", f"there is no app '{options.show(other)}'{_nearest(other, dict.fromkeys(known))}")
    circle = _circle(name, apps)
    if circle:
        raise refuse("after", f"{' after '.join(circle)}: none of them could be the first; leave one out")


def _is_shared(ready: Mapping[str, Any], listen: Sequence[Mapping[str, Any]]) -> bool:
    port = ready["port"] if ready["kind"] == "tcp" else urlsplit(ready["url"]).port or 80
    return any(one.get("port") == port for one in listen)


def _circle(name: str, apps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The way from an app along `after` back to itself; empty when there is none."""
    ways = [[name]]
    seen: set[str] = set()
    for way in ways:
        for other in apps[way[-1]]["after"] if way[-1] in apps else ():
            if other == name:
                return [*way, name]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def _account_of(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


# --- the spec ---


@dataclass(frozen=True)
class Start:
    """What a start adds to a file. `warn` is told what is odd and stops nothing."""

    environ: Mapping[str, str]
    control: str
    environment: str = ""
    only: Sequence[str] = ()
    logs: Path | None = None
    """A folder for the output of apps that name no file: rotated, ten of each kept."""
    warn: Callable[[str], None] = lambda _: None


def spec(document: Document, start: Start) -> dict[str, Any]:
    """What the supervisor is handed. Raises AppsError."""
    checked = check(document)
    top = checked.pop("")
    if start.environment and not any(start.environment in app["environments"] for app in checked.values()):
        start.warn(f"{document.name}: no app has variables for --env {start.environment}")
    for name, app in checked.items():
        if app["user"] not in (None, os.geteuid()) and os.geteuid() != 0:
            where = document.where(("apps", name, "user"))
            raise AppsError(
                f"{where}: {name}: user: only root can start it as another user; leave it out, or start as root"
            )
    running = chosen(checked, start.only, document)
    for name, app in running.items():
        for other in app["after"]:
            if other not in running:
                start.warn(f"{name} is to start after {other}, which --only leaves out: it does not wait")
    return {
        "version": VERSION,
        "control": _control(top["control"], document) or start.control,
        "stop_budget": top["stop_budget"] if "stop_budget" in document.values else _budget(start.environ),
        "log_form": top["log_form"],
        "apps": [_app(name, app, document, start, running) for name, app in running.items()],
    }


def chosen(checked: Mapping[str, dict[str, Any]], only: Sequence[str], document: Document) -> dict[str, dict[str, Any]]:
    """The apps of `--only`, all without it. Raises AppsError."""
    for name in only:
        if name not in checked:
            raise AppsError(f"{document.name}: --only {name}: there is no such app{_nearest(name, checked)}")
    return {name: app for name, app in checked.items() if not only or name in only}


def _control(given: str | None, document: Document) -> str | None:
    """From the file's folder on, as all its paths. Raises AppsError."""
    if given is None:
        return None
    path = str(document.folder / given)
    if len(os.fsencode(path)) > client.LONGEST:
        where = document.where(("control",))
        raise AppsError(
            f"{where}: control: '{options.show(path)}' is longer than the {client.LONGEST} bytes of a socket's path; name a shorter one"
        )
    return path


def _budget(environ: Mapping[str, str]) -> float | None:
    """What pyinit says, in milliseconds; None where it will never kill."""
    text = environ.get("PYINIT_STOP_BUDGET", "")
    return int(text) / 1000 if text.isascii() and text.isdigit() else None


SAME = [
    "namespace",
    "command",
    "instances",
    "instance_variable",
    "increment_variables",
    "node",
    "ready_timeout",
    "ready_required",
    "stop_signal",
    "stop_message",
    "drain",
    "grace",
    "restart",
    "leave_exit_codes",
    "min_uptime",
    "max_restarts",
    "restart_window",
    "backoff_first",
    "backoff_max",
    "memory_limit",
    "cron",
    "watch_ignore",
    "essential",
    "autostart",
    "surge",
]
"""Keys that the spec takes as they are."""

DETACHED_LOG_SIZE = 10 << 20
LOGS = ["off", "form", "timestamp", "per_instance", "max_size", "every", "keep", "compress", "full"]


def _app(
    name: str, app: Mapping[str, Any], document: Document, start: Start, chosen: Mapping[str, object]
) -> dict[str, Any]:
    cwd = (document.folder / app["cwd"]).resolve()

    def path(text: str | None) -> str | None:
        return None if text is None else str(cwd / text)

    ready = app["ready"] or {"kind": "listening" if app["node"] else "alive"}
    listen = [
        {"unix": path(one["unix"]), "mode": app["listen_mode"]} if "unix" in one else one for one in app["listen"]
    ]
    account = _account_of(app["user"]) if app["user"] is not None else None
    return {
        "name": name,
        **{key: app[key] for key in SAME},
        "cwd": str(cwd),
        "environment": _environment(app, account, start),
        "uid": app["user"],
        "gid": app["group"] if app["group"] is not None or account is None else account.pw_gid,
        "listen": listen,
        "channel": app["channel"]
        or (not app["node"] and (ready["kind"] == "message" or app["stop_message"] is not None)),
        "ready": ready,
        "watch": [path(one) for one in app["watch"]],
        "after": [other for other in app["after"] if other in chosen],
        "logs": _logs(name, app, start.logs, path),
    }


def _logs(
    name: str, app: Mapping[str, Any], folder: Path | None, path: Callable[[str | None], str | None]
) -> dict[str, Any]:
    found = {key: app[f"log_{key}"] for key in LOGS}
    files = {stream: path(app[f"log_{stream}"]) for stream in ("stdout", "stderr", "combined")}
    if folder is not None:
        safe = name.replace("/", "-")
        files["stdout"] = files["stdout"] or str(folder / f"{safe}-out.log")
        files["stderr"] = files["stderr"] or str(folder / f"{safe}-error.log")
        found["max_size"] = found["max_size"] or DETACHED_LOG_SIZE
    return {**files, **found}


def without(environ: Mapping[str, str], patterns: Sequence[str] = OWN_VARIABLES) -> dict[str, str]:
    """An environment without the variables that match one of these patterns."""
    return {
        name: value
        for name, value in environ.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def _environment(app: Mapping[str, Any], account: pwd.struct_passwd | None, start: Start) -> dict[str, str]:
    found = without(start.environ, (*OWN_VARIABLES, *app["environment_without"]))
    if account is not None:
        found["HOME"] = account.pw_dir
    return {**found, **app["environment"], **app["environments"].get(start.environment, {})}


# --- what is made from the table ---

ABOUT = "Apps of `pyinitctl start`. Relative paths of an app start at its cwd, and that at this file's folder."


def schema() -> str:
    """The JSON Schema for editors (draft 7, which those for TOML know)."""

    def properties(keys: Sequence[Key]) -> dict[str, Any]:
        found = {}
        for key in keys:
            default = {} if key.default is None else {"default": key.default}
            found[key.name] = {"description": key.meaning.replace("`", ""), **key.kind.schema, **default}
        return found

    app = {
        "type": "object",
        "properties": properties(KEYS),
        "required": ["command"],
        "additionalProperties": False,
    }
    apps = {"type": "object", "minProperties": 1, "additionalProperties": app}
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "apps.toml of pyinit",
        "description": ABOUT,
        "type": "object",
        "properties": {**properties(TOP), "apps": apps},
        "required": ["apps"],
        "additionalProperties": False,
    }
    return json.dumps(whole, indent=2) + "\n"


def markdown() -> str:
    """The table of keys for the README."""
    head = ["| key | what it is | default | meaning |", "|---|---|---|---|"]
    beside = [_row(key, f"`{key.name}` (beside the apps)") for key in TOP]
    return "\n".join([*head, *beside, *(_row(key, f"`{key.name}`") for key in KEYS)]) + "\n"


def _row(key: Key, name: str) -> str:
    default = f"`{tomltext.written(key.default)}`" if key.default is not None else ""
    if key.name == "listen_mode":
        default = f"`0o{key.default:o}`"
    cells = (name, key.kind.called, default, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
