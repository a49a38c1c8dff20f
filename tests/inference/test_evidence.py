"""The error of the log-evidence is that of the sampler and of what was learned."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

import sbirules as sr
from sbirules.inference.density import EVIDENCE
from sbirules.inference.potentials import FunctionPotential, Replicates

PRIOR = Independent(Normal(torch.zeros(1), torch.ones(1)), 1)
QUICK = sr.SamplerSettings(num_runs=4, num_particles=512, num_moves=4, max_doublings=0)
NOISE = 0.3


def exact(x):
    """log N(x; 0, 1 + noise^2)."""
    return Normal(0.0, math.sqrt(1 + NOISE**2)).log_prob(torch.tensor(x))


def fitted(seed, n=400, **options):
    torch.manual_seed(seed)
    theta = torch.randn(n, 1)
    store = sr.SimulationStore.from_arrays(theta, theta + NOISE * torch.randn(n, 1))
    small = sr.LikelihoodSettings(members=2, hidden_features=10, epochs=6, min_steps=0)
    return sr.fit(store, PRIOR, x_o=[1.0], settings=small, sampler=QUICK, seed=seed)


def test_errors_of_the_evidence_are_as_large_as_they_say():
    """Six independent fits, one observation each: differences from the exact value in units of the error."""
    scores, learned = [], []
    for seed, x_o in enumerate((0.0, 0.5, -1.0, 1.5, -2.0, 0.8)):
        posterior = fitted(seed).given([x_o])
        value, error = posterior.log_evidence()
        scores.append((value - float(exact(x_o))) / error)
        rules = posterior._chains(EVIDENCE, 0).draws.flatten(0, 1)  # that the evidence is of
        learned.append(posterior._error_of_learning(rules))
        assert error > learned[-1] > 0
    size = math.sqrt(sum(s * s for s in scores) / len(scores))
    assert size < 2.2, "errors are not larger than they say"
    assert size > 0.1, "and not all but infinitely smaller"
    assert max(abs(s) for s in scores) < 4


def test_the_error_of_replicates_is_the_jackknifes():
    """Likelihoods that differ by a constant: the evidence differs by that constant."""

    class Learned(FunctionPotential):
        def replicates(self, theta):
            whole = self.log_likelihood(theta)
            return [Replicates(torch.stack([whole + c for c in (-0.3, 0.0, 0.3)]), 2.0)]

    potential = Learned(lambda theta: -0.5 * theta.square().sum(dim=1))
    posterior = sr.Posterior(PRIOR, ["a"], potential, settings=QUICK)
    value, error = posterior.log_evidence()
    alone = sr.Posterior(PRIOR, ["a"], potential.function, settings=QUICK).log_evidence()
    assert value == alone[0] == pytest.approx(-0.5 * math.log(2), abs=0.1)
    assert error == pytest.approx(math.hypot(alone[1], math.sqrt(2 * 0.06)), rel=1e-3)


def test_every_estimator_tells_the_error_of_what_it_learned():
    from cheap import PRIOR as BOX
    from cheap import Cheap

    store = sr.simulate(Cheap(), BOX, 600, seed=1, num_workers=1, progress=False)
    sampler = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=2, max_doublings=0)
    run = Cheap().run(torch.tensor([[0.3, 0.2]]).expand(4, 2), seed=5)
    run.status[:] = 0
    table = sr.Trials(tuple("abcd"), run)
    few = sr.EnsembleSettings(members=3, max_epochs=20)
    asked = {
        "constraints": sr.fit(store, BOX, constraints={"final_error": (0, 0.3)}, classifier=few, sampler=sampler),
        "ratio": sr.fit(store, BOX, trials=table, settings=few, classifier=few, sampler=sampler),
    }
    for name, posterior in asked.items():
        assert posterior._error_of_learning(posterior.draws) > 0, name
    # one network of each rule: the evidence is the share of networks that hold, whose error is known
    share = float(((store.x[:, 0] >= 0) & (store.x[:, 0] <= 0.3)).float().mean())
    value, error = asked["constraints"].log_evidence()
    assert abs(value - math.log(share)) < 3 * math.hypot(error, math.sqrt((1 - share) / share / 600))
