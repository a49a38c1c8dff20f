"""Joining what array jobs made."""

from __future__ import annotations

import argparse

from sbirules.commands.exits import EXIT

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Joins stores into one and says how many simulations it holds.

    Raises:
        ValueError: If a part is incomplete, or was made with other settings than the others.
    """
    from sbirules.stores.merging import merge

    store = merge([part / "store" for part in args.parts], args.out / "store")
    failed = {name.lower(): n for name, n in store.status_counts().items() if n and name != "OK"}
    print(f"{len(store)} simulations are in {store.path}; failed: {failed or 'none'}")
    return EXIT["done"]
