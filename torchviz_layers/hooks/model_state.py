"""Blocks after which a model is as it was before: its modes, its buffers and attributes, the random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run the block in eval mode without gradients; each module has its own mode back afterwards."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def restored_state(model: nn.Module) -> Iterator[None]:
    """Restore the modules' attributes and buffers, and torch's random numbers, after the block.

    Attributes that the block replaces are put back. Tensors that it writes to in place are recognised by their version
    counter and overwritten with a copy made before. Parameters are not copied: a forward pass does not change them.
    """
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    states = []
    for module in modules:
        states += [(vars(module), dict(vars(module))), (module._buffers, dict(module._buffers))]
    found = [value for state, _ in states for value in state.values() if isinstance(value, Tensor)]
    # A tensor made in inference mode has no version counter and cannot be written to outside of that mode.
    tensors = {id(tensor): tensor for tensor in found if not tensor.is_inference()}.values()
    copies = [(tensor, tensor._version, tensor.detach().clone()) for tensor in tensors]
    devices = {tensor.device for tensor in (*model.parameters(), *tensors) if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            for state, before in states:
                _restore(state, before)
            with torch.no_grad():
                for tensor, version, copy in copies:
                    if tensor._version != version:
                        tensor.copy_(copy)


def _restore(state: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in state if name not in before]:
        del state[name]
    for name, value in before.items():
        if name not in state or state[name] is not value:
            state[name] = value
