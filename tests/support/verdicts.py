"""Runs `pyinitctl verify` on programs that nobody here designed, as their images are usually written, and once more with what its report
says to change: `.venv/bin/python tests/support/verdicts.py [NAME...]` writes docker/programs/verdicts.md.

A quarter of an hour, so it is no test; test_verify_programs.py runs two of the rows.
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
FILES = PROJECT / "docker" / "programs"
PYINIT = "COPY pyinit /usr/local/bin/pyinit"
FAIL = "fail"


@dataclass(frozen=True)
class Subject:
    """A program: its image as it is usually written, the lines that repair it, and what to know of its verdict."""

    name: str
    usual: Sequence[str]
    """Lines of a Dockerfile after FROM and COPY."""
    repaired: Sequence[str]
    means: str
    options: Sequence[str] = ()
    base: str = "programs"


SUBJECTS = (
    Subject(
        "nginx",
        ["COPY nginx/nginx.conf /srv/", 'CMD ["nginx", "-c", "/srv/nginx.conf"]'],
        [
            "COPY nginx/nginx.conf /srv/",
            PYINIT,
            "STOPSIGNAL SIGQUIT",
            'ENTRYPOINT ["pyinit", "--stop-signals", "QUIT", "--"]',
            'CMD ["nginx", "-c", "/srv/nginx.conf"]',
        ],
        "It reaps, and stops at once; on TERM it cuts what it is answering. QUIT lets it finish.",
    ),
    Subject(
        "redis-server",
        ['CMD ["redis-server"]'],
        [PYINIT, 'ENTRYPOINT ["pyinit", "--"]', 'CMD ["redis-server", "--save", ""]'],
        "It reaps nobody: what an exec probe leaves stays a zombie until the pids limit is reached. And it does not leave on TERM where "
        'it cannot write its dump: give it a volume that it may write, or `--save ""`.',
    ),
    Subject(
        "PostgreSQL",
        ["COPY postgres/start.sh /srv/", "USER postgres", "STOPSIGNAL SIGINT", 'CMD ["/srv/start.sh"]'],
        [
            "COPY postgres/start.sh /srv/",
            PYINIT,
            "USER postgres",
            "STOPSIGNAL SIGINT",
            'ENTRYPOINT ["pyinit", "--"]',
            'CMD ["/srv/start.sh"]',
        ],
        "INT is its fast shutdown, and it reaps whom it does not know.",
        ["--ready-log", "ready to accept connections"],
    ),
    Subject(
        "apache2",
        ["STOPSIGNAL SIGWINCH", 'CMD ["apachectl", "-D", "FOREGROUND"]'],
        [
            PYINIT,
            "STOPSIGNAL SIGWINCH",
            'ENTRYPOINT ["pyinit", "--stop-signals", "WINCH", "--scope", "child", "--"]',
            'CMD ["/bin/sh", "-c", ". /etc/apache2/envvars; mkdir -p $APACHE_RUN_DIR; exec apache2 -D FOREGROUND"]',
        ],
        "apachectl is a script that waits for apache2: its shell drops WINCH. What remains is httpd's own: a terminal sends WINCH whenever "
        "its size changes, so give it none (`docker run -t`).",
        base="servers",
    ),
    Subject(
        "haproxy",
        [
            "COPY haproxy/haproxy.cfg /srv/",
            "STOPSIGNAL SIGUSR1",
            'CMD ["haproxy", "-W", "-db", "-f", "/srv/haproxy.cfg"]',
        ],
        [
            "COPY haproxy/haproxy.cfg /srv/",
            PYINIT,
            "STOPSIGNAL SIGUSR1",
            'ENTRYPOINT ["pyinit", "--stop-signals", "USR1", "--scope", "child", "--"]',
            'CMD ["haproxy", "-W", "-db", "-f", "/srv/haproxy.cfg"]',
        ],
        "USR1 is its graceful stop; its master reaps.",
        base="servers",
    ),
    Subject(
        "memcached",
        ["USER memcache", 'CMD ["memcached", "-l", "127.0.0.1"]'],
        [PYINIT, "USER memcache", 'ENTRYPOINT ["pyinit", "--"]', 'CMD ["memcached", "-l", "127.0.0.1"]'],
        "It leaves at once, and reaps nobody.",
        base="servers",
    ),
    Subject(
        "cron",
        ['CMD ["cron", "-f"]'],
        [PYINIT, 'ENTRYPOINT ["pyinit", "-e", "TERM", "--"]', 'CMD ["cron", "-f"]'],
        "As PID 1 it has no handler for TERM, so the kernel drops it. `-e TERM`: that it dies of TERM is as good as 0.",
    ),
    Subject(
        "sshd",
        ["RUN mkdir -p /run/sshd", 'CMD ["/usr/sbin/sshd", "-D", "-e"]'],
        ["RUN mkdir -p /run/sshd", PYINIT, 'ENTRYPOINT ["pyinit", "--"]', 'CMD ["/usr/sbin/sshd", "-D", "-e"]'],
        "It ends on TERM, and with it whatever sessions are open; it reaps.",
        ["--ready-log", "Server listening"],
        base="servers",
    ),
    Subject(
        "Node.js, no handler",
        ["COPY node/server.js /srv/", 'CMD ["node", "/srv/server.js", "deaf"]'],
        [
            "COPY node/server.js /srv/",
            PYINIT,
            'ENTRYPOINT ["pyinit", "-e", "TERM", "--"]',
            'CMD ["node", "/srv/server.js", "deaf"]',
        ],
        "Node leaves TERM to the kernel, which drops it for a PID 1. `-e TERM` as for cron.",
        ["--ready-log", "ready"],
    ),
    Subject(
        "Python, http.server",
        ['CMD ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1"]'],
        [
            PYINIT,
            'ENTRYPOINT ["pyinit", "-e", "TERM", "--"]',
            'CMD ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1"]',
        ],
        "The same with Python.",
        ["--ready-log", "Serving"],
    ),
    Subject(
        "an entry point without exec",
        ["COPY python/entrypoint.sh shell/worker.py /srv/", 'ENTRYPOINT ["sh", "/srv/entrypoint.sh"]'],
        [
            "COPY python/entrypoint.sh shell/worker.py /srv/",
            "RUN sed -i 's/^python3/exec python3/' /srv/entrypoint.sh",
            PYINIT,
            'ENTRYPOINT ["pyinit", "--", "sh", "/srv/entrypoint.sh"]',
        ],
        "The shell is PID 1 and waits; the program never hears of the stop, and its work is lost.",
        ["--ready-log", "ready"],
    ),
    Subject(
        "supervisord",
        [
            "COPY supervisor/supervisord.conf shell/worker.py /srv/",
            'CMD ["supervisord", "-c", "/srv/supervisord.conf"]',
        ],
        [
            "COPY supervisor/supervisord.conf shell/worker.py /srv/",
            PYINIT,
            'ENTRYPOINT ["pyinit", "--scope", "child", "--"]',
            'CMD ["supervisord", "-c", "/srv/supervisord.conf"]',
        ],
        "It stops its programs itself, one after the other, and is asked alone.",
        base="servers",
    ),
    Subject(
        "a JVM",
        ["COPY java/Server.java /srv/", 'CMD ["java", "-Xmx64m", "/srv/Server.java"]'],
        [
            "COPY java/Server.java /srv/",
            PYINIT,
            'ENTRYPOINT ["pyinit", "-e", "TERM", "--"]',
            'CMD ["java", "-Xmx64m", "/srv/Server.java"]',
        ],
        "It ends by itself on TERM, and calls that 143: `-e TERM`. Without an init its orphans stay zombies.",
        ["--ready-log", "ready"],
        base="servers",
    ),
    Subject(
        "PM2",
        ["COPY pm2/app.js pm2/ecosystem.config.js /srv/", 'CMD ["pm2-runtime", "start", "/srv/ecosystem.config.js"]'],
        [
            "COPY pm2/app.js pm2/ecosystem.config.js /srv/",
            PYINIT,
            'ENTRYPOINT ["pyinit", "--scope", "child", "--"]',
            'CMD ["pm2-runtime", "start", "/srv/ecosystem.config.js"]',
        ],
        "It tells its workers itself, by INT, and is asked alone. It reaps nobody.",
        ["--ready-log", "ready"],
        base="pm2",
    ),
)


def build(client: docker.DockerClient, subject: Subject, lines: Sequence[str], tag: str) -> None:
    """The image. No buildx, no registry: the context is a tar of docker/programs and the native executable."""
    base = subprocess.run([PROJECT / "docker" / "base", subject.base], check=True, stdout=subprocess.PIPE, text=True)
    text = "\n".join([f"FROM {base.stdout.splitlines()[-1]}", *lines]) + "\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(FILES, arcname=".")
        tar.add(Path(sys.executable).parent / "pyinit", arcname="pyinit")
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    context.seek(0)
    client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)


def verdict(tag: str, options: Sequence[str]) -> Mapping[str, Any]:
    """What `pyinitctl verify --json` says."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "pyinit.ctl", "verify", tag, *options, "--json", file.name]
        status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        report: Mapping[str, Any] = json.loads(Path(file.name).read_text(encoding="utf-8"))
    assert report["status"] == status, (report["status"], status)
    return report


