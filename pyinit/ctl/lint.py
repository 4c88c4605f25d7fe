"""`pyinitctl lint PATH...`: what Dockerfiles, Compose files and manifests say of a stop, before anything is built."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pyinit.ctl.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinit.containers.engine import Container, Engine
    from pyinit.lint.catalogue import Rule
    from pyinit.lint.launch import Image

IMPOSSIBLE = 2
"""Exit status when something could not be judged."""

NEEDS = {
    "dockerfile": "dockerfile",
    "tree_sitter": "tree-sitter",
    "tree_sitter_bash": "tree-sitter-bash",
    "yaml": "pyyaml",
}
"""The modules of the extra, and the packages that bring them."""

DESCRIPTION = """\
Reads Dockerfiles (their last stage, and the entry scripts that they copy), Compose files and Kubernetes manifests, and says what will not
stop as it should: shells in front of programs, inits that are none, stop signals that nobody hears, grace periods that do not fit. In a
folder the files are found by name."""

EPILOG = """\
exit status: 0 nothing was found; 1 something was; 2 a file could not be read, or the words here are wrong. A comment
`# pyinit: ignore=PI101 the reason` above a line, or behind it, excuses it; without a reason it does not count."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `lint` to the commands."""
    parser = commands.add_parser(
        "lint",
        help="judge Dockerfiles, Compose files and manifests",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a file, or a folder to look through")
    parser.add_argument(
        "--format", choices=("text", "json", "sarif"), default="text", help="the form of the report (text)"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the report there instead of to stdout")
    parser.add_argument("--select", metavar="ID,...", help="only these rules; PI1 is all that begin with it")
    parser.add_argument("--ignore", metavar="ID,...", help="without these rules")
    parser.add_argument(
        "--context",
        metavar="FOLDER",
        type=Path,
        help="the build context, where entry scripts are looked for (the Dockerfile's folder, else this one)",
    )
    parser.add_argument(
        "--image",
        action="store_true",
        help="ask the container engine about the images that files name; nothing is pulled",
    )
    parser.add_argument("--explain", metavar="ID", help="print the page of a rule, and end")
    parser.add_argument("--list-rules", action="store_true", help="print all rules, and end")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Lint. Raises CommandError."""
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise CommandError(f"lint needs {' and '.join(missing)}: pip install 'pyinit-pid1[lint]'", IMPOSSIBLE)
    from pyinit.lint.catalogue import RULES  # noqa: PLC0415 - the extra may not be installed

    if options.list_rules:
        print("\n".join(f"{rule.id}  {rule.title} ({rule.files}): {rule.finds}" for rule in RULES))
        return 0
    if options.explain:
        for rule in _chosen(options.explain, RULES):
            print(rule.page, end="")
        return 0
    paths = [*options.paths, *(Path(word) for word in options.after)]
    if not paths:
        raise CommandError("lint: which files? pyinitctl lint PATH... (. is this folder)", IMPOSSIBLE)
    for path in [*paths, *([options.context] if options.context else [])]:
        if not path.exists():
            raise CommandError(f"lint: {path}: there is no such file or folder", IMPOSSIBLE)
    rules = _chosen(options.select, RULES) if options.select else list(RULES)
    left_out = _chosen(options.ignore, RULES) if options.ignore else []
    return lint(options, paths, [rule for rule in rules if rule not in left_out])


def _chosen(words: str, rules: Sequence[Rule]) -> list[Rule]:
    found: list[Rule] = []
    for word in words.upper().split(","):
        those = [rule for rule in rules if word and rule.id.startswith(word)]
        if not those:
            raise CommandError(
                f"lint: there is no rule {word!r}: there are {', '.join(rule.id for rule in rules)}", IMPOSSIBLE
            )
        found += those
    return found


def lint(options: argparse.Namespace, paths: Sequence[Path], rules: Sequence[Rule]) -> int:
    """Judge, and report."""
    from pyinit.lint import linter, report  # noqa: PLC0415 - the extra may not be installed

    with ExitStack() as undo:
        images = undo.enter_context(Images()) if options.image else None
        request = linter.Request(rules, options.context, images)
        outcome = linter.lint(paths, request)
        notes = [*outcome.notes, *(images.notes if images else ())]
    form = {"text": report.text, "json": report.as_json, "sarif": report.sarif}[options.format]
    said = form(outcome)
    _write(options.output, said if said.endswith("\n") else said + "\n")
    for note in notes:
        print(f"pyinitctl: lint: {note}", file=sys.stderr)
    for path, why in outcome.problems.items():
        print(f"pyinitctl: lint: {path}: {why}", file=sys.stderr)
    return outcome.status


def _write(path: Path | None, text: str) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"lint: {path} cannot be written: {error.strerror}", IMPOSSIBLE) from None


class Images:
    """What the engine knows of images. Without an engine, or without an image, nothing is known, and a note says so."""

    FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._undo = ExitStack()
        self._engine: Engine | None = None
        self._images: dict[str, Image | None] = {}
        self._containers: dict[str, Container | None] = {}

    def __enter__(self) -> Self:
        if find_spec("docker") is None:
            self.notes.append(
                "--image needs the package docker (pip install 'pyinit-pid1[verify]'): no image was asked"
            )
            return self
        from pyinit.containers.engine import Engine, EngineError  # noqa: PLC0415 - an extra

        try:
            self._engine = self._undo.enter_context(Engine())
        except EngineError as error:
            self.notes.append(f"no image was asked: {error}")
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def image(self, name: str) -> Image | None:
        """What an image says; None where it is not here."""
        if name not in self._images:
            self._images[name] = self._ask(name)
        return self._images[name]

    def _ask(self, name: str) -> Image | None:
        from pyinit.lint.launch import Image  # noqa: PLC0415

        if self._engine is None:
            return None
        from pyinit.containers.engine import EngineError  # noqa: PLC0415 - an extra

        try:
            config = self._engine.image(name, pull="never").get("Config") or {}
        except EngineError as error:
            self.notes.append(f"not asked: {error}")
            return None
        environment = dict(one.partition("=")[::2] for one in config.get("Env") or [])
        entrypoint, command = ([str(word) for word in config.get(key) or []] for key in ("Entrypoint", "Cmd"))
        return Image(entrypoint, command, environment, str(config.get("StopSignal") or ""))

    def lacks(self, name: str, program: str) -> bool:
        """Looked for in a container of it that is never started."""
        image = self.image(name)
        if image is None or self._engine is None:
            return False
        from docker.errors import NotFound  # noqa: PLC0415 - an extra

        from pyinit.containers.engine import BROKEN, EngineError  # noqa: PLC0415

        folders = image.environment.get("PATH", "").split(":") if image.environment.get("PATH") else self.FOLDERS
        places = [program] if program.startswith("/") else [f"{folder}/{program}" for folder in folders]
        if "/" in program and not program.startswith("/"):
            return False  # it depends on the working directory
        try:
            container = self._containers.get(name) or self._engine.create(name, ["never started"])
        except EngineError as error:
            self.notes.append(f"not asked: {error}")
            return False
        self._containers[name] = container
        for place in places:
            try:
                container.raw.get_archive(place)[0].close()  # type: ignore[attr-defined] # a generator
            except NotFound:
                continue
            except BROKEN:
                return False
            return False
        return True
