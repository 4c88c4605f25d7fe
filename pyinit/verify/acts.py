"""The acts: each starts a fresh container, makes it ready, does one thing to it, and writes down what happened. None judges.

To add one: a function `Stage -> Act`, a row in ACTS, and checks in the catalogue that judge it.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyinit.containers import timeline
from pyinit.containers.account import How
from pyinit.containers.engine import EndedError, EngineError
from pyinit.containers.remote import LostError, ObserverError
from pyinit.init import signals
from pyinit.verify.evidence import Act, Case, Gap, Ready, Stop
from pyinit.verify.ready import NotReadyError, Readiness
from pyinit.verify.subject import Subject, has_own_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyinit.containers.engine import Container, Engine
    from pyinit.containers.remote import Agent, Seen, Watch

OPENSHIFT_USER = "54321:0"
"""A user that no image knows, in the group root, as OpenShift runs containers. Its own are above 1,000,000,000, which engines that remap
users (userns-remap, rootless: 65,536 of them) cannot give."""

EARLY = (0.0, 0.005, 0.05, 0.2)
"""Seconds after the start at which a stop signal is tried."""

UNSEEN = ("ValueError", "PermissionError", "ProcessLookupError", "FileNotFoundError")
"""What the observer raises for one that cannot be watched: its PID 1 is none (the namespace is shared, the kernel its own), it may not
be read, or it has ended, which the readiness tells with its last words."""

MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""What images call a machine that the kernel calls otherwise."""

PATIENCE = 5.0
"""How many times as long a container gets that seemed settled and did not stop."""

REAP_WITHIN = 2.0
"""Seconds within which an orphan is to be reaped."""

KNOWN_WITHIN = 0.5
"""Seconds within which the engine surely knows of PID 1's end."""

HELPED_WITHIN = 60.0
"""Seconds within which what is put beside a container does what it is to do."""

SEEN_WITHIN = 5.0
"""Seconds within which an observer shows who is there: where nobody tells it of births it looks once a second."""

END_WITHIN = 30.0
"""Seconds that the engine may take, after its own SIGKILL, to say that a container is gone."""


WINCH = signals.number_of("WINCH")

NEAR_DEADLINE = 0.95
"""The share of the grace period after which a SIGKILL to PID 1 is the engine's."""


@dataclass(frozen=True)
class Stage:
    """What an act needs."""

    engine: Engine
    agent: Agent | None
    """None: nothing can be watched, and only outcomes are known."""
    subject: Subject
    readiness: Readiness
    options: Mapping[str, Any] = field(default_factory=dict)
    plain: Stop | None = None
    """The stop of the container as it is, once there is one."""

    def case(self, acts: Mapping[str, Act]) -> Case:
        """What the judges get."""
        return Case(self.subject.image, self.options, acts)


@dataclass(frozen=True)
class Started:
    """A container that is ready."""

    container: Container
    watch: Watch | None
    ready: Ready


class ImpossibleError(Exception):
    """The act cannot be done; the message says why, and `gap` of which kind that is."""

    gap = Gap.FAILED


class NeedError(ImpossibleError):
    """What the act needs is not to be had for such a container at all: nothing has failed."""

    gap = Gap.ABSENT


class NotUpError(ImpossibleError):
    """The container did not start, or did not become ready."""

    gap = Gap.NOT_READY


@contextmanager
def started(stage: Stage, *, until_ready: bool = True, **more: Any) -> Iterator[Started]:  # noqa: ANN401 - docker-py's options
    """A fresh container, watched and ready; it is removed afterwards. Raises ImpossibleError."""
    with ExitStack() as undo:
        try:
            container = stage.subject.create(stage.engine, **more)
        except EngineError as error:
            raise ImpossibleError(str(error)) from None
        undo.callback(container.remove)
        try:
            container.start()
            watch = _watch(stage, container)
            if watch is not None:
                undo.enter_context(watch)
            ready = Ready("", 0.0)
            if until_ready:
                ready = stage.readiness.wait(stage.subject.image, container, watch)
        except (EngineError, NotReadyError) as error:
            raise NotUpError(f"{error}{_foreign(stage, str(error))}") from None
        yield Started(container, watch, ready)


def _foreign(stage: Stage, words: str) -> str:
    """What to do where a kernel does not know the program."""
    if "exec format error" not in words:
        return ""
    platform, machine = stage.subject.image.platform, str(stage.engine.info.get("Architecture", "?"))
    if platform.partition("/")[2] == MACHINES.get(machine, machine):
        return ". It is a script without a first line #!, or was built for another kind of machine than its image says"
    return (
        f". The image is for {platform}, and the engine's machine is {machine}: build or pull it for that (--platform)"
    )


