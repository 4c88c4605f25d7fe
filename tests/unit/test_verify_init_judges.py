"""What the checks of an init say about evidence, where a container does not show it easily: pure functions, on evidence made by hand."""

from typing import Any

import pytest

from pyinit.verify import inits
from pyinit.verify.evidence import Act, Case, Image
from pyinit.verify.verdicts import Severity, Verdict

IMAGE = Image("init", "sha256:1", ("init",), 15, False, (), (), "", "")  # noqa: FBT003
ENDED = {"status": 137, "said": [], "others": [], "oom": True}
HOGGED = [{"say": "unlimited", "who": "main", "at": 1.0, "number": 576}]
TERMINAL = {"tty": True, "foreground": True, "jobs": True, "text": "typed\n", "keys": {"INT": 1, "QUIT": 1, "TSTP": 1}}
WORKS = {"left": (), "answered": True, "status": 0}
ASKED, UNASKED = {"asked": True, "others": []}, {"asked": False, "others": []}
CHATTY = {"asked": True, "others": ["init: no file"]}
TOLD = {"asked": False, "others": ["init: 7 may not be signalled"]}

MUST, SHOULD = Severity.MUST, Severity.SHOULD
PASS, FAIL, SKIPPED = Verdict.PASS, Verdict.FAIL, Verdict.SKIPPED


@pytest.mark.parametrize(
    ("check", "seen", "verdict", "severity", "words"),
    [
        ("EX-04", ENDED, PASS, SHOULD, "137, and the engine says OOMKilled"),
        ("EX-04", {**ENDED, "oom": False, "others": ["killed it"]}, PASS, SHOULD, "does not say OOMKilled; it said: killed it"),
        ("EX-04", {**ENDED, "status": 0}, FAIL, SHOULD, "the status is 0, not 137"),
        ("EX-04", {**ENDED, "status": None}, FAIL, SHOULD, "the status is no end, not 137"),
        ("EX-04", {**ENDED, "status": 99, "said": HOGGED}, SKIPPED, SHOULD, "this engine limits no memory"),
        ("TT-01", TERMINAL, PASS, MUST, "has job control"),
        ("TT-01", {**TERMINAL, "foreground": False, "error": "Input/output error"}, FAIL, MUST, "in the background of its terminal"),
        ("TT-01", {**TERMINAL, "jobs": False}, FAIL, MUST, "there is no job control"),
        ("TT-01", {"tty": True, "error": "Inappropriate ioctl for device", "text": ""}, FAIL, MUST, "Inappropriate ioctl"),
        ("TT-01", {**TERMINAL, "text": ""}, FAIL, MUST, "a line that was typed did not reach the program"),
        ("TT-01", {**TERMINAL, "tty": False}, FAIL, SHOULD, "the program's stdin is none"),
        ("TT-02", TERMINAL, PASS, MUST, "each reached the program, once"),
        ("TT-02", {**TERMINAL, "keys": {"INT": 0, "QUIT": 2, "TSTP": 0}}, FAIL, MUST, "never got SIGINT, SIGTSTP"),
        ("TT-02", {**TERMINAL, "keys": {"INT": 2, "QUIT": 1, "TSTP": 1}}, FAIL, SHOULD, "SIGINT 2 times"),
        ("TT-02", {**TERMINAL, "tty": False}, SKIPPED, MUST, "see TT-01"),
        ("SE-01", WORKS, PASS, MUST, "forwards, reaps and stops"),
        ("SE-01", {"refused": "it ended by itself"}, FAIL, MUST, "does not run: it ended by itself"),
        ("SE-01", {**WORKS, "left": (1, 2)}, FAIL, MUST, "2 of 20 orphans"),
        ("SE-01", {**WORKS, "answered": False}, FAIL, MUST, "forwards no signal"),
        ("SE-01", {**WORKS, "status": 1}, FAIL, MUST, "the status is 1"),
        ("PT-06", {"own": ASKED, "foreign": TOLD}, PASS, SHOULD, "is told of"),
        ("PT-06", {"own": ASKED, "foreign": UNASKED}, FAIL, SHOULD, "no line says so"),
        ("PT-06", {"own": CHATTY, "foreign": {**CHATTY, "asked": False}}, FAIL, SHOULD, "no line says so"),
        ("PT-06", {"own": CHATTY, "foreign": TOLD}, PASS, SHOULD, "is told of"),
        ("PT-06", {"own": UNASKED, "foreign": UNASKED}, SKIPPED, SHOULD, "asks nobody but the program"),
        ("PT-06", {"own": ASKED, "foreign": ASKED}, SKIPPED, SHOULD, "has a right to"),
    ],
)  # fmt: skip
def test_judges_of_inits(check: str, seen: dict[str, Any], verdict: Verdict, severity: Severity, words: str) -> None:
    """Each judge says what the evidence shows; what has no effect on the machine, or is no matter of the init, is skipped."""
    row = inits.BY_ID[check]
    found = row.judge(Case(IMAGE, {}, {row.act: Act(row.act, seen=seen)}))
    assert (found.verdict, found.severity or row.severity) == (verdict, severity)
    assert words in found.words


@pytest.mark.parametrize(("heard", "verdict"), [([], SKIPPED), ([0.001], FAIL)])
def test_who_forwards_nothing_is_not_told_so_twice(heard: list[float], verdict: Verdict) -> None:
    """SE-01 is about what a refused system call changes."""
    row = inits.BY_ID["SE-01"]
    usual = Act("each_signal", seen={"signals": [{"name": "USR1", "heard": heard}]})
    found = row.judge(Case(IMAGE, {}, {row.act: Act(row.act, seen={**WORKS, "answered": False}), "each_signal": usual}))
    assert found.verdict is verdict


@pytest.mark.parametrize(("codes", "verdict"), [({0: None, 42: None}, SKIPPED), ({0: 0, 42: None}, FAIL)])
@pytest.mark.parametrize("check", ["EX-04", "FD-04"])
def test_who_never_ends_is_told_so_once(check: str, codes: dict[int, int | None], verdict: Verdict) -> None:
    """A supervisor stays when its program has ended: EX-01 says so, and what can only be seen at an end is not judged."""
    row = inits.BY_ID[check]
    acts = {row.act: Act(row.act, seen={**ENDED, "status": None}), "codes": Act("codes", seen={"codes": codes})}
    assert row.judge(Case(IMAGE, {}, acts)).verdict is verdict


@pytest.mark.parametrize(
    ("check", "seen", "code", "verdict"),
    [
        ("TT-04", {"/dev/null": {"status": 2, "others": ["log"]}}, 2, PASS),
        ("TT-04", {"/dev/null": {"status": 1, "others": ["log"]}}, 2, FAIL),
        ("TT-04", {"/dev/null": {"status": 42, "others": ["noise"]}}, 42, FAIL),
        ("FD-04", {"status": 2, "others": ["y", "log: started"], "said": []}, 2, PASS),
        ("FD-04", {"status": 2, "others": ["y", "yes: standard output: Broken pipe"], "said": []}, 2, FAIL),
    ],
)
def test_a_supervisor_s_own_words_and_status_are_no_fault(
    check: str, seen: dict[str, Any], code: int, verdict: Verdict
) -> None:
    """What it says in any case, and the status that it makes of any other, are not what these look for."""
    row = inits.BY_ID[check]
    codes = Act("codes", seen={"codes": {0: 0, 42: code}})
    assert row.judge(Case(IMAGE, {}, {row.act: Act(row.act, seen=seen), "codes": codes})).verdict is verdict
