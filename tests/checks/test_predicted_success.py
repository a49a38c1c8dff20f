"""What is said of a classifier's predictions: too good fails, too bad is a caution, right passes."""

import pytest
import torch

from sbirules.inference.questions.success import ConstraintCheck, _reliability
from sbirules.support.rates import Rate


def checked(predicted, true, rules=200, networks=20, seed=0):
    """Rules of one probability of success each, and what was predicted for them."""
    stream = torch.Generator().manual_seed(seed)
    chance = torch.full((rules, networks), true)
    share = torch.bernoulli(chance, generator=stream).mean(dim=1)
    rate = Rate(float(share.mean()), 0.01)
    guess = predicted + 0.001 * torch.rand(rules, generator=stream)
    return ConstraintCheck(
        rules, networks, rate, rate, rate, rate, float(guess.mean()), torch.zeros(rules, 1), share, predicted=guess
    )


@pytest.mark.parametrize(
    ("predicted", "true", "level", "words"),
    [
        (0.7, 0.7, "pass", ""),
        (0.9, 0.7, "fail", "errs upwards"),
        (0.7, 0.9, "caution", "do better than the classifier expects"),
        (0.73, 0.70, "pass", ""),
    ],
)
def test_only_hopes_fail(predicted, true, level, words):
    found = _reliability(checked(predicted, true))
    assert found.level == level
    assert words in found.advice


def test_hopes_among_fears_fail():
    """Groups that do better do not excuse those that do worse."""
    low, high = checked(0.3, 0.5, rules=100), checked(0.9, 0.7, rules=100)
    both = ConstraintCheck(
        200,
        20,
        low.posterior_success,
        low.prior_success,
        low.zero_rule_success,
        low.posterior_reliable,
        0.6,
        torch.zeros(200, 1),
        torch.cat([low.share, high.share]),
        predicted=torch.cat([low.predicted, high.predicted]),
    )
    assert _reliability(both).level == "fail"
