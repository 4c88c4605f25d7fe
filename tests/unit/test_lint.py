"""`pyinitctl lint`: what is found in files, and what is not. Everything is read as the command reads it, from files."""

import ast
import json
import re
from pathlib import Path

import pytest

from pyinit.init import options
from pyinit.lint import catalogue, compose, report, shell
from pyinit.lint.catalogue import BY_ID, RULES
from pyinit.lint.findings import UnreadableError
from pyinit.lint.launch import Image
from pyinit.lint.linter import Outcome, Request, lint
from support.lint_pages import examples, write

DATA = Path(__file__).resolve().parents[1] / "data" / "lint"
EXPECTED = re.compile(r"(?:(\S+):)?(\d+) (PI\d{3}) \S.*")


def found(outcome: Outcome, folder: Path) -> list[tuple[str, int, str]]:
    """File, line and rule of each finding that counts."""
    return [(str(Path(one.place.path).relative_to(folder)), one.place.line, one.rule) for one in outcome.counted]


def linted(tmp_path: Path, text: str, name: str = "Dockerfile", **files: str) -> list[tuple[int, str]]:
    """Line and rule of what is found in one file, with others beside it (`start_sh` is start.sh)."""
    (tmp_path / name).write_text(text)
    for other, content in files.items():
        (tmp_path / other.replace("_", ".")).write_text(content)
    outcome = lint([tmp_path / name], Request())
    assert not outcome.problems
    return [(line, rule) for _, line, rule in found(outcome, tmp_path)]


# --- files as people have them ---


@pytest.mark.parametrize("folder", sorted(DATA.iterdir()), ids=lambda folder: folder.name)
def test_files_as_official_images_have_them(folder: Path) -> None:
    """What is expected stands beside each, with the reason; everything else would be a false alarm."""
    lines = (folder / "expected").read_text().splitlines()
    expected = []
    for line in lines:
        said = EXPECTED.fullmatch(line)
        assert said or re.fullmatch(r"nothing: \S.*", line), f"{folder.name}/expected: {line}"
        if said:
            expected.append((said[1] or "Dockerfile", int(said[2]), said[3]))
    outcome = lint([folder], Request())
    assert sorted(found(outcome, folder)) == sorted(expected)
    assert not outcome.problems


def test_there_are_enough_of_them() -> None:
    assert len([folder for folder in DATA.iterdir() if (folder / "Dockerfile").is_file()]) >= 50


