"""Rules in the animals' place: in closed loop, around reversals, and their weights along what animals really did."""

import math
from collections import defaultdict

import pytest
import torch
from choosing import Policy, by_loop, table, together
from torch.distributions import Independent, Normal

import sbirules as sr
from sbirules.inference.questions.choice_checks import choice_verdicts, predicted_choices
from sbirules.inference.questions.choice_statistics import AROUND, REVERSALS, History, statistics_of
from sbirules.inference.questions.fresh import Fresh
from sbirules.model.tasks import ChoiceTask, Replayed
from sbirules.simulators import PolicyNetwork

FAMILY = sr.TaylorRule(["c r", "c w"], baseline="none")
TASK = ChoiceTask(
    reward="bandit", probabilities=[[0.9, 0.1], [0.1, 0.9]], block=(12, 20), num_trials=120, session_length=60
)


class Draws:
    """Rules close around one, in place of a posterior."""

    def __init__(self, rule, spread=0.02):
        self.rule, self.spread = torch.tensor(rule).double(), spread
        one = torch.ones(len(rule))
        self.prior = Independent(Normal(0 * one, one), 1)

    def spread_out(self, n):
        stream = torch.Generator().manual_seed(1)
        return self.rule + self.spread * torch.randn(n, len(self.rule), generator=stream, dtype=torch.float64)

    def rules_of_animals(self, n, animals):
        return self.spread_out(n)[:, None].expand(-1, animals, -1)


def levels(rule, policy, trials, rules=60, seed=0):
    found = predicted_choices(Draws(rule), policy, trials, Fresh(rules=rules, seed=seed))
    return found, {v.name: v for v in choice_verdicts(found)}


# Reversals ----------------------------------------------------------------------------------------


def around_by_loop(better, choice, session):
    """Rate of the option that is better after each reversal, decision by decision around it."""
    found = defaultdict(list)
    for a in range(len(better)):
        for t in range(1, len(better[a])):
            now, before = better[a][t], better[a][t - 1]
            if session[a][t] != session[a][t - 1] or math.isnan(now) or math.isnan(before) or now == before:
                continue
            for step in (1, -1):
                s, place = (t, 1) if step == 1 else (t - 1, -1)
                block = better[a][s]
                while 0 <= s < len(better[a]) and better[a][s] == block and session[a][s] == session[a][t]:
                    if not math.isnan(choice[a][s]):
                        for low, high in AROUND:
                            if low <= place <= high:
                                found[low, high].append(choice[a][s] == now)
                    s, place = s + step, place + step
    return [sum(found[k]) / len(found[k]) for k in AROUND]


