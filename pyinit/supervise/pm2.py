"""PM2's ecosystem files: an app of theirs becomes an app of `apps.toml`, with PM2's defaults where they matter.

`KEYS` has every key of PM2 7's schema. Each is kept, or becomes something a little different, or is named in a warning that says
what to do instead; the table in this folder's README is made from it. As PM2 does, a key may be written under its aliases and in
camel case, and numbers may be texts. What PM2 leaves to node (`.js`) is asked of node by `source`.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyinit.supervise.apps import DEFAULT_NAMESPACE, AppsError

SAME, DIFFERS, WARNED = "kept", "with a difference", "a warning"


@dataclass(frozen=True)
class Key:
    """A row of the table. `becomes` is the key of apps.toml; `text` says what differs, or what to do instead."""

    name: str
    aliases: str
    types: str
    fate: str
    becomes: str
    text: str = ""
    flag: str = ""
    """As an option of `pyinitctl start`."""


MONITORING = "pyinit collects no traces and patches no application; use OpenTelemetry's own SDK in it"
KEYMETRICS = "there is no Keymetrics here; leave it out"

# fmt: off
KEYS = (
    Key("script", "exec cmd command", "string", SAME, "command", "after its interpreter; a text with shell syntax runs under a shell"),
    Key("name", "", "string", SAME, "[apps.NAME]", flag="-n --name"),
    Key("name_prefix", "", "string", SAME, "[apps.NAME]", "`PREFIX:NAME`"),
    Key("filter_env", "", "boolean array string", SAME, "environment_without", flag="--filter-env"),
    Key("namespace", "", "string", SAME, "namespace", flag="--namespace"),
    Key("install_url", "", "string", WARNED, "", "pyinit installs nothing: put the application into the image"),
    Key("cwd", "", "string", SAME, "cwd", flag="--cwd"),
    Key("args", "", "array string", SAME, "command"),
    Key("exec_interpreter", "interpreter", "string", DIFFERS, "command",
        "`node@VERSION` is the node on PATH: pyinit knows no nvm", "--interpreter"),
    Key("node_args", "interpreterArgs interpreter_args", "array string", SAME, "command", flag="--node-args --interpreter-args"),
    Key("out_file", "out output out_log", "string", DIFFERS, "log_stdout", "without it the container's stdout", "-o --output"),
    Key("error_file", "error err err_file err_log", "string", DIFFERS, "log_stderr", "without it the container's stdout", "-e --error"),
    Key("log_file", "log", "boolean string", DIFFERS, "log_combined", "`true` is no path: a warning", "-l --log"),
    Key("disable_logs", "", "boolean", SAME, "log_off", flag="--disable-logs"),
    Key("log_type", "", "string", SAME, "log_form", flag="--log-type"),
    Key("log_date_format", "", "string", DIFFERS, "log_timestamp", "day.js becomes strftime; milliseconds are left out",
        "--log-date-format"),
    Key("time", "", "boolean", SAME, "log_timestamp", flag="--time"),
    Key("env", "", "object", SAME, "environment"),
    Key("env_<name>", "", "object", SAME, "environments", "for `--env NAME`"),
    Key("max_memory_restart", "", "string number", DIFFERS, "memory_limit", "always a reload, never a plain restart",
        "--max-memory-restart"),
    Key("pid_file", "pid", "string", WARNED, "", "no pid files are written: `pyinitctl jlist` has the pids", "-p --pid"),
    Key("restart_delay", "", "number", DIFFERS, "backoff_first, backoff_max", "the first restart is immediate; with jitter",
        "--restart-delay"),
    Key("exp_backoff_restart_delay", "", "number", DIFFERS, "backoff_first, backoff_max", "the first restart is immediate; with jitter",
        "--exp-backoff-restart-delay"),
    Key("source_map_support", "", "boolean", DIFFERS, "command", "`true`: node's own --enable-source-maps; without it none",
        "--source-map-support"),
    Key("disable_source_map_support", "", "boolean", SAME, "", "nothing to disable: see source_map_support"),
    Key("wait_ready", "", "boolean", SAME, "ready", '`"message"`', "--wait-ready"),
    Key("instances", "", "number string", DIFFERS, "instances", "`max` counts what the CPU limit allows, not the host's cores",
        "-i --instances"),
    Key("kill_timeout", "", "number", SAME, "grace", "1600 ms without it", "-k --kill-timeout"),
    Key("shutdown_with_message", "", "boolean", DIFFERS, "stop_message", "in a reload as well", "--shutdown-with-message"),
    Key("listen_timeout", "", "number", DIFFERS, "ready_timeout, ready_required",
        "without it 30 s, after which the old instance stays; with it PM2's way: go on anyway", "--listen-timeout"),
    Key("cron_restart", "cron", "string number", DIFFERS, "cron", "a rolling reload; seconds are left out", "-c --cron --cron-restart"),
    Key("merge_logs", "combine_logs", "boolean", DIFFERS, "log_per_instance", "the instance's number instead of pm_id", "--merge-logs"),
    Key("vizion", "", "boolean", WARNED, "", "pyinit reads no version control; leave it out"),
    Key("autostart", "", "boolean", SAME, "autostart"),
    Key("autorestart", "", "boolean", SAME, "restart", '`false`: `"never"`'),
    Key("stop_exit_codes", "", "array number", DIFFERS, "leave_exit_codes", "a death by a signal is no 0", "--stop-exit-codes"),
    Key("watch_delay", "", "number", WARNED, "", "changes are taken together by themselves; leave it out"),
    Key("watch", "", "boolean array string", SAME, "watch", flag="--watch"),
    Key("ignore_watch", "", "array string", DIFFERS, "watch_ignore", "patterns as in a shell, no regular expressions", "--ignore-watch"),
    Key("watch_options", "", "object", WARNED, "", "those are chokidar's; write ignore_watch for what does not count"),
    Key("min_uptime", "", "number string", SAME, "min_uptime", "1 s without it", "--min-uptime"),
    Key("max_restarts", "", "number", SAME, "max_restarts, restart_window", "16 without it; within min_uptime times as many",
        "--max-restarts"),
    Key("execute_command", "", "boolean", SAME, "node", "`false`: no cluster mode", "-x --execute-command"),
    Key("exec_mode", "", "string", DIFFERS, "node",
        "cluster mode without a process in the data path; for other languages a warning: see `listen`"),
    Key("force", "", "boolean", WARNED, "", "an app is known by its name: give each one its own", "-f --force"),
    Key("append_env_to_name", "", "boolean", SAME, "[apps.NAME]", "`NAME-ENV` with `--env`"),
    Key("post_update", "", "array", WARNED, "", "pyinit pulls no code: build a new image, or run these commands before the reload"),
    Key("trace", "", "boolean", WARNED, "", MONITORING),
    Key("disable_trace", "", "boolean", SAME, "", "nothing to disable"),
    Key("v8", "", "boolean", WARNED, "", MONITORING),
    Key("event_loop_inspector", "", "boolean", WARNED, "", MONITORING),
    Key("deep_monitoring", "", "boolean", WARNED, "", MONITORING),
    Key("increment_var", "", "string", SAME, "increment_variables"),
    Key("instance_var", "", "string", SAME, "instance_variable"),
    Key("pmx", "", "boolean string", WARNED, "", KEYMETRICS),
    Key("automation", "", "boolean", WARNED, "", KEYMETRICS),
    Key("treekill", "", "boolean", DIFFERS, "",
        "always: what an instance leaves behind is asked to stop, then killed; `false` is a warning"),
    Key("port", "", "number", SAME, "environment", "`PORT`"),
    Key("username", "", "string", WARNED, "", "PM2 sets it itself and reads it nowhere; write user"),
    Key("uid", "user", "number string", SAME, "user", flag="-u --uid --user"),
    Key("gid", "", "number string", SAME, "group", flag="--gid"),
    Key("windowsHide", "", "boolean", WARNED, "", "this is Linux; leave it out"),
    Key("kill_retry_time", "", "number", WARNED, "", "the kernel tells when a process has ended, nobody polls; leave it out"),
    Key("write", "", "boolean", WARNED, "", "`pyinitctl convert FILE` writes a file"),
    Key("io", "", "object", WARNED, "", KEYMETRICS),
)
# fmt: on

BY_NAME: Mapping[str, Key] = {key.name: key for key in KEYS}
ENVIRONMENT = "env_<name>"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


ALIASES: Mapping[str, str] = {
    **{_camel(key.name): key.name for key in KEYS if key.name != ENVIRONMENT},
    **{alias: key.name for key in KEYS for alias in key.aliases.split()},
    **{key.name: key.name for key in KEYS if key.name != ENVIRONMENT},
}
"""Every way to write a key."""

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}

# fmt: off
INTERPRETERS = {
    ".js": "node", ".cjs": "node", ".mjs": "node", ".py": "python3", ".rb": "ruby", ".php": "php", ".pl": "perl",
    ".ts": "bun", ".tsx": "bun", ".coffee": "coffee", ".ls": "lsc",
}
# fmt: on
"""By extension, as PM2 7 has them; shell scripts are another case."""
PACKAGE_MANAGERS = ("npm", "yarn", "pnpm", "npx")

MAX_BACKOFF = 15_000
"""PM2's, in milliseconds."""

