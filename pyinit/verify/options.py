"""The options of `pyinitctl verify`: the one table of which the command line and the keys of `verify.toml` are made.

An option that is added here is a key, too, unless NOT_IN_A_FILE says why it makes no sense there. On the standard library alone: the
command line is there without the extra.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOT_IN_A_FILE: Mapping[str, str] = {
    "image": "what is judged is said when it is judged",
    "init": "what is judged is said when it is judged, and it decides which checks a file may name",
    "init-image": "it belongs to --init",
    "config": "it says which file that is",
    "skip": "there it is a table with a reason for each check",
    "keep": "for a look at what one run has left",
    "clean": "it ends there",
    "list-checks": "it ends there",
    "schema": "it ends there",
}
"""Options that are no keys, and why."""


@dataclass(frozen=True)
class Key:
    """What the value of a key is. `made` makes of a text what the command line makes of it; raises argparse.ArgumentTypeError."""

    kind: type
    element: type = str
    """What a list has."""
    choices: tuple[str, ...] = ()
    made: Callable[[str], Any] = str


def add_to(parser: argparse.ArgumentParser) -> None:
    """All of them."""
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


def _readiness(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ready-log", metavar="REGEX", type=regex, help="when a line of its log matches")
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
    group.add_argument("--pull", choices=("missing", "always", "never"), help="when to pull the image (missing)")


def _judging(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-t", "--timeout", metavar="SECONDS", type=int, help="the grace period of each stop (10)")
    group.add_argument(
        "--expect-exit", metavar="CODE", type=int, action="append", help="an exit status that is as good as 0"
    )
    group.add_argument("--last-log", metavar="REGEX", type=regex, help="what must be in its log after a stop (FD-05)")
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
        help="what the observer sees with: auto, which is the default, is the first of trace, cn_proc and pidfd that is to be had; "
        "ptrace disturbs",
    )
    group.add_argument("--list-checks", action="store_true", help="print all checks, and end")


def _reporting(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", metavar="FILE", type=Path, help="write everything as JSON (- is stdout)")
    group.add_argument("--schema", action="store_true", help="print the JSON Schema of --json, and end")
    group.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit's XML")
    group.add_argument("--markdown", metavar="FILE", type=Path, help="write Markdown, for a CI job's summary")
    group.add_argument(
        "--html", metavar="FILE", type=Path, help="write one page for a browser, with the timeline of each stop"
    )
    group.add_argument("--svg", metavar="FILE", type=Path, help="draw the timeline of the plain stop, for a README")
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


def keys() -> dict[str, Key]:
    """The options as keys of a file, by their long names without the dashes; besides, `command`: the words after --; and `skip`."""
    parser = argparse.ArgumentParser(add_help=False)
    add_to(parser)
    found = {}
    for action in parser._actions:  # noqa: SLF001 - argparse tells of its own table in no other way
        name = name_of(action)
        if name not in NOT_IN_A_FILE:
            found[name] = _key(action)
    return found | {"command": Key(list), "skip": Key(dict)}


def name_of(action: argparse.Action) -> str:
    """`ready-log` of --ready-log."""
    return action.option_strings[-1].removeprefix("--") if action.option_strings else action.dest


def _key(action: argparse.Action) -> Key:
    if action.nargs == 0:
        return Key(bool)
    numeric = action.type if action.type in (int, float) else None
    one = numeric if isinstance(numeric, type) else str
    many = isinstance(action, argparse._AppendAction)  # noqa: SLF001
    made = action.type if callable(action.type) and not numeric else str
    return Key(list if many else one, one, tuple(action.choices or ()), made)


def regex(text: str) -> str:
    """A regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text
