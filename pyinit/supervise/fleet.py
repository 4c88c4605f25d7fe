"""All the workers, and what concerns several of them: order, reload, scale, shutdown. The mind: no clock, no system call.

The hands tell what has happened (`happened`, `tick`, `command`, `shut_down`), each with the time, and carry out what is then in
`actions`. A word that takes time is a `Job`: after each event every job looks whether it is done, and answers whoever asked.

A **place** is one number among an app's instances; its worker may be replaced by a reload, and then there are two for a while:
the one that is coming, and the one that holds the place until the other is ready. Where there cannot be two, a reload restarts.
"""

from pyinit.init import signals
from pyinit.supervise import machine
from pyinit.supervise.machine import Life
from pyinit.supervise.spec import ALIVE, FOREVER, HTTP, LISTENING, TCP, SpecError, check_names

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Final

    from pyinit.supervise.spec import App, Spec

    Action = tuple[Any, ...]
    Client = object

# --- actions beside those of `machine`, which are (verb, worker) ---

TELL = "tell"
"""(TELL, client, object): a line for whoever waits for a job."""
ANSWER = "answer"
"""(ANSWER, client, object): the last one."""
SAY = "say"
"""(SAY, event, text, worker or None): a line of the supervisor's own."""
FORGET = "forget"
"""(FORGET, app name): the app is gone, and what was kept for it."""
CHANGED = "changed"
"""(CHANGED, spec): nobody runs with the app's old values any more."""
EXIT = "exit"
"""(EXIT, status)."""

DONE, FAILED = "done", "failed"
"""What came of a reload of an app."""

ALONE = "there cannot be two: it is ready when its address answers (tcp, http), which two cannot both have"

RESERVE = 1.0
"""Seconds of the shutdown budget, at most a tenth of it, that nobody is promised: killing and reaping take some."""


class Worker:
    """One place's process, or what was or will be one."""

    __slots__ = ("app", "ending", "id", "instance", "killed", "leaving", "life", "place", "ran_out", "spawns", "spec")

    def __init__(self, place: "Place", spec: "App", life: Life) -> None:
        self.place: Final = place
        self.spec: Final = spec
        """As it was when the worker was made: an app's file may change while it runs."""
        self.life = life
        self.app: Final = place.app
        self.id: Final = place.id
        self.instance: Final = place.instance
        self.spawns = 0
        self.leaving = False
        """Another one has its place, or the place is gone."""
        self.killed = False
        """Our SIGKILL came before its end."""
        self.ran_out = False
        """The kernel killed it for memory."""
        self.ending = ""
        """How its last process ended, in words."""

    @property
    def label(self) -> str:
        """`web:0`."""
        return f"{self.spec.name}:{self.instance}"

    @property
    def is_over(self) -> bool:
        return self.life.phase in machine.OVER


class Place:
    """A number among an app's instances. `id` is what users select it by."""

    __slots__ = ("app", "coming", "id", "instance", "restarts", "worker")

    def __init__(self, app: "Group", number: int, instance: int) -> None:
        self.app: Final = app
        self.id: Final = number
        self.instance: Final = instance
        self.worker: Worker
        self.coming: Worker | None = None


class Group:
    """An app and its places."""

    __slots__ = ("count", "held", "listened", "never_listened", "oom_kills", "places", "reloads", "signals", "spec")

    def __init__(self, spec: "App") -> None:
        self.spec = spec
        self.places: list[Place] = []
        self.count: int | str = spec.instances
        """As asked for: it may be "max", or negative; `scale` changes it."""
        self.held = False
        """It is to start once those that it starts after are ready."""
        self.listened = False
        self.never_listened = False
        """A worker was alive for all of `ready_timeout` without listening: so will the next one be."""
        self.reloads: Final = {DONE: 0, FAILED: 0}
        self.signals: Final[dict[str, int]] = {}
        """How many of each its workers were sent, by name."""
        self.oom_kills = 0

    @property
    def workers(self) -> "list[Worker]":
        return [place.worker for place in self.places]

    @property
    def is_stopped(self) -> bool:
        """Somebody has stopped it, or it was never to start by itself."""
        return all(worker.life.phase == machine.STOPPED for worker in self.workers)

    @property
    def comes_back(self) -> bool:
        """It has ended by itself, and cron starts it again."""
        return self.spec.cron is not None and any(w.life.phase == machine.EXITED for w in self.workers)

    @property
    def is_alone(self) -> bool:
        """It is ready when its address answers, and while an old worker is there, that one answers."""
        return self.spec.ready["kind"] in (TCP, HTTP)

    @property
    def is_ready(self) -> bool:
        """Those that start after it may: each worker is ready, or has done its work and ended well."""
        return all(
            w.life.phase == machine.READY or (w.life.phase == machine.EXITED and w.life.status == 0)
            for w in self.workers
        )


class Exactly(str):
    """A selector that is an app's name and nothing else: no id, no namespace, no word."""

    __slots__ = ()


def instances(wanted: "int | str", cpus: int) -> int:
    """How many that is here: `max` is one for each CPU, -1 leaves one CPU free, and there is always one."""
    if wanted == "max":
        return max(cpus, 1)
    number = int(wanted)
    return number if number > 0 else max(cpus + number, 1)


