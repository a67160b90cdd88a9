"""The order in which Keras lists the arrays of a model or layer in an `.h5` file: trainable ones, then the others.

Which arrays are trainable is decided by the flag of each part: a model, a layer, a projection of an attention layer, a
half of a Bidirectional one. `model.trainable = False` sets the flags of all parts, and each may be set again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.keras_files.slots import array_names
from torchviz_layers.convert.registry import find_rule

_MAX_UNKNOWN = 8  # parts of one layer, or models, whose flags are tried in all combinations
_MAX_WORK = 20_000_000  # arrays that may be put in order to find them


@dataclass(frozen=True, eq=False)
class Slot:
    """One array that a layer should have.

    `site` is the layer of a model that holds it: the layer itself, or the wrapper around it. `parts` name the halves
    and projections that lead from the site to the array.
    """

    layer: Layer
    name: str
    site: Layer
    parts: tuple[str, ...]


@dataclass(eq=False)
class Unit:
    """A part of a model that has a flag of its own. `is_known` says whether the file's configuration holds the flag."""

    site: Layer
    trainable: bool
    is_network: bool = False
    is_known: bool = True
    weights: list[Slot] = field(default_factory=list)
    state: list[Slot] = field(default_factory=list)
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

    def order(self) -> list[Slot]:
        """Return all arrays in the order of the file."""
        if self.site.major >= 3:
            return self._order_of_keras3()
        trainable, others = self._split_of_keras2()
        return trainable + others

    def _split_of_keras2(self) -> tuple[list[Slot], list[Slot]]:
        """Return the trainable arrays and the others, as the properties of Keras 1 and 2 compose them.

        A frozen layer lists everything part by part. A frozen model has no trainable arrays for the model around it,
        but still lists those of its trainable layers first.
        """
        splits = [child._split_of_keras2() for child in self.children]
        trainable = self.weights + [slot for split in splits for slot in split[0]]
        others = self.state + [slot for split in splits for slot in split[1]]
        if self.trainable:
            return trainable, others
        if self.is_network:
            return [], trainable + others
        return [], self.weights + self.state + [slot for split in splits for slot in (*split[0], *split[1])]

    def _order_of_keras3(self) -> list[Slot]:
        """Return the arrays with a flag of their own first; a frozen model or layer lists everything part by part."""
        flags = dict(self._flags())
        if not self.trainable:
            return list(flags)
        return [slot for slot in flags if flags[slot]] + [slot for slot in flags if not flags[slot]]

    def _flags(self) -> Iterator[tuple[Slot, bool]]:
        yield from ((slot, self.trainable) for slot in self.weights)
        yield from ((slot, False) for slot in self.state)
        for child in self.children:
            yield from child._flags()


def unit_of(layer: Layer, site: Layer | None = None, parts: tuple[str, ...] = ()) -> Unit:
    """Return the unit of a layer with those inside it; the flags are those of the configuration."""
    if layer.network is not None:
        inner = [unit_of(child) for child in layer.network.layers.values()]
        is_known = "trainable" in layer.config
        return Unit(layer, layer.network.trainable, is_network=True, is_known=is_known, children=inner)
    site = site or layer
    unit = Unit(site, bool(layer.config.get("trainable", True)))
    weights, state = array_names(layer) or ((), ())
    unit.state = [Slot(layer, name, site, parts) for name in state]
    rule = find_rule(layer)
    projections = [part.removesuffix("_dense") for part in rule.parts if part.endswith("_dense")] if rule else []
    for projection in projections:
        names = [name for name in weights if name.startswith(f"{projection}_")]
        slots = [Slot(layer, name, site, (*parts, projection)) for name in names]
        unit.children.append(Unit(site, unit.trainable, is_known=False, weights=slots))
    if not projections:
        unit.weights = [Slot(layer, name, site, parts) for name in weights]
    for key, child in layer.children.items():
        unit.children.append(_child_unit(layer, key, child, site, parts))
    return unit


def _child_unit(layer: Layer, key: str, child: Layer, site: Layer, parts: tuple[str, ...]) -> Unit:
    if layer.kind == "Bidirectional":  # Keras 2 saves the flags of the layer that both halves were copied from
        half = {"layer": "forward", "backward_layer": "backward"}[key]
        unit = unit_of(child, site, (*parts, half))
        unit.is_known = False
        return unit
    return unit_of(child, site, (*parts, child.name) if key.startswith("cells/") else parts)


def explain(unit: Unit, order: list[Slot]) -> bool:
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


def _explain_layers(unit: Unit, order: list[Slot], trials: Iterator[int]) -> bool:
    """Set the flags of parts of layers, one layer after the other.

    The parts of one layer do not change the order of any other two arrays, so each layer is compared apart, together
    with the layers whose flags are all known.
    """
    unknown: dict[int, list[Unit]] = {}
    for inner in unit.walk():
        if not inner.is_network and not inner.is_known:
            unknown.setdefault(id(inner.site), []).append(inner)
    for site, units in unknown.items():
        if len(units) > _MAX_UNKNOWN:
            return False
        compared = [slot for slot in order if id(slot.site) == site or id(slot.site) not in unknown]
        if not _explain_layer(unit, units, compared, trials):
            return False
    return unit.order() == order


def _explain_layer(unit: Unit, units: list[Unit], compared: list[Slot], trials: Iterator[int]) -> bool:
    """Set the flags of these parts of one layer such that the compared arrays have their order."""
    known = set(compared)
    for flags in product((True, False), repeat=len(units)):
        if next(trials, None) is None:
            return False
        for inner, flag in zip(units, flags, strict=True):
            inner.set_trainable(flag)
        if [slot for slot in unit.order() if slot in known] == compared:
            return True
    return False
