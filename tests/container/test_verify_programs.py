"""`pyinitctl verify` on programs that nobody here designed: what it says of them as they are usually run, and that its advice holds.

Two rows of the table that tests/support/verdicts.py writes, which takes a quarter of an hour.
"""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from support import verdicts

SUBJECTS = {subject.name: subject for subject in verdicts.SUBJECTS}
CHECKS = ("--check", "SG-01", "--check", "GR-01", "--check", "PT", "--check", "ZO-01", "--check", "EX-06")


@pytest.fixture
def tag(client: docker.DockerClient, tmp_path: Path) -> Iterator[str]:
    """A name for an image that goes with the test."""
    name = f"pyinit-test-verdict:{tmp_path.name.replace('_', '-').lower()}"
    yield name
    client.images.remove(name, force=True)


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("redis-server", {"ZO-01"}),
        ("an entry point without exec", {"SG-01", "GR-01", "PT-01"}),
    ],
)
def test_the_advice_holds(name: str, failed: set[str], client: docker.DockerClient, tag: str) -> None:
    """As usually written it fails what it should; with the lines that the report leads to it passes everything."""
    subject = SUBJECTS[name]
    found = []
    for lines in (subject.usual, subject.repaired):
        verdicts.build(client, subject, lines, tag)
        report = verdicts.verdict(tag, [*subject.options, *CHECKS])
        found.append({one["id"] for one in report["results"] if one["verdict"] == verdicts.FAIL})
    assert found == [failed, set()]
