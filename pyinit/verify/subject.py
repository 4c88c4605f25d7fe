"""The subject of a verification: an image with the options that it is run with, and how to make a fresh container of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pyinit.init import signals
from pyinit.verify.evidence import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyinit.containers.engine import Bundle, Container, Engine

OWN_KERNEL = ("runsc", "kata", "gvisor", "firecracker", "runq")
"""Parts of names of runtimes that bring a kernel of their own: their processes are not the host's, and nothing is put into them."""


class Subject(Protocol):
    """Something that can be started afresh, again and again."""

    @property
    def image(self) -> Image: ...
    @property
    def grace(self) -> int:
        """Seconds that a stop gives."""
        ...

    @property
    def alone(self) -> str:
        """Why its containers cannot run beside each other; empty: they can."""
        ...

    def create(self, engine: Engine, **more: Any) -> Container:  # noqa: ANN401 - docker-py's options
        """A fresh container, not started. `more` are docker-py's options, on top of the subject's own."""
        ...

    def command_line(self, **more: object) -> str:
        """The command that makes and starts the same container, called c."""
        ...


@dataclass(frozen=True)
class ImageSubject:
    """A plain image. `run_options` are docker-py's, `words` the same as `docker run` takes them, and as reports show them.

    Named volumes that it may write to are copied for each container, by the agent; without one they are shared.
    """

    image: Image
    grace: int
    arguments: tuple[str, ...] | None
    """The command, where it is not the image's own."""
    run_options: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    agent_image: str = ""
    agent_command: tuple[str, ...] = ()

    @property
    def alone(self) -> str:
        if self.run_options.get("network_mode") == "host":
            return "--network host: two of them would want the same ports"
        if self.run_options.get("ports"):
            return "-p: two of them would want the same ports"
        for volume in self.run_options.get("volumes") or ():
            if is_writable(volume) and not self._is_copied(volume):
                return f"-v {volume}: two of them would write to the same files"
        return ""

    def _is_copied(self, volume: str) -> bool:
        return bool(self.agent_image) and is_writable(volume) and not volume.startswith("/")

    def create(self, engine: Engine, **more: Any) -> Container:  # noqa: ANN401
        # the image's own health check is run by us, when we want it: the engine's runs would come and go during a stop
        options = {"healthcheck": {"test": ["NONE"]}, **self.run_options, **more}
        arguments = list(self.arguments) if self.arguments is not None else None
        volumes: Sequence[str] = options.get("volumes") or ()
        if not any(map(self._is_copied, volumes)):
            return engine.create(self.image.name, arguments, **options)
        with engine.bundle() as bundle:
            options["volumes"] = [
                self._own(volume, bundle) if self._is_copied(volume) else volume for volume in volumes
            ]
            return engine.create(self.image.name, arguments, bundle, **options)

    def _own(self, volume: str, bundle: Bundle) -> str:
        name, _, where = volume.partition(":")
        return f"{bundle.copy_of(name, self.agent_image, self.agent_command)}:{where}"

    def command_line(self, **more: object) -> str:
        changed = [word for name, value in more.items() for word in _FLAGS[name](value)]
        return shlex.join(
            ["docker", "run", "--rm", "--name", "c", *self.words, *changed, self.image.name, *(self.arguments or ())]
        )


def is_writable(volume: str) -> bool:
    """Whether what `-v` says may be written to: `SOURCE:PATH[:OPTION,...]`."""
    return "ro" not in volume.rsplit(":", 1)[-1].split(",")


def _flag(name: str) -> Any:  # noqa: ANN401 - a small function
    return lambda value: [name] if value is True else [word for one in _each(value) for word in (name, str(one))]


def _each(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


_FLAGS = {
    "user": _flag("--user"),
    "read_only": _flag("--read-only"),
    "cap_drop": _flag("--cap-drop"),
    "security_opt": _flag("--security-opt"),
    "tty": _flag("--tty"),
}


def image_of(
    engine: Engine, name: str, options: Mapping[str, Any], arguments: Sequence[str] | None, pull: str
) -> Image:
    """What an image is, as these options run it. Raises EngineError when there is none."""
    found = engine.image(name, pull=pull, platform=options.get("platform"))
    config = found.get("Config") or {}
    entrypoint = options["entrypoint"] if options.get("entrypoint") is not None else config.get("Entrypoint") or []
    command = arguments if arguments is not None else ([] if options.get("entrypoint") else config.get("Cmd") or [])
    declared = options.get("stop_signal") or config.get("StopSignal") or ""
    health = config.get("Healthcheck") or {}
    said = (options.get("healthcheck") or {}).get("test")
    exposed = [*(config.get("ExposedPorts") or {}), *(options.get("ports") or ())]
    return Image(
        name,
        str(found["Id"]),
        tuple(_each_word(entrypoint)) + tuple(command),
        signals.number_of(declared) or signals.TERM,
        bool(declared),
        _healthcheck({"Test": said} if said else health, config.get("Shell") or ["/bin/sh", "-c"]),
        tuple(sorted({int(port.partition("/")[0]) for port in exposed if "/" not in port or port.endswith("/tcp")})),
        str(options.get("user") or config.get("User") or ""),
        f"{found.get('Os', 'linux')}/{found.get('Architecture', '?')}",
    )


def _each_word(words: str | Sequence[str]) -> Sequence[str]:
    return [words] if isinstance(words, str) else words


def _healthcheck(declared: Mapping[str, Any], shell: Sequence[str]) -> tuple[str, ...]:
    """As an exec runs it (Dockerfile reference, HEALTHCHECK)."""
    kind, *words = declared.get("Test") or ["NONE"]
    if kind == "CMD":
        return tuple(words)
    return (*shell, *words) if kind == "CMD-SHELL" else ()


def has_own_kernel(runtime: str) -> bool:
    """Whether a runtime of that name brings its own kernel."""
    return any(part in runtime.lower() for part in OWN_KERNEL)
