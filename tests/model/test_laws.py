"""Laws of change and the filter: against joint Gaussians, particles, closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sessions import AS_THEY_ARE, THETA, schedule, stimulated

import sbirules as sr
from sbirules.model.law_responses import invariants_of
from sbirules.model.state_space import Path, filtered, forecast
from sbirules.simulators import SessionLaw, rebuilt

D = torch.float64


def columns(law, theta):
    return {name: torch.as_tensor(theta, dtype=D)[..., k] for k, name in enumerate(law.names)}


def path_of(law, theta, u, walk, initial):
    theta = torch.as_tensor(theta, dtype=D)[None, None]
    own = columns(law, theta[..., : law.dim])
    a, k = u.shape[:2]
    mean = torch.zeros(1, a, law.latents, dtype=D)
    if law.memory:
        mean = torch.cat([mean, law.start(own)], dim=-1)
    spread = torch.cat([torch.full((law.latents,), initial), torch.zeros(law.memory)]).to(D)
    return Path(law.step, own, mean, spread, torch.full((1, a, k, law.latents), walk**2, dtype=D), u)


def joint_gaussian(a, offset, walk, initial, sessions):
    """Mean and covariance of all scales of a linear law z' = A z + offset_k + noise, by writing out the sums."""
    r = len(a)
    mean, blocks = [np.zeros(r)], np.zeros((sessions * r, sessions * r))
    cov = [initial**2 * np.eye(r)]
    for k in range(sessions - 1):
        mean.append(a @ mean[-1] + offset[k])
        cov.append(a @ cov[-1] @ a.T + walk**2 * np.eye(r))
    for i in range(sessions):
        for j in range(i, sessions):
            block = np.linalg.matrix_power(a, j - i) @ cov[i]
            blocks[j * r : (j + 1) * r, i * r : (i + 1) * r] = block
            blocks[i * r : (i + 1) * r, j * r : (j + 1) * r] = block.T
    return np.concatenate(mean), blocks


def test_the_likelihood_of_a_linear_law_is_that_of_the_joint_gaussian():
    law, k = sr.LatentLaw(2, 1), 9
    w, u_in, bias = np.array([[-0.3, 0.2], [-0.2, -0.3]]), np.array([0.8, -0.4]), np.array([0.1, 0.2])
    u = schedule(1, k)
    y = torch.randn(1, k, 2, generator=torch.Generator().manual_seed(3), dtype=D)
    errors = torch.stack([torch.tensor([[0.04, 0.01], [0.01, 0.09]], dtype=D) * (1 + i) for i in range(k)])[None]
    missing = torch.ones(1, k, dtype=torch.bool)
    missing[0, 4] = False
    offset = [u_in * float(u[0, i, 0]) + bias for i in range(k)]
    mean, cov = joint_gaussian(np.eye(2) + w, offset, 0.2, 1.5, k)
    for i in range(k):
        cov[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] += errors[0, i].numpy()
    for counts in (torch.ones(1, k, dtype=torch.bool), missing):
        found = filtered(path_of(law, THETA[:8], u, 0.2, 1.5), y, errors, counts).log_prob.sum()
        at = np.flatnonzero(np.repeat(counts[0].numpy(), 2))
        truth = multivariate_normal(mean[at], cov[np.ix_(at, at)]).logpdf(y[0].numpy().ravel()[at])
        assert float(found) == pytest.approx(truth, abs=1e-5)


