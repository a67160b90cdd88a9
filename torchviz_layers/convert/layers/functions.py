"""Functions of `keras.ops` and TensorFlow with the arguments that they have there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.reductions import TYPES, Axis, axes_of, cast


def squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return (a - b)²."""
    return (a - b) ** 2


def reshape(x: Tensor, newshape: Any) -> Tensor:
    """Give a tensor another shape, batch included."""
    sizes = newshape if isinstance(newshape, (list, tuple, torch.Size)) else [newshape]
    return x.reshape([-1 if size is None else int(size) for size in sizes])


def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes, or reverse them."""
    return x.permute(*(axes if axes is not None else range(x.ndim - 1, -1, -1)))


def expand_dims(x: Tensor, axis: Axis) -> Tensor:
    """Insert axes of size 1."""
    axes = [axis] if isinstance(axis, int) else list(axis or ())
    rank = x.ndim + len(axes)
    for one in sorted(entry % rank for entry in axes):
        x = x.unsqueeze(one)
    return x


def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """Drop axes of size 1."""
    return x.squeeze() if axis is None else x.squeeze(axes_of(x, axis))


def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an axis."""
    return torch.cat(list(xs), axis)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along a new axis."""
    return torch.stack(list(xs), axis)


def split(x: Tensor, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor into equal parts, or before the given indices."""
    if isinstance(indices_or_sections, int):
        return torch.chunk(x, indices_or_sections, axis)
    return torch.tensor_split(x, tuple(indices_or_sections), axis)


