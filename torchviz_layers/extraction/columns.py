"""Preallocated rows that hooks write into: one buffer a layer, no lists, no concatenation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torchviz_layers.exceptions import CaptureError
from torchviz_layers.extraction.pages import Pages

_GROWTH = 1.125  # where the number of samples is not known beforehand
_NOT_IN_TORCH = "TUOSMm"  # kinds of NumPy types: text, objects, dates, durations


class Column:
    """Rows of one array: a window of `capacity` rows, the first of which is row `base` of the whole array."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        device: torch.device | None = None,
        pages: Pages | None = None,
    ) -> None:
        self.name, self.shape, self.dtype, self.device = name, shape, dtype, device
        self.torch_dtype: torch.dtype | None = None
        self.source_dtype: object = None
        """The type of the first rows, before any conversion."""
        self.base = 0
        self.capacity = 0
        self.missing: list[tuple[int, int]] = []
        """Runs of rows that the layer did not run for."""
        self._array: npt.NDArray[Any] | None = None
        self._view: Tensor | None = None
        self._pages = pages if pages is not None else Pages()
        self._ready = 0
        """Bytes of the array whose pages the system has allocated."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize

    def reserve(self, rows: int, exact: bool = False) -> None:
        """Make room for `rows` rows in the window."""
        if rows <= self.capacity:
            return
        # A column that grows batch by batch grows in steps, so that it is not moved for every batch.
        if not exact and self.capacity > 0:
            rows = max(rows, int(self.capacity * _GROWTH))
        if self.device is not None:
            grown = torch.empty((rows, *self.shape), dtype=self.torch_dtype, device=self.device)
            if self._view is not None:
                grown[: self.capacity] = self._view
            self._view = grown
        else:
            self._array = self._resized(rows)
            self._view = self._as_tensor(self._array)
        self.capacity = rows

    def _resized(self, rows: int) -> npt.NDArray[Any]:
        """Return an array of `rows` rows with those of the present one, which must not be used any more."""
        shape = (rows, *self.shape)
        array, self._array, self._view = self._array, None, None
        if array is None and self.dtype.kind not in _NOT_IN_TORCH:
            # Memory from PyTorch: NumPy's allocator asks for huge pages, and waits while the system makes them.
            return torch.empty(shape, dtype=torch.from_numpy(np.empty(0, self.dtype)).dtype).numpy()
        if array is None:
            return np.empty(shape, self.dtype)
        # NumPy can resize only memory of its own, which moves pages instead of copying them.
        if not array.flags.owndata:
            array = array[:rows].copy()
        array.resize(shape, refcheck=False)
        return array

    def shrink(self, rows: int) -> None:
        """Free the room for more than `rows` rows."""
        if self._array is not None and rows < self.capacity:
            self._array = self._array[:rows].copy()
            self._view = self._as_tensor(self._array)
            self.capacity = rows

    def write(self, start: int, rows: Tensor | npt.NDArray[Any]) -> None:
        """Write rows that begin at row `start` of the whole array; those before the window are dropped."""
        first = start - self.base
        if first < 0:
            # A batch that begins in a chunk which is stored already.
            rows, first = rows[-first:], 0
        stop = first + rows.shape[0]
        if stop > self.capacity:
            self.reserve(stop)
        self._make_ready(stop)
        # PyTorch copies from any device and converts the type, in several threads.
        if isinstance(rows, Tensor):
            assert self._view is not None
            self._view[first:stop].copy_(rows)
        else:
            assert self._array is not None
            self._array[first:stop] = rows

    def _make_ready(self, stop: int) -> None:
        """Have the pages of the window's rows up to row `stop` allocated."""
        array, need = self._array, stop * self.row_bytes
        if array is not None and need > self._ready:
            start = array.ctypes.data
            self._ready = self._pages.make_ready(start + self._ready, start + need, start + array.nbytes) - start

    def widen(self, shape: tuple[int, ...], rows: int, fill: float) -> None:
        """Enlarge the trailing axes to hold `shape`, keeping the first `rows` rows of the window."""
        wider = tuple(max(old, new) for old, new in zip(self.shape, shape, strict=True))
        if wider == self.shape:
            return
        old, self.shape = self._array, wider
        assert old is not None
        self._array = np.full((self.capacity, *wider), fill, self.dtype)
        self._array[(slice(rows), *(slice(extent) for extent in old.shape[1:]))] = old[:rows]
        self._view = self._as_tensor(self._array)

    def mark_missing(self, start: int, stop: int) -> None:
        """Fill rows that the layer did not run for: NaN, or 0 in types without it."""
        if start >= stop:
            return
        if self.missing and self.missing[-1][1] == start:
            start_of_run = self.missing.pop()[0]
            self.missing.append((start_of_run, stop))
        else:
            self.missing.append((start, stop))
        first = max(start - self.base, 0)
        self.reserve(stop - self.base)
        target = self._view if self.device is not None else self._array
        assert target is not None
        target[first : stop - self.base] = fill_value(self.dtype)

    def window(self, rows: int) -> Any:
        """Return the first `rows` rows of the window."""
        target = self._view if self.device is not None else self._array
        if target is None:
            return np.empty((0, *self.shape), self.dtype)
        return target[:rows]

    def drain(self, rows: int, upto: int) -> None:
        """Move the window on by `rows` rows; the rows up to row `upto` of the whole array move to its start."""
        kept = upto - self.base - rows
        # A column on a device has no store. The copy is needed, as source and target may overlap.
        if kept > 0 and self._array is not None:
            self._array[:kept] = self._array[rows : rows + kept].copy()
        self.base += rows

    def finish(self, rows: int) -> Any:
        """Return the array of `rows` rows, without the room that was made for more."""
        array = self._array
        if array is None or not array.flags.owndata or rows == self.capacity:
            return self.window(rows)  # pages of PyTorch's memory that were never written to are not allocated
        self._view = None
        array.resize((rows, *self.shape), refcheck=False)
        return array

    def _as_tensor(self, array: npt.NDArray[Any]) -> Tensor | None:
        return torch.from_numpy(array) if array.dtype.kind not in _NOT_IN_TORCH else None


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what a missing value is stored as."""
    if dtype.kind in "fc":
        return np.nan
    return "" if dtype.kind == "T" else dtype.type(0)


def shape_changed(layer: str, before: tuple[int, ...], now: tuple[int, ...], row: int) -> CaptureError:
    """Return the error for rows of another shape than the ones before."""
    return CaptureError(
        f"{layer!r}: its rows have shape {now} at sample {row} and had {before} before; "
        "pool='token_mean' or 'gap' makes them alike, ragged=\"pad\" pads them with zeros"
    )
