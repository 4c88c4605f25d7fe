"""Judges and evidence of `pyinitctl verify`: all that is pure, on accounts made by hand. Real containers: tests/container."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests

from pyinit.containers import timeline
from pyinit.containers.account import Account, Fate, How, Process, Sender, Signal
from pyinit.containers.engine import Container, EngineError
from pyinit.containers.helpers import UNHELD, is_complete
from pyinit.containers.remote import LostError, Seen
from pyinit.verify import acts, catalogue, inits, runner
from pyinit.verify.acts import ImpossibleError, NeedError, NotUpError, Stage, Started, helper, perform
from pyinit.verify.evidence import Act, Case, Gap, Image, Ready, Stop
from pyinit.verify.init_acts import unasked
from pyinit.verify.ready import SETTLED, Readiness
from pyinit.verify.runner import Plan, Run, _judge
from pyinit.verify.subject import ImageSubject
from pyinit.verify.verdicts import Check, Finding, Result, Severity, Source, Verdict, passed, skipped

STOPPED = 1000.0
QUIT, TERM, KILL = 3, 15, 9


def sent(after: float, number: int, sender: Sender, fate: Fate = Fate.DELIVERED) -> Signal:
    """One signal, so many seconds after the stop began."""
    return Signal(STOPPED + after, number, fate, sender, None, "somebody")


def process(
    name: str, inside: int, ended: float | None, status: int | None, *received: Signal, parent: int | None = 501
) -> Process:
    """One process, born before the stop; its number outside is 500 more."""
    end = None if ended is None else STOPPED + ended
    return Process(name, name, 500 + inside, inside, 99 if inside == 1 else parent, STOPPED - 5, end, status, received)


def seen(one: Process, *, state: str = "S", caught: int = 0) -> Seen:
    """How it was before the stop."""
    assert one.pid is not None
    assert one.inside is not None
    return Seen(one.pid, one.inside, one.parent or 0, one.born, one.name, one.name, one.name, state, 0, 0, caught, 0)


ASKED = sent(0, TERM, Sender.OUTSIDE)
DROPPED = sent(0, TERM, Sender.OUTSIDE, Fate.IGNORED)
PASSED_ON = sent(0.001, TERM, Sender.INIT)


def stop_of(*processes: Process, source: str = "trace", **more: Any) -> Stop:  # noqa: ANN401
    """The stop that an account tells of."""
    account = Account(source, processes, () if source == "trace" else ("who sent a signal",))
    init = account.init
    assert init.ended is not None
    assert init.status is not None
    forced = init.status == KILL
    before = tuple(seen(one) for one in processes if one.pid is not None)
    shown = timeline.of(account, "image", stop_signal=TERM, stopped=STOPPED)
    status = 128 + init.status if init.status < 128 else init.status >> 8
    values: dict[str, Any] = {"before": before, "account": account, "timeline": shown, **more}
    return Stop(10, init.ended - STOPPED, 0 if init.status == 0 else status, forced, "", **values)


def case_of(stop: Stop, *acts: Act, stop_signal: int = TERM, **options: object) -> Case:
    """What judges get."""
    image = Image("image", "sha256:1", ("program",), stop_signal, stop_signal != TERM, (), (), "", "linux/amd64")
    return Case(image, options, {act.name: act for act in (Act("stop", "docker stop c", stop=stop), *acts)})


def judged(name: str, case: Case) -> Finding:
    """What the check says."""
    return catalogue.BY_ID[name].judge(case)


def as_seen_by(source: str, stop: Stop, *, lost: int = 0) -> Stop:
    """The same stop, by another source."""
    assert stop.account is not None
    return replace(stop, account=replace(stop.account, source=source, lost=lost))


GOOD = stop_of(process("init", 1, 1, 0, ASKED), process("server", 7, 0.9, 0, PASSED_ON))
SHELL = stop_of(
    process("sh", 1, 10, KILL, DROPPED, sent(10, KILL, Sender.OUTSIDE)),
    process("server", 7, 10, KILL, sent(10, KILL, Sender.NAMESPACE_END)),
)
LEFT = stop_of(
    process("init", 1, 0.1, 0, ASKED),
    process("server", 7, 0.1, KILL, sent(0.1, KILL, Sender.NAMESPACE_END)),
    process("worker", 8, 0.05, KILL, PASSED_ON, sent(0.04, KILL, Sender.INIT), parent=507),
)


@pytest.mark.parametrize(
    ("name", "stop", "verdict", "words"),
    [
        ("SG-01", GOOD, Verdict.PASS, "1.0 s after SIGTERM"),
        ("SG-01", SHELL, Verdict.FAIL, "no handler"),
        ("GR-01", GOOD, Verdict.PASS, "9.0 s to spare"),
        ("GR-01", SHELL, Verdict.FAIL, "the whole grace period"),
        ("PT-01", GOOD, Verdict.PASS, "no program runs behind a shell"),
        ("PT-01", SHELL, Verdict.FAIL, "7 server runs behind a shell"),
        ("PT-04", GOOD, Verdict.PASS, "all 2 processes"),
        ("PT-04", LEFT, Verdict.FAIL, "7 server still lived when PID 1 left, and the kernel killed them; PID 1 killed 8 worker"),
        ("PT-04", LEFT, Verdict.FAIL, "never asked: 7 server"),
        ("EX-06", GOOD, Verdict.PASS, "exit status 0"),
        ("EX-06", replace(GOOD, status=143), Verdict.FAIL, "128 + SIGTERM"),
        ("ST-01", GOOD, Verdict.PASS, "'init'"),
        ("ST-01", SHELL, Verdict.FAIL, "the shell 'sh', which waits for 7 server"),
        ("ZO-03", GOOD, Verdict.NOTE, "no zombie"),
    ],
)  # fmt: skip
def test_judges_of_the_plain_stop(name: str, stop: Stop, verdict: Verdict, words: str) -> None:
    """Each judge says what the account shows, and names the processes."""
    found = judged(name, case_of(stop))
    assert (found.verdict, words in found.words) == (verdict, True), found.words


def test_no_judge_passes_without_evidence() -> None:
    """Where no act was done at all, every check is skipped, with a reason."""
    case = Case(case_of(GOOD).image, {}, {})
    for check in catalogue.CHECKS:
        found = check.judge(case)
        assert found.verdict is Verdict.SKIPPED, check.id
        assert found.words, check.id


@pytest.mark.parametrize("name", [check.id for check in catalogue.CHECKS if check.source is not Source.OUTCOME])
def test_no_judge_of_processes_passes_on_outcomes_alone(name: str) -> None:
    """Where nothing could be watched, a check that needs processes or signals is skipped."""
    blind = Stop(10, 1.0, 0, forced=False, logs="")
    case = case_of(blind, Act("twice", stop=blind, seen={"sent": True}), stop_signal=3)
    assert _judge(case, catalogue.BY_ID[name], Plan()).finding.verdict is Verdict.SKIPPED


@pytest.mark.parametrize("source", ["trace", "cn_proc", "pidfd"])
@pytest.mark.parametrize("check", catalogue.CHECKS, ids=lambda check: check.id)
def test_no_check_judges_what_its_source_cannot_know(check: Check, source: str) -> None:
    """Signals are judged with tracepoints alone; and where events were lost, nothing is that needs more than outcomes."""
    with_source = as_seen_by(source, GOOD)
    acts = Act("twice", stop=with_source, seen={"sent": True})
    whole = _judge(case_of(with_source, acts, stop_signal=3), check, Plan()).finding
    if check.source is Source.SIGNALS and source != "trace":
        assert (whole.verdict, f"only {source}" in whole.words) == (Verdict.SKIPPED, True)
    else:
        assert "needs the source" not in whole.words
    gaps = as_seen_by(source, GOOD, lost=7)
    for case in (case_of(gaps, acts, stop_signal=3), case_of(GOOD, replace(acts, stop=gaps))):
        found = _judge(case, check, Plan()).finding
        judged_it = case.plain is gaps or check.act == "twice"
        if check.source is not Source.OUTCOME and judged_it:
            assert (found.verdict, "7 events" in found.words or "only" in found.words) == (Verdict.SKIPPED, True)
        else:
            assert "events" not in found.words


@pytest.mark.parametrize(("source", "words"), [("pidfd", "that were seen"), ("cn_proc", "all 2 processes ended")])
def test_what_pidfds_pass_is_who_was_seen(source: str, words: str) -> None:
    """PT-04 does not claim to have seen everybody where short-lived processes are missed."""
    found = judged("PT-04", case_of(as_seen_by(source, GOOD)))
    assert (found.verdict, words in found.words) == (Verdict.PASS, True), found.words


def test_a_shell_that_traps_does_not_only_wait() -> None:
    """ST-01 passes a shell that handles the stop signal, unless it did not end on it all the same."""
    account = GOOD.account
    assert account is not None
    shell, server = (seen(one) for one in account.processes)
    traps = replace(shell, name="sh", program="dash", caught=1 << (TERM - 1))
    ended = replace(GOOD, before=(traps, server))
    assert judged("ST-01", case_of(ended)).verdict is Verdict.PASS
    assert judged("ST-01", case_of(replace(ended, forced=True))).verdict is Verdict.FAIL
    assert judged("ST-01", case_of(replace(GOOD, before=(replace(traps, caught=0), server)))).verdict is Verdict.FAIL


def test_what_was_not_ready_has_failed_nothing() -> None:
    """Where the patient stop was not forced, the first said nothing: SG-01, GR-01 and what builds on them are skipped."""
    early = replace(SHELL, ready=Ready(SETTLED, 2.0))
    case = case_of(early, Act("patient", stop=GOOD))
    for name in ("SG-01", "GR-01", "PT-04", "EX-06"):
        found = _judge(case, catalogue.BY_ID[name], Plan()).finding
        assert (found.verdict, "not ready" in found.words) == (Verdict.SKIPPED, True), found.words


@pytest.mark.parametrize(
    ("second", "is_sent", "verdict"),
    [
        (GOOD, True, Verdict.PASS),
        (LEFT, True, Verdict.FAIL),
        (SHELL, True, Verdict.FAIL),
        (GOOD, False, Verdict.SKIPPED),
    ],
)
def test_a_second_signal(second: Stop, is_sent: bool, verdict: Verdict) -> None:  # noqa: FBT001
    """GR-03 compares the stop with two signals with the one with one."""
    case = case_of(GOOD, Act("twice", stop=second, seen={"sent": is_sent}))
    assert judged("GR-03", case).verdict is verdict


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(0.4, Verdict.SKIPPED), (0.501, Verdict.SKIPPED), (0.59, Verdict.SKIPPED), (0.61, Verdict.PASS)],
)
def test_a_stop_near_the_limit_is_judged_alike(seconds: float, verdict: Verdict) -> None:
    """GR-03 does not change its mind about a program whose stop takes half a second, more or less."""
    case = case_of(replace(GOOD, seconds=seconds), Act("twice", stop=GOOD, seen={"sent": True}))
    assert judged("GR-03", case).verdict is verdict


@pytest.mark.parametrize(
    ("ended", "unheard", "verdict"),
    [(False, False, Verdict.PASS), (False, True, Verdict.SKIPPED), (True, True, Verdict.FAIL)],
)
def test_a_resize_that_nobody_heard_is_no_evidence(ended: bool, unheard: bool, verdict: Verdict) -> None:  # noqa: FBT001
    """TT-03 passes what had a SIGWINCH and went on; what ended has failed, whatever was seen of it."""
    act = Act("resized", seen={"ended": ended, "unheard": unheard, "status": 0})
    assert judged("TT-03", case_of(GOOD, act)).verdict is verdict


class Refusing:
    """An engine's client whose container cannot be resized; `status`: how the container has ended, None: it runs."""

    def __init__(self, status: int | None) -> None:
        self.client = self.api = self
        self.id = "1"
        self.status = status

    def resize(self, *_: int) -> None:
        raise docker.errors.APIError("500 Server Error", explanation="cannot resize a stopped container")

    def wait(self, *_: str, timeout: float) -> dict[str, int]:
        if self.status is None:
            raise requests.exceptions.ReadTimeout(timeout)
        return {"StatusCode": self.status}


