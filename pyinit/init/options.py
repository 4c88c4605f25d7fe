"""Options: the command line and the environment become a Policy, or one clear error.

`OPTIONS` is the single table: this parser, `--help`, the README and the manual page are made from it.
Command line beats environment beats default; parsing stops at the first word that is no option, so the program's own options
are never ours. Rejected: argparse and getopt (argparse alone costs more than the rest of PID 1, and permutes).
Every duration is in nanoseconds, an int; NEVER stands for infinity.
"""

from pyinit.init import signals

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final, NoReturn

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
NEVER = (1 << 63) - 1
"""An instant or a duration that never comes to its end."""

CHILD, GROUP, TREE = 0, 1, 2
"""Whom a signal reaches: the program alone, its process group, every descendant of pyinit."""
SCOPES = ("child", "group", "tree")

MAX_STEPS = 32
"""How many steps a plan may have: the native engine keeps it in a place of fixed size."""

AS_IT_CAME = 0
"""In a plan: the signal that began the shutdown, written `=`."""

ERRORS, WARNINGS, INFO, DEBUG = 0, 1, 2, 3
"""Verbosity, counted as tini counts it."""

DEFAULT_GRACE = 8 * SECOND
DEFAULT_GRACE_IN_KUBERNETES = 28 * SECOND
DEFAULT_LINGER = 8 * SECOND


class UsageError(Exception):
    """A command line or a variable that cannot be understood. The text is the whole line for the user."""


class Option:
    """A row of the table. `value` is the word that `--help` shows for the value; a flag has none."""

    __slots__ = ("default", "env", "help", "long", "section", "short", "value")

    def __init__(self, section: str, short: str, long: str, value: str, env: str, default: str, text: str) -> None:
        self.section: Final = section
        self.short: Final = short
        self.long: Final = long
        self.value: Final = value
        self.env: Final = env
        self.default: Final = default
        self.help: Final = text


# fmt: off
OPTIONS = (
    Option("Stopping", "t", "grace", "D", "PYINIT_GRACE", "8s, in Kubernetes 28s",
           "from forwarding the stop signal to SIGKILL; the same as --stop =:D,KILL. 'infinity' never kills the program, '0' at once"),
    Option("Stopping", "", "stop", "PLAN", "PYINIT_STOP", "=:8s,KILL",
           "the whole plan, e.g. TERM:8s,INT:4s,KILL; '=' is the signal that came, after --rewrite; without KILL the program never is"),
    Option("Stopping", "d", "drain", "D", "PYINIT_DRAIN", "0",
           "wait before forwarding the stop signal, so that load balancers can look elsewhere; a second stop signal ends the wait"),
    Option("Stopping", "", "linger", "D", "PYINIT_LINGER", "8s, or the plan's length if shorter",
           "after the program has ended: how long the others may take after their SIGTERM before SIGKILL; "
           "'0' asks, kills and awaits nobody"),
    Option("Stopping", "", "wait", "main|all", "PYINIT_WAIT", "main",
           "'all' stays until the last process has ended, for programs that daemonise; the exit status stays the program's"),
    Option("Signals", "", "stop-signals", "LIST", "PYINIT_STOP_SIGNALS", "TERM,INT",
           "the signals that begin a shutdown; set it to the image's STOPSIGNAL where that is another one"),
    Option("Signals", "", "scope", "child|group|tree", "PYINIT_SCOPE", "group",
           "whom a stop signal reaches: the program, its process group, or every descendant"),
    Option("Signals", "g", "group", "", "", "off",
           "send all other signals to the process group too"),
    Option("Signals", "c", "child", "", "", "off",
           "send every signal, stop signals included, to the program alone"),
    Option("Signals", "r", "rewrite", "S:R", "PYINIT_REWRITE", "",
           "send R when S arrives; S:0 drops S, which then begins no shutdown either. May be repeated"),
    Option("Status", "e", "expect", "CODE", "PYINIT_EXPECT", "",
           "exit 0 when the program's status is CODE: 0..255 but not 125, or a signal (TERM is 143). May be repeated"),
    Option("Processes", "s", "subreaper", "", "PYINIT_SUBREAPER", "auto: whenever not PID 1",
           "adopt orphaned descendants when not PID 1 (variable: yes, no or auto)"),
    Option("Processes", "", "no-subreaper", "", "", "",
           "do not adopt them; zombies then go to whoever is PID 1"),
    Option("Processes", "p", "parent-death", "SIGNAL", "", "",
           "the signal that the kernel sends to pyinit when its parent dies (PR_SET_PDEATHSIG)"),
    Option("Reporting", "w", "warn-reap", "", "PYINIT_WARN_REAP", "no",
           "print a line for each orphan reaped (variable: yes or no)"),
    Option("Reporting", "", "log", "text|json", "PYINIT_LOG", "text",
           "the form of the lines on stderr"),
    Option("Reporting", "", "termination-log", "PATH", "PYINIT_TERMINATION_LOG", "",
           "write the last word there too, unless the program has written to it (in Kubernetes: /dev/termination-log)"),
    Option("Reporting", "v", "verbose", "", "PYINIT_VERBOSITY", "1: warnings",
           "say more, -vv still more (variable: 0 errors, 1 warnings, 2 info, 3 debug)"),
    Option("Reporting", "q", "quiet", "", "", "",
           "say less"),
    Option("About", "h", "help", "", "", "", "print this help"),
    Option("About", "V", "version", "", "", "", "print the version and the engine"),
    Option("About", "l", "license", "", "", "", "print the licence"),
)
# fmt: on


