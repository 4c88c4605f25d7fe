"""Options: every line of the contract's table, every error, and any command line at all."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinit.init import about, signals
from pyinit.init.options import (
    AS_IT_CAME,
    CHILD,
    GROUP,
    INFO,
    MILLISECOND,
    NEVER,
    OPTIONS,
    SECOND,
    TREE,
    UNPRINTABLE,
    Policy,
    UsageError,
    duration,
    parse,
    plan_length,
    show,
)

KILL, TERM, INT, QUIT = signals.KILL, signals.TERM, signals.INT, signals.QUIT


def policy(*words: str, **environ: str) -> Policy:
    """The policy of a command line that runs `x`."""
    return parse(
        [*(word.encode() for word in words), b"--", b"x"], {k.encode(): v.encode() for k, v in environ.items()}
    )


def error(*words: str, **environ: str) -> str:
    """The line that a command line is refused with."""
    with pytest.raises(UsageError) as caught:
        policy(*words, **environ)
    return str(caught.value)


# --- each option, by its command line and by its variable ---


@pytest.mark.parametrize(
    ("words", "environ", "field", "value"),
    [
        (["-t", "5s"], {"PYINIT_GRACE": "5s"}, "plan", ((AS_IT_CAME, 5 * SECOND), (KILL, 0))),
        (["--grace=0"], {"PYINIT_GRACE": "0"}, "plan", ((AS_IT_CAME, 0), (KILL, 0))),
        (
            ["--stop", "TERM:8s,INT:4s,KILL"],
            {"PYINIT_STOP": "TERM:8s,INT:4s,KILL"},
            "plan",
            ((TERM, 8 * SECOND), (INT, 4 * SECOND), (KILL, 0)),
        ),
        (["--stop", "=:3s,QUIT"], {"PYINIT_STOP": "=:3s,QUIT"}, "plan", ((AS_IT_CAME, 3 * SECOND), (QUIT, NEVER))),
        (["--stop", "KILL"], {"PYINIT_STOP": "KILL"}, "plan", ((AS_IT_CAME, 0), (KILL, 0))),
        (["-d", "1500ms"], {"PYINIT_DRAIN": "1500ms"}, "drain", 1500 * MILLISECOND),
        (["--linger", "2m"], {"PYINIT_LINGER": "2m"}, "linger", 120 * SECOND),
        (["--wait", "all"], {"PYINIT_WAIT": "all"}, "wait_all", True),
        (["--scope", "tree"], {"PYINIT_SCOPE": "tree"}, "scope", TREE),
        (["--stop-signals", "QUIT,RTMIN+3"], {"PYINIT_STOP_SIGNALS": "QUIT,RTMIN+3"}, "stop_signals", 1 << 2 | 1 << 36),
        (["-e", "143", "-e", "INT"], {"PYINIT_EXPECT": "143,INT"}, "expect", (130, 143)),
        (["-s"], {"PYINIT_SUBREAPER": "yes"}, "subreaper", True),
        (["--no-subreaper"], {"PYINIT_SUBREAPER": "no"}, "subreaper", False),
        ([], {"PYINIT_SUBREAPER": "auto"}, "subreaper", None),
        (["-w"], {"PYINIT_WARN_REAP": "1"}, "warn_reap", True),
        (["--log", "json"], {"PYINIT_LOG": "json"}, "json", True),
        (["--termination-log", "/t"], {"PYINIT_TERMINATION_LOG": "/t"}, "termination_log", b"/t"),
        (["-v"], {"PYINIT_VERBOSITY": "2"}, "verbosity", INFO),
        (["-q"], {"PYINIT_VERBOSITY": "0"}, "verbosity", 0),
    ],
)
def test_option_and_variable_mean_the_same(
    words: list[str], environ: dict[str, str], field: str, value: object
) -> None:
    """A row of the contract's table, both ways."""
    assert getattr(policy(*words), field) == value
    assert getattr(policy(**environ), field) == value


def test_every_variable_of_the_table_is_read() -> None:
    """A variable that nobody reads would be a lie in the table: a bad value is named for each of them."""
    for option in OPTIONS:
        if option.env and option.env != "PYINIT_TERMINATION_LOG":
            assert option.env in error(**{option.env: "?"})


def test_command_line_beats_environment_beats_default() -> None:
    """Also where the variable is wrong: what is overridden is not read."""
    assert policy("-t", "3s", PYINIT_GRACE="nonsense").plan[0][1] == 3 * SECOND
    assert policy("-t", "3s", PYINIT_STOP="INT:1s,KILL").plan == ((AS_IT_CAME, 3 * SECOND), (KILL, 0))
    assert policy("--stop", "INT:1s,KILL", PYINIT_GRACE="9s").plan == ((INT, SECOND), (KILL, 0))
    assert policy("-c", PYINIT_SCOPE="tree").scope == CHILD
    assert policy(PYINIT_GRACE="").plan[0][1] == 8 * SECOND


