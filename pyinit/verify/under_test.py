"""Containers under test: what pytest's fixture `container` makes. Each is started, made ready, and removed with its test.

All containers of a process are of one session of the engine and are seen by one observer. Both are made when the first test wants them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Unpack

from pyinit.containers import timeline
from pyinit.containers.account import How
from pyinit.containers.engine import BROKEN, Engine, EngineError, explain
from pyinit.containers.guard import Guard
from pyinit.containers.remote import Agent, ObserverError
from pyinit.init import signals
from pyinit.verify import acts, request
from pyinit.verify.catalogue import BY_ID
from pyinit.verify.ends import ContainerError, End, Ended, Processes
from pyinit.verify.evidence import Act, Case, Stop
from pyinit.verify.judges import ended_how
from pyinit.verify.ready import NotReadyError
from pyinit.verify.runner import unknowable
from pyinit.verify.settings import SettingsError
from pyinit.verify.subject import ImageSubject
from pyinit.verify.verdicts import Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyinit.containers.account import Process
    from pyinit.containers.remote import Seen
    from pyinit.verify.request import RunOptions

WIDTH = 100
"""Columns of a timeline as text."""

FAILURES = (acts.ImpossibleError, EngineError, NotReadyError, ObserverError, SettingsError)
"""What has words for a reader."""


class Session:
    """What the tests of a process share: one session of the engine, and one observer."""

    def __init__(self, observer_image: str | None = None) -> None:
        self._observer_image = observer_image
        self._undo = ExitStack()
        self._opened: tuple[Engine, Agent] | None = None

    def open(self) -> tuple[Engine, Agent]:
        """The engine and the observer. Raises ContainerError."""
        __tracebackhide__ = True
        if self._opened is None:
            try:
                with ExitStack() as undo:
                    engine = Engine()
                    undo.enter_context(Guard(engine.session))
                    undo.enter_context(engine)
                    engine.clean()
                    agent = undo.enter_context(Agent(engine, base=self._observer_image))
                    self._undo = undo.pop_all()
            except FAILURES as error:
                raise ContainerError(_here(str(error))) from None
            except BROKEN as error:
                raise ContainerError(f"the engine failed: {explain(error)}") from None
            self._opened = engine, agent
        return self._opened

    def close(self) -> None:
        """Removes everything."""
        self._undo.close()


def _here(words: str) -> str:
    """An option of the command, as pytest's settings have it."""
    return words.replace("--observer-image ", "pyinit_observer_image = ")


class Answer(NamedTuple):
    """What a command in a container came to."""

    exit_code: int
    output: str


