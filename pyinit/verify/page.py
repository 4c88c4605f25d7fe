"""A run as one page for a browser, and the timeline of its plain stop as a picture. Both are made of the JSON report, and of nothing else.

The page stands alone: no script, no font, no picture from elsewhere, and its policy allows none. Whatever was written by the container
or by who runs it (names of processes, commands, logs) passes through `svg.escaped`. It reads in light and dark, on paper without colour,
and on a phone, where a table's row becomes a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyinit.containers import svg
from pyinit.containers.svg import escaped
from pyinit.containers.timeline import Timeline, duration, span_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyinit.containers.timeline import Asked, Bar

    Json = Mapping[str, Any]

PLAIN = "stop"
"""The act that is the plain stop: an image's, and an init's."""
_ASKED = 4
"""Signals to one process that are written out."""
_SIGNS = {"pass": "✓", "fail": "✗", "skipped": "–", "note": "i"}
_STATUSES = {0: "pass", 1: "fail", 2: "skipped"}
"""What the exit status looks like."""

_STYLE = """
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0 auto; padding: 24px 20px 40px; max-width: 1000px; background: var(--card); color: var(--ink);
  font: 15px/1.5 ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; overflow-wrap: anywhere }
h1, h2, h3, p, ul, ol, dl, dd, pre, table { margin: 0; padding: 0 }
h1 { font-size: 26px; line-height: 1.25 }
h2 { font-size: 20px; margin: 44px 0 14px; padding-bottom: 6px; border-bottom: 1px solid var(--line) }
h3 { font-size: 16px }
ul, ol { list-style: none }
a { color: var(--link); text-underline-offset: 2px }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
code, pre, .mono { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace }
h1 code { font-size: inherit }
h3 .sign { width: auto; margin-right: 8px }
pre { white-space: pre-wrap; background: var(--shade); border-radius: 6px; padding: 10px 12px }
.quiet, summary { color: var(--quiet) }
.small { font-size: 13px }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.kicker { color: var(--quiet); margin-bottom: 2px }
.verdict { display: flex; gap: 12px; margin: 16px 0; padding: 12px 16px; font-size: 17px; font-weight: 600;
  border: 1px solid var(--line); border-left: 6px solid var(--tone); border-radius: 8px }
.sign { display: inline-block; width: 1.2em; flex: none; text-align: center; font-weight: 700; color: var(--tone) }
.counts { display: flex; flex-wrap: wrap; gap: 4px 22px }
.pass { --tone: var(--fair) } .fail { --tone: var(--killed) } .skipped { --tone: var(--unknown) } .note { --tone: var(--link) }
.known { --tone: var(--failed) }
.box { border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin-bottom: 16px }
.box > * + * { margin-top: 10px }
.box.fail, .box.known { border-left: 6px solid var(--tone) }
.tag { font-size: 12px; font-weight: 600; color: var(--quiet); border: 1px solid var(--line); border-radius: 10px;
  padding: 1px 8px; white-space: nowrap }
.evidence { border-left: 2px solid var(--line); padding-left: 12px; color: var(--quiet) }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 8px 16px }
dt { font-weight: 600 }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600 }
.checks th, .checks td { padding: 7px 12px 7px 0; vertical-align: top }
.checks tbody tr + tr { border-top: 1px solid var(--line) }
.checks thead th { color: var(--quiet); font-size: 13px; font-weight: 400; padding-bottom: 2px }
.checks .group th { padding-top: 20px; font-size: 16px }
.checks { table-layout: fixed }
.checks .what { width: 36%; font-weight: 400 }
.checks .sign-of { width: 30px; padding-right: 4px } .checks .weight { width: 72px }
.marks li { display: flex; gap: 10px; align-items: baseline; margin-top: 3px }
.marks b { flex: none; width: 18px; height: 18px; border-radius: 9px; background: var(--ink); color: var(--card);
  font-size: 11px; line-height: 18px; text-align: center }
