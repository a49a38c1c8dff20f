"""One thread per process: two OpenMP threads are slower than one as soon as anything else runs."""

import torch

torch.set_num_threads(1)
