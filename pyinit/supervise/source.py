"""Files of apps by their kind: TOML is ours; JSON, YAML and JavaScript are PM2's and become what the TOML would say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyinit.supervise import apps, pm2
from pyinit.supervise.apps import AppsError, Document

CANDIDATES = (
    "apps.toml",
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.mjs",
    "ecosystem.config.json",
    "ecosystem.json",
    "ecosystem.config.yaml",
    "ecosystem.config.yml",
    "ecosystem.yaml",
    "ecosystem.yml",
)
"""What is looked for when no file is named, in this order."""

JAVASCRIPT = re.compile(r"\.config\.(js|cjs|mjs)$")
TIME_FOR_NODE = 30
"""Seconds that a configuration may take."""

MODULE = """\
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
const [file, answer] = process.argv.slice(-2);
const found = await import(pathToFileURL(file));
writeFileSync(answer, JSON.stringify(found.default ?? found));
process.exit(0);
"""
"""Modules of both kinds: `import` gives `module.exports` as the default. The answer goes to a file, for a configuration may print."""

EXPRESSION = """\
import { readFileSync, writeFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';
const [file, answer] = process.argv.slice(-2);
writeFileSync(answer, JSON.stringify(runInNewContext('(' + readFileSync(file, 'utf8') + ')')));
"""
"""PM2 reads JSON as JavaScript: comments and trailing commas are allowed."""


def is_apps_file(name: str) -> bool:
    """Whether a word on the command line names a file of apps, not a program: PM2's rule, and TOML."""
    return name.endswith((".toml", ".json", ".yaml", ".yml")) or JAVASCRIPT.search(name) is not None


def find(folder: Path) -> Path:
    """The file to take where none is named. Raises AppsError."""
    for name in CANDIDATES:
        if (folder / name).is_file():
            return folder / name
    raise AppsError(f"there is no file of apps in {folder}: write apps.toml, or name a file or a program")


def read(path: Path, cwd: Path, warn: Callable[[str], None], environment: str = "") -> Document:
    """A file of any kind. Raises AppsError."""
    if not path.is_file():
        raise AppsError(f"there is no file {path}; correct its name")
    if path.suffix == ".toml":
        return apps.read(path)
    setting = pm2.Setting(cwd, path.resolve().parent, str(path), warn, environment)
    return Document(pm2.translate(_declared(path), setting), setting.folder, str(path))


def _declared(path: Path) -> Any:
    if JAVASCRIPT.search(path.name) or path.suffix in (".js", ".cjs", ".mjs"):
        return ask_node(MODULE, path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AppsError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            if shutil.which("node"):
                return ask_node(EXPRESSION, path)
            raise AppsError(f"{path} is not JSON: {error}") from None
    if path.suffix in (".yaml", ".yml"):
        return _yaml(path, text)
    raise AppsError(
        f"{path} is no file of apps; write .toml, .json, .yaml, .yml, .config.js, .config.cjs or .config.mjs"
    )


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise AppsError(
            f"{path}: YAML needs PyYAML: pip install 'pyinit-pid1[supervise]', or write the file as JSON or TOML"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise AppsError(f"{path}{place} is not YAML: {getattr(error, 'problem', None) or error}") from None


def ask_node(program: str, path: Path) -> Any:
    """What a JavaScript file says. Raises AppsError."""
    node = shutil.which("node")
    if node is None:
        raise AppsError(
            f"{path} is JavaScript, and there is no node on PATH to read it; "
            "write apps.toml: `pyinitctl convert` makes it, where there is a node"
        )
    with tempfile.TemporaryDirectory(prefix="pyinitctl-") as folder:
        answer = Path(folder) / "answer.json"
        command = [node, "--input-type=module", "--eval", program, "--", str(path.resolve()), str(answer)]
        environ = {name: value for name, value in os.environ.items() if name != "NODE_CHANNEL_FD"}
        try:
            done = subprocess.run(
                command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_FOR_NODE, check=False
            )
        except subprocess.TimeoutExpired:
            raise AppsError(
                f"{path}: node had not read it after {TIME_FOR_NODE} s; a configuration must not wait"
            ) from None
        except OSError as error:
            raise AppsError(f"{path}: node cannot be run: {error.strerror}") from None
        if done.returncode != 0 or not answer.exists():
            raise AppsError(f"{path}: node cannot read it: {_reason(done.stderr.decode('utf-8', 'replace'))}")
        return json.loads(answer.read_text(encoding="utf-8"))


def _reason(stderr: str) -> str:
    """The line of node's stderr that says what is wrong, with the place when it is there."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = next(
        (line for line in lines if re.match(r"(\w*Error|Uncaught)\b.*:", line)), lines[-1] if lines else "it ended"
    )
    place = next((found[1] for line in lines if (found := re.match(r"(?:file://)?(/\S+:\d+)$", line))), "")
    return f"{said} ({place})" if place else said
