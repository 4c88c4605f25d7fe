"""The rules: each a pure function of a launch, which yields what it finds. `catalogue` is their table.

A judge is silent where it does not know: a command line that is not whole, a script that is not here, a word with a variable.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pyinit.init import options, signals
from pyinit.lint import kubernetes
from pyinit.lint.chain import Link, What, follow
from pyinit.lint.findings import Finding, Place, Word
from pyinit.lint.launch import SECOND, Kind
from pyinit.lint.programs import FORKERS
from pyinit.lint.shell import Ending, How

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyinit.lint.launch import Images, Launch

SLACK = int(1.5 * SECOND)
"""What pyinit may take after the plan: a second for those who had not been asked, half of one for those who do not die."""

PASSES_NOTHING_ON = (
    "The shell gets the stop signal and passes it on to nobody. As PID 1 it waits for the program until both are killed at the end of the "
    "grace period; behind an init that signals its child alone it dies, the init leaves, and the program is killed unasked."
)

SHOWN = 60
"""Characters of a command that a message repeats."""


def show(text: str) -> str:
    """A command as a message may repeat it: one printable line."""
    line = options.show(" ".join(text.split()))
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."


def seconds(duration: int) -> str:
    """`9.5 s`, for ever where it is without end."""
    return "for ever" if duration >= options.NEVER else f"{duration / SECOND:g} s"


def _who(launch: Launch) -> str:
    return f"{'service' if launch.kind is Kind.COMPOSE else 'container'} {show(launch.name)!r}: " if launch.name else ""


# --- shells in front ---


def shell_in_front(launch: Launch) -> Iterator[Finding]:
    """PI101: text for a shell, of which it does not become the last command; no init above asks the whole group."""
    links = () if launch.ends_itself else follow(launch)
    if launch.shell_form and links and re.fullmatch(r"\s*\[.*[\"'].*\]\s*", links[0].text, re.DOTALL):
        yield Finding(
            "PI101",
            links[0].place_of(1, 1),
            f"an array that is no JSON is text for a shell: {show(links[0].text)!r}",
            "The builder takes an array only with double quotes and without a comma at its end; anything else goes to /bin/sh -c.",
            'double quotes: ["program", "argument"]',
        )
        return
    for at, link in enumerate(links):
        if link.what is not What.SHELL or _asks_group(links[:at]) or _leads_to_init(links[at:]):
            continue
        ending = _that_waits(link)
        if ending is None:
            continue
        program = _program_of(ending)
        stays = "some shells stay" if ending.how is How.LAST else "it stays"
        instruction = (
            "the shell form puts a shell" if launch.shell_form and at == 0 else f"{show(link.name)!r} -c stands"
        )
        lost = " (and CMD is not passed on to it)" if launch.ignored_command and at == 0 else ""
        yield Finding(
            "PI101",
            link.place_of(1, 1),
            f"{_who(launch)}{instruction} in front of {program!r}; {stays} there and get{'' if stays[0] == 's' else 's'} "
            f"the stop signal instead{lost}",
            PASSES_NOTHING_ON,
            _without_shell(launch, link, ending),
        )
        return


def script_without_exec(launch: Launch) -> Iterator[Finding]:
    """PI102: an entry script that does not become the program at its end."""
    links = () if launch.ends_itself else follow(launch)
    for at, link in enumerate(links):
        if link.what is not What.SCRIPT or _asks_group(links[:at]) or _leads_to_init(links[at:]):
            continue
        ending = _that_waits(link)
        if ending is None:
            continue
        place = link.place_of(ending.line, ending.column)
        what, fix = _script_words(ending)
        yield Finding(
            "PI102",
            place,
            f"{_who(launch)}the entry script {show(link.name)!r} {what}",
            PASSES_NOTHING_ON,
            fix,
        )
        return


def _script_words(ending: Ending) -> tuple[str, str]:
    command = show(ending.shown)
    if ending.how is How.WAIT:
        return (
            f"waits with {command!r} and has no trap for SIGTERM: what it started in the background is never told to stop",
            "trap 'kill -TERM $(jobs -p)' TERM before the wait, and wait once more after it; or run the one program with exec",
        )
    if ending.how is How.LOOP:
        return (
            f"runs {command!r} in a loop: SIGTERM is not acted upon",
            f"trap 'exit 0' TERM at the top, and in the loop: {command} & wait $!; or an init in front, which asks the whole group",
        )
    if ending.how is How.CHILD:
        return (
            f"runs {command!r} as a child, with more to do after it or in a pipeline",
            f"let it be the last command: exec {command}; what must come after the program belongs to an init or to the program",
        )
    return f"runs {command!r} without exec", f"exec {command}"


def _that_waits(link: Link) -> Ending | None:
    """The ending of a text in which its shell stays in front of something; None where there is none, or where it is not understood."""
    if link.reading is None:
        return None
    for ending in link.reading.endings:
        if ending.how in (How.EXEC, How.UNKNOWN) or (ending.how is How.WAIT and link.reading.traps_stop):
            continue
        if ending.how is How.LOOP and link.reading.traps_stop and _program_of(ending) == "sleep":
            continue  # it acts between two sleeps, and nobody can say how long they are
        return ending
    return None


def _program_of(ending: Ending) -> str:
    return show(ending.parts[0].text or ending.shown) if ending.parts else show(ending.shown)


def _asks_group(above: Sequence[Link]) -> bool:
    """Whether the init next above sends the stop signal to the whole group: each init makes a group of its own."""
    inits = [link for link in above if link.what is What.INIT]
    return bool(inits) and inits[-1].to_group


def _leads_to_init(links: Sequence[Link]) -> bool:
    """Whether an init comes after it: that is PI202's affair."""
    return any(link.what is What.INIT for link in links[1:])


