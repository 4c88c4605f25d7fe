"""`pyinitctl export kubernetes`: each key, random files, and what Kubernetes' schemas, lint and pyinit itself say of the result."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyinit.ctl import export as command
from pyinit.ctl.__main__ import main
from pyinit.init import options, signals
from pyinit.lint.linter import Request, lint
from pyinit.supervise import apps, export, pm2, secret, tomltext
from pyinit.supervise.apps import AppsError, Document
from pyinit.supervise.export import Exported, Target

VERSIONS = ("1.30", "1.37")
IMAGE = "registry.example/shop:1.2"
Manifest = dict[str, Any]


def exported(keys: Mapping[str, Any], target: Target | None = None, **top: object) -> Exported:
    """Of one app, `web`."""
    values = {"apps": {"web": {"command": ["serve"], **keys}}, **top}
    return export.kubernetes(Document(values, Path("/srv")), target or Target(IMAGE))


def pod(found: Exported) -> Manifest:
    """The pod's spec of the first Deployment."""
    spec: Manifest = found.documents[0]["spec"]["template"]["spec"]
    return spec


def container(found: Exported) -> Manifest:
    (one,) = pod(found)["containers"]
    assert isinstance(one, dict)
    return one


def kinds(found: Exported) -> list[str]:
    return [document["kind"] for document in found.documents]


def valid(found: Exported, versions: Sequence[str] = VERSIONS) -> None:
    """As Kubernetes' own schemas have it, without a key that they do not know."""
    for document in found.documents:
        for version in versions:
            assert kubernetes_validate.validate(document, version, strict=True) == version


def linted(found: Exported, folder: Path) -> list[str]:
    """What pyinit's own lint finds in it."""
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump_all(found.documents, explicit_start=True), encoding="utf-8")
    outcome = lint([file], Request())
    assert outcome.files == [str(file)]
    return [f"{one.rule}: {one.message}" for one in outcome.findings]


# --- the table ---


def test_every_key_has_a_fate() -> None:
    assert [fate.key for fate in export.TOP] == [key.name for key in apps.TOP]
    assert sorted(fate.key for fate in export.FATES) == sorted(apps.BY_NAME)
    for fate in (*export.TOP, *export.FATES):
        assert fate.text or fate.becomes
        assert not (fate.warns and fate.becomes)


SAID: Mapping[str, object] = {
    "instance_variable": "N",
    "increment_variables": ["PORT"],
    "ready_required": False,
    "stop_message": "shutdown",
    "restart": "never",
    "leave_exit_codes": [3],
    "max_restarts": 3,
    "restart_window": "1m",
    "backoff_first": "1s",
    "backoff_max": "30s",
    "cron": "0 4 * * *",
    "watch": ["src"],
    "watch_ignore": ["*.log"],
    "after": ["db"],
    "log_stdout": "out.log",
    "log_stderr": "err.log",
    "log_combined": "all.log",
    "log_off": True,
    "log_form": "json",
    "log_timestamp": "%H",
    "log_per_instance": True,
    "log_max_size": "1M",
    "log_every": "1m",
    "log_keep": 3,
    "log_compress": True,
    "log_full": "drop",
}
"""A value that is none of the defaults, for each key that becomes nothing."""


@pytest.mark.parametrize("fate", [fate for fate in export.FATES if fate.warns], ids=lambda fate: fate.key)
def test_what_becomes_nothing_is_named(fate: export.Fate) -> None:
    """And only where it is said: neither left out nor written as the default."""
    keys = {fate.key: SAID[fate.key]}
    values = {"apps": {"web": {"command": ["serve"], **keys}, "db": {"command": "db"}}}
    said = [f"web: {fate.key}: {fate.text}"]
    found = export.kubernetes(Document(values, Path("/srv")), Target(IMAGE))
    assert [line for line in found.warnings if "no Service" not in line] == said
    default = apps.BY_NAME[fate.key].default
    if default is not None:
        assert [line for line in exported({fate.key: default}).warnings if "no Service" not in line] == []


