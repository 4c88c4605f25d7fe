"""The acts that judge an init: each starts it in a fresh container with our probe under it, does one thing, and writes down what happened.

To add one: a function `Stage -> Act`, a row in ACTS, a word of `probe` where none fits, and checks in `inits` that judge it.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.containers import image
from pyinit.containers.engine import EngineError, address, is_here
from pyinit.containers.remote import with_source
from pyinit.init import signals
from pyinit.verify.acts import (
    REAP_WITHIN,
    ImpossibleError,
    NotUpError,
    Stage,
    Started,
    must_see,
    started,
    stop_it,
    unreaped,
    until,
)
from pyinit.verify.evidence import Act, Image
from pyinit.verify.ready import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyinit.containers.engine import Container, Engine
    from pyinit.containers.remote import Agent, Seen, Watch

HEARD_WITHIN = 1.0
"""Seconds that a signal may take to count as forwarded at all."""

SETTLED_AFTER = 0.3
"""Seconds in which a signal that is forwarded twice comes again."""

LATE = 0.1
"""Seconds after which a forwarded signal is late."""

AT_ONCE = 1.0
"""Seconds within which a program that cannot be started is to be told of."""

ATTEMPTS = 3
"""How often what was late is done again: the machine may have been busy."""

END_WITHIN = 30.0
"""Seconds that an init gets to follow a program that has ended."""

MADE_WITHIN = 120.0
"""Seconds that a program gets to make its orphans, 2,000 of them on a busy machine."""

NEED = 0.8
"""The share of the grace period that a slow program needs."""

FLUSH = 1.0
"""Seconds that a worker still needs when the program has ended."""

NO_INIT = "no init"
"""The option that says that the program is PID 1 itself."""

INIT = "/init"
"""Where the init lies in the container."""

INIT_LIBRARIES = "/init-lib"

FORWARDED = ("CONT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "TERM")
"""One after the other in one container; SIGTERM last, for it may begin a shutdown, and SIGCONT first, so that a second copy of it comes
before the one that may go with SIGTERM (see `unasked`). SIGINT has a container of its own."""

STOPS = ("TERM", "INT")

REAL_TIME = ("RTMIN+3", "RTMAX")

CODES = (0, 1, 2, 42, 125, 126, 127, 128, 255)
KEYS = (("INT", b"\x03"), ("QUIT", b"\x1c"), ("TSTP", b"\x1a"))
"""What a terminal makes of Ctrl-C, Ctrl-\\ and Ctrl-Z."""

TYPED = "typed\n"

TYPED_WITHIN = 5.0
"""Seconds that what is typed may take to count as arrived."""

MEMORY = 192
"""Megabytes that a program may have which wants three times as many: enough for any init beside it."""

ORDINARY_USER = "1000"

NEW_CALLS = (
    "rseq", "pidfd_send_signal", "pidfd_open", "clone3", "close_range", "openat2", "pidfd_getfd", "faccessat2", "process_madvise",
    "epoll_pwait2", "futex_waitv", "cachestat", "fchmodat2",
)  # fmt: skip
"""System calls since Linux 4.18 that the seccomp profiles of engines of that time do not list, and hence refuse with EPERM, not ENOSYS."""

DEATHS = (("TERM", 15), ("INT", 2), ("SEGV", 11), ("ABRT", 6), ("KILL", 9))


@dataclass(frozen=True)
class Init:
    """An init, and how it comes into a container. Without words: nothing at all, the program is PID 1."""

    words: tuple[str, ...]
    """The program, a path here or, with `image`, there, and its arguments."""
    image: str = ""
    """An image that has it, and Python 3.11 or newer; empty: it is a file here, and mounted."""
    mounts: Mapping[str, str] = field(default_factory=dict)
    """More files that it needs: paths here, and where they lie in the container."""
    name: str = ""

    @property
    def title(self) -> str:
        """How it is called."""
        return self.name or shlex.join(self.words) or "no init"

    @property
    def inside(self) -> tuple[str, ...]:
        """The words in the container."""
        return self.words if self.image or not self.words else (INIT, *self.words[1:])

    def volumes(self) -> dict[str, dict[str, str]]:
        """What is mounted, read-only, as docker-py takes it. Raises ImpossibleError when it is no file that can be run."""
        found = {os.path.realpath(here): {"bind": there, "mode": "ro"} for here, there in self.mounts.items()}
        if self.image or not self.words:
            return found
        if not is_here():  # it would make empty folders of these names, there
            raise ImpossibleError(
                f"{self.words[0]} is a file here, and the engine is at {address()}: name an image that has it: --init-image"
            )
        path = os.path.realpath(self.words[0])
        if not os.access(path, os.X_OK) or not os.path.isfile(path):  # noqa: PTH113
            raise ImpossibleError(f"{self.words[0]} is no file that can be executed")
        found[path] = {"bind": INIT, "mode": "ro"}
        try:
            loader = image.loader_of(path)
        except image.ImageError:
            raise ImpossibleError(
                f"{self.words[0]} is no ELF executable: name an image that has it and its interpreter: --init-image"
            ) from None
        if loader:
            found[os.path.realpath(loader)] = {"bind": loader, "mode": "ro"}
            for library in _libraries(path):
                found[os.path.realpath(library)] = {
                    "bind": f"{INIT_LIBRARIES}/{Path(library).name}",
                    "mode": "ro",
                }
        return found


def _libraries(path: str) -> list[str]:
    """The shared objects that it is linked with, as ldd(1) finds them."""
    try:
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return []
    return [words[2] for line in listed.splitlines() if len(words := line.split()) > 2 and words[1] == "=>"]


@dataclass(frozen=True)
class InitSubject:
    """A container in which the init starts our probe. `program` replaces the probe; `front` comes before the init."""

    init: Init
    grace: int
    agent_image: str
    agent_command: tuple[str, ...]
    probe: tuple[str, ...] = ("listen", "15")
    program: tuple[str, ...] | None = None
    front: tuple[str, ...] = ()
    direct: bool = False
    """Without the init: what it is compared with."""
    alone: str = ""

    @property
    def image(self) -> Image:
        """As the acts know subjects."""
        return Image(
            name=self.init.title,
            id=self.agent_image,
            command=self.command,
            stop_signal=signals.TERM,
            declares_stop_signal=False,
            healthcheck=(),
            ports=(),
            user="",
            platform="",
        )

    @property
    def command(self) -> tuple[str, ...]:
        """All words in the container."""
        program = self.program if self.program is not None else (*self.agent_command, "probe", *self.probe)
        front = (*self.agent_command, "probe", *self.front) if self.front else ()
        return (*front, *(() if self.direct else self.init.inside), *program)

    def create(self, engine: Engine, **more: Any) -> Container:  # noqa: ANN401 - docker-py's options
        """A fresh container, not started. With `typed` its stdin is a connection of ours."""
        volumes = {**({} if self.direct else self.init.volumes()), **more.pop("volumes", {})}
        environment = {
            **({} if self.init.image else {"LD_LIBRARY_PATH": INIT_LIBRARIES}),
            **more.pop("environment", {}),
        }
        options: dict[str, Any] = {
            "healthcheck": {"test": ["NONE"]},
            "network_mode": "none",
            "hostname": "probe",
            "volumes": volumes,
            "environment": environment,
            **more,
        }
        make = engine.held if options.pop("typed", False) else engine.create
        return make(self.agent_image, [], entrypoint=list(self.command), **options)

    def command_line(self, **more: object) -> str:  # noqa: ARG002 - as the acts know subjects
        """A `docker run` of the same form, with the probe's place for a program of one's own."""
        mount = [] if self.init.image or not self.init.words else ["-v", f"{self.init.words[0]}:{INIT}:ro"]
        name = self.init.image or "IMAGE"
        return shlex.join(["docker", "run", "--name", "c", *mount, "--entrypoint", (self.init.inside or ("PROGRAM",))[0],
                           name, *self.init.inside[1:], *(["PROGRAM"] if self.init.inside else [])])  # fmt: skip


@dataclass(frozen=True)
class Spoken(Readiness):
    """Ready as soon as the probe says so."""

    log: str = '"say": "ready"'
    timeout: float = 30.0


def lines(container: Container) -> list[dict[str, Any]]:
    """What the probe has said so far."""
    found = []
    for line in container.logs().splitlines():
        _, mark, rest = line.partition('{"say"')  # a terminal echoes what is typed before it
        if mark:
            try:
                found.append(json.loads(mark + rest))
            except ValueError:
                continue  # the last line may not be complete yet
    return found


def others(container: Container) -> list[str]:
    """Lines that are not the probe's: the init's own."""
    return [line for line in container.logs().splitlines() if line.strip() and '{"say"' not in line]


def heard(said: Sequence[Mapping[str, Any]], number: int, who: str = "main") -> list[float]:
    """When that signal came."""
    return [line["at"] for line in said if line["say"] == "signal" and line["number"] == number and line["who"] == who]


def with_probe(stage: Stage, *words: str, **more: Any) -> Stage:  # noqa: ANN401 - fields of the subject
    """The stage with another probe under the init."""
    assert isinstance(stage.subject, InitSubject)  # noqa: S101 - what this module makes
    return replace(stage, subject=replace(stage.subject, probe=words, **more))


def number(name: str) -> int:
    """Of a signal in this module's lists."""
    found = signals.number_of(name)
    assert found is not None  # noqa: S101
    return found


