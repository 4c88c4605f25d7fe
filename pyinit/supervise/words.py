"""The words of the control socket.

Each gives what is wrong with it, or nothing: then it has answered, or the fleet's job will.
"""

import os
import time

from pyinit.init import signals
from pyinit.init.start import VERSION
from pyinit.supervise import machine, process
from pyinit.supervise.spec import FOREVER, SpecError, parse

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from pyinit.supervise.control import Client
    from pyinit.supervise.fleet import Fleet, Place, Worker
    from pyinit.supervise.supervisor import Supervisor

    Word = Callable[["Call"], str]


class Call:
    """A word, who asks, and `patient`: whom to answer once it is done, None for somebody who does not wait."""

    __slots__ = ("client", "patient", "request", "selected", "supervisor")

    def __init__(
        self, supervisor: "Supervisor", client: "Client", request: "dict[str, Any]", selected: "list[str]"
    ) -> None:
        self.supervisor: Final = supervisor
        self.client: Final = client
        self.request: Final = request
        self.selected: Final = selected
        self.patient: Final = client if request.get("wait", True) else None


def _unknown(word: str, selected: "list[str]") -> str:
    return f"{word}: nothing here is called {', '.join(selected) or 'nothing'}; `list` shows what there is"


def row(supervisor: "Supervisor", worker: "Worker", now: float) -> "dict[str, Any]":
    """What `list` says of a worker."""
    life, one = worker.life, supervisor.running.get(worker)
    pid = one.pid if one is not None and life.phase in machine.ALIVE_PHASES else None
    return {
        "id": worker.id,
        "name": worker.spec.name,
        "namespace": worker.spec.namespace,
        "instance": worker.instance,
        "pid": pid,
        "state": life.phase,
        "uptime": round(now - life.began, 3) if pid else None,
        "restarts": life.restarts,
        "last": worker.ending or None,
        "code": signals.exit_code(life.status) if life.status >= 0 else None,
        "memory": process.memory(pid) if pid else None,
        "cpu": process.cpu(pid) if pid else None,
        "leaving": worker.leaving,
        "coming": worker.place.coming is worker,
        "why": life.why or None,
        "deadline": round(life.deadline - now, 3) if life.deadline != FOREVER else None,
    }


def _rows(supervisor: "Supervisor", places: "list[Place]") -> "list[dict[str, Any]]":
    now, chosen = time.monotonic(), dict.fromkeys(places)
    rows = [row(supervisor, worker, now) for worker in supervisor.fleet.workers() if worker.place in chosen]
    return sorted(rows, key=lambda one: (one["id"], not one["leaving"]))


def ping(call: "Call") -> str:
    call.client.send({"ok": True, "pid": os.getpid(), "version": VERSION})
    return ""


def list_(call: "Call") -> str:
    places = call.supervisor.fleet.select(call.selected)
    if not places and call.selected != ["all"]:
        return _unknown("list", call.selected)
    fleet = call.supervisor.fleet
    answer = {"workers": _rows(call.supervisor, places), "jobs": _jobs(fleet), "closing": _closing(fleet)}
    call.client.send({"ok": True, **answer})
    return ""


def _jobs(fleet: "Fleet") -> "list[dict[str, Any]]":
    """The words that are going on."""
    found = []
    for job in fleet.jobs:
        done, of = job.progress
        apps = [name for name, group in fleet.groups.items() if job.concerns(group)]
        found.append({"word": job.word, "apps": apps, "done": done, "of": of})
    return found


def _closing(fleet: "Fleet") -> "dict[str, Any] | None":
    """The shutdown that is going on: why, and how many seconds of its budget are left."""
    if fleet.closing is None:
        return None
    left = fleet.closed_at - time.monotonic()
    return {"why": fleet.why, "left": None if left == FOREVER else round(left, 3)}


def describe(call: "Call") -> str:
    places = call.supervisor.fleet.select(call.selected)
    if not places and call.selected != ["all"]:
        return _unknown("describe", call.selected)
    groups = {place.app: None for place in places}
    apps = [
        {
            **group.spec.given,
            "instances": group.count,
            "count": len(group.places),
            "reloads": group.reloads,
            "signals": group.signals,
            "oom_kills": group.oom_kills,
        }
        for group in groups
    ]
    answer = {"workers": _rows(call.supervisor, places), "apps": apps, "log_form": call.supervisor.form}
    call.client.send({"ok": True, **answer})
    return ""


def with_environment(call: "Call", do: "Callable[..., str]") -> str:
    """A word with `--update-env`: variables that the selected apps get from their next process on, if the word is not refused."""
    more = call.request.get("environment", {})
    if not isinstance(more, dict) or not all(_is_variable(*item) for item in more.items()):
        return "environment is no object of texts that a process could be given"
    error = do(call.patient, call.selected, time.monotonic())
    if not error:
        for group in {place.app: None for place in call.supervisor.fleet.select(call.selected)}:
            theirs = group.spec.uid is not None  # then HOME is that user's
            group.spec.environment.update({n: text for n, text in more.items() if not (theirs and n == "HOME")})
    return error


