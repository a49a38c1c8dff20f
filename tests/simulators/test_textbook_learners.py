"""Classical learners are points of `TaylorRule`: each against its textbook's equations, step by step.

Loops hold values, not logits: p = softmax(beta V). alpha and eta are rates, beta an inverse temperature, phi forgetting.
"""

import math

import numpy as np
import pytest
import torch
from choosing import table, together

import sbirules as sr
from sbirules.model.rules import TaylorRule
from sbirules.simulators import PolicyNetwork

TRIALS = 80


def softmax(values):
    parts = np.exp(values - np.max(values))
    return parts / parts.sum()


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def close(got, wanted):
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=0, atol=1e-10)


def given(family, trials, engine="numba", nuisance=(), **settings):
    """Probabilities of answers at each decision by theta's names, of a policy without nuisances unless they are asked for."""
    simulator = PolicyNetwork(family, nuisance=nuisance, engine=engine, **settings).suited(trials)
    likelihood = simulator.likelihood(trials)

    def probabilities(**theta):
        assert set(theta) == set(simulator.names)
        row = torch.tensor([[theta[name] for name in simulator.names]], dtype=torch.float64)
        return likelihood.probabilities(row)[0].numpy()

    return probabilities


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=["numba", "torch"])
def engine(request):
    return request.param


def test_q_learning_of_a_bandit(rng, engine):
    alpha, beta = 0.3, 2.5
    choice, reward = rng.integers(2, size=TRIALS), rng.integers(2, size=TRIALS).astype(float)
    q, wanted = np.zeros(2), []
    for c, r in zip(choice, reward, strict=True):
        wanted.append(softmax(beta * q))
        q[c] += alpha * (r - q[c])
    p = given(TaylorRule(["c x r", "c x w"], baseline="none"), table(choice, reward), engine)
    close(p(c_x_r=alpha * beta, c_x_w=-alpha), wanted)


def test_q_learning_of_three_options_under_cues(rng, engine):
    alpha, beta = 0.4, 3.0
    cue, choice = rng.integers(4, size=TRIALS), rng.integers(3, size=TRIALS)
    reward = rng.normal(size=TRIALS)
    q, wanted = np.zeros((3, 4)), []
    for k, c, r in zip(cue, choice, reward, strict=True):
        wanted.append(softmax(beta * q[:, k]))
        q[c, k] += alpha * (r - q[c, k])
    labels = {"cue": ("red", "green", "blue", "none")}
    trials = table(choice, reward, options=("left", "middle", "right"), labels=labels, cue=cue)
    p = given(TaylorRule(["c x r", "c x w"], baseline="none"), trials, engine)
    close(p(c_x_r=alpha * beta, c_x_w=-alpha), wanted)


def test_q_learning_with_first_values_and_lapses(rng, engine):
    """First values that sum to zero under each cue: only their difference is a coefficient."""
    alpha, beta, lapse = 0.25, 2.0, 0.12
    first = np.array([0.4, -0.7])  # of option 1 above option 0, under each cue
    cue, choice = rng.integers(2, size=TRIALS), rng.integers(2, size=TRIALS)
    reward = rng.integers(2, size=TRIALS).astype(float)
    q, wanted = np.stack([-first / 2, first / 2]), []
    for k, c, r in zip(cue, choice, reward, strict=True):
        wanted.append((1 - lapse) * softmax(beta * q[:, k]) + lapse / 2)
        q[c, k] += alpha * (r - q[c, k])
    trials = table(choice, reward, labels={"cue": ("A", "B")}, cue=cue)
    p = given(TaylorRule(["c x r", "c x w"], baseline="none"), trials, engine, nuisance=("initial", "lapse"))
    values = {"w0_cue_A": beta * first[0], "w0_cue_B": beta * first[1], "lapse": lapse}
    close(p(c_x_r=alpha * beta, c_x_w=-alpha, **values), wanted)


