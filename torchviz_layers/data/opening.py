"""Anything that holds samples becomes a `Source`, with what it tells about itself; anything else a `DataError`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import IOBase
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchviz_layers._common.arrays import as_numpy
from torchviz_layers._common.nested import describe
from torchviz_layers.data.array_checks import as_pixels, check_array, is_array
from torchviz_layers.data.batch_lists import are_batches
from torchviz_layers.data.class_names import class_names_of, ids_of
from torchviz_layers.data.items import Reading, divide, pop_first
from torchviz_layers.data.loaders import Loader
from torchviz_layers.data.parts import ID_KEYS, TARGET_KEYS
from torchviz_layers.data.sources import Arrays, Facts, Items, Source, Stream, reading_errors
from torchviz_layers.data.tables import is_table, read_table
from torchviz_layers.data.views import is_picture
from torchviz_layers.exceptions import DataError, TorchvizLayersError

ACCEPTED = (
    "a torch Dataset or DataLoader, an array or tensor of samples, (X, y), a list of pictures or texts, "
    'a dict {"image": X, "label": y}, a Hugging Face dataset, a DataFrame with targets="column"'
)


@dataclass(frozen=True)
class Opened:
    """A source and its facts."""

    source: Source
    facts: Facts = field(default_factory=Facts)


def open_data(data: Any, reading: Reading, limit: int | None = None) -> Opened:
    """Return the source that `data` are; of an iterator, which may have no end, the first `limit` samples.

    Raises
    ------
    DataError
        Where they are none: with their type, shape and dtype, what is accepted, and how to correct it.
    """
    try:
        return _opened(data, reading, limit)
    except TorchvizLayersError:
        raise
    except Exception as problem:  # data are of anyone's class, and their methods may raise anything
        given = f"data of type {type(data).__name__} cannot be read as samples"
        raise DataError(f"{given}: {type(problem).__name__}: {problem}; accepted: {ACCEPTED}") from problem


def _opened(data: Any, reading: Reading, limit: int | None) -> Opened:
    if is_table(data):  # beside its targets, (X, y)
        return open_table(data, reading, reading.target, None)
    if isinstance(data, DataLoader):
        if reading.transform or reading.collate:
            raise DataError(
                "transform= and collate= make inputs of single samples, and a DataLoader yields batches; give its "
                "dataset, Samples.of(loader.dataset, transform=...), or the loader a collate_fn"
            )
        return Opened(Loader(data, reading), _facts_of(data, reading))
    if isinstance(data, IterableDataset):
        return Opened(Stream(data, reading), _facts_of(data, reading))
    if isinstance(data, tuple) and len(data) == 2 and _holds_samples(data[0]) and not isinstance(data[1], str):
        return _open_pair(data[0], data[1], None, reading)
    if isinstance(data, tuple) and len(data) == 3 and _are_samples_targets_and_ids(*data):
        return _open_pair(*data, reading)
    if isinstance(data, Mapping):
        return _open_mapping(data, reading)
    if is_array(data):
        return _open_array(data, reading)
    if isinstance(data, Iterator) and not isinstance(data, IOBase):
        data = _read_out(data, limit)
    if isinstance(data, list | tuple | range):
        return _open_list(list(data), reading)
    if _is_map_style(data):
        return Opened(Items(data, np.arange(_length(data)), reading), _facts_of(data, reading))
    if _is_iterable(data):
        return Opened(_open_iterable(data, reading), _facts_of(data, reading))
    raise DataError(_refusal(data))


def open_table(data: Any, reading: Reading, targets: Any, columns: Any) -> Opened:
    """Return the source of a table of pandas, polars or PyArrow; `targets` and `columns` may name columns of it."""
    table = read_table(data, targets=targets, columns=columns, texts=reading.tokenizer is not None)
    notices = (table.notice,) if table.notice else ()
    facts = Facts(table.targets, table.ids, table.columns, row_names=table.row_names, notices=notices)
    unnamed = replace(reading, target=None)
    inputs = table.inputs
    opened = _open_list(inputs, unnamed) if isinstance(inputs, list) else _open_array(inputs, unnamed)
    return Opened(opened.source, facts)


def _holds_samples(data: Any) -> bool:
    """Whether the first of two things is many samples, so that the second can be their targets."""
    return (
        is_array(data) or (isinstance(data, list) and len(data) > 0) or isinstance(data, Mapping) or _is_map_style(data)
    )


def _are_samples_targets_and_ids(data: Any, targets: Any, ids: Any) -> bool:
    """Whether three things are these rather than three samples, which would be of one shape."""
    shapes = [np.shape(part) if isinstance(part, list) else getattr(part, "shape", ()) for part in (targets, ids)]
    return is_array(data) and data.ndim > 1 and all(len(shape) == 1 for shape in shapes)


def _open_pair(data: Any, targets: Any, ids: Any, reading: Reading) -> Opened:
    opened = open_data(data, reading)
    return replace(opened, facts=replace(opened.facts, targets=targets, ids=opened.facts.ids if ids is None else ids))


def _open_array(array: Any, reading: Reading, called: str = "X") -> Opened:
    if isinstance(array, np.ndarray) and array.dtype.names:
        return _open_mapping({name: array[name] for name in array.dtype.names}, reading)
    if reading.target is not None:
        raise unnamed_targets(reading.target, array)
    kind = getattr(array.dtype, "kind", "")
    if kind in "OUST" and kind and array.ndim == 1:
        return _open_list(array.tolist(), reading)
    check_array(array, called)
    array, notices = as_pixels(array, called)
    if reading.transform is None and reading.collate is None:
        return Opened(Arrays(array, reading), Facts(notices=notices))
    return Opened(Items(array, np.arange(len(array)), replace(reading, bare=True), "the array"), Facts(notices=notices))


def unnamed_targets(target: str, sample: Any) -> DataError:
    """Return the error for targets that are named, of data whose parts have no names."""
    return DataError(
        f"targets={target!r} names a column, but the data have none: their samples are {describe(sample)[:80]}; give "
        "the targets themselves, one a sample"
    )


def _open_mapping(data: Mapping[Any, Any], reading: Reading) -> Opened:
    """Open a dict of arrays, which is divided as `divide` divides a single dict."""
    parts = {str(key): value for key, value in data.items()}
    for key, value in data.items():
        if isinstance(value, Dataset | DataLoader) or hasattr(value, "column_names") or is_table(value):
            raise DataError(f"a dict of datasets or tables ({', '.join(parts)}): give one of them, data[{key!r}] say")
    if reading.target is not None and reading.target not in parts:
        raise DataError(f"targets={reading.target!r}: the data have {', '.join(parts)}; name one of these")
    targets = pop_first(parts, TARGET_KEYS if reading.target is None else (reading.target,))
    ids = pop_first(parts, ID_KEYS)
    for name, values in parts.items():
        if not hasattr(values, "__len__") or isinstance(values, str | Mapping) or getattr(values, "ndim", 1) == 0:
            raise DataError(
                f"the dict has {name!r} of type {type(values).__name__} ({describe(values)[:80]}): give one value a "
                f"sample; the data may be {ACCEPTED}"
            )
    _check_lengths(parts)
    if any(len(values) == 0 for values in parts.values()):
        raise DataError(f"the dict has {', '.join(map(str, data))} without a sample; give at least one")
    divided = divide({name: _first_of(values) for name, values in parts.items()}, reading.tokenizer is not None)
    if not divided.inputs:
        raise DataError(
            f"the dict has {', '.join(map(str, data)) or 'nothing'} and no input; the data may be {ACCEPTED}"
        )
    columns = {name: parts[name] for name in divided.columns}
    facts = Facts(targets, ids, columns, row_names=divided.names)
    if divided.names:
        rows = np.column_stack([np.asarray(as_numpy(parts[name]), np.float32) for name in divided.names])
        return Opened(Arrays(rows), facts)
    inputs = {name: parts[name] for name in divided.inputs}
    if len(inputs) > 1:
        arrays = {name: values if is_array(values) else np.asarray(values) for name, values in inputs.items()}
        for name, array in arrays.items():
            check_array(array, name)
        return Opened(Arrays(arrays, reading), facts)
    name, values = next(iter(inputs.items()))
    unnamed = replace(reading, target=None)
    opened = _open_array(values, unnamed, name) if is_array(values) else _open_list(list(values), unnamed)
    return replace(opened, facts=replace(facts, notices=opened.facts.notices))


def _first_of(values: Any) -> Any:
    """Return the value of the first sample; a NumPy string becomes Python's."""
    first = values[0]
    return str(first) if isinstance(first, str) else first