def _without_shell(launch: Launch, link: Link, ending: Ending) -> str:
    """The array form where no shell is needed, else exec."""
    word = "ENTRYPOINT" if launch.ignored_command else "CMD"
    texts = [part.text for part in ending.parts]
    plain = (
        None not in texts and re.fullmatch(r"[^$`|&;<>(){}*?\[\]~\n]+", link.text) and not re.match(r"\w+=", link.text)
    )
    if plain:
        array = json.dumps(texts)
        return {Kind.DOCKERFILE: f"{word} {array}", Kind.COMPOSE: f"command: {array}"}.get(
            launch.kind, f"command: {array}"
        )
    if ending.how in (How.CHILD, How.LOOP, How.WAIT):
        return (
            'ENTRYPOINT ["pyinit", "--"], an init that asks the whole group, in front of it; or let the program be the last '
            "command, with exec before it"
        )
    before, _, _ = link.text.rpartition(ending.shown)
    return f"exec before its last command: {show(before + 'exec ' + ending.shown)}"


# --- inits ---


def no_init(launch: Launch) -> Iterator[Finding]:
    """PI201: a program that leaves processes behind, and nobody who reaps them."""
    links = follow(launch)
    if not launch.is_whole or not links or launch.ends_itself or launch.engine_init or launch.shared_pids:
        return
    if any(link.what is What.INIT for link in links):
        return
    program = links[-1]
    row = FORKERS.get(program.name)
    texts = {word.text for word in program.words[1:]}
    if program.what is not What.PROGRAM or row is None or (row.words and not row.words & texts):
        return
    place = program.words[0].place if program.words[0].place.path == launch.place.path else launch.argv[0].place
    if launch.kind is Kind.DOCKERFILE:
        fix = f'ENTRYPOINT ["pyinit", "--"{_rest(launch)}]'
    elif launch.kind is Kind.COMPOSE:
        fix = 'entrypoint: ["pyinit", "--"], or init: true'
    else:
        fix = 'command: ["pyinit", "--"], and the program in args'
    yield Finding(
        "PI201",
        place,
        f"{_who(launch)}no init in front of {show(program.name)!r}",
        f"{row.why}. An init passes the signal on, reaps whoever is left, and asks them to end when the program has.",
        fix,
    )


