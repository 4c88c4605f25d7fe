"""How a container would stop, and why: a prediction from what /proc shows, without doing anything to anybody. Pure.

The stop signal goes to PID 1 alone. Inits that are known pass it on to those of whom that is known; what any other program does in its
handler shows nowhere, so of its children nothing is said, unless they are its own forks. From there each process ends, stays, or
nobody can tell; and whoever is left when PID 1 leaves, or when the grace period is over, is SIGKILLed.

Rejected: reading a program's code or a shell's script for what its handler does (that is `lint`'s, and only of files); trying it on a
copy (that is `verify`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pyinit.init import options, signals
from pyinit.verify.catalogue import EXEC_FIX, INIT_FIX
from pyinit.verify.reaction import ENDING, HEARING, STAYING, Does, Role, does, foreground, is_shell, role_of, sleeps_for

if TYPE_CHECKING:
    from pyinit.containers.facts import Facts

SCHEMA = "pyinit-explain/1"
"""Of the JSON."""

MANAGERS = ("nginx", "httpd", "apache2", "php-fpm", "postgres", "gunicorn", "haproxy", "uwsgi", "puma", "sshd")
"""Programs that are known to end their own processes before they end themselves, as PID 1 too (see lint.programs)."""

IS_SWEPT = Does.ENDS, Does.HANDLES, Does.FETCHES


class Will(Enum):
    """What is foretold: of a process, and of the whole stop."""

    END = "ends by itself"
    BE_KILLED = "will be SIGKILLed"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Target:
    """The container: what the engine says of it."""

    name: str
    image: str
    stop_signal: int
    grace: float | None
    """Seconds; None: the engine waits for ever."""
    grace_from: str
    """Who says so: `--time`, `StopTimeout`, `the engine's default`."""
    paused: bool = False

    def as_json(self) -> dict[str, Any]:
        """In types that `json` knows."""
        return {**self.__dict__, "stop_signal": signals.name_of(self.stop_signal)}


@dataclass(frozen=True)
class Fate:
    """What is foretold of one process."""

    facts: Facts
    will: Will
    words: str
    """What it does with the signal, or why it gets none; and what comes of that."""
    label: str
    is_asked: bool = False
    """Whether the stop signal, or what an init makes of it, is known to be sent to it."""
    is_guest: bool = False
    """It is an exec session's: started from outside, and nobody's to end."""


@dataclass(frozen=True)
class Prediction:
    """All of it."""

    target: Target
    will: Will
    words: str
    init: str
    """Who is PID 1, in words."""
    fates: tuple[Fate, ...]
    notes: tuple[str, ...]
    advice: tuple[str, ...]

    def held_up_by(self) -> tuple[Fate, ...]:
        """Those who do not end although they are asked; if there are none, PID 1."""
        stay = tuple(fate for fate in self.fates if fate.will is Will.BE_KILLED and fate.is_asked)
        return stay or tuple(fate for fate in self.fates if fate.facts.inside == 1)

    def as_json(self) -> dict[str, Any]:
        """Everything, in types that `json` knows."""
        return {
            "schema": SCHEMA,
            "container": self.target.as_json(),
            "prediction": self.will.name.lower(),
            "words": self.words,
            "init": self.init,
            "notes": list(self.notes),
            "advice": list(self.advice),
            "processes": [
                {
                    "inside": fate.facts.inside,
                    "label": fate.label,
                    "will": fate.will.name.lower(),
                    "words": fate.words,
                    "exec_session": fate.is_guest,
                    "command": list(fate.facts.words),
                    "state": fate.facts.state,
                    "group": fate.facts.group,
                    "session": fate.facts.session,
                    "blocked": [f"{thread.blocked:016x}" for thread in fate.facts.threads],
                    "ignored": f"{fate.facts.ignored:016x}",
                    "caught": f"{fate.facts.caught:016x}",
                    "sleeps_in": fate.facts.threads[0].where if fate.facts.threads else "",
                }
                for fate in self.fates
            ],
        }


@dataclass(frozen=True)
class _Asked:
    """A signal that a process gets. `by`: who sends it; None: the engine."""

    number: int
    by: Facts | None
    continued: bool = False


class _Tree:
    """Everybody, and what they are asked."""

    def __init__(self, everybody: Sequence[Facts], target: Target) -> None:
        self.target = target
        self.first = next(one for one in everybody if one.inside == 1)
        self.by_pid = {one.pid: one for one in everybody}
        self.children: dict[int, list[Facts]] = {}
        for one in everybody:
            self.children.setdefault(one.parent, []).append(one)
        self.members = self.descendants(self.first)
        self.roles = {one.pid: role for one in self.members if (role := role_of(one))}
        self.asked: dict[int, _Asked] = {}
        self._known: dict[int, tuple[Will, str]] = {}
        self._ask(self.first, _Asked(target.stop_signal, None))

    def descendants(self, one: Facts) -> list[Facts]:
        """It and all below it, parents first. Parents in a circle are no end: /proc is read while processes end."""
        found = {one.pid: one}
        queue = [one]
        for each in queue:
            new = [child for child in self.children.get(each.pid, ()) if child.pid not in found]
            found.update((child.pid, child) for child in new)
            queue += new
        return queue

    def main_of(self, init: Facts) -> Facts | None:
        """An init's program: its oldest child. Orphans that it has adopted came later."""
        children = self.children.get(init.pid, [])
        return max(children, key=lambda one: (one.age, -one.inside), default=None)

    def does(self, one: Facts, number: int, *, continued: bool = False) -> Does:
        """What becomes of a signal to it."""
        frozen = self.target.paused
        return does(one, number, self.children.get(one.pid, ()), frozen=frozen, continued=continued)

    def _ask(self, one: Facts, asked: _Asked) -> None:
        """Notes it, and what a known init makes of it."""
        if one.pid in self.asked:
            return
        self.asked[one.pid] = asked
        role, main = self.roles.get(one.pid), self.main_of(one)
        if role is None or main is None or not role.runs_program:
            return
        if self.does(one, asked.number, continued=asked.continued) not in HEARING:
            return
        sent = self._sent(role, asked)
        if not sent:
            return
        scope = role.scope_of(asked.number)
        reached = [main]
        if scope == options.GROUP:
            reached += [other for other in self.descendants(one)[1:] if other.group == main.group and other is not main]
        elif scope == options.TREE:
            reached = self.descendants(one)[1:]
        for other in reached:
            self._ask(other, _Asked(sent, one, continued=role.stops_on(asked.number)))

    def _sent(self, role: Role, asked: _Asked) -> int:
        """What an init sends when it is asked so; 0: nothing while there is time."""
        drain = role.policy.drain / options.SECOND if role.policy is not None and role.stops_on(asked.number) else 0.0
        return 0 if self.target.grace is not None and 0 < self.target.grace <= drain else role.sent(asked.number)

    # --- does it end? ---

    def fate(self, one: Facts) -> tuple[Will, str]:
        """Whether it ends by itself, if everybody has time; and why."""
        if one.pid not in self._known:
            self._known[one.pid] = (Will.UNKNOWN, "")  # for parents in a circle
            self._known[one.pid] = self._fate(one)
        return self._known[one.pid]

    def _fate(self, one: Facts) -> tuple[Will, str]:
        if one.is_zombie:
            return Will.END, "is dead, and not reaped"
        asked = self.asked.get(one.pid)
        if asked is None:
            return self._unasked(one)
        name = signals.name_of(asked.number)
        what = self.does(one, asked.number, continued=asked.continued)
        role = self.roles.get(one.pid)
        if what in HEARING and role is not None:
            return self._init(one, role, asked)
        if what is Does.SHELL:
            return self._trap(one, name)
        if what in ENDING:
            return self._in_time(one, what, asked, name)
        words = f"{name} {what.value}"
        return Will.BE_KILLED if what in STAYING else Will.UNKNOWN, words

    def _in_time(self, one: Facts, what: Does, asked: _Asked, name: str) -> tuple[Will, str]:
        """It ends; unless its init leaves at once because the program beside it has."""
        words = {
            Does.ENDS: f"{name} ends it at once: it has no handler",
            Does.HANDLES: f"has a handler for {name}",
            Does.FETCHES: f"waits for {name} in {'sigwait' if any(t.waits_for for t in one.threads) else 'a signalfd'}",
        }[what]
        role = self.roles.get(asked.by.pid) if asked.by is not None else None
        main = self.main_of(asked.by) if asked.by is not None else None
        if role is None or role.sweeps or main is None or main is one or what is Does.ENDS:
            return Will.END, words
        if self.does(main, asked.number) is Does.ENDS:
            return (
                Will.BE_KILLED,
                f"{words}, but {role.name} leaves as soon as {label(main)} has ended, which is at once",
            )
        if self._looks_after(main, one):
            return Will.END, words
        return (
            Will.UNKNOWN,
            f"{words}; {role.name} leaves as soon as {label(main)} has ended, sooner or later than this",
        )

    def _trap(self, shell: Facts, name: str) -> tuple[Will, str]:
        awaited = foreground(shell, self.children.get(shell.pid, ()))
        who = " and ".join(label(child) for child in awaited)
        words = f"has a trap for {name}, which runs when {who} has ended"
        wills = [self._will_of_awaited(child) for child in awaited]
        if Will.BE_KILLED in wills:
            return Will.BE_KILLED, words
        return Will.UNKNOWN if Will.UNKNOWN in wills else Will.END, words

    def _will_of_awaited(self, one: Facts) -> Will:
        """Of a foreground command. An init that asks it when its own program has ended, asks too late: the shell is in between."""
        if self._over_in_time(one):
            return Will.END
        return Will.BE_KILLED if one.pid not in self.asked and self.is_swept(one) else self.fate(one)[0]

    def _over_in_time(self, one: Facts) -> bool:
        """A `sleep` that ends while there is time."""
        left = sleeps_for(one)
        return left is not None and (self.target.grace is None or left < self.target.grace)

    def _init(self, one: Facts, role: Role, asked: _Asked) -> tuple[Will, str]:
        name, main = signals.name_of(asked.number), self.main_of(one)
        if not role.runs_program:
            return Will.UNKNOWN, f"waits for {name}, and stops its services, whatever they are"
        sent = role.sent(asked.number)
        if not sent:
            return Will.BE_KILLED, f"drops {name}, as it was told to (--rewrite)"
        if main is None:
            return Will.UNKNOWN, f"waits for {name}, and its program is not there"
        to = ("", "'s group", " and all others")[role.scope_of(asked.number)]
        what = "it" if sent == asked.number else signals.name_of(sent)
        words = f"waits for {name}, passes {what} on to {label(main)}{to}"
        if role.stops_on(asked.number) and role.until_kill < float("inf"):
            if self.target.grace is not None and role.until_kill >= self.target.grace:
                return self.fate(main)[0], f"{words}, and would kill only after {role.until_kill:g} s"
            return Will.END, f"{words}, and kills after {role.until_kill:g} s"
        return self.fate(main)[0], words

    def _unasked(self, one: Facts) -> tuple[Will, str]:
        """It gets no signal from anybody of whom that is known."""
        opaque = self._above(one, lambda above: self._is_opaque(above) and not self._is_awaited(above, one))
        if opaque is not None and self._looks_after(opaque, one):
            return Will.END, f"is looked after by {label(opaque)}"
        if self.is_swept(one):
            what = self.does(one, signals.TERM, continued=True)
            if what in STAYING:
                return Will.BE_KILLED, f"is asked when the program has ended, but SIGTERM {what.value}"
            will = Will.END if what in IS_SWEPT else Will.UNKNOWN
            return will, "is asked when the program has ended, by SIGTERM from pyinit"
        parent = self.by_pid.get(one.parent)
        if parent is not None and self._is_awaited(parent, one) and self._over_in_time(one):
            return Will.END, f"ends by itself in {sleeps_for(one):.0f} s"
        if opaque is None:
            return Will.BE_KILLED, f"is not asked by anybody{self._reach(one)}"
        trap = "trap" if is_shell(opaque) else "handler"
        return Will.UNKNOWN, f"whether the {trap} of {label(opaque)} tells it, shows nowhere"

    def is_swept(self, one: Facts) -> bool:
        """Whether an init that has been asked asks it, when its program has ended."""
        sweeper = self._above(one, lambda above: above.pid in self.roles and self.roles[above.pid].sweeps)
        asked = self.asked.get(sweeper.pid) if sweeper is not None else None
        return sweeper is not None and asked is not None and self._sent(self.roles[sweeper.pid], asked) != 0

    def is_taken_to_end(self, one: Facts) -> bool:
        """Whether it ends only if its handler does what handlers are for."""
        asked = self.asked.get(one.pid)
        number, continued = (asked.number, asked.continued) if asked is not None else (signals.TERM, True)
        return one.pid not in self.roles and self.does(one, number, continued=continued) in HEARING | {Does.SHELL}

    def _is_opaque(self, one: Facts) -> bool:
        """Whether it hears, and is a program of which nobody knows what it makes of that."""
        asked = self.asked.get(one.pid)
        if asked is None or (one.pid in self.roles and self.roles[one.pid].runs_program):
            return False
        return self.does(one, asked.number, continued=asked.continued) not in STAYING | {Does.ENDS, Does.GONE}

    def _is_awaited(self, shell: Facts, one: Facts) -> bool:
        """Whether a shell runs its trap only when that process, or the one that it belongs to, has ended: so it tells it nothing."""
        asked = self.asked.get(shell.pid)
        if asked is None or self.does(shell, asked.number, continued=asked.continued) is not Does.SHELL:
            return False
        return any(one in self.descendants(child) for child in foreground(shell, self.children.get(shell.pid, ())))

    def _looks_after(self, program: Facts, one: Facts) -> bool:
        """Whether a process is one of a program's own: a fork of it, or of a program that is known to see to its own."""
        if (program.program or program.name).startswith(MANAGERS) or program.name.startswith(MANAGERS):
            return True
        alike = one.program == program.program and one.words == program.words and one.session == program.session
        return bool(program.program) and alike

    def _above(self, one: Facts, wanted: Callable[[Facts], bool]) -> Facts | None:
        """The nearest ancestor that is."""
        parent, left = self.by_pid.get(one.parent), len(self.by_pid)
        while parent is not None and left:
            if wanted(parent):
                return parent
            parent, left = self.by_pid.get(parent.parent), left - 1
        return None

    def _reach(self, one: Facts) -> str:
        """Why a signal to a process group does not reach it; empty where none is sent to one."""
        init = self._above(one, lambda above: above.pid in self.roles)
        if init is None:
            return ""
        role, main = self.roles[init.pid], self.main_of(init)
        if main is None or role.scope != options.GROUP or one.group == main.group:
            return f": {role.name} passes the signal on to {label(main)} alone" if main and role.scope == 0 else ""
        kind = "session" if one.session != main.session else "process group"
        return f": it has a {kind} of its own, which the signal to the group of {label(main)} does not reach"


