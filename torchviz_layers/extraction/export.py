"""Activations written to a Zarr group, or to one safetensors or NumPy file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchviz_layers._common.arrays import as_numpy
from torchviz_layers._common.files import atomic_write
from torchviz_layers.exceptions import StoreError
from torchviz_layers.extraction.store import Store

_CHUNK_BYTES = 16 << 20
_MOST_CHUNK_ROWS = 16384


def save_group(
    path: Path,
    layers: Mapping[str, Any],
    extras: Mapping[str, Any],
    missing: Mapping[str, list[list[int]]],
    header: Mapping[str, Any],
) -> None:
    """Write everything to a new Zarr group; raise `StoreError` if that is not possible."""
    store = Store.create(path, {"chunk_rows": _chunk_rows(layers.values()), **header})
    for name, array in layers.items():
        _copy_rows(store, name, array, layer=True)
    for name, array in extras.items():
        _copy_rows(store, name, np.asarray(array), layer=False)
    store.write_missing("all", missing)
    store.finish(header["rows"])


def export_file(path: Path, layers: Mapping[str, Any], extras: Mapping[str, Any]) -> None:
    """Write everything to one file; raise `StoreError` if it has another ending or cannot be written."""
    if path.suffix not in (".npz", ".safetensors"):
        raise StoreError(f"{path}: export writes .safetensors or .npz; .save() writes a Zarr group")
    arrays = {f"layers/{name}": array[:] for name, array in layers.items()} | dict(extras)
    arrays = {name: np.ascontiguousarray(as_numpy(array)) for name, array in arrays.items()}
    try:
        with atomic_write(path) as temporary:
            if path.suffix == ".npz":
                np.savez(temporary, **arrays)
            else:
                _save_safetensors(arrays, temporary)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error


def nbytes(array: Any) -> int:
    """Return the bytes of an array of any kind."""
    return int(np.prod(array.shape, dtype=np.int64)) * int(getattr(array.dtype, "itemsize", 1))


def _chunk_rows(arrays: Iterable[Any]) -> int:
    """Return how many rows make a chunk of about 16 MiB in the widest array."""
    row_bytes = [nbytes(array) // max(array.shape[0], 1) for array in arrays]
    widest = max([*row_bytes, 1])
    return int(min(_MOST_CHUNK_ROWS, max(1, _CHUNK_BYTES // widest)))


def _copy_rows(store: Store, name: str, array: Any, *, layer: bool) -> None:
    dtype = as_numpy(array[:1]).dtype
    target = store.array(name, layer=layer, shape=tuple(array.shape[1:]), dtype=dtype, rows=array.shape[0])
    for start in range(0, array.shape[0], store.chunk_rows):
        store.write(target, start, as_numpy(array[start : start + store.chunk_rows]))


def _save_safetensors(arrays: dict[str, npt.NDArray[Any]], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # The format has no type for text.
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind not in "UTO"}
    try:
        save_file(numbers, str(path))
    except SafetensorError as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error
