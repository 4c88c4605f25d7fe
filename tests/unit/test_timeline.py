"""Accounts, timelines and how they are drawn: all that is pure."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from rich.console import Console

from pyinit.containers import svg, timeline
from pyinit.containers.account import Account, Fate, How, Process, Sender, Signal
from pyinit.containers.events import Born, Exited, Lost, Marked, Renamed, Signalled, Touched
from pyinit.containers.timeline import Tone
from pyinit.containers.tracefs import parse

STOP = 1000.0


def signal(after: float, number: int, sender: Sender, fate: Fate = Fate.DELIVERED) -> Signal:
    """One signal, so many seconds after the stop."""
    names = {Sender.OUTSIDE: "runc", Sender.INIT: "pyinit", Sender.MEMBER: "peer"}
    return Signal(STOP + after, number, fate, sender, None, names.get(sender, "kernel"))


def process(name: str, inside: int, ended: float | None, status: int | None, *received: Signal) -> Process:
    """One process, born before the stop."""
    end = None if ended is None else STOP + ended
    return Process(name, f"{name} --here", 500 + inside, inside, 500, STOP - 5, end, status, received)


TERM_IN = signal(0, 15, Sender.OUTSIDE)


def account(*processes: Process, source: str = "trace") -> Account:
    """An account of these."""
    return Account(source, processes, ())


GOOD = account(
    process("pyinit", 1, 1.4, 143 << 8, signal(-3, 17, Sender.MEMBER), TERM_IN),
    process("start.sh", 7, 0.002, 15, signal(0.001, 15, Sender.INIT)),
    process("orders", 8, 1.0, 0, signal(0.001, 15, Sender.INIT), signal(0.001, 18, Sender.INIT)),
    process("shipper", 9, 1.4, 3 << 8, signal(0.8, 15, Sender.INIT)),
    process("migrate", 5, -2, 0),
)

BAD = account(
    process("start.sh", 1, 10.0, 9, signal(0, 15, Sender.OUTSIDE, Fate.IGNORED), signal(9.998, 9, Sender.OUTSIDE)),
    process("orders", 2, 9.999, 9, signal(9.999, 9, Sender.NAMESPACE_END)),
    process("cache", 3, 2.0, 9, signal(2, 9, Sender.MEMBER)),
)


# --- how it ended ---


@pytest.mark.parametrize(
    ("status", "received", "how"),
    [
        (0, (), How.FINISHED),
        (3 << 8, (), How.FAILED),
        (15, (), How.SIGNALLED),
        (11 | 0x80, (), How.SIGNALLED),
        (9, (), How.KILLED),
        (9, (signal(0, 9, Sender.INIT),), How.KILLED_BY_INIT),
        (9, (signal(0, 9, Sender.MEMBER),), How.KILLED_BY_PEER),
        (9, (signal(0, 9, Sender.OUTSIDE),), How.KILLED_FROM_OUTSIDE),
        (9, (signal(0, 9, Sender.KERNEL),), How.KILLED_BY_KERNEL),
        (9, (signal(0, 9, Sender.NAMESPACE_END),), How.KILLED_BY_NAMESPACE_END),
        (9, (signal(0, 9, Sender.MEMBER), signal(0.1, 9, Sender.NAMESPACE_END)), How.KILLED_BY_PEER),
        (9, (signal(0, 9, Sender.INIT, Fate.IGNORED), signal(0.1, 9, Sender.OUTSIDE)), How.KILLED_FROM_OUTSIDE),
        (137 << 8, (signal(1, 9, Sender.INIT, Fate.IGNORED),), How.FAILED),
        (None, (), How.ENDED),
        (None, (signal(0, 15, Sender.INIT),), How.ENDED),
        (None, (signal(1.5, 9, Sender.NAMESPACE_END),), How.ENDED),
        (None, (signal(0, 9, Sender.INIT),), How.KILLED_BY_INIT),
    ],
)
def test_how(status: int | None, received: tuple[Signal, ...], how: How) -> None:
    """Status and signals together; the first SIGKILL that was delivered is the one that counts, and `exit 137` is none."""
    one = process("one", 2, 1.0, status, *received)
    assert account(process("init", 1, 2.0, 0), one).how(one) is how


def test_alive() -> None:
    """Who has not ended is alive, whatever is on its way."""
    one = process("one", 1, None, None, signal(0, 9, Sender.OUTSIDE))
    assert account(one).how(one) is How.ALIVE


@pytest.mark.parametrize(
    ("source", "lost", "received", "how"),
    [
        ("trace", 0, (), How.ENDED),
        ("trace", 3, (), How.UNKNOWN),
        ("trace", 3, (signal(0, 9, Sender.INIT),), How.KILLED_BY_INIT),
        ("cn_proc", 0, (), How.UNKNOWN),
        ("pidfd", 0, (), How.UNKNOWN),
    ],
)
def test_only_a_whole_trace_knows_that_there_was_no_kill(
    source: str, lost: int, received: tuple[Signal, ...], how: How
) -> None:
    """A status that the kernel did not tell (before Linux 6.15) is no kill where every signal was seen and none was one."""
    one = process("one", 2, 1.0, None, *received)
    assert replace(account(process("init", 1, 2.0, 0), one, source=source), lost=lost).how(one) is how


@pytest.mark.parametrize(
    ("source", "code", "ended", "received", "status", "how"),
    [
        ("trace", 0, 1.0, (), 0, How.FINISHED),
        ("trace", 143, 1.0, (TERM_IN,), 143 << 8, How.FAILED),
        ("trace", 137, 1.0, (TERM_IN,), 137 << 8, How.FAILED),
        ("trace", 137, 10.0, (TERM_IN, signal(9.9, 9, Sender.OUTSIDE)), 9, How.KILLED_FROM_OUTSIDE),
        ("trace", 137, 1.0, (signal(0.9, 9, Sender.KERNEL),), 9, How.KILLED_BY_KERNEL),
        ("pidfd", 0, 1.0, (), 0, How.FINISHED),
        ("pidfd", 137, 10.0, (), 9, How.KILLED_FROM_OUTSIDE),
        ("pidfd", 137, 1.0, (), None, How.UNKNOWN),
    ],
)
def test_the_engine_tells_the_status_of_pid_1(
    source: str, code: int, ended: float, received: tuple[Signal, ...], status: int | None, how: How
) -> None:
    """Where the kernel did not; 137 is a SIGKILL that was seen or that the engine sends at its deadline, else nobody knows."""
    seen = replace(account(process("init", 1, ended, None, *received), source=source), deadline=STOP + 9.5)
    told = seen.with_exit_status(code)
    assert (told.init.status, told.how(told.init)) == (status, how)


def test_what_the_kernel_told_stays() -> None:
    """The engine's exit status changes nothing in an account that has one, nor in one that was taken too early."""
    for init in (process("init", 1, 1.0, 15, TERM_IN), process("init", 1, None, None)):
        seen = account(init)
        assert seen.with_exit_status(143) == seen


