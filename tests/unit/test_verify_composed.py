"""What `pyinitctl verify` makes of a compose file, of `-v` and of `-p`: all that is pure. Real projects: tests/container."""

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyinit.containers import helpers
from pyinit.containers.compose import Compose
from pyinit.verify import composed
from pyinit.verify.evidence import Image
from pyinit.verify.request import ports
from pyinit.verify.settings import SettingsError
from pyinit.verify.subject import ImageSubject, is_writable

IMAGE = Image(
    "image",
    "sha256:1",
    ("program",),
    stop_signal=15,
    declares_stop_signal=False,
    healthcheck=(),
    ports=(),
    user="",
    platform="",
)

MODEL: Mapping[str, Any] = {  # as `config --format json` prints it
    "name": "shop",
    "services": {
        "web": {
            "image": "web:1",
            "container_name": "shop-web",
            "command": ["sh", "-c", "echo $$HOME"],
            "entrypoint": None,
            "deploy": {
                "replicas": 3,
                "resources": {"limits": {"memory": "64m"}},
                "restart_policy": {"condition": "any"},
            },
            "scale": 3,
            "restart": "always",
            "profiles": ["web"],
            "labels": {"a": "b"},
            "logging": {"driver": "none"},
            "healthcheck": {"test": ["CMD-SHELL", "test -e $$HOME"], "interval": "5s"},
            "ports": [
                {"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"},
                {"mode": "ingress", "target": 53, "published": "53", "protocol": "udp"},
            ],
            "expose": ["9000", "9001-9003"],
            "networks": {"default": None, "back": {"aliases": ["shop"]}},
            "volumes": [
                {"type": "volume", "source": "data", "target": "/data", "volume": {}},
                {"type": "bind", "source": "/srv/conf", "target": "/conf", "read_only": True, "bind": {}},
            ],
            "depends_on": {"db": {"condition": "service_healthy", "required": True}},
        },
        "db": {"build": {"context": "/srv"}, "networks": {"back": None}, "pull_policy": "build"},
    },
    "networks": {"default": {"name": "shop_default", "ipam": {}}, "back": {"name": "theirs", "external": True}},
    "volumes": {"data": {"name": "shop_data", "labels": {"c": "d"}}},
}
LABELS = {"pyinit.session": "1"}


def changed(service: str, **more: object) -> Mapping[str, Any]:
    """The model with other words about one service."""
    services = MODEL["services"]
    return {**MODEL, "services": {**services, service: {**services[service], **more}}}


def fresh(**more: object) -> dict[str, Any]:
    """Of MODEL."""
    return composed.fresh(MODEL, "web", "pyinit-1-2", LABELS, more)


def test_nothing_is_shared() -> None:
    """Names of what is made, host ports and container names are the project's own; what is external stays."""
    model = fresh()
    assert model["name"] == "pyinit-1-2"
    assert model["volumes"] == {"data": {"name": "pyinit-1-2_data", "labels": {"c": "d", **LABELS}}}
    assert model["networks"] == {
        "default": {"name": "pyinit-1-2_default", "ipam": {}, "labels": LABELS},
        "back": {"name": "theirs", "external": True},
    }
    for service in model["services"].values():
        assert not {"build", "container_name", "ports", "profiles", "scale"} & set(service)
        assert service["labels"].items() >= LABELS.items()
    assert model["services"]["db"] == {
        "image": "shop-db",
        "networks": {"back": None},
        "pull_policy": "never",
        "labels": LABELS,
    }


def test_the_judged_one() -> None:
    """It is one container that is never restarted, whose log can be read and whose health is asked by us; its name stays an alias."""
    web = fresh(user="7:0", read_only=True)["services"]["web"]
    assert (web["user"], web["read_only"]) == ("7:0", True)
    assert (web["restart"], web["healthcheck"]) == ("no", {"disable": True})
    assert web["deploy"] == {"resources": {"limits": {"memory": "64m"}}}
    assert "logging" not in web
    assert web["labels"] == {"a": "b", **LABELS}
    assert web["networks"] == {"default": {"aliases": ["shop-web"]}, "back": {"aliases": ["shop", "shop-web"]}}
    assert web["command"] == ["sh", "-c", "echo $$HOME"]  # Compose reads it again


def test_the_model_is_not_changed() -> None:
    """Each project is made from the same one."""
    before = repr(MODEL)
    composed._external(
        composed.fresh({**MODEL, "volumes": {"data": {"name": "x", "external": True}}}, "web", "n", LABELS, {})
    )
    assert repr(MODEL) == before


def test_what_is_known_of_the_service() -> None:
    """`$$` is Compose's way to write `$`; ports are exposed as with docker run; a health check can be off."""
    options, command = composed._as_options(MODEL["services"]["web"])
    assert command == ["sh", "-c", "echo $HOME"]
    assert options["ports"] == ["80/tcp", "53/udp", "9000"]
    assert options["healthcheck"] == {"test": ["CMD-SHELL", "test -e $HOME"]}
    off, command = composed._as_options({"healthcheck": {"disable": True}, "stop_signal": "INT", "entrypoint": []})
    assert (off["healthcheck"], off["stop_signal"], off["entrypoint"], command) == ({"test": ["NONE"]}, "INT", [], None)


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10), ("1m30.5s", 90.5), ("2h0m1s", 7201), ("500ms", 0.5), ("0s", 0)]
)
def test_durations(text: str, value: float) -> None:
    """As Compose prints them."""
    assert composed.seconds(text) == value


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (MODEL, ""),
        (changed("db", network_mode="host"), "network_mode: host in db"),
        (changed("db", volumes=[{"type": "bind", "source": "/srv/db", "target": "/db"}]), "a writable /srv/db in db"),
        ({**MODEL, "networks": {"n": {"ipam": {"config": [{"subnet": "10.9.0.0/24"}]}}}}, "the network n"),
        ({**MODEL, "volumes": {"data": {"name": "theirs", "external": True}}}, "the volume theirs is shared"),
    ],
)
def test_what_cannot_be_there_twice(model: Mapping[str, Any], said: str) -> None:
    """Such projects are made one after the other. An external volume is copied, unless it is to be shared."""
    assert next(composed._obstacles(model, shares=True), "").startswith(said)
    assert bool(next(composed._obstacles(model, shares=True), "")) is bool(said)
    if "shared" in said:
        assert not list(composed._obstacles(model, shares=False))


