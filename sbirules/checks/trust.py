"""Verdicts on inference itself: sampler, simulations, training, calibration, and the prior against the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from sbirules import figures
from sbirules.checks.calibrating import Calibration, local_p_value
from sbirules.checks.misfit import misspecification
from sbirules.inference.leaks import ENOUGH
from sbirules.inference.posterior import Posterior
from sbirules.inference.potentials import WrappedPotential
from sbirules.inference.questions import Question, Resimulation
from sbirules.inference.record import FitRecord
from sbirules.model.runs import Status
from sbirules.model.verdicts import Verdict, by_p_value
from sbirules.stores.store import SimulationStore
from sbirules.support.streams import Stream, child

__all__ = [
    "calibration_verdicts",
    "misspecification_verdict",
    "sampler_verdict",
    "simulation_verdict",
    "training_verdict",
]

R_HAT = (1.05, 1.1)  # above the first caution, above the second fail
ESS = (400, 100)  # likewise below
FAILED = (0.5, 0.95)  # share of failed simulations
ENOUGH_SUCCESSES, SUCCESSES_EACH = 100, 10  # networks that satisfy constraints, in all and for each coefficient
NOTHING = 0.05  # mean contraction over rules of the prior below which nothing was learned
LEAKING = 0.7  # share of a wrapped posterior's draws inside the prior below which that is a caution
DIVERGED = 0.005  # share of draws whose step may diverge before that is a caution


def sampler_verdict(posterior: Posterior) -> list[Verdict]:
    """Do the sampler's runs agree, and are there enough draws? Of a wrapped posterior: does it leak out of the prior?"""
    if isinstance(posterior.potential_net, WrappedPotential) and not (posterior.hold or posterior.region):
        return _leak_verdict(posterior.potential_net.inside)
    chains = posterior.chains
    if math.isnan(chains.r_hat) and math.isnan(chains.ess):  # independent draws need no check
        return []
    numbers = {"r_hat": chains.r_hat, "ess": chains.ess, "draws": float(len(posterior.draws))}
    level = "pass"
    for grade, r_hat, ess in (("caution", R_HAT[0], ESS[0]), ("fail", R_HAT[1], ESS[1])):
        if not chains.r_hat <= r_hat or chains.ess < min(ess, len(posterior.draws) / 2):
            level = grade
    drawn = len(posterior.draws)
    differ = posterior.of_animals
    if differ is not None and differ.spread is not None:
        return [_pooled_verdict(level, chains.r_hat, chains.ess, drawn, differ.divergences)]
    advice = "" if level == "pass" else "Raise num_particles and num_moves in SamplerSettings, or draw more samples."
    finding = (
        f"R-hat {chains.r_hat:.3f} between independent runs, effective sample size {min(chains.ess, drawn):.0f} of {drawn} "
        f"draws (the worst coefficient of each)."
    )
    return [Verdict("sampler", level, finding, advice, numbers)]


def _pooled_verdict(level: str, r_hat: float, ess: float, drawn: int, diverged: int) -> Verdict:
    """The same of NUTS, whose steps may also diverge."""
    if level == "pass" and diverged > DIVERGED * drawn:
        level = "caution"
    finding = (
        f"NUTS over the population and its animals: R-hat {r_hat:.3f} between chains, effective sample size {ess:.0f} of {drawn} "
        f"draws (the worst of everything drawn), {diverged} steps diverged."
    )
    advice = "Let fewer coefficients vary (varies=...), or draw more: SamplerSettings(num_particles=...)."
    numbers = {"r_hat": r_hat, "ess": ess, "draws": float(drawn), "divergences": float(diverged)}
    return Verdict("sampler", level, finding, "" if level == "pass" else advice, numbers)


def _leak_verdict(inside: float | None) -> list[Verdict]:
    """How many of a wrapped posterior's draws lie outside the prior and are thrown away?"""
    if inside is None:
        return []
    level = "fail" if inside < ENOUGH else "caution" if inside < LEAKING else "pass"
    finding = f"{1 - inside:.1%} of the wrapped posterior's own draws lie outside the prior and are thrown away."
    if inside < ENOUGH:
        finding += " Tries are capped, and observations for which they do not suffice left out of calibration."
    advice = "Train it on more simulations, or let it sample within the prior (sample_with='mcmc')."
    advice = "" if level == "pass" else advice
    return [Verdict("leakage", level, finding, advice, {"outside": 1 - inside})]


