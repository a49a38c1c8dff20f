"""Filter rounds, recovery and comparison of families, against exact answers of simulators that cost nothing."""

import math

import pytest
import torch
from cheap import PRIOR, Cheap, Line

import sbirules as sr
from sbirules import EnsembleSettings, SamplerSettings
from sbirules.model.summaries import learning_curve
from sbirules.priors import uniform

QUICK = SamplerSettings(num_runs=2, num_particles=512, max_doublings=0)
OPTIONS = {"num_workers": 1, "progress": False}


# Filter rounds ---------------------------------------------------------------------------------------


def exact_share(theta):
    """P(final_error in (0.6, 0.9)) of Cheap's rules: the mean of five trials' errors, simulated afresh."""
    x = Cheap()(theta)[:, 0]
    return (x > 0.6) & (x < 0.9)


@pytest.fixture(scope="module", params=["truncated", "tilted"])
def found(request):
    asked = {"final_error": (0.6, 0.9)}
    return sr.filter_rules(
        Cheap(), PRIOR, asked, budget=3000, num_simulations=600, proposal=request.param, seed=1, **OPTIONS
    )


@pytest.mark.slow
def test_rounds_find_more_and_say_so(found):
    table = found.table()
    assert table["accepted"].iloc[0] == pytest.approx(
        float(exact_share(PRIOR.sample((20_000,))).float().mean()), abs=0.05
    )
    assert table["accepted"].iloc[-1] > 1.4 * table["accepted"].iloc[0]
    assert table["total"].iloc[-1] <= 3000
    assert (table["ess"] <= table["successful"] + 1e-3).all()
    assert table["ess"].iloc[-1] > 0.5 * table["successful"].iloc[-1]


def test_weighted_draws_are_those_of_rejection_from_the_prior(found):
    theta = PRIOR.sample((40_000,))
    kept = theta[exact_share(theta)]
    draws = found.sample(5000)
    error = 4 * kept.std(dim=0) / math.sqrt(found.rounds[-1].ess)
    assert ((draws.mean(dim=0) - kept.mean(dim=0)).abs() < error).all()
    torch.testing.assert_close(draws.std(dim=0), kept.std(dim=0), rtol=0.12, atol=0)
    assert found.weights.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_constraints_change_without_starting_over(tmp_path):
    stages = [{"final_error": (0.3, 2.0)}, {"final_error": (0.6, 0.9)}]
    found = sr.filter_rules(Cheap(), PRIOR, stages, budget=1200, num_simulations=300, folder=tmp_path, **OPTIONS)
    assert found.rounds[0].constraints["final_error"] == pytest.approx((0.3, 2.0))
    assert found.rounds[-1].constraints["final_error"] == pytest.approx((0.6, 0.9))
    before = sum(r.simulations for r in found.rounds)
    found.more({"final_error": (0.0, 0.2)}, budget=300, num_simulations=300)
    assert found.rounds[-1].total == before + 300
    x = torch.cat([s.x for s in found.stores])[:, 0]
    assert len(found.theta) == int((x <= 0.2).sum())
    posterior = found.posterior(classifier=EnsembleSettings(members=2), sampler=QUICK)
    assert posterior.sample((50,)).shape == (50, 2)


