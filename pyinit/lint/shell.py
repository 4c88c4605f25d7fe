"""Shell text: what a script, or the word after `sh -c`, does last. That is what decides who gets the stop signal.

The text is parsed by tree-sitter's grammar of bash, which reads sh, dash and ash as well. Where the grammar stumbles nothing is
said of the text.

An Ending is a command that may be the last thing the shell does. EXEC: the shell becomes it. LAST: nothing follows it; with `-c` some
shells become it (bash and busybox; dash does not), in a script none does. CHILD: the shell waits for it and has something left to do, or
it is part of a pipeline or a subshell. LOOP: within a loop. WAIT: the builtin `wait`, for what runs in the background.
UNKNOWN: it looks like a function of a file that is sourced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_bash

from pyinit.lint.findings import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tree_sitter import Node

MOST = 200_000
"""Bytes of a script that are read: an entry script has a few kilobytes."""

DEEPEST = 40
"""How deep statements and function calls are followed."""

PASSING = frozenset(
    {
        ":", "[", "[[", "((", ".", "alias", "break", "cd", "chmod", "chown", "continue", "declare", "echo", "eval",
        "exit", "export", "false", "hash", "kill", "let", "local", "log", "popd", "printf", "pushd", "pwd", "read",
        "readonly", "return", "rm", "set", "shift", "shopt", "source", "test", "touch", "trap", "true", "type",
        "typeset", "ulimit", "umask", "unalias", "unset",
    }
)  # fmt: skip
"""Commands that take no time: what stands before them is what the shell waits for."""

FUNCTION = re.compile(r"\w*[a-z]_\w+")
"""What a sourced function is called, and hardly a program: `exec_as_user` in many entry scripts executes."""

ALL_ARGUMENTS = re.compile(r"""^"?\$(?:[@*]|\{[@*]\})"?$""")
ONE_ARGUMENT = re.compile(r"""^"?\$(?:([1-9])|\{([1-9])\})"?$""")


class How(Enum):
    """How the shell deals with its last command; see above."""

    EXEC = "exec"
    LAST = "last"
    CHILD = "child"
    LOOP = "loop"
    WAIT = "wait"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Part:
    """A word of a command. None: it depends on what is known only when it runs. `arguments`: all of the shell's own ("$@")."""

    text: str | None
    arguments: bool = False
    argument: int = 0
    """Which one of the shell's own it is ("$1"); 0 for none."""


@dataclass(frozen=True)
class Ending:
    """A command that may be the last one. Line and column count from 1, in the text."""

    how: How
    parts: tuple[Part, ...]
    line: int
    column: int
    shown: str
    """The command as it is written, one line of it."""


@dataclass(frozen=True)
class Reading:
    """What a text does in the end."""

    endings: tuple[Ending, ...]
    traps_stop: bool
    """It has a trap for TERM (or INT, or EXIT)."""
    moves_arguments: bool
    """It changes its arguments whatever they are (`shift`, `set -- ...`)."""
    prefixes_options: bool
    """It puts a program before its arguments when they begin with an option."""
    sleeps: float
    """Seconds of `sleep` at the top level."""


def read(text: str) -> Reading:
    """Raises UnreadableError where it cannot be understood."""
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > MOST:
        raise UnreadableError(f"it has more than {MOST} bytes")
    if b"\0" in raw:
        raise UnreadableError("it has NUL bytes")
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language())).parse(raw)
    root = tree.root_node
    if _is_broken(root):
        raise UnreadableError("its syntax is not understood")
    commands = [node for node in _walk(root) if node.type == "command"]
    reader = _Reader(_functions(root), sources=any(_name(node) in (".", "source") for node in commands))
    return Reading(
        tuple(reader.last_of(_statements(root.children), How.LAST, 0)),
        any(_name(node) == "trap" and _traps_stop(node) for node in commands),
        any(_sets_arguments(node) for node in root.named_children),
        any(_sets_arguments(node) for node in commands),
        sum(_seconds(node) for node in _sequence(root)),
    )


def _walk(root: Node) -> Iterator[Node]:
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.named_children))


def _is_broken(root: Node) -> bool:
    """Whether the grammar has stumbled; within `[[ ... ]]`, where it knows not every pattern, that does not matter."""
    todo = [root]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            return True
        todo += [child for child in node.children if child.has_error and child.type != "test_command"]
    return False


def _functions(root: Node) -> dict[str, Node]:
    found = {}
    for node in _walk(root):
        if node.type == "function_definition":
            name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
            if name is not None and body is not None:
                found[_text(name)] = body
    return found


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _name(command: Node) -> str:
    name = command.child_by_field_name("name")
    return _text(name) if name is not None else ""


def _words(command: Node) -> list[Node]:
    return [
        child
        for child in command.named_children
        if child.type not in ("variable_assignment", "file_redirect", "herestring_redirect", "heredoc_redirect")
    ]


def _sets_arguments(node: Node) -> bool:
    if node.type != "command":
        return False
    name = _name(node)
    return name == "shift" or (name == "set" and any(_text(word) == "--" for word in _words(node)))


def _traps_stop(node: Node) -> bool:
    words = [_text(word).upper().removeprefix("SIG") for word in _words(node)]
    return bool({"TERM", "15", "INT", "QUIT", "EXIT", "0"} & set(words[2:]))


