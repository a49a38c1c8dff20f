"""What is easy about a likelihood: the trend of the summaries over rules, and Gaussian scatter around it.

A quadratic response surface takes the trend out before flows learn what is left. Few simulations then go a long
way: where the trend is all there is, a flow has nothing left to learn, and to get wrong. The scatter as one
Gaussian is the simplest model of the residuals, that of regression-adjusted synthetic likelihoods (Wood 2010).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sbirules.support.robust import centre_and_spread

__all__ = ["FOLDS", "GaussianResidual", "Trend"]

FOLDS = 5  # parts of the rows that are left out in turn
# ridge penalties of the linear terms, and how many times more the squares and products are penalised
PENALTIES, FACTORS = tuple(10.0**k for k in range(-6, 2)), (1.0, 10.0, 100.0, 1e3, 1e5)


class Trend(nn.Module):
    """Mean of the summaries given a context (standardised coefficients), quadratic in it, on a standardised scale.

    Constant summaries have no part in it: what is left of them has no density.

    Arguments:
        weights: Of constant, linear, square and product terms, `(F, V)`, for the V summaries that vary.
        mean: Mean of all summaries, `(S,)`.
        scale: Their s.d., `(S,)`; infinite for a constant one.
        without: The weights as fitted without each fold, `(K, F, S)`.
    """

    without: Tensor
    weights: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, weights: Tensor, mean: Tensor, scale: Tensor, without: Tensor) -> None:
        super().__init__()
        for name, value in (
            ("weights", weights.float()),
            ("mean", mean),
            ("scale", scale),
            ("without", without.float()),
        ):
            self.register_buffer(name, value)

    def forward(self, context: Tensor) -> Tensor:
        """Expected standardised summaries `(n, V)` for contexts `(n, D)`."""
        return _terms(context) @ self.weights

    def without_fold(self, context: Tensor, fold: int) -> Tensor:
        """What `forward` would be, fitted without one fold."""
        return _terms(context) @ self.without[fold]

    def standardise(self, x: Tensor) -> Tensor:
        """Summaries `(..., S)` on the scale of `forward`, `(..., V)`."""
        every = ((x - self.mean) / self.scale).float()  # centred first: single precision would lose a large offset
        return every[..., self.varies] if not bool(self.varies.all()) else every

    @property
    def varies(self) -> Tensor:
        """Which summaries are not constant, `(S,)` boolean."""
        return torch.isfinite(self.scale)

    @property
    def log_scale(self) -> Tensor:
        """Sum of the logarithms of the scales, by which densities of what is standardised are larger."""
        return self.scale[self.varies].log().sum()

    @classmethod
    def fit(cls, context: Tensor, x: Tensor) -> tuple[Trend, Tensor]:
        """The trend of x `(n, S)` over contexts `(n, D)`, and the residuals `(n, V)`.

        Penalties are chosen by cross-validation, and a row's residual comes from a fit without its fold, so that
        residuals are as large as they will be for new rows.
        """
        mean, sd = centre_and_spread(x)
        scale = torch.where(sd > 0, sd, torch.inf)
        y, terms = ((x - mean) / scale)[:, sd > 0].double(), _terms(context).double()
        linear = 1 + context.shape[1]
        fold = torch.randperm(len(x)) % FOLDS
        parts = [(terms[fold == k], y[fold == k]) for k in range(FOLDS)]
        grams = torch.stack([a.T @ a for a, _ in parts])
        cross = torch.stack([a.T @ b for a, b in parts])
        best, chosen = math.inf, (0.0, 0.0)
        predicted, kept = torch.zeros_like(y), torch.zeros_like(cross)
        for penalty in PENALTIES:
            for factor in FACTORS:
                weights = [
                    _ridge(grams.sum(dim=0) - grams[k], cross.sum(dim=0) - cross[k], linear, penalty, factor, len(x))
                    for k in range(FOLDS)
                ]
                guess = torch.zeros_like(y)
                for k, w in enumerate(weights):
                    guess[fold == k] = parts[k][0] @ w
                loss = float(((y - guess) ** 2).mean())
                if loss < best:
                    best, chosen, predicted, kept = loss, (penalty, factor), guess, torch.stack(weights)
        final = _ridge(grams.sum(dim=0), cross.sum(dim=0), linear, *chosen, len(x))
        return cls(final, mean, scale, kept), (y - predicted).float()

    @classmethod
    def empty(cls, context: int, columns: int, varying: int, dtype: torch.dtype = torch.float32) -> Trend:
        """One of that shape, to load tensors into."""
        weights = torch.zeros(_terms(torch.zeros(1, context)).shape[1], varying)
        zeros = torch.zeros(columns, dtype=dtype)
        return cls(weights, zeros, torch.ones(columns, dtype=dtype), weights.repeat(FOLDS, 1, 1))


class GaussianResidual(nn.Module):
    """One Gaussian for all residuals, with a flow's interface.

    Arguments:
        residuals: What to fit it to, `(n, S)`.
    """

    mean: Tensor
    cholesky: Tensor
    means_without: Tensor
    choleskys_without: Tensor

    def __init__(self, residuals: Tensor) -> None:
        super().__init__()
        fold = torch.arange(len(residuals)) % FOLDS
        fits = [_moments(residuals), *(_moments(residuals[fold != k]) for k in range(FOLDS))]
        for name, (mean, cholesky) in (
            ("", fits[0]),
            ("s_without", [torch.stack(part) for part in zip(*fits[1:], strict=True)]),
        ):
            self.register_buffer("mean" + name, mean)
            self.register_buffer("cholesky" + name, cholesky)

    def log_prob(self, rows: Tensor, condition: object = None, without: int | None = None) -> Tensor:
        """Log-density `(...)` of residuals `(..., S)`, the same under every condition; or as fitted without one fold."""
        mean = self.mean if without is None else self.means_without[without]
        cholesky = self.cholesky if without is None else self.choleskys_without[without]
        flat = (rows - mean).reshape(-1, rows.shape[-1])
        z = torch.linalg.solve_triangular(cholesky, flat.T, upper=False)
        constant = cholesky.diagonal().log().sum() + 0.5 * rows.shape[-1] * math.log(2 * math.pi)
        value: Tensor = -0.5 * (z**2).sum(dim=0) - constant
        return value.reshape(rows.shape[:-1])


def _moments(residuals: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and the Cholesky factor of the covariance."""
    covariance = torch.cov(residuals.T.double()).reshape(residuals.shape[1], -1)
    ridge = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12) * torch.eye(len(covariance), dtype=torch.float64)
    return residuals.mean(dim=0), torch.linalg.cholesky(covariance + ridge).float()


def _terms(context: Tensor) -> Tensor:
    """Constant, linear terms, then squares and products, `(n, F)`."""
    i, j = torch.triu_indices(context.shape[1], context.shape[1])
    return torch.cat([torch.ones_like(context[:, :1]), context, context[:, i] * context[:, j]], dim=1)


def _ridge(gram: Tensor, cross: Tensor, linear: int, penalty: float, factor: float, n: int) -> Tensor:
    weight = torch.full((len(gram),), penalty * n, dtype=gram.dtype)
    weight[linear:] *= factor
    weight[0] = 1e-9 * n  # the constant is free
    solution: Tensor = torch.linalg.solve(gram + torch.diag(weight), cross)
    return solution
