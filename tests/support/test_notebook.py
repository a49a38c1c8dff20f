"""What notebooks show: well-formed, escaped, readable in light and dark, and made without simulating or sampling."""

from html.parser import HTMLParser

import pandas as pd
import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.priors import correlated_normal, horseshoe, normal, spike_and_slab, uniform
from sbirules.support.notebook import ROWS, Card

FAST = {
    "classifier": sr.EnsembleSettings(members=2, hidden=8, max_epochs=3),
    "sampler": sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0),
}
VOID = {"br"}


class Outline(HTMLParser):
    """The text of a page, and whether its elements close."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.styles, self.scoped = [], [], "", 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "style", "link", "img", "iframe")
        self.styles += dict(attrs).get("style", "")
        self.scoped += tag == "th" and dict(attrs).get("scope") in ("col", "row")
        self.open.append(tag) if tag not in VOID else None

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def seen(item):
    found = Outline(item._repr_html_())
    assert not found.open
    assert "background" not in found.styles
    assert "#" not in found.styles
    return " ".join(found.text)


def test_a_card_is_escaped_and_cut():
    table = pd.DataFrame({"<b>": range(ROWS + 5), "level": ["fail"] * (ROWS + 5)})
    found = Outline(Card("a < b", {"x & y": [1.23456789, "<i>"]}, "text", table, "what").html())
    text = " ".join(found.text)
    assert "a < b" in text
    assert "x & y: 1.235, <i>" in text
    assert "✗ fail" in text
    assert "and 5 more rows" in text
    assert found.scoped == 2
    assert found.text.count("✗ fail") == ROWS


@pytest.mark.parametrize(
    "prior",
    [
        uniform(sr.PolynomialRule(1)),
        normal(sr.PolynomialRule(1)),
        horseshoe(sr.PolynomialRule(1)),
        spike_and_slab(sr.PolynomialRule(1), inclusion=0.3),
        correlated_normal(sr.PolynomialRule(1), torch.eye(4)),
    ],
)
def test_priors_show_where_their_coefficients_are(prior):
    assert repr(prior) == f"{type(prior).__name__}(4 coefficients, theta_00 to theta_11)"
    text = seen(prior)
    assert "theta_01" in text
    assert "97.5 %" in text
    assert ("0.3" in text) == (type(prior).__name__ == "SpikeAndSlab")


def test_families_show_terms_of_users_and_ours():
    class Own(sr.ThreeFactorRule):
        coefficients = (
            sr.Coefficient("hebb", "r_j d_i"),
            sr.Coefficient("k", low=0.5, linear=False, default=1.0, unit="ms"),
        )

        def drive(self, theta, rate, deviation, weight):
            return theta["hebb"] * rate * deviation

    text = seen(Own())
    assert "r_j d_i" in text
    assert "0.5" in text
    assert "ms" in text
    assert "Own" in text


def test_stores_posteriors_checks_and_tables():
    store = sr.simulate(Cheap(), PRIOR, 400, seed=1, num_workers=1)
    assert "400 simulations" in seen(store)
    assert "diverged" in seen(store)
    posterior = sr.fit(store, PRIOR, constraints={"final_error": (0, 0.5)}, **FAST)
    assert "Nothing was drawn yet" in seen(posterior)
    assert "chains" not in vars(posterior), "to look at it does not sample it"
    frame = posterior.to_frame()
    assert list(frame.columns) == ["a", "b"]
    assert len(frame) == len(posterior.draws)
    assert torch.equal(torch.tensor(frame.to_numpy()), posterior.draws)
    assert frame.index.names == ["run", "draw"]
    assert len(posterior.to_frame(100)) == 100
    assert "contraction" in seen(posterior)
    assert "constraints" in seen(posterior)
    assert "1 fixed" in repr(posterior.conditioned(a=0.0))
    assert "truncated" in repr(posterior.truncated(b=(0.0, 0.5)))
    checked = sr.check(posterior, Cheap(), store=store, rules=40, num_workers=1)
    text = seen(checked)
    assert checked.headline.split(".")[0] in text
    assert all(v.name in text for v in checked)
    assert seen(checked.verdicts[0])
    learners = sr.Trials(("1", "2"), store.trajectory.rows(torch.arange(2)))
    assert "2 learners, 20 trials" in repr(learners)
    assert "trials: 20 (10 each)" in seen(learners)
    assert seen(learners.describe())
