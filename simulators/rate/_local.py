"""Rules that no reward gates, in a recurrent network: their integral over a trial, or a change at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sbirules.model.rules import LocalRule
from sbirules.support.own_code import called, must_broadcast

from ._drive import Drive
from ._episode import NONLINEARITIES, Clamp, deviation_from_mean
from ._settings import Settings

__all__ = ["LocalPlasticity"]

Slow = Mapping[str, Tensor]  # slow variables by name, (batch, N) each


@dataclass(frozen=True)
class LocalPlasticity:
    """What turns the activity of a trial into a weight change without a reward, for a batch of rules.

    Arguments:
        settings: The network's settings.
        family: The rule family.
        theta: Raw coefficients by name, each `(batch, 1, 1)`.
        mask: Existing synapses as 0 and 1, `(batch or 1, pre, post)`; None for all.
        signs: +1 for excitatory and -1 for inhibitory presynaptic units, `(N,)`; None without Dale's law.
        limit: |w| beyond which a network has diverged.
    """

    settings: Settings
    family: LocalRule
    theta: dict[str, Tensor]
    mask: Tensor | None
    signs: Tensor | None
    limit: float

    @staticmethod
    def of(s: Settings, family: LocalRule, raw: Tensor, mask: Tensor | None) -> LocalPlasticity:
        """For raw rules `(batch, D)` and a mask `(batch or 1, post, pre)`."""
        network = s.connectivity
        return LocalPlasticity(
            settings=s,
            family=family,
            theta=family.columns(raw),
            mask=None if mask is None else mask.mT.to(raw.dtype).contiguous(),
            signs=network.signs(raw.device, raw.dtype),
            limit=s.divergence * network.initial_sd,
        )

    def start(self, batch: int, like: Tensor) -> dict[str, Tensor]:
        """Slow variables before the first trial."""
        return {n: like.new_full((batch, self.settings.num_units), float(v)) for n, v in self.family.slow.items()}

    def integral(self, kernel: Tensor, x: Tensor, rate: Tensor, mean: Tensor, slow: Slow) -> tuple[Tensor, Slow]:
        """Weight change over a trial `(batch, pre, post)`, with weights as they were, and the slow variables after it."""
        s = self.settings
        deviation, _ = deviation_from_mean(x, mean, s.xbar_factor)
        total, weight = torch.zeros_like(kernel), kernel.mT
        for t in range(s.trace_start, rate.shape[1] - 1):
            change, slow = self._step(rate[:, t], rate[:, t + 1], x[:, t + 1], deviation[:, t], weight, slow)
            total = total + change.mT
        return total, slow

    def stepped(
        self, kernel: Tensor, drive: Drive, x0: Tensor, mean: Tensor, slow: Slow, clamp: Clamp
    ) -> tuple[Tensor, Tensor, Tensor, Slow]:
        """A trial in which weights change at every step: states and rates `(batch, T + 1, N)`, weights, slow variables."""
        s, phi, added = self.settings, NONLINEARITIES[self.settings.nonlinearity], drive.dense()
        x, r = x0, phi(x0)
        xs, rates = [x], [r]
        for t in range(added.shape[1]):
            decayed = torch.add(added[:, t], x, alpha=1.0 - drive.leak)
            new = clamp(torch.baddbmm(decayed[:, None], r[:, None], kernel, alpha=drive.leak)[:, 0])
            after = phi(new)
            if t >= s.trace_start:
                change, slow = self._step(r, after, new, mean - new, kernel.mT, slow)
                kernel = self.applied(kernel, change.mT)
            mean = torch.lerp(new, mean, s.xbar_factor)
            x, r = new, after
            xs.append(x)
            rates.append(r)
        return torch.stack(xs, dim=1), torch.stack(rates, dim=1), kernel, slow

    def _step(
        self, pre: Tensor, post: Tensor, state: Tensor, deviation: Tensor, weight: Tensor, slow: Slow
    ) -> tuple[Tensor, Slow]:
        """Weight change of one step `(batch, post, pre)`, and the slow variables after it."""
        every = {
            "pre": pre[:, None, :],
            "post": post[:, :, None],
            "state": state[:, :, None],
            "deviation": deviation[:, :, None],
            "weight": weight,
        }
        seen = {name: every[name] for name in self.family.sees} | {n: v[:, :, None] for n, v in slow.items()}
        dt = self.settings.dt
        growth = called(self.family.change, self.theta, **seen)
        must_broadcast(self.family.change, growth, weight.shape)
        change = (dt * growth).expand_as(weight)
        drift = called(self.family.drift, self.theta, **seen)
        return change, {n: v + dt * drift[n][:, :, 0] if n in drift else v for n, v in slow.items()}

    def applied(self, kernel: Tensor, change: Tensor) -> Tensor:
        """Weights after a change, both `(batch, pre, post)`; missing synapses stay missing, signs are kept."""
        if self.mask is not None:
            change = change * self.mask
        new = kernel + change
        return new if self.signs is None else (new * self.signs[:, None]).clamp(min=0.0) * self.signs[:, None]
