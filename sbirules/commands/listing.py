"""Listing what studies can name."""

from __future__ import annotations

import argparse
import json

from sbirules.commands.exits import EXIT

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Prints a catalogue: names, and a line on each."""
    from sbirules.studies.catalogue import described

    found = described(args.what)
    if args.json:
        print(json.dumps(dict(found), indent=1))
    else:
        for name, text in found:
            print(f"{name:<28} {text}".rstrip())
    return EXIT["done"]
