"""Searches over structures: evidence against a grid, particles against enumeration, rounds against kills and workers."""

import json
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, Uniform

import sbirules as sr
from sbirules.model.structures import Structure
from sbirules.searches.evidence import fit_mode
from sbirules.searches.nodes import Record
from sbirules.simulators import PolicyNetwork
from sbirules.tasks import ChoiceTask

BANDIT = ChoiceTask(reward="bandit", probabilities=[[0.85, 0.15], [0.15, 0.85]], block=(20, 40))
GRAMMAR = sr.RuleGrammar(["c", "w", "r", "rd"], degree=2, max_terms=3)
# closed form: structures that are scored without a fit
PLANTED = sr.parse_structure("c r + w")


def overlap(structure):
    """A log-evidence that rises with the terms shared with the planted rule and falls with others."""
    shared = len(set(structure.terms) & set(PLANTED.terms))
    return 3.0 * shared - 0.7 * (len(structure) - shared)


@pytest.fixture(scope="module")
def animals():
    network = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), BANDIT, nuisance=(), num_trials=150)
    return network.animals(torch.tensor([[0.7, -0.1]]).repeat(6, 1), seed=3)


@pytest.fixture(scope="module")
def problem(animals):
    return sr.ChoiceProblem(animals, GRAMMAR, nuisance=())


# Evidence -------------------------------------------------------------------------------------------------


def test_evidence_and_predictions_are_those_of_a_grid(problem, animals):
    structure = problem.grammar.parse("c rd + w")
    found = problem.score(structure, {})
    policy = problem.simulator(structure)
    n = 160
    middle = (torch.arange(n).double() + 0.5) / n
    rd, w = torch.meshgrid(2 * middle - 1, middle - 1, indexing="ij")
    order = {"c_rd": rd.flatten(), "w": w.flatten()}
    theta = torch.stack([order[name] for name in policy.names], dim=1)
    every = policy.likelihood(animals).log_prob(theta).sum(dim=1)
    earlier = policy.likelihood(problem.earlier).log_prob(theta).sum(dim=1)
    evidence = float(torch.logsumexp(every, 0)) - math.log(len(theta))
    before = float(torch.logsumexp(earlier, 0)) - math.log(len(theta))
    assert abs(found.log_evidence - evidence) < 4 * found.evidence_se + 0.02
    assert abs(found.held_out - (evidence - before)) < 0.25
    best = theta[every.argmax()]
    assert all(abs(found.values[name] - float(best[k])) < 0.08 for k, name in enumerate(policy.names))


def test_evidence_of_a_normal_model_is_the_closed_form():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(5, 30, 2)))
    y = x @ torch.tensor([0.5, -1.0]).double() + torch.from_numpy(rng.normal(size=(5, 30)))

    def slope(theta):
        rest = y[None] - torch.einsum("atk,nk->nat", x, theta)
        value = -0.5 * (rest.square() + math.log(2 * math.pi)).sum(dim=2)
        return value, torch.einsum("nat,atk->nak", rest, x)

    priors = {"a": Normal(0.0, 2.0), "b": Normal(0.5, 1.0)}
    values = lambda theta: (slope(theta)[0].sum(dim=1), torch.zeros(len(theta)).double())  # noqa: E731
    found = fit_mode(("a", "b"), priors, slope, values, {}, 1)
    flat, scale = x.reshape(-1, 2), torch.tensor([4.0, 1.0]).double()
    covariance = torch.eye(150).double() + flat @ torch.diag(scale) @ flat.T
    mean = flat @ torch.tensor([0.0, 0.5]).double()
    wanted = float(torch.distributions.MultivariateNormal(mean, covariance).log_prob(y.flatten()))
    assert abs(found.log_evidence - wanted) < 4 * found.evidence_se + 0.01
    assert found.effective > 0.5


def test_evidence_against_an_end_of_the_prior():
    rate = torch.tensor(40.0).double()

    def slope(theta):
        return -rate * (1 - theta), rate.expand(len(theta), 1, 1)

    values = lambda theta: (slope(theta)[0].sum(dim=1), slope(theta)[0].sum(dim=1))  # noqa: E731
    found = fit_mode(("a",), {"a": Uniform(0.0, 1.0)}, slope, values, {}, 1)
    assert abs(found.log_evidence - math.log((1 - math.exp(-40.0)) / 40.0)) < 4 * found.evidence_se + 0.02