def test_response_to_reversals_is_that_of_a_plain_loop():
    stream = torch.Generator().manual_seed(0)
    parts, better, choices, sessions = [], [], [], []
    for n in (150, 90, 133):
        lengths = torch.randint(5, 24, (40,), generator=stream)
        best = torch.repeat_interleave(torch.arange(40) % 3, lengths)[:n].double()
        best = torch.where(best == 2, math.nan, best) if n == 90 else best.clamp(max=1)
        choice = (torch.rand(n, generator=stream) < 0.3 + 0.4 * best.nan_to_num(0.5)).double()
        choice[5] = math.nan
        session = (torch.arange(n) // 50).double()
        one = table(choice.numpy(), [0.0, 1.0] * (n // 2) + [0.0] * (n % 2), session=session.numpy())
        one.trajectory.per_trial["better"] = best[None]
        parts.append(one)
        better.append(best.tolist())
        choices.append(choice.tolist())
        sessions.append(session.tolist())
    trials = together(*parts)
    history = History.of(trials)
    found = {s.group: s for s in statistics_of(history.choice[None], history)}[REVERSALS]
    assert found.values[0].tolist() == pytest.approx(around_by_loop(better, choices, sessions), abs=1e-12)
    assert found.names[2] == "1"


def test_without_reversals_there_is_no_such_statistic():
    trials = table([0, 1] * 30, [1.0] * 60)
    for better in (None, [0.0] * 60, [0.0, 1.0] * 30):  # none known, none, and one that is better in single trials only
        if better is not None:
            trials.trajectory.per_trial["better"] = torch.tensor([better]).double()
        history = History.of(trials)
        assert REVERSALS not in {s.group for s in statistics_of(history.choice[None], history)}


def test_a_column_says_which_option_is_better(tmp_path):
    file = tmp_path / "mice.csv"
    rows = "\n".join(f"m,{t},{'LR'[t % 2]},{t % 2},{'' if t == 3 else 'RL'[t // 5 % 2]}" for t in range(20))
    file.write_text(f"learner,trial,choice,reward,high\n{rows}\n")
    trials = sr.Trials.read(file, columns={"better": "high"})
    assert trials.trajectory.per_trial["better"][0, :6].nan_to_num(-1).tolist() == [1, 1, 1, -1, 1, 0]
    again = sr.Trials.read(tmp_path / "out.csv", **trials.write(tmp_path / "out.csv"))
    assert again.digest() == trials.digest()
    assert again.digest() != sr.Trials.read(file).digest()
    file.write_text(f"learner,trial,choice,reward,high\n{rows}\n".replace(",R\n", ",up\n", 1))
    with pytest.raises(ValueError, match=r"high must be one of the options, L, R.*line 2"):
        sr.Trials.read(file, columns={"better": "high"})
    with pytest.raises(ValueError, match="cannot be called 'better'"):
        sr.Trials.read(file, columns={"stimulus": {"better": "high"}})
    offers = tmp_path / "offers.csv"
    offers.write_text("learner,trial,accept,reward,better\nm,0,1,1,A\nm,1,0,,A\nm,2,1,0,B\n")
    assert "better" not in sr.Trials.read(offers).trajectory.per_trial
    with pytest.raises(ValueError, match="one option only"):
        sr.Trials.read(offers, columns={"better": "better"})


def test_a_task_knows_which_option_is_better():
    run = PolicyNetwork(FAMILY, TASK, nuisance=()).run(torch.tensor([[0.5, -0.3]] * 40), seed=3)
    best, choice, reward = (run.per_trial[name] for name in ("better", "choice", "reward"))
    assert best[:, 0].eq(0).all()
    assert set(best.unique().tolist()) == {0.0, 1.0}
    assert float(reward[choice == best].mean()) == pytest.approx(0.9, abs=0.02)
    assert float(reward[choice != best].mean()) == pytest.approx(0.1, abs=0.02)
    named = [f.name for f in PolicyNetwork(FAMILY, TASK).own_fields]
    assert "better" in named
    for same in (
        ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.6, 0.2]], block=9),
        ChoiceTask(reward="bandit", probabilities=[[0.5, 0.5], [0.2, 0.8]], block=9),
        ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)),
        ChoiceTask(),
    ):
        assert not same.reverses
    sizes = ChoiceTask(reward="bandit", probabilities=[[0.8, 0.2], [0.6, 0.2]], block=9, magnitudes=(1, 3.5))
    assert sizes.reverses  # 0.8 against 0.7, then 0.6 against 0.7
    sides = ChoiceTask(
        reward="contrast",
        stimuli={"contrast": (-1.0, 0.0, 1.0)},
        left_probability=[0.8, 0.2, 0.5],
        block=9,
        num_trials=40,
    )
    assert sides.reverses
    assert sides._best.nan_to_num(-1).tolist() == [0, 1, -1]


# Closed loop --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_right_rule_passes_in_closed_loop_and_one_step_ahead():
    rule, failed, cautions, all_p = [0.9, -0.35, 0.6], 0, 0, []
    made = PolicyNetwork(FAMILY, TASK, nuisance=("perseveration",))
    for k in range(20):
        trials = made.animals(torch.tensor([rule] * 5), seed=100 + k)
        policy = made if k % 2 else PolicyNetwork(FAMILY, nuisance=("perseveration",)).suited(trials)
        found, verdicts = levels(rule, policy, trials, seed=k)
        assert found.how == ("in closed loop" if k % 2 else "one step ahead")
        assert set(verdicts) >= {REVERSALS, "repetition", "win-stay, lose-shift", "run lengths"}
        failed += sum(v.level == "fail" for v in verdicts.values())
        cautions += sum(v.level == "caution" for v in verdicts.values())
        all_p += torch.cat(list(found.p_values.values())).tolist()
    p = torch.tensor(all_p)
    p = p[torch.isfinite(p)]
    # a level of .05 for all six together, of .05 for each
    assert failed <= 3
    assert cautions <= 12
    assert 0.02 < float((p < 0.1).double().mean()) < 0.18
    assert float((p < 0.5).double().mean()) == pytest.approx(0.5, abs=0.15)


def test_a_policy_without_perseveration_or_without_learning_fails_in_closed_loop():
    made = PolicyNetwork(FAMILY, TASK, nuisance=("perseveration",))
    trials = made.animals(torch.tensor([[0.9, -0.35, 1.2]] * 6), seed=5)
    _, without = levels([1.6, -0.4], PolicyNetwork(FAMILY, TASK, nuisance=()), trials)
    assert without["repetition"].level == "fail" or without["run lengths"].level == "fail"
    _, still = levels([0.0, 0.0, 1.2], made, trials)
    assert still[REVERSALS].level == still["win-stay, lose-shift"].level == "fail"
    assert "in closed loop" in still[REVERSALS].finding
    _, right = levels([0.9, -0.35, 1.2], made, trials)
    assert all(v.level != "fail" for v in right.values())


