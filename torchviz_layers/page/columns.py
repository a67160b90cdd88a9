"""Arrays and texts packed for a page: gzip and base64, one typed column each."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

_LARGEST = float(np.finfo(np.float32).max)


class Column(TypedDict):
    """An array in the form that the page's script reads."""

    dtype: str
    shape: list[int]
    data: str


def column(values: NDArray[Any]) -> Column:
    """Return an array as a record of text, which the script turns into a typed array of the same numbers."""
    # Typed arrays of JavaScript are little-endian wherever browsers run.
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    # mtime=0: the same data always make the same file.
    packed = gzip.compress(little.tobytes(), compresslevel=6, mtime=0)
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data": base64.b64encode(packed).decode("ascii")}


def rows(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return row or class numbers below `n` in the smallest unsigned type that also represents `n` itself."""
    return np.asarray(values).astype(np.min_scalar_type(n))


NOT_EMBEDDED = 65_535  # the step of a coordinate that is NaN


def place(Z: NDArray[np.float32], x: tuple[float, float], y: tuple[float, float]) -> NDArray[np.uint16]:
    """Return coordinates (n, 2) as steps of 1/65,534 of the panel's ranges, which the script turns back.

    Half a pixel of a screen is a hundred times as much. A sample that was not embedded has the step 65,535.
    """
    low, high = np.array([x, y], np.float64).T
    steps = np.rint((Z.astype(np.float64) - low) / (high - low) * (NOT_EMBEDDED - 1))
    return np.where(np.isfinite(Z), steps, NOT_EMBEDDED).astype(np.uint16)


def share(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return numbers in [0, 1] as steps of 1/65535; NaN becomes 0."""
    steps = np.rint(np.nan_to_num(values, nan=0.0).clip(0, 1) * 65535)
    return np.asarray(steps, dtype=np.uint16)


def smallest_exact(values: NDArray[np.float64]) -> NDArray[Any]:
    """Return numbers in the smallest type that changes no whole number, and a fraction by 1e-6 of the range at most."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return values.astype(np.float32)
    whole = bool((finite % 1 == 0).all())
    if whole and len(finite) == len(values) and finite.min() >= 0 and finite.max() <= np.iinfo(np.uint32).max:
        return values.astype(np.min_scalar_type(int(finite.max())))
    error = float(np.abs(finite.astype(np.float32) - finite).max()) if np.abs(finite).max() < _LARGEST else np.inf
    allowed = 0.0 if whole else 1e-6 * float(np.ptp(finite))
    return values.astype(np.float32) if error <= allowed else values


def text_column(texts: Sequence[str | None]) -> Column:
    """Return texts, None where one is missing, as a record that the script reads as a list."""
    # ASCII: a lone surrogate, which UTF-8 does not have, stays what it is.
    packed = gzip.compress(json.dumps(list(texts), separators=(",", ":")).encode("ascii"), compresslevel=6, mtime=0)
    return {"dtype": "json", "shape": [len(texts)], "data": base64.b64encode(packed).decode("ascii")}