.marks .when { flex: none; width: 52px; text-align: right; color: var(--quiet) }
.time { table-layout: fixed }
.time th, .time td { padding: 5px 0; vertical-align: middle }
.time thead th { color: var(--quiet); font-size: 13px; font-weight: 400; vertical-align: bottom }
.time .who { width: 19%; padding-right: 12px; font-weight: 600 }
.time .when { width: 43%; position: relative; height: 40px; padding: 0 }
.time thead .when { height: 54px }
.time .ended { width: 72px; white-space: nowrap; text-align: right }
.whole { white-space: nowrap }
.time .how { padding-left: 14px }
.tone { color: var(--tone); font-weight: 600 }
.tone.fair { --tone: var(--fair) } .tone.failed { --tone: var(--failed) } .tone.killed { --tone: var(--killed) }
.tone.unknown { --tone: var(--unknown) }
svg { overflow: visible; print-color-adjust: exact; -webkit-print-color-adjust: exact }
.time svg.across { position: absolute; top: 0; left: 9px; width: calc(100% - 24px); height: 100% }
.budget { display: block; width: 100%; height: 8px }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--quiet); font-size: 13px }
.legend li { display: flex; align-items: center; gap: 8px }
.legend svg { width: 26px; height: 20px; flex: none }
footer { margin-top: 44px; padding-top: 12px; border-top: 1px solid var(--line) }
@media (max-width: 720px) {
  body { padding: 18px 16px 32px }
  h1 { font-size: 19px }
  h2 { margin-top: 34px }
  .box { padding: 12px }
  dl { grid-template-columns: minmax(0, 1fr); gap: 2px }
  dd + dt { margin-top: 8px }
  .checks thead, .time thead th:not(.when) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .checks, .checks tbody, .time, .time thead, .time tbody { display: block }
  .checks tr { display: grid; grid-template-columns: 1.8em minmax(0, 1fr) max-content; padding: 8px 0 }
  .checks tr.group { display: block; padding: 14px 0 0 }
  .checks th, .checks td, .checks .group th, .checks .what, .checks .weight { padding: 0; width: auto }
  .checks .seen { grid-column: 2 / 4; color: var(--quiet); font-size: 14px }
  .time tr { display: grid; grid-template-columns: minmax(0, 1fr) max-content }
  .time .who, .time .ended, .time .how { width: auto; padding: 0 }
  .time .who, .time .ended { padding-top: 10px }
  .time .how { grid-area: 2 / 1 / 3 / 3 }
  .time .when { grid-area: 3 / 1 / 4 / 3; width: auto; height: 34px }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11pt }
  .box, .checks tr, .time tr { break-inside: avoid }
  h2, h3 { break-after: avoid }
  a { color: inherit; text-decoration: none }
}
"""


def _variables(colours: Mapping[str, str], link: str) -> str:
    return "; ".join(f"--{name}: {value}" for name, value in {**colours, "link": link}.items())


STYLE = (
    f":root {{ color-scheme: light dark; {_variables(svg.LIGHT, '#0969da')} }}\n"
    f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(svg.DARK, '#4493f8')} }} }}\n"
    f"{_STYLE}{svg.STYLE}"
)


def picture(report: Json) -> str:
    """The timeline of the plain stop as one SVG; where there is none it says why."""
    act, about = report["acts"].get(PLAIN), report["about"]
    stop = act and act["stop"]
    where = f"pyinitctl verify: {about['engine']}, Linux {about['kernel'].split('-')[0]}"
    if not stop or not stop["timeline"]:
        reason = "its processes could not be seen" if stop else "the plain stop was not done"
        return svg.render([], f"{report['subject']['image']}: {reason}. {where}")
    return svg.render([Timeline.of_json(stop["timeline"])], f"{where}, seen by {stop['timeline']['source']}")


def html(report: Json) -> str:
    """The whole page."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Json) -> Iterator[str]:
    subject, verdict = report["subject"], _STATUSES[report["status"]]
    failures = [one for one in report["results"] if _is_failure(one)]
    stops = {name: act["stop"] for name, act in report["acts"].items() if act["stop"]}
    yield "<!DOCTYPE html>"
    yield '<html lang="en">\n<head>\n<meta charset="utf-8"/>'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    yield f"<title>{_SIGNS[verdict]} {escaped(subject['image'])}: {escaped(report['verdict'])}</title>"
    yield f"<style>{STYLE}</style>\n</head>\n<body>"
    yield f'<svg width="0" height="0" style="position: absolute" aria-hidden="true">{svg.DEFINITIONS}</svg>'
    yield "<header>"
    yield '<p class="kicker">pyinitctl verify: does this container stop as it should?</p>'
    yield f"<h1><code>{escaped(subject['image'])}</code></h1>"
    yield f'<p class="verdict {verdict}">{_sign(verdict)}<span>{escaped(report["verdict"])}</span></p>'
    yield f'<ul class="counts">{"".join(_counts(report, failures))}</ul>'
    yield "</header>\n<main>"
    if PLAIN in stops:
        yield "<h2>The plain stop</h2>"
        yield from _stop(PLAIN, report)
    if failures:
        yield "<h2>What failed, and what to change</h2>"
        for one in failures:
            yield from _failure(one, stops)
    yield "<h2>Every check</h2>"
    yield from _checks(report["results"])
    others = [name for name in stops if name != PLAIN]
    if others:
        yield "<h2>The other stops</h2>"
        for name in others:
            yield from _stop(name, report)
    yield "<h2>What was judged, and where</h2>"
    yield from _facts(report)
    yield "</main>"
    yield '<footer class="quiet small">Made by pyinitctl verify of its JSON report, which has all of this and more.</footer>'
    yield "</body>\n</html>"


