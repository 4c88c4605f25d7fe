"""`pyinitctl verify IMAGE [-- COMMAND...]`: does this container stop as it should?"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pyinit.ctl.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from pyinit.containers.engine import Engine
    from pyinit.containers.remote import Agent
    from pyinit.verify.runner import Plan, Run
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
    parser.add_argument(
        "image", nargs="?", metavar="IMAGE", help="the image; what follows -- is run instead of its command"
    )
    parser.add_argument(
        "--compose",
        metavar="FILE",
        help="judge a service of this compose file instead: each of its containers gets a project of its own, with "
        "the neighbours that it depends on; their ports are not published",
    )
    parser.add_argument("--service", metavar="NAME", help="the service")
    parser.add_argument(
        "--init",
        metavar="'PATH [ARGUMENT...]'",
        help="judge an init instead: this file, with a program of ours under it; where the engine is on another machine: --init-image",
    )
    parser.add_argument("--init-image", metavar="IMAGE", help="the image that has the init, and Python 3.11 or newer")
    _readiness(parser.add_argument_group("when is it ready"))
    _running(parser.add_argument_group("how it is run, as in docker run"))
    _judging(parser.add_argument_group("what is judged"))
    _reporting(parser.add_argument_group("reports"))
    parser.set_defaults(run=run, command=None)


def _readiness(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ready-log", metavar="REGEX", type=_regex, help="when a line of its log matches")
    group.add_argument("--ready-tcp", metavar="PORT", type=int, help="when somebody in it listens on the port")
    group.add_argument("--ready-cmd", metavar="COMMAND", help="when this, run in it (docker exec), exits with 0")
    group.add_argument(
        "--ready-timeout",
        metavar="SECONDS",
        type=float,
        help="how long it may take (60); without any of these: its HEALTHCHECK, a port that it exposes, or no change for 2 s",
    )


def _running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-e", "--env", metavar="NAME[=VALUE]", action="append", help="an environment variable")
    group.add_argument("--env-file", metavar="FILE", help="environment variables, one a line")
    group.add_argument("-v", "--volume", metavar="SOURCE:PATH[:ro]", action="append", help="a volume or a folder")
    group.add_argument(
        "--share-volumes",
        action="store_const",
        const=True,
        help="use named volumes themselves; otherwise each container gets a copy of those that it may write to",
    )
    group.add_argument("--network", metavar="NAME", help="the network")
    group.add_argument(
        "-p", "--publish", metavar="[[IP:]PORT:]PORT[/PROTOCOL]", action="append", help="a port that is published"
    )
    group.add_argument("--user", metavar="USER[:GROUP]", help="the user")
    group.add_argument("--platform", metavar="OS/ARCH", help="the platform")
    group.add_argument("--runtime", metavar="NAME", help="the runtime")
    group.add_argument("--read-only", action="store_const", const=True, help="a read-only root file system")
    group.add_argument("--tmpfs", metavar="PATH[:OPTIONS]", action="append", help="a tmpfs")
    group.add_argument("--entrypoint", metavar="COMMAND", help="instead of the image's entry point")
    group.add_argument("--cap-add", metavar="NAME", action="append", help="add a capability")
    group.add_argument("--cap-drop", metavar="NAME", action="append", help="drop a capability")
    group.add_argument("--security-opt", metavar="OPTION", action="append", help="a security option")
    group.add_argument("--memory", metavar="SIZE", help="the memory limit")
    group.add_argument("--shm-size", metavar="SIZE", help="the size of /dev/shm")
    group.add_argument("--ulimit", metavar="NAME=SOFT[:HARD]", action="append", help="a limit")
    group.add_argument(
        "--pull", choices=("missing", "always", "never"), default="missing", help="when to pull the image"
    )


def _judging(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-t", "--timeout", metavar="SECONDS", type=int, help="the grace period of each stop (10)")
    group.add_argument(
        "--expect-exit", metavar="CODE", type=int, action="append", help="an exit status that is as good as 0"
    )
    group.add_argument("--last-log", metavar="REGEX", type=_regex, help="what must be in its log after a stop (FD-05)")
    group.add_argument(
        "--request", metavar="URL", help="a request on 127.0.0.1 that takes a while, to be under way (GR-06)"
    )
    group.add_argument("--check", metavar="ID", action="append", help="only this check, or group of checks (SG)")
    group.add_argument("--skip", metavar="ID=REASON", action="append", help="leave this check out, and say why")
    group.add_argument(
        "--require", metavar="ID", action="append", help="this check must be judged; openshift is ST-04, readonly ST-05"
    )
    group.add_argument("--strict", action="store_const", const=True, help="every skipped check counts")
    group.add_argument("--thorough", action="store_const", const=True, help="more orphans, more tries")
    group.add_argument(
        "--baseline", metavar="FILE", type=Path, help="an earlier --json: what failed there does not count"
    )
    group.add_argument(
        "--config", metavar="FILE", type=Path, help="instead of verify.toml or pyproject.toml in this folder"
    )
    group.add_argument(
        "--source",
        choices=("auto", "trace", "cn_proc", "pidfd", "ptrace"),
        default="auto",
        help="what the observer sees with: auto is the first of trace, cn_proc and pidfd that is to be had; ptrace disturbs",
    )
    group.add_argument("--list-checks", action="store_true", help="print all checks, and end")


def _reporting(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", metavar="FILE", type=Path, help="write everything as JSON (- is stdout)")
    group.add_argument("--schema", action="store_true", help="print the JSON Schema of --json, and end")
    group.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit's XML")
    group.add_argument("--markdown", metavar="FILE", type=Path, help="write Markdown, for a CI job's summary")
    group.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="how many containers at once (3); one where two would be in each other's way: -p, --network host, "
        "--share-volumes, a folder that may be written to",
    )
    group.add_argument(
        "--keep",
        action="store_true",
        help="leave the containers where they are, until the next run or --clean; not with -p or --network host",
    )
    group.add_argument(
        "--clean", action="store_true", help="remove what killed runs have left on this machine, and end"
    )
    group.add_argument(
        "--observer-image",
        metavar="IMAGE",
        help="an image with Python 3.11 or newer for the observer, where this machine's own does not run in the engine",
    )


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
    from pyinit.verify import report, request, runner, settings  # noqa: PLC0415
    from pyinit.verify.catalogue import CHECKS  # noqa: PLC0415

    if [bool(options.image), options.compose is not None, options.init is not None].count(True) != 1:
        raise CommandError(
            "verify: which image, or which --compose, or which --init? One of them: pyinitctl verify IMAGE [-- COMMAND...]",
            IMPOSSIBLE,
        )
    if (options.compose is None) != (options.service is None):
        raise CommandError("verify: --compose FILE and --service NAME belong together", IMPOSSIBLE)
    table = _table(options)
    said = settings.load(options.config, Path.cwd(), table if options.init is None else (*table, *CHECKS))
    request.merge(options, said, table)
    if options.keep and (options.publish or options.network == "host"):
        raise CommandError(
            "verify: --keep leaves containers running, whose ports the next would want: leave --keep out",
            IMPOSSIBLE,
        )
    plan = request.plan_of(options, said, table)
    errors = Console(stderr=True, highlight=False)
    engine.clean()
    with errors.status("starting") as spinner:

        def tell(what: str, done: int, of: int) -> None:
            spinner.update(f"{done} of {of}: {what}")
            if not errors.is_terminal:
                errors.print(f"{done} of {of}: {what}")

        source = None if options.source == "auto" else options.source
        with Agent(engine, base=options.observer_image, source=source) as agent, Compose() as compose:
            about = {"engine": engine.name, "observer": agent.step, "kernel": str(agent.hello["kernel"])}
            if options.init is None:
                stage = request.stage_of(engine, agent, compose, options)
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
    from pyinit.verify.request import words_of  # noqa: PLC0415

    words = tuple(words_of("--init", options.init))
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


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _write(options: argparse.Namespace, came: Run, about: Mapping[str, str]) -> None:
    from pyinit.verify import report  # noqa: PLC0415 - an extra

    strict = bool(options.strict)
    wanted: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (options.json, lambda: report.json_text(came, about, strict=strict)),
        (options.junit, lambda: report.junit(came)),
        (options.markdown, lambda: report.markdown(came, about, strict=strict)),
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
