"""What a table tells of coefficients: the information matrix against one by autograd, and terms that are equal on it."""

import torch

import sbirules as sr
from sbirules.inference.questions.choice_information import information_of
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import uniform
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import PolicyNetwork

TASK = ChoiceTask(reward="bandit", probabilities=[0.7, 0.3], num_trials=80)
TRUE = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), TASK, nuisance=())
TRIALS = TRUE.animals(torch.tensor([[0.3, -0.1]] * 4), seed=0)
FEW = SamplerSettings(num_runs=2, num_particles=128, num_moves=4, max_doublings=0)


def test_information_is_the_second_derivative_in_units_of_the_prior():
    family = sr.TaylorRule(["c rd", "w"])
    posterior = sr.fit(
        PolicyNetwork(family, nuisance=()), uniform(family, -1, 1, w=(-0.4, 0.0)), trials=TRIALS, sampler=FEW
    )
    posterior = posterior.with_draws(posterior.draw(400, seed=0))
    by_torch = PolicyNetwork(family, nuisance=(), engine="torch").suited(TRIALS).likelihood(TRIALS)
    mean = posterior.spread_out(200).double().mean(dim=0)
    hessian = torch.autograd.functional.hessian(lambda theta: by_torch.log_prob(theta[None]).sum(), mean)
    unit = torch.tensor([2.0, 0.4], dtype=torch.float64) / 12**0.5
    values = torch.linalg.eigvalsh(-hessian * unit * unit[:, None])
    found = information_of(by_torch, posterior, family.names)
    assert found.rank == int((values > 1).sum()) == 2
    assert abs(found.condition / float(values[-1] / values[0]) - 1) < 0.1  # the unit comes from draws of the prior


def test_terms_that_are_equal_on_a_table_are_named_and_leave_a_direction_untold():
    family = sr.TaylorRule(["c rd", "c x rd", "w"])
    posterior = sr.fit(
        PolicyNetwork(family, nuisance=()), uniform(family, -1, 1, w=(-0.4, 0.0)), trials=TRIALS, sampler=FEW
    )
    (caution,) = [c for c in posterior.record.cautions if "do the same" in c]
    assert "c_rd" in caution
    assert "c_x_rd" in caution
    posterior = posterior.with_draws(posterior.draw(400, seed=0))
    found = sr.check(posterior, posterior.potential_net.simulator, rules=8, progress=False).resimulation
    assert found.information.rank == 2
    assert set(found.information.least) == {"c_rd", "c_x_rd"}
    assert "2 of 3 directions" in found.findings[0]


def test_powers_of_what_is_zero_or_one_are_equal_and_others_are_not():
    family = sr.TaylorRule(["c r", "c r^2", "c x r", "x^2 w", "x w", "c rd"], baseline="exponential")
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    numbers = torch.tensor([[0.5, 1.0], [-0.5, 1.0], [0.2, 1.0]])
    reward = torch.tensor([0.0, 1.0, torch.nan])
    assert family.alike(labels, reward) == [("c_r", "c_r2"), ("x2_w", "x_w")]
    assert family.alike(numbers, reward) == [("c_r", "c_r2")]
    assert family.alike(numbers, torch.tensor([0.5, 1.0, 0.0])) == []
    assert sr.TaylorRule(["c r", "c rd"], baseline="none").alike(numbers, torch.rand(3)) == [("c_r", "c_rd")]
