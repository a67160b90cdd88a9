"""Transposed and separable convolutions with Keras's padding and their activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.activations import activate
from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.convolution import same_padding

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class ConvTranspose(KerasModule):
    """A transposed convolution of 1, 2 or 3 dimensions whose output has the size of Keras's.

    Without `output_padding` that is size * stride for "same" and size * stride + max(kernel - stride, 0) for "valid"
    (kernel dilated); the full output is cropped at both ends to it, the larger half at the end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        same: bool = False,
        dilation: tuple[int, ...] | int = 1,
        output_padding: tuple[int, ...] | None = None,
        bias: bool = True,
        activation: str | nn.Module | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.same = same
        self.dilation = (dilation,) * len(kernel_size) if isinstance(dilation, int) else dilation
        self.output_padding = output_padding
        self.activation = activation
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, *kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated transposed convolution of `x`."""
        if self.channels_last:
            x = x.movedim(-1, 1)
        full = _TRANSPOSED[len(self.kernel_size)](x, self.weight, None, self.stride, 0, 0, 1, self.dilation)
        y = F.pad(full, self.crops(x))
        if self.bias is not None:
            y = y + self.bias.view(-1, *(1,) * len(self.kernel_size))
        y = activate(self.activation, y, 1)
        return y.movedim(1, -1) if self.channels_last else y

    def crops(self, x: Tensor) -> list[int]:
        """Return what to add (or, negative, to cut) at both ends of the full output, last axis first."""
        pads: list[int] = []
        for axis in reversed(range(len(self.kernel_size))):
            size, k, s = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            window = (k - 1) * self.dilation[axis] + 1
            full = (size - 1) * s + window  # what torch computes without padding
            if self.output_padding is not None:
                wanted = full + self.output_padding[axis]
                if self.same:
                    wanted -= 2 * (k // 2)
            elif self.same:
                wanted = size * s
            else:
                wanted = size * s + max(window - s, 0)
            before = max(full - wanted, 0) // 2 if self.same else 0
            pads += [-before, wanted - full + before]
        return pads


class SeparableConv(KerasModule):
    """A depthwise convolution, then a pointwise one, of 1 or 2 dimensions."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        same: bool = False,
        dilation: tuple[int, ...] | int = 1,
        multiplier: int = 1,
        bias: bool = True,
        activation: str | nn.Module | None = None,
        causal: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.same = same
        self.dilation = (dilation,) * len(kernel_size) if isinstance(dilation, int) else dilation
        self.multiplier = multiplier
        self.activation = activation
        self.causal = causal
        self.channels_last = channels_last
        self.depthwise = nn.Parameter(torch.empty(in_channels * multiplier, 1, *kernel_size))
        self.pointwise = nn.Parameter(torch.empty(out_channels, in_channels * multiplier, *(1,) * len(kernel_size)))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated separable convolution of `x`."""
        if self.channels_last:
            x = x.movedim(-1, 1)
        if self.same:
            x = F.pad(x, same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation))
        elif self.causal:
            x = F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0))
        convolve = _CONVOLVE[len(self.kernel_size)]
        x = convolve(x, self.depthwise, None, self.stride, 0, self.dilation, self.in_channels)
        y = activate(self.activation, convolve(x, self.pointwise, self.bias), 1)
        return y.movedim(1, -1) if self.channels_last else y


class LocallyConnected(KerasModule):
    """A convolution with weights of its own at each of `positions`: `weight` is (positions, window, out_channels)."""

    def __init__(
        self,
        positions: int,
        window: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        bias: bool = True,
        activation: str | nn.Module | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.positions = positions
        self.window = window
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.activation = activation
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.empty(positions, window, out_channels))
        self.bias = nn.Parameter(torch.empty(positions, out_channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated result."""
        if not self.channels_last:
            x = x.movedim(1, -1)
        # (n, *sizes, channels) -> (n, *positions, channels, *kernel)
        for axis, (size, step) in enumerate(zip(self.kernel_size, self.stride, strict=True), 1):
            x = x.unfold(axis, size, step)
        # Keras's window has the kernel's axes first, then the channels.
        rank = len(self.kernel_size)
        order = (0, *range(1, rank + 1), *range(rank + 2, 2 * rank + 2), rank + 1)
        patches = x.permute(order).flatten(1 + rank)  # (n, *positions, window)
        y = torch.einsum("npw,pwo->npo", patches.flatten(1, rank), self.weight)
        if self.bias is not None:
            y = y + self.bias
        y = activate(self.activation, y)
        y = y.reshape(*patches.shape[:-1], self.out_channels)
        return y if self.channels_last else y.movedim(-1, 1)
