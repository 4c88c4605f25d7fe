"""Apps as manifests of Kubernetes: what `pyinitctl start` does on one machine, said in the words of those who do it on many.

`FATES` has every key of apps.toml: what becomes of it there, or that nothing does and what to do instead. The table in this folder's
README is made from it. A pod is one process under pyinit; instances, restarts and reloads are the Deployment's. Rejected: the supervisor
in a pod (Kubernetes would then see neither a crash nor who is ready), and a chart or an operator (one more thing to run).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pyinit.supervise import apps, secret
from pyinit.supervise.apps import AppsError, Document
from pyinit.supervise.pm2 import milliseconds

Manifest = dict[str, Any]

SLACK = 1.5
"""Seconds that pyinit may take after its plan, for those whom it could not ask before, and for the dead."""
ENDLESS = 3600
"""Seconds for what has no end: in Kubernetes every pod's grace period has one."""
NO_DEADLINE = (1 << 31) - 1
"""As progressDeadlineSeconds: none."""
FOR_THE_NODE = 60
"""Seconds that a pod may take until its program begins: to be placed, and to fetch its image."""

CPU = "500m"
FEWEST, MOST, BUSY = 2, 10, 80
"""Of the autoscaler: how many pods, and the per cent of the requested CPU that it aims at."""

SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh")
LOOPBACK = re.compile(r"127\..*|localhost|::1")
VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")
"""What every version of Kubernetes takes for the name of a variable, and for a key of a Secret."""
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Fate:
    """A row of the table. `becomes` is where it stands in the manifests; `warns` makes `text` a warning where a file has the key."""

    key: str
    becomes: str
    text: str = ""
    warns: bool = False


RESTARTS = "the kubelet restarts whatever ends, for ever, after pauses of 10 s up to 5 min"
LOGS = "what the program writes to stdout and stderr goes to the node's log, where `kubectl logs` and collectors find it: write no files"
CHANNEL = "there is no supervisor at the other end of a channel: the program has to do without process.send, and stop at the signal"
WATCHING = "an image does not change: build a new one"

# fmt: off
TOP = (
    Fate("control", "", "there is no supervisor to be asked: kubectl does that", warns=True),
    Fate("stop_budget", "", "each pod has a terminationGracePeriodSeconds of its own, which fits", warns=True),
    Fate("log_form", "", LOGS, warns=True),
)

FATES = (
    Fate("command", "`args`", "behind pyinit, which is `command`"),
    Fate("namespace", "the label `app.kubernetes.io/part-of`", "a namespace of Kubernetes is `--namespace`"),
    Fate("cwd", "`workingDir`", "the file's folder is the image's WORKDIR, or what `--workdir` says"),
    Fate("environment", "`env`", "what looks like a secret becomes a reference to a Secret that you make: a warning names it"),
    Fate("environments", "`env`", "those of `--env NAME`"),
    Fate("environment_without", "", "a pod inherits nothing"),
    Fate("user", "`runAsUser`", "as a number: a name's is this machine's, which a warning says"),
    Fate("group", "`runAsGroup`", "likewise"),
    Fate("instances", "`replicas`", f'`"max"`, and less than it: an autoscaler of {FEWEST} to {MOST} pods, which a warning says'),
    Fate("instance_variable", "", "pods have no numbers (those of a StatefulSet do): an app must not need one", warns=True),
    Fate("increment_variables", "", "each pod has an address of its own, so that all may have the same port", warns=True),
    Fate("listen", "`ports`, and the Service", "nobody opens sockets for a pod: a warning says that the program must bind the port itself"),
    Fate("listen_mode", "", "see `listen`"),
    Fate("node", "", "one process in each pod, with a port of its own; nothing is loaded into it, so it closes its server itself"),
    Fate("channel", "", CHANNEL),
    Fate("ready", "`readinessProbe`", "`http` and `tcp` as they are; the others become a connection to the app's port, if one is "
         "known: the kubelet knows no other way"),
    Fate("ready_timeout", "`progressDeadlineSeconds`", f"and {FOR_THE_NODE} s for the image; after it `kubectl rollout status` fails, and "
         "the old pods stay"),
    Fate("ready_required", "", "a rollout never goes on with a pod that is not ready", warns=True),
    Fate("stop_signal", "pyinit's `--stop`"),
    Fate("stop_message", "", CHANNEL, warns=True),
    Fate("drain", "pyinit's `--drain`", "where the app has a port; its full length, for pyinit does not count connections"),
    Fate("grace", "pyinit's `--grace`", f"`terminationGracePeriodSeconds` is more than drain + grace + {SLACK} s"),
    Fate("restart", "", f"{RESTARTS}; what is to end is a Job, not a Deployment", warns=True),
    Fate("leave_exit_codes", "", f"{RESTARTS}; what is to end is a Job, not a Deployment", warns=True),
    Fate("min_uptime", "`minReadySeconds`"),
    Fate("max_restarts", "", RESTARTS, warns=True),
    Fate("restart_window", "", RESTARTS, warns=True),
    Fate("backoff_first", "", RESTARTS, warns=True),
    Fate("backoff_max", "", RESTARTS, warns=True),
    Fate("memory_limit", "`resources`", "the kernel kills what is above it; nobody reloads it before"),
    Fate("cron", "", "if it needs that at all: a CronJob that runs `kubectl rollout restart`", warns=True),
    Fate("watch", "", WATCHING, warns=True),
    Fate("watch_ignore", "", WATCHING, warns=True),
    Fate("essential", "", "each pod has one app, whose end is the pod's"),
    Fate("autostart", "`replicas`", "`false`: 0"),
    Fate("after", "", "nobody waits there: the app has to try again until the other one answers", warns=True),
    Fate("surge", "`maxSurge`", "at least 1; `maxUnavailable` is 0"),
    *(Fate(key, "", LOGS, warns=True) for key in apps.BY_NAME if key.startswith("log_")),
)
# fmt: on

