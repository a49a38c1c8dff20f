"""A prior over a rule's coefficients, with the usual priors of what else is inferred beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.distributions import Distribution

from sbirules.model.prior import Factorised, names_of
from sbirules.support import arguments
from sbirules.support.typed import typed

from .brought import BroughtPrior, PriorLike, as_prior
from .independent import IndependentPrior
from .sparse import SpikeAndSlab

__all__ = ["completed"]


@typed
def completed(
    prior: PriorLike, names: tuple[str, ...], nuisances: Mapping[str, Distribution], argument: str = "prior"
) -> Distribution:
    """The prior over all of `names`: what it leaves out of the nuisances has its usual prior, independent of the rest.

    Arguments:
        prior: Over all columns, or without nuisances.
        names: Of theta's columns, the rule's first.
        nuisances: Usual priors of the others, by name.
        argument: What the prior is called in messages.

    Raises:
        ValueError: If a coefficient of the rule has no prior.
    """
    rule = tuple(name for name in names if name not in nuisances)
    if isinstance(prior, Distribution):
        size = prior.event_shape.numel()
    else:
        size = len(prior) if isinstance(prior, Sequence) else 0  # what is no prior is said by `as_prior`
    whole: Distribution = as_prior(
        prior, names if size == len(names) and names_of(prior, ()) != rule else rule, argument
    )
    given = names_of(whole, rule)
    missing = [name for name in names if name not in given]
    unknown = [name for name in given if name not in names]
    lacking = [name for name in missing if name not in nuisances]
    if unknown or lacking:
        raise ValueError(
            f"{argument} is over {arguments.listed(given)}, but the rule and its policy have {arguments.listed(names)}."
        )
    if not missing:
        return whole
    more = {name: nuisances[name] for name in missing}
    if isinstance(whole, SpikeAndSlab):
        return SpikeAndSlab(IndependentPrior(_sorted({**whole.slab.components, **more}, names)), whole.inclusion)
    if isinstance(whole, Factorised) and len(whole.components) == len(given):
        return IndependentPrior(_sorted({**whole.components, **more}, names))
    return BroughtPrior(names, [whole, *more.values()])


def _sorted(components: Mapping[str, Distribution], names: tuple[str, ...]) -> dict[str, Distribution]:
    return {name: components[name] for name in names}
