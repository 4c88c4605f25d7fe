"""The fleet against a world of made-up processes: any order of events, and the stop signal at every step of a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyinit.supervise import fleet, machine
from pyinit.supervise.fleet import Fleet, Worker, instances, share
from pyinit.supervise.spec import FOREVER, parse
from support.supervised import app, spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyinit.supervise.spec import App
    from support.supervised import Json


class Process:
    """What a worker's SPAWN made. A deaf one ends only by SIGKILL."""

    def __init__(self, worker: Worker, *, deaf: bool) -> None:
        self.worker = worker
        self.deaf = deaf
        self.asked = False
        self.killed = False


class World:
    """The hands, for a fleet: processes that do what a test wants, a clock that it moves, clients that count their answers."""

    def __init__(self, *apps: Json, budget: float | None = None, deaf: bool = False) -> None:
        self.now = 100.0
        self.fleet = Fleet(parse(spec(*apps, stop_budget=budget)), lambda: 0.5)
        self.deaf = deaf
        self.processes: dict[Worker, Process] = {}
        self.answers: dict[str, Json] = {}
        self.told: list[Json] = []
        self.exits: list[int] = []
        self.said: list[str] = []
        self.clients = 0
        self.forgotten: list[str] = []
        self.closed = False
        self.fleet.begin(self.now)
        self.carry_out()

    def carry_out(self) -> None:
        while self.fleet.actions:
            actions, self.fleet.actions = self.fleet.actions, []
            for verb, *arguments in actions:
                getattr(self, "do_" + verb.replace("-", "_"))(*arguments)

    def do_spawn(self, worker: Worker) -> None:
        assert worker not in self.processes, "two processes of one worker"
        assert not self.closed, "a start during the shutdown"
        self.processes[worker] = Process(worker, deaf=self.deaf)

    def do_drain(self, worker: Worker) -> None:
        assert worker in self.processes

    def do_ask(self, worker: Worker) -> None:
        assert not self.processes[worker].asked, "asked twice"
        self.processes[worker].asked = True

    def do_kill(self, worker: Worker) -> None:
        self.processes[worker].killed = True

    def do_say(self, _event: str, text: str, _worker: object) -> None:
        self.said.append(text)

    def do_tell(self, _client: str, line: Json) -> None:
        self.told.append(line)

    def do_answer(self, client: str, line: Json) -> None:
        assert client not in self.answers, "answered twice"
        self.answers[client] = line

    def do_forget(self, name: str) -> None:
        self.forgotten.append(name)

    def do_changed(self, spec_: App) -> None:
        assert all(worker.spec is spec_ or worker.is_over for worker in self.fleet.groups[spec_.name].workers)

    def do_exit(self, status: int) -> None:
        assert not self.exits, "two exits"
        self.exits.append(status)

    # --- what happens ---

    def client(self) -> str:
        self.clients += 1
        return f"client {self.clients}"

    def event(self, worker: Worker, *event: Any) -> None:  # noqa: ANN401
        self.fleet.happened(worker, event, self.now)
        self.carry_out()

    def end(self, worker: Worker, status: int = 0) -> None:
        del self.processes[worker]
        self.event(worker, machine.ENDED, status, False)  # noqa: FBT003

    def ready(self, worker: Worker) -> None:
        self.event(worker, machine.IS_READY)

    def tick(self) -> None:
        """Time passes to the next deadline."""
        assert self.fleet.deadline < FOREVER
        self.now = max(self.now, self.fleet.deadline)
        self.fleet.tick(self.now)
        self.carry_out()

    def word(self, call: Callable[[str], str]) -> str:
        """A word of a client's; its name. A refusal is an answer."""
        client = self.client()
        if error := call(client):
            self.answers[client] = {"ok": False, "error": error}
        self.carry_out()
        return client

    def reload(self, *select: str) -> str:
        return self.word(lambda client: self.fleet.reload(client, select or ["all"], self.now))

    def shut_down(self) -> None:
        self.fleet.shut_down(self.now)
        self.closed = True
        self.carry_out()

    def settle(self) -> None:
        """Let everyone who was asked or killed end, until nothing moves; time passes only where it must."""
        for _ in range(1000):
            going = [p for p in self.processes.values() if p.killed or (p.asked and not p.deaf)]
            if going:
                self.end(going[0].worker, 9 if going[0].killed else 15)
            elif self.closed and not self.exits:
                self.tick()
            else:
                return
        raise AssertionError("it never settles")

    def by_phase(self, phase: str) -> list[Worker]:
        return [worker for worker in self.fleet.workers() if worker.life.phase == phase]