def test_a_resize_of_one_that_has_ended() -> None:
    """It is no error of the engine's, who says it in its own words, or not yet; of one that runs it is."""
    ended: Any = Refusing(0)
    running: Any = Refusing(None)
    assert Container(ended, ended).resize(50, 100) is False
    with pytest.raises(EngineError, match="its terminal cannot be resized: cannot resize"):
        Container(running, running).resize(50, 100)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "complete"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (OK + b"Content-Length: 0\r\n", False),
        (OK + b"Content-Length: 4\r\n\r\ndone", True),
        (OK + b"content-length:4\r\n\r\ndon", False),
        (OK + b"\r\ndone", None),
        (OK + b"Content-Length: four\r\n\r\ndone", None),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n", True),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4;a=b\r\ndone\r\n0\r\nDigest: 1\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\ndone\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n0\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\ndone", False),
    ],
)
def test_when_an_answer_is_complete(answer: bytes, complete: bool | None) -> None:  # noqa: FBT001
    """Its header has ended and its body is as long as it says; where it does not say, nobody can tell."""
    assert is_complete(answer) is complete


@pytest.mark.parametrize(
    ("seen_there", "verdict", "words"),
    [
        ({"status": "HTTP/1.1 200 OK", "complete": True}, Verdict.PASS, "was answered: HTTP/1.1 200 OK, 9 bytes"),
        ({"status": "HTTP/1.1 404 Not Found", "complete": True}, Verdict.PASS, "404"),
        ({"status": "HTTP/1.1 200 OK", "complete": False}, Verdict.FAIL, "was cut off: the answer is not complete"),
        ({"status": "HTTP/1.1 200 OK", "complete": None}, Verdict.SKIPPED, "cannot be told: HTTP/1.1 200 OK"),
        ({"status": "HTTP/1.1 503 Service Unavailable", "complete": True}, Verdict.FAIL, "not served: HTTP/1.1 503"),
        ({"status": "HTTP/1.1 503", "complete": None}, Verdict.FAIL, "not served: HTTP/1.1 503"),
        ({"status": "nonsense", "complete": None}, Verdict.SKIPPED, "cannot be told"),
        ({"error": "Connection reset by peer"}, Verdict.FAIL, "was cut off: Connection reset by peer"),
        ({}, Verdict.FAIL, "was cut off"),
    ],
)
def test_a_request_under_way(seen_there: dict[str, Any], verdict: Verdict, words: str) -> None:
    """GR-06 passes a whole answer that is no server's error, and does not guess where an answer's end cannot be told."""
    found = judged("GR-06", case_of(GOOD, Act("request", seen={"bytes": 9, **seen_there})))
    assert (found.verdict, words in found.words) == (verdict, True), found.words


