"""Figures: every function takes axes and returns them, axes have names, and dark pages get figures of their own."""

import numpy as np
import pytest
import torch
from cheap import PRIOR, Cheap
from matplotlib.figure import Figure

import sbirules as sr
from sbirules import figures
from sbirules.priors import spike_and_slab, uniform
from sbirules.reporting.equations import typeset
from sbirules.simulators import RateRNN
from sbirules.support.rates import Rate


@pytest.fixture(scope="module")
def posterior():
    store = sr.simulate(Cheap(), PRIOR, 600, seed=1, num_workers=1)
    out = sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)})
    out.sample((400,))
    return out


@pytest.fixture(scope="module")
def checked(posterior):
    return sr.check(posterior, Cheap(), rules=8, networks_per_rule=4, parts="predictions", num_workers=1).success


def polynomial():
    return as_the_prior(uniform(sr.PolynomialRule(degree=2, infer=["tau_e"]), -1, 1, tau_e=(10.0, 100.0)))


def as_the_prior(prior):
    class Draws:
        def sample(self, shape, x=None, show_progress_bars=False):
            return prior.sample(shape)

        def log_prob(self, theta, x=None):
            return prior.log_prob(theta)

    out = sr.Posterior.wrap(Draws(), prior, prior.names)
    out.sample((300,))
    return out


def single():
    """Functions that draw into one panel."""
    return {
        "correlations": lambda p, c, ax: figures.correlations(p, ax),
        "success_rates": lambda p, c, ax: figures.success_rates(c, ax),
        "success_spread": lambda p, c, ax: figures.success_spread(c, ax),
        "success_over": lambda p, c, ax: figures.success_over(p, "a", "b", resolution=9, ax=ax),
        "reliability": lambda p, c, ax: figures.reliability(c, ax=ax),
        "rule_matrix": lambda p, c, ax: figures.rule_matrix(polynomial(), ax),
        "training": lambda p, c, ax: figures.training({"one": [3.0, 2.0, 2.5]}, ax),
        "failures": lambda p, c, ax: figures.failures(torch.randn(90, 2), torch.rand(90) < 0.3, ("a", "b"), ax=ax),
        "held_out": lambda p, c, ax: figures.held_out({"far off": (Rate(0.5, 0.1), Rate(0.1, 0.1))}, "share", ax),
    }


@pytest.mark.parametrize("name", single())
def test_a_panel_can_be_given_and_comes_back(name, posterior, checked):
    draw = single()[name]
    given = Figure().subplots()
    assert draw(posterior, checked, given) is given
    own = draw(posterior, checked, None)
    assert own.get_xlabel() or own.get_xticklabels()
    assert own.get_ylabel() or name in ("correlations", "rule_matrix")
    own.figure.canvas.draw()


def test_grids_take_as_many_axes_as_they_need(posterior):
    axes = Figure().subplots(2, 2)
    assert figures.pairs(posterior, axes=axes, truth=[0.5, 3.0])[1, 0] is axes[1, 0]
    assert axes[1, 0].get_ylim()[1] >= 3.0, "a truth outside the prior is in the picture"
    with pytest.raises(ValueError, match=r"axes must be 4 \(2 x 2\) for this figure, got 1"):
        figures.pairs(posterior, axes=Figure().subplots())
    assert figures.marginals(polynomial()).shape == (2, 1), "a time constant has an axis of its own"


def test_time_constants_of_spikes_have_an_axis_in_milliseconds():
    posterior = as_the_prior(uniform(sr.SpikePairRule(["EE", "IE"]), -1, 1))
    gains, times = figures.marginals(posterior)[:, 0]
    assert [t.get_text() for t in times.get_yticklabels()] == [
        f"tau {side} {synapse} (ms)" for synapse in ("EE", "IE") for side in ("pre", "post")
    ]
    assert times.get_xlabel() == "time constant (ms)"
    assert max(abs(x) for x in gains.get_xlim()) < 2 < 90 < times.get_xlim()[1]
    units = {n: v.attrs["units"] for n, v in posterior.to_inference_data(50)["posterior"].data_vars.items()}
    assert units["tau_post_IE"] == "ms"
    assert units["alpha_IE"] == "natural units"