def _watch(stage: Stage, container: Container) -> Watch | None:
    if stage.agent is None or has_own_kernel(container.attributes["HostConfig"].get("Runtime") or ""):
        return None
    try:
        return stage.agent.watch(container.pid)
    except LostError as error:
        raise ImpossibleError(str(error)) from None
    except EndedError:
        return None  # the readiness says with which words
    except ObserverError as error:
        if error.kind in UNSEEN:
            return None
        raise ImpossibleError(f"the observer failed: {error}") from None


def reproduce(stage: Stage, then: str, **more: object) -> str:
    """Shell commands that do the same."""
    return f"{stage.subject.command_line(**more)} &\n{then}"


# --- stopping ---


def stop_it(stage: Stage, target: Started, then: Callable[[], None] | None = None) -> Stop:
    """`docker stop`, and everything about it. `then` is done right after the stop signal has been sent."""
    container, watch, grace = target.container, target.watch, stage.subject.grace
    before: tuple[Seen, ...] = watch.look() if watch else ()
    began = stage.agent.now() if watch and stage.agent else time.monotonic()
    mine = time.monotonic()
    if then is None:
        container.stop(grace)
    else:
        container.kill(stage.subject.image.stop_signal)
        then()
        if container.wait(max(0.1, grace - (time.monotonic() - mine))) is None:
            container.kill("KILL")
    seconds = time.monotonic() - mine
    status = container.wait(END_WITHIN)
    if status is None:
        raise ImpossibleError(f"the engine did not end the container within {END_WITHIN:g} s of its own SIGKILL")
    state = container.state
    logs = container.logs()
    stop = Stop(
        grace,
        seconds,
        status,
        forced=False,
        logs=logs,
        before=before,
        oom=bool(state.get("OOMKilled")),
        ready=target.ready,
    )
    if watch is None:
        return replace(stop, forced=status == 128 + signals.KILL and seconds >= NEAR_DEADLINE * grace)
    return witnessed(stop, watch, stage.subject.image.name, stage.subject.image.stop_signal, began)


def witnessed(stop: Stop, watch: Watch, title: str, number: int, began: float) -> Stop:
    """The same with what the observer saw of it: a stop by signal `number` that began then, and is over."""
    watch.wait(END_WITHIN)
    account = replace(watch.account(), deadline=began + NEAR_DEADLINE * stop.grace).with_exit_status(stop.status)
    shown = timeline.of(account, title, stop_signal=number, stopped=began, outside="the engine", grace=stop.grace)
    first = next(bar for bar in shown.bars if bar.inside == 1)
    how = account.how(account.init)
    return replace(
        stop,
        seconds=first.ended if first.ended is not None else stop.seconds,
        forced=how is How.KILLED_FROM_OUTSIDE,
        account=account,
        timeline=shown,
    )


def stop(stage: Stage) -> Act:
    """The container as it is: started, ready, `docker stop`."""
    with started(stage) as target:
        return Act("stop", reproduce(stage, f"docker stop -t {stage.subject.grace} c"), stop=stop_it(stage, target))


def patient(stage: Stage) -> Act:
    """The same after five times as long: for one that had seemed settled and did not stop."""
    readiness = replace(stage.readiness, patience=PATIENCE)
    return replace(stop(replace(stage, readiness=readiness)), name="patient")


def straight(stage: Stage) -> Act:
    """After a forced stop: in a fresh container, the stop signal straight to each who was left. Who ends now had never got it."""
    plain = stage.plain
    if plain is None or not plain.forced or plain.account is None:
        raise ImpossibleError("the stop was not forced")
    names = {(process.name, process.command) for process in plain.killed if not process.is_init}
    with started(stage) as target:
        if target.watch is None:
            raise ImpossibleError("nothing of it can be seen")
        asked = [seen for seen in target.watch.look() if (seen.name, seen.command) in names and seen.inside != 1]
        for seen in reversed(asked):  # children first: who ends its children with it would hide their answer
            target.watch.signal(seen, stage.subject.image.stop_signal)
        left = until(lambda: not _living(target.watch, asked), min(3.0, stage.subject.grace))
        still = _living(target.watch, asked) if not left else []
        return Act(
            "straight",
            reproduce(stage, f"docker exec c kill -{signals.name_of(stage.subject.image.stop_signal)[3:]} PID"),
            seen={
                # by name and command line: how PIDs are numbered depends on how many threads the runtime had
                "asked": [(seen.name, seen.command) for seen in asked],
                "went_on": [(seen.name, seen.command) for seen in still],
            },
        )


