"""The pytest plugin as a project uses it: pytest runs in a folder of its own, with real containers, and what it says is read.

Each thing that an assertion can ask is shown to fail for a container that is broken in that way.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import docker
import pytest

from support import processes
from support.verifying import DEAF, GOOD, environment, made_by
from support.waiting import until

PAGE = files("pyinit.verify").joinpath("pytest.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.engines("native")

TAG = "pyinit-test-shop:ci"

WORKER = f"""\
#!/usr/bin/env python3
import signal
signal.signal(signal.SIGUSR1, lambda *_: 0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
{GOOD.replace("'ready'", "'listening'").replace("signal(15", "signal(signal.SIGQUIT")}
"""
"""Drains on QUIT and INT."""


def python(code: str) -> list[str]:
    """A program in Python."""
    return ["python3", "-c", code]


PROGRAMS = {
    "GOOD": python(GOOD),
    "DEAF": python(DEAF),
    "SHELL": ["sh", "-c", f"{shlex.join(python(DEAF))}; true"],
    "FAILS": python(GOOD.replace("sys.exit(0)", "sys.exit(3)")),
    "SLOW": python(f"import time\n{GOOD}".replace("sys.exit(0)", "(time.sleep(1.5), sys.exit(0))")),
    "LAZY": python(f"import subprocess\nchild = subprocess.Popen(['true'])\n{GOOD}"),
    "PARENT": python(
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        + GOOD.replace("sys.exit(0)", "(child.terminate(), child.wait(), sys.exit(0))")
    ),
}
"""As it should be; deaf; a shell that waits for a deaf one; ends with 3; takes its time; reaps nobody; ends its child by a signal."""

VERIFIED = """
import json
from pathlib import Path
from pyinit.verify import runner

verified, run = Path("verified").resolve(), runner.run

def told(*words):
    came = run(*words)
    with verified.open("a") as file:
        print(json.dumps(sorted(came.case.acts)), file=file)
    return came

runner.run = told
"""
"""Writes down each verification, with what was done for it."""

SETTINGS = """
[pytest]
filterwarnings = error
addopts = -p no:cacheprovider
markers = quick
"""

COMPOSE = """
import pytest

@pytest.fixture(scope="session")
def docker_compose_command():
    return "docker-compose"
"""

Inner = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def shop(client: docker.DockerClient, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image like the page's: a worker that drains behind an init, and a STOPSIGNAL of its own."""
    folder = tmp_path_factory.mktemp("shop")
    worker = folder / "worker"
    worker.write_text(WORKER)
    worker.chmod(0o755)
    (folder / "Dockerfile").write_text(
        f"FROM {image}\nCOPY worker /usr/local/bin/worker\nSTOPSIGNAL SIGQUIT\n"
        'ENTRYPOINT ["pyinit", "--stop-signals", "QUIT", "--"]\nCMD ["worker"]\n'
    )
    client.images.build(path=str(folder), tag=TAG, network_mode="none", rm=True, forcerm=True)
    yield TAG
    client.images.remove(TAG)


@pytest.fixture
def inner(pytester: pytest.Pytester, base: str, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Runs pytest in a folder of its own, with one file of tests which knows BASE and PROGRAMS. Warnings are errors."""
    monkeypatch.setenv("PATH", environment()["PATH"])
    monkeypatch.setenv("NO_COLOR", "1")
    pytester.makefile(".ini", pytest=SETTINGS)

    def run(code: str, *words: str) -> pytest.RunResult:
        known = "".join(f"{name} = {value!r}\n" for name, value in {"BASE": base, **PROGRAMS}.items())
        pytester.makepyfile(test_it=known + textwrap.dedent(code))
        return pytester.runpytest_subprocess(*words, timeout=110)

    return run


def said(result: pytest.RunResult) -> str:
    """All of it."""
    return result.stdout.str() + result.stderr.str()


# --- what the page says ---


def test_the_page_has_its_examples() -> None:
    """So that the next test has something to run."""
    assert [re.findall(r"def (test_\w+)", block) for block in BLOCKS] == [
        ["test_worker_drains"],
        ["test_a_second_signal"],
        ["test_shop_stops_as_it_should"],
        ["test_with_its_database"],
    ]


def test_the_examples_pass(inner: Inner, pytester: pytest.Pytester, shop: str, base: str) -> None:
    """As they stand, but for the names of the images: `shop:ci` is built here, and the database is a container that waits."""
    compose = re.findall(r"^```yaml\n# (tests/docker-compose.yml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    [(name, text)] = compose
    (pytester.path / "tests").mkdir()
    (pytester.path / name).write_text(
        text.replace("postgres:17", f"{base}\n    command: [sleep, '600']\n    init: true")
    )
    pytester.makeconftest(COMPOSE)
    for number, block in enumerate(BLOCKS):
        (pytester.path / f"test_block{number}.py").write_text(block.replace("shop:ci", shop))
    result = inner("", "-rs")
    outcomes = result.parseoutcomes()
    assert outcomes.pop("passed") >= 15, said(result)
    assert set(outcomes) == {"skipped"}, said(result)
    result.stdout.fnmatch_lines(["SKIPPED * test_block2.py:4: EX-06 *: left out: our job runner knows 143"])


# --- what fails, and how it reads ---


@pytest.mark.parametrize(
    ("program", "code", "lines"),
    [
        (
            "SHELL",
            "end.killed == []",
            [
                "E *assert 2 processes were killed: 1 sh (SIGKILL by the engine after 2.* s), * python3* (SIGKILL as PID 1 left *)",
                "*stop of *",
                "*exit status 137 (128 + SIGKILL)*",
            ],
        ),
        (
            "SHELL",
            "end.exit_code == 0 and end.killed == [] and end.zombies == []",
            [
                "E *137 == 0*",
                "E *where 137 = <* ended after 2.* s with exit status 137 (SIGKILL); 2 processes were killed: 1 sh *>.exit_code",
            ],
        ),
        (
            "FAILS",
            "end.exit_code == 0",
            ["E *assert 3 == 0", "E *where 3 = <* with exit status 3; no process was killed>.exit_code"],
        ),
        (
            "SLOW",
            "end.duration < 1",
            ["E *assert 1.* < 1", "E *where 1.* = <* with exit status 0; no process was killed>.duration"],
        ),
        ("LAZY", "end.zombies == []", ["E *assert 1 process was a zombie: * true"]),
        (
            "PARENT",
            "end.signalled == []",
            ["E *assert 1 process was ended by a signal: * sleep (*SIGTERM* after * s)"],
        ),
        (
            "DEAF",
            "not end.forced",
            [
                "E *assert not True",
                "E *where True = <* with exit status 137 (SIGKILL); 1 process was killed: 1 python3*>.forced",
            ],
        ),
    ],
    ids=["killed", "all of it", "exit code", "duration", "zombies", "signalled", "forced"],
)
def test_failures_read_as_sentences(program: str, code: str, lines: list[str], inner: Inner) -> None:
    """Each for a container that is broken in that way; the log is in the report. One that is as it should be passes."""
    test = f"def test_it(container):\n    end = container(BASE, PROGRAM, ready_log='^ready$').stop(timeout=2)\n    assert {code}\n"
    inner(test.replace("PROGRAM", "GOOD")).assert_outcomes(passed=1)
    result = inner(test.replace("PROGRAM", program))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(lines)
    result.stdout.fnmatch_lines(["*log of *", "ready"])


IMPOSSIBLE = (
    ("container('pyinit-no-such-image:1', pull='never')", "*there is no image 'pyinit-no-such-image:1' in *"),
    ("container(BASE, ['no-such-program'])", "*the container does not start: *no-such-program*"),
    (
        "container(BASE, ['sh', '-c', 'echo no database; exit 3'])",
        "*it ended by itself with status 3; its last words: no database",
    ),
    (
        "container(BASE, GOOD, ready_log='never', ready_timeout=1)",
        "*not ready within 1 s (--ready-log); its last words: ready",
    ),
    ("container(BASE, GOOD, volumes=[])", "*there is no option 'volumes'; write 'volume'[?]"),
    ("c = container(BASE, GOOD, ready_log='ready'); c.stop(); c.stop()", "*was stopped already: its end is <*>"),
    (
        "c = container(BASE, GOOD, ready_log='ready'); c.kill('KILL'); c.wait(); c.stop()",
        "*ended by itself with status 137*: use wait()",
    ),
    (
        "container(BASE, GOOD, ready_log='ready').stop(signal='TREM')",
        "*there is no signal 'TREM': write TERM, SIGTERM or 15",
    ),
    ("container(BASE, GOOD, ready_log='ready').wait(timeout=0.5)", "*still runs after 0.5 s"),
)
"""What cannot be done, and how that reads."""


def test_what_cannot_be_done(inner: Inner) -> None:
    """One sentence, at the line of the test; nothing of ours is in the traceback."""
    code = "".join(f"def test_{number}(container):\n    {code}\n\n" for number, (code, _) in enumerate(IMPOSSIBLE))
    result = inner(code)
    result.assert_outcomes(failed=len(IMPOSSIBLE))
    for number, (_, words) in enumerate(IMPOSSIBLE):
        result.stdout.fnmatch_lines(
            [f"* test_{number} *", f"E *ContainerError: {words}", "test_it.py:*: ContainerError"]
        )
    result.stdout.no_fnmatch_line("*pyinit/verify/*")


def test_the_log_of_one_that_does_not_become_ready(inner: Inner) -> None:
    """All of it, not its last words alone."""
    result = inner("def test_it(container):\n    container(BASE, ['sh', '-c', 'seq 9; exit 3'])\n")
    result.stdout.fnmatch_lines(["*log of *", "1", "2", "3"], consecutive=True)


def test_one_that_still_runs(inner: Inner) -> None:
    """Its processes are in the report."""
    result = inner("def test_it(container):\n    container(BASE, GOOD, ready_log='ready')\n    assert False\n")
    result.stdout.fnmatch_lines(["*log of *", "ready", "*processes of *", "*1 S python3 -c *"])


# --- what a container can do ---


def test_a_container(inner: Inner, shop: str) -> None:
    """Its parts, one by one."""
    code = f"""
        import urllib.request

        def test_a_server(container):
            c = container(BASE, ["python3", "-m", "http.server", "8000"], publish=8000, ready_tcp=8000, env={{"DB": "db"}}, memory="64m")
            with urllib.request.urlopen(f"http://127.0.0.1:{{c.ports[8000]}}/", timeout=30) as answer:
                assert answer.status == 200
            assert c.exec(["sh", "-c", "echo $DB; exit 3"]) == (3, "db\\n")
            assert c.running
            assert c.kill("KILL") is True
            assert c.wait() == 137
            assert c.kill("KILL") is False

        def test_the_image_s_own_signal(container):
            assert container({shop!r}, ready_log="listening").stop().exit_code == 0
            assert container({shop!r}, ready_log="listening").stop(signal="TERM", timeout=1).killed.names == ["pyinit", "python3"]
            assert container({shop!r}, ready_log="listening").stop(signal=2).exit_code == 0

        def test_several(container):
            first, second = (container(BASE, GOOD, ready_log="ready") for _ in range(2))
            assert first.id != second.id
            assert "ready" in first.logs()
            assert first.stop().timeline.splitlines()[0] == BASE
            assert second.running
    """
    inner(code).assert_outcomes(passed=3)


def test_a_neighbour_that_answers(inner: Inner, pytester: pytest.Pytester, base: str) -> None:
    """A container in the network of what pytest-docker has composed reaches it by its name."""
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "docker-compose.yml").write_text(
        f"services:\n  db:\n    image: {base}\n    command: [python3, -m, http.server, '80']\n    init: true\n"
    )
    pytester.makeconftest(COMPOSE)
    code = """
        def test_it(container, docker_services, docker_compose_project_name):
            ask = "import urllib.request as r; print(r.urlopen('http://db/', timeout=1).status, flush=True)"
            c = container(BASE, ["sh", "-c", f'until python3 -c "{ask}" 2>/dev/null; do sleep 0.1; done; exec sleep 600'],
                network=f"{docker_compose_project_name}_default", ready_log="200")
            assert c.running
    """
    inner(code).assert_outcomes(passed=1)


def test_where_nothing_can_be_seen(inner: Inner, runsc_problem: str) -> None:
    """On gVisor, which has a kernel of its own, nobody is said to have been spared."""
    if runsc_problem:
        pytest.skip(runsc_problem)
    result = inner(
        """
        def test_it(container):
            end = container(BASE, GOOD, ready_log="ready", runtime="runsc", network="none").stop()
            assert end.exit_code == 0
            assert end.killed == []
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert end.killed == ?]",
            "E *UnseenError: *needs a view of its processes, and there is none in this runtime",
        ]
    )


