"""The words about running apps: clients of the supervisor's control socket."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pyinit.ctl import container
from pyinit.ctl.asking import NO_SUPERVISOR, add_socket, ask, ask_at, socket_of
from pyinit.ctl.errors import CommandError
from pyinit.init import options as init_options
from pyinit.init import signals
from pyinit.supervise import apps, source

EPILOG = f"""\
APP is an id, a name, a namespace, all, /regex/ over names, or a file of apps. exit status: 0 done; 1 it could not be done, stderr says why;
2 wrong usage; {NO_SUPERVISOR} there is no supervisor; 130 interrupted: the supervisor goes on with it."""

PLURAL = ("app", {"nargs": "+", "metavar": "APP", "help": "id, name, namespace, all or /regex/"})
OPTIONAL = ("app", {"nargs": "*", "metavar": "APP", "help": "id, name, namespace, all or /regex/ (default: all)"})
ON_FILES = ("stop", "restart", "reload", "delete")
"""PM2 takes a file in an app's place: restart and reload start what is not running yet, the other two mean the apps named in it."""

Argument = tuple[str | tuple[str, ...], Mapping[str, Any]]


@dataclass(frozen=True)
class Word:
    """A row of the table."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: Sequence[Argument] = ()
    aliases: Sequence[str] = ()


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the words to the commands."""
    for word in WORDS:
        parser = commands.add_parser(
            word.name,
            aliases=list(word.aliases),
            help=word.help,
            description=f"{word.help[0].upper()}{word.help[1:]}.",
            epilog=EPILOG,
            allow_abbrev=False,
        )
        for names, settings in word.arguments:
            parser.add_argument(*([names] if isinstance(names, str) else names), **settings)
        if word.name in ON_FILES:
            add_file(parser)
        add_socket(parser)
        if word.name == "stop":
            container.add_to_stop(parser)
            parser.usage = container.STOP_USAGE
            parser.description, parser.epilog = container.STOP_DESCRIPTION, f"{EPILOG} {container.STOP_EPILOG}"
        parser.set_defaults(run=word.run, word=word.name)


def add_file(parser: argparse.ArgumentParser) -> None:
    """What belongs to a file of apps."""
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these apps of a file")
    parser.add_argument("--env", metavar="NAME", default="", help="with the variables that a file has for NAME")
    parser.add_argument(
        "-a", "--update-env", action="store_true", help="with this command's environment in addition to the one it has"
    )


# --- words ---


def _act(options: argparse.Namespace) -> int:
    """stop, restart, reload, delete, reset, flush: the selected, events as they come. PM2 takes a file for an app as well."""
    if any(source.is_apps_file(word) for word in options.app):
        if options.word not in ON_FILES:
            raise CommandError(f"{options.word}: name an app: a file is taken by {', '.join(ON_FILES)} alone", 2)
        from pyinit.ctl import start  # noqa: PLC0415 - which imports this module

        return start.act_on_file(options)
    more: dict[str, Any] = {"environment": apps.without(os.environ)} if getattr(options, "update_env", False) else {}
    ask(options, options.word, select=options.app or ["all"], **more)
    return 0


def _stop(options: argparse.Namespace) -> int:
    """Apps, unless it is said that a container is meant."""
    container.check_stop(options)
    if options.container is not None:
        return container.run_stop(options)
    try:
        return _act(options)
    except CommandError as error:
        if error.status != NO_SUPERVISOR:
            raise
        raise CommandError(f"{error}. A container is stopped by --container {options.app[0]}", NO_SUPERVISOR) from None


def _scale(options: argparse.Namespace) -> int:
    ask(options, "scale", select=[options.app], to=options.to)
    return 0


def _list(options: argparse.Namespace) -> int:
    workers = ask(options, "list", select=options.app or ["all"])["workers"]
    if (looks := _looks()) is not None:
        looks.show_list(socket_of(options), workers)
        return 0
    print(table([LIST, *(_row(worker) for worker in workers)]))
    return 0


def _looks() -> ModuleType | None:
    """How things look on a terminal, where the extra `monit` is installed; elsewhere they are plain."""
    if not sys.stdout.isatty():
        return None
    try:
        from pyinit.ctl import looks  # noqa: PLC0415 - rich and psutil are not for a pipe
    except ModuleNotFoundError:
        return None
    return looks


def _monit(options: argparse.Namespace) -> int:
    try:
        from pyinit.ctl import monit  # noqa: PLC0415 - as above
    except ModuleNotFoundError as missing:
        raise CommandError(f"monit: {missing.name} is not installed: pip install 'pyinit-pid1[monit]'") from None
    return monit.run(socket_of(options))


def _jlist(options: argparse.Namespace) -> int:
    workers = ask(options, "list", select=["all"])["workers"]
    print(json.dumps(workers, indent=2 if sys.stdout.isatty() else None))
    return 0


def _describe(options: argparse.Namespace) -> int:
    answer = ask(options, "describe", select=options.app)
    if (looks := _looks()) is not None:
        looks.show_apps(socket_of(options), answer)
        return 0
    parts = []
    for app in answer["apps"]:
        rows = [[key, value_of(value)] for key, value in app.items() if key != "environment"]
        workers = [worker for worker in answer["workers"] if worker["name"] == app["name"]]
        parts.append(f"{table(rows)}\n\n{table([LIST, *(_row(worker) for worker in workers)])}")
        parts += [f"{worker['name']} {worker['instance']}: {worker['why']}" for worker in workers if worker.get("why")]
    print("\n\n".join(parts))
    return 0


