"""Other people's programs for choices, run as they are, beside ours on the same tables: score and time.

    python validation/peers_of_behaviour.py [--psytrack PYTHON] [--metalearn PYTHON --folder REPO] [--data ../shared/data]
        [--mice 3] [--json validation/results/peers_of_behaviour.json]

- *psytrack* (Roy et al. 2021; MIT) beside the baseline `random_walk`: observers simulated here, and mice where the
  folder of data is. PYTHON is an interpreter with `pip install psytrack`.
- *MetaLearnPlasticity* (Mehta et al. 2024; MIT) beside `PolicyNetwork(TaylorRule(...))`: flies that its own program
  simulates. REPO is a checkout of github.com/yashsmehta/MetaLearnPlasticity, PYTHON (3.11) has what it needs at versions that it
  runs with: `pip install jax==0.4.23 jaxlib==0.4.23 optax==0.1.7 chex==0.1.84 omegaconf==2.3.0 'numpy<2' 'scipy<1.13'
  'ml_dtypes<0.4' 'pandas<2.3' 'scikit-learn<1.6' psutil imageio tqdm matplotlib`. Newer JAX refuses its `float()` of an array,
  newer omegaconf has settings that cannot be hashed.

Every program has one thread, and times are those of the processor. About ten minutes of one core with --mice 3.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from beside_metalearn import NETWORKS, metalearn
from beside_psytrack import MICE, observers, psytrack
from peer_runs import Row, installed

import sbirules as sr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psytrack", help="an interpreter with psytrack")
    parser.add_argument("--metalearn", help="an interpreter with what MetaLearnPlasticity needs")
    parser.add_argument("--folder", type=Path, help="a checkout of MetaLearnPlasticity")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with mice_contrast.csv")
    parser.add_argument("--mice", type=int, default=3, help="how many of them")
    parser.add_argument("--seeds", type=int, default=1, help="how often MetaLearnPlasticity's example is made anew")
    parser.add_argument("--json", type=Path, help="where the rows go")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    versions = {name: version(name) for name in ("sbirules", "torch", "numba", "numpy")}

    def add(more: list[Row]) -> None:
        for r in more:
            print(", ".join(f"{k} {v}" if k not in ("group", "quantity") else f"{v}" for k, v in r.items()), flush=True)
        rows.extend(more)

    if args.psytrack:
        versions |= installed(args.psytrack, "psytrack")
        with tempfile.TemporaryDirectory() as folder:
            table, weights = observers(Path(folder))
        add(psytrack(args.psytrack, "psytrack, simulated observers", table, weights, 2))
        source = args.data / "mice_contrast.csv"
        if source.is_file() and args.mice:
            mice = sr.Trials.read(source, columns={**MICE, "reward": "correct"})
            mice = mice.subset(range(min(args.mice, len(mice))))
            add(psytrack(args.psytrack, f"psytrack, {len(mice)} mice", mice, None, 1))
        else:
            print("No mice: --mice is 0, or there is no mice_contrast.csv in the folder of data.")
    else:
        print("psytrack is left out: give --psytrack an interpreter that has it.")
    if args.metalearn and args.folder:
        versions |= installed(args.metalearn, "jax", "optax")
        for name in NETWORKS:
            add(metalearn(args.metalearn, args.folder, name, range(1, 1 + args.seeds)))
    else:
        print("MetaLearnPlasticity is left out: give --metalearn an interpreter and --folder a checkout of it.")
    if args.json:
        about = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread each",
        }
        args.json.write_text(json.dumps({**about, "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
