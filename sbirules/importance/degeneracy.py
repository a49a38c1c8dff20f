"""Degeneracy: how different rules are that do the same, and what the rule of one kind of synapse says about another's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.stats import rankdata
from torch import Tensor

from sbirules.importance.experiments import rules_of
from sbirules.inference.posterior import Posterior
from sbirules.model.rules import SYNAPSES
from sbirules.model.simulator import Simulator
from sbirules.stores.filling import simulate
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.streams import Stream, child, generator

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Degeneracy", "Dependence", "degeneracy", "dependence"]

ALIKE = 0.1  # share of pairs that count as doing the same
PERMUTATIONS = 200


@dataclass(frozen=True, repr=False)
class Degeneracy:
    """Distances between pairs of rules: of coefficients, and of what their networks do.

    Arguments:
        rule_distance: Root-mean-square difference of coefficients in s.d. of all rules, `(pairs,)`.
        activity_distance: Mean squared difference of mean summaries, in variances over networks, `(pairs,)`; without bias by
            differences between networks of one rule, so that it scatters around 0 for rules that do the same.
        correlation: Spearman's, of both distances; near 0 where unlike rules do the same.
        se: Its standard error, over rules left out one by one.
        spread_of_alike: Mean rule distance of the tenth of pairs whose activity is closest, over that of all pairs: 1 where rules
            that do the same are as different as any.
        of_rules: Share of the variance of summaries that lies between rules, not between networks of one.
        num_rules: Rules that were compared.
        failed: Rules left out since a network failed.
    """

    rule_distance: Tensor
    activity_distance: Tensor
    correlation: float
    se: float
    spread_of_alike: float
    of_rules: float
    num_rules: int
    failed: int

    def __repr__(self) -> str:
        return f"Degeneracy({self.num_rules} rules, spread of alike {self.spread_of_alike:.2f})"

    def __str__(self) -> str:
        return (
            f"{self.num_rules} rules ({self.failed} left out): those whose networks do most nearly the same are "
            f"{self.spread_of_alike:.2f} times as far apart as any two; distances of rules and of activity correlate by "
            f"{self.correlation:+.2f} +- {self.se:.2f}; {self.of_rules:.0%} of the variance of activity is due to the rule."
        )


def degeneracy(
    rules: Posterior | ArrayLike,
    simulator: Simulator,
    *,
    num_rules: int = 64,
    networks: int = 4,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Degeneracy:
    """How different rules are whose networks do the same, from fresh networks of each.

    Arguments:
        rules: A posterior, or rules in natural units `(n, D)`.
        simulator: The simulator; its summaries are what networks do.
        num_rules: Rules taken from a posterior.
        networks: Networks of each, an even number of at least 2.
        seed: Of networks.
        num_workers: Worker processes; None for one per core.
        progress: Whether to show progress bars.

    Source: of the question, Prinz, Bucher & Marder (2004), Nat. Neurosci. 7:1345; of the distance without bias, Walther et al.
    (2016), NeuroImage 137:188.
    """
    theta = rules_of(rules, simulator.names, num_rules)
    arguments.whole("networks", networks, 2)
    if networks % 2:
        raise ValueError(f"networks must be even, for two halves of each rule, got {networks}.")
    store = simulate(
        simulator,
        theta.repeat_interleave(networks, dim=0),
        seed=child(seed, Stream.EXPERIMENTS),
        num_workers=num_workers,
        progress=progress,
        label="degeneracy",
    )
    x = store.x.double().reshape(len(theta), networks, -1)
    kept = torch.isfinite(x).all(dim=2).all(dim=1)
    if int(kept.sum()) < 8:
        raise ValueError(
            f"rules must hold at least 8 whose {networks} networks all end well, got {int(kept.sum())} of {len(theta)}."
        )
    x, theta = x[kept], theta[kept].double()
    scale = x.flatten(0, 1).std(dim=0)
    if not bool((scale > 0).any()) or not bool((theta.std(dim=0) > 0).any()):
        what = (
            "rules must differ"
            if bool((scale > 0).any())
            else "summaries of the simulator must differ between networks"
        )
        raise ValueError(f"{what} for distances to mean something; all {len(theta)} are equal.")
    theta = theta[:, theta.std(dim=0) > 0]
    x = x[:, :, scale > 0] / scale[scale > 0]
    halves = x[:, ::2].mean(dim=1), x[:, 1::2].mean(dim=1)
    z = theta / theta.std(dim=0).clamp(min=1e-12)
    i, j = torch.triu_indices(len(z), len(z), offset=1)
    apart = (z[i] - z[j]).square().mean(dim=1).sqrt()
    activity = ((halves[0][i] - halves[0][j]) * (halves[1][i] - halves[1][j])).mean(dim=1)
    near = activity <= torch.quantile(activity, ALIKE)
    of_rules = float(
        torch.stack([torch.cov(torch.stack(pair))[0, 1] for pair in zip(*(h.T for h in halves), strict=True)]).mean()
    )
    whole = _spearman(apart, activity)
    without = [_spearman(apart[keep], activity[keep]) for k in range(len(z)) for keep in [(i != k) & (j != k)]]
    n = len(without)
    se = math.sqrt((n - 1) / n * sum((v - sum(without) / n) ** 2 for v in without))
    return Degeneracy(
        apart.float(),
        activity.float(),
        whole,
        se,
        float(apart[near].mean() / apart.mean()),
        min(max(of_rules, 0.0), 1.0),
        n,
        len(kept) - n,
    )


def _ranks(x: Tensor) -> Tensor:
    """From 1; ties share their mean."""
    return torch.as_tensor(rankdata(x.numpy(), axis=0))


def _spearman(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([_ranks(a), _ranks(b)]))[0, 1])


# Between groups of coefficients ---------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Dependence:
    """What groups of coefficients say about each other under a posterior.

    Arguments:
        groups: Names of coefficients by group.
        information: Mutual information of two groups, nats, `(G, G)`, less what chance gives; 0 on the diagonal.
        p_value: Share of permuted draws with at least as much, `(G, G)`.
        implied: Share of the variance of a group's coefficients that another's predict, `(G, G)`: row from column.
        conditional: Correlation of two coefficients given all others, `(D, D)`.
        names: Of the coefficients, in the order of `conditional`.
    """

    groups: Mapping[str, tuple[str, ...]]
    information: Tensor
    p_value: Tensor
    implied: Tensor
    conditional: Tensor
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Dependence({arguments.listed(self.groups)})"

    def __str__(self) -> str:
        return str(self.table().round(3).to_string())

    def table(self) -> pd.DataFrame:
        """A row for each pair of groups: information, its p-value, and what each implies of the other."""
        import pandas as pd

        labels = list(self.groups)
        rows = {
            f"{labels[a]}, {labels[b]}": {
                "information": float(self.information[a, b]),
                "p_value": float(self.p_value[a, b]),
                "implied of first": float(self.implied[a, b]),
                "implied of second": float(self.implied[b, a]),
            }
            for a, b in itertools.combinations(range(len(labels)), 2)
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def strongest(self, count: int = 5) -> pd.DataFrame:
        """Pairs of coefficients of different groups with the largest correlation given all others."""
        import pandas as pd

        group = {name: label for label, names in self.groups.items() for name in names}
        rows = [
            (first, second, float(self.conditional[a, b]))
            for (a, first), (b, second) in itertools.combinations(enumerate(self.names), 2)
            if group[first] != group[second]
        ]
        rows.sort(key=lambda r: -abs(r[2]))
        return pd.DataFrame(rows[: arguments.whole("count", count, 1)], columns=["first", "second", "correlation"])


def dependence(
    rules: Posterior | ArrayLike,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    names: Sequence[str] = (),
    seed: int = 0,
) -> Dependence:
    """What the rule of one kind of synapse says about that of another, under a posterior.

    Coefficients are brought to normal scores by their ranks first, so that what is found does not depend on their scales (a
    Gaussian copula: dependence that no monotone scale makes linear is missed).

    Arguments:
        rules: A posterior, or draws `(n, D)`.
        groups: Names of coefficients by group; by default those of rules of spikes, by the synapse that ends their names.
        names: Of the columns, where `rules` are draws.
        seed: Of the permutations.

    Examples:
        >>> from sbirules.importance import dependence
        >>> draws = torch.randn(400, 4)
        >>> found = dependence(draws, names=["alpha_EE", "gamma_EE", "alpha_IE", "gamma_IE"])
        >>> found.groups["IE"]
        ('alpha_IE', 'gamma_IE')

    Source: of the estimate, Ince et al. (2017), Human Brain Mapping 38:1541.
    """
    if isinstance(rules, Posterior):
        names, draws = rules.names, rules.draws
    else:
        names = arguments.strings("names", names)
        draws = arguments.theta_matrix(rules, names, argument="rules")
    if not names:
        raise ValueError("names must name the columns, such as ['alpha_EE', 'alpha_IE'], where rules are draws.")
    if len(set(names)) != len(names):
        raise ValueError(f"names must differ, got {arguments.listed(names)}.")
    chosen = _groups(names, groups)
    kept = tuple(name for members in chosen.values() for name in members)
    if len(draws) < 10 * len(kept):
        raise ValueError(
            f"rules must hold at least ten draws for each of {len(kept)} coefficients, {10 * len(kept)}, got {len(draws)}."
        )
    of_kept = draws[:, [names.index(name) for name in kept]].double()
    still = next(
        (name for name, column in zip(kept, of_kept.T, strict=True) if bool((column == column[0]).all())), None
    )
    if still is not None:
        raise ValueError(
            f"rules must vary in every coefficient, but {still} is {float(of_kept[0, kept.index(still)]):g} in all."
        )
    z = _normal_scores(of_kept)
    places = [[kept.index(name) for name in members] for members in chosen.values()]
    g = len(places)
    information, p_value, implied = torch.zeros(g, g), torch.ones(g, g), torch.eye(g)
    stream = generator(seed, Stream.PERMUTATIONS)
    for a, b in itertools.combinations(range(g), 2):
        first, second = z[:, places[a]], z[:, places[b]]
        found = _information(first, second)
        chance = torch.tensor(
            [_information(first, second[torch.randperm(len(z), generator=stream)]) for _ in range(PERMUTATIONS)]
        )
        information[a, b] = information[b, a] = max(0.0, found - float(chance.mean()))
        p_value[a, b] = p_value[b, a] = (1 + int((chance >= found).sum())) / (1 + PERMUTATIONS)
        implied[a, b], implied[b, a] = _implied(first, second), _implied(second, first)
    precision = torch.linalg.inv(torch.corrcoef(z.T) + 1e-9 * torch.eye(len(kept), dtype=z.dtype))
    root = precision.diagonal().sqrt()
    conditional = -precision / root[:, None] / root
    return Dependence(chosen, information, p_value, implied, conditional.fill_diagonal_(1.0).float(), kept)


def _groups(names: Sequence[str], given: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    if given is None and not all(name.rsplit("_", 1)[-1] in SYNAPSES for name in names):
        raise ValueError(
            f"groups must say which coefficients belong together, such as {{'first': ['a'], 'second': ['b']}}: only names "
            f"of rules of spikes end with their synapse, got {arguments.listed(names)}."
        )
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"groups must map labels to names of coefficients, got {given!r:.80}.")
    if given is None:
        ends = list(dict.fromkeys(name.rsplit("_", 1)[-1] for name in names))
        out = {end: tuple(name for name in names if name.rsplit("_", 1)[-1] == end) for end in ends}
    else:
        out = {str(label): arguments.strings(f"groups[{label!r}]", members) for label, members in given.items()}
        for label, members in out.items():
            if not members:
                raise ValueError(f"groups[{label!r}] must name at least one coefficient.")
            for name in members:
                arguments.known("groups", name, tuple(names))
    every = [name for members in out.values() for name in members]
    if len(out) < 2 or len(set(every)) != len(every):
        raise ValueError(
            f"groups must be at least two, without a coefficient in both, got {len(out)} of {len(every)} coefficients; name "
            f"them, such as {{'first': [...], 'second': [...]}}."
        )
    return out


def _normal_scores(x: Tensor) -> Tensor:
    scores: Tensor = torch.special.ndtri((_ranks(x) - 0.5) / len(x))
    return scores


def _information(a: Tensor, b: Tensor) -> float:
    """Mutual information of Gaussian columns, nats."""
    both = torch.corrcoef(torch.cat([a, b], dim=1).T)
    k = a.shape[1]
    parts = [torch.linalg.slogdet(m)[1] for m in (both[:k, :k], both[k:, k:], both)]
    return float(0.5 * (parts[0] + parts[1] - parts[2]))


def _implied(of: Tensor, by: Tensor) -> float:
    """Share of the variance of columns that others explain linearly, mean over columns, less what chance gives."""
    n, k = by.shape
    fit = torch.linalg.lstsq(by, of).solution
    rest = (of - by @ fit).square().sum(dim=0) / of.square().sum(dim=0)
    return float((1 - rest * (n - 1) / (n - k - 1)).mean().clamp(min=0.0))
