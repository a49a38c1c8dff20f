"""Posteriors given one network's summaries, held against a closed form; and the closed form against brute force."""

import subprocess
import sys

import pytest
import torch

import sbirules as sr
from sbirules import NPESettings, Posterior, SimulationStore, fit, simulate
from sbirules.inference.estimators.likelihood import LikelihoodSettings
from sbirules.inference.potentials import Observed
from sbirules.neural_nets.trends import GaussianResidual, Trend
from sbirules.priors import normal, uniform
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import LinearGaussian, RateRNN

FAMILY = sr.PolynomialRule(degree=2, terms=["theta_11", "theta_20", "theta_02"])
SIMULATOR = LinearGaussian(FAMILY, projections=5)
BOX, BELL = uniform(FAMILY, -1, 1), normal(FAMILY, 0.1, 0.6)
QUICK = {
    "likelihood": LikelihoodSettings(members=2, hidden_features=20, epochs=15),
    "npe": NPESettings(members=3, hidden_features=30),
}


def brute_force(x_o, prior, n=400_000):
    """Mean and s.d. by weighting draws of the prior with the likelihood, written out."""
    theta = prior.sample((n,)).double()
    distance = ((torch.as_tensor(x_o).double() - theta @ SIMULATOR.design.T) ** 2).sum(dim=1)
    weight = torch.softmax(-0.5 * distance / SIMULATOR.noise**2, dim=0)[:, None]
    mean = (weight * theta).sum(dim=0)
    return mean, ((weight * (theta - mean) ** 2).sum(dim=0)).sqrt()


def test_the_weight_change_is_linear_and_the_projections_see_it_as_the_design_says():
    simulator = LinearGaussian()
    theta = 2 * torch.rand(6, 9) - 1
    change = simulator.weight_change(theta).reshape(6, -1)
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(change @ simulator.matrix.T, theta.double() @ simulator.design.T, rtol=0, atol=1e-8)
    values = torch.linalg.svdvals(simulator.design)
    assert values.max() / values.min() == pytest.approx(4.0, rel=1e-6)


def test_noise_is_as_stated():
    x = SIMULATOR.run(torch.zeros(20_000, 3), seed=3)
    projections = torch.stack([x.activity[name] for name in SIMULATOR.layout.named("run")], dim=1)
    assert projections.mean(dim=0).abs().max() < 4 * SIMULATOR.noise / 140
    torch.testing.assert_close(projections.std(dim=0), torch.full((5,), SIMULATOR.noise), rtol=0.03, atol=0)


@pytest.mark.parametrize("prior", [BOX, BELL])
def test_the_closed_form_agrees_with_brute_force(prior):
    torch.manual_seed(4)
    x_o = SIMULATOR(torch.tensor([0.8, -0.4, 0.2]))
    exact = SIMULATOR.posterior(x_o, prior).sample((100_000,))
    mean, sd = brute_force(x_o, prior)
    assert (exact.mean(dim=0) - mean).abs().max() < 0.02 * 0.6
    torch.testing.assert_close(exact.std(dim=0), sd, rtol=0.03, atol=0)
    if prior is BOX:
        assert exact.abs().max() <= 1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return simulate(
        SIMULATOR, BOX, 3000, store=tmp_path_factory.mktemp("lg") / "s", progress=False, num_workers=1, seed=1
    )


@pytest.fixture(scope="module", params=["likelihood", "npe"])
def posterior(request, store):
    x_o = {f"projections[{k + 1}]": float(v) for k, v in enumerate(SIMULATOR(torch.zeros(3)))}
    sampler = SamplerSettings(num_runs=2, num_particles=512, max_doublings=0)
    return fit(store, BOX, x_o=x_o, estimator=request.param, settings=QUICK[request.param], sampler=sampler)


def test_learned_posteriors_are_near_the_closed_form_for_any_observation(posterior):
    torch.manual_seed(5)
    for theta in ([0.1, -0.3, 0.5], [0.9, 0.0, -0.8]):
        x_o = SIMULATOR(torch.tensor(theta))
        draws = posterior.given(x_o).sample((4000,)).double()
        exact = SIMULATOR.posterior(x_o, BOX).sample((20_000,))
        assert draws.abs().max() <= 1
        assert ((draws.mean(dim=0) - exact.mean(dim=0)).abs() / exact.std(dim=0)).max() < 0.4
        ratio = draws.std(dim=0) / exact.std(dim=0)
        assert ratio.min() > 0.8
        assert ratio.max() < 1.25


def test_npes_density_is_normalised_and_is_that_of_its_draws(posterior):
    if posterior.record.estimator != "npe":
        pytest.skip("only NPE gives a normalised density")
    theta = BOX.sample((200_000,))
    volume = 2.0**3
    mass = posterior.log_prob(theta).double().exp().mean() * volume
    assert mass.item() == pytest.approx(1.0, abs=0.05)
    grid = posterior.log_prob(theta).double().exp()[:, None]
    mean = (grid * theta).sum(dim=0) / grid.sum()
    assert (posterior.sample((20_000,)).mean(dim=0) - mean).abs().max() < 0.03
    assert torch.isinf(posterior.log_prob(torch.tensor([[1.5, 0.0, 0.0]]))).all()


LOAD = """
import sys, torch
from sbirules import Posterior
posterior = Posterior.load(sys.argv[1])
print(",".join(f"{v:.9g}" for v in posterior.log_prob(torch.linspace(-0.5, 0.5, 12).reshape(4, 3))))
"""


