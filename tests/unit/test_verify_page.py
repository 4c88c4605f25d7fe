"""The page and the picture of a run, as far as no browser is needed: what is in them, and that nobody can put anything else in."""

import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pyinit.containers import svg
from pyinit.containers.timeline import Timeline
from pyinit.verify import page
from support.reports import everything, varied

Json = dict[str, Any]

FIXED = (
    "schema",
    "severity",
    "verdict",
    "how",
    "step",
    "signal",
    "act",
    "id",
    "platform",
    "source",
    "fate",
    "sender",
    "name",
)
"""Keys whose values our own code chooses from a list, at least in one place where they are."""


def tree(text: str) -> ET.Element:
    """The page as XML, which it is too: an unclosed or a made-up element is an error."""
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 (our own)


def words(element: ET.Element) -> str:
    """All text in it."""
    return " ".join(" ".join(element.itertext()).split())


def classed(element: ET.Element, kind: str) -> Iterator[ET.Element]:
    """All in it that have this class."""
    return (one for one in element.iter() if kind in one.get("class", "").split())


def article(root: ET.Element, identity: str) -> ET.Element:
    """The part of the page with that id."""
    return next(one for one in root.iter("article") if one.get("id") == identity)


# --- what is in it ---


def test_everything_is_said() -> None:
    """The verdict, what failed with its fix and its commands, notes and skips with reasons, where it ran, what was not seen."""
    report = everything()
    report["unseen"] = ["signals and their senders: no tracepoints"]
    root = tree(page.html(report))
    text = words(root)
    assert "it does not stop as it should: PT-04" in text
    for one in report["results"]:
        assert f"{one['id']} {one['title']}" in text
        assert one["words"] in text
    failed = words(article(root, "PT-04"))
    for said in (
        "docker run x",
        report["results"][0]["fix"],
        report["results"][0]["why"],
        *report["results"][0]["evidence"],
    ):
        assert " ".join(said.split()) in failed
    assert "known: it is in the baseline" in words(article(root, "EX-06"))
    for fact in (
        "Docker 20.10",
        "6.18",
        "sha256:1",
        "SIGTERM",
        "linux/amd64",
        "settled",
        *report["unseen"],
        "no way in",
    ):
        assert fact in text
    assert [words(one) for one in classed(root, "counts")] == ["✓ 1 passed ✗ 2 failed (1 known) – 1 skipped i 1 notes"]


@pytest.mark.parametrize(("status", "kind"), [(0, "pass"), (1, "fail"), (2, "skipped")])
def test_the_verdict_has_a_sign(status: int, kind: str) -> None:
    """In the page and in its title, so that tabs can be told apart."""
    root = tree(page.html({**everything(), "status": status}))
    title = next(root.iter("title"))
    assert (title.text or "").startswith({"pass": "✓", "fail": "✗", "skipped": "–"}[kind])
    assert len([one for one in classed(root, "verdict") if kind in one.get("class", "")]) == 1


def test_what_was_left_out_is_no_failure() -> None:
    """It stands among the checks, with its reason, and asks nobody to change anything."""
    report = everything()
    report["results"][0]["excused"] = "we know"
    assert not [one for one in tree(page.html(report)).iter("article") if one.get("id") == "PT-04"]


def test_a_run_without_a_stop() -> None:
    """Of an init whose chosen checks stop nothing: a page all the same, and a picture that says why it is empty."""
    report = {**everything(), "acts": {}}
    assert "The plain stop" not in page.html(report)
    assert "the plain stop was not done" in words(tree(page.picture(report)))


def test_a_stop_of_which_nothing_was_seen() -> None:
    """Its outcome, and no timeline."""
    report = everything()
    report["acts"]["stop"] = report["acts"]["openshift"]
    root = tree(page.html(report))
    assert "no process of it could be seen" in words(article(root, "act-stop"))
    assert not list(classed(root, "time"))
    assert "its processes could not be seen" in words(tree(page.picture(report)))


# --- the timeline ---


def bars(root: ET.Element, act: str = "act-stop") -> dict[str, ET.Element]:
    """The rows of a timeline, by name and PID."""
    body = next(classed(article(root, act), "time")).find("tbody")
    assert body is not None
    return {words(next(iter(row))): row for row in body}


def drawn(row: ET.Element) -> list[tuple[str, float, float]]:
    """Its rectangles: state, and from where to where in percent."""
    found = []
    for rect in row.iter("rect"):
        x, width = (float(rect.get(key, "").removesuffix("%")) for key in ("x", "width"))
        found.append((rect.get("class", ""), x, x + width))
    return found


