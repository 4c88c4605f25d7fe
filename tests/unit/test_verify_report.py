"""The reports of `pyinitctl verify`, its settings, and what a run's exit status is: all that is pure."""

import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator as Validator
from rich.console import Console

from pyinit.containers.account import Account, Fate, How, Sender
from pyinit.containers.timeline import Step
from pyinit.verify import conformance, inits, report, settings
from pyinit.verify.acts import Stage
from pyinit.verify.catalogue import BY_ID, CHECKS
from pyinit.verify.ends import UnseenError
from pyinit.verify.evidence import Case, Stop
from pyinit.verify.ready import Readiness
from pyinit.verify.subject import ImageSubject
from pyinit.verify.under_test import end_of
from pyinit.verify.verdicts import GROUPS, Result, Severity, Verdict
from support.reports import ABOUT, IMAGE, LEFT, MIXED, everything, process, result, run, stop

# --- as tests of pytest have it ---


NO_ENGINE: Any = None


def end(plain: Stop) -> Any:  # noqa: ANN401 - End, whose parts may raise
    """What `container.stop()` gives of that stop."""
    return end_of(Stage(NO_ENGINE, None, ImageSubject(IMAGE, 10, None), Readiness()), plain, ())


def test_a_failure_as_text() -> None:
    """What was seen, why it matters, what to change, how to see the same."""
    lines = report.failure_text(MIXED.results[0], 100).splitlines()
    assert lines[0] == "✗ PT-04 nobody is SIGKILLed: every process ends by itself (must)"
    assert "still lived when PID 1 left" in lines[1]
    assert [line.split()[0] for line in lines if line.lstrip().startswith(("why ", "fix ", "try "))] == [
        "why",
        "fix",
        "try",
    ]


def test_outcomes() -> None:
    """A skip is one, unless it is required and all else is well; what is known does not fail."""
    came = {one.check.id: conformance._outcome(MIXED, one, is_gap=False) for one in MIXED.results}
    assert {name: one.verdict for name, one in came.items()} == {
        "PT-04": "fail",
        "SG-01": "pass",
        "ZO-01": "skipped",
        "ST-02": "note",
        "EX-06": "skipped",
    }
    assert came["PT-04"].failure.startswith("✗ PT-04")
    assert "✗ killed" in came["PT-04"].timeline
    assert came["ST-02"].words == "ST-02 stop signals lost right after the start: as seen"
    assert came["EX-06"].words.startswith("known, in the baseline: EX-06")
    gap = conformance._outcome(MIXED, MIXED.results[2], is_gap=True)
    assert (gap.verdict, gap.failure) == ("fail", "ZO-01 is required, and could not be judged: as seen")


def test_an_end() -> None:
    """Who was killed by name, and all of it in one line."""
    found = end(LEFT)
    assert (found.exit_code, found.duration, found.forced, found.logs) == (0, 0.5, False, "bye\n")
    assert found.killed.names == ["worker <&>|"]
    assert found.zombies == []
    words = "1 process was killed: 7 worker <&>| (SIGKILL as PID 1 left after 0.50 s)"
    assert repr(found.killed) == words
    assert repr(found) == f"<shop:ci ended after 0.50 s with exit status 0; {words}>"


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        (Stop(10.0, 1.0, 0, forced=False, logs=""), "needs a view of its processes"),
        (
            replace(LEFT, account=replace(stop(process("sh", 1, 0.5, 0)).account or NO_ENGINE, lost=3)),
            "3 events or more were lost",
        ),
        (
            stop(replace(process("sh", 1, 0.5, 0)), replace(process("worker", 7, 0.5, 0), ended=None)),
            "how 7 worker ended is not known",
        ),
    ],
)
def test_an_end_that_was_not_seen(plain: Stop, words: str) -> None:
    """Nobody is said to have been spared where that is not known."""
    found = end(plain)
    asked: list[Callable[[], object]] = [lambda: found.killed, lambda: found.signalled]
    for ask in asked if plain.account else [*asked, lambda: found.zombies]:
        with pytest.raises(UnseenError, match=f"^shop:ci: .*{words}"):
            ask()
    assert words in repr(found)


# --- the catalogue ---