def test_a_saved_posterior_gives_the_same_density_in_a_new_process(posterior, tmp_path):
    posterior.save(tmp_path)
    out = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=True)
    here = posterior.log_prob(torch.linspace(-0.5, 0.5, 12).reshape(4, 3))
    there = torch.tensor([float(v) for v in out.stdout.strip().split(",")])
    torch.testing.assert_close(there, here, rtol=1e-6, atol=1e-6)
    again = Posterior.load(tmp_path).given(torch.zeros(5))
    torch.testing.assert_close(
        again.log_prob(torch.zeros(1, 3)), posterior.given(torch.zeros(5)).log_prob(torch.zeros(1, 3))
    )


def test_simulations_made_elsewhere_are_fitted(store):
    elsewhere = SimulationStore.from_arrays(store.theta, store.x, names=FAMILY.names)
    posterior = fit(
        elsewhere, BOX, x_o=store.x[0], estimator="npe", settings=NPESettings(members=1, epochs=2, min_steps=0)
    )
    assert posterior.sample((10,)).shape == (10, 3)
    assert posterior.raw_per_unit is None


def test_a_summary_that_can_only_be_0_or_1_has_a_likelihood(tmp_path):
    family = sr.PolynomialRule(degree=1)
    simulator = RateRNN(
        family, sr.tasks.DelayedDiscrimination(), num_units=16, num_trials=30, summaries=["learned", "final_error"]
    )
    store = simulate(simulator, uniform(family, -1, 1), 600, progress=False, num_workers=1)
    posterior = fit(store, uniform(family, -1, 1), x_o={"learned": 0.0}, settings=QUICK["likelihood"])
    assert torch.isfinite(posterior.log_prob(torch.zeros(1, 4))).all()
    assert posterior.question.names == ("learned",)


def test_a_trend_takes_out_what_is_quadratic_and_leaves_the_noise():
    torch.manual_seed(6)
    z = torch.randn(800, 4)
    x = torch.stack([z[:, 0] ** 2 - z[:, 1] * z[:, 2], 3 * z[:, 3]], dim=1) + torch.tensor([0.3, 1.0]) * torch.randn(
        800, 2
    )
    trend, residuals = Trend.fit(z, x)
    torch.testing.assert_close(residuals.std(dim=0) * trend.scale, torch.tensor([0.3, 1.0]), rtol=0.1, atol=0)
    new = torch.randn(5000, 4)
    truth = torch.stack([new[:, 0] ** 2 - new[:, 1] * new[:, 2], 3 * new[:, 3]], dim=1)
    assert ((trend(new) * trend.scale + trend.mean - truth).std(dim=0) < torch.tensor([0.15, 0.35])).all()
    gaussian = GaussianResidual(residuals)
    exact = torch.distributions.MultivariateNormal(residuals.mean(dim=0), torch.cov(residuals.T))
    torch.testing.assert_close(gaussian.log_prob(residuals[None])[0], exact.log_prob(residuals), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(x_o={"projection": 1.0}), "x_o"),
        (dict(x_o=[1.0, 2.0]), "one observation of 5 summaries"),
        (dict(x_o=torch.zeros(2, 5)), "Several learners go into trials"),
        (dict(x_o=[0.0, 0.0, float("nan"), 0.0, 0.0]), r"finite, got projections\[3\]"),
        (dict(x_o=[0.0] * 5, estimator="nle"), "estimator"),
        (dict(x_o=[0.0] * 5, settings=NPESettings()), "LikelihoodSettings"),
        (dict(x_o=[0.0] * 5, constraints={"a": (0, 1)}), "exactly one of"),
        (dict(x_o=[0.0] * 5, all_of_networks=3), "belongs to constraints"),
        (dict(x_o=[0.0] * 5, summaries=["a"]), "belongs to trials"),
        (dict(), "exactly one of"),
    ],
)
def test_observations_that_do_not_fit_are_refused_in_words(store, change, words):
    with pytest.raises(ValueError, match=words):
        fit(store, BOX, **change)


def test_only_posteriors_of_one_observation_take_another(store):
    function = Posterior(BELL, FAMILY.names, lambda theta: -theta.square().sum(dim=1))
    with pytest.raises(ValueError, match="cannot be asked about other observations"):
        function.given(torch.zeros(5))
    asked = fit(store, BOX, constraints={"projections[1]": (0, 9)})
    with pytest.raises(ValueError, match="x_o="):
        asked.given(torch.zeros(5))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LinearGaussian(FAMILY, projections=2), "at least the number of coefficients, 3"),
        (lambda: LinearGaussian(noise=0.0), "noise"),
        (lambda: LinearGaussian(sr.PolynomialRule(infer=["tau_e"])), "linear in all"),
        (lambda: SIMULATOR.posterior([0.0], BOX), "5 projections"),
        (lambda: SIMULATOR.posterior([0.0] * 5, torch.distributions.Normal(0.0, 1.0)), "independent normal"),
        (lambda: NPESettings(models=["nsf"]), "models"),
    ],
)
def test_references_that_cannot_be_are_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_many_observations_at_once_are_each_by_itself():
    store = simulate(SIMULATOR, BOX, 500, seed=2, num_workers=1, progress=False)
    settings = LikelihoodSettings(members=2, hidden_features=10, epochs=5, min_steps=0)
    posterior = fit(store, BOX, x_o=store.x[0], settings=settings)
    potentials = [posterior.given(x).potential_net for x in store.x[:7]]
    pairs = Observed(store.x[7:10], torch.zeros(3, dtype=torch.long))
    potentials.append(posterior.potential_net.given(pairs))
    theta, which = BOX.sample((4, 6)), torch.tensor([2, 7, 0, 5])
    alone = torch.stack([potentials[k].log_likelihood(rows) for k, rows in zip(which, theta, strict=True)])
    torch.testing.assert_close(potentials[0].together(potentials)(theta, which), alone, rtol=1e-4, atol=1e-4)
