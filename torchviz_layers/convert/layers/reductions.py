"""Functions of `keras.ops` and TensorFlow that work along axes, and types of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Axis = int | Sequence[int] | None

TYPES = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float32,
    "bfloat16": torch.float32,
    "float32": torch.float32,
    "float64": torch.float32,
}


def cast(x: Tensor, dtype: str) -> Tensor:
    """Convert to another type of number; float64 of a model stays float32 here."""
    return x.to(TYPES[dtype.removeprefix("<dtype: '").removesuffix("'>")])


def axes_of(x: Tensor, axis: Axis) -> tuple[int, ...]:
    """Return the axes to reduce; None means all."""
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean over axes."""
    if not x.is_floating_point():
        x = x.float()
    return x.mean(axes_of(x, axis), keepdims)


def total(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum over axes."""
    return x.sum(axes_of(x, axis), keepdims)


def maximum_over(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: float | None = None) -> Tensor:
    """Return the maximum over axes."""
    result = x.amax(axes_of(x, axis), keepdims)
    return result if initial is None else result.clamp(min=initial)


def minimum_over(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: float | None = None) -> Tensor:
    """Return the minimum over axes."""
    result = x.amin(axes_of(x, axis), keepdims)
    return result if initial is None else result.clamp(max=initial)


def product(x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: str | None = None) -> Tensor:
    """Return the product over axes."""
    if dtype is not None:
        x = cast(x, dtype)
    # `prod` takes one axis; from the last to the first, the axes that remain keep their numbers.
    axes = [entry % x.ndim for entry in axes_of(x, axis)]
    for one in sorted(axes, reverse=True):
        x = x.prod(one, keepdim=keepdims)
    return x


def variance(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance over axes, of the whole population."""
    return x.var(axes_of(x, axis), correction=0, keepdim=keepdims)


def deviation(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation over axes, of the whole population."""
    return x.std(axes_of(x, axis), correction=0, keepdim=keepdims)


def all_true(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether all entries are true."""
    return x.bool().to(torch.uint8).amin(axes_of(x, axis), keepdims).bool()


def any_true(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return whether any entry is true."""
    return x.bool().to(torch.uint8).amax(axes_of(x, axis), keepdims).bool()


def log_sum_exp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return log(sum(exp(x))) over axes."""
    return x.logsumexp(axes_of(x, axis), keepdims)


def euclidean_norm(x: Tensor, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return a vector norm over axes."""
    if ord in (None, "euclidean"):
        ord = 2
    result: Tensor = torch.linalg.vector_norm(x, ord, axes_of(x, axis), bool(keepdims))
    return result


def arg_max(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the maximum."""
    return x.argmax(axis, keepdims)


def arg_min(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the index of the minimum."""
    return x.argmin(axis, keepdims)


def cumulative_sum(x: Tensor, axis: int | None = None, dtype: str | None = None) -> Tensor:
    """Return running sums."""
    if dtype is not None:
        x = cast(x, dtype)
    return x.flatten().cumsum(0) if axis is None else x.cumsum(axis)


def cumulative_product(x: Tensor, axis: int | None = None, dtype: str | None = None) -> Tensor:
    """Return running products."""
    if dtype is not None:
        x = cast(x, dtype)
    return x.flatten().cumprod(0) if axis is None else x.cumprod(axis)


def normalize(x: Tensor, axis: Axis = -1, order: Any = 2, epsilon: float | None = None) -> Tensor:
    """Divide by the norm over axes."""
    floor = 1e-12 if epsilon is None else epsilon
    if order == 2:
        return x * torch.rsqrt((x * x).sum(axes_of(x, axis), keepdim=True).clamp(min=floor))
    norm: Tensor = torch.linalg.vector_norm(x, order, axes_of(x, axis), keepdim=True)
    return x / norm.clamp(min=floor)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return probabilities along an axis."""
    return F.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return logarithms of probabilities along an axis."""
    return F.log_softmax(x, axis)


REDUCING: dict[str, Callable[..., Tensor]] = {
    "all": all_true,
    "any": any_true,
    "logsumexp": log_sum_exp,
    "max": maximum_over,
    "mean": mean,
    "min": minimum_over,
    "norm": euclidean_norm,
    "prod": product,
    "std": deviation,
    "sum": total,
    "var": variance,
}

SCANNING: dict[str, Callable[..., Tensor]] = {
    "cumprod": cumulative_product,
    "cumsum": cumulative_sum,
    "log_softmax": log_softmax,
    "normalize": normalize,
    "softmax": softmax,
}

INDEXING: dict[str, Callable[..., Tensor]] = {
    "argmax": arg_max,
    "argmin": arg_min,
}
