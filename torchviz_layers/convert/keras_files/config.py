"""A Keras configuration (of Keras 1, 2 or 3) -> `Network`: layers, how they are called, inputs and outputs."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.keras_files.calls import check_references, parse_call, parse_ends, renumber_nested
from torchviz_layers.convert.keras_files.keras1 import to_keras2
from torchviz_layers.convert.keras_files.records import Call, Layer, Network, TensorRef
from torchviz_layers.convert.nested import plain_number, references
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
    """Parse a layer, a wrapper with the layers in it, or a nested model."""
    kind, config = str(serialized["class_name"]), serialized["config"]
    module, shared_id = serialized.get("module") or "", str(serialized.get("shared_object_id", ""))
    if "module" in serialized and not module:
        # A class that was registered: "Package>Name", and no module.
        kind = kind.rpartition(">")[2]
    if _is_model(kind, config):
        network = _parse_model(serialized, version)
        name = str(serialized.get("name") or network.name)
        settings = config if isinstance(config, dict) else {}
        return Layer(name, kind, settings, version, module, network=network, shared_id=shared_id)
    if version.startswith("2.12."):  # writes numbers as arrays
        config = {key: plain_number(value) for key, value in config.items()}
    if version.startswith(("0", "1")):
        kind, config = to_keras2(kind, config)
    children = _parse_children(kind, config, version)
    name = str(serialized.get("name") or config.get("name") or "sequential")
    return Layer(name, kind, config, version, module, children=children, shared_id=shared_id)


def _is_model(kind: str, config: Any) -> bool:
    """Return whether a serialized layer is a model; Sequential models of Keras 1 and 2 are a list of layers."""
    if isinstance(config, dict):
        # Keras 1's Merge names the layers that it joins, but is a layer.
        return isinstance(config.get("layers"), list) and kind != "Merge"
    return isinstance(config, list)


def _parse_children(kind: str, config: dict[str, Any], version: str) -> dict[str, Layer]:
    """Return the layers in a layer's configuration by their keys: a wrapped layer, cells, activations."""
    children = {}
    for key in _CHILD_KEYS:
        if isinstance(config.get(key), dict) and "class_name" in config[key]:
            children[key] = _parse_layer(config[key], version)
    for key in _ACTIVATION_KEYS:
        if _is_layer(config.get(key)):
            children[key] = _parse_layer(config[key], version)
    for index, cell in enumerate(config.get("cells") or []):
        children[f"cells/{index}"] = _parse_layer(cell, version)
    if kind == "Bidirectional" and "backward_layer" not in children:
        # Without one of its own, the backward half is a copy of the forward one that reads the other way.
        backward = dict(config["layer"], config={**config["layer"]["config"]})
        backward["config"]["go_backwards"] = not backward["config"].get("go_backwards", False)
        children["backward_layer"] = _parse_layer(backward, version)
    return children


def _is_layer(activation: Any) -> bool:
    """Return whether an activation is a serialized layer; Keras 3 serializes functions as objects too."""
    return (
        isinstance(activation, dict)
        and activation.get("class_name") != "function"
        and isinstance(activation.get("config"), dict)
    )


def _parse_sequential(config: Any, version: str) -> Network:
    if isinstance(config, dict):
        settings, serialized = config, config["layers"]
    else:  # Keras 1 and early versions of Keras 2
        settings, serialized = {}, config
    layers = [_parse_layer(entry, version) for entry in serialized]
    # A chain has no calls in the file: each layer is called once, on the output of the one before it.
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
    name = "x"
    while any(layer.name == name for layer in layers):
        name += "_"
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
        layer.calls = [parse_call(node, layers) for node in nodes]
    network = Network(
        str(config.get("name") or "model"),
        layers,
        parse_ends(config["input_layers"]),
        parse_ends(config["output_layers"]),
        trainable=bool(config.get("trainable", True)),
    )
    renumber_nested(network)
    check_references(network, version)
    return network
