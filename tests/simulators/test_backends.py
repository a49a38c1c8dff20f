"""The backends compute the same thing: to rounding over five plastic trials, then in distribution."""

import importlib.util
import math
import os

import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from sbirules import Coefficient, PolynomialRule, ThreeFactorRule
from sbirules.model.tasks.catalogue import DelayedDiscrimination, SelectiveIntegration
from sbirules.simulators import RateRNN
from sbirules.simulators.rate._drive import UniformKicks
from sbirules.simulators.rate._kernels import _tanh

# Triton's kernels run on a GPU, or anywhere in its interpreter (TRITON_INTERPRET=1, set before it is imported)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRITON = bool(importlib.util.find_spec("triton")) and (INTERPRETED or torch.cuda.is_available())
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
FUSED = ["numba", pytest.param("triton", marks=pytest.mark.skipif(not TRITON, reason="no GPU, no interpreter"))]

TASK = DelayedDiscrimination()
BATCH, WARM_UP, PLASTIC = 3 if INTERPRETED else 12, 2, 5


class Oja(ThreeFactorRule):
    """No polynomial of the engine's: its trace is stepped by every backend."""

    coefficients = (Coefficient("hebb", "r_j d_i"), Coefficient("oja", "d_i^2 w_ij"))

    def drive(self, theta, rate, deviation, weight):
        return theta["hebb"] * rate * deviation + theta["oja"] * deviation**2 * weight


CASES = {
    "degree 2": ({}, {}),
    "degree 3": (dict(degree=3), {}),
    "one term": (dict(degree=3, terms=["theta_33"]), {}),
    "no postsynaptic term": (dict(terms=["theta_00", "theta_20"]), {}),
    "weights": (dict(degree=2, weight_degree=2), {}),
    "trace decay": (dict(tau_e=60.0), {}),
    "weight decay": (dict(tau_w=7.0), {}),
    "inferred decays": (dict(infer=["tau_e", "tau_w"]), {}),
    "density": ({}, dict(mask=0.3)),
    "mask": ({}, dict(mask=torch.rand(21, 21, generator=torch.Generator().manual_seed(1)) < 0.5)),
    "Dale": ({}, dict(dale=True)),
    "Dale and density": (dict(tau_w=20.0), dict(dale=True, mask=0.4)),
    "threshold-linear": ({}, dict(nonlinearity="threshold_linear", readout="random", gain=0.8)),
    "sigmoid": ({}, dict(nonlinearity="sigmoid", readout="random")),
    "read-out weights": ({}, dict(readout=torch.linspace(-1, 1, 21))),
    "slow mean": ({}, dict(tau_xbar=20.0)),
    "carried mean": ({}, dict(tau_xbar=1.67, reset_xbar=False)),
    "previous state, carried": ({}, dict(reset_xbar=False)),
    "clipped": ({}, dict(max_weight_change=1e-2, error_factor=True, initial_expectation=0.0)),
    "late start": ({}, dict(trace_start=3, kick_start=4)),
    "no kicks": ({}, dict(kick_rate=0.0)),
}


def pair(backend, family, **options):
    options = {"num_units": 21, "num_trials": WARM_UP + PLASTIC, "warm_up": WARM_UP, **options}
    device = DEVICE if backend == "triton" else "cpu"
    return [RateRNN(family, TASK, backend=name, device=device, **options) for name in ("torch", backend)]


