"""Devices: choose and check one, recognise full memory, make a card the current one, set the precision of products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

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


@contextmanager
def float32_products(device: torch.device, precision: Literal["ieee", "tf32"] = "ieee") -> Iterator[None]:
    """Compute the block's products of float32 matrices in that precision, whatever the user has set; no autocast.

    The settings are afterwards what they were. They are the process's: products of other threads follow them meanwhile.
    """
    with _matmul_precision(precision), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def _matmul_precision(wanted: Literal["ieee", "tf32"]) -> Iterator[None]:
    matmul: Any = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        # PyTorch 2.8 and older. Setting back `allow_tf32` there would turn "medium" into "high".
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if wanted == "tf32" else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    if matmul.fp32_precision == wanted:
        yield
        return
    own = _own_precision(matmul, torch.backends.cudnn, torch.backends)
    matmul.fp32_precision = wanted
    try:
        yield
    finally:
        matmul.fp32_precision = own


def _own_precision(setting: Any, *above: Any) -> str:
    """Return what is set on a setting itself: "none" where its value is that of the settings above, nearest first.

    Reading it does not tell: it returns the inherited value. Writing that back would pin it, so that a later change of
    the settings above would not reach products any more.
    """
    value = str(setting.fp32_precision)
    if not above or value == "none" or value != above[0].fp32_precision:
        return value
    # The two agree. Whether one follows the other shows only where the upper one changes for a moment.
    other = "ieee" if value == "tf32" else "tf32"
    upper = _own_precision(*above)
    above[0].fp32_precision = other
    try:
        inherited = setting.fp32_precision == other
    finally:
        above[0].fp32_precision = upper
    return "none" if inherited else value
