"""RateRNN: what a user relies on beside the equations (which test_reference.py checks)."""

import math

import pytest
import torch
from scipy import stats

from sbirules import Coefficient, PolynomialRule, RuleFamily, Status
from sbirules.model.summaries import summarise
from sbirules.model.tasks.catalogue import DelayedDiscrimination, DelayedNonMatchToSample
from sbirules.simulators import MICONI_THETA_33, RateRNN, miconi2017
from sbirules.simulators.rate._draws import block_rows
from sbirules.simulators.rate._drive import UniformKicks, draw_kicks
from sbirules.simulators.rate._network import Connectivity

TASK = DelayedDiscrimination()
CUBIC = PolynomialRule(degree=3, terms=["theta_33"])


BLOCK = block_rows(50, 20, torch.device("cpu"))


def small(family=None, **options):
    return RateRNN(family or PolynomialRule(degree=2), TASK, **{"num_units": 20, "num_trials": 30, **options})


def test_the_cubic_rule_learns_and_no_plasticity_does_not():
    simulator = RateRNN(CUBIC, TASK, summaries=["learned"])
    learned = summarise(simulator.run([[-0.0138467]] * 128, units="raw", seed=1), simulator.summaries)
    nothing = summarise(simulator.run([[0.0]] * 256, seed=2), simulator.summaries)
    assert learned.mean() >= 0.8
    assert nothing.mean() < 0.04


def test_a_natural_unit_changes_weights_by_five_percent_per_unit_of_reward_error():
    """Measured anew on other networks, with recorded traces and plain arithmetic."""
    simulator = RateRNN(PolynomialRule(degree=3), TASK, num_trials=2, warm_up=0)
    for name in ("theta_00", "theta_11", "theta_21", "theta_33"):
        theta = torch.zeros(256, 16)
        theta[:, simulator.names.index(name)] = 1.0
        trace = simulator.run(theta, seed=5, record=[0, 1]).recording.trace
        # the second trial starts from weights that one update has moved; the first type alone would do as well
        rms = trace[:, 0].square().mean().sqrt() / (1.5 / 8)
        assert rms.item() == pytest.approx(0.05, rel=0.15), name


def test_units_convert_both_ways():
    simulator = small(PolynomialRule(degree=2, infer=["tau_e"]))
    theta = torch.randn(4, 10).abs()
    torch.testing.assert_close(simulator.to_natural(simulator.to_raw(theta)), theta)
    assert simulator.raw_per_unit[-1] == 1.0  # a time constant is in ms either way
    a = simulator.run(theta, seed=0).error
    b = simulator.run(simulator.to_raw(theta), seed=0, units="raw").error
    torch.testing.assert_close(a, b, equal_nan=True)


def test_same_seed_same_run_and_rows_do_not_depend_on_the_rest_of_the_batch():
    simulator = small()
    theta = 0.1 * torch.randn(BLOCK + 10, 9)
    whole = simulator.run(theta, seed=7)
    again = simulator.run(theta, seed=7)
    assert torch.equal(whole.error, again.error)
    assert not torch.equal(whole.error, simulator.run(theta, seed=8).error)
    # the second block's streams are keyed by its place alone
    other = theta.clone()
    other[:BLOCK] *= -1
    assert torch.equal(simulator.run(other, seed=7).error[BLOCK:], whole.error[BLOCK:])


def test_call_follows_torchs_seed():
    simulator = small()
    torch.manual_seed(3)
    a = simulator(torch.zeros(4, 9))
    torch.manual_seed(3)
    b = simulator(torch.zeros(4, 9))
    assert a.shape == (4, len(simulator.summary_names))
    torch.testing.assert_close(a, b, equal_nan=True)
    assert simulator(torch.zeros(9)).shape == (len(simulator.summary_names),)


def test_shorter_sessions_are_prefixes_of_longer_ones():
    simulator = small()
    theta = 0.3 * torch.randn(6, 9)
    types = torch.arange(30) % 2
    short = types.clone()
    short[22:] = -1
    a = simulator.run(theta, seed=0, trial_types=types)
    b = simulator.run(theta, seed=0, trial_types=short, keep_weights=True)
    torch.testing.assert_close(a.error[:, :22], b.error[:, :22])
    assert torch.isnan(b.error[:, 22:]).all()
    c = simulator.run(theta, seed=0, trial_types=types[:22], keep_weights=True)
    torch.testing.assert_close(b.final_weights, c.final_weights)
    for name, value in c.activity.items():
        torch.testing.assert_close(b.activity[name], value)


def test_a_diverging_network_fails_alone():
    simulator = small()
    theta = torch.zeros(3, 9)
    theta[1] = 500.0
    run = simulator.run(theta, seed=0)
    assert run.status.tolist() == [Status.OK, Status.DIVERGED, Status.OK]
    x = summarise(run, simulator.summaries)
    assert torch.isnan(x[1]).all()
    assert not torch.isnan(x[[0, 2]]).any()
    assert not torch.isnan(run.error[1, :21]).any(), "what came before the failure is kept"
    alone = simulator.run(torch.zeros(3, 9), seed=0)
    torch.testing.assert_close(run.error[0], alone.error[0])


