"""Tensors of an `fx` graph under construction: their order of axes, their masks, and the nodes that change either."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from torchviz_layers.convert.registry import Built, Order, Out


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: its node, its order of axes (None: Keras's own), its rank, and the node of its mask."""

    node: Any
    order: Order | None
    rank: int | None
    mask: Any = None


def fitting(order: Order | None, rank: int | None) -> Order | None:
    """Return `order` for a tensor of the given rank, or None (Keras's own order) for one of another rank."""
    if order is None or rank not in (None, order.rank):
        return None
    return order


def permuted(graph: fx.Graph, value: Value, order: Order | None) -> Value:
    """Return a value with its axes in another order; a permuted tensor shares its memory."""
    known = order or value.order
    if value.order == order or known is None:
        return value
    axes = list(range(known.rank))
    if value.order is not None:  # from its own order to Keras's: the channels go to the end
        axes.append(axes.pop(value.order.at))
    if order is not None:  # from Keras's order to the wanted one: the channels go to their index
        axes.insert(order.at, axes.pop())
    node = graph.call_method("permute", (value.node, *axes))
    return Value(node, order, known.rank, value.mask)


def output_values(graph: fx.Graph, built: Built, node: fx.Node, mask: Any) -> list[Value]:
    """Return the outputs of a call; where there are several, the mask is that of the first."""
    if isinstance(built.outs, Out):
        return [Value(node, *built.outs, mask)]
    values = []
    for index, out in enumerate(built.outs):
        part = graph.call_function(operator.getitem, (node, index))
        values.append(Value(part, *out, mask if index == 0 else None))
    return values


def output_mask(graph: fx.Graph, built: Built, inputs: list[Value], masks: list[Any]) -> Any:
    """Return the node of the mask that the output of a call has, or None; `masks` are those of the inputs."""
    if built.make_mask is not None:
        function, options = built.make_mask
        return graph.call_function(function, (inputs[0].node, *options))
    present = [mask for mask in masks if mask is not None]
    if built.mask == "drop" or not present:
        return None
    if built.mask == "pass":
        return masks[0]
    if built.join_masks is not None:
        function, options = built.join_masks
        nodes = tuple(value.node for value in inputs)
        return graph.call_function(function, (nodes, tuple(masks), *options))
    # Keras 3 merges with "or", and a step counts in an input without a mask: then no step is masked.
    if built.merge_masks is torch.logical_or and len(present) < len(masks):
        return None
    merged = present[0]
    for mask in present[1:]:
        merged = graph.call_function(built.merge_masks, (merged, mask))
    return merged


def mask_arguments(built: Built, masks: list[Any]) -> dict[str, Any]:
    """Return the keyword arguments with which a module gets the masks of its inputs, if it takes any."""
    if built.takes_masks and any(mask is not None for mask in masks):
        return {"masks": tuple(masks)}
    if built.takes_mask and masks and masks[0] is not None:
        return {"mask": masks[0]}
    return {}
