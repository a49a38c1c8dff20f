"""Sums of products: how terms are written and named, what they add up to, and what is refused."""

import itertools

import numpy as np
import pytest
import torch

from sbirules.model.rules import FAMILIES, VARIABLES, PolicyRule, TaylorRule

ORDER = ("c", "d", "x", "y", "w", "r", "rd")


def refused(match):
    return pytest.raises(ValueError, match=match)


def test_variables_are_those_of_a_synapse_of_a_policy():
    assert tuple(VARIABLES) == ORDER


@pytest.mark.parametrize(
    ("term", "name", "back"),
    [
        ("x rd", "x_rd", "x rd"),
        ("c x r", "c_x_r", "c x r"),
        ("d x rd", "d_x_rd", "d x rd"),
        ("w", "w", "w"),
        ("x^2 rd", "x2_rd", "x^2 rd"),
        ("rd x", "x_rd", "x rd"),
        ("  w   y^2 ", "y2_w", "y^2 w"),
        ("x x", "x2", "x^2"),
        ("x x^2 r", "x3_r", "x^3 r"),
        ("c c x", "c_x", "c x"),
        ("c^5 r", "c_r", "c r"),
        ("r rd", "r_rd", "r rd"),
        ("x^1", "x", "x"),
        ("x^0 w", "w", "w"),
        ("1", "constant", "1"),
    ],
)
def test_a_coefficient_is_named_after_its_term(term, name, back):
    rule = TaylorRule([term])
    assert rule.names == (name,)
    assert rule.terms == (back,)
    assert TaylorRule(rule.terms).names == rule.names  # as it is written, it is read


def test_without_terms_it_is_reinforce_with_forgetting():
    assert TaylorRule().names == ("d_x_rd", "w")


def test_terms_stay_in_the_order_in_which_they_are_given():
    assert TaylorRule(["w", "c x r", "d x rd"]).names == ("w", "c_x_r", "d_x_rd")


def test_powers_of_variables_up_to_two_are_the_published_27_monomials():
    rule = TaylorRule(variables=["x", "rd", "w"], degree=2)
    powers = {(p.get("x", 0), p.get("rd", 0), p.get("w", 0)) for p in rule.powers}
    assert powers == set(itertools.product(range(3), repeat=3))
    assert rule.dim == 27


@pytest.mark.parametrize(
    ("variables", "degree", "dim"), [(["c", "x"], 2, 6), (["c"], 3, 2), (["d", "y"], 1, 4), (ORDER, 1, 128)]
)
def test_the_square_of_being_chosen_is_being_chosen(variables, degree, dim):
    rule = TaylorRule(variables=variables, degree=degree)
    assert rule.dim == dim
    assert max(p.get("c", 0) for p in rule.powers) <= 1


def test_exponents_are_the_powers_in_the_order_of_variables():
    rule = TaylorRule(["d^2 x rd", "c w^3", "y r"])
    assert rule.exponents.tolist() == [[0, 2, 1, 0, 0, 0, 1], [1, 0, 0, 0, 3, 0, 0], [0, 0, 0, 1, 0, 1, 0]]


def test_update_is_the_sum_of_products():
    rng = np.random.default_rng(0)
    powers = [{n: int(k) for n, k in zip(ORDER, row, strict=True) if k} for row in rng.integers(0, 3, size=(9, 7))]
    powers = [p | ({"c": 1} if "c" in p else {}) for p in powers]
    rule = TaylorRule([" ".join(f"{n}^{k}" for n, k in p.items()) for p in powers])
    batch, options, features = 3, 2, 4
    c = np.eye(options)[rng.integers(options, size=batch)]
    d, y = rng.normal(size=(2, batch, options))
    x, w = rng.normal(size=(batch, features)), rng.normal(size=(batch, options, features))
    r, rd = rng.normal(size=(2, batch))
    theta = rng.normal(size=(batch, len(powers)))
    wanted = np.zeros((batch, options, features))
    for b, i, j, (k, p) in itertools.product(range(batch), range(options), range(features), enumerate(powers)):
        seen = {"c": c[b, i], "d": d[b, i], "x": x[b, j], "y": y[b, i], "w": w[b, i, j], "r": r[b], "rd": rd[b]}
        wanted[b, i, j] += theta[b, k] * np.prod([seen[n] ** e for n, e in p.items()])
    option, feature, one = (lambda v: v[:, :, None]), (lambda v: v[:, None]), (lambda v: v[:, None, None])
    seen = {"c": option(c), "d": option(d), "y": option(y), "x": feature(x), "w": w, "r": one(r), "rd": one(rd)}
    got = rule.update(rule.columns(torch.tensor(theta)), **{n: torch.tensor(v) for n, v in seen.items()})
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_the_rate_of_the_expectation_can_be_a_coefficient():
    rule = TaylorRule(["x rd", "c x r"], infer=["rbar_rate"])
    assert rule.names == ("x_rd", "c_x_r", "rbar_rate")
    assert rule.bounds["rbar_rate"] == (0.0, 1.0)
    assert not next(p for p in rule.parameters if p.name == "rbar_rate").may_vanish
    assert next(p for p in rule.parameters if p.name == "x_rd").may_vanish


