"""Values as they were when they were recorded: copies, or tensors of the autograd graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.nested import describe, map_tensors
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.transforms import in_transform


@dataclass
class _GraphTensor:
    """A tensor of the autograd graph that may be overwritten in place after it was recorded."""

    tensor: Tensor
    version: int | None = None
    """The version counter of `tensor` when it was recorded; None where nothing else can overwrite it."""
    source: Tensor | None = None
    """What to read once `tensor` has been overwritten: the output that it is a clone of (which has the gradient too,
    and which the model does not see), or a copy made inside a function transform."""

    def value(self) -> Tensor | None:
        """Return a tensor with the recorded values and their gradient, or None if there is none any more."""
        # PyTorch counts every write to a tensor in its `_version`.
        unchanged = self.version is None or self.tensor._version == self.version
        return self.tensor if unchanged else self.source


@dataclass
class _GraphRecord:
    """A structure that a layer output or received, and its tensors in order."""

    structure: Any
    tensors: list[_GraphTensor]
    layer: str
    at: str

    def value(self) -> Any:
        """Return the structure with its recorded tensors; raise `CaptureError` if one has lost its gradient."""
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
class Copier:
    """Makes what is recorded independent of later operations in place."""

    detach: bool = True
    """False keeps the autograd graph."""
    device: torch.device | None = None
    dtype: torch.dtype | None = None
    _clones: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By the id of a tensor that the present call output: that tensor, and the clone that the model continues with.
    The tensor itself is in it so that its id is not reused."""

    def replace_output(self, output: Any) -> Any:
        """Return the output that the model continues with, for `detach=False`: each tensor of the graph is a clone.

        A later operation in place overwrites the clone; the recorded tensor keeps its values, and the gradient that
        reaches the clone flows through it.
        """
        self._clones.clear()
        return output if self.detach else self._cloned(output)

    def _cloned(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            # A transform (vmap, grad) has autograd of its own, in which a clone is of no use.
            if not value.requires_grad or in_transform() is not None:
                return value
            if id(value) not in self._clones:
                self._clones[id(value)] = value, value.clone()
            return self._clones[id(value)][1]
        # Plain containers only: a subclass may be more than the parts that it is rebuilt from.
        if type(value) in (tuple, list):
            return type(value)(map(self._cloned, value))
        if type(value) is dict:
            return {name: self._cloned(part) for name, part in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_make"):
            return value._make(map(self._cloned, value))
        return value

    def __call__(self, value: Any, layer: str, at: str) -> Any:
        """Return what to record of a value; `layer` and `at` are for the message if its gradient is lost later."""
        if self.detach:
            return map_tensors(value, self._copy)
        tensors: list[_GraphTensor] = []

        def keep(tensor: Tensor) -> Tensor:
            tensors.append(self._in_graph(tensor))
            return tensor

        return _GraphRecord(map_tensors(value, keep), tensors, layer, at)

    def _copy(self, tensor: Tensor) -> Tensor:
        dtype, device = self._target(tensor)
        # A clone that is made in inference mode could never be used with autograd.
        with torch.inference_mode(mode=False):
            source = tensor if tensor.is_inference() else tensor.detach()
            if (dtype, device) == (tensor.dtype, tensor.device):
                return source.clone()
            return source.to(device, dtype, copy=True)

    def _in_graph(self, tensor: Tensor) -> _GraphTensor:
        dtype, device = self._target(tensor)
        # A tensor without gradient is copied; conversion makes a new tensor of the graph, which nobody else has.
        if not tensor.requires_grad:
            return _GraphTensor(self._copy(tensor))
        if (dtype, device) != (tensor.dtype, tensor.device):
            return _GraphTensor(tensor.to(device, dtype))
        if id(tensor) in self._clones:
            clone = self._clones[id(tensor)][1]
            return _GraphTensor(clone, clone._version, tensor)
        # An input, or an output inside a transform. torch.func needs the path of the gradient to a copy only.
        copy = None if in_transform() is None else tensor.clone()
        return _GraphTensor(tensor, tensor._version, copy)

    def _target(self, tensor: Tensor) -> tuple[torch.dtype, torch.device]:
        """Return the type and the device of what is recorded of a tensor; integers keep their type."""
        dtype, device = tensor.dtype, tensor.device
        if self.dtype is not None and tensor.is_floating_point():
            dtype = self.dtype
        if self.device is not None:
            device = self.device
        return dtype, device


def current_value(record: Any) -> Any:
    """Return a recorded value; raise `CaptureError` if its gradient is lost."""
    return record.value() if isinstance(record, _GraphRecord) else record


def describe_record(record: Any) -> str:
    """Spell a recorded value on one line, whether its gradient is lost or not."""
    return describe(record.structure if isinstance(record, _GraphRecord) else record)
