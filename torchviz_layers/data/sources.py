"""What data can be read from: arrays in memory, single items, and streams that are read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from torchviz_layers._common.arrays import Array
from torchviz_layers.data.batching import part_of
from torchviz_layers.data.feeding import bare_inputs
from torchviz_layers.data.items import Item, Reading, read_item, with_raw
from torchviz_layers.data.parts import Part
from torchviz_layers.data.raw_items import KeepsRaw, keeping_raw
from torchviz_layers.exceptions import DataError, TorchvizLayersError

PEEKED = 8  # samples that are looked at before the first pass


@dataclass(frozen=True)
class Facts:
    """What data tell about themselves before they are read; empty where they don't."""

    targets: Any = None
    ids: Any = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    row_names: tuple[str, ...] = ()
    name: str = ""
    notices: tuple[str, ...] = ()


class Source:
    """Samples that can be read in batches, again and again, in the same order.

    `n` is their number, or None if only reading them tells.
    """

    n: int | None = None
    reading: Reading

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:
        """Yield all samples batch by batch.

        With `whole`, the looks are what a function for `view=` gets: the samples as they were before any transform.
        """
        raise NotImplementedError

    def take(self, rows: Array) -> Source:
        """Return the samples at `rows`."""
        return Chosen(self, rows)

    def first(self, whole: bool = False) -> Part:
        """Return the first samples, which are looked at before a pass."""
        part = next(iter(self.parts(PEEKED, whole)), None)
        if part is None:
            raise DataError("the data yield no sample; give at least one")
        return part


class Arrays(Source):
    """Arrays in memory or on a disk that can be sliced: one, or several by the names of a network's arguments."""

    def __init__(self, inputs: Any, reading: Reading | None = None) -> None:
        self.inputs, self.reading = inputs, reading or Reading()
        first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
        self.n: int = first.shape[0]  # Zarr arrays have no len()

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:
        """Yield slices, as `bare_inputs` feeds them."""
        for start in range(0, self.n, batch_size):
            rows = slice(start, start + batch_size)
            looks = self.inputs[rows] if whole and not isinstance(self.inputs, Mapping) else None
            yield Part(self._fed(rows), min(batch_size, self.n - start), looks=looks)

    def _fed(self, rows: slice) -> Any:
        if isinstance(self.inputs, Mapping):
            return {name: bare_inputs(array[rows]) for name, array in self.inputs.items()}
        return bare_inputs(self.inputs[rows])

    def take(self, rows: Array) -> Arrays:
        """Return the rows of every array."""
        if isinstance(self.inputs, Mapping):
            return Arrays({name: _rows(array, rows) for name, array in self.inputs.items()}, self.reading)
        return Arrays(_rows(self.inputs, rows), self.reading)


def _rows(array: Any, rows: Array) -> Any:
    return array[rows.tolist()] if isinstance(array, Tensor) else array[rows]


class Items(Source):
    """A map-style dataset or a list: an item for every row. `rows` are the items that are read, in order."""

    def __init__(self, data: Any, rows: Array, reading: Reading, called: str = "the dataset") -> None:
        self.data, self.rows, self.reading, self.called = data, rows, reading, called
        self.n: int = len(rows)

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:
        """Yield `batch_size` items at a time, collated as PyTorch's loaders do."""
        keeps = None if self.reading.bare else keeping_raw(self.data, int(self.rows[0]), whole)
        for start in range(0, self.n, batch_size):
            rows = self.rows[start : start + batch_size].tolist()
            items = [self._item(row, start + place, keeps, whole) for place, row in enumerate(rows)]
            yield part_of(items, start, self.reading)

    def _item(self, index: int, row: int, keeps: KeepsRaw | None, whole: bool) -> Item:
        raw = None
        try:
            if keeps is None:
                item = self.data[index]
            else:
                item, raw = keeps[index]
        except TorchvizLayersError:
            raise
        except Exception as problem:  # the dataset is the caller's and may raise anything
            raise DataError(failed(f"row {row}", self.called, problem)) from problem
        return with_raw(read_item(item, row, self.reading), item, raw, whole)

    def take(self, rows: Array) -> Items:
        """Return the items at `rows`."""
        return Items(self.data, self.rows[rows], self.reading, self.called)


class Stream(Source):
    """An iterable dataset: its items in the order in which they come."""

    def __init__(self, data: Any, reading: Reading) -> None:
        self.data, self.reading = data, reading

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:
        """Yield `batch_size` items at a time."""
        start = 0
        items: list[Item] = []
        for item in reading_errors(self.data, "row", "the dataset"):
            read = read_item(item, start + len(items), self.reading)
            items.append(with_raw(read, item, None, whole))
            if len(items) == batch_size:
                yield part_of(items, start, self.reading)
                start += len(items)
                items = []
        if items:
            yield part_of(items, start, self.reading)
        elif not start:
            raise DataError(f"the {type(self.data).__name__} yields no sample: it is empty; give at least one")


class Chosen(Source):
    """Some rows, in rising order, of a source that can only be read as a whole."""

    def __init__(self, source: Source, rows: Array, *, exact: bool = True) -> None:
        if (np.diff(rows) <= 0).any():
            raise DataError(
                "rows of a loader or an iterable dataset come in its order; give rising rows without repetitions, "
                "samples[np.sort(rows)]"
            )
        self.source, self.rows, self.reading = source, rows, source.reading
        self.n = len(rows) if exact else None  # without `exact` there may be fewer

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:
        """Yield the chosen samples of each batch that has any."""
        start = taken = 0
        for part in self.source.parts(batch_size, whole):
            stop = start + part.size
            inside = self.rows[(self.rows >= start) & (self.rows < stop)] - start
            if len(inside) == part.size:
                yield part
            elif len(inside):
                yield part.take(inside.tolist())
            taken += len(inside)
            if taken == len(self.rows):
                return
            start = stop


def reading_errors(data: Any, what: str, called: str) -> Iterator[Any]:
    """Iterate over the caller's data; what it raises becomes a `DataError` that names the place."""
    place = 0
    try:
        for item in data:
            yield item
            place += 1
    except TorchvizLayersError:
        raise
    except Exception as problem:  # the data are the caller's and may raise anything
        raise DataError(failed(f"{what} {place}", called, problem)) from problem


def failed(where: str, called: str, problem: Exception) -> str:
    """Return a sentence on an error of the caller's data."""
    reason = str(problem).strip().partition("\n")[0]
    return f"{where}: {called} raised {type(problem).__name__}: {reason}".rstrip(": ")
