"""Does the prior cut the posterior off?"""

from __future__ import annotations

import math

from sbirules.inference.posterior import Posterior
from sbirules.model.prior import bounds_of, prior_draws
from sbirules.model.verdicts import Verdict

__all__ = ["edges_verdict"]

NEAR = 0.02  # share of the prior, at each of its bounds
PRESSED = 0.1  # share of the posterior there from which on that is a caution


def edges_verdict(posterior: Posterior) -> list[Verdict]:
    """How much of the posterior lies in the outermost 2 % of the prior, at each of its bounds?

    Of a uniform prior that is within 2 % of its width. Priors without bounds have no edges.
    """
    shares = {}
    draws, prior = posterior.draws.double(), prior_draws(posterior.prior, 10_000).double()
    for k, (name, ends) in enumerate(zip(posterior.names, bounds_of(posterior.prior, posterior.names), strict=True)):
        if k in posterior.hold or k in posterior.region:
            continue
        for side, end in zip(("lower", "upper"), ends, strict=True):
            if not math.isfinite(end):
                continue
            place = float(prior[:, k].quantile(NEAR if side == "lower" else 1 - NEAR))
            at = draws[:, k] < place if side == "lower" else draws[:, k] > place
            shares[f"{name} at its {side} bound {end:.4g}"] = float(at.double().mean())
    if not shares:
        return []
    worst = max(shares, key=lambda at: shares[at])
    pressed = sorted((at for at in shares if shares[at] > PRESSED), key=lambda at: -shares[at])
    level = "caution" if pressed else "pass"
    finding = f"In the outermost {NEAR:.0%} of the prior lie at most {shares[worst]:.0%} of the draws ({worst})."
    if pressed:
        listed = ", ".join(f"{shares[at]:.0%} of {at}" for at in pressed[:4])
        finding = f"The posterior is pressed against the edge of the prior: in its outermost {NEAR:.0%} lie {listed}."
    advice = (
        "Widen the prior there and begin again; if the bound is meant, the best rules lie beyond it." if pressed else ""
    )
    return [Verdict("prior's edge", level, finding, advice, shares)]
