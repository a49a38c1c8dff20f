"""Inference at its edges: what used to go wrong without a word, and what has to be refused in words."""

import math

import pandas as pd
import pytest
import torch
from cheap import PRIOR, Cheap, Line
from scipy.stats import kstest
from torch.distributions import Cauchy

import sbirules as sr
from sbirules import EnsembleSettings, Posterior, SamplerSettings, fit
from sbirules.inference.estimators.likelihood import LikelihoodSettings
from sbirules.model.summaries import learning_curve
from sbirules.neural_nets.summary_transform import SummaryTransform
from sbirules.priors import from_pyro, horseshoe, normal, spike_and_slab, two_sided, uniform
from sbirules.simulators import LinearGaussian

FAMILY = sr.PolynomialRule(degree=2, terms=["theta_11", "theta_20"])
QUICK = SamplerSettings(num_runs=2, num_particles=512, max_doublings=0)
OPTIONS = {"num_workers": 1, "progress": False}
BINS = [learning_curve(5)]
SMALL = EnsembleSettings(members=2)
POSITIVE = uniform(Line(), 0.2, 1.0)


class Bell(torch.nn.Module):
    """A Gaussian log-likelihood around 0.5."""

    kind = "test"

    def forward(self, theta):
        return -0.5 * ((theta - 0.5) / 0.2).square().sum(dim=1)


def bell(prior):
    return Posterior(prior, FAMILY.names, Bell(), settings=QUICK)


def table(theta, count, seed, trials=10):
    run = Cheap(trials).run(torch.tensor([theta]).expand(count, 2), seed=seed)
    run.status[:] = 0
    return sr.Trials(tuple(str(k) for k in range(count)), run)


@pytest.fixture(scope="module")
def linear():
    simulator = LinearGaussian(FAMILY, projections=3)
    return simulator, sr.simulate(simulator, uniform(FAMILY, -1, 1), 1500, seed=1, **OPTIONS)


@pytest.fixture(scope="module")
def of_learners():
    store = sr.simulate(Cheap(), POSITIVE, 1500, seed=1, **OPTIONS)
    return store, fit(store, POSITIVE, trials=table([0.5, 0.6], 3, 2), summaries=BINS, settings=SMALL, sampler=QUICK)


@pytest.mark.parametrize("estimator", ["likelihood", "npe"])
def test_batches_keep_to_the_part_of_the_posterior_they_are_asked_of(linear, estimator):
    simulator, store = linear
    small = {
        "likelihood": LikelihoodSettings(members=1, hidden_features=10, epochs=2, min_steps=0),
        "npe": sr.NPESettings(models=("zuko_nsf",), members=1, epochs=3, min_steps=0),
    }
    x_o = simulator(torch.zeros(2))
    whole = fit(store, uniform(FAMILY, -1, 1), x_o=x_o, estimator=estimator, settings=small[estimator], sampler=QUICK)
    part = whole.conditioned(theta_11=0.25).truncated(theta_20=(-0.2, 0.0))
    draws = part.sample_batched((200,), [x_o, x_o])
    torch.testing.assert_close(draws[..., 0], torch.full((200, 2), 0.25))
    assert draws[..., 1].min() >= -0.2
    assert draws[..., 1].max() <= 0.0


def test_an_open_region_survives_a_file(of_learners, tmp_path):
    part = of_learners[1].truncated(**{of_learners[1].names[0]: (0.3, math.inf)})
    part.save(tmp_path)
    theta = POSITIVE.sample((30,))
    assert torch.equal(Posterior.load(tmp_path).log_prob(theta), part.log_prob(theta))


def test_sessions_of_another_length_are_refused(of_learners):
    with pytest.raises(ValueError, match=r"sessions of 9 to 9 trials are given, but .* from sessions of 10 to 10"):
        of_learners[1].given(table([0.5, 0.6], 3, 2, trials=9))


@pytest.mark.parametrize(
    "prior", [spike_and_slab(FAMILY, 0.5, two_sided(0.4, 1.0)), uniform(FAMILY, -1, 1, theta_11=two_sided(0.4, 1.0))]
)
def test_npe_refuses_priors_that_a_flow_cannot_follow(prior):
    store = sr.simulate(LinearGaussian(FAMILY, projections=3), prior, 300, seed=1, **OPTIONS)
    with pytest.raises(ValueError, match="needs a prior without gaps"):
        fit(store, prior, x_o=[0.0, 0.0, 0.0], estimator="npe")


