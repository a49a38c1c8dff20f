r"""Stability of a network's dynamics, from its weights alone: the eigenvalues, and what diagonal scaling certifies.

    tau dx/dt = -x + W phi(x) + input,    0 <= phi' <= d,    A = -I + d W over the free units

**Spectral abscissa**: the largest real part of A's eigenvalues. Negative: the dynamics are locally stable where all units
have the slope d. In threshold-linear networks that is wherever all free units are active, and says nothing of states in which
some are silent.

**Lyapunov margin**: A is diagonally stable if P A + A^T P is negative definite for a positive diagonal P. Then every constant
input has exactly one fixed point, which is reached from every state, whichever units are active (Forti & Tesi 1995, IEEE
Trans. Circuits Syst. I 42:354; Kaszkurewicz & Bhaya 2000, "Matrix diagonal stability in systems and computation"). The
condition is sufficient only: a network without such a P may well be stable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sbirules.model.fields import Field
from sbirules.model.summaries import Summary

from ._settings import Settings

__all__ = [
    "SLOPES",
    "STABILITY",
    "effective_connectivity",
    "lyapunov_margin",
    "measure",
    "read_by",
    "spectral_abscissa",
]

SLOPES = {"tanh": 1.0, "threshold_linear": 1.0, "sigmoid": 0.25}  # the steepest; those of tanh and sigmoid are at x = 0

STABILITY = (
    Field(
        "spectral_abscissa",
        "largest real part of the eigenvalues of -I + d W over the free units at the end, d the steepest slope of the "
        "nonlinearity: 1 for threshold_linear (all active) and for tanh (at 0), 1/4 for sigmoid (at 0)",
        "1/tau",
        per="run",
    ),
    Field(
        "lyapunov_margin",
        "upper bound of the least t with P A + A^T P <= 2 t P for a positive diagonal P, A = -I + d W as in "
        "spectral_abscissa; below 0: one fixed point for each constant input, globally stable; above 0 proves nothing",
        "1/tau",
        per="run",
    ),
)

ENTRIES = 2**21  # of matrices that are looked at together, for memory
SWEEPS = 10  # of balancing
STEPS = 100  # at most; 64 units need about 40
CENTRED = 0.6  # Newton decrement below which the level is lowered, and the step is not damped
NEARER = 0.5  # share of a level's distance from the largest eigenvalue that is left when it is lowered
CLOSE = 5e-5  # distance at which the search ends; the optimum is about ten times as far, relative to 1 + |margin|
SEPARATED = 25.0  # log of what parts without a way back are scaled apart by, less where there are many
LARGEST = 600.0  # log of the largest scaling; doubles end at 709
FINEST = 2.0**-20  # margins are multiples of it
ROUNDING = 1e-12  # of an eigenvalue, relative to the matrix: far above what it is


def read_by(summaries: Sequence[Summary]) -> tuple[Field, ...]:
    """The measures of stability that any of the summaries reads. Others are not taken: each costs as much as many trials."""
    read = {name for s in summaries for name in s.fields}
    return tuple(f for f in STABILITY if f.name in read)


def measure(weights: Tensor, dead: Tensor, settings: Settings, names: Sequence[str]) -> dict[str, Tensor]:
    """Measures by name, each `(batch,)`; NaN for networks that have diverged.

    Arguments:
        weights: W, `(batch, N, N)` as (post, pre).
        dead: Which networks have diverged, `(batch,)` boolean.
        settings: The network's settings.
        names: Which of `STABILITY`.
    """
    if not names:
        return {}
    a = effective_connectivity(weights, settings)
    fine = torch.isfinite(a).all(dim=2).all(dim=1) & ~dead.cpu()
    a = torch.where(fine[:, None, None], a, 0.0)
    out = {}
    for name in names:
        value = lyapunov_margin(a)[0] if name == "lyapunov_margin" else spectral_abscissa(a)
        out[name] = torch.where(fine, value, torch.nan).to(weights.device, weights.dtype)
    return out


def effective_connectivity(weights: Tensor, settings: Settings) -> Tensor:
    """A = -I + d W over the free units, `(batch, free, free)`; clamped units are constant input to the others.

    In double precision on the CPU, so that a network has the same measures on every device.
    """
    free = [u for u in range(settings.num_units) if u not in settings.clamped]
    w = weights.detach().to("cpu", torch.float64)[:, free][:, :, free]
    return SLOPES[settings.nonlinearity] * w - torch.eye(len(free), dtype=w.dtype)


def spectral_abscissa(matrices: Tensor) -> Tensor:
    """Largest real part of the eigenvalues of `(batch, n, n)`, `(batch,)`.

    Raises:
        ValueError: If the matrices are not finite and square.
    """
    values: Tensor = torch.linalg.eigvals(_checked(matrices))
    return values.real.amax(dim=1)


def lyapunov_margin(matrices: Tensor) -> tuple[Tensor, Tensor]:
    r"""How far matrices are from the edge of Lyapunov diagonal stability, and the scaling that shows it.

        margin = min over diagonal P > 0 of the least t with  P A + A^T P <= 2 t P

    that is of the largest eigenvalue of the symmetric part of P^(1/2) A P^(-1/2): x^T P x decays at the rate 2 |t| if t < 0.
    It is in the units of A, at least the spectral abscissa, equal to it for symmetric matrices and those without negative
    entries off the diagonal (where Perron's vectors give P), and does not depend on the units in which each x_i is measured.

    A quasiconvex problem, solved by the method of centers (Boyd & El Ghaoui 1993, Linear Algebra Appl. 188:63) from P = I and
    from balanced rows and columns. What comes back is the value at a P that was found, rounding included: an upper bound of
    the minimum, about 1e-3 (1 + |margin|) above it or less. So a negative margin always is a proof.

    Arguments:
        matrices: A, `(batch, n, n)`.

    Returns:
        The margins `(batch,)` and log P `(batch, n)`, in double precision.

    Raises:
        ValueError: If the matrices are not finite and square.
    """
    a = _checked(matrices)
    rows = max(1, ENTRIES // a.shape[1] ** 2)
    parts = [_margin(part) for part in torch.split(a, rows)]
    margin = torch.cat([margin for margin, _ in parts])
    # rounded up, so that what is in the batch with a matrix does not show in its last digits
    return torch.ceil(margin / FINEST) * FINEST, 2 * torch.cat([log for _, log in parts])


def _checked(matrices: Tensor) -> Tensor:
    shape = tuple(matrices.shape)
    if matrices.ndim != 3 or shape[1] != shape[2] or 0 in shape[1:] or matrices.is_complex():
        raise ValueError(f"matrices must be real of shape (batch, n, n), got {matrices.dtype} of shape {shape}.")
    if not bool(torch.isfinite(matrices).all()):
        raise ValueError("matrices must be finite; leave out networks that diverged.")
    return matrices.detach().to("cpu", torch.float64)


def _margin(a: Tensor) -> tuple[Tensor, Tensor]:
    """Margins and log P^(1/2) of some matrices."""
    mutual, apart = _components(a)
    # what leads from one part to another without a way back can be scaled away, so each part counts for itself
    found = _central(torch.where(mutual, a, 0.0), spectral_abscissa(a)) + apart
    plain, scaled = _upper(a), _upper(_scaled(a, found))
    better = scaled < plain
    return torch.where(better, scaled, plain), torch.where(better[:, None], found, 0.0)


def _scaled(a: Tensor, log: Tensor) -> Tensor:
    """P^(1/2) A P^(-1/2) for log P^(1/2) `(batch, n)`."""
    return torch.exp((log[:, :, None] - log[:, None, :]).clamp(max=LARGEST)) * a


def _largest(a: Tensor) -> Tensor:
    """Largest eigenvalue of the symmetric part, `(batch,)`."""
    values: Tensor = torch.linalg.eigvalsh((a + a.mT) / 2)
    return values[:, -1]


def _upper(a: Tensor) -> Tensor:
    """The same and what rounding may have taken from it; infinite where the matrix is not finite."""
    size = a.square().sum(dim=(1, 2)).sqrt()
    fine = torch.isfinite(size)
    return torch.where(fine, _largest(torch.where(fine[:, None, None], a, 0.0)) + ROUNDING * size, torch.inf)


def _components(a: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of units reach each other, `(batch, n, n)`, and log P^(1/2) that scales away what leads on from there."""
    n = a.shape[1]
    reach = ((a != 0) | torch.eye(n, dtype=torch.bool)).double()  # entry (i, j): j reaches i
    for _ in range(math.ceil(math.log2(max(n, 2)))):
        reach = (reach @ reach > 0).double()
    mutual = (reach * reach.mT) > 0
    # units downstream are reached by more units than those that reach them; equally many within a part
    count, order = reach.sum(dim=2).sort(dim=1)
    level = torch.zeros_like(count)
    level[:, 1:] = (count.diff(dim=1) > 0).double().cumsum(dim=1)
    level = torch.zeros_like(level).scatter(1, order, level)
    step = (LARGEST / level.amax(dim=1, keepdim=True).clamp(min=1.0)).clamp(max=SEPARATED)
    return mutual, -step * level


def _balanced(a: Tensor) -> Tensor:
    """log P^(1/2) that makes rows and columns about equally large (Osborne 1960), `(batch, n)`."""
    off = (a - torch.diag_embed(a.diagonal(dim1=1, dim2=2))).square()
    tiny = 1e-6 * off.sum(dim=(1, 2))[:, None] / a.shape[1] + 1e-300
    log = torch.zeros_like(a[:, 0])
    for _ in range(SWEEPS):
        size = torch.exp(2 * (log[:, :, None] - log[:, None, :])) * off
        log = log - 0.225 * torch.log((size.sum(dim=2) + tiny) / (size.sum(dim=1) + tiny))
    return log


def _central(a: Tensor, least: Tensor) -> Tensor:
    """log P^(1/2) with about the smallest largest eigenvalue, `(batch, n)`; `least` is known to lie below it.

    At a level t above the largest eigenvalue, F = 2 t I - B - B^T is positive definite, for the B = P^(1/2) A P^(-1/2) of
    now. Newton steps in P towards the largest log det F keep all eigenvalues away from t, which is then lowered.
    """
    balanced = _balanced(a)
    first, second = _upper(a), _upper(_scaled(a, balanced))
    log = torch.where((second < first)[:, None], balanced, 0.0)
    best, out = torch.minimum(first, second), log.clone()
    level = best + (best - least).clamp(min=CLOSE)
    # every row goes its own way, whatever is in the batch with it
    rows = (best - least > CLOSE * (1 + best.abs())).nonzero()[:, 0]
    for _ in range(STEPS):
        if len(rows) == 0:
            break
        t, before = level[rows], log[rows]
        step, decrement = _newton(_scaled(a[rows], before), t)
        damped = step / torch.where(decrement > CENTRED, 1 + decrement, 1.0)[:, None]
        after = before + 0.5 * torch.log1p(damped.clamp(min=-0.9))
        value = _upper(_scaled(a[rows], after))
        close = CLOSE * (1 + value.abs())
        centred = decrement < CENTRED
        lower = torch.where(centred, value + NEARER * (t - value), t)
        log[rows], level[rows] = after, torch.maximum(lower, value + close)
        better = value < best[rows]
        best[rows] = torch.where(better, value, best[rows])
        out[rows] = torch.where(better[:, None], after, out[rows])
        ended = (centred & (level[rows] - value <= 2 * close)) | (best[rows] - least[rows] <= close)
        rows = rows[~ended & torch.isfinite(decrement) & torch.isfinite(value)]
    return out


def _newton(b: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Relative step in P, `(batch, n)`, and the Newton decrement, `(batch,)`: NaN where there is none.

    Of -log det(P C + C^T P) + sum_i P_ii at P = I, with C = t I - B: the sum fixes the scale of P.
    """
    c = t[:, None, None] * torch.eye(b.shape[1], dtype=b.dtype) - b
    factor, failed = torch.linalg.cholesky_ex(c + c.mT)
    inverse = torch.cholesky_inverse(factor)
    product = c @ inverse
    gradient = 1 - 2 * product.diagonal(dim1=1, dim2=2)
    hessian = 2 * (product * product.mT + (product @ c.mT) * inverse)
    factor, singular = torch.linalg.cholesky_ex(hessian)
    step = -torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
    decrement = (-(gradient * step).sum(dim=1)).clamp(min=0.0).sqrt()
    return step, torch.where((failed == 0) & (singular == 0), decrement, torch.nan)
