"""Miconi (2017), Figure 9: which traces make updates that follow the gradient?

    python examples/published/trace_alignment.py [--full] [--out runs/published/trace_alignment]

A network of 200 units sees ten random inputs for 100 ms, waits 100 ms, and should answer for 100 ms with the sign of
their sum. Every trial runs twice: untouched, and with one kick of +-16/30 to the output unit 10 ms into the answer. The
update of the synapses onto that unit is the difference in reward times a trace, the sum over the answer of a function
of r_j (x_0 - xbar_0). It is held against two gradients of the reward: that of the synapses at the kick's step, which node
perturbation estimates, and the exact one of the whole trial, by automatic differentiation. One minute.
"""

from __future__ import annotations

from dataclasses import dataclass

import record
import torch
from matplotlib.figure import Figure
from torch import Tensor

import sbirules as sr
from sbirules.figures import BLUE
from sbirules.simulators import miconi2017

UNITS, CHANNELS, STEPS, ANSWER, KICK = 200, 10, 300, 200, 210
TRACES = {
    "cubic": lambda p: p**3,
    "signed square": lambda p: p * p.abs(),
    "linear": lambda p: p,
    "square root": lambda p: p.sign() * p.abs().sqrt(),
}


@dataclass(frozen=True)
class SignOfSum(sr.Task):
    """Answer with the sign of the sum of ten inputs, which the run is given."""

    type_names = ("negative", "positive")

    def tensors(self, dt: float) -> sr.TrialTensors:
        answer = torch.arange(STEPS) >= ANSWER
        return sr.TrialTensors(torch.zeros(2, STEPS, CHANNELS), torch.tensor([-1.0, 1.0]), answer)


def batch(networks: int, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Updates by trace, and gradients by name, of the synapses onto the output unit, each `(networks, N)`."""
    simulator = miconi2017(SignOfSum(), warm_up=1)
    draw = torch.Generator().manual_seed(seed)
    weights = 1.5 / UNITS**0.5 * torch.randn(networks, UNITS, UNITS, generator=draw)
    pattern = 2 * torch.rand(networks, CHANNELS, generator=draw) - 1
    inputs = torch.zeros(networks, 1, STEPS, CHANNELS)
    inputs[:, 0, :100] = pattern[:, None]
    kicks = torch.zeros(networks, 1, STEPS, UNITS)
    given = {
        "input_weights": 0.2 * (2 * torch.rand(networks, UNITS, CHANNELS, generator=draw) - 1),
        "initial_states": torch.zeros(networks, 1, UNITS),
        "inputs": inputs,
        "trial_types": (pattern.sum(dim=1) > 0).long()[:, None],
        "seed": seed,
        "record": [0],
        "units": "raw",
    }
    rule = torch.zeros(networks, 1)
    weights.requires_grad_()
    plain = simulator.run(rule, weights=weights, kicks=kicks, **given)
    (whole,) = torch.autograd.grad(plain.reward.sum(), weights)
    size = 16 / 30 * (2 * (torch.rand(networks, generator=draw) < 0.5).float() - 1)
    kicks[:, 0, KICK, 0] = size
    with torch.no_grad():
        kicked = simulator.run(rule, weights=weights, kicks=kicks, **given)
    gain = (kicked.reward - plain.reward.detach())[:, 0]
    x, rate = (v[:, 0].detach() for v in (kicked.recording.x, kicked.recording.rate))
    keep = simulator.settings.xbar_factor
    mean, deviation = torch.zeros(networks), []
    for t in range(STEPS):
        deviation.append(x[:, t, 0] - mean)
        mean = keep * mean + (1 - keep) * x[:, t, 0]
    product = (
        rate[:, ANSWER:-1] * torch.stack(deviation[ANSWER + 1 :], dim=1)[..., None]
    )  # r_j before, x_0 after a step
    updates = {name: gain[:, None] * f(product).sum(dim=1) for name, f in TRACES.items()}
    at_kick = (gain * size)[:, None] * rate[:, KICK - 1]
    return updates, {"at the kick (node perturbation)": at_kick, "of the whole trial (exact)": whole[:, 0]}


def main() -> None:
    args = record.options(__doc__, "trace_alignment")
    torch.set_num_threads(1)
    parts = [batch(100, seed) for seed in range(20 if args.full else 5)]
    updates, gradients = ({n: torch.cat([p[k][n] for p in parts]) for n in parts[0][k]} for k in (0, 1))
    free = [j for j in range(UNITS) if j not in (1, 10, 11)]
    synapse = torch.tensor(free)[torch.randint(len(free), (len(next(iter(updates.values()))),))]
    fig = Figure(figsize=(11, 5.4), layout="constrained", dpi=130)
    axes = fig.subplots(2, 4)
    found = {}
    for row, (kind, gradient) in zip(axes, gradients.items(), strict=True):
        for ax, (name, update) in zip(row, updates.items(), strict=True):
            cosine = torch.nan_to_num(torch.cosine_similarity(update[:, free], gradient[:, free], dim=1))
            se = float(cosine.std()) / len(cosine) ** 0.5
            found[name, kind] = (float(cosine.mean()), se)
            a, b = (v.gather(1, synapse[:, None])[:, 0] for v in (gradient, update))
            ax.plot(a / a.abs().max(), b / b.abs().max(), "o", ms=3, color=BLUE, alpha=0.5, mew=0)
            ax.axhline(0, color="grey", lw=0.5)
            ax.axvline(0, color="grey", lw=0.5)
            ax.set_title(f"{name}: cosine {cosine.mean():.2f} ± {se:.2f}", fontsize=9)
            ax.set_xlabel(f"gradient {kind}", fontsize=8)
    for row in axes:
        row[0].set_ylabel("update by the trace\n(one synapse per network, scaled)", fontsize=8)
    fig.savefig(args.out / "trace_alignment.png")
    record.record(
        args.out,
        [
            {
                "quantity": f"cosine of the update with the gradient {kind}: " + ", ".join(TRACES),
                "paper": "cubic and signed square align; linear and square root do not (Figure 9)",
                "here": ", ".join(f"{found[name, kind][0]:.2f}" for name in TRACES),
                "runs": f"{len(synapse)} networks, standard errors at most {max(se for _, se in found.values()):.2f}",
            }
            for kind in gradients
        ],
    )


if __name__ == "__main__":
    main()
