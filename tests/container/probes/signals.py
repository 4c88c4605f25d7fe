"""Says which signals reach it: `ready`, then a line `LABEL SIGNAL COUNT` for each, and `LABEL end` when the marker comes.

    signals.py [--label TEXT] [--marker SIGNAL] [--status N] [--children N] [--pass-marker]

Children (labelled LABEL.1, LABEL.2, ...) do the same in the same process group; LABEL's `ready` comes after theirs. The marker
ends whoever gets it, with exit status N, after a report of all that is pending; with --pass-marker LABEL sends it on to its
children and waits for them. All signals are blocked and waited for, so none can be missed, merged in a handler or fatal.
"""

import argparse
import os
import signal
import sys

RTMIN = 34  # the kernel's and Docker's numbering; a C library may keep some for itself


def name(number: int) -> str:
    if number >= RTMIN:
        return "RTMAX" if number == 64 else f"RTMIN+{number - RTMIN}"
    return signal.Signals(number).name.removeprefix("SIG")


def number(text: str) -> int:
    names = {name(n): n for n in range(1, 65) if n in ALL}
    return names[text.upper().removeprefix("SIG")]


# 32 and 33 belong to the C library, which hides them from valid_signals
ALL = {int(n) for n in signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())  # one write for a line: those of several processes do not mix


def listen(label: str, marker: int) -> None:
    counts: dict[int, int] = {}
    ends = False
    while True:
        # the marker may overtake what has a higher number (signal(7)): look what else is pending before the end
        info = signal.sigtimedwait(ALL, 0) if ends else signal.sigwaitinfo(ALL)
        if info is None:
            say(f"{label} end")
            return
        got = info.si_signo
        if got == marker:
            ends = True
            continue
        counts[got] = counts.get(got, 0) + 1
        say(f"{label} {name(got)} {counts[got]}")


def main() -> int:
    signal.pthread_sigmask(signal.SIG_SETMASK, ALL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", default="main")
    parser.add_argument("--marker", type=number, default=64)
    parser.add_argument("--status", type=int, default=0)
    parser.add_argument("--children", type=int, default=0)
    parser.add_argument("--pass-marker", action="store_true")
    options = parser.parse_args()

    read, write = os.pipe()
    children = []
    for nth in range(1, options.children + 1):
        children.append(os.fork())
        if children[-1] == 0:
            label = f"{options.label}.{nth}"
            say(f"{label} ready")
            os.close(write)
            listen(label, options.marker)
            os._exit(options.status)
    os.close(write)
    os.read(read, 1)  # ends when the last child has closed its copy, after its own `ready`
    say(f"{options.label} ready")
    say("ready")
    listen(options.label, options.marker)
    if options.pass_marker:
        for child in children:
            os.kill(child, options.marker)
            os.waitpid(child, 0)
    return int(options.status)


if __name__ == "__main__":
    sys.exit(main())
