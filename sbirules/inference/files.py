"""Posteriors on disk: JSON and safetensors, no pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.estimators import POTENTIALS
from sbirules.inference.potentials import Potential
from sbirules.inference.questions import QUESTIONS, Question
from sbirules.inference.record import FitRecord
from sbirules.inference.same_prior import check_same, points_of
from sbirules.model.prior import names_of
from sbirules.priors import PriorLike, as_prior, from_written, written_down
from sbirules.samplers.chains import Chains
from sbirules.samplers.smc import SamplerSettings
from sbirules.support import arguments
from sbirules.support.files import Plain, digest, read_json, write_atomically, write_json

__all__ = ["Kept", "load", "save"]

SCHEMA = 3


@dataclass(frozen=True)
class Kept:
    """What a file holds of a posterior."""

    prior: Distribution
    names: tuple[str, ...]
    potential: Potential
    question: Question | None
    record: FitRecord
    settings: SamplerSettings
    raw_per_unit: Tensor | None
    hold: dict[int, float]
    region: dict[int, tuple[float, float]]
    chains: Chains | None


def save(kept: Kept, folder: Path) -> None:
    """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
    net, question, chains = kept.potential, kept.question, kept.chains
    shape = net.config()  # says why a wrapped posterior or a function cannot be saved
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"net.{k}": v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    tensors |= points_of(kept.prior)
    if chains is not None:
        tensors["draws"] = chains.draws.contiguous()
    if kept.raw_per_unit is not None:
        tensors["raw_per_unit"] = kept.raw_per_unit.contiguous()
    # a tensor that shares memory with another would be refused
    tensors = {k: v.clone() for k, v in tensors.items()}
    content = {
        "schema": SCHEMA,
        "names": kept.names,
        "question": None if question is None else {"kind": question.kind, "config": question.config()},
        "potential": {"kind": net.kind, "config": shape},
        "record": kept.record.config(),
        "prior": written_down(kept.prior),
        "sampler": vars(kept.settings),
        "hold": {kept.names[k]: v for k, v in kept.hold.items()},
        "region": {kept.names[k]: list(v) for k, v in kept.region.items()},
        "chains": None
        if chains is None
        else {"r_hat": chains.r_hat, "ess": chains.ess, "log_evidence": list(chains.log_evidence)},
        "versions": {"torch": torch.__version__},
    }
    # the tensors name their JSON file, so that a crash between the two cannot pair them wrongly
    of = {"content": digest(content)}
    write_atomically(folder / "posterior.safetensors", lambda p: safetensors.torch.save_file(tensors, str(p), of))
    write_json(folder / "posterior.json", content)


def load(folder: Path, prior: PriorLike | None = None) -> Kept:
    """A posterior written by `save`.

    Arguments:
        folder: Where it is.
        prior: The prior, needed only if it has no plain form in the file.

    Raises:
        ValueError: If the files are missing, foreign or do not fit together, or the prior is another one.
    """
    for name in ("posterior.json", "posterior.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no posterior: {name} is missing.")
    content = read_json(folder / "posterior.json")
    if content.get("schema") == 2:
        raise ValueError(
            f"{folder} was saved by sbirules 0.1; fit again, which is quick: the simulations of 0.1 are read as they are."
        )
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{folder / 'posterior.json'} was not written by this version of sbirules.")
    asked, learned = content["question"], content["potential"]
    kind = None if asked is None else QUESTIONS.get(asked["kind"])
    if kind is None and asked is not None:
        raise ValueError(
            f"{folder} answers a question of the kind {asked['kind']!r}, which is not registered here: import the module "
            f"that adds it to sbirules.inference.questions.QUESTIONS first."
        )
    potentials = {**POTENTIALS, **(kind.potentials if kind is not None else {})}
    try:
        with safetensors.safe_open(str(folder / "posterior.safetensors"), framework="pt") as handle:
            if (handle.metadata() or {}).get("content") != digest(content):
                raise ValueError("it was saved with another posterior.json.")
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - no container
        net = potentials[learned["kind"]].from_config(learned["config"])
        net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
        question = None if kind is None else kind.from_config(asked["config"])
    except Exception as error:
        raise ValueError(f"{folder / 'posterior.safetensors'} does not hold this posterior: {error}") from error
    names = tuple(content["names"])
    if prior is None:
        whole = _prior_of(content["prior"], folder)
    else:
        whole = as_prior(prior, names)
        if names_of(whole, names) != names:
            mine, theirs = arguments.listed(names_of(whole)), arguments.listed(names)
            raise ValueError(f"the prior is over {mine}, the posterior of {folder} over {theirs}.")
        check_same(whole, content["prior"], tensors, folder)
    chains = None
    if content["chains"] is not None:
        z = content["chains"]["log_evidence"]
        r_hat, ess = (_number(content["chains"][name]) for name in ("r_hat", "ess"))
        chains = Chains(tensors["draws"], r_hat, ess, (_number(z[0]), _number(z[1])))
    return Kept(
        whole,
        names,
        net.eval(),
        question,
        FitRecord.from_config(content["record"]),
        SamplerSettings(**content["sampler"]),
        tensors.get("raw_per_unit"),
        {names.index(name): float(value) for name, value in content["hold"].items()},
        {names.index(name): (float(low), float(high)) for name, (low, high) in content["region"].items()},
        chains,
    )


def _number(value: float | None) -> float:
    """JSON has no NaN."""
    return float("nan") if value is None else float(value)


def _prior_of(content: Plain | None, folder: Path) -> Distribution:
    prior = None if content is None else from_written(content)
    if prior is None:
        raise ValueError(f"the prior of {folder} is not one of sbirules.priors; pass it as load(folder, prior=...).")
    return prior