def _rest(launch: Launch) -> str:
    return "".join(f", {json.dumps(word.text)}" for word in launch.entrypoint)


def init_behind_shell(launch: Launch) -> Iterator[Finding]:
    """PI202: the init is the child of a shell, and so not PID 1."""
    links = follow(launch)
    for at, link in enumerate(links):
        if link.what is not What.INIT or link.in_shebang:
            continue
        for above in links[:at]:
            ending = _that_waits(above) if above.what in (What.SHELL, What.SCRIPT) else None
            if ending is None:
                continue
            place = above.place_of(ending.line, ending.column)
            sure = "may stand" if above.what is What.SHELL and ending.how is How.LAST else "stands"
            yield Finding(
                "PI202",
                place,
                f"{_who(launch)}the init {show(link.name)!r} is given for nothing: {show(above.name)!r} {sure} in front of it",
                "Whoever is PID 1 gets the stop signal and every orphan. Here that is a shell, which passes no signal on; the init below "
                "it never hears of the stop.",
                f'the init first: ENTRYPOINT ["{show(link.name)}", "--", ...]; or exec before it',
            )
            return


def init_without_dashes(launch: Launch) -> Iterator[Finding]:
    """PI203: tini and catatonit look for options of their own among the program's."""
    for link in follow(launch):
        if link.init is None or not link.init.permutes or link.dashes or link.in_shebang:
            continue
        rest = link.words[link.own :]
        eaten = next((word.text for word in rest[1:] if word.text.startswith("-") and len(word.text) > 1), None)
        came = f"it takes {show(eaten)!r} for its own" if eaten else "it takes the options of the program for its own"
        own = ", ".join(json.dumps(word.text) for word in link.words[: link.own])
        yield Finding(
            "PI203",
            link.words[0].place,
            f"{_who(launch)}{show(link.name)!r} without --: {came}",
            "It goes on looking for options behind the program's name: `tini ls -l` prints tini's licence, and an option that it does not "
            "know ends the container. What is given to `docker run IMAGE ...` comes after it, too.",
            f'{own}, "--" before the program',
        )


def two_inits(launch: Launch) -> Iterator[Finding]:
    """PI204: an init under an init."""
    links = [link for link in follow(launch) if link.what is What.INIT]
    first = launch.engine_init
    if first is not None and links:
        what = f"init: true puts the engine's init in front of {show(links[0].name)!r}"
        place, second = first.place, links[0]
    elif len(links) > 1:
        what = f"{show(links[0].name)!r} in front of {show(links[1].name)!r}: two inits"
        place, second = links[1].words[0].place, links[1]
    else:
        return
    if second.init is not None and second.init.name == "s6-overlay":
        came = "s6-overlay's /init runs as PID 1 only, and ends the container at once when it is not."
    else:
        came = "Only PID 1 gets the stop signal from outside and the orphans. The second one is a process more, with a second grace period."
    fix = "leave init: true out" if first is not None else "leave one of them out"
    yield Finding("PI204", place, f"{_who(launch)}{what}", came, fix)


