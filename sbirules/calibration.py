"""Calibration of a trained estimator: rules of the prior, data of each, and the posterior that these lead to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Size, Tensor

from sbirules import _check
from sbirules.amortised import AmortisedPosterior
from sbirules.features import spread
from sbirules.files import digest, write_atomically
from sbirules.posterior import Posterior
from sbirules.recover import FRESH, Recovery, learners_of
from sbirules.sampling import prior_draws, spread_out
from sbirules.simulate import simulate
from sbirules.simulator import Simulator
from sbirules.streams import seeded

__all__ = ["Calibration", "calibrate", "local_p_value"]


@dataclass(frozen=True)
class Calibration:
    """Rules with known truth, and what was observed.

    Arguments:
        recovery: Truth and draws.
        features: What the posterior was given for each rule (for learners: their mean summaries), `(rules, S)`.
        observed: The same of the real observation, `(S,)`, or None.
    """

    recovery: Recovery
    features: Tensor
    observed: Tensor | None


def calibrate(
    posterior: Posterior, simulator: Simulator, *, rules: int = 200, num_samples: int = 200, trial_types: Any = None,
    x_o: Mapping[str, float] | None = None, folder: Path | None = None, seed: int = 0, num_workers: int | None = None,
    progress: bool = False,
) -> Calibration:  # fmt: skip
    """Draws rules from the prior, simulates data of each, and asks the posterior's own estimator about them.

    Unlike `recover`, nothing is trained: it is this posterior that is tested.

    Arguments:
        posterior: Of `trials` or `x_o`, or a wrapped posterior of sbi that can be given any x.
        simulator: The simulator of the fit.
        rules: How many.
        num_samples: Posterior draws for each.
        trial_types: Sequences of the learners, `(L, trials)`; None for the task's own.
        x_o: What was observed, by summary name; for a wrapped posterior, the summaries that it is given.
        folder: Where simulations and draws are kept, so that a rerun resumes.
        seed: Of rules and networks.
        num_workers: Worker processes.
        progress: Whether to show progress bars.

    Raises:
        ValueError: If the posterior answers one question only, as one of constraints does.
    """
    kind = posterior.facts.get("kind")
    if kind not in ("trials", "observation", "wrapped"):
        raise ValueError(f"a posterior of {kind} answers one question; calibration needs data that can be drawn anew.")
    if posterior.hold or posterior.region:
        raise ValueError("calibration tests whole posteriors, not conditioned or truncated ones.")
    _check.whole("rules", rules, 50)
    _check.whole("num_samples", num_samples, 50)
    keep: dict[str, Any] = {"num_workers": num_workers, "progress": progress}
    ask = {"trials": _of_learners, "observation": _of_networks, "wrapped": _of_wrapped}[str(kind)]
    place = None
    if folder is not None:
        # a calibration of another posterior, or with other settings, is another file
        probe = spread_out(posterior, 64, seed=seed)
        with torch.no_grad():
            density = [round(float(v), 4) for v in posterior.potential(probe)]
        key = digest([posterior.facts, density, probe.tolist(), rules, num_samples, seed, simulator.config(), x_o])
        place = Path(folder) / f"calibration-{key[:12]}.safetensors"
        if place.is_file():
            kept = safetensors.torch.load_file(str(place))
            return _made(posterior, kept["truth"], kept["draws"], kept["features"], kept.get("observed"))
    given = x_o if kind == "wrapped" else trial_types
    truth, draws, features, observed = ask(
        posterior, simulator, rules, num_samples, given, None if folder is None else Path(folder), seed, keep
    )
    told = torch.isfinite(draws).flatten(1).all(dim=1)  # an observation that could not be used has no draws
    truth, draws, features = truth[told], draws[told], features[told]
    if place is not None:
        tensors = {"truth": truth, "draws": draws, "features": features}
        tensors |= {} if observed is None else {"observed": observed}
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, lambda path: safetensors.torch.save_file(tensors, str(path)))
    return _made(posterior, truth, draws, features, observed)


def _made(posterior: Posterior, truth: Tensor, draws: Tensor, features: Tensor, observed: Tensor | None) -> Calibration:
    prior_sd = prior_draws(posterior.prior, 10_000).float().std(dim=0)
    learners = int(posterior.facts.get("learners", 1))
    return Calibration(Recovery(posterior.names, truth, draws, learners, prior_sd, posterior), features, observed)


Asked = tuple[Tensor, Tensor, Tensor, Tensor | None]


def _of_learners(
    posterior: Posterior, simulator: Simulator, rules: int, n: int, trial_types: Any, folder: Path | None, seed: int,
    keep: dict[str, Any],
) -> Asked:  # fmt: skip
    truth, tables = learners_of(
        simulator, posterior.prior, rules, int(posterior.facts["learners"]), folder=folder, seed=seed + FRESH,
        trial_types=trial_types, **keep,
    )  # fmt: skip
    draws = posterior.sample_batched((n,), tables, seed=seed, progress=bool(keep["progress"])).transpose(0, 1)
    features = torch.stack([_mean_summaries(posterior.given(table)) for table in tables])
    return truth, draws, features, _mean_summaries(posterior)


def _mean_summaries(posterior: Posterior) -> Tensor:
    """Mean over learners of the summaries that the posterior was given, `(S,)`."""
    net: Any = posterior.potential_net
    if isinstance(net, AmortisedPosterior):  # places of a set: summaries, length, and whether there is a learner
        return net.x_o[net.x_o[:, -1] > 0, :-2].float().mean(dim=0)
    return net.x.float().mean(dim=0)


def _networks(
    posterior: Posterior, simulator: Simulator, rules: int, seed: int, names: Sequence[str], keep: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Rules of the prior and these summaries, networks that lack one left out, as data would be."""
    with seeded(seed, 12):
        theta = posterior.prior.sample(Size((2 * rules,))).float()
    store = simulate(simulator, theta, seed=seed + FRESH, label="calibration", **keep)
    x = store.x[:, [store.summary_names.index(name) for name in names]]
    ok = torch.isfinite(x).all(dim=1).nonzero()[:rules, 0]
    if len(ok) < 50:
        raise ValueError(f"only {len(ok)} of {2 * rules} networks of prior rules did not fail; narrow the prior.")
    return store.theta[ok], x[ok]


