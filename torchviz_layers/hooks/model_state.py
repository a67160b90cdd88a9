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
    states: list[tuple[dict[str, Any], dict[str, Any]]] = []  # (the dict itself, a copy of it)
    tensors: dict[int, Tensor] = {}
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # its attributes are not in Python
        for state in (vars(module), module._buffers):
            states.append((state, dict(state)))
            for value in state.values():
                # A tensor made in inference mode has no version counter, and cannot be written to outside of that mode.
                if isinstance(value, Tensor) and not value.is_inference():
                    tensors[id(value)] = value
    copies = [(tensor, tensor._version, tensor.detach().clone()) for tensor in tensors.values()]
    cards = {tensor.device for tensor in (*model.parameters(), *tensors.values()) if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(cards)):
        try:
            yield
        finally:
            # First the attributes, which may have been replaced by other tensors, then what is in the tensors.
            for state, before in states:
                _restore(state, before)
            with torch.no_grad():
                for tensor, version, copy in copies:
                    if tensor._version != version:
                        tensor.copy_(copy)


def _restore(state: dict[str, Any], before: dict[str, Any]) -> None:
    """Make `state` equal to `before`, without an assignment for what has not changed."""
    for name in list(state):
        if name not in before:
            del state[name]
    for name, value in before.items():
        if name not in state or state[name] is not value:
            state[name] = value
