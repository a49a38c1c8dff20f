"""Calibration of a trained estimator: rules, data of each, and the posterior that these lead to.

An estimator that was trained on the prior alone serves any data: it is tested on rules of the prior. One that was refined
near a posterior is not meant for data of other rules: it is tested on rules of that posterior, which take the prior's place.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sbirules.checks.given_simulations import Simulations, simulator_of
from sbirules.checks.recovery import Recovery
from sbirules.inference.batches import log_likelihoods
from sbirules.inference.posterior import Posterior
from sbirules.inference.potentials import Potential
from sbirules.inference.questions import Fresh, LearnersQuestion, ObservationQuestion, Question
from sbirules.inference.rounds.recalibrating import Drawn, rules_near
from sbirules.model.prior import prior_draws
from sbirules.neural_nets.standardiser import Standardiser
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments, tensors
from sbirules.support.borrowed import torch_as_found
from sbirules.support.files import digest, make_folder
from sbirules.support.streams import Stream, child, generator, seeded, small
from sbirules.support.typed import typed, typed_class

__all__ = ["Calibration", "calibrate", "local_p_value"]

FEWEST = 50  # rules that calibration can be judged by
OF_PRIOR = 100  # sets of data of the prior, which the real ones are held against, where calibration is not on the prior


@typed_class
@dataclass(frozen=True)
class Calibration:
    """Rules with known truth, and what was observed.

    Arguments:
        recovery: Truth and draws.
        features: What the posterior was given for each rule (for learners: their mean summaries), `(rules, S)`.
        observed: The same of the real observation, `(S,)`, or None.
        wanted: How many rules were asked for, where fewer came through.
        of_prior: `features` of rules of the prior, `(sets, S)`, where rules are those of the posterior, which was refined;
            else None.
    """

    recovery: Recovery
    features: Tensor
    observed: Tensor | None
    wanted: int | None = None
    of_prior: Tensor | None = None

    @property
    def around(self) -> bool:
        """Whether rules are those of the posterior, in place of the prior's."""
        return self.of_prior is not None


@typed
def calibrate(
    posterior: Posterior,
    simulator: Simulations,
    *,
    question: Question | None = None,
    rules: int = 200,
    num_samples: int = 200,
    trial_types: Any = None,
    x_o: Mapping[str, float] | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    progress: bool = False,
) -> Calibration:
    """Draws rules from the prior, simulates data of each, and asks the posterior's own estimator about them.

    Of a posterior that was refined, rules are drawn from the posterior, which then stands in for the prior: what was learned
    near it is for data of rules like these. That sees a posterior that is too narrow, too wide or shifted where it lies, but
    not one that lies at the wrong place altogether: of that, predictions tell.

    Unlike `recover`, nothing is trained: it is this posterior that is tested.

    Arguments:
        posterior: Of `trials` or `x_o`, or a wrapped posterior of sbi that can be given any x.
        simulator: The simulator of the fit, a function from theta `(n, D)` to x `(n, S)`, or a store of fresh simulations
            of rules of the prior.
        question: What was asked; by default that of the posterior.
        rules: How many.
        num_samples: Posterior draws for each.
        trial_types: Sequences of the learners, `(L, trials)`; None for those of the fit, or the task's own.
        x_o: What a wrapped posterior was given, by summary name.
        folder: Where simulations and draws are kept, so that a rerun resumes.
        seed: Of rules and networks.
        num_workers: Worker processes.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If the posterior answers one question only, as one of constraints does.
    """
    asked, runner = question or posterior.question, simulator_of(simulator, posterior, ())
    source = simulator if isinstance(simulator, SimulationStore) else runner
    if source is None:
        raise ValueError(
            "simulator must be that of the fit, or fresh simulations; without either there is nothing to calibrate on."
        )
    if asked is None:
        given = dict.fromkeys(source.summary_names, 0.0) if x_o is None else x_o
        asked = ObservationQuestion.ask(given, source.layout, source.summary_names)
    if not asked.repeatable:
        raise ValueError(
            f"a posterior of {asked.kind} answers one question; calibration needs data that can be drawn anew."
        )
    if posterior.hold or posterior.region:
        raise ValueError(
            "calibration tests whole posteriors, not conditioned or truncated ones; calibrate before that."
        )
    arguments.whole("rules", rules, 50, arguments.MANY)
    arguments.whole("num_samples", num_samples, 50, arguments.MANY)
    place, kept = None, None
    around = posterior.record.refined and isinstance(asked, LearnersQuestion)
    if folder is not None:
        # a calibration of another posterior, or with other settings, is another file
        probe = posterior.spread_out(64)
        with torch.no_grad():
            density = [round(float(v), 4) for v in posterior.potential(probe)]
        made_by = source.manifest["hash"] if isinstance(source, SimulationStore) else source.config()
        key = digest([asked.config(), density, probe.tolist(), rules, num_samples, seed, made_by, around])
        place = Path(folder) / f"calibration-{key[:12]}.safetensors"
        kept = _kept(place)
    if kept is None:
        fresh = Fresh(
            folder=None if folder is None else Path(folder), seed=seed, num_workers=num_workers, progress=progress
        )
        extra: dict[str, Tensor] = {}
        if isinstance(source, SimulationStore):
            data = asked.kept_data(source, rules)
        elif around:
            base, truth = rules_near(posterior, rules, child(seed, Stream.CALIBRATION), progress)
            data = asked.fresh_data(source, Drawn(truth), rules, fresh, trial_types)
            elsewhere = replace(
                fresh,
                folder=None if fresh.folder is None else fresh.folder / "prior",
                seed=child(seed, Stream.CALIBRATION, 1),
            )
            far = asked.fresh_data(source, posterior.prior, OF_PRIOR, elsewhere, trial_types)
            extra = {"of_prior": far.features, "spread": base.std(dim=0)}
        else:
            data = asked.fresh_data(source, posterior.prior, rules, fresh, trial_types)
        if extra:
            draws = _reweighed(posterior, base, data.observations, num_samples, seed)
        else:
            draws = posterior.sample_batched((num_samples,), data.observations, seed=seed, progress=progress).transpose(
                0, 1
            )
        told = torch.isfinite(draws).flatten(1).all(dim=1)  # an observation that could not be used has no draws
        if int(told.sum()) < FEWEST:
            raise ValueError(
                f"only {int(told.sum())} of {len(told)} observations led to draws, {FEWEST} are needed; see the warnings."
            )
        kept = {"truth": data.truth[told], "draws": draws[told], "features": data.features[told], **extra}
        if place is not None:
            make_folder(place.parent)
            tensors.write(place, kept)
    sd = kept["spread"] if "spread" in kept else prior_draws(posterior.prior, 10_000).float().std(dim=0)
    recovery = Recovery(posterior.names, kept["truth"], kept["draws"], asked.size, sd, posterior)
    given_x = x_o is not None or posterior.question is not None or question is not None
    observed = asked.features(posterior.potential_net) if given_x else None
    wanted = rules if len(kept["truth"]) < rules else None
    return Calibration(recovery, kept["features"], observed, wanted, kept.get("of_prior"))


