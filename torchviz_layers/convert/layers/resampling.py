"""Layers that change the size of sequences, images and volumes: padding, cropping, resizing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule


class Pad(KerasModule):
    """Pad with zeros, or crop where `pads` is negative; `pads` is last axis first, as `F.pad` has it."""

    def __init__(self, pads: tuple[int, ...]) -> None:
        super().__init__()
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded `x`."""
        return F.pad(x, self.pads)


class Repeat(KerasModule):
    """Repeat entries along axes: nearest-neighbour upsampling by whole factors."""

    def __init__(self, factors: tuple[int, ...], first_axis: int) -> None:
        super().__init__()
        self.factors = factors
        self.first_axis = first_axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged `x`."""
        if self.first_axis == 2 and len(self.factors) == 2:
            return F.interpolate(x, scale_factor=self.factors, mode="nearest")
        for axis, factor in enumerate(self.factors, self.first_axis):
            x = x.repeat_interleave(factor, axis)
        return x


class Upsample(KerasModule):
    """Enlarge images by whole factors with `bilinear` or `bicubic` interpolation."""

    def __init__(self, factors: tuple[int, int], mode: str) -> None:
        super().__init__()
        self.factors = factors
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged images."""
        size = [x.shape[2] * self.factors[0], x.shape[3] * self.factors[1]]
        return F.interpolate(x, size, mode=self.mode, align_corners=False)


class Resize(KerasModule):
    """Resize images to `size` by `nearest`, `bilinear`, `bicubic` or `area`; with `crop`, crop first."""

    def __init__(self, size: tuple[int, int], mode: str = "bilinear", crop: bool = False) -> None:
        super().__init__()
        self.size = size
        self.mode = mode
        self.crop = crop

    def forward(self, x: Tensor) -> Tensor:
        """Return the resized images, as floating point."""
        if not x.is_floating_point():
            x = x.float()
        if self.crop:
            height = max(min(x.shape[2], int(x.shape[3] * self.size[0] / self.size[1])), 1)
            width = max(min(x.shape[3], int(x.shape[2] * self.size[1] / self.size[0])), 1)
            top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
            x = x[:, :, top : top + height, left : left + width]
        if tuple(x.shape[2:]) == self.size:
            return x
        if self.mode == "nearest":
            return F.interpolate(x, self.size, mode="nearest-exact")
        if self.mode == "bicubic":
            return cubic_matrix(x, 2, self.size[0]) @ x @ cubic_matrix(x, 3, self.size[1]).T
        if self.mode == "area":
            return F.interpolate(x, self.size, mode="area")
        return F.interpolate(x, self.size, mode=self.mode, align_corners=False)


class CenterCrop(KerasModule):
    """Crop the middle of images; smaller ones are cropped to the aspect ratio and resized."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return the cropped images."""
        height, width = self.size
        spare = (x.shape[2] - height, x.shape[3] - width)
        if min(spare) >= 0:
            top, left = spare[0] // 2, spare[1] // 2
            return x[:, :, top : top + height, left : left + width]
        resized: Tensor = Resize(self.size, crop=True)(x)
        return resized


def cubic_matrix(x: Tensor, axis: int, size: int) -> Tensor:
    """Return the matrix (size, old size) that resizes an axis of `x` by Keys's cubic (a = -0.5), as TensorFlow does.

    Weights of positions outside are left out, the others add up to 1.
    """
    old = x.shape[axis]
    centers = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5) * (old / size) - 0.5
    d = (centers[:, None] - torch.arange(old, device=x.device, dtype=x.dtype)).abs()
    near, far = ((1.5 * d - 2.5) * d) * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    weights = torch.where(d < 1, near, torch.where(d < 2, far, 0.0))
    return weights / weights.sum(1, keepdim=True)
