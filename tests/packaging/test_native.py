"""The native executable and its wheel: static, the same bytes again, and never something else than was asked for."""

import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import packaging._manylinux
import packaging._musllinux
import packaging.tags
import packaging.utils
import pytest

from pyinit.init.start import VERSION
from pyinit.native import elf
from pyinit.native.targets import TARGETS, Target, find

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("PYINIT_COMPILER") or "zig"
NATIVE = Path(os.environ["PYINIT_NATIVE"])
HOST = next(target for target in TARGETS.values() if target == elf.read(NATIVE).target)


def run(
    *command: str | Path, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run something with these variables besides ours; an empty one is not set."""
    environment = {name: value for name, value in {**os.environ, **(variables or {})}.items() if value}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


# --- the executable ---


def test_what_is_installed_is_static() -> None:
    """By our own check, and by what `file` says."""
    elf.check(NATIVE, HOST)
    assert "statically linked" in run("file", "--brief", NATIVE).stdout


def test_it_says_which_engine_it_is() -> None:
    said = run(NATIVE, "--version").stdout
    assert said == f"pyinit {VERSION} (native engine, {HOST.name})\n"


STATIC = ("-static", "-no-pie")


@pytest.fixture(scope="session")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """An executable of a small program, by this machine's own compiler with these flags."""
    folder = tmp_path_factory.mktemp("linked")
    source = folder / "program.c"
    source.write_text("static int data = 3; int main(int argc, char **argv) { (void)argv; return data += argc; }\n")

    def link(*flags: str) -> Path:
        made = folder / f"program{'_'.join(flags)}".replace("/", "")
        done = run("cc", *flags, "-Wl,--no-warnings", "-o", made, source)
        if done.returncode:
            done = run("cc", *flags, "-o", made, source)
        assert done.returncode == 0, done.stderr
        return made

    return link


def test_a_good_executable_passes(linked: Callable[..., Path]) -> None:
    """What the broken ones below are variations of."""
    elf.check(linked(*STATIC), HOST)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(
            ("-no-pie",), r"is dynamically linked \(PT_INTERP, /lib.*ld.*\): .* link it with -static", id="interp"
        ),
        pytest.param(("-static-pie",), r"has a dynamic section \(PT_DYNAMIC\): .* link it with -static", id="dynamic"),
        pytest.param(
            (*STATIC, "-z", "execstack"),
            r"asks for an executable stack \(PT_GNU_STACK with X\): link with -z noexecstack",
            id="stack",
        ),
        pytest.param(
            (*STATIC, "-Wl,-N"), r"has a segment that is writable and executable .*: .*link without -N", id="omagic"
        ),
    ],
)
def test_a_broken_executable_is_refused(linked: Callable[..., Path], flags: tuple[str, ...], words: str) -> None:
    """Each by its own words: what, on what, why, what to do."""
    with pytest.raises(elf.ElfError, match=words):
        elf.check(linked(*flags), HOST)


def test_another_machine_is_refused() -> None:
    """In the words of both machines."""
    for target in TARGETS.values():
        if target == HOST:
            continue
        with pytest.raises(elf.ElfError, match=rf"is built for {HOST.name}, not for {target.name} \(e_machine"):
            elf.check(NATIVE, target)


@pytest.mark.parametrize(("at", "value"), [(4, 1), (5, 2), (18, 99)], ids=["class", "byte order", "e_machine"])
def test_every_part_of_the_machine_counts(tmp_path: Path, at: int, value: int) -> None:
    """The right e_machine with the wrong class or byte order is another machine, or no ELF at all."""
    content = bytearray(NATIVE.read_bytes())
    content[at] = value
    changed = tmp_path / "changed"
    changed.write_bytes(content)
    with pytest.raises(elf.ElfError, match=r"is built for|damaged"):
        elf.check(changed, HOST)


def test_a_stack_that_nobody_spoke_of_is_refused(tmp_path: Path) -> None:
    """Without PT_GNU_STACK the kernel decides, and on some machines it decides for execution."""
    content = NATIVE.read_bytes()
    mark = struct.pack(f"{HOST.order}I", elf.PT_GNU_STACK)
    changed = tmp_path / "changed"
    changed.write_bytes(content.replace(mark, bytes(4), 1))  # headers come first
    with pytest.raises(elf.ElfError, match=r"no PT_GNU_STACK\).*link with -z noexecstack"):
        elf.check(changed, HOST)


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(30)])
def test_what_is_no_executable_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(elf.ElfError, match=r"is no ELF executable|is a damaged ELF file"):
        elf.check(path, HOST)


# --- building ---


