"""Lazy or rich: measures against their definitions in numpy, and networks whose regime is known."""

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.optimise.learning_regimes import MEASURES, alignment, effective_rank, participation_ratio
from sbirules.simulators import RateRNN

TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)


def network(**settings):
    family = sr.PolynomialRule(degree=3, terms=["theta_11", "theta_33"])
    return RateRNN(family, TASK, num_units=24, num_trials=80, **settings)


def test_measures_against_their_definitions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 7)), rng.normal(size=(50, 5))
    ka, kb = (x @ x.T for x in (a - a.mean(0), b - b.mean(0)))
    expected = (ka * kb).sum() / np.sqrt((ka**2).sum() * (kb**2).sum())
    assert float(alignment(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected, rel=1e-10)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert float(alignment(torch.tensor(a), torch.tensor(3 * a @ turn))) == pytest.approx(1, abs=1e-10)

    assert float(effective_rank(torch.eye(6))) == pytest.approx(6)
    assert float(effective_rank(torch.outer(torch.ones(6), torch.arange(6.0)))) == pytest.approx(1, abs=1e-6)
    values = np.linalg.eigvalsh(np.cov(a.T))
    assert float(participation_ratio(torch.tensor(a))) == pytest.approx(
        values.sum() ** 2 / (values**2).sum(), rel=1e-10
    )


def test_without_plasticity_nothing_changes():
    found = sr.regimes([[0.0, 0.0]], network(), networks=3)
    v = found.values
    assert set(v) == set(MEASURES)
    assert float(v["kernel_change"].abs().max()) < 1e-6
    assert float(v["weight_change"].max()) == 0
    assert torch.equal(v["error_before"], v["error_after"])
    assert bool(torch.isnan(v["readout_alone"]).all()), "no fall in error to share out"


def test_before_and_after_are_the_network_that_learned():
    """The measured change is that of the run with the same draws, done by hand."""
    simulator = network()
    theta = torch.tensor([[-0.3, -0.8]])
    found = sr.regimes(theta, simulator, networks=4, seed=3)
    run = simulator.run(theta.repeat(4, 1), seed=(3, 0), keep_weights=True)
    change = (run.final_weights - run.initial_weights).flatten(1).norm(dim=1) / run.initial_weights.flatten(1).norm(
        dim=1
    )
    torch.testing.assert_close(found.values["weight_change"][0], change, rtol=1e-5, atol=1e-7)
    row = (run.final_weights - run.initial_weights)[:, 0].square().sum(1)
    share = row / (run.final_weights - run.initial_weights).square().sum((1, 2))
    torch.testing.assert_close(found.values["readout_share"][0], share, rtol=1e-4, atol=1e-7)
    assert float(found.values["kernel_change"].min()) > 0
    assert found.table().shape == (1, 2 + len(MEASURES))


def test_plasticity_of_the_readout_alone_is_found_to_be_that():
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[0] = True  # only the read-out unit has inputs, so only these change
    found = sr.regimes([[-0.3, -0.8]], network(mask=mask), networks=4, seed=1)
    assert float(found.values["readout_share"].min()) == pytest.approx(1)
    fell = ~torch.isnan(found.values["readout_alone"])
    torch.testing.assert_close(found.values["readout_alone"][fell], torch.ones(int(fell.sum())), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.values["recurrent_alone"][fell], torch.zeros(int(fell.sum())), atol=1e-4, rtol=0)


def test_random_readouts_and_figures():
    found = sr.regimes(0.4 * torch.randn(12, 2), network(readout="random"), networks=2, seed=2)
    assert bool(torch.isnan(found.values["readout_share"]).all())
    assert found.correlations().shape == (2, len(MEASURES))
    axes = found.figure()
    assert axes.shape == (1, 2)
    assert "kernel change" in axes[0, 0].get_ylabel()


def test_refusals():
    with pytest.raises(ValueError, match="rules must have shape"):
        sr.regimes([[0.0]], network())
    from cheap import Cheap

    with pytest.raises(ValueError, match=r"regimes needs a simulator with .*with_settings, such as RateRNN"):
        sr.regimes([[0.0, 0.0]], Cheap())


def test_a_random_readout_can_be_passed_in():
    simulator = network(readout="random")
    first = simulator.run([[0.1, -0.2]] * 3, seed=5, keep_weights=True)
    names = ("initial_weights", "input_weights", "readout")
    again = {n.removeprefix("initial_"): getattr(first, n) for n in names}
    second = simulator.run([[0.1, -0.2]] * 3, seed=6, keep_weights=True, **again)
    assert torch.equal(second.readout, first.readout)
    assert torch.equal(second.initial_weights, first.initial_weights)
    assert not torch.equal(second.final_weights, first.final_weights), "kicks are others"
    with pytest.raises(ValueError, match="readout may be passed in where it is random"):
        network().run([[0.1, -0.2]], readout=torch.ones(24))
