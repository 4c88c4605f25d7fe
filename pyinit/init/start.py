"""From a command line to a running engine: the one entry of `pyinit`, `python3 -I -m pyinit` and the launcher.

Whoever calls `start` has blocked every signal before importing it, and passes on the mask that was in force before.

An interpreter that has loaded `site` keeps some 7 MB for itself, one started with `-I -S` 2.4 MB, and PID 1 stays for as long as the
container does. So pyinit starts the interpreter a second time, under `-I -S`, in the same process: blocked and pending signals
survive exec (execve(2)), so that none is lost, and the second start costs some 8 ms once. The mask that the program is to get
travels as an `-X` option, which nobody else reads.
"""

import _signal
import posix
import sys

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from pyinit.init.options import Policy

VERSION = "0.1.0"


def given_environment() -> "dict[bytes, bytes]":
    """The environment as it was given to this process.

    In the C locale CPython sets LC_CTYPE in it (PEP 538), even under -I; the program is not to get what nobody set.
    """
    environ = {key: value for key, value in posix.environ.items() if key}  # execve(2) takes "=x", posix.execve does not
    if b"LC_CTYPE" in environ:
        from pyinit.init import forensics

        given = forensics.read("/proc/self/environ", 1 << 24).split(b"\0")
        original = [entry.removeprefix(b"LC_CTYPE=") for entry in given if entry.startswith(b"LC_CTYPE=")]
        if original:
            environ[b"LC_CTYPE"] = original[0]
        elif len(given) > 1:
            del environ[b"LC_CTYPE"]
    return environ


def start(mask: "Iterable[int]") -> "NoReturn":
    """Run pyinit with sys.argv; never returns."""
    words = [word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in sys.argv[1:]]
    environ = given_environment()
    if not (sys.flags.isolated and sys.flags.no_site) and sys.executable:
        _again(words, environ, mask)
    posix._exit(run(words, environ, mask))


def _again(words: "list[bytes]", environ: "dict[bytes, bytes]", mask: "Iterable[int]") -> None:
    """The same process, the same command line, a lighter interpreter. Returns only where that is impossible: then as we are."""
    from pyinit.init import signals

    main = __file__.rpartition("/")[0] + "/__main__.py"
    python = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-X", f"pyinit={signals.mask_of(mask):x}", main]
    try:
        posix.execve(sys.executable, [*(word.encode("utf-8", "surrogateescape") for word in python), *words], environ)
    except OSError:
        pass


def run(words: "list[bytes]", environ: "dict[bytes, bytes]", mask: "Iterable[int]") -> int:
    """Parse, prepare, spawn, live: pyinit's exit status."""
    from pyinit.init import engine, options, program, signals
    from pyinit.init.report import Report, absolute, termination_log
    from pyinit.init.terminal import Terminal

    parent = posix.getppid()
    _signal.signal(signals.CHLD, _signal.SIG_DFL)  # an inherited "ignore" would hide every exit
    engine.fill_descriptors()
    report = Report()
    only_prints = words[:1] == [b"--print-policy"]  # not for users: a test compares what the two engines understand
    try:
        policy = options.parse(words[only_prints:], environ)
    except options.UsageError as error:
        report.error(str(error))
        return program.OWN_FAILURE
    if only_prints or policy.about:
        return _about(policy, only_prints)
    report.verbosity, report.is_json = policy.verbosity, policy.json
    _name_ourselves()
    log = absolute(policy.termination_log)
    termination_log(log, "", report)
    try:
        engine.become_subreaper(policy, report)
        if policy.parent_death:
            engine.follow_parent(policy.parent_death, parent, report)
        terminal = Terminal()
        text = f"version {VERSION}, Python engine, as PID {posix.getpid()}"
        report.say(options.INFO, "start", text, version=VERSION, engine="python")
        life = engine.Engine(policy, report, terminal, log)
        child = engine.spawn(policy, environ, mask, terminal)
    except engine.StartError as error:
        report.error(str(error))
        termination_log(log, str(error), report)
        return error.status
    except OSError as error:
        text = f"cannot start: {error.strerror}; is a limit of the container reached (ulimit -n, --pids-limit)?"
        report.error(text)
        termination_log(log, text, report)
        return program.OWN_FAILURE
    # from here on PID 1 must not die
    if policy.verbosity >= options.INFO:
        command = [options.show(word) for word in policy.program]
        report.say(options.INFO, "spawn", f"started {' '.join(command)} as PID {child}", pid=child, command=command)
    engine.settle((terminal.fd, report.fd))
    return life.run(child)


def _name_ourselves() -> None:
    """`ps` and `top` are to show pyinit, not python3 (proc_pid_comm(5))."""
    try:
        fd = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
        posix.write(fd, b"pyinit")
        posix.close(fd)
    except OSError:
        pass  # cosmetic


def _about(policy: "Policy", only_prints: bool) -> int:
    """--help, --version and --license, on stdout."""
    from pyinit.init import about

    text = about.policy_text(policy) if only_prints else about.TEXTS[policy.about]()
    try:
        posix.write(1, text.encode("utf-8", "surrogateescape"))
    except OSError:
        return 125
    return 0
