"""Experiments on posterior rules: terms knocked out, and exact local elasticities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from sbirules.importance.effects import Effects
from sbirules.importance.outcome import outcome_of
from sbirules.inference.posterior import Posterior
from sbirules.model.abilities import Differentiable, needed
from sbirules.model.constraints import Constraints
from sbirules.model.rules import TIME_CONSTANTS
from sbirules.model.simulator import Simulator
from sbirules.stores.filling import on_gpu, simulate
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.side_by_side import processes, side_by_side
from sbirules.support.streams import Stream, child, generator

__all__ = ["elasticities", "knock_outs", "rules_of"]


def rules_of(rules: Posterior | ArrayLike, names: Sequence[str], num_rules: int) -> Tensor:
    """Rules of a posterior, spread out; or those that were given."""
    if isinstance(rules, Posterior):
        return rules.spread_out(num_rules).float()
    return arguments.theta_matrix(rules, names, argument="rules").float()


def knock_outs(
    rules: Posterior | ArrayLike,
    simulator: Simulator,
    *,
    outcome: str | Mapping[str, object] | Constraints = "learned",
    num_rules: int = 48,
    networks: int = 8,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Effects:
    """How much of an outcome is lost when one term is taken out of rules that have it.

    Every rule is simulated whole and without each of its terms, in the same fresh networks, so that differences are
    the term's. Standard errors are those between rules.

    Arguments:
        rules: A posterior, or rules in natural units `(n, D)`.
        simulator: The simulator.
        outcome: A summary, or constraints (1 where they hold). `"learned"` counts failed networks as not having learned.
        num_rules: Rules taken from a posterior.
        networks: Networks for each.
        seed: Of networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Returns:
        By linear coefficient: mean outcome of the whole rules less that without the term.
    """
    theta = rules_of(rules, simulator.names, num_rules)
    arguments.whole("networks", networks, 1)
    asked = {"learned": (1, 1)} if outcome == "learned" else outcome

    columns = [i for i, p in enumerate(simulator.family.parameters) if p.may_vanish]
    if not columns:
        raise ValueError(
            "knock-outs need a linear coefficient that may be zero, of which this family has none; leave them out of parts."
        )
    changed = {"whole rules": theta}
    for i in columns:
        less = theta.clone()
        less[:, i] = 0.0
        changed[f"without {simulator.names[i]}"] = less
    mean = partial(_mean_outcome, simulator, asked, networks, child(seed, Stream.EXPERIMENTS))
    if on_gpu(simulator) or processes(num_workers) == 1:
        found = [mean(rows, label, num_workers, progress) for label, rows in changed.items()]
    else:  # so few networks at once that processes would wait for each other at the end of each
        pieces = [partial(mean, rows, label, 1, False) for label, rows in changed.items()]
        found = side_by_side(pieces, num_workers, label="knock-outs", progress=progress)
    losses = [found[0] - less for less in found[1:]]
    loss = torch.stack(losses)
    fine = torch.isfinite(loss)
    count = fine.sum(dim=1).clamp(min=1)
    value = loss.nanmean(dim=1)
    spread = torch.where(fine, loss - value[:, None], 0.0).square().sum(dim=1) / (count - 1).clamp(min=1)
    name = outcome if isinstance(outcome, str) else " and ".join(Constraints.of(outcome).intervals)
    se = torch.where(count > 1, (spread / count).sqrt(), torch.nan)  # one rule tells nothing of the spread
    return Effects(
        tuple(simulator.names[i] for i in columns),
        value,
        se,
        "knock-outs",
        f"“{name.replace('_', ' ')}”\nlost without the term",
    )


def _mean_outcome(
    simulator: Simulator,
    asked: str | Mapping[str, object] | Constraints,
    networks: int,
    seed: int,
    theta: Tensor,
    label: str,
    num_workers: int | None,
    progress: bool,
) -> Tensor:
    """Of each rule over its networks `(n,)`; the same networks whatever the rules."""
    rows = theta.repeat_interleave(networks, dim=0)
    store = simulate(simulator, rows, seed=seed, num_workers=num_workers, progress=progress, label=label)
    y, _ = outcome_of(store.x, store.summary_names, asked)
    return y.reshape(len(theta), networks).nanmean(dim=1)


def elasticities(
    rules: Posterior | ArrayLike,
    simulator: Simulator,
    *,
    num_rules: int = 16,
    networks: int = 4,
    episodes: int = 100,
    seed: int = 0,
) -> Effects:
    """Exact local elasticities of the mean error: by how many per cent it changes per per cent of a coefficient.

    theta_k / E dE/dtheta_k, E the mean error of the trials with plasticity, by automatic differentiation back through
    the whole session. Median over rules and networks, since single networks are close to chaos; its standard error by
    the bootstrap. Time constants count as well. Hard thresholds (comparisons, rounding) have no gradient: what acts through
    them alone has an elasticity of exactly 0, and the result's `note` names it.

    Arguments:
        rules: A posterior, or rules in natural units `(n, D)`.
        simulator: One that knows gradients, such as `RateRNN`.
        num_rules: Rules taken from a posterior.
        networks: Networks for each.
        episodes: Trials of a session, warm-up included.
        seed: Of networks.

    Raises:
        ValueError: If the simulator knows no gradients, or all networks diverged.
    """
    gradients = needed(simulator, Differentiable, "elasticities")
    theta = rules_of(rules, simulator.names, num_rules)
    rows = theta.repeat_interleave(arguments.whole("networks", networks, 1), dim=0)
    types = simulator.sequence(arguments.whole("episodes", episodes, 2))
    found = gradients.value_and_grad(rows, seed=(seed, Stream.EXPERIMENTS), trial_types=types)
    if not bool(found.ok.any()):
        raise ValueError(
            "elasticities are not defined where all networks diverged; give other rules, or fewer episodes."
        )
    ok = found.ok.cpu()
    error, gradient = (-v.cpu()[ok].double() for v in (found.value, found.gradient))
    each = rows[ok].double() * gradient / error[:, None].clamp(min=1e-6 * float(error.mean()))
    stream = generator(seed, Stream.BOOTSTRAP)
    again = torch.stack(
        [each[torch.randint(len(each), (len(each),), generator=stream)].median(dim=0).values for _ in range(200)]
    )
    shown = "elasticity of the mean error (% per %)"
    label = "exact local elasticities" + (
        " (of time constants, too)" if set(simulator.names) & set(TIME_CONSTANTS) else ""
    )
    still = (gradient == 0).all(dim=0).tolist()
    note = _flat([name for name, zero in zip(simulator.names, still, strict=True) if zero])
    return Effects(simulator.names, each.median(dim=0).values, again.std(dim=0), label, shown, note)


def _flat(names: Sequence[str]) -> str:
    """What an elasticity of exactly 0 means: the error does not change with small changes of a coefficient."""
    if not names:
        return ""
    one = len(names) == 1
    return (
        f"Exactly 0 for {', '.join(names)}: {'it acts' if one else 'they act'} through a hard threshold, whose gradient is zero "
        f"wherever it is not a jump, or not at all; that is no sign that {'it does' if one else 'they do'} not matter, which "
        f"Sobol indices and knock-outs tell."
    )
