r"""`SpikingNetwork`: excitatory and inhibitory integrate-and-fire neurons whose synapses follow rules of spikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbirules.model.fields import Field
from sbirules.model.rules import SYNAPSES, RuleFamily, SpikeRule
from sbirules.model.runs import Status, Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.spikes import SpikeTrains
from sbirules.model.summaries import SummaryLike
from sbirules.model.summaries.spiking import spiking_fields, spiking_names
from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike
from sbirules.support.devices import usable
from sbirules.support.streams import Key, global_seed
from sbirules.support.typed import typed_class

from ._batched import by_torch
from ._measured import measured, rates_over_time, trains_of
from ._network import Network, draw_network
from ._outcome import Outcome, by_numba, fast, own_sources
from ._settings import Settings

__all__ = ["SPIKING_SETTINGS", "SpikingNetwork"]

SPIKING_SETTINGS = tuple(Settings.__dataclass_fields__)
TOGETHER = 64  # networks that a GPU simulates at once


@typed_class
class SpikingNetwork(Simulator):
    r"""Leaky integrate-and-fire neurons, sparsely and randomly joined, driven by Poisson inputs.

        tau_m dV/dt = E_rest + I - V + g_E (E_E - V) + g_I (E_I - V)        V > threshold: a spike, then reset and refractory
        dg_E/dt = -g_E / tau_E,   dg_I/dt = -g_I / tau_I                    a spike that arrives adds the synapse's weight

    Conductances and weights are in units of the leak conductance. With `synapse_model="current"` a synapse pushes alike at any
    potential, and currents and weights are in mV, the displacement they would hold:

        tau_m dV/dt = E_rest + I - V + g_E - g_I

    A share of excitation may be slow (NMDA): then g_E is (1 - nmda_share) g_AMPA + nmda_share g_NMDA, where g_AMPA is as above
    and tau_nmda dg_NMDA/dt = g_AMPA - g_NMDA. The threshold may move: a spike raises its neuron's by threshold_jump, which decays
    with tau_threshold. Both are off by default.

    Every neuron has the same number of synapses from excitatory,
    inhibitory and input neurons, from different ones drawn at random, never from itself; a spike arrives after the delay,
    where it also leaves its trace. Synapses that the family names change at spikes of either side; weights stay between 0 and
    their largest. Each row of theta is a fresh network.

    Steps of potentials are implicit in V (and so stable for any conductance), conductances decay exactly; at most one spike of
    an input falls into a step.

    A run is judged over its last `judged` seconds, its drifts over the last third of its duration. It stops, with status
    `DIVERGED`, when excitatory neurons fire faster than `rate_limit` on average over 200 ms; it is `SILENT` when no excitatory
    neuron fires four times while it is judged.

    With `memory_delays` one pattern of inputs (a random `pattern_share` of them, driven with `pattern_rate`) is presented
    `presentations` times during the run, in equal distances up to its end. After each delay it comes once more, and then one that
    is new, with a pause between them; in such a test no weight changes, so that what differs is what was learned before.

    Arguments:
        family: The rule family, a `SpikeRule` such as `SpikePairRule(["EE", "IE"])`.
        summaries: Named summaries that `simulator(theta)` returns; by default all measures of the network.
        num_excitatory, num_inhibitory, num_inputs: Numbers of neurons.
        in_degree_excitatory, in_degree_inhibitory, in_degree_inputs: Synapses on each neuron from each of these.
        weights: First mean weight by kind of synapse, such as `{"IE": 0.5}`; others as by default.
        max_weights: Largest weight, likewise.
        weight_spread: S.d. over mean of first weights.
        learning_rate: eta, by which all changes are multiplied; .01, or .5 mV with currents, if left out.
        input_rate: Of each input, Hz.
        current: Constant drive, mV.
        duration: Of activity, s, before memory is tested.
        judged: Last part of it in which activity is judged, s.
        bin_length: Of what is reported of every bin: rates and mean weights over time, s.
        dt, delay, refractory, tau_membrane, tau_excitation, tau_inhibition: ms.
        resting, threshold, reset, reversal_excitation, reversal_inhibition: mV.
        synapse_model: `"conductance"` or `"current"`.
        nmda_share, tau_nmda: Share of excitation that is slow, and its time constant, ms.
        threshold_jump, tau_threshold: By how much a spike raises the threshold, mV, and how long, ms.
        rate_limit: Excitatory rate at which a network is given up, Hz.
        memory_delays: When memory is tested, s after the duration, at least one presentation; none by default.
        pattern_share, pattern_rate, presentation, presentations: Share of inputs in a pattern, their rate in Hz, length in s and
            number of presentations.
        backend: `"numba"`, a network at a time; `"torch"`, batched, for GPUs and any rule; `"auto"`.
        device: Any torch device.
        dtype: torch.float32 or torch.float64.

    Raises:
        ValueError: If the family is of another kind, or a setting is out of its range.

    Examples:
        >>> simulator = SpikingNetwork(SpikePairRule(["IE"]), duration=2.0, judged=1.0, bin_length=0.5)
        >>> run = simulator.run([[-0.2, 0.0, 1.0, 1.0, 20.0, 20.0]], seed=0)
        >>> run.rate_E.shape
        torch.Size([1])

    Source: of neurons, network and inhibitory rule, Vogels et al. (2011), Science 334:1569; of NMDA and the moving threshold,
    Zenke et al. (2015), Nature Communications 6:6922; of the question, Confavreux et al. (2023), NeurIPS 36.
    """

    family: SpikeRule
    success: Mapping[str, tuple[float, float]] = {}

    def __init__(
        self,
        family: RuleFamily,
        *,
        summaries: Sequence[SummaryLike] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> None:
        for name in settings:
            arguments.known("SpikingNetwork's argument", name, SPIKING_SETTINGS)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
        if not isinstance(family, SpikeRule):
            raise ValueError(
                f"family must be a SpikeRule such as SpikePairRule or TripletRule, got {type(family).__name__}."
            )
        self._given = dict(settings)  # what is not among them depends on synapse_model
        self.settings = Settings(**settings)
        # a coefficient of one moves a weight by the rate of learning
        self.rule_unit = f"{self.settings.eta:g} {self.settings.weight_unit}"
        self._refuse_missing_synapses(family)
        self.settings.check_room()
        self.device, self.dtype = usable(device), dtype
        self.backend = self._backend(family)
        self._names = spiking_names(family.synapses, len(self.settings.memory_delays), self._populations)
        super().__init__(family, None, self._names if summaries is None else summaries)
        self._refuse_missing_measures()
        self.num_trials = self.settings.bins
        self.engine = "numba" if self.backend == "numba" else f"torch on {self.device.type}"
        self.batch = 1 if self.device.type == "cpu" else TOGETHER

    @property
    def _populations(self) -> tuple[str, ...]:
        return ("E", "I") if self.settings.num_inhibitory else ("E",)

    def _refuse_missing_measures(self) -> None:
        have = {f.name for f in self.own_fields} | {"status", "trial_types"}
        for summary in self.summaries:
            missing = next((f for f in summary.fields if f not in have), None)
            if missing is not None:
                raise ValueError(
                    f"summary {summary.name!r} reads {missing}, which this network does not measure: plastic are "
                    f"{arguments.listed(self.family.synapses)}, tests of memory {len(self.settings.memory_delays)}, inhibitory "
                    f"neurons {self.settings.num_inhibitory}."
                )

    def _refuse_missing_synapses(self, family: SpikeRule) -> None:
        s = self.settings
        for synapse in family.synapses:
            kind = {"E": "excitatory", "I": "inhibitory", "X": "inputs"}[synapse[0]]
            if not getattr(s, f"in_degree_{kind}"):
                raise ValueError(
                    f"synapses {synapse} are plastic in the family, but the network has none: in_degree_{kind} is 0."
                )
            if synapse[1] == "I" and not s.num_inhibitory:
                raise ValueError(
                    f"synapses {synapse} are plastic in the family, but the network has none: num_inhibitory is 0."
                )

    def _backend(self, family: SpikeRule) -> str:
        known = fast(family) or own_sources(family, self.dtype) is not None
        if self.settings.backend == "numba" and not known:
            raise ValueError(
                f'backend must be "torch" for {type(family).__name__}, whose at_pre and at_post are no formulas of coefficients, '
                f'traces and weight that can be compiled, or raise an error, got "numba".'
            )
        if self.settings.backend == "numba" and self.device.type != "cpu":
            raise ValueError(f'backend must be "torch" on device {self.device}, got "numba".')
        if self.settings.backend != "auto":
            return self.settings.backend
        return "numba" if known and self.device.type == "cpu" else "torch"

    @property
    def own_fields(self) -> tuple[Field, ...]:  # type: ignore[override]
        over_time = (
            *(Field(f"rate_over_time_{p}", "mean rate in the bin", "Hz", low=0.0) for p in self._populations),
            *(
                Field(f"weight_over_time_{s}", "mean weight after the bin", self.settings.weight_unit, low=0.0)
                for s in self.family.synapses
            ),
        )
        tests = len(self.settings.memory_delays)
        unit = self.settings.weight_unit
        return (*over_time, *spiking_fields(self.family.synapses, tests, self._populations, unit))

    def config(self) -> dict[str, object]:
        return {
            "simulator": "spiking",
            "family": self.family.config(),
            "settings": self.settings.config(),
            "summaries": [s.config() for s in self.summaries],
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def without_plasticity(self) -> SpikingNetwork:
        """The same networks, whose weights never change."""
        return self.with_settings(learning_rate=0.0)

    def with_settings(self, **changes: Any) -> SpikingNetwork:
        """A simulator that differs in the given settings, e.g. `with_settings(device="cuda")`.

        What was given before stays: weights and rate of learning that were, too, where `synapse_model` changes their unit.
        """
        for name in changes:
            arguments.known("with_settings' argument", name, (*SPIKING_SETTINGS, "summaries", "device", "dtype"))
        kept = {"summaries": self.summaries, "device": self.device, "dtype": self.dtype}
        return SpikingNetwork(self.family, **{**kept, **self._given, **changes})

    def run(
        self, theta: ArrayLike, *, seed: Key | None = None, trial_types: ArrayLike | None = None, **options: Any
    ) -> Trajectory:
        """Runs of one fresh network per row of theta.

        Arguments:
            theta: Rules `(batch, D)` or `(D,)`.
            seed: Names the random streams; None draws one from torch's global stream.
            trial_types: Zeros, one for each bin; fewer make a shorter run, judged over what there is of it, whose memory is not
                tested.

        Returns:
            A `Trajectory` of `batch` networks: of every bin `rate_over_time_E` and so on, of the run `rate_E` and so on.
        """
        if options:
            arguments.known("SpikingNetwork.run's argument", next(iter(options)), ("seed", "trial_types"))
        rows = arguments.theta_matrix(theta, self.names)
        self.family.check_raw(rows)
        types = self.sequence_matrix(trial_types, len(rows))
        settings = self._of_length(types)
        key = global_seed() if seed is None else seed
        outcomes = [self._reported(settings, *found) for found in self._outcomes(settings, rows, key)]
        per_run = {n: torch.tensor([o[1][n] for o in outcomes], dtype=torch.float32) for n in self._names}
        per_trial = {n: torch.stack([o[2][n][: types.shape[1]] for o in outcomes]) for n in outcomes[0][2]}
        return Trajectory(torch.tensor([o[0] for o in outcomes], dtype=torch.int8), types, per_trial, per_run)

    def spikes(self, theta: ArrayLike, *, seed: Key = 0) -> tuple[SpikeTrains, ...]:
        """Spikes, rates and weights of one network per row of theta: the same as `run` with this seed reports of.

        Arguments:
            theta: Rules `(batch, D)` or `(D,)`.
            seed: Names the random streams.
        """
        rows = arguments.theta_matrix(theta, self.names)
        self.family.check_raw(rows)
        s = self.settings
        return tuple(trains_of(s, network, outcome) for network, outcome in self._outcomes(s, rows, seed))

    def network(self, seed: Key = 0, row: int = 0) -> Network:
        """The network that row `row` of a run with this seed starts from: synapses, first weights, spikes of inputs."""
        return draw_network(self.settings, seed, arguments.whole("row", row, 0), self._numpy_dtype)

    @property
    def _numpy_dtype(self) -> Any:
        return np.float32 if self.dtype == torch.float32 else np.float64

    def _of_length(self, types: Tensor) -> Settings:
        """Settings of a run with so many bins, `(batch, bins)`."""
        s, bins = self.settings, types.shape[1]
        if bool((types < 0).any()):
            raise ValueError(
                "trial_types must be zeros, one for each bin, as many in each row; -1 has no meaning here."
            )
        if bins > self.num_trials:
            raise ValueError(
                f"trial_types must be zeros, at most one for each of the {self.num_trials} bins of {s.bin_length:g} s, "
                f"and as many in each row, got {bins}; set duration for longer runs."
            )
        if bins == self.num_trials:
            return s
        duration = max(bins, 3) * s.bin_length
        return replace(s, duration=duration, judged=min(s.judged, duration), memory_delays=())

    def _outcomes(self, settings: Settings, rows: Tensor, key: Key) -> Iterator[tuple[Network, Outcome]]:
        """One after another, so that only those that run together are in memory."""
        thetas = [dict(zip(self.names, row, strict=True)) for row in rows.double().tolist()]
        own, one_by_one = None, self.backend == "numba"
        if one_by_one and not fast(self.family):  # looked at anew, since a family of one's own may have changed
            own = own_sources(self.family, self.dtype)
            one_by_one = own is not None
        together = 1 if one_by_one else TOGETHER
        for start in range(0, len(thetas), together):
            part = thetas[start : start + together]
            networks = [draw_network(settings, key, start + k, self._numpy_dtype) for k in range(len(part))]
            if one_by_one:
                found = [by_numba(settings, self.family, part[0], networks[0], own)]
            else:
                found = by_torch(settings, self.family, part, networks, self.device)
            yield from zip(networks, found, strict=True)

    def _reported(
        self, settings: Settings, network: Network, outcome: Outcome
    ) -> tuple[int, dict[str, float], dict[str, Tensor]]:
        s = settings
        values = dict.fromkeys(self._names, np.nan) | measured(s, self.family.synapses, network, outcome)
        rates = rates_over_time(s, outcome)
        over_time = {f"rate_over_time_{p}": rates[:, k] for k, p in enumerate(self._populations)} | {
            f"weight_over_time_{p}": outcome.weight_means[:, SYNAPSES.index(p)] for p in self.family.synapses
        }
        shown = {n: torch.as_tensor(v, dtype=torch.float32) for n, v in over_time.items()}
        if outcome.blown_up:
            # networks beside it may have gone on, and its weights been written with theirs
            stopped = torch.as_tensor(np.isnan(rates[:, 0]))
            shown = {n: v.masked_fill(stopped, torch.nan) for n, v in shown.items()}
            return int(Status.DIVERGED), dict.fromkeys(self._names, np.nan), shown
        silent = np.isnan(values["cv_E"])
        return int(Status.SILENT if silent else Status.OK), values, shown
