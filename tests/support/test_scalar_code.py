"""Functions of tensors as functions of numbers."""

import random

import numpy as np
import pytest
import torch

from sbirules.support.scalar_code import compiled_from, scalar_source

SEEN = ("x", "y")
FORMULAS = {
    "sums and products": lambda c, s: c["a"] + c["b"] * s.x - s.y / (2 + s.x) + 1,
    "numbers first": lambda c, s: 2.0 - c["a"] * (1 / (1 + s.y)),
    "powers": lambda c, s: s.x**2 + s.y.pow(3) * c["a"] + torch.square(c["b"]),
    "functions": lambda c, s: torch.exp(-s.x) * s.y.tanh() + torch.sqrt(s.x) * torch.log1p(s.y) + c["a"].sin(),
    "bounds": lambda c, s: s.x.clamp(0.5, 1.0) + s.y.clamp(min=c["a"]) - torch.clamp(c["b"], max=0.1),
    "rectified": lambda c, s: torch.relu(c["a"] * s.x) + torch.nn.functional.relu(-c["b"]) + torch.sigmoid(s.y),
    "conditions": lambda c, s: torch.where((s.x > 1) & ~(s.y < 0.5), c["a"], -c["b"]) + (s.x > s.y).double(),
    "larger and smaller": lambda c, s: torch.maximum(s.x, c["a"]) - torch.minimum(s.y, c["b"]) + abs(c["a"]),
    "undefined somewhere": lambda c, s: torch.log(c["a"]) + torch.sqrt(c["b"]) + s.x,
    "a number": lambda c, s: 0.25,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_that_of_tensors(name):
    function = FORMULAS[name]
    source = scalar_source(function, ("a", "b"), SEEN)
    assert source is not None
    change = compiled_from(source)
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(3, 2, generator=draw, dtype=torch.float64)
    seen = 3 * torch.rand(200, 2, generator=draw, dtype=torch.float64)
    for p in range(3):
        of_all = type("Seen", (), {"x": seen[:, 0], "y": seen[:, 1]})()
        wanted = torch.as_tensor(function(dict(zip("ab", values[p].expand(200, 2).T, strict=True)), of_all))
        found = torch.tensor([float(change(values.numpy(), p, *row)) for row in seen.tolist()], dtype=torch.float64)
        torch.testing.assert_close(found, wanted.double().expand(200), rtol=1e-12, atol=1e-12, equal_nan=True)


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, c, s):
        self.calls += 1
        return c["a"] * self.calls


@pytest.mark.parametrize(
    "function",
    [
        lambda c, s: c["a"] if s.x > 0 else c["b"],
        lambda c, s: c["a"] * random.random(),
        lambda c, s: c["a"] * torch.rand(()),
        lambda c, s: c["a"] * torch.rand_like(s.x),
        lambda c, s: c["a"] - s.x.mean(),
        lambda c, s: c["a"] * torch.ones(3),
        lambda c, s: sum(c.values()),
        lambda c, s: c["missing"] + s.x,
        lambda c, s: s.elsewhere,
        lambda c, s: torch.add(s.x, s.y, alpha=2),
        lambda c, s: c["a"] + 1j,
        lambda c, s: None,
        lambda c, s: np.exp(s.x),
        lambda c, s: (_ for _ in ()).throw(RuntimeError("own")),
        Counting(),
    ],
)
def test_what_is_no_formula_has_none(function):
    assert scalar_source(function, ("a", "b"), SEEN) is None
