"""Values of learners' trials that the simulator cannot make are named, or refused."""

import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.inference.questions.reach import beyond_reach

BINS = [sr.summaries.learning_curve(2, by_type=False)]
SMALL = sr.EnsembleSettings(members=2, hidden=8, max_epochs=2)


@pytest.fixture(scope="module")
def store():
    return sr.simulate(Cheap(60), PRIOR, 300, seed=1, num_workers=1, progress=False)


def learners(tmp_path, value):
    """Three learners of 60 trials in a file; one missed trial stands there as `value`."""
    run = Cheap(60).run(torch.tensor([[0.5, 0.6]] * 3), seed=2)
    rows = [
        {"learner": f"0{i}", "trial": t, "error": float(run.error[i, t].nan_to_num(0.5))}
        for i in range(3)
        for t in range(60)
    ]
    table = pd.DataFrame(rows)
    table.loc[75, "error"] = value
    table.to_csv(tmp_path / "t.csv", index=False)
    return sr.Trials.read(tmp_path / "t.csv", ("only",))


def test_a_missed_trial_coded_999_is_refused_with_its_line(store, tmp_path):
    table = learners(tmp_path, 999.0)
    words = (
        r"error is 999 in trial 16 of learner 01 \(line 77 of t\.csv\), but between .* Is it the code of a missed trial"
    )
    with pytest.raises(ValueError, match=words):
        sr.fit(store, PRIOR, trials=table, summaries=BINS, settings=SMALL)
    with pytest.raises(ValueError, match=words):
        sr.compare_families({"a": (store, PRIOR), "b": (store, PRIOR)}, table, summaries=BINS, settings=SMALL)


def test_what_lies_a_little_outside_is_named_and_kept_as_a_caution(store, tmp_path):
    largest = float(store.trajectory.error[store.trajectory.ok].max())
    table = learners(tmp_path, round(1.5 * largest, 3))
    with pytest.warns(UserWarning, match="in trial 16 of learner 01 .* extrapolates"):
        posterior = sr.fit(store, PRIOR, trials=table, summaries=BINS, settings=SMALL)
    assert len(posterior.record.cautions) == 1
    assert "line 77 of t.csv" in posterior.record.cautions[0]


def test_nothing_is_said_of_trials_that_could_be_simulated(store, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert beyond_reach(learners(tmp_path, 0.5), store.trajectory, BINS) == ()


def test_only_what_summaries_read_is_looked_at(store, tmp_path):
    table = learners(tmp_path, 0.5)
    odd = {**table.trajectory.per_trial, "output": torch.full((3, 60), 1e4)}
    runs = sr.Trajectory(table.trajectory.status, table.trial_types, odd, type_names=("only",))
    assert beyond_reach(replace(table, trajectory=runs), store.trajectory, BINS) == ()
