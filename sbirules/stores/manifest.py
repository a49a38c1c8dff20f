"""What a store says about itself: configuration, hash, seed and the versions that made it."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from sbirules.support.files import Plain, digest, plain
from sbirules.support.streams import VERSION

__all__ = [
    "BEFORE",
    "SCHEMA",
    "config_hash",
    "new_manifest",
    "refuse_other",
    "refuse_other_streams",
    "warn_of_other_versions",
]

SCHEMA = 3
BEFORE = 2  # of version 0.1, which is read, but not continued
ABSENT = "absent"
UNHASHED = ("raw_per_unit",)  # measured from the rest of the configuration, to rounding


def config_hash(config: Mapping[str, object]) -> str:
    """SHA-256 of a configuration in plain types."""
    return digest(_hashed(config))


def new_manifest(
    config: Mapping[str, object], seed: int, engine: str, facts: Mapping[str, object]
) -> dict[str, object]:
    """The content of a manifest.json."""
    head = {
        "schema": SCHEMA,
        "hash": config_hash(config),
        "seed": seed,
        "streams": VERSION,
        "versions": _versions(engine),
    }
    return {**head, "config": config, **facts}


def refuse_other(path: Path, manifest: Plain, config: Mapping[str, object], seed: int) -> None:
    """Raises ValueError if a manifest is of another configuration or seed; names what differs."""
    if config_hash(config) == manifest["hash"] and seed == manifest["seed"]:
        return
    then = plain({**manifest["config"], "seed": manifest["seed"]})
    now = plain({**config, "seed": seed})
    mine, other = _flat(_hashed(then)), _flat(_hashed(now))
    key = next((k for k in (*mine, *other) if mine.get(k, ABSENT) != other.get(k, ABSENT)), "")
    was, given = _flat(then).get(key, ABSENT), _flat(now).get(key, ABSENT)
    raise ValueError(
        f"{path} holds simulations of another configuration: {key} was {was!r} and is now {given!r}; "
        f"use another folder, or set it back to go on."
    )


def refuse_other_streams(path: Path, manifest: Plain, streams: int = VERSION) -> None:
    """Raises ValueError if the random streams of a store are not those of this version, or of another store."""
    if manifest.get("streams", 1) != streams:
        raise ValueError(
            f"{path} was begun with the random streams of another version: what is there can be read, but not "
            f"continued. Use another folder; fit takes both stores in a list."
        )


def warn_of_other_versions(path: Path, manifest: Plain, engine: str) -> None:
    """Warns if other versions, or another engine, began a store."""
    now = _versions(engine)
    changed = [f"{k} {v} (now {now.get(k)})" for k, v in manifest["versions"].items() if now.get(k) != v]
    if changed:
        warnings.warn(
            f"{path} was begun with {', '.join(changed)}; shards simulated now may differ in rounding "
            f"from what they would have been."
        )


def _versions(engine: str) -> dict[str, str]:
    packages = {name: version(name) for name in ("sbirules", "torch", "numpy", "numba")}
    return {"python": platform.python_version(), **packages, "engine": engine}


def _hashed(value: object) -> object:
    value = plain(value)
    if isinstance(value, dict):
        return {k: _hashed(v) for k, v in value.items() if k not in UNHASHED}
    if isinstance(value, list):
        return [_hashed(v) for v in value]
    # 40 and 40.0 are the same setting
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _flat(value: object, stem: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{stem}{key}.").items()}
    return {stem.removesuffix("."): value}
