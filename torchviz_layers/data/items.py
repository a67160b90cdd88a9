"""Single samples, as datasets and lists have them: which part is fed, which are targets, ids and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Number, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.nested import describe
from torchviz_layers.data.feeding import bare_inputs, picture_pixels
from torchviz_layers.data.parts import ID_KEYS, TARGET_KEYS, Part
from torchviz_layers.data.views import is_picture
from torchviz_layers.exceptions import DataError

TEXT_KEYS = ("text", "sentence")  # as Hugging Face's data sets name them
ACCEPTED = (
    "a sample is a tensor, an array, a picture, a text, (input, target) or a dict of these, such as "
    '{"image": x, "label": y}'
)


@dataclass(frozen=True)
class Reading:
    """How the items of a source are read.

    `target` is the key of the targets in items that are mappings. `bare` items are pictures and arrays that no dataset
    made into inputs: they are fed as `bare_inputs` says, others as they come.
    """

    target: str | None = None
    transform: Callable[[Any], Any] | None = None
    tokenizer: Callable[..., Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    bare: bool = False
    remarks: dict[str, None] = field(default_factory=dict)  # sentences, each once, in order


@dataclass(frozen=True)
class Item:
    """One sample: its input, and what is known of it. `raw` is what its dataset read before it transformed it."""

    input: Any
    target: Any = None
    id: Any = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    raw: Any = None


def checked(reading: Reading) -> Reading:
    """Raise `DataError` if what should be functions are none."""
    for name in ("transform", "tokenizer", "collate"):
        function = getattr(reading, name)
        if function is not None and not callable(function):
            raise DataError(f"{name}={function!r} is no function but of type {type(function).__name__}; give a function")
    return reading


def read_item(item: Any, row: int, reading: Reading) -> Item:
    """Split an item into its parts; raise `DataError` with its row if it is no sample."""
    if isinstance(item, Mapping):
        return _read_mapping(item, row, reading)
    if reading.target is not None:
        raise DataError(
            f"targets={reading.target!r} names a part of each sample, but row {row} is {describe(item)[:80]}, without "
            "names; give the targets themselves, one a sample"
        )
    if isinstance(item, tuple | list) and not _is_vector(item):
        return _read_tuple(item, row, reading)
    check_sample(item, row)
    return Item(item)


def with_raw(read: Item, item: Any, raw: Any, whole: bool) -> Item:
    """Return an item with its raw item: what its dataset kept, or, if it is wanted whole, the dict that it is."""
    if whole and raw is None and isinstance(item, Mapping):
        raw = item
    return read if raw is None else replace(read, raw=raw)


def check_sample(value: Any, row: int) -> None:
    """Raise `DataError` if a value is nothing that a network can be fed."""
    known = isinstance(value, Tensor | str | Real | np.generic) or is_picture(value) or _is_vector(value)
    known = known or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
    if not known:
        raise DataError(f"row {row}: the sample is {_named(value)}; {ACCEPTED}")


def _named(value: Any) -> str:
    """Return a value's type, and its shape and dtype where it has them."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    return "None" if value is None else f"of type {type(value).__name__} ({describe(value)[:80]})"


def _is_vector(value: Any) -> bool:
    """Whether a value is a list of numbers, or of such lists: an array that is written as lists."""
    if not isinstance(value, list) or not value:
        return False
    return all(_is_vector(part) or isinstance(part, int | float) for part in value)


def _read_tuple(item: Sequence[Any], row: int, reading: Reading) -> Item:
    if not item:
        raise DataError(f"row {row}: the sample is an empty {type(item).__name__}; {ACCEPTED}")
    first, target, third, *rest = (*item, None, None)[: max(3, len(item))]
    given_id = third if isinstance(third, int | str | np.integer) and not isinstance(third, bool) else None
    if rest or (third is not None and given_id is None):
        reading.remarks["of each sample only (input, target, id) are used, what follows is left out"] = None
    if isinstance(first, tuple | list) and not _is_vector(first):
        for part in first:
            check_sample(part, row)
    elif isinstance(first, Mapping):
        inner = _read_mapping(first, row, reading)
        return Item(inner.input, target, given_id, inner.columns)
    else:
        check_sample(first, row)
    return Item(first, target, given_id)