def simulation_verdict(
    stores: Sequence[SimulationStore],
    again: Resimulation | None,
    cautions: Sequence[str] = (),
    record: FitRecord | None = None,
) -> list[Verdict]:
    """How many simulations failed, in the fit and under posterior rules, and were there enough that tell success?"""
    if not stores:
        return []
    failed = torch.cat([store.status for store in stores]) != int(Status.OK)
    theta, names = torch.cat([store.theta for store in stores]), stores[0].names
    share = float(failed.double().mean())
    numbers = {"failed": share, "simulations": float(len(theta))}
    finding = f"{share:.1%} of {len(theta)} simulations of the fit failed"
    late = 0.0
    if again is not None:
        late = sum(again.failures.values()) / (again.rules * again.networks_per_rule)
        numbers["failed_under_posterior"] = late
        finding += f", {late:.1%} of the fresh networks under posterior rules"
    level = "fail" if share > FAILED[1] else "caution" if share > FAILED[0] or late > 0.2 else "pass"
    advice = ""
    if level != "pass":
        advice = "Narrow the prior along the coefficients in the figure, or lower the step dt of the simulator."
    cautions = [*cautions, *(() if record is None else record.cautions)]
    few = record.used if record is not None and record.used_for == "satisfied" else math.inf
    enough = max(ENOUGH_SUCCESSES, SUCCESSES_EACH * len(names))
    if few < enough:
        numbers["successes"] = float(few)
        told = (
            f"Only {few} of the networks that were learned from satisfied the constraints, {enough} are advised for {len(names)} "
            f"coefficients: intervals may be too narrow. Simulate more, or use filter_rules."
        )
        cautions.append(told)
    if cautions:  # what the fit itself warned of
        level, advice = ("caution" if level == "pass" else level), " ".join([*cautions, advice]).strip()

    def draw() -> Any:
        return figures.failures(theta, failed, names)

    caption = (
        f"Share of failed simulations over the coefficients that it depends on most ({int(failed.sum())} of "
        f"{len(theta)} failed)."
    )
    return [
        Verdict("simulations", level, finding + ".", advice, numbers, draw if bool(failed.any()) else None, caption)
    ]