def twice(stage: Stage) -> Act:
    """A second stop signal while the first is still being acted upon."""
    with started(stage) as target:
        sent: list[bool] = []
        at: list[float] = []

        def again() -> None:
            # the second must find it at work: as soon as the first has been heard, not in the same instant
            until(lambda: not target.container.running, min(0.2, (stage.plain.seconds if stage.plain else 0.4) / 2))
            at.append(stage.agent.now() if stage.agent else 0.0)
            sent.append(target.container.kill(stage.subject.image.stop_signal))

        seen = stop_it(stage, target, again)
        ended = seen.account.init.ended if seen.account else None
        # an engine takes the signal also for one whose end it has not heard of yet
        in_time = bool(sent and sent[0]) and (ended is None or ended > at[0])
        name = signals.name_of(stage.subject.image.stop_signal)[3:]
        return Act(
            "twice",
            reproduce(stage, f"docker kill -s {name} c; docker kill -s {name} c"),
            stop=seen,
            seen={"sent": in_time},
        )


def at_once(stage: Stage) -> Act:
    """`docker stop -t 0`: no grace at all."""
    with started(stage) as target:
        began = time.monotonic()
        target.container.stop(0)
        return Act("at_once", reproduce(stage, "docker stop -t 0 c"), seen={"seconds": time.monotonic() - began})


def early(stage: Stage) -> Act:
    """The stop signal right after the start, while nobody may be listening yet."""
    patience = (stage.plain.seconds if stage.plain else 1.0) * 1.5 + 2.0
    rounds = 10 if stage.options.get("thorough") else 2
    lost: dict[float, int] = {}
    for delay in EARLY:
        lost[delay] = 0
        for _ in range(rounds):
            with started(stage, until_ready=False) as target:
                time.sleep(delay)  # the delay is what is measured
                target.container.kill(stage.subject.image.stop_signal)
                lost[delay] += target.container.wait(patience) is None
    name = signals.name_of(stage.subject.image.stop_signal)[3:]
    return Act(
        "early",
        reproduce(stage, f"docker kill -s {name} c"),
        seen={"lost": lost, "rounds": rounds, "patience": patience},
    )


def openshift(stage: Stage) -> Act:
    """As a user whom the image does not know."""
    with started(stage, user=OPENSHIFT_USER) as target:
        return Act(
            "openshift",
            reproduce(stage, f"docker stop -t {stage.subject.grace} c", user=OPENSHIFT_USER),
            stop=stop_it(stage, target),
        )


def readonly(stage: Stage) -> Act:
    """With a read-only root, without capabilities and without new privileges."""
    more: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
    with started(stage, **more) as target:
        return Act(
            "readonly",
            reproduce(stage, f"docker stop -t {stage.subject.grace} c", **more),
            stop=stop_it(stage, target),
        )


def resized(stage: Stage) -> Act:
    """On a terminal whose size changes."""
    with started(stage, tty=True, stdin_open=True) as target:
        for rows in (50, 40, 24):
            if not target.container.resize(rows, 100):
                break
        ended = until(lambda: not target.container.running, 2.0)
        account = target.watch.account() if target.watch is not None else None
        unheard = (
            account is not None
            and account.source == "trace"
            and not any(one.number == WINCH for process in account.processes for one in process.signals)
        )
        return Act(
            "resized",
            reproduce(stage, "# then change the size of its terminal", tty=True),
            seen={"ended": ended, "unheard": unheard, "status": target.container.state["ExitCode"]},
        )


# --- what is put in from outside ---


def orphans(stage: Stage) -> Act:
    """Orphans of ours, and those that the image's own health check leaves."""
    wanted = 1000 if stage.options.get("thorough") else 50
    with started(stage) as target:
        watch = _injectable(target)
        before = watch.look()
        adopter = next((seen for seen in before if seen.inside == 1), None)
        if adopter is None:
            raise ImpossibleError("its PID 1 could not be looked at")
        injected: Mapping[str, Any] = {}
        try:
            injected = helper(stage, target, "orphans", str(wanted))
        except ImpossibleError:
            if target.container.wait(REAP_WITHIN) is None:
                raise  # else it went with PID 1
        until(lambda: not _new(watch, before), REAP_WITHIN)
        left = unreaped(watch, adopter.pid)
        new = _without(left, before)
        between = watch.look()
        check = stage.subject.image.healthcheck
        runs = [target.container.execute(check)[0] for _ in range(10)] if check else []
        until(lambda: not check or not _new(watch, between), REAP_WITHIN)
        of_check = _without(unreaped(watch, adopter.pid), between) if check else ()
        ended = target.container.wait(KNOWN_WITHIN)
        if ended is None and not watch.look():
            raise ImpossibleError("its processes could no longer be looked at")
        return Act(
            "orphans",
            reproduce(stage, "docker exec c sh -c 'sleep 0.1 & exit'; docker top c -eo pid,ppid,stat,comm"),
            seen={
                "ended": ended,
                "injected": injected.get("orphans", 0),
                "zombies": new,
                "own": tuple(one for one in left if one not in new),
                "health": runs,
                "health_zombies": of_check,
                "adopter": adopter,
                "left_orphan": _left_orphan(watch),
            },
        )


