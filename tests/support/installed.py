"""What tests run and nobody here has written: packages of npm and PyPI, installed once for all runs."""

import fcntl
import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parents[2] / ".results"


def install(name: str, command: Sequence[str], files: Mapping[str, bytes], otherwise: Path) -> Path | str:
    """The folder in which `command` has been run beside `files`; in words why not, where it fails, as where no registry answers.

    It is `name` in .results, and in `otherwise` where ./tests/run has made none.
    """
    folder = (RESULTS if RESULTS.is_dir() else otherwise) / name
    folder.mkdir(exist_ok=True)
    made_for = folder / "made-for"
    key = hashlib.sha256(b"".join(files.values())).hexdigest()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once
        if made_for.exists() and made_for.read_text(encoding="utf-8") == key:
            return folder
        for file, content in files.items():
            (folder / file).write_bytes(content)
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
        except FileNotFoundError:
            return f"no {command[0]} here: install Debian's package {command[0]}"
        if done.returncode:
            return f"{command[0]} cannot install {', '.join(files)}: {done.stderr.strip()[-300:]}"
        made_for.write_text(key, encoding="utf-8")
        return folder


NPM = ("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-timeout=20000")
