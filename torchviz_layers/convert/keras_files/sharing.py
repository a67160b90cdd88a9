"""Which layers of a configuration are one object in Keras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torchviz_layers.convert.keras_files.expected_arrays import leaves_of, own_array_names
from torchviz_layers.convert.keras_files.records import Layer, Network
from torchviz_layers.exceptions import ConversionError


class SharedLayers:
    """The layers met so far in Keras's order, and the originals of those that repeat one of them.

    Keras marks every occurrence of a shared object with the same number. But it marks the first one late, when it meets
    the second, and a nested model has returned a copy of its configuration by then: there the first occurrence has no
    mark, only the same name and kind.

    Where a mark occurs twice or more, a layer of that name without a mark may be their original, or another layer.
    `unmarked_originals` is the assumption for these; `assumed` says whether it was needed.
    """

    def __init__(self, network: Network, unmarked_originals: bool) -> None:
        self.occurrences = Counter(layer.shared_id for layer in _every_layer(network) if layer.shared_id)
        self.unmarked_originals = unmarked_originals
        self.assumed = False
        self._marked: dict[str, Layer] = {}
        self._unmarked: dict[tuple[str, str], list[Layer]] = {}

    def add(self, layer: Layer) -> None:
        """Enter a layer that has its own group in the file."""
        if layer.shared_id:
            self._marked[layer.shared_id] = layer
        else:
            self._unmarked.setdefault((layer.name, layer.kind), []).append(layer)

    def original(self, layer: Layer, has_group: bool | None = None) -> Layer | None:
        """Return the layer that `layer` repeats, or None for a new one.

        `has_group` says whether the file has a group for the layer itself; None where its name does not show it.
        """
        if not layer.shared_id or has_group:
            return None
        if layer.shared_id in self._marked:
            return self._marked[layer.shared_id]
        candidates = self._unmarked.get((layer.name, layer.kind), [])
        if not candidates:
            return None
        if has_group is None and self.occurrences[layer.shared_id] > 1:
            self.assumed = True
            if not self.unmarked_originals:
                return None
        if len(candidates) > 1 and any(own_array_names(leaf) for leaf in leaves_of(layer)):
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}) shares the arrays of an earlier layer of this name, but the file "
                f"has {len(candidates)} of them and does not say which. Give them names of their own in Keras and save "
                "the model again"
            )
        self._marked[layer.shared_id] = candidates[0]
        return candidates[0]


def share(layer: Layer, other: Layer) -> None:
    """Give a layer the arrays of another one that is the same object in Keras."""
    for mine, theirs in zip(leaves_of(layer), leaves_of(other), strict=True):
        if mine.kind != theirs.kind:
            raise ConversionError(f"layers {mine.name!r} and {theirs.name!r} share arrays, but are of different kinds")
        mine.weights = dict(theirs.weights)


def _every_layer(network: Network) -> Iterator[Layer]:
    """Yield the layers of a network, nested networks themselves and layers in wrappers included."""
    pending = list(network.layers.values())
    while pending:
        layer = pending.pop()
        yield layer
        pending += layer.children.values()
        if layer.network is not None:
            pending += layer.network.layers.values()