# --- conformance ---


def verified(pytester: pytest.Pytester) -> list[list[str]]:
    """What VERIFIED has written."""
    return [json.loads(line) for line in (pytester.path / "verified").read_text("utf-8").splitlines()]


CHECKED = """
    import pytest

    @pytest.mark.conformance(BASE, command={command}, ready_log="^ready$", timeout=3, check=[{checks}]{more})
    def test_shop(conformance):
        print("then", conformance.check.id, conformance.outcome.verdict)
"""


def properties(pytester: pytest.Pytester) -> dict[str, dict[str, str]]:
    """Those of each test, from JUnit's XML."""
    root = ET.fromstring((pytester.path / "r.xml").read_text("utf-8"))  # noqa: S314 - our own
    return {
        case.attrib["name"]: {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
        for case in root.iter("testcase")
    }


def checked(command: str, *checks: str, **more: object) -> str:
    """A test with a mark."""
    return CHECKED.format(
        command=command,
        checks=", ".join(map(repr, checks)),
        more="".join(f", {name}={value!r}" for name, value in more.items()),
    )


def test_each_check_is_a_test(inner: Inner, pytester: pytest.Pytester) -> None:
    """Passed, noted, skipped with a reason, left out with one; the test's own code comes after. JUnit's XML has what was seen."""
    result = inner(
        checked("GOOD", "SG-01", "GR-02", "GR-06", "EX-06", skip={"EX-06": "our own reason"}),
        "-v",
        "-rPs",
        "--junit-xml=r.xml",
    )
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_shop?SG-01? PASSED*",
            "test_it.py::test_shop?GR-02? PASSED*",
            "test_it.py::test_shop?GR-06? SKIPPED*",
            "test_it.py::test_shop?EX-06? SKIPPED*",
            "*Captured pass call*",
            "SG-01 PID 1 ends on the stop signal: PID 1 ended * after SIGTERM, with status 0",
            "then SG-01 pass",
            "*Captured note call*",
            "GR-02 what docker stop -t 0 does: docker stop -t 0 took * s*",
            "then GR-02 note",
            "SKIPPED ?1? test_it.py:*: GR-06 a request under way is finished: no --request URL was given",
            "SKIPPED ?1? test_it.py:*: EX-06 a clean stop has exit status 0: left out: our own reason",
        ]
    )
    seen = properties(pytester)
    assert seen["test_shop[GR-02]"]["verdict"] == "note"
    assert "docker stop -t 0 took" in seen["test_shop[GR-02]"]["seen"]
    assert seen["test_shop[GR-06]"] == {"verdict": "skipped"}