def web(**keys: Any) -> Json:  # noqa: ANN401
    return app("web", ["true"], **{"instances": 2, "ready": {"kind": "notify"}, "drain": 5, **keys})


# --- the stop signal at every step of a reload ---


def steps_of_a_reload(world: World, *, fails: bool) -> list[Callable[[], None]]:
    """A whole reload of two workers, one event after the other."""

    def coming() -> Worker:
        (worker,) = [place.coming for place in world.fleet.groups["web"].places if place.coming is not None]
        return worker

    def leaving(phase: str) -> Worker:
        return next(worker for worker in world.fleet.leaving if worker.life.phase == phase)

    one = [
        lambda: world.ready(coming()),
        lambda: world.event(leaving(machine.DRAINING), machine.DRAINED),
        lambda: world.end(leaving(machine.STOPPING), 15),
    ]
    late = [
        lambda: world.ready(coming()),
        world.tick,  # the drain is over
        world.tick,  # and so is the grace
        lambda: world.end(leaving(machine.KILLING), 9),
    ]
    failure = [world.tick, lambda: world.end(leaving(machine.STOPPING), 15)]
    return [lambda: (world.reload(), None)[1], *one, *(failure if fails else late)]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("at", range(10))
def test_shutdown_at_each_step_of_a_reload(at: int, *, deaf: bool, fails: bool) -> None:
    """Nobody is left, nobody was asked twice, whoever waited has an answer, the exit comes within the budget and once."""
    world = World(web(), budget=20)
    for worker in list(world.fleet.workers()):
        world.ready(worker)
    steps = steps_of_a_reload(world, fails=fails)
    for step in steps[:at]:
        step()
    for process in world.processes.values():
        process.deaf = deaf
    killed = any(process.killed for process in world.processes.values())
    began = world.now
    world.shut_down()
    world.settle()
    assert world.processes == {}
    assert world.exits == [137 if deaf or killed else 0]
    assert world.now - began <= 20
    assert len(world.answers) == min(at, 1)
    if at > len(steps) - 1:
        assert world.answers["client 1"]["ok"] is not fails


@pytest.mark.parametrize("fails", [False, True])
def test_reload(*, fails: bool) -> None:
    """The same without the signal: what it answers, and who is there in the end."""
    world = World(web())
    before = list(world.fleet.workers())
    for worker in before:
        world.ready(worker)
    for step in steps_of_a_reload(world, fails=fails):
        step()
    after = list(world.fleet.workers())
    assert set(world.processes) == set(after)
    assert [worker.life.phase for worker in after] == [machine.READY] * 2
    if fails:
        assert after[0] is not before[0]
        assert after[1] is before[1]
        assert (
            "web:1 did not get ready: not ready in 20 s; its predecessor stays, 1 of its fellows were replaced before"
            in str(world.answers)
        )
        assert world.fleet.groups["web"].reloads == {"done": 0, "failed": 1}
    else:
        assert world.fleet.groups["web"].reloads == {"done": 1, "failed": 0}
        assert not set(after) & set(before)
        assert world.answers == {"client 1": {"ok": True, "swapped": 2, "cut": 0}}


def test_connections_that_are_cut_are_counted() -> None:
    """In the line of the report and in the answer."""
    world = World(web(instances=1))
    world.ready(next(world.fleet.workers()))
    world.reload()
    old, new = world.fleet.groups["web"].places[0].worker, world.fleet.groups["web"].places[0].coming
    assert new is not None
    world.ready(new)
    world.tick()  # the drain is over
    world.fleet.cut(old, 3)
    world.end(old, 15)
    assert world.answers["client 1"] == {"ok": True, "swapped": 1, "cut": 3}
    assert "web:0 is stopped with 3 connections open: its drain of 5 s is over" in world.said