def test_dark_pages_get_dark_figures(posterior):
    with figures.theme(dark=True):
        dark = figures.correlations(posterior)
        assert figures.palette().paper != "#ffffff"
    light = figures.correlations(posterior)
    assert dark.figure.get_facecolor() != light.figure.get_facecolor()
    assert figures.palette().paper == "#ffffff", "as before"


def test_recorded_activity_and_rounds_and_inclusion():
    family = sr.PolynomialRule(degree=1)
    simulator = RateRNN(family, sr.tasks.DelayedDiscrimination(), num_units=16, num_trials=24)
    run = simulator.run(torch.zeros(2, 4), seed=1, record=[0, 1, 22, 23])
    axes = figures.activity(run, network=1, dt=5.0)
    assert axes.shape == (2, 2)
    line = axes[1, 1].get_lines()[-1]  # unit 0 is drawn last
    np.testing.assert_allclose(line.get_ydata(), run.recording.rate[1, 3, :, 0])
    assert axes[1, 1].get_title() == "after: trial 23, type B"
    with pytest.raises(ValueError, match="as many trials recorded early as late"):
        figures.activity(simulator.run(torch.zeros(2, 4), seed=1))

    found = sr.filter_rules(Cheap(), PRIOR, {"final_error": (0, 0.3)}, budget=400, num_simulations=200, num_workers=1)
    assert len(figures.filter_rounds(found).containers) == 1

    prior = spike_and_slab(Cheap().family, inclusion=0.5)
    store = sr.simulate(Cheap(), prior, 600, seed=1, num_workers=1)
    sparse = sr.fit(store, prior, constraints={"final_error": (0, 0.2)})
    sparse.sample((400,))
    assert figures.inclusion(sparse).get_ylim() == (0, 1)


def test_what_cannot_be_drawn_says_so(posterior):
    with pytest.raises(ValueError, match="rule_matrix needs coefficients theta_kl, got a, b"):
        figures.rule_matrix(posterior)
    with pytest.raises(ValueError, match="is not known"):
        figures.success_over(posterior, "a", "c")
    with pytest.raises(ValueError, match=r"success_over needs a posterior made by fit\(..., constraints"):
        figures.success_over(polynomial(), "theta_00", "theta_01")


def test_names_become_mathematics():
    assert figures.axis_label("theta_13") == r"$\theta_{13}$"
    assert figures.axis_label("tau_e") == r"$\tau_e$ (ms)"
    assert figures.axis_label("hebb_gain") == "hebb gain"
    assert figures.axis_label("x2_rd") == r"$x^{2} \cdot (r-\bar{r})$"
    assert figures.axis_label("w0_constant") == "w0 constant"


def test_panels_stand_below_each_other_on_narrow_pages():
    names, rates = [f"a{k}" for k in range(7)], torch.rand(7, 5)
    assert figures.animals(names, rates, rates).shape == (2, 6)
    with figures.theme(narrow=True):
        assert figures.animals(names, rates, rates).shape == (4, 2)
        assert figures.forest(names, ["u", "v"], torch.rand(20, 7, 2)).shape == (2, 1)
    assert figures.animals(names, rates, rates).shape == (2, 6)


def test_equations_are_mathml_and_what_breaks_is_escaped():
    made = typeset(sr.PolynomialRule(degree=3, terms=["theta_33"], tau_e=100.0).text(torch.tensor([-0.8])))
    assert "0.8" in made["rule"]
    assert made["rule"].count("<math") >= 3
    assert made["words"].count("<math") == 7
    assert "$" not in made["words"]
    assert "http" not in "".join([*made["equations"], made["rule"], made["words"]])

    class Odd(sr.ThreeFactorRule):
        coefficients = (sr.Coefficient("a", "<script>alert(1)</script>", latex=r"\frac{<script>}{"),)

        def drive(self, theta, rate, deviation, weight):
            return theta["a"] * rate * deviation

    odd = typeset(Odd().text(torch.tensor([1.0])))
    assert "<script>" not in "".join([*odd["equations"], odd["rule"]])
