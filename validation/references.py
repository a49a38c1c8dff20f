"""Makes the reference draws that take long: NUTS on the exact likelihood of `KnownNetwork`.

python validation/references.py
"""

from __future__ import annotations

from pathlib import Path

import joblib
import safetensors.torch
import torch

from sbirules.priors import uniform
from sbirules.simulators import KnownNetwork
from sbirules.support.streams import seeded

HERE = Path(__file__).parent
NUTS = HERE / "nuts.safetensors"
OBSERVATIONS = 6


def known_network() -> tuple[KnownNetwork, torch.distributions.Distribution, torch.Tensor]:
    """The simulator, the prior and the observations of rules drawn from it, `(observations, S)`."""
    simulator = KnownNetwork()
    prior = uniform(simulator.family, -1, 1)
    with seeded(42):
        return simulator, prior, simulator(prior.sample((OBSERVATIONS,)))


def nuts(k: int) -> torch.Tensor:
    """Draws for one observation."""
    torch.set_num_threads(1)
    simulator, prior, x_o = known_network()
    return simulator.nuts(x_o[k], prior, 1000, warmup=250, seed=k).float()


def main() -> None:
    draws = joblib.Parallel(n_jobs=-1)(joblib.delayed(nuts)(k) for k in range(OBSERVATIONS))
    safetensors.torch.save_file({f"observation_{k}": d.contiguous() for k, d in enumerate(draws)}, str(NUTS))


if __name__ == "__main__":
    main()
