"""The table of edge cases in tests/README.md is true as far as names go: every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (TESTS / "README.md").read_text("utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def functions(file: Path) -> set[str]:
    """The names of the functions in a file, without importing it."""
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_all_cases_are_there() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 49))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_named_tests_exist(row: list[str]) -> None:
    """Or there is a reason why the case does not apply."""
    named = re.findall(r"`(\w+/\w+\.py)::(\w+)`", row[2])
    assert named or row[2].startswith("does not apply: ")
    assert [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)] == []
