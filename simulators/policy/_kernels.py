"""What numba compiles for policies: one animal's choices under one Taylor rule, and what each was made with.

Sizes: O options with weights, F features, D coefficients, P terms. Columns of theta, in this order:
terms, rate of the expectation of reward, initial weights, bias, perseveration, lapse.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sbirules.support.compiling import compiled, inlined

__all__ = ["Columns", "Data", "Kept", "Terms", "forward", "power", "teaches_by", "without_lapse"]


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
    alone: np.ndarray  # (P,) whether of the weight alone
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
    accept: bool


class Kept(NamedTuple):
    """What each decision of an animal was made with."""

    weights: np.ndarray  # (decisions, O, F)
    y: np.ndarray  # (decisions, O)
    s: np.ndarray  # (decisions, O) probabilities without lapses
    expected: np.ndarray  # (decisions,) reward
    last: np.ndarray  # (decisions,) answer before


@compiled
def power(base: float, exponent: int) -> float:
    out = base if exponent > 0 else 1.0
    for _ in range(exponent - 1):
        out *= base
    return out


@inlined
def _policy(theta, columns, x, n, weights, last, kept, k, logit):
    """Logits and probabilities without lapses of a decision, number `n` of all and `k` of the animal's."""
    y, s = kept.y, kept.s
    options, features = weights.shape
    for i in range(options):
        total = 0.0
        for j in range(features):
            total += weights[i, j] * x[n, j]
        y[k, i] = total
        if columns.bias >= 0:
            at = columns.bias + i - (0 if columns.accept else 1)
            if i > 0 or columns.accept:
                total += theta[at]
        if columns.perseveration >= 0 and last == i + (1 if columns.accept else 0):
            total += theta[columns.perseveration]
        logit[i] = total
    if columns.accept:
        s[k, 0] = 1.0 / (1.0 + np.exp(-logit[0]))
        return
    if options == 2:
        e = np.exp(-abs(logit[1] - logit[0]))
        small, large = e / (1.0 + e), 1.0 / (1.0 + e)
        s[k, 0], s[k, 1] = (small, large) if logit[1] > logit[0] else (large, small)
        return
    most = logit[0]
    for i in range(1, options):
        most = max(most, logit[i])
    total = 0.0
    for i in range(options):
        s[k, i] = np.exp(logit[i] - most)
        total += s[k, i]
    for i in range(options):
        s[k, i] /= total


@inlined
def without_lapse(columns, answer, s, k):
    """Probability of an answer without lapses."""
    if columns.accept:
        return s[k, 0] if answer == 1 else 1.0 - s[k, 0]
    return s[k, answer]


@inlined
def _learn(theta, terms, columns, x, n, chosen, kept, k, reward, surprise, part, change):
    """Adds what one decision teaches to the change of weights.

    `part` says which terms: 0 all, 1 only those of the weight alone, 2 all others.
    """
    s, y, weights = kept.s, kept.y, kept.weights
    options, features = change.shape
    known = reward == reward
    for t in range(len(terms.powers)):
        p = terms.powers[t]  # of c, d, x, y, w, r, rd
        if (part != 0 and (part == 1) != terms.alone[t]) or (not known and p[5] + p[6] > 0):
            continue
        trial = theta[t]
        if p[5] > 0:
            trial *= power(reward, p[5])
        if p[6] > 0:
            trial *= power(surprise, p[6])
        for i in range(options):
            c = 1.0 if (columns.accept and chosen == 1) or (not columns.accept and chosen == i) else 0.0
            if p[0] > 0 and c == 0.0:
                continue
            option = trial
            if p[1] > 0:
                option *= power(c - s[k, i], p[1])
            if p[3] > 0:
                option *= power(y[k, i], p[3])
            for j in range(features):
                value = option
                if p[2] > 0:
                    value *= power(x[n, j], p[2])
                if p[4] > 0:
                    value *= power(weights[k, i, j], p[4])
                change[i, j] += value


