"""The mark `conformance`: what verify says of an image, a test for each check. Plain data, so that workers of pytest-xdist can share it."""

from __future__ import annotations

import fcntl
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.containers import timeline
from pyinit.containers.compose import Compose
from pyinit.containers.engine import BROKEN, explain
from pyinit.verify import report, request, runner
from pyinit.verify.catalogue import CHECKS
from pyinit.verify.ends import ContainerError
from pyinit.verify.settings import Settings
from pyinit.verify.under_test import FAILURES, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pyinit.verify.under_test import Session
    from pyinit.verify.verdicts import Result


@dataclass(frozen=True)
class Outcome:
    """What became of one check."""

    verdict: str
    """As in the JSON report; `fail` also for one that is required and could not be judged."""
    words: str
    """What was seen, or why it was skipped."""
    failure: str = ""
    """Of one that failed: what was seen, why it matters, what to change, how to see the same."""
    timeline: str = ""


def judge(session: Session, options: request.Options, said: Settings, wanted: Collection[str]) -> dict[str, Outcome]:
    """Verifies an image; the outcomes of the wanted checks, by id. Where nothing can be judged, each says why."""
    try:
        plan = request.plan_of(options, said, CHECKS)
        plan = replace(plan, checks=[check for check in plan.checks if check.id in wanted])
        engine, agent = session.open()
        with Compose() as compose:
            came = runner.run(request.stage_of(engine, agent, compose, options), plan, lambda *_: None)
    except (*FAILURES, ContainerError, runner.ImpossibleRunError) as error:
        return {name: Outcome("fail", str(error), str(error)) for name in wanted}
    except BROKEN as error:
        words = f"the engine failed in the middle of it: {explain(error)}"
        return {name: Outcome("fail", words, words) for name in wanted}
    strict = bool(options.strict)
    gaps = came.unjudged(strict=strict) if came.status(strict=strict) == 2 else []
    return {one.check.id: _outcome(came, one, is_gap=one in gaps) for one in came.results}


def _outcome(came: runner.Run, result: Result, *, is_gap: bool) -> Outcome:
    finding = result.finding
    words = f"{result.check.id} {result.check.title}: {finding.words}"
    if is_gap:
        return Outcome("fail", words, f"{result.check.id} is required, and could not be judged: {finding.words}")
    if not runner.is_failure(result):
        return Outcome(finding.verdict.value, words)
    if result.known:
        return Outcome("skipped", f"known, in the baseline: {words}")
    act = came.case.acts.get(finding.act or result.check.act)
    shown = act.stop.timeline if act is not None and act.stop is not None else None
    drawn = timeline.render(shown, WIDTH).plain + timeline.LEGEND if shown else ""
    return Outcome("fail", words, report.failure_text(result, WIDTH), drawn)


def shared(file: Path, make: Callable[[], Mapping[str, Outcome]]) -> dict[str, Outcome]:
    """What the first of several processes has made; the others wait for it. A process that dies leaves it to the next."""
    with file.open("a+", encoding="utf-8") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)  # not in the call: a Python that is to end is heard here
        opened.seek(0)
        text = opened.read()
        if not text:
            text = json.dumps({name: asdict(one) for name, one in make().items()})
            opened.write(text)
        found: dict[str, Any] = json.loads(text)
    return {name: Outcome(**one) for name, one in found.items()}
