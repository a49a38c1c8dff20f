"""How much memory and disk there is, and refusals of what does not fit, before anything is started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["free_disk", "free_memory", "largest", "refuse_beyond", "spoken"]

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
CGROUP = Path("/sys/fs/cgroup")  # limits of containers and of jobs on clusters


def free_memory() -> int:
    """Bytes of memory that this process may still take, about."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**36
    with suppress(OSError, KeyError, ValueError):  # not Linux: all there is
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found = int(lines["MemAvailable"].split()[0]) * 1024
    with suppress(OSError, ValueError):  # no limit
        limit, used = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        found = min(found, int(limit) - int(used))
    return max(found, 0)


def free_disk(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    place = folder.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def spoken(number: float) -> str:
    """Bytes in words, e.g. `1.6 GB`."""
    power = 0
    while number >= 1000 and power + 1 < len(UNITS):
        number, power = number / 1000, power + 1
    return f"{number:.1f} {UNITS[power]}" if power and number < 100 else f"{number:.3g} {UNITS[power]}"


def _listed(number: int) -> str:
    return (
        f"{number:,}"
        if number < 10**21
        else f"{float(number):.3g}"
        if number < 10**300
        else "a number beyond all bounds"
    )


def largest(needed: Callable[[int], float], room: float, value: int) -> int:
    """The largest whole number up to `value` whose need fits; 0 if none does."""
    low, high = 0, value
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needed(middle) <= room else (low, middle - 1)
    return low


def refuse_beyond(
    argument: str, value: int, needed: Callable[[int], float], room: float, of: str, what: str = ""
) -> None:
    """Raises ValueError if a value needs more than there is; says how much, and the largest value that fits.

    Arguments:
        argument: Its name.
        value: What was given.
        needed: Bytes needed for any value; grows with it.
        room: Bytes there are.
        of: Of what, e.g. `"memory"`.
        what: For what they are needed, e.g. `"the weights of one network"`.
    """
    value = min(value, 10**301)  # of which no float can be made
    if needed(value) <= room:
        return
    most = largest(needed, room, value)
    fits = f"at most {_listed(most)} would fit" if most else "not even 1 would fit"
    raise ValueError(
        f"{argument} = {_listed(value)} needs about {spoken(needed(value))} of {of}{f' for {what}' if what else ''}, and "
        f"{spoken(room)} are free: {fits}."
    )