def _of_networks(
    posterior: Posterior, simulator: Simulator, rules: int, n: int, given: Any, folder: Path | None, seed: int,
    keep: dict[str, Any],
) -> Asked:  # fmt: skip
    truth, x = _networks(posterior, simulator, rules, seed, posterior.facts["summaries"], keep)
    draws = posterior.sample_batched((n,), list(x), seed=seed, progress=bool(keep["progress"])).transpose(0, 1)
    return truth, draws, x, torch.tensor(posterior.facts["x_o"])


def _of_wrapped(
    posterior: Any, simulator: Simulator, rules: int, n: int, x_o: Mapping[str, float] | None, folder: Path | None, seed: int,
    keep: dict[str, Any],
) -> Asked:  # fmt: skip
    names = simulator.summary_names if x_o is None else tuple(x_o)
    truth, x = _networks(posterior, simulator, rules, seed, names, keep)
    with seeded(seed, 13):
        draws = torch.stack([_asked(posterior.inner, n, row) for row in x])
    observed = posterior.x if x_o is None else torch.tensor(list(x_o.values()))
    return truth, draws, x, None if observed is None else torch.as_tensor(observed).float().flatten()


def _asked(inner: Any, n: int, x: Tensor) -> Tensor:
    """n draws of one of sbi's posteriors given x, `(n, D)`, without its progress bar."""
    return inner.sample((n,), x=x, show_progress_bars=False).reshape(n, -1).float()


def local_p_value(calibration: Calibration, draws: Tensor, *, num_null: int = 50, seed: int = 1) -> float:
    """L-C2ST (Linhart et al. 2023) at the observation, by sbi: is the posterior right there, and not only on average?

    Arguments:
        calibration: With an observation.
        draws: Of the posterior given it, `(n, D)`.
        num_null: Classifiers trained under the null hypothesis.
        seed: Of the classifiers.
    """
    from sbi.diagnostics.lc2st import LC2ST
    from sklearn.neural_network import MLPClassifier

    if calibration.observed is None:
        raise ValueError("a local test needs an observation.")
    truth, x = calibration.recovery.truth, calibration.features
    scale = spread(x)
    test = LC2ST(
        prior_samples=truth, xs=x / scale, posterior_samples=calibration.recovery.draws[:, 0], seed=seed, z_score=True,
        num_trials_null=num_null, classifier=MLPClassifier,
        # of the size that sbi's default gives, without its 1000 epochs, which only fit noise in a few hundred rows
        classifier_kwargs={"hidden_layer_sizes": (32, 32), "alpha": 0.1, "max_iter": 60, "random_state": seed},
    )  # fmt: skip
    with warnings.catch_warnings(), seeded(seed):
        warnings.simplefilter("ignore")  # scikit-learn's, on stopping at max_iter
        test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
        return test.p_value(theta_o=draws.float(), x_o=calibration.observed / scale)