def test_keys_beside_the_apps() -> None:
    found = exported({}, control="/run/c", stop_budget="8s", log_form="json")
    assert [line.split(":")[0] for line in found.warnings[:3]] == ["control", "stop_budget", "log_form"]
    assert len(exported({}, log_form="text").warnings) == 1


def test_same_words_once() -> None:
    """Keys with the same fate share a line."""
    found = exported({"log_stdout": "a", "log_keep": 3, "max_restarts": 1, "backoff_max": "1m"})
    assert [line.rpartition(": ")[0].split(": ")[1] for line in found.warnings[:2]] == [
        "max_restarts, backoff_max",
        "log_stdout, log_keep",
    ]


# --- what becomes of each ---

BECOMES: Mapping[str, tuple[Mapping[str, Any], str, object]] = {
    "command": ({"command": "node 'a b.js'"}, "container.args", ["node", "a b.js"]),
    "namespace": ({"namespace": "Big Shop"}, "metadata.labels", {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "big-shop"}),
    "cwd": ({"cwd": "/app"}, "container.workingDir", "/app"),
    "environment": ({"environment": {"A": 1}}, "container.env", [{"name": "A", "value": "1"}]),
    "environments": (
        {"environment": {"A": "1"}, "environments": {"live": {"A": "2"}}},
        "container.env",
        [{"name": "A", "value": "2"}],
    ),
    "user": ({"user": 7, "group": 8}, "container.securityContext", {"runAsUser": 7, "runAsGroup": 8}),
    "group": ({"group": "0"}, "container.securityContext", {"runAsGroup": 0}),
    "instances": ({"instances": 4}, "spec.replicas", 4),
    "listen": ({"listen": ["8080", "8081"]}, "container.ports", [
        {"name": "tcp-8080", "containerPort": 8080}, {"name": "tcp-8081", "containerPort": 8081}]),
    "ready": (
        {"ready": {"http": "http://0.0.0.0:8080/up?q=1"}},
        "container.readinessProbe",
        {"httpGet": {"path": "/up?q=1", "port": 8080}, "periodSeconds": 5},
    ),
    "ready_timeout": ({"ready_timeout": "40s", "min_uptime": "10s"}, "spec.progressDeadlineSeconds", 110),
    "stop_signal": ({"stop_signal": "QUIT"}, "container.command.1", "--stop=QUIT:8s,KILL"),
    "drain": ({"drain": "1500ms", "listen": ["80"]}, "container.command.1", "--drain=1500ms"),
    "grace": ({"grace": "20s"}, "pod.terminationGracePeriodSeconds", 22),
    "min_uptime": ({"min_uptime": "1500ms"}, "spec.minReadySeconds", 2),
    "memory_limit": (
        {"memory_limit": "300M"},
        "container.resources",
        {"requests": {"memory": "300Mi"}, "limits": {"memory": "300Mi"}},
    ),
    "autostart": ({"autostart": False, "instances": 3}, "spec.replicas", 0),
    "surge": ({"surge": 3}, "spec.strategy.rollingUpdate", {"maxSurge": 3, "maxUnavailable": 0}),
}  # fmt: skip


def test_every_key_that_becomes_something_is_here() -> None:
    assert sorted(BECOMES) == sorted(fate.key for fate in export.FATES if fate.becomes)


@pytest.mark.parametrize("key", BECOMES)
def test_a_key_becomes(key: str, tmp_path: Path) -> None:
    keys, where, expected = BECOMES[key]
    found = exported(keys, Target(IMAGE, environment="live" if key == "environments" else ""))
    at: Any = {**found.documents[0], "pod": pod(found), "container": container(found)}
    for step in where.split("."):
        at = at[int(step) if step.isdigit() else step]
    assert at == expected
    valid(found)
    assert linted(found, tmp_path) == []


def test_the_least_app(tmp_path: Path) -> None:
    """Nothing that nobody asked for."""
    found = exported({})
    assert kinds(found) == ["Deployment", "PodDisruptionBudget"]
    assert container(found) == {
        "name": "web",
        "image": IMAGE,
        "command": ["pyinit", "--grace=8s", "--scope=child", "--termination-log=/dev/termination-log", "--"],
        "args": ["serve"],
    }
    assert pod(found)["terminationGracePeriodSeconds"] == 10
    assert found.warnings == [
        "web: no Service: neither listen, nor PORT in environment, nor ready names a port. Right for what nobody connects to"
    ]
    valid(found)
    assert linted(found, tmp_path) == []


