"""A store as a data set that is read shard by shard, for training on more than fits in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from sbirules.support import arguments
from sbirules.support.streams import Stream, generator

__all__ = ["ShardDataset"]


class Shards(Protocol):
    """What is read: numbered shards with fields by name."""

    @property
    def path(self) -> Path: ...

    @property
    def num_shards(self) -> int: ...

    def shard(self, shard: int, *fields: str) -> dict[str, Tensor]: ...


class ShardDataset(IterableDataset[tuple[Tensor, ...]]):
    """Batches of rows of a store, a few shards in memory at a time.

    Pass it to `torch.utils.data.DataLoader(dataset, batch_size=None)`, or iterate over it. Each pass visits
    every row once, in an order of its own. With several loader workers each reads its own shards.

    Arguments:
        store: The store.
        fields: Which fields a batch holds, in this order.
        batch_size: Rows of a batch; the last one of a pass may be shorter.
        shuffle: Whether to visit shards in random order and to mix the rows of `buffer` of them.
        seed: Names the order; each pass has its own.
        buffer: Shards held in memory together.

    Examples:
        >>> for theta, x in store.dataset("theta", "x", batch_size=512):
        ...     train_step(theta, x)
    """

    def __init__(
        self,
        store: Shards,
        fields: tuple[str, ...],
        *,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        buffer: int = 16,
    ) -> None:
        self.store, self.fields = store, fields or ("theta", "x")
        self.batch_size = arguments.whole("batch_size", batch_size, 1)
        self.shuffle, self.seed = shuffle, arguments.whole("seed", seed, 0)
        self.buffer = arguments.whole("buffer", buffer, 1)
        self.passes = 0

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if not self.store.num_shards:
            raise ValueError(
                f"{self.store.path} has no complete shard yet; simulate first, or wait until one is there."
            )
        worker = get_worker_info()
        # loader workers are new in each pass, and have a number in common that is, too
        moment = self.passes if worker is None else worker.seed - worker.id
        self.passes += 1
        draws = generator(self.seed, Stream.PASSES, moment)
        order = torch.arange(self.store.num_shards)
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=draws)]
        if worker is not None:
            order = order[worker.id :: worker.num_workers]
        if not len(order):
            return
        rest: tuple[Tensor, ...] = ()
        for group in torch.split(order, self.buffer):
            parts = [self.store.shard(int(k), *self.fields) for k in group]
            columns = [torch.cat([part[name] for part in parts]) for name in self.fields]
            if self.shuffle:
                mixed = torch.randperm(len(columns[0]), generator=draws)
                columns = [column[mixed] for column in columns]
            if rest:
                columns = [torch.cat(pair) for pair in zip(rest, columns, strict=True)]
            whole = len(columns[0]) - len(columns[0]) % self.batch_size
            for first in range(0, whole, self.batch_size):
                yield tuple(column[first : first + self.batch_size] for column in columns)
            rest = tuple(column[whole:].clone() for column in columns)
        if rest and len(rest[0]):
            yield rest
