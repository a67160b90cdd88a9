"""Lists of a loader's batches, told from lists of single samples by their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchviz_layers.data.feeding import channel_axis


def are_batches(items: Sequence[Any]) -> bool:
    """Whether items are the batches of a loader, (inputs, targets[, ids]), rather than single samples."""
    return all(isinstance(item, list | tuple) and _is_batch(*item) for item in items if item is not None)


def _is_batch(*parts: Any) -> bool:
    """Whether the first part is a batch of inputs, and each other part has one value for each of them."""
    if len(parts) not in (2, 3):
        return False
    inputs, targets, *ids = parts
    if not isinstance(inputs, Tensor) or inputs.dim() < 2:
        return False
    n = len(inputs)
    if isinstance(targets, Tensor) and targets.dim() == 1:
        return len(targets) == n and all(_is_column(part, n) for part in ids)
    # One picture may have as many channels as its target has rows, and as a target another picture.
    is_picture = inputs.dim() == 3 and channel_axis(tuple(inputs.shape)) is not None
    if is_picture or not all(_is_column(part, n) for part in ids):
        return False
    if isinstance(targets, Tensor):
        return targets.dim() == 2 and len(targets) == n and targets.shape != inputs.shape
    return _is_column(targets, n) and all(isinstance(value, str) for value in targets)


def _is_column(values: Any, n: int) -> bool:
    """Whether these are `n` values."""
    if isinstance(values, Tensor):
        return values.dim() == 1 and len(values) == n
    return isinstance(values, list | tuple) and len(values) == n
