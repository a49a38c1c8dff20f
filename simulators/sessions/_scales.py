"""Scales of single sessions by least squares, with the motifs held; and their errors."""

from __future__ import annotations

import torch
from torch import Tensor

from ._dynamics import Parts, Windows, predicted

__all__ = ["fitted_scales", "session_scales"]

STEPS = 12  # of Levenberg and Marquardt
DIFFERENCE = 1e-2  # of a scale, in units of the typical one
SMALLEST = 1e-6  # error of a scale, in the same units


def session_scales(p: Parts, each: list[Windows], step: float, floor: float | None = None) -> tuple[Tensor, Tensor]:
    """Scales `(K, R)` of each session, by its windows, and covariances `(K, R, R)` of their errors; none below the floor."""
    start = p.slow @ p.loading.mT + p.base
    centre, typical = start.mean(dim=0), max(float(start.square().mean().sqrt()), 1e-6)
    found = [fitted_scales(p, w, step, centre, typical, floor) for w in each]
    return torch.stack([c for c, _ in found]), torch.stack([cov for _, cov in found])


def fitted_scales(
    p: Parts, w: Windows, step: float, start: Tensor, typical: float, floor: float | None = None
) -> tuple[Tensor, Tensor]:
    """Scales `(R,)` of one session, and the covariance of their error.

    The error is a sandwich with windows as clusters: residuals within a window go together, and the network is not the truth.
    """
    r, n = len(start), len(w.past)

    def residual(scales: Tensor) -> Tensor:  # (m, R) to (m, W, H * C)
        with torch.no_grad():
            every = scales.float()[:, None].expand(-1, n, -1)
            y = torch.stack([predicted(p, one, w, step) for one in every])
        return (w.future - y).double().flatten(2)

    c, damp = start.double().clone(), 1e-3
    shifts = DIFFERENCE * typical * torch.eye(r, dtype=torch.float64)
    rest = residual(c[None])[0]
    for _ in range(STEPS):
        both = residual(torch.cat([c + shifts, c - shifts]))
        jacobian = (both[:r] - both[r:]) / (2 * DIFFERENCE * typical)  # (R, W, H C), of the residual
        slope = torch.einsum("rwm,wm->r", jacobian, rest)
        gram = torch.einsum("rwm,swm->rs", jacobian, jacobian)
        for _ in range(6):
            move = torch.linalg.solve(gram + damp * torch.diag(gram.diagonal() + 1e-12), slope)
            ahead = c - move if floor is None else (c - move).clamp(min=floor)
            tried = residual(ahead[None])[0]
            if bool(tried.square().sum() <= rest.square().sum()):
                damp = max(damp / 10, 1e-8)
                break
            damp *= 10
        else:
            break
        small = float((ahead - c).abs().max()) < 1e-5 * typical
        c, rest = ahead, tried
        if small:
            break
    both = residual(torch.cat([c + shifts, c - shifts]))
    jacobian = (both[:r] - both[r:]) / (2 * DIFFERENCE * typical)
    gram = torch.einsum("rwm,swm->rs", jacobian, jacobian)
    each = torch.einsum("rwm,wm->wr", jacobian, rest)
    inverse = torch.linalg.inv(gram + 1e-9 * gram.diagonal().mean() * torch.eye(r, dtype=gram.dtype))
    cov = inverse @ (each.T @ each) @ inverse * (n / max(n - r, 1))
    return c, 0.5 * (cov + cov.T) + (SMALLEST * typical) ** 2 * torch.eye(r, dtype=cov.dtype)
