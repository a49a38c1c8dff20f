"""The likelihood of choices: three engines against a plain loop over numbers, gradients against differences of that loop."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import torch
from choosing import ORDER, Policy, Told, by_loop, table, together, written

import sbirules as sr
from sbirules.model.rules import PolicyRule, TaylorRule
from sbirules.model.tasks import DelayedDiscrimination
from sbirules.simulators import PolicyNetwork

ENGINES = ("numba", "torch")


@dataclass(frozen=True)
class Case:
    """A kind of table, and what a policy makes of it."""

    options: tuple[str, ...] = ("left", "right")
    numbers: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    accept: bool = False
    nuisance: tuple[str, ...] = ("initial", "lapse")
    infer: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    terms: tuple[dict[str, int], ...] = ()  # that the family has in any case
    repeated: bool = False  # several offers in a trial


CUE = {"cue": ("red", "green", "blue")}
CASES = {
    "bandit": Case(),
    "contrast": Case(numbers=("contrast",), nuisance=("initial", "perseveration", "lapse"), infer=("rbar_rate",)),
    "cue": Case(
        labels=CUE, nuisance=("initial", "bias", "perseveration", "lapse"), policy=Policy(constant=False, last=4)
    ),
    "three, contrast and cue": Case(
        options=("a", "b", "c"),
        numbers=("contrast",),
        labels=CUE,
        nuisance=("initial", "perseveration", "lapse"),
        policy=Policy(baseline="last", last=3),
    ),
    "three, two numbers": Case(
        options=("a", "b", "c"),
        numbers=("left", "right"),
        nuisance=("initial", "bias"),
        infer=("rbar_rate",),
        terms=({"w": 1}, {"w": 2}),
        policy=Policy(constant=False, decay_on="all"),
    ),
    "four options": Case(
        options=("n", "e", "s", "w"), nuisance=("perseveration", "bias"), policy=Policy(baseline="none")
    ),
    "accept": Case(
        numbers=("smell",),
        accept=True,
        nuisance=("initial", "perseveration", "lapse"),
        terms=({"x": 1, "rd": 1}, {"w": 1}),
        policy=Policy(decay_on="all", rate=0.3),
    ),
    "accept a label": Case(
        labels=CUE,
        accept=True,
        nuisance=("initial", "bias", "perseveration", "lapse"),
        terms=({"x": 2, "rd": 2}, {"r": 1}),
        policy=Policy(constant=False, baseline="last", last=2),
    ),
    "offers": Case(
        numbers=("smell",),
        accept=True,
        repeated=True,
        nuisance=("initial", "perseveration", "lapse"),
        infer=("rbar_rate",),
        terms=({"w": 1}, {"d": 1, "x": 1, "rd": 1}),
    ),
    "offers that are forgotten": Case(
        labels=CUE,
        accept=True,
        repeated=True,
        nuisance=("initial", "bias"),
        terms=({"w": 1}, {"x": 1, "r": 1}),
        policy=Policy(constant=False, decay_on="all"),
    ),
}
ALL_STEPS = {
    name + ", all steps": replace(CASES[name], policy=replace(CASES[name].policy, credit="all_steps"))
    for name in ("accept", "offers", "offers that are forgotten")
}
EVERY = {**CASES, **ALL_STEPS}


def family_of(case, rng, count=6):
    """Powers of random terms, each up to 2 of every variable, beside those that the case asks for."""
    powers = [dict(power) for power in case.terms]
    while len(powers) < count + len(case.terms):
        power = {v: int(k) for v, k in zip(ORDER, rng.choice(3, size=7, p=(0.6, 0.25, 0.15)), strict=True) if k}
        if "c" in power:
            power["c"] = 1
        idle = not case.accept and not set(power) & {"c", "d", "y", "w"}
        if power and not idle and power not in powers:
            powers.append(power)
    p = case.policy
    baseline = {"baseline": p.baseline, "rate": p.rate, "last": p.last}
    return powers, TaylorRule([written(power) for power in powers], infer=case.infer, **baseline)


def animal_of(case, count, rng):
    """A table of one animal that answers at random, with sessions, missing answers and rewards that are not known."""
    trial = np.arange(count)
    if case.repeated:
        trial = np.repeat(trial, rng.integers(1, 5, size=count))[:count]
    stimuli = {name: rng.normal(size=count) for name in case.numbers}
    stimuli |= {name: rng.integers(len(names), size=count) for name, names in case.labels.items()}
    choice = rng.integers(len(case.options), size=count).astype(float)
    reward = rng.choice([0.0, 1.0, 0.4, -0.5], size=count)
    if case.repeated:  # an offer that is accepted ends its trial
        ends = np.append(trial[1:] != trial[:-1], True)
        choice = np.where(ends, rng.random(count) < 0.8, 0).astype(float)
        reward = np.where(ends, reward, math.nan)
    choice[rng.random(count) < 0.1] = math.nan
    reward[rng.random(count) < 0.15] = math.nan
    session = trial // 12
    meaning = {"options": case.options, "labels": case.labels, "accept": case.accept}
    return table(choice, reward, session, trial, **meaning, **stimuli)


def made(name, seed=0, counts=(40, 26, 1), rules=4):
    """Table, powers, simulator by engine, and rules `(rules, D)`, of a case."""
    case, rng = EVERY[name], np.random.default_rng([seed, list(EVERY).index(name)])
    trials = together(*(animal_of(case, count, rng) for count in counts))
    powers, family = family_of(case, rng)
    p = case.policy
    settings = {"nuisance": case.nuisance, "constant": p.constant, "credit": p.credit, "decay_on": p.decay_on}
    engines = ENGINES if p.credit == "accepted" else ("numba",)
    simulators = {e: PolicyNetwork(family, Told(trials.meaning), engine=e, **settings).suited(trials) for e in engines}
    names = simulators["numba"].names
    theta = np.empty((rules, len(names)))
    for k, column in enumerate(names):
        if column in ("lapse", "rbar_rate"):
            theta[:, k] = rng.uniform(0.05, 0.3, size=rules)
        else:
            theta[:, k] = rng.normal(0, 0.2 if k < len(powers) else 0.5, size=rules)
    for row in theta:  # weaker, until weights stay where every step can be followed
        while not follows(trials, powers, names, row, p):
            row *= 0.7
    return trials, powers, simulators, torch.tensor(theta)


def follows(trials, powers, names, row, policy):
    """Whether no answer gets out of sight under a rule, lapses left out."""
    plain = np.array([0.0 if name == "lapse" else v for name, v in zip(names, row, strict=True)])
    try:
        chances = [loop(trials, powers, names, plain, policy, a)[0] for a in range(len(trials))]
    except (OverflowError, ValueError):
        return False
    return min(p.min() for p in chances) > 1e-3


def loop(trials, powers, names, theta, policy, animal):
    values = {k: float(v) for k, v in enumerate(theta[: len(powers)])}
    values |= {name: float(v) for name, v in zip(names[len(powers) :], theta[len(powers) :], strict=True)}
    return by_loop(trials, powers, values, policy, animal)


def same(got, wanted, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", EVERY)
def test_every_engine_gives_what_a_plain_loop_gives(name, seed):
    trials, powers, simulators, theta = made(name, seed)
    case, names = EVERY[name], simulators["numba"].names
    wanted = [[loop(trials, powers, names, row, case.policy, a) for a in range(3)] for row in theta[:2]]
    values = [[total for _, total in row] for row in wanted]
    chances = [np.concatenate([p for p, _ in row]) for row in wanted]
    assert np.isfinite(values).all()
    for simulator in simulators.values():
        likelihood = simulator.likelihood(trials)
        same(likelihood.log_prob(theta)[:2], values)  # side by side, where compiled
        same(likelihood.log_prob(theta[:1]), values[:1])  # one at a time
        same(likelihood.value_and_slope(theta)[0][:2], values)  # with the gradient
        same(likelihood.probabilities(theta)[:2], chances)
        same(likelihood.probabilities(theta).sum(dim=2), np.ones((len(theta), 67)))
        same(simulator.log_likelihood(theta[:2], trials), np.sum(values, axis=1))


@pytest.mark.parametrize("name", CASES)
def test_engines_agree_on_rules_of_each_animals_own(name):
    trials, powers, simulators, theta = made(name, seed=5, rules=6)
    own = theta.reshape(2, 3, -1)
    wanted = [
        [loop(trials, powers, simulators["numba"].names, own[n, a], EVERY[name].policy, a)[1] for a in range(3)]
        for n in range(2)
    ]
    for simulator in simulators.values():
        likelihood = simulator.likelihood(trials)
        same(likelihood.log_prob(own), wanted)
        same(likelihood.log_prob(own[:1]), wanted[:1])
        same(likelihood.value_and_slope(own)[0], wanted)


@pytest.mark.parametrize("rules", [2, 15, 16, 17, 40])
def test_any_number_of_rules_passes_side_by_side(rules):
    trials, _, simulators, theta = made("three, contrast and cue", seed=3, rules=rules)
    likelihood = simulators["numba"].likelihood(trials)
    one_by_one = torch.cat([likelihood.log_prob(row[None]) for row in theta])
    same(likelihood.log_prob(theta), one_by_one)
    own = theta[:, None] * torch.tensor([1.0, 0.5, 0.9])[:, None]
    same(likelihood.log_prob(own), torch.cat([likelihood.log_prob(row[None]) for row in own]))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", EVERY)
def test_gradient_is_that_of_the_plain_loop_by_central_differences(name, seed):
    trials, powers, simulators, theta = made(name, seed + 10, counts=(30, 17), rules=1)
    case, names = EVERY[name], simulators["numba"].names
    step, row = 1e-5, theta[0]
    wanted = np.empty((2, len(names)))
    for k in range(len(names)):
        ends = []
        for sign in (1, -1):
            moved = row.clone()
            moved[k] += sign * step
            ends.append([loop(trials, powers, names, moved, case.policy, a)[1] for a in range(2)])
        wanted[:, k] = (np.array(ends[0]) - np.array(ends[1])) / (2 * step)
    for simulator in simulators.values():
        slope = simulator.likelihood(trials).value_and_slope(theta)[1][0]
        np.testing.assert_allclose(slope, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_autograd(name):
    trials, _, simulators, theta = made(name, seed=20)
    slopes = []
    for simulator in simulators.values():
        rows = theta.clone().requires_grad_(True)
        simulator.log_likelihood(rows, trials).sum().backward()
        slopes.append(rows.grad)
        same(simulator.likelihood(trials).value_and_slope(theta)[1].sum(dim=1), slopes[-1])
    same(*slopes)


def test_gradient_flows_to_what_theta_is_made_of():
    trials, _, simulators, theta = made("contrast")
    lead = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    out = simulators["numba"].log_likelihood(theta * lead, trials)
    (slope,) = torch.autograd.grad((out * torch.arange(1.0, 5.0)).sum(), lead)
    ahead, behind = (simulators["numba"].log_likelihood(theta * (0.3 + e), trials) for e in (1e-6, -1e-6))
    same(slope, ((ahead - behind) / 2e-6 * torch.arange(1.0, 5.0)).sum(), 1e-6)


def test_rules_of_single_precision_are_taken_as_they_are():
    trials, _, simulators, theta = made("contrast")
    single = theta.float()
    same(
        simulators["numba"].log_likelihood(single, trials), simulators["numba"].log_likelihood(single.double(), trials)
    )
    rows = single.clone().requires_grad_(True)
    simulators["numba"].log_likelihood(rows, trials).sum().backward()
    assert rows.grad.dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [1e3, -1e3, 1e8, -1e300])
def test_wild_rules_are_impossible_at_worst_and_never_nan(name, size):
    trials, powers, simulators, theta = made(name, seed=30)
    wild = theta.clone()
    wild[:, : len(powers)] = size * theta[:, : len(powers)].sign()
    for simulator in simulators.values():
        likelihood = simulator.likelihood(trials)
        values = [likelihood.log_prob(wild), likelihood.log_prob(wild[:1]), likelihood.value_and_slope(wild)[0]]
        for value in values:
            assert not value.isnan().any()
            assert (value <= 0).all()
    rows = wild.clone().requires_grad_(True)
    simulators["numba"].log_likelihood(rows, trials).sum().backward()
    assert torch.isfinite(rows.grad).all()


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_weights_that_blow_up_are_impossible_for_every_engine(size):
    trials, _, _, _ = made("contrast")
    values = []
    for engine in ENGINES:
        simulator = PolicyNetwork(TaylorRule(["w^2 y^2", "c x r"]), nuisance=("initial",), engine=engine).suited(trials)
        theta = torch.full((3, 4), size, dtype=torch.float64)
        likelihood = simulator.likelihood(trials)
        values += [
            likelihood.log_prob(theta)[0],
            likelihood.log_prob(theta[:1])[0],
            likelihood.value_and_slope(theta)[0][0],
        ]
    for value in values:
        assert (value[:2] == -math.inf).all()


@pytest.mark.parametrize("accept", [False, True])
def test_engines_agree_on_rules_whose_weights_run_away(accept):
    """With lapses such a rule may be possible or not, but for all alike; its slope is a number where its likelihood is."""
    rng = np.random.default_rng(1)
    trials = table(rng.integers(2, size=60).astype(float), np.ones(60), accept=accept, smell=rng.random(60) + 0.5)
    family = TaylorRule(["c x r", "c y^2 w"], baseline="none")
    theta = torch.tensor([[0.5, 0.5, 0.3, 0.2, 0.2]] * 2, dtype=torch.float64)
    values = []
    for engine in ENGINES:
        simulator = PolicyNetwork(family, Told(trials.meaning), nuisance=("initial", "lapse"), engine=engine).suited(
            trials
        )
        likelihood = simulator.likelihood(trials)
        value, slope = likelihood.value_and_slope(theta)
        assert torch.isfinite(slope[torch.isfinite(value)]).all()
        values += [value[0], likelihood.log_prob(theta)[0], likelihood.log_prob(theta[:1])[0]]
    same(torch.stack(values), values[0].expand(6, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_choice_that_is_all_but_impossible_counts_as_much_whatever_else_is_asked(engine):
    """log p = -200 is a number like any other: for one rule, for several, and with the gradient."""
    trials = table([0.0, 1.0], [0.0, 0.0])
    likelihood = (
        PolicyNetwork(TaylorRule(["c x r"]), nuisance=("initial",), engine=engine).suited(trials).likelihood(trials)
    )
    theta = torch.tensor([[0.1, 200.0]] * 3, dtype=torch.float64)
    same(likelihood.log_prob(theta[:1]), [[-200.0]])
    same(likelihood.value_and_slope(theta)[0], [[-200.0]] * 3)
    same(likelihood.log_prob(theta), [[-200.0]] * 3)


def test_only_what_the_animal_itself_saw_before_counts():
    """Later decisions, and other animals, change no earlier probability."""
    trials, _, simulators, theta = made("three, contrast and cue", seed=40)
    whole = simulators["numba"].likelihood(trials).probabilities(theta)
    alone = trials.subset([1])
    short = table(
        **{n: v[0, :20].numpy() for n, v in alone.trajectory.per_trial.items()},
        options=trials.meaning.options,
        labels=trials.meaning.labels,
    )
    same(simulators["numba"].likelihood(short).probabilities(theta), whole[:, 40:60])


def test_an_animal_that_never_answers_has_probability_one():
    trials = table([math.nan] * 5, [math.nan] * 5)
    for engine in ENGINES:
        simulator = PolicyNetwork(TaylorRule(["c x r", "w"]), engine=engine, decay_on="all").suited(trials)
        value, slope = simulator.likelihood(trials).value_and_slope(torch.full((2, 4), 0.2))
        same(value, [[0.0], [0.0]])
        same(slope, np.zeros((2, 1, 4)))


def test_an_offer_without_an_answer_does_not_hide_the_answer_before_it():
    """Credit to all steps: each step is weighed by the probability it had, with its own answer before."""
    nan = math.nan
    trials = table(
        [0, nan, 1, 1], [nan, nan, 1.0, 1.0], trial=[0, 0, 0, 1], accept=True, smell=np.array([1.0, 0.5, 2.0, 1.0])
    )
    family, settings = TaylorRule(["d x r"], baseline="none"), {"nuisance": ("perseveration",), "credit": "all_steps"}
    simulator = PolicyNetwork(family, Told(trials.meaning), **settings).suited(trials)
    trials = replace(trials, trajectory=trials.trajectory)
    # an accepted offer before the missing one makes the answer before it matter
    fields = dict(trials.trajectory.per_trial, choice=torch.tensor([[1.0, nan, 1.0, 1.0]], dtype=torch.float64))
    told = sr.Trajectory(trials.trajectory.status, trials.trajectory.trial_types, fields)
    for each in (trials, replace(trials, trajectory=told)):
        wanted, total = by_loop(
            each,
            [{"d": 1, "x": 1, "r": 1}],
            {0: 0.7, "perseveration": 1.5},
            Policy(credit="all_steps", baseline="none"),
        )
        likelihood = simulator.likelihood(each)
        theta = torch.tensor([[0.7, 1.5]], dtype=torch.float64)
        same(likelihood.probabilities(theta)[0], wanted)
        same(likelihood.log_prob(theta), [[total]])


def test_a_term_without_any_variable_is_no_decay():
    """`1` grows weights in trials that teach, and in no others."""
    rng = np.random.default_rng(2)
    choice, reward = rng.integers(2, size=20).astype(float), rng.random(20)
    choice[::4] = math.nan
    trials = table(choice, reward, accept=True, smell=rng.normal(size=20))
    wanted, _ = by_loop(trials, [{}, {"w": 1}], {0: 0.2, 1: -0.1}, Policy(decay_on="all"))
    theta = torch.tensor([[0.2, -0.1]] * 2, dtype=torch.float64)
    for engine in ENGINES:
        settings = {"nuisance": (), "decay_on": "all", "engine": engine}
        simulator = PolicyNetwork(TaylorRule(["1", "w"]), Told(trials.meaning), **settings).suited(trials)
        likelihood = simulator.likelihood(trials)
        same(likelihood.probabilities(theta)[0], wanted)
        same(likelihood.log_prob(theta)[0], likelihood.log_prob(theta[:1])[0])


# What a table makes of a policy -----------------------------------------------------------------------


def test_a_policy_without_a_constant_is_suited_to_a_table_with_stimuli():
    trials = table([0, 1, 1], [0, 1, 1], contrast=np.array([0.1, 0.2, -0.3]))
    simulator = PolicyNetwork(TaylorRule(["c x r"]), constant=False).suited(trials)
    assert simulator.names == ("c_x_r", "w0_contrast", "lapse")


def test_a_bias_is_there_for_labels_which_come_without_a_constant():
    trials = table([0, 1, 1], [0, 1, 1], labels={"cue": ("A", "B")}, cue=np.array([0, 1, 0]))
    simulator = PolicyNetwork(TaylorRule(["c x r"]), nuisance=("initial", "bias")).suited(trials)
    assert simulator.names == ("c_x_r", "w0_cue_A", "w0_cue_B", "bias")


def test_a_term_without_options_is_taken_where_there_is_one_option():
    trials = table([0, 1, 1], [0, 1, 1], accept=True, smell=np.array([0.1, 0.2, -0.3]))
    family = TaylorRule(variables=["x", "rd", "w"], degree=2)
    simulator = PolicyNetwork(family).suited(trials)
    assert len(simulator.names) == 27 + 3


def test_coefficients_are_named_after_answers_and_labels():
    trials, _, simulators, _ = made("three, contrast and cue")
    assert trials.meaning.options == ("a", "b", "c")
    features = ("contrast", "cue_red", "cue_green", "cue_blue", "constant")
    wanted = [f"w0_{feature}_{option}" for option in "bc" for feature in features]
    assert list(simulators["numba"].names[6:]) == [*wanted, "perseveration", "lapse"]


def test_priors_of_first_weights_know_how_large_a_feature_is():
    trials = table([0, 1, 1, 0], [0, 1, 1, 0], contrast=np.array([30.0, -40.0, 30.0, 40.0]))
    simulator = PolicyNetwork(TaylorRule(["c x r"])).suited(trials)
    size = math.sqrt((2 * 30**2 + 2 * 40**2) / 4)
    assert simulator.nuisances["w0_contrast"].stddev.item() == pytest.approx(1 / size, rel=0.01)
    assert simulator.nuisances["w0_constant"].stddev.item() == pytest.approx(1)


def test_a_policy_comes_back_from_its_config_with_the_same_likelihood():
    trials, _, simulators, theta = made("three, contrast and cue")
    back = PolicyNetwork.from_config(simulators["numba"].config() | {"task": None})
    assert back.names == simulators["numba"].names
    same(back.log_likelihood(theta, trials), simulators["numba"].log_likelihood(theta, trials))


def test_what_a_table_makes_of_a_policy_leaves_the_policy_as_it_was():
    simulator = PolicyNetwork(TaylorRule(["c x r"]))
    before = simulator.names
    simulator.suited(table([0, 1], [0, 1], options=("a", "b", "c"), contrast=np.zeros(2)))
    assert simulator.names == before


# A user's own rule ------------------------------------------------------------------------------------


class Asymmetric(PolicyRule):
    """Rewards above and below expectation teach at different rates."""

    coefficients = (sr.Coefficient("up"), sr.Coefficient("down"))

    def update(self, theta, *, x, c, d, y, w, r, rd):
        return torch.where(rd > 0, theta["up"], theta["down"]) * rd * c * x


def test_a_rule_of_ones_own_has_a_likelihood():
    rng = np.random.default_rng(3)
    choice, reward = rng.integers(2, size=60), rng.integers(2, size=60).astype(float)
    trials = table(choice, reward)
    up, down, w, rbar, wanted = 0.8, 0.3, np.zeros(2), 0.0, 0.0
    for c, r in zip(choice, reward, strict=True):
        wanted += w[c] - np.log(np.exp(w).sum())
        surprise = r - rbar
        w[c] += (up if surprise > 0 else down) * surprise
        rbar += 0.2 * surprise
    simulator = PolicyNetwork(Asymmetric(rate=0.2), nuisance=()).suited(trials)
    assert simulator.engine == "torch"
    same(simulator.log_likelihood(torch.tensor([[up, down]], dtype=torch.float64), trials), [wanted])


# What is refused --------------------------------------------------------------------------------------


def refused(match):
    return pytest.raises(ValueError, match=match)


LEARNER = TaylorRule(["c x r", "w"])


@pytest.mark.parametrize("term", ["x r", "x rd", "x", "r", "1", "x^2 rd^2"])
def test_terms_that_move_all_options_alike_are_refused(term):
    with refused("moves the logits of all options alike and .*changes no probability: multiply it by c, d, y or w"):
        PolicyNetwork(TaylorRule(["d x r", term])).suited(table([0, 1], [0, 1]))


def test_a_bias_beside_a_constant_input_is_refused():
    with refused("bias and the initial weight of the constant input .* say the same before anything is learned"):
        PolicyNetwork(LEARNER, nuisance=("initial", "bias")).suited(table([0, 1], [0, 1]))
    PolicyNetwork(LEARNER, nuisance=("bias", "lapse")).suited(table([0, 1], [0, 1]))  # nothing else says it


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"nuisance": ("lapses",)}, r"nuisance: 'lapses' is not known; did you mean 'lapse'\?"),
        ({"nuisance": "lapse"}, "nuisance"),
        ({"credit": "all"}, "credit: 'all' is not known"),
        ({"decay_on": "some"}, "decay_on: 'some' is not known"),
        ({"engine": "jax"}, "engine: 'jax' is not known"),
        ({"num_trials": 1}, "num_trials"),
        ({"laps": 1}, "a setting of PolicyNetwork: 'laps' is not known"),
        ({"credit": "all_steps", "engine": "torch"}, 'credit = "all_steps" needs engine = "numba"'),
    ],
)
def test_wrong_settings_are_refused(settings, match):
    with refused(match):
        PolicyNetwork(LEARNER, **settings)


def test_settings_that_need_a_taylor_rule_say_so():
    with refused('credit = "all_steps" needs a TaylorRule, got Asymmetric'):
        PolicyNetwork(Asymmetric(), credit="all_steps")
    with refused('engine = "numba" takes a TaylorRule, got Asymmetric; leave engine out'):
        PolicyNetwork(Asymmetric(), engine="numba")
    with refused('decay_on = "all" needs a rule of a policy such as TaylorRule, got Oja'):
        PolicyNetwork(sr.Oja(), decay_on="all")


def test_a_rule_of_networks_is_no_rule_of_a_policy():
    with refused(
        "family must be a rule of a policy such as TaylorRule, or a LocalRule such as Oja, got PolynomialRule"
    ):
        PolicyNetwork(sr.PolynomialRule(degree=1))


def test_a_task_of_networks_is_no_task_of_choices():
    with refused("task must be a ChoiceTask, whose trials are choices, got DelayedDiscrimination"):
        PolicyNetwork(LEARNER, DelayedDiscrimination())


def test_a_coefficient_with_the_name_of_a_nuisance_is_refused():
    class Lapsing(PolicyRule):
        coefficients = (sr.Coefficient("lapse"),)

        def update(self, theta, **seen):
            return theta["lapse"] * seen["c"] * seen["x"]

    with refused("the rule has a coefficient 'lapse', which is also a nuisance of the policy; leave one out"):
        PolicyNetwork(Lapsing())


@pytest.mark.parametrize("theta", [[[0.1, 0.2, 0.3]], "rule", [[0.1, 0.2, 0.3, math.nan]]])
def test_theta_of_log_likelihood_is_checked(theta):
    trials = table([0, 1], [0, 1])
    with refused("theta must"):
        PolicyNetwork(LEARNER).suited(trials).log_likelihood(theta, trials)


CONTRAST = {"contrast": np.array([0.1, 0.2])}
A_CUE = {"cue": np.array([0, 1])}


@pytest.mark.parametrize(
    "other",
    [
        table([0, 1], [0, 1], options=("left", "right"), **A_CUE, labels={"cue": ("A", "B")}),
        table([0, 1], [0, 1]),
        table([0, 1], [0, 1], **CONTRAST),
        table([0, 1], [0, 1], **A_CUE),
        table([0, 1], [0, 1], **A_CUE, labels={"cue": ("A", "B", "C")}),
        table([0, 1], [0, 1], **A_CUE, labels={"cue": ("B", "A")}),
        table([0, 1], [0, 1], **A_CUE, labels={"cue": ("A", "B")}, accept=True),
    ],
    ids=["answers", "no stimulus", "another stimulus", "numbers", "more labels", "labels turned", "accept"],
)
def test_a_table_of_another_meaning_is_refused(other):
    trials = table([0, 1], [0, 1], **A_CUE, labels={"cue": ("A", "B")})
    simulator = PolicyNetwork(LEARNER).suited(trials)
    simulator.likelihood(trials)
    with refused(r"this policy has the .*, the table .*; simulator.suited\(trials\) takes those of a table"):
        simulator.likelihood(other)


def test_a_table_without_a_meaning_is_refused():
    trials = replace(table([0, 1], [0, 1]), meaning=None)
    with refused("trials must be a table of choices"):
        PolicyNetwork(LEARNER).suited(trials)
    with refused("trials must be a table of choices"):
        PolicyNetwork(LEARNER).likelihood(trials)


def test_stimuli_whose_features_would_share_a_name_are_refused():
    trials = table([0, 1], [0, 1], **A_CUE, labels={"cue": ("A", "B")}, cue_A=np.zeros(2))
    with refused("cue_A"):
        PolicyNetwork(LEARNER).suited(trials)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (2, 2, 4), (4,), (2, 1, 1, 4)])
@pytest.mark.parametrize("asked", ["log_prob", "value_and_slope", "probabilities"])
def test_theta_of_the_wrong_shape_is_refused(engine, shape, asked):
    trials = table([0, 1], [0, 1])
    likelihood = PolicyNetwork(LEARNER, engine=engine).suited(trials).likelihood(trials)  # 4 columns, one animal
    with refused(r"theta must have shape \(n, 4\) or \(n, 1, 4\), got"):
        getattr(likelihood, asked)(torch.zeros(shape))


def test_a_rule_that_cannot_see_the_stimulus_is_cautioned_of():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"learner": "a", "choice": rng.integers(0, 2, 60), "reward": rng.integers(0, 2, 60)})
    seen = sr.Trials.read(frame.assign(cue=rng.choice([-1.0, 1.0], 60)), columns={"stimulus": "cue"})
    blind, sees = (PolicyNetwork(sr.TaylorRule(terms)) for terms in (["c rd", "w"], ["c x rd", "w"]))
    assert blind.cautions(seen)[0].startswith(
        "no term of the rule has x, so that what is learned does not depend on the stimulus cue"
    )
    assert sees.cautions(seen) == ()
    assert blind.cautions(sr.Trials.read(frame)) == (), "without a stimulus there is nothing to see"