@inlined
def teaches_by(terms, columns, data, n):
    """Whether weights change after a decision: 0 not, 1 by all terms, 2 by decay alone."""
    if not data.last[n]:
        return 0
    chosen, reward = data.choice[n], data.reward[n]
    if chosen >= 0 and reward == reward and (not columns.accept or chosen == 1 or terms.all_steps):
        return 1
    return 2 if terms.decay_on_all else 0


@compiled
def forward(theta, terms, columns, data, animal, kept, probability, with_probability):
    """Log-likelihood of one animal's choices under one rule; writes what each decision was made with.

    Writes the probability of each answer, `(decisions, answers)`, where that is asked for.
    """
    features = data.x.shape[1]
    answers = probability.shape[1]
    options = 1 if columns.accept else answers
    weights, change = np.zeros((options, features)), np.zeros((options, features))
    logit = np.zeros(options)
    if columns.initial >= 0:
        for j in range(features):
            if columns.accept:
                weights[0, j] = theta[columns.initial + j]
            else:  # of the others against the first option, around zero
                for i in range(1, options):
                    at = columns.initial + (i - 1) * features + j
                    for m in range(options):
                        weights[m, j] += ((1.0 if m == i else 0.0) - 1.0 / options) * theta[at]
    lapse = theta[columns.lapse] if columns.lapse >= 0 else 0.0
    rate = theta[columns.rate] if columns.rate >= 0 else terms.rate
    if not (0.0 <= lapse <= 1.0 and 0.0 <= rate <= 1.0):
        return -np.inf
    expected = 0.0
    memory = np.zeros(terms.memory)
    seen = 0
    last = -1
    out = 0.0
    begin = data.start[animal]
    for n in range(begin, data.start[animal + 1]):
        k = n - begin
        if data.new_session[n]:
            last = -1
        chosen = data.choice[n]
        _policy(theta, columns, data.x, n, weights, last, kept, k, logit)
        kept.expected[k], kept.last[k] = expected, last
        for i in range(options):
            out += 0.0 * logit[i]  # not a number where weights ran to infinity
            for j in range(features):
                kept.weights[k, i, j] = weights[i, j]
        if with_probability:
            for i in range(answers):
                probability[n, i] = (1.0 - lapse) * without_lapse(columns, i, kept.s, k) + lapse / answers
        if chosen >= 0:
            taken = (1.0 - lapse) * without_lapse(columns, chosen, kept.s, k) + lapse / answers
            if taken > 1e-290:
                out += np.log(taken)
            elif columns.accept:  # underflow
                out += logit[0] if chosen == 1 else -logit[0]
            else:
                most = logit[0]
                for i in range(1, options):
                    most = max(most, logit[i])
                out += logit[chosen] - most
            last = chosen
        teaches = teaches_by(terms, columns, data, n)
        if teaches == 0:
            continue
        for i in range(options):
            for j in range(features):
                change[i, j] = 0.0
        reward = data.reward[n] if teaches == 1 else np.nan
        surprise = reward - expected
        # weights are those of the whole trial, and decay once
        for m in range(data.first[n] if teaches == 1 and terms.all_steps else n, n + 1):
            if teaches == 2:
                _learn(theta, terms, columns, data.x, n, -1, kept, k, reward, surprise, 1, change)
            elif data.choice[m] >= 0:
                part = 0 if m == n else 2
                _learn(
                    theta, terms, columns, data.x, m, data.choice[m], kept, m - begin, reward, surprise, part, change
                )
        if teaches == 1 and terms.baseline == 1:
            expected += rate * surprise
        elif teaches == 1 and terms.baseline == 2:
            expected += (reward - memory[seen % terms.memory]) / terms.memory
            memory[seen % terms.memory] = reward
            seen += 1
        for i in range(options):
            for j in range(features):
                weights[i, j] += change[i, j]
    return out
