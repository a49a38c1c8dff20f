"""Rules of a hidden layer, each held against what its paper says of it, found in another way than the simulator finds it."""

import pytest
import torch

import sbirules as sr
from sbirules.simulators import FeedforwardNetwork

DOUBLE = torch.float64


def one_trial(family, raw, networks=6, **options):
    """Weights before and after one trial without noise of stimulus A, in networks that were drawn at random."""
    settings = dict(num_hidden=7, num_trials=1, num_recorded=0, unit_noise=0.0, dtype=DOUBLE, summaries=["final_error"])
    quiet = sr.tasks.LabelledStimuli(channels=5, noise=0.0)
    simulator = FeedforwardNetwork(family, quiet, **{**settings, **options})
    return simulator.run([raw] * networks, seed=3, units="raw", keep_weights=True)


def loss(weights, readout, x, target):
    """Half the squared error of each network, summed; written down anew."""
    z = torch.einsum("bh,bh->b", readout, torch.tanh(torch.einsum("bhi,bi->bh", weights, x)))
    return 0.5 * ((z - target) ** 2).sum()


def test_backpropagation_is_the_gradient_of_the_squared_error():
    run = one_trial(sr.Backpropagation(), [0.25, 0.5])
    weights, readout = run.initial_weights.clone().requires_grad_(), run.initial_readout.clone().requires_grad_()
    into, out = torch.autograd.grad(loss(weights, readout, run.stimuli[:, 0], 0.98), (weights, readout))
    torch.testing.assert_close(run.final_weights - run.initial_weights, -0.25 * into, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(run.final_readout - run.initial_readout, -0.5 * out, rtol=1e-10, atol=1e-12)
    assert into.abs().max() > 0.1


def test_backpropagation_with_noise_of_units_is_the_gradient_at_the_noisy_activity():
    """Through the family alone, since the noise of a run is not told."""
    rng = torch.Generator().manual_seed(0)
    weights, v, x, xi = (
        torch.randn(s, generator=rng, dtype=DOUBLE) for s in ((2, 4, 3), (2, 4, 1), (2, 1, 3), (2, 4, 1))
    )
    weights.requires_grad_()
    post = torch.tanh(weights @ x.mT + xi)
    delta = 0.98 - (v * post).sum(dim=(1, 2))
    (gradient,) = torch.autograd.grad((0.5 * delta**2).sum(), weights)
    seen = {"pre": x, "slope": 1 - post.detach() ** 2, "readout": v, "delta": delta.detach()[:, None, None]}
    change = sr.Backpropagation().hidden_change({"eta": torch.tensor(0.7, dtype=DOUBLE)}, **seen)
    torch.testing.assert_close(change, -0.7 * gradient)


def test_feedback_alignment_through_the_output_weights_is_backpropagation():
    settings = dict(num_hidden=9, num_recorded=0, num_trials=60, dtype=DOUBLE)
    v = torch.randn(9, generator=torch.Generator().manual_seed(1), dtype=DOUBLE) / 3
    # the output weights stay where they are, and the feedback with them
    aligned, exact = (
        FeedforwardNetwork(family, **settings).run(
            [[0.05, 0.0]] * 4, seed=2, units="raw", readout=v, feedback=v, keep_weights=True
        )
        for family in (sr.FeedbackAlignment(), sr.Backpropagation())
    )
    assert torch.equal(aligned.final_weights, exact.final_weights)
    assert torch.equal(aligned.error, exact.error)
    other = FeedforwardNetwork(sr.FeedbackAlignment(), **settings).run(
        [[0.05, 0.0]] * 4, seed=2, units="raw", readout=v
    )
    assert not torch.allclose(other.error, exact.error)


def test_feedback_weights_bring_the_output_weights_into_line():
    """Lillicrap et al. (2016): the output weights align with the feedback that is fixed."""
    task = sr.tasks.LabelledStimuli(noise=0.1)
    simulator = FeedforwardNetwork(sr.FeedbackAlignment(), task, num_recorded=0)
    run = simulator.run([[1.0, 0.5]] * 128, seed=0, keep_weights=True)
    before, after = (
        torch.cosine_similarity(v, run.feedback, dim=1).mean() for v in (run.initial_readout, run.final_readout)
    )
    assert abs(before) < 0.05
    assert after > 0.15


def test_an_oja_unit_finds_the_first_principal_component_with_norm_one():
    rng = torch.Generator().manual_seed(0)
    stimuli = torch.randn(4, 8, generator=rng, dtype=DOUBLE)
    stimuli[2] *= 2.5  # one direction of large variance, which is no axis
    noise = 0.2
    simulator = FeedforwardNetwork(
        sr.OjaLayer(),
        sr.tasks.LabelledStimuli(channels=8, noise=noise),
        num_hidden=3,
        num_recorded=0,
        unit_noise=0.0,
        nonlinearity="linear",
        num_trials=2000,
        dtype=DOUBLE,
        summaries=["final_error"],
    )
    run = simulator.run([[0.005, 0.005, 0.0]] * 8, seed=0, units="raw", stimuli=stimuli, keep_weights=True)
    moment = stimuli.T @ stimuli / 4 + noise**2 * torch.eye(8, dtype=DOUBLE)
    first = torch.linalg.eigh(moment).eigenvectors[:, -1]
    along = (run.final_weights @ first).abs()
    torch.testing.assert_close(along, torch.ones(8, 3, dtype=DOUBLE), rtol=0, atol=0.03)
    torch.testing.assert_close(run.final_weights.norm(dim=2), torch.ones(8, 3, dtype=DOUBLE), rtol=0, atol=0.03)
    assert (run.initial_weights @ first).abs().mean() < 0.6


def test_hebbian_growth_and_decay_balance_at_the_mean_product():
    """With one stimulus and without noise: w = hebb h x / decay, with h = tanh(w x)."""
    x = torch.tensor([[0.5, -1.0, 0.3]], dtype=DOUBLE)
    task = sr.tasks.LabelledStimuli(num_stimuli=1, channels=3, noise=0.0)
    settings = dict(
        num_hidden=4, num_recorded=0, unit_noise=0.0, num_trials=400, dtype=DOUBLE, summaries=["final_error"]
    )
    run = FeedforwardNetwork(sr.HebbianLayer(), task, **settings).run(
        [[0.1, 0.05, 0.0]] * 5, seed=1, units="raw", stimuli=x, keep_weights=True
    )
    w = run.final_weights
    h = torch.tanh(w @ x[0])
    torch.testing.assert_close(w, 2.0 * h[:, :, None] * x[0], rtol=1e-6, atol=1e-8)
    assert h.abs().min() > 0.5, "the balance that is not zero"


def test_node_perturbation_follows_the_gradient_on_average():
    """Mean over the noise of the second presentation, against minus the gradient of |error|, from autograd."""
    networks, x = 20_000, torch.tensor([[0.8, -0.5, 0.3, 1.0, -0.2]])
    rng = torch.Generator().manual_seed(4)
    weights, readout = torch.randn(6, 5, generator=rng) / 2, torch.randn(6, generator=rng) / 2
    task = sr.tasks.LabelledStimuli(num_stimuli=1, channels=5, noise=0.0)
    settings = dict(num_hidden=6, num_recorded=0, unit_noise=0.2, summaries=["final_error"])
    known = dict(stimuli=x, weights=weights, readout=readout, units="raw", keep_weights=True)
    # nothing is learned from the first trial, which sets what is expected
    run = FeedforwardNetwork(sr.NodePerturbation(), task, num_trials=2, **settings).run(
        [[0.1, 0.0]] * networks, seed=5, **known
    )
    change = (run.final_weights - weights).mean(dim=0)
    w = weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((0.98 - readout @ torch.tanh(w @ x[0])).abs(), w)
    cosine = torch.cosine_similarity(change.flatten(), -gradient.flatten(), dim=0)
    assert cosine > 0.9
    # a first-order size, too: E[xi (R - Rbar)] = sd^2 dR / d drive
    assert change.norm() == pytest.approx(0.1 * 0.2**2 * gradient.norm().item(), rel=0.3)
    first = FeedforwardNetwork(sr.NodePerturbation(), task, num_trials=1, **settings).run([[0.1, 0.0]], seed=5, **known)
    assert torch.equal(first.final_weights, first.initial_weights)


def test_reward_is_expected_as_a_running_mean_for_each_stimulus():
    """A rule that adds up R - Rbar in its weights, against the errors of the run and a loop over plain numbers."""

    class Ledger(sr.LayeredRule):
        coefficients = (sr.Coefficient("eta", "(R - Rbar)"),)
        sees = ("surprise",)

        def hidden_change(self, theta, *, surprise):
            return theta["eta"] * surprise

    settings = dict(num_trials=30, num_recorded=0, dtype=DOUBLE, expectation_share=0.3, summaries=["final_error"])
    run = FeedforwardNetwork(Ledger(), **settings).run([[0.125, 0.0]] * 3, seed=0, units="raw", keep_weights=True)
    for errors, types, start, end in zip(
        run.error.tolist(), run.trial_types.tolist(), run.initial_weights, run.final_weights, strict=True
    ):
        expected, total = {}, 0.0
        for error, c in zip(errors, types, strict=True):
            total += -error - expected.get(c, -error)
            expected[c] = 0.7 * expected.get(c, -error) - 0.3 * error
        torch.testing.assert_close(end - start, torch.full((40, 20), 0.125 * total, dtype=DOUBLE))


def test_rules_read_as_equations():
    assert sr.Backpropagation().describe([0.5, 0.25]) == "dw_ij = 0.5 (t - z) v_i phi'_i x_j\ndv_i = 0.25 (t - z) h_i"
    assert sr.HebbianLayer().describe([1.0, 0.5, 0.0]).startswith("dw_ij = 1 h_i x_j + 0.5 (-w_ij)")
    text = FeedforwardNetwork(sr.NodePerturbation()).rule_text(torch.tensor([0.5, 0.2]))
    assert r"\bar R" in text.words
    assert "5 %" in text.units


def test_a_family_of_ones_own():
    class Homeostasis(sr.LayeredRule):
        coefficients = (
            sr.Coefficient("eta", "(rho - h_i^2) w_ij"),
            sr.Coefficient("rho", low=0, linear=False, default=0.2),
        )
        sees = ("post", "weight")

        def hidden_change(self, theta, *, post, weight):
            return theta["eta"] * (theta["rho"] - post**2) * weight

    family = Homeostasis()
    assert family.names == ("eta", "rho", "eta_out")
    run = FeedforwardNetwork(family, unit_noise=0.0).run([[1.0, 0.2, 0.0]] * 64, seed=0)
    assert run.responses[:, -50:].square().mean() == pytest.approx(0.2, abs=0.03)
    assert run.responses[:, :20].square().mean() > 0.3

    class Wrong(Homeostasis):
        sees = ("post", "wieghts")

    with pytest.raises(ValueError, match=r"Wrong.sees: 'wieghts' is not known; did you mean 'weight'"):
        Wrong()