def test_our_own_files_are_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README tells people to copy, and all that the tests run, keeps our own rules."""
    root = DATA.parents[2]
    monkeypatch.chdir(root)
    outcome = lint([root / "Dockerfile.example", root / "docker", root / "tests" / "container"], Request())
    assert (outcome.counted, outcome.problems) == ([], {})
    assert len(outcome.files) >= 8


# --- the pages ---


def test_index_is_made_of_the_table() -> None:
    assert (catalogue.PAGES / "INDEX.md").read_text() == catalogue.index(), "run tests/support/generate.py"
    assert {path.stem for path in catalogue.PAGES.glob("*.md")} == {rule.id for rule in RULES} | {"INDEX"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_examples_of_a_page(rule: catalogue.Rule, tmp_path: Path) -> None:
    """The bad one is found by its rule, the good one by none; a preStop hook needs the image, and somebody stands for the engine."""
    assert rule.page.startswith(f"# {rule.id}: {rule.title}\n")
    assert [word for word in ("## Why", "## Bad", "## Good", "## What it does not find") if word not in rule.page] == []
    request = Request(images=NoSleep()) if rule.id == "PI403" else Request()
    both = {name: lint([write(files, tmp_path / name)], request).counted for name, files in examples(rule).items()}
    assert rule.id in {one.rule for one in both["Bad"]}
    assert both["Good"] == []


class NoSleep:
    """An engine whose images have nothing but /server."""

    def image(self, name: str) -> Image | None:
        return Image(["/server"], [], {}, "") if name else None

    def lacks(self, name: str, program: str) -> bool:
        return program != "/server" and bool(name)


# --- shells ---


@pytest.mark.parametrize(
    ("text", "endings"),
    [
        ('exec "$@"', "exec"),
        ("a; b", "last"),
        ("a && b", "last"),
        ("a && echo x", "child"),
        ("a\nrm -f x\n", "child"),
        ("a || exit 1", "child"),
        ("a | b", "child child"),
        ("exec a | b", "child child"),
        ("(exec a)", "child"),
        ("exec 2>&1\nexec a", "exec"),
        ("if x; then exec a; elif y; then b; else exec c; fi", "exec last exec"),
        ("case $1 in a|b) x;; *) exec y;; esac", "last exec"),
        ("while :; do a; sleep 5; done", "loop"),
        ("until a; do sleep 1; done; exec b", "exec"),
        ("f() { exec a; }\nf", "exec"),
        ("f() { f; }; f", ""),
        ("a &\nwait", "wait"),
        ("a; b &", "child"),
        ("cat <<E\nexec no\nE\nexec a", "exec"),
        ("# exec a\na # exec b", "last"),
        ("echo x; true", ""),
        ("", ""),
        ("command exec a", "exec"),
        ("exec -a name a", "exec"),
        ("A=b c >x 2>&1", "last"),
        ("! a", "child"),
        ("for i; do exec a; done", "exec"),
        ("{ exec a; }", "exec"),
        (". /lib.sh\nexec_as_user a", "unknown"),
        ("exec_as_user a", "last"),
        (". /lib.sh\nrun-it a", "last"),
        ('if [[ "$*" = *"/a"* || "$*" = *"/b"* ]]; then x; fi; exec a', "exec"),
    ],
)
def test_what_a_shell_does_last(text: str, endings: str) -> None:
    assert " ".join(one.how.value for one in shell.read(text).endings) == endings


@pytest.mark.parametrize("text", ["exec a &&", "if x; then", "a 'b", "x\0y", "a" * (shell.MOST + 1)])
def test_what_is_no_shell_text(text: str) -> None:
    with pytest.raises(UnreadableError):
        shell.read(text)


SHELL_FORMS = [
    ('CMD ["app", "-x"]', []),
    ("CMD app -x", [(2, "PI101")]),
    ("CMD exec app -x", []),
    ("CMD a && exec app", []),
    ("CMD exec app && echo x", []),
    ("CMD app; echo x", [(2, "PI101")]),
    ("CMD app | tee log", [(2, "PI101")]),
    ('CMD ["sh", "-c", "app; echo x"]', [(2, "PI101")]),
    ('CMD ["bash", "-euxo", "pipefail", "-c", "app; echo x"]', [(2, "PI101")]),
    ('CMD ["bash"]', []),
    ('CMD ["bash", "-l"]', []),
    ('SHELL ["/bin/bash", "-c"]\nCMD app', [(3, "PI101")]),
    ('ENTRYPOINT ["sh", "-c"]\nCMD ["app; echo x"]', [(3, "PI101")]),
    ('ENTRYPOINT ["pyinit", "--"]\nCMD app; echo x', []),
    ('ENTRYPOINT ["pyinit", "--scope", "child", "--"]\nCMD app; echo x', [(3, "PI101")]),
    ('ENTRYPOINT ["pyinit", "-c", "--"]\nCMD app; echo x', [(3, "PI101")]),
    ('ENTRYPOINT ["tini", "--"]\nCMD app; echo x', [(3, "PI101")]),
    ('ENTRYPOINT ["tini", "-vg", "--"]\nCMD app; echo x', []),
    ('ENV TINI_KILL_PROCESS_GROUP=1\nENTRYPOINT ["tini", "--"]\nCMD app; echo x', []),
    ('ENTRYPOINT ["dumb-init", "--"]\nCMD app; echo x', []),
    ('ENTRYPOINT ["dumb-init", "--single-child", "--"]\nCMD app; echo x', [(3, "PI101")]),
    ('ENTRYPOINT ["catatonit", "--"]\nCMD app; echo x', [(3, "PI101")]),
    ('ENTRYPOINT ["python3", "-I", "-m", "pyinit", "--"]\nCMD app; echo x', []),
    ("ENTRYPOINT app\nCMD ignored", [(2, "PI101")]),
    ('CMD app; echo x\nCMD ["app"]', []),
    ("ENTRYPOINT []\nCMD []", []),
    ("CMD trap 'kill $!' TERM; app & wait", []),
    ("CMD app & wait", [(2, "PI101")]),
    ("CMD app 'unbalanced", []),
    ('CMD ["gosu", "app", "sh", "-c", "a; b; echo"]', [(2, "PI101")]),
    ('CMD ["env", "-u", "X", "A=b", "nice", "-n", "5", "sh", "-c", "a; b; echo"]', [(2, "PI101")]),
    ("ONBUILD CMD app", [(2, "PI101")]),
    ("RUN app\nHEALTHCHECK CMD curl x || exit 1", []),
]


@pytest.mark.parametrize(("lines", "expected"), SHELL_FORMS, ids=[lines for lines, _ in SHELL_FORMS])
def test_shell_in_front(lines: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    assert linted(tmp_path, f"FROM debian\n{lines}\n") == expected


def test_words_of_a_shell_form(tmp_path: Path) -> None:
    """It says in front of which program, and what to write instead: the array where there is nothing for a shell to do."""
    (tmp_path / "Dockerfile").write_text('FROM debian\nCMD gunicorn -w 4 "shop:app"\n')
    (one,) = lint([tmp_path], Request()).counted
    assert "in front of 'gunicorn'; some shells stay there" in one.message
    assert one.fix == 'CMD ["gunicorn", "-w", "4", "shop:app"]'
    (tmp_path / "Dockerfile").write_text("FROM debian\nCMD prepare && gunicorn -b :$PORT app\n")
    (one,) = lint([tmp_path], Request()).counted
    assert one.fix == "exec before its last command: prepare && exec gunicorn -b :$PORT app"


SCRIPTS = [
    ('exec "$@"', []),
    ('"$@"', [(2, "PI102")]),
    ("app", [(2, "PI102")]),
    ("app; echo x", [(2, "PI102")]),
    ("app &\nwait", [(3, "PI102")]),
    ("trap x TERM\napp &\nwait $!\nwait $!", []),
    ("while :; do app; done", [(2, "PI102")]),
    ("trap 'exit 0' TERM\nwhile :; do app; sleep 60 & wait $!; done", []),
    ("if x; then exec a; fi\nb", [(3, "PI102")]),
    ("echo only", []),
    ("exec (", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), SCRIPTS, ids=[text for text, _ in SCRIPTS])
def test_entry_scripts(text: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    """Found through COPY; the finding is about a line of the script."""
    files = {"start_sh": f"#!/bin/sh\n{text}\n"}
    dockerfile = 'FROM debian\nCOPY start.sh /\nENTRYPOINT ["/start.sh"]\nCMD ["app"]\n'
    assert linted(tmp_path, dockerfile, **files) == expected
    assert linted(tmp_path, dockerfile.replace('["/', '["sh", "/'), **files) == expected
    assert linted(tmp_path, dockerfile.replace('["/', '["pyinit", "--", "/'), **files) == []


@pytest.mark.parametrize(
    "lines",
    [
        "COPY start.sh /bin/\nCMD start.sh",
        "COPY . /app\nWORKDIR /app\nCMD ./start.sh",
        "ADD *.sh /app/\nCMD /app/start.sh",
        "WORKDIR /srv\nCOPY start.sh run\nCMD /srv/run",
        "COPY --chmod=755 ./start.sh /usr/local/bin\nCMD start.sh",
        "ENV D=/opt\nCOPY start.sh ${D}/x/\nCMD /opt/x/start.sh",
        "ARG S=start.sh\nCOPY $S /s\nCMD /s",
        "COPY --from=scripts /in/start.sh /s\nCMD /s",
        "COPY --from=0 /in /out\nCMD /out/start.sh",
        'COPY ["start.sh", "/x y"]\nCMD /x y',
    ],
)
def test_where_a_script_comes_from(lines: str, tmp_path: Path) -> None:
    """All the ways in which COPY names a target; of another stage, too."""
    *before, last = lines.split("\n")
    text = "\n".join(
        ["FROM scratch AS scripts", "COPY start.sh /in/", "FROM debian", *before, f'CMD ["{last[4:]}"]', ""]
    )
    assert linted(tmp_path, text, start_sh="#!/bin/sh\napp\n") == [(2, "PI102")]


def test_nothing_outside_the_context_is_read(tmp_path: Path) -> None:
    """As the builder has it: not by `..`, and not by a link."""
    (tmp_path / "outside.sh").write_text("#!/bin/sh\napp\n")
    inside = tmp_path / "context"
    inside.mkdir()
    (inside / "link.sh").symlink_to("../outside.sh")
    for source in ("../outside.sh", "link.sh"):
        (inside / "Dockerfile").write_text(f'FROM debian\nCOPY {source} /s\nCMD ["/s"]\n')
        assert lint([inside], Request()).counted == []
    (inside / "link.sh").unlink()
    (inside / "link.sh").write_text("#!/bin/sh\napp\n")
    assert len(lint([inside], Request()).counted) == 1


def test_context(tmp_path: Path) -> None:
    """`docker build -f docker/Dockerfile .`: scripts are in another folder than the Dockerfile."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "start.sh").write_text("#!/bin/sh\napp\n")
    (tmp_path / "docker" / "Dockerfile").write_text('FROM debian\nCOPY start.sh /s\nCMD ["/s"]\n')
    assert lint([tmp_path / "docker"], Request()).counted == []
    assert len(lint([tmp_path / "docker"], Request(context=tmp_path)).counted) == 1


