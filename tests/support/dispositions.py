"""What this process was told to ignore, by nohup(1) say, is not what it tells the programs under test to ignore."""

import signal

NOBODYS = {signal.SIGKILL, signal.SIGSTOP}
PYTHONS = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python ignores these itself, and gives subprocesses the default."""


def hear_what_is_ignored() -> None:
    """Gives each signal that is ignored a handler that does nothing: it disturbs this process no more than before, and a program that
    is executed gets the default action, as from a terminal.
    """
    for number in signal.valid_signals() - NOBODYS - PYTHONS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
