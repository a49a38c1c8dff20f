"""What the analytic simulators share: their runs are projections and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sbirules.model.fields import Field
from sbirules.model.rules import RuleFamily
from sbirules.model.runs import Status, Trajectory
from sbirules.model.simulator import Simulator
from sbirules.model.summaries import Summary
from sbirules.support import arguments
from sbirules.support.room import free_memory, refuse_beyond
from sbirules.support.streams import Key, Stream, by_row
from sbirules.support.typed import typed_class

__all__ = ["NETWORK", "PROJECTIONS", "Projections"]

NETWORK, PROJECTIONS = 1, 2  # lasting streams


@typed_class
class Projections(Simulator):
    """A simulator that reports so many noisy projections of a run, and no trials.

    Arguments:
        family: The rule family.
        count: Number of projections.
    """

    success = {}  # noqa: RUF012 - nothing succeeds here

    def __init__(self, family: RuleFamily, count: int) -> None:
        fields = [Field(f"projection_{k + 1}", f"projection {k + 1}, with noise", per="run") for k in range(count)]
        self.own_fields = tuple(fields)
        names = tuple(f.name for f in fields)
        columns = Summary("projections", names, partial(_columns, names=names), partial(_labels, count=count))
        super().__init__(family, None, [columns])

    @staticmethod
    def checked(projections: int, num_units: int) -> int:
        """The number of projections of the weights of so many units; refused where it does not fit into memory."""
        arguments.whole("projections", projections, 1)
        arguments.whole("num_units", num_units, 1)
        each = 16 * num_units**2 + 2000  # a projection and its like in an orthogonal basis, and its column
        refuse_beyond(
            "projections", projections, lambda n: n * each, free_memory(), "memory", "projections of the weights"
        )
        return projections

    def normal(self, batch: int, seed: Key) -> Tensor:
        """Standard normal noise of so many runs, `(batch, count)`, float64."""
        shape = (len(self.own_fields),)

        def draw(stream: torch.Generator, rows: int) -> Tensor:
            return torch.randn(rows, *shape, generator=stream, dtype=torch.float64)

        return by_row(draw, batch, seed, Stream.MEASUREMENT_NOISE)

    def reported(self, x: Tensor) -> Trajectory:
        """Runs with projections `(batch, count)`."""
        if x.ndim != 2 or x.shape[1] != len(self.own_fields):
            raise ValueError(f"x must have shape (batch, {len(self.own_fields)}), got {tuple(x.shape)}.")
        good = torch.isfinite(x).all(dim=1)
        return Trajectory(
            torch.where(good, int(Status.OK), int(Status.DIVERGED)).to(torch.int8),
            torch.zeros(len(x), 1, dtype=torch.long),
            per_run=dict(zip((f.name for f in self.own_fields), x.T, strict=True)),
        )


def _columns(run: Trajectory, names: tuple[str, ...]) -> Tensor:
    return torch.stack([run.per_run[name] for name in names], dim=1)


def _labels(type_names: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(str(k + 1) for k in range(count))