def _watch(target: Started) -> Watch:
    if target.watch is None:
        raise ImpossibleError(
            "nothing of it can be seen (its runtime has a kernel of its own), so nothing is sent to it"
        )
    return target.watch


def _first(target: Started) -> Seen:
    """PID 1, to send it signals."""
    for seen in _watch(target).look():
        if seen.inside == 1:
            return seen
    raise ImpossibleError(f"it ended by itself with status {target.container.state['ExitCode']}")


def _must_see_program(target: Started) -> None:
    """Where the observer does not show the program, it may not show its orphans either. Raises ImpossibleError."""
    said = next(line for line in lines(target.container) if line["say"] == "ready")
    try:
        must_see(_watch(target), said["pid"])
    except ImpossibleError:
        if target.container.running:  # else there is nobody to be shown, which is judged
            raise


@contextmanager
def probing(stage: Stage, *words: str, **more: Any) -> Iterator[Started]:  # noqa: ANN401
    """The probe under the init, ready and watched."""
    with started(with_probe(stage, *words), **more) as target:
        yield target


def _never_reaped(watch: Watch, staying: int) -> tuple[Seen, ...]:
    """Zombies that nobody reaps, once no more than `staying` processes live."""
    until(lambda: sum(not seen.is_zombie for seen in watch.look()) <= staying, 30.0)
    return unreaped(watch)


