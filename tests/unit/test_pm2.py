"""PM2's files: every key of its schema does what the table says, and what is converted means the same."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyinit.supervise import apps, pm2, source, spec, tomltext
from pyinit.supervise.apps import AppsError, Document, Start

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application."""
    (tmp_path / "app.js").write_text("")
    (tmp_path / "app.py").write_text("")
    return tmp_path


def translated(folder: Path, declared: object, environment: str = "") -> tuple[dict[str, Any], list[str]]:
    """The apps, and the warnings."""
    said: list[str] = []
    document = pm2.translate(declared, pm2.Setting(folder, folder, "eco", said.append, environment))
    return document["apps"], said


def one(folder: Path, **keys: object) -> tuple[dict[str, Any], list[str]]:
    """An app of app.js, or of another script; the warnings without their head."""
    found, said = translated(folder, {"apps": [{"script": "app.js", **keys}]})
    (app,) = found.values()
    return app, said


PLAIN: Mapping[str, Any] = {
    "command": ["node", "app.js"],
    "channel": True,
    "stop_signal": "INT",
    "grace": "1600ms",
    "max_restarts": 16,
    "restart_window": "16s",
    "backoff_first": "0s",
    "backoff_max": "0s",
}
"""What PM2's defaults are here."""

# fmt: off
KEPT: Mapping[str, tuple[object, Mapping[str, Any]]] = {
    "script": ("app.py", {"command": ["python3", "app.py"], "environment": {"PYTHONUNBUFFERED": "1"}, "channel": None}),
    "filter_env": (True, {"environment_without": ["*"]}),
    "namespace": ("shop", {"namespace": "shop"}),
    "cwd": ("sub", {"cwd": "sub"}),
    "args": ("--name 'a b'", {"command": ["node", "app.js", "--name", "a b"]}),
    "exec_interpreter": ("deno", {"command": ["deno", "app.js"], "channel": None}),
    "node_args": ("--harmony -r x", {"command": ["node", "--harmony", "-r", "x", "app.js"]}),
    "out_file": ("out.log", {"log_stdout": "out.log"}),
    "error_file": ("NULL", {"log_stderr": "/dev/null"}),
    "log_file": ("all.log", {"log_combined": "all.log"}),
    "disable_logs": (True, {"log_off": True}),
    "log_type": ("json", {"log_form": "json"}),
    "log_date_format": ("YYYY-MM-DD HH:mm Z", {"log_timestamp": "%Y-%m-%d %H:%M %z"}),
    "time": (True, {"log_timestamp": "%Y-%m-%dT%H:%M:%S"}),
    "env": ({"A": 1, "B": True, "C": {"d": 1}, "E": None, "F": 1.5},
            {"environment": {"A": "1", "B": "true", "C": '{"d":1}', "E": "null", "F": "1.5"}}),
    "env_<name>": ({"A": "2"}, {"environments": {"<name>": {"A": "2"}}}),
    "max_memory_restart": ("300M", {"memory_limit": "300M"}),
    "restart_delay": (3000, {"backoff_first": "3s", "backoff_max": "3s"}),
    "exp_backoff_restart_delay": (100, {"backoff_first": "100ms", "backoff_max": "15s"}),
    "source_map_support": (True, {"command": ["node", "--enable-source-maps", "app.js"]}),
    "wait_ready": (True, {"ready": "message"}),
    "instances": ("max", {"instances": "max", "node": True, "channel": None}),
    "kill_timeout": ("4000", {"grace": "4s"}),
    "shutdown_with_message": (True, {"stop_message": "shutdown"}),
    "listen_timeout": (5000, {"ready_timeout": "5s", "ready_required": False}),
    "cron_restart": ("0 4 * * *", {"cron": "0 4 * * *"}),
    "merge_logs": (False, {}),
    "autostart": (False, {"autostart": False}),
    "autorestart": (False, {"restart": "never"}),
    "stop_exit_codes": (3, {"leave_exit_codes": [3]}),
    "watch": (True, {"watch": ["."]}),
    "ignore_watch": (["*.log"], {"watch_ignore": ["*.log"]}),
    "min_uptime": ("10s", {"min_uptime": "10s", "restart_window": "160s"}),
    "max_restarts": (3, {"max_restarts": 3, "restart_window": "3s"}),
    "execute_command": (True, {}),
    "exec_mode": ("cluster", {"node": True, "channel": None}),
    "increment_var": ("PORT", {"increment_variables": ["PORT"]}),
    "instance_var": ("N", {"instance_variable": "N"}),
    "port": (8080, {"environment": {"PORT": "8080"}}),
    "uid": ("root", {"user": "root"}),
    "gid": (0, {"group": 0}),
    "name": ("web", {}),
    "name_prefix": ("shop", {}),
    "append_env_to_name": (True, {}),
    "disable_source_map_support": (True, {}),
    "disable_trace": (True, {}),
    "treekill": (True, {}),
}
"""For each key that is kept: a value, and what it changes in an app of app.js; None: the key is gone."""

