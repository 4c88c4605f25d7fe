"""Runs a verification: the plain stop first, for much depends on it; then the other acts, side by side; then every check judges.

What is done is what the chosen checks need, and no more: an act whose checks would be skipped anyway is not done.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from pyinit.verify.acts import Stage, perform
from pyinit.verify.catalogue import CHECKS
from pyinit.verify.evidence import Gap
from pyinit.verify.ready import SETTLED
from pyinit.verify.verdicts import Check, Finding, Result, Source, Verdict, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyinit.verify.evidence import Act, Case, Stop


class ImpossibleRunError(Exception):
    """Nothing can be verified: it does not even start. The message says why."""


@dataclass(frozen=True)
class Plan:
    """What is to be checked, and how."""

    checks: Sequence[Check] = CHECKS
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Reasons by check, in the words of whoever left it out."""
    require: frozenset[str] = frozenset()
    """Checks that are required besides those that always are."""
    known: frozenset[str] = frozenset()
    """Checks that failed in the baseline."""
    jobs: int = 3


@dataclass(frozen=True)
class Run:
    """What came of it."""

    case: Case
    results: tuple[Result, ...]
    source: str
    ready: str
    partial: bool = False
    """Not everything that is required was to be checked."""

    def status(self, *, strict: bool) -> int:
        """The exit status: 0, 1 (something failed) or 2 (nothing failed, but a required check was skipped)."""
        if any(one.finding.verdict is Verdict.FAIL and not one.excused and not one.known for one in self.results):
            return 1
        return 2 if self.unjudged(strict=strict) else 0

    def unjudged(self, *, strict: bool) -> list[Result]:
        """What was skipped and should not have been: what is required, or with `strict` everything that nobody left out with a reason."""
        gaps = [one for one in self.results if one.finding.verdict is Verdict.SKIPPED and not one.excused]
        return [one for one in gaps if strict or one.required]


def run(stage: Stage, plan: Plan, tell: Callable[[str, int, int], None]) -> Run:
    """Does it all. `tell(what, done, of)` is called as acts end. Raises ImpossibleRunError when there is nothing to judge, and
    ObserverError when the observer was gone at the end, as it is when the engine is.
    """
    chosen = [check for check in plan.checks if check.id not in plan.left_out]
    wanted = list(dict.fromkeys(["stop", *(check.act for check in chosen)]))
    acts: dict[str, Act] = {}
    tell("stop", 0, len(wanted))
    first = perform(stage, "stop")
    if first.stop is None:
        raise ImpossibleRunError(first.impossible)
    stop = first.stop
    if stop.is_close and not stop.forced:  # one that was forced is looked at by `patient` and `straight`
        again = perform(stage, "stop")
        if again.stop is not None and again.stop.seconds < stop.seconds:
            first, stop = again, again.stop
    acts["stop"] = first
    patient = replace(stage, plain=stop)
    stage = replace(patient, readiness=stage.readiness.taught(stop.ready))
    if stop.forced:
        wanted = [name for name in wanted if any(check.act == name and not check.clean for check in chosen)]
        seemed = stop.ready is not None and stop.ready.how == SETTLED
        wanted = [*(["patient"] if seemed else []), "straight", *wanted]
    others = [name for name in wanted if name not in acts]
    jobs = 1 if stage.subject.alone else plan.jobs
    tell("the other acts", 1, len(others) + 1)
    acts |= side_by_side(partial(perform, stage), others, jobs, tell)
    if stage.readiness.looks:  # they were asked sooner than the first: what fails so gets as long as that
        failed = _failed(stage.case(acts), chosen, plan)
        acts |= side_by_side(partial(perform, patient), [name for name in others if name in failed], jobs, tell)
    acts |= once_more(
        partial(perform, patient),
        {name: acts[name] for name in others},
        lambda some: _failed(stage.case({**acts, **some}), chosen, plan),
    )
    if stage.agent:  # an act that the engine or the observer did not live to see is no act that was impossible
        stage.agent.now()
    case = stage.case(acts)
    return Run(
        case,
        tuple(_judge(case, check, plan) for check in plan.checks),
        stop.source,
        stop.ready.how if stop.ready else "",
        is_partial(plan, CHECKS),
    )


def is_partial(plan: Plan, table: Sequence[Check]) -> bool:
    """Whether a check of the table that is always required is not to be checked."""
    return not {check.id for check in table if check.required} <= {check.id for check in plan.checks}


