"""One contract, two engines: the same runs, line by line. Python is the reference.

Each scenario is played with both engines, each as PID 1 of a namespace, where the kernel numbers processes from 1 on, and what the
two report, what the programs hear, the exit status and the termination log are compared as they are, but for times.
"""

import difflib
import functools
import os
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import engines
from support.engines import Engine
from support.runs import HOST, NAMESPACE, Run, python
from support.waiting import until

Start = Callable[..., Run]

pytestmark = pytest.mark.usefixtures("as_root")


@dataclass(frozen=True)
class Account:
    """What is to be the same. Those that end together are reaped, and reported, in an order that is the kernel's."""

    status: int
    report: Sequence[str]
    """The lines on stderr, without times."""
    heard: Sequence[str]
    """What the programs said, in the order in which each said it; the first word of a line names the one that said it."""
    log: str
    """The termination log."""


TIMES = (
    (r'"ts":"[^"]*"', '"ts":""'),
    (r'"(\w+_)?ms":\d+', r'"\1ms":0'),
    (r"\d+\.\d+ s\b|under 10 ms", "T"),
    (r"(python|Python|native)\b( engine)", r"some\2"),
    (r'"engine":"\w+"', '"engine":""'),
)
PIDS = ((r'"pid":\d+', '"pid":0'), (r"PID \d+", "PID 0"))
"""Also where PIDs are not the namespace's own."""
ENDED = re.compile(r'reaped orphan| ended: |"event":"(reap|child-exit)"')


def without_times(text: str, where: str = NAMESPACE) -> str:
    """A line with its times, and the engine's name, taken out."""
    for pattern, replacement in (*TIMES, *(PIDS if where == HOST else ())):
        text = re.sub(pattern, replacement, text)
    return text


def account(run: Run, log: Path) -> Account:
    """Wait for the end, and tell what there was."""
    status = run.wait()
    report: list[str] = []
    together: list[str] = []
    for line in [*(without_times(line, run.where) for line in run.report), ""]:
        if ENDED.search(line):
            together.append(line)
            continue
        report += [*sorted(together), line]
        together = []
    heard = sorted(run.lines, key=lambda line: line.split(" ")[0])  # stable: each one's own order stays
    return Account(
        status, report, heard, without_times(log.read_text("utf-8", "backslashreplace") if log.exists() else "")
    )


def differences(reference: Account, native: Account) -> list[str]:
    """The lines in which the second is not as the first."""
    before, after = ([f"status {one.status}", *one.report, *one.heard, one.log] for one in (reference, native))
    return [line for line in difflib.ndiff(before, after) if line[:1] in "-+?"]


# --- scenarios: words, and what is done to the run ---


@dataclass(frozen=True)
class Scenario:
    """Options and a program, and what happens then."""

    options: Sequence[str]
    program: Sequence[str | bytes]
    play: Callable[[Run], object] = lambda run: run
    where: str = NAMESPACE


def has_more_lines(run: Run, than: int) -> bool:
    """Whether the report has grown."""
    return run.err.count("\n") > than


def has_said(run: Run, line: str) -> bool:
    """Whether a program has printed this line."""
    return line in run.lines


def ready(count: int, *then: str) -> Callable[[Run], object]:
    """Wait until so many are ready, then send signals, each when the one before has had its effect.

    `USR1 main 12`: also wait until a program says `main 12`, where signals that are pending together would change places.
    """

    def play(run: Run) -> None:
        until(lambda: sum(line.endswith(" ready") for line in run.lines) == count, 20, f"{count} that are ready")
        for word in then:
            signal, _, heard = word.partition(" ")
            lines = run.err.count("\n")
            run.send(signal)
            until(functools.partial(has_more_lines, run, lines), 20, "a line about the signal")
            if heard:
                until(functools.partial(has_said, run, heard), 20, f"the program saying {heard}")

    return play


def hears(name: str, *numbers: int, then: str = "") -> str:
    """Code of a process that waits for these signals in turn, saying each."""
    waits = "".join(f"say('{name}', int(signal.sigwait(signal.valid_signals() - {{17}}))); " for _ in numbers)
    return f"block(); say('{name}', 'ready'); {waits}{then or 'os._exit(0)'}"


