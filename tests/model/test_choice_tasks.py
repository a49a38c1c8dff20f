"""Choice tasks: long-run frequencies against closed forms, blocks, baits and walks against plain loops."""

import inspect
import json
import math
import textwrap
import tomllib

import numpy as np
import pytest
import torch
from choosing import table, together
from scipy import stats

from sbirules.model.rules import PolynomialRule, TaylorRule
from sbirules.model.tasks import TASKS, ChoiceTask, GymnasiumTask, Replayed, Task
from sbirules.simulators import PolicyNetwork, RateRNN
from sbirules.studies.catalogue import make
from sbirules.support.files import plain


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def play(task, decisions, batch, choose=0, seed=0):
    """Everything that happens: arrays `(batch, decisions)` by name. `choose` is a code, or gives codes of (t, shown, batch)."""
    generator = stream(seed)
    state = task.start(batch, generator)
    out = {name: [] for name in ("choice", "reward", "shown", "trial", "session", "block", "cells", "side")}
    for t in range(decisions):
        shown, state = task.stimulus(t, state, generator)
        for name in ("trial", "session", "block", "cells", "side"):
            if hasattr(state, name):
                out[name].append(getattr(state, name))
        choice = choose(t, shown, batch) if callable(choose) else torch.full((batch,), choose)
        reward, state = task.outcome(choice, t, state, generator)
        for name, value in (("choice", choice), ("reward", reward), ("shown", shown)):
            out[name].append(value)
    return {name: torch.stack(values, dim=1).numpy() for name, values in out.items() if values}


def coins(answers=2, seed=100):
    generator = stream(seed)
    return lambda t, shown, batch: torch.randint(answers, (batch,), generator=generator)


def as_often(hits, probability):
    """Whether a binomial count is what its probability says, but for one case in 100,000."""
    hits = np.asarray(hits)
    low, high = stats.binom.interval(1 - 1e-5, hits.size, probability)
    return low <= hits.sum() <= high


def runs(values):
    """Lengths of runs of equal values, without the last one, which was cut off."""
    return np.diff(np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1]))


# What there is ----------------------------------------------------------------------------------------

PARTS = inspect.getdoc(ChoiceTask).partition("Arguments:")[0].split("\n\n")
EXAMPLES = [tomllib.loads(textwrap.dedent(part)) for part in PARTS if part.startswith("    ")]


def test_there_is_an_example_of_each_kind_of_reward():
    assert {given.get("reward", "unknown") for given in EXAMPLES} == {
        "unknown",
        "bandit",
        "baited",
        "restless",
        "contrast",
    }
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("given", EXAMPLES, ids=str)
def test_examples_of_the_documentation_are_tasks(given):
    task = make("task", "name", {"name": "choice", **given}, TASKS, Task, False)
    settings = {name: value for name, value in json.loads(json.dumps(plain(task.config()))).items() if name != "task"}
    assert ChoiceTask(**settings) == task
    assert task.meaning.stimuli == tuple(given.get("stimuli", {}))
    if not task.known:
        with pytest.raises(ValueError, match="rewards are not known"):
            task.start(3, stream())
        return
    seen = play(task, 50, 4, coins(len(task.options)))
    assert seen["shown"].shape == (4, 50, len(task.meaning.stimuli))
    assert set(seen["reward"][~np.isnan(seen["reward"])]) <= {0.0, 1.0}


def test_what_a_task_knows_by_default():
    task = ChoiceTask()
    assert task.meaning.options == ("A", "B")
    assert not task.known
    assert task.num_types == 1
    assert (task.num_trials, task.session_length, task.max_offers) == (None, None, None)
    with pytest.raises(ValueError, match="use the simulator policy_network"):
        task.tensors(5.0)
    with pytest.raises(ValueError, match="use the simulator policy_network"):
        RateRNN(PolynomialRule(), task)
    assert ChoiceTask(accept=True).options == ("reject", "accept")
    unknown = ChoiceTask(stimuli={"contrast": [], "cue": ["low", "high"]})
    assert unknown.meaning.stimuli == ("contrast", "cue")
    assert unknown.meaning.labels == {"cue": ("low", "high")}


# Rewards ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pays", [(0.8, 0.2), (0.1, 0.5, 0.9, 0.0), (1.0, 0.0)])
def test_bandits_pay_as_often_as_they_should(pays):
    task = ChoiceTask(options=tuple("abcd"[: len(pays)]), reward="bandit", probabilities=pays)
    seen = play(task, 200, 40, coins(len(pays)))
    for option, probability in enumerate(pays):
        assert as_often(seen["reward"][seen["choice"] == option], probability)


