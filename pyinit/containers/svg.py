"""Timelines as SVG: a picture that stands alone (`render`), and its parts, which a page puts into cells of its own.

Whatever lies along the time is placed by percent, all else by pixels: so a part fits any width. Nothing refers to anything outside: no
script, no font. It reads without colour: thin is not told, thick is told, and each kind of end has a sign and a pattern. Colours are
written out for light and for dark, not as CSS variables, and text is placed by hand: several renderers know neither.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pyinit.containers.timeline import Tone, duration, span_of, ticks
from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyinit.containers.timeline import Bar, Mark, Timeline

WIDTH = 880
SCALE_HEIGHT = 54
"""Of what `scale` draws."""
MOST = 100
"""Processes that are drawn of one stop."""
_LEFT = 172
_RIGHT = 620
"""Bars are drawn between these; words about the end stand to the right."""
_LETTERS = 110
"""What is sure to fit in a line: there is no way to measure text here."""
_NAME_LETTERS = 20
_ROW = 26
_LINE = 20
_GAP = 24
_NARROWEST = 260.0
"""Pixels that the time has at least, on a phone: what is nearer than that allows is moved apart."""
_FLAG = 18.0
"""Pixels between the middles of two flags."""

LIGHT = {
    "ink": "#1f2328",
    "quiet": "#59636e",
    "card": "#ffffff",
    "line": "#d1d9e0",
    "shade": "#eaeef2",
    "fair": "#1a7f37",
    "failed": "#9a6700",
    "killed": "#cf222e",
    "unknown": "#59636e",
}
DARK = {
    "ink": "#e6edf3",
    "quiet": "#9198a1",
    "card": "#0d1117",
    "line": "#3d444d",
    "shade": "#262c36",
    "fair": "#3fb950",
    "failed": "#d29922",
    "killed": "#f85149",
    "unknown": "#9198a1",
}

_SHAPES = """
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; white-space: pre }
.title { font-size: 16px; font-weight: 600 }
text.small { font-size: 12px }
.number { font-size: 11px; font-weight: 600 }
.gap, .halo, .cross, .dropped, .open { fill: none }
.gap { stroke-width: 1.6 }
.halo { stroke-width: 5.5; stroke-linecap: round }
.cross { stroke-width: 2.6; stroke-linecap: round }
.dropped, .open { stroke-width: 1.6 }
.mark { stroke-dasharray: 3 3 }
.limit { stroke-width: 2; stroke-dasharray: 1 3 }
.works.failed { fill: url(#bar-failed) } .works.killed { fill: url(#bar-killed) } .works.unknown { fill: url(#bar-unknown) }
"""

_COLOURS = """
text, .told {{ fill: {ink} }}
.card {{ fill: {card}; stroke: {line} }}
.quiet {{ fill: {quiet} }}
.grid {{ stroke: {line} }}
.mark, .limit, .dropped {{ stroke: {quiet} }}
.fair {{ fill: {fair} }} .failed {{ fill: {failed} }} .killed {{ fill: {killed} }} .unknown {{ fill: {unknown} }}
.phase {{ fill: {shade}; stroke: {line} }}
.flag {{ fill: {ink} }}
.number {{ fill: {card} }}
.gap, .halo {{ stroke: {card} }}
.edge {{ stroke: {card}; stroke-width: 1.5 }}
.cross {{ stroke: {killed} }}
.open {{ fill: {card}; stroke: {unknown} }}
"""

STYLE = (
    f"{_SHAPES}{_COLOURS.format(**LIGHT)}@media screen and (prefers-color-scheme: dark) {{{_COLOURS.format(**DARK)}}}\n"
)

DEFINITIONS = """\
<defs>
<pattern id="bar-failed" width="8" height="4" patternUnits="userSpaceOnUse"><rect class="failed" width="8" height="4"/>\
<path class="gap" d="M0 2h8"/></pattern>
<pattern id="bar-killed" width="7" height="7" patternUnits="userSpaceOnUse"><rect class="killed" width="7" height="7"/>\
<path class="gap" d="M-2 2l4-4M-2 9L9-2M5 9l4-4"/></pattern>
<pattern id="bar-unknown" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="unknown" width="6" height="6"/>\
<path class="gap" d="M1 2h2M4 5h2"/></pattern>
<circle id="end-fair" class="fair edge" r="6"/>
<path id="end-failed" class="failed edge" d="M0-7.5L7.5 0L0 7.5L-7.5 0z"/>
<g id="end-killed"><path class="halo" d="M-5-5L5 5M5-5L-5 5"/><path class="cross" d="M-5-5L5 5M5-5L-5 5"/></g>
<circle id="end-unknown" class="open" r="5"/>
<path id="end-alive" class="unknown edge" d="M-3-7L8 0L-3 7z"/>
<path id="told" class="told edge" d="M-5-14h10l-5 9z"/>
<path id="dropped" class="dropped" d="M-4.5-13.5h9l-4.5 8z"/>
</defs>
"""
"""What the parts refer to: once in each picture or page."""

_CONTROLS = {number: 0x2400 + number for number in range(32) if number not in (9, 10)} | {127: 0x2421}
_NOT_SHOWN = dict.fromkeys(
    (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), 0xFFFD
)
_PRINTABLE = _CONTROLS | _NOT_SHOWN


def escaped(text: str) -> str:
    """Text for an element or an attribute in quotes. Names and logs may hold anything: control characters become signs for
    them, what XML forbids and what turns the direction of writing a sign for something else.
    """
    return escape(text.translate(_PRINTABLE), {'"': "&quot;", "'": "&#39;"})


def render(timelines: Sequence[Timeline], caption: str = "") -> str:
    """One picture of all of them on a common scale, one below the other. `caption` says where it comes from."""
    span = span_of(timelines)
    parts: list[str] = []
    y = 34.0
    for timeline in timelines:
        y = _panel(parts, timeline, y, span)
    y = _legend(parts, y, legend(timelines))
    if caption:
        parts.append(_text(20, y, caption, "quiet small"))
        y += _LINE
    height = round(y)
    label = escaped("; ".join(f"{timeline.title}: {'. '.join(timeline.verdict())}" for timeline in timelines))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>{label}</title>\n<style>{STYLE}</style>\n{DEFINITIONS}"
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _panel(parts: list[str], timeline: Timeline, y: float, span: float) -> float:
    """Draws one timeline from `y` down; returns where the next may begin."""
    parts.append(_text(20, y, timeline.title, "title"))
    for sentence in (*timeline.verdict(), *timeline.notes, *(f"not seen: {gap}" for gap in timeline.blind)):
        for line in textwrap.wrap(sentence, _LETTERS):
            y += _LINE
            parts.append(_text(20, y, line))
    for number, mark in enumerate(timeline.marks, 1):
        y += _LINE
        parts.append(f'<circle class="flag" cx="28" cy="{y - 4.5:.1f}" r="8"/>')
        parts.append(_text(28, y - 0.5, str(number), "number", "middle"))
        parts.append(_text(92, y, duration(mark.time), "quiet", "end"))
        parts.append(_text(104, y, mark.words, "quiet"))
    y += 14
    parts.append(_viewport(y, SCALE_HEIGHT, scale(timeline, span)))
    y += SCALE_HEIGHT
    shown = timeline.telling(MOST)
    for bar in shown:
        parts.append(_viewport(y, _ROW, track(timeline, bar, span)))
        kind, baseline = bar.tone.name.lower(), y + _ROW / 2 + 4.5
        parts.append(_text(20, baseline, f"{bar.name[:_NAME_LETTERS]} [{bar.inside or '?'}]"))
        ended = "" if bar.ended is None else duration(bar.ended)
        parts.append(_text(_RIGHT + 74, baseline, ended, kind, "end"))
        parts.append(_text(_RIGHT + 86, baseline, bar.words, kind))
        y += _ROW
    if len(shown) < len(timeline.bars):
        y += _LINE
        parts.append(_text(20, y, and_more(timeline), "quiet"))
    return y + _GAP + 16


def _viewport(y: float, height: float, content: str) -> str:
    return f'<svg x="{_LEFT}" y="{y:.1f}" width="{_RIGHT - _LEFT}" height="{height}" overflow="visible">{content}</svg>'


def and_more(timeline: Timeline) -> str:
    """What stands below the first MOST processes."""
    return f"and {len(timeline.bars) - MOST} more, which ended no worse than these"


# --- parts ---


def scale(timeline: Timeline, span: float) -> str:
    """What stands above the bars: a flag for each mark, with its number; the phases; the seconds. SCALE_HEIGHT pixels high."""
    parts = [_line(mark.time, span, "mark", "16", "36") for mark in timeline.marks]
    for number, (mark, shift) in enumerate(_flags(timeline, span), 1):
        parts.append(
            f'<svg x="{_percent(mark.time, span)}" overflow="visible"><circle class="flag" cx="{shift:.0f}" cy="8" r="8"/>'
            f'<text class="number" x="{shift:.0f}" y="12" text-anchor="middle">{number}</text></svg>'
        )
    for phase in timeline.phases:
        parts.append(f'<rect class="phase" {_from_to(phase.began, phase.ended, span)} y="20" height="16"/>')
        if (phase.ended - phase.began) / span * _NARROWEST > 8 * len(phase.name):
            middle = _percent((phase.began + phase.ended) / 2, span)
            parts.append(f'<text class="small" x="{middle}" y="32" text-anchor="middle">{phase.name}</text>')
    for tick in ticks(span):
        words = duration(tick) if span < 0.2 else f"{tick:g} s"
        parts.append(f'<text class="quiet small" x="{_percent(tick, span)}" y="50" text-anchor="middle">{words}</text>')
    return "".join(parts)


def track(timeline: Timeline, bar: Bar, span: float) -> str:
    """The time of one process across, with the lines of the scale; it fills what it is put into, the bar in the middle."""
    lines = [_line(tick, span, "grid") for tick in ticks(span)]
    lines += [_line(mark.time, span, "mark") for mark in timeline.marks]
    if timeline.grace is not None and timeline.grace <= span:
        lines.append(_line(timeline.grace, span, "limit"))
    return "".join(lines) + f'<svg y="50%" overflow="visible">{_bar(timeline, bar, span)}</svg>'


def _bar(timeline: Timeline, bar: Bar, span: float) -> str:
    kind = bar.tone.name.lower()
    ended = span if bar.ended is None else bar.ended
    told = timeline.told(bar)
    told = ended if told is None else min(told, ended)
    parts = []
    for state, began, until, height in (("waits", bar.began, told, 4), ("works", max(bar.began, told), ended, 14)):
        if until > began:
            place = _from_to(began, until, span)
            parts.append(f'<rect class="{state} {kind}" {place} y="{-height / 2:g}" height="{height}"/>')
    sign = "alive" if bar.ended is None else kind
    parts.append(f'<use href="#end-{sign}" x="{_percent(ended, span)}"/>')
    for one in bar.asked:
        if one.number != signals.KILL:
            shape = "told" if one.heard else "dropped"
            at = _percent(one.time, span)
            parts.append(f'<use href="#{shape}" x="{at}"><title>{escaped(one.words)}</title></use>')
    return "".join(parts)


def _flags(timeline: Timeline, span: float) -> Sequence[tuple[Mark, float]]:
    """The marks, each with how many pixels its flag is moved to the right, so that two do not cover each other."""
    found = []
    free = -_NARROWEST
    for mark in timeline.marks:
        at = mark.time / span * _NARROWEST
        found.append((mark, max(at, free) - at))
        free = max(at, free) + _FLAG
    return found


def legend(timelines: Sequence[Timeline]) -> Sequence[tuple[str, str]]:
    """What the signs that are used mean: each as SVG, 24 pixels wide about a middle of 0, and in words."""
    bars = [(timeline, bar) for timeline in timelines for bar in timeline.bars]
    tones = {bar.tone for _, bar in bars if bar.ended is not None}
    heard = {one.heard for _, bar in bars for one in bar.asked if one.number != signals.KILL}
    span = span_of(timelines)
    told = [(line.told(bar), bar.began) for line, bar in bars]
    waits = any(since is None or since > began for since, began in told)
    works = any(since is not None for since, _ in told)
    return [
        (shape, words)
        for used, shape, words in (
            (True in heard, '<use href="#told" y="8"/>', "told by a signal"),
            (False in heard, '<use href="#dropped" y="8"/>', "told, but it was ignored"),
            (waits, '<rect class="unknown" x="-12" y="-2" width="24" height="4"/>', "thin: not told yet"),
            (works, '<rect class="unknown" x="-12" y="-7" width="24" height="14"/>', "thick: told, ends its work"),
            (Tone.FAIR in tones, '<use href="#end-fair"/>', "ended by itself"),
            (Tone.FAILED in tones, '<use href="#end-failed"/>', "ended with an error status"),
            (Tone.KILLED in tones, '<use href="#end-killed"/>', "killed: it had no say"),
            (Tone.UNKNOWN in tones, '<use href="#end-unknown"/>', "ended, not known how"),
            (any(bar.ended is None for _, bar in bars), '<use href="#end-alive"/>', "still alive"),
            (
                any(line.grace is not None and line.grace <= span for line in timelines),
                '<line class="limit" y1="-9" y2="9"/>',
                "the grace period is over",
            ),
        )
        if used
    ]


# --- places ---


def _legend(parts: list[str], y: float, entries: Iterable[tuple[str, str]]) -> float:
    x = 20.0
    for shape, words in entries:
        room = 34 + 6.3 * len(words) + 16
        if x + room > WIDTH:
            x, y = 20.0, y + _LINE
        parts.append(f'<g transform="translate({x + 12:.0f} {y - 4.5:.1f})">{shape}</g>')
        parts.append(_text(x + 32, y, words, "quiet small"))
        x += room
    return y + 24


def _share(time: float, span: float) -> float:
    return 100 * min(max(time / span, 0.0), 1.0)


def _percent(time: float, span: float) -> str:
    return f"{_share(time, span):.2f}%"


def _from_to(began: float, ended: float, span: float) -> str:
    return f'x="{_percent(began, span)}" width="{_share(ended, span) - _share(began, span):.2f}%"'


def _line(time: float, span: float, kind: str, top: str = "0", bottom: str = "100%") -> str:
    at = _percent(time, span)
    return f'<line class="{kind}" x1="{at}" x2="{at}" y1="{top}" y2="{bottom}"/>'


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor}>{escaped(words)}</text>'
