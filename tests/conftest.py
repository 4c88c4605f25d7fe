"""For every level: the tests see the installed wheel, never the source tree."""

import json
import sysconfig
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from support.dispositions import hear_what_is_ignored

pytest_plugins = ["pytester"]

SECOND_TRY = Path(__file__).resolve().parent.parent / ".results" / "second-try"


def pytest_configure() -> None:
    """Refuse to start when `import pyinit` finds anything but the wheel: everything proven would be about something else."""
    import pyinit  # noqa: PLC0415 (the import is the test)

    found = Path(pyinit.__path__[0]).resolve()
    installed = Path(sysconfig.get_path("purelib")).resolve()
    if installed not in found.parents:
        raise pytest.UsageError(
            f"the tests would run against {found}, not against the wheel in {installed}: "
            "use ./tests/run, or run .venv/bin/pytest (not `python -m pytest`) after it"
        )
    hear_what_is_ignored()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test that fails is run once more. Who passed only then is named, with the failure: that is a race to be found."""
    again = terminalreporter.stats.get("rerun", [])
    for report in again:
        terminalreporter.section(f"failed at the first try: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
    if again and SECOND_TRY.parent.is_dir():
        with SECOND_TRY.open("a", encoding="utf-8") as file:
            file.writelines(f"{report.nodeid}\n" for report in again)


@pytest.fixture(scope="session")
def schema() -> Draft202012Validator:
    """What holds a JSON report of verify against its published schema; the schema itself is one."""
    published = json.loads(files("pyinit.verify").joinpath("report.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(published)
    return Draft202012Validator(published)