def test_rewards_have_sizes_and_their_absence_a_price():
    task = ChoiceTask(reward="bandit", probabilities=(0.5, 1.0), magnitudes=(2.0, 0.3), punishment=-1.5)
    seen = play(task, 100, 10, coins())
    assert set(seen["reward"][seen["choice"] == 0]) == {2.0, -1.5}
    assert set(seen["reward"][seen["choice"] == 1]) == {0.3}
    cells = ChoiceTask(
        reward="bandit", stimuli={"s": ("x", "y")}, probabilities=np.ones((2, 2)), magnitudes=[[1, 2], [3, 4]]
    )
    seen = play(cells, 50, 5, coins())
    assert np.array_equal(seen["reward"], 1 + 2 * seen["shown"][:, :, 0] + seen["choice"])


def test_numbers_are_shown_with_all_their_digits():
    task = ChoiceTask(reward="bandit", probabilities=(0.5, 0.5), stimuli={"size": (0.1, -0.3, 1 / 3)})
    assert set(play(task, 50, 5)["shown"].ravel()) == {0.1, -0.3, 1 / 3}


def test_contingencies_go_by_labels_of_several_stimuli():
    pays = np.random.default_rng(0).uniform(size=(3, 2, 2))
    task = ChoiceTask(
        reward="bandit",
        stimuli={"odour": ("a", "b", "c"), "size": (0.5, 2.0), "light": ("off", "on")},
        shown={"odour": (0.5, 0.5, 0.0), "size": (0.9, 0.1)},
        probabilities=pays,
    )
    assert task.meaning.stimuli == ("odour", "size", "light")
    seen = play(task, 400, 40, coins())
    odour, size, light = np.moveaxis(seen["shown"], 2, 0)
    assert as_often(odour == 0, 0.5)
    assert set(odour.ravel()) == {0, 1}
    assert set(size.ravel()) == {0.5, 2.0}
    assert as_often(size == 2.0, 0.1)
    assert as_often(light, 0.5)
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                there = (odour == a) & (light == b) & (seen["choice"] == c)
                assert as_often(seen["reward"][there], pays[a, b, c])


def test_a_bait_is_there_after_k_trials_with_the_probability_of_the_papers():
    """1 - (1 - p)^k (Sugrue et al. 2004), where the option was last chosen k trials ago."""
    task = ChoiceTask(reward="baited", probabilities=(0.3, 0.07))
    for every, option, p in ((1, 0, 0.3), (3, 0, 0.3), (10, 1, 0.07), (4, 1, 0.07)):
        seen = play(
            task, 120, 300, lambda t, _, n, e=every, o=option: torch.full((n,), o if (t + 1) % e == 0 else 1 - o)
        )
        got = seen["reward"][
            :, every - 1 :: every
        ]  # an option that was chosen has lost its bait, so that all are independent
        assert as_often(got, 1 - (1 - p) ** every)


def test_baits_wait_until_they_are_collected():
    seen = play(ChoiceTask(reward="baited", probabilities=(0.2, 0.1)), 300, 20, coins())
    waiting, choice, reward = seen["cells"], seen["choice"], seen["reward"]
    for a in range(20):
        for t in range(300):
            assert reward[a, t] == waiting[a, t, choice[a, t]]
            if t < 299:
                other = 1 - choice[a, t]
                assert waiting[a, t + 1, other] >= waiting[a, t, other]


def test_walks_take_the_steps_of_the_paper_and_stay_in_their_bounds():
    settings = {"drift": 0.03, "decay": 0.9, "centre": 0.4}
    task = ChoiceTask(reward="restless", probabilities=(0.5, 0.3), **settings)
    seen = play(task, 2, 20_000)
    assert np.array_equal(seen["cells"][:, 0], np.tile([0.5, 0.3], (20_000, 1)))
    for k, start in enumerate((0.5, 0.3)):
        step = seen["cells"][:, 1, k]  # so far from the bounds that nothing is reflected
        assert step.mean() == pytest.approx(0.4 + 0.9 * (start - 0.4), abs=5 * 0.03 / math.sqrt(20_000))
        assert step.std() == pytest.approx(0.03, rel=5 / math.sqrt(2 * 20_000))
        assert stats.kstest(step, stats.norm(0.4 + 0.9 * (start - 0.4), 0.03).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(seen["cells"][:, 1].T)[0, 1]) < 5 / math.sqrt(20_000)
    wild = play(ChoiceTask(reward="restless", probabilities=(0.3, 0.6), drift=0.7, bounds=(0.25, 0.75)), 50, 20)
    assert wild["cells"].min() >= 0.25
    assert wild["cells"].max() <= 0.75
    long = play(ChoiceTask(reward="restless", probabilities=(0.5, 0.5), drift=0.1), 1000, 50, coins())
    expected = np.take_along_axis(long["cells"], long["choice"][:, :, None], 2)[:, :, 0]
    z = (long["reward"] - expected).sum() / math.sqrt((expected * (1 - expected)).sum())
    assert abs(z) < 4.5
    # a free walk that is reflected forgets where it began, and is then uniform
    assert stats.kstest(long["cells"][:, 999].ravel(), "uniform").pvalue > 1e-4