def share(left: float, wishes: "Sequence[float]") -> float:
    """How much of the time that is left the first of several may have who wish for so much, one after the other."""
    total = sum(wishes)
    left = max(left, 0.0)
    if total <= left or left == FOREVER:
        return wishes[0]
    if total == FOREVER:  # some would wait for ever: they share what the others leave
        endless = sum(1 for wish in wishes if wish == FOREVER)
        ends = sum(wish for wish in wishes if wish != FOREVER)
        rest = max(left - ends, left / 2)
        if wishes[0] == FOREVER:
            return rest / endless
        return wishes[0] * min(1.0, (left - rest) / ends) if ends else 0.0
    return left * wishes[0] / total


def depths(apps: "Iterable[App]") -> "dict[str, int]":
    """How many levels of others each app starts after."""
    after = {app.name: app.after for app in apps}
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            known[name] = max((depth(other) + 1 for other in after[name] if other in after), default=0)
        return known[name]

    for name in after:
        depth(name)
    return known


# --- jobs: words that take time ---


class Job:
    """A word of somebody's that takes time. `client` is whoever is to be answered, or None."""

    def __init__(self, fleet: "Fleet", client: "Client | None", word: str) -> None:
        self.fleet: Final = fleet
        self.client = client
        self.word: Final = word
        self.is_done = False

    def concerns(self, group: Group) -> bool:
        """Whether a word about this app must wait for the job, or ends it."""
        raise NotImplementedError

    def look(self, now: float) -> None:
        """After each event: go on, or finish."""
        raise NotImplementedError

    def cut(self, worker: Worker, count: int) -> None:
        """A worker is stopped with connections open."""

    @property
    def progress(self) -> "tuple[int, int]":
        """How many workers are replaced, of how many; (0, 0) where none are to be."""
        return 0, 0

    def cancel(self, now: float, why: str) -> None:
        self.finish(f"{self.word} was given up: {why}")

    def tell(self, event: str, worker: Worker, message: str) -> None:
        line = {
            "event": event,
            "id": worker.id,
            "name": worker.spec.name,
            "instance": worker.instance,
            "message": message,
        }
        if self.client is not None:
            self.fleet.actions.append((TELL, self.client, line))

    def finish(self, error: str = "", **fields: "Any") -> None:
        self.is_done = True
        if self.client is not None:
            answer = {"ok": not error, **({"error": error} if error else {}), **fields}
            self.fleet.actions.append((ANSWER, self.client, answer))


class Arrival(Job):
    """Until each worker is ready after its next start. Fails at the first that is not."""

    def __init__(
        self, fleet: "Fleet", client: "Client | None", word: str, workers: "Sequence[Worker]", *, anew: bool
    ) -> None:
        super().__init__(fleet, client, word)
        runs = (machine.STARTING, machine.READY)
        self.needed: Final = {worker: worker.spawns + (anew or worker.life.phase not in runs) for worker in workers}

    def concerns(self, group: Group) -> bool:
        return any(worker.app is group for worker in self.needed)

    def look(self, now: float) -> None:
        for worker, needed in list(self.needed.items()):
            if worker.spawns < needed:
                if worker.life.phase == machine.STOPPED:
                    self.finish(f"{worker.label} was stopped before it was started")
                    return
                if worker.app.held and (error := self.fleet.hopeless(worker.app)):
                    self.finish(f"{worker.label} cannot start: {error}")
                    return
                continue
            if worker.spawns == needed and worker.life.phase == machine.READY:
                self.tell("ready", worker, f"{worker.label} is ready")
                del self.needed[worker]
            elif worker.spawns > needed or worker.life.phase != machine.STARTING:
                if worker.life.phase == machine.EXITED and worker.life.status == 0:
                    self.tell("done", worker, f"{worker.label} has done its work")
                    del self.needed[worker]
                    continue
                self.finish(f"{worker.label} did not get ready: {failure(worker)}")
                return
        if not self.needed:
            self.finish()


def failure(worker: Worker) -> str:
    """Why a worker is not ready, in words."""
    life = worker.life
    return life.why or (f"ended: {worker.ending}" if worker.ending else life.phase)


class Departure(Job):
    """Until each worker is over; the places in `forget` are then no more, and neither is an app without any."""

    def __init__(
        self,
        fleet: "Fleet",
        client: "Client | None",
        word: str,
        workers: "Sequence[Worker]",
        forget: "Sequence[Place]" = (),
    ) -> None:
        super().__init__(fleet, client, word)
        self.left: Final = list(workers)
        self.forget: Final = forget

    def concerns(self, group: Group) -> bool:
        return any(place.app is group for place in self.forget) or any(worker.app is group for worker in self.left)

    def look(self, now: float) -> None:
        for worker in [worker for worker in self.left if worker.is_over]:
            how = f" ({worker.ending}{', killed after its grace' if worker.killed else ''})" if worker.ending else ""
            self.tell("stopped", worker, f"{worker.label} has stopped{how}")
            self.left.remove(worker)
        if not self.left:
            for place in self.forget:
                self.fleet.forget(place)
            self.finish()