def _check_lengths(arrays: Mapping[str, Any]) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"arrays of different lengths ({lengths}): each has one row a sample")


def _open_list(items: list[Any], reading: Reading) -> Opened:
    if reading.target is not None and items and not isinstance(items[0], Mapping):
        raise unnamed_targets(reading.target, items[0])
    if not items:
        raise DataError(f"the list of samples is empty; the data may be {ACCEPTED}")
    if are_batches(items):
        return Opened(Loader(items, reading))
    if len(items) == 2 and all(is_array(item) and item.ndim for item in items):
        shapes = [tuple(item.shape) for item in items]
        if len(shapes[0]) != len(shapes[1]) and shapes[0][0] == shapes[1][0]:
            raise DataError(
                f"a list of two arrays of shapes {shapes[0]} and {shapes[1]}: a list holds samples; give the tuple "
                "(X, y) if these are samples and their targets"
            )
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        raise DataError(
            f"a list of {len(items):,} numbers, one a sample: give np.array(X)[:, None] if each is a row of one feature"
        )
    return Opened(Items(items, np.arange(len(items)), replace(reading, bare=True), "the list"))


def _read_out(data: Iterator[Any], limit: int | None) -> list[Any]:
    items: list[Any] = []
    n = 0
    for item in reading_errors(data, "row", f"the {type(data).__name__}"):
        items.append(item)
        n += len(item[0]) if are_batches([item]) else 1
        if limit is not None and n >= limit:
            break
    if not items:
        raise DataError(f"the {type(data).__name__} yields no sample; the data may be {ACCEPTED}")
    return items


