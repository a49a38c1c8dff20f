"""`FeedforwardNetwork`: a network with one hidden layer, whose rule recordings may tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sbirules.model.fields import Field
from sbirules.model.probes import family_probe, labelled_probe, summary_probe
from sbirules.model.rules import LayeredRule, RuleFamily, RuleText
from sbirules.model.runs import Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import SummaryLike
from sbirules.model.tasks import LabelledStimuli, Task
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.devices import usable
from sbirules.support.streams import Key, global_seed
from sbirules.support.typed import typed_class

from ._draws import DRAWS, draw, passed_in
from ._learning import learn
from ._settings import BLOCK, Settings
from ._units import measure_raw_per_unit

__all__ = ["FeedforwardNetwork"]

DEFAULT_SUMMARIES = ("learned", "final_error", "error_change", "weight_change", "learning_curve")
RUN_OPTIONS = ("seed", "trial_types", "units", *DRAWS, "keep_weights")
TOGETHER = 64  # blocks that a GPU simulates as one batch
UNITS = (
    "In natural units: a coefficient of 1 changes weights by 5 % of their initial s.d. per trial, and per unit of error or "
    "unexpected reward where these enter."
)


@typed_class
class FeedforwardNetwork(Simulator):
    r"""A feedforward network with one hidden layer that learns the labels of stimuli, one a trial.

        x    = p_c + noise,    h_i = phi(sum_j w_ij x_j + xi_i),    z = sum_i v_i h_i
        dw_ij = the family's rule,    dv_i = eta_out (t - z) h_i       after each trial, both from the weights before it
        error = |z - t|,    R = -error,    Rbar_c = (1 - a) Rbar_c + a R after each trial of stimulus c, R at the first

    Each row of theta is a fresh network: w_ij ~ N(0, 1/I), v_i ~ N(0, 1/H), feedback weights b_i ~ N(0, 1/H), and stimuli of its
    own. The noise xi_i ~ N(0, unit_noise^2) of the hidden units is the same in all families, so that responses tell rules
    apart by how they change and not by how they scatter. Of some hidden units, chosen at random in each network, the
    activity is recorded in every trial: the field `responses`.

    Arguments:
        family: The rule family, a `LayeredRule` such as `Backpropagation`.
        task: The stimuli; by default `LabelledStimuli()`.
        summaries: Named summaries that `simulator(theta)` returns, by name or as `Summary`.
        num_hidden: H.
        num_trials: Trials of a session, unless a sequence is given.
        num_recorded: K, hidden units that are recorded; 0 for none.
        recording_noise: S.d. of the Gaussian noise of recordings, in units of activity.
        unit_noise: S.d. of xi, the noise of the hidden units' drive, which `NodePerturbation` learns from.
        nonlinearity: phi, `"tanh"` or `"linear"`.
        warm_up: Trials before plasticity starts.
        expectation_share: a, weight of the newest reward in Rbar.
        criterion: A trial is correct when its error is below this.
        divergence: A network has diverged when a weight exceeds this many initial s.d., or anything is not finite.
        device: Any torch device.
        dtype: torch.float32 or torch.float64.

    Raises:
        ValueError: If the family or the task is of another kind, or a setting is out of its range.

    Examples:
        >>> simulator = FeedforwardNetwork(Backpropagation(), num_recorded=20, recording_noise=0.1)
        >>> run = simulator.run([[0.5, 0.5]], seed=0)
        >>> run.responses.shape
        torch.Size([1, 300, 20])
    """

    task: LabelledStimuli

    def __init__(
        self,
        family: RuleFamily,
        task: Task | None = None,
        *,
        summaries: Sequence[SummaryLike] = DEFAULT_SUMMARIES,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> None:
        for name in settings:
            arguments.known("FeedforwardNetwork's argument", name, tuple(Settings.__dataclass_fields__))
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
        if not isinstance(family, LayeredRule):
            raise ValueError(
                f"family must be a LayeredRule such as Backpropagation or OjaLayer, got {type(family).__name__}."
            )
        task = LabelledStimuli() if task is None else task
        if not isinstance(task, LabelledStimuli):
            raise ValueError(
                f"task must be LabelledStimuli, one stimulus a trial, got {type(task).__name__}; in a study file, [task] name = "
                f'"labelled_stimuli".'
            )
        self.settings = Settings(**settings)
        if "noise" in family.sees and not self.settings.unit_noise:
            raise ValueError(
                f"unit_noise must be greater than 0, since {type(family).__name__} learns from the noise of the units, got "
                f"{self.settings.unit_noise:g}."
            )
        self.settings.check_room(task.channels)
        super().__init__(family, task, summaries)
        self.num_trials, self.criterion = self.settings.num_trials, self.settings.criterion
        self.device, self.dtype = usable(device), dtype
        self.engine = f"torch on {self.device.type}"
        self.batch = BLOCK if self.device.type == "cpu" else TOGETHER * BLOCK
        self._raw_per_unit: Tensor | None = None

    @property
    def own_fields(self) -> tuple[Field, ...]:  # type: ignore[override]
        change = Field(
            "weight_change", "root-mean-square change of input weights over the run", "initial s.d.", per="run", low=0.0
        )
        k = self.settings.num_recorded
        return (change, *((Field("responses", "activity of each recorded unit", per="unit", units=k),) if k else ()))

    @property
    def raw_per_unit(self) -> Tensor:
        r"""Raw value of one natural unit of each column of theta, `(D,)`, measured once.

        A coefficient of 1 causes a root-mean-square weight change of 5 % of the initial weight s.d. in a trial: over synapses,
        stimuli and 512 untrained networks at a fixed seed, with t - z = 1 and R - Rbar = 1. Coefficients in which the
        change is not linear keep unit 1.
        """
        if self._raw_per_unit is None:
            family: Any = self.family  # a LayeredRule
            self._raw_per_unit = measure_raw_per_unit(self.settings, self.task, family)
        return self._raw_per_unit

    def rule_text(self, theta: Tensor, digits: int = 2) -> RuleText:
        return replace(self.family.text(theta, digits), units=UNITS)

    def config(self) -> dict[str, object]:
        return {
            "simulator": "feedforward",
            "family": self.family.config(),
            "task": self.task.config(),
            "settings": self.settings.config(),
            "summaries": [s.config() for s in self.summaries],
            "probes": {
                "family": family_probe(self.family),
                "task": labelled_probe(self.task),
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
        readout: ArrayLike | None = None,
        feedback: ArrayLike | None = None,
        stimuli: ArrayLike | None = None,
        keep_weights: bool = False,
        **options: Any,
    ) -> Trajectory:
        """Learning runs, one fresh network per row of theta.

        What is random about a network can be passed in, so that a run can be compared with another implementation.

        Arguments:
            theta: Rules `(batch, D)` or `(D,)`.
            seed: Names the random streams; None draws one from torch's global stream.
            trial_types: Stimuli in their order, `(trials,)` or `(batch, trials)`, -1 past the end; None for all in turn.
            units: `"natural"` or `"raw"`.
            weights: Initial input weights, `(batch, H, I)` or `(H, I)` as (post, pre).
            readout: Initial output weights, `(batch, H)` or `(H,)`.
            feedback: Feedback weights, `(batch, H)` or `(H,)`.
            stimuli: Stimuli without noise, `(batch, C, I)` or `(C, I)`.
            keep_weights: Whether to return `initial_weights`, `final_weights`, `initial_readout`, `final_readout`, `feedback`,
                `stimuli` and `recorded_units` `(batch, K)` among the extras.

        Returns:
            A `Trajectory` of `batch` networks, with `error`, `output`, `reward` and `correct` of every trial, `responses`
            `(batch, trials, K)` of the recorded units and `weight_change` of the run.

        Raises:
            ValueError: If an argument has a wrong shape or a value that is not finite.
        """
        if options:
            arguments.known("FeedforwardNetwork.run's argument", next(iter(options)), RUN_OPTIONS)
        arguments.known("units", units, ("natural", "raw"))
        given_theta = arguments.theta_matrix(theta, self.names).to(self.device, self.dtype)
        raw = given_theta if units == "raw" else self.to_raw(given_theta)
        self.family.check_raw(raw)
        types = self.sequence_matrix(trial_types, len(raw)).to(self.device)
        told = {"weights": weights, "readout": readout, "feedback": feedback, "stimuli": stimuli}
        given = passed_in(told, self.settings, self.task, len(raw), raw)
        seed = global_seed() if seed is None else seed
        key = list(seed) if isinstance(seed, Sequence) else [seed]
        family: Any = self.family  # a LayeredRule
        parts = []
        with torch.no_grad():
            for start in range(0, len(raw), self.batch):
                rows = slice(start, min(start + self.batch, len(raw)))
                net, noise = draw(self.settings, self.task, key, rows, given, self.device, self.dtype)
                parts.append(
                    learn(
                        self.settings, self.task, family, net, raw[rows], types[rows], noise, keep_weights=keep_weights
                    )
                )
        return Trajectory.cat(parts)

    def without_plasticity(self) -> FeedforwardNetwork:
        """The same networks, whose weights never change."""
        settings: dict[str, Any] = {**self.settings.config(), "warm_up": 10**9}
        kept: dict[str, Any] = {"summaries": self.summaries, "device": self.device, "dtype": self.dtype}
        other = FeedforwardNetwork(self.family, self.task, **kept, **settings)
        other._raw_per_unit = self._raw_per_unit  # does not depend on it
        return other