WARNED: Mapping[str, object] = {
    "install_url": "https://a", "pid_file": "a.pid", "vizion": True, "watch_delay": 1000,
    "watch_options": {"usePolling": True}, "force": True,
    "post_update": ["npm i"], "trace": True, "v8": True, "event_loop_inspector": True, "deep_monitoring": True,
    "pmx": "true", "automation": True, "username": "root", "windowsHide": True, "kill_retry_time": 50, "write": True, "io": {"a": 1},
}
# fmt: on


def test_all_65_keys() -> None:
    """The table has them all, and each is tried here in the way that the table says."""
    assert len(pm2.KEYS) == 65
    assert set(WARNED) == {key.name for key in pm2.KEYS if key.fate == pm2.WARNED}
    assert set(KEPT) == {key.name for key in pm2.KEYS if key.fate != pm2.WARNED}
    becomes = {part for key in pm2.KEYS for part in key.becomes.split(", ") if part and not part.startswith("[")}
    assert becomes <= set(apps.BY_NAME)


@pytest.mark.parametrize("key", KEPT)
def test_each_key_that_is_kept(key: str, folder: Path) -> None:
    """It changes what it says, and nothing else; and no warning but where the table says so."""
    value, changes = KEPT[key]
    app, said = one(folder, **{key: value}) if key != "script" else one(folder, script=value)
    expected = {name: one for name, one in {**PLAIN, **changes}.items() if one is not None}
    assert app == expected
    loud = {"listen_timeout": 1, "exec_interpreter": 0, "cwd": 1}
    assert len(said) == loud.get(key, 0), said


@pytest.mark.parametrize("key", WARNED)
def test_each_key_that_is_a_warning(key: str, folder: Path) -> None:
    """Named, with what to do instead; and silent where nothing was asked for."""
    app, said = one(folder, **{key: WARNED[key]})
    assert app == PLAIN
    assert said == [f"eco: app: {key}: {pm2.BY_NAME[key].text}"]
    assert len(pm2.BY_NAME[key].text) > 10
    if "boolean" in pm2.BY_NAME[key].types:
        assert one(folder, **{key: False}) == (PLAIN, [])


@pytest.mark.parametrize(
    "key", [key for key in pm2.KEYS if key.name not in ("script", "env_<name>")], ids=lambda key: key.name
)
def test_aliases(key: pm2.Key, folder: Path) -> None:
    """As PM2 takes them: other names, camel case, and null for nothing."""
    value = KEPT[key.name][0] if key.name in KEPT else WARNED[key.name]
    expected = one(folder, **{key.name: value})
    for written in (*key.aliases.split(), pm2._camel(key.name)):
        assert one(folder, **{written: value}) == expected
        assert one(folder, **{written: None}) == (PLAIN, [])


@pytest.mark.parametrize("key", ["exec", "cmd", "command"])
def test_aliases_of_script(key: str, folder: Path) -> None:
    """Three more."""
    found, _ = translated(folder, {"apps": [{key: "app.js"}]})
    assert found == {"app": PLAIN}


# --- names ---


def test_names(folder: Path) -> None:
    """The script's name without its extension; prefixes and --env; no name twice."""
    declared = [
        {"script": "app.js"},
        {"script": "app.js"},
        {"script": "app.js", "name": "a", "name_prefix": "p", "append_env_to_name": True},
    ]
    found, said = translated(folder, declared, "test")
    assert list(found) == ["app", "app-2", "p:a-test"]
    assert said == ["eco: two apps are called app: the second one is app-2 here; give it a name"]


# --- commands ---


