"""The checks are checked: containers of docker/checks, of which it is known what each check must say.

The table ROWS has a line for each; docker/checks/README.md says the same for readers. The rest is about what checks stand on: an
observer that says what it cannot see, and a session that leaves nothing behind.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from pyinit.containers import remote
from pyinit.containers.account import How
from pyinit.containers.engine import LABEL, Engine, EngineError
from pyinit.containers.observer import SOURCES
from pyinit.containers.remote import Agent, ObserverError, Watch
from pyinit.verify.acts import Stage, perform
from pyinit.verify.catalogue import BY_ID
from pyinit.verify.evidence import Stop
from pyinit.verify.ready import SETTLE_LIMIT, Readiness
from pyinit.verify.runner import ImpossibleRunError, Plan, Run, run
from pyinit.verify.subject import ImageSubject, image_of
from pyinit.verify.verdicts import Severity, Source, Verdict
from support.waiting import until

pytestmark = pytest.mark.engines("native")

CHECKS = Path(__file__).resolve().parent.parent.parent / "docker" / "checks"
LOG = Readiness(log="^ready$", timeout=30)

PYINIT = ("pyinit", "--")


def guest(name: str, *words: str) -> tuple[str, ...]:
    """The command line of a program of docker/checks."""
    return ("python3", f"/checks/{name}.py", *words)


@dataclass(frozen=True)
class Row:
    """A container, and what checks must say of it: a verdict, and a regular expression that their words match."""

    name: str
    command: tuple[str, ...]
    says: Mapping[str, tuple[str, str]]
    target: str = "plain"
    grace: int = 3
    options: Mapping[str, Any] = field(default_factory=dict)
    run_options: Mapping[str, Any] = field(default_factory=dict)
    readiness: Readiness = LOG
    severities: Mapping[str, Severity] = field(default_factory=dict)


ROWS = (
    Row(
        "a server behind an init",
        (*PYINIT, *guest("server")),
        {
            "SG-01": ("pass", "PID 1 ended .* after SIGTERM, with status 0"),
            "SG-06": ("skipped", "declares no STOPSIGNAL"),
            "GR-01": ("pass", "to spare"),
            "GR-06": ("skipped", "no --request URL"),
            "PT-01": ("pass", "no program runs behind a shell"),
            "PT-04": ("pass", "all 2 processes ended by themselves"),
            "EX-06": ("pass", "exit status 0"),
            "ST-01": ("pass", "PID 1 is 'pyinit'"),
            "ST-04": ("pass", "stops as before"),
            "ST-05": ("pass", "stops as before"),
            "TT-03": ("pass", "does not stop it"),
            "ZO-01": ("pass", "reaped at once"),
            "ZO-02": ("pass", "none of 50 orphans is left"),
            "FD-05": ("skipped", "no --last-log REGEX"),
        },
    ),
    Row(
        "the notes about a server behind an init",
        (*PYINIT, *guest("server")),
        {
            "SG-07": ("note", "SIGKILL from inside: no effect; SIGSTOP from inside: no effect"),
            "GR-02": ("note", "docker stop -t 0 took [0-9.]+ s"),
            "ST-02": ("note", r"\d of 8 lost"),
            "ZO-03": ("note", "no zombie has a living parent"),
            "ZO-04": ("note", r"stopped exec session in it, it .*without it"),
        },
    ),
    Row(
        "a shell that waits",
        ("sh", "-c", "python3 /checks/server.py; true"),
        {
            "SG-01": ("fail", r"within 3\.0 s of SIGTERM.*no handler"),
            "GR-01": ("fail", "the whole grace period"),
            "PT-01": ("fail", r"^\d+ python3\S* runs behind a shell.*never got the signal"),
            "PT-04": ("skipped", "SG-01"),
            "EX-06": ("skipped", "SG-01"),
            "ST-01": ("fail", r"the shell 'sh', which waits for \d+ python3"),
            "ST-04": ("skipped", "SG-01"),
            "ST-05": ("skipped", "SG-01"),
            "TT-03": ("skipped", "SG-01"),
            "GR-03": ("skipped", "SG-01"),
        },
    ),
    Row(
        "a shell that passes the signal on",
        ("sh", "/checks/forward.sh", *guest("server")),
        {
            "SG-01": ("pass", "with status 0"),
            "PT-01": ("pass", r"^\d+ python3\S* ran behind a shell and ended without being killed"),
            "PT-04": ("pass", "all 2 processes"),
            "EX-06": ("pass", ""),
            "ST-01": ("pass", "PID 1 is the shell 'sh'|PID 1 is 'sh'"),
        },
    ),
    Row(
        "a PID 1 that ignores the signal",
        guest("deaf"),
        {
            "SG-01": ("fail", "the engine had to SIGKILL it"),
            "GR-01": ("fail", ""),
            "PT-01": ("pass", "no program runs behind a shell"),
            "ST-01": ("pass", "PID 1 is 'python3"),
        },
    ),
    Row(
        "a PID 1 without a handler",
        ("sh", "-c", "echo ready; exec sleep 1000"),
        {"SG-01": ("fail", "no handler for the signal"), "ST-01": ("pass", "PID 1 is 'sleep'")},
    ),
    Row(
        "one that only seems to be ready",
        guest("late", "8"),
        {
            "SG-01": ("skipped", "was not ready when it was asked"),
            "GR-01": ("skipped", "was not ready"),
            "PT-04": ("skipped", "SG-01"),
        },
        grace=1,
        readiness=Readiness(),
    ),
    Row(
        "a PID 1 that leaves its server to the kernel",
        guest("leave"),
        {
            "SG-01": ("pass", ""),
            "PT-04": ("fail", r"^\d+ python3\S* still lived when PID 1 left, and the kernel killed them; never asked"),
            "EX-06": ("pass", ""),
        },
    ),
    Row(
        "a shell behind an init that asks its child alone",
        guest("alone", "sh", "-c", "python3 /checks/server.py; true"),
        {
            "SG-01": ("pass", ""),
            "PT-01": ("fail", r"^\d+ python3\S* runs behind a shell.*never got the signal"),
            "PT-04": ("fail", r"^\d+ python3\S* still lived when PID 1 left"),
            "ST-01": ("pass", "PID 1 is 'python3"),
        },
    ),
    Row(
        "a slow one that makes it",
        guest("server", "TERM", "0", "2"),
        {
            "SG-01": ("pass", ""),
            "GR-01": ("pass", r"2\.\d s of 3\.0 s"),
            "GR-03": ("pass", "no harm done"),
            "ST-01": ("pass", ""),
        },
    ),
    Row(
        "a slow one that does not make it",
        guest("server", "TERM", "0", "60"),
        {"SG-01": ("fail", ""), "GR-01": ("fail", "the whole grace period"), "PT-04": ("skipped", "SG-01")},
        grace=2,
    ),
    Row("one that answers 143", guest("server", "TERM", "143"), {"EX-06": ("fail", r"143 \(128 \+ SIGTERM\)")}),
    Row(
        "one that answers 143, as expected",
        guest("server", "TERM", "143"),
        {"EX-06": ("pass", "exit status 143"), "GR-03": ("skipped", "ends before a second signal")},
        options={"expect_exit": (143,)},
    ),
    Row(
        "one that a second signal has abandon its server",
        guest("impatient"),
        {"PT-04": ("pass", ""), "GR-03": ("fail", r"a second SIGTERM left \d+ python3\S* to SIGKILL")},
    ),
    Row(
        "one that writes a file when it is stopped",
        guest("writer"),
        {"ST-04": ("fail", "exit status 1, otherwise 0"), "ST-05": ("fail", "exit status 1, otherwise 0")},
    ),
    Row(
        "one that is particular about where it starts",
        guest("needy"),
        {
            "ST-04": ("skipped", "root, or a user that it knows.*(KeyError|not found)"),
            "ST-05": ("skipped", "writable path.*Read-only"),
            "TT-03": ("skipped", "not on a terminal"),
        },
    ),
    Row(
        "one that stops on a resize",
        guest("server", "WINCH"),
        {"SG-06": ("pass", "SIGWINCH reached 1 python3"), "TT-03": ("fail", "SIGWINCH stops it")},
        target="winch",
    ),
    Row(
        "an init that makes SIGTERM of SIGQUIT",
        guest("translate"),
        {"SG-01": ("pass", "SIGQUIT"), "SG-06": ("fail", "SIGQUIT.*came instead: SIGTERM"), "PT-04": ("pass", "")},
        target="quit",
    ),
    Row(
        "a program that gets its SIGQUIT",
        ("pyinit", "--stop-signals", "QUIT", "--", *guest("server", "QUIT")),
        {"SG-06": ("pass", r"SIGQUIT reached \d+ python3")},
        target="quit",
    ),
    Row(
        "one that reaps nobody",
        guest("server"),
        {"ZO-01": ("fail", "does not reap orphans"), "ZO-02": ("fail", "of 50 orphans are still zombies")},
        severities={"ZO-01": Severity.SHOULD, "ZO-02": Severity.SHOULD},
    ),
    Row(
        "one that reaps nobody, with a health check that leaves orphans",
        guest("server"),
        {"ZO-01": ("fail", "does not reap orphans"), "ZO-02": ("fail", r"10 runs of its HEALTHCHECK left \d+ zombies")},
        target="health",
        severities={"ZO-01": Severity.MUST, "ZO-02": Severity.MUST},
    ),
    Row(
        "one whose own orphan stays a zombie",
        guest("orphaned"),
        {"ZO-01": ("fail", r"1 of its own was still a zombie")},
        severities={"ZO-01": Severity.MUST},
    ),
    Row(
        "one that takes any end for its child's",
        guest("hasty", *guest("server")),
        {
            "SG-01": ("pass", ""),
            "PT-04": ("pass", "all 2 processes"),
            "ZO-01": ("fail", r"it ended, with status \d+, when orphans in it ended"),
            "ZO-02": ("fail", r"it ended, with status \d+, when orphans in it ended"),
        },
        severities={"ZO-01": Severity.MUST, "ZO-02": Severity.MUST},
    ),
    Row(
        "a program that does not reap its child, behind an init",
        (*PYINIT, *guest("lazy")),
        {"ZO-01": ("pass", ""), "ZO-02": ("pass", ""), "ZO-03": ("note", "1 zombies whose parent lives")},
    ),
    Row(
        "a health check that leaves orphans, behind an init",
        (*PYINIT, *guest("server")),
        {"ZO-01": ("pass", ""), "ZO-02": ("pass", "after 10 runs of its HEALTHCHECK")},
        target="health",
    ),
    Row(
        "one in the host's PID namespace",
        guest("server"),
        {
            "SG-01": ("pass", ""),
            "PT-01": ("skipped", "view of its processes"),
            "PT-04": ("skipped", "view of its processes"),
            "ST-01": ("skipped", "view of its processes"),
            "ZO-01": ("skipped", "view of its processes|nothing is put into it"),
            "ZO-02": ("skipped", "view of its processes|nothing is put into it"),
        },
        run_options={"pid_mode": "host"},
    ),
    Row(
        "a web server that finishes what is under way",
        guest("web", "1", "finish"),
        {"GR-06": ("pass", "was answered: .*200.*")},
        target="web",
        options={"request": ("127.0.0.1", 8000, "/")},
        readiness=Readiness(),
    ),
    Row(
        "a web server that cuts off what is under way",
        guest("web", "1", "cut"),
        {"GR-06": ("fail", "was cut off"), "EX-06": ("pass", "")},
        options={"request": ("127.0.0.1", 8000, "/")},
    ),
    Row(
        "a web server that answers before the stop begins",
        guest("web", "0", "cut"),
        {"GR-06": ("skipped", "over before the stop began")},
        options={"request": ("127.0.0.1", 8000, "/")},
    ),
    Row(
        "last words that are there",
        guest("server"),
        {"FD-05": ("pass", "is in its log")},
        options={"last_log": "^bye$"},
    ),
    Row(
        "last words that are lost",
        guest("leave"),
        {"FD-05": ("fail", "is not in its log")},
        options={"last_log": "^bye$"},
    ),
)


# --- what all share ---


@pytest.fixture(scope="module")
def images(client: docker.DockerClient, image: str) -> Mapping[str, str]:
    """The stages of docker/checks/Dockerfile, by name."""
    names = re.findall(r"^FROM .* AS (\w+)$", (CHECKS / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    made = {}
    for name in names:
        built, _ = client.images.build(
            path=str(CHECKS),
            target=name,
            buildargs={"BASE": image},
            tag=f"pyinit-checks:{name}",
            network_mode="none",
            rm=True,
            forcerm=True,
        )
        made[name] = str(built.id)
    return made


@pytest.fixture(scope="module")
def exec_problem(containers: Engine, images: Mapping[str, str]) -> str:
    """Why a health check cannot be run here; empty if it can. (An engine in a chroot runs it in the root outside of that.)"""
    made = containers.create(images["plain"], ["sleep", "60"], entrypoint=[], network_mode="none")
    made.start()
    try:
        sees = made.execute(["test", "-e", guest("server")[-1]])[0] == 0
    finally:
        made.remove()
    return "" if sees else "an exec session does not see its container's files here"


def stage_of(row: Row, engine: Engine, agent: Agent | None, images: Mapping[str, str]) -> Stage:
    """What the runner needs for a row."""
    options = {"network_mode": "none", **row.run_options}
    image = image_of(engine, images[row.target], options, list(row.command), "never")
    subject = ImageSubject(image, row.grace, row.command, options)
    return Stage(engine, agent, subject, row.readiness, row.options)


def verify(row: Row, engine: Engine, agent: Agent | None, images: Mapping[str, str]) -> Run:
    """Does what the row's checks need."""
    plan = Plan(checks=tuple(BY_ID[name] for name in row.says), jobs=2)
    return run(stage_of(row, engine, agent, images), plan, lambda *_: None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_checks_say_what_is_so(
    row: Row, containers: Engine, observer: Agent, images: Mapping[str, str], exec_problem: str
) -> None:
    """Each check of a row gives the verdict of the table, and names who it is about."""
    if row.target == "health" and exec_problem:
        pytest.skip(exec_problem)
    found = verify(row, containers, observer, images)
    said = {one.check.id: (one.finding.verdict.value, one.finding.words) for one in found.results}
    assert {name: verdict for name, (verdict, _) in said.items()} == {
        name: verdict for name, (verdict, _) in row.says.items()
    }, said
    for name, (_, words) in row.says.items():
        assert re.search(words, said[name][1]), f"{name}: {said[name][1]}"
    severities = {one.check.id: one.severity for one in found.results}
    assert {name: severities[name] for name in row.severities} == row.severities


def test_what_never_rests_is_waited_for_once(containers: Engine, observer: Agent, images: Mapping[str, str]) -> None:
    """The first container gets its half minute; all others are asked once they look as it did then. The verdicts are those of others."""
    row = Row("", guest("restless"), {}, readiness=Readiness())
    plan = Plan(checks=[check for check in BY_ID.values() if check.id not in ("ZO-01", "ZO-02")])  # it is PID 1
    found = run(stage_of(row, containers, observer, images), plan, lambda *_: None)
    assert found.ready == "at work for 30 s"
    assert [one.check.id for one in found.results if one.finding.verdict is Verdict.FAIL] == []
    ready = {name: act.stop.ready for name, act in found.case.acts.items() if act.stop and act.stop.ready}
    assert set(ready) == {"stop", "twice", "openshift", "readonly", "hung"}
    others = {one.how for name, one in ready.items() if name != "stop"}
    assert others == {"at work, as the first had been"}
    assert all(one.seconds < SETTLE_LIMIT / 2 for name, one in ready.items() if name != "stop"), ready


def test_every_check_has_its_cases() -> None:
    """The table has a case for each verdict that a check can give; GR-01 and SG-01 are only skipped where it was not ready."""
    said = {(name, verdict) for row in ROWS for name, (verdict, _) in row.says.items()}
    for check in BY_ID.values():
        wanted = {"note"} if check.severity is Severity.NOTE else {"pass", "fail", "skipped"}
        assert {verdict for name, verdict in said if name == check.id} >= wanted, check.id


def test_what_does_not_stay_up_cannot_be_verified(
    containers: Engine, observer: Agent, images: Mapping[str, str]
) -> None:
    """A container that ends by itself gets no verdicts: the run says so, with its status and last words."""
    row = Row("", ("sh", "-c", "echo no settings; exit 3"), {"SG-01": ("", "")})
    with pytest.raises(ImpossibleRunError, match=r"ended by itself with status 3.*no settings"):
        verify(row, containers, observer, images)


# --- what the observer sees ---


SERVER = Row("", (*PYINIT, *guest("server")), {"PT-04": ("pass", "")})
TWO = Row("", guest("two"), {"PT-04": ("fail", "")})


def plain_stop(row: Row, engine: Engine, agent: Agent, images: Mapping[str, str]) -> Stop:
    """One stop, and everything about it."""
    act = perform(stage_of(row, engine, agent, images), "stop")
    if "unable to apply caps" in act.impossible:
        pytest.skip("this engine lacks capabilities itself, and can give no container all of them")
    assert act.stop is not None, act.impossible
    return act.stop


@pytest.fixture(params=[1, 3], ids=["no tracepoints", "no capabilities"])
def lesser_observer(
    request: pytest.FixtureRequest, containers: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Agent]:
    """An observer to which the engine allows less."""
    monkeypatch.setattr(remote, "STEPS", remote.STEPS[request.param :])
    with Agent(containers) as agent:
        assert agent.step == remote.STEPS[0][0], agent.refused
        yield agent


@pytest.mark.parametrize("run_options", [{"user": "1000"}, {"privileged": True}, {"cap_drop": ["ALL"]}], ids=str)
def test_any_target_is_seen_wholly(
    run_options: dict[str, Any], containers: Engine, observer: Agent, images: Mapping[str, str]
) -> None:
    """Who a target runs as, and with which rights, makes no difference to the observer."""
    stop = plain_stop(replace(SERVER, run_options=run_options), containers, observer, images)
    assert stop.account is not None
    assert stop.source == "trace"
    # an observer in a nested PID namespace, as that of an engine in a chroot is, says one thing that it may miss
    assert bool(stop.account.blind) is not observer.hello["initial_namespace"], stop.account.blind
    assert [(one.is_init, stop.how(one), stop.heard(one)) for one in stop.members] == [
        (True, How.FINISHED, True),
        (False, How.FINISHED, True),
    ]


def test_a_nested_namespace_is_part_of_it(containers: Engine, observer: Agent, images: Mapping[str, str]) -> None:
    """Processes of a PID namespace within the container's are seen before the stop and in the account, and there is one PID 1."""
    rights = {"cap_add": ["SYS_ADMIN"], "security_opt": ["apparmor=unconfined"]}  # what unshare needs of --privileged
    command = (*PYINIT, "unshare", "--pid", "--fork", "sh", "-c", "python3 /checks/server.py; true")
    stop = plain_stop(Row("", command, {}, run_options=rights), containers, observer, images)
    names = ["pyinit", "python3", "sh", "unshare"]
    assert sorted(seen.name for seen in stop.before) == names
    assert [seen.name for seen in stop.before if seen.inside == 1] == ["pyinit"]
    assert sorted(one.name for one in stop.members) == names
    assert [one.name for one in stop.members if one.is_init] == ["pyinit"]


ALL = (*SOURCES, "ptrace")


def best_source(agent: Agent) -> str:
    """The first that the observer does not refuse."""
    return next(name for name in SOURCES if not agent.hello["refusals"].get(name))


@pytest.mark.parametrize("source", ALL)
def test_each_source_tells_what_it_knows(
    source: str, containers: Engine, observer: Agent, images: Mapping[str, str]
) -> None:
    """PID 1 kills one child and leaves one to the kernel: tracepoints tell who did it, the others say that they cannot.

    A source that is asked for and not to be had here (an engine in a PID namespace of its own: cn_proc) is an error with the reason.
    """
    refusal = observer.hello["refusals"].get(source)
    if refusal:
        with (
            pytest.raises(ObserverError, match=f"the source {source} is not to be had: no .*leave --source out"),
            Agent(containers, source=source),
        ):
            pass
        pytest.skip(refusal)
    with Agent(containers, source=source) as agent:
        stop = plain_stop(TWO, containers, agent, images)
    assert stop.account is not None
    assert (stop.source, stop.account.lost) == (source, 0)
    assert (bool(stop.account.blind) and "signal" in stop.account.blind[0]) is (source != "trace"), stop.account.blind
    known = {"sleep": How.KILLED_BY_INIT, "tail": How.KILLED_BY_NAMESPACE_END}
    assert {one.name: stop.how(one) for one in stop.killed} == (
        known
        if source == "trace"
        else {**known, "sleep": How.KILLED}
        if source == "ptrace"
        else dict.fromkeys(known, How.KILLED)
    )


@pytest.mark.parametrize("source", ALL[1:])
def test_the_engine_s_own_kill_is_known_by_every_source(
    source: str, containers: Engine, observer: Agent, images: Mapping[str, str]
) -> None:
    """At the engine's deadline nobody else kills PID 1: SG-01 fails, as it does with tracepoints."""
    if observer.hello["refusals"].get(source):
        pytest.skip(observer.hello["refusals"][source])
    with Agent(containers, source=source) as agent:
        stop = plain_stop(Row("", guest("deaf"), {}, grace=1), containers, agent, images)
    assert (stop.source, stop.forced) == (source, True)
    assert [stop.how(one) for one in stop.members] == [How.KILLED_FROM_OUTSIDE]


@pytest.mark.parametrize("source", ALL[1:])
@pytest.mark.parametrize(
    "name",
    ["a server behind an init", "a shell that waits", "one that reaps nobody", "an init that makes SIGTERM of SIGQUIT"],
)
def test_verdicts_do_not_depend_on_the_source(
    name: str, source: str, containers: Engine, observer: Agent, images: Mapping[str, str]
) -> None:
    """With each source a check says what it says with tracepoints; one that judges signals is skipped."""
    if observer.hello["refusals"].get(source):
        pytest.skip(observer.hello["refusals"][source])
    row = next(one for one in ROWS if one.name == name)
    judged = {identity: row.says[identity] for identity in row.says if BY_ID[identity].act in ("stop", "orphans")}
    with Agent(containers, source=source) as agent:
        found = verify(replace(row, says=judged), containers, agent, images)
    assert found.source == source
    said = {one.check.id: one.finding.verdict.value for one in found.results}
    assert said == {
        identity: "skipped" if BY_ID[identity].source is Source.SIGNALS else verdict
        for identity, (verdict, _) in judged.items()
    }, [one.finding for one in found.results]


def test_ptrace_takes_no_protection_from_a_target(containers: Engine, images: Mapping[str, str]) -> None:
    """SG-07 says of a traced PID 1 what it says of others: a SIGSTOP from inside does nothing."""
    row = Row("", (*PYINIT, *guest("server")), {"SG-07": ("note", "")})
    with Agent(containers, source="ptrace") as agent:
        (found,) = verify(row, containers, agent, images).results
    assert found.finding.words == "SIGKILL from inside: no effect; SIGSTOP from inside: no effect"


def test_without_tracepoints_checks_that_need_signals_are_skipped(
    containers: Engine, lesser_observer: Agent, images: Mapping[str, str]
) -> None:
    """The next best source is taken; what it tells is judged as ever, what only tracepoints tell is skipped with its name."""
    source = best_source(lesser_observer)
    assert source != "trace"
    row = Row("", guest("server", "QUIT"), {"SG-01": ("", ""), "SG-06": ("", ""), "PT-04": ("", "")}, target="quit")
    found = verify(row, containers, lesser_observer, images)
    assert found.source == source
    said = {one.check.id: (one.finding.verdict.value, one.finding.words) for one in found.results}
    assert {name: verdict for name, (verdict, _) in said.items()} == {
        "SG-01": "pass",
        "SG-06": "skipped",
        "PT-04": "pass",
    }
    assert source in said["SG-06"][1]
    blind = found.case.plain.account.blind if found.case.plain and found.case.plain.account else ()
    assert blind[0].startswith("signals and their senders"), blind
    for name in SOURCES[: SOURCES.index(source)]:
        assert lesser_observer.hello["refusals"][name] in blind[0]
    left = verify(Row("", guest("leave"), {"PT-04": ("", "")}), containers, lesser_observer, images)
    assert [one.finding.verdict.value for one in left.results] == ["fail"]


def test_who_cannot_be_read_is_skipped(
    containers: Engine, monkeypatch: pytest.MonkeyPatch, images: Mapping[str, str]
) -> None:
    """Without capabilities the observer cannot read another user's processes: what depends on that is skipped, and never passed."""
    monkeypatch.setattr(remote, "STEPS", remote.STEPS[3:])
    row = replace(SERVER, says=dict.fromkeys(("SG-01", "PT-01", "PT-04", "ST-01", "ZO-01", "ZO-02"), ("", "")))
    with Agent(containers) as agent:
        found = verify(replace(row, run_options={"user": "1000"}), containers, agent, images)
    said = {one.check.id: one.finding.verdict.value for one in found.results}
    assert said == {"SG-01": "pass", **dict.fromkeys(("PT-01", "PT-04", "ST-01", "ZO-01", "ZO-02"), "skipped")}


def test_who_is_not_shown_is_no_evidence(
    containers: Engine, observer: Agent, monkeypatch: pytest.MonkeyPatch, images: Mapping[str, str]
) -> None:
    """An observer that shows PID 1, but not what is put in, would pass a PID 1 that reaps nobody: it is skipped, and is a gap."""
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda watch: tuple(one for one in look(watch) if one.inside == 1))
    row = Row("", guest("server"), dict.fromkeys(("SG-01", "ZO-01", "ZO-02", "ZO-04"), ("", "")))
    found = verify(row, containers, observer, images)
    said = {one.check.id: one.finding for one in found.results}
    assert said.pop("SG-01").verdict is Verdict.PASS
    for finding in said.values():
        assert finding.verdict is Verdict.SKIPPED, finding
        assert "did not show a process of ours" in finding.words
    assert found.status(strict=False) == 2


