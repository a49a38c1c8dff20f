"""What a report says first, and what can be taken from it."""

import csv
import io
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.figure import Figure
from torch.distributions import Normal

import sbirules as sr
from sbirules.checks.collected import Checks
from sbirules.model.verdicts import Verdict
from sbirules.priors import spike_and_slab, uniform
from sbirules.reporting.answer import answer
from sbirules.reporting.downloads import packed, svg_of, table_of
from sbirules.reporting.explorer import explorer
from sbirules.simulators import RateRNN

TASK = sr.tasks.DelayedDiscrimination(stimulus=20, delay=10, response=20)
SIMULATOR = RateRNN(sr.PolynomialRule(1), TASK, num_units=16, num_trials=30)


def posterior_of(means, sds, prior=None):
    centre, width = torch.tensor(means), torch.tensor(sds)
    prior = [Normal(0.0, 1.0)] * 4 if prior is None else prior
    return sr.Posterior(prior, SIMULATOR.names, lambda t: -0.5 * ((t - centre) / width).square().sum(dim=1))


def test_the_answer_names_what_is_known_and_what_is_not():
    first, second = answer(posterior_of([0.0, 0.0, 0.0, -0.6], [50.0, 50.0, 0.3, 0.05]), SIMULATOR, None)
    assert first.startswith("Known best: theta_11 -0.6 [-0.69, -0.5") or first.startswith(
        "Known best: theta_11 -0.6 [-0.7, -0.5"
    )
    assert " and theta_10 " in first
    assert (
        second == "The 95 % interval excludes zero for theta_11; of 2 of 4 coefficients (theta_00, theta_01) "
        "next to nothing was learned."
    )


def test_an_answer_that_is_none_says_so():
    said = answer(posterior_of([0.0] * 4, [90.0] * 4), SIMULATOR, None)
    assert said == ["Of no coefficient is much more known than before: the posterior is nearly the prior."]


def test_the_check_of_information_decides_what_is_known():
    numbers = {"nats": 2.0, "contraction_theta_00": 0.9, **{f"contraction_theta_{k}": 0.0 for k in ("01", "10", "11")}}
    checked = Checks((Verdict("information", "pass", "", numbers=numbers),))
    said = answer(posterior_of([0.0] * 4, [1.0] * 4), SIMULATOR, checked)
    assert said[0].startswith("Known best: theta_00 ")
    assert (
        said[1]
        == "No 95 % interval excludes zero; of 3 of 4 coefficients (theta_01, theta_10, theta_11) next to nothing was learned."
    )


def test_terms_that_may_be_absent_are_named_by_their_probability():
    prior = spike_and_slab(SIMULATOR.family, inclusion=0.3)
    (said,) = answer(posterior_of([0.0, 0.0, 0.0, 0.7], [0.05] * 4, prior), SIMULATOR, None)
    assert said.startswith("More probably present than absent: theta_11 (100%)")


def test_figures_come_as_text_and_numbers():
    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], [2.0, 3.5], label="line")
    ax.scatter([5.0], [6.0], label="dot")
    ax.bar(["a", "b"], [7.0, 8.0])
    ax.fill_between([0, 1], [0, 0], [1, 1])
    ax.imshow([[1.0, 2.0]])
    ax.set_title("Panel, one")
    rows = list(csv.reader(io.StringIO(table_of(figure).decode())))
    assert rows[0] == ["panel", "kind", "label", "x", "y", "value"]
    told = {tuple(row[1:]) for row in rows[1:]}
    assert {("line", "line", "0.0", "2.0", ""), ("line", "line", "1.0", "3.5", "")} <= told
    assert ("point", "dot", "5.0", "6.0", "") in told
    assert {row[0] for row in rows[1:]} == {"1: Panel, one"}
    assert [row[5] for row in rows if row[1] == "bar"] == ["7.0", "8.0"]
    assert [row[5] for row in rows if row[1] == "cell"] == ["1.0", "2.0"]
    assert any(row[1] == "band" for row in rows)
    svg = svg_of(figure)
    assert svg == svg_of(figure), "the same bytes each time"
    ElementTree.fromstring(svg)
    assert b">Panel, one<" in svg
    assert packed(svg) == packed(svg)


@pytest.mark.parametrize("columns", [1, 4])
def test_every_figure_of_ours_has_a_table(columns):
    posterior = posterior_of([0.0, 0.1, 0.2, -0.6], [0.5] * 4)
    for grid in (sr.figures.pairs(posterior, list(range(columns))), sr.figures.marginals(posterior)):
        rows = table_of(grid[0, 0].figure).decode().splitlines()
        assert len(rows) > 4 * columns


def test_what_rules_did_goes_into_the_explorer():
    simulator = SIMULATOR
    prior = uniform(simulator.family, -1, 1)
    store = sr.simulate(simulator, prior, 200, seed=1, num_workers=1)
    posterior = sr.fit(
        store, prior, constraints={"final_error": (0, 1.0)}, classifier=sr.EnsembleSettings(2, 8, max_epochs=2)
    )
    checked = sr.check(
        posterior, simulator, store=store, rules=6, networks_per_rule=2, num_workers=1, parts=["predictions"]
    )
    made = explorer(posterior, [""] * 4, checked)
    assert made["tried"]
    assert '"groups":[{"name":"success","labels":["success"],"values":[[' in str(made["data"])
    assert not explorer(posterior, [""] * 4, None)["tried"]


def test_a_report_counts_the_simulations_of_several_stores(tmp_path):
    prior = uniform(SIMULATOR.family, -1, 1)
    posterior = posterior_of([0.0] * 4, [0.3] * 4, prior)
    stores = [
        sr.simulate(SIMULATOR, prior, n, seed=seed, num_workers=1, progress=False) for n, seed in ((40, 3), (25, 8))
    ]
    sr.report(tmp_path / "all.html", posterior, SIMULATOR, store=stores, made=[])
    page = (tmp_path / "all.html").read_text()
    ok = sum(int(s.status_counts()["OK"]) for s in stores)
    assert f"<dt>simulated networks</dt><dd>{ok} OK" in page
    assert ", in 2 stores of 40, 25</dd>" in page
    assert "<dt>seed of simulations</dt><dd>3, 8</dd>" in page
    assert page.count(f"torch {torch.__version__}") == 1
    sr.report(tmp_path / "one.html", posterior, SIMULATOR, store=stores[0], made=[])
    assert "stores of" not in (tmp_path / "one.html").read_text()
    with pytest.raises(ValueError, match="store must be"):
        sr.report(tmp_path / "none.html", posterior, SIMULATOR, store=[1], made=[])