def test_time_limits_give_possible_draws_and_no_false_evidence():
    class Slow(Bell):
        def forward(self, theta):
            import time

            time.sleep(0.05)
            return torch.where(theta[:, 0] > 0.5, super().forward(theta), -math.inf)

    posterior = Posterior(
        uniform(FAMILY, -1, 1), FAMILY.names, Slow(), settings=SamplerSettings(num_runs=2, time_limit=0.01)
    )
    with pytest.warns(UserWarning, match="stopped early"):
        chains = posterior.draw(400)
    assert chains.draws[..., 0].min() > 0.5
    assert math.isnan(chains.log_evidence[0])


@pytest.mark.parametrize("prior", [horseshoe(FAMILY, 0.3), normal(FAMILY, theta_11=Cauchy(0.0, 1.0))])
def test_priors_without_moments_are_sampled_under(prior):
    draws = bell(prior).sample((2000,))
    n = 400_000
    theta = prior.sample((n,))
    weight = torch.softmax(Bell()(theta).double(), dim=0)[:, None]
    mean = (weight * theta).sum(dim=0)
    sd = (weight * (theta - mean) ** 2).sum(dim=0).sqrt()
    assert ((draws.mean(dim=0) - mean).abs() < 0.15 * sd).all()
    torch.testing.assert_close(draws.std(dim=0).double(), sd, rtol=0.12, atol=0)


def test_ranks_of_right_posteriors_with_atoms_are_uniform():
    torch.manual_seed(0)
    both = torch.randn(400, 201, 2) * (torch.rand(400, 201, 2) < 0.4)
    study = sr.Recovery(Line().names, both[:, 0], both[:, 1:], 1, torch.ones(2), bell(PRIOR))
    assert min(study.sbc_p.values()) > 0.01
    assert study.ranks.min() >= 0
    assert study.ranks.max() <= 200
    nothing = torch.randn(400, 201, 2) * (torch.rand(400, 201, 1) < 0.6)  # many a rule without any term
    study = sr.Recovery(Line().names, nothing[:, 0], nothing[:, 1:], 1, torch.ones(2), bell(PRIOR))
    assert study.tarp[1] > 0.01


def test_atoms_are_spread_without_moving_anything_past_another():
    torch.manual_seed(0)
    ok = torch.ones(4000, dtype=torch.bool)
    mixed = torch.randn(4000).clamp(min=0)
    transform = SummaryTransform.of(mixed[:, None], ok, [0])
    spread = transform.spread(mixed[:, None], 0)[:, 0]
    seen = transform(torch.tensor([[0.0], [1.0]]))[:, 0]
    above = mixed > 0
    assert spread[~above].max() < spread[above].min()
    assert (spread[above].argsort() == mixed[above].argsort()).all()
    assert len(torch.unique(spread)) > 3990
    assert seen[0] < spread[above].min() < seen[1]
    # uniform over an interval of its own
    inside = spread[~above]
    assert kstest(((inside - inside.min()) / (inside.max() - inside.min())).numpy(), "uniform").pvalue > 0.001
    counts = torch.randint(0, 5, (4000,)).float()
    both = torch.stack([counts, counts], dim=1)
    discrete = SummaryTransform.of(both, ok, [0, 1])
    first, second = (discrete.spread(both, 0) - both).T
    assert torch.equal(discrete(both), both)  # what is observed takes the middle of its interval
    assert first.abs().max() <= 0.5
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.1


def test_a_summary_of_ones_own_is_used_again_and_not_mistaken_for_the_catalogues(of_learners, tmp_path):
    @sr.summary("final_error", fields=["error"])
    def mine(trajectory):
        return 100 * trajectory.error.nanmean(dim=1)

    learners = table([0.5, 0.6], 3, 2)
    posterior = fit(of_learners[0], POSITIVE, trials=learners, summaries=[mine], settings=SMALL, sampler=QUICK)
    again = posterior.given(learners)
    assert torch.equal(again.potential_net.x, posterior.potential_net.x)
    posterior.save(tmp_path)
    with pytest.raises(ValueError, match="is not one of the catalogue"):
        Posterior.load(tmp_path).given(learners)


@pytest.mark.slow
def test_filters_with_few_networks_or_an_undefined_bystander_go_on():
    simulator = Cheap()
    simulator.summaries = (learning_curve(5),)
    names = simulator.summary_names
    asked = {names[4]: (1.75, None), names[3]: (1.45, None)}
    found = sr.filter_rules(simulator, PRIOR, asked, budget=1200, num_simulations=600, **OPTIONS)
    assert len(found.rounds) == 2

    @sr.summary("never", fields=["error"])
    def never(trajectory):
        return torch.full((len(trajectory),), math.nan)

    shares = []
    for more in ((), (never,)):
        simulator = Cheap()
        simulator.summaries = (*simulator.summaries, *more)
        found = sr.filter_rules(
            simulator, PRIOR, {"final_error": (1.2, 1.5)}, budget=1200, num_simulations=600, **OPTIONS
        )
        shares.append(found.rounds[-1].accepted)
    assert min(shares) > 3 * found.rounds[0].accepted


