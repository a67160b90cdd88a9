"""Fully connected layers, embeddings and changes of shape."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.activations import activate
from torchviz_layers.convert.layers.base import KerasModule


class Input(KerasModule):
    """An input of the network; it passes unchanged. `shape` is Keras's, without the batch."""

    def __init__(self, shape: tuple[int | None, ...] | None = None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x


class Linear(KerasModule, nn.Linear):
    """`nn.Linear` with its activation. `axis` is that of the features: 1 for images with channels first."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str | nn.Module | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.activation = activation
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated affine map of `x`."""
        if self.axis == -1:
            return activate(self.activation, F.linear(x, self.weight, self.bias))
        y = F.linear(x.movedim(self.axis, -1), self.weight, self.bias)
        return activate(self.activation, y).movedim(-1, self.axis)


class EinsumLinear(KerasModule):
    """`torch.einsum` of the input and a kernel, with bias and activation."""

    def __init__(
        self,
        equation: str,
        kernel_shape: tuple[int, ...],
        bias_shape: tuple[int, ...] | None = None,
        activation: str | nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.equation = equation
        self.kernel_shape = kernel_shape
        self.bias_shape = bias_shape
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(kernel_shape))
        self.bias = nn.Parameter(torch.empty(bias_shape)) if bias_shape is not None else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated product."""
        y = torch.einsum(self.equation, x, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return activate(self.activation, y)


class Embedding(KerasModule, nn.Embedding):
    """`nn.Embedding` that takes indices of any number type, as Keras does."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__(num_embeddings, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Look the rows up: (...) -> (..., embedding_dim)."""
        return F.embedding(x.long(), self.weight)


class Unembedding(KerasModule):
    """The other way through an embedding: (..., embedding_dim) -> logits (..., num_embeddings), capped softly."""

    def __init__(self, num_embeddings: int, embedding_dim: int, tied: bool, soft_cap: float | None = None) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.tied = tied
        self.soft_cap = soft_cap
        shape = (num_embeddings, embedding_dim)
        self.weight = nn.Parameter(torch.empty(shape)) if tied else None  # the embedding's own
        self.reverse_weight = None if tied else nn.Parameter(torch.empty(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        weight = self.weight if self.reverse_weight is None else self.reverse_weight
        assert weight is not None
        logits = F.linear(x, weight)
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)


class Flatten(KerasModule):
    """Flatten all but the batch, in Keras's order of features; `channels_at` is the axis of the channels in `x`."""

    def __init__(self, channels_at: int = -1) -> None:
        super().__init__()
        self.channels_at = channels_at

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, features)."""
        if x.ndim == 1:
            return x.unsqueeze(1)
        if self.channels_at != -1:
            x = x.movedim(self.channels_at, -1)
        return x.flatten(1)


class Reshape(KerasModule):
    """Give each sample another shape; one entry may be -1."""

    def __init__(self, target_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.target_shape = target_shape

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, *target_shape)."""
        return x.reshape(x.shape[0], *self.target_shape)


class Permute(KerasModule):
    """Reorder the axes of each sample; `dims` counts them from 1, as Keras does."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Return the permuted `x`."""
        return x.permute(0, *self.dims)


class RepeatVector(KerasModule):
    """Repeat each vector: (n, features) -> (n, `n`, features)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        """Return the repeated `x`."""
        return x.unsqueeze(1).expand(-1, self.n, -1)


class Identity(KerasModule):
    """Pass the input unchanged: `kind` is a Keras layer that does nothing outside training."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        return x


class Dropout(KerasModule, nn.Dropout):
    """Dropout that is the same along the axes where `noise_axes` is 1; None: every entry on its own."""

    def __init__(self, p: float = 0.5, noise_axes: tuple[int, ...] | None = None) -> None:
        super().__init__(p)
        self.noise_axes = noise_axes

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, thinned out in training."""
        if self.noise_axes is None or not self.training:
            return F.dropout(x, self.p, self.training)
        shape = [1 if axis in self.noise_axes else size for axis, size in enumerate(x.shape)]
        return x * F.dropout(torch.ones(shape, dtype=x.dtype, device=x.device), self.p)


class GaussianNoise(KerasModule):
    """Add noise of the given standard deviation in training; with `multiply`, multiply by 1 + noise."""

    def __init__(self, stddev: float, multiply: bool = False) -> None:
        super().__init__()
        self.stddev = stddev
        self.multiply = multiply

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, noisy in training."""
        if not self.training:
            return x
        noise = torch.randn_like(x) * self.stddev
        return x * (1 + noise) if self.multiply else x + noise


class Masking(KerasModule):
    """Set steps to 0 in which every feature is `value`."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with masked steps set to 0."""
        return x * (x != self.value).any(-1, keepdim=True).to(x.dtype)


def differs(x: Tensor, value: float) -> Tensor:
    """Return where any feature of a step differs from `value`."""
    return torch.any(torch.ne(x, value), -1)
