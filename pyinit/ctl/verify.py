"""`pyinitctl verify IMAGE [-- COMMAND...]`: does this container stop as it should?"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from pyinit.ctl.errors import CommandError
from pyinit.verify.options import add_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from pyinit.containers.compose import Compose
    from pyinit.containers.engine import Engine
    from pyinit.containers.remote import Agent
    from pyinit.verify.acts import Stage
    from pyinit.verify.runner import Plan, Run
    from pyinit.verify.settings import Settings
    from pyinit.verify.subject import Subject
    from pyinit.verify.verdicts import Check

IMPOSSIBLE = 2
"""Exit status when nothing could be judged."""

LEAVING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that end a run, and have what it made removed first."""

DESCRIPTION = """\
Judges how a container stops, in real containers: does PID 1 act on the stop signal, is anybody SIGKILLed, are zombies reaped, does the
exit status tell the truth? Nothing is copied into the image, and nothing in it is needed: no shell, no tool."""

EPILOG = """\
exit status: 0 everything required passed; 1 something failed; 2 nothing failed, but a required check was skipped, or the run was
impossible. The engine is DOCKER_HOST's, or the local one."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify` to the commands."""
    parser = commands.add_parser(
        "verify",
        help="judge how a container stops",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        usage="pyinitctl verify [OPTIONS] IMAGE [-- COMMAND...]\n"
        "       pyinitctl verify [OPTIONS] --compose FILE --service NAME\n"
        "       pyinitctl verify [OPTIONS] --init 'PATH [ARGUMENT...]'",
    )
    add_to(parser)
    parser.set_defaults(run=run, command=None)


def run(options: argparse.Namespace) -> int:
    """Verify. Raises CommandError."""
    if options.schema:
        print(files("pyinit.verify").joinpath("report.schema.json").read_text("utf-8"), end="")
        return 0
    missing = [name for name in ("docker", "rich") if find_spec(name) is None]
    if missing:
        raise CommandError(f"verify needs {' and '.join(missing)}: pip install 'pyinit-pid1[verify]'", IMPOSSIBLE)
    if options.list_checks:
        return list_checks(_table(options))
    from pyinit.containers.engine import BROKEN, Engine, EngineError, explain  # noqa: PLC0415 - the extra may not be installed
    from pyinit.containers.remote import ObserverError  # noqa: PLC0415
    from pyinit.verify.runner import ImpossibleRunError  # noqa: PLC0415
    from pyinit.verify.settings import SettingsError  # noqa: PLC0415

    for number in LEAVING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and the background of a shell without job control
            signal.signal(number, _leave)
    engine = None
    try:
        with Engine(keep=options.keep) as engine, _undisturbed():
            if options.clean:
                return clean(engine)
            return verify(engine, options)
    except (EngineError, ObserverError, ImpossibleRunError, SettingsError) as error:
        raise CommandError(f"verify: {error}", IMPOSSIBLE) from None
    except BROKEN as error:
        raise CommandError(f"verify: the engine failed in the middle of it: {explain(error)}", IMPOSSIBLE) from None
    except KeyboardInterrupt:
        left = engine is not None and engine.left
        words = "pyinitctl verify --clean removes what is left" if left else "everything it had made is removed"
        raise CommandError(f"verify: interrupted; {words}", 130) from None


def _leave(number: int, _frame: object) -> NoReturn:
    """Ends through all `finally`, so that no container stays."""
    _hear_no_more()
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What comes after this is not interrupted: it removes what was made."""
    try:
        yield
    finally:
        _hear_no_more()


def _hear_no_more() -> None:
    """From here on these signals do nothing. A second Ctrl-C, or a SIGTERM behind it, would end the removal in the middle; it takes
    seconds, and it ends by itself.
    """
    for number in LEAVING:
        signal.signal(number, signal.SIG_IGN)


def _table(options: argparse.Namespace) -> Sequence[Check]:
    """The checks of an image, or of an init."""
    if options.init is not None:
        from pyinit.verify import inits  # noqa: PLC0415 - an extra

        return inits.CHECKS
    from pyinit.verify.catalogue import CHECKS  # noqa: PLC0415 - an extra

    return CHECKS


def list_checks(checks: Sequence[Check]) -> int:
    """Print a catalogue."""
    from rich.table import Table  # noqa: PLC0415 - an extra

    table = Table(
        "id", "what is true when it passes", "", "needs", "source", box=None, pad_edge=False, header_style="bold"
    )
    for check in checks:
        required = ", required" if check.required else ""
        table.add_row(check.id, check.title, f"{check.severity.value}{required}", check.needs, check.source.value)
    _console(160).print(table)
    return 0


def _console(width: int) -> Console:
    """Where reports go. `width`: columns where it is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - an extra

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            """Rich would exit with 1, which is a verdict here."""
            raise BrokenPipeError

    return Screen(highlight=False, width=None if sys.stdout.isatty() else width)


