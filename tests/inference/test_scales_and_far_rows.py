"""The answer depends on no unit, on no offset, and on no row that is far from all others."""

import math
import warnings

import pytest
import torch
from cheap import PRIOR, Cheap
from noisy import NOISE, QUICK, SAMPLER, SMALL, Noisy, Two, box, fitted, line, moments
from torch.distributions import Normal

import sbirules as sr
from sbirules import Trials
from sbirules.importance.outcome import learn_outcome
from sbirules.inference.estimators.ratio import fit_ratio
from sbirules.neural_nets.classifiers import fit_event_probability
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.priors import IndependentPrior, log_uniform, normal, spike_and_slab, uniform

FAMILY = Two()
MEAN, SD = 0.300, 0.2  # of theta given x_o = .3: the box is wide


def right(posterior, size=1.0, mean=MEAN, sd=SD, mean_tolerance=0.06, sd_tolerance=0.06):
    found_mean, found_sd = moments(posterior, size)
    assert found_mean == pytest.approx([mean] * len(found_mean), abs=mean_tolerance)
    assert found_sd == pytest.approx([sd] * len(found_sd), abs=sd_tolerance)


@pytest.mark.parametrize("estimator", ["likelihood", "npe"])
@pytest.mark.parametrize("size", [1e-15, pytest.param(1e15, marks=pytest.mark.long)])
def test_the_scale_of_theta_changes_no_answer(size, estimator):
    theta, x = line()
    posterior = fitted(theta * size, x, [0.3], box(1, size), estimator=estimator)
    right(posterior, size)
    if estimator == "likelihood":
        assert float(posterior.map() / size) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("estimator", ["likelihood", "npe"])
@pytest.mark.parametrize("size", [1e-15, pytest.param(1e15, marks=pytest.mark.long)])
def test_the_scale_of_x_changes_no_answer(size, estimator):
    theta, x = line()
    right(fitted(theta, x * size, [0.3 * size], estimator=estimator))


@pytest.mark.parametrize("size", [1e-15, pytest.param(1e15, marks=pytest.mark.long)])
def test_scales_of_classifiers_ratios_and_learned_outcomes(size):
    theta, x = line(1500)
    happened = x[:, 0] > 0
    probability = fit_event_probability(theta * size, happened, Standardiser.of(theta * size), settings=SMALL)
    truth = 0.5 * (1 + torch.erf(torch.tensor([0.1, -0.3]) / NOISE / math.sqrt(2)))
    found = probability.log_prob(torch.tensor([[0.1], [-0.3]]) * size).exp()
    torch.testing.assert_close(found, truth, rtol=0, atol=0.12)
    length = torch.full((1500,), 7)
    ratio = fit_ratio(theta * size, x / size, length, probability, Standardiser.of(theta * size), settings=SMALL)
    grid = torch.linspace(-0.9, 0.9, 181)[:, None]
    seen = ratio.statistics(torch.tensor([[0.3]]) / size, length[:1])[:, None]
    value = ratio.log_prob_members(grid[None] * size, seen, torch.ones(1))[:, 0].mean(dim=0)
    weight = torch.softmax(value - probability.log_prob(grid * size), dim=0)
    assert float((weight * grid[:, 0]).sum()) == pytest.approx(0.3, abs=0.1)
    learned = learn_outcome(sr.SimulationStore.from_arrays(theta * size, x * size), "x_1", settings=SMALL)
    assert learned.explained > 0.8
    torch.testing.assert_close(learned(torch.tensor([[0.5]]) * size).mean() / size, torch.tensor(0.5), rtol=0, atol=0.1)


def of_size(kind, size):
    if kind == "normal":
        return normal(FAMILY, 0.0, 0.5 * size)
    if kind == "spike":
        return spike_and_slab(FAMILY, slab=Normal(0.0, 0.5 * size))
    return IndependentPrior({name: log_uniform(0.1 * size, 10 * size) for name in ("a", "b")})


