"""Real programs, with pyinit as PID 1 and, beside it, as PID 1 themselves.

Each is given work, left with orphans as a health check leaves them, and stopped by `docker stop`. With pyinit: it ends within its
grace, with the right exit status, nobody is SIGKILLed, no zombie is left, no work is lost. What happens without an init is measured,
not judged; both go to .results/programs.json and programs.md, a table for people. Programs are in docker/programs.

With the native engine, which is what an image gets; two of them with the Python engine as well.
"""

import dataclasses
import functools
import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import docker
import psutil
import pytest

from pyinit.containers.account import Account, Sender
from pyinit.containers.observer import Observer
from pyinit.init import signals
from support import engines, programs
from support.containers import Container, Run
from support.programs import Row, Side
from support.waiting import NeverCameError, until

pytestmark = pytest.mark.engines(engines.NATIVE)

FILES = Path(__file__).resolve().parents[2] / "docker" / "programs"
ORPHANS = 3
ORPHAN = "0.1357"
STOP_AFTER = 10
ORDER = (
    "nginx",
    "redis-server",
    "PostgreSQL",
    "gunicorn, 3 workers",
    "Celery, prefork",
    "Node.js, no handler",
    "Node.js, closes on TERM",
    "`sh -c 'worker; ...'`",
    "`sh -c 'exec worker'`",
    "bash, traps TERM",
    "cron, daemonised",
    "PM2, 2-worker cluster",
)


@dataclass
class Stage:
    """A container with a program, on one of the two sides."""

    container: Container
    run: Run
    image: str
    is_ours: bool
    observer: Observer | None = None
    client: Container | None = None
    zombies: int = 0

    def beside(self, *command: str, files: str = "") -> Container:
        """Start a neighbour that shares the program's network: 127.0.0.1 is its own."""
        return begin(
            self.run, self.image, command, files=files, entrypoint=(), network_mode=f"container:{self.container.id}"
        )

    def answers(self, port: int) -> None:
        """Wait until somebody listens on 127.0.0.1 in there."""
        wanted = f":{port:04X} 00000000:0000 0A "  # state 0A: LISTEN
        table = Path(f"/proc/{self.container.pid}/net/tcp")
        try:
            until(lambda: wanted in table.read_text(encoding="ascii"), 30, f"a listener on port {port}")
        except NeverCameError as error:
            raise AssertionError(f"{error}\n{self.container.report()}") from None

    def http_load(self, path: str, clients: int, requests: int) -> None:
        """Start HTTP clients and wait until each has the first byte of an answer."""
        url = f"http://127.0.0.1:8080{path}"
        self.client = self.beside("python3", "/probes/load.py", url, str(clients), str(requests))
        self.client.wait_log("begun", 30)

    @property
    def http_result(self) -> tuple[int, dict[str, int]]:
        """How many answers the clients got whole, and what went wrong with the others."""
        assert self.client is not None
        assert self.client.wait() == 0, self.client.report()
        result = json.loads(self.client.logs(stderr=False).splitlines()[-1])
        return result["complete"], result["failed"]

    def http_lost(self) -> str:
        """What the stop cost the clients."""
        failed = sum(self.http_result[1].values())
        return f"{failed} answer{'s' * (failed > 1)} cut" if failed else ""


@dataclass(frozen=True)
class Ended:
    """A stage after its stop."""

    stage: Stage
    account: Account | None
    side: Side

    @property
    def container(self) -> Container:
        return self.stage.container


@dataclass(frozen=True)
class Program:
    """What to start, what to let it do, and how to see what a stop cost."""

    name: str
    folder: str
    command: Sequence[str]
    ready: Callable[[Stage], object]
    options: Sequence[str] = ()
    stop_signal: str = "TERM"
    user: str = ""
    image: str = ""
    broker: bool = False
    """Whether it needs a redis at 127.0.0.1: a neighbour that nobody stops."""
    work: Callable[[Stage], object] | None = None
    lost: Callable[[Stage], str] | None = None


class Start(Protocol):
    """The fixture `start`: start a program with pyinit or without, watched."""

    def __call__(self, program: Program, *, is_ours: bool) -> Stage: ...


class Stop(Protocol):
    """The fixture `stop`: stop a program both ways; what came of it with pyinit, and without."""

    def __call__(self, program: Program) -> tuple[Ended, Ended]: ...


