"""Terms of a user's own family read as mathematics, whatever letters they are written in."""

import re

import pytest
import torch
from latex2mathml.converter import convert

import sbirules as sr

TERMS = {
    "r_j d_i": r"r_{j}\,d_{i}",
    "d_i^2 w_ij": r"d_{i}^{2}\,w_{ij}",
    "r_j^3 (xbar_i - x_i)^3": r"r_{j}^{3}\,(\bar x_{i} - x_{i})^{3}",
    "dopamine * KC": r"\mathrm{dopamine}\,\mathrm{KC}",
    "max(0, theta_1)": r"\mathrm{max}(0,\,\theta_{1})",
    "x1 + y_2,k": "x_{1} + y_{2,k}",
    "": "",
    "x^-2 + y**2": "x^{-2} + y^{2}",
    "x^(a+b) z_{ij}": r"x^{a+b}\,z_{ij}",
    "theta^i Alpha omegahat": r"\theta^{i}\,\mathrm{Alpha}\,\hat \omega",
}
LONG = ["a" * 100_000 + "1b", "bar" * 30_000, "x" + " " * 100_000 + "y", "(" * 300, "^(" * 300]
ODD = [
    r"50 % of \R $ & #",
    "a_{b}",
    "^2",
    "é ü",
    "x^(",
    "x^--2",
    "((",
    "x^",
    "_",
    "\\",
    "a\\b",
    "{}",
    "x__y",
    "1e-3 r",
    "r'",
    '<b>"',
]


@pytest.mark.parametrize(("term", "wanted"), TERMS.items())
def test_plain_terms_become_latex(term, wanted):
    assert sr.Coefficient("a", term).term_tex == wanted
    assert sr.Coefficient("a", term, latex="x").term_tex == "x"


@pytest.mark.parametrize("term", ODD)
def test_odd_terms_do_no_harm(term):
    shown = convert(sr.Coefficient("a", term).term_tex)
    kept = re.sub(r"[^A-Za-z0-9é ü]", "", re.sub(r"<[^>]+>|&[^;]+;", "", shown)).replace(" ", "")
    assert kept == re.sub(r"[^A-Za-z0-9é ü]", "", term).replace(" ", "")


@pytest.mark.parametrize("term", LONG, ids=range(len(LONG)))
def test_endless_terms_take_no_time(term):
    assert len(sr.Coefficient("a", term).term_tex) < 5000


def test_a_users_family_has_an_equation():
    class Own(sr.ThreeFactorRule):
        coefficients = (sr.Coefficient("hebb", "r_j d_i"), sr.Coefficient("decay", "d_i^2 w_ij"))

        def drive(self, theta, rate, deviation, weight):
            return theta["hebb"] * rate * deviation + theta["decay"] * deviation**2 * weight

    text = Own().text(torch.tensor([0.5, -0.25]))
    assert r"\mathrm{decay}\,d_{i}^{2}\,w_{ij}" in text.equations[0]
    assert text.rule[1:3] == (r" 0.5\,r_{j}\,d_{i}", r"- 0.25\,d_{i}^{2}\,w_{ij}")
    assert r"0.5\,r_{j}\,d_{i} - 0.25\,d_{i}^{2}\,w_{ij}" in Own().describe([0.5, -0.25], latex=True)


def test_rules_of_spikes_name_their_own_synapses_and_terms():
    class Homeostatic(sr.SpikeRule):
        of_synapse = (
            sr.Coefficient("up", "1 at pre", symbol="a"),
            sr.Coefficient("down", "x_post w at post", symbol="b"),
            sr.Coefficient("extra", "x_pre", symbol="c"),
        )

    words = Homeostatic(["XE", "II"]).text(torch.ones(6)).words
    assert r"$\mathrm{XE}$ those from input onto excitatory neurons" in words
    assert r"$\mathrm{II}$ those from inhibitory onto inhibitory neurons" in words
    assert "IE" not in words
    assert words.endswith(
        r"In $f$, $a$ multiplies $1$ at a presynaptic spike, $b$ multiplies $x_{post}\,w$ at a postsynaptic spike, "
        r"$c$ multiplies $x_{pre}$."
    )
    pairs = sr.SpikePairRule(["IE"]).text(torch.full((6,), 20.0)).words
    assert "multiplies" not in pairs  # its equations say it
