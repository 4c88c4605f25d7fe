"""The bench that counts differing verdicts counts them."""

from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("flakes", Path(__file__).resolve().parents[1] / "container" / "flakes.py")
assert spec is not None
assert spec.loader is not None
flakes = module_from_spec(spec)
spec.loader.exec_module(flakes)


def test_a_verdict_that_differs_is_counted() -> None:
    """Each that is not the one most often given, with what it was; none where all agree."""
    steady, odd = {"SG-01": "pass", "GR-03": "fail"}, {"SG-01": "pass", "GR-03": "skipped"}
    expected = flakes.usual([steady, odd, steady])
    assert expected == steady
    assert flakes.differing([steady, steady], expected) == Counter()
    assert flakes.differing([steady, odd, odd], expected) == Counter({"GR-03 skipped": 2})