def test_slow_to_listen() -> None:
    """It was taken for one that never listens; since it has, its successors are ready when they listen."""
    world = World(web(instances=1, node=True, ready={"kind": "listening"}))
    world.tick()
    group = world.fleet.groups["web"]
    assert group.never_listened
    group.listened = True
    world.reload()
    new = group.places[0].coming
    assert new is not None
    assert not new.life.by_time


def test_out_of_memory_is_named() -> None:
    """In the report, and for whoever looks later, though the next process runs by then."""
    world = World(web(instances=1))
    (worker,) = world.processes
    world.ready(worker)
    worker.ran_out = True
    world.end(worker, 9)
    assert worker in world.processes
    assert worker.ending == "SIGKILL, out of memory"
    assert "web:0 ended: SIGKILL, out of memory, starts again" in world.said


def test_cpus_are_counted_again() -> None:
    """`max` and -1 follow; a number stays what it is."""
    apps = [
        app(name, ["true"], instances=count, ready={"kind": "notify"})
        for name, count in (("max", "max"), ("but", -1), ("two", 2))
    ]
    world = World(*apps)

    def count() -> list[int]:
        return [sum(worker.spec.name == name for worker in world.processes) for name in ("max", "but", "two")]

    assert count() == [1, 1, 2]
    world.fleet.resize(4, world.now)
    world.carry_out()
    assert count() == [4, 3, 2]
    world.fleet.resize(2, world.now)
    world.carry_out()
    world.settle()
    assert count() == [2, 1, 2]


def test_start_keeps_the_order() -> None:
    """As at the beginning, when everything is started by hand."""
    apps = [app(name, ["true"], after=after, ready={"kind": "notify"}) for name, after in (("web", ["db"]), ("db", []))]
    world = World(*apps)
    world.ready(next(iter(world.processes)))
    world.ready(list(world.processes)[-1])
    world.word(lambda client: world.fleet.stop(client, ["all"], world.now))
    world.settle()
    world.word(lambda client: world.fleet.start(client, ["all"], world.now))
    assert [worker.spec.name for worker in world.processes] == ["db"]
    world.ready(next(iter(world.processes)))
    world.ready(list(world.processes)[-1])
    assert world.answers["client 2"]["ok"]


def test_end_of_an_essential_app_during_another_s_job() -> None:
    """A job ends nobody's essential app later than it ended; only its own app's end waits for it."""
    world = World(web(instances=1), app("db", ["true"], essential=True, restart="never"))
    web_, db = world.processes
    world.ready(web_)
    world.reload("web")
    world.end(db, 256)
    assert world.fleet.closing is not None
    assert world.fleet.status == 1
    assert "was given up: the supervisor is stopping: db is essential" in world.answers["client 1"]["error"]


# --- who is meant ---


def test_neighbours_with_the_same_word() -> None:
    """An app's own name, a namespace and an id may be the same word: cron, a memory limit and a file mean the one app."""
    apps = [app("api", ["true"]), app("0", ["true"]), app("web", ["true"], namespace="api")]
    world = World(*apps)
    world.tick()
    api, zero, web_ = world.processes
    assert [place.worker for place in world.fleet.select([fleet.Exactly("api")])] == [api]
    assert [place.worker for place in world.fleet.select([fleet.Exactly("0")])] == [zero]
    assert world.fleet.select([fleet.Exactly("all")]) == []
    world.fleet.renew("api", "cron", world.now, stop_first=False)
    world.carry_out()
    (new,) = set(world.processes) - {api, zero, web_}
    assert new.spec.name == "api"
    world.tick()
    world.settle()
    world.fleet.renew("api", "watch", world.now, stop_first=True)
    world.carry_out()
    assert [worker for worker, process in world.processes.items() if process.asked] == [new]
    world.settle()
    world.tick()
    before = set(world.processes)
    world.fleet.recycle(new, "too large", world.now)
    world.carry_out()
    assert [worker.spec.name for worker in set(world.processes) - before] == ["api"]


