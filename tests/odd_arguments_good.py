"""Good arguments by name, and instances of the public classes, for `odd_arguments.py`."""

from __future__ import annotations

import shutil
import uuid
from functools import cached_property
from pathlib import Path

import odd_arguments_choices as choices
import odd_arguments_search as searching
import pandas as pd
import torch
from cheap import PRIOR, Cheap, Line, Nothing
from simulators_small import SMALL_SPIKING

import sbirules as sr
from sbirules import priors, summaries, tasks
from sbirules.priors import uniform
from sbirules.simulators import FeedforwardNetwork, KnownNetwork, LinearGaussian, RateRNN
from sbirules.support.rates import Rate

QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0, time_limit=5.0)
SMALL = sr.EnsembleSettings(members=2, hidden=8, max_epochs=2)
TASK = tasks.DelayedDiscrimination(stimulus=20, delay=10, response=20)
QUADRATIC = sr.PolynomialRule(degree=1)
THETA = torch.tensor([[0.1, 0.2], [0.3, -0.4]])


class Context:
    """What good arguments are made of, each made once."""

    def __init__(self):
        self.quiet = {"num_workers": 1, "progress": False}

    @cached_property
    def cheap(self):
        return Cheap()

    @cached_property
    def rate(self):
        return RateRNN(QUADRATIC, TASK, num_units=12, num_trials=6, warm_up=2)

    @cached_property
    def spiking(self):
        settings = {**SMALL_SPIKING, "duration": 0.2, "judged": 0.1, "bin_length": 0.05}
        return sr.simulators.SpikingNetwork(sr.SpikePairRule(["IE"]), **settings)

    @cached_property
    def feedforward(self):
        return FeedforwardNetwork(sr.Backpropagation(), num_hidden=6, num_trials=6, num_recorded=2)

    @cached_property
    def linear(self):
        return LinearGaussian(Line(), projections=3)

    @cached_property
    def known(self):
        return KnownNetwork(QUADRATIC, num_units=12, episodes=2, projections=4)

    @cached_property
    def prior(self):
        return PRIOR

    @cached_property
    def rate_prior(self):
        return uniform(QUADRATIC, -1, 1)

    @cached_property
    def store(self):
        return sr.simulate(self.cheap, PRIOR, 300, store="kept-store", seed=1, **self.quiet)

    @cached_property
    def own_store(self):
        """To be written to."""
        return sr.simulate(self.cheap, PRIOR, 60, store="kept-own-store", seed=1, **self.quiet)

    @cached_property
    def posterior(self):
        """Of constraints, over rules of `Cheap`."""
        asked = {"constraints": {"final_error": (0, 0.5)}}
        out = sr.fit(self.store, PRIOR, **asked, classifier=SMALL, sampler=QUICK)
        return out.with_draws(out.draw(200))

    @cached_property
    def observed(self):
        """Of one network's summary."""
        few = sr.LikelihoodSettings(members=1, epochs=2, min_steps=0)
        out = sr.fit(self.store, PRIOR, x_o={"final_error": 0.3}, settings=few, classifier=SMALL, sampler=QUICK)
        return out.with_draws(out.draw(100))

    @cached_property
    def of_learners(self):
        return sr.fit(self.store, PRIOR, trials=self.trials, settings=SMALL, classifier=SMALL, sampler=QUICK)

    @cached_property
    def rate_posterior(self):
        """Over rules of the rate network."""
        out = sr.Posterior(self.rate_prior, QUADRATIC.names, lambda theta: -theta.square().sum(1), settings=QUICK)
        return out.with_draws(self.rate_prior.sample((100,)))

    @cached_property
    def sparse(self):
        prior = priors.spike_and_slab(Line(), 0.5)
        return sr.Posterior(prior, Line().names, lambda theta: -theta.square().sum(1), settings=QUICK)

    @cached_property
    def run(self):
        return self.cheap.run(THETA, seed=4)

    @cached_property
    def recorded(self):
        return self.rate.run(torch.zeros(2, QUADRATIC.dim), seed=1, record=[0, 3])

    @cached_property
    def trials(self):
        return sr.Trials(("x", "y"), self.run)

    @cached_property
    def table(self):
        rows = [{"learner": n, "trial": t, "error": 0.1 + t / 20} for n in "ab" for t in range(10)]
        return pd.DataFrame(rows)

    @cached_property
    def band(self):
        return sr.CurveBand.of(("1", "2", "3"), torch.rand(20, 3), 0.9, torch.tensor([0.2, 0.3, 0.4]))

    @cached_property
    def named_band(self):
        low = torch.zeros(2)
        return sr.CurveBand(("learning_curve[A,0]", "learning_curve[A,1]"), low, low + 0.1, low + 0.2, 0.9)

    @cached_property
    def recovery(self):
        return sr.Recovery(("a", "b"), torch.rand(20, 2), torch.rand(20, 30, 2), 3, torch.ones(2), self.posterior)

    @cached_property
    def checked(self):
        return sr.check(self.posterior, self.cheap, rules=6, networks_per_rule=4, parts=["predictions"], **self.quiet)

    @cached_property
    def observation_check(self):
        x = torch.rand(12, 2)
        return sr.ObservationCheck(3, 4, ("u", "v"), torch.tensor([0.1, 0.2]), x, THETA, {})

    @cached_property
    def optimiser(self):
        return sr.BPTL(self.rate, episodes=6, networks=2, restarts=1, iterations=1)

    @cached_property
    def point(self):
        return self.optimiser.fit(evaluate=0)

    @cached_property
    def estimate(self):
        """A point over rules of `Cheap`, put together by hand."""
        trace = {name: torch.zeros(2, 2) for name in ("value", "gradient_norm", "alive")} | {
            "theta": torch.zeros(2, 2, 2)
        }
        return sr.PointEstimate(Line(), THETA, torch.tensor([False, False]), None, trace, torch.ones(2))

    @cached_property
    def comparison(self):
        rates = {n: Rate(0.5, 0.1) for n in ("point", "posterior mean", "MAP", "posterior draws")}
        return sr.PointComparison(
            self.posterior, THETA, -1.0, torch.tensor([0.1, 0.2]), 0.5, torch.zeros(2), 0.3, rates
        )

    @cached_property
    def found_regimes(self):
        return sr.regimes(self.rate_posterior, self.rate, num_rules=4, networks=2)

    @cached_property
    def found_sensitivity(self):
        parts = ["active_subspace", "stiff", "compensation"]
        return sr.sensitivity(self.posterior, self.cheap, store=self.store, parts=parts, num_rules=8, **self.quiet)

    @cached_property
    def filter(self):
        return sr.filter_rules(
            self.cheap, PRIOR, {"final_error": (0, 0.8)}, budget=600, num_simulations=200, **self.quiet
        )

    @cached_property
    def study(self):
        content = {
            "rule": {"degree": 1},
            "prior": {"low": -1, "high": 1},
            "simulator": {"num_units": 12, "num_trials": 10},
            "constraints": {"final_error": [0, 1]},
        }
        return content

    @cached_property
    def saved(self):
        self.posterior.save("kept-posterior")
        return "kept-posterior"

    @cached_property
    def saved_point(self):
        self.estimate.save("kept-point")
        return "kept-point"

    @cached_property
    def parts(self):
        """Two parts of a store."""
        out = []
        for k in range(2):
            place = f"kept-part-{k}"
            few = {"shard_size": 20, "shards": (k, k + 1)}
            sr.simulate(self.cheap, PRIOR, 40, store=place, seed=1, **few, **self.quiet)
            out.append(place)
        return out

    @cached_property
    def families(self):
        return {"a": (self.store, PRIOR), "b": (self.store, PRIOR)}

    def tidy(self):
        """Removes what calls left behind, but for what is kept."""
        import matplotlib.pyplot as plt

        plt.close("all")
        for path in Path().iterdir():
            if not path.name.startswith("kept-"):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


