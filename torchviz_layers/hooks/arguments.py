"""How the inputs of a batch are passed to a model, and how many samples they hold."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchviz_layers._common.nested import describe, map_tensors, tensors_in
from torchviz_layers.exceptions import DataError

_LIST_TYPE = re.compile(r"(typing\.|collections\.abc\.)?(list|sequence)\[", re.IGNORECASE)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_CHANNELS = (1, 3, 4)
_ABOUT_TYPES = re.compile(r"\b(dtype|type|Float|Double|Half|Byte|Char)\b")


def signature_of(model: nn.Module | None) -> inspect.Signature | None:
    """Return the signature of a model's forward, if it can be read."""
    try:
        return None if model is None else inspect.signature(model.forward)
    except (TypeError, ValueError):
        return None


def asks_for_list(model: nn.Module | None) -> bool:
    """Whether forward's first parameter is annotated as a list."""
    signature = signature_of(model)
    first = next(iter(signature.parameters.values()), None) if signature else None
    annotation = "" if first is None or first.annotation is first.empty else first.annotation
    spelled = annotation if isinstance(annotation, str) else str(annotation)
    return _LIST_TYPE.match(spelled) is not None or annotation is list


def is_one_argument(model: nn.Module | None, inputs: Sequence[Any], known: int | None = None) -> bool:
    """Whether a list of tensors is the one argument of forward, rather than its arguments.

    It is where forward says so (`images: list[Tensor]`) or does not take as many arguments. Where it takes both, as
    `forward(images, targets=None)` does, it is if the tensors are pictures: (channels, height, width) each. `known`
    samples, by the targets or ids beside them, are not as many pictures where each tensor has as many rows.
    """
    if not inputs or not all(isinstance(part, Tensor) for part in inputs):
        return False
    signature = signature_of(model)
    if signature is None or not _binds(signature, inputs[:1]):
        return False
    if asks_for_list(model) or not _binds(signature, inputs):
        return True
    required = [p for p in signature.parameters.values() if p.kind in _POSITIONAL and p.default is p.empty]
    if len(inputs) != known == (len(inputs[0]) if inputs[0].dim() else None):
        return False
    return len(required) == 1 and are_pictures(inputs)


def _binds(signature: inspect.Signature, args: Sequence[Any]) -> bool:
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def are_pictures(tensors: Sequence[Any]) -> bool:
    """Whether these are pictures: floating tensors of shape (channels, height, width), of equally many channels."""
    return (
        all(isinstance(one, Tensor) and one.dim() == 3 and one.is_floating_point() for one in tensors)
        and len({one.shape[0] for one in tensors}) == 1
        and tensors[0].shape[0] in _CHANNELS
    )


def as_inputs(model: nn.Module | None, inputs: Any, known: int | None = None) -> Any:
    """Return inputs in which a tuple holds the arguments; a list that is one argument is inside a tuple then.

    `known` is how many targets or ids came with them.
    """
    if isinstance(inputs, list):
        return (inputs,) if is_one_argument(model, inputs, known) else tuple(inputs)
    return inputs


def check_fit(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    way_out: str = "inputs=[...] chooses the keys that the model is called with",
) -> None:
    """Raise `DataError` if forward does not take these arguments; `way_out` ends the message about a surplus key."""
    signature = signature_of(model)
    if signature is None:
        return
    taken = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        names = [parameter.name for parameter in taken if parameter.kind is not parameter.POSITIONAL_ONLY]
        surplus = [str(name) for name in kwargs if name not in names]
        if surplus:
            raise DataError(
                f"batches: key{'s' * (len(surplus) > 1)} {', '.join(map(repr, surplus))}: forward of "
                f"{type(model).__name__} takes {', '.join(names) or 'no argument'} only; {way_out}"
            )
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise DataError(
            f"batches: forward{signature} of {type(model).__name__} does not take {describe((*args, dict(kwargs)))}: "
            f"{error}"
        ) from error


