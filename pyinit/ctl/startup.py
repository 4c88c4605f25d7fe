"""`startup systemd` and `unstartup`: a unit that starts the apps at boot, with pyinit between systemd and the supervisor.

The main process is pyinit: it adopts what daemonises, and its own stop plan holds. Readiness comes from the supervisor below it.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinit.ctl import life, start
from pyinit.ctl.errors import CommandError
from pyinit.init import options as init_options
from pyinit.supervise import apps, fleet, source, spec

MARK = "# Written by pyinitctl startup; pyinitctl unstartup removes it."
SECOND = 1_000_000_000
LEAST = 60
"""Seconds that a stop may take where no app asks for more: on a machine of one's own nobody is in a hurry."""
AFTER_THE_PLAN = 5
"""Seconds beyond pyinit's stop plan until systemd kills: pyinit takes at most 1.5 s more for strays and for its report."""

UNIT = """\
{mark}
[Unit]
Description={description}
{order}
[Service]
# the supervisor tells when the apps are ready; it is not the main process, which is pyinit
Type=notify
NotifyAccess=all
ExecStart={start}
# waits, and fails where the reload does
ExecReload={reload}
# the supervisor gives up by itself what does not get ready, and the others go on
TimeoutStartSec=infinity
# only pyinit is asked, which asks the apps in their order; whatever is left in the end is killed
KillMode=mixed
TimeoutStopSec={stop}
Restart=on-failure
RestartSec=2
# an app that runs out of memory is started again, and is no reason to stop the others
OOMPolicy=continue
# the control socket is there
RuntimeDirectory=pyinit
Environment={path}

[Install]
WantedBy={target}
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the words to the commands."""
    on = commands.add_parser(
        "startup",
        help="start the apps at boot: a unit for systemd",
        description="Writes a unit for systemd, which runs pyinit -s -- pyinitctl start FILE, or resurrect, and enables it.",
        allow_abbrev=False,
    )
    _add_common(on)
    on.add_argument("--file", type=Path, metavar="FILE", help="a file of apps; without it what was saved")
    on.add_argument("--env", metavar="NAME", default="", help="with the variables that the file has for NAME")
    on.add_argument(
        "--grace",
        metavar="DURATION",
        help=f"how long a stop may take (default: {LEAST}s, or what the apps ask for if that is more)",
    )
    on.add_argument("--print", action="store_true", help="only print the unit")
    on.set_defaults(run=run_startup)
    off = commands.add_parser(
        "unstartup",
        help="do not start the apps at boot any more",
        description="Disables and removes the unit that startup has written. What runs goes on.",
        allow_abbrev=False,
    )
    _add_common(off)
    off.set_defaults(run=run_unstartup)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("platform", nargs="?", choices=["systemd"], default="systemd", help="systemd")
    parser.add_argument("--user", action="store_true", help="for this user's own systemd")
    parser.add_argument("--name", metavar="NAME", default="pyinit", help="the unit's name (pyinit)")


def run_startup(options: argparse.Namespace) -> int:
    """Write the unit, or print it. Raises CommandError."""
    text = unit(options)
    if options.print:
        sys.stdout.write(text)
        return 0
    path = _path(options)
    if path.exists() and not _is_ours(path):
        raise CommandError(f"startup: {path} is there, and not by pyinitctl; remove it, or choose another --name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(
            f"startup: {path} cannot be written: {error.strerror}; run it as root, or with --user, or with --print"
        ) from None
    print(f"written: {path}")
    if _systemctl(options, "daemon-reload") and _systemctl(options, "enable", path.name):
        which = "systemctl --user" if options.user else "systemctl"
        print(f"enabled: it starts at boot; to start it now: {which} start {options.name}")
    if options.user:
        print("a user's units start at boot only with: loginctl enable-linger")
    return 0


def run_unstartup(options: argparse.Namespace) -> int:
    """Remove it. Raises CommandError."""
    path = _path(options)
    if not path.exists():
        raise CommandError(f"unstartup: there is no {path}")
    if not _is_ours(path):
        raise CommandError(f"unstartup: {path} is not by pyinitctl; remove it by hand")
    _systemctl(options, "disable", path.name)
    try:
        path.unlink()
    except OSError as error:
        raise CommandError(f"unstartup: {path} cannot be removed: {error.strerror}") from None
    _systemctl(options, "daemon-reload")
    print(f"removed: {path}")
    return 0