def inside(stage: Stage) -> Act:
    """SIGKILL and SIGSTOP to PID 1 from within its namespace."""
    with started(stage) as target:
        _injectable(target)
        effects = {}
        for name, number in (("SIGKILL", signals.KILL), ("SIGSTOP", signals.STOP)):
            helper(stage, target, "inside", str(number))
            state = target.container.state
            effects[name] = "ended it" if not state["Running"] else "no effect"
        return Act("inside", reproduce(stage, "docker exec c kill -KILL 1"), seen={"effects": effects})


def hung(stage: Stage) -> Act:
    """A stop while somebody from outside is in there, stopped, as a `docker exec` that hangs."""
    with started(stage) as target, ExitStack() as undo:
        watch = _injectable(target)
        put_in = _helper_container(stage, target, "loiter")
        undo.callback(put_in.remove)
        put_in.start()
        hangs = _answer(put_in, watch)["pid"]
        if not until(lambda: any(seen.inside == hangs and seen.state == "T" for seen in watch.look()), SEEN_WITHIN):
            raise ImpossibleError("what was put beside it did not stop")
        return Act(
            "hung",
            reproduce(stage, "docker exec c sh -c 'kill -STOP $$' & docker stop c"),
            stop=stop_it(stage, target),
        )


def request(stage: Stage) -> Act:
    """A request that is under way when the stop comes (`--request URL`)."""
    url = stage.options.get("request")
    if not url:
        raise ImpossibleError("no --request URL was given")
    host, port, path = url
    with started(stage) as target, ExitStack() as undo:
        client = _helper_container(
            stage, target, "request", host, str(port), path, str(stage.subject.grace), network=True
        )
        undo.callback(client.remove)
        client.start()
        if not until(lambda: '"sent"' in client.logs(), 10.0):
            raise ImpossibleError(f"nobody answers at {host}:{port} in the container: {client.logs().strip()}")
        seen = stop_it(stage, target)
        client.wait(10)
        answers = _answers(client)
        asked = _asked(seen, stage.subject.image.stop_signal)
        return Act(
            "request",
            reproduce(stage, f"curl http://{host}:{port}{path} & docker stop -t {stage.subject.grace} c"),
            stop=seen,
            seen={
                "early": bool(answers) and answers[-1].get("ended", asked) < asked,
                **(answers[-1] if answers else {}),
            },
        )


def _asked(stop: Stop, number: int) -> float:
    """When the stop signal came, on the account's clock; where no signals are seen, when the engine was told to send it."""
    if stop.account is None:
        return 0.0
    heard = (one.time for one in stop.account.init.signals if one.number == number and one.time >= stop.began)
    return min(heard, default=stop.began)


def helper(stage: Stage, target: Started, word: str, *arguments: str) -> Mapping[str, Any]:
    """Runs one helper in the target's PID namespace; what it printed. Raises ImpossibleError when it was not where it should be."""
    watch = _injectable(target)
    container = _helper_container(stage, target, word, *arguments)
    try:
        container.start()
        return _answer(container, watch)
    except EngineError as error:
        raise _refused(target, error) from None
    finally:
        container.remove()


def _answer(container: Container, watch: Watch) -> Mapping[str, Any]:
    """What a helper says that is in the target's PID namespace, and is seen there."""
    until(lambda: _answers(container) or not container.running, HELPED_WITHIN)
    answers = _answers(container)
    if not answers:
        raise ImpossibleError("what was put beside it said nothing")
    answer = answers[-1]
    if answer.get("elsewhere"):
        raise NeedError(f"what was put beside it did not find itself in its PID namespace, and did nothing: {answer}")
    must_see(watch, int(answer["pid"]))
    return answer


def _answers(container: Container) -> list[Mapping[str, Any]]:
    """What a helper has said so far."""
    return [json.loads(line) for line in container.logs().splitlines() if line.startswith("{")]


