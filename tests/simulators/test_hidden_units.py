"""Policies with hidden units, and rules that are networks: against plain loops, and the chain rule of probability."""

import math

import numpy as np
import pytest
import torch
from choosing import table, together

import sbirules as sr
from sbirules.model.rules import MLPRule
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import normal
from sbirules.samplers.smc import SamplerSettings
from sbirules.simulators import PolicyNetwork

HIDDEN = 3
TASK = ChoiceTask(options=("l", "r"), reward="contrast", stimuli={"contrast": [-0.5, 0.0, 0.5]}, num_trials=30)


def animals(accept, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for count in (25, 14):
        choice = rng.integers(2, size=count).astype(float)
        reward = rng.choice([0.0, 1.0], size=count)
        if accept:
            reward[choice == 0] = math.nan
        choice[3] = math.nan
        names = ("no", "yes") if accept else ("l", "r")
        meaning = {"options": names, "labels": {}, "accept": accept}
        made.append(
            table(choice, reward, np.arange(count) // 10, np.arange(count), **meaning, contrast=rng.normal(size=count))
        )
    return together(*made)


def by_numbers(update, theta, trials, noise, accept):
    """Log-likelihood of each animal by numpy, one number at a time; theta by name."""
    fields = trials.trajectory.per_trial
    out = []
    for a in range(len(trials)):
        options = 1 if accept else 2
        w, expected, total = 0.01 * noise.copy(), 0.0, 0.0  # (options * HIDDEN, 2)
        for t in range(int(trials.num_trials[a])):
            x = np.array([float(fields["contrast"][a, t]), 1.0])
            rate = np.tanh(w @ x)
            logit = 5 * rate.reshape(options, HIDDEN).mean(axis=1)
            full = np.array([0.0, logit[0]]) if accept else logit
            s = np.exp(full - full.max()) / np.exp(full - full.max()).sum()
            choice, reward = float(fields["choice"][a, t]), float(fields["reward"][a, t])
            if math.isnan(choice):
                continue
            p = (1 - theta["lapse"]) * s[int(choice)] + theta["lapse"] / 2
            total += math.log(p)
            if math.isnan(reward) or (accept and choice == 0):
                continue
            new = w.copy()
            for unit in range(options * HIDDEN):
                option = unit // HIDDEN
                c = 1.0 if choice == (1 if accept else option) else 0.0
                d = c - s[1 if accept else option]
                for j in range(2):
                    seen = {
                        "x": x[j],
                        "c": c,
                        "d": d,
                        "y": rate[unit],
                        "w": w[unit, j],
                        "r": reward,
                        "rd": reward - expected,
                    }
                    new[unit, j] += update(theta, **seen)
            w = new
            expected += 0.1 * (reward - expected)
        out.append(total)
    return np.array(out)


def of_network(theta, **seen):
    total = 0.0
    for h in (1, 2):
        drive = theta[f"bias_{h}"] + sum(theta[f"in_{h}_{k}"] * seen[k] for k in ("x", "rd", "w"))
        total += theta[f"out_{h}"] * math.tanh(drive)
    return seen["c"] * total


def of_products(theta, **seen):
    return theta["x_rd"] * seen["x"] * seen["rd"] + theta["d_y_w"] * seen["d"] * seen["y"] * seen["w"]


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize(
    ("family", "update"), [(MLPRule(hidden=2), of_network), (sr.TaylorRule(["x rd", "d y w"]), of_products)]
)
def test_the_likelihood_is_the_mean_over_first_weights_of_that_of_a_plain_loop(accept, family, update):
    trials = animals(accept)
    simulator = PolicyNetwork(family, hidden=HIDDEN, weight_draws=3).suited(trials)
    assert "w0_contrast" not in simulator.names
    likelihood = simulator.likelihood(trials)
    rng = np.random.default_rng(1)
    rule = 0.5 * rng.normal(size=len(simulator.names))
    rule[-1] = 0.1
    theta = dict(zip(simulator.names, rule, strict=True))
    each = np.stack([by_numbers(update, theta, trials, draw.numpy(), accept) for draw in likelihood.noise])
    rows = torch.tensor(rule)[None]
    wanted = np.logaddexp.reduce(each, axis=0) - math.log(3)
    np.testing.assert_allclose(likelihood.log_prob(rows)[0].numpy(), wanted, rtol=1e-9)
    share = np.exp(each) / np.exp(each).mean(axis=0)
    np.testing.assert_allclose(likelihood.monte_carlo_error(rows)[0], share.std(axis=0, ddof=1) / 3**0.5, rtol=1e-6)


def test_probabilities_one_step_ahead_multiply_to_the_likelihood():
    trials = animals(False)
    likelihood = PolicyNetwork(sr.TaylorRule(["x rd"]), hidden=HIDDEN, weight_draws=4).suited(trials).likelihood(trials)
    rule = torch.tensor([[3.0, 0.05]], dtype=torch.float64)
    prob, choice = likelihood.probabilities(rule)[0], likelihood.decisions.choice
    torch.testing.assert_close(prob.sum(dim=1), torch.ones(len(choice), dtype=torch.float64))
    taken = torch.where(choice >= 0, prob.gather(1, choice.clamp(min=0)[:, None])[:, 0].log(), 0.0)
    by_animal = torch.stack([part.sum() for part in taken.split(likelihood.decisions.start.diff().tolist())])
    torch.testing.assert_close(by_animal, likelihood.log_prob(rule)[0])


def test_a_simulated_animal_does_not_depend_on_those_beside_it():
    simulator = PolicyNetwork(MLPRule(hidden=2), TASK, hidden=HIDDEN, nuisance=())
    rules = 0.5 * torch.randn(70, len(simulator.names), generator=torch.Generator().manual_seed(0))
    few, many = (simulator.run(rules[:n], seed=3).per_trial["choice"] for n in (5, 70))
    assert torch.equal(few, many[:5])


def test_units_of_a_network_can_be_exchanged_and_turned():
    family = MLPRule(("x", "r", "w"), hidden=2, gate="d")
    rng = torch.Generator().manual_seed(0)
    theta = dict(zip(family.names, torch.randn(len(family.names), 1, 1, 1, generator=rng), strict=True))
    seen = {name: torch.randn(4, 2, 3, generator=rng) for name in ("x", "c", "d", "y", "w", "r", "rd")}
    swapped = {name: theta[name.replace("_1", "_0").replace("_2", "_1").replace("_0", "_2")] for name in theta}
    turned = {name: -v if "_1" in name else v for name, v in theta.items()}
    for other in (swapped, turned):
        torch.testing.assert_close(family.update(other, **seen), family.update(theta, **seen))


def test_what_a_network_or_hidden_units_cannot_be_is_said():
    with pytest.raises(ValueError, match="needs c, d, y or w among its inputs"):
        PolicyNetwork(MLPRule(("x", "rd"), gate="none"), TASK)
    PolicyNetwork(MLPRule(("x", "rd"), gate="none"), TASK, hidden=4)  # whose first weights differ
    with pytest.raises(ValueError, match="each once"):
        MLPRule(("x", "x"))
    with pytest.raises(ValueError, match="knows no hidden units"):
        PolicyNetwork(sr.TaylorRule(["c x r"]), TASK, hidden=4, engine="numba")


@pytest.mark.long
def test_a_network_finds_the_rule_that_animals_were_simulated_with():
    """Animals learn by dw = .4 c x (r - E[r]); the posterior over networks holds that function in its bands."""
    task = ChoiceTask(options=("l", "r"), reward="contrast", stimuli={"contrast": [-0.5, 0.0, 0.5]}, num_trials=60)
    trials = PolicyNetwork(sr.TaylorRule(["c x rd"]), task, nuisance=()).animals(torch.full((12, 1), 0.4), seed=0)
    family = MLPRule(("rd", "x"), hidden=2)
    simulator = PolicyNetwork(family, nuisance=()).suited(trials)
    few = SamplerSettings(num_runs=2, num_particles=400, num_moves=8, max_doublings=0)
    posterior = sr.fit(simulator, normal(family, 0, 0.7), trials=trials, sampler=few)
    draws = posterior.draw(400, seed=0).draws.flatten(0, 1).double()
    raw = family.columns(draws)
    for rd, x in ((0.6, 0.5), (-0.4, 0.5), (0.6, -0.5)):
        one = {name: torch.ones(1, 1, 1, dtype=torch.float64) for name in ("c", "d", "y", "w", "r")}
        dw = family.update(
            raw, x=torch.full((1, 1, 1), x).double(), rd=torch.full((1, 1, 1), rd).double(), **one
        ).flatten()
        low, high = torch.quantile(dw, 0.005), torch.quantile(dw, 0.995)
        assert low < 0.4 * x * rd < high
    assert simulator.log_likelihood(draws, trials).mean() > simulator.log_likelihood(
        torch.zeros(1, len(family.names)), trials
    )
