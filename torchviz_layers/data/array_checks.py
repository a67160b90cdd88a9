"""Arrays and tensors that hold samples, and errors for those that hold none."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchviz_layers.data.feeding import channel_axis, is_series
from torchviz_layers.data.views import is_picture
from torchviz_layers.exceptions import DataError


def is_array(data: Any) -> bool:
    """Whether data are an array of numbers that can be sliced: NumPy's, PyTorch's, or a store's (Zarr, HDF5)."""
    if isinstance(data, Tensor | np.ndarray):
        return True
    if isinstance(data, type):
        return False
    return all(hasattr(data, name) for name in ("shape", "dtype", "ndim", "__getitem__")) and not is_picture(data)


def as_pixels(array: Any, called: str) -> tuple[Any, tuple[str, ...]]:
    """Return pictures of whole numbers as 8-bit ones, with a sentence that says so; other arrays as they are."""
    kind = str(array.dtype).removeprefix("torch.")
    shape = tuple(array.shape[1:])
    is_picture_like = len(shape) == 3 and channel_axis(shape) is not None
    is_picture_like = is_picture_like or (len(shape) == 2 and not is_series(shape))
    if kind not in ("int8", "int16", "int32", "int64", "uint32", "uint64") or not is_picture_like:
        return array, ()
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{called} is {type(array).__name__} of {array.dtype} {tuple(array.shape)}: pictures of whole numbers from "
            f"{low} to {high}, and nothing says what black and white are; give 8 bits, 16 bits (uint16) or floats"
        )
    pixels = array.to(torch.uint8) if isinstance(array, Tensor) else np.asarray(array).astype(np.uint8)
    return pixels, (f"pictures of {kind} from {low} to {high} are taken as 8-bit ones, in which 255 is white",)


def check_array(array: Any, called: str) -> None:
    """Raise `DataError` for an array that holds no samples, with the line that makes some of it."""
    if isinstance(array, Tensor) and array.is_nested:
        raise DataError(
            f"{called} is a nested tensor: its samples differ in shape; give a list of tensors, and collate="
        )
    shape, dtype = tuple(array.shape), array.dtype
    given = f"{called} is {type(array).__name__} of {dtype} {shape}"
    if isinstance(array, Tensor):
        if array.is_sparse or array.layout != torch.strided:
            raise DataError(f"{given}, sparse: give {called}.to_dense()")
        if array.is_quantized or array.device.type == "meta":
            raise DataError(f"{given}, quantized or without values: give a plain tensor of numbers")
    if hasattr(array, "tocsr"):  # SciPy's
        raise DataError(f"{given}, sparse: give {called}.toarray()")
    if array.ndim == 0:
        raise DataError(f"{given}, one number: give samples of shape (n_samples, ...)")
    if "complex" in str(dtype):
        raise DataError(f"{given}: networks take real numbers; give {called}.abs() or np.abs({called})")
    if getattr(dtype, "kind", "f") not in "biuf":
        raise DataError(f"{given}, not numbers: give numbers of shape (n_samples, ...), or a list of texts")
    if array.ndim == 1:
        raise DataError(f"{given}, one number a sample: give {called}[:, None] if each is a row of one feature")
    if not np.prod(shape):
        raise DataError(f"{given}: there are none; give at least one sample of at least one number")
    if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
        raise DataError(f"{given}, with masked values: give {called}.filled(value)")