def clean(engine: Engine) -> int:
    """Remove what killed runs have left."""
    removed = engine.clean()
    print("\n".join(f"removed {what}" for what in removed) or "nothing was left")
    return 0


def verify(engine: Engine, options: argparse.Namespace) -> int:
    """One image."""
    from rich.console import Console  # noqa: PLC0415 - an extra

    from pyinit.containers.compose import Compose  # noqa: PLC0415
    from pyinit.containers.remote import Agent  # noqa: PLC0415
    from pyinit.verify import report, runner, settings  # noqa: PLC0415
    from pyinit.verify.catalogue import CHECKS  # noqa: PLC0415

    if options.init is not None and (ignored := _run_options(options)[1]):
        raise CommandError(
            f"verify: {ignored[0]} is how an image is run, and --init is judged in containers of ours: leave it out",
            IMPOSSIBLE,
        )
    table = _table(options)
    said = settings.load(options.config, Path.cwd(), table if options.init is None else (*table, *CHECKS))
    _merge(options, said, table)
    if [bool(options.image), options.compose is not None, options.init is not None].count(True) != 1:
        raise CommandError(
            "verify: which image, or which --compose, or which --init? One of them: pyinitctl verify IMAGE [-- COMMAND...]",
            IMPOSSIBLE,
        )
    if (options.compose is None) != (options.service is None):
        raise CommandError("verify: --compose FILE and --service NAME belong together", IMPOSSIBLE)
    if options.timeout is not None and options.timeout < 1:
        raise CommandError(
            f"verify: --timeout {options.timeout}: a stop needs a grace period of a second or more", IMPOSSIBLE
        )
    if options.ready_timeout is not None and not options.ready_timeout > 0:  # nor what is no number
        raise CommandError(
            f"verify: --ready-timeout {options.ready_timeout:g}: it needs time to get ready: a number of seconds above 0",
            IMPOSSIBLE,
        )
    if options.keep and (options.publish or options.network == "host"):
        raise CommandError(
            "verify: --keep leaves containers running, whose ports the next would want: leave --keep out",
            IMPOSSIBLE,
        )
    plan = _plan(options, said)
    errors = Console(stderr=True, highlight=False)
    engine.clean()
    with errors.status("starting") as spinner:

        def tell(what: str, done: int, of: int) -> None:
            spinner.update(f"{done} of {of}: {what}")
            if not errors.is_terminal:
                errors.print(f"{done} of {of}: {what}")

        source = None if options.source in (None, "auto") else options.source
        with Agent(engine, base=options.observer_image, source=source) as agent, Compose() as compose:
            about = {"engine": engine.name, "observer": agent.step, "kernel": str(agent.hello["kernel"])}
            if options.init is None:
                stage = _stage(engine, agent, compose, options)
                if options.compose is not None:
                    about["service"] = f"{options.service} of {options.compose}"
                if stage.subject.alone:
                    about["one at a time"] = stage.subject.alone
                came = runner.run(stage, plan, tell)
            else:
                came = _judge_init(engine, agent, plan, tell, options)
    _write(options, came, about)
    if str(options.json) != "-":
        with _written("stdout"):
            report.show(_console(120), came, about, strict=bool(options.strict))
            sys.stdout.flush()
    return came.status(strict=bool(options.strict))


def _judge_init(
    engine: Engine, agent: Agent, plan: Plan, tell: Callable[[str, int, int], None], options: argparse.Namespace
) -> Run:
    from pyinit.verify import inits  # noqa: PLC0415 - an extra
    from pyinit.verify.init_acts import Init  # noqa: PLC0415

    words = tuple(_words("--init", options.init))
    grace = inits.DOCKER_GRACE if options.timeout is None else options.timeout
    return inits.verify_init(
        engine,
        agent,
        Init(words, image=options.init_image or ""),
        plan,
        tell,
        grace=grace,
        options={"thorough": bool(options.thorough)},
    )