def side_by_side(
    do: Callable[[str], Act], names: Sequence[str], jobs: int, tell: Callable[[str, int, int], None]
) -> dict[str, Act]:
    """Does these acts, at most `jobs` at once; tells of each that has ended, as one more than those before."""
    acts = {}
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="act")
    try:
        begun = {pool.submit(do, name): name for name in names}
        for number, future in enumerate(as_completed(begun), 2):
            acts[begun[future]] = future.result()
            tell(begun[future], number, len(names) + 1)
    finally:
        # those under way are not waited for when this is interrupted: they end when their containers are removed, which comes next
        pool.shutdown(wait=False, cancel_futures=True)
    return acts


def once_more(
    do: Callable[[str], Act], acts: Mapping[str, Act], failed: Callable[[Mapping[str, Act]], set[str]]
) -> dict[str, Act]:
    """Of the acts that have failed a check, those whose stop took about as long as it might, done again, one at a time: what passes counts.

    `failed` tells the acts that fail. One that passes needs no second look: a busy machine makes nothing quicker.
    """
    better = {}
    for name in [name for name in acts if name in failed(acts)]:
        stop = acts[name].stop
        if stop is not None and stop.is_close:
            again = do(name)
            if again.stop is not None and name not in failed({**acts, name: again}):
                better[name] = again
    return better


def _failed(case: Case, checks: Sequence[Check], plan: Plan) -> set[str]:
    """The acts that fail one of these checks."""
    return {one.check.act for one in (_judge(case, check, plan) for check in checks) if is_failure(one)}


def result_of(case: Case, check: Check, plan: Plan, find: Callable[[Case, Check], Finding]) -> Result:
    """What `find` says of a check, unless it was left out, with all that a report wants to know besides."""
    required = check.required or check.id in plan.require
    if check.id in plan.left_out:
        reason = plan.left_out[check.id]
        return Result(check, skipped(f"left out: {reason}"), excused=reason, required=required)
    finding = find(case, check)
    act = case.act(check.act)
    return Result(
        check,
        finding,
        act.seconds,
        reproduce=act.reproduce if finding.verdict is Verdict.FAIL else "",
        required=required,
        known=check.id in plan.known,
    )


def _judge(case: Case, check: Check, plan: Plan) -> Result:
    result = result_of(case, check, plan, _finding)
    if check.id == "ZO-01" and result.finding.verdict is Verdict.SKIPPED and not result.excused:
        unseen = case.plain is not None and case.plain.account is None
        if unseen or case.act(check.act).gap is Gap.ABSENT:  # its need is not there: that is no gap
            return replace(result, required=check.id in plan.require)
    if _follows_from_failure(case, check) and not result.excused:
        if all(one.id != "SG-01" for one in plan.checks):
            return replace(result, required=True)  # nothing else in the results would say so
        if _is_accepted("SG-01", plan):
            return replace(result, required=check.id in plan.require)
    return result


def _is_accepted(identity: str, plan: Plan) -> bool:
    """Whether that check may fail: it is known, or left out with a reason."""
    return identity in plan.known or identity in plan.left_out


def _follows_from_failure(case: Case, check: Check) -> bool:
    """Whether it is not judged because SG-01 failed."""
    plain, patient = case.plain, case.act("patient").stop
    return check.clean and plain is not None and plain.forced and (patient is None or patient.forced)


def _finding(case: Case, check: Check) -> Finding:
    plain = case.plain
    if _follows_from_failure(case, check):
        return skipped("because SG-01 failed: it does not stop cleanly")
    if check.clean and plain is not None and plain.forced:
        return skipped("because it was not ready when it was asked to stop: see SG-01")
    return finding_of(case, check)


def finding_of(case: Case, check: Check) -> Finding:
    """What its judge says, if both stops were seen by a source that knows what is judged: the plain one, and the act's own."""
    for stop in (case.plain, case.act(check.act).stop):
        unknown = stop and unknowable(check.source, stop)
        if unknown:
            return skipped(unknown)
    return check.judge(case)


def unknowable(source: Source, stop: Stop) -> str:
    """Why the view of that stop is not what a check with that source judges; empty: it is."""
    if source is Source.OUTCOME:
        return ""
    if stop.account is None:
        return "needs a view of its processes, and there is none in this runtime"
    if source is Source.SIGNALS and not stop.sees_signals:
        return f"needs the source trace, which shows signals; there is only {stop.source}"
    if stop.account.lost:
        return f"the observer's account is not complete: {stop.account.lost} events or more were lost ({stop.source})"
    return ""


def is_failure(result: Result) -> bool:
    """Whether it counts as one."""
    return result.finding.verdict is Verdict.FAIL and not result.excused
