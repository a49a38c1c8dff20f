"""Margins of diagonal stability against matrices for which they are known, and against brute force."""

import math

import numpy as np
import pytest
import torch

from sbirules.simulators.rate._stability import lyapunov_margin, spectral_abscissa

NEAR = 2e-3  # what the search may leave, relative to 1 + |margin|


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_networks(batch, n, gain, seed=0):
    return gain * normal(batch, n, n, seed=seed) / math.sqrt(n) - torch.eye(n)


def assert_margin(matrices, wanted, near=NEAR):
    """An upper bound, and a close one."""
    got = lyapunov_margin(matrices)[0]
    wanted = torch.as_tensor(wanted, dtype=torch.float64).expand_as(got)
    assert (got >= wanted - 1e-9).all()
    assert ((got - wanted) <= near * (1 + wanted.abs())).all()


@pytest.mark.parametrize(("n", "gain"), [(1, 0.5), (2, 1.0), (5, 0.6), (20, 0.6), (64, 1.5)])
def test_the_scaling_that_comes_back_proves_the_margin(n, gain):
    a = random_networks(4, n, gain)
    margin, log_p = lyapunov_margin(a)
    for matrix, t, log in zip(a.numpy(), margin.tolist(), log_p.numpy(), strict=True):
        p = np.diag(np.exp(log - log.max()))
        assert (np.diag(p) > 0).all()
        edge = np.linalg.eigvalsh(p @ matrix + matrix.T @ p - 2 * (t + 1e-9) * p)[-1]
        assert edge <= 1e-12
    assert (margin >= spectral_abscissa(a) - 1e-9).all()


@pytest.mark.parametrize("n", [1, 3, 30])
def test_symmetric_matrices_have_their_largest_eigenvalue(n):
    w = normal(6, n, n)
    a = (w + w.mT) / (2 * math.sqrt(n)) - torch.linspace(0, 3, 6)[:, None, None] * torch.eye(n)
    largest = torch.tensor(np.linalg.eigvalsh(a.numpy())[:, -1])
    assert_margin(a, largest, near=1e-6)
    torch.testing.assert_close(spectral_abscissa(a), largest)


def test_symmetric_matrices_in_other_units_have_it_too():
    w = normal(4, 12, 12)
    scale = torch.exp(2 * normal(4, 12, seed=1))
    a = (w + w.mT) / 8 - torch.eye(12)
    assert_margin(scale[:, :, None] * a / scale[:, None, :], np.linalg.eigvalsh(a.numpy())[:, -1])


