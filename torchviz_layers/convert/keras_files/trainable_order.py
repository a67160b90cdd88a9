"""The order in which Keras lists the arrays of a model or layer in an `.h5` file: trainable ones, then the others.

Which arrays are trainable is decided by the flag of each part: a model, a layer, a projection of an attention layer, a
half of a Bidirectional one. `model.trainable = False` sets the flags of all parts, and each may be set again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from torchviz_layers.convert.keras_files.expected_arrays import array_names
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.registry import find_rule

_MAX_UNKNOWN = 8  # parts of one layer, or models, whose flags are tried in all combinations
_MAX_WORK = 20_000_000  # arrays that may be put in order during that search


@dataclass(frozen=True, eq=False)
class ExpectedArray:
    """One array that a layer should have.

    `owner` is the layer of a model that holds it: the layer itself, or the wrapper around it. `parts` name the halves
    and projections that lead from the owner to the array.
    """

    layer: Layer
    name: str
    owner: Layer
    parts: tuple[str, ...]


@dataclass(eq=False)
class Unit:
    """A part of a model with a `trainable` flag of its own: a model, a layer, a projection or half of a layer.

    `weights` and `state` are its own arrays, trainable ones and others. `is_known` says whether the file's
    configuration holds the flag.
    """

    owner: Layer
    trainable: bool
    is_network: bool = False
    is_known: bool = True
    weights: list[ExpectedArray] = field(default_factory=list)
    state: list[ExpectedArray] = field(default_factory=list)
    children: list[Unit] = field(default_factory=list)

    def walk(self) -> Iterator[Unit]:
        """Yield the unit and those inside it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def set_trainable(self, value: bool) -> None:
        """Set the flag as Keras does: those of the parts inside change too."""
        for unit in self.walk():
            unit.trainable = value

    def order(self) -> list[ExpectedArray]:
        """Return all arrays in the order of the file."""
        if self.owner.major >= 3:
            return self._order_of_keras3()
        trainable, others = self._split_of_keras2()
        return trainable + others

    def _split_of_keras2(self) -> tuple[list[ExpectedArray], list[ExpectedArray]]:
        """Return the trainable arrays and the others, as the properties of Keras 1 and 2 compose them.

        A frozen layer lists everything part by part. A frozen model has no trainable arrays for the model around it,
        but still lists those of its trainable layers first.
        """
        trainable, others = list(self.weights), list(self.state)
        part_by_part = self.weights + self.state
        for child in self.children:
            child_trainable, child_others = child._split_of_keras2()
            trainable += child_trainable
            others += child_others
            part_by_part += child_trainable + child_others
        if self.trainable:
            return trainable, others
        if self.is_network:
            return [], trainable + others
        return [], part_by_part

    def _order_of_keras3(self) -> list[ExpectedArray]:
        """Return the arrays with a flag of their own first; a frozen model or layer lists everything part by part."""
        flags = dict(self._flags())  # array -> whether it is trainable, part by part
        arrays = list(flags)
        if self.trainable:
            arrays.sort(key=lambda array: not flags[array])  # stable: each half stays part by part
        return arrays

    def _flags(self) -> Iterator[tuple[ExpectedArray, bool]]:
        for array in self.weights:
            yield array, self.trainable
        for array in self.state:
            yield array, False
        for child in self.children:
            yield from child._flags()


def unit_of(layer: Layer, owner: Layer | None = None, parts: tuple[str, ...] = ()) -> Unit:
    """Return the unit of a layer with those inside it; the flags are those of the configuration."""
    if layer.network is not None:
        inner = [unit_of(child) for child in layer.network.layers.values()]
        is_known = "trainable" in layer.config
        return Unit(layer, layer.network.trainable, is_network=True, is_known=is_known, children=inner)
    owner = owner or layer
    unit = Unit(owner, bool(layer.config.get("trainable", True)))
    weights, state = array_names(layer) or ((), ())
    unit.state = [ExpectedArray(layer, name, owner, parts) for name in state]
    rule = find_rule(layer)
    # In attention layers each projection is a layer of its own, whose flag is not saved.
    groups = rule.parts if rule else ()
    projections = [group.removesuffix("_dense") for group in groups if group.endswith("_dense")]
    for projection in projections:
        names = [name for name in weights if name.startswith(f"{projection}_")]
        arrays = [ExpectedArray(layer, name, owner, (*parts, projection)) for name in names]
        unit.children.append(Unit(owner, unit.trainable, is_known=False, weights=arrays))
    if not projections:
        unit.weights = [ExpectedArray(layer, name, owner, parts) for name in weights]
    for key, child in layer.children.items():
        unit.children.append(_child_unit(layer, key, child, owner, parts))
    return unit


def _child_unit(layer: Layer, key: str, child: Layer, owner: Layer, parts: tuple[str, ...]) -> Unit:
    if layer.kind == "Bidirectional":  # Keras 2 saves the flags of the layer that both halves were copied from
        half = {"layer": "forward", "backward_layer": "backward"}[key]
        unit = unit_of(child, owner, (*parts, half))
        unit.is_known = False
        return unit
    return unit_of(child, owner, (*parts, child.name) if key.startswith("cells/") else parts)


def explain(unit: Unit, order: list[ExpectedArray]) -> bool:
    """Set the flags that the configuration lacks such that `unit.order()` is `order`; False if none do."""
    models = [inner for inner in unit.walk() if inner.is_network and not inner.is_known and inner is not unit]
    if len(models) > _MAX_UNKNOWN:
        return False
    trials = iter(range(_MAX_WORK // (len(order) + 1)))  # a hostile file must not keep the search busy for long
    for flags in product((True, False), repeat=len(models)):
        for model, flag in zip(models, flags, strict=True):
            model.trainable = flag
        if _explain_layers(unit, order, trials):
            return True
    return False


def _explain_layers(unit: Unit, order: list[ExpectedArray], trials: Iterator[int]) -> bool:
    """Set the flags of parts of layers, one layer after the other.

    The parts of one layer do not change the order of any other two arrays, so each layer is compared alone, together
    with the layers whose flags are all known.
    """
    unknown: dict[int, list[Unit]] = {}
    for inner in unit.walk():
        if not inner.is_network and not inner.is_known:
            unknown.setdefault(id(inner.owner), []).append(inner)
    for owner, units in unknown.items():
        if len(units) > _MAX_UNKNOWN:
            return False
        compared = [array for array in order if id(array.owner) == owner or id(array.owner) not in unknown]
        if not _explain_layer(unit, units, compared, trials):
            return False
    return unit.order() == order


def _explain_layer(unit: Unit, units: list[Unit], compared: list[ExpectedArray], trials: Iterator[int]) -> bool:
    """Set the flags of these parts of one layer such that the compared arrays have their order."""
    known = set(compared)
    for flags in product((True, False), repeat=len(units)):
        if next(trials, None) is None:
            return False
        for inner, flag in zip(units, flags, strict=True):
            inner.set_trainable(flag)
        found = [array for array in unit.order() if array in known]
        if found == compared:
            return True
    return False
