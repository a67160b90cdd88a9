"""Encodings of categories and numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule


class CategoryEncoding(KerasModule):
    """Indices -> `one_hot` (..., tokens), `multi_hot` or `count` (n, tokens)."""

    def __init__(self, num_tokens: int, mode: str) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Return the encoded indices."""
        if self.mode == "one_hot" and x.ndim > 1 and x.shape[-1] == 1:
            x = x.squeeze(-1)
        hot = F.one_hot(x.long(), self.num_tokens).float()
        if self.mode == "one_hot" or x.ndim == 1:
            return hot
        return hot.amax(-2) if self.mode == "multi_hot" else hot.sum(-2)


class Discretize(KerasModule):
    """The index of the bin in which each number lies."""

    def __init__(self, num_boundaries: int) -> None:
        super().__init__()
        self.num_boundaries = num_boundaries
        self.register_buffer("boundaries", torch.empty(num_boundaries))

    def forward(self, x: Tensor) -> Tensor:
        """Return int64 indices."""
        return torch.bucketize(x.float().contiguous(), self.get_buffer("boundaries"), right=True)
