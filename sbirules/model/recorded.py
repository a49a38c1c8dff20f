r"""The exact likelihood of recordings whose variable a model knows.

    value of animal a in trial t ~ noise around scale g_a (y_at + offset),      log g_a ~ N(log gain, gain_spread^2)

y is the model's variable. The gain of each animal is integrated out by quadrature, so that animals whose indicators express more
or less share one rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import LogNormal, Uniform

from sbirules.model.observing import Gaussian, Observation
from sbirules.model.recordings import Recordings
from sbirules.model.rules import Coefficient
from sbirules.support import arguments
from sbirules.support.arrays import as_array
from sbirules.support.gradients import values_and_slopes

__all__ = ["OF_GAIN", "RecordingLikelihood", "gain_coefficients"]

COARSE, FINE = 17, 25  # nodes of the integral over a gain
REFINED = 3  # times that nodes close in on where the integrand is
FAR = 4.0  # s.d. of the population that the first nodes span
AT_ONCE = 4_000_000  # values of nodes in memory together

OF_GAIN = {
    "gain": Coefficient(
        "gain",
        low=0.0,
        linear=False,
        log=True,
        unit="scales",
        prior=LogNormal(0.0, 1.0, validate_args=False),
        default=1.0,
    ),
    "gain_spread": Coefficient(
        "gain_spread", low=0.0, linear=False, default=0.3, prior=LogNormal(-1.0, 0.7, validate_args=False)
    ),
    "offset": Coefficient("offset", linear=False, prior=Uniform(-0.5, 0.5, validate_args=False)),
}

Expected = Callable[[Tensor], Tensor]  # rules (n, A, D) to the model's variable (n, A, T, K)


def gain_coefficients(gains: str, offset: bool) -> tuple[Coefficient, ...]:
    """Of how the variable is measured: its gain, how that differs between animals, and what is there without it."""
    names = ["gain", *(["gain_spread"] if gains == "own" else []), *(["offset"] if offset else [])]
    return tuple(OF_GAIN[name] for name in names)


class RecordingLikelihood:
    """Of recordings; A animals, T trials, K channels, D coefficients.

    Arguments:
        names: Names of theta's columns.
        recordings: What was recorded, one value of a channel in a trial.
        expected: The model's variable under rules `(n, A, D)`, `(n, A, T, K)`, float64; gradients flow.
        observation: How values scatter.
        scale: What gain and noise are measured in.
    """

    threads: int | None = None

    def __init__(
        self, names: Sequence[str], recordings: Recordings, expected: Expected, observation: Observation, scale: float
    ) -> None:
        self.names, self.recordings, self.expected = tuple(names), recordings, expected
        self.observation, self.scale = observation, scale
        value = recordings.values
        self.there = torch.isfinite(value)
        self.value = torch.where(self.there, value, 0.0)
        self.own_gains = "gain_spread" in self.names

    @property
    def animals(self) -> int:
        """How many animals."""
        return len(self.recordings)

    def _rows(self, theta: Tensor) -> Tensor:
        return arguments.theta_of_animals(theta, self.animals, self.names)

    def _parts(self, rows: Tensor) -> list[Tensor]:
        each = self.value[0].numel() * self.animals * FINE
        return list(torch.split(rows, max(1, AT_ONCE // each)))

    def log_prob(self, theta: Tensor, where: Tensor | None = None) -> Tensor:
        """Log-likelihood of each animal's values, `(n, animals)` float64; -inf where impossible.

        Arguments:
            theta: Rules of all animals `(n, D)`, or of each `(n, animals, D)`. Gradients flow.
            where: Which trials count, `(animals, trials)` boolean; all by default.
        """
        rows = self._rows(theta)
        if type(self.observation) is Gaussian and not (torch.is_grad_enabled() and rows.requires_grad):
            return self._compiled(rows, where)
        return torch.cat([self._log_prob(part, where) for part in self._parts(rows)])

    def _compiled(self, rows: Tensor, where: Tensor | None) -> Tensor:
        """The same by a loop over rules and animals, for Gaussian noise."""
        from sbirules.model.recorded_kernels import gaussian_log_prob

        with torch.no_grad():
            y = self._shape(rows).flatten(2).contiguous()
        counts = self.there if where is None else self.there & where[:, :, None]
        value = torch.where(counts, self.value, torch.nan).flatten(1).contiguous()
        nothing = torch.zeros(rows.shape[:2], dtype=torch.float64)
        has = {n: self._column(rows, n) if n in self.names else nothing for n in ("gain_spread", "noise_growth")}
        out = torch.empty(rows.shape[:2], dtype=torch.float64)
        gaussian_log_prob(
            as_array(value),
            as_array(y),
            as_array(self._column(rows, "gain").log()),
            as_array(has["gain_spread"]),
            as_array(self._column(rows, "noise")),
            as_array(has["noise_growth"]),
            self.scale,
            out.numpy(),
        )
        return torch.nan_to_num(out, nan=-math.inf)

    def _log_prob(self, rows: Tensor, where: Tensor | None) -> Tensor:
        y = self._shape(rows)
        z = self._nodes(rows, y, where)
        value = self._given_gain(rows, y, z, where) + self._log_prior(rows, z)
        if not self.own_gains:
            return torch.nan_to_num(value[..., 0], nan=-math.inf)
        step = (z[..., 1] - z[..., 0]).log()
        return torch.nan_to_num(torch.logsumexp(value, dim=2) + step, nan=-math.inf)

    def _shape(self, rows: Tensor) -> Tensor:
        """The variable with its offset, `(n, A, T, K)`."""
        y = self.expected(rows)
        return y + self._column(rows, "offset")[..., None, None] if "offset" in self.names else y

    def _column(self, rows: Tensor, name: str) -> Tensor:
        return rows[..., self.names.index(name)]

    def _given_gain(self, rows: Tensor, y: Tensor, z: Tensor, where: Tensor | None) -> Tensor:
        """Log-likelihood given log gains z `(n, A, G)`, `(n, A, G)`."""
        mean = self.scale * z.exp()[..., None, None] * y[:, :, None]
        theta = {c.name: self._column(rows, c.name)[:, :, None, None, None] for c in self.observation.coefficients}
        value = self.observation.log_prob(self.value[None, :, None], mean, theta, self.scale)
        counts = self.there if where is None else self.there & where[:, :, None]
        return torch.where(counts[None, :, None], value, 0.0).sum(dim=(3, 4))

    def _log_prior(self, rows: Tensor, z: Tensor) -> Tensor:
        if not self.own_gains:
            return torch.zeros_like(z)
        sd = self._column(rows, "gain_spread")[..., None]
        away = (z - self._column(rows, "gain").log()[..., None]) / sd
        return -0.5 * away.square() - sd.log() - 0.5 * math.log(2 * math.pi)

    def _nodes(self, rows: Tensor, y: Tensor, where: Tensor | None) -> Tensor:
        """Log gains over which the likelihood of `y` is summed, `(n, A, G)`, evenly spaced where it is not 0.

        Where they lie does not change the integral, so no gradient flows through them.
        """
        centre = self._column(rows, "gain").log()[..., None]
        if not self.own_gains:
            return centre
        with torch.no_grad():
            rows, y = rows.detach(), y.detach()
            middle, width = centre.detach(), FAR * self._column(rows, "gain_spread")[..., None]
            for _ in range(REFINED):
                z = middle + width * torch.linspace(-1.0, 1.0, COARSE, dtype=torch.float64)
                value = self._given_gain(rows, y, z, where) + self._log_prior(rows, z)
                weight = torch.softmax(torch.nan_to_num(value, nan=-math.inf), dim=2).nan_to_num(1.0 / COARSE)
                middle = (weight * z).sum(dim=2, keepdim=True)
                sd = (weight * (z - middle).square()).sum(dim=2, keepdim=True).sqrt()
                spacing = 2 * width / (COARSE - 1)
                width = 6.0 * torch.maximum(sd, 0.5 * spacing)
            return middle + width * torch.linspace(-1.0, 1.0, FINE, dtype=torch.float64)

    def value_and_slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood `(n, animals)` and its gradient `(n, animals, D)` under rules `(n, D)` or `(n, animals, D)`."""
        parts = self._parts(self._rows(torch.as_tensor(theta).detach()))
        return values_and_slopes(parts, lambda rows: self._log_prob(rows, None))

    # Predictions ----------------------------------------------------------------------------------

    def gains(self, theta: Tensor, where: Tensor | None = None) -> Tensor:
        """A draw of each animal's gain given its values, `(n, animals)`, from torch's global stream; `where` as in `log_prob`."""
        out = []
        for rows in self._parts(self._rows(torch.as_tensor(theta).detach())):
            if not self.own_gains:
                out.append(self._column(rows, "gain"))
                continue
            with torch.no_grad():
                y = self._shape(rows)
                z = self._nodes(rows, y, where)
                value = self._given_gain(rows, y, z, where) + self._log_prior(rows, z)
            weight = torch.softmax(torch.nan_to_num(value, nan=-math.inf), dim=2).nan_to_num(1.0 / z.shape[2])
            node = torch.multinomial(weight.flatten(0, 1), 1).reshape(*weight.shape[:2], 1)
            within = (torch.rand(node.shape, dtype=torch.float64) - 0.5) * (z[..., 1:2] - z[..., :1])
            out.append((z.gather(2, node) + within)[..., 0].exp())
        return torch.cat(out)

    def means(self, theta: Tensor, gains: Tensor) -> Tensor:
        """What is expected of each value, `(n, A, T, K)`, with gains `(n, A)`."""
        with torch.no_grad():
            rows = self._rows(torch.as_tensor(theta).detach())
            return self.scale * gains[..., None, None] * self._shape(rows)

    def scattered(self, theta: Tensor, means: Tensor) -> Tensor:
        """Values around means `(n, A, T, K)`, from torch's global stream; NaN where nothing was recorded."""
        rows = self._rows(torch.as_tensor(theta).detach())
        own: Mapping[str, Tensor] = {
            c.name: self._column(rows, c.name)[..., None, None] for c in self.observation.coefficients
        }
        return torch.where(self.there[None], self.observation.sample(means, own, self.scale), torch.nan)
