"""Structures: text there and back, canonical form, the prior against enumeration, moves against counting, hostile text."""

import collections
import itertools
import math
import string

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.model.structures import family_of
from sbirules.model.structures.expressions import term_complexity

SMALL = sr.RuleGrammar(["c", "x", "w", "r"], degree=2, max_terms=2)
RECTIFIED = sr.RuleGrammar(["d", "x", "rd"], degree=2, functions=["relu", "step"], thresholds=[0.0, 0.5], max_terms=2)
SEEN = {
    "c": torch.tensor([1.0, 0.0]).double(),
    "d": torch.tensor([0.3, -0.3]).double(),
    "x": torch.tensor([0.7, 0.2]).double(),
    "y": torch.tensor([1.1, -0.4]).double(),
    "w": torch.tensor([0.5, -0.8]).double(),
    "r": torch.tensor([1.0, 1.0]).double(),
    "rd": torch.tensor([0.6, -0.2]).double(),
}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("c r", "c r"),
        ("dw = r*c", "c r"),
        ("delta_w = 0.3 c*(r - w)", "c w + c r"),
        ("choice reward - 2e-1 weight", "w + c r"),
        ("(x + y)^2 c", "c x y + c y^2 + c x^2"),
        ("c^3 x**2 rd", "c x^2 rd"),
        ("c x rd + rd x c - w/2", "w + c x rd"),
        ("relu(x - .5) d + d relu(x-0.50)", "d relu(x - 0.5)"),
        ("step(rd) relu(rd) d", "d relu(rd)"),
        ("step(rd)^3 d", "d step(rd)"),
        ("-w", "w"),
        ("x - x", "0"),
        ("0", "0"),
        ("1 + c", "1 + c"),
    ],
)
def test_texts_have_one_canonical_form(text, canonical):
    found = sr.parse_structure(text)
    assert collections.Counter(str(found).split(" + ")) == collections.Counter(canonical.split(" + "))
    assert sr.parse_structure(str(found)) == found


def test_an_expression_is_what_its_text_computes():
    text = "0.5 c (r - y) + relu(x - 0.4)^2 d - step(rd) w"
    x = {k: v.numpy() for k, v in SEEN.items()}
    rule = sr.ExpressionRule(text)
    coefficients = {"c_r": 0.5, "c_y": -0.5, "d_relu_xm0p42": 1.0, "w_step_rd": -1.0}
    assert set(coefficients) == set(rule.names)
    wanted = 0.5 * x["c"] * (x["r"] - x["y"]) + np.maximum(x["x"] - 0.4, 0) ** 2 * x["d"] - (x["rd"] > 0) * x["w"]
    found = rule.update({k: torch.tensor(v).double() for k, v in coefficients.items()}, **SEEN)
    assert np.allclose(found, wanted)


@pytest.mark.parametrize("grammar", [SMALL, RECTIFIED], ids=["products", "functions"])
def test_every_structure_comes_back_from_its_text(grammar):
    every = list(grammar.structures())
    assert len(every) == grammar.count() == len(set(every))
    for structure in every:
        assert grammar.parse(str(structure)) == structure
        assert structure.complexity == sum(term_complexity(t) for t in structure.terms)
        assert structure.latex.count("\\theta") == len(structure)
        if structure.terms:
            assert len(set(family_of(structure).names)) == len(structure)


@pytest.mark.slow
def test_products_are_compiled_and_step_alike():
    structure = sr.parse_structure("c rd - w")
    assert isinstance(family_of(structure), sr.TaylorRule)
    task = sr.tasks.ChoiceTask(reward="bandit", probabilities=(0.8, 0.2))
    compiled = sr.simulators.PolicyNetwork(family_of(structure), task, nuisance=(), num_trials=40)
    stepped = sr.simulators.PolicyNetwork(sr.ExpressionRule(structure), task, nuisance=(), num_trials=40)
    values = {"c_rd": 0.6, "w": -0.1}
    animals = compiled.animals(torch.tensor([[values[n] for n in compiled.names]]), seed=1)
    one = compiled.log_likelihood([[values[n] for n in compiled.names]], animals)
    other = stepped.log_likelihood([[values[n] for n in stepped.names]], animals)
    assert torch.allclose(one, other)


