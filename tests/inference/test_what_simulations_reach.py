"""Observations that no simulation came near are named: by fit, by given and by sample_batched."""

import warnings

import pandas as pd
import pytest
import torch
from noisy import fitted, line

import sbirules as sr
from sbirules.checks.misfit import misspecification
from sbirules.inference.reach import Reach, near
from sbirules.priors import uniform


def test_fit_says_which_summary_lies_outside_and_by_how_much(tmp_path):
    theta, x = line(800)
    both = torch.cat([x, x.flip(0)], dim=1)
    with pytest.warns(
        UserWarning, match=r"x_1 = 50 \(simulated -1.\d+ to 1.\d+, 7\d.\d s.d. away\).*check units"
    ) as seen:
        posterior = fitted(theta, both, [50.0, 0.1])
    assert "x_2" not in str(seen[0].message)
    assert "x_1 = 50" in posterior.record.cautions[0]
    posterior.save(tmp_path / "p")
    for asked in (posterior, sr.Posterior.load(tmp_path / "p", posterior.prior)):
        with pytest.warns(UserWarning, match="x_2 = -9 "):
            asked.given([0.1, -9.0])
        with pytest.warns(UserWarning, match=r"observation 1: no simulation.*x_1 = 40 .*with 1 more: 2"):
            draws = asked.sample_batched((20,), [[0.1, 0.1], [40.0, 0.1], [-40.0, 0.1]])
        assert draws.shape == (20, 3, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            asked.given([0.5, -0.5])
            asked.given([1.4, -0.5])  # little beyond


def test_a_constant_summary_observed_at_another_value_is_named():
    theta, x = line(800)
    two = torch.cat([x, torch.full_like(x, 0.7)], dim=1)
    with pytest.warns(UserWarning, match=r"x_2 = 0.8 \(in all simulations 0.7\)"):
        fitted(theta, two, [0.3, 0.8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = fitted(theta, two, [0.3, 0.7])  # as in a table: not as single precision has it
        posterior.given([0.3, 0.7])


def test_a_hole_between_simulated_values_is_outside_too():
    x = torch.cat([torch.rand(500, 1), 5 + torch.rand(500, 1)])
    reach = Reach.of(x, ["s"])
    assert len(reach.stretches["s"]) == 2
    assert reach.outside([3.0], ["s"]) == ("s",)
    assert reach.outside([0.5], ["s"]) == reach.outside([5.5], ["s"]) == ()
    assert "with a hole there" in reach.says(torch.tensor([[3.0]]), ["s"])
    assert Reach.from_config(reach.config()) == reach


def test_where_the_observation_itself_is_far_out_no_row_is_left_out():
    x = torch.cat([torch.randn(500, 1), torch.full((50, 1), -999.0)])
    ok = torch.ones(550, dtype=torch.bool)
    left, text = near(x, ok, torch.tensor([[0.1]]), ["s"])
    assert int(left.sum()) == 500
    assert "50 of 550" in text
    left, text = near(x, ok, torch.tensor([[-999.0]]), ["s"])
    assert bool(left.all())
    assert not text


def test_learners_are_named_with_their_summary(learners):
    simulator, store, table = learners
    with pytest.warns(UserWarning, match=r"no simulation came near.* of learner odd "):
        sr.fit(
            store, uniform(simulator.family, -1, 1), trials=table, settings=sr.EnsembleSettings(members=2, max_epochs=2)
        )


@pytest.fixture
def learners():
    from cheap import PRIOR, Cheap

    simulator = Cheap()
    store = sr.simulate(simulator, PRIOR, 600, num_workers=1, progress=False)
    rows = [
        {"learner": name, "trial": k, "trial_type": 0, "error": error + 0.01 * k}
        for name, error in (("usual", 0.3), ("odd", 5.0))
        for k in range(10)
    ]
    return simulator, store, pd.DataFrame(rows)


def test_misspecification_does_not_depend_on_runaway_rows_or_units():
    torch.manual_seed(0)
    x, x_o = torch.randn(400, 2), torch.tensor([0.2, 6.0])
    clean = misspecification(x, x_o, ("a", "b"))
    assert clean.outside == ("b",)
    x[0] = 1e6
    for size in (1.0, 1e-15, 1e15):
        found = misspecification(x * size, x_o * size, ("a", "b"))
        assert found.outside == ("b",)
        assert found.p == pytest.approx(clean.p, abs=0.05)