def test_interpreters(folder: Path) -> None:
    """By extension; a program, or a script that names its own, runs as it is; any other text under node."""
    shell = "bash" if shutil.which("bash") else "sh"
    (folder / "script").write_text("#!/usr/bin/env perl\n")
    (folder / "server").write_text("#!/usr/bin/env node\n")
    (folder / "text").write_text("1")
    (folder / "binary").write_bytes(b"\x7fELF\0")
    for script, command in (
        ("app.mjs", ["node", "app.mjs"]),
        ("run.sh", [shell, "run.sh"]),
        ("app.rb", ["ruby", "app.rb"]),
        ("app.ts", ["bun", "app.ts"]),
        ("script", ["./script"]),
        ("./binary", ["./binary"]),
        ("server", ["node", "server"]),
        ("text", ["node", "text"]),
    ):
        assert one(folder, script=script)[0]["command"] == command
    assert one(folder, interpreter="none")[0]["command"] == ["./app.js"]
    assert one(folder, interpreter="/opt/node/bin/node", instances=2)[0]["node"] is True
    app, said = one(folder, interpreter="node@18")
    assert (app["command"], len(said)) == (["node", "app.js"], 1)


def test_program_on_the_path(folder: Path) -> None:
    """Found as PM2 finds it, and run as it is."""
    app, said = one(folder, script="cat", args=["-u"])
    assert (app["command"], said) == (["cat", "-u"], [])


def test_script_that_is_not_there(folder: Path) -> None:
    """It may be built later: a warning."""
    _, said = one(folder, script="dist/main.js")
    assert said == [f"eco: app: there is no dist/main.js in {folder}, and none on PATH".replace("app:", "main:")]


def test_script_that_is_a_command_line(folder: Path) -> None:
    """Without shell syntax no shell is needed; with it the shell is named."""
    app, said = one(folder, script="python3 app.py --ok 'a b'")
    assert (app["command"], said) == (["python3", "app.py", "--ok", "a b"], [])
    app, said = one(folder, script="cd x && node app.js")
    assert app["command"] == ["bash" if shutil.which("bash") else "sh", "-c", "cd x && node app.js"]
    assert len(said) == 1
    assert "the shell stands between; write the program as script, and args" in said[0]
    (folder / "my app.js").write_text("")
    assert one(folder, script="my app.js")[0]["command"] == ["node", "my app.js"]


@pytest.mark.parametrize(
    ("script", "args", "task"),
    [
        ("npm", "start", "start"),
        ("npm", "run dev", "dev"),
        ("yarn", ["start"], "start"),
        ("npm start", [], "start"),
        ("pnpm", "run --silent dev", "dev"),
    ],
)
def test_npm_hides_the_application(script: str, args: object, task: str, folder: Path) -> None:
    """A warning that names the real script."""
    (folder / "package.json").write_text(json.dumps({"scripts": {"start": "node server.js", "dev": "nodemon x"}}))
    _, said = one(folder, script=script, args=args)
    real = {"start": "node server.js", "dev": "nodemon x"}[task]
    (hidden,) = [words for words in said if "hides the application" in words]
    assert f"package.json runs '{real}' for it: write that as script and args" in hidden
    (folder / "package.json").write_text("{")
    assert any("write the real script" in words for words in one(folder, script=script, args=args)[1])


# --- the rest ---


def test_cluster_mode(folder: Path) -> None:
    """As PM2 decides: exec_mode, or instances with node; fork mode keeps process.send."""
    assert one(folder, instances=1)[0]["node"] is True
    assert "node" not in one(folder, instances=2, exec_mode="fork")[0]
    assert one(folder, instances=2, exec_mode="fork")[0]["channel"] is True
    assert "node" not in one(folder, instances=2, execute_command=True)[0]
    assert one(folder, instances=0)[0]["instances"] == "max"
    assert one(folder, instances=-1)[0]["instances"] == -1
    app, said = one(folder, script="app.py", exec_mode="cluster_mode", instances=4)
    assert app["instances"] == 4
    assert "node" not in app
    assert len(said) == 1
    assert "only Node.js programs share their ports" in said[0]


def test_logs_of_several_instances(folder: Path) -> None:
    """A file for each, as PM2 has it, unless merge_logs."""
    assert one(folder, instances=2, output="o")[0]["log_per_instance"] is True
    assert "log_per_instance" not in one(folder, instances=2, output="o", combine_logs=True)[0]
    assert "log_per_instance" not in one(folder, output="o")[0]


@pytest.mark.parametrize(
    ("pattern", "written", "lost"),
    [
        ("YYYY-MM-DD HH:mm:ss.SSS", "%Y-%m-%d %H:%M:%S", ["SSS"]),
        ("DD/MM/YY h:m:s A ZZ", "%d/%m/%y %-I:%-M:%-S %p %z", []),
        ("dddd [at 100%] X", "%A at 100%% %s", []),
        ("YYYY-MM-DDTHH:mm:ss Q", "%Y-%m-%dT%H:%M:%S ", ["Q"]),
    ],
)
def test_formats_of_time(pattern: str, written: str, lost: list[str]) -> None:
    """day.js to strftime."""
    assert pm2.strftime(pattern) == (written, lost)


