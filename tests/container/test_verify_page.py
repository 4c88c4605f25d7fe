"""Pages and pictures of verify, in a real browser: do they fit a phone and a desk, in light and dark and on paper, and load nothing?

Each question is asked of the page as the browser has laid it out, and shown to find a page that is broken. What it looks like is left
in the test's folder as PNG.
"""

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyinit.verify import page
from support.browser import Browser, Page
from support.reports import everything, varied

README_PICTURES = Path(__file__).resolve().parent.parent.parent / "docker" / "example"

PHONE, DESK = (360, 800), (1280, 900)
LOOKS = [(*screen, scheme) for screen in (PHONE, DESK) for scheme in ("light", "dark")]
Look = tuple[int, int, str]

SHOWN = """
const shown = element => {
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && !element.closest(".unseen, defs, title, thead, details:not([open]) > :not(summary)");
};
const name = element => `${element.tagName} ${element.getAttribute("class") || ""} ${element.textContent.trim().slice(0, 40)}`;
"""

OUTSIDE = f"""(() => {{{SHOWN}
const wide = document.documentElement.clientWidth, root = document.documentElement;
return [...(root.scrollWidth > wide ? [`the page is ${{root.scrollWidth}} wide, the screen ${{wide}}`] : []),
  ...[...document.querySelectorAll("body *, svg *")].filter(shown)
    .filter(one => {{ const box = one.getBoundingClientRect(); return box.left < -0.5 || box.right > wide + 0.5; }}).map(name)];
}})()"""
"""What does not fit the width of the screen."""

COVERED = f"""(() => {{{SHOWN}
const boxes = [];
const texts = [...document.querySelectorAll("svg text")].filter(one => one.getBoundingClientRect().width > 0);
for (const one of [...texts, ...document.querySelectorAll("tr > *")].filter(one => one.tagName == "text" || shown(one)))
  boxes.push([one, one.getBoundingClientRect()]);
const found = [];
for (let at = 0; at < boxes.length; at++) for (let to = at + 1; to < boxes.length; to++) {{
  const [one, a] = boxes[at], [other, b] = boxes[to];
  if (one.contains(other) || other.contains(one)) continue;
  const slack = one.tagName == "text" && other.tagName == "text" ? 3 : 0.5;
  if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > slack)
    found.push(`${{name(one)}} and ${{name(other)}}`);
}}
return found;
}})()"""
"""Texts in pictures and cells of tables that cover each other."""

FAINT = f"""(() => {{{SHOWN}
const parts = colour => {{ const all = colour.match(/[\\d.]+/g).map(Number); return all.length > 3 ? all : [...all, 1]; }};
const light = ([red, green, blue]) => [red, green, blue].map(one => one / 255)
  .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
  .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
const behind = element => {{
  for (let one = element; one; one = one.parentElement) {{
    const colour = parts(getComputedStyle(one).backgroundColor);
    if (colour[3] > 0) return colour;
  }}
  return [255, 255, 255];
}};
const found = [];
const walker = document.createTreeWalker(document.body || document.documentElement, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {{
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !shown(element) || element.closest("svg .number, svg style")) continue;
  const style = getComputedStyle(element), inside = element.closest("svg");
  const [one, other] = [light(parts(inside ? style.fill : style.color)), light(behind(element))].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  if (ratio < 4.5) found.push(`${{ratio.toFixed(2)}} ${{name(element)}}`);
}}
return found;
}})()"""
"""Text whose contrast with what is behind it is below what WCAG's AA asks for."""