# --- stages, arguments, the escape ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FROM a AS x\nCMD shell form\nFROM debian\nCMD ["app"]', []),
        ("FROM a AS x\nCMD shell form\nFROM X", [(2, "PI101")]),
        ("ARG B=x\nFROM a AS x\nCMD shell form\nFROM ${B}", [(3, "PI101")]),
        ('FROM a AS x\nCMD shell form\nFROM x\nENTRYPOINT ["app"]', []),
        ("FROM a AS x\nONBUILD CMD shell form\nFROM x", [(2, "PI101")]),
        ('FROM a AS x\nONBUILD CMD shell form\nFROM x\nCMD ["app"]', []),
        ("FROM debian\nCMD \\\n# a comment\n  shell \\\n  form", [(2, "PI101")]),
        ("# escape=`\nFROM debian\nCMD shell `\n  form", [(3, "PI101")]),
        ('FROM debian\nRUN <<E\nCMD shell form\nE\nCMD ["app"]', []),
        ('FROM debian\nCOPY <<E /s\n#!/bin/sh\n\napp\nE\nCMD ["/s"]', [(5, "PI102")]),
        ("FROM debian\ncmd app", [(2, "PI101")]),
        ("FROM debian\nCMD [\"a\", 'b']", [(2, "PI101")]),  # no JSON: the shell form
    ],
)
def test_dockerfiles(text: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    assert linted(tmp_path, text + "\n") == expected


@pytest.mark.parametrize(
    "text", ["", "# nothing", "CMD app", "FROM a\nRUN <<E\nx", "FROM a\nENV A", 'FROM a\nCMD ["a", 1]']
)
def test_what_is_no_dockerfile(text: str, tmp_path: Path) -> None:
    """One line, exit status 2; other files are judged all the same."""
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "web.Dockerfile").write_text("FROM debian\nCMD app\n")
    outcome = lint([tmp_path], Request())
    assert (list(outcome.problems), outcome.status, len(outcome.counted)) == ([str(tmp_path / "Dockerfile")], 2, 1)


