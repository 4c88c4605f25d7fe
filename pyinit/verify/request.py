"""What is asked for, by a command line, a file or a test, and what is made of it: a stage to act on, and a plan of what is judged.

`options` have an attribute for each long option of `pyinitctl verify`, with _ for -; None: nothing was said of it. What a test writes
in Python becomes such options in `of_python`.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from pyinit.verify.catalogue import CHECKS
from pyinit.verify.settings import (
    CHECK_LISTS,
    KEYS,
    Settings,
    SettingsError,
    check_reason,
    check_value,
    chosen,
    ids,
    load,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyinit.containers.compose import Compose
    from pyinit.containers.engine import Engine
    from pyinit.containers.remote import Agent
    from pyinit.verify.acts import Stage
    from pyinit.verify.runner import Plan
    from pyinit.verify.subject import Subject
    from pyinit.verify.verdicts import Check

Options = Any
"""A namespace of options: argparse's, or `of_python`'s."""


# --- in Python ---


class RunOptions(TypedDict, total=False):
    """How a container is run, and when it is ready: as on the command line, and lists or mappings where that would repeat an option."""

    ready_log: str
    ready_tcp: int
    ready_cmd: str | Sequence[str]
    ready_timeout: float
    env: Mapping[str, str] | Sequence[str]
    env_file: str
    volume: str | Sequence[str]
    share_volumes: bool
    network: str
    publish: str | int | Sequence[str | int]
    user: str
    platform: str
    runtime: str
    read_only: bool
    tmpfs: str | Sequence[str]
    entrypoint: str | Sequence[str]
    cap_add: str | Sequence[str]
    cap_drop: str | Sequence[str]
    security_opt: str | Sequence[str]
    memory: str
    shm_size: str
    ulimit: Mapping[str, int | str] | Sequence[str]
    pull: str


class JudgeOptions(RunOptions, total=False):
    """And what is judged."""

    command: Sequence[str]
    compose: str
    service: str
    config: str
    timeout: int
    expect_exit: int | Sequence[int]
    last_log: str
    request: str
    check: str | Sequence[str]
    skip: Mapping[str, str]
    require: str | Sequence[str]
    strict: bool
    thorough: bool
    jobs: int


_LINES = ("ready-cmd", "entrypoint")
"""Commands that are one text on a command line."""


def of_python(
    where: str, given: Mapping[str, Any], known: Mapping[str, object], checks: Sequence[Check] = ()
) -> SimpleNamespace:
    """Options as they are written in Python; `known` are their names. Raises SettingsError, which begins with `where`."""
    names = [*JudgeOptions.__annotations__, *(key.replace("-", "_") for key in KEYS), "image", "after", "baseline"]
    options = SimpleNamespace(**dict.fromkeys([*names, "init"]))
    for name, value in given.items():
        if name not in known:
            raise SettingsError(f"{where}: there is no option {name!r}{nearest(name, known)}")
        key = name.replace("_", "-")
        setattr(options, name, check_value(where, key, _plain(key, value), checks) if key in KEYS else str(value))
    for check, reason in (options.skip or {}).items():
        check_reason(where, check, reason, checks)
    return options


def of_mark(
    where: str, words: Sequence[object], given: Mapping[str, Any], folder: Path
) -> tuple[SimpleNamespace, Settings]:
    """Options of a test's mark, upon those of the file in `folder`; and what is left out, as settings. Raises SettingsError."""
    options = of_python(where, given, JudgeOptions.__annotations__, CHECKS)
    which = f"{where}: which image? Write its name first; or compose= and service="
    if len(words) > 1 or not all(map(_is_name, words)):
        raise SettingsError(which)
    options.image = next(iter(words), None)
    said = load(Path(options.config) if options.config else None, folder, CHECKS)
    merge(options, said, CHECKS)
    if (options.image is None) == (options.compose is None):
        raise SettingsError(which)
    if (options.compose is None) != (options.service is None):
        raise SettingsError(f"{where}: compose= and service= belong together")
    left_out = {**said.skip, **(options.skip or {})}
    options.skip = None
    return options, Settings(said.path, {"skip": left_out})