def rules(family):
    theta = 0.4 * torch.randn(BATCH, family.dim, generator=torch.Generator().manual_seed(4))
    for name, low, high in (("tau_e", 20.0, 500.0), ("tau_w", 20.0, 50.0)):
        if name in family.names:
            theta[:, family.names.index(name)] = torch.linspace(low, high, BATCH)
    return theta


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("case", CASES)
def test_agree_to_rounding_over_five_plastic_trials(case, backend):
    family_options, options = CASES[case]
    family = PolynomialRule(**family_options)
    reference, fused = pair(backend, family, **options)
    wanted, got = (s.run(rules(family), seed=3, keep_weights=True, record=[0, 4]) for s in (reference, fused))
    assert not torch.equal(wanted.final_weights, wanted.recording.weights[:, 0]), "nothing was learned"
    torch.testing.assert_close(got.final_weights, wanted.final_weights, rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(got.error, wanted.error, rtol=0, atol=2e-4, equal_nan=True)
    torch.testing.assert_close(got.recording.trace, wanted.recording.trace, rtol=1e-3, atol=1e-3)
    for name, value in wanted.activity.items():
        torch.testing.assert_close(got.activity[name], value, rtol=1e-3, atol=1e-3, equal_nan=True)
    assert torch.equal(got.status, wanted.status)


@pytest.mark.parametrize("backend", FUSED)
def test_a_family_of_ones_own_and_draws_passed_in(backend):
    reference, fused = pair(backend, Oja())
    n, trials = 21, WARM_UP + PLASTIC
    draws = {
        "weights": torch.randn(BATCH, n, n) * 1.5 / math.sqrt(n),
        "kicks": 0.1 * torch.randn(BATCH, trials, 50, n),
        "initial_states": 0.1 * torch.randn(trials, n),
        "inputs": torch.rand(BATCH, trials, 50, 2),
    }
    wanted, got = (s.run(0.4 * torch.ones(BATCH, 2), seed=3, **draws) for s in (reference, fused))
    torch.testing.assert_close(got.error, wanted.error, rtol=0, atol=2e-4)


@pytest.mark.parametrize("backend", FUSED)
def test_networks_that_blow_up_or_stop_early_are_treated_alike(backend):
    family = PolynomialRule(degree=2)
    theta = torch.zeros(4, 9)
    theta[1] = 500.0
    types = torch.arange(30).repeat(4, 1) % 2
    types[2, 23:] = -1
    runs = [
        s.run(theta, seed=0, trial_types=types, keep_weights=True)
        for s in pair(backend, family, num_trials=30, warm_up=20)
    ]
    assert runs[0].status.tolist() == runs[1].status.tolist() == [0, 1, 0, 0]
    assert torch.equal(torch.isnan(runs[0].error), torch.isnan(runs[1].error))
    torch.testing.assert_close(runs[0].final_weights[[0, 2, 3]], runs[1].final_weights[[0, 2, 3]], rtol=0, atol=2e-4)


def test_learning_curves_of_512_networks_have_one_distribution():
    """Over 60 trials chaos has long separated the runs; what is left to compare are distributions."""
    family = PolynomialRule(degree=3, terms=["theta_11", "theta_22", "theta_33"])
    theta = torch.rand(512, 3) * 1.6 - 0.8
    errors = {}
    for seed, backend in enumerate(("torch", "numba")):
        simulator = RateRNN(family, TASK, num_units=32, num_trials=80, backend=backend)
        run = simulator.run(theta, seed=seed)
        curve = run.error.reshape(512, 8, 10).mean(dim=2)
        errors[backend] = torch.cat([curve, run.activity["weight_change"][:, None]], dim=1)
        assert run.ok.float().mean() > 0.9
    for a, b in zip(errors["torch"].T, errors["numba"].T, strict=True):
        assert stats.ks_2samp(a[~a.isnan()].numpy(), b[~b.isnan()].numpy()).pvalue > 1e-3
    # the same test tells a rule family half as strong apart
    weaker = RateRNN(family, TASK, num_units=32, num_trials=80).run(theta / 2, seed=2)
    change = [errors["torch"][:, -1], weaker.activity["weight_change"]]
    assert stats.ks_2samp(*(c[~c.isnan()].numpy() for c in change)).pvalue < 1e-6


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_size_of_the_batch_changes_no_draw(backend):
    theta = 0.2 * torch.randn(300, 9)
    runs = [
        RateRNN(
            PolynomialRule(), SelectiveIntegration(), num_units=20, num_trials=24, backend=backend, max_batch=m
        ).run(theta, seed=2)
        for m in (1, 100, 1000)
    ]
    for run in runs[1:]:
        torch.testing.assert_close(run.error[:, :20], runs[0].error[:, :20], rtol=0, atol=2e-4)
        if backend == "numba":  # one network at a time, hence to the bit
            assert torch.equal(run.error.nan_to_num(9.0), runs[0].error.nan_to_num(9.0))


def test_the_fused_tanh_is_within_3e_7_and_keeps_nan():
    x = torch.linspace(-20, 20, 40001)
    got = torch.tensor([_tanh(v) for v in x.numpy()])
    assert (got - torch.tanh(x.double())).abs().max() < 3e-7
    assert math.isnan(_tanh(torch.tensor([math.nan]).numpy()[0]))
    assert _tanh(torch.tensor([math.inf]).numpy()[0]) == pytest.approx(1.0, abs=3e-7)


def test_gradients_take_the_reference_and_the_fused_one_says_it_cannot():
    theta = (0.1 * torch.randn(2, 9)).requires_grad_()
    simulator = RateRNN(PolynomialRule(), TASK, num_units=20, num_trials=6, warm_up=2)
    simulator.run(theta, seed=0).error.sum().backward()
    assert torch.isfinite(theta.grad).all()
    assert theta.grad.abs().max() > 0
    with pytest.raises(ValueError, match="cannot be differentiated; use backend='torch' or 'auto'"):
        simulator.with_settings(backend="numba").run(theta, seed=0)
    with torch.no_grad():
        simulator.with_settings(backend="numba").run(theta, seed=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(backend="nuba"), "did you mean 'numba'"),
        (dict(backend="numba", dtype=torch.float64), "computes in float32, not in float64"),
        pytest.param(
            dict(backend="triton"), "runs on cuda, not on cpu", marks=pytest.mark.skipif(INTERPRETED, reason="it runs")
        ),
        (dict(max_batch=0), "max_batch"),
    ],
)
def test_backends_that_cannot_do_the_job_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        RateRNN(PolynomialRule(), TASK, **options)


