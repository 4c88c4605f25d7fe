"""What the supervisor is asked to run: `pyinitctl` hands it over as JSON, with every key present and everything resolved.

Checked strictly all the same: whoever writes the JSON by hand, or of another version, is told which key is wrong and what it may be.
Durations are seconds in the JSON and stay so here; null is a time without end.
"""

import os

from pyinit.init import signals

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

VERSION = 1
FOREVER = float("inf")


class SpecError(Exception):
    """A spec that cannot be understood. The text is the whole line for the user."""


# --- kinds of values: what a value becomes, or None where it is none of its kind; and the words for what it may be ---


class Kind:
    """How a key's value is read: `read` gives the value or raises ValueError, `words` say what it may be."""

    __slots__ = ("read", "words")

    def __init__(self, words: str, read: "Callable[[Any], Any]") -> None:
        self.words: Final = words
        self.read: Final = read


def _exactly(*types: type) -> "Callable[[Any], Any]":
    """A value of one of these types; a truth value is no number."""

    def read(value: "Any") -> "Any":
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError
        return value

    return read


def _is_text(value: "Any") -> bool:
    """Whether the kernel can be given it. Raises ValueError for half of a surrogate pair, which no bytes stand for."""
    return isinstance(value, str) and b"\0" not in os.fsencode(value)


def _words(value: "Any") -> "tuple[str, ...]":
    if not isinstance(value, list) or not all(_is_text(word) for word in value):
        raise ValueError
    return tuple(value)


def _command(value: "Any") -> "tuple[str, ...]":
    words = _words(value)
    if not words or not words[0]:
        raise ValueError
    return words


def _text(value: "Any") -> str:
    if not _is_text(value) or not value:
        raise ValueError
    text: str = value
    return text


def _map(value: "Any") -> "dict[str, str]":
    if not isinstance(value, dict) or any("=" in key or not key for key in value):
        raise ValueError
    _words([*value, *value.values()])
    return value


def _duration(value: "Any") -> float:
    if value is None:
        return FOREVER
    seconds = float(_exactly(int, float)(value))
    if not 0 <= seconds < FOREVER:
        raise ValueError
    return seconds


def _count(value: "Any") -> int:
    number: int = _exactly(int)(value)
    if number < 0:
        raise ValueError
    return number


def _instances(value: "Any") -> "int | str":
    if value != "max" and (not isinstance(value, int) or isinstance(value, bool) or value == 0):
        raise ValueError
    number: int | str = value
    return number


def _signal(value: "Any") -> int:
    number = signals.number_of(value) if isinstance(value, str) else None
    if number is None or value.isdigit():
        raise ValueError
    return number


def _codes(value: "Any") -> "frozenset[int]":
    if not isinstance(value, list):
        raise ValueError
    if not all(type(code) is int and 0 <= code <= 255 for code in value):
        raise ValueError
    return frozenset(value)


def _cron(value: "Any") -> str:
    from pyinit.supervise.cron import Entry

    text = _text(value)
    Entry(text)
    return text


def _listen(value: "Any") -> "tuple[dict[str, Any], ...]":
    if not isinstance(value, list):
        raise ValueError
    for one in value:
        if not isinstance(one, dict) or set(one) not in ({"host", "port"}, {"unix", "mode"}):
            raise ValueError
        if "port" in one and not (
            isinstance(one["host"], str) and type(one["port"]) is int and 0 < one["port"] < 65536
        ):
            raise ValueError
        if "unix" in one and not (isinstance(one["unix"], str) and type(one["mode"]) is int):
            raise ValueError
    return tuple(value)


ALIVE, LISTENING, MESSAGE, NOTIFY, DESCRIPTOR, LOG, TCP, HTTP = (
    "alive",
    "listening",
    "message",
    "notify",
    "descriptor",
    "log",
    "tcp",
    "http",
)
READY: "dict[str, dict[str, type]]" = {
    ALIVE: {},
    LISTENING: {},
    MESSAGE: {"text": str},
    NOTIFY: {},
    DESCRIPTOR: {"number": int},
    LOG: {"pattern": str},
    TCP: {"host": str, "port": int},
    HTTP: {"url": str},
}


def _ready(value: "Any") -> "dict[str, Any]":
    if not isinstance(value, dict) or value.get("kind") not in READY:
        raise ValueError
    wanted = READY[value["kind"]]
    if set(value) != {"kind", *wanted} or any(type(value[key]) is not wanted[key] for key in wanted):
        raise ValueError
    if value["kind"] == HTTP and not value["url"].startswith("http://"):
        raise ValueError
    if value["kind"] == LOG:
        import re

        try:
            re.compile(value["pattern"].encode())
        except (re.error, OverflowError, RecursionError):
            raise ValueError from None
    if value["kind"] == DESCRIPTOR and not 3 <= value["number"] < 256:
        raise ValueError
    return value


COMMAND = "command"


