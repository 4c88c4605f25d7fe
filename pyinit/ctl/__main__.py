"""`pyinitctl WORD ...`, also `python -m pyinit.ctl`. A module of this folder has a word, or several, and a function `add`."""

import argparse
import os
import sys

from pyinit.ctl import export, lint, native, start, supervise, verify
from pyinit.ctl.errors import CommandError
from pyinit.init.start import VERSION

WORDS = (lint, native, verify, start, supervise, export)
SIGPIPE_STATUS = 141
"""What a shell says of a program that wrote to a reader that had left (`| head`): 128 + 13. Not 1, which is a verdict of some words."""


def main(words: list[str] | None = None) -> int:
    """Run one word. Exit status 0: done; 1: it could not be done, stderr says why; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        prog="pyinitctl", description="The tools around pyinit, PID 1 for containers.", allow_abbrev=False
    )
    parser.add_argument("-V", "--version", action="version", version=f"pyinitctl {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in WORDS:
        module.add(commands)
    words = sys.argv[1:] if words is None else words
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
