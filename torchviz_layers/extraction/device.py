"""Where an extraction runs, and how much of a batch fits there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchviz_layers._common.distributed import local_device
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.hooks import device_of, execution_device


@contextmanager
def placed(model: nn.Module, wanted: str | torch.device) -> Iterator[torch.device]:
    """Move the model to the wanted device for the time of the block."""
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        raise CaptureError("model: it has lazy layers without weights yet; run one batch through it first")
    here = device_of(model)
    if wanted == "auto":
        wanted = local_device() if here.type == "cpu" and torch.cuda.is_available() else here
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise CaptureError(f"device={wanted!r} is no device; write 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CaptureError(f"device={str(device)!r}: this machine or this build of PyTorch has no CUDA card")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise CaptureError(f"device={str(device)!r}: there are {torch.cuda.device_count()} CUDA cards, counted from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise CaptureError(f"device={str(device)!r}: this machine or this build of PyTorch has no MPS device")
    spread = len({parameter.device for parameter in model.parameters()}) > 1 or execution_device(model) is not None
    if spread or device == here or (device.type == here.type and device.index is None):
        yield here  # where its owner put it
        return
    model.to(device)
    try:
        yield device
    finally:
        model.to(here)
