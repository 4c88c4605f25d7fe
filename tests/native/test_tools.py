"""Each tool that looks at the C code finds what is broken on purpose, and lets pass what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests" / "native"
ONE_TEST = ("tests/engine/test_bad_input.py::test_program_empty", "-q")

OFF_BY_ONE = ("text.c", "buffer + size - 1, false", "buffer + size, false")
OVERFLOW = (
    "options.c",
    "duration >= NEVER - instant ? NEVER : instant + duration",
    "false ? NEVER : instant + duration",
)
OUT_OF_BOUNDS = ("forensics.c", "rest <= opening || ", "")
KILL_ANYWHERE = ("options.c", "if (!is_last)\n", "if (false)\n")
NO_ESCAPES = ("text.c", "if (special != NULL) {", "if (false) {")

pytestmark = pytest.mark.timeout(400)


def broken(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the engine's C files in which these texts are others."""
    source = folder / "native"
    shutil.copytree(ROOT / "pyinit" / "native", source, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, text, other in changes:
        before = (source / name).read_text()
        assert before.count(text) == 1, (name, text)
        (source / name).write_text(before.replace(text, other))
    return source


def ran(*command: str | Path, environ: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """Exit status and output."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environ, cwd=ROOT, check=False)
    return done.returncode, done.stdout + done.stderr


def instrumented(source: Path, *options: str) -> tuple[int, str]:
    """One test with the build of these files; how many lines it reaches is not what this is about."""
    return ran(
        sys.executable, TOOLS / "instrumented.py", "--source", source, *(options or ("--least", "0")), "--", *ONE_TEST
    )


def fuzzed(source: Path, fuzzer: str) -> tuple[int, str]:
    """A few seconds of one fuzzer on these files."""
    return ran(
        TOOLS / "fuzz" / "run",
        "5",
        fuzzer,
        environ={**os.environ, "SOURCE": str(source), "FOUND": str(source / "found")},
    )


def test_lint_finds_what_each_tool_is_for(tmp_path: Path) -> None:
    """A conversion that loses bits, an array that is too short."""
    shutil.copy(ROOT / ".clang-tidy", tmp_path)  # it is looked for beside the file and above
    file = tmp_path / "broken.c"
    file.write_text(
        "#include <string.h>\n"
        "int broken(const char *text);\n"
        "int broken(const char *text) {\n"
        "    char few[2] = {0};\n"
        "    const char *nothing = 0;\n"
        "    few[2] = 'x';\n"
        "    int length = strlen(text) + *nothing;\n"
        "    return length + few[0];\n"
        "}\n"
    )
    status, output = ran(TOOLS / "lint", file)
    assert status == 1, output
    for tool in ("gcc", "clang", "clang-tidy", "cppcheck"):
        assert f"{tool}: FAILED" in output, output


def test_sanitizers_pass_what_is_sound(tmp_path: Path) -> None:
    """Positive control; and the one test reaches far from everything, which fails unless it is allowed."""
    source = broken(tmp_path)
    status, output = instrumented(source)
    assert status == 0, output
    status, output = instrumented(source, "--least", "90")
    assert status == 1, output
    assert "FAILED: " in output, output


@pytest.mark.parametrize(
    ("change", "words", "report"),
    [
        (OFF_BY_ONE, ["x" * 9000], "buffer-overflow"),
        (OVERFLOW, ["--stop", "TERM:9223372036s,INT:1s,KILL", "true"], "signed integer overflow"),
    ],
)
def test_sanitizers_find_what_is_broken(
    tmp_path: Path, change: tuple[str, str, str], words: list[str], report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a report in a file, and as an exit status that is none of pyinit's."""
    monkeypatch.syspath_prepend(TOOLS)
    import instrumented as tool  # type: ignore[import-not-found] # noqa: PLC0415

    made = tmp_path / "made"
    made.mkdir()
    executable = tool.build(broken(tmp_path, change), made)
    done = subprocess.run([executable, *words], capture_output=True, check=False)
    assert done.returncode == 99, done
    assert report in "".join(file.read_text() for file in (made / "reports").iterdir())


def test_reports_of_sanitizers_are_shown(tmp_path: Path) -> None:
    """Beside the test that failed."""
    always = (
        "text.c",
        "size_t room = (size_t)(t->end - t->at);",
        "size_t room = (size_t)(t->end - t->at); length += 64;",
    )
    status, output = instrumented(broken(tmp_path, always))
    assert status == 1, output
    assert "ERROR: AddressSanitizer" in output, output
    assert "reports of sanitizers: 0" not in output, output


@pytest.mark.parametrize(
    ("fuzzer", "change", "words"),
    [
        ("shown", OFF_BY_ONE, "heap-buffer-overflow"),
        ("values", OVERFLOW, "signed integer overflow"),
        ("processes", OUT_OF_BOUNDS, "AddressSanitizer"),
        ("options", KILL_ANYWHERE, "nothing comes after KILL"),
        ("lines", NO_ESCAPES, "a JSON object"),
    ],
)
def test_fuzzers_find_what_is_broken(tmp_path: Path, fuzzer: str, change: tuple[str, str, str], words: str) -> None:
    """Memory, arithmetic, and properties."""
    status, output = fuzzed(broken(tmp_path, change), fuzzer)
    assert status == 1, output
    assert "FOUND SOMETHING" in output, output
    assert words in output, output
