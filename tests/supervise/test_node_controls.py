"""The tests of preload.js catch what they are there for: each of them fails with a preload that has one fault."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pyinit.supervise import channel
from support import workers as harness
from support.workers import Workers

Make = Callable[..., Workers]

FAULTS = {
    "accepts on": (
        "    handle.close();\n  }\n\n  function onSession",
        "  }\n\n  function onSession",
        "drain",
        "whole_way",
    ),
    "keeps connections": (
        "if (!draining || status < 200)",
        "if (true)",
        "drain",
        "whole_way",
    ),
    "loses a header": (
        "return { ...Object.fromEntries(kept), Connection",
        "return { Connection",
        "drain",
        "answer",
    ),
    "cuts idle connections": (
        "    count();\n\n",
        "    for (const s of servers.keys()) s.closeAllConnections();\n",
        "drain",
        "whole_way",
    ),
    "says closed": (
        "    server._handle = {",
        "    server._handle = null; const unused = {",
        "drain",
        "whole_way",
    ),
    "ends before its signal": (
        "alive = setInterval(count, COUNT_EVERY);",
        "alive = setInterval(count, 20).unref();",
        "drain",
        "whole_way",
    ),
    "never ends": (
        "alive.unref();",
        ";",
        "drain",
        "ends_when_it_will",
    ),
    "sends no GOAWAY": (
        "    session.goaway(0, 2 ** 31 - 1);\n",
        "",
        "drain",
        "http2",
    ),
    "leaves sessions open": (
        "const close = () => session.close();",
        "const close = () => {};",
        "drain",
        "http2",
    ),
    "accepts while draining": (
        "if (draining) stopAccepting(this);",
        ";",
        "drain",
        "begins_while",
    ),
    "stays in NODE_OPTIONS": (
        "delete process.env.NODE_OPTIONS;",
        ";",
        "quiet",
        "nothing_in_options",
    ),
    "shares with itself": (
        "} else if (isTaken()) {",
        "} else if (false) {",
        "quiet",
        "same_port_twice",
    ),
    "takes every port": (
        "!(port > 0) || ",
        "",
        "quiet",
        "any_port",
    ),
    "takes exclusive ones": (
        "Boolean(args[0]?.exclusive || args[0]?.reusePort)",
        "false",
        "quiet",
        "exclusive",
    ),
    "listens after close": (
        "attempts.delete(this);",
        ";",
        "quiet",
        "closed_before",
    ),
    "ends while it asks": (
        "setInterval(() => {}, FOR_EVER); // a program",
        "setInterval(() => {}, 1).unref(); // ",
        "node",
        "module",
    ),
    "is in threads": (
        "if (!process.connected) return;",
        "",
        "quiet",
        "thread",
    ),
    "is in every process": (
        "if (worker === String(process.pid)) {",
        "if (worker) {",
        "quiet",
        "behind_a_shell",
    ),
    "is seen by signal-exit": (
        "process.on('newListener', (name",
        "process.on('SIGTERM', onTerm); (() => {})((name",
        "quiet",
        "signal_exit",
    ),
    "keeps the program alive": (
        "  process.on('internalMessage'",
        "  process.on('message', () => {});\n  process.on('internalMessage'",
        "quiet",
        "ends_of_itself",
    ),
    "hides SIGTERM": (
        "    process.kill(process.pid, 'SIGTERM'); // the default\n",
        "",
        "quiet",
        "stops_as",
    ),
    "says nothing of cluster": (
        "    if (!isWarned) {",
        "    if (false) {",
        "quiet",
        "cluster_of_its_own",
    ),
}
"""What is wrong: the text that is replaced in preload.js, what by, and the module and name of a test that has to fail."""


def of(module: str) -> ModuleType:
    """A module of tests, which cannot be imported by name."""
    name = {"node": "test_node", "quiet": "test_node_quiet", "drain": "test_drain"}[module]
    spec = importlib.util.spec_from_file_location(f"controlled_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def call(module: str, name: str, node: str, make: Make, request: pytest.FixtureRequest) -> None:
    """One test, with the values that its parameters have here."""
    tests = of(module)
    (test,) = (value for key, value in vars(tests).items() if key.startswith("test_") and name in key)
    given: dict[str, Any] = {"any_node": node, "node": node, "workers": make}
    given |= {"host": "", "form": "object", "word": "SIGTERM", "kind": "require"}
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    if "server" in wanted:
        given["server"] = tests.Server(make(node), 2 if name == "whole_way" else 1)
        request.addfinalizer(given["server"].close)
    test(**{key: given[key] if key in given else request.getfixturevalue(key) for key in wanted})


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_fault_is_noticed(
    fault: str | None,
    node: str,
    workers: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """And without one, nothing is."""
    text = Path(channel.PRELOAD).read_text(encoding="utf-8")
    if fault is None:
        for _, _, module, name in FAULTS.values():
            call(module, name, node, workers, request)
        return
    old, new, module, name = FAULTS[fault]
    assert text.count(old) == 1, f"{old!r} is not in preload.js any more: write the fault {fault!r} anew"
    broken = tmp_path / "preload.js"
    broken.write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(channel, "PRELOAD", str(broken))
    monkeypatch.setattr(harness, "PATIENCE", 2.0)
    with pytest.raises((AssertionError, OSError)):
        call(module, name, node, workers, request)