def test_without_senders_a_program_behind_a_shell_is_not_called_unasked() -> None:
    """PT-01 with pidfds alone: skipped, until the signal sent straight to the program has shown that it would have ended."""
    assert SHELL.account is not None
    blind = stop_of(*(replace(one, signals=()) for one in SHELL.account.processes), source="pidfd")
    assert judged("PT-01", case_of(blind)).verdict is Verdict.SKIPPED
    server = ("server", "server")
    straight = Act("straight", seen={"asked": [server], "went_on": []})
    found = judged("PT-01", case_of(blind, straight))
    assert (found.verdict, found.evidence[-1]) == (
        Verdict.FAIL,
        "asked directly, in a fresh container: server ended",
    )
    went_on = replace(straight, seen={"asked": [server], "went_on": [server]})
    assert judged("PT-01", case_of(blind, went_on)).verdict is Verdict.PASS
    not_found = replace(straight, seen={"asked": [("server", "server --debug")], "went_on": []})
    found = judged("PT-01", case_of(blind, not_found))
    assert (found.verdict, "not found in a fresh container" in found.words) == (Verdict.SKIPPED, True)


def test_who_ended_in_an_unknown_way_is_not_passed() -> None:
    """PT-04 is skipped where a status is missing, and says whose."""
    unknown = stop_of(process("init", 1, 1, 0, ASKED), process("server", 7, 0.9, None), source="pidfd")
    found = judged("PT-04", case_of(unknown))
    assert (found.verdict, "7 server" in found.words) == (Verdict.SKIPPED, True)