def test_a_network_without_activity_is_silent():
    simulator = small(
        nonlinearity="threshold_linear",
        readout="random",
        clamped={},
        gain=0.01,
        kick_rate=0.0,
        input_to_readout=True,
    )
    run = simulator.run(torch.zeros(2, 9), seed=0, input_weights=torch.zeros(20, 2), initial_states=torch.zeros(30, 20))
    assert run.status_counts()["SILENT"] == 2


def test_threshold_linear_blow_up_within_an_episode_is_caught():
    simulator = small(nonlinearity="threshold_linear", readout="random", gain=60.0)
    run = simulator.run(torch.zeros(4, 9), seed=0, units="raw")
    assert run.status_counts()["OK"] < 4
    assert torch.isnan(summarise(run, simulator.summaries)[run.status != Status.OK]).all()


@pytest.mark.parametrize("mask", [None, 0.3])
def test_dales_law_and_mask_hold_under_plasticity(mask):
    simulator = small(mask=mask, dale=True, num_units=40)
    run = simulator.run(0.8 * torch.randn(16, 9), seed=0, keep_weights=True, record=[0])
    before, after = run.recording.weights[:, 0], run.final_weights
    assert (after[:, :, :32] >= 0).all()
    assert (after[:, :, 32:] <= 0).all()
    assert (before - after).abs().max() > 1e-3
    if mask is not None:
        assert (after[before == 0] == 0).all()
        assert (before == 0).float().mean() == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize(("mask", "dale"), [(None, False), (None, True), (0.25, False), (0.25, True)])
def test_mean_row_variance_is_g_squared_over_in_degree(mask, dale):
    network = Connectivity(200, 1.5, mask, dale)
    stream = torch.Generator().manual_seed(0)
    exists = network.draw_mask(20, stream)
    w = network.draw(20, exists, stream, torch.float64)
    k = network.in_degree
    exists = torch.ones_like(w, dtype=torch.bool) if exists is None else exists
    rows = [row[on].var() for net, m in zip(w, exists, strict=True) for row, on in zip(net, m, strict=True)]
    assert torch.stack(rows).mean().item() == pytest.approx(1.5**2 / k, rel=0.05)


