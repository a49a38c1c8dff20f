"""Posteriors over laws: against a conjugate one, through files, checked, and laws told apart."""

import math

import pytest
import torch
from sessions import AS_THEY_ARE, THETA, schedule, stimulated
from torch.distributions import Normal, Uniform

import sbirules as sr
from sbirules.inference.questions.session_checks import order_matters
from sbirules.priors import IndependentPrior, uniform
from sbirules.simulators import SessionLaw

QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)


def test_the_posterior_of_a_drift_is_that_of_regression():
    """With a noise that is known, drift is the slope of a line with Gaussian errors: a conjugate posterior."""
    law, k, drift, walk, error = sr.DriftLaw(1), 12, 0.4, 0.3, 0.2
    gen = torch.Generator().manual_seed(0)
    z = torch.cat([torch.randn(1, generator=gen), drift + walk * torch.randn(k - 1, generator=gen)]).cumsum(0)
    y = (z + error * torch.randn(k, generator=gen)).double()
    sessions = sr.SessionScales.of(y[:, None], error)
    prior = IndependentPrior({"drift_1": Normal(0.0, 1.0), "walk": Uniform(walk - 1e-4, walk + 1e-4)})
    simulator = SessionLaw(law, initial=1.0, **AS_THEY_ARE)
    posterior = sr.fit(simulator, prior, sessions=sessions, seed=1)
    draws = posterior.sample((4000,))[:, 0].double()
    place = torch.arange(k, dtype=torch.float64)
    cov = walk**2 * torch.minimum(place[:, None], place) + torch.ones(k, k) + error**2 * torch.eye(k)
    weight = torch.linalg.solve(cov.double(), torch.stack([place, y], dim=1))
    precision = 1.0 + float(place @ weight[:, 0])
    mean = float(place @ weight[:, 1]) / precision
    assert float(draws.mean()) == pytest.approx(mean, abs=4 / math.sqrt(precision * 1000))
    assert float(draws.std()) == pytest.approx(1 / math.sqrt(precision), rel=0.08)
    truth = torch.distributions.MultivariateNormal(
        torch.zeros(k).double(), cov.double() + torch.outer(place, place)
    ).log_prob(y)
    value, se = posterior.log_evidence()
    assert value == pytest.approx(float(truth), abs=4 * se + 0.1)


@pytest.fixture(scope="module")
def fitted():
    law, sessions = sr.LatentLaw(2, 1), stimulated(2, 20)
    posterior = sr.fit(SessionLaw(law), uniform(law, -1.5, 1.5), sessions=sessions, sampler=QUICK)
    return posterior, sessions


def test_a_law_is_recovered(fitted):
    posterior, sessions = fitted
    simulator = SessionLaw(sr.LatentLaw(2, 1)).suited(sessions)
    truth = torch.tensor(THETA)
    w, centre = truth[:4].reshape(2, 2), torch.tensor(simulator.units.centre)
    truth[4:6] *= simulator.units.strength / simulator.units.scale
    truth[6:8] = (truth[6:8] + w @ centre) / simulator.units.scale
    truth[8] /= simulator.units.scale
    draws = posterior.sample((1000,))
    z = (draws.mean(dim=0) - truth) / draws.std(dim=0)
    assert (z.abs() < 4).all(), z
    assert (draws.std(dim=0) < 0.3).all()


def test_files_bring_the_posterior_back(fitted, tmp_path):
    posterior, _ = fitted
    posterior.save(tmp_path)
    back = sr.Posterior.load(tmp_path)
    theta = torch.tensor([THETA, THETA]) * torch.tensor([[1.0], [0.5]])
    torch.testing.assert_close(back.log_likelihood(theta), posterior.log_likelihood(theta))
    assert back.question.words("Which laws", "").startswith("Which laws could have moved 2 scales")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_checks_of_a_right_law_pass_and_look(fitted):
    posterior, _ = fitted
    checked = sr.check(posterior, SessionLaw(sr.LatentLaw(2, 1)), rules=64)
    levels = {v.name: v.level for v in checked.verdicts}
    assert {levels[n] for n in ("next session", "later sessions", "law", "order of sessions")} == {"pass"}, str(checked)
    for verdict in checked.verdicts:
        if verdict.draw is not None:
            verdict.draw()
    for _, draw, caption in posterior.question.figures(checked.resimulation, SessionLaw(sr.LatentLaw(2, 1))):
        draw()
        assert caption
    low, high = checked.resimulation.quantiles()["largest eigenvalue"][1:]
    truth = torch.linalg.eigvals(torch.eye(2) + torch.tensor(THETA[:4]).reshape(2, 2)).abs().max()
    assert low - 0.1 < float(truth) < high + 0.1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_checks_tell_of_a_law_that_is_not_there():
    wandering = SessionLaw(sr.DriftLaw(2), initial=1.0, **AS_THEY_ARE)
    like = sr.SessionScales.of(torch.zeros(1, 24, 2), 0.05, stimulation=schedule(1, 24))
    sessions = wandering.measured(torch.tensor([0.0, 0.0, 0.3]), like, seed=3)
    law = sr.LatentLaw(2, 1)
    posterior = sr.fit(SessionLaw(law), uniform(law, -1.5, 1.5), sessions=sessions, sampler=QUICK)
    checked = sr.check(posterior, SessionLaw(law), rules=32)
    assert checked["law"].level == "caution"
    assert "Scales that wander" in checked["law"].finding


