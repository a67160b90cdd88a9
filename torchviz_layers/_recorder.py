"""What `capture` keeps of a forward pass: copies, in order, as they were at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from torchviz_layers._modules import Node, Selection
from torchviz_layers._outputs import OneSelect, choose, given, map_tensors, only_tensor
from torchviz_layers._pooling import Pool, apply_pool, for_layer, pool_of, token_mask

At = Literal["output", "input"]
Calls = Literal["all", "first", "last"]


@dataclass
class _Watched:
    """A tensor of the autograd graph, with a copy for the case that it is overwritten in place."""

    tensor: Tensor
    version: int
    copy: Tensor

    def value(self) -> Tensor:
        return self.tensor if self.tensor._version == self.version else self.copy


@dataclass
class Take:
    """How a module's answer becomes what is recorded."""

    at: At = "output"
    pool: Pool = "none"
    select: OneSelect | Mapping[str, OneSelect] | None = None
    mask: Tensor | None = None
    detach: bool = True
    device: torch.device | None = None
    dtype: torch.dtype | None = None
    batch_mask: Tensor | None = None
    watched: dict[int, _Watched] = field(default_factory=dict)
    """Recorded tensors of the autograd graph, by identity."""

    def begin(self, kwargs: Mapping[str, Any]) -> None:
        """Take note of the arguments of a forward pass."""
        self.batch_mask = self.mask if self.mask is not None else token_mask(kwargs)
        self.watched.clear()

    def __call__(self, node: Node, value: Any) -> Any:
        value = choose(value, for_layer(self.select, node.name, None))
        pool = pool_of(self.pool, node.name)
        if pool == "none":
            return map_tensors(value, self._copy)
        rows = only_tensor(value, node.name, self.at)
        return self._copy(apply_pool(pool, rows, self.batch_mask))

    def now(self, value: Any) -> Any:
        """Return a recorded value with the copies of those of its tensors that were overwritten since."""
        if not self.watched:
            return value
        return map_tensors(
            value, lambda tensor: self.watched[id(tensor)].value() if id(tensor) in self.watched else tensor
        )

    def _copy(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype
        if not self.detach and tensor.requires_grad and tensor.device == (self.device or tensor.device):
            kept = tensor.to(dtype)
            self.watched[id(kept)] = _Watched(kept, kept._version, kept.clone())
            return kept
        with torch.inference_mode(False):  # a clone made in inference mode could never enter autograd
            source = tensor.detach() if self.detach and not tensor.is_inference() else tensor
            return (
                source.to(self.device or tensor.device, dtype, copy=True)
                if self._moves(tensor, dtype)
                else source.clone()
            )

    def _moves(self, tensor: Tensor, dtype: torch.dtype) -> bool:
        return dtype != tensor.dtype or self.device not in (None, tensor.device)


@dataclass
class Recorder:
    """Keeps the wanted calls of one forward pass, in order."""

    selection: Selection
    calls: Calls
    take: Take
    records: dict[str, Any] = field(default_factory=dict)
    order: list[Node] = field(default_factory=list)
    """The layers in order of first call."""
    ran: set[Node] = field(default_factory=set)
    passes: int = 0
    _window: dict[Node, dict[str, Any]] = field(default_factory=dict)

    def begin(self, kwargs: Mapping[str, Any]) -> None:
        """Start the record of a forward pass."""
        self.passes += 1
        self.take.begin(kwargs)
        for state in (self.records, self.order, self.ran, self._window):
            state.clear()

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Copy the input of a module that may be wanted, before the module can overwrite it."""
        self.ran.add(node)
        if self.take.at == "output" or not self.selection.may_want(node):
            return None
        return self.take(node, given(args, kwargs))

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:
        """Record a call that is wanted."""
        first = leaf and call == 0
        if first:
            self.order.append(node)
        key = self.selection.key(node, call, leaf=leaf)
        positional = leaf and bool(self.selection.positions)
        if (key is None and not positional) or (self.calls == "first" and call > 0):
            return
        if self.calls == "last":
            key, call = key and key.removesuffix(f":{call}"), 0
        value = self.take(node, output) if self.take.at == "output" else entered
        if key is not None:
            self.records.pop(key, None)
            self.records[key] = value
        elif positional:
            self._remember(node, node.name if call == 0 else f"{node.name}:{call}", value)

    def _remember(self, node: Node, key: str, value: Any) -> None:
        """Keep a layer that an index may turn out to mean, and forget those that none can mean any more."""
        self._window.setdefault(node, {})[key] = value
        depth = -min(*self.selection.positions, 0)
        recent = self.order[len(self.order) - depth :]
        for held in list(self._window):
            if held not in recent and self.order.index(held) not in self.selection.positions:
                del self._window[held]

    def result(self) -> dict[str, Any]:
        """Return what was recorded, by name."""
        found = dict(self.records)
        for position in self.selection.positions:
            if -len(self.order) <= position < len(self.order):
                found.update(self._window.get(self.order[position], {}))
        return found
