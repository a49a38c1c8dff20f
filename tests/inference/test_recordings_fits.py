"""Posteriors from recordings: what is compared is what was planted, controls fail where they should, both kinds are one table."""

import dataclasses

import numpy as np
import pytest
import torch
from recordings import learned, mushroom

import sbirules as sr
from sbirules.inference.questions.fresh import Fresh
from sbirules.inference.questions.recorded_activity import recorded_activity
from sbirules.inference.questions.sessions import cut_like_learners, recorded_like
from sbirules.priors import uniform
from sbirules.simulators import MushroomBody, RateRNN

FAST = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)
TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
FAMILY = sr.PolynomialRule(degree=2, terms=["theta_11", "theta_21"])
SMALL = {"num_units": 16, "num_trials": 60, "clamped": {1: 1.0}}


def prior_of(simulator):
    return uniform(simulator.family, -1, 1)


@pytest.fixture(scope="module")
def conditioned():
    """Animals whose synapses are depressed by shock, and animals that learn nothing."""
    return learned({"x_r": -0.6, "w": -0.1}, animals=6)[0], learned({}, animals=6)[0]


# Circuits whose variable was recorded -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the sampler")
def test_controls_pass_where_animals_learned_and_caution_where_not(conditioned):
    simulator = mushroom(("x r", "w"))
    levels = []
    for recordings in conditioned:
        posterior = sr.fit(simulator, prior_of(simulator), recordings=recordings, sampler=FAST)
        checked = sr.check(posterior, simulator.suited(recordings), rules=40)
        verdict = checked["plasticity"]
        levels.append(verdict.level)
        assert checked.resimulation.inside > 0.8
        assert checked["mean responses"].draw() is not None
        gain, shuffled = verdict.numbers["nats for recordings"], verdict.numbers["nats for trials in another order"]
        assert shuffled < 3
    assert levels == ["pass", "caution"]
    assert gain < 3
    assert "without plasticity" in verdict.finding


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the sampler")
def test_a_rule_that_cannot_make_the_change_fails(conditioned):
    simulator = mushroom(("w",))
    posterior = sr.fit(simulator, prior_of(simulator), recordings=conditioned[0], sampler=FAST)
    checked = sr.check(posterior, simulator.suited(conditioned[0]), rules=100, parts=["predictions"])
    assert checked["change over learning"].level == "fail"
    assert checked["mean responses"].level != "pass"
    again = sr.fit(simulator, prior_of(simulator), recordings=conditioned[0], sampler=FAST, seed=1)
    assert not torch.equal(again.draws, posterior.draws)
    torch.testing.assert_close(again.draws.mean(dim=0), posterior.draws.mean(dim=0), atol=0.3, rtol=0.3)


@pytest.mark.filterwarnings("ignore:the sampler")
@pytest.mark.long
def test_animals_left_out_are_predicted_best_by_the_rule_that_made_them(conditioned):
    right, wrong = (mushroom(terms, nuisance=()) for terms in (("x r", "w"), ("x", "w")))
    families = {"with": (right, prior_of(right)), "without": (wrong, prior_of(wrong)), "none": "no_plasticity"}
    learned_ones, others = (r.subset([0, 1, 2, 3]) for r in conditioned)
    found = sr.compare_families(families, recordings=learned_ones, seen=2, sampler=FAST)
    assert found.best == "with"
    assert found.table().index[0] == "with"
    assert list(found.table().index) == sorted(families, key=lambda n: -float(found.score[found.names.index(n)].sum()))
    assert "Plasticity is needed: with" in found.plasticity
    assert (found.values == 10).all()
    assert float(found.log_evidence[0] - found.log_evidence[2]) > 10
    still = sr.compare_families(families, recordings=others, sampler=FAST)
    assert "Plasticity is needed" not in still.plasticity


@pytest.mark.filterwarnings("ignore:the sampler")
@pytest.mark.long
def test_the_score_of_an_animal_left_out_is_a_ratio_of_evidences(conditioned):
    """Against evidences of all animals and of the others, by the same sampler from the prior."""
    simulator = mushroom(("x r",), nuisance=(), gains="shared")
    prior, table = prior_of(simulator), conditioned[0].subset([0, 1, 2])
    precise = sr.SamplerSettings(num_runs=4, num_particles=1024, num_moves=6, max_doublings=0)
    found = sr.compare_families({"a": (simulator, prior), "b": "no_plasticity"}, recordings=table, sampler=precise)
    for left in range(3):
        evidence = [
            sr.fit(simulator, prior, recordings=table.subset(index), sampler=precise).chains.log_evidence
            for index in ([0, 1, 2], [k for k in range(3) if k != left])
        ]
        error = sum(e for _, e in evidence) + float(found.score_error[0, left])
        assert abs(float(found.score[0, left]) - (evidence[0][0] - evidence[1][0])) < 4 * error + 0.05