class Container:
    """A container that is ready."""

    def __init__(self, stage: acts.Stage, started: acts.Started) -> None:
        self._stage = stage
        self._started = started
        self._container = started.container
        self.image = stage.subject.image.name
        self.end: End | None = None
        """How it has ended, once it was stopped."""

    def __repr__(self) -> str:
        return f"<container {self.id[:12]} of {self.image}>"

    @property
    def id(self) -> str:
        """As the engine has it."""
        return self._container.id

    @property
    def running(self) -> bool:
        """Whether it runs."""
        __tracebackhide__ = True
        try:
            return self._container.running
        except EngineError as error:
            raise ContainerError(str(error)) from None

    @property
    def ports(self) -> dict[int, int]:
        """The engine's TCP ports by the container's (`publish=`)."""
        __tracebackhide__ = True
        try:
            bound = self._container.attributes["NetworkSettings"]["Ports"] or {}
        except EngineError as error:
            raise ContainerError(str(error)) from None
        return {
            int(port.partition("/")[0]): int(where[0]["HostPort"])
            for port, where in bound.items()
            if where and port.endswith("/tcp")
        }

    def logs(self) -> str:
        """All that it has written so far, stdout and stderr."""
        __tracebackhide__ = True
        try:
            return self._container.logs()
        except EngineError as error:
            raise ContainerError(str(error)) from None

    def exec(self, command: Sequence[str], timeout: float = 30.0) -> Answer:
        """`docker exec`: exit status and output; 125 where it could not be run, or took longer than `timeout` seconds."""
        return Answer(*self._container.execute(command, timeout))

    def kill(self, signal: str | int) -> bool:
        """`docker kill --signal`; False when it runs no more."""
        __tracebackhide__ = True
        try:
            return self._container.kill(signal)
        except EngineError as error:
            raise ContainerError(str(error)) from None

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit status, once it has ended by itself. Raises ContainerError when it still runs after `timeout` seconds."""
        __tracebackhide__ = True
        status = self._container.wait(timeout)
        if status is None:
            raise ContainerError(f"{self.image} still runs after {timeout:g} s")
        return status

    def stop(self, timeout: int = 10, *, signal: str | int | None = None) -> End:
        """`docker stop`: the image's own stop signal, or `signal`; SIGKILL after `timeout` seconds."""
        __tracebackhide__ = True
        if self.end is not None:
            raise ContainerError(f"{self.image} was stopped already: its end is {self.end!r}")
        stage = self._with(timeout, signal)
        try:
            if not self._container.running:
                status = self._container.state["ExitCode"]
                raise ContainerError(
                    f"{self.image} had ended by itself with status {status} before it was stopped: use wait()"
                )
            watch = self._started.watch
            zombies = acts.unreaped(watch) if watch else ()
            stop = acts.stop_it(stage, self._started, None if signal is None else lambda: None)
        except FAILURES as error:
            raise ContainerError(f"{self.image}: {error}") from None
        self.end = end_of(stage, stop, zombies)
        return self.end

    def _with(self, timeout: int, signal: str | int | None) -> acts.Stage:
        __tracebackhide__ = True
        subject = self._stage.subject
        assert isinstance(subject, ImageSubject)  # noqa: S101 - the fixture makes no others
        image = subject.image
        if signal is not None:
            number = signals.number_of(str(signal))
            if number is None:
                raise ContainerError(f"there is no signal {signal!r}: write TERM, SIGTERM or 15")
            image = replace(image, stop_signal=number)
        return replace(self._stage, subject=replace(subject, grace=timeout, image=image))

    def report(self) -> list[tuple[str, str]]:
        """Titles and texts for the report of a test that failed."""
        about = f"{self.image} ({self.id[:12]})"
        try:
            sections = [(f"log of {about}", self._container.logs())]
            if self.end is not None:
                sections.append((f"stop of {about}", self.end.timeline or repr(self.end)))
            elif self._started.watch is not None:
                now = "\n".join(
                    f"{seen.inside:5} {seen.state} {seen.command or seen.name}" for seen in self._started.watch.look()
                )
                sections.append((f"processes of {about}", now or "none"))
        except FAILURES as error:
            return [(about, str(error))]
        return sections


def end_of(stage: acts.Stage, stop: Stop, zombies: Iterable[Seen]) -> End:
    """A stop as tests see it."""
    image = stage.subject.image
    # whether it is known who was killed, is what the check of that says, too
    finding = BY_ID["PT-04"].judge(Case(image, {}, {"stop": Act("stop", stop=stop)}))
    unseen = unknowable(Source.PROCESSES, stop) or (finding.words if finding.verdict is Verdict.SKIPPED else "")
    signalled = [process for process in stop.members if stop.how(process) is How.SIGNALLED]
    return End(
        image.name,
        stop.status,
        round(stop.seconds, 3),
        stop.forced,
        stop.oom,
        stop.logs,
        timeline.render(stop.timeline, WIDTH).plain if stop.timeline else "",
        stop,
        unseen,
        Processes([_ended(stop, process) for process in stop.killed], "was killed", "were killed"),
        Processes(
            [Ended(seen.name, seen.inside, seen.command, "") for seen in zombies], "was a zombie", "were zombies"
        ),
        Processes([_ended(stop, process) for process in signalled], "was ended by a signal", "were ended by a signal"),
    )


def _ended(stop: Stop, process: Process) -> Ended:
    return Ended(process.name, process.inside, process.command, ended_how(stop, process).partition(": ")[2])


class MakeContainer:
    """What the fixture `container` is: makes containers that are removed with the test."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._undo = ExitStack()
        self.made: list[Container] = []

    def __call__(self, image: str, command: Sequence[str] | None = None, **options: Unpack[RunOptions]) -> Container:
        """A container of that image that is ready. Raises ContainerError."""
        __tracebackhide__ = True
        try:
            wanted = request.of_python(f"container({image!r})", options, request.RunOptions.__annotations__)
            wanted.image, wanted.after = image, list(command or ())
            engine, agent = self._session.open()
            stage = request.stage_of(engine, agent, None, wanted)
            started = self._undo.enter_context(acts.started(stage, until_ready=False))
            made = Container(stage, started)
            self.made.append(made)  # before it is ready: its log says why it is not
            ready = stage.readiness.wait(stage.subject.image, started.container, started.watch)
        except FAILURES as error:
            raise ContainerError(f"{image}: {error}") from None
        made._started = replace(started, ready=ready)  # noqa: SLF001 - ours
        return made

    def close(self) -> None:
        """Removes them all."""
        self._undo.close()
