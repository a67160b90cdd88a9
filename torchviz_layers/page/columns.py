"""Arrays and texts packed for a page: deflated and in base64, one typed column each."""

from __future__ import annotations

import base64
import json
import zlib
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
    # All first bytes, then all second ones: those of the same place are more alike than those of one number.
    planes = little.reshape(-1).view(np.uint8).reshape(-1, values.dtype.itemsize).T
    # Bytes of several planes have few repetitions of use: "filtered" takes the short ones for what they are, chance.
    strategy = zlib.Z_FILTERED if values.dtype.itemsize > 1 else zlib.Z_DEFAULT_STRATEGY
    return {"dtype": values.dtype.name, "shape": list(values.shape), "data": _packed(planes.tobytes(), strategy)}


def packed_text(text: str) -> str:
    """Return a text in the form that the page's script unpacks."""
    return _packed(text.encode())


def _packed(data: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> str:
    # Level 9 takes ten times as long for a hundredth of the size. zlib's own header has no time in it: the same data
    # always make the same file.
    compressor = zlib.compressobj(7, strategy=strategy)
    return base64.b64encode(compressor.compress(data) + compressor.flush()).decode("ascii")


def rows(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return row or class numbers below `n` in the smallest unsigned type that also represents `n` itself."""
    return np.asarray(values).astype(np.min_scalar_type(n))


STEPS = 32_766  # of a panel's range; one more is a coordinate that is NaN


def place(Z: NDArray[np.float32], x: tuple[float, float], y: tuple[float, float]) -> NDArray[np.uint16]:
    """Return coordinates (n, 2) as steps of 1/32,766 of the panel's ranges, which the script turns back.

    Half a pixel of the stage is some twenty steps. A sample that was not embedded has the step 32,767.
    """
    low, high = np.array([x, y], np.float64).T
    steps = np.rint((Z.astype(np.float64) - low) / (high - low) * STEPS)
    return np.where(np.isfinite(Z), steps, STEPS + 1).astype(np.uint16)


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
    packed = packed_text(json.dumps(list(texts), separators=(",", ":")))
    return {"dtype": "json", "shape": [len(texts)], "data": packed}