def test_q_learning_with_forgetting_of_all_others_and_of_stimuli_not_shown(rng, engine):
    alpha, beta, phi = 0.5, 2.0, 0.08
    cue, choice = rng.integers(3, size=TRIALS), rng.integers(2, size=TRIALS)
    reward = rng.integers(2, size=TRIALS).astype(float)
    q, wanted = np.zeros((2, 3)), []
    for k, c, r in zip(cue, choice, reward, strict=True):
        wanted.append(softmax(beta * q[:, k]))
        chosen = q[c, k] + alpha * (r - q[c, k])
        q *= 1 - phi
        q[c, k] = chosen
    trials = table(choice, reward, labels={"cue": ("A", "B", "C")}, cue=cue)
    p = given(TaylorRule(["c x r", "w", "c x w"], baseline="none"), trials, engine)
    close(p(c_x_r=alpha * beta, w=-phi, c_x_w=-(alpha - phi)), wanted)


@pytest.mark.parametrize("constant", [True, False])
def test_rescorla_wagner_with_several_features(rng, engine, constant):
    alpha, beta = 0.15, 1.8
    stimuli = {name: rng.normal(size=TRIALS) for name in ("light", "tone", "odour")}
    choice, reward = rng.integers(3, size=TRIALS), rng.normal(1, 1, size=TRIALS)
    x = np.stack([*stimuli.values(), *([np.ones(TRIALS)] if constant else [])], axis=1)
    v, wanted = np.zeros((3, x.shape[1])), []
    for t in range(TRIALS):
        wanted.append(softmax(beta * v @ x[t]))
        predicted = v[choice[t]] @ x[t]  # the sum over all that is present
        v[choice[t]] += alpha * (reward[t] - predicted) * x[t]
    trials = table(choice, reward, options=("a", "b", "c"), **stimuli)
    p = given(TaylorRule(["c x r", "c x y"], baseline="none"), trials, engine, constant=constant)
    close(p(c_x_r=alpha * beta, c_x_y=-alpha), wanted)


@pytest.mark.parametrize("baseline", ["none", "exponential", "last"])
def test_reinforce_with_a_weight_for_every_option(rng, engine, baseline):
    """Up the gradient of (r - rbar) log pi by the weights of all options."""
    eta, beta, rate, window = 0.2, 1.6, 0.17, 5
    contrast, choice, reward = rng.normal(size=TRIALS), rng.integers(3, size=TRIALS), rng.normal(size=TRIALS)
    x = np.stack([contrast, np.ones(TRIALS)], axis=1)
    v, rbar, wanted = np.zeros((3, 2)), 0.0, []
    for t in range(TRIALS):
        p = softmax(beta * v @ x[t])
        wanted.append(p)
        for option in range(3):
            slope = beta * ((1.0 if option == choice[t] else 0.0) - p[option]) * x[t]  # of log pi(choice)
            v[option] += eta * (reward[t] - rbar) * slope
        if baseline == "exponential":
            rbar = (1 - rate) * rbar + rate * reward[t]
        elif baseline == "last":
            rbar = sum(reward[max(0, t - window + 1) : t + 1]) / window
    trials = table(choice, reward, options=("a", "b", "c"), contrast=contrast)
    term = "d x r" if baseline == "none" else "d x rd"
    p = given(TaylorRule([term], baseline=baseline, rate=rate, last=window), trials, engine)
    close(p(**{term.replace(" ", "_"): eta * beta**2}), wanted)


@pytest.mark.parametrize("with_baseline", [False, True])
def test_reinforce_of_two_options_against_one_logistic_weight(rng, engine, with_baseline):
    """One weight for a difference moves as fast as two that move apart at half the rate."""
    eta, beta, rate = 0.3, 1.4, 0.2
    contrast, choice = rng.normal(size=TRIALS), rng.integers(2, size=TRIALS)
    reward = rng.integers(2, size=TRIALS).astype(float)
    x = np.stack([contrast, np.ones(TRIALS)], axis=1)
    first = np.array([0.5, -0.3])
    v, rbar, wanted = first.copy(), 0.0, []
    for t in range(TRIALS):
        right = sigmoid(beta * v @ x[t])
        wanted.append([1 - right, right])
        slope = beta * (choice[t] - right) * x[t]
        v = v + eta * (reward[t] - rbar) * slope
        rbar += rate * (reward[t] - rbar) if with_baseline else 0.0
    trials = table(choice, reward, contrast=contrast)
    term = "d x rd" if with_baseline else "d x r"
    family = TaylorRule([term], baseline="exponential" if with_baseline else "none", rate=rate)
    p = given(family, trials, engine, nuisance=("initial",))
    start = {"w0_contrast": beta * first[0], "w0_constant": beta * first[1]}
    close(p(**{term.replace(" ", "_"): eta * beta**2 / 2}, **start), wanted)


