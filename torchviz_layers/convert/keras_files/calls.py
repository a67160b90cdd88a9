"""The calls of a network, as Keras 2 and Keras 3 write them: parsed, numbered from 0, and checked."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from torchviz_layers.convert.keras_files.records import Call, Constant, Layer, Network, TensorRef
from torchviz_layers.convert.nested import all_references, mapped, references
from torchviz_layers.exceptions import ConversionError


def parse_ends(value: Any) -> Any:
    """Return the inputs or outputs as a list or dict of references; Keras 3 writes a single one without a list."""
    if _is_reference(value):
        return [TensorRef(*value[:3])]
    if isinstance(value, dict):
        return {key: _parse_end(value[key]) for key in sorted(value)}  # Keras flattens dicts by their keys
    return [_parse_end(entry) for entry in value]


def _parse_end(value: Any) -> Any:
    if _is_reference(value):
        return TensorRef(*value[:3])
    return parse_ends(value)


def _is_reference(value: Any) -> bool:
    """Return whether a value is [layer, call, output] or, with keyword arguments, [layer, call, output, {...}]."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:3])
    )


def parse_call(node: Any, layers: dict[str, Layer]) -> Call:
    """Parse one entry of a layer's `inbound_nodes`."""
    if isinstance(node, dict) and "args" in node:  # Keras 3
        args = tuple(_parse_keras3(arg) for arg in node["args"])
        return Call(args, {key: _parse_keras3(value) for key, value in node.get("kwargs", {}).items()})
    # Keras 1 and 2: a list with an entry for each tensor of the first argument.
    kwargs: dict[str, Any] = {}
    first = _parse_keras2(node, layers, kwargs)
    if isinstance(first, list) and len(first) == 1:
        first = first[0]
    return Call((first,), kwargs)


def _parse_keras2(value: Any, layers: dict[str, Layer], kwargs: dict[str, Any]) -> Any:
    """Parse the first argument of a call; the others are attached to its tensors, and go into `kwargs`."""
    if isinstance(value, dict):
        return {key: _parse_keras2(entry, layers, kwargs) for key, entry in value.items()}
    if isinstance(value, list) and value and value[0] == "_CONSTANT_VALUE":
        _parse_keras2_kwargs(value, layers, kwargs)
        return Constant(np.asarray(value[2])) if isinstance(value[2], list) else value[2]
    if _is_reference(value):
        _parse_keras2_kwargs(value, layers, kwargs)
        return TensorRef(*value[:3])
    if isinstance(value, list):
        return [_parse_keras2(entry, layers, kwargs) for entry in value]
    return value


def _parse_keras2_kwargs(value: list[Any], layers: dict[str, Layer], kwargs: dict[str, Any]) -> None:
    """Add the keyword arguments that Keras 2 writes as the fourth entry of a reference."""
    if len(value) > 3 and isinstance(value[3], dict):
        for key, entry in value[3].items():
            kwargs[key] = _parse_keras2_kwarg(entry, layers)


def _parse_keras2_kwarg(value: Any, layers: dict[str, Layer]) -> Any:
    """Parse a keyword argument; a list that looks like a reference is one only if it names a layer."""
    if isinstance(value, list) and len(value) == 3 and value[0] == "_CONSTANT_VALUE":
        return value[2]
    if _is_reference(value) and value[0] in layers:
        return TensorRef(*value[:3])
    if isinstance(value, list):
        return [_parse_keras2_kwarg(entry, layers) for entry in value]
    if isinstance(value, dict):
        return {key: _parse_keras2_kwarg(entry, layers) for key, entry in value.items()}
    return value


def _parse_keras3(value: Any) -> Any:
    """Parse an argument: Keras 3 writes everything that is not plain JSON as {"class_name": ..., "config": ...}."""
    if isinstance(value, list):
        return [_parse_keras3(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__":
        return TensorRef(*config["keras_history"])  # type: ignore[index]
    if kind in ("__tensor__", "__numpy__"):
        return Constant(np.asarray(config["value"], dtype=_numpy_dtype(config["dtype"])))  # type: ignore[index]
    if kind == "__slice__":
        bounds: dict[str, Any] = value if "start" in value else config  # type: ignore[assignment]
        return slice(*(_parse_keras3(bounds.get(key)) for key in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__tuple__":
        return tuple(_parse_keras3(entry) for entry in value.get("items") or config or ())
    if kind is None:
        return {key: _parse_keras3(entry) for key, entry in value.items()}
    return value


def _numpy_dtype(name: str) -> str:
    """Return NumPy's name of a type of numbers; it has no bfloat16."""
    if name == "bfloat16" or not re.fullmatch(r"(b?float|u?int|bool)\d*", name):
        return "float32"
    return name


def renumber_nested(network: Network) -> None:
    """Count the calls of nested models from 0.

    A functional model has a node of its own, so Keras 1 and 2 count its calls from 1. Keras 3 does so only where it
    lists the outputs.
    """
    nested = {name: layer.network for name, layer in network.layers.items() if layer.network is not None}
    if not nested:
        return
    if any(layer.major >= 3 for layer in network.layers.values()):
        # Only the outputs count from 1 here, and only for functional models.
        functional = {name for name, inner in nested.items() if not inner.is_sequential}
        network.outputs = mapped(network.outputs, TensorRef, lambda ref: _counted_down(ref, functional))
        return
    # A nested model whose lowest number is 1 is counted from 1.
    lowest: dict[str, int] = {}
    for ref in all_references(network):
        lowest[ref.layer] = min(ref.call, lowest.get(ref.layer, ref.call))
    from_one = {name for name in nested if lowest.get(name) == 1}
    for layer in network.layers.values():
        layer.calls = [_counted_down_call(call, from_one) for call in layer.calls]
    network.outputs = mapped(network.outputs, TensorRef, lambda ref: _counted_down(ref, from_one))


def _counted_down(ref: TensorRef, names: set[str]) -> TensorRef:
    """Return a reference with the call's number reduced by 1 where it is to one of the named layers."""
    if ref.layer not in names:
        return ref
    return ref._replace(call=max(0, ref.call - 1))


def _counted_down_call(call: Call, names: set[str]) -> Call:
    args, kwargs = mapped((call.args, call.kwargs), TensorRef, lambda ref: _counted_down(ref, names))
    return Call(args, kwargs)


def check_references(network: Network, version: str) -> None:
    """Refuse a network that refers to what it lacks, or that lost which call of a layer it refers to."""
    used = set()
    for ref in (*all_references(network), *references(network.inputs)):
        layer = network.layers.get(ref.layer)
        if layer is None:
            raise ConversionError(f"the model's configuration refers to a layer {ref.layer!r} that it does not have")
        if ref.call >= max(1, len(layer.calls)):
            raise ConversionError(
                f"the model's configuration refers to call {ref.call} of layer {ref.layer!r}, "
                f"which has {len(layer.calls)}"
            )
        used.add((ref.layer, ref.call))
    if version.startswith("3.2."):
        _check_all_calls_used(network, used)


def _check_all_calls_used(network: Network, used: set[tuple[str, int]]) -> None:
    """Refuse calls that nothing refers to: Keras 3.2 writes 0 for each call whose output goes to another layer."""
    for layer in network.layers.values():
        missing = [index for index in range(1, len(layer.calls)) if (layer.name, index) not in used]
        if missing:
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}) is called {len(layer.calls)} times, but nothing uses the output "
                f"of call {missing[0]}: Keras 3.2 loses which call is meant, and cannot load such a file itself. "
                "Build the model again in another version of Keras, load its weights there and save it"
            )
