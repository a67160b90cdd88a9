"""Which chunks of a store this process fills."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from torchviz_layers._common.distributed import WorkerGroup


@dataclass
class ChunkShare:
    """Assigns the chunks that are missing to the processes in turn."""

    workers: WorkerGroup = field(default_factory=WorkerGroup)
    done: tuple[int, ...] = ()
    """Chunks that were stored by earlier runs, in order."""

    def is_done(self, chunk: int) -> bool:
        """Whether an earlier run has stored `chunk`."""
        index = bisect_left(self.done, chunk)
        return self.done[index : index + 1] == (chunk,)

    def is_mine(self, chunk: int) -> bool:
        """Whether this process fills `chunk`."""
        if self.is_done(chunk):
            return False
        # The position of `chunk` among the missing chunks, the same in every process without a message between them.
        position = chunk - bisect_left(self.done, chunk)
        return position % self.workers.size == self.workers.rank