def init_not_pid_1(launch: Launch) -> Iterator[Finding]:
    """PI205: in a shared PID namespace an init is not PID 1, and some do not cope."""
    if launch.shared_pids is None:
        return
    link = next((link for link in follow(launch) if link.what is What.INIT), None)
    if link is None or link.init is None or link.init.adopts:
        return
    own = [word.text for word in link.words[1 : link.own]]
    letters = "".join(word[1:] for word in own if re.fullmatch(r"-[a-zA-Z]+", word))
    if link.init.name == "pyinit":
        if link.policy is None or link.policy.subreaper is not False:
            return
        why, fix = "--no-subreaper keeps it from adopting orphans", "leave --no-subreaper (or PYINIT_SUBREAPER) out"
    elif link.init.name == "tini":
        if "s" in letters or "TINI_SUBREAPER" in launch.environment:
            return
        why, fix = "without -s it adopts no orphans", "tini -s --, or pyinit, which notices by itself"
    elif link.init.name in ("s6-overlay", "systemd", "my_init", "runit"):
        why, fix = (
            "it refuses to run, or does not work, unless it is PID 1",
            "leave the shared PID namespace out, or take pyinit",
        )
    else:
        why, fix = (
            "it adopts no orphans then",
            "pyinit, which adopts orphans wherever it runs; or leave the shared PID namespace out",
        )
    yield Finding(
        "PI205",
        launch.shared_pids.place,
        f"{_who(launch)}{show(link.name)!r} is not PID 1 in a shared PID namespace, and {why}",
        "With a shared PID namespace another process is PID 1 (the pause container, or the host's init). Orphans of the program then go "
        "past the init, and nobody ends them when the container stops.",
        fix,
    )


# --- signals and options ---


def stop_signal(launch: Launch) -> Iterator[Finding]:
    """PI301: the signal that is sent to stop it begins no shutdown."""
    said = launch.stop_signal
    if said is None or not said.known:
        return
    number = signals.number_of(said.text)
    name = signals.name_of(number) if number else show(said.text)
    if number is None:
        yield Finding(
            "PI301",
            said.place,
            f"{_who(launch)}{name!r} is no signal",
            "The engine refuses it.",
            "write for example SIGQUIT",
        )
        return
    if number in (signals.KILL, signals.STOP):
        yield Finding(
            "PI301",
            said.place,
            f"{_who(launch)}{name} as the stop signal asks nobody to stop",
            "No program can handle it: everything in the container is killed (or just halted) at once, whatever it was doing.",
            "leave it out (SIGTERM), or name the signal that the program understands",
        )
        return
    link = next((link for link in follow(launch) if link.what is What.INIT), None)
    policy = link.policy if link else None
    if policy is None:
        return
    # pyinit looks at what came first, and drops what is rewritten to nothing
    if signals.in_mask(number, policy.stop_signals) and policy.rewrite[number]:
        return
    listed = [signals.name_of(one)[3:] for one in signals.ALL if signals.in_mask(one, policy.stop_signals)]
    yield Finding(
        "PI301",
        said.place,
        f"{_who(launch)}{name} stops this container, and pyinit's stop signals are {','.join(listed)}",
        "pyinit passes any other signal on to the program and goes on as before: no drain, no grace period, nobody else is asked, and no "
        "line says who held up the stop.",
        f"--stop-signals {name[3:]} (or ENV PYINIT_STOP_SIGNALS={name[3:]})"
        if policy.rewrite[number]
        else f"leave --rewrite {name[3:]}:0 out",
    )


def wrong_options(launch: Launch) -> Iterator[Finding]:
    """PI302: pyinit itself would refuse this command line, with these words."""
    for link in follow(launch):
        if not link.error:
            continue
        yield Finding(
            "PI302",
            _place_of_error(launch, link),
            f"{_who(launch)}pyinit: {link.error}",
            "pyinit ends with status 125 and this line, and the program is never started.",
            "see pyinit --help",
        )


def _place_of_error(launch: Launch, link: Link) -> Place:
    """The variable or the option that the error begins with."""
    written = re.split(r"[ :=;]", link.error.replace("unknown option '", ""), maxsplit=1)[0].rstrip("'")
    if written in launch.environment:
        return launch.environment[written].place
    for word in link.words[1:]:
        if (
            word.text == written
            or word.text.startswith(written + "=")
            or (len(written) == 2 and word.text.startswith(written))
        ):
            return word.place
    return link.words[0].place


# --- how long ---