def _logs(options: argparse.Namespace) -> int:
    stream = "stderr" if options.err else "stdout" if options.out else None
    several = len(options.app) != 1

    def show(event: Mapping[str, Any]) -> None:
        text = init_options.show(str(event.get("text", ""))) if sys.stdout.isatty() else str(event.get("text", ""))
        label = f"{event.get('name')} {event.get('instance')} | " if several else ""
        print(label + text, flush=True)

    try:
        ask(
            options,
            "logs",
            show,
            select=options.app or ["all"],
            lines=options.lines,
            follow=options.follow and not options.nostream,
            stream=stream,
        )
    except CommandError as error:
        if error.status == 130:
            return 0  # Ctrl-C is how one leaves
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has had enough: `| head`
    return 0


def _signal(options: argparse.Namespace) -> int:
    number = signals.number_of(options.signal)
    if number is None:
        raise CommandError(f"sendSignal: '{options.signal}' is no signal; {init_options.A_SIGNAL}", 2)
    ask(options, "signal", select=options.app, signal=signals.name_of(number))
    return 0


def _env(options: argparse.Namespace) -> int:
    environments = ask(options, "env", select=[options.app])["env"]
    for identity, variables in environments.items():
        if len(environments) > 1:
            print(f"# {identity}")
        for name, value in sorted(variables.items()):
            print(f"{name}={value}")
    return 0


def _ping(options: argparse.Namespace) -> int:
    answer = ask(options, "ping")
    print(f"pyinit's supervisor, version {answer.get('version')}, PID {answer.get('pid')}, at {socket_of(options)}")
    return 0


def _kill(options: argparse.Namespace) -> int:
    ask_at(socket_of(options), "kill", till_its_end=True)
    return 0


# fmt: off
WORDS = (
    Word("stop", "stop apps, which stay in the list; or a container: --container NAME", _stop,
         [("app", {**PLURAL[1], "nargs": "*"})]),
    Word("restart", "stop apps and start them again", _act, [PLURAL]),
    Word("reload", "replace instances one after the other, without downtime", _act, [PLURAL]),
    Word("delete", "stop apps and forget them", _act, [PLURAL], ["del"]),
    Word("scale", "run so many instances of an app", _scale,
         [("app", {"metavar": "APP", "help": "its name"}), ("to", {"metavar": "N", "help": "a number, +N, -N or max"})]),
    Word("list", "the apps and their instances", _list, [OPTIONAL], ["ls", "status"]),
    Word("describe", "everything about apps", _describe, [PLURAL], ["show", "desc", "info"]),
    Word("monit", "watch the apps: CPU, memory, state, logs; ? shows its keys", _monit),
    Word("jlist", "the list as JSON", _jlist),
    Word("logs", "what apps have written", _logs, [
        OPTIONAL,
        (("-f", "--follow"), {"action": "store_true", "help": "and what they write from now on"}),
        (("-n", "--lines"), {"metavar": "N", "type": int, "default": 15, "help": "how many lines of each (15)"}),
        ("--err", {"action": "store_true", "help": "of stderr alone"}),
        ("--out", {"action": "store_true", "help": "of stdout alone"}),
        ("--nostream", {"action": "store_true", "help": "as without -f (PM2's word)"}),
    ]),
    Word("flush", "empty the log files of apps", _act, [OPTIONAL]),
    Word("reset", "count restarts from 0 again", _act, [OPTIONAL]),
    Word("sendSignal", "send a signal to apps", _signal,
         [("signal", {"metavar": "SIGNAL", "help": "TERM, SIGUSR2, 10 ..."}), PLURAL], ["signal"]),
    Word("env", "the environment of an instance", _env, [("app", {"metavar": "ID", "help": "its id, or a name"})]),
    Word("ping", "whether the supervisor is there", _ping),
    Word("kill", "stop everything, in order, and the supervisor too", _kill),
)
# fmt: on

# --- tables ---

LIST = ("id", "name", "namespace", "instance", "pid", "state", "uptime", "restarts", "memory", "cpu", "last end")


def generation(worker: Mapping[str, Any]) -> str:
    """Whether another one has its place, or it is to have another's."""
    return " (old)" if worker.get("leaving") else " (new)" if worker.get("coming") else ""


def is_unhealthy(worker: Mapping[str, Any]) -> bool:
    """Whether it is ready, and its app as a whole does not do its work."""
    return (worker["state"], worker.get("health")) == ("ready", "unhealthy")


def _row(worker: Mapping[str, Any]) -> Sequence[str]:
    state = str(worker["state"]) + generation(worker) + (", app unhealthy" if is_unhealthy(worker) else "")
    return (
        str(worker["id"]),
        init_options.show(str(worker["name"])),
        init_options.show(str(worker["namespace"])),
        str(worker["instance"]),
        value_of(worker.get("pid")),
        state,
        duration(worker.get("uptime")),
        str(worker.get("restarts", 0)),
        size(worker.get("memory")),
        duration(worker.get("cpu")),
        value_of(worker.get("last")),
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other; nothing at the end of a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def duration(seconds: float | None) -> str:
    """`3.2s`, `5m`, `3h`, `2d`, with one digit after the point below ten; `-` for none."""
    if seconds is None:
        return "-"
    for unit, worth in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= worth:
            return f"{seconds / worth:.1f}{unit}" if seconds < 10 * worth else f"{seconds // worth:.0f}{unit}"
    return f"{seconds:.1f}s"


def size(number: int | None) -> str:
    """`43.1M`, in units of 1024; `-` for none."""
    if number is None:
        return "-"
    for unit, worth in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if number >= worth:
            return f"{number / worth:.1f}{unit}"
    return str(number)


def value_of(value: object) -> str:
    if value is None:
        return "-"
    return init_options.show(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
