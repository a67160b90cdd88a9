"""Convolutions with Keras's padding and their activation.

Images have channels first; sequences (1D) keep Keras's axes, (n, steps, channels), where `channels_last` is set.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.activations import activate
from torchviz_layers.convert.layers.base import KerasModule


def same_padding(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> list[int]:
    """Return the padding that TensorFlow calls "same", last axis first, as `F.pad` wants it.

    The output has ceil(size / stride) entries; where the padding is odd, the larger half comes after the data.
    """
    pads: list[int] = []
    for size, k, s, d in reversed(list(zip(sizes, kernel, stride, dilation, strict=True))):
        steps = -(-size // s)  # rounded up
        # The last window starts at (steps - 1) * s and is (k - 1) * d + 1 long.
        total = max(0, (steps - 1) * s + (k - 1) * d + 1 - size)
        pads += [total // 2, total - total // 2]
    return pads


class _Convolution(KerasModule):
    """The forward pass that convolutions of all ranks share; comes before `nn.ConvNd` among the bases."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...] | int = 1,
        padding: tuple[int, ...] | str | int = 0,
        dilation: tuple[int, ...] | int = 1,
        groups: int = 1,
        bias: bool = True,
        activation: str | nn.Module | None = None,
        keras_same: bool = False,
        causal: bool = False,
        channels_last: bool = False,
    ) -> None:
        options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "bias": bias,
        }
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.activation = activation
        self.keras_same = keras_same  # "same" where it depends on the size of the input, or is uneven
        self.causal = causal
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated convolution of `x`."""
        if self.channels_last:
            x = x.movedim(-1, 1)
        if self.keras_same:
            x = F.pad(x, same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation))
        elif self.causal:
            x = F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0))
        y = activate(self.activation, super().forward(x), axis=1)
        return y.movedim(1, -1) if self.channels_last else y


class Conv1d(_Convolution, nn.Conv1d):
    """`nn.Conv1d` with Keras's padding and an activation."""


class Conv2d(_Convolution, nn.Conv2d):
    """`nn.Conv2d` with Keras's padding and an activation."""


class Conv3d(_Convolution, nn.Conv3d):
    """`nn.Conv3d` with Keras's padding and an activation."""