@pytest.mark.slow
def test_a_trace_is_that_of_the_polynomial():
    rule = sr.TraceExpression("pre^2 deviation - pre deviation^2")
    beside = sr.PolynomialRule(degree=2, terms=["theta_21", "theta_12"])
    task = sr.tasks.DelayedDiscrimination(stimulus=20, delay=10, response=20)
    made = [sr.simulators.RateRNN(f, task, num_units=16, num_trials=12, warm_up=2) for f in (rule, beside)]
    values = {"pre2_deviation": 0.4, "pre_deviation2": -0.3, "theta_21": 0.4, "theta_12": -0.3}
    runs = [n.run(torch.tensor([[values[name] for name in n.family.names]]), seed=0) for n in made]
    assert torch.allclose(runs[0].error, runs[1].error, atol=1e-4)
    assert torch.allclose(runs[0].weight_change, runs[1].weight_change, rtol=1e-3)
    assert float(runs[0].weight_change.abs().min()) > 0


# The prior --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grammar", [SMALL, RECTIFIED], ids=["products", "functions"])
def test_the_prior_is_uniform_within_a_complexity_and_halves_across(grammar):
    every = list(grammar.structures())
    log = np.array([grammar.log_prob(s) for s in every])
    assert np.isclose(np.exp(log).sum(), 1.0)
    mass = collections.defaultdict(float)
    for structure, value in zip(every, log, strict=True):
        mass[structure.complexity] += math.exp(value)
    sizes = sorted(mass)
    for a, b in itertools.pairwise(sizes):
        assert np.isclose(mass[b] / mass[a], 2.0 ** (a - b))


def test_draws_follow_the_prior():
    rng = np.random.default_rng(1)
    count = 20_000
    drawn = collections.Counter(SMALL.sample(rng) for _ in range(count))
    every = list(SMALL.structures())
    wanted = np.array([math.exp(SMALL.log_prob(s)) for s in every]) * count
    found = np.array([drawn[s] for s in every])
    assert found.sum() == count
    chi = float(((found - wanted) ** 2 / wanted).sum())
    assert chi < len(every) + 5 * math.sqrt(2 * len(every))


def test_moves_are_as_probable_as_they_say():
    rng = np.random.default_rng(2)
    start = SMALL.parse("c r + w")
    count = 40_000
    found = collections.Counter(SMALL.propose(start, rng) for _ in range(count))
    assert found.pop(None) > 0
    for end, times in found.items():
        chance = math.exp(SMALL.log_proposal(start, end))
        assert abs(times - count * chance) < 6 * math.sqrt(count * chance)
    reached = sum(math.exp(SMALL.log_proposal(start, end)) for end in found)
    assert np.isclose(reached, sum(found.values()) / count, atol=0.02)


def test_moves_lead_back():
    rng = np.random.default_rng(3)
    at = SMALL.root
    for _ in range(500):
        new = SMALL.propose(at, rng)
        if new is not None:
            assert math.isfinite(SMALL.log_proposal(new, at))
            assert math.isfinite(SMALL.log_proposal(at, new))
            at = new


# What cannot be -----------------------------------------------------------------------------------------


