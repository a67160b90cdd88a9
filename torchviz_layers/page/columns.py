"""Arrays on their way into a page: gzip, then base64, one typed column each."""

from __future__ import annotations

import base64
import gzip
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray


class Column(TypedDict):
    """An array as the page's script reads it back."""

    dtype: str
    shape: list[int]
    data: str


def column(values: NDArray[Any]) -> Column:
    """Return an array as JSON-able record; the script turns it into a typed array of the same numbers."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    # mtime=0: the same data make the same file.
    packed = gzip.compress(little.tobytes(), compresslevel=6, mtime=0)
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data": base64.b64encode(packed).decode("ascii")}


def rows(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return row or class numbers below `n` in the smallest unsigned type that holds `n` itself too."""
    dtype = np.uint8 if n < 1 << 8 else np.uint16 if n < 1 << 16 else np.uint32
    return np.asarray(values).astype(dtype)


def share(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return numbers in [0, 1] as steps of 1/65535; NaN becomes 0."""
    steps = np.rint(np.nan_to_num(values, nan=0.0).clip(0, 1) * 65535)
    return np.asarray(steps, dtype=np.uint16)
