"""Lints files: which they are, what they launch, what the rules say of that, and which comments excuse it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.lint import compose, dockerfile, judges, kubernetes, nodes
from pyinit.lint.catalogue import BY_ID, RULES, Rule
from pyinit.lint.findings import Finding, Place, UnreadableError

if TYPE_CHECKING:
    from pyinit.lint.launch import Images, Launch

DOCKERFILE = re.compile(r"(?i)(dockerfile|containerfile)([._-].+)?|.+\.(dockerfile|containerfile)")
NO_DOCKERFILE = re.compile(
    r"(?i).*\.(dockerignore|containerignore|md|rst|txt|j2|jinja2?|tpl|tmpl|template|erb|in|bak|orig|py|sh)"
)
YAML = re.compile(r"(?i).+\.ya?ml")
COMPOSE = re.compile(r"(?i)(docker-)?compose([._-].+)?\.ya?ml")
PASSED_OVER = frozenset({"node_modules", "venv", "__pycache__", "vendor", "site-packages"})
"""Folders of other people's files; those whose names begin with a dot are left out as well."""

COMMENT = re.compile(r"(?:^|(?<=\s))#\s*pyinit:\s*ignore=([\w,]*)[\s:;,–—-]*(.*)$")


@dataclass
class Outcome:
    """What came of it. `problems`: files that could not be read, by path; `notes`: what was not looked at."""

    findings: list[Finding] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[Finding]:
        """Those that nobody has excused."""
        return [one for one in self.findings if not one.ignored]

    @property
    def status(self) -> int:
        """The exit status: 0 nothing, 1 findings, 2 a file that cannot be judged."""
        return 2 if self.problems else 1 if self.counted else 0


@dataclass(frozen=True)
class Request:
    """What is wanted: rules, the build context of Dockerfiles (None: their folder, then the current one), somebody who knows images."""

    rules: Sequence[Rule] = RULES
    context: Path | None = None
    images: Images | None = None


def lint(paths: Sequence[Path], request: Request) -> Outcome:
    """Lint files, and what is found by name in folders."""
    outcome = Outcome()
    for path in paths:
        if path.is_dir():
            for found in in_folder(path):
                _file(found, request, outcome, is_named=False)
        else:
            _file(path, request, outcome, is_named=True)
    outcome.findings = sorted(set(outcome.findings), key=lambda one: (one.place, one.rule, one.message))
    return outcome


def in_folder(folder: Path) -> Iterator[Path]:
    """The files in a folder that may be of interest, in their order. Links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in PASSED_OVER)
        for name in sorted(files):
            if is_dockerfile(name) or YAML.fullmatch(name):
                yield Path(root) / name


def is_dockerfile(name: str) -> bool:
    """By its name."""
    return bool(DOCKERFILE.fullmatch(name)) and not NO_DOCKERFILE.fullmatch(name) and not YAML.fullmatch(name)


def _file(path: Path, request: Request, outcome: Outcome, *, is_named: bool) -> None:
    shown = str(path)
    if shown in outcome.files:
        return
    try:
        launches = _launches(path, request)
    except UnreadableError as error:
        # templates and the like end in .yaml too; only what was asked for must be readable
        if is_named or is_dockerfile(path.name) or COMPOSE.fullmatch(path.name):
            outcome.problems[shown] = str(error)
        return
    if launches is None:
        if is_named:
            outcome.notes.append(f"{shown}: neither a Compose file nor a manifest of Kubernetes: nothing to look at")
        return
    outcome.files.append(shown)
    comments: dict[str, Comments] = {shown: Comments.of(path)}
    found = [one for launch in launches for one in _judge(launch, request)]
    if any(rule.id == "PI001" for rule in request.rules):
        found += comments[shown].faults
    for one in found:
        if one.place.path not in comments:
            comments[one.place.path] = Comments.of(Path(one.place.path))
        reason = comments[one.place.path].reason(one)
        outcome.findings.append(one.excused(reason) if reason else one)


def _launches(path: Path, request: Request) -> list[Launch] | None:
    """None where the file is of no kind that is known. Raises UnreadableError."""
    shown = str(path)
    try:
        if not YAML.fullmatch(path.name):
            return list(dockerfile.read(path, request.context).launches())
        documents = nodes.read(path)
    except ValueError as error:  # a name with a NUL
        raise UnreadableError(str(error)) from None
    found: list[Launch] = []
    is_known = False
    for document in documents:
        if kubernetes.is_manifest(document):
            found += kubernetes.launches(document, shown)
            is_known = True
        elif compose.is_compose(document):
            found += compose.launches(document, shown)
            is_known = True
    return found if is_known else None


def _judge(launch: Launch, request: Request) -> Iterator[Finding]:
    about = launch.upon_official()
    if request.images is not None and launch.image is not None and "$" not in launch.image.text:
        image = request.images.image(launch.image.text)
        about = launch.upon(image) if image is not None else about
    for rule in request.rules:
        found = rule.judge(about) if rule.judge else ()
        if rule.id == "PI403":
            found = judges.hook_without_program(launch, request.images)
        for one in found:
            # what a service inherits from its Dockerfile is said of the Dockerfile
            if launch.place.path == one.place.path or launch.kind.value == "Dockerfile":
                yield one


# --- comments ---


@dataclass(frozen=True)
class Comment:
    """`# pyinit: ignore=PI101 the reason`. `last`: the line of what it is about, or its own where it stands behind something."""

    line: int
    column: int
    rules: tuple[str, ...]
    reason: str
    last: int


@dataclass(frozen=True)
class Comments:
    """Those of a file."""

    path: str
    found: tuple[Comment, ...] = ()

    @classmethod
    def of(cls, path: Path) -> Comments:
        """None where the file cannot be read."""
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        except (OSError, ValueError):
            return cls(str(path))
        return cls(str(path), tuple(_comments(lines, inline=not is_dockerfile(path.name))))

    def reason(self, finding: Finding) -> str:
        """Why a finding is excused; empty where it is not."""
        first, last = finding.place.lines
        for one in self.found:
            if finding.rule in one.rules and one.reason and first <= one.last <= last:
                return one.reason
            if finding.rule in one.rules and one.reason and first <= one.line <= last:
                return one.reason
        return ""

    @property
    def faults(self) -> Iterator[Finding]:
        """PI001."""
        for one in self.found:
            unknown = [rule for rule in one.rules if rule not in BY_ID]
            if one.reason and one.rules and not unknown:
                continue
            what = f"there is no rule {unknown[0]!r}" if unknown else "no reason" if one.rules else "no rule"
            yield Finding(
                "PI001",
                Place(self.path, one.line, one.column),
                f"an ignore comment that does not count: {what}",
                "Who reads it later must be able to tell whether the reason still holds.",
                "# pyinit: ignore=PI101 the reason, in words",
            )


def _comments(lines: Sequence[str], *, inline: bool) -> Iterator[Comment]:
    for number, line in enumerate(lines, 1):
        found = COMMENT.search(line)
        if found is None:
            continue
        is_alone = line.lstrip().startswith("#")
        if not is_alone and not inline:
            continue
        last = number
        if is_alone:
            last = next(
                (
                    n
                    for n, one in enumerate(lines[number:], number + 1)
                    if one.strip() and not one.lstrip().startswith("#")
                ),
                number,
            )
        rules = tuple(rule.upper() for rule in found[1].split(",") if rule)
        yield Comment(number, found.start() + 1, rules, found[2].strip(), last)