def test_animals_in_closed_loop_see_the_table():
    lit = ChoiceTask(
        reward="bandit", probabilities=((0.9, 0.1), (0.1, 0.9)), stimuli={"light": ("A", "B")}, num_trials=30
    )
    policy = PolicyNetwork(sr.TaylorRule(["c x r"]), lit, nuisance=())
    trials = policy.animals(torch.tensor([[0.5]] * 3), seed=0)
    player = policy.replaying(trials)
    assert isinstance(player.task, Replayed)
    run = player.run(torch.tensor([[0.5]] * 6), seed=1)
    assert torch.equal(run.per_trial["light"], trials.trajectory.per_trial["light"].repeat(2, 1))
    assert player.replaying(trials).task.rewards == lit
    assert not PolicyNetwork(sr.TaylorRule(["c x r"]), nuisance=()).knows_rewards


def test_p_values_are_never_smaller_than_so_many_rules_can_tell():
    statistic = sr.inference.questions.choice_statistics.Statistic
    made = torch.arange(1.0, 20.0)[:, None].double().expand(-1, 4).clone()
    made[:12, 3] = math.nan
    seen = torch.tensor([[100.0, 10.0, 3.0, 1.0]]).double()
    names = ("a", "b", "c", "d")
    one = torch.ones(1).double()
    found = sr.ChoicesCheck(19, 1, "one step ahead", (statistic("run lengths", names, seen),),
                            (statistic("run lengths", names, made),), torch.zeros(19, 1), -one, one, ("A", "B"), ("m",),
                            (one, one))  # fmt: skip
    p = found.p_values["run lengths"]
    assert p[:3].tolist() == pytest.approx([2 / 20, 1.0, 2 * (2.5 + 1) / 20])
    assert math.isnan(p[3])  # fewer than half of the rules tell
    (verdict,) = choice_verdicts(found)
    assert "Least alike a" in verdict.finding
    assert verdict.level == "fail"
    near = sr.ChoicesCheck(19, 1, "one step ahead", (statistic("run lengths", names[:2], torch.tensor([[10.1, 9.0]])),),
                           (statistic("run lengths", names[:2], made[:, :2].clone()),), torch.zeros(19, 1), -one, one,
                           ("A", "B"), ("m",), (one, one))  # fmt: skip
    assert "Least alike b" in choice_verdicts(near)[0].finding


# Weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numba", "torch"])
def test_weights_along_a_table_are_those_of_a_plain_loop(engine):
    stream = torch.Generator().manual_seed(3)
    parts = []
    for n in (25, 14):
        level = torch.randn(n, generator=stream).numpy()
        choice = (torch.rand(n, generator=stream) < 0.5).double().numpy()
        parts.append(table(choice, (torch.rand(n, generator=stream) < 0.5).double().numpy(), contrast=level))
    trials = together(*parts)
    family = sr.TaylorRule(["d x rd", "w"])
    policy = PolicyNetwork(family, engine=engine, nuisance=("initial",)).suited(trials)
    likelihood = policy.likelihood(trials)
    assert likelihood.weight_names == ("contrast: 1 over 0", "constant: 1 over 0")
    theta = torch.tensor([[0.4, -0.05, 0.3, -0.2], [0.1, -0.3, 0.0, 0.5]]).double()
    at = torch.tensor([[0, 7, 24], [0, 5, 13]])
    found = likelihood.weights(theta[:, None].expand(-1, 2, -1), [0, 1], at)
    assert found.shape == (2, 2, 3, 2)
    assert found[0, 0, 0].tolist() == pytest.approx([0.3, -0.2])
    powers = [{"d": 1, "x": 1, "rd": 1}, {"w": 1}]
    for k, rule in enumerate(theta.tolist()):
        told = {0: rule[0], 1: rule[1], "w0_contrast": rule[2], "w0_constant": rule[3]}
        for animal in range(2):
            prob, _ = by_loop(trials, powers, told, Policy(), animal)
            for j, t in enumerate(at[animal].tolist()):
                x = float(trials.trajectory.per_trial["contrast"][animal, t])
                logit = float(found[k, animal, j, 0]) * x + float(found[k, animal, j, 1])
                assert logit == pytest.approx(math.log(prob[t][1] / prob[t][0]), abs=1e-9)


def test_a_check_has_weights_for_a_rule_of_ones_own():
    class Hebb(sr.PolicyRule):
        coefficients = (sr.Coefficient("eta", "c_i x_j r"),)

        def update(self, theta, *, x, c, d, y, w, r, rd):
            return theta["eta"] * c * x * r

    three = ChoiceTask(options=("A", "B", "C"), reward="bandit", probabilities=(0.2, 0.5, 0.8), num_trials=40)
    policy = PolicyNetwork(Hebb(), three, nuisance=())
    trials = policy.animals(torch.tensor([[0.3]] * 6), seed=1)
    found, _ = levels([0.3], policy, trials, rules=20)
    w = found.weights
    assert w.names == ("constant: A", "constant: B", "constant: C")
    assert w.draws.shape == (20, 4, 300, 3)
    assert float(w.draws.sum(dim=3).abs().max()) < 1e-5  # against the mean of all
    first = found.deviance_by_animal.argmin()
    assert w.learners[0] == trials.learners[first]
    axes = sr.figures.weights_over_trials(w.learners, w.names, w.trial, w.draws, w.rate)
    assert axes.shape == (2, 4)