def _path(options: argparse.Namespace) -> Path:
    """Where the unit lies. Raises CommandError."""
    if not options.name or "/" in options.name:
        raise CommandError(f"'{options.name}' is no name of a unit", 2)
    folder = Path("/etc/systemd/system")
    if options.user:
        config = os.environ.get("XDG_CONFIG_HOME")
        folder = (Path(config) if config else Path.home() / ".config") / "systemd" / "user"
    return folder / f"{options.name}.service"


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(MARK)
    except (OSError, ValueError):
        return False


def _systemctl(options: argparse.Namespace, *words: str) -> bool:
    """Whether it worked; where it did not, a warning says what is left to be done."""
    command = ["systemctl", *(["--user"] if options.user else []), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        why = "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        start.warn(f"{' '.join(command)} failed ({why}); do it by hand")
    return not why


# --- the unit ---


def unit(options: argparse.Namespace) -> str:
    """Its text. Raises CommandError where the apps could not be started."""
    saved, file = life.default_file(os.environ, os.geteuid()), options.file
    pyinitctl = _pyinitctl()
    wanted = life.restored(life.read(saved), os.environ) if file is None else _spec(file, options.env)
    words = (
        ["resurrect", "--file", str(saved)]
        if file is None
        else ["start", str(file.absolute()), *(["--env", options.env] if options.env else [])]
    )
    grace = _grace(options.grace, wanted)
    limit = "infinity" if grace == math.inf else f"{grace:g}s"
    names = ", ".join(app["name"] for app in wanted["apps"])
    return UNIT.format(
        mark=MARK,
        description=f"{init_options.show(names)} under pyinit".replace("%", "%%"),
        order="" if options.user else "Wants=network-online.target\nAfter=network-online.target\n",
        start=_line([*_absolute(start.pyinit_command()), "-s", "-t", limit, "--", *pyinitctl, *words]),
        reload=_line(
            [*pyinitctl, "reload", "all", *([] if wanted["control"] == "/" else ["--socket", wanted["control"]])]
        ),
        stop=limit if grace == math.inf else f"{grace + AFTER_THE_PLAN:g}",
        path=quoted(f"PATH={os.environ.get('PATH', os.defpath)}"),
        target="default.target" if options.user else "multi-user.target",
    )


def _spec(file: Path, environment: str) -> dict[str, Any]:
    """What is to run, read now: what is wrong in the file is said here, where somebody reads."""
    try:
        document = source.read(file, Path.cwd(), start.warn, environment)
        return apps.spec(document, apps.Start(environ=dict(os.environ), control="/", environment=environment))
    except apps.AppsError as error:
        raise CommandError(f"startup: {error}") from None


def _grace(given: str | None, wanted: Mapping[str, Any]) -> float:
    """Seconds for pyinit's -t. Raises CommandError."""
    if given is None:
        return max(LEAST, needed(spec.parse(wanted).apps))
    length = init_options.duration(given)
    if length is None:
        raise CommandError(f"startup: --grace: '{given}' is no duration; {init_options.A_DURATION}", 2)
    return math.inf if length == init_options.NEVER else length / SECOND


def needed(those: Sequence[spec.App]) -> float:
    """How long a stop takes at most: apps that start after others stop before them, one level after the other."""
    deep = fleet.depths(those)
    levels: dict[int, float] = {}
    for app in those:
        levels[deep[app.name]] = max(levels.get(deep[app.name], 0.0), app.grace)
    return math.ceil(sum(levels.values()) + fleet.RESERVE) if math.inf not in levels.values() else math.inf


def _pyinitctl() -> list[str]:
    """This command: the script that was called, else its interpreter's module."""
    script = Path(sys.argv[0])
    if script.name == "pyinitctl" and os.access(script, os.X_OK):
        return [str(script.absolute())]
    return [sys.executable, "-m", "pyinit.ctl"]


def _absolute(command: Sequence[str]) -> list[str]:
    return [shutil.which(command[0]) or command[0], *command[1:]]


def _line(words: Sequence[str]) -> str:
    return " ".join(quoted(word).replace("$", "$$") for word in words)


def quoted(word: str) -> str:
    """A word as systemd.syntax(7) has it. ($ means something in commands alone, and is doubled there.)"""
    word = word.replace("%", "%%")
    if word and all(c.isalnum() or c in "/._-=:,+@%$" for c in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
