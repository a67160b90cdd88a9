"""Arguments and outputs are nested in lists, tuples, dicts and slices: walk them, map them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torchviz_layers.convert.keras_files.records import Network, TensorRef


def leaves(value: Any, kinds: type | tuple[type, ...]) -> Iterator[Any]:
    """Yield every entry of one of the given kinds, depth first."""
    if isinstance(value, kinds):
        yield value
    elif isinstance(value, slice):
        yield from leaves((value.start, value.stop, value.step), kinds)
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):  # named tuples are entries, not nests
        for entry in value:
            yield from leaves(entry, kinds)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()), kinds)


def mapped(value: Any, kinds: type | tuple[type, ...], function: Callable[[Any], Any]) -> Any:
    """Return `value` with `function` applied to every entry of one of the given kinds, in the order of `leaves`."""
    if isinstance(value, kinds):
        return function(value)
    if isinstance(value, slice):
        return slice(*(mapped(part, kinds, function) for part in (value.start, value.stop, value.step)))
    if isinstance(value, list):
        return [mapped(entry, kinds, function) for entry in value]
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(mapped(entry, kinds, function) for entry in value)
    if isinstance(value, dict):
        return {key: mapped(entry, kinds, function) for key, entry in value.items()}
    return value


def references(value: Any) -> Iterator[TensorRef]:
    """Yield every tensor that an argument refers to."""
    return leaves(value, TensorRef)


def all_references(network: Network) -> Iterator[TensorRef]:
    """Yield every reference of a network: the arguments of its calls and its outputs."""
    for layer in network.layers.values():
        for call in layer.calls:
            yield from references((call.args, call.kwargs))
    yield from references(network.outputs)


def plain_number(value: Any) -> Any:
    """Return the number in a serialized array without axes; anything else as it is."""
    is_array = isinstance(value, dict) and value.get("class_name") == "__numpy__"
    return value["config"]["value"] if is_array else value