def _is_name(word: object) -> bool:
    return isinstance(word, str) and bool(word)


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401 - of the key's type
    """As a command line has it."""
    if key in KEYS and KEYS[key].kind is list:
        if isinstance(value, dict):
            return [f"{name}={one}" for name, one in value.items()]
        if isinstance(value, str | int) and key != "command":
            value = [value]
        if isinstance(value, list | tuple):
            return [str(one) if key == "publish" else one for one in value]
    if key in _LINES and isinstance(value, list | tuple):
        return shlex.join(value)
    return value


# --- what becomes of them ---


def stage_of(engine: Engine, agent: Agent, compose: Compose | None, options: Options) -> Stage:
    """What acts need. Raises SettingsError, and EngineError when there is no such image."""
    from pyinit.verify.acts import Stage  # noqa: PLC0415 - an extra
    from pyinit.verify.ready import Readiness  # noqa: PLC0415

    if engine.info.get("OSType", "linux") != "linux":
        raise SettingsError(f"the engine runs {engine.info['OSType']} containers, not Linux")
    readiness = Readiness(
        options.ready_log or "",
        options.ready_tcp or 0,
        tuple(words_of("--ready-cmd", options.ready_cmd or "")),
        60.0 if options.ready_timeout is None else options.ready_timeout,
    )
    judging = {
        "expect_exit": tuple(options.expect_exit or ()),
        "last_log": options.last_log or "",
        "request": url_of(options.request) if options.request else None,
        "thorough": bool(options.thorough),
    }
    return Stage(engine, agent, subject_of(engine, agent, compose, options), readiness, judging)


def subject_of(engine: Engine, agent: Agent, compose: Compose | None, options: Options) -> Subject:
    """What is run: an image, or a service of a compose file."""
    from pyinit.verify import composed  # noqa: PLC0415 - an extra
    from pyinit.verify.subject import ImageSubject, image_of  # noqa: PLC0415

    arguments = tuple(options.after or options.command or ()) or None
    run, words = run_options(options)
    if options.compose is not None and compose is not None:
        if words or arguments:
            raise SettingsError(
                f"{(*words, 'the command')[0]} is said in {options.compose}, where --compose is given: leave it out"
            )
        return composed.subject(
            engine,
            compose,
            options.compose,
            options.service,
            grace=options.timeout,
            pull=options.pull or "missing",
            agent=(agent.image, tuple(agent.command)),
            shares=bool(options.share_volumes),
        )
    image = image_of(engine, options.image, run, arguments, options.pull or "missing")
    grace = 10 if options.timeout is None else options.timeout
    copier = ("", ()) if options.share_volumes else (agent.image, tuple(agent.command))
    return ImageSubject(image, grace, arguments, run, words, *copier)


def merge(options: Options, said: Settings, table: Sequence[Check]) -> None:
    """What the file says, where the command line says nothing; without checks, and a service, that are not for what is judged."""
    elsewhere = ("skip", *(("compose", "service") if options.image or options.init is not None else ()))
    for key, value in said.values.items():
        name = key.replace("-", "_")
        if key not in elsewhere and getattr(options, name) is None:
            setattr(options, name, [word for word in value if chosen(word, table)] if key in CHECK_LISTS else value)


def checks_of(options: Options, table: Sequence[Check]) -> Sequence[Check]:
    """Those that are wanted; all where none is named."""
    named = [check for word in options.check or [] for check in _chosen(word, table)]
    return tuple(dict.fromkeys(named)) or tuple(table)


def plan_of(options: Options, said: Settings, table: Sequence[Check]) -> Plan:
    """What of a table is judged, and how."""
    from pyinit.verify.runner import Plan  # noqa: PLC0415 - an extra

    if options.timeout is not None and options.timeout < 1:
        raise SettingsError(f"--timeout {options.timeout}: a stop needs a grace period of a second or more")
    left_out = dict(said.skip)
    for word in options.skip or []:
        identity, _, reason = word.partition("=")
        if not reason.strip():
            raise SettingsError(f"--skip {word}: a reason is needed: --skip '{identity}=why'")
        for check in _chosen(identity, table):
            left_out[check.id] = reason
    require = {check.id for word in options.require or [] for check in _chosen(word, table)}
    known = _known(options.baseline) if options.baseline else frozenset()
    jobs = 3 if options.jobs is None else options.jobs
    if jobs < 1:
        raise SettingsError(f"--jobs {jobs}: at least one container is needed")
    return Plan(checks_of(options, table), left_out, frozenset(require), known, jobs)


