"""What `list`, `describe` and `monit` look like on a terminal: drawn by rich, with what psutil measures. No other word imports this."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from pyinit.ctl import supervise
from pyinit.init import options as init_options
from pyinit.supervise import client

PAUSE = 0.3
"""Seconds between the two looks that a share of the CPU takes."""

COLOURS = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "sweeping": "yellow",
    "killing": "red",
    "errored": "red",
    "unhealthy": "red",
    "exited": "bright_black",
    "stopped": "bright_black",
}
"""By state; what is on its way is yellow."""


class Use(NamedTuple):
    """What a worker uses together with all that it has started."""

    cpu: float | None
    """Per cent of one CPU since the last look; None at the first."""
    memory: int | None
    """Bytes resident; what several processes share counts in each."""


class Usage:
    """Measures workers. Where the supervisor's pids mean nothing here (its container's socket is mounted), its own figures are taken."""

    def __init__(self, path: Path) -> None:
        self.are_ours = _sees_pids_of(path)
        self._seen: set[int] = set()

    def look(self, workers: Sequence[Mapping[str, Any]]) -> dict[int, Use]:
        """By pid, of those workers that have one."""
        pids = {worker["pid"]: worker.get("memory") for worker in workers if worker["pid"]}
        if not self.are_ours:
            return {pid: Use(None, memory) for pid, memory in pids.items()}
        there, children = _processes()
        found = {}
        for pid, memory in pids.items():
            family = [there[pid]] if pid in there else []
            for process in family:  # it grows meanwhile
                family += children.get(process.pid, ())
            uses = [use for process in family if (use := _use(process)) is not None]
            cpu = sum(use.cpu or 0 for use in uses) if pid in self._seen and uses else None
            found[pid] = Use(cpu, sum(use.memory or 0 for use in uses) if uses else memory)
        self._seen = set(pids)
        return found


def _sees_pids_of(path: Path) -> bool:
    """Whether the supervisor has the same pid for itself and for us."""
    try:
        return bool(client.peer(path) == client.ask(path, {"do": "ping"})["pid"])
    except client.ControlError:
        return False  # it has ended meanwhile


def _processes() -> tuple[dict[int, psutil.Process], dict[int, list[psutil.Process]]]:
    """Everybody by pid, and everybody's children. The objects are kept from look to look, and with them what CPU time they had."""
    there: dict[int, psutil.Process] = {}
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            parent = process.ppid()
        except psutil.Error:
            continue  # it is gone
        there[process.pid] = process
        children.setdefault(parent, []).append(process)
    return there, children


def _use(process: psutil.Process) -> Use | None:
    try:
        with process.oneshot():
            return Use(process.cpu_percent(), process.memory_info().rss)
    except psutil.Error:
        return None


def measure(path: Path, workers: Sequence[Mapping[str, Any]]) -> dict[int, Use]:
    """Two looks."""
    usage = Usage(path)
    usage.look(workers)
    if usage.are_ours and any(worker["pid"] for worker in workers):
        time.sleep(PAUSE)
    return usage.look(workers)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1f}%" if share < 10 else f"{share:.0f}%"


def state(worker: Mapping[str, Any]) -> Text:
    """In its colour. One that is ready while its app as a whole does not do its work is `unhealthy`."""
    name = "unhealthy" if supervise.is_unhealthy(worker) else str(worker["state"])
    return Text(name, style=COLOURS.get(name, ""))


def label(worker: Mapping[str, Any]) -> str:
    """`web:0`, and whether another one has its place, or it is to have another's."""
    return init_options.show(f"{worker['name']}:{worker['instance']}") + supervise.generation(worker)


def workers_table(workers: Sequence[Mapping[str, Any]], uses: Mapping[int, Use]) -> Table:
    """A row for each; the namespace only where somebody has one."""
    table = Table(box=box.ROUNDED, header_style="bold", border_style="bright_black")
    spaces = any(worker["namespace"] != "default" for worker in workers)
    for name, right in (("id", True), ("name", False), ("namespace", False), ("pid", True), ("state", False)):
        if name != "namespace" or spaces:
            table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for name in ("uptime", "restarts", "cpu", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last end", overflow="ellipsis", no_wrap=True)
    for worker in workers:
        use = uses.get(worker["pid"], Use(None, None))
        cells: list[Text | str] = [str(worker["id"]), Text(label(worker), style="bold")]
        cells += [Text(init_options.show(worker["namespace"]))] if spaces else []
        cells += [str(worker["pid"] or "-"), state(worker), supervise.duration(worker["uptime"])]
        cells += [str(worker["restarts"]), percent(use.cpu), supervise.size(use.memory), Text(worker["last"] or "-")]
        table.add_row(*cells)
    return table


def show_list(path: Path, workers: Sequence[Mapping[str, Any]]) -> None:
    """`list`."""
    Console(highlight=False).print(workers_table(workers, measure(path, workers)))


def show_apps(path: Path, answer: Mapping[str, Any]) -> None:
    """`describe`."""
    uses = measure(path, answer["workers"])
    Console(highlight=False).print(Group(*_apps(answer, uses)))


def _apps(answer: Mapping[str, Any], uses: Mapping[int, Use]) -> Iterable[Table | Text]:
    for app in answer["apps"]:
        keys = Table(
            box=box.ROUNDED, show_header=False, border_style="bright_black", title=Text(app["name"], style="bold")
        )
        keys.add_column(style="cyan", no_wrap=True)
        keys.add_column(overflow="fold")
        for key, value in app.items():
            if key != "environment":
                keys.add_row(key, Text(supervise.value_of(value)))
        workers = [worker for worker in answer["workers"] if worker["name"] == app["name"]]
        yield keys
        yield workers_table(workers, uses)
        for worker in workers:
            if worker["why"]:
                yield Text(f"{label(worker)}: {init_options.show(worker['why'])}")
