"""What always stands beside recordings: the circuit that does not learn, and trials in another order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.questions.base import Asked
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.prior import Factorised
from sbirules.model.recordings import Recordings
from sbirules.model.verdicts import Verdict
from sbirules.priors import IndependentPrior
from sbirules.samplers.chains import Chains, draw_chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support.streams import Stream, child

__all__ = ["Controls", "controls_of", "drawn_rules", "prior_without_rule"]

SETTINGS = SamplerSettings(num_runs=2, num_particles=512, num_moves=4, max_doublings=0)
DECISIVE = 3.0  # nats above which evidence decides: 20 to 1
RECORDINGS, SHUFFLED = "recordings", "trials in another order"


@dataclass(frozen=True)
class Controls:
    """Log-evidence of a rule above that of no plasticity.

    Arguments:
        gains: Nats and their standard error: of the recordings, and of the same with trials in another order.
    """

    gains: Mapping[str, tuple[float, float]]

    @property
    def sentence(self) -> str:
        """Both, in words."""
        told = ", ".join(f"{value:+.1f} ± {se:.1f} nats for {name}" for name, (value, se) in self.gains.items())
        return f"Evidence of the rule above no plasticity, with one rule for all animals: {told}."

    def verdict(self) -> Verdict:
        """Whether plasticity is needed, and whether that comes from the order of trials."""
        (gain, se), (without, _) = self.gains[RECORDINGS], self.gains[SHUFFLED]
        numbers = {f"nats for {name}": value for name, (value, _) in self.gains.items()}
        finding = self.sentence
        level, advice = "pass", ""
        if not gain > DECISIVE + 2 * se:
            level = "caution"
            verb = "explains the recordings better than" if gain < -DECISIVE else "explains the recordings as well as"
            finding = f"The circuit without plasticity {verb} this rule. {finding}"
            advice = "Do not read its coefficients as evidence of plasticity; of other rules compare_families tells."
        elif without > DECISIVE:
            level = "caution"
            finding = f"The rule is preferred even where the order of trials is lost. {finding}"
            advice = "It explains something else than learning: differences between types or sessions, or noise of another form."
        return Verdict("plasticity", level, finding, advice, numbers)


def prior_without_rule(prior: Distribution, simulator: Any) -> Distribution:
    """The prior of what is not of the rule: the given one where coefficients are independent, else the usual ones."""
    still = simulator.without_plasticity()
    own: Mapping[str, Distribution] = prior.components if isinstance(prior, Factorised) else {}
    usual = still.nuisances
    return IndependentPrior({name: own.get(name, usual[name]) for name in still.names})


def drawn_rules(
    simulator: Any, prior: Distribution, table: Any, seed: int, settings: SamplerSettings = SETTINGS
) -> Chains:
    """Rules given a table whose likelihood is known, by few particles, with their evidence."""
    likelihood = simulator.likelihood(table)

    def log_likelihood(theta: Tensor) -> Tensor:
        out: Tensor = likelihood.log_prob(theta).sum(dim=1)
        return out

    with warnings.catch_warnings():  # of draws that nobody sees: their evidence comes with its error
        warnings.filterwarnings("ignore", message="the sampler")
        return draw_chains(log_likelihood, prior, 512, settings, seed=seed, from_modes=True)


def controls_of(posterior: Asked, simulator: Any, recordings: Recordings, fresh: Fresh) -> Controls | None:
    """Evidence with and without plasticity, for the recordings and with their trials in another order."""
    if getattr(simulator, "plastic", True) is False:
        return None
    still, prior = simulator.without_plasticity(), posterior.prior
    fixed = prior_without_rule(prior, simulator)
    out = {}
    tables = {RECORDINGS: recordings, SHUFFLED: recordings.shuffled(child(fresh.seed, Stream.PERMUTATIONS) % 2**31)}
    for k, (name, table) in enumerate(tables.items()):
        seed = child(fresh.seed, Stream.REFERENCES, k)
        (with_rule, a), (without, b) = (
            drawn_rules(simulator, prior, table, seed).log_evidence,
            drawn_rules(still, fixed, table, seed).log_evidence,
        )
        out[name] = (with_rule - without, math.hypot(a, b))
    return Controls(out)
