"""`pyinitctl verify`, whole: its JSON report is what the schema says, and on gVisor it judges what can be judged there."""

import json
import re
import sys
import time
from pathlib import Path

import docker
import pytest
from jsonschema import Draft202012Validator as Validator

from pyinit.verify.catalogue import CHECKS
from pyinit.verify.verdicts import Source
from support.verifying import GOOD, Ctl

QUIET = ("--network", "none", "--ready-log", "^ready$")


def test_reports_are_as_their_schema_says(ctl: Ctl, base: str, tmp_path: Path, schema: Validator) -> None:
    """Real ones: of an image, with a failure, a skip and an act that is impossible; with a baseline; of an init."""
    as_root = "import os; os.getuid() and os.abort(); " + GOOD.replace("sys.exit(0)", "sys.exit(7)")
    checks = ("SG-01", "EX-06", "ST-04", "SG-06", "GR-02")
    image = (base, *QUIET, "--timeout", "3", *(word for check in checks for word in ("--check", check)))
    pyinit = Path(sys.executable).with_name("pyinit")
    init = ("--init", f"{pyinit} --grace 2s --", "--check", "SG-02", "--check", "K8-05", "--timeout", "3")
    found = {}
    for name, words in {
        "image": (*image, "--", "python3", "-c", as_root),
        "baseline": (*image, "--baseline", "image.json", "--", "python3", "-c", as_root),
        "init": init,
    }.items():
        done = ctl("--json", f"{name}.json", *words)
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
        schema.validate(found[name])
        assert found[name]["status"] == done.returncode, done.stdout + done.stderr
    assert {one["verdict"] for one in found["image"]["results"]} == {"pass", "fail", "skipped", "note"}
    assert found["image"]["acts"]["openshift"]["impossible"]
    assert [one["id"] for one in found["baseline"]["results"] if one["known"]] == ["EX-06"]
    assert "pyinit" in found["init"]["subject"]["image"]


def helpers(client: docker.DockerClient, since: float, pid: int, base: str) -> int:
    """How many containers the tool with that PID has made since then besides those of the image: the observer, and what it put beside."""
    made = client.events(
        since=int(since),
        until=int(time.time()) + 1,
        filters={"type": "container", "event": "create", "label": f"pyinit.pid={pid}"},
        decode=True,
    )
    return sum(one["Actor"]["Attributes"]["image"] != base for one in made)


@pytest.mark.engines("native")
def test_a_kernel_of_its_own(
    ctl: Ctl, base: str, client: docker.DockerClient, tmp_path: Path, runsc_problem: str, schema: Validator
) -> None:
    """On gVisor outcomes are judged; nothing is put beside the container, and what would need that is skipped with its reason."""
    if runsc_problem:
        pytest.skip(runsc_problem)
    found, made = {}, {}
    for runtime, words in {"runsc": (), "runc": ("--check", "SG-07")}.items():
        since = time.time()
        done = ctl(base, "--runtime", runtime, *QUIET, "--json", "r.json", *words, "--", "python3", "-c", GOOD)
        found[runtime] = json.loads((tmp_path / "r.json").read_text())
        schema.validate(found[runtime])
        assert found[runtime]["status"] == done.returncode, done
        made[runtime] = helpers(client, since, done.pid, base)
    assert made["runsc"] == 1  # the observer
    assert made["runc"] > 1  # the control: there they would be seen
    assert found["runsc"]["source"] == "outcome"
    words_of = {one["id"]: (one["verdict"], one["words"]) for one in found["runsc"]["results"]}
    outcomes = {check.id for check in CHECKS if check.source is Source.OUTCOME} - {"SG-07", "ZO-04", "FD-05", "GR-06"}
    assert {name for name, (verdict, _) in words_of.items() if verdict in ("pass", "note")} == outcomes
    for name in set(words_of) - outcomes:
        assert words_of[name][0] == "skipped", words_of[name]
        assert re.search("runtime|kernel of its own|declares no STOPSIGNAL|no --", words_of[name][1]), words_of[name]
    assert found["runsc"]["verdict"].endswith("could be judged: PT-04")
