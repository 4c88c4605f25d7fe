"""What `pyinitctl explain` foretells from facts made by hand: each detector with a subject that it is about, and one that it is not.

tests/container/test_explain.py holds the same predictions against what a stop then does.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pyinit.containers.facts import Facts, Thread
from pyinit.init import options, signals
from pyinit.verify.explain import Prediction, Target, Will, explain, label
from pyinit.verify.reaction import ENDING, STAYING, Does, does, foreground, role_of, sleeps_for

HUP, INT, QUIT, USR1, TERM, CHLD, TSTP, WINCH = 1, 2, 3, 10, 15, 17, 20, 28
SIGWAIT = "do_sigtimedwait.isra.0"
ALL = (1 << 64) - 1
END, KILLED, UNKNOWN = Will.END, Will.BE_KILLED, Will.UNKNOWN


def mask(numbers: Iterable[int]) -> int:
    return signals.mask_of(numbers)


def one(inside: int, words: str, parent: int = 0, **more: Any) -> Facts:  # noqa: ANN401
    """A process; its number outside is 500 more. Masks are given as signals; `first` has pid 1's protection."""
    command = tuple(words.split())
    program = more.pop("program", command[0].rpartition("/")[2])
    given = {key: mask(more.pop(key, ())) for key in ("ignored", "caught", "blocked")}
    thread = Thread(given["blocked"], more.pop("where", ""), more.pop("waits_for", None))
    made: dict[str, Any] = {
        "pid": 500 + inside,
        "inside": inside,
        "parent": 500 + parent,
        "group": more.pop("group", inside),
        "session": more.pop("session", inside),
        "name": more.pop("name", program),
        "words": command,
        "program": program,
        "state": "S",
        "age": 100.0 - inside,
        "tracer": 0,
        "is_first": inside == 1,
        "ignored": given["ignored"],
        "caught": given["caught"],
        "threads": (thread,),
    }
    return Facts(**{**made, **more})


def init(words: str, **more: Any) -> Facts:  # noqa: ANN401
    """PID 1, an init that waits for everything in sigwait."""
    return one(1, words, where=SIGWAIT, waits_for=ALL, **more)


def server(inside: int, parent: int = 1, words: str = "python3 server.py", **more: Any) -> Facts:  # noqa: ANN401
    """A program that handles SIGTERM."""
    return one(inside, words, parent, caught=(TERM, INT), **more)


SHELL = "sh -c server;true"

# --- what one process does ---


@pytest.mark.parametrize(
    ("facts", "number", "what"),
    [
        (one(7, "sleep 9"), TERM, Does.ENDS),
        (one(1, "sleep 9"), TERM, Does.DROPPED),
        (one(1, "sleep 9", caught=[INT]), TERM, Does.DROPPED),
        (one(7, "sleep 9", is_first=True), TERM, Does.DROPPED),  # PID 1 of a namespace within
        (one(1, "server", caught=[TERM]), TERM, Does.HANDLES),
        (one(1, "server", ignored=[TERM]), TERM, Does.IGNORES),
        (one(1, "server", blocked=[TERM]), TERM, Does.BLOCKS),
        (one(1, "server", blocked=[TERM], caught=[TERM]), TERM, Does.BLOCKS),
        (one(1, "server", blocked=[TERM], unread=True), TERM, Does.UNREAD),
        (one(1, "server", where=SIGWAIT, waits_for=mask([TERM])), TERM, Does.FETCHES),
        (one(1, "server", where=SIGWAIT, waits_for=mask([TERM]), ignored=[TERM]), TERM, Does.FETCHES),
        (one(1, "server", where=SIGWAIT, waits_for=mask([USR1])), TERM, Does.DROPPED),
        (one(1, "server", blocked=[TERM], signalfds=(mask([TERM]),)), TERM, Does.FETCHES),
        (one(1, "server", blocked=[TERM], signalfds=(mask([USR1]),)), TERM, Does.BLOCKS),
        (one(1, "server", signalfds=(mask([TERM]),)), TERM, Does.DROPPED),  # of no use without blocking it
        (one(1, "node x.js", caught=[TERM]), TERM, Does.RAISES),
        (one(7, "node x.js", caught=[TERM]), TERM, Does.HANDLES),
        (one(1, "node x.js"), TERM, Does.DROPPED),
        (one(7, "server", state="Z"), TERM, Does.GONE),
        (one(7, "server", state="T"), TERM, Does.STOPPED),
        (one(7, "server", state="S", tracer=12), TERM, Does.TRACED),
        (one(7, "server", state="D"), TERM, Does.STUCK),
        (one(7, "server"), WINCH, Does.NOTHING),
        (one(7, "server"), TSTP, Does.STOPS),
        (one(1, "bash", caught=[TERM], program="bash"), TERM, Does.INTERACTIVE),
        (one(1, "bash --norc -l", caught=[TERM], program="bash"), TERM, Does.INTERACTIVE),
        (one(1, "bash -ec loop", caught=[TERM], program="bash"), TERM, Does.HANDLES),
        (one(1, "bash /run.sh", caught=[TERM], program="bash"), TERM, Does.HANDLES),
    ],
)
def test_what_becomes_of_a_signal(facts: Facts, number: int, what: Does) -> None:
    """In the kernel's order: whoever waits for it comes before whoever ignores it, and that before a handler."""
    assert does(facts, number) is what


