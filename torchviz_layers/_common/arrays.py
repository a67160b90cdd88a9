"""NumPy arrays: the type that annotations name, and anything that holds numbers as an array or as checked rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from torchviz_layers.exceptions import DataError, NonFiniteError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of any shape and dtype

# Types that NumPy doesn't have, and the ones that hold their values.
_NUMPY = {getattr(torch, name): torch.float32 for name in dir(torch) if re.fullmatch(r"bfloat16|float8_\w+", name)}
_NUMPY[torch.complex32] = torch.complex64

# Types whose values float32 holds exactly.
_SMALL = (torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16, torch.bool)
_ROWS_NAMED = 10  # rows that a message about NaN lists


@dataclass(frozen=True)
class CheckedRows:
    """Finite rows of shape (n_samples, n_features), float32 in C order.

    Neighbour search, measures, reducers and corner cases take them as they are, without a further pass over them.
    """

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of samples and of features."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> CheckedRows:
        """Return some of the rows: a slice, a mask or row numbers."""
        return CheckedRows(np.ascontiguousarray(self.values[rows]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.values, dtype=dtype, copy=copy)


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """Return the NumPy type that holds values of `dtype`: float32 for bfloat16."""
    return np.dtype(torch.empty(0, dtype=_NUMPY.get(dtype, dtype)).numpy().dtype)


def as_numpy(values: Any) -> Array:
    """Return a tensor, an array or a list as a NumPy array, without a copy where possible.

    Tensors are detached and leave their device; only here does bfloat16 become float32.
    """
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", _NUMPY.get(values.dtype, values.dtype)).numpy()
    return np.asarray(values)


def as_rows(X: Any, name: str = "X", *, finite: bool = True, first: int = 0) -> Any:
    """Return rows of finite floats (n, n_features) as float32 or float64, in C order, without a copy where possible.

    Parameters
    ----------
    X
        NumPy or Zarr array, tensor or nested list of shape (n, ...); axes after the first are flattened. Floats of up
        to 32 bits and integers of up to 16 become float32, the others float64. `CheckedRows` are not checked again.
    name
        What an error message calls X.
    finite
        Refuse NaN and infinity.
    first
        Number of the first row, for the message: X may be a block of a larger array.

    Returns
    -------
    A tensor on the same device for a CUDA tensor, a NumPy array for anything else.

    Raises
    ------
    DataError
        Where X is empty, has no two axes, or holds no real numbers.
    NonFiniteError
        Where rows hold NaN or infinity; the message names the first ones.
    """
    if isinstance(X, CheckedRows):
        return X.values
    if isinstance(X, torch.Tensor):
        tensor = X.detach()
        tensor = tensor.to(torch.float32 if tensor.dtype in _SMALL else torch.float64)
        tensor = _flat(tensor, name).contiguous()
        if tensor.device.type == "cuda":
            # One number leaves the card; the mask of rows only where some are not finite.
            if finite and not bool(torch.isfinite(tensor).all()):
                _check_finite(as_numpy(torch.isfinite(tensor).all(dim=1)), name, first)
            return tensor
        X = tensor.cpu().numpy()
    array = _real_numbers(X, name)
    small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
    array = np.ascontiguousarray(_flat(array, name), dtype=np.float32 if small else np.float64)
    if finite:
        # A sum is one cheap pass and is finite for finite rows, unless it overflows: only then is each row looked at.
        with np.errstate(all="ignore"):
            total = array.sum(dtype=np.float64)
        if not np.isfinite(total):
            _check_finite(np.isfinite(array).all(axis=1), name, first)
    return array


def _real_numbers(X: Any, name: str) -> Array:
    if hasattr(X, "tocsr"):
        raise DataError(f"{name}: sparse input is not supported here; pass {name}.toarray()")
    array = np.asarray(X)
    if array.dtype == object:
        array = array.astype(np.float64)
    if array.dtype.kind == "c":
        raise DataError(f"{name}: Complex data not supported ({array.dtype})")
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {array.dtype}, not real numbers")
    return array


def _flat(X: Any, name: str) -> Any:
    """Flatten all axes after the first: (n, n_features)."""
    shape = tuple(X.shape)
    if len(shape) < 2:
        raise DataError(f"{name} has shape {shape}. Reshape your data: (n_samples, n_features) is needed")
    for count, what in ((shape[0], "sample"), (int(np.prod(shape[1:])), "feature")):
        if count == 0:
            raise DataError(f"{name} is empty: 0 {what}(s) (shape={shape}) while a minimum of 1 is required.")
    return X.reshape(len(X), -1)


def _check_finite(finite: Array, name: str, first: int) -> None:
    """Raise an error that names the rows for which the mask (n,) is False."""
    bad = np.flatnonzero(~finite)
    if not len(bad):
        return
    shown = ", ".join(str(row + first) for row in bad[:_ROWS_NAMED])
    if len(bad) > _ROWS_NAMED:
        shown += ", ..."
    raise NonFiniteError(f"{name}: {len(bad)} of {len(finite)} rows hold NaN or infinity (rows {shown})")