def test_as_many_as_there_are_cpus(tmp_path: Path) -> None:
    """An autoscaler, which says how many; so the Deployment does not, and pods request what it counts from."""
    for instances in ("max", -1):
        found = exported({"instances": instances, "memory_limit": 1000, "environment": {"PORT": "80"}})
        assert kinds(found) == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
        assert "replicas" not in found.documents[0]["spec"]
        assert container(found)["resources"] == {
            "requests": {"cpu": "500m", "memory": "1000"},
            "limits": {"memory": "1000"},
        }
        assert [line for line in found.warnings if line.startswith("web: instances: ")]
        valid(found)
        assert linted(found, tmp_path) == []


@pytest.mark.parametrize(
    ("keys", "probe", "said"),
    [
        ({}, None, ""),
        ({"environment": {"PORT": "80"}}, {"tcpSocket": {"port": 80}}, ""),
        ({"node": True}, None, "ready: on which port it listens is not known"),
        ({"node": True, "environment": {"PORT": "80"}}, {"tcpSocket": {"port": 80}}, ""),
        ({"ready": "notify"}, None, "ready: the kubelet does not understand 'notify': there is no probe"),
        ({"ready": {"log": "up"}, "environment": {"PORT": 80}}, {"tcpSocket": {"port": 80}}, "a connection to 80 has to do"),
        ({"ready": {"descriptor": 3}}, None, "does not understand 'descriptor'"),
        ({"ready": "message"}, None, "does not understand 'message'"),
        ({"ready": {"tcp": "81"}}, {"tcpSocket": {"port": 81}}, ""),
        ({"ready": {"tcp": "81"}, "environment": {"PORT": "80"}}, {"tcpSocket": {"port": 81}}, ""),
        ({"ready": {"tcp": "127.0.0.1:81"}}, {"tcpSocket": {"port": 81}}, "ready: probes and requests come from outside the pod"),
        ({"ready": {"http": "http://localhost"}}, {"httpGet": {"path": "/", "port": 80}}, "listen on 0.0.0.0"),
        ({"listen": ["127.0.0.1:80"]}, {"tcpSocket": {"port": 80}}, "listen: probes and requests come from outside the pod"),
        ({"listen": ["80"]}, {"tcpSocket": {"port": 80}}, "nobody passes sockets (LISTEN_FDS) to a pod: the program has to bind 80"),
        ({"listen": ["unix:/a"]}, None, "a unix socket reaches nobody outside its pod"),
    ],
)  # fmt: skip
def test_probes(keys: Manifest, probe: Manifest | None, said: str) -> None:
    """Where something connects, a probe says when it may; where the kubelet cannot ask, a warning says it."""
    found = exported(keys)
    assert container(found).get("readinessProbe") == (probe and {**probe, "periodSeconds": 5})
    rest = [line for line in found.warnings if "no Service" not in line]
    assert any(said in line for line in rest) if said else rest == []
    assert ("Service" in kinds(found)) == bool(container(found).get("ports"))
    valid(found)


def test_a_port_for_probes_alone_is_not_the_service_s() -> None:
    found = exported({"ready": {"tcp": "81"}, "environment": {"PORT": "80"}})
    assert [port["port"] for port in found.documents[1]["spec"]["ports"]] == [80]


@pytest.mark.parametrize("value", ["0", "65536", "a", "", "8 0", "-1", "1e3"])
def test_what_is_no_port(value: str) -> None:
    assert kinds(exported({"environment": {"PORT": value}})) == ["Deployment", "PodDisruptionBudget"]