# --- the machinery ---


def begin(
    run: Run,
    image: str,
    command: Sequence[str],
    *,
    files: str = "",
    entrypoint: Sequence[str],
    **options: object,
) -> Container:
    """Start a container with the files of a folder in docker/programs in its /srv."""
    container = run(command, start=False, image=image, entrypoint=entrypoint, **options)
    if files:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for file in sorted((FILES / files).iterdir()):
                if file.is_file():
                    entry = tarfile.TarInfo(file.name)
                    entry.size, entry.mode = file.stat().st_size, 0o755
                    tar.addfile(entry, io.BytesIO(file.read_bytes()))
        assert container.raw.put_archive("/srv", buffer.getvalue())
    container.start()
    return container


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """What was measured; written when the tests are over."""
    measured: list[Row] = []
    yield measured
    if measured:
        programs.save(measured, ORDER)


@pytest.fixture
def start(run: Run, programs_image: str) -> Iterator[Start]:
    """Start programs, watched."""
    with ExitStack() as watched:

        def start_program(program: Program, *, is_ours: bool) -> Stage:
            image = program.image or programs_image
            entrypoint = ("pyinit", *program.options, "--") if is_ours else ()
            options: dict[str, object] = {"stop_signal": f"SIG{program.stop_signal}", "user": program.user}
            if is_ours:
                options["environment"] = {"PYINIT_VERBOSITY": "2"}  # for the report of a failure
            if program.broker:
                redis = begin(run, image, ("redis-server", "--save", ""), entrypoint=())
                Stage(redis, run, image, is_ours=False).answers(6379)
                options["network_mode"] = f"container:{redis.id}"
            container = begin(run, image, program.command, files=program.folder, entrypoint=entrypoint, **options)
            stage = Stage(container, run, image, is_ours)
            try:
                stage.observer = watched.enter_context(Observer(container.pid))
            except (ProcessLookupError, AssertionError):
                assert not is_ours, container.report()  # without an init, a program may be gone already
            return stage

        yield start_program


@pytest.fixture
def stop(start: Start, rows: list[Row], engine: str) -> Stop:
    """Stop a program both ways at the same time, and keep the row, which is about the engine that users get."""

    def stop_both(program: Program) -> tuple[Ended, Ended]:
        stages = [start(program, is_ours=True), start(program, is_ours=False)]
        with ThreadPoolExecutor() as pool:
            ours, without = pool.map(functools.partial(play, program), stages)
        if engine == engines.NATIVE:
            rows.append(Row(program.name, " ".join(program.options), without.side, ours.side))
        return ours, without

    return stop_both


def leave_orphans(stage: Stage) -> int:
    """Do as a careless health check does, and count the zombies that are left of it after at most a second."""
    container = stage.container
    script = f"for i in $(seq {ORPHANS}); do (sleep {ORPHAN} &) ; done"
    container.exec("sh", "-c", script, user="root")

    def orphans() -> list[psutil.Process]:
        return [p for p in container.processes() if p.pid != container.pid and alive_orphan(p)]

    until(lambda: not orphans(), 10, "the end of the orphans")
    try:
        until(lambda: not container.zombies(), 1, "no zombies")
    except NeverCameError:
        return len(container.zombies())
    return 0


def alive_orphan(process: psutil.Process) -> bool:
    """Whether this is one of the orphans, not yet ended."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[-1:] == [ORPHAN]
    except psutil.NoSuchProcess:
        return False


def play(program: Program, stage: Stage) -> Ended:
    """Everything from the program's start to the account of its end."""
    if stage.observer is not None:  # without an init a program may be gone already
        program.ready(stage)
        stage.zombies = leave_orphans(stage)
        if program.work is not None:
            program.work(stage)
            assert stage.client is None or stage.client.running, "the work was over before the stop"
    return end(program, stage)


