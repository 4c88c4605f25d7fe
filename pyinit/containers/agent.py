"""The observer's half that runs beside the engine: in a container of ours with `--pid=host`, where the target's processes are visible.

Requests come as JSON lines on stdin, answers go as JSON lines to stdout, by number and in whatever order they are ready:
`{"id": 1, "call": "watch", "with": {"pid": 4711}}` is answered by `{"id": 1, "result": ...}` or `{"id": 1, "error": ...}`. When stdin
ends, so does this program: it never outlives the connection. Times are this machine's CLOCK_MONOTONIC, in seconds; whoever compares two
of them compares what one kernel said, however far away the tool is.

`remote` is the other half. Nothing here writes to a target, except `signal`, which says so.
"""

from __future__ import annotations

import encodings.ascii
import encodings.latin_1  # noqa: F401
import json
import os
import signal as signal_module
import sys
import sysconfig
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinit.containers import connector, facts, helpers, procfs, tracefs
from pyinit.containers.events import UnavailableError
from pyinit.containers.observer import Observer
from pyinit.init.options import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STDLIB = sysconfig.get_path("stdlib")

BUSY = 0.02
"""The share of one CPU below which a process is at rest: a server's timers never stop altogether (redis looks around ten times a
second), and a start-up takes more than this."""


class Agent:
    """All that can be asked, each a method of the same name as the call. Thread-safe: each request has its own thread."""

    def __init__(self) -> None:
        self._watches: dict[int, tuple[Observer, int]] = {}
        self._numbers = count(1)

    def hello(self) -> dict[str, Any]:
        """Who and where this is, and what it can see."""
        return {
            "refusals": {"trace": _refusal(tracefs.Tracing), "cn_proc": _refusal(connector.Connector)},
            "initial_namespace": procfs.namespace(os.getpid()) == procfs.INITIAL_NAMESPACE,
            "kernel": os.uname().release,
        }

    def watch(self, pid: int, source: str | None = None) -> dict[str, Any]:
        """Watches the PID namespace of that PID 1. Raises what `Observer` raises."""
        observer = Observer(pid, source=source)
        observer.__enter__()
        number = next(self._numbers)
        self._watches[number] = observer, pid
        return {"watch": number, "namespace": procfs.namespace(pid)}

    def look(self, watch: int) -> list[dict[str, Any]]:
        """Everybody who is there now; see `Seen`. They are in the account from now on."""
        observer, init = self._watches[watch]
        depth = len(procfs.numbers(init)) - 1
        found = [seen for pid in procfs.members(self._namespace(watch)) if (seen := _look(pid, depth))]
        observer.look()
        return found

    def facts(self, pid: int) -> list[dict[str, Any]]:
        """What `facts.read` reads of the namespace of that PID 1. Nothing is watched for it."""
        return [one.as_json() for one in facts.read(pid)]

    def listening(self, pid: int) -> list[int]:
        """The TCP ports on which somebody listens in the network namespace of that process."""
        return procfs.listening(pid)

    def settle(self, watch: int, quiet: float, limit: float) -> dict[str, Any]:
        """Until nothing has happened for `quiet` seconds: no birth, no exec, no new handler, no more CPU than `BUSY`; at most `limit`."""
        began = quiet_since = time.monotonic()
        before, cpu = self._state(watch)
        while True:
            now = time.monotonic()
            if now - quiet_since >= quiet or now - began >= limit:
                return {"settled": now - quiet_since >= quiet, "seconds": now - began}
            time.sleep(0.1)  # a look at /proc: nothing there wakes a reader when a mask changes
            after, used = self._state(watch)
            at_work = used - cpu > BUSY * (time.monotonic() - quiet_since) + 0.011  # one tick is no sign
            if after != before or at_work:
                before, cpu, quiet_since = after, used, time.monotonic()
            if not after:
                return {"settled": False, "seconds": now - began}

    def wait(self, watch: int, timeout: float) -> bool:
        """Until all are dead and reaped; False after `timeout` seconds."""
        return self._watches[watch][0].wait(timeout)

    def account(self, watch: int) -> dict[str, Any]:
        """What has been seen so far."""
        return self._watches[watch][0].account().as_json()

    def signal(self, pid: int, born: float, number: int) -> bool:
        """Sends a signal to exactly that process; False when it is gone."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            if abs(procfs.stat(pid).born - born) > 0.02:
                return False
            signal_module.pidfd_send_signal(pidfd, number)
        except OSError:
            return False
        finally:
            os.close(pidfd)
        return True

    def forget(self, watch: int) -> None:
        """Ends watching."""
        self._watches.pop(watch)[0].close()

    def close(self) -> None:
        """Ends all watching."""
        for watch in list(self._watches):
            with suppress(KeyError):
                self.forget(watch)

    def now(self) -> float:
        """This machine's clock."""
        return time.monotonic()

    def _namespace(self, watch: int) -> int:
        pid = self._watches[watch][1]
        return procfs.namespace(pid)

    def _state(self, watch: int) -> tuple[object, float]:
        """What must not change, and the CPU time used so far."""
        try:
            seen = self.look(watch)
        except OSError:
            return (), 0.0
        everybody = len(self._watches[watch][0].account().processes)
        return [(one["pid"], one["name"], one["command"], one["caught"]) for one in seen] and (
            everybody,
            tuple((one["pid"], one["command"], one["caught"]) for one in seen),
        ), sum(one["cpu"] for one in seen)


