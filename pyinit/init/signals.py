"""Signals: their names, their numbers, and what a wait status means.

One table for every Linux architecture that pyinit supports (generic numbering: x86, ARM, RISC-V, POWER, s390, LoongArch).
Rejected: the `signal` module (its enum costs 5 ms and 0.9 MB, its reversed names give `CLD` for CHLD, and RTMIN is libc's).
RTMIN is 34 here whatever libc says: that is how Docker and systemd count.
"""

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable

# fmt: off
NAMES = (
    "0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
# fmt: on
ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29, "RTMIN": 34, "RTMAX": 64}

HUP, INT, QUIT, KILL, PIPE, TERM = 1, 2, 3, 9, 13, 15
CHLD, CONT, STOP, TSTP, TTIN, TTOU, XFSZ = 17, 18, 19, 20, 21, 22, 25
RTMIN, RTMAX = 34, 64

LIBC_OWN = (32, 33)
"""Taken by glibc and musl for threads; no program can handle them (signal(7), "Real-time signals")."""

ALL = tuple(number for number in range(1, RTMAX + 1) if number not in LIBC_OWN)
"""Every signal that can be blocked, waited for and forwarded."""

NEVER_FORWARDED = (KILL, CHLD, STOP)
"""KILL and STOP cannot be caught; CHLD is about our children, not theirs."""

STOPPING = (STOP, TSTP, TTIN, TTOU)
"""Signals whose default action stops the process (signal(7))."""

FROM_TERMINAL = (TSTP, TTIN, TTOU)
"""Those of STOPPING that job control sends."""


def number_of(text: str) -> int | None:
    """The number of `TERM`, `SIGTERM`, `15`, `RTMIN+3` or `RTMAX-1`; None for anything else (case does not matter)."""
    if not text.isascii():  # upper() would take a dotless i for an I
        return None
    name = text.upper()
    if name.isdigit():
        number = int(name) if len(name) <= 2 else 0
        return number if number in ALL else None
    name = name.removeprefix("SIG")
    if name in NAMES[1:]:
        return NAMES.index(name)
    if name in ALIASES:
        return ALIASES[name]
    base, sign, offset = name[:5], name[5:6], name[6:]
    if not (offset.isdigit() and len(offset) <= 2):
        return None
    if (base, sign) == ("RTMIN", "+"):
        number = RTMIN + int(offset)
    elif (base, sign) == ("RTMAX", "-"):
        number = RTMAX - int(offset)
    else:
        return None
    return number if RTMIN <= number <= RTMAX else None


def name_of(number: int) -> str:
    """`SIGTERM` for 15, `SIGRTMIN+3` for 37, `SIGRTMAX` for 64, `signal 99` for what is none."""
    if 0 < number < len(NAMES):
        return "SIG" + NAMES[number]
    if number == RTMAX:
        return "SIGRTMAX"
    if RTMIN <= number < RTMAX:
        return "SIGRTMIN" if number == RTMIN else f"SIGRTMIN+{number - RTMIN}"
    return f"signal {number}"


def mask_of(numbers: "Iterable[int]") -> int:
    """The signals as a bit mask, signal 1 in bit 0, as /proc/PID/status writes it."""
    mask = 0
    for number in numbers:
        mask |= 1 << (number - 1)
    return mask


def in_mask(number: int, mask: int) -> bool:
    """Whether a signal is in a bit mask (see `mask_of`)."""
    return bool(mask >> (number - 1) & 1)


# --- wait statuses (wait(2)): decoded here and nowhere else ---


def is_stopped(status: int) -> bool:
    """Whether waitpid reported a stop, not an end (WUNTRACED)."""
    return status & 0xFF == 0x7F


def stop_signal(status: int) -> int:
    """Which signal stopped it; only where `is_stopped`."""
    return status >> 8 & 0xFF


def term_signal(status: int) -> int:
    """Which signal ended it, 0 when it ended by exit(2). The core-dump bit (0x80) is not part of it."""
    return status & 0x7F


def exit_code(status: int) -> int:
    """The shell's convention: the code given to exit(2), or 128+n when signal n ended the process."""
    signal = term_signal(status)
    return 128 + signal if signal else status >> 8 & 0xFF


def ended_how(status: int) -> str:
    """`exit 3` or `SIGKILL`, for the report."""
    signal = term_signal(status)
    return name_of(signal) if signal else f"exit {status >> 8 & 0xFF}"