def test_what_nothing_meets_is_said():
    with pytest.warns(UserWarning, match=r"none of 200 networks met all constraints \(alone: final_error in 0\)"):
        found = sr.filter_rules(Cheap(), PRIOR, {"final_error": (5, 6)}, budget=200, num_simulations=200, **OPTIONS)
    with pytest.raises(ValueError, match="no simulated network met the constraints"):
        found.sample(5)
    for call, words in [
        (lambda: sr.filter_rules(Cheap(), PRIOR, {"final_error": (0, 1)}, proposal="x", **OPTIONS), "proposal"),
        (lambda: sr.filter_rules(Cheap(), PRIOR, [], **OPTIONS), "at least one summary"),
        (lambda: sr.filter_rules(Cheap(), PRIOR, {"speed": (0, 1)}, **OPTIONS), "speed"),
        (lambda: sr.filter_rules(Cheap(), PRIOR, {"final_error": (0, 1)}, budget=5, **OPTIONS), "budget"),
        (lambda: found.more(budget=0), "budget"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


# Recovery --------------------------------------------------------------------------------------------

POSITIVE = uniform(Line(), 0.2, 1.0)
BINS = [learning_curve(5)]


@pytest.mark.long
def test_recovery_finds_rules_that_can_be_found():
    study = sr.recover(
        Cheap(),
        POSITIVE,
        learners=4,
        rules=60,
        num_simulations=2000,
        num_samples=200,
        fit_options={"summaries": BINS, "sampler": QUICK, "settings": EnsembleSettings(members=2)},
        seed=2,
        **OPTIONS,
    )
    table = study.table()
    # ten trials with noise .1 and four learners: a regression whose errors are known
    slope = torch.linspace(0, 1, 10)
    design = torch.stack([torch.ones(10), slope], dim=1)
    sd = 0.1 / 2 * torch.linalg.inv(design.T @ design).diagonal().sqrt()
    assert table["sd"].tolist() == pytest.approx(sd.tolist(), rel=0.25)
    assert (table["bias"].abs() < 4 * table["bias_se"] + 0.01).all()
    assert table["r"].min() > 0.9
    assert table["contraction"].min() > 0.8
    assert table["sbc_p"].min() > 0.001
    assert table["coverage_95"].min() > 0.8
    assert "TARP" in str(study)
    assert study.ranks.max() <= 200


def test_recovery_notices_posteriors_that_are_too_narrow_or_shifted():
    # prior N(0, 1), one observation with noise .5: the posterior is N(.8 x, .2)
    truth = torch.randn(200, 2)
    centre = 0.8 * (truth + 0.5 * torch.randn(200, 2))
    scatter = 0.2**0.5 * torch.randn(200, 300, 2)
    wide = centre[:, None] + scatter

    def study(draws):
        return sr.Recovery(("a", "b"), truth, draws, 1, torch.ones(2), None)

    right = study(wide)
    assert min(right.sbc_p.values()) > 0.01
    assert abs(right.tarp[0]) < 0.6
    assert right.tarp[1] > 0.01
    narrow = study(centre[:, None] + 0.4 * scatter)
    assert max(narrow.sbc_p.values()) < 1e-3
    assert narrow.tarp[1] < 1e-3
    assert "NOT calibrated" in str(narrow)
    assert max(narrow.coverage().values()) < 0.75
    assert min(study(wide + 0.4).sbc_p.values()) < 1e-6


# Families --------------------------------------------------------------------------------------------

FLAT = uniform(Line(), a=(0.2, 1.0), b=(-0.01, 0.01))


def table_of(theta, learners, seed):
    run = Cheap().run(theta.expand(learners, 2), seed=seed)
    return sr.Trials(tuple(str(k) for k in range(learners)), run)


def exact_evidence(error, prior, given=None):
    """Log p(errors (L, T) | prior), on a grid of rules; or of `error` given others."""
    slope = torch.linspace(0, 1, error.shape[1])
    theta = prior.sample((100_000,))
    mean = theta[:, :1] + theta[:, 1:] * slope

    def log_p(rows):
        return sum(torch.distributions.Normal(mean, 0.1).log_prob(row).sum(dim=1) for row in rows)

    value = log_p(error)
    if given is None:
        return float(torch.logsumexp(value, 0) - math.log(len(theta)))
    other = log_p(given)
    return float(torch.logsumexp(value + other, 0) - torch.logsumexp(other, 0))


@pytest.fixture(scope="module")
def stores():
    pair = {"growing": POSITIVE, "flat": FLAT}
    return {k: (sr.simulate(Cheap(), p, 4000, seed=3, **OPTIONS), p) for k, p in pair.items()}


@pytest.mark.long
def test_families_are_compared_as_the_exact_likelihood_does(stores):
    # per trial: ten bins keep all that the trials say
    for slope, winner in ((0.0, "flat"), (0.25, "growing")):
        table = table_of(torch.tensor([0.5, slope]), 3, seed=11)
        error = table.trajectory.error
        out = sr.compare_families(stores, table, summaries=BINS, settings=EnsembleSettings(members=3), sampler=QUICK)
        assert out.table().index[0] == winner
        exact = exact_evidence(error, POSITIVE) - exact_evidence(error, FLAT)
        ours = float(out.log_evidence[0] - out.log_evidence[1])
        assert ours == pytest.approx(exact, abs=max(1.5, 0.3 * abs(exact)))
        rows = [torch.arange(3) != k for k in range(3)]
        scores = [sum(exact_evidence(error[k : k + 1], p, error[rows[k]]) for k in range(3)) for p in (POSITIVE, FLAT)]
        difference = float((out.scores[0] - out.scores[1]).sum())
        assert difference == pytest.approx(scores[0] - scores[1], abs=max(1.5, 0.3 * abs(scores[0] - scores[1])))
        assert torch.isfinite(out.evidence_se).all()
        assert sum(out.probability.values()) == pytest.approx(1.0)


def test_families_that_differ_are_told_apart():
    pair = {"growing": (Cheap(), POSITIVE), "flat": (Cheap(), FLAT)}
    out = sr.recover_families(
        pair,
        learners=4,
        rules=10,
        num_simulations=1500,
        summaries=BINS,
        sampler=QUICK,
        settings=EnsembleSettings(members=2),
        **OPTIONS,
    )
    confusion = out.confusion()
    assert confusion.loc["growing", "growing"] >= 0.8
    assert confusion.loc["flat", "flat"] >= 0.8
    assert "rows: true" in str(out)


def test_comparisons_that_cannot_be_are_refused_in_words(stores):
    one = dict(list(stores.items())[:1])
    table = table_of(torch.tensor([0.5, 0.1]), 2, seed=1)
    wrong = {"a": stores["flat"], "b": (stores["flat"][0], uniform(sr.PolynomialRule(degree=1), -1, 1))}
    for call, words in [
        (lambda: sr.compare_families(one, table), "at least two families"),
        (lambda: sr.compare_families({"a": stores["flat"], "b": 3}, table), r"families must be a mapping from text to"),
        (lambda: sr.compare_families(wrong, table), "the prior of family 'b' is over"),
        (lambda: sr.recover_families({}), "at least two families"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