def test_forecasts_of_a_linear_law_are_conditionals_of_the_joint_gaussian():
    law, k, seen = sr.LatentLaw(2, 1), 8, 5
    u = schedule(1, k)
    y = torch.randn(1, k, 2, generator=torch.Generator().manual_seed(3), dtype=D)
    error = 0.1 * torch.eye(2, dtype=D).expand(1, k, 2, 2)
    path = path_of(law, THETA[:8], u, 0.2, 1.0)
    f = filtered(path, y[:, :seen], error[:, :seen], torch.ones(1, seen, dtype=torch.bool))
    later = Path(path.step, path.theta, path.mean, path.spread, path.walk, u[:, seen - 1 :])
    mean, cov = forecast(later, f.state, f.state_covariance, k - seen, 2)
    w = np.array([[-0.3, 0.2], [-0.2, -0.3]])
    offset = [np.array([0.8, -0.4]) * float(u[0, i, 0]) + np.array([0.1, 0.2]) for i in range(k)]
    m, c = joint_gaussian(np.eye(2) + w, offset, 0.2, 1.0, k)
    n = 2 * seen
    told = c[:n, :n] + 0.1 * np.eye(n)
    gain = c[n:, :n] @ np.linalg.inv(told)
    np.testing.assert_allclose(
        mean[0, 0].numpy().ravel(), m[n:] + gain @ (y[0, :seen].numpy().ravel() - m[:n]), atol=1e-6
    )
    whole = c[n:, n:] - gain @ c[:n, n:]
    for i in range(k - seen):
        np.testing.assert_allclose(cov[0, 0, i].numpy(), whole[2 * i : 2 * i + 2, 2 * i : 2 * i + 2], atol=1e-6)


def particles(law, theta, u, walk, initial, y, error, n=100_000):
    """Log-likelihood by a bootstrap particle filter."""
    gen = torch.Generator().manual_seed(0)
    own = columns(law, theta)
    state = initial * torch.randn(n, law.latents, generator=gen, dtype=D)
    if law.memory:
        state = torch.cat([state, law.start(own).expand(n, -1)], dim=1)
    total = 0.0
    for k in range(len(y)):
        away = (y[k] - state[:, : law.latents]) / error
        log = -0.5 * away.square().sum(dim=1) - law.latents * math.log(error * math.sqrt(2 * math.pi))
        total += float(torch.logsumexp(log, dim=0)) - math.log(n)
        state = state[torch.multinomial(torch.softmax(log, dim=0), n, replacement=True, generator=gen)]
        state = law.step(own, state, u[k].expand(n, -1))
        noise = torch.zeros_like(state)
        noise[:, : law.latents] = walk * torch.randn(n, law.latents, generator=gen, dtype=D)
        state = state + noise
    return total


CIRCUIT = sr.MotifCircuit(
    torch.tensor([[0.2, 0.1], [0.0, 0.2]]), torch.tensor([[1.0], [0.5]]), torch.tensor([[0.5], [1.0]])
)
NONLINEAR = {
    "tanh": (sr.LatentLaw(2, 1, "tanh"), [1.5, -0.5, 0.5, 1.2, 0.8, -0.4, 0.1, 0.2, 0.5]),
    "hebbian": (sr.HebbianLaw(CIRCUIT), [0.2, 0.1, 1.0]),
    "oja": (sr.OjaLaw(CIRCUIT), [0.3, 0.3]),
    "bcm": (sr.BCMLaw(CIRCUIT), [0.3, 0.1, 0.5, 4.0]),
}


@pytest.mark.parametrize("name", NONLINEAR)
def test_the_likelihood_of_nonlinear_laws_is_near_that_of_particles(name):
    law, theta = NONLINEAR[name]
    u, theta = schedule(1, 12, seed=2), torch.tensor(theta)
    like = sr.SessionScales.of(torch.zeros(1, 12, 2), 0.15, stimulation=u)
    y = (
        SessionLaw(law, initial=1.0, **AS_THEY_ARE)
        .measured(torch.cat([theta, torch.tensor([0.1])]), like, seed=4)
        .scales
    )
    error = 0.15**2 * torch.eye(2, dtype=D).expand(1, 12, 2, 2)
    found = filtered(path_of(law, theta, u, 0.1, 1.0), y, error, torch.ones(1, 12, dtype=torch.bool))
    assert float(found.log_prob.sum()) == pytest.approx(particles(law, theta, u[0], 0.1, 1.0, y[0], 0.15), abs=0.4)


@pytest.mark.parametrize("name", ["linear", *NONLINEAR])
def test_gradients_are_those_of_finite_differences(name):
    law, theta = NONLINEAR[name] if name != "linear" else (sr.LatentLaw(2, 1), THETA[:8])
    sessions = stimulated(2, 10)
    likelihood = SessionLaw(law).suited(sessions).likelihood(sessions)
    at = torch.tensor([[*theta, 0.2]], dtype=D)
    value, slope = likelihood.value_and_slope(at)
    torch.testing.assert_close(value, likelihood.log_prob(at))
    for k in range(at.shape[1]):
        step = torch.zeros_like(at)
        step[0, k] = 1e-5
        own = (likelihood.log_prob(at + step) - likelihood.log_prob(at - step)) / 2e-5
        torch.testing.assert_close(slope[0, :, k], own[0], rtol=1e-4, atol=1e-4)


