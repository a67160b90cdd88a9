"""What arrays each layer of a network should have, by the names of its rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchviz_layers.convert.keras_files.keras1 import keras1_arrays
from torchviz_layers.convert.keras_files.records import Layer, Network
from torchviz_layers.convert.registry import find_rule
from torchviz_layers.exceptions import ConversionError

_SHOWN = 5
NOT_BUILT = ". Perhaps the model was saved before it was built: call it on a batch in Keras and save it again"


def all_layers(network: Network) -> Iterator[Layer]:
    """Yield every layer that is not a network, those inside wrappers and nested networks included."""
    for layer in network.layers.values():
        yield from leaves_of(layer)


def leaves_of(layer: Layer) -> Iterator[Layer]:
    """Yield the layer and the layers inside it, networks left out."""
    if layer.network is not None:
        yield from all_layers(layer.network)
        return
    yield layer
    for child in layer.children.values():
        yield from leaves_of(child)


def array_names(layer: Layer) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the names of a layer's own arrays, trainable ones and others; None where only the caller knows them."""
    if layer.keras_version.startswith(("0", "1")) and (names := keras1_arrays(layer)):
        return names, ()
    found = find_rule(layer)
    return None if found is None else found.names(layer)


def own_array_names(layer: Layer) -> tuple[str, ...]:
    """Return the names of all arrays that a layer itself should have."""
    trainable, others = array_names(layer) or ((), ())
    return trainable + others


def count_error(layer: Layer, names: Sequence[str], count: int) -> ConversionError:
    """Return the error for a layer of which the file holds another number of arrays."""
    wanted = f"{len(names)} arrays ({', '.join(names)})" if names else "no arrays"
    return ConversionError(
        f"layer {layer.name!r} ({layer.kind}) should have {wanted}, but the file holds {count} for it"
    )


def refuse_quantized(network: Network) -> None:
    """Raise `ConversionError` for layers whose arrays are integers with scales, which no rule reads."""
    modes: dict[str, str] = {}
    for layer in all_layers(network):
        # A quantized layer has its mode in its dtype policy: {"config": {"mode": "int8", ...}}.
        mode = None
        policy = layer.config.get("dtype")
        if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
            mode = policy["config"].get("mode")
        if mode is not None or layer.config.get("quantization_config"):
            modes[layer.name] = str(mode)
    if modes:
        listed = ", ".join(f"{name!r} ({mode})" for name, mode in list(modes.items())[:_SHOWN])
        more = f" and {len(modes) - _SHOWN} more" if len(modes) > _SHOWN else ""
        raise ConversionError(
            f"layers were quantized by Keras: {listed}{more}; save the model as it was before model.quantize(...)"
        )
