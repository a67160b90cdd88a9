"""What `extract` reads: batches as they come, or the samples of anything else that `Samples.of` takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.nested import tensors_in
from torchviz_layers.data import Samples
from torchviz_layers.data.tables import is_table
from torchviz_layers.exceptions import DataError
from torchviz_layers.hooks.batches import count_samples

UNLABELLED = -100  # PyTorch's own mark of a sample without a class


@dataclass(frozen=True)
class Feeding:
    """A pass over the data: batches, and the samples that they are of, unless they came as batches."""

    batches: Iterable[Any]
    samples: Samples | None = None

    @property
    def unit_pictures(self) -> bool:
        """Whether the inputs are pictures with values in [0, 1], which a model's own transform takes."""
        return self.samples is not None and self.samples.unit_pictures

    def count(self, as_batch: Any) -> int | None:
        """Return how many samples will come, or None if that is not known before they are read."""
        return count_samples(self.batches, as_batch) if self.samples is None else self.samples.n_known

    def about_samples(self) -> dict[str, Any]:
        """Return, after a pass, the provenance of samples: their task, and class names that came with the data."""
        if self.samples is None or self.samples.task is None:
            return {}
        about: dict[str, Any] = {"task": self.samples.task}
        if self.samples.names_given:
            about["class_names"] = list(self.samples.class_names)
        return {"samples": about}


def open_data(data: Any, batch_size: int) -> Feeding:
    """Return what is to be read; raise `DataError` for what is neither batches nor samples."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise DataError(f"batch_size={batch_size!r}: it must be a whole number, at least 1")
    if are_batches(data):
        return Feeding(data)
    samples = Samples.of(data)
    return Feeding(_batches_of(samples, batch_size), samples)


def are_batches(data: Any) -> bool:
    """Whether data are batches as a loader yields them, rather than samples.

    Lists and tuples are what their first element is. A tuple of two that have the same length and belong together,
    `(X, y)`, is samples; so are a Dataset, an array, a table and a Hugging Face dataset. Any other iterable yields
    batches.
    """
    if isinstance(data, DataLoader):
        return True
    if isinstance(data, Samples | Dataset | str | bytes | Mapping) or not isinstance(data, Iterable):
        return False
    if isinstance(data, tuple) and len(data) == 2 and _is_pair(*data):
        return False
    if isinstance(data, Sequence):
        return len(data) == 0 or _is_batch(data[0])
    # Arrays of any library, and Hugging Face's datasets.
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    return not (is_array or is_table(data) or hasattr(data, "column_names"))


def _is_pair(inputs: Any, targets: Any) -> bool:
    """Whether `(inputs, targets)` are samples and their targets, rather than two batches."""
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        # Batches are no arrays, tables or lists of numbers.
        return not (_is_batch(inputs) and _is_batch(targets))
    if inputs.dim() != targets.dim():
        return True
    return inputs.dim() > 0 and inputs.shape[1:] != targets.shape[1:] and len(inputs) == len(targets)


def _is_batch(item: Any) -> bool:
    """Whether an element of a list is a batch of samples, rather than one sample."""
    if isinstance(item, Tensor):
        return True
    if isinstance(item, Mapping):
        parts = list(item.values())
    elif isinstance(item, list | tuple):
        parts = list(item)
    else:
        return False
    # The target or id of one sample is a number or a text, and its input may be a picture, a text or an array.
    return not any(map(_is_single, parts)) and next(tensors_in(item), None) is not None


def _is_single(value: Any) -> bool:
    return isinstance(value, Number | str | np.generic) or (isinstance(value, Tensor) and value.dim() == 0)


def _batches_of(samples: Samples, batch_size: int) -> Iterator[tuple[Any, Array | None, Array]]:
    column = TargetColumn()
    for inputs, targets, ids in samples.batches(batch_size):
        if isinstance(inputs, list) and any(isinstance(one, str) for one in inputs):
            raise DataError(
                f"{samples.name}: the samples are texts, such as {inputs[0][:40]!r}, and a network takes tensors; give "
                "Samples.of(data, tokenizer=tokenizer), or batches of tokens"
            )
        yield inputs, column.rows(targets, len(ids)), ids


@dataclass
class TargetColumn:
    """Targets as samples have them, batch by batch, made rows of one column, as the first batch shows its kind.

    A column cannot hold everything: boxes of detectors are left out, and so are targets that begin after the first
    batch. Samples without a target among others have -100, NaN or an empty text.
    """

    _begun: bool = False
    _first: Array | None = None
    """The rows of the first batch; None where there is no column."""

    def rows(self, targets: Any, size: int) -> Array | None:
        """Return a batch's targets as an array of shape (size, ...), or None."""
        rows = None if targets is None else _as_rows(targets, size)
        if not self._begun:
            self._begun, self._first = True, rows
        elif rows is None and self._first is not None:
            rows = np.full((size, *self._first.shape[1:]), _absent(self._first.dtype))
        return None if self._first is None else rows


def _as_rows(targets: Any, size: int) -> Array | None:
    """Return targets as an array of numbers or texts with `size` rows, or None if they are none."""
    try:
        if isinstance(targets, list | tuple) and any(target is None for target in targets):
            known = np.asarray([target for target in targets if target is not None])
            absent = _absent(known.dtype)
            targets = [absent if target is None else target for target in targets]
        rows = as_numpy(targets)
    except (TypeError, ValueError):  # rows of different lengths, or nothing that NumPy knows
        return None
    is_text = rows.dtype.kind in "UT" or (rows.dtype.kind == "O" and all(isinstance(value, str) for value in rows.flat))
    is_column = is_text or rows.dtype.kind in "biuf"
    if not is_column or not rows.ndim or len(rows) != size:
        return None
    # There is no bool that stands for a target that is not known.
    return rows.astype(np.int64) if rows.dtype.kind == "b" else rows


def _absent(dtype: np.dtype[Any]) -> Any:
    """Return what stands for a target that is not known, in a column of this type."""
    if dtype.kind in "iub":
        return UNLABELLED
    return np.nan if dtype.kind == "f" else ""