def failures(report: Mapping[str, Any]) -> str:
    """The checks that failed, with their words."""
    found = [f"**{one['id']}** {one['words']}" for one in report["results"] if one["verdict"] == FAIL]
    return "<br>".join(found).replace("|", "\\|") or "nothing"


def main(names: Sequence[str]) -> None:
    """All of them, or those that are named: then the table goes to stdout alone."""
    rows = ["| program | it failed | what to know | what passes | it then failed |", "|---|---|---|---|---|"]
    client = docker.from_env()
    for subject in SUBJECTS:
        if names and subject.name not in names:
            continue
        print(subject.name, file=sys.stderr, flush=True)
        sides = []
        for lines in (subject.usual, subject.repaired):
            tag = "pyinit-verdict:latest"
            build(client, subject, lines, tag)
            sides.append(failures(verdict(tag, subject.options)))
            client.images.remove(tag, force=True)
        shown = "<br>".join(f"`{line}`" for line in subject.repaired if line.split()[0] not in ("COPY", "USER"))
        rows.append(f"| {subject.name} | {sides[0]} | {subject.means} | {shown} | {sides[1]} |")
        print(rows[-1], flush=True)
    if not names:
        (FILES / "verdicts.md").write_text(
            "# What verify says of programs that nobody here designed\n\n"
            "Debian's packages and PM2, each in an image as it is usually written, judged by `pyinitctl verify IMAGE`, and again with the\n"
            "lines that its report leads to. Written by `tests/support/verdicts.py` in one run.\n\n"
            + "\n".join(rows)
            + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
