"""Good arguments for what choices of animals need, for `odd_arguments.py`."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import pandas as pd
import torch
from choosing import table, together

import sbirules as sr
from sbirules import priors, tasks
from sbirules.inference.questions.choice_statistics import Statistic
from sbirules.simulators import PolicyNetwork

__all__ = ["GOOD", "INSTANCES", "OMITTED", "SPECIAL"]

QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)
LABELS = {"odour": ("A", "B")}
TASKS = ("ChoiceTask", "Replayed", "GymnasiumTask")


class Hebb(sr.PolicyRule):
    """The shortest rule of a policy."""

    coefficients = (sr.Coefficient("eta", "c_i x_j r"),)

    def update(self, theta, *, x, c, d, y, w, r, rd):
        return theta["eta"] * c * x * r


class Choosing:
    """What good arguments are made of, each made once."""

    family = sr.TaylorRule(["c x rd", "w"])

    @cached_property
    def trials(self):
        """Two flies."""
        told = {"options": ("A", "B"), "labels": LABELS}
        first = table([0, 1, 0, 1, 1, 0], [1, 0, 1, 1, 0, 1], odour=[0, 1, 1, 0, 1, 0], **told)
        second = table([1, 1, 0, 0, 1], [0, 1, 1, 0, 1], odour=[1, 0, 0, 1, 1], **told)
        return together(first, second)

    @cached_property
    def frame(self):
        """A table to be read."""
        told = {"learner": list("aaabbb"), "odour": list("ABAABB"), "choice": list("ABBBAA")}
        return pd.DataFrame({**told, "reward": [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]})

    @cached_property
    def task(self):
        chances = ((0.9, 0.1), (0.1, 0.9))
        return tasks.ChoiceTask(("A", "B"), reward="baited", stimuli=LABELS, probabilities=chances, num_trials=6)

    @cached_property
    def replayed(self):
        return tasks.Replayed(self.trials, self.task)

    @cached_property
    def gymnasium(self):
        return tasks.GymnasiumTask("CartPole-v1")

    @cached_property
    def policy(self):
        return PolicyNetwork(self.family, self.task, nuisance=("lapse",), num_trials=6)

    @cached_property
    def theta(self):
        return torch.tensor([[0.1, -0.05, 0.02], [0.2, -0.02, 0.05]])

    @cached_property
    def prior(self):
        return priors.uniform(self.family, -0.6, 0.6)

    @cached_property
    def own(self):
        """The posterior of a rule of its own for each fly."""
        return sr.fit(self.policy, self.prior, trials=self.trials, animals="own", sampler=QUICK)

    @cached_property
    def check(self):
        """`ChoicesCheck` by argument."""
        names = ("lag 1", "lag 2")
        return {
            "rules": 4,
            "networks_per_rule": 2,
            "how": "one step ahead",
            "observed": (Statistic("repetition", names, torch.rand(1, 2)),),
            "predicted": (Statistic("repetition", names, torch.rand(4, 2)),),
            "theta": torch.rand(4, 3),
            "log_prob": torch.tensor([-3.0, -2.5]).double(),
            "choices": torch.tensor([6.0, 5.0]).double(),
            "options": ("A", "B"),
            "learners": ("a0", "a1"),
            "curves": (torch.rand(2, 3), torch.rand(2, 3)),
            "weights": None,
        }

    @cached_property
    def comparison(self):
        """`ChoiceComparison` by argument."""
        scores = -5 * torch.rand(2, 3).double() - 1
        return {
            "names": ("rule", "random_walk"),
            "kinds": ("rule", "random_walk"),
            "learners": ("a0", "a1", "a2"),
            "sessions": scores,
            "left_out": scores - 1,
            "left_out_error": 0.1 * torch.ones(2, 3).double(),
            "held_out_choices": torch.tensor([8, 9, 10]),
            "choices": torch.tensor([40, 45, 50]),
            "log_evidence": torch.tensor([-50.0, float("nan")]),
            "evidence_se": torch.tensor([0.1, float("nan")]),
        }

    def state(self, task):
        """Of a task, after a stimulus was shown; a new one each time, since environments do not go back."""
        return task.stimulus(0, task.start(2, generator()), generator())[1]


def generator(c=None):
    return torch.Generator().manual_seed(0)


def recovery(c):
    """`ChoiceRecovery` by argument."""
    return {
        "num_animals": (3,),
        "num_trials": (30,),
        "studies": (c.recovery,),
        "log_score": torch.rand(1, 20).double(),
        "optional": torch.tensor([False, False]),
    }


MADE = Choosing()
BY_NAME = {
    "ChoiceTask": lambda: MADE.task,
    "Replayed": lambda: MADE.replayed,
    "GymnasiumTask": lambda: MADE.gymnasium,
}

INSTANCES = {
    "ChoiceColumns": lambda c: MADE.trials.meaning,
    "PolicyRule": lambda c: Hebb(),
    "TaylorRule": lambda c: MADE.family,
    "ChoiceComparison": lambda c: sr.ChoiceComparison(**MADE.comparison),
    "ChoiceRecovery": lambda c: sr.ChoiceRecovery(**recovery(c)),
    "ChoicesCheck": lambda c: sr.ChoicesCheck(**MADE.check),
    "TrialsSummary": lambda c: MADE.trials.describe(),
    "PolicyNetwork": lambda c: MADE.policy,
    "Posterior.animal": lambda c: MADE.own,
    "Posterior.rules_of_animals": lambda c: MADE.own,
    "Trials.describe": lambda c: MADE.trials,
    "Trials.write": lambda c: MADE.trials,
    **{name: lambda c, get=get: get() for name, get in BY_NAME.items()},
}

GOOD = {
    "amounts": lambda c: ("1 x 30", "3 x 30"),
    "choice": lambda c: torch.tensor([0, 1]),
    "coefficients": lambda c: ("u", "v"),
    "environment": lambda c: "CartPole-v1",
    "nuisances": lambda c: {"lapse": torch.distributions.Beta(1.0, 20.0)},
    "options": lambda c: ("left", "right"),
    "predicted": lambda c: torch.rand(5, 2),
    "rewards": lambda c: MADE.task,
    "trial": lambda c: 0,
}

SPECIAL = {
    "ChoiceColumns.from_config(config)": lambda c: MADE.trials.meaning.config(),
    "ChoiceColumns.other_than(other)": lambda c: MADE.task.meaning,
    "Posterior.animal(name)": lambda c: "a0",
    "figures.animals(observed)": lambda c: torch.rand(2, 4),
    "figures.animals(predicted)": lambda c: torch.rand(2, 4),
    "figures.by_amount(contraction)": lambda c: torch.rand(2, 2),
    "figures.by_animal(values)": lambda c: torch.rand(2),
    "figures.by_animal(quantity)": lambda c: "deviance explained",
    "figures.forest(draws)": lambda c: torch.rand(10, 2, 2),
    "figures.held_out_scores(values)": lambda c: torch.rand(2, 3),
    "figures.reversals(observed)": lambda c: torch.rand(2),
    "figures.reversals(place)": lambda c: torch.tensor([-1.0, 1.0]),
    "figures.statistics(observed)": lambda c: torch.rand(2),
    "figures.updates(along)": lambda c: {"rd": torch.tensor([-1.0, 0.0, 1.0])},
    "figures.updates(lines)": lambda c: ("w = 0", "w = 1"),
    "figures.updates(changes)": lambda c: {"rd": torch.rand(5, 2, 3)},
    "figures.weights_over_trials(weights)": lambda c: ("u", "v"),
    "figures.weights_over_trials(trial)": lambda c: torch.tensor([[0, 3, 5], [0, 2, 4]]),
    "figures.weights_over_trials(draws)": lambda c: torch.rand(5, 2, 3, 2),
    "figures.weights_over_trials(rate)": lambda c: torch.rand(2, 3),
    "priors.completed(names)": lambda c: ("a", "b", "lapse"),
    "summaries.answers_by_part(options)": lambda c: 2,
    "summaries.answers_by_part(stimuli)": lambda c: (),
    "summaries.choice_summaries(meaning)": lambda c: MADE.trials.meaning,
    "summaries.history_weights(options)": lambda c: 2,
    "summaries.history_weights(stimuli)": lambda c: (),
    "summaries.history_weights(memories)": lambda c: (1.0, 4.0),
    "TaylorRule.alike(features)": lambda c: torch.rand(4, 2),
    "TaylorRule.alike(reward)": lambda c: torch.rand(4),
    "Trials.read(source)": lambda c: MADE.frame,
    "fit of choices(store)": lambda c: MADE.policy,
    "fit of choices(prior)": lambda c: MADE.prior,
    "fit of choices(trials)": lambda c: MADE.trials,
    "fit of choices(sampler)": lambda c: QUICK,
    "recover of choices(simulator)": lambda c: MADE.policy,
    "recover of choices(prior)": lambda c: MADE.prior,
    "recover of choices(trials)": lambda c: MADE.trials,
    "recover of choices(num_samples)": lambda c: 50,
    "recover of choices(rules)": lambda c: 10,
    "recover of choices(num_simulations)": lambda c: None,
    "recover of choices(num_workers)": lambda c: None,
    "recover of choices(fit_options)": lambda c: {"sampler": QUICK},
    "recover_families of choices(families)": lambda c: {"rule": (MADE.policy, MADE.prior), "coin": "coin"},
    "recover_families of choices(trials)": lambda c: MADE.trials,
    "recover_families of choices(num_trials)": lambda c: 12,
    "recover_families of choices(rules)": lambda c: 2,
    "recover_families of choices(num_simulations)": lambda c: None,
    "recover_families of choices(num_workers)": lambda c: None,
    "recover_families of choices(sampler)": lambda c: QUICK,
    "simulators.PolicyNetwork(family)": lambda c: MADE.family,
    "simulators.PolicyNetwork(task)": lambda c: MADE.task,
    "simulators.PolicyNetwork(changes)": lambda c: {"nuisance": ("lapse",)},
    "simulators.PolicyNetwork.*(theta)": lambda c: MADE.theta,
    "simulators.PolicyNetwork.*(raw)": lambda c: MADE.theta,
    "simulators.PolicyNetwork.*(trials)": lambda c: MADE.trials,
    "simulators.PolicyNetwork.rule_text(theta)": lambda c: MADE.theta[0],
    "simulators.PolicyNetwork.from_config(config)": lambda c: MADE.policy.config(),
    "simulators.rebuilt(config)": lambda c: MADE.policy.config(),
    "tasks.Replayed(trials)": lambda c: MADE.trials,
    "tasks.Replayed.from_row(first)": lambda c: 1,
    **{f"ChoiceComparison({name})": lambda c, name=name: MADE.comparison[name] for name in MADE.comparison},
    **{
        f"ChoiceRecovery({name})": lambda c, name=name: recovery(c)[name]
        for name in ("num_animals", "num_trials", "studies", "log_score", "optional")
    },
    "ChoiceRecovery.study(num_animals)": lambda c: 3,
    "ChoiceRecovery.study(num_trials)": lambda c: 30,
    **{f"ChoicesCheck({name})": lambda c, name=name: MADE.check[name] for name in MADE.check},
    **{
        f"TrialsSummary({f.name})": lambda c, name=f.name: getattr(MADE.trials.describe(), name)
        for f in fields(sr.TrialsSummary)
    },
}
for _name in TASKS:
    SPECIAL[f"tasks.{_name}.*(state)"] = lambda c, name=_name: MADE.state(BY_NAME[name]())
    SPECIAL[f"tasks.{_name}.*(shown)"] = lambda c: torch.zeros(2, 1).double()

# what a task of choices has none of, and what subclasses write
OMITTED = {f"tasks.{name}.{method}" for name in TASKS for method in ("tensors", "draw_inputs")}
OMITTED |= {"PolicyRule", "PolicyRule.update", "MLPRule.update", "TaylorRule.update"}
