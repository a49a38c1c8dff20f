"""Summaries of choices against plain loops and numpy's least squares; a posterior from simulations against the exact one."""

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.model.runs import Trajectory
from sbirules.model.summaries import answers_by_part, choice_summaries, history_weights, rebuild, summarise, written
from sbirules.model.tasks import ChoiceTask
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork

TASK = ChoiceTask(
    options=("a", "b", "c"),
    reward="bandit",
    probabilities=[0.7, 0.3, 0.1],
    num_trials=60,
)
ANIMALS = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), TASK, nuisance=()).animals(
    torch.tensor([[0.3, -0.1], [0.1, -0.05]]), seed=0
)
FIELDS = ANIMALS.trajectory.per_trial


def test_shares_of_answers_by_part_are_those_of_a_loop():
    found = summarise(ANIMALS.trajectory, [answers_by_part(3, bins=3)])
    wanted = [
        [float((FIELDS["choice"][a, 20 * b : 20 * b + 20] == k).double().mean()) for k in (1, 2) for b in range(3)]
        for a in range(2)
    ]
    torch.testing.assert_close(found.double(), torch.tensor(wanted, dtype=torch.float64), atol=1e-6, rtol=0)


def test_history_weights_are_those_of_ridge_regression():
    memories = (1.0, 5.0)
    found = summarise(ANIMALS.trajectory, [history_weights(3, memories=memories)])
    for a in range(2):
        choice, reward = FIELDS["choice"][a].numpy(), FIELDS["reward"][a].numpy()
        wanted = []
        for k in (1, 2):
            it = (choice == k).astype(float)
            columns = [np.ones(60)]
            for values in (it, it * reward, reward):
                for memory in memories:
                    trace, seen = 0.0, []
                    for v in values:
                        seen.append(trace)
                        trace += (v - trace) / memory
                    columns.append(np.array(seen))
            x = np.stack(columns, axis=1)
            # a ridge of 1 as so many further rows
            both = np.vstack([x, np.eye(x.shape[1])]), np.concatenate([it, np.zeros(x.shape[1])])
            wanted += list(np.linalg.lstsq(*both, rcond=None)[0])
        np.testing.assert_allclose(found[a].numpy(), wanted, atol=1e-5)


def test_missing_answers_and_rewards_are_left_out():
    choice, reward = FIELDS["choice"].clone(), FIELDS["reward"].clone()
    choice[0, 5], reward[1, 7] = torch.nan, torch.nan
    table = sr.Trials(
        ANIMALS.learners,
        Trajectory(ANIMALS.trajectory.status, ANIMALS.trial_types, {**FIELDS, "choice": choice, "reward": reward}),
        None,
        ANIMALS.meaning,
    )
    assert torch.isfinite(summarise(table.trajectory, choice_summaries(ANIMALS.meaning))).all()


def test_they_come_back_from_files_with_their_settings():
    for item in (answers_by_part(3, ("contrast",), bins=5), history_weights(2, memories=(1.0, 3.0))):
        again = rebuild(written(item))
        assert again.config() == item.config()
        assert again.columns(()) == item.columns(())


@pytest.mark.long
def test_a_posterior_from_simulated_animals_agrees_with_the_exact_one():
    """Summaries say less than the choices themselves: as wide at least, and the exact mean inside."""
    task = ChoiceTask(reward="baited", probabilities=[[0.3, 0.1], [0.1, 0.3]], block=60, num_trials=240)
    family = sr.TaylorRule(["c rd", "w"])
    simulator = PolicyNetwork(family, task, nuisance=())
    trials = simulator.animals(torch.tensor([[0.2, -0.08]] * 6), seed=3)
    prior = uniform(family, 0, 0.6, w=(-0.4, 0.0))
    exact = sr.fit(simulator, prior, trials=trials).draw(2000, seed=0).draws.flatten(0, 1)
    store = sr.simulate(simulator, prior, 4096, seed=1, progress=False)
    learned = sr.fit(store, prior, trials=trials, estimator="ratio").draw(2000, seed=0).draws.flatten(0, 1)
    assert (learned.std(dim=0) > 0.8 * exact.std(dim=0)).all()
    assert (learned.std(dim=0) < 3 * exact.std(dim=0)).all()
    assert ((learned.mean(dim=0) - exact.mean(dim=0)).abs() < 2 * learned.std(dim=0)).all()
