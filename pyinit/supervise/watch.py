"""Whether files have changed, for `watch`: a development aid, looked at once a second while an app asks for it.

Rejected: inotify (a watch for each folder, limits that containers share, and nothing on network mounts and Docker Desktop's).
"""

import os

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSE = 1.0
MOST = 20000
"""Files that are looked at; more are somebody's data."""
ALWAYS_IGNORED = ("node_modules", "__pycache__")


def look(paths: "Sequence[str]", ignored: "Sequence[str]") -> int:
    """A number that is another one when a file was changed, made or removed."""
    seen: list[tuple[str, int, int]] = []
    for path in paths:
        _walk(path, ignored, seen)
    return hash(tuple(sorted(seen)))


def _walk(path: str, ignored: "Sequence[str]", seen: "list[tuple[str, int, int]]") -> None:
    if len(seen) >= MOST:
        return
    try:
        if not os.path.isdir(path):
            found = os.stat(path)
            seen.append((path, found.st_mtime_ns, found.st_size))
            return
        entries = list(os.scandir(path))
    except OSError:
        return  # gone, or not ours to see
    for entry in entries:
        if not is_ignored(entry.path, entry.name, ignored):
            _walk(entry.path, ignored, seen)


def is_ignored(path: str, name: str, ignored: "Sequence[str]") -> bool:
    """Dot files and what others install; beyond these, what the app names: a path, a name, or a pattern such as *.log."""
    if name.startswith(".") or name in ALWAYS_IGNORED:
        return True
    for pattern in ignored:
        start, star, end = pattern.partition("*")
        one = path if "/" in pattern else name
        if star and len(one) >= len(start) + len(end) and one.startswith(start) and one.endswith(end):
            return True
        if one == pattern.rstrip("/") or path.endswith("/" + pattern.strip("/")):
            return True
    return False
