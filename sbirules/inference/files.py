"""Posteriors on disk: JSON and safetensors, no pickle."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import Distribution

from sbirules.inference.animals import AnimalDraws
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
from sbirules.support import tensors as tensor_files
from sbirules.support.files import Plain, digest, make_folder, read_json, reading, write_json

__all__ = ["Kept", "load", "save"]

SCHEMA = 4  # 3 had no checksums
CONTENT, TENSORS = "posterior.json", "posterior.safetensors"
REMEDY = "Fit and save again: the simulations are not touched."


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
    animals: AnimalDraws | None = None


def save(kept: Kept, folder: Path) -> None:
    """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
    net, question, chains = kept.potential, kept.question, kept.chains
    shape = net.config()  # says why a wrapped posterior or a function cannot be saved
    make_folder(folder)
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    tensors |= points_of(kept.prior)
    if chains is not None:
        tensors["draws"] = chains.draws
    if kept.animals is not None:
        tensors |= kept.animals.tensors()
    if kept.raw_per_unit is not None:
        tensors["raw_per_unit"] = kept.raw_per_unit
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
        "animals": None if kept.animals is None else kept.animals.config(),
        "versions": {"torch": torch.__version__},
    }
    # the tensors name their JSON file, so that a crash between the two cannot pair them wrongly
    tensor_files.write(folder / TENSORS, tensors, content=digest(content))
    write_json(folder / CONTENT, content)


def load(folder: Path, prior: PriorLike | None = None) -> Kept:
    """A posterior written by `save`.

    Arguments:
        folder: Where it is.
        prior: The prior, needed only if it has no plain form in the file.

    Raises:
        ValueError: If the files are missing, foreign or do not fit together, or the prior is another one.
    """
    for name in (CONTENT, TENSORS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no posterior: {name} is missing.")
    content = read_json(folder / CONTENT)
    if content.get("schema") == 2:
        raise ValueError(
            f"{folder} was saved by sbirules 0.1; fit again, which is quick: the simulations of 0.1 are read as they are."
        )
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{folder / CONTENT} was not written by this version of sbirules. {REMEDY}")
    try:
        facts, tensors = tensor_files.read(folder / TENSORS)
    except tensor_files.DamagedFile as error:
        raise ValueError(f"{folder} is damaged: {error}. {REMEDY}") from error
    if facts.get("content") != digest(content):
        raise ValueError(
            f"{folder / TENSORS} does not hold this posterior: it was saved with another {CONTENT}. {REMEDY}"
        )
    with reading(folder / CONTENT, REMEDY):
        asked = None if content["question"] is None else str(content["question"]["kind"])
        learned = str(content["potential"]["kind"])
    kind, potential = _kinds(asked, learned, folder)
    with reading(folder / CONTENT, REMEDY):
        names = tuple(str(name) for name in content["names"])
        told = content["prior"]
        plainly = None if told is None else from_written(told)
    if prior is not None:
        whole = _same_prior(prior, names, told, tensors, folder)
    elif plainly is not None:
        whole = plainly
    else:
        raise ValueError(f"the prior of {folder} is not one of sbirules.priors; pass it as load(folder, prior=...).")
    with reading(folder / CONTENT, REMEDY):
        kept = _taken_apart(content, tensors, kind, potential, whole)
    if kept.question is not None and kept.question.forgotten():
        warnings.warn(f"{folder}: {kept.question.forgotten()}")
    return kept


def _kinds(asked: str | None, learned: str, folder: Path) -> tuple[type[Question] | None, type[Potential]]:
    """Classes of the question and of the potential, which code of one's own may have added."""
    kind = None if asked is None else QUESTIONS.get(asked)
    if kind is None and asked is not None:
        raise ValueError(
            f"{folder} answers a question of the kind {asked!r}, which is not registered here: import the module "
            f"that adds it to sbirules.inference.questions.QUESTIONS first."
        )
    potentials = {**POTENTIALS, **(kind.potentials if kind is not None else {})}
    if learned not in potentials:
        raise ValueError(
            f"{folder} holds a potential of the kind {learned!r}, which is not registered here: import the module "
            f"that adds it to sbirules.inference.estimators.POTENTIALS first."
        )
    return kind, potentials[learned]


def _taken_apart(
    content: Plain,
    tensors: dict[str, Tensor],
    kind: type[Question] | None,
    potential: type[Potential],
    prior: Distribution,
) -> Kept:
    net = potential.from_config(content["potential"]["config"])
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    question = None if kind is None else kind.from_config(content["question"]["config"])
    names = tuple(content["names"])
    chains = None
    if content["chains"] is not None:
        z = content["chains"]["log_evidence"]
        r_hat, ess = (_number(content["chains"][name]) for name in ("r_hat", "ess"))
        chains = Chains(tensors["draws"], r_hat, ess, (_number(z[0]), _number(z[1])))
    return Kept(
        prior,
        names,
        net.eval(),
        question,
        FitRecord.from_config(content["record"]),
        SamplerSettings(**content["sampler"]),
        tensors.get("raw_per_unit"),
        {names.index(name): float(value) for name, value in content["hold"].items()},
        {names.index(name): (float(low), float(high)) for name, (low, high) in content["region"].items()},
        chains,
        None if content.get("animals") is None else AnimalDraws.from_config(content["animals"], tensors),
    )


def _same_prior(
    given: PriorLike, names: tuple[str, ...], told: Plain | None, tensors: dict[str, Tensor], folder: Path
) -> Distribution:
    """The prior that is given, which must be the posterior's own."""
    whole = as_prior(given, names)
    if names_of(whole, names) != names:
        mine, theirs = arguments.listed(names_of(whole)), arguments.listed(names)
        raise ValueError(f"the prior is over {mine}, the posterior of {folder} over {theirs}.")
    check_same(whole, told, tensors, folder)
    return whole


def _number(value: float | None) -> float:
    """JSON has no NaN."""
    return float("nan") if value is None else float(value)
