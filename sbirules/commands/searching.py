"""`sbirules search`: which terms the rule of a study of choices has."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sbirules.commands.exits import EXIT

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Searches, writes tables, figures and a page, and prints what was found.

    Raises:
        ValueError: If arguments or the study file are wrong, or the study is none of choices.
    """
    import torch

    from sbirules.studies.folders import trusted
    from sbirules.studies.searching import search_study
    from sbirules.studies.study import Study

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}.")
    torch.set_num_threads(1)
    if args.trust:
        trusted(args.study.parent)
    study = Study.read(args.study, trust=args.trust)
    out = args.out or Path("runs") / study.name
    bars = not (args.quiet or args.json) and sys.stderr.isatty()
    found, content = search_study(study, out, num_workers=args.workers, progress=bars)
    if args.json:
        print(json.dumps(content, indent=1))
    else:
        print(found)
        print(f"Results are in {out}: open {out / 'search.html'}")
    return EXIT["done"]