@pytest.mark.parametrize(("n", "size"), [(2, 1.0), (8, 3.0), (64, 0.4), (64, 4.0)])
def test_triangular_matrices_are_as_stable_as_their_diagonal(n, size):
    strict = size * torch.tril(normal(3, n, n), -1)
    diagonal = -0.2 - torch.rand(3, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
    for a in (strict + torch.diag_embed(diagonal), strict.mT + torch.diag_embed(diagonal)):
        # the minimum is not attained: it takes scales ever further apart
        assert_margin(a, diagonal.amax(dim=1), near=1e-2)
        assert_margin(a[:, order][:, :, order], diagonal.amax(dim=1), near=1e-2)


def test_parts_without_a_way_back_count_each_for_itself():
    parts = [random_networks(1, n, 0.5, seed=n)[0] for n in (5, 9, 3)]
    a = torch.block_diag(*parts)
    a[5:, :5] = 10 * normal(12, 5)
    a[14:, 5:14] = 10 * normal(3, 9)
    each = max(float(lyapunov_margin(part[None])[0]) for part in parts)
    assert float(lyapunov_margin(a[None])[0]) == pytest.approx(each, abs=NEAR)


@pytest.mark.parametrize("n", [2, 10, 64])
def test_without_negative_entries_off_the_diagonal_perron_gives_the_margin(n):
    w = normal(5, n, n).abs() * torch.linspace(0.2, 1.5, 5)[:, None, None] / n
    a = w - torch.diag_embed(0.5 + normal(5, n, seed=1).abs())
    abscissa = np.linalg.eigvals(a.numpy()).real.max(axis=1)
    assert (abscissa < 0).any()
    assert_margin(a, abscissa)


def test_what_is_dominated_by_a_stable_comparison_matrix_is_stable():
    """-A's comparison matrix is an M-matrix: whatever the signs off the diagonal, A is diagonally stable."""
    w = normal(20, 10, 10).abs() / 15
    comparison = w * (1 - torch.eye(10)) - torch.eye(10)
    signs = torch.where(normal(20, 10, 10, seed=1) > 0, 1.0, -1.0)
    bound = torch.tensor(np.linalg.eigvals(comparison.numpy()).real.max(axis=1))
    assert (bound < 0).all()
    margin = lyapunov_margin(torch.where(torch.eye(10) > 0, comparison, comparison * signs))[0]
    assert (margin <= bound + NEAR).all()


def test_two_units_have_a_closed_form():
    """Cross (1978): diagonally stable if and only if a11 < 0, a22 < 0 and det > 0. The margin follows by shifting A."""
    a = normal(500, 2, 2) - 0.5 * torch.eye(2)
    (a11, a12), (a21, a22) = a.permute(1, 2, 0)
    across = (a12 * a21).clamp(min=0)
    wanted = (a11 + a22) / 2 + (((a11 - a22) / 2) ** 2 + across).sqrt()
    assert_margin(a, wanted)
    cross = (a11 < 0) & (a22 < 0) & (a11 * a22 - a12 * a21 > 0)
    assert torch.equal(cross, wanted < 0)
    assert 50 < int(cross.sum()) < 450
    clear = wanted.abs() > 2 * NEAR
    assert torch.equal((lyapunov_margin(a)[0] < 0)[clear], cross[clear])


@pytest.mark.parametrize("n", [3, 4, 9])
def test_rings_of_negative_feedback_follow_the_secant_criterion(n):
    """Arcak & Sontag (2006), Automatica 42:1531: with decays d and gains b around the ring, prod b / prod d < sec(pi / n)^n."""
    decays = 1 + torch.rand(6, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 4
    gains = torch.exp(normal(6, n, seed=n))
    a = -torch.diag_embed(decays)
    for k in range(n):
        a[:, (k + 1) % n, k] = gains[:, k] if k < n - 1 else -gains[:, k]
    for matrix, d, b in zip(a, decays.numpy(), gains.numpy(), strict=True):
        low, high = -d.min(), b.max() + 1
        for _ in range(100):  # the shift at which the criterion turns true
            t = (low + high) / 2
            stable = b.prod() < np.prod(d + t) / math.cos(math.pi / n) ** n
            low, high = (low, t) if stable else (t, high)
        assert_margin(matrix[None], [high])


def test_stable_matrices_that_no_diagonal_scaling_shows_to_be_so():
    growing = torch.tensor([[1.0, -4.0], [2.0, -3.0]])  # a positive diagonal entry: unit 1 alone grows
    ring = torch.tensor(
        [[-1.0, 0.0, -150.0], [1.0, -1.0, 0.0], [0.0, 1.0, -10.0]]
    )  # 80 would be the bound, 242 Hurwitz's
    for a in (growing, ring):
        assert np.linalg.eigvals(a.numpy()).real.max() < 0
        assert spectral_abscissa(a[None]) < 0
        assert lyapunov_margin(a[None])[0] > 0
    assert_margin(growing[None], [1.0])


def test_circulant_matrices_need_no_scaling():
    row = normal(1, 16)[0] / 4
    a = torch.stack([row.roll(k) for k in range(16)]) - torch.eye(16)
    assert_margin(a[None], np.linalg.eigvalsh(((a + a.T) / 2).numpy())[-1:])


def test_three_units_against_a_grid_of_scalings():
    for a in random_networks(8, 3, 1.5, seed=3).numpy():
        centre, width = np.zeros(2), 8.0
        for _ in range(6):  # log P of units 2 and 3 relative to unit 1, ever finer
            axis = np.linspace(-width, width, 61)
            grid = np.stack(np.meshgrid(centre[0] + axis, centre[1] + axis), axis=-1).reshape(-1, 2)
            half = np.concatenate([np.zeros((len(grid), 1)), grid], axis=1) / 2
            b = np.exp(half[:, :, None] - half[:, None, :]) * a
            largest = np.linalg.eigvalsh((b + b.transpose(0, 2, 1)) / 2)[:, -1]
            centre, width = grid[largest.argmin()], width / 8
        got = float(lyapunov_margin(torch.tensor(a)[None])[0])
        assert got == pytest.approx(largest.min(), abs=NEAR * (1 + abs(got)))


def test_the_units_of_each_variable_do_not_count():
    a = random_networks(12, 10, 0.8, seed=4)
    scale = torch.exp(3 * normal(12, 10, seed=5))
    there, again = lyapunov_margin(a)[0], lyapunov_margin(scale[:, :, None] * a / scale[:, None, :])[0]
    assert (there < 0).any()
    assert (there > 0).any()
    torch.testing.assert_close(there, again, atol=2 * NEAR, rtol=2 * NEAR)
    clear = there.abs() > 2 * NEAR
    assert torch.equal((there < 0)[clear], (again < 0)[clear])


def test_a_negative_margin_keeps_every_set_of_active_units_stable():
    a = random_networks(20, 6, 0.9, seed=6)
    margin = lyapunov_margin(a)[0]
    assert (margin < 0).any()
    for matrix in a[margin < 0].numpy():
        for kept in range(1, 64):
            units = [u for u in range(6) if kept >> u & 1]
            assert np.linalg.eigvals(matrix[np.ix_(units, units)]).real.max() < 0


def test_a_negative_margin_brings_threshold_linear_networks_to_one_fixed_point():
    a = random_networks(40, 8, 0.7, seed=7)
    a = a[lyapunov_margin(a)[0] < -0.05]
    assert len(a) > 5
    w, drive = a + torch.eye(8), normal(len(a), 8, seed=8)
    x = 10 * normal(len(a), 5, 8, seed=9)  # five starts
    for _ in range(6000):
        x = x + 0.05 * (-x + x.relu() @ w.mT + drive[:, None])
    assert (x - x[:, :1]).abs().max() < 1e-5
    assert (x.relu() == 0).any()


@pytest.mark.parametrize("size", [1e-200, 1e-8, 1e8, 1e100, 1e200])
def test_sizes_that_no_network_has_end_in_an_upper_bound(size):
    a = size * random_networks(4, 9, 0.9)
    margin, log_p = lyapunov_margin(a)
    assert (margin >= spectral_abscissa(a) * (1 - 1e-9)).all()
    assert not torch.isnan(log_p).any()


def test_rows_do_not_depend_on_their_batch():
    a = random_networks(5, 13, 0.9)
    whole = lyapunov_margin(a)
    for k in range(5):
        alone = lyapunov_margin(a[k : k + 1])
        assert torch.equal(alone[0], whole[0][k : k + 1])
        torch.testing.assert_close(alone[1], whole[1][k : k + 1])
    assert lyapunov_margin(a[:0])[0].shape == (0,) == spectral_abscissa(a[:0]).shape


@pytest.mark.parametrize("function", [lyapunov_margin, spectral_abscissa])
def test_what_is_no_matrix_is_refused(function):
    for wrong in (
        torch.zeros(3, 3),
        torch.zeros(1, 2, 3),
        torch.zeros(1, 0, 0),
        torch.zeros(1, 2, 2, dtype=torch.cfloat),
    ):
        with pytest.raises(ValueError, match=r"matrices must be real of shape \(batch, n, n\)"):
            function(wrong)
    with pytest.raises(ValueError, match="matrices must be finite"):
        function(torch.full((1, 2, 2), math.inf))
