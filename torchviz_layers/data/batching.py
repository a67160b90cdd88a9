"""Single samples as a batch: stacked, tokenized or collated, with their targets, ids and columns beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.feeding import bare_inputs, picture_pixels
from torchviz_layers.data.items import Item, Reading, is_vector
from torchviz_layers.data.parts import Part
from torchviz_layers.data.views import is_picture
from torchviz_layers.exceptions import DataError


def part_of(items: Sequence[Item], first: int, reading: Reading) -> Part:
    """Return items as a batch; `first` is the row of the first one."""
    raw = [item.raw if item.raw is not None else item.input for item in items]
    inputs = [item.input for item in items]
    if reading.transform is not None:
        inputs = [_transformed(one, first + place, reading.transform) for place, one in enumerate(inputs)]
    texts = all(isinstance(one, str) for one in inputs)
    # Where the network is fed what is shown there is nothing to keep beside it.
    is_shown = any(item.raw is not None for item in items) or reading.transform or reading.collate or texts
    is_shown = is_shown or is_picture(raw[0])
    names = dict.fromkeys(name for item in items for name in item.columns)
    return Part(
        inputs=_fed(inputs, first, reading),
        size=len(items),
        targets=_targets([item.target for item in items]),
        ids=None if any(item.id is None for item in items) else [item.id for item in items],
        columns={name: [item.columns.get(name) for item in items] for name in names},
        looks=raw if is_shown else None,
        row_names=items[0].names,
    )


def _transformed(value: Any, row: int, transform: Callable[[Any], Any]) -> Any:
    try:
        made = transform(value)
    except Exception as problem:  # the function is the caller's and may raise anything
        raise DataError(f"row {row}: transform= raised {type(problem).__name__}: {problem}") from problem
    if made is None:
        raise DataError(f"row {row}: transform= returned None; it returns the input made of a sample")
    return made


def _fed(inputs: list[Any], first: int, reading: Reading) -> Any:
    """Return the inputs of a batch's items as one batch."""
    if reading.collate is not None:
        return _called("collate=", reading.collate, first, inputs)
    _check_alike([_kind(one) for one in inputs], "types", first)
    if isinstance(inputs[0], str):
        return tokenized(inputs, first, reading.tokenizer)
    if isinstance(inputs[0], Mapping):
        _check_alike([tuple(one) for one in inputs], "keys", first)
        return {name: _stacked([one[name] for one in inputs], first, reading.bare) for name in inputs[0]}
    if isinstance(inputs[0], tuple | list) and not is_vector(inputs[0]):
        _check_alike([len(one) for one in inputs], "parts", first)
        return [_stacked(list(parts), first, reading.bare) for parts in zip(*inputs, strict=True)]
    return _stacked(inputs, first, reading.bare)


def _kind(value: Any) -> str:
    """Return what of a value's type must be the same for all samples of a batch."""
    kinds = {"text": str, "number": Number, "tensor": Tensor, "array": np.ndarray, "dict": Mapping, "tuple": tuple}
    named = next((name for name, kind in kinds.items() if isinstance(value, kind)), type(value).__name__)
    return "picture" if is_picture(value) else named


def tokenized(texts: list[str], first: int, tokenizer: Callable[..., Any] | None) -> Any:
    """Return texts as a tokenizer makes them inputs, or as they are; `first` is the row of the first one."""
    if tokenizer is None:
        return texts
    tokens = _called("tokenizer=", tokenizer, first, texts, padding=True, truncation=True, return_tensors="pt")
    return dict(tokens) if hasattr(tokens, "keys") else tokens


def _called(what: str, function: Callable[..., Any], first: int, inputs: list[Any], **options: Any) -> Any:
    try:
        return function(inputs, **options)
    except Exception as problem:  # the function is the caller's and may raise anything
        last = first + len(inputs) - 1
        raise DataError(f"rows {first} to {last}: {what} raised {type(problem).__name__}: {problem}") from problem


def _stacked(values: list[Any], first: int, bare: bool) -> Any:
    """Return one input of every item as a tensor (n, ...), or as the list of texts that it is."""
    if isinstance(values[0], str):
        return values
    bare = bare or is_picture(values[0])
    arrays: list[Any] = [picture_pixels(one) if is_picture(one) else one for one in values]
    arrays = [_array(one, first + place) if is_vector(one) else one for place, one in enumerate(arrays)]
    _check_alike([tuple(getattr(one, "shape", ())) for one in arrays], "shapes", first)
    if bare:
        is_tensor = isinstance(arrays[0], Tensor)
        return bare_inputs(torch.stack(arrays) if is_tensor else np.stack(arrays))
    try:
        return default_collate(arrays)
    except (TypeError, RuntimeError, ValueError) as problem:
        last = first + len(values) - 1
        raise DataError(f"rows {first} to {last} make no batch: {problem}; collate= makes one of a list") from problem


def _array(numbers: list[Any], row: int) -> Array:
    try:
        return np.asarray(numbers)
    except ValueError as problem:
        raise DataError(
            f"row {row}: its lists of numbers differ in length, {repr(numbers)[:60]}; give lists of one length"
        ) from problem


def _check_alike(kinds: list[Any], what: str, first: int) -> None:
    """Raise `DataError` where the items of a batch differ in shape, keys or number of parts."""
    for place, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise DataError(
                f"rows {first} and {first + place} have different {what}, {kinds[0]} and {kind}: give transform= that "
                "resizes each sample, or collate= that makes a batch of a list of them"
            )


def _targets(values: list[Any]) -> Any:
    """Return the targets of a batch as PyTorch's loaders make them; None where there are none or they make no batch."""
    if all(value is None for value in values):
        return None
    if any(value is None or isinstance(value, str) for value in values):
        return values
    try:
        targets: Tensor | list[Any] | Array = default_collate(values)
    except (TypeError, RuntimeError, ValueError, KeyError):  # boxes, of which each sample has another number
        return values
    return targets