def _is_failure(result: Json) -> bool:
    return bool(result["verdict"] == "fail" and not result["excused"])


def _sign(verdict: str) -> str:
    return f'<span class="sign" aria-hidden="true">{_SIGNS[verdict]}</span>'


def _counts(report: Json, failures: Sequence[Json]) -> Iterator[str]:
    known = sum(one["known"] for one in failures)
    for verdict, words in (("pass", "passed"), ("fail", "failed"), ("skipped", "skipped"), ("note", "notes")):
        number = report["summary"][verdict]
        more = f" ({known} known)" if known and verdict == "fail" else ""
        yield f'<li class="{verdict if number else "quiet"}">{_sign(verdict)} <b>{number}</b> {words}{more}</li>'


# --- checks ---


def _failure(result: Json, stops: Json) -> Iterator[str]:
    known = ' <span class="tag">known: it is in the baseline</span>' if result["known"] else ""
    yield f'<article class="box {"known" if result["known"] else "fail"}" id="{escaped(result["id"])}">'
    yield (
        f'<h3>{_sign("fail")}{escaped(result["id"])} {escaped(result["title"])} <span class="tag">{result["severity"]}</span>{known}</h3>'
    )
    yield f"<p>{escaped(result['words'])}</p>"
    yield _lines(result["evidence"])
    yield "<dl>"
    for name, words in (("Why it matters", result["why"]), ("What to change", result["fix"])):
        if words:
            yield f"<dt>{name}</dt><dd>{escaped(words)}</dd>"
    if result["reproduce"]:
        yield f"<dt>How to reproduce it</dt><dd>{_code(result['reproduce'])}</dd>"
    yield "</dl>"
    if result["act"] in stops:
        yield f'<p><a href="#act-{escaped(result["act"])}">The stop in which it was seen</a></p>'
    yield "</article>"