def _refusal(source: Callable[[], tracefs.Tracing | connector.Connector]) -> str:
    """Why a source is not to be had here; empty: it is."""
    try:
        source().close()
    except UnavailableError as reason:
        return str(reason)
    return ""


def _look(pid: int, depth: int) -> dict[str, Any] | None:
    """`depth`: how deep the target's namespace lies; a process in one nested within it has a number in each."""
    try:
        seen = procfs.stat(pid)
        state = procfs.status(pid)
        program = ""
        with suppress(OSError):
            program = Path(f"/proc/{pid}/exe").readlink().name
        return {
            "pid": pid,
            "inside": state.numbers[min(depth, len(state.numbers) - 1)],
            "parent": seen.parent,
            "born": seen.born,
            "name": show(seen.name),
            "command": show(procfs.command(pid)),
            "program": program,
            "state": state.state,
            "blocked": state.blocked,
            "ignored": state.ignored,
            "caught": state.caught,
            "cpu": procfs.cpu(pid),
        }
    except OSError:
        return None


CALLS: dict[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (
        Agent.watch,
        Agent.look,
        Agent.facts,
        Agent.listening,
        Agent.settle,
        Agent.wait,
        Agent.account,
        Agent.signal,
        Agent.forget,
        Agent.now,
    )
}


def serve(answer: Callable[[str], None], agent: Agent, line: str) -> None:
    """One request: whatever goes wrong becomes an answer."""
    number: object = None
    try:
        request: Mapping[str, Any] = json.loads(line)
        number = request["id"]
        result = CALLS[request["call"]](agent, **request.get("with", {}))
        answer(json.dumps({"id": number, "result": result}))
    except Exception as error:  # noqa: BLE001 - the other side must hear of it, whatever it is
        answer(json.dumps({"id": number, "error": str(error), "kind": type(error).__name__}))


def main() -> None:
    """Serves until stdin ends; or, with words, is one of the helpers."""
    if len(sys.argv) > 1:
        helpers.main(sys.argv[1:])
        return
    agent = Agent()
    lock = threading.Lock()

    def answer(text: str) -> None:
        with lock:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    # PID 1 of nothing, but asked to stop by SIGTERM all the same: close first, so that no tracefs instance stays
    signal_module.signal(signal_module.SIGTERM, lambda *_: os.close(0))
    answer(json.dumps({"id": 0, "result": agent.hello()}))
    try:
        for line in sys.stdin:
            threading.Thread(target=serve, args=(answer, agent, line), daemon=True).start()
    except OSError:
        pass
    agent.close()
    os._exit(0)