def test_other_values(folder: Path) -> None:
    """What one value of a key could not show."""
    assert one(folder, filter_env="AWS[1]")[0]["environment_without"] == ["AWS[[]1]"]
    assert one(folder, filter_env=["AWS_"])[0]["environment_without"] == ["*AWS_*"]
    assert "environment_without" not in one(folder, filter_env=[])[0]
    assert one(folder, max_restarts=0)[0]["max_restarts"] == pm2.NO_LIMIT
    assert one(folder, min_uptime="1h")[0]["min_uptime"] == "3600s"
    assert one(folder, exp_backoff_restart_delay=20000)[0]["backoff_max"] == "20s"
    assert "cron" not in one(folder, cron_restart=0)[0]
    app, said = one(folder, cron="30 0 4 * * *")
    assert (app["cron"], len(said)) == ("0 4 * * *", 1)
    assert one(folder, watch="src")[0]["watch"] == ["src"]
    assert one(folder, watch=["src", "lib"])[0]["watch"] == ["src", "lib"]
    assert "looks like a regular expression" in one(folder, ignore_watch="^a$")[1][0]
    assert "left out" in one(folder, log_date_format="SSS")[1][0]
    assert "names no file" in one(folder, log=True)[1][0]
    assert "always stopped too" in one(folder, treekill=False)[1][0]
    assert "'xml' is neither" in one(folder, log_type="xml")[1][0]
    assert one(folder, log_type="raw") == (PLAIN, [])


def test_keys_that_pm2_does_not_know(folder: Path) -> None:
    """PM2 leaves them out without a word; here they are named."""
    assert one(folder, kill_timeuot=5) == (
        PLAIN,
        ["eco: apps[0]: PM2 has no key 'kill_timeuot'; kill_timeout? (PM2 says nothing, and leaves it out)"],
    )
    _, said = translated(folder, {"apps": [{"script": "app.js"}], "deploy": {}, "x": 1})
    assert said == [
        "eco: deploy: pyinit copies nothing to servers: that is CI's; leave it out",
        "eco: x: PM2 has no such key either; leave it out",
    ]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ([], 'eco: there are no apps in it; write { "apps": [{ "script": "app.js" }] }'),
        (5, "eco: there are no apps in it"),
        ({"apps": "x"}, "eco: there are no apps in it"),
        ([{"name": "x"}], 'eco: apps[0] has no script; write script: "app.js"'),
        ([{"script": 5}], "eco: apps[0]: script is 5; PM2 wants string"),
        ([{"script": "a", "instances": "some"}], "eco: a: instances is 'some'; write a number or max"),
        ([{"script": "a", "killTimeout": "3s"}], 'eco: apps[0]: killTimeout is "3s"; PM2 wants number'),
        ([{"script": "a", "env": "x"}], 'eco: apps[0]: env is "x"; PM2 wants object'),
        ([{"script": "a", "wait_ready": "true"}], 'eco: apps[0]: wait_ready is "true"; PM2 wants boolean'),
        ([{"script": "a", "exec_mode": "x", "interpreter": "node"}], "eco: a: exec_mode is 'x'; write cluster or fork"),
        ([{"script": "a", "min_uptime": "5x"}], "eco: a: min_uptime is '5x'; write milliseconds, or for example 10s"),
        ([{"script": "a", "min_uptime": 50}], "eco: a: min_uptime is 50; PM2 takes 100 ms or more"),
        ([{"script": "a", "max_memory_restart": "1T"}], "eco: a: max_memory_restart is '1T'; write for example 300M"),
        ([{"script": "a", "stop_exit_codes": ["x"]}], 'eco: a: stop_exit_codes is ["x"]; write numbers, as in [0, 3]'),
        ([{"script": "a", "args": "'"}], "eco: a: args: ''' has a quote that is not closed; write a list of texts"),
    ],
)
def test_errors(declared: object, words: str, folder: Path) -> None:
    """One line each."""
    with pytest.raises(AppsError) as caught:
        translated(folder, declared)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


# --- convert: the same spec ---


