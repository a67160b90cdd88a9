"""The constructor and the call of each module, as a person would write them in source."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from torchviz_layers.convert.layers import (
    activations,
    base,
    convolution,
    core,
    merging,
    normalization,
    pooling,
    resampling,
)
from torchviz_layers.convert.layers.activations import ACTIVATIONS
from torchviz_layers.convert.layers.operations import BINARY, OPERATIONS, Operation, TensorArgument
from torchviz_layers.convert.source.definitions import definitions
from torchviz_layers.exceptions import ConversionError

_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "equal": "==",
    "not_equal": "!=",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
}
_MERGES = {"add": "+", "average": "+", "subtract": "-", "multiply": "*"}
_TORCH_FUNCTIONS = {"relu": "F.relu", "sigmoid": "torch.sigmoid", "tanh": "torch.tanh", "exponential": "torch.exp"}
# arguments of our modules that those of `torch.nn` lack
_NOT_OF_TORCH = {"activation", "axis", "channels_last", "keras_same", "causal", "noise_axes", "same"}

Expression = tuple[str, set[str]]


def constructor_expression(
    module: nn.Module, inner: dict[int, str | None], shape: str, *, whole: bool = False, masked: bool = False
) -> tuple[str | None, set[str]]:
    """Return the constructor's call, or None where a call needs no module; and the names of `layers` in it.

    `inner` are the expressions of its submodules; `shape` is that of its output, where it is known. With `whole` the
    module is inside another one, whose code calls it with its activation and padding. `masked` modules are called with
    a mask.
    """
    if not whole and not masked and (isinstance(module, Operation) or _needs_no_module(module)):
        return None, set()
    plain = None if whole else _plain_class(module, shape)
    if plain is not None:
        return f"nn.{plain}({_arguments(module, inner, plain=True)})", set()
    name = type(module).__name__
    if type(module).__module__.split(".")[:3] != base.__name__.split(".")[:3]:
        raise ConversionError(f"{name} is not a layer of this library: its source is the caller's own")
    if name not in definitions():
        raise ConversionError(f"{name}: its file is missing from _MODULES in convert/source/definitions.py")
    return f"{name}({_arguments(module, inner, plain=False)})", {name}


def _needs_no_module(module: nn.Module) -> bool:
    if isinstance(module, activations.Activation):
        return not isinstance(module.activation, nn.Module)
    if isinstance(module, merging.Merge):
        return not module.broadcast
    return isinstance(
        module,
        (
            core.Input,
            core.Identity,
            core.Flatten,
            core.Reshape,
            core.Permute,
            core.RepeatVector,
            pooling.GlobalPool,
            merging.Concatenate,
            resampling.Pad,
        ),
    )


def _plain_class(module: nn.Module, shape: str) -> str | None:
    """Return the class of `torch.nn` that can replace a module, apart from its activation and padding."""
    if isinstance(getattr(module, "activation", None), nn.Module):
        return None
    if isinstance(module, convolution._Convolution):
        return None if module.keras_same or module.causal else type(module).__name__
    if isinstance(module, core.Linear):
        return "Linear" if module.axis == -1 else None
    if isinstance(module, core.Embedding):
        return "Embedding"
    if isinstance(module, core.Dropout):
        return "Dropout" if module.noise_axes is None else None
    if isinstance(module, (pooling.MaxPool, pooling.AvgPool)):
        return None if module.same else f"{type(module).__name__}{len(module.kernel_size)}d"
    if isinstance(module, normalization.BatchNorm) and module.axis == 1 and shape:
        rank = shape.count(",") + 1
        return f"BatchNorm{max(1, rank - 2)}d" if rank <= 5 else None
    return None


def _arguments(module: nn.Module, inner: dict[int, str | None], *, plain: bool) -> str:
    """Return the arguments of a constructor; `plain` ones are those that a module of `torch.nn` has."""
    given = base.constructor_arguments(module)
    if plain:
        for name in _NOT_OF_TORCH & set(given):
            del given[name]
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            parts = [str(inner_of(part, inner)) for part in child]
            given[name] = f"[{', '.join(parts)}]"
        elif name not in given and inner.get(id(child)) is not None:
            given[name] = str(inner[id(child)])
    # A person writes `nn.Conv2d(1, 6, kernel_size=5)`: the first two by position, the others by name.
    arguments = []
    by_position = plain
    for index, name in enumerate(base.constructor_names(module)):
        if name not in given:
            by_position = False
        elif by_position and index < 2:
            arguments.append(given[name])
        else:
            arguments.append(f"{name}={given[name]}")
    return ", ".join(arguments)


def inner_of(part: nn.Module, inner: dict[int, str | None]) -> str | None:
    """Return the expression of a module inside a list."""
    if id(part) in inner:
        return inner[id(part)]
    return constructor_expression(part, inner, "")[0]


def activated(activation: Any, expression: str, axis: int) -> Expression:
    """Return an expression under an activation."""
    if activation is None:
        return expression, set()
    if activation in activations.AXIS_ACTIVATIONS:
        if activation == "sparsemax":
            return f"sparsemax({expression}, {axis})", {"sparsemax"}
        return f"F.{activation}({expression}, dim={axis})", set()
    function = ACTIVATIONS[activation]
    if activation in _TORCH_FUNCTIONS:
        return f"{_TORCH_FUNCTIONS[activation]}({expression})", set()
    return _function_call(function, [expression])


def _function_call(function: Any, arguments: list[str]) -> Expression:
    name = function.__name__
    text = ", ".join(arguments)
    if getattr(torch, name, None) is function:
        return f"torch.{name}({text})", set()
    if getattr(torch.nn.functional, name, None) is function:
        return f"F.{name}({text})", set()
    return f"{name}({text})", {name}


def call_expression(
    module: nn.Module, own: str, arguments: list[str], keywords: dict[str, str], shape: str
) -> Expression:
    """Return what a call of `module`, known as `own`, is; and the names from `layers` in it."""
    if isinstance(module, Operation):
        return _operation(module, arguments)
    if isinstance(module, (core.Input, core.Identity)):
        return arguments[0], set()
    special = None if keywords else _without_module(module, arguments)
    if special is not None:
        return special
    plain = _plain_class(module, shape)
    if plain is not None:
        return _plain_call(module, plain, own, arguments[0])
    named = [f"{key}={value}" for key, value in keywords.items()]
    return f"{own}({', '.join([*arguments, *named])})", set()


def _plain_call(module: nn.Module, plain: str, own: str, x: str) -> Expression:
    """Return the call of a module that is written as one of `torch.nn`: what that lacks is written around it."""
    if plain == "Embedding":
        return f"{own}({x}.long())", set()
    activation = getattr(module, "activation", None)
    axis = 1 if isinstance(module, convolution._Convolution) else -1
    if getattr(module, "channels_last", False):
        text, used = activated(activation, f"{own}({x}.movedim(-1, 1))", axis)
        return f"{text}.movedim(1, -1)", used
    return activated(activation, f"{own}({x})", axis)


def _without_module(module: nn.Module, arguments: list[str]) -> Expression | None:
    x = arguments[0] if arguments else ""
    if isinstance(module, activations.Activation) and not isinstance(module.activation, nn.Module):
        return activated(module.activation, x, module.axis)
    if isinstance(module, core.Flatten):
        last = x if module.channels_at == -1 else f"{x}.movedim({module.channels_at}, -1)"
        return f"{last}.flatten(1)", set()
    if isinstance(module, core.Reshape):
        return f"{x}.reshape({x}.shape[0], {', '.join(map(str, module.target_shape))})", set()
    if isinstance(module, core.Permute):
        return f"{x}.permute(0, {', '.join(map(str, module.dims))})", set()
    if isinstance(module, core.RepeatVector):
        return f"{x}.unsqueeze(1).expand(-1, {module.n}, -1)", set()
    if isinstance(module, merging.Concatenate):
        return f"torch.cat([{', '.join(arguments)}], {module.axis})", set()
    if isinstance(module, merging.Merge):
        return _merge(module, arguments)
    if isinstance(module, pooling.GlobalPool):
        keepdim = ", keepdim=True" if module.keepdims else ""
        return f"{x}.{'amax' if module.maximum else 'mean'}({module.axes}{keepdim})", set()
    if isinstance(module, resampling.Pad):
        return f"F.pad({x}, {module.pads})", set()
    return None


def _merge(module: merging.Merge, arguments: list[str]) -> Expression | None:
    if module.broadcast:
        return None
    symbol = _MERGES.get(module.operation)
    if symbol is not None:
        text = f" {symbol} ".join(arguments)
        if module.operation == "average":
            text = f"({text}) / {len(arguments)}"
        return text, set()
    # maximum and minimum take two tensors each
    text = arguments[0]
    for argument in arguments[1:]:
        text = f"torch.{module.operation}({text}, {argument})"
    return text, set()


def _operation(module: Operation, arguments: list[str]) -> Expression:
    args = [_literal(value, arguments) for value in module.args]
    keywords = [f"{key}={_literal(value, arguments)}" for key, value in module.kwargs.items()]
    if module.function in BINARY:
        # Keras passes the two operands by position, or by the names x1 and x2.
        named = [_literal(module.kwargs[key], arguments) for key in ("x1", "x2") if key in module.kwargs]
        first, second = [*args, *named]
        if module.function in _SYMBOLS:
            return f"{first} {_SYMBOLS[module.function]} {second}", set()
        # An operand may be a plain number, which the function itself does not accept.
        text, used = _function_call(BINARY[module.function], [f"*as_tensors({first}, {second})"])
        return text, {"as_tensors", *used}
    return _function_call(OPERATIONS[module.function], [*args, *keywords])


def tuple_expression(entries: list[str]) -> str:
    """Return a tuple of expressions; one of a single entry needs a comma."""
    return f"({entries[0]},)" if len(entries) == 1 else f"({', '.join(entries)})"


def _literal(value: Any, arguments: list[str]) -> str:
    if isinstance(value, TensorArgument):
        return arguments[value.position]
    if isinstance(value, slice):
        bounds = [_literal(part, arguments) for part in (value.start, value.stop, value.step)]
        return f"slice({', '.join(bounds)})"
    if isinstance(value, list):
        entries = [_literal(entry, arguments) for entry in value]
        return f"[{', '.join(entries)}]"
    if isinstance(value, tuple):
        return tuple_expression([_literal(entry, arguments) for entry in value])
    if value is Ellipsis:
        return "..."
    return re.sub(r"^'(.*)'$", r'"\1"', repr(value))  # strings in double quotes
