"""Tensors inside `torch.func` transforms (vmap, grad, jvp): plain tensors that can be read after the transform."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from torchviz_layers._common.nested import map_tensors

_functorch = torch._C._functorch
in_transform = _functorch.peek_interpreter_stack
"""Return the innermost transform, or None outside of all transforms."""


def outside_transforms() -> AbstractContextManager[object]:
    """Return a context in which operations are not transformed."""
    from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

    return temporarily_clear_interpreter_stack()


def unwrapped(value: Any) -> Any:
    """Return a structure with the plain tensors inside its wrappers; the axes that vmap maps over come first."""
    return map_tensors(value, _plain)


def _plain(tensor: Tensor) -> Tensor:
    axes = []  # of vmap, the outermost wrapper's first
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            axes.append(_functorch.maybe_get_bdim(tensor))
        tensor = _functorch.get_unwrapped(tensor)
    # A wrapper counts its axis among those that the tensor inside it shows, which are all but the axes of the wrappers
    # further inside. So the innermost wrapper's axis is moved first; `moved` axes are in front of the others by then.
    for moved, axis in enumerate(reversed(axes)):
        tensor = tensor.movedim(moved + axis, moved)
    return tensor
