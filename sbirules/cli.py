"""The command line: whole studies, resumable."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbirules.studies.study import Study

__all__ = ["EXIT", "main"]

LISTS = ("families", "tasks", "simulators", "priors", "summaries")
EXIT = {"done": 0, "failed checks": 1, "wrong input": 2, "interrupted": 130, "terminated": 143}
CODES = (
    "exit codes: 0 done; 1 done, but with --strict a check failed; 2 wrong input; 130 interrupted, 143 terminated (run "
    "again to go on)"
)

# what a report of a fault needs besides Python and the machine
REPORTED = ("torch", "numpy", "sbi", "zuko", "pyro-ppl", "arviz", "numba")


def _versions() -> Iterator[str]:
    def line(name: str) -> str:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return f"{name} not installed"

    yield line("sbirules")
    yield f"python {platform.python_version()}"
    yield from map(line, REPORTED)
    yield f"machine {platform.platform()}, {platform.processor() or platform.machine()}"
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield f"gpu {', '.join(names) or 'none'}"


class _Version(argparse.Action):
    """Looks versions up only when they are asked for, unlike argparse's own."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for line in _versions():
            print(line)
        parser.exit()


def _place(text: str) -> Path:
    """A path from the command line; an empty one, as from an unset variable, would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"a path is needed, got {text!r}")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sbirules",
        description="Simulation-based inference over families of synaptic plasticity rules.",
        epilog=CODES,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the versions and the machine, and stop")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, epilog=CODES)

    demo = command("demo", "Run a bundled study: which rules of degree 3 learn delayed discrimination?")
    demo.add_argument("--behaviour", action="store_true", help="the other one: which rule moves the choices of flies?")
    run = command("run", "Run a study file: simulate, fit, check, report. Picks up where it stopped.")
    simulate = command("simulate", "Only simulate, all of a study or a range of shards (for array jobs).")
    simulate.add_argument("--shards", metavar="A:B", help="shards A to B - 1, counted from zero (default: all)")
    simulate.add_argument("--device", metavar="D", help="torch device, for instance cuda (default: cpu)")
    stages = [
        command("fit", "Fit the posterior of a results folder again, if its study.toml changed."),
        command("check", "Check the posterior of a results folder: predictions, calibration, variants."),
        command("report", "Write report.html, figures and summary.json of a results folder anew."),
    ]
    trust = 'let names of the form "module:Class" import your own code'
    for parsed in (run, simulate):
        parsed.add_argument("study", metavar="STUDY.toml", type=_place, help="the study file")
        parsed.add_argument(
            "--dry-run",
            action="store_true",
            help="print the resolved study, the expected time, disk and memory, and stop",
        )
    for parsed in stages:
        parsed.add_argument("folder", metavar="DIR", type=_place, help="a folder made by sbirules run or demo")
    for parsed in (run, simulate, *stages):
        parsed.add_argument("--trust", action="store_true", help=trust)
    named = "runs/<name of the study file>"
    for parsed, default in ((demo, "runs/demo or runs/behaviour"), (run, named), (simulate, named)):
        parsed.add_argument("--out", metavar="DIR", type=_place, help=f"where results go (default: {default})")
    for parsed in (demo, run, simulate, *stages):
        parsed.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")
        parsed.add_argument("--quiet", action="store_true", help="no progress bars")
    for parsed in (demo, run, *stages):
        parsed.add_argument("--json", action="store_true", help="print the content of summary.json, nothing else")
        parsed.add_argument("--strict", action="store_true", help="exit with 1 if a check fails")

    merge = command("merge", "Join stores made by simulate --shards in folders of their own.")
    merge.add_argument("parts", metavar="DIR", type=_place, nargs="+", help="results of simulate --shards")
    merge.add_argument("--out", metavar="DIR", type=_place, required=True, help="where the joined results go")

    data = command("data", "Say what a table of choices or errors holds, as it would be read.")
    data.add_argument("file", metavar="FILE", type=_place, help="a table, or a study file with [data]")
    pairs: dict[str, Any] = {"action": "extend", "nargs": "+", "default": []}
    data.add_argument("--columns", metavar="ROLE=COLUMN", **pairs, help="such as learner=fly,choice=odor,stimulus=a+b")
    data.add_argument("--rows", metavar="COLUMN=VALUE", **pairs, help="rows that are read, such as accept=1")
    data.add_argument("--json", action="store_true", help="print the same as JSON")

    show = command("list", "List what studies can name.")
    show.add_argument("what", choices=LISTS, help="which catalogue")
    show.add_argument("--json", action="store_true", help="print names and descriptions as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, one of `EXIT`."""
    from sbirules.support.ending import Terminated, terminable

    args = _parser().parse_args(argv)
    with terminable():
        try:
            if args.command == "list":
                return _list(args)
            if args.command == "merge":
                return _merge(args)
            if args.command == "data":
                return _data(args)
            return _run(args)
        except (ValueError, OSError) as error:
            print(f"sbirules: {error}", file=sys.stderr)
            return EXIT["wrong input"]
        except KeyboardInterrupt as stop:
            print("\nsbirules: stopped; run the same command again to go on from here.", file=sys.stderr)
            return EXIT["terminated" if isinstance(stop, Terminated) else "interrupted"]