BARS = """[...document.querySelectorAll("#act-stop .time tbody tr")].map(row => {
  const box = one => { const {left, right, top, bottom} = one.getBoundingClientRect(); return {left, right, top, bottom}; };
  return {
    name: row.querySelector(".who").textContent, time: box(row.querySelector(".across")), cell: box(row.querySelector(".when")),
    bars: [...row.querySelectorAll("rect")].map(one => ({kind: one.getAttribute("class"), fill: getComputedStyle(one).fill, ...box(one)})),
    end: box(row.querySelector("use")),
  };
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all: a tab is a fresh start, too."""
    with Browser() as one:
        yield one


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab of its own."""
    with browser.page() as one:
        yield one


@pytest.fixture
def opened(tab: Page, tmp_path: Path) -> Callable[..., Page]:
    """Opens this text as a file, on that screen."""

    def open_it(text: str, look: Look = (*DESK, "light"), media: str = "", name: str = "page.html") -> Page:
        (tmp_path / name).write_text(text, encoding="utf-8")
        tab.look(*look, media)
        tab.open(tmp_path / name)
        return tab

    return open_it


def long_names() -> dict[str, Any]:
    """A report with names and lines that have no place to be broken at."""
    report = varied()
    report["subject"]["image"] = f"registry.example.com/{'x' * 90}:latest"
    report["results"][0]["evidence"] = ["y" * 200]
    report["results"][0]["reproduce"] = f"docker run {'z' * 200}"
    report["acts"]["stop"]["stop"]["log"] = "w" * 500
    return report


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]} {look[2]}")
@pytest.mark.parametrize("made", [varied, everything, long_names])
def test_it_fits(opened: Callable[..., Page], made: Callable[[], dict[str, Any]], look: Look, tmp_path: Path) -> None:
    """Nothing is beyond the edge, nothing covers anything else, all text can be read; also with all that can be opened open."""
    tab = opened(page.html(made()), look)
    tab.photograph(tmp_path / "page.png")
    for _ in range(2):
        assert tab.evaluate(OUTSIDE) == []
        assert tab.evaluate(COVERED) == []
        assert tab.evaluate(FAINT) == []
        tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]} {look[2]}")
def test_bars_are_where_they_belong(opened: Callable[..., Page], look: Look) -> None:
    """Along the time to the pixel, thick and thin in the middle of their row, the end's sign at the end; wide enough to tell apart."""
    rows = {row["name"]: row for row in opened(page.html(varied()), look).evaluate(BARS)}
    for row in rows.values():
        time = row["time"]
        assert time["right"] - time["left"] >= 270
        assert row["cell"]["left"] < time["left"] < time["right"] < row["cell"]["right"]
    wide = rows["gunicorn [7]"]["time"]["right"] - rows["gunicorn [7]"]["time"]["left"]

    def at(name: str, seconds: float) -> Any:  # noqa: ANN401 - pytest has no name for it
        return pytest.approx(rows[name]["time"]["left"] + wide * seconds / 8.6, abs=1)

    thin, thick = rows["gunicorn [7]"]["bars"]
    assert (thin["right"], thick["left"], thick["right"]) == (
        at("gunicorn [7]", 2),
        at("gunicorn [7]", 2),
        at("gunicorn [7]", 3.1),
    )
    assert (thin["bottom"] - thin["top"], thick["bottom"] - thick["top"]) == (pytest.approx(4), pytest.approx(14))
    killed = rows["worker <&> [9]"]
    assert (killed["end"]["left"] + killed["end"]["right"]) / 2 == at("worker <&> [9]", 8.01)
    for row in rows.values():
        middle = (row["time"]["top"] + row["time"]["bottom"]) / 2
        for bar in row["bars"]:
            assert (bar["top"] + bar["bottom"]) / 2 == pytest.approx(middle, abs=1)
    kinds = {bar["kind"].split()[1]: bar["fill"] for row in rows.values() for bar in row["bars"]}
    assert len(set(kinds.values())) == len(kinds) == 4


def test_schemes_differ(opened: Callable[..., Page]) -> None:
    """Dark is dark, paper is white whatever the screen prefers, and all of it can be read there."""
    background = "getComputedStyle(document.body).backgroundColor"
    text = page.html(varied())
    assert opened(text, (*DESK, "light")).evaluate(background) == "rgb(255, 255, 255)"
    assert opened(text, (*DESK, "dark")).evaluate(background) == "rgb(13, 17, 23)"
    for screen in (PHONE, DESK):
        tab = opened(text, (*screen, "dark"), "print")
        assert tab.evaluate(background) == "rgb(255, 255, 255)"
        assert (tab.evaluate(OUTSIDE), tab.evaluate(COVERED), tab.evaluate(FAINT)) == ([], [], [])


def test_nothing_is_loaded_and_nothing_runs(opened: Callable[..., Page], tmp_path: Path) -> None:
    """The file is all that was asked for; a process called <script> is a name."""
    report = varied()
    report["acts"]["stop"]["stop"]["timeline"]["processes"][1]["name"] = "<script>document.title = 'ran'</script>"
    report["acts"]["stop"]["stop"]["log"] = "<img src=http://127.0.0.1:9/x onerror=\"document.title = 'ran'\">"
    tab = opened(page.html(report))
    assert tab.requests == [(tmp_path / "page.html").as_uri()]
    assert tab.complaints == []
    assert tab.evaluate("[document.scripts.length, document.images.length]") == [0, 0]
    assert "ran" not in tab.evaluate("document.title").split()
    assert "<script>document.title" in tab.evaluate("document.querySelector('#act-stop').textContent")


