#!/usr/bin/env python3
"""tests/native/instrumented.py: the native engine with sanitizers, through the tests of the level engine; and which lines they reach.

    .venv/bin/python tests/native/instrumented.py [--source FOLDER] [--least PERCENT] [-- PYTEST ARGUMENTS]

Builds with AddressSanitizer, UndefinedBehaviorSanitizer and gcov's counters; needs gcc. Fails when a test fails, when a sanitizer has
reported anything (whether or not a test noticed), and when fewer lines than --least (default 90 %) were executed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # for `support`

from support import engines  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = ROOT / "pyinit" / "native"
RUNTIME = Path(__file__).with_name("runtime.c")
LEVEL = "tests/engine"
PARSER = "tests/unit/test_native.py::test_the_same_policy_or_the_same_error"  # of the executable, too

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LANGUAGE = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-pie")
# the sanitizers inside: tests copy the executable, and change root and user
LINK = ("-no-pie", "--coverage", "-static-libasan", "-static-libubsan")
WRAPPED = ("_exit", "__gcov_execve", "__asan_handle_no_return")

PYTHON = {engines.PYTHON, *(way for way, engine in engines.WAYS.items() if engine == engines.PYTHON)}
"""What parameters of tests that run the other engine are called."""

NOT_HERE = {
    "tests/engine/test_refusals.py::test_memory_call_refused": "refuses mmap, which a sanitizer begins with",
    "tests/engine/test_shutdown.py::test_fork_bomb_during_the_sweep": "a race, which a build several times slower may lose",
    "tests/engine/test_start.py::test_steady_state_is_light_and_named_pyinit": "measures memory, which a sanitizer has more of",
}
"""Tests that no instrumented build can pass, and why."""


def build(source: Path, folder: Path) -> Path:
    """The instrumented executable, made of the C files in `source`; counters and reports are left in `folder`."""
    reports = folder / "reports"
    reports.mkdir()
    objects = []
    for file in (*sorted(source.glob("*.c")), RUNTIME):
        made = folder / f"{file.stem}.o"
        special = [f'-DREPORTS="{reports}"'] if file == RUNTIME else ["--coverage"]
        subprocess.run(["gcc", *LANGUAGE, *SANITIZERS, *special, "-c", "-o", made, file], check=True)
        objects.append(made)
    executable = folder / "pyinit"
    wrap = ",".join(f"--wrap={name}" for name in WRAPPED)
    subprocess.run(["gcc", *LINK, *SANITIZERS, f"-Wl,{wrap}", "-o", executable, *objects], check=True)
    for notes in folder.glob("*.gcno"):
        counters = notes.with_suffix(".gcda")
        counters.touch()
        counters.chmod(0o666)  # tests run it as other users
    reports.chmod(0o777)
    folder.chmod(0o755)
    return executable


class OnlyNative:
    """A plugin for pytest: what does not run the Python engine, but for those that no instrumented build can pass."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect the others."""
        kept: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            name = item.nodeid.partition("[")[0]
            wanted = _is_native(item) and name not in NOT_HERE
            (kept if wanted else others).append(item)
            if _is_native(item) and not wanted:
                self.left_out[name] += 1
        config.hook.pytest_deselected(items=others)
        items[:] = kept


def _is_native(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    return not any(isinstance(value, str) and value.split()[0] in PYTHON for value in params.values() if value)


@dataclass
class Coverage:
    """The lines of one file."""

    executed: set[int] = field(default_factory=set)
    missed: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By function."""

    @property
    def lines(self) -> int:
        """How many have code."""
        return len(self.executed) + sum(map(len, self.missed.values()))

    @property
    def percent(self) -> float:
        """How many of a hundred were executed."""
        return 100 * len(self.executed) / self.lines


def coverage(folder: Path) -> dict[str, Coverage]:
    """What the counters in `folder` say, by file."""
    for counters in folder.glob("*.gcda"):
        if counters.stat().st_size == 0:
            counters.unlink()  # nothing has come to its end; without the file, gcov counts that
    told = subprocess.run(
        ["gcov", "--json-format", "--stdout", *folder.glob("*.gcno")],
        check=True,
        capture_output=True,
        cwd=folder,
    ).stdout
    found: dict[str, Coverage] = {}
    for unit in told.splitlines():
        for file in json.loads(unit)["files"]:
            about = Coverage()
            counts: Counter[tuple[int, str]] = Counter()
            for line in file["lines"]:
                counts[line["line_number"], line.get("function_name", "")] += line["count"]
            for (number, function), count in sorted(counts.items()):
                if count:
                    about.executed.add(number)
                else:
                    about.missed[function].append(number)
            found[Path(file["file"]).name] = about
    return found


def spans(numbers: list[int]) -> str:
    """[3, 4, 5, 9] as `3-5 9`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return " ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def table(found: dict[str, Coverage]) -> Iterator[str]:
    """A row for each file, and below it what was not executed."""
    for name, about in sorted(found.items()):
        yield f"{name:14} {len(about.executed):5} of {about.lines:4} lines  {about.percent:5.1f} %"
        yield from (f"    not executed: {function}() {spans(missed)}" for function, missed in about.missed.items())


def main() -> int:
    """Build, test, count; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE, help="the folder with the C files")
    parser.add_argument("--least", type=float, default=90, help="how many percent of the lines must be executed")
    parser.add_argument("pytest", nargs="*", help="after --, instead of the whole level")
    given = parser.parse_args()
    os.chdir(ROOT)
    for stale in (
        name for name in NOT_HERE if f"def {name.partition('::')[2]}(" not in Path(name.partition("::")[0]).read_text()
    ):
        print(f"instrumented: {stale} is to be left out, and there is no such test")
        return 1
    with tempfile.TemporaryDirectory(prefix="pyinit-instrumented-") as name:
        folder = Path(name)
        os.environ["PYINIT_NATIVE"] = str(build(given.source, folder))
        plugin = OnlyNative()
        arguments = given.pytest or [LEVEL, PARSER, "-q"]
        tests = pytest.main([*arguments, "-p", "no:cacheprovider"], plugins=[plugin])
        found = coverage(folder)
        reports = sorted((folder / "reports").iterdir())
        texts = [report.read_text(errors="replace") for report in reports[:5]]
    executed, lines = sum(len(f.executed) for f in found.values()), sum(f.lines for f in found.values())
    percent = 100 * executed / lines
    print(
        "\nlines of C executed:",
        *table(found),
        f"{'all':14} {executed:5} of {lines:4} lines  {percent:5.1f} %",
        sep="\n",
    )
    for left_out, count in plugin.left_out.items():
        print(f"not run: {left_out} ({count}): {NOT_HERE[left_out]}")
    print(f"reports of sanitizers: {len(reports)}", *texts, sep="\n")
    if percent < given.least:
        print(f"FAILED: {percent:.1f} % of the lines were executed, and at least {given.least:g} % must be")
    return int(tests != 0 or bool(reports) or percent < given.least)


if __name__ == "__main__":
    sys.exit(main())
