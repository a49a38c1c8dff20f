r"""Filtering of a state that moves by a law with Gaussian noise and is measured with known errors.

    state^(k+1) = law(state^k, u^k) + noise,      y^k = scales^k + error

Moments go through the law by a cubature of third degree (Arasaratnam & Haykin 2009), which is exact for linear laws: the filter
is Kalman's there. Everything is batched over rules and animals, and differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["IMPOSSIBLE", "Filtered", "Path", "filtered", "forecast"]

JITTER = 1e-9  # of the state's variance, so that what is known exactly has a square root
IMPOSSIBLE = -math.inf  # log-density of a measurement under a law whose state is not finite

Step = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Path:
    """How a state moves; n rules, A animals, S of state, of which the first R are measured.

    Arguments:
        step: From columns of theta, state `(..., S)` and stimulation `(..., B)` to the next state.
        theta: Columns by name, `(n, A)`.
        mean: Of the first state, `(n, A, S)`.
        spread: Its s.d., `(S,)`.
        walk: Variance of the law's noise from each session to the next, `(n, A, K, R)`.
        stimulation: `(A, K, B)`.
    """

    step: Step
    theta: Mapping[str, Tensor]
    mean: Tensor
    spread: Tensor
    walk: Tensor
    stimulation: Tensor


@dataclass(frozen=True)
class Filtered:
    """What measurements told; K sessions.

    Arguments:
        log_prob: Log-density of each session's measurement given those before, `(n, A, K)`; 0 where there is none.
        predicted: Mean of each session's scales given the sessions before, `(n, A, K, R)`.
        covariance: Theirs, without errors of measurement, `(n, A, K, R, R)`.
        state: Mean of the state given all sessions up to the last, `(n, A, S)`.
        state_covariance: Its covariance, `(n, A, S, S)`.
    """

    log_prob: Tensor
    predicted: Tensor
    covariance: Tensor
    state: Tensor
    state_covariance: Tensor


def filtered(path: Path, scales: Tensor, errors: Tensor, counts: Tensor) -> Filtered:
    """Runs the filter over sessions.

    Arguments:
        path: How the state moves.
        scales: Measurements, `(A, K, R)`.
        errors: Covariances of their errors, `(A, K, R, R)`, or under each rule, `(n, A, K, R, R)`.
        counts: Which sessions were measured, `(A, K)`.
    """
    r = scales.shape[2]
    value = torch.where(counts[..., None], scales, 0.0)
    mean, cov = path.mean, torch.diag_embed(path.spread.square()).expand(*path.mean.shape, -1)
    logs, means, covs = [], [], []
    for k in range(scales.shape[1]):
        means.append(mean[..., :r])
        covs.append(cov[..., :r, :r])
        log_prob, mean, cov = _told(mean, cov, value[:, k], errors[..., k, :, :], counts[:, k])
        logs.append(log_prob)
        if k + 1 < scales.shape[1]:
            mean, cov = _moved(path, mean, cov, k)
    return Filtered(torch.stack(logs, dim=2), torch.stack(means, dim=2), torch.stack(covs, dim=2), mean, cov)


def forecast(path: Path, mean: Tensor, cov: Tensor, sessions: int, scales: int) -> tuple[Tensor, Tensor]:
    """Means `(n, A, sessions, R)` and covariances of the sessions to come, from the state after the last.

    Arguments:
        path: Whose stimulation is of the last session and those to come, `(A, sessions, B)`.
        mean: Of the state in the last session, `(n, A, S)`.
        cov: Its covariance.
        sessions: How many to come.
        scales: R.
    """
    means, covs = [], []
    for k in range(sessions):
        mean, cov = _moved(path, mean, cov, k)
        means.append(mean[..., :scales])
        covs.append(cov[..., :scales, :scales])
    return torch.stack(means, dim=2), torch.stack(covs, dim=2)


def _told(mean: Tensor, cov: Tensor, value: Tensor, error: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-density of a measurement, and the state given it."""
    r = value.shape[-1]
    whole = cov[..., :r, :r] + error
    root, bad = torch.linalg.cholesky_ex(whole)
    good = (bad == 0) & torch.isfinite(mean).all(dim=-1)
    root = torch.where(good[..., None, None], root, torch.eye(r, dtype=root.dtype))
    away = torch.where(good[..., None], value - mean[..., :r], 0.0)
    white = torch.linalg.solve_triangular(root, away[..., None], upper=False)
    size = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1) + 0.5 * r * math.log(2 * math.pi)
    log_prob = torch.where(good, -0.5 * white.square().sum(dim=(-2, -1)) - size, IMPOSSIBLE)
    gain = torch.linalg.solve_triangular(root, cov[..., :r, :], upper=False)  # root^-1 P, so that K = gain^T root^-1
    usable = (there & good)[..., None]
    after = mean + torch.where(usable, (gain.mT @ white)[..., 0], 0.0)
    less = torch.where(usable[..., None], gain.mT @ gain, 0.0)
    return torch.where(there, log_prob, 0.0), after, cov - less


def _moved(path: Path, mean: Tensor, cov: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Moments of the next state before its measurement."""
    s = mean.shape[-1]
    scale = cov.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None] + 1e-12
    root, bad = torch.linalg.cholesky_ex(0.5 * (cov + cov.mT) + JITTER * scale * torch.eye(s, dtype=cov.dtype))
    root = torch.where((bad == 0)[..., None, None], root, 0.0)
    offsets = math.sqrt(s) * torch.cat([root, -root], dim=-1).mT  # (n, A, 2 S, S)
    points = mean[..., None, :] + offsets
    theta = {name: v[..., None] for name, v in path.theta.items()}
    u = path.stimulation[:, k, None, :].expand(*points.shape[:-1], -1)
    ahead = path.step(theta, points, u)
    centre = ahead.mean(dim=-2)
    apart = ahead - centre[..., None, :]
    cov = apart.mT @ apart / (2 * s)
    walk = path.walk[:, :, k]
    return centre, cov + torch.diag_embed(torch.nn.functional.pad(walk, (0, s - walk.shape[-1])))