@pytest.mark.long
@pytest.mark.parametrize("size", [1e-15, 1e-13, 1e-6, 1e6, 1e12, 1e15])
@pytest.mark.parametrize("kind", ["normal", "spike", "log uniform"])
def test_the_scale_of_theta_changes_no_answer_under_any_kind_of_prior(kind, size):
    found = []
    for s in (1.0, size):
        torch.manual_seed(0)
        prior = of_size(kind, s)
        theta = prior.sample((1500,))
        seen = torch.log(theta / s) if kind == "log uniform" else theta / s
        store = sr.SimulationStore.from_arrays(theta, seen + 0.2 * torch.randn(seen.shape), names=["a", "b"])
        posterior = sr.fit(store, prior, x_o=[0.3, -0.2], settings=QUICK, classifier=SMALL, sampler=SAMPLER)
        found.append(moments(posterior, s))
    for a, b in zip(*found, strict=True):
        assert a == pytest.approx(b, abs=0.06)


@pytest.mark.slow
def test_whole_numbers_above_what_single_precision_tells_apart():
    theta = torch.linspace(-0.99, 0.99, 1200, dtype=torch.float64)[:, None]
    count = 2.0**25 + torch.arange(1200.0, dtype=torch.float64)[:, None]  # one more with each rule
    store = sr.SimulationStore.from_arrays(theta, count)
    assert len(store.x.unique()) == 1200
    posterior = fitted(theta, count, [2.0**25 + 781])
    assert posterior.question.x_o.tolist() == [2.0**25 + 781]
    right(posterior, mean=0.99 * (2 * 781 / 1199 - 1), sd=0.0, mean_tolerance=0.03, sd_tolerance=0.03)


def test_conditioning_knows_the_scale_of_its_coefficients():
    size = 1e-13
    posterior = sr.Posterior(
        uniform(Noisy().family, -size, size), ("a", "b"), lambda t: -0.5 * ((t / size - 0.3) ** 2).sum(dim=1)
    )
    part = posterior.conditioned(a=0.0)
    inside = part.log_prob(torch.tensor([[0.0, 0.1], [0.5, 0.1]]) * size)
    assert torch.isfinite(inside).tolist() == [True, False]


@pytest.mark.parametrize("estimator", ["likelihood", "npe"])
def test_one_runaway_row_changes_no_answer_and_is_named(estimator):
    theta, x = line()
    x[0] = 1e4
    with pytest.warns(UserWarning, match=r"1 of 2000 simulations lie far.*x_1 is 10000 in 1 and -1\.\d+ to 1\.\d+"):
        posterior = fitted(theta, x, [0.3], estimator=estimator)
    right(posterior)
    assert posterior.record.used == 1999
    assert "10000" in posterior.record.cautions[0]


@pytest.mark.parametrize("estimator", ["likelihood", "npe"])
def test_missing_values_coded_as_a_number_change_no_answer_and_are_named(estimator):
    theta, x = line()
    x[::10] = -999.0
    with pytest.warns(UserWarning, match=r"200 of 2000 simulations lie far.*-999.*give NaN"):
        right(fitted(theta, x, [0.3], estimator=estimator))


def test_far_rows_are_failures_where_they_depend_on_the_rule():
    """Half of the rules above 0 are lost: an observation was not, so that p(theta) falls by half there."""
    theta, x = line(3000)
    x = torch.randn(3000, 1, generator=torch.Generator().manual_seed(1))
    lost = (theta > 0) & (torch.rand(3000, 1, generator=torch.Generator().manual_seed(2)) < 0.5)
    x[lost] = 1e6
    with pytest.warns(UserWarning, match="far from all others"):
        posterior = fitted(theta, x, [0.3])
    assert float((posterior.sample((2000,)) > 0).double().mean()) == pytest.approx(1 / 3, abs=0.06)


class Runaway(Cheap):
    """One network of each shard ends up far away, without a failure."""

    def run(self, theta, **options):
        runs = super().run(theta, **options)
        runs.per_trial["error"][7:8] *= 1e5
        return runs


