"""The device that a model's inputs go to."""

from __future__ import annotations

import torch
from torch import nn

from torchviz_layers.exceptions import CaptureError


def execution_device(model: nn.Module) -> torch.device | None:
    """Return the device of the inputs of a model whose weights `accelerate` loads; None for other models.

    `dispatch_model` names that device in the root's hook, `cpu_offload` in the hooks of the modules that have weights.
    A module may have several hooks, as the parts of one.
    """
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            device = getattr(part, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None


def device_of(model: nn.Module) -> torch.device:
    """Return the device that the model's inputs go to; raise `CaptureError` if its weights have no data yet."""
    managed = execution_device(model)
    if managed is not None:
        return managed
    tensor = next(model.parameters(), next(model.buffers(), None))
    if tensor is None:
        return torch.device("cpu")
    if tensor.device.type == "meta":
        raise CaptureError("model: its weights are on the 'meta' device and hold no numbers; load them first")
    return tensor.device