NO_LIMIT = 1_000_000
"""PM2's max_restarts 0 means this: its window is then empty, so that nothing counts."""


@dataclass(frozen=True)
class Setting:
    """Where a file is read: `cwd` is where the command was typed, `folder` what the result's relative paths count from."""

    cwd: Path
    folder: Path
    name: str
    warn: Callable[[str], None]
    environment: str = ""
    """Of `--env`."""


def translate(declared: object, setting: Setting) -> dict[str, Any]:
    """What `apps.toml` would say, as `tomllib` would give it. Raises AppsError."""
    apps = declared
    if isinstance(declared, dict):
        apps = declared.get("apps", declared.get("pm2", declared))
        beside = set(declared) - {"apps", "pm2"} if apps is not declared else set()
        for key in sorted(beside):
            what = "pyinit copies nothing to servers: that is CI's" if key == "deploy" else "PM2 has no such key either"
            setting.warn(f"{setting.name}: {key}: {what}; leave it out")
    if isinstance(apps, dict):
        apps = [apps]
    if not isinstance(apps, list) or not apps or not all(isinstance(app, dict) for app in apps):
        raise AppsError(f'{setting.name}: there are no apps in it; write {{ "apps": [{{ "script": "app.js" }}] }}')
    found: dict[str, Any] = {}
    for number, app in enumerate(apps):
        name, translated = _App(
            _canonical(app, f"{setting.name}: apps[{number}]", setting), setting, number
        ).translate()
        unique, more = name, 2
        while unique in found:
            unique, more = f"{name}-{more}", more + 1
        if unique != name:
            setting.warn(f"{setting.name}: two apps are called {name}: the second one is {unique} here; give it a name")
        found[unique] = translated
    return {"apps": found}


