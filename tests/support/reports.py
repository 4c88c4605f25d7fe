"""Runs of verify that were made by hand, for whatever shows them: no engine is needed, and each kind of thing is in one of them."""

import json
from dataclasses import replace
from typing import Any

from pyinit.containers import timeline
from pyinit.containers.account import Account, Fate, Process, Sender, Signal
from pyinit.verify import judges, report
from pyinit.verify.catalogue import BY_ID
from pyinit.verify.evidence import Act, Case, Image, Stop
from pyinit.verify.runner import Run
from pyinit.verify.verdicts import Result, Verdict, failed, note, passed, skipped

IMAGE = Image(
    "shop:ci",
    "sha256:1",
    ("sh", "-c", "worker; true"),
    15,
    declares_stop_signal=False,
    healthcheck=(),
    ports=(),
    user="",
    platform="linux/amd64",
)
BEGAN = 1000.0


def process(name: str, inside: int, ended: float, status: int, *received: Signal) -> Process:
    """One process of a container, born before the stop; `ended` counts from it."""
    return Process(name, name, 500 + inside, inside, 501 if inside > 1 else 400, 900.0, BEGAN + ended, status, received)


def signal(number: int, sender: Sender, after: float = 0.0, fate: Fate = Fate.DELIVERED) -> Signal:
    """A signal, so many seconds after the stop began."""
    return Signal(BEGAN + after, number, fate, sender, None, "somebody")


def stop(*processes: Process, status: int = 0, grace: float = 10.0, forced: bool = False) -> Stop:
    """A stop with this account."""
    account = Account("trace", processes, ())
    shown = timeline.of(account, "shop:ci", stopped=BEGAN, outside="the engine", grace=grace)
    seconds = (processes[0].ended or 0) - BEGAN
    return Stop(grace, seconds, status, forced, "bye\n", account=account, timeline=shown)


LEFT = stop(
    process("sh", 1, 0.5, 0, signal(15, Sender.OUTSIDE)),
    process("worker <&>|", 7, 0.5, 9, signal(9, Sender.NAMESPACE_END, 0.499)),
)


def run(*results: Result, plain: Stop = LEFT) -> Run:
    """A run that came to these results."""
    acts = {"stop": Act("stop", "docker run ...", stop=plain, seconds=3.0)}
    return Run(Case(IMAGE, {}, acts), results, "trace", "settled")


def result(check: str, verdict: Verdict, **more: object) -> Result:
    """A check's result."""
    make = {Verdict.PASS: passed, Verdict.FAIL: failed, Verdict.SKIPPED: skipped, Verdict.NOTE: note}[verdict]
    row = BY_ID[check]
    return Result(row, make("as seen", "a line"), required=row.required, **more)  # type: ignore[arg-type]


MIXED = run(
    Result(
        BY_ID["PT-04"],
        judges.nobody_killed(Case(IMAGE, {}, {"stop": Act("stop", stop=LEFT)})),
        3.0,
        reproduce="docker run x",
    ),
    result("SG-01", Verdict.PASS),
    result("ZO-01", Verdict.SKIPPED),
    result("ST-02", Verdict.NOTE),
    result("EX-06", Verdict.FAIL, known=True),
)
ABOUT = {"engine": "Docker 20.10", "observer": "everything", "kernel": "6.18"}


def everything() -> dict[str, Any]:
    """A report in which each kind of thing is: acts that were impossible or had nothing to be seen, a signal, an end not known."""
    blind = replace(LEFT, account=None, timeline=None)
    acts = {
        "stop": Act("stop", "docker run ...", stop=LEFT, seconds=3.0),
        "openshift": Act("openshift", "docker run ...", stop=blind),
        "orphans": Act("orphans", impossible="no way in"),
    }
    found: dict[str, Any] = json.loads(
        report.json_text(replace(MIXED, case=Case(IMAGE, {}, acts)), ABOUT, strict=False)
    )
    return found


VARIED = stop(
    process("pyinit", 1, 8.6, 143 << 8, signal(15, Sender.OUTSIDE)),
    process("gunicorn", 7, 3.1, 0, signal(15, Sender.INIT, 2)),
    process("gunicorn", 8, 3.0, 15, signal(15, Sender.INIT, 2), signal(15, Sender.MEMBER, 2.1)),
    process("worker <&>", 9, 8.01, 9, signal(15, Sender.INIT, 2, Fate.IGNORED), signal(9, Sender.INIT, 8)),
    process("ld-linux-x86-64", 10, 4.4, 3 << 8, signal(15, Sender.INIT, 2)),
    process("cron", 11, 8.6, 9, signal(9, Sender.NAMESPACE_END, 8.599)),
    replace(process("job", 31, 5.2, 0), born=BEGAN + 2.6),
    replace(process("stuck", 40, 0, 0, signal(15, Sender.INIT, 2)), ended=None, status=None),
    status=143,
)
"""Two seconds of drain, six of grace, and an end of each kind."""


def varied() -> dict[str, Any]:
    """A report with that stop beside others: one of milliseconds, one whose signals nobody saw, one in which nothing was seen."""
    brief = stop(process("server", 1, 0.0031, 0, signal(15, Sender.OUTSIDE)))
    assert LEFT.account is not None
    account = replace(LEFT.account, source="pidfd", blind=("signals and their senders: no tracepoints",))
    unsigned = replace(account, processes=tuple(replace(one, signals=()) for one in account.processes))
    acts = {
        "stop": Act("stop", "docker run --rm shop:ci &\ndocker stop -t 10 c", stop=VARIED, seconds=12.0),
        "twice": Act("twice", "docker run ...", stop=brief, seconds=1.0),
        "readonly": Act(
            "readonly", stop=replace(LEFT, account=unsigned, timeline=timeline.of(unsigned, "", stopped=BEGAN))
        ),
        "openshift": Act("openshift", "docker run ...", stop=replace(LEFT, account=None, timeline=None)),
        "orphans": Act("orphans", impossible="no way in"),
    }
    found: dict[str, Any] = json.loads(
        report.json_text(replace(MIXED, case=Case(IMAGE, {}, acts)), ABOUT, strict=False)
    )
    return found