# --- inits ---


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('CMD ["celery", "-A", "x", "worker"]', [(2, "PI201")]),
        ('CMD ["python3", "-m", "celery", "-A", "x", "worker"]', [(2, "PI201")]),
        ('CMD ["celery", "-A", "x", "beat"]', []),
        ('CMD ["exec", "celery", "worker"]', []),
        ("CMD exec celery -A x worker", [(2, "PI201")]),
        ('CMD ["su-exec", "app", "celery", "worker"]', [(2, "PI201")]),
        ('CMD ["npm", "run", "start"]', [(2, "PI201")]),
        ('CMD ["npm", "ci"]', []),
        ('CMD ["node", "app.js"]', []),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["npm", "start"]', []),
        ('ENTRYPOINT ["s6-svscan", "/etc/s6"]\nCMD ["npm", "start"]', []),
        ('ENTRYPOINT ["/init"]\nCMD ["npm", "start"]', []),
        ('CMD ["pyinit", "--", "npm", "start"]', []),
        ('ENTRYPOINT ["tini", "app", "-x"]', [(2, "PI203")]),
        ('ENTRYPOINT ["tini", "-g"]\nCMD ["app"]', [(2, "PI203")]),
        ('ENTRYPOINT ["tini", "-p", "SIGTERM", "-e", "143", "--", "app"]', []),
        ('ENTRYPOINT ["catatonit", "app"]', [(2, "PI203")]),
        ('ENTRYPOINT ["catatonit", "-g", "--", "app"]', []),
        ('ENTRYPOINT ["dumb-init", "app", "-x"]', []),
        ('ENTRYPOINT ["pyinit", "app", "-x"]', []),
        ("ENTRYPOINT tini -- app", [(2, "PI202")]),
        ("ENTRYPOINT exec tini -- app", []),
        ('ENTRYPOINT ["sh", "-c", "pyinit -- app; echo"]', [(2, "PI202")]),
        ('ENTRYPOINT ["dumb-init", "--", "tini", "--", "app"]', [(2, "PI204")]),
        ('ENTRYPOINT ["pyinit", "--", "pyinit", "--", "app"]', [(2, "PI204")]),
        ('ENTRYPOINT ["pyinit", "--"]', []),
    ],
)
def test_inits(lines: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    assert linted(tmp_path, f"FROM debian\n{lines}\n") == expected


def test_an_entry_point_that_is_not_known(tmp_path: Path) -> None:
    """A base image of somebody else's may bring an init; an official one does not."""
    for base, expected in (
        ("shop/base:1", []),
        ("python:3.13-slim", [(2, "PI201")]),
        ("docker.io/library/node", [(2, "PI201")]),
    ):
        assert linted(tmp_path, f'FROM {base}\nCMD ["npm", "start"]\n') == expected, base


# --- signals and options ---


@pytest.mark.parametrize(
    ("base", "lines", "expected"),
    [
        ("debian", 'STOPSIGNAL QUIT\nENTRYPOINT ["pyinit", "--"]', [(2, "PI301")]),
        ("debian", 'STOPSIGNAL 3\nENTRYPOINT ["pyinit", "--"]', [(2, "PI301")]),
        ("debian", 'STOPSIGNAL QUIT\nENTRYPOINT ["pyinit", "--stop-signals=TERM,QUIT", "--"]', []),
        ("debian", 'STOPSIGNAL QUIT\nENV PYINIT_STOP_SIGNALS=QUIT\nENTRYPOINT ["pyinit", "--"]', []),
        ("debian", 'ARG S=QUIT\nSTOPSIGNAL SIG$S\nENTRYPOINT ["pyinit", "--"]', [(3, "PI301")]),
        ("debian", 'ARG S\nSTOPSIGNAL $S\nENTRYPOINT ["pyinit", "--"]', []),
        ("debian", 'STOPSIGNAL INT\nENTRYPOINT ["pyinit", "-r", "INT:0", "--"]', [(2, "PI301")]),
        ("debian", 'STOPSIGNAL INT\nENTRYPOINT ["pyinit", "-r", "INT:QUIT", "--"]', []),
        ("debian", 'ENTRYPOINT ["pyinit", "--stop-signals", "QUIT", "--"]', [(1, "PI301")]),
        ("nginx:1.27", 'ENTRYPOINT ["pyinit", "--stop-signals", "QUIT", "--"]', []),
        ("nginx", 'ENTRYPOINT ["pyinit", "--"]', [(1, "PI301")]),
        ("php:8.3-fpm", 'ENTRYPOINT ["pyinit", "--"]', [(1, "PI301")]),
        ("php:8.3-cli", 'ENTRYPOINT ["pyinit", "--"]', []),
        ("me/nginx", 'ENTRYPOINT ["pyinit", "--"]', []),
        ("nginx", 'CMD ["nginx"]', []),
        ("debian", 'STOPSIGNAL KILL\nCMD ["app"]', [(2, "PI301")]),
        ("debian", 'STOPSIGNAL NONE\nCMD ["app"]', [(2, "PI301")]),
        ("debian", 'STOPSIGNAL RTMIN+3\nCMD ["app"]', []),
    ],
)
def test_stop_signals(base: str, lines: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    assert linted(tmp_path, f"FROM {base}\n{lines}\n") == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--grace", "20sec", "--", "app"], 3),
        (["--grce=20s", "--", "app"], 3),
        (["-t", "5s", "--stop", "TERM:5s", "--", "app"], 2),
        (["-rTERM=QUIT", "--", "app"], 3),
        (["--stop-signals", "KILL", "--", "app"], 3),
        (["-Z", "--", "app"], 3),
        (["--drain"], 3),
    ],
)
def test_wrong_options(words: list[str], line: int, tmp_path: Path) -> None:
    """The words of pyinit itself, at the line of the word that they begin with."""
    with pytest.raises(options.UsageError) as error:
        options.parse([word.encode() for word in words], {})
    array = ", ".join(f'\\\n"{word}"' if n == 0 else f'"{word}"' for n, word in enumerate(words))
    (tmp_path / "Dockerfile").write_text(f'FROM debian\nENTRYPOINT ["pyinit", {array}]\n')
    (one,) = lint([tmp_path], Request()).counted
    assert (one.rule, one.message, one.place.line) == ("PI302", f"pyinit: {error.value}", line)