def signs(row: ET.Element) -> list[tuple[str, float]]:
    """Its arrows and ends, with where they are in percent."""
    return [(use.get("href", ""), float(use.get("x", "").removesuffix("%"))) for use in row.iter("use")]


def test_bars_are_where_they_belong() -> None:
    """Thin until told, thick until the end, an arrow for each signal, a sign and a class for the kind of end; of 8.6 s."""
    rows = bars(tree(page.html(varied())))

    def at(seconds: float) -> Any:  # noqa: ANN401 - pytest has no name for it
        return pytest.approx(100 * seconds / 8.6, abs=0.02)

    assert drawn(rows["gunicorn [7]"]) == [("waits fair", 0, at(2)), ("works fair", at(2), at(3.1))]
    assert signs(rows["gunicorn [8]"]) == [("#end-fair", at(3.0)), ("#told", at(2)), ("#told", at(2.1))]
    assert drawn(rows["worker <&> [9]"]) == [("waits killed", 0, at(8.01))]
    assert signs(rows["worker <&> [9]"]) == [("#end-killed", at(8.01)), ("#dropped", at(2))]
    assert signs(rows["ld-linux-x86-64 [10]"]) == [("#end-failed", at(4.4)), ("#told", at(2))]
    assert drawn(rows["job [31]"]) == [("waits fair", at(2.6), at(5.2))]
    assert signs(rows["stuck [40]"])[0] == ("#end-alive", 100)
    assert words(rows["cron [11]"]).endswith(
        "until 8.60 s 8.60 s SIGKILL as PID 1 left SIGKILL from somebody at 8.60 s"
    )


def test_drain_grace_and_kill_are_marked() -> None:
    """As phases above the bars, each as long as it took, and as numbered marks with words."""
    root = tree(page.html(varied()))
    stop = article(root, "act-stop")
    shown = [("".join(one.itertext()), one.get("x")) for one in classed(stop, "small") if one.tag == "text"]
    assert [name for name, _ in shown if name.isalpha()] == ["drain", "grace"]
    assert [rect.get("x") for rect in classed(next(classed(stop, "time")), "phase")] == ["0.00%", "23.26%", "93.02%"]
    assert [words(one) for one in next(classed(stop, "marks"))] == [
        "1 0 s SIGTERM reaches PID 1",
        "2 2.00 s PID 1 sends SIGTERM on",
        "3 8.00 s SIGKILL by PID 1",
    ]
    assert "PID 1 took 8.60 s of 10 s grace" in words(stop)


def test_where_no_signal_is_seen_nobody_is_shown_as_not_told() -> None:
    """The source says what it does not know, and the bars claim nothing of it."""
    root = tree(page.html(varied()))
    kinds = {kind for row in bars(root, "act-readonly").values() for kind, _, _ in drawn(row)}
    assert {kind.split()[0] for kind in kinds} == {"works"}
    assert "not seen: signals and their senders: no tracepoints" in words(article(root, "act-readonly"))


def test_many_processes() -> None:
    """The worst are drawn, and how many are not is said."""
    report = varied()
    processes = report["acts"]["stop"]["stop"]["timeline"]["processes"]
    first = next(one for one in processes if one["how"] == "finished")
    crowd = [{**deepcopy(first), "inside": number} for number in range(1000, 1000 + svg.MOST)]
    report["acts"]["stop"]["stop"]["timeline"]["processes"] = [*crowd, *processes]
    rows = bars(tree(page.html(report)))
    assert len(rows) == svg.MOST
    assert {"pyinit [1]", "worker <&> [9]", "cron [11]", "ld-linux-x86-64 [10]", "stuck [40]"} <= set(rows)
    for text in (page.html(report), page.picture(report)):
        assert "and 8 more, which ended no worse than these" in text


# --- what anybody may have written ---

HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)> \x00\x1b[31m \u202egnp.exe </style></title>-->]]> \ud800"
)


