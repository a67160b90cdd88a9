"""A pytest plugin that adds the products of layers up in another order for every batch size.

    python -m pytest -p tests.other_sums

Libraries choose a kernel by the processor and the size of the batch, and kernels add in different orders: on many
processors the outputs for one sample therefore differ in their last places between a batch of 4 and one of 20. Here
every matrix product and convolution on the CPU becomes the sum of two, divided where the batch size says. What is exact
in any order (small integers, a single summand) stays exact, so that a test fails for a bound that holds on some
processors only, and for nothing else.
"""

import warnings
import zlib
from collections.abc import Callable
from typing import Any

import torch

aten = torch.ops.aten
_library = torch.library.Library("aten", "IMPL")  # the overrides last as long as this object


def _divided(rows: int, terms: int) -> tuple[slice, slice] | None:
    """Return the two parts of `terms` summands for a batch of `rows`; None: in one go, as the library does it."""
    situation = f"{rows} rows, {torch.get_num_threads()} threads, gradients {torch.is_grad_enabled()}"
    first = zlib.crc32(situation.encode()) % max(terms, 1)
    return (slice(first), slice(first, None)) if first else None


def _in_float32(operation: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
    """Return `operation(*tensors)`, half precision accumulated in float32 and rounded once, as kernels do."""
    dtype = tensors[0].dtype
    mixed = any(tensor.dtype != dtype for tensor in tensors)  # the kernels refuse these, and so must we
    if mixed or dtype not in (torch.float16, torch.bfloat16):
        return operation(*tensors)
    return operation(*(tensor.float() for tensor in tensors)).to(dtype)


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return aten.mm.out(a, b, out=a.new_empty(a.shape[0], b.shape[1]))

    parts = _divided(*a.shape)
    if parts is None:
        return product(a, b)
    return _in_float32(lambda a, b: sum(product(a[:, part], b[part]) for part in parts), a, b)


def _bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return aten.bmm.out(a, b, out=a.new_empty(*a.shape[:2], b.shape[2]))

    parts = _divided(a.shape[0], a.shape[2])
    if parts is None:
        return product(a, b)
    return _in_float32(lambda a, b: sum(product(a[..., part], b[:, part]) for part in parts), a, b)


def _addmm(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: Any = 1, alpha: Any = 1) -> torch.Tensor:
    parts = _divided(*a.shape)
    if parts is None or alpha != 1 or beta != 1:
        empty = a.new_empty(a.shape[0], b.shape[1])
        return aten.addmm.out(bias, a, b, beta=beta, alpha=alpha, out=empty)
    return _in_float32(lambda bias, a, b: _mm(a, b) + bias, bias, a, b)


def _convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *options: Any) -> torch.Tensor:
    def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return aten._convolution.default(x, weight, bias, *options, False, False, True, True)

    rows = len(x) if x.ndim == weight.ndim else 1
    parts = _divided(rows, weight[0].numel())
    if parts is None or not x.isfinite().all():  # zero times infinity would not be zero
        return convolve(x, weight, bias)
    first = torch.zeros_like(weight[0]).reshape(-1)
    first[parts[0]] = 1
    mask = first.reshape(weight.shape[1:])
    without_bias = _in_float32(lambda x, w: convolve(x, w * mask, None) + convolve(x, w * (1 - mask), None), x, weight)
    if bias is None:
        return without_bias
    return without_bias + bias.reshape(-1, *[1] * (weight.ndim - 2))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that these operators have kernels already is the point
    for _operator, _kernel in (("mm", _mm), ("addmm", _addmm), ("bmm", _bmm), ("convolution", _convolution)):
        _library.impl(_operator, _kernel, "CPU")
