"""Functions of `keras.ops` and TensorFlow that are nodes of a graph: the tables of all of them, and the module.

A function with arguments of Keras's own is defined in `shapes`, `reductions` or `functions`, and listed in a table at
the end of that module; this module joins the tables. They are plain dicts and not filled by a decorator, so that the
source writer can copy them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.functions import ENTRYWISE, SELECTING, squared_difference
from torchviz_layers.convert.layers.reductions import INDEXING, REDUCING, SCANNING, cast
from torchviz_layers.convert.layers.shapes import JOINING, RESHAPING


class TensorArgument(NamedTuple):
    """Stands for the i-th tensor among the arguments of a call."""

    position: int


class Operation(KerasModule):
    """A function of `OPERATIONS` with its fixed arguments; `TensorArgument(i)` in them stands for the i-th input."""

    def __init__(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.args = args
        self.kwargs = kwargs

    def forward(self, *inputs: Tensor) -> Any:
        """Return the function's value."""
        args, kwargs = insert_tensors(self.args, inputs), insert_tensors(self.kwargs, inputs)
        if self.function in BINARY:
            return BINARY[self.function](*as_tensors(*args, **kwargs))
        return OPERATIONS[self.function](*args, **kwargs)


def insert_tensors(value: Any, inputs: Sequence[Tensor]) -> Any:
    """Return arguments in which every `TensorArgument` is replaced by its tensor, however deep it is nested."""
    if isinstance(value, TensorArgument):
        return inputs[value.position]
    if isinstance(value, slice):
        return slice(*(insert_tensors(part, inputs) for part in (value.start, value.stop, value.step)))
    if isinstance(value, list):
        return [insert_tensors(entry, inputs) for entry in value]
    if isinstance(value, tuple):
        return tuple(insert_tensors(entry, inputs) for entry in value)
    if isinstance(value, dict):
        return {key: insert_tensors(entry, inputs) for key, entry in value.items()}
    return value


def as_tensors(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Return two operands as tensors of one type and device; at least one of them is a tensor already."""
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        return x1, x2
    if isinstance(x1, Tensor):
        return x1, torch.as_tensor(x2, dtype=_operand_type(x1, x2), device=x1.device)
    return torch.as_tensor(x1, dtype=_operand_type(x2, x1), device=x2.device), x2


def _operand_type(tensor: Tensor, number: Any) -> torch.dtype:
    """Return the type in which `number` meets `tensor`: a fraction makes integers floating point."""
    if isinstance(number, (bool, int)) or tensor.is_floating_point():
        return tensor.dtype
    return torch.float32


# Each table says how a function treats the order of axes, which differs from Keras's inside a converted network.
# The functions of BINARY, UNARY and ALONG_AXIS accept any order; so does REDUCING where it keeps the axes.

# of two tensors, after `as_tensors`
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
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

# of one tensor, entry by entry
UNARY: dict[str, Callable[..., Tensor]] = {
    **ENTRYWISE,
    "absolute": torch.abs,
    "arccos": torch.acos,
    "arcsin": torch.asin,
    "arctan": torch.atan,
    "ceil": torch.ceil,
    "celu": F.celu,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "hard_shrink": F.hardshrink,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_tanh": F.hardtanh,
    "isfinite": torch.isfinite,
    "isnan": torch.isnan,
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
    "trunc": torch.trunc,
    "cast": cast,
}

ALONG_AXIS: dict[str, Callable[..., Any]] = {**JOINING, **SCANNING}

OPERATIONS: dict[str, Callable[..., Any]] = {
    **BINARY,
    **UNARY,
    **REDUCING,
    **ALONG_AXIS,
    **INDEXING,
    **RESHAPING,
    **SELECTING,
}