def test_the_maximum_of_a_null_result_is_no_term():
    class Nothing(Bell):
        def forward(self, theta):
            return -200.0 * theta.square().sum(dim=1)

    prior = spike_and_slab(FAMILY, 0.3, two_sided(0.4, 1.0))
    posterior = Posterior(prior, FAMILY.names, Nothing(), settings=QUICK)
    assert posterior.map().tolist() == [0.0, 0.0]


def test_a_pyro_prior_takes_part_in_the_maximum_and_moving_bounds_are_refused():
    import pyro
    from pyro.distributions import Normal, Uniform

    def model():
        for name in FAMILY.names:
            pyro.sample(name, Normal(0.0, 0.2))

    assert bell(from_pyro(model, FAMILY)).map().tolist() == pytest.approx([0.25, 0.25], abs=1e-3)

    def moving():
        a = pyro.sample("theta_11", Uniform(0.0, 1.0))
        pyro.sample("theta_20", Uniform(-1.0, a))

    with pytest.raises(ValueError, match="bounds of site 'theta_20' depend"):
        from_pyro(moving, FAMILY)


def test_what_cannot_be_is_refused_in_words(linear, of_learners):
    simulator, store = linear
    box = uniform(FAMILY, -1, 1)
    small = LikelihoodSettings(members=1, hidden_features=10, epochs=2, min_steps=0)
    posterior = fit(store, box, x_o=[0.0, 0.0, 0.0], settings=small, sampler=QUICK)
    series = pd.Series([0.0, 0.1, 0.2], index=simulator.summary_names)
    assert posterior.given(series).question.x_o.tolist() == pytest.approx([0.0, 0.1, 0.2])
    with pytest.warns(UserWarning, match="observation 1: x_o must hold numbers, got None"):
        draws = posterior.sample_batched((50,), [series, None])
    assert torch.isnan(draws[:, 1]).all()
    assert torch.isfinite(draws[:, 0]).all()
    elsewhere = sr.SimulationStore.from_arrays(store.theta, store.x, names=FAMILY.names)
    hollow = store.x.clone()
    hollow[:, 1] = math.nan
    lacking = sr.SimulationStore.from_arrays(store.theta, hollow, names=FAMILY.names)
    for call, words in [
        (lambda: fit(elsewhere, box, trials=table([0.5, 0.6], 2, 1)), "this store keeps no trials"),
        (lambda: fit(lacking, box, x_o=[0.0, 0.0, 0.0]), "0 of 1500 simulated networks have all"),
        (lambda: posterior.sample_batched((9,), ["abc"]), "none of 1 observations can be used: x_o must hold numbers"),
    ]:
        with (
            pytest.warns() if "none of" in words else pytest.MonkeyPatch.context(),
            pytest.raises(ValueError, match=words),
        ):
            call()


def test_plain_mistakes_get_a_sentence(linear, of_learners, tmp_path):
    _, store = linear
    posterior = of_learners[1]
    wide = uniform(FAMILY, -2, 2)
    posterior.save(tmp_path / "saved")
    loaded = sr.Posterior.load(tmp_path / "saved")
    for call, words in [
        (lambda: posterior.sample(100), r"sample_shape must be a shape such as \(1000,\), got 100"),
        (lambda: posterior.sample((-1,)), "sample_shape must be a shape"),
        (
            lambda: posterior.sample_batched((9,), "learners.csv"),
            "observations must be a list",
        ),
        (
            lambda: fit(str(tmp_path), POSITIVE, x_o=[0.0]),
            "store must be a SimulationStore or a list of SimulationStore",
        ),
        (
            lambda: fit(store, wide, x_o=[0.0, 0.0, 0.0]),
            "the prior reaches beyond the simulations: 50 %|4[0-9] %|5[0-9] %",
        ),
        (lambda: sr.check(loaded, Cheap()), "the table that fit was given"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_tables_do_not_rest_on_a_peek_at_a_few_draws(of_learners):
    posterior = of_learners[1]
    posterior.sample((50,))
    assert posterior.to_inference_data(num_samples=1500)["posterior"].sizes["draw"] >= 700
    posterior.sample((50,))
    posterior.marginals()
    assert len(posterior.draws) >= 1000
    assert repr(posterior).startswith("Posterior(trials, 2 coefficients")


def test_marginals_under_absent_terms_tell_their_probability():
    posterior = bell(spike_and_slab(FAMILY, 0.3, two_sided(0.4, 1.0)))
    table = posterior.marginals()
    assert "contraction" not in table
    assert table["inclusion"].tolist() == pytest.approx(list(posterior.inclusion_probabilities().values()))