# Blocks -----------------------------------------------------------------------------------------------


def test_reversals_come_after_blocks_of_the_given_lengths():
    task = ChoiceTask(reward="bandit", probabilities=((0.8, 0.2), (0.2, 0.8)), block=(6, 10))
    seen = play(task, 2000, 5, coins())
    assert not seen["block"][:, 0].any()
    lengths = np.concatenate([runs(row) for row in seen["block"]])
    assert set(lengths) == {6, 7, 8, 9, 10}
    assert stats.chisquare(np.bincount(lengths)[6:]).pvalue > 1e-4
    for block in (0, 1):
        for option in (0, 1):
            there = (seen["block"] == block) & (seen["choice"] == option)
            assert as_often(seen["reward"][there], 0.8 if block == option else 0.2)


def test_long_blocks_may_be_rarer_as_a_geometric_distribution_cut_off():
    task = ChoiceTask(reward="bandit", probabilities=((1, 0), (0, 1)), block=(3, 8), block_scale=2.0)
    lengths = np.concatenate([runs(row) for row in play(task, 3000, 5)["block"]])
    weight = np.exp(-np.arange(3, 9) / 2.0)
    assert set(lengths) == set(range(3, 9))
    assert stats.chisquare(np.bincount(lengths)[3:], len(lengths) * weight / weight.sum()).pvalue > 1e-4