@pytest.mark.parametrize(
    ("question", "broken"),
    [
        (OUTSIDE, '<div style="width: 2000px">wide</div>'),
        (OUTSIDE, '<div style="position: absolute; left: -9px; width: 5px; height: 5px"></div>'),
        (COVERED, '<svg><text y="20">one</text><text x="5" y="22">other</text></svg>'),
        (FAINT, '<p style="color: #888">faint</p>'),
        (FAINT, '<svg><text y="20" style="fill: #999">faint</text></svg>'),
    ],
)
def test_the_questions_find_what_is_broken(opened: Callable[..., Page], question: str, broken: str) -> None:
    """Each of them sees its own fault in a page that is otherwise good."""
    text = page.html(everything())
    assert opened(text).evaluate(question) == []
    assert opened(text.replace("</main>", f"{broken}</main>")).evaluate(question) != []


def test_what_is_loaded_is_seen(opened: Callable[..., Page]) -> None:
    """Without its policy a picture from elsewhere would be asked for; with it, it is refused, and the browser says so."""
    text = page.html(everything()).replace("</main>", '<img src="http://127.0.0.1:9/x.png"/></main>')
    assert any("Content Security Policy" in one for one in opened(text).complaints)
    assert "http://127.0.0.1:9/x.png" in opened(text.replace("default-src 'none'", "default-src *")).requests


@pytest.mark.parametrize("screen", [PHONE, DESK])
def test_a_screen_reader_has_something_to_read(opened: Callable[..., Page], screen: tuple[int, int]) -> None:
    """Tables stay tables on a phone, each bar has a name, headings are there; what is for the eye alone is not."""
    tab = opened(page.html(varied()), (*screen, "light"))
    nodes = [one for one in tab.call("Accessibility.getFullAXTree")["nodes"] if not one["ignored"]]
    names: dict[str, list[str]] = {}
    for one in nodes:
        names.setdefault(one["role"]["value"], []).append(one.get("name", {}).get("value", ""))
    assert len(names["table"]) == 4
    assert {"process", "its time", "ended", "how", "verdict"} <= set(names["columnheader"])
    assert "gunicorn [7]" in names["rowheader"]
    assert "gunicorn: from 0 s until 3.10 s" in names["image"]
    assert "" not in names["image"]
    assert names["heading"][0] == "shop:ci"
    assert not any("✗" in name for name in names["rowheader"])


def test_with_the_keyboard_alone(opened: Callable[..., Page]) -> None:
    """Whatever can be followed or opened gets the focus in turn, and shows it."""
    tab = opened(page.html(varied()))
    wanted = tab.evaluate("document.querySelectorAll('a[href], summary').length")
    seen = []
    for _ in range(wanted):
        tab.key("Tab")
        seen.append(
            tab.evaluate(
                "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle, "
                "document.activeElement.getBoundingClientRect().top + scrollY]"
            )
        )
    assert {(tag, outline) for tag, outline, _ in seen} == {("A", "solid"), ("SUMMARY", "solid")}
    assert all(before <= after + 1 for (*_, before), (*_, after) in itertools.pairwise(seen))


# --- pictures ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["varied", *sorted(path.name for path in README_PICTURES.glob("*.svg"))])
def test_pictures_fit(opened: Callable[..., Page], name: str, scheme: str, tmp_path: Path) -> None:
    """Those of the README too: well-formed, all of it inside, no text upon another, and nothing is loaded."""
    text = page.picture(varied()) if name == "varied" else (README_PICTURES / name).read_text(encoding="utf-8")
    root = ET.fromstring(text)  # noqa: S314 (our own)
    tab = opened(text, (int(root.get("width", "")), int(root.get("height", "")), scheme), name="picture.svg")
    tab.photograph(tmp_path / "picture.png")
    assert tab.evaluate(OUTSIDE) == []
    assert tab.evaluate(COVERED) == []
    assert tab.requests == [(tmp_path / "picture.svg").as_uri()]
    card = tab.evaluate("getComputedStyle(document.querySelector('.card')).fill")
    assert card == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
