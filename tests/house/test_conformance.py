"""One test of its kind for everything that a table lists: shapes, types, repeatability, plain forms, clear errors."""

import dataclasses
import json
import math

import pytest
import torch
from cheap import Cheap
from recordings import conditioning, mushroom
from sessions import stimulated
from simulators_small import SMALL_SPIKING
from spikes import Spikes

import sbirules as sr
from sbirules import priors, simulators
from sbirules.inference.estimators import ESTIMATORS, POTENTIALS
from sbirules.inference.potentials import Potential
from sbirules.inference.questions import QUESTIONS
from sbirules.model.fields import Layout
from sbirules.model.prior import prior_draws
from sbirules.model.rules import FAMILIES
from sbirules.model.summaries import CATALOGUE, rebuild, written
from sbirules.model.tasks import TASKS
from sbirules.simulators import (
    FeedforwardNetwork,
    KnownNetwork,
    LinearGaussian,
    PolicyNetwork,
    RateRNN,
    SessionLaw,
    SpikingNetwork,
)
from sbirules.support.files import plain

TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
QUADRATIC = sr.PolynomialRule(degree=2)
REINFORCE = sr.TaylorRule(["d x rd", "w"])
CHANCES = [[0.9, 0.1], [0.1, 0.9]]
CIRCUIT = sr.MotifCircuit(0.2 * torch.eye(2), torch.ones(2, 1), 0.5 * torch.ones(2, 1))
FLIES = sr.tasks.ChoiceTask(("A", "B"), reward="bandit", stimuli={"odour": ("A", "B")}, probabilities=CHANCES)


@sr.summary("of_second", fields=["choice"])
def of_second(run):
    """Share of the second answer."""
    return run.choice.nanmean(dim=1)


def is_plain(value):
    """Whether JSON brings a value back as it was."""
    return json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)


# Families ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    family, same = FAMILIES[name](), FAMILIES[name]()
    assert family.dim == len(family.names) == len(set(family.names)) == len(family.parameters)
    assert is_plain(family.config())
    assert family.config() == same.config()
    rule = torch.tensor([min(max(0.5, p.low), p.high) for p in family.parameters])
    family.check_raw(rule[None])
    for theta in (rule, rule.double(), rule.tolist(), torch.ones(family.dim, dtype=torch.long)):
        assert family.describe(theta)
        assert family.describe(theta, latex=True)
    text = family.text(rule)
    assert text.equations
    assert text.rule
    assert text.intro.endswith(":")
    with pytest.raises(ValueError, match=rf"\(batch, {family.dim}\)"):
        family.describe(torch.ones(family.dim + 1))
    for p in family.parameters:
        if math.isfinite(p.low):
            outside = rule.clone()
            outside[family.names.index(p.name)] = p.low - 1
            with pytest.raises(ValueError, match=f"{p.name} must lie in"):
                family.check_raw(outside[None])
    assert FAMILIES[name].__doc__


# Tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_tasks(name):
    task = TASKS[name]()
    types = task.num_types
    assert types == len(task.type_names)
    assert set(task.sequence(4 * types).tolist()) == set(range(types))
    assert task.sequence(0).shape == (0,)
    assert is_plain(task.config())
    assert type(task)(**{k: v for k, v in task.config().items() if k != "task"}) == task


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("choice", "labelled_stimuli")])
def test_tasks_have_a_time_course(name):
    task = TASKS[name]()
    tensors = task.tensors(5.0)
    types, steps, channels = tensors.inputs.shape
    assert types == task.num_types
    assert tensors.targets.shape == (types,)
    for dtype in (torch.float32, torch.float64):
        cast = tensors.to("cpu", dtype)
        asked = torch.tensor([0, types - 1, 0])
        drawn = [task.draw_inputs(cast, asked, torch.Generator().manual_seed(1)) for _ in range(2)]
        assert drawn[0].shape == (3, steps, channels)
        assert drawn[0].dtype == dtype
        assert torch.equal(*drawn)
    with pytest.raises(ValueError, match="multiple of dt"):
        task.tensors(7.3)


@pytest.mark.parametrize("name", ["choice", "labelled_stimuli"])
def test_tasks_of_other_simulators_have_no_time_course(name):
    with pytest.raises(ValueError, match=r"ha(s|ve) no time course"):
        TASKS[name]().tensors(5.0)


# Simulators -------------------------------------------------------------------------------------------


def counted():
    """Counts of spikes in place of dF/F."""
    r = conditioning(unit="counts")
    return dataclasses.replace(r, values=(10 * r.values).round())


SPIKING = {**SMALL_SPIKING, "duration": 0.5, "judged": 0.4}