def test_likelihoods_do_not_depend_on_the_unit_of_scales():
    sessions = stimulated()
    mm = sr.SessionScales.of(1000 * sessions.scales, 50.0, stimulation=sessions.stimulation)
    a, b = (SessionLaw(sr.LatentLaw(2, 1)).suited(s) for s in (sessions, mm))
    theta = torch.tensor([THETA])
    count = 2 * int(sessions.measured.sum())
    torch.testing.assert_close(
        a.log_likelihood(theta, sessions) - count * math.log(1000), b.log_likelihood(theta, mm), rtol=1e-3, atol=1e-2
    )


def test_a_law_is_learned_from_sessions_and_not_from_the_padding_of_others():
    sessions = stimulated(2, 16)
    short = sr.SessionScales.of(
        [sessions.scales[0], sessions.scales[1, :9]],
        0.05,
        stimulation=[sessions.stimulation[0], sessions.stimulation[1, :9]],
    )
    alone = short.subset([1])
    assert alone.scales.shape[1] == 9
    simulator, theta = SessionLaw(sr.LatentLaw(2, 1), **AS_THEY_ARE), torch.tensor([THETA])
    torch.testing.assert_close(
        simulator.likelihood(short).log_prob(theta)[:, 1], simulator.likelihood(alone).log_prob(theta)[:, 0]
    )


def test_plain_forms_bring_laws_back():
    for law in (sr.LatentLaw(2, 1), sr.DriftLaw(2), *(law for law, _ in NONLINEAR.values())):
        simulator = SessionLaw(law, initial=2.0, timed=True).suited(stimulated())
        back = rebuilt(simulator.config())
        assert back.config() == simulator.config()
        theta = torch.tensor([[*(0.5 * torch.ones(law.dim)).clamp(min=1.0).tolist(), 0.1]])
        torch.testing.assert_close(
            back.log_likelihood(theta, stimulated()), simulator.log_likelihood(theta, stimulated())
        )


class Own(sr.Law):
    """A law of one's own."""

    latents = 2
    coefficients = (sr.Coefficient("pull"),)

    def step(self, theta, state, stimulation):
        return state * (1 - theta["pull"][..., None])


def test_a_law_of_ones_own():
    sessions = stimulated()
    simulator = SessionLaw(Own()).suited(sessions)
    linear = SessionLaw(sr.LatentLaw(2)).suited(sessions)
    own = simulator.log_likelihood(torch.tensor([[0.4, 0.2]]), sessions)
    same = linear.log_likelihood(torch.tensor([[-0.4, 0.0, 0.0, -0.4, 0.0, 0.0, 0.2]]), sessions)
    torch.testing.assert_close(own, same)
    assert rebuilt(simulator.config()) is None


# Invariants -------------------------------------------------------------------------------------------


def test_eigenvalues_and_responses_of_linear_laws():
    law = sr.LatentLaw(2, 1)
    w, u, b = np.array([[-0.3, 0.4], [-0.4, -0.2]]), np.array([0.8, -0.4]), np.array([0.1, 0.2])
    found = invariants_of(law, columns(law, [[*w.ravel(), *u, *b]]), torch.zeros(1))
    values = np.linalg.eigvals(np.eye(2) + w)
    assert found.points.item() == found.stable.item() == 1
    assert found.eigenvalue.item() == pytest.approx(np.abs(values).max(), abs=1e-6)
    assert found.slowest.item() == pytest.approx(-1 / np.log(np.abs(values).max()), rel=1e-5)
    assert found.rotation.item() == pytest.approx(abs(np.angle(values[0])) / (2 * np.pi), abs=1e-6)
    each = [np.linalg.norm(np.linalg.matrix_power(np.eye(2) + w, k) @ u) for k in range(12)]
    np.testing.assert_allclose(found.impulse[0, :, 0].numpy(), each, rtol=1e-6)