def test_without_statuses_a_trace_still_tells_a_clean_stop() -> None:
    """PT-04 on kernels that tell no status (before Linux 6.15): passed where no SIGKILL was seen, failed where one was."""
    for stop, verdict in ((GOOD, Verdict.PASS), (LEFT, Verdict.FAIL)):
        assert stop.account is not None
        older = tuple(replace(one, status=None) for one in stop.account.processes)
        untold = replace(stop.account, processes=older).with_exit_status(0)
        assert judged("PT-04", case_of(replace(stop, account=untold))).verdict is verdict


class Crowd:
    """A container at whose every look somebody else has just ended, beside those who stay."""

    def __init__(self, *staying: Seen) -> None:
        self.staying = staying
        self.looks = 0

    def look(self) -> tuple[Seen, ...]:
        self.looks += 1
        brief = seen(process("brief", 100 + self.looks, None, None), state="Z")
        return (*self.staying, brief)


def test_a_zombie_is_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZO-01 and ZO-02 of a program that starts others all the time: who has just ended is not unreaped, and a child's child not PID 1's."""
    monkeypatch.setattr(acts, "REAP_WITHIN", 0.1)
    init, alive = (seen(process(name, inside, None, None)) for name, inside in (("init", 1), ("server", 7)))
    orphan = seen(process("orphan", 8, None, None), state="Z")
    lazy = seen(process("lazy", 9, None, None, parent=507), state="Z")
    busy: Any = Crowd(init, alive)
    assert acts.unreaped(busy, init.pid) == ()
    full: Any = Crowd(init, alive, orphan, lazy)
    assert acts.unreaped(full, init.pid) == (orphan,)
    assert acts.unreaped(full) == (orphan, lazy)


@pytest.mark.parametrize(
    ("source", "code", "seconds", "forced"),
    [("pidfd", 137, 10, True), ("pidfd", 137, 1, False), ("trace", 0, 1, False), ("pidfd", 0, 1, False)],
)
def test_a_kill_at_the_deadline_is_the_engines(source: str, code: int, seconds: float, forced: bool) -> None:  # noqa: FBT001
    """SG-01 does not pass with status 137 where no status was told: the engine's own SIGKILL is known by its time."""
    account = Account(source, (process("init", 1, seconds, None),), ())
    init = seen(account.init)
    watch: Any = SimpleNamespace(look=lambda: (init,), wait=lambda _: True, account=lambda: account)
    container: Any = SimpleNamespace(stop=lambda _: None, wait=lambda _: code, state={}, logs=lambda: "")
    stage: Any = SimpleNamespace(
        subject=SimpleNamespace(grace=10, image=case_of(GOOD).image), agent=SimpleNamespace(now=lambda: STOPPED)
    )
    stop = acts.stop_it(stage, acts.Started(container, watch, Ready("", 0)))
    assert (stop.status, stop.forced) == (code, forced)
    assert judged("SG-01", case_of(stop)).verdict is (Verdict.FAIL if forced else Verdict.PASS)


NO_ZOMBIES: dict[str, Any] = {
    "ended": None,
    "injected": 50,
    "zombies": (),
    "own": (),
    "health": [],
    "health_zombies": (),
    "adopter": None,
    "left_orphan": False,
}


