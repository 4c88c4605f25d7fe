"""The manifests in docker/kubernetes and those of `pyinitctl export`: their numbers fit together, and podman runs and stops them.

Here podman has its storage, its locks and its settings in a folder of the test, which goes with it.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from pyinit.init import options, signals
from pyinit.init.options import Policy
from support import engines
from support.processes import inner_pid
from support.waiting import until

PROJECT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((PROJECT / "docker" / "kubernetes").glob("*.yaml"))
IMAGE = "localhost/pyinit-example:latest"
TAGGED = "localhost/pyinit-example:tagged"
"""The same. A manifest without imagePullPolicy, as `export` writes it, makes podman look for a newer `latest`."""

APPS = """\
[apps.web]
command = ["python3", "-u", "-c", '''
import os, signal, time
asked, ticks = [], 0
signal.signal(signal.SIGTERM, lambda *_: asked.append(ticks))
print("ready on", os.environ["PORT"], flush=True)
while not asked:
    ticks += 1
    time.sleep(0.02)
print("asked after", ticks)
''']
environment = { PORT = "8080" }
instances = "max"
drain = "3s"
grace = "10s"

[apps.mailer]
command = ["python3", "-u", "-c", '''
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
print("ready", flush=True)
while True:
    signal.pause()
''']
stop_signal = "INT"
instances = 2

[apps.deaf]
command = ["python3", "-u", "-c", '''
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
''']
grace = "1s"
"""

CONF = """\
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
netns = "none"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{home}/tmp"
static_dir = "{home}/static"
volume_path = "{home}/volumes"

[network]
network_config_dir = "{home}/networks"
"""

Manifest = Mapping[str, Any]


# --- the numbers ---


def load(name: str) -> Manifest:
    """A manifest: one pod."""
    manifest: Manifest = yaml.safe_load((PROJECT / "docker" / "kubernetes" / name).read_text(encoding="utf-8"))
    return manifest


def with_pyinit(manifest: Manifest) -> Sequence[Manifest]:
    """The containers that have pyinit as their command."""
    return [container for container in manifest["spec"]["containers"] if container.get("command", [""])[0] == "pyinit"]


def policy_of(container: Manifest) -> Policy:
    """What pyinit itself makes of the container's command and environment, in Kubernetes."""
    environment = {entry["name"]: str(entry["value"]) for entry in container.get("env", []) if "value" in entry}
    environment["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
    words = [*container["command"][1:], *container.get("args", [])]
    encoded = {name.encode(): value.encode() for name, value in environment.items()}
    return options.parse([word.encode() for word in words], encoded)


def pre_stop(container: Manifest) -> int:
    """The seconds that a preStop hook sleeps: the part of it that a manifest shows."""
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return int(hook["sleep"]["seconds"])
    found = re.search(r"\bsleep\W+(\d+)", " ".join(hook.get("exec", {}).get("command", [])))
    return int(found[1]) if found else 0


def problems(manifest: Manifest) -> Sequence[str]:
    """What does not fit together."""
    found = []
    spec = manifest["spec"]
    period = spec.get("terminationGracePeriodSeconds", 30)
    for container in with_pyinit(manifest):
        policy = policy_of(container)
        name = container["name"]
        # those whom nobody could ask before the kill get their own fair moment, and the dead are waited for
        needed = policy.drain + options.plan_length(policy.plan) + policy.fair + policy.bound
        there = (period - pre_stop(container)) * options.SECOND
        if needed >= there:
            found.append(
                f"{name}: pyinit needs {needed / options.SECOND:g} s, and has {there / options.SECOND:g} s of the pod's"
            )
        wanted = container.get("terminationMessagePath", "/dev/termination-log")
        if policy.termination_log and policy.termination_log.decode() != wanted:
            found.append(f"{name}: pyinit writes {policy.termination_log.decode()}, the kubelet reads {wanted}")
        if not policy.program:
            found.append(f"{name}: no program")
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_numbers_fit(path: Path) -> None:
    """Drain, plan and what comes after it end before the pod's grace; the termination log is the one that is read."""
    manifest = load(path.name)
    assert with_pyinit(manifest)
    assert problems(manifest) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"command": ["pyinit", "--drain=10s", "--grace=20s", "--"]}, "pyinit needs 31.5 s, and has 30 s"),
        ({"command": ["pyinit", "--stop=TERM:20s,INT:10s,KILL", "--"]}, "needs 31.5 s"),
        ({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 9"]}}}}, "needs 26.5 s, and has 21 s"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 4}}}}, "needs 26.5 s, and has 26 s"),
        ({"terminationMessagePath": "/tmp/log"}, "the kubelet reads /tmp/log"),
        ({"env": [{"name": "PYINIT_DRAIN", "value": "9s"}], "command": ["pyinit", "--grace=20s"]}, "needs 30.5 s"),
        ({"command": ["pyinit", "--"]}, ""),  # 28 s is pyinit's own default there: 29.5 in all
        ({"command": ["pyinit", "--grace=infinity", "--"]}, "pyinit needs"),
    ],
)
def test_numbers_that_do_not_fit_are_found(change: Manifest, problem: str) -> None:
    """The negative control of the one above."""
    manifest = load("pod.yaml")
    manifest["spec"]["containers"][0].update(change)
    found = " ".join(problems(manifest))
    assert problem in found
    assert bool(problem) == bool(found)