def _run(args: argparse.Namespace) -> int:
    import torch

    from sbirules.studies.stages import STAGES, run_study, study_of, trusted
    from sbirules.studies.study import Study
    from sbirules.support.files import plain

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    torch.set_num_threads(1)
    if args.command == "demo":
        name = "behaviour.toml" if args.behaviour else "demo.toml"
        with resources.as_file(resources.files("sbirules").joinpath("studies")) as folder:  # with the table it names
            study = Study.read(folder / name)
    elif args.command in STAGES:
        study = study_of(args.folder, trust=args.trust)
        args.out = args.folder
    else:
        if args.trust:
            trusted(args.study.parent)
        study = Study.read(args.study, trust=args.trust)
        if args.dry_run:
            return _dry_run(study, args.out or Path("runs") / study.name, args.workers)
    out = args.out or Path("runs") / study.name
    if args.command == "simulate":
        return _simulate(args, study, out)
    until = args.command if args.command in STAGES else "report"
    result = run_study(
        study,
        out,
        until=until,
        num_workers=args.workers,
        progress=not (args.quiet or args.json),
        say=lambda line: None if args.json else print(line, flush=True),
    )
    if args.json:
        print(json.dumps(plain(result), indent=1))
    else:
        _print_findings(result)
        page = f": open {out / 'report.html'}" if until == "report" else ""
        print(f"Results are in {out}{page}")
    failed = result.get("checks", {}).get("verdict") == "fail"
    return EXIT["failed checks"] if failed and args.strict else EXIT["done"]


def _dry_run(study: Study, out: Path, workers: int | None) -> int:
    import tomli_w

    from sbirules.studies.expected_room import expected_room
    from sbirules.studies.expected_time import forecast
    from sbirules.studies.stages import plain_toml

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
    store = simulate_stage(study, out, args.workers, not args.quiet, shards=shards)
    made = "all shards" if shards is None else f"shards {args.shards}"
    print(f"{made} of {study.name} are in {store.path}")
    return EXIT["done"]


def _merge(args: argparse.Namespace) -> int:
    from sbirules.stores.merging import merge

    store = merge([part / "store" for part in args.parts], args.out / "store")
    failed = {name.lower(): n for name, n in store.status_counts().items() if n and name != "OK"}
    print(f"{len(store)} simulations are in {store.path}; failed: {failed or 'none'}")
    return EXIT["done"]


def _print_findings(result: dict[str, Any]) -> None:
    for name, check in result.get("checks", {}).get("checks", {}).items():
        print(f"  {check['verdict']:<8} {name}: {check['finding']}")
        if check["advice"]:
            print(f"{'':<11}{check['advice']}")
    headline = result.get("checks", {}).get("headline", "")
    if headline:
        print(f"  {headline}")
    if "constraint" in result:
        c = result["constraint"]
        for name in ("posterior_success", "prior_success", "zero_rule_success", "posterior_reliable"):
            print(f"  {name:<20} {c[name]:.3f} ± {c[name + '_se']:.3f}")
    if "data" in result:
        print(f"  predictive_coverage  {result['data']['predictive_coverage']:.2f}")
    draws = {name: (p["q025"], p["q975"]) for name, p in result["parameters"].items()}
    clear = [n for n, (low, high) in draws.items() if low > 0 or high < 0]
    clear = [n for n in clear if not n.startswith("tau_") and n not in ("lapse", "rbar_rate")]  # never below zero
    print(f"  95 % interval excludes zero: {', '.join(clear) if clear else 'no coefficient'}")


def _data(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from sbirules.model.tables import Trials
    from sbirules.support.columns import Columns
    from sbirules.support.files import plain

    columns: dict[str, Any] = dict(_pairs("--columns", args.columns))
    if "stimulus" in columns:
        columns["stimulus"] = columns["stimulus"].split("+")
    rows = dict(_pairs("--rows", args.rows))
    reading: dict[str, Any] = {"columns": {k: v or None for k, v in columns.items()}, "rows": rows}
    reading = {key: value for key, value in reading.items() if value}
    path = args.file
    if path.suffix.lower() == ".toml":
        if reading:
            raise ValueError(f"--{next(iter(reading))} belongs to a table; a study file says it in [data].")
        path, reading = _data_of(path)
    names: tuple[str, ...] = ()
    told = reading.get("columns", {})
    if not {"choice", "accept"} & set(told):  # by the columns that it has, a table of errors may be one
        table = Columns.read("trials", path)
        if not {"choice", "accept"} & set(table.names) and {"error", "correct"} & {*table.names, *told}:
            types = told.get("trial_type", "trial_type")
            names = tuple(dict.fromkeys(table.labels(types))) if types in table else ("all",)
    summary = Trials.read(path, sorted(names) or None, **reading).describe()
    print(json.dumps(plain(asdict(summary)), indent=1) if args.json else summary)
    return EXIT["done"]


def _pairs(option: str, given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values of `a=b,c=d`."""
    for text in (one for part in given for one in part.split(",") if one.strip()):
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{option} must be like name=value, separated by commas, got {text!r}.")
        yield name.strip(), value.strip()


def _data_of(path: Path) -> tuple[Path, dict[str, Any]]:
    """The table that a study file names in [data], and how it is to be read."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error
    section = content.get("data")
    if not isinstance(section, dict) or not isinstance(section.get("trials"), str):
        raise ValueError(f'{path.name} names no table: it needs [data] with trials = "choices.csv".')
    reading = {key: section[key] for key in ("columns", "rows", "options", "one_hot") if key in section}
    for key in ("columns", "rows"):
        if not isinstance(reading.get(key, {}), dict):
            raise ValueError(f"[data] {key} must be a table of names, got {reading[key]!r:.80}.")
    return path.parent / section["trials"], reading


def _list(args: argparse.Namespace) -> int:
    from sbirules.studies.catalogue import described

    found = described(args.what)
    if args.json:
        print(json.dumps(dict(found), indent=1))
    else:
        for name, text in found:
            print(f"{name:<28} {text}".rstrip())
    return EXIT["done"]


if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # `python -m` looks in the current folder first, where study files may lie; see --trust
    sys.exit(main())