@pytest.mark.parametrize("environment", ["", "<name>"])
@pytest.mark.parametrize("key", [*KEPT, *WARNED])
def test_what_is_converted_means_the_same(key: str, environment: str, folder: Path) -> None:
    """The TOML gives the spec that the file itself gives; and the supervisor takes it."""
    value = KEPT[key][0] if key in KEPT else WARNED[key]
    values = pm2.translate(
        [{"script": "app.js", key: value}], pm2.Setting(folder, folder, "eco", lambda _: None, environment)
    )
    (folder / "apps.toml").write_text(tomltext.dumps(values), encoding="utf-8")
    start = Start({"PATH": "/bin", "X": "1"}, "/control", environment)
    direct = apps.spec(Document(values, folder, "eco"), start)
    assert apps.spec(apps.read(folder / "apps.toml"), start) == direct
    spec.parse(direct)


# --- files ---


def _no_warning(words: str) -> None:
    pytest.fail(words)


def read(path: Path) -> Mapping[str, Any]:
    """A file, without warnings."""
    return source.read(path, path.parent, _no_warning).values


def test_json_and_yaml(folder: Path) -> None:
    """Read here."""
    (folder / "ecosystem.json").write_text('{"apps": [{"script": "app.js"}]}')
    (folder / "ecosystem.yaml").write_text("apps:\n- script: app.js\n")
    (folder / "apps.yml").write_text("script: app.js\n")
    for name in ("ecosystem.json", "ecosystem.yaml", "apps.yml"):
        assert read(folder / name) == {"apps": {"app": PLAIN}}


@needs_node
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "ecosystem.config.js",
            "console.log('hello'); module.exports = { apps: [{ script: 'app' + '.js', f() {} }] };",
        ),
        ("ecosystem.config.cjs", "module.exports = [{ script: require('path').basename('/x/app.js') }];"),
        ("ecosystem.config.mjs", "export default { apps: [{ script: 'app.js' }] };"),
        ("other.js", "exports.apps = [{ script: 'app.js' }];"),
        ("ecosystem.json", "{ // a comment, as PM2 allows\n apps: [{ script: 'app.js', }] }"),
    ],
)
def test_javascript_is_asked_of_node(name: str, text: str, folder: Path) -> None:
    """Whatever it prints, computes or leaves open."""
    (folder / name).write_text(text)
    assert read(folder / name) == {"apps": {"app": PLAIN}}


@needs_node
def test_javascript_that_is_wrong(folder: Path) -> None:
    """One line, with the place."""
    for text, words in (
        ("module.exports = {\n apps: [ }", ": node cannot read it: SyntaxError: "),
        ("require('./none')", ": node cannot read it: Error: Cannot find module './none'"),
        ("throw new TypeError('so')", ": node cannot read it: TypeError: so ("),
    ):
        (folder / "a.config.js").write_text(text)
        with pytest.raises(AppsError) as caught:
            read(folder / "a.config.js")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_node(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line, with the way out."""
    (folder / "a.config.js").write_text("")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        AppsError,
        match="is JavaScript, and there is no node on PATH to read it; write apps",
    ):
        read(folder / "a.config.js")
    (folder / "a.json").write_text("{ // }")
    with pytest.raises(AppsError, match="is not JSON: "):
        read(folder / "a.json")


def test_yaml_that_is_wrong(folder: Path) -> None:
    """Its line; and nothing in it is executed."""
    (folder / "a.yaml").write_text("apps:\n- script: [\n")
    with pytest.raises(AppsError, match=r"a\.yaml, line 3 is not YAML"):
        read(folder / "a.yaml")
    (folder / "a.yaml").write_text("apps: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(AppsError, match="is not YAML: could not determine a constructor"):
        read(folder / "a.yaml")


def test_which_file(folder: Path) -> None:
    """TOML first; and what is none."""
    with pytest.raises(
        AppsError, match=r"there is no file of apps in .*: write apps\.toml, or name a file or a program"
    ):
        source.find(folder)
    (folder / "ecosystem.config.js").write_text("")
    assert source.find(folder).name == "ecosystem.config.js"
    (folder / "apps.toml").write_text("")
    assert source.find(folder).name == "apps.toml"
    for name, expected in (
        ("a.toml", True),
        ("x.config.cjs", True),
        ("x.json", True),
        ("app.js", False),
        ("app.py", False),
        ("gunicorn", False),
    ):
        assert source.is_apps_file(name) == expected
    with pytest.raises(AppsError, match="there is no file"):
        read(folder / "none.toml")
    (folder / "a.ini").write_text("")
    with pytest.raises(AppsError, match="is no file of apps; write"):
        read(folder / "a.ini")
