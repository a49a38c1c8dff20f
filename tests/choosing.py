"""Tables of choices written by hand, and a policy that learns from them in a plain loop over numbers."""

import math
from dataclasses import dataclass

import numpy as np
import torch

import sbirules as sr
from sbirules.model.choices import ChoiceColumns
from sbirules.model.runs import Trajectory
from sbirules.model.tables import Trials

ORDER = ("c", "d", "x", "y", "w", "r", "rd")


def table(choice, reward, session=None, trial=None, *, options=("0", "1"), labels=None, accept=False, **stimuli):
    """One animal's decisions as a table; NaN for no answer, and for a reward that is not known."""
    meaning = ChoiceColumns(tuple(options), tuple(stimuli), labels or {}, accept)
    count = len(choice)
    fields = {
        "choice": choice,
        "reward": reward,
        "session": np.zeros(count) if session is None else session,
        "trial": np.arange(count) if trial is None else trial,
        **stimuli,
    }
    fields = {n: torch.tensor(np.asarray(v, dtype=np.float64))[None] for n, v in fields.items()}
    types = torch.zeros(1, count, dtype=torch.long)
    return Trials(("a",), Trajectory(torch.zeros(1, dtype=torch.int8), types, fields), None, meaning)


def together(*tables):
    """Animals of several tables in one, padded at the end."""
    longest = max(one.trial_types.shape[1] for one in tables)

    def padded(rows, value):
        return torch.nn.functional.pad(rows, (0, longest - rows.shape[1]), value=value)

    names = tables[0].trajectory.per_trial
    fields = {n: torch.cat([padded(t.trajectory.per_trial[n], math.nan) for t in tables]) for n in names}
    types = torch.cat([padded(t.trial_types, -1) for t in tables])
    runs = Trajectory(torch.zeros(len(types), dtype=torch.int8), types, fields)
    return Trials(tuple(f"a{k}" for k in range(len(types))), runs, None, tables[0].meaning)


def decisions(trials, animal=0, constant=True):
    """An animal's decisions, one after another: features, answer, reward, session and trial as plain numbers."""
    meaning, fields = trials.meaning, trials.trajectory.per_trial
    out = []
    for t in range(int((trials.trial_types[animal] >= 0).sum())):
        x = []
        for name in meaning.stimuli:
            value = float(fields[name][animal, t])
            if name in meaning.labels:
                x += [1.0 if code == value else 0.0 for code in range(len(meaning.labels[name]))]
            else:
                x.append(value)
        if constant:
            x.append(1.0)
        choice, reward, session, trial = (float(fields[n][animal, t]) for n in ("choice", "reward", "session", "trial"))
        out.append((x, None if math.isnan(choice) else int(choice), reward, int(session), int(trial)))
    return out


@dataclass
class Policy:
    """What the loop below takes beside a rule's powers."""

    constant: bool = True
    baseline: str = "exponential"
    rate: float = 0.1
    last: int = 10
    credit: str = "accepted"
    decay_on: str = "answered"


def _softmax(logit, accept):
    """Probability of each answer; with accept-or-reject the one logit is against 0."""
    logit = [0.0, *logit] if accept else logit
    parts = [math.exp(v - max(logit)) for v in logit]
    return [p / sum(parts) for p in parts]


def by_loop(trials, powers, theta, policy, animal=0):
    """Probability of each answer at each decision, and the log-likelihood.

    `powers` are dictionaries of powers of `ORDER`; theta holds the terms' coefficients by position, and all others by name.
    """
    meaning = trials.meaning
    accept, answers = meaning.accept, len(meaning.options)
    told = decisions(trials, animal, policy.constant)
    features, units = len(told[0][0]), 1 if accept else answers
    others = [""] if units <= 2 else [f"_{name}" for name in meaning.options[1:]]
    names = []
    for name in meaning.stimuli:
        names += [f"{name}_{label}" for label in meaning.labels[name]] if name in meaning.labels else [name]
    names += ["constant"] if policy.constant else []

    def against_first(what):
        """Numbers of the options, from those of the others against the first, around zero."""
        given = [theta.get(what + ending, 0.0) for ending in others]
        if accept:
            return given
        return [v - sum(given) / units for v in (0.0, *given)]

    w = [list(column) for column in zip(*(against_first(f"w0_{name}") for name in names), strict=True)]
    bias = [theta.get(f"bias{ending}", 0.0) for ending in others]
    bias = bias if accept else [0.0, *bias]
    lapse, again = theta.get("lapse", 0.0), theta.get("perseveration", 0.0)
    rate = theta.get("rbar_rate", policy.rate)
    rewards = []  # of the trials that taught
    rbar = 0.0
    out, total = [], 0.0
    steps, before, now = [], None, None
    for n, (x, choice, reward, session, trial) in enumerate(told):
        if (session, trial) != now:
            steps = []
            if now is None or session != now[0]:
                before = None
            now = (session, trial)
        y = [sum(w[i][j] * x[j] for j in range(features)) for i in range(units)]
        code = [1] if accept else list(range(units))
        logit = [y[i] + bias[i] + (again if before == code[i] else 0.0) for i in range(units)]
        s = _softmax(logit, accept)
        p = [(1 - lapse) * v + lapse / answers for v in s]
        out.append(p)
        if choice is not None:
            total += math.log(p[choice])
            before = choice
            free = s[1:] if accept else s
            c = [1.0 if choice == k else 0.0 for k in code]
            steps.append({"x": x, "y": y, "c": c, "d": [a - b for a, b in zip(c, free, strict=True)]})
        if n + 1 < len(told) and told[n + 1][3:] == (session, trial):
            continue
        teaches = choice is not None and not math.isnan(reward)
        if accept and policy.credit == "accepted":
            teaches = teaches and choice == 1
            steps = steps[-1:]
        change = [[0.0] * features for _ in range(units)]
        for k, power in enumerate(powers):
            pure = set(power) == {"w"}
            if not teaches and not (pure and policy.decay_on == "all"):
                continue
            for i in range(units):
                for j in range(features):
                    if pure:
                        change[i][j] += theta[k] * w[i][j] ** power["w"]
                        continue
                    for step in steps:
                        seen = {"c": step["c"][i], "d": step["d"][i], "x": step["x"][j], "y": step["y"][i]}
                        seen |= {"w": w[i][j], "r": reward, "rd": reward - rbar}
                        change[i][j] += theta[k] * math.prod(seen[name] ** p for name, p in power.items())
        w = [[a + b for a, b in zip(row, more, strict=True)] for row, more in zip(w, change, strict=True)]
        if teaches:
            rewards.append(reward)
            if policy.baseline == "exponential":
                rbar += rate * (reward - rbar)
            elif policy.baseline == "last":
                rbar = sum(rewards[-policy.last :]) / policy.last
    return np.array(out), total


def written(power):
    """A term as a user writes it."""
    return " ".join(f"{name}^{k}" if k > 1 else name for name, k in power.items()) or "1"


class Told(sr.Task):
    """A task that says what answers and stimuli there are, and nothing else."""

    type_names = ("trial",)

    def __init__(self, meaning):
        self.meaning = meaning

    def tensors(self, dt):
        raise NotImplementedError
