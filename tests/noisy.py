"""A simulator with a closed form: each summary is its coefficient plus Gaussian noise, on top of an offset."""

import torch
from torch.distributions import Independent, Uniform

import sbirules as sr
from sbirules.inference.estimators.likelihood import LikelihoodSettings
from sbirules.neural_nets.ensembles import EnsembleSettings
from sbirules.support import arguments
from sbirules.support.streams import generator

QUICK = LikelihoodSettings(members=1, epochs=5, min_steps=200)
QUICK_NPE = sr.NPESettings(members=1, epochs=8, min_steps=400)
SMALL = EnsembleSettings(members=2, hidden=16, max_epochs=30, patience=5)
SAMPLER = sr.SamplerSettings(num_runs=2, num_particles=512, max_doublings=0)
NOISE = 0.2


class Two(sr.RuleFamily):
    coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))


def summary_of(name):
    return sr.summary(name, fields=[name])(lambda run: getattr(run, name))


class Noisy(sr.Simulator):
    own_fields = tuple(sr.Field(n, per="run", dtype="float64") for n in ("first", "second"))
    success = {}  # noqa: RUF012 - nothing counts as success

    def __init__(self, noise=NOISE, offset=0.0):
        super().__init__(Two(), None, [summary_of("first"), summary_of("second")])
        self.noise, self.offset = noise, offset

    raw_per_unit = torch.ones(2)

    def config(self):
        return {"simulator": "noisy", "noise": self.noise, "offset": self.offset}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        theta = arguments.theta_matrix(theta, self.names).double()
        x = self.offset + theta + self.noise * torch.randn(theta.shape, generator=generator(seed or 0)).double()
        status = torch.zeros(len(theta), dtype=torch.int8)
        types = torch.zeros(len(theta), 1, dtype=torch.long)
        return sr.Trajectory(status, types, per_run={"first": x[:, 0], "second": x[:, 1]})


def box(dim=1, size=1.0):
    end = torch.full((dim,), float(size))
    return Independent(Uniform(-end, end), 1)


def line(n=2000, dim=1):
    """Rules of the box, and each plus noise, `(n, dim)`."""
    stream = generator(0)
    theta = 2 * torch.rand(n, dim, generator=stream) - 1
    return theta, theta + NOISE * torch.randn(n, dim, generator=stream)


def fitted(theta, x, x_o, prior=None, **options):
    options = {"settings": QUICK_NPE if options.get("estimator") == "npe" else QUICK, "classifier": SMALL, **options}
    store = sr.SimulationStore.from_arrays(theta, x)
    return sr.fit(store, prior or box(theta.shape[1]), x_o=x_o, sampler=SAMPLER, **options)


def moments(posterior, size=1.0):
    draws = posterior.sample((1000,)).double() / size
    return draws.mean(dim=0).tolist(), draws.std(dim=0).tolist()