def _lines(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return f'<ul class="evidence mono">{items}</ul>' if items else ""


def _code(text: str) -> str:
    return f"<pre><code>{escaped(text)}</code></pre>"


def _checks(results: Sequence[Json]) -> Iterator[str]:
    yield '<table class="checks" role="table"><caption class="unseen">All checks, by group</caption>'
    yield '<thead role="rowgroup"><tr role="row">'
    for kind, name in (
        ("sign-of", '<span class="unseen">verdict</span>'),
        ("what", "what is true when it passes"),
        ("weight", "weight"),
        ("seen", "what was seen, or why it was skipped"),
    ):
        yield f'<th class="{kind}" role="columnheader" scope="col">{name}</th>'
    yield "</tr></thead>"
    for group in dict.fromkeys(one["group"] for one in results):
        yield '<tbody role="rowgroup"><tr class="group" role="row">'
        yield f'<th role="rowheader" colspan="4" scope="rowgroup">{escaped(group)}</th></tr>'
        for one in results:
            if one["group"] == group:
                yield from _check(one)
        yield "</tbody>"
    yield "</table>"


def _check(result: Json) -> Iterator[str]:
    verdict = result["verdict"]
    identity, words = escaped(result["id"]), escaped(result["words"])
    failed = _is_failure(result)
    shown = "known" if failed and result["known"] else verdict
    more = {"known": " (known: it is in the baseline)"}.get(shown, "")
    yield f'<tr class="{shown}" role="row"><td role="cell">{_sign(verdict)}<span class="unseen">{verdict}</span></td>'
    name = f'<a href="#{identity}">{identity}</a>' if failed else f"<b>{identity}</b>"
    yield f'<th class="what" role="rowheader" scope="row">{name} {escaped(result["title"])}</th>'
    yield f'<td class="quiet small" role="cell">{result["severity"]}</td>'
    evidence = "" if failed else _lines(result["evidence"])
    yield f'<td class="seen" role="cell">{words}{more}{evidence}</td></tr>'


# --- stops ---


def _stop(name: str, report: Json) -> Iterator[str]:
    act = report["acts"][name]
    stop = act["stop"]
    judged = [one["id"] for one in report["results"] if one["act"] == name]
    yield f'<article class="box" id="act-{escaped(name)}">'
    if name != PLAIN:
        yield f"<h3>{escaped(name.replace('_', ' '))}</h3>"
    if stop["timeline"] is None:
        yield f"<p>stopped after {duration(stop['seconds'])}, exit status {stop['status']}; no process of it could be seen</p>"
        yield _budget(stop)
    else:
        yield from _timeline(Timeline.of_json(stop["timeline"]), stop)
    if judged:
        yield f'<p class="quiet small">Judged by it: {escaped(", ".join(judged))}</p>'
    for summary, text in (("How to do the same", act["reproduce"]), ("The end of its log", stop["log"])):
        if text:
            yield f"<details><summary>{summary}</summary>{_code(text)}</details>"
    yield "</article>"


def _budget(stop: Json) -> str:
    """How much of the grace period was used, in words and as a line."""
    seconds, grace = stop["seconds"], stop["grace"]
    share = 100 * min(seconds / grace, 1) if grace else 100
    kind = "killed" if stop["forced"] else "fair"
    words = f"PID 1 took {duration(seconds)} of {duration(grace)} grace" + (
        ", and the engine killed it" if stop["forced"] else ""
    )
    return (
        f'<div><p class="small">{words}</p><svg class="budget" aria-hidden="true">'
        f'<rect class="phase" width="100%" height="8" rx="4"/><rect class="{kind}" width="{share:.2f}%" height="8" rx="4"/></svg></div>'
    )


def _timeline(timeline: Timeline, stop: Json) -> Iterator[str]:
    span = span_of([timeline])
    first, *others = timeline.verdict()
    yield f"<p><b>{escaped(first)}</b>; {escaped('; '.join(others))}</p>"
    yield _budget(stop)
    yield _marks(timeline)
    yield '<table class="time" role="table"><caption class="unseen">Its processes, from the stop signal to their ends</caption>'
    yield '<thead role="rowgroup"><tr role="row"><th class="who" role="columnheader" scope="col">process</th>'
    yield '<th class="when" role="columnheader" scope="col"><span class="unseen">its time</span>'
    yield f'<svg class="across" aria-hidden="true">{svg.scale(timeline, span)}</svg></th>'
    for kind in ("ended", "how"):
        yield f'<th class="{kind}" role="columnheader" scope="col">{kind}</th>'
    yield "</tr></thead>"
    yield '<tbody role="rowgroup">'
    shown = timeline.telling(svg.MOST)
    for bar in shown:
        yield _process(timeline, bar, span)
    yield "</tbody></table>"
    if len(shown) < len(timeline.bars):
        yield f'<p class="quiet">{svg.and_more(timeline)}</p>'
    yield '<ul class="legend" aria-label="signs">'
    for shape, words in svg.legend([timeline]):
        yield f'<li><svg viewBox="-13 -10 26 20" aria-hidden="true">{shape}</svg>{words}</li>'
    yield "</ul>"
    yield _lines((*(f"not seen: {gap}" for gap in timeline.blind), *timeline.notes))


def _marks(timeline: Timeline) -> str:
    items = "".join(
        f'<li><b>{number}</b><span class="when">{duration(mark.time)}</span><span>{escaped(mark.words)}</span></li>'
        for number, mark in enumerate(timeline.marks, 1)
    )
    return f'<ol class="marks small">{items}</ol>' if items else ""


def _process(timeline: Timeline, bar: Bar, span: float) -> str:
    kind = bar.tone.name.lower()
    ended = "" if bar.ended is None else duration(bar.ended)
    asked = [_asked(one) for one in bar.asked]
    if len(asked) > _ASKED:
        asked = [*asked[:_ASKED], f"and {len(asked) - _ASKED} more signals"]
    name = escaped(bar.name)
    until = f"until {ended}" if ended else "and is still alive"
    return (
        f'<tr role="row"><th class="who" role="rowheader" scope="row">{name} <span class="quiet small">[{bar.inside or "?"}]</span></th>'
        f'<td class="when" role="cell"><svg class="across" role="img"><title>{name}: from {duration(bar.began)} {until}</title>'
        f"{svg.track(timeline, bar, span)}</svg></td>"
        f'<td class="ended" role="cell">{ended}</td>'
        f'<td class="how" role="cell"><span class="tone {kind}">{escaped(bar.words)}</span>'
        + "".join(f'<br/><span class="quiet small">{one}</span>' for one in asked)
        + "</td></tr>"
    )


def _asked(one: Asked) -> str:
    """In words; the time is not broken over two lines."""
    words, _, when = one.words.rpartition(" at ")
    return f'{escaped(words)} <span class="whole">at {escaped(when)}</span>'


# --- where ---


def _facts(report: Json) -> Iterator[str]:
    subject = report["subject"]
    facts = {
        "image": subject["image"],
        "its ID": subject["id"],
        "platform": subject["platform"],
        "command": " ".join(subject["command"]),
        "stop signal": subject["stop_signal"],
        **report["about"],
        "ready by": report["ready"],
        "seen by": report["source"],
        "not seen": "; ".join(report["unseen"]),
    }
    yield "<dl>"
    for name, value in facts.items():
        if value:
            yield f'<dt>{escaped(name)}</dt><dd class="mono">{escaped(value)}</dd>'
    yield "</dl>"
    impossible = [
        f"{name.replace('_', ' ')}: {act['impossible']}" for name, act in report["acts"].items() if act["impossible"]
    ]
    if impossible:
        yield "<h3>What could not be done</h3>"
        yield _lines(impossible)
