"""The likelihood of choices without its gradient: several rules pass through an animal's decisions side by side.

Each operation runs over the rules in the innermost loop, where the compiler makes vectors of it. Logarithms are taken of
products of a few probabilities.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from sbirules.support.compiling import compiled

__all__ = ["LANES", "values_in_lanes"]

LANES = 16  # rules side by side
FACTORS = 8  # probabilities that are multiplied before a logarithm is taken; each is at least 1e-38
LEAST = 1e-38


@compiled
def _times_power(out, base, exponent):
    for _ in range(exponent):
        for b in range(len(out)):
            out[b] *= base[b]


@compiled
def _lanes(theta, terms, columns, data, animal, answers, until, earlier):
    """Log-likelihoods of one animal's choices under `LANES` rules `(D, LANES)`; in `earlier` of those before decision `until`."""
    lanes = theta.shape[1]
    features = data.x.shape[1]
    options = 1 if columns.accept else answers
    count = len(terms.powers)
    weights, change = np.zeros((options, features, lanes)), np.zeros((options, features, lanes))
    logit, y, s, d = (
        np.zeros((options, lanes)),
        np.zeros((options, lanes)),
        np.zeros((options, lanes)),
        np.zeros((options, lanes)),
    )
    most, total, product, part = np.zeros(lanes), np.zeros(lanes), np.ones(lanes), np.zeros(lanes)
    expected, surprise, rate, lapse, out = (
        np.zeros(lanes),
        np.zeros(lanes),
        np.zeros(lanes),
        np.zeros(lanes),
        np.zeros(lanes),
    )
    for b in range(lanes):
        rate[b] = theta[columns.rate, b] if columns.rate >= 0 else terms.rate
        lapse[b] = theta[columns.lapse, b] if columns.lapse >= 0 else 0.0
    p_taken = np.ones(lanes)
    for b in range(lanes):
        if not (0.0 <= lapse[b] <= 1.0 and 0.0 <= rate[b] <= 1.0):
            out[b] = -np.inf
    if columns.initial >= 0:
        for j in range(features):
            if columns.accept:
                for b in range(lanes):
                    weights[0, j, b] = theta[columns.initial + j, b]
            else:
                for i in range(1, options):
                    at = columns.initial + (i - 1) * features + j
                    for m in range(options):
                        share = (1.0 if m == i else 0.0) - 1.0 / options
                        for b in range(lanes):
                            weights[m, j, b] += share * theta[at, b]
    needs_y = False
    needs_rd = False
    for t in range(count):
        if terms.powers[t, 3] > 0:
            needs_y = True
        if terms.powers[t, 6] > 0:
            needs_rd = True
    memory = np.zeros(terms.memory)
    seen, last, multiplied = 0, -1, 0
    for n in range(data.start[animal], data.start[animal + 1]):
        if n == until:
            for b in range(lanes):
                earlier[b] = out[b] + np.log(product[b])
        if data.new_session[n]:
            last = -1
        chosen = data.choice[n]
        x = data.x[n]
        for i in range(options):
            for b in range(lanes):
                logit[i, b] = 0.0
            for j in range(features):
                if x[j] != 0.0:
                    for b in range(lanes):
                        logit[i, b] += weights[i, j, b] * x[j]
            if needs_y:
                for b in range(lanes):
                    y[i, b] = logit[i, b]
            if columns.bias >= 0 and (i > 0 or columns.accept):
                at = columns.bias + i - (0 if columns.accept else 1)
                for b in range(lanes):
                    logit[i, b] += theta[at, b]
            if columns.perseveration >= 0 and last == i + (1 if columns.accept else 0):
                for b in range(lanes):
                    logit[i, b] += theta[columns.perseveration, b]
        for i in range(options):
            for b in range(lanes):
                out[b] += 0.0 * logit[i, b]  # not a number where weights ran to infinity
        if options == 1:
            for b in range(lanes):
                s[0, b] = 1.0 / (1.0 + np.exp(-logit[0, b]))
        elif options == 2:
            for b in range(lanes):
                e = np.exp(-abs(logit[1, b] - logit[0, b]))
                large = 1.0 / (1.0 + e)
                small = e * large
                up = logit[1, b] > logit[0, b]
                s[0, b] = small if up else large
                s[1, b] = large if up else small
        else:
            for b in range(lanes):
                most[b] = logit[0, b]
                total[b] = 0.0
            for i in range(1, options):
                for b in range(lanes):
                    most[b] = max(most[b], logit[i, b])
            for i in range(options):
                for b in range(lanes):
                    s[i, b] = np.exp(logit[i, b] - most[b])
                    total[b] += s[i, b]
            for i in range(options):
                for b in range(lanes):
                    s[i, b] /= total[b]
        if chosen >= 0:
            least = 1.0
            for b in range(lanes):
                if columns.accept:
                    free = s[0, b] if chosen == 1 else 1.0 / (1.0 + np.exp(logit[0, b]))
                else:
                    free = s[chosen, b]
                p_taken[b] = (1.0 - lapse[b]) * free + lapse[b] / answers
                least = min(least, p_taken[b])
            if least < LEAST:
                for b in range(lanes):
                    if p_taken[b] < LEAST:  # underflow, from the logits
                        if columns.accept:
                            out[b] += logit[0, b] if chosen == 1 else -logit[0, b]
                        else:
                            top = logit[0, b]
                            for i in range(1, options):
                                top = max(top, logit[i, b])
                            rest = 0.0
                            for i in range(options):
                                rest += np.exp(logit[i, b] - top)
                            out[b] += logit[chosen, b] - top - np.log(rest)
                        p_taken[b] = 1.0
            for b in range(lanes):
                product[b] *= p_taken[b]
            multiplied += 1
            if multiplied == FACTORS:
                for b in range(lanes):
                    out[b] += np.log(product[b])
                    product[b] = 1.0
                multiplied = 0
        reward = data.reward[n]
        known = reward == reward
        learns = data.last[n] and chosen >= 0 and known and (not columns.accept or chosen == 1)
        decays = data.last[n] and terms.decay_on_all and not learns
        if learns or decays:
            if needs_rd:
                for b in range(lanes):
                    surprise[b] = reward - expected[b]
            for i in range(options):
                c = 1.0 if (columns.accept and chosen == 1) or (not columns.accept and chosen == i) else 0.0
                for b in range(lanes):
                    d[i, b] = c - s[i, b]
                for j in range(features):
                    for b in range(lanes):
                        change[i, j, b] = 0.0
                    for t in range(count):
                        p = terms.powers[t]
                        if p[0] and c == 0.0:
                            continue
                        if decays and (p[0] + p[1] + p[2] + p[3] + p[5] + p[6] > 0 or p[4] == 0):
                            continue
                        if p[2] and x[j] == 0.0:
                            continue
                        factor = 1.0
                        for _ in range(p[2]):
                            factor *= x[j]
                        for _ in range(p[5]):
                            factor *= reward
                        for b in range(lanes):
                            part[b] = theta[t, b] * factor
                        _times_power(part, d[i], p[1])
                        _times_power(part, y[i], p[3])
                        _times_power(part, weights[i, j], p[4])
                        _times_power(part, surprise, p[6])
                        for b in range(lanes):
                            change[i, j, b] += part[b]
            for i in range(options):
                for j in range(features):
                    for b in range(lanes):
                        weights[i, j, b] += change[i, j, b]
            if learns and terms.baseline == 1:
                for b in range(lanes):
                    expected[b] += rate[b] * (reward - expected[b])
            elif learns and terms.baseline == 2:
                for b in range(lanes):
                    expected[b] += (reward - memory[seen % terms.memory]) / terms.memory
                memory[seen % terms.memory] = reward
                seen += 1
        if chosen >= 0:
            last = chosen
    for b in range(lanes):
        out[b] += np.log(product[b])
    return out


@compiled
def values_in_lanes(
    theta: Any,
    terms: Any,
    columns: Any,
    data: Any,
    answers: int,
    begin: int,
    end: int,
    until: Any,
    value: Any,
    earlier: Any,
) -> None:
    """Log-likelihoods for blocks of rules from `begin` to `end`.

    Arguments:
        theta: `(blocks, animals, D, LANES)`; of one animal where all have the same rules.
        until: First decision of each animal, `(animals,)`, that does not count for `earlier`; -1 for none.
        value: `(blocks, animals, LANES)`, written.
        earlier: The same of the decisions before, written where there is one.
    """
    animals = value.shape[1]
    for block in range(begin, end):
        for animal in range(animals):
            value[block, animal] = _lanes(
                theta[block, animal % theta.shape[1]],
                terms,
                columns,
                data,
                animal,
                answers,
                until[animal],
                earlier[block, animal],
            )
