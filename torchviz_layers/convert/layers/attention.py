"""Attention. Keras's masks are True where attention is allowed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.merging import Masks


def causal(scores: Tensor) -> Tensor:
    """Return the mask that allows position t to attend to positions up to t."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()


class Attention(KerasModule):
    """Keras's Attention (Luong) and, with `additive`, AdditiveAttention (Bahdanau), on query, value and key."""

    def __init__(
        self,
        scale_shape: tuple[int, ...] | None = None,
        concat: bool = False,
        additive: bool = False,
        causal: bool = False,
        scores_too: bool = False,
    ) -> None:
        super().__init__()
        self.scale_shape = scale_shape
        self.concat = concat
        self.additive = additive
        self.causal = causal
        self.scores_too = scores_too
        self.scale = None if scale_shape is None else nn.Parameter(torch.ones(scale_shape))
        self.concat_weight = nn.Parameter(torch.ones(())) if concat else None

    def forward(
        self, query: Tensor, value: Tensor, key: Tensor | None = None, masks: Masks = ()
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return (n, query steps, features), and the weights with `scores_too`."""
        scores = self.scores(query, value if key is None else key)  # (n, query steps, key steps)
        allowed = None
        if len(masks) > 1 and masks[1] is not None:
            allowed = masks[1].bool().unsqueeze(-2)
        if self.causal:
            allowed = causal(scores) if allowed is None else allowed & causal(scores)
        # Keras subtracts a large number where others set -inf: a row without allowed steps stays finite.
        if allowed is not None:
            scores = torch.where(allowed, scores, scores - 1e9)
        weights = scores.softmax(-1)
        output = weights @ value
        if masks and masks[0] is not None:
            output = output * masks[0].unsqueeze(-1).to(output.dtype)
        return (output, weights) if self.scores_too else output

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return how well each query fits each key: (n, query steps, key steps)."""
        scale = 1.0 if self.scale is None else self.scale
        if self.additive:
            return (scale * torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))).sum(-1)
        if self.concat_weight is not None:
            return self.concat_weight * torch.tanh(scale * (query.unsqueeze(-2) + key.unsqueeze(-3))).sum(-1)
        return query @ key.transpose(-2, -1) * scale


class Projection(KerasModule):
    """A dense map of the last axes: weight (*in, *out)."""

    def __init__(self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], bias: bool = True) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape
        self.weight = nn.Parameter(torch.empty(*in_shape, *out_shape))
        self.bias = nn.Parameter(torch.empty(out_shape)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return x mapped from (..., *in) to (..., *out)."""
        y: Tensor = torch.tensordot(x, self.weight, dims=len(self.in_shape))
        return y if self.bias is None else y + self.bias


class MultiHeadAttention(KerasModule):
    """Keras's MultiHeadAttention, and GroupQueryAttention, where `repeats` query heads share a key and value head.

    Attention runs over `attention_axes` (all between batch and features by default). `arguments` names the tensors of a
    call in their order: query, value, key, attention_mask.
    """

    def __init__(
        self,
        query: Projection,
        key: Projection,
        value: Projection,
        output: Projection,
        arguments: tuple[str, ...] = ("query", "value"),
        attention_axes: tuple[int, ...] | None = None,
        repeats: int = 1,
        causal: bool = False,
        scores_too: bool = False,
        gate: Projection | None = None,
        sliding_window: int | None = None,
    ) -> None:
        super().__init__()
        self.query = query
        self.key = key
        self.value = value
        self.output = output
        self.arguments = arguments
        self.attention_axes = attention_axes
        self.repeats = repeats
        self.causal = causal
        self.scores_too = scores_too
        self.gate = gate
        self.sliding_window = sliding_window

    def forward(self, *inputs: Tensor, masks: Masks = ()) -> Tensor | tuple[Tensor, Tensor]:
        """Return (n, ..., features) as the query, and the weights (n, heads, ...) with `scores_too`."""
        given = dict(zip(self.arguments, inputs, strict=True))
        query, value = given["query"], given["value"]
        key = given.get("key", value)
        axes = self.attention_axes or tuple(range(1, query.ndim - 1))
        sizes = [query.shape[axis] for axis in axes]
        # (n, *rest, heads, positions, size), where positions are those of all attention axes in one
        q = heads(self.query(query), axes)
        k = heads(self._repeated(self.key(key)), axes)
        v = heads(self._repeated(self.value(value)), axes)
        # (n, *rest, heads, query positions, key positions)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        allowed = self._allowed(scores, given, dict(zip(self.arguments, masks, strict=False)))
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        mixed = from_heads(weights @ v, axes, sizes)
        if self.gate is not None:
            mixed = mixed * self.gate(query).sigmoid()
        output = self.output(mixed)
        return (output, weights) if self.scores_too else output

    def _repeated(self, x: Tensor) -> Tensor:
        return x if self.repeats == 1 else x.repeat_interleave(self.repeats, -2)

    def _allowed(self, scores: Tensor, given: dict[str, Tensor], masks: dict[str, Tensor | None]) -> Tensor | None:
        """Return where attention is allowed, or None for everywhere; broadcasts to the scores."""
        found: list[Tensor] = []
        mask = given.get("attention_mask")
        if mask is not None:
            # (n, ..., *query axes, *key axes): all query axes become one, and all key axes
            mask = mask.bool().reshape(*mask.shape[: mask.ndim - 2 * self._spans()], *scores.shape[-2:])
            found.append(mask if mask.ndim == scores.ndim else mask.unsqueeze(-3))
        mask = masks.get("query")
        if mask is not None:
            found.append(mask.bool()[:, None, :, None])  # (n, 1, query steps, 1)
        for name in ("value", "key"):
            mask = masks.get(name)
            if mask is not None:
                found.append(mask.bool()[:, None, None, :])  # (n, 1, 1, key steps)
        if self.causal:
            found.append(causal(scores))
        if self.sliding_window is not None:
            columns = torch.arange(scores.shape[-1], device=scores.device)
            rows = torch.arange(scores.shape[-2], device=scores.device)
            found.append((rows[:, None] - columns).abs() < self.sliding_window)
        if not found:
            return None
        allowed = found[0]
        for other in found[1:]:
            allowed = allowed & other
        return allowed

    def _spans(self) -> int:
        return len(self.attention_axes) if self.attention_axes else 1


def heads(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return (n, ..., heads, size) as (n, *other axes, heads, positions, size), positions from the axes in `axes`."""
    others = [axis for axis in range(1, x.ndim - 2) if axis not in axes]
    x = x.permute(0, *others, x.ndim - 2, *axes, x.ndim - 1)
    start = 2 + len(others)
    return x.flatten(start, start + len(axes) - 1)


def from_heads(x: Tensor, axes: tuple[int, ...], sizes: list[int]) -> Tensor:
    """Undo `heads`: (n, *other axes, heads, positions, size) -> (n, ..., heads, size)."""
    x = x.reshape(*x.shape[:-2], *sizes, x.shape[-1])  # (n, *other axes, heads, *sizes, size)
    n_others = x.ndim - 3 - len(axes)
    # The axis of `x` for each axis of the result: those in `axes` come from `sizes`, the others in their order.
    order = [0]
    next_other = 1
    for axis in range(1, 1 + n_others + len(axes)):
        if axis in axes:
            order.append(2 + n_others + axes.index(axis))
        else:
            order.append(next_other)
            next_other += 1
    return x.permute(*order, 1 + n_others, x.ndim - 1)