def test_animals_may_have_rules_of_their_own(conditioned):
    simulator = mushroom(("x r",), nuisance=())
    table = conditioned[0].subset([0, 1, 2])
    own = sr.fit(simulator, prior_of(simulator), recordings=table, animals="own", sampler=FAST)
    assert own.rules_of_animals(5).shape == (5, 3, len(own.names))
    assert sr.check(own, simulator.suited(table), rules=20, parts=["information"])["information"].level == "pass"
    one = own.animal(table.learners[1])
    theta = own.draws[:4]
    alone = simulator.suited(table).likelihood(table).log_prob(theta)[:, 1]
    torch.testing.assert_close(one.log_likelihood(theta).double(), alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda r: sr.fit(mushroom(), prior_of(mushroom()), trials="x.csv"), "needs a simulator that knows"),
        (
            lambda r: sr.fit(mushroom(), prior_of(mushroom()), recordings=r, summaries=["drift"]),
            "belongs to fits from simulations",
        ),
        (
            lambda r: sr.compare_families({"a": "no_plasticity", "b": "no_plasticity"}, recordings=r),
            "no rule was given",
        ),
        (
            lambda r: sr.compare_families({"a": (mushroom(), prior_of(mushroom()))}, recordings=r),
            "at least two families",
        ),
        (
            lambda r: sr.compare_families({"a": (mushroom(), prior_of(mushroom())), "b": "none"}, recordings=r),
            "family 'b'",
        ),
        (
            lambda r: sr.compare_families(
                {"a": (mushroom(), prior_of(mushroom())), "b": "no_plasticity"}, recordings=r, seen=12
            ),
            "seen must leave each animal",
        ),
        (
            lambda r: sr.compare_families({"a": (mushroom(), prior_of(mushroom())), "b": "no_plasticity"}),
            "needs trials, recordings",
        ),
        (lambda r: MushroomBody(sr.TaylorRule(["x r"])).suited(dataclasses.replace(r, events={})), "have no event"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, said, conditioned):
    with pytest.raises(ValueError, match=said):
        call(conditioned[0])


# Units that nobody can name ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks():
    """A store of networks of which eight units were recorded, and learners of one rule with five."""
    simulator = RateRNN(FAMILY, TASK, num_recorded=8, recording_noise=0.1, **SMALL)
    store = sr.simulate(simulator, uniform(FAMILY, -1, 1), 600, seed=1, num_workers=1, progress=False)
    run = simulator.run(torch.tensor([[-0.6, 0.2]] * 6), seed=9)
    names = tuple(f"m{k}" for k in range(6))
    trials = sr.Trials(
        names, sr.Trajectory(run.status, run.trial_types, {"error": run.error}, type_names=run.type_names)
    )
    values = run.responses.double().numpy()[:, :, :5]
    values[2, 10:20, 3] = np.nan
    values[4, :, 4] = np.nan
    recordings = sr.Recordings.of(
        values, trial_types=run.trial_types, learners=names, type_names=run.type_names, unit="rate"
    )
    return simulator, store, trials, recordings


def test_the_recorded_units_are_those_of_the_network():
    simulator = RateRNN(FAMILY, TASK, num_recorded=15, **SMALL)
    plain = RateRNN(FAMILY, TASK, **SMALL)
    theta = torch.tensor([[-0.6, 0.2]] * 3)
    run, full = simulator.run(theta, seed=4), plain.run(theta, seed=4, record=[0, 59])
    assert torch.equal(run.error, full.error)  # recording draws nothing that changes a network
    window = TASK.tensors(5.0).response
    for k, trial in enumerate((0, 59)):
        mean = full.recording.rate[:, k][:, window].mean(dim=1)
        free = [u for u in range(16) if u != 1]
        torch.testing.assert_close(run.responses[:, trial].sort(dim=1).values, mean[:, free].sort(dim=1).values)
    noisy = RateRNN(FAMILY, TASK, num_recorded=15, recording_noise=0.3, **SMALL).run(theta, seed=4)
    assert abs(float((noisy.responses - run.responses).std()) - 0.3) < 0.02
    torch_backend = RateRNN(FAMILY, TASK, num_recorded=15, backend="torch", **SMALL).run(theta, seed=4)
    torch.testing.assert_close(torch_backend.responses[:, :25], run.responses[:, :25], atol=1e-3, rtol=1e-3)


def test_stores_keep_recordings_and_old_configurations_stay(networks):
    simulator, store, *_ = networks
    assert tuple(store.trajectory.responses.shape) == (600, 60, 8)
    assert "num_recorded" not in RateRNN(FAMILY, TASK, **SMALL).config()["settings"]
    assert simulator.config()["settings"]["num_recorded"] == 8


def test_simulated_recordings_have_the_learners_units_and_gaps(networks):
    _, store, trials, recordings = networks
    table = trials.with_recordings(recordings)
    rows, cut, _, learner = cut_like_learners(store.trajectory, table, seed=0)
    shown = recorded_like(cut, table, learner).responses
    assert shown.shape[2] == 5
    for k in range(6):
        seen = torch.isfinite(recordings.values[k])
        mine = shown[(learner == k) & cut.ok]
        assert (torch.isfinite(mine) == seen).all()
    same = store.trajectory.responses[rows][:, :, :5]
    there = torch.isfinite(shown)
    assert torch.equal(shown[there], same[there])