@pytest.mark.parametrize("source", ["pidfd", "cn_proc"])
@pytest.mark.parametrize(
    ("init_status", "deadline", "ended", "init_how", "how"),
    [
        (9, 10.0, 10.0, How.KILLED_FROM_OUTSIDE, How.KILLED_BY_NAMESPACE_END),
        (9, 10.0, 5.0, How.KILLED_FROM_OUTSIDE, How.KILLED),
        (9, 12.0, 10.0, How.KILLED, How.KILLED),
        (9, None, 10.0, How.KILLED, How.KILLED),
        (0, 10.0, 10.0, How.FINISHED, How.KILLED),
    ],
    ids=["at the deadline", "one before", "before the deadline", "no engine", "PID 1 left by itself"],
)
def test_killer_without_a_trace(
    source: str, init_status: int, deadline: float | None, ended: float, init_how: How, how: How
) -> None:
    """Certain only where the engine's patience was over: it killed PID 1, and all others went with it."""
    init, one = process("init", 1, 10.001, init_status), process("one", 2, ended, 9)
    seen = replace(account(init, one, source=source), deadline=None if deadline is None else STOP + deadline)
    assert (seen.how(init), seen.how(one)) == (init_how, how)


def test_account_as_json() -> None:
    """Everything is there and survives the way through JSON."""
    whole = replace(BAD, lost=3, deadline=STOP + 10)
    seen = json.loads(json.dumps(whole.as_json()))
    assert Account.of_json(seen) == whole
    assert [one["how"] for one in seen["processes"]] == [
        "killed_from_outside",
        "killed_by_namespace_end",
        "killed_by_peer",
    ]
    assert seen["processes"][0]["signals"][0] == {
        "time": STOP,
        "number": 15,
        "name": "SIGTERM",
        "fate": "ignored",
        "sender": "outside",
        "sender_pid": None,
        "sender_name": "runc",
    }