def test_evidence_of_two_modes_far_apart_is_the_closed_form():
    """A climb reaches one of them; the weights alone would not tell of the other."""
    scale = 0.02
    centres, heights = torch.tensor([-0.7, 0.6]).double(), torch.tensor([0.0, 1.0]).double()

    def slope(theta):
        each = -0.5 * ((theta - centres) / scale).square() + heights
        share = torch.softmax(each, dim=1)
        return torch.logsumexp(each, 1)[:, None], (share * (centres - theta) / scale**2).sum(dim=1)[:, None, None]

    values = lambda theta: (slope(theta)[0].sum(dim=1), slope(theta)[0].sum(dim=1))  # noqa: E731
    found = fit_mode(("a",), {"a": Uniform(-1.0, 1.0)}, slope, values, {"a": -0.7}, 1)
    wanted = math.log(scale * math.sqrt(2 * math.pi) / 2) + math.log(1 + math.e)
    higher = math.log(scale * math.sqrt(2 * math.pi) / 2) + 1.0
    assert higher - 0.1 < found.log_evidence < wanted + 0.3
    assert abs(found.values["a"] - 0.6) < 0.01


def test_early_choices_alone_are_a_shorter_table(animals):
    count = torch.tensor([100, 150, 1, 60, 149, 99])
    policy = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), BANDIT)
    theta = torch.rand(20, len(policy.names), generator=torch.Generator().manual_seed(0)) * 0.3
    theta[:, policy.names.index("w")] *= -1
    every, earlier = policy.likelihood(animals).log_prob_and_before(theta, count)
    assert torch.allclose(every, policy.likelihood(animals).log_prob(theta))
    t = animals.trajectory
    kept = torch.arange(150) < count[:, None]
    fields = {name: torch.where(kept, value, math.nan) for name, value in t.per_trial.items()}
    shorter = sr.Trials(
        animals.learners,
        type(t)(t.status, torch.where(kept, animals.trial_types, -1), fields),
        None,
        animals.meaning,
    )
    assert torch.allclose(earlier, policy.likelihood(shorter).log_prob(theta))
    slow = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), BANDIT, engine="torch").likelihood(animals)
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(slow.log_prob_and_before(theta, count), (every, earlier), strict=True)
    )


def test_a_rule_that_changes_nothing_is_a_coin(animals):
    problem = sr.ChoiceProblem(animals, GRAMMAR, nuisance=("lapse",))
    found = problem.score(problem.grammar.root, {})
    assert np.isclose(found.log_evidence, float(animals.num_trials.sum()) * math.log(0.5), atol=0.1)


def test_equal_terms_are_taken_once(animals):
    grammar = sr.RuleGrammar(["c", "x", "w", "r"], degree=3, max_terms=2)
    problem = sr.ChoiceProblem(animals, grammar)
    assert grammar.contains(sr.parse_structure("c x r"))
    assert not problem.grammar.contains(sr.parse_structure("c x r"))
    # rewards are 0 or 1, and there is no stimulus: the text of an equal rule is read as the one that is kept
    assert str(problem.grammar.parse("c x r + w r^2")) == str(sr.parse_structure("c r + w r"))
    more = sr.RuleGrammar(["c", "y", "w", "r", "rd"], degree=2, functions=("relu", "step"), thresholds=(0.0, 2.0))
    alike = sr.ChoiceProblem(animals, more).grammar
    for one, other in (("c y", "c w"), ("c relu(r)", "c r"), ("c step(r)", "c r"), ("y", "w")):
        assert alike.parse(one) == alike.parse(other)
    assert alike.parse("c rd") != alike.parse("c r")
    with pytest.raises(ValueError, match="none of the grammar"):  # rewards are never above 2
        alike.parse("c relu(r - 2)")
    with pytest.raises(ValueError, match="moves all options alike"):
        problem.grammar.parse("r")


# Searches -------------------------------------------------------------------------------------------------


