"""`pyinitctl metrics`: what the supervisor knows, for Prometheus; once on stdout, or in a process of its own that answers scrapes."""

from __future__ import annotations

import argparse
import signal
import sys

from pyinit.ctl import asking
from pyinit.ctl.errors import CommandError
from pyinit.ctl.ready import address

EPILOG = f"""\
With --listen it runs until it is stopped, and pyinit_up is 0 while there is no supervisor. exit status: 0 done; 1 it could not be done,
stderr says why; 2 wrong usage; {asking.NO_SUPERVISOR} there is no supervisor (without --listen)."""

ENDS = (signal.SIGINT, signal.SIGTERM)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the word to the commands."""
    parser = commands.add_parser(
        "metrics",
        help="restarts, state, reloads, signals, out-of-memory kills, throttling: for Prometheus",
        description="Metrics for Prometheus: once on stdout, or with --listen for as long as it runs.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="answer scrapes there, such as 127.0.0.1:9209")
    asking.add_socket(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print, or serve. Raises CommandError."""
    try:
        from pyinit.ctl import exporter  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise CommandError(f"metrics: {missing.name} is not installed: pip install 'pyinit-pid1[metrics]'") from None
    if not options.listen:
        sys.stdout.write(exporter.text(options))
        return 0
    host, port = address(options.listen)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # before there is a thread that could take them
    try:
        port = exporter.serve(options, host, port)
    except OSError as error:
        raise CommandError(f"metrics: cannot listen on {options.listen}: {error.strerror or error}") from None
    print(f"answering on http://{host}:{port}/metrics", flush=True)
    signal.sigwait(ENDS)
    return 0