def test_a_failure_has_verify_s_own_words(inner: Inner) -> None:
    """What was seen, why, what to change, how to see the same, and the stop; and no traceback."""
    result = inner(checked("SHELL", "SG-01", "PT-01", "PT-04"))
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "✗ SG-01 PID 1 ends on the stop signal (must)",
            "  PID 1 did not end within 3.0 s of SIGTERM: the engine had to SIGKILL it*",
            "   why Whoever does not end is SIGKILLed *",
            "   fix *",
            "   try docker run --rm --name c *",
            "       docker stop -t 3 c",
            "*timeline*",
            "* 2 of 2 processes were SIGKILLed: *",
            "✗ PT-01 no shell keeps the stop signal from the program (must)",
        ]
    )
    result.stdout.no_fnmatch_line("*pyinit/verify/*")
    result.stdout.no_fnmatch_line("*Error*")


def test_a_required_check_that_is_not_judged(inner: Inner) -> None:
    """It is not green where verify's exit status is 2; where something failed, that is enough."""
    result = inner(checked("GOOD", "SG-01", "GR-06", require="GR-06"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["GR-06 is required, and could not be judged: no --request URL was given"])
    inner(checked("DEAF", "SG-01", "GR-06", require="GR-06")).assert_outcomes(failed=1, skipped=1)


def test_only_what_is_selected_is_done(inner: Inner, pytester: pytest.Pytester) -> None:
    """`-k` takes one of all; what the others need is not done."""
    pytester.makeconftest(VERIFIED)
    code = checked("GOOD", "SG-01", "EX-06", "GR-02", "ZO-01")
    inner(code, "-k", "EX-06").assert_outcomes(passed=1, deselected=3)
    inner(code, "-k", "EX-06 or GR-02").assert_outcomes(passed=2, deselected=2)
    assert verified(pytester) == [["stop"], ["at_once", "stop"]]


def test_no_such_image(inner: Inner) -> None:
    """One line for each check."""
    result = inner(checked("GOOD", "SG-01", "EX-06", pull="never").replace("(BASE", "('pyinit-no-such-image:1'"))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["there is no image 'pyinit-no-such-image:1' in *: build it*"])


