"""Recovery from choices: against rules that are known, what the table showed, plain loops and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from choosing import table, together
from sklearn.metrics import roc_auc_score

import sbirules as sr
from sbirules.checks.choice_recovery import _auc
from sbirules.checks.shown_again import laid_out
from sbirules.inference.baselines.catalogue import BASELINES
from sbirules.inference.baselines.decisions import Decisions
from sbirules.inference.baselines.simulating import choices_of
from sbirules.priors import spike_and_slab, uniform
from sbirules.simulators import PolicyNetwork
from sbirules.tasks import ChoiceTask, Replayed

pytestmark = pytest.mark.slow

QUICK = {"sampler": sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=3, max_doublings=0)}
FAMILY = sr.TaylorRule(["c rd", "w"])
PRIOR = uniform(FAMILY, 0.0, 0.8, w=(-0.4, 0.0))
TASK = ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.2, 0.8]], block=(20, 40), num_trials=60)
SIMULATOR = PolicyNetwork(FAMILY, TASK, nuisance=())


@pytest.fixture(scope="module")
def trials():
    return SIMULATOR.animals(torch.tensor([[0.5, -0.1]]).repeat(3, 1), seed=1)


@pytest.fixture(scope="module")
def found(trials):
    sizes = {"num_trials": (20, 100), "num_animals": (1, 5)}
    return sr.recover(SIMULATOR, PRIOR, trials=trials, **sizes, rules=30, num_samples=200, fit_options=QUICK, seed=2)


# What is shown ----------------------------------------------------------------------------------------


def odours():
    """Two animals with labels and sessions, the second one shorter."""
    told = {"options": ("A", "B"), "labels": {"odour": ("A", "B")}}
    first = table([0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 1, 1], odour=[0, 1, 1, 0, 1], **told)
    second = table([1, 1, 0], [0, 1, 1], [0, 1, 1], odour=[1, 0, 0], **told)
    return together(first, second)


def test_a_table_is_shown_again_in_further_sessions():
    shown = laid_out(odours(), 3, 7)
    fields = shown.trajectory.per_trial
    assert len(shown) == 3
    assert shown.num_trials.tolist() == [7, 7, 7]
    assert fields["odour"].tolist() == [[0, 1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 0, 1]]
    assert fields["session"].tolist()[:2] == [[0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 2, 3, 3, 4]]
    assert fields["trial"][0].tolist() == list(range(7))
    same = laid_out(odours(), None, None)
    assert same.num_trials.tolist() == [5, 3]
    assert torch.equal(
        same.trajectory.per_trial["odour"].nan_to_num(-1), odours().trajectory.per_trial["odour"].nan_to_num(-1)
    )


def test_animals_of_rules_and_baselines_see_the_table():
    shown = laid_out(odours(), 3, 7)
    chances = [[0.9, 0.1], [0.1, 0.9]]
    task = ChoiceTask(("A", "B"), reward="bandit", stimuli={"odour": ("A", "B")}, probabilities=chances)
    model = PolicyNetwork(sr.TaylorRule(["c x rd"]), task, nuisance=()).replaying(shown)
    rule = model.animals(torch.full((6, 1), 0.3), seed=0).trajectory
    for runs in (rule, choices_of(BASELINES["q_learning"], odours(), Replayed(shown, task), 6, 0)):
        for name in ("odour", "session", "trial"):
            assert torch.equal(runs.per_trial[name], shown.trajectory.per_trial[name].repeat(2, 1)), name


# What is found ----------------------------------------------------------------------------------------


def test_posteriors_hold_the_truth_and_more_data_say_more(found):
    table = found.table()
    assert list(table.index) == [(1, 20), (1, 100), (5, 20), (5, 100)]
    for level in (0.5, 0.95):
        name = f"coverage_{100 * level:.0f}"
        assert ((table[name] - level).abs() < 3 * math.sqrt(level * (1 - level) / 30)).all()
    for first, more in (((1, 20), (1, 100)), ((1, 20), (5, 20)), ((5, 20), (5, 100))):
        assert table.loc[more, "contraction"] > table.loc[first, "contraction"]
        assert table.loc[more, "log_score"] > table.loc[first, "log_score"] > 0
    each = found.coefficients()
    assert (each["bias"].abs() < 4 * each["bias_se"]).all()
    assert found.study(5, 100).learners == 5
    assert "30 rules of the prior" in str(found)
    assert len(found.figure().get_yticklabels()) == 4


def test_its_numbers_are_those_of_a_plain_count(found):
    study = found.study(1, 100)
    inside = 0
    for truth, draws in zip(study.truth[:, 0].tolist(), study.draws[:, :, 0], strict=True):
        below = int((draws < truth).sum())
        inside += abs((below + 0.5) / 201 - 0.5) <= 0.25
    row = found.coefficients().loc[(1, 100, "c_rd")]
    assert row["coverage_50"] == pytest.approx(inside / 30)
    assert row["bias"] == pytest.approx(float((study.draws[:, :, 0].mean(dim=1) - study.truth[:, 0]).mean()), abs=1e-6)


def test_the_log_score_is_the_density_of_the_truth(trials):
    # one coefficient: the posterior's density on a grid
    family = sr.TaylorRule(["c rd"])
    simulator, prior = PolicyNetwork(family, TASK, nuisance=()), uniform(family, 0.0, 1.0)
    found = sr.recover(simulator, prior, trials=trials, rules=10, num_samples=50, fit_options=QUICK, num_animals=2)
    study = found.studies[0]
    table = study.posterior.potential_net.trials  # of the first rule
    grid = ((torch.arange(2000) + 0.5) / 2000)[:, None].double()
    value = simulator.log_likelihood(grid, table)
    exact = simulator.log_likelihood(study.truth[:1], table) - (torch.logsumexp(value, dim=0) - math.log(2000))
    assert float(found.log_score[0, 0]) == pytest.approx(float(exact), abs=0.15)


def test_terms_that_may_be_absent_are_told_by_their_probability(trials):
    family = sr.TaylorRule(["c rd", "c"])
    simulator = PolicyNetwork(family, TASK, nuisance=())
    prior = spike_and_slab(family, 0.5)
    found = sr.recover(
        simulator, prior, trials=trials, rules=20, num_trials=[20, 200], num_samples=100, fit_options=QUICK
    )
    table = found.table()
    assert 0.5 < table.loc[(3, 20), "auc"] <= table.loc[(3, 200), "auc"] + 0.05
    study = found.study(3, 200)
    there, chance = study.truth != 0, (study.draws != 0).double().mean(dim=1)
    assert table.loc[(3, 200), "auc"] == pytest.approx(roc_auc_score(there.flatten(), chance.flatten()))


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    there, chance = rng.random(60) < 0.4, rng.integers(5, size=60) / 4
    assert _auc(torch.tensor(there), torch.tensor(chance)) == pytest.approx(roc_auc_score(there, chance))
    assert math.isnan(_auc(torch.ones(3, dtype=torch.bool), torch.rand(3)))


def test_coefficients_that_stand_in_for_each_other_are_named(trials):
    # reward is always the same, so that c r and c cannot be told apart
    family = sr.TaylorRule(["c r", "c"])
    always = ChoiceTask(reward="bandit", probabilities=(1.0, 1.0))
    found = sr.recover(
        PolicyNetwork(family, always, nuisance=()), uniform(family, -0.3, 0.3), trials=trials, num_animals=6, rules=10,
        num_samples=200, fit_options=QUICK,
    )  # fmt: skip
    close = found.close_pairs()
    assert close[["first", "second"]].to_numpy().tolist() == [["c_r", "c"]]
    assert close["correlation"].item() < -0.9
    assert "do not tell c_r from c" in str(found)


# Baselines as animals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fixed", "logistic", "q_learning", "traces"])
def test_a_baseline_chooses_with_the_probabilities_it_says(name, trials):
    baseline, longer = BASELINES[name], laid_out(trials, None, 200)
    runs = choices_of(baseline, trials, Replayed(longer, TASK), 30, 5)
    told, gap, weighted = Decisions.of(trials), [], []
    for row in range(30):
        own = told.animal(row % 3)
        parameters = baseline.fit(own.in_their_own_units(own.answered), own.answered)
        one = sr.Trials(("a",), runs.rows(torch.tensor([row])), None, trials.meaning)
        chance = np.exp(baseline.given(parameters, Decisions.of(one)))
        choice = one.trajectory.per_trial["choice"][0].numpy()
        of_one = np.where(choice == 1, chance, 1 - chance)
        gap.append((choice - of_one).mean())
        weighted.append(((choice - of_one) * (of_one - of_one.mean())).mean())
    for value in (gap, weighted):
        assert abs(np.mean(value)) < 3.5 * np.std(value) / math.sqrt(30) + 1e-12


def test_units_of_rewards_do_not_matter():
    big = ChoiceTask(reward="bandit", probabilities=(0.8, 0.2), magnitudes=(50.0, 50.0))
    one = ChoiceTask(reward="bandit", probabilities=(0.8, 0.2))
    small = PolicyNetwork(FAMILY, one, nuisance=(), num_trials=80).animals(torch.tensor([[0.4, -0.1]]), seed=3)
    fields = {**small.trajectory.per_trial, "reward": 50 * small.trajectory.per_trial["reward"]}
    t = small.trajectory
    large = sr.Trials(small.learners, sr.Trajectory(t.status, t.trial_types, fields), None, small.meaning)
    first = choices_of(BASELINES["q_learning"], small, Replayed(small, one), 4, 1)
    second = choices_of(BASELINES["q_learning"], large, Replayed(large, big), 4, 1)
    assert torch.equal(first.per_trial["choice"], second.per_trial["choice"])
    assert torch.equal(50 * first.per_trial["reward"], second.per_trial["reward"])


# Which family -----------------------------------------------------------------------------------------


def test_rules_and_baselines_are_found_on_their_own_tables(trials):
    families = {"rule": (SIMULATOR, uniform(FAMILY, 0.3, 0.8, w=(-0.2, 0.0))), "Q": "q_learning", "fixed": "fixed"}
    found = sr.recover_families(
        families, trials=trials, num_trials=300, num_animals=4, rules=4, sampler=QUICK["sampler"]
    )
    assert found.score.shape == (3, 4, 3)
    confusion = found.confusion()
    assert (np.diag(confusion) >= 0.5).all()
    assert np.diag(confusion).mean() > 0.7
    assert confusion.loc["rule", "fixed"] == confusion.loc["fixed", "rule"] == 0
    assert torch.equal(found.probability.argmax(dim=2), found.score.argmax(dim=2))
    assert "score of later choices" in str(found)


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: sr.recover(SIMULATOR, PRIOR), "needs trials"),
        (lambda t: sr.recover(SIMULATOR, PRIOR, trials=t, learners=3), "learners belongs to recovery from simulations"),
        (lambda t: sr.recover(SIMULATOR, PRIOR, trials=t, num_trials=1), "num_trials"),
        (lambda t: sr.recover(SIMULATOR, PRIOR, trials=t, num_animals=()), "num_animals must be one number"),
        (lambda t: sr.recover(SIMULATOR, PRIOR, trials=t, fit_options={"animals": "own"}), "fit_options"),
        (lambda t: sr.recover(PolicyNetwork(FAMILY), PRIOR, trials=t), "cannot be simulated"),
        (lambda t: sr.recover(sr.simulators.LinearGaussian(), PRIOR, num_trials=3), "num_trials belongs to choices"),
        (lambda t: sr.recover(sr.simulators.LinearGaussian(), PRIOR, trials=t), "recover with trials needs"),
        (lambda t: sr.recover_families({"a": "fixed", "b": "coin"}, trials=t), "needs a simulator among"),
        (lambda t: sr.recover_families({"a": "fixed", "b": (SIMULATOR, PRIOR)}), "give trials"),
        (lambda t: sr.recover_families({"a": "fixed", "b": (SIMULATOR, PRIOR)}, trials=t, learners=3), "learners belongs"),
        (lambda t: sr.recover_families({"a": "fixed", "b": (SIMULATOR, PRIOR)}, num_trials=9), "num_trials belongs"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_said(call, words, trials):
    with pytest.raises(ValueError, match=words):
        call(trials)


def test_a_study_that_there_is_not(found):
    with pytest.raises(ValueError, match="there is no study of 2 animals"):
        found.study(2, 20)
