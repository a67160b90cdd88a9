"""The processes that share an extraction: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist

from torchviz_layers._common.devices import as_current

_PATIENCE = timedelta(days=7)
_meetings = count()  # every process has as many
_stores: list[Any] = []  # at most one, kept: the first process may be its server


@dataclass(frozen=True)
class Ranks:
    """One process among the others: the present one."""

    rank: int = 0
    world: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this process does what only one may do."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier(self.group)

    def share(self, value: Any) -> Any:
        """Return the first process's value in every process."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value in every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values


@contextmanager
def ranks() -> Iterator[Ranks]:
    """Join the process group that torchrun set up; make it and take it down again if nobody has yet."""
    if not dist.is_available():
        yield Ranks()
    elif dist.is_initialized():
        with _patient_ranks() as found:
            yield found
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        rank, world, store = _meeting()
        # For every process the same, with and without a card: only Python objects are exchanged.
        dist.init_process_group("gloo", rank=rank, world_size=world, store=store)
        try:
            with _on_own_card(), _patient_ranks() as found:
                yield found
        finally:
            dist.destroy_process_group()
    else:
        yield Ranks()


def _meeting() -> tuple[int, int, Any]:
    """Return this process's rank, the number of processes, and a store through which they find each other.

    torchrun's store outlives a process group and keeps the addresses that the processes met at. A second group, `embed`
    after `extract` say, would wait there for ever, so that each has a part of the store to itself.
    """
    if not _stores:
        _stores.append(next(dist.rendezvous("env://")))  # type: ignore[attr-defined]
    store, rank, world = _stores[0]
    prefix = f"torchviz_layers/{next(_meetings)}"
    return rank, world, dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]


@contextmanager
def _patient_ranks() -> Iterator[Ranks]:
    """Yield this process among the others, with a group in which they wait for each other as long as it takes.

    In the default group who waits gives up after some minutes, while the first process may lay a map out for an hour.
    """
    group = dist.new_group(backend="gloo", timeout=_PATIENCE) if dist.is_gloo_available() else None
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), group)
    finally:
        if group is not None:
            dist.destroy_process_group(group)


def _on_own_card() -> AbstractContextManager[Any]:
    """Let `cuda` without a number mean this process's card for the time of the block."""
    return as_current(local_device()) if torch.cuda.is_available() else nullcontext()


def local_device() -> torch.device:
    """Return this process's CUDA card.

    There may be more processes than cards, and each process may see one card only (CUDA_VISIBLE_DEVICES): the cards
    that it sees are dealt out in turn.
    """
    local_rank = os.environ.get("LOCAL_RANK")
    if local_rank is None:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cuda", int(local_rank) % torch.cuda.device_count())
