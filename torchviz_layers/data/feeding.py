"""Bare arrays, tensors and pictures as a network takes them: float32, pictures in [0, 1] with channels first."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchviz_layers._common.arrays import Array

SCALES = {torch.uint8: 255, torch.uint16: 65535}  # white in pictures of these types


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Return which of the three axes of a picture holds its channels, 0 or 2; None if neither can."""
    first, _, last = shape
    # 1 and 3 before 4, so that (4, 4, 3) is a picture of 4 x 4 px. Where both fit, PyTorch's order is meant.
    for usual in ((1, 3), (1, 3, 4)):
        if first in usual:
            return 0
        if last in usual:
            return 2
    return None


def is_series(shape: tuple[int, ...]) -> bool:
    """Whether the two axes of a sample are channels and time rather than the height and width of a picture."""
    short, long = sorted(shape)
    return short < 8 or long > 4 * short


def as_tensor(values: Any) -> Tensor:
    """Return an array-like as a new tensor; byte orders and types that PyTorch lacks are converted."""
    if isinstance(values, Tensor):
        return values.detach().clone()
    array = np.array(values)  # a copy: a network may write to its input
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in (np.uint32, np.uint64):
        array = array.astype(np.int64)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    return torch.from_numpy(array)


def bare_inputs(values: Any) -> Tensor:
    """Return bare samples (n, ...) as the batch that a network is fed.

    8- and 16-bit numbers without a sign are pixels and become floats in [0, 1]; bool and float64 become float32;
    whole numbers of other types are indices and stay. Channels of pictures go first, except those of float tensors,
    which are in the order that their owner chose.
    """
    given = as_tensor(values)
    batch = given
    if given.dtype in SCALES:
        batch = given.to(torch.float32) / SCALES[given.dtype]
    elif given.dtype in (torch.bool, torch.float64):
        batch = given.to(torch.float32)
    may_move = given.dtype in SCALES or (not isinstance(values, Tensor) and given.is_floating_point())
    if batch.dim() == 4 and may_move and channel_axis(tuple(batch.shape[1:])) == 2:
        return batch.movedim(3, 1).contiguous()
    if batch.dim() == 3 and given.dtype in SCALES and not is_series(tuple(batch.shape[1:])):
        return batch[:, None]  # (n, h, w) -> (n, 1, h, w)
    return batch


def are_unit_pictures(inputs: Any) -> bool:
    """Whether inputs are pictures (n, channels, height, width) with values in [0, 1], as `bare_inputs` feeds them."""
    if not isinstance(inputs, Tensor | np.ndarray) or inputs.ndim not in (3, 4):
        return False
    is_float = "float" in str(inputs.dtype)
    if is_float and (inputs.ndim == 3 or channel_axis(tuple(inputs.shape[1:])) != 0):
        return False
    if not is_float:
        return torch.as_tensor(np.empty(0, inputs.dtype) if isinstance(inputs, np.ndarray) else inputs).dtype in SCALES
    low, high = float(inputs.min()), float(inputs.max())
    return 0 <= low <= high <= 1


def picture_pixels(picture: Any) -> Array:
    """Return the pixels of a Pillow picture, (height, width, channels), of 8 or 16 bits or floats in [0, 1]."""
    if picture.mode in ("1", "P", "CMYK", "YCbCr", "LAB", "HSV", "PA", "La", "RGBa", "RGBX"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    pixels = np.asarray(picture)
    if pixels.dtype == np.int32 and pixels.size and pixels.min() >= 0 and pixels.max() <= 65535:
        pixels = pixels.astype(np.uint16)  # Pillow's mode I, which it uses for PNG files of 16 bits
    if pixels.ndim == 3 and pixels.shape[2] == 2:  # grey and opacity
        pixels = pixels[..., :1]
    return pixels if pixels.ndim == 3 else pixels[..., None]
