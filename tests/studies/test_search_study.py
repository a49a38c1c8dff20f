"""`sbirules search`: what it writes, that it goes on, and what a wrong file is told."""

import json
import shutil
import tomllib
from pathlib import Path

import pandas as pd
import pytest

import sbirules as sr
from sbirules.cli import EXIT, main
from sbirules.studies.study import Study, StudyError

STUDIES = Path(__file__).parents[2] / "sbirules" / "studies"
SEARCH = '\n[search]\nvariables = ["c", "w", "rd"]\ndegree = 2\nmax_terms = 3\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    shutil.copy(STUDIES / "flies.csv", place / "flies.csv")
    (place / "flies.toml").write_text((STUDIES / "behaviour.toml").read_text() + SEARCH)
    return place


@pytest.fixture(scope="module")
def result(folder):
    assert main(["search", str(folder / "flies.toml"), "--out", str(folder / "out"), "--workers", "1", "--quiet"]) == 0
    return folder / "out"


def test_the_rule_of_the_flies_is_found(result):
    content = json.loads((result / "search.json").read_text())
    # simulated with c_rd = 0.16, c = 0.17, w = -0.12 by examples/simulated_flies.py
    assert content["most_probable"]["probability"] > 0.1
    assert content["terms"]["c rd"] > 0.5
    assert abs(sum(pd.read_csv(result / "structures.csv")["probability"]) - 1.0) < 1e-6
    for name in ("search_tree.svg", "pareto_front.svg", "search_tree.csv"):
        assert (result / "figures" / name).stat().st_size > 1000


def test_the_page_holds_what_was_found_and_loads_nothing(result):
    page = (result / "search.html").read_text()
    content = json.loads((result / "search.json").read_text())
    assert content["answer"] in page.replace("&#39;", "'")
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    nodes = page.split('id="search-nodes">')[1].split("</script>")[0]
    told = json.loads(nodes)
    assert len(told["nodes"]) == content["scored"]
    assert any(n["text"] == content["best"]["structure"] for n in told["nodes"])
    assert all("<math" in e for e in told["equations"].values())


def test_a_search_goes_on_from_where_it_was(result, folder, capsys):
    lines = (result / "search" / "nodes.jsonl").read_bytes().splitlines(keepends=True)
    whole = json.loads((result / "search.json").read_text())
    (result / "search" / "nodes.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])
    args = ["search", str(folder / "flies.toml"), "--out", str(result), "--workers", "1", "--json"]
    assert main(args) == EXIT["done"]
    again = json.loads(capsys.readouterr().out)
    assert again["scored"] == whole["scored"]
    assert again["terms"] == pytest.approx(whole["terms"], abs=1e-9)


def test_the_section_is_kept_with_the_study(folder):
    study = Study.read(folder / "flies.toml")
    resolved = study.resolved()
    assert resolved["search"]["max_terms"] == 3
    assert resolved["search"]["budget"] == 1000
    assert "search" not in Study.read(STUDIES / "behaviour.toml").resolved()


def test_a_table_and_a_search_are_enough_for_a_study(folder, capsys):
    text = '[data]\ntrials = "flies.csv"\ncolumns = { learner = "fly", choice = "odor" }\n[search]\nbudget = 3\n'
    (folder / "short.toml").write_text(text + 'variables = ["c", "w"]\ndegree = 1\nmax_terms = 1\n')
    out = str(folder / "short")
    assert main(["search", str(folder / "short.toml"), "--out", out, "--workers", "1", "--quiet"]) == EXIT["done"]
    assert "Of 3 rules scored" in capsys.readouterr().out
    assert main(["show", out]) == EXIT["done"]
    assert "Of 3 rules scored" in capsys.readouterr().out
    assert main(["show", out, "--json"]) == EXIT["done"]
    assert json.loads(capsys.readouterr().out)["scored"] == 3
    assert main(["open", out]) == EXIT["done"]
    assert "search.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('method = "bfs"', "method"),
        ("budget = 0", "budget"),
        ('variables = "c"', "variables"),
        ("coefficients = [1]", "coefficients"),
        ("decay = [0, -1]", "decay"),
        ("thresholds = []", "thresholds"),
        ("depth = 3", "depth"),
        ('variables = ["q"]', "variables"),
        ('functions = ["exec"]', "functions"),
    ],
)
def test_wrong_settings_get_a_sentence(folder, capsys, text, told):
    (folder / "wrong.toml").write_text((STUDIES / "behaviour.toml").read_text() + f"\n[search]\n{text}\n")
    assert main(["search", str(folder / "wrong.toml"), "--out", str(folder / "no")]) == EXIT["wrong input"]
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (folder / "no" / "search.html").exists()


def test_studies_of_other_questions_are_refused(tmp_path, capsys):
    (tmp_path / "demo.toml").write_text((STUDIES / "demo.toml").read_text())
    assert main(["search", str(tmp_path / "demo.toml")]) == EXIT["wrong input"]
    assert "no study of choices" in capsys.readouterr().err
    content = tomllib.loads((STUDIES / "demo.toml").read_text())
    with pytest.raises(StudyError, match=r"\[search\] belongs to studies of choices"):
        Study.of({**content, "search": {}}, name="demo")


def test_a_page_of_a_problem_of_ones_own(tmp_path):
    grammar = sr.RuleGrammar(["c", "w", "r"], degree=2, max_terms=2)
    found = sr.search(sr.OwnProblem(lambda s: -s.complexity, grammar), budget=20, proposer=lambda *_: "</script> + c")
    sr.report_search(tmp_path / "own.html", found, title="<b>mine</b>")
    page = (tmp_path / "own.html").read_text()
    assert "<b>mine" not in page
    assert "Refused proposals" in page
    assert page.count("</script>") == page.count("<script")
