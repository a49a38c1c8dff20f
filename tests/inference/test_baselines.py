"""Baselines of choice against step-by-step loops, scikit-learn, a particle filter and scipy's densities."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta, gamma, norm
from sklearn.linear_model import LogisticRegression

from sbirules.inference.baselines.catalogue import BASELINES
from sbirules.inference.baselines.decisions import Decisions
from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Trajectory
from sbirules.model.tables import Trials

MICE = Path(__file__).parents[3] / "shared" / "data" / "mice_contrast.csv"
NONE, NUMBER = ChoiceColumns(("A", "B")), ChoiceColumns(("left", "right"), ("contrast",))
THREE = ChoiceColumns(("A", "B", "C"), ("cue",), {"cue": ("red", "blue")})
WALK = ChoiceColumns(("A", "B", "C"), ("contrast",))
ACCEPT = ChoiceColumns(("reject", "accept"), ("odor",), {"odor": ("a", "b")}, accept=True)
MEANINGS = {"none": NONE, "number": NUMBER, "three": THREE, "accept": ACCEPT}


def table(animals, meaning):
    """A table from one mapping of columns for each animal."""
    names = ("choice", "reward", "session", "trial", *meaning.stimuli)
    shape = (len(animals), max(len(one["choice"]) for one in animals))
    fields = {name: torch.full(shape, math.nan, dtype=torch.float64) for name in names}
    types = torch.full(shape, -1)
    for i, one in enumerate(animals):
        count = len(one["choice"])
        types[i, :count] = 0
        for name in names:
            fields[name][i, :count] = torch.tensor(np.asarray(one[name], dtype=np.float64))
    runs = Trajectory(torch.zeros(len(animals), dtype=torch.int8), types, fields)
    return Trials(tuple(f"a{i}" for i in range(len(animals))), runs, None, meaning)


def animal(meaning, count, rng, sessions=2):
    """Columns of an animal that repeats itself and follows stimuli a little; some answers and rewards are missing."""
    stimuli = {
        name: rng.integers(len(meaning.labels[name]), size=count)
        if name in meaning.labels
        else rng.normal(0, 30, count)
        for name in meaning.stimuli
    }
    choice = np.zeros(count)
    drive = stimuli[meaning.stimuli[0]] / 30 if meaning.stimuli else np.zeros(count)
    for t in range(count):
        same = t > 0 and rng.random() < 0.3
        plain = (drive[t] + rng.logistic() > 0) if len(meaning.options) == 2 else rng.integers(len(meaning.options))
        choice[t] = choice[t - 1] if same else plain
    reward = 2.0 * (rng.random(count) < np.where(choice == 1, 0.7, 0.3))
    choice[rng.random(count) < 0.05] = math.nan
    reward[rng.random(count) < 0.1] = math.nan
    order = np.arange(count)
    return {"choice": choice, "reward": reward, "session": order * sessions // count, "trial": order, **stimuli}


def animals(meaning, counts=(90, 70), seed=1):
    rng = np.random.default_rng(seed)
    return table([animal(meaning, count, rng) for count in counts], meaning)


def altered(trials, where, rng):
    """The same table, other answers and rewards at some decisions."""
    fields = dict(trials.trajectory.per_trial)
    options = len(trials.meaning.options)
    for name, most in (("choice", options), ("reward", 5)):
        new = torch.as_tensor(rng.integers(most, size=fields[name].shape)).double()
        fields[name] = torch.where(where, new, fields[name])
    t = trials.trajectory
    return replace(trials, trajectory=Trajectory(t.status, t.trial_types, fields))


def some_parameters(name, decisions):
    """Parameters of a baseline that do something."""
    size = (decisions.contrasts, decisions.x.shape[1])
    weights = 0.3 + 0.2 * np.arange(np.prod(size)).reshape(size)
    drifts = np.stack([np.full(size[1], 0.2), np.full(size[1], 0.5)])
    return {
        "coin": np.empty(0),
        "fixed": np.arange(1, decisions.answers + 1) / np.arange(1, decisions.answers + 1).sum(),
        "logistic": weights,
        "per_session": np.stack([weights, -weights]),
        "traces": np.concatenate([weights.ravel(), [1.3, -0.7, 0.8, 0.35]]),
        "q_learning": np.array([0.4, 0.15, 1.7, 0.6, *([-0.4] if decisions.accept else [])]),
        "random_walk": drifts,
    }[name]


def softmax_log_prob(logit, choice):
    return logit[choice] - np.log(np.sum(np.exp(logit)))


# The same by plain loops -----------------------------------------------------------------------------


def traces_by_loop(parameters, d):
    rows, inputs = d.contrasts, d.x.shape[1]
    weights = np.vstack([np.zeros(inputs), parameters[: rows * inputs].reshape(rows, inputs)])
    a, b, g, h = parameters[-4:]
    out = np.full(len(d), math.nan)
    for t in range(len(d)):
        if d.new_session[t]:
            chosen, rewarded = np.zeros(d.answers), np.zeros(d.answers)
        c = d.choice[t]
        if c < 0:
            continue
        out[t] = softmax_log_prob(weights @ d.x[t] + a * chosen + b * rewarded, c)
        this = np.arange(d.answers) == c
        chosen = g * chosen + (1 - g) * this
        if not math.isnan(d.reward[t]):
            rewarded = h * rewarded + (1 - h) * this * d.reward[t]
    return out


def q_by_loop(parameters, d):
    alpha, forget, temperature, kappa = parameters[:4]
    codes = [1] if d.accept else list(range(d.answers))
    out = np.full(len(d), math.nan)
    for t in range(len(d)):
        if t in d.start[:-1]:
            w = {k: np.zeros(d.x.shape[1]) for k in codes}
        if d.new_session[t]:
            last = None
        c = d.choice[t]
        if c < 0:
            continue
        logit = np.zeros(d.answers)
        for k in codes:
            logit[k] = temperature * (w[k] @ d.x[t]) + kappa * (last == k) + (parameters[4] if d.accept else 0)
        out[t] = softmax_log_prob(logit, c)
        last = c
        if math.isnan(d.reward[t]) or c not in codes:
            continue
        error = d.reward[t] - w[c] @ d.x[t]
        for k in codes:
            kept = w[k] * (1 - forget)
            taught = w[k] + alpha * error * d.x[t] / d.reach**2
            shown = ~d.labels | (d.x[t] != 0)
            w[k] = np.where(shown, taught, kept) if k == c else kept
    return out


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize(("name", "loop"), [("traces", traces_by_loop), ("q_learning", q_by_loop)])
def test_probabilities_at_given_parameters_are_those_of_a_plain_loop(name, loop, which):
    d = Decisions.of(animals(MEANINGS[which]))
    d = d.in_their_own_units(d.answered)
    parameters = some_parameters(name, d)
    assert np.allclose(BASELINES[name].given(parameters, d), loop(parameters, d), atol=1e-12, equal_nan=True)


def log_prior(name, parameters, d):
    """Densities as the docstrings state them, by scipy."""
    if name == "traces":
        flat, rows = parameters[:-4].reshape(d.contrasts, -1), d.contrasts
        # weights of answers against the first are differences between independent ones of s.d. 2.5 / sqrt(2)
        against = np.hstack([-np.ones((rows, 1)), np.eye(rows)])
        cov = against @ against.T * 2.5**2 / 2
        weights = sum(-0.5 * column @ np.linalg.solve(cov, column) for column in flat.T)
        return weights + norm(0, 2.5).logpdf(parameters[-4:-2]).sum() + beta(1.1, 1.1).logpdf(parameters[-2:]).sum()
    rates, rest = beta(1.1, 1.1).logpdf(parameters[:2]).sum(), norm(0, 2.5).logpdf(parameters[3:]).sum()
    return rates + rest + gamma(1.2, scale=5).logpdf(parameters[2])


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize(("name", "loop"), [("traces", traces_by_loop), ("q_learning", q_by_loop)])
def test_the_posterior_has_no_slope_where_parameters_were_found(name, loop, which):
    d = Decisions.of(animals(MEANINGS[which], (150, 120), seed=4))
    seen = d.answered & (np.arange(len(d)) % 150 < 100)
    d = d.in_their_own_units(seen)
    found = BASELINES[name].fit(d, seen)

    def posterior(at):
        return loop(at, d)[seen].sum() + log_prior(name, at, d)

    for i in range(len(found)):
        step = np.zeros(len(found))
        step[i] = 1e-5 * max(min(abs(found[i]), abs(1 - found[i])), 1e-2)
        slope = (posterior(found + step) - posterior(found - step)) / (2 * step[i])
        inside = found[i] * (1 - found[i]) if 0 < found[i] < 1 else max(abs(found[i]), 1.0)
        assert abs(slope * inside) < 2e-2, (i, found, slope)


# Regressions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", MEANINGS)
def test_logistic_regression_is_that_of_scikit_learn(which):
    trials = animals(MEANINGS[which])
    seen = torch.rand(trials.trial_types.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    found = BASELINES["logistic"].log_prob(trials, seen)
    for i in range(len(trials)):
        there = (trials.trial_types[i] >= 0).numpy()
        choice = trials.trajectory.choice[i].numpy()[there]
        d = Decisions.of(trials).animal(i)
        x = d.x / np.where(d.numbers, np.sqrt((d.x**2).mean(axis=0)), 1.0)
        fitted = seen[i].numpy()[there] & ~np.isnan(choice)
        two = len(trials.meaning.options) == 2
        # it has weights for each of three answers, of which differences count: half the variance
        model = LogisticRegression(C=2.5**2 / (1 if two else 2), fit_intercept=False, tol=1e-10, max_iter=10000)
        log_p = model.fit(x[fitted], choice[fitted].astype(int)).predict_log_proba(x)
        answered = ~np.isnan(choice)
        expected = log_p[answered, choice[answered].astype(int)]
        assert np.allclose(found[i].numpy()[there][answered], expected, atol=1e-5)
        assert np.isnan(found[i].numpy()[there][~answered]).all()
        assert np.isnan(found[i].numpy()[~there]).all()


def test_sessions_have_their_own_weights_and_unseen_ones_those_of_the_last_one_seen():
    rng = np.random.default_rng(6)
    one = animal(NUMBER, 200, rng, sessions=4)
    one["contrast"] = np.where(np.arange(200) % 2, 1.0, -1.0) * (1 + np.arange(200) % 3)
    trials = table([one], NUMBER)
    session = trials.trajectory.session
    seen = (session == 1) | (session == 3)
    found = BASELINES["per_session"].log_prob(trials, seen)[0]
    expected = {s: BASELINES["logistic"].log_prob(trials, session == s)[0] for s in (1, 3)}
    choice = trials.trajectory.choice[0]
    coin = choice * 0 - math.log(2)
    for s, what in ((0, coin), (1, expected[1]), (2, expected[1]), (3, expected[3])):
        assert torch.allclose(found[session[0] == s], what[session[0] == s], equal_nan=True)


def test_the_fixed_policy_is_the_posterior_mean_under_a_uniform_prior_and_the_coin_is_fair():
    trials = animals(THREE)
    choice, every = trials.trajectory.choice, trials.trial_types >= 0

    def expected(answers, among):
        count = torch.stack([(among == k).sum() for k in range(3)]).double()
        return torch.log((count + 1) / (count.sum() + 3))[answers[~answers.isnan()].long()]

    own, shared = (BASELINES["fixed"].log_prob(trials, every, shared=s) for s in (False, True))
    for i in range(2):
        assert torch.allclose(own[i][~choice[i].isnan()], expected(choice[i], choice[i]))
        assert torch.allclose(shared[i][~choice[i].isnan()], expected(choice[i], choice))
    coin = BASELINES["coin"].log_prob(trials, every)
    assert torch.allclose(coin[~choice.isnan()], torch.tensor(-math.log(3), dtype=torch.float64))
    assert torch.equal(coin.isnan(), choice.isnan())


# The random walk -------------------------------------------------------------------------------------


def drifting(meaning, count, drift, rng, day=0.0, sessions=1):
    """An animal whose weights drift."""
    rows = len(meaning.options) - 1
    x = np.column_stack([rng.normal(size=count), np.ones(count)])
    session = np.arange(count) * sessions // count
    w, choice = 0.5 * rng.normal(size=(rows + 1, 2)), np.zeros(count)
    for t in range(count):
        w += drift / math.sqrt(2) * rng.normal(size=w.shape)
        if t and session[t] != session[t - 1]:
            w += day / math.sqrt(2) * rng.normal(size=w.shape)
        choice[t] = np.argmax(w @ x[t] + rng.gumbel(size=rows + 1))
    nothing = np.full(count, math.nan)
    return {"choice": choice, "reward": nothing, "session": session, "trial": np.arange(count), "contrast": x[:, 0]}


def by_particles(drifts, d, rng, particles):
    """One-step-ahead probabilities by a bootstrap filter with weights for every answer, resampled after each."""
    answers, inputs = d.answers, d.x.shape[1]
    w = 2.5 / math.sqrt(2) * rng.normal(size=(particles, answers, inputs))
    out = np.full(len(d), math.nan)
    for t in range(len(d)):
        if t > 0:
            w = w + rng.normal(size=w.shape) * drifts[0] / math.sqrt(2)
            if d.new_session[t]:
                w = w + rng.normal(size=w.shape) * drifts[1] / math.sqrt(2)
        if d.choice[t] < 0:
            continue
        logit = w @ d.x[t]
        p = np.exp(logit - logit.max(axis=1, keepdims=True))
        p = p[:, d.choice[t]] / p.sum(axis=1)
        out[t] = math.log(p.mean())
        places = (np.arange(particles) + rng.random()) / particles
        w = w[np.minimum(np.searchsorted(np.cumsum(p) / p.sum(), places), particles - 1)]
    return out


@pytest.mark.parametrize("meaning", [NUMBER, WALK])
def test_the_random_walk_predicts_as_a_particle_filter_does(meaning):
    rng = np.random.default_rng(11)
    one = drifting(meaning, 300, 0.05, rng, 0.5, 3)
    one["choice"][[20, 21, 22, 150]] = math.nan
    d = Decisions.of(table([one], meaning))
    drifts = np.array([[0.08, 0.04], [0.3, 0.6]])
    found = BASELINES["random_walk"].given(drifts, d)
    exact = by_particles(drifts, d, rng, 20000)
    there = ~np.isnan(exact)
    assert (np.isnan(found) == ~there).all()
    # belief is not quite normal while it is wide; particles add an error of about .004
    assert np.sqrt(np.mean((np.exp(found[there]) - np.exp(exact[there])) ** 2)) < 0.012
    assert abs(found[there].mean() - exact[there].mean()) < 0.005


def test_the_random_walk_treats_all_answers_alike():
    rng = np.random.default_rng(12)
    for options in (2, 3, 4, 6):
        meaning = ChoiceColumns(tuple("abcdef"[:options]), ("contrast",))
        one = drifting(meaning, 150, 0.2, rng)
        tables = (one, {**one, "choice": (one["choice"] + 1) % options})
        drifts = np.full((2, 2), 0.2)
        first, second = (BASELINES["random_walk"].given(drifts, Decisions.of(table([t], meaning))) for t in tables)
        assert abs(first.mean() - second.mean()) < (0.01 if options > 2 else 1e-12)
        rms = np.sqrt(np.mean((np.exp(first) - np.exp(second)) ** 2))
        assert rms < (0.02 if options > 2 else 1e-12)


def test_drifts_are_found_again():
    rng = np.random.default_rng(13)
    every = [drifting(NUMBER, 1500, np.array([0.12, 0.02]), rng, np.array([0.0, 1.0]), 15) for _ in range(3)]
    d = Decisions.of(table(every, NUMBER))
    d = d.in_their_own_units(d.answered)
    found = BASELINES["random_walk"].fit(d, d.answered)
    assert 0.08 < found[0, 0] < 0.17
    assert found[0, 1] < 0.05
    assert 0.6 < found[1, 1] < 1.6


def test_drift_goes_by_trials_and_not_by_their_decisions():
    one = animal(ACCEPT, 60, np.random.default_rng(2), sessions=1)
    # the first trial's two decisions come before any drift
    pairs = Decisions.of(table([{**one, "trial": np.arange(60) // 2}], ACCEPT))
    drifts = np.full((2, 2), 0.5)
    still = BASELINES["random_walk"].given(drifts * 0, pairs)
    moved = BASELINES["random_walk"].given(drifts, pairs)
    assert np.allclose(still[:2], moved[:2], equal_nan=True)
    assert not np.allclose(still[2:], moved[2:], equal_nan=True)


# What the fit may see --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize("name", BASELINES)
def test_held_out_decisions_change_no_parameter_and_nothing_before_them(name, which):
    trials = animals(MEANINGS[which])
    seen = torch.arange(trials.trial_types.shape[1]).expand(2, -1) < 50
    other = altered(trials, ~seen & (trials.trial_types >= 0), np.random.default_rng(5))
    baseline = BASELINES[name]
    for shared in (False, True):
        before, after = (baseline.log_prob(t, seen, shared=shared) for t in (trials, other))
        assert torch.equal(before[seen].nan_to_num(9.0), after[seen].nan_to_num(9.0))
    mask = seen[trials.trial_types >= 0].numpy()
    parameters = []
    for t in (trials, other):
        d = Decisions.of(t)
        parameters.append(baseline.fit(d.in_their_own_units(mask & d.answered), mask & d.answered))
    assert np.array_equal(*parameters)


@pytest.mark.parametrize("name", BASELINES)
def test_an_animal_of_which_nothing_is_seen_is_predicted_from_the_others(name):
    trials = animals(NUMBER, (90, 70, 80))
    seen = torch.tensor([True, True, False])[:, None].expand(trials.trial_types.shape)
    other = altered(trials, ~seen & (trials.trial_types >= 0), np.random.default_rng(5))
    before, after = (BASELINES[name].log_prob(t, seen, shared=True) for t in (trials, other))
    assert torch.equal(before[:2].nan_to_num(9.0), after[:2].nan_to_num(9.0))
    there = ~trials.trajectory.choice.isnan()
    assert torch.isfinite(before[there]).all()
    alone = BASELINES[name].log_prob(trials, seen)
    assert torch.isfinite(alone[there]).all()
    if name in ("logistic", "per_session", "fixed"):  # the prior's mode: a coin
        assert torch.allclose(alone[2][there[2]], torch.tensor(-math.log(2), dtype=torch.float64))


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize("name", BASELINES)
def test_a_decision_changes_no_probability_before_it(name, which):
    trials = animals(MEANINGS[which])
    later = torch.arange(trials.trial_types.shape[1]).expand(2, -1) == 40
    other = altered(trials, later, np.random.default_rng(8))
    d, changed = Decisions.of(trials), Decisions.of(other)
    first, second = (BASELINES[name].given(some_parameters(name, x), x) for x in (d, changed))
    place = np.arange(len(d)) - np.repeat(d.start[:-1], np.diff(d.start))
    assert np.array_equal(first[place < 40], second[place < 40], equal_nan=True)
    animal_alone = BASELINES[name].given(some_parameters(name, d), d.animal(1))
    assert np.array_equal(first[d.start[1] :], animal_alone, equal_nan=True)


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize("name", [name for name in BASELINES if name != "random_walk"])  # where weights drift on
def test_decisions_without_an_answer_might_as_well_not_be_there(name, which):
    meaning = MEANINGS[which]
    one = animal(meaning, 100, np.random.default_rng(9))
    one["session"] = one["session"] * 0
    if "contrast" in one:
        one["contrast"] = np.sign(one["contrast"])
    answered = ~np.isnan(one["choice"])
    trials, fewer = table([one], meaning), table([{k: v[answered] for k, v in one.items()}], meaning)
    found, expected = (BASELINES[name].log_prob(t, t.trial_types >= 0)[0] for t in (trials, fewer))
    assert torch.isnan(found[~torch.as_tensor(answered)]).all()
    assert torch.allclose(found[torch.as_tensor(answered)], expected, atol=1e-6)


@pytest.mark.parametrize("name", BASELINES)
def test_units_of_the_table_do_not_matter(name):
    trials = animals(NUMBER)
    t = trials.trajectory
    fields = {**t.per_trial, "contrast": t.contrast * 0.01, "reward": t.reward * 100}
    other = replace(trials, trajectory=Trajectory(t.status, t.trial_types, fields))
    first, second = (BASELINES[name].log_prob(x, x.trial_types >= 0) for x in (trials, other))
    assert torch.allclose(first, second, atol=1e-5, equal_nan=True)


# Numbers of parameters, and odd tables ---------------------------------------------------------------


def test_numbers_of_parameters():
    expected = {
        "none": {
            "coin": 0,
            "fixed": 1,
            "logistic": 1,
            "per_session": 2,
            "random_walk": 2,
            "traces": 5,
            "q_learning": 4,
        },
        "three": {
            "coin": 0,
            "fixed": 2,
            "logistic": 4,
            "per_session": 8,
            "random_walk": 4,
            "traces": 8,
            "q_learning": 4,
        },
        "accept": {
            "coin": 0,
            "fixed": 1,
            "logistic": 2,
            "per_session": 4,
            "random_walk": 4,
            "traces": 6,
            "q_learning": 5,
        },
    }
    for which, sizes in expected.items():
        trials = animals(MEANINGS[which])
        for name, size in sizes.items():
            assert BASELINES[name].num_parameters(trials, shared=True) == size, (which, name)
            assert BASELINES[name].num_parameters(trials) == 2 * size
    assert BASELINES["random_walk"].num_parameters(table([animal(NUMBER, 9, np.random.default_rng(1), 1)], NUMBER)) == 2


@pytest.mark.parametrize("which", MEANINGS)
@pytest.mark.parametrize("name", BASELINES)
def test_tables_without_answers_or_rewards_or_with_one_decision(name, which):
    meaning, rng = MEANINGS[which], np.random.default_rng(3)
    silent, plain, short = animal(meaning, 20, rng), animal(meaning, 30, rng), animal(meaning, 1, rng, 1)
    silent["choice"] = silent["choice"] * math.nan
    plain["reward"] = plain["reward"] * math.nan
    trials = table([silent, plain, short], meaning)
    for shared in (False, True):
        found = BASELINES[name].log_prob(trials, trials.trial_types >= 0, shared=shared)
        assert torch.equal(torch.isfinite(found), ~trials.trajectory.choice.isnan())


def test_what_is_no_table_of_choices_or_no_mask_of_it_is_refused():
    trials = animals(NUMBER)
    every = trials.trial_types >= 0
    logistic = BASELINES["logistic"]
    with pytest.raises(ValueError, match="meaning"):
        logistic.log_prob(replace(trials, meaning=None), every)
    with pytest.raises(ValueError, match="boolean"):
        logistic.log_prob(trials, every.double())
    with pytest.raises(ValueError, match="shape"):
        logistic.log_prob(trials, every[:, :-1])
    t = trials.trajectory
    for name, value, words in (
        ("choice", 2.0, "choice must be a code from 0 to 1, got 2"),
        ("choice", 0.5, "got 0.5"),
        ("choice", math.inf, "got inf"),
        ("reward", -math.inf, "reward must be finite"),
        ("contrast", math.inf, "contrast must be a finite number for every decision, got inf"),
    ):
        fields = {**t.per_trial, name: torch.where(every, value, math.nan)}
        with pytest.raises(ValueError, match=words):
            logistic.log_prob(replace(trials, trajectory=Trajectory(t.status, t.trial_types, fields)), every)
    labelled = animals(THREE)
    runs = labelled.trajectory
    odd = Trajectory(runs.status, runs.trial_types, {**runs.per_trial, "cue": runs.cue + 1})
    with pytest.raises(ValueError, match="cue must be a code from 0 to 1, got 2"):
        logistic.log_prob(replace(labelled, trajectory=odd), labelled.trial_types >= 0)
    fields = {k: v for k, v in t.per_trial.items() if k != "contrast"}
    with pytest.raises(ValueError, match="'contrast'"):
        logistic.log_prob(replace(trials, trajectory=Trajectory(t.status, t.trial_types, fields)), every)


@pytest.mark.skipif(not MICE.exists(), reason="the table of mice is not here")
def test_mice_are_explained_as_far_as_is_known():
    import pandas as pd

    frame = pd.read_csv(MICE)
    rows = [
        {"choice": g.choice, "reward": g.correct, "session": g.session, "trial": g.trial, "contrast": g.contrast}
        for _, g in frame.groupby("mouse")
    ]
    trials = table(rows, NUMBER)
    for name, share, slack in (("logistic", 0.133, 5e-4), ("per_session", 0.230, 1e-3), ("random_walk", 0.214, 1e-2)):
        found = BASELINES[name].log_prob(trials, trials.trial_types >= 0).nansum()
        assert abs(1 - float(found) / (len(frame) * math.log(0.5)) - share) < slack