@pytest.mark.parametrize("drawn", ["hits", "entries"])
def test_kicks_hit_each_entry_independently_with_the_right_probability_and_size(drawn):
    stream = torch.Generator().manual_seed(0)
    if drawn == "hits":  # as on a CPU
        blocks = [(slice(0, 128), 128, stream), (slice(128, 400), 300, stream)]
        kicks = draw_kicks(400, 50, 64, blocks, 0.015, 1.0, 4, torch.float32)
    else:
        kicks = UniformKicks(torch.rand(400, 50, 64, generator=stream), 0.015, 1.0, 4)
    drive = kicks.dense(50, 64)
    assert (drive[:, :4] == 0).all()
    hit = drive[:, 4:] != 0
    n = hit.numel()
    assert hit.sum().item() == pytest.approx(0.015 * n, abs=4 * math.sqrt(n * 0.015))
    per_unit = hit.sum(dim=1).flatten().numpy()  # 46 steps each: binomial
    expected = stats.binom(46, 0.015).pmf(range(5)) * len(per_unit)
    seen = [(per_unit == k).sum() for k in range(5)]
    assert stats.chisquare(seen, expected * sum(seen) / expected.sum()).pvalue > 1e-4
    assert stats.kstest(drive[drive != 0].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_recordings_are_consistent_with_the_errors():
    simulator = small(num_trials=25)
    run = simulator.run(0.2 * torch.randn(3, 9), seed=0, record=[0, 24])
    assert run.recording.x.shape == (3, 2, 50, 20)
    torch.testing.assert_close(run.recording.rate, torch.tanh(run.recording.x))
    z = run.recording.rate[:, :, 30:, 0]
    target = torch.tensor([-0.98, -0.98])  # trials 0 and 24 are of type 0
    torch.testing.assert_close((z - target[:, None]).abs().mean(dim=2), run.error[:, [0, 24]])
    assert (run.recording.x[:, :, :, [1, 10]] == 1).all()
    assert (run.recording.x[:, :, :, 11] == -1).all()


def test_a_familys_own_faster_trace_and_nonlinear_coefficients_work():
    class Threshold(RuleFamily):
        coefficients = (
            Coefficient("gain", "r_j [d_i - b]"),
            Coefficient("b", linear=False, low=0.0, high=1.0, default=0.1),
        )

        def drive(self, theta, rate, deviation, weight):
            return theta["gain"] * rate * torch.relu(deviation - theta["b"])

    simulator = RateRNN(Threshold(), TASK, num_units=12, num_trials=24)
    assert simulator.raw_per_unit[1] == 1.0
    assert simulator.run([[0.5, 0.1]] * 3, seed=0).status_counts()["OK"] == 3
    with pytest.raises(ValueError, match="b must lie in"):
        simulator.run([[0.5, 2.0]], seed=0)


def test_double_precision_agrees_with_single_over_a_few_trials():
    theta = 0.4 * torch.randn(8, 9)
    draws = {
        "weights": torch.randn(8, 20, 20) * 1.5 / math.sqrt(20),
        "input_weights": torch.rand(8, 20, 2) * 2 - 1,
        "initial_states": torch.rand(8, 6, 20) * 0.2 - 0.1,
        "kicks": torch.zeros(8, 6, 50, 20),
    }
    runs = [small(num_trials=6, warm_up=1, dtype=d).run(theta, **draws) for d in (torch.float32, torch.float64)]
    torch.testing.assert_close(runs[0].error.double(), runs[1].error, rtol=0, atol=2e-3)


def test_miconis_preset_has_his_numbers():
    simulator = miconi2017(DelayedNonMatchToSample())
    s = simulator.settings
    assert (s.num_units, s.dt, s.kick_start, s.trace_start, s.warm_up) == (200, 1.0, 4, 3, 101)
    assert s.kick_size == pytest.approx(16 / 30)
    assert s.xbar_factor == pytest.approx(0.05)
    assert (s.max_weight_change, s.initial_expectation, s.error_factor, s.reset_xbar) == (3e-4, 0.0, True, False)
    run = miconi2017(DelayedNonMatchToSample(), num_trials=104, num_units=30).run(
        [[MICONI_THETA_33]], units="raw", seed=0, record=[101, 102]
    )
    moved = (run.recording.weights[:, 1] - run.recording.weights[:, 0]).abs()
    assert 0 < moved.max() <= 3e-4 + 1e-6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: small().run(torch.zeros(2, 8)), r"\(batch, 9\)"),
        (lambda: small().run([[math.nan] + [0.0] * 8]), "theta_00 in row 0"),
        (lambda: small().run(torch.zeros(2, 9), trial_types=[0, 2]), "trial_types must lie in 0...1"),
        (lambda: small().run(torch.zeros(2, 9), trial_types=[0, -1, 1]), "past the end"),
        (lambda: small().run(torch.zeros(2, 9), weights=torch.zeros(3, 3)), "weights must have shape"),
        (lambda: small().run(torch.zeros(2, 9), kicks=torch.full((30, 50, 20), math.inf)), "kicks must be finite"),
        (lambda: small().run(torch.zeros(2, 9), wieghts=1), "did you mean 'weights'"),
        (lambda: small().run(torch.zeros(2, 9), record=[40]), "record"),
        (lambda: small().run(torch.zeros(2, 9), seed=-1), "seed"),
        (lambda: small(num_unit=3), "did you mean 'num_units'"),
        (lambda: small(num_units=8), "clamped names unit 10"),
        (lambda: small(readout=1), "clamped"),
        (lambda: small(nonlinearity="sigmoid"), "never negative"),
        (lambda: small(nonlinearity="relu"), "nonlinearity"),
        (lambda: small(dt=40.0), "dt must not exceed tau"),
        (lambda: small(mask=torch.zeros(3, 3, dtype=torch.bool)), "mask must be boolean"),
        (lambda: small(mask=0.0), "density"),
        (lambda: small(summaries=["lerned"]), "did you mean 'learned'"),
        (lambda: RateRNN("polynomial", TASK), "family must be a RuleFamily"),
        (lambda: small(device="gpu"), "device 'gpu' cannot be used"),
        (lambda: small(dale="no"), "dale must be true or false"),
        (lambda: small(clamped=[1, 2]), "clamped must map units"),
        (lambda: small(kick_rate=200.0), "below one kick per step"),
        (lambda: small(trace_start=50), "trace_start must be a step"),
        (lambda: small(summaries="learned"), "summaries must be a list"),
        (lambda: small().run("a"), "theta must be numbers"),
        (lambda: small().run(torch.zeros(0, 9)), r"\(batch, 9\)"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_runs_in_plain_sbi():
    """The simulator and prior drop into sbi's own NPE, failures and all."""
    from sbi.inference import NPE
    from sbi.utils.user_input_checks import process_prior

    from sbirules.priors import uniform

    simulator = RateRNN(CUBIC, TASK, num_trials=60, num_units=20, summaries=["final_error", "weight_change"])
    prior, _, _ = process_prior(uniform(CUBIC, -2, 2))
    torch.manual_seed(0)
    theta = prior.sample((1000,))
    x = simulator(theta)
    inference = NPE(prior, density_estimator="mdn", show_progress_bars=False)
    inference.append_simulations(theta, x).train(training_batch_size=50, learning_rate=2e-3)
    posterior = inference.build_posterior()
    x_o = simulator(torch.zeros(1, 1))
    draws = posterior.sample((500,), x=x_o, show_progress_bars=False)
    assert draws.abs().max() <= 2
    assert draws.abs().median() < 0.5, "weights that never changed mean a small coefficient; the prior's median is 1"