PM2_UNSET: Mapping[str, object] = {
    "backoff_first": 0,
    "backoff_max": 0,
    "max_restarts": 16,
    "restart_window": 16,
}
"""What becomes of keys that a file of PM2's does not have: nobody wrote them, so nobody is warned."""


@dataclass(frozen=True)
class Target:
    """What a user adds to the file."""

    image: str
    namespace: str = ""
    workdir: str = ""
    """Where the file's folder is in the image; without it, its WORKDIR."""
    environment: str = ""
    only: Sequence[str] = ()


@dataclass
class Exported:
    """What came of it."""

    documents: list[Manifest] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def kubernetes(document: Document, target: Target) -> Exported:
    """The manifests of a file's apps, in order. Raises AppsError."""
    checked = apps.check(document)
    top = checked.pop("")
    _check_target(target)
    found = Exported()
    for fate in TOP:
        if fate.key in document.values and top[fate.key] != apps.TOP_BY_NAME[fate.key].default:
            found.warnings.append(f"{fate.key}: {fate.text}")
    if target.environment and not any(target.environment in app["environments"] for app in checked.values()):
        found.warnings.append(f"{document.name}: no app has variables for --env {target.environment}")
    names: dict[str, str] = {}
    for name, app in apps.chosen(checked, target.only, document).items():
        called = label(name)
        if called in names:
            raise AppsError(
                f"{document.where(('apps', name))}: {name} and {names[called]} would both be called {called} in Kubernetes; rename one"
            )
        names[called] = name
        one = _App(name, called, app, document, target)
        found.documents += one.documents()
        found.warnings += [f"{name}: {words}" for words in one.warnings]
    return found


def _check_target(target: Target) -> None:
    if not re.fullmatch(r"[^\s\0]+", target.image):
        raise AppsError(
            f"--image: '{target.image}' is no name of an image; write for example registry.example/shop:1.2"
        )
    if target.namespace and not LABEL.fullmatch(target.namespace):
        raise AppsError(
            f"--namespace: '{target.namespace}' is no name for one; write lower case letters, digits and '-'"
        )
    if target.workdir and not target.workdir.startswith("/"):
        raise AppsError(f"--workdir: '{target.workdir}' is no absolute path; write for example /app")


