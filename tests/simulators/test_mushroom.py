"""The mushroom body against updates by hand, its likelihood against integrals and densities of SciPy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from recordings import conditioning, learned, mushroom
from scipy import integrate, stats
from torch.distributions import Uniform

import sbirules as sr
from sbirules.model.observing import NegativeBinomial, Poisson
from sbirules.priors import IndependentPrior, completed, uniform
from sbirules.simulators import MushroomBody


def by_hand(theta, odour, shock, delay=0.0):
    """Responses of one animal, weights written out: A alone, B alone, both."""
    w, out = np.zeros(3), []
    for o, r in zip(odour, shock, strict=True):
        size = np.array([1 - theta["overlap"], 1 - theta["overlap"], theta["overlap"]])
        x = np.array([o == 0, o == 1, True], dtype=float)
        drive = math.exp(theta["drive_B"]) if o == 1 else 1.0
        out.append(drive * (size * x * (1 + w)).sum())
        e = x * math.exp(-delay / theta.get("trace_time", math.inf))
        r = r * theta.get("dopamine_gain", 1.0)
        w = np.maximum(w + theta["x_r"] * e * r + theta["x"] * e + theta["w"] * w, -1.0)
    return np.array(out)


@pytest.mark.parametrize("nuisance", [("drive", "overlap"), ("drive", "overlap", "trace_time", "dopamine_gain")])
def test_responses_are_those_of_the_updates_written_out(nuisance):
    like = conditioning(animals=2)
    simulator = mushroom(nuisance=nuisance, delay=4.0).suited(like)
    torch.manual_seed(1)
    prior = completed(uniform(simulator.family, -1, 1), simulator.names, simulator.nuisances)
    for row in prior.sample((6,)):
        theta = dict(zip(simulator.names, row.tolist(), strict=True))
        found = simulator.responses(row[None, None].expand(1, 2, -1).double(), like)[0, 0]
        expected = by_hand(theta, like.events["odour"][0].tolist(), like.events["shock"][0].tolist(), 4.0)
        assert np.allclose(found, expected, atol=1e-6)


def test_animals_that_were_given_the_same_are_computed_once_and_alike():
    like = conditioning(animals=4)
    shock = like.events["shock"].clone()
    shock[2] = 0.0
    like = dataclasses.replace(like, events={**like.events, "shock": shock})
    simulator = mushroom().suited(like)
    rows = torch.rand(3, len(simulator.names)).double()
    shared = simulator.responses(rows[:, None].expand(-1, 4, -1), like)
    own = simulator.responses(rows[:, None].repeat(1, 4, 1), like)
    assert torch.allclose(shared, own)
    assert not torch.allclose(shared[:, 2], shared[:, 0])


def test_the_gain_is_integrated_out():
    """Against SciPy's quadrature over the gain, animal by animal, by the loop and by torch."""
    r, simulator, row = learned({"x_r": -0.4, "w": -0.1})
    likelihood = simulator.likelihood(r)
    theta = dict(zip(simulator.names, row.tolist(), strict=True))
    y = simulator.responses(row[None, None].expand(1, len(r), -1).double(), r)[0].numpy() + theta["offset"]
    expected = []
    for a in range(len(r)):
        value = r.values[a, :, 0].numpy()

        def density(z, a=a, value=value):
            mean = simulator.scale * math.exp(z) * y[a]
            sd = np.hypot(theta["noise"] * simulator.scale, theta["noise_growth"] * mean)
            return np.exp(stats.norm.logpdf(value, mean, sd).sum() + 10) * stats.norm.pdf(
                z, math.log(theta["gain"]), theta["gain_spread"]
            )

        expected.append(math.log(integrate.quad(density, -3, 3, points=[-1, -0.5, 0, 0.5, 1], limit=400)[0]) - 10)
    compiled = likelihood.log_prob(row[None])[0]
    by_torch = likelihood.log_prob(row[None].double().requires_grad_(True))[0].detach()
    assert np.allclose(compiled, expected, atol=1e-4)
    assert np.allclose(by_torch, expected, atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    r, simulator, row = learned({"x_r": -0.4, "x": 0.1, "w": -0.1})
    likelihood, row = simulator.likelihood(r), row.double()
    _, slope = likelihood.value_and_slope(row[None])
    for k in range(len(row)):
        step = torch.zeros_like(row)
        step[k] = 1e-5
        found = (likelihood.log_prob((row + step)[None]) - likelihood.log_prob((row - step)[None])) / 2e-5
        assert torch.allclose(slope[0, :, k], found[0], rtol=1e-3, atol=1e-4), simulator.names[k]


def test_missing_values_count_for_nothing():
    r, simulator, row = learned({"x_r": -0.4})
    whole = simulator.likelihood(r)
    part = torch.ones_like(r.trial_types, dtype=torch.bool)
    part[:, 5] = False
    values = r.values.clone()
    values[:, 5] = torch.nan
    without = simulator.likelihood(dataclasses.replace(r, values=values))
    assert torch.allclose(whole.log_prob(row[None], part), without.log_prob(row[None]))
    assert not torch.allclose(whole.log_prob(row[None]), without.log_prob(row[None]))


def test_noise_of_counts_is_that_of_scipy():
    value, mean = torch.tensor([0.0, 3.0, 12.0]).double(), torch.tensor([0.5, 4.0, 9.0]).double()
    assert np.allclose(Poisson().log_prob(value, mean, {}, 1.0), stats.poisson.logpmf(value, mean))
    theta = {"overdispersion": torch.tensor(0.3).double()}
    n = 1 / 0.3
    expected = stats.nbinom.logpmf(value, n, n / (n + mean))
    assert np.allclose(NegativeBinomial().log_prob(value, mean, theta, 1.0), expected)
    torch.manual_seed(0)
    drawn = NegativeBinomial().sample(torch.full((200_000,), 4.0).double(), theta, 1.0)
    assert abs(float(drawn.mean()) - 4.0) < 0.05
    assert abs(float(drawn.var()) - (4 + 0.3 * 16)) < 0.2


def test_a_posterior_is_that_of_a_grid():
    """One coefficient and its noise free, the rest fixed by narrow priors: against a grid."""
    r, simulator, _row = learned(
        {"x_r": -0.5}, mushroom(("x r",), nuisance=(), gains="shared", observation="constant_gaussian")
    )
    assert simulator.names == ("x_r", "gain", "noise")
    ends = {"x_r": (-1.0, 0.0), "gain": (0.7, 1.3), "noise": (0.05, 0.4)}
    prior = IndependentPrior({name: Uniform(*pair) for name, pair in ends.items()})
    axes = [torch.linspace(a + (b - a) / 160, b - (b - a) / 160, 80).double() for a, b in ends.values()]
    points = torch.cartesian_prod(*axes)
    value = simulator.likelihood(r).log_prob(points).sum(dim=1)
    weight = torch.softmax(value, dim=0)
    mean = (weight[:, None] * points).sum(dim=0)
    sd = (weight[:, None] * (points - mean).square()).sum(dim=0).sqrt()
    posterior = sr.fit(simulator, prior, recordings=r)
    assert torch.allclose(posterior.draws.mean(dim=0).double(), mean, atol=0.15 * float(sd.min()) + 0.1 * float(sd[0]))
    assert torch.allclose(posterior.draws.std(dim=0).double(), sd, rtol=0.1)
    evidence = float(torch.logsumexp(value, dim=0) - math.log(len(points)))
    assert abs(posterior.chains.log_evidence[0] - evidence) < 4 * posterior.chains.log_evidence[1] + 0.05


def test_without_plasticity_nothing_changes():
    r, simulator, row = learned({"x_r": -0.5})
    still = simulator.without_plasticity()
    assert not set(simulator.family.names) & set(still.names)
    rows = row[None, None, len(simulator.family.names) :].expand(1, len(r), -1).double()
    found = still.responses(rows, r)[0, 0]
    assert torch.allclose(found[::2], found[0])
    assert torch.allclose(found[1::2], found[1])


def test_a_simulator_comes_back_from_its_plain_form_and_a_posterior_from_files(tmp_path):
    r, simulator, row = learned({"x_r": -0.5}, animals=3)
    again = MushroomBody.from_config(simulator.config())
    assert again.config() == simulator.config()
    assert torch.equal(again.likelihood(r).log_prob(row[None]), simulator.likelihood(r).log_prob(row[None]))
    posterior = sr.fit(
        simulator,
        uniform(simulator.family, -1, 1),
        recordings=r,
        sampler=sr.SamplerSettings(num_particles=128, num_runs=2, num_moves=4, max_doublings=0),
    )
    _ = posterior.draws
    posterior.save(tmp_path / "p")
    loaded = sr.Posterior.load(tmp_path / "p")
    assert torch.allclose(loaded.log_likelihood(row[None]), posterior.log_likelihood(row[None]))
    assert loaded.question.table.digest() == r.digest()


def test_the_same_seed_makes_the_same_recordings():
    _, simulator, row = learned({"x_r": -0.5})
    one, two, other = (simulator.recorded(row, seed=s) for s in (1, 1, 2))
    assert one.digest() == two.digest() != other.digest()
    run = simulator.run(row.expand(7, -1), seed=1)
    assert tuple(run.per_unit["responses"].shape) == (7, 12, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mushroom(("c x r",)), "animals of recordings make none"),
        (lambda: mushroom(nuisance=("trace_time",)), "needs the delay from odour to reinforcement"),
        (lambda: mushroom(nuisance=("lapse",)), "nuisance"),
        (lambda: mushroom(observation="gauss"), "observation"),
        (lambda: MushroomBody(sr.TaylorRule(["x r"])).suited(conditioning()), "have no event 'dopamine'"),
        (lambda: MushroomBody(sr.PolynomialRule(degree=2)), "must be a TaylorRule"),
        (lambda: mushroom(observation="poisson").suited(conditioning()), "is of counts"),
        (
            lambda: mushroom(observation="poisson").suited(
                dataclasses.replace(conditioning(unit="Hz"), values=torch.ones(5, 12, 1).double())
            ),
            "unit of the recordings is 'Hz'",
        ),
        (lambda: mushroom().run(torch.zeros(1, 10)), "not known what animals are given"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_what_cannot_be_told_apart_is_said():
    like = conditioning()
    told = " ".join(mushroom(nuisance=("trace_time", "dopamine_gain"), delay=4.0).suited(like).cautions(like))
    assert "trace_time and the strength of x r are told together only" in told
    assert "dopamine_gain" in told
    assert not mushroom().suited(like).cautions(like)
    shock = like.events["shock"].clone()
    shock[1, 3] = torch.nan
    gap = dataclasses.replace(like, events={**like.events, "shock": shock})
    assert "'shock' is not known in 1 trials" in " ".join(mushroom().suited(gap).cautions(gap))