class Reload(Job):
    """Replace workers, `surge` at a time: start the new one, and only when it is ready tell the old one to leave.

    A new one that does not get ready ends the job: it is stopped, and the old one stays. Of an app that cannot be there twice
    (`is_alone`) the old one is stopped first, and the new one has the place, come what may.
    """

    def __init__(self, fleet: "Fleet", client: "Client | None", word: str, places: "Sequence[Place]") -> None:
        super().__init__(fleet, client, word)
        self.queue: Final = list(places)
        self.count: Final = len(places)
        self.coming: Final[list[Place]] = []
        self.emptying: Final[list[Place]] = []
        """Whose worker stops before there is a new one."""
        self.filled: Final[list[Place]] = []
        """Whose new worker has the place, and is not ready yet."""
        self.going: Final[list[Worker]] = []
        self.swapped = 0
        self.connections_cut = 0
        self.failed = ""
        self.results: Final[dict[Group, str]] = {}
        """What has come of it for each app so far."""

    def concerns(self, group: Group) -> bool:
        return group in self._moving() or any(place.app is group for place in self.queue)

    def _moving(self) -> "list[Group]":
        """The app of each that is on its way in or out."""
        return [place.app for place in (*self.coming, *self.emptying, *self.filled)] + [w.app for w in self.going]

    def look(self, now: float) -> None:
        for worker in [worker for worker in self.going if worker.is_over]:
            self.going.remove(worker)
        for place in [place for place in self.emptying if place.worker.is_over]:
            self.emptying.remove(place)
            self._fill(place, now)
        for place in list(self.filled):
            self._look_at_filled(place)
        for place in list(self.coming):
            new = place.coming
            if new is None:
                self.coming.remove(place)
            elif new.life.phase == machine.READY:
                self.coming.remove(place)
                self._swap(place, new, now)
            elif new.life.phase != machine.STARTING:
                self._fail(place, new, now)
                break  # nobody is coming any more
        while self.queue and not self.failed:
            place = self.queue[0]
            moving = self._moving()
            if moving.count(place.app) >= max(place.app.spec.surge, 1) or any(app is not place.app for app in moving):
                break
            self.queue.pop(0)
            if not place.app.is_alone:
                self.coming.append(place)
                self.fleet.bring(place, now)
            elif place.worker.is_over:
                self._fill(place, now)
            else:
                self.emptying.append(place)
                self.fleet.empty(place, now)
        if not (self.queue or self._moving()):
            for group, result in self.results.items():
                group.reloads[result] += 1
            self.finish(self.failed, swapped=self.swapped, cut=self.connections_cut)

    def cut(self, worker: Worker, count: int) -> None:
        if worker in self.going:
            self.connections_cut += count
            self.tell("cut", worker, f"{worker.label} had {count} connections open when its drain was over")

    @property
    def progress(self) -> "tuple[int, int]":
        return self.swapped, self.count

    def _fill(self, place: Place, now: float) -> None:
        self.filled.append(place)
        self.fleet.fill(place, now)

    def _look_at_filled(self, place: Place) -> None:
        new = place.worker
        if new.life.phase == machine.STARTING and new.spawns == 1:
            return
        self.filled.remove(place)
        if new.life.phase == machine.READY and new.spawns == 1:
            self.swapped += 1
            self.results.setdefault(place.app, DONE)
            self.tell("swapped", new, f"{new.label} is ready, its predecessor was stopped before")
            return
        self.results[place.app] = FAILED
        self.failed = (
            self.failed or f"{new.label} did not get ready: {failure(new)}; its predecessor was stopped before"
        )
        self.queue.clear()

    def _swap(self, place: Place, new: Worker, now: float) -> None:
        old, place.worker, place.coming = place.worker, new, None
        new.life = new.life.but(then=machine.BY_POLICY)
        self.swapped += 1
        self.results.setdefault(place.app, DONE)
        self.tell("swapped", new, f"{new.label} is ready, its predecessor may leave")
        if not old.is_over:
            self.going.append(old)
        self.fleet.dismiss(old, now)

    def _fail(self, place: Place, new: Worker, now: float) -> None:
        self.results[place.app] = FAILED
        self.failed = self.failed or (
            f"{new.label} did not get ready: {failure(new)}; its predecessor "
            f"{'stays' if not place.worker.is_over else 'is ' + place.worker.life.phase}"
            + (f", {self.swapped} of its fellows were replaced before" if self.swapped else "")
        )
        self.fleet.actions.append((SAY, "reload-failed", f"{self.word}: {self.failed}", new))
        self._give_up(now)

    def _give_up(self, now: float) -> None:
        """Whoever was coming goes again."""
        self.queue.clear()
        for place in self.coming:
            if place.coming is not None:
                new, place.coming = place.coming, None
                if not new.is_over:
                    self.going.append(new)
                self.fleet.dismiss(new, now)
        self.coming.clear()

    def cancel(self, now: float, why: str) -> None:
        self._give_up(now)
        for place in self.emptying:
            self.fleet.start_after_all(place, now)
        self.emptying.clear()
        self.filled.clear()
        self.going.clear()
        super().cancel(now, why)