class HostSyncs(TorchDispatchMode):
    """Counts the operations for which the host of a GPU would have to wait."""

    WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "repeat_interleave", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        boolean = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.count += boolean or any(name.startswith(w) for w in self.WAITS)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", [PolynomialRule(3, tau_e=100.0, tau_w=20.0), Oja()])
def test_no_trial_makes_the_host_of_a_gpu_wait(family, monkeypatch):
    """What waits does so once per run: longer runs wait no more often. Kicks are drawn as on a GPU."""
    from sbirules.simulators.rate import _trial

    def dense(batch, steps, units, blocks, probability, amplitude, first, dtype):
        return UniformKicks(torch.rand(batch, steps, units), probability, amplitude, first)

    monkeypatch.setattr(_trial, "draw_kicks", dense)
    counts = []
    for trials in (55, 65):
        simulator = RateRNN(family, TASK, num_units=20, num_trials=trials, warm_up=3, dale=True, backend="torch")
        with HostSyncs() as syncs:
            simulator.run(0.1 * rules(family), seed=0)
        counts.append(syncs.count)
    assert counts[0] == counts[1]


class Wrong(DelayedDiscrimination):
    def draw_inputs(self, tensors, types, generator):
        return tensors.inputs[types][:, :10]


def test_a_task_that_draws_inputs_of_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"Wrong.draw_inputs must return .* \(64, 50, 2\), got \(64, 10, 2\)"):
        RateRNN(PolynomialRule(), Wrong(), num_units=16, num_trials=4).run(torch.zeros(4, 9))


def test_parts_that_can_be_learned_take_the_reference():
    readout = torch.randn(16, requires_grad=True)
    simulator = RateRNN(PolynomialRule(), TASK, num_units=16, num_trials=4, readout=readout)
    simulator.run(torch.zeros(4, 9), seed=0).error.sum().backward()
    assert readout.grad.abs().max() > 0


def test_torchs_default_type_does_not_matter():
    simulator = RateRNN(PolynomialRule(), TASK, num_units=16, num_trials=6, warm_up=2, backend="numba")
    before = simulator.run(0.1 * torch.ones(4, 9), seed=0).error
    torch.set_default_dtype(torch.float64)
    try:
        after = simulator.run(0.1 * torch.ones(4, 9, dtype=torch.float32), seed=0).error
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, after)


def test_blas_gets_its_threads_back_when_the_last_of_overlapping_runs_ends():
    from threadpoolctl import threadpool_info, threadpool_limits

    from sbirules.simulators.rate._fused_cpu import NumbaBackend

    def threads():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    first, second = NumbaBackend().working(), NumbaBackend().working()
    with threadpool_limits(2, user_api="blas"):
        first.__enter__()
        second.__enter__()
        assert set(threads()) == {1}
        first.__exit__(None, None, None)
        assert set(threads()) == {1}
        second.__exit__(None, None, None)
        assert set(threads()) == {2}