def test_wrong_variables(tmp_path: Path) -> None:
    """At the line of ENV, with its value as the builder makes it; one that is not known is no error."""
    text = 'FROM debian\nARG G=5\nARG U\nENV A=b \\\n  PYINIT_GRACE=${G}x\nENTRYPOINT ["pyinit", "--", "app"]\n'
    assert linted(tmp_path, text) == [(5, "PI302")]
    assert linted(tmp_path, text.replace("}x", "}s")) == []
    assert linted(tmp_path, text.replace("${G}x", "$U")) == []
    assert (
        linted(tmp_path, text.replace('"--"', '"-t", "9s", "--"')) == []
    )  # the option wins, and the variable is not read


# --- manifests ---

POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: x}}
spec:
  {spec}
  containers:
    - name: web
      image: shop:1
      {container}
"""


@pytest.mark.parametrize(
    ("spec", "container", "expected"),
    [
        ("", "command: [pyinit, --, app]", []),
        ("", "command: [pyinit, --drain, 5s, --, app]", [(8, "PI401")]),
        ("terminationGracePeriodSeconds: 35", "command: [pyinit, --drain, 5s, --, app]", []),
        ("terminationGracePeriodSeconds: 34", "command: [pyinit, --drain, 5s, --, app]", [(5, "PI401")]),
        ("terminationGracePeriodSeconds: 10", 'command: [pyinit, --stop, "TERM:5s,INT:4s,KILL", --, app]', [(5, "PI401")]),
        ("terminationGracePeriodSeconds: 10", "command: [pyinit, --grace, infinity, --, app]", []),
        ("terminationGracePeriodSeconds: 10", "command: [app]", []),
        ("terminationGracePeriodSeconds: 10", "env: [{name: PYINIT_GRACE, value: 9s}]", [(5, "PI401")]),
        ("terminationGracePeriodSeconds: 10", "env: [{name: PYINIT_GRACE, valueFrom: {}}]\n      command: [pyinit, app]", []),
        ("", "command: [pyinit, app]\n      lifecycle: {preStop: {sleep: {seconds: 3}}}", [(8, "PI401")]),
        ("", 'command: [pyinit, app]\n      lifecycle: {preStop: {exec: {command: [sleep, "3"]}}}', [(8, "PI401")]),
        ("", 'command: [pyinit, app]\n      lifecycle: {preStop: {exec: {command: [sh, -c, "x; sleep 3"]}}}', [(8, "PI401")]),
        ("", "command: [pyinit, app]\n      lifecycle: {preStop: {exec: {command: [x]}}}", []),
        ("shareProcessNamespace: true", "command: [tini, --, app]", [(5, "PI205")]),
        ("shareProcessNamespace: true", "command: [tini, -s, --, app]", []),
        ("shareProcessNamespace: true", "command: [dumb-init, --, app]", [(5, "PI205")]),
        ("shareProcessNamespace: true", "command: [catatonit, --, app]", []),
        ("hostPID: true", "command: [/init, app]", [(5, "PI205")]),
        ("shareProcessNamespace: false", "command: [tini, --, app]", []),
        ("shareProcessNamespace: true", "command: [pyinit, --, app]", []),
        ("shareProcessNamespace: true", "command: [pyinit, --no-subreaper, --, app]", [(5, "PI205")]),
        ("shareProcessNamespace: true", "command: [npm, start]", []),
        ("", "command: [npm, start]", [(8, "PI201")]),
        ("", "args: [npm, start]", []),
        ("", "command: [pyinit, --grace, $(G)x, app]\n      env: [{name: G, value: '5'}]", [(8, "PI302")]),
        ("", "command: [pyinit, --grace, $(G), app]\n      env: [{name: G, valueFrom: {}}]", []),
        ("", 'command: [sh, -c]\n      args: ["app; echo x"]', [(9, "PI101")]),
        ("", "command: [pyinit, app]\n      lifecycle: {stopSignal: SIGUSR1}", [(9, "PI301")]),
    ],
)  # fmt: skip
def test_pods(spec: str, container: str, expected: list[tuple[int, str]], tmp_path: Path) -> None:
    text = POD.format(spec=spec or "restartPolicy: Never", container=container)
    found = [rule for _, rule in linted(tmp_path, text, "pod.yaml")]
    assert found == [rule for _, rule in expected]
    lines = {line for line, _ in linted(tmp_path, text, "pod.yaml")}
    # a line of the flow mapping that holds the whole container is as good
    assert all(any(abs(line - other) <= 1 for other in lines) for line, _ in expected)


@pytest.mark.parametrize(("given", "drain"), [(30, "5s"), (10, "1s"), (12, "1500ms"), (3, "1s")])
def test_what_to_write_instead(given: int, drain: str, tmp_path: Path) -> None:
    """Both remedies put it right: the longer period, and the shorter grace where there is room for one."""
    command = f"command: [pyinit, --drain, {drain}, app]"
    (tmp_path / "pod.yaml").write_text(POD.format(spec=f"terminationGracePeriodSeconds: {given}", container=command))
    (one,) = lint([tmp_path], Request()).counted
    said = re.fullmatch(r"terminationGracePeriodSeconds: (\d+)(?:, or --grace (\d+s))?", one.fix)
    assert said
    (tmp_path / "pod.yaml").write_text(POD.format(spec=f"terminationGracePeriodSeconds: {said[1]}", container=command))
    assert lint([tmp_path], Request()).counted == []
    assert bool(said[2]) == (given > 3)
    if said[2]:
        shorter = command.replace("app", f"--grace, {said[2]}, app")
        (tmp_path / "pod.yaml").write_text(
            POD.format(spec=f"terminationGracePeriodSeconds: {given}", container=shorter)
        )
        assert lint([tmp_path], Request()).counted == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "List"])
def test_kinds(kind: str, tmp_path: Path) -> None:
    """Wherever a pod's own part stands; among several documents."""
    pod = {"containers": [{"name": "a", "command": ["pyinit", "--grace", "x", "app"]}]}
    template = {"template": {"spec": pod}}
    spec = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template
    one: dict[str, object] = {"apiVersion": "v1", "kind": kind, "spec": spec}
    if kind == "List":
        one = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod", "spec": pod}]}
    text = "apiVersion: v1\nkind: ConfigMap\n---\n" + json.dumps(one) + "\n---\n"
    assert linted(tmp_path, text, "all.yaml") == [(4, "PI302")]