class Policy:
    """What pyinit has been asked to do. Immutable; written by hand because dataclasses cost 25 ms and 3 MB on PID 1.

    Durations are in nanoseconds. `plan` is a tuple of (signal, duration): AS_IT_CAME is the signal that came, SIGKILL stands
    last or nowhere. `rewrite[n]` is what is sent when n arrives, 0 for nothing. `stop_signals` is a bit mask.
    `fair`, `bound` and `apart` are constants of the contract (DESIGN steps 8 and 9), fields only so that the checker of the
    machine can scale them to its own small clock.
    """

    __slots__ = (
        "about",
        "apart",
        "bound",
        "drain",
        "expect",
        "fair",
        "grace_chosen",
        "json",
        "linger",
        "others",
        "parent_death",
        "plan",
        "program",
        "rewrite",
        "scope",
        "stop_signals",
        "subreaper",
        "termination_log",
        "verbosity",
        "wait_all",
        "warn_reap",
    )

    def __init__(
        self,
        *,
        about: str = "",
        plan: "tuple[tuple[int, int], ...]" = ((AS_IT_CAME, DEFAULT_GRACE), (signals.KILL, 0)),
        grace_chosen: bool = False,
        drain: int = 0,
        linger: int = DEFAULT_LINGER,
        wait_all: bool = False,
        scope: int = GROUP,
        others: int = CHILD,
        stop_signals: int = signals.mask_of((signals.TERM, signals.INT)),
        rewrite: "tuple[int, ...]" = tuple(range(signals.RTMAX + 1)),
        expect: "tuple[int, ...]" = (),
        subreaper: bool | None = None,
        parent_death: int = 0,
        warn_reap: bool = False,
        json: bool = False,
        termination_log: bytes = b"",
        verbosity: int = WARNINGS,
        program: "tuple[bytes, ...]" = (),
        fair: int = SECOND,
        bound: int = 500 * MILLISECOND,
        apart: int = 10 * MILLISECOND,
    ) -> None:
        for name, value in locals().items():
            if name != "self":
                object.__setattr__(self, name, value)

    if TYPE_CHECKING:
        about: str
        plan: tuple[tuple[int, int], ...]
        grace_chosen: bool
        drain: int
        linger: int
        wait_all: bool
        scope: int
        others: int
        stop_signals: int
        rewrite: tuple[int, ...]
        expect: tuple[int, ...]
        subreaper: bool | None
        parent_death: int
        warn_reap: bool
        json: bool
        termination_log: bytes
        verbosity: int
        program: tuple[bytes, ...]
        fair: int
        bound: int
        apart: int

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        raise AttributeError(f"a Policy is immutable; {name} is set when it is made")

    def __repr__(self) -> str:
        return f"Policy({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def later(instant: int, duration: int) -> int:
    """The instant that comes `duration` after `instant`; NEVER stays NEVER."""
    return NEVER if NEVER in (duration, instant) else min(instant + duration, NEVER)


