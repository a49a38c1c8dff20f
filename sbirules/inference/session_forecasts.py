"""Sessions that were never tried: what laws predict of their scales, and which of them would tell most of the law."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sbirules.inference.exact import PooledPotential
from sbirules.inference.posterior import Posterior
from sbirules.model.abilities import PredictsSessions, needed
from sbirules.model.session_scales import SessionScales
from sbirules.model.simulator import Simulator
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.notebook import Card, Shown
from sbirules.support.streams import Stream, seeded
from sbirules.support.typed import typed, typed_class

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionForecast", "choose_session", "forecast_sessions"]

RULES = 512


@typed_class
@dataclass(frozen=True)
class SessionForecast(Shown):
    """Scales of sessions to come; n laws, A animals, H sessions, R scales.

    Arguments:
        draws: True scales under one law each, `(n, A, H, R)`.
        names: Of the scales.
        learners: Of the animals.
        cautions: What to be careful about, a sentence each.
    """

    draws: Tensor
    names: tuple[str, ...]
    learners: tuple[str, ...]
    cautions: tuple[str, ...] = ()

    def band(self, level: float = 0.95) -> tuple[Tensor, Tensor, Tensor]:
        """Median, low and high end of the band, `(A, H, R)` each."""
        half = arguments.share("level", level) / 2
        low, middle, high = (torch.quantile(self.draws, q, dim=0) for q in (0.5 - half, 0.5, 0.5 + half))
        return middle, low, high

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each animal, session to come and scale: `median`, `low`, `high`."""
        import pandas as pd

        parts = self.band(level)
        rows = [
            {
                "learner": self.learners[a],
                "session": h + 1,
                "scale": self.names[r],
                **{n: float(p[a, h, r]) for n, p in zip(("median", "low", "high"), parts, strict=True)},
            }
            for a in range(self.draws.shape[1])
            for h in range(self.draws.shape[2])
            for r in range(len(self.names))
        ]
        return pd.DataFrame(rows)

    def _card(self) -> Card:
        return Card("Sessions to come", text=" ".join(self.cautions), table=self.table())


def _asked(posterior: Posterior, simulator: Simulator, who: str) -> tuple[Any, SessionScales]:
    """The law of the fit, suited to the sessions that the posterior is about, and these."""
    question = posterior.question
    table = getattr(question, "table", None)
    if question is None or not isinstance(table, SessionScales):
        raise ValueError("posterior must be of session scales, fit(SessionLaw(...), prior, sessions=...).")
    law: Any = needed(question.suited(simulator), PredictsSessions, who)
    net = posterior.potential_net
    net = net.inner if isinstance(net, PooledPotential) else net
    fitted = getattr(net, "simulator", None)
    if law.names != posterior.names or (fitted is not None and fitted.config() != law.config()):
        raise ValueError(f"simulator must be the law of the fit, {fitted or posterior.names!r}, got {simulator!r}.")
    return law, table


def _schedule(argument: str, value: ArrayLike, table: SessionScales) -> Tensor:
    """A schedule `(A, H, B)` from one of all animals or of each."""
    u = arguments.numbers(argument, value, torch.float64)
    b = len(table.channels)
    u = u[None].expand(len(table), -1, -1) if u.ndim == 2 else u
    if u.ndim != 3 or u.shape[0] != len(table) or u.shape[2] != b or not u.shape[1]:
        raise ValueError(
            f"{argument} must be (sessions, channels) of stimulation, here (.., {b}), or such a matrix for each of {len(table)} "
            f"animals; got {tuple(u.shape)}."
        )
    if not bool(torch.isfinite(u).all()):
        raise ValueError(f"{argument} must be finite numbers, 0 for no stimulation.")
    return u


def _beyond(u: Tensor, table: SessionScales) -> tuple[str, ...]:
    """Channels in which a schedule is stronger or weaker than any session was."""
    seen, out = table.stimulation[table.there], []
    for k, name in enumerate(table.channels):
        low, high = float(seen[:, k].min()), float(seen[:, k].max())
        reach = 0.05 * (high - low)
        asked = u[..., k]
        if float(asked.min()) < low - reach or float(asked.max()) > high + reach:
            out.append(
                f"{name} goes from {float(asked.min()):g} to {float(asked.max()):g}, beyond what was seen ({low:g} to {high:g}): "
                f"there the law is extrapolated."
            )
    return tuple(out)