# --- the fleet ---


class Fleet:
    """The mind. `chance` gives a number from 0 to 1, `cpus` is how many there are for us."""

    def __init__(self, spec: "Spec", chance: "Callable[[], float]", cpus: int = 1) -> None:
        self.budget: Final = spec.stop_budget
        self.chance: Final = chance
        self.cpus = cpus
        self.groups: dict[str, Group] = {}
        self.leaving: list[Worker] = []
        """Those without a place that have not ended yet."""
        self.jobs: list[Job] = []
        self.actions: list[Action] = []
        self.next_id = 0
        self.closing: list[list[Worker]] | None = None
        """In a shutdown: who is still to be stopped, level by level; the first is being stopped."""
        self.closed_at = FOREVER
        """When the shutdown's budget is over."""
        self.status: int | None = None
        """What the supervisor is to exit with, where that was decided by an app's end."""
        self.why = "it was asked to"
        """Why there is a shutdown, for whoever comes too late."""
        self.is_done = False
        for app in spec.apps:
            self._add(app)

    # --- who is there ---

    def workers(self) -> "Iterator[Worker]":
        """Everyone: in their places, coming and leaving."""
        for group in self.groups.values():
            for place in group.places:
                yield place.worker
                if place.coming is not None:
                    yield place.coming
        yield from self.leaving

    def _add(self, app: "App") -> Group:
        group = self.groups[app.name] = Group(app)
        self.grow(group, instances(group.count, self.cpus))
        return group

    def grow(self, group: Group, number: int) -> "list[Worker]":
        """More places, with the lowest numbers that are free."""
        new = []
        while len(group.places) < number:
            taken = {place.instance for place in group.places}
            place = Place(group, self.next_id, next(n for n in range(number) if n not in taken))
            self.next_id += 1
            place.worker = self._worker(place)
            place.worker.life = place.worker.life.but(phase=machine.STOPPED)
            group.places.append(place)
            new.append(place.worker)
        group.places.sort(key=lambda place: place.instance)
        return new

    def shrink(self, group: Group, number: int, now: float) -> "list[Worker]":
        """Fewer places: those with the highest numbers go."""
        going = [place.worker for place in group.places[number:]]
        del group.places[number:]
        for worker in going:
            self.dismiss(worker, now)
        return going

    def _worker(self, place: Place) -> Worker:
        group = place.app
        kind = group.spec.ready["kind"]
        is_silent = group.never_listened and not group.listened  # it may just have been slow
        return Worker(place, group.spec, Life(by_time=kind == ALIVE or (kind == LISTENING and is_silent)))

    def bring(self, place: Place, now: float) -> None:
        """Start the one that is to take a place."""
        new = place.coming = self._worker(place)
        new.life = new.life.but(restarts=place.worker.life.restarts)
        self._step(new, (machine.START,), now)
        self._step(new, (machine.LAST,), now)  # until it has the place, it has one try

    def empty(self, place: Place, now: float) -> None:
        """Stop a place's worker: of its app there cannot be two."""
        worker = place.worker
        self.actions.append((SAY, "alone", f"{worker.label} is stopped before its successor starts: {ALONE}", worker))
        self._step(worker, (machine.STOP, worker.spec.grace), now)

    def start_after_all(self, place: Place, now: float) -> None:
        """It was stopped for a successor that does not come."""
        self._step(place.worker, (machine.START,), now)

    def fill(self, place: Place, now: float) -> None:
        """A new worker in the place of one that is over."""
        restarts, place.worker = place.worker.life.restarts, self._worker(place)
        place.worker.life = place.worker.life.but(restarts=restarts)
        self._step(place.worker, (machine.START,), now)

    def dismiss(self, worker: Worker, now: float) -> None:
        """It has no place any more: it is to drain and to stop."""
        worker.leaving = True
        self.leaving.append(worker)
        self._step(worker, (machine.LEAVE, worker.spec.grace), now)

    def forget(self, place: Place) -> None:
        """A place that is to be no more, and its app where it was the last one."""
        group = place.app
        if place in group.places:
            group.places.remove(place)
        if not group.places and self.groups.get(group.spec.name) is group:
            del self.groups[group.spec.name]
            self.actions.append((FORGET, group.spec.name))

    def select(self, selectors: "Sequence[str]") -> "list[Place]":
        """The places that a user means: by id, name, namespace, `all` or /regular expression/ over names."""
        return [
            place
            for group in self.groups.values()
            for place in group.places
            if any(_means(selector, place) for selector in selectors)
        ]

    # --- what happens ---

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        nearest = min((worker.life.deadline for worker in self.workers()), default=FOREVER)
        return min(nearest, self.closed_at if self.closing is not None else FOREVER)

    def begin(self, now: float) -> None:
        """Start what is to be started, each after those that it starts after."""
        for group in self.groups.values():
            if group.spec.autostart:
                self._hold(group)
        self._follow_up(now)

    def _hold(self, group: Group) -> "list[Worker]":
        """It is to start as soon as it may."""
        group.held = True
        for worker in group.workers:
            if worker.is_over:
                self._wait_for(worker)
        return group.workers

    @staticmethod
    def _wait_for(worker: Worker) -> None:
        after = worker.app.spec.after
        why = "waits for " + ", ".join(after) if after else ""
        worker.life = worker.life.but(phase=machine.WAITING, deadline=FOREVER, why=why)

    def happened(self, worker: Worker, event: "machine.Event", now: float) -> None:
        """Something happened to one worker."""
        self._step(worker, event, now)
        self._follow_up(now)

    def tick(self, now: float) -> None:
        """The deadline has come."""
        for worker in list(self.workers()):
            if worker.life.deadline <= now:
                is_silent = (
                    worker.life.phase == machine.STARTING
                    and worker.spec.ready["kind"] == LISTENING
                    and not (worker.app.listened or worker.life.by_time)
                )
                if is_silent:  # a program that never listens, as a queue's worker: it has shown that it lives
                    worker.app.never_listened = True
                    long_enough = f"alive for {worker.spec.min_uptime:g} s"
                    text = f"{worker.label} listens on no port: from now on it is ready when it is {long_enough}"
                    self.actions.append((SAY, "warning", text, worker))
                    self._step(worker, (machine.IS_READY,), now)
                else:
                    self._step(worker, (machine.TIMEOUT,), now)
        self._follow_up(now)

    def _step(self, worker: Worker, event: "machine.Event", now: float) -> None:
        before = worker.life
        if event[0] == machine.ENDED:
            worker.ending = signals.ended_how(event[1]) + (", out of memory" if worker.ran_out else "")
        worker.life, verbs = machine.step(worker.spec, before, event, now, self.chance())
        for verb in verbs:
            if verb == machine.SPAWN:
                worker.spawns += 1
                worker.killed = worker.ran_out = False
            elif verb == machine.KILL:
                worker.killed = True
            if verb == machine.GAVE_UP:
                text = f"{worker.label} is not ready in {worker.spec.ready_timeout:g} s and is stopped"
                self.actions.append((SAY, "not-ready", text, worker))
            else:
                self.actions.append((verb, worker))
        after = worker.life
        if after.phase != before.phase:
            self._noticed(worker, before, event)

    def _noticed(self, worker: Worker, before: Life, event: "machine.Event") -> None:
        """Lines about what a user wants to know."""
        after = worker.life
        text = ""
        if event[0] == machine.ENDED and before.then == machine.BY_POLICY:
            text = f"{worker.label} ended: {worker.ending}"
            if after.phase == machine.WAITING:
                text += ", starts again soon"
            elif after.phase == machine.STARTING:
                text += ", starts again"
        if after.phase == machine.ERRORED:
            text = f"{worker.label} is given up: {after.why}"
        elif after.phase == machine.KILLING:
            text = f"{worker.label} has not stopped in time and is killed"
        elif after.phase == machine.READY:
            text = f"{worker.label} is ready"
        if text:
            self.actions.append((SAY, after.phase, text, worker))

    def _follow_up(self, now: float) -> None:
        """After each event: who may start now, which jobs go on, whether it is all over."""
        if self.closing is None:
            self._release(now)
            for job in list(self.jobs):
                job.look(now)
            self.jobs = [job for job in self.jobs if not job.is_done]
            self._end_by_itself(now)
        if self.closing is not None:
            self._close(now)
        self.leaving = [worker for worker in self.leaving if not worker.is_over]

    def _release(self, now: float) -> None:
        for group in self.groups.values():
            if group.held and all(self.groups[name].is_ready for name in group.spec.after if name in self.groups):
                group.held = False
                for worker in group.workers:
                    if worker.life.phase == machine.WAITING:
                        self._step(worker, (machine.START,), now)

    def hopeless(self, group: Group) -> str:
        """Which app, of those that this one starts after, will not get ready by itself; empty if there is none."""
        for name in group.spec.after:
            other = self.groups.get(name)
            if other is not None and not other.is_ready and all(worker.is_over for worker in other.workers):
                return f"it starts after {name}, which is {other.workers[0].life.phase}"
        return ""

    # --- words ---

    def wait(self, client: "Client | None", selectors: "Sequence[str]", now: float) -> str:
        """Answer when everything is ready that is to run, and change nothing."""
        places = self.select(selectors)
        if error := self._absent("wait", selectors, places):
            return error
        there = [place.worker for place in places if place.worker.life.phase != machine.STOPPED]
        job = Arrival(self, client, "wait", there, anew=False)
        for worker in there:
            if worker.is_over:
                job.needed[worker] = worker.spawns  # it had its start
        return self._go(job, now)

    def start(self, client: "Client | None", selectors: "Sequence[str]", now: float) -> str:
        """Start what is not running. Gives what is wrong with the word, or nothing."""
        places = self.select(selectors)
        if error := self._refuse("start", selectors, places):
            return error
        job = Arrival(self, client, "start", [place.worker for place in places], anew=False)
        groups = {
            place.app: [name for name in place.app.spec.after if self._is_coming(name, places)] for place in places
        }
        for place in places:
            group = place.app
            group.held = bool(groups[group])
            if group.held and place.worker.is_over:
                self._wait_for(place.worker)
            elif not group.held:
                self._step(place.worker, (machine.START,), now)
        return self._go(job, now)

    def _is_coming(self, name: str, places: "Sequence[Place]") -> bool:
        """Whether an app is started by the same word, or is just about to be ready."""
        group = self.groups.get(name)
        if group is None or group.is_ready:
            return False
        return any(place.app is group for place in places) or any(
            w.life.phase == machine.STARTING for w in group.workers
        )

    def restart(self, client: "Client | None", selectors: "Sequence[str]", now: float) -> str:
        """Stop and start again: for what cannot be there twice."""
        places = self.select(selectors)
        if error := self._refuse("restart", selectors, places):
            return error
        return self._go(self._again(client, "restart", places, now), now)

    def _again(self, client: "Client | None", word: str, places: "Sequence[Place]", now: float) -> Job:
        job = Arrival(self, client, word, [place.worker for place in places], anew=True)
        for place in places:
            place.app.held = False
            self._step(place.worker, (machine.AGAIN, place.worker.spec.grace), now)
        return job

    def stop(self, client: "Client | None", selectors: "Sequence[str]", now: float, *, forget: bool = False) -> str:
        """Stop, whatever else is going on; with `forget`, the places are gone afterwards."""
        places = self.select(selectors)
        word = "delete" if forget else "stop"
        if error := self._absent(word, selectors, places):
            return error
        groups = {place.app: None for place in places}
        for job in self.jobs:
            if not isinstance(job, Departure) and any(job.concerns(group) for group in groups):
                job.cancel(now, f"{word} came")
        self.jobs = [job for job in self.jobs if not job.is_done]
        going = [place.worker for place in places]
        going += [worker for worker in self.leaving if any(worker.place is place for place in places)]
        for worker in going:
            self._step(worker, (machine.STOP, worker.spec.grace), now)
        for group in groups:
            group.held = False
        job = Departure(self, client, word, going, places if forget else ())
        return self._go(job, now)

    def reload(self, client: "Client | None", selectors: "Sequence[str]", now: float, word: str = "reload") -> str:
        """Replace the workers, one after the other, without a moment in which nobody serves.

        That cannot be with an app that is alone. Among others it is restarted; where it is all that a user means, they are told.
        """
        places = self.select(selectors)
        if error := self._refuse(word, selectors, places):
            return error
        if word == "reload" and all(place.app.is_alone for place in places):
            return f"{word}: of {places[0].app.spec.name} {ALONE}; restart it"
        return self._go(Reload(self, client, word, places), now)

    def renew(self, name: str, word: str, now: float, *, stop_first: bool) -> str:
        """Replace an app's workers for a reason of its own file's (cron, watch); stop them first, or where there is nobody to keep.

        What somebody has stopped stays so; what has ended by itself starts again.
        """
        places = [place for place in self.groups[name].places if place.worker.life.phase != machine.STOPPED]
        if error := self._refuse(word, [name], places):
            return error
        again = [place for place in places if stop_first or place.worker.is_over]
        if rest := [place for place in places if place not in again]:
            self.jobs.append(Reload(self, None, word, rest))
        return self._go(self._again(None, word, again, now), now)

    def resize(self, cpus: int, now: float) -> None:
        """The CPUs were counted again: where an app's instances are a matter of them, as many as that means now."""
        self.cpus = cpus
        for group in list(self.groups.values()):
            by_cpus = group.count == "max" or int(group.count) < 0
            number = instances(group.count, cpus)
            if by_cpus and number != len(group.places) and self.closing is None and not self._busy("", group):
                self.actions.append((SAY, "resize", f"{group.spec.name}: {number} instances for {cpus} CPUs", None))
                self.shrink(group, number, now)
                for worker in self.grow(group, number):
                    self._step(worker, (machine.START,), now)
        self._follow_up(now)

    def recycle(self, worker: Worker, why: str, now: float) -> None:
        """Replace one worker, for a reason of our own; as soon as nothing else is going on with its app."""
        if self.closing is not None or worker.place.worker is not worker or self._busy("", worker.app):
            return
        self.actions.append((SAY, "recycle", why, worker))
        self._go(Reload(self, None, "recycle", [worker.place]), now)

    def cut(self, worker: Worker, count: int) -> None:
        """A worker is stopped with connections open: the report and the reload say so."""
        text = f"{worker.label} is stopped with {count} connections open: its drain of {worker.spec.drain:g} s is over"
        self.actions.append((SAY, "cut", text, worker))
        for job in self.jobs:
            job.cut(worker, count)

    def hung_up(self, client: "Client") -> None:
        """Whoever waited for a job has gone: the job goes on."""
        for job in self.jobs:
            if job.client is client:
                job.client = None

    def scale(self, client: "Client | None", selectors: "Sequence[str]", to: str, now: float) -> str:
        """More or fewer instances."""
        places = self.select(selectors)
        if error := self._refuse("scale", selectors, places):
            return error
        groups = {place.app: None for place in places}
        if len(groups) > 1:
            return f"scale: that is {len(groups)} apps; name one"
        (group,) = groups
        digits = to.lstrip("+-")
        if to != "max" and not (
            to and digits.isascii() and digits.isdigit() and len(digits) < 5 and len(to) - len(digits) <= 1
        ):
            return f"scale: {to!r} is no number of instances; write 4, +1, -1 or max"
        before = len(group.places) if to[0] in "+-" else 0
        number = instances(to, self.cpus) if to == "max" else before + int(to)
        if number < 1:
            return f"scale: {group.spec.name} would have {number} instances; stop or delete it"
        group.count = "max" if to == "max" else number
        going = self.shrink(group, number, now)
        coming = self.grow(group, number)
        job: Job = Departure(self, client, "scale", going)
        if coming:
            job = Arrival(self, client, "scale", coming, anew=False)
            for worker in coming:
                self._step(worker, (machine.START,), now)
        return self._go(job, now)

    def reset(self, selectors: "Sequence[str]") -> str:
        """Forget how often they were restarted."""
        places = self.select(selectors)
        if error := self._absent("reset", selectors, places):
            return error
        for place in places:
            place.worker.life = place.worker.life.but(restarts=0, recent=(), streak=0)
        return ""

    def apply(self, client: "Client | None", apps: "Sequence[App]", only: "Sequence[str] | None", now: float) -> str:
        """New values: apps that are not here are started, those that are reload with what they are to be now."""
        apps = [app for app in apps if only is None or app.name in only]
        if self.closing is not None:
            return f"apply: the supervisor is stopping: {self.why}"
        new = {app.name for app in apps}
        try:
            check_names([*apps, *(group.spec for name, group in self.groups.items() if name not in new)])
        except SpecError as wrong:
            return f"apply: {wrong}; nothing was changed"
        for app in apps:
            if app.name in self.groups and (error := self._busy("apply", self.groups[app.name])):
                return error
        started: list[Worker] = []
        changed = []
        for app in apps:
            if app.name not in self.groups:
                started += self._hold(self._add(app))
            else:
                changed.append(Change(self, self.groups[app.name], app))
        jobs: list[Job] = [Arrival(self, None, "apply", started, anew=False)] if started else []
        places = [place for change in changed for place in change.places]
        return self._go(Apply(self, client, [*jobs, Reload(self, None, "apply", places)], changed), now)

    def _absent(self, word: str, selectors: "Sequence[str]", places: "Sequence[Place]") -> str:
        if self.closing is not None:
            return f"{word}: the supervisor is stopping: {self.why}"
        if not places:
            return f"{word}: nothing here is called {', '.join(selectors) or 'nothing'}; `list` shows what there is"
        return ""

    def _refuse(self, word: str, selectors: "Sequence[str]", places: "Sequence[Place]") -> str:
        if error := self._absent(word, selectors, places):
            return error
        for place in places:
            if error := self._busy(word, place.app):
                return error
        return ""

    def _busy(self, word: str, group: Group) -> str:
        for job in self.jobs:
            if job.concerns(group):
                return (
                    f"{word}: {job.word} of {group.spec.name} is still going on; wait for it, or stop {group.spec.name}"
                )
        return ""

    def _go(self, job: Job, now: float) -> str:
        self.jobs.append(job)
        self._follow_up(now)
        return ""

    # --- the end ---

    def _end_by_itself(self, now: float) -> None:
        """An essential app that is over ends everything; so does the end of the last app, when nobody has stopped it, nor cron starts it.

        Not while a job concerns it, which may bring it back.
        """
        ended = [
            group
            for group in self.groups.values()
            if all(w.life.phase in (machine.EXITED, machine.ERRORED) for w in group.workers)
            and not any(job.concerns(group) for job in self.jobs)
        ]
        essential = [group for group in ended if group.spec.essential]
        if essential:
            group = essential[0]
            self.status = _status_of(group)
            self.why = f"{group.spec.name} is essential and has ended ({failure(group.workers[0])})"
        elif ended and len(ended) == len(self.groups) and not any(group.comes_back for group in ended):
            self.status = next((status for group in ended if (status := _status_of(group))), 0)
            ends = ", ".join(f"{group.spec.name}: {failure(group.workers[0])}" for group in ended)
            self.why = f"every app has ended ({ends})"
        else:
            return
        self.actions.append((SAY, "ended", f"{self.why}: stopping, exit {self.status}", None))
        self._shut_down(now)

    def shut_down(self, now: float) -> None:
        """Stop everything, those first that start last, all within the budget. Asked twice, it is still the same shutdown."""
        if self.closing is None:
            self._shut_down(now)
            self._follow_up(now)

    def _shut_down(self, now: float) -> None:
        deep = depths(group.spec for group in self.groups.values())
        levels: dict[int, list[Worker]] = {}
        for worker in self.workers():
            if worker.life.phase == machine.WAITING:
                worker.killed = False  # that was an earlier end, and so is the end of those that are over
            if not worker.is_over:
                levels.setdefault(deep.get(worker.spec.name, 0), []).append(worker)
        for job in self.jobs:
            if job.client is not None:
                job.finish(f"{job.word} was given up: the supervisor is stopping: {self.why}")
        self.jobs = []
        self.closing = [levels[depth] for depth in sorted(levels, reverse=True)]
        self.closed_at = now + self.budget
        for worker in self.workers():
            if worker.life.phase in (machine.STARTING, machine.READY):
                self._step(worker, (machine.LAST,), now)  # its turn may come later
            else:
                self._step(worker, (machine.STOP, worker.spec.grace), now)
        self._stop_level(now)

    def _stop_level(self, now: float) -> None:
        assert self.closing is not None
        wishes = [max((w.spec.grace for w in level if not w.is_over), default=0.0) for level in self.closing]
        reserve = min(RESERVE, self.budget / 10)
        grace = share(self.closed_at - reserve - now, wishes) if wishes else 0.0
        for worker in self.closing[0] if self.closing else ():
            self._step(worker, (machine.STOP, min(grace, worker.spec.grace)), now)

    def _close(self, now: float) -> None:
        assert self.closing is not None
        while self.closing and all(worker.is_over for worker in self.closing[0]):
            self._collect(self.closing.pop(0))
            if self.closing:
                self._stop_level(now)
        if (not self.closing or now >= self.closed_at) and not self.is_done:
            self.is_done = True
            for level in self.closing:  # the budget is over
                self._collect(level)
            self.actions.append((EXIT, self.status or 0))

    def _collect(self, level: "list[Worker]") -> None:
        """What the ends of a shutdown mean for the exit status, where no app's own end decided it."""
        for worker in level:
            killed = worker.killed or not worker.is_over  # whoever is left does not outlive us
            if not self.status and (killed or worker.spec.essential):
                self.status = 128 + signals.KILL if killed else signals.exit_code(max(worker.life.status, 0))


