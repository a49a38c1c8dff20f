"""How far one row of numbers lies from many others, all columns together, and how likely that is by chance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["distances", "rank_of", "tail_p"]

SOFT = 6.0  # s.d. beyond which tails are drawn in
FEWEST = 10  # rows below which nothing can be said
TAIL = 0.1  # share of rows that tell how fast the tail falls


def distances(own: Tensor, others: Tensor) -> tuple[float, Tensor]:
    """Mahalanobis distance of a row `(K,)` from others `(n, K)`, and of each of these from the rest, `(n,)`.

    Columns are taken about their median, and their tails are drawn in, so that no single row decides; columns that are not
    finite throughout, or do not vary, are left out. NaN and nothing if too little is left.
    """
    told = torch.isfinite(others).all(dim=0) & torch.isfinite(own)
    made, row = others[:, told].double(), own[told].double()
    if len(made) < FEWEST or not len(row):
        return math.nan, torch.empty(0)
    centre = made.median(dim=0).values
    scale = (made - centre).abs().median(dim=0).values
    varies = scale > 1e-9 * (1 + centre.abs())
    z, mine = (
        SOFT * torch.asinh((v[..., varies] - centre[varies]) / (1.48 * SOFT * scale[varies])) for v in (made, row)
    )
    if not z.shape[1]:
        return math.nan, torch.empty(0)
    n, k = z.shape
    mean, covariance = z.mean(dim=0), torch.cov(z.T).reshape(k, k)
    gap = z - mean
    # what mean and covariance of the others are, without a row
    far = gap * n / (n - 1)
    rest = ((n - 1) * covariance - n / (n - 1) * gap[:, :, None] * gap[:, None]) / (n - 2)
    return float(_lengths((mine - mean)[None], covariance[None], n)[0]), _lengths(far, rest, n - 1)


def _lengths(gap: Tensor, covariance: Tensor, n: int) -> Tensor:
    """Mahalanobis lengths of rows `(m, K)`, each with a covariance of n rows, `(m, K, K)`, drawn towards its diagonal."""
    k = gap.shape[1]
    much = k / (k + n)
    diagonal = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    covariance = (1 - much) * covariance + much * diagonal + 1e-6 * torch.eye(k).double()
    squared: Tensor = (gap * torch.linalg.solve(covariance, gap)).sum(dim=1)
    return squared.sqrt()


def rank_of(own: float, each: Tensor) -> float:
    """Share of values at least as large as one's own, itself among them."""
    return math.nan if math.isnan(own) or not len(each) else (1 + int((each >= own).sum())) / (1 + len(each))


def tail_p(own: float, each: Tensor) -> float:
    """How likely a distance at least as large is among others `(n,)`.

    By rank; where fewer than ten of them are as large, by an exponential tail of their squares (which those of Gaussians
    have), as a rank among n cannot be less likely than 1 in n. That the tail's rate is known from k squares only makes what
    lies far out likelier: it is (1 + excess / (k mean))^-k, the exponential with its rate averaged over.
    """
    n = len(each)
    p = rank_of(own, each)
    tail = each.double().square().sort(descending=True).values[: max(int(TAIL * n), 1) + 1]
    if int((each >= own).sum()) >= FEWEST or len(tail) < FEWEST:
        return p
    start = tail[-1]
    k = len(tail) - 1
    mean = float((tail[:-1] - start).mean())
    if mean <= 0 or own**2 <= start:
        return p
    return min(p, k / n * math.exp(-k * math.log1p((own**2 - float(start)) / (k * mean))))
