"""Errors that name the model that they are about, where several models run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchviz_layers._common.nested import describe, tensors_in
from torchviz_layers.exceptions import ModelError, TorchvizLayersError


@contextmanager
def naming(name: str, inputs: Any = None) -> Iterator[None]:
    """Begin the message of any error of the block with the name of the model; do nothing if the name is empty.

    What the model's own code raises becomes a `ModelError` that describes its inputs.
    """
    if not name:
        yield
        return
    try:
        yield
    except TorchvizLayersError as error:
        if not str(error).startswith(f"{name}: "):
            error.args = (f"{name}: {error}", *error.args[1:])
        raise
    except Exception as problem:  # the model's code is the caller's and may raise anything
        reason = str(problem).partition("\n")[0] or type(problem).__name__
        raise ModelError(f"{name}: {_described(inputs)} do not go through ({reason}); {_mending(inputs)}") from problem


def _described(inputs: Any) -> str:
    """Return what the inputs of one sample are."""
    tensors = [tensor for _, tensor in tensors_in(inputs)]
    if len(tensors) != 1:
        return f"inputs {describe(inputs)}"
    kind = "images" if _is_pictures(inputs) else "samples"
    return f"{kind} of shape {tuple(tensors[0].shape[1:])}"


def _is_pictures(inputs: Any) -> bool:
    return any(tensor.dim() == 4 and tensor.shape[1] in (1, 3, 4) for _, tensor in tensors_in(inputs))


def _mending(inputs: Any) -> str:
    if _is_pictures(inputs):
        return "set model.transform, or --transform, where it wants others"
    return "give it the inputs that its forward takes"