def test_the_catalogue_is_whole() -> None:
    """Each row has its words; only notes have nothing to put right."""
    assert len(BY_ID) == len(CHECKS)
    for check in CHECKS:
        assert check.id.partition("-")[0] in GROUPS
        assert check.title
        assert check.why.endswith(".")
        assert bool(check.fix) is (check.severity is not Severity.NOTE)
    assert [check.id for check in CHECKS if check.required] == ["SG-01", "GR-01", "PT-04", "ZO-01"]


def test_nothing_passes_without_evidence() -> None:
    """A judge whose act was not done skips, each of them."""
    for check in (*CHECKS, *inits.CHECKS):
        assert check.judge(Case(IMAGE, {}, {})).verdict is Verdict.SKIPPED


# --- the exit status ---


@pytest.mark.parametrize(
    ("results", "strict", "status"),
    [
        ((), False, 0),
        ((result("SG-01", Verdict.PASS), result("EX-06", Verdict.SKIPPED)), False, 0),
        ((result("SG-01", Verdict.PASS), result("EX-06", Verdict.SKIPPED)), True, 2),
        ((result("SG-01", Verdict.SKIPPED),), False, 2),
        ((result("SG-01", Verdict.SKIPPED, excused="no TERM here"),), True, 0),
        ((result("EX-06", Verdict.FAIL), result("SG-01", Verdict.SKIPPED)), False, 1),
        ((result("EX-06", Verdict.FAIL, known=True),), True, 0),
        ((result("ST-02", Verdict.NOTE),), True, 0),
    ],
)
def test_exit_status(results: tuple[Result, ...], status: int, *, strict: bool) -> None:
    """1: something failed that is not known; 2: a required check, or with --strict any, was skipped without a reason."""
    assert run(*results).status(strict=strict) == status


# --- what is shown ---


def test_in_a_terminal() -> None:
    """The failure in words with its evidence, its fix and the timeline; the verdict last; it reads without colour."""
    out = io.StringIO()
    report.show(Console(file=out, width=100, highlight=False), MIXED, ABOUT, strict=False)
    text = out.getvalue()
    assert "still lived when PID 1 left, and the kernel killed them" in text
    assert "fix wait for the children before PID 1 ends" in text
    assert "SIGKILL as PID 1 left" in text
    assert "docker run x" in text
    assert text.splitlines()[-1] == (
        "1 passed, 2 failed (1 known), 1 skipped, 1 notes: it does not stop as it should: PT-04"
    )
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_last_line_claims_no_more_than_was_checked() -> None:
    """A container stops as it should when all that is required was judged, and none of it is only known to fail."""
    whole = run(result("SG-01", Verdict.PASS))
    known = run(result("SG-01", Verdict.FAIL, known=True))
    assert report.verdict_on(whole, strict=False) == "it stops as it should"
    assert report.verdict_on(replace(whole, partial=True), strict=False) == "what was checked passed"
    assert report.verdict_on(known, strict=False) == "nothing failed that did not fail in the baseline"


def test_as_json() -> None:
    """Everything, and what was written comes back as the same account."""
    found = json.loads(report.json_text(MIXED, ABOUT, strict=False))
    assert found["schema"] == "pyinit-verify/1"
    assert found["summary"] == {"pass": 1, "fail": 2, "skipped": 1, "note": 1}
    assert (found["status"], found["subject"]["stop_signal"]) == (1, "SIGTERM")
    assert found["results"][0]["id"] == "PT-04"
    assert found["results"][0]["fix"]
    assert Account.of_json(found["acts"]["stop"]["stop"]["account"]) == LEFT.account


def words_of(schema: Validator) -> Mapping[str, Any]:
    """The schema itself."""
    assert not isinstance(schema.schema, bool)
    return schema.schema