def plan_length(plan: "Sequence[tuple[int, int]]") -> int:
    """How long a plan takes until its SIGKILL, in nanoseconds; NEVER where there is none."""
    if not plan or plan[-1][0] != signals.KILL:
        return NEVER
    length = 0
    for _, duration in plan[:-1]:
        length = later(length, duration)
    return length


# fmt: off
UNPRINTABLE = (
    (0x00, 0x1F), (0x7F, 0xA0), (0xAD, 0xAD),  # control characters, spaces and hyphens that do not look like what they are
    (0x061C, 0x061C), (0x200B, 0x200F), (0x2028, 0x202F), (0x2060, 0x206F),  # zero width, line ends, text direction
    (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
)
# fmt: on
"""Characters, from first to last, that could move a cursor or make a word look like another one."""


def show(word: "bytes | str") -> str:
    """A word as it may be printed: whatever is UNPRINTABLE or no UTF-8 is escaped."""
    raw = word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "backslashreplace")
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if any(a <= ord(c) <= z for a, z in UNPRINTABLE) else c for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- values: each takes the text and gives the value, or None where it cannot be understood ---

A_DURATION = "write for example 8s, 1500ms, 2m, 10 (seconds) or infinity"
A_SIGNAL = "write for example TERM, SIGTERM, 15 or RTMIN+3"
UNITS = (("ms", MILLISECOND), ("s", SECOND), ("m", 60 * SECOND), ("", SECOND))
TRUE = ("1", "yes", "true", "on")
FALSE = ("0", "no", "false", "off")


def duration(text: str) -> int | None:
    """`8s`, `1500ms`, `2m`, `8` (seconds) or `infinity`, in nanoseconds."""
    if text == "infinity":
        return NEVER
    for unit, worth in UNITS:
        number = text.removesuffix(unit)
        if text.endswith(unit) and number.isascii() and number.isdigit():
            value = int(number) * worth if len(number) <= 19 else NEVER
            return value if value < NEVER else None
    return None


def _duration(where: str, text: str) -> int:
    value = duration(text)
    if value is None:
        raise UsageError(f"{where}: '{show(text)}' is no duration; {A_DURATION}")
    return value


def _signal(where: str, text: str) -> int:
    number = signals.number_of(text)
    if number is None:
        raise UsageError(f"{where}: '{show(text)}' is no signal; {A_SIGNAL}")
    return number


def _catchable(where: str, text: str) -> int:
    number = _signal(where, text)
    if number in signals.NEVER_FORWARDED:
        why = "tells about pyinit's own children" if number == signals.CHLD else "cannot be caught"
        raise UsageError(f"{where}: {signals.name_of(number)} {why}; name another signal")
    return number


def _plan(where: str, text: str) -> "tuple[tuple[int, int], ...]":
    steps: list[tuple[int, int]] = []
    words = text.split(",")
    if len(words) > MAX_STEPS:
        raise UsageError(f"{where}: more than {MAX_STEPS} steps; a plan is a few signals, such as TERM:8s,INT:4s,KILL")
    for position, word in enumerate(words):
        name, colon, length = word.partition(":")
        last = position == len(words) - 1
        number = AS_IT_CAME if name == "=" else _signal(where, name)
        if number == signals.KILL:
            if not last:
                raise UsageError(
                    f"{where}: KILL must come last, nothing is left to do after it; write for example TERM:8s,KILL"
                )
            if colon:
                raise UsageError(f"{where}: KILL takes no duration; write KILL")
            # with nothing before it, KILL is the plan of --grace 0: told, and killed at once
            steps += [(AS_IT_CAME, 0), (number, 0)] if not steps else [(number, 0)]
        elif colon:
            steps.append((number, _duration(where, length)))
        elif last:
            steps.append((number, NEVER))
        else:
            raise UsageError(
                f"{where}: '{show(word)}' needs a duration before the next step; write for example {show(word)}:8s"
            )
    return tuple(steps)


def _rewrite(where: str, text: str) -> "list[tuple[int, int]]":
    pairs = []
    for word in text.split(","):
        arrives, colon, sent = word.partition(":")
        if not colon:
            raise UsageError(
                f"{where}: '{show(word)}' is no pair of signals; write for example TERM:QUIT, or HUP:0 to drop it"
            )
        number = 0 if sent == "0" else _signal(where, sent)
        if number == signals.KILL:
            raise UsageError(f"{where}: SIGKILL is for the plan; write --grace 0 to kill at once")
        pairs.append((_catchable(where, arrives), number))
    return pairs