def _chosen(word: str, table: Sequence[Check]) -> Sequence[Check]:
    found = chosen(word, table)
    if not found:
        raise SettingsError(f"there is no check {word!r}{nearest(word.upper(), ids(table))}")
    return found


def _known(path: Path) -> frozenset[str]:
    from pyinit.verify.report import SCHEMA  # noqa: PLC0415 - an extra

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise SettingsError(f"the baseline {path} has the schema {found['schema']}, not {SCHEMA}")
        return frozenset(one["id"] for one in found["results"] if one["verdict"] == "fail")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"the baseline {path} cannot be read ({error}): write one with --json") from None


def run_options(options: Options) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """docker-py's options, and the same as words of `docker run`."""
    found: dict[str, Any] = {}
    words: list[str] = []

    def take(flag: str, name: str, value: Any, made: Callable[[Any], Any] = lambda value: value) -> None:  # noqa: ANN401
        if value in (None, [], False):
            return
        found[name] = made(value)
        for one in value if isinstance(value, list) else [value]:
            words.extend([flag] if one is True else [flag, str(one)])

    environment = _environment(options)
    if environment:
        found["environment"] = environment
    for name in options.env or []:  # as they were typed: values that come from elsewhere are in no report
        words += ["-e", name]
    if options.env_file:
        words += ["--env-file", options.env_file]
    take("-v", "volumes", [absolute(volume) for volume in options.volume or []])
    take("-p", "ports", options.publish, ports)
    take("--network", "network_mode", options.network)
    take("--user", "user", options.user)
    take("--platform", "platform", options.platform)
    take("--runtime", "runtime", options.runtime)
    take("--read-only", "read_only", options.read_only)
    take("--tmpfs", "tmpfs", options.tmpfs, lambda value: dict(one.partition(":")[::2] for one in value))
    take("--entrypoint", "entrypoint", options.entrypoint, lambda value: words_of("--entrypoint", value))
    take("--cap-add", "cap_add", options.cap_add)
    take("--cap-drop", "cap_drop", options.cap_drop)
    take("--security-opt", "security_opt", options.security_opt)
    take("--memory", "mem_limit", options.memory)
    take("--shm-size", "shm_size", options.shm_size)
    take("--ulimit", "ulimits", options.ulimit, lambda value: [_ulimit(one) for one in value])
    return found, tuple(words)


def _environment(options: Options) -> list[str]:
    found: list[str] = []
    if options.env_file:
        try:
            lines = Path(options.env_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--env-file {options.env_file} cannot be read: {error}") from None
        found += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found += options.env or []
    return [one if "=" in one else f"{one}={os.environ[one]}" for one in found if "=" in one or one in os.environ]


def words_of(flag: str, text: str) -> list[str]:
    """What a shell would make of it."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"{flag} {text}: {error}: write it as for a shell") from None


def absolute(volume: str) -> str:
    """`./data:/data` as the engine wants it: a folder by its whole path, a volume by its name."""
    source, colon, rest = volume.partition(":")
    if not colon:
        raise SettingsError(f"-v {volume}: write SOURCE:PATH")
    if source.startswith((".", "/", "~")):
        source = str(Path(os.path.expanduser(source)).resolve())  # noqa: PTH111 - Path's own raises for a user who is not there
    return f"{source}:{rest}"


def ports(words: Sequence[str]) -> Mapping[str, Any]:
    from docker.utils.ports import build_port_bindings, split_port  # noqa: PLC0415 - an extra

    for word in words:
        try:
            split_port(word)
        except ValueError as error:
            raise SettingsError(
                f"-p {word}: {error}: write PORT, PORT:PORT or IP:PORT:PORT, with /udp where it is not TCP"
            ) from None
    return build_port_bindings(list(words))


def _ulimit(word: str) -> dict[str, object]:
    name, equals, limits = word.partition("=")
    soft, _, hard = limits.partition(":")
    if not equals or not soft.lstrip("-").isdigit() or (hard and not hard.lstrip("-").isdigit()):
        raise SettingsError(f"--ulimit {word}: write NAME=SOFT or NAME=SOFT:HARD")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}  # as docker.types.Ulimit


def url_of(text: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"--request {text}: {error}: write http://127.0.0.1:PORT/PATH") from None
    if parts.scheme != "http" or not host or port == 0:
        raise SettingsError(f"--request {text}: write http://127.0.0.1:PORT/PATH")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, 80 if port is None else port, path
