"""One service of a compose file as a subject. Each of its containers gets a project of its own: neighbours, networks and volumes.

The project is the user's as Compose itself understands it (`config`), with another name, our labels, and nothing in it that two projects
could not both have: that is `fresh`, a pure function. Neighbours are started by Compose, which also knows what each waits for: a gate that
depends on whatever the judged service depends on is through when that is so. The judged container is then made by Compose and not
started: the acts do that, as with any other.

Rejected: an override file (what is to be left out needs tags that older versions do not know, and lists are added up); `up --wait` (a
neighbour that does its work and ends, a migration say, counts as failed there).
"""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyinit.containers.engine import BROKEN, Bundle, Container, Engine, EngineError, explain
from pyinit.verify.subject import image_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyinit.containers.compose import Compose
    from pyinit.verify.evidence import Image

GATE = "pyinit-gate"
"""The service that waits for what the judged one would wait for, and then ends."""

LEFT_OUT = ("build", "container_name", "develop", "ports", "profiles", "scale")
"""Of every service: what two projects cannot both have, and what only matters to whoever chooses and builds services."""

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class ComposeSubject:
    """A service. `model` is what Compose says of it and of all that it depends on."""

    compose: Compose
    file: str
    service: str
    model: Mapping[str, Any]
    image: Image
    grace: int
    agent_image: str
    agent_command: tuple[str, ...]
    shares: bool = False
    """External volumes are used as they are; otherwise each container gets copies."""

    @property
    def alone(self) -> str:
        return next(_obstacles(self.model, shares=self.shares), "")

    def create(self, engine: Engine, **more: Any) -> Container:  # noqa: ANN401
        # these of docker-py's options are called the same in a compose file
        with engine.bundle() as bundle:
            model = fresh(self.model, self.service, bundle.name, bundle.labels, more)
            for volume in [] if self.shares else _external(model):
                volume["name"] = bundle.copy_of(volume["name"], self.agent_image, self.agent_command)
            try:
                if waits := model["services"][self.service].get("depends_on"):
                    self.compose.project(_gated(model, waits, self), "up", "--detach", "--no-build", GATE)
                self.compose.project(model, "up", "--no-start", "--no-deps", "--no-build", self.service)
            except EngineError as error:
                raise EngineError(f"no container of {self.service} can be made: {error}") from None
            return _made(engine, bundle, self.service)

    def command_line(self, **more: object) -> str:
        terminal = more.pop("tty", False)
        words = [*self.compose.words, "-f", self.file, *(["-f", "-"] if more else []), "run", "--rm"]
        line = shlex.join([*words, *([] if terminal else ["-T"]), "--name", "c", self.service])
        override = json.dumps({"services": {self.service: more}})
        return f"printf %s {shlex.quote(override)} | {line}" if more else line


def subject(
    engine: Engine,
    compose: Compose,
    file: str,
    service: str,
    *,
    grace: int | None,
    pull: str,
    agent: tuple[str, tuple[str, ...]],
    shares: bool,
) -> ComposeSubject:
    """The service of that file. `grace`: where it is not to be the file's. Raises EngineError."""
    try:
        model = compose.read(file, service)
    except EngineError as error:
        raise EngineError(f"--compose {file}: {error}") from None
    for name, one in model["services"].items():
        try:
            engine.image(
                image_name(model, name), pull="never" if "build" in one else pull, platform=one.get("platform")
            )
        except EngineError as error:
            hint = f": {shlex.join([*compose.words, '-f', file, 'build', name])}" if "build" in one else ""
            raise EngineError(f"--compose {file}: {name}: {error}{hint}") from None
    options, command = _as_options(model["services"][service])
    if grace is None:
        grace = max(1, math.ceil(seconds(model["services"][service].get("stop_grace_period", "10s"))))
    image = image_of(engine, image_name(model, service), options, command, "never")
    return ComposeSubject(compose, file, service, model, image, grace, *agent, shares)


def image_name(model: Mapping[str, Any], service: str) -> str:
    """Its image; one that is built and has no name is called after project and service, as `compose build` does."""
    return str(model["services"][service].get("image") or f"{model['name']}-{service}")