def end(program: Program, stage: Stage) -> Ended:
    """`docker stop`, and the account of it."""
    began = time.monotonic()
    if stage.container.running:
        stage.container.stop(timeout=STOP_AFTER)
    status = stage.container.wait()
    seconds = 0.0
    account = None
    killed: list[str] | None = None
    if stage.observer is not None:
        assert stage.observer.wait(10), f"the observer has not seen the end\n{stage.container.report()}"
        account = stage.observer.account()
        ended = account.init.ended
        seconds = max(0.0, (ended if ended is not None else time.monotonic()) - began)
        killed = [process.name for process in account.processes if account.how(process).is_kill]
    lost = program.lost(stage) if program.lost is not None else ""
    return Ended(stage, account, Side(round(seconds, 3), status, killed, stage.zombies, lost))


def assert_fair(ended: Ended, status: int, *, within: float = 8.0) -> None:
    """What pyinit promises for every program."""
    side = ended.side
    assert side.exit == status, ended.container.report()
    assert side.killed == [], ended.container.report()
    assert side.zombies == 0
    assert side.lost == ""
    assert side.seconds < within, ended.container.report()
    assert not ended.container.oom_killed
    assert ended.account is not None
    assert "nobody killed" in ended.container.logs(stdout=False)  # pyinit's own word agrees with the observer's
    for process in ended.account.processes:
        told = [one for one in process.signals if one.sender is Sender.INIT and one.number != signals.CONT]
        assert len(told) <= 1, f"{process.name} was told {len(told)} times: for many programs twice means at once"


# --- the table ---


def test_the_table(tmp_path: Path) -> None:
    """What the README shows; programs that did not run this time keep their rows, in the order of the list."""
    path = tmp_path / "programs.json"
    killed = Side(10.04, 137, ("sh", "worker", "worker"), 3, "2 rows")
    fair = Side(0.46, 0, (), 0, "")
    programs.save([Row("second", "", fair, fair)], ("first", "second"), path)
    programs.save([Row("first", "--wait all", killed, fair)], ("first", "second"), path)
    *_, first, second = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    assert first == "| first | `--wait all` | 10.0 | 137 | **sh, 2 worker** | 3 | 2 rows | 0.5 | 0 | nobody | 0 | - |"
    assert second.startswith("| second |  | 0.5 | 0 | nobody | 0 | - |")


# --- the programs ---


@pytest.mark.engines(*engines.NAMES)
def test_nginx(stop: Stop) -> None:
    """QUIT is nginx's graceful stop: a download that has begun is finished."""

    def ready(stage: Stage) -> None:
        stage.answers(8080)
        stage.container.exec("sh", "-c", "head -c 240000 /dev/zero >/srv/large")

    program = Program(
        name="nginx",
        folder="nginx",
        command=("nginx", "-c", "/srv/nginx.conf"),
        options=("--stop-signals", "QUIT"),
        stop_signal="QUIT",
        ready=ready,
        work=lambda stage: stage.http_load("/slow", 2, 1),
        lost=Stage.http_lost,
    )
    ours, _ = stop(program)
    assert_fair(ours, 0)
    assert ours.stage.http_result == (2, {})


def test_redis(stop: Stop) -> None:
    """Every write that it has acknowledged is there after a restart."""

    def work(stage: Stage) -> None:
        stage.client = stage.beside("python3", "/srv/load.py", files="redis")
        stage.client.wait_log("begun")

    def lost(stage: Stage) -> str:
        assert stage.client is not None
        stage.client.wait()
        acknowledged = int(stage.client.wait_log(r"acknowledged ").string.split()[-1])
        stage.container.start()
        stage.answers(6379)
        kept = int(
            until(lambda: _output_of(stage.container, "redis-cli", "-e", "get", "counter"), 30, "redis's answer")
        )
        assert acknowledged > 0
        return f"{acknowledged - kept} writes" if kept < acknowledged else ""

    program = Program(
        name="redis-server",
        folder="redis",
        command=("redis-server", "/srv/redis.conf"),
        ready=lambda stage: stage.answers(6379),
        work=work,
        lost=lost,
    )
    ours, _ = stop(program)
    assert_fair(ours, 0)