def label(one: Facts) -> str:
    """`7 python3 server.py`: its number, and the name that a person knows it by."""
    name = one.name
    if one.name.startswith(("python", "node", "ruby", "perl", "php", "java")) or is_shell(one):
        for word in one.words[1:]:
            if word == "-c":
                break
            if not word.startswith("-"):
                name = f"{one.name} {word.rpartition('/')[2][:40]}"
                break
    return f"{one.inside} {name.strip()}"


def explain(everybody: Sequence[Facts], target: Target) -> Prediction:
    """The prediction. `everybody` are those in the container's PID namespace, PID 1 among them."""
    tree = _Tree(everybody, target)
    first_will, _ = tree.fate(tree.first)
    fates = [Fate(one, *tree.fate(one), label(one), one.pid in tree.asked) for one in tree.members]
    inside = {one.pid for one in tree.members}
    fates += [
        Fate(one, Will.BE_KILLED, "is an exec session's: nobody asks it, it ends with the container", label(one), is_guest=True)
        for one in everybody
        if one.pid not in inside
    ]  # fmt: skip
    name = signals.name_of(target.stop_signal)
    mine = [fate for fate in fates if not fate.is_guest]
    if target.grace == 0:
        will, words = Will.BE_KILLED, "everybody is SIGKILLed at once: the grace period is 0"
    elif first_will is Will.BE_KILLED:
        end = f"is over after {target.grace or 0:g} s"
        others = {1: "", 2: ", and the other one goes with it"}.get(
            len(mine), f", and the other {len(mine) - 1} go with it"
        )
        will = Will.BE_KILLED
        words = f"PID 1 does not end on {name}; when the grace period {end}, the engine SIGKILLs it{others}"
        if target.grace is None:
            words = f"PID 1 does not end on {name}, and the engine waits for ever"
    else:
        will, words = _whole(tree, mine, first_will, name)
    ordered = tuple(sorted(fates, key=lambda fate: (fate.is_guest, fate.facts.inside)))
    return Prediction(target, will, words, _who(tree), ordered, tuple(_notes(tree)), tuple(_advice(tree, mine, will)))