# --- the timeline ---


def test_timeline_of_a_good_stop() -> None:
    """From the stop signal on: who was told when, how each ended; who ended before is not in it."""
    stop = timeline.of(GOOD, "good", outside="the engine")
    assert [bar.name for bar in stop.bars] == ["pyinit", "start.sh", "orders", "shipper"]
    assert [bar.words for bar in stop.bars] == ["exit 143", "SIGTERM", "exit 0", "exit 3"]
    assert [bar.tone for bar in stop.bars] == [Tone.FAIR, Tone.FAIR, Tone.FAIR, Tone.FAILED]
    assert [round(bar.heard or 0, 3) for bar in stop.bars] == [0, 0.001, 0.001, 0.8]
    assert [len(bar.asked) for bar in stop.bars] == [1, 1, 1, 1]
    assert [(round(mark.time, 3), mark.words) for mark in stop.marks] == [
        (0, "SIGTERM reaches PID 1"),
        (0.001, "PID 1 sends SIGTERM on"),
    ]
    assert stop.verdict() == (
        "stopped after 1.4 s, exit status 143 (128 + SIGTERM)",
        "all 4 processes ended by themselves, none was SIGKILLed",
    )


def test_timeline_of_a_bad_stop() -> None:
    """Who was killed, by whom, and that PID 1 never heard."""
    stop = timeline.of(BAD, "bad", outside="the engine")
    assert [bar.words for bar in stop.bars] == ["SIGKILL by the engine", "SIGKILL as PID 1 left", "SIGKILL by a peer"]
    assert [bar.heard for bar in stop.bars] == [None, None, None]
    assert [mark.words for mark in stop.marks] == [
        "SIGTERM reaches PID 1, which has no handler: the kernel drops it",
        "SIGKILL by peer",
    ]
    assert stop.verdict() == (
        "stopped after 10.0 s, exit status 137 (128 + SIGKILL)",
        "3 of 3 processes were SIGKILLed: start.sh by the engine; orders by the kernel as PID 1 left; cache by a peer",
    )


def test_other_stop_signal_and_second_one() -> None:
    """The stop begins with the first of its signals after `stopped`, not with an earlier reload."""
    init = process("init", 1, 3.0, 0, signal(-2, 3, Sender.OUTSIDE), TERM_IN, signal(0.5, 3, Sender.OUTSIDE))
    assert timeline.of(account(init), "", stop_signal=3, stopped=STOP).seconds == pytest.approx(2.5)
    assert timeline.of(account(init), "", stop_signal=3).seconds == pytest.approx(5)


def test_beginning_without_a_trace() -> None:
    """Where no signal was seen the caller says when it began; otherwise nobody knows, which is an error in words."""
    seen = account(process("init", 1, 3.0, 0), source="pidfd")
    stop = timeline.of(seen, "", stopped=STOP, outside="the engine")
    assert stop.seconds == pytest.approx(3)
    assert stop.marks[0].words == "the engine asks PID 1 to stop"
    with pytest.raises(ValueError, match="no SIGTERM from outside reached PID 1"):
        timeline.of(seen, "")


def test_still_alive_and_unknown() -> None:
    """An account that was taken too early, and a status that no kernel told, are shown as what they are."""
    stop = timeline.of(account(process("init", 1, None, None, TERM_IN), process("brief", 2, 0.5, None)), "")
    assert [(bar.words, bar.tone) for bar in stop.bars] == [
        ("still alive", Tone.UNKNOWN),
        ("ended, status unknown", Tone.FAIR),
    ]
    assert stop.verdict()[0] == "stopped after 0.5 s, exit status not known"
    gaps = timeline.of(replace(account(process("init", 1, 1, 0, TERM_IN), process("brief", 2, 0.5, None)), lost=1), "")
    assert (gaps.bars[1].words, gaps.bars[1].tone) == ("ended, unknown how", Tone.UNKNOWN)
    assert gaps.verdict()[1] == "how 1 of 2 processes ended is not known, none was seen SIGKILLed"


def test_timeline_as_json() -> None:
    """The same facts for a program."""
    stop = json.loads(json.dumps(timeline.of(BAD, "bad", notes=("nothing lost",)).as_json()))
    assert stop["notes"] == ["nothing lost"]
    assert stop["processes"][0]["asked"][0] == {
        "time": 0.0,
        "signal": "SIGTERM",
        "heard": False,
        "sender": "outside (runc)",
    }


