"""The likelihood of session scales under laws, by filtering; and what laws predict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbirules.model.rules import Law
from sbirules.model.session_scales import SessionScales
from sbirules.model.state_space import IMPOSSIBLE, Filtered, Path, filtered, forecast
from sbirules.support import arguments
from sbirules.support.arrays import as_array
from sbirules.support.gradients import values_and_slopes

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
        one = torch.ones(1, 1, len(self.names), dtype=torch.float64)
        self.linear = law is None or law.linear(self._columns(one)) is not None

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

    def _columns(self, rows: Tensor) -> dict[str, Tensor]:
        return {name: rows[..., k] for k, name in enumerate(self.names)}

    def _walk(self, rows: Tensor) -> Tensor:
        """Variance of the law's noise in a usual time between sessions, `(n, A)`."""
        return (rows[..., self.names.index("walk")] * self.spread).square()

    def _factor(self, rows: Tensor) -> Tensor:
        """What covariances of errors are multiplied with, `(n, A)`: 1 where errors are known."""
        if "error_scale" not in self.names:
            return rows.new_ones(rows.shape[:2])
        return rows[..., self.names.index("error_scale")].square()

    def errors(self, theta: Tensor) -> Tensor:
        """Covariances of errors in units of `scale`, `(n, A, K, R, R)`, or the same under all laws, `(A, K, R, R)`."""
        if "error_scale" not in self.names:
            return self.error
        return self._factor(self._rows(theta))[..., None, None, None] * self.error

    def _path(self, rows: Tensor) -> Path:
        columns = {n: v for n, v in self._columns(rows).items() if n not in ("walk", "error_scale")}
        walk = self._walk(rows)[..., None] * self.gaps
        mean = self.middle.expand(*rows.shape[:2], -1)
        if self.memory and self.law is not None:
            mean = torch.cat([mean, self.law.start(columns)], dim=-1)
        spread = torch.cat([torch.full((self.latents,), self.initial * self.spread), torch.zeros(self.memory)]).double()
        step = _wandering if self.law is None else self.law.step
        return Path(step, columns, mean, spread, walk[..., None].expand(-1, -1, -1, self.latents), self.stimulation)

    def filtered(self, theta: Tensor) -> Filtered:
        """What measurements told, session by session, in units of `scale`; laws as for `log_prob`."""
        rows = self._rows(theta)
        return filtered(self._path(rows), self.value, self.errors(rows), self.there)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-likelihood of each animal's scales, `(n, animals)` float64.

        Arguments:
            theta: Laws of all animals `(n, D)`, or of each `(n, animals, D)`. Gradients flow.
        """
        return torch.cat([self._log_prob(part) for part in self._parts(self._rows(theta))])

    def _log_prob(self, rows: Tensor) -> Tensor:
        jacobian = self.latents * math.log(self.scale) * self.there.sum(dim=1)
        if self.linear:
            value: Tensor = _Kalman.apply(rows, self)  # type: ignore[no-untyped-call]
            return value - jacobian
        return self.filtered(rows).log_prob.sum(dim=2) - jacobian

    def kalman(self, rows: Tensor) -> Tensor:
        """Log-likelihoods `(n, A)` of laws that are linear, in units of `scale`, by the compiled filter."""
        from ._kernels import kalman_log_prob

        found = None if self.law is None else self.law.linear(self._columns(rows))
        if found is None:  # scales that wander
            stay = torch.eye(self.latents, dtype=torch.float64).expand(*rows.shape[:2], -1, -1)
            none = rows.new_zeros((*rows.shape[:2], self.latents))
            found = (stay, none[..., None][..., :0], none)
        change, into, bias = found
        offset = torch.einsum("narb,akb->nakr", into, self.stimulation[..., : into.shape[-1]]) + bias[:, :, None]
        out = torch.empty(rows.shape[:2], dtype=torch.float64)
        kalman_log_prob(
            as_array(self.value),
            as_array(self.error),
            as_array(self._factor(rows)),
            as_array(self.there),
            as_array(self.sessions.num_sessions),
            as_array(change),
            as_array(offset),
            as_array(self._walk(rows)[..., None] * self.gaps),
            as_array(self.middle),
            (self.initial * self.spread) ** 2,
            out.numpy(),
        )
        return torch.where(torch.isfinite(out), out, IMPOSSIBLE)

    def value_and_slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood `(n, animals)` and its gradient `(n, animals, D)` under laws `(n, D)` or `(n, animals, D)`."""
        parts = self._parts(self._rows(torch.as_tensor(theta).detach()))
        return values_and_slopes(parts, self._log_prob)

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
            walk = self._walk(rows)[..., None, None].expand(-1, -1, whole.shape[1], self.latents)
        to_come = Path(path.step, path.theta, path.mean, path.spread, walk, whole)
        mean, cov = forecast(to_come, f.state, f.state_covariance, whole.shape[1] - 1, self.latents)
        return self.centre + mean * self.scale, cov * self.scale**2

    def drawn(self, theta: Tensor) -> Tensor:
        """Scales of animals under laws `(A, D)`, `(A, K, R)`, from torch's global stream; NaN where nothing was measured."""
        path, out = self._path(theta[None]), []
        noise = torch.randn(self.animals, self.value.shape[1], 2, self.latents, dtype=torch.float64)
        state = path.mean[0] + path.spread * torch.nn.functional.pad(noise[:, 0, 0], (0, self.memory))
        columns = {name: v[0] for name, v in path.theta.items()}
        root = torch.linalg.cholesky(self.errors(theta[None])).reshape(self.error.shape)
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
    def forward(ctx: Any, rows: Tensor, likelihood: LawLikelihood) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.likelihood = likelihood
        return likelihood.kalman(rows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        n, (a, d) = len(rows), rows.shape[1:]
        shifts = DIFFERENCE * torch.eye(d, dtype=rows.dtype)[:, None, None]
        both = torch.cat([(rows + shifts).reshape(-1, a, d), (rows - shifts).reshape(-1, a, d)])
        up, down = ctx.likelihood.kalman(both).reshape(2, d, n, a)
        slope = ((up - down) / (2 * DIFFERENCE)).permute(1, 2, 0).nan_to_num(0.0, 0.0, 0.0)
        return slope * upstream[0][..., None], None


def _wandering(theta: Mapping[str, Tensor], state: Tensor, stimulation: Tensor) -> Tensor:
    """No law."""
    return state