def _read_mapping(item: Mapping[Any, Any], row: int, reading: Reading) -> Item:
    rest = dict(item)
    if reading.target is not None and reading.target not in rest:
        raise DataError(f"targets={reading.target!r}: row {row} has {', '.join(map(str, rest))}; name one of these")
    target = pop_first(rest, TARGET_KEYS if reading.target is None else (reading.target,))
    given_id = pop_first(rest, ID_KEYS)
    inputs, columns = divide(rest, reading.tokenizer is not None or reading.collate is not None)
    if not inputs:
        raise DataError(f"row {row}: the dict has {', '.join(map(str, item)) or 'nothing'} and no input; {ACCEPTED}")
    for value in inputs.values():
        check_sample(value, row)
    return Item(bare_if_one(inputs), target, given_id, columns)


def pop_first(mapping: dict[Any, Any], keys: Sequence[str]) -> Any:
    """Remove the first of the keys that there is, and return its value."""
    for key in keys:
        if key in mapping:
            return mapping.pop(key)
    return None


def divide(parts: Mapping[Any, Any], text_is_input: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide what a dict has beside target and id into inputs and columns.

    What has axes is an input. Without such, a text is one: the value of "text" or "sentence", or the first one if a
    tokenizer wants it. Without that, the numbers are: the row of a table.
    """
    inputs = {str(key): value for key, value in parts.items() if _has_axes(value)}
    texts = [str(key) for key, value in parts.items() if isinstance(value, str)]
    named = [key for key in texts if key in TEXT_KEYS]
    numbers = {str(key): value for key, value in parts.items() if isinstance(value, Number | np.generic | Tensor)}
    if not inputs and (named or (texts and (text_is_input or not numbers))):
        inputs = {key: parts[key] for key in (named or texts)[:1]}
    elif not inputs and numbers:
        inputs = {"row": {key: value for key, value in numbers.items() if key not in inputs}}
        inputs = {"row": NamedRow(inputs["row"])}
        columns = {str(key): value for key, value in parts.items() if str(key) not in numbers}
        return inputs, columns
    return inputs, {str(key): value for key, value in parts.items() if str(key) not in inputs}


class NamedRow(np.ndarray):  # type: ignore[type-arg]
    """A row of numbers (n_features,), float32, that knows the names of its features."""

    names: tuple[str, ...]

    def __new__(cls, numbers: Mapping[str, Any]) -> NamedRow:
        """Make the row of named numbers."""
        row = np.array([float(value) for value in numbers.values()], np.float32).view(cls)
        row.names = tuple(numbers)
        return row


def bare_if_one(inputs: dict[str, Any]) -> Any:
    """Return the only input itself, or the mapping of several, the keyword arguments of the network."""
    return next(iter(inputs.values())) if len(inputs) == 1 else inputs


def _has_axes(value: Any) -> bool:
    return is_picture(value) or _is_vector(value) or len(getattr(value, "shape", ())) > 0


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
    if isinstance(inputs[0], tuple | list) and not _is_vector(inputs[0]):
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
    arrays = [np.asarray(one) if _is_vector(one) else one for one in arrays]
    _check_alike([tuple(getattr(one, "shape", ())) for one in arrays], "shapes", first)
    if bare:
        is_tensor = isinstance(arrays[0], Tensor)
        return bare_inputs(torch.stack(arrays) if is_tensor else np.stack(arrays))
    try:
        return default_collate(arrays)
    except (TypeError, RuntimeError, ValueError) as problem:
        last = first + len(values) - 1
        raise DataError(f"rows {first} to {last} make no batch: {problem}; collate= makes one of a list") from problem


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
