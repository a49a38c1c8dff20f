"""Self-contained pages: a template with the style and scripts that stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sbirules.support.files import make_folder, write_bytes

__all__ = ["write_page"]


def write_page(path: str | Path, template: str, scripts: Sequence[str], **content: Any) -> None:
    """Writes a page from a template of the folder `page`, given the names of its scripts and what it shows."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sbirules.reporting", "page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    folder = resources.files("sbirules.reporting").joinpath("page")
    page = environment.get_template(template).render(
        style=Markup(folder.joinpath("report.css").read_text("utf-8")),
        script=Markup("\n".join(folder.joinpath(name).read_text("utf-8") for name in scripts)),
        **content,
    )
    make_folder(Path(path).parent)
    write_bytes(Path(path), page.encode())
