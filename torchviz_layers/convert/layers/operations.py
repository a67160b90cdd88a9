"""Functions of `keras.ops` and TensorFlow that stand in a graph as nodes of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.functions import (
    broadcast_to,
    clip,
    concatenate,
    depth_to_space,
    einsum,
    elu,
    expand_dims,
    flip,
    full_like,
    gelu,
    get_item,
    identity,
    leaky_relu,
    log_softmax,
    matmul,
    move_axis,
    one_hot,
    ones_like,
    pad,
    repeat,
    reshape,
    resize_images,
    roll,
    shape_of,
    softmax,
    space_to_depth,
    split,
    split_sizes,
    squared_difference,
    squeeze,
    stack,
    swap_axes,
    take,
    tensordot,
    threshold,
    tile,
    top_k,
    transpose,
    triangle_high,
    triangle_low,
    unstack,
    where,
    zeros_like,
)
from torchviz_layers.convert.layers.reductions import (
    all_true,
    any_true,
    arg_max,
    arg_min,
    cast,
    cumulative_product,
    cumulative_sum,
    deviation,
    euclidean_norm,
    log_sum_exp,
    maximum_over,
    mean,
    minimum_over,
    normalize,
    product,
    total,
    variance,
)


class Slot(NamedTuple):
    """Stands for the i-th tensor among a call's arguments."""

    place: int


class Operation(KerasModule):
    """A known function with its fixed arguments; `Slot(i)` in them stands for the i-th input."""

    def __init__(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.args = args
        self.kwargs = kwargs

    def forward(self, *inputs: Tensor) -> Any:
        """Return the function's value."""
        args, kwargs = put_in(self.args, inputs), put_in(self.kwargs, inputs)
        return OPERATIONS[self.function](*args, **kwargs)


def put_in(value: Any, inputs: Sequence[Tensor]) -> Any:
    """Return arguments with the inputs in the place of their slots."""
    if isinstance(value, Slot):
        return inputs[value.place]
    if isinstance(value, slice):
        return slice(*(put_in(part, inputs) for part in (value.start, value.stop, value.step)))
    if isinstance(value, list):
        return [put_in(entry, inputs) for entry in value]
    if isinstance(value, tuple):
        return tuple(put_in(entry, inputs) for entry in value)
    if isinstance(value, dict):
        return {key: put_in(entry, inputs) for key, entry in value.items()}
    return value


def as_tensors(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """Return two operands as tensors of one type and device; one of them is a tensor already."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first, second
    if isinstance(first, Tensor):
        return first, torch.as_tensor(second, dtype=_operand_type(first, second), device=first.device)
    return torch.as_tensor(first, dtype=_operand_type(second, first), device=second.device), second


def _operand_type(tensor: Tensor, number: Any) -> torch.dtype:
    is_whole = isinstance(number, (bool, int))
    return tensor.dtype if is_whole or tensor.is_floating_point() else torch.float32


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """Return a function of two tensors as one of tensors and numbers."""

    def apply(x1: Any, x2: Any) -> Tensor:
        return function(*as_tensors(x1, x2))

    return apply


_OF_TENSORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.true_divide,
    "floor_divide": torch.floor_divide,
    "mod": torch.remainder,
    "power": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "arctan2": torch.atan2,
    "squared_difference": squared_difference,
}

BINARY: dict[str, Callable[[Any, Any], Tensor]] = {name: binary(function) for name, function in _OF_TENSORS.items()}

UNARY: dict[str, Callable[..., Tensor]] = {
    "absolute": torch.abs,
    "arccos": torch.acos,
    "arcsin": torch.asin,
    "arctan": torch.atan,
    "ceil": torch.ceil,
    "celu": F.celu,
    "copy": identity,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "elu": elu,
    "erf": torch.erf,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "gelu": gelu,
    "hard_shrink": F.hardshrink,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_tanh": F.hardtanh,
    "identity": identity,
    "isfinite": torch.isfinite,
    "isnan": torch.isnan,
    "leaky_relu": leaky_relu,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log_sigmoid": F.logsigmoid,
    "logical_not": torch.logical_not,
    "negative": torch.neg,
    "reciprocal": torch.reciprocal,
    "relu": F.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "rsqrt": torch.rsqrt,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "soft_shrink": F.softshrink,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "stop_gradient": torch.detach,
    "tan": torch.tan,
    "tanh": torch.tanh,
    "tanh_shrink": F.tanhshrink,
    "threshold": threshold,
    "trunc": torch.trunc,
    "cast": cast,
    "clip": clip,
    "ones_like": ones_like,
    "zeros_like": zeros_like,
    "full_like": full_like,
}

REDUCING: dict[str, Callable[..., Tensor]] = {
    "all": all_true,
    "any": any_true,
    "logsumexp": log_sum_exp,
    "max": maximum_over,
    "mean": mean,
    "min": minimum_over,
    "norm": euclidean_norm,
    "prod": product,
    "std": deviation,
    "sum": total,
    "var": variance,
}

ALONG_AXIS: dict[str, Callable[..., Any]] = {
    "concatenate": concatenate,
    "cumprod": cumulative_product,
    "cumsum": cumulative_sum,
    "flip": flip,
    "log_softmax": log_softmax,
    "normalize": normalize,
    "repeat": repeat,
    "softmax": softmax,
    "split": split,
    "split_sizes": split_sizes,
}

RESHAPING: dict[str, Callable[..., Any]] = {
    "argmax": arg_max,
    "argmin": arg_min,
    "broadcast_to": broadcast_to,
    "depth_to_space": depth_to_space,
    "einsum": einsum,
    "expand_dims": expand_dims,
    "get_item": get_item,
    "matmul": matmul,
    "moveaxis": move_axis,
    "one_hot": one_hot,
    "pad": pad,
    "reshape": reshape,
    "resize": resize_images,
    "roll": roll,
    "shape": shape_of,
    "space_to_depth": space_to_depth,
    "squeeze": squeeze,
    "stack": stack,
    "swapaxes": swap_axes,
    "take": take,
    "tensordot": tensordot,
    "tile": tile,
    "top_k": top_k,
    "transpose": transpose,
    "tril": triangle_low,
    "triu": triangle_high,
    "unstack": unstack,
    "where": where,
}

OPERATIONS: dict[str, Callable[..., Any]] = {**BINARY, **UNARY, **REDUCING, **ALONG_AXIS, **RESHAPING}
