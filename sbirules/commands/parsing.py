"""Which commands and options there are: the parser that help, completion and the commands themselves share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sbirules.commands.exits import CODES
from sbirules.commands.versions import versions

__all__ = ["LISTS", "QUESTIONS", "SHELLS", "a_path", "parser"]

LISTS = ("families", "tasks", "simulators", "priors", "summaries")
QUESTIONS = ("constraints", "data", "choices", "recordings", "sessions", "observation")  # that `new` writes a study of
SHELLS = ("bash", "zsh", "fish")


class _Version(argparse.Action):
    """Looks versions up only when they are asked for, unlike argparse's own."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for line in versions():
            print(line)
        parser.exit()


def a_path(text: str) -> Path:
    """A path from the command line; an empty one, as from an unset variable, would be the current folder.

    Raises:
        ArgumentTypeError: If it is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"a path is needed, got {text!r}")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    out = argparse.ArgumentParser(
        prog="sbirules",
        description="Simulation-based inference over families of synaptic plasticity rules.",
        epilog=CODES,
    )
    out.add_argument("--version", action=_Version, nargs=0, help="print the versions and the machine, and stop")
    commands = out.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, epilog=CODES)

    new = command("new", "Write a study file with comments to start from.")
    new.add_argument(
        "file", metavar="FILE", type=a_path, help="the study file to write, such as mine.toml; must not exist"
    )
    new.add_argument(
        "--question", choices=QUESTIONS, default=QUESTIONS[0], help=f"what it asks (default: {QUESTIONS[0]})"
    )
    demo = command("demo", "Run a bundled study: which rules of degree 3 learn delayed discrimination?")
    other = demo.add_mutually_exclusive_group()
    other.add_argument("--behaviour", action="store_true", help="another one: which rule moves the choices of flies?")
    other.add_argument(
        "--spiking", action="store_true", help="another one: which rules of spikes keep a network plausible?"
    )
    run = command("run", "Run a study file: simulate, fit, check, report. Picks up where it stopped.")
    search = command(
        "search", "Search for the terms of a rule of choices: which structure, in place of which coefficients?"
    )
    simulate = command("simulate", "Only simulate, all of a study or a range of shards (for array jobs).")
    simulate.add_argument("--shards", metavar="A:B", help="shards A to B - 1, counted from zero (default: all)")
    simulate.add_argument("--device", metavar="D", help="torch device, for instance cuda (default: cpu)")
    stages = [
        command("fit", "Fit the posterior of a results folder again, if its study.toml changed."),
        command("check", "Check the posterior of a results folder: predictions, calibration, variants."),
        command("report", "Write report.html, figures and summary.json of a results folder anew."),
    ]
    _of_studies(demo, run, simulate, search, stages)
    results = "a folder made by sbirules run or demo"
    show = command("show", "Show what a results folder says: question, verdicts, coefficients, what is missing.")
    show.add_argument("folder", metavar="DIR", type=a_path, help=results)
    show.add_argument("--json", action="store_true", help="print the content of summary.json, nothing else")
    opened = command("open", "Open the report of a results folder in the browser.")
    opened.add_argument("folder", metavar="DIR", type=a_path, help=results)

    merge = command("merge", "Join stores made by simulate --shards in folders of their own.")
    merge.add_argument("parts", metavar="DIR", type=a_path, nargs="+", help="results of simulate --shards")
    merge.add_argument("--out", metavar="DIR", type=a_path, required=True, help="where the joined results go")

    data = command("data", "Say what a table of choices, errors or recordings holds, as it would be read.")
    data.add_argument("file", metavar="FILE", type=a_path, help="a table, or a study file with [data]")
    pairs: dict[str, Any] = {"action": "extend", "nargs": "+", "default": []}
    data.add_argument(
        "--columns",
        metavar="ROLE=COLUMN",
        **pairs,
        help="such as learner=fly,choice=odor,stimulus=a+b; values=dff for recordings",
    )
    data.add_argument("--rows", metavar="COLUMN=VALUE", **pairs, help="rows that are read, such as accept=1")
    data.add_argument("--unit", metavar="UNIT", help="what recorded values are measured in, such as Hz or dF/F")
    data.add_argument("--json", action="store_true", help="print the same as JSON")

    catalogue = command("list", "List what studies can name.")
    catalogue.add_argument("what", choices=LISTS, help="which catalogue")
    catalogue.add_argument("--json", action="store_true", help="print names and descriptions as JSON")
    completion = command("completion", "Print a script by which a shell completes commands, options and files.")
    completion.add_argument("shell", choices=SHELLS, help="which shell")
    return out


def _of_studies(
    demo: argparse.ArgumentParser,
    run: argparse.ArgumentParser,
    simulate: argparse.ArgumentParser,
    search: argparse.ArgumentParser,
    stages: list[argparse.ArgumentParser],
) -> None:
    """What commands that run studies take."""
    trust = 'let names of the form "module:Class" import your own code'
    for parsed in (run, simulate, search):
        parsed.add_argument("study", metavar="STUDY.toml", type=a_path, help="the study file")
    for parsed in (run, simulate):
        parsed.add_argument(
            "--dry-run",
            action="store_true",
            help="print the resolved study, the expected time, disk and memory, and stop",
        )
    for parsed in stages:
        parsed.add_argument("folder", metavar="DIR", type=a_path, help="a folder made by sbirules run or demo")
    for parsed in (run, simulate, search, *stages):
        parsed.add_argument("--trust", action="store_true", help=trust)
    named = "runs/<name of the study file>"
    for parsed, default in (
        (demo, "runs/demo, runs/behaviour or runs/spiking"),
        (run, named),
        (simulate, named),
        (search, named),
    ):
        parsed.add_argument("--out", metavar="DIR", type=a_path, help=f"where results go (default: {default})")
    for parsed in (demo, run, simulate, search, *stages):
        parsed.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")
        parsed.add_argument(
            "--quiet", action="store_true", help="only the answer and what is wrong: no stages, no progress bars"
        )
    search.add_argument("--json", action="store_true", help="print the content of search.json, nothing else")
    for parsed in (demo, run, *stages):
        parsed.add_argument("--json", action="store_true", help="print the content of summary.json, nothing else")
        parsed.add_argument("--strict", action="store_true", help="exit with 1 if a check fails")
