"""FeedforwardNetwork: what a user relies on beside the equations of its rules (see test_layer_rules.py)."""

import json

import pytest
import torch

import sbirules as sr
from sbirules.model.rules import FAMILIES
from sbirules.simulators import FeedforwardNetwork
from sbirules.simulators.feedforward._settings import BLOCK

LAYERED = [name for name, family in FAMILIES.items() if issubclass(family, sr.LayeredRule)]


def small(family=None, **options):
    settings = dict(num_hidden=12, num_trials=24, num_recorded=4, summaries=["final_error"])
    return FeedforwardNetwork(family or sr.Backpropagation(), **{**settings, **options})


def test_five_families_are_in_the_catalogue():
    assert LAYERED == [
        "hebbian_layer",
        "oja_layer",
        "node_perturbation",
        "backpropagation",
        "feedback_alignment",
    ]


def test_same_seed_same_run():
    simulator = small(recording_noise=0.1)
    theta = [[0.5, 0.3]] * 5
    a, b, other = (simulator.run(theta, seed=s) for s in (7, 7, 8))
    for name in ("error", "output", "responses", "weight_change"):
        assert torch.equal(getattr(a, name), getattr(b, name))
        assert not torch.equal(getattr(a, name), getattr(other, name))


def test_rows_depend_neither_on_each_other_nor_on_how_many_there_are():
    simulator = small(recording_noise=0.1)
    theta = torch.rand(BLOCK + 9, 2, generator=torch.Generator().manual_seed(0))
    whole = simulator.run(theta, seed=7)
    few = simulator.run(theta[:3], seed=7)
    assert torch.equal(whole.error[:3], few.error)
    assert torch.equal(whole.responses[:3], few.responses)
    changed = theta.clone()
    changed[1] = torch.tensor([3.0, 0.0])
    again = simulator.run(changed, seed=7)
    same = torch.arange(len(theta)) != 1
    assert torch.equal(again.error[same], whole.error[same])
    assert not torch.equal(again.error[1], whole.error[1])
    assert len(torch.unique(whole.output[:, 0])) == len(theta), "each row is a network of its own"


def test_shorter_sessions_are_prefixes_of_longer_ones():
    simulator = small(recording_noise=0.1)
    types = torch.arange(24) % 4
    short = types.clone()
    short[15:] = -1
    a, b = (simulator.run([[0.5, 0.3]] * 3, seed=0, trial_types=t, keep_weights=True) for t in (types, short))
    assert torch.equal(a.error[:, :15], b.error[:, :15])
    assert torch.equal(a.responses[:, :15], b.responses[:, :15])
    assert torch.isnan(b.error[:, 15:]).all()
    assert torch.isnan(b.responses[:, 15:]).all()
    c = simulator.run([[0.5, 0.3]] * 3, seed=0, trial_types=types[:15], keep_weights=True)
    assert torch.equal(b.final_weights, c.final_weights)
    assert b.status_counts()["OK"] == 3


def test_without_plasticity_no_weight_changes_and_networks_are_the_same():
    simulator = small(sr.HebbianLayer())
    theta = [[1.0, 0.5, 1.0]] * 4
    still = simulator.without_plasticity().run(theta, seed=1, keep_weights=True)
    moving = simulator.run(theta, seed=1, keep_weights=True)
    assert torch.equal(still.final_weights, still.initial_weights)
    assert torch.equal(still.final_readout, still.initial_readout)
    assert torch.equal(still.initial_weights, moving.initial_weights)
    assert torch.equal(still.error[:, 0], moving.error[:, 0])
    assert (still.weight_change == 0).all()
    assert (moving.weight_change > 0.05).all()
    late = small(sr.HebbianLayer(), warm_up=20).run(theta, seed=1)
    assert torch.equal(late.error[:, :21], still.error[:, :21])
    assert not torch.equal(late.error[:, 21:], still.error[:, 21:])


def test_recorded_units_are_those_of_the_network():
    quiet = sr.tasks.LabelledStimuli(channels=6, noise=0.0)
    run = small(task=quiet, unit_noise=0.0).run([[0.0, 0.0]] * 50, seed=2, keep_weights=True)
    h = torch.tanh(torch.einsum("bhi,bci->bch", run.initial_weights, run.stimuli))  # of all units, computed anew
    shown = h[torch.arange(50)[:, None], run.trial_types]
    wanted = shown.gather(2, run.recorded_units[:, None, :].expand(-1, 24, -1))
    torch.testing.assert_close(run.responses, wanted)
    assert all(len(set(units)) == 4 for units in run.recorded_units.tolist()), "no unit twice"
    assert len(set(run.recorded_units.flatten().tolist())) == 12, "any unit may be recorded"
    z = (run.initial_readout[:, None, :] * shown).sum(dim=2)
    torch.testing.assert_close(run.output, z)
    torch.testing.assert_close(run.error, (z - quiet.targets.float()[run.trial_types]).abs())


