"""Stability of networks after learning: measured where it is asked for, kept in stores, usable in constraints."""

import math

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.inference.questions import ConstraintsQuestion
from sbirules.model.constraints import Constraints
from sbirules.model.summaries import CATALOGUE
from sbirules.simulators import RateRNN
from sbirules.simulators.rate import _stability
from sbirules.simulators.rate._episode import NONLINEARITIES
from sbirules.stores.manifest import config_hash, digest, plain

TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
FAMILY = sr.PolynomialRule(degree=1)
BOTH = ("spectral_abscissa", "lyapunov_margin")


def network(*summaries, **settings):
    options = {"num_units": 14, "num_trials": 30, "gain": 0.7, "readout": "random", **settings}
    return RateRNN(FAMILY, TASK, summaries=summaries or ("final_error", "mean_rate"), **options)


def rules(n, size=0.3):
    return size * (2 * torch.rand(n, 4, generator=torch.Generator().manual_seed(0)) - 1)


def test_networks_are_not_measured_unless_asked(monkeypatch):
    monkeypatch.setattr(_stability, "effective_connectivity", None)
    simulator = network()
    run = simulator.run(rules(2), seed=1)
    assert not set(BOTH) & {*run.available, *simulator.layout.named("run")}


def test_configurations_of_before_keep_their_hash():
    """As they were written when these measures did not exist."""
    layout = "8012c4c3fb74be41fd08a0b41f37d7e1395ee9f6eef165f381ccafc990d252d5"
    before = {
        "456fcf83b267112aa06d5c92c16fab9064215b001e462bc8b26e5e9c71bc1e59": {},
        "0ddd0ba8a06f16e28108f1d725027af3f1c818a8410911f829180613c538d920": {
            "summaries": ["final_error", "mean_rate", "weight_norm"],
            "nonlinearity": "sigmoid",
            "readout": "random",
        },
    }
    for wanted, settings in before.items():
        simulator = RateRNN(FAMILY, TASK, num_units=12, num_trials=4, **settings)
        assert config_hash(simulator.config()) == wanted
        assert digest(plain(simulator.layout.config())) == layout
    asked = RateRNN(FAMILY, TASK, num_units=12, num_trials=4, summaries=["lyapunov_margin"])
    assert config_hash(asked.config()) not in before


@pytest.mark.parametrize("asked", [BOTH, BOTH[:1], BOTH[1:]])
def test_what_a_summary_reads_is_measured_and_nothing_else(asked):
    simulator = network("final_error", *asked)
    run = simulator.run(rules(2), seed=1)
    assert set(run.per_run) == set(simulator.layout.named("run"))
    assert set(BOTH) & set(run.per_run) == set(asked)
    assert simulator.with_settings(gain=0.5).layout == simulator.layout


def test_a_summary_of_ones_own_may_read_them():
    @sr.summary("certified", fields=["lyapunov_margin"], atoms=True)
    def certified(run):
        return (run.lyapunov_margin < 0).float()

    x = network(certified)(rules(8))
    assert set(x.flatten().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("nonlinearity", "clamped"),
    [("tanh", {1: 1.0, 10: 1.0, 11: -1.0}), ("threshold_linear", {}), ("sigmoid", {3: 0.5})],
)
def test_measures_are_of_the_free_units_final_weights(nonlinearity, clamped):
    simulator = network("weight_change", *BOTH, nonlinearity=nonlinearity, clamped=clamped)
    run = simulator.run(rules(6), seed=2, keep_weights=True)
    assert run.ok.any()
    assert run.weight_change.min() > 0
    free = [u for u in range(14) if u not in clamped]
    slope = 0.25 if nonlinearity == "sigmoid" else 1.0
    for k in range(6):
        w = run.final_weights[k].double().numpy()[np.ix_(free, free)]
        a = slope * w - np.eye(len(free))
        assert run.spectral_abscissa[k].item() == pytest.approx(np.linalg.eigvals(a).real.max(), abs=1e-5)
        symmetric = np.linalg.eigvalsh((a + a.T) / 2)[-1]
        assert run.spectral_abscissa[k] - 1e-6 <= run.lyapunov_margin[k] <= symmetric + 1e-6


def test_slopes_are_the_steepest():
    x = torch.linspace(-4, 4, 801, dtype=torch.float64, requires_grad=True)
    assert set(_stability.SLOPES) == set(NONLINEARITIES)
    for name, phi in NONLINEARITIES.items():
        (slope,) = torch.autograd.grad(phi(x).sum(), x)
        assert slope.max().item() == pytest.approx(_stability.SLOPES[name])


def test_other_fields_and_gradients_are_as_without():
    with_them, without = network("mean_rate", *BOTH), network("mean_rate")
    theta = rules(3).requires_grad_()
    runs = [s.run(theta, seed=3) for s in (with_them, without)]
    for name in runs[1].available:
        assert torch.equal(*(getattr(run, name).nan_to_num(9.0) for run in runs))
    assert runs[0].error.requires_grad
    assert not runs[0].lyapunov_margin.requires_grad


def test_networks_that_diverged_have_none_and_rows_do_not_depend_on_their_batch():
    simulator = network(*BOTH)
    theta = torch.cat([rules(3), torch.full((1, 4), 500.0)])
    run = simulator.run(theta, seed=4)
    assert run.status[3] == sr.Status.DIVERGED
    part = simulator.run(theta[:2], seed=4)
    for name in BOTH:
        assert math.isnan(run.per_run[name][3])
        assert torch.isfinite(run.per_run[name][:3]).all()
        assert torch.equal(run.per_run[name][:2], part.per_run[name])
    broken = torch.full((2, 14, 14), math.nan)
    broken[1] = 0.1
    for dead, failed in ((False, [True, False]), (True, [True, True])):
        found = _stability.measure(broken, torch.tensor([dead, dead]), simulator.settings, BOTH)
        assert all(torch.isnan(value).tolist() == failed for value in found.values())


def test_stores_keep_them_and_constraints_take_them(tmp_path):
    simulator = network("final_error", *BOTH, gain=1.0)
    prior = sr.priors.uniform(FAMILY, -1, 1)
    store = sr.simulate(simulator, prior, 40, store=tmp_path / "store", seed=0, num_workers=1, progress=False)
    run = store.trajectory
    assert store.layout["lyapunov_margin"].unit == "1/tau"
    for name in BOTH:
        column = store.x[:, store.summary_names.index(name)]
        assert torch.equal(column[run.ok], run.per_run[name][run.ok])
        assert torch.equal(sr.summaries.summarise(run, [CATALOGUE[name]])[:, 0].nan_to_num(9), column.nan_to_num(9))
    held = Constraints({"lyapunov_margin": (-math.inf, 0.0)}).satisfied(store.x, store.summary_names)
    assert 0 < int(held.sum()) < 40
    assert torch.equal(held, (run.lyapunov_margin <= 0) & run.ok)


def test_study_files_ask_for_them_by_naming_a_constraint():
    assert ConstraintsQuestion.summaries_for({"lyapunov_margin": [-math.inf, 0]}) == ["lyapunov_margin"]


def test_runs_without_them_say_so():
    run = network().run(rules(2), seed=1)
    with pytest.raises(ValueError, match="'lyapunov_margin' reads lyapunov_margin, which is not recorded here"):
        sr.summaries.summarise(run, [CATALOGUE["lyapunov_margin"]])