def forked(*bodies: str) -> str:
    """Code of a program whose children run these bodies, each started when the one before is ready."""
    return "".join(
        f"""
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(reader)
    real = say
    def say(*words):
        real(*words)
        if words[-1] == "ready": os.write(writer, b"x")
    {body}
    os._exit(0)
os.close(writer); os.read(reader, 1)
"""
        for body in bodies
    )


SLEEP = "time.sleep(60)"
DAEMON = """
def body():
    say("daemon", "ready")
    say("daemon", int(signal.sigwait({15})))
block()  # before it is there: it is not to end before it is ready
daemon(body)
"""
ORPHAN = """
r, w = os.pipe()
daemon(lambda: (os.write(w, b"%d" % os.getpid()), os._exit(3)))
orphan = os.read(r, 9).decode()
while os.path.exists("/proc/" + orphan):  # until it has been reaped: else the program's end finds it alive, or does not
    time.sleep(0.001)
"""
DEAF_DAEMON = DAEMON.replace('say("daemon", int(signal.sigwait({15})))', "time.sleep(60)")
DEAF = "block(); say('main', 'ready'); time.sleep(60)"
SHELL = "trap : TERM; sleep 60 & echo shell ready; wait; (trap '' TERM; sleep 60); true"
"""Stops waiting when it hears TERM, and then waits for a child that was not there to hear it."""
ENSEMBLE = forked(
    "signal.signal(15, signal.SIG_IGN); say('ignores', 'ready'); time.sleep(60)",
    "block(15); say('blocks', 'ready'); time.sleep(60)",
    "block(); say('waits', 'ready'); record(64, 'waits ', {17})",
    "signal.signal(15, lambda *_: say('handler', 15)); say('handler', 'ready'); [time.sleep(60) for _ in range(9)]",
    "block(); say('stops', 'ready'); [os.kill(os.getpid(), signal.SIGSTOP) for _ in iter(int, 1)]",
    f"os.execvp('sh', ['sh', '-c', {SHELL!r}])",
)
WORDS = [
    "--verbose",
    "x" * 300,
    "a b",
    'quo"te',
    "back\\slash",
    "tab\t",
    "new\nline",
    "\x1b[2J",
    "\u00e4\u200b\U0001f600",
]

