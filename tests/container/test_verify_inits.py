"""`pyinitctl verify --init`: pyinit passes what it promises, and for every check there is an init with one fault that fails it."""

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from pyinit.containers.engine import LABEL, Engine
from pyinit.containers.remote import Agent, Watch
from pyinit.verify import inits
from pyinit.verify.init_acts import Init, stage_of
from pyinit.verify.inits import verify_init
from pyinit.verify.runner import ImpossibleRunError, Plan, Run
from pyinit.verify.verdicts import Severity, Verdict
from support import engines

BROKEN = Path(__file__).resolve().parent / "broken"
BASE = "pyinit-base:python"
GRACE = 4
"""Seconds; the inits here are told to escalate 0.4 s before."""

FAULTY = (
    ("loses hangups", "SG-02"),
    ("doubles SIGCONT", "SG-02"),
    ("wakes twice", "SG-02"),
    ("no real-time signals", "SG-03"),
    ("loses every tenth", "SG-04"),
    ("stops itself", "SG-08"),
    ("believes SIGCHLD", "SG-09"),
    ("forwards SIGCHLD", "SG-09"),
    ("masks the code", "EX-01"),
    ("forgets the signal", "EX-02"),
    ("forgets the signal", "EX-04"),
    ("reaps once", "ZO-02"),
    ("stops reaping", "ST-06"),
    ("forgets other sessions", "PT-03"),
    ("asks the program alone", "PT-05"),
    ("keeps quiet", "PT-06"),
    ("never kills", "PT-07"),
    ("kills too early", "GR-04"),
    ("wrong codes", "ST-03"),
    ("no subreaper", "ST-07"),
    ("refuses to be second", "ST-07"),
    ("refuses to be second", "ST-08"),
    ("keeps what PID 1 sent", "ST-08"),
    ("blocks TERM", "FD-01"),
    ("ignores PIPE", "FD-04"),
    ("leaks a descriptor", "FD-02"),
    ("moves the program", "FD-03"),
    ("adds a variable", "FD-03"),
    ("keeps the terminal", "TT-01"),
    ("keeps the terminal", "TT-02"),
    ("chatters", "TT-04"),
    ("wants new calls", "SE-01"),
    ("writes too much", "K8-05"),
)
"""Faults of broken/faulty.py, each with the check that catches it."""

BY_FILE = {
    "does_not_forward": "SG-02",
    "forwards_twice": "SG-02",
    "loses_the_status": "EX-05",
    "does_not_reap": "ZO-01",
    "exits_early": "PT-02",
    "kills_at_once": "GR-04",
}
"""Other broken inits."""


@pytest.fixture(scope="module")
def place(client: object) -> Iterator[tuple[Engine, Agent]]:  # noqa: ARG001 - it fails or skips where there is no engine
    """An engine session of our own and its observer."""
    with Engine() as session, Agent(session) as agent:
        yield session, agent


def judged(place: tuple[Engine, Agent], init: Init, *wanted: str) -> Run:
    """The run, of these checks alone if any are named."""
    checks = [check for check in inits.CHECKS if not wanted or check.id in wanted]
    return verify_init(*place, init, Plan(checks=checks), lambda *_: None, grace=GRACE)


def broken(name: str, *words: str) -> Init:
    """An init of broken/, which Python runs in the base image."""
    return Init(("python3", f"/broken/{name}.py", *words), BASE, {str(BROKEN): "/broken"})


def failures(run: Run) -> dict[str, str]:
    """What failed, and the words."""
    return {one.check.id: one.finding.words for one in run.results if one.finding.verdict is Verdict.FAIL}


def unjudged(run: Run) -> dict[str, str]:
    """What was skipped, and why."""
    return {one.check.id: one.finding.words for one in run.results if one.finding.verdict is Verdict.SKIPPED}


@pytest.mark.timeout(300)
def test_pyinit_passes_all(place: tuple[Engine, Agent]) -> None:
    """The native engine, told of the grace period and of the termination log, passes every check, and none is skipped."""
    options = ("--grace", "3600ms", "--termination-log", "/dev/termination-log", "--")
    run = judged(place, Init((str(engines.native_executable()), *options)))
    assert failures(run) == {}
    assert unjudged(run) == {}
    assert [one.check.id for one in run.results] == [check.id for check in inits.CHECKS]
    assert run.status(strict=True) == 0


