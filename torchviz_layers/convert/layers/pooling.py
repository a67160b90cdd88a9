"""Pooling with Keras's padding. Images have channels first; sequences have channels last with `channels_last`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.convolution import same_padding

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_ADAPTIVE_MAX: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}
_ADAPTIVE_AVERAGE: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class _Pool(KerasModule):
    """What maximum and average pooling share: the window, and the axis of the channels."""

    def __init__(
        self, kernel_size: tuple[int, ...], stride: tuple[int, ...], same: bool = False, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.same = same
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled `x`."""
        if self.channels_last:
            return self.pool(x.movedim(-1, 1)).movedim(1, -1)
        return self.pool(x)

    def pool(self, x: Tensor) -> Tensor:
        """Pool `x` of shape (n, channels, *sizes)."""
        raise NotImplementedError

    def pads(self, x: Tensor) -> list[int]:
        """Return the padding of `x`, last axis first; all zeros for "valid"."""
        if not self.same:
            return [0] * (2 * len(self.kernel_size))
        return same_padding(x.shape[2:], self.kernel_size, self.stride, (1,) * len(self.kernel_size))


class MaxPool(_Pool):
    """The maximum of each window; padding never wins."""

    def pool(self, x: Tensor) -> Tensor:
        """Pool `x` of shape (n, channels, *sizes)."""
        pads = self.pads(x)
        if any(pads):
            x = F.pad(x, pads, value=float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min)
        return _MAX[len(self.kernel_size)](x, self.kernel_size, self.stride)


class AvgPool(_Pool):
    """The mean of each window; padding does not count."""

    def pool(self, x: Tensor) -> Tensor:
        """Pool `x` of shape (n, channels, *sizes)."""
        average = _AVERAGE[len(self.kernel_size)]
        pads = self.pads(x)
        if not any(pads):
            return average(x, self.kernel_size, self.stride)
        # The share of each window that is inside the data: (1, 1, *sizes).
        inside = F.pad(torch.ones_like(x[:1, :1]), pads)
        share = average(inside, self.kernel_size, self.stride)
        return average(F.pad(x, pads), self.kernel_size, self.stride) / share


class GlobalPool(KerasModule):
    """The mean or, with `maximum`, the maximum over `axes`; steps where `mask` is False do not count in the mean."""

    def __init__(self, axes: tuple[int, ...], maximum: bool = False, keepdims: bool = False) -> None:
        super().__init__()
        self.axes = axes
        self.maximum = maximum
        self.keepdims = keepdims

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the pooled `x`."""
        if self.maximum:
            return x.amax(self.axes, self.keepdims)
        if mask is None:
            return x.mean(self.axes, self.keepdims)
        weight = mask.to(x.dtype).unsqueeze(-1 if self.axes == (1,) else 1)
        return (x * weight).sum(self.axes, self.keepdims) / weight.sum(self.axes, self.keepdims)


class AdaptivePool(KerasModule):
    """The mean or maximum over windows that give an output of `size`."""

    def __init__(self, size: tuple[int, ...], maximum: bool = False, channels_last: bool = False) -> None:
        super().__init__()
        self.size = size
        self.maximum = maximum
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled `x`."""
        pool = (_ADAPTIVE_MAX if self.maximum else _ADAPTIVE_AVERAGE)[len(self.size)]
        if self.channels_last:
            return pool(x.movedim(-1, 1), self.size).movedim(1, -1)
        return pool(x, self.size)
