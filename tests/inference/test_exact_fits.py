"""Posteriors of choices by their exact likelihood, against grids and the rules that made the choices."""

import math

import pytest
import torch
from torch.distributions import Normal, Uniform

import sbirules as sr
from sbirules.inference.exact import ChoicePotential
from sbirules.inference.pooling import guessed
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import IndependentPrior, completed, normal, spike_and_slab, uniform
from sbirules.samplers.chains import draw_chains
from sbirules.simulators import PolicyNetwork, RateRNN

FAST = sr.SamplerSettings(num_runs=4, num_particles=512, num_moves=8)
BANDIT = ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.2, 0.8]], block=40, num_trials=120)
FAMILY = sr.TaylorRule(["c r", "c w"], baseline="none")
PRIOR = uniform(FAMILY, 0.0, 1.5, c_w=(-0.9, 0.0))
POLICY = PolicyNetwork(FAMILY, BANDIT, nuisance=())


def animals(count=5, seed=0, theta=(0.6, -0.3)):
    return POLICY.animals(torch.tensor([theta] * count), seed=seed)


def on_a_grid(trials):
    """Points, normalised weights, and the log-evidence."""
    points = torch.cartesian_prod(
        (torch.arange(150).double() + 0.5) / 150 * 1.5, -(torch.arange(150).double() + 0.5) / 150 * 0.9
    )
    value = POLICY.suited(trials).likelihood(trials).log_prob(points).sum(dim=1)
    return points, torch.softmax(value, dim=0), float(torch.logsumexp(value, dim=0) - math.log(len(points)))


def test_the_shared_posterior_is_that_of_a_grid():
    trials = animals()
    points, weight, evidence = on_a_grid(trials)
    posterior = sr.fit(POLICY, PRIOR, trials=trials, sampler=FAST)
    draws = posterior.draw(4000, seed=0).draws.flatten(0, 1).double()
    mean = (weight[:, None] * points).sum(dim=0)
    sd = (weight[:, None] * (points - mean) ** 2).sum(dim=0).sqrt()
    assert ((draws.mean(dim=0) - mean).abs() < 0.1 * sd).all()
    assert ((draws.std(dim=0) / sd - 1).abs() < 0.08).all()
    found, error = posterior.log_evidence()
    assert abs(found - evidence) < max(4 * error, 0.05)


def test_own_rules_are_those_of_each_animal_alone():
    trials = animals(3)
    own = sr.fit(POLICY, PRIOR, trials=trials, animals="own", sampler=FAST)
    total = 0.0
    for k, name in enumerate(trials.learners):
        points, weight, evidence = on_a_grid(trials.subset([k]))
        mean = (weight[:, None] * points).sum(dim=0)
        sd = (weight[:, None] * (points - mean) ** 2).sum(dim=0).sqrt()
        one = own.animal(name)
        assert ((one.draws.double().mean(dim=0) - mean).abs() < 0.15 * sd).all()
        assert torch.allclose(one.potential(points[:3]).double(), PRIOR.log_prob(points[:3]).double() + POLICY.suited(
            trials).likelihood(trials).log_prob(points[:3])[:, k], atol=1e-3)  # fmt: skip
        total += evidence
    assert abs(own.chains.log_evidence[0] - total) < 0.3
    assert list(own.population.index) == list(own.names)


@pytest.mark.long
def test_partial_pooling_finds_a_population():
    stream = torch.Generator().manual_seed(3)
    task = ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.2, 0.8]], block=40, num_trials=400)
    policy = PolicyNetwork(FAMILY, task, nuisance=())
    prior = IndependentPrior({"c_r": Normal(0.5, 0.5), "c_w": Normal(-0.3, 0.3)})
    truth = torch.tensor([0.6, -0.3]) + torch.tensor([0.2, 0.0]) * torch.randn(12, 2, generator=stream)
    trials = policy.animals(truth, seed=1)
    found = sr.fit(policy, prior, trials=trials, animals="partial", varies=["c_r"], seed=0)
    table = found.population
    assert abs(table.loc["c_r", "mean"] - 0.6) < 3 * table.loc["c_r", "sd"]
    assert abs(table.loc["c_w", "mean"] + 0.3) < 3 * table.loc["c_w", "sd"]
    # on the prior's unconstrained scale a unit is its s.d.
    assert abs(table.loc["c_r", "spread"] * 0.5 - 0.2) < 3 * table.loc["c_r", "spread_sd"] * 0.5
    assert table.loc["c_w", "spread"] == 0
    each = found.of_animals.draws[:, :, 0].double()
    off = (each.mean(dim=0) - truth[:, 0]) / each.std(dim=0)
    assert float(off.square().mean()) < 3
    assert found.chains.r_hat < 1.05


