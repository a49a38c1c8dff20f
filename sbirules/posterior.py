"""The distribution over rules: samples, density, files."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution

from sbirules import _check
from sbirules.amortised import AmortisedPosterior
from sbirules.files import digest, read_json, write_atomically, write_json
from sbirules.potentials import KINDS, TrialsPotential
from sbirules.sampling import Chains, SamplerSettings, draw_chains
from sbirules.streams import seeded

if TYPE_CHECKING:
    import arviz
    from matplotlib.figure import Figure

__all__ = ["Posterior"]

SCHEMA = 1


class Posterior:
    """A posterior over rules, in natural units, inside the prior's support.

    Made by `sbirules.fit`; `Posterior.wrap` makes one of any sbi posterior.

    Arguments:
        prior: The prior.
        names: Names of the columns of theta.
        potential: Log-likelihood `(n,)` of theta `(n, D)`, a module that knows what was asked.
        facts: What was asked, in plain types: constraints, number of networks, learners, summaries.
        settings: Of the sampler.
    """

    def __init__(
        self,
        prior: Distribution,
        names: Sequence[str],
        potential: nn.Module | None,
        facts: Mapping[str, Any] | None = None,
        settings: SamplerSettings | None = None,
    ) -> None:
        self.prior, self.names = prior, tuple(names)
        if potential is not None:
            potential.requires_grad_(False)
            if isinstance(potential, AmortisedPosterior):
                potential.bind(prior)
        self.potential_net, self.facts = potential, dict(facts or {})
        self.settings = settings or SamplerSettings()
        self.chains: Chains | None = None
        self.raw_per_unit: Tensor | None = None

    @staticmethod
    def wrap(posterior: Any, prior: Distribution, names: Sequence[str], x: Tensor | None = None) -> Posterior:
        """Any sbi posterior as one of ours, for checks and reports.

        Arguments:
            posterior: With `sample(shape, x=...)` and `log_prob(theta, x=...)`, as sbi's have.
            prior: Its prior.
            names: Names of the columns of theta.
            x: What to condition on; None for the posterior's default.
        """
        return _Wrapped(posterior, prior, names, x)

    # Sampling and density -------------------------------------------------------------------------

    def sample(self, sample_shape: Sequence[int] | Size = (), *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws theta, `(*sample_shape, D)`, in natural units; all chains, shuffled.

        The same seed gives the same draws, whatever torch's global seed.
        The chains themselves, with their R-hat, are then in `posterior.chains`.
        """
        n = Size(sample_shape).numel()
        self.chains = self._draw(max(n, 1), seed, progress)
        flat = self.chains.draws.reshape(-1, len(self.names))
        with seeded(seed, 1):
            flat = flat[torch.randperm(len(flat))][:n]
        return flat.reshape(*sample_shape, len(self.names))

    def _draw(self, n: int, seed: int, progress: bool) -> Chains:
        if isinstance(self.potential_net, AmortisedPosterior):  # independent draws, without MCMC
            with seeded(seed):
                return Chains(self.potential_net.sample(n)[None], math.nan, math.nan)
        return draw_chains(self.potential, self.prior, n, self.settings, seed=seed, progress=progress)

    def sample_tempered(self, num_samples: int, power: float, *, seed: int = 0, progress: bool = False) -> Tensor:
        """Draws `(num_samples, D)` from prior x likelihood^power: wider than the posterior for a power below 1."""

        def potential(theta: Tensor) -> Tensor:
            prior = self.prior.log_prob(theta)
            return prior + power * (self.potential(theta) - prior)

        chains = draw_chains(potential, self.prior, num_samples, self.settings, seed=seed, progress=progress)
        return chains.draws.reshape(-1, len(self.names))[:num_samples]

    def potential(self, theta: Any) -> Tensor:
        """Unnormalised log-density `(n,)` of theta `(n, D)`: log prior + log-likelihood; -inf outside the prior."""
        theta = _check.theta_matrix(theta, self.names).float()
        value = self.prior.log_prob(theta).float()
        if isinstance(self.potential_net, AmortisedPosterior):
            return torch.where(torch.isfinite(value), self.potential_net(theta), -math.inf)
        if self.potential_net is not None:
            value = torch.where(torch.isfinite(value), value + self.potential_net(theta), value)
        return value

    def given(self, x_o: Any) -> Posterior:
        """The posterior given another observation of the same summaries; nothing is trained again.

        Arguments:
            x_o: A row of the summaries named in `posterior.facts["summaries"]`, or a table of them by name.

        Raises:
            ValueError: If this posterior was not fitted to one observation.
        """
        from sbirules.fit_observation import observed

        net = self.potential_net
        if self.facts.get("kind") != "observation" or not isinstance(net, (AmortisedPosterior, TrialsPotential)):
            raise ValueError("given(x_o) needs a posterior made by fit(store, prior, x_o=...).")
        row, columns = observed(x_o, self.facts["summaries"])
        if len(columns) < len(self.facts["summaries"]):
            raise ValueError(f"x_o must hold all of {_check.listed(self.facts['summaries'])}.")
        out = Posterior(self.prior, self.names, net.given(row), {**self.facts, "x_o": row.tolist()}, self.settings)
        out.raw_per_unit = self.raw_per_unit
        return out

    def log_prob(self, theta: Any) -> Tensor:
        """Log-density `(n,)`, the same as `potential`: normalised for `estimator="npe"`, otherwise not.

        Subtract `log_evidence()[0]` to normalise it; that estimate comes with its error.
        """
        return self.potential(theta)

    def log_evidence(self, num_samples: int = 100_000, seed: int = 0) -> tuple[float, float]:
        """Log of the normalising constant and its Monte Carlo error, from draws of the prior.

        The error is infinite where too few draws carry the weight (effective sample size below 50).
        """
        with seeded(seed), torch.no_grad():
            theta = self.prior.sample(Size((num_samples,))).float()
            value = torch.cat([self.potential(t) - self.prior.log_prob(t) for t in theta.split(5000)]).double()
        weight = torch.softmax(value, dim=0)
        ess = 1.0 / float((weight**2).sum())
        estimate = float(torch.logsumexp(value, dim=0)) - math.log(num_samples)
        return estimate, math.sqrt(max(0.0, 1.0 / ess - 1.0 / num_samples)) if ess >= 50 else math.inf

    # For other tools ------------------------------------------------------------------------------

    def to_inference_data(self, num_samples: int = 2000, seed: int = 0) -> arviz.InferenceData:
        """Prior and posterior as ArviZ InferenceData, one scalar variable per coefficient.

        Takes the chains of the last `sample`, or draws some.
        """
        from sbirules.inference_data import inference_data

        if self.chains is None:
            self.sample((num_samples,), seed=seed)
        return inference_data(self, seed=seed)

    def pairplot(self, num_samples: int = 2000, *, truth: Any = None, seed: int = 0) -> Figure:
        """One- and two-dimensional marginals, by sbi's `pairplot`."""
        from sbirules.figures import pair_figure

        if self.chains is None:
            self.sample((num_samples,), seed=seed)
        return pair_figure(self, truth=truth)

    @property
    def draws(self) -> Tensor:
        """The draws of the last `sample`, chain after chain, `(n, D)`."""
        if self.chains is None:
            raise ValueError("there are no draws yet; call posterior.sample((1000,)) first.")
        return self.chains.draws.reshape(-1, len(self.names))

    # Files ----------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes `posterior.json` and `posterior.safetensors`: no pickle, so a file cannot run code."""
        net: Any = self.potential_net
        if net is None:
            raise ValueError("only posteriors made by sbirules.fit can be saved; save a wrapped one with its own tool.")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"net.{k}": v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
        if self.chains is not None:
            tensors["draws"] = self.chains.draws.contiguous()
        if self.raw_per_unit is not None:
            tensors["raw_per_unit"] = self.raw_per_unit.contiguous()
        # a tensor that shares memory with another would be refused
        tensors = {k: v.clone() for k, v in tensors.items()}
        prior: Any = self.prior
        try:  # only a prior that its config brings back is worth writing down
            known = type(prior).from_config(prior.config()) is not None
        except (AttributeError, ValueError):
            known = False
        kind = f"{type(prior).__module__}:{type(prior).__qualname__}"
        content = {
            "schema": SCHEMA,
            "kind": net.kind,
            "names": self.names,
            "facts": self.facts,
            "prior": {"class": kind, "config": prior.config()} if known else None,
            "potential": net.config(),
            "sampler": vars(self.settings),
            "chains": None if self.chains is None else {"r_hat": self.chains.r_hat, "ess": self.chains.ess},
            "versions": {"torch": torch.__version__},
        }  # fmt: skip
        # the tensors name their JSON file, so that a crash between the two cannot pair them wrongly
        of = {"content": digest(content)}
        write_atomically(folder / "posterior.safetensors", lambda p: safetensors.torch.save_file(tensors, str(p), of))
        write_json(folder / "posterior.json", content)

    @staticmethod
    def load(folder: str | Path, prior: Distribution | None = None) -> Posterior:
        """A posterior written by `save`.

        Arguments:
            folder: Where it is.
            prior: The prior, needed only if it was not one of `sbirules.priors`.

        Raises:
            ValueError: If the files are missing, foreign or do not fit together.
        """
        folder = Path(folder)
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
        if content["chains"] is not None:
            chains = {k: float("nan") if v is None else float(v) for k, v in content["chains"].items()}
            out.chains = Chains(tensors["draws"], **chains)
        return out


