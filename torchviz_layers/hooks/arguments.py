"""How the inputs of a batch are passed to a model, and how many samples they contain."""

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
    if model is None:
        return None
    try:
        return inspect.signature(model.forward)
    except (TypeError, ValueError):  # implemented in C++, as that of a TorchScript module
        return None


def takes_list(model: nn.Module | None) -> bool:
    """Whether forward's first parameter is annotated as a list."""
    signature = signature_of(model)
    if signature is None or not signature.parameters:
        return False
    annotation = next(iter(signature.parameters.values())).annotation
    # Annotations are strings where the module has `from __future__ import annotations`.
    spelled = annotation if isinstance(annotation, str) else str(annotation)
    return annotation is list or _LIST_TYPE.match(spelled) is not None


def is_one_argument(model: nn.Module | None, inputs: Sequence[Any], known: int | None = None) -> bool:
    """Whether a list of tensors is the one argument of forward, rather than its arguments.

    It is one argument if forward is annotated so (`images: list[Tensor]`) or cannot take as many arguments. If forward
    can take both, as `forward(images, targets=None)` can, it is one argument if the tensors are pictures (channels,
    height, width) and one argument is all that forward needs.

    `known` is the number of targets or ids in the batch. If each tensor has that many rows, and there are not that many
    tensors, the tensors are arguments.
    """
    if not _are_tensors(inputs):
        return False
    signature = signature_of(model)
    if signature is None or not _binds(signature, inputs[:1]):
        return False
    if takes_list(model) or not _binds(signature, inputs):
        return True
    # Both are possible from here on.
    rows = len(inputs[0]) if inputs[0].dim() else None
    if known == rows and known != len(inputs):
        return False
    required = [p for p in signature.parameters.values() if p.kind in _POSITIONAL and p.default is p.empty]
    return len(required) == 1 and are_pictures(inputs)


def _are_tensors(parts: Sequence[Any]) -> bool:
    """Whether there are parts, all of which are tensors."""
    return len(parts) > 0 and all(isinstance(part, Tensor) for part in parts)


def _binds(signature: inspect.Signature, args: Sequence[Any]) -> bool:
    """Whether forward can be called with these positional arguments."""
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def are_pictures(tensors: Sequence[Any]) -> bool:
    """Whether these are pictures: floating tensors (channels, height, width) with the same number of channels."""
    for one in tensors:
        if not isinstance(one, Tensor) or one.dim() != 3 or not one.is_floating_point():
            return False
        # The sizes of pictures may differ; their channels may not.
        if one.shape[0] != tensors[0].shape[0]:
            return False
    return tensors[0].shape[0] in _CHANNELS


def as_inputs(model: nn.Module | None, inputs: Any, known: int | None = None) -> Any:
    """Return inputs in which a tuple is always the arguments: a list that is one argument becomes a tuple of it.

    `known` is the number of targets or ids that came with them.
    """
    if not isinstance(inputs, list):
        return inputs
    return (inputs,) if is_one_argument(model, inputs, known) else tuple(inputs)


def check_fit(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    advice: str = "inputs=[...] chooses the keys that the model is called with",
) -> None:
    """Raise `DataError` if forward does not take these arguments; `advice` ends the message about an unknown key."""
    signature = signature_of(model)
    if signature is None:
        return
    # An unknown key has a message of its own: it names the keys that forward knows, and says what to do.
    parameters = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]
        unknown = [repr(str(name)) for name in kwargs if name not in names]
        if unknown:
            keys = "key" if len(unknown) == 1 else "keys"
            raise DataError(
                f"batches: {keys} {', '.join(unknown)}: forward of {type(model).__name__} takes "
                f"{', '.join(names) or 'no argument'} only; {advice}"
            )
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise DataError(
            f"batches: forward{signature} of {type(model).__name__} does not take {describe((*args, dict(kwargs)))}: "
            f"{error}"
        ) from error