def _is_variable(name: str, value: object) -> bool:
    return isinstance(value, str) and name != "" and "=" not in name and "\0" not in name + value


def start(call: "Call") -> str:
    return with_environment(call, call.supervisor.fleet.start)


def wait(call: "Call") -> str:
    return call.supervisor.fleet.wait(call.patient, call.selected, time.monotonic())


def stop(call: "Call") -> str:
    return call.supervisor.fleet.stop(call.patient, call.selected, time.monotonic())


def delete(call: "Call") -> str:
    return call.supervisor.fleet.stop(call.patient, call.selected, time.monotonic(), forget=True)


def restart(call: "Call") -> str:
    return with_environment(call, call.supervisor.fleet.restart)


def reload(call: "Call") -> str:
    return with_environment(call, call.supervisor.fleet.reload)


def scale(call: "Call") -> str:
    return call.supervisor.fleet.scale(call.patient, call.selected, str(call.request.get("to", "")), time.monotonic())


def apply(call: "Call") -> str:
    only = call.request.get("only")
    try:
        spec = parse(call.request.get("spec"))
    except SpecError as wrong:
        return f"apply: {wrong}; nothing was changed"
    if only is not None and not isinstance(only, list):
        return "apply: only is no list of names"
    error = call.supervisor.fleet.apply(call.patient, spec.apps, only, time.monotonic())
    call.supervisor.arm()
    return error


def reset(call: "Call") -> str:
    error = call.supervisor.fleet.reset(call.selected)
    if not error:
        call.client.send({"ok": True})
    return error


def signal(call: "Call") -> str:
    number = signals.number_of(str(call.request.get("signal", "")))
    if number is None:
        return f"signal: {call.request.get('signal')!r} is no signal; write SIGUSR2, USR2 or 12"
    chosen = dict.fromkeys(call.supervisor.fleet.select(call.selected))
    found = [
        one
        for worker, one in call.supervisor.running.items()
        if worker.place in chosen and one.pid in call.supervisor.by_pid
    ]
    if not found:
        return (
            _unknown("signal", call.selected)
            if not chosen
            else f"signal: nothing of {', '.join(call.selected)} is running"
        )
    for one in found:
        call.supervisor.signal(one, number)
    call.client.send({"ok": True, "count": len(found)})
    return ""


def logs(call: "Call") -> str:
    lines, stream = call.request.get("lines", 15), call.request.get("stream")
    if type(lines) is not int or lines < 0:
        return f"logs: lines is {lines!r}; write a whole number"
    if stream not in (None, "stdout", "stderr"):
        return f"logs: stream is {stream!r}; write stdout or stderr"
    places = call.supervisor.fleet.select(call.selected)
    if not places:
        return _unknown("logs", call.selected)
    follow = bool(call.request.get("follow"))
    call.supervisor.show_logs(call.client, call.selected, lines, stream, follow=follow)
    if not follow:
        call.client.send({"ok": True})
    return ""


def flush(call: "Call") -> str:
    places = call.supervisor.fleet.select(call.selected)
    if not places:
        return _unknown("flush", call.selected)
    names = {place.app.spec.name for place in places}
    files = {
        file: None
        for output in call.supervisor.outputs
        if output.name in names
        for some in output.files.values()
        for file in some
    }
    for file in files:
        file.truncate()
    call.client.send({"ok": True, "files": [file.path for file in files]})
    return ""


def env(call: "Call") -> str:
    chosen = dict.fromkeys(call.supervisor.fleet.select(call.selected))
    if not chosen:
        return _unknown("env", call.selected)
    found = {
        str(worker.id): one.environment for worker, one in call.supervisor.running.items() if worker.place in chosen
    }
    call.client.send({"ok": True, "env": found})
    return ""


def kill(call: "Call") -> str:
    """Stop everything; the end of the connection tells when."""
    call.client.send({"ok": True})
    call.supervisor.fleet.shut_down(time.monotonic())
    return ""


JOBS = ("start", "wait", "stop", "delete", "restart", "reload", "scale", "apply")
"""The words that take time: a job of the fleet answers."""

WORDS: "dict[str, Word]" = {
    "ping": ping,
    "list": list_,
    "describe": describe,
    "start": start,
    "wait": wait,
    "stop": stop,
    "delete": delete,
    "restart": restart,
    "reload": reload,
    "scale": scale,
    "apply": apply,
    "reset": reset,
    "signal": signal,
    "logs": logs,
    "flush": flush,
    "env": env,
    "kill": kill,
}