def _prior_of(content: Any, folder: Path) -> Distribution:
    """A prior of the catalogue, found by name so that the core need not import it."""
    if not content or content["class"] != "sbirules.priors.independent:IndependentPrior":
        raise ValueError(f"the prior of {folder} is not one of sbirules.priors; pass it as load(folder, prior=...).")
    kind = importlib.import_module("sbirules.priors").IndependentPrior
    return kind.from_config(content["config"])


class _Wrapped(Posterior):
    def __init__(self, posterior: Any, prior: Distribution, names: Sequence[str], x: Tensor | None) -> None:
        for method in ("sample", "log_prob"):
            if not callable(getattr(posterior, method, None)):
                raise ValueError(f"posterior must have a method {method!r}, as sbi's posteriors have.")
        super().__init__(prior, names, None, {"kind": "wrapped"})
        self.inner, self.x = posterior, x

    def _draw(self, n: int, seed: int, progress: bool) -> Chains:
        with seeded(seed):
            draws = self.inner.sample((n,), x=self.x, show_progress_bars=progress)
        if draws.shape[-1] != len(self.names):
            raise ValueError(f"the posterior has {draws.shape[-1]} columns, but {len(self.names)} names were given.")
        return Chains(draws.reshape(1, n, -1), math.nan, math.nan)

    def potential(self, theta: Any) -> Tensor:
        return self.inner.log_prob(_check.theta_matrix(theta, self.names).float(), x=self.x)
