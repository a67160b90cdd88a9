"""The rows of all layers while they are gathered: in memory, or passing through it into a store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers._columns import Column, numpy_dtype, shape_changed
from torchviz_layers._store import Store
from torchviz_layers.activations import format_bytes
from torchviz_layers.exceptions import StoreError

_CHUNK_BYTES = 16 << 20
_WINDOW_BYTES = 256 << 20
_MOST_CHUNK_ROWS = 16384


@dataclass
class Table:
    """Columns that are filled batch by batch."""

    total: int | None = None
    """Number of samples, where it is known beforehand."""
    keep_on: torch.device | None = None
    pad: bool = False
    store: Store | None = None
    mine: Callable[[int], bool] = lambda _chunk: True
    """Which chunks of the store this process fills."""
    layers: dict[str, Column] = field(default_factory=dict)
    extras: dict[str, Column] = field(default_factory=dict)
    start: int = 0
    stop: int = 0
    base: int = 0
    """First row that is held."""
    committed: int = 0
    """Row after the last whole batch."""
    _written: set[str] = field(default_factory=set)

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample over all layers."""
        return sum(column.row_bytes for column in self.layers.values())

    @property
    def columns(self) -> list[Column]:
        """All columns, `ids` last: its chunks say that the others' are stored."""
        return [*self.layers.values(), *(self.extras[name] for name in sorted(self.extras, key="ids".__eq__))]

    def begin(self, start: int, size: int) -> None:
        """Get ready for the rows of samples `start` to `start + size`."""
        self.start, self.stop = start, start + size
        self._written.clear()

    def put(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool = True) -> None:
        """Write a column's rows of the present batch."""
        columns = self.layers if layer else self.extras
        column = columns.get(name)
        if column is None:
            column = columns[name] = self._new_column(name, rows, layer=layer)
        if tuple(rows.shape[1:]) != column.shape:
            rows = self._fit(column, rows)
        column.write(self.start, rows)
        self._written.add(name)

    def _new_column(self, name: str, rows: Tensor | npt.NDArray[Any], *, layer: bool) -> Column:
        dtype = numpy_dtype(rows.dtype) if isinstance(rows, Tensor) else rows.dtype
        column = Column(name, tuple(rows.shape[1:]), dtype, self.keep_on if layer else None)
        if isinstance(rows, Tensor):
            column.torch_dtype = rows.dtype
        column.base = self.base
        if self.store is None:
            column.reserve(self.total - self.base if self.total else self.stop - self.base, exact=True)
        if self.start > 0 and layer:
            column.mark_missing(0 if self.store is None else self.base, self.start)
            column.missing = [(0, self.start)]
        return column

    def _fit(self, column: Column, rows: Tensor | npt.NDArray[Any]) -> Tensor | npt.NDArray[Any]:
        shape = tuple(rows.shape[1:])
        if not self.pad or len(shape) != len(column.shape) or self.keep_on is not None:
            raise shape_changed(column.name, column.shape, shape, self.start)
        column.widen(shape, self.start - column.base, 0)
        padded = torch.zeros((len(rows), *column.shape), dtype=column.torch_dtype)
        padded[(slice(None), *(slice(extent) for extent in shape))] = torch.as_tensor(rows)
        return padded

    def commit(self) -> None:
        """End a batch: mark what did not run, and pass full chunks on to the store."""
        for name, column in self.layers.items():
            if name not in self._written:
                column.mark_missing(self.start, self.stop)
        self.committed = self.stop
        if self.store is not None:
            self._flush_full()

    def _flush_full(self) -> None:
        assert self.store is not None
        while self.committed - self.base >= self.store.chunk_rows:
            self._flush(self.store.chunk_rows, self.committed)

    def _flush(self, rows: int, upto: int) -> None:
        store = self.store
        assert store is not None
        if self.mine(self.base // store.chunk_rows):
            for name, column in self._named():
                layer = name in self.layers and column is self.layers[name]
                store.array(name, layer=layer, shape=column.shape, dtype=column.dtype, rows=self.total or rows)
                store.write(store.key_of(name) if layer else name, self.base, column.window(rows))
        for column in self.columns:
            column.drain(rows, upto)
        self.base += rows

    def _named(self) -> list[tuple[str, Column]]:
        return [(column.name, column) for column in self.columns]

    def move_to(self, base: int) -> None:
        """Start an empty window at row `base`."""
        self.base = base
        for column in self.columns:
            column.base = base

    def chunk_rows(self, batch_size: int) -> int:
        """Return how many rows make a good chunk: whole batches, of about 16 MiB in the widest layer."""
        widest = max((column.row_bytes for column in self.layers.values()), default=1)
        rows = min(_MOST_CHUNK_ROWS, _CHUNK_BYTES // max(widest, 1), _WINDOW_BYTES // max(self.row_bytes, 1))
        return max(batch_size, rows - rows % batch_size)

    def to_store(self, store: Store) -> None:
        """Pass rows on to `store` from now on, those that are here included."""
        self.store = store
        self.declare()
        self._flush_full()
        for column in self.columns:
            column.shrink(store.chunk_rows + self.stop - self.start)

    def declare(self) -> None:
        """Make the store's arrays, before several processes write to them."""
        assert self.store is not None
        for name, column in self._named():
            layer = name in self.layers and column is self.layers[name]
            self.store.array(
                name, layer=layer, shape=column.shape, dtype=column.dtype, rows=self.total or self.store.chunk_rows
            )

    def flush_rest(self) -> None:
        """Store the rows of the last, smaller chunk."""
        rows = self.committed - self.base
        if self.store is not None and rows > 0:
            self._flush(rows, self.committed)

    def flush_partial(self) -> None:
        """Store the rows of a chunk of which more may come another time."""
        if self.store is not None and self.committed > self.base:
            chunk = self.base // self.store.chunk_rows
            self.store.write_header(partial={"chunk": chunk, "rows": self.committed})
            self.flush_rest()

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arrays of layers and of extras, held in memory."""
        return (
            {name: column.finish(self.stop) for name, column in self.layers.items()},
            {name: column.finish(self.stop) for name, column in self.extras.items()},
        )

    def missing(self) -> dict[str, list[list[int]]]:
        """Return the runs of rows that are missing, by layer."""
        return {name: [list(run) for run in column.missing] for name, column in self.layers.items() if column.missing}


def check_disk(path: Path, need: int) -> None:
    """Raise `StoreError` if what is about to be stored cannot fit."""
    there = next(parent for parent in (path, *path.resolve().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise StoreError(
            f"{path}: the activations take {format_bytes(need)}, {format_bytes(free)} are free there; "
            "choose fewer layers, a pool or dtype=torch.float16"
        )