def test_noise_of_recordings_has_its_size_and_touches_nothing_else():
    clean, noisy = (small(recording_noise=sd).run([[0.5, 0.3]] * 200, seed=2) for sd in (0.0, 0.25))
    assert torch.equal(clean.error, noisy.error)
    difference = noisy.responses - clean.responses
    assert difference.std() == pytest.approx(0.25, rel=0.03)
    assert abs(float(difference.mean())) < 0.01


def test_recording_no_unit_declares_no_such_field():
    none, some = small(num_recorded=0), small()
    assert none.layout.named("unit") == ()
    assert some.layout["responses"].units == 4
    run = none.run([[0.5, 0.3]], seed=0)
    assert run.per_unit == {}
    assert torch.equal(run.error, some.run([[0.5, 0.3]], seed=0).error)


def test_networks_learn_by_errors_fed_back_and_less_by_correlations():
    settings = dict(num_recorded=0, summaries=["learned"])
    theta = {2: [0.5, 0.1], 3: [0.5, 0.5, 0.1]}
    learned = {}
    for name in LAYERED:
        family = FAMILIES[name]()
        run = FeedforwardNetwork(family, **settings).run([theta[family.dim]] * 128, seed=0)
        assert run.ok.all()
        learned[name] = float((run.correct[:, -50:].mean(dim=1) >= 0.9).float().mean())
    assert learned["backpropagation"] > 0.95
    assert learned["feedback_alignment"] > 0.6
    assert max(learned["hebbian_layer"], learned["oja_layer"]) < 0.4
    nothing = FeedforwardNetwork(sr.Backpropagation(), **settings).without_plasticity().run([[0.5, 0.1]] * 128, seed=0)
    assert (nothing.correct[:, -50:].mean(dim=1) >= 0.9).float().mean() < 0.05


@pytest.mark.parametrize("name", LAYERED)
def test_a_natural_unit_changes_weights_by_five_percent(name):
    """Measured anew on other networks, in single trials whose error and surprise are divided out."""
    family = FAMILIES[name]()
    simulator = FeedforwardNetwork(family, num_trials=2, num_recorded=0, summaries=["final_error"])
    for k, c in enumerate(family.parameters):
        theta = torch.zeros(1024, family.dim)
        theta[:, k] = 1e-3
        types = torch.zeros(2 if name == "node_perturbation" else 1, dtype=torch.long)
        run = simulator.run(theta, seed=5, trial_types=types, keep_weights=True)
        which = "readout" if c.name == "eta_out" else "weights"
        change = getattr(run, f"final_{which}") - getattr(run, f"initial_{which}")
        change = change.flatten(1) / (40**-0.5 if which == "readout" else 20**-0.5)
        if c.name == "eta_out" and len(types) == 1:
            change = change / run.error[:, :1]
        elif c.name == "eta" and name == "node_perturbation":
            change = change / (run.error[:, :1] - run.error[:, 1:])
        elif c.name == "eta":
            change = change / run.error
        elif c.name == "eta_out":  # two trials with nearly one error each
            change = change / run.error.sum(dim=1, keepdim=True)
        assert change.square().mean().sqrt().item() == pytest.approx(0.05e-3, rel=0.1), c.name


def test_a_network_that_explodes_fails_alone():
    simulator = small(sr.HebbianLayer())
    theta = torch.tensor([[0.5, 0.1, 0.2], [0.0, -50.0, 0.0], [0.5, 0.1, 0.2], [0.0, 0.0, -80.0]])
    run = simulator.run(theta, seed=0)
    assert run.status.tolist() == [sr.Status.OK, sr.Status.DIVERGED, sr.Status.OK, sr.Status.DIVERGED]
    for k in (1, 3):
        gone = torch.isnan(run.error[k])
        assert gone[-1]
        assert not gone[0], "what came before the failure is kept"
        assert torch.equal(torch.isnan(run.responses[k]).all(dim=1), gone)
        assert torch.isnan(run.weight_change[k])
    theta[1] = theta[3] = theta[0]
    assert torch.equal(simulator.run(theta, seed=0).error[[0, 2]], run.error[[0, 2]])


