"""What one pass over the data leaves behind: thumbnails, texts, rows or series, targets, ids and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers.data.feeding import channel_axis
from torchviz_layers.data.parts import Part, look_of_inputs
from torchviz_layers.data.picture_rows import PictureRows
from torchviz_layers.data.spilling import Rows
from torchviz_layers.data.views import (
    EDGE,
    View,
    as_batch,
    check_view,
    curves,
    table_rows,
    view_of,
)
from torchviz_layers.exceptions import DataError

NO_CLASSES = "maps, boxes and mappings are no classes: the page is without classes"


@dataclass(frozen=True)
class Shown:
    """What readers see of the samples; what does not apply is None.

    Attributes
    ----------
    images : ndarray of shape (n, channels, height, width), or list of arrays (channels, height, width)
        uint8, or floats in [0, 1] where pictures in memory are small; at most 224 pixels a side, of many fewer.
    texts : list of str
    rows : ndarray of shape (n, n_features)
        float32; `row_names` are the names of the features.
    series : ndarray of shape (n, channels, length)
        float32, of at most 256 points; NaN after the end of a shorter one.
    """

    view: View
    images: Any = None
    texts: list[str] | None = None
    rows: Array | None = None
    row_names: tuple[str, ...] = ()
    series: Array | None = None

    @property
    def values(self) -> Any:
        """The images, texts, rows or series, whichever there are; None where samples are shown by their ids."""
        return next((one for one in (self.images, self.texts, self.rows, self.series) if one is not None), None)

    def take(self, rows: Array) -> Shown:
        """Return what is shown of some rows."""
        images: Any = self.images
        if images is not None:
            images = [images[row] for row in rows] if isinstance(images, list) else images[rows]
        texts = None if self.texts is None else [self.texts[row] for row in rows]
        values = None if self.rows is None else self.rows[rows]
        series = None if self.series is None else self.series[rows]
        return Shown(self.view, images, texts, values, self.row_names, series)


@dataclass(frozen=True)
class Record:
    """The result of a pass: `n` samples, how they are shown, and their raw targets, ids and columns."""

    n: int
    shown: Shown
    targets: list[Any] | Array | None
    ids: Array | None
    columns: dict[str, list[Any]]
    notices: tuple[str, ...]

    @property
    def view(self) -> View:
        """How the samples are shown."""
        return self.shown.view

    def take(self, rows: Array) -> Record:
        """Return the record of some rows."""
        targets = None if self.targets is None else [self.targets[row] for row in rows]
        ids = None if self.ids is None else self.ids[rows]
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Record(len(rows), self.shown.take(rows), targets, ids, columns, self.notices)


class Recorder:
    """Collects a `Record` batch by batch.

    `view` is how the samples are to be shown, by default as their first one can be. `look` makes what is shown of one
    sample. `decode` makes texts of a batch of token ids.
    """

    def __init__(
        self,
        view: View | None,
        row_names: Sequence[str] = (),
        look: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], list[str]] | None = None,
    ) -> None:
        self.view = view
        self._row_names = tuple(row_names)
        self._look, self._decode = look, decode
        self._pictures: PictureRows | None = None
        self._values: Rows | None = None
        self._shapes: list[tuple[int, ...]] = []
        self._texts: list[str] = []
        self._stretched = self._n = 0
        self._targets = _Targets()
        self._ids: list[Any] = []
        self._columns: dict[str, list[Any]] = {}

    def add(self, part: Part) -> None:
        """Record a batch."""
        looks = part.looks
        if looks is None:
            looks = self._decode(part.inputs) if self._decode else look_of_inputs(part.inputs, part.size)
        if self._look is not None and looks is not None:
            looks = [self._looked(one, self._n + place) for place, one in enumerate(looks)]
        if self.view is None:
            self.view = "id" if looks is None else view_of(looks[0])
        elif not self._n and self.view != "id":
            check_view(self.view, None if looks is None else looks[0])
        self._row_names = self._row_names or part.row_names
        self._add_looks(looks)
        self._targets.add(part.targets, self._n)
        if part.ids is not None:
            self._ids += as_numpy(part.ids).tolist()
        for name, values in part.columns.items():
            column = self._columns.setdefault(name, [None] * self._n)
            column += list(values)
        self._n += part.size
        for column in self._columns.values():
            column += [None] * (self._n - len(column))

    def _looked(self, sample: Any, row: int) -> Any:
        assert self._look is not None
        try:
            look = self._look(sample)
        except Exception as problem:  # the function is the caller's and may raise anything
            raise DataError(f"row {row}: view= raised {type(problem).__name__}: {problem}") from problem
        if look is None:
            raise DataError(f"row {row}: view= returned None; it returns a picture, a text or numbers of a sample")
        return look

    def _add_looks(self, looks: Any) -> None:
        if self.view == "text":
            self._texts += [str(text) for text in looks]
        elif self.view != "id" and looks is not None:
            batch = as_batch(looks)
            for block in [batch] if batch is not None else [as_batch([look]) for look in looks]:
                assert block is not None
                self._add_block(block)

    def _add_block(self, batch: Tensor) -> None:
        if self.view == "image":
            self._pictures = self._pictures or PictureRows()
            self._stretched += self._pictures.append(batch)
            return
        values = curves(batch) if self.view == "series" else table_rows(batch)
        if self._values is None:
            self._values = Rows(values.dtype)
        self._values.append(values)
        self._shapes += [values.shape[1:]] * len(values)

    def finish(self) -> Record:
        """Return the record of all batches."""
        notices = []
        if self._stretched:
            notices.append(
                f"{self._stretched:,} of {self._n:,} pictures have values outside [0, 1]: each is shown stretched from "
                "its least to its greatest value"
            )
        if self._targets.refused:
            notices.append(self._targets.refused)
        ids = np.asarray(self._ids) if self._ids else None
        targets = self._targets.values or None
        return Record(self._n, self._shown(), targets, ids, self._columns, tuple(notices))

    def _shown(self) -> Shown:
        assert self.view is not None
        if self.view == "text":
            return Shown("text", texts=self._texts)
        if self._pictures is not None:
            return Shown("image", images=self._pictures.read())
        if self._values is None:
            return Shown(self.view)
        values = self._values.read()
        if len(set(self._shapes)) == 1:
            stacked: Any = values.reshape(len(self._shapes), *self._shapes[0])
        else:
            ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
            stacked = [part.reshape(shape) for part, shape in zip(np.split(values, ends), self._shapes, strict=True)]
        if isinstance(stacked, list):
            stacked = _padded(stacked)
        if self.view == "series":
            return Shown("series", series=stacked)
        names = self._row_names or tuple(map(str, range(stacked.shape[1])))
        return Shown("row", rows=stacked, row_names=names)


def _padded(arrays: list[Array]) -> Array:
    """Return arrays of different shapes as one, filled up with NaN."""
    shape = tuple(max(extents) for extents in zip(*(array.shape for array in arrays), strict=True))
    padded = np.full((len(arrays), *shape), np.nan, np.float32)
    for target, array in zip(padded, arrays, strict=True):
        target[tuple(map(slice, array.shape))] = array
    return padded


class _Targets:
    """Targets one by one: numbers, texts, or vectors of numbers; anything else is refused once, with a sentence."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.refused = ""

    def add(self, targets: Any, before: int) -> None:
        """Add the targets of a batch that comes after `before` samples."""
        if targets is None or self.refused:
            return
        values = as_numpy(targets) if isinstance(targets, Tensor) else targets
        if isinstance(values, np.ndarray):
            if values.ndim > 2:
                self._refuse(f"targets of shape {values.shape[1:]} a sample")
                return
            # Rows of a matrix stay arrays; numbers become Python's.
            one_by_one: list[Any] = values.tolist() if values.ndim == 1 else list(values)
        else:
            one_by_one = [as_numpy(value) if isinstance(value, Tensor) else value for value in values]
        for value in one_by_one:
            if getattr(value, "ndim", 0) > 1:
                self._refuse(f"targets of shape {value.shape} a sample")
                return
            if isinstance(value, dict) or (hasattr(value, "__dict__") and not isinstance(value, str | Enum)):
                self._refuse(f"targets of type {type(value).__name__}")
                return
        self.values += [None] * (before - len(self.values))
        self.values += one_by_one

    def _refuse(self, what: str) -> None:
        self.values, self.refused = [], f"{what}: {NO_CLASSES}"