def test_particles_follow_the_enumerated_posterior():
    grammar = sr.RuleGrammar(["c", "d", "w", "r"], degree=2, max_terms=3)
    assert 150 < grammar.count() < 300
    every = list(grammar.structures())
    log = np.array([grammar.log_prob(s) + overlap(s) for s in every])
    wanted = np.exp(log - log.max()) / np.exp(log - log.max()).sum()
    found = sr.search(sr.OwnProblem(overlap, grammar, evidence=True), method="smc", budget=1000, seed=1)
    exact = np.array([found.posterior.get(s, 0.0) for s in every])
    assert 0.5 * np.abs(exact - wanted).sum() < 0.05
    # particles themselves: several searches together, since 400 of them leave a chance part
    shares = np.mean(
        [
            [run.shares.get(s, 0.0) for s in every]
            for run in (
                sr.search(sr.OwnProblem(overlap, grammar, evidence=True), method="smc", budget=1000, seed=k)
                for k in range(20)
            )
        ],
        axis=0,
    )
    assert 0.5 * np.abs(shares - wanted).sum() < 0.05


def test_both_methods_find_the_rule(problem):
    puct = sr.search(problem, budget=120, seed=0)
    smc = sr.search(problem, method="smc", budget=400, seed=0)
    truth = sr.parse_structure("c rd + w")
    assert smc.most_probable == truth or smc.posterior[truth] > 0.2
    assert truth in puct.posterior
    assert puct.nodes[0].structure == problem.grammar.root
    table = puct.table()
    assert list(table["held_out"]) == sorted(table["held_out"], reverse=True)
    front = puct.pareto()
    assert list(front["held_out"]) == sorted(front["held_out"])
    assert list(front["complexity"]) == sorted(set(front["complexity"]))
    assert math.isclose(sum(smc.posterior.values()), 1.0)
    assert max(smc.term_probabilities().values()) <= 1.0 + 1e-9
    assert str(puct.best) in puct.answer
    assert "<svg" not in puct._repr_html_()


def tree(found):
    return [(str(n.structure), n.parent, n.round, n.score.held_out) for n in found.nodes]


@pytest.mark.parametrize("method", ["puct", "smc"])
def test_kills_change_nothing(method, tmp_path, monkeypatch):
    """Five kills at odd moments, one of them within a line: the same tree as without any."""
    grammar = sr.RuleGrammar(["c", "d", "w", "rd"], degree=2, max_terms=3)
    make = lambda: sr.OwnProblem(overlap, grammar, evidence=True)  # noqa: E731
    whole = sr.search(make(), method=method, budget=150, seed=5)
    add, count = Record.add, [0]

    def killed(self, new):
        count[0] += 1
        if count[0] % 3 == 0:
            raise KeyboardInterrupt
        add(self, new)

    monkeypatch.setattr(Record, "add", killed)
    for k in range(5):
        with pytest.raises(KeyboardInterrupt):
            sr.search(make(), method=method, budget=150, seed=5, folder=tmp_path / "s")
        if k == 2:
            with (tmp_path / "s" / "nodes.jsonl").open("ab") as file:
                file.write(b'{"nodes": [{"struct')
    monkeypatch.setattr(Record, "add", add)
    resumed = sr.search(make(), method=method, budget=150, seed=5, folder=tmp_path / "s")
    assert tree(resumed) == tree(whole)
    assert resumed.proposals == whole.proposals
    assert resumed.shares == whole.shares
    again = sr.search(make(), method=method, budget=150, seed=5, folder=tmp_path / "s")
    assert tree(again) == tree(whole)


def test_workers_change_nothing(problem):
    one = sr.search(problem, budget=34, seed=2)
    two = sr.search(problem, budget=34, seed=2, workers=2)
    assert tree(one) == tree(two)


def test_a_larger_budget_goes_on(tmp_path):
    problem = sr.OwnProblem(overlap, GRAMMAR)
    small = sr.search(problem, budget=33, folder=tmp_path, seed=1)
    large = sr.search(problem, budget=65, folder=tmp_path, seed=1)
    assert tree(large)[:33] == tree(small)
    assert len(large.nodes) == 65


def test_a_small_grammar_ends_by_itself():
    grammar = sr.RuleGrammar(["c", "r"], degree=2, max_terms=2)
    found = sr.search(sr.OwnProblem(overlap, grammar), budget=500)
    assert len(found.nodes) == grammar.count()


# Proposers --------------------------------------------------------------------------------------------------


