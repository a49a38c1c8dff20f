"""The fused CPU backend: trials compiled by numba, one network at a time. Releases the GIL and uses one thread."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from functools import cache
from threading import Lock

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ._backends import Plasticity, TorchBackend
from ._drive import Drive, Kicks
from ._episode import Clamp
from ._kernels import Dynamics, Inputs, run_episodes
from ._kernels_learning import Judge, Learning, run_trials
from ._local import LocalPlasticity
from ._trial import Networks, Stage, State, Trial

__all__ = ["NumbaBackend"]

NONLINEARITY = {"tanh": 0, "threshold_linear": 1, "sigmoid": 2}


class _OneThread:
    """One BLAS thread while anything works, as before once nothing does; runs in threads may overlap."""

    def __init__(self) -> None:
        self.lock, self.running, self.limit = Lock(), 0, None

    def __enter__(self) -> None:
        with self.lock:
            if not self.running:
                self.limit = _controller().limit(limits=1, user_api="blas")
            self.running += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.running -= 1
            if not self.running and self.limit is not None:
                self.limit.restore_original_limits()
                self.limit = None


@cache
def _controller() -> ThreadpoolController:
    importlib.import_module("scipy.linalg.cython_blas")  # the BLAS that numba calls must be there to be found
    return ThreadpoolController()


_ONE_THREAD = _OneThread()


class NumbaBackend(TorchBackend):
    """Whole trials for the polynomial families; for others the episode, and the reference's update."""

    name = "numba"

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._learning: tuple[Plasticity | None, Learning | None] = (None, None)

    def working(self) -> AbstractContextManager[object]:
        # the matrix products are BLAS calls; a second thread would cost more than it brings
        return _ONE_THREAD

    def trial(
        self,
        stage: Stage,
        net: Networks,
        rule: Plasticity | LocalPlasticity,
        state: State,
        drive: Drive,
        x0: Tensor,
        types: Tensor,
        present: Tensor,
        plastic: bool,
        watched: bool,
    ) -> tuple[Trial, State]:
        if isinstance(rule, LocalPlasticity) or rule.panels is None:
            return super().trial(stage, net, rule, state, drive, x0, types, present, plastic, watched)
        batch, steps, n = drive.shape
        shape = (batch if watched else 1, steps + 1, n)
        x, rate = self._memory("x", shape), self._memory("rate", shape)
        error, output = _empty(batch), _empty(batch)
        readout, targets = stage.settings.readout, _array(stage.tensors.targets[types])
        unit, weights = (readout, _empty(0, 0)) if isinstance(readout, int) else (-1, net.readout)
        judge = Judge(_array(stage.response), targets, unit, _array(weights))
        run_trials(
            *(v.numpy() for v in (state.kernel, state.expectation, state.dead, state.mean)),
            _inputs(drive, x0),
            _dynamics(drive.leak, stage.settings.nonlinearity, stage.clamp),
            judge,
            self._arrays(rule),
            *(_array(v) for v in (types, present)),
            plastic,
            *(v.numpy() for v in (x, rate, error, output)),
        )
        return Trial(x if watched else None, rate if watched else None, error, output), state

    def episode(
        self, weights: Tensor, drive: Drive, x0: Tensor, nonlinearity: str, clamp: Clamp
    ) -> tuple[Tensor, Tensor]:
        batch, steps, n = drive.shape
        x, rate = self._memory("x", (batch, steps + 1, n)), self._memory("rate", (batch, steps + 1, n))
        how = _dynamics(drive.leak, nonlinearity, clamp)
        run_episodes(_array(weights), _inputs(drive, x0), how, x.numpy(), rate.numpy())
        return x, rate

    def _memory(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Memory to write into, the same from trial to trial: new pages would cost as much as the dynamics."""
        held = self._held.get(name)
        if held is None or held.shape != shape:
            held = self._held[name] = _empty(*shape)
        return held

    def _arrays(self, rule: Plasticity) -> Learning:
        """The rules as arrays, made once for a batch."""
        held, arrays = self._learning
        if held is not rule or arrays is None:
            arrays = _learning(rule)
            self._learning = (rule, arrays)
        return arrays


def _learning(rule: Plasticity) -> Learning:
    s, panels = rule.settings, rule.panels
    if panels is None:
        raise TypeError("only polynomial rules are compiled")
    coefficients, levels, powers = panels
    ones = np.ones(len(coefficients), np.float32)
    return Learning(
        coefficients=_array(coefficients),
        levels=np.array(levels),
        powers=np.array(powers),
        decay=ones if rule.decay is None else _array(rule.decay),
        keep=ones if rule.keep is None else _array(rule.keep),
        dt=np.float32(s.dt),
        first=s.trace_start,
        factor=np.float32(s.xbar_factor),
        carried=not s.reset_xbar,
        clip=np.float32(s.max_weight_change),
        error_factor=s.error_factor,
        mask=np.empty((0, 0, 0), np.float32) if rule.mask is None else _array(rule.mask),
        signs=np.empty(0, np.float32) if rule.signs is None else _array(rule.signs),
        limit=np.float32(rule.limit),
        share=np.float32(s.expectation_share),
    )


def _dynamics(leak: float, nonlinearity: str, clamp: Clamp) -> Dynamics:
    return Dynamics(np.float32(leak), NONLINEARITY[nonlinearity], _array(clamp.free), _array(clamp.value))


def _inputs(drive: Drive, x0: Tensor) -> Inputs:
    dense, hits = _empty(0, 0, 0), drive.kicks
    if not isinstance(hits, Kicks):
        dense, hits = (
            drive.dense_kicks(),
            Kicks(*(torch.empty(0, dtype=d) for d in (torch.long, torch.long, torch.float32))),
        )
    return Inputs(*(_array(v) for v in (drive.inputs, drive.weights, dense, hits.counts, hits.place, hits.size, x0)))


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _array(tensor: Tensor | None) -> np.ndarray:
    if tensor is None:
        raise TypeError("a read-out needs its weights")
    return tensor.contiguous().numpy()