def hostile():
    """Texts that no proposer should send: code, names with dots, depth, length, other scripts, numbers out of bounds."""
    code = [
        "__import__('os').system('true')",
        "().__class__.__bases__[0]",
        "eval('1')",
        "exec('1')",
        "open('x')",
        "lambda: c",
        "c if r else w",
        "c.real",
        "x.__class__",
        "torch.load('x')",
        "f(c)",
        "relu(relu(x))",
        "relu(x*y)",
        "relu(2 x)",
        "relu()",
        "relu x",
        "relu(c)",
        "step(1)",
        "c = r = w",
        "z = c",
        "c[0]",
        "c{0}",
        "c:r",
        "c;r",
        "c,r",
        "c\\r",
        "'c'",
        '"c"',
        "c r #",
        "@c",
        "c!",
        "~c",
        "c % r",
        "c & r",
        "c | r",
        "c < r",
        "c == r",
        "c^r",
        "c^-1",
        "c^1.5",
        "x^7",
        "x^1e9",
        "c/0",
        "c/r",
        "1/c",
        "1e999 c",
        "c * 1e308 * 1e308",
        "nan c",
        "inf c",
        "",
        "   ",
        "\n",
        "+",
        "-",
        "c +",
        "c -",
        "c *",
        "* c",
        "c ** ",
        "(c",
        "c)",
        "()",
        "((()))",
        "c ^ ^ 2",
        "0x10 c",
        "1_000 c",
        "\x00",
        "c\x00r",
        "\u0441 r",
        "с",
        "c\u200br",
        "\u202ec r",
        "ｃ r",
        "π c",
        "😀",
        "c⁴",
        "w ← c r",
        "$\\theta c$",
        "<script>alert(1)</script>",
        "c; import os",
        "`c` + `w`",
        "%s",
        "{c}",
        "{{7*7}}",
        "${c}",
        "../../etc/passwd",
        "c r\x1b[31m",
        "SELECT 1",
        "None",
        "True",
        "self",
        "theta",
        "eta c x",
        "C R",
    ]
    deep = ["(" * k + "c" + ")" * k for k in (21, 50, 500)] + [
        "(" * 900,
        "c" + ")" * 900,
        "relu(" * 300 + "x" + ")" * 300,
    ]
    long = ["c" * 10**6, "c + " * 10**5, "x " * 3000, "(c + d)" * 1000, "9" * 2001]
    many = ["(x + y + w + r + rd + 1)^6", "(x+y)^6 (w+r)^6 (rd+d)^6", "(1 + x)^6 (1 + y)^6 (1 + w)^6"]
    marks = [f"c {mark} r" for mark in string.punctuation if mark not in "+-*()"]
    names = [f"c {name}" for name in string.ascii_letters if name not in "cdxywr"]
    names += [
        f"{name} + c"
        for name in ("self", "np", "sin", "exp", "max", "tanh", "abs", "pre_", "_c", "c1", "dt", "lr", "rbar")
    ]
    names += [
        f"{name}(x) c"
        for name in ("exp", "tanh", "sigmoid", "max", "sqrt", "os", "compile", "getattr", "vars", "globals")
    ]
    return code + deep + long + many + marks + names


HOSTILE = hostile()


@pytest.mark.parametrize("k", range(len(HOSTILE)))
def test_hostile_text_gets_a_sentence(k):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the sentence is looked at below
        sr.parse_structure(HOSTILE[k])
    said = str(raised.value)
    assert type(raised.value) is ValueError
    assert 10 < len(said) < 400
    assert said.endswith(".")
    assert said.isprintable()
    assert raised.value.__cause__ is None


def test_there_are_enough_hostile_texts():
    assert len(set(HOSTILE)) >= 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variables": ["z"]}, "variables"),
        ({"variables": ["r"]}, "add c, d, y or w"),
        ({"target": "spikes"}, "target"),
        ({"degree": 0}, "degree"),
        ({"functions": ["tanh"]}, "functions"),
        ({"functions": ["relu"], "thresholds": []}, "thresholds"),
        ({"thresholds": [math.nan]}, "thresholds"),
        ({"degree": 6, "functions": ["relu", "step"], "thresholds": [0.1, 0.2, 0.3]}, "at most 5000 terms"),
        ({"max_terms": 0}, "max_terms"),
    ],
)
def test_a_grammar_says_what_is_wrong(options, said):
    with pytest.raises(ValueError, match=said):
        sr.RuleGrammar(**options)


@pytest.mark.parametrize(
    ("text", "said"),
    [("c r + w + x c", "at most 2 terms"), ("x^2 c", "none of the grammar"), ("d", "none of the grammar")],
)
def test_what_is_no_structure_of_a_grammar_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        SMALL.parse(text)


def test_marks_that_people_and_language_models_write_are_read():
    wanted = sr.parse_structure("dw = c rd - 0.1 w^2")
    for text in ("Δw = c·rd − 0.1 w²", "`c × rd - 0.1 w^2`", "```\ndw = c*rd – 0.1*w**2\n```", "dw = c rd - 0.1 w^2;"):
        assert sr.parse_structure(text) == wanted
