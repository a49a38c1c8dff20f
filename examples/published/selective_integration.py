"""Miconi (2017), selective integration of one of two noisy streams: learning and psychometric curves.

    python examples/published/selective_integration.py [--full] [--out runs/published/selective_integration]

200 units at a step of 1 ms, the constants of his program (kicks of +-1, raw theta_33 = -0.01, |dw| below 2e-4). 20
networks for 10000 trials take about ten minutes on two cores; --full trains for his 50401. Then plasticity is off, and
the bias of each stream runs from -0.5 to 0.5 while the network attends to one of them.
"""

from __future__ import annotations

import record
import torch
from joblib import Parallel, delayed
from matplotlib.figure import Figure

import sbirules as sr
from sbirules.figures import BLUE, ORANGE
from sbirules.model.runs import Trajectory
from sbirules.simulators import RateRNN, miconi2017

NETWORKS, GROUPS = 20, 4
RULE = -0.01  # raw theta_33
BIASES = torch.linspace(-0.5, 0.5, 11)
REPEATS = 20  # test trials for each bias of each stream, the other's drawn at random
TASK = sr.tasks.SelectiveIntegration()


def network(trials: int) -> RateRNN:
    return miconi2017(TASK, num_trials=trials, kick_size=1.0, max_weight_change=2e-4)


def train(trials: int, group: int) -> Trajectory:
    torch.set_num_threads(1)
    rule = torch.full((NETWORKS // GROUPS, 1), RULE)
    return network(trials).run(rule, units="raw", seed=(3, group), keep_weights=True)


def test_inputs(context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs `(trials, T, 4)`, and the biases `(trials, 2)` of both streams; every bias of each stream REPEATS times."""
    stream = torch.Generator().manual_seed(context)
    each = BIASES.repeat(REPEATS)
    other = BIASES[torch.randint(len(BIASES), (2, len(each)), generator=stream)]
    biases = torch.cat([torch.stack([each, other[0]], dim=1), torch.stack([other[1], each], dim=1)])
    still = TASK.tensors(1.0)
    steps, on = len(still.response), (~still.response).float()[None, :, None]
    noise = torch.randn(len(biases), steps, 2, generator=stream)
    inputs = torch.zeros(len(biases), steps, 4)
    inputs[:, :, :2] = on * TASK.gain * (TASK.noise * noise + biases[:, None])
    inputs[:, :, 2 + context] = TASK.context
    return inputs, biases


def psychometric(trained: list[Trajectory]) -> dict[str, torch.Tensor]:
    """Mean output by bias of the attended and of the ignored stream, `(networks, biases)`."""
    found = {}
    for context in range(2):
        inputs, biases = test_inputs(context)
        outputs = []
        for run in trained:
            still = network(len(inputs)).without_plasticity().with_settings(kick_rate=0.0)
            tested = still.run(
                torch.full((len(run), 1), RULE),
                units="raw",
                seed=5,
                trial_types=torch.full((len(inputs),), 2 * context),
                weights=run.final_weights,
                input_weights=run.input_weights,
                inputs=inputs,
            )
            outputs.append(tested.output)
        output = torch.cat(outputs)
        for name, column in (("attended", context), ("ignored", 1 - context)):
            # the trials in which this stream ran through all biases
            block = slice(0, len(biases) // 2) if column == 0 else slice(len(biases) // 2, None)
            chosen, shown = output[:, block], biases[block, column]
            curve = torch.stack([chosen[:, shown == b].mean(dim=1) for b in BIASES], dim=1)
            found[f"context {context + 1}, {name}"] = curve
    return found


def figure(error: torch.Tensor, curves: dict[str, torch.Tensor], bins: int = 50) -> Figure:
    fig = Figure(figsize=(9.5, 3.2), layout="constrained", dpi=130)
    left, *right = fig.subplots(1, 3)
    binned = error.reshape(len(error), bins, -1).mean(dim=2)
    trial = (torch.arange(bins) + 0.5) * error.shape[1] / bins
    low, median, high = (torch.quantile(binned, q, dim=0) for q in (0.25, 0.5, 0.75))
    left.fill_between(trial, low, high, color=BLUE, alpha=0.25, lw=0)
    left.plot(trial, median, color=BLUE)
    left.set(xlabel="trial", ylabel="mean error", ylim=(0, None), title=f"{len(error)} networks: median, quartiles")
    for context, ax in enumerate(right, start=1):
        for name, colour in (("attended", BLUE), ("ignored", ORANGE)):
            curve = curves[f"context {context}, {name}"]
            ax.errorbar(
                BIASES, curve.mean(dim=0), curve.std(dim=0), color=colour, marker="o", ms=4, label=f"{name} stream"
            )
        ax.set(
            xlabel="bias of the stream",
            ylabel="mean response ± s.d. over networks",
            ylim=(-1.05, 1.05),
            title=f"attends to stream {context}",
        )
        ax.axhline(0, color="grey", lw=0.6)
        ax.legend(frameon=False, fontsize=8)
    for ax in (left, *right):
        ax.spines[["top", "right"]].set_visible(False)
    return fig


def main() -> None:
    args = record.options(__doc__, "selective_integration")
    trials = 50_400 if args.full else 10_000
    trained = Parallel(n_jobs=-1)(delayed(train)(trials, k) for k in range(GROUPS))
    error = torch.cat([run.error for run in trained])
    curves = psychometric(trained)
    figure(error, curves).savefig(args.out / "selective_integration.png")
    late = error[:, -1000:]
    slopes = {}
    for name in ("attended", "ignored"):
        change = torch.cat([curves[f"context {c}, {name}"] for c in (1, 2)])
        slopes[name] = (change[:, -1] - change[:, 0]).mean().item()
    record.record(
        args.out,
        [
            {
                "quantity": "selective integration: mean error, first 1000 and last 1000 trials (median of networks)",
                "paper": "learned (20 runs of 50401 trials)",
                "here": f"{error[:, :1000].mean(dim=1).median():.2f}, {late.mean(dim=1).median():.2f} after {trials} trials",
                "runs": f"{NETWORKS} networks",
            },
            {
                "quantity": "mean response to bias 0.5 less that to -0.5: attended stream, ignored stream",
                "paper": "a sigmoid from about -1 to 1, so 2; flat, so 0",
                "here": f"{slopes['attended']:.2f}, {slopes['ignored']:.2f}",
                "runs": f"{NETWORKS} networks, {REPEATS} trials a point",
            },
        ],
        curves={name: curve.mean(dim=0).tolist() for name, curve in curves.items()},
        biases=BIASES.tolist(),
    )


if __name__ == "__main__":
    main()