def test_command_line() -> None:
    """What a user can type: the settings of an act go in by stdin, as a second file."""
    compose = Compose()
    compose.words = ("docker", "compose")
    subject = composed.ComposeSubject(compose, "my file.yaml", "web", MODEL, IMAGE, 10, "agent", ("python3",))
    assert subject.command_line() == "docker compose -f 'my file.yaml' run --rm -T --name c web"
    assert subject.command_line(read_only=True, cap_drop=["ALL"]) == (
        """printf %s '{"services": {"web": {"read_only": true, "cap_drop": ["ALL"]}}}' | """
        "docker compose -f 'my file.yaml' -f - run --rm -T --name c web"
    )
    assert subject.command_line(tty=True) == "docker compose -f 'my file.yaml' run --rm --name c web"


def test_no_compose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says which commands were tried, and what to install; a client without the plugin is none."""
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match="neither `docker compose` nor `docker-compose` answers"):
        _ = Compose().words


# --- -v and -p ---


@pytest.mark.parametrize(
    ("volume", "copied", "alone"),
    [
        ("data:/data", True, False),
        ("data:/ro", True, False),
        ("data:/data:ro", False, False),
        ("data:/data:ro,z", False, False),
        ("/srv/data:/data:rw", False, True),
        ("/srv/data:/data:z,ro", False, False),
    ],
)
def test_which_volumes_are_copied(volume: str, copied: bool, alone: bool) -> None:  # noqa: FBT001
    """Named ones that may be written to, unless they are to be shared; then, as with a folder, containers run one at a time."""
    own = ImageSubject(IMAGE, 10, None, {"volumes": [volume]}, (), "agent", ("python3",))
    assert (own._is_copied(volume), bool(own.alone)) == (copied, alone)
    shared = ImageSubject(IMAGE, 10, None, {"volumes": [volume]})
    assert bool(shared.alone) is is_writable(volume)
    assert volume in shared.alone or not shared.alone


@pytest.mark.parametrize("options", [{"network_mode": "host"}, {"ports": {"80": [None]}}], ids=str)
def test_what_can_be_had_once(options: Mapping[str, Any]) -> None:
    """The host's ports: containers run one at a time."""
    assert "the same ports" in ImageSubject(IMAGE, 10, None, options).alone
    assert ImageSubject(IMAGE, 10, None, {"network_mode": "none"}).alone == ""


@pytest.mark.parametrize(
    ("words", "bindings"),
    [
        (["80"], {"80": [None]}),
        (["8080:80"], {"80": ["8080"]}),
        (["127.0.0.1:8080:80/udp"], {"80/udp": [("127.0.0.1", "8080")]}),
        (["8080-8081:80-81"], {"80": ["8080"], "81": ["8081"]}),
    ],
)
def test_ports(words: list[str], bindings: Mapping[str, object]) -> None:
    """Docker's forms, as docker-py takes them."""
    assert ports(words) == bindings


@pytest.mark.parametrize("word", ["", "http", "80-82:80-81", "80/"])
def test_no_ports(word: str) -> None:
    """What is none, is named."""
    with pytest.raises(SettingsError, match=r"-p .*: write PORT, PORT:PORT or IP:PORT:PORT"):
        ports([word])


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    """Rights, times, links, names of the same file, pipes and attributes; a socket leads nowhere and stays behind."""
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "folder").mkdir(parents=True)
    (old / "folder" / "file").write_bytes(b"x" * 3_000_000)
    (old / "folder" / "file").chmod(0o4750)
    (old / "again").hardlink_to(old / "folder" / "file")
    (old / "link").symlink_to("/nowhere")
    os.mkfifo(old / "pipe", 0o600)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(old / "socket"))
    os.utime(old / "folder", (1000, 1000))
    old.chmod(0o1711)
    new.mkdir()
    helpers.copy(str(old), str(new))

    assert sorted(path.relative_to(new).as_posix() for path in new.rglob("*")) == [
        "again",
        "folder",
        "folder/file",
        "link",
        "pipe",
    ]
    assert (new / "folder" / "file").read_bytes() == b"x" * 3_000_000
    assert (new / "again").samefile(new / "folder" / "file")
    assert (new / "link").readlink() == Path("/nowhere")
    for path in (old, *old.rglob("*")):
        if path.name != "socket":
            there = new / path.relative_to(old)
            ours, theirs = path.lstat(), there.lstat()
            assert (ours.st_mode, ours.st_mtime_ns, ours.st_uid) == (
                theirs.st_mode,
                theirs.st_mtime_ns,
                theirs.st_uid,
            ), path
    assert stat.S_ISFIFO((new / "pipe").lstat().st_mode)
