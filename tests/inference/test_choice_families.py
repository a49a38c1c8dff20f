"""Comparisons on choices: against simulated animals whose rule is known, closed forms, plain loops and scipy."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cheap import PRIOR as LINES
from cheap import Cheap
from choosing import table, together
from scipy.stats import false_discovery_control, wilcoxon
from torch.distributions import Beta

import sbirules as sr
from sbirules.inference.baselines.catalogue import BASELINES
from sbirules.inference.choice_scores import RuleScores, answered, before, bridge, held_out_part, holm
from sbirules.model.runs import Trajectory
from sbirules.model.tables import Trials
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork
from sbirules.tasks import ChoiceTask

QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)
RULE = sr.TaylorRule(["c rd", "w"])
PRIOR = uniform(RULE, -0.8, 0.8, w=(-0.4, 0.0))
FAMILY = (PolicyNetwork(RULE, nuisance=()), PRIOR)
BANDIT = ChoiceTask(reward="bandit", probabilities=[[0.9, 0.1], [0.1, 0.9]], block=(30, 50))


@pytest.fixture(scope="module")
def learners():
    """Animals that learn by one rule."""
    network = PolicyNetwork(RULE, BANDIT, nuisance=(), num_trials=240)
    return network.animals(torch.tensor([[0.7, -0.08]]).repeat(10, 1), seed=4)


@pytest.fixture(scope="module")
def compared(learners):
    families = {"rule": FAMILY, "coin": "coin", "fixed": "fixed", "drift": "random_walk", "Q": "q_learning"}
    return sr.compare_families(families, learners, held_out="both", animals="shared", sampler=QUICK)


def fixed_animals(animals=12, count=150, seed=3):
    """Animals that choose B with a probability of their own, whatever happens."""
    rng = np.random.default_rng(seed)
    each = []
    for k in range(animals):
        choice = (rng.random(count) < (0.75 if k % 2 else 0.8)).astype(float)
        each.append(table(choice, (rng.random(count) < 0.5).astype(float), options=("A", "B")))
    return together(*each)


def altered(trials, where, choice):
    """The same table with other answers at some decisions."""
    t = trials.trajectory
    fields = {**t.per_trial, "choice": torch.where(where, choice, t.per_trial["choice"].double())}
    return replace(trials, trajectory=Trajectory(t.status, t.trial_types, fields))


def sessions_table(counts, sessions, seed=0):
    rng = np.random.default_rng(seed)
    return together(*[
        table(
            rng.integers(2, size=n).astype(float), rng.integers(2, size=n).astype(float), np.arange(n) * s // n, np.arange(n)
        )
        for n, s in zip(counts, sessions, strict=True)
    ])  # fmt: skip


# Which wins -------------------------------------------------------------------------------------------


def test_the_true_rule_wins_over_policies_that_do_not_change(compared):
    assert compared.best == "rule"
    for held_out in ("sessions", "animals"):
        tests = compared.tests("rule", held_out)
        assert (tests.loc[["coin", "fixed"], "difference"] < 0).all()
        assert (tests.loc[["coin", "fixed"], "p_holm"] < 0.05).all()
    assert "needed" in compared.plasticity
    assert compared.table().index[0] == "rule"
    assert set(compared.kinds) == {"rule", "coin", "fixed", "random_walk", "q_learning"}


def test_no_rule_beats_a_fixed_policy_where_the_policy_is_fixed():
    families = {"rule": FAMILY, "fixed": "fixed", "random_walk": "random_walk"}
    out = sr.compare_families(families, fixed_animals(), sampler=QUICK)
    tests = out.tests("fixed")
    assert not ((tests["difference"] > 0) & (tests["p_holm"] < 0.05)).any()
    assert "is needed" not in out.plasticity
    assert "is shown" in out.plasticity or "not shown" in out.plasticity


# What is held out -------------------------------------------------------------------------------------


def test_the_last_fifth_of_sessions_is_held_out_or_the_last_third_of_one():
    trials = sessions_table([100, 30, 33], [10, 3, 1])
    held_out = held_out_part(trials)
    assert held_out[0].nonzero()[:, 0].tolist() == list(range(80, 100))
    assert held_out[1].nonzero()[:, 0].tolist() == list(range(20, 30))
    assert held_out[2].nonzero()[:, 0].tolist() == list(range(22, 33))
    kept = before(trials, held_out)
    assert kept.num_trials.tolist() == [80, 20, 22]
    assert torch.equal(kept.trajectory.choice[0], trials.trajectory.choice[0, :80])
    assert bool(torch.isnan(kept.trajectory.reward[1, 20:]).all())


def test_decisions_of_one_trial_are_held_out_together():
    count = 40
    trials = table(
        np.arange(count) % 2, np.ones(count), None, np.arange(count) // 4, accept=True, options=("no", "yes")
    )
    assert int(held_out_part(trials)[0].nonzero()[0]) == 28  # trials 7, 8 and 9 of 10


def test_held_out_choices_do_not_influence_the_fit(learners):
    held_out = held_out_part(learners)
    other = altered(learners, held_out & (torch.arange(len(learners)) == 2)[:, None], torch.ones(()).double())
    families = {"rule": FAMILY, "fixed": "fixed", "q_learning": "q_learning", "random_walk": "random_walk"}
    a, b = (sr.compare_families(families, t, animals="shared", sampler=QUICK).sessions for t in (learners, other))
    same = torch.arange(len(learners)) != 2
    assert torch.equal(a[:, same], b[:, same])
    assert bool((a[:, 2] != b[:, 2]).all())


# Scores -----------------------------------------------------------------------------------------------


def test_scores_of_a_rule_are_means_over_draws_of_each_choice(learners):
    # of two animals, whose draws are averaged step by step with the likelihood of ever longer tables
    few = learners.subset([0, 1])
    held_out = held_out_part(few)
    score = RuleScores.of("rule", *FAMILY, few, QUICK, 0, False)
    ours = score.later(held_out, "shared").score
    posterior = sr.fit(*FAMILY, trials=before(few, held_out), sampler=QUICK)
    draws = posterior.draw(400, seed=0).draws.flatten(0, 1)[:400]
    simulator = FAMILY[0].suited(few)
    cuts = range(int(held_out[0].nonzero()[0]), few.trial_types.shape[1] + 1)
    place = torch.arange(few.trial_types.shape[1])
    upto = [simulator.likelihood(before(few, (place >= n).expand(2, -1))).log_prob(draws) for n in cuts]
    steps = [torch.logsumexp(b - a, dim=0) - math.log(len(draws)) for a, b in itertools.pairwise(upto)]
    assert torch.allclose(ours, torch.stack(steps).sum(dim=0), atol=1e-6)


def test_scores_of_baselines_are_those_computed_directly(learners, compared):
    held_out = held_out_part(learners)
    choice = learners.trajectory.choice
    count = held_out.sum(dim=1).double()
    row = compared.names.index("coin")
    assert torch.allclose(compared.sessions[row], -count * math.log(2))
    assert torch.allclose(compared.left_out[row], -compared.choices.double() * math.log(2))
    p = (1 + (choice == 1).logical_and(~held_out).sum(dim=1).double()) / (2 + (~held_out).sum(dim=1).double())
    ones = (choice == 1).logical_and(held_out).sum(dim=1).double()
    fixed = ones * p.log() + (count - ones) * (1 - p).log()
    assert torch.allclose(compared.sessions[compared.names.index("fixed")], fixed)
    others = (choice == 1).sum().double() - (choice == 1).sum(dim=1).double()
    p = (1 + others) / (2 + choice.shape[1] * (len(choice) - 1))
    ones = (choice == 1).sum(dim=1).double()
    fixed = ones * p.log() + (choice.shape[1] - ones) * (1 - p).log()
    assert torch.allclose(compared.left_out[compared.names.index("fixed")], fixed)
    q = BASELINES["q_learning"].log_prob(learners, ~held_out)
    assert torch.allclose(compared.sessions[compared.names.index("Q")], (q * held_out).sum(dim=1))


def test_an_animal_left_out_is_scored_by_the_integral_over_the_others_posterior(learners, compared):
    # on a grid of the two coefficients, whose prior is uniform
    simulator = FAMILY[0].suited(learners)
    side = (torch.linspace(-0.8, 0.8, 202)[:-1] + 0.8 / 201, torch.linspace(-0.4, 0.0, 82)[:-1] + 0.2 / 81)
    grid = torch.cartesian_prod(*side)
    each = simulator.likelihood(learners).log_prob(grid)
    total = torch.logsumexp(each.sum(dim=1), 0)
    row = compared.names.index("rule")
    exact = torch.stack([total - torch.logsumexp(each.sum(dim=1) - each[:, a], 0) for a in range(len(learners))])
    assert torch.allclose(compared.left_out[row], exact, atol=0.25)
    assert bool((compared.left_out_error[row] < 0.2).all())
    evidence = total - math.log(len(grid))
    assert float(compared.log_evidence[row]) == pytest.approx(float(evidence), abs=0.5)
    assert bool(torch.isnan(compared.log_evidence[compared.names.index("coin")]))


def test_the_bridge_finds_the_mean_likelihood_where_a_plain_mean_cannot():
    # Beta(2, 2) and 3000 flips, 2400 of them heads: the mean is a ratio of beta functions
    heads, tails = 2400, 600
    torch.manual_seed(0)
    q, posterior = Beta(2.0, 2.0), Beta(2.0 + heads, 2.0 + tails)

    def log_l(p):
        return (heads * p.log() + tails * (1 - p).log()).double()

    def log_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    exact = log_beta(2 + heads, 2 + tails) - log_beta(2, 2)
    found, error = bridge(log_l(q.sample((4000,)).double()), log_l(posterior.sample((4000,)).double()))
    assert error < 0.1
    assert found == pytest.approx(exact, abs=5 * error)
    assert bridge(torch.full((50,), -3.0).double(), torch.full((50,), -3.0).double())[0] == pytest.approx(-3.0)


def test_own_rules_are_fitted_to_each_animal_alone():
    trials = sessions_table([60, 60, 60], [3, 3, 3])
    out = sr.compare_families({"rule": FAMILY, "coin": "coin"}, trials, held_out="both", sampler=QUICK)
    assert out.animals == "own"  # several sessions
    assert bool(torch.isnan(out.left_out[0]).all())
    assert bool(torch.isfinite(out.left_out[1]).all())
    # another animal in the table changes nothing of this one
    held_out = held_out_part(trials)
    other = altered(trials, (torch.arange(3) == 2)[:, None] & ~held_out, torch.zeros(()).double())
    again = sr.compare_families({"rule": FAMILY, "coin": "coin"}, other, sampler=QUICK)
    assert torch.equal(again.sessions[0, :2], out.sessions[0, :2])
    assert float(again.sessions[0, 2]) != float(out.sessions[0, 2])


def test_choices_without_an_answer_are_not_scored():
    trials = sessions_table([90], [1])
    place = torch.arange(90)[None]
    silent = altered(trials, (place % 10 == 0) | (place < 0), torch.tensor(math.nan).double())
    out = sr.compare_families({"rule": FAMILY, "coin": "coin"}, silent, animals="shared", sampler=QUICK)
    assert out.held_out_choices.tolist() == [27]
    assert float(out.sessions[1]) == pytest.approx(-27 * math.log(2))
    assert int(answered(silent).sum()) == 81


# Tables and tests -------------------------------------------------------------------------------------


def made(sessions, kinds=None):
    """A comparison of given scores, 100 choices an animal."""
    sessions = torch.from_numpy(np.array(sessions, dtype=float))
    f, a = sessions.shape
    nan = torch.full((f,), math.nan, dtype=torch.float64)
    names = tuple("abcdefg"[:f])
    rest = torch.full((f, a), math.nan, dtype=torch.float64)
    count = torch.full((a,), 100)
    learners = tuple(f"m{k}" for k in range(a))
    return sr.ChoiceComparison(names, kinds or names, learners, sessions, rest, rest, count, count, nan, nan)


def test_tests_are_those_of_scipy_and_holm():
    rng = np.random.default_rng(1)
    scores = rng.normal(-60, 5, (4, 15)) - np.arange(4)[:, None] * 3
    out = made(scores)
    best = int(scores.sum(axis=1).argmax())
    tests = out.tests()
    p = {n: wilcoxon(scores[k] - scores[best]).pvalue for k, n in enumerate(out.names) if k != best}
    assert tests["p"].to_dict() == pytest.approx(p)
    order = sorted(p, key=p.get)
    by_hand = [max(min(1, (3 - j) * p[order[j]]) for j in range(k + 1)) for k in range(3)]
    assert tests.loc[order, "p_holm"].tolist() == pytest.approx(by_hand)
    assert tests["difference"]["b"] == pytest.approx(np.median(scores[1] - scores[best]) / 100)
    # never below what controls the rate of false discoveries, never above Bonferroni's
    corrected = np.array(holm(list(p.values())))
    assert (corrected >= false_discovery_control(list(p.values())) - 1e-12).all()
    assert (corrected <= np.minimum(1, 3 * np.array(list(p.values()))) + 1e-12).all()
    assert math.isnan(holm([math.nan, 0.02])[0])
    assert holm([math.nan, 0.02])[1] == 0.02
    assert out.tests("c").loc["a", "difference"] == pytest.approx(np.median(scores[0] - scores[2]) / 100)


def test_the_table_has_sums_differences_and_their_errors():
    rng = np.random.default_rng(2)
    scores = rng.normal(-60, 5, (3, 9)) - np.arange(3)[:, None]
    out = made(scores, ("rule", "random_walk", "coin"))
    frame, best = out.table(), int(scores.sum(axis=1).argmax())
    assert frame.index[0] == out.best == out.names[best]
    total = scores.sum(axis=1)
    for k, name in enumerate(out.names):
        row = frame.loc[name]
        difference = scores[best] - scores[k]
        assert row["score"] == pytest.approx(total[k])
        assert row["behind"] == pytest.approx(difference.sum())
        assert row["behind_se"] == pytest.approx(difference.std(ddof=1) * 3)
        assert row["deviance"] == pytest.approx(1 + total[k] / (900 * math.log(2)))
        assert row["deviance_median"] == pytest.approx(np.median(1 + scores[k] / (100 * math.log(2))))
        assert row["deviance_se"] == pytest.approx((difference / (100 * math.log(2))).std(ddof=1) / 3)
    assert "animals_score" not in frame


def test_a_policy_that_drifts_is_not_called_plasticity():
    rng = np.random.default_rng(5)
    base = rng.normal(-60, 4, 16)
    better, same = base + 3 + rng.normal(0, 1, 16), base + rng.normal(0, 0.1, 16)
    kinds = ("rule", "random_walk", "q_learning", "fixed")
    needed = made([better, base, same, base - 9], kinds).plasticity
    assert needed.startswith("Plasticity is needed: a predicts the last sessions better")
    assert "a predicts them better than Q-learning" in needed
    drift = made([base, better, same, base - 9], kinds).plasticity
    assert drift.startswith("The policy changes, not shown to be by this rule")
    assert "is not shown to predict them better than Q-learning" in drift
    still = made([base, same, same, better], kinds).plasticity
    assert still.startswith("No change of the policy is shown: d")
    assert "random_walk" in made([better, base], ("rule", "fixed")).plasticity
    assert "no rule" in made([better, base], ("random_walk", "fixed")).plasticity
    few = made(np.array([better, base, same])[:, :3], kinds[:3]).plasticity
    assert "With 3 animals no test can tell" in few


def test_the_figure_shows_each_family(compared):
    ax = compared.figure("animals")
    assert ax.get_yticklabels()[0].get_text() == "rule"
    assert len(ax.get_yticklabels()) == 5
    assert "animals left out" in ax.get_xlabel()
    with pytest.raises(ValueError, match="values must be"):
        sr.figures.held_out_scores(["a"], torch.zeros(2, 3))


# What is refused --------------------------------------------------------------------------------------


def test_comparisons_that_cannot_be_are_refused_in_words(learners):
    cut = learners.subset([0])
    short = before(cut, (torch.arange(240) >= 1)[None])
    pair = {"rule": FAMILY, "coin": "coin"}
    for families, trials, options, words in [
        ({"rule": FAMILY}, learners, {}, "at least two families"),
        ({"rule": FAMILY, "b": "random_wlak"}, learners, {}, "did you mean 'random_walk'"),
        ({"rule": FAMILY, "b": "bandit"}, learners, {}, "may be one of: coin, fixed"),
        (pair, short, {}, "too few sessions"),
        (pair, learners, {"held_out": "trials"}, "held_out: 'trials' is not known"),
        (pair, learners, {"animals": "partial"}, "animals: 'partial' is not known"),
        (pair, learners, {"animals": "own", "held_out": "animals"}, "has no score of animals left out"),
        (pair, cut, {"held_out": "both"}, "at least two animals"),
        (pair, learners, {"settings": sr.EnsembleSettings()}, "settings belongs to families of simulations"),
        ({"rule": FAMILY, "b": 3}, learners, {}, "families must be a mapping"),
        ({"rule": (FAMILY[0], uniform(sr.TaylorRule(["c r"]), -1, 1)), "coin": "coin"}, learners, {}, "family 'rule'"),
    ]:
        with pytest.raises(ValueError, match=words):
            sr.compare_families(families, trials, **options)


def test_simulations_and_choices_are_not_compared(learners):
    stored = (sr.simulate(Cheap(), LINES, 40, num_workers=1, progress=False), LINES)
    for families, options, words in [
        ({"a": stored, "rule": FAMILY}, {}, "'rule' is one of choices, 'a' is not"),
        ({"a": stored, "fixed": "fixed"}, {}, "'fixed' is one of choices, 'a' is not"),
        ({"a": stored, "b": stored}, {"held_out": "sessions"}, "held_out belongs to choices"),
        ({"a": stored, "b": stored}, {"animals": "own"}, "animals belongs to choices"),
        (
            {"a": (Cheap(), LINES), "rule": FAMILY},
            {},
            "family 'a' must predict choices, as PolicyNetwork does, got Cheap",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            sr.compare_families(families, learners, **options)


def test_the_comparison_is_text_that_says_all(compared):
    text = str(compared)
    assert "deviance_median" in text
    assert compared.plasticity in text


def test_trials_of_other_kinds_are_refused(learners):
    errors = Trials(("a",), learners.trajectory.rows(torch.tensor([0])), None, None)
    with pytest.raises(ValueError, match="table of choices"):
        sr.compare_families({"coin": "coin", "fixed": "fixed"}, errors)