def seconds(duration: str) -> float:
    """`1m30s`, as Compose writes durations."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|m|s|us|ns)", duration))


def _as_options(service: Mapping[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
    """A service as docker-py's options, as far as `image_of` reads them, and its command. Compose writes `$` as `$$`."""
    health = service.get("healthcheck") or {}
    options = {
        "entrypoint": _plain(service.get("entrypoint")),
        "user": service.get("user"),
        "platform": service.get("platform"),
        "stop_signal": service.get("stop_signal"),
        "healthcheck": {"test": ["NONE"] if health.get("disable") else _plain(health.get("test"))},
        "ports": [
            *(f"{port['target']}/{port.get('protocol', 'tcp')}" for port in service.get("ports") or []),
            *(port for port in map(str, service.get("expose") or []) if "-" not in port),
        ],
    }
    return {name: value for name, value in options.items() if value is not None}, _plain(service.get("command"))


def _plain(words: Sequence[str] | None) -> list[str] | None:
    return None if words is None else [word.replace("$$", "$") for word in words]


def fresh(
    model: Mapping[str, Any], service: str, name: str, labels: Mapping[str, str], more: Mapping[str, object]
) -> dict[str, Any]:
    """The same project under another name. Nothing of it is shared with another one but what is external; `more` changes the service."""
    services = {key: _service(model, key, labels) for key in model["services"]}
    judged = {key: value for key, value in services[service].items() if key != "logging"}  # its log is read
    limits = {"resources": (judged.get("deploy") or {}).get("resources") or {}}  # one container, never restarted
    services[service] = {**judged, "healthcheck": {"disable": True}, "restart": "no", "deploy": limits, **more}
    return {**model, "name": name, "services": services} | {
        kind: {
            key: dict(one)
            if one.get("external")
            else {**one, "name": f"{name}_{key}", "labels": _labelled(one, labels)}
            for key, one in (model.get(kind) or {}).items()
        }
        for kind in ("networks", "volumes")
    }


def _service(model: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    given = model["services"][name]
    changed = {key: value for key, value in given.items() if key not in LEFT_OUT}
    changed |= {"image": image_name(model, name), "pull_policy": "never", "labels": _labelled(given, labels)}
    if (called := given.get("container_name")) and given.get("networks"):  # neighbours may know it under that name
        changed["networks"] = {
            key: {**(one or {}), "aliases": [*((one or {}).get("aliases") or []), called]}
            for key, one in given["networks"].items()
        }
    return changed


def _labelled(thing: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    return {**(thing.get("labels") or {}), **labels}


def _gated(model: Mapping[str, Any], waits: Mapping[str, Any], subject: ComposeSubject) -> dict[str, Any]:
    """With the gate: our own interpreter, which does nothing and ends."""
    gate = {
        "image": subject.agent_image,
        "entrypoint": [*subject.agent_command[:-1], "pass"],
        "network_mode": "none",
        "pull_policy": "never",
        "labels": model["services"][subject.service]["labels"],
        "depends_on": waits,
    }
    return {**model, "services": {**model["services"], GATE: gate}}


def _made(engine: Engine, bundle: Bundle, service: str) -> Container:
    labels = [f"com.docker.compose.project={bundle.name}", f"com.docker.compose.service={service}"]
    try:
        found = engine.client.containers.list(all=True, filters={"label": labels})
    except BROKEN as error:
        raise EngineError(f"the container of {service} cannot be found: {explain(error)}") from None
    if len(found) != 1:
        raise EngineError(f"Compose made {len(found)} containers of {service}, not one")
    return Container(engine, found[0], bundle)


def _external(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The volumes that are not the project's own and that somebody in it may write to."""
    written = {
        mount.get("source")
        for service in model["services"].values()
        for mount in service.get("volumes") or []
        if mount["type"] == "volume" and not mount.get("read_only")
    }
    return [one for key, one in (model.get("volumes") or {}).items() if one.get("external") and key in written]


def _obstacles(model: Mapping[str, Any], *, shares: bool) -> Iterator[str]:
    """Why two such projects cannot be there at the same time."""
    for name, service in model["services"].items():
        if service.get("network_mode") == "host":
            yield f"network_mode: host in {name}: two of them would want the same ports"
        for mount in service.get("volumes") or []:
            if mount["type"] == "bind" and not mount.get("read_only"):
                yield f"a writable {mount['source']} in {name}: two of them would write to the same files"
    for name, network in (model.get("networks") or {}).items():
        if (network.get("ipam") or {}).get("config"):
            yield f"the network {name} has addresses of its own: two of them would want the same"
    for volume in _external(model) if shares else []:
        yield f"the volume {volume['name']} is shared: two of them would write to the same files"