def training_verdict(posterior: Posterior) -> list[Verdict]:
    """Did training end because nothing more was to be learned?"""
    curves = {name: curve for name, curve in posterior.record.training.items() if len(curve) > 1}
    if not curves:
        return []
    still, worse = [], []
    for name, curve in curves.items():
        best = min(range(len(curve)), key=lambda k: curve[k])
        spread = max(curve) - min(curve)
        recent = curve[-max(2, len(curve) // 10) :]
        if best == len(curve) - 1 and recent[0] - recent[-1] > 0.05 * max(spread, 1e-9) and len(curve) > 5:
            still.append(name)
        if curve[best] >= curve[0] - 1e-6:
            worse.append(name)
    level = "caution" if still or worse else "pass"
    finding = "; ".join(f"{name}: best of {len(c)} epochs {min(c):.4g}, first {c[0]:.4g}" for name, c in curves.items())
    advice = ""
    if still:
        advice = f"The held-out loss of {', '.join(still)} was still falling: raise max_epochs."
    elif worse:
        advice = f"{', '.join(worse)} learned nothing that holds for other simulations: simulate more."
    numbers = {f"best_loss of {name}": float(min(curve)) for name, curve in curves.items()}
    caption = "Held-out loss during training."
    return [
        Verdict(
            "training", level, f"Held-out loss, {finding}.", advice, numbers, lambda: figures.training(curves), caption
        )
    ]


def calibration_verdicts(tested: Calibration, posterior: Posterior, seed: int) -> list[Verdict]:
    """Simulation-based calibration of coefficients and pairs, expected coverage, TARP, and L-C2ST at the observation."""
    found = tested.recovery
    rules, d = len(found.truth), len(found.names)
    whose = "rules of the posterior, near which it was refined" if tested.around else "rules of the prior"
    more = "Simulate more, add rounds (refine), or take other summaries; then check again."
    short_of = "" if tested.wanted is None else f" (of {tested.wanted} wanted: the others failed, or led to no draws)"
    sbc = found.sbc_p
    worst = min(sbc, key=lambda name: sbc[name])
    out = [
        Verdict(
            "calibration",
            by_p_value(sbc[worst], d),
            f"Simulation-based calibration on {rules} {whose}{short_of}: the ranks of the truth are "
            f"{'uniform' if by_p_value(sbc[worst], d) == 'pass' else 'not uniform'} (smallest p-value of {d}: "
            f"{sbc[worst]:.2g}, {worst}).",
            "" if by_p_value(sbc[worst], d) == "pass" else more,
            {f"p_{name}": p for name, p in sbc.items()},
            lambda: figures.calibration(found),
            f"Ranks of the true coefficients among posterior draws, {rules} rules: within the grey band (99 %) they are "
            f"uniform.",
        )
    ]
    # coefficients of one rule are not independent: the error is that between rules
    inside = found.inside(0.95).double().mean(dim=1)
    middle = found.inside(0.5).double().mean(dim=1)
    half, most = float(middle.mean()), float(inside.mean())
    se = max(float(inside.std()) / math.sqrt(rules), 0.5 / rules)
    half_se = max(float(middle.std()) / math.sqrt(rules), 0.5 / rules)
    level = "pass"
    for gap, error in ((0.95 - most, se), (0.5 - half, half_se)):
        if gap > max(4 * error, 0.05):
            level = "fail"
        elif abs(gap) > max(2.5 * error, 0.02) and level == "pass":
            level = "caution"
    short = (0.95 - most) / se + (0.5 - half) / half_se
    advice = (
        ""
        if level == "pass"
        else (more if short > 0 else "Intervals are too wide: more simulations would narrow them.")
    )
    # intervals of the prior hold the truth as often as they should, too
    learned = 1 - (found.draws.double().var(dim=1).mean(dim=0) / found.prior_sd.double().clamp(min=1e-12).square())
    best = int(learned.argmax())
    if level == "pass" and float(learned[best]) < NOTHING:
        level, advice = (
            "caution",
            "So would the prior's: nothing was learned. Other summaries, or more learners, tell more.",
        )
    out.append(
        Verdict(
            "coverage",
            level,
            f"95 % intervals hold the truth in {most:.1%} ± {se:.1%} of cases, 50 % intervals in {half:.1%} (mean over "
            f"coefficients, {rules} {whose}); beside it was learned: contraction {float(learned.mean()):.2f} on average, at most "
            f"{float(learned[best]):.2f} ({found.names[best]}).",
            advice,
            {
                "coverage_50": half,
                "coverage_95": most,
                "coverage_95_se": se,
                "contraction": float(learned.mean()),
                "contraction_most": float(learned[best]),
            },
            lambda: figures.coverage(found),
            f"Share of {rules} rules whose central interval holds the truth, against the mass of the interval.",
        )
    )
    area, p = found.tarp
    level = by_p_value(p)
    side = "too narrow or shifted" if area < 0 else "too wide"
    out.append(
        Verdict(
            "TARP",
            level,
            f"All coefficients together: credibilities of the truth are {'uniform' if level == 'pass' else 'not uniform'} "
            f"(p = {p:.2g}, area {area:+.2f}{'' if level == 'pass' else f', posteriors {side}'}; Lemos et al. 2023).",
            "" if level == "pass" else more,
            {"p": p, "area": area},
        )
    )
    pairs = found.pairs_p
    if pairs:
        pair = min(pairs, key=lambda name: pairs[name])
        level = by_p_value(pairs[pair], len(pairs))
        out.append(
            Verdict(
                "dependence",
                level,
                f"Coefficients depend on each other {'as' if level == 'pass' else 'otherwise than'} the posterior says: "
                f"products of true coefficients (smallest p-value of {len(pairs)}: {pairs[pair]:.2g}, {pair}; Modrak et al. "
                f"2023).",
                "" if level == "pass" else more,
                {f"p_{name}": p for name, p in pairs.items()},
            )
        )
    # rules around the observation are a local test themselves
    if tested.observed is not None and rules >= 100 and not tested.around:
        p = local_p_value(tested, posterior.draws, seed=child(seed, Stream.CLASSIFIER))
        level = "caution" if p < 0.02 else "pass"  # fifty classifiers under the null prove no more
        out.append(
            Verdict(
                "local calibration",
                level,
                f"L-C2ST at the observation: p = {p:.2g} (a classifier that knows the data "
                f"{'cannot tell' if level == 'pass' else 'tells'} posterior draws from true rules there; Linhart et al. "
                f"2023).",
                ""
                if level == "pass"
                else "The posterior is doubtful at this observation: simulate more around it (refine).",
                {"p": p},
            )
        )
    return out


def misspecification_verdict(
    posterior: Posterior,
    question: Question | None,
    stores: Sequence[SimulationStore],
    tested: Calibration | None,
    seed: int,
) -> list[Verdict]:
    """Could rules of the prior have made such data?"""
    names = () if question is None else question.feature_names
    own = None if question is None else question.features(posterior.potential_net)
    if tested is not None and tested.observed is not None and len(tested.observed) == tested.features.shape[1]:
        x, own = tested.features if tested.of_prior is None else tested.of_prior, tested.observed
    elif stores and own is not None and len(names) == len(own) and set(names) <= set(stores[0].summary_names):
        x = stores[0].x[:, [stores[0].summary_names.index(name) for name in names]]  # the prior's; rounds are elsewhere
    else:
        return []
    if len(names) != len(own):
        names = tuple(f"summary {k + 1}" for k in range(len(own)))
    found = misspecification(x, own, names, seed=seed)
    level = "fail" if found.outside else by_p_value(found.p)
    finding = (
        f"The data are {'as' if level == 'pass' else 'not as'} the prior's rules make them (p = {found.p:.2g}; MMD "
        f"{found.p_mmd:.2g}, Mahalanobis distance {found.p_mahalanobis:.2g})"
    )
    if found.outside:
        finding += f"; outside of all that was simulated: {', '.join(found.outside[:4])}"
    advice = (
        ""
        if level == "pass"
        else (
            "No rule of this family and task makes such data: change the task, the network or the family, or widen the prior; "
            "the posterior only says which wrong rule is least wrong."
        )
    )
    return [
        Verdict(
            "misspecification",
            level,
            finding + ".",
            advice,
            {
                "p": found.p,
                "p_mmd": found.p_mmd,
                "p_mahalanobis": found.p_mahalanobis,
                "outside": float(len(found.outside)),
            },
            lambda: figures.distance_to_prior_predictive(found.baseline, found.distance),
            "Distance of the observed summaries from the prior predictive, beside data sets drawn from it.",
        )
    ]
