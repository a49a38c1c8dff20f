"""Do posteriors use all of the data? Calibration by coverage alone passes those that ignore them, as the prior does."""

from __future__ import annotations

import torch
from torch import Tensor

from sbirules.checks.recovery import Recovery
from sbirules.model.verdicts import Verdict, by_p_value

__all__ = ["data_use_verdict", "unused"]

DRAWS = 200  # of each posterior, which take the place of the truth
RULES_PER_COLUMN = 5  # columns of data are reduced to so many rules each


def data_use_verdict(found: Recovery, features: Tensor) -> list[Verdict]:
    """Can data tell true rules from posterior draws?"""
    p, share, chance = unused(found, features)
    level = by_p_value(p)
    finding = (
        f"Of what posteriors leave open of the true rules, a regression on the data explains {share:.1%}, and {chance:.1%} "
        f"where a draw takes the place of the truth (p = {p:.2g}, {len(found.truth)} rules)."
    )
    advice = (
        "" if level == "pass" else "The estimator does not use what the data tell: simulate more, or train it longer."
    )
    return [Verdict("use of data", level, finding, advice, {"p": p, "unused": share, "by_chance": chance})]


def unused(found: Recovery, features: Tensor) -> tuple[float, float, float]:
    """p-value, and the share of the open variance that data explain: of the truth, and of posterior draws on average.

    Given the data, the truth is one more draw of a right posterior. What is left of it after the mean, over the s.d., is
    regressed on the data, and so is what is left of each draw; the first is ranked among the others. Where it is beyond
    nearly all of them, the p-value is that of a gamma distribution with their mean and variance.
    """
    from scipy.stats import gamma

    data = _columns(features)
    draws = found.draws[:, :DRAWS].double().transpose(0, 1)  # (draws, rules, D)
    every = torch.cat([found.truth.double()[None], draws])
    sd = every.std(dim=0)
    left = (every - every.mean(dim=0)) / torch.where(sd > 0, sd, 1.0)
    left = left.clamp(-5, 5)  # a single rule shall not decide
    left = left - left.mean(dim=1, keepdim=True)
    basis, _ = torch.linalg.qr(data)
    explained = torch.einsum("rk,mrd->mkd", basis, left).square().sum(dim=(1, 2))
    explained = explained / left.square().sum(dim=(1, 2)).clamp(min=1e-12)
    own, others = float(explained[0]), explained[1:]
    p = (1 + int((others >= own).sum())) / (1 + len(others))
    mean, var = float(others.mean()), float(others.var())
    if p < 0.05 and var > 0:
        p = min(p, float(gamma.sf(own, mean**2 / var, scale=var / mean)))
    return p, own, mean


def _columns(features: Tensor) -> Tensor:
    """Data as columns without outliers, of mean zero: normal scores of ranks, the first principal ones if they are many."""
    x = features[:, (features != features[:1]).any(dim=0)].double()
    n = len(x)
    ranks = (x[:, None] > x[None]).sum(dim=1) + 0.5 * (x[:, None] == x[None]).sum(dim=1)
    scores: Tensor = torch.special.ndtri(ranks.double() / n)
    scores = scores - scores.mean(dim=0)
    most = max(1, n // RULES_PER_COLUMN)
    if scores.shape[1] > most:
        u, s, _ = torch.linalg.svd(scores, full_matrices=False)
        scores = u[:, :most] * s[:most]
    return scores