def strings(value: object, key: str = "", *path: str | int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where in a report text is that nobody chose from a list."""
    if isinstance(value, str):
        if key not in FIXED or path[-2:] == ("subject", "id") or (key == "name" and "processes" in path):
            yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, str(name), *path, name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from strings(inner, key, *path, number)


def with_everything_hostile() -> Json:
    """A report in which everything that is text is an attack."""
    report = varied()
    for path, _ in list(strings(report)):
        place: Any = report
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = HOSTILE
    report["subject"] = {key: [HOSTILE] if key == "command" else HOSTILE for key in report["subject"]}
    return report


@pytest.mark.parametrize("make", [page.html, page.picture])
def test_nothing_that_was_written_becomes_markup(make: Callable[[Json], str]) -> None:
    """Names of processes, commands, logs, facts: all of it is shown as text, and the same elements are there as without."""
    report = with_everything_hostile()
    assert report["acts"]["stop"]["stop"]["timeline"]["processes"][0]["name"] == HOSTILE
    assert report["acts"]["stop"]["stop"]["log"] == HOSTILE
    text = make(report)
    text.encode()
    root = tree(text)
    tags = Counter(one.tag for one in root.iter())
    assert not {"script", "img"} & set(tags)
    assert {name for one in root.iter() for name in one.attrib if name.startswith("on")} == set()
    assert "<script>alert(1)</script>" in words(root)
    assert "␀␛[31m" in text
    assert "\u202e" not in text


def test_a_process_that_is_called_script() -> None:
    """As plain as it can be."""
    report = varied()
    report["acts"]["stop"]["stop"]["timeline"]["processes"][1]["name"] = "<script>x()"
    assert "<script>x()" not in page.html(report) + page.picture(report)
    assert "&lt;script&gt;x() [7]" in page.picture(report)
    assert "<script>x() [7]" in bars(tree(page.html(report)))


# --- it stands alone, and reads for everybody ---


@pytest.mark.parametrize("make", [page.html, page.picture])
def test_it_refers_to_nothing_outside(make: Callable[[Json], str]) -> None:
    """No address at all but the name of SVG, and every reference inside finds its target, which is there once."""
    text = make(varied())
    assert set(re.findall(r"[a-z]+://[^\s\"]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|<(script|link|iframe|object|embed|image|img)\b|\bsrc=", text)
    root = tree(text)
    known = Counter(one.get("id") for one in root.iter() if one.get("id"))
    assert set(known.values()) == {1}
    used = {one.get("href", "").removeprefix("#") for one in root.iter() if one.get("href")}
    used |= set(re.findall(r"url\(#([a-z-]+)\)", text))
    assert used - set(known) == set()


def test_it_is_made_of_the_report_alone() -> None:
    """The same JSON gives the same page, whoever read it from a file; and it stays as it was."""
    report = varied()
    before = json.dumps(report)
    assert page.html(json.loads(before)) == page.html(report)
    assert json.dumps(report) == before


def test_structure() -> None:
    """A language, one first heading and none that skips a level, headers for tables, a title for each picture that is not hidden."""
    root = tree(page.html(varied()))
    assert root.get("lang") == "en"
    levels = [int(one.tag[1]) for one in root.iter() if re.fullmatch(r"h\d", str(one.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in root.iter("table"):
        assert table.find("caption") is not None
        assert {header.get("scope") for header in table.iter("th")} <= {"col", "row", "rowgroup"}
        for row in table.iter("tr"):
            assert row.find("th") is not None
    hidden = {id(inner) for outer in root.iter("svg") if outer.get("aria-hidden") for inner in outer.iter("svg")}
    for picture in root.iter("svg"):
        if picture.get("role") == "img":
            assert (picture.find("title").text or "").strip()  # type: ignore[union-attr]
            hidden |= {id(inner) for inner in picture.iter("svg")}
        assert id(picture) in hidden


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 defines it."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("colours", [svg.LIGHT, svg.DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(colours: dict[str, str]) -> None:
    """AA asks for 4.5 where there is text: on the page, and on what is shaded."""
    assert contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.01)
    for name in ("ink", "quiet", "fair", "failed", "killed", "unknown"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name
    assert contrast(colours["ink"], colours["shade"]) >= 4.5


def test_the_picture() -> None:
    """The plain stop, with everybody and how each ended, in its two schemes, and where it comes from."""
    report = varied()
    picture = page.picture(report)
    text = words(tree(picture))
    for bar in Timeline.of_json(report["acts"]["stop"]["stop"]["timeline"]).bars:
        assert f"{bar.name} [{bar.inside}]" in text
        assert bar.words in text
    assert "prefers-color-scheme: dark" in picture
    assert "pyinitctl verify: Docker 20.10, Linux 6.18, seen by trace" in text


def test_the_pictures_of_the_readme() -> None:
    """Both are there, whole, drawn as they are drawn now, and refer to nothing outside. (A real run differs each time.)"""
    root = Path(__file__).resolve().parents[2]
    names = re.findall(r"!\[[^]]+\]\((docker/[^)]+\.svg)\)", (root / "README.md").read_text(encoding="utf-8"))
    assert names == ["docker/example/stop.svg", "docker/example/verify.svg"]
    for name in names:
        text = (root / name).read_text(encoding="utf-8")
        assert set(re.findall(r"[a-z]+://[^\s\"]+", text)) == {"http://www.w3.org/2000/svg"}
        assert "SIGKILL by the engine" in words(tree(text)), name
        assert svg.STYLE.strip() in text, f"{name} is older than what draws it: CONTRIBUTING.md says how to make it"
