"""Pooling inside the hook: a few numbers a sample instead of all that a layer outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor

from torchviz_layers.exceptions import CaptureError

OnePool: TypeAlias = str | Callable[[Tensor], Tensor]
Pool: TypeAlias = OnePool | Mapping[str, OnePool]


def _flatten(rows: Tensor, _: Tensor | None) -> Tensor:
    return rows.flatten(1)


def _gap(rows: Tensor, _: Tensor | None) -> Tensor:
    return _mean(rows, tuple(range(2, rows.dim()))) if rows.dim() > 2 else rows


def _mean(rows: Tensor, axes: tuple[int, ...]) -> Tensor:
    numbers = rows if rows.is_floating_point() or rows.is_complex() else rows.float()
    return numbers.mean(axes)


def _fits(mask: Tensor | None, rows: Tensor) -> TypeGuard[Tensor]:
    """Whether there is a mask, of the shape (n, tokens) of the rows (n, tokens, ...)."""
    return mask is not None and mask.shape == rows.shape[:2]


def _token_mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if not _fits(mask, rows):
        return _mean(rows, tuple(range(1, rows.dim() - 1)))
    counts = mask.to(rows.device).bool()
    counts = counts.reshape(*counts.shape, *[1] * (rows.dim() - 2))  # (n, tokens, 1, ...)
    # 16 bits are too few for the sum over some hundred tokens.
    sum_type = torch.promote_types(rows.dtype, torch.float32)
    sums = rows.masked_fill(~counts, 0).sum(1, dtype=sum_type)  # (n, ...)
    mean = sums / counts.sum(1).clamp(min=1)
    if rows.is_floating_point():
        mean = mean.to(rows.dtype)
    # Axes between the tokens and the features have no mask: (n, ..., features) -> (n, features).
    return mean if mean.dim() == 2 else _mean(mean, tuple(range(1, mean.dim() - 1)))


def _cls(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if not _fits(mask, rows):
        return rows[:, 0]
    return rows[torch.arange(len(rows), device=rows.device), first_tokens(mask.to(rows.device))]


def first_tokens(mask: Tensor) -> Tensor:
    """Return the position of the first token of each sample, (n,), which is not 0 where padding is on the left."""
    # argmax returns the first of equal values: the first true one, or 0 where no token counts.
    return mask.bool().int().argmax(1)


def _last_token(rows: Tensor, mask: Tensor | None) -> Tensor:
    if rows.dim() < 3:
        return rows
    if not _fits(mask, rows):
        return rows[:, -1]
    # The largest position that counts, whichever side the padding is on.
    positions = torch.arange(mask.shape[1], device=rows.device)
    last = (mask.to(rows.device).bool() * positions).argmax(1)  # (n,)
    return rows[torch.arange(len(rows), device=rows.device), last]


_POOLS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "flatten": _flatten,
    "gap": _gap,
    "token_mean": _token_mean,
    "cls": _cls,
    "last_token": _last_token,
}

TOKEN_POOLS = ("token_mean", "cls", "last_token")  # those that leave padding out


def check_pool(pool: Pool) -> None:
    """Raise `CaptureError` for a pool that does not exist."""
    for one in pool.values() if isinstance(pool, Mapping) else (pool,):
        if not callable(one) and one != "none" and one not in _POOLS:
            raise CaptureError(f"pool={one!r} is none of none, {', '.join(_POOLS)} or a function of a batch of rows")


def apply_pool(pool: OnePool, rows: Tensor, mask: Tensor | None = None) -> Tensor:
    """Pool rows (n, ...); `mask` (n, tokens) is true where a token counts.

    A sample of which no token counts has no value: its row is NaN.
    """
    if callable(pool):
        return pool(rows)
    if pool == "none":
        return rows
    pooled = _POOLS[pool](rows, mask)
    # The pools return some number for a sample without tokens. Integers have no NaN.
    by_tokens = pool in TOKEN_POOLS and rows.dim() > 2 and _fits(mask, rows)
    if not by_tokens or not pooled.is_floating_point():
        return pooled
    assert mask is not None
    is_empty = ~mask.to(rows.device).bool().any(1)
    return pooled.masked_fill(is_empty.reshape(-1, *[1] * (pooled.dim() - 1)), torch.nan)
