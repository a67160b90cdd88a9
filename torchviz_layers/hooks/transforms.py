"""Tensors inside `torch.func` transforms (vmap, grad, jvp): what they hold, readable after the transform."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.nested import map_tensors

_functorch = torch._C._functorch
in_transform = _functorch.peek_interpreter_stack
"""None outside of all transforms."""


def outside_transforms() -> AbstractContextManager[object]:
    """Work on the tensors that the transforms wrap, rather than being transformed too."""
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    return temporarily_clear_interpreter_stack()


def unwrapped(value: Any) -> Any:
    """Return a structure with the tensors that its wrappers hold; the axes that vmap maps over come first."""
    return map_tensors(value, _plain)


def _plain(tensor: Tensor) -> Tensor:
    axes = []
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            axes.append(_functorch.maybe_get_bdim(tensor))
        tensor = _functorch.get_unwrapped(tensor)
    for outer, axis in enumerate(reversed(axes)):  # the position of an axis counts only those of the transforms inside
        tensor = tensor.movedim(outer + axis, outer)
    return tensor
