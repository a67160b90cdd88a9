"""The registry of rules: what a layer of each Keras kind becomes.

A rule is a function `(layer, site) -> Built`: it gets a layer and the call for which it is built (`Site`), and returns
a module. Where Keras has channels last, images run through the converted network with channels first. A rule's `order`
says in which order of axes the layer takes its inputs:

- `as_keras` (the default): exactly Keras's axes, whatever the layers before it use;
- `images`: channels first, if the layer works on images or volumes and its `data_format` is channels_last;
- `keep`: any order, and the output has the order of the input; `Site.axis` translates Keras's axes;
- `take`: any order; the rule says which order the output has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.exceptions import UnsupportedLayerError


class Order(NamedTuple):
    """Keras's axes, of which the last one, the channels, is moved to index `at`; there are `rank` axes.

    `Order(4, 1)` is (n, channels, height, width) for Keras's (n, height, width, channels).
    """

    rank: int
    at: int


class Out(NamedTuple):
    """One output of a layer: its order of axes (None: Keras's own) and its rank, where that is known."""

    order: Order | None
    rank: int | None


@dataclass
class Site:
    """The call for which a layer is built.

    `orders`, `ranks` and `masked` have one entry for each input: its order of axes (None: Keras's own), its rank where
    that is known, and whether it has a mask; `order` is that of the first input. `args` and `kwargs` are the call's
    arguments, with `TensorArgument(i)` for the i-th input. `build` builds a layer inside this one. `used` is how many
    of the layer's outputs the network refers to.
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
        """An output with the order of axes and the rank of the first input."""
        return Out(self.order, self.rank)

    def axis(self, axis: int) -> int:
        """Return the axis of the module's input that is Keras's `axis`."""
        if self.order is None:
            return axis
        last = self.order.rank - 1
        axis %= self.order.rank
        if axis == last:
            return self.order.at
        # Axes behind the channels' new index have moved by one.
        return axis + 1 if axis >= self.order.at else axis


@dataclass
class Built:
    """A layer's module, the axes of its outputs, and what happens to masks.

    `outs` is a tuple where the module returns a tuple. `mask` says which mask the output has: none, that of the first
    input, or all of them merged by `merge_masks`. `make_mask` and `join_masks` are functions with their last arguments:
    the first makes a new mask from the input, the second one from all inputs and all masks. With `takes_mask` the
    module's `forward` gets `mask=`; with `takes_masks` it gets `masks=`, one or None for each input.
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


def as_keras(layer: Layer, given: Order | None) -> Order | None:  # noqa: ARG001 - the signature of all of them
    """Take Keras's own order."""
    return None


def keep(layer: Layer, given: Order | None) -> Order | None:  # noqa: ARG001
    """Take any order; the output has the order of the input."""
    return given


def take(layer: Layer, given: Order | None) -> Order | None:  # noqa: ARG001
    """Take any order; the output has another one."""
    return given


def images(layer: Layer, given: Order | None) -> Order | None:  # noqa: ARG001
    """Take channels first, for images and volumes with channels last in Keras.

    Sequences keep Keras's axes, and so do layers whose `data_format` is channels_first.
    """
    rank = spatial_rank(layer)
    if rank == 1 or layer.get("data_format") == "channels_first":
        return None
    return Order(rank + 2, 1)


def spatial_rank(layer: Layer) -> int:
    """Return how many axes besides batch and channels a layer works on: 3 for a `Conv3D`, 2 where no number says it."""
    found = re.search(r"([123])D", layer.kind)
    return int(found[1]) if found else 2


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
        return selected_names(self.weights, layer), selected_names(self.state, layer)


def selected_names(spec: Names, layer: Layer) -> tuple[str, ...]:
    """Return the names of a specification that count for a layer: `name:option` only where its option is on."""
    if callable(spec):
        return spec(layer)
    names = []
    for entry in spec:
        name, _, option = entry.partition(":")
        if not option or layer.config.get(option, True):
            names.append(name)
    return tuple(names)


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
    """Return the error for a layer whose options its rule does not support."""
    return UnsupportedLayerError(f"{layer.name} ({layer.kind}): {why}")
