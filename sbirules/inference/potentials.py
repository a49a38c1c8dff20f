"""What a posterior multiplies its prior with: the log-likelihood of what was asked or observed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from sbirules.inference.leaks import ENOUGH, can_leak, capped, inside_share
from sbirules.support.files import Plain

__all__ = [
    "FunctionPotential",
    "Given",
    "NormalisedPotential",
    "Observed",
    "Potential",
    "Replicates",
    "WrappedPotential",
    "training_curves",
]

GLANCE, MEASURED = 500, 10_000  # draws by which a leak is seen, and measured
LogLikelihood = Callable[[Tensor, Tensor], Tensor]  # of rules (B, n, D) for the observations numbered (B,): (B, n)


@dataclass(frozen=True)
class Observed:
    """What was observed, in summaries, before any transformation.

    Arguments:
        x: Summaries of each learner, `(L, S)`.
        length: Their numbers of trials, `(L,)`.
    """

    x: Tensor
    length: Tensor

    @staticmethod
    def of_one(row: Tensor) -> Observed:
        """The summaries `(S,)` of one network."""
        return Observed(row[None], torch.zeros(1, dtype=torch.long))


@dataclass(frozen=True)
class Replicates:
    """Log-likelihoods learned from parts of the simulations, which tell the error of one that was learned from all.

    Arguments:
        log_likelihood: By replicate, `(R, n)`.
        factor: Variance of the error over the variance of replicates (with R in the denominator), as for the jackknife.
    """

    log_likelihood: Tensor
    factor: float


class Potential(nn.Module, ABC):
    """log p(what was asked | theta), up to a constant. What training did to summaries lives in it.

    `given` and `sample` are there where a potential can be asked about other observations, or draws by itself.
    """

    kind: ClassVar[str]  # its name in files
    normalised: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    exact: ClassVar[bool] = False  # known, not learned, and smooth: its modes are worth finding first

    @property
    def observed(self) -> Observed | None:
        """What was observed, before any transformation; None where nothing was."""
        return None

    @abstractmethod
    def log_likelihood(self, theta: Tensor) -> Tensor:
        """`(n,)` of theta `(n, D)` inside the prior's support; -inf where impossible."""

    def forward(self, theta: Tensor) -> Tensor:
        return self.log_likelihood(theta)

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What rebuilds it, beside its tensors; plain types."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Plain) -> Potential:
        """One of that shape, to load tensors into."""

    def bind(self, prior: Distribution) -> None:
        """Tells it the prior, whose support it is to stay in."""

    def together(self, others: Sequence[Potential]) -> LogLikelihood:
        """The log-likelihoods of several potentials of this kind, all of one estimator, for one batch of rules."""
        return lambda theta, which: torch.stack(
            [others[int(k)].log_likelihood(rules) for k, rules in zip(which, theta, strict=True)]
        )

    def replicates(self, theta: Tensor) -> list[Replicates]:
        """The same as others would have learned it from fewer simulations, by cause of error; none where that is not known."""
        return []

    def predicted_success(self, theta: Tensor) -> Tensor | None:
        """P(what was asked holds in one network | theta) `(n,)`, for potentials that know it."""
        return None


@runtime_checkable
class Given(Protocol):
    """A potential that can be asked about other observations of the same summaries; nothing is trained."""

    def given(self, observed: Observed) -> Potential: ...