def _send(target: Started, sent: str) -> dict[str, Any]:
    """Sends one signal to PID 1, if it is still there, and waits until it is heard: when it was sent."""
    watch = _watch(target)
    first = [seen for seen in watch.look() if seen.inside == 1]
    begun = watch.agent.now()
    for seen in first:
        watch.signal(seen, number(sent))
    until(lambda: heard(lines(target.container), number(sent)) or not target.container.running, HEARD_WITHIN)
    return {"name": sent, "number": number(sent), "sent": begun}


# --- signals ---


def stop(stage: Stage) -> Act:
    """A program that ends on SIGTERM, and `docker stop`: what the others are compared with."""
    with probing(stage, "listen", "15") as target:
        return Act(
            "stop",
            f"{stage.subject.command_line()} &\ndocker stop -t {stage.subject.grace} c",
            stop=stop_it(stage, target),
        )


def each_signal(stage: Stage) -> Act:
    """Each signal once, to PID 1 from outside. Where one was late it is all done again: the machine may have been busy."""
    sent: list[dict[str, Any]] = []
    for _ in range(ATTEMPTS):
        sent = [one for names in (FORWARDED, ("INT",)) for one in _each_of(stage, names)]
        if any(not one["heard"] for one in sent) or all(one["heard"][0] <= LATE for one in sent):
            break
    return Act("each_signal", _sends(stage, "HUP"), seen={"signals": sent})


def _each_of(stage: Stage, names: Sequence[str]) -> list[dict[str, Any]]:
    with probing(stage, "listen") as target:
        begun = [_send(target, name) for name in names]
        time.sleep(SETTLED_AFTER)  # a second copy would come now; nothing says that none will
        said = lines(target.container)
        conts = heard(said, signals.CONT)
        counted = unasked(conts, [one["sent"] for one in begun if one["name"] in STOPS])
        for one in begun:
            at = counted if one["name"] == "CONT" else heard(said, one["number"])
            one["heard"] = [each - one["sent"] for each in at]
        wanted = {one["number"] for one in begun}
        strange = [line["number"] for line in said if line["say"] == "signal" and line["number"] not in wanted]
        begun[-1]["strange"] = [each for each in strange if each != signals.CONT or counted]
        begun[-1]["woken"] = len(counted) < len(conts)
        return begun


