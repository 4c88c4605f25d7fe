"""Whatever is in a file, lint says something of it and never breaks: random text, and real files with random wounds."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyinit.lint import report
from pyinit.lint.catalogue import RULES
from pyinit.lint.linter import Request, lint
from support.lint_pages import examples

DATA = Path(__file__).resolve().parents[1] / "data" / "lint"
DOCKERFILES = [path.read_text() for path in sorted(DATA.glob("*/Dockerfile"))]
SCRIPTS = [path.read_text() for path in sorted(DATA.glob("*/*.sh"))]
MANIFESTS = [
    text
    for rule in RULES
    for files in examples(rule).values()
    for name, text in files.items()
    if name.endswith(".yaml")
]
PIECES = (
    "FROM ", "\\\n", "<<E\n", "E\n", '["', '", "', "]", "$X", "${X:-", "}", "ONBUILD ", "# escape=`\n", "ENTRYPOINT ", "pyinit", "--",
    "tini", "sh", "-c", "exec ", "&", "&&", "| ", "()", "{ ", "; ", "\0", "\ud800", "é", "\t", "- ", ": ", "&a ", "*a", "<<: *a", "'",
    "\r\n", "!!x ", "? ", "COPY --from=", "STOPSIGNAL ", "9" * 30, "ENV A=", "CMD ", "ARG ", "-", "\x1b", " " * 9, "case x in ", "wait",
    "trap",
)  # fmt: skip


@st.composite
def wounded(draw: st.DrawFn, texts: list[str]) -> str:
    """A real file, in which pieces are cut out, put in, doubled."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 6))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 40))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.just(text[at : at + length]), st.text(max_size=5)))
        text = text[:at] + piece + text[at + draw(st.integers(0, length)) :]
    return text


def survives(folder: Path, name: str, text: str, script: str = "") -> None:
    """It is linted, and all reports can be made."""
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    for other in ("docker-entrypoint.sh", "start.sh", "entrypoint.sh"):
        (folder / other).write_bytes(script.encode("utf-8", "surrogatepass"))
    outcome = lint([folder / name], Request())
    for one in outcome.findings:
        lines = (text if one.place.path == str(folder / name) else script).split("\n")
        assert 1 <= one.place.line <= max(len(lines), 1)
        assert "\n" not in one.message
    report.text(outcome).encode()
    json.loads(report.as_json(outcome))
    json.loads(report.sarif(outcome))


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@quick
@given(text=wounded(DOCKERFILES), script=wounded(SCRIPTS))
@example(text='FROM a\nENTRYPOINT [""]\nCMD ["", "-c"]', script="")
@example(text='FROM a\nENTRYPOINT ["sh", "-c"]', script="")
@example(text='FROM a\nENTRYPOINT ["bash", "-o"]', script="")
@example(text='FROM a\nENTRYPOINT ["env", "-u"]', script="")
@example(text='FROM a\nENTRYPOINT ["python3", "-m"]', script="")
@example(text='FROM a\nCOPY start.sh /s\nCMD ["/s"]', script='#!\n"$0"')
@example(text='FROM a\nCOPY start.sh /s\nCMD ["/s"]', script='#!/bin/sh\nexec "$0" "$@" "$@"')
@example(text="FROM a\nSTOPSIGNAL\nENTRYPOINT\nCMD\nENV\nSHELL []\nWORKDIR\nCOPY a\nONBUILD CMD", script="")
def test_dockerfiles(text: str, script: str, tmp_path: Path) -> None:
    survives(tmp_path, "Dockerfile", text, script)


@quick
@given(text=wounded(MANIFESTS))
@example(text="a: &a [*a]")
@example(text="&a apiVersion: v1\nkind: List\nitems: [*a]")
@example(text="apiVersion: v1\nkind: List\nitems: &i [*i]")
@example(text="[" * 3000)
@example(text='services: {a: {build: {context: "\\0"}}}')
@example(text="services: {a: {entrypoint: [[a], {b: c}, null]}}")
@example(
    text="apiVersion: v1\nkind: Pod\nspec: {terminationGracePeriodSeconds: 1e9, containers: [null, 1, {name: [], command: {a: b}}]}"
)
def test_manifests(text: str, tmp_path: Path) -> None:
    survives(tmp_path, "compose.yaml", text)


@quick
@example(text="\\", name="Dockerfile")
@given(text=st.text(), name=st.sampled_from(["Dockerfile", "x.yaml"]))
def test_anything(text: str, name: str, tmp_path: Path) -> None:
    survives(tmp_path, name, text)


def test_nesting_without_end(tmp_path: Path) -> None:
    """Shells in shells, functions that call each other, brackets: it comes to an end."""
    shells = "sh -c '" * 3 + "a" + "'" * 3
    functions = "".join(f"f{n}() {{ f{n + 1}; f{n + 1}; }}\n" for n in range(60)) + "f0\n"
    survives(
        tmp_path,
        "Dockerfile",
        f'FROM a\nCOPY start.sh /s\nCMD {shells}\nENTRYPOINT ["/s"]\n',
        f"#!/bin/sh\n{functions}",
    )
    for opening in ("(", "{ ", "if x; then ", "while x; do ", "$("):
        survives(tmp_path, "Dockerfile", 'FROM a\nCOPY start.sh /s\nCMD ["/s"]\n', f"#!/bin/sh\n{opening * 5000}")


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml"])
def test_files_that_are_none(name: str, tmp_path: Path) -> None:
    """A device without end, a file that may not be read, one that is too big."""
    (tmp_path / name).symlink_to("/dev/zero")
    assert lint([tmp_path / name], Request()).status == 2
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("nowhere")
    assert lint([tmp_path / name], Request()).status == 2
