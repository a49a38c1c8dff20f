"""`sbirules show` and `open`: what a results folder says, and which stage is next."""

import json
import os
import webbrowser

import pytest

from sbirules.cli import EXIT, main

CHECKS = {
    "sampler": {"verdict": "pass", "finding": "R-hat 1.00.", "advice": "", "numbers": {}},
    "success": {
        "verdict": "fail",
        "finding": "On fresh networks " + 30 * "few rules hold ",
        "advice": "",
        "numbers": {},
    },
    "information": {
        "verdict": "caution",
        "finding": "Little was learned.",
        "advice": "More data.",
        "numbers": {"contraction_theta_00": 0.25},
    },
}
SUMMARY = {
    "schema_version": 1,
    "question": "Which plasticity rules (PolynomialRule, 10 coefficients) satisfy the constraints?",
    "simulations": {"count": 300, "status": {"OK": 300}, "seconds": 1.0},
    "parameters": {
        f"theta_{k:02d}": {
            "mean": 0.1,
            "sd": 0.1,
            "q025": -0.25,
            "median": 0.1 * k,
            "q975": 0.5,
            "contraction": k / 10,
        }
        for k in range(10)
    },
    "checks": {"verdict": "fail", "headline": "1 of 3 checks failed (success).", "checks": CHECKS, "left_out": {}},
}
STUDY = '[constraints]\nlearned = [1, 1]\n\n[rule]\nfamily = "polynomial"\n'


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "out"
    for name in ("posterior", "figures", "store"):
        (out / name).mkdir(parents=True)
    (out / "study.toml").write_text(STUDY)
    (out / "posterior" / "asked.json").write_text("{}")
    (out / "summary.json").write_text(json.dumps(SUMMARY))
    (out / "report.html").write_text("<p>report</p>")
    return out


def shown(folder, capsys):
    capsys.readouterr()
    assert main(["show", str(folder)]) == EXIT["done"]
    return capsys.readouterr().out


def test_the_answer_is_printed_with_the_worst_first(folder, capsys):
    out = shown(folder, capsys)
    lines = out.splitlines()
    assert lines[0] == SUMMARY["question"]
    assert lines[2] == "FAIL: 1 of 3 checks failed (success)."
    assert [line.split()[:2] for line in lines[4:7]] == [
        ["fail", "success"],
        ["caution", "information"],
        ["pass", "sampler"],
    ]
    assert lines[4].endswith(CHECKS["success"]["finding"]), "a file gets whole sentences"
    head = next(k for k, line in enumerate(lines) if line.split()[:1] == ["coefficient"])
    assert lines[head + 1].split() == ["theta_09", "0.9", "-0.25", "to", "0.5", "0.90"]
    assert lines[head + 9] == "  and 2 more, of which less was learned"
    assert "  report.html   the report, one page" in lines
    assert "  missing: posterior.nc" in lines
    assert "Next" not in out
    assert "\033" not in out


def test_json_is_the_summary(folder, capsys):
    assert main(["show", str(folder), "--json"]) == EXIT["done"]
    assert json.loads(capsys.readouterr().out) == SUMMARY
    (folder / "summary.json").unlink()
    assert main(["show", str(folder), "--json"]) == EXIT["wrong input"]
    assert capsys.readouterr().err == (
        f"sbirules: {folder} holds no summary.json; 'sbirules report {folder}' makes it.\n"
    )


def test_a_terminal_gets_colours_and_its_width_unless_it_says_no(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = shown(folder, capsys)
    assert "\033[31mfail    \033[0m" in out
    plain = [line for line in out.splitlines() if "success" in line and "FAIL" not in line]
    assert plain[0].endswith("...")
    monkeypatch.setenv("NO_COLOR", "1")
    out = shown(folder, capsys)
    assert "\033" not in out
    verdicts = [line for line in out.splitlines() if line.startswith(("  fail", "  caution", "  pass"))]
    assert len(verdicts) == 3
    assert max(map(len, verdicts)) <= 70


def test_a_summary_of_before_is_read_as_well(folder, capsys):
    old = json.loads(json.dumps(SUMMARY))
    del old["question"]
    for p in old["parameters"].values():
        del p["median"], p["contraction"]
    old["parameters"]["theta_03"]["mean"] = "nan"  # as files hold it
    (folder / "summary.json").write_text(json.dumps(old))
    out = shown(folder, capsys)
    assert out.startswith("Asked was [constraints]: learned = [1, 1].")
    assert out.splitlines()[9].split() == ["theta_00", "0.1", "-0.25", "to", "0.5", "0.25"], "from the check's numbers"


@pytest.mark.parametrize(
    ("without", "stage", "command"),
    [
        (["study.toml", "posterior/asked.json", "summary.json"], "simulate", "sbirules run STUDY.toml --out {}"),
        (["posterior/asked.json", "summary.json", "report.html"], "fit", "sbirules report {}"),
        (["summary.json", "report.html"], "check", "sbirules report {}"),
        (["report.html"], "report", "sbirules report {}"),
    ],
)
def test_an_unfinished_study_says_what_is_next(folder, capsys, without, stage, command):
    for name in without:
        (folder / name).unlink()
    lines = shown(folder, capsys).splitlines()
    assert lines[-2].startswith(f"Next: {stage}, since ")
    assert lines[-1] == "  " + command.format(folder)


def test_a_posterior_newer_than_its_summary_is_told(folder, capsys):
    later = (folder / "summary.json").stat().st_mtime + 10
    os.utime(folder / "posterior" / "asked.json", (later, later))
    (folder / "study.toml").write_text(STUDY.replace('"polynomial"', '"mine:Rule"'))
    lines = shown(folder, capsys).splitlines()
    assert lines[-2:] == [
        "Next: check, since the posterior is newer than summary.json and the report.",
        f"  sbirules report {folder} --trust",
    ]


def test_what_holds_no_results_is_said(tmp_path, capsys):
    for command in ("show", "open"):
        assert main([command, str(tmp_path / "none")]) == EXIT["wrong input"]
        assert "there is no folder" in capsys.readouterr().err
        assert main([command, str(tmp_path)]) == EXIT["wrong input"]
        assert "'sbirules run STUDY.toml --out" in capsys.readouterr().err


def test_nothing_is_simulated_where_the_likelihood_is_known(folder, capsys):
    summary = SUMMARY | {"simulations": {"count": 0, "status": {}, "seconds": 0.0}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "store").rmdir()
    assert "missing: posterior.nc\n" in shown(folder, capsys)


def test_a_report_is_opened_where_there_is_a_browser(folder, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda page: asked.append(page) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["open", str(folder)]) == EXIT["done"]
    assert asked == [(folder / "report.html").resolve().as_uri()]
    assert capsys.readouterr().out == f"opened {folder / 'report.html'}\n"

    def none(page):
        raise webbrowser.Error("could not locate runnable browser")

    for opened in (none, lambda page: False):
        monkeypatch.setattr(webbrowser, "open", opened)
        assert main(["open", str(folder)]) == EXIT["done"]
        assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_without_a_display_the_path_is_printed(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda page: pytest.fail("no browser is to be asked"))
    assert main(["open", str(folder)]) == EXIT["done"]
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


def test_a_folder_without_report_says_how_to_make_it(folder, capsys):
    (folder / "report.html").unlink()
    assert main(["open", str(folder)]) == EXIT["wrong input"]
    said = f"sbirules: {folder} holds no report.html; 'sbirules report {folder}' makes it.\n"
    assert capsys.readouterr().err == said
