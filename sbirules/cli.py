"""The command line: whole studies, resumable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbirules.study import Study

__all__ = ["main"]

LISTS = ("families", "tasks", "simulators", "priors", "summaries")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sbirules", description="Simulation-based inference over families of synaptic plasticity rules."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    demo = command("demo", "Run the bundled study: which rules of degree 3 learn delayed discrimination?")
    run = command("run", "Run a study file: simulate, fit, check, report. Picks up where it stopped.")
    run.add_argument("study", metavar="STUDY.toml", type=Path, help="the study file")
    run.add_argument("--dry-run", action="store_true", help="print the resolved study and stop")
    run.add_argument("--trust", action="store_true", help='let names of the form "module:Class" import your own code')
    for parsed, default in ((demo, "runs/demo"), (run, "runs/<name of the study file>")):
        parsed.add_argument("--out", metavar="DIR", type=Path, help=f"where results go (default: {default})")
        parsed.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one per core)")
        parsed.add_argument("--quiet", action="store_true", help="no progress bars")

    show = command("list", "List what studies can name.")
    show.add_argument("what", choices=LISTS, help="which catalogue")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "list":
            for name, text in _catalogue(args.what):
                print(f"{name:<28} {text}".rstrip())
            return 0
        return _run(args)
    except (ValueError, OSError) as error:
        print(f"sbirules: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsbirules: stopped; run the same command again to go on from here.", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    import tomli_w
    import torch

    from sbirules.pipeline import plain_toml, run_study
    from sbirules.study import Study

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    if args.command == "demo":
        with resources.as_file(resources.files("sbirules").joinpath("demo.toml")) as path:
            study = Study.read(path)
    else:
        sys.path.insert(0, str(args.study.resolve().parent))  # where a user's "module:Class" lies
        study = Study.read(args.study, trust=args.trust)
        if args.dry_run:
            print(tomli_w.dumps(plain_toml(study.resolved())), end="")
            return 0
    out = args.out or Path("runs") / study.name
    torch.set_num_threads(1)
    result = run_study(
        study, out, num_workers=args.workers, progress=not args.quiet, say=lambda line: print(line, flush=True)
    )
    _print_findings(study, result)
    print(f"Results are in {out}: open {out / 'report.html'}")
    return 0


def _print_findings(study: Study, result: dict[str, Any]) -> None:
    if "constraint" in result:
        c = result["constraint"]
        for name in ("posterior_success", "prior_success", "zero_rule_success", "posterior_reliable"):
            print(f"  {name:<20} {c[name]:.3f} ± {c[name + '_se']:.3f}")
    if "data" in result:
        print(f"  predictive_coverage  {result['data']['predictive_coverage']:.2f}")
    draws = {name: (p["q025"], p["q975"]) for name, p in result["parameters"].items()}
    clear = [n for n, (low, high) in draws.items() if low > 0 or high < 0]
    clear = [n for n in clear if not n.startswith("tau_")]
    print(f"  95 % interval excludes zero: {', '.join(clear) if clear else 'no coefficient'}")


def _catalogue(what: str) -> list[tuple[str, str]]:
    from sbirules import catalogue
    from sbirules.summaries import CATALOGUE

    if what == "summaries":
        return [(name, s.help) for name, s in CATALOGUE.items()]
    catalogues: dict[str, dict[str, Any]] = {
        "families": catalogue.FAMILIES,
        "tasks": catalogue.TASKS,
        "simulators": catalogue.SIMULATORS,
        "priors": catalogue.PRIORS,
    }
    out = []
    for name, maker in catalogues[what].items():
        maker = catalogue.load(maker) if isinstance(maker, str) else maker
        out.append((name, (maker.__doc__ or "").strip().splitlines()[0]))
    if what == "priors":
        out.append(("log_uniform", "Uniform in the logarithm: for time constants, as [prior.tau_e]."))
    return out


if __name__ == "__main__":
    sys.exit(main())