def _canonical(app: Mapping[str, Any], where: str, setting: Setting) -> dict[str, Any]:
    """The app with each key under its first name, checked as PM2 checks it. Null is as good as nothing."""
    found: dict[str, Any] = {}
    for written, value in app.items():
        if value is None:
            continue
        if re.fullmatch(r"env_\S+", written):
            found[written] = _checked(BY_NAME[ENVIRONMENT], written, value, where)
            continue
        name = ALIASES.get(written)
        if name is None:
            close = difflib.get_close_matches(written, ALIASES, 1)
            setting.warn(
                f"{where}: PM2 has no key '{written}'{f'; {close[0]}?' if close else ''} (PM2 says nothing, and leaves it out)"
            )
        elif name not in found or written == name:
            found[name] = _checked(BY_NAME[name], written, value, where)
    return found


def _checked(key: Key, written: str, value: Any, where: str) -> Any:
    kinds = key.types.split()
    if "number" in kinds and isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        value = float(value) if "." in value else int(value)
    good = any(isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds)
    if not good:
        raise AppsError(f"{where}: {written} is {json.dumps(value, default=str)}; PM2 wants {' or '.join(kinds)}")
    return value


class _App:
    """One app on its way. `given` is canonical."""

    def __init__(self, given: dict[str, Any], setting: Setting, number: int) -> None:
        self.given = given
        self.setting = setting
        if "script" not in given:
            raise AppsError(f'{setting.name}: apps[{number}] has no script; write script: "app.js"')
        self.script = str(given["script"])
        self.name = self._name()
        self.where = f"{setting.name}: {self.name}"
        self.cwd = (setting.cwd / Path(str(given.get("cwd", "."))).expanduser()).resolve()

    def translate(self) -> tuple[str, dict[str, Any]]:
        """Its name, and what apps.toml would say."""
        command, interpreter = self._command()
        base = Path(interpreter).name
        is_node = base.endswith("node")
        node = is_node and self._is_cluster()
        found: dict[str, Any] = {"command": command}
        if (namespace := self.given.get("namespace", DEFAULT_NAMESPACE)) != DEFAULT_NAMESPACE:
            found["namespace"] = namespace
        if (cwd := self._folder()) != ".":
            found["cwd"] = cwd
        self._environment(found, base)
        self._instances(found, is_node=is_node, node=node)
        self._readiness(found)
        self._stopping(found)
        self._restarting(found)
        self._logs(found)
        self._warnings()
        return self.name, found

    def warn(self, words: str) -> None:
        self.setting.warn(f"{self.where}: {words}")

    def error(self, words: str) -> AppsError:
        return AppsError(f"{self.where}: {words}")

    def _name(self) -> str:
        name = self.given.get("name")
        if name is None:
            name = Path(self.script).name
            name = name[: name.rindex(".")] if "." in name[1:] else name
        if self.given.get("append_env_to_name") and self.setting.environment:
            name += f"-{self.setting.environment}"
        prefix = self.given.get("name_prefix")
        return f"{prefix}:{name}" if prefix and prefix not in name else name

    def _folder(self) -> str:
        folder = self.setting.folder
        return str(self.cwd.relative_to(folder)) if self.cwd.is_relative_to(folder) else str(self.cwd)

    # --- the command ---

    def _command(self) -> tuple[list[str], str]:
        """The words, and the interpreter among them ("none" where there is none)."""
        script = str(Path(self.script).expanduser()) if self.script.startswith("~") else self.script
        there = self.cwd / script
        args = self._list("args")
        if " " in script and not there.exists():
            return self._shell(script)
        on_path = None if there.is_file() or "/" in script else shutil.which(script)
        interpreter = str(self.given.get("exec_interpreter", "")) or self._interpreter(Path(on_path or there))
        if "@" in Path(interpreter).name:
            self.warn(f"interpreter {interpreter} is the node on PATH here; put that version into the image")
            interpreter = "node"
        if not there.exists() and on_path is None:
            self.warn(f"there is no {script} in {self.cwd}, and none on PATH")
        if interpreter == "none":
            program = script if on_path or "/" in script else f"./{script}"
            self._package_manager([program, *args])
            return [program, *args], interpreter
        own = self._list("node_args")
        if self.given.get("source_map_support") and Path(interpreter).name.endswith("node"):
            own = ["--enable-source-maps", *own]
        self._package_manager([script, *args])
        return [interpreter, *own, on_path or script, *args], interpreter

    def _interpreter(self, file: Path) -> str:
        """By extension; else a program, or a script with its own `#!`, runs as it is, and any other text under node, as in PM2."""
        if file.suffix == ".sh":
            return "bash" if shutil.which("bash") else "sh"
        if file.suffix in INTERPRETERS:
            return INTERPRETERS[file.suffix]
        try:
            with file.open("rb") as opened:
                head = opened.read(256)
        except OSError:
            return "none"
        if head.startswith(b"#!"):
            return "node" if re.match(rb"#!\s*(/usr/bin/env\s+)?\S*\bnode\s*\n", head) else "none"
        return "none" if b"\0" in head else "node"

    def _shell(self, script: str) -> tuple[list[str], str]:
        """A whole command line, as PM2 lets people write; without shell syntax no shell is needed."""
        if not re.search(r"[|&;<>()$`\\*?\[\]#~=%{}!\n]", script):
            words = self._split("script", script)
            self._package_manager(words)
            return words, words[0]
        shell = "bash" if shutil.which("bash") else "sh"
        self.warn(
            "its script is a shell's command line: the shell stands between; write the program as script, and args"
        )
        return [shell, "-c", script], shell

    def _package_manager(self, words: Sequence[str]) -> None:
        """`npm start` hides the application behind npm and a shell."""
        tool = Path(words[0]).name.removesuffix(".js").removesuffix("-cli")
        if tool not in PACKAGE_MANAGERS:
            return
        rest = [word for word in words[1:] if not word.startswith("-")]
        task = rest[1] if rest[:1] in (["run"], ["run-script"]) and len(rest) > 1 else rest[0] if rest else ""
        try:
            scripts = json.loads((self.cwd / "package.json").read_text(encoding="utf-8")).get("scripts", {})
            real = scripts.get(task) if isinstance(scripts, dict) else None
        except (OSError, ValueError, AttributeError):
            real = None
        instead = (
            f"package.json runs '{real}' for it: write that as script and args" if real else "write the real script"
        )
        self.warn(
            f"{' '.join([tool, *words[1:]])} hides the application behind {tool} and a shell, which get its signals, "
            f"count as its memory and never listen; {instead}"
        )

    def _list(self, key: str) -> list[str]:
        value = self.given.get(key, [])
        return self._split(key, value) if isinstance(value, str) else [str(one) for one in value]

    def _split(self, key: str, text: str) -> list[str]:
        try:
            return shlex.split(text)
        except ValueError:
            raise self.error(f"{key}: '{text}' has a quote that is not closed; write a list of texts") from None

    # --- the rest, in groups ---

    def _environment(self, found: dict[str, Any], interpreter: str) -> None:
        variables = {"PYTHONUNBUFFERED": "1"} if "python" in interpreter else {}
        variables |= _texts(self.given.get("env", {}))
        if "port" in self.given:
            variables["PORT"] = _number(self.given["port"])
        if variables:
            found["environment"] = variables
        more = {key.removeprefix("env_"): _texts(value) for key, value in self.given.items() if key.startswith("env_")}
        if more:
            found["environments"] = more
        without = self.given.get("filter_env", False)
        if without is True:
            found["environment_without"] = ["*"]
        elif isinstance(without, str) and without:
            found["environment_without"] = [_literal(without)]
        elif isinstance(without, list) and without:
            found["environment_without"] = [f"*{_literal(str(one))}*" for one in without]
        for key, ours in (("uid", "user"), ("gid", "group")):
            if key in self.given:
                found[ours] = self.given[key]

    def _is_cluster(self) -> bool:
        mode = self.given.get("exec_mode")
        if mode is not None and mode not in ("fork", "fork_mode", "cluster", "cluster_mode"):
            raise self.error(f"exec_mode is '{mode}'; write cluster or fork")
        if self.given.get("execute_command"):
            return False
        return str(mode).startswith("cluster") if mode else "instances" in self.given

    def _instances(self, found: dict[str, Any], *, is_node: bool, node: bool) -> None:
        instances = self.given.get("instances", 1)
        if instances in ("max", 0):
            instances = "max"
        elif not isinstance(instances, int):
            raise self.error(f"instances is '{instances}'; write a number or max")
        if instances != 1:
            found["instances"] = instances
        if node:
            found["node"] = True
        elif is_node:
            found["channel"] = True  # process.send is there in PM2's fork mode too
        elif str(self.given.get("exec_mode", "")).startswith("cluster") or instances != 1:
            self.warn(
                "only Node.js programs share their ports by themselves; for another one convert the file, and write "
                'listen = ["8080"] for sockets that are passed as LISTEN_FDS'
            )
        if (variable := self.given.get("instance_var", "NODE_APP_INSTANCE")) != "NODE_APP_INSTANCE":
            found["instance_variable"] = variable
        if "increment_var" in self.given:
            found["increment_variables"] = [self.given["increment_var"]]

    def _readiness(self, found: dict[str, Any]) -> None:
        if self.given.get("wait_ready"):
            found["ready"] = "message"
        if "listen_timeout" in self.given:
            found["ready_timeout"] = milliseconds(self.given["listen_timeout"])
            found["ready_required"] = False
            self.warn(
                f"listen_timeout: after {found['ready_timeout']} a reload goes on whether the new instance is ready or not, "
                "as in PM2; leave it out, and the old one stays"
            )

    def _stopping(self, found: dict[str, Any]) -> None:
        found["stop_signal"] = "INT"
        found["grace"] = milliseconds(self.given.get("kill_timeout", 1600))
        if self.given.get("shutdown_with_message"):
            found["stop_message"] = "shutdown"
        if self.given.get("treekill") is False:
            self.warn(
                "treekill: what an instance leaves behind is always stopped too; a daemon of its own needs a script here"
            )

    def _restarting(self, found: dict[str, Any]) -> None:
        if self.given.get("autostart") is False:
            found["autostart"] = False
        if self.given.get("autorestart") is False:
            found["restart"] = "never"
        codes = self.given.get("stop_exit_codes", [])
        codes = codes if isinstance(codes, list) else [codes]
        try:
            codes = [int(code) for code in codes]
        except (TypeError, ValueError):
            raise self.error(f"stop_exit_codes is {json.dumps(codes)}; write numbers, as in [0, 3]") from None
        if codes:
            found["leave_exit_codes"] = codes
        uptime = self._uptime()
        most = int(self.given.get("max_restarts", 16))
        if uptime != 1000:
            found["min_uptime"] = milliseconds(uptime)
        found["max_restarts"] = most or NO_LIMIT
        found["restart_window"] = milliseconds(uptime * most) if most else "1s"
        delay, first = self.given.get("restart_delay", 0), self.given.get("exp_backoff_restart_delay", 0)
        found["backoff_first"] = milliseconds(first or delay)
        found["backoff_max"] = milliseconds(max(first, MAX_BACKOFF) if first else delay)
        if "max_memory_restart" in self.given:
            limit = str(self.given["max_memory_restart"])
            if not re.fullmatch("[0-9]+[KMG]?", limit):
                raise self.error(f"max_memory_restart is '{limit}'; write for example 300M, 64K, 2G or 1048576 (bytes)")
            found["memory_limit"] = limit
        self._cron(found)
        watch = self.given.get("watch", False)
        if watch:
            found["watch"] = (
                ["."] if watch is True else [watch] if isinstance(watch, str) else [str(one) for one in watch]
            )
        if ignored := self._list("ignore_watch"):
            found["watch_ignore"] = ignored
            for one in ignored:
                if re.search(r"[\\^$|()+]", one):
                    self.warn(
                        f"ignore_watch: '{one}' looks like a regular expression; write a pattern as in a shell: *.log"
                    )

    def _uptime(self) -> int:
        """In milliseconds."""
        value = self.given.get("min_uptime", 1000)
        if isinstance(value, str):
            found = re.fullmatch("([0-9]+)([hms])", value)
            if not found:
                raise self.error(f"min_uptime is '{value}'; write milliseconds, or for example 10s, 5m or 1h")
            value = int(found[1]) * {"h": 3_600_000, "m": 60_000, "s": 1000}[found[2]]
        if value < 100:
            raise self.error(f"min_uptime is {value}; PM2 takes 100 ms or more")
        return int(value)

    def _cron(self, found: dict[str, Any]) -> None:
        cron = str(self.given.get("cron_restart", "0")).strip()
        if cron == "0":
            return
        fields = cron.split()
        if len(fields) == 6:
            self.warn(f"cron_restart: '{cron}' has seconds, which are left out: '{' '.join(fields[1:])}'")
            cron = " ".join(fields[1:])
        found["cron"] = cron

    def _logs(self, found: dict[str, Any]) -> None:
        for key, ours in (("out_file", "log_stdout"), ("error_file", "log_stderr"), ("log_file", "log_combined")):
            path = self.given.get(key, False)
            if path is True:
                self.warn(f"{key}: true names no file; write its path")
            elif path:
                found[ours] = "/dev/null" if path == "NULL" else str(Path(path).expanduser())
        files = {"log_stdout", "log_stderr", "log_combined"} & set(found)
        apart = "instances" in self.given or str(self.given.get("exec_mode", "")).startswith("cluster")
        if files and not self.given.get("merge_logs", not apart):
            found["log_per_instance"] = True
        if self.given.get("disable_logs"):
            found["log_off"] = True
        form = self.given.get("log_type", "raw")
        if form == "json":
            found["log_form"] = "json"
        elif form != "raw":
            self.warn(f"log_type: there is json, or none; '{form}' is neither")
        pattern = "YYYY-MM-DDTHH:mm:ss" if self.given.get("time") else self.given.get("log_date_format")
        if pattern:
            found["log_timestamp"] = self._timestamp(pattern)

    def _timestamp(self, pattern: str) -> str:
        written, lost = strftime(pattern)
        if lost:
            self.warn(f"log_date_format: {', '.join(lost)} of '{pattern}' is left out; strftime has: {written}")
        return written

    def _warnings(self) -> None:
        for name, value in self.given.items():
            key = BY_NAME.get(name)
            if key is not None and key.fate == WARNED and value is not False:
                self.warn(f"{name}: {key.text}")