SIMULATORS = {
    "rate_rnn": lambda: RateRNN(QUADRATIC, TASK, num_units=16, num_trials=24),
    "rate_rnn of float64": lambda: RateRNN(QUADRATIC, TASK, num_units=16, num_trials=24, dtype=torch.float64),
    "rate_rnn and its stability": lambda: RateRNN(
        QUADRATIC, TASK, num_units=16, num_trials=24, summaries=["spectral_abscissa", "lyapunov_margin"]
    ),
    "rate_rnn with BCM": lambda: RateRNN(sr.BCM(), TASK, num_units=16, num_trials=24),
    "miconi2017": lambda: simulators.miconi2017(TASK, num_units=16, num_trials=6, warm_up=2),
    "linear_gaussian": lambda: LinearGaussian(QUADRATIC, num_units=12, projections=10),
    "known_network": lambda: KnownNetwork(QUADRATIC, num_units=12, episodes=2, projections=4),
    "policy_network": lambda: PolicyNetwork(REINFORCE, FLIES, summaries=[of_second], nuisance=(), num_trials=24),
    "policy_network of a LocalRule": lambda: PolicyNetwork(
        sr.Oja(), FLIES, summaries=[of_second], nuisance=(), num_trials=24
    ),
    "feedforward": lambda: FeedforwardNetwork(sr.Backpropagation(), num_hidden=12, num_trials=24, num_recorded=4),
    "feedforward without recordings": lambda: FeedforwardNetwork(
        sr.OjaLayer(), num_hidden=12, num_trials=24, num_recorded=0
    ),
    "mushroom_body": lambda: mushroom().suited(conditioning()),
    "mushroom_body of counts": lambda: mushroom(observation="negative_binomial").suited(counted()),
    "session_law": lambda: SessionLaw(sr.LatentLaw(2, 1)).suited(stimulated()),
    "session_law with memory": lambda: SessionLaw(sr.BCMLaw(CIRCUIT)).suited(stimulated()),
    "spiking": lambda: SpikingNetwork(sr.SpikePairRule(["IE"]), **SPIKING),
    "spiking in torch": lambda: SpikingNetwork(sr.TripletRule(["EE"]), backend="torch", **SPIKING, dt=0.25),
    "cheap": Cheap,
    "spikes": Spikes,
}


def test_every_simulator_of_the_catalogue_is_here():
    assert set(simulators.SIMULATORS) <= set(SIMULATORS)


@pytest.fixture(scope="module")
def made():
    return {}


@pytest.fixture(params=SIMULATORS)
def simulator(request, made):
    if request.param not in made:
        made[request.param] = SIMULATORS[request.param]()
    return made[request.param]


def rules(simulator, n, seed=0):
    """Small rules inside every bound."""
    theta = 0.05 * torch.rand(n, len(simulator.names), generator=torch.Generator().manual_seed(seed))
    for k, p in enumerate(simulator.parameters):
        if not p.linear:
            theta[:, k] = p.default
    return theta


def same(a, b):
    return all(torch.equal(x.nan_to_num(9.0), y.nan_to_num(9.0)) for x, y in zip(a, b, strict=True))


def fields(run):
    return [*run.per_trial.values(), *run.per_run.values(), *run.per_unit.values()]


def test_simulators_return_what_they_declare(simulator):
    theta = rules(simulator, 3)
    run = simulator.run(theta, seed=1)
    layout = simulator.layout
    assert len(run) == 3
    assert run.status.dtype == torch.int8
    assert set(run.per_trial) == set(layout.named("trial"))
    assert set(run.per_run) == set(layout.named("run"))
    assert set(run.per_unit) == set(layout.named("unit"))
    assert run.type_names == simulator.type_names
    assert all(v.shape == run.trial_types.shape for v in run.per_trial.values())
    assert all(v.shape == (3,) for v in run.per_run.values())
    assert all(v.shape == (*run.trial_types.shape, layout[name].units) for name, v in run.per_unit.items())
    assert Layout.from_config(json.loads(json.dumps(plain(layout.config())))) == layout
    for field in layout.fields:
        assert field.meaning, f"{field.name} says nothing of itself"
    x = sr.summaries.summarise(run, simulator.summaries)
    assert x.shape == (3, len(simulator.summary_names))