def test_a_rule_reads_as_an_equation():
    rule = TaylorRule(["d x rd", "w"])
    assert rule.describe([0.5, -0.1]) == "dw_ij = 0.5 d_i x_j (r - rbar) - 0.1 w_ij"
    assert r"\Delta w_{ij}" in rule.describe([0.5, -0.1], latex=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "an exponential mean of rewards, at a rate of 0.1 per trial"),
        ({"rate": 0.25}, "at a rate of 0.25 per trial"),
        ({"baseline": "last", "last": 7}, "the mean of the last 7 rewards"),
        ({"baseline": "none"}, "Rewards count as they are"),
    ],
)
def test_words_say_what_is_expected(options, said):
    assert said in TaylorRule(["c x rd"], **options).text(torch.tensor([0.5])).words


def test_words_say_the_rate_that_was_inferred():
    rule = TaylorRule(["c x rd"], infer=["rbar_rate"])
    assert "(rbar_rate) = 0.37 per trial" in rule.text(torch.tensor([0.5, 0.37])).words


def test_config_tells_rules_apart_and_brings_them_back():
    settings = {"baseline": "last", "last": 5, "rate": 0.3}
    config = TaylorRule(["c x r", "w"], **settings).config()
    assert config["terms"] == ["c x r", "w"]
    assert (config["baseline"], config["last"], config["rate"], config["infer"]) == ("last", 5, 0.3, [])
    assert (
        TaylorRule(config["terms"], **{n: config[n] for n in ("baseline", "last", "rate", "infer")}).config() == config
    )
    assert TaylorRule(["c x r", "w"]).config() != config


def test_studies_know_it_by_name():
    assert FAMILIES["taylor"] is TaylorRule
    assert issubclass(TaylorRule, PolicyRule)


def test_what_is_passed_in_is_left_as_it_is():
    terms = ["rd x", "c^2 w"]
    TaylorRule(terms)
    assert terms == ["rd x", "c^2 w"]


@pytest.mark.parametrize("term", ["q x", "x*r", "x^", "x^-1", "x^1.5", "X r", "xr", "2 x", "x ^2", "1 x", "x + r"])
def test_what_is_no_product_is_refused_with_the_factor(term):
    with refused(r'terms must be products of c, d, x, y, w, r, rd, such as "c x r" or "x\^2 rd", got '):
        TaylorRule([term])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"terms": []}, "terms must hold at least one product"),
        ({"terms": [""]}, "terms must be products such as .* got an empty one"),
        ({"terms": ["  "]}, "terms must be products such as .* got an empty one"),
        ({"terms": "x r"}, "terms"),
        ({"terms": [1]}, "terms"),
        ({"terms": ["x r", "r x"]}, "terms must differ, but x_r comes twice"),
        ({"terms": ["c x", "c^2 x"]}, "terms must differ, but c_x comes twice"),
        ({"terms": ["x^7"]}, r"powers in terms must be at most 6, got x\^7 in 'x\^7'"),
        ({"terms": ["x^4 x^3"]}, r"powers in terms must be at most 6, got x\^7"),
        ({"terms": ["x r"], "variables": ["x"]}, "give terms or variables, not both"),
        ({"variables": ["x", "v"]}, "variables: 'v' is not known"),
        ({"variables": ["x"], "degree": 0}, "degree"),
        ({"variables": ["x"], "degree": 7}, "degree"),
        ({"variables": ["x"], "degree": 1.5}, "degree"),
        ({"baseline": "mean"}, "baseline: 'mean' is not known"),
        ({"rate": 1.2}, "rate"),
        ({"rate": -0.1}, "rate"),
        ({"last": 0}, "last"),
        ({"infer": ["tau"]}, "infer: 'tau' is not known"),
        ({"infer": ["rbar_rate"], "baseline": "none"}, "infer = .* needs baseline = \"exponential\", got 'none'"),
        ({"infer": ["rbar_rate"], "baseline": "last"}, "infer = .* needs baseline = \"exponential\", got 'last'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, match):
    with refused(match):
        TaylorRule(**arguments)


def test_variables_without_any_are_refused():
    """All that is left would be a constant."""
    with refused("variables"):
        TaylorRule(variables=[])


def test_a_rule_outside_of_its_bounds_is_found():
    rule = TaylorRule(["c x rd"], infer=["rbar_rate"])
    rule.check_raw(torch.tensor([[5.0, 0.5]]))
    with refused(r"rbar_rate must lie in \[0, 1\], got 1.5"):
        rule.check_raw(torch.tensor([[5.0, 1.5]]))


def test_a_rule_of_ones_own_must_name_its_coefficients():
    class Nameless(PolicyRule):
        def update(self, theta, **seen):
            return seen["w"]

    with refused("Nameless.coefficients must list at least one Coefficient"):
        Nameless()
