"""--help, --version, --license, and the same option table for the README and the manual page. Loaded only when asked for."""

import sys

from pyinit.init.options import OPTIONS, Option, Policy, show
from pyinit.init.start import VERSION

USAGE = "pyinit [OPTIONS] [--] PROGRAM [ARG...]"
SUMMARY = "Run PROGRAM as the one child of a container's PID 1: forward signals, reap zombies, stop in order, say who did not."
ENVIRONMENT = (
    "A variable stands for its option where the command line does not name it; an empty one counts as not set. "
    "Durations: 8s, 1500ms, 2m, 10 (seconds), infinity. Signals: TERM, SIGTERM, 15, RTMIN+3."
)
EXIT_STATUSES = (
    ("0..255", "the program's own exit status, 128+n when signal n ended it"),
    ("137", "the program had to be killed"),
    ("127", "the program was not found"),
    ("126", "it was found but cannot be executed"),
    ("125", "pyinit itself failed: a wrong option, no process to be had"),
)
WIDTH = 100
MARK = 34
"""Where the descriptions of --help begin."""


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def written(option: Option) -> str:
    """`-t, --grace D`."""
    short = f"-{option.short}, " if option.short else ""
    return f"{short}--{option.long}{' ' + option.value if option.value else ''}"


def help_text() -> str:
    """What --help prints."""
    lines = [f"Usage: {USAGE}", "", *_wrap(SUMMARY, WIDTH)]
    section = ""
    for option in OPTIONS:
        if option.section != section:
            section = option.section
            lines += ["", f"{section}:"]
        indent = "  " if option.short else "      "
        notes = [f"[{option.env}]"] if option.env else []
        notes += [f"(default: {option.default})"] if option.default and option.value else []
        described = _wrap(" ".join([option.help, *notes]), WIDTH - MARK)
        head = indent + written(option)
        if len(head) >= MARK:
            lines.append(head)
            head = ""
        lines += [f"{head:{MARK}}{described[0]}", *(" " * MARK + line for line in described[1:])]
    lines += ["", "Environment:", *("  " + line for line in _wrap(ENVIRONMENT, WIDTH - 2))]
    lines += ["", "Exit status:", *(f"  {status:8}{meaning}" for status, meaning in EXIT_STATUSES)]
    lines += ["", "Example, in a Dockerfile:", '  ENTRYPOINT ["pyinit", "--"]', '  CMD ["nginx", "-g", "daemon off;"]']
    return "\n".join(lines) + "\n"


def markdown_options() -> str:
    """The README's option table."""
    rows = ["| option | variable | default | meaning |", "|---|---|---|---|"]
    for option in OPTIONS:
        env = f"`{option.env}`" if option.env else ""
        name = written(option).replace("|", "\\|")
        rows.append(f"| `{name}` | {env} | {option.default} | {option.help} |")
    return "\n".join(rows) + "\n"


def markdown_statuses() -> str:
    """The README's table of exit statuses."""
    return "\n".join(["| status | meaning |", "|---|---|", *(f"| {s} | {m} |" for s, m in EXIT_STATUSES)]) + "\n"


def manual_page() -> str:
    """pyinit(8), in man(7) macros."""

    def escaped(text: str) -> str:
        return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")

    lines = [
        f'.TH PYINIT 8 "" "pyinit {VERSION}"',
        ".SH NAME",
        r"pyinit \- PID 1 for containers",
        ".SH SYNOPSIS",
        f".B {escaped(USAGE)}",
        ".SH DESCRIPTION",
        escaped(SUMMARY),
        ".SH OPTIONS",
    ]
    for option in OPTIONS:
        default = f" Default: {option.default}." if option.default and option.value else ""
        lines += [".TP", f".B {escaped(written(option))}", escaped(option.help + "." + default)]
        if option.env:
            lines[-1] += f" Variable: {option.env}."
    lines += [".SH ENVIRONMENT", escaped(ENVIRONMENT), ".SH EXIT STATUS"]
    for status, meaning in EXIT_STATUSES:
        lines += [".TP", f".B {status}", escaped(meaning)]
    lines += [".SH SEE ALSO", ".BR signal (7), .BR pid_namespaces (7), .BR docker-stop (1)"]
    return "\n".join(lines) + "\n"


def version_text() -> str:
    """What --version prints: the engine belongs to it, since two may be installed under one name."""
    v = sys.version_info
    return f"pyinit {VERSION} (Python engine, {sys.implementation.name} {v.major}.{v.minor}.{v.micro})\n"


def policy_text(policy: Policy) -> str:
    """A policy, line by line, as the native engine writes it too."""
    if policy.about:
        return f"about={policy.about}\n"
    numbers = ("grace_chosen", "drain", "linger", "wait_all", "scope", "others")
    more = ("parent_death", "warn_reap", "json")
    subreaper = -1 if policy.subreaper is None else int(policy.subreaper)
    lines = [
        f"plan={','.join(f'{signal}:{duration}' for signal, duration in policy.plan)}",
        *(f"{name}={int(getattr(policy, name))}" for name in numbers),
        f"stop_signals={policy.stop_signals:x}",
        "rewrite=" + "".join(f"{a}:{sent}," for a, sent in enumerate(policy.rewrite) if a != sent),
        "expect=" + "".join(f"{code}," for code in policy.expect),
        f"subreaper={subreaper}",
        *(f"{name}={int(getattr(policy, name))}" for name in more),
        f"termination_log={show(policy.termination_log)}",
        f"verbosity={policy.verbosity}",
        *(f"program={show(word)}" for word in policy.program),
    ]
    return "\n".join(lines) + "\n"


def license_text() -> str:
    """The MIT licence, which must come with every copy."""
    return LICENSE


LICENSE = """\
MIT License

Copyright (c) 2026 the pyinit authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

TEXTS = {"help": help_text, "version": version_text, "license": license_text}
