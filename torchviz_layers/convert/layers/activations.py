"""Keras's activation functions, by Keras's names."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule


def hard_sigmoid_keras2(x: Tensor) -> Tensor:
    """Keras 1 and 2: clip(0.2 x + 0.5, 0, 1)."""
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    """Return (x + sqrt(x² + b)) / 2."""
    return (x + (x * x + b).sqrt()) / 2


def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 below -1, (x + 1)² / 4 up to 1, x above."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, (x + 1) ** 2 / 4, x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return 0 below -1, (x + 1) / 2 up to 1, 1 above."""
    return ((x + 1) / 2).clamp(0.0, 1.0)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """Return Keras's sparsemax.

    Its threshold adds up all partial sums of the support, where Martins and Astudillo (2016) take the last one; a
    network trained with it needs the same.
    """
    z = x.movedim(axis, -1)
    ordered = z.sort(dim=-1, descending=True).values
    count = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    totals = ordered.cumsum(-1)
    # The support are the largest entries, as many as stay above the threshold.
    support = 1 + count * ordered > totals
    threshold = (torch.where(support, totals, 0.0).sum(-1, keepdim=True) - 1) / support.sum(-1, keepdim=True)
    return (z - threshold).clamp(min=0).movedim(-1, axis)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "celu": F.celu,
    "elu": F.elu,
    "exponential": torch.exp,
    "gelu": F.gelu,
    "hard_shrink": F.hardshrink,
    "hard_sigmoid": F.hardsigmoid,
    "hard_sigmoid_keras2": hard_sigmoid_keras2,
    "hard_swish": F.hardswish,
    "hard_tanh": F.hardtanh,
    "log_sigmoid": F.logsigmoid,
    "mish": F.mish,
    "relu": F.relu,
    "relu6": F.relu6,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "soft_shrink": F.softshrink,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "squareplus": squareplus,
    "tanh": torch.tanh,
    "tanh_shrink": F.tanhshrink,
}

AXIS_ACTIVATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "glu": F.glu,
    "log_softmax": F.log_softmax,
    "softmax": F.softmax,
    "sparsemax": sparsemax,
}


def activate(activation: str | nn.Module | None, x: Tensor, axis: int = -1) -> Tensor:
    """Apply an activation, along `axis` where it is one that has an axis."""
    if activation is None:
        return x
    if isinstance(activation, nn.Module):
        result: Tensor = activation(x)
        return result
    if activation in AXIS_ACTIVATIONS:
        return AXIS_ACTIVATIONS[activation](x, axis)
    return ACTIVATIONS[activation](x)


class Activation(KerasModule):
    """An activation as a layer of its own."""

    def __init__(self, activation: str | nn.Module | None, axis: int = -1) -> None:
        super().__init__()
        self.activation = activation
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated `x`."""
        return activate(self.activation, x, self.axis)


class Softmax(KerasModule):
    """Softmax over one or several axes; positions where `mask` is False get no weight."""

    def __init__(self, axes: tuple[int, ...] = (-1,)) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the probabilities."""
        if mask is not None:
            x = x.masked_fill(~mask.bool(), torch.finfo(x.dtype).min)
        if len(self.axes) == 1:
            return x.softmax(self.axes[0])
        return (x - x.logsumexp(self.axes, keepdim=True)).exp()


class LeakyReLU(KerasModule):
    """Return x above 0, `negative_slope` x below; `max_value` and `threshold` as Keras's ReLU has them."""

    def __init__(self, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.max_value = max_value
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified `x`."""
        kept = x if self.max_value is None else x.clamp(max=self.max_value)
        return torch.where(x >= self.threshold, kept, self.negative_slope * (x - self.threshold))


class PReLU(KerasModule):
    """A leaky ReLU with learned slopes, one for each position that `shape` does not share (size 1)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified `x`."""
        return x.clamp(min=0) + self.weight * x.clamp(max=0)


class Elementwise(KerasModule):
    """A parametrised activation: `function` is `elu` with `alpha`, or `threshold` (x above `alpha`, else 0)."""

    def __init__(self, function: str, alpha: float = 1.0) -> None:
        super().__init__()
        self.function = function
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated `x`."""
        if self.function == "elu":
            return F.elu(x, self.alpha)
        return torch.where(x > self.alpha, x, 0.0)