def test_a_proposer_of_text_is_parsed_and_never_executed(tmp_path, monkeypatch):
    target = tmp_path / "made"
    said = iter(
        ["c r", f"__import__('pathlib').Path({str(target)!r}).touch()", "c r + w", None, "x.real", PLANTED] * 50
    )
    seen = []

    def proposer(parent, score, history, rng):
        assert isinstance(parent, Structure)
        assert isinstance(score, float)
        seen.append(list(history))
        return next(said)

    found = sr.search(sr.OwnProblem(overlap, GRAMMAR), proposer=proposer, budget=3)
    assert {str(n.structure) for n in found.nodes} >= {"0", "c r"}
    assert found.best == PLANTED
    assert not target.exists()
    assert any("__import__" in reason for reason in found.refused)
    assert seen[0] == []


def test_a_proposer_s_own_error_is_said_and_nothing_is_lost(tmp_path):
    def proposer(parent, score, history, rng):
        if len(history) >= 16:
            raise RuntimeError("no answer from the model")
        return GRAMMAR.sample(rng)

    problem = sr.OwnProblem(overlap, GRAMMAR)
    with pytest.raises(ValueError, match="raised RuntimeError: no answer from the model"):
        sr.search(problem, proposer=proposer, budget=100, folder=tmp_path)
    later = sr.search(problem, budget=60, folder=tmp_path)
    assert len(later.nodes) == 60


def test_a_score_that_is_no_number_is_last():
    def score(structure):
        return math.nan if len(structure) == 1 else overlap(structure)

    found = sr.search(sr.OwnProblem(score, GRAMMAR), budget=60)
    assert math.isfinite(found.table()["held_out"].iloc[0])
    assert len(found.best) != 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "greedy"}, "method"),
        ({"method": "smc"}, "knows its evidence"),
        ({"budget": 0}, "budget"),
        ({"workers": 0}, "workers"),
        ({"proposer": lambda *a: 3}, "Structure, text or None"),
    ],
)
def test_a_search_says_what_is_wrong(options, said):
    with pytest.raises(ValueError, match=said):
        sr.search(sr.OwnProblem(lambda s: 0.0, GRAMMAR), **options)


def test_a_score_must_be_a_number():
    with pytest.raises(ValueError, match="must be a number"):
        sr.search(sr.OwnProblem(lambda s: "good", GRAMMAR), budget=2)


def test_a_folder_of_another_search_is_kept(tmp_path):
    sr.search(sr.OwnProblem(overlap, GRAMMAR), budget=5, folder=tmp_path)
    with pytest.raises(ValueError, match="another search: seed"):
        sr.search(sr.OwnProblem(overlap, GRAMMAR), budget=5, folder=tmp_path, seed=1)


def test_a_damaged_folder_is_said(tmp_path):
    sr.search(sr.OwnProblem(overlap, GRAMMAR), budget=5, folder=tmp_path)
    (tmp_path / "nodes.jsonl").write_bytes(b'{"nodes": 3}\n')
    with pytest.raises(ValueError, match="is damaged"):
        sr.search(sr.OwnProblem(overlap, GRAMMAR), budget=5, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"grammar": sr.RuleGrammar(["pre"], target="trace")}, "policy"),
        ({"coefficients": (1.0, -1.0)}, "coefficients"),
        ({"decay": (0.0,)}, "decay"),
        ({"nuisance": ("luck",)}, "nuisance"),
        ({"baseline": "median"}, "baseline"),
    ],
)
def test_a_problem_of_choices_says_what_is_wrong(options, said, animals):
    with pytest.raises(ValueError, match=said):
        sr.ChoiceProblem(animals, **options)


def test_figures_draw_what_there_is(problem):
    found = sr.search(problem, budget=40, seed=0)
    ax = found.figure()
    assert ax.get_ylabel() == "held-out score"
    labels = [t.get_text() for t in ax.texts]
    assert str(found.best) in labels
    front = found.pareto_figure()
    assert front.get_xlabel() == "complexity"


# Folders that something else wrote to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [json.dumps({"nodes": [], "proposals": []})],
        lambda lines: [lines[0], lines[1].replace('"parent": 0', '"parent": 999')],
        lambda lines: [lines[0], lines[1].replace('"parent": 0', '"parent": -5')],
        lambda lines: [lines[0], lines[1].replace('"node": 1', '"node": "x"')],
        lambda lines: [lines[0].replace('"held_out": ', '"held_out": 1e999, "was": ')],
        lambda lines: ["3", *lines[1:]],
    ],
)
def test_a_folder_that_is_not_as_it_was_written_is_refused(tmp_path, change):
    problem = sr.OwnProblem(overlap, GRAMMAR, evidence=True)
    sr.search(problem, method="puct", budget=60, folder=tmp_path / "one")
    path = tmp_path / "one" / "nodes.jsonl"
    lines = change(path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="is damaged"):
        sr.search(problem, method="puct", budget=80, folder=tmp_path / "one")