@pytest.mark.parametrize("stop_first", [True, False])
def test_what_was_stopped_stays_so(*, stop_first: bool) -> None:
    """Cron and watch start again what has ended by itself, and nothing that somebody has stopped."""
    world = World(app("job", ["true"], instances=3, restart="never"))
    world.tick()
    first, second, third = world.processes
    world.word(lambda client: world.fleet.stop(client, ["0"], world.now))
    world.end(first, 15)
    world.end(second)
    assert not world.fleet.groups["job"].is_stopped
    assert world.fleet.renew("job", "cron", world.now, stop_first=stop_first) == ""
    world.carry_out()
    assert first not in world.processes
    assert second in world.processes
    assert world.processes[third].asked is stop_first
    assert [worker.instance for worker in world.processes if worker not in (first, second, third)] == [2] * (
        not stop_first
    )


def test_cron_s_app_has_not_ended_for_good() -> None:
    """Its next run is to come. Essential is essential all the same."""
    job = app("job", ["true"], restart="never", cron="0 4 * * *")
    world = World(job)
    world.end(next(iter(world.processes)))
    assert not world.exits
    world.fleet.renew("job", "cron", world.now, stop_first=False)
    world.carry_out()
    world.end(next(iter(world.processes)), 256)
    assert not world.exits
    world = World(job | {"essential": True})
    world.end(next(iter(world.processes)), 256)
    assert world.exits == [1]


# --- the exit status of a stop ---


def test_old_ends_are_none_of_the_stop_s() -> None:
    """A worker that was killed hours ago, and an essential one that ended badly when it was stopped."""
    world = World(web(instances=1), app("db", ["true"], essential=True), app("other", ["true"]))
    first, second, third = world.processes
    world.processes[first].deaf = True
    world.word(lambda client: world.fleet.stop(client, ["web", "db"], world.now))
    world.end(second, 256)
    while not world.processes[first].killed:
        world.tick()
    world.end(first, 9)
    world.shut_down()
    world.end(third, 15)
    assert world.exits == [0]


def test_budget_is_over_with_levels_left() -> None:
    """Those that were killed or are still there count, though their level has not come to its end."""
    world = World(app("db", ["true"]), budget=1, deaf=True)
    world.shut_down()
    while not world.exits:
        world.tick()
    assert world.processes
    assert world.exits == [137]


# --- an app of which there cannot be two ---


def alone(name: str = "api", **keys: Any) -> Json:  # noqa: ANN401
    return app(name, ["true"], ready={"kind": "tcp", "host": "127.0.0.1", "port": 8080}, **keys)


def new_values(world: World, *apps: Json) -> str:
    return world.word(lambda client: world.fleet.apply(client, parse(spec(*apps)).apps, None, world.now))


def test_new_values_for_an_app_that_is_alone() -> None:
    """The old worker could answer the probe of the new one: it has ended before the new one starts."""
    world = World(alone())
    (old,) = world.processes
    world.ready(old)
    new_values(world, alone(grace=3))
    assert set(world.processes) == {old}
    assert world.processes[old].asked
    world.end(old, 15)
    (new,) = world.processes
    assert new.spec.grace == 3
    assert not world.answers
    world.ready(new)
    assert world.answers == {"client 1": {"ok": True}}
    assert [worker.life.phase for worker in world.fleet.workers()] == [machine.READY]
    world.end(new, 256)
    assert set(world.processes) == {new}, "it has its restarts, as any other"


def test_new_values_for_an_app_that_is_alone_and_fails() -> None:
    """The client hears it, and the new worker goes on by its policy."""
    world = World(alone())
    (old,) = world.processes
    world.ready(old)
    new_values(world, alone(grace=3))
    world.end(old, 15)
    (new,) = world.processes
    world.end(new, 256)
    assert "api:0 did not get ready: ended: exit 1" in world.answers["client 1"]["error"]
    assert set(world.processes) == {new}