def test_defaults_of_the_contract() -> None:
    """8 s, in Kubernetes 28 s; linger as long as the plan, at most 8 s."""
    plain = policy()
    assert (plain.plan, plain.linger, plain.drain) == (((AS_IT_CAME, 8 * SECOND), (KILL, 0)), 8 * SECOND, 0)
    assert (plain.scope, plain.others, plain.grace_chosen) == (GROUP, CHILD, False)
    assert plain.stop_signals == 1 << TERM - 1 | 1 << INT - 1
    pod = policy(KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert (pod.plan[0][1], pod.linger) == (28 * SECOND, 8 * SECOND)
    assert policy("-t", "2s").linger == 2 * SECOND
    assert policy("--stop", "TERM").linger == 8 * SECOND
    assert policy("-t", "infinity").linger == 8 * SECOND


def test_group_and_child() -> None:
    """-g sends everything to the group, -c everything to the program."""
    assert (policy("-g").scope, policy("-g").others) == (GROUP, GROUP)
    assert (policy("-c").scope, policy("-c").others) == (CHILD, CHILD)
    assert (policy("-g", "--scope", "tree").scope, policy("-g", "--scope", "tree").others) == (TREE, GROUP)
    assert policy("-g", PYINIT_SCOPE="child").scope == GROUP


def test_rewrite() -> None:
    """Names and numbers, repeated or as a list, and 0 to drop."""
    rewritten = policy("-r", "TERM:QUIT", "--rewrite", "1:0,USR1:RTMIN").rewrite
    assert (rewritten[TERM], rewritten[1], rewritten[10], rewritten[INT]) == (QUIT, 0, 34, INT)


def test_short_options_can_be_joined() -> None:
    """`-vvg`, `-t5s`, as getopt(3) has it."""
    joined = policy("-vvgt5s")
    assert (joined.verbosity, joined.others, joined.plan[0][1]) == (3, GROUP, 5 * SECOND)


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        ([b"ls", b"-l"], (b"ls", b"-l")),
        ([b"-v", b"ls", b"-t", b"x"], (b"ls", b"-t", b"x")),
        ([b"--", b"--", b"x"], (b"--", b"x")),
        ([b"--", b"-v"], (b"-v",)),
        ([b"-"], (b"-",)),
        ([b"--", b"\xff\xfe", b""], (b"\xff\xfe", b"")),
    ],
)
def test_the_program_and_its_arguments_are_not_ours(argv: list[bytes], program: tuple[bytes, ...]) -> None:
    """Parsing stops at the first word that is no option; bytes pass unchanged."""
    assert parse(argv, {}).program == program


def test_help_wins_over_everything() -> None:
    """Also without a program, and beside a bad variable."""
    assert parse([b"-h"], {b"PYINIT_GRACE": b"?"}).about == "help"
    assert parse([b"--version"], {}).about == "version"
    assert parse([b"-l"], {}).about == "license"


# --- errors: what, on what, why, what to write instead ---


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--grce", "1"], ["unknown option '--grce'", "--grace"]),
        (["-x"], ["unknown option '-x'", "--help"]),
        (["-t", "10x"], ["-t 10x", "'10x' is no duration", "8s"]),
        (["--grace=-5"], ["--grace -5", "'-5' is no duration"]),
        (["--drain", "1.5s"], ["--drain 1.5s", "1500ms"]),
        (["-t", "99999999999999999999"], ["no duration", "infinity"]),
        (["-t", "1s", "--stop", "TERM"], ["--grace and --stop exclude each other", "--stop TERM:8s,KILL"]),
        (["--stop", "KILL,TERM"], ["KILL must come last", "TERM:8s,KILL"]),
        (["--stop", "TERM,KILL"], ["'TERM' needs a duration", "TERM:8s"]),
        (["--stop", "TERM:1s,KILL:2s"], ["KILL takes no duration"]),
        (["--stop", ""], ["is no signal"]),
        (["--stop", "TREM:1s"], ["'TREM' is no signal", "SIGTERM"]),
        (["-e", "300"], ["-e 300", "'300' is no exit status", "0 to 255"]),
        (["-e", "125"], ["125", "never remapped"]),
        (["-e", "-1"], ["'-1' is no exit status"]),
        (["-r", "TERM"], ["'TERM' is no pair", "TERM:QUIT"]),
        (["-r", "KILL:TERM"], ["SIGKILL cannot be caught"]),
        (["-r", "TERM:KILL"], ["--grace 0"]),
        (["-r", "CHLD:TERM"], ["SIGCHLD"]),
        (["--stop-signals", "TERM,STOP"], ["SIGSTOP cannot be caught"]),
        (["--stop-signals", "33"], ["'33' is no signal"]),
        (["-p", "NOPE"], ["-p NOPE", "is no signal"]),
        (["--scope", "all"], ["'all'", "child or group or tree"]),
        (["--wait", "some"], ["main or all"]),
        (["--log", "xml"], ["text or json"]),
        (["--quiet=1"], ["--quiet takes no value"]),
        (["-g", "-c"], ["-g and -c exclude each other"]),
        (["-c", "--scope", "tree"], ["-c and --scope tree exclude each other"]),
        (["-g", "--scope", "child"], ["-g and --scope child exclude each other"]),
        (["-s", "--no-subreaper"], ["exclude each other"]),
    ],
)
def test_errors_name_the_option_and_the_remedy(words: list[str], parts: list[str]) -> None:
    line = error(*words)
    assert all(part in line for part in parts), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({"PYINIT_GRACE": "10x"}, ["PYINIT_GRACE=10x", "no duration"]),
        ({"PYINIT_GRACE": "1s", "PYINIT_STOP": "TERM"}, ["PYINIT_GRACE and PYINIT_STOP exclude each other"]),
        ({"PYINIT_VERBOSITY": "9"}, ["PYINIT_VERBOSITY=9", "0 or 1 or 2 or 3"]),
        ({"PYINIT_WARN_REAP": "maybe"}, ["PYINIT_WARN_REAP=maybe", "yes or no"]),
    ],
)
def test_errors_name_the_variable(environ: dict[str, str], parts: list[str]) -> None:
    line = error(**environ)
    assert all(part in line for part in parts), line


