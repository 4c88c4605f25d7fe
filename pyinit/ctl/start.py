"""`pyinitctl start`, `startOrReload` and `convert`: from what a user writes to a supervisor that runs it.

Where a supervisor is there already, `start` asks it. Otherwise it becomes one: under pyinit, so that strays never hold a port. Without
pyinit above it, it executes itself again as `pyinit -s -- pyinitctl start ...`; then it reads the file and executes the supervisor,
which needs an interpreter without site-packages and gets the spec as JSON on a descriptor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pyinit.ctl import asking, supervise
from pyinit.ctl.errors import CommandError
from pyinit.init.start import given_environment
from pyinit.supervise import apps, client, pm2, source, tomltext

WRONG = 2

DESCRIPTION = """\
Starts apps and keeps them running: from apps.toml or a file of PM2's, or a single program with PM2's options. It stays in the foreground
unless --detach is given. Where a supervisor is running already, it is asked to start them too; a name or an id starts what was stopped."""

EPILOG = """\
exit status in the foreground: the essential app's that has ended, or when the last app has ended by itself that of the first that failed;
after a stop 137 if anybody had to be killed, else an essential app's; else 0. 1 or 125: it could not start, stderr says why. With --detach,
or where a supervisor is there already: 0 the apps are ready; 1 they are not, stderr says why. 2 wrong usage. 130 interrupted while it
waited: the supervisor goes on."""

USAGE = """\
pyinitctl start [OPTIONS] [FILE]
       pyinitctl start [OPTIONS] PROGRAM [-- ARGUMENT...]
       pyinitctl start [OPTIONS] APP..."""


NEGATED = {
    "autorestart": "restart: never",
    "autostart": "autostart: false",
    **dict.fromkeys(("treekill", "vizion", "pmx", "automation"), argparse.SUPPRESS),
}
"""PM2's options with a "no"."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the three words to the commands."""
    parser = commands.add_parser(
        "start",
        help="start apps and keep them running",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        usage=USAGE,
    )
    parser.add_argument(
        "target", nargs="*", metavar="FILE|PROGRAM|APP", help="without one: apps.toml or ecosystem.config.js"
    )
    parser.add_argument("-d", "--detach", action="store_true", help="return when the apps are ready")
    parser.add_argument(
        "--no-daemon", dest="detach", action="store_false", default=False, help=argparse.SUPPRESS
    )  # PM2's word for what is the default here; the last of the two holds
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of apps.toml, and end")
    _file_options(parser)
    parser.add_argument(
        "--logs",
        metavar="FOLDER",
        type=Path,
        help="log files there for apps that name none, rotated at 10 MB (with --detach: /var/log/pyinit, or ~/.local/state/pyinit)",
    )
    _program_options(parser.add_argument_group("a program, with PM2's options"))
    parser.set_defaults(run=run)
    again = commands.add_parser(
        "startOrReload",
        aliases=["startOrRestart", "startOrGracefulReload", "apply"],
        help="start the apps of a file, or reload those that are running",
        description="Starts the apps of a file that are not running, and reloads those that are, with the file's new values. "
        "Those that are ready when their address answers (tcp, http) are stopped first.",
        epilog=supervise.EPILOG,
        allow_abbrev=False,
    )
    again.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="without one: apps.toml or ecosystem.config.js"
    )
    _file_options(again)
    again.set_defaults(run=run_again, logs=None)
    convert = commands.add_parser(
        "convert",
        help="write apps.toml for a file of PM2's",
        description="Writes apps.toml for a file of PM2's, to stdout or a file: what that file means when it is started from its folder. "
        "Warnings about what is not the same go to stderr.",
        allow_abbrev=False,
    )
    convert.add_argument("file", nargs="?", type=Path, metavar="FILE", help="without one: ecosystem.config.js")
    convert.add_argument("-o", "--output", metavar="FILE", type=Path, help="write there; it must not exist yet")
    convert.set_defaults(run=run_convert)