def test_simulators_take_any_kind_of_theta_and_one_row(simulator):
    theta = rules(simulator, 2)
    first = simulator.run(theta, seed=1)
    for again in (theta.double(), theta.numpy(), theta.tolist()):
        assert same(fields(simulator.run(again, seed=1)), fields(first))
    whole = simulator.run(torch.ones(1, len(simulator.names), dtype=torch.long), seed=1)
    assert same(fields(whole), fields(simulator.run(torch.ones(1, len(simulator.names)), seed=1)))
    torch.manual_seed(0)
    assert simulator(theta[0]).shape == (len(simulator.summary_names),)
    torch.manual_seed(0)
    assert simulator(theta).shape == (2, len(simulator.summary_names))
    raw = simulator.to_raw(theta)
    torch.testing.assert_close(simulator.to_natural(raw), theta)
    for wrong in (torch.zeros(2, len(simulator.names) + 1), torch.zeros(0, len(simulator.names))):
        with pytest.raises(ValueError, match="theta must have shape"):
            simulator.run(wrong)


def test_simulators_repeat_themselves(simulator):
    theta = rules(simulator, 2)
    a, b, other = (simulator.run(theta, seed=s) for s in (1, 1, 2))
    assert same(fields(a), fields(b))
    assert not same(fields(a), fields(other))
    assert is_plain(simulator.config())


def test_rows_do_not_depend_on_their_batch(simulator):
    theta = rules(simulator, 5)
    whole, part = simulator.run(theta, seed=1), simulator.run(theta[:3], seed=1)
    assert same([v[:3] for v in fields(whole)], fields(part))


def test_sequences_that_cannot_be_are_refused(simulator):
    theta = rules(simulator, 2)
    for wrong, words in (
        (torch.zeros(3, 4, dtype=torch.long), "one row per rule"),
        ([[0.5]], "whole numbers"),
        ([99], "0..."),
    ):
        with pytest.raises(ValueError, match=words):
            simulator.run(theta, trial_types=torch.as_tensor(wrong))


# Priors -----------------------------------------------------------------------------------------------

PRIORS = {
    "uniform": lambda: priors.uniform(QUADRATIC, -1, 1),
    "normal": lambda: priors.normal(QUADRATIC, 0.0, 0.5),
    "time constants": lambda: priors.uniform(
        sr.PolynomialRule(infer=["tau_e"]), -1, 1, tau_e=priors.log_uniform(50, 5000)
    ),
    "horseshoe": lambda: priors.horseshoe(QUADRATIC),
    "spike_and_slab": lambda: priors.spike_and_slab(QUADRATIC, slab=priors.two_sided(0.2, 1.0)),
    "correlated_normal": lambda: priors.correlated_normal(QUADRATIC, torch.eye(9) + 0.2),
}


def test_every_prior_of_the_catalogue_is_here():
    assert set(priors.PRIORS) <= set(PRIORS)


@pytest.mark.parametrize("name", PRIORS)
def test_priors(name):
    prior = PRIORS[name]()
    d = len(prior.names)
    draws = prior_draws(prior, 50)
    assert draws.shape == (50, d)
    assert torch.equal(draws, prior_draws(prior, 50))
    assert prior.sample((2, 3)).shape == (2, 3, d)
    assert prior.sample((0,)).shape == (0, d)
    density = prior.log_prob(draws)
    assert density.shape == (50,)
    assert torch.isfinite(density).all()
    torch.testing.assert_close(prior.log_prob(draws.double()).float(), density, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prior.log_prob(draws[0]), density[0])
    content = json.loads(json.dumps(priors.written_down(prior)))
    again = priors.from_written(content)
    torch.testing.assert_close(again.log_prob(draws), density)
    assert again.names == prior.names
    assert priors.from_written({"class": "builtins:list", "config": []}) is None


# Summaries --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run():
    asked = ["spectral_abscissa", "lyapunov_margin"]  # measured only for summaries that read them
    simulator = RateRNN(QUADRATIC, TASK, num_units=16, num_trials=60, num_recorded=5, summaries=asked)
    return simulator.run(torch.zeros(3, 9), seed=0)


@pytest.mark.parametrize("name", CATALOGUE)
def test_summaries(name, run):
    summary = CATALOGUE[name]
    columns = summary.columns(run.type_names)
    x = sr.summaries.summarise(run, [summary])
    assert x.shape == (3, len(columns))
    one = sr.summaries.summarise(run.rows(torch.tensor([1])), [summary])
    torch.testing.assert_close(one[0], x[1], equal_nan=True)
    none = sr.summaries.summarise(run.rows(torch.tensor([], dtype=torch.long)), [summary])
    assert none.shape == (0, len(columns))
    back = rebuild(json.loads(json.dumps(written(summary))))
    torch.testing.assert_close(sr.summaries.summarise(run, [back]), x, equal_nan=True)
    assert summary.help
    lacking = sr.Trajectory(run.status, run.trial_types, type_names=run.type_names)
    with pytest.raises(ValueError, match=f"reads {summary.fields[0]}"):
        sr.summaries.summarise(lacking, [summary])