def test_every_check_has_its_fault() -> None:
    """There is an init that each check fails; that SE-03 does without any is shown below."""
    caught = {check for _, check in FAULTY} | set(BY_FILE.values()) | {"SE-03"}
    assert caught == {check.id for check in inits.CHECKS if check.severity is not Severity.NOTE}


@pytest.mark.timeout(300)  # a flood of zombies on a busy machine
@pytest.mark.parametrize(("fault", "check"), FAULTY)
def test_a_fault_is_caught(place: tuple[Engine, Agent], fault: str, check: str) -> None:
    """An init with one fault fails the check that is about it."""
    run = judged(place, broken("faulty", fault), check)
    assert list(failures(run)) == [check], run.results


@pytest.mark.parametrize("name", BY_FILE)
def test_a_broken_init_is_caught(place: tuple[Engine, Agent], name: str) -> None:
    """So does one that is broken in a way that other tests know."""
    check = BY_FILE[name]
    assert list(failures(judged(place, broken(name), check))) == [check]


@pytest.mark.timeout(300)
def test_without_faults_it_passes(place: tuple[Engine, Agent]) -> None:
    """The init of which the faulty ones are made passes the checks that they fail: it is the faults that are caught."""
    checks = sorted({check for _, check in FAULTY} | set(BY_FILE.values()))
    run = judged(place, broken("faulty", "none"), *checks)
    assert failures(run) == {}
    assert unjudged(run) == {}


def test_without_an_init(place: tuple[Engine, Agent]) -> None:
    """A program that is PID 1 itself reaps nobody, is not ended by its own signals, and is not blamed for the rest."""
    run = judged(place, Init(()), "EX-02", "ZO-01", "SE-03", "SG-09", "ST-03", "ST-07")
    assert set(failures(run)) == {"EX-02", "ZO-01", "SE-03"}
    assert set(unjudged(run)) == {"SG-09", "ST-03", "ST-07"}


def test_who_is_not_shown_is_no_evidence(place: tuple[Engine, Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer that shows the init alone would pass one that reaps nobody."""
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda watch: tuple(one for one in look(watch) if one.inside == 1))
    run = judged(place, broken("does_not_reap"), "ZO-01")
    assert "did not show a process of ours" in unjudged(run)["ZO-01"]


def test_what_an_init_leaves_to_others_is_no_must(place: tuple[Engine, Agent]) -> None:
    """That nobody kills a deaf program is worded as what a user gets, and is a should."""
    run = judged(place, broken("faulty", "never kills"), "PT-07", "K8-05")
    deaf, log = run.results
    assert deaf.severity is Severity.SHOULD
    assert "the engine killed everybody" in deaf.finding.words
    assert log.finding.verdict is Verdict.SKIPPED


def test_no_init_at_that_path(place: tuple[Engine, Agent], tmp_path: Path) -> None:
    """A path where nothing is, and a file that no kernel runs, are refused with words, not judged."""
    with pytest.raises(ImpossibleRunError, match="is no file that can be executed"):
        judged(place, Init((str(tmp_path / "missing"),)))
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n", encoding="ascii")
    script.chmod(0o755)
    with pytest.raises(ImpossibleRunError, match="--init-image"):
        judged(place, Init((str(script),)))


def test_the_image_for_an_init_is_made_once(client: docker.DockerClient) -> None:
    """However often it is needed in a session, for the observer too; after it there is none."""
    with Engine() as session, Agent(session, base=BASE) as agent:
        stages = [stage_of(session, agent, broken("faulty", fault), GRACE, {}) for fault in ("none", "chatters")]
        assert {stage.subject.image.id for stage in stages} == {agent.image}
        only = {"label": f"{LABEL}={session.session}"}
        assert [row["Id"] for row in client.api.images(filters=only)] == [agent.image]
    assert client.api.images(filters=only) == []
