"""`sbirules completion`: everything that the parser knows is in the scripts, and shells take them."""

import re
import shutil
import subprocess

import pytest

from sbirules.cli import main
from sbirules.commands.completing import SCRIPTS, commands_of
from sbirules.commands.parsing import SHELLS, parser

COMMANDS = commands_of(parser())

# what a completion of the words up to the cursor offers
ASK = """
source ./sbirules.bash
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sbirules; (IFS=,; echo "${COMPREPLY[*]}"); }
"""


def written(shell, capsys):
    capsys.readouterr()
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def test_shells_are_those_that_the_parser_offers():
    assert set(SHELLS) == set(SCRIPTS)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_option_and_choice_is_in_the_script(shell, capsys):
    script = written(shell, capsys)
    words = set(re.split(r"[^\w-]+", script.replace("\\n", " ")))
    for name, command in COMMANDS.items():
        if name:
            assert name in words
        for argument in command.arguments:
            for option in argument.options:
                shown = (
                    option if shell != "fish" else f"-{'l' if option.startswith('--') else 's'} {option.lstrip('-')}"
                )
                assert shown in script if shell == "fish" else shown in words, (name, option)
            for choice in argument.choices:
                assert choice in words, (name, choice)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_its_script(shell, tmp_path, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(written(shell, capsys))
    checked = subprocess.run([shell, "-n", "script"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert not checked.stderr


def test_bash_offers_what_fits_the_place(tmp_path, capsys):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "sbirules.bash").write_text(written("bash", capsys))
    for name in ("one.toml", "two words.toml", "table.csv"):
        (tmp_path / name).touch()
    (tmp_path / "runs").mkdir()

    def offered(*words):
        asked = ASK + "ask " + " ".join(f"'{word}'" for word in ("sbirules", *words))
        told = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True)
        assert not told.stderr
        return set(told.stdout.strip().split(",")) - {""}

    assert offered("co") == {"completion"}
    assert offered("run", "") == {"one.toml", "two words.toml", "runs"}
    assert offered("run", "one.toml", "--out", "") == {"runs"}
    assert offered("run", "--dry") == {"--dry-run"}
    assert offered("new", "--question", "c") == {"constraints", "choices"}
    assert offered("list", "pri") == {"priors"}
    assert offered("show", "") == {"runs"}
    assert offered("data", "t") == {"two words.toml", "table.csv"}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_what_fits_the_place(tmp_path, capsys):
    (tmp_path / "sbirules.fish").write_text(written("fish", capsys))

    def offered(line):
        told = subprocess.run(
            ["fish", "-c", f"source sbirules.fish; complete -C '{line}'"], cwd=tmp_path, capture_output=True, text=True
        )
        return {row.split("\t")[0] for row in told.stdout.splitlines()}

    assert offered("sbirules co") == {"completion"}
    assert offered("sbirules new --question c") == {"constraints", "choices"}
    assert offered("sbirules list pri") == {"priors"}
