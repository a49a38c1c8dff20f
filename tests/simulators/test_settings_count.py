"""Settings do what they say under every backend, or are refused; none is accepted and ignored."""

import pytest
import torch

import sbirules as sr
from sbirules.inference.questions import ConstraintsQuestion
from sbirules.simulators import RateRNN

TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
FAMILY = sr.PolynomialRule(degree=1)


def network(**settings):
    return RateRNN(FAMILY, TASK, num_units=12, num_trials=4, **settings)


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("given", [False, True])
def test_input_to_readout(backend, given):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(12, 2, generator=generator) if given else None
    runs = {}
    for to_readout in (True, False):
        simulator = network(backend=backend, input_to_readout=to_readout)
        # no synapses: the read-out unit sees the task by its own input only
        still = {"weights": torch.zeros(12, 12), "kicks": torch.zeros(4, 20, 12)}
        runs[to_readout] = simulator.run(
            torch.zeros(1, 4), seed=1, input_weights=weights, record=[0, 1], initial_states=torch.zeros(4, 12), **still
        )
    assert runs[False].recording.rate[..., 0].abs().max() == 0
    assert runs[True].recording.rate[..., 0].abs().max() > 0
    others = [runs[k].recording.rate[..., 2:] for k in (True, False)]
    torch.testing.assert_close(*others)
    if given:
        assert torch.equal(weights, torch.rand(12, 2, generator=torch.Generator().manual_seed(0))), "as it was"


@pytest.mark.parametrize("readout", ["random", torch.ones(12)])
def test_input_to_readout_needs_a_unit_that_is_read_out(readout):
    with pytest.raises(ValueError, match="input_to_readout = False keeps task input from the read-out unit"):
        network(input_to_readout=False, readout=readout)


def test_settings_that_would_not_count_are_refused():
    with pytest.raises(ValueError, match="tau_e is inferred, so that its value 50 would not count"):
        sr.PolynomialRule(degree=1, tau_e=50.0, infer=["tau_e"])
    with pytest.raises(ValueError, match="error_factor = True scales with the reward"):
        RateRNN(sr.BCM(), TASK, num_units=12, num_trials=4, error_factor=True)


@pytest.mark.parametrize("name", ["tau", "dt", "tau_xbar", "gain", "kick_rate"])
def test_infinity_is_refused_where_it_makes_no_sense(name):
    with pytest.raises(ValueError, match=f"{name} must be (a )?finite"):
        network(**{name: float("inf")})


def test_defaults_of_coefficients_are_values_that_they_can_have():
    for wrong in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="a: default must be a finite number"):
            sr.Coefficient("a", default=wrong)
    with pytest.raises(ValueError, match=r"a: default must be a number in \[1, 3\], got 0"):
        sr.Coefficient("a", low=1.0, high=3.0, linear=False)


@pytest.mark.parametrize(("reliability", "shown"), [(0.999, "99.9%"), (0.995, "99.5%"), (0.9, "90%"), (1.0, "100%")])
def test_a_demanded_reliability_is_said_as_it_was_asked(reliability, shown):
    asked = ConstraintsQuestion.ask({"learned": (1, 1)}, sr.Layout(), ["learned"], reliability=reliability)
    assert f"in at least {shown} of random networks" in asked.words("Which rules", "")
