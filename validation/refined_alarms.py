"""How often do the checks of a refined posterior fail it: where it is right, too narrow, too wide, or shifted?

The posterior whose rules are drawn is a Gaussian of nine coefficients, correlated, and each set of learners adds a Gaussian
likelihood that narrows four directions well and the others little, as learners do. Draws are the base's, weighed, as `calibrate`
makes them; the likelihood is exact, or made wrong on purpose. A hundred rules, as by default.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from joblib import Parallel, delayed

from sbirules.checks.calibrating import Calibration
from sbirules.checks.recovery import Recovery
from sbirules.checks.trust import calibration_verdicts

RULES, DRAWS, BASE = 100, 200, 8192
NOISE = torch.tensor([0.4, 0.6, 0.9, 1.2, 2.0, 3.0, 3.0, 4.0, 4.0])  # of what a set tells along each direction
SEED = 20261128
# what the posterior takes the noise for, and by how many of its s.d. it is off along each direction
KINDS: Mapping[str, tuple[float, float]] = {
    "right": (1.0, 0.0),
    "sd x .7": (0.7, 0.0),
    "sd x .85": (0.85, 0.0),
    "shifted": (1.0, 0.5),
}


def drawn(noise: float, shift: float, k: int) -> Recovery:
    """Truths, and draws of a posterior whose s.d. are `noise` times those of the right one and whose means are off."""
    torch.manual_seed(SEED + k)
    d = len(NOISE)
    turn = torch.linalg.qr(torch.randn(d, d))[0]
    base, truth = torch.randn(BASE, d), torch.randn(RULES, d)
    data = truth + NOISE * torch.randn(RULES, d)
    sd = (1 + NOISE**-2).rsqrt()  # of the right posterior, along each direction
    # the likelihood under which a posterior has the right mean, moved by the shift, and the wrong s.d.
    precision = 1 / (noise * sd) ** 2 - 1
    mean = data * sd**2 / NOISE**2 + shift * sd
    centre = mean * (precision + 1) / precision
    value = -0.5 * (precision * (base - centre[:, None]) ** 2).sum(dim=2)
    rows = torch.multinomial(torch.softmax(value.double(), dim=1), DRAWS, replacement=True)
    names = tuple(f"c{i + 1}" for i in range(d))
    return Recovery(names, truth @ turn, base[rows] @ turn, 24, base.std(dim=0), None)  # type: ignore[arg-type]


def levels(kind: str, k: int) -> dict[str, str]:
    """What each check says."""
    torch.set_num_threads(1)
    found = drawn(*KINDS[kind], k)
    tested = Calibration(found, torch.zeros(RULES, 1), None, None, torch.zeros(0, 1))
    return {v.name: v.level for v in calibration_verdicts(tested, None, 0)}  # type: ignore[arg-type]


def alarm_rows(repeats: int, jobs: int) -> list[dict[str, Any]]:
    """Shares of failed posteriors by kind, and goals."""
    jobs_of = [(kind, k) for kind in KINDS for k in range(repeats)]
    every: Sequence[dict[str, str]] = list(Parallel(n_jobs=jobs)(delayed(levels)(*job) for job in jobs_of))
    out = []
    for at, kind in enumerate(KINDS):
        mine = every[at * repeats : (at + 1) * repeats]
        failed = sum("fail" in found.values() for found in mine) / repeats
        doubted = sum(set(found.values()) != {"pass"} for found in mine) / repeats
        by = Counter(name for found in mine for name, level in found.items() if level == "fail")
        wanted = {"right": "failed in at most 10 %", "sd x .7": "caught in at least 90 %"}.get(kind, "")
        met = {"right": failed <= 0.1, "sd x .7": failed >= 0.9}.get(kind)
        named = ", ".join(f"{name} {count / repeats:.0%}" for name, count in by.most_common())
        se = math.sqrt(max(failed * (1 - failed), 1 / repeats) / repeats)
        found = f"failed {failed:.1%} ± {se:.1%}, failed or cautioned of {doubted:.1%}" + (
            f" ({named})" if named else ""
        )
        out.append({"goal": f"checks of a refined posterior, {kind}", "wanted": wanted, "found": found, "met": met})
    return out