def named_arguments(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments by the names of forward's parameters; without those by position if its signature is unknown."""
    signature = signature_of(model)
    if signature is None or not args:
        return kwargs
    try:
        by_name = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # forward itself is about to raise a better error
        return kwargs
    return {**by_name, **kwargs}


def copy_of(inputs: Any) -> Any:
    """Return inputs with a copy of each tensor, which the model may write to."""
    return map_tensors(inputs, torch.clone)


def versions_of(inputs: Any) -> list[int]:
    """Return the version counter of each tensor: how often it was written to in place; -1 where that is not counted."""
    return [-1 if tensor.is_inference() else tensor._version for _, tensor in tensors_in(inputs)]


def type_hint(model: nn.Module, inputs: Any, error: Exception) -> str:
    """Return what to add to an error about types: those of the inputs and of the weights, if they differ."""
    if not _ABOUT_TYPES.search(str(error)):
        return ""
    weights = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), None)
    if weights is None:
        return ""
    for _, tensor in tensors_in(inputs):
        # Integers other than bytes are indices (of tokens, for example) and need no conversion.
        is_number = tensor.is_floating_point() or tensor.dtype == torch.uint8
        if is_number and tensor.dtype != weights:
            have, need = (str(dtype).removeprefix("torch.") for dtype in (tensor.dtype, weights))
            return f"; the batch is {have} and the weights are {need}: convert the batch with x.to(torch.{need})"
    return ""


def samples_in(inputs: Any, known: int | None = None) -> int | None:
    """Return the number of samples, by the first part of the inputs; None if no tensor has an axis.

    `known` is the number of targets or ids that came with them. It decides whether a list of tensors is a list of
    samples.
    """
    if isinstance(inputs, Mapping):
        parts = list(inputs.values())
    elif isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
        parts = list(inputs)
    else:
        parts = [inputs]
    # The first part with a tensor decides; what comes after it may be of another length.
    for part in parts:
        if isinstance(part, list) and _are_tensors(part):
            return _samples_in_list(part, known)
        first = next((tensor for _, tensor in tensors_in(part)), None)
        if first is not None:
            return first.shape[0] if first.dim() else None
    return None


def _samples_in_list(tensors: list[Tensor], known: int | None) -> int:
    """Return the number of samples in a list of tensors: one each, or as many as each tensor has rows."""
    lengths = {tuple(one.shape[:1]) for one in tensors}
    # The number of rows of every tensor, or None if they have different numbers or no axis at all.
    rows = tensors[0].shape[0] if len(lengths) == 1 and tensors[0].dim() else None
    if rows is None or are_pictures(tensors):
        return len(tensors)
    # The number of targets decides, unless both readings have the same number of samples.
    if rows != len(tensors) and known in (rows, len(tensors)):
        assert known is not None
        return known
    raise DataError(
        f"batches: {describe(tensors)} may be {len(tensors)} samples or {rows}; targets or ids beside it, as in "
        "(inputs, targets, ids), say which"
    )


def take_samples(inputs: Any, size: int, indices: Sequence[int]) -> Any:
    """Return inputs with some of their `size` samples; parts of another length are kept whole."""
    is_run = isinstance(indices, range) and len(indices) > 0 and indices.step == 1

    def cut(tensor: Tensor) -> Tensor:
        if not tensor.dim() or tensor.shape[0] != size:
            return tensor
        if is_run:
            # A view, where an index would make a copy.
            return tensor[indices[0] : indices[-1] + 1]
        return tensor[torch.tensor(list(indices), device=tensor.device)]

    return _cut(inputs, size, cut, lambda samples: [samples[index] for index in indices])


def _cut(inputs: Any, size: int, cut: Callable[[Tensor], Tensor], pick: Callable[[list[Any]], list[Any]]) -> Any:
    """Apply `cut` to tensors and `pick` to lists of samples, wherever they are in the inputs."""
    # `map_tensors` would enter the lists of samples, so dicts and tuples around them are walked here.
    if type(inputs) is dict:
        return {name: _cut(part, size, cut, pick) for name, part in inputs.items()}
    if type(inputs) is tuple:
        return tuple(_cut(part, size, cut, pick) for part in inputs)
    if isinstance(inputs, list) and len(inputs) == size and _are_tensors(inputs):
        return pick(inputs)
    return map_tensors(inputs, cut)