def _whole(tree: _Tree, mine: Sequence[Fate], first: Will, name: str) -> tuple[Will, str]:
    killed = [fate for fate in mine if fate.will is Will.BE_KILLED]
    unknown = [fate for fate in mine if fate.will is Will.UNKNOWN]
    role = tree.roles.get(tree.first.pid)
    if killed:
        by = f"by {role.name}" if role is not None and role.sweeps else "by the kernel, as PID 1 leaves"
        return Will.BE_KILLED, f"PID 1 ends, and {len(killed)} of {len(mine)} are SIGKILLed {by}: {_listed(killed)}"
    if first is Will.UNKNOWN:
        return Will.UNKNOWN, f"it cannot be told whether PID 1 ends on {name}: {_listed(unknown)}"
    if unknown:
        return Will.UNKNOWN, f"PID 1 ends on {name}; what becomes of {_listed(unknown)}, cannot be told"
    if not any(tree.is_taken_to_end(fate.facts) for fate in mine):
        return Will.END, f"all {len(mine)} end by themselves on {name}, and nobody is SIGKILLed"
    grace = "" if tree.target.grace is None else f" within {tree.target.grace:g} s"
    return Will.END, f"it ends by itself on {name}, and nobody is SIGKILLed, if handlers do end their programs{grace}"