def places(value: object, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where in a report something is: the path to each value but the whole."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, *path, key)


def test_the_schema_knows_every_key_and_nothing_else(schema: Validator) -> None:
    """A report is as the schema says; without any one of its keys, with one more anywhere, or with another type it is not."""
    whole = everything()
    schema.validate(whole)
    assert words_of(schema)["properties"]["schema"]["const"] == report.SCHEMA
    for path in places(whole):
        *above, key = path
        for change in ("other type", *(("missing", "one more") if isinstance(key, str) else ())):
            changed: Any = deepcopy(whole)
            place = changed
            for step in above:
                place = place[step]
            if change == "other type":
                place[key] = {"": place[key]}
            elif change == "one more":
                place["more"] = "anything"
            elif above != ["acts"]:  # which acts were done differs from run to run
                del place[key]
            if changed != whole:
                assert not schema.is_valid(changed), (path, change)


def test_the_schema_knows_services(schema: Validator) -> None:
    """What a report says of a service of a compose file, and of containers that run one at a time."""
    about = {**ABOUT, "service": "web of compose.yaml", "one at a time": "-p: two of them would want the same ports"}
    schema.validate({**everything(), "about": about})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "pyinit-verify/2"),
        (("status",), 3),
        (("results", 0, "verdict"), "passed"),
        (("results", 0, "severity"), "may"),
        (("results", 0, "id"), "PT-4"),
        (("results", 0, "seconds"), -1),
        (("acts", "stop", "stop", "account", "processes", 0, "how"), "gone"),
        (("acts", "stop", "stop", "account", "processes", 0, "signals", 0, "sender"), "somebody"),
        (("acts", "stop", "stop", "account", "processes", 0, "signals", 0, "number"), 65),
    ],
)
def test_the_schema_knows_the_values(path: tuple[Any, ...], value: object, schema: Validator) -> None:
    """A verdict, an id, an end that there is not is refused."""
    changed: Any = everything()
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not schema.is_valid(changed)


def test_the_schema_has_the_words_of_the_code(schema: Validator) -> None:
    """What is an enumeration here is the same one there."""
    known, result, signal_, shown = (
        words_of(schema)["$defs"][name] for name in ("how", "result", "signal", "timeline")
    )
    mark = shown["properties"]["marks"]["items"]
    assert mark["properties"]["step"]["enum"] == [step.value for step in Step]
    assert known["enum"] == [how.name.lower() for how in How]
    assert result["properties"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    assert result["properties"]["severity"]["enum"] == [severity.value for severity in Severity]
    assert signal_["properties"]["fate"]["enum"] == [fate.name.lower() for fate in Fate]
    assert signal_["properties"]["sender"]["enum"] == [sender.name.lower() for sender in Sender]


def test_every_report_says_what_was_not_seen() -> None:
    """The source, and why there was no better one, in the terminal, as JSON and as Markdown; nothing where all was seen."""
    assert LEFT.account is not None
    gap = "signals and their senders: no tracepoints (Operation not permitted)"
    lesser = replace(LEFT, account=replace(LEFT.account, source="cn_proc", blind=(gap,)))
    for plain, gaps in ((LEFT, []), (lesser, [gap])):
        came, out = run(plain=plain), io.StringIO()
        report.show(Console(file=out, width=100, highlight=False), came, ABOUT, strict=False)
        assert (f"not seen: {gap}" in out.getvalue()) is bool(gaps)
        assert json.loads(report.json_text(came, ABOUT, strict=False))["unseen"] == gaps
        assert (f"Not seen: {gap}." in report.markdown(came, ABOUT, strict=False)) is bool(gaps)


def test_as_junit() -> None:
    """XML, whatever a program calls itself; what is known in the baseline is no failure."""
    suite = ET.fromstring(report.junit(MIXED))[0]  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "2")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "worker <&>|" in (failure.get("message") or "")


def test_as_markdown() -> None:
    """A table whose cells hold, whatever a program calls itself."""
    text = report.markdown(MIXED, ABOUT, strict=False)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)
    assert "### PT-04" in text


# --- settings ---


def load(folder: Path, text: str, name: str = "verify.toml") -> settings.Settings:
    """The settings of a folder with that file."""
    (folder / name).write_text(text, encoding="utf-8")
    return settings.load(None, folder)