def test_invariants_do_not_depend_on_the_coordinates_of_the_latents():
    law, gen = sr.LatentLaw(2), torch.Generator().manual_seed(0)
    w = 0.5 * torch.randn(5, 2, 2, generator=gen, dtype=D) - 0.5 * torch.eye(2, dtype=D)
    b = 0.1 * torch.randn(5, 2, generator=gen, dtype=D)
    turn = torch.tensor([[2.0, 0.5], [-0.3, 1.0]], dtype=D)
    other, shifted = turn @ w @ torch.linalg.inv(turn), (turn @ b[..., None])[..., 0]
    a, z = (
        invariants_of(law, columns(law, torch.cat([m.flatten(1), v], dim=1)), torch.zeros(0))
        for m, v in ((w, b), (other, shifted))
    )
    for name in ("points", "stable", "eigenvalue", "rotation"):
        torch.testing.assert_close(getattr(a, name), getattr(z, name), rtol=1e-6, atol=1e-6)


def test_a_tanh_law_that_holds_a_memory_has_three_fixed_points():
    law = sr.LatentLaw(1, 0, "tanh")
    found = invariants_of(law, columns(law, [[2.0, 0.0, 0.5], [0.5, 0.0, 0.5]]), torch.zeros(0))
    assert found.points.tolist() == [3, 1]
    assert found.stable.tolist() == [2, 1]


# Refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: SessionLaw(sr.Oja()), "family must be a Law"),
        (lambda: SessionLaw(sr.LatentLaw(3, 1)).suited(stimulated()), "the law is of 3 scales, the sessions have 2"),
        (lambda: SessionLaw(sr.LatentLaw(2, 2)).suited(stimulated()), "2 channels of stimulation, the sessions have 1"),
        (lambda: sr.LatentLaw(2, 1, "cubic"), "nonlinearity"),
        (lambda: sr.LatentLaw(0), "latents"),
        (lambda: SessionLaw(sr.DriftLaw(2)).run(torch.zeros(1, 3)), "not known how animals are stimulated"),
        (lambda: SessionLaw(sr.DriftLaw(2), initial=0.0), "initial must be a number greater than 0"),
    ],
)
def test_wrong_laws_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


@pytest.mark.parametrize("law", [sr.LatentLaw(2, 1), sr.LatentLaw(2), sr.DriftLaw(2), None])
def test_the_compiled_filter_is_the_differentiable_one(law):
    sessions = stimulated(3, 14)
    sessions = sr.SessionScales.of(
        [sessions.scales[0], sessions.scales[1, :9], sessions.scales[2].where(torch.rand(14, 1) > 0.2, torch.nan)],
        0.07,
        stimulation=[sessions.stimulation[0], sessions.stimulation[1, :9], sessions.stimulation[2]],
        time=torch.arange(14.0) ** 1.2,
    )
    simulator = SessionLaw(law or sr.DriftLaw(2), timed=True).suited(sessions)
    simulator = simulator if law is not None else simulator.without_plasticity()
    theta = 0.3 * torch.randn(6, len(simulator.names), generator=torch.Generator().manual_seed(0))
    theta[:, -1] = theta[:, -1].abs()
    likelihood = simulator.likelihood(sessions)
    compiled = likelihood.log_prob(theta)
    moving = theta.double().clone().requires_grad_(True)
    scaled = sessions.measured.sum(dim=1) * 2 * math.log(simulator.units.scale)
    slow = likelihood.filtered(moving).log_prob.sum(dim=2) - scaled
    torch.testing.assert_close(compiled, slow.detach(), rtol=1e-5, atol=1e-4)
    (slope,) = torch.autograd.grad(slow.sum(), moving)
    torch.testing.assert_close(likelihood.value_and_slope(theta)[1].sum(dim=1), slope, rtol=1e-4, atol=1e-3)