def test_postgres(stop: Stop) -> None:
    """INT is PostgreSQL's fast shutdown. Every row that it has acknowledged is there after a restart."""

    def work(stage: Stage) -> None:
        stage.client = stage.beside("bash", "/srv/load.sh", files="postgres")
        stage.client.wait_log("400001")

    def lost(stage: Stage) -> str:
        assert stage.client is not None
        stage.client.wait()
        acknowledged = {int(line) for line in stage.client.logs(stderr=False).splitlines() if line.isdigit()}
        assert len(acknowledged) > 4
        stage.container.start()
        stage.answers(5432)
        query = ("psql", "-qAt", "-h", "127.0.0.1", "-U", "postgres", "-c", "select id from rows")
        answer = until(lambda: _output_of(stage.container, *query), 30, "PostgreSQL's answer")
        missing = acknowledged - {int(line) for line in answer.split()}
        return f"{len(missing)} rows" if missing else ""

    program = Program(
        name="PostgreSQL",
        folder="postgres",
        command=("/srv/start.sh",),
        stop_signal="INT",
        user="postgres",
        ready=lambda stage: stage.container.wait_log("ready to accept connections", 60),
        work=work,
        lost=lost,
    )
    ours, _ = stop(program)
    assert_fair(ours, 0)
    assert "database system is shut down" in ours.container.logs()
    assert "was not properly shut down" not in ours.container.logs()


def _output_of(container: Container, *command: str) -> str:
    done = container.exec(*command)
    assert done.status == 0, done.output
    return done.output


GUNICORN = Program(
    name="gunicorn, 3 workers",
    folder="gunicorn",
    command=("gunicorn", "--config", "/srv/app.py", "--chdir", "/srv", "app:app"),
    ready=lambda stage: until(lambda: len(stage.container.processes()) == 4 + stage.is_ours, 30, "three workers"),
    work=lambda stage: stage.http_load("/slow", 3, 1),
    lost=Stage.http_lost,
)


def test_gunicorn(stop: Stop) -> None:
    """A request that each worker has begun is finished."""
    ours, _ = stop(GUNICORN)
    assert_fair(ours, 0)
    assert ours.stage.http_result == (3, {})


def test_gunicorn_reload_drops_no_request(start: Start) -> None:
    """HUP goes to the program alone, and gunicorn replaces its workers one by one."""
    stage = start(GUNICORN, is_ours=True)
    GUNICORN.ready(stage)
    stage.http_load("/", 4, 20_000)
    for _ in range(3):
        before = gunicorn_workers(stage)
        assert len(before) == 3
        stage.container.kill("HUP")
        until(functools.partial(are_new, stage, before), 20, "three new workers")
    assert stage.client is not None
    stage.client.kill("TERM")
    complete, failed = stage.http_result
    assert not failed
    assert complete > 50
    assert stage.container.running


def test_a_reload_of_the_whole_group_does_drop_requests(start: Start) -> None:
    """Negative control of the one above: with -g each worker hears the HUP too, and dies of it."""
    stage = start(Program("", "gunicorn", GUNICORN.command, GUNICORN.ready, ("-g",)), is_ours=True)
    GUNICORN.ready(stage)
    stage.http_load("/slow", 3, 1)
    stage.container.kill("HUP")
    complete, failed = stage.http_result
    assert (complete, sum(failed.values())) == (0, 3)


def are_new(stage: Stage, before: frozenset[int]) -> bool:
    """Whether there are three workers, all of them others than before."""
    now = gunicorn_workers(stage)
    return len(now) == 3 and not now & before


def gunicorn_workers(stage: Stage) -> frozenset[int]:
    """The PIDs of the living workers: the master's children."""
    master = stage.container.pid if not stage.is_ours else psutil.Process(stage.container.pid).children()[0].pid
    return frozenset(child.pid for child in psutil.Process(master).children() if child.status() != psutil.STATUS_ZOMBIE)


def begin_task(stage: Stage) -> None:
    """Send a task, and wait until it runs."""
    stage.container.exec("python3", "-c", "import tasks; tasks.slow.delay()", workdir="/srv")
    stage.container.wait_log("task begun", 20)


CELERY = Program(
    name="Celery, prefork",
    folder="celery",
    command=("/srv/start.sh",),
    options=("--scope", "child"),
    broker=True,
    ready=lambda stage: stage.container.wait_log("ready.", 60),
    work=begin_task,
    lost=lambda stage: "" if "task finished" in stage.container.logs() else "the running task",
)


def test_celery(stop: Stop) -> None:
    """A running task is finished. Celery's processes must not hear TERM beside their parent: --scope child."""
    ours, _ = stop(CELERY)
    assert_fair(ours, 0)