@pytest.mark.parametrize("whole", [GOOD, BAD, replace(BAD, source="pidfd", blind=("signals",))])
def test_timeline_comes_back_from_json(whole: Account) -> None:
    """What draws needs no more than what was written."""
    stop = timeline.of(whole, "one", stopped=STOP, notes=("nothing lost",), grace=10.0)
    again = timeline.Timeline.of_json(json.loads(json.dumps(stop.as_json())))
    assert again.as_json() == stop.as_json()
    assert (again.verdict(), [bar.tone for bar in again.bars]) == (stop.verdict(), [bar.tone for bar in stop.bars])


def test_phases() -> None:
    """Drain until PID 1 sends the signal on, grace until the first SIGKILL, then kill; without a drain or a SIGKILL none."""
    slow = account(
        process("pyinit", 1, 9.0, 0, TERM_IN),
        process("deaf", 7, 8.5, 9, signal(2, 15, Sender.INIT), signal(8, 9, Sender.INIT)),
    )
    phases = timeline.of(slow, "").phases
    assert [(one.name, round(one.began, 3), round(one.ended, 3)) for one in phases] == [
        ("drain", 0, 2),
        ("grace", 2, 8),
        ("kill", 8, 9),
    ]
    at_once = timeline.of(
        replace(slow, processes=(slow.init, process("deaf", 7, 8.5, 0, signal(0.05, 15, Sender.INIT)))), ""
    )
    assert [one.name for one in at_once.phases] == ["grace"]
    alone = timeline.of(account(process("init", 1, 3.0, 0, TERM_IN)), "").phases
    assert [(one.name, one.began, round(one.ended, 3)) for one in alone] == [("grace", 0, 3)]


def test_the_most_telling_bars() -> None:
    """PID 1, then who was killed, then who failed; in the order in which they stand."""
    stop = timeline.of(GOOD, "")
    assert [bar.name for bar in stop.telling(2)] == ["pyinit", "shipper"]
    assert stop.telling(4) == stop.bars
    assert [
        bar.name for bar in timeline.of(replace(BAD, processes=(*BAD.processes, *GOOD.processes[1:3])), "").telling(3)
    ] == [
        "start.sh",
        "orders",
        "cache",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.0002, "0 s"),
        (0.003, "3 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.10 s"),
        (1.4, "1.40 s"),
        (9.999, "10 s"),
        (10.06, "10.1 s"),
        (1234.5, "1234.5 s"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """As many digits as are of use."""
    assert timeline.duration(seconds) == words


# --- drawn ---


def drawn(*stops: timeline.Timeline, width: int = 80) -> list[str]:
    """The lines in a terminal without colour."""
    console = Console(file=io.StringIO(), width=width, no_color=True)
    for stop in stops:
        console.print(timeline.render(stop, width, stops), end="")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in text.splitlines()]


def test_terminal_reads_without_colour() -> None:
    """Told, at work, killed, never told: letters and shapes say it."""
    lines = drawn(timeline.of(BAD, "bad", outside="the engine"), timeline.of(GOOD, "good"))
    rows = {line.split()[0]: line for line in lines if line[:1].strip()}
    assert rows["orders"] == "orders       8  T━━●                               1.00 s  exit 0"
    assert rows["shipper"] == "shipper      9  ──T━●                              1.40 s  exit 3"
    assert rows["cache"] == "cache        3  ──────✗                            2.00 s  SIGKILL by a peer"
    assert [line for line in lines if line.startswith("start.sh")] == [
        "start.sh     1  t──────────────────────────────✗  10.00 s  SIGKILL by the engine",
        "start.sh     7  ●                                  0.00 s  SIGTERM",
    ]


def test_terminal_says_nobody_was_not_told_where_no_signal_is_seen() -> None:
    """A source without signals does not know."""
    unsigned = tuple(replace(one, signals=()) for one in BAD.processes)
    stop = timeline.of(replace(BAD, processes=unsigned, source="cn_proc"), "bad", stopped=STOP)
    assert {line[:8].split()[0]: "─" in line for line in drawn(stop)[-3:]} == dict.fromkeys(
        ("start.sh", "orders", "cache"), False
    )