def test_nothing_depends_on_the_units_of_scales_stimulation_and_time():
    sessions = stimulated(2, 16)
    theta = torch.tensor([[*THETA[:8], 0.2]])
    law = SessionLaw(sr.LatentLaw(2, 1), timed=True)
    count = 2 * int(sessions.measured.sum())
    first = law.suited(sessions)
    for factor, offset, gap in ((1e-6, 0.0, 1.0), (1.0, 1e4, 7.0), (1e5, -3e5, 1 / 24)):
        other = sr.SessionScales.of(
            factor * sessions.scales + offset,
            factor * 0.05,
            stimulation=factor * sessions.stimulation,
            time=gap * sessions.time[0],
        )
        second = law.suited(other)
        shift = count * math.log(factor)
        torch.testing.assert_close(
            first.log_likelihood(theta, sessions) - shift, second.log_likelihood(theta, other), rtol=1e-3, atol=0.1
        )
        schedule_ahead = torch.ones(2, 4, 1).double()
        (m, c), (n, d) = (
            s.likelihood(table).ahead(theta, 16, f * schedule_ahead)
            for s, table, f in ((first, sessions, 1.0), (second, other, factor))
        )
        torch.testing.assert_close(factor * m + offset, n, rtol=1e-3, atol=1e-2 * factor)
        torch.testing.assert_close(
            factor**2 * c.diagonal(dim1=-2, dim2=-1), d.diagonal(dim1=-2, dim2=-1), rtol=1e-2, atol=0.0
        )


def test_units_are_those_of_the_whole_table_in_each_part_of_it():
    sessions = sr.SessionScales.of(
        stimulated(2, 12).scales, 0.05, time=torch.stack([torch.arange(12.0), 10.0 * torch.arange(12.0)])
    )
    law = SessionLaw(sr.LatentLaw(2), timed=True).suited(sessions)
    theta = torch.tensor([[*THETA[:4], 0.1, 0.2, 0.3]])
    torch.testing.assert_close(
        law.likelihood(sessions).log_prob(theta)[:, 1], law.likelihood(sessions.subset([1])).log_prob(theta)[:, 0]
    )


def test_laws_of_ones_own_that_break_their_contract_are_told():
    class Shape(Own):
        def step(self, theta, state, stimulation):
            return state[..., :1]

    class Fails(Own):
        def step(self, theta, state, stimulation):
            return state * theta["pull"]  # lacks [..., None]

    class Other(Own):
        def linear(self, theta):
            eye = torch.eye(2, dtype=theta["pull"].dtype).expand(*theta["pull"].shape, 2, 2)
            return eye, eye[..., :0], eye[..., 0]

    class NotANumber(Own):
        def step(self, theta, state, stimulation):
            return state * torch.nan

    for law, words in (
        (Shape, "must return a tensor like the state"),
        (Fails, r"Fails\.step or start fails"),
        (Other, "must be the same law as step"),
        (NotANumber, "must return finite numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            SessionLaw(law())


def test_simulations_need_units_and_a_law_of_as_many_scales():
    sessions = stimulated()
    with pytest.raises(ValueError, match="units of scales and stimulation are not known"):
        SessionLaw(sr.LatentLaw(2, 1)).measured(torch.tensor(THETA), sessions)
    for law in (sr.LatentLaw(1, 1), sr.LatentLaw(3, 1), sr.LatentLaw(2, 2)):
        with pytest.raises(ValueError, match=r"the law (is of|has)"):
            SessionLaw(law).log_likelihood(torch.zeros(law.dim + 1), sessions)


def test_errors_that_are_known_up_to_a_factor():
    sessions = stimulated(2, 12)
    twice = sr.SessionScales.of(sessions.scales, 0.1, stimulation=sessions.stimulation)
    known, scaled = (SessionLaw(sr.LatentLaw(2, 1), errors=e).suited(sessions) for e in ("known", "scaled"))
    theta = torch.tensor([[*THETA[:8], 0.2]])
    longer = torch.cat([theta, torch.tensor([[2.0]])], dim=1)
    torch.testing.assert_close(known.log_likelihood(theta, twice), scaled.log_likelihood(longer, sessions))
    moving = longer.double().requires_grad_(True)
    slow = scaled.likelihood(sessions).filtered(moving).log_prob.sum() - 48 * math.log(scaled.units.scale)
    torch.testing.assert_close(slow.detach(), scaled.log_likelihood(longer, sessions)[0], rtol=1e-5, atol=1e-4)
    assert rebuilt(scaled.config()).names[-1] == "error_scale"
