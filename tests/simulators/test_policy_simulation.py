"""Animals that choose in a task, against the likelihood of what they did, plain loops and exact posteriors on a grid."""

import math

import numpy as np
import pytest
import torch
from choosing import Policy, by_loop

import sbirules as sr
from sbirules.model.choices import ChoiceColumns
from sbirules.model.rules import PolicyRule, TaylorRule
from sbirules.model.tasks import ChoiceTask
from sbirules.simulators import PolicyNetwork


class Bandit(sr.Task):
    """Options that pay with probabilities of their own, which change places half-way; cues and contrasts come by chance."""

    type_names = ("trial",)
    known = True

    def __init__(self, pays=(0.8, 0.2), cues=(), contrast=False, num_trials=30, session_length=None, silent=0.0):
        self.pays, self.num_trials, self.session_length, self.silent = (
            torch.tensor(pays),
            num_trials,
            session_length,
            silent,
        )
        stimuli = (*(("contrast",) if contrast else ()), *(("cue",) if cues else ()))
        options = tuple("abcd"[: len(pays)])
        self.meaning = ChoiceColumns(options, stimuli, {"cue": tuple(cues)} if cues else {})
        self.cues, self.contrast = len(cues), contrast

    def tensors(self, dt):
        raise NotImplementedError

    def start(self, batch, generator):
        return {"batch": batch}

    def stimulus(self, t, state, generator):
        batch, columns = state["batch"], []
        if self.contrast:
            columns.append(torch.randn(batch, generator=generator, dtype=torch.float64))
        if self.cues:
            columns.append(torch.randint(self.cues, (batch,), generator=generator).double())
        return (torch.stack(columns, dim=1) if columns else torch.zeros(batch, 0, dtype=torch.float64)), state

    def outcome(self, choice, t, state, generator):
        pays = self.pays if t < self.num_trials / 2 else self.pays.flip(0)
        draw = torch.rand(len(choice), 2, generator=generator)
        reward = (draw[:, 0] < pays[choice]).double()
        return torch.where(draw[:, 1] < self.silent, math.nan, reward), state


class Offers(sr.Task):
    """Smells come one by one until one is accepted, three at most; a good one pays more often."""

    type_names = ("trial",)
    known, session_length, max_offers = True, None, 3
    meaning = ChoiceColumns(("reject", "accept"), ("smell",), accept=True)

    def __init__(self, num_trials=30):
        self.num_trials = num_trials

    def tensors(self, dt):
        raise NotImplementedError

    def start(self, batch, generator):
        return {"batch": batch}

    def stimulus(self, t, state, generator):
        smell = torch.randn(state["batch"], 1, generator=generator, dtype=torch.float64)
        return smell, state | {"smell": smell[:, 0]}

    def outcome(self, choice, t, state, generator):
        draw = torch.rand(len(choice), generator=generator, dtype=torch.float64)
        paid = (draw < torch.sigmoid(2 * state["smell"])).double()
        return torch.where(choice == 1, paid, math.nan), state