def test_threads() -> None:
    """Blocked is what all of them block; one that waits for it is enough."""
    blocking, letting = Thread(mask([TERM]), ""), Thread(0, "")
    facts = one(1, "java", caught=[TERM])
    assert does(replace(facts, threads=(blocking, blocking)), TERM) is Does.BLOCKS
    assert does(replace(facts, threads=(blocking, letting)), TERM) is Does.HANDLES
    waiting = Thread(0, SIGWAIT, mask([TERM]))
    assert does(replace(facts, caught=0, threads=(blocking, waiting)), TERM) is Does.FETCHES


def test_paused_and_continued() -> None:
    """What is frozen with its container, and what is sent SIGCONT, goes on."""
    assert does(one(7, "server", state="D"), TERM, frozen=True) is Does.ENDS
    assert does(one(7, "server", state="T"), TERM, continued=True) is Does.ENDS


def test_each_answer_is_one_of_three() -> None:
    """It ends, it stays, or nobody can tell."""
    assert not ENDING & STAYING
    assert set(Does) - ENDING - STAYING == {Does.SHELL, Does.UNSURE, Does.RAISES, Does.UNREAD, Does.TRACED, Does.STUCK}


CHILD = one(7, "server", 1)
BEHIND = one(7, "server", 1, ignored=[INT, QUIT])


@pytest.mark.parametrize(
    ("shell", "child", "what"),
    [
        ({"where": "do_wait"}, CHILD, Does.SHELL),
        ({"where": "do_wait"}, BEHIND, Does.HANDLES),  # started with &
        ({"where": "do_wait", "ignored": [INT]}, BEHIND, Does.SHELL),  # inherited from a shell that ignores it itself
        ({"where": "do_wait"}, replace(CHILD, state="Z"), Does.HANDLES),
        ({"where": "sigsuspend"}, CHILD, Does.HANDLES),  # dash's wait
        ({"where": ""}, CHILD, Does.SHELL),
        ({"where": "do_wait", "program": "bash"}, replace(CHILD, program="node"), Does.UNSURE),
        ({"where": "do_wait", "program": "dash"}, replace(CHILD, program="node"), Does.SHELL),
        ({"where": "do_wait", "program": "python3"}, CHILD, Does.HANDLES),  # no shell
    ],
)
def test_shells_and_whom_they_wait_for(shell: dict[str, Any], child: Facts, what: Does) -> None:
    """A trap runs when the foreground command has ended; what runs in the background does not hold it up."""
    facts = one(1, SHELL, **{"caught": [TERM], "program": "dash", **shell})
    assert does(facts, TERM, [child]) is what
    assert bool(foreground(facts, [child])) is (what in (Does.SHELL, Does.UNSURE) or facts.program == "python3")


@pytest.mark.parametrize(
    ("words", "left"),
    [("sleep 200", 107.0), ("/bin/sleep 5m", 207.0), ("sleep 1", 0.0), ("sleep infinity", None), ("sleep", None), ("tail 9", None)],
)  # fmt: skip
def test_how_long_a_sleep_has_left(words: str, left: float | None) -> None:
    """By its argument and its age."""
    assert sleeps_for(one(7, words)) == left


# --- inits ---


