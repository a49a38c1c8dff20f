"""The report in a real browser, from disk: nothing fetched, nothing complained about, and it answers. `make test-browser`."""

import shutil

import pytest
import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import RateRNN

pytestmark = pytest.mark.browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    torch.manual_seed(0)
    family = sr.PolynomialRule(degree=1, infer=["tau_e"])
    task = sr.tasks.DelayedDiscrimination(stimulus=40, delay=20, response=40)
    simulator = RateRNN(family, task, num_units=16, num_trials=60)
    prior = uniform(family, -1, 1, tau_e=(10.0, 200.0))
    store = sr.simulate(simulator, prior, 400, seed=1, num_workers=1)
    posterior = sr.fit(store, prior, constraints={"final_error": (0, 0.9)})
    posterior.sample((600,))
    checked = sr.check(posterior, simulator, store=store, rules=12, networks_per_rule=2, num_workers=1)
    found = sr.sensitivity(posterior, simulator, parts=["stiff", "compensation"])
    title = "Rules </script><script>alert(1)</script> & <b>more</b>"
    sr.report(
        folder / "report.html", posterior, simulator, checked=checked, sensitivity=found, store=store, title=title
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, report):
    """A page at desktop width that remembers what was said and asked for."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("dialog", lambda dialog: (opened.said.append("dialog"), dialog.dismiss()))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report.as_uri())
    opened.wait_for_selector("#scatter circle")
    yield opened
    opened.close()


def places(page):
    return page.eval_on_selector_all(
        "#scatter circle", "all => all.map(c => [c.getAttribute('cx'), c.getAttribute('cy')])"
    )


def test_it_opens_from_disk_without_a_word_or_a_request(page, report):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.title() == "Rules </script><script>alert(1)</script> & <b>more</b>", "shown, not run"
    assert page.locator("h1 b").count() == 0
    sizes = page.eval_on_selector_all("img", "all => all.map(i => [i.complete, i.naturalWidth, i.alt.length])")
    assert len(sizes) >= 8
    assert all(complete and width > 100 and alt > 20 for complete, width, alt in sizes)


def test_another_pair_of_coefficients_changes_the_figure(page):
    before = places(page)
    options = page.eval_on_selector_all("#across option", "all => all.map(o => o.textContent)")
    assert options == ["theta_00", "theta_01", "theta_10", "theta_11", "tau_e"]
    page.select_option("#across", label="tau_e")
    page.select_option("#up", label="theta_01")
    after = places(page)
    assert len(after) == len(before) >= 500
    assert after != before
    assert "tau_e (ms)" in page.text_content("#scatter")
    assert "tau_e and theta_01; correlation" in page.get_attribute("#scatter", "aria-label")


def test_pointing_and_dragging_show_rules(page):
    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator("#scatter").bounding_box()
    circle = page.locator("#scatter circle").first.bounding_box()
    page.mouse.move(circle["x"] + 2, circle["y"] + 2)
    assert "theta_11 " in page.inner_text("#hover")
    assert page.inner_text("#selected").startswith("All ")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    assert " rules (" in page.inner_text("#selected")
    assert page.input_value("#a-low") != ""
    page.click("#reset")
    assert page.inner_text("#selected").startswith("All ")


def test_everything_works_by_keyboard(page):
    page.focus("#a-low")
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    chosen = page.inner_text("#selected")
    assert " rules (" in chosen
    count = int(chosen.split(" of ")[0])
    column = page.evaluate(
        """() => {
            const data = JSON.parse(document.getElementById("draws").textContent);
            const k = document.getElementById("across").value;
            return data.draws.filter((row) => row[k] >= 0).length;
        }"""
    )
    assert count == column
    unnamed = page.eval_on_selector_all(
        "select, input, button",
        "all => all.filter(e => !(e.labels && e.labels.length) && !e.textContent.trim()).length",
    )
    assert unnamed == 0, "every control has a name for a screen reader"


def test_a_phone_and_a_dark_room(browser, report):
    phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone.goto(report.as_uri())
    phone.wait_for_selector("#scatter circle")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
    dark = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    picture = phone.evaluate("document.querySelector('img').currentSrc.length")
    light = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="light")
    light.goto(report.as_uri())
    assert light.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert light.evaluate("document.querySelector('img').currentSrc.length") != picture
    phone.close()
    light.close()


def test_the_answer_comes_first_and_machinery_last(page):
    heads = page.eval_on_selector_all("h2", "all => all.map(h => h.textContent)")
    assert heads[0] == "The answer"
    assert heads[-1] == "How it was made"
    assert page.locator("#answer ~ figure img").first.is_visible()
    assert page.locator("details.fold[open]").count() == 0, "what passes, and how it was made, is folded"
    page.evaluate("location.hash = '#figure-training'")
    page.wait_for_function("document.getElementById('figure-training').closest('details').open")


def test_rules_of_a_region_show_what_they_did(page):
    def told():
        return page.inner_text("#tried")

    assert told().startswith("12 of 12 rules")
    page.select_option("#across", label="theta_11")
    page.fill("#a-low", "0")
    page.keyboard.press("Tab")
    count = int(told().split(" of ")[0])
    data = page.evaluate("JSON.parse(document.getElementById('draws').textContent).tried")
    assert count == sum(row[3] >= 0 for row in data["theta"]) < 12
    assert len(data["groups"][0]["values"]) == 12
    assert page.locator("#outcomes text").count() >= 2


def test_figures_and_tables_can_be_taken_away(page, tmp_path):
    with page.expect_download() as one:
        page.locator('[data-figure="marginals"] button', has_text="SVG").click()
    one.value.save_as(tmp_path / "m.svg")
    text = (tmp_path / "m.svg").read_text()
    assert "<svg" in text
    assert "coefficient (natural units)" in text, "text stays text"
    with page.expect_download() as two:
        page.locator('[data-figure="marginals"] button', has_text="CSV").click()
    two.value.save_as(tmp_path / "m.csv")
    rows = (tmp_path / "m.csv").read_text().splitlines()
    assert rows[0] == "panel,kind,label,x,y,value"
    assert len(rows) > 10
    with page.expect_download() as three:
        page.locator("[data-table] button", has_text="CSV").first.click()
    three.value.save_as(tmp_path / "t.csv")
    assert "theta_11" in (tmp_path / "t.csv").read_text()


def test_tables_sort_by_keyboard(page):
    first = page.locator("table").first

    def column(k):
        return first.evaluate(
            f"t => [...t.tBodies[0].rows].filter(r => r.cells.length > 1).map(r => r.cells[{k}].textContent)"
        )

    head = first.locator("thead button").nth(1)
    head.focus()
    page.keyboard.press("Enter")
    assert first.locator("th[aria-sort=ascending]").count() == 1
    values = [float(v) for v in column(1)]
    assert values == sorted(values)
    page.keyboard.press("Enter")
    assert [float(v) for v in column(1)] == sorted(values, reverse=True)
    assert sorted(column(0)) == ["tau_e", "theta_00", "theta_01", "theta_10", "theta_11"]


def test_axe_finds_no_serious_violation(browser, report):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
            page.goto(report.as_uri())
            page.wait_for_selector("#scatter circle")
            page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
            found = axe.Axe().run(page).response["violations"]
            bad = [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]
            assert not [v for v in bad if v[1] in ("serious", "critical")], bad
            page.close()


def test_on_paper_everything_is_unfolded(page, tmp_path):
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


# Searches -------------------------------------------------------------------------------------------------


def test_a_search_tells_the_equation_of_what_is_pointed_at(browser, tmp_path):
    grammar = sr.RuleGrammar(["c", "w", "r"], degree=2, max_terms=2)
    found = sr.search(sr.OwnProblem(lambda s: float(len(str(s)) % 7), grammar), budget=40)
    sr.report_search(tmp_path / "search.html", found)
    for width in (1280, 390):
        page = browser.new_page(viewport={"width": width, "height": 900})
        said = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.goto((tmp_path / "search.html").as_uri())
        assert page.locator("#tree-chart circle").count() == len(found.nodes)
        assert str(found.best) in page.locator("#told").inner_text()
        first = page.locator("#tree-chart circle").first
        first.focus()
        assert "structure 0: 0" in page.locator("#told").inner_text()
        page.keyboard.press("ArrowRight")
        assert f"structure 1: {found.nodes[1].structure}" in page.locator("#told").inner_text()
        page.locator("#front-chart circle").nth(2).dispatch_event("pointerenter")
        assert f"structure 2: {found.nodes[2].structure}" in page.locator("#told").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert said == []
        page.close()
