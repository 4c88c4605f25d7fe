"""The pytest plugin: the fixture `container`, and the mark `conformance`. pytest.md says how they are used.

pytest loads this in every run of everybody who has pyinit installed, with the extra or without: nothing of it is imported before a test
wants it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from pyinit.verify.conformance import Outcome
    from pyinit.verify.settings import Settings
    from pyinit.verify.under_test import MakeContainer, Session
    from pyinit.verify.verdicts import Check

MARK = "conformance"
NEEDS = ("docker", "rich")
"""Modules of the extra."""

_made = pytest.StashKey["MakeContainer"]()
_judged = pytest.StashKey[dict[str, dict[str, "Outcome"]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one thing that neither an image nor a test knows."""
    parser.addini(
        "pyinit_observer_image",
        "an image with Python 3.11 or newer for the observer of `container` and `conformance`, where this machine's own Python "
        "does not run in the engine",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The mark."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(image, **options): each check of `pyinitctl verify` of that image as a test of its own; options as its long ones, "
        "with _ for -",
    )
    config.stash[_judged] = {}


def _missing() -> str:
    """What is not installed, and how to; empty: all is there."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    return f"container and {MARK} need {' and '.join(missing)}: pip install 'pyinit-pid1[verify]'" if missing else ""


# --- containers ---


@pytest.fixture(scope="session")
def pyinit_session(pytestconfig: pytest.Config) -> Iterator[Session]:
    """What all containers of this process share. Nothing is made before a test wants it."""
    if missing := _missing():
        pytest.fail(missing, pytrace=False)
    from pyinit.verify.under_test import Session  # noqa: PLC0415 - an extra, and heavy

    session = Session(pytestconfig.getini("pyinit_observer_image") or None)
    yield session
    session.close()


@pytest.fixture
def container(request: pytest.FixtureRequest, pyinit_session: Session) -> Iterator[MakeContainer]:
    """Makes containers that are removed with the test: `container("shop:ci", command=["worker"], ready_log="listening")`."""
    from pyinit.verify.under_test import MakeContainer  # noqa: PLC0415 - an extra, and heavy

    make = MakeContainer(pyinit_session)
    request.node.stash[_made] = make
    yield make
    make.close()


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Who was killed, as a sentence."""
    from pyinit.verify.ends import compared  # noqa: PLC0415 - asked only when something failed

    return compared(op, left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the containers of a test that failed have to say, while they are there. And where a check that was skipped stands."""
    report = yield
    if report.failed and call.when != "teardown" and _made in item.stash:
        for made in item.stash[_made].made:
            report.sections += made.report()
    if report.skipped and call.when == "call" and isinstance(report.longrepr, tuple) and _conformance(item):
        path, line, _ = item.reportinfo()
        report.longrepr = (str(path), (line or 0) + 1, report.longrepr[2])
    return report


# --- conformance ---


@dataclass(frozen=True)
class Conformance:
    """A check of the image that a test is marked with. The outcome is there when the test's own code runs, and has passed."""

    item: pytest.Item
    check: Check
    session: Session
    folder: Path | None
    """Where workers of pytest-xdist share what they know; None: there are none."""

    @cached_property
    def outcome(self) -> Outcome:
        """The image is verified for the first of its checks, and for all that are to run."""
        from pyinit.verify.conformance import judge, shared  # noqa: PLC0415 - an extra, and heavy

        item, known = self.item, self.item.config.stash[_judged]
        key = item.nodeid.partition("[")[0]
        if key not in known:
            options, said = _wanted(item)
            those = [
                str(one.callspec.params[MARK])
                for one in item.session.items
                if isinstance(one, pytest.Function) and one.nodeid.partition("[")[0] == key
            ]
            name = f"pyinit-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
            known[key] = (
                shared(self.folder / name, lambda: judge(self.session, options, said, those))
                if self.folder
                else judge(self.session, options, said, those)
            )
        return known[key][self.check.id]


def _conformance(item: pytest.Item) -> Conformance | None:
    found = getattr(item, "funcargs", {}).get(MARK)
    return found if isinstance(found, Conformance) else None


def _wanted(item: Any) -> tuple[Any, Settings]:  # noqa: ANN401 - a function, or what tests are made of
    """What the mark of a test asks for, and what the project's file says."""
    from pyinit.verify import request, settings  # noqa: PLC0415 - only for a mark

    mark = item.get_closest_marker(MARK)
    try:
        return request.of_mark(f"@{MARK}", mark.args, mark.kwargs, item.config.rootpath)
    except settings.SettingsError as error:
        return pytest.fail(str(error), pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each check."""
    if metafunc.definition.get_closest_marker(MARK) is None or _missing():
        return
    from pyinit.verify.catalogue import CHECKS  # noqa: PLC0415 - only for a mark
    from pyinit.verify.request import checks_of  # noqa: PLC0415

    options, _ = _wanted(metafunc.definition)
    if MARK not in metafunc.fixturenames:
        metafunc.fixturenames.append(MARK)
    metafunc.parametrize(MARK, [check.id for check in checks_of(options, CHECKS)], indirect=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """The fixture is the test's also where it takes no such argument."""
    if not isinstance(item, pytest.Function) or MARK in item.fixturenames:
        return
    if MARK in getattr(getattr(item, "callspec", None), "params", ()):
        item.fixturenames.append(MARK)


@pytest.fixture
def conformance(
    request: pytest.FixtureRequest, pyinit_session: Session, tmp_path_factory: pytest.TempPathFactory
) -> Conformance:
    """The check that this test is about, for tests with the mark `conformance`: `conformance.check`, `conformance.outcome`."""
    if not hasattr(request, "param"):
        pytest.fail(f"{MARK} is for tests that are marked with it: @pytest.mark.{MARK}('my/image')", pytrace=False)
    from pyinit.verify.catalogue import BY_ID  # noqa: PLC0415 - only for a mark

    is_worker = hasattr(request.config, "workerinput")
    folder = tmp_path_factory.getbasetemp().parent if is_worker else None
    return Conformance(request.node, BY_ID[request.param], pyinit_session, folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A mark that does nothing would be a test that cannot fail."""
    if item.get_closest_marker(MARK) is not None and MARK not in getattr(item, "fixturenames", ()):
        other = f"@{MARK} is for functions, and methods of plain classes: this is another kind of test"
        pytest.fail(_missing() or other, pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """The check first; then the test's own code."""
    found = _conformance(pyfuncitem)
    if found is None:
        return
    outcome = found.outcome
    pyfuncitem.user_properties.append(("verdict", outcome.verdict))
    if outcome.timeline:
        pyfuncitem.add_report_section("call", "timeline", outcome.timeline)
    if outcome.verdict == "fail":
        pytest.fail(outcome.failure, pytrace=False)
    if outcome.verdict == "skipped":
        pytest.skip(outcome.words)
    pyfuncitem.user_properties.append(("seen", outcome.words))
    pyfuncitem.add_report_section("call", outcome.verdict, outcome.words)