def _health(value: "Any") -> "dict[str, Any]":
    if isinstance(value, dict) and value.get("kind") == COMMAND and set(value) == {"kind", COMMAND}:
        return {"kind": COMMAND, COMMAND: _command(value[COMMAND])}
    found = _ready(value)
    if found["kind"] not in (TCP, HTTP):
        raise ValueError
    return found


def _pause(value: "Any") -> float:
    seconds = _duration(value)
    if not 0 < seconds < FOREVER:
        raise ValueError
    return seconds


def _positive(value: "Any") -> int:
    number = _count(value)
    if not number:
        raise ValueError
    return number


def _one_of(*choices: str) -> Kind:
    def read(value: "Any") -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return Kind("one of " + ", ".join(choices), read)


def _maybe(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or null", lambda value: None if value is None else kind.read(value))


TEXT = Kind("a text", _text)
WORDS = Kind("a list of texts", _words)
TRUTH = Kind("true or false", _exactly(bool))
COUNT = Kind("a whole number, 0 or more", _count)
DURATION = Kind("seconds, 0 or more, or null for a time without end", _duration)

PAUSE = Kind("seconds, more than 0", _pause)

SAY, RELOAD = "say", "reload"
ALWAYS, ON_FAILURE, NEVER = "always", "on-failure", "never"
BLOCK, DROP = "block", "drop"
TEXT_FORM, JSON_FORM = "text", "json"

LOGS: "dict[str, Kind]" = {
    "stdout": _maybe(TEXT),
    "stderr": _maybe(TEXT),
    "combined": _maybe(TEXT),
    "off": TRUTH,
    "form": _one_of(TEXT_FORM, JSON_FORM),
    "timestamp": _maybe(TEXT),
    "per_instance": TRUTH,
    "max_size": _maybe(COUNT),
    "every": DURATION,
    "keep": COUNT,
    "compress": TRUTH,
    "full": _one_of(BLOCK, DROP),
}

APP: "dict[str, Kind]" = {
    "name": TEXT,
    "namespace": TEXT,
    "command": Kind("a list of texts, the program first", _command),
    "cwd": TEXT,
    "environment": Kind("an object of texts", _map),
    "uid": _maybe(COUNT),
    "gid": _maybe(COUNT),
    "instances": Kind('a whole number but 0, or "max"', _instances),
    "instance_variable": TEXT,
    "increment_variables": WORDS,
    "listen": Kind('a list of {"host", "port"} or {"unix", "mode"}', _listen),
    "node": TRUTH,
    "channel": TRUTH,
    "ready": Kind('an object with a "kind" and what that needs: ' + ", ".join(READY), _ready),
    "ready_timeout": DURATION,
    "ready_required": TRUTH,
    "stop_signal": Kind("a signal's name", _signal),
    "stop_message": _maybe(TEXT),
    "drain": DURATION,
    "grace": DURATION,
    "restart": _one_of(ALWAYS, ON_FAILURE, NEVER),
    "leave_exit_codes": Kind("a list of exit codes, 0 to 255", _codes),
    "min_uptime": DURATION,
    "max_restarts": COUNT,
    "restart_window": DURATION,
    "backoff_first": DURATION,
    "backoff_max": DURATION,
    "health": _maybe(Kind('an object with a "kind" and what that needs: tcp, http, command', _health)),
    "health_every": PAUSE,
    "health_timeout": PAUSE,
    "health_failures": Kind("a whole number, 1 or more", _positive),
    "health_action": _one_of(SAY, RELOAD),
    "memory_limit": _maybe(COUNT),
    "cron": _maybe(Kind("a cron entry, such as 0 4 * * *", _cron)),
    "watch": WORDS,
    "watch_ignore": WORDS,
    "essential": TRUTH,
    "autostart": TRUTH,
    "after": WORDS,
    "surge": COUNT,
}

SPEC: "dict[str, Kind]" = {
    "stop_budget": DURATION,
    "control": TEXT,
    "log_form": _one_of(TEXT_FORM, JSON_FORM),
}


class Logs:
    """Where an app's output goes; the names are those of the JSON."""

    if TYPE_CHECKING:
        stdout: str | None
        stderr: str | None
        combined: str | None
        off: bool
        form: str
        timestamp: str | None
        per_instance: bool
        max_size: int | None
        every: float
        keep: int
        compress: bool
        full: str
    __slots__ = tuple(LOGS)


class App:
    """One app; the names are those of the JSON, and `given` is the JSON itself."""

    if TYPE_CHECKING:
        name: str
        namespace: str
        command: tuple[str, ...]
        cwd: str
        environment: dict[str, str]
        uid: int | None
        gid: int | None
        instances: int | str
        instance_variable: str
        increment_variables: tuple[str, ...]
        listen: tuple[dict[str, Any], ...]
        node: bool
        channel: bool
        ready: dict[str, Any]
        ready_timeout: float
        ready_required: bool
        stop_signal: int
        stop_message: str | None
        drain: float
        grace: float
        restart: str
        leave_exit_codes: frozenset[int]
        min_uptime: float
        max_restarts: int
        restart_window: float
        backoff_first: float
        backoff_max: float
        health: dict[str, Any] | None
        health_every: float
        health_timeout: float
        health_failures: int
        health_action: str
        memory_limit: int | None
        cron: str | None
        watch: tuple[str, ...]
        watch_ignore: tuple[str, ...]
        essential: bool
        autostart: bool
        after: tuple[str, ...]
        surge: int
        logs: Logs
        given: dict[str, Any]
    __slots__ = (*APP, "given", "logs")


class Spec:
    """Everything that the supervisor is asked for."""

    __slots__ = ("apps", "control", "log_form", "stop_budget")

    def __init__(self, apps: "list[App]", stop_budget: float, control: str, log_form: str) -> None:
        self.apps: Final = apps
        self.stop_budget = stop_budget
        self.control: Final = control
        self.log_form: Final = log_form


def _fill(target: "Any", given: "Any", kinds: "dict[str, Kind]", where: str, others: "tuple[str, ...]" = ()) -> None:
    """Each key of `kinds` as an attribute of `target`. Raises SpecError for what is missing, unknown or of another kind."""
    if not isinstance(given, dict):
        raise SpecError(f"{where}: {_show(given)} is no object")
    for key in given:
        if key not in kinds and key not in others:
            raise SpecError(f"{where}: unknown key {key!r}; is pyinitctl of another version than the supervisor?")
    for key, kind in kinds.items():
        if key not in given:
            raise SpecError(f"{where}: the key {key!r} is missing; it is {kind.words}")
        try:
            setattr(target, key, kind.read(given[key]))
        except (
            ValueError,
            TypeError,
            OverflowError,
        ):  # of a hand-written value, where a number or a text was thought of
            raise SpecError(f"{where}: {key} is {_show(given[key])}; write {kind.words}") from None


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def parse(given: "Any") -> Spec:
    """The spec of a JSON value. Raises SpecError."""
    if not isinstance(given, dict) or given.get("version") != VERSION:
        found = given.get("version") if isinstance(given, dict) else None
        raise SpecError(
            f"the spec's version is {_show(found)}, and this supervisor knows {VERSION}; use its own pyinitctl"
        )
    top = _Top()
    _fill(top, given, SPEC, "spec", ("version", "apps"))
    if not isinstance(given.get("apps"), list):
        raise SpecError("spec: apps is no list; write a list of apps")
    apps = [_app(one, f"apps[{number}]") for number, one in enumerate(given["apps"])]
    check_names(apps)
    return Spec(apps, top.stop_budget, top.control, top.log_form)


class _Top:
    """The keys beside the apps, for `_fill`."""

    if TYPE_CHECKING:
        stop_budget: float
        control: str
        log_form: str
    __slots__ = tuple(SPEC)


def _app(given: "Any", where: str) -> App:
    if isinstance(given, dict) and isinstance(given.get("name"), str):
        where = f"app {given['name']!r}"
    app = App()
    _fill(app, given, APP, where, ("logs",))
    app.logs = Logs()
    _fill(app.logs, given.get("logs"), LOGS, f"{where}: logs")
    app.given = given
    if app.ready["kind"] == LISTENING and not app.node:
        raise SpecError(
            f"{where}: ready is 'listening', which only a Node app with the preload reports; write 'alive' or 'notify'"
        )
    if app.ready["kind"] in (TCP, HTTP) and (app.instances != 1 or app.node or app.listen):
        raise SpecError(
            f"{where}: ready is {app.ready['kind']!r}, and its workers share an address, where any other one would answer; "
            "write 'notify', 'listening', 'log' or 'alive'"
        )
    if app.ready["kind"] == DESCRIPTOR and app.ready["number"] < 3 + len(app.listen):
        raise SpecError(
            f"{where}: ready is descriptor {app.ready['number']}, and the sockets of 'listen' have the numbers from 3 on; "
            f"write {3 + len(app.listen)}"
        )
    if app.ready["kind"] == MESSAGE and not (app.node or app.channel):
        raise SpecError(f"{where}: ready is 'message', which needs a channel; write channel: true")
    return app


def check_names(apps: "list[App]") -> None:
    """No name twice, no dependency on what is not there or on itself. Raises SpecError."""
    names: set[str] = set()
    for app in apps:
        if app.name in names:
            raise SpecError(f"app {app.name!r} is there twice; give each app a name of its own")
        names.add(app.name)
    after = {app.name: app.after for app in apps}
    for name, others in after.items():
        for other in others:
            if other not in after:
                raise SpecError(
                    f"app {name!r} is to start after {other!r}, which is no app here; there are {', '.join(sorted(after))}"
                )
    seen: dict[str, bool] = {}

    def visit(name: str, path: "tuple[str, ...]") -> None:
        if name in path:
            raise SpecError(
                f"{' after '.join((*path[path.index(name) :], name))}: nobody would be first; leave one 'after' out"
            )
        if name not in seen:
            for other in after[name]:
                visit(other, (*path, name))
            seen[name] = True

    for name in after:
        visit(name, ())
