"""The choice of layers: by name, glob, regular expression, type, module, index or function."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from torch import nn

from torchviz_layers._common.selectors import NUMBERS_ARE_NAMES, is_misleading_number, position_of
from torchviz_layers.exceptions import CaptureError, UnknownLayerError
from torchviz_layers.hooks.modules import ModuleTree, Node, call_key, spell, unwrapped_child

OneSelector: TypeAlias = str | int | re.Pattern[str] | type[nn.Module] | nn.Module | Callable[[str, nn.Module], bool]
Selector: TypeAlias = OneSelector | Sequence[OneSelector]


@dataclass
class Selection:
    """Which calls of which modules are wanted."""

    leaves: bool = False
    """Every module that ran without running another one."""
    nodes: dict[Node, str] = field(default_factory=dict)
    """Chosen modules, with the name that their calls are recorded under."""
    calls: dict[Node, set[int]] = field(default_factory=dict)
    """Of modules chosen by a name such as `relu:1`, the chosen calls. Of all others every call is wanted."""
    positions: tuple[int, ...] = ()
    """Indices into the layers in order of execution, known after a forward pass."""
    exact: set[Node] = field(default_factory=set)
    """Modules chosen one by one rather than by a pattern: it is an error if they don't run."""

    def key(self, node: Node, call: int, *, leaf: bool) -> str | None:
        """Return the name of this call, or None if it is not wanted."""
        name = self.nodes.get(node)
        if name is None:
            if not (self.leaves and leaf):
                return None
            name = node.name
        if node in self.calls and call not in self.calls[node]:
            return None
        return call_key(name, call)

    def may_want(self, node: Node) -> bool:
        """Whether a call of `node` may turn out to be wanted, before it has run."""
        return node in self.nodes or ((self.leaves or bool(self.positions)) and not node.hidden)

    def at(self, order: Sequence[Node]) -> Selection:
        """Return the selection with its positions looked up in `order`, the layers as they ran."""
        nodes = dict(self.nodes)
        for position in self.positions:
            node = look_up(order, position)
            nodes.setdefault(node, node.name)
        return Selection(self.leaves, nodes, self.calls, (), self.exact)


def look_up(order: Sequence[Node], position: int) -> Node:
    """Return the layer at `position` in order of execution."""
    if not -len(order) <= position < len(order):
        raise UnknownLayerError(f"layers: index {position} is out of range, {len(order)} layers ran")
    return order[position]


def select(tree: ModuleTree, layers: Selector | None) -> Selection:
    """Resolve `layers`; raise `UnknownLayerError` for a selector that matches nothing."""
    if layers is None:
        return Selection(leaves=True)
    selection = Selection()
    positions: list[int] = []
    is_one = isinstance(layers, str | int | re.Pattern | nn.Module) or callable(layers)
    if not is_one and not isinstance(layers, Iterable):
        raise UnknownLayerError(f"layers={layers!r}: names, globs or indices of layers, layers=['fc', -1] say")
    selectors = cast("Sequence[OneSelector]", [layers] if is_one else layers)
    names = _names(tree)
    for wanted in selectors:
        # "-1" is an index too, unless a layer has that name.
        position = position_of(wanted, names) if isinstance(wanted, str) else wanted
        if isinstance(position, int) and not isinstance(position, bool):
            positions.append(position)
        elif isinstance(wanted, nn.Module):
            _add_module(selection, tree, wanted)
        elif not (isinstance(wanted, str) and _add_name(selection, tree, wanted)):
            _add_matches(selection, tree, wanted)
    selection.positions = tuple(positions)
    if not selection.nodes and not positions:
        raise UnknownLayerError("layers: the list is empty; leave `layers` out to take every layer")
    return selection


def _names(tree: ModuleTree) -> set[str]:
    return {name for node in tree for name in node.names}


def _add_name(selection: Selection, tree: ModuleTree, wanted: str) -> bool:
    """Add the module, or the one call of it, that a name means; return whether there is a module of that name."""
    found = tree.find(wanted)
    if found is None:
        return False
    node, name, call = found
    # "relu" and "relu:1" together mean every call of relu.
    has_all_calls = node in selection.nodes and node not in selection.calls
    selection.nodes.setdefault(node, name)
    selection.exact.add(node)
    if call is None:
        selection.calls.pop(node, None)
    elif not has_all_calls:
        selection.calls.setdefault(node, set()).add(call)
    return True


def _add_module(selection: Selection, tree: ModuleTree, wanted: nn.Module) -> None:
    """Add a module itself; of a wrapper, the module inside it."""
    inner: nn.Module = wanted
    while (child := unwrapped_child(inner)) is not None:
        inner = child[1]
    node = tree.by_id.get(id(inner))
    if node is None:
        raise UnknownLayerError(f"layers: this {type(wanted).__name__} is not a module of {tree.root.kind}")
    selection.nodes.setdefault(node, node.name)
    selection.exact.add(node)


def _add_matches(selection: Selection, tree: ModuleTree, wanted: OneSelector) -> None:
    """Add every module that a pattern, a type or a function matches; raise `UnknownLayerError` if none does."""
    matches = [node for node in tree if not node.hidden and _matches(node, wanted)]
    if not matches:
        problem = tree.unknown(wanted)
        if isinstance(wanted, str) and is_misleading_number(wanted, _names(tree)):
            raise UnknownLayerError(f"{problem}; {NUMBERS_ARE_NAMES}")
        raise problem
    for node in matches:
        selection.nodes.setdefault(node, node.name)
        selection.calls.pop(node, None)


def _matches(node: Node, wanted: OneSelector) -> bool:
    if isinstance(wanted, str):
        return any(name and fnmatch.fnmatchcase(name, wanted) for name in node.names)
    if isinstance(wanted, re.Pattern):
        return any(name and wanted.search(name) is not None for name in node.names)
    if isinstance(wanted, type):
        return isinstance(node.module, wanted)
    if callable(wanted):
        return bool(wanted(node.name, node.module))
    raise CaptureError(
        f"layers: {spell(wanted)} is a {type(wanted).__name__}; give a name, a glob, a compiled regular expression, "
        "a module, a module type, an index or a function of (name, module)"
    )
