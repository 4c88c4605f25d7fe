"""`save` and `resurrect`: what runs now, in a file, and from it again. (At the boot of a machine: `startup`.)

Of the environment, what looks like a secret stays out of the file: its name is kept, and its value comes from the environment of
`resurrect`. Nobody can tell by looking what is a secret; so the file is its owner's alone all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinit.ctl import asking, start, supervise
from pyinit.ctl.errors import CommandError
from pyinit.init import options as init_options
from pyinit.supervise import apps, client, secret, spec

VERSION = 1
LONG_ENOUGH = 6
"""Letters of a value that is looked for in others: shorter ones are there by chance."""

TOKEN = re.compile(
    r"\b(gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_|AKIA|ASIA|AIza|npm_|pypi-|dckr_pat_)[\w-]{8}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\."  # a JSON web token
)
"""Values that are tokens of a known form, whatever they are called."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the words to the commands."""
    save = commands.add_parser(
        "save",
        aliases=["dump"],
        help="write what runs now into a file, for resurrect",
        description="Writes the apps as they are now into a file: how many instances, what is stopped. Values of variables that look like "
        "secrets stay out of it, and are taken from the environment of resurrect.",
        epilog=supervise.EPILOG,
        allow_abbrev=False,
    )
    save.add_argument("--with-secrets", action="store_true", help="with all values (the file is for its owner alone)")
    _add_file(save)
    asking.add_socket(save)
    save.set_defaults(run=run_save)
    resurrect = commands.add_parser(
        "resurrect",
        help="start what was saved",
        description="Starts the apps of a saved file, where a supervisor is running those that it does not have. Otherwise it becomes one, "
        "in the foreground unless --detach is given.",
        epilog=supervise.EPILOG,
        allow_abbrev=False,
    )
    resurrect.add_argument("-d", "--detach", action="store_true", help="return when the apps are ready")
    resurrect.add_argument("--no-daemon", dest="detach", action="store_false", default=False, help=argparse.SUPPRESS)
    resurrect.add_argument(
        "--logs", metavar="FOLDER", type=Path, help="with --detach: a folder for the supervisor's own output"
    )
    _add_file(resurrect)
    asking.add_socket(resurrect)
    resurrect.set_defaults(run=run_resurrect)


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--file",
        metavar="FILE",
        type=Path,
        help="that file (default: $XDG_STATE_HOME/pyinit/saved.json, else /var/lib/pyinit/, or ~/.local/state/pyinit/ if not root)",
    )


def default_file(environ: Mapping[str, str], uid: int) -> Path:
    """Where what is saved lies, if no other place is named."""
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "pyinit" / "saved.json"
    return (Path("/var/lib/pyinit") if uid == 0 else Path.home() / ".local/state/pyinit") / "saved.json"


def file_of(options: argparse.Namespace) -> Path:
    """The file that is meant."""
    named: Path | None = options.file
    return named.absolute() if named else default_file(os.environ, os.geteuid())


# --- secrets ---


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable's value should not lie in a file."""
    return secret.is_secret(name, value) or TOKEN.search(value) is not None


def secrets(environment: Mapping[str, str]) -> list[str]:
    """The names of those that look so, and of those that have the value of one of them in theirs."""
    found = {name for name, value in environment.items() if looks_secret(name, value)}
    values = [environment[name] for name in found if len(environment[name]) >= LONG_ENOUGH]
    found |= {name for name, value in environment.items() if any(one in value for one in values)}
    return sorted(found)


# --- save ---


def run_save(options: argparse.Namespace) -> int:
    """Write the file. Raises CommandError."""
    answer = asking.ask(options, "describe", select=["all"])
    if not answer["apps"]:
        raise CommandError("save: no app is here; what was saved before stays as it is")
    file = file_of(options)
    stopped = {app["name"] for app in answer["apps"]} - {
        worker["name"] for worker in answer["workers"] if worker["state"] != "stopped"
    }
    saved = [_saved(app, is_stopped=app["name"] in stopped) for app in answer["apps"]]
    left_out = {} if options.with_secrets else {app["name"]: secrets(app["environment"]) for app in saved}
    for app in saved:
        _warn_of_others(app, {name: app["environment"].pop(name) for name in left_out.get(app["name"], ())})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = {"version": VERSION, "saved": now, "log_form": answer["log_form"], "left_out": left_out, "apps": saved}
    _write(file, json.dumps(text, indent=2) + "\n")
    print(f"{len(saved)} app{'' if len(saved) == 1 else 's'} saved in {init_options.show(str(file))}")
    for name, names in left_out.items():
        if names:
            print(f"{name}: left out, to be set for resurrect: {init_options.show(', '.join(names))}")
    return 0


