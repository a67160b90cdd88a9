"""What `capture` keeps of a forward pass: copies, in order, as they were at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from torchviz_layers._common.nested import OneSelect, choose, describe, given, map_tensors, only_tensor
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.masks import TOKEN_POOLS, TokenMasks
from torchviz_layers.hooks.modules import Node
from torchviz_layers.hooks.pooling import Pool, apply_pool, for_layer, pool_of
from torchviz_layers.hooks.selection import Selection
from torchviz_layers.hooks.transforms import in_transform

At = Literal["output", "input"]
Calls = Literal["all", "first", "last"]


@dataclass
class _Watched:
    """A tensor of the autograd graph, and the one to read where it has been overwritten in place since."""

    tensor: Tensor
    version: int | None = None
    """The tensor's version when it was recorded; None where nothing else can overwrite it."""
    before: Tensor | None = None
    """What `tensor` is a clone of, which nothing overwrites and which has gradients too; a copy inside a transform."""

    def value(self) -> Tensor | None:
        """Return the tensor as it was recorded, or None if no tensor with its gradient holds that any more."""
        return self.tensor if self.version is None or self.tensor._version == self.version else self.before


@dataclass
class _InGraph:
    """A structure that a layer output or received, and its tensors in order."""

    structure: Any
    tensors: list[_Watched]
    layer: str
    at: At

    def value(self) -> Any:
        values = [value for tensor in self.tensors if (value := tensor.value()) is not None]
        if len(values) < len(self.tensors):
            raise CaptureError(
                f"{self.layer!r}: its {self.at} was overwritten in place after it was recorded, so that no gradient "
                "reaches it; set inplace=False on the module that does it (nn.ReLU(inplace=True), say), record the "
                "output of the layer before it, or pass detach=True for the values alone"
            )
        tensors = iter(values)
        return map_tensors(self.structure, lambda _: next(tensors))


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
    masks: TokenMasks = field(default_factory=TokenMasks)
    _clones: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By the id of a tensor: it, and the clone of it that the model goes on with."""

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Take note of the arguments of a forward pass."""
        self.masks.begin(arguments, self.mask)

    def __call__(self, node: Node, value: Any) -> Any:
        """Return what is kept of a value."""
        if value is None:
            return None
        value = choose(value, for_layer(self.select, node.name, None))
        pool = pool_of(self.pool, node.name)
        if pool != "none":
            rows = only_tensor(value, node.name, self.at)
            mask = self.masks.of(rows, node.name, pool) if pool in TOKEN_POOLS else None
            value = apply_pool(pool, rows, mask)
        return map_tensors(value, self._copy) if self.detach else self._in_graph(value, node.name)

    def pass_on(self, output: Any) -> Any:
        """Return the output that the model is to go on with: clones of the tensors that are kept with their graph.

        An operation in place then overwrites the clone, and the gradient still passes through the tensor behind it.
        """
        self._clones.clear()
        return output if self.detach or self.at == "input" else self._cloned(output)

    def _cloned(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.requires_grad and in_transform() is None:
            if id(value) not in self._clones:
                self._clones[id(value)] = value, value.clone()
            return self._clones[id(value)][1]
        if type(value) in (tuple, list):  # others may be more than what they hold
            return type(value)(map(self._cloned, value))
        if type(value) is dict:
            return {name: self._cloned(part) for name, part in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_make"):
            return value._make(map(self._cloned, value))
        return value

    def _copy(self, tensor: Tensor) -> Tensor:
        dtype, device = self._target(tensor)
        with torch.inference_mode(False):  # a clone made in inference mode could never enter autograd
            source = tensor if tensor.is_inference() else tensor.detach()
            if (dtype, device) == (tensor.dtype, tensor.device):
                return source.clone()
            return source.to(device, dtype, copy=True)

    def _in_graph(self, value: Any, layer: str) -> _InGraph:
        tensors: list[_Watched] = []

        def watch(tensor: Tensor) -> Tensor:
            dtype, device = self._target(tensor)
            if not tensor.requires_grad:
                tensors.append(_Watched(self._copy(tensor)))
            elif (dtype, device) != (tensor.dtype, tensor.device):
                tensors.append(_Watched(tensor.to(device, dtype)))
            elif id(tensor) in self._clones:
                clone = self._clones[id(tensor)][1]
                tensors.append(_Watched(clone, clone._version, tensor))
            else:
                copy = None if in_transform() is None else tensor.clone()  # torch.func needs the way back alone
                tensors.append(_Watched(tensor, tensor._version, copy))
            return tensor

        return _InGraph(map_tensors(value, watch), tensors, layer, self.at)

    def _target(self, tensor: Tensor) -> tuple[torch.dtype, torch.device]:
        dtype = self.dtype if self.dtype is not None and tensor.is_floating_point() else tensor.dtype
        device = self.device if self.device is not None else tensor.device
        return dtype, device


def now(record: Any) -> Any:
    """Return a recorded value as it can be read now; raise `CaptureError` if its gradient is lost."""
    return record.value() if isinstance(record, _InGraph) else record


def described(record: Any) -> str:
    """Spell a recorded value on one line, whether it can still be read or not."""
    return describe(record.structure if isinstance(record, _InGraph) else record)


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

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start the record of a forward pass."""
        self.passes += 1
        self.take.begin(arguments)
        for state in (self.records, self.order, self.ran, self._window):
            state.clear()

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Copy the input of a module that may be wanted, before the module can overwrite it."""
        self.ran.add(node)
        if self.take.at == "output" or not self.selection.may_want(node):
            return None
        return self.take(node, given(args, kwargs))

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> Any:
        """Record a call that is wanted; return what the model is to go on with instead of `output`, or None."""
        first = leaf and call == 0
        if first:
            self.order.append(node)
        key = self.selection.key(node, call, leaf=leaf)
        positional = leaf and bool(self.selection.positions)
        if (key is None and not positional) or (self.calls == "first" and call > 0):
            return None
        if self.calls == "last":
            key, call = key and key.removesuffix(f":{call}"), 0
        passed_on = self.take.pass_on(output)
        value = self.take(node, output) if self.take.at == "output" else entered
        if key is not None:
            self.records.pop(key, None)
            self.records[key] = value
        elif positional:
            self._remember(node, node.name if call == 0 else f"{node.name}:{call}", value)
        return None if passed_on is output else passed_on

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