def test_secrets_are_references(tmp_path: Path) -> None:
    """Their values are nowhere, in the warning neither."""
    found = exported(
        {"environment": {"API_KEY": "hidden", "DB": "postgres://shop:hidden@db/shop", "A": "1"}}, Target(IMAGE, "shop")
    )
    assert "hidden" not in json.dumps([found.documents, found.warnings])
    assert container(found)["env"] == [
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "web", "key": "API_KEY"}}},
        {"name": "DB", "valueFrom": {"secretKeyRef": {"name": "web", "key": "DB"}}},
        {"name": "A", "value": "1"},
    ]
    assert found.warnings[0] == (
        "web: environment: API_KEY, DB look like secrets, whose values are not in the manifest: "
        "kubectl create secret generic web -n shop --from-literal=API_KEY=... --from-literal=DB=..."
    )
    valid(found)
    assert linted(found, tmp_path) == []


def test_a_secret_in_the_command_is_told() -> None:
    found = exported({"command": ["serve", "--db=redis://:hidden@db"]})
    assert found.warnings[0] == (
        "web: command: a word of it holds a secret, which is in the manifest now; pass it as a variable"
    )


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD", "DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "DB_PASS", "API_KEY", "APIKEY", "apiKey", "dbPassword", "SECRET_KEY_BASE",
        "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "AUTHTOKEN", "SENTRY_DSN", "PASSWORD2", "TLS_KEY", "google.credentials", "PASSPHRASE",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert secret.is_secret(name, "hidden")
    assert not secret.is_secret(name, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "80"), ("PWD", "/srv"), ("OLDPWD", "/srv"), ("KEYBOARD", "de"), ("MONKEY", "yes, one"), ("PUBLIC_KEY", "x"),
        ("PASSWORD_FILE", "/run/secrets/db"), ("TOKENIZERS_PARALLELISM", "off"), ("MAX_TOKENS", "100000"), ("TOKEN_TTL", "8h"),
        ("REQUIRE_AUTH", "true"), ("PATH", "/bin"), ("COMPASS", "north"), ("DATABASE_URL", "postgres://shop@db/shop"), ("", ""), ("Ä", "x"),
        ("URL", "https://a.example:80/b:c@d"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("KEY_PATH", "/x"),
    ],
)  # fmt: skip
def test_names_of_no_secrets(name: str, value: str) -> None:
    assert not secret.is_secret(name, value)


def test_values_that_show_it() -> None:
    for value in ("postgres://a:b@c", "redis://:b@c:1/0", "-----BEGIN RSA PRIVATE KEY-----\nx", "x amqp://a:b@c"):
        assert secret.is_secret("X", value)


def test_variables_that_cannot_go_along() -> None:
    found = exported({"environment": {"PYINIT_GRACE": "1s", "2 3": "x", "A": "1"}})
    assert [one["name"] for one in container(found)["env"]] == ["A"]
    assert [line.split(" ")[2] for line in found.warnings if "left out" in line] == ["PYINIT_GRACE", "Kubernetes"]


def test_a_user_by_name_is_this_machine_s() -> None:
    (line,) = [line for line in exported({"user": "root"}).warnings if "user" in line]
    assert line.startswith("web: user: 'root' is 0 on this machine; ")
    assert not [line for line in exported({"user": "0"}).warnings if "user" in line]


def test_what_never_ends() -> None:
    """There is no endless grace period in Kubernetes."""
    found = exported({"grace": "infinity", "drain": "infinity", "ready_timeout": "infinity", "listen": ["80"]})
    assert pod(found)["terminationGracePeriodSeconds"] == 7202
    assert found.documents[0]["spec"]["progressDeadlineSeconds"] == (1 << 31) - 1
    assert [line for line in found.warnings if line.startswith("web: drain: 3600 s in Kubernetes")]
    valid(found)


def test_a_stop_by_sigkill() -> None:
    assert container(exported({"stop_signal": "KILL"}))["command"][1] == "--stop=KILL"