def test_the_comments_say_the_numbers() -> None:
    """The sum at the head of each manifest is the one of its lines."""
    for path in MANIFESTS:
        policy = policy_of(with_pyinit(load(path.name))[0])
        head = path.read_text(encoding="utf-8").split("apiVersion")[0]
        drain = f"drain {policy.drain // options.SECOND} s" if policy.drain else "no drain"
        grace = f"grace {options.plan_length(policy.plan) // options.SECOND} s"
        rest = f"at most {(policy.fair + policy.bound) / options.SECOND:g} s"
        period = f"terminationGracePeriodSeconds {load(path.name)['spec']['terminationGracePeriodSeconds']} s"
        assert re.search(rf"{drain} \+ {grace} \+ {rest}.* < +{period}", head), path.name


# --- podman ---


class Podman:
    """A podman with everything of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "networks").mkdir(parents=True)
        (home / "containers.conf").write_text(CONF.format(home=home), encoding="utf-8")
        self.command = ["podman", f"--root={home}/storage", f"--runroot={home}/run", "--storage-driver=overlay"]
        self.environment = {**os.environ, "CONTAINERS_CONF": f"{home}/containers.conf", "HOME": str(home)}

    def __call__(self, *arguments: str, stdin: int | None = None, fails: bool = False, errors_too: bool = False) -> str:
        """What it prints; a failure is the test's, unless `fails` allows it."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
            text=True,
            check=False,
            timeout=110,
        )
        if done.returncode and not fails:
            pytest.fail(
                f"podman {' '.join(arguments)} failed with status {done.returncode}:\n{done.stderr or done.stdout}",
                pytrace=False,
            )
        return done.stdout

    def logs(self, container: str) -> str:
        """What a container has said, on both streams."""
        return self("logs", container, errors_too=True)

    def inspect(self, container: str) -> Manifest:
        found: Manifest = json.loads(self("inspect", container))[0]
        return found

    def pid(self, container: str) -> int:
        """Its first process, as this machine numbers it."""
        pid = int(self.inspect(container)["State"]["Pid"])
        assert pid, f"{container} is not running:\n{self.logs(container)}"
        return pid


@pytest.fixture(scope="module")
def podman(client: docker.DockerClient, image: str) -> Iterator[Podman]:
    """Gives a podman that has the image of the manifests: the example of docker/example, with pyinit."""
    if shutil.which("podman") is None:
        pytest.fail("no podman: run ./tests/run container, or apt-get install podman catatonit", pytrace=False)
    cgroups_before = podman_cgroups()
    # not pytest's own folder: its path is too long for the sockets of conmon
    home = Path(tempfile.mkdtemp(prefix="pyinit-podman-"))
    podman = Podman(home)
    try:
        load_image(podman, client, image)
        yield podman
    finally:
        podman("pod", "rm", "--all", "--force", "--time", "0", fails=True)
        podman("system", "reset", "--force", fails=True)
        shutil.rmtree(home, ignore_errors=True)
        for left in sorted(podman_cgroups() - cgroups_before, reverse=True):  # the inner ones first
            with contextlib.suppress(OSError):  # not empty: somebody else's by now
                left.rmdir()


def podman_cgroups() -> set[Path]:
    """The cgroups that podman makes for pods and does not remove (cgroups v1: in each hierarchy; v2: in the one)."""
    parents = [*Path("/sys/fs/cgroup").glob("libpod_parent"), *Path("/sys/fs/cgroup").glob("*/libpod_parent")]
    return {folder for parent in parents for folder in (parent, *parent.rglob("*")) if folder.is_dir()}


