"""Constraints that are added to others never loosen them."""

import pytest

import sbirules as sr


def test_the_part_in_both_is_asked_for():
    first = sr.Constraints({"error": (0.0, 0.5), "rate": (0.1, None)})
    both = first.narrowed_by(sr.Constraints({"error": (0.2, 0.9), "saturation": (0, 0.2)}))
    assert dict(both.intervals) == {"error": (0.2, 0.5), "rate": (0.1, float("inf")), "saturation": (0.0, 0.2)}
    assert dict(first.intervals)["error"] == (0.0, 0.5)
    with pytest.raises(ValueError, match=r"error shall lie in \[0.6, 0.9\], and earlier in \[0, 0.5\]"):
        first.narrowed_by(sr.Constraints({"error": (0.6, 0.9)}))