def test_blocks_in_turn_and_at_random():
    three = ((1, 0), (0.5, 0.5), (0, 1))
    turn = play(ChoiceTask(reward="bandit", probabilities=three, block=4), 40, 3)["block"]
    assert np.array_equal(turn, np.tile(np.arange(40) // 4 % 3, (3, 1)))
    block = play(ChoiceTask(reward="bandit", probabilities=three, block=4, order="random"), 400, 200)["block"]
    assert stats.chisquare(np.bincount(block[:, 0])).pvalue > 1e-4
    before, after = block[:, 3:-1:4].ravel(), block[:, 4::4].ravel()
    assert (before != after).all()
    assert as_often((after - before) % 3 == 1, 0.5)


def test_sessions_begin_anew():
    task = ChoiceTask(reward="bandit", probabilities=((1, 0), (0, 1)), block=4, session_length=10)
    seen = play(task, 25, 2)
    assert np.array_equal(seen["session"][0], np.arange(25) // 10)
    assert np.array_equal(seen["block"][0], np.arange(25) % 10 // 4 % 2)
    walk = ChoiceTask(reward="restless", probabilities=(0.5, 0.2), drift=0.2, session_length=5)
    cells = play(walk, 11, 3)["cells"]
    assert (cells[:, [0, 5, 10]] == [0.5, 0.2]).all()
    assert (cells[:, 4] != [0.5, 0.2]).all()
    bait = ChoiceTask(reward="baited", probabilities=(0.0, 0.1), session_length=20)
    cells = play(bait, 40, 2000)["cells"][:, :, 1]
    assert as_often(cells[:, 19], 1 - 0.9**20)
    assert as_often(cells[:, 20], 0.1)


# Contrasts --------------------------------------------------------------------------------------------

CONTRASTS = (-0.5, -0.25, 0.0, 0.25, 0.5)


def contrasts(**changes):
    given = {"stimuli": {"contrast": CONTRASTS}, "options": ("left", "right"), "reward": "contrast"}
    return ChoiceTask(**{**given, **changes})


def test_the_side_of_a_contrast_is_right():
    seen = play(contrasts(), 200, 50, coins())
    shown, right = seen["shown"][:, :, 0], seen["choice"] == 1
    assert stats.chisquare([(shown == c).sum() for c in CONTRASTS]).pvalue > 1e-4
    told = shown != 0
    assert np.array_equal(seen["reward"][told], (right == (shown > 0))[told].astype(float))
    assert as_often(seen["reward"][~told], 0.5)
    assert as_often(seen["side"][~told], 0.5)


@pytest.mark.parametrize("zero", ["prior", "random"])
def test_the_prior_of_a_block_says_how_often_left_is_right(zero):
    task = contrasts(
        left_probability=(0.8, 0.2), block=(20, 30), zero=zero, shown={"contrast": (0.3, 0.1, 0.2, 0.1, 0.3)}
    )
    seen = play(task, 300, 100, 0)
    shown = seen["shown"][:, :, 0]
    for block, left in ((0, 0.8), (1, 0.2)):
        there = seen["block"] == block
        assert as_often(shown[there] == 0, 0.2)
        lateral = there & (shown != 0)
        assert as_often(shown[lateral] < 0, left)
        assert as_often(np.abs(shown[lateral]) == 0.5, 0.75)
        assert as_often(seen["reward"][there & (shown == 0)], left if zero == "prior" else 0.5)


# Accepting and rejecting ------------------------------------------------------------------------------


def test_offers_of_a_trial_are_counted():
    task = ChoiceTask(
        reward="bandit", accept=True, max_offers=3, stimuli={"odour": ("A", "B")}, probabilities=(0.9, 0.2)
    )
    assert task.meaning.accept
    seen = play(task, 300, 30, coins())
    choice, reward, odour = seen["choice"], seen["reward"], seen["shown"][:, :, 0]
    assert np.array_equal(np.isnan(reward), choice == 0)
    for code, probability in ((0, 0.9), (1, 0.2)):
        assert as_often(reward[(odour == code) & (choice == 1)], probability)
    for a in range(30):
        trial, rejected = 0, 0
        for t in range(300):
            assert seen["trial"][a, t] == trial
            rejected = 0 if choice[a, t] == 1 else rejected + 1
            if choice[a, t] == 1 or rejected == 3:
                trial, rejected = trial + 1, 0
    endless = ChoiceTask(reward="bandit", accept=True, probabilities=0.5)
    assert not play(endless, 50, 2, 0)["trial"].any()
    assert as_often(play(endless, 50, 200, 1)["reward"], 0.5)


def test_baits_and_blocks_go_by_trials_and_not_by_offers():
    task = ChoiceTask(reward="baited", accept=True, stimuli={"odour": ("A", "B")}, probabilities=(0.1, 0.1))
    seen = play(task, 6, 4000, lambda t, _, n: torch.full((n,), int(t % 3 == 2)))  # two rejected, the third accepted
    cells = seen["cells"]
    for t in (0, 1, 3, 4):
        assert np.array_equal(cells[:, t], cells[:, t + 1])
    assert as_often(cells[:, 0], 0.1)
    unseen = np.take_along_axis(cells[:, 5], 1 - seen["shown"][:, 2].astype(int), 1)
    assert as_often(unseen, 1 - 0.9**2)
    blocks = ChoiceTask(reward="bandit", accept=True, probabilities=(1.0, 0.0), block=2)
    seen = play(blocks, 12, 1, lambda t, _, n: torch.full((n,), t % 2))
    assert seen["block"][0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert np.nan_to_num(seen["reward"][0], nan=-1).tolist() == [-1, 1, -1, 1, -1, 0, -1, 0, -1, 1, -1, 1]


# Randomness -------------------------------------------------------------------------------------------

WORLDS = {
    "reversals": ChoiceTask(reward="bandit", probabilities=((0.8, 0.2), (0.2, 0.8)), block=(3, 9), order="random"),
    "baits": ChoiceTask(reward="baited", probabilities=((0.3, 0.1), (0.1, 0.3)), block=(5, 9), session_length=30),
    "walks": ChoiceTask(reward="restless", probabilities=(0.5, 0.5), drift=0.1),
    "contrasts": contrasts(left_probability=(0.8, 0.2), block=(5, 10), block_scale=5.0),
    "offers": ChoiceTask(
        reward="baited", accept=True, max_offers=2, stimuli={"s": ("x", "y")}, probabilities=((0.9, 0.1), (0.1, 0.9)), block=7
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_the_seed_says_everything_and_no_animal_changes_another(name):
    task = WORLDS[name]
    first, again = (play(task, 60, 6, coins(), seed=1) for _ in range(2))
    assert all(np.array_equal(first[n], again[n], equal_nan=True) for n in first)
    other = play(task, 60, 6, coins(), seed=2)
    assert not np.array_equal(first["reward"], other["reward"], equal_nan=True)
    free = coins()

    def without_the_first(t, shown, batch):
        return torch.cat([torch.zeros(1, dtype=torch.long), free(t, shown, batch)[1:]])

    changed = play(task, 60, 6, without_the_first, seed=1)
    assert all(np.array_equal(first[n][1:], changed[n][1:], equal_nan=True) for n in first)
    assert not np.array_equal(first["reward"][0], changed["reward"][0], equal_nan=True)
    many = play(task, 60, 400, coins(), seed=3)["reward"]
    pairs = (
        np.nan_to_num(many[:200]) - np.nan_to_num(many).mean(0),
        np.nan_to_num(many[200:]) - np.nan_to_num(many).mean(0),
    )
    assert abs((pairs[0] * pairs[1]).mean() / pairs[0].var()) < 0.05  # rows are not copies of each other


def test_torchs_own_stream_is_left_alone():
    state = torch.get_rng_state()
    for task in WORLDS.values():
        play(task, 5, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_states_are_not_changed_and_may_be_gone_on_from_twice():
    task = WORLDS["baits"]
    state = task.start(4, stream())
    _, there = task.stimulus(0, state, stream(1))
    before = {n: torch.as_tensor(v).clone() for n, v in vars(there).items()}
    choice = torch.zeros(4, dtype=torch.long)
    a, b = (task.outcome(choice, 0, there, stream(2))[0] for _ in range(2))
    assert torch.equal(a, b)
    assert all(torch.equal(torch.as_tensor(v), before[n]) for n, v in vars(there).items())


# Animals that learn -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_animals_choose_in_every_world(name):
    policy = PolicyNetwork(TaylorRule(["c x r", "w"]), WORLDS[name], num_trials=60)
    theta = torch.zeros(5, len(policy.names), dtype=torch.float64)
    theta[:, 0] = 0.5
    trials = policy.animals(theta, seed=0)
    assert trials.meaning == WORLDS[name].meaning
    assert torch.isfinite(policy.log_likelihood(theta, trials)).all()


def test_animals_that_learn_get_more_than_those_that_do_not():
    task = ChoiceTask(reward="bandit", probabilities=((0.9, 0.1), (0.1, 0.9)), block=40, num_trials=200)
    policy = PolicyNetwork(TaylorRule(["c x r", "c x w"], baseline="none"), task, nuisance=())
    rates = [policy.run(torch.tensor([[eta, -0.3]] * 200), seed=0).reward.mean().item() for eta in (0.0, 1.5)]
    assert rates[0] == pytest.approx(0.5, abs=0.02)
    assert rates[1] > 0.65


# Tables again -----------------------------------------------------------------------------------------


def animals():
    """Two animals of different lengths, with sessions of their own."""
    names = {"options": ("go", "stay"), "labels": {"odour": ("A", "B")}}
    first = table(
        [0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 1, 1], odour=[0, 1, 1, 0, 1], size=[1, 2, 3, 4, 5], **names
    )
    other = table([0, 0, 1], [0, 0, 1], [0, 1, 2], odour=[1, 1, 0], size=[-1, -2, -3], **names)
    return together(first, other)


def go(**changes):
    given = {
        "options": ("go", "stay"),
        "stimuli": {"odour": ("A", "B"), "size": (0.0, 1.0)},
        "reward": "bandit",
        "probabilities": ((1, 0), (0, 1)),
    }
    return ChoiceTask(**{**given, **changes})


def test_a_table_is_shown_again():
    task = Replayed(animals(), go())
    assert (task.num_trials, task.known, task.meaning.options) == (5, True, ("go", "stay"))
    seen = play(task, 7, 5, coins())
    odour, size = np.moveaxis(seen["shown"], 2, 0)
    for row in range(5):
        count = (5, 3)[row % 2]
        assert odour[row].tolist() == ([0, 1, 1, 0, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0])[row % 2]
        assert size[row].tolist() == ([1, 2, 3, 4, 5, 0, 0], [-1, -2, -3, 0, 0, 0, 0])[row % 2]
        assert seen["session"][row, :count].tolist() == ([0, 0, 1, 1, 1], [0, 1, 2])[row % 2]
        assert np.array_equal(seen["reward"][row, :count], (odour == seen["choice"])[row, :count])
        assert np.isnan(seen["reward"][row, count:]).all()
    assert task.trial_types(3).tolist() == [[0] * 5, [0, 0, 0, -1, -1], [0] * 5]
    assert plain(task.config()) == json.loads(json.dumps(plain(task.config())))
    policy = PolicyNetwork(TaylorRule(["c x r", "w"]), task)
    theta = torch.zeros(3, len(policy.names))
    again = policy.run(theta, seed=0, trial_types=task.trial_types(3))
    assert again.num_trials.tolist() == [5, 3, 5]
    for name in ("odour", "size"):
        wanted = animals().trajectory.per_trial[name][[0, 1, 0]]
        assert torch.equal(again.per_trial[name].nan_to_num(9), wanted.nan_to_num(9))


def test_blocks_start_anew_with_the_sessions_of_a_table():
    one = table(np.zeros(9), np.zeros(9), [0, 0, 0, 0, 1, 1, 1, 2, 2])
    task = Replayed(one, ChoiceTask(options=("0", "1"), reward="bandit", probabilities=((1, 0), (0, 1)), block=2))
    assert play(task, 9, 1)["block"][0].tolist() == [0, 0, 1, 1, 0, 0, 1, 0, 0]
    offers = table([0, 0, 1, 0], [math.nan, math.nan, 1, math.nan], [0, 0, 0, 1], [0, 0, 0, 1], accept=True)
    task = Replayed(offers, ChoiceTask(options=("0", "1"), accept=True, reward="bandit", probabilities=1.0))
    seen = play(task, 4, 1, 0)
    assert seen["trial"][0].tolist() == [0, 0, 0, 1]  # a session's end ends the trial
    assert np.isnan(seen["reward"]).all()


def test_contrasts_of_a_table_are_rewarded_on_their_side():
    shown = [-0.3, 0.7, 0.0, -0.1]
    one = table([0, 0, 1, 0], [0, 0, 1, 0], options=("left", "right"), contrast=shown)
    seen = play(Replayed(one, contrasts(left_probability=0.9)), 4, 2000, 0)
    assert seen["reward"][:, 0].all()
    assert not seen["reward"][:, 1].any()
    assert as_often(seen["reward"][:, 2], 0.9)


def test_a_table_with_nothing_to_show_is_refused():
    task = ChoiceTask(options=("0", "1"), reward="bandit", probabilities=(0.8, 0.2), stimuli={"size": (1.0,)})
    with pytest.raises(ValueError, match="a value of 'size' at every decision"):
        Replayed(table([0, 1], [0, 1], size=[1.0, math.nan]), task)
    empty = table([], [], size=[])
    with pytest.raises(ValueError, match="at least one decision"):
        Replayed(empty, task)
    padded = together(table([0, 1], [0, 1], size=[1, 2]), table([0], [0], size=[3]))
    assert len(Replayed(padded, task).trials) == 2  # what is past an animal's end is not shown


@pytest.mark.parametrize(
    ("rewards", "words"),
    [
        (ChoiceTask(options=("go", "stay")), "must be a ChoiceTask that knows its rewards"),
        (go(options=("left", "right")), "must have the options of the table"),
        (go(stimuli={"odour": ("A", "B")}), "must have the stimuli of the table"),
        (go(stimuli={"odour": ("B", "A"), "size": (0.0, 1.0)}), "must have the labels of the table"),
    ],
)
def test_a_task_that_is_not_the_tables_is_refused(rewards, words):
    with pytest.raises(ValueError, match=words):
        Replayed(animals(), rewards)


# Gymnasium --------------------------------------------------------------------------------------------


def corridor(numbers=True, first=0):
    """A corridor of Gymnasium's: steps 1 to the left or right; a reward at the right end, after which the episode is over."""
    gymnasium = pytest.importorskip("gymnasium")

    made = []

    class Corridor(gymnasium.Env):
        def __init__(self):
            self.action_space = gymnasium.spaces.Discrete(2, start=first)
            box = gymnasium.spaces.Box(-10, 10, (2,))
            self.observation_space = box if numbers else gymnasium.spaces.Discrete(4, start=5)
            self.closed = False
            made.append(self)

        def seen(self):
            return np.array([self.place, self.goal], dtype=np.float32) if numbers else 5 + self.place

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.place, self.goal = 0, int(self.np_random.integers(1, 4)) if numbers else 3
            return self.seen(), {}

        def step(self, action):
            assert action in (first, first + 1)
            self.place = max(self.place + (1 if action == first + 1 else -1), 0)
            over = self.place == self.goal
            return self.seen(), 2.5 if over else -0.5, over, False, {}

        def close(self):
            self.closed = True

    Corridor.made = made
    return Corridor


@pytest.mark.parametrize("episodes", [False, True])
def test_environments_step_in_lockstep(episodes):
    task = GymnasiumTask(corridor(), options=("back", "on"), episodes_are_sessions=episodes)
    assert task.known
    assert task.meaning.stimuli == ("observation_0", "observation_1")
    assert not task.meaning.labels
    seen = play(task, 60, 8, coins())
    for a in range(8):
        place, session = 0, 0
        for t in range(60):
            goal = seen["shown"][a, t, 1]
            assert seen["shown"][a, t, 0] == place
            assert seen["session"][a, t] == (session if episodes else 0)
            place = max(place + (1 if seen["choice"][a, t] else -1), 0)
            assert seen["reward"][a, t] == (2.5 if place == goal else -0.5)
            if place == goal:
                place, session = 0, session + 1
    assert set(seen["shown"][:, 0, 1]) == {1, 2, 3}  # environments have seeds of their own
    again, other = play(task, 60, 8, coins()), play(task, 60, 8, coins(), seed=1)
    assert all(np.array_equal(seen[n], again[n]) for n in seen)
    assert not np.array_equal(seen["shown"], other["shown"])


def test_discrete_observations_are_labels_and_codes_start_at_zero():
    kind = corridor(numbers=False, first=1)
    task = GymnasiumTask(kind, stimuli=("place",), session_length=4)
    assert task.meaning.options == ("1", "2")
    assert task.meaning.labels == {"place": ("5", "6", "7", "8")}
    seen = play(task, 6, 3, 1)
    assert seen["shown"][:, :, 0].tolist() == [[0, 1, 2, 0, 1, 2]] * 3
    assert seen["reward"].tolist() == [[-0.5, -0.5, 2.5, -0.5, -0.5, 2.5]] * 3
    assert seen["session"].tolist() == [[0, 0, 0, 0, 1, 1]] * 3
    assert len(kind.made) == 4
    assert all(env.closed for env in kind.made)  # once the state is gone


def test_animals_learn_in_an_environment():
    task = GymnasiumTask(corridor(numbers=False), num_trials=120)
    policy = PolicyNetwork(TaylorRule(["d x r"], baseline="none"), task, nuisance=())
    trials = policy.animals(torch.tensor([[0.4]] * 4), seed=0)
    assert trials.trajectory.choice.shape == (4, 120)
    assert torch.isfinite(policy.log_likelihood(torch.tensor([[0.4]]), trials)).all()
    assert trials.digest() == policy.animals(torch.tensor([[0.4]] * 4), seed=0).digest()


def test_registered_environments_are_made_by_name():
    pytest.importorskip("gymnasium")
    task = GymnasiumTask("FrozenLake-v1", options=("left", "down", "right", "up"), keywords={"is_slippery": False})
    seen = play(task, 3, 2, 2)
    assert seen["shown"][:, :, 0].tolist() == [[0, 1, 2]] * 2
    assert plain(task.config()) == json.loads(json.dumps(plain(task.config())))
    assert play(GymnasiumTask("CartPole-v1"), 3, 2, 1)["shown"].shape == (2, 3, 4)


def test_the_example_of_a_study_file_makes_an_environment():
    pytest.importorskip("gymnasium")
    (part,) = [part for part in inspect.getdoc(GymnasiumTask).split("\n\n") if "[task]" in part]
    given = tomllib.loads(textwrap.dedent(part))["task"]
    assert make("task", "name", given, TASKS, Task, True).meaning.options == ("left", "down", "right", "up")
    with pytest.raises(ValueError, match="pass --trust"):
        make("task", "name", given, TASKS, Task, False)


def test_states_of_environments_go_forward_only():
    task = GymnasiumTask(corridor())
    state, choice = task.start(2, stream()), torch.zeros(2, dtype=torch.long)
    task.outcome(choice, 0, state, stream())
    with pytest.raises(ValueError, match="stepped already"):
        task.outcome(choice, 0, state, stream())


def test_environments_that_are_no_choices_are_refused():
    pytest.importorskip("gymnasium")
    for make_it, words in (
        (lambda: GymnasiumTask("Pendulum-v1"), "Discrete space of actions"),
        (lambda: GymnasiumTask("Blackjack-v1"), "Box or Discrete space of observations"),
        (lambda: GymnasiumTask("Misspelt-v0"), "'Misspelt-v0' cannot be made"),
        (lambda: GymnasiumTask("CartPole-v1", keywords={"colour": 1}), "'CartPole-v1' cannot be made"),
        (lambda: GymnasiumTask("CartPole-v1", options=("a", "b", "c")), "name the 2 actions, got 3"),
        (lambda: GymnasiumTask("CartPole-v1", stimuli=("a",)), "name the 4 entries of an observation, got 1"),
        (lambda: GymnasiumTask(lambda: 3), "an environment of Gymnasium's, got int"),
        (lambda: GymnasiumTask(corridor(), keywords={"a": 1}), "keywords go with the name"),
        (lambda: GymnasiumTask(corridor(), episodes_are_sessions=True, session_length=3), "leave session_length out"),
    ):
        with pytest.raises(ValueError, match=words):
            make_it()


def test_without_gymnasium_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r"pip install 'sbirules\[gymnasium\]'"):
        GymnasiumTask("CartPole-v1")


# What is refused --------------------------------------------------------------------------------------

BANDIT = {"reward": "bandit", "probabilities": (0.8, 0.2)}
TURNS = {"reward": "bandit", "probabilities": ((0.8, 0.2), (0.2, 0.8))}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"options": ()}, "options must be at least two different answers"),
        ({"options": ("A", "A")}, "options must be at least two different answers"),
        ({"options": ("A", "B", "C"), "accept": True}, "to reject and to accept"),
        ({"reward": "bandits"}, "did you mean 'bandit'"),
        ({"reward": "bandit"}, "needs probabilities"),
        ({**BANDIT, "probabilities": (0.8, 1.2)}, r"probabilities must lie in \[0, 1\], got 1.2"),
        ({**BANDIT, "probabilities": (0.8, math.nan)}, r"probabilities must lie in \[0, 1\], got nan"),
        ({**BANDIT, "probabilities": (0.8, 0.1, 0.1)}, "a number for each of the 2 options, or a list of such"),
        ({**BANDIT, "probabilities": 0.8}, "a number for each of the 2 options"),
        ({**BANDIT, "probabilities": ((0.8, 0.2), (0.2,))}, "probabilities must be numbers"),
        ({**BANDIT, "probabilities": ("a", "b")}, "probabilities must be numbers"),
        ({**BANDIT, "stimuli": {"s": ("x", "y", "z")}}, "each of the 3 labels of 's' x the 2 options"),
        ({**BANDIT, "block": 10}, "several contingencies"),
        (TURNS, "block must be given"),
        ({**TURNS, "block": (100, 60)}, "shortest, longest.*turn them round"),
        ({**TURNS, "block": 0}, "block must be a whole number of at least 1"),
        ({**TURNS, "block": (1, 2, 3)}, "block must be"),
        ({**TURNS, "block": 5, "order": "shuffled"}, "order"),
        ({**TURNS, "block": 5, "block_scale": 0.0}, "greater than 0"),
        ({**BANDIT, "block_scale": 2.0}, "block_scale needs block"),
        ({**BANDIT, "drift": 0.1}, "drift means nothing with reward = 'bandit', but with restless"),
        ({**BANDIT, "left_probability": 0.8}, "left_probability means nothing"),
        ({"probabilities": (0.8, 0.2)}, "probabilities means nothing with reward = 'unknown'"),
        ({"magnitudes": (1, 2)}, "magnitudes means nothing with reward = 'unknown'"),
        ({**BANDIT, "magnitudes": (1, 2, 3)}, "magnitudes must hold a number for each of the 2 options"),
        ({**BANDIT, "punishment": math.inf}, "punishment must be a finite number"),
        ({**BANDIT, "max_offers": 3}, "set accept = true"),
        ({**BANDIT, "accept": True}, "probabilities must hold one number|block must be given"),
        ({**BANDIT, "num_trials": 1}, "num_trials"),
        ({**BANDIT, "session_length": 0}, "session_length"),
        ({**BANDIT, "reward": "restless", "decay": 1.5}, "decay"),
        ({**BANDIT, "reward": "restless", "drift": -1.0}, "drift"),
        ({**BANDIT, "reward": "restless", "bounds": (0.7, 0.3)}, r"bounds must be \(low, high\)"),
        ({**BANDIT, "reward": "restless", "bounds": torch.empty(0)}, r"bounds must be \(low, high\)"),
        ({**BANDIT, "reward": "restless", "bounds": (0.0, 0.5)}, r"probabilities must lie in \[0, 0.5\]"),
        ({**BANDIT, "reward": "restless", "centre": 2.0}, "centre must lie"),
        ({**TURNS, "reward": "restless"}, "a number for each of the 2 options, got"),
        ({"reward": "contrast"}, "needs one stimulus of numbers"),
        ({"reward": "contrast", "stimuli": {"c": (0.0, 0.5)}}, "needs negative contrasts"),
        ({"reward": "contrast", "stimuli": {"c": (-1.0, 1.0)}, "left_probability": 1.2}, "left_probability must lie"),
        ({"reward": "contrast", "stimuli": {"c": (-1.0, 1.0)}, "left_probability": (0.8, 0.2)}, "block must be given"),
        ({"reward": "contrast", "stimuli": {"c": (-1.0, 1.0)}, "options": ("a", "b", "c")}, "two options"),
        ({**BANDIT, "stimuli": {"s": ()}}, "gives no values for 's'"),
        ({**BANDIT, "stimuli": {"s": "xy"}}, "a list of names or of numbers for 's'"),
        ({**BANDIT, "stimuli": {"s": ("x", 1)}}, "names or numbers for 's', not both"),
        ({**BANDIT, "stimuli": {"s": ("x", "x")}}, "different names for 's'"),
        ({**BANDIT, "stimuli": {"s": (1.0, math.nan)}}, "finite"),
        ({**BANDIT, "stimuli": {"reward": (1.0, 2.0)}}, "a stimulus cannot be called 'reward'"),
        ({**BANDIT, "shown": {"s": (1.0,)}}, "shown must be probabilities of stimuli"),
        ({**BANDIT, "stimuli": {"s": (1.0, 2.0)}, "shown": {"s": (0.5, 0.6)}}, "add up to 1"),
        ({**BANDIT, "stimuli": {"s": (1.0, 2.0)}, "shown": {"s": (1.0,)}}, "each of the 2 values of 's'"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_words(given, words):
    with pytest.raises(ValueError, match=words) as refused:
        ChoiceTask(**given)
    assert "\n" not in str(refused.value)


def test_decisions_come_one_after_another_with_answers_that_there_are():
    task = ChoiceTask(**BANDIT)
    state = task.start(2, stream())
    with pytest.raises(ValueError, match="trial must be 0"):
        task.stimulus(1, state, stream())
    _, state = task.stimulus(0, state, stream())
    for choice, words in (
        (torch.tensor([0.0, 1.0]), "whole numbers"),
        (torch.tensor([0]), "one for each animal"),
        (torch.tensor([0, 2]), "codes of answers, 0...1"),
        (torch.tensor([-1, 0]), "codes of answers"),
    ):
        with pytest.raises(ValueError, match=words):
            task.outcome(choice, 0, state, stream())
    with pytest.raises(ValueError, match="batch"):
        task.start(0, stream())
