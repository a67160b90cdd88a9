"""What all modules of a converted network share."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn


class KerasModule(nn.Module):
    """The module of one Keras layer.

    Every argument of a constructor is kept in an attribute of the same name. So `print(model)` shows how each module
    was made, and the source writer can write the same call.
    """

    is_layer = True  # one layer for `list_layers`, even where it has modules of its own

    def extra_repr(self) -> str:
        """Return the constructor's arguments, without those that have their default."""
        return ", ".join(f"{name}={value}" for name, value in constructor_arguments(self).items())


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # a class without an `__init__` has both


def constructor_arguments(module: nn.Module) -> dict[str, str]:
    """Return the source of each argument that `module` was made with, without those that have their default."""
    arguments = {}
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", "device", "dtype") or parameter.kind in _VARIADIC:
            continue
        value = getattr(module, name)
        if name == "bias":
            value = value is not None if not isinstance(value, bool) else value
        if isinstance(value, nn.Module) or _same(value, parameter.default):
            continue
        arguments[name] = _source(value)
    return arguments


def constructor_names(module: nn.Module) -> list[str]:
    """Return the names of a module's constructor arguments, in order."""
    parameters = inspect.signature(type(module).__init__).parameters
    return [name for name, parameter in parameters.items() if name != "self" and parameter.kind not in _VARIADIC]


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, tuple) and isinstance(default, int):
        return all(entry == default for entry in value)
    return type(value) is type(default) and bool(value == default)


def _source(value: Any) -> str:
    if isinstance(value, (torch.Tensor, nn.Module)):
        return f"<{type(value).__name__}>"
    return repr(value).replace("'", '"') if "'" not in str(value) else repr(value)
