"""Functions of tensors as functions of numbers."""

import math
import random
from concurrent.futures import ThreadPoolExecutor

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
    "bounds that cross": lambda c, s: s.x.clamp(min=s.y - 2, max=c["a"]),
    "bounds that are no numbers": lambda c, s: s.x.clamp(max=torch.sqrt(2 - s.y)),
    "no number": lambda c, s: torch.where(s.y > 2, math.nan, c["a"]),
    "powers below zero": lambda c, s: torch.where(s.x > 1, s.x, 0 * s.x) ** -1 + s.y**-2,
    "signs": lambda c, s: torch.sign(torch.log(c["a"])) + torch.sign(s.x),
    "one of two numbers": lambda c, s: c["a"] * torch.where(s.x > 1, 1.0, -1.0),
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


def lowered(c, s):
    """Changes what it was given: a tensor would be another the second time."""
    x = s.x
    x -= torch.relu(x - 2)
    return c["a"] * s.x


def test_what_changes_its_arguments_has_no_formula():
    assert scalar_source(lowered, ("a", "b"), SEEN) is None


def test_constants_are_as_precise_as_tensors():
    source = scalar_source(lambda c, s: torch.where(s.x > 0.1, c["a"], -c["a"]), ("a",), SEEN, single=True)
    change, tenth = compiled_from(source), float(np.float32(0.1))
    assert float(change(np.array([[1.0]]), 0, tenth, 0.0)) == -1.0
    assert float(change(np.array([[1.0]]), 0, float(np.nextafter(np.float32(0.1), np.float32(1))), 0.0)) == 1.0


def test_one_that_counts_its_calls_has_no_formula():
    class Tired:
        calls = 0

        def change(self, c, s):
            self.calls += 1
            return c["a"] if self.calls < 200 else c["b"]

    owner = Tired()
    assert scalar_source(owner.change, ("a", "b"), SEEN, owner=owner) is None


def test_looking_leaves_random_streams_and_torch_as_they_are():
    """Many threads look at once, while others use modules."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    before = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    assert (
        scalar_source(lambda c, s: c["a"] * torch.rand(()) * random.random() * np.random.rand(), ("a",), SEEN) is None
    )
    assert (torch.rand(1), random.random(), np.random.rand()) == before
    module = torch.nn.Linear(2, 2)
    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(scalar_source, FORMULAS["functions"], ("a", "b"), SEEN) for _ in range(24)]
        used = [pool.submit(module, torch.zeros(1, 2)) for _ in range(200)]
        assert all(f.result().shape == (1, 2) for f in used)
        assert len({f.result() for f in looks}) == 1


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
        lambda c, s: c["a"] * ((s.x > 2) + (s.y > 2)),
        lambda c, s: c["a"] * ((s.x > 2) * 2),
        lambda c, s: c["a"] * torch.logical_and(s.x > 2, torch.relu(s.y - 2)),
        lambda c, s: torch.sub(s.x, torch.relu(s.y - 4), alpha=0),
        lambda c, s: c["a"] * (torch.where(s.x > 1, 2, 0) & torch.where(s.y > 1, 1, 0)),
        lambda c, s: 1e-13 * ((s.x > 0.5) + (s.y > 0.5)),
        lambda c, s: c["a"] * s.x.add_(1),
        lambda c, s: c["a"] if random.random() > 0.05 else c["b"],
        lambda c, s: (_ for _ in ()).throw(RuntimeError("own")),
        Counting(),
    ],
)
def test_what_is_no_formula_has_none(function):
    assert scalar_source(function, ("a", "b"), SEEN) is None