def test_reinforce_of_accepting_or_rejecting_with_every_step_of_a_trial(rng):
    """Offers come until one is accepted; the trial's reward teaches at every one of them, from the weights before it."""
    eta, beta = 0.25, 1.5
    trial, smell, choice, reward = [], [], [], []
    for n in range(40):
        offers = int(rng.integers(1, 5))
        gave_up = rng.random() < 0.2
        got = float(rng.integers(2))
        for k in range(offers):
            last = k == offers - 1
            trial.append(n)
            smell.append(rng.normal())
            choice.append(1 if last and not gave_up else 0)
            reward.append(got if last else math.nan)
    x = np.stack([smell, np.ones(len(smell))], axis=1)
    v, wanted = np.zeros(2), []
    for n in range(40):
        steps = [t for t in range(len(trial)) if trial[t] == n]
        slope = np.zeros(2)
        for t in steps:
            accepted = sigmoid(beta * v @ x[t])
            wanted.append([1 - accepted, accepted])
            slope += beta * (choice[t] - accepted) * x[t]
        v = v + eta * reward[steps[-1]] * slope
    trials = table(choice, reward, trial=trial, accept=True, options=("reject", "accept"), smell=np.array(smell))
    p = given(TaylorRule(["d x r"], baseline="none"), trials, credit="all_steps")
    close(p(d_x_r=eta * beta**2), wanted)


def test_reward_modulated_hebb(rng, engine):
    """Each option's unit fires at V x; dV = eta (V x) x r."""
    eta, beta = 0.06, 1.7
    stimuli = {name: rng.normal(size=TRIALS) for name in ("left", "right")}
    choice, reward = rng.integers(2, size=TRIALS), rng.integers(-1, 2, size=TRIALS).astype(float)
    x = np.stack(list(stimuli.values()), axis=1)
    first = np.array([0.6, -0.5])
    v, wanted = np.stack([-first / 2, first / 2]), []
    for t in range(TRIALS):
        wanted.append(softmax(beta * v @ x[t]))
        v = v + eta * np.outer(v @ x[t], x[t]) * reward[t]
    p = given(
        TaylorRule(["y x r"], baseline="none"),
        table(choice, reward, **stimuli),
        engine,
        nuisance=("initial",),
        constant=False,
    )
    close(p(x_y_r=eta, w0_left=beta * first[0], w0_right=beta * first[1]), wanted)


def oja(x, first, eta, beta):
    """Probabilities of the answers of units that follow Oja (1982): dV = eta a (x - a V) with a = V x."""
    v, out = np.stack([-first / 2, first / 2]), []
    for seen in x:
        out.append(softmax(beta * v @ seen))
        activity = v @ seen
        v = v + eta * activity[:, None] * (seen[None] - activity[:, None] * v)
    return out


def test_oja(rng, engine):
    eta, beta = 0.05, 2.2
    stimuli = {name: rng.normal(size=TRIALS) for name in ("left", "right")}
    choice, reward = rng.integers(2, size=TRIALS), np.ones(TRIALS)
    first = np.array([0.9, -0.4])
    wanted = oja(np.stack(list(stimuli.values()), axis=1), first, eta, beta)
    p = given(
        TaylorRule(["x y", "y^2 w"], baseline="none"),
        table(choice, reward, **stimuli),
        engine,
        nuisance=("initial",),
        constant=False,
    )
    close(p(x_y=eta, y2_w=-eta / beta**2, w0_left=beta * first[0], w0_right=beta * first[1]), wanted)


def test_oja_as_a_local_rule(rng):
    """A rule that no reward gates is a policy's rule, too."""
    eta, beta = 0.05, 2.2
    stimuli = {name: rng.normal(size=TRIALS) for name in ("left", "right")}
    trials = table(rng.integers(2, size=TRIALS), np.ones(TRIALS), **stimuli)
    first = np.array([0.9, -0.4])
    wanted = oja(np.stack(list(stimuli.values()), axis=1), first, eta, beta)
    p = given(sr.Oja(), trials, "auto", nuisance=("initial",), constant=False)
    close(p(hebb=eta, decay=eta / beta**2, w0_left=beta * first[0], w0_right=beta * first[1]), wanted)


