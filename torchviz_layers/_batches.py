"""What a loader yields: inputs, and with them perhaps targets and sample ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from torchviz_layers._outputs import describe, tensors_in
from torchviz_layers.exceptions import DataError

_TARGET_KEYS = ("labels", "label", "targets", "target")
_ID_KEYS = ("ids", "id", "sample_ids")


@dataclass(frozen=True)
class Batch:
    """One batch: what the model takes, and what belongs to its samples."""

    inputs: Any
    size: int
    targets: npt.NDArray[Any] | None = None
    ids: npt.NDArray[Any] | None = None

    def part(self, start: int, stop: int) -> Batch:
        """Return samples `start` to `stop`."""
        return Batch(
            _slice(self.inputs, self.size, start, stop),
            stop - start,
            None if self.targets is None else self.targets[start:stop],
            None if self.ids is None else self.ids[start:stop],
        )


def as_batch(batch: Any) -> Batch:
    """Read a tensor, `(inputs, targets[, ids])` or a mapping of keyword arguments; raise `DataError` otherwise."""
    targets = ids = None
    if isinstance(batch, Mapping):
        inputs: Any = dict(batch)
        targets = _pop(inputs, _TARGET_KEYS)
        ids = _pop(inputs, _ID_KEYS)
    elif isinstance(batch, list | tuple) and 1 <= len(batch) <= 3:
        inputs, targets, ids = (*batch, None, None)[:3]
    elif isinstance(batch, Tensor):
        inputs = batch
    else:
        raise DataError(
            f"batches: a batch is a tensor, (inputs, targets, ids) or a mapping of tensors, got {describe(batch)}"
        )
    first = next((tensor for _, tensor in tensors_in(inputs)), None)
    if first is None or first.dim() == 0:
        raise DataError(f"batches: this batch holds no tensor with an axis of samples: {describe(batch)}")
    size = first.shape[0]
    return Batch(inputs, size, _column("targets", targets, size), _column("ids", ids, size))


def _pop(inputs: dict[Any, Any], keys: Sequence[str]) -> Any:
    return next((inputs.pop(key) for key in keys if key in inputs), None)


def _column(what: str, values: Any, size: int) -> npt.NDArray[Any] | None:
    if values is None:
        return None
    column = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if column.ndim == 0 or len(column) != size:
        raise DataError(f"batches: {what} of shape {column.shape} do not fit {size} samples")
    if column.dtype.kind in "UO":
        return column.astype(np.dtypes.StringDType())
    return column.astype(np.int64) if column.dtype.kind in "iu" else column


def _slice(inputs: Any, size: int, start: int, stop: int) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[start:stop] if inputs.dim() and inputs.shape[0] == size else inputs
    if isinstance(inputs, Mapping):
        return {name: _slice(part, size, start, stop) for name, part in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(_slice(part, size, start, stop) for part in inputs)
    return inputs


def count_samples(batches: Iterable[Any]) -> int | None:
    """Return how many samples a loader is going to yield, where it says so."""
    if isinstance(batches, DataLoader):
        if isinstance(batches.dataset, IterableDataset) or batches.batch_sampler is None:
            return None
        if type(batches.batch_sampler) is not BatchSampler:
            return None
        total = len(batches.sampler)  # type: ignore[arg-type]
        size = batches.batch_size or 1
        return total - total % size if batches.drop_last else total
    if isinstance(batches, list | tuple):
        return sum(as_batch(batch).size for batch in batches)
    return None


def keeps_order(batches: Iterable[Any]) -> bool:
    """Whether a loader yields the same samples in the same order whenever it is read."""
    if isinstance(batches, DataLoader):
        if isinstance(batches.dataset, IterableDataset):
            return False
        return isinstance(getattr(batches.batch_sampler, "sampler", batches.sampler), SequentialSampler)
    return isinstance(batches, list | tuple)


def check_batches(batches: Any) -> None:
    """Raise `DataError` for what is not an iterable of batches."""
    if isinstance(batches, Tensor | np.ndarray):
        raise DataError(
            f"batches: this is one array of shape {tuple(batches.shape)}, not batches of samples; "
            "torch.as_tensor(x).split(256) makes batches of it"
        )
    if not isinstance(batches, Iterable) or isinstance(batches, str | Mapping):
        raise DataError(f"batches: expected an iterable of batches, such as a DataLoader, got {type(batches).__name__}")


def to_device(inputs: Any, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments for the model's forward pass, on `device`."""
    from torchviz_layers._listing import as_arguments

    return as_arguments(tuple(inputs) if isinstance(inputs, list) else inputs, device)
