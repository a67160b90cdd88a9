"""Arrays of a `.keras` archive -> the layers of its network.

An archive keeps the arrays of a layer in a group that is named after the layer's class and a counter, never after the
layer: `layers/dense_1/vars/0`. Which layer `dense_1` is follows from the order of the layers and from how the version
of Keras that wrote the file counts (`Naming`). An assignment counts only if it is complete: every layer finds its
arrays, every group has its layer, and the layer names that Keras 3.6 and later write beside the groups agree.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.archive_groups import Groups
from torchviz_layers.convert.keras_files.expected_arrays import (
    NOT_BUILT,
    all_layers,
    array_names,
    count_error,
    leaves_of,
    own_array_names,
)
from torchviz_layers.convert.keras_files.records import KerasFile, Layer, Network
from torchviz_layers.convert.keras_files.sharing import SharedLayers, share
from torchviz_layers.convert.registry import find_rule
from torchviz_layers.exceptions import ConversionError

_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}  # public names that are not those of the classes


class Naming(NamedTuple):
    """How a version of Keras names the groups of a model's layers.

    `container` is the attribute of a model under which its layers are written. With `counts_twice` a layer that has
    arrays takes two numbers: the container lists it twice. With `skips_written` a layer that another model or an
    earlier call has already written takes no number; otherwise it takes one, and its group stays out of the file.
    """

    container: str
    counts_twice: bool
    skips_written: bool


_KERAS_2_12 = Naming("_layer_checkpoint_dependencies", counts_twice=True, skips_written=False)
_KERAS_2_14 = Naming("_layer_checkpoint_dependencies", counts_twice=False, skips_written=True)
_KERAS_2_15 = Naming("layers", counts_twice=False, skips_written=True)
_KERAS_3 = Naming("layers", counts_twice=False, skips_written=False)


def assign_from_archive(file: KerasFile, network: Network) -> None:
    """Set the `weights` of every layer of `network`, nested ones included.

    Raises
    ------
    ConversionError
        A layer lacks its arrays, or a group belongs to no layer, in the naming of the file's version.
    """
    groups, naming = Groups(file), _naming(file.keras_version)
    # Which layers share their arrays is not always clear: try one assumption, then the other. Both working is an error.
    first = _Assignment(groups, naming, network, unmarked_originals=True)
    try:
        first.run()
    except ConversionError:
        if not first.shared.assumed:
            raise
        _Assignment(groups, naming, network, unmarked_originals=False).run()
        return
    if first.shared.assumed:
        _refuse_two_ways(groups, naming, network)


def _naming(version: str) -> Naming:
    major, minor = (int(number) for number in [*re.findall(r"\d+", version), "0", "0"][:2])
    if major >= 3:
        return _KERAS_3
    if minor >= 15:
        return _KERAS_2_15
    return _KERAS_2_14 if minor == 14 else _KERAS_2_12


def snake_case(name: str) -> str:
    """Return a class name as Keras writes it in paths: `MaxPooling2D` -> `max_pooling2d`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class _Assignment:
    """One walk through a network and the groups of its file, in the order in which Keras wrote them."""

    def __init__(self, groups: Groups, naming: Naming, network: Network, *, unmarked_originals: bool) -> None:
        self.groups = groups
        self.naming = naming
        self.network = network
        self.shared = SharedLayers(network, unmarked_originals)
        self.claimed: set[str] = set()
        self.containers: set[str] = set()

    def run(self) -> None:
        """Assign all arrays, and check that every group of the file belongs to a layer."""
        self._assign_network(self.network, "")
        for prefix in sorted(self.containers):
            for group in self.groups.children(prefix):
                if group not in self.claimed:
                    raise ConversionError(
                        f"group {group.rstrip('/')!r} holds arrays, but no layer's: Keras {self.groups.version} "
                        f"would not name a group of this model so.{_ADVICE}"
                    )

    def _assign_network(self, network: Network, prefix: str) -> None:
        """Assign the arrays of a model whose group is `prefix`."""
        container = f"{prefix}{self.naming.container}/"
        self.containers.add(container)
        numbers: dict[str, int] = {}
        for layer in network.layers.values():
            if layer.is_operation or layer.get("implied") or (network.is_sequential and layer.kind == "InputLayer"):
                continue
            if self.naming.skips_written and (original := self.shared.original(layer)):
                share(layer, original)
                continue
            # dense, dense_1, dense_2: numbered by class, in the order of the layers
            kind = snake_case(_CLASSES.get(layer.kind, layer.kind))
            number = numbers.get(kind, 0)
            group = f"{container}{_numbered(kind, number)}/"
            self.claimed.add(group)
            self._assign(layer, group)
            takes_two = self.naming.counts_twice and _has_weights(layer)
            numbers[kind] = number + (2 if takes_two else 1)

    def _assign(self, layer: Layer, prefix: str) -> None:
        """Assign the arrays of a layer whose group is `prefix`, and those of the layers in it."""
        original = self.shared.original(layer, has_group=prefix in self.groups.prefixes)
        if original is not None:
            share(layer, original)
            return
        self.shared.add(layer)
        self._check_name(layer, prefix)
        if layer.network is not None:
            self._assign_network(layer.network, prefix)
            return
        for key, child in layer.children.items():
            self._assign(child, prefix + _child_group(layer, key))
        names = array_names(layer)
        if names is None:
            layer.weights = self.groups.below(prefix)
            return
        wanted = names[0] + names[1]
        found = self._own(layer, prefix)
        if layer.children:  # a wrapper may list arrays of the layer inside it before its own
            found = found[max(0, len(found) - len(wanted)) :]
        if len(found) != len(wanted):
            raise self._mismatch(layer, prefix, wanted, len(found))
        layer.weights = dict(zip(wanted, found, strict=True))

    def _own(self, layer: Layer, prefix: str) -> list[Array]:
        found = self.groups.variables(prefix)
        rule = find_rule(layer)
        for part in rule.parts if rule else ():
            found += self.groups.variables(f"{prefix}{part}/") or self.groups.variables(f"{prefix}_{part}/")
        return found

    def _check_name(self, layer: Layer, prefix: str) -> None:
        """Refuse a group that the file itself gives to another layer; names inside wrappers may differ."""
        name = self.groups.names.get(f"{prefix}vars")
        if prefix in self.claimed and name is not None and name != layer.name:
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}) should be in group {prefix.rstrip('/')!r}, "
                f"but the file says that this group is of layer {name!r}.{_ADVICE}"
            )

    def _mismatch(self, layer: Layer, prefix: str, wanted: tuple[str, ...], count: int) -> ConversionError:
        """Return the error for a layer with another number of arrays in its group."""
        groups = self._top_groups()
        if not groups:
            return ConversionError(f"{count_error(layer, wanted, count)}{NOT_BUILT}")
        inside = tuple(self.containers)
        others = [group for group in groups if not group.startswith(inside)]
        listed = f"; groups outside the models' layers: {', '.join(others[:12])}" if others else ""
        where = f" in group {prefix.rstrip('/')!r}, where Keras {self.groups.version} writes it{listed}.{_ADVICE}"
        return ConversionError(f"{count_error(layer, wanted, count)}{where}")

    def _top_groups(self) -> list[str]:
        found = {path.rpartition("/vars/")[0] for path in self.groups.arrays if "/vars/" in path}
        return sorted(found - {"optimizer", "metrics"})


