"""`pyinitctl verify IMAGE [-- COMMAND...]`: does this container stop as it should?"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.ctl.errors import CommandError
from pyinit.ctl.session import IMPOSSIBLE, console, need_extra, session, written
from pyinit.verify.options import add_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyinit.containers.engine import Engine
    from pyinit.containers.remote import Agent
    from pyinit.verify.runner import Plan, Run
    from pyinit.verify.verdicts import Check

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
    need_extra("verify")
    if options.list_checks:
        return list_checks(_table(options))
    from pyinit.verify.runner import ImpossibleRunError  # noqa: PLC0415
    from pyinit.verify.settings import SettingsError  # noqa: PLC0415 - the extra may not be installed

    with session("verify", keep=options.keep) as engine:
        try:
            return clean(engine) if options.clean else verify(engine, options)
        except (ImpossibleRunError, SettingsError) as error:
            raise CommandError(f"verify: {error}", IMPOSSIBLE) from None


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
    console(160).print(table)
    return 0


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
        with written("verify", "stdout"):
            report.show(console(120), came, about, strict=bool(options.strict))
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
        with written("verify", "stdout" if str(path) == "-" else path):
            if str(path) == "-":
                sys.stdout.write(text())
                sys.stdout.flush()
            else:
                path.write_text(text(), encoding="utf-8")
