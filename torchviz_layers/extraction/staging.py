"""Rows on their way from CUDA cards to memory: copied while the cards compute the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers.extraction.ring import PinnedRing
from torchviz_layers.extraction.table import Table


@dataclass
class _Entry:
    """A call of the table, to be made once its rows are in memory."""

    do: Callable[[], object]
    batch: int
    arrived: Any = None
    """The CUDA event after the copy; None where there is nothing to wait for."""
    end: int | None = None
    """What to release the rows' pinned memory with."""


def _nothing() -> None:
    """Do nothing."""


def _event(device: torch.device) -> Any:
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


@dataclass
class StagedTable:
    """A table that rows reach up to one batch later, through a ring of pinned memory.

    A copy is queued on the CUDA stream that computes, right after the layer that output the rows, so that no later
    operation can overwrite them before they are copied. The CPU writes a batch to the table while the card computes the
    next one, and earlier where pinned memory runs short.

    The table's methods are called in the same order as those of this class.
    """

    table: Table
    ring: PinnedRing = field(default_factory=PinnedRing)
    record_event: Callable[[torch.device], Any] = _event
    _entries: deque[_Entry] = field(default_factory=deque)
    _batch: int = 0

    def begin(self, start: int, size: int) -> None:
        """Begin a batch of samples `start` to `start + size`; drop the rows of a batch that did not end."""
        for entry in self._entries:
            if entry.batch == self._batch:
                # The entry stays: its copy may still be under way, and the pinned memory is in use until it ends.
                entry.do = _nothing
        self._queue(partial(self.table.begin, start, size))

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True) -> None:
        """Queue the copy of a column's rows of the present batch, in pieces where they are many bytes."""
        if not isinstance(rows, Tensor):
            # The loader may write its next batch into the same array.
            self._queue(partial(self.table.put, name, rows.copy(), layer=layer))
            return
        rows = rows.detach()
        row_bytes = rows.nbytes // len(rows)
        # Four pieces fit into the ring: some are written to the table while others are on their way from the card.
        piece_rows = max(1, self.ring.largest // 4 // max(1, row_bytes))
        for at in range(0, len(rows), piece_rows):
            piece = rows[at : at + piece_rows]
            put = partial(self.table.put, name, layer=layer, at=at)
            if row_bytes > self.ring.largest:
                self._put_now(put, piece)
            else:
                self._stage(put, piece)

    def drop(self, name: str, why: str) -> bool:
        """Leave a layer out, once the rows that are on their way to the table are there."""
        self.settle()
        return self.table.drop(name, why)

    def commit(self) -> None:
        """End a batch, and write the batch before to the table.

        The rows of this one wait, even if they have arrived: the card should get the next batch first.
        """
        self._queue(self.table.commit)
        # Entries are in order, so those of the batch before are the first ones.
        while self._entries[0].batch < self._batch:
            self._write_oldest()
        self._batch += 1

    def settle(self) -> None:
        """Write everything that is still on its way to the table."""
        while self._entries:
            self._write_oldest()

    def _queue(self, do: Callable[[], object], arrived: Any = None, end: int | None = None) -> None:
        self._entries.append(_Entry(do, self._batch, arrived, end))

    def _put_now(self, put: Callable[[Tensor], object], rows: Tensor) -> None:
        """Write a row that is larger than all pinned memory to the table, and everything before it."""
        self._queue(partial(put, rows.to("cpu")))
        self.settle()

    def _stage(self, put: Callable[[Tensor], object], rows: Tensor) -> None:
        """Queue the copy of rows into pinned memory.

        Rows that are on the CPU already (of offloaded layers, say) are copied at once: a later layer may overwrite
        them before they are written to the table.
        """
        room, end = self._reserve(rows)
        # A conjugated view would be conjugated on the CPU after its copy, without waiting for the copy to end.
        room.copy_(rows.resolve_conj().resolve_neg(), non_blocking=True)
        # Each card has streams of its own; a model may be spread over several cards.
        arrived = None if rows.device.type == "cpu" else self.record_event(rows.device)
        self._queue(partial(put, room), arrived, end)

    def _reserve(self, rows: Tensor) -> tuple[Tensor, int]:
        """Return pinned memory for `rows`; if none is free, allocate more or write the oldest rows to the table.

        More is allocated only if the oldest rows have not arrived yet: otherwise they can be written at once.
        """
        reserved = self.ring.reserve(rows)
        while reserved is None:
            oldest = self._entries[0].arrived if self._entries else None
            must_wait = not self._entries or (oldest is not None and not oldest.query())
            if must_wait and self.ring.can_grow:
                self.settle()
                self.ring.grow(rows.nbytes)
            else:
                self._write_oldest()
            reserved = self.ring.reserve(rows)
        return reserved

    def _write_oldest(self) -> None:
        entry = self._entries.popleft()
        # Until then the copy may not have reached pinned memory.
        if entry.arrived is not None:
            entry.arrived.synchronize()
        # A model may run in inference mode, in which columns made here could not be written to later.
        with torch.inference_mode(mode=False):
            entry.do()
        if entry.end is not None:
            self.ring.release(entry.end)
