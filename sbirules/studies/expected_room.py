"""How much disk and memory a study will take; what does not fit is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

from sbirules.inference.density import OF_A_DRAW
from sbirules.stores.needs import COPIES, row_bytes
from sbirules.studies.expected_time import counts_of
from sbirules.studies.study import Study
from sbirules.support.room import free_disk, free_memory, refuse_beyond, spoken

__all__ = ["expected_room"]

OF_A_FIT = 6  # copies of theta and x in memory while networks are trained


def expected_room(study: Study, folder: Path, workers: int | None = None) -> list[str]:
    """A sentence on the disk and the memory that a study needs.

    Arguments:
        study: The study.
        folder: Where results go; what is there already is counted as free.
        workers: Worker processes; None for one per core.

    Raises:
        ValueError: If they do not fit; says how much is needed, and the largest value that fits.
    """
    if study.exact:
        return [f"memory: that of the table, {spoken(free_memory())} free"]
    simulator, types = study.simulator, study.question.trial_types
    row = row_bytes(simulator, simulator.num_trials if types is None else types.shape[1])
    counts = counts_of(study)
    asked = {  # by which key of the study each is set
        "simulate": ("[simulate] num_simulations", study.simulate.num_simulations),
        "rounds": ("[fit] round_simulations", study.fit.round_simulations),
        "calibration": ("[check] calibration", study.check.calibration),
        "knock-outs": ("[sensitivity] rules", study.sensitivity.rules),
    }
    total, most = sum(counts.values()), max(counts, key=lambda name: counts[name])
    key, value = asked.get(most, ("[check] rules", study.check.rules))

    def disk(n: int) -> float:
        return row * (total - counts[most] + counts[most] * n / value)

    used = sum(path.stat().st_size for path in folder.rglob("shard-*.safetensors")) if folder.is_dir() else 0
    room = free_disk(folder) + used
    refuse_beyond(key, value, disk, room, f"disk in {folder}", f"{total:,} networks in all")
    memory = free_memory()
    width = 4 * (len(simulator.names) + len(simulator.summary_names)) * OF_A_FIT
    kept = counts["simulate"] + counts.get("rounds", 0)
    key, value = asked["rounds" if most == "rounds" else "simulate"]
    refuse_beyond(key, value, lambda n: width * kept * n / value, memory, "memory", "the fit")
    draws, each = study.fit.num_samples, OF_A_DRAW * len(simulator.names)
    refuse_beyond("[fit] num_samples", draws, lambda n: n * each, memory, "memory", "draws")
    shard = (study.simulate.shard_size or max(256, simulator.batch)) * row * COPIES * (workers or 1)
    needed = max(width * kept, each * draws, shard)
    return [
        f"disk: about {spoken(row * total)} for simulations, {spoken(room)} free in {folder}; memory: about "
        f"{spoken(needed)} beside the program itself, {spoken(memory)} free"
    ]
