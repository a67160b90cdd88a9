"""What is kept of a layer's answer: all of it, or a few numbers a sample, computed inside the hook."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from torchviz_layers.exceptions import CaptureError

OnePool: TypeAlias = str | Callable[[Tensor], Tensor]
Pool: TypeAlias = OnePool | Mapping[str, OnePool]
T = TypeVar("T")


def _flatten(rows: Tensor, _: Tensor | None) -> Tensor:
    return rows.flatten(1)


def _gap(rows: Tensor, _: Tensor | None) -> Tensor:
    return _mean(rows, tuple(range(2, rows.dim()))) if rows.dim() > 2 else rows


def _mean(rows: Tensor, axes: tuple[int, ...]) -> Tensor:
    numbers = rows if rows.is_floating_point() or rows.is_complex() else rows.float()
    return numbers.mean(axes)


def _token_mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if mask is None or mask.shape != rows.shape[:2]:
        return _mean(rows, tuple(range(1, rows.dim() - 1)))
    counts = mask.to(rows.device).bool()  # (n, tokens)
    counts = counts.reshape(*counts.shape, *[1] * (rows.dim() - 2))
    exact = torch.promote_types(rows.dtype, torch.float32)  # half a thousand tokens are too many for 16 bits
    mean = rows.masked_fill(~counts, 0).sum(1, dtype=exact) / counts.sum(1).clamp(min=1)
    mean = mean.to(rows.dtype) if rows.is_floating_point() else mean
    return mean if mean.dim() == 2 else _mean(mean, tuple(range(1, mean.dim() - 1)))


def _cls(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if mask is None or mask.shape != rows.shape[:2]:
        return rows[:, 0]
    return rows[torch.arange(len(rows), device=rows.device), first_tokens(mask.to(rows.device))]


def first_tokens(mask: Tensor) -> Tensor:
    """Return the position of the first token of each sample, (n,), which is not 0 where padding is on the left."""
    return mask.bool().int().argmax(1)  # the first of equals; 0 where none counts


def _last_token(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if mask is None or mask.shape != rows.shape[:2]:
        return rows[:, -1]
    places = torch.arange(mask.shape[1], device=rows.device)
    last = (mask.to(rows.device).bool() * places).argmax(1)  # (n,): right for padding on either side
    return rows[torch.arange(len(rows), device=rows.device), last]


_POOLS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "flatten": _flatten,
    "gap": _gap,
    "token_mean": _token_mean,
    "cls": _cls,
    "last_token": _last_token,
}


def check_pool(pool: Pool) -> None:
    """Raise `CaptureError` for a pool that does not exist."""
    for one in pool.values() if isinstance(pool, Mapping) else (pool,):
        if not callable(one) and one != "none" and one not in _POOLS:
            raise CaptureError(f"pool={one!r} is none of none, {', '.join(_POOLS)} or a function of a batch of rows")


def apply_pool(pool: OnePool, rows: Tensor, mask: Tensor | None = None) -> Tensor:
    """Pool rows of shape (n, ...); `mask` of shape (n, tokens) is true where a token counts.

    A sample of which no token counts has no value: its row is NaN.
    """
    if callable(pool):
        return pool(rows)
    if pool == "none":
        return rows
    pooled = _POOLS[pool](rows, mask)
    by_tokens = pool in ("token_mean", "cls", "last_token") and rows.dim() > 2
    if not by_tokens or mask is None or mask.shape != rows.shape[:2] or not pooled.is_floating_point():
        return pooled
    is_empty = ~mask.to(rows.device).bool().any(1)
    return pooled.masked_fill(is_empty.reshape(-1, *[1] * (pooled.dim() - 1)), torch.nan)


def pool_of(pool: Pool, layer: str) -> OnePool:
    """Return the pool of a layer."""
    if not isinstance(pool, Mapping):
        return pool
    return next((one for pattern, one in pool.items() if fnmatch.fnmatchcase(layer, pattern)), "none")


def for_layer(option: T | Mapping[str, T], layer: str, default: T) -> T:
    """Return the value of a per-layer option: the first of its patterns that matches the layer's name."""
    if not isinstance(option, Mapping):
        return option
    patterns: Mapping[str, T] = option
    return next((value for pattern, value in patterns.items() if fnmatch.fnmatchcase(layer, pattern)), default)
