"""Posteriors side by side, against overlaps that are known."""

import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal

import sbirules as sr
from sbirules.checks.overlap import overlap_of


def posterior_at(mean, sd=0.3, names=("a", "b")):
    """The Gaussian posterior of independent coefficients, by its potential."""
    centre = torch.as_tensor(mean)
    prior = [Normal(0.0, 10.0)] * len(names)
    return sr.Posterior(prior, names, lambda theta: -0.5 * ((theta - centre) / sd).square().sum(dim=1))


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_overlap_of_gaussians_is_that_of_theory(apart):
    torch.manual_seed(0)
    a, b = torch.randn(8000), torch.randn(6000) + apart
    assert overlap_of(a, b) == pytest.approx(2 * norm.cdf(-apart / 2), abs=0.03)
    assert overlap_of(1e6 * a.double() + 3, 1e6 * b.double() + 3) == pytest.approx(overlap_of(a, b), abs=1e-3)
    assert overlap_of(a.double().exp(), b.double().exp()) == pytest.approx(overlap_of(a, b), abs=1e-9), "on any scale"
    a[0], b[0] = 1e9, -1e9
    assert overlap_of(a, b) == pytest.approx(2 * norm.cdf(-apart / 2), abs=0.03), "whatever a few far draws are"


def test_absent_terms_and_fixed_ones_are_masses_of_their_own():
    torch.manual_seed(1)
    x = torch.randn(6000) + 5
    a, b = torch.where(torch.rand(6000) < 0.4, 0.0, x), torch.where(torch.rand(6000) < 0.7, 0.0, x.flip(0))
    assert overlap_of(a, b) == pytest.approx(0.4 + 0.3, abs=0.03)
    assert overlap_of(torch.zeros(10), torch.zeros(20)) == 1.0
    assert overlap_of(torch.full((100,), 2.0), torch.full((200,), 2.0)) == 1.0
    assert overlap_of(torch.full((100,), 2.0), torch.full((200,), 2.1)) == pytest.approx(0.0, abs=0.01)
    assert overlap_of(torch.full((200,), 2.0), torch.randn(200)) < 0.1


def test_posteriors_are_compared_in_the_coefficients_they_share():
    one, other = posterior_at([0.0, 1.0]), posterior_at([1.0, 0.0, 4.0], names=("b", "a", "c"))
    far = posterior_at([0.0, 4.0])
    found = sr.compare_posteriors({"one": one, "other": other, "far": far})
    assert found.names == ("a", "b")
    pairs = found.overlaps()
    assert pairs.loc[("one", "other")].tolist() == pytest.approx([0.5, 1.0, 1.0], abs=0.06)
    assert pairs.loc[("one", "far"), "b"] < 0.01
    assert pairs.loc[("one", "far"), "c2st"] > 0.99
    table = found.table()
    assert table.loc["b", "far: median"] == pytest.approx(4.0, abs=0.05)
    assert table.loc["a", "least overlap"] > 0.9
    grid = found.figure()
    assert [ax.get_title() for ax in grid.ravel()[:2]] == ["a", "b"]
    assert len(grid[0, 0].lines) == 3
    assert "one | far" in found._repr_html_()
    again = sr.compare_posteriors([one, far], num_samples=500)
    assert again.labels == ("1", "2")
    assert len(again.draws[0]) == 500


def test_equal_posteriors_cannot_be_told_apart():
    one, same = posterior_at([0.0, 1.0]), posterior_at([0.0, 1.0])
    for found in (
        sr.compare_posteriors([one, same], num_samples=500),
        sr.compare_posteriors([one.with_draws(one.draws), same.with_draws(one.draws)]),
    ):
        assert found.c2st[0] == pytest.approx(0.5, abs=0.05)
        assert found.overlap.min() > 0.9


def test_natural_units_of_the_first_are_used():
    one, other = posterior_at([0.0, 1.0]), posterior_at([0.0, 2.0], sd=0.6)
    one.raw_per_unit, other.raw_per_unit = torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])
    found = sr.compare_posteriors({"one": one, "other": other})
    assert found.table().loc["b", "other: median"] == pytest.approx(1.0, abs=0.05)
    assert found.overlap.min() > 0.9


def test_what_cannot_be_compared_is_refused_in_words():
    one = posterior_at([0.0, 1.0])
    with pytest.raises(ValueError, match="posteriors must be at least two, got 1"):
        sr.compare_posteriors([one])
    with pytest.raises(ValueError, match="at least 100 draws each to be compared, got 50"):
        sr.compare_posteriors([one, one.with_draws(one.draws[:50])])
    with pytest.raises(ValueError, match="a coefficient in common"):
        sr.compare_posteriors([one, posterior_at([0.0, 1.0], names=("c", "d"))])
    with pytest.raises(ValueError, match="posteriors must be a mapping from text to a Posterior"):
        sr.compare_posteriors({"one": one, "other": one.draws})


def test_figures_for_journals_are_as_wide_as_their_columns(tmp_path):
    one = posterior_at([0.0, 1.0])
    for columns, width in ((1, 3.35), (2, 6.9)):
        with sr.figures.theme(paper=columns):
            figure = sr.figures.pairs(one)[0, 0].figure
            figure.savefig(tmp_path / "pairs.svg")
        assert figure.get_size_inches()[0] <= width
        assert ">r = " in (tmp_path / "pairs.svg").read_text(), "text stays text"
    assert sr.figures.pairs(one)[0, 0].figure.get_size_inches()[0] > 3.35
    with pytest.raises(ValueError, match="paper must be a whole number of at most 2"), sr.figures.theme(paper=3):
        pass
    with pytest.raises(ValueError, match="dark=True is for screens"), sr.figures.theme(dark=True, paper=1):
        pass