class Change:
    """An app that is to be another one: what it was, and what follows once its workers are replaced, or cannot be."""

    def __init__(self, fleet: Fleet, group: Group, spec: "App") -> None:
        self.fleet: Final = fleet
        self.group: Final = group
        self.before: Final = (group.spec, group.count)
        self.size: Final = len(group.places)
        group.spec, group.count = spec, spec.instances
        self.number: Final = instances(spec.instances, fleet.cpus)
        fleet.grow(group, self.number)
        self.places: Final = group.places[: self.number]

    def complete(self, now: float) -> None:
        """Those that are too many may go now, and what only the old values needed."""
        self.fleet.actions.append((CHANGED, self.group.spec))
        self.fleet.shrink(self.group, self.number, now)

    def undo(self, now: float) -> None:
        """Nobody runs with the new values: the old ones hold again."""
        if not any(worker.spec is self.group.spec and worker.spawns for worker in self.group.workers):
            self.group.spec, self.group.count = self.before
            self.fleet.shrink(self.group, self.size, now)


class Apply(Job):
    """Several jobs as one."""

    def __init__(self, fleet: Fleet, client: "Client | None", jobs: "list[Job]", changes: "list[Change]") -> None:
        super().__init__(fleet, client, "apply")
        self.parts: Final = jobs
        self.changes: Final = changes
        self.errors: Final[list[str]] = []
        for job in jobs:
            job.tell = self.tell  # type: ignore[method-assign]
            job.finish = self._part_done(job)  # type: ignore[method-assign]

    def _part_done(self, job: Job) -> "Callable[..., None]":
        def finish(error: str = "", **_: object) -> None:
            job.is_done = True
            if error:
                self.errors.append(error)

        return finish

    def concerns(self, group: Group) -> bool:
        return any(change.group is group for change in self.changes) or any(job.concerns(group) for job in self.parts)

    @property
    def progress(self) -> "tuple[int, int]":
        done, of = zip(*(job.progress for job in self.parts), strict=True)
        return sum(done), sum(of)

    def look(self, now: float) -> None:
        for job in self.parts:
            if not job.is_done:
                job.look(now)
        if all(job.is_done for job in self.parts):
            self._conclude(now)
            self.finish("; ".join(self.errors))

    def _conclude(self, now: float) -> None:
        for change in self.changes:
            if self.errors:
                change.undo(now)
            else:
                change.complete(now)

    def cancel(self, now: float, why: str) -> None:
        for job in self.parts:
            if not job.is_done:
                job.cancel(now, why)
        self._conclude(now)
        super().cancel(now, why)


def _status_of(group: Group) -> int:
    """An app's exit status: that of the first worker that failed, else 0."""
    return next((code for w in group.workers if (code := signals.exit_code(max(w.life.status, 0)))), 0)


def _means(selector: str, place: Place) -> bool:
    spec = place.app.spec
    if isinstance(selector, Exactly):
        return selector == spec.name
    if selector in ("all", spec.name, spec.namespace, str(place.id)):
        return True
    if len(selector) > 2 and selector.startswith("/") and selector.endswith("/"):
        import re

        try:
            return re.search(selector[1:-1], spec.name) is not None
        except re.error:
            return False
    return False
