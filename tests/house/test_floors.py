"""The house: imports point down only, no circle among modules, nothing imported by a name that no tool can see."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# from the top down; what stands on one line shares a floor, and may not import its neighbour
FLOORS = (
    "cli",
    "commands",
    "studies",
    "reporting",
    "checks",
    "searches",
    "optimise",
    "importance",
    "inference",
    "samplers",
    "neural_nets",
    "figures",
    "stores",
    "simulators priors",
    "model",
    "support",
)
HEIGHT = {name: len(FLOORS) - k for k, floor in enumerate(FLOORS) for name in floor.split()}
# what imports a user's own code by name, when a study file asks for it
BY_NAME = {"sbirules.studies.catalogue"}


def modules() -> dict[str, Path]:
    """Every module of the package by its installed name."""
    out = {}
    for folder in ("sbirules", "simulators", "priors"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if folder == "sbirules" else ("sbirules", *parts)
            out[".".join(parts).removesuffix(".__init__")] = path
    return out


MODULES = modules()


def imports(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """What a module imports of ours, late imports and those for type checking included, and in which line."""
    package = name if path.name == "__init__.py" else name.rsplit(".", 1)[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            named = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([base] if base else [])])
            named = [(base, alias.name) for alias in node.names]
        else:
            continue
        for base, attribute in named:
            whole = f"{base}.{attribute}"
            found = whole if whole in MODULES else base
            if found in MODULES:
                yield found, node.lineno


GRAPH = {name: sorted(set(imports(name, path))) for name, path in MODULES.items()}


def floor(name: str) -> int:
    parts = name.split(".")
    return len(FLOORS) + 1 if len(parts) == 1 else HEIGHT[parts[1]]


def test_every_folder_has_a_floor():
    assert {name.split(".")[1] for name in MODULES if "." in name} <= set(HEIGHT)


def test_imports_point_down():
    up = [
        f"{name}:{line} imports {found}"
        for name, all_of in GRAPH.items()
        for found, line in all_of
        if found != "sbirules" and name.split(".")[1:2] != found.split(".")[1:2] and floor(found) >= floor(name)
    ]
    # the package itself stands above all: what imports it by name can see everything
    up += [
        f"{name}:{line} imports the package itself"
        for name, all_of in GRAPH.items()
        for found, line in all_of
        if found == "sbirules" and name != "sbirules.cli"
    ]
    assert not up, "\n".join(up)


def test_no_circle_among_modules():
    # a package's __init__ only hands names on: what imports the package depends on what is handed on
    graph = {name: {found for found, _ in all_of if found != name} for name, all_of in GRAPH.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_package_itself_holds_folders():
    files = {path.name for path in (ROOT / "sbirules").iterdir() if path.is_file()}
    assert files == {"__init__.py", "cli.py", "py.typed"}


def test_nothing_of_ours_is_imported_by_name():
    wrong = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func)
            if called not in ("import_module", "importlib.import_module", "__import__") or name in BY_NAME:
                continue
            given = ast.unparse(node.args[0])
            foreign = given.startswith(("'", '"')) and not given[1:].startswith((".", "sbirules"))
            if not foreign:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, wrong


def test_no_public_function_has_the_name_of_a_module():
    import sbirules

    names = {name.rsplit(".", 1)[-1] for name in MODULES}
    functions = {name for name in sbirules.__all__ if callable(getattr(sbirules, name))}
    assert not functions & names, functions & names


def test_files_hold_one_idea():
    long = {name: n for name, path in MODULES.items() if (n := len(path.read_text("utf-8").splitlines())) > 360}
    assert not long, long
