"""Simulators that do not go by the seed they are handed are told so, or handed streams that are the shard's own."""

import pytest
import torch
from cheap import PRIOR, Cheap
from joblib import parallel_config

import sbirules as sr

OPTIONS = {"shard_size": 16, "progress": False}


class Noisy(Cheap):
    """Cheap with noise from somewhere else."""

    def noise(self, n):
        return torch.randn(n, self.num_trials)

    def run(self, theta, *, seed=None, trial_types=None, **options):
        error = torch.as_tensor(theta)[:, :1].float() + self.noise(len(theta))
        fields = self.layout.completed({"error": error, "output": error}, "trial")
        status = torch.full((len(theta),), int(sr.Status.OK), dtype=torch.int8)
        return sr.Trajectory(status, self.sequence_matrix(trial_types, len(theta)), fields, type_names=("only",))


class Own(Noisy):
    def __init__(self):
        super().__init__()
        self.stream = torch.Generator().manual_seed(3)

    def noise(self, n):
        return torch.randn(n, self.num_trials, generator=self.stream)


class Fixed(Noisy):
    def noise(self, n):
        return torch.randn(n, self.num_trials, generator=torch.Generator().manual_seed(3))


class Deterministic(Noisy):
    def noise(self, n):
        return torch.zeros(n, self.num_trials)


def noise_of(store):
    return store.trajectory.error - store.theta[:, :1]


def test_a_generator_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"Own gives other numbers for the same seed.*streams.generator\(seed\)"):
        sr.simulate(Own(), PRIOR, 32, num_workers=1, **OPTIONS)


def test_the_same_noise_for_every_seed_is_refused():
    with pytest.raises(ValueError, match="Fixed gives the same noise whatever the seed"):
        sr.simulate(Fixed(), PRIOR, 32, num_workers=1, **OPTIONS)


def test_no_noise_at_all_is_fine():
    assert noise_of(sr.simulate(Deterministic(), PRIOR, 32, num_workers=1, **OPTIONS)).abs().max() == 0


def test_global_streams_become_the_shards_own():
    before = torch.get_rng_state()
    stores = [sr.simulate(Noisy(), PRIOR, 64, num_workers=k, **OPTIONS) for k in (1, 2)]
    with parallel_config(backend="threading", n_jobs=3):
        stores.append(sr.simulate(Noisy(), PRIOR, 64, **OPTIONS))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(s.x, stores[0].x) for s in stores)
    noise = noise_of(stores[0])
    assert len(noise.unique(dim=0)) == 64
    assert float(noise.std()) == pytest.approx(1.0, abs=0.1)
