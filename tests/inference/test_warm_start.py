"""Filter rounds that start around given rules: the same distribution as without, whatever the start."""

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.inference.rounds.proposals import WarmStart
from sbirules.priors import spike_and_slab, uniform

ASKED = {"final_error": (0.0, 0.25)}


def test_the_density_of_a_warm_start_is_right():
    start = WarmStart(torch.tensor([[0.5, -0.5], [0.9, 0.9]]), PRIOR)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theta = PRIOR.sample((200_000,))
    ratio = start.log_ratio(theta).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.01), "a density that is normalised over the prior"
    draws = start.sample(PRIOR, 40_000, seed=1)
    inside = ((draws > -1) & (draws < 1)).all()
    assert bool(inside)
    for box in ((0.3, 0.7, -0.7, -0.3), (-1, 0, -1, 1), (0.8, 1, 0.8, 1)):
        a, b, c, d = box
        here = (theta[:, 0] > a) & (theta[:, 0] < b) & (theta[:, 1] > c) & (theta[:, 1] < d)
        there = (draws[:, 0] > a) & (draws[:, 0] < b) & (draws[:, 1] > c) & (draws[:, 1] < d)
        expected = float((ratio * here).mean())
        assert float(there.double().mean()) == pytest.approx(expected, abs=5 * (expected / 40_000) ** 0.5 + 0.003)


@pytest.mark.parametrize("start", [[[0.0, 0.0]], [[0.9, 0.9], [-0.9, -0.8]]])
def test_weights_take_account_of_the_start(start):
    """Right or wrong, the start must not show in the result: exact rejection from the prior is the reference."""
    found = sr.filter_rules(Cheap(), PRIOR, ASKED, budget=3000, num_simulations=1500, start=start, seed=4)
    exact = sr.simulate(Cheap(), PRIOR, 20_000, seed=99)
    accepted = exact.theta[sr.Constraints.of(ASKED).satisfied(exact.x, exact.summary_names)]
    weights, theta = found.weights.double(), found.theta.double()
    for moment in (theta, theta**2, theta[:, :1] * theta[:, 1:]):
        own = (weights[:, None] * moment).sum(dim=0)
        ess = float(1 / weights.square().sum())
        se = ((weights[:, None] * (moment - own) ** 2).sum(dim=0) / ess).sqrt()
        if moment is theta:
            reference = accepted.double().mean(dim=0)
        elif moment.shape[1] == 2:
            reference = accepted.double().square().mean(dim=0)
        else:
            reference = accepted.double().prod(dim=1, keepdim=True).mean(dim=0)
        assert bool(((own - reference).abs() < 4 * se + 0.01).all())
    assert found.rounds[0].kept == 1


def test_a_good_start_is_sooner_there():
    narrow = {"final_error": (0.0, 0.1)}
    wide = uniform(Cheap().family, -3, 3)
    plain = sr.filter_rules(Cheap(), wide, narrow, budget=600, num_simulations=600, seed=2)
    warm = sr.filter_rules(Cheap(), wide, narrow, budget=600, num_simulations=600, start=[[0.0, 0.0]], seed=2)
    assert warm.rounds[0].accepted > plain.rounds[0].accepted


def test_refusals():
    with pytest.raises(ValueError, match="the prior hardly reaches the neighbourhood of point 0"):
        sr.filter_rules(Cheap(), PRIOR, ASKED, budget=200, start=[[9.0, 9.0]])
    with pytest.raises(ValueError, match="start needs a prior with a density"):
        sr.filter_rules(Cheap(), spike_and_slab(Cheap().family), ASKED, budget=200, start=[[0.1, 0.1]])
    with pytest.raises(ValueError, match="start must have shape"):
        sr.filter_rules(Cheap(), PRIOR, ASKED, budget=200, start=[[0.1]])