def named_arguments(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments by the names of forward's parameters; those by position are left out where it cannot be read."""
    signature = signature_of(model) if args else None
    try:
        return kwargs if signature is None else {**signature.bind_partial(*args, **kwargs).arguments, **kwargs}
    except TypeError:  # forward is about to say so itself
        return kwargs


def copy_of(inputs: Any) -> Any:
    """Return inputs with a copy of each tensor, which the model may write to."""
    return map_tensors(inputs, torch.clone)


def versions_of(inputs: Any) -> list[int]:
    """Return how often each tensor of inputs has been written to in place; -1 where that is not counted."""
    return [-1 if tensor.is_inference() else tensor._version for _, tensor in tensors_in(inputs)]


def type_hint(model: nn.Module, inputs: Any, error: Exception) -> str:
    """Return what to say of an error about types: those of the inputs and of the weights, where they differ."""
    if not _ABOUT_TYPES.search(str(error)):
        return ""
    weights = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    found = [tensor.dtype for _, tensor in tensors_in(inputs)]
    # Other integers are indices, of words say, and right as they are.
    numbers = [dtype for dtype in found if dtype.is_floating_point or dtype == torch.uint8]
    given = next((dtype for dtype in numbers if dtype != weights), None)
    if weights is None or given is None:
        return ""
    names = [str(dtype).removeprefix("torch.") for dtype in (given, weights)]
    return f"; the batch holds {names[0]} and the weights are {names[1]}: convert the batch, x.to(torch.{names[1]}) say"


def samples_in(inputs: Any, known: int | None = None) -> int | None:
    """Return how many samples inputs hold, by their first part; None where there is no tensor with an axis.

    `known` is how many targets or ids came with them: it decides whether a list of tensors is a list of samples.
    """
    plain_tuple = isinstance(inputs, tuple) and not hasattr(inputs, "_fields")
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if plain_tuple else (inputs,)
    for part in parts:
        if isinstance(part, list) and part and all(isinstance(one, Tensor) for one in part):
            return _samples_in_list(part, known)
        first = next((tensor for _, tensor in tensors_in(part)), None)
        if first is not None:
            return first.shape[0] if first.dim() else None
    return None


def _samples_in_list(tensors: list[Tensor], known: int | None) -> int:
    rows = {one.shape[0] if one.dim() else None for one in tensors}
    length = next(iter(rows)) if len(rows) == 1 else None
    if length is None or are_pictures(tensors) or (known == len(tensors) != length):
        return len(tensors)
    if known == length != len(tensors):
        return length
    raise DataError(
        f"batches: {describe(tensors)} may be {len(tensors)} samples or {length}; targets or ids beside it, as in "
        "(inputs, targets, ids), say which"
    )


def take_samples(inputs: Any, size: int, indices: Sequence[int]) -> Any:
    """Return inputs with some of their `size` samples; what is of another length is kept whole."""
    run = indices == range(indices[0], indices[-1] + 1) if isinstance(indices, range) and indices else False

    def cut(tensor: Tensor) -> Tensor:
        if not tensor.dim() or tensor.shape[0] != size:
            return tensor
        if run:
            return tensor[indices[0] : indices[-1] + 1]
        return tensor[torch.tensor(list(indices), device=tensor.device)]

    return _cut(inputs, size, cut, lambda samples: [samples[index] for index in indices])


def _cut(inputs: Any, size: int, cut: Callable[[Tensor], Tensor], pick: Callable[[list[Any]], list[Any]]) -> Any:
    if isinstance(inputs, Mapping) and type(inputs) is dict:
        return {name: _cut(part, size, cut, pick) for name, part in inputs.items()}
    if type(inputs) is tuple:
        return tuple(_cut(part, size, cut, pick) for part in inputs)
    if isinstance(inputs, list) and len(inputs) == size and all(isinstance(one, Tensor) for one in inputs):
        return pick(inputs)
    return map_tensors(inputs, cut)