def test_the_density_of_a_population_is_that_of_its_parts():
    """The change of variables, whose volume is found here by differences, leaves the joint density as it is."""
    trials = animals(3)
    prior = IndependentPrior({"c_r": Normal(0.5, 0.5), "c_w": Normal(-0.3, 0.3)})
    likelihood = POLICY.suited(trials).likelihood(trials)
    population = guessed(likelihood, prior, (0,), 0.7, seed=0)
    stream = torch.Generator().manual_seed(0)

    def parts(z):
        return population.parts({"log_sd": z[:1], "centre": z[1:3], "animals": z[3:].reshape(3, 1)})

    def places(z):
        u, centre, log_sd = parts(z)[:3]
        return torch.cat([centre, log_sd, u[:, 0]])

    off = []
    for _ in range(3):
        z = torch.randn(6, generator=stream, dtype=torch.float64)
        u, centre, log_sd = parts(z)[:3]
        volume = torch.autograd.functional.jacobian(places, z).slogdet()[1]
        mean, sd = torch.tensor([0.5, -0.3]).double(), torch.tensor([0.5, 0.3]).double()
        # the unconstrained scale of normal priors is in their s.d.
        joint = Normal(0.0, 1.0).log_prob(centre).sum() + Normal(centre[0], log_sd.exp()).log_prob(u[:, 0]).sum()
        joint = joint - 0.5 * (log_sd.exp() / 0.7).square().sum() + log_sd.sum()
        joint = joint + likelihood.log_prob((mean + sd * u)[None]).sum() + volume
        energy = population.energy({"log_sd": z[:1], "centre": z[1:3], "animals": z[3:].reshape(3, 1)})
        off.append(float(energy + joint))
    assert max(off) - min(off) < 1e-4  # but for a constant


@pytest.mark.slow
def test_partial_pooling_gives_a_population_and_its_animals(tmp_path):
    trials = animals(4)
    quick = sr.SamplerSettings(num_particles=160)
    found = sr.fit(POLICY, PRIOR, trials=trials, animals="partial", varies=["c_r"], sampler=quick)
    assert found.of_animals.draws.shape == (160, 4, 2)
    assert (found.of_animals.draws[:, :, 1] == found.of_animals.draws[:, :1, 1]).all()  # does not vary
    assert float(found.population.loc["c_w", "spread"]) == 0
    assert abs(float(found.population.loc["c_r", "mean"]) - 0.6) < 0.4
    found.save(tmp_path)
    again = sr.Posterior.load(tmp_path)
    assert torch.equal(again.of_animals.spread, found.of_animals.spread)
    with pytest.raises(ValueError, match="known by draws only"):
        found.potential(torch.tensor([[0.5, -0.2]]))


@pytest.mark.slow
def test_partial_pooling_shows_how_far_it_is(capfd):
    quick = sr.SamplerSettings(num_particles=80)
    asked = {"trials": animals(3), "animals": "partial", "sampler": quick}
    shown = sr.fit(POLICY, PRIOR, **asked, progress=True)
    said = capfd.readouterr().err
    assert "guess population: 100%" in said
    assert "4 chains of 60 steps: 100%" in said, "20 draws of each after 40 to warm up"
    assert "240/240" in said, "steps in worker processes are counted"
    quiet = sr.fit(POLICY, PRIOR, **asked)
    assert capfd.readouterr().err == ""
    assert torch.equal(shown.draws, quiet.draws), "counting changes no draw"


def test_files_bring_back_rules_of_animals(tmp_path):
    trials = animals(3)
    own = sr.fit(POLICY, PRIOR, trials=trials, animals="own", sampler=FAST)
    own.save(tmp_path)
    again = sr.Posterior.load(tmp_path)
    assert torch.equal(again.of_animals.draws, own.of_animals.draws)
    assert again.question.table.digest() == trials.digest()
    theta = torch.tensor([[0.5, -0.2]])
    assert torch.equal(again.animal("animal 2").potential(theta), own.animal("animal 2").potential(theta))


def test_a_rule_of_ones_own_comes_back_without_its_likelihood(tmp_path):
    class Hebb(sr.PolicyRule):
        coefficients = (sr.Coefficient("eta", "c_i r"),)

        def update(self, theta, *, x, c, d, y, w, r, rd):
            return theta["eta"] * c * x * r

    policy = PolicyNetwork(Hebb(), BANDIT, nuisance=())
    trials = animals(2).subset([0])
    posterior = sr.fit(
        policy, uniform(Hebb(), 0, 1), trials=trials, sampler=sr.SamplerSettings(num_particles=80, num_moves=2)
    )
    posterior = posterior.with_draws(torch.rand(50, 1))
    posterior.save(tmp_path)
    again = sr.Posterior.load(tmp_path)
    assert torch.equal(again.draws, posterior.draws)
    with pytest.raises(ValueError, match="code of your own"):
        again.potential(torch.rand(2, 1))