@typed
def forecast_sessions(
    posterior: Posterior,
    simulator: Simulator,
    stimulation: ArrayLike,
    *,
    rules: int = RULES,
    seed: int = 0,
) -> SessionForecast:
    """Scales of the sessions after the last, under a schedule of stimulation that need not have been tried.

    Arguments:
        posterior: Of `fit(SessionLaw(...), prior, sessions=...)`.
        simulator: The law of the fit.
        stimulation: Of each session to come but for the last, `(H, B)` for all animals or `(A, H, B)`: what is stimulated in the
            first of them moves the second. The first follows from what has been stimulated already. So H sessions of stimulation
            give H + 1 sessions of scales.
        rules: Laws of the posterior.
        seed: Of draws.

    Returns:
        A draw of the true scales under each law; bands hold law, noise and what is not known of the last session.
    """
    law, table = _asked(posterior, simulator, "forecast_sessions")
    schedule = _schedule("stimulation", stimulation, table)
    mean, cov = _ahead(posterior, law, table, schedule, rules)
    size = cov.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    root = torch.linalg.cholesky_ex(cov + 1e-9 * size * torch.eye(cov.shape[-1], dtype=cov.dtype)).L
    with seeded(seed, Stream.CHECK):
        noise = torch.randn_like(mean)
    draws, cautions = mean + (root @ noise[..., None])[..., 0], _beyond(schedule, table)
    good = torch.isfinite(draws).all(dim=(1, 2, 3))
    if not bool(good.all()):
        share = 1 - float(good.double().mean())
        cautions += (f"{share:.0%} of the laws explode under this schedule and are left out of the bands.",)
        if not bool(good.any()):
            raise ValueError(f"stimulation: all laws explode within {draws.shape[2]} sessions; ask for fewer.")
    return SessionForecast(draws[good], table.names, table.learners, cautions)


def _ahead(posterior: Posterior, law: Any, table: SessionScales, schedule: Tensor, rules: int) -> tuple[Tensor, Tensor]:
    """Means and covariances of all sessions to come, `(n, A, H + 1, R)`, of animals with as many sessions each or few."""
    theta = posterior.rules_of_animals(arguments.whole("rules", rules, 2), len(table)).double()
    means, covs = [], []
    for a, count in enumerate(table.num_sessions.tolist()):
        one = table.subset([a])
        last = one.stimulation[:, count - 1 : count]
        whole = torch.cat([last, schedule[a : a + 1], schedule[a : a + 1, -1:]], dim=1)
        with torch.no_grad():
            mean, cov = law.likelihood(one).ahead(theta[:, a : a + 1], count, whole)
        means.append(mean)
        covs.append(cov)
    return torch.cat(means, dim=1), torch.cat(covs, dim=1)


@typed
def choose_session(
    posterior: Posterior,
    simulator: Simulator,
    candidates: Mapping[str, Sequence[float]],
    *,
    errors: float | None = None,
    rules: int = RULES,
    seed: int = 0,
) -> pd.DataFrame:
    """Which next session would tell most of the law: expected information gain of each candidate, the largest first.

    The gain is the mutual information of law and the scales that are measured in the session after the candidate's, by nested
    Monte Carlo over laws of the posterior: E log p(y | law) - log E p(y | law'), the inner mean over the same laws. It is biased
    upwards by about 1 / rules of the effective number of laws, alike for all candidates.

    Arguments:
        posterior: Of `fit(SessionLaw(...), prior, sessions=...)`.
        simulator: The law of the fit.
        candidates: Stimulation of the next session by name, a number for each channel.
        errors: Standard error with which scales will be measured; by default as in the sessions so far.
        rules: Laws of the posterior.
        seed: Of draws.

    Returns:
        A row for each candidate: `gain` in nats, summed over animals, and its Monte Carlo `gain_se`.

    Source: Lindley (1956), Ann. Math. Stat. 27:986; Rainforth et al. (2018), ICML.
    """
    import pandas as pd

    law, table = _asked(posterior, simulator, "choose_session")
    if not candidates:
        raise ValueError("candidates must hold at least one, the stimulation of a session by its name.")
    r = len(table.names)
    if errors is None:
        noise = table.covariance[table.measured].mean(dim=0)
    else:
        noise = arguments.above("errors", errors, 0.0) ** 2 * torch.eye(r, dtype=torch.float64)
    rows = []
    for name, given in candidates.items():
        u = _schedule(f"candidate {name!r}", torch.as_tensor(given).reshape(1, -1), table)
        mean, cov = _ahead(posterior, law, table, u, rules)
        if not bool(torch.isfinite(mean[:, :, 1]).all()):
            raise ValueError(f"candidate {name!r} leads laws beyond what numbers hold; take weaker stimulation.")
        gains = [_gain(mean[:, a, 1], cov[:, a, 1] + noise, seed) for a in range(len(table))]
        gain, se = sum(g for g, _ in gains), math.sqrt(sum(s**2 for _, s in gains))
        rows.append({"candidate": name, "gain": gain, "gain_se": se})
    return pd.DataFrame(rows).set_index("candidate").sort_values("gain", ascending=False, kind="stable")


def _gain(mean: Tensor, cov: Tensor, seed: int) -> tuple[float, float]:
    """Mutual information of which of n Gaussians a draw is of, and the draw; and its error."""
    n, root = len(mean), torch.linalg.cholesky(cov)
    with seeded(seed, Stream.CHECK):  # the same draws for all candidates, so that their differences are told best
        y = mean + (root @ torch.randn_like(mean)[..., None])[..., 0]
    white = torch.linalg.solve_triangular(root[None], (y[:, None] - mean[None])[..., None], upper=False)[..., 0]
    log = -0.5 * white.square().sum(dim=2) - root.diagonal(dim1=-2, dim2=-1).log().sum(dim=1)
    each = log.diagonal() - (torch.logsumexp(log, dim=1) - math.log(n))
    return float(each.mean()), float(each.std()) / math.sqrt(n)
