"""Lazy or rich? What learning does to weights and representation, across the rules that learn delayed discrimination.

    python examples/published/lazy_or_rich.py [--full] [--out runs/published/lazy_or_rich]

The posterior of degree 3 over rules that learn in all of 8 networks; 128 of its rules in 4 fresh networks each. About
four minutes on two cores; --full takes 1024 rules in 16 networks.
"""

from __future__ import annotations

import record
import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN


def main() -> None:
    args = record.options(__doc__, "lazy_or_rich")
    torch.set_num_threads(1)
    family = sr.PolynomialRule(degree=3)
    simulator = RateRNN(family, sr.tasks.DelayedDiscrimination())
    prior = uniform(family, -0.6, 0.6)
    store = sr.simulate(simulator, prior, 8192, store=args.out / "store", seed=0, progress=True)
    posterior = sr.fit(store, prior, constraints={"learned": (1, 1)}, all_of_networks=8)
    rules, networks = (1024, 16) if args.full else (128, 4)
    found = sr.regimes(posterior, simulator, num_rules=rules, networks=networks, seed=1)
    print(found)
    table = found.correlations()
    print("Spearman's correlations over rules\n" + table.round(2).to_string())
    found.table().to_csv(args.out / "regimes.csv", index=False)
    found.figure()[0, 0].figure.savefig(args.out / "lazy_or_rich.png")
    strongest = table["kernel_change"].abs().idxmax()
    means = {name: float(values.nanmean()) for name, values in found.values.items()}
    record.record(
        args.out,
        [
            {
                "quantity": "posterior rules: 1 - kernel alignment; relative weight change; effective rank of it; "
                "participation ratio before, after",
                "paper": "-",
                "here": ", ".join(
                    f"{means[n]:.2f}"
                    for n in (
                        "kernel_change",
                        "weight_change",
                        "effective_rank",
                        "participation_before",
                        "participation_after",
                    )
                ),
                "runs": f"{rules} rules, {networks} networks each",
            },
            {
                "quantity": "share of the fall in error by the read-out unit's synapses alone, by all others alone",
                "paper": "-",
                "here": f"{float(found.values['readout_alone'].nanmedian()):.2f}, "
                f"{float(found.values['recurrent_alone'].nanmedian()):.2f} (medians)",
                "runs": f"{rules} rules, {networks} networks each",
            },
            {
                "quantity": "coefficient most correlated with kernel change over rules (Spearman)",
                "paper": "-",
                "here": f"{strongest}: {table['kernel_change'][strongest]:+.2f} ± {1 / (rules - 1) ** 0.5:.2f}",
                "runs": f"{rules} rules",
            },
        ],
        correlations=table.to_dict(),
    )


if __name__ == "__main__":
    main()
