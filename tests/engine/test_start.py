"""The ways in: the native executable; in Python the launcher on the PATH, `-m`, and the second start, which end as the same process."""

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pyinit.init
from support import engines, processes
from support.engines import Engine
from support.runs import Run, python

Start = Callable[..., Run]
INIT = Path(pyinit.init.__path__[0])


def test_start_says_which_engine_ran(engine: Engine, start: Start) -> None:
    """Everything else in this level is about the engine that the parameter names, or it proves nothing."""
    run = start("-v", "--log", "json", "--", "sleep", "60").armed()
    first = json.loads(run.report[0])
    assert (first["event"], first["engine"]) == ("start", engine.name)
    executed = Path(f"/proc/{run.pid}/exe").resolve()
    assert executed == Path(engine.command[0]).resolve()
    assert (
        b"PYINIT_STOP_BUDGET" in executed.read_bytes()
    ) == engine.is_native  # an interpreter does not hold our words


def test_version_says_which_engine_ran(way: Engine, start_any: Start) -> None:
    """The same for every way in."""
    run = start_any(*way.command, "--version")
    assert run.wait() == 0
    assert f"{way.name} engine" in run.out.lower()


@pytest.mark.parametrize("what", ["help", "version", "license"])
def test_about_goes_to_stdout_alone(way: Engine, what: str, start_any: Start) -> None:
    """--help, --version and --license answer on stdout and are a success."""
    run = start_any(*way.command, f"--{what}")
    assert (run.wait(), run.err) == (0, "")
    assert run.out.endswith("\n")


def test_every_way_in_behaves_the_same(way: Engine, start_any: Start) -> None:
    """The program, its status, a forwarded signal, and options before and after `--`."""
    code = "block(); say('ready', sys.argv[1:]); record(signal.SIGTERM); sys.exit(7)"
    run = start_any(*way.command, "-v", "--", *python(code), "-v", "--", "x y").ready()
    run.send("USR1", "TERM")
    assert run.wait() == 7
    assert run.lines[:3] == ["ready ['-v', '--', 'x y']", "10", "15"]


def test_steady_state_is_light_and_named_pyinit(way: Engine, start_any: Start) -> None:
    """`ps` shows pyinit. Private memory: at most 64 kB, or in Python, however started, 800 kB over a bare interpreter's."""
    code = "import time; print('ready', flush=True); time.sleep(60)"
    bare = start_any(sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", code).ready()
    run = start_any(*way.command, "--", "sleep", "60").armed()
    assert processes.status(run.pid)["Name"] == "pyinit"
    most = 64 if way.is_native else processes.private_dirty(bare.pid) + 800
    assert processes.private_dirty(run.pid) <= most


# --- what PID 1 loads: about the interpreter, and so about the Python engine alone ---


@pytest.mark.parametrize("words", [engines.LAUNCHER, engines.MODULE, engines.SECOND, "module without -I"])
def test_working_directory_cannot_replace_a_module(words: str, start_any: Start, tmp_path: Path) -> None:
    """An application's own `signal.py`, `time.py` or `pyinit/` in the working directory never runs inside PID 1."""
    names = ["signal", "time", "errno", "select", "os"]
    if words in engines.WAYS:  # without -I Python itself looks for pyinit here, before a line of ours runs
        names.append("pyinit")
    for name in names:
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    way = engines.command(words, Path()) if words in engines.WAYS else (sys.executable, "-m", "pyinit")
    run = start_any(*way, "--", "true", cwd=tmp_path)
    assert run.wait() == 0, run.err


def test_environment_cannot_replace_a_module(start_any: Start, tmp_path: Path) -> None:
    """Nor can PYTHONPATH or PYTHONSTARTUP, once the second start is there."""
    for name in ("signal", "time", "errno", "select"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    run = start_any(*engines.command(engines.MODULE, Path()), "--", "true", env=env)
    assert run.wait() == 0, run.err


def imported(file: Path) -> set[str]:
    """The modules that a file imports anywhere, but not under `if TYPE:`."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE":
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            look(child)

    look(ast.parse(file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("file", sorted(INIT.glob("*.py")), ids=lambda file: file.name)
def test_imports_nothing_of_pyinit_outside_init(file: Path) -> None:
    """`init` knows nobody."""
    ours = {name for name in imported(file) if name.split(".")[0] == "pyinit"}
    assert {name for name in ours if not name.startswith("pyinit.init")} == set()


def test_hot_path_loads_c_built_ins_and_itself_only(start_any: Start) -> None:
    """sys.modules of a PID 1 that is just about to sleep: nothing that Python has not loaded by itself, but C modules and init."""
    show = """
import sys
before = set(sys.modules)
sys.path.append(sys.argv.pop(1))
from pyinit.init import engine, start
def run(self, child):
    for name in sorted(set(sys.modules) - before):
        module = sys.modules[name]
        print(name, getattr(module, "__file__", None) or "built-in")
    sys.stdout.flush()
    return 0
engine.Engine.run = run
engine.settle = lambda keep: None
words = [b"-t", b"1s", b"--stop-signals", b"TERM,QUIT", b"-r", b"HUP:0", b"-s", b"--log", b"json", b"--", b"true"]
start.run(words, {b"PATH": b"/usr/bin:/bin"}, ())
"""
    run = start_any(sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", show, str(INIT.parent.parent))
    assert run.wait() == 0, run.err
    loaded = dict(line.split(" ", 1) for line in run.lines)
    python_files = {
        name: file for name, file in loaded.items() if file.endswith(".py") and not name.startswith("pyinit")
    }
    assert python_files == {}
    assert {name for name in loaded if not name.startswith("pyinit")} <= {"_ctypes", "errno", "select", "_struct"}
    assert {name for name in loaded if name.startswith("pyinit")} <= {"pyinit", "pyinit.init"} | {
        f"pyinit.init.{name}"
        for name in ("engine", "forensics", "machine", "options", "program", "report", "signals", "start", "terminal")
    }
