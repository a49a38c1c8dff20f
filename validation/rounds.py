"""Filter rounds: how fast the share of rules that meet constraints grows, and whether the weights are right."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from section import BLUE, GREEN, ORANGE, Row, Section, main

import sbirules as sr
from sbirules.model.tasks.catalogue import DelayedDiscrimination, DelayedNonMatchToSample
from sbirules.priors import uniform
from sbirules.simulators import RateRNN
from sbirules.support.rates import Rate

KEEP = {"num_workers": 1, "progress": False}
FAMILY = sr.PolynomialRule(degree=3)
PRIOR = uniform(FAMILY, -0.6, 0.6)
FRESH = 512


def demo() -> sr.RuleFilter:
    """The demo problem: learn delayed discrimination in 400 trials, then also at moderate rates."""
    simulator = RateRNN(FAMILY, DelayedDiscrimination(), num_trials=400, summaries=["learned", "mean_rate"])
    stages = [{"learned": (1, 1)}, {"mean_rate": (0, 0.5)}]
    return sr.filter_rules(simulator, PRIOR, stages, budget=8192, num_simulations=1024, seed=1, **KEEP)


def rare() -> sr.RuleFilter:
    """A prior three times as wide, most of whose rules blow the weights up: learn in 300 trials, hardly saturated."""
    simulator = RateRNN(FAMILY, DelayedDiscrimination(), num_trials=300, summaries=["learned", "saturation"])
    asked = {"learned": (1, 1), "saturation": (0, 0.1)}
    wide = uniform(FAMILY, -2, 2)
    return sr.filter_rules(simulator, wide, asked, budget=20_480, num_simulations=2048, seed=2, **KEEP)


def non_match() -> sr.RuleFilter:
    """Delayed non-match-to-sample: the mean error of the last trials falls below 0.9; a guess makes 1."""
    simulator = RateRNN(FAMILY, DelayedNonMatchToSample(), num_trials=600, summaries=["final_error"])
    return sr.filter_rules(
        simulator, PRIOR, {"final_error": (0, 0.9)}, budget=3072, num_simulations=1024, seed=3, **KEEP
    )


def fresh(found: sr.RuleFilter) -> Rate:
    """Share of fresh networks of the posterior's rules, asked to succeed in all of 32, that meet the constraints."""
    theta = found.posterior(all_of_networks=32).sample((FRESH,), seed=4)
    store = sr.simulate(found.simulator, theta, seed=1_000_003, **KEEP)
    assert found.constraints is not None
    share = float(found.constraints.satisfied(store.x, store.summary_names).float().mean())
    return Rate(share, (share * (1 - share) / FRESH) ** 0.5)


def section(folder: Path) -> Section:
    out = Section(
        "Filter rounds",
        "Degree 3 (16 coefficients), uniform(-0.6, 0.6) unless stated, 64 units, truncated proposals. `kept`: share of "
        "the prior that the round's proposal keeps; `accepted`: share of its networks that met what was asked then; "
        "`ess`: effective number of all rules that do, under their weights against the prior. In the end the posterior "
        f"is asked for success in all of 32 networks, and {FRESH} of its rules are tried in a fresh network each. For "
        "comparison: fSBI (Confavreux et al. 2023; spiking networks, other constraints) went from under 0.01 % to "
        "21-32 % in three rounds, about 350000 simulations in all.",
    )
    figure = Figure(figsize=(6, 3.4), layout="constrained", dpi=130)
    axes = figure.subplots()
    for (name, make), color in zip(
        {"demo problem": demo, "rare": rare, "non-match-to-sample": non_match}.items(),
        (BLUE, ORANGE, GREEN),
        strict=True,
    ):
        found = make()
        table = found.table()
        first, last = table.iloc[0], table.iloc[-1]
        reached = fresh(found)
        text = (
            f"{100 * first['accepted']:.2g} % of the prior, {100 * last['accepted']:.2g} % of the last of {len(table)} "
            f"rounds ({last['total']:.0f} networks; {last['successful']:.0f} successes, ESS {last['ess']:.0f}); "
            f"{100 * reached.value:.0f} ± {100 * reached.se:.0f} % of fresh networks of the posterior"
        )
        if name == "non-match-to-sample":  # 600 trials are few: Miconi's networks needed 850
            grown = reached.value - 2 * reached.se > first["accepted"] + 2 * first["se"]
            out.rows.append(Row(f"filter rounds, {name}", "grows", text, bool(grown)))
        else:
            out.rows.append(Row(f"filter rounds, {name}", ">= 21 % in the end", text, reached.value >= 0.21))
        out.tables.append(f"{name}: {(make.__doc__ or '').strip()}\n{table.round(4).to_string()}")
        axes.errorbar(table["total"], 100 * table["accepted"], 200 * table["se"], fmt="o-", color=color, label=name)
    axes.set_xlabel("simulations so far")
    axes.set_ylabel("networks of the round that met\nthe constraints (%), ± 2 s.e.")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(folder / "rounds.png")
    out.figures["rounds.png"] = (
        "Share of a round's networks that met the constraints asked in it; from the fifth round on the demo problem "
        "asks for moderate rates, too"
    )
    return out


if __name__ == "__main__":
    main(section)