def _saved(app: Mapping[str, Any], *, is_stopped: bool) -> dict[str, Any]:
    """An app as the spec has it. What somebody has stopped is not to start by itself."""
    kept = {key: value for key, value in app.items() if key in (*spec.APP, "logs")}
    return {**kept, "autostart": not is_stopped, "environment": dict(app["environment"])}


def _warn_of_others(app: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
    """Elsewhere than in the environment a secret is the user's own writing; it is said."""
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in app.items() if key != "environment"}
    for name, value in left_out.items():
        if len(value) < LONG_ENOUGH:
            continue
        for key, text in values.items():
            if json.dumps(value, ensure_ascii=False)[1:-1] in text:
                start.warn(f"{app['name']}: {key} holds what the variable {name} does, and is in the file")


def _write(file: Path, text: str) -> None:
    """All of it or nothing, for its owner alone. Raises CommandError."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(descriptor)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"save: {file} cannot be written: {error.strerror}; name another one with --file") from None


# --- resurrect ---


def run_resurrect(options: argparse.Namespace) -> int:
    """Start them. Raises CommandError."""
    saved, environ = read(file_of(options)), apps.without(os.environ)
    wanted = restored(saved, environ)
    socket = asking.socket_of(options)
    is_there = client.is_there(socket)
    if not (is_there or options.detach):
        start.go_under_pyinit()
    for line in missing(saved, environ):
        start.warn(line)
    if is_there:
        return _ask(socket, wanted)
    place = start.place(options)
    if not options.detach:
        start.become({**wanted, "control": str(place)})
    return start.detach(place, options.logs or start.log_folder())


def read(file: Path) -> dict[str, Any]:
    """What was saved there. Raises CommandError."""
    try:
        with file.open(encoding="utf-8") as opened:
            found = os.fstat(opened.fileno())
            if found.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(found.st_mode) & 0o022:
                raise CommandError(
                    f"resurrect: others could have written {file}: it is to belong to you or root, with mode 0600"
                )
            saved: dict[str, Any] = json.load(opened)
    except FileNotFoundError:
        raise CommandError(f"resurrect: nothing was saved: there is no {file}; run pyinitctl save") from None
    except OSError as error:
        raise CommandError(f"resurrect: {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"resurrect: {file} is not what pyinitctl save writes: {error}") from None
    if not (_is_object(saved, "left_out") and saved.get("version") == VERSION and _are_objects(saved.get("apps"))):
        raise CommandError(f"resurrect: {file} is not what this version of pyinitctl save writes; save again")
    return saved


def _is_object(value: object, key: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(key), dict)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(_is_object(one, "environment") for one in value)


def restored(saved: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The spec, with values from this environment where they were left out. Raises CommandError."""
    given = []
    for app in saved["apps"]:
        names = saved["left_out"].get(app.get("name"), ())
        here = {name: environ[name] for name in names if name in environ}
        given.append({**app, "environment": {**app["environment"], **here}})
    wanted = {"version": spec.VERSION, "control": "/", "stop_budget": None, "log_form": saved.get("log_form", "text")}
    try:
        spec.parse({**wanted, "apps": given})
    except spec.SpecError as wrong:
        raise CommandError(f"resurrect: what was saved cannot be started: {wrong}; save again") from None
    return {**wanted, "apps": given}


def missing(saved: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[str]:
    """Of each app, the variables that were left out and are not here."""
    for name, names in saved["left_out"].items():
        if absent := [one for one in names if one not in environ]:
            yield f"{name} starts without {', '.join(absent)}: left out of what was saved, and not set here"


def _ask(socket: Path, wanted: Mapping[str, Any]) -> int:
    """Those that the supervisor has not got."""
    there = {worker["name"] for worker in asking.ask_at(socket, "list", select=["all"])["workers"]}
    new: Sequence[str] = [app["name"] for app in wanted["apps"] if app["name"] not in there]
    for name in sorted(there & {app["name"] for app in wanted["apps"]}):
        print(f"{name} is here already")
    if new:
        asking.ask_at(socket, "apply", spec={**wanted, "control": str(socket)}, only=new)
    return 0
