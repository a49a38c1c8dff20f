"""Answers that a results folder keeps come back as they were."""

import math
from dataclasses import fields

import pandas as pd
import pytest
import torch

from sbirules.importance.effects import Directions, Effects
from sbirules.importance.overview import Sensitivity
from sbirules.importance.variance import Sobol
from sbirules.studies.kept import remembered

NAMES = ("theta_00", "theta_01")
EFFECTS = Effects(NAMES, torch.tensor([0.1, math.nan]), torch.tensor([math.inf, 1 / 3]), "loss", "share", "A note.")
FOUND = Sensitivity(
    "final error",
    math.nan,
    sobol=Sobol(EFFECTS, EFFECTS, pd.DataFrame({"pair": ["theta_00, theta_01"], "value": [0.1], "se": [math.nan]})),
    stiff=Directions(NAMES, torch.eye(2, dtype=torch.float64), torch.ones(2), torch.zeros(2), "stiff", "nats"),
    compensation=pd.DataFrame({"correlation": [-0.1234567890123]}, index=["theta_00, theta_01"]),
    knock_outs=EFFECTS,
)


def same(a, b):
    """Whether two answers are alike, NaN for NaN."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
        return True
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def test_what_is_kept_comes_back_as_it_was(tmp_path):
    path = tmp_path / "kept" / "sensitivity.json"
    assert remembered(path, [1], lambda: FOUND) is FOUND

    def never():
        raise AssertionError("it is kept")

    again = remembered(path, [1], never)
    assert same(again, FOUND)
    assert again.table().equals(FOUND.table())
    assert str(again) == str(FOUND)


def test_other_questions_and_damaged_files_are_asked_again(tmp_path):
    path = tmp_path / "sensitivity.json"
    other = Sensitivity("learned", 0.5, left_out={"sobol": "no store"})
    assert remembered(path, [2], lambda: other) is other
    assert same(remembered(path, [2], lambda: FOUND), other)
    assert remembered(path, [1], lambda: FOUND) is FOUND
    path.write_text(path.read_text().replace('"Sobol"', '"Sobel"'))
    with pytest.warns(
        UserWarning, match=r"sensitivity.json is not as it was written: 'Sobel' is missing. It is made anew"
    ):
        assert remembered(path, [1], lambda: other) is other