@pytest.mark.parametrize(
    ("facts", "name", "scope"),
    [
        (init("/usr/bin/tini -- server -g"), "tini", options.CHILD),
        (init("tini -s -g -- server"), "tini", options.GROUP),
        (init("tini -vg server"), "tini", options.GROUP),
        (init("tini -p KILL server"), "tini", options.CHILD),
        (init("tini -- server", environment={"TINI_KILL_PROCESS_GROUP": ""}), "tini", options.GROUP),
        (init("/sbin/docker-init -- server"), "tini", options.CHILD),
        (init("tini -- server", program="pyinit"), "tini", options.CHILD),  # pyinit's persona
        (init("dumb-init server"), "dumb-init", options.GROUP),
        (init("dumb-init --single-child server"), "dumb-init", options.CHILD),
        (init("catatonit -- server"), "catatonit", options.CHILD),
        (init("/run/podman-init -- server"), "catatonit", options.CHILD),
        (init("pyinit -- server"), "pyinit", options.GROUP),
        (init("pyinit --scope tree server"), "pyinit", options.TREE),
        (init("pyinit server", environment={"PYINIT_SCOPE": "child"}), "pyinit", options.CHILD),
        (init("python3 -I -X pyinit=0 /x/__main__.py -c server", program="python3.13", name="pyinit"), "pyinit", options.CHILD),
        (init("pyinit --of-another-version server"), "pyinit", options.GROUP),
    ],
)  # fmt: skip
def test_inits(facts: Facts, name: str, scope: int) -> None:
    """By what they were called, and whom their options say they pass signals on to."""
    role = role_of(facts)
    assert role is not None
    assert (role.name, role.scope) == (name, scope)


def test_no_init() -> None:
    """A program whose argument is called so is none."""
    assert role_of(one(1, "python3 tini")) is None


def test_what_inits_send() -> None:
    """Rewritten, dropped, or what the plan begins with."""
    role = role_of(init("dumb-init -r 15:3 --rewrite 1:0 server"))
    assert role is not None
    assert [role.sent(number) for number in (TERM, HUP, INT)] == [QUIT, 0, INT]
    role = role_of(init("pyinit --stop INT:2s,KILL --drain 1s -r USR1:HUP server"))
    assert role is not None
    assert [role.sent(number) for number in (TERM, USR1)] == [INT, HUP]
    assert role.until_kill == 3.0
    assert role.scope_of(USR1) == options.CHILD


# --- all together ---


@dataclass(frozen=True)
class Case:
    """A container, what is foretold of it, and of each of its processes by its number."""

    name: str
    everybody: Sequence[Facts]
    will: Will
    each: dict[int, Will]
    says: str = ""
    advice: str = ""
    target: dict[str, Any] = field(default_factory=dict)


TARGET = Target("shop", "shop:7", TERM, 10.0, "its StopTimeout")
PYINIT = init("pyinit -- server")
TINI = init("tini -- server")
TINI_G = init("tini -g -- server")

