"""`pyinitctl export kubernetes`: from a file of apps to manifests, where one machine is not enough."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from pyinit.ctl.errors import CommandError
from pyinit.ctl.start import warn, written
from pyinit.supervise import apps, export, source

WRONG = 2

DESCRIPTION = """\
Writes a Deployment, a Service, a PodDisruptionBudget and, for instances = "max", a HorizontalPodAutoscaler for each app of a file, to
stdout or a file: one process in each pod, with pyinit as PID 1, which has to be in the image. What becomes of nothing there is said on
stderr, key by key."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the word to the commands."""
    word = commands.add_parser(
        "export",
        help="write a file of apps as manifests of Kubernetes",
        description="Writes a file of apps for somebody else who runs them.",
        allow_abbrev=False,
    )
    parser = word.add_subparsers(title="for", metavar="WHOM", required=True).add_parser(
        "kubernetes",
        help="Deployment, Service, HorizontalPodAutoscaler and PodDisruptionBudget of each app",
        description=DESCRIPTION,
        epilog="exit status: 0 written; 1 it could not be done, stderr says why; 2 wrong usage.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="without one: apps.toml or ecosystem.config.js"
    )
    parser.add_argument("--image", metavar="IMAGE", help="the image of the pods; it has pyinit in it (needed)")
    parser.add_argument("--namespace", metavar="NAME", default="", help="the namespace to put them into")
    parser.add_argument(
        "--workdir", metavar="DIR", default="", help="where the file's folder is in the image (default: its WORKDIR)"
    )
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these apps of the file")
    parser.add_argument("--env", metavar="NAME", default="", help="with the variables that the file has for NAME")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write there; it must not exist yet")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write YAML. Raises CommandError."""
    if options.image is None:
        raise CommandError(
            "export: which image? A file of apps does not say; write --image registry.example/shop:1.2, with pyinit in it",
            WRONG,
        )
    if find_spec("yaml") is None:
        raise CommandError("export needs pyyaml: pip install 'pyinit-pid1[supervise]'", WRONG)
    import yaml  # noqa: PLC0415 - an extra

    target = export.Target(
        options.image,
        options.namespace,
        options.workdir,
        options.env,
        [name for name in (options.only or "").split(",") if name],
    )
    try:
        path = options.file or source.find(Path.cwd())
        found = export.kubernetes(source.read(path, path.resolve().parent, warn, options.env), target)
    except apps.AppsError as error:
        raise CommandError(f"export: {error}") from None
    for words in found.warnings:
        warn(words)
    head = f"# From {path.name}, by pyinitctl export kubernetes.\n"
    text = head + yaml.safe_dump_all(found.documents, sort_keys=False, explicit_start=True, width=120)
    return written("export", options.output, text)
