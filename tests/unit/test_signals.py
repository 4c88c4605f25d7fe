"""Names, numbers and wait statuses."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyinit.init import signals


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("IOT", 6),
        ("POLL", 29),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMIN+30", 64),
        ("RTMAX", 64),
        ("RTMAX-1", 63),
        ("RTMIN+31", None),
        ("RTMAX-31", None),
        ("RTMIN-1", None),
        ("RTMIN+", None),
        ("0", None),
        ("SIG0", None),
        ("SIG15", None),
        ("32", None),
        ("33", None),
        ("65", None),
        ("", None),
        ("SIG", None),
        ("+15", None),
        ("²", None),
    ],
)
def test_number_of(text: str, number: int | None) -> None:
    assert signals.number_of(text) == number


def test_names_agree_with_python() -> None:
    """Every name of the standard module has our number, RTMIN and RTMAX included (on this libc)."""
    for member in signal.Signals:
        assert signals.number_of(member.name) == member.value


@pytest.mark.parametrize("number", signals.ALL)
def test_names_come_back(number: int) -> None:
    assert signals.number_of(signals.name_of(number)) == number


@given(st.sets(st.sampled_from(signals.ALL)))
def test_masks(numbers: set[int]) -> None:
    mask = signals.mask_of(numbers)
    assert {n for n in signals.ALL if signals.in_mask(n, mask)} == numbers


@given(st.integers(0, 255))
def test_exit_statuses_agree_with_the_kernel_encoding(code: int) -> None:
    status = code << 8
    assert signals.exit_code(status) == os.waitstatus_to_exitcode(status) == code
    assert not signals.is_stopped(status)


@given(st.sampled_from(signals.ALL), st.booleans())
def test_deaths_by_signal(number: int, dumped_core: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """128+n, whether or not a core was dumped."""
    status = number | (0x80 if dumped_core else 0)
    assert signals.exit_code(status) == 128 + number
    assert signals.term_signal(status) == number
    assert not signals.is_stopped(status)


def test_stops_are_no_ends() -> None:
    status = signals.TSTP << 8 | 0x7F
    assert signals.is_stopped(status)
    assert signals.stop_signal(status) == signals.TSTP
