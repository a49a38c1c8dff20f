"""Comparisons with a reference tell the same from the different."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from sbirules import reference

BELL = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]]))


def test_the_same_is_the_same():
    same = reference.compare(BELL, BELL.sample((2000,)), names=["a", "b"], num_samples=1000)
    assert same.c2st == pytest.approx(0.5, abs=0.04)
    assert max(same.wasserstein.values()) < 0.12
    assert all(abs(v - 0.95) < 0.02 for v in same.coverage.values())
    assert same.num_samples == 1000
    assert "Wasserstein" in str(same)


def test_a_shift_is_seen_in_its_coefficient_by_its_size():
    shifted = reference.compare(BELL.sample((1000,)) + torch.tensor([0.0, 1.0]), BELL, num_samples=1000)
    assert shifted.wasserstein["theta_1"] < 0.12
    assert shifted.wasserstein["theta_2"] == pytest.approx(1.0, abs=0.15)
    assert shifted.c2st > 0.65


def test_a_missing_correlation_is_seen_by_the_classifier_alone():
    free = MultivariateNormal(torch.zeros(2), torch.eye(2))
    found = reference.compare(free, BELL, num_samples=1000)
    assert max(found.wasserstein.values()) < 0.12
    assert found.c2st > 0.6


def test_intervals_that_are_too_narrow_cover_too_little():
    narrow = reference.compare(0.5 * BELL.sample((2000,)), BELL)
    assert all(v == pytest.approx(0.673, abs=0.04) for v in narrow.coverage.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(posterior=torch.zeros(500, 3)), "same columns"),
        (dict(posterior=torch.zeros(50, 2)), "at least 100 draws"),
        (dict(posterior=torch.zeros(500)), "shape"),
        (dict(names=["a"]), "names must be 2"),
        (dict(num_samples=10), "num_samples"),
        (dict(level=1.0), "level"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(change, words):
    with pytest.raises(ValueError, match=words):
        reference.compare(**{"posterior": BELL, "reference": BELL, **change})