def test_structures_of_proposers_are_put_in_order():
    def propose(parent, score, history, rng):
        new = GRAMMAR.terms[int(rng.integers(len(GRAMMAR.terms)))]
        return Structure((new, *parent.terms, new))

    found = sr.search(sr.OwnProblem(overlap, GRAMMAR, evidence=True), proposer=propose, budget=40)
    assert len({n.structure for n in found.nodes}) == len({str(n.structure) for n in found.nodes}) == len(found.nodes)
    assert all(GRAMMAR.parse(str(n.structure)) == n.structure for n in found.nodes)
    odd = iter([Structure([GRAMMAR.terms[0]]), Structure(("c",)), Structure((([1],),))] * 200)
    refused = sr.search(sr.OwnProblem(overlap, GRAMMAR), proposer=lambda *_: next(odd), budget=10).refused
    assert len(refused) <= 2


def test_a_score_of_minus_infinity_is_the_same_again(tmp_path):
    def score(structure):
        return -math.inf if len(structure) > 1 else 1.0

    problem = sr.OwnProblem(score, GRAMMAR, evidence=True)
    first = sr.search(problem, budget=40, folder=tmp_path / "one").table()
    again = sr.search(problem, budget=40, folder=tmp_path / "one").table()
    assert first.drop(columns="seconds").equals(again.drop(columns="seconds"))


def test_what_a_proposer_is_told():
    told = []

    def propose(parent, score, history, rng):
        told.append(list(history))
        return "import os"

    found = sr.search(sr.OwnProblem(overlap, GRAMMAR), proposer=propose, budget=10)
    assert found.ended_early
    assert "ended early" in found.answer
    assert told[-1][-1][0] == "import os"
    assert "'import'" in told[-1][-1][2]
    assert len(told) <= 5 * 4 * 16


def test_rules_that_cannot_be_computed_have_no_score(animals):
    problem = sr.ChoiceProblem(animals, GRAMMAR, nuisance=(), coefficients=(999.0, 1000.0), decay=(999.0, 1000.0))
    found = problem.score(problem.grammar.parse("c w^2 + w" if problem.grammar.degree > 2 else "w + c w"), {})
    assert found.held_out == -math.inf or found.held_out < -100


@pytest.mark.parametrize("text", ["w", "c r", "c + w", "c rd + c w", "w + c r + w rd"])
def test_evidence_with_nuisances_is_that_of_the_prior(text):
    """Few choices and flat directions, where draws about one mode would miss what lies elsewhere."""
    network = PolicyNetwork(sr.TaylorRule(["c rd", "w"]), BANDIT, nuisance=(), num_trials=60)
    few = network.animals(torch.tensor([[0.6, -0.1]]).repeat(2, 1), seed=8)
    problem = sr.ChoiceProblem(few, sr.RuleGrammar(["c", "w", "r", "rd"], degree=2))
    structure = problem.grammar.parse(text)
    found = problem.score(structure, {})
    policy = problem.simulator(structure)
    torch.manual_seed(1)
    theta = torch.stack([problem.prior(structure)[n].sample((40_000,)).double() for n in policy.names], dim=1)
    every = policy.likelihood(few).log_prob(theta).sum(dim=1)
    earlier = policy.likelihood(problem.earlier).log_prob(theta).sum(dim=1)

    def mean(log):
        share = torch.softmax(log, dim=0)
        error = math.sqrt(max(float(share.square().sum()) - 1 / len(log), 0.0))
        return float(torch.logsumexp(log, 0)) - math.log(len(log)), error

    (wanted, error), (before, other) = mean(every), mean(earlier)
    assert abs(found.log_evidence - wanted) < 4 * math.hypot(error, found.evidence_se) + 0.02
    assert abs(found.held_out - (wanted - before)) < 4 * math.hypot(error, found.evidence_se, other) + 0.3
