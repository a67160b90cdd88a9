"""NumPy arrays: the type that annotations name, and tensors as arrays of the types that NumPy has."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of any shape and dtype

# Types that NumPy doesn't have, and the ones that hold their values.
_NUMPY = {getattr(torch, name): torch.float32 for name in dir(torch) if re.fullmatch(r"bfloat16|float8_\w+", name)}
_NUMPY[torch.complex32] = torch.complex64


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """Return the NumPy type that holds values of `dtype`: float32 for bfloat16."""
    return np.dtype(torch.empty(0, dtype=_NUMPY.get(dtype, dtype)).numpy().dtype)


def as_numpy(tensor: Tensor) -> Array:
    """Return a tensor as NumPy; only here does bfloat16 become float32."""
    return tensor.detach().to("cpu", _NUMPY.get(tensor.dtype, tensor.dtype)).numpy()