@pytest.mark.parametrize("estimator", ["ratio", pytest.param("likelihood", marks=pytest.mark.long)])
def test_runaway_networks_change_no_posterior_of_learners(estimator):
    table = Trials(("m", "n"), Cheap().run(torch.tensor([[0.4, 0.2], [0.4, 0.2]]), seed=5))
    settings = {"ratio": EnsembleSettings(members=3, hidden=32, max_epochs=40), "likelihood": QUICK}[estimator]
    options = {"trials": table, "summaries": ["final_error"], "estimator": estimator, "settings": settings}
    found = []
    for simulator in (Cheap(), Runaway()):
        store = sr.simulate(simulator, PRIOR, 1500, num_workers=1, progress=False)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            posterior = sr.fit(store, PRIOR, classifier=SMALL, sampler=SAMPLER, **options)
        said = [str(w.message) for w in seen if "far from all others" in str(w.message)]
        assert bool(said) == isinstance(simulator, Runaway)
        last = (posterior.sample((1000,)) * torch.tensor([1.0, 0.9])).sum(dim=1).abs()  # what the last error tells
        found.append((float(last.mean()), float(last.std())))
    assert found[0][0] == pytest.approx(found[1][0], abs=0.1)
    assert found[0][1] == pytest.approx(found[1][1], abs=0.08)
    assert found[1][1] < 0.3  # the prior's is .45


def test_a_learned_outcome_leaves_far_rows_out_and_says_so():
    theta, x = line(1500)
    x[0] = 1e6
    with pytest.warns(UserWarning, match="1 of 1500 simulations have x 1 far"):
        learned = learn_outcome(sr.SimulationStore.from_arrays(theta, x), "x_1", settings=SMALL)
    assert learned.explained > 0.8


@pytest.mark.parametrize("estimator", ["likelihood", pytest.param("npe", marks=pytest.mark.long)])
def test_a_large_offset_changes_no_answer(estimator, tmp_path):
    theta, x = line()
    x = 1.7e9 + x.double()
    posterior = fitted(theta, x, [1.7e9 + 0.3], estimator=estimator)
    right(posterior)
    right(posterior.given([1.7e9 - 0.2]), mean=-0.2)
    posterior.save(tmp_path / "p")
    again = sr.Posterior.load(tmp_path / "p", box())
    points = torch.tensor([[0.1], [0.4]])
    torch.testing.assert_close(again.potential(points), posterior.potential(points))
    right(again.given({"x_1": 1.7e9 - 0.2}), mean=-0.2)


def test_a_simulator_keeps_the_precision_of_its_runs():
    simulator, prior = Noisy(offset=1.7e9), uniform(Noisy().family, -1, 1)
    store = sr.simulate(simulator, prior, 1500, num_workers=1, progress=False)
    assert len(store.x[:, 0].unique()) > 1450
    x_o = {"first": 1.7e9 + 0.3, "second": 1.7e9 - 0.1}
    posterior = sr.fit(store, prior, x_o=x_o, settings=QUICK, sampler=SAMPLER)
    assert moments(posterior)[0] == pytest.approx([0.3, -0.1], abs=0.08)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior.given(x_o)


def test_sound_data_are_standardised_by_mean_and_sd_of_all_rows():
    theta, x = line(3000, 3)
    torch.manual_seed(0)
    heavy = torch.distributions.StudentT(5.0).sample((3000, 1))
    for sample in (theta, x, heavy, x.exp(), torch.poisson(3 + theta), (x > 0.8).float()):
        found = Standardiser.of(sample)
        assert torch.equal(found.mean, sample.mean(dim=0))
        assert torch.equal(found.sd, sample.std(dim=0))


def test_a_constant_column_tells_nothing_wherever_it_is_observed():
    found = Standardiser.of(torch.cat([line(500)[0], torch.full((500, 1), 0.1)], dim=1))
    assert found(torch.tensor([[0.3, 7.0]]))[0, 1] == 0
    theta, x = line()
    two = torch.cat([x, torch.full_like(x, 2.0)], dim=1)
    right(fitted(theta, two, [0.3, 2.0]))
    with pytest.raises(ValueError, match="no summary differs"):
        fitted(theta, torch.full_like(x, 2.0), [2.0])
