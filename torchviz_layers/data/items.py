"""Single samples, as datasets and lists have them: which part is fed, which are targets, ids and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from torchviz_layers._common.nested import describe
from torchviz_layers.data.parts import ID_KEYS, TARGET_KEYS, check_inputs_and_target, is_whole
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
    names: tuple[str, ...] = ()  # of the numbers of a row


def checked(reading: Reading) -> Reading:
    """Raise `DataError` if what should be functions are none."""
    for name in ("transform", "tokenizer", "collate"):
        function = getattr(reading, name)
        if function is not None and not callable(function):
            raise DataError(
                f"{name}={function!r} is no function but of type {type(function).__name__}; give a function"
            )
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
    if isinstance(item, tuple | list) and not is_vector(item):
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
    known = isinstance(value, Tensor | str | Real | np.generic) or is_picture(value) or is_vector(value)
    known = known or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
    if not known:
        raise DataError(f"row {row}: the sample is {_named(value)}; {ACCEPTED}")


def _named(value: Any) -> str:
    """Return a value's type, and its shape and dtype where it has them."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {value.shape}"
    return "None" if value is None else f"of type {type(value).__name__} ({describe(value)[:80]})"


def is_vector(value: Any) -> bool:
    """Whether a value is a list of numbers, or of such lists: an array that is written as lists."""
    if not isinstance(value, list) or not value:
        return False
    return all(is_vector(part) or isinstance(part, int | float) for part in value)


def _read_tuple(item: Sequence[Any], row: int, reading: Reading) -> Item:
    if not item:
        raise DataError(f"row {row}: the sample is an empty {type(item).__name__}; {ACCEPTED}")
    first, target, third, *rest = (*item, None, None)[: max(3, len(item))]
    check_inputs_and_target(item, f"row {row}", n_axes=1)
    if isinstance(third, Tensor | np.ndarray) and third.ndim == 0 and is_whole(third):  # of a TensorDataset
        third = third.item()
    given_id = third if isinstance(third, int | str | np.integer) and not isinstance(third, bool) else None
    if rest or (third is not None and given_id is None):
        reading.remarks["of each sample only (input, target, id) are used, what follows is left out"] = None
    if isinstance(first, tuple | list) and not is_vector(first):
        for part in first:
            check_sample(part, row)
    elif isinstance(first, Mapping):
        inner = _read_mapping(first, row, reading)
        return replace(inner, target=target, id=given_id)
    else:
        check_sample(first, row)
    return Item(first, target, given_id)


def _read_mapping(item: Mapping[Any, Any], row: int, reading: Reading) -> Item:
    rest = dict(item)
    if reading.target is not None and reading.target not in rest:
        raise DataError(f"targets={reading.target!r}: row {row} has {', '.join(map(str, rest))}; name one of these")
    target = pop_first(rest, TARGET_KEYS if reading.target is None else (reading.target,))
    given_id = pop_first(rest, ID_KEYS)
    divided = divide(rest, reading.tokenizer is not None or reading.collate is not None)
    if not divided.inputs:
        raise DataError(f"row {row}: the dict has {', '.join(map(str, item)) or 'nothing'} and no input; {ACCEPTED}")
    for value in divided.inputs.values():
        check_sample(value, row)
    inputs = bare_if_one(divided.inputs)
    return Item(inputs, target, given_id, divided.columns, divided.text, divided.names)


def pop_first(mapping: dict[Any, Any], keys: Sequence[str]) -> Any:
    """Remove the first of the keys that there is, and return its value."""
    for key in keys:
        if key in mapping:
            return mapping.pop(key)
    return None


@dataclass(frozen=True)
class Divided:
    """What a dict has beside target and id. `names` are those of a row's numbers; `text` is shown, but not fed."""

    inputs: dict[str, Any]
    columns: dict[str, Any]
    names: tuple[str, ...] = ()
    text: str | None = None


def divide(parts: Mapping[Any, Any], text_is_input: bool) -> Divided:
    """Divide what a dict has beside target and id into inputs and columns.

    What has axes is an input. Without such, a text is one: the value of "text" or "sentence", or the first one if a
    tokenizer wants it. Without that, the numbers are: the row of a table.
    """
    parts = {str(key): value for key, value in parts.items()}
    inputs = {key: value for key, value in parts.items() if _has_axes(value)}
    texts = [key for key, value in parts.items() if isinstance(value, str)]
    named = [key for key in texts if key in TEXT_KEYS]
    numbers = {key: float(value) for key, value in parts.items() if _is_number(value)}
    if inputs:
        # A text beside its tokens says more than they do.
        text = parts[named[0]] if named and not any(_is_readable(value) for value in inputs.values()) else None
        hidden = [*inputs, *(named[:1] if text is not None else [])]
        return Divided(inputs, {key: value for key, value in parts.items() if key not in hidden}, text=text)
    if named or (texts and (text_is_input or not numbers)):
        key = (named or texts)[0]
        return Divided({key: parts[key]}, {name: value for name, value in parts.items() if name != key})
    if numbers:
        row = np.array(list(numbers.values()), np.float32)
        rest = {key: value for key, value in parts.items() if key not in numbers}
        return Divided({"row": row}, rest, tuple(numbers))
    return Divided({}, dict(parts))


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() == 0 and not value.is_complex()
    return isinstance(value, Real | np.number | np.bool_) and not isinstance(value, np.complexfloating)


def _is_readable(value: Any) -> bool:
    """Whether an input can be shown: a picture, or numbers that are no indices."""
    return (
        is_picture(value)
        or "float" in str(getattr(value, "dtype", ""))
        or str(getattr(value, "dtype", "")).endswith("uint8")
    )


def bare_if_one(inputs: dict[str, Any]) -> Any:
    """Return the only input itself, or the mapping of several, the keyword arguments of the network."""
    return next(iter(inputs.values())) if len(inputs) == 1 else inputs


def _has_axes(value: Any) -> bool:
    return is_picture(value) or is_vector(value) or len(getattr(value, "shape", ())) > 0