def _listed(fates: Sequence[Fate], most: int = 4) -> str:
    shown = ", ".join(fate.label for fate in fates[:most])
    return shown + (f" and {len(fates) - most} more" if len(fates) > most else "")


def _who(tree: _Tree) -> str:
    """Who is PID 1."""
    first = tree.first
    role = tree.roles.get(first.pid)
    if role is None:
        return f"the shell {first.name}" if is_shell(first) else first.name
    if not role.runs_program:
        return f"{role.name}, which manages services"
    scope = ("to its program alone", "to its program's process group", "to everybody")[role.scope]
    asks = ", asks whoever is left" if role.sweeps else ""
    rest = ""
    if role.policy is not None:
        rest = ", never kills" if role.until_kill == float("inf") else f", kills after {role.until_kill:g} s"
        others = [number for number in signals.ALL if role.stops_on(number)]
        rest += f", stops on {' '.join(signals.name_of(number).removeprefix('SIG') for number in others)}"
    return f"the init {role.name}: passes signals on {scope}{asks}{rest}"


def _notes(tree: _Tree) -> Sequence[str]:
    found = []
    zombies = [one for one in tree.members if one.is_zombie]
    for parent in sorted({one.parent for one in zombies}):
        number = sum(one.parent == parent for one in zombies)
        what = f"{number} zombies" if number > 1 else "a zombie"
        found.append(f"{what} that {label(tree.by_pid[parent])} does not reap")
    if any(one.unread for one in tree.members):
        found.append("what some wait for could not be read: the observer lacks the capability SYS_PTRACE")
    if tree.target.paused:
        found.append("it is paused: the stop has it go on first")
    return found


