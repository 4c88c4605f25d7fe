"""The metrics themselves, by prometheus-client. Names as Prometheus has them: base units, `_total` for what only grows.

Nothing is kept here: each scrape asks the supervisor. Counters start from 0 with it, and restarts do also after `pyinitctl reset`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pyinit.ctl import asking
from pyinit.ctl.errors import CommandError
from pyinit.init import forensics
from pyinit.supervise import cgroup, client, machine


def text(options: argparse.Namespace) -> str:
    """All of it, once. Raises CommandError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Supervisor(options, is_once=True))
    return generate_latest(registry).decode()


def serve(options: argparse.Namespace, host: str, port: int) -> int:
    """Answer scrapes from now on, in a thread; the port. Raises OSError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Supervisor(options, is_once=False))
    server, _ = start_http_server(port, host, registry)
    return int(server.server_port)


class Supervisor(Collector):
    """Asks the supervisor at each scrape."""

    def __init__(self, options: argparse.Namespace, *, is_once: bool) -> None:
        self.options = options
        self.is_once = is_once

    def collect(self) -> Iterable[Metric]:
        """The metrics; `pyinit_up` alone where nobody answers. Raises CommandError for that when it `is_once`."""
        try:
            path = asking.socket_of(self.options)
            version = asking.ask_at(path, "ping")["version"]
            answer = asking.ask_at(path, "describe", select=["all"])
        except CommandError:
            if self.is_once:
                raise
            yield GaugeMetricFamily("pyinit_up", "Whether the supervisor answers.", 0)
            return
        yield GaugeMetricFamily("pyinit_up", "Whether the supervisor answers.", 1)
        yield InfoMetricFamily("pyinit_supervisor", "The supervisor that answers.", {"version": version})
        yield from of_apps(answer["apps"])
        # in a reload there are two for a while: the one that has the place counts
        yield from of_instances([one for one in answer["workers"] if not (one["leaving"] or one["coming"])])
        yield from of_cgroup(f"/proc/{client.peer(path) or 'self'}/cgroup")


def of_apps(apps: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    """What is counted for an app: its instances come and go."""
    instances = GaugeMetricFamily("pyinit_app_instances", "Instances that the app is to have.", labels=["app"])
    reloads = CounterMetricFamily("pyinit_app_reloads", "Reloads of the app, by result.", labels=["app", "result"])
    sent = CounterMetricFamily("pyinit_app_signals", "Signals sent to its instances.", labels=["app", "signal"])
    ooms = CounterMetricFamily("pyinit_app_oom_kills", "Instances that the kernel killed for memory.", labels=["app"])
    for app in apps:
        name = app["name"]
        instances.add_metric([name], app["count"])
        for result, count in app["reloads"].items():
            reloads.add_metric([name, result], count)
        for number, count in app["signals"].items():
            sent.add_metric([name, number], count)
        ooms.add_metric([name], app["oom_kills"])
    return instances, reloads, sent, ooms


def of_instances(workers: Sequence[Mapping[str, Any]]) -> Iterable[Metric]:
    """What each instance is and uses. What has no process has no uptime, memory or CPU time."""
    labels = ["app", "instance"]
    state = GaugeMetricFamily("pyinit_instance_state", "1 for the state that it is in.", labels=[*labels, "state"])
    numbers: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
        "restarts": CounterMetricFamily("pyinit_instance_restarts", "Restarts after its own ends.", labels=labels),
        "uptime": GaugeMetricFamily("pyinit_instance_uptime_seconds", "Since its process started.", labels=labels),
        "memory": GaugeMetricFamily("pyinit_instance_memory_bytes", "Resident memory.", labels=labels),
        "cpu": CounterMetricFamily("pyinit_instance_cpu_seconds", "CPU time of its process.", labels=labels),
    }
    for worker in workers:
        who = [worker["name"], str(worker["instance"])]
        for phase in machine.PHASES:
            state.add_metric([*who, phase], phase == worker["state"])
        for key, family in numbers.items():
            if worker[key] is not None:
                family.add_metric(who, worker[key])
    return state, *numbers.values()


def of_cgroup(membership: str, root: str = "/sys/fs/cgroup") -> Iterable[Metric]:
    """What the kernel counts for the supervisor's cgroup, where it can be read."""
    spent = cgroup.throttling(root, membership)
    if spent is not None:
        for name, what, value in (
            ("periods", "Periods of the CPU quota that have passed.", spent.periods),
            ("throttled_periods", "Periods in which the CPU quota held somebody up.", spent.throttled),
            ("throttled_seconds", "Time for which the CPU quota held somebody up.", spent.seconds),
        ):
            yield CounterMetricFamily(f"pyinit_cgroup_cpu_{name}", what, value)
    kills = forensics.oom_kills(root, membership)
    if kills is not None:
        yield CounterMetricFamily("pyinit_cgroup_oom_kills", "Processes that the kernel killed for memory.", kills)
