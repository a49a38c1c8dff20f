"""Rule families: names, equations, traces."""

import math

import pytest
import torch

from sbirules import Coefficient, Covariance, PolynomialRule, ThreeFactorRule


class Oja(ThreeFactorRule):
    coefficients = (Coefficient("hebb", "r_j d_i"), Coefficient("oja", "d_i^2 w_ij"))

    def drive(self, theta, rate, deviation, weight):
        return theta["hebb"] * rate * deviation + theta["oja"] * deviation**2 * weight


def test_degree_2_has_the_nine_monomials_of_eq_4():
    assert PolynomialRule(degree=2).names == (
        "theta_00",
        "theta_01",
        "theta_02",
        "theta_10",
        "theta_11",
        "theta_12",
        "theta_20",
        "theta_21",
        "theta_22",
    )
    assert PolynomialRule(degree=3).dim == 16
    assert PolynomialRule(degree=2, weight_degree=1).dim == 18


def test_terms_and_time_constants_become_columns_in_a_fixed_order():
    family = PolynomialRule(degree=3, terms=["theta_33", "theta_11"], infer=["tau_w", "tau_e"])
    assert family.names == ("theta_11", "theta_33", "tau_e", "tau_w")
    theta, tau_e, tau_w = family.split(torch.tensor([[1.0, 2.0, 100.0, 50.0]]))
    assert theta["theta_33"].item() == 2.0
    assert (tau_e.item(), tau_w.item()) == (100.0, 50.0)


@pytest.mark.parametrize(
    "options",
    [
        dict(degree=2),
        dict(degree=3),
        dict(degree=2, weight_degree=2),
        dict(degree=3, terms=["theta_00", "theta_32"]),
        dict(degree=1, terms=["theta_00"]),
        dict(degree=2, terms=["theta_20"]),
        dict(degree=2, weight_degree=1, terms=["theta_11_w1"]),
    ],
)
@pytest.mark.parametrize("decays", [False, True])
def test_trace_as_products_equals_the_stepped_trace(options, decays):
    family = PolynomialRule(**options)
    torch.manual_seed(0)
    b, t, n = 3, 11, 5
    rate, deviation = torch.rand(b, t, n, dtype=torch.float64) * 2 - 1, torch.randn(b, t, n, dtype=torch.float64)
    weight = torch.randn(b, n, n, dtype=torch.float64)
    theta, _, _ = family.split(torch.randn(b, family.dim, dtype=torch.float64))
    decay = torch.tensor([0.9, 0.5, 1.0], dtype=torch.float64) if decays else None
    fast = family.trace(theta, rate, deviation, weight, 5.0, decay)
    stepped = ThreeFactorRule.trace(family, theta, rate, deviation, weight, 5.0, decay)
    torch.testing.assert_close(fast, stepped, rtol=1e-12, atol=1e-12)


def test_trace_is_differentiable():
    family = PolynomialRule(degree=2)
    raw = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    rate, deviation = torch.rand(2, 4, 3, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    weight = torch.randn(2, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda r: family.trace(family.split(r)[0], rate, deviation, weight, 1.0, None), (raw,)
    )


def test_describe_prints_the_equation_with_its_numbers():
    family = PolynomialRule(degree=3, terms=["theta_11", "theta_33"], infer=["tau_e"])
    text = family.describe([0.25, -0.8, 120.0])
    assert "0.25 r_j (xbar_i - x_i) - 0.8 r_j^3 (xbar_i - x_i)^3 - e_ij / tau_e" in text
    assert "tau_e = 120 ms" in text
    latex = family.describe([0.25, -0.8, 120.0], latex=True)
    assert r"0.25\,r_j\,(\bar x_i - x_i)" in latex
    assert r"\tau_e = 120" in latex
    assert "de_ij/dt = 0\n" in PolynomialRule(degree=1).describe([0.0, 0.0, 0.0, 0.0])
    assert "hebb" not in Oja().describe([1.0, -2.0])
    assert "r_j d_i - 2 d_i^2 w_ij" in Oja().describe([1.0, -2.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PolynomialRule(degree=0), "degree"),
        (lambda: PolynomialRule(degree=2.5), "degree"),
        (lambda: PolynomialRule(degree=10), "at most 9"),
        (lambda: PolynomialRule(degree=2, terms=["theta_33"]), "theta_33"),
        (lambda: PolynomialRule(degree=2, terms=[]), "terms"),
        (lambda: PolynomialRule(degree=2, tau_e=-1.0), "tau_e"),
        (lambda: PolynomialRule(degree=2, tau_w=0.5), "tau_w"),
        (lambda: PolynomialRule(degree=2, tau_e=math.nan), "tau_e"),
        (lambda: PolynomialRule(degree=2, infer=["tau_x"]), "did you mean"),
        (lambda: PolynomialRule(degree=1).describe([1.0]), r"\(batch, 4\)"),
        (lambda: Coefficient("a b"), "identifier"),
        (lambda: Coefficient("a", low=1.0, high=0.0), "low must be less than high"),
    ],
)
def test_bad_input_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_covariance_rule_follows_the_covariance_of_its_inputs_whatever_their_mean():
    """Dayan & Abbott 2001, Eq. 8.10: over inputs of covariance C a linear unit's weights change by eta C w on average."""
    rng = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    pre = 3.0 + torch.randn(200_000, 1, 2, generator=rng) @ mix.T
    weight = torch.tensor([0.7, -0.2])
    post = (pre * weight).sum(dim=2, keepdim=True)
    theta = {"eta": torch.tensor(0.5), "tau_m": torch.tensor(100.0)}
    mean = post.mean() * torch.ones_like(post)
    change = Covariance().change(theta, pre=pre, post=post, mean=mean).mean(dim=0)[0]
    torch.testing.assert_close(change, 0.5 * (mix @ mix.T) @ weight, atol=0.01, rtol=0)
    drift = Covariance().drift(theta, pre=pre, post=post, mean=torch.zeros_like(post))["mean"]
    torch.testing.assert_close(drift, post / 100.0)
