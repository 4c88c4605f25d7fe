"""The catalogue: one table of all rules. `pyinitctl lint --list-rules` prints it; each has a page in `rules/`, INDEX.md is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyinit.lint import judges

if TYPE_CHECKING:
    from pyinit.lint.findings import Finding
    from pyinit.lint.launch import Launch

PAGES = Path(__file__).parent / "rules"


@dataclass(frozen=True)
class Rule:
    """A row. `finds` is one line about what it finds, `files` in which. The rules without a judge are about more than one launch."""

    id: str
    title: str
    finds: str
    files: str
    judge: Callable[[Launch], Iterator[Finding]] | None = None

    @property
    def page(self) -> str:
        """Its page, in Markdown."""
        return (PAGES / f"{self.id}.md").read_text(encoding="utf-8")


DOCKERFILE, MANIFESTS, ALL = "Dockerfile", "Kubernetes, Compose", "Dockerfile, Kubernetes, Compose"

RULES: tuple[Rule, ...] = (
    Rule(
        "PI001",
        "an ignore comment that does not count",
        "`# pyinit: ignore=` without a reason, or of a rule that there is not",
        ALL,
    ),
    Rule(
        "PI101",
        "a shell in front of the program",
        "the shell form, or `sh -c`, where the shell stays",
        ALL,
        judges.shell_in_front,
    ),
    Rule(
        "PI102",
        "an entry script without exec",
        "a script that stays in front of the program",
        ALL,
        judges.script_without_exec,
    ),
    Rule(
        "PI201",
        "no init in front of a program that forks",
        "programs that are known to leave processes behind",
        ALL,
        judges.no_init,
    ),
    Rule(
        "PI202",
        "an init behind a shell",
        "an init that a shell starts, so that it is not PID 1",
        ALL,
        judges.init_behind_shell,
    ),
    Rule(
        "PI203",
        "tini or catatonit without --",
        "an init that takes the program's options for its own",
        ALL,
        judges.init_without_dashes,
    ),
    Rule("PI204", "two inits", "an init under an init, `init: true` in front of one", ALL, judges.two_inits),
    Rule(
        "PI205",
        "an init that is not PID 1",
        "a shared PID namespace that an init does not cope with",
        MANIFESTS,
        judges.init_not_pid_1,
    ),
    Rule(
        "PI301",
        "a stop signal that begins no stop",
        "STOPSIGNAL and stop_signal outside pyinit's, or SIGKILL",
        ALL,
        judges.stop_signal,
    ),
    Rule(
        "PI302", "pyinit's options are wrong", "what pyinit would refuse, in its own words", ALL, judges.wrong_options
    ),
    Rule(
        "PI401",
        "terminationGracePeriodSeconds is too short",
        "less than preStop + drain + plan",
        "Kubernetes",
        judges.pod_grace,
    ),
    Rule("PI402", "stop_grace_period is too short", "less than drain + plan", "Compose", judges.service_grace),
    Rule(
        "PI403", "a preStop command that the image lacks", "with --image, where an engine has the image", "Kubernetes"
    ),
)

BY_ID = {rule.id: rule for rule in RULES}


def index() -> str:
    """rules/INDEX.md."""
    rows = "".join(f"| [{rule.id}]({rule.id}.md) | {rule.title} | {rule.finds} | {rule.files} |\n" for rule in RULES)
    return (
        "# The rules of `pyinitctl lint`\n\nMade of the table in `catalogue.py`, by `tests/support/generate.py`.\n\n"
        f"| id | | finds | in |\n|---|---|---|---|\n{rows}"
    )