def _expect(where: str, text: str) -> "list[int]":
    codes = []
    for word in text.split(","):
        is_number = word.isascii() and word.isdigit() and len(word) <= 3
        code = int(word) if is_number else 128 + (signals.number_of(word) or 128)
        if code > 255:
            raise UsageError(
                f"{where}: '{show(word)}' is no exit status; write 0 to 255, or a signal such as TERM for 143"
            )
        if code == 125:
            raise UsageError(f"{where}: 125 means that pyinit itself failed and is never remapped; name another status")
        codes.append(code)
    return codes


def _choice(where: str, text: str, choices: "tuple[str, ...]") -> int:
    if text not in choices:
        raise UsageError(f"{where}: '{show(text)}' is none of its values; write {' or '.join(choices)}")
    return choices.index(text)


def _yes_or_no(where: str, text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise UsageError(f"{where}: '{show(text)}' is neither yes nor no; write yes or no")


# --- the command line ---


def _split(words: "Sequence[str]") -> "tuple[list[tuple[Option, str, str]], int]":
    """The options in their order as (option, as it was written, value), and where the program's words begin."""
    found: list[tuple[Option, str, str]] = []
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        word = words[at]
        at += 1
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = next((o for o in OPTIONS if o.long == name), None)
            if option is None:
                raise UsageError(_unknown("--" + name))
            if equals and not option.value:
                raise UsageError(f"--{name} takes no value; write --{name}")
            if option.value and not equals:
                value, at = _next(words, at, option, word)
            found.append((option, "--" + name, value))
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = next((o for o in OPTIONS if o.short == letter), None)
            if option is None:
                raise UsageError(_unknown("-" + letter))
            value = ""
            if option.value and letters:
                value, letters = letters, ""
            elif option.value:
                value, at = _next(words, at, option, "-" + letter)
            found.append((option, "-" + letter, value))
    return found, at


def _next(words: "Sequence[str]", at: int, option: Option, written: str) -> "tuple[str, int]":
    if at == len(words):
        raise UsageError(f"{written} needs a value; write {written} {option.value}")
    return words[at], at + 1


def _unknown(written: str) -> str:
    near = [o.long for o in OPTIONS if written.startswith("--") and _distance(written[2:], o.long) <= 2]
    hint = f"write --{near[0]}" if near else "'pyinit --help' lists the options"
    return f"unknown option '{show(written)}'; {hint}, and options of the program come after it: pyinit -- PROGRAM {show(written)}"


def _distance(a: str, b: str) -> int:
    """How many letters must be added, left out or replaced to make a into b (Levenshtein)."""
    if abs(len(a) - len(b)) > 2:
        return 3
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def parse(argv: "Sequence[bytes]", environ: "Mapping[bytes, bytes]") -> Policy:
    """The Policy for a command line (without argv[0]) and an environment.

    An empty variable counts as not set (templates leave such behind). A variable that the command line overrides is not read.

    Raises:
        UsageError: naming the option or the variable, what is wrong with it and what to write instead.
    """
    words = [word.decode("utf-8", "surrogateescape") for word in argv]
    found, at = _split(words)
    given: dict[str, list[tuple[str, str]]] = {}
    for option, written, value in found:
        given.setdefault(option.long, []).append((f"{written} {show(value)}" if value else written, value))
    for about in ("help", "version", "license"):
        if about in given:
            return Policy(about=about)

    if "grace" in given and "stop" in given:
        raise UsageError("--grace and --stop exclude each other; write the duration into the plan: --stop TERM:8s,KILL")
    if "group" in given and "child" in given:
        raise UsageError("-g and -c exclude each other; -g sends every signal to the group, -c to the program alone")

    def values(long: str) -> "list[tuple[str, str]]":
        """Where each value of an option was written, and the value: from the command line, else from the environment."""
        if long in given:
            return given[long]
        env = next(o.env for o in OPTIONS if o.long == long)
        text = environ.get(env.encode(), b"").decode("utf-8", "surrogateescape") if env else ""
        return [(f"{env}={show(text)}", text)] if text else []

    def last(long: str) -> "tuple[str, str] | None":
        return values(long)[-1] if values(long) else None

    fields: dict[str, object] = {}
    grace, stop = last("grace"), last("stop")
    if grace and stop and ("grace" in given) == ("stop" in given):
        raise UsageError(
            "PYINIT_GRACE and PYINIT_STOP exclude each other; write the duration into the plan: TERM:8s,KILL"
        )
    if stop and "grace" not in given:
        plan = _plan(*stop)
    elif grace:
        plan = ((AS_IT_CAME, _duration(*grace)), (signals.KILL, 0))
    else:
        kubernetes = environ.get(b"KUBERNETES_SERVICE_HOST")
        plan = ((AS_IT_CAME, DEFAULT_GRACE_IN_KUBERNETES if kubernetes else DEFAULT_GRACE), (signals.KILL, 0))
    fields["plan"] = plan
    fields["grace_chosen"] = bool(grace or stop)
    drain, linger = last("drain"), last("linger")
    fields["drain"] = _duration(*drain) if drain else 0
    fields["linger"] = _duration(*linger) if linger else min(DEFAULT_LINGER, plan_length(plan))
    if (wait := last("wait")) is not None:
        fields["wait_all"] = _choice(*wait, ("main", "all")) == 1
    _scopes(fields, last("scope"), given)
    if (stop_signals := last("stop-signals")) is not None:
        where, text = stop_signals
        fields["stop_signals"] = signals.mask_of(_catchable(where, word) for word in text.split(","))
    rewrite = list(range(signals.RTMAX + 1))
    for where, text in values("rewrite"):
        for arrives, sent in _rewrite(where, text):
            rewrite[arrives] = sent
    fields["rewrite"] = tuple(rewrite)
    fields["expect"] = tuple(sorted({code for where, text in values("expect") for code in _expect(where, text)}))
    _processes(fields, given, values)
    _reporting(fields, given, values)
    if at == len(words):
        raise UsageError("no program to run; write pyinit [OPTIONS] -- PROGRAM [ARG...]")
    return Policy(program=tuple(argv[at:]), **fields)  # type: ignore[arg-type]  # each field was set with its own type above


def _scopes(fields: "dict[str, object]", scope: "tuple[str, str] | None", given: "Mapping[str, object]") -> None:
    """--scope is about stop signals, -g and -c about all; what is written on the command line must not contradict itself."""
    reach = _choice(*scope, SCOPES) if scope else GROUP
    if "child" in given:
        if "scope" in given and reach != CHILD:
            raise UsageError(
                f"-c and --scope {SCOPES[reach]} exclude each other; -c sends every signal to the program alone"
            )
        reach = CHILD
    if "group" in given:
        if "scope" in given and reach == CHILD:
            raise UsageError("-g and --scope child exclude each other; -g sends every signal to the group")
        reach = max(reach, GROUP)
    fields["scope"] = reach
    fields["others"] = GROUP if "group" in given else CHILD


def _processes(fields: "dict[str, object]", given: "Mapping[str, object]", values: "_Values") -> None:
    if "subreaper" in given and "no-subreaper" in given:
        raise UsageError("--subreaper and --no-subreaper exclude each other; write one of them, or none for auto")
    if "subreaper" in given or "no-subreaper" in given:
        fields["subreaper"] = "subreaper" in given
    else:
        for where, text in values("subreaper"):
            if text.lower() != "auto":
                fields["subreaper"] = _yes_or_no(where, text)
    for where, text in values("parent-death"):
        fields["parent_death"] = _signal(where, text)


def _reporting(fields: "dict[str, object]", given: "Mapping[str, Sequence[object]]", values: "_Values") -> None:
    for where, text in values("warn-reap"):
        fields["warn_reap"] = "warn-reap" in given or _yes_or_no(where, text)
    for where, text in values("log"):
        fields["json"] = _choice(where, text, ("text", "json")) == 1
    for _, text in values("termination-log"):
        fields["termination_log"] = text.encode("utf-8", "surrogateescape")
    if "verbose" in given or "quiet" in given:
        level = WARNINGS + len(given.get("verbose", ())) - len(given.get("quiet", ()))
        fields["verbosity"] = min(max(level, ERRORS), DEBUG)
    else:
        for where, text in values("verbose"):
            fields["verbosity"] = _choice(where, text, ("0", "1", "2", "3"))


if TYPE_CHECKING:
    from collections.abc import Callable

    _Values = Callable[[str], list[tuple[str, str]]]
