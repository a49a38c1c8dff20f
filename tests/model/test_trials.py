"""Tables of observed trials: what is read, and what is refused."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from sbirules import Trials

DATA = Path(__file__).parents[3] / "shared" / "data"


def table(**changes):
    rows = {
        "learner": ["a"] * 3 + ["b"] * 2,
        "trial": [0, 1, 2, 0, 1],
        "trial_type": [0, 1, 0, 1, 1],
        "error": [0.1, 0.7, 0.3, 1.2, 0.2],
    }
    return pd.DataFrame({**rows, **changes})


def read(frame):
    return Trials.read(frame, ("A", "B"))


def test_learners_of_unequal_length_keep_their_sequences():
    trials = read(table())
    assert trials.learners == ("a", "b")
    assert trials.num_trials.tolist() == [3, 2]
    assert trials.trial_types.tolist() == [[0, 1, 0], [1, 1, -1]]
    t = trials.trajectory
    torch.testing.assert_close(t.error[1], torch.tensor([1.2, 0.2, math.nan]), equal_nan=True)
    torch.testing.assert_close(t.reward, -t.error, equal_nan=True)
    torch.testing.assert_close(t.correct[0], torch.tensor([1.0, 0.0, 1.0]))
    assert t.available == ("error", "reward", "correct")
    assert trials.subset([1]).trajectory.error.shape == (1, 3)


def test_rows_may_come_in_any_order_types_by_name_and_only_correct_given():
    frame = table(trial_type=["A", "B", "A", "B", "B"]).sample(frac=1, random_state=0)
    trials = read(frame)
    assert sorted(trials.learners) == ["a", "b"]
    a = trials.learners.index("a")
    assert trials.trial_types[a].tolist() == [0, 1, 0]
    only = read(table(correct=[1, 0, 1, 0, 1]).drop(columns="error"))
    assert only.trajectory.available == ("correct",)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (table().drop(columns="trial_type"), "lacks the column 'trial_type'"),
        (table().drop(columns="error"), "at least one of the columns error, reward, correct"),
        (table().iloc[:0], "no rows"),
        (table(trial_type=[0, 2, 0, 1, 1]), "trial_type must be one that the task knows.*got 2 in row 3"),
        (
            table(error=[0.1, math.nan, 0.3, 1.2, 0.2]),
            "got an empty cell in row 3; the model misses no trials",
        ),
        (table(error=[0.1, "x", 0.3, 1.2, 0.2]), "got 'x' in row 3"),
        (table(error=[0.1, math.inf, 0.3, 1.2, 0.2]), "finite"),
        (table(error=[0.1, -0.5, 0.3, 1.2, 0.2]), "error must be at least 0"),
        (table(trial=[0, 1, 1, 0, 1]), "trial 1 comes twice, in rows 3 and 4"),
        (table(trial=[0, 1, 5, 0, 1]), "trial 1 is followed by 5"),
        (table(correct=[0, 1, 2, 0, 1]), "correct must be 0 or 1"),
        (table(reward=[0, 1, 0, 1, 1]).drop(columns="error"), "reward must be minus the error.*got 1 in row 3"),
        (table(trial=[100, 101, 102, 0, 1]), "numbered from 0 or 1"),
        (table(trial=[0.5, 1.5, 2.5, 0, 1]), "trial must be a whole number of at least 0, got 0.5 in row 2"),
        (table(learner=[1, 1, 1, "1", "1"]), "learner must be text or a number throughout, got '1' in row 5"),
        (pd.concat([table(), table()[["error"]]], axis=1), "more than once"),
        (table(learner=["a", "a", None, "b", "b"]), "learner must be a name, got an empty cell in row 4"),
        (table(trial=[0, 1, 2, None, None], error=[0.1, 0.2, 0.3, None, None]), "error must be .* in row 5"),
    ],
)
def test_bad_tables_are_refused_in_words(frame, words):
    with pytest.raises(ValueError, match=words):
        read(frame)


def test_files(tmp_path):
    with pytest.raises(ValueError, match="no file"):
        read(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path / "t.csv")
    table().to_csv(tmp_path / "t.csv", index=False)
    assert len(read(tmp_path / "t.csv")) == 2


@pytest.mark.skipif(not DATA.is_dir(), reason="no learners beside the repository")
def test_learners_of_another_implementation_are_read():
    trials = read(DATA / "learners_a.csv")
    assert len(trials) == 24
    assert trials.num_trials.tolist() == [300] * 24
