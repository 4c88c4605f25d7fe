"""What the benches make of what they measured."""

import pytest

from bench.common import BrokenError, Progress, take
from bench.report import Bar, Measured, Outcome, Row
from bench.serving import read_wrk

REPORT = """\
Running 5s test @ http://127.0.0.1:20000/
  1 threads and 20 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.23ms  301.00us   9.10ms   89.00%
    Req/Sec    16.10k     1.00k   17.00k    80.00%
  Latency Distribution
     50%    1.20ms
     99%  500.00us
  80000 requests in 5.00s, 12.00MB read
Requests/sec:  16000.12
Transfer/sec:      2.40MB
"""


@pytest.mark.parametrize(
    ("bar", "ours", "verdict"),
    [
        (Bar(0.8, ("PM2",)), [4.0, 5.0, 6.0], "met (0.50, 0.45 to 0.55: <= 0.8 x PM2)"),
        (Bar(0.8, ("PM2",)), [9.0, 9.0, 9.0], "NOT met (0.90: <= 0.8 x PM2)"),
        (Bar(least=1.8, of=("PM2",)), [18.0, 18.0, 18.0], "met (1.80: >= 1.8 x PM2)"),
        (Bar(least=1.8, of=("PM2",)), [17.0, 17.0, 17.0], "NOT met (1.70: >= 1.8 x PM2)"),
        (Bar(5), [5.0, 5.0, 5.0], "met (<= 5)"),
        (Bar(0), [1.0], "NOT met (<= 0)"),
        (Bar(least=1.8, of=("nobody",)), [1.0, 1.0, 1.0], "not measured (>= 1.8 x nobody)"),
    ],
)
def test_bars(bar: Bar, ours: list[float], verdict: str) -> None:
    """The median of the ratios of each round, with their quartiles, or the number itself."""
    row = Row("", "", 0, {"pyinit": ours, "PM2": [10.0] * len(ours)}, {"pyinit": bar}, reference="PM2")
    assert row.verdict("pyinit") == verdict


@pytest.mark.parametrize(
    ("bar", "ratio"), [(Bar(most=1.0, of=("few", "many")), 2.0), (Bar(least=1.0, of=("few", "many")), 1.0)]
)
def test_the_best_of_several_is_what_counts(bar: Bar, ratio: float) -> None:
    """Where less is better the ratio to the least of them, where more is better to the most."""
    row = Row("", "", 0, {"pyinit": [4.0], "few": [2.0], "many": [4.0]}, {"pyinit": bar})
    spread = row.barred("pyinit")
    assert spread is not None
    assert spread.median == ratio


def test_wrk_is_understood() -> None:
    """Rate, p99 in milliseconds, and what went wrong."""
    blow = read_wrk(REPORT)
    assert (blow.rate, blow.p99, blow.errors) == (16000.12, 0.5, "")
    errors = "Socket errors: connect 0, read 5, write 0, timeout 0"
    assert read_wrk(REPORT.replace("Requests/sec", f"  {errors}\nRequests/sec")).errors == errors
    with pytest.raises(BrokenError, match="wrk does not say"):
        read_wrk("unable to connect to 127.0.0.1:20000 Connection refused\n")


def test_what_breaks_keeps_nothing_else_from_being_taken() -> None:
    """The rows of the others are there, and why one is not."""
    row = Row("", "", 0, {})
    outcome = Outcome({}, {}, "")

    def breaks(_: Progress) -> Measured:
        raise BrokenError("no such tool")

    broken = take(outcome, [breaks, lambda _: ([row], ["a note"])], quick=False)
    assert [str(error) for error in broken] == ["no such tool"]
    assert (outcome.rows, outcome.notes) == ([row], ["a note"])