def shown_in_memory(inputs: Any, view: View | None, row_names: Sequence[str]) -> Shown | None:
    """Return what is shown of arrays that need no copy: small pictures, rows and short series; else None."""
    if not isinstance(inputs, Tensor | np.ndarray) or (isinstance(inputs, Tensor) and inputs.device.type != "cpu"):
        return None
    array = as_numpy(inputs)
    view = view or view_of(array[0])
    if view == "row" and array.ndim == 2:
        return Shown(
            "row", rows=array.astype(np.float32), row_names=tuple(row_names) or tuple(map(str, range(array.shape[1])))
        )
    if view != "image" or array.dtype not in (np.uint8, np.float32) or array.ndim not in (3, 4):
        return None
    if array.ndim == 3:
        array = array[:, None]
    elif channel_axis(array.shape[1:]) == 2:
        array = np.moveaxis(array, 3, 1)
    if max(array.shape[2:]) > EDGE or (array.dtype != np.uint8 and not 0 <= array.min() <= array.max() <= 1):
        return None
    return Shown("image", images=array)


def decoder_of(tokenizer: Any) -> Callable[[Any], Any] | None:
    """Return what makes texts of a tokenizer's output, where no text came with it."""
    decode = getattr(tokenizer, "batch_decode", None)
    if decode is None:
        return None

    def texts(inputs: Any) -> Any:
        if not isinstance(inputs, Mapping) or "input_ids" not in inputs:
            return None
        return decode(inputs["input_ids"], skip_special_tokens=True)

    return texts