@pytest.mark.parametrize("word", ["reload", "SIGHUP"])
def test_reload_of_all_with_an_app_that_is_alone(word: str) -> None:
    """It is restarted, with a line that says so, and the others are reloaded. By itself a user's reload is refused."""
    world = World(web(instances=1), alone())
    web_, api = world.processes
    world.ready(web_)
    world.ready(api)
    groups = world.fleet.groups.values()
    world.word(lambda client: world.fleet.reload(client, ["all"], world.now, word))
    (new,) = set(world.processes) - {web_, api}
    assert new.spec.name == "web"
    assert [job.progress for job in world.fleet.jobs] == [(0, 2)]
    world.ready(new)
    assert [job.progress for job in world.fleet.jobs] == [(1, 2)]
    world.event(web_, machine.DRAINED)
    world.end(web_, 15)
    assert world.said[-1].startswith("api:0 is stopped before its successor starts: there cannot be two")
    world.end(api, 15)
    world.ready(next(worker for worker in world.processes if worker.spec.name == "api"))
    assert world.answers["client 1"] == {"ok": True, "swapped": 2, "cut": 0}
    assert [group.reloads for group in groups] == [{"done": 1, "failed": 0}] * 2
    world.word(lambda client: world.fleet.reload(client, ["api"], world.now, word))
    if word == "reload":
        assert "reload: of api there cannot be two" in world.answers["client 2"]["error"]
    else:
        assert "client 2" not in world.answers


def test_stop_while_an_app_that_is_alone_is_replaced() -> None:
    """What was stopped only for its successor comes back, what the user stops does not."""
    world = World(alone(), alone("other"))
    first, second = world.processes
    world.ready(first)
    world.ready(second)
    new_values(world, alone(grace=3), alone("other", grace=3))
    assert [process.asked for process in world.processes.values()] == [True, False]
    world.word(lambda client: world.fleet.stop(client, ["other"], world.now))
    world.end(first, 15)
    world.end(second, 15)
    assert set(world.processes) == {first}
    assert second.life.phase == machine.STOPPED


# --- any order of events ---


class AnyOrder(RuleBasedStateMachine):
    """Words, ends, readiness and time in any order; then the stop signal, and the end of everything."""

    @initialize(
        deaf=st.booleans(),
        budget=st.sampled_from([None, 1.0, 30.0]),
        essential=st.booleans(),
        surge=st.sampled_from([0, 2]),
    )
    def begin(self, budget: float | None, surge: int, *, deaf: bool, essential: bool) -> None:
        queue = app(
            "queue",
            ["true"],
            after=["web"],
            restart="on-failure",
            min_uptime=1,
            max_restarts=3,
            backoff_first=1,
            backoff_max=5,
        )
        self.world = World(
            web(surge=surge, max_restarts=2),
            queue,
            app("db", ["true"], essential=essential),
            alone(),
            budget=budget,
            deaf=deaf,
        )
        self.budget = budget
        self.is_stopping = False

    @property
    def running(self) -> list[Worker]:
        return sorted(self.world.processes, key=lambda worker: (worker.id, worker.leaving))

    @precondition(lambda self: self.world.processes)
    @rule(which=st.integers(0, 20), status=st.sampled_from([0, 9, 15, 256]))
    def end(self, which: int, status: int) -> None:
        self.world.end(self.running[which % len(self.running)], status)

    @precondition(lambda self: self.world.processes)
    @rule(which=st.integers(0, 20), event=st.sampled_from([machine.IS_READY, machine.DRAINED]))
    def progress(self, which: int, event: str) -> None:
        self.world.event(self.running[which % len(self.running)], event)

    @precondition(lambda self: self.world.by_phase(machine.STARTING))
    @rule()
    def cannot_be_executed(self) -> None:
        worker = self.world.by_phase(machine.STARTING)[0]
        del self.world.processes[worker]
        self.world.event(worker, machine.FAILED, 127 << 8, "no such file")

    @precondition(lambda self: self.world.fleet.deadline < FOREVER)
    @rule()
    def time(self) -> None:
        self.world.tick()

    @precondition(lambda self: not self.is_stopping)
    @rule(
        word=st.sampled_from(
            ["start", "stop", "restart", "reload", "delete", "wait", "up", "down", "apply", "recycle", "cron", "watch"]
        ),
        select=st.sampled_from(["all", "web", "queue", "db", "api", "0", "1"]),
    )
    def word(self, word: str, select: str) -> None:
        world = self.world
        now, mind = world.now, world.fleet
        words: dict[str, Callable[[str], str]] = {
            "start": lambda client: mind.start(client, [select], now),
            "stop": lambda client: mind.stop(client, [select], now),
            "restart": lambda client: mind.restart(client, [select], now),
            "reload": lambda client: mind.reload(client, [select], now),
            "delete": lambda client: mind.stop(client, [select], now, forget=True),
            "wait": lambda client: mind.wait(client, [select], now),
            "up": lambda client: mind.scale(client, [select], "+1", now),
            "down": lambda client: mind.scale(client, [select], "-1", now),
            "apply": lambda client: mind.apply(
                client, parse(spec(web(instances=3), app("new", ["true"]), alone(grace=3))).apps, None, now
            ),
        }
        if word == "recycle":
            for worker in list(mind.workers()):
                mind.recycle(worker, "too large", now)
            world.carry_out()
        elif word in ("cron", "watch"):
            if select in mind.groups:
                mind.renew(select, word, now, stop_first=word == "watch")
                world.carry_out()
        else:
            world.word(words[word])

    @invariant()
    def is_consistent(self) -> None:
        world = getattr(self, "world", None)
        if world is None:
            return
        known = list(world.fleet.workers())
        assert len(known) == len(set(known)), "a worker is there twice"
        assert set(world.processes) <= set(known), "a process of nobody's"
        for worker in known:
            assert (worker in world.processes) == (worker.life.phase in machine.ALIVE_PHASES)
        for group in world.fleet.groups.values():
            numbers = [place.instance for place in group.places]
            assert len(set(numbers)) == len(numbers), "an instance number twice"
        if world.fleet.closing is not None:
            world.closed = True

    def teardown(self) -> None:
        world = getattr(self, "world", None)
        if world is None or world.exits:
            return
        began = world.now
        was_closed = world.fleet.closing is not None
        world.shut_down()
        world.settle()
        assert world.processes == {} or self.budget is not None
        assert len(world.exits) == 1
        assert set(world.answers) == {f"client {number + 1}" for number in range(world.clients)}, "somebody still waits"
        if self.budget is not None and not was_closed:
            assert world.now - began <= self.budget


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


