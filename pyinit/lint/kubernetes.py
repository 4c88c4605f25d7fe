"""Reads Kubernetes manifests: each container of whatever makes pods is a launch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pyinit.lint import nodes, shell
from pyinit.lint.findings import UnreadableError, Word
from pyinit.lint.launch import SECOND, Hook, Kind, Launch
from pyinit.lint.programs import SHELLS

if TYPE_CHECKING:
    import yaml

POD_SPECS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
"""Where the pod's own part stands, by kind."""

JOBS = ("Job", "CronJob")

DEFAULT_GRACE = 30
"""terminationGracePeriodSeconds where it is not written (Kubernetes API reference, PodSpec)."""

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


def is_manifest(document: yaml.Node) -> bool:
    """Whether it is something of Kubernetes."""
    return (
        nodes.text(nodes.at(document, "apiVersion")) is not None and nodes.text(nodes.at(document, "kind")) is not None
    )


def launches(document: yaml.Node, path: str) -> Iterator[Launch]:
    """Every container of a document that makes pods."""
    kind = nodes.text(nodes.at(document, "kind")) or ""
    if kind == "List" or (kind.endswith("List") and nodes.at(document, "items") is not None):
        for item in nodes.sequence(nodes.at(document, "items")):
            if nodes.text(nodes.at(item, "kind")) in POD_SPECS:
                yield from launches(item, path)
        return
    if kind not in POD_SPECS:
        return
    pod = nodes.at(document, *POD_SPECS[kind])
    grace = nodes.at(pod, "terminationGracePeriodSeconds")
    seconds = _number(nodes.text(grace), DEFAULT_GRACE if grace is None else None)
    shared = next(
        (found for key in ("shareProcessNamespace", "hostPID") if nodes.is_true(found := nodes.at(pod, key))), None
    )
    for group in ("containers", "initContainers"):
        for container in nodes.sequence(nodes.at(pod, group)):
            launch = replace(_container(container, path), shared_pids=nodes.word(shared, path))
            is_sidecar = nodes.text(nodes.at(container, "restartPolicy")) == "Always"
            if kind in JOBS or not (group == "containers" or is_sidecar):
                launch = replace(launch, ends_itself=True)
            if group == "containers" or is_sidecar:  # an init container is not stopped, it ends
                launch = replace(
                    launch,
                    given=None if seconds is None else int(seconds * SECOND),
                    given_place=nodes.place(grace, path) if grace is not None else None,
                )
            yield launch


def _number(text: str | None, otherwise: float | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else otherwise


def _container(container: yaml.Node, path: str) -> Launch:
    place = nodes.place(container, path)
    environment = {
        name: Word(value or "", nodes.place(one, path), known=value is not None)
        for one in nodes.sequence(nodes.at(container, "env"))
        if (name := nodes.text(nodes.at(one, "name")))
        for value in [nodes.text(nodes.at(one, "value"))]
    }
    environment = {name: _expanded(word, environment) for name, word in environment.items()}
    command = tuple(_expanded(word, environment) for word in nodes.words(nodes.at(container, "command"), path))
    arguments = tuple(_expanded(word, environment) for word in nodes.words(nodes.at(container, "args"), path))
    environment.setdefault(IN_CLUSTER, Word("in the cluster", place))
    return Launch(
        Kind.KUBERNETES,
        nodes.text(nodes.at(container, "name")) or "?",
        place,
        (*command, *arguments),
        is_whole=bool(command),
        environment=environment,
        stop_signal=nodes.word(nodes.at(container, "lifecycle", "stopSignal"), path),
        hooks=tuple(_hooks(container, path)),
        image=nodes.word(nodes.at(container, "image"), path),
    )


def _expanded(word: Word, environment: Mapping[str, Word]) -> Word:
    """`$(NAME)` replaced, as the kubelet does: one that is not defined stays as it is; `$$` is a dollar."""
    known = word.known

    def value(found: re.Match[str]) -> str:
        nonlocal known
        if found[0] == "$$":
            return "$"
        said = environment.get(found[1])
        if said is None:
            return found[0]
        known = known and said.known
        return said.text

    return Word(REFERENCE.sub(value, word.text), word.place, known=known) if "$" in word.text else word


def _hooks(container: yaml.Node, path: str) -> Iterator[Hook]:
    hook = nodes.at(container, "lifecycle", "preStop")
    if hook is None:
        return
    place = nodes.place(hook, path)
    slept = _number(nodes.text(nodes.at(hook, "sleep", "seconds")), 0) or 0
    command = tuple(nodes.words(nodes.at(hook, "exec", "command"), path))
    yield Hook(place, command, int((slept + _slept([word.text for word in command])) * SECOND))


def _slept(words: list[str]) -> float:
    """Seconds of sleep in a command: `sleep 5`, or the same in the text of a shell."""
    text = " ".join(words) if words[:1] and words[0].rpartition("/")[2] == "sleep" else ""
    if len(words) == 3 and words[0].rpartition("/")[2] in SHELLS and words[1] == "-c":
        text = words[2]
    try:
        return shell.read(text.removeprefix("/bin/").removeprefix("/usr/bin/")).sleeps if text else 0.0
    except UnreadableError:
        return 0.0
