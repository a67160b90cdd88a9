"""Normalisation layers; `axis` is that of the features in the tensors of the converted network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule


class BatchNorm(KerasModule, nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of inputs of any rank; `axis` is that of the features."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True, axis: int = 1
    ) -> None:
        super().__init__(num_features, eps, momentum, affine)
        self.axis = axis

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any rank."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`."""
        if self.axis == 1 or x.ndim == 2:
            return super().forward(x)
        return super().forward(x.movedim(self.axis, 1)).movedim(1, self.axis)


class LayerNorm(KerasModule):
    """Normalise over `axes`; weights have the shape `shape`.

    With `rms` the mean stays: x is divided by the root of its mean square or, with `rms="variance"`, by its deviation.
    """

    def __init__(
        self,
        axes: tuple[int, ...],
        shape: tuple[int, ...],
        eps: float,
        scale: bool = True,
        center: bool = True,
        rms: str | None = None,
    ) -> None:
        super().__init__()
        self.axes = axes
        self.shape = shape
        self.eps = eps
        self.scale = scale
        self.center = center
        self.rms = rms
        self.weight = nn.Parameter(torch.empty(shape)) if scale else None
        self.bias = nn.Parameter(torch.empty(shape)) if center else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`."""
        if self.axes == (-1,) and self.shape and not self.rms:
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        if self.axes == (1,) and self.shape and not self.rms:  # images with channels first
            return F.layer_norm(x.movedim(1, -1), self.shape, self.weight, self.bias, self.eps).movedim(-1, 1)
        # Keras's rms_scaling divides by the deviation, but does not subtract the mean.
        centred = x if self.rms == "mean square" else x - x.mean(self.axes, keepdim=True)
        y = x if self.rms else centred
        y = y * torch.rsqrt((centred * centred).mean(self.axes, keepdim=True) + self.eps)
        if self.weight is not None:
            y = y * spread(self.weight, x.ndim, self.axes)
        return y if self.bias is None else y + spread(self.bias, x.ndim, self.axes)


def spread(weight: Tensor, rank: int, axes: tuple[int, ...]) -> Tensor:
    """Return a weight whose axes are the axes `axes` of a tensor of the given rank, for broadcasting."""
    shape = [1] * rank
    for axis, size in zip(axes, weight.shape, strict=True):
        shape[axis] = size
    return weight.reshape(shape)


class GroupNorm(KerasModule):
    """Normalise each group of channels; `axis` is that of the channels. Their number is needed for weights only."""

    def __init__(
        self,
        num_groups: int,
        num_channels: int | None,
        eps: float,
        scale: bool = True,
        center: bool = True,
        axis: int = 1,
    ) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.scale = scale
        self.center = center
        self.axis = axis
        self.weight = nn.Parameter(torch.empty(num_channels or 0)) if scale else None
        self.bias = nn.Parameter(torch.empty(num_channels or 0)) if center else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`."""
        y = F.group_norm(x.movedim(self.axis, 1), self.num_groups, self.weight, self.bias, self.eps)
        return y.movedim(1, self.axis)


class UnitNorm(KerasModule):
    """Divide by the Euclidean norm over `axes`."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`."""
        return x * torch.rsqrt((x * x).sum(self.axes, keepdim=True).clamp(min=1e-12))


class Scale(KerasModule):
    """Return x * `scale` + `offset` with fixed numbers, or with vectors along `axis`."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("scale", torch.empty(shape))
        self.register_buffer("offset", torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled `x`, as floating point."""
        if not x.is_floating_point():
            x = x.to(self.get_buffer("scale").dtype)
        return x * self.get_buffer("scale") + self.get_buffer("offset")


class Standardize(KerasModule):
    """Keras's Normalization: (x - mean) / max(sqrt(variance), 1e-7), or back with `invert`."""

    def __init__(self, shape: tuple[int, ...], invert: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.invert = invert
        self.register_buffer("mean", torch.empty(shape))
        self.register_buffer("variance", torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised `x`."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("variance").sqrt()
        if not x.is_floating_point():
            x = x.to(mean.dtype)
        if self.invert:
            return mean + x * deviation.clamp(min=1e-7)
        return (x - mean) / deviation.clamp(min=1e-7)


class LayerScale(KerasModule):
    """Multiply by a learned vector along `axis` (ConvNeXt)."""

    def __init__(self, num_features: int, axis: int = -1) -> None:
        super().__init__()
        self.num_features = num_features
        self.axis = axis
        self.weight = nn.Parameter(torch.empty(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled `x`."""
        return x * spread(self.weight, x.ndim, (self.axis,))
