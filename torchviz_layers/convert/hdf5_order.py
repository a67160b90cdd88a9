"""Arrays of an HDF5 file of Keras 1, 2 or 3 -> the layers of its network, by Keras's own order."""

from __future__ import annotations

from torchviz_layers.convert.records import Array, KerasFile, Layer, Network
from torchviz_layers.convert.registry import find_rule
from torchviz_layers.convert.slots import all_layers
from torchviz_layers.convert.slots import array_names as _names
from torchviz_layers.convert.slots import count_error as _count_error
from torchviz_layers.exceptions import ConversionError

Slot = tuple[Layer, str]


def assign_from_hdf5(file: KerasFile, network: Network) -> None:
    """Set the weights."""
    for layer in network.layers.values():
        paths = (file.order or {}).get(layer.name, [])
        _hand_out_list(layer, [(path, _lookup(file.arrays, path)) for path in paths])


def _lookup(arrays: dict[str, Array], path: str) -> Array:
    if path not in arrays:
        raise ConversionError(f"the file lists the array {path!r}, but does not hold it")
    return arrays[path]


def _slots(layer: Layer, trainable: bool = True) -> tuple[list[Slot], list[Slot]]:
    """Return what a layer's arrays are, trainable ones and others: Keras 2 writes all of the first, then the others."""
    if layer.network is not None:
        trainable = trainable and layer.network.trainable
        parts = [_slots(inner, trainable) for inner in layer.network.layers.values()]
    else:
        trainable = trainable and bool(layer.config.get("trainable", True))
        weights, state = _names(layer) or ((), ())
        own = ([(layer, name) for name in weights], [(layer, name) for name in state])
        parts = [own, *(_slots(child, trainable) for child in layer.children.values())]
    first = [slot for part in parts for slot in part[0]]
    second = [slot for part in parts for slot in part[1]]
    if layer.network is None and not trainable:
        return [], first + second
    return first, second


def _hand_out_list(layer: Layer, entries: list[tuple[str, Array]]) -> None:
    """Give a layer its arrays as HDF5 files of Keras 1 and 2 list them."""
    if layer.network is None and _names(layer) is None:
        layer.weights = {path.split("/")[-1].partition(":")[0]: array for path, array in entries}
        return
    trainable, others = _slots(layer)
    slots = trainable + others
    if len(slots) == len(entries):
        for (owner, name), (_, array) in zip(slots, entries, strict=True):
            owner.weights[name] = array
    elif layer.network is not None:
        _hand_out_by_path(layer, slots, entries)
    else:
        raise _count_error(layer, [name for _, name in slots], len(entries))


def _hand_out_by_path(layer: Layer, slots: list[Slot], entries: list[tuple[str, Array]]) -> None:
    """Give a nested model its arrays by the layer names in their paths: it holds shared or unknown layers."""
    owners = {id(leaf): leaf for leaf in all_layers(layer.network)} if layer.network else {}
    for owner in owners.values():
        mine = [(path, array) for path, array in entries if owner.name in path.split("/")[1:-1]]
        names = [name for candidate, name in slots if candidate is owner]
        if not names and find_rule(owner) is None:
            owner.weights = {path.split("/")[-1].partition(":")[0]: array for path, array in mine}
        elif len(names) == len(mine):
            owner.weights = {name: array for name, (_, array) in zip(names, mine, strict=True)}
        else:
            raise _count_error(owner, names, len(mine))
