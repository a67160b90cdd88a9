"""Rows on their way from CUDA cards to memory: copied while the cards compute on."""

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
    """Something to do at the table, once the rows that it is about are in memory."""

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

    A copy is queued on the stream that computes, right behind the layer that output the rows, so that no later
    operation can overwrite them before they are copied. The processor puts a batch away while the card computes the
    next one, and earlier where pinned memory runs short.

    What is done at the table is done in the order in which it was asked for.
    """

    table: Table
    ring: PinnedRing = field(default_factory=PinnedRing)
    record_event: Callable[[torch.device], Any] = _event
    _entries: deque[_Entry] = field(default_factory=deque)
    _batch: int = 0

    def begin(self, start: int, size: int) -> None:
        """Get ready for the rows of samples `start` to `start + size`; drop those of a batch that was broken off."""
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
        # So that pieces are copied to the table while others are on their way from the card.
        piece_rows = max(1, self.ring.largest // 4 // max(1, row_bytes))
        for at in range(0, len(rows), piece_rows):
            piece = rows[at : at + piece_rows]
            put = partial(self.table.put, name, layer=layer, at=at)
            if row_bytes > self.ring.largest:
                self._put_now(put, piece)
            else:
                self._stage(put, piece)

    def commit(self) -> None:
        """End a batch, and put away the batch before.

        The rows of this one are left on their way even if they are here already: the card should get the next batch
        first.
        """
        self._queue(self.table.commit)
        while self._entries[0].batch < self._batch:
            self._put_away_oldest()
        self._batch += 1

    def settle(self) -> None:
        """Put away everything that is still on its way."""
        while self._entries:
            self._put_away_oldest()

    def _queue(self, do: Callable[[], object], arrived: Any = None, end: int | None = None) -> None:
        self._entries.append(_Entry(do, self._batch, arrived, end))

    def _put_now(self, put: Callable[[Tensor], object], rows: Tensor) -> None:
        """Put away a row that is larger than all pinned memory, and what came before it."""
        self._queue(partial(put, rows.to("cpu")))
        self.settle()

    def _stage(self, put: Callable[[Tensor], object], rows: Tensor) -> None:
        """Queue the copy of rows into pinned memory.

        Rows that are on the CPU already (of offloaded layers, say) are copied at once: a later layer may overwrite
        them before they are put away.
        """
        room, end = self._reserve(rows)
        # A conjugated view would be conjugated on the CPU after its copy, without waiting for the copy to end.
        room.copy_(rows.resolve_conj().resolve_neg(), non_blocking=True)
        # Each card has streams of its own; a model may be spread over several cards.
        arrived = None if rows.device.type == "cpu" else self.record_event(rows.device)
        self._queue(partial(put, room), arrived, end)

    def _reserve(self, rows: Tensor) -> tuple[Tensor, int]:
        """Return pinned memory for `rows`; put away the oldest rows, or take more memory, where there is none left."""
        while (reserved := self.ring.reserve(rows)) is None:
            oldest = self._entries[0].arrived if self._entries else None
            must_wait = not self._entries or (oldest is not None and not oldest.query())
            if must_wait and self.ring.can_grow:
                self.settle()
                self.ring.grow(rows.nbytes)
            else:
                self._put_away_oldest()
        return reserved

    def _put_away_oldest(self) -> None:
        entry = self._entries.popleft()
        if entry.arrived is not None:
            entry.arrived.synchronize()
        # A model may run in inference mode, in which columns made here could not be written to later.
        with torch.inference_mode(mode=False):
            entry.do()
        if entry.end is not None:
            self.ring.release(entry.end)
