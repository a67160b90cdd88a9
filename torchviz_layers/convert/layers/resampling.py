"""Layers that change the size of sequences, images and volumes: padding, cropping, resizing."""

from __future__ import annotations

from collections.abc import Callable

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
    """Enlarge images by whole factors with an interpolation of `resized`."""

    def __init__(self, factors: tuple[int, int], mode: str) -> None:
        super().__init__()
        self.factors = factors
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged images."""
        return resized(x, (x.shape[2] * self.factors[0], x.shape[3] * self.factors[1]), self.mode)


class Resize(KerasModule):
    """Resize images to `size` by an interpolation of `resized`, in their own aspect ratio or not.

    With `crop` they are first cropped to the ratio of `size`; with `fill`, padded to it with that value.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mode: str = "bilinear",
        crop: bool = False,
        antialias: bool = False,
        fill: float | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.mode = mode
        self.crop = crop
        self.antialias = antialias
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        """Return the resized images, as floating point."""
        if not x.is_floating_point():
            x = x.float()
        height, width = x.shape[2], x.shape[3]
        # The height that fits the width in the ratio of `size`, and the width that fits the height.
        fitting = (int(width * self.size[0] / self.size[1]), int(height * self.size[1] / self.size[0]))
        if self.crop:
            inner = max(min(height, fitting[0]), 1), max(min(width, fitting[1]), 1)
            top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
            x = x[:, :, top : top + inner[0], left : left + inner[1]]
        if self.fill is not None:
            above, left = max(fitting[0] - height, 0) // 2, max(fitting[1] - width, 0) // 2
            x = F.pad(x, (left, left, above, above), value=self.fill)
        return resized(x, self.size, self.mode, self.antialias)


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
        result: Tensor = Resize(self.size, crop=True)(x)
        return result


def resized(x: Tensor, size: tuple[int, int], mode: str, antialias: bool = False) -> Tensor:
    """Return images resized as TensorFlow does it: half-pixel centres, no weight for positions outside the image.

    `mode` is nearest, bilinear, area or a kernel of `KERNELS`; `antialias` widens the kernel where images shrink.
    """
    if tuple(x.shape[2:]) == size:
        return x
    if mode == "nearest":
        return F.interpolate(x, size, mode="nearest-exact")
    if mode == "bilinear" and not antialias:
        return F.interpolate(x, size, mode=mode, align_corners=False)
    # Every interpolation is separable: a matrix for the rows, one for the columns.
    rows = resize_weights(x, 2, size[0], mode, antialias)  # (new height, height)
    columns = resize_weights(x, 3, size[1], mode, antialias)  # (new width, width)
    return rows @ x @ columns.T


def resize_weights(x: Tensor, axis: int, size: int, mode: str, antialias: bool) -> Tensor:
    """Return the matrix (size, old size) that resizes an axis of `x`."""
    old = x.shape[axis]
    ratio = old / size
    positions = torch.arange(old, device=x.device, dtype=x.dtype)  # (old,)
    steps = torch.arange(size, device=x.device, dtype=x.dtype)[:, None]  # (size, 1)
    if mode == "area":  # the share of each old pixel in the new one
        shares = torch.minimum(positions + 1, (steps + 1) * ratio) - torch.maximum(positions, steps * ratio)
        return shares.clamp(min=0) / ratio
    # The centre of each new pixel, in the coordinates of the old ones.
    centers = (steps + 0.5) * ratio - 0.5
    if mode == "bicubic" and not antialias:  # TensorFlow reads these weights from a table of 1024 steps a pixel
        centers = centers.floor() + ((centers - centers.floor()) * 1024).round() / 1024
    radius, kernel = KERNELS[mode]
    width = max(ratio, 1.0) if antialias else 1.0
    distances = (centers - positions).abs() / width
    weights = torch.where(distances < radius, kernel(distances), 0.0)
    # Near the border part of the kernel is outside the image: the rest counts for it.
    return weights / weights.sum(1, keepdim=True)


def triangle(d: Tensor) -> Tensor:
    """Return 1 - d."""
    return 1 - d


def keys_cubic(d: Tensor) -> Tensor:
    """Return Keys's cubic kernel, a = -0.5."""
    return torch.where(d < 1, ((1.5 * d - 2.5) * d) * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2)


def mitchell_cubic(d: Tensor) -> Tensor:
    """Return Mitchell and Netravali's cubic kernel, b = c = 1/3."""
    near, far = (7 / 6 * d - 2) * d * d + 8 / 9, ((-7 / 18 * d + 2) * d - 10 / 3) * d + 16 / 9
    return torch.where(d < 1, near, far)


def gaussian(d: Tensor) -> Tensor:
    """Return a Gaussian of deviation 0.5, not normalised."""
    return torch.exp(-2 * d * d)


def lanczos3(d: Tensor) -> Tensor:
    """Return Lanczos's kernel of radius 3."""
    return torch.sinc(d) * torch.sinc(d / 3)


def lanczos5(d: Tensor) -> Tensor:
    """Return Lanczos's kernel of radius 5."""
    return torch.sinc(d) * torch.sinc(d / 5)


KERNELS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bilinear": (1, triangle),
    "bicubic": (2, keys_cubic),
    "gaussian": (1.5, gaussian),
    "lanczos3": (3, lanczos3),
    "lanczos5": (5, lanczos5),
    "mitchellcubic": (2, mitchell_cubic),
}
