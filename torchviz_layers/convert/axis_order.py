"""The order of axes of a network's inputs: that which the first image layers take."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.records import Layer, Network, TensorRef
from torchviz_layers.convert.nested import references
from torchviz_layers.convert.registry import Order, find_rule, keep


def reaches(network: Network, ref: TensorRef) -> Order | None:
    """Return the order of axes of the first image layer that gets the tensor with its axes unchanged, if any."""
    # Breadth first from the tensor, through layers whose output has the axes of their input.
    users: dict[TensorRef, list[tuple[Layer, int]]] = {}
    for layer in network.layers.values():
        for index, call in enumerate(layer.calls):
            for source in references((call.args, call.kwargs)):
                users.setdefault(source, []).append((layer, index))
    pending, seen = [ref], {ref}
    while pending:
        # The first user in the file's order decides.
        for layer, index in users.get(pending.pop(0), []):
            order, keeps_axes = _wish(layer)
            if order is not None:
                return order
            following = TensorRef(layer.name, index, 0)
            if keeps_axes and following not in seen:
                seen.add(following)
                pending.append(following)
    return None


def _wish(layer: Layer) -> tuple[Order | None, bool]:
    """Return the order of axes that a layer itself takes, and whether its output has the axes of its input."""
    if layer.network is not None:
        for ref in references(layer.network.inputs):
            order = reaches(layer.network, ref)
            if order is not None:
                return order, _keeps(layer)
        return None, _keeps(layer)
    found = find_rule(layer)
    if found is None:
        return None, False
    return found.order(layer, None), found.order is keep


def _keeps(layer: Layer) -> bool:
    """Return whether a layer's output has its input's axes in any order; a model does if all of its layers do."""
    if layer.network is not None:
        return all(_keeps(inner) for inner in layer.network.layers.values())
    found = find_rule(layer)
    return found is not None and found.order is keep


def wanted_order(layer: Layer, given: Order | None) -> Order | None:
    """Return the order of axes in which a layer takes its first input, which is given in an order."""
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