# --- small pure things ---


def test_share() -> None:
    """Each as much as it wishes where there is enough, in proportion where there is not."""
    assert share(100, [8, 8]) == 8
    assert share(8, [8, 8]) == 4
    assert share(9, [2, 1]) == 2
    assert share(3, [4, 2]) == 2
    assert share(0, [4, 2]) == 0
    assert share(-1, [4, 2]) == 0
    assert share(-1, [0]) == 0
    assert share(10, [0, FOREVER]) == 0
    assert share(FOREVER, [FOREVER]) == FOREVER
    assert share(10, [FOREVER, 2]) == 8
    assert share(10, [2, FOREVER]) == 2
    assert share(10, [20, FOREVER]) == 5
    assert share(10, [FOREVER, FOREVER]) == 5


@pytest.mark.parametrize(
    ("wanted", "cpus", "count"),
    [("max", 4, 4), ("max", 0, 1), (3, 1, 3), (-1, 4, 3), (-4, 4, 1), (-9, 4, 1), (1, 64, 1)],
)
def test_instances(wanted: int | str, cpus: int, count: int) -> None:
    """`max` is one for each CPU that we may use, and there is always one."""
    assert instances(wanted, cpus) == count


def test_start_order_and_stop_order() -> None:
    """Levels, not a line: those that do not depend on each other go together."""
    names = ["a", "b", "c", "d"]
    after: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
    world = World(*(app(name, ["true"], after=after[name], ready={"kind": "notify"}) for name in names))

    def there() -> list[str]:
        return sorted(worker.spec.name for worker in world.processes)

    assert there() == ["a"]
    world.ready(next(iter(world.processes)))
    assert there() == ["a", "b", "c"]
    for worker in list(world.processes)[1:]:
        world.ready(worker)
    assert there() == names
    world.ready(list(world.processes)[-1])
    world.shut_down()
    order = []
    while world.processes:
        asked = [worker for worker, process in world.processes.items() if process.asked]
        order.append(sorted(worker.spec.name for worker in asked))
        for worker in asked:
            world.end(worker, 15)
    assert order == [["d"], ["b", "c"], ["a"]]
    assert world.exits == [0]
    assert fleet.depths(group.spec for group in world.fleet.groups.values()) == {"a": 0, "b": 1, "c": 1, "d": 2}