def test_settings(tmp_path: Path) -> None:
    """verify.toml, and the table of pyproject.toml where there is none."""
    assert settings.load(None, tmp_path).values == {}
    assert load(tmp_path, "[tool.pyinit.verify]\ntimeout = 3\n", "pyproject.toml").values == {"timeout": 3}
    found = load(tmp_path, 'timeout = 20\nexpect-exit = [143]\n[skip]\nEX-06 = "a JVM"\n')
    assert (found.values["timeout"], found.skip) == (20, {"EX-06": "a JVM"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\ntimout = 3\n", "line 2: there is no key 'timout'; write 'timeout'?"),
        ('timeout = "3"\n', "line 1: timeout must be a whole number, not '3'"),
        ("timeout = 2.5\n", "line 1: timeout must be a whole number, not 2.5"),
        ('ready-timeout = "3"\n', "line 1: ready-timeout must be a number, not '3'"),
        ("timeout = true\n", "line 1: timeout must be a whole number, not True"),
        ('strict = true\n\n[skip]\nEX-6 = "no"\n', "line 4: there is no check 'EX-6'; write 'EX-06'?"),
        ('[skip]\nEX-06 = ""\n', "line 2: say why EX-06 is left out"),
        ("timeout = \n", "is not TOML: Invalid value (at line 1, column 11)"),
        ('check = ["SG", "EX-6"]\n', "line 1: there is no check 'EX-6'; write 'EX-06'?"),
        ('\nrequire = ["openshit"]\n', "line 2: there is no check 'openshit'; there are SG-01, "),
        ("check = [1]\n", "line 1: each of check must be a text, not 1"),
        ('expect-exit = ["143"]\n', "line 1: each of expect-exit must be a whole number, not '143'"),
        ("expect-exit = [true]\n", "line 1: each of expect-exit must be a whole number, not True"),
        ('ready-log = "("\n', "line 1: ready-log: '(' is no regular expression: missing )"),
        ('[skip]\nSG-02 = "no"\n', "line 2: there is no check 'SG-02'; write 'S"),
        ('pull = "sometimes"\n', "line 1: pull must be one of missing, always, never, not 'sometimes'"),
        ('ulimit = "nofile=3"\n', "line 1: ulimit must be a list, not 'nofile=3'"),
        ('strict = "yes"\n', "line 1: strict must be true or false, not 'yes'"),
        (
            "keep = true\n",
            "line 1: there is no key 'keep', --keep is for the command line alone: for a look at what one run has left",
        ),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, words: str) -> None:
    """File, line and key, and what to write instead."""
    with pytest.raises(settings.SettingsError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert str(tmp_path / "verify.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool]\npyinit = 3\n", "pyproject.toml, line 2: tool.pyinit must be a table, not 3"),
        ("[tool.pyinit]\nverify = 3\n", "pyproject.toml, line 2: tool.pyinit.verify must be a table, not 3"),
        ("tool = 3\n", "pyproject.toml, line 1: tool must be a table, not 3"),
        ("[tool.x]\ntimeout = 3\n[tool.pyinit.verify]\ntimeout = 2.5\n", "line 4: timeout must be a whole number"),
        ('[skip]\nEX-06=1\n[tool.pyinit.verify.skip]\n"EX-06" = ""\n', "line 4: say why EX-06"),
        ("[x]\nstrict = 1\n[tool.pyinit]\nverify.strict = 1\n", "strict must be true or false, not 1"),
    ],
)
def test_wrong_pyproject(tmp_path: Path, text: str, words: str) -> None:
    """What is said of the file in which other tools have their tables."""
    with pytest.raises(settings.SettingsError) as caught:
        load(tmp_path, text, "pyproject.toml")
    assert words in str(caught.value)


def test_settings_where_an_init_is_judged(tmp_path: Path) -> None:
    """Its checks are known too; one that neither has is not."""
    both = (*inits.CHECKS, *CHECKS)
    (tmp_path / "verify.toml").write_text(
        'check = ["K8-05", "sg"]\n[skip]\nSG-02 = "counts"\nEX-06 = "a JVM"\n', encoding="utf-8"
    )
    assert settings.load(None, tmp_path, both).skip == {"SG-02": "counts", "EX-06": "a JVM"}
    (tmp_path / "verify.toml").write_text('[skip]\nK8-5 = "no"\n', encoding="utf-8")
    with pytest.raises(settings.SettingsError, match=r"line 2: there is no check 'K8-5'; write 'K8-05'\?"):
        settings.load(None, tmp_path, both)