def test_rewards_above_the_mean_of_the_last_ten_with_zeros_at_first(rng, engine):
    eta = 0.4
    choice, reward = rng.integers(2, size=TRIALS), rng.integers(2, size=TRIALS).astype(float)
    w, memory, wanted = np.zeros(2), [0.0] * 10, []
    for c, r in zip(choice, reward, strict=True):
        wanted.append(softmax(w))
        w[c] += eta * (r - sum(memory) / 10)
        memory = [*memory[1:], r]
    p = given(TaylorRule(["c x rd"], baseline="last", last=10), table(choice, reward), engine)
    close(p(c_x_rd=eta), wanted)


def with_gaps(rng):
    """Choices and rewards, of which a fifth each are missing."""
    choice = rng.integers(2, size=TRIALS).astype(float)
    reward = rng.integers(2, size=TRIALS).astype(float)
    choice[rng.random(TRIALS) < 0.2] = math.nan
    reward[rng.random(TRIALS) < 0.2] = math.nan
    return choice, reward


def test_trials_without_an_answer_or_a_known_reward_leave_a_learner_as_it_is(rng, engine):
    alpha, beta, phi = 0.5, 2.0, 0.1
    choice, reward = with_gaps(rng)
    q, wanted = np.zeros(2), []
    for c, r in zip(choice, reward, strict=True):
        wanted.append(softmax(beta * q))
        if not (math.isnan(c) or math.isnan(r)):
            other = 1 - int(c)
            q[int(c)] += alpha * (r - q[int(c)])
            q[other] -= phi * q[other]
    family = TaylorRule(["c x r", "w", "c x w"], baseline="none")
    p = given(family, table(choice, reward), engine)
    close(p(c_x_r=alpha * beta, w=-phi, c_x_w=-(alpha - phi)), wanted)


def test_forgetting_can_go_on_in_trials_that_teach_nothing(rng, engine):
    alpha, beta, phi = 0.5, 2.0, 0.1
    choice, reward = with_gaps(rng)
    q, wanted = np.zeros(2), []
    for c, r in zip(choice, reward, strict=True):
        wanted.append(softmax(beta * q))
        taught = None if math.isnan(c) or math.isnan(r) else int(c)
        for option in range(2):
            q[option] += alpha * (r - q[option]) if option == taught else -phi * q[option]
    family = TaylorRule(["c x r", "w", "c x w"], baseline="none")
    p = given(family, table(choice, reward), engine, decay_on="all")
    close(p(c_x_r=alpha * beta, w=-phi, c_x_w=-(alpha - phi)), wanted)


def test_values_go_on_over_sessions_and_the_answer_before_does_not(rng, engine):
    alpha, beta, again = 0.3, 2.0, 0.7
    choice, reward = rng.integers(2, size=TRIALS), rng.integers(2, size=TRIALS).astype(float)
    session = np.arange(TRIALS) // 16
    q, wanted = np.zeros(2), []
    for t in range(TRIALS):
        logit = beta * q
        if t and session[t] == session[t - 1]:
            logit = logit + again * np.eye(2)[choice[t - 1]]
        wanted.append(softmax(logit))
        q[choice[t]] += alpha * (reward[t] - q[choice[t]])
    family = TaylorRule(["c x r", "c x w"], baseline="none")
    p = given(family, table(choice, reward, session=session), engine, nuisance=("perseveration",))
    close(p(c_x_r=alpha * beta, c_x_w=-alpha, perseveration=again), wanted)


def test_each_animal_learns_for_itself(rng, engine):
    """Two animals in one table are those of two tables."""
    alpha, beta = 0.3, 2.5
    wanted, tables = [], []
    for count in (50, 30):
        choice, reward = rng.integers(2, size=count), rng.integers(2, size=count).astype(float)
        q = np.zeros(2)
        for c, r in zip(choice, reward, strict=True):
            wanted.append(softmax(beta * q))
            q[c] += alpha * (r - q[c])
        tables.append(table(choice, reward))
    p = given(TaylorRule(["c x r", "c x w"], baseline="none"), together(*tables), engine)
    close(p(c_x_r=alpha * beta, c_x_w=-alpha), wanted)