@pytest.mark.parametrize(
    "words", [["sh", "-c", "a; b"], ["/bin/bash", "start.sh"], ["env", "A=1", "dash", "-c", "a; b"]]
)
def test_behind_a_shell_everybody_hears_the_stop(words: Sequence[str], tmp_path: Path) -> None:
    """A shell passes no signal on: with --scope child lint would find it."""
    found = exported({"command": words})
    assert "--scope=child" not in container(found)["command"]
    assert linted(found, tmp_path) == []
    container(found)["command"].insert(1, "--scope=child")
    assert bool(linted(found, tmp_path)) == ("-c" in words)  # the negative control; a script it cannot read


# --- names ---


@pytest.mark.parametrize(
    ("name", "called"),
    [("web", "web"), ("shop:web", "shop-web"), ("Web_2", "web-2"), ("2nd", "app-2nd"), ("ü", "app"), ("é-é", "app"), ("a" * 80, "a" * 63),
     ("b" * 62 + "_x", "b" * 62), ("web.", "web"), ("_x_", "x")],
)  # fmt: skip
def test_names(name: str, called: str) -> None:
    assert export.label(name) == called


def error(values: Manifest, target: Target) -> str:
    """What it is refused with."""
    with pytest.raises(AppsError) as caught:
        export.kubernetes(Document(values, Path("/srv")), target)
    return str(caught.value)


ONE = {"apps": {"web": {"command": "serve"}}}


@pytest.mark.parametrize(
    ("values", "target", "words"),
    [
        (ONE, Target(""), "--image: '' is no name of an image; write for example "),
        (ONE, Target("a b"), "--image: 'a b' is no name"),
        (ONE, Target(IMAGE, "Shop"), "--namespace: 'Shop' is no name for one; write lower case letters"),
        (ONE, Target(IMAGE, workdir="app"), "--workdir: 'app' is no absolute path"),
        (ONE, Target(IMAGE, only=["wep"]), "apps.toml: --only wep: there is no such app; write web"),
        ({"apps": {"web": {}}}, Target(IMAGE), "apps.toml: web has no command"),
        ({"apps": {"a b": {"command": "a"}, "a_b": {"command": "b"}}}, Target(IMAGE), "a_b and a b would both be called a-b in Kubernetes"),
        ({"apps": {"web": {"command": "a", "cwd": "api"}}}, Target(IMAGE), "web: cwd: 'api' counts from the file's folder; write "),
    ],
)  # fmt: skip
def test_what_cannot_be_written(values: Manifest, target: Target, words: str) -> None:
    assert words in error(values, target)


def test_where_the_folder_is() -> None:
    for cwd, workdir, expected in (
        (".", "", None),
        (".", "/app", "/app"),
        ("api", "/app", "/app/api"),
        ("/x", "/app", "/x"),
        ("/x", "", "/x"),
    ):
        assert container(exported({"cwd": cwd}, Target(IMAGE, workdir=workdir))).get("workingDir") == expected


# --- random files ---

WORD = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
DURATION = st.one_of(
    st.integers(0, 10**6), st.integers(0, 10**7).map("{}ms".format), st.integers(0, 10**4).map("{}m".format)
)
LONG = st.one_of(DURATION, st.just("infinity"))
PORT = st.integers(1, 65535)
PROGRAM = st.sampled_from(
    ["node", "python3", "gunicorn", "celery", "npm", "/srv/run", "sh", "bash", "env", "cron", "nginx", "java"]
)
READY = st.one_of(
    st.sampled_from(["alive", "message", "notify"]),
    PORT.map(lambda port: {"http": f"http://127.0.0.1:{port}/a?b"}),
    PORT.map(lambda port: {"tcp": str(port)}),
    st.just({"log": "up"}),
)
APP = st.fixed_dictionaries(
    {"command": st.tuples(PROGRAM, st.lists(st.one_of(WORD, st.sampled_from(["-c", "$(A)", "$$", "start", "worker"])), max_size=4)).map(
        lambda words: [words[0], *words[1]])},
    optional={
        "namespace": WORD,
        "cwd": st.sampled_from([".", "/app", "api"]),
        "environment": st.dictionaries(
            st.one_of(WORD.filter(lambda name: "=" not in name), st.sampled_from(["PORT", "API_KEY", "A", "PYINIT_STOP"])),
            st.one_of(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9), PORT, st.just("$(A)"))),
        "user": st.integers(0, 9999),
        "group": st.integers(0, 9999),
        "instances": st.one_of(st.just("max"), st.integers(1, 9), st.integers(-9, -1)),
        "listen": st.lists(st.one_of(PORT, st.just("unix:/run/a")), max_size=3),
        "node": st.booleans(),
        "ready": READY,
        "ready_timeout": LONG,
        "stop_signal": st.sampled_from(["TERM", "INT", "QUIT", "KILL", "RTMIN+3", "WINCH", "USR1"]),
        "drain": LONG,
        "grace": LONG,
        "restart": st.sampled_from(["always", "on-failure", "never"]),
        "min_uptime": DURATION,
        "memory_limit": st.one_of(st.integers(0, 10**12), st.integers(1, 999).map("{}M".format)),
        "cron": st.just("@daily"),
        "autostart": st.booleans(),
        "surge": st.integers(0, 5),
        "log_stdout": WORD,
    },
)  # fmt: skip