CONTEXT = Context()


def new(c=None):
    return f"new-{uuid.uuid4().hex[:6]}"


def always(value):
    return lambda c: value


GOOD = {
    "progress": always(False),
    "recordings": lambda c: sr.Recordings.of(torch.rand(2, 5, 3)),
    "sessions": lambda c: sr.SessionScales.of(torch.rand(2, 6, 2), 0.1),
    "num_workers": always(1),
    "simulator": lambda c: c.cheap,
    "prior": lambda c: c.prior,
    "posterior": lambda c: c.posterior,
    "store": lambda c: c.store,
    "stores": lambda c: c.store,
    "family": always(Line()),
    "task": always(TASK),
    "theta": always(THETA),
    "raw": always(THETA),
    "x": lambda c: torch.rand(2, 1),
    "x_o": lambda c: torch.rand(1),
    "names": always(("a", "b")),
    "name": always("late"),
    "fields": always(("error",)),
    "run": lambda c: c.run,
    "trajectory": lambda c: c.run,
    "trials": lambda c: c.trials,
    "families": lambda c: c.families,
    "folder": new,
    "path": new,
    "num_samples": always(20),
    "rules": always(4),
    "num_simulations": always(60),
    "num_rules": always(8),
    "networks": always(4),
    "checked": lambda c: c.checked.success,
    "low": always(0.1),
    "high": always(2.0),
    "value": always(0.5),
    "types": lambda c: torch.zeros(3, dtype=torch.long),
    "tensors": lambda c: TASK.tensors(5.0),
    "generator": lambda c: torch.Generator().manual_seed(0),
    "dt": always(5.0),
    "num_trials": always(6),
    "argument": always("stimulus"),
    "duration": always(20.0),
    "device": always("cpu"),
    "dtype": always(torch.float64),
    "batch": always(2),
    "trial_types": always(None),
    "type_names": always(("only",)),
    "performance": always("error"),
    "available": always(("error",)),
    "item": always("final_error"),
    "config": always({}),
    "summaries": lambda c: [summaries.resolve("final_error")],
    "layout": lambda c: c.cheap.layout,
    "observation": always({"final_error": 0.3}),
    "observations": always([{"final_error": 0.3}, {"final_error": 0.4}]),
    "per": always("trial"),
    "values": lambda c: {"error": torch.rand(2, 3)},
    "source": lambda c: c.table,
    "index": always([0, 1]),
    "length": lambda c: torch.tensor([4, 5]),
    "shard": always(0),
    "field": always("theta"),
    "seconds": always(1.0),
    "into": new,
    "parts": lambda c: c.parts,
    "count": always(2),
    "axes": always(None),
    "ax": always(None),
    "bands": lambda c: {"one": c.band},
    "curves": always({"one": [3.0, 2.0]}),
    "baseline": lambda c: torch.rand(50),
    "own": always(0.5),
    "failed": always(torch.tensor([True, False])),
    "rates": always({"far": (Rate(0.5, 0.1), Rate(0.4, 0.1))}),
    "quantity": always("share"),
    "coefficient": always("a"),
    "first": always("a"),
    "second": always("b"),
    "n": always(20),
    "power": always(0.5),
    "sample_shape": always((5,)),
    "shape": always((5,)),
    "reference": lambda c: torch.rand(100, 2),
    "point": lambda c: c.estimate,
    "intervals": always({"final_error": (0.0, 1.0)}),
    "constraints": always({"final_error": (0, 0.8)}),
    "budget": always(400),
    "lines": always(None),
    **choices.GOOD,
}