Q_LEARNING = TaylorRule(["c x r", "c x w"], baseline="none")
REINFORCE = TaylorRule(["d x rd", "w"])
WORLDS = {
    "bandit": (Q_LEARNING, Bandit(), {"nuisance": ("lapse",)}, [0.9, -0.4, 0.1]),
    "three options": (
        REINFORCE,
        Bandit((0.7, 0.2, 0.4), contrast=True),
        {"nuisance": ("initial",)},
        [0.5, -0.05, 0.5, -0.3, -0.4, 0.6],
    ),
    "cues": (
        TaylorRule(["c x r", "w", "c x w"], infer=["rbar_rate"]),
        Bandit(cues=("red", "green"), session_length=7, silent=0.2),
        {"nuisance": ("initial", "bias", "perseveration", "lapse")},
        [0.8, -0.1, -0.2, 0.3, 0.5, -0.5, 0.3, 0.9, 0.05],
    ),
    "last rewards": (
        TaylorRule(["c x rd", "y r w"], baseline="last", last=4),
        Bandit(contrast=True, session_length=10),
        {"nuisance": ("perseveration",)},
        [0.6, -0.05, -0.7],
    ),
    "offers": (
        TaylorRule(["x rd", "w"]),
        Offers(),
        {"nuisance": ("initial", "perseveration", "lapse")},
        [0.4, -0.05, 0.3, 0.2, 0.5, 0.1],
    ),
    "reversals of a ChoiceTask": (
        REINFORCE,
        ChoiceTask(reward="bandit", probabilities=((0.9, 0.1), (0.1, 0.9)), block=(5, 9), session_length=12),
        {"nuisance": ("initial", "perseveration"), "num_trials": 30},
        [0.7, -0.1, 0.4, 0.6],
    ),
    "go or not in a ChoiceTask": (
        TaylorRule(["c x r", "c x w"], baseline="none"),
        ChoiceTask(
            reward="bandit",
            accept=True,
            max_offers=2,
            stimuli={"odour": ("A", "B")},
            probabilities=(0.9, 0.1),
            punishment=-1.0,
            session_length=6,
        ),
        {"nuisance": ("initial", "perseveration", "lapse"), "num_trials": 30},
        [0.8, -0.3, 0.3, 0.3, 0.7, 0.1],
    ),
    "forgetting that goes on": (
        Q_LEARNING_AND_DECAY := TaylorRule(["c x r", "w"], baseline="none"),
        Bandit(silent=0.5),
        {"nuisance": (), "decay_on": "all"},
        [1.5, -0.3],
    ),
    "offers that are forgotten": (
        Q_LEARNING_AND_DECAY,
        Offers(),
        {"nuisance": ("initial",), "decay_on": "all"},
        [1.0, -0.3, 1.0, -1.0],
    ),
}


def world(name, animals, seed=0):
    """Simulator, theta `(D,)` and a table of animals that share it."""
    family, task, settings, theta = WORLDS[name]
    simulator = PolicyNetwork(family, task, **settings)
    theta = torch.tensor(theta, dtype=torch.float64)
    return simulator, theta, simulator.animals(theta.expand(animals, -1), seed=seed)


@pytest.mark.parametrize("name", WORLDS)
def test_animals_choose_as_often_as_the_likelihood_says(name):
    """Answers minus their probabilities given the past are martingale differences: sums over any past are normal around 0."""
    simulator, theta, trials = world(name, 1500)
    prob = simulator.likelihood(trials).probabilities(theta[None])[0].numpy()
    choice = trials.trajectory.choice.reshape(-1).numpy().astype(int)
    hit = np.eye(prob.shape[1])[choice]
    late = np.tile(np.arange(30), 1500) >= 15
    for answer in range(prob.shape[1]):
        p, off = prob[:, answer], hit[:, answer] - prob[:, answer]
        for low, high in ((0, 0.15), (0.15, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1)):
            for when in (late, ~late):
                some = (p >= low) & (p <= high) & when
                if (p[some] * (1 - p[some])).sum() > 20:
                    z = off[some].sum() / math.sqrt((p[some] * (1 - p[some])).sum())
                    assert abs(z) < 4, (answer, low, high)
        z = (off * (p - p.mean())).sum() / math.sqrt(((p - p.mean()) ** 2 * p * (1 - p)).sum() + 1e-12)
        assert abs(z) < 4  # neither too bold nor too shy


@pytest.mark.parametrize("name", ["cues", "last rewards", "offers", "forgetting that goes on"])
def test_probabilities_of_simulated_animals_are_those_of_a_plain_loop(name):
    simulator, theta, trials = world(name, 3, seed=5)
    family, settings = simulator.family, simulator.settings
    policy = Policy(
        constant=simulator.columns.constant,
        baseline=family.baseline,
        rate=family.rate,
        last=family.last,
        decay_on=settings.decay_on,
    )
    count = len(family.terms)
    values = {
        **dict(enumerate(theta[:count].tolist())),
        **dict(zip(simulator.names[count:], theta[count:].tolist(), strict=True)),
    }
    wanted = np.concatenate([by_loop(trials, family.powers, values, policy, a)[0] for a in range(3)])
    np.testing.assert_allclose(simulator.likelihood(trials).probabilities(theta[None])[0], wanted, rtol=0, atol=1e-9)


