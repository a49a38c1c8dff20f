"""`RateRNN`: a recurrent network of rate units that learns by a three-factor rule (Eq. 1-5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from sbirules.model.abilities import LearningGradient
from sbirules.model.fields import Field
from sbirules.model.probes import family_probe, summary_probe, task_probe
from sbirules.model.rules import LocalRule, RuleFamily, ThreeFactorRule
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.model.tasks import Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.devices import usable
from sbirules.support.own_code import called
from sbirules.support.streams import Key, global_seed
from sbirules.support.typed import typed_class

from ._activity import MEASURES, recorded_fields
from ._choosing import choose
from ._draws import batch_rows, block_rows, draw
from ._learning import learn
from ._passed import DRAWS, checked, passed_in, requires_grad
from ._sensitivity import GRADIENTS, Goal
from ._settings import Settings
from ._stability import read_by
from ._trial import Networks, Noise, Stage
from ._units import measure_raw_per_unit

__all__ = ["RateRNN"]

DEFAULT_SUMMARIES = ("learned", "final_error", "error_change", "mean_rate", "learning_curve")
RUN_OPTIONS = ("seed", "trial_types", "units", *DRAWS, "record", "keep_weights")
OWN = ("summaries", "device", "dtype", "backend", "max_batch")  # arguments that are no settings


@typed_class
class RateRNN(Simulator):
    r"""A plastic recurrent rate network learning a task.

        tau dx/dt = -x + W r + W_in u,    r = phi(x),    z = W_out r or one unit's rate
        dw_ij     = e_ij (R - Rbar) - w_ij / tau_w      after each trial, with Rbar per trial type

    Order of one step: x is updated with r, kicked and clamped; the trace grows with the r that drove the
    step and with xbar - x'; then xbar moves towards x'. Defaults are the protocol of Miconi (2017) with a
    coarser step. Times in ms.

    Arguments:
        family: The rule family.
        task: The task.
        summaries: Named summaries that `simulator(theta)` returns, by name or as `Summary`. Stability of the final weights
            is measured only if one of them reads it.
        num_units: N.
        num_trials: Trials of a session, unless a sequence is given.
        gain: g; initial weights have s.d. g / sqrt(K) for mean in-degree K.
        tau: Time constant of the units.
        dt: Euler step.
        nonlinearity: `"tanh"`, `"threshold_linear"` or `"sigmoid"`.
        clamped: Units held at a fixed x, by index.
        readout: Index of the read-out unit, weights W_out `(N,)`, or `"random"` for W_out ~ N(0, 1/N).
        kick_rate: Rate of the exploratory kicks of each unit, in Hz.
        kick_size: Kicks are uniform in +-kick_size, added to x.
        kick_start: First step that may be kicked.
        trace_start: First step that enters the trace.
        tau_xbar: Time constant of xbar; 0 makes it the previous step's x.
        reset_xbar: Whether xbar starts each trial at x(0); else it is carried over.
        warm_up: Trials before plasticity starts.
        expectation_share: Weight of the newest reward in Rbar.
        initial_expectation: Rbar before the first trial; None takes the first reward of each type.
        error_factor: Multiply dw by the mean error -Rbar (Miconi's program).
        max_weight_change: Clip |dw| per trial (Miconi's program).
        mask: Existing synapses, boolean `(N, N)` as (post, pre), or a density.
        dale: Excitatory columns +|n|, inhibitory -4|n|; signs are kept under plasticity.
        excitatory: Share of excitatory units.
        input_to_readout: Whether the read-out unit gets task input.
        criterion: A trial is correct when its error is below this.
        divergence: A network has diverged when |w| exceeds this many initial s.d.
        num_recorded: Units whose mean rate in the response window is reported for every trial, chosen at random in each network
            among those not clamped: `run.responses` `(batch, trials, units)`.
        recording_noise: S.d. of the noise of these.
        device: Any torch device.
        dtype: torch.float32 or torch.float64.
        backend: `"torch"` (the reference; any device, differentiable), `"numba"` (fused, CPU), `"triton"` (fused,
            CUDA), or `"auto"` for the fastest that can do the job. Backends differ in rounding.
        max_batch: Networks simulated at once; None chooses from cache and device memory. Never changes results.

    Examples:
        >>> simulator = RateRNN(PolynomialRule(degree=3), DelayedDiscrimination())
        >>> x = simulator(prior.sample((100,)))
    """

    task: Task
    own_fields: tuple[Field, ...] = MEASURES

    def __init__(
        self,
        family: RuleFamily,
        task: Task,
        *,
        summaries: Sequence[SummaryLike] = DEFAULT_SUMMARIES,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        backend: str = "auto",
        max_batch: int | None = None,
        **settings: Any,
    ) -> None:
        for name in settings:
            arguments.known("RateRNN's argument", name, tuple(Settings.__dataclass_fields__))
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
        super().__init__(family, task, summaries)
        if not isinstance(family, (ThreeFactorRule, LocalRule)):
            raise ValueError(f"family must be a ThreeFactorRule or a LocalRule, got {type(family).__name__}.")
        self.settings = Settings(**settings)
        self._stability = tuple(f.name for f in read_by(self.summaries))
        self.own_fields = (*self.own_fields, *read_by(self.summaries), *recorded_fields(self.settings.num_recorded))
        if self.settings.error_factor and isinstance(family, LocalRule):
            raise ValueError(
                "error_factor = True scales with the reward, of which a LocalRule knows nothing; leave it out."
            )
        self.num_trials, self.criterion = self.settings.num_trials, self.settings.criterion
        self.device, self.dtype = usable(device), dtype
        self.backend = backend
        self.engine = f"{choose(backend, self.device, dtype, differentiable=False).name} on {self.device.type}"
        self.max_batch = None if max_batch is None else arguments.whole("max_batch", max_batch, 1)
        tensors = called(task.tensors, self.settings.dt)
        self.settings.check_room(len(tensors.response), isinstance(family, ThreeFactorRule))
        self.settings.check_task(tensors, task.num_types)
        # a constant, not what fits: the default size of a store's shards must be the same everywhere
        self.batch = 128 if self.device.type == "cpu" else 4096
        self._raw_per_unit: Tensor | None = None

    @property
    def raw_per_unit(self) -> Tensor:
        r"""Raw value of one natural unit of each column of theta, `(D,)`, measured once.

        A coefficient of 1 causes a root-mean-square weight change, per trial and unit of reward error, of
        5 % of the initial weight s.d.: over synapses, trial types and 512 untrained networks at a fixed
        seed, without decay of the trace and with kicks. Coefficients in which the trace is not linear,
        and time constants, keep unit 1.
        """
        if self._raw_per_unit is None:
            # always with the CPU's draws, so that a unit is the same on every device
            self._raw_per_unit = measure_raw_per_unit(self.settings, self.family, self.task, self.dtype)
        return self._raw_per_unit

    def config(self) -> dict[str, object]:
        return {
            "simulator": "rate_rnn",
            "family": self.family.config(),
            "task": self.task.config(),
            "settings": self.settings.config(),
            "summaries": [s.config() for s in self.summaries],
            "probes": {
                "family": family_probe(self.family),
                "task": task_probe(self.task, self.settings.dt),
                **{s.name: summary_probe(s, self.layout) for s in self.summaries},
            },
            "dtype": str(self.dtype).removeprefix("torch."),
            "raw_per_unit": dict(zip(self.names, self.raw_per_unit.tolist(), strict=True)),
        }

    def run(
        self,
        theta: ArrayLike,
        *,
        seed: Key | None = None,
        trial_types: ArrayLike | None = None,
        units: str = "natural",
        weights: ArrayLike | None = None,
        input_weights: ArrayLike | None = None,
        readout: ArrayLike | None = None,
        initial_states: ArrayLike | None = None,
        kicks: ArrayLike | None = None,
        inputs: ArrayLike | None = None,
        expectation: ArrayLike | None = None,
        record: Sequence[int] = (),
        keep_weights: bool = False,
        **options: Any,
    ) -> Trajectory:
        """Learning runs, one fresh network per row of theta.

        Whatever is random can be passed in, so that a run can be compared step by step with another
        implementation.

        Arguments:
            theta: Rules `(batch, D)` or `(D,)`.
            seed: Names the random streams; None draws one from torch's global stream.
            trial_types: `(trials,)` or `(batch, trials)`, -1 past the end; None for the task's own.
            units: `"natural"` or `"raw"`.
            weights: Initial W, `(batch, N, N)` or `(N, N)` as (post, pre).
            input_weights: W_in, `(batch, N, I)` or `(N, I)`.
            readout: W_out, `(batch, N)` or `(N,)`, for a network with readout="random".
            initial_states: x(0) of each trial, `(batch, trials, N)` or `(trials, N)`.
            kicks: Kicks of each step, `(batch, trials, T, N)` or `(trials, T, N)`, added to x.
            inputs: Task input of each step, `(batch, trials, T, I)` or `(trials, T, I)`.
            expectation: Rbar before the first trial, `(batch, C)` or `(C,)`.
            record: Trials to record in full.
            keep_weights: Whether to return the weights: final and initial ones, W_in and a random W_out.

        Returns:
            A `Trajectory` of `batch` networks.

        Raises:
            ValueError: If an argument has a wrong shape or a value that is not finite or out of bounds.
        """
        if options:
            arguments.known("RateRNN.run's argument", next(iter(options)), RUN_OPTIONS)
        passed = {
            "weights": weights,
            "input_weights": input_weights,
            "readout": readout,
            "initial_states": initial_states,
            "kicks": kicks,
            "inputs": inputs,
            "expectation": expectation,
        }
        raw, types, given = self._rows(theta, trial_types, units, passed)
        trials = types.shape[1]
        wrong = [k for k in record if not isinstance(k, SupportsIndex) or not 0 <= k < trials]
        if wrong:
            raise ValueError(f"record must name trials from 0 to {trials - 1}, got {wrong[0]}.")
        known = (raw, *given.values(), self.settings.readout, *vars(self.family).values(), *vars(self.task).values())
        learnable = torch.is_grad_enabled() and requires_grad(known)
        backend = choose(self.backend, self.device, self.dtype, learnable)
        stage = Stage.build(self.settings, self.task, self.device, self.dtype)
        parts = []
        with backend.working():
            for rows, net, noise in self._networks(stage, len(raw), seed, given):
                parts.append(
                    learn(
                        stage,
                        backend,
                        self.family,
                        net,
                        raw[rows],
                        types[rows],
                        noise,
                        record=sorted(set(record)),
                        keep_weights=keep_weights,
                        stability=self._stability,
                    )
                )
        return Trajectory.cat(parts)

    def value_and_grad(
        self,
        theta: ArrayLike,
        *,
        gradient: str = "reverse",
        seed: Key | None = None,
        trial_types: ArrayLike | None = None,
        teacher: ArrayLike | None = None,
        **draws: ArrayLike | None,
    ) -> LearningGradient:
        """How well each network learns, and the gradient of that with respect to its rule.

        The value is the mean reward of the trials with plasticity; or, with a teacher, minus the mean squared
        distance to its weights after these trials, in variances of the initial weights.

        Arguments:
            theta: Rules in natural units, `(batch, D)`, one fresh network each.
            gradient: `"reverse"`: exact, by automatic differentiation back through all trials. `"forward"`: exact, by
                tangents carried from trial to trial; its memory does not grow with the number of trials.
                `"reinforce"`: the estimate of Eq. 9, which ignores that activity depends on the rule.
            seed: Names the random streams, as in `run`.
            trial_types: As in `run`.
            teacher: Weights after each trial, `(trials, N, N)` or `(batch, trials, N, N)` as (post, pre).
            draws: Random draws to replace, as in `run`.

        Raises:
            ValueError: If an argument has a wrong shape, or no trial has plasticity.
        """
        arguments.known("gradient", gradient, tuple(GRADIENTS))
        family = self.family
        if not isinstance(family, ThreeFactorRule):
            raise ValueError(f"gradients of learning need rules that reward gates, got {type(self.family).__name__}.")
        for name in draws:
            arguments.known("value_and_grad's argument", name, DRAWS)
        raw, types, given = self._rows(theta, trial_types, "natural", draws)
        if types.shape[1] <= self.settings.warm_up:
            raise ValueError(
                f"a gradient needs trials with plasticity: {types.shape[1]} trials do not go beyond the warm-up of "
                f"{self.settings.warm_up}."
            )
        if teacher is not None:
            if gradient == "reinforce":
                raise ValueError("gradient='reinforce' follows reward; with a teacher use 'forward' or 'reverse'.")
            n = self.settings.num_units
            teacher = checked("teacher", teacher, len(raw), (types.shape[1], n, n), raw)
        stage = Stage.build(self.settings, self.task, self.device, self.dtype)
        parts = []
        for rows, net, noise in self._networks(stage, len(raw), seed, given):
            goal = Goal(self.settings, None if teacher is None else teacher[rows])
            parts.append(GRADIENTS[gradient](stage, family, net, raw[rows], types[rows], noise, goal))
        return LearningGradient.cat(parts, self.raw_per_unit)

    def _rows(
        self, theta: ArrayLike, trial_types: ArrayLike | None, units: str, draws: Mapping[str, ArrayLike | None]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Raw rules, trial types and the draws that were passed in, checked, all with a batch dimension."""
        arguments.known("units", units, ("natural", "raw"))
        theta = arguments.theta_matrix(theta, self.names).to(self.device, self.dtype)
        raw = theta if units == "raw" else self.to_raw(theta)
        self.family.check_raw(raw)
        types = self.sequence_matrix(trial_types, len(raw)).to(self.device)
        inputs = self.task.tensors(self.settings.dt).inputs
        return raw, types, passed_in(draws, self.settings, inputs, types, raw)

    def _networks(
        self, stage: Stage, batch: int, seed: Key | None, given: Mapping[str, Tensor]
    ) -> Iterator[tuple[slice, Networks, Noise]]:
        """Fresh networks and their noise, as many rows at a time as are best simulated together."""
        seed = global_seed() if seed is None else seed
        key = list(seed) if isinstance(seed, Sequence) else [seed]
        n = self.settings.num_units
        _, steps, channels = stage.tensors.inputs.shape
        size = block_rows(steps, n, self.device)
        together = batch_rows(steps, n, self.device, self.max_batch)
        for start in range(0, batch, together):
            rows = slice(start, min(start + together, batch))
            mine = {name: value[rows] for name, value in given.items()}
            yield (
                rows,
                *draw(self.settings, channels, self.task.num_types, key, rows, mine, self.device, self.dtype, size),
            )

    def without_plasticity(self) -> RateRNN:
        """The same networks, whose weights never change."""
        return self.with_settings(warm_up=10**9)

    def with_family(self, family: RuleFamily) -> RateRNN:
        """The same networks under rules of another family."""
        return RateRNN(family, self.task, **{name: getattr(self, name) for name in OWN}, **self.settings.__dict__)

    def with_settings(self, **changes: Any) -> RateRNN:
        """A simulator that differs in the given settings, e.g. `with_settings(num_trials=600)`."""
        options = {**self.settings.__dict__, **changes}
        kept: dict[str, Any] = {name: getattr(self, name) for name in OWN}
        kept.update({name: options.pop(name) for name in tuple(kept) if name in options})
        other = RateRNN(self.family, self.task, **kept, **options)
        same = replace(other.settings, num_trials=self.num_trials).config() == self.settings.config()
        if same and other.dtype == self.dtype:  # natural units do not depend on what changed
            other._raw_per_unit = self._raw_per_unit
        return other
