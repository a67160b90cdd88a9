"""Functions of `keras.ops` and TensorFlow that give tensors another shape, with the arguments that they have there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.reductions import Axis, axes_of


def reshape(x: Tensor, newshape: Any) -> Tensor:
    """Give a tensor another shape, batch included."""
    sizes = newshape if isinstance(newshape, (list, tuple, torch.Size)) else [newshape]
    return x.reshape([-1 if size is None else int(size) for size in sizes])


def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes, or reverse them."""
    return x.permute(*(axes if axes is not None else range(x.ndim - 1, -1, -1)))


def swap_axes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes."""
    return x.transpose(axis1, axis2)


def move_axis(x: Tensor, source: Any, destination: Any) -> Tensor:
    """Move axes to other positions."""
    return x.movedim(source, destination)


def expand_dims(x: Tensor, axis: Axis) -> Tensor:
    """Insert axes of size 1."""
    axes = [axis] if isinstance(axis, int) else list(axis or ())
    rank = x.ndim + len(axes)  # axes count in the result
    for one in sorted(entry % rank for entry in axes):
        x = x.unsqueeze(one)
    return x


def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """Drop axes of size 1."""
    return x.squeeze() if axis is None else x.squeeze(axes_of(x, axis))


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """Stretch axes of size 1."""
    return x.expand([int(size) for size in shape])


def tile(x: Tensor, repeats: Any) -> Tensor:
    """Repeat the whole tensor along its axes."""
    return x.tile(tuple(repeats) if isinstance(repeats, (list, tuple)) else (repeats,))


def repeat(x: Tensor, repeats: int, axis: int | None = None) -> Tensor:
    """Repeat each entry along an axis."""
    return torch.repeat_interleave(x, repeats, dim=axis)


def flip(x: Tensor, axis: Axis = None) -> Tensor:
    """Reverse the order along axes."""
    return x.flip(axes_of(x, axis))


def roll(x: Tensor, shift: Any, axis: Any = None) -> Tensor:
    """Shift entries around."""
    return x.roll(shift, axis)


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


_PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular", "symmetric": "reflect"}


def pad(x: Tensor, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Tensor:
    """Pad every axis by (before, after)."""
    pairs = [pad_width] * x.ndim if isinstance(pad_width[0], int) else list(pad_width)
    if mode.lower() == "constant":
        sizes: list[int] = []
        for before, after in reversed(pairs):
            sizes += [int(before), int(after)]
        return F.pad(x, sizes, value=constant_values or 0)
    # The other modes of `F.pad` take few axes: pad one axis after the other, as the last of (1, rest, size).
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            rows = x.movedim(axis, -1)
            padded = F.pad(rows.flatten(0, -2).unsqueeze(0), [before, after], mode=_PAD_MODES[mode.lower()])
            x = padded.squeeze(0).reshape(*rows.shape[:-1], -1).movedim(-1, axis)
    return x


def depth_to_space(x: Tensor, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Move blocks of channels into rows and columns."""
    if data_format in ("channels_first", "NCHW"):
        x = x.permute(0, 2, 3, 1)
    n, height, width, channels = x.shape
    # Keras's channels are (block row, block column, depth).
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


def shape_of(x: Tensor) -> torch.Size:
    """Return the sizes of the axes."""
    return x.shape


RESHAPING: dict[str, Callable[..., Any]] = {
    "broadcast_to": broadcast_to,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "moveaxis": move_axis,
    "pad": pad,
    "reshape": reshape,
    "roll": roll,
    "shape": shape_of,
    "space_to_depth": space_to_depth,
    "squeeze": squeeze,
    "stack": stack,
    "swapaxes": swap_axes,
    "tile": tile,
    "transpose": transpose,
    "unstack": unstack,
}

JOINING: dict[str, Callable[..., Any]] = {
    "concatenate": concatenate,
    "flip": flip,
    "repeat": repeat,
    "split": split,
    "split_sizes": split_sizes,
}
