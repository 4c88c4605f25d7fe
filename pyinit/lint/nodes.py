"""YAML with its lines: PyYAML's nodes, and ways to look into them that never raise, whatever is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from pyinit.lint.findings import Place, UnreadableError, Word, content_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST = 5_000_000
"""Bytes of a YAML file."""


def read(path: Path) -> list[yaml.Node]:
    """The documents of a file. Raises UnreadableError."""
    return parse(content_of(path, MOST))


def parse(text: str) -> list[yaml.Node]:
    """The documents of a text. Raises UnreadableError."""
    try:
        return list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise UnreadableError(f"it is no YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(f"it is no YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None


def place(node: yaml.Node, path: str) -> Place:
    """Where a node begins. A statement is its first line."""
    mark = node.start_mark
    return Place(path, mark.line + 1, mark.column + 1)


def mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The values of a mapping by their keys, merged ones included; empty for anything else."""
    return _mapping(node, {})


def _mapping(node: yaml.Node | None, seen: dict[int, dict[str, yaml.Node]]) -> dict[str, yaml.Node]:
    """`seen`: each mapping is looked into once, for an anchor may merge itself, or ten that merge ten."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    if id(node) in seen:
        return seen[id(node)]
    seen[id(node)] = {}
    merged: dict[str, yaml.Node] = {}
    own: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value == "<<":
            for one in sequence(value) or [value]:
                merged = {**_mapping(one, seen), **merged}
        else:
            own[key.value] = value
    seen[id(node)] = {**merged, **own}
    return seen[id(node)]


def keys(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The nodes of the keys themselves."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: key for key, _ in node.value if isinstance(key, yaml.ScalarNode)}


def at(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """The value below these keys; None where there is none."""
    for key in path:
        node = mapping(node).get(key)
    return node


def sequence(node: yaml.Node | None) -> list[yaml.Node]:
    """The items of a list; none for anything else."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def text(node: yaml.Node | None) -> str | None:
    """A scalar as it is written; None for null and for anything else."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return None
    return str(node.value)


def word(node: yaml.Node | None, path: str) -> Word | None:
    """A scalar with its place."""
    value = text(node)
    return None if node is None or value is None else Word(value, place(node, path))


def words(node: yaml.Node | None, path: str) -> Iterator[Word]:
    """The scalars of a list."""
    for one in sequence(node):
        found = word(one, path)
        if found is not None:
            yield found


def is_true(node: yaml.Node | None) -> bool:
    """As YAML 1.1 and the schema of both kinds of file have it."""
    return (text(node) or "").lower() in ("true", "yes", "on")


def environment(node: yaml.Node | None, path: str) -> Mapping[str, Word]:
    """`NAME: value`, or a list of `NAME=value`. What is taken from elsewhere is not known."""
    found: dict[str, Word] = {}
    for name, value in mapping(node).items():
        said = text(value)
        found[name] = Word(said or "", place(value, path), known=said is not None)
    for one in words(node, path):
        name, equals, said = one.text.partition("=")
        found[name] = Word(said, one.place, known=bool(equals))
    return found
