"""What several stages need to know about devices: how they run out of memory, and which card is the current one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

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


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that a card has too little memory left.

    Catch it, leave the `except` block, and only then call `torch.cuda.empty_cache`: the traceback refers to the frames
    that failed, and these to their tensors.
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
