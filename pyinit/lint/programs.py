"""What is known of programs by their names: inits, shells, what becomes another program, and who forks without looking after it.

Tables only. A row of FORKERS needs a reason that somebody can check; what manages its own children well as PID 1 (nginx, httpd, php-fpm,
postgres, gunicorn, haproxy, uwsgi, puma, sshd) is not in it, and neither are interpreters: what `node app.js` forks no table knows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Init:
    """An init's own command line, and what it does with signals."""

    name: str
    valued: str = ""
    """Letters of the options that take a value."""
    long_valued: tuple[str, ...] = ()
    to_group: str = ""
    """The option with which it signals the whole process group."""
    always_to_group: bool = False
    not_to_group: tuple[str, ...] = ()
    """Options with which it does not."""
    permutes: bool = False
    """It looks for options behind the program's name, too, unless `--` ends them (glibc's getopt)."""
    adopts: bool = False
    """Where it is not PID 1 it makes itself a subreaper."""
    runs_program: bool = True
    """Whether what follows its options is the program."""


INITS = {
    **{name: Init("tini", "pe", to_group="g", permutes=True) for name in ("tini", "tini-static", "docker-init")},
    "dumb-init": Init("dumb-init", "r", ("--rewrite",), always_to_group=True, not_to_group=("-c", "--single-child")),
    "catatonit": Init("catatonit", to_group="g", permutes=True, adopts=True),
    "my_init": Init("my_init"),
    "s6-svscan": Init("s6-svscan", runs_program=False),
    "runit-init": Init("runit", runs_program=False),
    "systemd": Init("systemd", runs_program=False),
}
"""By the name of the file; pyinit and s6-overlay's /init are recognised in `chain`."""

S6_OVERLAY = Init("s6-overlay")
PYINIT = Init("pyinit")

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})


@dataclass(frozen=True)
class Wrapper:
    """A program that becomes the one that its command line names, so that nobody stays between."""

    valued: tuple[str, ...] = ()
    """Options whose value is the next word."""
    operands: int = 0
    """Words of its own, after the options."""
    assignments: bool = False
    """NAME=VALUE may come before the program."""
    words: tuple[str, ...] = ()
    """Words that must follow its name: `bundle exec`."""


WRAPPERS = {
    "bundle": Wrapper(words=("exec",)),
    "chpst": Wrapper(("-u", "-U", "-b", "-e", "-/", "-n", "-l", "-L", "-m", "-d", "-o", "-p", "-f", "-c", "-r", "-t")),
    "chroot": Wrapper(operands=1),
    "ddtrace-run": Wrapper(),
    "eatmydata": Wrapper(),
    "env": Wrapper(("-u", "--unset", "-C", "--chdir"), assignments=True),
    "gosu": Wrapper(operands=1),
    "ionice": Wrapper(("-c", "-n", "--class", "--classdata")),
    "newrelic-admin": Wrapper(words=("run-program",)),
    "nice": Wrapper(("-n", "--adjustment")),
    "nohup": Wrapper(),
    "numactl": Wrapper(("-N", "-m", "-C", "-i", "-p")),
    "opentelemetry-instrument": Wrapper(),
    "poetry": Wrapper(words=("run",)),
    "setpriv": Wrapper(
        (
            "--reuid", "--regid", "--groups", "--inh-caps", "--ambient-caps", "--bounding-set", "--ruid", "--euid",
            "--rgid", "--egid", "--securebits", "--pdeathsig", "--selinux-label", "--apparmor-profile",
        )
    ),
    "setuidgid": Wrapper(operands=1),
    "stdbuf": Wrapper(("-i", "-o", "-e", "--input", "--output", "--error")),
    "su-exec": Wrapper(operands=1),
}  # fmt: skip


@dataclass(frozen=True)
class Forker:
    """A program that starts processes which it does not look after to their end."""

    why: str
    words: frozenset[str] = frozenset()
    """It does so only when one of these is among its words; any where empty."""


_PACKAGE_RUN = frozenset({"start", "run", "exec", "dev", "serve", "preview"})
_NPM = "It runs the script's shell and the program as children, and reaps nobody else: orphans stay as zombies"
_BROWSER = "Its helper processes outlive those that started them, and become zombies that nobody reaps"
_JOBS = "The jobs that it runs leave processes behind, which nobody reaps"
_KERNELS = "Kernels and terminals start processes that outlive them, and that nobody reaps"