def label(name: str) -> str:
    """A name as Kubernetes takes it for everything: lower case letters, digits and `-`, a letter first, at most 63."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    found = found if found[:1].isalpha() else f"app-{found}"
    return found[:63].rstrip("-")


def literal(text: str) -> str:
    """A text that the kubelet leaves as it is: it replaces `$(NAME)`, and takes `$$` for a dollar."""
    return re.sub(r"\$(?=[$(])", "$$", text)


class _App:
    """One app on its way. `port` is the first of those that are known, None where there is none."""

    def __init__(self, name: str, called: str, app: Mapping[str, Any], document: Document, target: Target) -> None:
        self.name = name
        self.called = called
        self.app = app
        self.given: Mapping[str, Any] = document.values["apps"][name]
        self.document = document
        self.target = target
        self.warnings: list[str] = []
        self.environment = {**app["environment"], **app["environments"].get(target.environment, {})}
        self.ports = list(dict.fromkeys(self._ports()))
        self.port = self.ports[0] if self.ports else None
        self.labels = {"app.kubernetes.io/name": called}
        self.metadata = {
            "name": called,
            **({"namespace": target.namespace} if target.namespace else {}),
            "labels": self.labels | self._part_of(),
        }

    def documents(self) -> Iterator[Manifest]:
        """Deployment, Service, HorizontalPodAutoscaler and PodDisruptionBudget, as far as each means something."""
        self._warn_of_nothing()
        yield self._deployment()
        if self.ports:
            yield self._service()
        else:
            self.warnings.append(
                "no Service: neither listen, nor PORT in environment, nor ready names a port. Right for what nobody connects to"
            )
        if self._is_scaled():
            yield self._autoscaler()
        yield self._kind("policy/v1", "PodDisruptionBudget", {"maxUnavailable": 1, "selector": self._selector()})

    # --- what is told ---

    def _warn_of_nothing(self) -> None:
        """Keys that become nothing: those with the same fate in one line."""
        told: dict[str, list[str]] = {}
        for fate in FATES:
            if fate.warns and self._is_said(fate.key):
                told.setdefault(fate.text, []).append(fate.key)
        self.warnings += [f"{', '.join(keys)}: {text}" for text, keys in told.items()]
        for word in self.app["command"]:
            if secret.holds_secret(word):
                self.warnings.append(
                    "command: a word of it holds a secret, which is in the manifest now; pass it as a variable"
                )

    def _is_said(self, key: str) -> bool:
        value = self.app[key]
        usual = apps.BY_NAME[key].kind.take(default) if (default := apps.BY_NAME[key].default) is not None else None
        return key in self.given and value != usual and value != PM2_UNSET.get(key, usual)

    # --- the documents ---

    def _kind(self, version: str, kind: str, spec: Manifest) -> Manifest:
        # a copy: what is one object in two places becomes an anchor in YAML
        return {"apiVersion": version, "kind": kind, "metadata": deepcopy(self.metadata), "spec": spec}

    def _selector(self) -> Manifest:
        return {"matchLabels": dict(self.labels)}

    def _part_of(self) -> dict[str, str]:
        whole = self.app["namespace"]
        return {} if whole == apps.DEFAULT_NAMESPACE else {"app.kubernetes.io/part-of": label(whole)}

    def _deployment(self) -> Manifest:
        drain = self._seconds("drain") if self.port else 0
        grace = self._seconds("grace")
        least = ceil(self.app["min_uptime"])
        timeout = self.app["ready_timeout"]
        pod = {
            "terminationGracePeriodSeconds": floor(drain + grace + SLACK) + 1,
            "containers": [self._container(drain, grace)],
        }
        spec = {
            **self._replicas(),
            "minReadySeconds": least,
            "progressDeadlineSeconds": NO_DEADLINE
            if timeout is None
            else min(ceil(timeout) + least + FOR_THE_NODE, NO_DEADLINE),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": max(1, self.app["surge"]), "maxUnavailable": 0},
            },
            "selector": self._selector(),
            "template": {"metadata": {"labels": self.labels | self._part_of()}, "spec": pod},
        }
        return self._kind("apps/v1", "Deployment", spec)

    def _seconds(self, key: str) -> float:
        seconds = self.app[key]
        if seconds is None or seconds > ENDLESS:
            self.warnings.append(f"{key}: {ENDLESS} s in Kubernetes, for a node that is drained waits for it")
            return ENDLESS
        return float(seconds)

    def _is_scaled(self) -> bool:
        instances = self.app["instances"]
        return not isinstance(instances, int) or instances < 0

    def _replicas(self) -> Manifest:
        """None where an autoscaler decides: each `kubectl apply` would take its decision back."""
        if not self.app["autostart"]:
            self.warnings.append(f"autostart: 0 replicas, until `kubectl scale deployment {self.called} --replicas=1`")
            return {"replicas": 0}
        return {} if self._is_scaled() else {"replicas": self.app["instances"]}

    def _service(self) -> Manifest:
        ports = [{"name": f"tcp-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in self.ports]
        return self._kind("v1", "Service", {"selector": dict(self.labels), "ports": ports})

    def _autoscaler(self) -> Manifest:
        self.warnings.append(
            f"instances: there is no machine whose CPUs could be counted: {FEWEST} to {MOST} pods, as many as keep each at {BUSY} % of the "
            f"{CPU} CPU that it requests (which takes a metrics server); correct these numbers"
        )
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY}}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.called},
            "minReplicas": FEWEST,
            "maxReplicas": MOST,
            "metrics": [{"type": "Resource", "resource": cpu}],
        }
        return self._kind("autoscaling/v2", "HorizontalPodAutoscaler", spec)

    # --- the container ---

    def _container(self, drain: float, grace: float) -> Manifest:
        found: Manifest = {
            "name": self.called,
            "image": self.target.image,
            "command": ["pyinit", *self._options(drain, grace), "--"],
            "args": [literal(word) for word in self.app["command"]],
        }
        if folder := self._folder():
            found["workingDir"] = folder
        if self.ports:
            found["ports"] = [{"name": f"tcp-{port}", "containerPort": port} for port in self.ports]
        if env := list(self._env()):
            found["env"] = env
        if resources := self._resources():
            found["resources"] = resources
        if probe := self._probe():
            found["readinessProbe"] = {**probe, "periodSeconds": 5}
        if context := self._security():
            found["securityContext"] = context
        return found

    def _options(self, drain: float, grace: float) -> Iterator[str]:
        if drain:
            yield f"--drain={milliseconds(drain * 1000)}"
        signal = self.app["stop_signal"].removeprefix("SIG")
        if signal == "TERM":
            yield f"--grace={milliseconds(grace * 1000)}"
        else:
            yield "--stop=KILL" if signal == "KILL" else f"--stop={signal}:{milliseconds(grace * 1000)},KILL"
        # as the supervisor does; but what a shell runs would not hear of the stop
        if not any(PurePosixPath(word).name in SHELLS for word in self.app["command"]):
            yield "--scope=child"
        yield "--termination-log=/dev/termination-log"

    def _folder(self) -> str:
        folder = PurePosixPath(self.app["cwd"])
        if folder.is_absolute() or self.target.workdir:
            return str(self.target.workdir / folder)
        if str(folder) == ".":
            return ""
        raise AppsError(
            f"{self.document.where(('apps', self.name, 'cwd'))}: {self.name}: cwd: '{folder}' counts from the file's folder; "
            "write --workdir with the place of that folder in the image, such as /app"
        )

    def _ports(self) -> Iterator[int]:
        """Of `listen` and PORT; of `ready` only where these name none, for that may be another one for probes."""
        found = [one["port"] for one in self.app["listen"] if "port" in one]
        port = self.environment.get("PORT", "")
        if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536:
            found.append(int(port))
        yield from found
        if not found and (ready := self._probed()):
            yield ready

    def _probed(self) -> int | None:
        """The port that `ready` asks."""
        ready = self.app["ready"] or {}
        if ready.get("kind") == "http":
            return urlsplit(ready["url"]).port or 80
        return ready["port"] if ready.get("kind") == "tcp" else None

    def _probe(self) -> Manifest:
        ready = self.app["ready"] or {"kind": "listening" if self.app["node"] else "alive"}
        kind = ready["kind"]
        if sockets := [one for one in self.app["listen"] if "port" in one]:
            ports = ", ".join(str(one["port"]) for one in sockets)
            self.warnings.append(
                f"listen: nobody passes sockets (LISTEN_FDS) to a pod: the program has to bind {ports} itself, by an option or a variable"
            )
        if any("unix" in one for one in self.app["listen"]):
            self.warnings.append("listen: a unix socket reaches nobody outside its pod; listen on a port")
        hosts = [one["host"] for one in sockets] + [ready.get("host") or urlsplit(ready.get("url", "")).hostname or ""]
        if any(LOOPBACK.fullmatch(host) for host in hosts):
            key = "listen" if any(LOOPBACK.fullmatch(one["host"]) for one in sockets) else "ready"
            self.warnings.append(
                f"{key}: probes and requests come from outside the pod: the program has to listen on 0.0.0.0"
            )
        if kind == "http":
            parts = urlsplit(ready["url"])
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return {"httpGet": {"path": path, "port": self._probed()}}
        if kind == "tcp":
            return {"tcpSocket": {"port": ready["port"]}}
        if kind not in ("alive", "listening"):
            instead = f"a connection to {self.port} has to do" if self.port else "there is no probe"
            self.warnings.append(
                f"ready: the kubelet does not understand '{kind}': {instead}; {{ http = \"URL\" }} is what it understands"
            )
        elif kind == "listening" and not self.port:
            self.warnings.append(
                "ready: on which port it listens is not known, so there is no probe; write PORT into environment"
            )
        return {"tcpSocket": {"port": self.port}} if self.port else {}

    def _env(self) -> Iterator[Manifest]:
        secrets = []
        for name, value in self.environment.items():
            if name.startswith("PYINIT_"):
                self.warnings.append(f"environment: {name} would be meant for the pyinit of the pod: left out")
            elif not VARIABLE.fullmatch(name):
                self.warnings.append(f"environment: Kubernetes takes '{name}' for no name of a variable: left out")
            elif secret.is_secret(name, value):
                secrets.append(name)
                yield {"name": name, "valueFrom": {"secretKeyRef": {"name": self.called, "key": name}}}
            else:
                yield {"name": name, "value": literal(value)}
        if secrets:
            where = f" -n {self.target.namespace}" if self.target.namespace else ""
            words = " ".join(f"--from-literal={name}=..." for name in secrets)
            looks = (
                "looks like a secret, whose value is" if len(secrets) == 1 else "look like secrets, whose values are"
            )
            self.warnings.append(
                f"environment: {', '.join(secrets)} {looks} not in the manifest: kubectl create secret generic {self.called}{where} {words}"
            )

    def _resources(self) -> Manifest:
        memory = self.app["memory_limit"]
        requests = {**({"cpu": CPU} if self._is_scaled() else {}), **({"memory": _quantity(memory)} if memory else {})}
        limits = {"limits": {"memory": _quantity(memory)}} if memory else {}
        return {**({"requests": requests} if requests else {}), **limits}

    def _security(self) -> Manifest:
        found = {}
        for key, ours in (("user", "runAsUser"), ("group", "runAsGroup")):
            if self.app[key] is None:
                continue
            found[ours] = self.app[key]
            if str(self.given[key]) != str(self.app[key]):
                self.warnings.append(
                    f"{key}: '{self.given[key]}' is {self.app[key]} on this machine; see that it is in the image, or write its number there"
                )
        return found


def _quantity(size: int) -> str:
    """`300Mi`, exactly."""
    for unit, worth in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size % worth == 0:
            return f"{size // worth}{unit}"
    return str(size)


def markdown() -> str:
    """The table for the README: keys with the same fate in one row."""
    rows: dict[tuple[str, str], list[str]] = {}
    for fate, beside in [*((fate, " (beside the apps)") for fate in TOP), *((fate, "") for fate in FATES)]:
        becomes = fate.becomes or ("*a warning*" if fate.warns else "")
        rows.setdefault((becomes, fate.text), []).append(f"`{fate.key}`{beside}")
    head = "| key | in Kubernetes | |\n|---|---|---|\n"
    return head + "".join(f"| {', '.join(keys)} | {becomes} | {text} |\n" for (becomes, text), keys in rows.items())