def _advice(tree: _Tree, mine: Sequence[Fate], will: Will) -> Sequence[str]:
    """What to change."""
    found: list[str] = []
    if tree.target.grace == 0:
        return ["give it time: docker stop --time 10, or StopTimeout"]
    if will is Will.END:
        zombies = any(one.is_zombie and one.parent == tree.first.pid for one in tree.members)
        return [INIT_FIX + ", which reaps"] if zombies else []
    for fate in mine:
        one, asked = fate.facts, tree.asked.get(fate.facts.pid)
        if asked is not None and tree.does(one, asked.number) is Does.RAISES:
            found.append(f"{INIT_FIX}, unless the program itself handles {signals.name_of(asked.number)}")
        if fate.will is not Will.BE_KILLED:
            continue
        if asked is None and tree.is_swept(one):
            asked = _Asked(signals.TERM, None, continued=True)
        if asked is None:
            found += _advice_on_unasked(tree, one)
            continue
        found += _advice_on(tree, one, asked, fate)
    if will is Will.UNKNOWN:
        found.append(
            f"see what it does: pyinitctl stop --container {tree.target.name}, or pyinitctl verify {tree.target.image}"
        )
    return list(dict.fromkeys(found))


def _advice_on_unasked(tree: _Tree, one: Facts) -> Sequence[str]:
    """There is something to say where PID 1 leaves it behind; otherwise it is PID 1 whom the advice is about."""
    role = tree.roles.get(tree.first.pid)
    if role is None or tree.fate(tree.first)[0] is Will.BE_KILLED:
        return []
    exec_fix = f"{EXEC_FIX}; or " if is_shell(tree.by_pid.get(one.parent, one)) else ""
    return [f'{exec_fix}take an init that asks everybody before it leaves: ENTRYPOINT ["pyinit", "--"]']


