"""What a store says about itself: configuration, hash, seed, the versions that made it, and facts of its columns."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from sbirules.model.fields import Layout
from sbirules.support import arguments
from sbirules.support.files import Plain, digest, flat, plain, read_json, reading
from sbirules.support.streams import VERSION

__all__ = [
    "BEFORE",
    "NAME",
    "SCHEMA",
    "config_hash",
    "facts_digest",
    "new_manifest",
    "read_manifest",
    "refuse_other",
    "refuse_other_facts",
    "refuse_other_streams",
    "warn_of_other_versions",
]

NAME = "manifest.json"
SCHEMA = 3
BEFORE = 2  # of version 0.1, which is read, but not continued
ABSENT = "absent"
UNHASHED = ("raw_per_unit",)  # measured from the rest of the configuration, to rounding
FACTS = ("names", "summary_names", "layout", "rows")  # what a store says of its columns; shards name their digest
REMEDY = "Put the file back as it was, or simulate into another folder."


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
    content = plain({**head, "config": config, **facts})
    content["facts"] = facts_digest(content)
    return {**content, "sha256": _own_digest(content)}


def facts_digest(manifest: Plain) -> str:
    """Tells what a store says of its columns from what another says."""
    return digest({name: manifest.get(name) for name in FACTS})


def _own_digest(manifest: Plain) -> str:
    """Of all that matters to results."""
    return digest({k: v for k, v in manifest.items() if k not in ("sha256", "versions")})


def read_manifest(folder: Path) -> Plain:
    """The content of a manifest.json, held against what it says of itself.

    Raises:
        ValueError: If it is missing, malformed, changed or of another version; names the file.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(f"{folder} is not a simulation store: it has no {NAME}.")
    content = read_json(path)
    if "config" not in content or "schema" not in content:
        raise ValueError(f"{path} is not a manifest of simulations.")
    if content["schema"] not in (SCHEMA, BEFORE):
        raise ValueError(
            f"{folder} was written by another version of sbirules (store format "
            f"{str(content['schema'])[:20]!r}, this is {SCHEMA}); use another folder."
        )
    with reading(path, REMEDY):
        _check(content)
    return content


def _check(manifest: Plain) -> None:
    """Raises an error unless the parts of a manifest are of the right kinds, and are what it says of itself."""
    config = manifest["config"]
    arguments.instance("config", config, dict)
    arguments.instance("versions", manifest["versions"], dict)
    arguments.instance("hash", manifest["hash"], str)
    arguments.whole("seed", manifest["seed"], 0)
    arguments.whole("shard_size", config["shard_size"], 1)
    if manifest.get("rows") is not None:
        arguments.whole("rows", manifest["rows"], 1)
    for key in ("simulator", "proposal"):
        config[key]
    for key in ("names", "summary_names"):
        names = manifest[key]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
            raise ValueError(f"{key} must be different names, got {names!r:.80}")
    units = manifest.get("raw_per_unit")
    if units is not None:
        arguments.instance("raw_per_unit", units, list)
        if len(units) != len(manifest["names"]):
            raise ValueError(f"raw_per_unit has {len(units)} numbers for {len(manifest['names'])} coefficients")
        for value in units:
            arguments.finite("raw_per_unit", value)
    if manifest["schema"] == BEFORE:
        return
    Layout.from_config(manifest["layout"])
    if config_hash(config) != manifest["hash"]:
        raise ValueError("its configuration is not that of its hash")
    if "facts" in manifest and manifest["facts"] != facts_digest(manifest):
        raise ValueError(f"{arguments.listed(FACTS)} are not those of its shards")
    if "sha256" in manifest and manifest["sha256"] != _own_digest(manifest):
        raise ValueError("its checksum is wrong")


def refuse_other(path: Path, manifest: Plain, config: Mapping[str, object], seed: int) -> None:
    """Raises ValueError if a manifest is of another configuration or seed; names what differs."""
    if config_hash(config) == manifest["hash"] and seed == manifest["seed"]:
        return
    then = plain({**manifest["config"], "seed": manifest["seed"]})
    now = plain({**config, "seed": seed})
    mine, other = flat(_hashed(then)), flat(_hashed(now))
    key = next((k for k in (*mine, *other) if mine.get(k, ABSENT) != other.get(k, ABSENT)), "")
    was, given = flat(then).get(key, ABSENT), flat(now).get(key, ABSENT)
    raise ValueError(
        f"{path} holds simulations of another configuration: {key} was {was!r} and is now {given!r}; "
        f"use another folder, or set it back to go on."
    )


def refuse_other_facts(path: Path, manifest: Plain, facts: Plain) -> None:
    """Raises ValueError where what a manifest says of a store's columns is not `facts`; names what differs.

    A simulator of one's own may have another summary and the same `config()`.
    """
    for name in FACTS:
        was, now = manifest.get(name), plain(facts.get(name))
        if name in manifest and digest(was) != digest(now):
            raise ValueError(
                f"{path} holds simulations with another {name.replace('_', ' ')}: it was {was!r:.200} and is now "
                f"{now!r:.200}; use another folder, or set it back to go on."
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