def _reweighed(posterior: Posterior, base: Tensor, observations: Sequence[Any], n: int, seed: int) -> Tensor:
    """Draws `(observations, n, D)` given each observation where the prior is what `base` is from; NaN where it cannot be used.

    Rules of `base` are drawn again in proportion to their likelihoods.
    """
    out = torch.full((len(observations), n, base.shape[1]), torch.nan)
    asked: dict[int, Potential] = {}
    for k, observation in enumerate(observations):
        try:
            asked[k] = posterior.asked(observation)[0].potential_net
        except ValueError as error:
            warnings.warn(f"observation {k}: {error} Its draws are NaN.")
    value = log_likelihoods(list(asked.values()), base.expand(len(asked), -1, -1)) if asked else torch.zeros(0)
    for k, row in zip(asked, value, strict=True):
        weight = torch.softmax(torch.nan_to_num(row, nan=-math.inf), dim=0)
        stream = generator(seed, Stream.OBSERVATION, k)
        out[k] = base[torch.multinomial(weight, n, replacement=True, generator=stream)]
    return out


def _kept(place: Path) -> dict[str, Tensor] | None:
    """What an earlier call kept, unless it is damaged."""
    if not place.is_file():
        return None
    try:
        _, found = tensors.read(place)
    except tensors.DamagedFile as error:
        warnings.warn(f"{place.parent}: {error}; the calibration is done anew.")
        return None
    return found if {"truth", "draws", "features"} <= set(found) else None


def local_p_value(calibration: Calibration, draws: Tensor, *, num_null: int = 50, seed: int = 1) -> float:
    """L-C2ST (Linhart et al. 2023) at the observation, by sbi: is the posterior right there, and not only on average?

    Arguments:
        calibration: With an observation.
        draws: Of the posterior given it, `(n, D)`.
        num_null: Classifiers trained under the null hypothesis.
        seed: Of the classifiers.
    """
    with torch_as_found():
        from sbi.diagnostics.lc2st import LC2ST
    from sklearn.neural_network import MLPClassifier

    if calibration.observed is None:
        raise ValueError("a local test needs an observation: calibrate a posterior of x_o or of learners.")
    truth, x = calibration.recovery.truth, calibration.features
    standardiser = Standardiser.of(x)
    own = small(seed, Stream.CLASSIFIER)
    test = LC2ST(
        prior_samples=truth,
        xs=standardiser(x),
        posterior_samples=calibration.recovery.draws[:, 0],
        seed=own,
        z_score=True,
        num_trials_null=num_null,
        classifier=MLPClassifier,
        # of the size that sbi's default gives, without its 1000 epochs, which only fit noise in a few hundred rows
        classifier_kwargs={
            "hidden_layer_sizes": (32, 32),
            "alpha": 0.1,
            "max_iter": 60,
            "random_state": own,
        },
    )
    with warnings.catch_warnings(), seeded(seed, Stream.CLASSIFIER):
        warnings.simplefilter("ignore")  # scikit-learn's, on stopping at max_iter
        test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
        return float(test.p_value(theta_o=draws.float(), x_o=standardiser(calibration.observed.to(x.dtype))))
