"""What print shows of families and simulators: one line, settings that are not the usual ones, no addresses."""

import pytest
import torch
from cheap import Cheap

import sbirules as sr
from sbirules.simulators import KnownNetwork, LinearGaussian, PolicyNetwork, RateRNN, miconi2017

TASK = sr.tasks.DelayedDiscrimination()


class Plain(sr.ThreeFactorRule):
    coefficients = (sr.Coefficient("hebb", "r_j d_i"),)

    def __init__(self, slope, kernel):
        self.slope, self.kernel = slope, kernel
        super().__init__()

    def drive(self, theta, rate, deviation, weight):
        return theta["hebb"] * rate * deviation


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (sr.PolynomialRule(degree=3), "PolynomialRule(degree=3, terms=[16], 16 coefficients)"),
        (
            sr.PolynomialRule(degree=3, terms=["theta_11"], tau_w=300.0, infer=["tau_e"]),
            "PolynomialRule(degree=3, terms=[theta_11], tau_w=300, infer=[tau_e], 2 coefficients)",
        ),
        (sr.TaylorRule(["c rd", "w"]), "TaylorRule(terms=[c rd, w], 2 coefficients)"),
        (sr.Oja(every_step=True), "Oja(every_step=True, 2 coefficients)"),
        (Plain(0.5, torch.zeros(3)), "Plain(slope=0.5, 1 coefficient)"),
        (
            RateRNN(sr.PolynomialRule(degree=1, terms=["theta_11"]), TASK, num_units=30, gain=1.2),
            "RateRNN(PolynomialRule(degree=1, terms=[theta_11], 1 coefficient), DelayedDiscrimination, num_units=30, "
            "num_trials=400, gain=1.2)",
        ),
        (
            PolicyNetwork(sr.TaylorRule(["c rd"]), nuisance=("lapse",)),
            "PolicyNetwork(TaylorRule(terms=[c rd], 1 coefficient), nuisance=[lapse], num_trials=300)",
        ),
    ],
)
def test_families_and_simulators_read_well(made, shown):
    assert repr(made) == str(made) == shown


@pytest.mark.parametrize(
    "made",
    [
        Cheap(),
        LinearGaussian(sr.PolynomialRule(degree=1), projections=4),
        KnownNetwork(sr.PolynomialRule(degree=1), num_units=12, episodes=2, projections=4),
        miconi2017(TASK),
        sr.MLPRule(("x", "rd", "w"), hidden=4),
        sr.BCM(),
    ],
    ids=lambda made: type(made).__name__,
)
def test_no_line_has_an_address(made):
    shown = repr(made)
    assert shown.startswith(f"{type(made).__name__}(")
    assert " at 0x" not in shown
    assert "\n" not in shown
    assert len(shown) < 300