@pytest.mark.filterwarnings("ignore")
def test_behaviour_and_activity_are_one_observation(networks):
    simulator, store, trials, recordings = networks
    prior = uniform(FAMILY, -1, 1)
    few = sr.EnsembleSettings(members=2, max_epochs=4)
    both = sr.fit(store, prior, trials=trials, recordings=recordings, settings=few, sampler=FAST)
    alone = sr.fit(store, prior, recordings=recordings, settings=few, sampler=FAST)
    behaviour = sr.fit(store, prior, trials=trials, settings=few, sampler=FAST)
    names = {kind: set(p.question.names) for kind, p in (("both", both), ("alone", alone), ("behaviour", behaviour))}
    assert names["both"] == names["alone"] | names["behaviour"]
    assert any(n.startswith("drift") for n in names["alone"])
    checked = sr.check(
        both, simulator, trials=trials.with_recordings(recordings), rules=12, calibration=0, num_workers=1
    )
    assert {"recorded activity", "untrained control", "learning curve"} <= {v.name for v in checked.verdicts}
    with pytest.raises(ValueError, match="was fitted to recorded units as well"):
        sr.check(both, simulator, trials=trials, rules=12, calibration=0)
    table = alone.question.table
    checked = sr.check(alone, simulator, trials=table, rules=12, calibration=50, num_workers=1)
    assert "learning curve" not in {v.name for v in checked.verdicts}
    assert checked.calibration is not None


def test_untrained_networks_explain_recordings_of_networks_that_did_not_learn(networks):
    simulator = networks[0]
    fresh = Fresh(rules=64, num_workers=1)
    theta = torch.tensor([[-0.7, 0.3]] * 64)
    levels = []
    for maker in (simulator, simulator.without_plasticity()):
        run = maker.run(torch.tensor([[-0.9, 0.5]] * 24), seed=11)
        made = sr.Recordings.of(run.responses.numpy(), trial_types=run.trial_types, type_names=run.type_names, unit="r")
        table = sr.Trials.of_recordings(made, run.type_names)
        runs = fresh.simulate(theta, 24, simulator, "x", trial_types=table.trial_types).trajectory
        found = recorded_activity(theta, simulator, table, runs, fresh)
        levels.append(found._control(24)[0].level)
    assert levels == ["pass", "caution"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t, r: t.with_recordings(dataclasses.replace(r, learners=tuple("abcdef"))), "no animal 'm0'"),
        (lambda t, r: t.with_recordings(r.subset([0, 1, 2])), "no animal 'm3'"),
        (
            lambda t, r: t.with_recordings(
                dataclasses.replace(
                    r, values=r.values[:, :50], trial_types=r.trial_types[:, :50], sessions=r.sessions[:, :50]
                )
            ),
            "has 60 trials, but 50 were recorded",
        ),
        (lambda t, r: t.with_recordings(dataclasses.replace(r, trial_types=1 - r.trial_types)), "are they aligned"),
        (
            lambda t, r: t.with_recordings(dataclasses.replace(r, type_names=("left", "right"))),
            "trial type of the recordings",
        ),
    ],
)
def test_recordings_that_are_not_of_these_trials_are_refused(change, said, networks):
    _, _, trials, recordings = networks
    with pytest.raises(ValueError, match=said):
        change(trials, recordings)


def test_simulations_without_enough_units_are_refused(networks):
    _, _, trials, recordings = networks
    prior = uniform(FAMILY, -1, 1)
    for recorded, said in ((0, "the simulations record no units"), (3, "only 3 in simulations")):
        simulator = RateRNN(FAMILY, TASK, num_recorded=recorded, **SMALL)
        store = sr.simulate(simulator, prior, 120, seed=1, num_workers=1, progress=False)
        with pytest.raises(ValueError, match=said):
            sr.fit(store, prior, trials=trials, recordings=recordings)
    simulator = RateRNN(FAMILY, TASK, num_recorded=5, **SMALL)
    store = sr.simulate(simulator, prior, 120, seed=1, num_workers=1, progress=False)
    with pytest.raises(ValueError, match=r"another unit of measurement; .*scaled\(0.0"):
        sr.fit(store, prior, trials=trials, recordings=recordings.scaled(30.0, "Hz"))
    with pytest.raises(ValueError, match="num_recorded must be at most the 15"):
        RateRNN(FAMILY, TASK, num_recorded=16, **SMALL)


@pytest.mark.filterwarnings("ignore")
def test_families_are_compared_by_trials_and_recordings(networks):
    simulator, store, trials, recordings = networks
    still = simulator.without_plasticity()
    prior = uniform(FAMILY, -1, 1)
    other = sr.simulate(still, prior, 600, seed=2, num_workers=1, progress=False)
    few = sr.EnsembleSettings(members=2, max_epochs=4)
    families = {"rule": (store, prior), "none": (other, prior)}
    found = sr.compare_families(families, trials, recordings=recordings, settings=few, sampler=FAST)
    assert found.scores.shape == (2, 6)
    assert sr.compare_families(families, recordings=recordings, settings=few, sampler=FAST).scores.shape == (2, 6)
