"""`pyinitctl explain CONTAINER` and `pyinitctl stop --container NAME`: a container that runs, whoever started it.

A name after `stop` alone is always an app's: a supervisor that is not there must not make a container of the same name the one that
is meant. So a container is stopped only where it is called one.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.ctl.errors import CommandError
from pyinit.ctl.session import IMPOSSIBLE, console, need_extra, session, written
from pyinit.init import options as init_options
from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from pyinit.containers.engine import Container, Engine
    from pyinit.containers.remote import Agent
    from pyinit.verify.explain import Prediction
    from pyinit.verify.stopping import Stopped

DESCRIPTION = """\
Says how a running container would stop, and why: who is PID 1, who ignores, blocks, waits for or handles the stop signal, which shell
waits for whom, who would never hear of it. It is a prediction: /proc is read, by an observer in a container of its own, and nothing is
sent to anybody. What a handler does shows nowhere; it is taken to end its program."""

EPILOG = """\
exit status: 0 it would stop by itself and nobody be SIGKILLed; 1 somebody would be SIGKILLed; 2 it cannot be told, or looked at.
The engine is DOCKER_HOST's, or the local one. To see it happen: pyinitctl stop --container NAME; to try it on fresh ones:
pyinitctl verify IMAGE."""

STOP_USAGE = """\
pyinitctl stop [OPTIONS] APP...
       pyinitctl stop --container NAME [--time SECONDS] [--signal SIGNAL] [--json] [--svg FILE]"""

STOP_DESCRIPTION = """\
Stops apps; they stay in the list. With --container NAME it is a container that is stopped, whoever started it, as docker stop does; it
is watched, and shown: who was told what, who was SIGKILLed and by whom, who held it up. A name without --container is always an app's."""

STOP_EPILOG = """\
exit status with --container: 0 it stopped by itself and nobody was SIGKILLed; 1 somebody was; 2 it could not be stopped, or nobody saw
whether. The engine is DOCKER_HOST's, or the local one. What stops: pyinitctl explain NAME foretells it."""