@pytest.mark.parametrize("name", ["ZO-01", "ZO-02"])
@pytest.mark.parametrize("injected", [50, 0])
def test_one_that_orphans_end_reaps_nobody(name: str, injected: int) -> None:
    """Where PID 1 is gone there are no zombies, and that is no pass, whether or not all orphans could be put in before."""
    stays = Act("orphans", seen=NO_ZOMBIES)
    assert judged(name, case_of(GOOD, stays)).verdict is Verdict.PASS
    ended = Act("orphans", seen={**NO_ZOMBIES, "ended": 0, "injected": injected})
    found = judged(name, case_of(GOOD, ended))
    assert (found.verdict, "it ended, with status 0, when orphans" in found.words) == (Verdict.FAIL, True)


def act_upon(monkeypatch: pytest.MonkeyPatch, name: str, container: Any, watch: Any) -> Act:  # noqa: ANN401 - stand-ins
    """An act, done to a container that stands in for one of an engine's."""
    stage: Any = SimpleNamespace(
        options={}, subject=SimpleNamespace(image=case_of(GOOD).image, command_line=lambda **_: "docker run c")
    )

    @contextmanager
    def started(*_: object, **__: object) -> Iterator[acts.Started]:
        yield acts.Started(container, watch, Ready("", 0))

    monkeypatch.setattr(acts, "started", started)
    return acts.perform(stage, name)


WINCH = sent(0, 28, Sender.OUTSIDE, Fate.IGNORED)


@pytest.mark.parametrize(
    ("source", "received", "runs", "ended", "unheard"),
    [
        ("trace", (WINCH,), True, False, False),
        ("trace", (ASKED,), True, False, True),
        ("pidfd", (), True, False, False),
        ("trace", (), False, True, True),
    ],
)
def test_what_a_resize_does_is_noted(
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    received: tuple[Signal, ...],
    runs: bool,  # noqa: FBT001
    ended: bool,  # noqa: FBT001
    unheard: bool,  # noqa: FBT001
) -> None:
    """An end on the first resize, and a SIGWINCH that never came, as far as the source knows."""
    account = Account(source, (process("init", 1, None, None, *received),), ())
    tries: list[int] = []

    def resize(rows: int, _: int) -> bool:
        tries.append(rows)
        return runs

    container = SimpleNamespace(resize=resize, running=runs, state={"ExitCode": 0})
    monkeypatch.setattr(acts, "until", lambda condition, _: condition())
    act = act_upon(monkeypatch, "resized", container, SimpleNamespace(account=lambda: account))
    assert (act.impossible, act.seen) == ("", {"ended": ended, "unheard": unheard, "status": 0})
    assert len(tries) == (3 if runs else 1)


def put_in_orphans(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[Seen, ...]], status: int | None, injected: dict[str, int] | None
) -> Act:
    """The act `orphans`, of a container seen like that at each look; `injected` None: the helper was lost."""
    left = iter(looks)
    watch: Any = SimpleNamespace(look=lambda: next(left, looks[-1]), account=lambda: GOOD.account)
    container: Any = SimpleNamespace(wait=lambda _: status)

    def helper(*_: object) -> dict[str, int]:
        if injected is None:
            raise acts.ImpossibleError("it said nothing")
        return injected

    monkeypatch.setattr(acts, "helper", helper)
    return act_upon(monkeypatch, "orphans", container, watch)


def test_the_end_of_pid_1_with_its_orphans_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that goes with PID 1 makes nothing impossible; one that fails beside a living one does, and so does one not seen."""
    init = GOOD.before[:1]
    for injected in (None, {"orphans": 50}):
        gone = put_in_orphans(monkeypatch, [init, ()], 0, injected)
        assert (gone.impossible, gone.seen["ended"]) == ("", 0)
    assert put_in_orphans(monkeypatch, [init], None, {"orphans": 50}).seen["ended"] is None
    assert put_in_orphans(monkeypatch, [init], None, None).impossible == "it said nothing"
    assert "no longer be looked at" in put_in_orphans(monkeypatch, [init, ()], None, {"orphans": 50}).impossible
    assert "could not be looked at" in put_in_orphans(monkeypatch, [()], None, {"orphans": 50}).impossible


def test_a_health_check_that_never_ran_is_no_evidence() -> None:
    """ZO-02 passes where the health check ran, however it ended, and is skipped where the engine could not run it."""
    ran = Act("orphans", seen={**NO_ZOMBIES, "health": [1] * 10})
    never = Act("orphans", seen={**NO_ZOMBIES, "health": [125] * 10})
    assert judged("ZO-02", case_of(GOOD, ran)).verdict is Verdict.PASS
    assert judged("ZO-02", case_of(GOOD, never)).verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("conts", "stops", "left"),
    [
        ([], [5.0], []),
        ([1.0], [], [1.0]),
        ([1.0, 5.01], [5.0], [1.0]),
        ([1.0, 1.02, 5.01], [5.0], [1.0, 1.02]),
        ([5.01, 5.02], [5.0], [5.02]),
        ([4.9], [5.0], [4.9]),
    ],
)
def test_one_sigcont_goes_with_a_stop_signal(conts: list[float], stops: list[float], left: list[float]) -> None:
    """SG-02 counts every SIGCONT but the first after a stop signal."""
    assert unasked(conts, stops) == left


# --- members ---


def test_members_are_the_containers_own() -> None:
    """Descendants of PID 1 and whoever it had adopted; not exec sessions, and not who ended before the stop."""
    stop = stop_of(
        process("init", 1, 1, 0, ASKED),
        process("server", 7, 0.9, 0),
        process("worker", 8, 0.8, 0, parent=507),
        process("migrate", 5, -2, 0),
        process("exec", 20, 0.95, KILL, sent(0.95, KILL, Sender.NAMESPACE_END), parent=88),
        process("its child", 21, 0.95, KILL, parent=520),
    )
    without = replace(stop, before=tuple(one for one in stop.before if one.name != "adopted"))
    assert [one.name for one in without.members] == ["init", "server", "worker"]
    assert without.killed == ()


def test_who_was_adopted_is_a_member() -> None:
    """A process whose parent was unknown at birth, and which was PID 1's child when the stop began."""
    daemon = process("daemon", 9, 1, KILL, sent(1, KILL, Sender.NAMESPACE_END), parent=77)
    stop = stop_of(process("init", 1, 1, 0, ASKED), daemon)
    adopted = replace(seen(daemon), parent=501)
    assert [one.name for one in replace(stop, before=(stop.before[0], adopted)).killed] == ["daemon"]