def test_what_ends_by_itself(tmp_path: Path) -> None:
    """A shell in a Job or an init container is how Kubernetes' own documentation writes them; the same in a Deployment is a fault."""
    init = "initContainers: [{name: i, command: [sh, -c, 'until nslookup db; do sleep 2; done']}]"
    assert linted(tmp_path, POD.format(spec=init, container="command: [app]"), "pod.yaml") == []
    pod = {"containers": [{"name": "a", "command": ["sh", "-c", "date; echo hello"]}]}
    for kind, expected in (("Job", []), ("Deployment", [(1, "PI101")])):
        text = json.dumps({"apiVersion": "v1", "kind": kind, "spec": {"template": {"spec": pod}}})
        assert linted(tmp_path, text, "x.yaml") == expected


def test_init_containers(tmp_path: Path) -> None:
    """They end by themselves, unless they are sidecars: no grace period is theirs."""
    text = POD.format(spec="initContainers: [{name: i, command: [pyinit, -d, 9s, app]}]", container="command: [app]")
    assert linted(tmp_path, text, "pod.yaml") == []
    assert linted(tmp_path, text.replace("name: i", "name: i, restartPolicy: Always"), "pod.yaml") == [(5, "PI401")]


# --- Compose ---


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("{image: x, entrypoint: [pyinit, --], command: app}", []),
        ("{image: x, entrypoint: pyinit -- app, init: true}", ["PI204"]),
        ("{image: x, init: true}", []),
        ("{image: x, entrypoint: [pyinit, --grace, 9s, --], command: app}", ["PI402"]),
        ("{image: x, entrypoint: [pyinit, --grace, 9s, --], command: app, stop_grace_period: 11s}", []),
        ("{image: x, entrypoint: [pyinit, --, app], stop_grace_period: 5s}", ["PI402"]),
        ("{image: x, entrypoint: [pyinit, --, app], stop_grace_period: $G}", []),
        ("{image: x, environment: {PYINIT_DRAIN: 3s}}", ["PI402"]),
        ("{image: x, environment: [PYINIT_DRAIN=3s], stop_grace_period: 1m}", []),
        ("{image: x, environment: [PYINIT_DRAIN]}", []),
        ("{image: x, stop_signal: SIGQUIT}", []),
        ("{image: x, entrypoint: [pyinit, --, app], stop_signal: SIGQUIT}", ["PI301"]),
        ("{image: x, stop_signal: SIGKILL}", ["PI301"]),
        ("{image: 'nginx:1.27', entrypoint: [pyinit, --, app]}", ["PI301"]),
        ("{image: 'nginx:1.27', entrypoint: [pyinit, --, app], stop_signal: SIGTERM}", []),
        ("{image: x, stop_signal: $S}", []),
        ("{image: x, entrypoint: [tini, --, app], pid: host}", ["PI205"]),
        ("{image: x, entrypoint: [pyinit, --grace, '${G}', --, app]}", []),
        ("{image: x, entrypoint: [pyinit, --grace, 5x, --, app]}", ["PI302"]),
        ("{image: x, command: npm start}", []),
        ("{image: x, entrypoint: npm start}", ["PI201"]),
        ("{image: x, entrypoint: npm start, init: true}", []),
        ("{image: x, command: sh -c 'app $$X; echo'}", ["PI101"]),
        ('{image: x, command: "sh -c \'unbalanced"}', []),
        ("{build: ., init: true}", ["PI204"]),
        ("{build: ., stop_signal: SIGUSR1}", ["PI301"]),
        ("{build: ., environment: {PYINIT_DRAIN: 5s}}", ["PI402"]),
        ("{build: {context: ., target: plain}, init: true}", []),
        ("{build: {context: ./nowhere}, init: true}", []),
        ("{build: 'https://example.invalid/x.git', init: true}", []),
        ("null", []),
    ],
)
def test_services(service: str, expected: list[str], tmp_path: Path) -> None:
    """A service with `build` is read with its Dockerfile; what is wrong in that is said of it alone."""
    (tmp_path / "Dockerfile").write_text('FROM debian AS plain\nCMD ["app"]\nFROM plain\nENTRYPOINT ["pyinit", "--"]\n')
    assert [rule for _, rule in linted(tmp_path, f"services:\n  web: {service}\n", "compose.yaml")] == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5s", 1.5), ("1h", 3600), ("10", None), ("", None), ("5 s", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = compose.duration(text)
    assert (None if found is None else found / 1e9) == seconds


