"""Forward passes with another number of samples, which show which axes are those of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

OTHER_SIZES = (2, 3, 1)  # numbers of samples to try; one sample last, as some models squeeze that axis away


@contextmanager
def without_trace(model: nn.Module) -> Iterator[None]:
    """Put the modules' attributes and buffers, and torch's random numbers, back as they were before the block."""
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    states = [(state, dict(state)) for module in modules for state in (vars(module), module._buffers)]
    tensors = {id(value): value for _, state in states for value in state.values() if isinstance(value, Tensor)}
    plain = [tensor for tensor in tensors.values() if not tensor.is_inference()]  # others cannot be written to
    copies = [(tensor, tensor._version, tensor.detach().clone()) for tensor in plain]
    devices = {tensor.device for tensor in (*model.parameters(), *plain) if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            for state, before in states:
                _put_back(state, before)
            with torch.no_grad():
                for tensor, version, copy in copies:
                    if tensor._version != version:
                        tensor.copy_(copy)


def _put_back(state: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in state if name not in before]:
        del state[name]
    for name, value in before.items():
        if name not in state or state[name] is not value:
            state[name] = value
