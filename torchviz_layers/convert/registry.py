"""The registry of rules: what a layer of each Keras kind becomes.

A rule is a function `(layer, site) -> Built`. It is told where the layer stands (`Site`) and answers with a module.
Where Keras has channels last, images run through the converted network with channels first; the rule's `order` says
what order of axes the layer wants:

- `as_keras` (the default): exactly Keras's axes, whatever runs in front;
- `images(rank)`: channels first, if the layer's `data_format` is channels_last;
- `keep`: whatever comes, and the output lies as the input; the rule asks the site where an axis lies;
- `take`: whatever comes; the output lies as the rule says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.exceptions import UnsupportedLayerError


class Order(NamedTuple):
    """Keras's axes with the last one, the channels, moved to place `at`, among `rank` axes."""

    rank: int
    at: int


class Out(NamedTuple):
    """One output of a layer: its order of axes (None: Keras's own) and its rank, where that is known."""

    order: Order | None
    rank: int | None


@dataclass
class Site:
    """Where a layer stands: how its inputs lie, which arguments it gets, which of them carry a mask.

    `args` and `kwargs` are the call's, with `Slot(i)` in place of the i-th tensor. `build` builds a layer inside it.
    `used` is how many of the layer's outputs the network refers to.
    """

    order: Order | None
    orders: tuple[Order | None, ...]
    ranks: tuple[int | None, ...]
    masked: tuple[bool, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    build: Callable[[Layer, Site], Built]
    used: int = 1

    @property
    def rank(self) -> int | None:
        """The rank of the first input."""
        return self.ranks[0] if self.ranks else None

    @property
    def same(self) -> Out:
        """An output that lies as the input does."""
        return Out(self.order, self.rank)

    def axis(self, axis: int) -> int:
        """Return where Keras's `axis` lies in what the module gets."""
        if self.order is None:
            return axis
        last = self.order.rank - 1
        axis %= self.order.rank
        if axis == last:
            return self.order.at
        return axis + 1 if axis >= self.order.at else axis


class Slot(NamedTuple):
    """Stands for the i-th tensor among a call's arguments."""

    place: int


@dataclass
class Built:
    """A layer's module, how its outputs lie, and what happens to masks.

    `outs` is a tuple where the module returns a tuple. `mask` is what becomes of the inputs' masks: dropped, the
    first one passed on, or all of them merged by `merge_masks`; `make_mask` makes a new one from the input, and
    `join_masks` one from all inputs and all masks. With `takes_mask` the module's `forward` gets `mask=`; with
    `takes_masks`, `masks=`, one or None for each input.
    """

    module: nn.Module
    outs: Out | tuple[Out, ...]
    mask: Literal["drop", "pass", "merge"] = "drop"
    make_mask: tuple[Callable[..., Tensor], tuple[Any, ...]] | None = None
    merge_masks: Callable[..., Tensor] = torch.logical_and
    join_masks: tuple[Callable[..., Tensor], tuple[Any, ...]] | None = None
    takes_mask: bool = False
    takes_masks: bool = False


OrderOf = Callable[[Layer, Order | None], Order | None]
Names = tuple[str, ...] | Callable[[Layer], tuple[str, ...]]


def as_keras(layer: Layer, comes: Order | None) -> Order | None:  # noqa: ARG001 - the signature of all of them
    """Want Keras's own order."""
    return None


def keep(layer: Layer, comes: Order | None) -> Order | None:  # noqa: ARG001
    """Take whatever comes; the output lies as the input."""
    return comes


def take(layer: Layer, comes: Order | None) -> Order | None:  # noqa: ARG001
    """Take whatever comes; the output lies otherwise."""
    return comes


def images(rank: int) -> OrderOf:
    """Return the order for a layer on images or volumes of `rank` axes, batch and channels included."""

    def order(layer: Layer, comes: Order | None) -> Order | None:  # noqa: ARG001
        return None if layer.get("data_format") == "channels_first" else Order(rank, 1)

    return order


@dataclass(frozen=True)
class Rule:
    """How layers of some kinds are converted.

    `weights` and `state` name the layer's trainable and other arrays in Keras's order; `name:option` counts only
    where the option is on. `parts` are the groups inside a layer's group in which a `.keras` archive keeps its
    arrays.
    """

    kinds: tuple[str, ...]
    build: Callable[[Layer, Site], Built]
    weights: Names
    state: Names
    parts: tuple[str, ...]
    order: OrderOf

    def names(self, layer: Layer) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the trainable and of the other arrays of `layer`."""
        return _names(self.weights, layer), _names(self.state, layer)


def _names(spec: Names, layer: Layer) -> tuple[str, ...]:
    if callable(spec):
        return spec(layer)
    split = (entry.partition(":") for entry in spec)
    return tuple(name for name, _, option in split if not option or layer.config.get(option, True))


_RULES: dict[str, Rule] = {}


def rule(
    *kinds: str, weights: Names = (), state: Names = (), parts: tuple[str, ...] = (), order: OrderOf = as_keras
) -> Callable[[Callable[[Layer, Site], Built]], Callable[[Layer, Site], Built]]:
    """Register a function as the rule for Keras layers of the given kinds; a kind has one rule."""

    def register(build: Callable[[Layer, Site], Built]) -> Callable[[Layer, Site], Built]:
        entry = Rule(kinds, build, weights, state, parts, order)
        for kind in kinds:
            if kind in _RULES:
                raise ValueError(f"{kind}: {_RULES[kind].build.__name__} is its rule already")
            _RULES[kind] = entry
        return build

    return register


def operation_key(kind: str) -> str:
    """Return the registry's key for a function of `keras.ops`: some have names of layers."""
    return f"ops.{kind}"


def find_rule(layer: Layer) -> Rule | None:
    """Return the rule for a layer, or None."""
    if layer.is_operation:
        return _RULES.get(operation_key(layer.kind)) or _RULES[operation_key("*")]
    return _RULES.get(layer.kind)


def all_rules() -> Iterator[Rule]:
    """Yield every rule once, in the order of their modules."""
    yield from {id(entry): entry for entry in _RULES.values()}.values()


def refuse(layer: Layer, why: str) -> UnsupportedLayerError:
    """Return the error for a layer whose options are beyond its rule."""
    return UnsupportedLayerError(f"{layer.name} ({layer.kind}): {why}")
