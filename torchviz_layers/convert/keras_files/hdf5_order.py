"""Arrays of an `.h5` file of Keras 1, 2 or 3 -> the layers of its network.

The file lists the arrays of each layer of the outermost model, with names. The order follows from the flags in the
configuration (`trainable_order.py`), but some flags are not saved. The names say which array is whose where they are
those of the layers, but layers may be renamed. So both are used: names that agree with the order, or that some flags
which are not saved explain, are accepted; others are an error.
"""

from __future__ import annotations

from collections import Counter

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import KerasFile, Layer, Network
from torchviz_layers.convert.keras_files.slots import NOT_BUILT, array_names, count_error
from torchviz_layers.convert.keras_files.trainable_order import Slot, Unit, explain, unit_of
from torchviz_layers.exceptions import ConversionError

Entries = list[tuple[str, Array]]


def assign_from_hdf5(file: KerasFile, network: Network) -> None:
    """Set the `weights` of every layer of `network`, nested ones included.

    Raises
    ------
    ConversionError
        The file holds another number of arrays than the configuration says, or its names and its order disagree.
    """
    for layer in network.layers.values():
        paths = (file.order or {}).get(layer.name, [])
        _assign(layer, [(path, _lookup(file.arrays, path)) for path in paths])


def _lookup(arrays: dict[str, Array], path: str) -> Array:
    if path not in arrays:
        raise ConversionError(f"the file lists the array {path!r}, but does not hold it")
    return arrays[path]


def _assign(layer: Layer, entries: Entries) -> None:
    """Set the arrays of a layer or nested model, as the file lists them."""
    if layer.network is None and array_names(layer) is None:
        layer.weights = {path.split("/")[-1].partition(":")[0]: array for path, array in entries}
        return
    unit = unit_of(layer)
    slots = unit.order()
    if len(slots) == len(entries):
        for slot, (_, array) in zip(_file_order(layer, unit, [path for path, _ in entries]), entries, strict=True):
            slot.layer.weights[slot.name] = array
    elif layer.network is not None:
        _assign_by_site(unit, entries)
    else:
        advice = "" if entries else NOT_BUILT
        if layer.config.get("lora_rank"):
            advice = ". An .h5 file keeps those of enable_lora beside them; model.save('model.keras') merges them"
        problem = count_error(layer, [slot.name for slot in slots], len(entries))
        raise ConversionError(f"{problem}{advice}")


def _assign_by_site(unit: Unit, entries: Entries) -> None:
    """Set the arrays of a nested model by the layer names in their paths: it holds shared or unknown layers."""
    sites = _sites(unit)
    owners = [_owner(path, {site.name for site in sites}) for path, _ in entries]
    for site in sites:
        _assign(site, [entry for entry, owner in zip(entries, owners, strict=True) if owner == site.name])


def _sites(unit: Unit) -> list[Layer]:
    return list({id(inner.site): inner.site for inner in unit.walk() if not inner.is_network}.values())


def _owner(path: str, names: set[str]) -> str | None:
    """Return the layer that a path names: the innermost, since models around it may have names of layers."""
    folders = path.split("/")[1:-1]  # the first one is the outermost model's layer
    return next((folder for folder in reversed(folders) if folder in names), None)


def _file_order(layer: Layer, unit: Unit, paths: list[str]) -> list[Slot]:
    """Return the arrays in the file's order, by the flags of the configuration and by the names."""
    expected = unit.order()
    named = _slots_by_name(unit, expected, paths)
    differing = [index for index, slot in named.items() if slot is not expected[index]]
    if not differing:
        return expected
    if len(named) == len(paths):
        order = [named[index] for index in range(len(paths))]
        if explain(unit, order):
            return order
    first = differing[0]
    raise ConversionError(
        f"layer {layer.name!r} ({layer.kind}): the file lists {paths[first]!r} where Keras "
        f"{layer.keras_version} would write {expected[first].name!r} of layer {expected[first].site.name!r}: "
        "the names of the arrays and their order disagree, so which are whose is not certain. "
        "Load the file in Keras and save it again with model.save('model.keras')"
    )


def _slots_by_name(unit: Unit, slots: list[Slot], paths: list[str]) -> dict[int, Slot]:
    """Return what the names of the arrays say, by their numbers in the file: only names that fit one array."""
    sites = Counter(site.name for site in _sites(unit))
    only = next(iter(sites)) if len(sites) == 1 else None
    found: dict[int, Slot] = {}
    for index, path in enumerate(paths):
        owner = only or _owner(path, set(sites))
        fitting = [slot for slot in slots if slot.site.name == owner and _fits(slot, path)]
        most = max((len(slot.parts) for slot in fitting), default=0)  # att/query/kernel is no kernel of a Dense "att"
        closest = [slot for slot in fitting if len(slot.parts) == most]
        if len(closest) == 1:
            found[index] = closest[0]
    uses = Counter(found.values())
    return {index: slot for index, slot in found.items() if uses[slot] == 1}


def _fits(slot: Slot, path: str) -> bool:
    *folders, name = path.split("/")
    variable = slot.name
    for part in slot.parts:
        variable = variable.removeprefix(f"{part}_")
        if not any(_is_part(part, folder) for folder in folders[1:]):
            return False
    return name.partition(":")[0] == variable


def _is_part(part: str, folder: str) -> bool:
    """Tell whether a folder of a path is that of a half, a projection or a cell."""
    if part in ("forward", "backward"):
        return folder.startswith(f"{part}_")
    return folder == ("attention_output" if part == "output" else part)