def unasked(conts: Sequence[float], stops: Sequence[float]) -> list[float]:
    """When SIGCONT came, but for one with each stop signal.

    An init may send one SIGCONT after each stop signal: a program that is stopped would not hear the latter otherwise, and to one that
    runs it says nothing that is not so. (systemd does the same to every service, systemd.kill(5).) A second one, or one that comes
    without a stop signal, is what nobody has sent.
    """
    allowed = {next((at for at in sorted(conts) if at >= stop), None) for stop in stops}
    return [at for at in conts if at not in allowed]


def real_time(stage: Stage) -> Act:
    """Real-time signals."""
    with probing(stage, "listen") as target:
        begun = [_send(target, name) for name in REAL_TIME]
        said = lines(target.container)
        for one in begun:
            one["heard"] = [at - one["sent"] for at in heard(said, one["number"])]
        return Act(
            "real_time", _sends(stage, "RTMIN+3"), seen={"signals": begun, "ended": not target.container.running}
        )


def many_signals(stage: Stage) -> Act:
    """A hundred SIGUSR1 with gaps, then a hundred without, then SIGTERM."""
    with probing(stage, "listen", "15") as target:
        watch, first = _watch(target), _first(target)
        gaps = 0
        for each in range(100):
            watch.signal(first, number("USR1"))
            # one that is still pending would swallow the next: that is no fault of the init's
            until(lambda: len(heard(lines(target.container), number("USR1"))) > gaps, HEARD_WITHIN)  # noqa: B023
            gaps = len(heard(lines(target.container), number("USR1")))
            if gaps <= each:
                break
        for _ in range(100):
            watch.signal(first, number("USR1"))
        until(lambda: len(heard(lines(target.container), number("USR1"))) > gaps, HEARD_WITHIN)
        after = len(heard(lines(target.container), number("USR1"))) - gaps
        target.container.kill("TERM")
        status = target.container.wait(END_WITHIN)
        return Act("many_signals", _sends(stage, "USR1"), seen={"gaps": gaps, "burst": after, "status": status})


def child_signals(stage: Stage) -> Act:
    """Fifty SIGCHLD from outside, though no child has ended."""
    with probing(stage, "listen", "15") as target:
        watch, first = _watch(target), _first(target)
        for _ in range(50):
            watch.signal(first, signals.CHLD)
        answered = bool(_send(target, "USR1") and heard(lines(target.container), number("USR1")))
        runs = target.container.running
        target.container.kill("TERM")
        status = target.container.wait(END_WITHIN)
        return Act(
            "child_signals",
            _sends(stage, "CHLD"),
            seen={
                "answered": answered,
                "running": runs,
                "forwarded": len(heard(lines(target.container), signals.CHLD)),
                "status": status,
            },
        )


def suspended(stage: Stage) -> Act:
    """SIGTSTP, then SIGCONT: is everybody there again?"""
    with probing(stage, "plain") as target:
        watch, first = _watch(target), _first(target)

        def child_stopped() -> bool:
            return any(seen.state == "T" and seen.inside != 1 for seen in watch.look())

        watch.signal(first, signals.TSTP)
        stopped = until(child_stopped, 0.5)
        init = next((seen.state for seen in watch.look() if seen.inside == 1), "gone")
        watch.signal(first, signals.CONT)
        until(lambda: not child_stopped(), HEARD_WITHIN)
        _send(target, "USR1")
        answered = bool(heard(lines(target.container), number("USR1")))
        target.container.kill("TERM")
        status = target.container.wait(END_WITHIN)
        return Act(
            "suspended",
            _sends(stage, "TSTP"),
            seen={"stopped": stopped, "init": init, "answered": answered, "status": status},
        )


