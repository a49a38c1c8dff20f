"""What the pages on the house show works as it stands, and they leave nothing out."""

import re
from pathlib import Path

import pytest

from sbirules.inference.estimators import ESTIMATORS, POTENTIALS
from sbirules.inference.questions import QUESTIONS, ObservationQuestion

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how_to_add.md").read_text("utf-8")


def examples():
    """Every example of the page, by its heading and its place below it."""
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        for k, code in enumerate(re.findall(r"```python\n(.*?)```", section, re.DOTALL), start=1):
            yield pytest.param(code, id=f"{section.splitlines()[0]} {k}")


@pytest.fixture(autouse=True)
def _tables_as_before(monkeypatch):
    monkeypatch.setattr(ObservationQuestion, "estimators", ObservationQuestion.estimators)
    tables = (ESTIMATORS, POTENTIALS, QUESTIONS)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("code", examples())
def test_an_example_runs_as_it_stands(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "how_to_add.md", "exec"), {"__name__": "__main__"})


def test_every_kind_of_thing_has_an_example():
    kinds = {example.id.rsplit(" ", 1)[0] for example in examples()}
    wanted = {"family", "task", "summary", "simulator", "question", "estimator", "check"}
    assert {kind.split()[-1] for kind in kinds} == wanted


def test_named_files_exist():
    pages = [PAGE, (ROOT / "docs" / "architecture.md").read_text("utf-8")]
    named = sorted({name for page in pages for name in re.findall(r"`([a-z]\w*/[\w/]*(?:\.py)?)`", page)})
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "sbirules" / name).exists()]
    assert len(named) > 20
    assert not missing


def test_the_picture_has_every_floor():
    picture = (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    shown = re.findall(r'<text class="name"[^>]*>(\w+)</text>', picture)
    folders = {path.parent.name for path in (ROOT / "sbirules").glob("*/__init__.py")}
    assert set(shown) == folders | {"cli", "simulators", "priors"}


def test_pages_take_their_code_from_the_tutorials():
    # a formatter that sees `--8<-- "file"` in a Python block makes it a comparison; the form with lines of its own is left alone
    for page in (ROOT / "docs" / "tutorials").glob("*.md"):
        text = page.read_text("utf-8")
        assert "--8 < --" not in text, page.name
        for part in re.findall(r"^(tutorials/\w+\.py:\w+)$", text, re.MULTILINE):
            script, _, name = part.partition(":")
            assert f"[start:{name}]" in (ROOT / "docs" / script).read_text("utf-8"), part