def test_what_is_not_finite_is_a_failure_too():
    huge = torch.full((4, 20), 1e38)
    simulator = small(nonlinearity="linear", num_recorded=0)
    run = simulator.run([[0.5, 0.3]] * 2, seed=0, stimuli=huge, weights=torch.ones(12, 20), readout=torch.ones(12))
    assert run.status_counts()["DIVERGED"] == 2
    assert torch.isnan(run.error).all()


def test_a_store_keeps_responses_and_continues(tmp_path):
    simulator = small()
    theta = torch.rand(20, 2)
    whole = sr.simulate(simulator, theta, store=tmp_path / "s", seed=1, num_workers=1, progress=False)
    assert whole.trajectory.responses.shape == (20, 24, 4)
    again = sr.simulate(small(), theta, store=tmp_path / "s", seed=1, num_workers=1, progress=False)
    assert torch.equal(again.trajectory.responses, whole.trajectory.responses)


def test_the_configuration_tells_simulators_apart():
    configs = [
        json.dumps(simulator.config(), sort_keys=True)
        for simulator in (
            small(),
            small(sr.FeedbackAlignment()),
            small(unit_noise=0.2),
            small(num_recorded=5),
            small(task=sr.tasks.LabelledStimuli(noise=0.1)),
            small(dtype=torch.float64),
        )
    ]
    assert len(set(configs)) == len(configs)
    assert json.dumps(small().config(), sort_keys=True) == configs[0]


def test_a_study_file_names_family_task_and_simulator(tmp_path):
    content = {
        "rule": {"family": "feedback_alignment"},
        "task": {"name": "labelled_stimuli", "noise": 0.2},
        "simulator": {"name": "feedforward", "num_hidden": 12, "num_trials": 60},
        "prior": {"low": 0, "high": 1},
        "constraints": {"learned": [1, 1]},
    }
    study = sr.Study.of(content, name="s")
    assert isinstance(study.simulator, FeedforwardNetwork)
    assert study.simulator.settings.num_hidden == 12
    assert study.resolved()["simulator"]["num_recorded"] == 10
    with pytest.raises(ValueError, match=r'task must be LabelledStimuli.* \[task\] name = "labelled_stimuli"'):
        sr.Study.of({**content, "task": {"name": "delayed_discrimination"}}, name="s")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FeedforwardNetwork(sr.Oja()), "family must be a LayeredRule such as .*, got Oja"),
        (lambda: FeedforwardNetwork(sr.OjaLayer(), sr.tasks.DelayedDiscrimination()), "task must be LabelledStimuli"),
        (lambda: small(num_recorded=13), "num_recorded must not exceed num_hidden = 12, got 13; record fewer"),
        (lambda: small(num_recorded=-1), "num_recorded must be a whole number of at least 0, got -1"),
        (lambda: small(num_hidden=0), "num_hidden must be a whole number of at least 1, got 0"),
        (lambda: small(num_hidden=10**12), "num_hidden = 1,000,000,000,000 needs"),
        (lambda: small(recording_noise=-0.1), "recording_noise must be at least 0, got -0.1"),
        (lambda: small(sr.NodePerturbation(), unit_noise=0.0), "unit_noise must be greater than 0, since NodePerturb"),
        (lambda: small(nonlinearity="relu"), "nonlinearity: 'relu' is not known"),
        (lambda: small(hidden=3), "FeedforwardNetwork's argument: 'hidden' is not known"),
        (lambda: small(dtype=torch.int64), "dtype must be torch.float32 or torch.float64"),
        (lambda: sr.tasks.LabelledStimuli(num_stimuli=27), "num_stimuli must be a whole number of at most 26, got 27"),
        (lambda: sr.tasks.LabelledStimuli(noise=-1.0), "noise must be at least 0"),
        (lambda: sr.tasks.LabelledStimuli(target=0.0), "target must be a number greater than 0"),
        (lambda: small().run([[0.1, 0.2]], weights=torch.zeros(3, 3)), r"weights must have shape \(1, 12, 20\) or"),
        (lambda: small().run([[0.1, 0.2]], stimuli=torch.full((4, 20), torch.nan)), "stimuli must be finite"),
        (lambda: small().run([[0.1, 0.2]], feedbak=[1.0]), "did you mean 'feedback'"),
        (lambda: small().run([[0.1]]), "theta must have shape"),
        (lambda: small().run([[0.1, 0.2]], trial_types=[4]), r"trial_types must lie in 0\.\.\.3"),
    ],
)
def test_bad_arguments_are_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
