"""The device that an extraction runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchviz_layers._common.devices import available_device
from torchviz_layers._common.distributed import local_device
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.devices import device_of, execution_device


@contextmanager
def model_on_device(model: nn.Module, wanted: str | torch.device) -> Iterator[torch.device]:
    """Move the model to the wanted device for the time of the block; yield the device that its inputs go to."""
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        raise CaptureError("model: it has lazy layers without weights yet; run one batch through it first")
    here = device_of(model)
    if wanted == "auto":
        # A model that is on a card stays there; one on the CPU moves to this process's card, if there is one.
        wanted = local_device() if here.type == "cpu" and torch.cuda.is_available() else here
    device = available_device(wanted, CaptureError)
    spread = len({parameter.device for parameter in model.parameters()}) > 1 or execution_device(model) is not None
    is_here = device == here or (device.type == here.type and device.index is None)
    if spread or is_here:
        yield here  # a model that its owner has spread over several devices is not moved
        return
    model.to(device)
    try:
        yield device
    finally:
        model.to(here)