def _file_options(parser: argparse.ArgumentParser) -> None:
    supervise.add_file(parser)
    asking.add_socket(parser)


def _program_options(group: argparse._ArgumentGroup) -> None:
    """Every key of PM2's that has an option."""
    for key in pm2.KEYS:
        if not key.flag:
            continue
        settings: dict[str, Any] = {"dest": f"pm2_{key.name}", "default": None, "help": _about(key)}
        kinds = key.types.split()
        if kinds == ["boolean"]:
            settings |= {"action": "store_const", "const": True}
        elif kinds[0] == "boolean":  # an option that may have a value: --watch, --watch src
            settings |= {"nargs": "?", "const": True, "metavar": "VALUE"}
        else:
            settings |= {"metavar": "MS" if "delay" in key.name or "timeout" in key.name else "VALUE"}
        if "array" in kinds and key.name != "node_args":
            settings |= {"action": "append"}
        group.add_argument(*key.flag.split(), **settings)
    for name, about in NEGATED.items():
        group.add_argument(f"--no-{name}", dest=f"pm2_{name}", action="store_const", const=False, help=about)


def _about(key: pm2.Key) -> str:
    becomes = key.becomes or "a warning"
    return f"{becomes}{': ' + key.text if key.text else ''}".replace("%", "%%").replace("`", "")


# --- the words ---


def run(options: argparse.Namespace) -> int:
    """Start. Raises CommandError."""
    if options.schema:
        sys.stdout.write(apps.schema())
        return 0
    socket = asking.socket_of(options)
    if client.is_there(socket):
        return _ask(options, socket)
    if options.detach:
        return _detach(options)
    go_under_pyinit()
    return _become_supervisor(options)


def run_again(options: argparse.Namespace) -> int:
    """startOrReload: the same file again, with what is new in it."""
    options.target = [str(options.file)] if options.file else []
    return _apply(options, asking.socket_of(options), _document(options))


def act_on_file(options: argparse.Namespace) -> int:
    """stop, restart, reload and delete of a file in an app's place. Raises CommandError."""
    options.target, options.logs = options.app, None
    document = _document(options)
    socket = asking.socket_of(options)
    if options.word in ("restart", "reload"):
        return _apply(options, socket, document)
    names = [app["name"] for app in _spec(options, document, socket)["apps"]]
    asking.ask_at(socket, options.word, apps=names)
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Write TOML."""
    try:
        path = options.file or source.find(Path.cwd())
        document = source.read(path, path.resolve().parent, warn)
        apps.check(document)
    except apps.AppsError as error:
        raise CommandError(f"convert: {error}") from None
    text = f"# From {path.name}, by pyinitctl convert.\n\n{tomltext.dumps(document.values)}"
    if options.output is not None and options.output.resolve().parent != document.folder:
        warn(f"{options.output}: relative paths in it count from its folder; put it into {document.folder}")
    return written("convert", options.output, text)


def written(word: str, output: Path | None, text: str) -> int:
    """To a file that is not there yet, or to stdout: exit status 0. Raises CommandError."""
    if output is None:
        sys.stdout.write(text)
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{word}: {output} cannot be written: {error.strerror}") from None
    return 0


def warn(words: str) -> None:
    """A line on stderr that stops nothing."""
    print(f"pyinitctl: warning: {words}", file=sys.stderr, flush=True)


# --- what is to run ---


def _document(options: argparse.Namespace) -> apps.Document:
    """The file, or the programs, as a document. Raises CommandError."""
    cwd = Path.cwd()
    given = _program(options)
    try:
        if not options.target or source.is_apps_file(options.target[0]):
            path = Path(options.target[0]) if options.target else source.find(cwd)
            if len(options.target) > 1:
                raise CommandError(f"one file at a time, not {' '.join(options.target)}", WRONG)
            if given or options.after:
                words = ", ".join(sorted(given)) or "arguments"
                raise CommandError(f"{words}: that is for a program; write it into {path}", WRONG)
            return source.read(path, cwd, warn, options.env)
        declared = [
            {**given, "script": script, **({"args": options.after} if options.after else {})}
            for script in options.target
        ]
        setting = pm2.Setting(cwd, cwd, "start", warn, options.env)
        return apps.Document(pm2.translate(declared, setting), cwd, "start")
    except apps.AppsError as error:
        raise CommandError(str(error)) from None


def _spec(options: argparse.Namespace, document: apps.Document, control: Path) -> dict[str, Any]:
    """What the supervisor is handed. Raises CommandError."""
    start = apps.Start(
        environ={os.fsdecode(name): os.fsdecode(value) for name, value in given_environment().items()},
        control=str(control),
        environment=options.env,
        only=[name for name in (options.only or "").split(",") if name],
        logs=options.logs.absolute() if options.logs else None,
        warn=warn,
    )
    try:
        return apps.spec(document, start)
    except apps.AppsError as error:
        raise CommandError(str(error)) from None


def _program(options: argparse.Namespace) -> dict[str, Any]:
    """PM2's keys that were given as options."""
    found = {name.removeprefix("pm2_"): value for name, value in vars(options).items() if name.startswith("pm2_")}
    return {key: True if value == [True] else value for key, value in found.items() if value is not None}