def test_the_order_of_sessions():
    assert order_matters(stimulated(1, 30)) < 0.01
    noise = sr.SessionScales.of(torch.randn(1, 30, 2, generator=torch.Generator().manual_seed(0)), 0.1)
    assert order_matters(noise) > 0.05
    p = [order_matters(stimulated(1, 16, seed=k).shuffled(k), seed=k) for k in range(20)]
    assert 0.2 < sum(p) / 20 < 0.8  # uniform where there is no order
    assert math.isnan(order_matters(stimulated(1, 5)))


@pytest.mark.filterwarnings("ignore")
def test_laws_are_told_apart():
    law, drift = sr.LatentLaw(2, 1), sr.DriftLaw(2)
    families = {
        "latent": (SessionLaw(law), uniform(law, -1.5, 1.5)),
        "drift": (SessionLaw(drift), uniform(drift, -1.0, 1.0)),
        "none": "no_law",
    }
    found = sr.compare_families(families, sessions=stimulated(1, 24), sampler=QUICK)
    assert found.best == "latent"
    assert "speak for latent" in found.verdict
    assert found.table().loc["latent", "score"] > found.table().loc["none", "score"]
    like = sr.SessionScales.of(torch.zeros(1, 24, 2), 0.05, stimulation=schedule(1, 24))
    wandering = SessionLaw(drift, initial=1.0, **AS_THEY_ARE).measured(torch.tensor([0.0, 0.0, 0.3]), like, seed=1)
    assert sr.compare_families(families, sessions=wandering, sampler=QUICK).best == "none"
    with pytest.raises(ValueError, match="belongs to other families"):
        sr.compare_families(families, sessions=wandering, seen=3)
    with pytest.raises(ValueError, match="at least two families"):
        sr.compare_families({"none": "no_law"}, sessions=wandering)


def test_what_matters_of_a_law(fitted):
    """Densities in double precision, and a simulator that knows its animals by itself."""
    posterior, _ = fitted
    found = sr.sensitivity(posterior, SessionLaw(sr.LatentLaw(2, 1)), num_rules=4, networks=2)
    assert set(found.left_out) == {"sobol", "shapley", "active_subspace", "elasticities"}
    assert found.left_out["sobol"] == "pass store=, simulations of rules of the prior, as the fit needed none."
    pair = found.compensation.iloc[0]
    assert abs(pair["correlation"]) > 0.5
    assert pair["correlation"] * pair["conditional"] > 0


def test_other_sessions_ask_for_another_fit(fitted):
    posterior, sessions = fitted
    with pytest.raises(
        ValueError, match=r"this one has a likelihood: fit\(simulator, prior, sessions=...\) to other data"
    ):
        posterior.given(sessions)


def test_wrong_questions_are_refused(fitted):
    posterior, sessions = fitted
    law = SessionLaw(sr.LatentLaw(2, 1))
    with pytest.raises(ValueError, match="exactly one of constraints"):
        sr.fit(law, uniform(law.family, -1, 1), sessions=sessions, trials=sessions)
    with pytest.raises(ValueError, match="needs a simulator that knows"):
        sr.fit(law, uniform(law.family, -1, 1), trials=sessions)
    with pytest.raises(ValueError, match="number of animals"):
        sr.check(posterior, law, networks_per_rule=7)


def test_forecasts_hold_what_comes(fitted):
    """Of 24 animals under laws of the posterior, the sessions to come lie in their bands as often as promised."""
    posterior, sessions = fitted
    law = sr.LatentLaw(2, 1)
    schedule = torch.tensor([[1.0], [1.0], [0.0], [1.0], [0.0]])
    ahead = sr.forecast_sessions(posterior, SessionLaw(law), schedule, rules=400)
    assert ahead.draws.shape == (400, 2, 6, 2)
    assert not ahead.cautions
    simulator = SessionLaw(law).suited(sessions)
    inside = []
    for k, theta in enumerate(posterior.spread_out(24).double()):
        # the truth of an animal under this law, from where the filter says it was last
        one = theta[None]
        f = simulator.likelihood(sessions).filtered(one)
        state = f.state[0] + (torch.linalg.cholesky(f.state_covariance[0]) @ torch.randn(2, 2, 1).double())[..., 0]
        columns = {n: one[:, i] for i, n in enumerate(simulator.names)}
        u = (
            torch.cat([sessions.stimulation[:, -1:], schedule.double().expand(2, -1, -1)], dim=1)
            / simulator.units.strength
        )
        path = []
        gen = torch.Generator().manual_seed(k)
        for h in range(6):
            noise = theta[-1] * torch.randn(2, 2, generator=gen, dtype=torch.float64)
            state = law.step(columns, state, u[:, h]) + noise
            path.append(torch.tensor(simulator.units.centre) + state * simulator.units.scale)
        _, low, high = ahead.band()
        truth = torch.stack(path, dim=1)
        inside.append(((truth > low) & (truth < high)).double().mean())
    assert 0.85 < float(torch.stack(inside).mean()) <= 1.0
    assert ahead.table().shape == (24, 6)
    beyond = sr.forecast_sessions(posterior, SessionLaw(law), [[5.0]], rules=20)
    assert "extrapolated" in beyond.cautions[0]
    with pytest.raises(ValueError, match=r"\(sessions, channels\) of stimulation"):
        sr.forecast_sessions(posterior, SessionLaw(law), [[1.0, 2.0]])


