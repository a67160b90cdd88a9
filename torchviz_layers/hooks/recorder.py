"""What `capture` keeps of a forward pass: the wanted calls, in order of execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchviz_layers._common.nested import given, only_tensor
from torchviz_layers.hooks.copies import Copier
from torchviz_layers.hooks.masks import TokenMasks
from torchviz_layers.hooks.modules import Node, call_key
from torchviz_layers.hooks.record_options import RecordOptions
from torchviz_layers.hooks.selection import Selection


@dataclass
class Recorder:
    """Keeps the wanted calls of one forward pass, in order."""

    selection: Selection
    options: RecordOptions
    copier: Copier
    records: dict[str, Any] = field(default_factory=dict)
    order: list[Node] = field(default_factory=list)
    """The layers in order of first call."""
    ran: set[Node] = field(default_factory=set)
    passes: int = 0
    _masks: TokenMasks = field(default_factory=TokenMasks)
    _candidates: dict[Node, dict[str, Any]] = field(default_factory=dict)
    """Values, by name of the call, of layers that an index may turn out to mean."""

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start the record of a forward pass."""
        self.passes += 1
        explicit = self.options.mask
        self._masks.begin(arguments, explicit if isinstance(explicit, Tensor) else None)
        for state in (self.records, self.order, self.ran, self._candidates):
            state.clear()

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Copy the input of a module that may be wanted, before the module can overwrite it."""
        self.ran.add(node)
        if self.options.at == "output" or not self.selection.may_want(node):
            return None
        return self._record(node, given(args, kwargs))

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> Any:
        """Record a call that is wanted; return what the model continues with instead of `output`, or None."""
        if leaf and call == 0:
            self.order.append(node)
        key = self.selection.key(node, call, leaf=leaf)
        # Which layer an index means is known later, so every layer is recorded until then.
        may_be_indexed = leaf and bool(self.selection.positions)
        if (key is None and not may_be_indexed) or not self.options.wants_call(call):
            return None
        if self.options.at == "input":
            new_output, value = output, entered
        else:
            new_output = self.copier.replace_output(output)
            value = self._record(node, output)
        if key is not None:
            key = self.options.record_name(key, call)
            # Removed first, so that a name that is recorded again moves to the end of the order.
            self.records.pop(key, None)
            self.records[key] = value
        else:
            self._keep_candidate(node, self.options.record_name(call_key(node.name, call), call), value)
        return None if new_output is output else new_output

    def _record(self, node: Node, value: Any) -> Any:
        """Return what is kept of a value: the selected part, pooled and copied."""
        if value is None:
            return None
        options = self.options.of_layer(node.name)
        value = options.selected(value)
        if options.pool != "none":
            value = options.pooled(only_tensor(value, node.name, self.options.at), self._masks)
        return self.copier(value, node.name, self.options.at)

    def _keep_candidate(self, node: Node, key: str, value: Any) -> None:
        """Keep a layer that an index may turn out to mean, and drop those that no index can mean any more.

        How many layers run is known only after the pass. An index i >= 0 means a layer as soon as it runs. An index
        -i means the i-th last one, so the last layers so far are kept, as many as the smallest index needs.
        """
        self._candidates.setdefault(node, {})[key] = value
        depth = -min(*self.selection.positions, 0)
        recent = self.order[len(self.order) - depth :]
        for kept in list(self._candidates):
            if kept not in recent and self.order.index(kept) not in self.selection.positions:
                del self._candidates[kept]

    def result(self) -> dict[str, Any]:
        """Return what was recorded, by name."""
        found = dict(self.records)
        # An index that is out of range for this pass is an error when it is looked up.
        for position in self.selection.positions:
            if -len(self.order) <= position < len(self.order):
                found.update(self._candidates.get(self.order[position], {}))
        return found