_ADVICE = (
    " If the model keeps layers as attributes (model.head = layer), a .keras file may not say which they are: "
    "save it with model.save('model.h5') where it was made"
)


def _refuse_two_ways(groups: Groups, naming: Naming, network: Network) -> None:
    """Raise if the file can also be read as one whose layers share other arrays."""
    found = [dict(leaf.weights) for leaf in all_layers(network)]
    second = _Assignment(groups, naming, network, unmarked_originals=False)
    try:
        second.run()
    except ConversionError:
        second_found = found
    else:
        second_found = [dict(leaf.weights) for leaf in all_layers(network)]
    for leaf, arrays, others in zip(all_layers(network), found, second_found, strict=True):
        if any(others.get(name) is not array for name, array in arrays.items()):
            raise ConversionError(
                f"layer {leaf.name!r} ({leaf.kind}): the file does not say whether it shares the arrays of an earlier "
                "layer of this name. Give the layers names of their own in Keras and save the model again"
            )
        leaf.weights = arrays


def _has_weights(layer: Layer) -> bool:
    """Return whether a layer whose arrays are assigned has any."""
    return any(leaf.weights for leaf in leaves_of(layer)) or any(map(own_array_names, leaves_of(layer)))


def _child_group(layer: Layer, key: str) -> str:
    """Return the group of a layer inside a wrapper, below the wrapper's."""
    if layer.kind == "Bidirectional":
        return {"layer": "forward_layer/", "backward_layer": "backward_layer/"}[key]
    if key.startswith("cells/"):
        index = int(key.partition("/")[2])
        cells = [snake_case(child.kind) for child in layer.children.values()]
        return f"cells/{_numbered(cells[index], cells[:index].count(cells[index]))}/"
    return f"{key}/"


def _numbered(name: str, number: int) -> str:
    """Return the name of the group with a number; the first one has none."""
    return f"{name}_{number}" if number else name
