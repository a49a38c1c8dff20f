"""Joining stores that were made shard range by shard range, in folders of their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from sbirules.stores.manifest import NAME, refuse_other, refuse_other_facts, refuse_other_streams
from sbirules.stores.store import SimulationStore
from sbirules.support import arguments
from sbirules.support.files import digest, make_folder, write_json
from sbirules.support.typed import typed

__all__ = ["merge"]


@typed
def merge(parts: Sequence[str | Path], into: str | Path, num_simulations: int | None = None) -> SimulationStore:
    """Joins stores of one configuration and seed, once together they are complete.

    Arguments:
        parts: Their folders.
        into: Folder of the joined store; may be one of them.
        num_simulations: Rows that must be there; None for all up to the last shard that was made.

    Returns:
        The joined store.

    Raises:
        ValueError: If configurations differ, or shards are missing or damaged; names them. Nothing is written then.
    """
    if isinstance(parts, (str, Path)) or len(parts) == 0:
        raise ValueError(f"merge needs a list of at least one folder, got {parts!r}.")
    stores = [SimulationStore(path) for path in parts]
    first = stores[0]
    for other in stores[1:]:
        refuse_other(other.path, other.manifest, first.manifest["config"], first.manifest["seed"])
        refuse_other_streams(other.path, other.manifest, first.manifest.get("streams", 1))
        refuse_other_facts(other.path, other.manifest, first.manifest)
        if other.owner(0) != first.owner(0):
            raise ValueError(
                f"{other.path} and {first.path} were begun by different versions of sbirules; make one anew."
            )
    where: dict[int, SimulationStore] = {}
    for store in stores:
        names = (path.stem.removeprefix("shard-") for path in store.path.glob("shard-*.safetensors"))
        made = [int(name) for name in names if name.isdigit()]
        broken = store.damaged(made)
        if broken:
            raise ValueError(
                f"{store.path} is damaged: {next(iter(broken.values()))}. "
                f"Simulate shards {_ranges(list(broken))} again."
            )
        for shard in made:
            where.setdefault(shard, store)
    total = max(where, default=-1) + 1
    if num_simulations is not None:
        total = max(total, -(-arguments.whole("num_simulations", num_simulations, 1) // first.shard_size))
    total = max(total, -(-(first.manifest.get("rows") or 0) // first.shard_size))
    missing = [k for k in range(total) if k not in where]
    if missing or not total:
        raise ValueError(
            f"shards {_ranges(missing) or '0'} are missing; make them with simulate(..., shards=(first, stop))."
        )
    target = Path(into)
    make_folder(target)
    if (target / NAME).is_file():
        refuse_other(target, SimulationStore(target).manifest, first.manifest["config"], first.manifest["seed"])
    else:
        write_json(target / NAME, first.manifest)
    joined = SimulationStore(target)
    for shard, store in sorted(where.items()):
        if not joined.has(shard) or joined.damaged([shard]):
            joined.write(shard, store.shard_path(shard).read_bytes())
    for store in stores:
        place = store.path.resolve()
        if place != target.resolve():
            write_json(target / f"progress-{digest(str(place))[:12]}.json", {"seconds": store.seconds})
    return SimulationStore(target, num_simulations)


def _ranges(shards: list[int]) -> str:
    """Shards as ranges (first, stop), for instance "(3, 5), (9, 10)"."""
    shards = sorted(shards)
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(shards)) if b != a + 1), len(shards)]
    return ", ".join(f"({shards[a]}, {shards[b - 1] + 1})" for a, b in pairwise(cuts) if b > a)
