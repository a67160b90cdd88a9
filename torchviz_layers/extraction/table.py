"""The rows of all layers while they are gathered: in memory, or on their way into a store.

Without a store every column grows until it has all rows. With a store the columns are windows on the rows that are not
stored yet: they begin at row `base`, and whenever they have a whole chunk it is written and the windows move on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers._common.arrays import numpy_dtype
from torchviz_layers._common.memory import format_bytes
from torchviz_layers.exceptions import CaptureError, DataError, StoreError
from torchviz_layers.extraction.chunks import ChunkShare
from torchviz_layers.extraction.columns import Column, shape_changed
from torchviz_layers.extraction.pages import Pages
from torchviz_layers.extraction.store import Store

_CHUNK_BYTES = 16 << 20  # of the widest layer
_WINDOW_BYTES = 256 << 20  # of all layers of all tables together
_MOST_CHUNK_ROWS = 16384
_CHUNKS_A_PROCESS = 16  # at least, so that the work is divided evenly


@dataclass
class Table:
    """Columns that are filled batch by batch."""

    total: int | None = None
    """Number of samples, where it is known beforehand."""
    keep_on: torch.device | None = None
    pad: bool = False
    streaming: bool = False
    """The rows will go to a store: no room is made for all of them."""
    tables: int = 1
    """How many tables are filled at the same time, which share the memory for windows."""
    store: Store | None = None
    share: ChunkShare = field(default_factory=ChunkShare)
    layers: dict[str, Column] = field(default_factory=dict)
    extras: dict[str, Column] = field(default_factory=dict)
    start: int = 0
    """First row of the present batch."""
    stop: int = 0
    """Row after the present batch."""
    base: int = 0
    """First row of the columns' windows."""
    committed: int = 0
    """Row after the last whole batch."""
    _pages: Pages = field(default_factory=Pages)
    _written: set[tuple[str, bool]] = field(default_factory=set)
    """The columns that have rows of the present batch, by name and whether they are of a layer."""
    _flushing: bool = False
    """A chunk is being stored; if that fails, some windows have moved on and others have not."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample over all layers."""
        return sum(column.row_bytes for column in self.layers.values())

    def begin(self, start: int, size: int) -> None:
        """Begin a batch of samples `start` to `start + size`."""
        self.start, self.stop = start, start + size
        self._written.clear()

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True, at: int = 0) -> None:
        """Write a column's rows of the present batch, or a piece of them that begins with row `at` of the batch."""
        columns = self.layers if layer else self.extras
        column = columns.get(name)
        if column is None:
            column = columns[name] = self._new_column(name, rows, layer=layer)
        if rows.dtype != column.source_dtype:
            self._check_type(column, rows)
        if rows.shape[1:] != column.shape:
            rows = self._fit(column, rows)
        column.write(self.start + at, rows)
        self._written.add((name, layer))

    def drop(self, name: str, why: str) -> bool:
        """Leave a layer out, with its rows, for the reason `why`; return False where other processes write them too."""
        if self.store is not None and not self.store.drop(name, why):
            return False
        self.layers.pop(name, None)
        self._written.discard((name, True))
        return True

    def _new_column(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool) -> Column:
        """Make the column for the first rows of a layer, or of ids, targets, predictions or thumbnails."""
        dtype = numpy_dtype(rows.dtype) if isinstance(rows, Tensor) else rows.dtype
        # Only layers stay on a device; ids, targets and predictions are always in memory.
        column = Column(name, tuple(rows.shape[1:]), dtype, self.keep_on if layer else None, self._pages)
        if isinstance(rows, Tensor):
            column.torch_dtype = rows.dtype
        column.source_dtype = rows.dtype
        column.base = self.base
        column.reserve(self._room(), exact=True)
        stored = self.store is not None and self.store.has(name, layer=layer)
        if not layer and self.start > 0 and not stored:
            raise DataError(f"batches: {name} come with sample {self.start}, but did not come with the ones before")
        if layer:
            # It did not run for the batches before, of this run and of all runs before.
            column.mark_missing(self.base, self.start)
            if self.start > 0 and not stored:
                self._note_late(column)
        return column

    def _note_late(self, column: Column) -> None:
        """Note that a layer did not run for any sample before the present batch."""
        column.missing = [(0, self.start)]
        if self.store is not None:
            self.store.write_missing(f"from-{self.start}", {column.name: [[0, self.start]]})

    def _room(self) -> int:
        """Return how many rows a window should have room for."""
        if self.store is not None:
            # A chunk is written as soon as it is full, so at most one more batch is in the window.
            return self.store.chunk_rows + self.stop - self.start
        # All rows at once where their number is known: no copy when a column grows, and no memory for two of them.
        known = self.total if self.total and not self.streaming else 0
        return max(known, self.stop) - self.base

    def _check_type(self, column: Column, rows: Tensor | npt.NDArray[Any]) -> None:
        """Raise an error for rows whose type cannot be converted to that of the rows before."""
        if isinstance(rows, Tensor) and column.torch_dtype is not None:
            fits = torch.can_cast(rows.dtype, column.torch_dtype)
        else:
            fits = not isinstance(rows, Tensor) and np.can_cast(rows.dtype, column.dtype, "same_kind")
        if not fits:
            kind = CaptureError if column.name in self.layers else DataError
            raise kind(f"{column.name!r}: {rows.dtype} at sample {self.start}, and {column.source_dtype} before")

    def _fit(self, column: Column, rows: Tensor | npt.NDArray[Any]) -> Tensor | npt.NDArray[Any]:
        """Return rows of another shape padded with zeros to the column's, which is widened where it is smaller."""
        shape = tuple(rows.shape[1:])
        # Tensors that stay on a device are not padded.
        if not self.pad or len(shape) != len(column.shape) or self.keep_on is not None:
            raise shape_changed(column.name, column.shape, shape, self.start)
        # The column may be smaller along one axis and larger along another: both become the larger shape.
        column.widen(shape, self.start - column.base, 0)
        padded = torch.zeros((len(rows), *column.shape), dtype=column.torch_dtype)
        padded[(slice(None), *(slice(extent) for extent in shape))] = torch.as_tensor(rows)
        return padded

    def commit(self) -> None:
        """End a batch: mark the rows of layers that did not run, and write full chunks to the store."""
        for name, column in self.layers.items():
            if (name, True) not in self._written:
                column.mark_missing(self.start, self.stop)
        for name in self.extras:
            if (name, False) not in self._written:
                raise DataError(
                    f"batches: {name} came with the samples before, but do not come with sample {self.start}"
                )
        self.committed = self.stop
        if self.store is not None:
            self._flush_full()

    def settle(self) -> None:
        """Do nothing: rows are here as soon as they are put."""

    def _flush_full(self) -> None:
        assert self.store is not None
        while self.committed - self.base >= self.store.chunk_rows:
            self._flush(self.store.chunk_rows, self.committed)

    def _flush(self, rows: int, upto: int) -> None:
        """Write the first `rows` rows of the windows, if their chunk is this process's, and move the windows on.

        `upto` is the row after the last one that is kept.
        """
        store = self.store
        assert store is not None
        chunk = self.base // store.chunk_rows
        self._flushing = True
        # Windows move on over chunks of other processes too, of which this one has the rows only in part.
        if self.share.is_mine(chunk):
            store.write_missing(str(chunk), self.missing(self.base, self.base + rows))
            for column, layer in self._columns():
                array = self._array_of(column, layer=layer)
                store.write(array, self.base, column.window(rows))
        for column, _ in self._columns():
            column.drain(rows, upto)
        self.base += rows
        self._flushing = False

    def _columns(self) -> list[tuple[Column, bool]]:
        """Return every column and whether it is a layer's; `ids` last, whose chunks mean that all others are stored."""
        extras = sorted(self.extras.values(), key=lambda column: column.name == "ids")
        return [*((column, True) for column in self.layers.values()), *((column, False) for column in extras)]

    def _array_of(self, column: Column, *, layer: bool) -> Any:
        assert self.store is not None
        rows = self.total or self.store.chunk_rows  # arrays grow where there are more
        fill = 0 if self.pad else None
        return self.store.array(column.name, layer=layer, shape=column.shape, dtype=column.dtype, rows=rows, fill=fill)

    def move_to(self, base: int) -> None:
        """Start an empty window at row `base`."""
        self.base = base
        for column, _ in self._columns():
            column.base = base

    def check_skipped(self, skipped: Mapping[str, str]) -> None:
        """Raise `StoreError` if the store to continue has a layer of `skipped`, which maps names to reasons."""
        for name, why in skipped.items():
            if self.store is not None and self.store.has(name, layer=True):
                raise StoreError(f"{self.store.path}: holds {name!r}, which gives no rows ({why}); give another path")

    def chunk_rows(self, batch_size: int, processes: int = 1) -> int:
        """Return how many rows make a good chunk: whole batches, of about 16 MiB in the widest layer.

        Several processes divide the work by chunks: each gets sixteen at least, if there are batches enough.
        """
        widest = max((column.row_bytes for column in self.layers.values()), default=1)
        # The windows of all layers together are in memory while a chunk fills.
        window = _WINDOW_BYTES // self.tables
        rows = min(_MOST_CHUNK_ROWS, _CHUNK_BYTES // max(widest, 1), window // max(self.row_bytes, 1))
        if processes > 1:
            known = self.total or _MOST_CHUNK_ROWS
            rows = min(rows, known // (_CHUNKS_A_PROCESS * processes))
        return max(batch_size, rows - rows % batch_size)

    def to_store(self, store: Store) -> None:
        """Write the rows to `store` from now on, those that are here included."""
        self.store = store
        for column, layer in self._columns():
            self._array_of(column, layer=layer)
        self._flush_full()
        # What is left is less than a chunk: the columns become windows.
        for column, _ in self._columns():
            column.reserve(self._room(), exact=True)
            column.shrink(self._room())

    def flush_rest(self) -> None:
        """Store the rows of the last, smaller chunk."""
        rows = self.committed - self.base
        if self.store is not None and rows > 0:
            self._flush(rows, self.committed)

    def flush_partial(self) -> None:
        """Store the rows of the last chunk though it is not full, so that a later run can continue after them."""
        if self.store is None or self._flushing:
            return
        self._flush_full()
        if self.committed > self.base:
            chunk = self.base // self.store.chunk_rows
            # The header first: a chunk that the header does not name as partial counts as full.
            self.store.write_header(partial={"chunk": chunk, "rows": self.committed})
            self.flush_rest()

    def arrays(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arrays of layers and of extras, in memory."""
        return (
            {name: column.finish(self.committed) for name, column in self.layers.items()},
            {name: column.finish(self.committed) for name, column in self.extras.items()},
        )

    def missing(self, start: int, stop: int) -> dict[str, list[list[int]]]:
        """Return the runs of rows from `start` to `stop` that are missing, by layer."""
        found = {}
        for name, column in self.layers.items():
            runs = [[max(first, start), min(last, stop)] for first, last in column.missing]
            inside = [[first, last] for first, last in runs if first < last]
            if inside:
                found[name] = inside
        for name in self.store.header["layers"] if self.store is not None else ():
            if name not in self.layers:  # stored by an earlier run; it has not run in this one
                found[name] = [[start, stop]]
        return found


def check_disk(path: Path, need: int) -> None:
    """Raise `StoreError` if the disk has fewer than `need` bytes free."""
    there = next(parent for parent in (path, *path.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise StoreError(
            f"{path}: the activations take {format_bytes(need)}, {format_bytes(free)} are free there; "
            "choose fewer layers, a pool or dtype=torch.float16"
        )
