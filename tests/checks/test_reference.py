"""RateRNN against an independent step-by-step implementation: same weights, inputs, states and kicks."""

import math

import numpy as np
import pytest
import torch
from reference.stepwise import learn

from sbirules import PolynomialRule
from sbirules.model.tasks.catalogue import DelayedDiscrimination
from sbirules.simulators import RateRNN
from sbirules.simulators.rate._network import Connectivity

TRIALS, UNITS = 22, 12
TASK = DelayedDiscrimination(stimulus=40.0, delay=20.0, response=40.0)

CASES = {
    "degree 2": (dict(degree=2), {}),
    "degree 3": (dict(degree=3), {}),
    "one term": (dict(degree=3, terms=["theta_33"]), {}),
    "decay of trace and weights": (dict(degree=3, tau_e=60.0, tau_w=40.0), {}),
    "powers of the weight": (dict(degree=2, weight_degree=2), {}),
    "powers of the weight, decaying": (dict(degree=2, weight_degree=1, tau_e=60.0), {}),
    "running mean": (dict(degree=3), dict(tau_xbar=20.0)),
    "mask": (dict(degree=2), dict(mask=0.4)),
    "Dale's law": (dict(degree=2), dict(dale=True)),
    "mask and Dale's law": (dict(degree=3, tau_w=30.0), dict(mask=0.6, dale=True)),
    "threshold-linear": (dict(degree=2), dict(nonlinearity="threshold_linear")),
    "sigmoid": (dict(degree=2), dict(nonlinearity="sigmoid")),
    "Miconi's options": (
        dict(degree=3, terms=["theta_33"]),
        dict(
            max_weight_change=2e-3,
            error_factor=True,
            initial_expectation=0.0,
            tau_xbar=1.7,
            reset_xbar=False,
            trace_start=3,
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_agree_with_plain_loops(case):
    rule_options, options = CASES[case]
    rng = np.random.default_rng(len(case))
    family = PolynomialRule(**rule_options)
    task = TASK
    if options.get("nonlinearity"):  # non-negative rates cannot reach a negative target

        class Positive(DelayedDiscrimination):
            def tensors(self, dt):
                t = super().tensors(dt)
                return type(t)(t.inputs, t.targets.abs() * torch.tensor([0.2, 0.8]), t.response)

        task = Positive(stimulus=40.0, delay=20.0, response=40.0)
    simulator = RateRNN(family, task, num_units=UNITS, num_trials=TRIALS, warm_up=2, dtype=torch.float64, **options)
    batch = 2
    network = Connectivity(UNITS, 1.5, None, options.get("dale", False))
    signs = network.signs(torch.device("cpu"), torch.float64)
    mask = None
    if "mask" in options:
        mask = torch.tensor(rng.random((UNITS, UNITS)) < options["mask"])
        simulator = simulator.with_settings(mask=mask)
    stream = torch.Generator().manual_seed(len(case))
    weights = network.draw(batch, None if mask is None else mask[None], stream, torch.float64)
    tensors = task.tensors(5.0)
    steps = len(tensors.response)
    input_weights = rng.uniform(-1, 1, (batch, UNITS, 2))
    states = rng.uniform(-0.1, 0.1, (batch, TRIALS, UNITS))
    kicks = rng.uniform(-1, 1, (batch, TRIALS, steps, UNITS)) * (rng.random((batch, TRIALS, steps, UNITS)) < 0.05)
    types = np.arange(TRIALS) % 2
    raw = torch.tensor(rng.uniform(-1, 1, (batch, family.dim))) * simulator.raw_per_unit * 2.0
    inputs = tensors.inputs.numpy()[types]

    run = simulator.run(
        raw,
        units="raw",
        weights=weights,
        input_weights=input_weights,
        initial_states=states,
        kicks=kicks,
        trial_types=types,
        keep_weights=True,
    )
    assert run.status_counts()["OK"] == batch

    for b in range(batch):
        theta = dict(zip(family.powers.values(), raw[b].tolist(), strict=False))
        w, errors = learn(
            theta,
            weights[b].numpy(),
            input_weights[b],
            states[b],
            kicks[b],
            inputs,
            tensors.targets.numpy()[types],
            types,
            int(tensors.response.int().argmax()),
            tau_e=family.tau_e,
            tau_w=family.tau_w,
            tau_xbar=options.get("tau_xbar", 0.0),
            phi=options.get("nonlinearity", "tanh"),
            mask=mask,
            signs=None if signs is None else signs.numpy(),
            max_change=options.get("max_weight_change", math.inf),
            error_factor=options.get("error_factor", False),
            initial_expectation=options.get("initial_expectation"),
            reset_xbar=options.get("reset_xbar", True),
            trace_start=options.get("trace_start", 0),
        )
        moved = np.abs(w - weights[b].numpy()).max()
        assert moved > 1e-3, "the comparison means nothing if the weights hardly change"
        np.testing.assert_allclose(run.final_weights[b].numpy(), w, rtol=0, atol=1e-9)
        np.testing.assert_allclose(run.error[b].numpy(), errors, rtol=0, atol=1e-9)