def test_nothing_is_put_into_a_kernel_of_its_own(
    containers: Engine, observer: Agent, images: Mapping[str, str], runsc_problem: str
) -> None:
    """On gVisor outcomes are judged, and no helper is started beside the container."""
    if runsc_problem:
        pytest.skip(runsc_problem)
    row = Row(
        "",
        (*PYINIT, *guest("server")),
        dict.fromkeys(("SG-01", "EX-06", "PT-04", "ZO-01", "ZO-02", "SG-07"), ("", "")),
        grace=10,
        run_options={"runtime": "runsc"},
    )
    found = verify(row, containers, observer, images)
    said = {one.check.id: one.finding.verdict.value for one in found.results}
    assert said == {
        "SG-01": "pass",
        "EX-06": "pass",
        **dict.fromkeys(("PT-04", "ZO-01", "ZO-02", "SG-07"), "skipped"),
    }
    assert found.source == "outcome"


# --- what a session leaves behind ---


def things_of(client: docker.DockerClient, session: str) -> list[str]:
    """Everything that carries a session's label."""
    only: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={session}"}
    return [
        *(f"container {one.name}" for one in client.containers.list(all=True, filters=only)),
        *(f"image {one.id}" for one in client.images.list(filters=only)),
        *(f"network {one.name}" for one in client.networks.list(filters=only)),
        *(f"volume {one.name}" for one in client.volumes.list(filters=only)),
    ]


