"""The order of axes of a network's inputs: that which the first image layers take."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.records import Layer, Network, TensorRef
from torchviz_layers.convert.nested import references
from torchviz_layers.convert.registry import Order, find_rule, keep


def reaches(network: Network, ref: TensorRef) -> Order | None:
    """Return the order of axes of the first image layer that gets the tensor with its axes unchanged, if any."""
    users: dict[TensorRef, list[tuple[Layer, int]]] = {}
    for layer in network.layers.values():
        for index, call in enumerate(layer.calls):
            for source in references((call.args, call.kwargs)):
                users.setdefault(source, []).append((layer, index))
    pending, seen = [ref], {ref}
    while pending:
        for layer, index in users.get(pending.pop(0), []):
            order, goes_on = _wish(layer)
            if order is not None:
                return order
            following = TensorRef(layer.name, index, 0)
            if goes_on and following not in seen:
                seen.add(following)
                pending.append(following)
    return None


def _wish(layer: Layer) -> tuple[Order | None, bool]:
    """Return the order that a layer wants, and whether its output's axes are its input's."""
    if layer.network is not None:
        wishes = [reaches(layer.network, ref) for ref in references(layer.network.inputs)]
        return next((wish for wish in wishes if wish is not None), None), _keeps(layer)
    found = find_rule(layer)
    return (None, False) if found is None else (found.order(layer, None), found.order is keep)


def _keeps(layer: Layer) -> bool:
    """Tell whether a layer's output has its input's axes in any order; so do models of such layers alone."""
    if layer.network is not None:
        return all(_keeps(inner) for inner in layer.network.layers.values())
    found = find_rule(layer)
    return found is not None and found.order is keep


def wanted_order(layer: Layer, given: Order | None) -> Order | None:
    """Return the order that a layer wants its first input in."""
    if layer.network is not None:
        return given or _wish(layer)[0]
    found = find_rule(layer)
    return None if found is None else found.order(layer, given)


def sample_shape(layer: Layer, order: Order | None) -> tuple[int | None, ...] | None:
    """Return the shape of one sample of an input layer, with its axes in an order; None where the file has no shape."""
    shape = layer.batch_shape
    if not shape:
        return None
    if order is not None:
        shape = [*shape[: order.at], shape[-1], *shape[order.at : -1]]
    return tuple(shape[1:])