CASES = (
    Case("a program that handles it", [one(1, "server", caught=[TERM])], END, {1: END}, "ends by itself"),
    Case("one without a handler", [one(1, "sleep 999")], KILLED, {1: KILLED}, "PID 1 does not end", "put an init in front"),
    Case(
        "one that would hear another",
        [one(1, "python3 x.py", caught=[INT])],
        KILLED,
        {1: KILLED},
        "PID 1 has no handler",
        "STOPSIGNAL SIGINT",
    ),
    Case(
        "a shell that waits",
        [one(1, SHELL, where="do_wait"), server(7)],
        KILLED,
        {1: KILLED, 7: KILLED},
        "the other one goes with it",
        'write "exec"',
    ),
    Case(
        "a shell with a trap that has to wait",
        [one(1, SHELL, where="do_wait", caught=[TERM]), server(7)],
        KILLED,
        {1: KILLED, 7: KILLED},
        "which runs when 7 python3 server.py has ended",
        "in the background",
    ),
    Case(
        "a shell with a trap between short sleeps",
        [one(1, SHELL, where="do_wait", caught=[TERM]), one(7, "sleep 95", 1)],
        END,
        {1: END, 7: END},
        "ends by itself in 2 s",
    ),
    Case(
        "the same with a long sleep",
        [one(1, SHELL, where="do_wait", caught=[TERM]), one(7, "sleep 500", 1)],
        KILLED,
        {1: KILLED, 7: KILLED},
    ),
    Case(
        "a shell with a trap, and its program in the background",
        [one(1, SHELL, where="sigsuspend", caught=[TERM]), server(7)],
        UNKNOWN,
        {1: END, 7: UNKNOWN},
        "whether the trap of 1 sh",
        "pyinitctl stop --container shop, or pyinitctl verify shop:7",
    ),
    Case("a program with somebody else's", [server(1, 0), one(7, "sleep 9", 1)], UNKNOWN, {1: END, 7: UNKNOWN}),
    Case("a program with forks of itself", [server(1, 0), server(7, session=1), server(8, session=1)], END, {7: END, 8: END}),
    Case("one that only looks like a fork of it", [server(1, 0), server(7)], UNKNOWN, {7: UNKNOWN}),
    Case("one that sees to its own", [one(1, "nginx -g x", caught=[TERM]), one(7, "nginx: worker", 1)], END, {7: END}),
    Case("an init that passes it on", [TINI, server(7)], END, {1: END, 7: END}),
    Case(
        "an init, and a program that ignores it",
        [TINI, one(7, "server", 1, ignored=[TERM])],
        KILLED,
        {1: KILLED, 7: KILLED},
        "SIGTERM is ignored",
        "ignore SIGTERM",
    ),
    Case(
        "an init that asks a shell alone",
        [TINI, one(7, SHELL, 1, where="do_wait"), server(8, 7, group=7)],
        KILLED,
        {1: END, 7: END, 8: KILLED},
        "tini passes the signal on to 7 sh alone",
        "asks everybody",
    ),
    Case(
        "an init that leaves too early",
        [TINI_G, one(7, SHELL, 1, where="do_wait"), server(8, 7, group=7)],
        KILLED,
        {1: END, 7: END, 8: KILLED},
        "tini leaves as soon as 7 sh has ended",
        "waits for everybody",
    ),
    Case(
        "one of the group that ends at once",
        [TINI_G, one(7, SHELL, 1, where="do_wait"), one(8, "sleep 999", 7, group=7)],
        END,
        {1: END, 7: END, 8: END},
    ),
    Case(
        "one in a session of its own",
        [TINI_G, one(7, SHELL, 1), one(8, "sleep 999", 7)],
        KILLED,
        {8: KILLED},
        "a session of its own, which the signal to the group of 7 sh does not reach",
    ),
    Case(
        "one in a process group of its own",
        [TINI_G, one(7, SHELL, 1), one(8, "sleep 999", 7, session=7)],
        KILLED,
        {8: KILLED},
        "a process group of its own",
    ),
    Case(
        "two who end in whatever order",
        [TINI_G, server(7), server(8, 7, "ruby x.rb", group=7)],
        UNKNOWN,
        {7: END, 8: UNKNOWN},
        "sooner or later",
    ),
    Case(
        "pyinit, a shell and its program",
        [PYINIT, one(7, SHELL, 1, where="do_wait"), server(8, 7, group=7)],
        END,
        {1: END, 7: END, 8: END},
    ),
    Case(
        "pyinit, and one in a session of its own",
        [PYINIT, server(7), one(8, "sleep 999", 7)],
        END,
        {8: END},
        "is asked when the program has ended",
    ),
    Case(
        "pyinit, and one of those that ignores it",
        [PYINIT, server(7), one(8, "daemon", 1, ignored=[TERM])],
        KILLED,
        {1: END, 7: END, 8: KILLED},
        "SIGKILLed by pyinit",
    ),
    Case(
        "pyinit, and a program that sees to its own, which ignore it",
        [PYINIT, one(7, "postgres", 1, caught=[TERM]), one(8, "postgres: writer", 7, ignored=[TERM])],
        END,
        {8: END},
    ),
    Case("Node as PID 1", [one(1, "node x.js", caught=[TERM])], UNKNOWN, {1: UNKNOWN}, "by Node itself", "unless the program itself"),
    Case("pyinit, and a program that ignores it", [PYINIT, one(7, "x", 1, ignored=[TERM])], KILLED, {1: END, 7: KILLED}),
    Case(
        "pyinit that asks a shell alone, which waits for its command",
        [init("pyinit -c -- sh"), one(7, SHELL, 1, where="do_wait", caught=[TERM]), one(8, "sleep 999", 7)],
        KILLED,
        {1: END, 7: KILLED, 8: END},
    ),
    Case("pyinit, and a program that is stopped", [PYINIT, server(7, state="T")], END, {7: END}),
    Case("tini, and a program that is stopped", [TINI, server(7, state="T")], KILLED, {7: KILLED}, "", "kill -CONT"),
    Case(
        "pyinit whose drain is too long",
        [init("pyinit --drain 20s -- server"), server(7)],
        KILLED,
        {1: KILLED, 7: KILLED},
        "would kill only after 28 s",
        "--drain",
    ),
    Case("pyinit with no time to kill", [PYINIT, server(7)], END, {1: END, 7: END}, target={"grace": 5.0}),
    Case(
        "pyinit that drops the signal",
        [init("pyinit -r TERM:0 -- server"), server(7)],
        KILLED,
        {1: KILLED, 7: KILLED},
        r"drops SIGTERM.*is not asked|is not asked.*drops SIGTERM",
    ),
    Case(
        "a signal that pyinit does not stop on",
        [PYINIT, one(7, "x", 1, caught=[QUIT]), one(8, "sleep 999", 7, group=7)],
        END,
        {7: END, 8: END},
        target={"stop_signal": QUIT},
    ),
    Case("init under init", [TINI, replace(PYINIT, pid=507, inside=7, parent=501, is_first=False), server(8, 7)], END, {8: END}),
    Case("a paused one", [server(1, 0, state="D")], END, {1: END}, "it is paused", target={"paused": True}),
    Case("one in D state", [server(1, 0, state="D")], UNKNOWN, {1: UNKNOWN}, "uninterruptible"),
    Case("a traced one", [server(1, 0, tracer=99)], UNKNOWN, {1: UNKNOWN}, "tracer"),
    Case("a zombie", [server(1, 0), server(7, 1, state="Z")], END, {7: END}, "a zombie that 1 python3", "which reaps"),
    Case(
        "an exec session",
        [server(1, 0), one(9, "bash", 400)],
        END,
        {1: END, 9: KILLED},
        "an exec session's",
    ),
    Case("a manager of services", [init("s6-svscan /run"), one(7, "s6-supervise x", 1)], UNKNOWN, {1: UNKNOWN}),
    Case("no grace at all", [server(1, 0)], KILLED, {1: END}, "at once", "give it time", {"grace": 0.0}),
    Case("no deadline", [one(1, "sleep 9")], KILLED, {1: KILLED}, "waits for ever", "", {"grace": None}),
    Case("SIGWINCH that nobody handles", [TINI, one(7, "x", 1)], KILLED, {7: KILLED}, "default action", "", {"stop_signal": WINCH}),
)  # fmt: skip