def _is_map_style(data: Any) -> bool:
    if isinstance(data, type | nn.Module | ModuleType | str | bytes | bytearray | memoryview | Mapping) or is_picture(
        data
    ):
        return False
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _is_iterable(data: Any) -> bool:
    """Whether data can be iterated again and again in an order of their own: a set has none."""
    no_data = (str, bytes, bytearray, memoryview, set, frozenset, type, nn.Module, IOBase)
    return hasattr(type(data), "__iter__") and not isinstance(data, no_data) and not hasattr(data, "__getitem__")


def _open_iterable(data: Any, reading: Reading) -> Source:
    """Return the source of another library's loader or stream: its batches, or its samples."""
    first = next(reading_errors(data, "row", f"the {type(data).__name__}"), None)
    return Loader(data, reading) if first is not None and are_batches([first]) else Stream(data, reading)


def _length(data: Any) -> int:
    try:
        length = len(data)
    except Exception as problem:  # the dataset is the caller's and may raise anything
        raise DataError(f"len() of the {type(data).__name__} raised {type(problem).__name__}: {problem}") from problem
    if not length:
        raise DataError(f"the {type(data).__name__} is empty: its len() is 0; give at least one sample")
    return length


def _facts_of(data: Any, reading: Reading) -> Facts:
    """Return the class names and the ids that a dataset, or the one inside a loader, knows."""
    return Facts(ids=ids_of(data), class_names=class_names_of(data, reading.target))


def _refusal(data: Any) -> str:
    """Return what was given, what is accepted, and a hint where one is known."""
    hints = (
        (
            str,
            f"{data!r} names nothing here; load_dataset({data!r}) opens files and known names"
            if isinstance(data, str)
            else "",
        ),
        (nn.Module, "a network is the other argument: Samples.of(data), visualize_layers(network, data)"),
        (type, f"a class and not an object of it: {getattr(data, '__name__', '')}(...) makes one"),
    )
    hint = next((text for kind, text in hints if isinstance(data, kind)), "")
    if hasattr(data, "__getitem__") and not hasattr(data, "__len__"):
        hint = "it has no length: give it a method __len__ that returns the number of its samples"
    given = f"data of type {type(data).__name__} ({describe(data)[:80]})"
    return f"{given} are no samples{': ' + hint if hint else ''}; accepted: {ACCEPTED}"
