"""From the command line to a running supervisor. Until the first worker anything may fail, with exit status 125 and one line."""

import json
import os

from pyinit.init import engine
from pyinit.init.report import Report
from pyinit.supervise import control, sockets
from pyinit.supervise.sockets import ListenError, Sockets
from pyinit.supervise.spec import JSON_FORM, SpecError, parse
from pyinit.supervise.supervisor import Supervisor

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinit.supervise.spec import Spec

OWN_FAILURE = 125
INFO = 2


def start(words: "Sequence[str]") -> int:
    """Read the spec, prepare, live: the exit status."""
    engine.fill_descriptors()
    report = Report(INFO)
    if len(words) != 1:
        report.error(
            "the supervisor wants one word: the number of the descriptor, or the path, of its spec; use pyinitctl start"
        )
        return OWN_FAILURE
    named: dict[str, Sockets] = {}
    try:
        spec = read(words[0])
        report.is_json = spec.log_form == JSON_FORM
        settle(report.fd)
        become_subreaper(report)
        sockets.listen(spec.apps, named)
        listener = control.listen(spec.control)
    except (SpecError, ListenError) as error:
        report.error(str(error))
        return OWN_FAILURE
    except OSError as error:
        report.error(
            f"cannot listen on the control socket: {error.strerror or error}: name a path that this user can write, in a file system"
        )
        for one in named.values():
            one.close()
        return OWN_FAILURE
    return Supervisor(spec, listener, report, named).run()


def read(source: str) -> "Spec":
    """The spec of a descriptor or a file. Raises SpecError."""
    try:
        with open(int(source) if source.isdigit() else source, "rb") as file:
            text = file.read()
    except OSError as error:
        raise SpecError(f"cannot read the spec from {source}: {error.strerror}") from None
    try:
        given = json.loads(text)
    except ValueError as error:
        raise SpecError(f"the spec in {source} is no JSON: {error}") from None
    spec = parse(given)
    budget = os.environ.get("PYINIT_STOP_BUDGET", "")
    if budget.isdigit():  # what pyinit gives us, and it will not wait any longer
        spec.stop_budget = min(spec.stop_budget, int(budget) / 1000)
    return spec


def settle(keep: int) -> None:
    """Let go of what was inherited: no worker is to hold a descriptor of somebody else's open. 0, 1, 2 and `keep` stay."""
    try:
        held = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        held = list(range(3, min(os.sysconf("SC_OPEN_MAX"), 65536)))
    for fd in held:
        if fd > 2 and fd != keep:
            try:
                os.close(fd)
            except OSError:
                pass  # that of the listing itself
    os.chdir("/")
    try:
        with open("/proc/self/comm", "wb") as name:
            name.write(b"pyinitctl start")
    except OSError:
        pass  # cosmetic


def become_subreaper(report: Report) -> None:
    """Have what double-forks come to us: else it could hold a port of an app that has stopped."""
    if os.getpid() == 1:
        return
    try:
        failed = engine.prctl(engine.PR_SET_CHILD_SUBREAPER, 1)
    except (ImportError, OSError, AttributeError):
        failed = -1
    if failed:
        report.warn(
            "cannot become a subreaper: processes that double-fork are found only where /proc still shows their session"
        )