def test_a_process_without_a_number_is_nobodys_parent() -> None:
    """One that was gone before its number could be read does not make members of those whose parent is not known."""
    brief = replace(process("brief", 30, 0.5, 0), pid=None, inside=None)
    stranger = process("stranger", 31, 0.9, 0, parent=None)
    stop = stop_of(process("init", 1, 1, 0, ASKED), brief, stranger)
    assert [one.name for one in stop.members] == ["init", "brief"]


def test_how_each_was_killed() -> None:
    """A stop tells a kill by PID 1 from the kernel's."""
    assert {one.name: LEFT.how(one) for one in LEFT.killed} == {
        "server": How.KILLED_BY_NAMESPACE_END,
        "worker": How.KILLED_BY_INIT,
    }


# --- what is a gap ---


def needs(_: Stage) -> Act:
    """Where nothing can be put in."""
    raise NeedError("its runtime has a kernel of its own")


def loses(_: Stage) -> Act:
    """Where the observer goes."""
    raise LostError("the observer has ended")


def is_not_ready(_: Stage) -> Act:
    """Where the container does not become ready this time."""
    raise ImpossibleError("not ready within 60 s")


STAGE = Stage(None, None, ImageSubject(case_of(GOOD).image, 10, None), Readiness())  # type: ignore[arg-type]


@pytest.mark.parametrize(("act", "is_gap"), [(needs, False), (loses, True), (is_not_ready, True)])
def test_only_an_absent_need_excuses_zo01(act: Callable[[Stage], Act], is_gap: bool) -> None:  # noqa: FBT001
    """ZO-01 that was skipped because something failed is still required; nobody need judge what cannot be had."""
    orphans = perform(STAGE, "orphans", {"orphans": act})
    for plan, required in ((Plan(), is_gap), (Plan(require=frozenset({"ZO-01"})), True)):
        found = _judge(case_of(GOOD, orphans), catalogue.BY_ID["ZO-01"], plan)
        assert (found.finding.verdict, found.required) == (Verdict.SKIPPED, required), found


@pytest.mark.parametrize(("users", "kind"), [("private", NeedError), ("host", ImpossibleError), ("", ImpossibleError)])
def test_a_refusal_is_a_failure_but_beside_users_of_its_own(users: str, kind: type[Exception]) -> None:
    """An engine that makes no container (its disk is full, say) has not shown that none can be put there."""

    def refuse(*_: object, **__: object) -> None:
        raise EngineError("no space left on device")

    container = SimpleNamespace(id="c", attributes={"HostConfig": {"UsernsMode": users}})
    target: Any = Started(container, SimpleNamespace(namespace=1), Ready("settled", 1.0))  # type: ignore[arg-type]
    agent: Any = SimpleNamespace(image="agent", command=["python3"])
    stage = replace(STAGE, engine=SimpleNamespace(held=refuse), agent=agent)  # type: ignore[arg-type]
    with pytest.raises(ImpossibleError, match="nothing can be put beside it: no space") as caught:
        helper(stage, target, "orphans")
    assert caught.type is kind


@pytest.mark.parametrize(
    ("error", "gap", "words"),
    [
        (NotUpError("it ended by itself"), Gap.NOT_READY, "it needs root, or a user that it knows: it ended by itself"),
        (EngineError("no space left"), Gap.FAILED, "no space left"),
        (LostError("the observer has ended"), Gap.FAILED, "the observer has ended"),
        (NeedError("a kernel of its own"), Gap.ABSENT, "a kernel of its own"),
    ],
)
def test_a_need_of_the_image_is_told_from_a_failure(error: Exception, gap: Gap, words: str) -> None:
    """Who does not come up as another user needs root; where the engine or the observer failed, that is all that is known."""

    def fail(_: Stage) -> Act:
        raise error

    act = perform(STAGE, "openshift", {"openshift": fail})
    assert act.gap is gap
    assert judged("ST-04", case_of(GOOD, act)) == skipped(words)


