"""Posteriors on disk: JSON and safetensors, no pickle."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch.distributions import Distribution

from sbirules.files import digest, read_json, write_atomically, write_json
from sbirules.posterior import Posterior
from sbirules.potentials import KINDS
from sbirules.sampling import Chains
from sbirules.smc import SamplerSettings

__all__ = ["load", "save"]

SCHEMA = 2


def save(posterior: Posterior, folder: Path) -> None:
    """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
    net: Any = posterior.potential_net
    chains = posterior.chains
    if net is None:
        raise ValueError("only posteriors made by sbirules.fit can be saved; save a wrapped one with its own tool.")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"net.{k}": v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    if chains is not None:
        tensors["draws"] = chains.draws.contiguous()
    if posterior.raw_per_unit is not None:
        tensors["raw_per_unit"] = posterior.raw_per_unit.contiguous()
    # a tensor that shares memory with another would be refused
    tensors = {k: v.clone() for k, v in tensors.items()}
    prior: Any = posterior.prior
    try:  # only a prior that its config brings back is worth writing down
        known = type(prior).from_config(prior.config()) is not None
    except (AttributeError, ValueError):
        known = False
    kind = f"{type(prior).__module__}:{type(prior).__qualname__}"
    content = {
        "schema": SCHEMA,
        "kind": net.kind,
        "names": posterior.names,
        "facts": posterior.facts,
        "prior": {"class": kind, "config": prior.config()} if known else None,
        "potential": net.config(),
        "sampler": vars(posterior.settings),
        "hold": {posterior.names[k]: v for k, v in posterior.hold.items()},
        "region": {posterior.names[k]: list(v) for k, v in posterior.region.items()},
        "chains": None if chains is None else {
            "r_hat": chains.r_hat, "ess": chains.ess, "log_evidence": list(chains.log_evidence)
        },
        "versions": {"torch": torch.__version__},
    }  # fmt: skip
    # the tensors name their JSON file, so that a crash between the two cannot pair them wrongly
    of = {"content": digest(content)}
    write_atomically(folder / "posterior.safetensors", lambda p: safetensors.torch.save_file(tensors, str(p), of))
    write_json(folder / "posterior.json", content)


def load(folder: Path, prior: Distribution | None = None) -> Posterior:
    """A posterior written by `save`.

    Arguments:
        folder: Where it is.
        prior: The prior, needed only if it was not one of `sbirules.priors`.

    Raises:
        ValueError: If the files are missing, foreign or do not fit together.
    """
    for name in ("posterior.json", "posterior.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no posterior: {name} is missing.")
    content = read_json(folder / "posterior.json")
    if content.get("schema") != SCHEMA or content.get("kind") not in KINDS:
        raise ValueError(f"{folder / 'posterior.json'} was not written by this version of sbirules.")
    if prior is None:
        prior = _prior_of(content["prior"], folder)
    try:
        with safetensors.safe_open(str(folder / "posterior.safetensors"), framework="pt") as handle:
            if (handle.metadata() or {}).get("content") != digest(content):
                raise ValueError("it was saved with another posterior.json.")
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - no container
        net = KINDS[content["kind"]].from_config(content["potential"])
        net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    except Exception as error:
        raise ValueError(f"{folder / 'posterior.safetensors'} does not hold this posterior: {error}") from error
    out = Posterior(prior, content["names"], net.eval(), content["facts"], SamplerSettings(**content["sampler"]))
    out.raw_per_unit = tensors.get("raw_per_unit")
    out.hold = {out.names.index(name): value for name, value in content["hold"].items()}
    out.region = {out.names.index(name): (float(low), float(high)) for name, (low, high) in content["region"].items()}
    kept = content["chains"]
    if kept is not None:
        z = kept["log_evidence"]
        out.chains = Chains(
            tensors["draws"], _number(kept["r_hat"]), _number(kept["ess"]), (_number(z[0]), _number(z[1]))
        )
    return out


def _number(value: float | None) -> float:
    """JSON has no NaN."""
    return float("nan") if value is None else float(value)


def _prior_of(content: Any, folder: Path) -> Distribution:
    """A prior of the catalogue, found by name so that the core need not import it."""
    module, _, name = (content or {}).get("class", "").partition(":")
    catalogue = importlib.import_module("sbirules.priors")
    kind = getattr(catalogue, name, None) if name in catalogue.__all__ else None
    if kind is None or kind.__module__ != module:
        raise ValueError(f"the prior of {folder} is not one of sbirules.priors; pass it as load(folder, prior=...).")
    return kind.from_config(content["config"])