class FunctionPotential(Potential):
    """Any log-likelihood as a potential.

    Arguments:
        log_likelihood: `(n,)` of theta `(n, D)`.
    """

    kind = "function"

    def __init__(self, log_likelihood: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = log_likelihood

    def log_likelihood(self, theta: Tensor) -> Tensor:
        return self.function(theta)

    def config(self) -> dict[str, Any]:
        raise ValueError("a posterior of a function cannot be saved: save its draws.")

    @classmethod
    def from_config(cls, config: Plain) -> FunctionPotential:
        raise ValueError("a function is not kept in files.")


class NormalisedPotential(Potential):
    """A potential that is a density itself, and draws from it."""

    normalised = True

    @abstractmethod
    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-density `(n,)` of theta `(n, D)` inside the prior's support."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Independent draws `(n, D)`; from torch's global stream."""

    def bind(self, prior: Distribution) -> None:
        self.prior = prior

    def log_likelihood(self, theta: Tensor) -> Tensor:
        return self.log_prob(theta) - self.prior.log_prob(theta)


class WrappedPotential(NormalisedPotential):
    """Any sbi posterior as a potential.

    Arguments:
        posterior: With `sample(shape, x=...)` and `log_prob(theta, x=...)`, as sbi's have.
        x: What to condition on; None for the posterior's default.
        columns: Number of coefficients.
    """

    kind = "wrapped"

    def __init__(self, posterior: Any, x: Tensor | None, columns: int) -> None:
        super().__init__()
        for method in ("sample", "log_prob"):
            if not callable(getattr(posterior, method, None)):
                raise ValueError(f"posterior must have a method {method!r}, as sbi's posteriors have.")
        self.inner, self.x, self.columns = posterior, x, columns

    @property
    def observed(self) -> Observed | None:
        return None if self.x is None else Observed.of_one(torch.as_tensor(self.x).float().flatten())

    @cached_property
    def inside(self) -> float | None:
        """Share of its draws that lie inside the prior; None where it does not draw outside."""
        return inside_share(self.inner, self.prior, self.x, MEASURED) if can_leak(self.inner) else None

    def log_prob(self, theta: Tensor) -> Tensor:
        if self.inside is None:
            return torch.as_tensor(self.inner.log_prob(theta, x=self.x))
        # sbi would measure the leak anew at every call
        value = torch.as_tensor(self.inner.log_prob(theta, x=self.x, norm_posterior=False))
        return value - math.log(max(self.inside, 1 / MEASURED))

    def sample(self, n: int) -> Tensor:
        """Independent draws `(n, D)` inside the prior.

        Raises:
            ValueError: If next to none of its draws lie there.
        """
        if can_leak(self.inner) and inside_share(self.inner, self.prior, self.x, GLANCE) < ENOUGH:
            kept, tried = capped(self.inner, self.prior, self.x, n)
            if len(kept) < n:
                raise ValueError(
                    f"the wrapped posterior leaks: {len(kept)} of {tried} draws lie inside the prior, {n} were wanted; train it "
                    f"on more simulations, or wrap one that samples within the prior (sample_with='mcmc')."
                )
            return kept.float()
        draws = torch.as_tensor(self.inner.sample(Size((n,)), x=self.x, show_progress_bars=False))
        if draws.shape[-1] != self.columns:
            raise ValueError(f"the posterior has {draws.shape[-1]} columns, but {self.columns} names were given.")
        return draws.reshape(n, -1).float()

    def given(self, observed: Observed) -> WrappedPotential:
        """The same posterior conditioned on another row of summaries."""
        out = WrappedPotential(self.inner, observed.x[0], self.columns)
        out.prior = self.prior
        return out

    def config(self) -> dict[str, Any]:
        raise ValueError("only posteriors made by sbirules.fit can be saved; save a wrapped one with its own tool.")

    @classmethod
    def from_config(cls, config: Plain) -> WrappedPotential:
        raise ValueError("a wrapped posterior is loaded with its own tool.")


def training_curves(potential: nn.Module) -> dict[str, list[float]]:
    """Held-out loss by epoch of each network that a fit trained, by name; empty for one that was loaded."""
    out: dict[str, list[float]] = {}
    for name, part in potential.named_modules():
        history = getattr(part, "history", {})
        label = {"success": "success", "valid": "failures"}.get(name.rsplit(".", 1)[-1], "ratio")
        if "held_out_loss" in history:
            out[label] = list(history["held_out_loss"])
        for k, losses in enumerate(history.get("losses", ())):
            out[f"flow {k + 1}"] = list(losses["validation"])
    return {name: [round(float(v), 6) for v in curve] for name, curve in out.items()}