# --- where a supervisor is ---


def _ask(options: argparse.Namespace, socket: Path) -> int:
    """Ask it: for what it knows by name, and else for new apps."""
    first = options.target[0] if options.target else ""
    is_name = first and not source.is_apps_file(first) and not Path(first).exists()
    if is_name and not options.after and not _program(options):
        environment: dict[str, Any] = {"environment": apps.without(os.environ)} if options.update_env else {}
        asking.ask_at(socket, "start", select=options.target, **environment)
        return 0
    return _apply(options, socket, _document(options))


def _apply(options: argparse.Namespace, socket: Path, document: apps.Document) -> int:
    spec = _spec(options, document, socket)
    asking.ask_at(socket, "apply", spec=spec, only=[app["name"] for app in spec["apps"]])
    return 0


# --- becoming one ---


def is_under_pyinit(environ: Mapping[str, str]) -> bool:
    """Whether pyinit is above: it says so in the environment unless it will never kill; then its name tells."""
    if "PYINIT_STOP_BUDGET" in environ:
        return True
    pid = os.getppid()
    while pid > 0:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        if stat[stat.index("(") + 1 : stat.rindex(")")] == "pyinit":
            return True
        pid = int(stat.rpartition(")")[2].split()[1])
    return False


def pyinit_command() -> list[str]:
    """The command pyinit of this installation, else the one on PATH, else the Python engine."""
    beside = Path(sys.argv[0]).absolute().with_name("pyinit")
    found = str(beside) if os.access(beside, os.X_OK) and beside.is_file() else shutil.which("pyinit")
    return [found] if found else [sys.executable, "-I", "-m", "pyinit"]


def _myself(words: Sequence[str]) -> list[str]:
    """This program with other words: `sys.orig_argv` has the interpreter's options too."""
    mine = len(sys.orig_argv) - len(sys.argv) + 1
    return [sys.executable, *sys.orig_argv[1:mine], *words]