def _stage(engine: Engine, agent: Agent, compose: Compose, options: argparse.Namespace) -> Stage:
    from pyinit.verify.acts import Stage  # noqa: PLC0415 - an extra
    from pyinit.verify.ready import Readiness  # noqa: PLC0415

    if engine.info.get("OSType", "linux") != "linux":
        raise CommandError(f"verify: the engine runs {engine.info['OSType']} containers, not Linux", IMPOSSIBLE)
    readiness = Readiness(
        options.ready_log or "",
        options.ready_tcp or 0,
        tuple(_words("--ready-cmd", options.ready_cmd or "")),
        60.0 if options.ready_timeout is None else options.ready_timeout,
    )
    judging = {
        "expect_exit": tuple(options.expect_exit or ()),
        "last_log": options.last_log or "",
        "request": _url(options.request) if options.request else None,
        "thorough": bool(options.thorough),
    }
    return Stage(engine, agent, _subject(engine, agent, compose, options), readiness, judging)


def _subject(engine: Engine, agent: Agent, compose: Compose, options: argparse.Namespace) -> Subject:
    from pyinit.verify import composed  # noqa: PLC0415 - an extra
    from pyinit.verify.subject import ImageSubject, image_of  # noqa: PLC0415

    arguments = tuple(options.after or options.command or ()) or None
    run_options, words = _run_options(options)
    if options.compose is not None:
        if words or arguments:
            raise CommandError(
                f"verify: {(*words, 'the command')[0]} is said in {options.compose}, where --compose is given: leave it out",
                IMPOSSIBLE,
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
    image = image_of(engine, options.image, run_options, arguments, options.pull or "missing")
    grace = 10 if options.timeout is None else options.timeout
    copier = ("", ()) if options.share_volumes else (agent.image, tuple(agent.command))
    return ImageSubject(image, grace, arguments, run_options, words, *copier)


def _merge(options: argparse.Namespace, said: Settings, table: Sequence[Check]) -> None:
    """What the file says, where the command line says nothing; without checks, and a service, that are not for what is judged."""
    from pyinit.verify.settings import CHECK_LISTS, chosen  # noqa: PLC0415 - an extra

    elsewhere = ("skip", *(("compose", "service") if options.image or options.init is not None else ()))
    for key, value in said.values.items():
        name = key.replace("-", "_")
        if key not in elsewhere and getattr(options, name) is None:
            setattr(options, name, [word for word in value if chosen(word, table)] if key in CHECK_LISTS else value)


def _plan(options: argparse.Namespace, said: Settings) -> Plan:
    from pyinit.verify.runner import Plan  # noqa: PLC0415 - an extra

    table = _table(options)
    checks = [check for word in options.check or [] for check in _chosen(word, table)] or list(table)
    left_out = dict(said.skip)
    for word in options.skip or []:
        identity, _, reason = word.partition("=")
        if not reason.strip():
            raise CommandError(f"verify: --skip {word}: a reason is needed: --skip '{identity}=why'", IMPOSSIBLE)
        for check in _chosen(identity, table):
            left_out[check.id] = reason
    require = {check.id for word in options.require or [] for check in _chosen(word, table)}
    known = _known(options.baseline) if options.baseline else frozenset()
    jobs = 3 if options.jobs is None else options.jobs
    if jobs < 1:
        raise CommandError(f"verify: --jobs {jobs}: at least one container is needed", IMPOSSIBLE)
    return Plan(tuple(dict.fromkeys(checks)), left_out, frozenset(require), known, jobs)


def _chosen(word: str, table: Sequence[Check]) -> Sequence[Check]:
    from pyinit.verify.settings import chosen, ids, nearest  # noqa: PLC0415 - an extra

    found = chosen(word, table)
    if not found:
        raise CommandError(f"verify: there is no check {word!r}{nearest(word.upper(), ids(table))}", IMPOSSIBLE)
    return found


def _known(path: Path) -> frozenset[str]:
    import json  # noqa: PLC0415 - only for a baseline

    from pyinit.verify.report import SCHEMA  # noqa: PLC0415 - an extra

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise CommandError(
                f"verify: the baseline {path} has the schema {found['schema']}, not {SCHEMA}", IMPOSSIBLE
            )
        return frozenset(one["id"] for one in found["results"] if one["verdict"] == "fail")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"verify: the baseline {path} cannot be read ({error}): write one with --json", IMPOSSIBLE
        ) from None


