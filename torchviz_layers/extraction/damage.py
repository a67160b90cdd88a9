"""Damaged stores: missing files are found when a store is opened, changed bytes when rows are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchviz_layers.exceptions import StoreError
from torchviz_layers.extraction.store import EXTRAS

_BROKEN = (KeyError, ValueError, TypeError, OSError)  # what Zarr raises for files that it cannot decode
_CHECKSUM_BYTES = 4


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors that a damaged store causes into a `StoreError`."""
    try:
        yield
    except _BROKEN as error:
        raise StoreError(f"{path}: is damaged ({type(error).__name__}: {error}); extract it again") from error


class StoredArray:
    """A Zarr array of a store; rows that cannot be read are a `StoreError` that names them."""

    def __init__(self, array: Any, path: Path, name: str) -> None:
        self._array, self._path, self._name = array, path, name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `copy.copy` and pickle look for such names before `_array` is set
            raise AttributeError(name)
        return getattr(self._array, name)

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def __repr__(self) -> str:
        return repr(self._array)

    def __getitem__(self, index: Any) -> Any:
        return self._read(self._array, index)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    @property
    def oindex(self) -> _Orthogonal:
        """The array indexed axis by axis."""
        return _Orthogonal(self)

    def _read(self, indexed: Any, index: Any) -> Any:
        try:
            return indexed[index]
        except _BROKEN as error:
            rows = self._broken_rows()
            if rows is None:  # every row can be read: the index is wrong
                raise
            raise damaged(self._path, f"samples {rows[0]} to {rows[1]} of {self._name!r} cannot be read") from error

    def _broken_rows(self) -> tuple[int, int] | None:
        """Return the first and the last row of the first chunk that cannot be read."""
        # Zarr's errors do not say which chunk they are about, so the chunks are read one by one.
        step = (self._array.shards or self._array.chunks)[0]
        for start in range(0, len(self), step):
            try:
                self._array[start : start + step]
            except _BROKEN:
                return start, min(start + step, len(self)) - 1
        return None


class _Orthogonal:
    def __init__(self, array: StoredArray) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> Any:
        return self._array._read(self._array._array.oindex, index)


def damaged(path: Path, what: str) -> StoreError:
    """Return the error for a damaged store."""
    return StoreError(f"{path}: is damaged ({what}); extract it again")


def check_whole(
    path: Path, group: Any, header: Mapping[str, Any], rows: int, missing: Mapping[str, list[list[int]]]
) -> None:
    """Raise `StoreError` if a file of the first `rows` rows does not exist or is too short.

    Zarr would read NaN or 0 for a file that does not exist. Chunks of rows that a layer did not run for (`missing`, by
    layer) need no file.
    """
    extras = [(name, name) for name in EXTRAS if name in group]
    for name, key in (*header["layers"].items(), *extras):
        array = group[key]
        if 0 in array.shape or (name in header["layers"] and array.shape[0] < rows):
            continue  # nothing is stored, or the layer will not be read
        # Only the axis of the samples is cut: a file is `c/<chunk>/0/0`.
        step, first = (array.shards or array.chunks)[0], ("0",) * (array.ndim - 1)
        size = _chunk_bytes(array)
        for start in range(0, min(rows, array.shape[0]), step):
            file, stop = path.joinpath(key, "c", str(start // step), *first), min(start + step, rows)
            # A run in which the layer never ran has written no file for it.
            never_ran = any(begin <= start and stop <= end for begin, end in missing.get(name, ()))
            if not file.exists():
                if not never_ran:
                    raise damaged(path, f"{name!r} lacks samples {start} to {stop - 1}")
            elif size is not None and file.stat().st_size != size:
                raise damaged(
                    path,
                    f"{name!r}: the file of samples {start} to {stop - 1} has {file.stat().st_size} bytes of {size}",
                )


def _chunk_bytes(array: Any) -> int | None:
    """Return how many bytes the file of a chunk has, or None where that varies: text, compressed or sharded arrays."""
    codecs = [type(codec).__name__ for codec in array.compressors]
    if array.dtype.kind not in "biufc" or array.shards or codecs not in ([], ["Crc32cCodec"]):
        return None
    return int(math.prod(array.chunks) * array.dtype.itemsize) + _CHECKSUM_BYTES * len(codecs)