SPECIAL = {
    "Calibration(recovery)": lambda c: c.recovery,
    "Calibration(features)": lambda c: torch.rand(20, 1),
    "Calibration(observed)": lambda c: torch.rand(1),
    "Checks(verdicts)": lambda c: c.checked.verdicts,
    "ConstraintCheck(rules)": always(2),
    "ConstraintCheck(networks_per_rule)": always(4),
    "ConstraintCheck(share)": lambda c: torch.tensor([0.2, 0.5]),
    "Constraints.check(names)": always(("final_error",)),
    "Constraints.of(value)": always({"final_error": (0, 1)}),
    "Constraints.satisfied(names)": always(("final_error",)),
    "CurveBand(names)": always(("1", "2", "3")),
    "CurveBand(low)": lambda c: torch.zeros(3),
    "CurveBand(median)": lambda c: torch.zeros(3),
    "CurveBand(high)": lambda c: torch.zeros(3),
    "CurveBand(mass)": always(0.9),
    "CurveBand.of(names)": always(("1", "2", "3")),
    "CurveBand.of(values)": lambda c: torch.rand(20, 3),
    "CurveBand.of(mass)": always(0.9),
    "FamilyComparison(scores)": lambda c: torch.rand(2, 5),
    "FamilyComparison(log_evidence)": lambda c: torch.rand(2),
    "FamilyComparison(evidence_se)": lambda c: torch.rand(2),
    "FamilyRecovery(probability)": lambda c: torch.tensor([[[0.6, 0.4]], [[0.3, 0.7]]]),
    "FamilyRecovery(learners)": always(3),
    "Field.derived(source)": lambda c: torch.rand(3),
    "Field.from_config(config)": always({"name": "error"}),
    "FilterRound(simulations)": always(10),
    "FilterRound(kept)": always(0.5),
    "FilterRound(accepted)": always(0.5),
    "FilterRound(se)": always(0.1),
    "FilterRound(total)": always(10),
    "FilterRound(successful)": always(5),
    "FilterRound(ess)": always(5.0),
    "Layout.completed(values)": lambda c: {"error": torch.rand(2, 3)},
    "Layout.from_config(config)": lambda c: c.cheap.layout.config(),
    "ObservationCheck(rules)": always(2),
    "ObservationCheck(networks_per_rule)": always(1),
    "ObservationCheck(x_o)": lambda c: torch.rand(2),
    "ObservationCheck(x)": lambda c: torch.rand(2, 2),
    "ObservationCheck(failures)": always({}),
    "PointComparison(ends)": always(THETA),
    "PointComparison(log_density)": always(-1.0),
    "PointComparison(level)": lambda c: torch.rand(2),
    "PointComparison(joint_level)": always(0.5),
    "PointComparison(mode)": lambda c: torch.rand(2),
    "PointComparison(distance)": always(0.5),
    "PointComparison(success)": lambda c: c.comparison.success,
    "PointEstimate(diverged)": lambda c: torch.tensor([False, False]),
    "PointEstimate(success)": always(None),
    "PointEstimate(trace)": lambda c: c.estimate.trace,
    "PointEstimate(raw_per_unit)": lambda c: torch.ones(2),
    "PointEstimate.load(folder)": lambda c: c.saved_point,
    "PointEstimate.load(family)": always(Line()),
    "Posterior(potential)": always(lambda theta: -theta.square().sum(1)),
    "Posterior.conditioned(fixed)": always({"a": 0.1}),
    "Posterior.truncated(intervals)": always({"a": (0.0, 0.5)}),
    "Posterior.load(folder)": lambda c: c.saved,
    "Posterior.wrap(posterior)": lambda c: c.prior,
    "Posterior.with_draws(chains)": lambda c: torch.rand(50, 2),
    "Recording(trials)": lambda c: torch.tensor([0]),
    "Recording(rate)": lambda c: torch.zeros(1, 1, 2, 2),
    "Recording(weights)": lambda c: torch.zeros(1, 1, 2, 2),
    "Recording(trace)": lambda c: torch.zeros(1, 1, 2, 2),
    "Recording.cat(parts)": lambda c: [c.recorded.recording],
    "Recovery(truth)": lambda c: torch.rand(4, 2),
    "Recovery(draws)": lambda c: torch.rand(4, 9, 2),
    "Recovery(learners)": always(3),
    "Recovery(prior_sd)": lambda c: torch.ones(2),
    "Regimes(values)": lambda c: {"weight_change": torch.rand(2, 3)},
    "RuleFilter.sample(num_samples)": always(20),
    "RuleFilter.more(budget)": always(100),
    "RuleFilter.more(num_simulations)": always(100),
    "RuleFilter.posterior(options)": always({"classifier": SMALL, "sampler": QUICK}),
    "Sensitivity(outcome)": always("learned"),
    "Sensitivity(explained)": always(0.5),
    "SimulationStore(path)": lambda c: str(c.own_store.path),
    "SimulationStore.create(config)": always({"simulator": "mine", "proposal": "mine", "shard_size": 8}),
    "simulators.LinearGaussian.checked(projections)": always(3),
    "simulators.LinearGaussian.checked(num_units)": always(12),
    "simulators.LinearGaussian.normal(seed)": always(0),
    "simulators.KnownNetwork.normal(seed)": always(0),
    "simulators.KnownNetwork.checked(projections)": always(3),
    "simulators.KnownNetwork.checked(num_units)": always(12),
    "SimulationStore.create(seed)": always(0),
    "SimulationStore.create(path)": lambda c: f"store-{uuid.uuid4().hex}",
    "SimulationStore.create(facts)": lambda c: {
        "names": ["a"],
        "summary_names": ["final_error"],
        "layout": c.cheap.layout.config(),
    },
    "SimulationStore.damaged(wanted)": always([0]),
    "SimulationStore.from_arrays(theta)": always(THETA),
    "SimulationStore.from_arrays(x)": lambda c: torch.rand(2, 1),
    "SimulationStore.write(content)": always(b""),
    "Study(named)": lambda c: sr.Study.of(c.study, name="s").named,
    "Study(simulate)": lambda c: sr.Study.of(c.study, name="s").simulate,
    "Study(fit)": lambda c: sr.Study.of(c.study, name="s").fit,
    "Study(check)": lambda c: sr.Study.of(c.study, name="s").check,
    "Study(sensitivity)": lambda c: sr.Study.of(c.study, name="s").sensitivity,
    "Study(question)": lambda c: c.posterior.question,
    "Study(asked)": always({}),
    "Study.of(content)": lambda c: c.study,
    "Study.read(path)": lambda c: study_file(c),
    "Summary(function)": always(lambda run: run.error.mean(dim=1)),
    "Trajectory(status)": lambda c: c.run.status,
    "Trajectory(trial_types)": lambda c: c.run.trial_types,
    "Trajectory.cat(parts)": lambda c: [c.run, c.run],
    "Trajectory.rows(index)": lambda c: torch.tensor([0, 1]),
    "TrialTensors(inputs)": lambda c: torch.zeros(1, 4, 1),
    "TrialTensors(targets)": lambda c: torch.zeros(1),
    "TrialTensors(response)": lambda c: torch.ones(4, dtype=torch.bool),
    "Trials.read of errors(type_names)": always(("only",)),
    "Trials(learners)": always(("x", "y")),
    "TrialsCheck(networks_per_rule)": always(2),
    "TrialsCheck(rules)": always(2),
    "TrialsCheck(curve)": lambda c: c.band,
    "TrialsCheck(mean_curves)": lambda c: torch.rand(2, 3),
    "TrialsCheck(failures)": always({}),
    "Verdict(level)": always("pass"),
    "Verdict(finding)": always("Found."),
    "ConstraintCheck(posterior_success)": always(Rate(0.5, 0.1)),
    "ConstraintCheck(prior_success)": always(Rate(0.5, 0.1)),
    "ConstraintCheck(zero_rule_success)": always(Rate(0.5, 0.1)),
    "ConstraintCheck(posterior_reliable)": always(Rate(0.5, 0.1)),
    "ConstraintCheck(predicted_success)": always(0.5),
    "BPTL(simulator)": lambda c: c.rate,
    "BPTL.fit(evaluate)": always(0),
    "BPTL.starts(seed)": always(0),
    "calibrate(posterior)": lambda c: c.observed,
    "calibrate(rules)": always(50),
    "calibrate(num_samples)": always(50),
    "check(parts)": always(["sampler", "information"]),
    "compare_families(settings)": always(SMALL),
    "compare_families(classifier)": always(SMALL),
    "compare_families(sampler)": always(QUICK),
    "Constraints.narrowed_by(other)": always(sr.Constraints({"final_error": (0, 0.5)})),
    "compare_posteriors(posteriors)": lambda c: {"a": c.observed, "b": c.observed},
    "compare_posteriors(num_samples)": always(100),
    "compare_point(point)": lambda c: c.estimate,
    "filter_rules(budget)": always(400),
    "filter_rules(num_simulations)": always(200),
    "fit(constraints)": always({"final_error": (0, 0.5)}),
    "fit(classifier)": always(SMALL),
    "fit(sampler)": always(QUICK),
    "Simulator.rule_text(theta)": lambda c: torch.rand(2),
    "Status(value)": always(0),
    "reference.compare(num_samples)": always(100),
    "merge(num_simulations)": always(40),
    "recover(rules)": always(10),
    "recover(num_samples)": always(50),
    "recover(learners)": always(2),
    "recover(num_simulations)": always(200),
    "recover(fit_options)": always({"settings": SMALL, "classifier": SMALL, "sampler": QUICK}),
    "recover_families(families)": lambda c: {"a": (c.cheap, c.prior), "b": (c.cheap, c.prior)},
    "recover_families(learners)": always(2),
    "recover_families(rules)": always(2),
    "recover_families(num_simulations)": always(200),
    "recover_families(settings)": always(SMALL),
    "recover_families(sampler)": always(QUICK),
    "recalibrate(posterior)": lambda c: c.of_learners,
    "recalibrate(simulator)": lambda c: c.cheap,
    "recalibrate(rules)": always(20),
    "refine(recalibration)": always(0),
    "refine(rounds)": always(1),
    "refine(options)": lambda c: {"constraints": {"final_error": (0, 0.5)}, "classifier": SMALL, "sampler": QUICK},
    "regimes(rules)": lambda c: c.rate_posterior,
    "regimes(simulator)": lambda c: c.rate,
    "report(path)": always("page.html"),
    "report(compared)": lambda c: sr.ChoiceComparison(**choices.MADE.comparison),
    "sensitivity(parts)": always(["active_subspace", "stiff"]),
    "simulators.FeedforwardNetwork(family)": always(sr.Backpropagation()),
    "simulators.FeedforwardNetwork(task)": always(tasks.LabelledStimuli()),
    "simulators.FeedforwardNetwork(settings)": always({"num_hidden": 6, "num_trials": 6, "num_recorded": 2}),
    "simulators.FeedforwardNetwork.*(theta)": always(torch.full((2, 2), 0.1)),
    "simulators.FeedforwardNetwork.*(raw)": always(torch.full((2, 2), 0.1)),
    "simulators.FeedforwardNetwork.rule_text(theta)": always(torch.full((2,), 0.1)),
    "simulators.RateRNN(family)": always(QUADRATIC),
    "simulators.RateRNN(settings)": always({"num_units": 12, "num_trials": 6}),
    "simulators.RateRNN.*(theta)": lambda c: torch.zeros(2, QUADRATIC.dim),
    "simulators.RateRNN.*(raw)": lambda c: torch.zeros(2, QUADRATIC.dim),
    "simulators.RateRNN.rule_text(theta)": lambda c: torch.zeros(QUADRATIC.dim),
    "simulators.RateRNN.with_settings(changes)": always({"num_units": 14}),
    "simulators.KnownNetwork.*(theta)": lambda c: torch.zeros(2, QUADRATIC.dim),
    "simulators.KnownNetwork.*(raw)": lambda c: torch.zeros(2, QUADRATIC.dim),
    "simulators.KnownNetwork.*(x)": lambda c: torch.rand(2, 4),
    "simulators.KnownNetwork.*(x_o)": lambda c: torch.rand(4),
    "simulators.KnownNetwork.*(prior)": lambda c: c.rate_prior,
    "simulators.KnownNetwork.rule_text(theta)": lambda c: torch.zeros(QUADRATIC.dim),
    "simulators.KnownNetwork.nuts(num_samples)": always(2),
    "simulators.KnownNetwork.nuts(warmup)": always(2),
    "simulators.LinearGaussian.*(x)": lambda c: torch.rand(2, 3),
    "simulators.LinearGaussian.*(x_o)": lambda c: torch.rand(3),
    "simulators.LinearGaussian.rule_text(theta)": lambda c: torch.zeros(2),
    "simulators.miconi2017(changes)": always({"num_units": 12, "num_trials": 6}),
    "priors.as_prior(given)": lambda c: c.prior,
    "priors.as_prior(names)": always(["a", "b"]),
    "priors.BroughtPrior(names)": always(["a", "b"]),
    "priors.BroughtPrior.from_config(config)": lambda c: priors.as_prior(
        [torch.distributions.Normal(0.0, 1.0)] * 2, ["a", "b"]
    ).config(),
    "priors.BroughtPrior.*(value)": always(THETA),
    "priors.BroughtPrior(parts)": lambda c: [
        torch.distributions.Normal(0.0, 1.0),
        torch.distributions.Normal(0.0, 1.0),
    ],
    "priors.CorrelatedNormal(mean)": lambda c: torch.zeros(2),
    "priors.CorrelatedNormal(covariance)": lambda c: torch.eye(2),
    "priors.CorrelatedNormal.from_config(config)": lambda c: priors.correlated_normal(Line(), torch.eye(2)).config(),
    "priors.correlated_normal(covariance)": lambda c: torch.eye(2),
    "priors.Horseshoe(scale)": always(0.1),
    "priors.Horseshoe.log_prob(value)": lambda c: torch.rand(3),
    "priors.LogUniform.*(value)": lambda c: 0.5 + torch.rand(3),
    "priors.TwoSided.*(value)": lambda c: 0.5 + torch.rand(3),
    "priors.SpikeAndSlab.*(value)": always(THETA),
    "priors.IndependentPrior.*(value)": always(THETA),
    "priors.PyroPrior.*(value)": lambda c: torch.rand(3, 2),
    "priors.IndependentPrior(components)": lambda c: {"a": torch.distributions.Normal(0.0, 1.0)},
    "priors.IndependentPrior.from_config(config)": lambda c: c.prior.config(),
    "priors.PyroPrior(model)": lambda c: pyro_model,
    "priors.PyroPrior(draws)": always(8),
    "priors.PyroPrior(seed)": always(0),
    "priors.SpikeAndSlab(slab)": lambda c: c.prior,
    "priors.SpikeAndSlab(inclusion)": always({"a": 0.5}),
    "priors.SpikeAndSlab.from_config(config)": lambda c: priors.spike_and_slab(Line(), 0.5).config(),
    "priors.from_pyro(model)": lambda c: pyro_model,
    "priors.from_pyro(hyperparameter_draws)": always(8),
    "priors.from_written(content)": lambda c: priors.written_down(c.prior),
    "summaries.learning_curve(bins)": always(3),
    "summaries.rebuild(config)": lambda c: summaries.written(summaries.resolve("final_error")),
    "summaries.written(item)": lambda c: summaries.resolve("final_error"),
    "figures.activity(run)": lambda c: c.recorded,
    "figures.learning_curves(bands)": lambda c: {"one": c.named_band},
    "figures.axis_label(name)": always("theta_11"),
    "figures.calibration(found)": lambda c: c.recovery,
    "figures.coverage(found)": lambda c: c.recovery,
    "figures.directions(found)": lambda c: c.found_sensitivity.active,
    "figures.effects(found)": lambda c: c.found_sensitivity.stiff,
    "figures.filter_rounds(found)": lambda c: c.filter,
    "figures.inclusion(posterior)": lambda c: c.sparse,
    "figures.overlay(draws)": lambda c: {"a": torch.rand(30, 2), "b": torch.rand(30, 2)},
    "figures.overlay(names)": always(["a", "b"]),
    "figures.overlay(prior)": always(torch.rand(30, 2)),
    "figures.regime_correlations(found)": lambda c: c.found_regimes,
    "figures.regime_scatter(found)": lambda c: c.found_regimes,
    "figures.regime_scatter(coefficient)": always(QUADRATIC.names[0]),
    "figures.regimes(found)": lambda c: c.found_regimes,
    "figures.rule_matrix(posterior)": lambda c: c.rate_posterior,
    "figures.success_over(posterior)": lambda c: c.posterior,
    "figures.success_over(resolution)": always(5),
    "figures.summaries(checked)": lambda c: c.observation_check,
    "reference.Comparison(c2st)": always(0.5),
    "reference.Comparison(wasserstein)": always({"a": 0.1}),
    "reference.Comparison(coverage)": always({"a": 0.9}),
    "reference.Comparison(level)": always(0.95),
    "reference.compare(posterior)": lambda c: torch.rand(100, 2),
    **{f"{law}(circuit)": lambda c: CIRCUIT for law in ("BCMLaw", "HebbianLaw", "OjaLaw")},
    **choices.SPECIAL,
    **searching.SPECIAL,
    "SpikePairRule(synapses)": always(["IE"]),
    "SpikeRule(synapses)": always(["IE"]),
    "TripletRule(synapses)": always(["IE"]),
    "SpikingNetwork.network(seed)": always(3),
    "SpikingNetwork.spikes(seed)": always(3),
    "SpikingNetwork.*(theta)": lambda c: torch.ones(1, 6),
    "SpikingNetwork(family)": always(sr.SpikePairRule(["IE"])),
    "SpikingNetwork(settings)": always({}),
}
CIRCUIT = sr.MotifCircuit(0.2 * torch.eye(2), torch.ones(2, 1), torch.ones(2, 1))
LAYERED = ("Backpropagation", "FeedbackAlignment", "HebbianLayer", "NodePerturbation", "OjaLayer")
RULES = (
    *LAYERED,
    *("ExpressionRule", "TraceExpression"),
    *("SpikePairRule", "SpikeRule", "TripletRule"),
    *("BCM", "Covariance", "MLPRule", "Oja", "PolynomialRule", "TaylorRule"),
    *("BCMLaw", "DriftLaw", "HebbianLaw", "LatentLaw", "Law", "OjaLaw"),
    *("RuleFamily", "LayeredRule", "LocalRule", "ThreeFactorRule", "PolicyRule"),
)
for _family in RULES:
    for _argument in ("theta", "raw"):
        SPECIAL[f"{_family}.*({_argument})"] = lambda c, f=_family: torch.full((1, INSTANCES[f](c).dim), 0.5)
    SPECIAL[f"{_family}.text(theta)"] = lambda c, f=_family: torch.full((INSTANCES[f](c).dim,), 0.5)


