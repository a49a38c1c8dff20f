"""The exact likelihood of choices: of each, given what the animal saw, did and got before it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbirules.model.decisions import Decisions
from sbirules.model.rules import TaylorRule
from sbirules.support import arguments
from sbirules.support.streams import Stream, generator

from ._columns import PolicyColumns
from ._steps import Learner, answer_log_prob, decayed, learned, logits, started

__all__ = ["ChoiceLikelihood"]

ROWS = 4096  # pairs of a rule and an animal that torch steps through together
STEPS = 2000  # decisions that are worth a thread
BASELINES = {"none": 0, "exponential": 1, "last": 2}


class ChoiceLikelihood:
    """Of one table.

    Arguments:
        columns: Of theta.
        decisions: The table.
        credit: `"accepted"` or `"all_steps"`.
        decay_on: `"answered"` or `"all"`.
        engine: `"numba"` (Taylor rules) or `"torch"`.
        draws: With hidden units: draws of their first weights, the same for all rules, over which the likelihood of each animal
            is a mean (a pseudo-marginal; `monte_carlo_error` tells what so few leave open).
    """

    threads: int | None = None  # that rules are shared among; None for one per core

    def __init__(
        self, columns: PolicyColumns, decisions: Decisions, credit: str, decay_on: str, engine: str, draws: int = 1
    ) -> None:
        self.columns, self.decisions = columns, decisions
        self.credit, self.decay_on, self.engine = credit, decay_on, engine
        shape = (draws, columns.options * columns.hidden, len(columns.features))
        self.noise = torch.randn(shape, generator=generator(0, Stream.WEIGHTS), dtype=torch.float64)
        if engine == "numba":
            self.terms, self.places, self.data = _as_arrays(columns, decisions, credit, decay_on)

    @property
    def animals(self) -> int:
        """How many animals."""
        return self.decisions.animals

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-likelihood of each animal's choices, `(n, animals)` float64; -inf where impossible, never NaN.

        Arguments:
            theta: Rules of all animals `(n, D)`, or of each `(n, animals, D)`. Gradients flow.
        """
        theta = torch.as_tensor(theta)
        rows = self._rows(theta)
        if self.engine == "torch":
            return _finite(self._by_steps(rows))
        if torch.is_grad_enabled() and theta.requires_grad:
            out: Tensor = _WithSlope.apply(rows, self)  # type: ignore[no-untyped-call]
            return out
        if len(rows) > 1 and self.credit == "accepted":
            return _finite(self._in_lanes(rows if theta.ndim == 3 else rows[:, :1])[0])
        return _finite(self._compiled(rows, with_slope=False)[0])

    def log_prob_and_before(self, theta: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """`log_prob`, and that of each animal's first decisions alone, `(n, animals)` each, without gradients.

        Arguments:
            theta: As for `log_prob`.
            count: How many decisions come first, `(animals,)`.
        """
        theta = torch.as_tensor(theta).detach()
        rows = self._rows(theta)
        start, total = self.decisions.start[:-1], self.decisions.start.diff()
        if self.engine == "numba" and self.credit == "accepted":
            until = torch.where(count < total, start + count, -1)
            every, earlier = self._in_lanes(rows if theta.ndim == 3 else rows[:, :1], until)
            return _finite(every), _finite(torch.where(until >= 0, earlier, every))
        taken = self.decisions.choice.clamp(min=0)
        log = self.probabilities(theta).gather(2, taken[None, :, None].expand(len(rows), -1, 1))[..., 0].log()
        log = torch.where(self.decisions.choice >= 0, log, 0.0)
        animal = torch.repeat_interleave(torch.arange(self.animals), total)
        first = torch.arange(len(taken)) < (start + count)[animal]
        none = log.new_zeros(len(rows), self.animals)
        every = none.index_add(1, animal, log)
        return _finite(every), _finite(none.index_add(1, animal, torch.where(first, log, 0.0)))

    def _workers(self, rules: int) -> int:
        """Threads for so many rules: none for what takes less time than starting them."""
        return min(self.threads or os.cpu_count() or 1, 1 + rules * len(self.decisions.x) // STEPS)

    def _rows(self, theta: Tensor) -> Tensor:
        """Rules of each animal, `(n, animals, D)` float64."""
        return arguments.theta_of_animals(theta, self.animals, self.columns.names)

    def value_and_slope(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood `(n, animals)` and its gradient `(n, animals, D)` under rules `(n, D)` or `(n, animals, D)`."""
        rows = self._rows(torch.as_tensor(theta).detach())
        if self.engine == "numba":
            value, slope, _ = self._compiled(rows, with_slope=True)
            return _finite(value), _where_finite(slope, value)
        with torch.enable_grad():
            own = rows.clone().requires_grad_(True)
            value = self._by_steps(own)
            (slope,) = torch.autograd.grad(value.sum(), own)
        return _finite(value.detach()), _where_finite(slope, value.detach())

    def probabilities(self, theta: Tensor) -> Tensor:
        """Probability of each answer given the animal's own past, `(n, decisions, answers)`; theta as for `log_prob`."""
        rows = self._rows(torch.as_tensor(theta).detach())
        if self.engine == "numba":
            return self._compiled(rows, with_slope=False, with_probability=True)[2]
        count = self.decisions.start.diff()
        with torch.no_grad():
            by_draw = torch.stack([self._log_probs(rows, noise) for noise in self._noises()])
        padded = by_draw[0].exp()  # (n, animals, longest, answers)
        if self.columns.hidden:  # draws count as much as they predicted of what came before
            n = torch.arange(by_draw.shape[3]).clamp(max=len(self.decisions.choice))
            at = (self.decisions.start[:-1, None] + n).clamp(max=len(self.decisions.choice) - 1)
            choice = torch.where(n < count[:, None], self.decisions.choice[at], -1)  # (animals, longest)
            index = choice.clamp(min=0)[None, None, :, :, None].expand(*by_draw.shape[:-1], 1)
            taken = torch.where(choice >= 0, by_draw.gather(4, index)[..., 0], 0.0)
            weight = torch.softmax(taken.cumsum(dim=3) - taken, dim=0)
            padded = (weight[..., None] * by_draw.exp()).sum(dim=0)
        there = torch.arange(padded.shape[2]) < count[:, None]
        return padded[:, there]

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Of a feature, for one option: the second against the first of two, else each against the mean of all."""
        columns = self.columns
        if (
            self.credit == "all_steps" or columns.hidden
        ):  # which the steps below do not know; which logits do not add up
            return ()
        names = columns.meaning.options
        against: tuple[str, ...] = ("",) if columns.options == 1 else (f": {names[1]} over {names[0]}",)
        if columns.options > 2:
            against = tuple(f": {name}" for name in names)
        return tuple(f"{feature}{ending}" for ending in against for feature in columns.features)

    def weights(self, theta: Tensor, animals: Sequence[int], at: Tensor) -> Tensor:
        """Weights before some decisions of some animals, in logit units, `(n, A, points, W)` in the order of `weight_names`.

        Arguments:
            theta: Rules of each animal, `(n, animals, D)`.
            animals: Which, A of them.
            at: Decisions of each, `(A, points)`.
        """
        d, rows = self.decisions, self._rows(torch.as_tensor(theta).detach())
        out = []
        for k, animal in enumerate(animals):
            begin, end = int(d.start[animal]), int(d.start[animal + 1])
            every = {f.name: getattr(d, f.name)[begin:end] for f in fields(d) if f.name != "start"}
            every["first"] = every["first"] - begin
            own = Decisions(**every, start=torch.tensor([0, end - begin]))
            one = ChoiceLikelihood(self.columns, own, self.credit, self.decay_on, "torch")
            kept: list[Tensor] = []

            def seen(learner: Learner, _: Tensor, kept: list[Tensor] = kept) -> None:
                kept.append(learner.weights)

            with torch.no_grad():
                one._along(rows[:, animal : animal + 1], None, seen)
            found = torch.stack([kept[t] for t in at[k].tolist()], dim=1)  # (n, points, options, features)
            if found.shape[2] == 2:
                found = found[:, :, 1:] - found[:, :, :1]
            elif found.shape[2] > 2:
                found = found - found.mean(dim=2, keepdim=True)
            out.append(found.flatten(2))
        return torch.stack(out, dim=1)

    def _in_lanes(self, rows: Tensor, until: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values of rules `(n, animals, D)`, or `(n, 1, D)` of all animals, side by side; and of decisions before some."""
        from ._kernels_lanes import LANES, values_in_lanes

        n, _, dim = rows.shape
        blocks = -(-n // LANES)
        padded = torch.cat([rows.detach(), rows[-1:].detach().expand(blocks * LANES - n, -1, -1)])
        theta = padded.reshape(blocks, LANES, -1, dim).permute(0, 2, 3, 1).contiguous().numpy()
        value, earlier = np.empty((blocks, self.animals, LANES)), np.zeros((blocks, self.animals, LANES))
        answers = self.columns.answers
        ends = np.full(self.animals, -1) if until is None else until.numpy()

        def work(begin: int, end: int) -> None:
            values_in_lanes(theta, self.terms, self.places, self.data, answers, begin, end, ends, value, earlier)

        _in_threads(work, blocks, self._workers(n))
        every, before = (
            torch.from_numpy(v).permute(0, 2, 1).reshape(blocks * LANES, self.animals)[:n] for v in (value, earlier)
        )
        return every, before

    def _compiled(
        self, rows: Tensor, with_slope: bool, with_probability: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        from ._kernels_back import choices_log_prob

        n, animals, dim = rows.shape
        theta = rows.detach().numpy()
        value = np.empty((n, animals))
        slope = np.zeros((n, animals, dim) if with_slope else (1, 1, dim))
        answers = self.columns.answers
        probability = np.zeros(
            (n if with_probability else 1, len(self.decisions.x) if with_probability else 1, answers)
        )

        def work(begin: int, end: int) -> None:
            choices_log_prob(theta, self.terms, self.places, self.data, begin, end, value, slope, with_slope, probability,
                             with_probability)  # fmt: skip

        _in_threads(work, n * animals, self._workers(n))
        return torch.from_numpy(value), torch.from_numpy(slope), torch.from_numpy(probability)

    def monte_carlo_error(self, theta: Tensor) -> Tensor:
        """Standard error of each animal's log-likelihood `(n, animals)` from drawing first weights; 0 without hidden units."""
        rows = self._rows(torch.as_tensor(theta).detach())
        with torch.no_grad():
            value = torch.stack([self._along(rows, noise) for noise in self._noises()]).double()
        if len(value) < 2:
            return torch.zeros_like(value[0])
        share = torch.softmax(value, dim=0) * len(value)  # likelihoods over their mean
        return share.std(dim=0) / math.sqrt(len(value))

    def _noises(self) -> Sequence[Tensor | None]:
        return list(self.noise) if self.columns.hidden else [None]

    def _log_probs(self, rows: Tensor, noise: Tensor | None) -> Tensor:
        """Log-probability of each answer, `(n, animals, longest, answers)`."""
        kept: list[Tensor] = []
        self._along(rows, noise, lambda _, log_prob: kept.append(log_prob.reshape(*rows.shape[:2], -1)))
        return torch.stack(kept, dim=2)

    def _by_steps(self, rows: Tensor) -> Tensor:
        """The same by torch operations, `(n, animals)`; with hidden units the mean over draws of their first weights."""
        each = torch.stack([self._along(rows, noise) for noise in self._noises()])
        return torch.logsumexp(each, dim=0) - math.log(len(each))

    def _along(
        self, rows: Tensor, noise: Tensor | None, seen: Callable[[Learner, Tensor], None] | None = None
    ) -> Tensor:
        """One decision of all animals after the other, `(n, animals)`.

        `seen` is called with the animals before each decision, and the log-probability of each answer.
        """
        n, animals, dim = rows.shape
        if n > 1 and n * animals > ROWS and seen is None:
            return torch.cat([self._along(part, noise) for part in torch.split(rows, max(1, ROWS // animals))])
        d, columns = self.decisions, self.columns
        count = d.start.diff()
        theta = rows.reshape(n * animals, dim)
        learner = started(theta, columns, noise)
        total = theta.new_zeros(n * animals)
        last = torch.full((n * animals,), -1)
        for t in range(int(count.max())):
            there = t < count
            at = torch.where(there, d.start[:-1] + t, d.start[:-1])
            x, choice, reward = (v[at].repeat(n, *[1] * (v.ndim - 1)) for v in (d.x, d.choice, d.reward))
            here, ends, new = (v.repeat(n) for v in (there, d.last[at], d.new_session[at]))
            last = torch.where(new, -1, last)
            logit = logits(theta, columns, learner.weights, x, last)
            log_prob = answer_log_prob(theta, columns, logit)
            answered = here & (choice >= 0)
            taken = log_prob.gather(1, choice.clamp(min=0)[:, None])[:, 0]
            total = total + torch.where(answered, taken, 0.0)
            if seen is not None:
                seen(learner, log_prob)
            teaches = answered & ends & ~torch.isnan(reward)
            if columns.meaning.accept:
                teaches &= choice == 1
            learner = learned(theta, columns, learner, x, choice, logit, reward, teaches)
            if self.decay_on == "all":
                learner = decayed(theta, columns, learner, here & ends & ~teaches)
            last = torch.where(answered, choice, last)
        for wrong in columns.outside(theta).values():
            total = torch.where(wrong, -math.inf, total)
        return total.reshape(n, animals)


def _in_threads(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """Ranges of so many pieces of work, in so many threads."""
    workers = min(threads, count)
    if workers == 1:
        work(0, count)
        return
    edges = np.linspace(0, count, 4 * workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, edges[:-1].tolist(), edges[1:].tolist()))


def _finite(value: Tensor) -> Tensor:
    return torch.where(torch.isnan(value), -math.inf, value)


def _where_finite(slope: Tensor, value: Tensor) -> Tensor:
    """The gradient, 0 where rules are impossible."""
    return torch.where(torch.isfinite(value)[:, :, None] & torch.isfinite(slope), slope, 0.0)


class _WithSlope(torch.autograd.Function):
    """The compiled likelihood, whose gradient comes with it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, likelihood: ChoiceLikelihood) -> Tensor:
        value, slope, _ = likelihood._compiled(rows, with_slope=True)
        ctx.save_for_backward(_where_finite(slope, value))
        return _finite(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * grads[0][:, :, None], None


def _as_arrays(columns: PolicyColumns, decisions: Decisions, credit: str, decay_on: str) -> tuple[Any, Any, Any]:
    """What the compiled loops take."""
    from ._kernels import Columns, Data, Terms

    family = columns.family
    if not isinstance(family, TaylorRule):
        raise ValueError(f'engine = "numba" takes a TaylorRule, got {type(family).__name__}; leave engine out.')
    powers = family.exponents.numpy().astype(np.int64)
    terms = Terms(
        powers,
        (powers[:, 4] > 0) & (powers[:, [0, 1, 2, 3, 5, 6]] == 0).all(axis=1),
        BASELINES[family.baseline],
        float(family.rate),
        int(family.last),
        decay_on == "all",
        credit == "all_steps",
    )
    at = {what: columns.place(what) for what in ("initial", "bias", "perseveration", "lapse")}
    rate = columns.names.index("rbar_rate") if "rbar_rate" in family.names else -1
    places = Columns(at["initial"], rate, at["bias"], at["perseveration"], at["lapse"], columns.meaning.accept)
    d = decisions
    data = Data(
        d.start.numpy(),
        np.ascontiguousarray(d.x.numpy()),
        d.choice.numpy(),
        d.reward.numpy(),
        d.new_session.numpy(),
        d.first.numpy(),
        d.last.numpy(),
    )
    return terms, places, data
