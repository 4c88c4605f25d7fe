"""`pyinitctl native path [ARCH]`: where the native executable lies, for a Dockerfile's `COPY --from`."""

import argparse
import sys
from importlib import metadata
from pathlib import Path

from pyinit.ctl.errors import CommandError
from pyinit.native import elf
from pyinit.native.targets import TARGETS, Target, find

DISTRIBUTION = "pyinit-pid1"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `native` to the commands."""
    parser = commands.add_parser("native", help="the native executable", description="The native executable.")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    path = actions.add_parser(
        "path",
        help="print where it lies",
        description="Print where the native executable lies: one static file, for any image. "
        'In a Dockerfile: RUN cp "$(pyinitctl native path)" /pyinit, then COPY --from= that stage.',
    )
    path.add_argument(
        "target",
        nargs="?",
        type=_target,
        metavar="ARCH",
        help=f"it must be for this machine: {', '.join(TARGETS)} (default: the one that is installed)",
    )
    path.set_defaults(run=print_path)


def print_path(options: argparse.Namespace) -> int:
    """Print the path. Raises CommandError when this installation has no such executable."""
    print(executable(options.target))
    return 0


def executable(wanted: Target | None = None) -> Path:
    """The installed executable, for that machine or for whichever it is. Raises CommandError when there is none."""
    script = _script()
    with script.open("rb") as file:
        is_launcher = file.read(2) == b"#!"
    if is_launcher:
        raise CommandError(
            f"no native executable here: this is the pure wheel, whose {script} starts Python. {_remedy(wanted)}"
        )
    try:
        found = elf.read(script).target
    except elf.ElfError as error:
        raise CommandError(f"no native executable here: {error}") from None
    if wanted and wanted != found:
        name = found.name if found else "an unknown machine"
        raise CommandError(f"no native executable for {wanted.name} here: {script} is for {name}. {_remedy(wanted)}")
    return script


def _script() -> Path:
    """The file `pyinit` of this installation."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        raise CommandError(
            f"no native executable here: {DISTRIBUTION} is not installed in {sys.prefix}, this is a source tree. "
            "Install a wheel, or build it: python -m pyinit.native.build"
        ) from None
    recorded = [Path(str(file.locate())).resolve() for file in files if file.name == "pyinit"]
    beside = Path(sys.argv[0]).resolve().with_name("pyinit")  # pip install --target moves scripts and does not say so
    for path in (*recorded, beside):
        if path.is_file():
            return path
    looked = ", ".join(str(path) for path in (*recorded, beside))
    raise CommandError(
        f"the command pyinit of this installation is gone (looked for {looked}): install {DISTRIBUTION} again"
    )


def _remedy(wanted: Target | None) -> str:
    """How to get the one for that machine."""
    tag = wanted.tags[0] if wanted else "manylinux_2_17_x86_64"
    return (
        f"Write instead: pip install --no-deps --only-binary=:all: --platform={tag} --target=FOLDER {DISTRIBUTION}, "
        "and take FOLDER/bin/pyinit"
    )


def _target(name: str) -> Target:
    target = find(name)
    if target is None:
        raise argparse.ArgumentTypeError(
            f"{name!r} is no machine that pyinit is built for: there are {', '.join(TARGETS)}"
        )
    return target
