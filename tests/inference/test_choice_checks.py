"""What choices look like: each statistic against a plain loop, and checks that see what a rule does not do."""

import math
from collections import defaultdict

import pytest
import torch
from choosing import table, together

import sbirules as sr
from sbirules.inference.questions.choice_statistics import History, statistics_of
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork

FAST = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=6, max_doublings=0)


def some_animals():
    stream = torch.Generator().manual_seed(4)
    parts = []
    for n in (40, 25, 31):
        choice = (torch.rand(n, generator=stream) < 0.6).double()
        choice[3] = math.nan
        reward = (torch.rand(n, generator=stream) < 0.4).double()
        reward[7] = math.nan
        session = (torch.arange(n) // 12).double()
        level = torch.tensor([-0.5, 0.0, 0.5])[torch.randint(3, (n,), generator=stream)]
        parts.append(table(choice.numpy(), reward.numpy(), session=session.numpy(), contrast=level.numpy()))
    return together(*parts)


def by_loop(trials):
    """The statistics of the animals' own answers, decision by decision."""
    found = defaultdict(list)
    fields = trials.trajectory.per_trial
    for a in range(len(trials)):
        n = int(trials.num_trials[a])
        get = {name: fields[name][a, :n].tolist() for name in fields}
        known = [r for r in get["reward"] if not math.isnan(r)]
        mean = sum(known) / len(known)
        sessions = len(set(get["session"]))
        run = 0
        for t in range(n):
            same = [None] * 6
            for lag in range(1, 6):
                if t >= lag and get["session"][t - lag] == get["session"][t] and not math.isnan(get["choice"][t - lag]):
                    same[lag] = get["choice"][t - lag]
            if same[1] is None:
                run = 0
            else:
                older = t >= 2 and get["session"][t - 2] == get["session"][t] and get["choice"][t - 2] == same[1]
                run = run + 1 if run and older else 1
            y = get["choice"][t]
            if math.isnan(y):
                continue
            for lag in range(1, 6):
                if same[lag] is not None:
                    found["repetition", f"lag {lag}"].append(y == same[lag])
            if same[1] is not None:
                found["run lengths", f"after {run}" if run < 4 else "after 4+"].append(y == same[1])
                won = get["reward"][t - 1]
                if not math.isnan(won):
                    found["win-stay, lose-shift", "win-stay" if won > mean else "lose-shift"].append(
                        (y == same[1]) == (won > mean)
                    )
            found["learning curve", f"tenth {min(10 * t // n, 9) + 1}"].append(y == 1)
            part = int(3 * get["session"][t] / sessions) if sessions >= 3 else int(3 * t / n)
            found["psychometric curve", f"contrast {get['contrast'][t]:g}, part {part + 1}"].append(y == 1)
    return {key: sum(v) / len(v) for key, v in found.items()}


def test_statistics_are_those_of_a_plain_loop():
    trials = some_animals()
    history = History.of(trials)
    wanted = by_loop(trials)
    seen = 0
    for statistic in statistics_of(history.choice[None], history):
        for name, value in zip(statistic.names, statistic.values[0].tolist(), strict=True):
            if (statistic.group, name) in wanted:
                assert value == pytest.approx(wanted[statistic.group, name], abs=1e-12), (statistic.group, name)
                seen += 1
            elif statistic.group != "spread between animals":
                assert math.isnan(value)
    assert seen == len(wanted)


def test_spread_is_the_sd_of_the_animals_rates():
    trials = some_animals()
    rates = [float(c[torch.isfinite(c)].mean()) for c in trials.trajectory.per_trial["choice"]]
    history = History.of(trials)
    found = {s.group: s for s in statistics_of(history.choice[None], history)}["spread between animals"]
    assert float(found.values[0, 0]) == pytest.approx(float(torch.tensor(rates).double().std()), abs=1e-6)


TASK = ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.2, 0.8]], block=50, num_trials=250)
FAMILY = sr.TaylorRule(["c r", "c w"], baseline="none")
PRIOR = uniform(FAMILY, 0.0, 1.5, c_w=(-0.9, 0.0))


def checked(truth_nuisance, truth, nuisance):
    """Checks of a fit to eight animals made with one policy and fitted with another."""
    made = PolicyNetwork(FAMILY, TASK, nuisance=truth_nuisance)
    trials = made.animals(torch.tensor([truth] * 8), seed=2)
    policy = PolicyNetwork(FAMILY, nuisance=nuisance)
    posterior = sr.fit(policy, PRIOR, trials=trials, sampler=FAST)
    posterior = posterior.with_draws(posterior.draw(400, seed=0))
    return sr.check(posterior, policy, parts=["predictions"])


def test_repetition_is_seen_where_the_policy_leaves_it_out():
    wrong = checked(("perseveration",), [0.6, -0.3, 1.0], ())
    assert wrong["repetition"].level == "fail"
    assert wrong["repetition"].numbers["p"] < 0.001
    right = checked(("perseveration",), [0.6, -0.3, 1.0], ("perseveration",))
    assert right["repetition"].level == right["run lengths"].level == right["win-stay, lose-shift"].level == "pass"
    assert 0.02 < right.resimulation.deviance_explained < 0.9


def test_a_fixed_policy_is_seen_not_to_learn():
    family = sr.TaylorRule(["w"])
    made = PolicyNetwork(FAMILY, TASK, nuisance=())
    trials = made.animals(torch.tensor([[0.9, -0.4]] * 8), seed=3)
    policy = PolicyNetwork(family, nuisance=("initial",))
    posterior = sr.fit(policy, uniform(family, -0.01, 0.0), trials=trials, sampler=FAST)
    found = sr.check(posterior.with_draws(posterior.draw(400, seed=0)), policy, parts=["predictions"])
    assert found["win-stay, lose-shift"].level == "fail"
    assert found["repetition"].level == "fail"


@pytest.mark.slow
def test_p_values_of_right_rules_are_not_small():
    small = 0
    for k in range(6):
        made = PolicyNetwork(FAMILY, TASK, nuisance=())
        trials = made.animals(torch.tensor([[0.5, -0.25]] * 6), seed=10 + k)
        posterior = sr.fit(made, PRIOR, trials=trials, sampler=FAST)
        found = sr.check(posterior.with_draws(posterior.draw(400, seed=0)), made, parts=["predictions"])
        small += sum(v.level == "fail" for v in found)
    assert small <= 1


def test_a_table_given_again_asks_the_same_question():
    family = sr.TaylorRule(["c rd", "w"])
    policy = PolicyNetwork(family)
    trials = together(*(table(torch.randint(2, (60,)).numpy(), torch.rand(60).round().numpy()) for _ in range(3)))
    posterior = sr.fit(policy, uniform(family, -0.5, 0.5), trials=trials)
    own = sr.check(posterior, policy, parts=["predictions"], num_workers=1)
    again = sr.check(posterior, policy, trials=trials, parts=["predictions"], num_workers=1)
    assert [v.name for v in again] == [v.name for v in own]
    assert "repetition" in [v.name for v in again]
