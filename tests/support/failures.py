"""What a failure shows of the processes that its test ran. A conftest takes part by importing both names."""

from collections.abc import Generator

import pytest

from support.runs import Run

runs_of = pytest.StashKey[list[Run]]()
"""The runs of a test, oldest first."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the test ran, what that said, and which processes are left of it."""
    report = yield
    if report.when == "call" and report.failed:
        report.sections += [("run", str(run)) for run in item.stash.get(runs_of, [])[-4:]]
    return report
