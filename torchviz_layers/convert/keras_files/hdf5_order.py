"""Arrays of an `.h5` file of Keras 1, 2 or 3 -> the layers of its network.

The file lists the arrays of each layer of the outermost model, with names. The order follows from the flags in the
configuration (`trainable_order.py`), but some flags are not saved. The names say which array is whose where they are
those of the layers, but layers may be renamed. So both are used: names that agree with the order, or that some flags
which are not saved explain, are accepted; others are an error.
"""

from __future__ import annotations

from collections import Counter

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.expected_arrays import NOT_BUILT, array_names, count_error
from torchviz_layers.convert.keras_files.records import KerasFile, Layer, Network
from torchviz_layers.convert.keras_files.trainable_order import ExpectedArray, Unit, explain, unit_of
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
        # The caller's own layer: its factory gets the arrays by the names in the file.
        layer.weights = {path.split("/")[-1].partition(":")[0]: array for path, array in entries}
        return
    unit = unit_of(layer)
    expected = unit.order()
    if len(expected) == len(entries):
        paths = [path for path, _ in entries]
        for wanted, (_, array) in zip(_file_order(layer, unit, paths), entries, strict=True):
            wanted.layer.weights[wanted.name] = array
    elif layer.network is not None:
        _assign_by_names(unit, entries)
    else:
        advice = "" if entries else NOT_BUILT
        if layer.config.get("lora_rank"):
            advice = ". An .h5 file keeps those of enable_lora beside them; model.save('model.keras') merges them"
        problem = count_error(layer, [wanted.name for wanted in expected], len(entries))
        raise ConversionError(f"{problem}{advice}")


def _assign_by_names(unit: Unit, entries: Entries) -> None:
    """Set the arrays of a nested model by the layer names in their paths: it holds shared or unknown layers."""
    layers = _layers_of(unit)
    names = {layer.name for layer in layers}
    by_name: dict[str | None, Entries] = {}
    for path, array in entries:
        by_name.setdefault(_layer_name(path, names), []).append((path, array))
    for layer in layers:
        _assign(layer, by_name.get(layer.name, []))


def _layers_of(unit: Unit) -> list[Layer]:
    """Return the layers that hold the arrays of a unit, each once."""
    return list({id(inner.owner): inner.owner for inner in unit.walk() if not inner.is_network}.values())


def _layer_name(path: str, names: set[str]) -> str | None:
    """Return the layer that a path names: the innermost, since models around it may have names of layers."""
    folders = path.split("/")[1:-1]  # the first one is the outermost model's layer
    return next((folder for folder in reversed(folders) if folder in names), None)


def _file_order(layer: Layer, unit: Unit, paths: list[str]) -> list[ExpectedArray]:
    """Return the expected arrays in the file's order, by the flags of the configuration and by the names."""
    expected = unit.order()
    named = _arrays_by_name(unit, expected, paths)
    differing = [index for index, array in named.items() if array is not expected[index]]
    if not differing:
        return expected
    # The names disagree with the order: accept them if some flags that the file does not hold explain it.
    if len(named) == len(paths):
        order = [named[index] for index in range(len(paths))]
        if explain(unit, order):
            return order
    first = differing[0]
    raise ConversionError(
        f"layer {layer.name!r} ({layer.kind}): the file lists {paths[first]!r} where Keras "
        f"{layer.keras_version} would write {expected[first].name!r} of layer {expected[first].owner.name!r}: "
        "the names of the arrays and their order disagree, so which are whose is not certain. "
        "Load the file in Keras and save it again with model.save('model.keras')"
    )


def _arrays_by_name(unit: Unit, expected: list[ExpectedArray], paths: list[str]) -> dict[int, ExpectedArray]:
    """Return which expected array each path names, by its number in the file; only where exactly one fits."""
    names = Counter(layer.name for layer in _layers_of(unit))
    only = next(iter(names)) if len(names) == 1 else None
    found: dict[int, ExpectedArray] = {}
    for index, path in enumerate(paths):
        name = only or _layer_name(path, set(names))
        fitting = [array for array in expected if array.owner.name == name and _fits(array, path)]
        # Of several, the one with the most folders: att/query/kernel is no kernel of a Dense layer "att".
        most = max((len(array.parts) for array in fitting), default=0)
        closest = [array for array in fitting if len(array.parts) == most]
        if len(closest) == 1:
            found[index] = closest[0]
    uses = Counter(found.values())
    return {index: array for index, array in found.items() if uses[array] == 1}


def _fits(array: ExpectedArray, path: str) -> bool:
    """Return whether a path ends in the array's name and leads through the folders of its parts."""
    *folders, name = path.split("/")
    variable = array.name
    for part in array.parts:
        variable = variable.removeprefix(f"{part}_")
        if not any(_is_part(part, folder) for folder in folders[1:]):
            return False
    return name.partition(":")[0] == variable


def _is_part(part: str, folder: str) -> bool:
    """Return whether a folder of a path is that of a half, a projection or a cell."""
    if part in ("forward", "backward"):
        return folder.startswith(f"{part}_")
    return folder == ("attention_output" if part == "output" else part)
