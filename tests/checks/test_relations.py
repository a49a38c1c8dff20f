"""Relations that no coefficient and no summary shows alone: among coefficients, and among summaries of the data."""

import pytest
import torch
from scipy.stats import chi2, kstest

from sbirules.checks.misfit import misspecification
from sbirules.checks.recovery import Recovery
from sbirules.support.distances import distances, tail_p


def recovery(dependent, seed, shape=lambda z: z, rules=200, draws=200):
    """True rules whose coefficients go together; posteriors that know it, or take them for independent."""
    torch.manual_seed(seed)
    noise = torch.randn(rules, draws + 1, 3)
    z = noise @ torch.linalg.cholesky(0.6 * torch.eye(3) + 0.4).T
    if not dependent:
        z[:, 1:] = noise[:, 1:]
    every = torch.randn(rules, 1, 3) + shape(z)
    return Recovery(("a", "b", "c"), every[:, 0], every[:, 1:], 1, torch.ones(3), None)


@pytest.mark.parametrize("shape", [lambda z: z, torch.exp, lambda z: torch.where(z > 0.3, z, 0.0)])
def test_pairs_of_a_right_posterior_have_uniform_p_values(shape):
    p = [v for k in range(100) for v in recovery(True, k, shape).pairs_p.values()]
    assert kstest(p, "uniform").pvalue > 0.001


def test_marginals_that_are_right_do_not_make_a_joint_that_is():
    right, wrong = [[min(recovery(d, k).pairs_p.values()) for k in range(20)] for d in (True, False)]
    assert sum(p < 1e-4 for p in wrong) >= 19
    assert sum(p < 1e-3 for p in right) <= 1
    alone = recovery(False, 0)
    assert min(alone.sbc_p.values()) > 0.01, "ranks of single coefficients see nothing"
    assert list(alone.pairs_p) == ["a, b", "a, c", "b, c"]


def test_one_coefficient_has_no_pairs_and_a_constant_one_none_that_tell():
    torch.manual_seed(0)
    one = Recovery(("a",), torch.randn(60, 1), torch.randn(60, 50, 1), 1, torch.ones(1), None)
    assert one.pairs_p == {}
    held = torch.cat([torch.randn(60, 51, 1), torch.ones(60, 51, 1)], dim=2)
    assert Recovery(("a", "b"), held[:, 0], held[:, 1:], 1, torch.ones(2), None).pairs_p == {"a, b": 1.0}


def test_distances_are_those_of_each_row_from_all_others():
    torch.manual_seed(1)
    x = (torch.randn(40, 3) @ torch.randn(3, 3)).double()
    own, each = distances(x[0], x)
    alone = [distances(row, torch.cat([x[:k], x[k + 1 :]]))[0] for k, row in enumerate(x)]
    assert torch.corrcoef(torch.stack([each, torch.tensor(alone)]))[0, 1] > 0.99
    assert own < each[0], "with itself among the others it is nearer"
    far, _ = distances(torch.full((3,), 1e9).double(), x)
    assert far > 10 * float(each.max())
    assert distances(x[0], x[:5])[1].numel() == 0


def test_tails_are_those_of_squares_of_gaussians():
    torch.manual_seed(2)
    each = torch.randn(1000, 4).norm(dim=1)
    for p in (0.3, 0.01, 1e-3, 1e-4):
        found = tail_p(float(chi2.isf(p, 4)) ** 0.5, each)
        assert p / 4 < found < 4 * p


def test_tails_of_few_others_are_no_likelier_to_alarm_than_they_say():
    torch.manual_seed(5)
    found = torch.tensor([tail_p(float(v[0]), v[1:]) for v in torch.randn(20_000, 201).abs().double()])
    for p in (1e-2, 1e-3, 2e-4):
        assert float((found <= p).double().mean()) < 1.3 * p + 3 * (p / len(found)) ** 0.5


@pytest.mark.slow
def test_summaries_that_do_not_go_together_as_simulated_ones_are_misspecified():
    """Each within its range and near the middle: only their difference is unheard of."""
    torch.manual_seed(3)
    levels = []
    shared = torch.randn(400, 1)
    x = shared + 0.1 * torch.randn(400, 2)
    found = misspecification(x, torch.tensor([0.5, -0.5]), ("a", "b"))
    assert found.outside == ()
    assert found.p_mahalanobis < 1e-4 < 1e-3 < found.p_mmd
    for k in range(60):
        torch.manual_seed(k)
        y = torch.randn(1, 1) + 0.1 * torch.randn(1, 2)
        levels.append(misspecification(x, y[0], ("a", "b"), seed=k).p < 0.01)
    assert sum(levels) <= 3
