"""`pyinitctl ready`: one answer for Kubernetes' and compose's probes, by exit status or over HTTP.

A probe runs every few seconds for as long as the container does: `pyinit.ctl.__main__` loads nothing else for it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyinit.ctl.asking import NO_SUPERVISOR, add_socket, ask_at, socket_of
from pyinit.ctl.errors import CommandError

EPILOG = f"""\
exit status: 0 every app is ready, or has done its work; 1 one is not, or there is a shutdown: stderr says who; {NO_SUPERVISOR} there is no
supervisor. Without APP those that somebody has stopped do not count. With --http: until it is interrupted, 200 instead of 0, 503 else."""

PATIENCE = 5.0
"""Seconds that somebody may take to ask over HTTP."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the word to the commands."""
    parser = commands.add_parser(
        "ready",
        help="whether apps are ready: for probes",
        description="Whether apps are ready: a probe for Kubernetes, and for a compose file's healthcheck.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("app", nargs="*", metavar="APP", help="id, name, namespace, all or /regex/ (default: all)")
    parser.add_argument("--http", metavar="HOST:PORT", help="answer there over HTTP, in the foreground")
    add_socket(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say it. Raises CommandError where the answer is no."""
    if options.http:
        return _serve(options)
    if words := waits_for(socket_of(options), options.app):
        raise CommandError(f"ready: {words}")
    return 0


def waits_for(path: Path, apps: Sequence[str]) -> str:
    """Who is not ready, in words; empty when everybody is. Raises CommandError where nobody can say."""
    answer = ask_at(path, "list", select=list(apps) or ["all"])
    if answer["closing"] is not None:
        return f"the supervisor is stopping: {answer['closing']['why']}"
    # in a reload the one that has the place counts: it serves until the other is ready
    workers = [worker for worker in answer["workers"] if not (worker["leaving"] or worker["coming"])]
    if not apps:
        workers = [worker for worker in workers if worker["state"] != "stopped"]
    if not workers:
        return "nothing is running"
    return ", ".join(_is(worker) for worker in workers if not _is_fine(worker))


def _is_fine(worker: Mapping[str, Any]) -> bool:
    """As for apps that start after it: ready, or its work is done."""
    return bool(worker["state"] == "ready" or (worker["state"] == "exited" and worker["code"] == 0))


def _is(worker: Mapping[str, Any]) -> str:
    why = worker["why"] or worker["last"]
    return f"{worker['name']}:{worker['instance']} is {worker['state']}{f' ({why})' if why else ''}"


def _serve(options: argparse.Namespace) -> int:
    from http.server import BaseHTTPRequestHandler, HTTPServer  # noqa: PLC0415 - an exec probe is to be quick

    host, port = address(options.http)

    class Answer(BaseHTTPRequestHandler):
        """Any path is as good; one that asks at a time."""

        timeout = PATIENCE

        def do_GET(self) -> None:
            try:
                words = waits_for(socket_of(options), options.app)
            except CommandError as error:
                words = str(error)
            body = f"{words or 'ready'}\n".encode()
            self.send_response(503 if words else 200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes come too often for a line each."""

    try:
        with HTTPServer((host, port), Answer) as server:
            print(f"answering on http://{host}:{server.server_port}/", flush=True)
            server.serve_forever()
    except OSError as error:
        raise CommandError(f"ready: cannot listen on {options.http}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        pass
    return 0


def address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080`, or of `8080`, which is that. Raises CommandError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise CommandError(f"'{text}' is no address; write HOST:PORT, such as 127.0.0.1:8080", 2)
    return host or "127.0.0.1", int(port)
