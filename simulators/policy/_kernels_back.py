"""What numba compiles for policies: the likelihood of choices under Taylor rules, and its gradient.

One animal under one rule after the other. The gradient goes backwards through the decisions, whose weights and policies
were kept on the way, at a cost that does not grow with the number of coefficients.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from sbirules.support.compiling import compiled, inlined

from ._kernels import Kept, forward, power, teaches_by, without_lapse

__all__ = ["choices_log_prob"]


@compiled
def _slope(base: float, exponent: int) -> float:
    return 0.0 if exponent == 0 else exponent * power(base, exponent - 1)


@inlined
def _unlearn(theta, terms, columns, x, n, chosen, kept, k, reward, surprise, part, pull, slope, by_w, by_s, by_y):
    """The way back through `_learn`.

    Arguments:
        pull: Derivative by the weights after it, `(O, F)`.
        slope: By theta; added to.
        by_w: By the weights before it, `(O, F)`; added to.
        by_s: By the policy, `(O,)`; added to, as `by_y`.

    Returns the derivative by the surprise.
    """
    s, y, weights = kept.s, kept.y, kept.weights
    options, features = pull.shape
    known = reward == reward
    by_surprise = 0.0
    for t in range(len(terms.powers)):
        p = terms.powers[t]
        if (part != 0 and (part == 1) != terms.alone[t]) or (not known and p[5] + p[6] > 0):
            continue
        trial = power(reward, p[5]) if p[5] > 0 else 1.0
        surprises = power(surprise, p[6]) if p[6] > 0 else 1.0
        for i in range(options):
            c = 1.0 if (columns.accept and chosen == 1) or (not columns.accept and chosen == i) else 0.0
            if p[0] > 0 and c == 0.0:
                continue
            of_d = power(c - s[k, i], p[1]) if p[1] > 0 else 1.0
            of_y = power(y[k, i], p[3]) if p[3] > 0 else 1.0
            whole = trial * surprises * of_d * of_y
            total = 0.0
            for j in range(features):
                value = pull[i, j]
                if p[2] > 0:
                    value *= power(x[n, j], p[2])
                if p[4] > 0:
                    by_w[i, j] += theta[t] * whole * value * _slope(weights[k, i, j], p[4])
                    value *= power(weights[k, i, j], p[4])
                total += value
            slope[t] += whole * total
            total *= theta[t] * trial
            if p[1] > 0:
                by_s[i] -= total * surprises * of_y * _slope(c - s[k, i], p[1])
            if p[3] > 0:
                by_y[i] += total * surprises * of_d * _slope(y[k, i], p[3])
            if p[6] > 0:
                by_surprise += total * of_d * of_y * _slope(surprise, p[6])
    return by_surprise


@inlined
def _unpolicy(columns, x, n, kept, k, by_s, by_y, by_logit, by_w, slope):
    """The way back through `_policy`, from derivatives by probabilities, y and logits; empties these."""
    s, last = kept.s, kept.last[k]
    options, features = by_w.shape
    mean = 0.0
    if not columns.accept:
        for i in range(options):
            mean += by_s[i] * s[k, i]
    for i in range(options):
        of_logit = by_logit[i] + s[k, i] * ((1.0 - s[k, 0]) * by_s[i] if columns.accept else by_s[i] - mean)
        if columns.bias >= 0 and (i > 0 or columns.accept):
            slope[columns.bias + i - (0 if columns.accept else 1)] += of_logit
        if columns.perseveration >= 0 and last == i + (1 if columns.accept else 0):
            slope[columns.perseveration] += of_logit
        for j in range(features):
            by_w[i, j] += (of_logit + by_y[i]) * x[n, j]
        by_s[i], by_y[i], by_logit[i] = 0.0, 0.0, 0.0


@compiled
def _backward(theta, terms, columns, data, animal, answers, kept, slope):
    """Adds the gradient of one animal's log-likelihood to `slope` `(D,)`."""
    options, features = kept.weights.shape[1:]
    by_w, pull = np.zeros((options, features)), np.zeros((options, features))
    by_s, by_y, by_logit = np.zeros(options), np.zeros(options), np.zeros(options)
    by_expected = 0.0
    lapse = theta[columns.lapse] if columns.lapse >= 0 else 0.0
    rate = theta[columns.rate] if columns.rate >= 0 else terms.rate
    begin = data.start[animal]
    for n in range(data.start[animal + 1] - 1, begin - 1, -1):
        k, chosen = n - begin, data.choice[n]
        teaches = teaches_by(terms, columns, data, n)
        if teaches != 0:
            for i in range(options):
                for j in range(features):
                    pull[i, j] = by_w[i, j]
            reward = data.reward[n] if teaches == 1 else np.nan
            surprise = reward - kept.expected[k]
            by_surprise = 0.0
            for m in range(data.first[n] if teaches == 1 and terms.all_steps else n, n + 1):
                answer = data.choice[m] if teaches == 1 else -1
                if answer >= 0 or teaches == 2:
                    part = 1 if teaches == 2 else (0 if m == n else 2)
                    by_surprise += _unlearn(theta, terms, columns, data.x, m, answer, kept, m - begin, reward, surprise, part,
                                            pull, slope, by_w, by_s, by_y)  # fmt: skip
                if m < n:
                    _unpolicy(columns, data.x, m, kept, m - begin, by_s, by_y, by_logit, by_w, slope)
            if columns.rate >= 0 and teaches == 1:  # else it does not depend on theta
                slope[columns.rate] += by_expected * surprise
                by_expected = (1.0 - rate) * by_expected - by_surprise
        if chosen >= 0:
            free = without_lapse(columns, chosen, kept.s, k)
            taken = (1.0 - lapse) * free + lapse / answers
            gain = (1.0 - lapse) * free / taken if taken > 0.0 else 1.0
            for i in range(options):
                by_logit[i] = gain * ((1.0 if chosen == (1 if columns.accept else i) else 0.0) - kept.s[k, i])
            if columns.lapse >= 0:
                slope[columns.lapse] += (1.0 / answers - free) / max(taken, 1e-290)
        _unpolicy(columns, data.x, n, kept, k, by_s, by_y, by_logit, by_w, slope)
    if columns.initial >= 0:
        for j in range(features):
            if columns.accept:
                slope[columns.initial + j] += by_w[0, j]
            else:
                mean = 0.0
                for i in range(options):
                    mean += by_w[i, j] / options
                for i in range(1, options):
                    slope[columns.initial + (i - 1) * features + j] += by_w[i, j] - mean


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
    answers = probability.shape[2]
    options, longest = 1 if columns.accept else answers, 0
    for animal in range(animals):
        longest = max(longest, data.start[animal + 1] - data.start[animal])
    kept = Kept(
        np.empty((longest, options, data.x.shape[1])),
        np.empty((longest, options)),
        np.empty((longest, options)),
        np.empty(longest),
        np.empty(longest, dtype=np.int64),
    )
    for pair in range(begin, end):
        row, animal = pair // animals, pair % animals
        rule = theta[row, animal]
        place = probability[row] if with_probability else probability[0]
        value[row, animal] = forward(rule, terms, columns, data, animal, kept, place, with_probability)
        if with_slope:
            slope[row, animal] = 0.0
            if value[row, animal] > -np.inf:
                _backward(rule, terms, columns, data, animal, answers, kept, slope[row, animal])