def test_only_what_was_not_wanted_was_not_done() -> None:
    """An act that is not there, and one that is."""
    assert (case_of(GOOD).act("openshift").gap, case_of(GOOD).act("stop").gap) == (Gap.NOT_DONE, None)


@pytest.mark.parametrize("check", inits.CHECKS, ids=lambda check: check.id)
@pytest.mark.parametrize(
    "stop", [as_seen_by("trace", GOOD, lost=3), Stop(10, 1.0, 0, forced=False, logs="")], ids=["lost", "unseen"]
)
def test_an_init_is_not_judged_by_what_was_not_seen(check: Check, stop: Stop) -> None:
    """A check of an init that needs a view of the processes is skipped where there was none, or where events were lost."""
    reached = replace(check, judge=lambda _: passed("judged"))
    found = runner.finding_of(case_of(GOOD, Act(check.act, stop=stop)), reached)
    assert found.verdict is (Verdict.PASS if check.source is Source.OUTCOME else Verdict.SKIPPED)
    assert runner.finding_of(case_of(GOOD, Act(check.act)), reached).verdict is Verdict.PASS


def test_zo01_without_a_view_is_no_gap() -> None:
    """Nothing of the container was seen: nothing could be put in either."""
    blind = Stop(10, 1.0, 0, forced=False, logs="")
    assert not _judge(case_of(blind), catalogue.BY_ID["ZO-01"], Plan()).required


@pytest.mark.parametrize(
    ("plan", "status"),
    [
        ({}, 1),
        ({"known": frozenset({"SG-01"})}, 0),
        ({"left_out": {"SG-01": "it is to be killed"}}, 0),
        ({"known": frozenset({"SG-01"}), "require": frozenset({"PT-04"})}, 2),
    ],
)
def test_what_follows_from_an_accepted_failure_is_no_gap(plan: dict[str, Any], status: int) -> None:
    """Who knows that it does not stop cleanly need not excuse PT-04 as well, unless it is asked for."""
    rows = tuple(catalogue.BY_ID[name] for name in ("SG-01", "PT-04", "EX-06"))
    case = case_of(SHELL)
    found = tuple(_judge(case, check, Plan(rows, **plan)) for check in rows)
    assert Run(case, found, "trace", "settled").status(strict=False) == status


def test_what_cannot_be_judged_is_not_passed_by_silence() -> None:
    """Where SG-01 is not to be checked, what is skipped because of it counts, known or not; an excuse of its own counts more."""
    row = catalogue.BY_ID["EX-06"]
    for plan, status in (
        (Plan((row,)), 2),
        (Plan((row,), known=frozenset({"SG-01"})), 2),
        (Plan((row,), {"EX-06": "no"}), 0),
    ):
        assert (
            Run(case_of(SHELL), (_judge(case_of(SHELL), row, plan),), "trace", "settled").status(strict=False) == status
        )
    assert not _judge(case_of(GOOD), row, Plan((row,))).required


def test_not_ready_is_no_accepted_failure() -> None:
    """A stop that came too early has judged nothing, whatever is known."""
    case = case_of(replace(SHELL, ready=Ready(SETTLED, 2.0)), Act("patient", stop=GOOD))
    assert _judge(case, catalogue.BY_ID["PT-04"], Plan(known=frozenset({"SG-01"}))).required


class Gone:
    """An observer that has ended in the middle."""

    def now(self) -> float:
        """Its clock, as `Agent.now`."""
        raise LostError("the observer has ended")


