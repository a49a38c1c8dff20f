"""What counts as far out, and what single precision would lose."""

import numpy as np
import pytest
import torch
from torch.distributions import Exponential, LogNormal, StudentT

import sbirules as sr
from sbirules.model.fields import Field, Layout
from sbirules.support.robust import centre_and_spread, far_out, kept


def test_rows_of_sound_samples_are_not_far_out():
    torch.manual_seed(0)
    n = 5000
    samples = [
        torch.randn(n, 1),
        torch.rand(n, 1),
        Exponential(1.0).sample((n, 1)),
        LogNormal(0.0, 1.0).sample((n, 1)),
        StudentT(5.0).sample((n, 1)),
        torch.relu(torch.randn(n, 1) - 1),  # an atom of 84 %
        torch.bernoulli(torch.full((n, 1), 0.001)),
        torch.poisson(torch.full((n, 1), 2.0)),
        torch.full((n, 1), 0.3),
    ]
    for sample in samples:
        assert not far_out(sample).any()


def test_codes_and_runaway_rows_are_far_out_of_any_column():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(1000, 1), torch.bernoulli(torch.full((1000, 1), 0.4)), 50 * torch.randn(1000, 1)], dim=1)
    x[:400:2] = -9999.0
    x[1] = torch.tensor([1e4, 1e4, 1e4])
    x[3] = torch.nan
    far = far_out(x)
    assert far[:400:2].all()
    assert far[1].all()
    assert far.sum() == 3 * 201
    mean, sd = centre_and_spread(torch.nan_to_num(x))
    assert mean[0].abs() < 0.1
    assert 0.9 < sd[0] < 1.1


def test_single_precision_only_where_it_loses_nothing():
    torch.manual_seed(0)
    x = torch.randn(500, 2, dtype=torch.float64)
    assert kept(x).dtype == torch.float32
    assert torch.equal(kept(x), x.float())
    large = torch.tensor([[2**24 + 1.0], [2**24 + 2.0]], dtype=torch.float64)
    for wide in (x + 1.7e9, large, x * 1e60, x * 1e-60):
        assert torch.equal(kept(wide), wide)
    assert kept(torch.arange(100)[:, None]).dtype == torch.float32
    assert torch.equal(kept(torch.tensor([[2**24], [2**24 + 1]])), torch.tensor([[2**24], [2**24 + 1]]).double())


def test_stores_and_tables_keep_what_was_given(tmp_path):
    theta = np.linspace(-1, 1, 400)[:, None]
    x = np.concatenate([1.7e9 + theta, 2.0**24 + np.arange(400)[:, None]], axis=1)
    store = sr.SimulationStore.from_arrays(theta, x, path=tmp_path / "s")
    np.testing.assert_array_equal(sr.SimulationStore(tmp_path / "s").x.numpy(), x)
    assert len(store.x[:, 0].unique()) == 400
    assert sr.SimulationStore.from_arrays(theta, theta.tolist()).x.dtype == torch.float32
    with pytest.raises(ValueError, match="theta must be numbers that single precision tells apart"):
        sr.SimulationStore.from_arrays(1e9 + theta, x)
    lines = ["learner,trial,count", *(f"m,{k},{2**24 + k}" for k in range(50))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = sr.Trials.read(tmp_path / "t.csv", Layout((Field("count"),), ("only",)))
    assert len(table.trajectory.count.unique()) == 50