def test_yaml_with_anchors(tmp_path: Path) -> None:
    """Merged keys count, and an anchor within itself ends."""
    text = "x-a: &a {init: true}\nservices:\n  web: {<<: *a, entrypoint: [pyinit, --, app]}\n"
    assert linted(tmp_path, text, "compose.yaml") == [(1, "PI204")]
    bomb = "a0: &a0 {k: v}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
    )
    assert linted(tmp_path, f"{bomb}services: {{web: {{<<: *a29}}}}\n", "compose.yaml") == []
    assert linted(tmp_path, "services: &s {web: *s, <<: *s}\n", "compose.yaml") == []


# --- images, where an engine can be asked ---


class Asked(NoSleep):
    """An engine whose images have pyinit in front."""

    def image(self, name: str) -> Image | None:
        return Image(["pyinit", "--drain", "5s", "--"], ["app"], {}, "SIGQUIT") if name == "shop:1" else None


def test_what_an_image_says(tmp_path: Path) -> None:
    """Its entry point, its variables and its stop signal count where the file says nothing else; findings are at its name."""
    (tmp_path / "pod.yaml").write_text(POD.format(spec="restartPolicy: Never", container="args: [x]"))
    asked = lint([tmp_path], Request(images=Asked())).counted
    assert [(one.rule, one.place.line) for one in asked] == [("PI301", 8), ("PI401", 8)]
    (tmp_path / "pod.yaml").write_text(POD.format(spec="restartPolicy: Never", container="command: [x]"))
    assert lint([tmp_path], Request(images=Asked())).counted == []


# --- comments ---


