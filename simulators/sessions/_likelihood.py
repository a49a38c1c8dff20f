"""The likelihood of session scales under laws, by filtering; and what laws predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbirules.model.rules import Law
from sbirules.model.session_scales import SessionScales
from sbirules.model.state_space import IMPOSSIBLE, Filtered, Path, filtered, forecast
from sbirules.support import arguments

__all__ = ["LawLikelihood", "Units"]

DIFFERENCE = 1e-5  # of a coefficient
AT_ONCE = 2_000_000  # numbers of states in memory together


@dataclass(frozen=True)
class Units:
    """What scales, stimulation and time are measured in.

    Arguments:
        centre: Mean of each scale.
        scale: Spread of all around it.
        strength: Root mean square of stimulation.
        gap: Usual time between sessions, for noise that grows with it; None for noise that does not.
    """

    centre: tuple[float, ...]
    scale: float = 1.0
    strength: float = 1.0
    gap: float | None = None


class LawLikelihood:
    """Of session scales; A animals, K sessions, R scales, D coefficients.

    Arguments:
        names: Names of theta's columns.
        law: The law; None for none, scales that wander.
        sessions: What was measured.
        units: What scales, stimulation and time are measured in.
        initial: S.d. of the first session's scales around the centre, in spreads.
    """

    threads: int | None = None

    def __init__(
        self,
        names: Sequence[str],
        law: Law | None,
        sessions: SessionScales,
        *,
        units: Units,
        initial: float,
    ) -> None:
        self.names, self.law, self.sessions = tuple(names), law, sessions
        self.units, self.initial = units, initial
        self.latents = sessions.scales.shape[2]
        self.memory = 0 if law is None else law.memory
        # a law that is not relative has scales as they are: only its noise and its beginning are in spreads
        relative = law is None or law.relative
        centre = torch.tensor(units.centre, dtype=torch.float64)
        self.centre, self.scale = (centre, units.scale) if relative else (torch.zeros_like(centre), 1.0)
        self.strength = units.strength if relative else 1.0
        self.middle, self.spread = (torch.zeros_like(centre), 1.0) if relative else (centre, units.scale)
        self.value = (sessions.scales - self.centre) / self.scale
        self.error = sessions.covariance / self.scale**2
        self.there = sessions.measured & sessions.there
        self.stimulation = sessions.stimulation / self.strength
        if law is not None and not law.stimulations:
            self.stimulation = self.stimulation[..., :0]
        gap = 1.0 if units.gap is None else units.gap
        gaps = torch.nn.functional.pad(sessions.time.diff(dim=1), (0, 1), value=gap).clamp(min=0.0)
        gaps = torch.where(torch.arange(gaps.shape[1]) + 1 < sessions.num_sessions[:, None], gaps, gap)
        self.gaps = torch.ones_like(gaps) if units.gap is None else gaps / gap

    @property
    def animals(self) -> int:
        """How many animals."""
        return len(self.sessions)

    def _rows(self, theta: Tensor) -> Tensor:
        return arguments.theta_of_animals(theta, self.animals, self.names)

    def _parts(self, rows: Tensor) -> list[Tensor]:
        s = self.latents + self.memory
        each = self.animals * self.value.shape[1] * 2 * s * s
        return list(torch.split(rows, max(1, AT_ONCE // each)))

    def factor(self, rows: Tensor) -> Tensor | None:
        """What covariances of errors are multiplied with, `(n, A)`; None where errors are known."""
        return rows[..., self.names.index("error_scale")].square() if "error_scale" in self.names else None

    def _path(self, rows: Tensor) -> Path:
        columns = self._columns(rows)
        columns.pop("error_scale", None)
        walk = (columns.pop("walk") * self.spread).square()[..., None] * self.gaps
        mean = self.middle.expand(*rows.shape[:2], -1)
        if self.memory and self.law is not None:
            mean = torch.cat([mean, self.law.start(columns)], dim=-1)
        spread = torch.cat([torch.full((self.latents,), self.initial * self.spread), torch.zeros(self.memory)]).double()
        step = _wandering if self.law is None else self.law.step
        return Path(step, columns, mean, spread, walk[..., None].expand(-1, -1, -1, self.latents), self.stimulation)

    def filtered(self, theta: Tensor, where: Tensor | None = None) -> Filtered:
        """What measurements told, session by session, in units of `scale`; arguments as for `log_prob`."""
        rows, counts = self._rows(theta), self.there if where is None else self.there & where
        return filtered(self._path(rows), self.value, self.error, counts, self.factor(rows))

    def log_prob(self, theta: Tensor, where: Tensor | None = None) -> Tensor:
        """Log-likelihood of each animal's scales, `(n, animals)` float64.

        Arguments:
            theta: Laws of all animals `(n, D)`, or of each `(n, animals, D)`. Gradients flow.
            where: Which sessions count, `(animals, sessions)` boolean; all by default.
        """
        return torch.cat([self._log_prob(part, where) for part in self._parts(self._rows(theta))])

    def _log_prob(self, rows: Tensor, where: Tensor | None) -> Tensor:
        counts = self.there if where is None else self.there & where
        jacobian = self.latents * torch.log(torch.tensor(self.scale, dtype=torch.float64)) * counts.sum(dim=1)
        if self.law is None or self.law.linear(self._columns(rows)) is not None:
            value: Tensor = _Kalman.apply(rows, self, counts)  # type: ignore[no-untyped-call]
            return value - jacobian
        found = filtered(self._path(rows), self.value, self.error, counts, self.factor(rows))
        return found.log_prob.sum(dim=2) - jacobian

    def _columns(self, rows: Tensor) -> dict[str, Tensor]:
        return {name: rows[..., k] for k, name in enumerate(self.names)}

    def kalman(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Log-likelihoods `(n, A)` of laws that are linear, in units of `scale`, by the compiled filter."""
        from ._kernels import kalman_log_prob

        found = None if self.law is None else self.law.linear(self._columns(rows))
        if found is None:  # scales that wander
            stay = torch.eye(self.latents, dtype=torch.float64).expand(*rows.shape[:2], -1, -1)
            none = rows.new_zeros((*rows.shape[:2], self.latents))
            found = (stay, none[..., None][..., :0], none)
        change, into, bias = found
        offset = torch.einsum("narb,akb->nakr", into, self.stimulation[..., : into.shape[-1]]) + bias[:, :, None]
        walk = (rows[..., self.names.index("walk")] * self.spread).square()[..., None] * self.gaps
        out, factor = torch.empty(rows.shape[:2], dtype=torch.float64), self.factor(rows)
        value = torch.where(counts[..., None], self.value, 0.0)
        kalman_log_prob(
            _array(value),
            _array(self.error),
            _array(torch.ones(rows.shape[:2], dtype=torch.float64) if factor is None else factor),
            _array(counts),
            _array(self.sessions.num_sessions),
            _array(change),
            _array(offset),
            _array(walk),
            _array(self.middle),
            (self.initial * self.spread) ** 2,
            out.numpy(),
        )
        return torch.where(torch.isfinite(out), out, IMPOSSIBLE)

    def value_and_slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood `(n, animals)` and its gradient `(n, animals, D)` under laws `(n, D)` or `(n, animals, D)`."""
        values, slopes = [], []
        for part in self._parts(self._rows(torch.as_tensor(theta).detach())):
            with torch.enable_grad():
                own = part.clone().requires_grad_(True)
                value = self._log_prob(own, None)
                (slope,) = torch.autograd.grad(value.sum(), own)
            values.append(value.detach())
            slopes.append(slope.nan_to_num(0.0, 0.0, 0.0))
        return torch.cat(values), torch.cat(slopes)

    # Predictions ----------------------------------------------------------------------------------

    def ahead(self, theta: Tensor, given: int, stimulation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means `(n, A, H, R)` and covariances of the true scales in the sessions after the first `given`, in the scales' units.

        Arguments:
            theta: Laws.
            given: Sessions of each animal whose measurements are known.
            stimulation: Of the last of them and those to come, `(A, H + 1, B)`, for other schedules; by default the animals' own.
                That of the last one acts on no session any more.
        """
        rows = self._rows(theta)
        own = LawLikelihood(self.names, self.law, self.sessions.first(given), units=self.units, initial=self.initial)
        f, path = own.filtered(rows), self._path(rows)
        whole, walk = self.stimulation[:, given - 1 :], path.walk[:, :, given - 1 :]
        if stimulation is not None:
            whole = (stimulation / self.strength)[..., : self.stimulation.shape[2]]
            usual = (rows[..., self.names.index("walk")] * self.spread).square()
            walk = usual[..., None, None].expand(-1, -1, whole.shape[1], self.latents)
        to_come = Path(path.step, path.theta, path.mean, path.spread, walk, whole)
        mean, cov = forecast(to_come, f.state, f.state_covariance, whole.shape[1] - 1, self.latents)
        return self.centre + mean * self.scale, cov * self.scale**2

    def drawn(self, theta: Tensor) -> Tensor:
        """Scales of simulated animals, `(A, K, R)`, from torch's global stream; NaN where nothing was measured."""
        path, out = self._path(self._rows(theta)[:1] if theta.ndim == 3 else theta[None]), []
        noise = torch.randn(self.animals, self.value.shape[1], 2, self.latents, dtype=torch.float64)
        state = path.mean[0] + path.spread * torch.nn.functional.pad(noise[:, 0, 0], (0, self.memory))
        columns = {name: v[0] for name, v in path.theta.items()}
        factor = self.factor(theta[None] if theta.ndim == 2 else theta[:1])
        root = torch.linalg.cholesky(self.error if factor is None else factor[0, :, None, None, None] * self.error)
        for k in range(self.value.shape[1]):
            out.append(state[:, : self.latents] + (root[:, k] @ noise[:, k, 1, :, None])[..., 0])
            if k + 1 < self.value.shape[1]:
                moved = path.walk[0, :, k].sqrt() * noise[:, k + 1, 0]
                state = path.step(columns, state, self.stimulation[:, k]) + torch.nn.functional.pad(
                    moved, (0, self.memory)
                )
        return torch.where(self.there[..., None], self.centre + torch.stack(out, dim=1) * self.scale, torch.nan)


class _Kalman(torch.autograd.Function):
    """The compiled filter with a gradient by central differences, ten times faster than through its steps."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, likelihood: LawLikelihood, counts: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.likelihood, ctx.counts = likelihood, counts
        return likelihood.kalman(rows, counts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        n, (a, d) = len(rows), rows.shape[1:]
        shifts = DIFFERENCE * torch.eye(d, dtype=rows.dtype)[:, None, None]
        both = torch.cat([(rows + shifts).reshape(-1, a, d), (rows - shifts).reshape(-1, a, d)])
        up, down = ctx.likelihood.kalman(both, ctx.counts).reshape(2, d, n, a)
        slope = ((up - down) / (2 * DIFFERENCE)).permute(1, 2, 0).nan_to_num(0.0, 0.0, 0.0)
        return slope * upstream[0][..., None], None, None


def _wandering(theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
    """No law."""
    return state


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().contiguous().numpy()
    return array