def test_celery_needs_its_scope(start: Start) -> None:
    """Why that row has an option, and the negative control of what it finds: told as a group, the task is lost."""
    program = dataclasses.replace(CELERY, options=())
    ended = play(program, start(program, is_ours=True))
    assert ended.side.lost == "the running task"
    assert ended.side.exit == 0
    assert ended.side.killed == []


def saved(stage: Stage) -> str:
    """Whether worker.py had its half a second."""
    return "" if "saved" in stage.container.logs() else "unsaved work"


@pytest.mark.parametrize(
    ("name", "command", "status"),
    [
        # the shell dies of TERM, the worker saves its work while pyinit waits for it
        ("`sh -c 'worker; ...'`", "python3 /srv/worker.py; echo over", 128 + signals.TERM),
        ("`sh -c 'exec worker'`", "exec python3 /srv/worker.py", 0),
    ],
    ids=["wrapped", "exec"],
)
def test_shell(stop: Stop, name: str, command: str, status: int) -> None:
    """Also the observer's negative control: without an init, nobody under the shell hears of the stop."""
    program = Program(
        name=name,
        folder="shell",
        command=("sh", "-c", command),
        ready=lambda stage: stage.container.wait_log("ready"),
        lost=saved,
    )
    ours, without = stop(program)
    assert_fair(ours, status)
    if status:
        assert sorted(without.side.killed or []) == ["python3", "sh"]
        assert without.side.exit == 128 + signals.KILL


@pytest.mark.engines(*engines.NAMES)
def test_bash_trap(stop: Stop) -> None:
    """The trap runs when the command in front has ended: it must be asked too."""
    program = Program(
        name="bash, traps TERM",
        folder="shell",
        command=("/srv/trap.sh",),
        ready=lambda stage: stage.container.wait_log("ready"),
        lost=lambda stage: "" if "cleaned" in stage.container.logs() else "the clean-up",
    )
    ours, _ = stop(program)
    assert_fair(ours, 3)


@pytest.mark.parametrize("kind", ["deaf", "closing"])
def test_node(stop: Stop, kind: str) -> None:
    """Node without a handler is deaf as PID 1 and dies of TERM behind an init; with one it finishes its answers."""
    is_deaf = kind == "deaf"
    program = Program(
        name="Node.js, no handler" if is_deaf else "Node.js, closes on TERM",
        folder="node",
        command=("node", "/srv/server.js", kind),
        ready=lambda stage: stage.container.wait_log("ready"),
        work=None if is_deaf else lambda stage: stage.http_load("/slow", 2, 1),
        lost=None if is_deaf else Stage.http_lost,
    )
    ours, _ = stop(program)
    assert_fair(ours, 128 + signals.TERM if is_deaf else 0)


def test_cron(stop: Stop) -> None:
    """A daemon that leaves its parent: without an init the container ends at once; its job is asked, and saves its work."""

    def output(stage: Stage) -> str:
        try:
            chunks, _ = stage.container.raw.get_archive("/srv/output")
        except docker.errors.NotFound:
            return ""
        return b"".join(chunks).decode("utf-8", "replace")

    program = Program(
        name="cron, daemonised",
        folder="shell",
        command=("/srv/cron.sh",),
        options=("--wait", "all"),
        ready=lambda stage: until(lambda: "ready" in output(stage), 30, "cron's job"),
        lost=lambda stage: "" if "saved" in output(stage) else "the running job",
    )
    ours, _ = stop(program)
    assert_fair(ours, 0)


@pytest.mark.timeout(900)  # where ./tests/run has not made the image before
def test_pm2(stop: Stop, pm2_image: str) -> None:
    """PM2 tells its workers itself, by INT: they must not hear TERM before."""

    def ready(stage: Stage) -> None:
        until(lambda: stage.container.logs().count("ready") >= 2, 60, "two workers")

    program = Program(
        name="PM2, 2-worker cluster",
        folder="pm2",
        image=pm2_image,
        command=("pm2-runtime", "start", "/srv/ecosystem.config.js"),
        options=("--scope", "child"),
        ready=ready,
        work=lambda stage: stage.http_load("/slow", 2, 1),
        lost=Stage.http_lost,
    )
    ours, _ = stop(program)
    assert_fair(ours, 0)
