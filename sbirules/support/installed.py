"""Refuses to be put together from two places.

In the repository `simulators/` and `priors/` lie beside `sbirules/`; an install is what makes them `sbirules.simulators`
and `sbirules.priors`. Started in another checkout, Python would take the core from there and these from the install.
"""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

__all__: list[str] = []

CORE = Path(__file__).resolve().parents[1]
HOW = f"Run 'pip install -e {CORE.parent}', or start Python in another folder to use what is installed."


def _check() -> None:
    """Raises ImportError unless the catalogues belong to this core."""
    try:
        version("sbirules")
    except PackageNotFoundError as error:
        raise ImportError(f"sbirules is not installed, only found in {CORE.parent}. {HOW}") from error
    for name in ("simulators", "priors"):
        found = find_spec(f"sbirules.{name}")
        origin = "" if found is None else str(found.origin)
        if not origin:
            raise ImportError(f"what is installed is another sbirules than the one found in {CORE.parent}. {HOW}")
        place = Path(origin).resolve().parent
        if place not in (CORE / name, CORE.parent / name):
            raise ImportError(
                f"sbirules would be put together from two places: its core from {CORE.parent}, where Python was started "
                f"or looks first, and sbirules.{name} from {place}. {HOW}"
            )


_check()