def pyro_model():
    import pyro
    from pyro.distributions import Normal

    pyro.sample("a", Normal(0.0, 1.0))
    pyro.sample("b", Normal(0.0, 1.0))


def study_file(c):
    import tomli_w

    path = Path("kept-study.toml")
    path.write_text(tomli_w.dumps(c.study))
    return str(path)


INSTANCES = {
    **{name: lambda c, name=name: getattr(sr, name)() for name in LAYERED},
    "LayeredRule": lambda c: sr.OjaLayer(),
    "BCM": lambda c: sr.BCM(),
    "SpikePairRule": lambda c: sr.SpikePairRule(["IE"]),
    "SpikeRule": lambda c: sr.SpikePairRule(["IE"]),
    "TripletRule": lambda c: sr.TripletRule(["IE"]),
    "SpikingNetwork": lambda c: c.spiking,
    "BCMLaw": lambda c: sr.BCMLaw(CIRCUIT),
    "DriftLaw": lambda c: sr.DriftLaw(2),
    "HebbianLaw": lambda c: sr.HebbianLaw(CIRCUIT),
    "LatentLaw": lambda c: sr.LatentLaw(2, 1),
    "Law": lambda c: sr.DriftLaw(2),
    "OjaLaw": lambda c: sr.OjaLaw(CIRCUIT),
    "BPTL": lambda c: c.optimiser,
    "Covariance": lambda c: sr.Covariance(),
    "MLPRule": lambda c: sr.MLPRule(),
    "Calibration": lambda c: sr.Calibration(c.recovery, torch.rand(20, 1), None),
    "Checks": lambda c: c.checked,
    "Coefficient": lambda c: sr.Coefficient("a"),
    "ConstraintCheck": lambda c: c.checked.success,
    "Constraints": lambda c: sr.Constraints({"final_error": (0.0, 1.0)}),
    "CurveBand": lambda c: c.band,
    "FamilyComparison": lambda c: sr.FamilyComparison(("a", "b"), torch.rand(2, 5), torch.rand(2), torch.rand(2)),
    "FamilyRecovery": lambda c: sr.FamilyRecovery(("a", "b"), torch.tensor([[[0.6, 0.4]], [[0.3, 0.7]]]), 3),
    "Field": lambda c: sr.Field("reward", follows=("minus", "error")),
    "Layout": lambda c: c.cheap.layout,
    "LocalRule": lambda c: sr.Oja(),
    "Oja": lambda c: sr.Oja(),
    "ObservationCheck": lambda c: c.observation_check,
    "PointComparison": lambda c: c.comparison,
    "PointEstimate": lambda c: c.estimate,
    "PolynomialRule": lambda c: QUADRATIC,
    "Posterior": lambda c: c.observed,
    "Posterior.inclusion_probabilities": lambda c: c.sparse,
    "Posterior.collinear_terms": lambda c: c.sparse,
    "Posterior.top_rules": lambda c: c.sparse,
    "Question": lambda c: c.observed.question,
    "Recording": lambda c: c.recorded.recording,
    "Recovery": lambda c: c.recovery,
    "Regimes": lambda c: c.found_regimes,
    "RuleFamily": lambda c: Line(),
    "RuleFilter": lambda c: c.filter,
    "Sensitivity": lambda c: c.found_sensitivity,
    "SimulationStore": lambda c: c.own_store,
    "Simulator": lambda c: c.cheap,
    "Study": lambda c: sr.Study.of(c.study, name="s"),
    "Summary": lambda c: summaries.resolve("final_error"),
    "Task": lambda c: Nothing(),
    "ThreeFactorRule": lambda c: Line(),
    "Trajectory": lambda c: c.run,
    "TrialTensors": lambda c: TASK.tensors(5.0),
    "Trials": lambda c: c.trials,
    "DelayedDiscrimination": lambda c: TASK,
    "DelayedNonMatchToSample": lambda c: tasks.DelayedNonMatchToSample(),
    "LabelledStimuli": lambda c: tasks.LabelledStimuli(),
    "SelectiveIntegration": lambda c: tasks.SelectiveIntegration(),
    "FeedforwardNetwork": lambda c: c.feedforward,
    "KnownNetwork": lambda c: c.known,
    "LinearGaussian": lambda c: c.linear,
    "RateRNN": lambda c: c.rate,
    "BroughtPrior": lambda c: priors.as_prior([torch.distributions.Normal(0.0, 1.0)] * 2, ["a", "b"]),
    "CorrelatedNormal": lambda c: priors.correlated_normal(Line(), torch.eye(2)),
    "Horseshoe": lambda c: priors.Horseshoe(0.1),
    "IndependentPrior": lambda c: c.prior,
    "LogUniform": lambda c: priors.LogUniform(0.1, 2.0),
    "PyroPrior": lambda c: priors.from_pyro(pyro_model, Line(), hyperparameter_draws=8),
    "SpikeAndSlab": lambda c: priors.spike_and_slab(Line(), 0.5),
    "TwoSided": lambda c: priors.TwoSided(0.1, 2.0),
    **choices.INSTANCES,
    **searching.INSTANCES,
}

# what subclasses write and the package calls, with arguments of its own, is no entry; nor are classes that cannot be made
HOOKS = (
    "at_pre",
    "at_post",
    "gains",
    "hidden_change",
    "change",
    "drift",
    "drive",
    "trace",
    "panels",
    "split",
    "columns",
    "draw_inputs",
    "tensors",
    "general_growth",
    "start",
    "step",
)
OMITTED = {f"{name}.{hook}" for name in RULES for hook in HOOKS} | {"Question.*"}
OMITTED |= {
    "Simulator.run",
    "Status",
    "Question",
    "Law",
    "LayeredRule",
    "LocalRule",
    "RuleFamily",
    "ThreeFactorRule",
    "Task",
    "Simulator",
}
OMITTED |= {f"{name}.draw_inputs" for name in ("Task", *(f"tasks.{task.__name__}" for task in tasks.TASKS.values()))}
OMITTED |= (
    {f"tasks.LabelledStimuli.{name}" for name in ("draw_stimuli", "draw_noise", "tensors")}
    | choices.OMITTED
    | searching.OMITTED
)
