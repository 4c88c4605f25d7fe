"""Timelines as one SVG picture that stands alone: no script, no font, no reference to anything outside; light and dark.

Colours are written twice (in the rules and in the rules for a dark screen) and not as CSS variables: several renderers know none.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pyinit.containers.timeline import Bar, Timeline, span_of, ticks
from pyinit.init import signals

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 880
_LEFT = 172
_RIGHT = 620
"""Bars are drawn between these; words about the end stand to the right."""
_LETTERS = 110
"""What is sure to fit in a line: there is no way to measure text here."""
_NAME_LETTERS = 20
_ROW = 26
_BAR = 12
_LINE = 20
_GAP = 30

_STYLE = """
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e; font-size: 12px }
.grid { stroke: #d1d9e0 }
.fair { fill: #1a7f37 } .failed { fill: #9a6700 } .killed { fill: #cf222e } .unknown { fill: #59636e }
.waits { fill-opacity: .28 }
.told { fill: #1f2328 }
.dropped { fill: none; stroke: #1f2328; stroke-width: 1.4 }
.cross { fill: none; stroke: #cf222e; stroke-width: 2.4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.card { fill: #0d1117; stroke: #3d444d }
.quiet { fill: #9198a1 }
.grid { stroke: #3d444d }
.fair { fill: #3fb950 } .failed { fill: #d29922 } .killed { fill: #f85149 } .unknown { fill: #9198a1 }
.told { fill: #e6edf3 }
.dropped { stroke: #e6edf3 }
.cross { stroke: #f85149 }
}
"""


def render(timelines: Sequence[Timeline], caption: str = "") -> str:
    """One picture of all of them on a common scale, one below the other. `caption` says where it comes from."""
    span = span_of(timelines)
    parts: list[str] = []
    y = 34.0
    for timeline in timelines:
        y = _panel(parts, timeline, y, span)
    y = _legend(parts, y)
    if caption:
        parts.append(_text(20, y, caption, "quiet"))
        y += _LINE
    height = round(y)
    label = escape("; ".join(f"{timeline.title}: {'. '.join(timeline.verdict())}" for timeline in timelines))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>{label}</title>\n<style>{_STYLE}</style>\n"
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _panel(parts: list[str], timeline: Timeline, y: float, span: float) -> float:
    """Draws one timeline from `y` down; returns where the next may begin."""
    parts.append(_text(20, y, timeline.title, "title"))
    for sentence in (*timeline.verdict(), *timeline.notes):
        for line in textwrap.wrap(sentence, _LETTERS):
            y += _LINE
            parts.append(_text(20, y, line))
    y += _LINE + 8
    bottom = y + _ROW * len(timeline.bars) + 6
    for tick in ticks(span):
        x = _x(tick, span)
        parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}V{bottom:.1f}"/>')
        parts.append(_text(x, bottom + 14, f"{tick:g} s", "quiet", "middle"))
    for number, bar in enumerate(timeline.bars):
        _bar(parts, bar, y + _ROW * number + _ROW / 2 + 3, span)
    return bottom + 14 + _GAP + 4


def _bar(parts: list[str], bar: Bar, middle: float, span: float) -> None:
    kind = bar.tone.name.lower()
    baseline = middle + 4.5
    ended = span if bar.ended is None else bar.ended
    parts.append(_text(20, baseline, f"{bar.name[:_NAME_LETTERS]} [{bar.inside or '?'}]"))
    heard = ended if bar.heard is None else min(bar.heard, ended)
    for start, end, waits in ((bar.began, heard, " waits"), (max(bar.began, heard), ended, "")):
        if end > start or (not waits and bar.heard is not None):
            x, width = _x(start, span), max(2.0, _x(end, span) - _x(start, span))
            parts.append(
                f'<rect class="{kind}{waits}" x="{x:.1f}" y="{middle - _BAR / 2:.1f}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
            )
    for one in bar.asked:
        if one.number != signals.KILL:
            x = _x(one.time, span)
            top = middle - _BAR / 2 - 6
            shape = "told" if one.heard else "dropped"
            words = f"{signals.name_of(one.number)} from {one.sender} at {one.time:.3f} s" + (
                "" if one.heard else ", ignored"
            )
            parts.append(
                f'<path class="{shape}" d="M{x - 4:.1f} {top:.1f}h8l-4 7z"><title>{escape(words)}</title></path>'
            )
    if bar.how.is_kill:
        x = _x(ended, span)
        parts.append(f'<path class="cross" d="M{x - 5:.1f} {middle - 5:.1f}l10 10m0-10l-10 10"/>')
    time = "" if bar.ended is None else f"{bar.ended:.2f} s  "
    parts.append(_text(_RIGHT + 22, baseline, time + bar.words, kind))


def _legend(parts: list[str], y: float) -> float:
    x = 20.0
    entries = (
        ('<path class="told" d="M{x} {t}h8l-4 7z"/>', "told by a signal", 14),
        ('<path class="dropped" d="M{x} {t}h8l-4 7z"/>', "told, but it was ignored", 14),
        ('<rect class="fair waits" x="{x}" y="{t}" width="18" height="8" rx="2"/>', "not told", 24),
        ('<rect class="fair" x="{x}" y="{t}" width="18" height="8" rx="2"/>', "told: finishes and ends", 24),
        ('<path class="cross" d="M{x} {t}l9 9m0-9l-9 9"/>', "killed: no say in it", 16),
    )
    for shape, words, room in entries:
        parts.append(shape.format(x=x, t=y - 8))
        parts.append(_text(x + room, y, words, "quiet"))
        x += room + 7 * len(words) + 18
    return y + 24


def _x(time: float, span: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(time / span, 1.0)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    anchor = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{anchor} xml:space="preserve">{escape(words)}</text>'