def split_sizes(x: Tensor, num_or_size_splits: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor into equal parts or parts of the given sizes (TensorFlow)."""
    if isinstance(num_or_size_splits, int):
        return torch.chunk(x, num_or_size_splits, axis)
    sizes = list(num_or_size_splits)
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return torch.split(x, sizes, axis)


def unstack(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor into slices along an axis."""
    return torch.unbind(x, axis)


def get_item(x: Any, key: Any) -> Any:
    """Index a tensor; entries may be slices, numbers, Ellipsis and None."""
    key = tuple(key) if isinstance(key, list) else key
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


def clip(x: Tensor, x_min: Any = None, x_max: Any = None) -> Tensor:
    """Limit to an interval."""
    return x.clamp(x_min, x_max)


def where(condition: Tensor, x1: Any, x2: Any) -> Tensor:
    """Choose entries of two tensors."""
    return torch.where(condition.bool(), x1, x2)


def matmul(x1: Tensor, x2: Tensor, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Multiply matrices."""
    return (x1.transpose(-2, -1) if transpose_a else x1) @ (x2.transpose(-2, -1) if transpose_b else x2)


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """Sum products by Einstein's convention."""
    return torch.einsum(subscripts, *operands)


def tensordot(x1: Tensor, x2: Tensor, axes: Any = 2) -> Tensor:
    """Contract axes of two tensors."""
    result: Tensor = torch.tensordot(x1, x2, dims=axes)
    return result


def pad(x: Tensor, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Tensor:
    """Pad every axis by (before, after)."""
    pairs = [pad_width] * x.ndim if isinstance(pad_width[0], int) else list(pad_width)
    if mode.lower() == "constant":
        return F.pad(x, [int(size) for pair in reversed(pairs) for size in pair], value=constant_values or 0)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            moved = F.pad(
                x.movedim(axis, -1).flatten(0, -2).unsqueeze(0), [before, after], mode=_PAD_MODES[mode.lower()]
            )
            rest = [size for index, size in enumerate(x.shape) if index != axis]
            x = moved.squeeze(0).reshape(*rest, -1).movedim(-1, axis)
    return x


_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular", "symmetric": "reflect"}


def tile(x: Tensor, repeats: Any) -> Tensor:
    """Repeat the whole tensor along its axes."""
    return x.tile(tuple(repeats) if isinstance(repeats, (list, tuple)) else (repeats,))


def repeat(x: Tensor, repeats: int, axis: int | None = None) -> Tensor:
    """Repeat each entry along an axis."""
    return torch.repeat_interleave(x, repeats, dim=axis)


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """Stretch axes of size 1."""
    return x.expand([int(size) for size in shape])


def flip(x: Tensor, axis: Axis = None) -> Tensor:
    """Reverse the order along axes."""
    return x.flip(axes_of(x, axis))


def swap_axes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    return x.transpose(axis1, axis2)


def move_axis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move axes to other places."""
    return x.movedim(source, destination)


def roll(x: Tensor, shift: Any, axis: Any = None) -> Tensor:
    """Shift entries around."""
    return x.roll(shift, axis)


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Pick entries along an axis."""
    values: Tensor = torch.as_tensor(x)
    index: Tensor = torch.as_tensor(indices, device=values.device).long()
    if axis is None:
        return values.flatten()[index]
    axis %= values.ndim
    shape = [*values.shape[:axis], *index.shape, *values.shape[axis + 1 :]]
    return values.index_select(axis, index.flatten()).reshape(shape)


def one_hot(x: Tensor, num_classes: int, axis: int = -1, dtype: str | None = None) -> Tensor:
    """Return a 1 at each index, 0 elsewhere."""
    hot = F.one_hot(x.long(), num_classes).movedim(-1, axis)
    return cast(hot, dtype or "float32")


def ones_like(x: Tensor, dtype: str | None = None) -> Tensor:
    """Return ones."""
    return torch.ones_like(x, dtype=None if dtype is None else TYPES[dtype])


def zeros_like(x: Tensor, dtype: str | None = None) -> Tensor:
    """Return zeros."""
    return torch.zeros_like(x, dtype=None if dtype is None else TYPES[dtype])


def full_like(x: Tensor, fill_value: Any, dtype: str | None = None) -> Tensor:
    """Return one number everywhere."""
    return torch.full_like(x, fill_value, dtype=None if dtype is None else TYPES[dtype])


def shape_of(x: Tensor) -> torch.Size:
    """Return the sizes of the axes."""
    return x.shape


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """Return x above 0, a share of it below."""
    return F.leaky_relu(x, negative_slope)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x above 0, alpha (exp(x) - 1) below."""
    return F.elu(x, alpha)


def gelu(x: Tensor, approximate: bool = True) -> Tensor:
    """Return x times the normal distribution function of x."""
    return F.gelu(x, approximate="tanh" if approximate else "none")


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return probabilities along an axis."""
    return F.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return logarithms of probabilities along an axis."""
    return F.log_softmax(x, axis)


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """Return x above the threshold, else the default."""
    return F.threshold(x, threshold, default_value)


def depth_to_space(x: Tensor, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Move blocks of channels into rows and columns."""
    if data_format in ("channels_first", "NCHW"):
        x = x.permute(0, 2, 3, 1)
    n, height, width, channels = x.shape
    depth = channels // block_size**2
    blocks = x.reshape(n, height, width, block_size, block_size, depth)
    y = blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, height * block_size, width * block_size, depth)
    return y.permute(0, 3, 1, 2) if data_format in ("channels_first", "NCHW") else y


def space_to_depth(x: Tensor, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Move rows and columns into blocks of channels."""
    if data_format in ("channels_first", "NCHW"):
        x = x.permute(0, 2, 3, 1)
    n, height, width, depth = x.shape
    blocks = x.reshape(n, height // block_size, block_size, width // block_size, block_size, depth)
    y = blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, height // block_size, width // block_size, block_size**2 * depth)
    return y.permute(0, 3, 1, 2) if data_format in ("channels_first", "NCHW") else y


def resize_images(x: Tensor, size: Any, interpolation: str = "bilinear", antialias: bool = False, **_: Any) -> Tensor:
    """Resize images with channels last."""
    mode = {"nearest": "nearest-exact"}.get(interpolation, interpolation)
    options: dict[str, Any] = {} if mode == "nearest-exact" else {"align_corners": False, "antialias": antialias}
    return F.interpolate(x.permute(0, 3, 1, 2).float(), tuple(size), mode=mode, **options).permute(0, 2, 3, 1)


def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the k largest entries of the last axis and their places."""
    values, indices = torch.topk(x, k, sorted=sorted)
    return values, indices.to(torch.int32)


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


def triangle_low(x: Tensor, k: int = 0) -> Tensor:
    """Keep the lower triangle."""
    return x.tril(k)


def triangle_high(x: Tensor, k: int = 0) -> Tensor:
    """Keep the upper triangle."""
    return x.triu(k)
