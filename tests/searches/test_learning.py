"""Structures by whether their rules make networks learn: shares against simulations of one's own."""

import math

import pytest

import sbirules as sr
from sbirules.model.structures import Structure
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

TASK = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
GRAMMAR = sr.RuleGrammar(target="trace", degree=6, most_power=3, max_terms=2)


def network(**changes):
    return RateRNN(sr.PolynomialRule(degree=1), TASK, **{"num_units": 16, "num_trials": 60, **changes})


def test_the_evidence_is_the_share_of_rules_that_satisfy_the_constraints():
    structure = GRAMMAR.parse("pre^3 deviation^3 - deviation weight")
    problem = sr.LearningProblem(network(), {"final_error": (0, 0.9)}, GRAMMAR, rules=400, seed=3)
    found = problem.score(structure, {})
    family = sr.TraceExpression("deviation weight + pre^3 deviation^3")
    simulator = RateRNN(family, TASK, num_units=16, num_trials=60)
    store = sr.simulate(simulator, uniform(family, -1, 1), 1500, seed=11, num_workers=1)
    done = sr.Constraints({"final_error": (0, 0.9)}).satisfied(store.x, store.summary_names).double()
    share, error = float(done.mean()), float(done.std() / math.sqrt(len(done)))
    own = math.exp(found.log_evidence)
    assert abs(own - share) < 4 * math.hypot(error, found.evidence_se * own)
    assert set(found.values) == set(family.names)
    again = problem.score(structure, {})
    assert (again.log_evidence, again.held_out, again.values) == (found.log_evidence, found.held_out, found.values)


def test_what_all_or_none_satisfy():
    every = sr.LearningProblem(network(), {"mean_rate": (None, None)}, GRAMMAR, rules=20)
    none = sr.LearningProblem(network(), {"final_error": (-2.0, -1.0)}, GRAMMAR, rules=20)
    for structure in (GRAMMAR.root, GRAMMAR.parse("pre deviation")):
        assert math.isclose(every.score(structure, {}).log_evidence, math.log(20.5 / 21))
        assert every.score(structure, {}).held_out == 1.0
        assert math.isclose(none.score(structure, {}).log_evidence, math.log(0.5 / 21))
        assert none.score(structure, {}).held_out == 0.0
    assert every.score(GRAMMAR.root, {}).values == {}


def test_rules_are_tried_again_in_the_conditions_held_out():
    # after a warm-up without plasticity that never ends nothing is learned
    problem = sr.LearningProblem(
        network(summaries=["weight_change"]),
        {"weight_change": (1e-6, None)},
        GRAMMAR,
        held_out=network(summaries=["weight_change"], warm_up=10_000),
        rules=20,
    )
    found = problem.score(GRAMMAR.parse("pre deviation"), {})
    assert math.exp(found.log_evidence) > 0.5
    assert found.held_out == 0.0


def test_a_search_over_traces_goes_on_in_its_folder(tmp_path):
    problem = sr.LearningProblem(network(), {"final_error": (0, 0.9)}, GRAMMAR, rules=16)
    first = sr.search(problem, budget=8, folder=tmp_path / "one")
    again = sr.search(problem, budget=12, folder=tmp_path / "one")
    whole = sr.search(problem, budget=12)
    assert [n.structure for n in again.nodes][:8] == [n.structure for n in first.nodes]
    assert len(again.nodes) == len(whole.nodes) == 12
    with pytest.raises(ValueError, match="another search"):
        sr.search(
            sr.LearningProblem(network(num_trials=61), {"final_error": (0, 0.9)}, GRAMMAR, rules=16),
            folder=tmp_path / "one",
        )


def test_bad_arguments_get_a_sentence():
    with pytest.raises(ValueError, match='target "trace"'):
        sr.LearningProblem(network(), {"learned": (1, 1)}, sr.RuleGrammar(["c", "w"]))
    with pytest.raises(ValueError, match="learnt"):
        sr.LearningProblem(network(), {"learnt": (1, 1)}, GRAMMAR)
    with pytest.raises(ValueError, match="rules"):
        sr.LearningProblem(network(), {"learned": (1, 1)}, GRAMMAR, rules=1)
    with pytest.raises(ValueError, match="coefficients"):
        sr.LearningProblem(network(), {"learned": (1, 1)}, GRAMMAR, coefficients=(1.0, -1.0))
    other = network().with_family(sr.TraceExpression("pre deviation"))
    assert other.settings == network().settings
    assert isinstance(sr.LearningProblem(other, {"learned": (1, 1)}).grammar.root, Structure)