def foretell(case: Case) -> Prediction:
    return explain(case.everybody, replace(TARGET, **case.target))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_foretold(case: Case) -> None:
    """The whole, each of those that the case names, the words, and what to change."""
    found = foretell(case)
    said = "\n".join([found.words, *(f"{fate.label}: {fate.words}" for fate in found.fates), *found.notes])
    assert found.will is case.will, said
    wills = {fate.facts.inside: fate.will for fate in found.fates}
    assert {inside: wills[inside] for inside in case.each} == case.each, said
    assert re.search(case.says, said, re.DOTALL), said
    assert re.search(case.advice, "\n".join(found.advice)), found.advice
    assert json.loads(json.dumps(found.as_json()))["prediction"] == case.will.name.lower()


@pytest.mark.parametrize("case", [case for case in CASES if case.will is KILLED], ids=lambda case: case.name)
def test_a_bad_end_has_advice(case: Case) -> None:
    """There is always something to change."""
    assert foretell(case).advice


def test_who_is_blamed() -> None:
    """Those who were asked and stay, not those whom nobody asked."""
    [blamed] = explain([one(1, SHELL, where="do_wait"), server(7)], TARGET).held_up_by()
    assert (blamed.label, blamed.words) == ("1 sh", "SIGTERM is dropped by the kernel: PID 1 has no handler")
    [blamed] = explain([TINI, server(7)], TARGET).held_up_by()
    assert blamed.facts.inside == 1


def test_names() -> None:
    """A script by its name; what follows -c is none."""
    assert [label(one(7, words)) for words in ("python3 -u /app/x.py", "sh -c x", "nginx: worker", "python3 -c x")] == [
        "7 python3 x.py",
        "7 sh",
        "7 nginx:",
        "7 python3",
    ]


def test_facts_travel() -> None:
    """From the observer to here."""
    facts = one(1, "server", signalfds=(3,), environment={"PYINIT_GRACE": "1"})
    assert Facts.of_json(json.loads(json.dumps(facts.as_json()))) == facts


def test_parents_in_a_circle() -> None:
    """/proc is read while processes end and numbers are used again: no end without an answer."""
    loop = [
        one(1, SHELL, 8, where="do_wait", caught=[TERM]),
        one(7, SHELL, 1, where="do_wait", caught=[TERM]),
        server(8, 7),
    ]
    assert explain(loop, TARGET).fates
