"""A Keras configuration (of Keras 1, 2 or 3) -> `Network`: layers, how they are called, inputs and outputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from torchviz_layers.convert.keras_files.calls import check_references
from torchviz_layers.convert.keras_files.keras1 import to_keras2
from torchviz_layers.convert.keras_files.records import Call, Constant, Layer, Network, TensorRef
from torchviz_layers.convert.nested import all_references, mapped, plain_number, references
from torchviz_layers.exceptions import ConversionError

_CHILD_KEYS = ("layer", "backward_layer", "cell")  # the entries of a wrapper's configuration that are layers themselves
_ACTIVATION_KEYS = ("activation", "recurrent_activation")  # a function by its name, or a layer
_MAX_LAYERS = 50_000


def parse_network(serialized: dict[str, Any], keras_version: str) -> Network:
    """Return the graph that a serialized model describes.

    Parameters
    ----------
    serialized
        `{"class_name": ..., "config": ...}` as Keras writes it.
    keras_version
        As the file gives it; forms and defaults of layers depend on it.

    Raises
    ------
    ConversionError
        The configuration is not a Sequential or functional model, or refers to layers that it lacks.
    """
    try:
        return _parse_model(serialized, keras_version)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError) as problem:
        raise ConversionError(f"the model's configuration is damaged: {type(problem).__name__}: {problem}") from problem


def _parse_model(serialized: dict[str, Any], version: str) -> Network:
    config = serialized["config"]
    if serialized["class_name"] in ("Sequential", "Pipeline") or isinstance(config, list):
        return _parse_sequential(config, version)
    if not isinstance(config, dict) or "layers" not in config:
        raise ConversionError(
            f"{serialized['class_name']} is a model written as a class: its file has no graph of layers, "
            "so it cannot be converted. Rebuild it as a functional model in Keras and save that"
        )
    return _parse_functional(config, version)


def _parse_layer(serialized: dict[str, Any], version: str) -> Layer:
    kind, config = str(serialized["class_name"]), serialized["config"]
    is_model = isinstance(config, list) or (
        isinstance(config, dict) and isinstance(config.get("layers"), list) and kind != "Merge"
    )
    kind = kind.rpartition(">")[2] if not serialized.get("module", "x") else kind
    fallback = serialized.get("name") or "sequential"
    module, shared_id = serialized.get("module") or "", str(serialized.get("shared_object_id", ""))
    if is_model:
        network = _parse_model(serialized, version)
        name = str(serialized.get("name") or network.name)
        settings = config if isinstance(config, dict) else {}
        return Layer(name, kind, settings, version, module, network=network, shared_id=shared_id)
    if version.startswith("2.12."):  # writes numbers as arrays
        config = {key: plain_number(value) for key, value in config.items()}
    if version.startswith(("0", "1")):
        kind, config = to_keras2(kind, config)
    children = {
        key: _parse_layer(config[key], version)
        for key in _CHILD_KEYS
        if isinstance(config.get(key), dict) and "class_name" in config[key]
    }
    children |= {key: _parse_layer(config[key], version) for key in _ACTIVATION_KEYS if _is_layer(config.get(key))}
    for index, cell in enumerate(config.get("cells") or []):
        children[f"cells/{index}"] = _parse_layer(cell, version)
    if kind == "Bidirectional" and "backward_layer" not in children:
        backward = dict(config["layer"], config={**config["layer"]["config"]})
        backward["config"]["go_backwards"] = not backward["config"].get("go_backwards", False)
        children["backward_layer"] = _parse_layer(backward, version)
    name = str(serialized.get("name") or config.get("name") or fallback)
    return Layer(name, kind, config, version, module, children=children, shared_id=shared_id)


def _is_layer(activation: Any) -> bool:
    """Tell whether an activation is a serialized layer; Keras 3 serializes functions as objects too."""
    return (
        isinstance(activation, dict)
        and activation.get("class_name") != "function"
        and isinstance(activation.get("config"), dict)
    )


def _parse_sequential(config: Any, version: str) -> Network:
    settings = config if isinstance(config, dict) else {}
    serialized = config["layers"] if isinstance(config, dict) else config
    layers = [_parse_layer(entry, version) for entry in serialized]
    if not layers or layers[0].kind != "InputLayer":
        layers.insert(0, _implied_input(layers, settings))
    previous = TensorRef(layers[0].name, 0, 0)
    for layer in layers[1:]:
        layer.calls.append(Call((previous,)))
        previous = TensorRef(layer.name, 0, 0)
    return Network(
        str(settings.get("name") or "sequential"),
        _by_name(layers),
        [TensorRef(layers[0].name, 0, 0)],
        [previous],
        trainable=bool(settings.get("trainable", True)),
        is_sequential=True,
    )


def _implied_input(layers: list[Layer], settings: dict[str, Any]) -> Layer:
    """Return the input of a Sequential model without an InputLayer; its shape may be in the first layer, or nowhere."""
    first = layers[0].config if layers else {}
    shape = first.get("batch_input_shape") or first.get("batch_shape") or settings.get("build_input_shape")
    if shape is None and layers and layers[0].network is not None:
        source = next(references(layers[0].network.inputs))
        shape = layers[0].network.layers[source.layer].get("batch_shape")
    if shape is None and isinstance(first.get("input_dim"), int) and layers[0].kind != "Embedding":
        shape = [None, first["input_dim"]]
    taken = {layer.name for layer in layers}
    name = next(name for name in ("x", "x_", "x__", "model_input") if name not in taken)
    version = layers[0].keras_version if layers else "3.0.0"
    return Layer(name, "InputLayer", {"batch_shape": shape, "implied": True}, version)


def _by_name(layers: list[Layer]) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for layer in layers:
        if layer.name in found:
            raise ConversionError(f"the model has two layers named {layer.name!r}")
        found[layer.name] = layer
    if len(found) > _MAX_LAYERS:
        raise ConversionError(f"the model has more than {_MAX_LAYERS} layers")
    return found


def _parse_functional(config: dict[str, Any], version: str) -> Network:
    layers = _by_name([_parse_layer(entry, version) for entry in config["layers"]])
    for entry, layer in zip(config["layers"], layers.values(), strict=True):
        nodes = entry.get("inbound_nodes") or []
        if isinstance(nodes, dict):
            nodes = [nodes]
        layer.calls = [_parse_call(node, layers) for node in nodes]
    network = Network(
        str(config.get("name") or "model"),
        layers,
        _parse_ends(config["input_layers"]),
        _parse_ends(config["output_layers"]),
        trainable=bool(config.get("trainable", True)),
    )
    _renumber_nested(network)
    check_references(network, version)
    return network


def _parse_ends(value: Any) -> Any:
    """Return the inputs or outputs as a list or dict of references; Keras 3 writes a single one without a list."""
    if _is_reference(value):
        return [TensorRef(*value[:3])]
    if isinstance(value, dict):
        return {key: _parse_end(value[key]) for key in sorted(value)}  # Keras flattens dicts by their keys
    return [_parse_end(entry) for entry in value]


def _parse_end(value: Any) -> Any:
    if _is_reference(value):
        return TensorRef(*value[:3])
    return _parse_ends(value)


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:3])
    )


def _parse_call(node: Any, layers: dict[str, Layer]) -> Call:
    if isinstance(node, dict) and "args" in node:  # Keras 3
        args = tuple(_parse_keras3(arg) for arg in node["args"])
        return Call(args, {key: _parse_keras3(value) for key, value in node.get("kwargs", {}).items()})
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
    for key, entry in (value[3] if len(value) > 3 and isinstance(value[3], dict) else {}).items():
        kwargs[key] = _parse_keras2_kwarg(entry, layers)


def _parse_keras2_kwarg(value: Any, layers: dict[str, Layer]) -> Any:
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
    return {"bfloat16": "float32"}.get(name, name) if re.fullmatch(r"(b?float|u?int|bool)\d*", name) else "float32"


def _renumber_nested(network: Network) -> None:
    """Count the calls of nested models from 0.

    A functional model has a node of its own, so Keras 1 and 2 count its calls from 1. Keras 3 does so only where it
    lists the outputs.
    """
    if any(layer.major >= 3 for layer in network.layers.values()):
        functional = {
            name for name, layer in network.layers.items() if layer.network and not layer.network.is_sequential
        }
        network.outputs = mapped(
            network.outputs,
            TensorRef,
            lambda ref: ref._replace(call=max(0, ref.call - 1)) if ref.layer in functional else ref,
        )
        return
    lowest: dict[str, int] = {}
    for ref in all_references(network):
        lowest[ref.layer] = min(ref.call, lowest.get(ref.layer, ref.call))
    nested = {name for name, layer in network.layers.items() if layer.network is not None and lowest.get(name) == 1}

    def renumber(ref: TensorRef) -> TensorRef:
        return ref._replace(call=ref.call - 1) if ref.layer in nested else ref

    if not nested:
        return
    for layer in network.layers.values():
        layer.calls = [
            Call(mapped(call.args, TensorRef, renumber), mapped(call.kwargs, TensorRef, renumber))
            for call in layer.calls
        ]
    network.outputs = mapped(network.outputs, TensorRef, renumber)
