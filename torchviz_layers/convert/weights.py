"""Arrays of a file -> the layers of its network, by Keras's own order and structure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torchviz_layers.convert.keras1 import convert_arrays, keras1_arrays
from torchviz_layers.convert.records import Array, KerasFile, Layer, Network
from torchviz_layers.convert.registry import find_rule
from torchviz_layers.exceptions import ConversionError

Slot = tuple[Layer, str]


def hand_out_weights(file: KerasFile, network: Network) -> None:
    """Fill the `weights` of every layer of `network`, nested ones included.

    Layers without a rule get their arrays by the names in the file, for the caller's own factory.

    Raises
    ------
    ConversionError
        The file holds more or fewer arrays than the configuration says.
    """
    if file.order is None:
        _Archive(file.arrays).hand_out(network, "")
    else:
        for layer in network.layers.values():
            paths = file.order.get(layer.name, [])
            _hand_out_list(layer, [(path, _lookup(file.arrays, path)) for path in paths])
    for leaf in all_layers(network):
        convert_arrays(leaf, file.backend)


def all_layers(network: Network) -> Iterator[Layer]:
    """Yield every layer that is not a network, those inside wrappers and nested networks included."""
    for layer in network.layers.values():
        yield from _leaves(layer)


def _leaves(layer: Layer) -> Iterator[Layer]:
    if layer.network is not None:
        yield from all_layers(layer.network)
        return
    yield layer
    for child in layer.children.values():
        yield from _leaves(child)


def _lookup(arrays: dict[str, Array], path: str) -> Array:
    if path not in arrays:
        raise ConversionError(f"the file lists the array {path!r}, but does not hold it")
    return arrays[path]


def _names(layer: Layer) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the names of a layer's own arrays, None where only the caller knows the layer."""
    if layer.keras_version.startswith(("0", "1")) and (names := keras1_arrays(layer)):
        return names, ()
    found = find_rule(layer)
    return None if found is None else found.names(layer)


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


def _count_error(layer: Layer, names: list[str], count: int) -> ConversionError:
    wanted = f"{len(names)} arrays ({', '.join(names)})" if names else "no arrays"
    return ConversionError(
        f"layer {layer.name!r} ({layer.kind}) should have {wanted}, but the file holds {count} for it"
    )


def snake_case(name: str) -> str:
    """Return a class name as Keras writes it in paths: `MaxPooling2D` -> `max_pooling2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}  # public names that are not those of the classes


class _Archive:
    """The arrays of a `.keras` archive, found by the path of attributes that leads to them."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = {path.replace("\\", "/"): array for path, array in arrays.items()}
        self.groups: dict[str, dict[int, Array]] = {}  # "layers/dense/vars/" -> {0: kernel, 1: bias}
        self.prefixes: set[str] = set()
        self.seen: dict[str, Layer] = {}
        for path, array in self.arrays.items():
            group, _, name = path.rpartition("/")
            if name.isdigit():
                self.groups.setdefault(f"{group}/", {})[int(name)] = array
            parts = group.split("/")
            self.prefixes |= {"/".join(parts[: count + 1]) + "/" for count in range(len(parts))}

    def hand_out(self, network: Network, prefix: str) -> None:
        """Fill the layers of a network whose group is `prefix`."""
        container = (
            "_layer_checkpoint_dependencies/" if self._has(f"{prefix}_layer_checkpoint_dependencies/") else "layers/"
        )
        used: dict[str, int] = {}
        for layer in network.layers.values():
            if layer.is_operation or layer.get("implied") or (network.is_sequential and layer.kind == "InputLayer"):
                continue
            kind = snake_case(_CLASSES.get(layer.kind, layer.kind))
            number = used.get(kind, 0)
            group = f"{prefix}{container}{kind}{f'_{number}' if number else ''}/"
            # Keras 2.13 and 2.14 list a layer that has weights twice, and count both
            used[kind] = number + (2 if container != "layers/" and self._has_weights(layer, group) else 1)
            self._fill(layer, group)

    def _has_weights(self, layer: Layer, group: str) -> bool:
        return any(_slots(layer)) or self._has(group)

    def _has(self, prefix: str) -> bool:
        return prefix in self.prefixes

    def _fill(self, layer: Layer, prefix: str) -> None:
        if layer.network is not None:
            self.hand_out(layer.network, prefix)
            return
        for key, child in layer.children.items():
            self._fill(child, prefix + _child_group(layer, key))
        names = _names(layer)
        if names is None:
            layer.weights = {
                path[len(prefix) :]: array for path, array in self.arrays.items() if path.startswith(prefix)
            }
            return
        wanted = names[0] + names[1]
        found = self._own(layer, prefix)
        if not found and wanted and layer.name in self.seen:  # a layer that two models share is written once
            layer.weights = self.seen[layer.name].weights
            return
        if layer.children:  # a wrapper may list arrays of the layer inside it before its own
            found = found[max(0, len(found) - len(wanted)) :]
        if len(found) != len(wanted):
            raise _count_error(layer, list(wanted), len(found))
        layer.weights = dict(zip(wanted, found, strict=True))
        self.seen[layer.name] = layer

    def _own(self, layer: Layer, prefix: str) -> list[Array]:
        found = self._vars(prefix)
        rule = find_rule(layer)
        for part in rule.parts if rule else ():
            found += self._vars(f"{prefix}{part}/") or self._vars(f"{prefix}_{part}/")
        return found

    def _vars(self, prefix: str) -> list[Array]:
        group = self.groups.get(f"{prefix}vars/", {})
        return [group[index] for index in sorted(group)]


def _child_group(layer: Layer, key: str) -> str:
    if layer.kind == "Bidirectional":
        return {"layer": "forward_layer/", "backward_layer": "backward_layer/"}[key]
    if key.startswith("cells/"):
        index = int(key.partition("/")[2])
        cells = [snake_case(child.kind) for child in layer.children.values()]
        count = cells[:index].count(cells[index])
        return f"cells/{cells[index]}{f'_{count}' if count else ''}/"
    return f"{key}/"