def test_the_session_that_tells_most(fitted):
    posterior, _ = fitted
    law = SessionLaw(sr.LatentLaw(2, 1))
    found = sr.choose_session(posterior, law, {"rest": [0.0], "strong": [6.0], "usual": [1.0]}, rules=300)
    assert next(iter(found.index)) == "strong"
    assert (found["gain"] >= -3 * found["gain_se"]).all()
    blunt = sr.choose_session(posterior, law, {"strong": [6.0]}, errors=50.0, rules=300)
    assert blunt.loc["strong", "gain"] < 0.1
    with pytest.raises(ValueError, match="candidates must hold"):
        sr.choose_session(posterior, law, {})


def test_expected_information_is_that_of_a_linear_gaussian_model():
    from sbirules.inference.session_forecasts import _gain

    theta = torch.randn(3000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain, se = _gain(2.0 * theta, 0.5 * torch.ones(3000, 1, 1, dtype=torch.float64), 0)
    assert gain == pytest.approx(0.5 * math.log(1 + 4.0 / 0.5), abs=4 * se + 0.03)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_evidence_of_no_law_does_not_depend_on_the_laws_beside_it():
    sessions = stimulated(1, 16)
    small = sr.SessionScales.of(1e-3 * sessions.scales, 5e-5, stimulation=sessions.stimulation)
    circuit = sr.MotifCircuit(0.2 * torch.eye(2), torch.ones(2, 1), torch.ones(2, 1))
    oja, linear = sr.OjaLaw(circuit), sr.LatentLaw(2, 1)
    laws = {
        "linear": (SessionLaw(linear), uniform(linear, -1.5, 1.5)),
        "oja": (SessionLaw(oja), uniform(oja, -1.0, 1.0)),
    }
    quick = sr.SamplerSettings(num_runs=2, num_particles=100, num_moves=2, max_doublings=0)
    found = [
        sr.compare_families({**dict(order), "none": "no_law"}, sessions=small, sampler=quick)
        for order in (laws.items(), reversed(laws.items()))
    ]
    none = [float(f.log_evidence[f.names.index("none")]) for f in found]
    assert none[0] == pytest.approx(none[1], abs=0.3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_animals_of_very_different_numbers_of_sessions_are_each_predicted_from_their_own_first():
    sessions = stimulated(2, 30)
    uneven = sr.SessionScales.of(
        [sessions.scales[0], sessions.scales[1, :4]],
        0.05,
        stimulation=[sessions.stimulation[0], sessions.stimulation[1, :4]],
    )
    law = sr.LatentLaw(2, 1)
    posterior = sr.fit(SessionLaw(law), uniform(law, -1.5, 1.5), sessions=uneven, sampler=QUICK)
    found = sr.check(posterior, SessionLaw(law), rules=16, parts=["predictions"]).resimulation
    assert found.given == (18, 2)
    assert found.measurements == 2 * (12 + 2)
    assert all(-20 < value <= 1 for value in found.explained.values())
    gone = sr.SessionScales.of(
        torch.where(torch.arange(30)[:, None] < 18, sessions.scales[0], torch.nan),
        0.05,
        stimulation=sessions.stimulation[0],
    )
    posterior = sr.fit(SessionLaw(law), uniform(law, -1.5, 1.5), sessions=gone, sampler=QUICK)
    checked = sr.check(posterior, SessionLaw(law), rules=16, parts=["predictions"])
    assert checked["later sessions"].level == "caution"
    assert "No later session was measured" in checked["later sessions"].finding


def test_forecasts_of_another_law_and_of_nonsense_are_refused(fitted):
    posterior, _ = fitted
    law = sr.LatentLaw(2, 1)
    for other in (SessionLaw(law, timed=True), SessionLaw(sr.DriftLaw(2))):
        with pytest.raises(ValueError, match="simulator must be the law of the fit"):
            sr.forecast_sessions(posterior, other, [[1.0]])
    for wrong in ([[math.nan]], [[math.inf]]):
        with pytest.raises(ValueError, match="must be finite numbers"):
            sr.forecast_sessions(posterior, SessionLaw(law), wrong)