WIDTH = 120
_ONLY = ("time", "signal", "json", "svg", "source", "observer_image")
"""What --container alone has, by its name among the options."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `explain` to the commands."""
    parser = commands.add_parser(
        "explain",
        help="say how a running container would stop, and why",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("container", metavar="CONTAINER", help="its name, or how its ID begins")
    _add_target(parser)
    parser.set_defaults(run=run_explain)


def add_to_stop(parser: argparse.ArgumentParser) -> None:
    """Add what is about containers to `stop`, which is the supervisor's word."""
    group = parser.add_argument_group("a container instead of apps")
    group.add_argument("--container", metavar="NAME", help="stop this one: its name, or how its ID begins")
    _add_target(group)
    group.add_argument("--svg", metavar="FILE", type=Path, help="draw the stop")
    group.add_argument(
        "--source", choices=("auto", "trace", "cn_proc", "pidfd", "ptrace"), help="what the observer sees with (auto), as in verify"
    )  # fmt: skip


def _add_target(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--time", metavar="SECONDS", type=int, help="the grace period (its own StopTimeout, or 10), as docker stop --time"
    )  # fmt: skip
    parser.add_argument("--signal", metavar="SIGNAL", help="the stop signal (its own)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--observer-image",
        metavar="IMAGE",
        help="an image with Python 3.11 or newer for the observer, where this machine's own does not run in the engine",
    )


def check_stop(options: argparse.Namespace) -> None:
    """Raises CommandError where it is not clear whether an app or a container is meant."""
    if options.container is not None:
        others = [
            *options.app,
            *(
                f"--{name.replace('_', '-')}"
                for name in ("only", "env", "update_env", "socket")
                if getattr(options, name, None)
            ),
        ]
        if others:
            raise CommandError(
                f"stop: {others[0]} is about apps, --container about a container: leave one of them out", 2
            )
        return
    given = [
        f"--{name.replace('_', '-')}"
        for name in _ONLY
        if getattr(options, name) is not (False if name == "json" else None)
    ]
    if given:
        raise CommandError(f"stop: {given[0]} is about a container: add --container NAME", 2)
    if not options.app:
        raise CommandError("stop: which app (an id, a name, all), or which --container NAME?", 2)


def run_explain(options: argparse.Namespace) -> int:
    """`explain`. Raises CommandError."""
    with _target("explain", options) as (agent, container, target):
        from pyinit.verify.stopping import predict  # noqa: PLC0415 - the extra may not be installed

        with _patience(f"looking at {target.name}"):
            found = predict(agent, container, target)
    if options.json:
        _print_json("explain", found.as_json())
    else:
        with written("explain", "stdout"):
            show(console(WIDTH), found)
            sys.stdout.flush()
    return {"END": 0, "BE_KILLED": 1}.get(found.will.name, IMPOSSIBLE)


def run_stop(options: argparse.Namespace) -> int:
    """`stop --container`. Raises CommandError."""
    with _target("stop", options) as (agent, container, target):
        from pyinit.verify.stopping import stop  # noqa: PLC0415 - the extra may not be installed

        with _patience(f"stopping {target.name}"):
            done = stop(agent, container, target, own_signal=options.signal is None)
    if options.json:
        _print_json("stop", done.as_json())
    else:
        with written("stop", "stdout"):
            show_stop(console(WIDTH), done)
            sys.stdout.flush()
    if options.svg is not None and done.stop.timeline is not None:
        from pyinit.containers import svg  # noqa: PLC0415

        with written("stop", options.svg):
            options.svg.write_text(svg.render([done.stop.timeline]), encoding="utf-8")
    return done.status


@contextmanager
def _target(word: str, options: argparse.Namespace) -> Iterator[tuple[Agent, Container, Any]]:
    """An observer, the container, and what the engine says of it. Raises CommandError."""
    need_extra(word)
    if options.time is not None and options.time < 0:
        raise CommandError(f"{word}: --time {options.time}: write a number of seconds, 0 or more", IMPOSSIBLE)
    number = signals.number_of(options.signal) if options.signal is not None else None
    if options.signal is not None and number is None:
        raise CommandError(f"{word}: --signal '{options.signal}' is no signal; {init_options.A_SIGNAL}", IMPOSSIBLE)
    from pyinit.verify.stopping import TargetError, check, target_of  # noqa: PLC0415 - the extra may not be installed

    name = options.container
    ending = f"; {name} may have been asked to stop, and the engine goes on with that" if word == "stop" else ""
    with session(word, interrupted=ending) as engine:
        try:
            container = engine.find(name)
            target = target_of(container, options.time, number)
            if word == "stop":
                check(container, target, own_signal=number is None)
            with _observer(engine, options) as agent:
                yield agent, container, target
        except TargetError as error:
            raise CommandError(f"{word}: {error}", IMPOSSIBLE) from None


@contextmanager
def _observer(engine: Engine, options: argparse.Namespace) -> Iterator[Agent]:
    from pyinit.containers.remote import Agent  # noqa: PLC0415 - the extra may not be installed

    source = getattr(options, "source", None)
    made = Agent(engine, base=options.observer_image, source=None if source == "auto" else source)
    with ExitStack() as undo:
        with _patience("starting the observer"):
            agent = undo.enter_context(made)
        yield agent


@contextmanager
def _patience(words: str) -> Iterator[None]:
    """Says on a terminal what takes so long."""
    from rich.console import Console  # noqa: PLC0415 - an extra

    errors = Console(stderr=True, highlight=False)
    if not errors.is_terminal:
        yield
        return
    with errors.status(words):
        yield


def _print_json(word: str, found: object) -> None:
    with written(word, "stdout"):
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        sys.stdout.flush()


# --- for people ---

_SIGNS = {"END": ("✓", "green"), "BE_KILLED": ("✗", "bold red"), "UNKNOWN": ("?", "yellow")}


def show(screen: Console, found: Prediction) -> None:
    """The prediction. It reads without colour, too."""
    from rich.padding import Padding  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    target = found.target
    width = min(screen.width, WIDTH)
    grace = "no end" if target.grace is None else f"{target.grace:g} s"
    screen.print(Text.assemble((target.name, "bold"), f"  {target.image}"), width=width)
    head = (
        f"stop signal: {signals.name_of(target.stop_signal)}  grace: {grace} ({target.grace_from})  PID 1: {found.init}"
    )
    screen.print(Text(head, "dim"), width=width)
    screen.print()
    table = Table(box=None, pad_edge=False, show_header=False, width=width)
    table.add_column(width=1)
    table.add_column(max_width=40)
    table.add_column(ratio=1)
    for fate in found.fates:
        sign, style = ("-", "dim") if fate.is_guest else _SIGNS[fate.will.name]
        table.add_row(Text(sign, style), fate.label, Text(fate.words, "dim" if fate.is_guest else ""))
    screen.print(table, width=width)
    for note in found.notes:
        screen.print(Padding(Text(note, "yellow"), (0, 0, 0, 2)), width=width)
    screen.print()
    sign, style = _SIGNS[found.will.name]
    screen.print(Text.assemble((f"{sign} ", style), ("foretold: ", "bold"), (found.words, style)), soft_wrap=True)
    for fix in found.advice:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=5, justify="right")
        grid.add_column(ratio=1)
        grid.add_row(Text("fix", "bold"), Text(fix))
        screen.print(grid, width=width)


def show_stop(screen: Console, done: Stopped) -> None:
    """The timeline, and the verdict as its last line."""
    from dataclasses import replace  # noqa: PLC0415

    from rich.text import Text  # noqa: PLC0415 - an extra

    from pyinit.containers import timeline  # noqa: PLC0415

    width = min(screen.width, WIDTH)
    shown = done.stop.timeline
    if shown is None:
        screen.print(Text(f"not seen: {done.unseen or 'its processes could not be watched'}", "yellow"), width=width)
    else:
        screen.print(timeline.render(replace(shown, notes=(*shown.notes, *done.guests())), width))
        screen.print(timeline.LEGEND, style="dim")
    style = ("green", "bold red", "yellow")[done.status]
    screen.print(Text.assemble((f"{done.target.name}: ", "bold"), (done.verdict(), style)), soft_wrap=True)