def load_image(podman: Podman, client: docker.DockerClient, image: str) -> None:
    """Make the image in the engine, and give it to podman."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in sorted((PROJECT / "docker" / "example").iterdir()):
            if file.suffix in {".py", ".sh"}:
                tar.add(file, file.name)
    raw = client.containers.create(image, ["true"])
    try:
        assert raw.put_archive("/srv", buffer.getvalue())
        made = raw.commit()
    finally:
        raw.remove(force=True)
    try:
        saving = subprocess.Popen(["docker", "save", str(made.id)], stdout=subprocess.PIPE)
        assert saving.stdout is not None
        with saving:
            said = podman("load", "--quiet", stdin=saving.stdout.fileno())
        assert saving.returncode == 0
    finally:
        client.images.remove(str(made.id))
    found = re.search(r"sha256:[0-9a-f]+", said)
    assert found, said
    podman("tag", found[0], IMAGE, TAGGED)


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """The pod's own part."""
    found: dict[str, Any] = manifest["spec"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["spec"]
    return found


def pods_of(manifest: Manifest) -> Sequence[str]:
    """The names that podman gives to its pods; none for what makes none."""
    name = str(manifest["metadata"]["name"])
    if manifest["kind"] == "Deployment":
        return [f"{name}-pod-{number}" for number in range(manifest["spec"].get("replicas", 1))]
    return [name] if manifest["kind"] == "Pod" else []


@contextlib.contextmanager
def played(podman: Podman, manifests: Sequence[Manifest], tmp_path: Path) -> Iterator[Mapping[str, Path]]:
    """Run manifests; gives the termination log of each container, which is mounted as the kubelet mounts it."""
    logs: dict[str, Path] = {}
    containers = []
    pods = [pod for manifest in manifests for pod in pods_of(manifest)]
    for manifest in filter(pods_of, manifests):
        volumes = pod_of(manifest).setdefault("volumes", [])
        for container in pod_of(manifest)["containers"]:
            containers += [f"{pod}-{container['name']}" for pod in pods_of(manifest)]
            logs[container["name"]] = log = tmp_path / f"{container['name']}.log"
            log.touch()
            volumes.append({"name": container["name"], "hostPath": {"path": str(log), "type": "File"}})
            path = container.get("terminationMessagePath", "/dev/termination-log")
            container.setdefault("volumeMounts", []).append({"name": container["name"], "mountPath": path})
    file = tmp_path / "played.yaml"
    file.write_text(yaml.safe_dump_all(manifests, explicit_start=True), encoding="utf-8")
    try:
        print(
            podman("kube", "play", "--network=none", str(file), errors_too=True)
        )  # it also tells what it does not know
        yield logs
    except BaseException:
        for name in containers:
            print(f"--- {name}\n{podman('logs', name, fails=True, errors_too=True)}")
        raise
    finally:
        for pod in pods:
            podman("pod", "rm", "--force", "--time", "0", pod, fails=True)


def events(log: str) -> Sequence[Manifest]:
    """The lines of pyinit itself."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def ready(podman: Podman, container: str) -> None:
    until(lambda: podman.logs(container).count("ready,") == 2, 30, "both workers")


@pytest.mark.engines(engines.NATIVE)  # which is what a pod gets; loading an image into podman takes a while
def test_a_pod_drains_and_ends_in_order(podman: Podman, tmp_path: Path) -> None:
    """pod.yaml: PID 1, a drain during which the program works on, everybody ends by themselves, and the reason is kept."""
    with played(podman, [load("pod.yaml")], tmp_path) as logs:
        ready(podman, "shop-shop")
        assert inner_pid(podman.pid("shop-shop")) == 1
        began = time.monotonic()
        podman("pod", "stop", "--time", str(load("pod.yaml")["spec"]["terminationGracePeriodSeconds"]), "shop")
        seconds = time.monotonic() - began
        log = podman.logs("shop-shop")
        state = podman.inspect("shop-shop")["State"]
        assert state["ExitCode"] == 0, log  # 143, which --expect TERM makes a success
        told = events(log)
        names = [event["event"] for event in told]
        order = ["signal", "drain", "forward", "child-exit", "exit"]
        positions = [names.index(name) for name in order]
        assert positions == sorted(positions), log
        last = told[-1]
        assert last["killed"] == []
        assert last["code"] == 0
        assert 5.0 <= seconds < 20, log
        assert log.count("done") == 3  # both workers and the daemon have written what they had
        # it went on working while it drained: an entry every 20 ms, and 5 s on top of the 25 that made it ready
        written = [int(number) for number in re.findall(r"told to stop, writing (\d+) entries", log)]
        assert len(written) == 2
        assert min(written) > 75
        words = logs["shop"].read_text(encoding="utf-8")
        assert words.startswith("pyinit: exit 0, "), words
        assert "SIGTERM" in words
        assert "nobody killed" in words


@pytest.mark.engines(engines.NATIVE)
def test_a_shared_process_namespace(podman: Podman, tmp_path: Path) -> None:
    """pod-shared.yaml: PID 1 is the pause process; pyinit adopts, reaps and ends its own, and nobody else's."""
    with played(podman, [load("pod-shared.yaml")], tmp_path) as logs:
        ready(podman, "shop-shared-shop")
        until(lambda: "ready" in podman.logs("shop-shared-bystander"), 30, "the bystander")
        ours, bystander = podman.pid("shop-shared-shop"), podman.pid("shop-shared-bystander")
        assert inner_pid(ours) != 1
        assert Path(f"/proc/{ours}/ns/pid").readlink() == Path(f"/proc/{bystander}/ns/pid").readlink()
        # a shipper that went to the background by itself is ours, not the pause process's
        shipper = until(lambda: child_named(ours, "shipper"), 10, "the shipper's adoption")
        podman("stop", "--time", "30", "shop-shared-shop")
        log = podman.logs("shop-shared-shop")
        assert podman.inspect("shop-shared-shop")["State"]["ExitCode"] == 0, log
        last = events(log)[-1]
        assert last["killed"] == []
        assert last["reaped"] >= 1
        assert not Path(f"/proc/{shipper}").exists()
        assert log.count("done") == 3
        assert "nobody killed" in logs["shop"].read_text(encoding="utf-8")
        assert Path(f"/proc/{bystander}").exists()
        assert "told to stop" not in podman.logs("shop-shared-bystander")
        # the negative control: it does say when somebody touches it
        podman("kill", "--signal", "TERM", "shop-shared-bystander")
        until(lambda: "told to stop" in podman.logs("shop-shared-bystander"), 10, "the bystander's word")


@pytest.mark.engines(engines.NATIVE)
def test_exported_pods_drain_and_end_as_their_file_says(podman: Podman, tmp_path: Path) -> None:
    """`pyinitctl export`: one process under pyinit in each pod; drained, asked by its own signal, and its status kept."""
    (tmp_path / "apps.toml").write_text(APPS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyinit.ctl", "export", "kubernetes", "apps.toml", "--image", TAGGED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    manifests = list(yaml.safe_load_all(done.stdout))
    deployments = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    for manifest in deployments:  # podman would publish the ports, and here pods have no network
        pod_of(manifest)["containers"][0].pop("ports", None)
    graces = {pod: pod_of(one)["terminationGracePeriodSeconds"] for one in deployments for pod in pods_of(one)}
    assert graces == {"web-pod-0": 15, "mailer-pod-0": 10, "mailer-pod-1": 10, "deaf-pod-0": 3}
    with played(podman, manifests, tmp_path) as logs:
        names = {pod: f"{pod}-{pod.split('-')[0]}" for pod in graces}
        for container in names.values():
            until(partial(has_begun, podman, container), 60, container)
            assert inner_pid(podman.pid(container)) == 1
        seconds = {}
        for pod, grace in graces.items():
            began = time.monotonic()
            podman("pod", "stop", "--time", str(grace), pod)
            seconds[pod] = time.monotonic() - began
        said = {pod: podman.logs(container) for pod, container in names.items()}
        status = {pod: podman.inspect(container)["State"]["ExitCode"] for pod, container in names.items()}
        assert status == {"web-pod-0": 0, "mailer-pod-0": 7, "mailer-pod-1": 7, "deaf-pod-0": 137}, said
        assert seconds["web-pod-0"] >= 3
        found = re.search(r"asked after (\d+)", said["web-pod-0"])
        assert found, said
        assert int(found[1]) > 75  # it went on working while it drained: a tick every 20 ms
        for name in ("web", "mailer"):
            assert "nobody killed" in logs[name].read_text(encoding="utf-8")
        # the negative control: who does not stop is killed by pyinit, within the pod's time, and named
        assert "killed 1" in said["deaf-pod-0"]
        assert "ignores SIGTERM" in said["deaf-pod-0"]


def has_begun(podman: Podman, container: str) -> bool:
    """Whether its program has said that it is ready."""
    return "ready" in podman.logs(container)


def child_named(parent: int, name: str) -> int:
    """A child by its name; 0 while there is none."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split():
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == name:
            return int(pid)
    return 0


def test_signals_are_named_as_in_kubernetes() -> None:
    """`lifecycle.stopSignal` takes SIGTERM, SIGRTMIN+3 and the like: pyinit takes the same names."""
    for name in ("SIGTERM", "SIGRTMIN+3", "SIGRTMAX-1", "SIGRTMIN"):
        assert signals.number_of(name)