@pytest.mark.parametrize("width", [80, 100, 120])
def test_terminal_keeps_its_width(width: int) -> None:
    """No line is longer than the terminal, and rows end where they should in all of them."""
    stops = timeline.of(BAD, "bad", outside="the engine", notes=("word " * 40,)), timeline.of(GOOD, "good")
    assert max(len(line) for line in drawn(*stops, width=width)) <= width


def test_terminal_says_what_was_not_seen() -> None:
    """A gap in the account is in the picture."""
    stop = replace(timeline.of(GOOD, "good"), blind=("signals and their senders",))
    assert drawn(stop)[-1] == "  not seen: signals and their senders"


@pytest.mark.parametrize("span", [0.01, 0.1, 0.7, 1.4, 10.02, 33.0, 500.0])
def test_axis_has_few_round_ticks(span: float) -> None:
    """Two to seven, from zero, none beyond the end."""
    moments = timeline.ticks(span)
    assert moments[0] == 0
    assert 2 <= len(moments) <= 7
    assert moments[-1] <= span


def test_svg_stands_alone() -> None:
    """Well-formed, with everybody's name and end, for light and dark, without a reference to anything outside."""
    picture = svg.render(
        [timeline.of(BAD, "b<a>d & worse", outside="the engine"), timeline.of(GOOD, "good")], "a caption"
    )
    root = ET.fromstring(picture)  # noqa: S314 (our own)
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {
        "b<a>d & worse",
        "good",
        "a caption",
        "orders [8]",
        "1.00 s",
        "exit 0",
        "10 s",
        "SIGKILL by the engine",
    } <= set(texts)
    assert "prefers-color-scheme: dark" in picture
    assert picture.count("http") == 1
    assert "nan" not in picture
    bars = [
        rect
        for rect in root.iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("class", "").startswith(("w", "phase"))
    ]
    ends = [sum(float(rect.get(key, "").removesuffix("%")) for key in ("x", "width")) for rect in bars]
    assert len(ends) == 13
    assert max(ends) <= 100.01


# --- lines of trace_pipe ---


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "            bash-4699    [000]   1386.821210: task_newtask: pid=4708 comm=bash clone_flags=1200000 oom_score_adj=0",
            Born(1386.82121, 4699, 4708, "bash", is_thread=False),
        ),
        (
            " a-b [0] 1.0: x:-7 [001] .....  5.000001: task_newtask: pid=8 comm=a pid=9 comm=b clone_flags=3d0f00 oom_score_adj=-9",
            Born(5.000001, 7, 8, "a pid=9 comm=b", is_thread=True),
        ),
        (
            "  tini-4712    [000]   1386.855770: task_rename: pid=4712 oldcomm=unshare newcomm=tini oom_score_adj=0",
            Renamed(1386.85577, 4712, "tini"),
        ),
        (
            "  tini-4712    [000]   1386.855770: task_rename: oldcomm=a newcomm=b\nc oom_score_adj=0",
            Renamed(1386.85577, 4712, "b\nc"),
        ),
        ("  sh-13  [000]   7.5: sched_process_exit: comm=sh pid=13 prio=120 group_dead=true", Exited(7.5, 13)),
        ("  sh-13  [000]   7.5: sched_process_exit: comm=sh pid=13 prio=120", Exited(7.5, 13)),
        (
            "  tini-4712  [000]   7.5: signal_generate: sig=9 errno=0 code=128 comm=sleep pid=4714 grp=1 res=0",
            Signalled(7.5, 4712, "tini", 4714, 9, 128, 0),
        ),
        (
            "  (-1)-2  [000]   7.5: signal_generate: sig=17 errno=0 code=-6 comm= pid=1 pid=3 grp=0 res=2",
            Signalled(7.5, 2, "(-1)", 3, 17, -6, 2),
        ),
        ("  x-2  [000]   7.5: oom_score_adj_update: pid=3 comm=x oom_score_adj=0", Touched(7.5, 2, 3)),
        ("  x-2  [000]   7.5: tracing_mark_write: end", Marked(7.5, 2, "end")),
        ("CPU:1 [LOST 12 EVENTS]", Lost(12)),
        ("  x-2  [000]   7.5: something_else: pid=3", None),
        ("rubbish", None),
    ],
)
def test_trace_line(line: str, event: object) -> None:
    """Every kind of line, with names that look like fields, and the forms of older and newer kernels."""
    assert parse(line) == event
