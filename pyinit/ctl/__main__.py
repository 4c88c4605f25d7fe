"""`pyinitctl WORD ...`, also `python -m pyinit.ctl`. A module of this folder has a word, or several, and a function `add`."""

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from pyinit.ctl.errors import CommandError
from pyinit.init.start import VERSION

SIGPIPE_STATUS = 141
"""What a shell says of a program that wrote to a reader that had left (`| head`): 128 + 13. Not 1, which is a verdict of some words."""


def modules(word: str) -> Sequence[ModuleType]:
    """Those that know a word: all of them, but for a probe's, which is to be quick, that one alone."""
    from pyinit.ctl import ready  # noqa: PLC0415 - what is loaded is the point

    if word == "ready":
        return (ready,)
    from pyinit.ctl import (  # noqa: PLC0415 - as above
        container,
        export,
        life,
        lint,
        metrics,
        native,
        start,
        startup,
        supervise,
        verify,
    )

    return lint, native, verify, container, start, supervise, ready, metrics, life, startup, export


def main(words: list[str] | None = None) -> int:
    """Run one word. Exit status 0: done; 1: it could not be done, stderr says why; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="pyinitctl", description="The tools around pyinit, PID 1 for containers.", allow_abbrev=False
    )
    parser.add_argument("-V", "--version", action="version", version=f"pyinitctl {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    words = sys.argv[1:] if words is None else words
    for module in modules(words[0] if words else ""):
        module.add(commands)
    # argparse takes words after -- for more of its own positionals, and loses them when options stood between
    at = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:at])
    options.after = words[at + 1 :]
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"pyinitctl: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered
        return SIGPIPE_STATUS
    return status


if __name__ == "__main__":
    sys.exit(main())
