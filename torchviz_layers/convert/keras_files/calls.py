"""Whether the calls that a network refers to are those that it has."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.records import Network
from torchviz_layers.convert.nested import all_references, references
from torchviz_layers.exceptions import ConversionError


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