def _need(launch: Launch) -> tuple[Link, int, int] | None:
    """The pyinit of a launch, its drain and its plan; None where there is none, or where it never escalates."""
    link = next((link for link in follow(launch) if link.what is What.INIT), None)
    policy = link.policy if link else None
    if link is None and not launch.is_whole and any(name.startswith("PYINIT_") for name in launch.environment):
        policy = _by_variables(launch)
        link = Link(What.INIT, "pyinit", (Word("pyinit", launch.place),))
    if link is None or policy is None:
        return None
    plan = options.plan_length(policy.plan)
    return None if options.NEVER in (plan, policy.drain) else (link, policy.drain, plan)


def _by_variables(launch: Launch) -> options.Policy | None:
    """Of an image that is not known but is given pyinit's variables."""
    ours = {name: word for name, word in launch.environment.items() if name.startswith("PYINIT_")}
    if not all(word.known for word in ours.values()):
        return None
    environ = {
        name.encode("utf-8", "surrogatepass"): word.text.encode("utf-8", "surrogatepass") for name, word in ours.items()
    }
    if kubernetes.IN_CLUSTER in launch.environment:
        environ[kubernetes.IN_CLUSTER.encode()] = b"yes"
    try:
        return options.parse([b"program"], environ)
    except options.UsageError:
        return None


def _grace(launch: Launch, rule: str, setting: str, what: str) -> Iterator[Finding]:
    need = _need(launch)
    if need is None or launch.given is None:
        return
    link, drain, plan = need
    hooks = sum(hook.duration for hook in launch.hooks)
    total = hooks + drain + plan + SLACK
    if total <= launch.given:
        return
    parts = [f"preStop {seconds(hooks)}"] if hooks else []
    parts += [f"drain {seconds(drain)}"] if drain else []
    parts += [f"grace {seconds(plan)}", f"{seconds(SLACK)} for the end"]
    least = -(-total // SECOND)
    given = f"{launch.given / SECOND:g} s{'' if launch.given_place else ', the default'}"
    less = launch.given - hooks - drain - SLACK
    shorter = f", or --grace {less // SECOND}s" if less >= SECOND else ""
    here = link.words[0].place if link.words[0].place.path == launch.place.path else launch.place
    yield Finding(
        rule,
        launch.given_place or here,
        f"{_who(launch)}{setting} ({given}) is too short: pyinit takes up to {seconds(total)}, {' + '.join(parts)}",
        f"{what} kills the container before pyinit's plan is over: nobody who still runs is named, and whoever pyinit would "
        "have asked last is never asked.",
        f"{setting}: {f'{least}s' if rule == 'PI402' else least}{shorter}",
    )


def pod_grace(launch: Launch) -> Iterator[Finding]:
    """PI401: terminationGracePeriodSeconds is shorter than preStop + drain + plan."""
    if launch.kind is Kind.KUBERNETES:
        yield from _grace(launch, "PI401", "terminationGracePeriodSeconds", "The kubelet")


def service_grace(launch: Launch) -> Iterator[Finding]:
    """PI402: stop_grace_period is shorter than drain + plan."""
    if launch.kind is Kind.COMPOSE:
        yield from _grace(launch, "PI402", "stop_grace_period", "Compose")


def hook_without_program(launch: Launch, images: Images | None) -> Iterator[Finding]:
    """PI403: a preStop hook that cannot run, as the image says; nothing where the image cannot be asked."""
    if images is None or launch.image is None:
        return
    for hook in launch.hooks:
        if not hook.command or not hook.command[0].known or "$" in hook.command[0].text:
            continue
        program = hook.command[0]
        if images.lacks(launch.image.text, program.text):
            yield Finding(
                "PI403",
                program.place,
                f"{_who(launch)}preStop executes {show(program.text)!r}, which is not in {show(launch.image.text)!r}",
                "The hook fails at once, with an event that few people see, and the stop signal comes without the pause it was to make.",
                "preStop: {sleep: {seconds: 5}} (Kubernetes 1.30), which needs nothing in the image; or pyinit --drain 5s",
            )