def test_the_file_of_the_project(inner: Inner, pytester: pytest.Pytester) -> None:
    """verify.toml is heard."""
    pytester.makefile(".toml", verify='expect-exit = [3]\ncheck = ["EX-06"]\n')
    inner(checked("FAILS", "EX-06").replace("check=['EX-06']", "")).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("@pytest.mark.conformance()\ndef test_it(): pass", "*@conformance: which image[?]*"),
        (
            "@pytest.mark.conformance('x', chek='SG')\ndef test_it(): pass",
            "*@conformance: there is no option 'chek'; write 'check'[?]",
        ),
        ("@pytest.mark.conformance('x', check='XX')\ndef test_it(): pass", "*@conformance: there is no check 'XX'*"),
        ("def test_it(conformance): pass", "*conformance is for tests that are marked with it: *"),
        (
            "import unittest\n@pytest.mark.conformance('x')\nclass TestIt(unittest.TestCase):\n    def test_it(self): pass",
            "*@conformance is for functions, and methods of plain classes: *",
        ),
    ],
)
def test_marks_that_mean_nothing(code: str, words: str, inner: Inner) -> None:
    """No test passes because nobody judged it."""
    result = inner(f"import pytest\n{code}\n")
    assert result.ret in {1, 2}
    result.stdout.fnmatch_lines([words])


