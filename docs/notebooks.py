"""The tutorials as notebooks: text of the pages, code of the scripts, made by jupytext and run by nbclient.

    python docs/notebooks.py            writes examples/notebooks/*.ipynb, without output
    python docs/notebooks.py --run      runs them, each in a folder of its own in runs/notebooks, where they are kept with output
    python docs/notebooks.py --check    exits with 1 unless those in examples/notebooks are what the tutorials say

Figures appear in the notebook instead of in files, and what is printed alone is shown as the card that notebooks have of it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
PAGES, NOTEBOOKS, RUNS = HERE / "tutorials", HERE.parent / "examples" / "notebooks", HERE.parent / "runs" / "notebooks"
INCLUDE = re.compile(r"```python\n--8<--\ntutorials/\w+\.py:(\w+)\n--8<--\n```")
SECTION = re.compile(r"^ *# --8<-- \[start:(\w+)\]\n(.*?)^ *# --8<-- \[end:\1\]\n", re.MULTILINE | re.DOTALL)
SAVED = re.compile(r"^(\s*)(\S.*\.figure|figure)\.savefig\(.*\)$", re.MULTILINE)
PRINTED = re.compile(r"^(\s*)print\((.+)\)$", re.MULTILINE)
PICTURE = re.compile(r"^!\[[^\]]*\]\(images/[^)]*\)\n+", re.MULTILINE)  # the notebook makes its own
LINK = re.compile(r"\]\((?!https?:|#)(\.\./)?([^)]+)\)")
TIMEOUT = 1200  # seconds for a cell
END = "after the sections"  # checks of the script, which a reader need not see: run, not kept


def names() -> list[str]:
    """Of the tutorials, in the order of the site."""
    return re.findall(r"tutorials/(\w+)\.md", (HERE.parent / "mkdocs.yml").read_text())


def cells(name: str) -> list[tuple[str, str]]:
    """Kind and text of each cell of one tutorial."""
    page, script = ((PAGES / f"{name}.{ending}").read_text() for ending in ("md", "py"))
    page = LINK.sub(lambda m: f"](../../docs/{'' if m[1] else 'tutorials/'}{m[2]})", PICTURE.sub("", page))
    parts = INCLUDE.split(page)
    texts, wanted = parts[::2], parts[1::2]
    code = sections(script)
    unused = [section for section in code if section not in ("", END, *wanted)]
    if unused:
        raise ValueError(
            f"{name}.md does not show the sections {', '.join(unused)} of {name}.py, which later ones may need"
        )
    lost = [section for section in wanted if section not in code]
    if lost:
        raise ValueError(f"{name}.md shows sections that {name}.py does not have: {', '.join(lost)}")
    out = [("markdown", texts[0]), ("code", code[""])]
    for section, text in zip(wanted, texts[1:], strict=True):
        out += [("code", code[section]), ("markdown", text)]
    return [(kind, text.strip("\n")) for kind, text in out if text.strip()]


def sections(script: str) -> dict[str, str]:
    """Code by section, as a notebook has it; under "" what comes before them (imports, helpers, settings), under END after."""
    whole = {m.group(1): shown(textwrap.dedent(m.group(2))) for m in SECTION.finditer(script)}
    module, body = SECTION.sub("<<section>>\n", script).split("def main() -> None:\n")
    start, *between, end = body.split("if __name__")[0].split("<<section>>\n")
    lost = "".join(between).strip()
    if lost:
        raise ValueError(f"{lost.splitlines()[0]!r} stands between two sections, so that no notebook would have it")
    imports = module.split('"""\n', 1)[1].replace("<<section>>\n", "")
    before = re.sub(r"\n{3,}", "\n\n\n", imports).strip("\n")
    whole[END] = textwrap.dedent(end).strip()
    whole[""] = f"%matplotlib inline\n{before}\n\n{textwrap.dedent(start).strip()}"
    return whole


def shown(code: str) -> str:
    """Figures and objects that are shown, in place of files and text."""
    code = SAVED.sub(r"\1display(\2)", code)
    return PRINTED.sub(lambda m: f"{m[1]}display({m[2]})" if _alone(m[2]) else m[0], code).strip("\n")


def _alone(text: str) -> bool:
    """Whether what is printed is one object, and no text."""
    try:
        tree = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError:
        return False
    assert isinstance(tree, ast.Call)
    only = tree.args[0] if len(tree.args) == 1 and not tree.keywords else None
    return isinstance(only, (ast.Name, ast.Call)) and "describe(rule" not in text and "dict(" not in text


def notebook(name: str) -> nbformat.NotebookNode:
    """One tutorial as a notebook without output."""
    percent = ""
    for kind, text in cells(name):
        text = "\n".join(f"# {line}".rstrip() for line in text.splitlines()) if kind == "markdown" else text
        percent += f"# %% [markdown]\n{text}\n\n" if kind == "markdown" else f"# %%\n{text}\n\n"
    out = jupytext.reads(percent, fmt="py:percent")
    for k, cell in enumerate(out.cells):
        cell["id"] = f"{name}-{k}"  # the same each time
        cell.metadata.clear()
    out.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return out


def run(name: str) -> None:
    """Runs a notebook and keeps it with its output."""
    from nbclient import NotebookClient

    place = RUNS / name
    place.mkdir(parents=True, exist_ok=True)
    made = notebook(name)
    made.cells.append(nbformat.v4.new_code_cell(sections((PAGES / f"{name}.py").read_text())[END]))
    NotebookClient(made, timeout=TIMEOUT, resources={"metadata": {"path": str(place)}}).execute()
    made.cells.pop()
    figures = sum("image/png" in o.get("data", {}) for c in made.cells for o in c.get("outputs", []))
    pages = sum("text/html" in o.get("data", {}) for c in made.cells for o in c.get("outputs", []))
    nbformat.write(made, RUNS / f"{name}.ipynb")
    print(f"{name}: {len(made.cells)} cells, {figures} figures, {pages} tables and cards")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", metavar="NAME", help="which; all without a name")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.run is not None:
        unknown = [name for name in args.run if name not in names()]
        if unknown:
            parser.error(f"no tutorial is called {', '.join(unknown)}; there are {', '.join(names())}")
        for name in args.run or names():
            run(name)
        return 0
    NOTEBOOKS.mkdir(parents=True, exist_ok=True)
    known = {f"{name}.ipynb" for name in names()}
    other = [place.name for place in NOTEBOOKS.glob("*.ipynb") if place.name not in known] if args.check else []
    for name in names():
        text, place = nbformat.writes(notebook(name)) + "\n", NOTEBOOKS / f"{name}.ipynb"
        if args.check and (not place.is_file() or place.read_text() != text):
            other.append(place.name)
        if not args.check:
            place.write_text(text)
    if other:
        print(f"{', '.join(other)}: not what the tutorials say; run python docs/notebooks.py")
    return bool(other)


if __name__ == "__main__":
    sys.exit(main())