def must_see(watch: Watch, inside: int) -> None:
    """That the observer shows one of ours who is surely there, by its number inside: else nothing that it does not show is evidence.

    Raises ImpossibleError.
    """

    def seen() -> bool:
        return any(one.inside == inside for one in watch.look()) and any(
            one.inside == inside for one in watch.account().processes
        )

    if not until(seen, SEEN_WITHIN):
        raise ImpossibleError(
            f"the observer did not show a process of ours that was there ({inside}): what else it did not show is not known"
        )


def _helper_container(stage: Stage, target: Started, word: str, *arguments: str, network: bool = False) -> Container:
    if stage.agent is None or target.watch is None:
        raise NeedError("nothing of it can be seen, so nothing is put beside it")
    shared = f"container:{target.container.id}"
    where: dict[str, Any] = {"network_mode": shared} if network else {"pid_mode": shared, "network_mode": "none"}
    try:
        return stage.engine.held(
            stage.agent.image,
            [word, str(target.watch.namespace), *arguments],
            entrypoint=stage.agent.command,
            user="0:0",
            **where,
        )
    except EngineError as error:
        raise _refused(target, error) from None


def _refused(target: Started, error: EngineError) -> ImpossibleError:
    """Beside a container with users of its own (podman's `userns = "auto"`) nothing can be put: no failure, as any other refusal is."""
    users = target.container.attributes["HostConfig"].get("UsernsMode")
    kind = NeedError if users not in (None, "", "host") else ImpossibleError
    return kind(f"nothing can be put beside it: {error}")


def _injectable(target: Started) -> Watch:
    if target.watch is None:
        raise NeedError("its runtime has a kernel of its own, or its namespace is shared: nothing is put into it")
    return target.watch


def _new(watch: Watch, before: tuple[Seen, ...]) -> bool:
    """Whether anybody is there who was not, dead or alive: an orphan that has not ended yet is no zombie yet."""
    known = {(seen.pid, seen.born) for seen in before}
    return any((seen.pid, seen.born) not in known for seen in watch.look())


def unreaped(watch: Watch, parent: int | None = None) -> tuple[Seen, ...]:
    """Zombies that nobody has reaped for REAP_WITHIN: each is one for a moment, until its parent has heard of it.

    Only the children of `parent`, where it is given: the others are not its to reap.
    """
    first = {(seen.pid, seen.born) for seen in watch.look() if seen.is_zombie and parent in (None, seen.parent)}

    def left() -> tuple[Seen, ...]:
        return tuple(seen for seen in watch.look() if seen.is_zombie and (seen.pid, seen.born) in first)

    until(lambda: not left(), REAP_WITHIN)
    return left()


def _without(zombies: tuple[Seen, ...], known: tuple[Seen, ...]) -> tuple[Seen, ...]:
    """Those who were no zombies yet."""
    then = {(seen.pid, seen.born) for seen in known if seen.is_zombie}
    return tuple(seen for seen in zombies if (seen.pid, seen.born) not in then)


def _left_orphan(watch: Watch) -> bool:
    """Whether PID 1 has adopted somebody of the image's own: a child of another member, whose parent has ended."""
    account = watch.account()
    init = account.init
    own = {init.pid}
    for process in account.processes:
        if process.parent in own:
            own.add(process.pid)
    return any(
        seen.parent == init.pid and process.parent not in (init.pid, None) and process.pid in own
        for seen in watch.look()
        for process in account.processes
        if process.pid == seen.pid
    )


def _living(watch: Watch | None, those: list[Seen]) -> list[Seen]:
    now = {(seen.pid, seen.born) for seen in watch.look() if not seen.is_zombie} if watch else set()
    return [seen for seen in those if (seen.pid, seen.born) in now]


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether a condition came true within so many seconds. It is asked: /proc and the engine tell nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


ACTS: Mapping[str, Callable[[Stage], Act]] = {
    "stop": stop,
    "patient": patient,
    "straight": straight,
    "orphans": orphans,
    "twice": twice,
    "openshift": openshift,
    "readonly": readonly,
    "early": early,
    "inside": inside,
    "hung": hung,
    "resized": resized,
    "request": request,
    "at_once": at_once,
}
"""By name, in the order in which they are begun: the longest first."""


def perform(stage: Stage, name: str, table: Mapping[str, Callable[[Stage], Act]] = ACTS) -> Act:
    """Does one act of a table. What makes it impossible is in the evidence."""
    began = time.monotonic()
    try:
        act = table[name](stage)
    except ImpossibleError as error:
        act = Act(name, impossible=str(error), gap=error.gap)
    except (EngineError, ObserverError) as error:
        act = Act(name, impossible=str(error), gap=Gap.FAILED)
    return replace(act, seconds=time.monotonic() - began)