def test_comments_excuse(tmp_path: Path) -> None:
    """Above the instruction or within it, by its rule, with a reason."""
    for lines, expected in (
        ("# pyinit: ignore=PI101 it is a test\nCMD app", []),
        ("# pyinit: ignore=PI101: it is a test\n\n# more\nCMD app", []),
        ("CMD app \\\n# pyinit: ignore=PI101 it is a test\n  x", []),
        ("# pyinit: ignore=PI102,PI101 it is a test\nCMD app", []),
        ("# pyinit: ignore=PI102 another rule\nCMD app", [(3, "PI101")]),
        ("# pyinit: ignore=PI101 too far away\nENV A=b\nCMD app", [(4, "PI101")]),
        ("# pyinit: ignore=PI101\nCMD app", [(2, "PI001"), (3, "PI101")]),
        ('# pyinit: ignore=PI999 there is none\nCMD ["app"]', [(2, "PI001")]),
        ('# pyinit: ignore= no rule\nCMD ["app"]', [(2, "PI001")]),
    ):
        assert linted(tmp_path, f"FROM debian\n{lines}\n") == expected, lines


def test_comments_elsewhere(tmp_path: Path) -> None:
    """Behind a line of YAML, and in the script that a finding is about."""
    text = "services:\n  web:\n    image: x\n    stop_signal: SIGKILL # pyinit: ignore=PI301 nothing to lose\n"
    assert linted(tmp_path, text, "compose.yaml") == []
    assert linted(tmp_path, text.replace(" nothing to lose", ""), "compose.yaml") == [(4, "PI301"), (4, "PI001")]
    dockerfile = 'FROM debian\nCOPY start.sh /\nCMD ["/start.sh"]\n'
    assert linted(tmp_path, dockerfile, start_sh="#!/bin/sh\n# pyinit: ignore=PI102 it ends at once\napp\n") == []


# --- which files ---


def test_files_in_a_folder(tmp_path: Path) -> None:
    """By their names; templates and other people's folders are left out, and YAML that is neither."""
    text = "FROM debian\nCMD app\n"
    taken = ("Dockerfile", "Dockerfile.dev", "web.Dockerfile", "Containerfile", "dockerfile", "deep/er/Dockerfile-x")
    for name in (
        *taken,
        "Dockerfile.dockerignore",
        "Dockerfile.j2",
        "node_modules/Dockerfile",
        ".git/Dockerfile",
        "README",
        "x.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "values.yaml").write_text("a: b\n")
    (tmp_path / "template.yaml").write_text("{{ not yaml }\n")
    outcome = lint([tmp_path], Request())
    assert sorted(found(outcome, tmp_path)) == sorted((name, 2, "PI101") for name in taken)
    assert (outcome.status, outcome.problems, outcome.notes) == (1, {}, [])
    assert lint([tmp_path / "template.yaml"], Request()).status == 2
    assert "neither a Compose file nor" in lint([tmp_path / "values.yaml"], Request()).notes[0]


def test_it_knows_nobody_but_init() -> None:
    """The arrows go ctl -> lint -> init: who asks an engine is ctl."""
    for path in catalogue.PAGES.parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.startswith("pyinit")]
            assert all(name.startswith(("pyinit.lint", "pyinit.init")) for name in ours), path


# --- reports ---


def test_text(tmp_path: Path) -> None:
    """`file:line:column: ID message`, why, fix, and a last line that counts."""
    (tmp_path / "Dockerfile").write_text("FROM debian\n\n  CMD app\n")
    first, why, *more, fix, last = report.text(lint([tmp_path], Request())).splitlines()
    assert first.startswith(f"{tmp_path}/Dockerfile:3:3: PI101 the shell form puts a shell in front of 'app'; ")
    assert more
    assert all(len(line) <= 120 and line.startswith("      ") for line in more)
    assert (why[:6], fix) == ("  why ", '  fix CMD ["app"]')
    assert last == "1 finding in 1 file"


def test_nothing_in_a_report_moves_the_cursor(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile\x1b[2J").write_text("FROM debian\n")
    path = tmp_path / "x\x1b[2J.Dockerfile"
    path.write_text("FROM debian\nCMD a\x1b[2Jb; echo\n")
    assert "\x1b" not in report.text(lint([path], Request()))


def test_json_and_sarif(tmp_path: Path) -> None:
    """The same findings; what is excused is there with its reason; SARIF's indices fit."""
    (tmp_path / "Dockerfile").write_text("FROM debian\n# pyinit: ignore=PI101 a test\nCMD app\n")
    (tmp_path / "a b.Dockerfile").write_text("FROM debian\nCMD app\n")
    (tmp_path / "bad.Dockerfile").write_text("")
    outcome = lint([tmp_path], Request())
    found = json.loads(report.as_json(outcome))
    assert [(one["rule"], one["line"], one["ignored"]) for one in found["findings"]] == [
        ("PI101", 3, "a test"),
        ("PI101", 2, None),
    ]
    assert found["problems"][0]["path"] == str(tmp_path / "bad.Dockerfile")
    (run,) = json.loads(report.sarif(outcome))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(BY_ID)
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    assert run["results"][0]["suppressions"] == [{"kind": "inSource", "justification": "a test"}]
    where = run["results"][1]["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"].endswith("/a%20b.Dockerfile")
    assert where["region"] == {"startLine": 2, "startColumn": 1}
    assert run["invocations"][0]["executionSuccessful"] is False
