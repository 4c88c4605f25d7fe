"""Unix sockets of the supervisor: what may be replaced, and what may not."""

import os
import socket
from pathlib import Path

import pytest

from pyinit.supervise import sockets


def test_only_an_abandoned_socket_is_replaced(tmp_path: Path) -> None:
    """Left behind by a supervisor that was killed, say."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    sockets.unix(str(path), 0o600).close()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_what_is_no_socket_stays(kind: str, tmp_path: Path) -> None:
    """A file that was named by mistake, also by a link."""
    path = tmp_path / "data.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        (tmp_path / "target" if kind == "link" else path).write_text("valuable", encoding="ascii")
    if kind == "link":
        path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"data\.db is there already, and is no socket"):
        sockets.unix(str(path), 0o600)
    assert path.exists()
    assert kind not in ("file", "link") or path.read_text(encoding="ascii") == "valuable"


def test_one_that_is_listened_on_stays(tmp_path: Path) -> None:
    """Also where its queue is full, when a connection would wait."""
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as theirs, socket.socket(socket.AF_UNIX) as waits:
        theirs.bind(str(path))
        theirs.listen(0)
        waits.connect(str(path))
        for _ in range(2):
            with pytest.raises(OSError, match="a socket on which somebody listens"):
                sockets.unix(str(path), 0o600)
    assert path.exists()
