"""What numba compiles for policies: the likelihood of choices under Taylor rules, and its gradient.

One animal under one rule after the other. The gradient is carried forward with the weights, dW/dtheta, so that memory does not
grow with trials. Sizes: O options with weights, F features, D coefficients, P terms. Columns of theta, in this order: terms,
rate of the expectation of reward, initial weights, bias, perseveration, lapse.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sbirules.support.compiling import compiled, inlined

__all__ = ["Columns", "Data", "Terms", "choices_log_prob"]


class Data(NamedTuple):
    """Decisions of all animals, one after another."""

    start: np.ndarray  # (animals + 1,) where each animal's decisions begin
    x: np.ndarray  # (decisions, F)
    choice: np.ndarray  # (decisions,) code, -1 without an answer
    reward: np.ndarray  # (decisions,) NaN where not known
    new_session: np.ndarray  # (decisions,) whether a session begins
    first: np.ndarray  # (decisions,) where the decision's trial begins
    last: np.ndarray  # (decisions,) whether its trial ends


class Terms(NamedTuple):
    """A Taylor rule, and how a trial teaches."""

    powers: np.ndarray  # (P, 7) of c, d, x, y, w, r, rd
    baseline: int  # 0 none, 1 exponential, 2 last
    rate: float
    memory: int  # rewards that the mean of the last ones takes
    decay_on_all: bool
    all_steps: bool


class Columns(NamedTuple):
    """Where coefficients stand in theta, -1 for none, and what the policy is."""

    initial: int
    rate: int
    bias: int
    perseveration: int
    lapse: int
    carried: int  # columns from the first on that weights depend on
    accept: bool


@compiled
def _power(base: float, exponent: int) -> float:
    out = 1.0
    for _ in range(exponent):
        out *= base
    return out


@compiled
def _slope(base: float, exponent: int) -> float:
    return 0.0 if exponent == 0 else exponent * _power(base, exponent - 1)


@inlined
def _policy(theta, columns, x, weights, carried, last, y, u, logit, dlogit, s):
    """Logits and probabilities without lapses, and their derivatives by the carried columns."""
    options, features = weights.shape
    for i in range(options):
        total = 0.0
        for j in range(features):
            total += weights[i, j] * x[j]
        y[i] = total
        for k in range(columns.carried):
            slope = 0.0
            for j in range(features):
                slope += carried[i, j, k] * x[j]
            u[i, k] = slope
            dlogit[i, k] = slope
        for k in range(columns.carried, dlogit.shape[1]):
            dlogit[i, k] = 0.0
        if columns.bias >= 0:
            at = columns.bias + i - (0 if columns.accept else 1)
            if i > 0 or columns.accept:
                total += theta[at]
                dlogit[i, at] += 1.0
        if columns.perseveration >= 0 and last == i + (1 if columns.accept else 0):
            total += theta[columns.perseveration]
            dlogit[i, columns.perseveration] += 1.0
        logit[i] = total
    if columns.accept:
        s[0] = 1.0 / (1.0 + np.exp(-logit[0]))
        return
    if options == 2:
        e = np.exp(-abs(logit[1] - logit[0]))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        s[0], s[1] = (small, large) if logit[1] > logit[0] else (large, small)
        return
    most = logit[0]
    for i in range(1, options):
        most = max(most, logit[i])
    total = 0.0
    for i in range(options):
        s[i] = np.exp(logit[i] - most)
        total += s[i]
    for i in range(options):
        s[i] /= total


@inlined
def _learn(theta, terms, columns, x, chosen, s, y, u, dlogit, reward, surprise, dsurprise, part, weights, carried,
           new_weights, new_carried, by_d, wide, gains, alone):  # fmt: skip
    """Adds what one decision teaches to new weights and their derivatives, which may be the old ones.

    `part` says which terms: 0 all, 1 only those of the weight alone, 2 all others.
    """
    options, features = weights.shape
    powers = terms.powers
    count = len(powers)
    known = reward == reward
    for i in range(options):
        c = 1.0 if (columns.accept and chosen == 1) or (not columns.accept and chosen == i) else 0.0
        d = c - s[i]
        if wide:  # derivative of the policy's error
            mean = 0.0
            for k in range(columns.carried):
                if columns.accept:
                    by_d[k] = -s[0] * (1.0 - s[0]) * dlogit[0, k]
                else:
                    mean = 0.0
                    for m in range(options):
                        mean += s[m] * dlogit[m, k]
                    by_d[k] = -s[i] * (dlogit[i, k] - mean)
        for j in range(features):
            w, feature = weights[i, j], x[j]
            total, slope_d, slope_y, slope_w, slope_rd = 0.0, 0.0, 0.0, 0.0, 0.0
            for t in range(count):
                gains[t] = 0.0
                # powers of c, d, x, y, w, r, rd
                if powers[t, 0] > 0 and c == 0.0:
                    continue
                if part != 0 and (part == 1) != alone[t]:
                    continue
                if not known and powers[t, 5] + powers[t, 6] > 0:
                    continue
                by_x, by_w, by_rd = powers[t, 2], powers[t, 4], powers[t, 6]
                value = 1.0
                if by_x > 0:
                    value = _power(feature, by_x)
                if powers[t, 5] > 0:
                    value *= _power(reward, powers[t, 5])
                others = 1.0  # of d and y
                if powers[t, 1] > 0:
                    others = _power(d, powers[t, 1])
                if powers[t, 3] > 0:
                    others *= _power(y[i], powers[t, 3])
                power_w = _power(w, by_w) if by_w > 0 else 1.0
                power_rd = _power(surprise, by_rd) if by_rd > 0 else 1.0
                whole = value * others * power_w * power_rd
                gains[t] = whole
                total += theta[t] * whole
                value *= theta[t]
                if by_w > 0:
                    slope_w += value * others * power_rd * (by_w if by_w == 1 else _slope(w, by_w))
                if powers[t, 1] > 0:
                    power_y = _power(y[i], powers[t, 3]) if powers[t, 3] > 0 else 1.0
                    slope_d += value * power_rd * power_w * power_y * _slope(d, powers[t, 1])
                if powers[t, 3] > 0:
                    power_d = _power(d, powers[t, 1]) if powers[t, 1] > 0 else 1.0
                    slope_y += value * power_rd * power_w * power_d * _slope(y[i], powers[t, 3])
                if by_rd > 0 and columns.rate >= 0:
                    slope_rd += value * others * power_w * _slope(surprise, by_rd)
            new_weights[i, j] += total
            if wide:
                for k in range(columns.carried):
                    new_carried[i, j, k] += slope_d * by_d[k] + slope_y * u[i, k] + slope_w * carried[i, j, k]
            elif slope_w != 0.0:
                for k in range(columns.carried):
                    new_carried[i, j, k] += slope_w * carried[i, j, k]
            for t in range(count):
                new_carried[i, j, t] += gains[t]
            if columns.rate >= 0:
                new_carried[i, j, columns.rate] += slope_rd * dsurprise


@compiled
def _animal(theta, terms, columns, data, animal, slope, with_slope, probability, with_probability):
    """Log-likelihood of one animal's choices under one rule; adds its gradient to `slope` `(D,)`.

    Writes the probability of each answer, `(decisions, answers)`, where that is asked for.
    """
    features = data.x.shape[1]
    answers = probability.shape[1]
    options = 1 if columns.accept else answers
    dim = len(theta)
    weights, new_weights = np.zeros((options, features)), np.zeros((options, features))
    carried = np.zeros((options, features, max(columns.carried, len(terms.powers))))
    new_carried = np.zeros_like(carried)
    y, logit, s = np.zeros(options), np.zeros(options), np.zeros(options)
    u, dlogit = np.zeros((options, dim)), np.zeros((options, dim))
    by_d = np.zeros(dim)
    if columns.initial >= 0:
        for j in range(features):
            if columns.accept:
                weights[0, j] = theta[columns.initial + j]
                carried[0, j, columns.initial + j] = 1.0
            else:  # of the others against the first option, around zero
                for i in range(1, options):
                    at = columns.initial + (i - 1) * features + j
                    for m in range(options):
                        share = (1.0 if m == i else 0.0) - 1.0 / options
                        weights[m, j] += share * theta[at]
                        carried[m, j, at] = share
    count = len(terms.powers)
    wide, gains, alone = False, np.zeros(count), np.zeros(count, dtype=np.bool_)
    for t in range(count):
        p = terms.powers[t]
        alone[t] = p[4] > 0 and p[0] + p[1] + p[2] + p[3] + p[5] + p[6] == 0  # a term of the weight alone
        if p[1] > 0 or p[3] > 0:
            wide = True
    lapse = theta[columns.lapse] if columns.lapse >= 0 else 0.0
    rate = theta[columns.rate] if columns.rate >= 0 else terms.rate
    if not (0.0 <= lapse <= 1.0 and 0.0 <= rate <= 1.0):
        return -np.inf
    expected, dexpected = 0.0, 0.0
    memory = np.zeros(terms.memory)
    seen = 0
    last, before = -1, -1
    out = 0.0
    for n in range(data.start[animal], data.start[animal + 1]):
        if data.new_session[n]:
            last = -1
        if data.first[n] == n:
            before = last  # answer before this trial
        chosen = data.choice[n]
        x = data.x[n]
        _policy(theta, columns, x, weights, carried, last, y, u, logit, dlogit, s)
        for i in range(options):
            out += 0.0 * logit[i]  # not a number where weights ran to infinity
        if with_probability:
            for i in range(answers):
                free = s[i] if not columns.accept else (s[0] if i == 1 else 1.0 - s[0])
                probability[n, i] = (1.0 - lapse) * free + lapse / answers
        if chosen >= 0:
            free = s[chosen] if not columns.accept else (s[0] if chosen == 1 else 1.0 - s[0])
            p_taken = (1.0 - lapse) * free + lapse / answers
            gain = (1.0 - lapse) * free / p_taken if p_taken > 0.0 else 1.0
            if p_taken > 1e-290:
                out += np.log(p_taken)
            elif columns.accept:  # underflow
                out += logit[0] if chosen == 1 else -logit[0]
            else:
                most = logit[0]
                for i in range(1, options):
                    most = max(most, logit[i])
                out += logit[chosen] - most
            if with_slope:
                for i in range(options):
                    if columns.accept:
                        pull = gain * ((1.0 if chosen == 1 else 0.0) - s[0])
                    else:
                        pull = gain * ((1.0 if chosen == i else 0.0) - s[i])
                    for k in range(dim):
                        slope[k] += pull * dlogit[i, k]
                if columns.lapse >= 0:
                    slope[columns.lapse] += (1.0 / answers - free) / max(p_taken, 1e-290)
        # what the trial teaches
        reward = data.reward[n]
        known = reward == reward
        ends = data.last[n]
        accepted = not columns.accept or chosen == 1
        if ends and chosen >= 0 and known and (accepted or terms.all_steps):
            surprise = reward - expected
            begin = data.first[n] if terms.all_steps else n
            if begin == n:
                _learn(theta, terms, columns, x, chosen, s, y, u, dlogit, reward, surprise, -dexpected, 0, weights, carried,
                       weights, carried, by_d, wide, gains, alone)  # fmt: skip
            else:
                new_weights[:] = 0.0
                new_carried[:] = 0.0
                previous = before
                for m in range(begin, n + 1):  # weights are those of the whole trial
                    _policy(theta, columns, data.x[m], weights, carried, previous, y, u, logit, dlogit, s)
                    if data.choice[m] >= 0:
                        part = 0 if m == n else 2  # a trial's weights decay once
                        _learn(theta, terms, columns, data.x[m], data.choice[m], s, y, u, dlogit, reward, surprise, -dexpected,
                               part, weights, carried, new_weights, new_carried, by_d, wide, gains, alone)  # fmt: skip
                        previous = data.choice[m]
                weights += new_weights
                carried += new_carried
            if terms.baseline == 1:
                dexpected += (reward - expected) - rate * dexpected
                expected += rate * (reward - expected)
            elif terms.baseline == 2:
                expected += (reward - memory[seen % terms.memory]) / terms.memory
                memory[seen % terms.memory] = reward
                seen += 1
        elif ends and terms.decay_on_all:
            _learn(theta, terms, columns, x, -1, s, y, u, dlogit, np.nan, 0.0, 0.0, 1, weights, carried, weights, carried,
                   by_d, False, gains, alone)  # fmt: skip
        if chosen >= 0:
            last = chosen
    return out


@compiled
def choices_log_prob(
    theta: Any, terms: Any, columns: Any, data: Any, begin: int, end: int, value: Any, slope: Any, with_slope: bool,
    probability: Any, with_probability: bool,
) -> None:  # fmt: skip
    """Log-likelihood of each animal's choices under its rule, for pairs of a rule and an animal from `begin` to `end`.

    Arguments:
        theta: `(rules, animals, D)`.
        value: Log-likelihoods, `(rules, animals)`, written.
        slope: Gradients, `(rules, animals, D)`, written where `with_slope`.
        probability: Of each answer, `(rules, decisions, answers)`, written where `with_probability`.
    """
    animals = theta.shape[1]
    for pair in range(begin, end):
        row, animal = pair // animals, pair % animals
        place = probability[row] if with_probability else probability[0]
        if with_slope:
            slope[row, animal] = 0.0
        value[row, animal] = _animal(
            theta[row, animal], terms, columns, data, animal, slope[row, animal] if with_slope else slope[0, 0], with_slope,
            place, with_probability,
        )  # fmt: skip
