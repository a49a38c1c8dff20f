"""Degeneracy of simulators where it is known, and dependence of draws whose mutual information is in closed form."""

import math

import pytest
import torch

import sbirules as sr
from sbirules.importance import degeneracy, dependence
from sbirules.model.fields import Field
from sbirules.model.runs import Trajectory


class Seen(sr.Simulator):
    """Two coefficients, of which summaries see what `mix` leaves of them, with noise between networks."""

    own_fields = (Field("a", per="run"), Field("b", per="run"))

    def __init__(self, mix, noise=0.1):
        self.mix, self.noise = torch.tensor(mix), noise
        both = [sr.summary(name, [name])(lambda t, n=name: t.per_run[n]) for name in ("a", "b")]
        super().__init__(sr.PolynomialRule(degree=1, terms=["theta_10", "theta_01"]), None, both)

    def config(self):
        return {"simulator": "seen", "mix": self.mix.tolist(), "noise": self.noise}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        from sbirules.support.streams import generator

        y = theta.float() @ self.mix.T
        y = y + self.noise * torch.randn(y.shape, generator=generator(0 if seed is None else seed, 1))
        types = self.sequence_matrix(trial_types, len(theta))
        zeros = torch.zeros(len(theta), dtype=torch.int8)
        return Trajectory(zeros, types, per_run={"a": y[:, 0], "b": y[:, 1]})


RULES = torch.rand(60, 2, generator=torch.Generator().manual_seed(1))


def test_where_summaries_see_all_of_a_rule_alike_rules_are_close():
    found = degeneracy(RULES, Seen([[1.0, 0.0], [0.0, 1.0]], 0.02), num_workers=1)
    assert found.correlation > 0.95
    assert found.spread_of_alike < 0.4
    assert found.of_rules > 0.95


def test_where_they_see_half_of_it_alike_rules_differ_in_the_other():
    found = degeneracy(RULES, Seen([[1.0, 0.0], [1.0, 0.0]], 0.02), num_workers=1)
    # what is alike has no distance in one of two coefficients: sqrt(1/2) of the mean square, somewhat more of the mean
    assert 0.5 < found.spread_of_alike < 0.9
    assert 0.2 < found.correlation < 0.9


def test_where_they_see_nothing_rules_are_fully_degenerate():
    found = degeneracy(RULES, Seen([[0.0, 0.0], [0.0, 0.0]]), networks=8, num_workers=1)
    assert abs(found.correlation) < 4 * found.se + 0.02
    assert found.spread_of_alike == pytest.approx(1.0, abs=0.15)
    assert found.of_rules < 0.05
    # networks of one rule differ, yet distances of what rules do scatter around nothing
    assert abs(float(found.activity_distance.mean())) < 0.05
    assert "60 rules" in str(found)


def gaussian(r, n=4000):
    """Two groups of two coefficients; the first of each correlated by r."""
    draw = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    draw[:, 2] = r * draw[:, 0] + math.sqrt(1 - r**2) * draw[:, 2]
    return draw


NAMES = ("a_EE", "b_EE", "a_IE", "b_IE")


def test_information_of_gaussian_groups_is_that_of_the_formula():
    found = dependence(gaussian(0.6), names=NAMES)
    assert float(found.information[0, 1]) == pytest.approx(-0.5 * math.log(1 - 0.36), abs=0.03)
    assert float(found.p_value[0, 1]) < 0.01
    assert float(found.implied[1, 0]) == pytest.approx(0.18, abs=0.03)  # .36 of one of two coefficients
    assert float(found.conditional[0, 2]) == pytest.approx(0.6, abs=0.03)
    best = found.strongest(1).iloc[0]
    assert (best["first"], best["second"]) == ("a_EE", "a_IE")
    # scales do not matter
    same = dependence(gaussian(0.6).exp(), names=NAMES)
    assert torch.allclose(same.information, found.information, atol=1e-6)


def test_independent_groups_say_nothing_of_each_other():
    found = dependence(gaussian(0.0), names=NAMES)
    assert float(found.information[0, 1]) < 0.005
    assert float(found.p_value[0, 1]) > 0.01
    assert found.table().shape == (1, 4)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ValueError, match="groups must be at least two"):
        dependence(gaussian(0.0), names=("a_EE", "b_EE", "c_EE", "d_EE"))
    with pytest.raises(ValueError, match="at least ten draws"):
        dependence(gaussian(0.0)[:20], names=NAMES)
    with pytest.raises(ValueError, match="networks must be even"):
        degeneracy(RULES, Seen([[1.0, 0.0], [0.0, 1.0]]), networks=3)


def test_what_does_not_vary_is_refused():
    still = gaussian(0.0)
    still[:, 2] = 2.0
    with pytest.raises(ValueError, match="a_IE is 2 in all"):
        dependence(still, names=NAMES)
    with pytest.raises(ValueError, match="rules must differ"):
        degeneracy(RULES[:1].expand(10, 2), Seen([[1.0, 0.0], [0.0, 1.0]]), num_workers=1)
    with pytest.raises(ValueError, match="summaries of the simulator must differ"):
        degeneracy(RULES, Seen([[0.0, 0.0], [0.0, 0.0]], 0.0), num_workers=1)
    with pytest.raises(ValueError, match="groups must map labels"):
        dependence(gaussian(0.0), [["a_EE"], ["a_IE"]], names=NAMES)


def test_many_exact_zeros_are_no_dependence():
    """Terms that are switched off in most draws have ties, which must not rank by the order of draws."""
    draws = gaussian(0.0)
    draws[:3000, 0] = 0.0
    draws[:3000, 2] = 0.0
    mixed = draws[torch.randperm(4000, generator=torch.Generator().manual_seed(0))]
    one = draws[torch.randperm(4000, generator=torch.Generator().manual_seed(1))]
    mixed[:, 2] = one[:, 2]
    assert float(dependence(mixed, names=NAMES).information[0, 1]) < 0.005
