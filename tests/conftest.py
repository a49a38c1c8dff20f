"""One thread per process: two OpenMP threads are slower than one as soon as anything else runs."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws_every_time():
    torch.manual_seed(0)
