"""A seccomp filter in front of a command: the kernel refuses some system calls with an error of one's choice (seccomp(2)).

As older kernels and stricter container engines do: `refusing("close_range", error="EPERM")` is a wrapper for `support.runs.Run`.
As a script: `refuse.py ERRNO NUMBER,NUMBER COMMAND...`.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"mmap": 9, "clone": 56, "prctl": 157, "pwritev2": 328},
    "aarch64": {"mmap": 222, "clone": 220, "prctl": 167, "pwritev2": 287},
}
"""Of the calls whose number depends on the machine."""
EVERYWHERE = {"pidfd_send_signal": 424, "pidfd_open": 434, "close_range": 436}

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


def number(call: str) -> int:
    """Of a system call on this machine. Raises KeyError where it is not known."""
    return {**NUMBERS[platform.machine()], **EVERYWHERE}[call]


def refusing(*calls: str, error: str) -> tuple[str, ...]:
    """The words that put a filter in front of a command."""
    numbers = ",".join(str(number(call)) for call in calls)
    return (sys.executable, "-I", "-S", __file__, str(getattr(errno, error)), numbers)


def program(refused: list[int], error: int) -> bytes:
    """The filter, in classic BPF: load the call's number, compare it with each, allow what is none of them."""
    steps = [(LOAD, 0, 0, 0)]
    for one in refused:
        steps += [(JUMP_IF_EQUAL, 0, 1, one), (RETURN, 0, 0, RET_ERRNO | error)]
    steps.append((RETURN, 0, 0, RET_ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def main() -> None:
    """Install the filter for good and become the command."""
    error, numbers, *command = sys.argv[1:]
    code = program([int(one) for one in numbers.split(",")], int(error))
    buffer = ctypes.create_string_buffer(code)
    described = ctypes.create_string_buffer(struct.pack("HP", len(code) // 8, ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    arguments = [ctypes.c_ulong(0)] * 3
    for option, value, pointer in (
        (PR_SET_NO_NEW_PRIVS, 1, ctypes.c_void_p(None)),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.cast(described, ctypes.c_void_p)),
    ):
        if prctl(option, ctypes.c_ulong(value), pointer, *arguments[:2]) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(command[0], command)  # noqa: S606 (there is no shell to be had in between)


if __name__ == "__main__":
    main()
