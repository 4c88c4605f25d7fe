"""Judges every init that is installed here, in one run, and writes the table of peers.md: `.venv/bin/python tests/container/peers.py`.

What stands below the line of dashes in peers.md is written by hand, and kept.
"""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import docker

import pyinit
from pyinit.containers.engine import Engine
from pyinit.containers.remote import Agent
from pyinit.verify.init_acts import Init
from pyinit.verify.inits import CHECKS, verify_init
from pyinit.verify.runner import Plan, Run
from pyinit.verify.verdicts import Verdict

HERE = Path(__file__).resolve().parent
BASE = "pyinit-base:python"
GRACE = 4
LINE = "\n---\n"
WRAPPER = '"$@"; exit $?'
ADAPTERS = {
    # a supervisor takes a file rather than a command: one program, and nothing that hides how it ended
    "supervisord": (
        "servers",
        """#!/usr/bin/python3
import os, shlex, sys
command = shlex.join(sys.argv[1:]).replace("%", "%%")
with open("/tmp/supervisord.conf", "w") as file:
    file.write("[supervisord]\\nnodaemon=true\\nuser=root\\nlogfile=/dev/null\\nlogfile_maxbytes=0\\npidfile=/tmp/supervisord.pid\\n")
    file.write(f"[program:it]\\ncommand={command}\\nautorestart=false\\nstartsecs=0\\n")
    for stream in ("stdout", "stderr"):
        file.write(f"{stream}_logfile=/dev/{stream}\\n{stream}_logfile_maxbytes=0\\n")
os.execvp("supervisord", ["supervisord", "-c", "/tmp/supervisord.conf"])
""",
    ),
    "pm2-runtime": (
        "pm2",
        """#!/bin/sh
program=$1
shift
exec pm2-runtime start "$program" --interpreter none --no-autorestart -- "$@"
""",
    ),
}
ADAPTER = "/usr/local/bin/adapter"
PACKAGE = "/python/pyinit"
"""Where the Python engine lies in a container."""


def adapted(name: str) -> Init:
    """A supervisor as an init: an image with it, and a script that makes one program of the words behind it."""
    base, script = ADAPTERS[name]
    command = [str(HERE.parents[1] / "docker" / "base"), base]
    image = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = f"FROM {image}\nCOPY adapter {ADAPTER}\nRUN chmod 755 {ADAPTER}\n"
        for member, content in (("Dockerfile", text), ("adapter", script)):
            header = tarfile.TarInfo(member)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content.encode()))
    context.seek(0)
    tag = f"pyinit-peer:{name}"
    docker.from_env().images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
    return Init((ADAPTER,), tag, name=name)


def inits() -> list[Init]:
    """Those that are here."""
    native = str(Path(sys.executable).parent / "pyinit")
    options = ("--grace", "3600ms", "--termination-log", "/dev/termination-log", "--")
    package = Path(pyinit.__file__).resolve().parent
    second = ("python3", "-I", "-S", "-B", "-X", "utf8", f"{PACKAGE}/init/__main__.py")
    found = [
        Init((native, *options), name="pyinit, native"),
        Init((*second, *options), BASE, {str(package): PACKAGE}, name="pyinit, Python"),
    ]
    peers = (("tini",), ("tini", "-g"), ("dumb-init",), ("catatonit",), ("docker-init",))
    found += [
        Init((path, *options, "--"), name=" ".join((name, *options)))
        for name, *options in peers
        if (path := shutil.which(name))
    ]
    found += [Init((shell, "-c", WRAPPER, shell), BASE, name=f"{shell} -c") for shell in ("sh", "bash")]
    found += [adapted(name) for name in ADAPTERS]
    found.append(Init((), name="nothing"))
    return found


def table(runs: dict[str, Run]) -> str:
    """The verdicts, a column for each init; below, the words of each failure."""
    lines = ["| check | " + " | ".join(runs) + " |", "|---|" + "---|" * len(runs)]
    for check in CHECKS:
        cells = []
        for run in runs.values():
            one = next(result for result in run.results if result.check.id == check.id)
            verdict = one.finding.verdict
            cells.append(f"**{one.severity.value}**" if verdict is Verdict.FAIL else verdict.value)
        lines.append(f"| {check.id} {check.title} | " + " | ".join(cells) + " |")
    lines += ["", "What each failure says:", ""]
    for name, run in runs.items():
        lines += [
            f"- {name}, {one.check.id}: {one.finding.words}"
            for one in run.results
            if one.finding.verdict is Verdict.FAIL
        ]
    return "\n".join(lines) + "\n"


def write(runs: dict[str, Run], where: str) -> None:
    """The file, as far as we are."""
    file = HERE / "peers.md"
    _, line, kept = file.read_text(encoding="utf-8").partition(LINE) if file.exists() else ("", LINE, "\n")
    file.write_text(
        "# Inits, judged\n\n"
        f"Written by peers.py in one run: {where}. Both of pyinit have `--grace 3600ms --termination-log "
        '/dev/termination-log`; `sh -c` and `bash -c` run `"$@"; exit $?`; `nothing`: the program is PID 1.\n'
        "A failure shows its severity: **must**, or **should** where an init by its own documentation leaves that to others.\n\n"
        + table(runs)
        + line
        + kept,
        encoding="utf-8",
    )


def main() -> None:
    """All of them."""
    runs: dict[str, Run] = {}
    with Engine() as engine, Agent(engine) as agent:
        for init in inits():
            print(init.title, flush=True)
            plan = Plan(checks=CHECKS, jobs=4)
            runs[init.title] = verify_init(engine, agent, init, plan, lambda *_: None, grace=GRACE)
            write(runs, f"{engine.name}, Linux {agent.hello['kernel'].split('-')[0]}, grace period {GRACE} s")


if __name__ == "__main__":
    main()