def make_one_of_each(engine: Engine, image: str) -> None:
    """A container, a network and a volume of a session."""
    engine.create(image, ["sleep", "1000"], network_mode="none").start()
    engine.client.volumes.create(labels=engine.labels)
    engine.client.networks.create(f"pyinit-{engine.session}", internal=True, labels=engine.labels)


def test_a_session_leaves_nothing_behind(client: docker.DockerClient, images: Mapping[str, str]) -> None:
    """After its end there is no container, image, network or volume of a session, and it makes no new ones."""
    with Engine() as session, Agent(session) as agent:
        make_one_of_each(session, images["plain"])
        verify(SERVER, session, agent, images)
        kinds = {words.partition(" ")[0] for words in things_of(client, session.session)}
        assert kinds == {"container", "image", "network", "volume"}
    assert things_of(client, session.session) == []
    with pytest.raises(EngineError, match="session is over"):
        session.create(images["plain"])


OTHER = """
import sys
from pyinit.containers.engine import Engine
from pyinit.containers.observer import SOURCES
from pyinit.containers.remote import Agent, ObserverError
with Engine() as session, Agent(session) as agent:
    target = session.create(sys.argv[1], ["sleep", "1000"], network_mode="none")
    target.start()
    words = ["loiter", str(agent.watch(target.pid).namespace)]
    beside = {"pid_mode": f"container:{target.id}", "network_mode": "none", "user": "0:0"}
    session.held(agent.image, words, entrypoint=agent.command, **beside).start()
    session.client.volumes.create(labels=session.labels)
    print(session.session, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_session_left_is_cleaned(
    client: docker.DockerClient, containers: Engine, images: Mapping[str, str]
) -> None:
    """The observer and a helper, though that is stopped, of a tool that was SIGKILLed end by themselves; `clean` removes the rest, and
    nothing of a session that lives.
    """
    with ExitStack() as undo:
        sessions = []
        for _ in range(2):
            tool = subprocess.Popen(
                [sys.executable, "-c", OTHER, images["plain"]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            undo.enter_context(tool)
            assert tool.stdout is not None
            name = tool.stdout.readline().strip()
            assert name, "the other session did not come up"
            sessions.append((tool, name))
        (killed, left), (living, alive) = sessions
        before = things_of(client, alive)
        assert len(before) == 5
        running: dict[str, str | list[str] | bool] = {"label": f"{LABEL}={left}"}
        assert len(client.containers.list(filters=running)) == 3
        killed.kill()
        killed.wait()
        until(lambda: len(client.containers.list(filters=running)) == 1, 30, "the end of the observer and the helper")
        assert client.containers.list(filters=running)[0].attrs["Config"]["Cmd"] == ["sleep", "1000"]
        removed = containers.clean()
        assert {words.partition(" ")[0] for words in removed} >= {"container", "volume", "image"}
        assert things_of(client, left) == []
        assert things_of(client, alive) == before
        living.communicate("", timeout=60)
        assert things_of(client, alive) == []
