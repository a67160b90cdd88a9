"""The processes that work on one extraction or embedding together: one, or those that torchrun started."""

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

_TIMEOUT = timedelta(days=7)
_group_numbers = count()
_stores: list[Any] = []  # at most one, never freed: the first process may be its server


@dataclass(frozen=True)
class WorkerGroup:
    """The present process as one of several: its rank, their number, and what they exchange.

    By default it is the only one, so that callers need no case of their own for a single process.
    """

    rank: int = 0
    size: int = 1
    group: Any = None  # torch.distributed's; None is its default group

    @property
    def is_first(self) -> bool:
        """Whether this process does what only one of them may do."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process has come to this line."""
        if self.size > 1:
            dist.barrier(self.group)

    def broadcast(self, value: Any) -> Any:
        """Return the first process's value in every process; the other processes' values are ignored."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def all_gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values


@contextmanager
def worker_group() -> Iterator[WorkerGroup]:
    """Yield the group of processes that this one belongs to.

    A process group that the caller has initialised is used. Under torchrun without one, it is made for the time of the
    block. Otherwise this process is alone.
    """
    if not dist.is_available():
        yield WorkerGroup()
    elif dist.is_initialized():
        with _patient_group() as workers:
            yield workers
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ:
        rank, size, store = _join_store()
        # Gloo with and without a card: only Python objects are exchanged, and NCCL would need a card a process.
        dist.init_process_group("gloo", rank=rank, world_size=size, store=store)
        try:
            with _on_local_device(), _patient_group() as workers:
                yield workers
        finally:
            dist.destroy_process_group()
    else:
        yield WorkerGroup()


def _join_store() -> tuple[int, int, Any]:
    """Return this process's rank, the number of processes, and a key-value store through which they find each other.

    torchrun's store outlives a process group and keeps the addresses that its processes wrote. A second group in the
    same run (`embed` after `extract`) would read the old addresses and wait for ever, so each group gets a prefix of
    its own. All processes create the same groups in the same order, so their counters agree.
    """
    if not _stores:
        _stores.append(next(dist.rendezvous("env://")))  # type: ignore[attr-defined]
    store, rank, size = _stores[0]
    prefix = f"torchviz_layers/{next(_group_numbers)}"
    return rank, size, dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]


@contextmanager
def _patient_group() -> Iterator[WorkerGroup]:
    """Yield the initialised processes with a subgroup whose timeout is long.

    In the default group a waiting process gives up after some minutes, while the first process may compute an embedding
    for an hour.
    """
    group = dist.new_group(backend="gloo", timeout=_TIMEOUT) if dist.is_gloo_available() else None
    try:
        yield WorkerGroup(dist.get_rank(), dist.get_world_size(), group)
    finally:
        if group is not None:
            dist.destroy_process_group(group)


def _on_local_device() -> AbstractContextManager[Any]:
    """Let `cuda` without a number mean this process's card for the time of the block."""
    return as_current(local_device()) if torch.cuda.is_available() else nullcontext()


def local_device() -> torch.device:
    """Return this process's CUDA card."""
    local_rank = os.environ.get("LOCAL_RANK")
    if local_rank is None:
        return torch.device("cuda", torch.cuda.current_device())
    # There may be more processes than cards, and a process may see one card only (CUDA_VISIBLE_DEVICES): the visible
    # cards are assigned to the processes in turn.
    return torch.device("cuda", int(local_rank) % torch.cuda.device_count())