def milliseconds(value: float) -> str:
    """As apps.toml writes it: `1600ms`, `5s`."""
    whole = max(0, round(value))
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"


def _texts(variables: Mapping[str, Any]) -> dict[str, str]:
    """As JavaScript writes them into an environment."""
    found = {}
    for name, value in variables.items():
        if isinstance(value, str):
            found[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = _number(value)
        else:
            found[name] = json.dumps(value, separators=(",", ":"))
    return found


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _literal(text: str) -> str:
    """A text that is to mean itself in a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", text)


# fmt: off
DAYJS = {
    "YYYY": "%Y", "YY": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "DD": "%d", "D": "%-d", "dddd": "%A", "ddd": "%a",
    "d": "%w", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "A": "%p", "a": "%p",
    "ZZ": "%z", "Z": "%z", "X": "%s",
}
# fmt: on


def strftime(pattern: str) -> tuple[str, list[str]]:
    """A pattern of day.js as strftime's, and what it has no word for (milliseconds, for one)."""
    lost: list[str] = []

    def one(found: re.Match[str]) -> str:
        text = found[0]
        if text.startswith("["):
            return text[1:-1].replace("%", "%%")
        if text in DAYJS:
            return DAYJS[text]
        if re.fullmatch("[.,:]?[A-Za-z]+", text) and text != "T":
            lost.append(text.lstrip(".,:"))
            return ""
        return text.replace("%", "%%")

    tokens = r"\[[^\]]*\]|[.,:]?SSS|Y{4}|YY|M{1,4}|D{1,2}|d{2,4}|d|H{1,2}|h{1,2}|m{1,2}|s{1,2}|A|a|ZZ?|X|x|T|[A-Za-z]|[^A-Za-z\[]"
    return re.sub(tokens, one, pattern), lost


def markdown() -> str:
    """The table of PM2's keys for the README."""
    rows = ["| PM2's key | also written | in apps.toml | |", "|---|---|---|---|"]
    for key in KEYS:
        also = ", ".join(f"`{alias}`" for alias in key.aliases.split())
        ours = ", ".join(f"`{one}`" for one in key.becomes.split(", ") if one) or (
            "" if key.fate == SAME else f"*{key.fate}*"
        )
        if key.fate == DIFFERS and key.becomes:
            ours += f", *{key.fate}*"
        rows.append(f"| `{key.name}` | {also} | {ours} | {key.text} |")
    return "\n".join(rows) + "\n"