def test_a_value_that_is_missing() -> None:
    with pytest.raises(UsageError, match="--grace needs a value; write --grace D"):
        parse([b"--grace"], {})


def test_no_program() -> None:
    with pytest.raises(UsageError, match=r"no program to run; write pyinit \[OPTIONS\] -- PROGRAM"):
        parse([b"-v"], {})


# --- any command line at all ---

LONG = [f"--{o.long}" for o in OPTIONS]
SHORT = [f"-{o.short}" for o in OPTIONS if o.short]
VALUES = [
    "",
    "0",
    "1",
    "8s",
    "10x",
    "-5",
    "infinity",
    "TERM",
    "TERM:8s,KILL",
    "KILL,KILL",
    "=",
    "RTMIN+3",
    "all",
    "json",
    "143",
    "\x1b[2J",
]
word = st.one_of(
    st.sampled_from([*LONG, *SHORT, *VALUES, "--", "-"]).map(str.encode),
    st.builds(lambda o, v: f"{o}={v}".encode(), st.sampled_from(LONG), st.sampled_from(VALUES)),
    st.text(string.printable, max_size=8).map(str.encode),
    st.binary(max_size=8),
)
variable = st.dictionaries(
    st.sampled_from([o.env for o in OPTIONS if o.env] + ["KUBERNETES_SERVICE_HOST"]).map(str.encode),
    st.one_of(st.sampled_from(VALUES).map(str.encode), st.binary(max_size=6)),
    max_size=4,
)


@settings(max_examples=3000, deadline=None)
@given(st.lists(word, max_size=8), variable)
def test_any_command_line_gives_a_policy_or_one_clear_error(argv: list[bytes], environ: dict[bytes, bytes]) -> None:
    """Never a traceback, never two lines, never a byte that a terminal would act on."""
    try:
        made = parse(argv, environ)
    except UsageError as caught:
        line = str(caught)
        assert line
        assert not any(first <= ord(c) <= last for c in line for first, last in UNPRINTABLE)
        assert ";" in line  # what is wrong; what to write instead
        return
    assert made.about or made.program
    assert made.plan[-1][0] == KILL or plan_length(made.plan) == NEVER
    assert all(number != KILL for number, _ in made.plan[:-1])
    assert made.linger >= 0
    assert made.drain >= 0
    assert 125 not in made.expect


@given(st.integers(0, 10**12), st.sampled_from([("ms", MILLISECOND), ("s", SECOND), ("m", 60 * SECOND), ("", SECOND)]))
def test_durations(number: int, unit: tuple[str, int]) -> None:
    """Whole numbers of a unit; what would not fit is refused, not wrapped."""
    expected = number * unit[1]
    assert duration(f"{number}{unit[0]}") == (expected if expected < NEVER else None)


@given(st.text(max_size=12))
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing but digits and a unit, or the word infinity."""
    value = duration(text)
    assert value is None or text == "infinity" or text.rstrip("ms").isdecimal()


@given(st.binary(max_size=20))
def test_shown_words_are_harmless(raw: bytes) -> None:
    """Whatever comes from outside is printable when it is shown."""
    assert not any(first <= ord(c) <= last for c in show(raw) for first, last in UNPRINTABLE)


def test_a_policy_is_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        policy().drain = 5


# --- what is generated from the table ---


def test_help_fits_a_terminal_and_tells_every_option() -> None:
    """At most 100 columns; every option and variable of the table."""
    text = about.help_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    for option in OPTIONS:
        assert f"--{option.long}" in text
        assert option.env in text