SCENARIOS: dict[str, Scenario] = {
    "plain exit": Scenario(["-vvv"], ["sh", "-c", "exit 3"]),
    "success, and few words": Scenario([], ["true"]),
    "by a signal": Scenario(["-vvv"], ["sh", "-c", "kill -USR1 $$"]),
    "by a real-time signal": Scenario(["-vvv"], python("os.kill(os.getpid(), 37)")),
    "expected": Scenario(["-vvv", "-e", "TERM"], python("say('main', 'ready'); signal.pause()"), ready(1, "TERM")),
    "other signals, rewritten and dropped": Scenario(
        ["-vvv", "-r", "HUP:0", "-r", "USR1:USR2", "-r", "TERM:QUIT"],
        python(hears("main", 12, 28, 3)),
        ready(1, "HUP", "USR1 main 12", "WINCH main 28", "TERM"),
    ),
    "to the group": Scenario(
        ["-vvv", "-g"],
        python(forked(hears("worker", 10, 15)) + hears("main", 10, 15, then="os.wait(); os._exit(5)")),
        ready(2, "USR1", "TERM"),
    ),
    "to the program alone": Scenario(
        ["-vvv", "-c"], python(forked(hears("worker", 15)) + hears("main", 15)), ready(2, "TERM")
    ),
    "to the tree": Scenario(
        ["-vvv", "--scope", "tree", "-t", "300ms"], python(DAEMON + hears("main", 15)), ready(2, "TERM")
    ),
    "an orphan, and lines about it": Scenario(["-w"], python(ORPHAN)),
    "grace, and everybody's reason": Scenario(["-vv", "-t", "1500ms"], python(ENSEMBLE + DEAF), ready(7, "TERM")),
    "nobody chose the grace": Scenario(["-vv"], python(DEAF), ready(1, "TERM")),  # which is 8 s
    "grace 0": Scenario(["-vvv", "-t", "0"], python(DAEMON + DEAF), ready(2, "TERM")),
    "a daemon beside a deaf program": Scenario(["-vvv", "-t", "300ms"], python(DAEMON + DEAF), ready(2, "TERM")),
    "a deaf daemon beside a deaf program": Scenario(
        ["-vvv", "-t", "300ms"], python(DEAF_DAEMON + DEAF), ready(2, "TERM")
    ),
    "drain": Scenario(["-vvv", "-d", "200ms"], python(hears("main", 10, 15)), ready(1, "TERM", "USR1")),
    "a second signal ends the drain": Scenario(
        ["-vvv", "-d", "60s"], python(hears("main", 2)), ready(1, "TERM", "INT")
    ),
    "a plan of three steps": Scenario(
        ["-vvv", "--stop", "TERM:200ms,INT:200ms,QUIT:200ms,KILL"],
        python("block(); say('main', 'ready'); record(64, 'main ', {17})"),
        ready(1, "TERM"),
    ),
    "a plan without KILL": Scenario(
        ["-vvv", "--stop", "=:200ms,INT"], python(hears("main", 15, 18, 2)), ready(1, "TERM")
    ),
    "a second signal": Scenario(
        ["-vvv", "-t", "500ms"],
        python("block(); say('main', 'ready'); record(64, 'main ', {17, 18})"),
        ready(1, "TERM", "INT"),
    ),
    "linger": Scenario(["-vvv"], python(DAEMON + "block(); say('main', 'ready'); os._exit(4)"), ready(2)),
    "linger is over": Scenario(
        ["-vvv", "--linger", "200ms"], python(DEAF_DAEMON + "block(); say('main', 'ready'); os._exit(4)"), ready(2)
    ),
    "signals while lingering": Scenario(
        ["-vvv", "--linger", "2s"],
        python(DEAF_DAEMON + "block(); say('main', 'ready'); os._exit(4)"),
        lambda run: (ready(2)(run), run.wait_err("sent to 1 more"), ready(2, "USR1", "TERM", "INT")(run)),
    ),
    "linger 0": Scenario(["-vvv", "--linger", "0"], python("block(); daemon(lambda: time.sleep(60)); os._exit(4)")),
    "wait for all": Scenario(
        ["-vvv", "--wait", "all"],
        python(DAEMON + "os._exit(4)"),
        lambda run: (run.wait_err("ended: exit 4"), ready(1, "TERM")(run)),
    ),
    "stopped and continued": Scenario(
        ["-vvv"],
        python("say('main', 'ready'); signal.pause()"),
        lambda run: (ready(1, "TSTP")(run), run.wait_err("was stopped by SIGTSTP"), ready(1, "CONT", "TERM")(run)),
    ),
    "without subreaper": Scenario(["-vvv", "--no-subreaper"], ["true"], where=HOST),
    "very long words": Scenario(["-v"], ["true", *["y" * 5000] * 3, *["z" * 100] * 60]),
    "many words": Scenario(["-v"], ["true", *map(str, range(2000))]),
    "odd words": Scenario(["-v"], ["true", *WORDS]),
    "words that are not UTF-8": Scenario(
        ["-v"], ["true", b"\xff\xfe", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b""]
    ),
    "odd names": Scenario(
        ["-vv", "-t", "300ms"],
        python(
            forked(
                r"open('/proc/self/comm', 'wb').write(b'\xff) R 1 (\"\n'); block(); say('odd', 'ready'); time.sleep(60)"
            )
            + DEAF
        ),
        ready(2, "TERM"),
    ),
    "sixty survivors": Scenario(
        ["-v", "-t", "500ms"],
        python(forked(*["block(); say('one', 'ready'); time.sleep(60)"] * 60) + DEAF),
        ready(61, "TERM"),
    ),
    "sixty survivors of long command lines": Scenario(
        ["-v", "-t", "500ms"],
        [*python(forked(*["block(); say('one', 'ready'); time.sleep(60)"] * 60) + DEAF), "x" * 1500],
        ready(61, "TERM"),
    ),
    "usage": Scenario(["--grace", "10x"], ["true"]),
    "not found": Scenario(["-v"], ["no-such-program"]),
    "not found in a folder": Scenario(["-v"], ["./no/such"]),
    "empty name": Scenario(["-v"], [""]),
    "not found, not UTF-8": Scenario(["-v"], [b'\xff"\n']),
    "a name too long": Scenario(["-v"], ["n" * 300]),
    "a path too long": Scenario(["-v"], ["/" + "n/" * 3000]),
    "a directory": Scenario(["-v"], ["/etc"]),
    "through a file": Scenario(["-v"], ["/etc/passwd/x"]),
    "not executable": Scenario(["-v"], ["/etc/passwd"]),
}


IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
OURS, OTHERS = (183, 62) if os.uname().machine == "aarch64" else (62, 183)
SEGMENT = struct.pack("<IIQQQQQQ", 3, 4, 120, 120, 120, 9, 9, 1)
CONTENTS = {
    "interpreter missing": b"#!/no/such/python3 -u\n",
    "interpreter missing, odd": b"#! \t/no/\xff\x1b -u\n",
    "nothing after it": b"#!\nx",
    "line endings": b"#!/bin/sh\r\necho\r\n",
    "another machine": IDENT + struct.pack("<HHI", 2, OTHERS, 1) + bytes(104),
    "an unknown machine": IDENT + struct.pack("<HHI", 2, 4321, 1) + bytes(104),
    "of the other byte order": b"\x7fELF\x01\x02\x01" + bytes(9) + struct.pack(">HHI", 2, 8, 1) + bytes(104),
    "loader missing": IDENT
    + struct.pack("<HHIQQQIHHHHHH", 2, OURS, 1, 0x400000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    + SEGMENT
    + b"/lib/ld\xff\0",
    "cut off": IDENT[:5],
    "a NUL": b"abc\0def\n",
    "a script without an interpreter": b'echo main "$0" "$1"\nexit 9\n',
    "nothing at all": b"",
}
"""Programs, for what is in them."""
SCENARIOS |= {f"a file: {name}": Scenario(["-v"], [f"./{name}", "word"]) for name in CONTENTS}
SCENARIOS |= {
    "a file: a loop": Scenario(["-v"], ["./loop"]),
    "a file: a pipe": Scenario(["-v"], ["./pipe"]),
    "a file: an odd name": Scenario(["-v"], [b"./\xfe \xc3\xa4"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory, with those files in it."""
    for name, content in {**CONTENTS, os.fsdecode(b"\xfe \xc3\xa4"): b"#!/bin/sh\nexit 9\n"}.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


Pair = tuple[Engine, Engine]


def played(scenarios: Sequence[Scenario], inits: Pair, form: str, start_any: Start, folder: Path) -> list[Account]:
    """The accounts of two scenarios, played at the same time, each with its engine."""
    runs = []
    for scenario, init in zip(scenarios, inits, strict=True):
        words = [*scenario.options, "--log", form, "--termination-log", f"log of {init.name}", "--", *scenario.program]
        run = start_any(*init.command, *words, where=scenario.where, cwd=folder, env={"PATH": "/usr/bin:/bin"})
        runs.append(run)
    for scenario, run in zip(scenarios, runs, strict=True):
        scenario.play(run)
    return [account(run, folder / f"log of {init.name}") for run, init in zip(runs, inits, strict=True)]


@pytest.fixture
def both(native: Path) -> Pair:
    """The two engines."""
    return (
        Engine(engines.PYTHON, engines.command(engines.SECOND, native)),
        Engine(engines.NATIVE, engines.command(engines.EXECUTABLE, native)),
    )


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_engines_agree(name: str, form: str, both: Pair, start_any: Start, folder: Path) -> None:
    """Status, report, what the programs heard, and the termination log."""
    reference, native = played([SCENARIOS[name]] * 2, both, form, start_any, folder)
    assert differences(reference, native) == []


DIFFERENT = {
    "another reason": (DEAF, DEAF.replace("block()", "signal.signal(15, signal.SIG_IGN)")),
    "another process": (DEAF, "block(); os.fork() or time.sleep(60); " + DEAF),
    "another status": ("say('main', 'ready'); signal.pause()", "say('main', 'ready'); signal.sigwait({15})"),
    "another word": (hears("main", 15), hears("other", 15)),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_difference_is_seen(difference: str, both: Pair, start_any: Start, folder: Path) -> None:
    """Negative control: one small thing is not the same."""
    scenarios = [Scenario(["-v", "-t", "300ms"], python(code), ready(1, "TERM")) for code in DIFFERENT[difference]]
    reference, native = played(scenarios, both, "json", start_any, folder)
    assert differences(reference, native) != []