def _advice_on(tree: _Tree, one: Facts, asked: _Asked, fate: Fate) -> Sequence[str]:
    name = signals.name_of(asked.number)
    what = tree.does(one, asked.number, continued=asked.continued)
    if what is Does.DROPPED:
        shell = is_shell(one) and tree.children.get(one.pid)
        fix = f"{EXEC_FIX}; or {INIT_FIX}" if shell else f"{INIT_FIX}; or handle {name} in the program"
        heard = [n for n in (signals.TERM, signals.INT, signals.QUIT, 10) if signals.in_mask(n, one.caught)]
        if heard and not shell:
            fix += f"; or STOPSIGNAL {signals.name_of(heard[0])}, for which it has a handler"
        return [fix]
    if what is Does.SHELL:
        return [
            f'have {label(one)} run its command in the background and wait for it (program & wait "$!"); or {EXEC_FIX}'
        ]
    if what is Does.STOPPED:
        return [f"continue {label(one)}: kill -CONT; or {INIT_FIX}, which does so at a stop"]
    texts = {
        Does.IGNORES: f"find out who has {label(one)} ignore {name} (trap '' in a shell, nohup, SIG_IGN), and handle it; "
        "or set a STOPSIGNAL that it handles",
        Does.BLOCKS: f"have {label(one)} unblock {name}, or wait for it: blocked signals are inherited by exec",
        Does.NOTHING: f"have {label(one)} handle {name}, or set another STOPSIGNAL",
        Does.STOPS: "set a STOPSIGNAL that ends a program",
        Does.INTERACTIVE: "an interactive shell is left by exit, or give it an init: docker run --init",
    }
    if what in texts:
        return [texts[what]]
    if "leaves as soon as" in fate.words:
        return ['take an init that waits for everybody: ENTRYPOINT ["pyinit", "--"]']
    if "--rewrite" in fate.words:
        return [f"leave out what drops {name}, or set a STOPSIGNAL that is not dropped"]
    if "would kill only after" in fate.words:
        return [
            "give it less: --drain and --grace are to fit into the engine's grace period; or give it more: docker stop --time"
        ]
    return []
