"""Do the checks see what is wrong? Right and wrong posteriors, and right and wrong models, twenty times each.

    python validation/verdicts.py [--quick] [--json validation/results/verdicts.json] [--write docs/verdicts.md]

Three problems whose simulators cost nothing or little:

- *lines*: x = A theta + noise, three coefficients, six summaries; the posterior is known and made wrong on purpose, or the
  data come from another model than the posterior's.
- *learners*: 24 networks that learn delayed discrimination under one rule; data from the same networks, or with another delay,
  another rule than the prior holds, other noise.
- *success*: constraints on the errors of trials; a classifier that learned from right or from shuffled outcomes.

A posterior is caught where any check fails, or cautions though it cautions of at most one in ten right ones of its problem.
Seeds are fixed below. On two cores about half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from joblib import Parallel, delayed
from verdict_cases import FAILED, PROBLEMS, Case

REPEATS, QUICK = 20, 3


def noisy_checks(right: list[Case]) -> frozenset[str]:
    """Checks that caution of more than one in ten right ones."""
    every = [found for case in right for found in case.levels]
    doubts = Counter(name for found in every for name, level in found.items() if level != "pass")
    return frozenset(name for name, count in doubts.items() if count > FAILED * len(every))


def cases_of(problem: str, repeats: Sequence[int]) -> list[Case]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return list(PROBLEMS[problem](repeats))


def every_case(problems: Sequence[str], repeats: int) -> list[Case]:
    """All cases of some problems, half of the repeats of each in each of two processes."""
    halves = [range(k, repeats, 2) for k in (0, 1)]
    jobs = [(problem, half) for problem in problems for half in halves]
    parts = Parallel(n_jobs=2)(delayed(cases_of)(*job) for job in jobs)
    cases: list[Case] = []
    for first, second in zip(parts[::2], parts[1::2], strict=True):
        whole = [replace(a, levels=a.levels + b.levels) for a, b in zip(first, second, strict=True)]
        noisy = noisy_checks([case for case in whole if case.right])
        cases += [replace(case, noisy=noisy) for case in whole]
    return cases


def table(cases: list[Case]) -> str:
    """One line a case: how often it is caught or doubted, and by which checks."""
    out = ["| problem | posterior, data | caught | caution or fail | fail | by |", "|---|---|---|---|---|---|"]
    for case in cases:
        by: Counter[str] = Counter(name for found in case.levels for name, level in found.items() if level != "pass")
        listed = ", ".join(f"{name} {n}" for name, n in by.most_common(6))
        caught = "-" if case.right else str(case.caught)
        name = f"**right**: {case.name}" if case.right else case.name
        out.append(f"| {case.problem} | {name} | {caught} | {case.doubted} | {case.failed} | {listed or '-'} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} repeats of each in place of {REPEATS}")
    parser.add_argument("--only", choices=list(PROBLEMS), help="one of the problems")
    parser.add_argument("--json", type=Path, help="where rows and levels go")
    parser.add_argument("--write", type=Path, help="where the table goes, as Markdown")
    args = parser.parse_args()
    repeats, clock = QUICK if args.quick else REPEATS, time.monotonic()
    cases = every_case(list(PROBLEMS) if args.only is None else [args.only], repeats)
    rows = [case.row() for case in cases]
    for row in rows:
        print(f"{'met   ' if row['met'] else 'MISSED'} {row['goal']}: {row['found']}, wanted {row['wanted']}")
    made = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU",
        "versions": {name: version(name) for name in ("torch", "sbi", "scikit-learn", "numpy")},
        "repeats": repeats,
        "seconds": round(time.monotonic() - clock),
    }
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        kept = [{"problem": c.problem, "case": c.name, "right": c.right, "levels": c.levels} for c in cases]
        args.json.write_text(json.dumps({**made, "rows": rows, "cases": kept}, indent=1) + "\n", encoding="utf-8")
    if args.write is not None:
        words = f"{repeats} repeats of each, {made['date']}, {made['machine']}, {made['seconds'] / 60:.0f} minutes."
        args.write.write_text(f"{table(cases)}\n\n{words}\n", encoding="utf-8")
    missed = [row["goal"] for row in rows if not row["met"]]
    if missed:
        sys.exit(f"{len(missed)} of {len(rows)} goals are missed.")


if __name__ == "__main__":
    main()