def test_a_run_whose_observer_has_gone_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the acts before it came to."""
    monkeypatch.setattr(runner, "perform", lambda _stage, name: Act(name, stop=GOOD))
    plan = Plan((catalogue.BY_ID["SG-01"],))
    whole = runner.run(STAGE, plan, lambda *_: None)
    assert (whole.status(strict=False), whole.partial) == (0, True)
    assert not runner.is_partial(Plan(), catalogue.CHECKS)
    with pytest.raises(LostError, match="the observer has ended"):
        runner.run(replace(STAGE, agent=Gone()), plan, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [(), ("stopped",)])
def test_a_helper_ends_with_its_connection(words: tuple[str, ...]) -> None:
    """Also where it is stopped; and at once where there was none when it began."""
    body = "os.kill(os.getpid(), signal.SIGSTOP)" if words else "signal.pause()"
    code = f"import os, signal\nfrom pyinit.containers import helpers\nhelpers.end_with_stdin()\nos.write(1, b'up')\n{body}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        assert helper.stdout.read(2) == b"up"
        assert helper.poll() is None
        helper.stdin.close()
        assert helper.wait(60) == -signal.SIGKILL
    assert subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, check=False).returncode == UNHELD


# --- what is done once more ---


def stopped_after(seconds: float, status: int = 0) -> Act:
    """The act `openshift`, whose stop took so long of 10 s."""
    return Act("openshift", stop=replace(SHELL if status == 137 else GOOD, seconds=seconds, status=status))


QUICK, SLOW, CUT_OFF = stopped_after(1), stopped_after(9), stopped_after(10, 137)


@pytest.mark.parametrize(
    ("first", "second", "done", "verdict"),
    [
        (QUICK, CUT_OFF, 1, Verdict.PASS),
        (SLOW, CUT_OFF, 1, Verdict.PASS),
        (CUT_OFF, QUICK, 2, Verdict.PASS),
        (CUT_OFF, CUT_OFF, 2, Verdict.FAIL),
        (CUT_OFF, Act("openshift", impossible="no space left"), 2, Verdict.FAIL),
        (stopped_after(9, 1), QUICK, 2, Verdict.PASS),
        (stopped_after(1, 1), QUICK, 1, Verdict.FAIL),
    ],
)  # fmt: skip
def test_a_duration_near_its_limit_gets_a_second_try(
    monkeypatch: pytest.MonkeyPatch, first: Act, second: Act, done: int, verdict: Verdict
) -> None:
    """Where it may have failed a check; once; and what cannot be done a second time has not passed."""
    tries = iter((first, second))
    performed: list[str] = []

    def perform(_: Stage, name: str) -> Act:
        performed.append(name)
        return Act(name, stop=GOOD) if name == "stop" else next(tries)

    monkeypatch.setattr(runner, "perform", perform)
    came = runner.run(STAGE, Plan((catalogue.BY_ID["ST-04"],)), lambda *_: None)
    assert performed.count("openshift") == done
    assert came.results[0].finding.verdict is verdict


def test_the_plain_stop_gets_a_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the others, which are compared with it: the quicker one counts."""
    tries = iter((9.0, 2.0))
    monkeypatch.setattr(runner, "perform", lambda _, name: Act(name, stop=replace(GOOD, seconds=next(tries))))
    came = runner.run(STAGE, Plan((catalogue.BY_ID["GR-01"],)), lambda *_: None)
    assert "2.0 s of 10.0 s" in came.results[0].finding.words


# --- the exit status of a run ---


@pytest.mark.parametrize(
    ("finding", "more", "strict", "status"),
    [
        (passed("it is so"), {}, True, 0),
        (Finding(Verdict.FAIL, "it is not"), {}, False, 1),
        (Finding(Verdict.FAIL, "it is not"), {"known": True}, False, 0),
        (Finding(Verdict.FAIL, "it is not"), {"excused": "we know"}, False, 0),
        (skipped("no way to tell"), {}, False, 0),
        (skipped("no way to tell"), {"required": True}, False, 2),
        (skipped("no way to tell"), {}, True, 2),
        (skipped("no way to tell"), {"excused": "we know"}, True, 0),
    ],
)
def test_status_of_a_run(finding: Finding, more: dict[str, Any], strict: bool, status: int) -> None:  # noqa: FBT001
    """1 for a failure that is nobody's excuse, 2 for a gap where there may be none."""
    result = Result(catalogue.BY_ID["EX-06"], finding, **more)
    assert Run(case_of(GOOD), (result,), "trace", "settled").status(strict=strict) == status


def test_every_row_of_the_catalogue_is_whole() -> None:
    """Each check has words for a reader; whatever can fail says what to change."""
    assert len({check.id for check in catalogue.CHECKS}) == len(catalogue.CHECKS)
    for check in catalogue.CHECKS:
        assert check.title
        assert check.why.endswith(".")
        assert check.group
        assert bool(check.fix) == (check.severity is not Severity.NOTE), check.id


@pytest.mark.parametrize(
    ("first", "worker", "command", "verdict"),
    [
        (
            "postgres",
            "postgres",
            "postgres: checkpointer",
            Verdict.PASS,
        ),  # one program, which tells its own processes its own way
        ("python3", "python3", "", Verdict.PASS),  # a fork of it
        ("python3", "python3", "python3 /srv/app.py", Verdict.FAIL),  # one program in front of another
        ("node", "node", "node /srv/app.js", Verdict.FAIL),
        ("init", "server", "", Verdict.FAIL),
    ],
)
def test_sg06_asks_the_program(first: str, worker: str, command: str, verdict: Verdict) -> None:
    """QUIT came, and the others got TERM: a fault of what stands in front of a program, the program's own affair in its own processes."""
    asked = sent(0, QUIT, Sender.OUTSIDE)
    stop = stop_of(process(first, 1, 1, 0, asked), process(worker, 7, 0.9, 0, PASSED_ON))
    before = tuple(replace(one, command=command) if command and one.inside == 7 else one for one in stop.before)
    assert judged("SG-06", case_of(replace(stop, before=before), stop_signal=QUIT)).verdict is verdict