# --- where it is used ---


def test_workers_of_xdist(inner: Inner, pytester: pytest.Pytester) -> None:
    """Each has its own observer and its own labels; an image is verified once, and every worker knows what was seen."""
    pytester.makeconftest(VERIFIED)
    code = (
        checked("GOOD", "SG-01", "EX-06", "GR-02", "PT-04")
        + """
    import os

    @pytest.mark.parametrize("number", range(4))
    def test_containers(container, number, record_property):
        c = container(BASE, GOOD, ready_log="ready")
        labels = c._container.attributes["Config"]["Labels"]
        assert labels["pyinit.pid"] == str(os.getpid())
        assert c.stop().killed == []
        record_property("worker", os.getpid())
    """
    )
    result = inner(code, "-n", "2", "--junit-xml=r.xml")
    result.assert_outcomes(passed=8)
    assert verified(pytester) == [["at_once", "stop"]]
    workers = {told["worker"] for name, told in properties(pytester).items() if name.startswith("test_containers")}
    assert len(workers) == 2


STUCK = """
def test_it(container):
    container(BASE, DEAF, ready_log="ready").stop(timeout=300)
"""


def outer(pid: int) -> set[int]:
    """A pytest and its workers."""
    return {pid, *processes.descendants(pid)}


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays(
    number: signal.Signals, words: tuple[str, ...], pytester: pytest.Pytester, base: str, client: docker.DockerClient
) -> None:
    """In the middle of a stop: the observer, its image and the container are removed, whoever does it."""
    pytester.makefile(".ini", pytest=SETTINGS)
    pytester.makepyfile(test_it=f"BASE, DEAF = {(base, ['python3', '-c', DEAF])!r}\n{STUCK}")
    # as a job of a shell: signals as they are by default
    command = ["/usr/bin/env", "--default-signal=INT", sys.executable, "-m", "pytest", *words]
    with (pytester.path / "out").open("w") as out:
        tool = subprocess.Popen(command, cwd=pytester.path, stdout=out, stderr=out, start_new_session=True)
    try:

        def made() -> list[str]:
            return [one for pid in outer(tool.pid) for one in made_by(client, pid)]

        until(lambda: len(made()) >= 3, 60, "observer, image and container")
        makers = outer(tool.pid)
        os.kill(tool.pid, number)
        tool.wait(60)
    finally:
        tool.kill()
        tool.wait()
    assert tool.returncode == (2 if number == signal.SIGINT else -number), (pytester.path / "out").read_text()
    until(lambda: [one for pid in makers for one in made_by(client, pid)] == [], 60, "the end of what it had made")
    until(lambda: not [pid for pid in makers if processes.is_alive(pid)], 60, "the end of the processes")


def test_without_an_engine(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who uses it fails, in one sentence; all others pass."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    result = inner("def test_it(container):\n    container(BASE)\n\ndef test_other():\n    pass\n")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E *ContainerError: no container engine answers at unix:///nowhere/docker.sock (*"])


def test_without_the_extra(pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is installed, as links, but for two packages: the same, and it says what to install."""
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.fullmatch(r"(docker|rich)(-.*)?", found.name):
            (tmp_path / found.name).symlink_to(found)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pytester.makepyfile(
        """
        import pytest

        def test_it(container):
            container("x")

        @pytest.mark.conformance("x", check="SG-01")
        def test_marked():
            pass

        def test_other():
            pass
        """
    )
    result = pytester.run(sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["container and conformance need docker and rich: pip install 'pyinit-pid1?verify?'"])
