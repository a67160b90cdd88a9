"""Devices: choose one, check that it is available, recognise that its memory is full, make it the current one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from torchviz_layers.exceptions import ReducerError, TorchvizLayersError

# How CUDA and its libraries report it where PyTorch raises a plain RuntimeError or an AcceleratorError.
_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)


def available_device(device: str | torch.device, error: type[TorchvizLayersError]) -> torch.device:
    """Return `device` as a `torch.device`; raise `error` with the reason if this machine does not have it."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as problem:
        raise error(f"device={device!r} is no device; write 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'") from problem
    absent = f"device={str(found)!r}: this machine or this build of PyTorch has no"
    if found.type == "cuda" and not torch.cuda.is_available():
        raise error(f"{absent} CUDA card; use 'auto' or 'cpu'")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise error(f"device={str(found)!r}: there are {torch.cuda.device_count()} CUDA cards, counted from 0")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise error(f"{absent} MPS device; use 'auto' or 'cpu'")
    return found


def resolve_device(device: str | torch.device, X: Any = None) -> torch.device:
    """Return where neighbours, reducers and measures compute, the CPU or a CUDA card.

    `auto` is the card of X if X is a tensor on one, else CUDA if there is a card, else the CPU. Other kinds of device
    (MPS) become the CPU: these searches do not run on them.

    Raises
    ------
    ReducerError
        If PyTorch does not know the device, or this machine does not have it.
    """
    if isinstance(device, str) and device == "auto":
        if isinstance(X, torch.Tensor) and X.device.type == "cuda":
            return X.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = available_device(device, ReducerError)
    return found if found.type == "cuda" else torch.device("cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that a card has too little memory left.

    To free memory, leave the `except` block before calling `torch.cuda.empty_cache`: the traceback keeps the frames
    that failed alive, and these keep their tensors.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    message = str(error)
    return any(text in message for text in _OUT_OF_MEMORY)


def as_current(device: torch.device) -> AbstractContextManager[Any]:
    """Make a CUDA card the current one for the time of the block; do nothing for another device.

    PyTorch's own operations follow their tensors. Kernels that are launched by other means (Triton, cuML) run on the
    current card, wherever their tensors are.
    """
    if device.type == "cuda":
        return torch.cuda.device(device)
    return nullcontext()