def copied(folder: Path) -> Path:
    """The sources that the build needs, elsewhere."""
    for package in ("native", "init"):
        shutil.copytree(
            ROOT / "pyinit" / package, folder / "pyinit" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyinit" / "__init__.py", folder / "pyinit")
    return folder


def built(
    root: Path, *options: str | Path, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """The build program, run in a source tree."""
    return run(sys.executable, "-m", "pyinit.native.build", *options, cwd=root, variables=variables)


def same_everywhere(tmp_path: Path, change: Callable[[Path], None] = lambda _: None) -> bool:
    """Build twice, in two folders with two temporary folders, and compare every byte."""
    sums = set()
    for name in ("one", "a/rather/longer/path with a space"):
        root = copied(tmp_path / name)
        change(root)
        temporary = root / "temporary"
        temporary.mkdir()
        done = built(
            root, "--compiler", COMPILER, "--output", root / "pyinit.elf", variables={"TMPDIR": str(temporary)}
        )
        assert done.returncode == 0, done.stderr
        sums.add(hashlib.sha256((root / "pyinit.elf").read_bytes()).hexdigest())
        assert list(temporary.iterdir()) == []
    return len(sums) == 1


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the folder and the temporary folder; and they are the bytes that are installed."""
    assert same_everywhere(tmp_path)
    assert (tmp_path / "one" / "pyinit.elf").read_bytes() == NATIVE.read_bytes()


def test_a_build_that_remembers_its_folder_is_caught(tmp_path: Path) -> None:
    """The comparison above sees it."""

    def write_it_down(root: Path) -> None:
        start = root / "pyinit" / "native" / "start.c"
        start.write_text(start.read_text().replace('" (native engine, "', f'" (built in {root}, "'))

    assert not same_everywhere(tmp_path, write_it_down)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "vax"), r"no target is called 'vax': there are x86_64, .*, host and all"),
        (("--compiler", "musl-gcc", "--target", "FOREIGN"), r"musl-gcc builds for this machine .*: use --compiler zig"),
    ],
)
def test_what_cannot_be_built_is_an_error(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """One line, exit status 1, and no file."""
    foreign = next(name for name in TARGETS if name != HOST.name)
    done = built(ROOT, *(foreign if word == "FOREIGN" else word for word in options), "--output", tmp_path / "made")
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert done.stderr.startswith("python -m pyinit.native.build: ")
    assert done.stderr.count("\n") == 1
    assert re.search(words, done.stderr)


def test_a_source_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    """With the compiler's own words; what was there before stays."""
    root = copied(tmp_path / "tree")
    with (root / "pyinit" / "native" / "tini.c").open("a") as file:
        file.write("int broken(void) { return nothing; }\n")
    output = tmp_path / "pyinit"
    output.write_text("the old one")
    done = built(root, "--compiler", COMPILER, "--output", output)
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert f"{COMPILER} could not build" in done.stderr
    assert output.read_text() == "the old one"


def stale(root: Path) -> list[str]:
    """The generated headers of a source tree that are not what its tables say."""
    code = (
        "import runpy; made = runpy.run_path('pyinit/native/generate.py')['files']()\n"
        "print(*[path.name for path, content in made.items() if path.read_text('utf-8') != content])"
    )
    done = run(sys.executable, "-B", "-c", code, cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_generated_headers_are_not_stale(tmp_path: Path) -> None:
    """What python pyinit/native/generate.py writes is what is there; and a difference would be seen, on either side."""
    assert stale(ROOT) == []
    root = copied(tmp_path)
    with (root / "pyinit" / "native" / "machine.h").open("a") as file:
        file.write("\n")
    options = root / "pyinit" / "init" / "options.py"
    options.write_text(options.read_text().replace("MAX_STEPS = ", "MAX_STEPS = 1 + "))
    assert stale(root) == ["machine.h", "options.h"]


# --- the wheel ---


def test_the_wheel_is_for_this_machine_and_brings_the_executable(native_wheel: Path, pure_wheel: Path) -> None:
    """The script is the ELF file, executable; everything else is what the pure wheel has, without C."""
    tags = packaging.utils.parse_wheel_filename(native_wheel.name)[3]
    assert {str(tag) for tag in tags} == {f"py3-none-{tag}" for tag in HOST.tags}
    assert tags & set(packaging.tags.sys_tags())
    with zipfile.ZipFile(native_wheel) as archive, zipfile.ZipFile(pure_wheel) as pure:
        script = f"pyinit_pid1-{VERSION}.data/scripts/pyinit"
        assert archive.read(script) == NATIVE.read_bytes()
        assert archive.getinfo(script).external_attr >> 16 & stat.S_IXUSR
        assert sorted(archive.namelist()) == sorted(pure.namelist())
        brought = {name for name in archive.namelist() if name.startswith("pyinit/native/")}
        assert brought == {f"pyinit/native/{name}.py" for name in ("__init__", "elf", "targets")}
        assert b"Root-Is-Purelib: false" in archive.read(f"pyinit_pid1-{VERSION}.dist-info/WHEEL")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_pip_accepts_the_tags(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    """On that machine, with the libc of a distribution of today, glibc and musl. (packaging decides, in pip too.)"""
    name, tags = target.name, target.tags
    monkeypatch.setattr(packaging._manylinux, "_have_compatible_abi", lambda *_: True)
    monkeypatch.setattr(packaging._manylinux, "_get_glibc_version", lambda: (2, 36))
    monkeypatch.setattr(packaging._musllinux, "_get_musl_version", lambda _: packaging._musllinux._MuslVersion(1, 2))
    assert tags[0] in set(packaging._manylinux.platform_tags([name]))
    assert tags[1] in set(packaging._musllinux.platform_tags([name]))


def test_pip_prefers_this_machine_s_wheel(native_wheel: Path, pure_wheel: Path, tmp_path: Path) -> None:
    """Both in one folder, as on an index; on a machine that has none of its own, the pure one."""
    index = tmp_path / "index"
    index.mkdir()
    for one in (native_wheel, pure_wheel):
        shutil.copy(one, index)
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--find-links", index)
    for platform, expected in (((), native_wheel), (("--platform=linux_mips", "--only-binary=:all:"), pure_wheel)):
        place = tmp_path / expected.stem
        done = run(sys.executable, "-m", "pip", "download", *options, *platform, "--dest", place, "pyinit-pid1")
        assert done.returncode == 0, done.stderr
        assert [path.name for path in place.iterdir()] == [expected.name]


def test_it_runs_where_nothing_else_is(bare_native: Path) -> None:
    """`pyinit` is the native engine, `python -m pyinit` the Python one."""
    assert "(native engine" in run(bare_native / "bin" / "pyinit", "--version").stdout
    assert "(Python engine" in run(bare_native / "bin" / "python", "-I", "-m", "pyinit", "--version").stdout
    assert run(bare_native / "bin" / "pyinit", "--", "sh", "-c", "exit 42").returncode == 42


# --- the hook ---


@pytest.fixture
def without_ziglang(tmp_path: Path) -> str:
    """A PYTHONPATH that hides the package."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "ziglang.py").touch()
    return str(folder)


def test_no_compiler_is_an_error_and_no_pure_wheel(tmp_path: Path, without_ziglang: str) -> None:
    """What was asked for is built, or nothing is."""
    for variables, words in (
        (
            {"PYTHONPATH": without_ziglang, "PYINIT_COMPILER": ""},
            ("ziglang is not installed", "pip install 'ziglang>=", "musl-gcc"),
        ),
        (
            {"PATH": "/nonexistent", "PYINIT_COMPILER": "musl-gcc"},
            ("no musl-gcc on PATH", "apt-get install musl-tools"),
        ),
        ({"PYINIT_COMPILER": "tcc"}, ("no compiler is called 'tcc': there are zig, musl-gcc, cc",)),
        ({"PYINIT_TARGET": "vax"}, ("PYINIT_TARGET=vax: no target is called 'vax': there are x86_64",)),
        ({"PYINIT_TARGET": "all"}, ("PYINIT_TARGET=all: all is 8 machines, and a wheel is for one",)),
    ):
        pip = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir")
        done = run(sys.executable, *pip, tmp_path / "out", ROOT, variables={"PYINIT_TARGET": "host", **variables})
        assert done.returncode != 0
        assert all(word in done.stdout + done.stderr for word in words), done.stdout + done.stderr
        assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"PYINIT_TARGET": "s390x"}, ["ziglang>=0.17,<0.18"]),
        ({"PYINIT_TARGET": "host", "PYINIT_COMPILER": "musl-gcc"}, []),
    ],
)
def test_an_isolated_build_gets_the_compiler_it_needs(variables: dict[str, str], expected: list[str]) -> None:
    """By the standard way for a build backend to say so."""
    code = "import hatchling.build as b; print(*b.get_requires_for_build_wheel())"
    done = run(sys.executable, "-c", code, variables={"PYINIT_TARGET": "", "PYINIT_COMPILER": "", **variables})
    assert done.stdout.split() == expected, done.stderr


def test_the_pin_is_the_same_everywhere() -> None:
    """In the extra and in the build program."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    code = "from pyinit.native.build import ZIG; print(ZIG)"
    assert project["optional-dependencies"]["native"] == [run(sys.executable, "-c", code).stdout.strip()]


@pytest.mark.parametrize("target", TARGETS)
def test_names_of_machines(target: str) -> None:
    """Every name and alias finds its row, and no two rows share one."""
    row = TARGETS[target]
    assert all(find(name) == row for name in (row.name, *row.aliases))
    others = {name for other in TARGETS.values() if other != row for name in (other.name, *other.aliases)}
    assert not others & {row.name, *row.aliases}
