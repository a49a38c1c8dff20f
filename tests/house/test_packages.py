"""What is installed is what lies in the tree, the version stands in one place, and no file is too large."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"sbirules": "sbirules", "simulators": "sbirules/simulators", "priors": "sbirules/priors"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = PROJECT["project"]["version"]
LARGE = 300_000  # bytes; a clone holds every version of every file for ever


def installed_names(root=ROOT):
    """Every file of ours in the tree, code and data, and its name in an installed package."""
    files = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    files = [path.relative_to(root) for path in files if "__pycache__" not in path.parts]
    return {path.as_posix(): "/".join([FOLDERS[path.parts[0]], *path.parts[1:]]) for path in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An sdist, and the wheel made from it, from a copy of the tree: building leaves folders behind."""
    folder = tmp_path_factory.mktemp("built")
    passing = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "sbi-logs", "site")
    shutil.copytree(ROOT, folder / "tree", ignore=passing)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "tree")]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def test_the_wheel_holds_the_tree_and_nothing_else(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        inside = {name for name in wheel.namelist() if not name.startswith(f"sbirules-{VERSION}.dist-info/")}
    assert inside == set(installed_names(built / "tree").values())
    assert {"sbirules/py.typed", "sbirules/studies/demo.toml", "sbirules/reporting/page/report.html"} <= inside


def test_the_sdist_holds_the_tree(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        inside = {member.name.split("/", 1)[1] for member in sdist if member.isfile()}
    assert {name for name in inside if name.split("/")[0] in FOLDERS} == set(installed_names(built / "tree"))
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside


def test_the_listed_packages_are_the_folders_with_code():
    folders = {name.rsplit("/", 1)[0] for name in installed_names().values() if name.endswith("/__init__.py")}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(name.replace("/", ".") for name in folders)
    python = {name.rsplit("/", 1)[0] for name in installed_names().values() if name.endswith(".py")}
    assert python == folders, "a folder with code and no __init__.py would not be installed"


def test_no_large_file_is_tracked():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in paths if path.is_file()}
    assert "pyproject.toml" in sizes
    assert not {name: size for name, size in sizes.items() if size > LARGE}


def test_the_version_stands_in_one_place():
    import sbirules

    assert sbirules.__version__ == VERSION, "run `make test`, which installs again after pyproject.toml has changed"
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited == [VERSION]
    written = [name for name in installed_names() if f'"{VERSION}"' in (ROOT / name).read_text("utf-8")]
    assert not written


def test_the_command_line_prints_what_a_report_of_a_fault_needs(capsys):
    import platform

    from sbirules.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    first = ["sbirules", "python", "torch", "numpy", "sbi", "zuko", "pyro-ppl", "arviz", "numba"]
    assert list(lines) == [*first, "machine", "gpu"]
    assert lines["sbirules"] == VERSION
    assert lines["python"] == platform.python_version()
    assert lines["machine"].startswith(platform.platform())
    assert all(re.match(r"\d+\.\d+", lines[name]) for name in first)


def test_a_missing_library_is_said_not_raised(capsys, monkeypatch):
    from sbirules import cli
    from sbirules.commands import versions

    monkeypatch.setattr(versions, "REPORTED", ("numpy", "no-such-library"))
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert "no-such-library not installed" in capsys.readouterr().out.splitlines()
