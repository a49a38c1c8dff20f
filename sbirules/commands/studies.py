"""Running studies: demo, run, search, simulate, and single stages on a folder of results."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbirules.commands.exits import EXIT

if TYPE_CHECKING:
    from sbirules.studies.study import Study

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Runs a study, or a stage of one, and prints what was found.

    Raises:
        ValueError: If arguments, the study file or its folder are wrong.
    """
    import torch

    from sbirules.studies.folders import study_of, trusted
    from sbirules.studies.stages import STAGES, run_study
    from sbirules.studies.study import Study
    from sbirules.support.files import plain

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    torch.set_num_threads(1)
    if args.command == "demo":
        name = "behaviour.toml" if args.behaviour else "spiking.toml" if args.spiking else "demo.toml"
        with resources.as_file(resources.files("sbirules").joinpath("studies")) as folder:  # with the table it names
            study = Study.read(folder / name)
    elif args.command in STAGES:
        study = study_of(args.folder, trust=args.trust)
        args.out = args.folder
    else:
        if args.trust:
            trusted(args.study.parent)
        study = Study.read(args.study, trust=args.trust)
        if getattr(args, "dry_run", False):
            return _dry_run(study, args.out or Path("runs") / study.name, args.workers)
    out = args.out or Path("runs") / study.name
    if args.command == "simulate":
        return _simulate(args, study, out)
    if args.command == "search":
        return _search(args, study, out)
    until = args.command if args.command in STAGES else "report"
    result = run_study(
        study,
        out,
        until=until,
        num_workers=args.workers,
        progress=_bars(args),
        say=lambda line: None if args.json or args.quiet else print(line, flush=True),
    )
    if args.json:
        print(json.dumps(plain(result), indent=1))
    else:
        _print_findings(result)
        page = f": open {out / 'report.html'}" if until == "report" else ""
        print(f"Results are in {out}{page}")
    failed = result.get("checks", {}).get("verdict") == "fail"
    return EXIT["failed checks"] if failed and args.strict else EXIT["done"]


def _bars(args: argparse.Namespace) -> bool:
    """Whether progress bars are shown: only to people, who sit at a terminal; a file would get a line for every step."""
    return not (args.quiet or getattr(args, "json", False)) and sys.stderr.isatty()


def _dry_run(study: Study, out: Path, workers: int | None) -> int:
    import tomli_w

    from sbirules.studies.expected_room import expected_room
    from sbirules.studies.expected_time import forecast
    from sbirules.studies.folders import plain_toml, refuse_other_simulations

    refuse_other_simulations(study, out)
    room = expected_room(study, out, workers)  # says what does not fit, before anything is simulated
    for line in (*forecast(study, workers), *room):
        print(f"# {line}")
    print(tomli_w.dumps(plain_toml(study.resolved())), end="")
    return EXIT["done"]


def _simulate(args: argparse.Namespace, study: Study, out: Path) -> int:
    from dataclasses import replace

    from sbirules.model.abilities import Adjustable, needed
    from sbirules.studies.stages import simulate_stage

    shards = None
    if args.shards is not None:
        first, colon, stop = args.shards.partition(":")
        if not (colon and first.isdigit() and stop.isdigit()):
            raise ValueError(f"--shards must be A:B with whole numbers, for instance 0:8, got {args.shards!r}.")
        shards = (int(first), int(stop))
    if args.device is not None:
        adjustable = needed(study.simulator, Adjustable, "--device")
        study = replace(study, simulator=adjustable.with_settings(device=args.device))
    store = simulate_stage(study, out, args.workers, _bars(args), shards=shards)
    made = "all shards" if shards is None else f"shards {args.shards}"
    print(f"{made} of {study.name} are in {store.path}")
    return EXIT["done"]


def _search(args: argparse.Namespace, study: Study, out: Path) -> int:
    from sbirules.studies.searching import search_study

    found, content = search_study(study, out, num_workers=args.workers, progress=_bars(args))
    if args.json:
        print(json.dumps(content, indent=1))
    else:
        print(found)
        print(f"Results are in {out}: open {out / 'search.html'}")
    return EXIT["done"]


def _print_findings(result: dict[str, Any]) -> None:
    for name, check in result.get("checks", {}).get("checks", {}).items():
        print(f"  {check['verdict']:<8} {name}: {check['finding']}")
        if check["advice"]:
            print(f"{'':<11}{check['advice']}")
    headline = result.get("checks", {}).get("headline", "")
    if headline:
        print(f"  {headline}")
    if "baselines" in result:
        print(f"  {result['baselines']['plasticity']}")
    if "constraint" in result:
        c = result["constraint"]
        for name in ("posterior_success", "prior_success", "zero_rule_success", "posterior_reliable"):
            print(f"  {name:<20} {c[name]:.3f} ± {c[name + '_se']:.3f}")
    if "data" in result:
        print(f"  predictive_coverage  {result['data']['predictive_coverage']:.2f}")
    clear = [name for name, p in result["parameters"].items() if p["excludes_zero"]]
    print(f"  95 % interval excludes zero: {', '.join(clear) if clear else 'no coefficient'}")
