"""Newton steps: closed-form maxima of surfaces that bend both ways."""

import torch

from sbirules.support.curvature import climbed, curvature

PRECISION = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)


def gradient_of(value):
    def slope(at):
        own = at.clone().requires_grad_(True)
        (found,) = torch.autograd.grad(value(own).sum(), own)
        return found

    return slope


def test_curvature_of_a_gaussian_is_its_precision():
    slope = gradient_of(lambda at: -0.5 * torch.einsum("...i,ij,...j", at, PRECISION, at))
    values, vectors = curvature(slope, torch.randn(5, 2, dtype=torch.float64))
    found = vectors @ torch.diag_embed(values) @ vectors.transpose(-2, -1)
    torch.testing.assert_close(found, PRECISION.expand(5, 2, 2), atol=1e-8, rtol=0)


def test_one_step_reaches_the_top_of_a_gaussian_for_rows_of_any_shape():
    centre = torch.tensor([[0.5, -2.0], [3.0, 1.0], [0.0, 0.0]], dtype=torch.float64)  # of each of three parts

    def value(at):
        off = at - centre
        return -0.5 * torch.einsum("...i,ij,...j", off, PRECISION, off)

    start = torch.randn(4, 3, 2, dtype=torch.float64)
    before = start.clone()
    at, height = climbed(value, gradient_of(value), start, steps=1)
    torch.testing.assert_close(at, centre.expand(4, 3, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(height, torch.zeros(4, 3, dtype=torch.float64), atol=1e-10, rtol=0)
    assert torch.equal(start, before)


def test_a_climb_passes_saddles_and_bent_valleys():
    def banana(at):  # Rosenbrock's, whose top is at (1, 1)
        x, y = at.unbind(-1)
        return -((1 - x) ** 2) - 20 * (y - x**2) ** 2

    def two_tops(at):  # at x = +-1, with a saddle between them
        x, y = at.unbind(-1)
        return 2 * x**2 - x**4 - y**2

    start = torch.tensor([[-1.5, 2.0], [0.0, -1.0], [2.0, 0.0]], dtype=torch.float64)
    at, height = climbed(banana, gradient_of(banana), start, steps=60)
    torch.testing.assert_close(at, torch.ones(3, 2, dtype=torch.float64), atol=0.05, rtol=0)
    assert (height >= banana(start)).all()
    at, _ = climbed(
        two_tops, gradient_of(two_tops), torch.tensor([[0.1, 1.0], [-0.1, 1.0]], dtype=torch.float64), steps=60
    )
    torch.testing.assert_close(at, torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64), atol=0.02, rtol=0)


def test_a_climb_stays_where_rules_are_possible():
    def value(at):
        return torch.where(at[..., 0] < 1, at[..., 0] * 3, -torch.inf)

    at, height = climbed(
        value, gradient_of(lambda at: 3 * at[..., 0]), torch.zeros(2, 1, dtype=torch.float64), steps=20
    )
    assert torch.isfinite(height).all()
    assert (at < 1).all()
    assert (at > 0).all()
