"""Functions of `keras.ops` and TensorFlow on entries, indices and matrices, with the arguments that they have there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.reductions import TYPES, cast


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return (a - b)²."""
    return (a - b) ** 2


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


def clip(x: Tensor, x_min: Any = None, x_max: Any = None) -> Tensor:
    """Limit to an interval."""
    return x.clamp(x_min, x_max)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x above 0, alpha (exp(x) - 1) below."""
    return F.elu(x, alpha)


def gelu(x: Tensor, approximate: bool = True) -> Tensor:
    """Return x times the normal distribution function of x."""
    return F.gelu(x, approximate="tanh" if approximate else "none")


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return x above 0, a share of it below."""
    return F.leaky_relu(x, negative_slope)


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """Return x above the threshold, else the default."""
    return F.threshold(x, threshold, default_value)


def ones_like(x: Tensor, dtype: str | None = None) -> Tensor:
    """Return ones."""
    return torch.ones_like(x, dtype=None if dtype is None else TYPES[dtype])


def zeros_like(x: Tensor, dtype: str | None = None) -> Tensor:
    """Return zeros."""
    return torch.zeros_like(x, dtype=None if dtype is None else TYPES[dtype])


def full_like(x: Tensor, fill_value: Any, dtype: str | None = None) -> Tensor:
    """Return one number everywhere."""
    return torch.full_like(x, fill_value, dtype=None if dtype is None else TYPES[dtype])


def get_item(x: Any, key: Any) -> Any:
    """Index a tensor; entries may be slices, numbers, Ellipsis and None."""
    if isinstance(key, list):
        key = tuple(key)
    parts = key if isinstance(key, tuple) else (key,)
    steps = [index for index, part in enumerate(parts) if isinstance(part, slice) and (part.step or 1) < 0]
    if not steps or not isinstance(x, Tensor):
        return x[key]
    if any(part is None or part is Ellipsis for part in parts[: max(steps)]):
        raise NotImplementedError("a slice with a negative step behind an ellipsis or a new axis")
    forward = list(parts)
    for axis in steps:  # torch has no negative steps: flip, then slice
        if parts[axis].start is not None or parts[axis].stop is not None:
            raise NotImplementedError("a slice with a negative step and bounds")
        x = x.flip(axis)
        forward[axis] = slice(None, None, -parts[axis].step)
    return x[tuple(forward)]


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Pick entries along an axis."""
    values: Tensor = torch.as_tensor(x)
    index: Tensor = torch.as_tensor(indices, device=values.device).long()
    if axis is None:
        return values.flatten()[index]
    axis %= values.ndim
    shape = [*values.shape[:axis], *index.shape, *values.shape[axis + 1 :]]
    return values.index_select(axis, index.flatten()).reshape(shape)


def where(condition: Tensor, x1: Any, x2: Any) -> Tensor:
    """Choose entries of two tensors."""
    return torch.where(condition.bool(), x1, x2)


def one_hot(x: Tensor, num_classes: int, axis: int = -1, dtype: str | None = None) -> Tensor:
    """Return a 1 at each index, 0 elsewhere."""
    hot = F.one_hot(x.long(), num_classes).movedim(-1, axis)
    return cast(hot, dtype or "float32")


def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the k largest entries of the last axis and their indices."""
    values, indices = torch.topk(x, k, sorted=sorted)
    return values, indices.to(torch.int32)


def triangle_low(x: Tensor, k: int = 0) -> Tensor:
    """Keep the lower triangle."""
    return x.tril(k)


def triangle_high(x: Tensor, k: int = 0) -> Tensor:
    """Keep the upper triangle."""
    return x.triu(k)


def matmul(x1: Tensor, x2: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiply matrices."""
    if transpose_a:
        x1 = x1.transpose(-2, -1)
    if transpose_b:
        x2 = x2.transpose(-2, -1)
    return x1 @ x2


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """Sum products by Einstein's convention."""
    return torch.einsum(subscripts, *operands)


def tensordot(x1: Tensor, x2: Tensor, axes: Any = 2) -> Tensor:
    """Contract axes of two tensors."""
    result: Tensor = torch.tensordot(x1, x2, dims=axes)
    return result


def resize_images(x: Tensor, size: Any, interpolation: str = "bilinear", antialias: bool = False, **_: Any) -> Tensor:
    """Resize images with channels last."""
    mode, options = interpolation, {"align_corners": False, "antialias": antialias}
    if interpolation == "nearest":  # which takes neither of the two
        mode, options = "nearest-exact", {}
    images = x.permute(0, 3, 1, 2).float()  # (n, channels, height, width)
    return F.interpolate(images, tuple(size), mode=mode, **options).permute(0, 2, 3, 1)


ENTRYWISE: dict[str, Callable[..., Tensor]] = {
    "copy": identity,
    "elu": elu,
    "gelu": gelu,
    "identity": identity,
    "leaky_relu": leaky_relu,
    "threshold": threshold,
    "clip": clip,
    "ones_like": ones_like,
    "zeros_like": zeros_like,
    "full_like": full_like,
}

SELECTING: dict[str, Callable[..., Any]] = {
    "einsum": einsum,
    "get_item": get_item,
    "matmul": matmul,
    "one_hot": one_hot,
    "resize": resize_images,
    "take": take,
    "tensordot": tensordot,
    "top_k": top_k,
    "tril": triangle_low,
    "triu": triangle_high,
    "where": where,
}