def _seconds(node: Node) -> float:
    words = [_text(word) for word in _words(node)] if node.type == "command" else []
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([sm]?)", words[1]) if len(words) == 2 and words[0] == "sleep" else None
    return float(found[1]) * (60 if found[2] == "m" else 1) if found else 0.0


def _sequence(node: Node) -> Iterator[Node]:
    """The statements at the top level, lists taken apart."""
    for child in node.named_children:
        if child.type == "list":
            yield from _sequence(child)
        else:
            yield child


class _Reader:
    def __init__(self, functions: Mapping[str, Node], *, sources: bool) -> None:
        self.functions = functions
        self.sources = sources
        self.known: dict[tuple[str, How], list[Ending]] = {}
        """What calls of functions come to: each is followed once, for two that call the next one twice would be without end."""

    def last_of(self, statements: Sequence[Node], how: How, depth: int) -> Iterator[Ending]:
        """The endings of a block: those of its last statement that takes time. Whatever follows that makes the shell wait."""
        for at in range(len(statements) - 1, -1, -1):
            node = statements[at]
            if node.type in ("comment", "function_definition"):
                continue
            is_background = at + 1 < len(statements) and statements[at + 1].type == "&"
            found = [] if is_background else list(self.of(node, how, depth))
            if found:
                yield from found
                return
            how = How.LOOP if how is How.LOOP else How.CHILD

    def of(self, node: Node, how: How, depth: int) -> Iterator[Ending]:
        """The endings of a statement; none where it takes no time."""
        if depth > DEEPEST:
            return
        deeper = depth + 1
        match node.type:
            case "command":
                yield from self._command(node, how, deeper)
            case "redirected_statement":
                body = node.child_by_field_name("body")
                if body is not None:
                    yield from self.of(body, how, deeper)
            case "list":
                yield from self.last_of(_statements(node.children), how, deeper)
            case "pipeline" | "negated_command":
                for one in node.named_children:
                    yield from (_as_child(ending) for ending in self.of(one, How.CHILD, deeper))
            case "subshell":
                yield from (_as_child(one) for one in self.last_of(_statements(node.children), How.CHILD, deeper))
            case "compound_statement" | "do_group" | "else_clause":
                yield from self.last_of(_statements(node.children), how, deeper)
            case "if_statement":
                yield from self._after(node, "then", how, deeper)
                for one in node.named_children:
                    if one.type == "elif_clause":
                        yield from self._after(one, "then", how, deeper)
                    elif one.type == "else_clause":
                        yield from self.of(one, how, deeper)
            case "case_statement":
                for item in node.named_children:
                    if item.type == "case_item":
                        yield from self._after(item, ")", how, deeper)
            case "while_statement" | "until_statement" | "for_statement" | "c_style_for_statement":
                for one in node.named_children:
                    if one.type == "do_group":
                        yield from self.of(one, How.LOOP, deeper)

    def _after(self, block: Node, word: str, how: How, depth: int) -> Iterator[Ending]:
        """The endings of what comes after `then`, or after a pattern's bracket; further clauses are not part of it."""
        began = next((one.end_byte for one in block.children if one.type == word), block.end_byte)
        then = [one for one in _statements(block.children) if one.start_byte >= began]
        yield from self.last_of([one for one in then if one.type not in ("elif_clause", "else_clause")], how, depth)

    def _command(self, node: Node, how: How, depth: int) -> Iterator[Ending]:
        words = _words(node)
        name = _text(words[0]) if words else ""
        if name in self.functions:
            if (name, how) not in self.known:
                self.known[name, how] = []
                self.known[name, how] = list(self.of(self.functions[name], how, depth))
            yield from self.known[name, how]
            return
        if name in PASSING or not words:
            return
        if name in ("command", "builtin"):
            words = words[1:]
            name = _text(words[0]) if words else ""
        if name == "exec":
            words = words[1:]
            while words and _text(words[0]) in ("-c", "-l", "-a", "--"):
                words = words[2:] if _text(words[0]) == "-a" else words[1:]
            if not words:  # redirections alone
                return
            how = How.EXEC
        elif name == "wait":
            how = How.WAIT
        elif self.sources and FUNCTION.fullmatch(name):
            how = How.UNKNOWN
        shown = " ".join(_text(node).split())
        row, column = node.start_point
        parts = tuple(_part(word) for word in words)
        yield Ending(how, parts, row + 1, column + 1, shown if len(shown) <= 60 else shown[:57] + "...")


def _as_child(ending: Ending) -> Ending:
    return (
        Ending(How.CHILD, ending.parts, ending.line, ending.column, ending.shown) if ending.how is How.EXEC else ending
    )


def _statements(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.is_named or node.type == "&"]


def _part(node: Node) -> Part:
    text = _text(node)
    if ALL_ARGUMENTS.match(text):
        return Part(None, arguments=True)
    if found := ONE_ARGUMENT.match(text):
        return Part(None, argument=int(found[1] or found[2]))
    return Part(_literal(node))


def _literal(node: Node) -> str | None:
    text = _text(node)
    match node.type:
        case "command_name" if node.named_children:
            return _literal(node.named_children[0])
        case "word" | "number":
            return re.sub(r"\\(.)", r"\1", text)
        case "raw_string":
            return text[1:-1]
        case "string":
            if any(child.type != "string_content" for child in node.named_children):
                return None
            return re.sub(r'\\([$`"\\])', r"\1", text[1:-1])
        case "concatenation":
            parts = [_literal(child) for child in node.named_children]
            return None if None in parts else "".join(part or "" for part in parts)
    return None