def readable(app: Manifest) -> bool:
    """Whether `apps.check` takes it: what concerns more than one key is its own tests' affair."""
    try:
        apps.check(Document({"apps": {"web": app}}, Path("/srv")))
    except AppsError:
        return False
    return True


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """As the kubelet does it: `$(NAME)` is replaced where NAME is known, `$$` is a dollar."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def test_the_kubelet_s_dollars() -> None:
    """The negative control: without care it is another command."""
    assert expanded("$(A) $$(A) $A $$ $(B)", {"A": "1"}) == "1 $(A) $A $ $(B)"
    for text in ("$(A)", "$$(A)", "$$$(A)", "$", "$$", "$$$", "a$b", "$(", "$()", "x$$y$(A)$"):
        assert expanded(export.literal(text), {"A": "1"}) == text


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    app=APP.filter(readable),
    name=WORD.filter(lambda name: name.isprintable() and not name.isdigit() and name[0] not in "/-" and name != "all"),
)
def test_any_app(app: Manifest, name: str, tmp_path: Path) -> None:
    """Valid, nothing for lint to find, the command and the environment as they are, and times that fit each other."""
    document = Document({"apps": {name: app}}, Path("/srv"))
    found = export.kubernetes(document, Target(IMAGE, workdir="/app"))
    valid(found, VERSIONS[-1:])
    assert linted(found, tmp_path) == []
    assert list(yaml.safe_load_all(yaml.safe_dump_all(found.documents, explicit_start=True))) == found.documents
    one = container(found)
    variables = {entry["name"]: entry.get("value", "?") for entry in one.get("env", [])}
    checked = apps.check(document)[name]
    assert [expanded(word, variables) for word in one["args"]] == checked["command"]
    for entry in one.get("env", []):
        if "value" in entry:
            assert expanded(entry["value"], variables) == checked["environment"][entry["name"]]
    for each in found.documents:
        assert re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", each["metadata"]["name"])
    fits(found)


def fits(found: Exported) -> None:
    """The options are pyinit's, and the pod's time is longer than all that pyinit may take."""
    policy = options.parse([word.encode() for word in [*container(found)["command"][1:], "serve"]], {})
    needed = policy.drain + options.plan_length(policy.plan) + policy.fair + policy.bound
    assert needed < pod(found)["terminationGracePeriodSeconds"] * options.SECOND
    assert signals.in_mask(signals.TERM, policy.stop_signals)


def test_times_that_do_not_fit_are_found(tmp_path: Path) -> None:
    """The negative controls: of the schemas, of lint and of the sum."""
    found = exported({})
    pod(found)["terminationGracePeriodSeconds"] = 9
    assert [line.split(":")[0] for line in linted(found, tmp_path)] == ["PI401"]
    with pytest.raises(AssertionError):
        fits(found)
    container(found)["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        valid(found)


# --- PM2's files ---


def test_what_nobody_wrote_is_not_told() -> None:
    """PM2's defaults are values here; only what its file says is named."""
    setting = pm2.Setting(Path("/srv"), Path("/srv"), "ecosystem.config.js", lambda _: None)
    declared: Manifest = {"script": "app.js", "interpreter": "node", "env": {"PORT": 3000}}
    found = export.kubernetes(Document(pm2.translate([declared], setting), Path("/srv")), Target(IMAGE))
    assert found.warnings == []
    assert container(found)["command"][1:4] == ["--drain=5s", "--stop=INT:1600ms,KILL", "--scope=child"]
    assert pod(found)["terminationGracePeriodSeconds"] == 9
    declared |= {
        "max_restarts": 3,
        "cron_restart": "0 4 * * *",
        "instances": "max",
        "wait_ready": True,
        "restart_delay": 50,
    }
    found = export.kubernetes(Document(pm2.translate([declared], setting), Path("/srv")), Target(IMAGE))
    assert [line.split(": ")[1] for line in found.warnings] == [
        "max_restarts, restart_window, backoff_first, backoff_max", "cron", "ready", "instances"
    ]  # fmt: skip
    valid(found)