def test_rewards_come_as_the_task_gives_them():
    _, _, trials = world("bandit", 1500)
    choice, reward = trials.trajectory.choice, trials.trajectory.reward
    pays = torch.tensor([[0.8, 0.2]] * 15 + [[0.2, 0.8]] * 15)
    for option in (0, 1):
        chosen = choice == option
        expected = pays[:, option].expand_as(chosen)[chosen].double()
        z = (reward[chosen] - expected).sum() / (expected * (1 - expected)).sum().sqrt()
        assert abs(z) < 4


def test_animals_learn_what_pays_and_unlearn_it():
    _, _, trials = world("bandit", 1500)
    first, second = (trials.trajectory.choice[:, part] == 0 for part in (slice(10, 15), slice(25, 30)))
    assert first.double().mean() > 0.65
    assert second.double().mean() < 0.35


def test_a_table_has_sessions_and_trials():
    _, _, trials = world("cues", 4)
    run = trials.trajectory
    np.testing.assert_array_equal(run.session, np.tile(np.arange(30) // 7, (4, 1)))
    np.testing.assert_array_equal(run.trial, np.tile(np.arange(30), (4, 1)))
    assert set(run.cue.unique().tolist()) == {0.0, 1.0}
    assert 0 < int(run.reward.isnan().sum()) < 60
    assert trials.meaning.options == ("a", "b")
    assert trials.learners == ("animal 1", "animal 2", "animal 3", "animal 4")


def test_a_trial_of_offers_ends_when_one_is_accepted_or_at_the_third():
    _, _, trials = world("offers", 50)
    run = trials.trajectory
    for a in range(50):
        seen, number = 0, 0
        for t in range(30):
            assert int(run.trial[a, t]) == number
            seen += 1
            if int(run.choice[a, t]) == 1 or seen == 3:
                seen, number = 0, number + 1


def test_sessions_of_a_choice_task_count_trials_and_not_offers():
    _, _, trials = world("go or not in a ChoiceTask", 50)
    run = trials.trajectory
    np.testing.assert_array_equal(run.session, run.trial // 6)
    assert (run.trial[:, -1] < 29).all()  # some offers were rejected


def test_the_same_seed_gives_the_same_table_and_another_one_another():
    digests = [world("cues", 8, seed)[2].digest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
    simulator, theta, _ = world("cues", 1)
    tables = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)  # without a seed one is drawn from torch's stream
        tables.append(simulator.animals(theta[None]).digest())
    assert tables[0] == tables[1] != tables[2]


def test_simulating_does_not_touch_the_random_numbers_of_others():
    simulator, theta, _ = world("bandit", 1)
    state = torch.get_rng_state()
    simulator.run(theta[None], seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_shorter_sequence_of_trials_gives_a_shorter_table():
    simulator, theta, _ = world("cues", 1)
    types = torch.zeros(2, 12, dtype=torch.long)
    types[1, 5:] = -1
    run = simulator.run(theta.expand(2, -1), seed=0, trial_types=types)
    assert run.num_trials.tolist() == [12, 5]
    for name in ("choice", "reward", "session", "trial", "cue"):
        assert run.per_trial[name][1, 5:].isnan().all()
    same = sr.Trials(("x", "y"), run, None, simulator.meaning)
    assert simulator.likelihood(same).probabilities(theta[None]).shape == (1, 17, 2)


def test_animals_whose_weights_blow_up_are_marked_and_still_choose():
    simulator = PolicyNetwork(TaylorRule(["c x r", "w^2 y^2"]), Bandit(), nuisance=())
    run = simulator.run(torch.tensor([[1e3, 1e3], [0.1, 0.0]], dtype=torch.float64), seed=0)
    assert run.status.tolist() == [int(sr.Status.DIVERGED), int(sr.Status.OK)]
    assert not run.choice.isnan().any()


GRID = torch.cartesian_prod(torch.linspace(0.1, 2.0, 24), -torch.linspace(0.02, 0.98, 24)).double()


def coverage(task, animals, seed):
    """For each simulated animal with a rule drawn from a uniform grid: the posterior's mass above that of the truth."""
    simulator = PolicyNetwork(Q_LEARNING, task, nuisance=())
    truth = torch.randint(len(GRID), (animals,), generator=torch.Generator().manual_seed(seed))
    trials = simulator.animals(GRID[truth], seed=seed)
    posterior = torch.softmax(simulator.likelihood(trials).log_prob(GRID), dim=0)
    at_truth = posterior.gather(0, truth[None])
    return torch.where(posterior > at_truth, posterior, 0.0).sum(dim=0), posterior


def test_the_exact_posterior_of_one_animal_covers_its_rule():
    above, posterior = coverage(Bandit(num_trials=300), 1, seed=4)
    assert above.item() < 0.99
    spread = ((posterior * GRID[:, 1:] ** 2).sum() - (posterior * GRID[:, 1:]).sum() ** 2).sqrt()
    assert spread < 0.8 * GRID[:, 1].std()  # and says something


def test_exact_posteriors_cover_the_truth_as_often_as_they_say():
    """Regions of highest posterior density under the prior that rules were drawn from."""
    above, _ = coverage(Bandit(num_trials=100), 200, seed=1)
    for level in (0.5, 0.9):
        inside = (above < level).double().sum().item()
        assert abs(inside - 200 * level) < 4 * math.sqrt(200 * level * (1 - level)) + 200 * 0.01


def test_credit_to_all_steps_is_for_tables():
    simulator = PolicyNetwork(TaylorRule(["d x r", "w"], baseline="none"), Offers(), credit="all_steps", nuisance=())
    with pytest.raises(ValueError, match="all_steps"):
        simulator.animals(torch.tensor([[3.0, -0.02]]))


# A user's own rule ------------------------------------------------------------------------------------


class Hebb(PolicyRule):
    coefficients = (sr.Coefficient("eta", "c_i x_j r"), sr.Coefficient("decay", "-w_ij"))

    def update(self, theta, *, x, c, d, y, w, r, rd):
        return theta["eta"] * c * x * r - theta["decay"] * w


def test_a_rule_of_ones_own_is_simulated_and_judged_as_the_same_sum_of_terms():
    task = Bandit(contrast=True, cues=("red", "green"))
    own = PolicyNetwork(Hebb(baseline="none"), task, nuisance=("initial", "lapse"))
    taylor = PolicyNetwork(TaylorRule(["c x r", "w"], baseline="none"), task, nuisance=("initial", "lapse"))
    theta = torch.tensor([[0.5, 0.1, 0.3, 0.2, -0.1, 0.4, 0.1]] * 4, dtype=torch.float64)
    turned = theta * torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    trials = own.animals(theta, seed=1)
    assert trials.digest() == taylor.animals(turned, seed=1).digest()
    torch.testing.assert_close(
        own.log_likelihood(theta, trials), taylor.log_likelihood(turned, trials), rtol=1e-9, atol=1e-9
    )


# What is refused --------------------------------------------------------------------------------------


def test_there_must_be_a_task_to_choose_in():
    with pytest.raises(
        ValueError, match="there is no task to choose in: give PolicyNetwork a ChoiceTask that knows its rewards"
    ):
        PolicyNetwork(Q_LEARNING).run(torch.zeros(1, 4), seed=0)


@pytest.mark.parametrize(
    "theta", [torch.zeros(2, 4), torch.zeros(0, 3), torch.full((1, 3), math.nan), torch.zeros(2, 2, 3)]
)
def test_theta_is_checked(theta):
    simulator, _, _ = world("bandit", 1)
    with pytest.raises(ValueError, match="theta must"):
        simulator.run(theta, seed=0)


def test_a_lapse_outside_of_its_bounds_is_refused():
    simulator, _, _ = world("bandit", 1)
    for lapse in (-0.1, 1.5):
        with pytest.raises(ValueError, match="lapse must lie in"):
            simulator.run(torch.tensor([[0.5, -0.1, lapse]]), seed=0)


def test_a_table_that_is_not_of_the_task_is_refused():
    simulator, _, _ = world("bandit", 1)
    _, _, other = world("cues", 1)
    with pytest.raises(ValueError, match=r"the task has the stimuli .*, the table .*cue"):
        simulator.suited(other)
