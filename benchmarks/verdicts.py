"""Do the checks see what is wrong with a posterior? Right and wrong ones of a problem whose posterior is known.

    python benchmarks/verdicts.py [--repeats 5] [--write docs/verdicts.md]

`LinearGaussian`, nine coefficients: the exact posterior, the same made too narrow, too wide or shifted on purpose, and the exact
one given data that no rule of the prior makes. Each is checked on several observations; the table counts verdicts. Six minutes
on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import normal
from sbirules.simulators import LinearGaussian

CHECKS = ("calibration", "coverage", "TARP", "local calibration", "misspecification", "summaries")
CASES = {
    "exact": (1.0, 0.0, 0.0),
    "s.d. x 0.6": (0.6, 0.0, 0.0),
    "s.d. x 0.8": (0.8, 0.0, 0.0),
    "s.d. x 2": (2.0, 0.0, 0.0),
    "shifted by 1 s.d.": (1.0, 1.0, 0.0),
    "shifted by 0.3 s.d.": (1.0, 0.3, 0.0),
    "exact, data moved by 25": (1.0, 0.0, 25.0),
}


class Altered:
    """The exact posterior, scaled about its mean and shifted, as sbi's posteriors are asked."""

    def __init__(
        self, simulator: LinearGaussian, prior: torch.distributions.Distribution, scale: float, shift: float
    ) -> None:
        self.simulator, self.prior, self.scale, self.shift = simulator, prior, scale, shift

    def sample(self, shape: tuple[int, ...], x: torch.Tensor, show_progress_bars: bool = False) -> torch.Tensor:
        exact = self.simulator.posterior(x, self.prior)
        sd = exact.covariance_matrix.diagonal().sqrt()
        draws = exact.sample(torch.Size(shape))
        return (exact.mean + self.scale * (draws - exact.mean) + self.shift * sd).float()

    def log_prob(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.simulator.posterior(x, self.prior).log_prob(theta.double()).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    simulator = LinearGaussian(num_units=12)
    prior = normal(simulator.family, 0.0, 0.6)
    lines = [f"| posterior | worst verdict | {' | '.join(CHECKS)} |", "|---|" + "---|" * (len(CHECKS) + 1)]
    for name, (scale, shift, moved) in CASES.items():
        counts: dict[str, Counter[str]] = {check: Counter() for check in ("worst", *CHECKS)}
        for k in range(args.repeats):
            theta = prior.sample((1,)) if k else torch.full((1, 9), 0.3)
            x = sr.summaries.summarise(simulator.run(theta, seed=(7, k)), simulator.summaries)[0] + moved
            wrapped = sr.Posterior.wrap(Altered(simulator, prior, scale, shift), prior, prior.names, x)
            observed = dict(zip(simulator.summary_names, x.tolist(), strict=True))
            checked = sr.check(wrapped, simulator, x_o=observed, calibration=300, rules=256, seed=k, num_workers=1)
            counts["worst"][checked.level] += 1
            for check in CHECKS:
                counts[check][checked[check].level] += 1
        cells = [" ".join(f"{n} {level}" for level, n in c.most_common()) for c in counts.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr)
    table = "\n".join(lines)
    print(table)
    if args.write is not None:
        args.write.write_text(table + f"\n\n{args.repeats} observations each.\n", encoding="utf-8")


if __name__ == "__main__":
    main()
