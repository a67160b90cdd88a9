"""The origin of stored activations: fingerprints of the model and the data, versions, settings."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchviz_layers._common.nested import tensors_in
from torchviz_layers._common.version import __version__


def model_fingerprint(model: nn.Module) -> str:
    """Return a digest of the model's structure and of every number in its state."""
    digest = hashlib.sha256()  # fast: processors have instructions for it
    for name, module in model.named_modules():
        # A module's description may contain addresses, which differ from process to process.
        description = re.sub(r"\b0x[0-9a-f]+", "", module.extra_repr())
        digest.update(f"{name}={type(module).__qualname__}({description});".encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name};".encode())
        for _, tensor in tensors_in(value):
            _update(digest, tensor)
    return digest.hexdigest()[:32]


def data_fingerprint(inputs: Any, ids: Any) -> str:
    """Return a digest of the first batch: its inputs and its ids."""
    digest = hashlib.sha256()
    for path, tensor in tensors_in(inputs):
        digest.update(f"{path};".encode())
        _update(digest, tensor)
    if ids is not None:
        digest.update(repr(np.asarray(ids).tolist()).encode())
    return digest.hexdigest()[:32]


def _update(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tuple(tensor.shape)}{tensor.dtype};".encode())
    # Sparse, quantized and nested tensors have no bytes in a row: their text is used.
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        digest.update(repr(tensor).encode())
        return
    if tensor.is_meta:
        return  # a weight that `accelerate` has offloaded: its numbers are not available
    # In blocks, so that a large weight on a card needs little memory here; bytes, so that NaN is equal to itself.
    flat = tensor.detach().contiguous().reshape(-1)
    step = 1 << 24  # elements copied to the CPU at a time
    for start in range(0, flat.numel(), step):
        digest.update(flat[start : start + step].cpu().view(torch.uint8).numpy().data)


def describe_run(model: nn.Module, device: torch.device, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model, device, versions and settings; no time of day, so that equal runs make equal stores."""
    return {
        "model": type(model).__name__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torchviz_layers": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "settings": dict(settings),
    }
