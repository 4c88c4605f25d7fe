"""`pyinitctl verify IMAGE [-- COMMAND...]`: does this container stop as it should?"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pyinit.ctl.errors import CommandError
from pyinit.verify.options import add_to

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
    from pyinit.verify import report, request, runner, settings  # noqa: PLC0415
    from pyinit.verify.catalogue import CHECKS  # noqa: PLC0415

    if options.init is not None and (ignored := request.run_options(options)[1]):
        raise CommandError(
            f"verify: {ignored[0]} is how an image is run, and --init is judged in containers of ours: leave it out",
            IMPOSSIBLE,
        )
    table = _table(options)
    said = settings.load(options.config, Path.cwd(), table if options.init is None else (*table, *CHECKS))
    request.merge(options, said, table)
    if [bool(options.image), options.compose is not None, options.init is not None].count(True) != 1:
        raise CommandError(
            "verify: which image, or which --compose, or which --init? One of them: pyinitctl verify IMAGE [-- COMMAND...]",
            IMPOSSIBLE,
        )
    if (options.compose is None) != (options.service is None):
        raise CommandError("verify: --compose FILE and --service NAME belong together", IMPOSSIBLE)
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
    plan = request.plan_of(options, said, table)
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