def both_ways(stage: Stage) -> Act:
    """SIGTERM to the program and to the init in the same instant, as some platforms send it to everybody."""
    with probing(stage, "listen") as target:
        watch = _watch(target)
        everybody = [seen for seen in watch.look() if not seen.is_zombie]
        for seen in everybody:
            watch.signal(seen, signals.TERM)
        until(lambda: heard(lines(target.container), signals.TERM), HEARD_WITHIN)
        time.sleep(SETTLED_AFTER)  # a second copy would come now
        return Act(
            "both_ways",
            "docker exec c kill -TERM -1",
            seen={"heard": len(heard(lines(target.container), signals.TERM))},
        )


# --- exit status ---


def _run(stage: Stage, patience: float = END_WITHIN, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """To its end, unwatched: status (None: it did not end), seconds by the engine's clock, the probe's lines and the others."""
    container = None
    try:
        container = stage.subject.create(stage.engine, **more)
        container.start()
        status = container.wait(patience)
        state = container.state
        if status is None and not state["Running"]:
            status = int(state["ExitCode"])  # the engine was too busy to tell in time
        return {
            "status": status,
            "seconds": _instant(state["FinishedAt"]) - _instant(state["StartedAt"]),
            "said": lines(container),
            "others": others(container),
            "oom": bool(state.get("OOMKilled")),
        }
    except EngineError as error:
        raise ImpossibleError(str(error)) from None
    finally:
        if container is not None:
            container.remove()


def _quickest(stage: Stage) -> dict[str, Any]:
    """Once, or where that was late, the quickest of several."""
    seen = _run(stage)
    for _ in range(ATTEMPTS - 1):
        if seen["seconds"] < AT_ONCE:
            break
        seen = min(seen, _run(stage), key=lambda one: float(one["seconds"]))
    return seen


def _instant(text: str) -> float:
    """Of the engine's times, which have nanoseconds."""
    head, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{rest or 0}")


def codes(stage: Stage) -> Act:
    """Exit statuses."""
    found = {code: _run(with_probe(stage, "finish", str(code)))["status"] for code in CODES}
    return Act("codes", f"{stage.subject.command_line()} sh -c 'exit 42'; echo $?", seen={"codes": found})


def deaths(stage: Stage) -> Act:
    """Deaths by signals."""
    found = {
        name: _run(with_probe(stage, "die", str(each)), ulimits=[{"Name": "core", "Soft": 0, "Hard": 0}])["status"]
        for name, each in DEATHS
    }
    return Act("deaths", f"{stage.subject.command_line()} sh -c 'kill -ABRT $$'; echo $?", seen={"deaths": found})


def memory(stage: Stage) -> Act:
    """A program that takes more memory than it may have."""
    limit = f"{MEMORY}m"
    seen = _run(with_probe(stage, "hog", str(3 * MEMORY)), mem_limit=limit, memswap_limit=limit)
    return Act(
        "memory", f"{stage.subject.command_line()} # with --memory {limit} --memory-swap {limit}; echo $?", seen=seen
    )


def stray(stage: Stage) -> Act:
    """An orphan's status beside the program's."""
    seen = _run(with_probe(stage, "stray", "5"))
    return Act("stray", f"{stage.subject.command_line()} sh -c '(exit 77 &); sleep 1; exit 5'; echo $?", seen=seen)


# --- zombies ---


def one_orphan(stage: Stage) -> Act:
    """One orphan."""
    return _orphans(stage, 1, "one_orphan")


def many_orphans(stage: Stage) -> Act:
    """Two hundred."""
    return _orphans(stage, 200, "many_orphans")


def flood(stage: Stage) -> Act:
    """Two thousand that live less than a millisecond."""
    return _orphans(stage, 2000, "flood")


def _orphans(stage: Stage, wanted: int, name: str) -> Act:
    with probing(stage, "orphans", str(wanted)) as target:
        watch = _watch(target)
        until(lambda: any(line["say"] == "made" for line in lines(target.container)), MADE_WITHIN)
        made = any(line["say"] == "made" for line in lines(target.container))
        _must_see_program(target)
        left = _never_reaped(watch, 2)
        running = target.container.running
        target.container.kill("TERM")
        status = target.container.wait(END_WITHIN)
        return Act(
            name,
            f"{stage.subject.command_line()} sh -c '(sleep 0.1 &); sleep 9' & docker top c -eo pid,ppid,stat,comm",
            seen={"wanted": wanted, "made": made, "left": left, "running": running, "status": status},
        )


# --- the process tree, grace ---


def _stopping(name: str, *words: str) -> Callable[[Stage], Act]:
    """An act: that probe, and a stop; the probe's lines are in `said`."""

    def act(stage: Stage) -> Act:
        chosen = tuple(word.format(need=NEED * stage.subject.grace, flush=FLUSH) for word in words)
        with probing(stage, *chosen) as target:
            stopped = stop_it(stage, target)
            return Act(
                name,
                f"{stage.subject.command_line()} &\ndocker stop -t {stage.subject.grace} c; docker logs c",
                stop=stopped,
                seen={"said": lines(target.container), "others": others(target.container)},
            )

    return act


def foreign(stage: Stage) -> Act:
    """As a user whom one of its processes does not belong to; and, to compare, as one whom all belong to."""
    seen = {}
    for name, user in (("own", ORDINARY_USER), ("foreign", "0")):
        with started(with_probe(stage, "listen", "15", front=("other", user, ORDINARY_USER))) as target:
            stop_it(stage, target)
            said = lines(target.container)
            seen[name] = {"asked": bool(heard(said, signals.TERM, "other")), "others": others(target.container)}
    return Act("foreign", f"{stage.subject.command_line()} # as another user than one of its processes", seen=seen)


worker = _stopping("worker", "worker", "{flush}")
daemon = _stopping("daemon", "daemon")
several = _stopping("several", "several", "3")
slow = _stopping("slow", "slow", "{need}")
deaf = _stopping("deaf", "deaf")


def last_word(stage: Stage) -> Act:
    """As a Kubernetes container whose program is deaf: what is left in the termination log."""
    if not is_here():
        raise ImpossibleError(f"it takes a file here that is mounted, and the engine is at {address()}")
    with tempfile.TemporaryDirectory(prefix="pyinit-") as folder:
        log = Path(folder) / "termination-log"
        log.write_bytes(b"")
        log.chmod(0o666)
        more = {
            "volumes": {str(log): {"bind": "/dev/termination-log", "mode": "rw"}},
            "environment": {"KUBERNETES_SERVICE_HOST": "192.0.2.1"},
        }
        with probing(stage, "deaf", **more) as target:
            stopped = stop_it(stage, target)
            return Act(
                "last_word",
                f"{stage.subject.command_line()} # with -v FILE:/dev/termination-log -e KUBERNETES_SERVICE_HOST=192.0.2.1",
                stop=stopped,
                seen={"log": log.read_bytes().decode("utf-8", "backslashreplace")},
            )


# --- start ---


def missing(stage: Stage) -> Act:
    """A program that is not there, and one that cannot be executed."""
    seen = {
        "missing": _quickest(with_probe(stage, program=("/nowhere/missing",))),
        "not executable": _quickest(with_probe(stage, program=("/proc/version",))),
    }
    return Act("missing", f"{stage.subject.command_line()} /nowhere/missing; echo $?", seen=seen)


def _comes_up(container: Container, word: str) -> bool:
    """Whether the probe comes to say that word, and the container runs on."""
    until(lambda: any(line["say"] == word for line in lines(container)) or not container.running, 30.0)
    return container.running and any(line["say"] == word for line in lines(container))


def shared(stage: Stage) -> Act:
    """In another container's PID namespace, where the init is not PID 1."""
    agent = stage.agent
    if agent is None:
        raise ImpossibleError("nothing of it can be seen")
    with started(with_probe(stage, "listen", direct=True)) as holder:
        watch = _watch(holder)
        guest_stage = with_probe(stage, "orphans", "20")
        container = guest_stage.subject.create(stage.engine, pid_mode=f"container:{holder.container.id}")
        try:
            container.start()
            if not _comes_up(container, "made"):
                seen = {"refused": container.state["ExitCode"], "others": others(container)}
                return Act("shared", f"{stage.subject.command_line()} # with --pid=container:ANOTHER", seen=seen)
            left = _never_reaped(watch, 3)
            everybody = {seen.pid: seen for seen in watch.look()}
            init = container.pid
            adopted = [seen for seen in left if seen.parent == init]
            container.kill("TERM")
            status = container.wait(END_WITHIN)
            return Act(
                "shared",
                f"{stage.subject.command_line()} # with --pid=container:ANOTHER",
                seen={
                    "heard": len(heard(lines(container), signals.TERM)),
                    "status": status,
                    "elsewhere": [seen for seen in left if seen.parent in everybody and seen.parent != init],
                    "unreaped": adopted,
                    "others": others(container),
                },
            )
        except EngineError as error:
            raise ImpossibleError(f"it does not start there: {error}") from None
        finally:
            container.remove()


def nested(stage: Stage) -> Act:
    """Under the engine's own init."""
    line = stage.subject.command_line().replace("docker run", "docker run --init", 1)
    container = with_probe(stage, "listen", "15").subject.create(stage.engine, init=True)
    try:
        container.start()
        if not _comes_up(container, "ready"):
            return Act("nested", line, seen={"refused": container.state["ExitCode"], "others": others(container)})
        container.kill("TERM")
        status = container.wait(END_WITHIN)
        said = len(heard(lines(container), signals.TERM))
        return Act("nested", line, seen={"heard": said, "status": status, "others": others(container)})
    finally:
        container.remove()


# --- what the program inherits ---


def inherits(stage: Stage) -> Act:
    """What the program is given under the init, and directly."""
    more: dict[str, Any] = {
        "working_dir": "/tmp",  # noqa: S108 - a folder that is there
        "environment": {"PROBE": "1", "EMPTY": ""},
        "ulimits": [{"Name": "nofile", "Soft": 1000, "Hard": 2000}, {"Name": "core", "Soft": 0, "Hard": 0}],
    }
    seen: dict[str, Any] = {}
    for name, direct in (("direct", True), ("under", False)):
        with started(with_probe(stage, "listen", "15", direct=direct), **more) as target:
            seen[name] = next(line for line in lines(target.container) if line["say"] == "ready")
    return Act("inherits", f"{stage.subject.command_line()} env", seen=seen)


def masks(stage: Stage) -> Act:
    """The signal masks of a program that has not yet touched them.

    Python ignores SIGPIPE as it starts, so it is looked at before there is Python: the dynamic linker, told to load what comes from
    stdin, waits for that with everything as it was inherited. In an image of the user's it is sleep(1).
    """
    agent = stage.agent
    if agent is None:
        raise ImpossibleError("nothing of it can be seen")
    subject = stage.subject
    assert isinstance(subject, InitSubject)  # noqa: S101
    linked = "--library-path" in subject.agent_command
    program = (subject.agent_command[0], "/dev/stdin") if linked else ("sleep", "600")
    seen: dict[str, Any] = {}
    for name, direct in (("direct", True), ("under", False)):
        with started(with_probe(stage, program=program, direct=direct), until_ready=False, stdin_open=True) as target:
            watch = _watch(target)

            def found(watch: Watch = watch) -> Seen | None:
                return next((one for one in watch.look() if one.command.split()[:2] == list(program)), None)

            if not until(lambda: (one := found()) and one.state == "S", HEARD_WITHIN):
                raise ImpossibleError("the program whose masks were to be read did not start")
            one = found()
            if one is None:
                raise ImpossibleError("the program whose masks were to be read has ended")
            seen[name] = {"blocked": one.blocked, "ignored": one.ignored}
    return Act("masks", f"{subject.command_line()} grep Sig /proc/self/status", seen=seen)


def pipeline(stage: Stage) -> Act:
    """`yes | head -1`."""
    subject = stage.subject
    assert isinstance(subject, InitSubject)  # noqa: S101
    words = ("sh", "-c", "yes | head -n 1")
    chosen = with_probe(stage, program=words) if subject.init.image else with_probe(stage, "pipeline")
    seen = _run(chosen)
    return Act("pipeline", f"{subject.command_line()} sh -c 'yes | head -1'", seen=seen)


def no_stdin(stage: Stage) -> Act:
    """Without a terminal: stdin is /dev/null, and closed."""
    seen = {
        "/dev/null": _run(with_probe(stage, "finish", "42")),
        "closed": _run(with_probe(stage, "finish", "42", front=("closed",))),
    }
    return Act("no_stdin", f"{stage.subject.command_line()} <&-", seen=seen)


def on_terminal(stage: Stage) -> Act:
    r"""On a terminal: a line is typed, then Ctrl-C, Ctrl-\ and Ctrl-Z."""
    with probing(stage, "terminal", tty=True, typed=True) as target:
        connection = target.container.connection
        assert connection is not None  # noqa: S101 - it was asked for
        connection.send(TYPED.encode())
        until(lambda: any(line["say"] == "read" for line in lines(target.container)), TYPED_WITHIN)
        for name, key in KEYS:
            connection.send(key)
            until(lambda: heard(lines(target.container), number(name)), TYPED_WITHIN)  # noqa: B023
        time.sleep(SETTLED_AFTER)  # a second copy would come now
        said = lines(target.container)
        return Act(
            "on_terminal",
            stage.subject.command_line().replace("docker run", "docker run -it", 1),
            seen={
                **next(line for line in said if line["say"] == "ready"),
                **next((line for line in said if line["say"] == "read"), {"text": ""}),
                "keys": {name: len(heard(said, number(name))) for name, _ in KEYS},
            },
        )


def refused_calls(stage: Stage) -> Act:
    """With a seccomp profile that does not know the system calls of the last years."""
    rule = {"names": list(NEW_CALLS), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    more: dict[str, Any] = {"security_opt": [f"seccomp={profile}"]}
    line = f"{stage.subject.command_line()} # with --security-opt seccomp=FILE, a profile that refuses {', '.join(NEW_CALLS)}"
    with started(with_probe(stage, "listen", "15", direct=True), **more) as target:
        target.container.kill("TERM")
        if target.container.wait(END_WITHIN) != 0:
            raise ImpossibleError("without an init the program does not stop with such a profile either")
    try:
        with probing(stage, "orphans", "20", **more) as target:
            until(lambda: any(line["say"] == "made" for line in lines(target.container)), MADE_WITHIN)
            _must_see_program(target)
            left = _never_reaped(_watch(target), 2)
            _send(target, "USR1")
            answered = bool(heard(lines(target.container), number("USR1")))
            target.container.kill("TERM")
            status = target.container.wait(END_WITHIN)
            return Act("refused_calls", line, seen={"left": left, "answered": answered, "status": status})
    except NotUpError as error:
        return Act("refused_calls", line, seen={"refused": str(error)})


def crowd(stage: Stage) -> Act:
    """With a limit of 20 processes, which orphans have reached."""
    with probing(stage, "crowd", pids_limit=20) as target:
        watch = _watch(target)
        reaped = until(lambda: len(watch.look()) <= 2, REAP_WITHIN)
        _send(target, "USR1")
        until(lambda: any(line["say"] == "full again" for line in lines(target.container)), HEARD_WITHIN)
        numbers = {line["say"]: line["number"] for line in lines(target.container) if "full" in line["say"]}
        target.container.kill("TERM")
        status = target.container.wait(END_WITHIN)
        return Act(
            "crowd",
            f"{stage.subject.command_line()} # with --pids-limit 20",
            seen={"reaped": reaped, "status": status, **numbers},
        )


ACTS: Mapping[str, Callable[[Stage], Act]] = {
    act.__name__: act
    for act in (
        codes, each_signal, deaths, flood, real_time, many_signals, child_signals, suspended, both_ways, stray, one_orphan,
        many_orphans, last_word, missing, shared, nested, inherits, masks, pipeline, no_stdin, crowd, stop, memory, foreign, on_terminal,
        refused_calls,
    )
} | {"worker": worker, "daemon": daemon, "several": several, "slow": slow, "deaf": deaf}  # fmt: skip


def _sends(stage: Stage, name: str) -> str:
    return f"{stage.subject.command_line()} &\ndocker kill -s {name} c; docker logs c"


def stage_of(engine: Engine, agent: Agent, init: Init, grace: int, options: Mapping[str, Any]) -> Stage:
    """The stage for an init. Raises ImpossibleError when it cannot be put into a container at all."""
    init.volumes()
    if not init.image:
        name, command = agent.image, tuple(agent.command)
    else:
        name = with_source(engine, init.image)
        command = tuple(image.command(None, "python3"))
    subject = InitSubject(init, grace, name, command)
    return Stage(engine, agent, subject, Spoken(), {**options, NO_INIT: not init.words})
