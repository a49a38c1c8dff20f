"""The command line: whole studies, resumable. Each command is a module of `sbirules.commands`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sbirules.commands import completing, listing, merging, new, opening, showing, studies, tables
from sbirules.commands.exits import EXIT
from sbirules.commands.parsing import parser

__all__ = ["EXIT", "main"]

OTHERS = {  # than those that run studies
    "completion": completing,
    "data": tables,
    "list": listing,
    "merge": merging,
    "new": new,
    "open": opening,
    "show": showing,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, one of `EXIT`."""
    from sbirules.support.ending import Terminated, terminable

    with terminable():
        try:
            args = parser().parse_args(argv)
            code: int = OTHERS.get(args.command, studies).run(args)
            return code
        except BrokenPipeError:
            return EXIT["done"]
        except (ValueError, OSError) as error:
            print(f"sbirules: {error}", file=sys.stderr)
            return EXIT["wrong input"]
        except KeyboardInterrupt as stop:
            print("\nsbirules: stopped; run the same command again to go on from here.", file=sys.stderr)
            return EXIT["terminated" if isinstance(stop, Terminated) else "interrupted"]
        finally:
            _let_go()


def _let_go() -> None:
    """Hands on what was printed, quietly where whoever reads has seen enough, as `head` has, or never looked."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    if not sys.flags.safe_path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # `python -m` looks in the current folder first, where study files may lie; see --trust
    sys.exit(main())