# Questions and estimators -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store():
    prior = priors.uniform(Cheap().family, -1, 1)
    return prior, sr.simulate(Cheap(), prior.sample((150,)).repeat_interleave(4, dim=0), seed=1, num_workers=1)


def flies():
    """Five simulated animals that share a rule."""
    policy = PolicyNetwork(REINFORCE, FLIES, nuisance=(), num_trials=40)
    return policy.animals(torch.tensor([[0.5, -0.1]] * 5), seed=4)


def given(kind, store):
    """What fit takes: simulations, or a simulator whose likelihood is known, with its prior; and the question's argument."""
    if kind == "choices":
        return PolicyNetwork(REINFORCE, FLIES, nuisance=()), priors.uniform(REINFORCE, -1, 1), "trials"
    if kind == "recordings":
        simulator = mushroom(("x r", "w"), gains="shared", nuisance=())
        return (
            simulator,
            priors.completed(priors.uniform(simulator.family, -1, 1), simulator.names, simulator.nuisances),
            kind,
        )
    if kind == "sessions":
        law = SessionLaw(sr.DriftLaw(2))
        return law, priors.completed(priors.uniform(law.family, -1, 1), law.names, law.nuisances), kind
    prior, simulations = store
    return simulations, prior, kind


ASKED = {
    "choices": flies,
    "recordings": conditioning,
    "sessions": stimulated,
    "constraints": {"final_error": (0, 0.3)},
    "trials": lambda: sr.Trials(("x", "y"), Cheap().run(torch.tensor([[0.3, 0.1]] * 2), seed=4)),
    "x_o": {"final_error": 0.2},
}
FEW = {
    "ratio": sr.EnsembleSettings(members=2, max_epochs=3),
    "likelihood": sr.LikelihoodSettings(members=1, epochs=2, min_steps=0),
    "npe": sr.NPESettings(members=1, epochs=2, min_steps=0),
}
QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)
PAIRS = [(kind, name) for kind, question in QUESTIONS.items() for name in question.estimators or ("",)]


def test_every_question_and_estimator_is_here():
    assert set(QUESTIONS) == set(ASKED)
    assert {name for _, name in PAIRS} - {""} == set(ESTIMATORS) == set(FEW)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "estimator"), PAIRS)
def test_questions_under_each_estimator(kind, estimator, store, tmp_path):
    simulations, prior, argument = given(kind, store)
    value = ASKED[kind]() if callable(ASKED[kind]) else ASKED[kind]
    more = {"estimator": estimator, "settings": FEW[estimator]} if estimator else {}
    posterior, twin = (sr.fit(simulations, prior, **{argument: value}, sampler=QUICK, **more) for _ in range(2))
    question, potential = posterior.question, posterior.potential_net
    assert question.kind == kind
    assert isinstance(potential, Potential)
    assert {**POTENTIALS, **question.potentials}[potential.kind] is type(potential)
    assert is_plain(question.config())
    back = type(question).from_config(json.loads(json.dumps(plain(question.config()))))
    assert back.config() == question.config()
    assert question.words("Which rules", " on a task").startswith("Which rules ")
    assert str(question).startswith("Which plasticity rules "), "print() asks it"
    assert is_plain(question.facts())
    assert posterior.record.simulations == (0 if kind in ("choices", "recordings", "sessions") else len(simulations))
    theta = prior_draws(prior, 20)
    value = posterior.log_likelihood(theta)
    assert value.shape == (20,)
    assert torch.equal(value, twin.log_likelihood(theta)), "the same seed gives the same fit"
    for again in (theta.double(), theta.numpy(), theta.tolist()):
        torch.testing.assert_close(posterior.log_likelihood(again), value)
    torch.testing.assert_close(posterior.log_likelihood(theta[3]), value[3:4], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="theta must have shape"):
        posterior.log_likelihood(torch.zeros(2, 7))
    if potential.differentiable and value.isfinite().all():
        moving = theta.clone().requires_grad_()
        posterior.log_likelihood(moving).sum().backward()
        assert torch.isfinite(moving.grad).all()
    draws = posterior.sample((30,))
    assert draws.shape == (30, len(posterior.names))
    assert torch.isfinite(prior.log_prob(draws)).all()
    posterior.save(tmp_path)
    torch.testing.assert_close(sr.Posterior.load(tmp_path).log_likelihood(theta), value)
    if question.repeatable:
        data = ASKED[kind]() if callable(ASKED[kind]) else ASKED[kind]
        torch.testing.assert_close(posterior.given(data).log_likelihood(theta), value)
        assert posterior.sample_batched((5,), [data, data]).shape == (5, 2, 2)
    else:
        with pytest.raises(ValueError, match=r"given\(\) needs"):
            posterior.given(ASKED["x_o"])