def test_two_modes_and_a_flat_direction_are_found_from_the_modes():
    prior = IndependentPrior({"a": Uniform(-3.0, 3.0), "b": Normal(0.0, 1.0)})

    def two(theta):
        a = theta[:, 0].double()
        return torch.logaddexp(
            math.log(0.7) - 0.5 * ((a - 1.5) / 0.05) ** 2, math.log(0.3) - 0.5 * ((a + 1.5) / 0.1) ** 2
        )

    chains = draw_chains(two, prior, 4000, FAST, seed=0, from_modes=True)
    a = chains.draws.flatten(0, 1)[:, 0]
    exact = math.log((0.7 * 0.05 + 0.3 * 0.1) * math.sqrt(2 * math.pi) / 6)
    assert abs(chains.log_evidence[0] - exact) < max(4 * chains.log_evidence[1], 0.03)
    assert abs(float((a < 0).double().mean()) - 0.03 / 0.065) < 0.06
    assert abs(float(chains.draws.flatten(0, 1)[:, 1].std()) - 1) < 0.06


def test_nuisances_get_their_usual_priors():
    suited = PolicyNetwork(FAMILY).suited(animals(2))
    whole = completed(PRIOR, suited.names, suited.nuisances)
    assert whole.names == suited.names == ("c_r", "c_w", "w0_constant", "lapse")
    assert float(whole.components["lapse"].high) == pytest.approx(0.3)
    given = normal(FAMILY, 0, 1)
    mine = IndependentPrior({**given.components, "w0_constant": Normal(0.0, 0.1), "lapse": Uniform(0.0, 0.1)})
    assert completed(mine, suited.names, suited.nuisances) is mine
    sparse = completed(spike_and_slab(FAMILY), suited.names, suited.nuisances)
    assert sparse.optional.tolist() == [True, True, False, False]


@pytest.mark.slow
def test_spike_and_slab_finds_which_terms_there_are():
    family = sr.TaylorRule(["c r", "c w", "d r"], baseline="none")
    trials = animals(8)
    prior = spike_and_slab(family, 0.5, slab=(-1.0, 1.0))
    posterior = sr.fit(PolicyNetwork(family, nuisance=()), prior, trials=trials, sampler=FAST)
    chance = posterior.inclusion_probabilities()
    assert chance["c_r"] > 0.9
    assert chance["d_r"] < 0.5


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"constraints": {"learned": (1, 1)}}, "exactly one"),
        ({"animals": "some"}, "animals: 'some' is not known"),
        ({"estimator": "ratio"}, "estimator belongs to fits from simulations"),
        ({"animals": "partial", "varies": ["q"]}, "varies: 'q' is not known"),
        ({"animals": "partial", "varies": []}, "varies must name at least one"),
        ({"animals": "partial", "spread": 0.0}, "spread must be a number greater than 0"),
    ],
)
def test_what_is_asked_wrongly_is_said(more, match):
    with pytest.raises(ValueError, match=match):
        sr.fit(POLICY, PRIOR, trials=animals(3), **more)


def test_partial_pooling_needs_animals_and_present_terms():
    with pytest.raises(ValueError, match="at least three animals"):
        sr.fit(POLICY, PRIOR, trials=animals(2), animals="partial")
    with pytest.raises(ValueError, match="all terms are present"):
        sr.fit(POLICY, spike_and_slab(FAMILY), trials=animals(3), animals="partial")


def test_a_network_that_predicts_no_choices_is_refused():
    network = RateRNN(sr.PolynomialRule(degree=1), sr.tasks.DelayedDiscrimination(), num_units=12)
    with pytest.raises(ValueError, match="simulate first"):
        sr.fit(network, uniform(network.family), trials=animals(2))


def test_the_potential_and_its_gradient_are_the_likelihood():
    trials = animals(3)
    net = ChoicePotential(POLICY.suited(trials), trials)
    theta = torch.tensor([[0.5, -0.2], [0.9, -0.4]], requires_grad=True)
    value = net.log_likelihood(theta)
    assert torch.allclose(value, POLICY.log_likelihood(theta, trials))
    (slope,) = torch.autograd.grad(value.sum(), theta)
    step = 1e-4
    for k in range(2):
        move = torch.zeros(2, dtype=torch.float64)
        move[k] = step
        up, down = (net.log_likelihood(theta.detach().double() + sign * move) for sign in (1, -1))
        assert torch.allclose(slope[:, k].double(), (up - down) / (2 * step), rtol=1e-4)
