"""The processes that share an extraction: one, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=7)


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
        cuda = torch.cuda.device_count() > int(os.environ.get("LOCAL_RANK", "0"))
        if cuda:
            torch.cuda.set_device(local_device())
        dist.init_process_group("nccl" if cuda else "gloo")
        try:
            with _patient_ranks() as found:
                yield found
        finally:
            dist.destroy_process_group()
    else:
        yield Ranks()


@contextmanager
def _patient_ranks() -> Iterator[Ranks]:
    """Yield this process among the others, with a group in which they wait for each other as long as it takes.

    In the default group who waits gives up after some minutes, while the first process may lay a map out for an hour.
    What is exchanged are Python objects, so that the group is on the CPU.
    """
    group = dist.new_group(backend="gloo", timeout=_PATIENCE) if dist.is_gloo_available() else None
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), group)
    finally:
        if group is not None:
            dist.destroy_process_group(group)


def local_device() -> torch.device:
    """Return this process's CUDA card."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))
