"""A point estimate: the rules that an optimiser ended at, how it came there, and how well they work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sbirules.model.constraints import Constraints
from sbirules.model.probes import family_probe
from sbirules.model.rules import RuleFamily
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import resolve, summarise
from sbirules.support import arguments
from sbirules.support import tensors as tensor_files
from sbirules.support.borrowed import without_notice
from sbirules.support.files import digest, make_folder, read_json, reading, write_json
from sbirules.support.notebook import Card, Shown
from sbirules.support.rates import Rate
from sbirules.support.typed import typed_class

if TYPE_CHECKING:
    import arviz

__all__ = ["PointEstimate", "success_of"]

SCHEMA = 2  # 1 had no checksums
CONTENT, TENSORS = "point.json", "point.safetensors"


@typed_class
@dataclass(frozen=True, repr=False)
class PointEstimate(Shown):
    """End points of all restarts, made by `BPTL.fit`.

    Arguments:
        family: The rule family.
        theta: End points in natural units, `(restarts, D)`.
        diverged: Restarts that were given up, `(restarts,)` boolean.
        success: Share of fresh networks that learned, per restart; None if that was not tried.
        trace: By iteration: `"value"`, `"gradient_norm"` and `"alive"` (share of networks that did not diverge), each
            `(iterations, restarts)`, and `"theta"` `(iterations, restarts, D)`.
        raw_per_unit: Raw value of one natural unit, `(D,)`.
        settings: Of the optimiser.
        nuisances: Of choices: names of the columns of theta that are not of the rule, after those that are.
        log_likelihood: Of choices: log p(choices | theta) of each end point, in nats, `(restarts,)`; `"value"` in the trace is
            that less l1 sum |theta|.
    """

    family: RuleFamily
    theta: Tensor
    diverged: Tensor
    success: list[Rate] | None
    trace: dict[str, Tensor]
    raw_per_unit: Tensor
    settings: dict[str, object] = field(default_factory=dict)
    nuisances: tuple[str, ...] = ()
    log_likelihood: Tensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return (*self.family.names, *self.nuisances)

    @property
    def best(self) -> int:
        """The restart that did best: by success in fresh networks, then by value in the end."""
        if self.log_likelihood is not None:
            return int(torch.where(self.diverged, -torch.inf, self.trace["value"][-1]).argmax())
        late = self.trace["value"][-max(1, len(self.trace["value"]) // 5) :].nanmean(dim=0)
        success = torch.zeros_like(late) if self.success is None else torch.tensor([r.value for r in self.success])
        score = torch.where(self.diverged, -torch.inf, success * 1e6 + torch.nan_to_num(late, nan=-1e3))
        return int(score.argmax())

    @property
    def point(self) -> Tensor:
        """The best end point, `(D,)`."""
        return self.theta[self.best]

    def describe(self, *, latex: bool = False) -> str:
        """The best end point as an equation, in natural units."""
        return self.family.describe(self.point[: len(self.family.names)], latex=latex)

    def __repr__(self) -> str:
        return f"PointEstimate({len(self.theta)} restarts, {len(self.names)} coefficients)"

    def _card(self) -> Card:
        import pandas as pd

        table = pd.DataFrame({"best": self.point.tolist()}, index=pd.Index(self.names, name="coefficient"))
        return Card(repr(self), text=self.describe(), table=table)

    def __str__(self) -> str:
        lines = [self.describe()]
        if self.nuisances:
            beside = zip(self.nuisances, self.point[len(self.family.names) :].tolist(), strict=True)
            lines.append(", ".join(f"{name} = {value:.3g}" for name, value in beside))
        if self.log_likelihood is None:
            lines.append(f"value in the last iteration {float(self.trace['value'][-1, self.best]):.3f}")
        else:
            lines.append(f"log-likelihood of the choices {float(self.log_likelihood[self.best]):.2f}")
        if self.success is not None:
            lines.append(f"success in fresh networks {self.success[self.best]}")
        if bool(self.diverged.any()):
            lines.append(f"{int(self.diverged.sum())} of {len(self.diverged)} restarts diverged")
        return "\n".join(lines)

    def to_inference_data(self) -> arviz.InferenceData:
        """The way of all restarts as ArviZ's chains: coefficients, and value and gradient norm as sample statistics."""
        with without_notice():
            import arviz

        coefficients = {n: self.trace["theta"][:, :, i].T.numpy() for i, n in enumerate(self.names)}
        stats = {name: self.trace[name].T.numpy() for name in ("value", "gradient_norm", "alive")}
        data: arviz.InferenceData = arviz.from_dict(posterior=coefficients, sample_stats=stats)
        for name, per_unit in zip(self.names, self.raw_per_unit.tolist(), strict=True):
            data["posterior"][name].attrs.update(raw_per_unit=per_unit, units="natural units")
        return data

    def save(self, folder: str | Path) -> None:
        """Writes `point.json` and `point.safetensors`."""
        folder = make_folder(Path(folder))
        tensors = {f"trace.{name}": value for name, value in self.trace.items()}
        tensors |= {"theta": self.theta, "diverged": self.diverged, "raw_per_unit": self.raw_per_unit}
        if self.log_likelihood is not None:
            tensors["log_likelihood"] = self.log_likelihood
        success = None if self.success is None else [[r.value, r.se] for r in self.success]
        content = {
            "schema": SCHEMA,
            "names": self.family.names,
            "nuisances": self.nuisances,
            "family": family_probe(self.family),
            "success": success,
            "settings": self.settings,
        }
        tensor_files.write(folder / TENSORS, tensors, content=digest(content))
        write_json(folder / CONTENT, content)

    @classmethod
    def load(cls, folder: str | Path, family: RuleFamily) -> PointEstimate:
        """What `save` wrote.

        Arguments:
            folder: Where.
            family: The rule family, whose coefficients must have the saved names.

        Raises:
            ValueError: If the folder holds no point estimate of that family.
        """
        folder = Path(folder)
        for name in (CONTENT, TENSORS):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} holds no point estimate: {name} is missing.")
        content = read_json(folder / CONTENT)
        if content.get("schema") != SCHEMA:
            raise ValueError(
                f"{folder / CONTENT} has schema {str(content.get('schema'))[:20]}, this version reads {SCHEMA}."
            )
        try:
            facts, tensors = tensor_files.read(folder / TENSORS)
        except tensor_files.DamagedFile as error:
            raise ValueError(f"{folder} is damaged: {error}.") from error
        if facts.get("content") != digest(content):
            raise ValueError(f"{folder / CONTENT} is not as it was written: {TENSORS} was saved with another one.")
        with reading(folder / CONTENT):
            names, success = [str(name) for name in content["names"]], content["success"]
            probe, settings = str(content["family"]), dict(content["settings"])
            nuisances = tuple(str(name) for name in content.get("nuisances", ()))
            rates = None if success is None else [Rate(float(value), float(se)) for value, se in success]
            parts = [tensors[name] for name in ("theta", "diverged", "raw_per_unit")]
        if tuple(names) != family.names:
            raise ValueError(f"{folder} holds a rule with {names!r:.200}, the family has {list(family.names)!r}.")
        if probe != family_probe(family):
            raise ValueError(
                f"{folder} holds a rule of another family: its coefficients have the same names, but change synapses "
                f"in another way than those of {type(family).__name__}."
            )
        trace = {name[6:]: value for name, value in tensors.items() if name.startswith("trace.")}
        value = tensors.get("log_likelihood")
        return cls(family, parts[0], parts[1], rates, trace, parts[2], settings, nuisances, value)


def success_of(
    simulator: Simulator, theta: Tensor, networks: int, *, seed: int, asked: Constraints | None = None
) -> list[Rate]:
    """Share of so many fresh networks that succeed under each rule of `(S, D)`: as was asked, or as the simulator defines it.

    A network that diverges has not succeeded.

    Raises:
        ValueError: If nothing counts as success in this simulator.
    """
    arguments.whole("networks", networks, 1, arguments.MANY)
    if asked is None and not simulator.success:
        raise ValueError(f"{type(simulator).__name__}.success names nothing that counts as success of a network.")
    wanted = Constraints(simulator.success) if asked is None else asked
    run = simulator.run(theta.repeat_interleave(networks, dim=0).to(torch.float32), seed=(seed, 1_000_003))
    # summaries of the simulator's own, which the catalogue does not know, are its own
    own = set(wanted.intervals) <= set(simulator.summary_names)
    names = simulator.summary_names if own else tuple(wanted.intervals)
    x = summarise(run, simulator.summaries if own else [resolve(name) for name in names])
    done = wanted.satisfied(x, names).double().reshape(len(theta), networks)
    share = done.mean(dim=1)
    return [Rate(float(p), float((p * (1 - p) / networks).sqrt())) for p in share]