FORKERS = {
    "airflow": Forker(
        "Each task is a process tree of its own, whose leftovers the scheduler and the worker do not reap",
        frozenset({"celery", "scheduler", "standalone", "worker", "triggerer", "webserver"}),
    ),
    "buildkite-agent": Forker(_JOBS),
    "celery": Forker(
        "Its prefork pool reaps its own workers and nobody else: what tasks and health checks leave behind stays as zombies",
        frozenset({"worker"}),
    ),
    "chromedriver": Forker(_BROWSER),
    "chromium": Forker(_BROWSER),
    "chromium-browser": Forker(_BROWSER),
    "concurrently": Forker(_NPM),
    "cron": Forker(
        "As PID 1 it does not end on SIGTERM: when the grace period is over it is killed, and the running jobs with it"
    ),
    "crond": Forker(_JOBS),
    "elasticsearch": Forker("Its launcher starts the server as a child, and that one controllers of its own"),
    "firefox": Forker(_BROWSER),
    "geckodriver": Forker(_BROWSER),
    "gitlab-runner": Forker(_JOBS, frozenset({"run"})),
    "google-chrome": Forker(_BROWSER),
    "jenkins.sh": Forker(_JOBS),
    "jenkins.war": Forker(_JOBS),
    "jupyter": Forker(_KERNELS),
    "jupyter-lab": Forker(_KERNELS),
    "nodemon": Forker(_NPM),
    "npm": Forker(_NPM, _PACKAGE_RUN),
    "npx": Forker(_NPM),
    "pnpm": Forker(_NPM, _PACKAGE_RUN),
    "start-notebook.py": Forker(_KERNELS),
    "start-notebook.sh": Forker(_KERNELS),
    "xvfb-run": Forker("It is a shell that starts an X server beside the program, and passes no signal on to either"),
    "yarn": Forker(_NPM, _PACKAGE_RUN),
}

PLAIN_BASES = frozenset(
    {
        "almalinux", "alpine", "amazoncorretto", "amazonlinux", "archlinux", "buildpack-deps", "busybox", "centos",
        "debian", "eclipse-temurin", "elixir", "erlang", "fedora", "gcc", "golang", "gradle", "haproxy", "haskell",
        "httpd", "mariadb", "maven", "memcached", "mysql", "nginx", "node", "openjdk", "perl", "php", "postgres",
        "pypy", "python", "redis", "rockylinux", "ruby", "rust", "scratch", "swift", "tomcat", "ubuntu", "wordpress",
    }
)  # fmt: skip
"""Official images whose entry point is none, or a script that ends with exec "$@": no init is hidden in them."""

BASE_STOP_SIGNALS = (
    ("nginx", "", "SIGQUIT"),
    ("httpd", "", "SIGWINCH"),
    ("php", "fpm", "SIGQUIT"),
    ("php", "apache", "SIGWINCH"),
    ("wordpress", "fpm", "SIGQUIT"),
    ("haproxy", "", "SIGUSR1"),
    ("postgres", "", "SIGINT"),
)
"""STOPSIGNAL of official images: the name, what must be in the tag, the signal."""

KNOWN_TERM_BASES = frozenset(
    {
        "almalinux", "alpine", "amazonlinux", "buildpack-deps", "busybox", "debian", "eclipse-temurin", "fedora",
        "golang", "memcached", "node", "python", "redis", "rockylinux", "ruby", "rust", "scratch", "ubuntu",
    }
)  # fmt: skip
"""Official images that set no STOPSIGNAL."""


def base_of(image: str) -> tuple[str, str]:
    """An official image's name and its tag; the name is empty where the image is somebody else's."""
    name, _, digest = image.partition("@")
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, ""
    for prefix in ("docker.io/library/", "docker.io/", "index.docker.io/library/", "library/"):
        path = path.removeprefix(prefix)
    return ("", tag or digest) if "/" in path else (path, tag)


def base_stop_signal(image: str) -> str | None:
    """What an official image declares as its STOPSIGNAL: a name, empty for none; None where it is not known."""
    name, tag = base_of(image)
    for known, part, signal in BASE_STOP_SIGNALS:
        if name == known and part in tag:
            return signal
    return "" if name in KNOWN_TERM_BASES else None
