"""Opening a report in the browser."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from sbirules.commands.exits import EXIT
from sbirules.commands.results import remedy

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    """Opens report.html, or the page of a search; prints where it is where there is nothing to open it with.

    Raises:
        ValueError: If the folder holds no report.
    """
    page: Path = args.folder / "report.html"
    if not page.is_file():
        page = args.folder / "search.html"
    if not page.is_file():
        raise ValueError(f"{args.folder} holds no report.html; {remedy(args.folder)}")
    print(f"opened {page}" if _opened(page) else page)
    return EXIT["done"]


def _opened(page: Path) -> bool:
    """Whether a browser took the page. Without a display only one that the user names in BROWSER is asked: others that
    were found would be those of text terminals."""
    shown = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    try:
        return bool(shown) and webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError):
        return False
