"""Amortised posteriors: sets of learners, and embeddings of raw curves."""

import pytest
import torch
from cheap import Cheap, Line

import sbirules as sr
from sbirules import NPESettings
from sbirules.model.summaries import learning_curve
from sbirules.neural_nets.embeddings import SetEmbedding
from sbirules.priors import uniform
from sbirules.support.streams import seeded

PRIOR = uniform(Line(), 0.2, 1.0)
SMALL = NPESettings(models=("zuko_nsf",), members=1, num_transforms=3, hidden_features=30, epochs=20)
OPTIONS = {"num_workers": 1, "progress": False}
SLOPE = torch.linspace(0, 1, 10)
DESIGN = torch.stack([torch.ones(10), SLOPE], dim=1)


def learners(theta, count, seed):
    run = Cheap().run(torch.tensor([theta]).expand(count, 2), seed=seed)
    run.status[:] = 0
    return sr.Trials(tuple(str(k) for k in range(count)), run)


def least_squares(table):
    """Mean and s.d. of the exact posterior, away from the prior's edges."""
    precision = len(table) * DESIGN.T @ DESIGN / 0.1**2
    mean = torch.linalg.solve(DESIGN.T @ DESIGN, DESIGN.T @ table.trajectory.error.mean(dim=0))
    return mean, torch.linalg.inv(precision).diagonal().sqrt()


@pytest.fixture(scope="module")
def sets():
    with seeded(0):
        theta = PRIOR.sample((500,)).repeat_interleave(6, dim=0)
    return sr.simulate(Cheap(), theta, seed=1, **OPTIONS)


@pytest.fixture(scope="module")
def posterior(sets):
    return sr.fit(
        sets, PRIOR, trials=learners([0.5, 0.6], 4, 3), estimator="npe", summaries=[learning_curve(5)], settings=SMALL
    )


def test_a_posterior_of_sets_is_near_least_squares_for_any_number_of_learners(posterior):
    for theta, count in (([0.5, 0.6], 4), ([0.6, 0.5], 6), ([0.55, 0.6], 2)):
        table = learners(theta, count, seed=20 + count)
        draws = posterior.given(table).sample((3000,))
        mean, sd = least_squares(table)
        assert ((draws.mean(dim=0) - mean).abs() / sd).max() < 1.5
        assert (draws.std(dim=0) / sd).max() < 2.0
        assert (draws.std(dim=0) / sd).min() > 0.6
        assert draws.min() >= 0.2
        assert draws.max() <= 1


def test_order_does_not_matter_and_files_bring_it_back(posterior, tmp_path):
    table = learners([0.5, 0.6], 4, 3)
    theta = PRIOR.sample((20,))
    here = posterior.given(table).log_prob(theta)
    turned = posterior.given(table.subset([2, 0, 3, 1])).log_prob(theta)
    torch.testing.assert_close(here, turned, rtol=1e-4, atol=1e-4)
    posterior.given(table).save(tmp_path)
    assert torch.equal(sr.Posterior.load(tmp_path).log_prob(theta), here)
    batch = posterior.sample_batched((50,), [table, table.subset([0])])
    assert batch.shape == (50, 2, 2)


def test_sets_that_cannot_be_are_refused_in_words(sets, posterior):
    store = sr.simulate(Cheap(), PRIOR, 300, seed=2, **OPTIONS)
    for call, words in [
        (lambda: sr.fit(store, PRIOR, trials=learners([0.5, 0.5], 2, 1), estimator="npe"), "sets of networks"),
        (lambda: sr.fit([sets, sets], PRIOR, trials=learners([0.5, 0.5], 2, 1), estimator="npe"), "one store"),
        (lambda: posterior.given(learners([0.5, 0.5], 7, 1)), "sets of up to 6 learners, got 7"),
        (
            lambda: sr.fit(sets, PRIOR, trials=learners([0.5, 0.5], 2, 1), estimator="npe", settings=3),
            "must be NPESettings",
        ),
        (lambda: sr.fit(sets, PRIOR, trials=learners([0.5, 0.5], 2, 1), estimator="nre"), "estimator"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_empty_places_do_not_count():
    net = SetEmbedding(4)
    x = torch.randn(5, 3, 4)
    x[..., -1] = 1.0
    more = torch.cat([x, torch.randn(5, 2, 4)], dim=1)
    more[:, 3:, -1] = 0.0
    torch.testing.assert_close(net(more), net(x))
    assert not torch.allclose(net(x), net(x[:, :2]))


@pytest.mark.parametrize("kind", ["cnn", "transformer"])
def test_raw_curves_are_learned_from(kind):
    class Long(Cheap):
        """The raw error of each trial as its summary."""

        def __init__(self):
            super().__init__(num_trials=20)
            self.summaries = (learning_curve(20),)

    simulator = Long()
    store = sr.simulate(simulator, PRIOR, 1500, seed=1, **OPTIONS)
    settings = NPESettings(
        models=("zuko_nsf",),
        members=1,
        num_transforms=2,
        hidden_features=20,
        embedding=kind,
        epochs=30 if kind == "cnn" else 10,
        min_steps=0,
    )
    row = Cheap(20).run(torch.tensor([[0.5, 0.6]]), seed=4).error[0]
    posterior = sr.fit(store, PRIOR, x_o=row, estimator="npe", settings=settings)
    draws = posterior.sample((2000,))
    design = torch.stack([torch.ones(20), torch.linspace(0, 1, 20)], dim=1)
    mean = torch.linalg.lstsq(design, row[:, None]).solution[:, 0]
    # the prior's s.d. is .23, the exact posterior's .043 and .074
    assert (draws.mean(dim=0) - mean).abs().max() < 0.15
    assert draws.std(dim=0).max() < 0.16


def test_curves_too_short_to_embed_are_refused_in_words():
    store = sr.simulate(Cheap(), PRIOR, 300, seed=1, **OPTIONS)
    with pytest.raises(ValueError, match="curves of at least 16 values"):
        sr.fit(store, PRIOR, x_o=[0.5], estimator="npe", settings=NPESettings(embedding="cnn"))
    with pytest.raises(ValueError, match="embedding"):
        NPESettings(embedding="lstm")