def _execute(command: Sequence[str]) -> NoReturn:
    """Become another program, with the environment and the dispositions that this one was given. Raises CommandError."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # CPython ignores both, and an ignored signal stays so over exec
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(command[0], list(command), given_environment())  # noqa: S606 - becoming it is the point
    except OSError as error:
        raise CommandError(f"start: cannot execute {command[0]}: {error.strerror}", 125) from None


def go_under_pyinit() -> None:
    """The same command line under `pyinit -s`; returns where pyinit is above already."""
    if not is_under_pyinit(os.environ):
        _execute([*pyinit_command(), "-s", "--", *_myself(sys.argv[1:])])


def _become_supervisor(options: argparse.Namespace) -> int:
    document = _document(options)
    spec = _spec(options, document, place(options))
    if not client.is_there(Path(spec["control"])):  # where the file's `control` is
        become(spec)
    return _apply(options, Path(spec["control"]), document)


def become(spec: Mapping[str, Any]) -> NoReturn:
    """Be the supervisor of these apps from now on. Raises CommandError."""
    _make_folders(spec)
    descriptor = os.memfd_create("pyinit-spec", 0)  # 0: it is to be inherited
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump(spec, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    main = Path(client.__file__).with_name("__main__.py")
    _execute([sys.executable, "-I", "-S", "-B", "-X", "utf8", str(main), str(descriptor)])


def place(options: argparse.Namespace) -> Path:
    """Where the new supervisor listens. Raises CommandError."""
    environ = {**os.environ, client.VARIABLE: str(options.socket)} if options.socket else os.environ
    try:
        return client.make_place(environ)
    except client.PlaceError as error:
        raise CommandError(f"start: {error}") from None


def _make_folders(spec: Mapping[str, Any]) -> None:
    """The folders of log files, as PM2 makes them. Raises CommandError."""
    for app in spec["apps"]:
        for key in ("stdout", "stderr", "combined"):
            path = app["logs"][key]
            if path is None:
                continue
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CommandError(
                    f"start: {app['name']}: no folder for its log file {path}: {error.strerror}"
                ) from None


# --- --detach ---


def _detach(options: argparse.Namespace) -> int:
    """Start it in a session of its own, and wait for the apps. Raises CommandError."""
    document = _document(options)
    socket = Path(
        _spec(options, document, place(options))["control"]
    )  # what is wrong is said here, where somebody reads
    if client.is_there(socket):  # where the file's `control` is
        return _apply(options, socket, document)
    return detach(socket, options.logs or log_folder())


def detach(socket: Path, logs: Path) -> int:
    """This command line in a session of its own, where it does not detach; when its apps are ready. Raises CommandError."""
    own = logs / "supervisor.log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        log = own.open("ab")
    except OSError as error:
        raise CommandError(f"start: {own} cannot be written: {error.strerror}; name a folder with --logs") from None
    begun = log.tell()
    with log:
        child = subprocess.Popen(
            [*pyinit_command(), "-s", "--", *_myself(in_foreground(sys.argv[1:], socket, logs))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while child.poll() is None and not client.is_there(socket):
            time.sleep(0.02)
        client.ask(socket, {"do": "wait", "select": ["all"]}, asking.show_event)
    except (client.NoSupervisorError, client.GoneError):
        # apps that end at once leave it nothing to run: it may have ended at any point of the above
        raise CommandError(f"start: the supervisor has ended with {child.wait()}: {_last_words(own, begun)}") from None
    except client.ControlError as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        raise CommandError(
            "start: interrupted; the supervisor goes on with it: see pyinitctl list, or kill", 130
        ) from None
    finally:
        child.returncode = child.returncode or 0  # it is to outlive this process: no warning about that
    print(f"started; output in {logs}, control socket {socket}")
    return 0


def in_foreground(words: Sequence[str], socket: Path, logs: Path) -> list[str]:
    """The words of the detached one: the same, but not to detach once more (also -da says so), with its socket and its folder."""
    at = words.index("--") if "--" in words else len(words)
    return [*words[:at], "--no-daemon", "--socket", str(socket), "--logs", str(logs), *words[at:]]


def log_folder() -> Path:
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "pyinit"
    return Path("/var/log/pyinit") if os.geteuid() == 0 else Path.home() / ".local/state/pyinit"


def _last_words(path: Path, begun: int) -> str:
    """What the supervisor said last since then: the line before pyinit's own, which tells the exit status once more."""
    with path.open("rb") as file:
        file.seek(begun)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    said = [line for line in lines if not line.startswith("pyinit: exit ")]
    return said[-1] if said else "it said nothing"