def _run_options(options: argparse.Namespace) -> tuple[Mapping[str, Any], tuple[str, ...]]:
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
    take("-v", "volumes", [_absolute(volume) for volume in options.volume or []])
    take("-p", "ports", options.publish, _ports)
    take("--network", "network_mode", options.network)
    take("--user", "user", options.user)
    take("--platform", "platform", options.platform)
    take("--runtime", "runtime", options.runtime)
    take("--read-only", "read_only", options.read_only)
    take("--tmpfs", "tmpfs", options.tmpfs, lambda value: dict(one.partition(":")[::2] for one in value))
    take("--entrypoint", "entrypoint", options.entrypoint, lambda value: _words("--entrypoint", value))
    take("--cap-add", "cap_add", options.cap_add)
    take("--cap-drop", "cap_drop", options.cap_drop)
    take("--security-opt", "security_opt", options.security_opt)
    take("--memory", "mem_limit", options.memory)
    take("--shm-size", "shm_size", options.shm_size)
    take("--ulimit", "ulimits", options.ulimit, lambda value: [_ulimit(one) for one in value])
    return found, tuple(words)


def _environment(options: argparse.Namespace) -> list[str]:
    found: list[str] = []
    if options.env_file:
        try:
            lines = Path(options.env_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"verify: --env-file {options.env_file} cannot be read: {error}", IMPOSSIBLE) from None
        found += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    found += options.env or []
    return [one if "=" in one else f"{one}={os.environ[one]}" for one in found if "=" in one or one in os.environ]


def _words(flag: str, text: str) -> list[str]:
    """What a shell would make of it."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise CommandError(f"verify: {flag} {text}: {error}: write it as for a shell", IMPOSSIBLE) from None


def _absolute(volume: str) -> str:
    """`./data:/data` as the engine wants it: a folder by its whole path, a volume by its name."""
    source, colon, rest = volume.partition(":")
    if not colon:
        raise CommandError(f"verify: -v {volume}: write SOURCE:PATH", IMPOSSIBLE)
    if source.startswith((".", "/", "~")):
        source = str(Path(os.path.expanduser(source)).resolve())  # noqa: PTH111 - Path's own raises for a user who is not there
    return f"{source}:{rest}"


def _ports(words: Sequence[str]) -> Mapping[str, Any]:
    from docker.utils.ports import build_port_bindings, split_port  # noqa: PLC0415 - an extra

    for word in words:
        try:
            split_port(word)
        except ValueError as error:
            raise CommandError(
                f"verify: -p {word}: {error}: write PORT, PORT:PORT or IP:PORT:PORT, with /udp where it is not TCP",
                IMPOSSIBLE,
            ) from None
    return build_port_bindings(list(words))


def _ulimit(word: str) -> dict[str, object]:
    name, equals, limits = word.partition("=")
    soft, _, hard = limits.partition(":")
    if not equals or not soft.lstrip("-").isdigit() or (hard and not hard.lstrip("-").isdigit()):
        raise CommandError(f"verify: --ulimit {word}: write NAME=SOFT or NAME=SOFT:HARD", IMPOSSIBLE)
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}  # as docker.types.Ulimit


def _url(text: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CommandError(f"verify: --request {text}: {error}: write http://127.0.0.1:PORT/PATH", IMPOSSIBLE) from None
    if parts.scheme != "http" or not host or port == 0:
        raise CommandError(f"verify: --request {text}: write http://127.0.0.1:PORT/PATH", IMPOSSIBLE)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, 80 if port is None else port, path


def _write(options: argparse.Namespace, came: Run, about: Mapping[str, str]) -> None:
    from pyinit.verify import page, report  # noqa: PLC0415 - an extra

    strict = bool(options.strict)
    wanted: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (options.json, lambda: report.json_text(came, about, strict=strict)),
        (options.junit, lambda: report.junit(came)),
        (options.markdown, lambda: report.markdown(came, about, strict=strict)),
        (options.html, lambda: page.html(report.as_json(came, about, strict=strict))),
        (options.svg, lambda: page.picture(report.as_json(came, about, strict=strict))),
    )
    for path, text in wanted:
        if path is None:
            continue
        with _written("stdout" if str(path) == "-" else path):
            if str(path) == "-":
                sys.stdout.write(text())
                sys.stdout.flush()
            else:
                path.write_text(text(), encoding="utf-8")


@contextmanager
def _written(where: Path | str) -> Iterator[None]:
    """Turns a failure to write there into words. Half a report is none: it is removed."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has had enough: main() knows
    except OSError as error:
        if isinstance(where, Path):
            if where.is_file():
                where.unlink(missing_ok=True)
        else:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer would fail again as Python ends
        raise CommandError(f"verify: the report cannot be written to {where}: {error.strerror}", IMPOSSIBLE) from None