# --- the command ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILE = '[apps.web]\ncommand = ["serve"]\ncron = "@daily"\nenvironment = { PORT = "80" }\n'


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To stdout and into a file, which it does not overwrite; warnings on stderr."""
    (folder / "apps.toml").write_text(FILE, encoding="utf-8")
    words = ["export", "kubernetes", "--image", IMAGE, "--namespace", "shop"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# From apps.toml, by pyinitctl export kubernetes.\n---\napiVersion: apps/v1\n")
    documents = list(yaml.safe_load_all(out))
    assert [document["kind"] for document in documents] == ["Deployment", "Service", "PodDisruptionBudget"]
    assert {document["metadata"]["namespace"] for document in documents} == {"shop"}
    assert "&id" not in out
    assert (
        err == "pyinitctl: warning: web: cron: if it needs that at all: a CronJob that runs `kubectl rollout restart`\n"
    )
    assert main([*words, "apps.toml", "-o", "shop.yaml"]) == 0
    assert (folder / "shop.yaml").read_text(encoding="utf-8") == out
    capsys.readouterr()
    assert main([*words, "-o", "shop.yaml"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "pyinitctl: export: shop.yaml cannot be written: File exists"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "export: which image? A file of apps does not say; write --image registry.example/shop:1.2, with pyinit in it"),
        (["--image", ""], 1, "export: --image: '' is no name of an image"),
        (["nowhere.toml", "--image", IMAGE], 1, "export: there is no file nowhere.toml; correct its name"),
        (["--image", IMAGE, "--only", "x"], 1, "export: apps.toml: --only x: there is no such app; there are web"),
        (["--image", IMAGE, "-o", "no/such"], 1, "export: no/such cannot be written: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_done(
    words: list[str], status: int, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing on stdout."""
    (folder / "apps.toml").write_text(FILE.replace('cron = "@daily"\n', ""), encoding="utf-8")
    assert main(["export", "kubernetes", *words]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.replace(f"{folder}/", "").startswith(f"pyinitctl: {said}")


def test_unknown_variables_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "apps.toml").write_text(FILE, encoding="utf-8")
    assert main(["export", "kubernetes", "--image", IMAGE, "--env", "live"]) == 0
    assert "no app has variables for --env live" in capsys.readouterr().err


def test_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "apps.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert main(["export", "kubernetes", "--image", IMAGE]) == 2
    assert capsys.readouterr().err == "pyinitctl: export needs pyyaml: pip install 'pyinit-pid1[supervise]'\n"


def test_the_same_from_a_converted_file(folder: Path) -> None:
    """`convert` and then `export` is `export` of PM2's file."""
    setting = pm2.Setting(folder, folder, "ecosystem.json", lambda _: None)
    values = pm2.translate(
        [{"script": "app.js", "interpreter": "node", "instances": 2, "max_memory_restart": "1G"}], setting
    )
    (folder / "apps.toml").write_text(tomltext.dumps(values), encoding="utf-8")
    direct = export.kubernetes(Document(values, folder), Target(IMAGE))
    assert export.kubernetes(apps.read(folder / "apps.toml"), Target(IMAGE)) == direct
